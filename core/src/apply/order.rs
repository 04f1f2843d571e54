//! `buy` and `reserve`: an order is made.

use crate::apply::basket::{
    Planned, Resolved, Shortage, check_limits, check_shape, check_total, forget_plan, movement_of,
    plan, resolve, total,
};
use crate::apply::{Applied, Context, Scratch, fingerprint, policy, precedence, refuse, single};
use crate::codec::{
    FLAG_ASKED_AS_BUY, FLAG_CROSS, FLAG_DECIDED, FLAG_PRICED, FLAG_TOTAL, Kind, Put, begin,
    decisions, end,
};
use crate::command::{Buy, Fill, Line, Reserve};
use crate::decided::{Decided, Risk};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::order::{Detail, NewOrder, Order, OrderLine, Part};
use crate::id::{CustomerId, Key, OrderId};
use crate::limits::{HARD_CAP_MS_MAX, TTL_MS_MAX};
use crate::money::{Currency, Money};
use crate::reject::Reject;
use crate::reply::{Grants, OrderReceipt, OrderStatus, Receipt, Refusal};
use crate::state::{Known, State};
use crate::time::Timestamp;

/// Time between two samples of the refusals of one SKU, in milliseconds.
const SAMPLE_MS: u64 = 1_000;

/// What `buy` and `reserve` have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basket<'a> {
    pub(crate) key: Key,
    pub(crate) customer: CustomerId,
    pub(crate) lines: &'a [Line],
    pub(crate) fill: Fill,
    pub(crate) expected_total: Option<Money>,
    /// Time to live and hard cap of a reservation, in milliseconds.
    pub(crate) times: Option<(u64, u64)>,
    /// Whether this is a `buy`; under challenge or review it has times all the same.
    pub(crate) asked_as_buy: bool,
    pub(crate) decided: Option<&'a Decided>,
    pub(crate) fingerprint: u32,
}

impl<'a> Basket<'a> {
    pub(crate) fn of_buy(buy: &'a Buy) -> Self {
        Self {
            key: buy.key,
            customer: buy.customer,
            lines: buy.lines.as_slice(),
            fill: buy.fill,
            expected_total: buy.expected_total,
            times: review_times(buy.decided.as_deref()),
            asked_as_buy: true,
            decided: buy.decided.as_deref(),
            fingerprint: fingerprint::of_buy(buy),
        }
    }

    pub(crate) fn of_reserve(reserve: &'a Reserve) -> Self {
        Self {
            key: reserve.key,
            customer: reserve.customer,
            lines: reserve.lines.as_slice(),
            fill: reserve.fill,
            expected_total: reserve.expected_total,
            times: Some((reserve.ttl_ms, reserve.hard_cap_ms)),
            asked_as_buy: false,
            decided: reserve.decided.as_deref(),
            fingerprint: fingerprint::of_reserve(reserve),
        }
    }

    /// Returns the risk that the order is made with.
    pub(crate) fn risk(&self) -> Risk {
        risk(self.decided)
    }

    /// Returns whether the times of a reservation are in their range; `true` for `buy`.
    pub(crate) fn has_valid_times(&self) -> bool {
        self.times.is_none_or(|(ttl, cap)| {
            ttl > 0 && ttl <= TTL_MS_MAX && cap >= ttl && cap <= HARD_CAP_MS_MAX
        })
    }

    pub(crate) fn held_in(&self) -> Bucket {
        if self.times.is_some() { Bucket::Reserved } else { Bucket::Committed }
    }

    fn status(&self) -> OrderStatus {
        if self.times.is_some() { OrderStatus::Reserved } else { OrderStatus::Placed }
    }

