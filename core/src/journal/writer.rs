//! Appending groups: one write and, where the storage needs it, one sync each.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::buffer::{AlignedBuffer, GroupBuffer};
use super::frame::{
    Chain, FLAG_CLOSED, FLAG_IDLE, FRAME_HEADER_BYTES, FrameHeader, frame_hash, padded,
};
use super::index::FrameIndex;
use super::reader::Tail;
use super::segment::{
    EngineId, SEGMENT_HEADER_BYTES, SegmentHeader, check_segment_bytes, is_leftover_name,
    segment_path,
};
use super::spare::{LetGo, Removal, Spare, SpareRequest, zero};
use crate::error::{Error, ErrorKind};
use crate::storage::{Access, Storage, StorageFile};

/// Where a durable frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePosition {
    /// Epoch of the frame.
    pub(crate) epoch: u64,
    /// Seq of its first record.
    pub(crate) first_seq: u64,
    /// Number of its records; with the seq above they are now durable.
    pub(crate) record_count: u32,
    /// Number of its segment.
    pub(crate) segment: u64,
    /// Offset in the segment.
    pub(crate) offset: u64,
    /// Bytes in the segment, padding included.
    pub(crate) bytes: u32,
}

/// The only writer of a journal.
///
/// After a failed write or sync it writes no more: what reached the disk is unknown, so each
/// later call is refused with [`ErrorKind::Stopped`].
pub(crate) struct JournalWriter {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    /// Size of segments that are made from now on.
    segment_bytes: u32,
    engine: EngineId,
    /// The segment that is appended to; none before the first.
    file: Option<Box<dyn StorageFile>>,
    segment: u64,
    size: u64,
    offset: u64,
    chain: Chain,
    /// Whether the last frame is empty: another mark would say nothing.
    marked: bool,
    /// Number and first epoch of every segment, ascending.
    segments: VecDeque<(u64, u64)>,
    /// Segments that are to be removed.
    let_go: LetGo,
    spare: Option<Spare>,
    /// Whether a request is out.
    spare_asked: bool,
    spare_id: u64,
    index: Arc<FrameIndex>,
    written_bytes: u64,
    poisoned: bool,
}

impl JournalWriter {
    /// Starts the journal of a new engine in a directory that holds no segment.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] for a segment size out of range, [`ErrorKind::Io`] if the
    /// first segment cannot be made.
    pub(crate) fn create(
        storage: Arc<dyn Storage>,
        dir: &Path,
        segment_bytes: u32,
        engine: EngineId,
    ) -> Result<Self, Error> {
        check_segment_bytes(segment_bytes)?;
        let made = |e| Error::io("journal directory cannot be made", dir, e);
        storage.create_dir_all(dir).map_err(made)?;
        if let Some(parent) = dir.parent() {
            storage.sync_dir(parent).map_err(made)?;
        }
        let index = Arc::new(FrameIndex::new(storage.clone(), dir, engine));
        let mut writer = Self {
            storage,
            dir: dir.to_owned(),
            segment_bytes,
            engine,
            file: None,
            segment: 0,
            size: 0,
            offset: 0,
            chain: Chain::ORIGIN,
            marked: false,
            segments: VecDeque::new(),
            let_go: LetGo::default(),
            spare: None,
            spare_asked: false,
            spare_id: 1,
            index,
            written_bytes: 0,
            poisoned: false,
        };
        writer.remove_leftovers()?;
        writer.roll()?;
        Ok(writer)
    }

    /// Goes on where a journal ends; a torn tail is overwritten with zeros first.
    ///
    /// `segment_bytes` is the size of segments from now on; it may differ from the last one's.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] for a segment size out of range, [`ErrorKind::Io`] if the
    /// tail cannot be made durable.
    pub(crate) fn resume(
        storage: Arc<dyn Storage>,
        dir: &Path,
        segment_bytes: u32,
        tail: Tail,
    ) -> Result<Self, Error> {
        check_segment_bytes(segment_bytes)?;
        let path = segment_path(dir, tail.segment);
        let file = storage
            .open(&path, Access::WriteThrough)
            .map_err(|e| Error::io("journal segment cannot be opened for writing", &path, e))?;
        repair(&*storage, &*file, &path, &tail)
            .map_err(|e| Error::io("journal tail cannot be made durable", &path, e))?;
        // A name that a failed sync left behind is made durable before anything relies on it.
        storage
            .sync_dir(dir)
            .map_err(|e| Error::io("journal directory cannot be synced", dir, e))?;
        let writer = Self {
            storage,
            dir: dir.to_owned(),
            segment_bytes,
            engine: tail.engine,
            file: Some(file),
            segment: tail.segment,
            size: u64::from(tail.segment_bytes),
            offset: tail.offset,
            chain: tail.chain,
            marked: tail.marked,
            segments: tail.segments.into(),
            let_go: LetGo::default(),
            spare: None,
            spare_asked: false,
            spare_id: 1,
            index: tail.index,
            written_bytes: 0,
            poisoned: false,
        };
        writer.remove_leftovers()?;
        Ok(writer)
    }

