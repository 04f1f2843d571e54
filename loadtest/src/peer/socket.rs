//! A Unix socket with a buffer: what both clients of peers stand on.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::op::Loss;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection over a Unix socket; it connects when asked to.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    stream: Option<UnixStream>,
    input: Vec<u8>,
    /// Bytes at the front of `input` that are done with.
    consumed: usize,
    connects: u64,
    /// Connects that were asked for, not forced by a loss.
    renewals: u64,
    /// Whether the next connect is one of them.
    renewing: bool,
}

impl Socket {
    pub(super) fn new(path: &Path) -> Self {
        let (stream, input) = (None, Vec::new());
        let (consumed, connects, renewals, renewing) = (0, 0, 0, false);
        Self { path: path.to_owned(), stream, input, consumed, connects, renewals, renewing }
    }

    /// Returns how often it was connected again because it had broken, and on purpose.
    pub(super) const fn reconnects(&self) -> (u64, u64) {
        (self.connects.saturating_sub(1 + self.renewals), self.renewals)
    }

    /// Gives an open connection up, so that the next request makes it anew.
    pub(super) fn renew(&mut self) {
        self.renewing |= self.stream.take().is_some();
    }

    pub(super) fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Connects if it is not; returns whether it had to.
    pub(super) async fn connect(&mut self) -> Result<bool, Loss> {
        if self.stream.is_some() {
            return Ok(false);
        }
        let made = UnixStream::connect(&self.path).await;
        self.stream = Some(made.map_err(|_| Loss::Unreachable)?);
        self.connects += 1;
        self.renewals += u64::from(std::mem::take(&mut self.renewing));
        self.input.clear();
        self.consumed = 0;
        Ok(true)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Loss> {
        let stream = self.stream.as_mut().ok_or(Loss::Connection)?;
        stream.write_all(bytes).await.map_err(|_| Loss::Connection)
    }

    /// Returns the bytes that are there and not done with.
    pub(super) fn rest(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed = (self.consumed + bytes).min(self.input.len());
        if self.consumed == self.input.len() {
            self.input.clear();
            self.consumed = 0;
        }
    }

    /// Reads more bytes, at least one.
    pub(super) async fn fill(&mut self) -> Result<(), Loss> {
        let stream = self.stream.as_mut().ok_or(Loss::Connection)?;
        if self.input.len() - self.consumed > ANSWER_BYTES_MAX {
            return Err(Loss::Malformed);
        }
        if self.consumed > READ_BYTES {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        self.input.reserve(READ_BYTES);
        match stream.read_buf(&mut self.input).await {
            Ok(read) if read > 0 => Ok(()),
            Ok(_) | Err(_) => Err(Loss::Connection),
        }
    }
}
