//! A kit has no stock of its own: selling one takes its components, summed per cell first.

use onhand_core::{Buy, Command, CustomerId, DefineSku, Engine, Fill, Key, Line, SkuKind};
use onhand_examples::{Outcome, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    let tea = define(&engine, goods("TEA", 450)?)?;
    stock(&engine, mug, 4)?;
    stock(&engine, tea, 9)?;
    let gift = define(
        &engine,
        DefineSku {
            kind: SkuKind::Kit,
            components: vec![(mug, units(1)), (tea, units(3))],
            ..goods("GIFT-BOX", 2_500)?
        },
    )?;

    let buy = |key: &str, lines: Vec<Line>| {
        Command::Buy(Buy {
            key: Key::from_text(key),
            customer: CustomerId::from_text("ada"),
            lines: lines.into(),
            fill: Fill::All,
            expected_total: None,
            decided: None,
        })
    };
    let baskets = [
        ("two boxes", vec![Line::new(gift, units(2))]),
        // One box needs 3 teas, and 1 more is asked beside it: 4 of the 3 that are left.
        ("a box and a tea", vec![Line::new(gift, units(1)), Line::new(tea, units(1))]),
        ("a box", vec![Line::new(gift, units(1))]),
    ];
    for (name, lines) in baskets {
        match engine.execute(buy(name, lines))?.outcome {
            Ok(_) => println!("{name}: sold"),
            Err(refusal) => println!("{name}: {}", refusal.reject.code()),
        }
    }
    for (name, sku) in [("mugs", mug), ("teas", tea)] {
        println!("{name} left: {}", engine.stock(sku).map_or(0, |view| view.available));
    }
    engine.close()?;
    Ok(())
}
