//! Onhand's engine: stock, limits, reservations and orders behind one durable journal.

pub mod limits;

mod apply;
mod codec;
mod command;
mod domain;
mod error;
mod hash;
mod id;
mod journal;
mod money;
mod order_flow;
mod quantity;
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
pub use error::{Error, ErrorKind};
pub use id::{
    CustomerId, IdError, KEY_TEXT_CHARS, Key, LocationId, LotId, OrderId, SKU_CODE_BYTES_MAX,
    SkuId, check_code,
};
pub use journal::reader::TornTail;
pub use money::{Currency, CurrencyError, Money};
pub use quantity::Quantity;
pub use reject::Reject;
pub use reply::{
    Ack, ChangeReceipt, Grants, OrderReceipt, OrderStatus, Receipt, Refusal, Reply, StockReceipt,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
