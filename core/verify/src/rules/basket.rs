//! BUY and RESERVE: an order begins.

use crate::bucket::Bucket;
use crate::decisions::{ALLOW, CHALLENGE, Decisions, FRAUD, PRICING, REVIEW};
use crate::failure::{Check, broken, demand};
use crate::instruct::{Cause, merge};
use crate::order::{Few, Holding, Line, Order};
use crate::record::{Basket, BasketLine, COUPON, Movement, QUANTITY_MAX};
use crate::rules::slots::Slots;
use crate::state::{Place, State};

/// What a basket's movements and instructions add up to; kept between baskets for its memory.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    lines: Vec<BasketLine>,
    order_lines: Vec<Line>,
    slots: Slots,
    /// Units granted, by line and cell.
    holdings: Vec<(u16, u32, u64)>,
    /// Units that were tentative, by line and cell; for a cross-shard basket alone.
    taken: Vec<(u16, u32, u64)>,
}

impl Gathered {
    fn clear(&mut self) {
        self.lines.clear();
        self.order_lines.clear();
        self.slots.clear();
        self.holdings.clear();
        self.taken.clear();
    }
}

impl State {
    /// Applies BUY or RESERVE.
    pub(crate) fn basket(&mut self, place: Place, basket: &Basket<'_>) -> Check {
        self.note_key(place, basket.key)?;
        if let Some(order) = self.orders.live.get(&basket.key) {
            let first = order.last_seq;
            return Err(broken(
                "I7",
                format!("key {:032x} makes an order twice; it is at record {first}", basket.key),
            ));
        }
        let risk = self.check_decisions(place, basket)?;
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        self.check_lines(place, basket, &mut gathered)?;
        self.gather(place, basket, &mut gathered)?;
        let taken_seq =
            if basket.cross { self.check_taken(place, basket, &mut gathered)? } else { place.seq };
        self.grant(&mut gathered)?;
        self.check_fill(basket, &gathered.order_lines)?;
        self.check_total(place, basket, &gathered.lines, &gathered.order_lines)?;
        self.check_limits(basket, &gathered.order_lines, taken_seq)?;
        if basket.reserve {
            check_reservation(place, basket)?;
        }
        let cause = Cause::Order { customer: basket.customer };
        self.in_flight.instruct(place, basket.key, cause, basket.instructions)?;
        merge(&mut gathered.holdings);
        let order = Order {
            home: place.shard,
            placed: !basket.reserve,
            created_seq: place.seq,
            version: 1,
            last_seq: place.seq,
            customer: basket.customer,
            deadline: basket.deadline,
            hard_deadline: basket.hard_deadline,
            risk,
            asked_as_buy: basket.asked_as_buy,
            lines: Few::from_slice(&gathered.order_lines),
            holdings: hold(&gathered.holdings),
        };
        self.gathered = gathered;
        self.orders.live.insert(basket.key, order);
        if basket.reserve {
            self.orders.note_deadline(place.shard, basket.key, basket.deadline, true);
        }
        Ok(())
    }

    /// Checks what policies had decided (I16); returns the order's risk.
    fn check_decisions(&self, place: Place, basket: &Basket<'_>) -> Check<u8> {
        let risk = basket.decisions.map_or(0, |decisions| decisions.risk);
        if let Some(Decisions { pricing, fraud, .. }) = basket.decisions {
            for (number, kind) in [(pricing, PRICING), (fraud, FRAUD)] {
                if number > 0 {
                    self.policies.check_known(place.shard, number, kind)?;
                }
            }
        }
        let open = matches!(risk, CHALLENGE | REVIEW);
        demand!(basket.reserve || !open, "I16", "BUY stands at risk {risk}, above {ALLOW}");
        demand!(
            !basket.asked_as_buy || open,
            "I16",
            "RESERVE was asked as a buy at risk {risk}, outside {CHALLENGE}..={REVIEW}"
        );
        demand!(
            !basket.asked_as_buy || basket.deadline == basket.hard_deadline,
            "I16",
            "RESERVE that was asked as a buy has deadline {} and hard deadline {}",
            basket.deadline,
            basket.hard_deadline
        );
        Ok(risk)
    }

