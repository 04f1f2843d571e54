//! Recordings: the last inputs of each kind with their answers, for replays; nobody's number
//! leaves the desk, a keyed hash stands for it.

use std::collections::VecDeque;
use std::sync::Arc;

use onhand_core::PolicyKind;
use onhand_plugin_bundle::{Facts, Fixture};
use onhand_policy::decision::Risk;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::facts::{FraudFacts, PriceAnswer, PricingFacts, RecommendFacts};
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

/// Inputs of one kind, with what was answered.
///
/// Each is shared rather than copied: whoever reads them holds the lock for a count of references
/// each, and requests that record meanwhile wait no longer than that.
struct Ring<F, A> {
    kept: Mutex<VecDeque<Arc<(F, A)>>>,
}

impl<F, A> Default for Ring<F, A> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<F, A> Ring<F, A> {
    fn push(&self, max: usize, new: impl IntoIterator<Item = (F, A)>) {
        // Both are done without the lock: what comes is put together, what goes is dropped.
        let new: Vec<_> = new.into_iter().map(Arc::new).collect();
        let mut gone = Vec::with_capacity(new.len());
        let mut kept = self.kept.lock();
        for one in new {
            if kept.len() >= max {
                gone.extend(kept.pop_front());
            }
            kept.push_back(one);
        }
        drop(kept);
    }

    /// Returns the last ones, the oldest first.
    fn last(&self, last: usize) -> Vec<Arc<(F, A)>> {
        let kept = self.kept.lock();
        kept.iter().skip(kept.len().saturating_sub(last)).cloned().collect()
    }
}

/// The last inputs of each kind.
pub(crate) struct Recorder {
    max: usize,
    pricing: Ring<PricingFacts, PriceAnswer>,
    fraud: Ring<FraudFacts, Risk>,
    recommend: Ring<RecommendFacts, Vec<(u64, u32)>>,
}

impl Recorder {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, pricing: Ring::default(), fraud: Ring::default(), recommend: Ring::default() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.max > 0
    }

    pub(crate) fn prices(&self, new: impl IntoIterator<Item = (PricingFacts, PriceAnswer)>) {
        self.pricing.push(self.max, new);
    }

    pub(crate) fn risks(&self, new: impl IntoIterator<Item = (FraudFacts, Risk)>) {
        self.fraud.push(self.max, new);
    }

    pub(crate) fn picks(&self, facts: RecommendFacts, picks: Vec<(u64, u32)>) {
        self.recommend.push(self.max, [(facts, picks)]);
    }

    /// Returns the last inputs as fixtures that expect what was answered, the oldest first.
    pub(crate) fn recorded(
        &self,
        kind: PolicyKind,
        last: usize,
        hide: &Pseudonyms<'_>,
    ) -> Vec<Fixture> {
        match kind {
            PolicyKind::Pricing => {
                let one = |(facts, answer): &(PricingFacts, PriceAnswer)| {
                    fixture(pricing_input(facts, hide), priced(facts, answer))
                };
                self.pricing.last(last).iter().map(|kept| one(kept)).collect()
            }
            PolicyKind::Fraud => {
                let one = |(facts, risk): &(FraudFacts, Risk)| {
                    let Risk { points, verdict, code } = *risk;
                    let verdict = verdict.number();
                    let score = json!({ "points": points, "verdict": verdict, "code": code });
                    fixture(fraud_input(facts, hide), json!({ "scores": [score] }))
                };
                self.fraud.last(last).iter().map(|kept| one(kept)).collect()
            }
            PolicyKind::Recommend => {
                let pick =
                    |(sku, score): &(u64, u32)| json!({ "request": 0, "sku": sku, "score": score });
                let one = |(facts, picks): &(RecommendFacts, Vec<(u64, u32)>)| {
                    let shown: Vec<Value> = picks.iter().map(pick).collect();
                    fixture(recommend_input(facts, hide), json!({ "shown": shown }))
                };
                self.recommend.last(last).iter().map(|kept| one(kept)).collect()
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
    let line = |(line, discount): (&onhand_policy::fact::PricingLine, &i64)| json!({ "unit": line.unit, "discount": discount });
    let lines: Vec<Value> = facts.lines.iter().zip(&answer.discounts).map(line).collect();
    json!({ "orders": [{ "total": answer.total }], "lines": lines })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Ring;

    /// What is read is what is kept, not a copy of it, so that reading holds the lock for little.
    #[test]
    fn readers_share_what_is_kept() {
        let ring: Ring<u32, u32> = Ring::default();
        ring.push(3, (0..5).map(|n| (n, n)));
        let (one, two) = (ring.last(2), ring.last(2));
        assert_eq!(one.iter().map(|kept| kept.0).collect::<Vec<_>>(), [3, 4]);
        assert!(one.iter().zip(&two).all(|(one, two)| Arc::ptr_eq(one, two)));
        assert_eq!(ring.last(9).len(), 3);
    }
}
