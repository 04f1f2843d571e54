//! A storage in memory that fails, loses and tears as disks do, all from one seed.
//!
//! What was made durable stays. Of the rest a crash keeps what it likes: whole writes or single
//! sectors of 512 bytes, and of the names of each directory a prefix of the changes. A failed
//! sync leaves its writes readable, but no later sync makes them durable, as on Linux.
//! Directories themselves are durable when they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Random;
use crate::storage::{ALIGN_BYTES, Access, Storage, StorageFile};

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails; some sectors of a write may have been written.
    Io,
    /// The disk is full; nothing is written.
    Full,
    /// A part of a write is written, then it fails. Other operations fail.
    Short,
    /// A sync fails and what was not durable never becomes so. Other operations fail.
    Sync,
    /// The machine stops: this operation is done in part, all later ones fail until
    /// [`FaultStorage::crash`].
    Crash,
}

/// A change to a file that a crash may undo.
struct Change {
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    size_before: u64,
    size_after: u64,
    /// Whether it sets the size and writes nothing.
    sets_size: bool,
    /// Durable although an older change is not.
    durable: bool,
    /// Left behind by a failed sync: no later sync makes it durable.
    lost: bool,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

/// A change to a directory that is not durable yet.
enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

struct Machine {
    random: Random,
    through: bool,
    /// Counts crashes: handles of an earlier life are dead.
    life: u64,
    stopped: bool,
    operation_count: u64,
    faults: BTreeMap<u64, Fault>,
    capacity: u64,
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    name_changes: BTreeMap<PathBuf, Vec<NameChange>>,
}

/// A simulated disk; clones share it.
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use onhand_core::sim::FaultStorage;
/// use onhand_core::storage::{Access, Storage};
///
/// let disk = FaultStorage::new(7, false);
/// disk.create_dir_all(Path::new("/data"))?;
/// let file = disk.create(Path::new("/data/a"), Access::Write)?;
/// file.write_all_at(0, b"kept")?;
/// file.sync()?;
/// disk.sync_dir(Path::new("/data"))?;
/// disk.crash();
/// assert_eq!(disk.file(Path::new("/data/a")).as_deref(), Some(&b"kept"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FaultStorage(Arc<Mutex<Machine>>);

impl FaultStorage {
    /// Makes an empty disk; `write_through` says whether [`Access::WriteThrough`] makes writes
    /// durable when they return, or a sync is needed.
    pub fn new(seed: u64, write_through: bool) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            random: Random::new(seed),
            through: write_through,
            life: 0,
            stopped: false,
            operation_count: 0,
            faults: BTreeMap::new(),
            capacity: u64::MAX,
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            name_changes: BTreeMap::new(),
        })))
    }

    /// Returns how many operations there were.
    pub fn operation_count(&self) -> u64 {
        self.0.lock().operation_count
    }

    /// Makes the operation with this number, counted from 1, fail.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.insert(operation, fault);
    }

    /// Takes back every fault that has not happened.
    pub fn clear_faults(&self) {
        self.0.lock().faults.clear();
    }

    /// Returns how many bytes all files have together.
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }

    /// Returns whether the machine has stopped and waits for [`FaultStorage::crash`].
    pub fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// Sets how many bytes all files may have together.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// Stops the machine and starts it again: changes that were not durable are kept, torn or
    /// lost at random, and handles of before are dead.
    pub fn crash(&self) {
        let mut machine = self.0.lock();
        let machine = &mut *machine;
        machine.life += 1;
        machine.stopped = false;
        for content in &mut machine.contents {
            content.crash(&mut machine.random);
        }
        for changes in std::mem::take(&mut machine.name_changes).into_values() {
            let kept = machine.random.below(changes.len() as u64 + 1);
            for change in changes.into_iter().take(kept as usize) {
                change.apply(&mut machine.durable_names);
            }
        }
        machine.names = machine.durable_names.clone();
    }

    /// Flips bits of a byte, durably; false if the file has no such byte.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let mut machine = self.0.lock();
        let Some(&inode) = machine.names.get(path) else { return false };
        match machine.contents[inode].bytes.get_mut(offset as usize) {
            Some(byte) => {
                *byte ^= mask;
                true
            }
            None => false,
        }
    }

    /// Returns the bytes of a file, as read now.
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let machine = self.0.lock();
        machine.names.get(path).map(|&inode| machine.contents[inode].bytes.clone())
    }

    /// Puts a file in place, durably.
    pub fn put_file(&self, path: &Path, bytes: Vec<u8>) {
        let mut machine = self.0.lock();
        let inode = machine.contents.len();
        machine.contents.push(Content { bytes, changes: Vec::new() });
        machine.names.insert(path.to_owned(), inode);
        machine.durable_names.insert(path.to_owned(), inode);
    }

    /// Takes a file away, durably; false if there is none.
    pub fn take_file(&self, path: &Path) -> bool {
        let mut machine = self.0.lock();
        machine.durable_names.remove(path);
        machine.names.remove(path).is_some()
    }

    /// Returns a copy of the disk as it is now, all of it durable, with its own faults and seed.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let fork = Self::new(seed, self.0.lock().through);
        {
            let machine = self.0.lock();
            let mut copy = fork.0.lock();
            copy.dirs.clone_from(&machine.dirs);
            for (path, &inode) in &machine.names {
                let at = copy.contents.len();
                let bytes = machine.contents[inode].bytes.clone();
                copy.contents.push(Content { bytes, changes: Vec::new() });
                copy.names.insert(path.clone(), at);
            }
            copy.durable_names = copy.names.clone();
        }
        fork
    }
}

