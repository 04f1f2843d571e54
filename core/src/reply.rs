//! What the engine answers.

use crate::decided::{PolicyNo, Risk};
use crate::id::{Key, OrderId};
use crate::money::Money;
use crate::reject::Reject;
use crate::time::Timestamp;

/// Which stage a command must have passed before its reply is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ack {
    /// Applied; a crash may lose it.
    Memory = 0,
    /// Applied and on disk with the other commands of its group.
    #[default]
    Group = 1,
    /// Applied and on disk, in a group of its own batch alone.
    Strict = 2,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum OrderStatus {
    /// Units are reserved until a deadline.
    Reserved = 1,
    /// Units are promised for good.
    Placed = 2,
    /// Every unit was shipped, cancelled or missing, and at least one was shipped.
    Completed = 3,
    /// The deadline passed before the order was placed.
    Expired = 4,
    /// Given up: a reservation by its owner, or a placed order of which nothing was shipped.
    Cancelled = 5,
    /// A reservation under challenge or review was denied.
    Rejected = 6,
}

/// The units that a basket got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Every line as asked.
    Full,
    /// Units by line, in the order of the basket.
    ByLine(Box<[u32]>),
}

/// What an accepted command did; the same for every repetition of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// An order was made by `buy` or `reserve`.
    Order(OrderReceipt),
    /// An order was changed.
    Change(ChangeReceipt),
    /// Stock or the catalogue was changed.
    Stock(StockReceipt),
    /// A step of a policy was recorded.
    Policy(PolicyReceipt),
    /// Time passed.
    Tick,
}

/// The receipt of `buy` and `reserve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderReceipt {
    /// The order.
    pub order: OrderId,
    /// Its status when it was made.
    pub status: OrderStatus,
    /// Position of its record in the journal.
    pub seq: u64,
    /// Its total for the granted units.
    pub total: Money,
    /// Its risk when it was made; a `buy` under challenge or review is a reservation.
    pub risk: Risk,
    /// The deadline that a reservation got, else [`Timestamp::ZERO`].
    pub deadline: Timestamp,
    /// Units by line.
    pub grants: Grants,
}

/// The receipt of a command that changed an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeReceipt {
    /// The order.
    pub order: OrderId,
    /// Its status after the change.
    pub status: OrderStatus,
    /// Position of the record in the journal.
    pub seq: u64,
    /// Version of the order after the change.
    pub version: u32,
    /// The new deadline of `extend`, else [`Timestamp::ZERO`].
    pub deadline: Timestamp,
}

/// The receipt of a command that changed stock or the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockReceipt {
    /// Idempotency key of the command.
    pub key: Key,
    /// Position of the record in the journal.
    pub seq: u64,
    /// Version of the SKU after a definition; 0 otherwise.
    pub version: u32,
}

/// The receipt of a policy's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyReceipt {
    /// Idempotency key of the command.
    pub key: Key,
    /// Number of the policy, by which decisions name it.
    pub policy: PolicyNo,
    /// Position of the record in the journal.
    pub seq: u64,
}

/// Why a command was refused, with the facts that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reject: Reject,
    /// Line of the basket, from 0; 0 where there are no lines.
    pub line: u16,
    /// What was asked: units, or the expected version, count or total, as the reason implies.
    pub asked: u64,
    /// What there is: available units, units left of the limit, the version, count or total,
    /// the code of a policy that refuses, or the number of one that failed or is not known.
    pub found: u64,
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was done, or why not.
    pub outcome: Result<Receipt, Refusal>,
    /// Whether the command had been carried out before and this is its first receipt again.
    pub replayed: bool,
    /// A journal position that the answer reflects; it is durable unless `ack` is `Memory`.
    pub seq: u64,
    /// The level of acknowledgement that was reached.
    pub ack: Ack,
}
