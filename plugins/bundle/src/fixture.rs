//! Fixtures: an input of a plugin as JSON, with the answer that it should have. Recordings of a
//! host have the same form, one a line.

use std::fmt;

use onhand_policy::decision::DecisionError;
use onhand_policy::fact::{
    Candidate, DISTANCE_UNKNOWN, FactError, FraudBatch, FraudHeader, FraudLine, PricingBatch,
    PricingHeader, PricingLine, RecommendBatch, RecommendRequest,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Answer, picked, priced, scored};
use crate::expect::{Mismatch, check, mismatches};
use crate::kind::Kind;

/// Configuration that a plugin is given if nobody gives it one: an empty object of JSON.
pub const CONFIG_DEFAULT: &str = "{}";
/// Most bytes of the texts of a fixture for people.
const TEXT_BYTES_MAX: usize = 1_024;

/// Facts of one call, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// Orders to be priced.
    Pricing {
        /// The orders.
        headers: Vec<PricingHeader>,
        /// Their lines.
        lines: Vec<PricingLine>,
        /// Their coupons.
        coupons: Vec<u64>,
    },
    /// Orders to be scored.
    Fraud {
        /// The orders.
        headers: Vec<FraudHeader>,
        /// Their lines.
        lines: Vec<FraudLine>,
    },
    /// Requests for recommendations.
    Recommend {
        /// The requests.
        requests: Vec<RecommendRequest>,
        /// What is in their baskets.
        items: Vec<u64>,
        /// What may be picked.
        candidates: Vec<Candidate>,
    },
}

impl From<&PricingBatch<'_>> for Facts {
    fn from(batch: &PricingBatch<'_>) -> Self {
        let (headers, lines) = (batch.headers().to_vec(), batch.lines().to_vec());
        Self::Pricing { headers, lines, coupons: batch.coupons().to_vec() }
    }
}

impl From<&FraudBatch<'_>> for Facts {
    fn from(batch: &FraudBatch<'_>) -> Self {
        Self::Fraud { headers: batch.headers().to_vec(), lines: batch.lines().to_vec() }
    }
}

impl From<&RecommendBatch<'_>> for Facts {
    fn from(batch: &RecommendBatch<'_>) -> Self {
        let (requests, items) = (batch.requests().to_vec(), batch.items().to_vec());
        Self::Recommend { requests, items, candidates: batch.candidates().to_vec() }
    }
}

