//! What stands around sled: supervision, our own syncs, limits, and setting damage aside.
//!
//! sled 0.34.7 may panic or hang on damaged files, calls a range sync "flush", never syncs its
//! blob files nor its `conf`, and drops its tail in silence. Nothing outside this file calls it.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sled::IVec;

use super::frame::VALUE_BYTES_MAX;
use crate::{Error, ErrorKind};

/// Bytes of a sled segment: a leaf above a quarter of it would become a blob file.
pub(super) const SEGMENT_BYTES: usize = 4 << 20;
/// Bytes that sled is told to cache; it takes several times as much.
const CACHE_BYTES: u64 = 8 << 20;
/// Values of a leaf at its largest: 16 and one before a split, or 20 after a merge.
const LEAF_VALUES_MAX: usize = 20;
/// Bytes that sled adds to a value in a leaf: key, lengths, offsets; far less in truth.
const LEAF_VALUE_OVERHEAD: usize = 128;
/// Tries to take sled's lock: a database that was dropped a moment ago lets go of it late.
const LOCK_TRIES_MAX: u32 = 500;
/// Pause between two such tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are freed at once when an old checkpoint is removed.
const REMOVE_STEP_BYTES: u64 = 16 << 20;
/// Pause between two such steps.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);
/// Set-aside directories that are kept for inspection; the oldest go first.
pub(super) const BAD_DIRS_MAX: usize = 4;
/// What the slowest disk that we wait for reads, in bytes a millisecond.
const SLOW_DISK_BYTES_PER_MS: u64 = 20_000;
/// Longest text of a caught panic in a note.
const PANIC_TEXT_CHARS: usize = 200;

const _: () =
    assert!(LEAF_VALUES_MAX * (VALUE_BYTES_MAX + LEAF_VALUE_OVERHEAD) <= SEGMENT_BYTES / 4);

/// The way out of damage below the store.
pub(super) const HELP_REBUILD: &str =
    "nothing is lost: the store is made anew from the journal; check the disk";
/// The way out after a failed write.
pub(super) const HELP_STOPPED: &str =
    "a write to the store failed before; close the engine, check the disk, and open it anew";

/// Tells a supervisor that the work goes on.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Reports one more step.
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread of its own and gives up when it makes no progress for `idle_max`, and
/// longer for a large directory: sled reads its whole log at once and reports nothing meanwhile.
///
/// A panic or a hang comes back as damage at `path`. A thread that hangs cannot be ended: it is
/// left behind, and it holds nothing that the store uses again.
pub(super) fn supervised<T: Send + 'static>(
    path: &Path,
    idle_max: Duration,
    work: impl FnOnce(&Progress) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let progress = Progress::default();
    let (sender, receiver) = mpsc::sync_channel(1);
    let seen = progress.clone();
    let at = path.to_owned();
    thread::Builder::new()
        .name("onhand-store".into())
        .spawn(move || {
            // The receiver may have given up; then nobody wants the result.
            let _ = sender.send(contained(&at, || work(&progress)));
        })
        .map_err(|e| Error::io("a thread to open the store cannot be started", path, e))?;
    let size = disk_bytes(path).unwrap_or(0);
    let patience = idle_max.saturating_add(Duration::from_millis(size / SLOW_DISK_BYTES_PER_MS));
    let mut last = 0;
    loop {
        match receiver.recv_timeout(patience) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => {
                let now = seen.0.load(Ordering::Relaxed);
                if now == last {
                    let what = format!("the database made no progress for {patience:?}");
                    return Err(Error::damaged(what, path, HELP_REBUILD));
                }
                last = now;
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::damaged("the database's thread died", path, HELP_REBUILD));
            }
        }
    }
}

/// Runs `work` and turns a panic into damage at `path`.
pub(super) fn contained<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    // Whatever a panic left half-done is dropped: a failed database is not used again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = format!("the database panicked: {}", panic_text(&*panic));
        Err(Error::damaged(what, path, HELP_REBUILD))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    text.chars().take(PANIC_TEXT_CHARS).collect()
}

/// Returns whether an error speaks of the content: then the files are set aside.
///
/// A missing permission or too many open files say nothing about what is stored.
pub(super) fn is_damage(error: &Error) -> bool {
    error.kind() == ErrorKind::Damaged
}

fn from_sled(error: sled::Error, dir: &Path) -> Error {
    match error {
        sled::Error::Io(e) => from_io("the database cannot be read or written", dir, e),
        other => Error::damaged(format!("the database reports: {other}"), dir, HELP_REBUILD),
    }
}

/// Tells an error that comes from the content of the files from one that does not.
fn from_io(what: &str, path: &Path, error: io::Error) -> Error {
    const EIO: i32 = 5;
    let content = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    );
    if content || error.raw_os_error() == Some(EIO) {
        Error::damaged(format!("{what}: {error}"), path, HELP_REBUILD)
    } else {
        Error::io(what, path, error)
    }
}

