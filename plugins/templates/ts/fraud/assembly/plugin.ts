// {{name}}: so many points for each order of the customer within the last hour.

import { Config, NONE } from "./onhand";
import { ALLOW, Header, REVIEW, Score } from "./facts";

// Number of the reason; plugin.toml has its text.
const REASON_ORDERS: u32 = 1;

let points: i64 = 100;
let review: i64 = 300;

/** Takes the configuration; returns null, or what is wrong with it. */
export function init(config: Config): string | null {
  points = config.int("points", 0, 1_000, points);
  if (points == NONE) return "points is outside 0..=1000";
  review = config.int("review", 1, 1_000, review);
  if (review == NONE) return "review is outside 1..=1000";
  return null;
}

/** Scores an order; `lineOf` has its lines. */
export function score(header: Header, lines: usize, score: Score): void {
  const sum = min(<i64>header.customerOrdersHour * points, 1_000);
  score.points = <u32>sum;
  score.verdict = sum >= review ? REVIEW : ALLOW;
  score.code = sum >= review ? REASON_ORDERS : 0;
}
