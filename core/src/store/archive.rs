//! The archive of settled orders in sled: one long-lived directory, copied when it grows stale.
//!
//! A batch becomes a run (see `run`), then the mark lists it: sled's log keeps that order, so a
//! mark that is there vouches for the runs that it lists, and what it does not list is not there.
//! Opening reads every run once, against its line in the mark, and fills the filter.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::frame::{ENTRY_BYTES_MAX, Header};
use super::guard::{self, GuardedDb, HELP_REBUILD, HELP_STOPPED, Progress, supervised};
use super::run::{self, ENTRY_HEAD_BYTES, RUNS_MAX, Run, RunMeta, RunWriter};
use super::sled_store::{StoreLock, StoreOptions};
use super::{Archive, ArchiveFilter, COMPACT_RATIO, OpenedArchive};
use crate::{Error, ErrorKind};

/// The key of the mark: shorter than any block's.
const MARK_KEY: [u8; 1] = [0];
/// Runs of about the same size that are merged into one.
const MERGE_RUNS: usize = 8;
/// Runs are not merged into one of more bytes, as long as the archive has few enough.
const MERGE_BYTES_MAX: u64 = 1 << 30;
/// Below this many bytes on disk an archive is never copied: a fresh one takes some segments.
const COMPACT_DISK_BYTES_MIN: u64 = 64 << 20;

/// The marks that the caller can accept from an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveRange {
    /// The mark that the checkpoint in use relies on.
    pub(crate) min: u64,
    /// The last position of the journal.
    pub(crate) max: u64,
}

/// An open archive.
pub(crate) struct SledArchive {
    root: PathBuf,
    options: StoreOptions,
    /// Readers go on while a batch is written; only the swap to a new list of runs shuts them out.
    state: RwLock<State>,
    writer: Mutex<Writer>,
    _lock: Arc<StoreLock>,
}

struct State {
    db: Arc<GuardedDb>,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    high_water: u64,
}

struct Writer {
    /// The number in the directory's name.
    number: u64,
    next_run: u64,
    disk_bytes_min: u64,
    /// Set by the first failed batch: what it left behind does not count at the next open.
    failed: bool,
}

impl Writer {
    fn new(number: u64, next_run: u64) -> Self {
        Self { number, next_run, disk_bytes_min: COMPACT_DISK_BYTES_MIN, failed: false }
    }
}

/// What one reading of a whole archive gave.
struct Scan {
    high_water: u64,
    next_run: u64,
    runs: Vec<Arc<Run>>,
    filter: ArchiveFilter,
}

/// An archive as it was opened, before it is shared.
pub(super) struct Opened {
    pub(super) archive: SledArchive,
    filter: ArchiveFilter,
    rebuild: bool,
    notes: Vec<String>,
}

impl Opened {
    /// Returns it for anyone who uses an archive.
    pub(super) fn share(self) -> OpenedArchive {
        OpenedArchive {
            archive: Arc::new(self.archive),
            filter: self.filter,
            rebuild: self.rebuild,
            notes: self.notes,
        }
    }
}

/// Opens the newest archive that is whole and agrees with `expected`, or makes an empty one.
///
/// `expected` is asked only after an archive was read: it may wait for it to be known.
pub(super) fn open(
    root: &Path,
    options: StoreOptions,
    lock: Arc<StoreLock>,
    mut expected: impl FnMut() -> Result<ArchiveRange, Error>,
) -> Result<Opened, Error> {
    let mut notes = Vec::new();
    let mut found = list(root, &mut notes)?;
    while let Some((number, dir)) = found.pop() {
        let read = open_one(&dir, options).and_then(|(db, scan)| {
            check_mark(scan.high_water, expected()?, &dir)?;
            Ok((db, scan))
        });
        match read {
            Ok((db, scan)) => {
                for (_, old) in found {
                    guard::remove_dir(&old)?;
                    notes.push(format!("removed the older copy {}", guard::name_of(&old)));
                }
                let state =
                    State { db: Arc::new(db), runs: scan.runs, high_water: scan.high_water };
                let writer = Writer::new(number, scan.next_run);
                let archive = SledArchive::new(root, options, lock, state, writer);
                return Ok(Opened { archive, filter: scan.filter, rebuild: false, notes });
            }
            Err(e) if guard::is_damage(&e) => {
                let aside = guard::set_aside(root, &dir)?;
                notes.push(format!("set the archive aside as {}: {e}", guard::name_of(&aside)));
            }
            Err(e) => return Err(e),
        }
    }
    let expected = expected()?;
    let rebuild = 0 < expected.min;
    if rebuild && notes.is_empty() {
        notes.push(format!("the archive is missing, expected up to seq {}", expected.min));
    }
    let archive = SledArchive::create(root, options, lock)?;
    let filter = ArchiveFilter::new(options.filter_seed);
    Ok(Opened { archive, filter, rebuild, notes })
}

