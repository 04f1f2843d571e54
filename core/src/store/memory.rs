//! The store without files: for engines in memory and for the simulation.
//!
//! Values are framed and checked as on disk. Damage is asked for by the caller, so that a seed
//! decides it; nothing here is random.

use std::collections::BTreeMap;
#[cfg(test)]
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::archive::check_batch;
use super::digest::PageSummary;
use super::frame::{HEADER_BYTES, Header, MANIFEST_BYTES_MAX, PAGE_BYTES_MAX};
use super::generation::{check_page, compare, open_manifest};
use super::{
    Archive, ArchiveFilter, ArchiveRange, Buffer, CheckpointSink, CheckpointStore,
    GENERATIONS_KEPT_MIN, Generation, Loaded, OpenedArchive, Page, PageBytes, PageId,
};
use crate::{Error, ErrorKind};

/// Checkpoints and an archive in memory; clones share them, so they outlive an engine.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore {
    generations: Arc<Mutex<BTreeMap<u64, Stored>>>,
    archive: MemoryArchive,
    /// Pages that may still be put before one fails; `None` for any number.
    room: Arc<Mutex<Option<u64>>>,
}

#[derive(Clone)]
struct Stored {
    manifest: Vec<u8>,
    pages: BTreeMap<PageId, Vec<u8>>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Opens the archive, emptied if it does not agree with `expected`.
    pub(crate) fn open_archive(&self, expected: ArchiveRange, filter_seed: u64) -> OpenedArchive {
        let mut notes = Vec::new();
        let mark = self.archive.high_water();
        if mark < expected.min || expected.max < mark {
            notes.push(format!(
                "emptied the archive: its mark is seq {mark}, outside {}..={}",
                expected.min, expected.max
            ));
            self.archive.lose_everything();
        }
        let mut filter = ArchiveFilter::new(filter_seed);
        for key in self.archive.inner.lock().entries.keys() {
            filter.insert(*key);
        }
        let rebuild = !notes.is_empty() && 0 < expected.min;
        OpenedArchive { archive: Arc::new(self.archive.clone()), filter, rebuild, notes }
    }

    /// Makes the page after `pages` more of them fail to be put, once; `None` takes it back.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn fail_after(&self, pages: Option<u64>) {
        *self.room.lock() = pages;
    }

    /// Returns the number of generations.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn generation_count(&self) -> usize {
        self.generations.lock().len()
    }

    /// Returns a copy that shares nothing with this store.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn fork(&self) -> Self {
        let fork = Self::new();
        fork.generations.lock().clone_from(&self.generations.lock());
        fork.archive.inner.lock().clone_from(&self.archive.inner.lock());
        fork
    }

    /// Loses all generations and the archive.
    #[cfg(test)]
    pub(crate) fn lose_everything(&self) {
        self.generations.lock().clear();
        self.archive.lose_everything();
    }

    /// Loses the newest generation; returns its seq.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn lose_newest(&self) -> Option<u64> {
        self.generations.lock().pop_last().map(|(seq, _)| seq)
    }

    /// Flips a bit of the newest generation: `at` chooses page and place, the same every time.
    ///
    /// Returns the page, or nothing if there is none.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn damage_page(&self, at: u64) -> Option<PageId> {
        let mut generations = self.generations.lock();
        let mut newest = generations.last_entry()?;
        let pages = &mut newest.get_mut().pages;
        let count = pages.len() as u64;
        let (id, value) = pages.iter_mut().nth(at.checked_rem(count)? as usize)?;
        let place = (at / count) as usize % value.len();
        value[place] ^= 1 << (at % 8);
        Some(*id)
    }

    /// Drops a page of the newest generation, as sled would drop its tail.
    ///
    /// Returns the page, or nothing if there is none.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn lose_page(&self) -> Option<PageId> {
        let mut generations = self.generations.lock();
        let mut newest = generations.last_entry()?;
        newest.get_mut().pages.pop_last().map(|(id, _)| id)
    }

    /// Returns the archive itself, for its hooks.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn archive(&self) -> &MemoryArchive {
        &self.archive
    }
}

impl CheckpointStore for MemoryStore {
    fn begin(&mut self, seq: u64) -> Result<Box<dyn CheckpointSink>, Error> {
        if self.generations.lock().contains_key(&seq) {
            let what = format!("a checkpoint at seq {seq} exists already");
            return Err(Error::new(ErrorKind::Config, what, "write one at a later seq"));
        }
        let stored = Stored { manifest: Vec::new(), pages: BTreeMap::new() };
        let (generations, room) = (Arc::clone(&self.generations), Arc::clone(&self.room));
        Ok(Box::new(MemorySink { generations, room, seq, stored }))
    }

    fn load_newest(&mut self, seq_max: u64) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        let mut generations = self.generations.lock();
        while let Some(newest) = generations.last_entry() {
            let seq = *newest.key();
            let result = if seq_max < seq {
                Err(format!("it stands at seq {seq}, the journal ends at {seq_max}"))
            } else {
                read(seq, newest.get())
            };
            match result {
                Ok(generation) => {
                    loaded.generation = Some(generation);
                    break;
                }
                Err(what) => {
                    newest.remove();
                    loaded.notes.push(format!("dropped the checkpoint at seq {seq}: {what}"));
                }
            }
        }
        Ok(loaded)
    }

    fn drop_older(&mut self, keep: usize) -> Result<Vec<u64>, Error> {
        let mut generations = self.generations.lock();
        while keep.max(GENERATIONS_KEPT_MIN) < generations.len() {
            generations.pop_first();
        }
        Ok(generations.keys().rev().copied().collect())
    }

    fn disk_bytes(&self) -> Result<u64, Error> {
        let generations = self.generations.lock();
        let pages = generations.values().flat_map(|stored| stored.pages.values());
        Ok(pages.map(|value| value.len() as u64).sum())
    }
}

