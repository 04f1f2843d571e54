//! PLACE, EXTEND, RELEASE, CANCEL, SHIP, SHORT, EXPIRE and RISK: what becomes of an order.

use crate::bucket::Bucket;
use crate::decisions::{ALLOW, CHALLENGE, DENY, REVIEW};
use crate::failure::{Check, broken, demand};
use crate::instruct::Cause;
use crate::order::{Line, Order};
use crate::record::{
    BREAK, CANCEL, COUPON, EXPIRE, EXTEND, FollowUp, PLACE, RELEASE, RISK, SHIP, SHORT, name,
};
use crate::rules::slots::Slots;
use crate::state::{Place, State};

impl State {
    /// Applies a follow-up of an order.
    pub(crate) fn follow_up(&mut self, place: Place, record: &FollowUp<'_>) -> Check {
        if record.kind == EXPIRE {
            demand!(record.key == 0, "I7", "EXPIRE has key {:032x}, not 0", record.key);
        } else {
            self.note_key(place, record.key)?;
        }
        let mut order = self.take_out(record)?;
        check_header(place, record, &order)?;
        match record.kind {
            EXTEND => extend(place, record, &mut order)?,
            PLACE | RELEASE | EXPIRE => self.end_reservation(place, record, &mut order)?,
            RISK => self.risk(place, record, &mut order)?,
            _ => self.part(place, record, &mut order)?,
        }
        let cause = Cause::Order { customer: order.customer };
        self.in_flight.instruct(place, record.order, cause, record.instructions)?;
        order.version = record.version;
        order.last_seq = place.seq;
        self.keep(place, record, order)
    }

    /// Takes an order out while it changes; it is put back if something of it is left.
    pub(super) fn take_out(&mut self, record: &FollowUp<'_>) -> Check<Order> {
        let Some(order) = self.orders.live.remove(&record.order) else {
            return Err(broken(
                "I4",
                format!(
                    "{} of order {:032x}, of which nothing is reserved or committed",
                    name(record.kind),
                    record.order
                ),
            ));
        };
        Ok(order)
    }

    /// Puts a changed order back, if something of it is left.
    pub(super) fn keep(&mut self, place: Place, record: &FollowUp<'_>, order: Order) -> Check {
        for line in order.lines.as_slice() {
            line.check()?;
        }
        if order.lines.as_slice().iter().all(|line| line.held == 0) {
            self.orders.settled[place.shard as usize] += 1;
        } else {
            self.orders.live.insert(record.order, order);
            if record.kind == EXTEND {
                self.orders.note_deadline(place.shard, record.order, record.deadline, false);
            }
        }
        Ok(())
    }

    /// RISK: deny ends the reservation, allow places what was asked as a buy (I16).
    fn risk(&mut self, place: Place, record: &FollowUp<'_>, order: &mut Order) -> Check {
        demand!(
            is_open(order.risk),
            "I16",
            "RISK of an order at risk {}, outside {CHALLENGE}..={REVIEW}",
            order.risk
        );
        order.risk = record.risk;
        if moved_to(record, order).is_some() {
            self.allowed += u64::from(record.risk == ALLOW);
            return self.end_reservation(place, record, order);
        }
        demand!(
            record.movements.len() == 0 && record.instructions.len() == 0,
            "V1",
            "RISK {} has {} movements and {} instructions",
            record.risk,
            record.movements.len(),
            record.instructions.len()
        );
        Ok(())
    }

    /// PLACE, RELEASE, EXPIRE, and RISK where it ends a reservation, move every reserved unit.
    fn end_reservation(&mut self, place: Place, record: &FollowUp<'_>, order: &mut Order) -> Check {
        self.move_units(place, record, order)?;
        if let Some(left) = order.holdings.as_slice().iter().find(|holding| holding.units > 0) {
            return Err(broken(
                "I4",
                format!(
                    "{} leaves {} units of line {} reserved in cell {}:{}",
                    name(record.kind),
                    left.units,
                    left.line,
                    left.cell >> 24,
                    left.cell & crate::record::CELL_ANY
                ),
            ));
        }
        self.orders.note_no_deadline(place.shard);
        if record.kind == PLACE || record.risk == ALLOW {
            order.placed = true;
            return self.hold_again(record, order);
        }
        let customer = order.customer;
        for line in order.lines.as_mut_slice() {
            self.uncount_limited(customer, line, line.held);
            line.cancelled += line.held;
            line.held = 0;
        }
        Ok(())
    }

