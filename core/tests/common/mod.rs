//! Short ways to say what the tests ask of the engine.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use onhand_core::{
    Buy, Command, Count, Currency, CustomerId, DefineSku, Engine, Fill, Key, Line, LocationId,
    LotId, Money, OrderId, Placement, Quantity, Receive, Reply, Reserve, Ship, SkuId, SkuKind,
};

pub fn define(code: &str, limit: Option<u32>) -> Command {
    Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text(&format!("define {code}")),
        code: code.to_owned(),
        kind: SkuKind::Goods,
        price: Money::new(250, Currency::EUR).expect("in range"),
        placement: Placement::BySku,
        limit: limit.and_then(Quantity::new),
        components: Vec::new(),
    }))
}

pub fn sku(code: &str) -> SkuId {
    SkuId::from_code(code).expect("a code")
}

pub fn units(count: u32) -> Quantity {
    Quantity::new(count).expect("in range")
}

pub fn receive(key: &str, code: &str, count: u32) -> Command {
    Command::Receive(Receive {
        key: Key::from_text(key),
        sku: sku(code),
        location: LocationId(1),
        lot: LotId(0),
        quantity: units(count),
    })
}

pub fn count(key: &str, code: &str, expected: u64, counted: u64) -> Command {
    Command::Count(Count {
        key: Key::from_text(key),
        sku: sku(code),
        location: LocationId(1),
        lot: LotId(0),
        expected,
        counted,
    })
}

pub fn buy(key: &str, customer: u64, code: &str, count: u32) -> Command {
    let line = Line::new(sku(code), units(count));
    Command::Buy(Buy::one(Key::from_text(key), CustomerId(customer), line))
}

pub fn basket(key: &str, customer: u64, codes: &[String], count: u32) -> Command {
    let lines: Vec<Line> = codes.iter().map(|c| Line::new(sku(c), units(count))).collect();
    Command::Buy(Buy {
        key: Key::from_text(key),
        customer: CustomerId(customer),
        lines: lines.into(),
        fill: Fill::All,
        expected_total: None,
        decided: None,
    })
}

pub fn reserve(key: &str, customer: u64, code: &str, count: u32, ttl_ms: u64) -> Command {
    Command::Reserve(Reserve {
        key: Key::from_text(key),
        customer: CustomerId(customer),
        lines: Line::new(sku(code), units(count)).into(),
        fill: Fill::All,
        ttl_ms,
        hard_cap_ms: ttl_ms * 2,
        expected_total: None,
        decided: None,
    })
}

pub fn ship(key: &str, order: &str) -> Command {
    Command::Ship(Ship {
        key: Key::from_text(key),
        order: OrderId::from(Key::from_text(order)),
        lines: Vec::new(),
        expected_version: None,
    })
}

pub fn run(engine: &Engine, command: Command) -> Reply {
    engine.execute(command).expect("the engine runs")
}

pub fn accept(engine: &Engine, command: Command) -> Reply {
    let reply = run(engine, command);
    assert!(reply.outcome.is_ok(), "{reply:?}");
    reply
}

/// Waits until something holds that happens by itself; gives up after a number of looks.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    panic!("it never came true: {what}");
}
