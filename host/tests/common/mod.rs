//! A shop to test against: a real engine on disk, a real server on a loopback socket, and a
//! client that speaks HTTP/1.1 by hand, so that tests can also send what no client would.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use onhand_core::Engine;
use onhand_host::{DrainReport, Server, ServerConfig, serve};
use serde_json::Value;

/// A data directory, its engine and its server.
pub(crate) struct Shop {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Arc<Engine>,
    server: Server,
}

impl Shop {
    /// Opens a shop where writes need no key.
    pub(crate) fn open() -> Self {
        Self::with(|config| config.open_writes = true)
    }

    /// Opens a shop with settings of the test's own.
    pub(crate) fn with(set: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = ServerConfig { workers: 2, ..ServerConfig::default() };
        set(&mut config);
        let (engine, server) = start(dir.path(), config);
        Self { dir, engine, server }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.client().call(method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        self.call("POST", path, &[("Idempotency-Key", key)], body)
    }

    /// Defines a SKU at 10.00 EUR and puts units of it into location 1.
    pub(crate) fn stock(&self, code: &str, units: u32) {
        self.stock_limited(code, units, "");
    }

    /// As [`Shop::stock`], with further members of the definition, such as `,"limit":2`.
    pub(crate) fn stock_limited(&self, code: &str, units: u32, more: &str) {
        let body = format!("{{\"price\":{{\"amount\":1000,\"currency\":\"EUR\"}}{more}}}");
        let defined = self.call("PUT", &format!("/v1/skus/{code}"), &[], &body);
        assert_eq!(defined.status, 200, "{}", defined.text());
        if units > 0 {
            let body = format!(
                "{{\"type\":\"receive\",\"sku\":\"{code}\",\"location\":1,\"quantity\":{units}}}"
            );
            let key = format!("stock-{code}");
            let received = self.post("/v1/stock/movements", &key, &body);
            assert_eq!(received.status, 201, "{}", received.text());
        }
    }

    /// Buys units of one SKU.
    pub(crate) fn buy(&self, key: &str, code: &str, units: u32) -> Answer {
        self.post("/v1/orders:buy", key, &buy_body(code, units))
    }

    pub(crate) fn available(&self, code: &str) -> u64 {
        self.get(&format!("/v1/stock/{code}")).json()["available"].as_u64().expect("a number")
    }

    /// Drains the server and closes the engine; returns the directory for a second opening.
    pub(crate) fn close(self) -> (tempfile::TempDir, DrainReport) {
        let Self { dir, engine, server } = self;
        let report = server.drain(Duration::from_secs(20));
        let engine = Arc::into_inner(engine).expect("the server gave the engine back");
        engine.close().expect("the engine closes");
        (dir, report)
    }

    /// Takes the server out, for a test that drains it itself.
    pub(crate) fn split(self) -> (tempfile::TempDir, Arc<Engine>, Server) {
        (self.dir, self.engine, self.server)
    }
}

/// Opens a directory again and serves it.
pub(crate) fn reopen(dir: tempfile::TempDir) -> Shop {
    let config = ServerConfig { open_writes: true, workers: 2, ..ServerConfig::default() };
    let (engine, server) = start(dir.path(), config);
    Shop { dir, engine, server }
}

fn start(dir: &std::path::Path, config: ServerConfig) -> (Arc<Engine>, Server) {
    let (engine, _report) = Engine::builder(dir).open().expect("the engine opens");
    let engine = Arc::new(engine);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = serve(listener, Arc::clone(&engine), config).expect("the server starts");
    (engine, server)
}

pub(crate) fn buy_body(code: &str, units: u32) -> String {
    format!("{{\"customer\":\"ann\",\"lines\":[{{\"sku\":\"{code}\",\"quantity\":{units}}}]}}")
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Checks status and problem code, and what every problem body must have.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["code"], code, "{}", self.text());
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("/errors/{code}"));
        assert_eq!(body["request_id"].as_str(), self.header("request-id"));
        assert!(body["title"].is_string() && body["detail"].is_string());
        assert!(body["retryable"].is_boolean());
        body
    }
}

/// How long a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A keep-alive connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is allowed");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout is allowed");
        stream.set_nodelay(true).expect("an option of TCP");
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the server reads");
    }

    /// As [`Client::send_raw`], where the server may close meanwhile.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !body.is_empty() && !has("content-type") {
            head.push_str("Content-Type: application/json\r\n");
        }
        if !has("content-length") && (!body.is_empty() || method != "GET") {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.send_raw(format!("{head}\r\n{body}").as_bytes());
    }

    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send(method, path, headers, body);
        self.read(method == "HEAD").expect("an answer")
    }

    /// Reads one answer; `None` where the server closed the connection instead.
    pub(crate) fn read(&mut self, without_body: bool) -> Option<Answer> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status: u16 = line.split(' ').nth(1).expect("a status line").parse().expect("digits");
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a header line");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        let mut body = vec![0; if without_body || status == 304 { 0 } else { length }];
        self.reader.read_exact(&mut body).expect("a whole body");
        Some(Answer { status, headers, body })
    }

    /// Returns whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}
