//! Tests of the load tester against a host that is written from the HTTP contract.

mod cli;
mod clock;
mod common;
mod flash;
#[cfg(feature = "inproc")]
mod inproc;
mod liar;
mod replay;
#[cfg(feature = "report")]
mod report;
#[cfg(feature = "report")]
mod sample;
mod scenario;
