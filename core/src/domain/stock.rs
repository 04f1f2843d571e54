//! A cell: the units of one SKU at one location in one lot, by bucket.

use crate::domain::bucket::{Bucket, Movement};

/// Buckets of a cell, or the sum of the cells of a SKU.
///
/// Counts of units; on hand is the sum of all but `in_transit` and `shipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) available: u64,
    pub(crate) tentative: u64,
    pub(crate) reserved: u64,
    pub(crate) committed: u64,
    pub(crate) in_transit: u64,
    pub(crate) shipped: u64,
    pub(crate) unavailable: [u64; 5],
}

/// A movement that would take more than there is, or count beyond 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Imbalance;

impl Level {
    #[inline]
    fn bucket(&mut self, bucket: Bucket) -> Option<&mut u64> {
        Some(match bucket {
            Bucket::Available => &mut self.available,
            Bucket::Tentative => &mut self.tentative,
            Bucket::Reserved => &mut self.reserved,
            Bucket::Committed => &mut self.committed,
            Bucket::InTransit => &mut self.in_transit,
            Bucket::Shipped => &mut self.shipped,
            Bucket::Damaged => &mut self.unavailable[0],
            Bucket::QualityControl => &mut self.unavailable[1],
            Bucket::SafetyStock => &mut self.unavailable[2],
            Bucket::Quarantine => &mut self.unavailable[3],
            Bucket::Missing => &mut self.unavailable[4],
            Bucket::Supplier | Bucket::Writeoff | Bucket::Adjust | Bucket::Link => return None,
        })
    }

    /// Carries a movement out.
    ///
    /// # Errors
    ///
    /// Returns [`Imbalance`] if the bucket holds too little; nothing has changed then.
    #[inline]
    pub(crate) fn carry_out(&mut self, movement: &Movement) -> Result<(), Imbalance> {
        let units = u64::from(movement.quantity);
        if self.bucket(movement.from).is_some_and(|from| *from < units) {
            return Err(Imbalance);
        }
        if let Some(to) = self.bucket(movement.to) {
            if *to + units >= 1 << 62 {
                return Err(Imbalance);
            }
            *to += units;
        }
        if let Some(from) = self.bucket(movement.from) {
            *from -= units;
        }
        Ok(())
    }

    /// Carries out the movement of an order: available units become reserved or committed ones.
    ///
    /// # Errors
    ///
    /// As [`Level::carry_out`].
    #[inline]
    pub(crate) fn promise(&mut self, units: u64, reserved: bool) -> Result<(), Imbalance> {
        let to = if reserved { &mut self.reserved } else { &mut self.committed };
        if self.available < units || *to + units >= 1 << 62 {
            return Err(Imbalance);
        }
        *to += units;
        self.available -= units;
        Ok(())
    }

    /// Adds the units of a cell to a sum.
    pub(crate) fn add(&mut self, cell: &Self) {
        self.available += cell.available;
        self.tentative += cell.tentative;
        self.reserved += cell.reserved;
        self.committed += cell.committed;
        self.in_transit += cell.in_transit;
        self.shipped += cell.shipped;
        for (sum, units) in self.unavailable.iter_mut().zip(cell.unavailable) {
            *sum += units;
        }
    }

    /// Returns the units of a reason for being unavailable.
    pub(crate) fn of(&self, bucket: Bucket) -> u64 {
        let mut copy = *self;
        copy.bucket(bucket).map_or(0, |n| *n)
    }

    pub(crate) fn unavailable_total(&self) -> u64 {
        self.unavailable.iter().sum()
    }
}

/// One `(sku, location, lot)` with its units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// SKU index plus one; 0 marks a slot that was never used.
    pub(crate) sku_plus_1: u32,
    pub(crate) location: u32,
    pub(crate) lot: u32,
    /// Counts STOCK records and transfers that touched the cell.
    pub(crate) version: u32,
    pub(crate) level: Level,
    /// Units that the basket being looked at would take; 0 between commands.
    pub(crate) planned: u64,
    /// Next cell of the same SKU and location plus one; 0 ends the chain.
    pub(crate) next_lot: u32,
}

impl Cell {
    pub(crate) const fn sku(&self) -> u32 {
        self.sku_plus_1 - 1
    }

    /// Units that the basket being looked at may still plan with.
    pub(crate) const fn free(&self) -> u64 {
        self.level.available - self.planned
    }
}
