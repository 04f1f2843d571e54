// {{name}}: so many per cent off each line of enough units.

import { Config, NONE } from "./onhand";
import { Order } from "./facts";

// Number of the rule; plugin.toml has its text.
const RULE_UNITS: u32 = 1;

let percent: i64 = 10;
let units: i64 = 10;

/** Takes the configuration; returns null, or what is wrong with it. */
export function init(config: Config): string | null {
  percent = config.int("percent", 0, 100, percent);
  if (percent == NONE) return "percent is outside 0..=100";
  units = config.int("units", 1, 1_000_000_000, units);
  if (units == NONE) return "units is outside 1..=1000000000";
  return null;
}

/** Prices an order; returns 0, or the number of the reason why it is refused. */
export function price(order: Order): u32 {
  for (let at: u32 = 0; at < order.header.lineCount; at++) {
    const line = order.line(at);
    if (<i64>line.quantity >= units) {
      const amount = line.unit * line.quantity;
      order.offLine(at, amount / 100 * percent + amount % 100 * percent / 100, RULE_UNITS);
    }
  }
  return 0;
}
