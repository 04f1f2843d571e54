//! Frames and sections: the bytes of one group commit.

use std::fmt;
use std::path::Path;

use super::segment::{EngineId, damaged};
use crate::error::Error;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 128;
/// Bytes of a section's header.
pub(crate) const SECTION_HEADER_BYTES: usize = 24;
/// Longest payload of a frame in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Frames start at multiples of this many bytes.
pub(crate) const FRAME_ALIGN_BYTES: usize = 4_096;
/// Flag: the engine closed cleanly; the frame is empty.
pub(crate) const FLAG_CLOSED: u16 = 1;
/// Flag: the engine fell idle; the frame is empty.
pub(crate) const FLAG_IDLE: u16 = 2;

const MAGIC: [u8; 4] = *b"OHJF";
const VERSION: u16 = 1;
const CRC_AT: usize = 36;

/// BLAKE3 hash of a frame.
pub(crate) type Hash = [u8; 32];

/// What the next frame must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Epoch of the next frame.
    pub(crate) epoch: u64,
    /// Seq of the next record.
    pub(crate) seq: u64,
    /// Hash of the frame before.
    pub(crate) hash: Hash,
}

impl Chain {
    /// The chain of an engine that has written nothing.
    pub(crate) const ORIGIN: Self = Self { epoch: 1, seq: 1, hash: [0; 32] };

    /// Returns why a frame does not go on from here, if it does not.
    pub(crate) fn refuses(&self, header: &FrameHeader) -> Option<Flaw> {
        if header.epoch != self.epoch {
            Some(Flaw::Epoch(header.epoch, self.epoch))
        } else if header.first_seq != self.seq {
            Some(Flaw::Seq(header.first_seq, self.seq))
        } else if header.previous_hash != self.hash {
            Some(Flaw::Chain)
        } else {
            None
        }
    }

    /// Returns the chain behind a frame that goes on from here.
    pub(crate) fn after(&self, header: &FrameHeader, hash: Hash) -> Self {
        Self { epoch: self.epoch + 1, seq: self.seq + u64::from(header.record_count), hash }
    }
}

/// Why bytes are no valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The magic is not `OHJF`.
    Magic,
    /// The format version is another one.
    Version(u16),
    /// A reserved byte or flag is not 0.
    Reserved,
    /// The payload is longer than allowed, or the frame crosses the segment's end.
    Length(u32),
    /// The engine id is another one.
    Engine,
    /// The CRC does not fit the bytes.
    Crc,
    /// The epoch is the first number, the second was expected.
    Epoch(u64, u64),
    /// The first seq is the first number, the second was expected.
    Seq(u64, u64),
    /// The hash of the frame before does not fit.
    Chain,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no magic OHJF"),
            Self::Version(version) => write!(f, "format version {version}, not 1"),
            Self::Reserved => f.write_str("a reserved field that is not 0"),
            Self::Length(bytes) => write!(f, "a payload of {bytes} bytes that does not fit"),
            Self::Engine => f.write_str("the id of another engine"),
            Self::Crc => f.write_str("a CRC that does not fit its bytes"),
            Self::Epoch(found, expected) => write!(f, "epoch {found} instead of {expected}"),
            Self::Seq(found, expected) => write!(f, "first seq {found} instead of {expected}"),
            Self::Chain => f.write_str("a hash of the frame before that does not fit"),
        }
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// [`FLAG_CLOSED`], [`FLAG_IDLE`] or neither.
    pub(crate) flags: u16,
    /// Number of the group, from 1.
    pub(crate) epoch: u64,
    /// Seq of the first record, or of the next one if there is none.
    pub(crate) first_seq: u64,
    /// Number of records.
    pub(crate) record_count: u32,
    /// Number of sections.
    pub(crate) section_count: u16,
    /// Length of the payload in bytes.
    pub(crate) payload_bytes: u32,
    /// Epoch that was durable when the frame was built.
    pub(crate) durable_epoch: u64,
    /// The engine that wrote it.
    pub(crate) engine: EngineId,
    /// Hash of the frame before.
    pub(crate) previous_hash: Hash,
}

impl FrameHeader {
    /// Returns the header's bytes with the CRC over them and the payload.
    pub(crate) fn encode(&self, payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        assert_eq!(payload.len(), self.payload_bytes as usize);
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.section_count.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.durable_epoch.to_le_bytes());
        bytes[48..64].copy_from_slice(&self.engine.0);
        bytes[64..96].copy_from_slice(&self.previous_hash);
        let crc = frame_crc(&bytes, payload);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks what can be checked without the payload.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        assert!(FRAME_HEADER_BYTES <= bytes.len());
        if bytes[0..4] != MAGIC {
            return Err(Flaw::Magic);
        }
        let mut engine = [0; 16];
        engine.copy_from_slice(&bytes[48..64]);
        let mut previous_hash = [0; 32];
        previous_hash.copy_from_slice(&bytes[64..96]);
        let header = Self {
            flags: le_u16(bytes, 6),
            epoch: le_u64(bytes, 8),
            first_seq: le_u64(bytes, 16),
            record_count: le_u32(bytes, 24),
            section_count: le_u16(bytes, 28),
            payload_bytes: le_u32(bytes, 32),
            durable_epoch: le_u64(bytes, 40),
            engine: EngineId(engine),
            previous_hash,
        };
        if header.payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err(Flaw::Length(header.payload_bytes));
        }
        if le_u16(bytes, 4) != VERSION {
            return Err(Flaw::Version(le_u16(bytes, 4)));
        }
        let reserved = le_u16(bytes, 30) != 0 || bytes[96..128].iter().any(|byte| *byte != 0);
        if reserved || header.flags & !(FLAG_CLOSED | FLAG_IDLE) != 0 {
            return Err(Flaw::Reserved);
        }
        Ok(header)
    }

    /// Returns the bytes that the frame takes in its segment, padding included.
    pub(crate) fn padded_bytes(&self) -> usize {
        padded(self.payload_bytes as usize)
    }
}

