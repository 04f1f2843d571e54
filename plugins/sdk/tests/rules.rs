//! The harness checks prices by the same rules as the host.

use std::panic::catch_unwind;

use onhand_plugin_sdk::pricing::{Adjustment, Line};
use onhand_plugin_sdk::testing::priced;
use onhand_policy::decision::{self, PriceOutcome, check_prices};
use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
use proptest::prelude::*;

fn adjustment() -> impl Strategy<Value = Adjustment> {
    (0_u32..4, 0_u32..3, prop_oneof![0_i64..300, Just(0), -1_i64..2], 0_u32..9)
        .prop_map(|(kind, at, amount, code)| Adjustment { kind, at, amount, code })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// What the host takes the harness takes, with the same total; what one refuses both refuse.
    #[test]
    fn harness_and_host_agree(
        amounts in prop::collection::vec((1_u32..4, 0_i64..200), 1..4),
        coupons in prop::collection::vec(1_u64..3, 0..3),
        answer in prop::collection::vec(adjustment(), 0..6),
    ) {
        // An index outside the order is the one thing that a plugin of this SDK cannot say.
        let answer: Vec<Adjustment> = answer
            .into_iter()
            .filter(|one| {
                let end = [amounts.len(), 1, 1, coupons.len()][one.kind as usize];
                (one.at as usize) < end
            })
            .collect();
        let header = PricingHeader {
            currency: 978,
            line_count: amounts.len() as u32,
            coupon_count: coupons.len() as u32,
            ..PricingHeader::default()
        };
        let fact = |&(quantity, unit)| PricingLine { quantity, unit, ..PricingLine::default() };
        let facts: Vec<PricingLine> = amounts.iter().map(fact).collect();
        let own = |&(quantity, unit)| Line { quantity, unit, ..Line::default() };
        let lines: Vec<Line> = amounts.iter().map(own).collect();
        let raw: Vec<_> = answer
            .iter()
            .map(|&Adjustment { kind, at, amount, code }| {
                decision::Adjustment { kind, at, amount, code }
            })
            .collect();
        let headers = [header];
        let batch = PricingBatch::new(&headers, &facts, &coupons).expect("an order");
        let host = check_prices(&batch, &raw).ok().map(|prices| prices.outcomes[0]);
        let harness = catch_unwind(|| priced(&lines, &coupons, &answer)).ok();
        let same = harness.map(|priced| match priced.refused {
            Some(code) => PriceOutcome::Refused { code },
            None => PriceOutcome::Priced { total: priced.total, clamped: 0 },
        });
        let host = host.map(|outcome| match outcome {
            PriceOutcome::Priced { total, .. } => PriceOutcome::Priced { total, clamped: 0 },
            refused @ PriceOutcome::Refused { .. } => refused,
        });
        prop_assert_eq!(same, host);
    }
}
