//! Work behind the shards in small portions, so that a checkpoint takes neither a processor nor
//! the disk for itself.

use std::thread;
use std::time::{Duration, Instant};

use super::guard::GuardedDb;
use crate::Error;

/// Work after which it rests for as long as it has worked.
const PORTION: Duration = Duration::from_micros(200);
/// Longest rest, whatever the disk took for a portion.
const REST_MAX: Duration = Duration::from_millis(20);

/// Bytes put between two flushes: a write of the journal waits behind about as many.
const FLUSH_EVERY_BYTES: u64 = 256 << 10;

/// Divides work into portions with a rest behind each.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    worked: Duration,
    unflushed_bytes: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), worked: Duration::ZERO, unflushed_bytes: 0 }
    }

    /// Flushes a database after so many bytes, and rests if a portion is done; called with the
    /// bytes that were put since the last call.
    pub(super) fn put(&mut self, db: &GuardedDb, bytes: usize) -> Result<(), Error> {
        self.unflushed_bytes += bytes as u64;
        if FLUSH_EVERY_BYTES <= self.unflushed_bytes {
            // Spreads the writing out, no more: what counts is the sync at the end.
            db.flush()?;
            self.unflushed_bytes = 0;
        }
        self.step();
        Ok(())
    }

    /// Rests if a portion is done; called between two small pieces of work.
    pub(super) fn step(&mut self) {
        self.worked += self.since.elapsed();
        if PORTION <= self.worked {
            thread::park_timeout(self.worked.min(REST_MAX));
            self.worked = Duration::ZERO;
        }
        self.resume();
    }

    /// Goes on working: the time since the last step was no work.
    pub(super) fn resume(&mut self) {
        self.since = Instant::now();
    }
}