impl Facts {
    /// Returns the kind of plugin that decides on such facts.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pricing { .. } => Kind::Pricing,
            Self::Fraud { .. } => Kind::Fraud,
            Self::Recommend { .. } => Kind::Recommend,
        }
    }

    /// Returns the number of orders or requests.
    pub const fn orders(&self) -> usize {
        match self {
            Self::Pricing { headers, .. } => headers.len(),
            Self::Fraud { headers, .. } => headers.len(),
            Self::Recommend { requests, .. } => requests.len(),
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    ///
    /// Returns the first field outside.
    pub fn check(&self) -> Result<(), FactError> {
        match self {
            Self::Pricing { headers, lines, coupons } => {
                PricingBatch::new(headers, lines, coupons).map(drop)
            }
            Self::Fraud { headers, lines } => FraudBatch::new(headers, lines).map(drop),
            Self::Recommend { requests, items, candidates } => {
                RecommendBatch::new(requests, items, candidates).map(drop)
            }
        }
    }

    /// Returns an answer to these facts as JSON, with what comes of it.
    ///
    /// For pricing: `adjustments` as answered, `orders` with each `total` (and what was `clamped`)
    /// or the code that it is `refused` by, `lines` with `unit` price and `discount`,
    /// `coupons` with the `order` and the `sku` of each use. For fraud:
    /// `scores`. For recommendations: `picks` as answered, and `shown` those that are available.
    ///
    /// # Errors
    ///
    /// Returns the first rule that the answer breaks, or that it is no answer to such facts.
    pub fn output(&self, answer: &Answer) -> Result<Value, FixtureError> {
        let output = match (self, answer) {
            (Self::Pricing { headers, lines, coupons }, Answer::Pricing(answer)) => {
                priced(&PricingBatch::new(headers, lines, coupons)?, answer)
            }
            (Self::Fraud { headers, lines }, Answer::Fraud(answer)) => {
                scored(&FraudBatch::new(headers, lines)?, answer)
            }
            (Self::Recommend { requests, items, candidates }, Answer::Recommend(answer)) => {
                picked(&RecommendBatch::new(requests, items, candidates)?, answer)
            }
            _ => {
                let text = format!("a {} answer to {} facts", answer.kind(), self.kind());
                return Err(FixtureError(text));
            }
        };
        Ok(Value::Object(output?))
    }
}

/// Why a text is no fixture, or an answer none to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureError(String);

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FixtureError {}

impl From<FactError> for FixtureError {
    fn from(error: FactError) -> Self {
        Self(format!("input: {error}"))
    }
}

impl From<DecisionError> for FixtureError {
    fn from(error: DecisionError) -> Self {
        Self(format!("answer: {error}"))
    }
}

/// An input of a plugin, and what its answer should be.
///
/// As JSON, `input` has the names of the WIT package: `headers`, `lines` and `coupons` for
/// pricing, `headers` and `lines` for fraud, `requests`, `items` and `candidates` for
/// recommendations. A number that is left out is 0, but: where an order's lines, coupons, items
/// or candidates start and how many they are may be left out if the input is one order; `total`
/// and `units` are then summed over its lines; `distance-km` is not known; `popularity` is none.
///
/// `expect` has members that the output ([`Facts::output`]) must have exactly, and paths with the
/// value that every place they lead to must have.
///
/// # Example
///
/// ```
/// use onhand_plugin_bundle::{Answer, Fixture};
/// use onhand_policy::decision::Adjustment;
///
/// let fixture = Fixture::read(r#"{
///     "kind": "pricing",
///     "about": "one in ten off for two of them",
///     "input": {
///         "headers": [{ "currency": 978 }],
///         "lines": [{ "sku": 7, "quantity": 2, "unit": 1000 }]
///     },
///     "expect": { "$.orders[0].total": 1800 }
/// }"#)?;
/// let off = Adjustment { kind: 0, at: 0, amount: 200, code: 1 };
/// let output = fixture.facts.output(&Answer::Pricing(vec![off]))?;
/// assert!(fixture.mismatches(&output).is_empty());
/// # Ok::<(), onhand_plugin_bundle::FixtureError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fixture {
    /// Name of a recorded input, such as an order's key.
    pub id: Option<String>,
    /// What it shows, for people.
    pub about: Option<String>,
    /// Configuration of the plugin; [`CONFIG_DEFAULT`] if there is none.
    pub config: Option<Value>,
    /// The input.
    pub facts: Facts,
    /// What the answer should be; nothing is compared if it is empty.
    pub expect: Map<String, Value>,
}

impl Fixture {
    /// Returns a fixture of facts alone.
    pub fn new(facts: Facts) -> Self {
        Self { id: None, about: None, config: None, facts, expect: Map::new() }
    }

    /// Returns the fixture with an answer that it must have exactly.
    #[must_use]
    pub fn expecting(mut self, answer: &Answer) -> Self {
        self.expect = answer.said();
        self
    }

    /// Reads a fixture.
    ///
    /// # Errors
    ///
    /// Returns what is unknown, missing or outside its range.
    pub fn read(text: &str) -> Result<Self, FixtureError> {
        let file: File = serde_json::from_str(text).map_err(|e| FixtureError(e.to_string()))?;
        let File { kind, id, about, config, input, expect } = file;
        for (name, text) in [("id", &id), ("about", &about)] {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > TEXT_BYTES_MAX {
                let text = format!("{name} has {bytes} bytes, outside 0..={TEXT_BYTES_MAX}");
                return Err(FixtureError(text));
            }
        }
        let input = input.get();
        let facts = match kind {
            Kind::Pricing => facts::<PricingInput>(input)?,
            Kind::Fraud => facts::<FraudInput>(input)?,
            Kind::Recommend => facts::<RecommendInput>(input)?,
        };
        facts.check()?;
        let expect = expect.unwrap_or_default();
        check(&expect).map_err(|why| FixtureError(format!("expect: {why}")))?;
        Ok(Self { id, about, config, facts, expect })
    }

    /// Returns the kind of plugin that it is for.
    pub const fn kind(&self) -> Kind {
        self.facts.kind()
    }

    /// Returns the configuration as the text that `init` is given.
    pub fn config_text(&self) -> String {
        self.config.as_ref().map_or_else(|| CONFIG_DEFAULT.to_owned(), Value::to_string)
    }

