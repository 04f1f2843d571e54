//! Facts of a batch being gathered, owned, so that they can go on to shadow and recordings.

use onhand_policy::fact::{
    Candidate, FactError, FraudBatch, FraudHeader, FraudLine, PricingBatch, PricingHeader,
    PricingLine, RecommendBatch, RecommendRequest,
};

/// Orders to be priced.
#[derive(Clone, Debug, Default)]
pub(crate) struct PricingFacts {
    pub(crate) headers: Vec<PricingHeader>,
    pub(crate) lines: Vec<PricingLine>,
    pub(crate) coupons: Vec<u64>,
}

impl PricingFacts {
    /// Adds an order whose lines and coupons were pushed since the last one.
    pub(crate) fn close(&mut self, header: PricingHeader) {
        let (lines, coupons) = self.ends();
        self.headers.push(PricingHeader {
            first_line: lines,
            line_count: self.lines.len() as u32 - lines,
            first_coupon: coupons,
            coupon_count: self.coupons.len() as u32 - coupons,
            ..header
        });
    }

    fn ends(&self) -> (u32, u32) {
        self.headers.last().map_or((0, 0), |last| {
            (last.first_line + last.line_count, last.first_coupon + last.coupon_count)
        })
    }

    pub(crate) fn batch(&self) -> Result<PricingBatch<'_>, FactError> {
        PricingBatch::new(&self.headers, &self.lines, &self.coupons)
    }

    /// Returns some of the orders as facts of their own.
    pub(crate) fn part(&self, orders: impl Iterator<Item = usize>) -> Self {
        let mut part = Self::default();
        for order in orders {
            let header = self.headers[order];
            let lines = header.first_line as usize..;
            let coupons = header.first_coupon as usize..;
            part.lines.extend(&self.lines[lines][..header.line_count as usize]);
            part.coupons.extend(&self.coupons[coupons][..header.coupon_count as usize]);
            part.close(header);
        }
        part
    }
}

/// Orders to be scored.
#[derive(Clone, Debug, Default)]
pub(crate) struct FraudFacts {
    pub(crate) headers: Vec<FraudHeader>,
    pub(crate) lines: Vec<FraudLine>,
}

impl FraudFacts {
    /// Adds an order whose lines were pushed since the last one.
    pub(crate) fn close(&mut self, header: FraudHeader) {
        let first_line = self.headers.last().map_or(0, |last| last.first_line + last.line_count);
        let line_count = self.lines.len() as u32 - first_line;
        self.headers.push(FraudHeader { first_line, line_count, ..header });
    }

    pub(crate) fn batch(&self) -> Result<FraudBatch<'_>, FactError> {
        FraudBatch::new(&self.headers, &self.lines)
    }

    /// Returns some of the orders as facts of their own.
    pub(crate) fn part(&self, orders: impl Iterator<Item = usize>) -> Self {
        let mut part = Self::default();
        for order in orders {
            let header = self.headers[order];
            let lines = header.first_line as usize..;
            part.lines.extend(&self.lines[lines][..header.line_count as usize]);
            part.close(header);
        }
        part
    }
}

/// One request for recommendations.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecommendFacts {
    pub(crate) request: RecommendRequest,
    pub(crate) items: Vec<u64>,
    pub(crate) candidates: Vec<Candidate>,
}

impl RecommendFacts {
    pub(crate) fn batch(&self) -> Result<RecommendBatch<'_>, FactError> {
        RecommendBatch::new(std::slice::from_ref(&self.request), &self.items, &self.candidates)
    }
}

/// What a pricing policy has answered on one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceAnswer {
    /// Code of a refusal.
    pub refused: Option<u32>,
    /// What is to be paid in minor units; 0 for a refused order.
    pub total: i64,
    /// Discount of each line in minor units, order discounts included.
    pub discounts: Vec<i64>,
    /// Coupons that it uses, by the 64 bits of their SKU.
    pub coupons: Vec<u64>,
}
