//! The command `onhand-loadtest`: reads arguments, runs a scenario, writes its report.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
