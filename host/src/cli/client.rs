//! One request over plain HTTP, for the commands that talk to a running host.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::{FAILED, Failure, USAGE};

/// Longest reply that is read.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// How long the host may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Reads.
    Get,
    /// Changes something.
    Post,
}

/// Fetches a path of a host; returns status and body.
pub(super) fn get(url: &str, path: &str, key: Option<&str>) -> Result<(u16, String), Failure> {
    send(url, Method::Get, path, key, None)
}

/// Sends one request with a body of JSON, if any; returns status and body.
pub(super) fn send(
    url: &str,
    method: Method,
    path: &str,
    key: Option<&str>,
    body: Option<&str>,
) -> Result<(u16, String), Failure> {
    let wrong = |why: &str| {
        Failure::new(USAGE, format!("--url is \"{url}\": {why}")).help("write http://HOST:PORT")
    };
    let rest =
        url.strip_prefix("http://").ok_or_else(|| wrong("it does not start with http://"))?;
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(wrong("it has more than a host and a port"));
    }
    let address = if authority.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let failed = |e: std::io::Error| {
        Failure::new(FAILED, format!("{url} can't be reached: {e}"))
            .help("is `onhand serve` running there?")
    };
    let mut stream = TcpStream::connect(&address).map_err(failed)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(failed)?;
    let auth = match key {
        Some(key) if key.bytes().all(|b| b.is_ascii_graphic()) => {
            format!("Authorization: Bearer {key}\r\n")
        }
        Some(_) => {
            return Err(Failure::new(USAGE, "the API key has other than visible characters"));
        }
        None => String::new(),
    };
    let verb = match method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let content = body.map_or(String::new(), |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let head = format!(
        "{verb} {path} HTTP/1.1\r\nHost: {authority}\r\n{auth}{content}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    // A host that refuses a body early closes; its answer may still be there to be read.
    let sent = stream.write_all(body.unwrap_or("").as_bytes());
    let mut reply = Vec::new();
    stream.take(REPLY_BYTES_MAX).read_to_end(&mut reply).map_err(failed)?;
    let text = String::from_utf8_lossy(&reply);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, text.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => {
            sent.map_err(failed)?;
            Err(Failure::new(FAILED, format!("{url} does not answer with HTTP")))
        }
    }
}
