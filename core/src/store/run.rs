//! Runs: sorted pieces of the archive, each in blocks of at most one value.
//!
//! One sled key an order costs twenty times as much as one for a block of orders, when it is
//! written and again at each open. So a batch becomes a run of blocks, sorted by key; runs are
//! merged as they pile up; the list of runs that count stands in the archive's mark.

use super::ArchiveFilter;
use super::frame::{Header, PAGE_BYTES_MAX};
use super::guard::{GuardedDb, HELP_REBUILD, Progress};
use super::pace::Pace;
use crate::Error;

/// Bytes before an entry's value in a block: key (16, big-endian) and length (4).
pub(super) const ENTRY_HEAD_BYTES: usize = 20;
/// Bytes of one run in the mark.
const META_BYTES: usize = 48;
/// Bytes before the runs in the mark.
const LIST_HEAD_BYTES: usize = 16;
/// Most runs of an archive; the newest are merged before there are more.
pub(super) const RUNS_MAX: usize = 512;

const _: () = assert!(LIST_HEAD_BYTES + RUNS_MAX * META_BYTES <= PAGE_BYTES_MAX);

/// What the mark says about a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunMeta {
    pub(super) number: u64,
    pub(super) blocks: u32,
    pub(super) entries: u64,
    /// Bytes of its values, headers included.
    pub(super) bytes: u64,
    /// Over the checksums of its blocks.
    digest: [u8; 16],
}

/// A run with what is needed to find an entry in it: about 20 bytes a block.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) meta: RunMeta,
    /// First key and first block of each group of blocks, rising.
    groups: Vec<(u128, u32)>,
    last_key: u128,
}

/// Returns the content of a mark: the number of the next run and the runs, oldest first.
pub(super) fn encode_list<'a>(next: u64, runs: impl Iterator<Item = &'a RunMeta>) -> Vec<u8> {
    let mut out = next.to_le_bytes().to_vec();
    out.extend_from_slice(&[0; 8]);
    let mut count = 0_u64;
    for run in runs {
        out.extend_from_slice(&run.number.to_le_bytes());
        out.extend_from_slice(&u64::from(run.blocks).to_le_bytes());
        out.extend_from_slice(&run.entries.to_le_bytes());
        out.extend_from_slice(&run.bytes.to_le_bytes());
        out.extend_from_slice(&run.digest);
        count += 1;
    }
    out[8..LIST_HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
    out
}

/// Returns the number of the next run and the runs of a mark's content.
pub(super) fn decode_list(content: &[u8]) -> Option<(u64, Vec<RunMeta>)> {
    let (words, rest) = content.split_first_chunk::<LIST_HEAD_BYTES>()?;
    let (next, count) = (word(words, 0)?, word(words, 8)?);
    let (rows, rest) = rest.as_chunks::<META_BYTES>();
    if !rest.is_empty() || rows.len() as u64 != count {
        return None;
    }
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        runs.push(RunMeta {
            number: word(row, 0)?,
            blocks: word(row, 8)?.try_into().ok()?,
            entries: word(row, 16)?,
            bytes: word(row, 24)?,
            digest: row[32..].try_into().ok()?,
        });
    }
    let rising = runs.is_sorted_by(|a, b| a.number < b.number);
    let below = runs.last().is_none_or(|last| last.number < next);
    (rising && below).then_some((next, runs))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Returns the key of a block: run and block number, big-endian.
pub(super) fn block_key(run: u64, block: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&run.to_be_bytes());
    key[8..].copy_from_slice(&block.to_be_bytes());
    key
}

/// Splits the first entry off the content of a group.
fn split_entry(content: &[u8]) -> Option<(u128, &[u8], &[u8])> {
    let (key, rest) = content.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((u128::from_be_bytes(*key), value, rest))
}

/// Writes a run, entry by entry in rising order of their keys.
pub(super) struct RunWriter<'a> {
    db: &'a GuardedDb,
    run: Run,
    hasher: blake3::Hasher,
    content: Vec<u8>,
    first_key: u128,
    pace: Pace,
}

