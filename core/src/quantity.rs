//! Whole units of one SKU, checked.

use std::fmt;

/// Units of one SKU in one line or movement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u32);

impl Quantity {
    /// No units.
    pub const ZERO: Self = Self(0);
    /// One unit.
    pub const ONE: Self = Self(1);
    /// The most units that one line or movement may carry.
    pub const MAX: Self = Self(1_000_000_000);

    /// Makes a quantity; larger than [`Quantity::MAX`] is `None`.
    pub const fn new(units: u32) -> Option<Self> {
        if units <= Self::MAX.0 { Some(Self(units)) } else { None }
    }

    /// Returns the number of units.
    pub const fn units(self) -> u32 {
        self.0
    }

    /// Makes a quantity of units that were checked before, such as those of a journal record.
    pub(crate) const fn trusted(units: u32) -> Self {
        Self(units)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
