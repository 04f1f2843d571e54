//! What every route reads from a request: key, preferences, query, body.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use onhand_core::{Ack, Key};

use crate::problem::Problem;
use crate::wire::command::key_text;
use crate::wire::field::{closest, shorten};

/// Longest path and query together, in bytes.
pub(crate) const URI_BYTES_MAX: usize = 8 * 1024;
/// Longest time that a read waits for a position, and an event reader for an event.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a read waits for `Min-Seq` where `Prefer` names no time.
const WAIT_DEFAULT: Duration = Duration::from_secs(1);
/// Longest `Request-Id` that is echoed, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) static IDEMPOTENCY_REPLAYED: HeaderName =
    HeaderName::from_static("idempotency-replayed");
pub(crate) static PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) static SEQ: HeaderName = HeaderName::from_static("seq");
pub(crate) static MIN_SEQ: HeaderName = HeaderName::from_static("min-seq");
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Returns a header's text, or a problem where it is there twice or not ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::invalid(format!("header {name} occurs twice")));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| Problem::invalid(format!("header {name} is not ASCII text")))
}

/// Reads the idempotency key, bare or as a quoted string; absent is `None`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let Some(value) = single(headers, &IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let key = key_text(quoted.unwrap_or(value));
    key.map(Some).map_err(|why| Problem::invalid(format!("Idempotency-Key {why}")))
}

/// Reads the idempotency key of a request that must have one.
pub(crate) fn need_key(headers: &HeaderMap) -> Result<Key, Problem> {
    idempotency_key(headers)?.ok_or_else(|| {
        Problem::new(
            "idempotency_key_missing",
            "send Idempotency-Key: 1 to 255 visible ASCII characters, the same for each retry",
        )
    })
}

/// What `Prefer` asks for. Source: RFC 7240; preferences that are not known are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// Level of acknowledgement.
    pub(crate) ack: Ack,
    /// Whether the level was asked for.
    pub(crate) ack_asked: bool,
    /// How long to wait.
    pub(crate) wait: Duration,
}

/// Reads `Prefer`.
pub(crate) fn preferences(headers: &HeaderMap) -> Result<Preferences, Problem> {
    let mut found = Preferences { ack: Ack::Group, ack_asked: false, wait: WAIT_DEFAULT };
    for value in headers.get_all(&PREFER) {
        let text = value.to_str().map_err(|_| Problem::invalid("header prefer is not ASCII"))?;
        for preference in text.split([',', ';']) {
            let Some((name, value)) = preference.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("ack") {
                found.ack = ack(value)?;
                found.ack_asked = true;
            } else if name.trim().eq_ignore_ascii_case("wait") {
                let seconds = value.parse().ok().filter(|s| *s <= WAIT_MAX.as_secs());
                let seconds = seconds.ok_or_else(|| {
                    let short = shorten(value);
                    Problem::invalid(format!("Prefer: wait is \"{short}\", outside 0..=30 seconds"))
                })?;
                found.wait = Duration::from_secs(seconds);
            }
        }
    }
    Ok(found)
}

fn ack(value: &str) -> Result<Ack, Problem> {
    match value {
        "memory" => Ok(Ack::Memory),
        "group" => Ok(Ack::Group),
        "strict" => Ok(Ack::Strict),
        _ => Err(Problem::invalid(format!(
            "Prefer: ack is \"{}\", not one of memory, group, strict",
            shorten(value)
        ))),
    }
}

/// Returns the word of a level of acknowledgement.
pub(crate) fn ack_name(ack: Ack) -> &'static str {
    match ack {
        Ack::Memory => "ack=memory",
        Ack::Group => "ack=group",
        Ack::Strict => "ack=strict",
    }
}

/// Reads `Min-Seq`.
pub(crate) fn min_seq(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(text) = single(headers, &MIN_SEQ)? else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| Problem::invalid(format!("Min-Seq is \"{}\", not a position", shorten(text))))
}

/// Returns the caller's request id where it is plain, for the reply to echo.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let fits = !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX;
    (fits && text.bytes().all(plain)).then_some(text)
}

/// Reads a body to its end, within its length and time.
pub(crate) async fn body(
    mut body: Incoming,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let read = async {
        let mut first: Option<Bytes> = None;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| broken("body ended before its length"))?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers carry nothing for us
            };
            let held = first.as_ref().map_or(0, Bytes::len).max(rest.len());
            if held + data.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            match (&first, rest.is_empty()) {
                (None, true) => first = Some(data),
                (Some(head), true) => {
                    rest.extend_from_slice(head);
                    rest.extend_from_slice(&data);
                }
                (_, false) => rest.extend_from_slice(&data),
            }
        }
        Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.into() })
    };
    if let Ok(read) = tokio::time::timeout(timeout, read).await {
        read
    } else {
        let ms = timeout.as_millis();
        let mut problem =
            Problem::new("request_timeout", format!("body did not arrive within {ms} ms"));
        problem.close = true;
        Err(problem)
    }
}

fn broken(detail: &str) -> Problem {
    let mut problem = Problem::invalid(detail);
    problem.close = true;
    problem
}

