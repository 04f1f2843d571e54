//! Checkpoints, the archive, and what is left when they are lost.

mod common;

use common::{accept, basket, buy, define, receive, reserve, run, ship, sku, wait_until};
use onhand_core::{Engine, Key, OrderId, OrderStatus};

/// Behind a checkpoint only the rest of the journal is carried out again, and nothing is lost.
#[test]
fn a_restart_goes_on_from_the_checkpoint() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        let (engine, _) = Engine::builder(dir.path()).shards(shards).open().expect("opens");
        let codes: Vec<String> = (0..6).map(|n| format!("S{n}")).collect();
        for code in &codes {
            accept(&engine, define(code, Some(50)));
            accept(&engine, receive(&format!("r{code}"), code, 1_000));
        }
        let first = accept(&engine, basket("b0", 5, &codes, 2));
        for n in 0..600 {
            accept(&engine, buy(&format!("o{n}"), n + 1, &codes[n as usize % 6], 1));
        }
        accept(&engine, reserve("held", 9, "S0", 3, 3_600_000));
        let report = engine.checkpoint().expect("makes a checkpoint");
        assert_eq!(report.orders, 602);
        accept(&engine, buy("late", 1, "S1", 1));
        let before: Vec<_> = codes.iter().map(|c| engine.stock(sku(c))).collect();
        engine.close().expect("closes");

        let (engine, report) = Engine::builder(dir.path()).open().expect("opens again");
        assert_eq!(report.notes, Vec::<String>::new());
        assert!(report.checkpoint.is_some());
        assert!(report.commands_replayed <= 2, "{report:?}");
        assert_eq!(report.live_orders, 603);
        let counts = |v: &Option<onhand_core::StockView>| {
            v.map(|v| (v.available, v.reserved, v.committed)).expect("known")
        };
        let after: Vec<_> = codes.iter().map(|c| engine.stock(sku(c))).collect();
        assert!(before.iter().map(counts).eq(after.iter().map(counts)));
        let again = run(&engine, basket("b0", 5, &codes, 2));
        assert_eq!((again.outcome, again.replayed), (first.outcome, true));
        accept(&engine, buy("new", 2, "S2", 1));
        let limit = run(&engine, buy("much", 5, "S0", 49)).outcome;
        assert!(limit.is_err(), "limits survive: {limit:?}");
    }
}

/// Settled orders leave memory; their keys are answered as before, also after a restart and
/// after the whole store was lost.
#[test]
fn archived_orders_stay_answerable() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Engine::builder(dir.path()).settled_resident_max(0).open().expect("opens");
        let (engine, _) = Engine::builder(dir.path())
            .shards(shards)
            .settled_resident_max(0)
            .open()
            .expect("opens");
        let codes: Vec<String> = (0..4).map(|n| format!("S{n}")).collect();
        for code in &codes {
            accept(&engine, define(code, None));
            accept(&engine, receive(&format!("r{code}"), code, 1_000));
        }
        let first: Vec<_> = (0..40)
            .map(|n| accept(&engine, buy(&format!("o{n}"), n, &codes[n as usize % 4], 1)))
            .collect();
        let shipped: Vec<_> =
            (0..40).map(|n| accept(&engine, ship(&format!("s{n}"), &format!("o{n}")))).collect();
        wait_until("the settled orders are archived", || engine.metrics().archived >= 88);
        let check = |engine: &Engine| {
            for n in 0..40_usize {
                let again = run(engine, buy(&format!("o{n}"), n as u64, &codes[n % 4], 1));
                assert_eq!(again.outcome, first[n].outcome);
                assert!(again.replayed);
                let again = run(engine, ship(&format!("s{n}"), &format!("o{n}")));
                assert_eq!(again.outcome, shipped[n].outcome);
                let late = run(engine, ship(&format!("x{n}"), &format!("o{n}")));
                assert!(late.outcome.is_err());
                let order = OrderId::from(Key::from_text(&format!("o{n}")));
                let view = engine.order(order).expect("reads").expect("known");
                assert_eq!((view.status, view.archived), (OrderStatus::Completed, true));
            }
            let other = run(engine, buy("o1", 1, "S0", 2)).outcome;
            assert!(other.is_err(), "another body under the same key: {other:?}");
        };
        check(&engine);
        engine.checkpoint().expect("makes a checkpoint");
        engine.close().expect("closes");
        let (engine, _) = open();
        check(&engine);
        engine.close().expect("closes");
        std::fs::remove_dir_all(dir.path().join("store")).expect("removes");
        let (engine, report) = open();
        assert!(report.checkpoint.is_none());
        check(&engine);
        engine.close().expect("closes");
        let report = onhand_core::rebuild(dir.path()).expect("rebuilds");
        assert!(report.commands_replayed > 80);
        let (engine, report) = open();
        assert!(report.checkpoint.is_some(), "{report:?}");
        check(&engine);
    }
}
