//! Keys: made from the system's randomness, kept in files, named by what they are.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::Signer as _;

/// First word of a public key as text; the rest is 64 hexadecimal digits.
const PUBLIC_PREFIX: &str = "ed25519:";
/// First word of a secret key as text.
const SECRET_PREFIX: &str = "ed25519-secret:";
/// Most bytes of a key file.
const FILE_BYTES_MAX: usize = 1_024;

/// Short name of a public key: the first 8 bytes of its BLAKE3, as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Public key of a signer, shown as `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

/// Secret key of a signer. Its text is never shown.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Why there is no key.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no key.
    Text(&'static str),
    /// The file cannot be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file of a secret key may be read by others.
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system has no randomness.
    Randomness,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(why) => f.write_str(why),
            Self::File { path, error } if error.kind() == io::ErrorKind::AlreadyExists => {
                write!(f, "{} is there already and is not overwritten", path.display())
            }
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Open { path, mode } => write!(
                f,
                "{} may be read by others (mode {mode:03o}): chmod 600 it",
                path.display()
            ),
            Self::Randomness => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            Self::Text(_) | Self::Open { .. } | Self::Randomness => None,
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Returns bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Returns the bytes of exactly so many lower-case hexadecimal digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 2 * N || !digits.iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PUBLIC_PREFIX)?;
        write_hex(f, self.0.as_bytes())
    }
}

impl PublicKey {
    /// Takes a key as text.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the text; a key that makes weak signatures is refused.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().strip_prefix(PUBLIC_PREFIX).and_then(unhex);
        let wanted = "no public key: it is `ed25519:` and 64 hexadecimal digits";
        let bytes: [u8; 32] = digits.ok_or(KeyError::Text(wanted))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes);
        let key = key.map_err(|_| KeyError::Text("no public key: no point of the curve"))?;
        if key.is_weak() {
            return Err(KeyError::Text("a weak public key, which no signer has"));
        }
        Ok(Self(key))
    }

    /// Returns its short name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::hash(self.0.as_bytes()).as_bytes()[..8]);
        KeyId(id)
    }

    /// Returns whether a signature of the message is by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().id()).finish()
    }
}

impl SigningKey {
    /// Makes a key of the system's randomness.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError::Randomness`] if there is none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| KeyError::Randomness)?;
        Ok(Self::from_seed(seed))
    }

    /// Makes the key of a seed: 32 bytes that nobody else knows.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Returns the public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Reads the file of a secret key.
    ///
    /// # Errors
    ///
    /// Returns a file that cannot be read, may be read by others, or holds no key.
    pub fn read_file(path: &Path) -> Result<Self, KeyError> {
        let file = |error| KeyError::File { path: path.to_owned(), error };
        check_closed(path)?;
        let bytes = std::fs::read(path).map_err(file)?;
        let text = if bytes.len() <= FILE_BYTES_MAX { String::from_utf8(bytes).ok() } else { None };
        let digits = text.as_deref().map(str::trim).and_then(|t| t.strip_prefix(SECRET_PREFIX));
        let wanted = "no secret key: the file is written by `onhand plugin keygen`";
        let seed = digits.and_then(unhex).ok_or(KeyError::Text(wanted))?;
        Ok(Self::from_seed(seed))
    }

    /// Writes `<path>` with the secret key, for its owner alone, and `<path>.pub` with the public
    /// one. Returns the path of the latter.
    ///
    /// # Errors
    ///
    /// Returns a file that is there already, which is left as it is, or cannot be written.
    pub fn write_files(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        // The public file first: if it is there, no secret is left behind.
        write_new(&public, &format!("{}\n", self.public()), 0o644)?;
        let secret = format!("{SECRET_PREFIX}{}\n", hex(self.0.as_bytes()));
        write_new(path, &secret, 0o600).inspect_err(|_| {
            // It was made a moment ago and names a key that nobody has.
            drop(std::fs::remove_file(&public));
        })?;
        Ok(public)
    }

    /// Signs a message.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(unix)]
fn check_closed(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = std::fs::metadata(path);
    let found = found.map_err(|error| KeyError::File { path: path.to_owned(), error })?;
    let mode = found.permissions().mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        Ok(())
    } else {
        Err(KeyError::Open { path: path.to_owned(), mode })
    }
}

#[cfg(not(unix))]
fn check_closed(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| KeyError::File { path: path.to_owned(), error })
}
