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

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(from: u64, count: u64) {
        let mut sum = Summary::default();
        for seed in from..from + count {
            sum.add(&run(seed, None).unwrap_or_else(|what| panic!("SEED={seed} {what}")));
        }
        assert!(sum.crashes > count, "the runs meet crashes: {sum:?}");
        assert!(sum.checkpoints > count / 2 && sum.from_checkpoints > count, "{sum:?}");
        assert!(sum.archived > count && sum.look_ups > count / 10, "{sum:?}");
        assert!(sum.broken_elsewhere > 0, "counts break promises of other shards: {sum:?}");
        // Those that need requests which meet: the model-based tests reach all others.
        for reject in [crate::Reject::Busy, crate::Reject::Contended] {
            let at = crate::Reject::ALL.iter().position(|known| *known == reject);
            assert!(at.is_some_and(|at| sum.refusals.0[at] > 0), "{reject:?} is reached: {sum:?}");
        }
    }

    /// The first 2,000 seeds hold every promise, in four parts that run side by side.
    #[test]
    fn seeds_from_0_hold() {
        seeds(0, 500);
    }

    #[test]
    fn seeds_from_500_hold() {
        seeds(500, 500);
    }

    #[test]
    fn seeds_from_1000_hold() {
        seeds(1_000, 500);
    }

    #[test]
    fn seeds_from_1500_hold() {
        seeds(1_500, 500);
    }

    /// Whoever waits is told when the disk fails, whether the request was queued, in flight
    /// between shards or on its way to the journal.
    #[test]
    fn nobody_waits_for_ever_when_the_engine_stops() {
        for round in 0..20 {
            let disk = FaultStorage::new(round, true);
            let storage = std::sync::Arc::new(disk.clone());
            let builder = crate::Engine::with_storage(storage, "/engine").shards(3);
            let (engine, _) = builder.min_free_bytes(0).open().expect("opens");
            let mut random = Random::new(round);
            let mut clients = workload::Workload::new(&mut random);
            disk.fail_at(disk.operation_count() + 1 + round * 3, Fault::Io);
            let mut tickets = Vec::new();
            for _ in 0..200 {
                let commands = (0..5).map(|_| clients.next(&mut random)).collect();
                match engine.submit_batch(commands, crate::Ack::Group) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Stopped),
                }
            }
            // Each wait ends, with the answer or with the reason why there is none.
            for ticket in tickets {
                match ticket.wait() {
                    Ok(replies) => assert_eq!(replies.len(), 5),
                    Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Stopped),
                }
            }
        }
    }

    /// A seed is the whole run: twice the same trace, and another seed another one.
    #[test]
    fn a_seed_gives_the_same_trace_twice() {
        let mut traces = std::collections::BTreeSet::new();
        for seed in 40..60 {
            let mut lines = Vec::new();
            let first = run(seed, Some(&mut |line: &str| lines.push(line.to_owned())));
            assert!(!lines.is_empty());
            assert_eq!(first, run(seed, None));
            traces.insert(first.expect("the seed holds").trace_hash);
        }
        assert_eq!(traces.len(), 20);
    }
}
