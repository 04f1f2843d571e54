//! Counts of times by size, in a fixed amount of memory, written from many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each doubling: a percentile is exact to one part in 8.
const PARTS: usize = 8;
/// Doublings above the first bucket row: up to 2^36 ns, about a minute.
const BUCKETS: usize = (36 - 2) * PARTS;

/// Times in nanoseconds by size.
pub(crate) struct Histogram {
    counts: Box<[AtomicU64]>,
}

fn bucket(value: u64) -> usize {
    let parts = PARTS as u64;
    if value < parts {
        return value as usize;
    }
    // The top four bits: one that is always set and three that tell the part.
    let shift = value.ilog2() - parts.ilog2();
    ((shift as usize + 1) * PARTS + ((value >> shift) - parts) as usize).min(BUCKETS - 1)
}

/// Returns the largest number of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let shift = (bucket / PARTS - 1) as u32;
    let first = ((PARTS + bucket % PARTS) as u64) << shift;
    first + ((1_u64 << shift) - 1)
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Histogram {
    pub(crate) fn add(&self, value: u64) {
        self.counts[bucket(value)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Takes over the counts of another, whose own are zero then; what was counted before is forgotten.
    pub(crate) fn take_over(&self, other: &Self) {
        for (count, others) in self.counts.iter().zip(&other.counts) {
            count.store(others.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Returns all counts with the largest number of their buckets, those that are not zero.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.iter().enumerate();
        let read = counts.map(|(at, count)| (upper(at), count.load(Ordering::Relaxed)));
        read.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns a number that `percent` of all of both are not above; 0 without any.
    pub(crate) fn percentile(&self, other: Option<&Self>, percent: u64) -> u64 {
        let count = |at: usize| {
            let other = other.map_or(0, |other| other.counts[at].load(Ordering::Relaxed));
            self.counts[at].load(Ordering::Relaxed) + other
        };
        let total: u64 = (0..BUCKETS).map(count).sum();
        if total == 0 {
            return 0;
        }
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for at in 0..BUCKETS {
            seen += count(at);
            if seen >= wanted {
                return upper(at);
            }
        }
        upper(BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, bucket, upper};

    /// Every number falls into a bucket whose largest number is at most one part in 8 above it.
    #[test]
    fn buckets_cover_all_numbers() {
        for power in 0..35 {
            for near in 0..8 {
                let value = (1_u64 << power) + (1_u64 << power) / 8 * near;
                let at = bucket(value);
                assert!(upper(at) >= value, "{value}");
                assert!(upper(at) - value <= value / 8, "{value}");
                assert!(at == 0 || upper(at - 1) < value, "{value}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    /// Percentiles are those of the numbers that went in, over both halves of a window.
    #[test]
    fn percentiles_are_of_what_went_in() {
        let (one, two) = (Histogram::default(), Histogram::default());
        assert_eq!(one.percentile(None, 99), 0);
        (0..98).for_each(|_| one.add(5));
        one.add(100_000);
        one.add(100_000);
        assert_eq!(one.percentile(None, 50), 5);
        assert!(one.percentile(None, 99) >= 100_000);
        (0..900).for_each(|_| two.add(5));
        assert_eq!(one.percentile(Some(&two), 99), 5);
        one.clear();
        assert_eq!(one.buckets(), []);
    }
}
