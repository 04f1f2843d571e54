//! Opening stock of thousands of cells in one call, and once more without a second effect.

use onhand_core::{Engine, ImportLine, Key, LocationId, LotId};
use onhand_examples::{Outcome, define, goods, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().shards(2).open()?;
    let mut lines = Vec::new();
    for n in 0..50 {
        let sku = define(&engine, goods(&format!("SKU-{n}"), 100 + n)?)?;
        for location in 1..=100 {
            let (location, lot) = (LocationId(location), LotId(0));
            lines.push(ImportLine { sku, location, lot, quantity: units(7) });
        }
    }

    // One command for each shard and thousand lines; their keys derive from this one.
    let key = Key::from_text("opening stock of 2026");
    let first = engine.import(key, lines.clone())?;
    let again = engine.import(key, lines.clone())?;
    println!("{} lines in {} commands", lines.len(), first.len());
    println!("accepted: {}", first.iter().all(|reply| reply.outcome.is_ok()));
    println!("repeated: {}", again.iter().all(|reply| reply.replayed));
    let total: u64 = engine
        .skus(0, 100)
        .iter()
        .filter_map(|sku| engine.stock(sku.id))
        .map(|view| view.available)
        .sum();
    println!("available: {total}");
    engine.close()?;
    Ok(())
}
