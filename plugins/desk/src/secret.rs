//! The desk's secret: signs quotes, and hides customers in what is recorded.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::error::DeskError;

/// Name of the secret's file in the desk's directory.
const FILE: &str = "desk.key";

/// 32 random bytes of this shop; never shown.
pub(crate) struct Secret {
    quote: [u8; 32],
    pseudonym: [u8; 32],
}

impl Secret {
    /// Reads the secret of a directory, or makes one; without a directory it ends with the desk.
    pub(crate) fn open(dir: Option<&Path>) -> Result<Self, DeskError> {
        let Some(dir) = dir else { return Ok(Self::of(&random()?)) };
        let path = dir.join(FILE);
        let wrong = |why: String| DeskError::file(&path, &why);
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes: [u8; 32] = bytes.try_into().map_err(|bytes: Vec<u8>| {
                    wrong(format!(
                        "secret has {} bytes and not 32; remove it, open quotes end then",
                        bytes.len()
                    ))
                })?;
                closed_to_others(&path)?;
                Ok(Self::of(&bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes = random()?;
                write_private(dir, FILE, &bytes)?;
                Ok(Self::of(&bytes))
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    fn of(bytes: &[u8; 32]) -> Self {
        Self {
            quote: blake3::derive_key("onhand 2026-11-22 desk quote", bytes),
            pseudonym: blake3::derive_key("onhand 2026-11-22 desk pseudonym", bytes),
        }
    }

    /// Returns the code that proves a quote.
    pub(crate) fn quote_code(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.quote, bytes)
    }

    /// Returns a number that stands for another one, always the same; 0 stays 0.
    pub(crate) fn pseudonym(&self, what: &str, number: u64) -> u64 {
        if number == 0 {
            return 0;
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.pseudonym);
        hasher.update(what.as_bytes()).update(&number.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // 53 bits: exact in JSON, whoever reads it.
        (u64::from_be_bytes(first) >> 11).max(1)
    }
}

fn random() -> Result<[u8; 32], DeskError> {
    let mut bytes = [0; 32];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), DeskError> {
    getrandom::fill(bytes).map_err(|error| DeskError::Random(error.to_string()))
}

/// Writes a file that only the process's user may read: beside its place, then renamed.
pub(crate) fn write_private(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DeskError> {
    let path = dir.join(name);
    let wrong = |error: std::io::Error| DeskError::file(&path, &error.to_string());
    let mut suffix = [0; 8];
    fill_random(&mut suffix)?;
    let beside = dir.join(format!(".{name}.{:016x}", u64::from_le_bytes(suffix)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = (|| {
        let mut file = options.open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        fs::File::open(dir)?.sync_all()
    })();
    written.map_err(|error| {
        // It may not even be there.
        drop(fs::remove_file(&beside));
        wrong(error)
    })
}

#[cfg(unix)]
fn closed_to_others(path: &Path) -> Result<(), DeskError> {
    use std::os::unix::fs::PermissionsExt;
    let wrong = |why: &str| DeskError::file(path, why);
    let mode = fs::metadata(path).map_err(|error| wrong(&error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong("others may read it; `chmod 600` it if none of them has, or remove it"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn closed_to_others(_: &Path) -> Result<(), DeskError> {
    Ok(())
}
