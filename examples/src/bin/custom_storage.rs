//! The journal in a storage of the caller's; here in memory, kept from one engine to the next.

use std::sync::Arc;

use onhand_core::storage::{MemoryStorage, Storage};
use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    // Anything that implements `Storage` will do: this one, a simulated disk, a disk of yours.
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());

    let (engine, report) = Engine::with_storage(storage.clone(), "shop").open()?;
    println!("created: {}", report.created);
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 5)?;
    let key = Key::from_text("order 1");
    let buy = || Command::Buy(Buy::one(key, CustomerId(1), Line::new(mug, units(2))));
    let first = accept(&engine, buy())?;
    engine.close()?;

    // Checkpoints and the archive of such an engine are in memory: the journal is replayed.
    let (engine, report) = Engine::with_storage(storage.clone(), "shop").open()?;
    println!("created: {}, live orders: {}", report.created, report.live_orders);
    let again = engine.execute(buy())?;
    println!("the same receipt: {}", again.outcome == Ok(first));
    engine.close()?;

    println!("files: {}", !storage.list(std::path::Path::new("shop/journal"))?.is_empty());
    Ok(())
}
