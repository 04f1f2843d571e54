//! TLS over real sockets: both protocols, both versions, and clients that do it wrong.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Shop, buy_body};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use onhand_host::{ServerConfig, Tls};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate for `localhost` that signs itself, with its key, in files.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        let this = Self { cert, key, _dir: dir };
        this.put(include_str!("data/shop.pem"), include_str!("data/shop-key.pem"));
        this
    }

    /// Puts another certificate and key into the files.
    fn replace(&self) {
        self.put(include_str!("data/other.pem"), include_str!("data/other-key.pem"));
    }

    fn put(&self, cert: &str, key: &str) {
        std::fs::write(&self.cert, cert).expect("a writable file");
        std::fs::write(&self.key, key).expect("a writable file");
    }

    fn tls(&self) -> Arc<Tls> {
        Arc::new(Tls::read(&self.cert, &self.key).expect("a usable pair"))
    }

    /// Returns a client that trusts the certificate as it is now.
    fn client(
        &self,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(&self.cert).expect("a readable file");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

fn shop(tls: Arc<Tls>, set: impl FnOnce(&mut ServerConfig)) -> Shop {
    Shop::with(|config| {
        config.open_writes = true;
        config.tls = Some(tls);
        set(config);
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn connect(
    connector: &TlsConnector,
    addr: SocketAddr,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(addr).await?;
    connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

/// Sends one request by the protocol that was agreed upon; returns status and body.
async fn send(
    stream: TlsStream<tokio::net::TcpStream>,
    request: Request<Full<Bytes>>,
) -> (u16, Version, Vec<u8>) {
    let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let answer = if second {
        let made =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = made.await.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = made.await.expect("HTTP/1.1 is spoken");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let answer = answer.expect("an answer");
    let (status, version) = (answer.status().as_u16(), answer.version());
    let body = answer.into_body().collect().await.expect("a body").to_bytes().to_vec();
    (status, version, body)
}

fn get(addr: SocketAddr, path: &str) -> Request<Full<Bytes>> {
    let url = format!("https://localhost:{}{path}", addr.port());
    let request = Request::get(url).header("host", "localhost");
    request.body(Full::default()).expect("a request")
}

/// Goal: orders are bought over TLS 1.2 and 1.3, by HTTP/2 where the client offers it and by
/// HTTP/1.1 otherwise.
#[test]
fn both_protocols_are_spoken_over_both_versions() {
    let pair = Pair::new();
    let shop = shop(pair.tls(), |_| ());
    let addr = shop.addr();
    let body = "{\"price\":{\"amount\":1000,\"currency\":\"EUR\"}}";
    let define = Request::put(format!("https://localhost:{}/v1/skus/mug", addr.port()))
        .header("content-type", "application/json")
        .header("host", "localhost")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let receive = "{\"type\":\"receive\",\"sku\":\"mug\",\"location\":1,\"quantity\":10}";
    let post = |path: &str, key: &str, body: String| {
        Request::post(format!("https://localhost:{}{path}", addr.port()))
            .header("host", "localhost")
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a request")
    };
    let every = rustls::ALL_VERSIONS;
    runtime().block_on(async {
        let plain = pair.client(&[], every);
        let defined = send(connect(&plain, addr).await.expect("a handshake"), define).await;
        assert_eq!(defined.0, 200, "{}", String::from_utf8_lossy(&defined.2));
        let stream = connect(&plain, addr).await.expect("a handshake");
        let received = send(stream, post("/v1/stock/movements", "r", receive.to_owned())).await;
        assert_eq!(received.0, 201, "{}", String::from_utf8_lossy(&received.2));
        let cases = [
            (&["h2", "http/1.1"][..], every, Version::HTTP_2),
            (&["http/1.1"], every, Version::HTTP_11),
            (&[], every, Version::HTTP_11),
            (&["h2"], &[&rustls::version::TLS12][..], Version::HTTP_2),
            (&["http/1.1"], &[&rustls::version::TLS13], Version::HTTP_11),
        ];
        for (number, (alpn, versions, want)) in cases.into_iter().enumerate() {
            let client = pair.client(alpn, versions);
            let stream = connect(&client, addr).await.expect("a handshake");
            if let [version] = versions {
                assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            }
            let buy = post("/v1/orders:buy", &format!("o{number}"), buy_body("mug", 1));
            let (status, version, body) = send(stream, buy).await;
            assert_eq!((status, version), (201, want), "{}", String::from_utf8_lossy(&body));
        }
        let stream = connect(&plain, addr).await.expect("a handshake");
        let (_, _, body) = send(stream, get(addr, "/v1/stock/mug")).await;
        let level: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(level["available"], 5, "{level}");
    });
    assert!(shop.close().1.finished);
}

/// Goal: who does not end a handshake loses the connection, and holds neither its place nor a
/// drain. Method: one place; a client that says nothing, then one that stops after its first
/// record, then one that does it right; at last one that is in the way of the drain.
#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let pair = Pair::new();
    let shop = shop(pair.tls(), |config| {
        config.connections_max = 1;
        config.handshake_timeout = Duration::from_millis(50);
    });
    let addr = shop.addr();
    let until_closed = |said: &[u8]| {
        let mut stream = TcpStream::connect(addr).expect("the server listens");
        stream.write_all(said).expect("a writable socket");
        let mut heard = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut heard);
        assert_eq!(heard, b"", "the server has nothing to say");
    };
    until_closed(b"");
    until_closed(&[22, 3, 1, 2, 0, 1]);
    runtime().block_on(async {
        let client = pair.client(&[], rustls::ALL_VERSIONS);
        // The place may be given back a moment after the client sees the end.
        let stream = loop {
            match connect(&client, addr).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (status, _, body) = send(stream, get(addr, "/metrics")).await;
        let text = String::from_utf8_lossy(&body);
        let line = "onhand_tls_handshakes_failed_total{reason=\"timeout\"} 2";
        assert!(status == 200 && text.contains(line), "{text}");
    });
    let mut last = TcpStream::connect(addr).expect("the server listens");
    let _ = last.write_all(&[22]);
    assert!(shop.close().1.finished);
}

/// Plain HTTP is told that TLS is spoken here, and a connection too many is closed.
#[test]
fn plain_http_and_too_many_are_turned_away() {
    let pair = Pair::new();
    let shop = shop(pair.tls(), |config| config.connections_max = 1);
    let addr = shop.addr();
    let refused = shop.get("/livez");
    assert_eq!((refused.status, &refused.json()["code"]), (400, &"tls_required".into()));
    runtime().block_on(async {
        let client = pair.client(&["http/1.1"], rustls::ALL_VERSIONS);
        let stream = loop {
            match connect(&client, addr).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert!(connect(&client, addr).await.is_err(), "one connection is all that may be");
        assert_eq!(send(stream, get(addr, "/livez")).await.0, 200);
    });
    assert!(shop.close().1.finished);
}

/// A client that does not trust the certificate does not get through; after a renewal the new
/// certificate is shown.
#[test]
fn a_renewed_certificate_is_shown_from_then_on() {
    let pair = Pair::new();
    let tls = pair.tls();
    let shop = shop(Arc::clone(&tls), |_| ());
    let addr = shop.addr();
    let every = rustls::ALL_VERSIONS;
    let before = pair.client(&[], every);
    pair.replace();
    let after = pair.client(&[], every);
    runtime().block_on(async {
        let open = connect(&before, addr).await.expect("the first certificate is shown");
        assert!(connect(&after, addr).await.is_err(), "the second one is not, yet");
        tls.renew().expect("a usable pair");
        assert_eq!(send(open, get(addr, "/livez")).await.0, 200, "open connections go on");
        assert!(connect(&before, addr).await.is_err());
        let stream = connect(&after, addr).await.expect("the second certificate is shown");
        let (status, _, body) = send(stream, get(addr, "/metrics")).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200);
        assert!(
            text.contains("onhand_tls_handshakes_failed_total{reason=\"protocol\"} 2"),
            "{text}"
        );
    });
    assert!(shop.close().1.finished);
}
