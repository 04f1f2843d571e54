// Tests of {{name}}: the module itself, in Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, record } from "../harness.mjs";

const header = (fields) => record(48, [
  ["u64", 0, fields.customer], ["u32", 8, fields.segment], ["u64", 16, fields.now],
  ["u32", 24, fields.currency ?? 978], ["u32", 28, fields.firstLine], ["u32", 32, fields.lineCount],
  ["u32", 36, fields.firstCoupon], ["u32", 40, fields.couponCount],
]);
const line = (fields) => record(32, [
  ["u64", 0, fields.sku], ["u32", 8, fields.class], ["u32", 16, fields.quantity],
  ["u64", 24, fields.unit],
]);

test("enough units are cheaper", async () => {
  const plugin = await load("pricing", '{"percent": 20, "units": 5}');
  const headers = [header({ lineCount: 2 }), header({ firstLine: 2, lineCount: 1 })];
  const lines = [
    line({ quantity: 5, unit: 100 }), line({ quantity: 4, unit: 100 }),
    line({ quantity: 5, unit: 33 }),
  ];
  for (let round = 0; round < 1000; round++) {
    const answer = plugin.batch([headers, lines, []], 24);
    const found = answer.map((at) =>
      [at.getUint32(0, true), at.getUint32(4, true), at.getBigInt64(8, true), at.getUint32(16, true)]);
    assert.deepEqual(found, [[0, 0, 100n, 1], [0, 2, 33n, 1]]);
  }
  assert.equal(plugin.pages(), 1);
});

test("a wrong configuration is refused", async () => {
  await assert.rejects(load("pricing", '{"percent": 101}'), /percent is outside 0\.\.=100/);
});
