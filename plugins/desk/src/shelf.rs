//! Where installed plugins lie: files named by hashes, nothing else ever in a path.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::error::DeskError;
use crate::secret::write_private;

/// Folder of bundles and configurations in the desk's directory.
const FOLDER: &str = "plugins";
/// Most bytes of a file that is read back.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Bundles by their component's hash, configurations by component and own hash.
pub(crate) struct Shelf {
    dir: Option<PathBuf>,
    memory: Mutex<BTreeMap<String, Vec<u8>>>,
}

fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

fn bundle_name(plugin: &[u8; 32]) -> String {
    format!("{}.onhand", hex(plugin))
}

fn config_name(plugin: &[u8; 32], config: &[u8; 32]) -> String {
    format!("{}-{}.json", hex(plugin), hex(config))
}

impl Shelf {
    pub(crate) fn open(dir: Option<&Path>) -> Result<Self, DeskError> {
        let dir = dir.map(|dir| dir.join(FOLDER));
        if let Some(dir) = &dir {
            let wrong = |error: std::io::Error| DeskError::file(dir, &error.to_string());
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(dir).map_err(wrong)?;
        }
        Ok(Self { dir, memory: Mutex::default() })
    }

    /// Keeps a bundle and a configuration.
    pub(crate) fn keep(
        &self,
        plugin: &[u8; 32],
        bundle: &[u8],
        config: &[u8; 32],
        text: &str,
    ) -> Result<(), DeskError> {
        self.write(bundle_name(plugin), bundle)?;
        self.write(config_name(plugin, config), text.as_bytes())
    }

    fn write(&self, name: String, bytes: &[u8]) -> Result<(), DeskError> {
        match &self.dir {
            Some(dir) => write_private(dir, &name, bytes),
            None => {
                self.memory.lock().insert(name, bytes.to_vec());
                Ok(())
            }
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DeskError> {
        let Some(dir) = &self.dir else { return Ok(self.memory.lock().get(name).cloned()) };
        let path = dir.join(name);
        let wrong = |error: std::io::Error| DeskError::file(&path, &error.to_string());
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                let why = format!("has {} bytes, at most {FILE_BYTES_MAX}", meta.len());
                Err(DeskError::file(&path, &why))
            }
            Ok(_) => fs::read(&path).map(Some).map_err(wrong),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error)),
        }
    }

    /// Returns the bundle of a component, if it is there.
    pub(crate) fn bundle(&self, plugin: &[u8; 32]) -> Result<Option<Vec<u8>>, DeskError> {
        self.read(&bundle_name(plugin))
    }

    /// Returns the text of a configuration, if it is there and unchanged.
    pub(crate) fn config(
        &self,
        plugin: &[u8; 32],
        config: &[u8; 32],
    ) -> Result<Option<String>, DeskError> {
        let Some(bytes) = self.read(&config_name(plugin, config))? else { return Ok(None) };
        let same = blake3::hash(&bytes) == *config;
        Ok(String::from_utf8(bytes).ok().filter(|_| same))
    }

    /// Removes a configuration, and the bundle with its last one.
    pub(crate) fn remove(&self, plugin: &[u8; 32], config: &[u8; 32], last: bool) {
        let mut names = vec![config_name(plugin, config)];
        names.extend(last.then(|| bundle_name(plugin)));
        for name in names {
            match &self.dir {
                // What stays behind is read by nobody any more.
                Some(dir) => drop(fs::remove_file(dir.join(name))),
                None => drop(self.memory.lock().remove(&name)),
            }
        }
    }
}
