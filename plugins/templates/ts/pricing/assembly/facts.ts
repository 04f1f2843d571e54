// Records of onhand:pricing@1.0.0, as wit/pricing.wit has them.

import { Answer } from "./onhand";

@unmanaged export class Header {
  customer: u64;
  segment: u32;
  now: u64;
  currency: u32;
  firstLine: u32;
  lineCount: u32;
  firstCoupon: u32;
  couponCount: u32;
}

@unmanaged export class Line {
  sku: u64;
  class: u32;
  location: u32;
  quantity: u32;
  unit: i64;
}

// Bytes of a record in a list, from one to the next.
export const HEADER_BYTES: usize = 48;
export const LINE_BYTES: usize = 32;
export const ADJUSTMENT_BYTES: i32 = 24;

export function adjust(answer: Answer, kind: u32, at: u32, amount: i64, code: u32): void {
  const place = answer.push();
  store<u32>(place, kind);
  store<u32>(place, at, 4);
  store<i64>(place, amount, 8);
  store<u32>(place, code, 16);
}

/** One order to be priced. */
@final export class Order {
  constructor(
    public header: Header,
    private index: u32,
    private lines: usize,
    private coupons: usize,
    private answer: Answer
  ) {}

  /** Returns line `at` of the order, of `header.lineCount`. */
  line(at: u32): Line {
    return changetype<Line>(this.lines + <usize>(this.header.firstLine + at) * LINE_BYTES);
  }

  /** Returns coupon `at` of the order, of `header.couponCount`. */
  coupon(at: u32): u64 {
    return load<u64>(this.coupons + <usize>(this.header.firstCoupon + at) * 8);
  }

  /** Takes an amount off line `at`, by rule `code`; at most what the line costs. */
  offLine(at: u32, amount: i64, code: u32): void {
    if (amount != 0) adjust(this.answer, 0, this.header.firstLine + at, amount, code);
  }

  /** Takes an amount off the order, by rule `code`. */
  offOrder(amount: i64, code: u32): void {
    if (amount != 0) adjust(this.answer, 1, this.index, amount, code);
  }

  /** Says that rule `code` has used coupon `at`. */
  useCoupon(at: u32, code: u32): void {
    adjust(this.answer, 3, this.header.firstCoupon + at, 0, code);
  }
}
