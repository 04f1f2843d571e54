// Records of onhand:fraud@1.0.0, as wit/fraud.wit has them.

@unmanaged export class Header {
  customer: u64;
  address: u64;
  device: u64;
  now: u64;
  currency: u32;
  total: i64;
  units: u32;
  customerAgeDays: u32;
  distanceKm: u32;
  customerOrdersHour: u32;
  customerOrdersDay: u32;
  customerAmountDay: i64;
  addressOrdersHour: u32;
  addressCustomersDay: u32;
  deviceOrdersHour: u32;
  deviceCustomersDay: u32;
  firstLine: u32;
  lineCount: u32;
}

@unmanaged export class Line {
  sku: u64;
  quantity: u32;
  unit: i64;
}

/** `distanceKm` of an order whose distance is not known. */
export const DISTANCE_UNKNOWN: u32 = u32.MAX_VALUE;

// Bytes of a record in a list, from one to the next.
export const HEADER_BYTES: usize = 104;
export const LINE_BYTES: usize = 24;
export const SCORE_BYTES: i32 = 12;

export const ALLOW: u32 = 0;
export const CHALLENGE: u32 = 1;
export const REVIEW: u32 = 2;
export const DENY: u32 = 3;

@unmanaged export class Score {
  /** 0 to 1,000. */
  points: u32;
  /** One of ALLOW, CHALLENGE, REVIEW, DENY. */
  verdict: u32;
  /** Number of the reason. */
  code: u32;
}

/** Returns line `at` of an order, of `header.lineCount`. */
export function lineOf(lines: usize, at: u32): Line {
  return changetype<Line>(lines + <usize>at * LINE_BYTES);
}
