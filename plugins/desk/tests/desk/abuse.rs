//! Plugins that misbehave while others go on: nobody else's order is late, lost or mispriced.

use onhand_core::{DecidedBy, Reject};
use onhand_plugin_runtime::Kind;

use crate::common::{ask, bought, bundle, decide, desk, refused, shop, villain};
use crate::text::VICTIM;

const LOOP: &str = "(loop $for-ever (br $for-ever))";
const TRAP: &str = "(unreachable)";
const LIE: &str = "(return (i32.const 0xfffffff0))";
const BOMB: &str = "(loop $more (drop (memory.grow (i32.const 1000))) (br $more))";

/// In one batch with the victim, everybody else gets the plugin's price and the victim what the
/// failure policy says.
#[test]
fn one_bad_order_spoils_no_other() {
    for (name, deed) in [("loop", LOOP), ("trap", TRAP), ("lie", LIE), ("bomb", BOMB)] {
        let engine = shop();
        let desk = desk(&engine);
        let more = "on_failure = \"fail_closed\"";
        let bytes = bundle("acme/villain", Kind::Pricing, more, villain(deed));
        let no = desk.install(&bytes, "").expect("installed").no;
        desk.activate(no).expect("activated");
        let mut asks: Vec<_> = (1..=20)
            .map(|number| {
                let customer = if number == 7 { VICTIM } else { number };
                ask(&format!("{number}"), customer, &[("MUG", 1)])
            })
            .collect();
        desk.decide(crate::common::NOW, &mut asks);
        for ask in asks {
            let customer = ask.command().clone();
            let onhand_core::Command::Buy(buy) = customer else { panic!("a purchase") };
            let victim = buy.customer.0 == VICTIM;
            let reply = engine.execute(ask.take().expect("decided")).expect("an engine");
            match reply.outcome {
                Ok(_) => {
                    assert!(!victim, "{name}");
                    let order = engine.order(buy.key.into()).expect("an engine").expect("it");
                    assert_eq!(order.total.minor(), 9_00, "{name}");
                }
                Err(refusal) => {
                    assert!(victim, "{name}: {refusal:?}");
                    assert_eq!(refusal.reject, Reject::PluginFailed, "{name}");
                }
            }
        }
        let stats = desk.stats();
        let own = stats.iter().find(|stats| stats.no == no).expect("figures");
        assert_eq!((own.orders, own.by), (20, [19, 0, 0, 1]), "{name}");
        assert_eq!(own.failures.iter().sum::<u64>(), 1, "{name}");
    }
}

/// A policy that only ever fails leaves the shop its built-in prices, recorded as such.
#[test]
fn the_built_in_policy_stands_in() {
    let engine = shop();
    let desk = desk(&engine);
    let no = desk.install(&bundle("acme/villain", Kind::Pricing, "", villain(TRAP)), "");
    let no = no.expect("installed").no;
    desk.activate(no).expect("activated");
    for number in 0..30 {
        let order = ask(&format!("{number}"), VICTIM, &[("MUG", 1)]);
        assert_eq!(bought(&engine, &desk, order).total.minor(), 10_00);
    }
    let onhand_core::Command::Buy(buy) = decide(&desk, ask("x", VICTIM, &[("MUG", 1)])) else {
        panic!("a purchase")
    };
    let pricing = buy.decided.expect("decided").pricing.expect("priced");
    assert_eq!((pricing.policy, pricing.by), (no, DecidedBy::BuiltIn));
    desk.rollback(no).expect("rolled back");
}

/// A fraud plugin's verdicts are the order's risk, and its denial the shop's.
#[test]
fn a_fraud_plugin_denies() {
    let engine = shop();
    let desk = desk(&engine);
    let bytes = bundle("acme/score", Kind::Fraud, "", crate::common::of_kind(Kind::Fraud));
    let no = desk.install(&bytes, "").expect("installed").no;
    desk.activate(no).expect("activated");
    for number in 0..5 {
        bought(&engine, &desk, ask(&format!("{number}"), 3, &[("CUP", 1)]));
    }
    // 100 points for each order of the hour, denied from 500 on, by reason 7.
    let denied = refused(&engine, &desk, ask("6", 3, &[("CUP", 1)]));
    assert_eq!(denied, (Reject::FraudDenied, 7));
    bought(&engine, &desk, ask("7", 4, &[("CUP", 1)]));
}

/// What a plugin logs and how it failed last is there to be looked at, as often as one likes.
#[test]
fn logs_and_the_last_failure_are_shown() {
    let engine = shop();
    let desk = desk(&engine);
    let deed = "(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) (unreachable)";
    let bytes = bundle("acme/villain", Kind::Pricing, "", villain(deed));
    let no = desk.install(&bytes, "").expect("installed").no;
    desk.activate(no).expect("activated");
    assert_eq!(desk.logs(no).expect("it is ready").lines, []);
    let failure = || {
        let listed = desk.list().into_iter().find(|listed| listed.view.no == no);
        let stats = desk.stats().into_iter().find(|stats| stats.no == no);
        let stats = stats.expect("figures").last_failure;
        assert_eq!(listed.expect("listed").last_failure, stats);
        stats
    };
    assert_eq!(failure(), None);
    bought(&engine, &desk, ask("a", VICTIM, &[("MUG", 1)]));
    for _ in 0..2 {
        let logs = desk.logs(no).expect("it is ready");
        let lines: Vec<_> = logs.lines.iter().map(|line| (line.level, &*line.text)).collect();
        assert_eq!((lines, logs.dropped), (vec![(1, "no x")], 0));
    }
    assert!(failure().is_some_and(|text| text.contains("unreachable")), "{:?}", failure());
    assert_eq!(desk.logs(onhand_core::PolicyNo(99)), None);
}