impl Content {
    /// Undoes what is not durable, then applies a part of it again.
    fn crash(&mut self, random: &mut Random) {
        let changes = std::mem::take(&mut self.changes);
        for change in changes.iter().rev() {
            change.undo(&mut self.bytes);
        }
        for change in &changes {
            // A lost write often never reached the disk; otherwise anything may have.
            let fate =
                if change.durable { 0 } else { random.below(if change.lost { 6 } else { 3 }) };
            match fate {
                0 => change.redo(&mut self.bytes),
                1 => change.tear(&mut self.bytes, random),
                _ => (),
            }
        }
    }
}

impl Change {
    fn undo(&self, bytes: &mut Vec<u8>) {
        let at = self.offset as usize;
        if self.sets_size {
            bytes.truncate(at);
            bytes.extend_from_slice(&self.before);
        } else {
            bytes[at..at + self.after.len()].copy_from_slice(&self.before);
        }
        bytes.resize(self.size_before as usize, 0);
    }

    fn redo(&self, bytes: &mut Vec<u8>) {
        let at = self.offset as usize;
        let end = at + self.after.len();
        if self.sets_size {
            bytes.resize(self.size_after as usize, 0);
        } else {
            bytes.resize(bytes.len().max(end), 0);
            bytes[at..end].copy_from_slice(&self.after);
        }
    }

