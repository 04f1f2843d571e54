//! Tests of the load tester against a host that is written from the HTTP contract.

#![cfg_attr(
    not(all(feature = "faults", feature = "report", feature = "schema", feature = "workers")),
    allow(dead_code, reason = "the host of these tests serves those of every feature")
)]

mod cli;
mod clock;
mod common;
#[cfg(all(feature = "faults", target_os = "linux"))]
mod fault;
#[cfg(feature = "report")]
mod find;
mod flash;
#[cfg(feature = "inproc")]
mod inproc;
mod liar;
#[cfg(all(feature = "peers", target_os = "linux"))]
mod peer;
mod replay;
#[cfg(feature = "report")]
mod report;
#[cfg(feature = "report")]
mod sample;
mod scenario;
#[cfg(all(feature = "report", feature = "schema", feature = "workers"))]
mod worker;
