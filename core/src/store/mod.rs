//! Checkpoints and the archive of settled orders: what stands behind the journal.
//!
//! Everything here can be made anew from the journal, so damage is found, set aside and reported;
//! it never stops the engine and never turns into a wrong answer. This module moves bytes: it
//! knows pages, keys and values, and nothing of stock or orders.
//!
//! Read `frame` for the bytes of a value, `guard` for what stands around sled, then `generation`
//! (checkpoints), `archive` with `run` and `filter`; `memory` is the same without files.

mod archive;
mod digest;
mod filter;
mod frame;
mod generation;
mod guard;
mod memory;
mod pace;
mod run;
mod sled_store;

use std::ops::Deref;

use crate::Error;

pub(crate) use archive::ArchiveRange;
pub(crate) use filter::ArchiveFilter;
pub(crate) use frame::PAGE_BYTES_MAX;
pub(crate) use memory::MemoryStore;
pub(crate) use sled_store::{SledStore, StoreOptions};

/// Verified generations that [`CheckpointStore::drop_older`] never goes below.
pub(crate) const GENERATIONS_KEPT_MIN: usize = 2;

/// Where a page belongs; pages are stored and read in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageId {
    /// Which table of the state.
    pub(crate) table: u16,
    /// Which shard.
    pub(crate) shard: u16,
    /// Which page of that table, from 0.
    pub(crate) page: u32,
}

impl PageId {
    /// Returns the key under which the page is stored: big-endian, so that keys sort like pages.
    pub(crate) fn to_key(self) -> [u8; 8] {
        let table = u64::from(self.table) << 48;
        let shard = u64::from(self.shard) << 32;
        (table | shard | u64::from(self.page)).to_be_bytes()
    }

    /// Returns the page of a stored key.
    pub(crate) fn of_key(key: [u8; 8]) -> Self {
        let key = u64::from_be_bytes(key);
        Self { table: (key >> 48) as u16, shard: (key >> 32) as u16, page: key as u32 }
    }
}

/// The bytes of one page as read, without a copy where the store allows it.
#[derive(Clone, Debug)]
pub(crate) struct PageBytes(Buffer);

#[derive(Clone, Debug)]
enum Buffer {
    Sled(sled::IVec),
    Heap(Vec<u8>),
}

impl Deref for PageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let framed: &[u8] = match &self.0 {
            Buffer::Sled(bytes) => bytes,
            Buffer::Heap(bytes) => bytes,
        };
        // Only a checked frame becomes a `PageBytes`, so the header is there.
        framed.get(frame::HEADER_BYTES..).unwrap_or_default()
    }
}

/// One page of a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where it belongs.
    pub(crate) id: PageId,
    /// Its content, as it was put.
    pub(crate) bytes: PageBytes,
}

/// A checkpoint that was read and verified as a whole.
///
/// The pages stay in memory until they are taken, so take them in order and drop each.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The journal position that it stands for.
    pub(crate) seq: u64,
    /// The manifest, as it was given to [`CheckpointSink::finish`].
    pub(crate) manifest: Vec<u8>,
    pages: Vec<Page>,
}

impl Generation {
    /// Returns the number of pages.
    #[cfg(test)]
    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Returns the pages in the order of [`PageId`].
    pub(crate) fn into_pages(self) -> impl ExactSizeIterator<Item = Page> {
        self.pages.into_iter()
    }
}

/// What [`CheckpointStore::load_newest`] found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The newest checkpoint that is whole, if any is.
    pub(crate) generation: Option<Generation>,
    /// What was set aside or removed on the way, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Keeps checkpoints, one generation each.
pub(crate) trait CheckpointStore: Send {
    /// Begins a new generation for the journal position `seq`.
    ///
    /// # Errors
    ///
    /// Refuses a `seq` that has a generation already; fails if its directory cannot be made.
    fn begin(&mut self, seq: u64) -> Result<Box<dyn CheckpointSink>, Error>;

