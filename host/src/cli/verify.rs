//! `onhand verify DIR`: the independent verifier over a journal.

use std::path::PathBuf;

use clap::Args;
use onhand_verify::{FailureKind, Options};

use super::{DAMAGED, DONE, Failure, UNTRUE, existing, note, say};

const EXAMPLES: &str = "\
Examples:
  onhand verify shop                 every rule at every record, and a table of the scarcest SKUs
  onhand verify shop --all           all SKUs
  onhand verify shop --json | jq .   for a script

The verifier shares no code with the engine. It changes nothing; no engine may be writing the
directory meanwhile.
Exit codes: 0 content, 3 damaged or unreadable, 5 a rule is broken.";

/// Rows of SKUs without `--all`.
const SKU_ROWS: usize = 20;

/// Arguments of `onhand verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// List every SKU
    #[arg(long)]
    all: bool,
    /// Accept a journal whose first segments were removed: only its chain and shape are checked
    #[arg(long)]
    partial: bool,
    /// Say on standard error how far it is
    #[arg(long)]
    progress: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies a journal.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let dir = existing(&arguments.dir)?;
    let mut progress = |now: onhand_verify::Progress| {
        let percent = now.bytes * 100 / now.bytes_total.max(1);
        note(&format!("{percent} % of {} bytes, seq {}\n", now.bytes_total, now.seq));
    };
    let options = Options {
        progress: arguments
            .progress
            .then_some(&mut progress as &mut dyn FnMut(onhand_verify::Progress)),
        partial: arguments.partial,
        spool_dir: None,
    };
    match onhand_verify::verify(&dir, options) {
        Ok(report) => {
            let rows = if arguments.all { usize::MAX } else { SKU_ROWS };
            say(&if arguments.json { report.json() + "\n" } else { report.text(rows) });
            Ok(DONE)
        }
        Err(failure) => {
            if arguments.json {
                say(&(failure.json() + "\n"));
            }
            let code = match failure.kind {
                FailureKind::Violation => UNTRUE,
                _ => DAMAGED,
            };
            Err(Failure::new(code, failure.to_string()))
        }
    }
}
