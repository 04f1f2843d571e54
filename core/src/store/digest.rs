//! Summaries over many values, so that a missing one is noticed.

use super::PageId;
use super::frame::SUMMARY_BYTES;

/// The summary of a checkpoint's pages, taken in the order of their ids.
pub(super) struct PageSummary {
    count: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl PageSummary {
    /// Begins a summary of the generation at `seq`.
    pub(super) fn new(seq: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seq.to_le_bytes());
        Self { count: 0, bytes: 0, hasher }
    }

    /// Takes the next page: its content length and the checksum of its frame.
    pub(super) fn add(&mut self, id: PageId, length: u32, crc: u32) {
        self.count += 1;
        self.bytes += u64::from(length);
        let mut row = [0; 16];
        row[..8].copy_from_slice(&id.to_key());
        row[8..12].copy_from_slice(&length.to_le_bytes());
        row[12..].copy_from_slice(&crc.to_le_bytes());
        self.hasher.update(&row);
    }

    /// Returns the summary as it stands in a manifest.
    pub(super) fn finish(&self) -> [u8; SUMMARY_BYTES] {
        let mut out = [0; SUMMARY_BYTES];
        out[..8].copy_from_slice(&self.count.to_le_bytes());
        out[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        out[16..].copy_from_slice(self.hasher.finalize().as_bytes());
        out
    }

    /// Returns the number of pages taken.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
