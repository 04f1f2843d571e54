//! Memory for writes: an aligned byte buffer, and the group that is being gathered in it.

use super::frame::{FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, SECTION_HEADER_BYTES};
use super::segment::SEGMENT_HEADER_BYTES;
use crate::storage::ALIGN_BYTES;

/// Memory of a new group in bytes; it grows when a group needs more.
const GROUP_BYTES: usize = 256 << 10;

/// A byte buffer whose first byte lies at a multiple of [`ALIGN_BYTES`] in memory.
///
/// It grows like a `Vec` and keeps its memory when it is cleared.
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Makes an empty buffer with room for `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        let memory = vec![0; capacity + ALIGN_BYTES];
        let start = memory.as_ptr().addr().wrapping_neg() % ALIGN_BYTES;
        Self { memory, start, len: 0 }
    }

    /// Returns how many bytes fit without an allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// Returns the bytes for change.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// Cuts the buffer, or extends it with zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        self.reserve(len);
        if self.len < len {
            self.memory[self.start + self.len..self.start + len].fill(0);
        }
        self.len = len;
    }

    /// Appends bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let len = self.len + bytes.len();
        self.reserve(len);
        self.memory[self.start + self.len..self.start + len].copy_from_slice(bytes);
        self.len = len;
    }

    fn reserve(&mut self, len: usize) {
        if self.capacity() < len {
            let mut larger = Self::new(len.max(2 * self.capacity()));
            larger.memory[larger.start..larger.start + self.len].copy_from_slice(self.as_slice());
            larger.len = self.len;
            *self = larger;
        }
        assert!(self.memory[self.start..].as_ptr().addr().is_multiple_of(ALIGN_BYTES));
    }
}

/// The sections of the group that is written next.
///
/// The payload is built right behind the room for the frame's header, so that a group is written
/// from where it was gathered.
pub(crate) struct GroupBuffer {
    buffer: AlignedBuffer,
    payload_bytes_max: usize,
    record_count: u32,
    section_count: u16,
    /// Offset of the open section's header in the buffer, and its records so far.
    open: Option<(usize, u32)>,
}

impl GroupBuffer {
    /// Makes an empty group for a journal whose segments have `segment_bytes`.
    pub(crate) fn new(segment_bytes: u32) -> Self {
        Self::with_capacity(segment_bytes, GROUP_BYTES)
    }

    /// Makes an empty group with memory for so many bytes at first.
    pub(super) fn with_capacity(segment_bytes: u32, bytes: usize) -> Self {
        let room = segment_bytes as usize - SEGMENT_HEADER_BYTES - FRAME_HEADER_BYTES;
        let mut buffer = AlignedBuffer::new(bytes);
        buffer.resize(FRAME_HEADER_BYTES);
        Self {
            buffer,
            payload_bytes_max: room.min(PAYLOAD_BYTES_MAX),
            record_count: 0,
            section_count: 0,
            open: None,
        }
    }

    /// Returns whether a section with this many bytes of records fits.
    pub(crate) fn has_room(&self, record_bytes: usize) -> bool {
        self.section_count < u16::MAX
            && record_bytes <= self.payload_bytes_max
            && self.len() + SECTION_HEADER_BYTES + record_bytes <= self.payload_bytes_max
    }

    /// Appends a section whole; returns false and changes nothing if it does not fit.
    ///
    /// `time` is in milliseconds since 1970, `records` are `record_count` encoded records.
    #[must_use]
    pub(crate) fn push_section(
        &mut self,
        shard: u16,
        time: u64,
        record_count: u32,
        records: &[u8],
    ) -> bool {
        if !self.has_room(records.len()) {
            return false;
        }
        self.begin_section(shard, time);
        let pushed = self.push_records(record_count, records);
        self.end_section();
        assert!(pushed, "a section that has room takes its records");
        true
    }

    /// Opens a section; the caller has asked [`has_room`](Self::has_room).
    pub(crate) fn begin_section(&mut self, shard: u16, time: u64) {
        assert!(self.open.is_none(), "a section is open");
        assert!(self.has_room(0), "the group is full");
        let mut header = [0; SECTION_HEADER_BYTES];
        header[0..2].copy_from_slice(&shard.to_le_bytes());
        header[16..24].copy_from_slice(&time.to_le_bytes());
        self.open = Some((self.buffer.len(), 0));
        self.buffer.extend(&header);
    }

    /// Appends encoded records to the open section; returns false and changes nothing if they
    /// do not fit.
    #[must_use]
    pub(crate) fn push_records(&mut self, record_count: u32, records: &[u8]) -> bool {
        let (_, count) = self.open.as_mut().expect("a section is open");
        if self.buffer.len() - FRAME_HEADER_BYTES + records.len() > self.payload_bytes_max {
            return false;
        }
        *count += record_count;
        self.buffer.extend(records);
        true
    }

    /// Closes the open section; one without records leaves no trace.
    pub(crate) fn end_section(&mut self) {
        let (at, count) = self.open.take().expect("a section is open");
        let record_bytes = self.buffer.len() - at - SECTION_HEADER_BYTES;
        assert_eq!(count == 0, record_bytes == 0, "records and their number go together");
        if count == 0 {
            self.buffer.resize(at);
            return;
        }
        let header = &mut self.buffer.as_mut_slice()[at..at + SECTION_HEADER_BYTES];
        header[4..8].copy_from_slice(&count.to_le_bytes());
        header[8..12].copy_from_slice(&(record_bytes as u32).to_le_bytes());
        self.record_count += count;
        self.section_count += 1;
    }

    /// Returns whether there is no section.
    pub(crate) fn is_empty(&self) -> bool {
        self.section_count == 0
    }

    /// Returns the length of the sections in bytes.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - FRAME_HEADER_BYTES
    }

    /// Returns how many records the closed sections hold.
    pub(crate) fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Returns how many sections are closed.
    pub(crate) fn section_count(&self) -> u16 {
        self.section_count
    }

    /// Drops the sections and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.buffer.resize(FRAME_HEADER_BYTES);
        self.record_count = 0;
        self.section_count = 0;
        self.open = None;
    }

    /// Returns the buffer: room for the header, then the payload.
    pub(super) fn buffer(&mut self) -> &mut AlignedBuffer {
        assert!(self.open.is_none(), "a section is open");
        &mut self.buffer
    }
}
