//! Writes Onhand's plugins in Rust: pricing, fraud and recommendation as WebAssembly components.
//!
//! A plugin is a pure function of facts: no clock, no random number, no file, no network. It is
//! written for **one** order or request; [`export!`] makes the component around it, which answers
//! whole batches and reads the facts where the host has put them, without a copy.
//!
//! The crate depends on nothing and has no feature. On every target but `wasm32` a plugin is an
//! ordinary type, so that its tests need neither WebAssembly nor a host: see [`testing`].
//!
//! # Reading order
//!
//! [`Pricing`], [`Fraud`] and [`Recommend`] are what a plugin implements; [`config`] reads its
//! configuration; [`log!`] speaks to the operator; [`testing`] tries it out.
//!
//! # Example
//!
//! ```
//! use onhand_plugin_sdk::config::{ConfigError, Object};
//! use onhand_plugin_sdk::pricing::{Order, Price, Pricing, Refusal};
//!
//! /// So many per cent off each line of ten units or more.
//! struct Tens {
//!     percent: i64,
//! }
//!
//! impl Pricing for Tens {
//!     fn new(config: &str) -> Result<Self, ConfigError> {
//!         let mut config = Object::read(config)?;
//!         let percent = config.int_or("percent", 0..=100, 5)?;
//!         config.end()?;
//!         Ok(Self { percent })
//!     }
//!
//!     fn price(&self, order: &Order<'_>, price: &mut Price<'_>) -> Result<(), Refusal> {
//!         for (at, line) in order.lines.iter().enumerate() {
//!             if line.quantity >= 10 {
//!                 price.line(at, line.amount() * self.percent / 100, 1);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! onhand_plugin_sdk::export!(pricing: Tens);
//!
//! let tens = onhand_plugin_sdk::testing::pricing::<Tens>(r#"{"percent": 20}"#)?;
//! let priced = tens.order().line(7, 10, 1_00).line(8, 9, 1_00).price();
//! assert_eq!((priced.list, priced.total), (19_00, 17_00));
//! # Ok::<(), ConfigError>(())
//! ```

mod component;
#[doc(hidden)]
pub use component::{ANSWER_ENTRIES as __ANSWER_ENTRIES, ROOM_BYTES as __ROOM_BYTES};
pub mod config;
pub mod fraud;
pub mod log;
#[doc(hidden)]
pub mod meta;
pub mod pricing;
pub mod recommend;
pub mod testing;

pub use config::ConfigError;
pub use fraud::Fraud;
pub use pricing::Pricing;
pub use recommend::Recommend;

/// Returns the part of a batch's list that belongs to one of its orders.
fn part<T>(list: &[T], first: u32, count: u32) -> &[T] {
    let first = first as usize;
    &list[first..first + count as usize]
}
