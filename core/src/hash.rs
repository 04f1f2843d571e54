//! Mixing of integers into table tags and request fingerprints.
//!
//! A folded multiplication of two 64-bit words, as in wyhash and foldhash. Tables use a random
//! seed, so that keys chosen by a stranger can't be made to collide; no table is ever walked in
//! hash order. Fingerprints use fixed seeds: they are stored.

/// Multiplies to 128 bits and folds the halves.
#[inline]
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let wide = (a as u128).wrapping_mul(b as u128);
    (wide as u64) ^ ((wide >> 64) as u64)
}

const STEP_1: u64 = 0x9E37_79B9_7F4A_7C15;
const STEP_2: u64 = 0xD1B5_4A32_D192_ED03;

/// A random seed for the tables of one process.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() | 1
}

/// Mixes two words under a seed into 32 well-spread bits.
#[inline]
pub(crate) const fn tag(seed: u64, a: u64, b: u64) -> u32 {
    let mixed = fold(a ^ seed, b ^ STEP_1);
    (fold(mixed ^ STEP_2, seed | 1) >> 32) as u32
}

/// Accumulates the fields of a request into its fingerprint (version 1: stored, never changed).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const fn new(kind: u8) -> Self {
        Self(fold(kind as u64 ^ STEP_1, STEP_2))
    }

    #[inline]
    #[must_use]
    pub(crate) const fn word(self, word: u64) -> Self {
        Self(fold(self.0 ^ word, STEP_2).wrapping_add(STEP_1))
    }

    #[inline]
    pub(crate) const fn finish(self) -> u32 {
        (fold(self.0, STEP_1) >> 32) as u32
    }
}

/// Hasher for the small maps of a shard, keyed by integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldState(u64);

impl FoldState {
    pub(crate) fn random() -> Self {
        Self(random_seed())
    }
}

impl std::hash::BuildHasher for FoldState {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        FoldHasher(self.0)
    }
}

pub(crate) struct FoldHasher(u64);

impl std::hash::Hasher for FoldHasher {
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
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, STEP_2).wrapping_add(STEP_1);
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
}

/// A map for cold paths, keyed by integers; never walked where the order could matter.
pub(crate) type FoldMap<K, V> = std::collections::HashMap<K, V, FoldState>;

/// Makes an empty map with a random seed.
pub(crate) fn fold_map<K, V>() -> FoldMap<K, V> {
    FoldMap::with_hasher(FoldState::random())
}
