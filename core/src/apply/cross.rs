//! The part of one shard in a basket over several: take units tentatively, give them back, carry
//! out what a home shard instructs.

use crate::apply::basket::{Shortage, Want, check_limits, forget_plan, movement_of, plan, usable};
use crate::apply::{Context, Instruction, Settle};
use crate::codec::{Kind, Put, begin, end};
use crate::command::{Fill, Line};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::stock::Imbalance;
use crate::reject::Reject;
use crate::reply::Refusal;
use crate::state::{State, Taken, TakenPart};

/// Numbers the instructions of one record, a message for each peer that is concerned.
pub(crate) fn instruct(
    state: &mut State,
    ctx: &mut Context<'_>,
    order: u128,
    customer: u64,
    instructions: &[Movement],
) {
    if instructions.is_empty() {
        return;
    }
    for peer in 0..state.shard_count {
        let of_peer = instructions.iter().filter(|m| m.cell.shard() == peer);
        let movements: Vec<Movement> = of_peer.copied().collect();
        if movements.is_empty() {
            continue;
        }
        let settle = next_settle(state, peer, order, customer, movements);
        ctx.messages.push((peer, Instruction::Settle(settle)));
    }
}

/// Makes the next settle message to a peer.
pub(crate) fn next_settle(
    state: &mut State,
    peer: u16,
    order: u128,
    customer: u64,
    movements: Vec<Movement>,
) -> Settle {
    let sent = &mut state.sent[usize::from(peer)];
    *sent += 1;
    Settle { home: state.shard, number: *sent, order, customer, movements, arrives: None }
}

/// The part of a basket that a shard is asked to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) order: u128,
    pub(crate) home: u16,
    pub(crate) customer: u64,
    pub(crate) fill: Fill,
    /// The lines of the whole basket: wants name them by index.
    pub(crate) lines: Vec<Line>,
    /// What is wanted of this shard.
    pub(crate) wants: Vec<Want>,
}

/// How a shard answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    /// These units are tentative now; and whether others hold tentatively what this part lacks.
    Taken(Vec<TakenPart>, bool),
    /// Not now: others hold tentatively what this basket needs.
    Contended,
    /// The basket can't be had.
    No(Refusal),
}

/// Takes units tentatively, or says why not; an answer other than `Taken` has changed nothing.
///
/// A part that may be filled in part and `waits` is contended as long as others hold tentatively
/// what it lacks.
pub(crate) fn take(state: &mut State, ctx: &mut Context<'_>, part: &Part, waits: bool) -> Vote {
    // Each part may count a customer's units for the first time: the shard needs room for that.
    if !state.has_room() {
        return Vote::No(super::refuse(Reject::CapacityReached, 0, 0, 0));
    }
    if let Err(refusal) = check_limits(state, &part.wants, part.customer) {
        return Vote::No(refusal);
    }
    let mut scratch = std::mem::take(&mut state.scratch);
    scratch.wants.clear();
    scratch.wants.extend_from_slice(&part.wants);
    // A policy other than `all` is judged by the home shard over all parts.
    let fill = if part.fill == Fill::All { Fill::All } else { Fill::Partial };
    let planned = plan(state, &mut scratch, &part.lines, fill);
    let lacks = part.fill != Fill::All && lacks_tentative(state, &scratch);
    let vote = match planned {
        Err(Shortage::Contended { .. }) => Vote::Contended,
        _ if lacks && waits => Vote::Contended,
        Ok(()) => Vote::Taken(record_take(state, ctx, part, &mut scratch), lacks),
        Err(_) if part.fill != Fill::All => {
            Vote::Taken(record_take(state, ctx, part, &mut scratch), lacks)
        }
        Err(Shortage::SoldOut { want, asked, available, .. }) => {
            Vote::No(super::refuse(Reject::SoldOut, want.line.into(), asked, available))
        }
        Err(Shortage::PartialOnly { .. } | Shortage::TooMany) => {
            Vote::No(super::refuse(Reject::CapacityReached, 0, 0, 0))
        }
    };
    forget_plan(state, &mut scratch);
    state.scratch = scratch;
    vote
}

/// Whether others hold tentatively what a planned part lacks.
fn lacks_tentative(state: &State, scratch: &super::Scratch) -> bool {
    let lacks = |w: &Want| scratch.granted[usize::from(w.line)] * w.per < w.units;
    scratch.wants.iter().any(|want| lacks(want) && usable(state, want).1 > 0)
}

