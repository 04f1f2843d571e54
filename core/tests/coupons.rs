//! Uses of coupons follow the goods of their order: nobody moves one by itself, it completes with
//! the rest, and is given back if no goods ever left.

mod common;

use common::{accept, count, define, receive, run, sku, units, wait_until};
use std::sync::Arc;

use onhand_core::{
    Buy, Cancel, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, Line, LineQuantity,
    ManualClock, Money, OrderId, OrderStatus, Place, Placement, Reject, Release, Reserve, Ship,
    Short, SkuKind, Timestamp,
};

/// What is done to some units of some lines; all of them where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

fn reserved(key: &str, codes: &[(&str, u32)], fill: Fill) -> Command {
    let lines: Vec<Line> =
        codes.iter().map(|(code, count)| Line::new(sku(code), units(*count))).collect();
    Command::Reserve(Reserve {
        key: Key::from_text(key),
        customer: CustomerId(7),
        lines: lines.into(),
        fill,
        ttl_ms: 60_000,
        hard_cap_ms: 90_000,
        expected_total: None,
        decided: None,
    })
}

fn order(key: &str) -> OrderId {
    OrderId::from(Key::from_text(key))
}

/// An order's status, and reserved, committed, shipped, cancelled and short units of a line.
fn line(engine: &Engine, key: &str, at: usize) -> (OrderStatus, [u32; 5]) {
    let view = engine.order(order(key)).expect("reads").expect("known");
    let l = &view.lines[at];
    (view.status, [l.reserved, l.committed, l.shipped, l.cancelled, l.short])
}

/// Available, reserved, committed and shipped uses.
fn uses(engine: &Engine) -> [u64; 4] {
    let stock = engine.stock(sku("USE")).expect("known");
    [stock.available, stock.reserved, stock.committed, stock.shipped]
}

/// How the goods of an order go until a count breaks what is left, and what becomes of the order
/// and of the use.
const BREAKS: [(&str, bool, Deeds, OrderStatus, [u32; 5]); 5] = [
    ("placed", false, &[], OrderStatus::Cancelled, [0, 0, 0, 1, 0]),
    ("reserved", true, &[], OrderStatus::Cancelled, [0, 0, 0, 1, 0]),
    ("partly shipped", false, &[(S, &[(0, 1)])], OrderStatus::Completed, [0, 0, 1, 0, 0]),
    ("partly cancelled", false, &[(C, &[(0, 1)])], OrderStatus::Cancelled, [0, 0, 0, 1, 0]),
    ("partly short", false, &[(M, &[(0, 1)])], OrderStatus::Cancelled, [0, 0, 0, 1, 0]),
];

/// Goal: uses follow goods that a count breaks, of placed and reserved orders, in one shard and
/// over several, and nothing can be done with the order then. Method: each way, then every deed.
#[test]
fn a_use_follows_goods_that_a_count_breaks() {
    for (shards, (way, reserve, deeds, status, settled)) in
        [1, 4].into_iter().flat_map(|shards| BREAKS.map(|way| (shards, way)))
    {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Engine::builder(dir.path()).shards(shards).segment_bytes(1 << 20).open();
        let (engine, _) = open().expect("opens");
        fill(&engine);
        let codes = [("USE", 1), ("MUG", 2)];
        let swapped = [("MUG", 2), ("USE", 1)];
        accept(
            &engine,
            if reserve { reserved(way, &codes, Fill::All) } else { basket(way, &swapped) },
        );
        let (goods, used) = if reserve { (1, 0) } else { (0, 1) };
        for (nth, (deed, lines)) in deeds.iter().enumerate() {
            accept(&engine, command(&format!("deed {nth}"), order(way), *deed, lines));
        }
        let left = || {
            let stock = engine.stock(sku("MUG")).expect("known");
            stock.available + stock.reserved + stock.committed
        };
        wait_until("the deeds are done", || {
            left() + line(&engine, way, goods).1[2] as u64 + line(&engine, way, goods).1[4] as u64
                == 100
        });
        accept(&engine, count("count", "MUG", left(), 0));
        let given = u64::from(settled[3]);
        let after = [99 + given, 0, 0, 1 - given];
        wait_until("the break is carried out", || uses(&engine) == after);
        assert_eq!(line(&engine, way, used), (status, settled), "{way}, {shards} shards");
        for deed in [S, C] {
            let refused = run(&engine, command(&format!("late {deed:?}"), order(way), deed, &[]));
            assert_eq!(refused.outcome.expect_err("it is over").reject, Reject::StateConflict);
        }
        let place = Place { key: Key::from_text("place"), order: order(way), expected_total: None };
        let refused = run(&engine, Command::Place(place)).outcome.expect_err("it is over").reject;
        let wanted = if reserve { Reject::ReservationExpired } else { Reject::StateConflict };
        assert_eq!(refused, wanted);
        engine.close().expect("closes");
        let (engine, _) = open().expect("opens again");
        assert_eq!((line(&engine, way, used), uses(&engine)), ((status, settled), after));
        engine.close().expect("closes");
    }
}

