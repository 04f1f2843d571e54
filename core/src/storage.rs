//! Files as the journal needs them: a trait that real disks and the simulation both fill.
//!
//! What a write promises is part of the handle: see [`Access`] and
//! [`StorageFile::writes_through`]. Nothing here retries; a caller that sees a failed write or
//! sync must not use that handle again.

use std::io;
use std::path::Path;

mod disk;
mod memory;

pub use disk::{DiskStorage, WriteMode};
pub use memory::MemoryStorage;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing; writes are durable after [`StorageFile::sync`].
    Write,
    /// Writing so that each write is durable when it returns, where the storage can do so; see
    /// [`StorageFile::writes_through`]. Offset, length and address in memory of every write are
    /// multiples of [`ALIGN_BYTES`]; such a handle is not read from.
    WriteThrough,
}

/// Alignment in bytes of writes with [`Access::WriteThrough`].
pub const ALIGN_BYTES: usize = 4_096;

/// A place for files: a disk, or a simulation of one.
///
/// A created, renamed or removed name is durable after [`sync_dir`](Self::sync_dir) of its
/// directory, not before.
pub trait Storage: Send + Sync + 'static {
    /// Creates a directory and its parents; one that exists is no error.
    ///
    /// # Errors
    ///
    /// Returns what the storage says; so does each function of this trait.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Returns the names in a directory, sorted; a name that is not UTF-8 comes with replacement
    /// characters.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file that exists.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>>;

    /// Creates a file that must not exist, and opens it for writing.
    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within its directory; open handles stay valid. The new name must be free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Returns whether a file or directory exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Returns how many bytes may still be written below a directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Reads until the buffer is full or the file ends, and returns the bytes read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at an offset; after an error any part of them may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to this file durable.
    fn sync(&self) -> io::Result<()>;

    /// Returns the length of the file in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file or extends it with zeros.
    fn set_size(&self, bytes: u64) -> io::Result<()>;

    /// Returns whether a write is durable when it returns; if not, a [`sync`](Self::sync) must
    /// follow it.
    fn writes_through(&self) -> bool;
}
