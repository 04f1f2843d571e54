//! Which rate comes next: doubled until one fails, then halfway between the last that holds and
//! the first that does not.
//!
//! A pure function of what was found: it knows no run and no clock.

/// Most steps of a search.
pub const STEPS_MAX: u32 = 64;
/// Lowest and highest precision: the distance of the two rates around the knee, as a share.
pub const PRECISION_MIN: f64 = 0.001;
/// See [`PRECISION_MIN`].
pub const PRECISION_MAX: f64 = 1.0;

/// Why there is no further step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The two rates around the knee are as near as was asked.
    Precise,
    /// The steps are used up.
    Steps,
    /// The highest rate of the range holds.
    TopHolds,
    /// The lowest rate of the range does not hold.
    BottomFails,
}

/// A search between two rates.
#[derive(Clone, Debug)]
pub(super) struct Search {
    from: f64,
    to: f64,
    precision: f64,
    steps_left: u32,
    /// Highest rate that holds.
    pub(super) held: Option<f64>,
    /// Lowest rate that does not.
    pub(super) failed: Option<f64>,
}

impl Search {
    pub(super) const fn new(from: f64, to: f64, precision: f64, steps_max: u32) -> Self {
        Self { from, to, precision, steps_left: steps_max, held: None, failed: None }
    }

    /// Returns the next rate to try, or why there is none.
    pub(super) fn next(&self) -> Result<f64, Over> {
        let rate = match (self.held, self.failed) {
            (None, None) => self.from,
            (None, Some(_)) => return Err(Over::BottomFails),
            (Some(held), None) if held >= self.to => return Err(Over::TopHolds),
            (Some(held), None) => (held * 2.0).min(self.to),
            (Some(held), Some(failed)) => {
                if failed <= held * (1.0 + self.precision) {
                    return Err(Over::Precise);
                }
                let middle = rounded(f64::midpoint(held, failed));
                if middle <= held || middle >= failed {
                    return Err(Over::Precise);
                }
                middle
            }
        };
        if self.steps_left == 0 { Err(Over::Steps) } else { Ok(rate) }
    }

    /// Takes in what came of the rate that [`Search::next`] named.
    pub(super) fn note(&mut self, rate: f64, holds: bool) {
        self.steps_left = self.steps_left.saturating_sub(1);
        if holds {
            self.held = Some(rate);
        } else {
            self.failed = Some(rate);
        }
    }
}

/// Rounds to four digits, so that rates can be read.
fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 3.0);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against a server whose capacity is known, and returns what was tried.
    fn search(search: &mut Search, capacity: f64) -> (Vec<f64>, Over) {
        let mut tried = Vec::new();
        loop {
            match search.next() {
                Ok(rate) => {
                    tried.push(rate);
                    search.note(rate, rate <= capacity);
                }
                Err(over) => return (tried, over),
            }
        }
    }

    /// Rates double to the first that fails, and then close in on the capacity from both sides.
    #[test]
    fn rates_double_and_then_close_in() {
        let mut one = Search::new(100.0, 100_000.0, 0.05, 20);
        let (tried, over) = search(&mut one, 730.0);
        assert_eq!(tried, [100.0, 200.0, 400.0, 800.0, 600.0, 700.0, 750.0, 725.0]);
        assert_eq!((over, one.held, one.failed), (Over::Precise, Some(725.0), Some(750.0)));
    }

    /// Whatever the capacity within the range, the two rates are around it and as near as asked.
    #[test]
    fn the_knee_is_around_the_capacity() {
        for step in 1..400_u32 {
            let capacity = 50.0 * 1.021_f64.powi(step as i32);
            let mut one = Search::new(50.0, 1e6, 0.02, 64);
            let (tried, over) = search(&mut one, capacity);
            let (held, failed) = (one.held.expect("one holds"), one.failed.expect("one fails"));
            assert!(held <= capacity && capacity < failed, "{capacity}: {held} {failed}");
            assert!(over == Over::Precise && failed <= held * 1.02 + 1e-9, "{tried:?}");
            assert!(tried.len() <= 24, "{tried:?}");
        }
    }

    /// The ends of the range are told apart from a knee, and steps are limited.
    #[test]
    fn a_search_without_a_knee_ends() {
        let all =
            |from, to, steps, capacity| search(&mut Search::new(from, to, 0.05, steps), capacity);
        assert_eq!(all(10.0, 50.0, 20, 1e9), (vec![10.0, 20.0, 40.0, 50.0], Over::TopHolds));
        assert_eq!(all(10.0, 50.0, 20, 5.0), (vec![10.0], Over::BottomFails));
        assert_eq!(all(10.0, 5_000.0, 4, 35.0), (vec![10.0, 20.0, 40.0, 30.0], Over::Steps));
        assert_eq!(all(10.0, 5_000.0, 0, 35.0), (vec![], Over::Steps));
        assert_eq!(all(10.0, 10.0, 9, 35.0), (vec![10.0], Over::TopHolds));
    }
}
