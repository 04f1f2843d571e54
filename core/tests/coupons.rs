//! Uses of coupons follow the goods of their order: nobody moves one by itself, it completes with
//! the rest, and is given back if no goods ever left.

mod common;

use common::{accept, define, receive, run, sku, units, wait_until};
use onhand_core::{
    Buy, Cancel, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, Line, LineQuantity,
    Money, OrderId, OrderStatus, Placement, Reject, Ship, Short, SkuKind,
};

/// What is done to some units of some lines; all of them where none is named.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Ship,
    Cancel,
    Short,
}

use Deed::{Cancel as C, Ship as S, Short as M};

/// Deeds on an order of two mugs, a cup and a use of a coupon, each with lines and units.
type Deeds = &'static [(Deed, &'static [(u16, u32)])];

fn coupon(code: &str) -> Command {
    Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text(&format!("define {code}")),
        code: code.to_owned(),
        kind: SkuKind::Coupon,
        price: Money::new(0, Currency::EUR).expect("in range"),
        placement: Placement::BySku,
        limit: Some(units(9)),
        components: Vec::new(),
    }))
}

fn command(key: &str, order: OrderId, deed: Deed, lines: &[(u16, u32)]) -> Command {
    let key = Key::from_text(key);
    let one = |(line, count): &(u16, u32)| LineQuantity { line: *line, quantity: units(*count) };
    let lines: Vec<LineQuantity> = lines.iter().map(one).collect();
    let expected_version = None;
    match deed {
        S => Command::Ship(Ship { key, order, lines, expected_version }),
        M => Command::Short(Short { key, order, lines, expected_version }),
        C => Command::Cancel(Cancel { key, order, lines, expected_version, reason: 0 }),
    }
}

fn basket(key: &str, codes: &[(&str, u32)]) -> Command {
    let lines: Vec<Line> =
        codes.iter().map(|(code, count)| Line::new(sku(code), units(*count))).collect();
    Command::Buy(Buy {
        key: Key::from_text(key),
        customer: CustomerId(7),
        lines: lines.into(),
        fill: Fill::All,
        expected_total: None,
        decided: None,
    })
}

/// Every way for the goods to go, and what becomes of the use: the order's status, its shipped and
/// cancelled units.
const WAYS: [(Deeds, OrderStatus, (u32, u32)); 9] = [
    (&[(S, &[])], OrderStatus::Completed, (1, 0)),
    (&[(C, &[])], OrderStatus::Cancelled, (0, 1)),
    (&[(S, &[(0, 2), (1, 1)])], OrderStatus::Completed, (1, 0)),
    (&[(S, &[(0, 1)]), (S, &[(0, 1)]), (S, &[(1, 1)])], OrderStatus::Completed, (1, 0)),
    (&[(C, &[(0, 2)]), (C, &[(1, 1)])], OrderStatus::Cancelled, (0, 1)),
    (&[(S, &[(1, 1)]), (C, &[(0, 2)])], OrderStatus::Completed, (1, 0)),
    (&[(S, &[(1, 1)]), (C, &[])], OrderStatus::Completed, (1, 0)),
    (&[(S, &[(1, 1)]), (M, &[(0, 2)])], OrderStatus::Completed, (1, 0)),
    (&[(M, &[(1, 1)]), (M, &[(0, 2)])], OrderStatus::Cancelled, (0, 1)),
];

fn fill(engine: &Engine) {
    for code in ["MUG", "CUP"] {
        accept(engine, define(code, None));
        accept(engine, receive(&format!("r {code}"), code, 100));
    }
    accept(engine, coupon("USE"));
    accept(engine, receive("r USE", "USE", 100));
    wait_until("every shard knows all", || {
        ["MUG", "CUP", "USE"].iter().all(|code| engine.stock(sku(code)).is_some())
    });
}

/// Goal: the use goes with the last goods, whichever way, in one shard and over several, and is so
/// after the journal was read again. Method: every way, each on an order of its own.
#[test]
fn a_use_goes_with_the_last_goods() {
    for shards in [1, 4] {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Engine::builder(dir.path()).shards(shards).segment_bytes(1 << 20).open();
        let (engine, _) = open().expect("opens");
        fill(&engine);
        let given = WAYS.iter().map(|(_, _, (_, cancelled))| u64::from(*cancelled)).sum::<u64>();
        let mut replies = Vec::new();
        for (way, (deeds, status, settled)) in WAYS.iter().enumerate() {
            let key = format!("order {way}");
            accept(&engine, basket(&key, &[("MUG", 2), ("CUP", 1), ("USE", 1)]));
            let order = OrderId::from(Key::from_text(&key));
            for (nth, (deed, lines)) in deeds.iter().enumerate() {
                let before = engine.order(order).expect("reads").expect("known");
                assert_eq!((before.status, before.lines[2].committed), (OrderStatus::Placed, 1));
                // By itself the use is nobody's to move.
                let alone =
                    run(&engine, command(&format!("{key} alone {nth}"), order, *deed, &[(2, 1)]));
                let refusal = alone.outcome.expect_err("it follows");
                assert_eq!((refusal.reject, refusal.found), (Reject::OverCommitted, 0));
                let command = command(&format!("{key} {nth}"), order, *deed, lines);
                replies.push((command.clone(), run(&engine, command)));
                assert!(replies.last().is_some_and(|(_, reply)| reply.outcome.is_ok()), "{key}");
            }
            let after = engine.order(order).expect("reads").expect("known");
            let line = &after.lines[2];
            assert_eq!(after.status, *status, "{key}, {shards} shards");
            assert_eq!((line.shipped, line.cancelled), *settled, "{key}, {shards} shards");
            assert_eq!((line.short, line.committed), (0, 0), "{key}");
        }
        let uses = 100 - WAYS.len() as u64 + given;
        wait_until("uses come back", || {
            engine.stock(sku("USE")).is_some_and(|stock| stock.available == uses)
        });
        engine.close().expect("closes");
        let (engine, _) = open().expect("opens again");
        for (command, reply) in replies {
            let again = run(&engine, command);
            assert!(again.replayed);
            assert_eq!(again.outcome, reply.outcome);
        }
        let stock = engine.stock(sku("USE")).expect("known");
        assert_eq!((stock.available, stock.committed), (uses, 0));
        engine.close().expect("closes");
    }
}

/// A coupon that is bought by itself is goods like any other.
#[test]
fn a_coupon_alone_is_shipped_like_goods() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    fill(&engine);
    for (key, codes) in [("one", &[("USE", 2)][..]), ("two", &[("USE", 1), ("USE", 1)][..])] {
        accept(&engine, basket(key, codes));
        let order = OrderId::from(Key::from_text(key));
        accept(&engine, command(&format!("{key} ship"), order, S, &[(0, 1)]));
        let placed = engine.order(order).expect("reads").expect("known");
        assert_eq!((placed.status, placed.lines[0].shipped), (OrderStatus::Placed, 1));
        accept(&engine, command(&format!("{key} cancel"), order, C, &[]));
        let done = engine.order(order).expect("reads").expect("known");
        assert_eq!(done.status, OrderStatus::Completed);
    }
}
