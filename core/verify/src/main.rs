//! `onhand-verify DIR`: verifies a journal and says what it found.

use std::path::PathBuf;
use std::process::ExitCode;

use onhand_verify::{FailureKind, Options, Progress, verify};

const HELP: &str = "\
Verifies the journal of an Onhand engine, independently of the engine's code.

Usage: onhand-verify DIR [--json] [--all] [--partial] [--progress] [--spool DIR]

  DIR          data directory of an engine, or its journal directory
  --json       print one JSON object instead of text
  --all        list every SKU in the text (default: the 20 with the fewest available units)
  --partial    accept a journal whose first segments were removed: only its chain and the
               shape of its records are checked, balances are not
  --progress   say on standard error how far it is
  --spool DIR  where to keep scratch files of idempotency keys (default: the system's)
  --help       print this text

Exit codes: 0 content, 1 a rule is broken, 2 wrong usage, 3 damaged or unreadable journal.
";
/// Rows of SKUs in the text without `--all`.
const SKU_ROWS: usize = 20;
/// Exit code for wrong usage.
const USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    dir: Option<PathBuf>,
    spool: Option<PathBuf>,
    json: bool,
    all: bool,
    partial: bool,
    progress: bool,
    help: bool,
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Self, String> {
        let mut out = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--json") => out.json = true,
                Some("--all") => out.all = true,
                Some("--partial") => out.partial = true,
                Some("--progress") => out.progress = true,
                Some("--help" | "-h") => out.help = true,
                Some("--spool") => {
                    let dir = arguments.next().ok_or("--spool needs a directory")?;
                    out.spool = Some(dir.into());
                }
                Some(option) if option.starts_with('-') => {
                    return Err(format!("option {option} is not known"));
                }
                _ if out.dir.is_some() => {
                    return Err(format!("one directory too many: {}", argument.display()));
                }
                _ => out.dir = Some(argument.into()),
            }
        }
        Ok(out)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            say(&mut std::io::stderr(), &format!("onhand-verify: {reason}; try --help\n"));
            return ExitCode::from(USAGE);
        }
    };
    if arguments.help {
        say(&mut std::io::stdout(), HELP);
        return ExitCode::SUCCESS;
    }
    let Some(dir) = &arguments.dir else {
        say(&mut std::io::stderr(), "onhand-verify: no directory given; try --help\n");
        return ExitCode::from(USAGE);
    };
    let mut progress = |now: Progress| {
        let percent = now.bytes * 100 / now.bytes_total.max(1);
        let text = format!("{percent} % of {} bytes, seq {}\n", now.bytes_total, now.seq);
        say(&mut std::io::stderr(), &text);
    };
    let options = Options {
        progress: arguments.progress.then_some(&mut progress as &mut dyn FnMut(Progress)),
        partial: arguments.partial,
        spool_dir: arguments.spool.clone(),
    };
    match verify(dir, options) {
        Ok(report) => {
            let rows = if arguments.all { usize::MAX } else { SKU_ROWS };
            let text = if arguments.json { report.json() + "\n" } else { report.text(rows) };
            say(&mut std::io::stdout(), &text);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if arguments.json {
                say(&mut std::io::stdout(), &(failure.json() + "\n"));
            } else {
                say(&mut std::io::stderr(), &format!("onhand-verify: {failure}\n"));
            }
            ExitCode::from(match failure.kind {
                FailureKind::Violation => 1,
                _ => 3,
            })
        }
    }
}

/// Writes text; a reader that went away is no failure of the verification.
fn say(to: &mut dyn std::io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
