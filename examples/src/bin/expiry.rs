//! A reservation that nobody pays for gives its units back; time is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use onhand_core::{
    Command, CustomerId, Engine, Fill, Key, Line, ManualClock, OrderId, Place, Reserve, Timestamp,
};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

fn main() -> Outcome {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_800_000_000_000)));
    let (engine, _) = Engine::in_memory().clock(clock.clone()).open()?;
    let seat = define(&engine, goods("SEAT-12A", 8900)?)?;
    stock(&engine, seat, 1)?;

    let key = Key::from_text("hold");
    accept(
        &engine,
        Command::Reserve(Reserve {
            key,
            customer: CustomerId::from_text("ada"),
            lines: Line::new(seat, units(1)).into(),
            fill: Fill::All,
            ttl_ms: 60_000,
            hard_cap_ms: 60_000,
            expected_total: None,
            decided: None,
        }),
    )?;
    let available = || engine.stock(seat).map_or(0, |view| view.available);
    println!("reserved: {} available", available());

    clock.advance(Duration::from_millis(59_999));
    accept(&engine, Command::Tick)?;
    println!("one millisecond before the deadline: {} available", available());

    clock.advance(Duration::from_millis(1));
    accept(&engine, Command::Tick)?;
    println!("at the deadline: {} available", available());

    let order = OrderId::from(key);
    let late = Place { key: Key::from_text("late"), order, expected_total: None };
    let refusal = engine.execute(Command::Place(late))?.outcome.err().ok_or("placed too late")?;
    println!("placing it now: {}", refusal.reject.code());
    engine.close()?;
    Ok(())
}
