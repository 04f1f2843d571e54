//! Reads HTTP/1.1 responses from bytes, strictly and within limits. Source: RFC 9112.

use std::fmt;
use std::ops::Range;

/// Most bytes of a status line with its headers, or of the trailers of a chunked body.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most bytes of one body.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Most bytes of the line before a chunk, extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Why bytes are no HTTP/1.1 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The status line is not `HTTP/1.x NNN ...`.
    StatusLine,
    /// A header line has no name, no colon, a space before it, or a bare line feed.
    Header,
    /// The head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLong,
    /// The length is no number, or stated twice in different ways.
    Length,
    /// The body is longer than [`BODY_BYTES_MAX`].
    BodyTooLong,
    /// A chunk's size or end is wrong.
    Chunk,
    /// The transfer coding is not `chunked`.
    Coding,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusLine => f.write_str("status line is not that of HTTP/1.1"),
            Self::Header => f.write_str("header line is malformed"),
            Self::HeadTooLong => write!(f, "head is longer than {HEAD_BYTES_MAX} bytes"),
            Self::Length => f.write_str("content length is malformed or stated twice"),
            Self::BodyTooLong => write!(f, "body is longer than {BODY_BYTES_MAX} bytes"),
            Self::Chunk => f.write_str("chunk is malformed"),
            Self::Coding => f.write_str("transfer coding is not chunked"),
        }
    }
}

/// Where the end of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// What a load tester reads of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether the connection can carry no other request.
    pub(super) close: bool,
    /// The `Seq` header.
    pub(super) seq: Option<u64>,
    /// The `Idempotency-Replayed` header.
    pub(super) replayed: bool,
}

/// Reads a head from the start of `bytes`: the head and its length, or `None` for more bytes.
pub(super) fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut lines = Lines { bytes: &bytes[..bytes.len().min(HEAD_BYTES_MAX)], at: 0 };
    let more = || {
        let long = bytes.len() > HEAD_BYTES_MAX;
        if long { Err(Malformed::HeadTooLong) } else { Ok(None) }
    };
    let Some(line) = lines.next()? else { return more() };
    let (status, old) = parse_status(line)?;
    let mut found = Found { close: old, ..Found::default() };
    loop {
        match lines.next()? {
            None => return more(),
            Some([]) => break,
            Some(line) => found.read(line)?,
        }
    }
    let bodiless = status < 200 || status == 204 || status == 304;
    let framing = match (found.chunked, found.length) {
        (true, Some(_)) => return Err(Malformed::Length),
        _ if bodiless => Framing::Length(0),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    let close = found.close || framing == Framing::UntilClose;
    let head = Head { status, framing, close, seq: found.seq, replayed: found.replayed };
    Ok(Some((head, lines.at)))
}

/// Lines that end with CR LF; a bare LF within one is malformed.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes that are done with.
    at: usize,
}

impl<'a> Lines<'a> {
    /// Returns the next line without its end, or `None` where its end is not there yet.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").map(Some).ok_or(Malformed::Header)
    }
}

/// Returns the status, and whether the version is 1.0.
fn parse_status(line: &[u8]) -> Result<(u16, bool), Malformed> {
    let old = match line.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        _ => return Err(Malformed::StatusLine),
    };
    let ends = line.len() == 12 || line.get(12) == Some(&b' ');
    let digits = line.get(9..12).filter(|d| d.iter().all(u8::is_ascii_digit) && ends);
    let digits = digits.ok_or(Malformed::StatusLine)?;
    let status = digits.iter().fold(0_u16, |sum, d| sum * 10 + u16::from(d - b'0'));
    if (100..600).contains(&status) { Ok((status, old)) } else { Err(Malformed::StatusLine) }
}

#[derive(Default)]
struct Found {
    length: Option<usize>,
    chunked: bool,
    close: bool,
    seq: Option<u64>,
    replayed: bool,
}

