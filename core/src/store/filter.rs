//! Answers "certainly not archived" in memory, so that a new key costs no look into the archive.
//!
//! A split-block Bloom filter in layers: each new layer doubles the room, so it grows without
//! touching what is there, and one that is made for many keys has one layer. Order of insertion
//! and layout never show in an answer of the engine; a wrong "maybe" costs one read.

/// Bits of the filter per key, at least.
const BITS_PER_KEY: usize = 16;
/// Words of one block, a cache line; each key sets one bit in each.
const BLOCK_WORDS: usize = 8;
const BLOCK_BITS: usize = BLOCK_WORDS * 64;
/// Keys that the smallest layer has room for: 2 MiB, so that few layers are looked into.
const LAYER_KEYS_MIN: usize = 1 << 20;
/// Most layers: room for 2^40 keys; beyond them the last one only grows less exact.
const LAYERS_MAX: usize = 21;

/// A set of keys that may answer "maybe" for one that is not in it, never "no" for one that is.
#[derive(Clone, Debug)]
pub(crate) struct ArchiveFilter {
    seed: u64,
    layers: Vec<Layer>,
    key_count: u64,
    /// Room of the next layer.
    next_keys: usize,
}

#[derive(Clone, Debug)]
struct Layer {
    blocks: Vec<[u64; BLOCK_WORDS]>,
    room: usize,
}

impl ArchiveFilter {
    /// Makes an empty filter; `seed` keeps anyone from choosing keys that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_room(seed, 0)
    }

    /// Makes an empty filter whose first layer has room for `keys`.
    pub(crate) fn with_room(seed: u64, keys: usize) -> Self {
        Self { seed, layers: Vec::new(), key_count: 0, next_keys: keys.max(LAYER_KEYS_MIN) }
    }

    /// Adds a key; a key that may be in it already is not added again.
    pub(crate) fn insert(&mut self, key: u128) {
        if self.may_contain(key) {
            return;
        }
        let hash = self.hash(key);
        if self.layers.last().is_none_or(|layer| layer.room == 0) && self.layers.len() < LAYERS_MAX
        {
            self.layers.push(Layer::new(self.next_keys));
            self.next_keys = self.next_keys.saturating_mul(2);
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.insert(hash);
            self.key_count += 1;
        }
    }

    /// Returns `false` if the key was certainly never inserted.
    pub(crate) fn may_contain(&self, key: u128) -> bool {
        let hash = self.hash(key);
        // The newest layers hold most of the keys.
        self.layers.iter().rev().any(|layer| layer.may_contain(hash))
    }

    /// Returns the number of keys that were added.
    pub(crate) fn key_count(&self) -> u64 {
        self.key_count
    }

    /// Returns the bytes of memory that it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let blocks: usize = self.layers.iter().map(|layer| layer.blocks.len()).sum();
        blocks * BLOCK_BITS / 8 + self.layers.capacity() * size_of::<Layer>()
    }

    fn hash(&self, key: u128) -> (u64, u64) {
        let low = mix(key as u64 ^ self.seed, 0x9e37_79b9_7f4a_7c15);
        let high = mix((key >> 64) as u64 ^ low, 0xe703_7ed1_a0b4_28db);
        (mix(high ^ self.seed, 0xa076_1d64_78bd_642f), high)
    }
}

impl Layer {
    fn new(keys: usize) -> Self {
        let blocks = (keys * BITS_PER_KEY).div_ceil(BLOCK_BITS);
        Self { blocks: vec![[0; BLOCK_WORDS]; blocks], room: keys }
    }

    fn insert(&mut self, hash: (u64, u64)) {
        let index = self.block_index(hash.0);
        let mask = mask(hash.1);
        for (word, bits) in self.blocks[index].iter_mut().zip(mask) {
            *word |= bits;
        }
        self.room = self.room.saturating_sub(1);
    }

    fn may_contain(&self, hash: (u64, u64)) -> bool {
        let block = &self.blocks[self.block_index(hash.0)];
        // Without a branch: all words are of one cache line.
        let missing =
            block.iter().zip(mask(hash.1)).fold(0, |all, (word, bits)| all | (bits & !word));
        missing == 0
    }

    fn block_index(&self, hash: u64) -> usize {
        // The high half of a product spreads the hash over any number of blocks.
        ((u128::from(hash) * self.blocks.len() as u128) >> 64) as usize
    }
}

/// One bit for each word of a block: six bits of the hash choose it.
fn mask(hash: u64) -> [u64; BLOCK_WORDS] {
    std::array::from_fn(|word| 1 << ((hash >> (word * 6)) & 63))
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x8ebc_6af0_9c88_c6e3) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no key is ever forgotten, over two layers; strangers are mostly refused.
    #[test]
    fn inserted_keys_are_found_and_most_strangers_are_not() {
        let mut filter = ArchiveFilter::new(7);
        let keys = LAYER_KEYS_MIN as u128 + 200_000;
        assert!(!filter.may_contain(0));
        assert_eq!(filter.memory_bytes(), 0);
        for key in 0..keys {
            filter.insert(key * 3);
        }
        assert_eq!(filter.layers.len(), 2);
        assert!((0..keys).all(|key| filter.may_contain(key * 3)));
        let wrong = (0..keys).filter(|key| filter.may_contain(key * 3 + 1)).count();
        assert!(wrong < 6_000, "{wrong} of {keys} strangers pass, above half a percent");
        assert!(filter.memory_bytes() < 7 << 20, "{} bytes", filter.memory_bytes());
    }

    /// Goal: a filter made for many keys keeps to one layer and 16 bits a key.
    #[test]
    fn a_filter_with_room_has_one_layer() {
        let keys = LAYER_KEYS_MIN * 2;
        let mut filter = ArchiveFilter::with_room(3, keys);
        for key in 0..keys as u128 {
            filter.insert(key);
        }
        assert_eq!(filter.layers.len(), 1);
        assert!(filter.key_count() <= keys as u64);
        assert!(filter.memory_bytes() <= keys * 2 + 1_024, "{} bytes", filter.memory_bytes());
    }

    /// Goal: keys that differ only in their high half are told apart.
    #[test]
    fn both_halves_of_a_key_count() {
        let mut filter = ArchiveFilter::new(1);
        for key in 0..10_000_u128 {
            filter.insert(key << 64);
        }
        let wrong = (0..10_000_u128).filter(|key| filter.may_contain(*key + 1)).count();
        assert!(wrong < 200, "{wrong} of 10000 strangers pass");
    }
}
