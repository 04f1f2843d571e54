//! The archive of settled orders in sled: one long-lived directory, copied when it grows stale.
//!
//! Entries are written before the mark of their batch, and sled's log keeps that order, so a mark
//! that is there vouches for what came before. An entry says in which batch it was put: opening
//! takes out those of a batch that a crash cut short, and reads the others once, against the
//! totals in the mark and to fill the filter.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::digest::ArchiveTotals;
use super::frame::{ENTRY_BYTES_MAX, Header, PAGE_BYTES_MAX};
use super::guard::{self, GuardedDb, HELP_REBUILD, HELP_STOPPED, Progress, supervised};
use super::sled_store::{StoreLock, StoreOptions};
use super::{Archive, ArchiveFilter, COMPACT_RATIO, OpenedArchive};
use crate::{Error, ErrorKind};

/// The key of the mark: shorter than any entry's.
const MARK_KEY: [u8; 1] = [0];
/// Bytes of an entry's key: the order's key, big-endian, then the part.
const KEY_BYTES: usize = 17;
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
    /// Readers go on while a batch is written; only a swap after a copy shuts them out.
    db: RwLock<GuardedDb>,
    writer: Mutex<Writer>,
    _lock: Arc<StoreLock>,
}

#[derive(Clone, Copy)]
struct Writer {
    number: u64,
    high_water: u64,
    totals: ArchiveTotals,
    disk_bytes_min: u64,
    /// Set by the first failed batch: what it left behind is taken out at the next open.
    failed: bool,
}

impl Writer {
    fn new(number: u64, high_water: u64, totals: ArchiveTotals) -> Self {
        Self { number, high_water, totals, disk_bytes_min: COMPACT_DISK_BYTES_MIN, failed: false }
    }
}

/// What one reading of a whole archive gave.
struct Scan {
    high_water: u64,
    totals: ArchiveTotals,
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
pub(super) fn open(
    root: &Path,
    options: StoreOptions,
    lock: Arc<StoreLock>,
    expected: ArchiveRange,
) -> Result<Opened, Error> {
    let mut notes = Vec::new();
    let mut found = list(root, &mut notes)?;
    while let Some((number, dir)) = found.pop() {
        match open_one(&dir, options, expected) {
            Ok((db, scan)) => {
                for (_, old) in found {
                    guard::remove_dir(&old)?;
                    notes.push(format!("removed the older copy {}", guard::name_of(&old)));
                }
                let writer = Writer::new(number, scan.high_water, scan.totals);
                let archive = SledArchive::new(root, options, lock, db, writer);
                return Ok(Opened { archive, filter: scan.filter, rebuild: false, notes });
            }
            Err(e) if guard::is_damage(&e) => {
                let aside = guard::set_aside(root, &dir)?;
                notes.push(format!("set the archive aside as {}: {e}", guard::name_of(&aside)));
            }
            Err(e) => return Err(e),
        }
    }
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

fn open_one(
    dir: &Path,
    options: StoreOptions,
    expected: ArchiveRange,
) -> Result<(GuardedDb, Scan), Error> {
    let at = dir.to_owned();
    supervised(dir, options.idle_max, move |progress| {
        let db = GuardedDb::open(&at)?;
        let scan = scan(&db, options.filter_seed, progress)?;
        let mark = scan.high_water;
        if mark < expected.min || expected.max < mark {
            let what = format!(
                "the archive's mark is seq {mark}, outside {}..={}",
                expected.min, expected.max
            );
            return Err(Error::damaged(what, &at, HELP_REBUILD));
        }
        Ok((db, scan))
    })
}

/// Reads the whole archive and checks it against the totals in its mark.
fn scan(db: &GuardedDb, filter_seed: u64, progress: &Progress) -> Result<Scan, Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let Some(value) = db.get(&MARK_KEY)? else {
        return Err(bad("the archive's mark is missing".into()));
    };
    let (high_water, expected) = open_mark(&value).map_err(bad)?;
    let mut totals = ArchiveTotals::default();
    let mut filter = ArchiveFilter::new(filter_seed);
    let mut next_part = None;
    let mut cut_short = Vec::new();
    db.for_each(|key, value| {
        progress.step();
        if *key == MARK_KEY {
            return Ok(());
        }
        let (id, part) = split_key(&key).map_err(bad)?;
        let (header, _, crc) = open_entry(&value, id, part).map_err(bad)?;
        if high_water < header.seq {
            cut_short.push(key);
            return Ok(());
        }
        let expected = next_part.unwrap_or((id, 0, header.parts));
        if expected != (id, part, header.parts) {
            return Err(bad(format!("entry {id:032x} misses a part")));
        }
        next_part = (part + 1 < header.parts).then_some((id, part + 1, header.parts));
        totals.add(id, part, value.len(), crc);
        if part == 0 {
            filter.insert(id);
        }
        Ok(())
    })?;
    if totals != expected || next_part.is_some() {
        let (found, wanted) = (totals.entries, expected.entries);
        return Err(bad(format!("{found} entries disagree with the mark's {wanted}")));
    }
    for key in &cut_short {
        db.remove(key)?;
    }
    if !cut_short.is_empty() {
        db.sync()?;
    }
    Ok(Scan { high_water, totals, filter })
}

impl SledArchive {
    fn new(
        root: &Path,
        options: StoreOptions,
        lock: Arc<StoreLock>,
        db: GuardedDb,
        writer: Writer,
    ) -> Self {
        let (db, writer) = (RwLock::new(db), Mutex::new(writer));
        Self { root: root.to_owned(), options, db, writer, _lock: lock }
    }

