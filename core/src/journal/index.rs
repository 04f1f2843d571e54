//! Finding frames by seq, for event feeds and explanations, while the writer goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::frame::{Chain, FRAME_HEADER_BYTES, Frame, FrameHeader};
use super::segment::{EngineId, SEGMENT_HEADER_BYTES, SegmentHeader, damaged, segment_path};
use super::window::{Found, Window};
use crate::error::{Error, ErrorKind};
use crate::storage::Storage;

/// Most entries of an index; when it is full each second one is dropped.
const INDEX_ENTRIES_MAX: usize = 65_536;
/// Bytes of journal between two entries at first.
const SPAN_BYTES: u64 = 256 << 10;
/// Bytes that one read asks for; feeds want little at a time.
const READ_BYTES: usize = 512 << 10;

/// A frame that the index knows.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What the frame carries.
    chain: Chain,
    segment: u64,
    offset: u64,
}

struct Entries {
    list: Vec<Entry>,
    span_bytes: u64,
}

/// Places of some frames, by seq; shared between the writer and any number of readers.
pub(crate) struct FrameIndex {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    engine: EngineId,
    entries: RwLock<Entries>,
}

impl FrameIndex {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: &Path, engine: EngineId) -> Self {
        let entries = RwLock::new(Entries { list: Vec::new(), span_bytes: SPAN_BYTES });
        Self { storage, dir: dir.to_owned(), engine, entries }
    }

    /// Learns where a frame starts; keeps it if it is far enough from the one before.
    pub(super) fn note(&self, chain: &Chain, segment: u64, offset: u64) {
        let entry = Entry { chain: *chain, segment, offset };
        // Most frames are close to the last entry; readers are then not disturbed.
        {
            let entries = self.entries.read();
            if let Some(at) = position(&entries.list, segment, offset).checked_sub(1) {
                let before = &entries.list[at];
                if before.segment == segment && offset - before.offset < entries.span_bytes {
                    return;
                }
            }
        }
        let mut entries = self.entries.write();
        let at = position(&entries.list, segment, offset);
        entries.list.insert(at, entry);
        if INDEX_ENTRIES_MAX <= entries.list.len() {
            let mut count = 0;
            entries.list.retain(|_| {
                count += 1;
                count % 2 == 1
            });
            entries.span_bytes *= 2;
        }
    }

    /// Forgets frames in segments before this one.
    pub(super) fn forget_before(&self, segment: u64) {
        let mut entries = self.entries.write();
        let kept = entries.list.partition_point(|entry| entry.segment < segment);
        entries.list.drain(..kept);
    }

    /// Returns the seq of the first record that is left; `None` if nothing was written.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.entries.read().list.first().map(|entry| entry.chain.seq)
    }

    /// Returns a reader of the frames that hold the records from `seq` to `durable_seq`.
    ///
    /// The first frame may start with records before `seq`, the last one may end behind
    /// `durable_seq` only if the caller passes a seq that is not the end of a durable frame.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Mismatch`] if `seq` lies before the first record that is left.
    pub(crate) fn read_frames_from(
        self: &Arc<Self>,
        seq: u64,
        durable_seq: u64,
    ) -> Result<FrameReader, Error> {
        let entry = {
            let entries = self.entries.read();
            // Of frames with the same seq all but the last are empty.
            let behind = entries.list.partition_point(|entry| entry.chain.seq <= seq);
            let Some(at) = behind.checked_sub(1) else {
                let first = entries.list.first().map_or(1, |entry| entry.chain.seq);
                return Err(gone(seq, first));
            };
            entries.list[at]
        };
        Ok(FrameReader {
            index: self.clone(),
            window: None,
            segment: entry.segment,
            offset: entry.offset,
            chain: entry.chain,
            seq,
            durable_seq,
            left: 0,
        })
    }
}

fn gone(seq: u64, first: u64) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!("seq {seq} is no longer in the journal, the first left is {first}"),
        "start at the first seq that is left, or from a snapshot",
    )
}

fn position(list: &[Entry], segment: u64, offset: u64) -> usize {
    list.partition_point(|entry| (entry.segment, entry.offset) <= (segment, offset))
}