/// What is left after a break of some goods goes as ever, and the use with it; a use that is itself
/// not found is short, and the goods go on.
#[test]
fn a_break_of_some_goods_leaves_the_rest() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    fill(&engine);
    for (way, deed) in [("cancel", C), ("ship", S)] {
        accept(&engine, basket(way, &[("MUG", 2), ("CUP", 1), ("USE", 1)]));
        let mugs = engine.stock(sku("MUG")).expect("known");
        let expected = mugs.available + mugs.committed;
        accept(&engine, count(&format!("count {way}"), "MUG", expected, 0));
        assert_eq!(line(&engine, way, 0), (OrderStatus::Placed, [0, 0, 0, 0, 2]));
        assert_eq!(line(&engine, way, 2), (OrderStatus::Placed, [0, 1, 0, 0, 0]));
        accept(&engine, command(&format!("{way} rest"), order(way), deed, &[]));
        accept(&engine, receive(&format!("more {way}"), "MUG", 9));
    }
    assert_eq!(line(&engine, "cancel", 2), (OrderStatus::Cancelled, [0, 0, 0, 1, 0]));
    assert_eq!(line(&engine, "ship", 2), (OrderStatus::Completed, [0, 0, 1, 0, 0]));
    accept(&engine, basket("last", &[("CUP", 1), ("USE", 1)]));
    accept(&engine, count("no uses", "USE", 99, 0));
    assert_eq!(line(&engine, "last", 1), (OrderStatus::Placed, [0, 0, 0, 0, 1]));
    accept(&engine, command("last ship", order("last"), S, &[]));
    assert_eq!(line(&engine, "last", 0), (OrderStatus::Completed, [0, 0, 1, 0, 0]));
    assert_eq!(uses(&engine), [0, 0, 0, 1]);
}

/// A kit that holds the coupon itself: the count takes the kit first and then the use of the same
/// cell. Where it stops between them, a ship leaves no goods behind and gives the use back.
#[test]
fn a_use_beside_a_kit_of_the_same_coupon() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    fill(&engine);
    accept(
        &engine,
        Command::DefineSku(Box::new(DefineSku {
            key: Key::from_text("define KIT"),
            code: "KIT".to_owned(),
            kind: SkuKind::Kit,
            price: Money::new(900, Currency::EUR).expect("in range"),
            placement: Placement::BySku,
            limit: None,
            components: vec![(sku("MUG"), units(1)), (sku("USE"), units(1))],
        })),
    );
    accept(&engine, basket("both", &[("USE", 1), ("KIT", 1)]));
    accept(&engine, count("all", "USE", 100, 0));
    assert_eq!(line(&engine, "both", 0), (OrderStatus::Cancelled, [0, 0, 0, 0, 1]));
    assert_eq!(line(&engine, "both", 1), (OrderStatus::Cancelled, [0, 0, 0, 0, 1]));
    for (deed, key) in [(S, "ship"), (C, "cancel")] {
        accept(&engine, receive(&format!("more {key}"), "USE", 2));
        accept(&engine, basket(key, &[("USE", 1), ("KIT", 1)]));
        let found = u64::from(deed == C);
        accept(&engine, count(&format!("half {key}"), "USE", 2 + found, 1));
        accept(&engine, command(&format!("{key} rest"), order(key), deed, &[]));
        let (status, [_, _, shipped, cancelled, _]) = line(&engine, key, 0);
        assert_eq!((status, shipped, cancelled), (OrderStatus::Cancelled, 0, 1), "{key}");
    }
    // The same of a reservation: its end gives the use back.
    accept(&engine, receive("more held", "USE", 2));
    accept(&engine, reserved("held", &[("USE", 1), ("KIT", 1)], Fill::All));
    accept(&engine, count("half held", "USE", 3, 1));
    assert_eq!(line(&engine, "held", 0).1, [1, 0, 0, 0, 0]);
    let release = Release { key: Key::from_text("held rest"), order: order("held"), reason: 0 };
    accept(&engine, Command::Release(release));
    assert_eq!(line(&engine, "held", 0), (OrderStatus::Cancelled, [0, 0, 0, 1, 0]));
    assert_eq!(uses(&engine), [1, 0, 0, 0]);
}

