//! `DEFINE_SKU`, POLICY, EVICT and REFUSED: records that move nothing.

use crate::catalog::View;
use crate::failure::{Check, demand};
use crate::record::{Define, Policy, Refused};
use crate::state::{Place, State};

/// Reject code of `sold_out`.
const SOLD_OUT: u16 = 80;

impl State {
    /// Applies `DEFINE_SKU` (V4, I7, I14).
    pub(crate) fn define(&mut self, place: Place, define: &Define<'_>, record: &[u8]) -> Check {
        if !define.copy {
            self.note_key(place, define.key)?;
        }
        let starts = self.catalog.define(place.shard, place.seq, define, record)?;
        if starts {
            self.orders.count_limit(&self.catalog.skus, define.sku, &mut self.limits);
        }
        Ok(())
    }

    /// Applies POLICY (V8, I7, I14).
    pub(crate) fn policy(&mut self, place: Place, policy: &Policy<'_>, record: &[u8]) -> Check {
        if !policy.copy {
            self.note_key(place, policy.key)?;
        }
        self.policies.step(place.shard, policy, record)
    }

    /// Returns what a shard knows of a SKU that has cells.
    pub(crate) fn stocked_view(&self, shard: u16, sku: u32) -> Check<View> {
        let view = self.catalog.view(shard, sku)?;
        let found = &self.catalog.skus[sku as usize];
        demand!(!found.is_kit(), "V1", "SKU {} is a kit and has no cells", found.code);
        Ok(view)
    }

    /// Applies EVICT: only settled orders leave, each once.
    pub(crate) fn evict(&mut self, place: Place, orders: u32) -> Check {
        let settled = &mut self.orders.settled[place.shard as usize];
        demand!(orders > 0, "V6", "EVICT names no order");
        demand!(
            u64::from(orders) <= *settled,
            "V6",
            "EVICT of {orders} orders, shard {} has {settled} settled ones",
            place.shard
        );
        *settled -= u64::from(orders);
        Ok(())
    }

    /// Checks a sample of the refusals (I17).
    pub(crate) fn refused(&mut self, place: Place, refused: &Refused) -> Check {
        demand!(refused.code != 0, "I17", "REFUSED has reject code 0");
        if refused.code != SOLD_OUT {
            return Ok(());
        }
        self.catalog.view(place.shard, refused.sku)?;
        let (available, tentative) = self.stock.usable(place.shard, refused.sku, refused.location);
        let code = &self.catalog.skus[refused.sku as usize].code;
        demand!(
            (refused.available, refused.tentative) == (available, tentative),
            "I17",
            "sold_out of SKU {code} at location {} says available {} and tentative {}, the \
             records before it leave {available} and {tentative}",
            refused.location,
            refused.available,
            refused.tentative
        );
        demand!(
            refused.asked > available.saturating_add(tentative),
            "I17",
            "sold_out of SKU {code}: asked {} is not above available {available} + tentative \
             {tentative}",
            refused.asked
        );
        self.refusals_checked += 1;
        Ok(())
    }
}
