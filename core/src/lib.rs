//! Onhand's engine: stock, limits, reservations and orders behind one durable journal.
//!
//! It decides whether units may be promised to a customer, remembers that it did, and can show
//! why. An embedder opens an [`Engine`] over a directory, sends it [`Command`]s with keys of its
//! own choice, and gets [`Reply`]s: a [`Receipt`] or a [`Refusal`], on disk before it is told.
//!
//! # Example
//!
//! ```
//! use onhand_core::{
//!     Buy, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, Line, LocationId, LotId,
//!     Money, OrderId, OrderStatus, Place, Placement, Quantity, Receive, Reject, Reserve, SkuId,
//!     SkuKind,
//! };
//!
//! // On disk: `Engine::builder("shop").open()?`.
//! let (engine, _report) = Engine::in_memory().open()?;
//! engine.execute(Command::DefineSku(Box::new(DefineSku {
//!     key: Key::from_text("define seat 12A"),
//!     code: "SEAT-12A".to_owned(),
//!     kind: SkuKind::Seat,
//!     price: Money::new(89_00, Currency::EUR).ok_or("too much")?,
//!     placement: Placement::BySku,
//!     limit: None,
//!     components: Vec::new(),
//! })))?;
//! let seat = SkuId::from_code("SEAT-12A")?;
//! engine.execute(Command::Receive(Receive {
//!     key: Key::from_text("the hall opens"),
//!     sku: seat,
//!     location: LocationId(1),
//!     lot: LotId(0),
//!     quantity: Quantity::ONE,
//! }))?;
//!
//! // Ada holds the seat while she pays; nobody else can have it.
//! let cart = Key::from_text("ada's cart");
//! let line = Line::new(seat, Quantity::ONE);
//! let reserve = Reserve {
//!     key: cart,
//!     customer: CustomerId::from_text("ada"),
//!     lines: line.into(),
//!     fill: Fill::All,
//!     ttl_ms: 600_000,
//!     hard_cap_ms: 1_800_000,
//!     expected_total: None,
//!     decided: None,
//! };
//! let held = engine.execute(Command::Reserve(reserve.clone()))?;
//! assert!(held.outcome.is_ok());
//! let buy = Buy::one(Key::from_text("bob's cart"), CustomerId::from_text("bob"), line);
//! let refusal = engine.execute(Command::Buy(buy))?.outcome.err().ok_or("sold twice")?;
//! assert_eq!(refusal.reject, Reject::SoldOut);
//!
//! // The key of the command that made the order is its id, and a repetition changes nothing.
//! let order = OrderId::from(cart);
//! let place = Place { key: Key::from_text("ada has paid"), order, expected_total: None };
//! engine.execute(Command::Place(place))?;
//! assert_eq!(engine.execute(Command::Reserve(reserve))?.outcome, held.outcome);
//! assert_eq!(engine.order(order)?.map(|view| view.status), Some(OrderStatus::Placed));
//! engine.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - **No unit is promised twice.** Counts change by movements between buckets only, and no
//!   bucket goes below zero.
//! - **What was acknowledged is there** after any crash, unless [`Ack::Memory`] was asked for.
//!   What was not acknowledged may be there too; its key tells.
//! - **A key has one effect**, for as long as its order is known: in memory, in the archive, after
//!   every restart. The same request gets the first receipt, another one under the same key
//!   [`Reject::IdempotencyKeyReused`].
//! - **A basket is whole or absent**, over any number of shards and through any crash.
//! - **Sold out means sold out**: units that a basket in flight may yet give back do not count
//!   as gone.
//! - **The same journal gives the same state**, bit for bit. Opening carries out each record anew
//!   and stops at the first difference.
//! - **Damage is found, not served.** Frames are chained by hash and checked; an error names
//!   file, offset and the way out.
//!
//! # Gotchas
//!
//! - A refusal is a reply, not an [`Error`]: `execute(..)?` alone does not tell that units were
//!   sold. Look at [`Reply::outcome`].
//! - After an [`Error`] the fate of a command may be unknown. Send it again with the **same** key.
//! - One command at a time waits for the disk each time. Keep many in flight, or use
//!   [`Engine::submit_batch`].
//! - A failed write or sync stops the engine for good ([`EngineStatus::Stopped`]); open it anew.
//! - The number of shards is fixed when the data directory is created, and so are a SKU's kind,
//!   placement, currency and components, and whether it has a limit.
//! - A refused request leaves no key behind: the same request may succeed later.
//! - A clock that jumps ahead expires reservations for good; one that jumps back does nothing.
//! - `overflow-checks = true` in the release profile of the final program is advised.
//!
//! # Features
//!
//! None is on by default. `sim` makes the deterministic simulation public: a whole engine with
//! clients, clock and a failing disk, moved by one seed on one thread.
//! `shuttle` changes unit tests of this crate only: those named `interleaving` appear.
//!
//! # Reading order
//!
//! For users: [`Engine`], [`Command`], [`Reply`], [`Reject`], [`EngineBuilder`], [`limits`]. For
//! the code: `command`, `reject`, then `apply` (every rule), `state` and `domain` (what it works
//! on), `shard` (who calls it), `journal` (where it is kept), `order_flow` (baskets over shards),
//! `count_flow` (counts that break promises), `checkpoint` and `store` (what makes restarts short), `recovery` and `open` (how it comes
//! back). `docs/ARCHITECTURE.md` has the map, `docs/decisions` the reasons.

