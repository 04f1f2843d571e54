//! A feed reads what became durable, from any position, with a version of each thing it is about.

use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line, OrderId, Ship};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 10)?;
    let key = Key::from_text("order 1");
    let buy = Buy::one(key, CustomerId::from_text("ada"), Line::new(mug, units(3)));
    accept(&engine, Command::Buy(buy))?;
    accept(
        &engine,
        Command::Ship(Ship {
            key: Key::from_text("parcel 1"),
            order: OrderId::from(key),
            lines: Vec::new(),
            expected_version: None,
        }),
    )?;

    // A consumer keeps `next` with its own data, and asks after it the next time.
    let mut after = 0;
    loop {
        let page = engine.events(after, 2)?;
        if page.events.is_empty() {
            break;
        }
        for event in &page.events {
            let moved: Vec<String> = event
                .movements
                .iter()
                .map(|m| format!("{} {} -> {}", m.quantity, m.from.name(), m.to.name()))
                .collect();
            let (seq, kind, version) = (event.seq, event.kind.name(), event.version);
            println!("{seq} {kind} version {version}: {}", moved.join(", "));
        }
        after = page.next;
    }
    println!("caught up at {after}");
    engine.close()?;
    Ok(())
}
