//! The world `onhand:pricing`: records as WIT has them, and the way to and from the facts.

use std::ops::Range;

use onhand_policy::decision::{self, CouponUse, DecisionError, KIND_REFUSAL, Prices, check_prices};
use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::kind::Kind;
use crate::world::{Buffer, World, fill, sealed};

/// Code of a refusal that the host makes because the plugin failed and its policy is
/// [`OnFailure::FailClosed`](crate::OnFailure::FailClosed).
pub const REFUSAL_UNDECIDED: u32 = u32::MAX;

/// Pricing plugins: `price-batch`.
#[derive(Clone, Copy, Debug)]
pub struct Pricing;

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Header {
    customer: u64,
    segment: u32,
    now: u64,
    currency: u32,
    #[component(name = "first-line")]
    first_line: u32,
    #[component(name = "line-count")]
    line_count: u32,
    #[component(name = "first-coupon")]
    first_coupon: u32,
    #[component(name = "coupon-count")]
    coupon_count: u32,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Line {
    sku: u64,
    class: u32,
    location: u32,
    quantity: u32,
    unit: i64,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub struct Adjustment {
    kind: u32,
    at: u32,
    amount: i64,
    code: u32,
}

impl From<&PricingHeader> for Header {
    fn from(from: &PricingHeader) -> Self {
        Self {
            customer: from.customer,
            segment: from.segment,
            now: from.now,
            currency: from.currency,
            first_line: from.first_line,
            line_count: from.line_count,
            first_coupon: from.first_coupon,
            coupon_count: from.coupon_count,
        }
    }
}

impl From<&PricingLine> for Line {
    fn from(from: &PricingLine) -> Self {
        let PricingLine { sku, class, location, quantity, unit } = *from;
        Self { sku, class, location, quantity, unit }
    }
}

impl From<Adjustment> for decision::Adjustment {
    fn from(Adjustment { kind, at, amount, code }: Adjustment) -> Self {
        Self { kind, at, amount, code }
    }
}

impl sealed::Sealed for Pricing {}

impl World for Pricing {
    const KIND: Kind = Kind::Pricing;
    const CALL_ORDERS: usize = 256;
    type Batch<'a> = PricingBatch<'a>;
    type Raw = Vec<decision::Adjustment>;
    type Answer = Prices;
    type Arguments = (Buffer<Header>, Buffer<Line>, Buffer<u64>);
    type Record = Adjustment;

    fn fill((headers, lines, coupons): &mut Self::Arguments, batch: Self::Batch<'_>) {
        fill(headers, batch.headers().iter().map(Header::from));
        fill(lines, batch.lines().iter().map(Line::from));
        fill(coupons, batch.coupons().iter().copied());
    }

    fn raw(records: Vec<Adjustment>) -> Self::Raw {
        records.into_iter().map(decision::Adjustment::from).collect()
    }

    fn check(batch: PricingBatch<'_>, raw: &Self::Raw) -> Result<Prices, DecisionError> {
        check_prices(&batch, raw)
    }

    fn orders(batch: PricingBatch<'_>) -> usize {
        batch.headers().len()
    }

    fn part<R>(
        batch: PricingBatch<'_>,
        orders: Range<usize>,
        then: impl FnOnce(PricingBatch<'_>) -> R,
    ) -> R {
        let (mut headers, mut lines, mut coupons) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            let first_line = lines.len() as u32;
            let first_coupon = coupons.len() as u32;
            headers.push(PricingHeader { first_line, first_coupon, ..batch.headers()[order] });
            lines.extend_from_slice(batch.lines_of(order));
            coupons.extend_from_slice(batch.coupons_of(order));
        }
        let part = PricingBatch::new(&headers, &lines, &coupons);
        then(part.expect("orders of a checked batch are a checked batch"))
    }

    fn append(all: &mut Prices, before: usize, part: Prices) {
        let order = |used: CouponUse| used.order + before as u32;
        all.coupons
            .extend(part.coupons.into_iter().map(|used| CouponUse { order: order(used), ..used }));
        all.outcomes.extend(part.outcomes);
        all.lines.extend(part.lines);
    }

    fn pass(batch: PricingBatch<'_>) -> Prices {
        check_prices(&batch, &[]).expect("no adjustment breaks no rule")
    }

    fn close(batch: PricingBatch<'_>) -> Prices {
        let refusal = |at| decision::Adjustment {
            kind: KIND_REFUSAL,
            at,
            amount: 0,
            code: REFUSAL_UNDECIDED,
        };
        let all: Vec<_> = (0..batch.headers().len() as u32).map(refusal).collect();
        check_prices(&batch, &all).expect("one refusal for each order breaks no rule")
    }

    fn sample<R>(then: impl FnOnce(PricingBatch<'_>) -> R) -> R {
        let headers = [PricingHeader { currency: 978, line_count: 1, ..Default::default() }];
        let lines = [PricingLine { sku: 1, quantity: 1, unit: 1_00, ..Default::default() }];
        then(PricingBatch::new(&headers, &lines, &[]).expect("one order of one line"))
    }
}