    /// Checks that a record can hold the hard deadline: it is never cut, for a replay reads the
    /// times that were asked off the deadlines.
    pub(crate) fn check_times(&self, now: Timestamp) -> Result<(), Refusal> {
        let room = Timestamp::MAX.millis() - now.millis();
        match self.times {
            Some((_, cap)) if cap > room => Err(refuse(Reject::TtlInvalid, 0, cap, room)),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns deadline and hard deadline from a point in time; zeros for `buy`.
    fn deadlines(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let at = |ms| Timestamp::from_millis(now.millis() + ms);
        self.times.map_or((Timestamp::ZERO, Timestamp::ZERO), |(ttl, cap)| (at(ttl), at(cap)))
    }
}

/// Returns the risk that a fraud policy has decided.
#[inline]
fn risk(decided: Option<&Decided>) -> Risk {
    decided.and_then(|decided| decided.fraud).map_or(Risk::Unscored, |fraud| fraud.risk)
}

/// Returns the times of the reservation that a `buy` becomes under challenge or review.
#[inline]
fn review_times(decided: Option<&Decided>) -> Option<(u64, u64)> {
    let review_ms = decided.map_or(0, |decided| decided.review_ms);
    risk(decided).is_open().then_some((review_ms, review_ms))
}

/// Places an order in one step.
pub(crate) fn buy(state: &mut State, ctx: &mut Context<'_>, buy: &Buy) -> Applied {
    make(state, ctx, &Basket::of_buy(buy))
}

/// Reserves a basket.
pub(crate) fn reserve(state: &mut State, ctx: &mut Context<'_>, reserve: &Reserve) -> Applied {
    make(state, ctx, &Basket::of_reserve(reserve))
}

fn make(state: &mut State, ctx: &mut Context<'_>, basket: &Basket<'_>) -> Applied {
    if let Some(receipt) = single::make(state, ctx, basket) {
        return Applied::Done(Receipt::Order(receipt));
    }
    make_long(state, ctx, basket)
}

/// Makes an order of any shape.
pub(crate) fn make_long(state: &mut State, ctx: &mut Context<'_>, basket: &Basket<'_>) -> Applied {
    let mut scratch = std::mem::take(&mut state.scratch);
    let outcome = make_with(state, ctx, basket, &mut scratch);
    state.scratch = scratch;
    outcome.unwrap_or_else(Applied::Refused)
}

fn make_with(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
    scratch: &mut Scratch,
) -> Result<Applied, Refusal> {
    let (resolved, asked_total) = match check(state, basket, scratch)? {
        Checked::Repeated(receipt) => return Ok(Applied::Repeated(receipt)),
        Checked::New(resolved, total) => (resolved, total),
    };
    if !resolved.local {
        return Ok(Applied::Basket);
    }
    check_limits(state, &scratch.wants, basket.customer.0)?;
    if let Err(shortage) = plan(state, scratch, basket.lines, basket.fill) {
        return refuse_shortage(state, ctx, basket, &shortage);
    }
    let total = match basket.fill {
        Fill::All => Ok(asked_total),
        Fill::Min(_) | Fill::Partial => {
            total(state, &scratch.skus, basket.lines, Some(&scratch.granted))
        }
    };
    let total = match total {
        Ok(total) if state.has_room() => total,
        Ok(_) => {
            forget_plan(state, scratch);
            return Err(refuse(Reject::CapacityReached, 0, 0, 0));
        }
        Err(refusal) => {
            forget_plan(state, scratch);
            return Err(refusal);
        }
    };

    // The basket is accepted: nothing below may fail.
    Ok(Applied::Done(Receipt::Order(accept(state, ctx, basket, resolved, scratch, total))))
}

pub(crate) enum Checked {
    /// The order is there already.
    Repeated(Receipt),
    /// The basket may be planned; with the total of the lines as asked.
    New(Resolved, i64),
}

/// Checks a basket up to its price; its wants are left in the scratch.
pub(crate) fn check(
    state: &State,
    basket: &Basket<'_>,
    scratch: &mut Scratch,
) -> Result<Checked, Refusal> {
    check_in_turn(state, basket, scratch)
        .map_err(|found| precedence::of_basket(state, basket, found))
}

/// Checks a basket and stops at the first thing that is wrong.
fn check_in_turn(
    state: &State,
    basket: &Basket<'_>,
    scratch: &mut Scratch,
) -> Result<Checked, Refusal> {
    check_shape(basket.lines, basket.fill)?;
    if !basket.has_valid_times() {
        let ttl = basket.times.map_or(0, |(ttl, _)| ttl);
        return Err(refuse(Reject::TtlInvalid, 0, ttl, TTL_MS_MAX));
    }
    if let Some(decided) = basket.decided {
        policy::check_shape(decided, basket.lines.len())?;
    }
    match state.lookup(basket.key.bits()) {
        None => basket.check_times(state.now)?,
        Some(Known::Order(slot)) if state.orders.get(slot).fingerprint == basket.fingerprint => {
            return Ok(Checked::Repeated(Receipt::Order(receipt(state, slot))));
        }
        Some(_) => return Err(refuse(Reject::IdempotencyKeyReused, 0, 0, 0)),
    }
    if let Some(decided) = basket.decided {
        policy::check_known(state, decided)?;
        policy::check_refusal(decided)?;
    }
    let resolved = resolve(state, scratch, basket.lines, basket.customer.0)?;
    let total = total(state, &scratch.skus, basket.lines, None)?;
    check_total(resolved, total, basket.expected_total)?;
    Ok(Checked::New(resolved, total))
}

fn refuse_shortage(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
    shortage: &Shortage,
) -> Result<Applied, Refusal> {
    match *shortage {
        Shortage::SoldOut { want, asked, available, tentative } => {
            let sku = state.catalogue.get_derived(want.sku);
            if ctx.now.millis() >= sku.sampled_ms + SAMPLE_MS {
                sku.sampled_ms = ctx.now.millis();
                let out = &mut ctx.section.bytes;
                let at = begin(out, Kind::Refused, 0);
                out.put_u16(want.line);
                out.put_u16(Reject::SoldOut.number());
                out.put_u128(basket.key.bits());
                out.put_u64(basket.customer.0);
                out.put_u32(want.sku);
                out.put_u32(want.location);
                out.put_u64(asked);
                out.put_u64(available);
                out.put_u64(tentative);
                end(out, at);
                ctx.section.count += 1;
            }
            Err(refuse(Reject::SoldOut, want.line.into(), asked, available))
        }
        Shortage::PartialOnly { asked, found } => Err(refuse(Reject::PartialOnly, 0, asked, found)),
        Shortage::TooMany => Err(refuse(Reject::CapacityReached, 0, 0, 0)),
        // Units are tentative here: the flow of baskets waits for them.
        Shortage::Contended { .. } => Ok(Applied::Basket),
    }
}

fn accept(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
    resolved: Resolved,
    scratch: &mut Scratch,
    total: i64,
) -> OrderReceipt {
    let out = &mut ctx.section.bytes;
    let facts = Header { total, currency: resolved.currency, cross: false, now: ctx.now };
    let at = begin_record(out, basket, &facts, scratch.plan.len(), 0);
    put_lines(out, &scratch.skus, basket.lines);
    let to = basket.held_in();
    for planned in &scratch.plan {
        out.put_movement(&movement_of(state, planned, Bucket::Available, to));
    }
    end(out, at);
    for planned in &scratch.plan {
        let movement = movement_of(state, planned, Bucket::Available, to);
        state.cells.get_mut(planned.cell).planned -= u64::from(planned.units);
        let (units, reserved) = (planned.units.into(), to == Bucket::Reserved);
        let moved = state.move_units(planned.cell, ctx.section, |l| l.promise(units, reserved));
        moved.expect("planned units are available");
        state.count_limit_of(basket.customer.0, &movement).expect("the limit was checked");
    }
    let new = new_order(basket, resolved.currency, total, ctx);
    let mut order = Order::new(&new);
    let hard = basket.deadlines(ctx.now).1;
    if let Some((cell, units)) = simple_place(state, basket, scratch, new.deadline, hard) {
        order.set_simple(cell, units);
    } else {
        let parts = scratch.plan.iter().map(|p| part(state, p, to)).collect();
        let detail = detail(state, basket, &scratch.granted, parts, new.deadline, hard);
        order.set_detail(state.add_detail(detail));
    }
    scratch.plan.clear();
    finish(state, ctx, order, &new)
}

/// Enters a new order; its record has been written.
fn finish(state: &mut State, ctx: &mut Context<'_>, order: Order, new: &NewOrder) -> OrderReceipt {
    let slot = state.add_order(order);
    note_made(state, ctx, slot, new);
    receipt(state, slot)
}

/// Notes in calendar and section that an order was entered.
#[inline]
pub(crate) fn note_made(state: &mut State, ctx: &mut Context<'_>, slot: u32, new: &NewOrder) {
    if !ctx.section.is_exact() {
        ctx.section.created.push(slot);
        ctx.section.touched.insert(slot, new.created_seq);
    }
    if new.status == OrderStatus::Reserved {
        state.calendar.add(new.deadline.millis(), slot);
    }
    ctx.section.count += 1;
}

#[inline]
pub(crate) fn new_order(
    basket: &Basket<'_>,
    currency: Currency,
    total: i64,
    ctx: &Context<'_>,
) -> NewOrder {
    NewOrder {
        id: OrderId::from(basket.key),
        customer: basket.customer,
        status: basket.status(),
        total,
        currency,
        fingerprint: basket.fingerprint,
        created_seq: ctx.section.seq(),
        deadline: basket.deadlines(ctx.now).0,
        risk: basket.risk(),
        asked_as_buy: basket.asked_as_buy && basket.times.is_some(),
    }
}

/// Returns cell and units of an order that needs no detail.
fn simple_place(
    state: &State,
    basket: &Basket<'_>,
    scratch: &Scratch,
    deadline: Timestamp,
    hard: Timestamp,
) -> Option<(CellNo, u32)> {
    let ([line], [planned]) = (basket.lines, scratch.plan.as_slice()) else { return None };
    let whole = planned.units == line.quantity.units();
    let plain = scratch.skus.first() == Some(&planned.sku);
    if whole && plain && deadline == hard {
        Some((CellNo::new(state.shard, planned.cell), planned.units))
    } else {
        None
    }
}

fn part(state: &State, planned: &Planned, to: Bucket) -> Part {
    let reserved = if to == Bucket::Reserved { planned.units } else { 0 };
    Part {
        line: planned.line,
        sku: planned.sku,
        cell: CellNo::new(state.shard, planned.cell),
        reserved,
        committed: planned.units - reserved,
    }
}

fn detail(
    state: &State,
    basket: &Basket<'_>,
    granted: &[u32],
    parts: Vec<Part>,
    deadline: Timestamp,
    hard: Timestamp,
) -> Detail {
    let line = |(line, granted): (&Line, &u32)| OrderLine {
        sku: state.catalogue.index_of(line.sku).expect("the line was resolved"),
        asked: line.quantity.units(),
        granted: *granted,
        cancelled: line.quantity.units() - granted,
        ..OrderLine::default()
    };
    Detail {
        lines: basket.lines.iter().zip(granted).map(line).collect(),
        parts,
        hard_deadline: hard.millis(),
        first_deadline: deadline.millis(),
    }
}

/// What stands in the fixed part of an order's record besides the basket.
pub(crate) struct Header {
    pub(crate) total: i64,
    pub(crate) currency: Currency,
    pub(crate) cross: bool,
    pub(crate) now: Timestamp,
}

#[inline]
pub(crate) fn begin_record(
    out: &mut Vec<u8>,
    basket: &Basket<'_>,
    header: &Header,
    movements: usize,
    instructions: usize,
) -> usize {
    let mut flags = 0;
    if basket.lines[0].price.is_some() {
        flags |= FLAG_PRICED;
    }
    if header.cross {
        flags |= FLAG_CROSS;
    }
    if basket.expected_total.is_some() {
        flags |= FLAG_TOTAL;
    }
    if basket.decided.is_some() {
        flags |= FLAG_DECIDED;
    }
    if basket.asked_as_buy && basket.times.is_some() {
        flags |= FLAG_ASKED_AS_BUY;
    }
    let kind = if basket.times.is_some() { Kind::Reserve } else { Kind::Buy };
    let (fill, least) = match basket.fill {
        Fill::All => (0, None),
        Fill::Min(units) => (1, Some(units)),
        Fill::Partial => (2, None),
    };
    let at = out.len();
    let mut bytes = [0; 48];
    bytes[2] = kind as u8;
    bytes[3] = flags;
    bytes[4..6].copy_from_slice(&(basket.lines.len() as u16).to_le_bytes());
    bytes[6..8].copy_from_slice(&(movements as u16).to_le_bytes());
    bytes[8..24].copy_from_slice(&basket.key.bits().to_le_bytes());
    bytes[24..32].copy_from_slice(&basket.customer.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.total.to_le_bytes());
    bytes[40..42].copy_from_slice(&header.currency.number().to_le_bytes());
    bytes[42] = fill;
    bytes[44..46].copy_from_slice(&(instructions as u16).to_le_bytes());
    out.extend_from_slice(&bytes);
    if basket.times.is_some() {
        let (deadline, hard) = basket.deadlines(header.now);
        out.put_u64(deadline.millis());
        out.put_u64(hard.millis());
    }
    if let Some(units) = least {
        out.put_u32(units);
    }
    if let Some(decided) = basket.decided {
        out.extend_from_slice(&decisions(decided));
    }
    at
}

#[inline]
pub(crate) fn put_lines(out: &mut Vec<u8>, skus: &[u32], lines: &[Line]) {
    for (sku, line) in skus.iter().zip(lines) {
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&sku.to_le_bytes());
        bytes[4..8].copy_from_slice(&line.quantity.units().to_le_bytes());
        bytes[8..12].copy_from_slice(&line.location.0.to_le_bytes());
        out.extend_from_slice(&bytes);
        if let Some(price) = line.price {
            out.put_u64(price.unit as u64);
            out.put_u64(price.discount as u64);
        }
    }
}

/// What a basket over several shards got: facts, whether live or replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrossFacts {
    pub(crate) total: i64,
    pub(crate) currency: Currency,
    pub(crate) granted: Vec<u32>,
    /// Movements of this shard's cells, T -> C, R or A.
    pub(crate) movements: Vec<Movement>,
    /// Movements that peers will carry out.
    pub(crate) instructions: Vec<Movement>,
    /// SKU of each cell that units stay in.
    pub(crate) parts: Vec<Part>,
}

