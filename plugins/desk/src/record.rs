//! Recordings: the last inputs of each kind with their answers, for replays; nobody's number
//! leaves the desk, a keyed hash stands for it.

use std::collections::VecDeque;
use std::sync::Arc;

use onhand_core::PolicyKind;
use onhand_plugin_bundle::{Facts, Fixture};
use onhand_policy::decision::{Prices, Risk};
use onhand_policy::fact::PricingLine;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::decide::price_answer;
use crate::facts::{FraudFacts, PriceAnswer, PricingFacts, RecommendFacts};
use crate::limits::RECORDED_LINES_MAX;
use crate::secret::Secret;

/// Replaces numbers of people and things by others, always the same.
pub(crate) struct Pseudonyms<'a>(pub(crate) &'a Secret);

impl Pseudonyms<'_> {
    fn customer(&self, number: &mut u64) {
        *number = self.0.pseudonym("customer", *number);
    }
}

/// Returns facts without the numbers of anybody.
pub(crate) fn pricing_input(facts: &PricingFacts, hide: &Pseudonyms<'_>) -> Facts {
    let PricingFacts { mut headers, lines, coupons } = facts.clone();
    headers.iter_mut().for_each(|header| hide.customer(&mut header.customer));
    Facts::Pricing { headers, lines, coupons }
}

/// Returns facts without the numbers of anybody.
pub(crate) fn fraud_input(facts: &FraudFacts, hide: &Pseudonyms<'_>) -> Facts {
    let FraudFacts { mut headers, lines } = facts.clone();
    for header in &mut headers {
        hide.customer(&mut header.customer);
        header.address = hide.0.pseudonym("address", header.address);
        header.device = hide.0.pseudonym("device", header.device);
    }
    Facts::Fraud { headers, lines }
}

/// Returns facts without the numbers of anybody.
pub(crate) fn recommend_input(facts: &RecommendFacts, hide: &Pseudonyms<'_>) -> Facts {
    let RecommendFacts { mut request, items, candidates } = facts.clone();
    hide.customer(&mut request.customer);
    Facts::Recommend { requests: vec![request], items, candidates }
}

/// Inputs of one batch with what was answered.
struct Batch<F, A> {
    facts: F,
    answers: A,
    orders: usize,
    lines: usize,
}

/// Picks of a policy: SKU by its 64 bits, and score.
type Picks = Vec<(u64, u32)>;

/// One order of a batch, by its place there.
type Recorded<F, A> = (Arc<Batch<F, A>>, usize);

/// Batches of one kind, the latest last.
struct Kept<F, A> {
    batches: VecDeque<Arc<Batch<F, A>>>,
    /// Orders of all batches.
    orders: usize,
    /// Lines of all batches.
    lines: usize,
}

/// Inputs of one kind.
///
/// Batches are kept as they were answered and shared rather than copied: nothing is made of an
/// order before somebody reads it, and whoever does holds the lock for a count of references each.
struct Ring<F, A>(Mutex<Kept<F, A>>);

impl<F, A> Default for Ring<F, A> {
    fn default() -> Self {
        Self(Mutex::new(Kept { batches: VecDeque::new(), orders: 0, lines: 0 }))
    }
}

impl<F, A> Ring<F, A> {
    /// Keeps a batch; the oldest ones go of which none of the last `max` orders is, or that are too
    /// many lines together.
    fn push(&self, max: usize, new: Batch<F, A>) {
        // What goes is dropped without the lock.
        let mut gone = Vec::new();
        let new = Arc::new(new);
        let mut kept = self.0.lock();
        kept.orders += new.orders;
        kept.lines += new.lines;
        kept.batches.push_back(new);
        while let Some(oldest) = kept.batches.front()
            && (kept.orders - oldest.orders >= max || kept.lines > RECORDED_LINES_MAX)
            && let Some(oldest) = kept.batches.pop_front()
        {
            kept.orders -= oldest.orders;
            kept.lines -= oldest.lines;
            gone.push(oldest);
        }
        drop(kept);
    }

    /// Returns the last orders of those that are kept, the oldest first.
    fn last(&self, last: usize) -> Vec<Recorded<F, A>> {
        let kept = self.0.lock();
        let mut skipped = kept.orders.saturating_sub(last);
        let mut found = Vec::with_capacity(kept.orders - skipped);
        for batch in &kept.batches {
            let first = skipped.min(batch.orders);
            skipped -= first;
            found.extend((first..batch.orders).map(|order| (Arc::clone(batch), order)));
        }
        found
    }
}

/// The last inputs of each kind.
pub(crate) struct Recorder {
    max: usize,
    pricing: Ring<PricingFacts, Prices>,
    fraud: Ring<FraudFacts, Vec<Risk>>,
    recommend: Ring<RecommendFacts, Picks>,
}

