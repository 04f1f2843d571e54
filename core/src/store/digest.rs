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

/// The archive's running totals, stored with its high-water mark.
///
/// The digest is a sum over the parts, so that it can be kept without reading the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ArchiveTotals {
    pub(super) entries: u64,
    pub(super) live_bytes: u64,
    pub(super) digest: u128,
}

/// Bytes of [`ArchiveTotals`] in a mark.
pub(super) const TOTALS_BYTES: usize = 32;

impl ArchiveTotals {
    /// Takes in one stored part: its key, its part number, its whole length and its checksum.
    pub(super) fn add(&mut self, key: u128, part: u8, length: usize, crc: u32) {
        self.entries += u64::from(part == 0);
        self.live_bytes += length as u64;
        self.digest = self.digest.wrapping_add(part_digest(key, part, length, crc));
    }

    /// Takes out one part that was replaced or removed.
    ///
    /// Returns `false` if that part cannot have been in these totals.
    pub(super) fn remove(&mut self, key: u128, part: u8, length: usize, crc: u32) -> bool {
        let Some(entries) = self.entries.checked_sub(u64::from(part == 0)) else { return false };
        let Some(live_bytes) = self.live_bytes.checked_sub(length as u64) else { return false };
        let digest = self.digest.wrapping_sub(part_digest(key, part, length, crc));
        *self = Self { entries, live_bytes, digest };
        true
    }

    /// Returns the totals as they stand in a mark.
    pub(super) fn to_bytes(self) -> [u8; TOTALS_BYTES] {
        let mut out = [0; TOTALS_BYTES];
        out[..8].copy_from_slice(&self.entries.to_le_bytes());
        out[8..16].copy_from_slice(&self.live_bytes.to_le_bytes());
        out[16..].copy_from_slice(&self.digest.to_le_bytes());
        out
    }

    /// Returns the totals of a mark's content.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TOTALS_BYTES] = bytes.try_into().ok()?;
        let (entries, rest) = bytes.split_first_chunk::<8>()?;
        let (live_bytes, digest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            entries: u64::from_le_bytes(*entries),
            live_bytes: u64::from_le_bytes(*live_bytes),
            digest: u128::from_le_bytes(digest.try_into().ok()?),
        })
    }
}

/// The first 16 bytes of BLAKE3 over key (16, big-endian), part (1), length (4), checksum (4).
fn part_digest(key: u128, part: u8, length: usize, crc: u32) -> u128 {
    let mut row = [0; 25];
    row[..16].copy_from_slice(&key.to_be_bytes());
    row[16] = part;
    row[17..21].copy_from_slice(&(length as u32).to_le_bytes());
    row[21..].copy_from_slice(&crc.to_le_bytes());
    let hash = blake3::hash(&row);
    let (first, _) = hash.as_bytes().split_first_chunk::<16>().expect("a hash has 32 bytes");
    u128::from_le_bytes(*first)
}
