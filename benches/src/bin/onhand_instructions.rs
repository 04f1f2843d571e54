//! A fixed piece of work for an instruction counter: `onhand-instructions KIND COUNT [EXPECTED]`.
//!
//! Run it under callgrind with two counts; the difference, divided by that of the counts, is what
//! one order costs. `benches/instructions.py` does that.

use std::process::ExitCode;

use onhand_benches::BenchError;
use onhand_benches::stage::{SECTION, Stage};
use onhand_benches::workload::{Mix, Plan, STOCK, as_decided, as_reservation, policies};

/// Milliseconds that a reservation lives: each expires a hundred sections later.
const TTL_MS: u64 = 100;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|text| text.parse().ok());
    let expected = arguments.next().map_or(Ok(0), |text| text.parse());
    let (Some(count), Ok(expected)) = (count, expected) else {
        eprintln!(
            "usage: onhand-instructions hot|decided|zipf|baskets|reserve|refuse COUNT [EXPECTED]"
        );
        eprintln!("EXPECTED pre-sizes the tables; without it they grow");
        return ExitCode::FAILURE;
    };
    match run(&kind, count, expected) {
        Ok((accepted, made)) => {
            println!("{kind}: {accepted} of {made} accepted");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("onhand-instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out at least `count` orders in whole sections.
fn run(kind: &str, count: usize, expected: usize) -> Result<(usize, usize), BenchError> {
    let (mix, skus) = match kind {
        "hot" | "decided" | "reserve" | "refuse" => (Mix::Hot, 1),
        "zipf" => (Mix::Zipf, 1_000),
        "baskets" => (Mix::Baskets, 10_000),
        other => return Err(format!("kind is {other}, not one of those that are known").into()),
    };
    let units = if kind == "refuse" { 1 } else { STOCK };
    let mut stage = Stage::new(Plan::new(mix, skus), units, expected)?;
    if kind == "decided" {
        let known = policies().iter().filter(|step| stage.shard.apply(step)).count();
        assert_eq!(known, 2, "policies are taken");
    }
    let (mut accepted, mut made) = (0, 0);
    while made < count {
        let mut commands = stage.commands();
        if kind == "reserve" {
            commands = commands.into_iter().map(|c| as_reservation(c, TTL_MS)).collect();
        }
        if kind == "decided" {
            commands = commands.into_iter().map(as_decided).collect();
        }
        accepted += stage.section(&commands, 1).1;
        made += SECTION;
    }
    Ok((accepted, made))
}
