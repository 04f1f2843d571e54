//! When users come: an open-loop schedule that no slow answer can stretch.
//!
//! Start times are a function of the stages, the shape and the seed alone, so latency can be taken
//! from the intended start and a target that stalls can't hide it ("coordinated omission").
//! The rate is a function of time ([`Curve`]); its integral counts starts, and inverting the
//! integral at 0, 1, 2, ... (evenly spread) or at the arrivals of a unit Poisson process gives
//! the starts.
//! Source: inversion of the cumulative rate, Çinlar, "Introduction to Stochastic Processes",
//! Prentice-Hall 1975, section 4.7.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::rng::Rng;

/// Most steps of the search for a start inside a decaying piece; Newton needs about five.
const NEWTON_STEPS_MAX: u32 = 80;

/// Length in seconds of a schedule without an end: longer than any run.
const LENGTH_MAX: f64 = 1e7;
/// Most starts that are counted one by one.
const COUNTED_MAX: u64 = 1_000_000;

/// How start times are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Equal distances at equal rates.
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
        rate_number(text).and_then(Self::per_second).ok_or_else(|| {
            format!(
                "rate is {text:?}, want a number above 0 and at most 10m, such as 500/s or 5k/s"
            )
        })
    }
}

/// Reads the number of a rate, 0 included; its range is not checked.
pub(crate) fn rate_number(text: &str) -> Option<f64> {
    let bare = text.strip_suffix("/s").unwrap_or(text);
    let (digits, factor) = match bare.as_bytes().last() {
        Some(b'k' | b'K') => (&bare[..bare.len() - 1], 1e3),
        Some(b'm' | b'M') => (&bare[..bare.len() - 1], 1e6),
        _ => (bare, 1.0),
    };
    digits.parse::<f64>().ok().map(|number| number * factor)
}

/// The rate over one stage, in users a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// From one rate to another in a straight line.
    Ramp { from: f64, to: f64 },
    /// One rate.
    Hold { rate: f64 },
    /// A flash crowd: a straight rise to the peak at the opening, then exponential decay to the
    /// base; perhaps a second wave of a share of the first.
    Flash { base: f64, peak: f64, rise: f64, half_life: f64, second: Option<Second> },
}

/// The second wave of a flash crowd: when reservations expire and units come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Second {
    /// Seconds after the start of the stage.
    pub(crate) after: f64,
    /// Height over the base, as a share of the first wave's.
    pub(crate) share: f64,
}

/// A stretch of time with the rate `base + slope * u + surge * exp(-decay * u)`, where `u` counts
/// seconds from its start.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: f64,
    length: f64,
    base: f64,
    slope: f64,
    surge: f64,
    decay: f64,
    /// Starts before this piece.
    before: f64,
}

impl Piece {
    fn rate(&self, u: f64) -> f64 {
        self.base + self.slope * u + self.surge * (-self.decay * u).exp()
    }

    /// Returns the starts in the first `u` seconds.
    fn count(&self, u: f64) -> f64 {
        let surge = if self.surge == 0.0 {
            0.0
        } else {
            -(self.surge / self.decay) * (-self.decay * u).exp_m1()
        };
        self.base * u + self.slope * u * u / 2.0 + surge
    }

    /// Returns when the first `count` starts are over.
    fn invert(&self, count: f64) -> f64 {
        if self.surge == 0.0 {
            // The stable form of the quadratic's root; a straight rate is the case slope = 0.
            let root = (self.base * self.base + 2.0 * self.slope * count).max(0.0).sqrt();
            let sum = self.base + root;
            return if sum > 0.0 { (2.0 * count / sum).min(self.length) } else { 0.0 };
        }
        let (mut low, mut high) = (0.0, self.length);
        let mut u = self.length / 2.0;
        for _ in 0..NEWTON_STEPS_MAX {
            let excess = self.count(u) - count;
            if excess > 0.0 {
                high = u;
            } else {
                low = u;
            }
            let step = u - excess / self.rate(u).max(f64::MIN_POSITIVE);
            let next = if step > low && step < high { step } else { f64::midpoint(low, high) };
            if (next - u).abs() < 1e-10 {
                return next;
            }
            u = next;
        }
        u
    }
}

