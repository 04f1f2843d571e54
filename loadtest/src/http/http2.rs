//! A buyer's way over HTTP/2: streams of a connection that several share, or one of its own.
//!
//! What has broken is made anew by the next request; a stream that does not answer in time is
//! reset, and the connection under it is not used again, though others may still hear from it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::dial::{Dial, Dialer};
use super::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Limits, Request, Response};
use crate::op::Loss;

/// Bytes of one body that may be under way before they are read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of all bodies of a connection that may be under way before they are read.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A connection that several buyers share.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    sender: Option<SendRequest<Bytes>>,
    /// How often it was made; names the connection that stands.
    made: u64,
}

/// Which connection a buyer's requests travel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// On the one that it shares.
    Shared,
    /// On one of its own.
    Own,
    /// On one of its own, for the requests up to the next answer.
    Once,
}

/// One buyer's way.
pub(crate) struct Http2 {
    dialer: Arc<Dialer>,
    limits: Limits,
    /// When the exchange that is under way ends at the latest.
    deadline: Instant,
    /// Headers of every request.
    common: HeaderMap,
    shared: Arc<Shared>,
    way: Way,
    own: Option<SendRequest<Bytes>>,
    /// The shared connection as it was when it last served, with its number.
    last: Option<(u64, SendRequest<Bytes>)>,
    /// Number of a shared connection that is not to be used again.
    stale: Option<u64>,
    wanted: Vec<(http::Request<()>, Bytes)>,
    /// Requests without an answer, in their order.
    open: VecDeque<ResponseFuture>,
    body: Vec<u8>,
    reconnects: u64,
    renewals: u64,
    dials: Vec<Dial>,
    why: Option<String>,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("way", &self.way).finish_non_exhaustive()
    }
}

impl Http2 {
    /// Prepares a way; `key` is an API key, `ack` a level of acknowledgement.
    pub(super) fn new(
        dialer: Arc<Dialer>,
        shared: Arc<Shared>,
        limits: Limits,
        key: Option<&str>,
        ack: Option<&str>,
    ) -> Self {
        let mut common = HeaderMap::new();
        // The options have been checked: a key has visible characters only.
        if let Some(mut value) =
            key.and_then(|key| HeaderValue::from_str(&format!("Bearer {key}")).ok())
        {
            value.set_sensitive(true);
            common.insert(http::header::AUTHORIZATION, value);
        }
        if let Some(value) = ack.and_then(|ack| HeaderValue::from_str(&format!("ack={ack}")).ok()) {
            common.insert(HeaderName::from_static("prefer"), value);
        }
        Self {
            dialer,
            limits,
            deadline: Instant::now(),
            common,
            shared,
            way: Way::Shared,
            own: None,
            last: None,
            stale: None,
            wanted: Vec::new(),
            open: VecDeque::new(),
            body: Vec::new(),
            reconnects: 0,
            renewals: 0,
            dials: Vec::new(),
            why: None,
        }
    }

    pub(super) const fn reconnects(&self) -> u64 {
        self.reconnects
    }

    pub(super) const fn renewals(&self) -> u64 {
        self.renewals
    }

    pub(super) fn take_dials(&mut self) -> Vec<Dial> {
        std::mem::take(&mut self.dials)
    }

    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Goes back to the connection that several share.
    pub(super) fn share(&mut self) {
        self.own = None;
        self.way = Way::Shared;
    }

    /// Takes a new connection of its own from the next request on.
    pub(super) fn renew(&mut self) {
        self.own = None;
        self.way = Way::Own;
    }

    /// Takes a new connection of its own for what is pushed until the next answer.
    pub(super) fn expect_close(&mut self) {
        self.own = None;
        self.way = Way::Once;
    }