    /// Returns what the next frame carries: its epoch, the next seq, the hash of the last frame.
    pub(crate) fn chain(&self) -> Chain {
        self.chain
    }

    /// Returns the seq of the last durable record; 0 if there is none.
    pub(crate) fn durable_seq(&self) -> u64 {
        self.chain.seq - 1
    }

    /// Returns the index of this journal's frames.
    pub(crate) fn index(&self) -> &Arc<FrameIndex> {
        &self.index
    }

    /// Returns whether a write becomes durable without a sync.
    pub(crate) fn writes_through(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.writes_through())
    }

    /// Returns the bytes of frames appended since this writer was made.
    #[cfg(test)]
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Returns whether a failed write or sync has stopped this writer.
    pub(crate) fn is_stopped(&self) -> bool {
        self.poisoned
    }

    /// Returns the free bytes of the disk that holds the journal.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        self.storage
            .free_bytes(&self.dir)
            .map_err(|e| Error::io("free space of the disk cannot be read", &self.dir, e))
    }

    /// Appends a group, which must not be empty, and returns when it is durable.
    ///
    /// The group keeps its sections; the caller clears it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Io`] if it fails. If [`is_stopped`](Self::is_stopped) then says no,
    /// only a new segment could not be made, such as on a full disk; nothing was written and the
    /// same group may be appended later. Otherwise, and from then on with
    /// [`ErrorKind::Stopped`], nothing is appended any more.
    pub(crate) fn append_group(&mut self, group: &mut GroupBuffer) -> Result<FramePosition, Error> {
        assert!(!group.is_empty(), "a group without records is a mark");
        self.append(group, 0)
    }

    /// Appends an idle mark, unless the last frame is one; returns when it is durable.
    ///
    /// # Errors
    ///
    /// As [`append_group`](Self::append_group).
    pub(crate) fn mark_idle(&mut self) -> Result<(), Error> {
        self.check_running()?;
        if !self.marked {
            self.mark(FLAG_IDLE)?;
        }
        Ok(())
    }

    /// Appends the mark of a clean end and gives up the spare segment.
    ///
    /// # Errors
    ///
    /// As [`append_group`](Self::append_group).
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.mark(FLAG_CLOSED)?;
        if let Some(spare) = self.spare.take() {
            // Best effort: the next start removes every spare that is left.
            let _ = self.storage.remove(&spare.path);
        }
        Ok(())
    }

    fn mark(&mut self, flag: u16) -> Result<FramePosition, Error> {
        let mut group = GroupBuffer::with_capacity(self.segment_bytes, padded(0));
        self.append(&mut group, flag)
    }

    fn append(&mut self, group: &mut GroupBuffer, flags: u16) -> Result<FramePosition, Error> {
        self.check_running()?;
        let payload_bytes = group.len();
        let bytes = padded(payload_bytes);
        if self.size < self.offset + bytes as u64 {
            assert!(
                bytes + SEGMENT_HEADER_BYTES <= self.segment_bytes as usize,
                "a group is made for the segment size"
            );
            self.roll()?;
        }
        let header = FrameHeader {
            flags,
            epoch: self.chain.epoch,
            first_seq: self.chain.seq,
            record_count: group.record_count(),
            section_count: group.section_count(),
            payload_bytes: payload_bytes as u32,
            durable_epoch: self.chain.epoch - 1,
            engine: self.engine,
            previous_hash: self.chain.hash,
        };
        let buffer = group.buffer();
        let header_bytes = header.encode(&buffer.as_slice()[FRAME_HEADER_BYTES..]);
        buffer.as_mut_slice()[..FRAME_HEADER_BYTES].copy_from_slice(&header_bytes);
        let hash = frame_hash(buffer.as_slice());
        let frame_bytes = buffer.len();
        buffer.resize(bytes);
        let written = self.write(self.offset, buffer.as_slice());
        buffer.resize(frame_bytes);
        written?;

        let position = FramePosition {
            epoch: header.epoch,
            first_seq: header.first_seq,
            record_count: header.record_count,
            segment: self.segment,
            offset: self.offset,
            bytes: bytes as u32,
        };
        self.index.note(&self.chain, self.segment, self.offset);
        self.chain = self.chain.after(&header, hash);
        self.offset += bytes as u64;
        self.written_bytes += bytes as u64;
        self.marked = flags != 0;
        Ok(position)
    }

    /// Writes to the current segment and makes it durable; a failure stops the writer.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let file = self.file.as_deref().expect("a writer has a segment");
        write_durably(file, offset, bytes).map_err(|e| {
            self.poisoned = true;
            let path = segment_path(&self.dir, self.segment);
            Error::io(format!("journal cannot be written at offset {offset}"), &path, e)
        })
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::new(
                ErrorKind::Stopped,
                "journal writes no more after a failed write or sync",
                "check the disk, then open the engine anew: it recovers every acknowledged order",
            )
            .at(&segment_path(&self.dir, self.segment)));
        }
        Ok(())
    }

    /// Returns the request for a spare segment if none is there and none was asked for.
    pub(crate) fn wants_spare(&mut self) -> Option<SpareRequest> {
        if self.poisoned || self.spare_asked || self.spare.is_some() {
            return None;
        }
        self.spare_asked = true;
        Some(self.spare_request())
    }

    /// Takes a spare segment that a request has made.
    pub(crate) fn give_spare(&mut self, spare: Spare) {
        self.spare_asked = false;
        self.spare = Some(spare);
    }

    /// Learns that a request has failed; [`wants_spare`](Self::wants_spare) asks again.
    pub(crate) fn spare_failed(&mut self) {
        self.spare_asked = false;
    }

    fn spare_request(&mut self) -> SpareRequest {
        let id = self.spare_id;
        self.spare_id += 1;
        SpareRequest { dir: self.dir.clone(), id, segment_bytes: self.segment_bytes }
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<(), Error> {
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.spare_request().run(&*self.storage)?,
        };
        // From here on names and bytes on disk change: a failure leaves them unknown.
        self.enter(spare).inspect_err(|_| self.poisoned = true)
    }

    fn enter(&mut self, spare: Spare) -> Result<(), Error> {
        let number = self.segment + 1;
        let path = segment_path(&self.dir, number);
        let header =
            SegmentHeader { bytes: spare.bytes, number, engine: self.engine, chain: self.chain };
        let mut page = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        page.resize(SEGMENT_HEADER_BYTES);
        header.encode(page.as_mut_slice());
        // The header is durable before the file has its name: a segment always has a header.
        write_durably(&*spare.file, 0, page.as_slice())
            .and_then(|()| self.storage.rename(&spare.path, &path))
            .and_then(|()| self.storage.sync_dir(&self.dir))
            .map_err(|e| Error::io("journal segment cannot be started", &path, e))?;
        self.file = Some(spare.file);
        self.segment = number;
        self.size = u64::from(spare.bytes);
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.segments.push_back((number, self.chain.epoch));
        self.index.note(&self.chain, number, self.offset);
        Ok(())
    }

    /// Lets go of the segments all of whose frames are older than an epoch; never of the current
    /// one.
    ///
    /// They are no longer read by the index; the [`Removal`] removes their files, and first those
    /// that an earlier one could not.
    pub(crate) fn remove_before(&mut self, epoch: u64) -> Removal {
        while self.segments.get(1).is_some_and(|&(_, next_epoch)| next_epoch <= epoch) {
            let gone = self.segments.pop_front().map(|(number, _)| number);
            self.let_go.lock().extend(gone);
        }
        if let Some(&(first, _)) = self.segments.front() {
            self.index.forget_before(first);
        }
        Removal { dir: self.dir.clone(), segments: self.let_go.clone() }
    }

    /// Removes spare segments of an earlier life, and what is left of removed ones.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let listed = |e| Error::io("journal directory cannot be listed", &self.dir, e);
        for name in self.storage.list(&self.dir).map_err(listed)? {
            if is_leftover_name(&name) {
                let path = self.dir.join(name);
                self.storage
                    .remove(&path)
                    .map_err(|e| Error::io("leftover journal file cannot be removed", &path, e))?;
            }
        }
        Ok(())
    }
}

