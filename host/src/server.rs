//! The accept loop, the worker threads, the limits of a connection, and the drain.
//!
//! Each worker is a thread with its own single-threaded runtime; one of them accepts and deals
//! connections out in turn. A request is then decoded, submitted and answered on one thread, by no
//! task that moves. Policies decide on that thread too where it takes little time; the locks that
//! this needs are held for moments only.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use onhand_core::Engine;
use onhand_desk::{Desk, DeskConfig};
use onhand_plugin_runtime::limits::STACK_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;

use crate::auth::ApiKeys;
use crate::context::{BLOCKING_MAX, Context, RECOMMENDING_MAX};
use crate::handler::{self, Surface};
use crate::telemetry::{Telemetry, UPKEEP_EVERY};
use crate::tls::Tls;

/// Most worker threads.
pub const WORKERS_MAX: usize = 64;
/// Longest body of an installation that may be set, in bytes.
pub(crate) const UPLOAD_BYTES_MAX: usize = 128 << 20;
/// Longest header list of an HTTP/2 request, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Longest head of an HTTP/1 request, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 256;
/// Streams that an HTTP/2 client may reset before they were accepted.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that the server may reset because of a client's errors.
const LOCAL_RESETS_MAX: usize = 64;
/// How often an idle HTTP/2 connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Stack of a worker: its own use, and twice the largest stack that a plugin's call may be given,
/// for short ones run here.
const WORKER_STACK_BYTES: usize = (2 << 20) + 2 * STACK_BYTES.max as usize;
/// How long the accept loop rests after the system had no descriptor for it.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// How a server treats its clients. [`ServerConfig::default`] has the documented defaults.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Keys that are accepted.
    pub api_keys: ApiKeys,
    /// Whether writes need no key: for a loopback address and for tests.
    pub open_writes: bool,
    /// Worker threads, 1 to [`WORKERS_MAX`]; by default one a core, at most 8.
    pub workers: usize,
    /// Most open connections; default 4,096.
    pub connections_max: usize,
    /// Longest body in bytes; default 64 KiB.
    pub body_bytes_max: usize,
    /// Longest body of a batch or import in bytes; default 1 MiB.
    pub batch_body_bytes_max: usize,
    /// Most reads that wait for a position or an event; default 1,024.
    pub waiting_max: usize,
    /// How long a head may take, and a connection may be idle; default 30 s.
    pub header_timeout: Duration,
    /// How long a body may take; default 10 s.
    pub body_timeout: Duration,
    /// How long a command may take; default 30 s.
    pub request_timeout: Duration,
    /// How long a client may take before it reads on; default 30 s.
    pub write_timeout: Duration,
    /// Longest body of a plugin's installation in bytes, the bundle in base64; default 16 MiB.
    pub upload_bytes_max: usize,
    /// Certificate of the served address; `None` speaks plain HTTP. The operator's address, where
    /// it is another one, is always plain.
    pub tls: Option<Arc<Tls>>,
    /// How long a TLS handshake may take; default 10 s.
    pub handshake_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            api_keys: ApiKeys::default(),
            open_writes: false,
            workers: cores.min(8),
            connections_max: 4_096,
            body_bytes_max: 64 * 1024,
            batch_body_bytes_max: 1024 * 1024,
            waiting_max: 1_024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            upload_bytes_max: 16 << 20,
            tls: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// A running server; dropping it stops it without waiting for what is in flight.
pub struct Server {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    context: Arc<Context>,
    drain: watch::Sender<bool>,
    grace: Arc<std::sync::OnceLock<Duration>>,
    workers: Vec<JoinHandle<bool>>,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Whether every request in flight was answered in time.
    pub finished: bool,
}

/// A connection on its way from the accept loop to its worker.
struct Arrival {
    stream: std::net::TcpStream,
    surface: Surface,
    permit: OwnedSemaphorePermit,
}

/// Starts to serve an engine on a listener, without policies of the shop's own.
///
/// # Errors
///
/// Returns an error of the operating system, or `InvalidInput` for a setting outside its range.
pub fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    config: ServerConfig,
) -> io::Result<Server> {
    let desk = Desk::open(Arc::clone(&engine), DeskConfig::default()).map_err(io::Error::other)?;
    Server::start(listener, None, engine, desk, config)
}

