//! The breaker: a plugin that fails again and again is left alone for a while.
//!
//! Time is passed in by the caller, in milliseconds of any clock that does not run backwards.

use crate::error::FailureKind;

/// Least number of failures that opens the breaker.
pub const FAILURES: u64 = 3;
/// Least share of failures that opens it: one of so many orders. One odd order in a thousand, which
/// any customer might send, must not switch a plugin off for all others.
pub(crate) const ONE_OF: u64 = 100;
/// Deadlines in a row, without an answer between them, that open the breaker whatever their share:
/// each holds a thread up, and the orders that were decided before count for a minute.
pub const HANGS: u64 = 6;
/// Time within which failures and orders count, in milliseconds, give or take 10 s.
pub const WINDOW_MS: u64 = BUCKETS as u64 * BUCKET_MS;
/// Length of one bucket of the window in milliseconds.
pub(crate) const BUCKET_MS: u64 = 10_000;
/// Buckets of the window.
const BUCKETS: usize = 6;
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

/// What happened in one part of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Number of the part since the clock's zero.
    number: u64,
    /// Orders that were decided.
    decided: u64,
    failed: u64,
}

/// Counts failures and says whether to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    state: BreakerState,
    buckets: [Bucket; BUCKETS],
    /// Deadlines since the last answer.
    hangs: u64,
    /// Latest time that was told, so that a clock that steps back does no harm.
    latest: u64,
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

    /// Takes note of a call that gave an answer on so many orders.
    pub(crate) fn succeed(&mut self, now: u64, orders: u64) {
        if self.state == BreakerState::HalfOpen {
            *self = Self { opened_count: self.opened_count, ..Self::default() };
        }
        self.hangs = 0;
        self.bucket(now).decided += orders;
    }

    /// Takes note of a call that was admitted and not made after all.
    pub(crate) fn withdraw(&mut self) {
        // The rest is over already, so that the next call is the trial.
        if self.state == BreakerState::HalfOpen {
            self.state = BreakerState::Open;
        }
    }

    /// Takes note of a failure.
    pub(crate) fn fail(&mut self, now: u64, kind: FailureKind) {
        if self.state == BreakerState::Open {
            // A call that was under way when another one opened the breaker.
            return;
        }
        self.bucket(now).failed += 1;
        self.hangs += u64::from(kind == FailureKind::Deadline);
        let trial = self.state == BreakerState::HalfOpen;
        if trial || self.hangs >= HANGS || self.fails_too_often() {
            self.state = BreakerState::Open;
            self.opened_at = now;
            self.opened_count += 1;
            self.hangs = 0;
            self.buckets = Default::default();
        }
    }

    fn fails_too_often(&self) -> bool {
        let oldest = (self.latest / BUCKET_MS).saturating_sub(BUCKETS as u64 - 1);
        let live = || self.buckets.iter().filter(|bucket| bucket.number >= oldest);
        let failed: u64 = live().map(|bucket| bucket.failed).sum();
        let decided: u64 = live().map(|bucket| bucket.decided).sum();
        failed >= FAILURES && failed * ONE_OF >= failed + decided
    }

    /// Returns the bucket of a time.
    fn bucket(&mut self, now: u64) -> &mut Bucket {
        self.latest = self.latest.max(now);
        let number = self.latest / BUCKET_MS;
        let bucket = &mut self.buckets[number as usize % BUCKETS];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket
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
    use super::{BUCKET_MS, Breaker, BreakerState, HANGS, REST_MS, WINDOW_MS};
    use crate::error::FailureKind;

    fn failed(times: &[u64]) -> Breaker {
        let mut breaker = Breaker::default();
        for &now in times {
            assert!(breaker.admits(now), "closed at {now}");
            breaker.fail(now, FailureKind::Trap);
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
        breaker.fail(REST_MS, FailureKind::Trap);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.admits(2 * REST_MS - 1));
        assert!(breaker.admits(2 * REST_MS));
        breaker.succeed(2 * REST_MS, 1);
        assert_eq!((breaker.state(), breaker.opened_count()), (BreakerState::Closed, 2));
        assert!(breaker.admits(2 * REST_MS));
    }

    /// A trial that could not be made leaves room for the next one, and late failures of calls
    /// made before do not prolong the rest.
    #[test]
    fn a_trial_that_was_not_made_is_made_later() {
        let mut breaker = failed(&[0, 0, 0]);
        breaker.fail(REST_MS / 2, FailureKind::Trap);
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

    /// Some odd orders among very many leave it closed; the same number among few does not.
    #[test]
    fn a_few_failures_among_very_many_orders_leave_it_closed() {
        let mut breaker = Breaker::default();
        breaker.succeed(0, 10_000);
        (0..100).for_each(|_| breaker.fail(BUCKET_MS, FailureKind::Trap));
        assert_eq!(breaker.state(), BreakerState::Closed, "100 of 10,100");
        // The orders leave the window before the failures do.
        breaker.fail(WINDOW_MS, FailureKind::Trap);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    /// Deadlines in a row open it among any number of orders; an answer between them does not let
    /// them add up.
    #[test]
    fn a_plugin_that_hangs_is_left_alone_soon() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.succeed(0, 10_000);
            (1..HANGS).for_each(|_| breaker.fail(0, FailureKind::Deadline));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.fail(0, FailureKind::Trap);
        assert_eq!(breaker.state(), BreakerState::Closed, "a trap takes no time");
        breaker.fail(0, FailureKind::Deadline);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
