//! Buckets of a cell and the outside accounts, by their codes in the journal.

/// Buckets that a cell counts, in the order of their slots.
pub(crate) const CELL_SLOTS: usize = 10;

/// Where units are: ten buckets of a cell, then five accounts outside of all cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Bucket {
    /// May be promised now.
    Available = 0,
    /// Taken by a basket in flight.
    Tentative = 1,
    /// Held by a reservation.
    Reserved = 2,
    /// Promised to a placed order.
    Committed = 3,
    /// Set aside: damaged.
    Damaged = 4,
    /// Set aside: quality control.
    QualityControl = 5,
    /// Set aside: safety stock.
    SafetyStock = 6,
    /// Set aside: quarantine.
    Quarantine = 7,
    /// Set aside: missing.
    Missing = 8,
    /// In transit; counted at the cell that the units left.
    Transit = 9,
    /// Outside: suppliers.
    Supplier = 10,
    /// Outside: shipped to buyers.
    Shipped = 11,
    /// Outside: written off.
    WriteOff = 12,
    /// Outside: the counterpart of a count's correction.
    Adjust = 13,
    /// Outside: between the two cells of a transfer.
    Link = 14,
}

impl Bucket {
    /// Returns the bucket of a code of the journal.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
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
            17 => Self::Transit,
            32 => Self::Supplier,
            33 => Self::Shipped,
            34 => Self::WriteOff,
            35 => Self::Adjust,
            36 => Self::Link,
            _ => return None,
        })
    }

    /// Returns the place of this bucket's counter in a cell, if a cell counts it.
    pub(crate) const fn slot(self) -> Option<usize> {
        let slot = self as usize;
        if slot < CELL_SLOTS { Some(slot) } else { None }
    }

    /// Returns whether units in this bucket are on hand: `A + T + R + C + sum(U)`.
    pub(crate) const fn is_on_hand(self) -> bool {
        (self as usize) < Self::Transit as usize
    }

    /// Returns the name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Available => "A",
            Self::Tentative => "T",
            Self::Reserved => "R",
            Self::Committed => "C",
            Self::Damaged => "U[damaged]",
            Self::QualityControl => "U[quality control]",
            Self::SafetyStock => "U[safety stock]",
            Self::Quarantine => "U[quarantine]",
            Self::Missing => "U[missing]",
            Self::Transit => "X",
            Self::Supplier => "SUPPLIER",
            Self::Shipped => "SHIPPED",
            Self::WriteOff => "WRITEOFF",
            Self::Adjust => "ADJUST",
            Self::Link => "LINK",
        }
    }
}
