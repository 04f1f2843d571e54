//! Compiled functions kept on disk, trusted only if this host has made them.
//!
//! Compiled code runs outside the sandbox's checks, so that a file of it is as good as a program.
//! A file is named by the component's hash and the engine's fingerprint and carries a keyed hash
//! over its name and its contents; the key lies in the same directory, which only its owner may
//! enter. Whatever does not fit is compiled again and overwritten. Code is handed to the compiler
//! function by function, through an interface of its own: nothing is mapped or run from a file.
//! Functions that a process of their own has compiled come in by the same way.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::child::Known;
use crate::error::RuntimeError;

/// Opens a file of compiled functions, with the version of its layout.
const MAGIC: &[u8; 8] = b"OHCODE01";
/// Bytes of the keyed hash.
const MAC_BYTES: usize = 32;
/// Largest file that is written or read.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most files of compiled functions in the directory; the oldest gives way.
pub const FILES_MAX: usize = 256;
/// Name of the file with the key.
const KEY_NAME: &str = "key";
/// How the names of files with compiled functions end.
const ENDING: &str = "code";

type Key = [u8; 32];

/// Compiled functions of the component that is being compiled, by the compiler's own keys.
#[derive(Default)]
pub(crate) struct Pack {
    known: Known,
    /// What the compiler has asked for and found, or added: all that is worth keeping.
    pub(crate) used: Known,
    /// Functions found by the compiler.
    pub(crate) hits: u64,
    /// Functions added by it.
    pub(crate) added: u64,
}

/// What the compiler asks and tells; empty while no component is being compiled.
#[derive(Default)]
pub(crate) struct Functions(Mutex<Option<Pack>>);

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Functions")
    }
}

impl Functions {
    /// Begins a component, of which some functions are known.
    pub(crate) fn begin(&self, known: Known) {
        *self.0.lock() = Some(Pack { known, ..Pack::default() });
    }

    /// Ends a component.
    pub(crate) fn end(&self) -> Pack {
        self.0.lock().take().unwrap_or_default()
    }
}

impl wasmtime::CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut pack = self.0.lock();
        let pack = pack.as_mut()?;
        let found = pack.known.get(key)?.clone();
        pack.used.insert(key.to_vec(), found.clone());
        pack.hits += 1;
        Some(Cow::Owned(found))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut pack = self.0.lock();
        let Some(pack) = pack.as_mut() else { return false };
        pack.added += 1;
        pack.used.insert(key.to_vec(), value);
        true
    }
}

/// What came of a look into the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Functions that need not be compiled.
    pub hits: u64,
    /// Functions that were compiled in this process.
    pub compiled: u64,
    /// Functions that a process of their own has compiled.
    pub compiled_apart: u64,
}

/// The directory with compiled functions.
pub(crate) struct Cache {
    dir: PathBuf,
    key: Key,
    fingerprint: u64,
}

impl Cache {
    /// Opens a directory, made if it is not there.
    pub(crate) fn open(dir: &Path, engine: &wasmtime::Engine) -> Result<Self, RuntimeError> {
        let refuse = |why: String| RuntimeError::Cache { path: dir.to_owned(), why };
        make_private(dir).map_err(|e| refuse(e.to_string()))?;
        check_private(dir, true).map_err(&refuse)?;
        let path = dir.join(KEY_NAME);
        let key = match read_key(&path) {
            Ok(key) => key,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_key(&path).map_err(|e| refuse(format!("no key can be made: {e}")))?
            }
            Err(e) => return Err(refuse(format!("its key cannot be read: {e}; remove the file"))),
        };
        check_private(&path, false).map_err(&refuse)?;
        check_owner(dir, &path).map_err(&refuse)?;
        Ok(Self { dir: dir.to_owned(), key, fingerprint: fingerprint(engine) })
    }

    fn name(&self, component: &blake3::Hash) -> String {
        format!("{}-{:016x}.{ENDING}", component.to_hex(), self.fingerprint)
    }

    /// Returns what is known of a component: nothing, or all that its last compilation used.
    pub(crate) fn known(&self, component: &blake3::Hash) -> Option<Known> {
        let name = self.name(component);
        let bytes = read_bounded(&self.dir.join(&name)).ok()?;
        unseal(&self.key, &name, &bytes)
    }

    /// Keeps what a compilation has used.
    pub(crate) fn keep(&self, component: &blake3::Hash, functions: &Known) {
        let name = self.name(component);
        let bytes = seal(&self.key, &name, functions);
        // The cache saves time only: what cannot be kept is compiled again.
        if bytes.len() as u64 <= FILE_BYTES_MAX && make_room(&self.dir).is_ok() {
            drop(write_whole(&self.dir, &name, &bytes));
        }
    }
}

/// Feeds a hasher from the standard library's interface.
struct Absorb(blake3::Hasher);

