//! The smallest use: open a directory, define a SKU, take in stock, sell, open again.

use onhand_core::{
    Buy, Command, Currency, CustomerId, DefineSku, Engine, Key, Line, LocationId, LotId, Money,
    Placement, Quantity, Receive, SkuId, SkuKind,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (engine, _) = Engine::builder(dir.path()).open()?;
    engine.execute(Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text("define mug"),
        code: "MUG".to_owned(),
        kind: SkuKind::Goods,
        price: Money::new(1299, Currency::EUR).ok_or("too much money")?,
        placement: Placement::BySku,
        limit: None,
        components: Vec::new(),
    })))?;
    let mug = SkuId::from_code("MUG")?;
    engine.execute(Command::Receive(Receive {
        key: Key::from_text("delivery 1"),
        sku: mug,
        location: LocationId(1),
        lot: LotId(0),
        quantity: Quantity::ONE,
    }))?;

    // A reply arrives when its command is on disk; a refusal is a reply, not an error.
    for key in ["order 1", "order 2"] {
        let line = Line::new(mug, Quantity::ONE);
        let buy = Buy::one(Key::from_text(key), CustomerId::from_text("ada"), line);
        match engine.execute(Command::Buy(buy))?.outcome {
            Ok(_) => println!("{key}: sold"),
            Err(refusal) => println!("{key}: {}", refusal.reject.code()),
        }
    }
    engine.close()?;

    let (engine, report) = Engine::builder(dir.path()).open()?;
    let left = engine.stock(mug).ok_or("the mug is gone")?;
    println!("after reopening: {} live order, {} left", report.live_orders, left.available);
    engine.close()?;
    Ok(())
}
