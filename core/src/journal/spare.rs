//! Segments made ahead of need, and segments that are needed no more.
//!
//! Both jobs touch only files that the writer does not: they may run on another thread.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::buffer::AlignedBuffer;
use super::segment::{removed_path, segment_path, spare_path};
use crate::error::Error;
use crate::storage::{Access, Storage, StorageFile};
use crate::sync::mpsc::Receiver;

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

/// Numbers of the segments that the writer has let go of and whose names are left, ascending.
pub(super) type LetGo = Arc<Mutex<VecDeque<u64>>>;

/// The removal of segments that the writer has let go of.
///
/// All removals of a writer share what is left to do: what one could not remove the next one
/// begins with, so that none leaves a gap behind it.
#[derive(Debug)]
#[must_use = "the segments are removed by run"]
pub(crate) struct Removal {
    pub(super) dir: PathBuf,
    pub(super) segments: LetGo,
}

impl Removal {
    /// Returns whether there is nothing to remove.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.lock().is_empty()
    }

    /// Removes the files at once; see [`run_gently`](Self::run_gently).
    ///
    /// # Errors
    ///
    /// As [`run_gently`](Self::run_gently).
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn run(&self, storage: &dyn Storage) -> Result<usize, Error> {
        self.run_gently(storage, &mut |_| ())
    }

    /// Removes the files, oldest first, so that a cut leaves no gap; may run on any thread, but
    /// not on two at a time.
    ///
    /// A segment loses its name first and its bytes then, little by little, with a rest behind
    /// each: the journal goes on meanwhile. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Io`](crate::ErrorKind::Io); segments that still have their names stay
    /// for the next removal, what has lost it until the journal is opened again.
    fn run_gently(
        &self,
        storage: &dyn Storage,
        rest: &mut dyn FnMut(Duration),
    ) -> Result<usize, Error> {
        let mut count = 0;
        loop {
            let Some(number) = self.segments.lock().front().copied() else { return Ok(count) };
            let path = segment_path(&self.dir, number);
            let removed = removed_path(&self.dir, number);
            let failed = |e| Error::io("journal segment cannot be removed", &path, e);
            self.take_name(storage, &path, &removed).map_err(failed)?;
            self.segments.lock().pop_front();
            shrink(storage, &removed, rest)
                .and_then(|()| storage.remove(&removed))
                .map_err(failed)?;
            count += 1;
        }
    }

    fn take_name(&self, storage: &dyn Storage, from: &Path, to: &Path) -> std::io::Result<()> {
        if let Err(error) = storage.rename(from, to) {
            // A try that failed may have come as far as the new name.
            if storage.exists(from)? {
                return Err(error);
            }
        }
        storage.sync_dir(&self.dir)
    }
}

fn shrink(
    storage: &dyn Storage,
    path: &Path,
    rest: &mut dyn FnMut(Duration),
) -> std::io::Result<()> {
    let file = storage.open(path, Access::Write)?;
    let mut bytes = file.size()?;
    while SHRINK_BYTES < bytes {
        bytes -= SHRINK_BYTES;
        file.set_size(bytes)?;
        rest(SHRINK_REST);
    }
    Ok(())
}

/// What is done for the writer on another thread.
pub(crate) enum Chore {
    /// Make a segment ahead of need.
    Spare(SpareRequest),
    /// Remove what the writer has let go of.
    Remove(Removal),
}

/// A spare segment that was made, or why not, until the writer takes it.
pub(crate) type Made = Mutex<Option<Result<Spare, Error>>>;

/// Does the writer's chores until it has ended and nothing is left to do.
///
/// A spare comes before what is being removed: the writer waits for a segment that it must make
/// itself. Once it has ended nothing else waits for the disk, and what is left goes without rest.
pub(crate) fn do_chores(asked: &Receiver<Chore>, storage: &dyn Storage, made: &Made) {
    let make = |request: SpareRequest| {
        let spare = request.run_gently(storage);
        *made.lock() = Some(spare);
    };
    while let Ok(chore) = asked.recv() {
        match chore {
            Chore::Spare(request) => make(request),
            Chore::Remove(removal) => {
                let mut rest = |span| match asked.recv_timeout(span) {
                    Ok(Chore::Spare(request)) => make(request),
                    // Its segments are among those that are being removed.
                    Ok(Chore::Remove(_)) | Err(_) => (),
                };
                // What is left over goes with the next, or when the journal is opened again.
                drop(removal.run_gently(storage, &mut rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Fault, FaultStorage};

    const DIR: &str = "/journal";

    /// Returns a disk with segments 1 and 2 of so many bytes, and the removal of both.
    fn two_segments(bytes: usize) -> (FaultStorage, Removal) {
        let disk = FaultStorage::new(1, true);
        let dir = PathBuf::from(DIR);
        disk.create_dir_all(&dir).expect("made");
        for number in 1..=2 {
            disk.put_file(&segment_path(&dir, number), vec![1; bytes]);
        }
        let segments = Arc::new(Mutex::new(VecDeque::from([1, 2])));
        (disk, Removal { dir, segments })
    }

    /// Whatever fails while a segment is removed, the next removal goes on with it before it
    /// removes a later one.
    #[test]
    fn a_removal_goes_on_where_one_failed() {
        let (disk, removal) = two_segments(4_096);
        removal.run(&disk).expect("removed");
        for operation in 1..=disk.operation_count() {
            let (disk, removal) = two_segments(4_096);
            disk.fail_at(operation, Fault::Io);
            let failed = removal.run(&disk).is_err();
            let later = segment_path(&removal.dir, 3);
            disk.put_file(&later, vec![1; 4_096]);
            removal.segments.lock().push_back(3);
            removal.run(&disk).expect("removed");
            let names = disk.list(&removal.dir).expect("listed");
            assert!(!names.iter().any(|name| name.contains(".oj")), "{operation}: {names:?}");
            assert!(failed || names.is_empty(), "{operation}: {names:?}");
        }
    }

    /// A spare that is asked for while segments are removed is made before they are all gone.
    #[cfg(not(feature = "shuttle"))]
    #[test]
    fn a_spare_does_not_wait_for_a_removal() {
        let chores = |removal, disk: &FaultStorage| {
            let (ask, asked) = std::sync::mpsc::channel();
            let dir = PathBuf::from(DIR);
            ask.send(Chore::Remove(removal)).expect("sent");
            ask.send(Chore::Spare(SpareRequest { dir, id: 7, segment_bytes: 4_096 }))
                .expect("sent");
            drop(ask);
            let made = Made::default();
            do_chores(&asked, disk, &made);
            made.into_inner().expect("the spare was asked for")
        };
        let (disk, removal) = two_segments(9 << 20);
        chores(removal, &disk).expect("made");
        let names = disk.list(Path::new(DIR)).expect("listed");
        assert_eq!(names, ["00000000000000000007.spare"]);
        let last = disk.operation_count();
        // The machine stops at the end of the last removal: a spare behind it would fail.
        let (disk, removal) = two_segments(9 << 20);
        disk.fail_at(last - 1, Fault::Crash);
        chores(removal, &disk).expect("made");
        assert!(disk.is_stopped());
    }
}
