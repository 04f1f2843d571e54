//! Commands other than orders that were carried out: what a repetition of them is answered.

use crate::id::Key;
use crate::time::Timestamp;

/// What a repeated command did the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) key: u128,
    /// The order that was changed; 0 for stock and the catalogue.
    pub(crate) order: u128,
    pub(crate) seq: u64,
    /// New deadline in milliseconds, or 0.
    pub(crate) deadline: u64,
    pub(crate) fingerprint: u32,
    pub(crate) version: u32,
    /// Status of the order afterwards; [`Answered::STOCK`] for stock, [`Answered::POLICY`] for
    /// a policy; 0 marks a free slot.
    pub(crate) status: u8,
}

impl Answered {
    /// Status of an answer about stock or the catalogue.
    pub(crate) const STOCK: u8 = 255;
    /// Status of an answer about a policy, whose number stands as the version.
    pub(crate) const POLICY: u8 = 254;
    /// Length of the stored form.
    pub(crate) const BYTES: usize = 64;

    pub(crate) const fn key(&self) -> Key {
        Key::new(self.key)
    }

    pub(crate) const fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.deadline)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.order.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.deadline.to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[self.status, 0, 0, 0, 0, 0, 0, 0]);
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let wide = |at: usize| u128::from(word(at)) | u128::from(word(at + 8)) << 64;
        Self {
            key: wide(0),
            order: wide(16),
            seq: word(32),
            deadline: word(40),
            fingerprint: word(48) as u32,
            version: (word(48) >> 32) as u32,
            status: bytes[56],
        }
    }
}
