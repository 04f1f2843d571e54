//! Frames: a kind, a length, and at most so many bytes, within a time.

use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Most bytes of one frame.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 20;
/// Most bytes of a frame from somebody who has proved nothing yet.
pub(super) const GREETING_BYTES_MAX: usize = 4 << 10;
/// Bytes before the content of a frame: its kind and its length.
const HEAD_BYTES: usize = 5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message as JSON.
    Message,
    /// The times of one group of requests in one second.
    Group,
    /// How late requests started.
    Lag,
    /// Rows of accepted requests.
    Told,
    /// Rows of answers to payments.
    Payments,
    /// Rows of refusals with `sold_out`.
    SoldOut,
    /// Cells that refusals are judged for.
    Watched,
    /// Arrivals and positions of the first orders.
    Ranks,
    /// How long connections took to make: TCP.
    Tcp,
    /// The same: TLS, after TCP stood.
    Tls,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Message,
        Self::Group,
        Self::Lag,
        Self::Told,
        Self::Payments,
        Self::SoldOut,
        Self::Watched,
        Self::Ranks,
        Self::Tcp,
        Self::Tls,
    ];
}

/// Writes frames to the other side.
pub(super) struct Out(BufWriter<TcpStream>);

impl Out {
    /// Takes a connection; nothing that is written waits for longer than `patience`.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_write_timeout(Some(patience))?;
        Ok(Self(BufWriter::new(stream)))
    }

    /// Returns a second way to write on the same connection, for when the first is at rest.
    pub(super) fn again(&mut self) -> io::Result<Self> {
        self.flush()?;
        Ok(Self(BufWriter::new(self.0.get_ref().try_clone()?)))
    }

    /// Writes one frame; it leaves with [`Out::flush`] at the latest.
    pub(super) fn frame(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        if content.len() > FRAME_BYTES_MAX {
            let text = format!("a frame of {} bytes, at most {FRAME_BYTES_MAX}", content.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let [a, b, c, d] = (content.len() as u32).to_le_bytes();
        self.0.write_all(&[kind as u8, a, b, c, d])?;
        self.0.write_all(content)
    }

    /// Writes one message and sends it off.
    pub(super) fn message(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let json = serde_json::to_vec(message).map_err(io::Error::other)?;
        self.frame(Kind::Message, &json)?;
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Reads frames from the other side.
pub(super) struct In {
    stream: TcpStream,
    content: Vec<u8>,
}

impl In {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, content: Vec::new() }
    }

    /// Reads a frame of at most `bytes_max`, which must be complete within `patience`.
    pub(super) fn frame(
        &mut self,
        bytes_max: usize,
        patience: Duration,
    ) -> io::Result<(Kind, &[u8])> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let deadline = Instant::now() + patience;
        let mut head = [0; HEAD_BYTES];
        fill(&mut self.stream, &mut head, deadline)?;
        let [kind, length @ ..] = head;
        let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
        let kind = known.ok_or_else(|| wrong(format!("a frame of the unknown kind {kind}")))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > bytes_max {
            return Err(wrong(format!("a frame of {length} bytes, at most {bytes_max}")));
        }
        self.content.resize(length, 0);
        fill(&mut self.stream, &mut self.content, deadline)?;
        Ok((kind, &self.content))
    }

    /// Reads a message of at most `bytes_max` within `patience`.
    pub(super) fn message<T: serde::de::DeserializeOwned>(
        &mut self,
        bytes_max: usize,
        patience: Duration,
    ) -> io::Result<T> {
        let (kind, content) = self.frame(bytes_max, patience)?;
        if kind != Kind::Message {
            let text = format!("a frame of kind {kind:?} instead of a message");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        parse(content)
    }
}

/// Reads a message from the content of its frame.
pub(super) fn parse<T: serde::de::DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    serde_json::from_slice(content).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message that makes no sense: {error}"),
        )
    })
}

/// Fills a buffer before the deadline, however slowly bytes come.
fn fill(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut at = 0;
    while at < buffer.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[at..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            // A read that took too long says so by either name.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says what went wrong on a connection.
pub(super) fn trouble(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "it said nothing for too long".into()
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "it closed the connection".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ours = TcpStream::connect(address).expect("it listens");
        (ours, listener.accept().expect("somebody came").0)
    }

    /// Frames arrive as they were sent, and each limit is told when it is passed.
    #[test]
    fn frames_have_limits() {
        let (ours, theirs) = pair();
        let second = Duration::from_secs(1);
        let mut out = Out::new(ours.try_clone().expect("a handle"), second).expect("a socket");
        let mut from = In::new(theirs);
        out.frame(Kind::Told, b"rows").and_then(|()| out.flush()).expect("it is sent");
        let (kind, content) = from.frame(4, second).expect("a frame");
        assert_eq!((kind, content), (Kind::Told, &b"rows"[..]));
        out.message(&vec![1, 2]).expect("it is sent");
        assert_eq!(from.message::<Vec<u8>>(99, second).expect("a message"), [1, 2]);
        let mut check = |bytes: &[u8], wanted: &str| {
            let mut raw = &ours;
            raw.write_all(bytes).expect("it is sent");
            let error = from.message::<Vec<u8>>(4, Duration::from_millis(50));
            let error = error.expect_err("it is no message");
            let said = trouble(&error);
            assert!(said.contains(wanted), "{said}");
        };
        check(&[99, 0, 0, 0, 0], "a frame of the unknown kind 99");
        check(&[0, 5, 0, 0, 0], "a frame of 5 bytes, at most 4");
        check(&[3, 0, 0, 0, 0], "a frame of kind Told instead of a message");
        check(&[0, 1, 0, 0, 0, b'{'], "a message that makes no sense");
        check(&[0, 1, 0, 0, 0], "it said nothing for too long");
        ours.shutdown(std::net::Shutdown::Both).expect("it is open");
        let error = from.frame(4, second).expect_err("nothing comes any more");
        assert_eq!(trouble(&error), "it closed the connection");
        let large = vec![0; FRAME_BYTES_MAX + 1];
        assert!(out.frame(Kind::Told, &large).is_err());
    }
}
