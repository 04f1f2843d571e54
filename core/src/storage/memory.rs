//! Files in memory, for engines that keep nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Access, Storage, StorageFile};

type Bytes = Arc<RwLock<Vec<u8>>>;

/// Files in memory: gone with the process, as large as what is written to them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, Bytes>,
    dirs: BTreeSet<PathBuf>,
}

struct MemoryFile(Bytes);

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Storage for MemoryStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.lock().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.0.lock();
        if !names.dirs.contains(dir) {
            return Err(not_found());
        }
        let here = names.files.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(here.filter_map(name).collect())
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Box<dyn StorageFile>> {
        let names = self.0.lock();
        let bytes = names.files.get(path).ok_or_else(not_found)?;
        Ok(Box::new(MemoryFile(bytes.clone())))
    }

    fn create(&self, path: &Path, _access: Access) -> io::Result<Box<dyn StorageFile>> {
        let mut names = self.0.lock();
        if names.files.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let bytes = Bytes::default();
        names.files.insert(path.to_owned(), bytes.clone());
        Ok(Box::new(MemoryFile(bytes)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().files.remove(path).map(drop).ok_or_else(not_found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.0.lock();
        let bytes = names.files.remove(from).ok_or_else(not_found)?;
        names.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let names = self.0.lock();
        Ok(names.files.contains_key(path) || names.dirs.contains(path))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let from = usize::try_from(offset).map_err(|_| io::Error::other("offset too large"))?;
        if bytes.len() < from + data.len() {
            bytes.resize(from + data.len(), 0);
        }
        bytes[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        let size = usize::try_from(bytes).map_err(|_| io::Error::other("size too large"))?;
        self.0.write().resize(size, 0);
        Ok(())
    }

    fn writes_through(&self) -> bool {
        true
    }
}