/// Returns the archives, oldest first, and removes unfinished copies.
fn list(root: &Path, notes: &mut Vec<String>) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for path in guard::list(root)? {
        let name = guard::name_of(&path);
        let Some(digits) = name.strip_prefix("archive-") else { continue };
        if digits.strip_suffix(".new").is_some() {
            guard::remove_dir(&path)?;
            notes.push(format!("removed the unfinished copy {name}"));
        } else if let Ok(number) = digits.parse() {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn open_one(dir: &Path, options: StoreOptions) -> Result<(GuardedDb, Scan), Error> {
    let at = dir.to_owned();
    supervised(dir, options.idle_max, move |progress| {
        let db = GuardedDb::open(&at)?;
        let scan = scan(&db, options.filter_seed, progress)?;
        Ok((db, scan))
    })
}

fn check_mark(mark: u64, expected: ArchiveRange, dir: &Path) -> Result<(), Error> {
    if (expected.min..=expected.max).contains(&mark) {
        return Ok(());
    }
    let what =
        format!("the archive's mark is seq {mark}, outside {}..={}", expected.min, expected.max);
    Err(Error::damaged(what, dir, HELP_REBUILD))
}

/// Reads the whole archive and checks it against its mark.
fn scan(db: &GuardedDb, filter_seed: u64, progress: &Progress) -> Result<Scan, Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let Some(value) = db.get(&MARK_KEY)? else {
        return Err(bad("the archive's mark is missing".into()));
    };
    let (high_water, next_run, metas) = open_mark(&value).map_err(bad)?;
    // No more memory than what is on disk calls for, whatever the mark says.
    let on_disk = guard::disk_bytes(db.dir())? / ENTRY_HEAD_BYTES as u64;
    let listed = metas.iter().fold(0, |sum: u64, meta| sum.saturating_add(meta.entries));
    let mut filter = ArchiveFilter::with_room(filter_seed, listed.min(on_disk) as usize);
    let mut runs = Vec::with_capacity(metas.len());
    for meta in metas {
        runs.push(Arc::new(Run::load(db, meta, &mut filter, progress)?));
    }
    // What a crash left of a run that was not listed yet would mix with the next of that number.
    let mut cut_short = Vec::new();
    db.for_each(&run::block_key(next_run, 0), |key, _| {
        progress.step();
        cut_short.push(key);
        Ok(())
    })?;
    for key in &cut_short {
        db.remove(key)?;
    }
    if !cut_short.is_empty() {
        db.sync()?;
    }
    Ok(Scan { high_water, next_run, runs, filter })
}

impl SledArchive {
    fn new(
        root: &Path,
        options: StoreOptions,
        lock: Arc<StoreLock>,
        state: State,
        writer: Writer,
    ) -> Self {
        let (state, writer) = (RwLock::new(state), Mutex::new(writer));
        Self { root: root.to_owned(), options, state, writer, _lock: lock }
    }

    fn create(root: &Path, options: StoreOptions, lock: Arc<StoreLock>) -> Result<Self, Error> {
        let numbers = guard::list(root)?;
        let last = numbers.iter().filter_map(|path| number_of(&guard::name_of(path))).max();
        let number = last.unwrap_or(0).saturating_add(1);
        let db = create_copy(root, number)?;
        put_mark(&db, 0, FIRST_RUN, &[])?;
        db.sync()?;
        let db = Arc::new(move_into_place(root, db, number)?);
        let state = State { db, runs: Vec::new(), high_water: 0 };
        Ok(Self::new(root, options, lock, state, Writer::new(number, FIRST_RUN)))
    }

    fn snapshot(&self) -> (Arc<GuardedDb>, Vec<Arc<Run>>, u64) {
        let state = self.state.read();
        (Arc::clone(&state.db), state.runs.clone(), state.high_water)
    }

    /// Writes a sorted batch as a run, merges runs as they pile up, and lists the result.
    fn write(
        &self,
        writer: &mut Writer,
        sorted: &[(u128, &[u8])],
        high_water: u64,
    ) -> Result<(), Error> {
        let (db, mut runs, _) = self.snapshot();
        if !sorted.is_empty() {
            let mut out = RunWriter::new(&db, take_number(writer));
            for (key, value) in sorted {
                out.push(*key, value)?;
            }
            runs.push(Arc::new(out.finish()?));
        }
        put_mark(&db, high_water, writer.next_run, &runs)?;
        db.sync()?;
        self.set_runs(runs.clone(), high_water);
        while let Some(keep) = merge_from(&runs) {
            let mut out = RunWriter::new(&db, take_number(writer));
            let merged = runs.split_off(keep);
            run::merge(&db, merged.iter().map(|run| &**run), |key, value| out.push(key, value))?;
            runs.push(Arc::new(out.finish()?));
            put_mark(&db, high_water, writer.next_run, &runs)?;
            // The runs that it replaces stay readable until all of it is durable.
            db.sync()?;
            self.set_runs(runs.clone(), high_water);
        }
        Ok(())
    }

    fn set_runs(&self, runs: Vec<Arc<Run>>, high_water: u64) {
        let mut state = self.state.write();
        (state.runs, state.high_water) = (runs, high_water);
    }

    /// Copies the listed runs into the next directory and goes on there.
    fn compact(&self, writer: &mut Writer) -> Result<(), Error> {
        let number = writer.number + 1;
        let (old, runs, high_water) = self.snapshot();
        let copy = create_copy(&self.root, number)?;
        for run in &runs {
            for block in 0..run.meta.blocks {
                let key = run::block_key(run.meta.number, block);
                let Some(value) = old.get(&key)? else {
                    let what = "a block of the archive is missing";
                    return Err(Error::damaged(what, old.dir(), HELP_REBUILD));
                };
                copy.insert(&key, value.to_vec())?;
            }
        }
        put_mark(&copy, high_water, writer.next_run, &runs)?;
        copy.sync()?;
        // Whatever was copied wrongly disagrees with the mark.
        let found = scan(&copy, self.options.filter_seed, &Progress::default())?;
        let copy = Arc::new(move_into_place(&self.root, copy, number)?);
        let old_dir = old.dir().to_owned();
        drop(old);
        *self.state.write() = State { db: copy, runs: found.runs, high_water };
        writer.number = number;
        guard::remove_dir(&old_dir)?;
        guard::sync_dir(&self.root)
    }

    /// Sets from how many bytes on disk an archive is copied at all.
    #[cfg(test)]
    pub(super) fn set_disk_bytes_min(&self, bytes: u64) {
        self.writer.lock().disk_bytes_min = bytes;
    }

    /// Returns the number of runs.
    #[cfg(test)]
    pub(super) fn run_count(&self) -> usize {
        self.state.read().runs.len()
    }
}

/// The number of an archive's first run.
const FIRST_RUN: u64 = 1;

fn take_number(writer: &mut Writer) -> u64 {
    let number = writer.next_run;
    writer.next_run += 1;
    number
}

/// Returns how many of the oldest runs stay when the others are merged, if they are to be.
fn merge_from(runs: &[Arc<Run>]) -> Option<usize> {
    let keep = runs.len().checked_sub(MERGE_RUNS)?;
    let (oldest, newer) = runs[keep..].split_first()?;
    let alike = newer.iter().any(|run| oldest.tier() <= run.tier());
    let bytes: u64 = runs[keep..].iter().map(|run| run.meta.bytes).sum();
    let small = bytes <= MERGE_BYTES_MAX;
    (RUNS_MAX <= runs.len() || (alike && small)).then_some(keep)
}

impl Archive for SledArchive {
    fn put_batch(&self, entries: &[(u128, &[u8])], high_water: u64) -> Result<(), Error> {
        let mut writer = self.writer.lock();
        let present = self.high_water();
        check_batch(entries, present, high_water).map_err(|e| e.at(&self.root))?;
        if writer.failed {
            let what = "the archive takes no more since a batch failed";
            return Err(Error::new(ErrorKind::Stopped, what, HELP_STOPPED).at(&self.root));
        }
        // Of equal keys the last one counts: it comes first here, and the others go.
        let mut sorted: Vec<(u128, &[u8])> = entries.iter().rev().copied().collect();
        sorted.sort_by_key(|(key, _)| *key);
        sorted.dedup_by_key(|(key, _)| *key);
        let result = self.write(&mut writer, &sorted, high_water);
        writer.failed = result.is_err();
        result
    }

    fn get(&self, key: u128) -> Result<Option<Vec<u8>>, Error> {
        let state = self.state.read();
        for run in state.runs.iter().rev() {
            let found = run.get(&state.db, key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn high_water(&self) -> u64 {
        self.state.read().high_water
    }

    fn entry_count(&self) -> u64 {
        self.state.read().runs.iter().map(|run| run.meta.entries).sum()
    }

    #[cfg(test)]
    fn for_each_key(&self, visit: &mut dyn FnMut(u128)) -> Result<(), Error> {
        // No batch may swap the database below it: a copy removes the old directory.
        let _writer = self.writer.lock();
        let (db, runs, _) = self.snapshot();
        run::merge(&db, runs.iter().map(|run| &**run), |key, _| {
            visit(key);
            Ok(())
        })
    }

    fn live_bytes(&self) -> u64 {
        self.state.read().runs.iter().map(|run| run.meta.bytes).sum()
    }

    fn disk_bytes(&self) -> Result<u64, Error> {
        let dir = self.state.read().db.dir().to_owned();
        guard::disk_bytes(&dir)
    }

    fn compact_if_large(&self) -> Result<bool, Error> {
        let mut writer = self.writer.lock();
        let disk = self.disk_bytes()?;
        let limit = self.live_bytes().saturating_mul(COMPACT_RATIO);
        if writer.failed || disk < writer.disk_bytes_min || disk <= limit {
            return Ok(false);
        }
        // After half a copy nobody knows which of the two a batch would have to go to.
        writer.failed = true;
        self.compact(&mut writer)?;
        writer.failed = false;
        Ok(true)
    }
}

/// Makes the database of a new archive, not yet under its name.
fn create_copy(root: &Path, number: u64) -> Result<GuardedDb, Error> {
    let dir = root.join(format!("archive-{number}.new"));
    if dir.exists() {
        guard::remove_dir(&dir)?;
    }
    GuardedDb::create(&dir)
}

/// Gives a finished database its name: closed, renamed, opened again under the new one.
fn move_into_place(root: &Path, db: GuardedDb, number: u64) -> Result<GuardedDb, Error> {
    let from = db.dir().to_owned();
    let to = root.join(format!("archive-{number}"));
    db.close()?;
    fs::rename(&from, &to).map_err(|e| Error::io("the archive cannot be renamed", &from, e))?;
    guard::sync_dir(root)?;
    GuardedDb::open(&to)
}

pub(super) fn check_batch(
    entries: &[(u128, &[u8])],
    present: u64,
    high_water: u64,
) -> Result<(), Error> {
    if high_water < present {
        let what = format!("the archive's mark would go back from seq {present} to {high_water}");
        return Err(Error::new(ErrorKind::Config, what, "archive in the order of the journal"));
    }
    for (key, value) in entries {
        if ENTRY_BYTES_MAX < value.len() {
            let what =
                format!("entry {key:032x} has {} bytes, above {ENTRY_BYTES_MAX}", value.len());
            return Err(Error::new(ErrorKind::Config, what, "store less of the order"));
        }
    }
    Ok(())
}

fn put_mark(
    db: &GuardedDb,
    high_water: u64,
    next_run: u64,
    runs: &[Arc<Run>],
) -> Result<(), Error> {
    let list = run::encode_list(next_run, runs.iter().map(|run| &run.meta));
    let (value, _) = Header::mark(high_water).seal(&[&list]);
    db.insert(&MARK_KEY, value).map(|_| ())
}

fn open_mark(value: &[u8]) -> Result<(u64, u64, Vec<RunMeta>), String> {
    let (header, content, _) =
        Header::open(value).map_err(|what| format!("the archive's mark is damaged: {what}"))?;
    match run::decode_list(content) {
        Some((next_run, runs)) if header == Header::mark(header.seq) => {
            Ok((header.seq, next_run, runs))
        }
        _ => Err("the archive's mark is another value".into()),
    }
}

/// Returns the number of an archive's directory, set aside or not.
fn number_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("archive-")?;
    rest.split('.').next()?.parse().ok()
}