impl<'a> RunWriter<'a> {
    /// Begins the run `number`.
    pub(super) fn new(db: &'a GuardedDb, number: u64) -> Self {
        let meta = RunMeta { number, ..RunMeta::default() };
        let run = Run { meta, ..Run::default() };
        let hasher = blake3::Hasher::new();
        Self { db, run, hasher, content: Vec::new(), first_key: 0, pace: Pace::new() }
    }

    /// Appends an entry; its key is above the last one's.
    pub(super) fn push(&mut self, key: u128, value: &[u8]) -> Result<(), Error> {
        assert!(self.run.meta.entries == 0 || self.run.last_key < key, "entries come in order");
        let length = ENTRY_HEAD_BYTES + value.len();
        if PAGE_BYTES_MAX < self.content.len() + length {
            self.flush()?;
        }
        if self.content.is_empty() {
            self.first_key = key;
        }
        self.content.extend_from_slice(&key.to_be_bytes());
        self.content.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.content.extend_from_slice(value);
        self.run.last_key = key;
        self.run.meta.entries += 1;
        Ok(())
    }

    /// Writes what is left and returns the run; it counts when it is listed in a mark.
    pub(super) fn finish(mut self) -> Result<Run, Error> {
        self.flush()?;
        self.run.meta.digest = digest(&self.hasher);
        Ok(self.run)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.content.is_empty() {
            return Ok(());
        }
        let number = self.run.meta.number;
        self.run.groups.push((self.first_key, self.run.meta.blocks));
        let parts = self.content.len().div_ceil(PAGE_BYTES_MAX) as u8;
        for (part, piece) in self.content.chunks(PAGE_BYTES_MAX).enumerate() {
            let key = block_key(number, self.run.meta.blocks);
            let (value, crc) = Header::block(key, part as u8, parts, number).seal(&[piece]);
            self.hasher.update(&crc.to_le_bytes());
            self.run.meta.bytes += value.len() as u64;
            self.run.meta.blocks += 1;
            let bytes = value.len();
            self.db.insert(&key, value)?;
            self.pace.put(self.db, bytes)?;
        }
        self.content.clear();
        Ok(())
    }
}

fn digest(hasher: &blake3::Hasher) -> [u8; 16] {
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Reads a group of blocks from its first on; says how many blocks it has.
fn read_group(
    db: &GuardedDb,
    number: u64,
    first: u32,
    mut seen: impl FnMut(u32, usize),
) -> Result<(Vec<u8>, u32), Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let mut content = Vec::new();
    let (mut part, mut parts) = (0_u8, 1_u8);
    while part < parts {
        let block = first.saturating_add(u32::from(part));
        let key = block_key(number, block);
        let Some(value) = db.get(&key)? else {
            return Err(bad(format!("block {block} of run {number} is missing")));
        };
        let (header, piece, crc) = Header::open(&value)
            .map_err(|what| bad(format!("block {block} of run {number} is damaged: {what}")))?;
        if part == 0 {
            parts = header.parts;
        }
        if header != Header::block(key, part, parts, number) || parts == 0 {
            return Err(bad(format!("block {block} of run {number} is another value")));
        }
        seen(crc, value.len());
        content.extend_from_slice(piece);
        part += 1;
    }
    Ok((content, u32::from(parts)))
}

