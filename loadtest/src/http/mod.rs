//! A lean HTTP/1.1 client: it must cost less than the host that it measures.
//!
//! No TLS, no redirects, no cookies, no compression: a load tester needs none of them.

mod connection;
mod response;

pub use connection::{Authority, Connection, Limits, Request, Response};
pub use response::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Malformed};
