//! Candidate beside incumbent: equal, different, and what the difference is worth.

use std::collections::BTreeMap;

use onhand_plugin_bundle::{Answer, CONFIG_DEFAULT, Facts, Fixture, Kind};
use serde_json::{Map, Value, json};

use crate::replay::{Known, Recorded};
use crate::terminal::Failure;
use crate::workshop::Workshop;

/// An order whose answers differ, or on which the candidate fails.
pub(crate) struct Divergence {
    pub(crate) id: String,
    pub(crate) failure: Option<String>,
    pub(crate) currency: u32,
    /// Candidate's total less incumbent's in minor units, if both have one.
    pub(crate) effect: Option<i64>,
    pub(crate) facts: Value,
    pub(crate) incumbent: Value,
    pub(crate) candidate: Value,
}

/// Totals of the orders that both price, in minor units.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) orders: u64,
    pub(crate) incumbent: i64,
    pub(crate) candidate: i64,
}

/// What came of all.
pub(crate) struct Tally {
    kind: Kind,
    show_max: usize,
    pub(crate) orders: u64,
    pub(crate) equal: u64,
    pub(crate) different: u64,
    pub(crate) failed: u64,
    /// By currency.
    pub(crate) money: BTreeMap<u32, Sums>,
    /// Orders refused by the incumbent, and by the candidate.
    pub(crate) refused: (u64, u64),
    /// Orders whose verdict changes, by both verdicts.
    pub(crate) verdicts: BTreeMap<(String, String), u64>,
    pub(crate) shown: Vec<Divergence>,
}

impl Tally {
    pub(crate) const fn new(kind: Kind, show_max: usize) -> Self {
        Self {
            kind,
            show_max,
            orders: 0,
            equal: 0,
            different: 0,
            failed: 0,
            money: BTreeMap::new(),
            refused: (0, 0),
            verdicts: BTreeMap::new(),
            shown: Vec::new(),
        }
    }

    /// Asks the candidate about a recorded input, and compares.
    pub(crate) fn compare(
        &mut self,
        recorded: &Recorded,
        candidate: &mut Workshop,
        incumbent: Option<&mut Workshop>,
        config: Option<&Value>,
    ) -> Result<(), Failure> {
        let fixture = &recorded.fixture;
        let recorded_config = fixture.config_text();
        let own = config.map_or_else(|| recorded_config.clone(), Value::to_string);
        let old = match incumbent {
            Some(shop) => {
                let old = ask(shop, &recorded_config, fixture);
                old.map_err(|why| Failure::unfit(format!("the incumbent fails: {why}")))?
            }
            None => self.known(recorded)?,
        };
        self.orders += 1;
        match ask(candidate, &own, fixture) {
            Ok(new) => self.judge(fixture, &old, &new),
            Err(why) => {
                self.failed += 1;
                self.show(fixture, &old, Value::Null, None, Some(why));
            }
        }
        Ok(())
    }

    /// Returns what was recorded as an output, as far as it is known.
    fn known(&self, recorded: &Recorded) -> Result<Value, Failure> {
        let fixture = &recorded.fixture;
        match recorded.known {
            Known::Total(total) => Ok(json!({ "orders": [{ "total": total }] })),
            Known::Answer => {
                let Some(answer) = Answer::from_said(self.kind, &fixture.expect) else {
                    // A host records what came of an answer, whoever has given it.
                    return outcome(fixture).ok_or_else(|| missing(fixture));
                };
                let output = fixture.facts.output(&answer);
                output.map_err(|error| Failure::usage(format!("{}: {error}", name(fixture))))
            }
            Known::Nothing => Err(missing(fixture)),
        }
    }

    fn judge(&mut self, fixture: &Fixture, old: &Value, new: &Value) {
        let effect = self.add(fixture, old, new);
        // What is not known of the incumbent is not compared.
        let known = old.as_object().into_iter().flatten();
        let same = known.clone().all(|(member, old)| match new.get(member) {
            Some(new) if member == "orders" => paid(new) == paid(old),
            Some(new) => new == old,
            None => false,
        });
        if same {
            self.equal += 1;
        } else {
            self.different += 1;
            self.show(fixture, old, new.clone(), effect, None);
        }
    }