    pub(super) fn push(&mut self, request: Request<'_>) {
        let mut head = http::Request::new(());
        *head.method_mut() = match request.method {
            "GET" => Method::GET,
            "PUT" => Method::PUT,
            _ => Method::POST,
        };
        *head.uri_mut() = self.uri(request.path);
        *head.version_mut() = Version::HTTP_2;
        let headers = head.headers_mut();
        headers.clone_from(&self.common);
        if !request.body.is_empty() || request.method != "GET" {
            let json = HeaderValue::from_static("application/json");
            headers.insert(http::header::CONTENT_TYPE, json);
            headers.insert(http::header::CONTENT_LENGTH, request.body.len().into());
        }
        let key = Some(request.key).filter(|key| !key.is_empty());
        if let Some(Ok(key)) = key.map(HeaderValue::from_str) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        for line in request.headers.split("\r\n").filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            // What is said about a connection is said by its end here (RFC 9113, 8.2.2).
            if name.eq_ignore_ascii_case("connection") {
                continue;
            }
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.append(name, value);
            }
        }
        self.wanted.push((head, Bytes::copy_from_slice(request.body)));
    }

    fn uri(&self, path: &str) -> Uri {
        let whole = format!("{}{path}", self.dialer.authority());
        // Paths are made of codes and ids that have been checked; what is none asks for nothing.
        whole.parse().unwrap_or_default()
    }

    pub(super) async fn flush(&mut self) -> Result<(), Loss> {
        // One limit for the exchange: its answers are waited for until then, however many.
        self.deadline = Instant::now() + self.limits.exchange;
        let result = match tokio::time::timeout_at(self.deadline, self.flush_now()).await {
            Ok(result) => result,
            Err(_) => Err(Loss::Timeout),
        };
        self.wanted.clear();
        if result.is_err() {
            self.disconnect();
        }
        result
    }

    async fn flush_now(&mut self) -> Result<(), Loss> {
        let mut sender = match self.way {
            Way::Shared => self.ready_shared().await?,
            Way::Own | Way::Once => self.ready_own().await?,
        };
        for (at, (head, body)) in std::mem::take(&mut self.wanted).into_iter().enumerate() {
            if at > 0 {
                sender = sender.ready().await.map_err(|_| Loss::Connection)?;
            }
            let bare = body.is_empty();
            let sent = sender.send_request(head, bare);
            let (answer, mut stream) = sent.map_err(|_| Loss::Connection)?;
            if !bare {
                stream.send_data(body, true).map_err(|_| Loss::Connection)?;
            }
            self.open.push_back(answer);
        }
        match (self.way, &mut self.last) {
            (Way::Shared, Some((_, last))) => *last = sender,
            (Way::Shared, None) => (),
            (Way::Own | Way::Once, _) => self.own = Some(sender),
        }
        Ok(())
    }

    /// Returns the shared connection with room for a stream; one that has ended meanwhile is made
    /// anew, for nothing was sent yet.
    async fn ready_shared(&mut self) -> Result<SendRequest<Bytes>, Loss> {
        if let Some((made, sender)) = self.last.take().filter(|(made, _)| Some(*made) != self.stale)
        {
            match sender.ready().await {
                Ok(sender) => {
                    self.last = Some((made, sender.clone()));
                    return Ok(sender);
                }
                Err(_) => self.stale = Some(made),
            }
        }
        let shared = Arc::clone(&self.shared);
        let mut standing = shared.0.lock().await;
        let usable = standing.sender.clone().filter(|_| Some(standing.made) != self.stale);
        let sender = match usable {
            Some(sender) => sender,
            None => {
                standing.sender = None;
                let sender = self.connect().await?;
                self.reconnects += u64::from(standing.made > 0);
                standing.made += 1;
                standing.sender = Some(sender.clone());
                sender
            }
        };
        let made = standing.made;
        drop(standing);
        self.last = Some((made, sender.clone()));
        match sender.ready().await {
            Ok(sender) => Ok(sender),
            Err(_) => {
                self.stale = Some(made);
                Err(Loss::Connection)
            }
        }
    }

    async fn ready_own(&mut self) -> Result<SendRequest<Bytes>, Loss> {
        let sender = match self.own.take() {
            Some(sender) => sender,
            None => {
                self.renewals += 1;
                self.connect().await?
            }
        };
        sender.ready().await.map_err(|_| Loss::Connection)
    }

    /// Makes a connection; it lives as long as somebody may send on it or waits for an answer.
    async fn connect(&mut self) -> Result<SendRequest<Bytes>, Loss> {
        let (stream, dial) = self.dialer.dial().await.map_err(|why| {
            self.why = Some(why);
            Loss::Unreachable
        })?;
        if self.way != Way::Shared {
            // A shop's visitors come from many machines, whose ports are not used up.
            stream.reset_on_close();
        }
        self.dials.push(dial);
        let made = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .handshake::<_, Bytes>(stream)
            .await;
        let (sender, connection) = made.map_err(|e| {
            self.why = Some(format!("no HTTP/2: {e}"));
            Loss::Unreachable
        })?;
        // Its end is seen by whoever sends next.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    pub(super) async fn receive(&mut self) -> Result<Response<'_>, Loss> {
        let read = match tokio::time::timeout_at(self.deadline, self.receive_now()).await {
            Ok(read) => read,
            Err(_) => {
                // Others would wait in vain as well.
                self.stale = self.last.as_ref().map(|(made, _)| *made);
                Err(Loss::Timeout)
            }
        };
        match read {
            Err(loss) => {
                self.disconnect();
                Err(loss)
            }
            Ok((status, seq, replayed)) => {
                if self.way == Way::Once && self.open.is_empty() {
                    self.own = None;
                }
                Ok(Response { status, seq, replayed, body: &self.body })
            }
        }
    }

    async fn receive_now(&mut self) -> Result<(u16, Option<u64>, bool), Loss> {
        let answer = self.open.pop_front().ok_or(Loss::Connection)?;
        let answer = answer.await.map_err(|e| loss_of(&e))?;
        let (head, mut stream) = answer.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let seq = text("seq").and_then(|seq| seq.parse().ok());
        let replayed = text("idempotency-replayed") == Some("true");
        self.body.clear();
        while let Some(part) = stream.data().await {
            let part = part.map_err(|e| loss_of(&e))?;
            // What was read makes room for more; the connection's end shows itself elsewhere.
            drop(stream.flow_control().release_capacity(part.len()));
            if self.body.len() + part.len() > BODY_BYTES_MAX {
                return Err(Loss::Malformed);
            }
            self.body.extend_from_slice(&part);
        }
        Ok((head.status.as_u16(), seq, replayed))
    }

    /// Gives up what is under way; the next request makes a connection where it needs one.
    pub(super) fn disconnect(&mut self) {
        self.wanted.clear();
        self.open.clear();
        self.own = None;
    }
}

