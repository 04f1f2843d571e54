//! Latency in HDR histograms: from the intended start, and the service time beside it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::http::Dial;
use crate::op::OpKind;

/// Longest latency that is told apart from longer ones: ten minutes.
pub(crate) const NANOS_MAX: u64 = 600_000_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// Most seconds of a series.
const SERIES_SECONDS_MAX: usize = 90_000;

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

/// Makes an empty histogram for latencies in nanoseconds.
pub(crate) fn latencies() -> Histogram<u64> {
    let histogram = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS);
    histogram.expect("the bounds are constants that the histogram allows")
}

/// One histogram of times.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(latencies())
    }
}

impl Times {
    /// Records a time; more than ten minutes count as ten minutes.
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(NANOS_MAX);
        self.0.saturating_record(nanos.clamp(1, NANOS_MAX));
    }

    /// Records a time for each of several requests.
    pub(crate) fn record_n(&mut self, time: Duration, count: u64) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(NANOS_MAX);
        self.0.saturating_record_n(nanos.clamp(1, NANOS_MAX), count);
    }

    /// Adds the values of another histogram.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both histograms have the same bounds");
    }

    /// Records a time of [`Times::buckets`] many times over.
    #[cfg(feature = "workers")]
    pub(crate) fn record_many(&mut self, nanos: u64, count: u64) {
        self.0.saturating_record_n(nanos.clamp(1, NANOS_MAX), count);
    }

    /// Returns the times that were recorded, as exactly as they are known, with their counts.
    #[cfg(feature = "workers")]
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let values = self.0.iter_recorded();
        values.map(|value| (value.value_iterated_to(), value.count_since_last_iteration()))
    }

    /// Returns the histogram, in nanoseconds.
    pub(crate) const fn histogram(&self) -> &Histogram<u64> {
        &self.0
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

/// How long connections took to make.
#[derive(Clone, Debug, Default)]
pub(crate) struct DialTimes {
    /// TCP.
    pub(crate) tcp: Times,
    /// TLS, after TCP stood.
    pub(crate) tls: Times,
}

impl DialTimes {
    /// Records one connection.
    pub(crate) fn record(&mut self, dial: Dial) {
        self.tcp.record(dial.tcp);
        if let Some(tls) = dial.tls {
            self.tls.record(tls);
        }
    }

    /// Adds the values of others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tcp.merge(&other.tcp);
        self.tls.merge(&other.tls);
    }
}

/// The times of one group of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct KindTimes {
    /// From the intended start to the end of the answer.
    pub(crate) intended: Times,
    /// From the actual start to the end of the answer.
    pub(crate) service: Times,
}

impl KindTimes {
    /// Adds the values of another group.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.intended.merge(&other.intended);
        self.service.merge(&other.service);
    }
}

/// What the requests of a group share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// Stage in which they were due.
    pub(crate) stage: u8,
    /// Kind of user, by its place in the cast.
    pub(crate) actor: u8,
    /// What was asked.
    pub(crate) op: OpKind,
    /// Whether it was carried out.
    pub(crate) accepted: bool,
}

/// What one second counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SecondCounts {
    pub(crate) users: u64,
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) sold_out: u64,
    pub(crate) limited: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
}

impl SecondCounts {
    fn merge(&mut self, other: &Self) {
        self.users += other.users;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.sold_out += other.sold_out;
        self.limited += other.limited;
        self.lost += other.lost;
        self.late += other.late;
    }
}

/// The times and counts of one second of the load.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) second: u64,
    pub(crate) counts: SecondCounts,
    pub(crate) groups: BTreeMap<Group, Box<KindTimes>>,
}

impl Interval {
    /// Records an answer.
    pub(crate) fn record(&mut self, group: Group, intended: Duration, service: Duration) {
        let times = self.groups.entry(group).or_default();
        times.intended.record(intended);
        times.service.record(service);
        if group.accepted {
            self.counts.accepted += 1;
        } else {
            self.counts.refused += 1;
        }
    }

    /// Adds the interval of another thread.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts.merge(&other.counts);
        for (group, times) in other.groups {
            match self.groups.entry(group) {
                Entry::Occupied(mut mine) => mine.get_mut().merge(&times),
                Entry::Vacant(free) => drop(free.insert(times)),
            }
        }
    }
}

/// One second of the series, as the load was seen from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesPoint {
    pub(crate) second: u64,
    pub(crate) counts: SecondCounts,
    /// Requests without an answer at the end of the second.
    pub(crate) in_flight: u64,
    pub(crate) intended: Latency,
    pub(crate) service: Latency,
}

/// Takes each second of the load when it is complete.
pub(crate) trait OnSecond: Send {
    /// Takes the groups of a second.
    fn second(&mut self, interval: &Interval);
}

/// All times of a run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    groups: BTreeMap<Group, Box<KindTimes>>,
    pub(crate) series: Vec<SeriesPoint>,
    /// How late requests started although a connection was free: the generator's own fault.
    pub(crate) lag: Times,
    /// Requests whose lag was over the limit.
    pub(crate) late: u64,
    /// Requests that started late because every connection was waiting for an answer.
    pub(crate) backlogged: u64,
    /// How long connections took to make.
    pub(crate) dials: DialTimes,
    /// Requests without an answer so far.
    in_flight: u64,
}

impl Meter {
    /// Takes a complete second.
    pub(crate) fn take(&mut self, interval: &Interval) {
        let mut all = KindTimes::default();
        for (group, times) in &interval.groups {
            all.merge(times);
            self.groups.entry(*group).or_default().merge(times);
        }
        let SecondCounts { sent, accepted, refused, lost, .. } = interval.counts;
        self.in_flight = (self.in_flight + sent).saturating_sub(accepted + refused + lost);
        if self.series.len() < SERIES_SECONDS_MAX {
            self.series.push(SeriesPoint {
                second: interval.second,
                counts: interval.counts,
                in_flight: self.in_flight,
                intended: all.intended.summary(),
                service: all.service.summary(),
            });
        }
    }

    /// Returns the times of all groups that the test names, together.
    pub(crate) fn sum(&self, test: impl Fn(&Group) -> bool) -> KindTimes {
        let mut sum = KindTimes::default();
        for (_, times) in self.groups.iter().filter(|(group, _)| test(group)) {
            sum.merge(times);
        }
        sum
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

    /// Seconds add up to the run, by group and together, and what is under way is carried over.
    #[test]
    fn seconds_add_up() {
        let mut meter = Meter::default();
        let group = |actor, accepted| Group { stage: 0, actor, op: OpKind::Buy, accepted };
        for second in 0..3_u64 {
            let mut parts = [Interval::default(), Interval::default()];
            for (at, part) in parts.iter_mut().enumerate() {
                part.second = second;
                part.counts.sent = 3;
                let (micros, accepted) = (Duration::from_micros(100), at == 0);
                part.record(group(at as u8, accepted), micros * 2, micros);
                part.record(group(7, accepted), micros * 2, micros);
            }
            let [mut whole, other] = parts;
            whole.merge(other);
            meter.take(&whole);
        }
        let flying: Vec<_> = meter.series.iter().map(|point| point.in_flight).collect();
        assert_eq!(flying, [2, 4, 6]);
        assert_eq!(meter.series[1].intended.count, 4);
        assert_eq!(meter.sum(|group| group.actor == 7).intended.summary().count, 6);
        assert_eq!(meter.sum(|group| group.accepted).service.summary().count, 6);
        assert_eq!(meter.groups.len(), 4);
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
