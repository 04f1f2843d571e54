//! The binary `onhand`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    ExitCode::from(onhand_host::cli::run(onhand_host::cli::Cli::parse()))
}
