//! Work behind the shards in small portions, so that a checkpoint takes neither a processor nor
//! the disk for itself.

use std::thread;
use std::time::{Duration, Instant};

/// Work after which it rests for as long as it has worked.
const PORTION: Duration = Duration::from_micros(200);
/// Longest rest, whatever the disk took for a portion.
const REST_MAX: Duration = Duration::from_millis(20);

/// Divides work into portions with a rest behind each.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Rests if a portion is done; called between two small pieces of work.
    pub(super) fn step(&mut self) {
        let worked = self.since.elapsed();
        if PORTION <= worked {
            thread::park_timeout(worked.min(REST_MAX));
            self.since = Instant::now();
        }
    }

    /// Begins a portion: the time since the last one was not work.
    pub(super) fn resume(&mut self) {
        self.since = Instant::now();
    }
}