    /// After a PLACE the same units are held, now committed.
    #[expect(clippy::unused_self, reason = "one shape with the other steps of a record")]
    fn hold_again(&self, record: &FollowUp<'_>, order: &mut Order) -> Check {
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            let holdings = order.holdings.as_mut_slice();
            let at = holdings
                .binary_search_by_key(&(movement.line, movement.cell), |h| (h.line, h.cell));
            if let Ok(at) = at {
                holdings[at].units += u64::from(movement.quantity);
            }
        }
        Ok(())
    }

    /// Returns which lines are uses of coupons that go with goods of the same order, and where they
    /// go once none of those are held: out if any goods have left, in this record or before, else
    /// back.
    pub(super) fn uses(&self, record: &FollowUp<'_>, order: &Order) -> Check<(Vec<bool>, Bucket)> {
        let lines = order.lines.as_slice();
        let is_use = |line: &Line| self.catalog.skus[line.sku as usize].kind == COUPON;
        let goods = !lines.iter().all(is_use);
        let uses: Vec<bool> = lines.iter().map(|line| goods && is_use(line)).collect();
        let mut of_goods = lines.iter().zip(&uses).filter(|(_, is_use)| !**is_use);
        let mut left = of_goods.any(|(line, _)| line.shipped > 0);
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            let is_use = uses.get(movement.line as usize) == Some(&true);
            left |= movement.to == Bucket::Shipped && !is_use;
        }
        Ok((uses, if left { Bucket::Shipped } else { Bucket::Available }))
    }

    /// CANCEL, SHIP and SHORT move what their line entries say, and the uses of coupons behind the
    /// last goods.
    fn part(&mut self, place: Place, record: &FollowUp<'_>, order: &mut Order) -> Check {
        let mut slots = Slots::default();
        for line in order.lines.as_slice() {
            slots.push(&self.catalog.skus, line.sku, 0);
        }
        let (uses, fate) = self.uses(record, order)?;
        self.move_units(place, record, order)?;
        for movement in record.movements.iter().chain(record.instructions.iter()) {
            let movement = movement?;
            let cell = self.stock.cell(movement.cell)?;
            slots.add(&self.catalog.skus, &movement, cell.sku, cell.location, true)?;
        }
        let mut units = vec![0_u64; order.lines.as_slice().len()];
        for (line, quantity) in record.lines() {
            let Some(sum) = units.get_mut(line as usize) else {
                let lines = units.len();
                return Err(broken("I5", format!("line entry {line} of {lines} lines")));
            };
            demand!(
                !uses[line as usize],
                "I5",
                "{} names line {line}, a use of a coupon, which follows its order's goods",
                name(record.kind)
            );
            *sum += u64::from(quantity);
        }
        if record.lines().next().is_none() {
            // No entry stands for everything that is committed.
            demand!(record.kind != SHORT, "I5", "SHORT has no line entry");
            units = order.lines.as_slice().iter().map(|line| u64::from(line.held)).collect();
        } else {
            let lines = order.lines.as_slice();
            let stays = |at: usize| !uses[at] && u64::from(lines[at].held) != units[at];
            if !(0..lines.len()).any(stays) {
                for at in (0..lines.len()).filter(|at| uses[*at]) {
                    units[at] = u64::from(lines[at].held);
                }
            }
        }
        let customer = order.customer;
        for (at, (line, units)) in order.lines.as_mut_slice().iter_mut().zip(units).enumerate() {
            let moved = slots.units(&self.catalog.skus, at)?;
            demand!(
                moved == units,
                "I5",
                "{} of line {at}: the entries say {units} units, {moved} are moved",
                name(record.kind)
            );
            demand!(
                units <= u64::from(line.held),
                "I5",
                "{} of {units} units of line {at}, which has {} committed",
                name(record.kind),
                line.held
            );
            let units = units as u32;
            line.held -= units;
            let left = if uses[at] { fate == Bucket::Shipped } else { record.kind == SHIP };
            match record.kind {
                _ if left => line.shipped += units,
                SHORT if !uses[at] => line.short += units,
                _ => line.cancelled += units,
            }
            if !left {
                self.uncount_limited(customer, line, units);
            }
        }
        Ok(())
    }

    /// Takes the record's units off the order's holdings and applies those of this shard.
    pub(super) fn move_units(
        &mut self,
        place: Place,
        record: &FollowUp<'_>,
        order: &mut Order,
    ) -> Check {
        let held = if order.placed { Bucket::Committed } else { Bucket::Reserved };
        let legal: &[Bucket] = match record.kind {
            PLACE => &[Bucket::Committed],
            RISK if order.risk == ALLOW => &[Bucket::Committed],
            RISK | RELEASE | EXPIRE | CANCEL => &[Bucket::Available],
            SHIP => &[Bucket::Shipped],
            SHORT => &[Bucket::Missing],
            _ => &[Bucket::Adjust, Bucket::Available],
        };
        let (uses, fate) = if matches!(record.kind, CANCEL | SHIP | SHORT | BREAK) {
            self.uses(record, order)?
        } else {
            (Vec::new(), Bucket::Available)
        };
        let here = record.movements.iter().map(|movement| (movement, true));
        let there = record.instructions.iter().map(|movement| (movement, false));
        for (movement, is_here) in here.chain(there) {
            let movement = movement?;
            let is_use = uses.get(movement.line as usize) == Some(&true);
            let lost = record.kind == BREAK && movement.to == Bucket::Adjust;
            let is_legal =
                if is_use && !lost { movement.to == fate } else { legal.contains(&movement.to) };
            demand!(
                movement.from == held && is_legal,
                "V1",
                "{} moves {}",
                name(record.kind),
                movement.words()
            );
            self.check_shard(place, &movement, is_here)?;
            let holdings = order.holdings.as_mut_slice();
            let at = holdings
                .binary_search_by_key(&(movement.line, movement.cell), |h| (h.line, h.cell));
            let held = at.ok().map_or(0, |at| holdings[at].units);
            demand!(
                held >= u64::from(movement.quantity),
                "I4",
                "{} moves {}, of which the order holds {held}",
                name(record.kind),
                movement.words()
            );
            if let Ok(at) = at {
                holdings[at].units -= u64::from(movement.quantity);
            }
            if is_here {
                self.stock.apply(&mut self.catalog, &movement)?;
            }
        }
        Ok(())
    }

    /// Takes units off the customer's counts.
    pub(super) fn uncount_limited(&mut self, customer: u64, line: &Line, units: u32) {
        let sku = &self.catalog.skus[line.sku as usize];
        if sku.limit_counted {
            self.limits.subtract(customer, line.sku, u64::from(units));
        }
        for (component, each) in &sku.components {
            if self.catalog.skus[*component as usize].limit_counted {
                let units = u64::from(units) * u64::from(*each);
                self.limits.subtract(customer, *component, units);
            }
        }
    }
}

