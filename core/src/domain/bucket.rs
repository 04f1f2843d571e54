//! Buckets of a cell, and the movements between them.

use crate::limits::SHARDS_MAX;

/// Where units are, within a cell or outside of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Bucket {
    /// May be promised now.
    Available = 0,
    /// Taken by a basket whose commit is in flight between shards.
    Tentative = 1,
    /// Held by a reservation.
    Reserved = 2,
    /// Promised to a placed order.
    Committed = 3,
    /// Unavailable: damaged.
    Damaged = 8,
    /// Unavailable: held by quality control.
    QualityControl = 9,
    /// Unavailable: safety stock.
    SafetyStock = 10,
    /// Unavailable: in quarantine.
    Quarantine = 11,
    /// Unavailable: missing.
    Missing = 12,
    /// Has left this location and not arrived at the other.
    InTransit = 17,
    /// Outside: a supplier.
    Supplier = 32,
    /// Outside: shipped to a customer.
    Shipped = 33,
    /// Outside: written off.
    Writeoff = 34,
    /// Outside: found or lost at a count.
    Adjust = 35,
    /// Between the two cells of a transfer.
    Link = 36,
}

impl Bucket {
    /// Returns the bucket of a journal code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Available,
            1 => Self::Tentative,
            2 => Self::Reserved,
            3 => Self::Committed,
            8 => Self::Damaged,
            9 => Self::QualityControl,
            10 => Self::SafetyStock,
            11 => Self::Quarantine,
            12 => Self::Missing,
            17 => Self::InTransit,
            32 => Self::Supplier,
            33 => Self::Shipped,
            34 => Self::Writeoff,
            35 => Self::Adjust,
            36 => Self::Link,
            _ => return None,
        })
    }

    /// Returns the name that the HTTP API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Tentative => "tentative",
            Self::Reserved => "reserved",
            Self::Committed => "committed",
            Self::Damaged => "damaged",
            Self::QualityControl => "quality_control",
            Self::SafetyStock => "safety_stock",
            Self::Quarantine => "quarantine",
            Self::Missing => "missing",
            Self::InTransit => "in_transit",
            Self::Supplier => "SUPPLIER",
            Self::Shipped => "SHIPPED",
            Self::Writeoff => "WRITEOFF",
            Self::Adjust => "ADJUST",
            Self::Link => "LINK",
        }
    }
}

/// Bits of a cell number that hold the index within its shard.
const INDEX_BITS: u32 = 24;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const _: () = assert!((SHARDS_MAX as u32) << INDEX_BITS >> INDEX_BITS == SHARDS_MAX as u32);

/// Number of a cell over all shards of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CellNo(pub(crate) u32);

impl CellNo {
    pub(crate) const fn new(shard: u16, index: u32) -> Self {
        Self((shard as u32) << INDEX_BITS | index)
    }

    /// A cell of a shard that the shard itself will choose.
    pub(crate) const fn chosen_by(shard: u16) -> Self {
        Self::new(shard, INDEX_MASK)
    }

    pub(crate) const fn shard(self) -> u16 {
        (self.0 >> INDEX_BITS) as u16
    }

    pub(crate) const fn index(self) -> u32 {
        self.0 & INDEX_MASK
    }
}

/// Units that go from one bucket to another: the only way in which stock changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) cell: CellNo,
    pub(crate) quantity: u32,
    pub(crate) from: Bucket,
    pub(crate) to: Bucket,
    pub(crate) line: u16,
}
