//! The token that coordinator and workers share: each proves that it knows it, and it never
//! travels.

use std::fmt;

use crate::error::LoadError;

/// Fewest bytes of a token.
pub const TOKEN_BYTES_MIN: usize = 16;
/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 1_024;
/// What keys are derived for, so that a token used elsewhere gives another key.
const CONTEXT: &str = "onhand-loadtest 2026-11-22 coordinator and worker";

/// A secret that coordinator and workers share.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Coordinator,
    Worker,
}

/// What each side draws anew for each meeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonces {
    pub(super) worker: String,
    pub(super) coordinator: String,
}

impl Token {
    /// Takes a token of at least [`TOKEN_BYTES_MIN`] visible characters.
    ///
    /// # Errors
    ///
    /// Returns a usage error for a text that is too short, too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, LoadError> {
        let fine = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fine || !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(LoadError::usage(format!(
                "the token has {} characters, want {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible \
                 ones of ASCII",
                text.chars().count()
            )));
        }
        Ok(Self(blake3::derive_key(CONTEXT, text.as_bytes())))
    }

    fn mac(&self, side: Side, nonces: &Nonces) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(match side {
            Side::Coordinator => b"coordinator",
            Side::Worker => b"worker",
        });
        for nonce in [&nonces.worker, &nonces.coordinator] {
            hasher.update(&(nonce.len() as u64).to_le_bytes());
            hasher.update(nonce.as_bytes());
        }
        hasher.finalize()
    }

    /// Returns what proves that a side knows the token.
    pub(super) fn proof(&self, side: Side, nonces: &Nonces) -> String {
        self.mac(side, nonces).to_hex().to_string()
    }

    /// Returns whether a side has proved that it knows the token, in constant time.
    pub(super) fn is_proof(&self, side: Side, nonces: &Nonces, proof: &str) -> bool {
        blake3::Hash::from_hex(proof).is_ok_and(|proof| proof == self.mac(side, nonces))
    }
}

/// Draws a nonce.
pub(super) fn nonce() -> Result<String, LoadError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| LoadError::input(format!("the system gives no random numbers: {e}")))?;
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only who knows the token can prove it, only for this meeting, and only for its own side.
    #[test]
    fn a_proof_is_of_one_token_meeting_and_side() {
        let token = |text| Token::new(text).expect("a token");
        let (ours, other) = (token("a-token-of-sixteen"), token("another-token-of-ours"));
        let draw = || nonce().expect("random numbers");
        let nonces = Nonces { worker: draw(), coordinator: draw() };
        let proof = ours.proof(Side::Worker, &nonces);
        assert!(ours.is_proof(Side::Worker, &nonces, &proof));
        assert!(!ours.is_proof(Side::Coordinator, &nonces, &proof));
        assert!(!other.is_proof(Side::Worker, &nonces, &proof));
        let later = Nonces { worker: draw(), ..nonces.clone() };
        assert!(!ours.is_proof(Side::Worker, &later, &proof));
        for nonsense in ["", "00", &"z".repeat(64)] {
            assert!(!ours.is_proof(Side::Worker, &nonces, nonsense));
        }
        assert_eq!(format!("{ours:?}"), "Token(..)");
    }

    /// A token that could be guessed, or that no environment can hold, is refused.
    #[test]
    fn a_weak_token_is_refused() {
        for (text, fine) in [
            ("fifteen-letters", false),
            ("sixteen-letters-", true),
            ("sixteen letters ", false),
            (&*"x".repeat(1_025), false),
        ] {
            assert_eq!(Token::new(text).is_ok(), fine, "{text}");
        }
    }
}
