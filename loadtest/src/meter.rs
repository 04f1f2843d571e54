//! Latency in HDR histograms: from the intended start, and the service time beside it.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::op::OpKind;

/// Longest latency that is told apart from longer ones: ten minutes.
const NANOS_MAX: u64 = 600_000_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// Percentiles of one histogram; all times are exact to three digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// Mean.
    pub mean: Duration,
    /// Median.
    pub p50: Duration,
    /// 90 % are at most this.
    pub p90: Duration,
    /// 99 % are at most this.
    pub p99: Duration,
    /// 99.9 % are at most this.
    pub p999: Duration,
    /// Largest.
    pub max: Duration,
}

/// One histogram of times.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS);
        Self(histogram.expect("the bounds are constants that the histogram allows"))
    }
}

impl Times {
    /// Records a time; more than ten minutes count as ten minutes.
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(NANOS_MAX);
        self.0.saturating_record(nanos.clamp(1, NANOS_MAX));
    }

    /// Adds the values of another histogram.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both histograms have the same bounds");
    }

    /// Returns the percentiles.
    pub(crate) fn summary(&self) -> Latency {
        let at = |quantile: f64| Duration::from_nanos(self.0.value_at_quantile(quantile));
        if self.0.is_empty() {
            return Latency::default();
        }
        Latency {
            count: self.0.len(),
            mean: Duration::from_nanos(self.0.mean() as u64),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_nanos(self.0.max()),
        }
    }
}

/// The times of one kind of request.
#[derive(Clone, Debug, Default)]
pub(crate) struct KindTimes {
    /// From the intended start to the end of the answer.
    pub(crate) intended: Times,
    /// From the actual start to the end of the answer.
    pub(crate) service: Times,
}

/// All times of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    kinds: [KindTimes; OpKind::ALL.len()],
    /// Accepted requests, all kinds.
    pub(crate) accepted: KindTimes,
    /// Refused requests, all kinds.
    pub(crate) refused: KindTimes,
    /// How late requests started although their connection was free: the generator's own fault.
    pub(crate) lag: Times,
    /// Requests that started late because every connection was waiting for an answer.
    pub(crate) backlogged: u64,
}

impl Meter {
    /// Returns the times of one kind.
    pub(crate) fn kind(&self, kind: OpKind) -> &KindTimes {
        &self.kinds[kind as usize]
    }

    /// Records an answer.
    pub(crate) fn record(
        &mut self,
        kind: OpKind,
        accepted: bool,
        intended: Duration,
        service: Duration,
    ) {
        let by_result = if accepted { &mut self.accepted } else { &mut self.refused };
        for times in [&mut self.kinds[kind as usize], by_result] {
            times.intended.record(intended);
            times.service.record(service);
        }
    }

    /// Adds the times of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mine = self.kinds.iter_mut().chain([&mut self.accepted, &mut self.refused]);
        let theirs = other.kinds.iter().chain([&other.accepted, &other.refused]);
        for (mine, theirs) in mine.zip(theirs) {
            mine.intended.merge(&theirs.intended);
            mine.service.merge(&theirs.service);
        }
        self.lag.merge(&other.lag);
        self.backlogged += other.backlogged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percentiles are exact to three digits, and merging is the same as recording together.
    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let (mut even, mut odd) = (Times::default(), Times::default());
        for micros in 1..=10_000_u64 {
            let times = if micros % 2 == 0 { &mut even } else { &mut odd };
            times.record(Duration::from_micros(micros));
        }
        even.merge(&odd);
        let summary = even.summary();
        let near = |time: Duration, micros: f64| {
            let off = time.as_nanos() as f64 / 1_000.0 / micros;
            assert!((0.998..1.002).contains(&off), "{time:?} for {micros} us");
        };
        assert_eq!(summary.count, 10_000);
        near(summary.p50, 5_000.0);
        near(summary.p99, 9_900.0);
        near(summary.max, 10_000.0);
        assert_eq!(Times::default().summary(), Latency::default());
    }

    /// A time beyond the range is kept as the largest, never lost.
    #[test]
    fn times_beyond_the_range_are_kept() {
        let mut times = Times::default();
        times.record(Duration::from_secs(100_000));
        times.record(Duration::ZERO);
        let summary = times.summary();
        assert_eq!(summary.count, 2);
        assert!(summary.max >= Duration::from_secs(599), "{:?}", summary.max);
    }
}