/// Goal: a fill in part grants no use alone, and a use fills no part; with every policy, bought and
/// reserved, in one shard and over several.
#[test]
fn a_use_fills_no_part_of_a_basket() {
    for shards in [1, 4] {
        let (engine, _) = Engine::in_memory().shards(shards).open().expect("opens");
        fill(&engine);
        accept(&engine, count("no mugs", "MUG", 100, 0));
        accept(&engine, count("few cups", "CUP", 100, 2));
        let both = |key: &str, code, fill| {
            let command = reserved(key, &[(code, 3), ("USE", 1)], fill);
            run(&engine, command).outcome
        };
        let refused = |key: &str, code, fill| both(key, code, fill).expect_err("it is short");
        for (fill, key) in
            [(Fill::Partial, "partial"), (Fill::Min(1), "one"), (Fill::Min(2), "two")]
        {
            let refusal = refused(key, "MUG", fill);
            assert_eq!((refusal.reject, refusal.line), (Reject::SoldOut, 0), "{key}, {shards}");
        }
        assert_eq!(refused("three", "CUP", Fill::Min(3)).reject, Reject::PartialOnly);
        wait_until("what was taken is back", || uses(&engine) == [100, 0, 0, 0]);
        both("two cups", "CUP", Fill::Min(2)).expect("there are two");
        assert_eq!(line(&engine, "two cups", 0), (OrderStatus::Reserved, [2, 0, 0, 1, 0]));
        assert_eq!(line(&engine, "two cups", 1), (OrderStatus::Reserved, [1, 0, 0, 0, 0]));
        let alone = reserved("alone", &[("USE", 8)], Fill::Partial);
        assert!(run(&engine, alone).outcome.is_ok(), "a coupon alone is goods");
        engine.close().expect("closes");
    }
}

/// A use is reserved with its goods, and released, expired or placed with them.
#[test]
fn a_reserved_use_goes_with_its_reservation() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let (engine, _) = Engine::in_memory().clock(clock.clone()).open().expect("opens");
    fill(&engine);
    let codes = [("MUG", 2), ("USE", 1)];
    for key in ["released", "placed", "expired"] {
        accept(&engine, reserved(key, &codes, Fill::All));
    }
    assert_eq!(uses(&engine), [97, 3, 0, 0]);
    let release = Release { key: Key::from_text("r"), order: order("released"), reason: 0 };
    accept(&engine, Command::Release(release));
    assert_eq!(line(&engine, "released", 1), (OrderStatus::Cancelled, [0, 0, 0, 1, 0]));
    let place = Place { key: Key::from_text("p"), order: order("placed"), expected_total: None };
    accept(&engine, Command::Place(place));
    assert_eq!(line(&engine, "placed", 1), (OrderStatus::Placed, [0, 1, 0, 0, 0]));
    clock.set(Timestamp::from_millis(1_700_000_100_000));
    accept(&engine, Command::Tick);
    assert_eq!(line(&engine, "expired", 1), (OrderStatus::Expired, [0, 0, 0, 1, 0]));
    accept(&engine, command("ship", order("placed"), S, &[]));
    assert_eq!(line(&engine, "placed", 1), (OrderStatus::Completed, [0, 0, 1, 0, 0]));
    assert_eq!(uses(&engine), [99, 0, 0, 1]);
}
