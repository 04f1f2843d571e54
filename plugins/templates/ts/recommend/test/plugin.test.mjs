// Tests of {{name}}: the module itself, in Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load, record } from "../harness.mjs";

const request = record(40, [["u32", 20, 1], ["u32", 28, 6], ["u32", 32, 2]]);
const item = record(8, [["u64", 0, 7]]);
const candidate = ([sku, together, available]) => record(32, [
  ["u64", 0, sku], ["u32", 8, together], ["u32", 24, available],
]);

test("the most often bought together come first", async () => {
  const plugin = await load("recommend", '{"together_least": 3}');
  const candidates = [[1, 4, 1], [2, 9, 0], [7, 9, 1], [3, 2, 1], [4, 3, 1], [4, 5, 1]];
  for (let round = 0; round < 1000; round++) {
    const answer = plugin.batch([[request], [item], candidates.map(candidate)], 24);
    const found = answer.map((at) =>
      [at.getUint32(0, true), at.getBigUint64(8, true), at.getUint32(16, true)]);
    assert.deepEqual(found, [[0, 4n, 5], [0, 1n, 4]]);
  }
  assert.equal(plugin.pages(), 1);
});

test("a wrong configuration is refused", async () => {
  const wrong = load("recommend", '{"together_least": 0}');
  await assert.rejects(wrong, /together_least is outside 1\.\.=1000000/);
});
