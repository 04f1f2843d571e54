//! Stock that is counted, set aside and sent to another location; each step is a movement.

use onhand_core::{
    Adjust, Buy, Command, Count, CustomerId, Engine, Key, Line, LocationId, LotId, Quarantine,
    Reason, SkuId, TransferIn, TransferOut,
};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

const NORTH: LocationId = LocationId(1);
const SOUTH: LocationId = LocationId(2);
const LOT: LotId = LotId(0);

fn show(engine: &Engine, step: &str, sku: SkuId) {
    let Some(v) = engine.stock(sku) else { return };
    let (free, aside, way) = (v.available, v.unavailable, v.in_transit);
    println!("{step}: available {free}, set aside {aside}, in transit {way}");
}

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let sku = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, sku, 10)?;
    show(&engine, "received", sku);

    // A count is compare-and-set: an order in between makes it stale, and nothing is changed.
    let count = |key: &str, expected: u64| {
        let key = Key::from_text(key);
        Command::Adjust(Adjust { key, sku, location: NORTH, lot: LOT, expected, available: 9 })
    };
    let stale = engine.execute(count("count 1", 8))?.outcome.err().ok_or("a stale count")?;
    println!("stale count: {}, there are {}", stale.reject.code(), stale.found);
    accept(&engine, count("count 2", 10))?;
    show(&engine, "counted", sku);

    let (key, quantity) = (Key::from_text("broken handles"), units(2));
    let (reason, back) = (Reason::Damaged, false);
    let aside = Quarantine { key, sku, location: NORTH, lot: LOT, quantity, reason, back };
    accept(&engine, Command::Quarantine(aside))?;
    show(&engine, "damaged", sku);

    let (transfer, quantity) = (Key::from_text("truck 4"), units(5));
    let out = TransferOut { key: transfer, sku, from: NORTH, lot: LOT, to: SOUTH, quantity };
    accept(&engine, Command::TransferOut(out))?;
    show(&engine, "sent", sku);
    let (key, quantity) = (Key::from_text("truck 4, unloaded"), units(5));
    accept(&engine, Command::TransferIn(TransferIn { key, transfer, sku, from: NORTH, quantity }))?;
    show(&engine, "arrived", sku);

    // A count of promised units too: what is missing is taken from available units first, then
    // from the newest order.
    for (order, count) in [("first", 2), ("second", 3)] {
        let line = Line::new(sku, units(count)).at(SOUTH);
        let buy = Buy::one(Key::from_text(order), CustomerId::NONE, line);
        accept(&engine, Command::Buy(buy))?;
    }
    let (key, location, lot) = (Key::from_text("count 3"), SOUTH, LOT);
    let count = Count { key, sku, location, lot, expected: 5, counted: 4 };
    accept(&engine, Command::Count(count))?;
    for order in ["first", "second"] {
        let view = engine.order(Key::from_text(order).into())?.ok_or("it was made")?;
        for line in view.lines {
            println!("{order} order: committed {}, short {}", line.committed, line.short);
        }
    }
    engine.close()?;
    Ok(())
}
