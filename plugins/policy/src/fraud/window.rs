//! How often something was seen lately: rings of buckets in tables of bounded size.

use std::hash::Hash;

use foldhash::HashMap;

/// What a ring adds up: counts, or amounts of money; never below zero.
pub(super) trait Amount: Copy + Default {
    /// Returns the sum of two, or the largest that there is.
    fn plus(self, other: Self) -> Self;
    /// Returns the sum of all, or the largest that there is.
    fn total(all: &[Self]) -> i64;
}

impl Amount for u32 {
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    fn total(all: &[Self]) -> i64 {
        // A few dozen of 32 bits: no check can find anything.
        all.iter().fold(0_i64, |sum, one| sum.wrapping_add(i64::from(*one)))
    }
}

impl Amount for i64 {
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    fn total(all: &[Self]) -> i64 {
        all.iter().fold(0, |sum, one| sum.saturating_add(*one))
    }
}

/// Sums of the last `N` buckets of one length; an older bucket's slot is used anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring<T, const N: usize> {
    /// Number of the newest bucket, counted from 1970.
    newest: u64,
    sums: [T; N],
}

impl<T: Amount, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self { newest: 0, sums: [T::default(); N] }
    }
}

impl<T: Amount, const N: usize> Ring<T, N> {
    const fn slot(bucket: u64) -> usize {
        (bucket % N as u64) as usize
    }

    /// Adds to a bucket, which is not older than the newest.
    pub(super) fn add(&mut self, bucket: u64, value: T) {
        assert!(bucket >= self.newest, "bucket {bucket} is before {}", self.newest);
        if bucket - self.newest >= N as u64 {
            self.sums = [T::default(); N];
        } else {
            for between in self.newest + 1..=bucket {
                self.sums[Self::slot(between)] = T::default();
            }
        }
        self.newest = bucket;
        let slot = &mut self.sums[Self::slot(bucket)];
        *slot = slot.plus(value);
    }

    /// Returns the sum of the `N` buckets up to one that is not older than the newest.
    pub(super) fn sum(&self, bucket: u64) -> i64 {
        let gone = bucket.saturating_sub(self.newest);
        if gone == 0 {
            // The slots of buckets before 1970 are empty.
            return T::total(&self.sums);
        }
        if gone >= N as u64 {
            return 0;
        }
        // The slots behind the newest one hold the oldest buckets, of which so many are gone.
        let first = Self::slot(self.newest + 1);
        let (behind, before) = (&self.sums[first..], &self.sums[..first]);
        let gone = gone as usize;
        let behind_kept = behind.get(gone..).unwrap_or_default();
        let before_kept = &before[gone.saturating_sub(behind.len())..];
        T::total(behind_kept).saturating_add(T::total(before_kept))
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
///
/// Each stands in a list by the bucket in which it was seen last, so that a sighting costs one
/// look-up, however many subjects there are.
#[derive(Clone, Debug)]
pub(super) struct Table<K, V> {
    max: usize,
    /// Look-ups only, so that the order of a hash never shows.
    places: HashMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    /// Slots that nobody has.
    free: Vec<u32>,
    ends: Ends,
}

/// The first and the last of the list; `NONE` if it is empty.
#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Slot<K, V> {
    key: K,
    /// Bucket in which it was seen last.
    seen: u64,
    before: u32,
    after: u32,
    value: V,
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    pub(super) fn new(max: usize) -> Self {
        let ends = Ends { oldest: NONE, newest: NONE };
        Self { max, places: HashMap::default(), slots: Vec::new(), free: Vec::new(), ends }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.places.get(&key).map(|place| &self.slots[*place as usize].value)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the subject of a key, made if needed; those not seen for `kept` buckets make room.
    pub(super) fn touch(&mut self, key: K, bucket: u64, kept: u64) -> &mut V {
        let place = match self.places.get(&key) {
            Some(place) => {
                let place = *place;
                if self.slots[place as usize].seen != bucket {
                    self.unlink(place);
                    self.link(place, bucket);
                }
                place
            }
            None => self.add(key, bucket, kept),
        };
        &mut self.slots[place as usize].value
    }

    fn add(&mut self, key: K, bucket: u64, kept: u64) -> u32 {
        self.make_room(bucket, kept);
        let (value, before, after) = (V::default(), NONE, NONE);
        let slot = Slot { key, seen: bucket, before, after, value };
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            self.slots.push(slot);
            self.slots.len() as u32 - 1
        };
        self.places.insert(key, place);
        self.link(place, bucket);
        place
    }

    /// Forgets up to two subjects that no window sees any more, and the oldest one if it is full.
    fn make_room(&mut self, bucket: u64, kept: u64) {
        for _ in 0..2 {
            let place = self.ends.oldest;
            let Some(oldest) = self.slots.get(place as usize) else { return };
            let full = self.places.len() >= self.max;
            if !full && oldest.seen + kept > bucket {
                return;
            }
            let key = oldest.key;
            self.unlink(place);
            self.places.remove(&key);
            self.free.push(place);
        }
    }

    /// Puts a slot at the end of the list: buckets never go back.
    fn link(&mut self, place: u32, bucket: u64) {
        let before = std::mem::replace(&mut self.ends.newest, place);
        let slot = &mut self.slots[place as usize];
        (slot.seen, slot.before, slot.after) = (bucket, before, NONE);
        match self.slots.get_mut(before as usize) {
            Some(before) => before.after = place,
            None => self.ends.oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Slot { before, after, .. } = self.slots[place as usize];
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.after = after,
            None => self.ends.oldest = after,
        }
        match self.slots.get_mut(after as usize) {
            Some(slot) => slot.before = before,
            None => self.ends.newest = before,
        }
    }
}