impl std::hash::Hasher for Absorb {
    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_be_bytes(first)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Returns a number for all that makes compiled code what it is, besides the component.
fn fingerprint(engine: &wasmtime::Engine) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = Absorb(blake3::Hasher::new());
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn mac(key: &Key, name: &str, body: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(MAGIC);
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Writes functions one after the other.
pub(crate) fn pack(functions: &Known, out: &mut Vec<u8>) {
    for part in functions.iter().flat_map(|(key, code)| [key, code]) {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// Reads what `pack` wrote; `None` for anything else.
pub(crate) fn unpack(mut body: &[u8]) -> Option<Known> {
    let mut next = || {
        let (length, rest) = body.split_at_checked(8)?;
        let length = u64::from_le_bytes(length.try_into().ok()?);
        let (part, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        body = rest;
        Some(part.to_vec())
    };
    let mut functions = Known::new();
    while let Some(key) = next() {
        functions.insert(key, next()?);
    }
    body.is_empty().then_some(functions)
}

fn seal(key: &Key, name: &str, functions: &Known) -> Vec<u8> {
    let mut body = Vec::new();
    pack(functions, &mut body);
    let mac = mac(key, name, &body);
    let mut bytes = Vec::with_capacity(MAGIC.len() + MAC_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(mac.as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Returns what `seal` was given; `None` for anything that it has not made under this key and name.
fn unseal(key: &Key, name: &str, bytes: &[u8]) -> Option<Known> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (found, body) = rest.split_at_checked(MAC_BYTES)?;
    let found: [u8; MAC_BYTES] = found.try_into().ok()?;
    // This comparison takes the same time wherever the two differ.
    if mac(key, name, body) != blake3::Hash::from_bytes(found) {
        return None;
    }
    unpack(body)
}

fn make_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn new_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Refuses what is a link, of another kind, or open to anybody but its owner.
fn check_private(path: &Path, dir: bool) -> Result<(), String> {
    let shown = path.display();
    let found = fs::symlink_metadata(path).map_err(|e| format!("{shown}: {e}"))?;
    if found.is_dir() != dir || found.is_symlink() {
        return Err(format!("{shown} is no plain {}", if dir { "directory" } else { "file" }));
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&found) & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "{shown} has mode {mode:03o}, open to others than its owner: take it away from \
                 them (chmod go=) or choose another directory"
            ));
        }
    }
    Ok(())
}

/// Refuses a directory or a key of somebody else. A file made now shows who we are.
fn check_owner(dir: &Path, key: &Path) -> Result<(), String> {
    #[cfg(unix)]
    {
        let owner = |path: &Path| {
            let found = fs::symlink_metadata(path).map_err(|e| format!("{}: {e}", path.display()));
            found.map(|found| std::os::unix::fs::MetadataExt::uid(&found))
        };
        let probe = dir.join(format!("probe-{:016x}", random_number().map_err(|e| e.to_string())?));
        new_private(&probe).map_err(|e| format!("nothing can be written there: {e}"))?;
        let ours = owner(&probe);
        fs::remove_file(&probe).map_err(|e| e.to_string())?;
        let ours = ours?;
        for path in [dir, key] {
            let found = owner(path)?;
            if found != ours {
                return Err(format!(
                    "{} belongs to user {found} and the host runs as {ours}: choose another \
                     directory",
                    path.display()
                ));
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (dir, key);
    Ok(())
}

fn random_number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_key(path: &Path) -> io::Result<Key> {
    let bytes = read_bounded(path)?;
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it has not 32 bytes");
    Key::try_from(bytes.as_slice()).map_err(wrong)
}

fn make_key(path: &Path) -> io::Result<Key> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::from)?;
    let mut file = new_private(path)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than its limit"));
    }
    Ok(bytes)
}

/// Removes the oldest files until one more fits.
fn make_room(dir: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|found| found == ENDING) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort_unstable();
    let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
    files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// Writes a file under a name of its own first, so that no half of it is ever found.
fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("draft-{:016x}", random_number()?));
    let written = new_private(&draft).and_then(|mut file| file.write_all(bytes));
    let done = written.and_then(|()| fs::rename(&draft, dir.join(name)));
    if done.is_err() {
        drop(fs::remove_file(&draft));
    }
    done
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{FILES_MAX, make_room, seal, unseal};

    fn functions() -> BTreeMap<Vec<u8>, Vec<u8>> {
        [(vec![1], vec![10, 11]), (vec![2, 3], vec![]), (vec![], vec![9; 100])].into()
    }

    /// What was sealed comes back, under its own key and name only.
    #[test]
    fn a_sealed_file_is_bound_to_key_and_name() {
        let key = [7; 32];
        let bytes = seal(&key, "a.code", &functions());
        assert_eq!(unseal(&key, "a.code", &bytes), Some(functions()));
        assert_eq!(unseal(&key, "b.code", &bytes), None);
        assert_eq!(unseal(&[8; 32], "a.code", &bytes), None);
    }

    /// No file with one changed bit, cut off, or continued is trusted.
    #[test]
    fn a_changed_file_is_not_trusted() {
        let key = [7; 32];
        let bytes = seal(&key, "a.code", &functions());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert_eq!(unseal(&key, "a.code", &changed), None, "byte {at}");
            assert_eq!(unseal(&key, "a.code", &bytes[..at]), None, "cut at {at}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(unseal(&key, "a.code", &longer), None);
    }

    /// The directory keeps its number of files, and what is not ours stays.
    #[test]
    fn the_oldest_files_give_way() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        for at in 0..FILES_MAX + 3 {
            std::fs::write(dir.path().join(format!("{at}.code")), [])?;
        }
        std::fs::write(dir.path().join("other"), [])?;
        make_room(dir.path())?;
        assert_eq!(std::fs::read_dir(dir.path())?.count(), FILES_MAX - 1 + 1);
        assert!(dir.path().join("other").exists());
        Ok(())
    }
}