    fn create(root: &Path, options: StoreOptions, lock: Arc<StoreLock>) -> Result<Self, Error> {
        let number = 1 + guard::list(root)?
            .iter()
            .filter_map(|path| number_of(&guard::name_of(path)))
            .max()
            .unwrap_or(0);
        let dir = root.join(format!("archive-{number}.new"));
        if dir.exists() {
            guard::remove_dir(&dir)?;
        }
        let db = GuardedDb::create(&dir)?;
        put_mark(&db, 0, ArchiveTotals::default())?;
        db.sync()?;
        let db = move_into_place(root, db, number)?;
        let writer = Writer::new(number, 0, ArchiveTotals::default());
        Ok(Self::new(root, options, lock, db, writer))
    }

    /// Copies the live entries into the next directory and goes on there.
    fn compact(&self, writer: &mut Writer) -> Result<(), Error> {
        let number = writer.number + 1;
        let dir = self.root.join(format!("archive-{number}.new"));
        if dir.exists() {
            guard::remove_dir(&dir)?;
        }
        let copy = GuardedDb::create(&dir)?;
        let old_dir = {
            let old = self.db.read();
            old.for_each(|key, value| copy.insert(&key, value.to_vec()).map(|_| ()))?;
            old.dir().to_owned()
        };
        copy.sync()?;
        let found = scan(&copy, self.options.filter_seed, &Progress::default())?;
        if (found.high_water, found.totals) != (writer.high_water, writer.totals) {
            return Err(Error::damaged("the copy differs from the archive", &dir, HELP_REBUILD));
        }
        let copy = move_into_place(&self.root, copy, number)?;
        drop(std::mem::replace(&mut *self.db.write(), copy));
        writer.number = number;
        guard::remove_dir(&old_dir)?;
        guard::sync_dir(&self.root)
    }

    /// Sets from how many bytes on disk an archive is copied at all.
    #[cfg(test)]
    pub(super) fn set_disk_bytes_min(&self, bytes: u64) {
        self.writer.lock().disk_bytes_min = bytes;
    }
}

impl Archive for SledArchive {
    fn put_batch(&self, entries: &[(u128, &[u8])], high_water: u64) -> Result<(), Error> {
        let mut writer = self.writer.lock();
        let db = self.db.read();
        check_batch(entries, writer.high_water, high_water).map_err(|e| e.at(db.dir()))?;
        if writer.failed {
            let what = "the archive takes no more since a batch failed";
            return Err(Error::new(ErrorKind::Stopped, what, HELP_STOPPED).at(db.dir()));
        }
        let mut totals = writer.totals;
        writer.failed = true;
        for (key, value) in entries {
            put_entry(&db, &mut totals, *key, value, high_water)?;
        }
        put_mark(&db, high_water, totals)?;
        db.sync()?;
        writer.failed = false;
        (writer.high_water, writer.totals) = (high_water, totals);
        Ok(())
    }

    fn get(&self, key: u128) -> Result<Option<Vec<u8>>, Error> {
        let Some((parts, whole)) = get_parts(&self.db.read(), key, 1)? else { return Ok(None) };
        if parts == 1 {
            return Ok(Some(whole));
        }
        // A value in parts is read while none can be replaced.
        let _writer = self.writer.lock();
        let found = get_parts(&self.db.read(), key, u8::MAX)?;
        Ok(found.map(|(_, whole)| whole))
    }

    fn high_water(&self) -> u64 {
        self.writer.lock().high_water
    }

    fn entry_count(&self) -> u64 {
        self.writer.lock().totals.entries
    }

    fn for_each_key(&self, visit: &mut dyn FnMut(u128)) -> Result<(), Error> {
        let db = self.db.read();
        db.for_each(|key, _| {
            if *key != MARK_KEY {
                let bad = |what| Error::damaged(what, db.dir(), HELP_REBUILD);
                let (id, part) = split_key(&key).map_err(bad)?;
                if part == 0 {
                    visit(id);
                }
            }
            Ok(())
        })
    }

    fn live_bytes(&self) -> u64 {
        self.writer.lock().totals.live_bytes
    }

    fn disk_bytes(&self) -> Result<u64, Error> {
        let dir = self.db.read().dir().to_owned();
        guard::disk_bytes(&dir)
    }

