//! One process at a time: the lock of a data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Name of the lock file in a data directory.
const NAME: &str = "LOCK";

/// The lock of a data directory, held until it is dropped; the operating system drops it when
/// the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirLock(File);

impl DirLock {
    /// Takes the lock of a directory that exists.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Locked`] with the holder's process id if another process holds it.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(NAME);
        let failed = |e| Error::io("lock file can't be opened", &path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Best effort: the holder's name is a help, not a fact that matters.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let what = format!("data directory is in use by process {holder}");
                let help = "stop that process, or use another data directory";
                return Err(Error::new(ErrorKind::Locked, what, help).at(&path));
            }
            Err(std::fs::TryLockError::Error(e)) => return Err(failed(e)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(file))
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of one name.
        let _ = self.0.unlock();
    }
}