/// One open sled database with its guards; the only way to reach sled.
pub(super) struct GuardedDb {
    db: Option<sled::Db>,
    /// Our own handle on the log file: only its `sync_all` makes anything durable.
    log: File,
    dir: PathBuf,
    /// Set by the first failed write or sync: it is never tried again on the same handle.
    failed: AtomicBool,
}

impl GuardedDb {
    /// Makes an empty database in a directory that does not exist yet.
    pub(super) fn create(dir: &Path) -> Result<Self, Error> {
        fs::create_dir(dir)
            .map_err(|e| Error::io("the database's directory cannot be made", dir, e))?;
        let made = Self::start(dir)?;
        // sled writes `conf` once and never syncs it.
        for name in ["conf", "db"] {
            sync_file(&dir.join(name))?;
        }
        sync_dir(&dir.join("blobs"))?;
        sync_dir(dir)?;
        Ok(made)
    }

    /// Opens a database that was made before; call it under [`supervised`].
    ///
    /// Opening changes the files: sled cuts off what it cannot read.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        for name in ["conf", "db"] {
            let path = dir.join(name);
            let meta = fs::symlink_metadata(&path)
                .map_err(|e| from_io("a file of the database is missing", &path, e))?;
            if meta.len() == 0 {
                return Err(Error::damaged("the file is empty", &path, HELP_REBUILD));
            }
        }
        remove_half_snapshots(dir)?;
        check_no_blobs(dir)?;
        Self::start(dir)
    }

    fn start(dir: &Path) -> Result<Self, Error> {
        contained(dir, || {
            let mut tries = 0;
            let db = loop {
                match config(dir).open() {
                    Ok(db) => break db,
                    Err(sled::Error::Io(e)) if is_lock(&e) => {
                        tries += 1;
                        if LOCK_TRIES_MAX <= tries {
                            return Err(Error::new(
                                ErrorKind::Locked,
                                "the database is open elsewhere",
                                "close the other process that uses this data directory",
                            )
                            .at(dir));
                        }
                        thread::park_timeout(LOCK_PAUSE);
                    }
                    Err(e) => return Err(from_sled(e, dir)),
                }
            };
            let path = dir.join("db");
            let log = File::open(&path)
                .map_err(|e| Error::io("the database's log cannot be opened", &path, e))?;
            Ok(Self { db: Some(db), log, dir: dir.to_owned(), failed: AtomicBool::new(false) })
        })
    }

    /// Returns the directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts one value and returns the one that it replaced.
    pub(super) fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<Option<IVec>, Error> {
        if VALUE_BYTES_MAX < value.len() {
            let what = format!("a value has {} bytes, above {VALUE_BYTES_MAX}", value.len());
            return Err(Error::new(ErrorKind::Config, what, "split the value").at(&self.dir));
        }
        self.write(|db| db.insert(key, value))
    }

    /// Removes one value and returns it.
    pub(super) fn remove(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        self.write(|db| db.remove(key))
    }

    fn write<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Error> {
        if self.failed.load(Ordering::Acquire) {
            return Err(self.stopped());
        }
        self.call(work).inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        self.call(|db| db.get(key))
    }

    /// Visits all values from a key on, in the order of their keys, until `visit` fails.
    pub(super) fn for_each(
        &self,
        from: &[u8],
        mut visit: impl FnMut(IVec, IVec) -> Result<(), Error>,
    ) -> Result<(), Error> {
        contained(&self.dir, || {
            for pair in self.db()?.range(from..) {
                let (key, value) = pair.map_err(|e| from_sled(e, &self.dir))?;
                visit(key, value)?;
            }
            Ok(())
        })
    }

    /// Hands all that was put to the disk; nothing is durable by that.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.write(|db| db.flush().map(|_| ()))
    }

    /// Makes all that was put durable: sled's flush, then our own sync of its log.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.flush()?;
        let synced = self
            .log
            .sync_all()
            .map_err(|e| Error::io("the database's log cannot be synced", &self.dir, e))
            .and_then(|()| check_no_blobs(&self.dir));
        synced.inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    /// Closes the database and makes its directory durable.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.drop_db()?;
        for entry in list(&self.dir)? {
            if entry.is_file() {
                sync_file(&entry)?;
            }
        }
        check_no_blobs(&self.dir)?;
        sync_dir(&self.dir)
    }

    fn drop_db(&mut self) -> Result<(), Error> {
        let db = self.db.take();
        // sled's last flush happens in its drop and may panic there.
        contained(&self.dir, || {
            drop(db);
            Ok(())
        })
    }

    fn call<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Error> {
        contained(&self.dir, || work(self.db()?).map_err(|e| from_sled(e, &self.dir)))
    }

    fn db(&self) -> Result<&sled::Db, Error> {
        self.db.as_ref().ok_or_else(|| self.stopped())
    }

    fn stopped(&self) -> Error {
        Error::new(ErrorKind::Stopped, "the database takes no more writes", HELP_STOPPED)
            .at(&self.dir)
    }
}

