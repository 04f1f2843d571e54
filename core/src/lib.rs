//! Onhand's engine: stock, limits, reservations and orders behind one durable journal.

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
mod domain;
mod engine;
mod error;
mod event;
mod explain;
mod hash;
mod id;
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
mod time;
mod view;

pub use command::{
    Adjust, Buy, Cancel, Command, DefineSku, Extend, Fill, Import, ImportLine, Line, LinePrice,
    LineQuantity, Lines, Place, Placement, Quarantine, Reason, Receive, Release, Reserve, Ship,
    Short, SkuKind, TransferIn, TransferOut,
};
pub use config::EngineBuilder;
pub use domain::bucket::Bucket;
pub use engine::{Decision, Engine, EngineMetrics, EngineStatus, Explanation};
pub use error::{Error, ErrorKind};
pub use event::{Aggregate, Event, EventKind, EventMovement, EventOrder, EventRefusal, Events};
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
    Ack, ChangeReceipt, Grants, OrderReceipt, OrderStatus, Receipt, Refusal, Reply, StockReceipt,
};
pub use shard::completion::{BatchTicket, Ticket};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use view::{CellPart, LineView, OrderView, SkuView, StockView};
