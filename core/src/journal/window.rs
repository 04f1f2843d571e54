//! Reading a segment through a reused buffer, and judging what stands at an offset.

use std::path::{Path, PathBuf};

use super::frame::{
    Chain, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, Flaw, FrameHeader, Hash, crc_fits, frame_hash,
    is_zero,
};
use super::segment::{EngineId, SegmentHeader, damaged, segment_path};
use crate::error::{Error, ErrorKind};
use crate::storage::{Access, Storage, StorageFile};

/// Bytes that one read asks for.
const READ_BYTES: usize = 4 << 20;

/// What stands at an offset of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The frame that goes on from the last one, and its hash.
    Next(FrameHeader, Hash),
    /// The segment's end.
    End,
    /// A page of zeros.
    Zeros,
    /// A valid frame of an epoch that has passed: the segment was recycled.
    Old,
    /// A valid frame that is not older than the expected one and does not go on from the last.
    Other(FrameHeader, Flaw),
    /// No valid frame.
    Broken(Flaw),
}

/// A part of one segment in memory.
pub(super) struct Window {
    file: Box<dyn StorageFile>,
    path: PathBuf,
    number: u64,
    engine: EngineId,
    /// Size of the segment.
    size: u64,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte, and how many bytes are loaded.
    start: u64,
    loaded: usize,
    /// Bytes that one read asks for.
    read_bytes: usize,
}

impl Window {
    /// Opens a segment for reading; the buffer of an earlier window is used again.
    pub(super) fn open(
        storage: &dyn Storage,
        dir: &Path,
        header: &SegmentHeader,
        buffer: Vec<u8>,
    ) -> Result<Self, Error> {
        let path = segment_path(dir, header.number);
        let file = storage
            .open(&path, Access::Read)
            .map_err(|e| Error::io("journal segment cannot be opened", &path, e))?;
        Ok(Self {
            file,
            path,
            number: header.number,
            engine: header.engine,
            size: u64::from(header.bytes),
            buffer,
            start: 0,
            loaded: 0,
            read_bytes: READ_BYTES,
        })
    }

    /// Sets how many bytes one read asks for, for a caller that wants few.
    pub(super) fn set_read_bytes(&mut self, bytes: usize) {
        self.read_bytes = bytes;
    }

    /// Gives the buffer up for another window.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.loaded = 0;
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns bytes that [`bytes`](Self::bytes) has loaded last.
    pub(super) fn loaded(&self, offset: u64, len: usize) -> &[u8] {
        let at = (offset - self.start) as usize;
        &self.buffer[at..at + len]
    }

    /// Returns the bytes at an offset; the caller knows that the segment has them.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        assert!(offset + len as u64 <= self.size, "reads stay inside the segment");
        let end = self.start + self.loaded as u64;
        if offset < self.start || end < offset + len as u64 {
            self.load(offset, len)?;
        }
        Ok(self.loaded(offset, len))
    }

    fn load(&mut self, offset: u64, len: usize) -> Result<(), Error> {
        let want = (len.max(self.read_bytes) as u64).min(self.size - offset) as usize;
        let end = self.start + self.loaded as u64;
        let kept = if (self.start..end).contains(&offset) {
            let at = (offset - self.start) as usize;
            self.buffer.copy_within(at..self.loaded, 0);
            self.loaded - at
        } else {
            0
        };
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        self.start = offset;
        self.loaded = kept;
        let from = offset + kept as u64;
        let read = self.file.read_at(from, &mut self.buffer[kept..want]).map_err(|e| {
            Error::io(format!("journal segment cannot be read at offset {from}"), &self.path, e)
        })?;
        self.loaded += read;
        if self.loaded < want {
            return Err(damaged(
                format!(
                    "journal segment ends at offset {}, its header says {}",
                    from + read as u64,
                    self.size
                ),
                &self.path,
            ));
        }
        Ok(())
    }

    /// Judges what stands at an offset, and loads the frame if it is the next one.
    pub(super) fn inspect(&mut self, offset: u64, chain: &Chain) -> Result<Found, Error> {
        if offset == self.size {
            return Ok(Found::End);
        }
        if is_zero(self.bytes(offset, FRAME_ALIGN_BYTES)?) {
            return Ok(Found::Zeros);
        }
        let header = match self.valid_frame(offset)? {
            Ok(header) => header,
            Err(flaw) => return Ok(Found::Broken(flaw)),
        };
        if header.epoch < chain.epoch {
            return Ok(Found::Old);
        }
        if let Some(flaw) = chain.refuses(&header) {
            return Ok(Found::Other(header, flaw));
        }
        let bytes = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        let hash = frame_hash(self.loaded(offset, bytes));
        Ok(Found::Next(header, hash))
    }

    /// Returns the header of the frame at an offset if it is valid by itself, or its flaw.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Mismatch`] for a valid frame of another format version.
    fn valid_frame(&mut self, offset: u64) -> Result<Result<FrameHeader, Flaw>, Error> {
        let room = self.size - offset;
        let engine = self.engine;
        let page = self.bytes(offset, FRAME_ALIGN_BYTES)?;
        let decoded = FrameHeader::decode(page);
        let payload_bytes = super::frame::le_u32(page, 32);
        if let Err(flaw) = decoded
            && !matches!(flaw, Flaw::Version(_))
        {
            return Ok(Err(flaw));
        }
        if room < super::frame::padded(payload_bytes as usize) as u64 {
            return Ok(Err(Flaw::Length(payload_bytes)));
        }
        if decoded.is_ok_and(|header| header.engine != engine) {
            return Ok(Err(Flaw::Engine));
        }
        let frame = self.bytes(offset, FRAME_HEADER_BYTES + payload_bytes as usize)?;
        if !crc_fits(frame) {
            return Ok(Err(Flaw::Crc));
        }
        if let Err(Flaw::Version(version)) = decoded {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "journal frame at offset {offset} has format version {version}, this program \
                     reads 1"
                ),
                "open the directory with the version of the program that wrote it",
            )
            .at(&self.path));
        }
        Ok(decoded)
    }

    /// Looks at every page from an offset on: returns the first valid frame that is not older
    /// than expected, and the offset behind the last page that is not zero.
    pub(super) fn scan(
        &mut self,
        from: u64,
        chain: &Chain,
    ) -> Result<(Option<(u64, u64)>, u64), Error> {
        let mut written_end = from;
        let mut offset = from;
        while offset < self.size {
            let page = self.bytes(offset, FRAME_ALIGN_BYTES)?;
            if !is_zero(page) {
                written_end = offset + FRAME_ALIGN_BYTES as u64;
                let candidate = FrameHeader::decode(page);
                if candidate.is_ok_and(|header| chain.epoch <= header.epoch)
                    && let Ok(header) = self.valid_frame(offset)?
                {
                    return Ok((Some((offset, header.epoch)), written_end));
                }
            }
            offset += FRAME_ALIGN_BYTES as u64;
        }
        Ok((None, written_end))
    }
}
