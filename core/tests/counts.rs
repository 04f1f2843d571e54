//! Counts that find fewer units than are promised: which promises break, and that nothing else
//! does.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{accept, basket, buy, count, define, receive, reserve, run, sku, units, wait_until};
use onhand_core::limits::BREAKS_MAX;
use onhand_core::{
    Ack, Bucket, Cancel, Command, Currency, DefineSku, Engine, EventKind, Key, Money, OrderId,
    OrderStatus, OrderView, Place, Placement, Reject, SkuKind,
};

fn order(key: &str) -> OrderId {
    OrderId::from(Key::from_text(key))
}

fn view(engine: &Engine, key: &str) -> OrderView {
    engine.order(order(key)).expect("reads").expect("known")
}

/// Reserved, committed and short units of an order's line, and its status.
fn line(engine: &Engine, key: &str, line: usize) -> (u32, u32, u32, OrderStatus) {
    let view = view(engine, key);
    let line = &view.lines[line];
    (line.reserved, line.committed, line.short, view.status)
}

fn kit(code: &str, components: &[(&str, u32)]) -> Command {
    Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text(&format!("define {code}")),
        code: code.to_owned(),
        kind: SkuKind::Kit,
        price: Money::new(900, Currency::EUR).expect("in range"),
        placement: Placement::BySku,
        limit: None,
        components: components.iter().map(|(code, n)| (sku(code), units(*n))).collect(),
    }))
}

/// Reservations go before commitments, and each the newest first; what is found again is
/// available, and a limit counts broken units no more.
#[test]
fn the_newest_promises_break_first() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    for command in [
        define("MUG", Some(3)),
        receive("r", "MUG", 14),
        reserve("old cart", 1, "MUG", 3, 60_000),
        buy("old", 2, "MUG", 3),
        buy("new", 3, "MUG", 3),
        reserve("new cart", 4, "MUG", 3, 60_000),
        count("c1", "MUG", 14, 8),
    ] {
        accept(&engine, command);
    }
    // Two were available, three were in the new cart, one in the old.
    assert_eq!(line(&engine, "new cart", 0), (0, 0, 3, OrderStatus::Cancelled));
    assert_eq!(line(&engine, "old cart", 0), (2, 0, 1, OrderStatus::Reserved));
    assert_eq!(line(&engine, "new", 0), (0, 3, 0, OrderStatus::Placed));
    let place = |key: &str, cart: &str| {
        let (key, order) = (Key::from_text(key), order(cart));
        Command::Place(Place { key, order, expected_total: None })
    };
    let gone = run(&engine, place("p1", "new cart")).outcome.expect_err("it is broken");
    assert_eq!(gone.reject, Reject::ReservationExpired);
    accept(&engine, place("p2", "old cart"));
    accept(&engine, count("c2", "MUG", 8, 4));
    // The cart is the older order, though it was placed last.
    assert_eq!(line(&engine, "new", 0), (0, 0, 3, OrderStatus::Cancelled));
    assert_eq!(line(&engine, "old", 0), (0, 2, 1, OrderStatus::Placed));
    assert_eq!(line(&engine, "old cart", 0), (0, 2, 1, OrderStatus::Placed));
    let repeated = run(&engine, count("c1", "MUG", 14, 8));
    assert!(repeated.replayed && repeated.outcome.is_ok());
    accept(&engine, count("c3", "MUG", 4, 7));
    let stock = engine.stock(sku("MUG")).expect("known");
    assert_eq!((stock.available, stock.reserved, stock.committed), (3, 0, 4));
    assert_eq!(stock.unavailable, 0);
    accept(&engine, buy("again", 3, "MUG", 3));
    let feed = engine.events(0, 100).expect("reads").events;
    let broken = |kind: EventKind| feed.iter().filter(|e| e.kind == kind).count();
    assert_eq!(broken(EventKind::ReservationBroken), 2);
    assert_eq!(broken(EventKind::CommitmentBroken), 2);
    let explained = engine.explain(order("old")).expect("reads").expect("known");
    let last = &explained.decisions.last().expect("it was broken").reason;
    assert!(last.contains("did not find 1 committed units"), "{last}");
}

