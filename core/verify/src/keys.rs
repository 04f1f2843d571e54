//! Uniqueness of idempotency keys (I7) in bounded memory: keys are spooled to partition files
//! and each partition is sorted by itself at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bytes::{u64_at, u128_at};
use crate::fast_hash::fold;

/// Keys held in memory before they are spooled: 32 MiB, and 24 MiB more while they are written.
pub const KEYS_IN_MEMORY_MAX: usize = 1 << 20;
/// Most bytes of a partition that is sorted in memory; a larger one is split again.
pub const PARTITION_BYTES_MAX: u64 = 64 << 20;
/// Files that a partition is split into.
const FAN_OUT: usize = 64;
/// Bits of the fan-out.
const FAN_OUT_BITS: u32 = 6;
/// Splits in a row, after which the bits of the keys' hash are used up.
const DEPTH_MAX: u32 = 8;
/// Bytes of a key with its seq in a partition file.
const ENTRY_BYTES: usize = 24;

/// A key that stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) key: u128,
    pub(crate) first_seq: u64,
    pub(crate) seq: u64,
}

/// Keys of all records so far.
#[derive(Debug)]
pub(crate) struct KeySpool {
    memory: Vec<(u128, u64)>,
    in_memory_max: usize,
    partition_bytes_max: u64,
    parent: PathBuf,
    dir: Option<SpoolDir>,
    pub(crate) count: u64,
}

/// A directory that is removed with its files when it is dropped.
#[derive(Debug)]
struct SpoolDir(PathBuf);

impl SpoolDir {
    fn create(parent: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("onhand-verify-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for SpoolDir {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the files are only scratch.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl KeySpool {
    /// Makes an empty spool that writes under `parent` once the memory bound is reached.
    pub(crate) fn new(parent: PathBuf) -> Self {
        Self {
            memory: Vec::new(),
            in_memory_max: KEYS_IN_MEMORY_MAX,
            partition_bytes_max: PARTITION_BYTES_MAX,
            parent,
            dir: None,
            count: 0,
        }
    }

    /// Adds the key of record `seq`; seqs ascend.
    pub(crate) fn add(&mut self, key: u128, seq: u64) -> io::Result<()> {
        self.memory.push((key, seq));
        self.count += 1;
        if self.memory.len() >= self.in_memory_max { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.dir.is_none() {
            self.dir = Some(SpoolDir::create(&self.parent)?);
        }
        let Some(dir) = &self.dir else { return Ok(()) };
        let mut files = Fan::new(dir.0.join("p"), 0);
        for (key, seq) in self.memory.drain(..) {
            files.add(key, seq);
        }
        files.write()
    }

    /// Returns the duplicate that comes first in the journal, if there is any.
    pub(crate) fn first_duplicate(&mut self) -> io::Result<Option<Duplicate>> {
        if self.dir.is_none() {
            return Ok(first_in(&mut self.memory));
        }
        self.spill()?;
        let Some(dir) = &self.dir else { return Ok(None) };
        let mut first = None;
        for slot in 0..FAN_OUT {
            let found = check_file(&child(&dir.0.join("p"), slot), 1, self.partition_bytes_max)?;
            first = earlier(first, found);
        }
        Ok(first)
    }
}

/// Buffers of the files that keys are divided over by their hash.
struct Fan {
    base: PathBuf,
    depth: u32,
    buffers: Vec<Vec<u8>>,
}

impl Fan {
    fn new(base: PathBuf, depth: u32) -> Self {
        Self { base, depth, buffers: vec![Vec::new(); FAN_OUT] }
    }

    fn add(&mut self, key: u128, seq: u64) {
        let hash = fold(fold(key as u64) ^ (key >> 64) as u64);
        let slot = (hash >> (self.depth * FAN_OUT_BITS)) as usize % FAN_OUT;
        self.buffers[slot].extend_from_slice(&key.to_le_bytes());
        self.buffers[slot].extend_from_slice(&seq.to_le_bytes());
    }

    fn write(&mut self) -> io::Result<()> {
        for (slot, buffer) in self.buffers.iter_mut().enumerate() {
            if !buffer.is_empty() {
                let path = child(&self.base, slot);
                let mut file = OpenOptions::new().create(true).append(true).open(path)?;
                file.write_all(buffer)?;
                buffer.clear();
            }
        }
        Ok(())
    }
}

fn child(base: &Path, slot: usize) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!("-{slot}"));
    PathBuf::from(name)
}

/// Finds the first duplicate of one partition; splits it if it is too large to sort.
fn check_file(path: &Path, depth: u32, bytes_max: u64) -> io::Result<Option<Duplicate>> {
    let bytes = match std::fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = bytes <= bytes_max;
    if !whole && depth < DEPTH_MAX {
        return split(path, depth, bytes_max);
    }
    // At the last depth the keys of a large file share a hash: they are sorted piece by piece,
    // and equal keys that are so many meet in one piece.
    let mut file = File::open(path)?;
    let piece = (bytes_max as usize / ENTRY_BYTES).max(2);
    let mut first = None;
    loop {
        let mut entries = read_entries(&mut file, piece)?;
        if entries.is_empty() {
            break;
        }
        first = earlier(first, first_in(&mut entries));
    }
    std::fs::remove_file(path)?;
    Ok(first)
}

fn split(path: &Path, depth: u32, bytes_max: u64) -> io::Result<Option<Duplicate>> {
    let mut file = File::open(path)?;
    let mut fan = Fan::new(path.to_path_buf(), depth);
    loop {
        let entries = read_entries(&mut file, 1 << 16)?;
        if entries.is_empty() {
            break;
        }
        for (key, seq) in entries {
            fan.add(key, seq);
        }
        fan.write()?;
    }
    std::fs::remove_file(path)?;
    let mut first = None;
    for slot in 0..FAN_OUT {
        first = earlier(first, check_file(&child(path, slot), depth + 1, bytes_max)?);
    }
    Ok(first)
}

fn read_entries(file: &mut File, count: usize) -> io::Result<Vec<(u128, u64)>> {
    let mut bytes = Vec::new();
    file.take((count * ENTRY_BYTES) as u64).read_to_end(&mut bytes)?;
    Ok(bytes
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| (u128_at(entry, 0), u64_at(entry, 16)))
        .collect())
}

