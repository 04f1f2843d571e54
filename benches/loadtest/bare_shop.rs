//! A bare server that says yes to every order with the same bytes: the ceiling of a generator.
//!
//! Nothing is kept and nothing is true; it serves what a load tester needs before a load, and no
//! events, so that whatever is measured against it is the generator and hyper.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

/// A receipt as a host gives it, of the same length.
const RECEIPT: &[u8] = b"{\"order\":\"ord_01KAKZ5J1CQ4M6V3A9YJ9Q2T7E\",\"status\":\"placed\",\
    \"seq\":123456,\"version\":1,\"total\":{\"amount\":1999,\"currency\":\"EUR\"},\
    \"lines\":[{\"sku\":\"wrk-hot\",\"quantity\":1,\"granted\":1,\"unit\":1999,\"discount\":0}]}";
const DONE: &[u8] = b"{\"seq\":1}";
const NOT_FOUND: &[u8] = b"{\"code\":\"not_found\"}";

/// Answers every order with the same receipt, as fast as hyper can.
#[derive(Clone, Debug, Parser)]
#[command(version)]
struct Cli {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, each with an event loop of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Stall on purpose for this long, once: orders that come meanwhile are answered after it.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    stall: u64,
    /// When it stalls, counted from the first order.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000)]
    stall_at: u64,
}

/// The stall of a server: orders that come in this time wait for its end.
#[derive(Debug)]
struct Stall {
    first: OnceLock<Instant>,
    at: Duration,
    length: Duration,
}

impl Stall {
    /// Waits for the end of the stall, if it is the time.
    async fn wait(&self) {
        if self.length.is_zero() {
            return;
        }
        let begins = *self.first.get_or_init(Instant::now) + self.at;
        let now = Instant::now();
        if now >= begins && now < begins + self.length {
            tokio::time::sleep_until((begins + self.length).into()).await;
        }
    }
}

async fn answer(
    stall: Arc<Stall>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let (status, body) = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/orders:buy") => {
            stall.wait().await;
            (StatusCode::CREATED, RECEIPT)
        }
        (&Method::POST, "/v1/stock/imports") | (&Method::PUT, _) => (StatusCode::CREATED, DONE),
        _ => (StatusCode::NOT_FOUND, NOT_FOUND),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Serves connections on one thread, for ever.
fn serve(listener: TcpListener, stall: &Arc<Stall>) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let stall = Arc::clone(stall);
            let service = service_fn(move |request| answer(Arc::clone(&stall), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no failure of a server.
            tokio::spawn(async move { drop(connection.await) });
        }
    })
}

fn run(cli: &Cli) -> io::Result<Infallible> {
    let listener = TcpListener::bind(cli.listen)?;
    listener.set_nonblocking(true)?;
    println!("http://{}", listener.local_addr()?);
    let (at, length) = (Duration::from_millis(cli.stall_at), Duration::from_millis(cli.stall));
    let stall = Arc::new(Stall { first: OnceLock::new(), at, length });
    for _ in 1..cli.threads {
        let (listener, stall) = (listener.try_clone()?, Arc::clone(&stall));
        std::thread::spawn(move || {
            let Err(error) = serve(listener, &stall);
            eprintln!("bare-shop: {error}");
            std::process::exit(1);
        });
    }
    serve(listener, &stall)
}

fn main() -> ExitCode {
    let Err(error) = run(&Cli::parse());
    eprintln!("bare-shop: {error}");
    ExitCode::FAILURE
}