/// A kit that loses a unit is broken, and what else it held is available again, in whichever
/// shard; orders at home elsewhere break in their turn; opening again changes nothing.
#[test]
fn kits_and_orders_of_other_shards_break() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || Engine::builder(dir.path()).shards(4).segment_bytes(1 << 20).open();
    let (engine, _) = open().expect("opens");
    let codes: Vec<String> = (0..6).map(|n| format!("PART-{n}")).collect();
    for code in &codes {
        accept(&engine, define(code, None));
        accept(&engine, receive(&format!("r {code}"), code, 20));
    }
    wait_until("every shard knows the parts", || engine.stock(sku("PART-5")).is_some());
    accept(&engine, kit("KIT", &[("PART-0", 2), ("PART-1", 1), ("PART-2", 1)]));
    accept(&engine, buy("kits", 1, "KIT", 4));
    for code in &codes[1..] {
        // At home where its first part is, with a part of the counted cell.
        accept(&engine, basket(&format!("with {code}"), 2, &[code.clone(), codes[0].clone()], 2));
    }
    let before: Vec<OrderView> =
        codes[1..].iter().map(|c| view(&engine, &format!("with {c}"))).collect();
    accept(&engine, count("c1", "PART-0", 20, 7));
    let after = |code: &str| line(&engine, &format!("with {code}"), 1);
    wait_until("the breaks are carried out", || {
        engine.stock(sku("PART-0")).is_some_and(|s| s.available + s.committed == 7)
            && engine.stock(sku("PART-1")).is_some_and(|s| s.available == 15)
    });
    // Two were available; then 2 each of the five newer orders, then one of the kits' eight.
    for code in &codes[1..] {
        assert_eq!(after(code), (0, 0, 2, OrderStatus::Placed), "{code}: {before:?}");
    }
    assert_eq!(line(&engine, "kits", 0), (0, 3, 1, OrderStatus::Placed));
    let stock = |code: &str| {
        let view = engine.stock(sku(code)).expect("known");
        (view.available, view.committed)
    };
    let stocks: Vec<_> = codes.iter().map(|code| stock(code)).collect();
    // One kit is broken: its other unit of PART-0 and its units of the other parts are back.
    assert_eq!(stocks, [(1, 6), (15, 5), (15, 5), (18, 2), (18, 2), (18, 2)]);
    let orders: Vec<OrderView> =
        codes[1..].iter().map(|c| view(&engine, &format!("with {c}"))).collect();
    engine.close().expect("closes");
    let (engine, _) = open().expect("opens again");
    for (code, order) in codes[1..].iter().zip(orders) {
        assert_eq!(view(&engine, &format!("with {code}")), order);
    }
    assert!(run(&engine, count("c1", "PART-0", 20, 7)).replayed);
    engine.close().expect("closes");
}

/// One record names so many breaks and no more; a larger gap is counted in steps. The orders of
/// the cell are more than one step of the search looks at.
#[test]
fn a_count_breaks_so_many_promises_and_no_more() {
    const ORDERS: u64 = 20_000;
    let (engine, _) = Engine::in_memory().open().expect("opens");
    accept(&engine, define("MUG", None));
    accept(&engine, receive("r", "MUG", ORDERS as u32));
    for batch in 0..ORDERS / 4_000 {
        let key = |n: u64| format!("o{:05}", batch * 4_000 + n);
        let commands = (0..4_000).map(|n| buy(&key(n), 1, "MUG", 1)).collect();
        let replies = engine.submit_batch(commands, Ack::Group).expect("taken").wait();
        assert!(replies.expect("answered").iter().all(|reply| reply.outcome.is_ok()));
    }
    let most = BREAKS_MAX as u64;
    let refused = run(&engine, count("c1", "MUG", ORDERS, ORDERS - most - 1)).outcome;
    let refused = refused.expect_err("it is too much");
    assert_eq!((refused.reject, refused.asked), (Reject::CapacityReached, most + 1));
    assert_eq!(engine.stock(sku("MUG")).expect("known").committed, ORDERS);
    accept(&engine, count("c2", "MUG", ORDERS, ORDERS - most));
    accept(&engine, count("c3", "MUG", ORDERS - most, ORDERS - most - 1));
    let gone = |n: u64| view(&engine, &format!("o{n:05}")).status == OrderStatus::Cancelled;
    assert!(gone(ORDERS - 1) && gone(ORDERS - most) && gone(ORDERS - most - 1));
    assert!(!gone(ORDERS - most - 2) && !gone(0));
}

