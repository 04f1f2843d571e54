//! How often something was seen lately: rings of buckets in tables of bounded size.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Sums of the last `N` buckets of one length; an older bucket's slot is used anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring<const N: usize> {
    /// Number of the newest bucket, counted from 1970.
    newest: u64,
    sums: [i64; N],
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { newest: 0, sums: [0; N] }
    }
}

impl<const N: usize> Ring<N> {
    /// Adds to a bucket, which is not older than the newest.
    pub(super) fn add(&mut self, bucket: u64, value: i64) {
        assert!(bucket >= self.newest, "bucket {bucket} is before {}", self.newest);
        let passed = (bucket - self.newest).min(N as u64);
        for age in 0..passed {
            self.sums[((bucket - age) % N as u64) as usize] = 0;
        }
        self.newest = bucket;
        let slot = &mut self.sums[(bucket % N as u64) as usize];
        *slot = slot.saturating_add(value);
    }

    /// Returns the sum of the `N` buckets up to one that is not older than the newest.
    pub(super) fn sum(&self, bucket: u64) -> i64 {
        let gone = bucket.saturating_sub(self.newest);
        let kept = (N as u64).saturating_sub(gone).min(self.newest + 1);
        (0..kept).fold(0, |sum, age| {
            let slot = self.sums[((self.newest - age) % N as u64) as usize];
            sum.saturating_add(slot)
        })
    }
}

/// The newest different customers, each with the bucket in which it was seen last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Customers<const N: usize> {
    seen: [(u64, u64); N],
    count: usize,
}

impl<const N: usize> Default for Customers<N> {
    fn default() -> Self {
        Self { seen: [(0, 0); N], count: 0 }
    }
}

impl<const N: usize> Customers<N> {
    /// Notes a customer; if there is no room, the one that was seen longest ago is forgotten.
    pub(super) fn add(&mut self, bucket: u64, customer: u64) {
        let used = &mut self.seen[..self.count];
        if let Some(known) = used.iter_mut().find(|(_, other)| *other == customer) {
            known.0 = bucket;
        } else if self.count < N {
            self.seen[self.count] = (bucket, customer);
            self.count += 1;
        } else if let Some(oldest) = used.iter_mut().min() {
            *oldest = (bucket, customer);
        }
    }

    /// Returns how many were seen in the last `buckets` buckets.
    pub(super) fn count(&self, bucket: u64, buckets: u64) -> u32 {
        let inside = |seen: &&(u64, u64)| seen.0 + buckets > bucket;
        self.seen[..self.count].iter().filter(inside).count() as u32
    }
}

/// Subjects by key; when there are too many, those that were seen longest ago go.
#[derive(Clone, Debug)]
pub(super) struct Table<K, V> {
    max: usize,
    /// Look-ups only, so that the order of a hash never shows.
    entries: HashMap<K, (u64, V)>,
    /// Bucket in which it was seen last, then key: the first goes first.
    ages: BTreeSet<(u64, K)>,
}

impl<K: Copy + Ord + Hash, V: Default> Table<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, entries: HashMap::new(), ages: BTreeSet::new() }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the subject of a key, made if needed; those not seen for `kept` buckets make room.
    pub(super) fn touch(&mut self, key: K, bucket: u64, kept: u64) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.make_room(bucket, kept);
        }
        let ages = &mut self.ages;
        let (seen, value) = self.entries.entry(key).or_insert_with(|| {
            ages.insert((bucket, key));
            (bucket, V::default())
        });
        if *seen != bucket {
            ages.remove(&(*seen, key));
            ages.insert((bucket, key));
            *seen = bucket;
        }
        value
    }

    /// Forgets up to two subjects that no window sees any more, and the oldest one if it is full.
    fn make_room(&mut self, bucket: u64, kept: u64) {
        for _ in 0..2 {
            let full = self.entries.len() >= self.max;
            let goes = |seen: u64| full || seen + kept <= bucket;
            let goes = self.ages.first().filter(|(seen, _)| goes(*seen)).copied();
            let Some(oldest) = goes else { return };
            self.ages.remove(&oldest);
            self.entries.remove(&oldest.1);
        }
    }
}
