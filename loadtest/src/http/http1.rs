//! One HTTP/1.1 connection, kept alive, with reconnects and a time limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use super::dial::{Dial, Dialer, Stream};
use super::response::{Chunks, Framing, Head, parse_head};
use super::{Limits, Request, Response};
use crate::op::Loss;

/// Bytes that a connection reads at once.
const READ_BYTES: usize = 16 * 1024;
/// Most interim (1xx) responses before the final one.
const INTERIM_MAX: usize = 8;

/// One connection; it connects at the first request and again after a loss.
#[derive(Debug)]
pub(crate) struct Http1 {
    dialer: Arc<Dialer>,
    limits: Limits,
    /// When the exchange that is under way ends at the latest.
    deadline: Instant,
    /// Header lines of every request.
    common: String,
    stream: Option<Stream>,
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
    /// Requests that were pushed and have no answer yet.
    awaited: usize,
    /// How long connections took to make, since somebody asked.
    dials: Vec<Dial>,
    /// Why the last one could not be made.
    why: Option<String>,
}

impl Http1 {
    /// Prepares a connection; `key` is an API key, `ack` a level of acknowledgement.
    pub(super) fn new(
        dialer: Arc<Dialer>,
        limits: Limits,
        key: Option<&str>,
        ack: Option<&str>,
    ) -> Self {
        use std::fmt::Write as _;
        let mut common = format!("Host: {}\r\n", dialer.authority().as_str());
        // Writing to a string can't fail.
        if let Some(key) = key {
            let _ = write!(common, "Authorization: Bearer {key}\r\n");
        }
        if let Some(ack) = ack {
            let _ = write!(common, "Prefer: ack={ack}\r\n");
        }
        Self {
            dialer,
            limits,
            deadline: Instant::now(),
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
            awaited: 0,
            dials: Vec::new(),
            why: None,
        }
    }

    pub(super) fn take_dials(&mut self) -> Vec<Dial> {
        std::mem::take(&mut self.dials)
    }

    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Returns how often this connection was made anew because it had broken.
    pub(super) fn reconnects(&self) -> u64 {
        self.connects.saturating_sub(1 + self.renewals)
    }

    /// Returns how often this connection was made anew on purpose.
    pub(super) const fn renewals(&self) -> u64 {
        self.renewals
    }

