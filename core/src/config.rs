//! Settings of an engine: each with its default, its range and its effect.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::limits::SHARDS_MAX;
use crate::storage::Storage;
use crate::store::MemoryStore;
use crate::time::{Clock, SystemClock};

/// Where an engine keeps its files.
#[derive(Clone)]
pub(crate) enum Place {
    Disk(PathBuf),
    Memory,
    /// A storage of the caller's, such as a simulated disk.
    Custom(Arc<dyn Storage>, MemoryStore, PathBuf),
}

/// Builds an engine; every setting has a default that is safe for production.
#[derive(Clone)]
#[must_use]
pub struct EngineBuilder {
    pub(crate) place: Place,
    pub(crate) shards: Option<u16>,
    pub(crate) queue_commands_max: u32,
    pub(crate) segment_bytes: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) checkpoint_journal_bytes: u64,
    pub(crate) keep_journal: bool,
    pub(crate) direct_io: bool,
    pub(crate) expected_orders: usize,
    pub(crate) cross_shard_wait_ms: u64,
    pub(crate) settled_resident_max: u64,
    pub(crate) min_free_bytes: u64,
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            shards: None,
            queue_commands_max: 65_536,
            segment_bytes: 64 << 20,
            clock: Arc::new(SystemClock),
            checkpoint_journal_bytes: 1 << 30,
            keep_journal: true,
            direct_io: true,
            expected_orders: 0,
            cross_shard_wait_ms: 50,
            settled_resident_max: 100_000,
            min_free_bytes: 256 << 20,
        }
    }

    /// Sets the number of shards, fixed when the engine is created.
    ///
    /// Default: that of the data directory, 1 for a new one. Range 1..=64. More pays only with
    /// more than four cores and baskets that mostly stay on one shard; measure first.
    pub fn shards(mut self, count: u16) -> Self {
        self.shards = Some(count);
        self
    }

    /// Sets how many commands may wait in the queue of a shard; more are refused as overload.
    ///
    /// Default 65,536. Range 1..=4,194,304.
    pub fn queue_commands_max(mut self, count: u32) -> Self {
        self.queue_commands_max = count;
        self
    }

    /// Sets the size of the journal's segments in bytes, a multiple of 4,096.
    ///
    /// Default 64 MiB. Range 128 KiB to 1 GiB. A new segment is made in the background.
    pub fn segment_bytes(mut self, bytes: u32) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets the clock that commands are stamped by. Default: the operating system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets after how many bytes of journal a checkpoint is made.
    ///
    /// Default 1 GiB. Range 1 MiB and up. Less makes restarts faster and costs writing.
    pub fn checkpoint_journal_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_journal_bytes = bytes;
        self
    }

    /// Sets whether the journal is kept behind checkpoints. Default `true`: then every order can
    /// be explained and the whole history verified; `false` bounds the disk.
    pub fn keep_journal(mut self, keep: bool) -> Self {
        self.keep_journal = keep;
        self
    }

    /// Sets whether the journal is written past the page cache where the file system can.
    /// Default `true`.
    pub fn direct_io(mut self, yes: bool) -> Self {
        self.direct_io = yes;
        self
    }

    /// Sets for how many live orders the tables are made at first. Default 0; they grow.
    pub fn expected_orders(mut self, count: usize) -> Self {
        self.expected_orders = count;
        self
    }

    /// Sets how long a basket over several shards may wait for others, in milliseconds.
    ///
    /// Default 50. Range 1..=10,000. Then it is refused as busy, never as sold out.
    pub fn cross_shard_wait_ms(mut self, ms: u64) -> Self {
        self.cross_shard_wait_ms = ms;
        self
    }

    /// Sets how many settled orders and answers a shard keeps in memory before they leave for
    /// the archive. Default 100,000. Range 0 and up.
    pub fn settled_resident_max(mut self, count: u64) -> Self {
        self.settled_resident_max = count;
        self
    }

    /// Sets the free bytes of the disk below which the engine only reads. Default 256 MiB.
    pub fn min_free_bytes(mut self, bytes: u64) -> Self {
        self.min_free_bytes = bytes;
        self
    }

    /// Checks every setting against its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let range = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let what = format!("{name} is {value}, outside {min}..={max}");
            Err(Error::new(ErrorKind::Config, what, "set it to a value inside the range"))
        };
        range("shards", self.shards.unwrap_or(1).into(), 1, SHARDS_MAX.into())?;
        range("queue_commands_max", self.queue_commands_max.into(), 1, 1 << 22)?;
        range("segment_bytes", self.segment_bytes.into(), 128 << 10, 1 << 30)?;
        range("checkpoint_journal_bytes", self.checkpoint_journal_bytes, 1 << 20, u64::MAX)?;
        range("cross_shard_wait_ms", self.cross_shard_wait_ms, 1, 10_000)?;
        if !self.segment_bytes.is_multiple_of(4_096) {
            let what = format!("segment_bytes is {}, not a multiple of 4096", self.segment_bytes);
            return Err(Error::new(ErrorKind::Config, what, "round it to a multiple of 4096"));
        }
        Ok(())
    }
}