impl Recorder {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, pricing: Ring::default(), fraud: Ring::default(), recommend: Ring::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.max > 0
    }

    pub(crate) fn prices(&self, facts: PricingFacts, answers: Prices) {
        let (orders, lines) = (facts.headers.len(), facts.lines.len());
        self.pricing.push(self.max, Batch { facts, answers, orders, lines });
    }

    pub(crate) fn risks(&self, facts: FraudFacts, answers: Vec<Risk>) {
        let (orders, lines) = (facts.headers.len(), facts.lines.len());
        self.fraud.push(self.max, Batch { facts, answers, orders, lines });
    }

    pub(crate) fn picks(&self, facts: RecommendFacts, answers: Picks) {
        let lines = facts.items.len() + facts.candidates.len();
        self.recommend.push(self.max, Batch { facts, answers, orders: 1, lines });
    }

    /// Returns the last inputs as fixtures that expect what was answered, the oldest first.
    pub(crate) fn recorded(
        &self,
        kind: PolicyKind,
        last: usize,
        hide: &Pseudonyms<'_>,
    ) -> Vec<Fixture> {
        let last = last.min(self.max);
        match kind {
            PolicyKind::Pricing => {
                let one = |(batch, order): Recorded<PricingFacts, Prices>| {
                    let facts = batch.facts.part(std::iter::once(order));
                    let answer = price_answer(&batch.facts, &batch.answers, order);
                    fixture(pricing_input(&facts, hide), priced(&facts, &answer))
                };
                self.pricing.last(last).into_iter().map(one).collect()
            }
            PolicyKind::Fraud => {
                let one = |(batch, order): Recorded<FraudFacts, Vec<Risk>>| {
                    let facts = batch.facts.part(std::iter::once(order));
                    let Risk { points, verdict, code } = batch.answers[order];
                    let verdict = verdict.number();
                    let score = json!({ "points": points, "verdict": verdict, "code": code });
                    fixture(fraud_input(&facts, hide), json!({ "scores": [score] }))
                };
                self.fraud.last(last).into_iter().map(one).collect()
            }
            PolicyKind::Recommend => {
                let pick =
                    |(sku, score): &(u64, u32)| json!({ "request": 0, "sku": sku, "score": score });
                let one = |(batch, _): Recorded<RecommendFacts, Picks>| {
                    let shown: Vec<Value> = batch.answers.iter().map(pick).collect();
                    fixture(recommend_input(&batch.facts, hide), json!({ "shown": shown }))
                };
                self.recommend.last(last).into_iter().map(one).collect()
            }
        }
    }
}

fn fixture(facts: Facts, expect: Value) -> Fixture {
    let mut fixture = Fixture::new(facts);
    fixture.expect = match expect {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    fixture
}

fn priced(facts: &PricingFacts, answer: &PriceAnswer) -> Value {
    if let Some(code) = answer.refused {
        return json!({ "orders": [{ "refused": code }] });
    }
    let line =
        |(line, discount): (&PricingLine, &i64)| json!({ "unit": line.unit, "discount": discount });
    let lines: Vec<Value> = facts.lines.iter().zip(&answer.discounts).map(line).collect();
    json!({ "orders": [{ "total": answer.total }], "lines": lines })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Batch, Ring};
    use crate::limits::RECORDED_LINES_MAX;

    fn batch(number: u32, orders: usize, lines: usize) -> Batch<u32, ()> {
        Batch { facts: number, answers: (), orders, lines }
    }

    fn places(ring: &Ring<u32, ()>, last: usize) -> Vec<(u32, usize)> {
        ring.last(last).iter().map(|(batch, order)| (batch.facts, *order)).collect()
    }

    /// The last orders are kept whatever their batches, and no batch that has none of them.
    #[test]
    fn the_last_orders_are_kept() {
        let ring: Ring<u32, ()> = Ring::default();
        [1, 3, 2].into_iter().zip(0..).for_each(|(orders, n)| ring.push(4, batch(n, orders, 1)));
        assert_eq!(places(&ring, 4), [(1, 1), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(places(&ring, 1), [(2, 1)]);
        assert_eq!(places(&ring, 9).len(), 5, "the first batch is gone");
        ring.push(4, batch(3, 9, 1));
        assert_eq!(places(&ring, 4), [(3, 5), (3, 6), (3, 7), (3, 8)]);
    }

    /// Orders of many lines are kept in smaller number.
    #[test]
    fn lines_are_bounded() {
        let ring: Ring<u32, ()> = Ring::default();
        (0..5).for_each(|number| ring.push(9, batch(number, 1, RECORDED_LINES_MAX / 2)));
        assert_eq!(places(&ring, 9), [(3, 0), (4, 0)]);
    }

    /// What is read is what is kept, not a copy of it, so that reading holds the lock for little.
    #[test]
    fn readers_share_what_is_kept() {
        let ring: Ring<u32, ()> = Ring::default();
        ring.push(2, batch(7, 2, 1));
        let (one, two) = (ring.last(2), ring.last(2));
        assert!(one.iter().zip(&two).all(|(one, two)| Arc::ptr_eq(&one.0, &two.0)));
    }
}
