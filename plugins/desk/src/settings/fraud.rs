//! The table `[fraud]`: rules, thresholds, and how long a doubtful purchase is kept.

use onhand_policy::decision::{POINTS_MAX, Verdict};
use onhand_policy::fraud::{Condition, Measure, Rule, Rules, Test, Thresholds, default_rules};
use serde::Deserialize;

use super::{SettingsError, currency, number, wrong};
use crate::limits::REVIEW_MS;
use crate::policy::RiskBook;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FraudTable {
    currency: Option<String>,
    challenge: Option<i64>,
    review: Option<i64>,
    deny: Option<i64>,
    review_ms: Option<i64>,
    /// Whether the default rules hold beside the shop's own; they do unless it says no.
    defaults: Option<bool>,
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    code: i64,
    #[serde(default)]
    points: i64,
    verdict: Option<String>,
    when: Vec<ConditionTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionTable {
    measure: String,
    at_least: Option<i64>,
    at_most: Option<i64>,
}

const MEASURES: &str = "total, units, customer_age_days, distance_km, customer_orders_hour, \
    customer_orders_day, customer_amount_day, address_orders_hour, address_customers_day, \
    device_orders_hour, device_customers_day";

pub(super) fn book(table: FraudTable) -> Result<RiskBook, SettingsError> {
    let mut rules = if table.defaults.unwrap_or(true) { default_rules() } else { Vec::new() };
    for (index, rule) in table.rule.iter().enumerate() {
        let path = format!("fraud.rule[{index}]");
        rules.push(read(&path, rule, table.currency.as_ref())?);
    }
    let usual = Thresholds::default();
    let never = i64::from(POINTS_MAX) + 1;
    let challenge = table.challenge.unwrap_or(usual.challenge.into());
    let challenge = number("fraud.challenge", challenge, 1, never)?;
    let review = table.review.unwrap_or(i64::from(usual.review).max(challenge));
    let review = number("fraud.review", review, challenge, never)?;
    let deny = table.deny.unwrap_or(i64::from(usual.deny).max(review));
    let deny = number("fraud.deny", deny, review, never)?;
    let thresholds =
        Thresholds { challenge: challenge as u32, review: review as u32, deny: deny as u32 };
    let (least, most) = (REVIEW_MS.min as i64, REVIEW_MS.max as i64);
    let review_ms = table.review_ms.unwrap_or(REVIEW_MS.default as i64);
    let review_ms = number("fraud.review_ms", review_ms, least, most)? as u64;
    let rules =
        Rules::new(rules, thresholds).map_err(|error| wrong("fraud.rule", error.to_string()))?;
    Ok(RiskBook { rules, review_ms })
}

fn read(path: &str, table: &RuleTable, money: Option<&String>) -> Result<Rule, SettingsError> {
    let field = |name: &str| format!("{path}.{name}");
    let verdict = match table.verdict.as_deref() {
        None | Some("allow") => Verdict::Allow,
        Some("challenge") => Verdict::Challenge,
        Some("review") => Verdict::Review,
        Some("deny") => Verdict::Deny,
        Some(other) => {
            let why = format!("is {other:?}, none of allow, challenge, review, deny");
            return Err(wrong(field("verdict"), why));
        }
    };
    let most = onhand_policy::fraud::CONDITIONS_MAX as i64;
    number(&field("when"), table.when.len() as i64, 1, most)?;
    let mut conditions = Vec::with_capacity(table.when.len());
    for (index, one) in table.when.iter().enumerate() {
        let path = format!("{path}.when[{index}]");
        let test = match (one.at_least, one.at_most) {
            (Some(least), None) => Test::AtLeast(least),
            (None, Some(most)) => Test::AtMost(most),
            _ => return Err(wrong(path, "needs one of at_least and at_most, and not both")),
        };
        conditions.push(Condition { measure: measure(&path, &one.measure, money)?, test });
    }
    Ok(Rule {
        code: number(&field("code"), table.code, 1, u32::MAX.into())? as u32,
        conditions,
        points: number(&field("points"), table.points, 0, POINTS_MAX.into())? as u32,
        verdict,
    })
}

fn measure(path: &str, name: &str, money: Option<&String>) -> Result<Measure, SettingsError> {
    let money = || currency("fraud.currency", money);
    Ok(match name {
        "total" => Measure::Total(money()?),
        "units" => Measure::Units,
        "customer_age_days" => Measure::CustomerAgeDays,
        "distance_km" => Measure::DistanceKm,
        "customer_orders_hour" => Measure::CustomerOrdersHour,
        "customer_orders_day" => Measure::CustomerOrdersDay,
        "customer_amount_day" => Measure::CustomerAmountDay(money()?),
        "address_orders_hour" => Measure::AddressOrdersHour,
        "address_customers_day" => Measure::AddressCustomersDay,
        "device_orders_hour" => Measure::DeviceOrdersHour,
        "device_customers_day" => Measure::DeviceCustomersDay,
        other => {
            return Err(wrong(
                format!("{path}.measure"),
                format!("is {other:?}, none of {MEASURES}"),
            ));
        }
    })
}
