//! A process dies in the middle of its work; what it had acknowledged is there afterwards.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use onhand_core::{Buy, Command, CustomerId, Engine, Key, Line, OrderId};
use onhand_examples::{Outcome, accept, define, goods, stock, units};

/// The child: sells, tells each order that was acknowledged, and dies without a word.
fn sell_and_die(dir: &Path) -> Outcome {
    let (engine, _) = Engine::builder(dir).open()?;
    let mug = define(&engine, goods("MUG", 1299)?)?;
    stock(&engine, mug, 1_000)?;
    for n in 0..100_u64 {
        let key = Key::from_text(&format!("order {n}"));
        let buy = Buy::one(key, CustomerId(n + 1), Line::new(mug, units(1)));
        accept(&engine, Command::Buy(buy))?;
        println!("{}", OrderId::from(key));
    }
    // No close and no destructor: as if the power button had been pressed on the process.
    std::process::abort();
}

fn main() -> Outcome {
    if let Some(dir) = std::env::args_os().nth(1) {
        return sell_and_die(Path::new(&dir));
    }
    let dir = tempfile::tempdir()?;
    let child = Process::new(std::env::current_exe()?)
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    assert!(!child.status.success(), "the child was to die");
    let told = String::from_utf8(child.stdout)?;

    let (engine, report) = Engine::builder(dir.path()).open()?;
    let mut there = 0;
    for order in told.lines() {
        assert!(engine.order(order.parse()?)?.is_some(), "{order} was acknowledged");
        there += 1;
    }
    println!("closed cleanly: {}", report.clean);
    println!("records replayed: {}", report.commands_replayed);
    println!("acknowledged orders that are there: {there} of {}", told.lines().count());
    engine.close()?;
    Ok(())
}
