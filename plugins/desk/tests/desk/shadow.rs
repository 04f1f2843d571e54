//! Shadows and recordings: the same policy differs nowhere, another one by what it costs, and
//! nobody's number gets out.

use onhand_core::{Currency, PolicyKind};
use onhand_desk::{Desk, DeskConfig, PolicyAnswer, Shopper};
use onhand_plugin_bundle::{Facts, Fixture};
use onhand_plugin_runtime::Kind;

use crate::common::{
    ask, ask_as, bought, bundle, config, decide, desk, fifth, of_kind, pricing, shop, sku, tenth,
    villain,
};
use crate::text::VICTIM;

/// What is deceptively alike is compared to the cent.
#[test]
fn money_is_compared_to_the_cent() {
    let engine = shop();
    let desk = desk(&engine);
    let first = desk.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    desk.activate(first).expect("activated");
    let other = desk.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    // Another component that decides alike.
    let twin = crate::text::text(Kind::Pricing).with("(func $twin)").bytes();
    let twin = desk.install(&pricing("acme/twin", twin), "").expect("installed").no;
    let mut number = 0;
    let mut sell = |desk: &Desk| {
        for _ in 0..30 {
            number += 1;
            let order = ask(&format!("{number}"), number, &[("MUG", 1), ("CUP", 2)]);
            assert_eq!(bought(&engine, desk, order).total.minor(), 18_00);
        }
        desk.settle_shadows();
    };
    desk.shadow(twin, 10_000).expect("shadowed");
    sell(&desk);
    let report = desk.divergence(twin).expect("a report");
    assert_eq!((report.compared, report.equal, report.different), (30, 30, 0));
    assert!(report.money_sum.is_empty() && report.examples.is_empty());

    desk.shadow(other, 10_000).expect("shadowed");
    sell(&desk);
    let report = desk.divergence(other).expect("a report");
    assert_eq!((report.compared, report.different, report.dropped), (30, 30, 0));
    assert_eq!(report.money_sum[&Currency::EUR], -30 * 2_00);
    assert_eq!(report.money_abs[&Currency::EUR], 30 * 2_00);
    assert_eq!(report.money_per_order(Currency::EUR), -2_00 * 100);
    assert_eq!(report.examples.len(), onhand_desk::limits::EXAMPLES_MAX);
    let example = &report.examples[0];
    let Facts::Pricing { headers, .. } = &example.facts else { panic!("other facts") };
    assert!(headers[0].customer > 1_000, "a customer's number got out");
    let PolicyAnswer::Price(answer) = &example.candidate else { panic!("another answer") };
    assert_eq!((answer.total, answer.discounts.as_slice()), (16_00, [2_00, 2_00].as_slice()));
}

/// A shadow is compared with list prices and no suspicion where nobody decides, and the orders that
/// it looks at are recorded in the journal as if it were not there.
#[test]
fn a_shadow_needs_nobody_who_decides() {
    let (engine, plain) = (shop(), shop());
    let desk = desk(&engine);
    let prices = desk.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    let scores = crate::text::text(Kind::Fraud).bytes();
    let scores = bundle("acme/scores", Kind::Fraud, "", scores);
    let scores = desk.install(&scores, "").expect("installed").no;
    desk.shadow(prices, 10_000).expect("shadowed");
    desk.shadow(scores, 10_000).expect("shadowed");
    let alone = Desk::open(std::sync::Arc::clone(&plain), DeskConfig::default()).expect("a desk");
    for number in 1..=10 {
        let order = || ask(&format!("{number}"), number, &[("MUG", 1), ("CUP", 2)]);
        let seen = bought(&engine, &desk, order());
        let unseen = bought(&plain, &alone, order());
        assert_eq!((seen.total.minor(), seen.risk), (20_00, unseen.risk));
    }
    desk.settle_shadows();
    let report = desk.divergence(prices).expect("a report");
    assert_eq!((report.compared, report.different), (10, 10));
    assert_eq!(report.money_sum[&Currency::EUR], -10 * 2_00);
    assert_eq!(desk.divergence(scores).expect("a report").compared, 10);
    assert_eq!(desk.recorded(PolicyKind::Pricing, 100).len(), 10);
    assert_eq!(desk.recorded(PolicyKind::Fraud, 100).len(), 10);
}

