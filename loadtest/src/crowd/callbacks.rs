//! Payments that never reach the shop, or reach it twice: what a payment provider does to a shop.
//!
//! The load tester confirms payments itself (`place`), so it can lose a confirmation or send it
//! again. Which users are hit is drawn from the seed; when, from the time that a payment is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::results::run::FaultOutcome;
use crate::scenario::{Fault, FaultAction};

/// What becomes of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is confirmed once.
    Sent,
    /// It is never confirmed.
    Dropped,
    /// It is confirmed twice with one key.
    Doubled,
}

/// The stretches of time in which payments are lost or doubled.
#[derive(Debug, Default)]
pub(crate) struct Callbacks(Vec<Stretch>);

#[derive(Debug)]
struct Stretch {
    from: Duration,
    /// `None` is to the end of the load.
    to: Option<Duration>,
    share: f64,
    action: FaultAction,
    /// Payments that were due.
    due: AtomicU64,
    /// Those that were hit.
    hit: AtomicU64,
}

impl Callbacks {
    /// Takes the faults of callbacks among all.
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let of_callbacks = faults.iter().filter(|fault| !fault.action.is_of_host());
        let stretch = |fault: &Fault| Stretch {
            from: fault.at,
            to: fault.length.map(|length| fault.at + length),
            share: fault.share,
            action: fault.action,
            due: AtomicU64::new(0),
            hit: AtomicU64::new(0),
        };
        Self(of_callbacks.map(stretch).collect())
    }

    /// Decides about a payment by its time and the user's own number from 0 to 1.
    pub(crate) fn fate(&self, due: Duration, draw: f64) -> Fate {
        for stretch in &self.0 {
            if due < stretch.from || stretch.to.is_some_and(|to| due >= to) {
                continue;
            }
            stretch.due.fetch_add(1, Ordering::Relaxed);
            if draw < stretch.share {
                stretch.hit.fetch_add(1, Ordering::Relaxed);
                let drops = stretch.action == FaultAction::DropCallbacks;
                return if drops { Fate::Dropped } else { Fate::Doubled };
            }
        }
        Fate::Sent
    }

    /// Returns how many of the stretches have begun.
    pub(crate) fn begun(&self, elapsed: Duration) -> u64 {
        self.0.iter().filter(|stretch| stretch.from <= elapsed).count() as u64
    }

    /// Returns what came of each stretch, as the record has it.
    pub(crate) fn outcomes(&self, elapsed: Duration) -> Vec<FaultOutcome> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let outcome = |stretch: &Stretch| {
            let drops = stretch.action == FaultAction::DropCallbacks;
            let what = if drops { "never sent" } else { "sent twice" };
            let (hit, due) = (&stretch.hit, &stretch.due);
            let (hit, due) = (hit.load(Ordering::Relaxed), due.load(Ordering::Relaxed));
            FaultOutcome {
                at_ns: nanos(stretch.from),
                to_ns: Some(nanos(stretch.to.unwrap_or(elapsed).min(elapsed).max(stretch.from))),
                action: stretch.action.name().to_owned(),
                outcome: format!("{hit} of {due} payments {what}"),
            }
        };
        self.0.iter().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(at: u64, length: Option<u64>, action: FaultAction, share: f64) -> Fault {
        let (at, length) = (Duration::from_secs(at), length.map(Duration::from_secs));
        Fault { at, action, length, share }
    }

    /// Payments are hit in their stretch of time only, by share, and the counts say how many.
    #[test]
    fn payments_are_hit_by_time_and_share() {
        let callbacks = Callbacks::new(&[
            fault(2, Some(2), FaultAction::DropCallbacks, 0.5),
            fault(3, None, FaultAction::DoubleCallbacks, 1.0),
            fault(0, None, FaultAction::KillHost, 1.0),
        ]);
        let fate = |seconds: f64, draw| callbacks.fate(Duration::from_secs_f64(seconds), draw);
        assert_eq!(fate(1.9, 0.0), Fate::Sent);
        assert_eq!((fate(2.0, 0.49), fate(2.0, 0.5)), (Fate::Dropped, Fate::Sent));
        assert_eq!((fate(3.5, 0.49), fate(3.5, 0.5)), (Fate::Dropped, Fate::Doubled));
        assert_eq!((fate(4.0, 0.0), fate(99.0, 0.9)), (Fate::Doubled, Fate::Doubled));
        let begun = [1, 2, 3].map(|seconds| callbacks.begun(Duration::from_secs(seconds)));
        assert_eq!(begun, [0, 1, 2]);
        let outcomes = callbacks.outcomes(Duration::from_secs(9));
        let text: Vec<_> = outcomes.iter().map(|outcome| outcome.outcome.as_str()).collect();
        assert_eq!(text, ["2 of 4 payments never sent", "3 of 3 payments sent twice"]);
        assert_eq!(outcomes[1].to_ns, Some(9_000_000_000));
    }
}
