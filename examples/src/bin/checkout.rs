//! The checkout path: reserve a basket, extend it while the buyer pays, place it, ship it.

use std::time::Duration;

use onhand_core::{
    Command, CustomerId, Engine, Extend, Fill, Key, Line, OrderId, Place, Reserve, Ship,
};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    let tea = define(&engine, goods("TEA", 450)?)?;
    stock(&engine, mug, 10)?;
    stock(&engine, tea, 10)?;

    // The key of the command that makes an order is the order's id: no look-up after a retry.
    let key = Key::from_text("cart 17");
    let order = OrderId::from(key);
    let show = |step: &str| -> Outcome {
        let view = engine.order(order)?.ok_or("the order is gone")?;
        println!("{step}: {:?}, version {}, total {}", view.status, view.version, view.total);
        Ok(())
    };

    accept(
        &engine,
        Command::Reserve(Reserve {
            key,
            customer: CustomerId::from_text("ada"),
            lines: vec![Line::new(mug, units(2)), Line::new(tea, units(1))].into(),
            fill: Fill::All,
            ttl_ms: Duration::from_mins(10).as_millis() as u64,
            hard_cap_ms: Duration::from_hours(1).as_millis() as u64,
            expected_total: None,
            decided: None,
        }),
    )?;
    show("reserve")?;
    accept(
        &engine,
        Command::Extend(Extend {
            key: Key::from_text("cart 17, payment page"),
            order,
            ttl_ms: 900_000,
        }),
    )?;
    show("extend")?;
    let place = Place { key: Key::from_text("cart 17, paid"), order, expected_total: None };
    accept(&engine, Command::Place(place))?;
    show("place")?;
    let key = Key::from_text("cart 17, parcel");
    accept(&engine, Command::Ship(Ship { key, order, lines: Vec::new(), expected_version: None }))?;
    show("ship")?;
    engine.close()?;
    Ok(())
}