/// Counts meet buyers, carts and each other in four shards: units are conserved, every line adds
/// up, and what the counts say is broken is what the orders lost.
#[test]
fn counts_meet_orders_in_every_shard() {
    let (engine, _) = Engine::in_memory().shards(4).open().expect("opens");
    let codes: Vec<String> = (0..5).map(|n| format!("P{n}")).collect();
    for code in &codes {
        accept(&engine, define(code, None));
        accept(&engine, receive(&format!("r {code}"), code, 400));
    }
    let done = AtomicBool::new(false);
    let (mut counted, mut keys) = (0, Vec::new());
    std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..3_usize)
            .map(|buyer| {
                let (engine, codes, done) = (&engine, &codes, &done);
                scope.spawn(move || {
                    let mut made = Vec::new();
                    for n in 0..150 {
                        let key = format!("b{buyer} {n}");
                        let pick = |at: usize| codes[(buyer + n + at) % 5].clone();
                        let bought = match n % 3 {
                            0 => basket(&key, 1, &[pick(0), pick(2)], 2),
                            1 => basket(&key, 1, &[pick(1), pick(0), pick(3)], 1),
                            _ => reserve(&key, 1, &pick(0), 3, 3_600_000),
                        };
                        if run(engine, bought).outcome.is_ok() {
                            made.push(key.clone());
                        }
                        if n % 4 == 3 {
                            let (order, lines) = (order(&key), Vec::new());
                            let key = Key::from_text(&format!("cancel {key}"));
                            let _may_be_reserved = run(
                                engine,
                                Command::Cancel(Cancel {
                                    key,
                                    order,
                                    lines,
                                    expected_version: None,
                                    reason: 0,
                                }),
                            );
                        }
                    }
                    done.store(true, Ordering::SeqCst);
                    made
                })
            })
            .collect();
        let mut n = 0;
        while !done.load(Ordering::SeqCst) || counted < 5 {
            n += 1;
            let code = &codes[n % 5];
            // What is fit for sale, as of some moment; counts before it may still be under way.
            let stock = engine.stock(sku(code)).expect("known");
            let seen = stock.available + stock.tentative + stock.reserved + stock.committed;
            let lost = (stock.available + 3).min(seen);
            match run(&engine, count(&format!("c{n}"), code, seen, seen - lost)).outcome {
                Ok(_) => counted += 1,
                Err(refusal) => assert!(
                    matches!(refusal.reject, Reject::StaleCount | Reject::Contended),
                    "{refusal:?}"
                ),
            }
            let more = receive(&format!("more {n}"), code, 12);
            accept(&engine, more);
        }
        keys = buyers.into_iter().flat_map(|b| b.join().expect("it ran")).collect::<Vec<_>>();
    });
    // Whatever shards still tell each other is settled by the time the feed is quiet.
    wait_until("nothing is in flight", || {
        let before = engine.durable_seq();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        engine.durable_seq() == before
    });
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    let mut short = 0;
    for key in &keys {
        for line in &view(&engine, key).lines {
            let sum = line.reserved + line.committed + line.short + line.shipped + line.cancelled;
            assert_eq!(sum, line.ordered, "I5: {key}");
            let code = codes.iter().find(|code| sku(code) == line.sku).expect("a code").clone();
            *held.entry(code).or_default() += u64::from(line.reserved + line.committed);
            short += u64::from(line.short);
        }
    }
    for code in &codes {
        let stock = engine.stock(sku(code)).expect("known");
        let promised = stock.reserved + stock.committed;
        assert_eq!((held.get(code).copied().unwrap_or(0), stock.tentative), (promised, 0), "I4");
    }
    let feed = engine.events(0, 1_000_000).expect("reads").events;
    let told: u64 = feed.iter().flat_map(|e| &e.breaks).map(|b| u64::from(b.quantity)).sum();
    let breaks = feed.iter().filter(|e| e.count.is_some());
    let lost = breaks.flat_map(|e| e.movements.iter().chain(&e.instructions));
    let lost: u64 = lost.filter(|m| m.to == Bucket::Adjust).map(|m| u64::from(m.quantity)).sum();
    assert_eq!((told, lost), (short, short));
    assert!(short > 0, "no promise was broken in {counted} counts");
    engine.close().expect("closes");
}
