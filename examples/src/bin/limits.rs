//! At most two for one customer over all its orders; what is cancelled counts no longer.

use onhand_core::{Buy, Cancel, Command, CustomerId, DefineSku, Engine, Key, Line, OrderId};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let console =
        define(&engine, DefineSku { limit: Some(units(2)), ..goods("CONSOLE", 49_900)? })?;
    stock(&engine, console, 100)?;

    let ask = |key: &str, customer: CustomerId, count: u32| -> Outcome {
        let buy = Buy::one(Key::from_text(key), customer, Line::new(console, units(count)));
        match engine.execute(Command::Buy(buy))?.outcome {
            Ok(_) => println!("{key}: sold {count}"),
            Err(refusal) => {
                println!("{key}: {}, {} left of it", refusal.reject.code(), refusal.found);
            }
        }
        Ok(())
    };
    let ada = CustomerId::from_text("ada");
    ask("ada 1", ada, 1)?;
    ask("ada 2", ada, 2)?;
    ask("ada 3", ada, 1)?;
    ask("bob 1", CustomerId::from_text("bob"), 2)?;
    ask("nobody", CustomerId::NONE, 1)?;

    accept(
        &engine,
        Command::Cancel(Cancel {
            key: Key::from_text("ada changes her mind"),
            order: OrderId::from(Key::from_text("ada 1")),
            lines: Vec::new(),
            expected_version: None,
            reason: 0,
        }),
    )?;
    ask("ada 4", ada, 1)?;
    engine.close()?;
    Ok(())
}
