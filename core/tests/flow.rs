//! The engine's main flow, through its public door.

mod common;

use common::{buy, define, receive, sku, units};
use onhand_core::{
    Ack, Aggregate, Buy, Command, Currency, CustomerId, Engine, Fill, Key, Line, Money, OrderId,
    Place, Receipt, Reject, Reserve,
};

/// What is acknowledged is there after the engine was opened again, and answered the same.
#[test]
fn orders_survive_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let (engine, report) = Engine::builder(dir.path()).open().expect("opens");
    assert!(report.created);
    engine.execute(define("MUG", Some(3))).expect("runs").outcome.expect("accepted");
    engine.execute(receive("r1", "MUG", 10)).expect("runs").outcome.expect("accepted");
    let first = engine.execute(buy("o1", 7, "MUG", 2)).expect("runs");
    assert!(first.outcome.is_ok());
    let limited = engine.execute(buy("o2", 7, "MUG", 2)).expect("runs").outcome;
    assert_eq!(limited.map_err(|r| r.reject), Err(Reject::LimitReached));
    let stock = engine.stock(sku("MUG")).expect("known");
    assert_eq!((stock.available, stock.committed), (8, 2));
    engine.close().expect("closes");

    let (engine, report) = Engine::builder(dir.path()).open().expect("opens again");
    assert!(report.clean && !report.created, "{report:?}");
    assert_eq!(report.live_orders, 1);
    let again = engine.execute(buy("o1", 7, "MUG", 2)).expect("runs");
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    let other = engine.execute(buy("o1", 7, "MUG", 1)).expect("runs").outcome;
    assert_eq!(other.map_err(|r| r.reject), Err(Reject::IdempotencyKeyReused));
    let explained = engine.explain(OrderId::from(Key::from_text("o1"))).expect("reads");
    assert_eq!(explained.expect("known").decisions.len(), 1);
    assert_eq!(engine.stock(sku("MUG")).expect("known").committed, 2);
}

/// A basket whose SKUs are in several shards is taken whole or not at all, and survives.
#[test]
fn baskets_cross_shards() {
    let dir = tempfile::tempdir().expect("a directory");
    let (engine, _) = Engine::builder(dir.path()).shards(4).open().expect("opens");
    let codes: Vec<String> = (0..12).map(|n| format!("SKU-{n}")).collect();
    for code in &codes {
        engine.execute(define(code, None)).expect("runs").outcome.expect("accepted");
        let key = format!("receive {code}");
        engine.execute(receive(&key, code, 5)).expect("runs").outcome.expect("accepted");
    }
    let lines: Vec<Line> = codes.iter().map(|c| Line::new(sku(c), units(2))).collect();
    let basket = |key: &str, lines: Vec<Line>| Reserve {
        key: Key::from_text(key),
        customer: CustomerId(9),
        lines: lines.into(),
        fill: Fill::All,
        ttl_ms: 60_000,
        hard_cap_ms: 120_000,
        expected_total: Money::new(250 * 24, Currency::EUR),
        decided: None,
    };
    let first = engine.execute(Command::Reserve(basket("b1", lines.clone()))).expect("runs");
    let Ok(Receipt::Order(receipt)) = &first.outcome else { panic!("{first:?}") };
    assert_eq!(receipt.total.minor(), 6_000);
    engine
        .execute(Command::Reserve(basket("b2", lines.clone())))
        .expect("runs")
        .outcome
        .expect("ok");
    let third = engine.execute(Command::Reserve(basket("b3", lines.clone()))).expect("runs");
    assert_eq!(third.outcome.map_err(|r| r.reject), Err(Reject::SoldOut));
    for code in &codes {
        let stock = engine.stock(sku(code)).expect("known");
        assert_eq!((stock.available, stock.reserved, stock.tentative), (1, 4, 0), "{code}");
    }
    let place = Place {
        key: Key::from_text("p1"),
        order: OrderId::from(Key::from_text("b1")),
        expected_total: None,
    };
    engine.execute(Command::Place(place)).expect("runs").outcome.expect("accepted");
    engine.close().expect("closes");
    let (engine, report) = Engine::builder(dir.path()).open().expect("opens again");
    assert_eq!(report.live_orders, 2);
    for code in &codes {
        let stock = engine.stock(sku(code)).expect("known");
        assert_eq!((stock.available, stock.reserved, stock.committed), (1, 2, 2), "{code}");
    }
    let again = engine.execute(Command::Reserve(basket("b1", lines))).expect("runs");
    assert_eq!((again.outcome, again.replayed), (first.outcome, true));
}

/// Batches are answered in order, at each level of acknowledgement.
#[test]
fn batches_are_answered_in_order() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    engine.execute(define("MUG", None)).expect("runs").outcome.expect("accepted");
    engine.execute(receive("r1", "MUG", 100)).expect("runs").outcome.expect("accepted");
    for (round, ack) in [Ack::Memory, Ack::Group, Ack::Strict].into_iter().enumerate() {
        let commands = (0..50).map(|n| buy(&format!("{round}-{n}"), 1, "MUG", 1)).collect();
        let replies = engine.submit_batch(commands, ack).expect("taken").wait().expect("answered");
        assert_eq!(replies.len(), 50);
        let sold = replies.iter().filter(|r| r.outcome.is_ok()).count();
        assert_eq!(sold, if round < 2 { 50 } else { 0 });
    }
}

/// Every receipt of a batch names the position of its own record, also when some baskets of the
/// batch stay in flight between shards for longer than others.
#[test]
fn positions_in_a_batch_are_those_of_the_records() {
    let (engine, _) = Engine::in_memory().shards(4).open().expect("opens");
    let codes: Vec<String> = (0..8).map(|n| format!("SKU-{n}")).collect();
    for code in &codes {
        engine.execute(define(code, None)).expect("runs").outcome.expect("accepted");
        let key = format!("receive {code}");
        engine.execute(receive(&key, code, 100_000)).expect("runs").outcome.expect("accepted");
    }
    for round in 0..20 {
        let command = |n: usize| {
            let key = Key::from_text(&format!("{round}-{n}"));
            let count = if n.is_multiple_of(3) { codes.len() } else { 1 };
            let lines: Vec<Line> =
                (0..count).map(|at| Line::new(sku(&codes[(n + at) % 8]), units(1))).collect();
            let fill = Fill::All;
            let customer = CustomerId(1);
            Command::Buy(Buy {
                key,
                customer,
                lines: lines.into(),
                fill,
                expected_total: None,
                decided: None,
            })
        };
        let commands: Vec<Command> = (0..200).map(command).collect();
        let batch = engine.submit_batch(commands, Ack::Group).expect("taken");
        for reply in batch.wait().expect("answered") {
            let Ok(Receipt::Order(receipt)) = reply.outcome else { panic!("{reply:?}") };
            assert!(receipt.seq <= engine.durable_seq(), "{receipt:?}");
            let events = engine.events(receipt.seq - 1, 1).expect("reads").events;
            assert_eq!(events[0].aggregate, Aggregate::Order(receipt.order));
        }
    }
}
