//! The signatures of a bundle: an entry of lines, each a key's id and its signature.

use std::fmt::Write as _;

use crate::key::{KeyId, PublicKey, SigningKey, hex, unhex};

/// Most signatures of a bundle.
pub const SIGNATURES_MAX: usize = 8;
/// First line of the entry.
const FIRST_LINE: &str = "onhand-signatures 1";
/// What a signed message starts with, so that no signature of something else fits.
const CONTEXT: &[u8] = b"onhand plugin bundle, signature 1\n";

/// One signature of a bundle, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Key that it claims to be by.
    pub key: KeyId,
    bytes: [u8; 64],
}

fn message(hash: &[u8; 32], key: KeyId) -> Vec<u8> {
    [CONTEXT, hash, &key.0].concat()
}

impl Signature {
    /// Signs the content of a bundle.
    pub(crate) fn make(key: &SigningKey, hash: &[u8; 32]) -> Self {
        let id = key.public().id();
        Self { key: id, bytes: key.sign(&message(hash, id)) }
    }

    /// Returns whether it is a signature of the content by the key.
    pub(crate) fn is_by(&self, key: &PublicKey, hash: &[u8; 32]) -> bool {
        self.key == key.id() && key.verifies(&message(hash, self.key), &self.bytes)
    }
}

/// Writes the entry; the signatures are sorted by their keys.
pub(crate) fn write(signatures: &[Signature]) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    for signature in signatures {
        // Writing into a text does not fail.
        let _ = writeln!(text, "{} {}", signature.key, hex(&signature.bytes));
    }
    text
}

/// Reads the entry, which has one form only.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Signature>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(format!("its first line is not {FIRST_LINE:?}"));
    }
    let mut signatures: Vec<Signature> = Vec::new();
    for line in lines {
        let parts = line.split_once(' ').and_then(|(key, bytes)| {
            Some(Signature { key: KeyId(unhex(key)?), bytes: unhex(bytes)? })
        });
        let signature = parts.ok_or("a line is not a key and its signature")?;
        if signatures.len() == SIGNATURES_MAX {
            return Err(format!("it has more than {SIGNATURES_MAX} signatures"));
        }
        if signatures.last().is_some_and(|before| before.key >= signature.key) {
            return Err("its keys are not in order, or one is there twice".to_owned());
        }
        signatures.push(signature);
    }
    if signatures.is_empty() || write(&signatures).as_bytes() != bytes {
        return Err("it is not of the canonical form".to_owned());
    }
    Ok(signatures)
}
