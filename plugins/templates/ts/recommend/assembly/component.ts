// The component around the plugin: functions by the names that onhand.mjs gives them outside.
//
// Facts are read where the host has put them; they are gone when the call ends.

import { Answer, Config, answered, forget, initialised } from "./onhand";
import { HEADER_BYTES, Header, PICK_BYTES, Picks, Request } from "./facts";
import { init, recommend } from "./plugin";

@external("onhand:recommend/log@1.0.0", "log")
declare function hostLog(level: u32, text: usize, bytes: i32): void;

/** Logs a line for the operator: 0 error, 1 warning, 2 information, 3 detail. */
export function log(level: u32, text: string): void {
  const bytes = String.UTF8.encode(text);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}

function onAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const where = (file == null ? "?" : file) + ":" + line.toString() + ":" + column.toString();
  log(0, (message == null ? "stopped" : message) + " at " + where);
}

export function cabi_realloc(old: usize, oldBytes: usize, align: usize, bytes: usize): usize {
  const place = heap.alloc(bytes);
  if (oldBytes != 0) memory.copy(place, old, min(oldBytes, bytes));
  return place;
}

export function component_init(text: usize, bytes: usize): usize {
  return initialised(init(new Config(String.UTF8.decodeUnsafe(text, bytes))));
}

export function component_batch(
  requests: usize, requestCount: i32, items: usize, itemCount: i32,
  candidates: usize, candidateCount: i32
): usize {
  const answer = new Answer(PICK_BYTES);
  for (let at = 0; at < requestCount; at++) {
    const header = changetype<Header>(requests + <usize>at * HEADER_BYTES);
    const picks = new Picks(header.limit);
    recommend(new Request(header, items, candidates), picks);
    picks.write(at, answer);
  }
  return answered(answer);
}

/** Called after the host has read the answer. */
export function component_post(result: usize): void {
  forget();
}
