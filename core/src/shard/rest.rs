//! When shards that close may end: none has anything left to do, for itself or for another.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Which shards rest, one bit each.
#[derive(Debug)]
pub(crate) struct Rest {
    resting: AtomicU64,
    shard_count: u16,
}

impl Rest {
    pub(crate) fn new(shard_count: u16) -> Self {
        Self { resting: AtomicU64::new(0), shard_count }
    }

    /// Notes whether a shard rests: it takes no more requests, has none, and has no basket in
    /// flight.
    pub(crate) fn set(&self, shard: u16, resting: bool) {
        if resting {
            self.resting.fetch_or(1 << shard, Ordering::SeqCst);
        } else {
            self.resting.fetch_and(!(1 << shard), Ordering::SeqCst);
        }
    }

    /// Returns whether all shards rest and will for ever.
    ///
    /// A shard that rests becomes busy only by a message, and the basket that the message belongs
    /// to keeps its home from resting. So the bits are read first: messages that are then still in
    /// transit are the last ones.
    pub(crate) fn is_reached(&self, in_transit: &AtomicU64) -> bool {
        let all = u64::MAX >> (64 - self.shard_count);
        self.resting.load(Ordering::SeqCst) == all && in_transit.load(Ordering::SeqCst) == 0
    }
}