impl Server {
    /// Starts to serve an engine and the desk over it, with a listener of its own for the operator
    /// where given.
    ///
    /// # Errors
    ///
    /// Returns an error of the operating system, or `InvalidInput` for a setting outside its
    /// range.
    pub fn start(
        listener: TcpListener,
        admin: Option<TcpListener>,
        engine: Arc<Engine>,
        desk: Desk,
        config: ServerConfig,
    ) -> io::Result<Self> {
        check(&config)?;
        let telemetry = Telemetry::new().map_err(io::Error::other)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(io::Error::from)?;
        let (drain, draining) = watch::channel(false);
        let workers = config.workers;
        let context = Arc::new(Context::new(engine, desk, config, telemetry, draining, nonce));
        let addr = listener.local_addr()?;
        let admin_addr = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let mut this =
            Self { addr, admin_addr, context, drain, grace: Arc::default(), workers: Vec::new() };
        this.start_workers(listener, admin, workers)?;
        Ok(this)
    }

    fn start_workers(
        &mut self,
        listener: TcpListener,
        admin: Option<TcpListener>,
        count: usize,
    ) -> io::Result<()> {
        let surface = if admin.is_some() { Surface::Public } else { Surface::Whole };
        let mut listeners = vec![(listener, surface)];
        listeners.extend(admin.map(|admin| (admin, Surface::Admin)));
        for (listener, _) in &listeners {
            listener.set_nonblocking(true)?;
        }
        // The permits of the connection limit bound what waits in these queues.
        let (to_workers, queues): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let mut listeners = Some(listeners);
        for (index, queue) in queues.into_iter().enumerate() {
            let worker = Worker {
                context: Arc::clone(&self.context),
                drain: self.drain.subscribe(),
                grace: Arc::clone(&self.grace),
                queue,
            };
            let accept = listeners.take().map(|l| (l, to_workers.clone()));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_MAX + RECOMMENDING_MAX)
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("onhand-http-{index}"))
                .stack_size(WORKER_STACK_BYTES);
            self.workers.push(thread.spawn(move || {
                let finished = runtime.block_on(worker.run(accept));
                // A read that still blocks is given up; its client is gone.
                runtime.shutdown_background();
                finished
            })?);
        }
        Ok(())
    }

    /// Returns the address that is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the operator's address, if it is another one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Stops accepting, lets what is in flight finish for at most `grace`, then stops.
    ///
    /// Waiting reads answer at once. Afterwards the server holds the engine no more.
    pub fn drain(mut self, grace: Duration) -> DrainReport {
        self.context.draining.store(true, Ordering::Relaxed);
        // Only the first drain sets the time; `self` is taken, so there is only one.
        let _ = self.grace.set(grace);
        let _ = self.drain.send(true);
        let mut finished = true;
        for worker in std::mem::take(&mut self.workers) {
            // Every worker is joined, also behind one that did not finish.
            finished &= worker.join().unwrap_or(false);
        }
        DrainReport { finished }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.grace.set(Duration::ZERO);
        let _ = self.drain.send(true);
        for worker in std::mem::take(&mut self.workers) {
            let _ = worker.join();
        }
    }
}