/// Returns the bytes of a frame with this payload, padding included.
pub(crate) fn padded(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGN_BYTES)
}

/// Returns whether the CRC in a frame's header fits header and payload.
pub(crate) fn crc_fits(frame: &[u8]) -> bool {
    let (header, payload) = frame.split_at(FRAME_HEADER_BYTES);
    le_u32(header, CRC_AT) == frame_crc(header, payload)
}

fn frame_crc(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..CRC_AT]);
    crc.update(&[0; 4]);
    crc.update(&header[CRC_AT + 4..]);
    crc.update(payload);
    crc.finalize()
}

/// Returns the hash of a frame: header, CRC included, and payload.
pub(crate) fn frame_hash(frame: &[u8]) -> Hash {
    *blake3::hash(frame).as_bytes()
}

/// Returns whether all bytes are 0.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks_exact(64);
    blocks.by_ref().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
        && blocks.remainder().iter().all(|byte| *byte == 0)
}

pub(crate) fn le_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le_u32(bytes, at)) | u64::from(le_u32(bytes, at + 4)) << 32
}

/// A valid frame, borrowed from a reader.
pub(crate) struct Frame<'a> {
    /// The header.
    pub(crate) header: FrameHeader,
    /// Number of the segment that holds it.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests say where a frame stands"))]
    pub(crate) segment: u64,
    /// Offset of the frame in its segment.
    pub(crate) offset: u64,
    /// The sections.
    pub(crate) payload: &'a [u8],
    /// The segment's file.
    pub(crate) path: &'a Path,
}

impl<'a> Frame<'a> {
    /// Returns the sections in order; damage inside ends them with an error.
    pub(crate) fn sections(&self) -> Sections<'a> {
        Sections {
            payload: self.payload,
            path: self.path,
            at: 0,
            base: self.offset + FRAME_HEADER_BYTES as u64,
            seq: self.header.first_seq,
            section_count: self.header.section_count,
            record_count: self.header.record_count,
            over: false,
        }
    }
}

/// The records of one batch of one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    /// Shard, from 0.
    pub(crate) shard: u16,
    /// Timestamp of every record in it, in milliseconds since 1970.
    pub(crate) time: u64,
    /// Seq of the first record.
    pub(crate) first_seq: u64,
    /// Number of records, at least 1.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests count records"))]
    pub(crate) record_count: u32,
    /// Offset of the records in the segment's file.
    pub(crate) offset: u64,
    /// The encoded records.
    pub(crate) records: &'a [u8],
}

/// Iterates over the sections of a frame.
pub(crate) struct Sections<'a> {
    payload: &'a [u8],
    path: &'a Path,
    at: usize,
    base: u64,
    seq: u64,
    /// Sections and records that are still to come.
    section_count: u16,
    record_count: u32,
    over: bool,
}

impl<'a> Sections<'a> {
    fn next_section(&mut self) -> Result<Option<Section<'a>>, &'static str> {
        let rest = &self.payload[self.at..];
        if self.section_count == 0 {
            return match (rest.is_empty(), self.record_count) {
                (true, 0) => Ok(None),
                (false, _) => Err("bytes follow the last section"),
                (true, _) => Err("the sections hold fewer records than the frame says"),
            };
        }
        if rest.len() < SECTION_HEADER_BYTES {
            return Err("the frame ends inside a section's header");
        }
        let (header, rest) = rest.split_at(SECTION_HEADER_BYTES);
        let (record_count, record_bytes) = (le_u32(header, 4), le_u32(header, 8) as usize);
        if le_u16(header, 2) != 0 || le_u32(header, 12) != 0 {
            return Err("a reserved field of the section is not 0");
        }
        if rest.len() < record_bytes {
            return Err("the section is longer than the rest of the frame");
        }
        if record_count == 0 || record_bytes == 0 {
            return Err("the section holds no record");
        }
        let Some(records_to_come) = self.record_count.checked_sub(record_count) else {
            return Err("the sections hold more records than the frame says");
        };
        let section = Section {
            shard: le_u16(header, 0),
            time: le_u64(header, 16),
            first_seq: self.seq,
            record_count,
            offset: self.base + (self.at + SECTION_HEADER_BYTES) as u64,
            records: &rest[..record_bytes],
        };
        self.record_count = records_to_come;
        self.section_count -= 1;
        self.seq += u64::from(record_count);
        self.at += SECTION_HEADER_BYTES + record_bytes;
        Ok(Some(section))
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.next_section() {
            Ok(Some(section)) => Some(Ok(section)),
            Ok(None) => {
                self.over = true;
                None
            }
            Err(what) => {
                self.over = true;
                let offset = self.base + self.at as u64;
                Some(Err(damaged(format!("{what}: journal section at offset {offset}"), self.path)))
            }
        }
    }
}
