//! Promises to customers: which units of a cell they hold, and what becomes of an order when a
//! count has not found them.

use crate::apply::change::{self, Change, detail_of_simple, for_each_component};
use crate::apply::{Context, Instruction};
use crate::codec::{BREAK_BYTES, Kind, Malformed, Reader};
use crate::command::LineQuantity;
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::order::{Order, Part};
use crate::domain::stock::Imbalance;
use crate::id::Key;
use crate::limits::{LINES_MAX, ORDER_VERSION_MAX};
use crate::quantity::Quantity;
use crate::reply::OrderStatus;
use crate::state::State;

/// Units of a cell that a line of an order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) order: u128,
    pub(crate) home: u16,
    pub(crate) line: u16,
    pub(crate) units: u32,
    /// Whether they are reserved; else they are committed.
    pub(crate) reserved: bool,
    /// Position of the record that made the order: its age.
    pub(crate) created_seq: u64,
    /// Whether the order can count one more change for each of its lines.
    pub(crate) breakable: bool,
}

/// Units of a cell that a line of an order loses because a count has not found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// Key of the count.
    pub(crate) count: u128,
    pub(crate) cell: CellNo,
    pub(crate) order: u128,
    /// Home shard of the order.
    pub(crate) home: u16,
    pub(crate) line: u16,
    pub(crate) units: u32,
}

impl Break {
    /// Reads a break of a STOCK record.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        count: Key,
        cell: CellNo,
    ) -> Result<Self, Malformed> {
        let mut reader = Reader::new(reader.take(BREAK_BYTES)?);
        Ok(Self {
            count: count.bits(),
            cell,
            order: reader.u128()?,
            home: reader.u16()?,
            line: reader.u16()?,
            units: reader.u32()?,
        })
    }

    /// Reads off a BREAK record of a shard what was to be broken.
    pub(super) fn of_record(record: &[u8], home: u16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(record.get(4..).ok_or(Malformed)?);
        let lines = reader.u16()?;
        let own = reader.u16()?;
        let count = reader.u128()?;
        let order = reader.u128()?;
        reader.take(8 + 4)?;
        let remote = reader.u16()?;
        reader.u16()?;
        reader.take(8 * usize::from(lines))?;
        for _ in 0..u32::from(own) + u32::from(remote) {
            let Movement { cell, quantity, to, line, .. } = reader.movement()?;
            if to == Bucket::Adjust {
                return Ok(Self { count, cell, order, home, line, units: quantity });
            }
        }
        Err(Malformed)
    }
}

/// Returns what the order in a slot holds of a cell, by line.
pub(crate) fn holdings_of(state: &State, slot: u32, cell: CellNo, into: &mut Vec<Holding>) {
    let order = state.orders.get(slot);
    if order.is_free() {
        return;
    }
    let reserved = match order.status() {
        OrderStatus::Reserved => true,
        OrderStatus::Placed => false,
        OrderStatus::Completed
        | OrderStatus::Expired
        | OrderStatus::Cancelled
        | OrderStatus::Rejected => return,
    };
    let mut add = |line: u16, units: u32| {
        if units > 0 {
            into.push(Holding {
                order: order.id().bits(),
                home: state.shard,
                line,
                units,
                reserved,
                created_seq: order.created_seq(),
                breakable: is_breakable(state, order),
            });
        }
    };
    match (order.simple(), order.detail()) {
        (Some((held, units)), _) if held == cell => add(0, units),
        (None, Some(detail)) => {
            let parts = state.detail(detail).parts.iter().filter(|p| p.cell == cell);
            parts.for_each(|p| add(p.line, p.reserved + p.committed));
        }
        _ => (),
    }
}

/// A break of each of its lines must leave the order its last version, for what must always be
/// possible.
fn is_breakable(state: &State, order: &Order) -> bool {
    u32::from(order.version) + LINES_MAX as u32 + 1 < ORDER_VERSION_MAX && state.has_room()
}

