//! Typed identifiers; no identifier is generated here, callers bring them.

use std::fmt;
use std::str::FromStr;

/// Crockford's base 32 alphabet, without I, L, O and U.
///
/// Source: Douglas Crockford, "Base 32", <https://www.crockford.com/base32.html>.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Length in characters of the text form of a [`Key`] or an [`OrderId`].
pub const KEY_TEXT_CHARS: usize = 26;

/// Idempotency key of a request: 128 bits that a caller chooses once per intent.
///
/// The key of the command that made an order is also that order's id, so that a retry finds
/// its order with one look-up and no id has to be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u128);

impl Key {
    /// Makes a key from 128 bits of the caller's, such as a UUID.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Derives a key from text of any length: the first 128 bits of its BLAKE3 hash.
    ///
    /// # Example
    ///
    /// ```
    /// use onhand_core::Key;
    /// assert_eq!(Key::from_text("cart-17"), Key::from_text("cart-17"));
    /// assert_ne!(Key::from_text("cart-17"), Key::from_text("cart-18"));
    /// ```
    pub fn from_text(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        Self(u128::from_be_bytes(first))
    }

    /// Returns the 128 bits.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

/// Id of an order: the [`Key`] of the command that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u128);

impl OrderId {
    /// Makes an order id from its 128 bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the 128 bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Returns the key of the command that made the order.
    pub const fn key(self) -> Key {
        Key(self.0)
    }
}

impl From<Key> for OrderId {
    fn from(key: Key) -> Self {
        Self(key.0)
    }
}

/// Writes `ord_` and 26 characters of Crockford's base 32.
impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; KEY_TEXT_CHARS];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            *slot = CROCKFORD[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str("ord_")?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty or longer than its limit.
    Length,
    /// The text has a character outside the allowed set, at this byte.
    Character(usize),
    /// The prefix is missing or belongs to another kind of id.
    Prefix,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("id has a length outside its range"),
            Self::Character(at) => write!(f, "id has a character that is not allowed at byte {at}"),
            Self::Prefix => f.write_str("id lacks its prefix"),
        }
    }
}

impl std::error::Error for IdError {}

/// Reads the form that `Display` writes; lower case is accepted.
impl FromStr for OrderId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let body = text.strip_prefix("ord_").ok_or(IdError::Prefix)?;
        if body.len() != KEY_TEXT_CHARS {
            return Err(IdError::Length);
        }
        let mut bits: u128 = 0;
        for (at, byte) in body.bytes().enumerate() {
            let upper = byte.to_ascii_uppercase();
            let value = CROCKFORD.iter().position(|&c| c == upper);
            let value = value.ok_or(IdError::Character(at + 4))? as u128;
            // 26 characters carry 130 bits: the first may use three of its five.
            if at == 0 && value > 7 {
                return Err(IdError::Character(4));
            }
            bits = (bits << 5) | value;
        }
        Ok(Self(bits))
    }
}

/// Longest SKU code in bytes.
pub const SKU_CODE_BYTES_MAX: usize = 64;

/// Id of a SKU: 64 bits, usually the hash of the seller's code.
///
/// Two codes with one hash are found when the second is defined
/// ([`Reject::SkuCodeTaken`](crate::Reject::SkuCodeTaken)), never mixed up in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkuId(u64);

impl SkuId {
    /// Makes a SKU id from 64 bits of the caller's.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Derives the id of a SKU code: the first 64 bits of its BLAKE3 hash.
    ///
    /// # Errors
    ///
    /// Returns [`IdError`] unless the code is 1 to 64 characters of `A-Z a-z 0-9 _ . : -`.
    pub fn from_code(code: &str) -> Result<Self, IdError> {
        check_code(code)?;
        let hash = blake3::hash(code.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Ok(Self(u64::from_be_bytes(first)))
    }

    /// Returns the 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Checks that a code is 1 to 64 characters of `A-Z a-z 0-9 _ . : -`.
///
/// # Errors
///
/// Returns the length or the first character that is not allowed.
pub fn check_code(code: &str) -> Result<(), IdError> {
    if code.is_empty() || code.len() > SKU_CODE_BYTES_MAX {
        return Err(IdError::Length);
    }
    let bad = |b: &u8| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'));
    match code.as_bytes().iter().position(bad) {
        Some(at) => Err(IdError::Character(at)),
        None => Ok(()),
    }
}

/// Id of a location: a number of the shop's own; 0 stands for "any location".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationId(pub u32);

impl LocationId {
    /// Any location: the engine chooses.
    pub const ANY: Self = Self(0);
}

/// Id of a lot within a SKU and location; 0 stands for "no lot".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LotId(pub u32);

/// Id of a customer; 0 stands for an unnamed one, whom no limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(pub u64);

impl CustomerId {
    /// A buyer without an account; SKUs with a limit refuse it.
    pub const NONE: Self = Self(0);

    /// Derives the id of a customer from text: 64 bits of its BLAKE3 hash, never 0.
    pub fn from_text(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_be_bytes(first).max(1))
    }
}
