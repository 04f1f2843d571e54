// The component around the plugin: functions by the names that onhand.mjs gives them outside.
//
// Facts are read where the host has put them; they are gone when the call ends.

import { Answer, Config, answered, forget, initialised } from "./onhand";
import { HEADER_BYTES, Header, LINE_BYTES, SCORE_BYTES, Score } from "./facts";
import { init, score } from "./plugin";

@external("onhand:fraud/log@1.0.0", "log")
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
  headers: usize, headerCount: i32, lines: usize, lineCount: i32
): usize {
  const answer = new Answer(SCORE_BYTES);
  for (let at = 0; at < headerCount; at++) {
    const header = changetype<Header>(headers + <usize>at * HEADER_BYTES);
    score(header, lines + <usize>header.firstLine * LINE_BYTES,
      changetype<Score>(answer.push()));
  }
  return answered(answer);
}

/** Called after the host has read the answer. */
export function component_post(result: usize): void {
  forget();
}
