//! Serves an [`onhand_core::Engine`] over HTTP/1.1 and HTTP/2, and holds the command line.
//!
//! Reading order: [`server`](Server) accepts and drains, `router` finds the route, `handler`
//! decodes, submits and encodes, `wire` knows JSON, `problem` turns refusals and errors into
//! bodies. No rule of the domain lives here: the engine decides.
//!
//! # Example
//!
//! ```no_run
//! use std::net::TcpListener;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use onhand_core::Engine;
//! use onhand_host::{ServerConfig, serve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (engine, _report) = Engine::builder("data").open()?;
//! let engine = Arc::new(engine);
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let config = ServerConfig { open_writes: true, ..ServerConfig::default() };
//! let server = serve(listener, Arc::clone(&engine), config)?;
//! println!("serving http://{}", server.addr());
//! server.drain(Duration::from_secs(10));
//! # Ok(())
//! # }
//! ```

mod auth;
pub mod cli;
pub mod config;
mod context;
mod handler;
mod log;
mod problem;
mod request;
mod router;
mod server;
mod telemetry;
mod tls;
mod wire;

pub use auth::{ApiKeys, KEY_BYTES_MAX, KEY_BYTES_MIN, KEYS_MAX, NewKey};
pub use problem::{PAGES, Page, Retry, page};
pub use server::{DrainReport, Server, ServerConfig, WORKERS_MAX, serve};
pub use tls::{PEM_BYTES_MAX, Tls, TlsError};
