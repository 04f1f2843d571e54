//! Runs summed up: the median with the smallest and the largest, and latencies by percentile.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Runs of one figure.
#[derive(Clone, Debug, Default)]
pub struct Runs(pub Vec<f64>);

impl Runs {
    /// Returns the median; of an even number of runs the mean of the middle two.
    pub fn median(&self) -> f64 {
        let mut runs = self.0.clone();
        runs.sort_by(f64::total_cmp);
        match runs.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => runs[n / 2],
            n => f64::midpoint(runs[n / 2 - 1], runs[n / 2]),
        }
    }

    /// Returns the smallest run.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Returns the largest run.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns median, smallest, largest and all runs.
    pub fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.min(), "max": self.max(), "runs": self.0 })
    }

    /// Writes the median and the spread with a unit, such as `3.10 [2.90-3.20] M/s`.
    pub fn text(&self, scale: f64, unit: &str) -> String {
        let [median, min, max] = [self.median(), self.min(), self.max()].map(|v| v / scale);
        format!("{median:.2} [{min:.2}-{max:.2}] {unit}")
    }
}

/// Makes a histogram of nanoseconds up to two minutes, within 1 %.
///
/// # Panics
///
/// Never: the bounds are valid.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 2).expect("the bounds are valid")
}

/// Returns percentiles of a histogram of nanoseconds, in milliseconds.
pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e6;
    json!({
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": histogram.max() as f64 / 1e6,
        "count": histogram.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_runs_ignores_their_order() {
        assert!((Runs(vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < 1e-9);
        assert!((Runs(vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < 1e-9);
        assert_eq!(Runs(vec![2.0, 4.0, 3.0]).text(2.0, "x"), "1.50 [1.00-2.00] x");
    }
}