/// The rate as a function of time, stage after stage.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pieces: Vec<Piece>,
    /// End of each stage, in seconds.
    ends: Vec<f64>,
}

impl Curve {
    /// Joins stages, each with its length in seconds.
    pub(crate) fn new(stages: impl IntoIterator<Item = (Form, f64)>) -> Self {
        let mut curve = Self { pieces: Vec::new(), ends: Vec::new() };
        for (form, length) in stages {
            let from = curve.length();
            curve.push_stage(form, from, length);
            curve.ends.push(from + length);
        }
        curve
    }

    /// Makes the curve of one rate for as long as a run may last.
    pub(crate) fn hold(rate: f64) -> Self {
        Self::new([(Form::Hold { rate }, LENGTH_MAX)])
    }

    fn push_stage(&mut self, form: Form, from: f64, length: f64) {
        let flat = Piece {
            from,
            length,
            base: 0.0,
            slope: 0.0,
            surge: 0.0,
            decay: 1.0,
            before: self.count(),
        };
        match form {
            Form::Hold { rate } => self.push(Piece { base: rate, ..flat }),
            Form::Ramp { from: low, to } => {
                self.push(Piece { base: low, slope: (to - low) / length, ..flat });
            }
            Form::Flash { base, peak, rise, half_life, second } => {
                let (decay, height) = (std::f64::consts::LN_2 / half_life, peak - base);
                let slope = height / rise;
                let first = rise.min(length);
                self.push(Piece { base, slope, length: first, ..flat });
                let back = second.map_or(length, |second| second.after.clamp(first, length));
                let calm = Piece { from: from + first, length: back - first, base, decay, ..flat };
                self.push(Piece { surge: height, ..calm });
                let Some(Second { share, .. }) = second else { return };
                // What is left of the first wave when the second begins, and when it is up.
                let left = height * (-decay * (back - first)).exp();
                let again = rise.min(length - back);
                let up = Piece { from: from + back, length: again, base, decay, ..flat };
                self.push(Piece { slope: slope * share, surge: left, ..up });
                let surge = left * (-decay * again).exp() + height * share;
                let down = Piece { from: from + back + again, base, decay, surge, ..flat };
                self.push(Piece { length: length - back - again, ..down });
            }
        }
    }

    fn push(&mut self, piece: Piece) {
        if piece.length > 0.0 {
            let before = self.count();
            self.pieces.push(Piece { before, ..piece });
        }
    }

    /// Returns the length in seconds.
    pub(crate) fn length(&self) -> f64 {
        self.ends.last().copied().unwrap_or(0.0)
    }

    /// Returns the starts of the whole schedule: the integral of the rate.
    pub(crate) fn count(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.before + last.count(last.length))
    }

    /// Returns the most starts within any stretch of so many seconds, to a second.
    pub(crate) fn busiest(&self, seconds: f64) -> f64 {
        let within = |from: f64| self.count_until(from + seconds) - self.count_until(from);
        let last = (self.length() - seconds).ceil().max(0.0) as u32;
        (0..=last).map(|from| within(f64::from(from))).fold(0.0, f64::max)
    }

    /// Returns the starts before a time.
    pub(crate) fn count_until(&self, seconds: f64) -> f64 {
        let at = self.pieces.partition_point(|piece| piece.from <= seconds);
        let Some(piece) = at.checked_sub(1).and_then(|at| self.pieces.get(at)) else { return 0.0 };
        piece.before + piece.count((seconds - piece.from).min(piece.length))
    }

    /// Returns the rate at a time; 0 after the end.
    #[cfg(test)]
    pub(crate) fn rate_at(&self, seconds: f64) -> f64 {
        let at = self.pieces.partition_point(|piece| piece.from <= seconds);
        let piece = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        piece
            .filter(|piece| seconds <= piece.from + piece.length)
            .map_or(0.0, |piece| piece.rate(seconds - piece.from))
    }

    /// Returns the highest rate.
    #[cfg(test)]
    pub(crate) fn peak(&self) -> f64 {
        let rates = |piece: &Piece| piece.rate(0.0).max(piece.rate(piece.length));
        self.pieces.iter().map(rates).fold(0.0, f64::max)
    }

    /// Returns the stage of a time; the last one after the end.
    pub(crate) fn stage_at(&self, seconds: f64) -> usize {
        let stage = self.ends.partition_point(|end| *end <= seconds);
        stage.min(self.ends.len().saturating_sub(1))
    }

    /// Returns when the start with this number is due; `None` after the last. `piece` is where the
    /// search begins, and moves on with ascending numbers.
    fn invert(&self, number: f64, piece: &mut usize) -> Option<f64> {
        while let Some(at) = self.pieces.get(*piece) {
            let inside = number - at.before;
            if inside < at.count(at.length) {
                return Some(at.from + at.invert(inside));
            }
            *piece += 1;
        }
        None
    }
}