fn record_take(
    state: &mut State,
    ctx: &mut Context<'_>,
    part: &Part,
    scratch: &mut super::Scratch,
) -> Vec<TakenPart> {
    let taken = |p: &super::basket::Planned| TakenPart {
        line: p.line,
        sku: p.sku,
        cell: CellNo::new(state.shard, p.cell),
        units: p.units,
    };
    let parts: Vec<TakenPart> = scratch.plan.iter().map(taken).collect();
    if parts.is_empty() {
        return parts;
    }
    let movements: Vec<Movement> = scratch
        .plan
        .iter()
        .map(|p| movement_of(state, p, Bucket::Available, Bucket::Tentative))
        .collect();
    forget_plan(state, scratch);
    let taken = Taken { home: part.home, customer: part.customer, parts: parts.clone() };
    take_facts(state, ctx, part.order, taken, &movements).expect("planned units are available");
    parts
}

/// Writes the record of a take and carries it out: live, or from a journal.
///
/// # Errors
///
/// Returns [`Imbalance`] if a cell holds too little: a broken invariant, or damage in a replay.
pub(crate) fn take_facts(
    state: &mut State,
    ctx: &mut Context<'_>,
    order: u128,
    taken: Taken,
    movements: &[Movement],
) -> Result<(), Imbalance> {
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::Take, 0);
    out.put_u16(0);
    out.put_u16(movements.len() as u16);
    out.put_u128(order);
    out.put_u64(taken.customer);
    out.put_u16(taken.home);
    out.extend_from_slice(&[0; 6]);
    for movement in movements {
        out.put_movement(movement);
    }
    end(out, at);
    for movement in movements {
        state.carry_out(movement, ctx.section)?;
        state.count_limit_of(taken.customer, movement)?;
    }
    ctx.section.count += 1;
    let before = state.taken.insert(order, taken);
    if before.is_some() { Err(Imbalance) } else { Ok(()) }
}

/// Gives back what a basket has taken here; nothing happens if it has taken nothing.
pub(crate) fn undo(state: &mut State, ctx: &mut Context<'_>, order: u128) {
    let Some(taken) = state.taken.get(&order) else { return };
    let movement = |p: &TakenPart| Movement {
        cell: p.cell,
        quantity: p.units,
        from: Bucket::Tentative,
        to: Bucket::Available,
        line: p.line,
    };
    let settle = Settle {
        home: taken.home,
        number: 0,
        order,
        customer: taken.customer,
        movements: taken.parts.iter().map(movement).collect(),
        arrives: None,
    };
    settle_facts(state, ctx, &settle).expect("tentative units are where they were taken");
}

/// Carries an instruction out, or an undo: live, or from a journal.
///
/// # Errors
///
/// Returns [`Imbalance`] if it is not the next of its home, or a cell holds too little: a broken
/// invariant, or damage in a replay.
pub(crate) fn settle_facts(
    state: &mut State,
    ctx: &mut Context<'_>,
    settle: &Settle,
) -> Result<(), Imbalance> {
    let undo = settle.number == 0;
    if !undo {
        let received = &mut state.received[usize::from(settle.home)];
        if settle.number != *received + 1 {
            return Err(Imbalance);
        }
        *received += 1;
    }
    let mut movements = settle.movements.clone();
    let mut entry = None;
    if let Some((sku, location, lot)) = settle.arrives {
        let cell = match state.find_cell(sku, location, lot) {
            Some(cell) => cell,
            None => state.add_cell(sku, location, lot).ok_or(Imbalance)?,
        };
        let number = CellNo::new(state.shard, cell);
        let slot = state.cells.get_mut(cell);
        slot.version += 1;
        if slot.version == 1 {
            ctx.section.cells.push(cell);
        }
        entry = Some((number, sku, location, lot, slot.version));
        movements.iter_mut().for_each(|m| m.cell = number);
    }
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::Settle, 0);
    out.put_u16(entry.iter().len() as u16);
    out.put_u16(movements.len() as u16);
    out.put_u128(settle.order);
    out.put_u64(settle.number);
    out.put_u64(settle.customer);
    out.put_u16(settle.home);
    out.put_u8(u8::from(!undo));
    out.extend_from_slice(&[0; 5]);
    if let Some((number, sku, location, lot, version)) = entry {
        super::stock::put_cell_entry(out, number, sku, location, lot, version);
    }
    for movement in &movements {
        out.put_movement(movement);
    }
    end(out, at);
    for movement in &movements {
        state.carry_out(movement, ctx.section)?;
        state.count_limit_of(settle.customer, movement)?;
    }
    if movements.iter().any(|m| m.from == Bucket::Tentative) {
        state.taken.remove(&settle.order);
    }
    ctx.section.count += 1;
    Ok(())
}