    /// Applies some sectors.
    fn tear(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let end = self.offset + self.after.len() as u64;
        let mut at = self.offset;
        while at < end {
            let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if random.percent(50) {
                if (bytes.len() as u64) < next {
                    bytes.resize(next as usize, 0);
                }
                let part = (at - self.offset) as usize..(next - self.offset) as usize;
                bytes[at as usize..next as usize].copy_from_slice(&self.after[part]);
            }
            at = next;
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, inode) => {
                names.insert(path, inode);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

impl Machine {
    /// Counts an operation and returns what goes wrong with it.
    fn operation(&mut self) -> io::Result<Option<Fault>> {
        if self.stopped {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        self.operation_count += 1;
        let fault = self.faults.remove(&self.operation_count);
        self.stopped = fault == Some(Fault::Crash);
        Ok(fault)
    }

    /// An operation that is done or not.
    fn plain_operation(&mut self) -> io::Result<()> {
        match self.operation()? {
            None => Ok(()),
            Some(fault) => Err(fault.error()),
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, path: &Path, change: NameChange) {
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        self.name_changes.entry(dir).or_default().push(change);
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|&inode| self.contents[inode].bytes.len() as u64).sum()
    }

    /// Changes bytes of a file; a change that is not durable is remembered.
    fn write(&mut self, inode: usize, offset: u64, after: &[u8], durable: bool) {
        let content = &mut self.contents[inode];
        let size_before = content.bytes.len() as u64;
        let size_after = size_before.max(offset + after.len() as u64);
        content.bytes.resize(size_after as usize, 0);
        let place = offset as usize..offset as usize + after.len();
        if !durable || !content.changes.is_empty() {
            content.changes.push(Change {
                offset,
                before: content.bytes[place.clone()].to_vec(),
                after: after.to_vec(),
                size_before,
                size_after,
                sets_size: false,
                durable,
                lost: false,
            });
        }
        content.bytes[place].copy_from_slice(after);
    }

    /// Writes some sectors, none of them durable.
    fn write_some(&mut self, inode: usize, offset: u64, after: &[u8]) {
        let mut at = 0;
        while at < after.len() {
            let sector = (SECTOR_BYTES - (offset + at as u64) % SECTOR_BYTES) as usize;
            let next = (at + sector).min(after.len());
            if self.random.percent(50) {
                self.write(inode, offset + at as u64, &after[at..next], false);
            }
            at = next;
        }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::other("simulated input or output error"),
            Self::Full => io::Error::new(io::ErrorKind::StorageFull, "simulated full disk"),
            Self::Short => io::Error::new(io::ErrorKind::WriteZero, "simulated short write"),
            Self::Sync => io::Error::other("simulated failed sync"),
            Self::Crash => io::Error::other("the simulated machine has stopped"),
        }
    }
}

impl Storage for FaultStorage {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        machine.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        if !machine.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = machine.names.keys().chain(&machine.dirs).filter(|p| p.parent() == Some(dir));
        let mut names: Vec<String> = here
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        let inode = machine.inode(path)?;
        Ok(self.handle(&machine, inode, access))
    }

    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        if machine.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_none_or(|dir| !machine.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = machine.contents.len();
        machine.contents.push(Content::default());
        machine.names.insert(path.to_owned(), inode);
        machine.change_name(path, NameChange::Add(path.to_owned(), inode));
        Ok(self.handle(&machine, inode, access))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        machine.inode(path)?;
        machine.names.remove(path);
        machine.change_name(path, NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        let inode = machine.inode(from)?;
        if machine.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.names.remove(from);
        machine.names.insert(to.to_owned(), inode);
        machine.change_name(from, NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        let machine = &mut *machine;
        for change in machine.name_changes.remove(dir).unwrap_or_default() {
            change.apply(&mut machine.durable_names);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        Ok(machine.names.contains_key(path) || machine.dirs.contains(path))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let mut machine = self.0.lock();
        machine.plain_operation()?;
        Ok(machine.capacity.saturating_sub(machine.used_bytes()))
    }
}

impl FaultStorage {
    fn handle(&self, machine: &Machine, inode: usize, access: Access) -> Box<dyn StorageFile> {
        let through = access == Access::WriteThrough && machine.through;
        Box::new(FaultFile { disk: self.clone(), life: machine.life, inode, access, through })
    }
}

struct FaultFile {
    disk: FaultStorage,
    life: u64,
    inode: usize,
    access: Access,
    through: bool,
}

impl FaultFile {
    fn run<T>(&self, work: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        #[cfg(all(test, feature = "shuttle"))]
        crate::sync::on_disk();
        let mut machine = self.disk.0.lock();
        if machine.life != self.life {
            return Err(io::Error::other("the file was opened before the simulated crash"));
        }
        work(&mut machine)
    }
}

impl StorageFile for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.run(|machine| {
            machine.plain_operation()?;
            let bytes = &machine.contents[self.inode].bytes;
            let from = (offset as usize).min(bytes.len());
            let count = buffer.len().min(bytes.len() - from);
            buffer[..count].copy_from_slice(&bytes[from..from + count]);
            Ok(count)
        })
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if self.access == Access::WriteThrough {
            // The rule of direct writes, checked here so that no test misses it.
            let unit = ALIGN_BYTES as u64;
            let address = bytes.as_ptr().addr() as u64;
            if [offset, bytes.len() as u64, address].iter().any(|at| at % unit != 0) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        self.run(|machine| {
            let fault = machine.operation()?;
            let size = machine.contents[self.inode].bytes.len() as u64;
            let growth = (offset + bytes.len() as u64).saturating_sub(size);
            if growth > 0 && machine.capacity < machine.used_bytes() + growth {
                return Err(Fault::Full.error());
            }
            match fault {
                None => {
                    machine.write(self.inode, offset, bytes, self.through);
                    return Ok(());
                }
                Some(Fault::Short) => {
                    let count = machine.random.below(bytes.len() as u64 + 1) as usize;
                    machine.write(self.inode, offset, &bytes[..count], false);
                }
                // The whole write can be read, but it was never made durable.
                Some(Fault::Sync) => machine.write(self.inode, offset, bytes, false),
                Some(Fault::Io | Fault::Crash) => machine.write_some(self.inode, offset, bytes),
                Some(Fault::Full) => (),
            }
            for change in &mut machine.contents[self.inode].changes {
                change.lost |= fault == Some(Fault::Sync);
            }
            Err(fault.map_or_else(|| Fault::Io.error(), Fault::error))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.run(|machine| {
            let fault = machine.operation()?;
            let content = &mut machine.contents[self.inode];
            match fault {
                None => {
                    for change in &mut content.changes {
                        change.durable |= !change.lost;
                    }
                    if content.changes.iter().all(|change| change.durable) {
                        content.changes.clear();
                    }
                    Ok(())
                }
                Some(fault) => {
                    if fault != Fault::Crash {
                        content.changes.iter_mut().for_each(|change| change.lost = !change.durable);
                    }
                    Err(fault.error())
                }
            }
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.run(|machine| {
            machine.plain_operation()?;
            Ok(machine.contents[self.inode].bytes.len() as u64)
        })
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.run(|machine| {
            machine.plain_operation()?;
            let content = &mut machine.contents[self.inode];
            let size_before = content.bytes.len() as u64;
            let at = bytes.min(size_before);
            content.changes.push(Change {
                offset: at,
                before: content.bytes[at as usize..].to_vec(),
                after: Vec::new(),
                size_before,
                size_after: bytes,
                sets_size: true,
                durable: false,
                lost: false,
            });
            content.bytes.resize(bytes as usize, 0);
            Ok(())
        })
    }

    fn writes_through(&self) -> bool {
        self.through
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
