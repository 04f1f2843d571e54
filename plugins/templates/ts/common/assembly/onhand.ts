// What every Onhand plugin needs: its configuration, and memory that is given back after each call.
//
// There is no garbage collector: whatever a call allocates is gone when it ends. Keep nothing
// between calls but what `init` has made of the configuration.

/** A configuration: a flat JSON object of whole numbers. */
@final export class Config {
  constructor(private text: string) {}

  /** Returns a field, `otherwise` if there is none, and NONE if it is outside its range. */
  int(name: string, least: i64, most: i64, otherwise: i64): i64 {
    const text = this.text;
    const key = '"' + name + '"';
    let at = text.indexOf(key);
    if (at < 0) return otherwise;
    at += key.length;
    while (at < text.length && isSpaceOrColon(text.charCodeAt(at))) at++;
    const negative = at < text.length && text.charCodeAt(at) == 0x2d;
    if (negative) at++;
    let value: i64 = 0;
    let digits = 0;
    for (; at < text.length; at++, digits++) {
      const digit = text.charCodeAt(at) - 0x30;
      if (digit < 0 || digit > 9) break;
      if (digits == 18) return NONE;
      value = value * 10 + digit;
    }
    if (negative) value = -value;
    return digits == 0 || value < least || value > most ? NONE : value;
  }
}

/** What `Config.int` returns for a field outside its range. */
export const NONE: i64 = i64.MIN_VALUE;

function isSpaceOrColon(code: i32): bool {
  return code == 0x20 || code == 0x0a || code == 0x3a;
}

/** Answers in the order of the call, in one piece of memory. */
@final export class Answer {
  place: usize = 0;
  count: i32 = 0;
  private room: i32 = 0;

  constructor(private bytes: i32) {}

  /** Returns the place of one more. */
  push(): usize {
    if (this.count == this.room) {
      this.room = max(this.room * 2, 64);
      const bytes = <usize>(this.room * this.bytes);
      this.place = this.place == 0 ? heap.alloc(bytes) : heap.realloc(this.place, bytes);
    }
    return this.place + <usize>(this.count++ * this.bytes);
  }
}

const result: usize = memory.data(12, 4);
// A block behind everything that `init` has allocated.
let mark: usize = 0;

/** Returns where the host finds a list of answers. */
export function answered(answer: Answer): usize {
  store<usize>(result, answer.place);
  store<i32>(result, answer.count, 4);
  return result;
}

/** Returns where the host finds what `init` says: nothing, or what is wrong. */
export function initialised(error: string | null): usize {
  store<u32>(result, error == null ? 0 : 1);
  if (error != null) {
    const text = String.UTF8.encode(error);
    store<usize>(result, changetype<usize>(text), 4);
    store<i32>(result, text.byteLength, 8);
  }
  mark = heap.alloc(16);
  return result;
}

/** Gives back all that was allocated since `init`. */
export function forget(): void {
  // The stub runtime frees its last block alone: the mark is made to reach up to here.
  const end = heap.alloc(16);
  const bytes = sizeof<usize>();
  store<usize>(mark - bytes, end + load<usize>(end - bytes) - mark);
  heap.free(mark);
  mark = heap.alloc(16);
}
