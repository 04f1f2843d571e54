// The component around the plugin: functions by the names that onhand.mjs gives them outside.
//
// Facts are read where the host has put them; they are gone when the call ends.

import { Answer, Config, answered, forget, initialised } from "./onhand";
import { ADJUSTMENT_BYTES, HEADER_BYTES, Header, Order, adjust } from "./facts";
import { init, price } from "./plugin";

@external("onhand:pricing/log@1.0.0", "log")
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
  headers: usize, headerCount: i32, lines: usize, lineCount: i32, coupons: usize, couponCount: i32
): usize {
  const answer = new Answer(ADJUSTMENT_BYTES);
  for (let at = 0; at < headerCount; at++) {
    const header = changetype<Header>(headers + <usize>at * HEADER_BYTES);
    const order = new Order(header, at, lines, coupons, answer);
    const before = answer.count;
    const code = price(order);
    if (code != 0) {
      answer.count = before;
      adjust(answer, 2, at, 0, code);
    }
  }
  return answered(answer);
}

/** Called after the host has read the answer. */
export function component_post(result: usize): void {
  forget();
}
