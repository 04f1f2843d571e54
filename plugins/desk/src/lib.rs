//! The desk joins policies and engine: it gathers facts, asks built-in policies and plugins in
//! batches, writes their decisions into commands, and leads plugins through their life while
//! requests go on.
//!
//! It knows nothing of HTTP, so that an embedder may use it as the host does.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use onhand_core::{
//!     Buy, Command, Currency, CustomerId, DefineSku, Engine, Key, Line, LocationId, LotId, Money,
//!     Placement, Quantity, Receive, SkuId, SkuKind,
//! };
//! use onhand_desk::{Ask, Desk, DeskConfig, Settings, Shopper};
//!
//! let (engine, _report) = Engine::in_memory().open()?;
//! engine.execute(Command::DefineSku(Box::new(DefineSku {
//!     key: Key::from_text("define mug"),
//!     code: "MUG".to_owned(),
//!     kind: SkuKind::Goods,
//!     price: Money::new(12_99, Currency::EUR).ok_or("too much")?,
//!     placement: Placement::BySku,
//!     limit: None,
//!     components: Vec::new(),
//! })))?;
//! let mug = SkuId::from_code("MUG")?;
//! engine.execute(Command::Receive(Receive {
//!     key: Key::from_text("delivery 1"),
//!     sku: mug,
//!     location: LocationId(1),
//!     lot: LotId(0),
//!     quantity: Quantity::new(100).ok_or("too many")?,
//! }))?;
//!
//! let engine = Arc::new(engine);
//! let settings = Settings::read(
//!     "[[pricing.promotion]]\ncode = 7\nsku = \"MUG\"\npercent = 1000",
//! )?;
//! let desk = Desk::open(Arc::clone(&engine), DeskConfig { settings, ..DeskConfig::default() })?;
//!
//! let line = Line::new(mug, Quantity::ONE);
//! let buy = Buy::one(Key::from_text("order 1"), CustomerId(7), line);
//! let mut asks = [Ask::new(Command::Buy(buy), Shopper::default())?];
//! desk.decide(1_795_734_000_000, &mut asks);
//! let [ask] = asks;
//! let reply = engine.execute(ask.take()?)?;
//! assert!(reply.outcome.is_ok());
//! let order = engine.order(Key::from_text("order 1").into())?.ok_or("no order")?;
//! assert_eq!(order.total.minor(), 11_69);
//! desk.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! [`Ask`] is a basket before it is decided on. [`Desk::decide`] and [`Desk::submit`] are the way
//! of it (`decide`), [`Desk::quote`] and [`Desk::recommend`] the reads. [`Settings`] configure the
//! built-in policies. [`Desk::install`] and what follows it are the life of a plugin (`life`);
//! `lineup` says what the steps of the journal add up to, `set` who is asked.

pub mod limits;

mod ask;
mod decide;
mod definitions;
mod desk;
mod error;
mod facts;
mod fault;
mod follow;
mod guard;
mod health;
mod life;
mod lineup;
mod policy;
mod queue;
mod quote;
mod ready;
mod recommend;
mod record;
mod secret;
mod set;
mod settings;
mod shadow;
mod shelf;
mod sightings;

pub use ask::{Ask, AskError, Shopper};
pub use desk::{Desk, DeskConfig};
pub use error::DeskError;
pub use facts::PriceAnswer;
pub use guard::{GuardView, Guards, Sample};
pub use health::{DeskMetrics, HealthNote, PolicyLogs, PolicyStats, Role};
pub use life::{Installed, Listed};
pub use lineup::{Lineup, Lineups};
pub use policy::Identity;
pub use queue::{Decision, DeskTicket};
pub use quote::{Quote, QuoteError, QuoteLine};
pub use recommend::Recommendations;
pub use settings::{FRAUD_NAME, PRICING_NAME, Settings, SettingsError};
pub use shadow::{Divergence, DivergenceReport, PolicyAnswer};
