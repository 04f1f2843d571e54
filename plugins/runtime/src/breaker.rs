//! The breaker: a plugin that fails again and again is left alone for a while.
//!
//! Time is passed in by the caller, in milliseconds of any clock that does not run backwards.

/// Failures that open the breaker.
pub const FAILURES: usize = 3;
/// Time within which they count, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;
/// Time that an open breaker rests before one call is tried, in milliseconds.
pub const REST_MS: u64 = 30_000;

/// Whether a plugin is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    #[default]
    Closed,
    /// One call is tried; the others are not made.
    HalfOpen,
    /// It is not.
    Open,
}

/// Counts failures and says whether to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    state: BreakerState,
    /// Times of the latest failures, the oldest first.
    failed: Vec<u64>,
    opened_at: u64,
    opened_count: u64,
}

impl Breaker {
    /// Returns whether a call may be made now; a call that may be made must report its outcome.
    pub(crate) fn admits(&mut self, now: u64) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::HalfOpen => false,
            BreakerState::Open => {
                let rested = now.saturating_sub(self.opened_at) >= REST_MS;
                if rested {
                    self.state = BreakerState::HalfOpen;
                }
                rested
            }
        }
    }

    /// Takes note of a call that gave an answer.
    pub(crate) fn succeed(&mut self) {
        if self.state == BreakerState::HalfOpen {
            *self = Self { opened_count: self.opened_count, ..Self::default() };
        }
    }

    /// Takes note of a call that was admitted and not made after all.
    pub(crate) fn withdraw(&mut self) {
        // The rest is over already, so that the next call is the trial.
        if self.state == BreakerState::HalfOpen {
            self.state = BreakerState::Open;
        }
    }

    /// Takes note of a failure.
    pub(crate) fn fail(&mut self, now: u64) {
        if self.state == BreakerState::Open {
            // A call that was under way when another one opened the breaker.
            return;
        }
        self.failed.retain(|&at| now.saturating_sub(at) < WINDOW_MS);
        self.failed.push(now);
        if self.state == BreakerState::HalfOpen || self.failed.len() >= FAILURES {
            self.state = BreakerState::Open;
            self.opened_at = now;
            self.opened_count += 1;
            self.failed.clear();
        }
    }

    pub(crate) const fn state(&self) -> BreakerState {
        self.state
    }

    pub(crate) const fn opened_count(&self) -> u64 {
        self.opened_count
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, BreakerState, REST_MS, WINDOW_MS};

    fn failed(times: &[u64]) -> Breaker {
        let mut breaker = Breaker::default();
        for &now in times {
            assert!(breaker.admits(now), "closed at {now}");
            breaker.fail(now);
        }
        breaker
    }

    /// Three failures within the window open it; the third just outside does not.
    #[test]
    fn opens_after_three_failures_in_the_window() {
        assert_eq!(failed(&[0, 1]).state(), BreakerState::Closed);
        assert_eq!(failed(&[0, 1, WINDOW_MS - 1]).state(), BreakerState::Open);
        assert_eq!(failed(&[0, 1, WINDOW_MS]).state(), BreakerState::Closed);
    }

    /// After its rest exactly one call is tried, and its outcome decides.
    #[test]
    fn tries_one_call_after_its_rest() {
        let mut breaker = failed(&[0, 0, 0]);
        assert!(!breaker.admits(REST_MS - 1));
        assert!(breaker.admits(REST_MS));
        assert!(!breaker.admits(REST_MS), "one trial at a time");
        breaker.fail(REST_MS);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.admits(2 * REST_MS - 1));
        assert!(breaker.admits(2 * REST_MS));
        breaker.succeed();
        assert_eq!((breaker.state(), breaker.opened_count()), (BreakerState::Closed, 2));
        assert!(breaker.admits(2 * REST_MS));
    }

    /// A trial that could not be made leaves room for the next one, and late failures of calls
    /// made before do not prolong the rest.
    #[test]
    fn a_trial_that_was_not_made_is_made_later() {
        let mut breaker = failed(&[0, 0, 0]);
        breaker.fail(REST_MS / 2);
        assert!(breaker.admits(REST_MS));
        breaker.withdraw();
        assert!(breaker.admits(REST_MS));
    }

    /// A clock that steps back never opens or closes it by itself.
    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        let mut breaker = failed(&[5_000, 4_000, 3_000]);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.admits(0));
    }
}