/// Makes the order of a basket over several shards, all of whose units are tentative.
///
/// # Errors
///
/// Returns the movement that could not be carried out: a broken invariant, or damage in a replay.
pub(crate) fn accept_cross(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
    facts: CrossFacts,
) -> Result<OrderReceipt, crate::domain::stock::Imbalance> {
    let out = &mut ctx.section.bytes;
    let header = Header { total: facts.total, currency: facts.currency, cross: true, now: ctx.now };
    let (movements, instructions) = (&facts.movements, &facts.instructions);
    let at = begin_record(out, basket, &header, movements.len(), instructions.len());
    let index = |line: &Line| state.catalogue.index_of(line.sku).expect("the line was resolved");
    let skus: Vec<u32> = basket.lines.iter().map(index).collect();
    put_lines(out, &skus, basket.lines);
    for movement in movements.iter().chain(instructions) {
        out.put_movement(movement);
    }
    end(out, at);
    for movement in movements {
        state.carry_out(movement, ctx.section)?;
        state.count_limit_of(basket.customer.0, movement)?;
    }
    state.taken.remove(&basket.key.bits());
    super::cross::instruct(state, ctx, basket.key.bits(), basket.customer.0, instructions);
    let new = new_order(basket, facts.currency, facts.total, ctx);
    let mut order = Order::new(&new);
    let hard = basket.deadlines(ctx.now).1;
    let detail = detail(state, basket, &facts.granted, facts.parts, new.deadline, hard);
    order.set_detail(state.add_detail(detail));
    Ok(finish(state, ctx, order, &new))
}

/// Returns the receipt that the command that made an order was given.
pub(crate) fn receipt(state: &State, slot: u32) -> OrderReceipt {
    let order = state.orders.get(slot);
    let mut receipt = OrderReceipt {
        order: order.id(),
        status: if order.was_reserved() { OrderStatus::Reserved } else { OrderStatus::Placed },
        seq: order.created_seq(),
        total: Money::trusted(order.total(), order.currency()),
        risk: order.first_risk(),
        deadline: if order.was_reserved() { order.deadline() } else { Timestamp::ZERO },
        grants: Grants::Full,
    };
    if let Some(detail) = order.detail() {
        let detail = state.detail(detail);
        if order.was_reserved() {
            receipt.deadline = Timestamp::from_millis(detail.first_deadline);
        }
        if detail.lines.iter().any(|l| l.granted != l.asked) {
            receipt.grants = Grants::ByLine(detail.lines.iter().map(|l| l.granted).collect());
        }
    }
    receipt
}
