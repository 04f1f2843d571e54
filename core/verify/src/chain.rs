//! The chain of frames over all segments, and the rule for where a journal ends.

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::all_zero;
use crate::failure::{Broken, Failure, FailureKind};
use crate::frame::{self, CLOSED, Chain, Frame, HEADER, Probe};
use crate::segment::{
    BLOCK, Header, HeaderBlock, SegmentFile, SegmentReader, file_failure, unreadable,
};

/// An unfinished end of a journal: nothing in it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// File in which the journal ends.
    pub file: PathBuf,
    /// Offset of the first byte that is not part of the journal.
    pub offset: u64,
    /// Seq of the first record that was lost, if there was any.
    pub next_seq: u64,
    /// Why the bytes there are no frame.
    pub reason: String,
}

/// How a journal ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) torn_tail: Option<TornTail>,
    /// Whether the last frame says that the engine closed cleanly.
    pub(crate) clean_close: bool,
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    pub(crate) frames: u64,
}

/// Takes each frame with its payload and returns the broken rule with its seq and its offset
/// in the frame.
pub(crate) trait FrameSink {
    /// Takes one frame; `payload_offset` is where the payload starts in the file.
    fn frame(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), Located>;
    /// Is told after each frame how many bytes of the journal have been passed.
    fn passed(&mut self, bytes: u64, seq: u64);
}

/// A broken rule with its place in a frame's payload.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) seq: u64,
    pub(crate) payload_offset: usize,
    pub(crate) broken: Box<Broken>,
}

/// Walks the chain from the first segment to the journal's end.
pub(crate) struct Walk<'a> {
    segments: &'a [SegmentFile],
    chain: Chain,
    frames: u64,
    closed: bool,
    buffer: Vec<u8>,
    bytes_before: u64,
}

/// The place where no further frame goes on.
struct Stop {
    offset: u64,
    segment_bytes: u64,
}

/// Returns the header of the first segment, from which the chain starts.
pub(crate) fn first_header(segment: &SegmentFile) -> Result<Header, Failure> {
    let mut reader = SegmentReader::open(&segment.path, Vec::new())
        .map_err(|error| unreadable(&segment.path, &error))?;
    let damaged = |reason| file_failure(FailureKind::Damaged, &segment.path, 0, reason);
    let header = match reader.header().map_err(|error| unreadable(&segment.path, &error))? {
        HeaderBlock::Sealed(header) => header,
        HeaderBlock::Zero => return Err(damaged("the first segment has no header".to_owned())),
        HeaderBlock::Broken(reason) => return Err(damaged(reason)),
    };
    if header.number != segment.number {
        let found = header.number;
        return Err(damaged(format!("the header says segment {found}, not {}", segment.number)));
    }
    if header.epoch == 0 || header.seq == 0 {
        return Err(damaged(format!(
            "the header starts at epoch {} and seq {}, both start at 1",
            header.epoch, header.seq
        )));
    }
    let is_start = header.epoch == 1 && header.seq == 1 && all_zero(&header.hash);
    if segment.number == 1 && !is_start {
        return Err(damaged(format!(
            "segment 1 starts at epoch {} and seq {} or its hash is not zero",
            header.epoch, header.seq
        )));
    }
    Ok(header)
}

impl<'a> Walk<'a> {
    /// Starts at the first segment's header.
    pub(crate) fn new(segments: &'a [SegmentFile], first: &Header) -> Self {
        let chain = Chain {
            engine: first.engine,
            epoch: first.epoch - 1,
            next_seq: first.seq,
            hash: first.hash,
            durable: 0,
        };
        Self { segments, chain, frames: 0, closed: false, buffer: Vec::new(), bytes_before: 0 }
    }

    /// Hands every frame to `sink`, then decides how the journal ends.
    pub(crate) fn run(mut self, sink: &mut dyn FrameSink) -> Result<End, Failure> {
        let segments = self.segments;
        for (index, segment) in segments.iter().enumerate() {
            let stop = self.segment(segment, sink)?;
            self.bytes_before += segment.bytes;
            let goes_on = match segments.get(index + 1) {
                Some(next) => self.goes_on(next)?,
                None => false,
            };
            if goes_on && segment.bytes < stop.segment_bytes {
                let reason = format!(
                    "the file is {} bytes long, its header says {}, and the journal goes on in \
                     the next segment",
                    segment.bytes, stop.segment_bytes
                );
                let at = segment.bytes;
                return Err(file_failure(FailureKind::Damaged, &segment.path, at, reason));
            }
            if !goes_on {
                let torn_tail = self.tail(&segments[index..], &stop)?;
                return Ok(End {
                    torn_tail,
                    clean_close: self.closed,
                    epoch: self.chain.epoch,
                    next_seq: self.chain.next_seq,
                    frames: self.frames,
                });
            }
        }
        unreachable!("the last segment always ends the walk")
    }

