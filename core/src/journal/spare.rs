//! Segments made ahead of need, and segments that are needed no more.
//!
//! Both jobs touch only files that the writer does not: they may run on another thread.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::buffer::AlignedBuffer;
use super::segment::{removed_path, segment_path, spare_path};
use crate::error::Error;
use crate::storage::{Access, Storage, StorageFile};

/// Bytes that one write of zeros has at most.
const FILL_BYTES: usize = 1 << 20;
/// The same where the journal goes on meanwhile: its writes wait behind one at most.
const GENTLE_BYTES: usize = 128 << 10;
/// Bytes that a file which is removed loses at once, and the rest behind each step: a file system
/// that tells its device what is free makes every write wait some 25 ms for a whole segment.
const SHRINK_BYTES: u64 = 1 << 20;
const SHRINK_REST: Duration = Duration::from_millis(5);

/// A segment that should be made ahead of need.
#[derive(Debug)]
pub(crate) struct SpareRequest {
    pub(super) dir: PathBuf,
    pub(super) id: u64,
    pub(super) segment_bytes: u32,
}

/// A file full of zeros that becomes the next segment.
pub(crate) struct Spare {
    pub(super) path: PathBuf,
    pub(super) bytes: u32,
    pub(super) file: Box<dyn StorageFile>,
}

impl SpareRequest {
    /// Makes the file; may run on any thread.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Io`](crate::ErrorKind::Io), such as a full disk; the journal itself is
    /// untouched, what was made is removed, and the request may be made again later.
    pub(crate) fn run(&self, storage: &dyn Storage) -> Result<Spare, Error> {
        self.make(storage, false)
    }

    /// Makes the file while the journal goes on: in small writes, with a rest behind each for as
    /// long as it took.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn run_gently(&self, storage: &dyn Storage) -> Result<Spare, Error> {
        self.make(storage, true)
    }

    fn make(&self, storage: &dyn Storage, gently: bool) -> Result<Spare, Error> {
        let path = spare_path(&self.dir, self.id);
        let made = self.fill(storage, &path, gently);
        if made.is_err() {
            // Best effort: the next start removes every spare that is left.
            let _ = storage.remove(&path);
        }
        made
    }

    fn fill(&self, storage: &dyn Storage, path: &Path, gently: bool) -> Result<Spare, Error> {
        let failed = |e| Error::io("spare journal segment cannot be made", path, e);
        let file = storage.create(path, Access::WriteThrough).map_err(failed)?;
        let bytes = u64::from(self.segment_bytes);
        if gently { zero_gently(&*file, bytes) } else { zero(&*file, 0, bytes) }.map_err(failed)?;
        file.sync().map_err(failed)?;
        Ok(Spare { path: path.to_owned(), bytes: self.segment_bytes, file })
    }
}

/// Writes zeros to a part of a file that starts and ends at multiples of the alignment.
pub(super) fn zero(file: &dyn StorageFile, from: u64, to: u64) -> std::io::Result<()> {
    let size = (to - from).min(FILL_BYTES as u64) as usize;
    let mut zeros = AlignedBuffer::new(size);
    zeros.resize(size);
    let mut at = from;
    while at < to {
        let bytes = (to - at).min(size as u64);
        file.write_all_at(at, &zeros.as_slice()[..bytes as usize])?;
        at += bytes;
    }
    Ok(())
}

fn zero_gently(file: &dyn StorageFile, bytes: u64) -> std::io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let start = Instant::now();
        let end = bytes.min(at + GENTLE_BYTES as u64);
        zero(file, at, end)?;
        at = end;
        std::thread::park_timeout(start.elapsed());
    }
    Ok(())
}

/// Segments that the writer has let go of.
#[derive(Debug)]
#[must_use = "the segments are removed by run"]
pub(crate) struct Removal {
    pub(super) dir: PathBuf,
    /// Numbers, ascending.
    pub(super) segments: Vec<u64>,
}

impl Removal {
    /// Returns whether there is nothing to remove.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Removes the files, oldest first, so that a cut leaves no gap; may run on any thread.
    ///
    /// A segment loses its name first and its bytes then, little by little: the journal goes on
    /// meanwhile. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Io`](crate::ErrorKind::Io); what is left stays until the journal is
    /// opened again.
    pub(crate) fn run(&self, storage: &dyn Storage) -> Result<usize, Error> {
        for &number in &self.segments {
            let path = segment_path(&self.dir, number);
            let removed = removed_path(&self.dir, number);
            storage
                .rename(&path, &removed)
                .and_then(|()| storage.sync_dir(&self.dir))
                .and_then(|()| shrink(storage, &removed))
                .and_then(|()| storage.remove(&removed))
                .map_err(|e| Error::io("journal segment cannot be removed", &path, e))?;
        }
        Ok(self.segments.len())
    }
}

fn shrink(storage: &dyn Storage, path: &Path) -> std::io::Result<()> {
    let file = storage.open(path, Access::Write)?;
    let mut bytes = file.size()?;
    while SHRINK_BYTES < bytes {
        bytes -= SHRINK_BYTES;
        file.set_size(bytes)?;
        std::thread::park_timeout(SHRINK_REST);
    }
    Ok(())
}
