//! Deterministic simulation: a whole engine on one thread, with its clients, clock and disk, all
//! of it from one seed.
//!
//! [`run`] is one run. A seed that fails is reproduced by running it again.

mod check;
mod history;
mod random;
mod storage;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use random::Random;
pub use storage::{Fault, FaultStorage};
pub use world::{Summary, Trace};

/// Runs one seed to its end.
///
/// # Errors
///
/// Returns the first thing that was not as the domain promises; the message of a panic too.
pub fn run(seed: u64, trace: Option<Trace<'_>>) -> Result<Summary, String> {
    let mut world = world::World::new(seed, trace);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(Ok(())) => Ok(world.summary),
        Ok(Err(what)) => Err(what),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("no message")))
        }
    }
}