    fn open(&mut self, segment: &SegmentFile) -> Result<SegmentReader, Failure> {
        SegmentReader::open(&segment.path, std::mem::take(&mut self.buffer))
            .map_err(|error| unreadable(&segment.path, &error))
    }

    /// Reads the frames of one segment whose header is known to go on.
    fn segment(
        &mut self,
        segment: &SegmentFile,
        sink: &mut dyn FrameSink,
    ) -> Result<Stop, Failure> {
        let io = |error: io::Error| unreadable(&segment.path, &error);
        let mut reader = self.open(segment)?;
        let HeaderBlock::Sealed(header) = reader.header().map_err(io)? else {
            let reason = "the header changed while it was read".to_owned();
            return Err(file_failure(FailureKind::Unreadable, &segment.path, 0, reason));
        };
        let segment_bytes = u64::from(header.segment_bytes);
        if segment.bytes > segment_bytes {
            let reason = format!(
                "the file is {} bytes long, its header says {segment_bytes}",
                segment.bytes
            );
            return Err(file_failure(FailureKind::Damaged, &segment.path, segment_bytes, reason));
        }
        let mut offset = BLOCK as u64;
        while let Probe::Next(frame) =
            frame::probe(&mut reader, offset, segment_bytes, &self.chain).map_err(io)?
        {
            let padded = frame.padded();
            let bytes = reader.bytes(offset, padded).map_err(io)?;
            self.take(segment, offset, &frame, bytes, sink)?;
            offset += padded as u64;
            sink.passed(self.bytes_before + offset, self.chain.next_seq);
        }
        self.buffer = reader.into_buffer();
        Ok(Stop { offset, segment_bytes })
    }

    /// Checks one sealed frame, hands it over, and moves the chain on.
    fn take(
        &mut self,
        segment: &SegmentFile,
        offset: u64,
        frame: &Frame,
        bytes: &[u8],
        sink: &mut dyn FrameSink,
    ) -> Result<(), Failure> {
        let fail = |kind, seq, at: usize, broken: Box<Broken>| Failure {
            kind,
            seq,
            epoch: frame.epoch,
            file: segment.path.clone(),
            offset: offset + at as u64,
            invariant: broken.invariant,
            reason: broken.reason,
        };
        frame::check(frame, &bytes[..HEADER], &self.chain)
            .map_err(|broken| fail(FailureKind::Violation, 0, 0, broken))?;
        let payload_end = HEADER + frame.payload;
        if !all_zero(&bytes[payload_end..]) {
            let reason = "bytes between the frame's end and the next block are not zero".to_owned();
            let broken = Box::new(Broken { invariant: "I13", reason });
            return Err(fail(FailureKind::Damaged, 0, payload_end, broken));
        }
        sink.frame(frame, &bytes[HEADER..payload_end]).map_err(|located| {
            let at = HEADER + located.payload_offset;
            fail(FailureKind::Violation, located.seq, at, located.broken)
        })?;
        self.chain.epoch = frame.epoch;
        self.chain.next_seq = frame.seq + u64::from(frame.records);
        self.chain.hash = frame.hash;
        self.chain.durable = frame.durable;
        self.closed = frame.flags & CLOSED != 0;
        self.frames += 1;
        Ok(())
    }

    /// Returns whether a segment's header goes on from the last frame.
    fn goes_on(&mut self, segment: &SegmentFile) -> Result<bool, Failure> {
        let mut reader = self.open(segment)?;
        let block = reader.header().map_err(|error| unreadable(&segment.path, &error))?;
        self.buffer = reader.into_buffer();
        Ok(match block {
            HeaderBlock::Sealed(header) => {
                header.number == segment.number
                    && header.engine == self.chain.engine
                    && header.epoch == self.chain.epoch + 1
                    && header.seq == self.chain.next_seq
                    && header.hash == self.chain.hash
            }
            HeaderBlock::Zero | HeaderBlock::Broken(_) => false,
        })
    }