fn too_large(bytes_max: usize) -> Problem {
    let mut problem = Problem::new("too_large", format!("body is longer than {bytes_max} bytes"));
    problem.close = true;
    problem
}

/// Checks that a body is JSON that is not compressed.
pub(crate) fn need_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: String| Err(Problem::new("unsupported_media", detail));
    if let Some(coding) = single(headers, &CONTENT_ENCODING)?
        && !coding.eq_ignore_ascii_case("identity")
    {
        return refuse(format!("Content-Encoding {} is not taken", shorten(coding)));
    }
    let Some(media) = single(headers, &CONTENT_TYPE)? else {
        return refuse("Content-Type is missing; send application/json".to_owned());
    };
    let mut parts = media.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|m| m.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.filter_map(|p| p.split_once('=')).all(|(name, value)| {
        !name.eq_ignore_ascii_case("charset")
            || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if is_json && utf8 {
        return Ok(());
    }
    refuse(format!("Content-Type is \"{}\"; send application/json", shorten(media)))
}

/// The query of a request, decoded, with each name known and there once.
pub(crate) struct Query<'q> {
    pairs: Vec<(&'q str, Cow<'q, str>)>,
}

impl<'q> Query<'q> {
    /// Reads a query whose names must all be among `known`.
    pub(crate) fn read(query: Option<&'q str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let short = shorten(name);
                let hint = match (closest(name, known), known) {
                    (Some(near), _) => format!("did you mean \"{near}\"?"),
                    (None, []) => "this route has no query".to_owned(),
                    (None, _) => format!("known are {}", known.join(", ")),
                };
                let detail = format!("query name \"{short}\" is not known here; {hint}");
                return Err(Problem::new("unknown_field", detail));
            }
            if pairs.iter().any(|(seen, _)| *seen == name) {
                return Err(Problem::invalid(format!("query name \"{name}\" occurs twice")));
            }
            let value = percent_decode(value)
                .ok_or_else(|| Problem::invalid(format!("query value of {name} is malformed")))?;
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    /// Returns an integer of a range.
    pub(crate) fn integer(
        &self,
        name: &str,
        default: u64,
        min: u64,
        max: u64,
    ) -> Result<u64, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        text.parse().ok().filter(|value| (min..=max).contains(value)).ok_or_else(|| {
            let short = shorten(text);
            Problem::invalid(format!("query {name} is \"{short}\", outside {min}..={max}"))
        })
    }
}

/// Decodes percent-encoding; malformed encoding or text that is not UTF-8 is `None`.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return None;
        };
        let digit = |b: u8| char::from(b).to_digit(16);
        bytes.push((digit(*high)? << 4 | digit(*low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("a header value"));
        }
        map
    }

    #[test]
    fn keys_are_read_bare_or_quoted() {
        let bare = idempotency_key(&headers(&[("idempotency-key", "k-1")])).expect("valid");
        let quoted = idempotency_key(&headers(&[("idempotency-key", "\"k-1\"")])).expect("valid");
        assert_eq!(bare, Some(Key::from_text("k-1")));
        assert_eq!(bare, quoted);
        let long = "k".repeat(256);
        for bad in ["", "a b", "\"\"", long.as_str()] {
            assert!(idempotency_key(&headers(&[("idempotency-key", bad)])).is_err(), "{bad}");
        }
        let twice = headers(&[("idempotency-key", "a"), ("idempotency-key", "b")]);
        assert!(idempotency_key(&twice).is_err());
    }

    #[test]
    fn preferences_are_read_and_unknown_ones_skipped() {
        let found = preferences(&headers(&[("prefer", "respond-async, ack=strict; wait=3")]));
        let found = found.expect("valid");
        assert_eq!((found.ack, found.wait.as_secs()), (Ack::Strict, 3));
        for bad in ["ack=fast", "wait=31", "wait=-1", "wait=x"] {
            assert!(preferences(&headers(&[("prefer", bad)])).is_err(), "{bad}");
        }
    }

    #[test]
    fn media_types_are_json_in_utf8_or_refused() {
        for good in ["application/json", "Application/JSON; charset=\"UTF-8\""] {
            assert!(need_json(&headers(&[("content-type", good)])).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=latin1", "application/x-json", ""] {
            assert!(need_json(&headers(&[("content-type", bad)])).is_err(), "{bad}");
        }
        let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
        assert!(need_json(&headers(&packed)).is_err());
        assert!(need_json(&headers(&[])).is_err());
    }

    #[test]
    fn queries_are_strict() {
        let query = Query::read(Some("sku=a%3Ab&limit=5"), &["sku", "limit"]).ok();
        let query = query.expect("valid");
        assert_eq!(query.get("sku"), Some("a:b"));
        assert_eq!(query.integer("limit", 1, 1, 5).ok(), Some(5));
        assert!(query.integer("limit", 1, 1, 4).is_err());
        assert!(Query::read(Some("lmit=5"), &["limit"]).is_err());
        assert!(Query::read(Some("limit=5&limit=6"), &["limit"]).is_err());
        assert!(Query::read(Some("limit=%zz"), &["limit"]).is_err());
        assert!(Query::read(Some("limit=%ff"), &["limit"]).is_err());
    }
}
