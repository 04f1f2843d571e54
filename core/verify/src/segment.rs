//! Segment files: finding them, their headers, and reading them in large steps.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::bytes::{all_zero, array, u32_at, u64_at};
use crate::failure::{Failure, FailureKind};

/// Unit of the layout: headers and frames start at its multiples, in bytes.
pub(crate) const BLOCK: usize = 4_096;
/// Bytes asked of the system at once.
const READ_BYTES: usize = 4 << 20;
/// Magic of a segment.
const MAGIC: &[u8; 8] = b"ONHSEG1\0";

/// One file of the journal.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// What a segment's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) segment_bytes: u32,
    pub(crate) number: u64,
    pub(crate) engine: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
}

/// What stands in a segment's first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderBlock {
    /// A sealed header.
    Sealed(Header),
    /// Zeros: the segment was made ahead and never used.
    Zero,
    /// Neither, and why.
    Broken(String),
}

/// Makes a failure that is about a whole file.
pub(crate) fn file_failure(kind: FailureKind, file: &Path, offset: u64, reason: String) -> Failure {
    Failure { kind, seq: 0, epoch: 0, file: file.to_path_buf(), offset, invariant: "I13", reason }
}

/// Makes a failure of the system's.
pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Failure {
    file_failure(FailureKind::Unreadable, file, 0, format!("can't be read: {error}"))
}

/// Lists the segments of a data directory or of its journal directory, ascending, without gap.
pub(crate) fn list(dir: &Path) -> Result<Vec<SegmentFile>, Failure> {
    let inner = dir.join("journal");
    let journal = if inner.is_dir() { inner } else { dir.to_path_buf() };
    let mut segments = Vec::new();
    let entries = std::fs::read_dir(&journal).map_err(|error| unreadable(&journal, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&journal, &error))?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(segment_number) else { continue };
        let bytes = entry.metadata().map_err(|error| unreadable(&entry.path(), &error))?.len();
        segments.push(SegmentFile { number, path: entry.path(), bytes });
    }
    segments.sort_by_key(|segment| segment.number);
    if segments.is_empty() {
        let reason = "holds no segment of a journal (NNNNNNNNNNNNNNNNNNNN.oj)".to_owned();
        return Err(file_failure(FailureKind::Unreadable, &journal, 0, reason));
    }
    for pair in segments.windows(2) {
        if pair[0].number + 1 != pair[1].number {
            let reason = format!(
                "segment {} is missing between segments {} and {}",
                pair[0].number + 1,
                pair[0].number,
                pair[1].number
            );
            return Err(file_failure(FailureKind::Damaged, &pair[1].path, 0, reason));
        }
    }
    Ok(segments)
}

/// Returns the number in a segment's file name.
fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".oj")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number > 0)
}

/// Reads a segment from its start to its end through one buffer.
pub(crate) struct SegmentReader {
    file: File,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    start: u64,
    /// Valid bytes in the buffer.
    filled: usize,
    /// Bytes asked of the system at once: no more than the file has.
    step: usize,
}

impl SegmentReader {
    /// Opens a segment; `buffer` is one of an earlier reader, or empty.
    pub(crate) fn open(path: &Path, buffer: Vec<u8>) -> io::Result<Self> {
        let file = File::open(path)?;
        let step = (READ_BYTES as u64).min(file.metadata()?.len()) as usize;
        Ok(Self { file, buffer, start: 0, filled: 0, step })
    }

    /// Gives the buffer back for the next segment.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Returns the bytes from `offset`: `length` of them, fewer where the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let end = offset + length as u64;
        if offset < self.start || end > self.start + self.filled as u64 {
            self.refill(offset, length)?;
        }
        let from = (offset - self.start).min(self.filled as u64) as usize;
        let to = (from + length).min(self.filled);
        Ok(&self.buffer[from..to])
    }

    /// Moves the window to start at `offset` and reads at least `length` bytes, if there are.
    fn refill(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let filled_to = self.start + self.filled as u64;
        if offset >= self.start && offset < filled_to {
            let keep_from = (offset - self.start) as usize;
            self.buffer.copy_within(keep_from..self.filled, 0);
            self.filled -= keep_from;
        } else {
            self.filled = 0;
        }
        self.start = offset;
        let wanted = length.max(self.step);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.file.seek(SeekFrom::Start(offset + self.filled as u64))?;
        while self.filled < self.buffer.len() {
            let read = self.file.read(&mut self.buffer[self.filled..])?;
            if read == 0 {
                break;
            }
            self.filled += read;
        }
        Ok(())
    }

    /// Reads the header block.
    pub(crate) fn header(&mut self) -> io::Result<HeaderBlock> {
        Ok(parse_header(self.bytes(0, BLOCK)?))
    }
}

/// Reads a header block; every bit of it is checked.
fn parse_header(block: &[u8]) -> HeaderBlock {
    if all_zero(block) {
        return HeaderBlock::Zero;
    }
    if block.len() < BLOCK {
        return HeaderBlock::Broken(format!("the file ends in its header, at {}", block.len()));
    }
    if &block[..8] != MAGIC {
        return HeaderBlock::Broken("the header's magic is not ONHSEG1".to_owned());
    }
    let (sealed, computed) = (u32_at(block, 88), crc32fast::hash(&block[..88]));
    if sealed != computed {
        return HeaderBlock::Broken(format!(
            "the header's CRC is {sealed:#010x}, its bytes give {computed:#010x}"
        ));
    }
    if u32_at(block, 8) != 1 {
        return HeaderBlock::Broken(format!("the format version is {}, not 1", u32_at(block, 8)));
    }
    let segment_bytes = u32_at(block, 12);
    if !(segment_bytes as usize).is_multiple_of(BLOCK) || (segment_bytes as usize) < 2 * BLOCK {
        return HeaderBlock::Broken(format!(
            "the segment size is {segment_bytes}, no multiple of {BLOCK} from {}",
            2 * BLOCK
        ));
    }
    if !all_zero(&block[92..]) {
        return HeaderBlock::Broken("header bytes 92 to 4095 are not zero".to_owned());
    }
    HeaderBlock::Sealed(Header {
        segment_bytes,
        number: u64_at(block, 16),
        engine: array(block, 24),
        epoch: u64_at(block, 40),
        seq: u64_at(block, 48),
        hash: array(block, 56),
    })
}
