//! API keys: made, told apart and compared without a timing signal.
//!
//! A key is `onhand_live_`, 8 characters that name it, 43 that are secret and 6 of a checksum, so
//! that a typing error is found without a look-up and secret scanners can find leaked keys. The
//! host keeps digests. Sources: GitHub, "Behind GitHub's new authentication token formats"
//! (2021-04-05) for the shape; the secret's 43 base-62 characters carry 256 bits.

use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};

/// Most keys of one host; each request is compared with all.
pub const KEYS_MAX: usize = 64;
/// Shortest key that a configuration may give in the clear, in bytes.
pub const KEY_BYTES_MIN: usize = 16;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 256;

const PREFIX: &str = "onhand_live_";
const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DIGEST_PREFIX: &str = "blake3:";

/// The digests of the keys that a host accepts.
#[derive(Clone, Default)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
}

/// Shows how many keys there are and nothing of them.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.digests.len())
    }
}

impl ApiKeys {
    /// Reads keys and digests (`blake3:` and 64 hexadecimal digits).
    ///
    /// # Errors
    ///
    /// Returns a text that names the entry by its place, never by its content.
    pub fn read<'k>(entries: impl IntoIterator<Item = &'k str>) -> Result<Self, String> {
        let mut digests = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let entry = entry.trim();
            if digests.len() == KEYS_MAX {
                return Err(format!("more than {KEYS_MAX} keys"));
            }
            digests.push(digest_of(entry).map_err(|why| format!("key {index} {why}"))?);
        }
        Ok(Self { digests })
    }

    /// Returns whether no key is accepted.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Returns whether a key is accepted; takes as long for a wrong one as for a right one.
    pub fn accepts(&self, key: &[u8]) -> bool {
        let given = blake3::hash(&key[..key.len().min(KEY_BYTES_MAX + 1)]);
        let mut found = Choice::from(0);
        for digest in &self.digests {
            found |= digest.ct_eq(given.as_bytes());
        }
        found.into()
    }
}

fn digest_of(entry: &str) -> Result<[u8; 32], String> {
    if let Some(hex) = entry.strip_prefix(DIGEST_PREFIX) {
        let hash = blake3::Hash::from_hex(hex);
        let hash = hash.map_err(|_| "is not blake3: and 64 hexadecimal digits".to_owned())?;
        return Ok(*hash.as_bytes());
    }
    if entry.len() < KEY_BYTES_MIN || entry.len() > KEY_BYTES_MAX {
        let bytes = entry.len();
        return Err(format!("has {bytes} bytes, outside {KEY_BYTES_MIN}..={KEY_BYTES_MAX}"));
    }
    if entry.starts_with(PREFIX) && !checks(entry) {
        return Err("has a wrong checksum; was it copied whole?".to_owned());
    }
    Ok(*blake3::hash(entry.as_bytes()).as_bytes())
}

/// Returns whether a key of our own shape has the right checksum.
fn checks(key: &str) -> bool {
    if key.len() != PREFIX.len() + ID_CHARS + SECRET_CHARS + CHECK_CHARS || !key.is_ascii() {
        return false;
    }
    let (body, check) = key.split_at(key.len() - CHECK_CHARS);
    checksum(body) == check
}

fn checksum(body: &str) -> String {
    let hash = blake3::hash(body.as_bytes());
    base62(&hash.as_bytes()[..8], CHECK_CHARS)
}

/// Writes the low digits of a number given by its bytes.
fn base62(bytes: &[u8], chars: usize) -> String {
    let mut digits = bytes.to_vec();
    let mut text = Vec::with_capacity(chars);
    for _ in 0..chars {
        let mut rest = 0_u32;
        for byte in &mut digits {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        text.push(char::from(BASE62[rest as usize]));
    }
    text.iter().rev().collect()
}

/// A new key and the digest that a configuration may keep instead of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key, for the client; shown once.
    pub key: String,
    /// `blake3:` and the digest, for `api_keys` of the host.
    pub digest: String,
}

impl NewKey {
    /// Makes a key from 40 random bytes.
    pub fn from_random(random: [u8; 40]) -> Self {
        let id = base62(&random[..8], ID_CHARS);
        let secret = base62(&random[8..], SECRET_CHARS);
        let body = format!("{PREFIX}{id}{secret}");
        let key = format!("{body}{}", checksum(&body));
        let digest = format!("{DIGEST_PREFIX}{}", blake3::hash(key.as_bytes()).to_hex());
        Self { key, digest }
    }

    /// Makes a key from the operating system's random source.
    ///
    /// # Errors
    ///
    /// Returns the error of the random source.
    pub fn generate() -> std::io::Result<Self> {
        let mut random = [0; 40];
        getrandom::fill(&mut random).map_err(std::io::Error::from)?;
        Ok(Self::from_random(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_accepted_by_itself_and_by_its_digest() {
        let new = NewKey::from_random([7; 40]);
        assert_eq!(new.key.len(), 69);
        for entry in [&new.key, &new.digest] {
            let keys = ApiKeys::read([entry.as_str()]).expect("entry is valid");
            assert!(keys.accepts(new.key.as_bytes()));
            assert!(!keys.accepts(new.digest.as_bytes()));
            assert!(!keys.accepts(b""));
            assert!(!keys.accepts(format!("{}x", new.key).as_bytes()));
        }
        assert_ne!(new.key, NewKey::from_random([8; 40]).key);
    }

    #[test]
    fn wrong_entries_are_named_by_place_not_by_content() {
        let mut typo = NewKey::from_random([7; 40]).key;
        typo.replace_range(30..31, if &typo[30..31] == "A" { "B" } else { "A" });
        for (entry, cause) in [
            ("short", "has 5 bytes, outside 16..=256"),
            ("blake3:12", "64 hexadecimal digits"),
            (typo.as_str(), "wrong checksum"),
        ] {
            let why = ApiKeys::read([entry]).expect_err("must be refused");
            assert!(why.starts_with("key 0 ") && why.contains(cause), "{why}");
            assert!(!why.contains(entry));
        }
        assert!(ApiKeys::read(vec!["0123456789abcdef"; 65]).is_err());
        assert!(ApiKeys::read(vec!["0123456789abcdef"; 64]).is_ok());
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = ApiKeys::read(["0123456789abcdef"]).expect("entry is valid");
        assert_eq!(format!("{keys:?}"), "ApiKeys(1)");
    }
}
