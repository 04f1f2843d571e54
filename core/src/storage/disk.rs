//! Real files: direct, synchronous writes where the file system takes them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::{ALIGN_BYTES, Access, Storage, StorageFile};
use crate::journal::buffer::AlignedBuffer;

/// Flags of `open(2)` for direct writes that are durable when they return: `O_DIRECT | O_DSYNC`.
///
/// Source: Linux, `include/uapi/asm-generic/fcntl.h` and the headers of each architecture.
const DIRECT_SYNC: Option<i32> = if cfg!(not(target_os = "linux")) {
    None
} else if cfg!(any(target_arch = "x86_64", target_arch = "x86", target_arch = "riscv64")) {
    Some(0o40_000 | 0o10_000)
} else if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
    Some(0o200_000 | 0o10_000)
} else {
    None
};

/// Name of the file that tells whether a directory takes direct writes; it lives for a moment.
const PROBE_NAME: &str = "direct-io.probe";

/// How a write with [`Access::WriteThrough`] becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// `O_DIRECT | O_DSYNC`: past the page cache, durable when the write returns.
    Direct,
    /// Through the page cache, followed by `fdatasync`.
    Buffered,
}

/// Files of the operating system.
///
/// # Example
///
/// ```
/// use onhand_core::storage::{DiskStorage, WriteMode};
///
/// let storage = DiskStorage::probe(&std::env::temp_dir())?;
/// println!("durable writes are {:?}", storage.mode());
/// assert_eq!(DiskStorage::buffered().mode(), WriteMode::Buffered);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DiskStorage {
    mode: WriteMode,
}

impl DiskStorage {
    /// Makes a storage that never writes directly.
    pub const fn buffered() -> Self {
        Self { mode: WriteMode::Buffered }
    }

    /// Makes a storage that writes directly if the file system of `dir` takes a direct write of
    /// [`ALIGN_BYTES`], and through the page cache if it does not.
    ///
    /// # Errors
    ///
    /// Returns why the directory, which must exist, cannot be written to at all.
    pub fn probe(dir: &Path) -> io::Result<Self> {
        let path = dir.join(PROBE_NAME);
        drop(OpenOptions::new().write(true).create(true).truncate(true).open(&path)?);
        let direct = Self { mode: WriteMode::Direct };
        let mut page = AlignedBuffer::new(ALIGN_BYTES);
        page.resize(ALIGN_BYTES);
        let written = DIRECT_SYNC.is_some()
            && direct
                .open(&path, Access::WriteThrough)
                .and_then(|file| file.write_all_at(0, page.as_slice()))
                .is_ok();
        std::fs::remove_file(&path)?;
        Ok(if written { direct } else { Self::buffered() })
    }

    /// Returns how writes become durable.
    pub const fn mode(&self) -> WriteMode {
        self.mode
    }

    fn options(&self, access: Access) -> (OpenOptions, bool) {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        let through = access == Access::WriteThrough && self.mode == WriteMode::Direct;
        match DIRECT_SYNC {
            Some(flags) if through => {
                options.custom_flags(flags);
                (options, true)
            }
            Some(_) | None => (options, false),
        }
    }
}

impl Storage for DiskStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let (options, through) = self.options(access);
        Ok(Box::new(DiskFile { file: options.open(path)?, through }))
    }

    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let (mut options, through) = self.options(access);
        let file = options.write(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile { file, through }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.exists(to)? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the new name is taken"));
        }
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        fs2::available_space(dir)
    }
}

/// A file of the operating system.
struct DiskFile {
    file: File,
    through: bool,
}

impl StorageFile for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn writes_through(&self) -> bool {
        self.through
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    /// Both modes write, read, rename, list and remove alike; names collide with an error.
    #[test]
    fn disk_storage_does_what_the_trait_says() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("a/b");
        let probed = DiskStorage::probe(dir.path()).unwrap();
        for (storage, name) in [(DiskStorage::buffered(), "x"), (probed, "y")] {
            storage.create_dir_all(&sub).unwrap();
            let path = sub.join(name);
            let file = storage.create(&path, Access::WriteThrough).unwrap();
            assert_eq!(file.writes_through(), storage.mode() == WriteMode::Direct);
            assert!(storage.create(&path, Access::Write).is_err());
            let mut page = AlignedBuffer::new(ALIGN_BYTES);
            page.resize(2 * ALIGN_BYTES);
            page.as_mut_slice().fill(7);
            file.write_all_at(4096, page.as_slice()).unwrap();
            file.sync().unwrap();
            let read = storage.open(&path, Access::Read).unwrap();
            assert_eq!(read.size().unwrap(), 3 * 4096);
            let mut bytes = vec![1; 4 * 4096];
            assert_eq!(read.read_at(0, &mut bytes).unwrap(), 3 * 4096);
            assert!(bytes[..4096].iter().all(|b| *b == 0));
            assert!(bytes[4096..3 * 4096].iter().all(|b| *b == 7));
            file.set_size(10).unwrap();
            assert_eq!(read.size().unwrap(), 10);
            let moved = sub.join("z");
            storage.rename(&path, &moved).unwrap();
            storage.sync_dir(&sub).unwrap();
            assert!(!storage.exists(&path).unwrap());
            assert_eq!(storage.list(&sub).unwrap(), ["z"]);
            drop(storage.create(&path, Access::Write).unwrap());
            assert!(storage.rename(&path, &moved).is_err());
            storage.remove(&moved).unwrap();
            storage.remove(&path).unwrap();
            assert!(storage.free_bytes(&sub).unwrap() > 0);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the probe is gone");
    }
}
