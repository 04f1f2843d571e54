//! Four threads want 1,000 mugs of which there are 300: exactly 300 are sold.

use std::sync::atomic::{AtomicU32, Ordering};

use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line, Reject};
use onhand_examples::{Outcome, define, goods, stock, units};

const STOCK: u32 = 300;
const THREADS: u32 = 4;
const WISHES: u32 = 250;

fn main() -> Outcome {
    let (engine, _) = Engine::in_memory().open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, STOCK)?;
    let (sold, sold_out) = (AtomicU32::new(0), AtomicU32::new(0));

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, sold, sold_out) = (&engine, &sold, &sold_out);
            scope.spawn(move || {
                for wish in 0..WISHES {
                    let key = Key::from_text(&format!("{thread}/{wish}"));
                    let customer = CustomerId(u64::from(thread * WISHES + wish + 1));
                    let buy = Buy::one(key, customer, Line::new(mug, units(1)));
                    let reply = engine.execute(Command::Buy(buy)).expect("the engine runs");
                    match reply.outcome {
                        Ok(_) => sold.fetch_add(1, Ordering::Relaxed),
                        Err(refusal) => {
                            assert_eq!(refusal.reject, Reject::SoldOut);
                            sold_out.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });

    let (sold, sold_out) = (sold.into_inner(), sold_out.into_inner());
    let view = engine.stock(mug).ok_or("the mug is gone")?;
    println!("sold {sold}, refused {sold_out}, left {}", view.available);
    assert_eq!((sold, view.available), (STOCK, 0), "sold = stock");
    engine.close()?;
    Ok(())
}