/// Tells a target that breaks the protocol from a connection that has ended.
fn loss_of(error: &h2::Error) -> Loss {
    let ours = error.is_library() && !error.is_io();
    let fault = error.reason() == Some(h2::Reason::PROTOCOL_ERROR);
    if ours && fault { Loss::Malformed } else { Loss::Connection }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::{Authority, Connection, HttpVersion, Ways, Wire};
    use super::*;

    /// A server that answers each path in its own way, and counts its connections.
    async fn serve(listener: tokio::net::TcpListener, made: Arc<AtomicUsize>) {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            made.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                let mut silent = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let path = request.uri().path().to_owned();
                    if path == "/silent" {
                        silent.push(respond);
                        continue;
                    }
                    let key = request.headers().get("idempotency-key").cloned();
                    let answer = http::Response::builder().status(201).header("seq", "7");
                    let answer = answer.header("idempotency-replayed", "true").body(());
                    let answer = answer.expect("a response");
                    let mut body = respond.send_response(answer, false).expect("a stream");
                    let told = key.map_or(path.clone(), |k| k.to_str().expect("text").to_owned());
                    body.send_data(Bytes::from(told), true).expect("a stream");
                    if path == "/leave" {
                        connection.graceful_shutdown();
                    }
                }
            });
        }
    }

    /// Runs a test beside a server; tells it the ways to it and the count of connections.
    fn beside<F: Future<Output = ()>>(test: impl FnOnce(Ways, Arc<AtomicUsize>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let made = Arc::<AtomicUsize>::default();
            tokio::spawn(serve(listener, Arc::clone(&made)));
            let wire = Wire { http: HttpVersion::Two, ..Wire::default() };
            let authority = Authority::parse(&url).expect("well formed");
            test(Ways::new(authority, &wire).expect("nothing to be wrong"), made).await;
        });
    }

    const LIMITS: Limits = Limits { exchange: Duration::from_secs(20) };

    async fn get(way: &mut Connection, path: &str) -> Result<String, Loss> {
        let request = Request { method: "GET", path, key: "", headers: "", body: b"" };
        let response = way.call(request).await?;
        assert_eq!((response.status, response.seq, response.replayed), (201, Some(7), true));
        Ok(String::from_utf8_lossy(response.body).into_owned())
    }

    /// Ways of one group share a connection; those apart do not; who renews has one of its own,
    /// and who expects its end has a new one for each request.
    #[test]
    fn connections_are_shared_as_told() {
        beside(|ways, made| async move {
            let count = || made.load(Ordering::Relaxed);
            let way = |ways: &Ways| ways.way(LIMITS, Some("secret"), Some("strict"));
            let (mut one, mut two, mut far) = (way(&ways), way(&ways), way(&ways.apart()));
            assert_eq!(get(&mut one, "/a").await, Ok("/a".into()));
            assert_eq!(get(&mut two, "/b").await, Ok("/b".into()));
            assert_eq!(count(), 1);
            assert_eq!(get(&mut far, "/c").await, Ok("/c".into()));
            assert_eq!(count(), 2);
            two.renew();
            for _ in 0..2 {
                assert_eq!(get(&mut two, "/d").await, Ok("/d".into()));
            }
            assert_eq!((count(), two.renewals()), (3, 1));
            for _ in 0..2 {
                two.expect_close();
                assert_eq!(get(&mut two, "/e").await, Ok("/e".into()));
            }
            assert_eq!((count(), two.renewals()), (5, 3));
            two.keep();
            assert_eq!(get(&mut two, "/f").await, Ok("/f".into()));
            assert_eq!((count(), two.reconnects(), two.take_dials().len()), (5, 0, 3));
        });
    }

    /// Several requests are answered in their order, with their keys, over streams side by side.
    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        beside(|ways, made| async move {
            let mut way = ways.way(LIMITS, None, None);
            for key in ["k1", "k2", "k3"] {
                let (headers, body) = ("Prefer: wait=5\r\nConnection: close\r\n", b"{}");
                way.push(Request { method: "POST", path: "/x", key, headers, body });
            }
            way.flush().await.expect("a connection");
            for key in ["k1", "k2", "k3"] {
                assert_eq!(way.receive().await.expect("an answer").body, key.as_bytes());
            }
            assert_eq!(made.load(Ordering::Relaxed), 1);
        });
    }

    /// A host that sends its clients away is connected to anew, and nothing is lost.
    #[test]
    fn a_connection_that_ends_is_made_anew() {
        beside(|ways, made| async move {
            let mut way = ways.way(LIMITS, None, None);
            let mut other = ways.way(LIMITS, None, None);
            assert_eq!(get(&mut other, "/a").await, Ok("/a".into()));
            assert_eq!(get(&mut way, "/leave").await, Ok("/leave".into()));
            // The word that no more is taken may come behind the answer: then one request is lost.
            let mut lost = 0;
            while get(&mut way, "/b").await.is_err() {
                lost += 1;
            }
            assert!(lost <= 1, "{lost}");
            assert_eq!(get(&mut other, "/c").await, Ok("/c".into()));
            assert_eq!(made.load(Ordering::Relaxed), 2);
            assert_eq!(way.reconnects() + other.reconnects(), 1);
        });
    }

    /// A stream without an answer ends with its time, and the next request goes elsewhere.
    #[test]
    fn a_silent_host_is_a_timeout() {
        beside(|ways, made| async move {
            let short = Limits { exchange: Duration::from_millis(50) };
            let mut way = ways.way(short, None, None);
            assert_eq!(get(&mut way, "/silent").await, Err(Loss::Timeout));
            let mut way = ways.way(LIMITS, None, None);
            assert_eq!(get(&mut way, "/a").await, Ok("/a".into()));
            assert_eq!(made.load(Ordering::Relaxed), 1, "others may still hear from it");
            let mut hasty = ways.way(short, None, None);
            assert_eq!(get(&mut hasty, "/silent").await, Err(Loss::Timeout));
            // It does not use the connection again that left it waiting.
            while get(&mut hasty, "/b").await.is_err() {}
            assert!(made.load(Ordering::Relaxed) >= 2);
        });
    }

    /// Nobody there, and somebody who speaks something else, are told apart from a loss.
    #[test]
    fn a_host_that_is_not_there_is_unreachable() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            drop(listener);
            let wire = Wire { http: HttpVersion::Two, ..Wire::default() };
            let ways = Ways::new(Authority::parse(&url).expect("well formed"), &wire);
            let mut way = ways.expect("nothing to be wrong").way(LIMITS, None, None);
            assert_eq!(get(&mut way, "/a").await, Err(Loss::Unreachable));
            assert!(way.why().is_some_and(|why| why.contains("refused")), "{:?}", way.why());
        });
    }
}
