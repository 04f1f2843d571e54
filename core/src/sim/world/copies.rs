//! What copies of the disk tell: the same state again, and damage that is found.

use std::path::Path;
use std::sync::Arc;

use super::{DIR, Stepped, World, builder_on, same};
use crate::engine::Engine;
use crate::error::ErrorKind;
use crate::journal::reader::{JournalReader, Start};
use crate::open::Assembled;
use crate::recovery::{OpenReport, journal_dir};
use crate::shard::core::Archived;
use crate::sim::FaultStorage;
use crate::sim::check::describe;
use crate::state::State;
use crate::store::MemoryStore;

impl World<'_> {
    /// At rest, a copy of disk and store gives the same state again: from the last checkpoint and
    /// the journal behind it, and from the journal alone; the archive says the same too.
    pub(super) fn reopened_is_equal(&mut self) -> Stepped {
        let live = describe(&self.states());
        let mut stores = vec![self.store.fork()];
        if self.keeps_journal {
            stores.push(MemoryStore::new());
        }
        for store in stores {
            let fork = self.storage.fork(self.random.bits());
            let again = self.open_copy(&fork, &store);
            let (again, _) = again.map_err(|e| format!("copy does not open: {e}"))?;
            let states: Vec<&State> = again.workers.iter().map(|w| &w.core.state).collect();
            same(&live, &describe(&states))?;
            self.archive_is_equal(&again.engine)?;
        }
        Ok(())
    }

    /// What has left memory is the same in an engine that was opened anew.
    fn archive_is_equal(&self, again: &Engine) -> Stepped {
        let states = self.states();
        let ours = &self.parts().engine.shelf;
        for key in self.sent.keys().filter(|key| ours.may_hold(**key)) {
            if states.iter().any(|state| state.lookup(*key).is_some()) {
                continue;
            }
            let ours = self.archived_as(&self.parts().engine, *key);
            let theirs = self.archived_as(again, *key);
            if ours != theirs {
                return Err(format!("archive of {key:032x}: {ours:?}, opened anew {theirs:?}"));
            }
        }
        Ok(())
    }

    fn open_copy(
        &self,
        disk: &FaultStorage,
        store: &MemoryStore,
    ) -> Result<(Assembled, OpenReport), crate::Error> {
        builder_on(disk, store).clock(self.clock.clone()).segment_bytes(256 << 10).assemble()
    }

    /// A flipped bit in a frame is refused, or reported if it is in the last one.
    pub(super) fn flipped_bits_are_found(&mut self) -> Stepped {
        let journal = journal_dir(Path::new(DIR));
        let fork = self.storage.fork(self.random.bits());
        let mut frames = Vec::new();
        let reader = JournalReader::open(Arc::new(fork.clone()), &journal, Start::Origin);
        let mut reader = reader.map_err(|e| e.to_string())?.ok_or("journal is gone")?;
        while let Some(frame) = reader.next_frame().map_err(|e| e.to_string())? {
            let bytes = crate::journal::frame::FRAME_HEADER_BYTES + frame.payload.len();
            frames.push((frame.path.to_owned(), frame.offset, bytes as u64));
        }
        for _ in 0..3 {
            let at = self.random.below(frames.len() as u64) as usize;
            let (path, offset, bytes) = &frames[at];
            let place = offset + self.random.below(*bytes);
            let disk = fork.fork(self.random.bits());
            disk.flip(path, place, 1 << self.random.below(8));
            let last = at + 1 == frames.len();
            match self.open_copy(&disk, &MemoryStore::new()) {
                Err(error) if error.kind() == ErrorKind::Damaged => (),
                Ok((_, report)) if last && report.torn_tail.is_some() => (),
                Err(error) => return Err(format!("flipped byte {place}: {error}")),
                Ok(_) => {
                    let count = frames.len();
                    return Err(format!("flipped byte {place} of frame {at} of {count}: unseen"));
                }
            }
        }
        Ok(())
    }
}
