// {{name}}: what was bought together most often.

import { Config, NONE } from "./onhand";
import { Picks, Request } from "./facts";

let togetherLeast: i64 = 2;

/** Takes the configuration; returns null, or what is wrong with it. */
export function init(config: Config): string | null {
  togetherLeast = config.int("together_least", 1, 1_000_000, togetherLeast);
  return togetherLeast == NONE ? "together_least is outside 1..=1000000" : null;
}

/** Picks for one request. */
export function recommend(request: Request, picks: Picks): void {
  for (let at: u32 = 0; at < request.header.candidateCount; at++) {
    const one = request.candidate(at);
    if (one.available > 0 && <i64>one.together >= togetherLeast && !request.has(one.sku)) {
      picks.offer(one.sku, one.together);
    }
  }
}