impl Run {
    /// Reads a whole run, checks it against its line in the mark, and fills the filter.
    pub(super) fn load(
        db: &GuardedDb,
        meta: RunMeta,
        filter: &mut ArchiveFilter,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let bad = |what: &str| {
            let what = format!("run {} of the archive {what}", meta.number);
            Error::damaged(what, db.dir(), HELP_REBUILD)
        };
        let mut run = Self::default();
        run.meta.number = meta.number;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        while run.meta.blocks < meta.blocks {
            progress.step();
            let first = run.meta.blocks;
            let (content, count) = read_group(db, meta.number, first, |crc, length| {
                hasher.update(&crc.to_le_bytes());
                bytes += length as u64;
            })?;
            let mut rest = &*content;
            let mut first_key = None;
            while !rest.is_empty() {
                let (key, _, tail) =
                    split_entry(rest).ok_or_else(|| bad("has an entry that is cut off"))?;
                if 0 < run.meta.entries && key <= run.last_key {
                    return Err(bad("is out of order"));
                }
                filter.insert(key);
                first_key.get_or_insert(key);
                run.last_key = key;
                run.meta.entries += 1;
                rest = tail;
            }
            run.groups.push((first_key.ok_or_else(|| bad("has an empty block"))?, first));
            run.meta.blocks += count;
        }
        run.meta.bytes = bytes;
        run.meta.digest = digest(&hasher);
        if run.meta != meta {
            return Err(bad("disagrees with the mark"));
        }
        Ok(run)
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, db: &GuardedDb, key: u128) -> Result<Option<Vec<u8>>, Error> {
        if self.last_key < key {
            return Ok(None);
        }
        let Some(group) = self.groups.partition_point(|(first, _)| *first <= key).checked_sub(1)
        else {
            return Ok(None);
        };
        let (_, first) = self.groups[group];
        let (content, _) = read_group(db, self.meta.number, first, |_, _| ())?;
        let mut rest = &*content;
        while !rest.is_empty() {
            let Some((found, value, tail)) = split_entry(rest) else {
                let what = format!("run {} has an entry that is cut off", self.meta.number);
                return Err(Error::damaged(what, db.dir(), HELP_REBUILD));
            };
            if key <= found {
                return Ok((found == key).then(|| value.to_vec()));
            }
            rest = tail;
        }
        Ok(None)
    }

    /// Returns how large the run is in steps of a factor of eight.
    pub(super) fn tier(&self) -> u32 {
        (self.meta.bytes / PAGE_BYTES_MAX as u64).max(1).ilog2() / 3
    }
}

/// Reads one run in the order of its keys.
struct Cursor<'a> {
    run: &'a Run,
    next_group: usize,
    content: Vec<u8>,
    at: usize,
    /// Key and place of the value in `content`, if there is one more entry.
    entry: Option<(u128, std::ops::Range<usize>)>,
}

impl Cursor<'_> {
    fn advance(&mut self, db: &GuardedDb) -> Result<(), Error> {
        if self.at == self.content.len() {
            let Some((_, first)) = self.run.groups.get(self.next_group) else {
                self.entry = None;
                return Ok(());
            };
            (self.content, _) = read_group(db, self.run.meta.number, *first, |_, _| ())?;
            self.next_group += 1;
            self.at = 0;
        }
        let Some((key, value, _)) = split_entry(&self.content[self.at..]) else {
            let what = format!("run {} has an entry that is cut off", self.run.meta.number);
            return Err(Error::damaged(what, db.dir(), HELP_REBUILD));
        };
        let from = self.at + ENTRY_HEAD_BYTES;
        self.at = from + value.len();
        self.entry = Some((key, from..self.at));
        Ok(())
    }
}

/// Visits the entries of several runs in rising order; of equal keys that of the newest run only.
pub(super) fn merge<'a>(
    db: &GuardedDb,
    oldest_first: impl Iterator<Item = &'a Run>,
    mut visit: impl FnMut(u128, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut cursors = Vec::new();
    for run in oldest_first {
        let mut cursor = Cursor { run, next_group: 0, content: Vec::new(), at: 0, entry: None };
        cursor.advance(db)?;
        cursors.push(cursor);
    }
    loop {
        let keys = cursors.iter().filter_map(|cursor| Some(cursor.entry.as_ref()?.0));
        let Some(key) = keys.min() else { return Ok(()) };
        let mut newest = true;
        for cursor in cursors.iter_mut().rev() {
            if let Some((found, place)) = &cursor.entry
                && *found == key
            {
                if newest {
                    visit(key, &cursor.content[place.clone()])?;
                    newest = false;
                }
                cursor.advance(db)?;
            }
        }
    }
}