pub mod limits;

mod apply;
mod archive;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_support;
mod checkpoint;
mod codec;
mod command;
mod config;
mod count_flow;
mod decided;
mod domain;
mod engine;
mod error;
mod event;
mod explain;
mod hash;
mod id;
#[cfg(all(test, feature = "shuttle"))]
mod interleaving;
mod journal;
mod keeper;
mod lock;
mod money;
mod open;
mod order_flow;
mod quantity;
mod recovery;
mod reject;
mod reply;
mod route;
mod shard;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod state;
pub mod storage;
mod store;
mod sync;
mod time;
mod view;

pub use command::{
    Adjust, Buy, Cancel, Command, Count, DefineSku, Extend, Fill, Import, ImportLine, Line,
    LinePrice, LineQuantity, Lines, Place, Placement, Quarantine, Reason, Receive, Release,
    Reserve, Ship, Short, SkuKind, TransferIn, TransferOut,
};
pub use config::EngineBuilder;
pub use decided::{
    Decided, DecidedBy, FraudDecision, PolicyDecision, PolicyKind, PolicyNo, PolicyRefusal,
    PolicyStep, PolicyStepView, PolicyView, RecordRisk, Risk, Step,
};
pub use domain::bucket::Bucket;
pub use engine::{Decision, Engine, EngineMetrics, EngineStatus, Explanation};
pub use error::{Error, ErrorKind};
pub use event::{
    Aggregate, Event, EventBreak, EventKind, EventMovement, EventOrder, EventPolicy, EventRefusal,
    Events,
};
pub use id::{
    CustomerId, IdError, KEY_TEXT_CHARS, Key, LocationId, LotId, OrderId, SKU_CODE_BYTES_MAX,
    SkuId, check_code,
};
pub use journal::reader::TornTail;
pub use keeper::CheckpointReport;
pub use money::{Currency, CurrencyError, Money};
pub use open::rebuild;
pub use quantity::Quantity;
pub use recovery::OpenReport;
pub use reject::Reject;
pub use reply::{
    Ack, ChangeReceipt, Grants, OrderReceipt, OrderStatus, PolicyReceipt, Receipt, Refusal, Reply,
    StockReceipt,
};
pub use shard::completion::{BatchTicket, Ticket};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use view::{CellPart, LineView, OrderView, SkuView, StockView};
