//! Independent verifier of an Onhand journal.
//!
//! It shares no code with the engine: it was written from `docs/JOURNAL_FORMAT.md` and from the
//! rules of the domain, so that a mistake of the engine is not made twice. It reads a journal of
//! any length in bounded memory, checks every rule after every record, and stops at the first
//! one that is broken, with its place and all the numbers. `docs/VERIFIER.md` lists the checks.
//!
//! Reading order: [`verify`], then `chain` (frames and the journal's end), `record` (bytes),
//! `state` and `rules` (meaning), `report`.
//!
//! # Example
//!
//! ```no_run
//! use onhand_verify::{Options, verify};
//!
//! match verify("data".as_ref(), Options::default()) {
//!     Ok(report) => println!("{}", report.text(20)),
//!     Err(failure) => eprintln!("{failure}"),
//! }
//! ```

#![forbid(unsafe_code)]

mod bucket;
mod bytes;
mod catalog;
mod chain;
mod decisions;
mod failure;
mod fast_hash;
mod frame;
mod instruct;
mod keys;
mod limits;
mod order;
mod policies;
mod record;
mod report;
mod rules;
mod section;
mod segment;
mod state;
mod stock;
mod verify;

pub use chain::TornTail;
pub use failure::{Failure, FailureKind};
pub use keys::{KEYS_IN_MEMORY_MAX, PARTITION_BYTES_MAX};
pub use report::{KindCount, Report, SkuReport};
pub use verify::{Options, Progress, verify};
