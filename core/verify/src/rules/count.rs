//! A count that breaks promises, and what becomes of each of their orders.

use crate::bucket::Bucket;
use crate::failure::{Check, broken, demand};
use crate::instruct::{Cause, Telling};
use crate::order::{Holding, Order, Promise};
use crate::record::{Broken, FollowUp, StockRecord};
use crate::rules::follow_up::check_place;
use crate::rules::slots::Slots;
use crate::state::{Place, State};

impl State {
    /// Checks which promises a count breaks, and notes that their orders are to be told.
    pub(super) fn break_promises(&mut self, place: Place, record: &StockRecord<'_>) -> Check {
        if record.breaks.len() == 0 {
            return Ok(());
        }
        let Some(entry) = record.entries.iter().next() else { return Ok(()) };
        let breaks: Vec<Broken> = record.breaks.iter().collect::<Check<_>>()?;
        let cell = self.stock.cell(entry.cell)?;
        let available = cell.units[Bucket::Available as usize];
        demand!(
            available == 0 && record.movements.iter().flatten().all(|m| m.to == Bucket::Adjust),
            "V7",
            "count breaks promises of cell {:#x} and leaves {available} units available",
            entry.cell
        );
        let promises = self.orders.promises(entry.cell);
        let held = |placed: bool| -> u64 {
            promises.iter().filter(|p| p.placed == placed).map(|p| p.units).sum()
        };
        let (reserved, committed) =
            (cell.units[Bucket::Reserved as usize], cell.units[Bucket::Committed as usize]);
        demand!(
            (held(false), held(true)) == (reserved, committed),
            "I4",
            "count breaks promises of cell {:#x}, which has {reserved} reserved and {committed} \
             committed units; its orders hold {} and {}",
            entry.cell,
            held(false),
            held(true)
        );
        check_order(&breaks, &promises)?;
        for broken in breaks {
            let told = Telling { count: record.key, cell: entry.cell, broken };
            self.in_flight.tell_break(place, told)?;
        }
        Ok(())
    }

    /// Applies BREAK: a line loses units that a count has not found, and what else its broken
    /// kits held is available again; uses of coupons follow the last goods.
    pub(crate) fn break_promise(&mut self, place: Place, record: &FollowUp<'_>) -> Check {
        let mut order = self.take_out(record)?;
        check_place(place, record, &order)?;
        demand!(
            order.placed || place.time < order.deadline,
            "I8",
            "BREAK at {} of a reservation with deadline {}",
            place.time,
            order.deadline
        );
        let told = self.told_break(place, record)?;
        let (uses, fate) = self.uses(record, &order)?;
        let units = self.broken_units(record, &order, &told, &uses)?;
        let following = following(record, &order, &told, &uses, units)?;
        self.move_units(place, record, &mut order)?;
        let cause = Cause::Order { customer: order.customer };
        self.in_flight.instruct(place, record.order, cause, record.instructions)?;
        order.version = record.version;
        order.last_seq = place.seq;
        let (customer, placed) = (order.customer, order.placed);
        let line = &mut order.lines.as_mut_slice()[usize::from(told.broken.line)];
        demand!(
            units <= line.held,
            "I5",
            "BREAK of {units} units of line {}, which holds {}",
            told.broken.line,
            line.held
        );
        line.held -= units;
        line.short += units;
        let line = *line;
        self.uncount_limited(customer, &line, units);
        for (at, units) in following {
            let line = &mut order.lines.as_mut_slice()[at];
            line.held -= units;
            if fate == Bucket::Shipped {
                line.shipped += units;
                continue;
            }
            line.cancelled += units;
            let line = *line;
            self.uncount_limited(customer, &line, units);
        }
        if !placed && order.lines.as_slice().iter().all(|line| line.held == 0) {
            self.orders.note_no_deadline(place.shard);
        }
        self.keep(place, record, order)
    }

