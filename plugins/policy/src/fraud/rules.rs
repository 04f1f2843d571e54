//! Rules that turn the facts of an order into points, a verdict and a reason.

use onhand_core::Currency;

use crate::decision::{POINTS_MAX, Score, Verdict};
use crate::fact::{DISTANCE_UNKNOWN, FraudBatch, FraudHeader};
use crate::range::{SettingError, setting};

/// Most rules.
pub const RULES_MAX: usize = 1_024;
/// Most conditions of one rule.
pub const CONDITIONS_MAX: usize = 8;

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Total of the order in minor units of this currency; never fits an order in another one.
    Total(Currency),
    /// Units of the order.
    Units,
    /// Days since the account was made.
    CustomerAgeDays,
    /// Kilometres between buyer and destination; never fits where that is not known.
    DistanceKm,
    /// Orders of the customer within the hour, this one not counted.
    CustomerOrdersHour,
    /// Orders of the customer within the day, this one not counted.
    CustomerOrdersDay,
    /// Amount of the customer within the day and of this order together, in minor units of this
    /// currency; never fits an order in another one.
    CustomerAmountDay(Currency),
    /// Orders to the address within the hour, this one not counted.
    AddressOrdersHour,
    /// Different customers at the address within the day.
    AddressCustomersDay,
    /// Orders from the device within the hour, this one not counted.
    DeviceOrdersHour,
    /// Different customers at the device within the day.
    DeviceCustomersDay,
}

impl Measure {
    fn of(self, facts: &FraudHeader) -> Option<i64> {
        let in_currency = |currency: Currency, amount: i64| {
            (u32::from(currency.number()) == facts.currency).then_some(amount)
        };
        Some(match self {
            Self::Total(currency) => return in_currency(currency, facts.total),
            Self::CustomerAmountDay(currency) => {
                let sum = facts.customer_amount_day.saturating_add(facts.total);
                return in_currency(currency, sum);
            }
            Self::DistanceKm if facts.distance_km == DISTANCE_UNKNOWN => return None,
            Self::DistanceKm => facts.distance_km.into(),
            Self::Units => facts.units.into(),
            Self::CustomerAgeDays => facts.customer_age_days.into(),
            Self::CustomerOrdersHour => facts.customer_orders_hour.into(),
            Self::CustomerOrdersDay => facts.customer_orders_day.into(),
            Self::AddressOrdersHour => facts.address_orders_hour.into(),
            Self::AddressCustomersDay => facts.address_customers_day.into(),
            Self::DeviceOrdersHour => facts.device_orders_hour.into(),
            Self::DeviceCustomersDay => facts.device_customers_day.into(),
        })
    }
}

/// What a measure is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// At least this.
    AtLeast(i64),
    /// At most this.
    AtMost(i64),
}

/// A measure and its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub measure: Measure,
    /// What it is compared with.
    pub test: Test,
}

impl Condition {
    fn fits(&self, facts: &FraudHeader) -> bool {
        self.measure.of(facts).is_some_and(|value| match self.test {
            Test::AtLeast(least) => value >= least,
            Test::AtMost(most) => value <= most,
        })
    }
}

/// One rule: if all its conditions fit, its points are added and its verdict is the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Number of the reason, at least 1.
    pub code: u32,
    /// Conditions, 1 to [`CONDITIONS_MAX`].
    pub conditions: Vec<Condition>,
    /// Points, 0 to [`POINTS_MAX`].
    pub points: u32,
    /// Verdict that the order gets at least; [`Verdict::Allow`] leaves it to the points.
    pub verdict: Verdict,
}

/// Points from which an order is challenged, reviewed or denied; the highest verdict holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// From here on it is challenged. Default 300. Range 1..=1,001; 1,001 is never reached.
    pub challenge: u32,
    /// From here on it is reviewed. Default 600. Not below `challenge`, at most 1,001.
    pub review: u32,
    /// From here on it is denied. Default 900. Not below `review`, at most 1,001.
    pub deny: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { challenge: 300, review: 600, deny: 900 }
    }
}