fn check(config: &ServerConfig) -> io::Result<()> {
    let ranges = [
        ("workers", config.workers, 1, WORKERS_MAX),
        ("connections_max", config.connections_max, 1, 1_000_000),
        ("body_bytes_max", config.body_bytes_max, 1, 16 << 20),
        ("batch_body_bytes_max", config.batch_body_bytes_max, 1, 16 << 20),
        ("waiting_max", config.waiting_max, 1, 1_000_000),
        ("upload_bytes_max", config.upload_bytes_max, 1, UPLOAD_BYTES_MAX),
    ];
    for (name, value, min, max) in ranges {
        if value < min || value > max {
            let text = format!("{name} is {value}, outside {min}..={max}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    Ok(())
}

type Listeners = Vec<(TcpListener, Surface)>;
type Queues = Vec<mpsc::UnboundedSender<Arrival>>;

struct Worker {
    context: Arc<Context>,
    drain: watch::Receiver<bool>,
    grace: Arc<std::sync::OnceLock<Duration>>,
    queue: mpsc::UnboundedReceiver<Arrival>,
}

impl Worker {
    /// Serves connections until the drain; returns whether all of them came to their end.
    async fn run(mut self, accept: Option<(Listeners, Queues)>) -> bool {
        if let Some((listeners, queues)) = accept {
            let permits = Arc::new(Semaphore::new(self.context.config.connections_max));
            for (listener, surface) in listeners {
                let acceptor = Acceptor {
                    context: Arc::clone(&self.context),
                    surface,
                    permits: Arc::clone(&permits),
                    queues: queues.clone(),
                    refusing: Arc::new(Semaphore::new(REFUSING_MAX)),
                };
                let drain = self.drain.clone();
                tokio::spawn(async move { acceptor.run(listener, drain).await });
            }
            tokio::spawn(upkeep(Arc::clone(&self.context)));
        }
        let builder = builder(self.context.config.header_timeout);
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                arrival = self.queue.recv() => match arrival {
                    Some(arrival) => open(&self.context, &builder, &graceful, arrival),
                    None => break,
                },
                () = drained(&mut self.drain) => break,
            }
        }
        // What was accepted before the drain is served: the client may have written already.
        self.queue.close();
        while let Some(arrival) = self.queue.recv().await {
            open(&self.context, &builder, &graceful, arrival);
        }
        let grace = self.grace.get().copied().unwrap_or_default();
        tokio::select! {
            () = graceful.shutdown() => true,
            () = idle(&self.context) => true,
            () = tokio::time::sleep(grace) => self.context.in_flight() == 0,
        }
    }
}

/// How long a client may take to read its last answer and to close an idle connection.
const LINGER: Duration = Duration::from_millis(500);
/// How often a drain looks for requests in flight.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until no request is in flight, and none has come up after a moment.
async fn idle(context: &Context) {
    loop {
        while context.in_flight() > 0 {
            tokio::time::sleep(DRAIN_LOOK_EVERY).await;
        }
        tokio::time::sleep(LINGER).await;
        if context.in_flight() == 0 {
            return;
        }
    }
}

/// Waits for the drain to begin.
pub(crate) async fn drained(drain: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a drain as well.
    let _ = drain.wait_for(|draining| *draining).await;
}

async fn upkeep(context: Arc<Context>) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        context.telemetry.upkeep();
    }
}

/// Makes the protocol settings that all connections of a worker share.
fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(PING_EVERY);
    builder
}

/// Starts the task of one connection.
fn open(
    context: &Arc<Context>,
    builder: &auto::Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    arrival: Arrival,
) {
    let Arrival { stream, surface, permit } = arrival;
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let (context, builder, watcher) = (Arc::clone(context), builder.clone(), graceful.watcher());
    let tls = context.config.tls.clone().filter(|_| surface != Surface::Admin);
    tokio::spawn(async move {
        context.telemetry.connections.increment(1.0);
        // What goes wrong with a connection is its client's doing or leaving.
        match tls {
            None => {
                attend(&context, &builder, watcher, surface, limit_writes(&context, stream)).await;
            }
            Some(tls) => {
                if let Some(stream) = shake_hands(&context, &tls, stream).await {
                    attend(&context, &builder, watcher, surface, stream).await;
                }
            }
        }
        context.telemetry.connections.decrement(1.0);
        drop(permit);
    });
}

/// A socket whose client must read on; pinned, for its timer is part of it.
type Limited = Pin<Box<TimeoutStream<tokio::net::TcpStream>>>;

/// Ends a connection whose client does not read: answers that nobody reads fill its buffers.
fn limit_writes(context: &Context, stream: tokio::net::TcpStream) -> Limited {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(context.config.write_timeout));
    Box::pin(stream)
}

/// First byte of a TLS record that begins a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Makes a TLS connection of a socket, within the time that a handshake may take.
async fn shake_hands(
    context: &Context,
    tls: &Tls,
    stream: tokio::net::TcpStream,
) -> Option<TlsStream<Limited>> {
    let failed = &context.telemetry.handshakes_failed;
    let deadline = tokio::time::Instant::now() + context.config.handshake_timeout;
    let mut first = [0];
    match tokio::time::timeout_at(deadline, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD => (),
        Ok(Ok(1)) => {
            failed.plain.increment(1);
            tell(stream, PLAIN_REFUSAL).await;
            return None;
        }
        // It has left without a word, as the probe of a load balancer does.
        Ok(_) => return None,
        Err(_) => {
            failed.timeout.increment(1);
            return None;
        }
    }
    let accepted = tls.accept(limit_writes(context, stream));
    match tokio::time::timeout_at(deadline, accepted).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(_)) => {
            failed.protocol.increment(1);
            None
        }
        Err(_) => {
            failed.timeout.increment(1);
            None
        }
    }
}

