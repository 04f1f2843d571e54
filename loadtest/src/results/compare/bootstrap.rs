//! A paired bootstrap of circular blocks over the seconds of two runs.

use std::collections::BTreeMap;

use super::{RESAMPLES, Values};
use crate::rng::Rng;

/// Seed of the bootstrap: the same two runs always get the same verdict.
const SEED: u64 = 0x0B00_7577_A11E_D5ED;

/// Returns the length of a block in rows: the cube root of their number, as Künsch's theory asks
/// for the order of it, rounded up.
pub(super) fn block_length(rows: usize) -> usize {
    ((rows as f64).cbrt().ceil() as usize).clamp(1, rows.max(1))
}

/// One run: for each row, how often each value was seen.
pub(super) struct Side {
    rows: Vec<Values>,
    /// Its own length, which may be less than that of its rows.
    seconds: usize,
}

impl Side {
    pub(super) const fn new(rows: Vec<Values>, seconds: usize) -> Self {
        Self { rows, seconds }
    }
}

/// Both runs over one list of values and as many rows as the longer has: the shorter had come to
/// its end, and nothing was left to be counted.
pub(super) struct Paired {
    /// Every value that either run has, ascending.
    values: Vec<u64>,
    /// For each row of each side: place of the value and its count.
    rows: [Vec<Vec<(usize, u64)>>; 2],
    /// Seconds of each side.
    seconds: [usize; 2],
}