/// Breaks a promise of an order that is at home here: what was not found is short, and what else
/// the broken kits held is available again. Uses of coupons follow the last goods.
///
/// # Errors
///
/// Returns [`Imbalance`] if the order does not hold the units: a broken invariant, or damage in a
/// replay.
pub(crate) fn break_one(
    state: &mut State,
    ctx: &mut Context<'_>,
    broken: &Break,
) -> Result<(), Imbalance> {
    let slot = state.order_slot(broken.order).ok_or(Imbalance)?;
    let order = state.orders.get(slot);
    let status = order.status();
    let from = match status {
        OrderStatus::Reserved => Bucket::Reserved,
        OrderStatus::Placed => Bucket::Committed,
        OrderStatus::Completed
        | OrderStatus::Expired
        | OrderStatus::Cancelled
        | OrderStatus::Rejected => {
            return Err(Imbalance);
        }
    };
    let simple;
    let detail = if let Some(detail) = order.detail() {
        state.detail(detail)
    } else {
        simple = detail_of_simple(state, slot);
        &simple
    };
    let (units, mut moves) = moves(state, &detail.parts, &detail.lines, broken, from)?;
    change::let_follow(state, detail, from, Some(broken.cell), &mut moves);
    let held: u64 = detail.parts.iter().map(|p| u64::from(p.reserved + p.committed)).sum();
    let moved: u64 = moves.iter().map(|m| u64::from(m.quantity)).sum();
    let status = match (held == moved, detail.lines.iter().any(|l| l.shipped > 0)) {
        (false, _) => status,
        (true, true) => OrderStatus::Completed,
        (true, false) => OrderStatus::Cancelled,
    };
    let lines = [LineQuantity { line: broken.line, quantity: Quantity::trusted(units) }];
    let change = Change {
        kind: Kind::Break,
        flags: 0,
        key: Some(Key::new(broken.count)),
        fingerprint: 0,
        slot,
        status,
        reason: 0,
        deadline: None,
        risk: None,
        lines: &lines,
        moves,
    };
    change::carry_out(state, ctx, &change);
    Ok(())
}

/// Returns the units of the line that are broken, kits of a kit, and how their stock moves.
fn moves(
    state: &State,
    parts: &[Part],
    lines: &[crate::domain::order::OrderLine],
    broken: &Break,
    from: Bucket,
) -> Result<(u32, Vec<Movement>), Imbalance> {
    let held = |p: &Part| if from == Bucket::Reserved { p.reserved } else { p.committed };
    let lost = |p: &Part| p.line == broken.line && p.cell == broken.cell;
    let part = parts.iter().find(|p| lost(p) && held(p) >= broken.units).ok_or(Imbalance)?;
    let line = lines.get(usize::from(broken.line)).ok_or(Imbalance)?;
    let mut per = 1;
    for_each_component(state, line, |sku, units| {
        if sku == part.sku {
            per = units;
        }
    });
    let units = broken.units.div_ceil(per);
    let movement = |p: &Part, quantity, to| {
        let (cell, line) = (p.cell, p.line);
        Movement { cell, quantity, from, to, line }
    };
    let mut moves = vec![movement(part, broken.units, Bucket::Adjust)];
    for_each_component(state, line, |sku, per| {
        let own = sku == part.sku;
        let mut left = units * per - if own { broken.units } else { 0 };
        for p in parts.iter().filter(|p| p.line == broken.line && p.sku == sku) {
            let gone = if own && p.cell == part.cell { broken.units } else { 0 };
            let back = (held(p) - gone).min(left);
            if back > 0 {
                moves.push(movement(p, back, Bucket::Available));
                left -= back;
            }
        }
    });
    Ok((units, moves))
}

/// Tells the home of each broken order so; the home may be this shard.
pub(super) fn instruct_breaks(ctx: &mut Context<'_>, breaks: &[Break]) {
    let messages = breaks.iter().map(|b| (b.home, Instruction::Break(*b)));
    ctx.messages.extend(messages);
}
