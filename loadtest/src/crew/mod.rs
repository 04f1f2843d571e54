//! Several generator processes with one schedule, one start and one verdict.
//!
//! A coordinator puts the stock in, gives each worker a share of the users (user `n` comes to
//! worker `n mod w`) and a common start, and takes in what they saw: seconds with their histograms,
//! what the buyers were told, the generator's own lag. All of it is merged into what one process
//! would have had, so that everything after the load is the same: asking again what stayed
//! unanswered, the truth, the thresholds, the reports.
//!
//! `frame` moves bytes with limits, `message` says what they mean, `secret` keeps strangers
//! out, `coordinator` and `worker` are the two sides.
//!
//! A worker knows the positions that its own buyers were told, not those of the others, so the
//! window in which a refusal with `sold_out` was decided is wider than within one process: a true
//! refusal never fails, a false one may be missed more easily.

mod coordinator;
mod frame;
mod message;
mod secret;
mod worker;

use std::time::Duration;

pub(crate) use coordinator::{Crew, Task};
pub(crate) use message::Steady;
pub use secret::{TOKEN_BYTES_MIN, Token};
pub use worker::{WorkerOptions, serve};

/// Version of what workers and coordinators say to each other.
const PROTOCOL: u32 = 2;
/// Most workers of one run.
pub const WORKERS_MAX: usize = 64;
/// Time that a stranger has to prove that it knows the token.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Longest silence of the other side while the load runs.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Longest time that the stock may take to be put in.
const SET_UP_MAX: Duration = Duration::from_mins(10);
/// Time from the last worker's readiness to the start, beside round trips.
const LEAD: Duration = Duration::from_millis(500);
/// Round trips by which a worker measures the difference of the clocks.
const ROUND_TRIPS: u32 = 16;

/// Processes that drive the load instead of this one.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Their addresses, `HOST:PORT`, 1 to [`WORKERS_MAX`].
    pub addresses: Vec<String>,
    /// What both sides must know.
    pub token: Token,
}
