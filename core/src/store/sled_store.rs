//! The store's directory: its lock, and what lives in it.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::{self, ArchiveRange};
use super::generation::SledCheckpoints;
use super::{OpenedArchive, guard};
use crate::{Error, ErrorKind};

/// How the store watches over sled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreOptions {
    /// A database that makes no progress for this long while it is opened or read is set aside.
    pub(crate) idle_max: Duration,
    /// Seed of the archive filter's hash, so that keys cannot be chosen to collide.
    pub(crate) filter_seed: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { idle_max: Duration::from_mins(1), filter_seed: 0 }
    }
}

/// The directory that holds checkpoints and archive; one process at a time.
pub(crate) struct SledStore {
    root: PathBuf,
    options: StoreOptions,
    lock: Arc<StoreLock>,
}

/// Held as long as anything of the store is open.
pub(super) struct StoreLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl SledStore {
    /// Opens or makes the directory and takes its lock.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] if it is open elsewhere, also in the same process.
    pub(crate) fn open(root: &Path, options: StoreOptions) -> Result<Self, Error> {
        fs::create_dir_all(root)
            .map_err(|e| Error::io("the store's directory cannot be made", root, e))?;
        let lock = Arc::new(take_lock(&root.join("lock"))?);
        guard::sync_dir(root)?;
        Ok(Self { root: root.to_owned(), options, lock })
    }

    /// Returns the checkpoints.
    pub(crate) fn checkpoints(&self) -> SledCheckpoints {
        SledCheckpoints::new(&self.root, self.options, Arc::clone(&self.lock))
    }

    /// Opens the archive, or an empty one if none is whole and agrees with `expected`.
    ///
    /// # Errors
    ///
    /// Only on input and output errors that say nothing about the content.
    #[cfg(test)]
    pub(crate) fn open_archive(&self, expected: ArchiveRange) -> Result<OpenedArchive, Error> {
        self.open_archive_with(|| Ok(expected))
    }

    /// Opens the archive, or an empty one if none is whole and agrees with what is expected, which
    /// is asked for only when an archive was read.
    ///
    /// # Errors
    ///
    /// Only on input and output errors that say nothing about the content, and on those of
    /// `expected`.
    pub(crate) fn open_archive_with(
        &self,
        expected: impl FnMut() -> Result<ArchiveRange, Error>,
    ) -> Result<OpenedArchive, Error> {
        let lock = Arc::clone(&self.lock);
        Ok(archive::open(&self.root, self.options, lock, expected)?.share())
    }

    /// Opens the archive with its hooks for tests.
    #[cfg(test)]
    pub(super) fn open_sled_archive(&self, expected: ArchiveRange) -> archive::SledArchive {
        let lock = Arc::clone(&self.lock);
        archive::open(&self.root, self.options, lock, || Ok(expected)).expect("it opens").archive
    }

    /// Removes all checkpoints, the archive, and what was set aside; they are made anew from the
    /// journal.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        for path in guard::list(&self.root)? {
            let name = guard::name_of(&path);
            if name.starts_with("gen-") || name.starts_with("archive-") {
                guard::remove_dir(&path)?;
            }
        }
        guard::sync_dir(&self.root)
    }
}

fn take_lock(path: &Path) -> Result<StoreLock, Error> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| Error::io("the store's lock file cannot be opened", path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(
                ErrorKind::Locked,
                "the store is open in another process or engine",
                "close the other one, or use another data directory",
            )
            .at(path));
        }
        Err(TryLockError::Error(e)) => {
            return Err(Error::io("the store's lock cannot be taken", path, e));
        }
    }
    // Who holds it is for the reader of the file only; the lock itself is the operating system's.
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|e| Error::io("the store's lock file cannot be written", path, e))?;
    Ok(StoreLock(file))
}
