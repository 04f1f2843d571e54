//! One keep-alive connection with reconnects and a time limit.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::response::{Chunks, Framing, Head, parse_head};
use crate::error::LoadError;
use crate::op::Loss;

/// Bytes that a connection reads at once.
const READ_BYTES: usize = 16 * 1024;
/// Most interim (1xx) responses before the final one.
const INTERIM_MAX: usize = 8;

/// Host and port of a target, such as `127.0.0.1:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(String);

impl Authority {
    /// Reads `http://HOST:PORT`; the port is 80 where it is missing.
    ///
    /// # Errors
    ///
    /// Returns a usage error for another scheme, a path, a user, or a missing host.
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let wrong = |why: &str| {
            LoadError::usage(format!("target is {url:?}: {why}; want http://HOST:PORT"))
        };
        if url.starts_with("https://") {
            return Err(wrong("this tool does not speak TLS"));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("no http:// scheme"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let bad =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?' | '#');
        if rest.is_empty() || rest.contains(bad) {
            return Err(wrong("it has no host, or more than host and port"));
        }
        let bracket_end = rest.rfind(']').unwrap_or(0);
        match rest[bracket_end..].rsplit_once(':') {
            None => Ok(Self(format!("{rest}:80"))),
            Some((_, port)) if port.parse::<u16>().is_ok_and(|p| p > 0) => {
                Ok(Self(rest.to_owned()))
            }
            Some(_) => Err(wrong("the port is not from 1 to 65535")),
        }
    }

    /// Returns `HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time for one exchange, connecting included.
    pub exchange: Duration,
}

/// A request as it goes on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path with its query.
    pub path: &'a str,
    /// Idempotency key; empty for none.
    pub key: &'a str,
    /// Further header lines, each ending with CR LF.
    pub headers: &'a str,
    /// Body; sent as JSON.
    pub body: &'a [u8],
}

/// A response; its body stays in the connection until the next one is read.
#[derive(Debug)]
pub struct Response<'a> {
    /// Status.
    pub status: u16,
    /// The `Seq` header.
    pub seq: Option<u64>,
    /// The `Idempotency-Replayed` header.
    pub replayed: bool,
    /// Body.
    pub body: &'a [u8],
}

/// One connection; it connects at the first request and again after a loss.
#[derive(Debug)]
pub struct Connection {
    authority: Authority,
    limits: Limits,
    /// Header lines of every request.
    common: String,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
    /// Bytes at the front of `input` that are done with.
    consumed: usize,
    /// Body of the last chunked response.
    unchunked: Vec<u8>,
    connects: u64,
    /// Connects that were asked for, not forced by a loss.
    renewals: u64,
    /// Whether the next connect is one of them.
    renewing: bool,
    /// Whether the host was asked to close after the next answer.
    closing: bool,
}

impl Connection {
    /// Prepares a connection; `key` is an API key, `ack` a level of acknowledgement.
    pub fn new(authority: Authority, limits: Limits, key: Option<&str>, ack: Option<&str>) -> Self {
        use std::fmt::Write as _;
        let mut common = format!("Host: {}\r\n", authority.as_str());
        // Writing to a string can't fail.
        if let Some(key) = key {
            let _ = write!(common, "Authorization: Bearer {key}\r\n");
        }
        if let Some(ack) = ack {
            let _ = write!(common, "Prefer: ack={ack}\r\n");
        }
        Self {
            authority,
            limits,
            common,
            stream: None,
            output: Vec::new(),
            input: Vec::new(),
            consumed: 0,
            unchunked: Vec::new(),
            connects: 0,
            renewals: 0,
            renewing: false,
            closing: false,
        }
    }

    /// Returns how often this connection was made anew because it had broken.
    pub fn reconnects(&self) -> u64 {
        self.connects.saturating_sub(1 + self.renewals)
    }

    /// Returns how often this connection was made anew on purpose.
    pub const fn renewals(&self) -> u64 {
        self.renewals
    }

