//! `onhand rebuild DIR`: checkpoints and archive anew from the journal.

use std::path::PathBuf;

use clap::Args;

use super::style::{count, span};
use super::{DONE, Failure, existing, say};
use crate::wire::encode::Writer;

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
    let report = onhand_core::rebuild(&dir)?;
    if arguments.json {
        let mut out = Writer::new();
        out.open();
        out.number("commands_replayed", report.commands_replayed);
        out.number("durable_seq", report.durable_seq);
        out.number("live_orders", report.live_orders);
        out.number("elapsed_ms", report.elapsed.as_millis() as u64);
        out.close();
        say(&(String::from_utf8_lossy(&out.into_bytes()).into_owned() + "\n"));
    } else {
        let (commands, took) = (count(report.commands_replayed), span(report.elapsed));
        let (orders, dir) = (count(report.live_orders), dir.display());
        say(&format!("rebuilt {dir} from {commands} commands in {took}: {orders} live orders\n"));
    }
    Ok(DONE)
}
