//! Runs partners' plugins: WebAssembly components that price orders, score them for fraud, or
//! recommend what goes with a basket.
//!
//! A plugin is a pure function of the facts that it is given. It imports nothing but a log, and
//! every answer is checked as input from outside. Whatever it does, a caller gets a decision for
//! each order, within a known time, and is told who made it.
//!
//! The crate needs nothing of the host: an embedder of the engine may use it alone.
//!
//! # Reading order
//!
//! [`Kind`] names the worlds of `plugins/wit`. [`limits`] has every bound. [`inspect`] looks at a
//! component without running it. [`Runtime`] is the engine, [`Plugin`] what is loaded into it, and
//! [`Plugin::decide`] what an order goes through.
//!
//! # Example
//!
//! ```no_run
//! use onhand_plugin_runtime::{Plugin, PluginOptions, Pricing, Runtime, RuntimeConfig};
//! use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
//!
//! let runtime = Runtime::new(RuntimeConfig::default())?;
//! let wasm = std::fs::read("tiers.wasm")?;
//! let plugin = Plugin::<Pricing>::load(&runtime, &wasm, PluginOptions::default())?;
//!
//! let headers = [PricingHeader { currency: 978, line_count: 1, ..Default::default() }];
//! let lines = [PricingLine { sku: 7, quantity: 2, unit: 12_99, ..Default::default() }];
//! let batch = PricingBatch::new(&headers, &lines, &[])?;
//! // The built-in policy here is the list price: no adjustment.
//! let decided = plugin.decide(0, batch, &mut |_| Vec::new());
//! println!("{:?} by {:?}", decided.answer.outcomes[0], decided.made[0].by);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod breaker;
mod cache;
mod child;
mod error;
mod fraud;
mod guest;
mod histogram;
mod instance;
mod kind;
pub mod limits;
mod plugin;
mod pool;
mod pricing;
mod recommend;
mod runtime;
mod shape;
mod stats;
mod ticker;
mod world;

pub use breaker::{BreakerState, FAILURES, HANGS, REST_MS, WINDOW_MS};
pub use cache::{CacheUse, FILE_BYTES_MAX, FILES_MAX};
pub use child::{CompilerProcess, compile_child};
pub use error::{Failure, FailureKind, LoadError, RuntimeError};
pub use fraud::{DENIAL_UNDECIDED, Fraud};
pub use guest::LogLine;
pub use histogram::Histogram;
pub use kind::{ABI, AbiVersion, Kind};
pub use limits::Limits;
pub use plugin::{BuiltIn, By, Decided, Held, Made, Measured, OnFailure, Plugin, PluginOptions};
pub use pricing::{Pricing, REFUSAL_UNDECIDED};
pub use recommend::Recommend;
pub use runtime::{Runtime, RuntimeConfig};
pub use shape::{Shape, inspect};
pub use stats::Stats;
pub use world::World;