impl Paired {
    pub(super) fn new(a: Side, b: Side) -> Self {
        let count = a.rows.len().max(b.rows.len()).max(1);
        let seconds = [a.seconds, b.seconds];
        let sides = [a.rows, b.rows];
        let mut values: Vec<u64> =
            sides.iter().flatten().flat_map(|row| row.keys().copied()).collect();
        values.sort_unstable();
        values.dedup();
        let place = |value: &u64| values.partition_point(|known| known < value);
        let rows = sides.map(|side| {
            let row = |row: &Values| row.iter().map(|(v, n)| (place(v), *n)).collect();
            let mut rows: Vec<Vec<(usize, u64)>> = side.iter().map(row).collect();
            rows.resize(count, Vec::new());
            rows
        });
        Self { values, rows, seconds }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the rate of both runs, each over its own length, with the interval of their ratio.
    pub(super) fn rate(&self, level: f64) -> Judged {
        let [judged] = self.judge(level, |side, counts| {
            [counts.iter().sum::<u64>() as f64 / self.seconds[side].max(1) as f64]
        });
        judged
    }

    /// Returns quantiles, ascending, of both runs with the interval of their ratio.
    pub(super) fn quantiles<const N: usize>(&self, wanted: [f64; N], level: f64) -> [Judged; N] {
        self.judge(level, |_, counts| {
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
        figures: impl Fn(usize, &[u64]) -> [f64; N],
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
            figures(side, &counts)
        };
        let (values_a, values_b) = (of(0, &all), of(1, &all));
        let length = block_length(count);
        let mut rng = Rng::of_item(SEED, count as u64);
        let mut ratios = [const { Vec::new() }; N];
        let mut drawn = Vec::with_capacity(count + length);
        for _ in 0..RESAMPLES {
            drawn.clear();
            while drawn.len() < count {
                // The last row is followed by the first, so that all weigh the same.
                let start = rng.below(count as u64) as usize;
                drawn.extend((start..start + length).map(|row| row % count));
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
        let blocks = count as f64 / length as f64;
        let mut place = 0;
        ratios.map(|ratios| {
            let (a, b) = (values_a[place], values_b[place]);
            place += 1;
            Judged { a, b, interval: interval(ratios, b / a, blocks, level) }
        })
    }
}

/// A figure of both runs, and the interval of B / A.
pub(super) struct Judged {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// Returns the interval of the percentiles, with the ratio itself in it, stretched on the logarithm
/// by as much as Student's t is wider than the normal distribution, with one degree of freedom less
/// than there are blocks: percentiles alone are too narrow for few blocks.
///
/// `None` if half of the samples or more say nothing, for the rest would be a choice of its own.
fn interval(mut ratios: Vec<f64>, point: f64, blocks: f64, level: f64) -> Option<(f64, f64)> {
    if ratios.len() <= RESAMPLES / 2 {
        return None;
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let tail = ((ratios.len() as f64 * level / 2.0).floor() as usize).min(ratios.len() / 2);
    let (low, high) = (ratios[tail].min(point), ratios[ratios.len() - 1 - tail].max(point));
    if low <= 0.0 {
        // Nothing has no logarithm, and is as low as can be.
        return Some((low, high));
    }
    // The bootstrap's own spread is too small by the block that its mean takes.
    let few = (blocks / (blocks - 1.0)).sqrt();
    let stretch = few * student(level / 2.0, blocks - 1.0) / normal(level / 2.0);
    Some((point * (low / point).powf(stretch), point * (high / point).powf(stretch)))
}

/// Returns the value that a normal variable exceeds with a probability below a half.
///
/// Source: Abramowitz and Stegun, 26.2.23.
fn normal(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + 0.802_853 * t + 0.010_328 * t * t;
    let below = 1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t.powi(3);
    t - above / below
}

/// Returns the value that Student's t exceeds with a probability, for 5 degrees of freedom or more
/// to 1 %.
///
/// Source: Abramowitz and Stegun, 26.7.5.
fn student(tail: f64, freedom: f64) -> f64 {
    let z = normal(tail);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    let fourth = (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1_482.0 * z.powi(5)
        - 1_920.0 * z.powi(3)
        - 945.0 * z)
        / 92_160.0;
    z + first / freedom
        + second / freedom.powi(2)
        + third / freedom.powi(3)
        + fourth / freedom.powi(4)
}

/// Gathers rows to a coarser stretch.
pub(super) fn gather(rows: &BTreeMap<u64, Values>, factor: u64, count: usize) -> Vec<Values> {
    let mut gathered = vec![Values::new(); count];
    for (row, values) in rows {
        let Some(into) = gathered.get_mut((row / factor.max(1)) as usize) else { continue };
        for (value, count) in values {
            *into.entry(*value).or_default() += count;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::super::{ERROR_MAX, FIGURES, SECONDS_MIN};
    use super::*;

    /// Quantiles of t are those of the tables.
    #[test]
    fn student_s_quantiles_are_those_of_the_tables() {
        for (tail, freedom, wanted) in [
            (0.005, 6.0, 3.7074),
            (0.0025, 6.0, 4.3168),
            (0.025, 10.0, 2.2281),
            (0.005, 30.0, 2.7500),
            (0.0025, 60.0, 2.9146),
        ] {
            let found = student(tail, freedom);
            assert!(
                (found / wanted - 1.0).abs() < 0.01,
                "{tail} {freedom}: {found}, want {wanted}"
            );
        }
    }

    /// Makes the rows of a run with independent noise.
    fn noisy(seed: u64, share: f64, values: u64) -> Side {
        let mut rng = Rng::of_item(seed, 0);
        let rows = (0..SECONDS_MIN).map(|_| {
            // The sum of twelve is near to a normal distribution of variance 1.
            let normal = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
            let level = 1_000.0 * (1.0 + share * normal).max(0.0);
            if values == 1 {
                return Values::from([(0, level as u64)]);
            }
            let mut row = Values::new();
            for _ in 0..values {
                *row.entry((level * (1.0 - (1.0 - rng.unit()).ln())) as u64).or_default() += 1;
            }
            row
        });
        Side::new(rows.collect(), SECONDS_MIN)
    }

    /// In the shortest runs that get a verdict, intervals hold the true ratio as often as they say,
    /// whatever the noise: of 400 pairs of equal runs, 99.4 % would miss it in two or three.
    #[test]
    fn intervals_hold_what_they_promise() {
        let level = ERROR_MAX / FIGURES as f64;
        let missed = |judged: &Judged| {
            judged.interval.is_none_or(|(low, high)| !(low..=high).contains(&1.0))
        };
        for share in [0.05, 0.15, 0.3] {
            let rates = (0..400).filter(|seed| {
                let side = |seed| noisy(seed, share, 1);
                missed(&Paired::new(side(*seed), side(seed + 10_000)).rate(level))
            });
            assert!(rates.count() <= 6, "rates with noise {share}");
        }
        let quantiles = (0..60).filter(|seed| {
            let side = |seed| noisy(seed, 0.15, 20);
            let paired = Paired::new(side(*seed), side(seed + 10_000));
            paired.quantiles([0.5, 0.99], level).iter().any(missed)
        });
        assert!(quantiles.count() <= 2, "quantiles");
    }

    /// Every row weighs the same, the first and the last as well, and the ratio itself lies within
    /// its interval.
    #[test]
    fn a_spike_in_the_first_second_weighs_as_any_other() {
        let side = |first: u64, others: u64| {
            let count = |row| if row == 0 { first } else { others };
            Side::new((0..60).map(|row| Values::from([(0, count(row))])).collect(), 60)
        };
        let judged = Paired::new(side(6_000, 10), side(12_000, 10)).rate(0.01);
        let (low, high) = judged.interval.expect("there are counts");
        let ratio = judged.b / judged.a;
        assert!(ratio > 1.8 && low <= ratio && ratio <= high, "{ratio} in {low}..{high}");
        // Some samples draw the spike, most of them.
        assert!(high > 1.9, "{high}");
    }
}
