//! A basket whose SKUs live on several shards is taken whole or not at all.

use onhand_core::{Buy, Command, CustomerId, Engine, Fill, Key, Line};
use onhand_examples::{Outcome, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().shards(4).open()?;
    let mut skus = Vec::new();
    for n in 0..8 {
        let sku = define(&engine, goods(&format!("PART-{n}"), 100)?)?;
        // The last part is scarce.
        stock(&engine, sku, if n == 7 { 1 } else { 5 })?;
        skus.push(sku);
    }

    let basket = |key: &str, fill: Fill| {
        let lines: Vec<Line> = skus.iter().map(|sku| Line::new(*sku, units(1))).collect();
        Command::Buy(Buy {
            key: Key::from_text(key),
            customer: CustomerId::from_text("ada"),
            lines: lines.into(),
            fill,
            expected_total: None,
            decided: None,
        })
    };
    for (key, fill) in [("first", Fill::All), ("second", Fill::All), ("third", Fill::Partial)] {
        match engine.execute(basket(key, fill))?.outcome {
            Ok(_) => println!("{key} basket: taken"),
            Err(refusal) => {
                println!("{key} basket: {}, line {}", refusal.reject.code(), refusal.line);
            }
        }
    }
    let left: Vec<u64> =
        skus.iter().filter_map(|s| engine.stock(*s)).map(|v| v.available).collect();
    println!("left: {left:?}");
    println!("baskets over several shards: {}", engine.metrics().cross_baskets);
    engine.close()?;
    Ok(())
}