    /// Checks each line by itself and keeps it.
    fn check_lines(&self, place: Place, basket: &Basket<'_>, gathered: &mut Gathered) -> Check {
        for (at, line) in basket.lines().enumerate() {
            self.catalog.view(place.shard, line.sku)?;
            demand!(
                (1..=QUANTITY_MAX).contains(&line.asked),
                "I13",
                "line {at} asks {} units, outside 1..={QUANTITY_MAX}",
                line.asked
            );
            let sku = &self.catalog.skus[line.sku as usize];
            demand!(
                sku.currency == basket.currency,
                "I6",
                "line {at} is of SKU {} in currency {}, the order in {}",
                sku.code,
                sku.currency,
                basket.currency
            );
            gathered.slots.push(&self.catalog.skus, line.sku, line.location);
            gathered.lines.push(line);
        }
        Ok(())
    }

    /// Adds up movements and instructions; applies the movements to their cells.
    fn gather(&mut self, place: Place, basket: &Basket<'_>, gathered: &mut Gathered) -> Check {
        let granted = if basket.reserve { Bucket::Reserved } else { Bucket::Committed };
        let from = if basket.cross { Bucket::Tentative } else { Bucket::Available };
        let here = basket.movements.iter().map(|movement| (movement, true));
        let there = basket.instructions.iter().map(|movement| (movement, false));
        for (movement, is_here) in here.chain(there) {
            let movement = movement?;
            let grants = movement.to == granted;
            let gives_back = basket.cross && movement.to == Bucket::Available;
            demand!(
                movement.from == from && (grants || gives_back) && (is_here || basket.cross),
                "V1",
                "{} {} {}",
                if basket.reserve { "RESERVE" } else { "BUY" },
                if is_here { "moves" } else { "instructs" },
                movement.words()
            );
            self.check_shard(place, &movement, is_here)?;
            let cell = self.stock.cell(movement.cell)?;
            let (sku, location) = (cell.sku, cell.location);
            gathered.slots.add(&self.catalog.skus, &movement, sku, location, grants)?;
            let units = (movement.line, movement.cell, u64::from(movement.quantity));
            if grants {
                gathered.holdings.push(units);
            }
            if basket.cross {
                gathered.taken.push(units);
            }
            if is_here {
                self.stock.apply(&mut self.catalog, &movement)?;
            }
        }
        Ok(())
    }

    /// Movements are of this shard's cells, instructions of others'.
    #[expect(clippy::unused_self, reason = "one shape with the other checks of a record")]
    pub(crate) fn check_shard(&self, place: Place, movement: &Movement, is_here: bool) -> Check {
        demand!(
            (movement.shard() == place.shard) == is_here,
            "V1",
            "section of shard {} {} {}",
            place.shard,
            if is_here { "moves" } else { "instructs" },
            movement.words()
        );
        Ok(())
    }

    /// A cross-shard basket settles its shards' tentative units to the last one; returns the
    /// seq of the first TAKE.
    fn check_taken(
        &mut self,
        place: Place,
        basket: &Basket<'_>,
        gathered: &mut Gathered,
    ) -> Check<u64> {
        merge(&mut gathered.taken);
        let mut shards: Vec<u16> =
            gathered.taken.iter().map(|(_, cell, _)| (cell >> 24) as u16).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut first_seq = place.seq;
        for shard in shards {
            let settled: Vec<(u16, u32, u64)> = gathered
                .taken
                .iter()
                .filter(|(_, cell, _)| cell >> 24 == u32::from(shard))
                .copied()
                .collect();
            let Some(take) = self.in_flight.tentatives.get_mut(&(basket.key, shard)) else {
                return Err(broken(
                    "V2",
                    format!("basket settles units of shard {shard}, which took none for it"),
                ));
            };
            demand!(
                *take.units == *settled && take.home == place.shard,
                "I4",
                "shard {shard} took (line, cell, units) {:?} for shard {}, the basket in shard {} \
                 settles {settled:?}",
                take.units,
                take.home,
                place.shard
            );
            demand!(
                take.customer == basket.customer,
                "I9",
                "units were taken for customer {:#x}, the basket is of {:#x}",
                take.customer,
                basket.customer
            );
            first_seq = first_seq.min(take.seq);
            take.instructed = true;
            if shard == place.shard {
                self.in_flight.tentatives.remove(&(basket.key, shard));
            }
        }
        Ok(first_seq)
    }