impl Thresholds {
    fn verdict(&self, points: u32) -> Verdict {
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

/// Rules with their thresholds, checked.
///
/// # Example
///
/// ```
/// use onhand_policy::decision::{Verdict, check_scores};
/// use onhand_policy::fact::{FraudBatch, FraudHeader, FraudLine};
/// use onhand_policy::fraud::{Rules, Thresholds, default_rules};
///
/// let rules = Rules::new(default_rules(), Thresholds::default())?;
/// let calm = FraudHeader { currency: 978, line_count: 1, customer_age_days: 400, ..Default::default() };
/// let hasty = FraudHeader { first_line: 1, customer_orders_hour: 12, device_customers_day: 9, ..calm };
/// let (headers, lines) = ([calm, hasty], [FraudLine { sku: 1, quantity: 1, unit: 9_99 }; 2]);
/// let batch = FraudBatch::new(&headers, &lines)?;
/// let mut answer = Vec::new();
/// rules.score(&batch, &mut answer);
/// let risks = check_scores(&batch, &answer)?;
/// assert_eq!(risks.iter().map(|r| r.verdict).collect::<Vec<_>>(), [Verdict::Allow, Verdict::Deny]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    thresholds: Thresholds,
}

impl Rules {
    /// Checks rules and thresholds.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range.
    pub fn new(rules: Vec<Rule>, thresholds: Thresholds) -> Result<Self, SettingError> {
        setting("rules", 0, rules.len() as i64, 0, RULES_MAX as i64)?;
        for (index, rule) in rules.iter().enumerate() {
            setting("code", index, rule.code.into(), 1, u32::MAX.into())?;
            setting("points", index, rule.points.into(), 0, POINTS_MAX.into())?;
            let conditions = rule.conditions.len() as i64;
            setting("conditions", index, conditions, 1, CONDITIONS_MAX as i64)?;
        }
        let Thresholds { challenge, review, deny } = thresholds;
        let never = i64::from(POINTS_MAX) + 1;
        setting("challenge", 0, challenge.into(), 1, never)?;
        setting("review", 0, review.into(), challenge.into(), never)?;
        setting("deny", 0, deny.into(), review.into(), never)?;
        Ok(Self { rules, thresholds })
    }

    /// Answers for a batch: appends one score for each of its orders to `answer`.
    ///
    /// Points are those of all rules that fit, at most [`POINTS_MAX`]. The verdict is the highest
    /// of the thresholds' and those rules' own. The reason is the rule of the highest verdict, of
    /// the most points among equals, of the lowest code among those; 0 if no rule fits.
    pub fn score(&self, batch: &FraudBatch<'_>, answer: &mut Vec<Score>) {
        answer.extend(batch.headers().iter().map(|facts| self.score_one(facts)));
    }

    fn score_one(&self, facts: &FraudHeader) -> Score {
        let fits = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.fits(facts));
        let (mut points, mut own) = (0_u32, Verdict::Allow);
        let mut strongest = None;
        for rule in self.rules.iter().filter(fits) {
            points = (points + rule.points).min(POINTS_MAX);
            own = own.max(rule.verdict);
            let strength = (rule.verdict, rule.points, std::cmp::Reverse(rule.code));
            strongest = strongest.max(Some(strength));
        }
        let verdict = own.max(self.thresholds.verdict(points)).number();
        Score { points, verdict, code: strongest.map_or(0, |(_, _, code)| code.0) }
    }
}

/// Returns the rules that are used where a shop has none of its own. Amounts are not among them:
/// what is much depends on the shop and its currency.
///
/// | code | fits | points | verdict at least |
/// |---|---|---|---|
/// | 1 | 5 orders of the customer within the hour | 300 | |
/// | 2 | 10 orders of the customer within the hour | 300 | review |
/// | 3 | 20 orders of the customer within the day | 200 | |
/// | 4 | 8 orders to the address within the hour | 200 | |
/// | 5 | 5 customers at the address within the day | 200 | |
/// | 6 | 5 orders from the device within the hour | 200 | |
/// | 7 | 4 customers at the device within the day | 300 | |
/// | 8 | an account of at most 1 day and 500 km or more | 200 | |
/// | 9 | an account of at most 1 day and 50 units or more | 300 | |
pub fn default_rules() -> Vec<Rule> {
    use Measure as M;
    let rule = |code, points, conditions: &[(Measure, Test)]| Rule {
        code,
        conditions: conditions
            .iter()
            .map(|(measure, test)| Condition { measure: *measure, test: *test })
            .collect(),
        points,
        verdict: if code == 2 { Verdict::Review } else { Verdict::Allow },
    };
    let least = Test::AtLeast;
    let new = (M::CustomerAgeDays, Test::AtMost(1));
    vec![
        rule(1, 300, &[(M::CustomerOrdersHour, least(5))]),
        rule(2, 300, &[(M::CustomerOrdersHour, least(10))]),
        rule(3, 200, &[(M::CustomerOrdersDay, least(20))]),
        rule(4, 200, &[(M::AddressOrdersHour, least(8))]),
        rule(5, 200, &[(M::AddressCustomersDay, least(5))]),
        rule(6, 200, &[(M::DeviceOrdersHour, least(5))]),
        rule(7, 300, &[(M::DeviceCustomersDay, least(4))]),
        rule(8, 200, &[new, (M::DistanceKm, least(500))]),
        rule(9, 300, &[new, (M::Units, least(50))]),
    ]
}
