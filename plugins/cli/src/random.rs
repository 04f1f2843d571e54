//! Random facts of one seed: the same on every machine.

use onhand_plugin_bundle::{Facts, Kind};
use onhand_policy::fact::{
    Candidate, DISTANCE_UNKNOWN, FraudHeader, FraudLine, PricingHeader, PricingLine,
    RecommendRequest,
};

/// Numbers that look random.
///
/// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
pub(crate) struct Random(u64);

/// 2026-01-01T00:00:00Z in milliseconds.
const NOW: u64 = 1_767_225_600_000;
/// Numbers of euro, US dollar, yen and dinar: 2, 2, 0 and 3 digits of minor units.
const CURRENCIES: [u32; 4] = [978, 840, 392, 48];

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below another, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    fn quantity(&mut self) -> u32 {
        let end = if self.one_in(20) { 10_000 } else { 10 };
        self.below(end) as u32 + 1
    }

    fn unit(&mut self) -> i64 {
        if self.one_in(20) { 0 } else { self.below(200_00) as i64 }
    }

    fn small(&mut self, end: u64) -> u32 {
        if self.one_in(2) { 0 } else { self.below(end) as u32 }
    }

    /// Makes one order, or one request, of so many lines or candidates; at most 512.
    ///
    /// Most are as a shop has them; some have what is rare: a line of a thousand million units,
    /// goods that cost nothing, a customer with no name.
    pub(crate) fn facts(&mut self, kind: Kind, lines: usize) -> Facts {
        match kind {
            Kind::Pricing => self.pricing(lines),
            Kind::Fraud => self.fraud(lines),
            Kind::Recommend => self.recommend(lines),
        }
    }

    fn customer(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => self.next().max(1),
            _ => self.below(100) + 1,
        }
    }

    /// Returns quantity and unit price of the only line of an order, now and then at their ends.
    fn extreme(&mut self, lines: usize) -> Option<(u32, i64)> {
        let rare = lines == 1 && self.one_in(50);
        rare.then(|| if self.one_in(2) { (1_000_000_000, 9_007_199) } else { (1, (1 << 53) - 1) })
    }

    fn pricing(&mut self, lines: usize) -> Facts {
        let extreme = self.extreme(lines);
        let line = |random: &mut Self| {
            let (quantity, unit) = extreme.unwrap_or_else(|| (random.quantity(), random.unit()));
            let (class, location) = (random.small(8), random.small(4));
            PricingLine { sku: random.below(1_000) + 1, class, location, quantity, unit }
        };
        let all = (0..lines).map(|_| line(self)).collect();
        let count = if self.one_in(2) { 0 } else { self.below(4) };
        let coupons: Vec<u64> = (0..count).map(|at| at * 10 + self.below(10) + 1).collect();
        let header = PricingHeader {
            customer: self.customer(),
            segment: self.small(5),
            now: NOW + self.below(365 * 86_400_000),
            currency: CURRENCIES[self.below(CURRENCIES.len() as u64) as usize],
            first_line: 0,
            line_count: lines as u32,
            first_coupon: 0,
            coupon_count: coupons.len() as u32,
        };
        Facts::Pricing { headers: vec![header], lines: all, coupons }
    }

    fn fraud(&mut self, lines: usize) -> Facts {
        let extreme = self.extreme(lines);
        let line = |random: &mut Self| {
            let (quantity, unit) = extreme.unwrap_or_else(|| (random.quantity(), random.unit()));
            FraudLine { sku: random.below(1_000) + 1, quantity, unit }
        };
        let all: Vec<FraudLine> = (0..lines).map(|_| line(self)).collect();
        let day = self.small(60);
        let header = FraudHeader {
            customer: self.customer(),
            address: self.customer(),
            device: self.customer(),
            now: NOW + self.below(365 * 86_400_000),
            currency: CURRENCIES[self.below(CURRENCIES.len() as u64) as usize],
            total: all.iter().map(|line| line.unit * i64::from(line.quantity)).sum(),
            units: all.iter().fold(0, |units: u32, line| units.saturating_add(line.quantity)),
            customer_age_days: self.small(3_650),
            distance_km: if self.one_in(3) { DISTANCE_UNKNOWN } else { self.small(20_000) },
            customer_orders_hour: day / 4,
            customer_orders_day: day,
            customer_amount_day: i64::from(day) * 50_00,
            address_orders_hour: self.small(30),
            address_customers_day: self.small(10),
            device_orders_hour: self.small(30),
            device_customers_day: self.small(10),
            first_line: 0,
            line_count: lines as u32,
        };
        Facts::Fraud { headers: vec![header], lines: all }
    }

    fn recommend(&mut self, count: usize) -> Facts {
        let items: Vec<u64> = (0..self.below(6)).map(|at| at * 100 + self.below(100) + 1).collect();
        let candidate = |at: usize, random: &mut Self| {
            let (alone, items) = (random.below(5_000) as u32 + 1, random.below(5_000) as u32 + 1);
            Candidate {
                sku: 1_000_000 + at as u64,
                together: random.below(u64::from(alone.min(items)) + 1) as u32,
                alone,
                items,
                popularity: if random.one_in(10) { u32::MAX } else { at as u32 },
                available: random.small(1_000),
            }
        };
        let candidates = (0..count).map(|at| candidate(at, self)).collect();
        let request = RecommendRequest {
            customer: self.customer(),
            now: NOW + self.below(365 * 86_400_000),
            first_item: 0,
            item_count: items.len() as u32,
            first_candidate: 0,
            candidate_count: count as u32,
            limit: self.below(20) as u32 + 1,
        };
        Facts::Recommend { requests: vec![request], items, candidates }
    }
}

#[cfg(test)]
mod tests {
    use onhand_plugin_bundle::Kind;

    use super::Random;

    /// Whatever is made is a batch, and a seed makes the same again.
    #[test]
    fn random_facts_are_facts() {
        for kind in Kind::ALL {
            let (mut random, mut again) = (Random::new(7), Random::new(7));
            for round in 0..2_000 {
                let lines = if round % 2 == 0 { 1 } else { round % 200 + 1 };
                let facts = random.facts(kind, lines);
                assert_eq!(facts.check(), Ok(()), "{facts:?}");
                assert_eq!(facts, again.facts(kind, lines));
            }
        }
    }
}
