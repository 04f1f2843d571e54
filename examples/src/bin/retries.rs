//! A client that heard nothing sends its request again: the answer is the first one.

use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line};
use onhand_examples::{Outcome, define, goods, stock, units};

fn main() -> Outcome {
    let dir = tempfile::tempdir()?;
    let buy = |count: u32| -> Result<Command, Box<dyn std::error::Error>> {
        let line = Line::new(onhand_core::SkuId::from_code("MUG")?, units(count));
        Ok(Command::Buy(Buy::one(Key::from_text("cart 17"), CustomerId::from_text("ada"), line)))
    };
    let (engine, _) = Engine::builder(dir.path()).open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 5)?;
    let first = engine.execute(buy(2)?)?;
    let second = engine.execute(buy(2)?)?;
    println!("at once: replayed {}, same {}", second.replayed, first.outcome == second.outcome);
    engine.close()?;

    // There is no hour after which a key is forgotten: it lives as long as its order.
    let (engine, _) = Engine::builder(dir.path()).open()?;
    let third = engine.execute(buy(2)?)?;
    println!(
        "after a restart: replayed {}, same {}",
        third.replayed,
        first.outcome == third.outcome
    );
    let other = engine.execute(buy(3)?)?.outcome.err().ok_or("another body was accepted")?;
    println!("another body under this key: {}", other.reject.code());
    println!("available: {}", engine.stock(mug).map_or(0, |view| view.available));
    engine.close()?;
    Ok(())
}
