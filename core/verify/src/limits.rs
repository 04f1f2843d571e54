//! Units per customer of SKUs that have a limit (I9).

use crate::fast_hash::FastMap;

/// Counters by customer and SKU index; only SKUs with a limit have any.
#[derive(Debug, Default)]
pub(crate) struct LimitCounts(FastMap<(u64, u32), u64>);

impl LimitCounts {
    /// Adds units and returns the new count.
    pub(crate) fn add(&mut self, customer: u64, sku: u32, units: u64) -> u64 {
        let count = self.0.entry((customer, sku)).or_insert(0);
        *count += units;
        *count
    }

    /// Takes units off again, after they were cancelled, released or found missing.
    pub(crate) fn subtract(&mut self, customer: u64, sku: u32, units: u64) {
        if let Some(count) = self.0.get_mut(&(customer, sku)) {
            *count = count.saturating_sub(units);
            if *count == 0 {
                self.0.remove(&(customer, sku));
            }
        }
    }

    /// Forgets a SKU, before its units are counted anew.
    pub(crate) fn forget(&mut self, sku: u32) {
        self.0.retain(|(_, of), _| *of != sku);
    }
}