/// The start times of a run, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    curve: Arc<Curve>,
    shape: Shape,
    /// Starts so far, or the time of the unit Poisson process.
    number: f64,
    piece: usize,
    rng: Rng,
}

impl Arrivals {
    /// Prepares the schedule of a curve, shape and seed.
    pub(crate) fn new(curve: Arc<Curve>, shape: Shape, seed: u64) -> Self {
        // A stream of its own, so that the shape does not change what is sent.
        let mut rng = Rng::of_item(seed, u64::MAX);
        let number = match shape {
            Shape::Uniform => 0.0,
            Shape::Poisson => rng.exponential(),
        };
        Self { curve, shape, number, piece: 0, rng }
    }

    /// Returns the next start, counted from the start of the run; `None` at the end.
    pub(crate) fn next_start(&mut self) -> Option<Duration> {
        let start = self.curve.invert(self.number, &mut self.piece)?;
        self.number += match self.shape {
            Shape::Uniform => 1.0,
            Shape::Poisson => self.rng.exponential(),
        };
        Some(Duration::from_nanos((start * 1e9) as u64))
    }

    /// Returns how many starts are left; beyond [`COUNTED_MAX`] by the integral alone.
    pub(crate) fn left(&self) -> u64 {
        let mut ahead = self.clone();
        let mut counted = 0;
        while counted < COUNTED_MAX {
            if ahead.next_start().is_none() {
                return counted;
            }
            counted += 1;
        }
        counted + (self.curve.count() - ahead.number).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(curve: Curve, shape: Shape, seed: u64) -> Vec<Duration> {
        let mut arrivals = Arrivals::new(Arc::new(curve), shape, seed);
        std::iter::from_fn(|| arrivals.next_start()).collect()
    }

    fn hold(rate: f64, length: f64) -> Curve {
        Curve::new([(Form::Hold { rate }, length)])
    }

    /// A day of every form, drawn from a seed.
    fn any_curve(seed: u64) -> Curve {
        let mut rng = Rng::of_item(seed, 1);
        let mut between = |low: f64, high: f64| low + rng.unit() * (high - low);
        let count = 1 + between(0.0, 4.0) as usize;
        let stages: Vec<_> = (0..count)
            .map(|_| {
                let length = between(0.5, 20.0);
                let form = match between(0.0, 4.0) as u32 {
                    0 => Form::Ramp { from: between(0.0, 50.0), to: between(0.0, 500.0) },
                    1 => Form::Hold { rate: between(0.1, 300.0) },
                    _ => Form::Flash {
                        base: between(0.0, 20.0),
                        peak: between(50.0, 900.0),
                        rise: between(0.01, 3.0),
                        half_life: between(0.2, 6.0),
                        second: (between(0.0, 2.0) > 1.0).then(|| Second {
                            after: between(0.0, 25.0),
                            share: between(0.0, 1.0),
                        }),
                    },
                };
                (form, length)
            })
            .collect();
        Curve::new(stages)
    }

    /// Sums the rate over small steps: the integral without its formula.
    fn summed(curve: &Curve, until: f64) -> f64 {
        let steps = 200_000;
        let width = until / f64::from(steps);
        (0..steps).map(|step| curve.rate_at((f64::from(step) + 0.5) * width) * width).sum()
    }

    /// Whatever the stages, evenly spread starts are as many as the integral of the rate says, at
    /// every moment, to one; and the integral is that of the rate.
    #[test]
    fn evenly_spread_starts_follow_the_integral() {
        for seed in 0..60 {
            let curve = any_curve(seed);
            let (length, total) = (curve.length(), curve.count());
            let sum = summed(&curve, length);
            assert!((sum - total).abs() < 0.01 * total.max(10.0), "seed {seed}: {sum} {total}");
            let starts = starts(curve.clone(), Shape::Uniform, seed);
            assert_eq!(starts.len() as u64, total.ceil() as u64, "seed {seed}");
            assert!(starts.is_sorted(), "seed {seed}");
            for share in 1..=20_u32 {
                let at = length * f64::from(share) / 20.0;
                let before = starts.iter().filter(|start| start.as_secs_f64() < at).count() as f64;
                let want = curve.count_until(at);
                assert!((before - want).abs() <= 1.001, "seed {seed} at {at}: {before} {want}");
            }
        }
    }

    /// Poisson starts are as many as the integral within five standard deviations, at every
    /// moment, and the same seed gives the same.
    #[test]
    fn poisson_starts_follow_the_integral() {
        for seed in 0..60 {
            let curve = any_curve(seed);
            let once = starts(curve.clone(), Shape::Poisson, seed);
            assert_eq!(once, starts(curve.clone(), Shape::Poisson, seed));
            assert!(once.is_sorted());
            for share in 1..=10_u32 {
                let at = curve.length() * f64::from(share) / 10.0;
                let before = once.iter().filter(|start| start.as_secs_f64() < at).count() as f64;
                let want = curve.count_until(at);
                let off = (before - want).abs();
                assert!(off <= 5.0 * want.sqrt() + 3.0, "seed {seed} at {at}: {before} {want}");
            }
        }
    }

    /// Starts don't drift: the millionth is where it belongs to the microsecond.
    #[test]
    fn uniform_starts_are_equally_spaced() {
        let starts = starts(hold(3_000.0, 334.0), Shape::Uniform, 1);
        assert_eq!(starts[0], Duration::ZERO);
        assert_eq!(starts[3].as_micros(), 1_000);
        assert_eq!(starts[1_000_000].as_micros(), 333_333_333);
    }

    /// A Poisson process is as uneven as it should be: variance of distances = mean squared.
    #[test]
    fn poisson_distances_are_exponential() {
        let once = starts(hold(10_000.0, 10.0), Shape::Poisson, 5);
        assert_ne!(once, starts(hold(10_000.0, 10.0), Shape::Poisson, 6));
        let gaps: Vec<f64> =
            once.windows(2).map(|w| w[1].saturating_sub(w[0]).as_secs_f64() * 1e4).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&variance), "{variance}");
    }

    /// A flash crowd peaks after its rise, halves in each half-life, and comes back.
    #[test]
    fn a_flash_crowd_has_its_shape() {
        let second = Some(Second { after: 20.0, share: 0.5 });
        let form = Form::Flash { base: 10.0, peak: 1_010.0, rise: 0.5, half_life: 2.0, second };
        let curve = Curve::new([(Form::Hold { rate: 10.0 }, 5.0), (form, 40.0)]);
        let near = |at: f64, want: f64| {
            let got = curve.rate_at(at);
            assert!((got - want).abs() < want * 0.01, "at {at}: {got} for {want}");
        };
        near(4.0, 10.0);
        near(5.25, 510.0);
        near(5.5, 1_010.0);
        near(7.5, 510.0);
        near(9.5, 260.0);
        near(25.5, 511.0);
        near(27.5, 260.5);
        assert_eq!((curve.stage_at(4.9), curve.stage_at(5.0), curve.stage_at(99.0)), (0, 1, 1));
        assert!((curve.peak() - 1_010.0).abs() < 1e-9);
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