/// A shadow that fails counts as failed and hurts nobody; only its share is asked.
#[test]
fn a_failing_shadow_hurts_nobody() {
    let engine = shop();
    let desk = desk(&engine);
    let no = desk.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    desk.activate(no).expect("activated");
    let bad = desk.install(&pricing("acme/villain", villain("(unreachable)")), "");
    let bad = bad.expect("installed").no;
    desk.shadow(bad, 10_000).expect("shadowed");
    for order in 0..3 {
        let order = ask(&format!("{order}"), VICTIM, &[("MUG", 1)]);
        assert_eq!(bought(&engine, &desk, order).total.minor(), 9_00);
    }
    desk.settle_shadows();
    let report = desk.divergence(bad).expect("a report");
    assert_eq!((report.failed, report.compared), (3, 0));
    desk.shadow(bad, 1_000).expect("shadowed");
    for customer in 1..=200 {
        decide(&desk, ask("n", customer, &[("MUG", 1)]));
    }
    desk.settle_shadows();
    let report = desk.divergence(bad).expect("a report");
    let asked = report.compared + report.failed;
    assert!((5..60).contains(&asked), "{asked} of 200");
}

/// The last inputs come back as fixtures that expect what was answered.
#[test]
fn recordings_are_fixtures() {
    let engine = shop();
    let config = DeskConfig { recorded_max: 5, ..config() };
    let desk = Desk::open(engine.clone(), config).expect("a desk");
    let price = desk.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    let fraud = bundle("acme/score", Kind::Fraud, "", of_kind(Kind::Fraud));
    let fraud = desk.install(&fraud, "").expect("installed").no;
    desk.activate(price).expect("activated");
    desk.activate(fraud).expect("activated");
    let shopper = Shopper { address: 77, device: 88, ..Shopper::default() };
    for number in 1..=9 {
        let ask = ask_as(&format!("{number}"), 42, &[("MUG", number)], shopper.clone());
        decide(&desk, ask);
    }
    let prices = desk.recorded(PolicyKind::Pricing, 100);
    assert_eq!(prices.len(), 5);
    assert_eq!(desk.recorded(PolicyKind::Pricing, 2), prices[3..]);
    let mut hidden = Vec::new();
    for (number, fixture) in (5..=9).zip(&prices) {
        let read = Fixture::read(&fixture.line()).expect("a fixture");
        assert_eq!(read.expect["orders"][0]["total"], 9_00 * number);
        let Facts::Pricing { headers, lines, .. } = read.facts else { panic!("other facts") };
        assert_eq!((lines[0].sku, i64::from(lines[0].quantity)), (sku("MUG").bits(), number));
        hidden.push(headers[0].customer);
    }
    assert!(hidden[0] != 42 && hidden.iter().all(|one| *one == hidden[0]));
    let risks = desk.recorded(PolicyKind::Fraud, 1);
    let Facts::Fraud { headers, .. } = &risks[0].facts else { panic!("other facts") };
    assert_eq!(headers[0].customer, hidden[0]);
    assert!(headers[0].address != 77 && headers[0].device != 88 && headers[0].device != 0);
    assert_eq!(headers[0].customer_orders_hour, 8);
    assert_eq!(risks[0].expect["scores"][0]["points"], 800);

    let config = DeskConfig { recorded_max: 0, ..crate::common::config() };
    let none = Desk::open(engine, config).expect("a desk");
    decide(&none, ask("n", 1, &[("MUG", 1)]));
    assert!(none.recorded(PolicyKind::Pricing, 9).is_empty());
}