    /// Decides whether what follows the last frame is nothing, a torn tail, or damage.
    fn tail(&mut self, segments: &[SegmentFile], stop: &Stop) -> Result<Option<TornTail>, Failure> {
        let (last, later) = segments.split_first().expect("the walk stopped in a segment");
        let mut torn = None;
        let mut note = |file: &Path, offset: u64, next_seq: u64, reason: String| {
            torn.get_or_insert(TornTail { file: file.to_path_buf(), offset, next_seq, reason });
        };
        let next_seq = self.chain.next_seq;
        if let Some(reason) = self.rest(last, stop.offset, stop.segment_bytes, stop, last)? {
            note(&last.path, stop.offset, next_seq, reason);
        }
        if last.bytes < stop.segment_bytes {
            let reason = format!(
                "the file is {} bytes long, its header says {}",
                last.bytes, stop.segment_bytes
            );
            note(&last.path, last.bytes.min(stop.offset), next_seq, reason);
        }
        for segment in later {
            if let Some(reason) = self.unused_header(segment)? {
                note(&segment.path, 0, next_seq, reason);
            }
            if segment.bytes < BLOCK as u64 {
                let reason = format!("the file is {} bytes long, no header fits", segment.bytes);
                note(&segment.path, 0, next_seq, reason);
            }
            if let Some(reason) = self.rest(segment, BLOCK as u64, segment.bytes, stop, last)? {
                note(&segment.path, BLOCK as u64, next_seq, reason);
            }
        }
        Ok(torn)
    }

    /// Checks that a later segment is not in use; returns why its header looks torn, if so.
    fn unused_header(&mut self, segment: &SegmentFile) -> Result<Option<String>, Failure> {
        let mut reader = self.open(segment)?;
        let block = reader.header().map_err(|error| unreadable(&segment.path, &error))?;
        self.buffer = reader.into_buffer();
        match block {
            HeaderBlock::Zero => Ok(None),
            HeaderBlock::Broken(reason) => Ok(Some(reason)),
            // Recycled and renamed, but not yet written for its new life.
            HeaderBlock::Sealed(header)
                if header.number < segment.number && header.epoch <= self.chain.epoch =>
            {
                Ok(None)
            }
            HeaderBlock::Sealed(header) => {
                let reason = format!(
                    "segment {} starts at epoch {} and seq {} and does not go on from epoch {} \
                     and seq {}: frames before it are lost or changed",
                    segment.number, header.epoch, header.seq, self.chain.epoch, self.chain.next_seq
                );
                Err(file_failure(FailureKind::Damaged, &segment.path, 0, reason))
            }
        }
    }

    /// Looks through the rest of a segment for newer frames, which mean damage at `stop`;
    /// returns why the first bytes that are neither zeros nor old frames are no frame.
    fn rest(
        &mut self,
        segment: &SegmentFile,
        from: u64,
        segment_bytes: u64,
        stop: &Stop,
        stopped_in: &SegmentFile,
    ) -> Result<Option<String>, Failure> {
        let io = |error: io::Error| unreadable(&segment.path, &error);
        let mut reader = self.open(segment)?;
        let (mut offset, mut first) = (from, None);
        while offset < segment_bytes.min(segment.bytes) {
            let newer =
                match frame::probe(&mut reader, offset, segment_bytes, &self.chain).map_err(io)? {
                    Probe::Old(bytes) => {
                        offset += bytes as u64;
                        continue;
                    }
                    Probe::Zero => None,
                    Probe::Invalid(reason) => {
                        first.get_or_insert(reason);
                        None
                    }
                    Probe::Newer(reason) => Some(reason),
                    Probe::Next(_) => Some("it goes on from the last one".to_owned()),
                };
            if let Some(newer) = newer {
                let why = first.unwrap_or_else(|| "no frame stands here".to_owned());
                let reason = format!(
                    "the journal breaks off after epoch {}: {why}; yet a newer frame stands in \
                     {} at byte {offset}: {newer}",
                    self.chain.epoch,
                    segment.path.display()
                );
                let failure =
                    file_failure(FailureKind::Damaged, &stopped_in.path, stop.offset, reason);
                return Err(failure);
            }
            offset += BLOCK as u64;
        }
        self.buffer = reader.into_buffer();
        Ok(first)
    }
}