    /// Turns granted units into the order's lines; the rest of what was asked is cancelled.
    fn grant(&self, gathered: &mut Gathered) -> Check {
        for (at, line) in gathered.lines.iter().enumerate() {
            let granted = gathered.slots.units(&self.catalog.skus, at)?;
            demand!(
                granted <= u64::from(line.asked),
                "I5",
                "line {at} asked {} and is granted {granted}",
                line.asked
            );
            let held = granted as u32;
            let cancelled = line.asked - held;
            let (sku, asked) = (line.sku, line.asked);
            let line = Line { sku, asked, held, shipped: 0, short: 0, cancelled };
            line.check()?;
            gathered.order_lines.push(line);
        }
        Ok(())
    }

    /// Checks what was granted against the fill policy (I10). Uses of coupons that go with goods do
    /// not count as filling a part.
    fn check_fill(&self, basket: &Basket<'_>, lines: &[Line]) -> Check {
        let is_use = |line: &&Line| self.catalog.skus[line.sku as usize].kind == COUPON;
        let counts_all = basket.fill == 0 || lines.iter().all(|line| is_use(&line));
        let counted = || lines.iter().filter(|line| counts_all || !is_use(line));
        let granted: u64 = counted().map(|line| u64::from(line.held)).sum();
        let asked: u64 = counted().map(|line| u64::from(line.asked)).sum();
        let least = match basket.fill {
            0 => asked,
            1 => u64::from(basket.fill_min),
            _ => 1,
        };
        demand!(
            granted >= least.max(1),
            "I10",
            "fill policy {} demands at least {least} of {asked} units, {granted} are granted",
            basket.fill
        );
        Ok(())
    }

    /// Recomputes the total (I6).
    fn check_total(
        &self,
        place: Place,
        basket: &Basket<'_>,
        lines: &[BasketLine],
        granted: &[Line],
    ) -> Check {
        let mut total = 0_i128;
        for (at, (line, order_line)) in lines.iter().zip(granted).enumerate() {
            let price = if basket.priced {
                line.unit_price
            } else {
                self.catalog.view(place.shard, line.sku)?.price
            };
            let (unit, discount) = (i128::from(price), i128::from(line.discount));
            let (asked, units) = (i128::from(line.asked), i128::from(order_line.held));
            demand!(unit >= 0, "I6", "unit price of line {at} is {unit}, below 0");
            demand!(
                (0..=unit * asked).contains(&discount),
                "I6",
                "discount of line {at} is {discount}, outside 0..={}",
                unit * asked
            );
            total += unit * units - discount * units / asked;
        }
        demand!(
            total == i128::from(basket.total),
            "I6",
            "total is {}, the lines add up to {total}",
            basket.total
        );
        Ok(())
    }

    /// Counts the customer's units of limited SKUs and checks each limit (I9).
    fn check_limits(&mut self, basket: &Basket<'_>, lines: &[Line], taken_seq: u64) -> Check {
        for line in lines {
            self.count_limited(basket.customer, line.sku, u64::from(line.held), taken_seq)?;
            for at in 0..self.catalog.skus[line.sku as usize].components.len() {
                let (component, each) = self.catalog.skus[line.sku as usize].components[at];
                let units = u64::from(line.held) * u64::from(each);
                self.count_limited(basket.customer, component, units, taken_seq)?;
            }
        }
        Ok(())
    }

    fn count_limited(&mut self, customer: u64, sku: u32, units: u64, taken_seq: u64) -> Check {
        let found = &self.catalog.skus[sku as usize];
        if !found.limit_counted || units == 0 {
            return Ok(());
        }
        let limit = found.limit_at(taken_seq);
        let count = self.limits.add(customer, sku, units);
        if let Some(limit) = limit {
            let code = &found.code;
            demand!(customer != 0, "I9", "SKU {code} has a limit of {limit}, no customer is named");
            demand!(
                count <= u64::from(limit),
                "I9",
                "customer {customer:#x} has {count} units of SKU {code}, the limit is {limit}"
            );
        }
        Ok(())
    }
}

/// Turns merged sums into holdings.
fn hold(units: &[(u16, u32, u64)]) -> Few<Holding> {
    if let [(line, cell, units)] = units {
        return Few::One(Holding { line: *line, cell: *cell, units: *units });
    }
    let all = units.iter().map(|&(line, cell, units)| Holding { line, cell, units });
    Few::Many(all.collect())
}

fn check_reservation(place: Place, basket: &Basket<'_>) -> Check {
    let (deadline, hard) = (basket.deadline, basket.hard_deadline);
    demand!(
        place.time < deadline && deadline <= hard,
        "I8",
        "reservation at {} has deadline {deadline} and hard deadline {hard}; they must ascend",
        place.time
    );
    Ok(())
}
