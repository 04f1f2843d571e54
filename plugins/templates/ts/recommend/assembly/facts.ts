// Records of onhand:recommend@1.0.0, as wit/recommend.wit has them.

import { Answer } from "./onhand";

@unmanaged export class Header {
  customer: u64;
  now: u64;
  firstItem: u32;
  itemCount: u32;
  firstCandidate: u32;
  candidateCount: u32;
  limit: u32;
}

@unmanaged export class Candidate {
  sku: u64;
  together: u32;
  alone: u32;
  items: u32;
  popularity: u32;
  available: u32;
}

// Bytes of a record in a list, from one to the next.
export const HEADER_BYTES: usize = 40;
export const CANDIDATE_BYTES: usize = 32;
export const PICK_BYTES: i32 = 24;

/** One request for recommendations. */
@final export class Request {
  constructor(public header: Header, private items: usize, private candidates: usize) {}

  /** Returns whether a SKU is in the basket. */
  has(sku: u64): bool {
    const first = this.items + <usize>this.header.firstItem * 8;
    for (let at: u32 = 0; at < this.header.itemCount; at++) {
      if (load<u64>(first + <usize>at * 8) == sku) return true;
    }
    return false;
  }

  /** Returns candidate `at`, of `header.candidateCount`. */
  candidate(at: u32): Candidate {
    const index = <usize>(this.header.firstCandidate + at);
    return changetype<Candidate>(this.candidates + index * CANDIDATE_BYTES);
  }
}

/** What is picked for one request, best first, each SKU once. */
@final export class Picks {
  private skus: StaticArray<u64>;
  private scores: StaticArray<u32>;
  private count: i32 = 0;

  constructor(private limit: i32) {
    this.skus = new StaticArray<u64>(limit + 1);
    this.scores = new StaticArray<u32>(limit + 1);
  }

  /**
   * Offers a SKU with its score. Of two with the same score the one that came first is better; a
   * SKU that is there already keeps its better score.
   */
  offer(sku: u64, score: u32): void {
    const skus = this.skus, scores = this.scores;
    if (this.count == this.limit && scores[this.count - 1] >= score) return;
    for (let at = 0; at < this.count; at++) {
      if (skus[at] != sku) continue;
      if (scores[at] >= score) return;
      this.count--;
      for (let next = at; next < this.count; next++) {
        skus[next] = skus[next + 1];
        scores[next] = scores[next + 1];
      }
    }
    let at = this.count;
    for (; at > 0 && scores[at - 1] < score; at--) {
      skus[at] = skus[at - 1];
      scores[at] = scores[at - 1];
    }
    skus[at] = sku;
    scores[at] = score;
    this.count = min(this.count + 1, this.limit);
  }

  write(request: u32, answer: Answer): void {
    for (let at = 0; at < this.count; at++) {
      const place = answer.push();
      store<u32>(place, request);
      store<u64>(place, this.skus[at], 8);
      store<u32>(place, this.scores[at], 16);
    }
  }
}
