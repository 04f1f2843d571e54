//! Segments: file names and headers.

use std::fmt;
use std::path::{Path, PathBuf};

use super::frame::{Chain, Hash, le_u32, le_u64};
use crate::error::{Error, ErrorKind};
use crate::storage::{Access, Storage};

/// Bytes of a segment's header, at offset 0.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4_096;
/// Smallest segment in bytes: a header and one small frame.
pub(crate) const SEGMENT_BYTES_MIN: u32 = 8_192;
/// Largest segment in bytes.
pub(crate) const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Largest segment number, epoch and seq that a reader takes; none is ever reached, and the sums
/// of two of them do not overflow.
const NUMBER_MAX: u64 = 1 << 62;

const MAGIC: [u8; 8] = *b"ONHSEG1\0";
const VERSION: u32 = 1;
/// Bytes that the header's CRC covers.
const CRC_AT: usize = 88;

/// Random number of an engine, chosen when it was created; each frame carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EngineId(pub(crate) [u8; 16]);

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Size of the file in bytes.
    pub(crate) bytes: u32,
    /// Number, from 1, as in the file's name.
    pub(crate) number: u64,
    /// The engine that wrote it.
    pub(crate) engine: EngineId,
    /// Epoch and seq that its first frame has, and the hash of the frame before.
    pub(crate) chain: Chain,
}

impl SegmentHeader {
    /// Lays the header out in its page.
    pub(crate) fn encode(&self, page: &mut [u8]) {
        assert_eq!(page.len(), SEGMENT_HEADER_BYTES);
        page.fill(0);
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        page[16..24].copy_from_slice(&self.number.to_le_bytes());
        page[24..40].copy_from_slice(&self.engine.0);
        page[40..48].copy_from_slice(&self.chain.epoch.to_le_bytes());
        page[48..56].copy_from_slice(&self.chain.seq.to_le_bytes());
        page[56..88].copy_from_slice(&self.chain.hash);
        let crc = crc32fast::hash(&page[..CRC_AT]);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads and checks the header of a segment file.
    pub(crate) fn load(storage: &dyn Storage, dir: &Path, number: u64) -> Result<Self, Error> {
        let path = segment_path(dir, number);
        let file = storage
            .open(&path, Access::Read)
            .map_err(|e| Error::io("journal segment cannot be opened", &path, e))?;
        let size =
            file.size().map_err(|e| Error::io("journal segment cannot be measured", &path, e))?;
        let mut page = [0; SEGMENT_HEADER_BYTES];
        let read = file
            .read_at(0, &mut page)
            .map_err(|e| Error::io("journal segment cannot be read at offset 0", &path, e))?;
        if read < SEGMENT_HEADER_BYTES {
            return Err(damaged(
                format!("journal segment has {size} bytes, its header alone takes 4096"),
                &path,
            ));
        }
        let header = Self::decode(&page, &path)?;
        if header.number != number {
            let inside = header.number;
            return Err(damaged(
                format!("journal segment {number} says at offset 16 that it is number {inside}"),
                &path,
            ));
        }
        if size != u64::from(header.bytes) {
            return Err(Error::damaged(
                format!("journal segment has {size} bytes, its header says {}", header.bytes),
                &path,
                "restore the file from a backup; only if you know that nothing but unused space \
                 was cut off, extend it with zeros to the size in its header",
            ));
        }
        Ok(header)
    }

    fn decode(page: &[u8; SEGMENT_HEADER_BYTES], path: &Path) -> Result<Self, Error> {
        if page[0..8] != MAGIC {
            return Err(damaged("journal segment has no magic ONHSEG1 at offset 0", path));
        }
        if crc32fast::hash(&page[..CRC_AT]) != le_u32(page, CRC_AT) {
            return Err(damaged("journal segment's header fails its CRC at offset 88", path));
        }
        let version = le_u32(page, 8);
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("journal segment has format version {version}, this program reads 1"),
                "open the directory with the version of the program that wrote it",
            )
            .at(path));
        }
        if let Some(at) = page[CRC_AT + 4..].iter().position(|byte| *byte != 0) {
            return Err(damaged(
                format!("journal segment's reserved byte at offset {} is not 0", at + CRC_AT + 4),
                path,
            ));
        }
        let mut engine = [0; 16];
        engine.copy_from_slice(&page[24..40]);
        let mut hash: Hash = [0; 32];
        hash.copy_from_slice(&page[56..88]);
        let header = Self {
            bytes: le_u32(page, 12),
            number: le_u64(page, 16),
            engine: EngineId(engine),
            chain: Chain { epoch: le_u64(page, 40), seq: le_u64(page, 48), hash },
        };
        let bytes = header.bytes;
        if check_segment_bytes(bytes).is_err() {
            return Err(damaged(format!("journal segment's size at offset 12 is {bytes}"), path));
        }
        if NUMBER_MAX < header.chain.epoch.max(header.chain.seq) {
            return Err(damaged("journal segment's first epoch or seq is above 2^62", path));
        }
        if header.number == 1 && header.chain != Chain::ORIGIN {
            return Err(damaged("journal segment 1 does not start at epoch 1, seq 1", path));
        }
        Ok(header)
    }
}

/// Checks a segment's size.
pub(crate) fn check_segment_bytes(bytes: u32) -> Result<(), Error> {
    if (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(4_096) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        format!(
            "segment_bytes is {bytes}, outside {SEGMENT_BYTES_MIN}..={SEGMENT_BYTES_MAX} or no \
             multiple of 4096"
        ),
        "choose a multiple of 4096 in the range; 67108864 is the default",
    ))
}

/// Returns the path of a segment.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.oj"))
}

/// Returns the path of a spare segment.
pub(crate) fn spare_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:020}.spare"))
}

/// Returns the path of a segment that is being removed.
pub(crate) fn removed_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.removed"))
}

/// Returns whether a name is that of a spare segment, or of one that was not wholly removed.
pub(crate) fn is_leftover_name(name: &str) -> bool {
    [".spare", ".removed"].iter().any(|suffix| name.ends_with(suffix))
}

/// Returns the numbers of the segments in a directory, ascending and without a gap.
pub(crate) fn list_segments(storage: &dyn Storage, dir: &Path) -> Result<Vec<u64>, Error> {
    let names =
        storage.list(dir).map_err(|e| Error::io("journal directory cannot be listed", dir, e))?;
    let mut numbers = Vec::new();
    for name in names {
        let Some(stem) = name.strip_suffix(".oj") else { continue };
        let number = stem.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        let Some(number) = number.filter(|number| stem == format!("{number:020}")) else {
            return Err(Error::damaged(
                "journal directory holds a file that is named like no segment",
                &dir.join(name),
                "move the file elsewhere; a segment is named by 20 digits and .oj",
            ));
        };
        numbers.push(number);
    }
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(Error::damaged(
                format!("journal segment {} is missing, {} exists", pair[0] + 1, pair[1]),
                &segment_path(dir, pair[0] + 1),
                "restore the missing file from a backup; nothing was changed",
            ));
        }
    }
    Ok(numbers)
}

/// Makes the error for a damaged segment.
pub(crate) fn damaged(what: impl Into<String>, path: &Path) -> Error {
    Error::damaged(
        what,
        path,
        "restore the file from a backup or a replica; nothing was changed, and the journal before \
         this place is whole",
    )
}
