//! What a plugin answered, as JSON for people and tests.

use onhand_policy::decision::{
    Adjustment, CouponUse, DecisionError, Pick, PriceOutcome, Score, check_picks, check_prices,
    check_scores,
};
use onhand_policy::fact::{FraudBatch, PricingBatch, RecommendBatch};
use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// An answer as a plugin gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Steps of prices.
    Pricing(Vec<Adjustment>),
    /// Scores of orders.
    Fraud(Vec<Score>),
    /// Recommendations.
    Recommend(Vec<Pick>),
}

fn adjustment(&Adjustment { kind, at, amount, code }: &Adjustment) -> Value {
    json!({ "kind": kind, "at": at, "amount": amount, "code": code })
}

fn score(&Score { points, verdict, code }: &Score) -> Value {
    json!({ "points": points, "verdict": verdict, "code": code })
}

fn pick(&Pick { request, sku, score }: &Pick) -> Value {
    json!({ "request": request, "sku": sku, "score": score })
}

fn list<T>(name: &str, all: &[T], one: impl Fn(&T) -> Value) -> Map<String, Value> {
    let list = all.iter().map(one).collect();
    Map::from_iter([(name.to_owned(), Value::Array(list))])
}

impl Answer {
    /// Returns the kind of plugin that answers so.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pricing(_) => Kind::Pricing,
            Self::Fraud(_) => Kind::Fraud,
            Self::Recommend(_) => Kind::Recommend,
        }
    }

    /// Returns the answer that [`said`](Self::said) has written; `None` if it is not there, or is
    /// not of that form.
    pub fn from_said(kind: Kind, said: &Map<String, Value>) -> Option<Self> {
        let number = |one: &Value, name: &str| u32::try_from(one.get(name)?.as_u64()?).ok();
        let all = |name: &str| said.get(name)?.as_array();
        Some(match kind {
            Kind::Pricing => {
                let one = |one: &Value| {
                    Some(Adjustment {
                        kind: number(one, "kind")?,
                        at: number(one, "at")?,
                        amount: one.get("amount")?.as_i64()?,
                        code: number(one, "code")?,
                    })
                };
                Self::Pricing(all("adjustments")?.iter().map(one).collect::<Option<_>>()?)
            }
            Kind::Fraud => {
                let one = |one: &Value| {
                    let (points, verdict) = (number(one, "points")?, number(one, "verdict")?);
                    Some(Score { points, verdict, code: number(one, "code")? })
                };
                Self::Fraud(all("scores")?.iter().map(one).collect::<Option<_>>()?)
            }
            Kind::Recommend => {
                let one = |one: &Value| {
                    let (request, score) = (number(one, "request")?, number(one, "score")?);
                    Some(Pick { request, sku: one.get("sku")?.as_u64()?, score })
                };
                Self::Recommend(all("picks")?.iter().map(one).collect::<Option<_>>()?)
            }
        })
    }

    /// Returns what the plugin itself said: `adjustments`, `scores` or `picks`.
    pub fn said(&self) -> Map<String, Value> {
        match self {
            Self::Pricing(all) => list("adjustments", all, adjustment),
            Self::Fraud(all) => list("scores", all, score),
            Self::Recommend(all) => list("picks", all, pick),
        }
    }
}

/// Returns the answer on orders to be priced, and what comes of it: for each order under `orders`
/// its `total`, and what was `clamped` off its discounts, or the code that it is `refused` by; for
/// each line under `lines` its `unit` price and `discount`; under `coupons` the uses. Amounts are minor units.
///
/// # Errors
///
/// Returns the first rule that the answer breaks.
pub(crate) fn priced(
    batch: &PricingBatch<'_>,
    answer: &[Adjustment],
) -> Result<Map<String, Value>, DecisionError> {
    let prices = check_prices(batch, answer)?;
    let order = |outcome: &PriceOutcome| match *outcome {
        PriceOutcome::Priced { total, clamped: 0 } => json!({ "total": total }),
        PriceOutcome::Priced { total, clamped } => json!({ "total": total, "clamped": clamped }),
        PriceOutcome::Refused { code } => json!({ "refused": code }),
    };
    let mut output = list("adjustments", answer, adjustment);
    output.extend(list("orders", &prices.outcomes, order));
    let line =
        |price: &onhand_core::LinePrice| json!({ "unit": price.unit, "discount": price.discount });
    output.extend(list("lines", &prices.lines, line));
    let coupon = |used: &CouponUse| json!({ "order": used.order, "sku": used.sku.bits() });
    output.extend(list("coupons", &prices.coupons, coupon));
    Ok(output)
}

/// Returns the answer on orders to be scored.
///
/// # Errors
///
/// Returns the first rule that the answer breaks.
pub(crate) fn scored(
    batch: &FraudBatch<'_>,
    answer: &[Score],
) -> Result<Map<String, Value>, DecisionError> {
    check_scores(batch, answer)?;
    Ok(list("scores", answer, score))
}

/// Returns the answer on requests for recommendations, and under `shown` the picks of which a unit
/// is available.
///
/// # Errors
///
/// Returns the first rule that the answer breaks.
pub(crate) fn picked(
    batch: &RecommendBatch<'_>,
    answer: &[Pick],
) -> Result<Map<String, Value>, DecisionError> {
    let shown = check_picks(batch, answer)?;
    let mut output = list("picks", answer, pick);
    output.extend(list("shown", &shown, pick));
    Ok(output)
}