    /// Returns every place of an output ([`Facts::output`]) that is not as expected.
    pub fn mismatches(&self, output: &Value) -> Vec<Mismatch> {
        mismatches(&self.expect, output)
    }

    /// Returns the fixture as JSON in one line, without a line feed.
    pub fn line(&self) -> String {
        self.json().to_string()
    }

    /// Returns the fixture as JSON for people, with a line feed at its end.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".to_owned(), self.kind().name().into());
        let texts = [("id", &self.id), ("about", &self.about)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
        map.extend(texts.map(|(name, text)| (name.to_owned(), text.as_str().into())));
        if let Some(config) = &self.config {
            map.insert("config".to_owned(), config.clone());
        }
        // Maps of names and numbers: writing them does not fail.
        let input = match &self.facts {
            Facts::Pricing { headers, lines, coupons } => serde_json::to_value(PricingInput {
                headers: headers.iter().map(PricingHeaderJson::from).collect(),
                lines: lines.iter().map(PricingLineJson::from).collect(),
                coupons: coupons.clone(),
            }),
            Facts::Fraud { headers, lines } => serde_json::to_value(FraudInput {
                headers: headers.iter().map(FraudHeaderJson::from).collect(),
                lines: lines.iter().map(FraudLineJson::from).collect(),
            }),
            Facts::Recommend { requests, items, candidates } => {
                serde_json::to_value(RecommendInput {
                    requests: requests.iter().map(RequestJson::from).collect(),
                    items: items.clone(),
                    candidates: candidates.iter().map(CandidateJson::from).collect(),
                })
            }
        };
        map.insert("input".to_owned(), input.expect("records of numbers are JSON"));
        if !self.expect.is_empty() {
            map.insert("expect".to_owned(), Value::Object(self.expect.clone()));
        }
        Value::Object(map)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: Kind,
    id: Option<String>,
    about: Option<String>,
    config: Option<Value>,
    input: Box<serde_json::value::RawValue>,
    expect: Option<Map<String, Value>>,
}

/// An input as JSON has it.
trait Input: for<'a> Deserialize<'a> {
    fn facts(self) -> Result<Facts, FixtureError>;
}

fn facts<I: Input>(text: &str) -> Result<Facts, FixtureError> {
    let input: I =
        serde_json::from_str(text).map_err(|error| FixtureError(format!("input: {error}")))?;
    input.facts()
}

/// A record with the names of WIT, beside the facts' own: numbers that are 0 if left out, and
/// numbers that are worked out.
macro_rules! record {
    ($json:ident, $fact:ident { $($plain:ident: $plain_type:ty),* } { $($worked:ident: $worked_type:ty),* }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct $json {
            $( #[serde(default)] $plain: $plain_type, )*
            $( $worked: Option<$worked_type>, )*
        }

        impl From<&$fact> for $json {
            fn from(fact: &$fact) -> Self {
                Self { $( $plain: fact.$plain, )* $( $worked: Some(fact.$worked), )* }
            }
        }

        impl $json {
            /// Returns the fact; what is worked out is given.
            fn fact(&self, $( $worked: $worked_type ),*) -> $fact {
                $fact { $( $plain: self.$plain, )* $( $worked, )* }
            }
        }
    };
}

record! { PricingHeaderJson, PricingHeader
    { customer: u64, segment: u32, now: u64, currency: u32 }
    { first_line: u32, line_count: u32, first_coupon: u32, coupon_count: u32 }
}
record! { PricingLineJson, PricingLine
    { sku: u64, class: u32, location: u32, quantity: u32, unit: i64 } {}
}
record! { FraudHeaderJson, FraudHeader
    { customer: u64, address: u64, device: u64, now: u64, currency: u32, customer_age_days: u32,
      customer_orders_hour: u32, customer_orders_day: u32, customer_amount_day: i64,
      address_orders_hour: u32, address_customers_day: u32, device_orders_hour: u32,
      device_customers_day: u32 }
    { total: i64, units: u32, distance_km: u32, first_line: u32, line_count: u32 }
}
record! { FraudLineJson, FraudLine { sku: u64, quantity: u32, unit: i64 } {} }
record! { RequestJson, RecommendRequest
    { customer: u64, now: u64, limit: u32 }
    { first_item: u32, item_count: u32, first_candidate: u32, candidate_count: u32 }
}
record! { CandidateJson, Candidate
    { sku: u64, together: u32, alone: u32, items: u32, available: u32 } { popularity: u32 }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PricingInput {
    headers: Vec<PricingHeaderJson>,
    lines: Vec<PricingLineJson>,
    #[serde(default)]
    coupons: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FraudInput {
    headers: Vec<FraudHeaderJson>,
    lines: Vec<FraudLineJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecommendInput {
    requests: Vec<RequestJson>,
    #[serde(default)]
    items: Vec<u64>,
    candidates: Vec<CandidateJson>,
}

/// Works out the ranges of orders in a list: one order has all of it, and of several each says
/// how much it has.
struct Ranges {
    field: &'static str,
    orders: usize,
    length: usize,
    next: u32,
}

impl Ranges {
    const fn new(field: &'static str, orders: usize, length: usize) -> Self {
        Self { field, orders, length, next: 0 }
    }

    fn next(&mut self, first: Option<u32>, count: Option<u32>) -> Result<(u32, u32), FixtureError> {
        let all = u32::try_from(self.length).ok().filter(|_| self.orders == 1);
        let count = count.or(all).ok_or_else(|| {
            let field = self.field;
            FixtureError(format!("input: {field} is missing, which one order alone may leave out"))
        })?;
        let first = first.unwrap_or(self.next);
        self.next = first.saturating_add(count);
        Ok((first, count))
    }
}

impl Input for PricingInput {
    fn facts(self) -> Result<Facts, FixtureError> {
        let orders = self.headers.len();
        let mut line_ranges = Ranges::new("line-count", orders, self.lines.len());
        let mut coupon_ranges = Ranges::new("coupon-count", orders, self.coupons.len());
        let header = |json: &PricingHeaderJson| {
            let (first_line, line_count) = line_ranges.next(json.first_line, json.line_count)?;
            let none = if self.coupons.is_empty() { Some(0) } else { None };
            let (first_coupon, coupon_count) =
                coupon_ranges.next(json.first_coupon, json.coupon_count.or(none))?;
            Ok(json.fact(first_line, line_count, first_coupon, coupon_count))
        };
        let headers = self.headers.iter().map(header).collect::<Result<_, FixtureError>>()?;
        let lines = self.lines.iter().map(PricingLineJson::fact).collect();
        Ok(Facts::Pricing { headers, lines, coupons: self.coupons })
    }
}

impl Input for FraudInput {
    fn facts(self) -> Result<Facts, FixtureError> {
        let lines: Vec<FraudLine> = self.lines.iter().map(FraudLineJson::fact).collect();
        let mut ranges = Ranges::new("line-count", self.headers.len(), lines.len());
        let header = |json: &FraudHeaderJson| {
            let (first, count) = ranges.next(json.first_line, json.line_count)?;
            let own = lines.iter().skip(first as usize).take(count as usize);
            let amount = |line: &FraudLine| line.unit.saturating_mul(line.quantity.into());
            let sum = || own.clone().map(amount).fold(0_i64, i64::saturating_add);
            let units = || own.clone().map(|line| line.quantity).fold(0_u32, u32::saturating_add);
            Ok(json.fact(
                json.total.unwrap_or_else(sum),
                json.units.unwrap_or_else(units),
                json.distance_km.unwrap_or(DISTANCE_UNKNOWN),
                first,
                count,
            ))
        };
        let headers = self.headers.iter().map(header).collect::<Result<_, FixtureError>>()?;
        Ok(Facts::Fraud { headers, lines })
    }
}

impl Input for RecommendInput {
    fn facts(self) -> Result<Facts, FixtureError> {
        let requests = self.requests.len();
        let mut item_ranges = Ranges::new("item-count", requests, self.items.len());
        let mut candidate_ranges = Ranges::new("candidate-count", requests, self.candidates.len());
        let request = |json: &RequestJson| {
            let none = if self.items.is_empty() { Some(0) } else { None };
            let (first_item, item_count) =
                item_ranges.next(json.first_item, json.item_count.or(none))?;
            let (first, count) =
                candidate_ranges.next(json.first_candidate, json.candidate_count)?;
            Ok(json.fact(first_item, item_count, first, count))
        };
        let requests = self.requests.iter().map(request).collect::<Result<_, FixtureError>>()?;
        let candidate = |json: &CandidateJson| json.fact(json.popularity.unwrap_or(u32::MAX));
        let candidates = self.candidates.iter().map(candidate).collect();
        Ok(Facts::Recommend { requests, items: self.items, candidates })
    }
}