/// Serves the requests of one connection to its end.
async fn attend<I>(
    context: &Arc<Context>,
    builder: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
    surface: Surface,
    stream: I,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoken = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoken);
    let shared = Arc::clone(context);
    let service = service_fn(move |request: Request<Incoming>| {
        if !heard.load(Ordering::Relaxed) {
            heard.store(true, Ordering::Relaxed);
        }
        handler::answer(Arc::clone(&shared), surface, request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Until the protocol is known, the timeout of a head does not run; this one does.
    let silent = async {
        tokio::time::sleep(context.config.header_timeout).await;
        if spoken.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = watcher.watch(connection) => (),
        () = silent => (),
    }
}

/// Most refused connections that are told why at the same time; others are just closed.
const REFUSING_MAX: usize = 64;
/// How long a refused connection is kept for its client to read why.
const REFUSAL_READ: Duration = Duration::from_secs(1);

struct Acceptor {
    context: Arc<Context>,
    surface: Surface,
    permits: Arc<Semaphore>,
    queues: Queues,
    refusing: Arc<Semaphore>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener, mut drain: watch::Receiver<bool>) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
            return;
        };
        let mut next = 0;
        loop {
            let stream = tokio::select! {
                biased;
                () = drained(&mut drain) => return,
                accepted = listener.accept() => if let Ok((stream, _)) = accepted { stream } else {
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                },
            };
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                self.refuse(stream);
                continue;
            };
            // Small replies must not wait for the next packet; a failure only costs time.
            let _ = stream.set_nodelay(true);
            let Ok(stream) = stream.into_std() else {
                continue;
            };
            let arrival = Arrival { stream, surface: self.surface, permit };
            if self.queues[next].send(arrival).is_err() {
                return;
            }
            next = (next + 1) % self.queues.len();
        }
    }

    /// Tells a client that there are too many, without reading what it has to say.
    fn refuse(&self, stream: tokio::net::TcpStream) {
        self.context.telemetry.connections_refused.increment(1);
        // Who has not shaken hands would not understand it.
        if self.context.config.tls.is_some() && self.surface != Surface::Admin {
            return;
        }
        let Ok(permit) = Arc::clone(&self.refusing).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            tell(stream, REFUSAL).await;
            drop(permit);
        });
    }
}

/// Sends a reply as it stands, and gives the client a moment to read it.
async fn tell(mut stream: tokio::net::TcpStream, reply: &str) {
    let told = async {
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with bytes unread would take the reply back from the client.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(REFUSAL_READ, told).await;
}

/// The reply to plain HTTP where TLS is spoken; its length is checked by a test.
const PLAIN_REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: application/problem+json\r\nconnection: close\r\n\
    content-length: 159\r\n\r\n\
    {\"type\":\"/errors/tls_required\",\"title\":\"TLS is required\",\"status\":400,\
    \"code\":\"tls_required\",\"detail\":\"this address speaks TLS; use https://\",\
    \"retryable\":false}";

/// The reply to a connection too many; its length is checked by a test.
const REFUSAL: &str = "HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/problem+json\r\nconnection: close\r\nretry-after: 1\r\n\
    content-length: 206\r\n\r\n\
    {\"type\":\"/errors/too_many_connections\",\"title\":\"Too many connections\",\"status\":429,\
    \"code\":\"too_many_connections\",\"detail\":\"the host has as many connections as it may\",\
    \"retryable\":true,\"retry_after_ms\":1000}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusals_say_their_own_length() {
        for refusal in [REFUSAL, PLAIN_REFUSAL] {
            let (head, body) = refusal.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
            serde_json::from_str::<serde_json::Value>(body).expect("it is JSON");
        }
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let config = ServerConfig { workers: 0, ..ServerConfig::default() };
        assert_eq!(
            check(&config).expect_err("zero workers").to_string(),
            "workers is 0, outside 1..=64"
        );
        assert!(check(&ServerConfig::default()).is_ok());
    }
}
