//! The command `onhand-loadtest`: runs scenarios and reads their results.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A third of a request's processor time went to the system's allocator.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    onhand_loadtest::cli::main()
}