impl Found {
    fn read(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let colon = memchr::memchr(b':', line).ok_or(Malformed::Header)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Malformed::Header);
        }
        match name.len() {
            3 if name.eq_ignore_ascii_case(b"seq") => self.seq = parse_number(value),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= value.eq_ignore_ascii_case(b"close");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_number(value).ok_or(Malformed::Length)?;
                let length = usize::try_from(length).map_err(|_| Malformed::BodyTooLong)?;
                if length > BODY_BYTES_MAX {
                    return Err(Malformed::BodyTooLong);
                }
                if self.length.is_some_and(|first| first != length) {
                    return Err(Malformed::Length);
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                    return Err(Malformed::Coding);
                }
                self.chunked = true;
            }
            20 if name.eq_ignore_ascii_case(b"idempotency-replayed") => {
                self.replayed = value.eq_ignore_ascii_case(b"true");
            }
            _ => (),
        }
        Ok(())
    }
}

/// Reads digits alone; a sign, a space or an overflow is `None`.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(value)
    })
}

/// Progress through a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Bytes of the input that are done with.
    taken: usize,
    at: ChunkAt,
}

#[derive(Clone, Copy, Debug, Default)]
enum ChunkAt {
    #[default]
    Size,
    Data(usize),
    End,
    Trailer,
}

impl Chunks {
    /// Reads on in `input`, which starts at the body and has grown since the last call; appends
    /// what the chunks carry to `body` and returns the bytes of input that the body took, or
    /// `None` for more input.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<Option<usize>, Malformed> {
        // Many tiny chunks or trailers must not grow the input without end.
        if input.len() > 2 * BODY_BYTES_MAX {
            return Err(Malformed::BodyTooLong);
        }
        loop {
            let rest = &input[self.taken..];
            match self.at {
                ChunkAt::Size => {
                    let Some(line) = crlf_line(rest, CHUNK_LINE_BYTES_MAX)? else {
                        return Ok(None);
                    };
                    let size = parse_chunk_size(&rest[line.clone()])?;
                    if size > BODY_BYTES_MAX - body.len() {
                        return Err(Malformed::BodyTooLong);
                    }
                    self.taken += line.end + 2;
                    self.at = if size == 0 { ChunkAt::Trailer } else { ChunkAt::Data(size) };
                }
                ChunkAt::Data(left) => {
                    let now = left.min(rest.len());
                    body.extend_from_slice(&rest[..now]);
                    self.taken += now;
                    if now < left {
                        self.at = ChunkAt::Data(left - now);
                        return Ok(None);
                    }
                    self.at = ChunkAt::End;
                }
                ChunkAt::End => {
                    if rest.len() < 2 {
                        return Ok(None);
                    }
                    if &rest[..2] != b"\r\n" {
                        return Err(Malformed::Chunk);
                    }
                    self.taken += 2;
                    self.at = ChunkAt::Size;
                }
                ChunkAt::Trailer => {
                    let Some(line) = crlf_line(rest, HEAD_BYTES_MAX)? else { return Ok(None) };
                    self.taken += line.end + 2;
                    if line.is_empty() {
                        return Ok(Some(self.taken));
                    }
                }
            }
        }
    }
}

/// Returns the range of a line before its CR LF, or `None` for more input.
fn crlf_line(bytes: &[u8], bytes_max: usize) -> Result<Option<Range<usize>>, Malformed> {
    let window = &bytes[..bytes.len().min(bytes_max)];
    match window.iter().position(|b| *b == b'\n') {
        Some(at) if at > 0 && bytes[at - 1] == b'\r' => Ok(Some(0..at - 1)),
        Some(_) => Err(Malformed::Chunk),
        None if bytes.len() >= bytes_max => Err(Malformed::Chunk),
        None => Ok(None),
    }
}

