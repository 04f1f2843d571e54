//! Scores orders for fraud: rules on velocity, distance and amount, and a gradient-boosted model.
//!
//! The model is 24 small trees in whole numbers, trained by `train.py`; it says how likely fraud
//! is, in thousandths. Each rule that matches adds its points. What gave most names the reason.
//!
//! Fixed point everywhere: the same order has the same score on every machine, for ever.

mod model;

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::fraud::{
    DISTANCE_UNKNOWN, Fraud, Header, Order, POINTS_MAX, Score, Verdict,
};

/// Reason of a score that the model gave most of.
pub const MODEL: u32 = 100;
/// Most rules of a configuration.
const RULES_MAX: usize = 64;
/// What a rule or a split may look at, in the order of `train.py`.
const FEATURES: [&str; 10] = [
    "customer_orders_hour",
    "customer_orders_day",
    "address_orders_hour",
    "address_customers_day",
    "device_orders_hour",
    "device_customers_day",
    "customer_age_days",
    "distance_km",
    "total",
    "units",
];
/// Place of the distance in it, and what the model takes an unknown one for.
const DISTANCE: usize = 7;
const DISTANCE_USUAL: u32 = 100;

/// A feature above (or below) a number of its unit adds points.
#[derive(Clone, Copy, Debug)]
struct Rule {
    feature: usize,
    least: u32,
    most: u32,
    points: u32,
    code: u32,
}

/// The plugin: rules, and from how many points on something is done.
#[derive(Debug)]
pub struct FraudScore {
    rules: Vec<Rule>,
    model_percent: u32,
    challenge: u32,
    review: u32,
    deny: u32,
}

impl Fraud for FraudScore {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let rules: Result<Vec<Rule>, _> =
            config.objects("rules")?.into_iter().map(Rule::read).collect();
        let rules = rules?;
        if rules.len() > RULES_MAX {
            let text = format!("rules has {} entries, at most {RULES_MAX}", rules.len());
            return Err(ConfigError::new(text));
        }
        // One more than there can be is never.
        let points = 1..=i64::from(POINTS_MAX) + 1;
        let plugin = Self {
            rules,
            model_percent: config.int_or("model_percent", 0..=100, 100)? as u32,
            challenge: config.int_or("challenge", points.clone(), 300)? as u32,
            review: config.int_or("review", points.clone(), 600)? as u32,
            deny: config.int_or("deny", points, 900)? as u32,
        };
        config.end()?;
        let Self { challenge, review, deny, .. } = plugin;
        if challenge > review || review > deny {
            let text = format!(
                "challenge, review and deny are {challenge}, {review}, {deny}, not in order"
            );
            return Err(ConfigError::new(text));
        }
        Ok(plugin)
    }

    fn score(&self, order: &Order<'_>) -> Score {
        let features = features(order.header);
        let model = chance(log_odds(&features)) * self.model_percent / 100;
        let (mut points, mut most, mut code) = (model, model, MODEL);
        for rule in &self.rules {
            let value = features[rule.feature];
            let known = rule.feature != DISTANCE || value != DISTANCE_UNKNOWN;
            if known && (rule.least..=rule.most).contains(&value) {
                points += rule.points;
                if rule.points > most {
                    (most, code) = (rule.points, rule.code);
                }
            }
        }
        let points = points.min(POINTS_MAX);
        Score::new(points, self.verdict(points), code)
    }
}

impl FraudScore {
    const fn verdict(&self, points: u32) -> Verdict {
        if points >= self.deny {
            Verdict::Deny
        } else if points >= self.review {
            Verdict::Review
        } else if points >= self.challenge {
            Verdict::Challenge
        } else {
            Verdict::Allow
        }
    }
}

impl Rule {
    fn read(mut from: Object) -> Result<Self, ConfigError> {
        let numbers = 0..=i64::from(u32::MAX);
        let name = from.text("feature")?;
        let Some(feature) = FEATURES.iter().position(|known| *known == name) else {
            let text = format!("feature {name} is none of {}", FEATURES.join(", "));
            return Err(ConfigError::new(text));
        };
        let rule = Self {
            feature,
            least: from.int_or("least", numbers.clone(), 0)? as u32,
            most: from.int_or("most", numbers.clone(), u32::MAX.into())? as u32,
            points: from.int("points", 1..=1_000)? as u32,
            code: from.int("code", numbers)? as u32,
        };
        from.end()?;
        Ok(rule)
    }
}

/// Returns the features; an amount beyond 32 bits counts as the largest.
fn features(header: &Header) -> [u32; FEATURES.len()] {
    [
        header.customer_orders_hour,
        header.customer_orders_day,
        header.address_orders_hour,
        header.address_customers_day,
        header.device_orders_hour,
        header.device_customers_day,
        header.customer_age_days,
        header.distance_km,
        u32::try_from(header.total).unwrap_or(u32::MAX),
        header.units,
    ]
}

/// Returns the model's log-odds of fraud in 1/65,536.
fn log_odds(features: &[u32; FEATURES.len()]) -> i32 {
    // Longer than the features, so that four bits of a number are always inside: no check.
    let mut known = [0; 16];
    known[..FEATURES.len()].copy_from_slice(features);
    if known[DISTANCE] == DISTANCE_UNKNOWN {
        known[DISTANCE] = DISTANCE_USUAL;
    }
    let mut sum = model::BASE;
    for (splits, leaves) in model::SPLITS.iter().zip(&model::LEAVES) {
        // A heap that counts from 1: the children of split n are 2n and 2n + 1, and the leaves
        // come after the last split.
        let mut at = 1;
        for _ in 0..model::DEPTH {
            let (feature, most) = splits[at - 1];
            at = 2 * at + usize::from(known[feature as usize % known.len()] > most);
        }
        sum += leaves[at - leaves.len()];
    }
    sum
}

/// Returns the chance in thousandths for log-odds in 1/65,536: by table, straight between entries.
fn chance(log_odds: i32) -> u32 {
    const STEP: i32 = 65_536 / 4;
    const LAST: usize = model::CHANCE.len() - 1;
    let above = (log_odds + 8 * 65_536).clamp(0, LAST as i32 * STEP);
    let (at, rest) = ((above / STEP) as usize, above % STEP);
    let low = i32::from(model::CHANCE[at]);
    let high = i32::from(model::CHANCE[(at + 1).min(LAST)]);
    (low + (high - low) * rest / STEP) as u32
}

// No sum of leaves leaves 32 bits.
const _: () = {
    let (mut most, mut tree) = (model::BASE.unsigned_abs() as u64, 0);
    while tree < model::TREES {
        let (mut worst, mut leaf) = (0, 0);
        while leaf < 8 {
            let size = model::LEAVES[tree][leaf].unsigned_abs();
            worst = if size > worst { size } else { worst };
            leaf += 1;
        }
        most += worst as u64;
        tree += 1;
    }
    assert!(most + 8 * 65_536 <= i32::MAX as u64);
};

onhand_plugin_sdk::export!(fraud: FraudScore);