/// Reads durable frames from the middle of a journal; see [`FrameIndex::read_frames_from`].
pub(crate) struct FrameReader {
    index: Arc<FrameIndex>,
    window: Option<Window>,
    segment: u64,
    offset: u64,
    chain: Chain,
    seq: u64,
    durable_seq: u64,
    /// Offset at which the segment before was left; 0 in the first one.
    left: u64,
}

impl FrameReader {
    /// Returns the next frame with records from the asked seq on, or `None` behind the durable
    /// seq.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Damaged`] with file and offset, or [`ErrorKind::Mismatch`] if the
    /// segment was removed meanwhile.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let found = self.find_next().map_err(|error| {
            // A segment that is removed loses its bytes while it is read here.
            let first_left = self.index.first_seq().unwrap_or(1);
            if self.chain.seq < first_left { gone(self.chain.seq, first_left) } else { error }
        });
        let Some((header, offset)) = found? else { return Ok(None) };
        let window = self.window.as_ref().expect("the frame was found in it");
        let bytes = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        Ok(Some(Frame {
            header,
            segment: window.number(),
            offset,
            payload: &window.loaded(offset, bytes)[FRAME_HEADER_BYTES..],
            path: window.path(),
        }))
    }

    fn find_next(&mut self) -> Result<Option<(FrameHeader, u64)>, Error> {
        loop {
            if self.durable_seq < self.chain.seq || self.durable_seq < self.seq {
                return Ok(None);
            }
            let mut window = match self.window.take() {
                Some(window) => window,
                None => self.open_segment()?,
            };
            if let Found::Next(header, hash) = window.inspect(self.offset, &self.chain)? {
                let offset = self.offset;
                self.chain = self.chain.after(&header, hash);
                self.offset += header.padded_bytes() as u64;
                self.window = Some(window);
                if header.record_count != 0 && self.seq < self.chain.seq {
                    return Ok(Some((header, offset)));
                }
            } else {
                // A durable frame must follow: at the start of the next segment, or the journal
                // is damaged, which opening that segment tells.
                self.left = self.offset;
                self.segment += 1;
                self.offset = SEGMENT_HEADER_BYTES as u64;
            }
        }
    }

    fn open_segment(&self) -> Result<Window, Error> {
        let index = &self.index;
        let path = segment_path(&index.dir, self.segment);
        let lost = |segment: u64, offset: u64| {
            damaged(
                format!(
                    "journal frame of epoch {} is not at offset {offset}, and the next segment \
                     does not start with it",
                    self.chain.epoch
                ),
                &segment_path(&index.dir, segment),
            )
        };
        let there = index
            .storage
            .exists(&path)
            .map_err(|e| Error::io("journal segment cannot be looked up", &path, e))?;
        if !there && self.left != 0 {
            return Err(lost(self.segment - 1, self.left));
        }
        let header = SegmentHeader::load(&*index.storage, &index.dir, self.segment)?;
        let at_start = self.offset == SEGMENT_HEADER_BYTES as u64;
        if header.engine != index.engine || (at_start && header.chain != self.chain) {
            return Err(match self.left {
                0 => lost(self.segment, self.offset),
                left => lost(self.segment - 1, left),
            });
        }
        let mut window = Window::open(&*index.storage, &index.dir, &header, Vec::new())?;
        window.set_read_bytes(READ_BYTES);
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::FaultStorage;

    /// However long the journal grows, the index stays within its bound and keeps the first
    /// frame.
    #[test]
    fn the_index_is_bounded() {
        let storage = Arc::new(FaultStorage::new(1, true));
        let index = FrameIndex::new(storage, Path::new("/d"), EngineId([0; 16]));
        let count = 4 * INDEX_ENTRIES_MAX as u64;
        for number in 0..count {
            let chain = Chain { epoch: number + 1, seq: number + 1, hash: [0; 32] };
            index.note(&chain, 1, 4_096 + number * SPAN_BYTES);
        }
        let entries = index.entries.read();
        let len = entries.list.len();
        assert!((INDEX_ENTRIES_MAX / 4..INDEX_ENTRIES_MAX).contains(&len), "{len}");
        assert!(entries.list.is_sorted_by_key(|entry| entry.offset));
        assert_eq!(entries.list[0].chain.seq, 1);
        assert!(count - INDEX_ENTRIES_MAX as u64 <= entries.list[len - 1].chain.seq);
        drop(entries);
        assert_eq!(index.first_seq(), Some(1));
    }
}
