//! Onhand's engine: stock, limits, reservations and orders behind one durable journal.

pub mod limits;

mod command;
mod error;
mod id;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the engine that uses the journal is built in the next step")
)]
mod journal;
mod money;
mod quantity;
mod reject;
mod reply;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod storage;
mod time;

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
