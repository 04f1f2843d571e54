//! What a run tells while it goes on.

use std::time::Duration;

use crate::meter::SeriesPoint;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// SKUs are defined and stock is put in.
    #[default]
    Setup,
    /// Load is running.
    Load,
    /// What stayed unanswered is asked again, and the truth is checked.
    Truth,
}

/// Progress of a run, told about twice a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Where the run stands.
    pub phase: Phase,
    /// Time in this phase.
    pub elapsed: Duration,
    /// Length of the load, where it is known.
    pub of: Option<Duration>,
    /// Requests sent.
    pub sent: u64,
    /// Orders sold: accepted purchases, and reservations that were placed.
    pub accepted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Requests a second since the last report.
    pub rate: f64,
    /// Users who came.
    pub users: u64,
    /// The latest second that is complete.
    pub latest: Option<LatestSecond>,
    /// Units left and put in of the SKU that everybody wants, where they are known.
    pub stock: Option<(u64, u64)>,
    /// Faults put in so far.
    pub faults: u64,
}

/// The latest second of a run that is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatestSecond {
    /// Its number, from 0.
    pub second: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests accepted.
    pub accepted: u64,
    /// Requests refused for want of units.
    pub sold_out: u64,
    /// Requests that started late by the generator's own fault.
    pub late: u64,
    /// Requests without an answer at its end.
    pub in_flight: u64,
    /// Median from the intended start; absent without answers.
    pub intended_p50: Option<Duration>,
    /// 99 % from the intended start.
    pub intended_p99: Option<Duration>,
    /// 99 % from the actual start.
    pub service_p99: Option<Duration>,
}

impl From<&SeriesPoint> for LatestSecond {
    fn from(point: &SeriesPoint) -> Self {
        let any = |time: Duration| (point.intended.count > 0).then_some(time);
        Self {
            second: point.second,
            sent: point.counts.sent,
            accepted: point.counts.accepted,
            sold_out: point.counts.sold_out,
            late: point.counts.late,
            in_flight: point.in_flight,
            intended_p50: any(point.intended.p50),
            intended_p99: any(point.intended.p99),
            service_p99: any(point.service.p99),
        }
    }
}

/// Receives the progress of a run.
pub type OnProgress = Box<dyn FnMut(&Progress) + Send>;
