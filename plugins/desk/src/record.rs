//! Recordings: the last inputs of each kind with their answers, for replays; nobody's number
//! leaves the desk, a keyed hash stands for it.

use std::collections::VecDeque;

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
struct Ring<F, A> {
    kept: Mutex<VecDeque<(F, A)>>,
}

impl<F, A> Default for Ring<F, A> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<F, A> Ring<F, A> {
    fn push(&self, max: usize, new: impl IntoIterator<Item = (F, A)>) {
        let mut kept = self.kept.lock();
        for one in new {
            if kept.len() >= max {
                kept.pop_front();
            }
            kept.push_back(one);
        }
    }

    /// Returns the last ones, the oldest first.
    fn last<T>(&self, last: usize, each: impl FnMut(&(F, A)) -> T) -> Vec<T> {
        let kept = self.kept.lock();
        kept.iter().skip(kept.len().saturating_sub(last)).map(each).collect()
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
            PolicyKind::Pricing => self.pricing.last(last, |(facts, answer)| {
                fixture(pricing_input(facts, hide), priced(facts, answer))
            }),
            PolicyKind::Fraud => self.fraud.last(last, |(facts, risk)| {
                let Risk { points, verdict, code } = *risk;
                let score = json!({ "points": points, "verdict": verdict.number(), "code": code });
                fixture(fraud_input(facts, hide), json!({ "scores": [score] }))
            }),
            PolicyKind::Recommend => self.recommend.last(last, |(facts, picks)| {
                let pick =
                    |(sku, score): &(u64, u32)| json!({ "request": 0, "sku": sku, "score": score });
                let shown: Vec<Value> = picks.iter().map(pick).collect();
                fixture(recommend_input(facts, hide), json!({ "shown": shown }))
            }),
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
