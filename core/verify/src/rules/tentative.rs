//! TAKE and SETTLE: what the shards of a cross-shard basket or transfer do for it.

use crate::bucket::Bucket;
use crate::failure::{Check, broken, demand};
use crate::instruct::{Cause, Tentative, check_same, merge};
use crate::record::{Movement, Settle, Take};
use crate::state::{Place, State};

impl State {
    /// Applies TAKE: available units become tentative for an order that has no record yet.
    pub(crate) fn take(&mut self, place: Place, take: &Take<'_>) -> Check {
        demand!(take.order != 0, "I7", "TAKE is for order id 0");
        demand!(
            take.home < self.shards,
            "V2",
            "TAKE names home shard {} of {} shards",
            take.home,
            self.shards
        );
        demand!(take.movements.len() > 0, "V2", "TAKE takes nothing");
        demand!(
            !self.orders.live.contains_key(&take.order),
            "V2",
            "TAKE for order {:032x}, which has its record already",
            take.order
        );
        let mut units = Vec::with_capacity(take.movements.len());
        for movement in take.movements.iter() {
            let movement = movement?;
            demand!(
                (movement.from, movement.to) == (Bucket::Available, Bucket::Tentative),
                "V1",
                "TAKE moves {}",
                movement.words()
            );
            self.check_shard(place, &movement, true)?;
            self.stock.apply(&mut self.catalog, &movement)?;
            units.push((movement.line, movement.cell, u64::from(movement.quantity)));
        }
        merge(&mut units);
        let tentative = Tentative {
            home: take.home,
            customer: take.customer,
            seq: place.seq,
            instructed: false,
            units: units.into_boxed_slice(),
        };
        let other = self.in_flight.tentatives.insert((take.order, place.shard), tentative);
        if let Some(other) = other {
            let first = other.seq;
            return Err(broken(
                "V2",
                format!("shard {} takes twice for one order, first at {first}", place.shard),
            ));
        }
        Ok(())
    }

    /// Applies SETTLE: an instruction is carried out, or a TAKE is undone.
    pub(crate) fn settle(&mut self, place: Place, settle: &Settle<'_>) -> Check {
        let done: Vec<Movement> = settle.movements.iter().collect::<Check<_>>()?;
        for movement in &done {
            self.check_shard(place, movement, true)?;
        }
        if settle.carried_out {
            self.carry_out(place, settle, &done)
        } else {
            self.undo(place, settle, &done)
        }
    }

    fn carry_out(&mut self, place: Place, settle: &Settle<'_>, done: &[Movement]) -> Check {
        let instruction =
            self.in_flight.settle(settle.home, place.shard, settle.number, settle.id)?;
        check_same(&instruction, done)?;
        let (transfer, customer) = match instruction.cause {
            Cause::Transfer { .. } => (true, 0),
            Cause::Order { customer } => (false, customer),
        };
        demand!(
            settle.customer == customer,
            "V2",
            "SETTLE names customer {:#x}, the instruction is for {customer:#x}",
            settle.customer
        );
        demand!(
            settle.entries.len() == usize::from(transfer),
            "I14",
            "SETTLE of {} has {} cell entries",
            if transfer { "a transfer" } else { "an order" },
            settle.entries.len()
        );
        for entry in settle.entries.iter() {
            self.stocked_view(place.shard, entry.sku)?;
            demand!(
                instruction.cause == Cause::Transfer { sku: entry.sku, to: entry.location },
                "V2",
                "SETTLE lists a cell of SKU index {} at location {} for {:?}",
                entry.sku,
                entry.location,
                instruction.cause
            );
            self.stock.list(place.shard, place.seq, &entry)?;
        }
        for movement in done {
            if transfer {
                self.stock.apply_listed(&mut self.catalog, place.seq, movement)?;
            } else {
                self.stock.apply(&mut self.catalog, movement)?;
            }
        }
        if instruction.settles_take() {
            self.in_flight.tentatives.remove(&(settle.id, place.shard));
        }
        Ok(())
    }

    fn undo(&mut self, place: Place, settle: &Settle<'_>, done: &[Movement]) -> Check {
        demand!(settle.entries.len() == 0, "I14", "an undo has cell entries");
        let key = (settle.id, place.shard);
        let Some(take) = self.in_flight.tentatives.remove(&key) else {
            let shard = place.shard;
            return Err(broken(
                "V2",
                format!("undo for order {:032x}, for which shard {shard} took none", settle.id),
            ));
        };
        demand!(
            !take.instructed,
            "V2",
            "undo of what shard {} took, after the order's record instructed it",
            place.shard
        );
        demand!(
            (take.home, take.customer) == (settle.home, settle.customer),
            "V2",
            "undo names home shard {} and customer {:#x}, the TAKE {} and {:#x}",
            settle.home,
            settle.customer,
            take.home,
            take.customer
        );
        let mut units = Vec::with_capacity(done.len());
        for movement in done {
            demand!(
                (movement.from, movement.to) == (Bucket::Tentative, Bucket::Available),
                "V1",
                "an undo moves {}",
                movement.words()
            );
            self.stock.apply(&mut self.catalog, movement)?;
            units.push((movement.line, movement.cell, u64::from(movement.quantity)));
        }
        merge(&mut units);
        demand!(
            *take.units == *units,
            "I4",
            "shard {} took (line, cell, units) {:?}, the undo gives back {units:?}",
            place.shard,
            take.units
        );
        Ok(())
    }
}
