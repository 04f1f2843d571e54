//! When requests start: an open-loop schedule that no slow answer can stretch.
//!
//! Start times are a function of rate, shape and seed alone, so latency can be taken from the
//! intended start and a target that stalls can't hide it ("coordinated omission").

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::rng::Rng;

/// How start times are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Equal distances.
    #[default]
    Uniform,
    /// Independent arrivals: exponentially distributed distances.
    Poisson,
}

/// Requests a second, above 0 and at most [`Rate::PER_SECOND_MAX`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// Highest rate: ten million a second.
    pub const PER_SECOND_MAX: f64 = 10_000_000.0;

    /// Makes a rate; outside its range is `None`.
    pub fn per_second(value: f64) -> Option<Self> {
        (value > 0.0 && value <= Self::PER_SECOND_MAX).then_some(Self(value))
    }

    /// Returns the requests a second.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Reads `500`, `500/s`, `2.5k/s` or `1m/s` (`k` is a thousand, `m` a million).
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_suffix("/s").unwrap_or(text);
        let (digits, factor) = match bare.as_bytes().last() {
            Some(b'k' | b'K') => (&bare[..bare.len() - 1], 1e3),
            Some(b'm' | b'M') => (&bare[..bare.len() - 1], 1e6),
            _ => (bare, 1.0),
        };
        let value = digits.parse::<f64>().ok().map(|v| v * factor).and_then(Self::per_second);
        value.ok_or_else(|| {
            format!(
                "rate is {text:?}, want a number above 0 and at most 10m, such as 500/s or 5k/s"
            )
        })
    }
}

/// The start times of a run, ascending and without end.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    nanos_each: f64,
    shape: Shape,
    count: u64,
    sum_nanos: f64,
    rng: Rng,
}

impl Arrivals {
    /// Prepares the schedule of a rate, shape and seed.
    pub(crate) fn new(rate: Rate, shape: Shape, seed: u64) -> Self {
        // A stream of its own, so that the shape does not change what is sent.
        let rng = Rng::of_item(seed, u64::MAX);
        Self { nanos_each: 1e9 / rate.0, shape, count: 0, sum_nanos: 0.0, rng }
    }

    /// Returns the next start, counted from the start of the run.
    pub(crate) fn next_start(&mut self) -> Duration {
        let nanos = match self.shape {
            Shape::Uniform => self.count as f64 * self.nanos_each,
            Shape::Poisson => {
                self.sum_nanos += -(1.0 - self.rng.unit()).ln() * self.nanos_each;
                self.sum_nanos
            }
        };
        self.count += 1;
        Duration::from_nanos(nanos as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(rate: &str, shape: Shape, seed: u64, count: usize) -> Vec<Duration> {
        let rate = rate.parse().expect("the test's rate is valid");
        let mut arrivals = Arrivals::new(rate, shape, seed);
        (0..count).map(|_| arrivals.next_start()).collect()
    }

    /// Uniform starts don't drift: the millionth is where it belongs to the microsecond.
    #[test]
    fn uniform_starts_are_equally_spaced() {
        let starts = starts("3k/s", Shape::Uniform, 1, 1_000_001);
        assert_eq!(starts[0], Duration::ZERO);
        assert_eq!(starts[3].as_micros(), 1_000);
        assert_eq!(starts[1_000_000].as_micros(), 333_333_333);
    }

    /// Poisson starts ascend, depend on the seed alone and keep the rate within 2 %.
    #[test]
    fn poisson_starts_repeat_with_the_seed() {
        let once = starts("10k/s", Shape::Poisson, 5, 100_000);
        assert_eq!(once, starts("10k/s", Shape::Poisson, 5, 100_000));
        assert_ne!(once, starts("10k/s", Shape::Poisson, 6, 100_000));
        assert!(once.is_sorted());
        let last = once[99_999].as_secs_f64();
        assert!((9.8..10.2).contains(&last), "{last}");
        // A Poisson process is as uneven as it should be: variance of distances = mean squared.
        let gaps: Vec<f64> =
            once.windows(2).map(|w| w[1].saturating_sub(w[0]).as_secs_f64() * 1e4).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&variance), "{variance}");
    }

    /// Rates read the forms of the help text and refuse the rest with their range.
    #[test]
    fn rates_are_read_and_checked() {
        let read = |text: &str| text.parse::<Rate>().map(Rate::value);
        assert_eq!(read("500"), Ok(500.0));
        assert_eq!(read("2.5k/s"), Ok(2_500.0));
        assert_eq!(read("10M"), Ok(10_000_000.0));
        for bad in ["", "k", "0", "-1", "nan", "inf", "10.1m", "5x", "5/m"] {
            assert!(read(bad).is_err_and(|e| e.contains("at most 10m")), "{bad}");
        }
    }
}