/// Writes bytes and makes them durable.
fn write_durably(file: &dyn StorageFile, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all_at(offset, bytes)?;
    if file.writes_through() { Ok(()) } else { file.sync() }
}

/// Makes the end of a journal durable: zeros over a torn tail, and the last frame once more.
///
/// A frame whose sync failed may be readable without being durable, and no later sync would say
/// so; writing the same bytes again makes it what the reader took it for.
fn repair(
    storage: &dyn Storage,
    file: &dyn StorageFile,
    path: &Path,
    tail: &Tail,
) -> std::io::Result<()> {
    if let Some((offset, payload_bytes)) = tail.last {
        let mut frame = AlignedBuffer::new(padded(payload_bytes as usize));
        frame.resize(FRAME_HEADER_BYTES + payload_bytes as usize);
        let source = storage.open(path, Access::Read)?;
        let read = source.read_at(offset, frame.as_mut_slice())?;
        if read < frame.len() || tail.chain.hash != frame_hash(frame.as_slice()) {
            return Err(std::io::Error::other("the last frame changed since it was read"));
        }
        frame.resize(padded(payload_bytes as usize));
        write_durably(file, offset, frame.as_slice())?;
    }
    if let Some(torn) = &tail.torn {
        zero(file, torn.offset, torn.offset + torn.bytes)?;
        file.sync()?;
    }
    Ok(())
}
