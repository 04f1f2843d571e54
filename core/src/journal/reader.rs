//! Reading a journal from its start or from a checkpoint, with every check of the format.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{
    Chain, FLAG_CLOSED, FLAG_IDLE, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, Frame, FrameHeader, Hash,
    is_zero,
};
use super::index::FrameIndex;
use super::segment::{
    EngineId, SEGMENT_HEADER_BYTES, SegmentHeader, damaged, list_segments, segment_path,
};
use super::window::{Found, Window};
use crate::error::{Error, ErrorKind};
use crate::storage::Storage;

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At segment 1: every record is wanted.
    Origin,
    /// At the first segment that is left.
    Oldest,
    /// At the frame that goes on from here, such as from where a checkpoint was taken; the frames
    /// before it were read or written before, see [`JournalWriter::chain`] and
    /// [`JournalReader::chain`].
    ///
    /// [`JournalWriter::chain`]: super::writer::JournalWriter::chain
    At(Chain),
}

/// The frame that was being written when the machine stopped; nothing in it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub file: PathBuf,
    /// Offset in bytes at which the frame starts.
    pub offset: u64,
    /// Bytes from there to the last one that is not 0.
    pub bytes: u64,
}

/// Where a journal ends, and all that a writer needs to go on.
pub(crate) struct Tail {
    /// The engine that wrote the journal.
    pub(crate) engine: EngineId,
    /// Number of the segment to append to.
    pub(crate) segment: u64,
    /// Size of that segment in bytes.
    pub(crate) segment_bytes: u32,
    /// Offset to append at; may be the segment's end.
    pub(crate) offset: u64,
    /// What the next frame must carry: its epoch less 1 is the last one, its seq less 1 the last
    /// record's.
    pub(crate) chain: Chain,
    /// Whether the last frame says that the engine closed.
    pub(crate) clean: bool,
    /// Whether the last frame is a mark: closed or idle.
    pub(crate) marked: bool,
    /// What was found behind the last frame, if it was not the end.
    pub(crate) torn: Option<TornTail>,
    /// Offset and payload bytes of the last frame if it lies in the segment to append to.
    pub(super) last: Option<(u64, u32)>,
    /// Number and first epoch of every segment, ascending.
    pub(super) segments: Vec<(u64, u64)>,
    /// Finds frames by seq.
    pub(crate) index: Arc<FrameIndex>,
}

/// Reads the frames of a journal in order; each is checked by itself and against the chain.
pub(crate) struct JournalReader {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    segments: Vec<SegmentHeader>,
    /// Index of the current segment, and the offset of the next frame in it.
    at: usize,
    offset: u64,
    window: Window,
    chain: Chain,
    /// Frames before this chain are read and checked, but not returned.
    wanted: Chain,
    last: Option<(u64, u32)>,
    last_flags: u16,
    /// Offset of the first byte behind the last frame that should be 0 and is not.
    soiled: Option<u64>,
    /// The end, once it was found; torn bytes from the offset on.
    end: Option<u64>,
    index: Arc<FrameIndex>,
}

