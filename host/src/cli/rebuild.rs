//! `onhand rebuild DIR`: checkpoints and archive anew from the journal.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::style::{count, span};
use super::{DONE, Failure, existing, say};

const EXAMPLES: &str = "\
Example:
  onhand rebuild shop

The journal is the truth; checkpoints and the archive of settled orders derive from it. Use this
if the engine reports that they are damaged or missing. It needs the whole journal, changes
nothing in it, and no engine may have the directory open.";

/// Arguments of `onhand rebuild`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Rebuilds a data directory.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let dir = existing(&arguments.dir)?;
    let started = Instant::now();
    let commands = onhand_core::rebuild(&dir)?;
    let took = started.elapsed();
    if arguments.json {
        let seconds = took.as_secs_f64();
        say(&format!("{{\"commands_replayed\":{commands},\"seconds\":{seconds:.3}}}\n"));
    } else {
        let (commands, took) = (count(commands), span(took));
        say(&format!("rebuilt {} from {commands} commands in {took}\n", dir.display()));
    }
    Ok(DONE)
}