/// Whether somebody must still look.
const fn is_open(risk: u8) -> bool {
    matches!(risk, CHALLENGE | REVIEW)
}

/// Where a RISK record moves every reserved unit to; `None` if the order stays as it is.
fn moved_to(record: &FollowUp<'_>, order: &Order) -> Option<Bucket> {
    match record.risk {
        DENY => Some(Bucket::Available),
        ALLOW if order.asked_as_buy => Some(Bucket::Committed),
        _ => None,
    }
}

fn extend(place: Place, record: &FollowUp<'_>, order: &mut Order) -> Check {
    demand!(
        record.movements.len() == 0 && record.instructions.len() == 0,
        "V1",
        "EXTEND has {} movements and {} instructions",
        record.movements.len(),
        record.instructions.len()
    );
    demand!(
        place.time < record.deadline && record.deadline <= order.hard_deadline,
        "I8",
        "reservation is extended at {} to {}, its hard deadline is {}",
        place.time,
        record.deadline,
        order.hard_deadline
    );
    let asked = place.time.saturating_add(record.time_to_live).min(order.hard_deadline);
    let asked = asked.max(order.deadline);
    demand!(
        record.deadline == asked,
        "I8",
        "reservation is extended at {} by {} ms to {}, not to {asked}",
        place.time,
        record.time_to_live,
        record.deadline
    );
    order.deadline = record.deadline;
    Ok(())
}

/// Checks shard, version, previous seq, status and deadline.
fn check_header(place: Place, record: &FollowUp<'_>, order: &Order) -> Check {
    check_place(place, record, order)?;
    let kind = name(record.kind);
    let partial = matches!(record.kind, CANCEL | SHIP | SHORT);
    demand!(
        order.placed == partial,
        "I4",
        "{kind} of an order that is {}",
        if order.placed { "placed" } else { "a reservation" }
    );
    demand!(
        partial || record.lines().next().is_none(),
        "V1",
        "{kind} has line entries, only CANCEL, SHIP and SHORT do"
    );
    demand!(
        record.kind != PLACE || !is_open(order.risk),
        "I16",
        "PLACE of an order at risk {}, above {ALLOW}",
        order.risk
    );
    let due = order.deadline <= place.time;
    demand!(
        partial || due == (record.kind == EXPIRE),
        "I8",
        "{kind} at {} of a reservation with deadline {}",
        place.time,
        order.deadline
    );
    Ok(())
}

/// Checks shard, version and previous seq.
pub(super) fn check_place(place: Place, record: &FollowUp<'_>, order: &Order) -> Check {
    let kind = name(record.kind);
    demand!(
        order.home == place.shard,
        "V1",
        "{kind} of an order of shard {} stands in a section of shard {}",
        order.home,
        place.shard
    );
    demand!(
        order.version.checked_add(1) == Some(record.version),
        "I14",
        "{kind} makes version {} of the order, the one before is {}",
        record.version,
        order.version
    );
    demand!(
        record.previous_seq == order.last_seq,
        "I14",
        "{kind} says that the order's record before it is {}, it is {}",
        record.previous_seq,
        order.last_seq
    );
    Ok(())
}