    /// Gives an open connection up, so that the next request makes it anew.
    ///
    /// It is reset, not shut down: a shop's visitors come from many machines, but a load tester has
    /// one, whose ports would be used up by connections that wait for their last packet.
    pub(super) fn renew(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.renewing = true;
            stream.reset_on_close();
        }
    }

    /// Counts on the host to close the connection after the next answer, as it was asked to.
    pub(super) fn expect_close(&mut self) {
        self.closing = true;
    }

    /// Appends a request to those that [`Connection::flush`] sends.
    pub(super) fn push(&mut self, request: Request<'_>) {
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
            out.extend_from_slice(itoa::Buffer::new().format(request.body.len()).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(request.body);
        self.awaited += 1;
    }

    /// Sends the requests that were pushed, connecting first where needed.
    ///
    /// # Errors
    ///
    /// Returns the loss; the connection is closed then, and what was pushed is dropped.
    pub(super) async fn flush(&mut self) -> Result<(), Loss> {
        // One limit for the exchange: its answers are waited for until then, however many.
        self.deadline = Instant::now() + self.limits.exchange;
        let result = match tokio::time::timeout_at(self.deadline, self.flush_now()).await {
            Ok(result) => result,
            Err(_) => Err(Loss::Timeout),
        };
        self.output.clear();
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    /// Returns whether a connection that waited for this request may not carry it: the host has
    /// closed it meanwhile, or has said something that nobody asked for.
    fn is_spoilt(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        if self.consumed != self.input.len() {
            return true;
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut ctx = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_read(&mut ctx, &mut buffer).is_ready()
    }

    async fn flush_now(&mut self) -> Result<(), Loss> {
        if self.is_spoilt() {
            self.stream = None;
        }
        if self.stream.is_none() {
            let (stream, dial) = self.dialer.dial().await.map_err(|why| {
                self.why = Some(why);
                Loss::Unreachable
            })?;
            self.stream = Some(stream);
            self.dials.push(dial);
            self.connects += 1;
            self.renewals += u64::from(std::mem::take(&mut self.renewing));
            self.input.clear();
            self.consumed = 0;
        }
        let Some(stream) = &mut self.stream else { return Err(Loss::Unreachable) };
        stream.write_all(&self.output).await.map_err(|_| Loss::Connection)?;
        stream.flush().await.map_err(|_| Loss::Connection)
    }

    /// Reads the next response.
    ///
    /// # Errors
    ///
    /// Returns the loss; the connection is closed then.
    pub(super) async fn receive(&mut self) -> Result<Response<'_>, Loss> {
        let read = match tokio::time::timeout_at(self.deadline, self.receive_now()).await {
            Ok(read) => read,
            Err(_) => Err(Loss::Timeout),
        };
        match read {
            Err(loss) => {
                self.disconnect();
                Err(loss)
            }
            Ok((head, from, to)) => {
                self.awaited = self.awaited.saturating_sub(1);
                // Who has asked for the end may send no more, whatever the host says (RFC 9112, 9.6).
                let asked = self.closing && self.awaited == 0;
                if head.close || asked {
                    self.stream = None;
                    self.renewing = asked;
                }
                self.closing &= !asked;
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

    /// Closes the connection; the next request makes it anew.
    pub(super) fn disconnect(&mut self) {
        self.stream = None;
        self.awaited = 0;
        self.closing = false;
        self.output.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::Sender;

    use super::super::{Authority, Connection, HttpVersion, Ways, Wire};
    use super::*;

    /// Serves connections one after the other: each answers as many requests as it has texts, and
    /// is closed then, which is told, or kept open to the end.
    fn serve(
        listener: TcpListener,
        connections: Vec<Vec<&'static str>>,
        closed: Option<Sender<()>>,
    ) {
        let mut kept = Vec::new();
        for answers in connections {
            let (stream, _) = listener.accept().expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            for answer in answers {
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                (&stream).write_all(answer.as_bytes()).expect("a client that reads");
            }
            drop(lines);
            match &closed {
                None => kept.push(stream),
                Some(closed) => {
                    drop(stream);
                    // A test that has seen enough listens no more.
                    let _ = closed.send(());
                }
            }
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nSeq: 7\r\n\r\na";
    const TWICE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na\
                         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";

    /// Runs a test beside a server.
    fn beside(
        connections: Vec<Vec<&'static str>>,
        closed: Option<Sender<()>>,
        test: impl AsyncFnOnce(&mut Connection),
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || serve(listener, connections, closed));
        let authority = Authority::parse(&url).expect("well formed");
        let wire = Wire { http: HttpVersion::One, ..Wire::default() };
        let ways = Ways::new(authority, &wire).expect("nothing to be wrong");
        let limits = Limits { exchange: std::time::Duration::from_secs(20) };
        let mut way = ways.way(limits, None, None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test(&mut way));
        server.join().expect("every connection was made");
    }

    fn get(headers: &str) -> Request<'_> {
        Request { method: "GET", path: "/", key: "", headers, body: b"" }
    }

    /// Lets the event loop look at the sockets.
    async fn look() {
        let one = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = one.local_addr().expect("an address");
        let (made, taken) = tokio::join!(tokio::net::TcpStream::connect(addr), one.accept());
        assert!(made.is_ok() && taken.is_ok());
    }

    /// A connection that the host has closed while it was idle costs no request.
    #[test]
    fn a_connection_closed_while_idle_is_made_anew() {
        let (closed, told) = std::sync::mpsc::channel();
        beside(vec![vec![OK], vec![OK, OK]], Some(closed), async |way| {
            assert_eq!(way.call(get("")).await.map(|r| r.seq).ok(), Some(Some(7)));
            told.recv().expect("the host closes behind its answer");
            look().await;
            for _ in 0..2 {
                way.call(get("")).await.expect("no request is lost");
            }
            assert_eq!((way.reconnects(), way.renewals()), (1, 0));
        });
    }

    /// An answer that nobody asked for is not taken for that of the next request.
    #[test]
    fn an_answer_given_twice_is_not_taken_for_another() {
        beside(vec![vec![TWICE], vec![OK]], None, async |way| {
            assert_eq!(way.call(get("")).await.map(|r| r.body.to_vec()).ok(), Some(b"a".to_vec()));
            look().await;
            let second = way.call(get("")).await.map(|r| r.body.to_vec());
            assert_eq!(second.ok(), Some(b"a".to_vec()), "the second answer was b");
            assert_eq!(way.reconnects(), 1);
        });
    }

    /// Who has asked for the end of a connection sends no more on it, though the host keeps it open.
    #[test]
    fn a_connection_that_was_to_close_is_not_used_again() {
        beside(vec![vec![OK], vec![OK]], None, async |way| {
            for _ in 0..2 {
                way.expect_close();
                way.call(get("Connection: close\r\n")).await.expect("an answer");
            }
            assert_eq!((way.reconnects(), way.renewals()), (0, 1));
        });
    }
}
