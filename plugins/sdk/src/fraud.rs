//! Fraud: what is known of an order, and how suspicious it is.

use crate::config::ConfigError;
use crate::part;

/// `distance_km` of an order whose distance is not known.
pub const DISTANCE_UNKNOWN: u32 = u32::MAX;
/// Largest number of points.
pub const POINTS_MAX: u32 = 1_000;

/// One order, as WIT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// Hash of the address; 0 if it is not known.
    pub address: u64,
    /// Hash of the device; 0 if it is not known.
    pub device: u64,
    /// Milliseconds since 1970-01-01 UTC: the only clock that there is.
    pub now: u64,
    /// Currency by its ISO 4217 number, 1 to 999.
    pub currency: u32,
    /// To be paid, in minor units of the currency, not negative.
    pub total: i64,
    /// Units over all lines.
    pub units: u32,
    /// Days since the customer's account was made.
    pub customer_age_days: u32,
    /// Kilometres between the buyer and where the goods go, or [`DISTANCE_UNKNOWN`].
    pub distance_km: u32,
    /// Orders of the customer within the last hour, this one not counted.
    pub customer_orders_hour: u32,
    /// Orders of the customer within the last 24 hours, this one not counted.
    pub customer_orders_day: u32,
    /// Amount of those orders in minor units.
    pub customer_amount_day: i64,
    /// Orders to the address within the last hour, this one not counted.
    pub address_orders_hour: u32,
    /// Different customers with an order to the address within the last 24 hours.
    pub address_customers_day: u32,
    /// Orders from the device within the last hour, this one not counted.
    pub device_orders_hour: u32,
    /// Different customers with an order from the device within the last 24 hours.
    pub device_customers_day: u32,
    /// Index of the order's first line in the batch.
    pub first_line: u32,
    /// Number of its lines, 1 to 512.
    pub line_count: u32,
}

/// One line of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Line {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// Units, 1 to 1,000,000,000.
    pub quantity: u32,
    /// Price of one unit in minor units of the currency, not negative.
    pub unit: i64,
}

/// What is done about an order's risk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Verdict {
    /// It goes on.
    #[default]
    Allow = 0,
    /// The buyer has to show who they are.
    Challenge = 1,
    /// Somebody looks at it; its reservation is kept meanwhile.
    Review = 2,
    /// It is refused.
    Deny = 3,
}

/// What is thought of one order, as WIT has it; made by [`Score::new`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Score {
    /// 0 for no suspicion to [`POINTS_MAX`].
    pub points: u32,
    /// Number of the verdict.
    pub verdict: u32,
    /// Number of the reason.
    pub code: u32,
}

impl Score {
    /// Returns a score; points above [`POINTS_MAX`] count as that many.
    pub const fn new(points: u32, verdict: Verdict, code: u32) -> Self {
        let points = if points > POINTS_MAX { POINTS_MAX } else { points };
        Self { points, verdict: verdict as u32, code }
    }
}

/// One order to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What is known of it.
    pub header: &'a Header,
    /// Its lines.
    pub lines: &'a [Line],
}

/// A fraud plugin.
pub trait Fraud: Sized + 'static {
    /// Reads the configuration that the shop gave; called once for each fresh instance.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it: the operator is shown that when installing.
    fn new(config: &str) -> Result<Self, ConfigError>;

    /// Scores one order. The same order gives the same score, always: keep nothing between calls.
    fn score(&self, order: &Order<'_>) -> Score;
}

/// Scores a batch of orders as the component does, adding to `answer`.
///
/// # Panics
///
/// If a header's range lies outside the list, which the host never does.
pub fn batch<F: Fraud>(plugin: &F, headers: &[Header], lines: &[Line], answer: &mut Vec<Score>) {
    let order =
        |header| Order { header, lines: part(lines, header.first_line, header.line_count) };
    answer.extend(headers.iter().map(|header| plugin.score(&order(header))));
}
