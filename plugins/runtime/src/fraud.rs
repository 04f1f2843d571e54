//! The world `onhand:fraud`: records as WIT has them, and the way to and from the facts.

use std::ops::Range;

use onhand_policy::decision::{self, DecisionError, Risk, Verdict, check_scores};
use onhand_policy::fact::{FraudBatch, FraudHeader, FraudLine};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::kind::Kind;
use crate::world::{Buffer, World, fill, sealed};

/// Code of a denial that the host makes because the plugin failed and its policy is
/// [`OnFailure::FailClosed`](crate::OnFailure::FailClosed).
pub const DENIAL_UNDECIDED: u32 = u32::MAX;

/// Fraud plugins: `score-batch`.
#[derive(Clone, Copy, Debug)]
pub struct Fraud;

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Header {
    customer: u64,
    address: u64,
    device: u64,
    now: u64,
    currency: u32,
    total: i64,
    units: u32,
    #[component(name = "customer-age-days")]
    customer_age_days: u32,
    #[component(name = "distance-km")]
    distance_km: u32,
    #[component(name = "customer-orders-hour")]
    customer_orders_hour: u32,
    #[component(name = "customer-orders-day")]
    customer_orders_day: u32,
    #[component(name = "customer-amount-day")]
    customer_amount_day: i64,
    #[component(name = "address-orders-hour")]
    address_orders_hour: u32,
    #[component(name = "address-customers-day")]
    address_customers_day: u32,
    #[component(name = "device-orders-hour")]
    device_orders_hour: u32,
    #[component(name = "device-customers-day")]
    device_customers_day: u32,
    #[component(name = "first-line")]
    first_line: u32,
    #[component(name = "line-count")]
    line_count: u32,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Line {
    sku: u64,
    quantity: u32,
    unit: i64,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub struct Score {
    points: u32,
    verdict: u32,
    code: u32,
}

impl From<&FraudHeader> for Header {
    fn from(from: &FraudHeader) -> Self {
        Self {
            customer: from.customer,
            address: from.address,
            device: from.device,
            now: from.now,
            currency: from.currency,
            total: from.total,
            units: from.units,
            customer_age_days: from.customer_age_days,
            distance_km: from.distance_km,
            customer_orders_hour: from.customer_orders_hour,
            customer_orders_day: from.customer_orders_day,
            customer_amount_day: from.customer_amount_day,
            address_orders_hour: from.address_orders_hour,
            address_customers_day: from.address_customers_day,
            device_orders_hour: from.device_orders_hour,
            device_customers_day: from.device_customers_day,
            first_line: from.first_line,
            line_count: from.line_count,
        }
    }
}

impl From<&FraudLine> for Line {
    fn from(&FraudLine { sku, quantity, unit }: &FraudLine) -> Self {
        Self { sku, quantity, unit }
    }
}

impl From<Score> for decision::Score {
    fn from(Score { points, verdict, code }: Score) -> Self {
        Self { points, verdict, code }
    }
}

impl sealed::Sealed for Fraud {}

impl World for Fraud {
    const KIND: Kind = Kind::Fraud;
    const CALL_ORDERS: usize = 256;
    type Batch<'a> = FraudBatch<'a>;
    type Raw = Vec<decision::Score>;
    type Answer = Vec<Risk>;
    type Arguments = (Buffer<Header>, Buffer<Line>);
    type Record = Score;

    fn fill((headers, lines): &mut Self::Arguments, batch: Self::Batch<'_>) {
        fill(headers, batch.headers().iter().map(Header::from));
        fill(lines, batch.lines().iter().map(Line::from));
    }

    fn raw(records: Vec<Score>) -> Self::Raw {
        records.into_iter().map(decision::Score::from).collect()
    }

    fn check(batch: FraudBatch<'_>, raw: &Self::Raw) -> Result<Vec<Risk>, DecisionError> {
        check_scores(&batch, raw)
    }

    fn orders(batch: FraudBatch<'_>) -> usize {
        batch.headers().len()
    }

    fn part<R>(
        batch: FraudBatch<'_>,
        orders: Range<usize>,
        then: impl FnOnce(FraudBatch<'_>) -> R,
    ) -> R {
        let (mut headers, mut lines) = (Vec::new(), Vec::new());
        for order in orders {
            headers.push(FraudHeader { first_line: lines.len() as u32, ..batch.headers()[order] });
            lines.extend_from_slice(batch.lines_of(order));
        }
        let part = FraudBatch::new(&headers, &lines);
        then(part.expect("orders of a checked batch are a checked batch"))
    }

    fn append(all: &mut Vec<Risk>, _: usize, part: Vec<Risk>) {
        all.extend(part);
    }

    fn pass(batch: FraudBatch<'_>) -> Vec<Risk> {
        vec![Risk::default(); batch.headers().len()]
    }

    fn close(batch: FraudBatch<'_>) -> Vec<Risk> {
        let denied = Risk { points: 0, verdict: Verdict::Deny, code: DENIAL_UNDECIDED };
        vec![denied; batch.headers().len()]
    }

    fn sample<R>(then: impl FnOnce(FraudBatch<'_>) -> R) -> R {
        let (currency, total, units) = (978, 1_00, 1);
        let header = FraudHeader { currency, total, units, line_count: 1, ..Default::default() };
        let lines = [FraudLine { sku: 1, quantity: 1, unit: 1_00 }];
        then(FraudBatch::new(&[header], &lines).expect("one order of one line"))
    }
}