fn read(seq: u64, stored: &Stored) -> Result<Generation, String> {
    let (summary, manifest) = open_manifest(&stored.manifest, seq)?;
    let mut found = PageSummary::new(seq);
    let mut pages = Vec::with_capacity(stored.pages.len());
    for (id, value) in &stored.pages {
        let (length, crc) = check_page(value, *id, seq)?;
        found.add(*id, length, crc);
        pages.push(Page { id: *id, bytes: PageBytes(Buffer::Heap(value.clone())) });
    }
    compare(&found, summary)?;
    Ok(Generation { seq, manifest, pages })
}

struct MemorySink {
    generations: Arc<Mutex<BTreeMap<u64, Stored>>>,
    room: Arc<Mutex<Option<u64>>>,
    seq: u64,
    stored: Stored,
}

impl CheckpointSink for MemorySink {
    fn put(&mut self, page: PageId, bytes: &[u8]) -> Result<(), Error> {
        if PAGE_BYTES_MAX < bytes.len() {
            let what = format!("page {page:?} has {} bytes, above {PAGE_BYTES_MAX}", bytes.len());
            return Err(Error::new(ErrorKind::Config, what, "split the page"));
        }
        let mut room = self.room.lock();
        if let Some(left) = *room {
            *room = left.checked_sub(1);
            if left == 0 {
                return Err(Error::new(ErrorKind::Io, "simulated failure", "try again later"));
            }
        }
        drop(room);
        let (value, _) = Header::page(page, self.seq).seal(&[bytes]);
        self.stored.pages.insert(page, value);
        Ok(())
    }

    fn finish(mut self: Box<Self>, manifest: &[u8]) -> Result<(), Error> {
        if MANIFEST_BYTES_MAX < manifest.len() {
            let what =
                format!("the manifest has {} bytes, above {MANIFEST_BYTES_MAX}", manifest.len());
            return Err(Error::new(ErrorKind::Config, what, "put the rest into pages"));
        }
        let mut summary = PageSummary::new(self.seq);
        for (id, value) in &self.stored.pages {
            let (length, crc) = check_page(value, *id, self.seq)
                .map_err(|what| Error::new(ErrorKind::Damaged, what, "check the memory"))?;
            summary.add(*id, length, crc);
        }
        (self.stored.manifest, _) = Header::manifest(self.seq).seal(&[&summary.finish(), manifest]);
        self.generations.lock().insert(self.seq, self.stored);
        Ok(())
    }
}

/// An archive in memory; clones share it.
#[derive(Clone, Default)]
pub(crate) struct MemoryArchive {
    inner: Arc<Mutex<Entries>>,
}

#[derive(Clone, Default)]
struct Entries {
    entries: BTreeMap<u128, (u64, Vec<u8>)>,
    high_water: u64,
    /// Whether puts fail.
    fails: bool,
}

/// Keys that one step of a visit holds at a time.
#[cfg(test)]
const VISIT_KEYS: usize = 4_096;

impl MemoryArchive {
    /// Loses all entries and the mark.
    pub(crate) fn lose_everything(&self) {
        *self.inner.lock() = Entries::default();
    }

    /// Makes puts fail from now on, or not any more.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn fail_puts(&self, fail: bool) {
        self.inner.lock().fails = fail;
    }

    /// Loses what was put after `high_water`, as sled does with a damaged tail.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn lose_tail(&self, high_water: u64) {
        let mut inner = self.inner.lock();
        inner.entries.retain(|_, (seq, _)| *seq <= high_water);
        inner.high_water = inner.high_water.min(high_water);
    }
}

impl Archive for MemoryArchive {
    fn put_batch(&self, entries: &[(u128, &[u8])], high_water: u64) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        check_batch(entries, inner.high_water, high_water)?;
        if inner.fails {
            return Err(Error::new(ErrorKind::Io, "simulated failure", "try again later"));
        }
        for (key, value) in entries {
            let same = inner.entries.get(key).is_some_and(|(_, old)| old == value);
            if !same {
                inner.entries.insert(*key, (high_water, value.to_vec()));
            }
        }
        inner.high_water = high_water;
        Ok(())
    }

    fn get(&self, key: u128) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.inner.lock().entries.get(&key).map(|(_, value)| value.clone()))
    }

    fn high_water(&self) -> u64 {
        self.inner.lock().high_water
    }

    fn entry_count(&self) -> u64 {
        self.inner.lock().entries.len() as u64
    }

    #[cfg(test)]
    fn for_each_key(&self, visit: &mut dyn FnMut(u128)) -> Result<(), Error> {
        let mut from = Bound::Unbounded;
        loop {
            let keys: Vec<u128> = {
                let inner = self.inner.lock();
                let range = inner.entries.range((from, Bound::Unbounded));
                range.map(|(key, _)| *key).take(VISIT_KEYS).collect()
            };
            let Some(last) = keys.last() else { return Ok(()) };
            from = Bound::Excluded(*last);
            keys.into_iter().for_each(&mut *visit);
        }
    }

    fn live_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.entries.values().map(|(_, value)| (value.len() + HEADER_BYTES) as u64).sum()
    }

    fn disk_bytes(&self) -> Result<u64, Error> {
        Ok(0)
    }

    fn compact_if_large(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
