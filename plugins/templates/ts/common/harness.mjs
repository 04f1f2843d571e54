// Calls the module as the host does, for tests.

import { readFile } from "node:fs/promises";
import { names } from "./world.mjs";

/** Returns the bytes of a record: `[type, offset, value]` for each field that is not 0. */
export function record(bytes, fields) {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const [type, offset, value] of fields) {
    if (type === "u64") view.setBigUint64(offset, BigInt(value ?? 0), true);
    else view.setUint32(offset, value ?? 0, true);
  }
  return new Uint8Array(view.buffer);
}

/** Starts the plugin with a configuration; throws what it says of it. */
export async function load(kind, config) {
  const file = await readFile(new URL("build/plugin.wasm", import.meta.url));
  const memory = () => wasm.exports.memory.buffer;
  const text = (at, bytes) => new TextDecoder().decode(new Uint8Array(memory(), at, bytes));
  const log = (level, at, bytes) => console.log(`log ${level}: ${text(at, bytes)}`);
  const { instance: wasm } =
    await WebAssembly.instantiate(file, { [`onhand:${kind}/log@1.0.0`]: { log } });
  const put = (bytes) => {
    const at = wasm.exports.cabi_realloc(0, 0, 8, bytes.length);
    new Uint8Array(memory(), at, bytes.length).set(bytes);
    return at;
  };
  const configBytes = new TextEncoder().encode(config);
  const said = wasm.exports[names.component_init](put(configBytes), configBytes.length);
  const words = new Uint32Array(memory(), said, 3);
  if (words[0] !== 0) throw new Error(text(words[1], words[2]));
  return {
    /** Returns how many pages of 64 KiB its memory has. */
    pages: () => memory().byteLength / 65536,
    /** Hands in lists of records; returns a view of each entry of the answer. */
    batch(lists, entryBytes) {
      const handed = lists.flatMap((list) => [put(Buffer.concat(list)), list.length]);
      const place = wasm.exports[names.component_batch](...handed);
      const [at, count] = new Uint32Array(memory(), place, 2);
      const answer = memory().slice(at, at + count * entryBytes);
      wasm.exports[names.component_post](place);
      return Array.from({ length: count }, (_, index) =>
        new DataView(answer, index * entryBytes, entryBytes));
    },
  };
}
