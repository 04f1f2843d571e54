//! Which shard knows a key, for engines of several shards.
//!
//! A request goes to the shard that its key is known in, wherever its lines are: so a repetition
//! finds the first answer, and the same key with another basket is found out.

use crate::hash::{FoldMap, fold_map};
use crate::sync::Mutex;

const STRIPES: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Claim {
    shard: u16,
    /// Requests with this key that are on their way.
    pending: u32,
    /// Whether the shard knows the key for good.
    kept: bool,
}

#[derive(Debug)]
pub(crate) struct Stripes(Vec<Mutex<FoldMap<u128, Claim>>>);

impl Stripes {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(fold_map())).collect())
    }

    fn stripe(&self, key: u128) -> &Mutex<FoldMap<u128, Claim>> {
        let mixed = crate::hash::fold(key as u64 | 1, (key >> 64) as u64 | 1);
        &self.0[mixed as usize % STRIPES]
    }

    /// Returns the shard that a request with this key goes to: the one that knows the key, else
    /// the one that is wanted, which it is claimed for.
    pub(crate) fn claim(&self, key: u128, wanted: u16) -> u16 {
        let mut stripe = self.stripe(key).lock();
        let new = Claim { shard: wanted, pending: 0, kept: false };
        let claim = stripe.entry(key).or_insert(new);
        claim.pending += 1;
        claim.shard
    }

    /// Notes how a request with a claimed key ended.
    pub(crate) fn ended(&self, key: u128, known: bool) {
        let mut stripe = self.stripe(key).lock();
        if let Some(claim) = stripe.get_mut(&key) {
            claim.pending = claim.pending.saturating_sub(1);
            claim.kept |= known;
            if claim.pending == 0 && !claim.kept {
                stripe.remove(&key);
            }
        }
    }

    /// Enters a key that a shard knows.
    pub(crate) fn keep(&self, key: u128, shard: u16) {
        let mut stripe = self.stripe(key).lock();
        stripe.entry(key).or_insert(Claim { shard, pending: 0, kept: true }).kept = true;
    }

    /// Forgets a key that has left memory for the archive.
    pub(crate) fn forget(&self, key: u128) {
        let mut stripe = self.stripe(key).lock();
        if let Some(claim) = stripe.get_mut(&key) {
            claim.kept = false;
            if claim.pending == 0 {
                stripe.remove(&key);
            }
        }
    }

    /// Returns the shard that knows a key.
    pub(crate) fn find(&self, key: u128) -> Option<u16> {
        self.stripe(key).lock().get(&key).map(|claim| claim.shard)
    }
}