    /// Adds an order to the sums; returns the candidate's total less the incumbent's.
    fn add(&mut self, fixture: &Fixture, old: &Value, new: &Value) -> Option<i64> {
        match &fixture.facts {
            Facts::Pricing { headers, .. } => {
                let mut effect = None;
                for (at, header) in headers.iter().enumerate() {
                    let total = |output: &Value| output["orders"][at]["total"].as_i64();
                    self.refused.0 += u64::from(total(old).is_none());
                    self.refused.1 += u64::from(total(new).is_none());
                    let (Some(old), Some(new)) = (total(old), total(new)) else { continue };
                    let sums = self.money.entry(header.currency).or_default();
                    sums.orders += 1;
                    sums.incumbent = sums.incumbent.saturating_add(old);
                    sums.candidate = sums.candidate.saturating_add(new);
                    effect = Some(effect.unwrap_or(0) + (new - old));
                }
                effect
            }
            Facts::Fraud { headers, .. } => {
                for at in 0..headers.len() {
                    let verdict = |output: &Value| {
                        let number = output["scores"][at]["verdict"].as_u64();
                        let words = ["allow", "challenge", "review", "deny"];
                        let word = number.and_then(|number| words.get(number as usize));
                        word.copied().unwrap_or("unscored").to_owned()
                    };
                    let (old, new) = (verdict(old), verdict(new));
                    if old != new {
                        *self.verdicts.entry((old, new)).or_default() += 1;
                    }
                }
                None
            }
            Facts::Recommend { .. } => None,
        }
    }

    fn show(
        &mut self,
        fixture: &Fixture,
        old: &Value,
        new: Value,
        effect: Option<i64>,
        failure: Option<String>,
    ) {
        if self.shown.len() >= self.show_max {
            return;
        }
        let currency = match &fixture.facts {
            Facts::Pricing { headers, .. } => headers.first().map_or(0, |header| header.currency),
            Facts::Fraud { headers, .. } => headers.first().map_or(0, |header| header.currency),
            Facts::Recommend { .. } => 0,
        };
        let text = Fixture::new(fixture.facts.clone()).line();
        let facts = serde_json::from_str::<Value>(&text).map(|mut value| value["input"].take());
        self.shown.push(Divergence {
            id: name(fixture),
            failure,
            currency,
            effect,
            facts: facts.unwrap_or_default(),
            incumbent: old.clone(),
            candidate: new,
        });
    }
}

/// Members of an output that say what came of an answer.
const OUTCOMES: [&str; 3] = ["orders", "lines", "shown"];

/// Returns whether a recording says what was answered, or what came of it.
pub(crate) fn is_known(kind: Kind, fixture: &Fixture) -> bool {
    Answer::from_said(kind, &fixture.expect).is_some() || outcome(fixture).is_some()
}

/// Returns what came of the recorded answer; `None` if the recording does not say.
fn outcome(fixture: &Fixture) -> Option<Value> {
    let said = fixture.expect.iter().filter(|(member, _)| OUTCOMES.contains(&member.as_str()));
    let known: Map<String, Value> =
        said.map(|(member, value)| (member.clone(), value.clone())).collect();
    (!known.is_empty()).then_some(Value::Object(known))
}

/// Returns an order's outcome without what was cut off its discounts, which recordings leave out.
fn paid(orders: &Value) -> Value {
    let mut orders = orders.clone();
    for order in orders.as_array_mut().into_iter().flatten() {
        if let Some(order) = order.as_object_mut() {
            order.remove("clamped");
        }
    }
    orders
}

fn name(fixture: &Fixture) -> String {
    let name = fixture.id.as_ref().or(fixture.about.as_ref());
    name.cloned().unwrap_or_else(|| "an input without an id".to_owned())
}

fn missing(fixture: &Fixture) -> Failure {
    Failure::usage(format!("{}: the recording has no answer to compare with", name(fixture)))
        .help("give the incumbent: --against OLD.wasm")
}

fn ask(shop: &mut Workshop, config: &str, fixture: &Fixture) -> Result<Value, String> {
    let config = if config.is_empty() { CONFIG_DEFAULT } else { config };
    let loaded = shop.with_config(config).map_err(|error| error.to_string())?;
    let (answer, _) = loaded.answer(&fixture.facts, false).map_err(|error| error.to_string())?;
    fixture.facts.output(&answer).map_err(|error| error.to_string())
}
