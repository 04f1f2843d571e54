//! Runs seeds of the deterministic simulation; prints how to reproduce one that fails.

use std::process::ExitCode;
use std::time::Instant;

use onhand_core::Reject;
use onhand_core::sim::{Summary, run};

const HELP: &str = "\
Runs the deterministic simulation: a whole engine on one thread, with clients, shards, journal,
clock and a failing disk, all from one seed. After each crash and at the end it checks the
invariants of the domain.

Usage:
  sim --seeds N [--from S]   run N seeds from S on (default 0), stop at the first failure
  sim --seeds N --keep-going run them all, list every failure
  sim --seed S [--trace]     run one seed; --trace prints each step

A failure prints SEED=... and the command that reproduces it; the exit code is 1 then.
A wrong argument ends with exit code 2.";

struct Options {
    from: u64,
    count: u64,
    trace: bool,
    keep_going: bool,
}

fn options() -> Result<Option<Options>, String> {
    let mut options = Options { from: 0, count: 0, trace: false, keep_going: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64, String> {
            let text = arguments.next().ok_or(format!("{argument} needs a number"))?;
            text.parse()
                .map_err(|_| format!("{argument} is {text:?}, not a number from 0 to 2^64-1"))
        };
        match argument.as_str() {
            "--seeds" => options.count = number()?,
            "--from" => options.from = number()?,
            "--seed" => {
                options.from = number()?;
                options.count = 1;
            }
            "--trace" => options.trace = true,
            "--keep-going" => options.keep_going = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("{argument} is not an argument of sim; see --help")),
        }
    }
    if options.count == 0 {
        return Err("give --seeds N or --seed S; see --help".to_owned());
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    // A panic of the engine is a result here, told with its seed.
    if !options.trace {
        std::panic::set_hook(Box::new(|_| ()));
    }
    if run_all(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(options: &Options) -> bool {
    let start = Instant::now();
    let mut told = start;
    let mut sum = Summary::default();
    let mut failures = 0_u64;
    let mut done = 0_u64;
    for seed in (0..options.count).map(|n| options.from.wrapping_add(n)) {
        let mut print = |line: &str| println!("{line}");
        let result = run(seed, options.trace.then_some(&mut print));
        done += 1;
        match result {
            Ok(summary) => sum.add(&summary),
            Err(what) => {
                failures += 1;
                println!("SEED={seed} {what}");
                println!(
                    "  reproduce: cargo run --release -p onhand-core --features sim --bin sim -- \
                     --seed {seed} --trace"
                );
                if !options.keep_going {
                    break;
                }
            }
        }
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            let rate = done as f64 * 60.0 / start.elapsed().as_secs_f64();
            eprintln!("{done} of {} seeds, {rate:.0} a minute, {failures} failed", options.count);
        }
    }
    println!(
        "{done} seeds, {failures} failed; {} steps, {} answers, {} accepted, {} crashes, {} opens, \
         {} promises broken, {} of them elsewhere, trace {:016x}",
        sum.steps,
        sum.answers,
        sum.accepted,
        sum.crashes,
        sum.opens,
        sum.broken,
        sum.broken_elsewhere,
        sum.trace_hash
    );
    println!(
        "{} checkpoints, {} opens from one, {} look-ups, {} entries archived",
        sum.checkpoints, sum.from_checkpoints, sum.look_ups, sum.archived
    );
    let refusals = Reject::ALL.iter().zip(sum.refusals.0).filter(|(_, count)| *count > 0);
    let refusals: Vec<String> =
        refusals.map(|(reject, count)| format!("{} {count}", reject.code())).collect();
    println!("refusals: {}", refusals.join(", "));
    failures == 0
}
