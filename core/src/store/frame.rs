//! The frame around each stored value: what it is, where it belongs, and its checksum.
//!
//! sled checks its own pages, but it drops what it cannot read in silence; the frame says whether
//! a value is the one that was put, under the key where it was found.

use super::PageId;

/// Bytes before the content of a value.
pub(super) const HEADER_BYTES: usize = 40;
/// Longest value, frame included, that sled is ever given.
///
/// A leaf holds up to 17 values (20 for a moment after a merge) and stays under the size at which
/// sled would move it into a file that it never syncs.
pub(super) const VALUE_BYTES_MAX: usize = 32 * 1024;
/// Most bytes of one page.
pub(crate) const PAGE_BYTES_MAX: usize = VALUE_BYTES_MAX - HEADER_BYTES;
/// Bytes of the store's own part of a manifest: page count, content bytes, hash over the pages.
pub(super) const SUMMARY_BYTES: usize = 48;
/// Most bytes of the manifest of a checkpoint.
pub(crate) const MANIFEST_BYTES_MAX: usize = PAGE_BYTES_MAX - SUMMARY_BYTES;
/// Most bytes of one archived value.
pub(crate) const ENTRY_BYTES_MAX: usize = 1024 * 1024;

const MAGIC: [u8; 4] = *b"OHSV";
const VERSION: u8 = 1;
const CRC_AT: usize = 36;

const _: () = assert!((ENTRY_BYTES_MAX + 20).div_ceil(PAGE_BYTES_MAX) <= u8::MAX as usize);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Page = 1,
    Manifest = 2,
    Block = 3,
    Mark = 4,
}

/// The header of a value, without magic, version, length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Which value of its group this is, from 0.
    pub(super) part: u8,
    /// How many values the group has: one, but for an entry that is longer than a value.
    pub(super) parts: u8,
    /// The key and zeros: of a page 8 bytes, of a block 12; zeros for a manifest or a mark.
    pub(super) address: [u8; 16],
    /// The generation's seq, the run's number, or the archive's mark.
    pub(super) seq: u64,
}

impl Header {
    /// Returns the header of a page of the generation at `seq`.
    pub(super) fn page(id: PageId, seq: u64) -> Self {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&id.to_key());
        Self { kind: Kind::Page, part: 0, parts: 1, address, seq }
    }

    /// Returns the header of the manifest of the generation at `seq`.
    pub(super) fn manifest(seq: u64) -> Self {
        Self { kind: Kind::Manifest, part: 0, parts: 1, address: [0; 16], seq }
    }

    /// Returns the header of a block of the archive, under its key.
    pub(super) fn block(key: [u8; 12], part: u8, parts: u8, run: u64) -> Self {
        let mut address = [0; 16];
        address[..12].copy_from_slice(&key);
        Self { kind: Kind::Block, part, parts, address, seq: run }
    }

    /// Returns the header of the archive's mark at `seq`.
    pub(super) fn mark(seq: u64) -> Self {
        Self { kind: Kind::Mark, part: 0, parts: 1, address: [0; 16], seq }
    }

    /// Returns the framed value and its checksum; `content` fits into one value.
    pub(super) fn seal(&self, content: &[&[u8]]) -> (Vec<u8>, u32) {
        let length: usize = content.iter().map(|piece| piece.len()).sum();
        assert!(length <= PAGE_BYTES_MAX, "the caller refuses what does not fit");
        let mut value = Vec::with_capacity(HEADER_BYTES + length);
        value.extend_from_slice(&MAGIC);
        value.extend_from_slice(&[VERSION, self.kind as u8, self.part, self.parts]);
        value.extend_from_slice(&self.address);
        value.extend_from_slice(&self.seq.to_le_bytes());
        value.extend_from_slice(&(length as u32).to_le_bytes());
        value.extend_from_slice(&[0; 4]);
        for piece in content {
            value.extend_from_slice(piece);
        }
        let crc = crc32fast::hash(&value);
        value[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        (value, crc)
    }

    /// Checks a framed value; returns its header, content and checksum.
    pub(super) fn open(value: &[u8]) -> Result<(Self, &[u8], u32), String> {
        let Some((head, content)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Err(format!("{} bytes, below the {HEADER_BYTES} of a header", value.len()));
        };
        let [m0, m1, m2, m3, version, kind, part, parts, rest @ ..] = *head;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(format!("magic is {:02x?}", [m0, m1, m2, m3]));
        }
        if version != VERSION {
            return Err(format!("format version is {version}, not {VERSION}"));
        }
        let (address, rest) = rest.split_first_chunk::<16>().expect("32 bytes remain");
        let (seq, rest) = rest.split_first_chunk::<8>().expect("16 bytes remain");
        let (length, crc) = rest.split_first_chunk::<4>().expect("8 bytes remain");
        let length = u32::from_le_bytes(*length) as usize;
        if length != content.len() {
            return Err(format!("length is {length}, but {} bytes follow", content.len()));
        }
        let crc = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[..CRC_AT]);
        hasher.update(&[0; 4]);
        hasher.update(content);
        let found = hasher.finalize();
        if found != crc {
            return Err(format!("checksum is {crc:08x}, the bytes give {found:08x}"));
        }
        let kind = match kind {
            1 => Kind::Page,
            2 => Kind::Manifest,
            3 => Kind::Block,
            4 => Kind::Mark,
            other => return Err(format!("kind is {other}, outside 1..=4")),
        };
        let seq = u64::from_le_bytes(*seq);
        Ok((Self { kind, part, parts, address: *address, seq }, content, crc))
    }
}