impl JournalReader {
    /// Opens the journal in a directory; `None` if it holds no segment.
    ///
    /// Every segment's header is checked at once.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Damaged`] with file and offset if a segment is missing or altered or
    /// the start is not there, [`ErrorKind::Mismatch`] for a format of another version.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        start: Start,
    ) -> Result<Option<Self>, Error> {
        let numbers = list_segments(&*storage, dir)?;
        let mut segments = Vec::with_capacity(numbers.len());
        for number in numbers {
            segments.push(SegmentHeader::load(&*storage, dir, number)?);
        }
        check_sequence(dir, &segments)?;
        let Some(first) = segments.first() else { return Ok(None) };
        let (at, wanted) = match start {
            Start::Oldest => (0, first.chain),
            Start::Origin if first.number == 1 => (0, first.chain),
            Start::Origin => return Err(beginning_is_gone(dir, first)),
            Start::At(wanted) => {
                let behind = segments.partition_point(|s| s.chain.epoch <= wanted.epoch);
                let Some(at) = behind.checked_sub(1) else {
                    return Err(beginning_is_gone(dir, first));
                };
                (at, wanted)
            }
        };
        let index = Arc::new(FrameIndex::new(storage.clone(), dir, first.engine));
        for segment in &segments {
            index.note(&segment.chain, segment.number, SEGMENT_HEADER_BYTES as u64);
        }
        let reader = Self {
            window: Window::open(&*storage, dir, &segments[at], Vec::new())?,
            storage,
            dir: dir.to_owned(),
            at,
            offset: SEGMENT_HEADER_BYTES as u64,
            chain: segments[at].chain,
            wanted,
            last: None,
            last_flags: 0,
            soiled: None,
            end: None,
            index,
            segments,
        };
        reader.check_start()?;
        Ok(Some(reader))
    }

    /// Returns the engine that wrote the journal.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> EngineId {
        self.segments[0].engine
    }

    /// Returns what the frame behind the one that was returned last carries.
    #[cfg(test)]
    pub(crate) fn chain(&self) -> Chain {
        self.chain
    }

    /// Returns the next frame, or `None` at the end of the journal.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Damaged`] with file and offset; reading on is then pointless.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        loop {
            let before = self.chain.epoch;
            let Some((header, offset)) = self.step()? else { return Ok(None) };
            if before < self.wanted.epoch {
                self.check_start()?;
                continue;
            }
            let bytes = FRAME_HEADER_BYTES + header.payload_bytes as usize;
            return Ok(Some(Frame {
                header,
                segment: self.window.number(),
                offset,
                payload: &self.window.loaded(offset, bytes)[FRAME_HEADER_BYTES..],
                path: self.window.path(),
            }));
        }
    }

    /// Returns where the journal ends; reads what is left of it first.
    pub(crate) fn finish(mut self) -> Result<Tail, Error> {
        while self.end.is_none() {
            self.next_frame()?;
        }
        let written_end = self.end.unwrap_or(self.offset);
        let segment = self.segments[self.at];
        let torn = (self.offset < written_end).then(|| TornTail {
            file: segment_path(&self.dir, segment.number),
            offset: self.offset,
            bytes: written_end - self.offset,
        });
        Ok(Tail {
            engine: segment.engine,
            segment: segment.number,
            segment_bytes: segment.bytes,
            offset: self.offset,
            chain: self.chain,
            clean: self.last_flags & FLAG_CLOSED != 0 && torn.is_none(),
            marked: self.last_flags & (FLAG_CLOSED | FLAG_IDLE) != 0,
            torn,
            last: self.last,
            segments: self.segments.iter().map(|s| (s.number, s.chain.epoch)).collect(),
            index: self.index,
        })
    }

    /// Reads one frame, wanted or not, and returns its header and offset.
    fn step(&mut self) -> Result<Option<(FrameHeader, u64)>, Error> {
        loop {
            if self.end.is_some() {
                return Ok(None);
            }
            let found = self.window.inspect(self.offset, &self.chain)?;
            match found {
                Found::Next(header, hash) => {
                    self.check_padding()?;
                    return self.accept(header, hash).map(Some);
                }
                Found::Other(other, flaw) => {
                    return Err(damaged(
                        format!(
                            "journal frame at offset {} has {flaw}, and is a valid frame of epoch \
                             {}",
                            self.offset, other.epoch
                        ),
                        self.window.path(),
                    ));
                }
                Found::End | Found::Zeros | Found::Old | Found::Broken(_) => {
                    if self.at + 1 < self.segments.len() {
                        self.enter_next_segment(found)?;
                    } else {
                        self.find_end(found)?;
                    }
                }
            }
        }
    }

    fn accept(&mut self, header: FrameHeader, hash: Hash) -> Result<(FrameHeader, u64), Error> {
        let offset = self.offset;
        let bytes = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        if header.flags != 0 && (header.record_count != 0 || header.payload_bytes != 0) {
            return Err(damaged(
                format!("journal frame at offset {offset} is marked empty and is not"),
                self.window.path(),
            ));
        }
        let padding = self.window.bytes(offset, header.padded_bytes())?;
        let soiled = !is_zero(&padding[bytes..]);
        self.soiled = soiled.then_some(offset + bytes as u64);
        self.index.note(&self.chain, self.window.number(), offset);
        self.chain = self.chain.after(&header, hash);
        self.last = Some((offset, header.payload_bytes));
        self.last_flags = header.flags;
        self.offset += header.padded_bytes() as u64;
        Ok((header, offset))
    }

    /// Checks that the padding behind the last frame is zero, now that another frame follows.
    ///
    /// Behind the very last frame it may not be: a cut can leave the frame whole and the old
    /// bytes of a recycled segment in the padding.
    fn check_padding(&self) -> Result<(), Error> {
        match self.soiled {
            None => Ok(()),
            Some(offset) => Err(damaged(
                format!("journal padding at offset {offset} is not 0"),
                self.window.path(),
            )),
        }
    }

    fn enter_next_segment(&mut self, found: Found) -> Result<(), Error> {
        let next = self.segments[self.at + 1];
        if next.chain != self.chain {
            let (offset, expected) = (self.offset, self.chain.epoch);
            let what = match found {
                Found::Broken(flaw) => format!("has {flaw}"),
                Found::Old => "is of an epoch that has passed".to_owned(),
                Found::End | Found::Zeros | Found::Next(..) | Found::Other(..) => {
                    "is missing".to_owned()
                }
            };
            return Err(damaged(
                format!(
                    "journal frame of epoch {expected} at offset {offset} {what}, and segment {} \
                     does not go on from there: it starts at epoch {}",
                    next.number, next.chain.epoch
                ),
                self.window.path(),
            ));
        }
        self.check_padding()?;
        self.at += 1;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.last = None;
        let buffer = self.window.take_buffer();
        self.window = Window::open(&*self.storage, &self.dir, &next, buffer)?;
        Ok(())
    }

    /// Decides at the first place without a valid frame, in the last segment, whether the
    /// journal ends here, with a torn tail or without, or is damaged.
    fn find_end(&mut self, found: Found) -> Result<(), Error> {
        let (newer, written_end) = match found {
            Found::End => (None, self.offset),
            _ => self.window.scan(self.offset, &self.chain)?,
        };
        if let Some((offset, epoch)) = newer {
            let flaw = match found {
                Found::Broken(flaw) => flaw.to_string(),
                _ => "no frame".to_owned(),
            };
            return Err(damaged(
                format!(
                    "journal frame of epoch {} at offset {} has {flaw}, and a valid frame of \
                     epoch {epoch} follows at offset {offset}",
                    self.chain.epoch, self.offset
                ),
                self.window.path(),
            ));
        }
        if self.chain.epoch < self.wanted.epoch {
            return Err(damaged(
                format!(
                    "journal ends at epoch {}, offset {}, but a checkpoint covers epoch {}",
                    self.chain.epoch - 1,
                    self.offset,
                    self.wanted.epoch - 1
                ),
                self.window.path(),
            ));
        }
        self.end = Some(match found {
            Found::Broken(_) => written_end,
            _ => self.offset,
        });
        Ok(())
    }

    /// Checks the chain against the start that was asked for, once it is reached.
    fn check_start(&self) -> Result<(), Error> {
        if self.chain.epoch != self.wanted.epoch || self.chain == self.wanted {
            return Ok(());
        }
        Err(damaged(
            format!(
                "journal at offset {} goes on from epoch {}, but with another seq or hash than \
                 the checkpoint",
                self.offset,
                self.chain.epoch - 1
            ),
            self.window.path(),
        ))
    }
}

/// Checks that headers are those of one journal; that each goes on from the frames of the one
/// before is checked when these are read.
fn check_sequence(dir: &Path, segments: &[SegmentHeader]) -> Result<(), Error> {
    for pair in segments.windows(2) {
        let path = segment_path(dir, pair[1].number);
        if pair[0].engine != pair[1].engine {
            return Err(damaged(
                format!(
                    "journal segment is of engine {} (offset 24), the one before of engine {}",
                    pair[1].engine, pair[0].engine
                ),
                &path,
            ));
        }
        let (before, after) = (pair[0].chain, pair[1].chain);
        if after.epoch < before.epoch || after.seq < before.seq {
            return Err(damaged(
                format!(
                    "journal segment starts at epoch {}, seq {} (offset 40), before the segment \
                     that it follows",
                    after.epoch, after.seq
                ),
                &path,
            ));
        }
    }
    Ok(())
}

fn beginning_is_gone(dir: &Path, first: &SegmentHeader) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!(
            "journal starts at segment {}, epoch {}, later than what is needed",
            first.number, first.chain.epoch
        ),
        "restore the missing segments from a backup, or open with a checkpoint that covers them",
    )
    .at(&segment_path(dir, first.number))
}

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(FRAME_ALIGN_BYTES));
