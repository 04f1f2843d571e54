// Tests of {{name}}: the module itself, in Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, record } from "../harness.mjs";

const header = (fields) => record(104, [
  ["u32", 32, 978], ["u32", 60, fields.customerOrdersHour], ["u32", 96, fields.firstLine],
  ["u32", 100, 1],
]);
const line = () => record(24, [["u64", 0, 1], ["u32", 8, 1], ["u64", 16, 100]]);

test("many orders within an hour are reviewed", async () => {
  const plugin = await load("fraud", '{"points": 200, "review": 400}');
  const headers = [1, 2, 0xffffffff].map((customerOrdersHour, firstLine) =>
    header({ customerOrdersHour, firstLine }));
  for (let round = 0; round < 1000; round++) {
    const answer = plugin.batch([headers, [line(), line(), line()]], 12);
    const found = answer.map((at) => [0, 4, 8].map((offset) => at.getUint32(offset, true)));
    assert.deepEqual(found, [[200, 0, 0], [400, 2, 1], [1000, 2, 1]]);
  }
  assert.equal(plugin.pages(), 1);
});

test("a wrong configuration is refused", async () => {
  await assert.rejects(load("fraud", '{"review": 0}'), /review is outside 1\.\.=1000/);
});