    fn compact_if_large(&self) -> Result<bool, Error> {
        let mut writer = self.writer.lock();
        let disk = self.disk_bytes()?;
        let limit = writer.totals.live_bytes.saturating_mul(COMPACT_RATIO);
        if disk < writer.disk_bytes_min || disk <= limit {
            return Ok(false);
        }
        self.compact(&mut writer)?;
        Ok(true)
    }
}

/// Reads at most `parts_max` parts of a value; returns how many there are, and their bytes.
fn get_parts(db: &GuardedDb, key: u128, parts_max: u8) -> Result<Option<(u8, Vec<u8>)>, Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let Some(first) = db.get(&entry_key(key, 0))? else { return Ok(None) };
    let (header, content, _) = open_entry(&first, key, 0).map_err(bad)?;
    let mut whole = content.to_vec();
    for part in 1..header.parts.min(parts_max) {
        let Some(value) = db.get(&entry_key(key, part))? else {
            return Err(bad(format!("entry {key:032x} misses part {part}")));
        };
        let (found, content, _) = open_entry(&value, key, part).map_err(bad)?;
        if (found.parts, found.seq) != (header.parts, header.seq) {
            return Err(bad(format!("entry {key:032x} mixes parts of two values")));
        }
        whole.extend_from_slice(content);
    }
    Ok(Some((header.parts, whole)))
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

/// Puts the parts of one value and keeps the totals right whatever stood there before.
fn put_entry(
    db: &GuardedDb,
    totals: &mut ArchiveTotals,
    key: u128,
    value: &[u8],
    seq: u64,
) -> Result<(), Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let parts = value.len().div_ceil(PAGE_BYTES_MAX).max(1) as u8;
    let mut old_parts = 0;
    for part in 0..parts {
        let from = usize::from(part) * PAGE_BYTES_MAX;
        let content = &value[from..value.len().min(from + PAGE_BYTES_MAX)];
        let (framed, crc) = Header::entry(key, part, parts, seq).seal(&[content]);
        let length = framed.len();
        let stored_key = entry_key(key, part);
        if let Some(old) = db.insert_new(&stored_key, &framed)? {
            if part == 0 && get_parts(db, key, u8::MAX)?.is_some_and(|(_, old)| old == value) {
                // A batch repeated after a crash: left in its old batch, so that another crash
                // in this one takes nothing away.
                return Ok(());
            }
            old_parts = old_parts.max(take_out(totals, key, part, &old).map_err(bad)?);
            db.insert(&stored_key, framed)?;
        }
        totals.add(key, part, length, crc);
    }
    for part in parts..old_parts {
        if let Some(old) = db.remove(&entry_key(key, part))? {
            take_out(totals, key, part, &old).map_err(bad)?;
        }
    }
    Ok(())
}

/// Takes a replaced part out of the totals; returns how many parts its value had.
fn take_out(totals: &mut ArchiveTotals, key: u128, part: u8, old: &[u8]) -> Result<u8, String> {
    let (header, _, crc) = open_entry(old, key, part)?;
    if totals.remove(key, part, old.len(), crc) {
        Ok(header.parts)
    } else {
        Err(format!("entry {key:032x} was not in the archive's totals"))
    }
}

fn put_mark(db: &GuardedDb, high_water: u64, totals: ArchiveTotals) -> Result<(), Error> {
    let (value, _) = Header::mark(high_water).seal(&[&totals.to_bytes()]);
    db.insert(&MARK_KEY, value).map(|_| ())
}

fn open_mark(value: &[u8]) -> Result<(u64, ArchiveTotals), String> {
    let (header, content, _) =
        Header::open(value).map_err(|what| format!("the archive's mark is damaged: {what}"))?;
    match ArchiveTotals::from_bytes(content) {
        Some(totals) if header == Header::mark(header.seq) => Ok((header.seq, totals)),
        _ => Err("the archive's mark is another value".into()),
    }
}

fn open_entry(value: &[u8], key: u128, part: u8) -> Result<(Header, &[u8], u32), String> {
    let opened =
        Header::open(value).map_err(|what| format!("entry {key:032x} is damaged: {what}"))?;
    let header = opened.0;
    if header != Header::entry(key, part, header.parts, header.seq) || header.parts <= part {
        return Err(format!("entry {key:032x} holds the value of another place"));
    }
    Ok(opened)
}

fn entry_key(key: u128, part: u8) -> [u8; KEY_BYTES] {
    let mut bytes = [part; KEY_BYTES];
    bytes[..16].copy_from_slice(&key.to_be_bytes());
    bytes
}

fn split_key(key: &[u8]) -> Result<(u128, u8), String> {
    let bytes: &[u8; KEY_BYTES] =
        key.try_into().map_err(|_| format!("a key has {} bytes, not {KEY_BYTES}", key.len()))?;
    let (id, part) = bytes.split_first_chunk::<16>().expect("a key has 17 bytes");
    Ok((u128::from_be_bytes(*id), part[0]))
}

/// Returns the number of an archive's directory, set aside or not.
fn number_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("archive-")?;
    rest.split('.').next()?.parse().ok()
}