    /// Gives an open connection up, so that the next request makes it anew.
    ///
    /// It is reset, not shut down: a shop's visitors come from many machines, but a load tester has
    /// one, whose ports would be used up by connections that wait for their last packet.
    pub fn renew(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.renewing = true;
            // If it can't be set, the connection is shut down in the ordinary way.
            drop(stream.set_zero_linger());
        }
    }

    /// Counts on the host to close the connection after the next answer, as it was asked to.
    pub fn expect_close(&mut self) {
        self.closing = true;
    }

    /// Appends a request to those that [`Connection::flush`] sends.
    pub fn push(&mut self, request: Request<'_>) {
        let out = &mut self.output;
        for part in [request.method, " ", request.path, " HTTP/1.1\r\n", &self.common] {
            out.extend_from_slice(part.as_bytes());
        }
        if !request.key.is_empty() {
            for part in ["Idempotency-Key: ", request.key, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(request.headers.as_bytes());
        if !request.body.is_empty() || request.method != "GET" {
            out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
            push_number(out, request.body.len());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(request.body);
    }

    /// Sends the requests that were pushed, connecting first where needed.
    ///
    /// # Errors
    ///
    /// Returns the loss; the connection is closed then, and what was pushed is dropped.
    pub async fn flush(&mut self) -> Result<(), Loss> {
        let result = match tokio::time::timeout(self.limits.exchange, self.flush_now()).await {
            Ok(result) => result,
            Err(_) => Err(Loss::Timeout),
        };
        self.output.clear();
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    async fn flush_now(&mut self) -> Result<(), Loss> {
        if self.stream.is_none() {
            let connected = TcpStream::connect(self.authority.as_str()).await;
            let stream = connected.map_err(|_| Loss::Unreachable)?;
            // Without it the kernel may hold small requests back for an acknowledgement.
            stream.set_nodelay(true).map_err(|_| Loss::Unreachable)?;
            self.stream = Some(stream);
            self.connects += 1;
            self.renewals += u64::from(std::mem::take(&mut self.renewing));
            self.input.clear();
            self.consumed = 0;
        }
        let Some(stream) = &mut self.stream else { return Err(Loss::Unreachable) };
        stream.write_all(&self.output).await.map_err(|_| Loss::Connection)
    }

    /// Reads the next response.
    ///
    /// # Errors
    ///
    /// Returns the loss; the connection is closed then.
    pub async fn receive(&mut self) -> Result<Response<'_>, Loss> {
        let read = match tokio::time::timeout(self.limits.exchange, self.receive_now()).await {
            Ok(read) => read,
            Err(_) => Err(Loss::Timeout),
        };
        match read {
            Err(loss) => {
                self.disconnect();
                Err(loss)
            }
            Ok((head, from, to)) => {
                if head.close {
                    self.stream = None;
                    self.renewing = self.closing;
                }
                self.closing = false;
                let body = match head.framing {
                    Framing::Chunked => self.unchunked.as_slice(),
                    Framing::Length(_) | Framing::UntilClose => &self.input[from..to],
                };
                let Head { status, seq, replayed, .. } = head;
                Ok(Response { status, seq, replayed, body })
            }
        }
    }

    /// Returns the head of the final response and where its body stands in the input.
    async fn receive_now(&mut self) -> Result<(Head, usize, usize), Loss> {
        self.drop_consumed();
        for _ in 0..=INTERIM_MAX {
            let (head, head_end) = loop {
                let parsed = parse_head(&self.input[self.consumed..]);
                match parsed.map_err(|_| Loss::Malformed)? {
                    Some((head, length)) => break (head, self.consumed + length),
                    None => self.read_more().await?,
                }
            };
            self.consumed = head_end;
            if head.status >= 200 {
                return self.receive_body(head, head_end).await;
            }
        }
        Err(Loss::Malformed)
    }

    async fn receive_body(
        &mut self,
        head: Head,
        from: usize,
    ) -> Result<(Head, usize, usize), Loss> {
        match head.framing {
            Framing::Length(length) => {
                while self.input.len() < from + length {
                    self.read_more().await?;
                }
                self.consumed = from + length;
            }
            Framing::Chunked => {
                self.unchunked.clear();
                let mut chunks = Chunks::default();
                loop {
                    let read = chunks.read(&self.input[from..], &mut self.unchunked);
                    if let Some(taken) = read.map_err(|_| Loss::Malformed)? {
                        self.consumed = from + taken;
                        break;
                    }
                    self.read_more().await?;
                }
            }
            Framing::UntilClose => {
                while self.read_some().await? > 0 {
                    if self.input.len() - from > super::BODY_BYTES_MAX {
                        return Err(Loss::Malformed);
                    }
                }
                self.consumed = self.input.len();
            }
        }
        Ok((head, from, self.consumed))
    }

    /// Forgets the responses that were read, keeping bytes of the next one.
    fn drop_consumed(&mut self) {
        if self.consumed == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..self.consumed);
        }
        self.consumed = 0;
    }

    /// Reads at least one byte; the end of the stream is a loss.
    async fn read_more(&mut self) -> Result<(), Loss> {
        if self.read_some().await? == 0 { Err(Loss::Connection) } else { Ok(()) }
    }

    async fn read_some(&mut self) -> Result<usize, Loss> {
        let stream = self.stream.as_mut().ok_or(Loss::Connection)?;
        self.input.reserve(READ_BYTES);
        stream.read_buf(&mut self.input).await.map_err(|_| Loss::Connection)
    }

    /// Sends one request and reads its response.
    ///
    /// # Errors
    ///
    /// Returns the loss; the connection is closed then.
    pub async fn call(&mut self, request: Request<'_>) -> Result<Response<'_>, Loss> {
        self.push(request);
        self.flush().await?;
        self.receive().await
    }

    /// Closes the connection; the next request makes it anew.
    pub fn disconnect(&mut self) {
        self.stream = None;
        self.output.clear();
    }
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    use std::io::Write as _;
    // Writing to a vector can't fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target is host and port under http and nothing more.
    #[test]
    fn targets_are_read_and_checked() {
        let read = |url: &str| Authority::parse(url).map(|a| a.0).map_err(|e| e.to_string());
        assert_eq!(read("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".into()));
        assert_eq!(read("http://localhost/"), Ok("localhost:80".into()));
        assert_eq!(read("http://[::1]:99"), Ok("[::1]:99".into()));
        assert_eq!(read("http://[::1]"), Ok("[::1]:80".into()));
        for bad in [
            "",
            "127.0.0.1:8080",
            "https://a",
            "http://",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
            "http://a\r\nb",
        ] {
            assert!(read(bad).is_err_and(|e| e.contains("want http://HOST:PORT")), "{bad:?}");
        }
    }
}