    /// Reads the newest generation that is whole and not above `seq_max`.
    ///
    /// A generation that is damaged in any way is set aside and noted, then the next older one is
    /// tried.
    ///
    /// # Errors
    ///
    /// Fails only on input and output errors that say nothing about the content, such as a missing
    /// permission: nothing is set aside then.
    fn load_newest(&mut self, seq_max: u64) -> Result<Loaded, Error>;

    /// Removes all but the `keep` newest generations, and at least
    /// [`GENERATIONS_KEPT_MIN`] stay.
    ///
    /// Returns the positions of those that stay, newest first: the journal may be cut behind the
    /// last of them.
    fn drop_older(&mut self, keep: usize) -> Result<Vec<u64>, Error>;

    /// Returns the bytes on disk of all generations, set-aside ones included.
    fn disk_bytes(&self) -> Result<u64, Error>;
}

/// Takes the pages of one new generation; dropping it unfinished removes the generation.
pub(crate) trait CheckpointSink: Send {
    /// Puts one page; a page that was put before is replaced.
    ///
    /// # Errors
    ///
    /// Refuses more than [`PAGE_BYTES_MAX`] bytes. After any other error the sink is unusable.
    fn put(&mut self, page: PageId, bytes: &[u8]) -> Result<(), Error>;

    /// Writes the manifest last, makes everything durable, reads it all back and verifies it.
    ///
    /// # Errors
    ///
    /// Fails if anything read differs from what was put; the generation does not exist then.
    fn finish(self: Box<Self>, manifest: &[u8]) -> Result<(), Error>;
}

/// Keeps settled orders by key; reads are answered from any thread.
pub(crate) trait Archive: Send + Sync {
    /// Puts entries and moves the high-water mark; durable when it returns.
    ///
    /// An entry that is there already is replaced, so a batch may be repeated after a crash. Each
    /// batch costs a sync, and now and then a merge: some thousands of entries make it worth it.
    ///
    /// # Errors
    ///
    /// Refuses a value of more than [`ENTRY_BYTES_MAX`] bytes and a mark below the present one,
    /// with nothing changed. After a failed write or sync the archive takes no more.
    fn put_batch(&self, entries: &[(u128, &[u8])], high_water: u64) -> Result<(), Error>;

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// Fails if the bytes found are not what was put.
    fn get(&self, key: u128) -> Result<Option<Vec<u8>>, Error>;

    /// Returns the mark of the last durable batch, 0 at first.
    fn high_water(&self) -> u64;

    /// Returns the number of entries; a key that was put again may count again for a while.
    fn entry_count(&self) -> u64;

    #[cfg(test)]
    /// Visits every key once, in rising order; batches wait until it is done.
    fn for_each_key(&self, visit: &mut dyn FnMut(u128)) -> Result<(), Error>;

    /// Returns the bytes of keys and values that are in use.
    fn live_bytes(&self) -> u64;

    /// Returns the bytes that the archive takes on disk.
    fn disk_bytes(&self) -> Result<u64, Error>;

    /// Copies the live entries into a fresh place if the disk holds more than
    /// [`COMPACT_RATIO`] times the live bytes; returns whether it did.
    fn compact_if_large(&self) -> Result<bool, Error>;
}

/// An archive that takes more disk than its live bytes times this is copied.
pub(crate) const COMPACT_RATIO: u64 = 3;

/// An archive as it was opened.
pub(crate) struct OpenedArchive {
    /// The archive, possibly empty.
    pub(crate) archive: std::sync::Arc<dyn Archive>,
    /// Answers "certainly not archived" for most other keys.
    pub(crate) filter: ArchiveFilter,
    /// Whether the entries up to the expected mark are missing and must come from the journal.
    pub(crate) rebuild: bool,
    /// What was set aside or removed on the way, one sentence each.
    pub(crate) notes: Vec<String>,
}

#[cfg(test)]
use frame::{ENTRY_BYTES_MAX, MANIFEST_BYTES_MAX};

#[cfg(test)]
mod tests;
