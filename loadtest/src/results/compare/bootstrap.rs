//! A paired moving-block bootstrap over the seconds of two runs.

use std::collections::BTreeMap;

use super::RESAMPLES;
use crate::rng::Rng;

/// Seed of the bootstrap: the same two runs always get the same verdict.
const SEED: u64 = 0x0B00_7577_A11E_D5ED;
/// Most rows: longer runs are gathered into so many stretches of equal length.
const ROWS_MAX: usize = 300;

/// Returns the length of a block in rows: the cube root of their number, as Künsch's theory asks
/// for the order of it, rounded up.
pub(super) fn block_length(rows: usize) -> usize {
    let rows = rows.min(ROWS_MAX);
    ((rows as f64).cbrt().ceil() as usize).clamp(1, rows.max(1))
}

/// One run: for each row, how often each value was seen.
pub(super) struct Side(Vec<BTreeMap<u64, u64>>);

impl Side {
    /// Takes the values of each second.
    pub(super) fn of_values(seconds: Vec<Option<&BTreeMap<u64, u64>>>) -> Self {
        Self(seconds.into_iter().map(|values| values.cloned().unwrap_or_default()).collect())
    }

    /// Takes a count of each second, all of one value.
    pub(super) fn of_counts(seconds: Vec<u64>) -> Self {
        Self(seconds.into_iter().map(|count| BTreeMap::from([(0, count)])).collect())
    }

    fn gathered(self, rows: usize) -> Vec<BTreeMap<u64, u64>> {
        let seconds = self.0.len().max(1);
        let mut gathered = vec![BTreeMap::new(); rows];
        for (at, values) in self.0.into_iter().enumerate() {
            let row: &mut BTreeMap<u64, u64> = &mut gathered[at * rows / seconds];
            for (value, count) in values {
                *row.entry(value).or_default() += count;
            }
        }
        gathered
    }
}

/// Both runs over one list of values.
pub(super) struct Paired {
    /// Every value that either run has, ascending.
    values: Vec<u64>,
    /// For each row of each side: place of the value and its count.
    rows: [Vec<Vec<(usize, u64)>>; 2],
    seconds: usize,
}

impl Paired {
    pub(super) fn new(a: Side, b: Side, seconds: usize) -> Self {
        let rows = seconds.clamp(1, ROWS_MAX);
        let sides = [a.gathered(rows), b.gathered(rows)];
        let mut values: Vec<u64> =
            sides.iter().flatten().flat_map(|row| row.keys().copied()).collect();
        values.sort_unstable();
        values.dedup();
        let place = |value: &u64| values.partition_point(|known| known < value);
        let rows = sides.map(|side| {
            let row = |row: &BTreeMap<u64, u64>| row.iter().map(|(v, n)| (place(v), *n)).collect();
            side.iter().map(row).collect::<Vec<Vec<(usize, u64)>>>()
        });
        Self { values, rows, seconds }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the rate of both runs with the interval of their ratio.
    pub(super) fn rate(&self, level: f64) -> Judged {
        let seconds = self.seconds as f64;
        let [judged] = self.judge(level, |counts| [counts.iter().sum::<u64>() as f64 / seconds]);
        judged
    }

    /// Returns quantiles, ascending, of both runs with the interval of their ratio.
    pub(super) fn quantiles<const N: usize>(&self, wanted: [f64; N], level: f64) -> [Judged; N] {
        self.judge(level, |counts| {
            let total: u64 = counts.iter().sum();
            let mut found = [0.0; N];
            let (mut at, mut seen) = (0, counts.first().copied().unwrap_or(0));
            for (found, quantile) in found.iter_mut().zip(wanted) {
                // As HdrHistogram counts: the value at which so many are reached, at least one.
                let enough = ((quantile * total as f64).ceil() as u64).clamp(1, total.max(1));
                while seen < enough && at + 1 < counts.len() {
                    at += 1;
                    seen += counts[at];
                }
                *found = if total == 0 { 0.0 } else { self.values[at] as f64 };
            }
            found
        })
    }

    fn judge<const N: usize>(
        &self,
        level: f64,
        figures: impl Fn(&[u64]) -> [f64; N],
    ) -> [Judged; N] {
        let count = self.rows[0].len();
        let all: Vec<usize> = (0..count).collect();
        let mut counts = vec![0; self.values.len()];
        let mut of = |side: usize, drawn: &[usize]| {
            counts.fill(0);
            for row in drawn {
                for (place, count) in &self.rows[side][*row] {
                    counts[*place] += count;
                }
            }
            figures(&counts)
        };
        let (values_a, values_b) = (of(0, &all), of(1, &all));
        let length = block_length(count);
        let starts = (count - length + 1) as u64;
        let mut rng = Rng::of_item(SEED, count as u64);
        let mut ratios = [const { Vec::new() }; N];
        let mut drawn = Vec::with_capacity(count + length);
        for _ in 0..RESAMPLES {
            drawn.clear();
            while drawn.len() < count {
                let start = rng.below(starts) as usize;
                drawn.extend(start..start + length);
            }
            drawn.truncate(count);
            let (a, b) = (of(0, &drawn), of(1, &drawn));
            for (ratios, (a, b)) in ratios.iter_mut().zip(a.into_iter().zip(b)) {
                // A sample without anything in A says nothing about a ratio.
                if a > 0.0 {
                    ratios.push(b / a);
                }
            }
        }
        let mut place = 0;
        ratios.map(|ratios| {
            let (a, b) = (values_a[place], values_b[place]);
            place += 1;
            Judged { a, b, interval: interval(ratios, level) }
        })
    }
}

/// A figure of both runs, and the interval of B / A.
pub(super) struct Judged {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// Returns the percentile interval; `None` if half of the samples or more say nothing, for the
/// rest would be a choice of its own.
fn interval(mut ratios: Vec<f64>, level: f64) -> Option<(f64, f64)> {
    if ratios.len() <= RESAMPLES / 2 {
        return None;
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let tail = ((ratios.len() as f64 * level / 2.0).floor() as usize).min(ratios.len() / 2);
    Some((ratios[tail], ratios[ratios.len() - 1 - tail]))
}