fn first_in(entries: &mut [(u128, u64)]) -> Option<Duplicate> {
    entries.sort_unstable();
    let mut first = None;
    for pair in entries.windows(2) {
        if pair[0].0 == pair[1].0 {
            let found = Duplicate { key: pair[0].0, first_seq: pair[0].1, seq: pair[1].1 };
            first = earlier(first, Some(found));
        }
    }
    first
}

fn earlier(one: Option<Duplicate>, other: Option<Duplicate>) -> Option<Duplicate> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.seq < one.seq { other } else { one }),
        (one, None) => one,
        (None, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(in_memory_max: usize, partition_bytes_max: u64) -> (tempfile::TempDir, KeySpool) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut spool = KeySpool::new(dir.path().to_path_buf());
        spool.in_memory_max = in_memory_max;
        spool.partition_bytes_max = partition_bytes_max;
        (dir, spool)
    }

    /// Goal: the same answer from memory, from partitions, and from partitions split again.
    #[test]
    fn first_duplicate_is_found_at_every_depth() {
        for (memory, partition) in [(1 << 20, 1 << 20), (100, 1 << 20), (100, 48), (1, 1)] {
            let (dir, mut keys) = spool(memory, partition);
            for seq in 1..=2_000_u64 {
                let key = match seq {
                    1_500 => 700,
                    1_900 => 3,
                    _ => u128::from(seq),
                };
                keys.add(key, seq).expect("written");
            }
            let found = keys.first_duplicate().expect("read");
            assert_eq!(found, Some(Duplicate { key: 700, first_seq: 700, seq: 1_500 }));
            drop(keys);
            let left = std::fs::read_dir(dir.path()).expect("listed").count();
            assert_eq!(left, 0, "scratch files stay behind");
        }
    }

    /// Goal: distinct keys are never called duplicates.
    #[test]
    fn distinct_keys_are_no_duplicates() {
        let (_dir, mut keys) = spool(64, 480);
        for seq in 1..=5_000_u64 {
            keys.add(u128::from(seq) << 64, seq).expect("written");
        }
        assert_eq!(keys.first_duplicate().expect("read"), None);
    }

    /// Goal: one key many times ends, and names its second use.
    #[test]
    fn one_key_many_times_is_found() {
        let (_dir, mut keys) = spool(16, 240);
        for seq in 1..=1_000_u64 {
            keys.add(9, seq).expect("written");
        }
        let found = keys.first_duplicate().expect("read").expect("a duplicate");
        assert_eq!((found.first_seq, found.seq), (1, 2));
    }
}
