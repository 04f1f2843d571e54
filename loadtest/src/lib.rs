//! Load for Onhand that tells the truth: requests by a schedule that no slow answer stretches,
//! latency from the intended start, and afterwards every answer compared with the host's events.
//!
//! A black box: it speaks the HTTP API and knows nothing of the engine. Read [`flash`] first,
//! then [`LoadReport`] and [`TruthReport`].

#![forbid(unsafe_code)]

pub mod flash;
pub mod http;
pub mod op;
pub mod replay;
pub mod results;
pub mod scenario;
pub mod view;

mod crowd;
mod drive;
mod error;
mod feed;
mod http_session;
#[cfg(feature = "inproc")]
mod inproc;
mod ledger;
mod load;
mod machine;
mod meter;
mod outcome;
mod port;
mod rank;
mod report;
mod rng;
mod sale;
mod schedule;
mod session;
mod spill;
mod truth;
mod wire;

pub use drive::{CONNECTIONS_MAX, LAG_P99_MAX, PIPELINE_MAX, Pace, SECONDS_MAX, THREADS_MAX};
pub use error::{LoadError, LoadErrorKind};
pub use http::Authority;
#[cfg(feature = "inproc")]
pub use inproc::{EngineFacts, InProcess};
pub use load::{
    AckLevel, GRACE, KindReport, LatestSecond, LoadOptions, LoadReport, OnProgress, Phase,
    Progress, TIMEOUT_MAX, Target,
};
pub use machine::Machine;
pub use meter::Latency;
pub use op::{Loss, OpKind};
pub use outcome::{Outcome, RunOptions, run, write_reports};
pub use port::BATCH_ITEMS_MAX;
#[cfg(feature = "report")]
pub use report::{comparison_html, comparison_json, comparison_text, prometheus_text, run_html};
pub use report::{exit_code, flash_json, flash_text, replay_json, replay_text, run_text};
pub use schedule::{Rate, Shape};
pub use truth::{Check, CoursePoint, EVIDENCE_MAX, TruthReport, Units, Unresolved, Verdict};