impl Drop for GuardedDb {
    fn drop(&mut self) {
        // Nothing relies on this last flush: all that was acknowledged was synced before.
        let _ = self.drop_db();
    }
}

fn config(dir: &Path) -> sled::Config {
    sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .segment_size(SEGMENT_BYTES)
        // Only we decide when something is durable.
        .flush_every_ms(None)
}

fn is_lock(error: &io::Error) -> bool {
    // sled wraps the lock's error into a text of its own.
    error.to_string().contains("could not acquire lock")
}

/// Fails if sled moved a leaf into a file that it never syncs.
pub(super) fn check_no_blobs(dir: &Path) -> Result<(), Error> {
    let blobs = dir.join("blobs");
    if !blobs.is_dir() {
        return Ok(());
    }
    match list(&blobs)?.first() {
        None => Ok(()),
        Some(blob) => Err(Error::damaged(
            "the database made a blob file, which it never syncs",
            blob,
            HELP_REBUILD,
        )),
    }
}

/// Removes what a crash during sled's own snapshot left behind: it keeps sled from opening.
fn remove_half_snapshots(dir: &Path) -> Result<(), Error> {
    for path in list(dir)? {
        let name = name_of(&path);
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)
                .map_err(|e| Error::io("a half-written snapshot cannot be removed", &path, e))?;
        }
    }
    Ok(())
}

/// Moves a directory out of the way as `<name>.bad-<n>`, keeping the newest [`BAD_DIRS_MAX`].
pub(super) fn set_aside(root: &Path, dir: &Path) -> Result<PathBuf, Error> {
    let mut bad: Vec<(u64, PathBuf)> = list(root)?
        .into_iter()
        .filter_map(|path| {
            let number = name_of(&path).rsplit_once(".bad-")?.1.parse().ok()?;
            Some((number, path))
        })
        .collect();
    bad.sort();
    let number = bad.last().map_or(1, |(last, _)| last.saturating_add(1));
    let target = root.join(format!("{}.bad-{number}", name_of(dir)));
    fs::rename(dir, &target)
        .map_err(|e| Error::io("a damaged directory cannot be set aside", dir, e))?;
    let excess = (bad.len() + 1).saturating_sub(BAD_DIRS_MAX);
    for (_, path) in bad.iter().take(excess) {
        remove_dir(path)?;
    }
    sync_dir(root)?;
    Ok(target)
}

/// Returns the last part of a path as text.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the entries of a directory in the order of their names.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |dir: &Path| -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut paths = read(dir).map_err(|e| Error::io("the directory cannot be listed", dir, e))?;
    paths.sort();
    Ok(paths)
}

/// Removes a directory with all it holds, or a file of that name.
pub(super) fn remove_dir(dir: &Path) -> Result<(), Error> {
    let removed = if dir.is_dir() { fs::remove_dir_all(dir) } else { fs::remove_file(dir) };
    removed.map_err(|e| Error::io("the directory cannot be removed", dir, e))
}

/// Removes a directory of files in small steps: to free a gigabyte at once would make every write
/// to the same file system wait.
pub(super) fn remove_gently(dir: &Path) -> Result<(), Error> {
    for path in list(dir)? {
        let cut = |e| Error::io("the file cannot be cut", &path, e);
        if !path.is_file() {
            continue;
        }
        let file = File::options().write(true).open(&path).map_err(cut)?;
        let mut length = file.metadata().map_err(cut)?.len();
        while REMOVE_STEP_BYTES < length {
            length -= REMOVE_STEP_BYTES;
            file.set_len(length).map_err(cut)?;
            thread::park_timeout(REMOVE_PAUSE);
        }
    }
    remove_dir(dir)
}

/// Syncs one file.
pub(super) fn sync_file(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("the file cannot be synced", path, e))
}

/// Syncs a directory: the names in it are durable then.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    if cfg!(unix) { sync_file(dir) } else { Ok(()) }
}

/// Returns the bytes that a directory takes on disk.
pub(super) fn disk_bytes(dir: &Path) -> Result<u64, Error> {
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for path in list(&dir)? {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => open.push(path),
                Ok(meta) => total += allocated(&meta),
                // Another thread removed it between the listing and this.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("the file cannot be examined", &path, e)),
            }
        }
    }
    Ok(total)
}

#[cfg(unix)]
fn allocated(meta: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta) * 512
}

#[cfg(not(unix))]
fn allocated(meta: &fs::Metadata) -> u64 {
    meta.len()
}
