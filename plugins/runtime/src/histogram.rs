//! Counts of numbers by size, in a fixed amount of memory, written from many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets for each doubling: figures are exact to one part in 16.
const PARTS: usize = 16;
/// Buckets up to 2^64.
const BUCKETS: usize = (64 - 3) * PARTS;

/// Numbers by size, such as nanoseconds or fuel.
///
/// # Example
///
/// ```
/// use onhand_plugin_runtime::Histogram;
///
/// let times = Histogram::default();
/// times.add(7, 99);
/// times.add(1_000, 1);
/// assert_eq!((times.percentile(50), times.percentile(100)), (7, 1_000));
/// ```
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, max: AtomicU64::new(0) }
    }
}

fn bucket(value: u64) -> usize {
    let parts = PARTS as u64;
    if value < parts {
        return value as usize;
    }
    // The top five bits: one that is always set and four that tell the part.
    let shift = value.ilog2() - parts.ilog2();
    (shift as usize + 1) * PARTS + ((value >> shift) - parts) as usize
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

impl Histogram {
    /// Counts a number so many times.
    pub fn add(&self, value: u64, times: u64) {
        self.counts[bucket(value)].fetch_add(times, Ordering::Relaxed);
        // Mostly it is no new one, and a shared write is dear.
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Forgets all numbers.
    pub fn clear(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.max.store(0, Ordering::Relaxed);
    }

    /// Takes over the numbers of another, which has none then; what was counted before is forgotten.
    pub fn take_over(&self, other: &Self) {
        for (count, others) in self.counts.iter().zip(&other.counts) {
            count.store(others.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        self.max.store(other.max.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns all counts with the largest number of their buckets, those that are not zero.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.iter().enumerate();
        let read = counts.map(|(at, count)| (upper(at), count.load(Ordering::Relaxed)));
        read.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the largest number; 0 without any.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Returns a number that `percent` of all are not above; 0 without any.
    pub fn percentile(&self, percent: u64) -> u64 {
        Self::percentile_of(&[self], percent)
    }

    /// Returns a number that `percent` of all numbers of several histograms are not above; 0 without
    /// any.
    pub fn percentile_of(all: &[&Self], percent: u64) -> u64 {
        let count = |at: usize| -> u64 {
            all.iter().map(|one| one.counts[at].load(Ordering::Relaxed)).sum()
        };
        let total: u64 = (0..BUCKETS).map(count).sum();
        let max = all.iter().map(|one| one.max()).max().unwrap_or(0);
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for at in 0..BUCKETS {
            seen += count(at);
            if seen >= wanted {
                return upper(at).min(max);
            }
        }
        max
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Histogram, bucket, upper};

    /// Every number falls into a bucket whose largest number is at most one part in 16 above it.
    #[test]
    fn buckets_cover_all_numbers() {
        let mut last = 0;
        for power in 0..64 {
            for near in [0, 1, 2, 3, 5, 7] {
                let value = (1_u64 << power).saturating_add((1_u64 << power) / 8 * near);
                let at = bucket(value);
                assert!(at < BUCKETS, "{value}");
                assert!(upper(at) >= value, "{value}");
                assert!(upper(at) - value <= value / 16, "{value}");
                assert!(at == 0 || upper(at - 1) < value, "{value}");
                last = last.max(at);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 1), u64::MAX);
        assert!(last < BUCKETS);
    }

    /// Percentiles are those of the numbers that went in.
    #[test]
    fn percentiles_are_of_what_went_in() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), 0);
        for value in 1..=10 {
            histogram.add(value, 1);
        }
        assert_eq!((histogram.percentile(50), histogram.percentile(99)), (5, 10));
        histogram.add(1_000, 90);
        assert_eq!((histogram.percentile(50), histogram.max()), (1_000, 1_000));
        assert_eq!(histogram.buckets().len(), 11);
    }

    /// Two are looked at as one, and one takes the numbers of another over.
    #[test]
    fn two_halves_make_a_whole() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.add(5, 98);
        one.add(100_000, 2);
        assert_eq!((one.percentile(98), one.percentile(99)), (5, 100_000));
        two.add(5, 900);
        assert_eq!(Histogram::percentile_of(&[&one, &two], 99), 5);
        two.take_over(&one);
        assert_eq!((two.percentile(99), two.max()), (100_000, 100_000));
        assert_eq!((one.buckets(), one.max()), (vec![], 0));
        two.clear();
        assert_eq!((two.percentile(99), two.max()), (0, 0));
    }
}