fn parse_chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let end = line.iter().position(|b| *b == b';').unwrap_or(line.len());
    let digits = line[..end].trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return Err(Malformed::Chunk);
    }
    digits.iter().try_fold(0_usize, |sum, digit| {
        let value = (*digit as char).to_digit(16).ok_or(Malformed::Chunk)?;
        Ok(sum * 16 + value as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<(Head, usize)>, Malformed> {
        parse_head(text.as_bytes())
    }

    fn framing(text: &str) -> Result<Framing, Malformed> {
        head(text).map(|head| head.expect("the head is complete").0.framing)
    }

    /// A usual head gives status, framing, position and the two headers of the contract.
    #[test]
    fn a_head_is_read() {
        let text = "HTTP/1.1 201 Created\r\nContent-Length: 12\r\nSEQ: 77\r\n\
                    idempotency-replayed: true\r\nConnection: keep-alive\r\n\r\nrest";
        let (head, end) = head(text).expect("well formed").expect("complete");
        let framing = Framing::Length(12);
        assert_eq!(
            head,
            Head { status: 201, framing, close: false, seq: Some(77), replayed: true }
        );
        assert_eq!(&text[end..], "rest");
    }

    /// Every prefix of a head asks for more bytes; none is an error and none is complete.
    #[test]
    fn a_head_in_pieces_asks_for_more() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(head(&text[..end]), Ok(None), "{end}");
        }
        assert!(head(text).is_ok_and(|head| head.is_some()));
    }

    /// Malformed heads are refused, each for its reason.
    #[test]
    fn malformed_heads_are_refused() {
        let refused = |text: &str, why: Malformed| assert_eq!(head(text), Err(why), "{text:?}");
        refused("ICY 200 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/2.0 200 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/1.1 20 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/1.1 2000 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/1.1 -20 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/1.1 700 OK\r\n\r\n", Malformed::StatusLine);
        refused("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Malformed::Header);
        refused("HTTP/1.1 200 OK\r\n: empty\r\n\r\n", Malformed::Header);
        refused("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Malformed::Header);
        refused("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", Malformed::Header);
        refused("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n", Malformed::Length);
        refused("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", Malformed::Length);
        refused("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n", Malformed::Length);
        refused(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            Malformed::Length,
        );
        refused(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            Malformed::Length,
        );
        refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Malformed::Coding);
        refused(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Malformed::Length,
        );
        refused("HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n", Malformed::BodyTooLong);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        refused(&long, Malformed::HeadTooLong);
        refused(&(long + "\r\n\r\n"), Malformed::HeadTooLong);
    }

    /// The end of a body is found as RFC 9112 section 6.3 says.
    #[test]
    fn framing_follows_the_standard() {
        assert_eq!(framing("HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(framing("HTTP/1.1 304 Same\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Ok(Framing::UntilClose));
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n"),
            Ok(Framing::Length(BODY_BYTES_MAX))
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(framing(chunked), Ok(Framing::Chunked));
        let close = |text| head(text).map(|head| head.is_some_and(|(head, _)| head.close));
        assert_eq!(close("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), Ok(true));
        assert_eq!(close("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Ok(false));
        assert_eq!(
            close("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"),
            Ok(true)
        );
    }

    /// A chunked body is the same however its bytes arrive, and ends where the next one starts.
    #[test]
    fn chunks_are_joined_whatever_the_pieces() {
        let input =
            b"4;x=y\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nT: u\r\n\r\nNEXT";
        for step in 1..=input.len() {
            let (mut chunks, mut body, mut done) = (Chunks::default(), Vec::new(), None);
            for end in (0..input.len()).step_by(step).chain([input.len()]) {
                done = chunks.read(&input[..end], &mut body).expect("well formed");
                if done.is_some() {
                    break;
                }
            }
            assert_eq!(body, b"Wikipedia in \r\n\r\nchunks.", "in pieces of {step}");
            assert_eq!(done, Some(input.len() - 4), "in pieces of {step}");
        }
    }

    /// Malformed chunks are refused.
    #[test]
    fn malformed_chunks_are_refused() {
        let read = |input: &[u8]| Chunks::default().read(input, &mut Vec::new());
        assert_eq!(read(b"x\r\n"), Err(Malformed::Chunk));
        assert_eq!(read(b"\r\n"), Err(Malformed::Chunk));
        assert_eq!(read(b"-1\r\n"), Err(Malformed::Chunk));
        assert_eq!(read(b"2\nab"), Err(Malformed::Chunk));
        assert_eq!(read(b"2\r\nabc\r\n"), Err(Malformed::Chunk));
        assert_eq!(read(b"fffffffffffffffff\r\n"), Err(Malformed::Chunk));
        assert_eq!(read(&[b'1'; 300]), Err(Malformed::Chunk));
        assert_eq!(read(b"4000001\r\n"), Err(Malformed::BodyTooLong));
        assert_eq!(read(b"2\r\nab"), Ok(None));
    }
}
