//! What a plugin has done so far, in numbers.

use crate::breaker::BreakerState;
use crate::error::FailureKind;

/// Buckets for each doubling of fuel: figures are exact to one part in 16.
const PARTS: usize = 16;
/// Buckets up to 2^64.
const BUCKETS: usize = (64 - 3) * PARTS;

/// Counts numbers by size, in a fixed amount of memory.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max: u64,
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
    fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, max: 0 }
    }

    fn add(&mut self, value: u64, times: u64) {
        self.counts[bucket(value)] += times;
        self.total += times;
        self.max = self.max.max(value);
    }

    /// Returns a number that `percent` of all are not above; 0 without any.
    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

/// Running totals behind a lock of the plugin.
pub(crate) struct Counters {
    calls: u64,
    orders: u64,
    instances: u64,
    answered: [u64; 4],
    failures: [u64; FailureKind::ALL.len()],
    fuel: Histogram,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            calls: 0,
            orders: 0,
            instances: 0,
            answered: [0; 4],
            failures: [0; FailureKind::ALL.len()],
            fuel: Histogram::new(),
        }
    }

    pub(crate) fn call(&mut self, orders: usize, fuel_per_order: u64) {
        self.calls += 1;
        self.orders += orders as u64;
        self.fuel.add(fuel_per_order, orders as u64);
    }

    pub(crate) fn instance(&mut self) {
        self.instances += 1;
    }

    /// Counts attempts that failed, made or not.
    pub(crate) fn failure(&mut self, kind: FailureKind, attempts: u64) {
        self.failures[kind as usize] += attempts;
    }

    pub(crate) fn answered(&mut self, by: usize, orders: usize) {
        self.answered[by] += orders as u64;
    }

    pub(crate) fn stats(&self, breaker: BreakerState, breaker_opened: u64) -> Stats {
        Stats {
            calls: self.calls,
            orders: self.orders,
            instances: self.instances,
            by_plugin: self.answered[0],
            by_built_in: self.answered[1],
            let_pass: self.answered[2],
            closed: self.answered[3],
            failures: self.failures,
            fuel_p50: self.fuel.percentile(50),
            fuel_p99: self.fuel.percentile(99),
            fuel_max: self.fuel.max,
            breaker,
            breaker_opened,
        }
    }
}

/// What a plugin has done since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Calls made, failed ones included.
    pub calls: u64,
    /// Orders or requests in them; one of a failed batch counts again when it is tried alone.
    pub orders: u64,
    /// Instances made.
    pub instances: u64,
    /// Orders decided by the plugin.
    pub by_plugin: u64,
    /// Orders decided by the built-in policy because the plugin failed.
    pub by_built_in: u64,
    /// Orders let pass because the plugin failed.
    pub let_pass: u64,
    /// Orders refused because the plugin failed.
    pub closed: u64,
    /// Failures by [`FailureKind`], in the order of [`FailureKind::ALL`].
    pub failures: [u64; FailureKind::ALL.len()],
    /// Fuel that half of the orders did not exceed, rounded up by at most one part in 16.
    pub fuel_p50: u64,
    /// Fuel that 99 of 100 orders did not exceed, rounded up by at most one part in 16.
    pub fuel_p99: u64,
    /// Most fuel that an order took.
    pub fuel_max: u64,
    /// Whether the plugin is called now.
    pub breaker: BreakerState,
    /// How often the breaker has opened.
    pub breaker_opened: u64,
}

impl Stats {
    /// Returns the number of failures of one kind.
    pub const fn failed(&self, kind: FailureKind) -> u64 {
        self.failures[kind as usize]
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
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50), 0);
        for value in 1..=10 {
            histogram.add(value, 1);
        }
        assert_eq!((histogram.percentile(50), histogram.percentile(99)), (5, 10));
        histogram.add(1_000, 90);
        assert_eq!((histogram.percentile(50), histogram.max), (1_000, 1_000));
    }
}