    /// Takes the oldest break that this order's home was told; the record must carry it out.
    fn told_break(&mut self, place: Place, record: &FollowUp<'_>) -> Check<Telling> {
        let mut lost = None;
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            if movement.to == Bucket::Adjust {
                demand!(lost.is_none(), "V7", "BREAK loses units twice: {}", movement.words());
                lost = Some(movement);
            }
        }
        let Some(lost) = lost else {
            return Err(broken("V7", "BREAK loses no units".to_owned()));
        };
        let told = self.in_flight.next_break(lost.shard(), place.shard);
        let says = Telling {
            count: record.key,
            cell: lost.cell,
            broken: Broken {
                order: record.order,
                home: place.shard,
                line: lost.line,
                units: lost.quantity,
            },
        };
        demand!(
            told == Some(says),
            "V7",
            "BREAK for count {:032x} of {}; the oldest that shard {} was told is {told:x?}",
            record.key,
            lost.words(),
            place.shard
        );
        Ok(says)
    }

    /// Returns the units of the line that a record breaks: as many kits as the lost units were
    /// part of, and all of each.
    fn broken_units(
        &self,
        record: &FollowUp<'_>,
        order: &Order,
        told: &Telling,
        uses: &[bool],
    ) -> Check<u32> {
        let mut slots = Slots::default();
        for line in order.lines.as_slice() {
            slots.push(&self.catalog.skus, line.sku, 0);
        }
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            let own = movement.line == told.broken.line;
            demand!(
                own || uses.get(movement.line as usize) == Some(&true),
                "V7",
                "BREAK of line {} moves {}",
                told.broken.line,
                movement.words()
            );
            let cell = self.stock.cell(movement.cell)?;
            slots.add(&self.catalog.skus, &movement, cell.sku, cell.location, true)?;
        }
        let at = usize::from(told.broken.line);
        let moved = slots.units(&self.catalog.skus, at)?;
        let line = &order.lines.as_slice()[at];
        let lost_sku = self.stock.cell(told.cell)?.sku;
        let components = &self.catalog.skus[line.sku as usize].components;
        let each = components.iter().find(|(sku, _)| *sku == lost_sku).map_or(1, |(_, each)| *each);
        let units = told.broken.units.div_ceil(each);
        let said: Vec<(u16, u32)> = record.lines().collect();
        demand!(
            moved == u64::from(units) && said == [(told.broken.line, units)],
            "V7",
            "BREAK of {} units lost at {each} a piece breaks {units} of line {at}; {moved} are \
             moved, the entries say {said:?}",
            told.broken.units
        );
        Ok(units)
    }
}

/// Returns the lines and units of uses of coupons that follow: if the break takes the last goods,
/// all but those in the counted cell, which the count tells of itself; else none.
fn following(
    record: &FollowUp<'_>,
    order: &Order,
    told: &Telling,
    uses: &[bool],
    broken: u32,
) -> Check<Vec<(usize, u32)>> {
    let lines = order.lines.as_slice();
    let own = usize::from(told.broken.line);
    let stays = |at: usize| lines[at].held > if at == own { broken } else { 0 };
    let goods_stay = (0..lines.len()).any(|at| !uses[at] && stays(at));
    let mut list = Vec::new();
    for at in (0..lines.len()).filter(|at| uses[*at] && *at != own) {
        let mut moved = 0;
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            if usize::from(movement.line) == at {
                moved += u64::from(movement.quantity);
            }
        }
        let elsewhere = |h: &&Holding| usize::from(h.line) == at && h.cell != told.cell;
        let held: u64 = order.holdings.as_slice().iter().filter(elsewhere).map(|h| h.units).sum();
        let due = if goods_stay { 0 } else { held };
        demand!(
            moved == due,
            "V7",
            "BREAK of line {own} moves {moved} units of line {at}, a use of a coupon, of which \
             {due} are to follow"
        );
        if moved > 0 {
            list.push((at, moved as u32));
        }
    }
    Ok(list)
}

/// Checks that breaks take promises in their order, each whole but for the last.
fn check_order(breaks: &[Broken], promises: &[Promise]) -> Check {
    for (at, found) in breaks.iter().enumerate() {
        let last = at + 1 == breaks.len();
        let due = promises.get(at).filter(|due| {
            let same = (due.order, due.home, due.line.0) == (found.order, found.home, found.line);
            let units = u64::from(found.units);
            same && (due.units == units || (last && units < due.units))
        });
        demand!(
            due.is_some(),
            "V7",
            "break {at} of {} is {found:x?}, but the promise whose turn it is is {:x?}",
            breaks.len(),
            promises.get(at)
        );
    }
    Ok(())
}
