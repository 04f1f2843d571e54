//! Why is this order as it is? Every decision with its reason and the cells that units moved in.

use onhand_core::{
    Cancel, Command, CustomerId, Engine, Fill, Key, Line, LineQuantity, OrderId, Place, Reserve,
};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 10)?;
    let key = Key::from_text("cart 17");
    let order = OrderId::from(key);
    accept(
        &engine,
        Command::Reserve(Reserve {
            key,
            customer: CustomerId::from_text("ada"),
            lines: Line::new(mug, units(4)).into(),
            fill: Fill::All,
            ttl_ms: 600_000,
            hard_cap_ms: 600_000,
            expected_total: None,
            decided: None,
        }),
    )?;
    let place = Place { key: Key::from_text("paid"), order, expected_total: None };
    accept(&engine, Command::Place(place))?;
    accept(
        &engine,
        Command::Cancel(Cancel {
            key: Key::from_text("one too many"),
            order,
            lines: vec![LineQuantity { line: 0, quantity: units(1) }],
            expected_version: Some(2),
            reason: 7,
        }),
    )?;

    let explained = engine.explain(order)?.ok_or("the order is gone")?;
    for decision in &explained.decisions {
        println!("{}: {}", decision.event.kind.name(), decision.reason);
        for m in &decision.event.movements {
            let (from, to) = (m.from.name(), m.to.name());
            println!("  {} from {from} to {to} at location {}", m.quantity, m.location.0);
        }
    }
    println!("the whole history: {}", explained.complete);
    engine.close()?;
    Ok(())
}
