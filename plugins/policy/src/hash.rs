//! Maps for look-ups by integers, which each order needs a few of: a multiplication a word instead
//! of the standard hasher's rounds.
//!
//! A random seed for each map keeps strangers from choosing keys that collide; no map is ever
//! walked where its order could show.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

const STEP_1: u64 = 0x9E37_79B9_7F4A_7C15;
const STEP_2: u64 = 0xD1B5_4A32_D192_ED03;

/// A map by integers, or by tuples of them.
pub type FoldMap<K, V> = HashMap<K, V, FoldState>;
/// A set of integers, or of tuples of them.
pub type FoldSet<K> = HashSet<K, FoldState>;

/// Makes the hashers of one map, under a seed of its own.
#[derive(Clone, Copy, Debug)]
pub struct FoldState(u64);

impl Default for FoldState {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for FoldState {
    type Hasher = FoldHasher;

    #[inline]
    fn build_hasher(&self) -> FoldHasher {
        FoldHasher(self.0)
    }
}

/// Folds words into one, each by a multiplication to 128 bits, as wyhash and foldhash do.
#[derive(Clone, Copy, Debug)]
pub struct FoldHasher(u64);

impl Hasher for FoldHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * u128::from(STEP_2);
        self.0 = ((wide as u64) ^ (wide >> 64) as u64).wrapping_add(STEP_1);
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::{FoldSet, FoldState};

    /// Keys that differ in a few bits fall evenly on the places of a table, by its low bits and by
    /// its high ones; and two maps put the same key elsewhere.
    #[test]
    fn near_keys_are_spread() {
        let state = FoldState::default();
        let keys = || (0..64_u64).flat_map(|high| (0..64).map(move |low| high << 32 | low));
        for shift in [0, 52] {
            let mut places = [0_u32; 256];
            keys().for_each(|key| places[(state.hash_one(key) >> shift) as usize % 256] += 1);
            // 16 a place on average; 48 at one of 256 is no chance.
            assert!(places.iter().all(|count| *count < 48), "{places:?}");
        }
        let other = FoldState::default();
        assert!(keys().any(|key| state.hash_one(key) != other.hash_one(key)));
        let set: FoldSet<u128> = keys().map(u128::from).collect();
        assert_eq!(set.len(), 4_096);
    }
}
