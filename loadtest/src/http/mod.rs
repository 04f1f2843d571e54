//! A lean HTTP client, 1.1 and 2, plain or over TLS: it must cost less than the host that it
//! measures.
//!
//! No redirects, no cookies, no compression: a load tester needs none of them.

mod authority;
mod dial;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod response;
#[cfg(feature = "tls")]
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::op::Loss;

pub use authority::Authority;
pub(crate) use dial::{Dial, Dialer};
use http1::Http1;
#[cfg(feature = "http2")]
use http2::{Http2, Shared};
pub use response::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Malformed};

/// Most streams that share one HTTP/2 connection.
pub const STREAMS_MAX: usize = 256;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: a connection carries one request at a time, or those of its pipeline.
    #[default]
    One,
    /// HTTP/2: streams share connections.
    Two,
}

impl HttpVersion {
    /// Every version.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// Returns its number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "1.1",
            Self::Two => "2",
        }
    }
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts: `SSL_CERT_FILE`, or the file where systems keep them.
    #[default]
    System,
    /// Those that a certificate of this PEM file has signed.
    Ca(PathBuf),
    /// Anybody's: whoever is in between may read and change everything, the API key included.
    Anything,
}

/// How a target is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Which HTTP.
    pub http: HttpVersion,
    /// Requests under way that share one HTTP/2 connection, 1 to [`STREAMS_MAX`]. Default 32.
    pub streams: usize,
    /// Whose certificates are trusted, where the target speaks TLS.
    pub trust: Trust,
}

impl Default for Wire {
    fn default() -> Self {
        Self { http: HttpVersion::One, streams: 32, trust: Trust::System }
    }
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest time for one exchange, connecting included.
    pub(crate) exchange: Duration,
}

/// A request as it goes on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Method.
    pub(crate) method: &'a str,
    /// Path with its query.
    pub(crate) path: &'a str,
    /// Idempotency key; empty for none.
    pub(crate) key: &'a str,
    /// Further header lines, each ending with CR LF.
    pub(crate) headers: &'a str,
    /// Body; sent as JSON.
    pub(crate) body: &'a [u8],
}

/// A response; its body stays in the connection until the next one is read.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// Status.
    pub(crate) status: u16,
    /// The `Seq` header.
    pub(crate) seq: Option<u64>,
    /// The `Idempotency-Replayed` header.
    pub(crate) replayed: bool,
    /// Body.
    pub(crate) body: &'a [u8],
}

/// A way to a target; it connects at the first request and again after a loss.
#[derive(Debug)]
pub(crate) enum Connection {
    One(Box<Http1>),
    #[cfg(feature = "http2")]
    Two(Box<Http2>),
}

/// Makes the ways to one target: those over HTTP/2 in groups that share a connection.
#[derive(Debug)]
pub(crate) struct Ways {
    dialer: Arc<Dialer>,
    http: HttpVersion,
    #[cfg(feature = "http2")]
    shared: Arc<Shared>,
}

impl Ways {
    /// Prepares the ways to a target.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the certificates, or what this build does not have.
    pub(crate) fn new(authority: Authority, wire: &Wire) -> Result<Self, crate::error::LoadError> {
        let dialer = Arc::new(Dialer::new(authority, wire)?);
        Ok(Self::over(dialer, wire.http))
    }

    fn over(dialer: Arc<Dialer>, http: HttpVersion) -> Self {
        Self {
            dialer,
            http,
            #[cfg(feature = "http2")]
            shared: Arc::default(),
        }
    }

    /// Returns ways to the same target that share nothing with these.
    pub(crate) fn apart(&self) -> Self {
        Self::over(Arc::clone(&self.dialer), self.http)
    }

    /// Makes a way; `key` is an API key, `ack` a level of acknowledgement.
    pub(crate) fn way(&self, limits: Limits, key: Option<&str>, ack: Option<&str>) -> Connection {
        let dialer = Arc::clone(&self.dialer);
        match self.http {
            #[cfg(feature = "http2")]
            HttpVersion::Two => {
                let shared = Arc::clone(&self.shared);
                Connection::Two(Box::new(Http2::new(dialer, shared, limits, key, ack)))
            }
            // Preparing the ways has refused it.
            #[cfg(not(feature = "http2"))]
            HttpVersion::Two => Connection::One(Box::new(Http1::new(dialer, limits, key, ack))),
            HttpVersion::One => Connection::One(Box::new(Http1::new(dialer, limits, key, ack))),
        }
    }
}

/// Calls the same function of either way.
macro_rules! either {
    ($way:expr, $inner:ident => $call:expr) => {
        match $way {
            Connection::One($inner) => $call,
            #[cfg(feature = "http2")]
            Connection::Two($inner) => $call,
        }
    };
}

impl Connection {
    /// Returns how often a connection was made anew because it had broken.
    pub(crate) fn reconnects(&self) -> u64 {
        either!(self, way => way.reconnects())
    }

    /// Returns how often a connection was made on purpose, for a user of its own.
    pub(crate) fn renewals(&self) -> u64 {
        either!(self, way => way.renewals())
    }

    /// Takes how long connections took to make since the last call.
    pub(crate) fn take_dials(&mut self) -> Vec<Dial> {
        either!(self, way => way.take_dials())
    }

    /// Returns why the last connection could not be made.
    pub(crate) fn why(&self) -> Option<&str> {
        either!(self, way => way.why())
    }

    /// Has the next requests travel on the connection that is kept, or that several share.
    pub(crate) fn keep(&mut self) {
        match self {
            Self::One(_) => (),
            #[cfg(feature = "http2")]
            Self::Two(way) => way.share(),
        }
    }

    /// Has the next requests travel on a new connection of their own.
    pub(crate) fn renew(&mut self) {
        either!(self, way => way.renew());
    }

    /// Has the next requests travel on a connection that ends with their answers.
    pub(crate) fn expect_close(&mut self) {
        either!(self, way => way.expect_close());
    }

    /// Appends a request to those that [`Connection::flush`] sends.
    pub(crate) fn push(&mut self, request: Request<'_>) {
        either!(self, way => way.push(request));
    }

    /// Sends the requests that were pushed, connecting first where needed.
    ///
    /// # Errors
    ///
    /// Returns the loss; what was pushed is dropped then.
    pub(crate) async fn flush(&mut self) -> Result<(), Loss> {
        either!(self, way => way.flush().await)
    }

    /// Reads the response to the first request that has none yet.
    ///
    /// # Errors
    ///
    /// Returns the loss; responses to later requests do not come then.
    pub(crate) async fn receive(&mut self) -> Result<Response<'_>, Loss> {
        either!(self, way => way.receive().await)
    }

    /// Sends one request and reads its response.
    ///
    /// # Errors
    ///
    /// Returns the loss.
    pub(crate) async fn call(&mut self, request: Request<'_>) -> Result<Response<'_>, Loss> {
        self.push(request);
        self.flush().await?;
        self.receive().await
    }
}
