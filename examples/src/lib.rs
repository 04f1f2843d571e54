//! What the examples share: short ways to fill a shop, and to insist that a command is accepted.
//!
//! Each example is one file in `src/bin/`; run one with
//! `cargo run -p onhand-examples --bin quickstart`. `tests/run.rs` runs them all.

use std::error::Error;

use onhand_core::{
    Command, Currency, DefineSku, Engine, Key, LocationId, LotId, Money, Placement, Quantity,
    Receipt, Receive, SkuId, SkuKind,
};

/// What an example's `main` returns.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Returns a quantity of units; 0 and more than a line can carry become the nearest that can.
pub fn units(count: u32) -> Quantity {
    Quantity::new(count.max(1)).unwrap_or(Quantity::MAX)
}

/// Returns the definition of plain goods at a price in cents of a euro.
///
/// # Errors
///
/// Returns an error if the price is more than money can hold.
pub fn goods(code: &str, cents: i64) -> Result<DefineSku, Box<dyn Error>> {
    Ok(DefineSku {
        key: Key::from_text(&format!("define {code}")),
        code: code.to_owned(),
        kind: SkuKind::Goods,
        price: Money::new(cents, Currency::EUR).ok_or("price is beyond what money can hold")?,
        placement: Placement::BySku,
        limit: None,
        components: Vec::new(),
    })
}

/// Defines a SKU and returns its id.
///
/// # Errors
///
/// Returns an error if the engine refuses the definition or does not run.
pub fn define(engine: &Engine, sku: DefineSku) -> Result<SkuId, Box<dyn Error>> {
    let id = SkuId::from_code(&sku.code)?;
    accept(engine, Command::DefineSku(Box::new(sku)))?;
    Ok(id)
}

/// Takes in units of a SKU at location 1, without a lot.
///
/// # Errors
///
/// Returns an error if the engine refuses them or does not run.
pub fn stock(engine: &Engine, sku: SkuId, count: u32) -> Outcome {
    accept(
        engine,
        Command::Receive(Receive {
            key: Key::from_text(&format!("delivery of {sku:?}")),
            sku,
            location: LocationId(1),
            lot: LotId(0),
            quantity: units(count),
        }),
    )?;
    Ok(())
}

/// Carries a command out and returns its receipt; a refusal becomes an error.
///
/// # Errors
///
/// Returns the refusal in words, or why the engine does not run.
pub fn accept(engine: &Engine, command: Command) -> Result<Receipt, Box<dyn Error>> {
    match engine.execute(command)?.outcome {
        Ok(receipt) => Ok(receipt),
        Err(refusal) => Err(format!("refused: {}", refusal.reject).into()),
    }
}
