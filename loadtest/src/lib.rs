//! Load for Onhand that tells the truth: requests by a schedule that no slow answer stretches,
//! latency from the intended start, and afterwards every answer compared with the host's events.
//!
//! A black box: it speaks the HTTP API and knows nothing of the engine. Read [`scenario`] first,
//! then [`run`], [`results`] and [`TruthReport`].

#![forbid(unsafe_code)]

#[cfg(all(feature = "report", feature = "schema"))]
pub mod cli;
#[cfg(feature = "workers")]
pub mod crew;
#[cfg(feature = "report")]
pub mod find;
pub mod http;
pub mod op;
pub mod results;
pub mod scenario;
pub mod view;

mod crowd;
mod drive;
mod error;
#[cfg(all(feature = "faults", target_os = "linux"))]
pub mod fault;
mod feed;
mod http_session;
#[cfg(feature = "inproc")]
mod inproc;
mod ledger;
mod load;
mod lookout;
mod machine;
mod meter;
mod outcome;
#[cfg(all(feature = "peers", target_os = "linux"))]
pub mod peer;
mod port;
mod preflight;
mod progress;
mod rank;
mod replay;
mod report;
mod rng;
mod sale;
mod schedule;
mod session;
mod spill;
mod truth;
mod wire;

pub use drive::{CONNECTIONS_MAX, LAG_P99_MAX, PIPELINE_MAX, SECONDS_MAX, THREADS_MAX};
pub use error::{LoadError, LoadErrorKind};
pub use http::{Authority, HttpVersion, STREAMS_MAX, Trust, Wire};
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
pub use replay::{BASKET_LINES_MAX, LINE_BYTES_MAX, PRELOAD_ORDERS_MAX, Placement, QUANTITY_MAX};
#[cfg(feature = "report")]
pub use report::{
    comparison_html, comparison_json, comparison_text, knee_html, knee_text, prometheus_text,
    run_html,
};
pub use report::{run_text, time_text};
pub use schedule::{Rate, Shape};
pub use truth::{
    Check, CoursePoint, EVIDENCE_MAX, Settled, TruthReport, Units, Unresolved, Verdict,
};
