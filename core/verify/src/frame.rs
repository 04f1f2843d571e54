//! One frame: whether it is sealed, and whether it goes on from the one before.

use std::io;

use crate::bytes::{all_zero, u16_at, u32_at, u64_at};
use crate::failure::{Check, demand};
use crate::segment::{BLOCK, SegmentReader};

/// Length of a frame's header in bytes.
pub(crate) const HEADER: usize = 128;
/// Most payload bytes of one frame.
const PAYLOAD_MAX: usize = 16 << 20;
/// Flag: the engine closed cleanly.
pub(crate) const CLOSED: u16 = 1;
/// Flag: the engine fell idle.
pub(crate) const IDLE: u16 = 2;

/// Where the chain stands: what the next frame must go on from.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) engine: [u8; 16],
    /// Epoch of the last frame.
    pub(crate) epoch: u64,
    /// Seq that the next record gets.
    pub(crate) next_seq: u64,
    /// Hash of the last frame.
    pub(crate) hash: [u8; 32],
    /// Highest epoch that a frame called durable.
    pub(crate) durable: u64,
}

/// A frame's header, sealed and in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) flags: u16,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) records: u32,
    pub(crate) sections: u16,
    pub(crate) payload: usize,
    pub(crate) durable: u64,
    pub(crate) hash: [u8; 32],
}

impl Frame {
    /// Returns the bytes that the frame takes with its padding.
    pub(crate) const fn padded(&self) -> usize {
        (HEADER + self.payload).next_multiple_of(BLOCK)
    }
}

/// What stands at an offset where a frame may start.
#[derive(Debug)]
pub(crate) enum Probe {
    /// The next frame.
    Next(Frame),
    /// A sealed frame of an earlier life of the segment, with its padded length.
    Old(usize),
    /// A sealed frame of a newer epoch that does not go on from the last one, and why.
    Newer(String),
    /// A block of zeros, or the end of the segment.
    Zero,
    /// Neither, and why.
    Invalid(String),
}

/// Looks at `offset` of a segment of `segment_bytes`.
pub(crate) fn probe(
    reader: &mut SegmentReader,
    offset: u64,
    segment_bytes: u64,
    chain: &Chain,
) -> io::Result<Probe> {
    if offset + HEADER as u64 > segment_bytes {
        return Ok(Probe::Zero);
    }
    let block = reader.bytes(offset, BLOCK)?;
    if block.len() < HEADER {
        return Ok(if all_zero(block) && block.is_empty() {
            Probe::Zero
        } else {
            Probe::Invalid("the file ends in the frame's header".to_owned())
        });
    }
    if let Some(reason) = unsealed_header(block, chain) {
        return Ok(if all_zero(block) { Probe::Zero } else { Probe::Invalid(reason) });
    }
    let payload = u32_at(block, 32) as usize;
    if offset + (HEADER + payload) as u64 > segment_bytes {
        let reason = format!("payload of {payload} bytes reaches past the segment's end");
        return Ok(Probe::Invalid(reason));
    }
    let whole = reader.bytes(offset, HEADER + payload)?;
    if whole.len() < HEADER + payload {
        return Ok(Probe::Invalid("the file ends in the frame's payload".to_owned()));
    }
    let (sealed, computed) = (u32_at(whole, 36), frame_crc(whole));
    if sealed != computed {
        let reason = format!("the frame's CRC is {sealed:#010x}, its bytes give {computed:#010x}");
        return Ok(Probe::Invalid(reason));
    }
    Ok(place(whole, payload, chain))
}

/// CRC over header and payload, the CRC field itself taken as zero.
fn frame_crc(frame: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..36]);
    crc.update(&[0; 4]);
    crc.update(&frame[40..]);
    crc.finalize()
}

/// Says why the bytes can't be the header of a frame of this engine.
fn unsealed_header(block: &[u8], chain: &Chain) -> Option<String> {
    if &block[..4] != b"OHJF" {
        return Some("the frame's magic is not OHJF".to_owned());
    }
    if u16_at(block, 4) != 1 {
        return Some(format!("the frame's format version is {}, not 1", u16_at(block, 4)));
    }
    if block[48..64] != chain.engine {
        return Some("the frame is of another engine".to_owned());
    }
    let payload = u32_at(block, 32) as usize;
    (payload > PAYLOAD_MAX)
        .then(|| format!("the frame's payload is {payload} bytes, above {PAYLOAD_MAX}"))
}

/// Decides what a sealed frame is to the chain.
fn place(whole: &[u8], payload: usize, chain: &Chain) -> Probe {
    let (epoch, seq) = (u64_at(whole, 8), u64_at(whole, 16));
    if epoch <= chain.epoch {
        return Probe::Old((HEADER + payload).next_multiple_of(BLOCK));
    }
    if epoch != chain.epoch + 1 {
        return Probe::Newer(format!("epoch is {epoch}, the one before is {}", chain.epoch));
    }
    if seq != chain.next_seq {
        return Probe::Newer(format!("first seq is {seq}, the next one is {}", chain.next_seq));
    }
    if whole[64..96] != chain.hash {
        return Probe::Newer("the hash of the frame before differs".to_owned());
    }
    Probe::Next(Frame {
        flags: u16_at(whole, 6),
        epoch,
        seq,
        records: u32_at(whole, 24),
        sections: u16_at(whole, 28),
        payload,
        durable: u64_at(whole, 40),
        hash: *blake3::hash(whole).as_bytes(),
    })
}

/// Checks what a sealed frame in its place says of itself.
pub(crate) fn check(frame: &Frame, header: &[u8], chain: &Chain) -> Check {
    let flags = frame.flags;
    demand!(flags & !(CLOSED | IDLE) == 0, "I13", "the frame's flags are {flags:#x}");
    demand!(
        all_zero(&header[30..32]) && all_zero(&header[96..HEADER]),
        "I13",
        "reserved bytes of the frame's header are not zero"
    );
    demand!(
        frame.durable < frame.epoch && frame.durable >= chain.durable,
        "I13",
        "epoch {} calls epoch {} durable, an earlier frame {}",
        frame.epoch,
        frame.durable,
        chain.durable
    );
    let empty = frame.payload == 0 && frame.records == 0 && frame.sections == 0;
    let full = frame.payload > 0 && frame.records > 0 && frame.sections > 0;
    demand!(
        if flags == 0 { full } else { empty },
        "I13",
        "a frame with flags {flags:#x} has {} records, {} sections, {} payload bytes",
        frame.records,
        frame.sections,
        frame.payload
    );
    Ok(())
}
