//! Makes connections: TCP, then TLS where the target has it, each with its time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Authority, HttpVersion, Wire};
use crate::error::LoadError;

/// How long a connection took to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    /// Until TCP stood.
    pub(crate) tcp: Duration,
    /// From then until TLS stood; `None` without TLS.
    pub(crate) tls: Option<Duration>,
}

/// Makes connections to one target.
#[derive(Debug)]
pub(crate) struct Dialer {
    authority: Authority,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Client>,
}

impl Dialer {
    /// Prepares what all connections share.
    ///
    /// # Errors
    ///
    /// Returns an input error if a file of certificates can't be used, and a usage error for what
    /// this build does not have.
    pub(super) fn new(authority: Authority, wire: &Wire) -> Result<Self, LoadError> {
        if wire.http == HttpVersion::Two && !cfg!(feature = "http2") {
            let text = "this build has no HTTP/2; build it with `--features http2`";
            return Err(LoadError::usage(text));
        }
        #[cfg(feature = "tls")]
        let tls = if authority.is_secure() {
            Some(super::tls::Client::new(&authority, &wire.trust, wire.http)?)
        } else {
            None
        };
        Ok(Self {
            authority,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Connects; what went wrong is said in words.
    pub(super) async fn dial(&self) -> Result<(Stream, Dial), String> {
        let begun = Instant::now();
        let connected = TcpStream::connect(self.authority.as_str()).await;
        let stream = connected.map_err(|e| e.to_string())?;
        // Without it the kernel may hold small requests back for an acknowledgement.
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let tcp = begun.elapsed();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let secure = tls.shake_hands(stream).await?;
            let dial = Dial { tcp, tls: Some(begun.elapsed().saturating_sub(tcp)) };
            return Ok((Stream::Secure(Box::new(secure)), dial));
        }
        Ok((Stream::Plain(stream), Dial { tcp, tls: None }))
    }
}

/// A connection to a target.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Resets the connection when it is dropped, instead of shutting it down.
    pub(super) fn reset_on_close(&self) {
        let tcp = match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Secure(stream) => stream.get_ref().0,
        };
        // If it can't be set, the connection is shut down in the ordinary way.
        drop(tcp.set_zero_linger());
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(ctx, buffer),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => Pin::new(stream).poll_read(ctx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(ctx, bytes),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => Pin::new(stream).poll_write(ctx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(ctx, parts),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(ctx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(ctx),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => Pin::new(stream).poll_flush(ctx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(ctx),
            #[cfg(feature = "tls")]
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(ctx),
        }
    }
}
