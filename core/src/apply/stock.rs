//! Stock that arrives, is counted, set aside, moved.

use crate::apply::precedence::First;
use crate::apply::promise::Break;
use crate::apply::{
    Applied, Context, Instruction, check_here, existing_cell, fingerprint, named, refuse, repeated,
    sku_index, stocked,
};
use crate::codec::{Kind, Put, begin, end};
use crate::command::{Adjust, Import, ImportLine, Quarantine, Receive, TransferIn, TransferOut};
use crate::domain::answered::Answered;
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::id::{Key, LocationId, LotId, SkuId};
use crate::limits::{CELLS_PER_SHARD_MAX, IMPORT_LINES_MAX};
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::{Receipt, Refusal, StockReceipt};
use crate::route;
use crate::state::{State, Transfer};

/// Operation of a count.
pub(super) const COUNT: u8 = 8;
/// SKU index of an import of several SKUs.
const SEVERAL: u32 = u32::MAX;
/// Most units that one bucket of a cell may count.
pub(super) const LEVEL_MAX: u64 = 1 << 53;

/// A STOCK record in the making.
pub(super) struct StockChange {
    pub(super) operation: u8,
    pub(super) reason: u8,
    pub(super) key: Key,
    pub(super) fingerprint: u32,
    pub(super) sku: u32,
    /// Units that a count expected, or the location that a transfer goes to.
    pub(super) expected: u64,
    /// Key of the transfer that arrives.
    pub(super) transfer: Option<Key>,
    /// Cells that are touched, each once, with their movement if there is one.
    pub(super) cells: Vec<u32>,
    pub(super) movements: Vec<Movement>,
    /// What a peer shall do, and the cell that it is to choose.
    pub(super) instruction: Option<(Movement, (u32, u32, u32))>,
    /// Promises that a count breaks, in order.
    pub(super) breaks: Vec<Break>,
}

impl StockChange {
    /// Starts the record of an operation, with nothing in its lists.
    pub(super) const fn new(operation: u8, key: Key, fingerprint: u32, sku: u32) -> Self {
        Self {
            operation,
            reason: 0,
            key,
            fingerprint,
            sku,
            expected: 0,
            transfer: None,
            cells: Vec::new(),
            movements: Vec::new(),
            instruction: None,
            breaks: Vec::new(),
        }
    }
}

type Outcome = Result<Applied, Refusal>;

fn positive(quantity: Quantity, line: usize) -> Result<u32, Refusal> {
    if quantity == Quantity::ZERO {
        return Err(refuse(Reject::QuantityInvalid, line, 0, Quantity::MAX.units().into()));
    }
    Ok(quantity.units())
}

/// Returns the cell of a SKU with stock, making it if need be.
fn cell_for(
    state: &mut State,
    sku: SkuId,
    location: LocationId,
    lot: LotId,
    line: usize,
) -> Result<(u32, u32), Refusal> {
    let index = stocked(state, sku, location, line)?;
    if let Some(cell) = state.find_cell(index, location.0, lot.0) {
        return Ok((index, cell));
    }
    let full = refuse(Reject::CapacityReached, line, 0, CELLS_PER_SHARD_MAX as u64);
    state.add_cell(index, location.0, lot.0).map(|cell| (index, cell)).ok_or(full)
}

/// Checks that a SKU's units may grow by some.
pub(super) fn check_growth(
    state: &State,
    sku: u32,
    units: u64,
    line: usize,
) -> Result<(), Refusal> {
    let level = &state.catalogue.get(sku).level;
    let on_hand = level.available + level.reserved + level.committed + level.unavailable_total();
    let sum = on_hand + level.tentative + level.in_transit + level.shipped;
    if sum + units > LEVEL_MAX {
        return Err(refuse(Reject::QuantityInvalid, line, units, LEVEL_MAX.saturating_sub(sum)));
    }
    Ok(())
}

/// Takes in units from a supplier.
pub(crate) fn receive(state: &mut State, ctx: &mut Context<'_>, receive: &Receive) -> Outcome {
    let units = positive(receive.quantity, 0)?;
    let fingerprint = fingerprint::of_receive(receive);
    if let Some(answer) = repeated(state, receive.key, fingerprint)? {
        return Ok(answer);
    }
    let index = sku_index(state, receive.sku, 0)?;
    check_growth(state, index, units.into(), 0)?;
    stocked(state, receive.sku, receive.location, 0)?;
    check_room(state)?;
    let (sku, cell) = cell_for(state, receive.sku, receive.location, receive.lot, 0)?;
    let change = StockChange {
        cells: vec![cell],
        movements: vec![movement(state, cell, units, Bucket::Supplier, Bucket::Available)],
        ..StockChange::new(1, receive.key, fingerprint, sku)
    };
    Ok(carry_out(state, ctx, &change))
}

/// Sets the available units of a cell after a count.
pub(crate) fn adjust(state: &mut State, ctx: &mut Context<'_>, adjust: &Adjust) -> Outcome {
    let most = u64::from(Quantity::MAX.units());
    if adjust.available > LEVEL_MAX || adjust.available.abs_diff(adjust.expected) > most {
        return Err(refuse(
            Reject::QuantityInvalid,
            0,
            adjust.available,
            adjust.expected.saturating_add(most),
        ));
    }
    let fingerprint = fingerprint::of_adjust(adjust);
    if let Some(answer) = repeated(state, adjust.key, fingerprint)? {
        return Ok(answer);
    }
    let (sku, cell) = existing_cell(state, adjust.sku, adjust.location, adjust.lot)?;
    let found = state.cells.get(cell).level.available;
    check_growth(state, sku, adjust.available.saturating_sub(found), 0)?;
    if found != adjust.expected {
        return Err(refuse(Reject::StaleCount, 0, adjust.expected, found));
    }
    check_room(state)?;
    let units = adjust.available.abs_diff(found) as u32;
    let (from, to) = if adjust.available > found {
        (Bucket::Adjust, Bucket::Available)
    } else {
        (Bucket::Available, Bucket::Adjust)
    };
    let movements =
        if units == 0 { Vec::new() } else { vec![movement(state, cell, units, from, to)] };
    let change = StockChange {
        expected: adjust.expected,
        cells: vec![cell],
        movements,
        ..StockChange::new(2, adjust.key, fingerprint, sku)
    };
    Ok(carry_out(state, ctx, &change))
}

/// Sets units aside, or brings them back.
pub(crate) fn quarantine(
    state: &mut State,
    ctx: &mut Context<'_>,
    quarantine: &Quarantine,
) -> Outcome {
    let units = positive(quarantine.quantity, 0)?;
    let fingerprint = fingerprint::of_quarantine(quarantine);
    if let Some(answer) = repeated(state, quarantine.key, fingerprint)? {
        return Ok(answer);
    }
    let (sku, cell) = existing_cell(state, quarantine.sku, quarantine.location, quarantine.lot)?;
    let aside = Bucket::from_code(quarantine.reason as u8).expect("a reason is a bucket");
    let (from, to) =
        if quarantine.back { (aside, Bucket::Available) } else { (Bucket::Available, aside) };
    let found = state.cells.get(cell).level.of(from);
    if found < u64::from(units) {
        return Err(refuse(Reject::StockShort, 0, units.into(), found));
    }
    check_room(state)?;
    let change = StockChange {
        reason: quarantine.reason as u8,
        cells: vec![cell],
        movements: vec![movement(state, cell, units, from, to)],
        ..StockChange::new(if quarantine.back { 4 } else { 3 }, quarantine.key, fingerprint, sku)
    };
    Ok(carry_out(state, ctx, &change))
}

/// Sends units to another location.
pub(crate) fn transfer_out(
    state: &mut State,
    ctx: &mut Context<'_>,
    transfer: &TransferOut,
) -> Outcome {
    let units = positive(transfer.quantity, 0)?;
    let fingerprint = fingerprint::of_transfer_out(transfer);
    if let Some(answer) = repeated(state, transfer.key, fingerprint)? {
        return Ok(answer);
    }
    sku_index(state, transfer.sku, 0)?;
    let to = named(transfer.to)?;
    if transfer.to == transfer.from {
        return Err(refuse(Reject::LocationInvalid, 0, 0, 0));
    }
    let (sku, cell) = existing_cell(state, transfer.sku, transfer.from, transfer.lot)?;
    let found = state.cells.get(cell).level.available;
    if found < u64::from(units) {
        return Err(refuse(Reject::StockShort, 0, units.into(), found));
    }
    check_room(state)?;
    let entry = Transfer { sku, from_cell: cell, to, left: units };
    state.transfers.insert(transfer.key.bits(), entry);
    let change = StockChange {
        expected: to.into(),
        cells: vec![cell],
        movements: vec![movement(state, cell, units, Bucket::Available, Bucket::InTransit)],
        ..StockChange::new(5, transfer.key, fingerprint, sku)
    };
    Ok(carry_out(state, ctx, &change))
}

/// Takes in units of a transfer.
pub(crate) fn transfer_in(
    state: &mut State,
    ctx: &mut Context<'_>,
    arrival: &TransferIn,
) -> Outcome {
    let units = positive(arrival.quantity, 0)?;
    let fingerprint = fingerprint::of_transfer_in(arrival);
    if let Some(answer) = repeated(state, arrival.key, fingerprint)? {
        return Ok(answer);
    }
    let sku = sku_index(state, arrival.sku, 0)?;
    let from = named(arrival.from)?;
    check_here(state, sku, from, 0)?;
    let known = state.transfers.get(&arrival.transfer.bits()).copied();
    let matches = |t: &Transfer| t.sku == sku && state.cells.get(t.from_cell).location == from;
    let known = known.filter(matches);
    let left = known.map_or(0, |t| t.left);
    let Some(transfer) = known.filter(|t| t.left >= units) else {
        return Err(refuse(Reject::TransferUnknown, 0, units.into(), left.into()));
    };
    check_room(state)?;
    let entry = state.catalogue.get(sku);
    let to = LocationId(transfer.to);
    let peer = route::cell_shard(entry.placement, entry.id, to, state.shard_count);
    let lot = state.cells.get(transfer.from_cell).lot;
    let source = transfer.from_cell;
    let mut cells = vec![source];
    let mut movements = vec![movement(state, source, units, Bucket::InTransit, Bucket::Link)];
    let mut instruction = None;
    if peer == state.shard {
        let id = state.catalogue.get(sku).id;
        let (_, cell) = cell_for(state, id, to, LotId(lot), 0)?;
        cells.push(cell);
        movements.push(movement(state, cell, units, Bucket::Link, Bucket::Available));
    } else {
        let mut arriving = movement(state, source, units, Bucket::Link, Bucket::Available);
        arriving.cell = CellNo::chosen_by(peer);
        instruction = Some((arriving, (sku, transfer.to, lot)));
    }
    let key = arrival.transfer.bits();
    if transfer.left == units {
        state.transfers.remove(&key);
    } else if let Some(entry) = state.transfers.get_mut(&key) {
        entry.left -= units;
    }
    let change = StockChange {
        transfer: Some(arrival.transfer),
        cells,
        movements,
        instruction,
        ..StockChange::new(6, arrival.key, fingerprint, sku)
    };
    Ok(carry_out(state, ctx, &change))
}

/// Takes in the opening stock of many cells.
pub(crate) fn import(state: &mut State, ctx: &mut Context<'_>, import: &Import) -> Outcome {
    let count = import.lines.len();
    if count == 0 || count > IMPORT_LINES_MAX {
        return Err(refuse(Reject::LineCount, 0, count as u64, IMPORT_LINES_MAX as u64));
    }
    for (at, line) in import.lines.iter().enumerate() {
        positive(line.quantity, at)?;
    }
    let fingerprint = fingerprint::of_import(import);
    if let Some(answer) = repeated(state, import.key, fingerprint)? {
        return Ok(answer);
    }
    check_import(state, import)?;
    check_room(state)?;
    if state.cells.high() as usize + count > CELLS_PER_SHARD_MAX {
        return Err(refuse(Reject::CapacityReached, 0, count as u64, CELLS_PER_SHARD_MAX as u64));
    }

    // The import is accepted: nothing below may fail.
    let mut cells: Vec<u32> = Vec::with_capacity(count);
    let mut movements = Vec::with_capacity(count);
    for (at, line) in import.lines.iter().enumerate() {
        let (_, cell) = cell_for(state, line.sku, line.location, line.lot, at)?;
        cells.push(cell);
        let units = line.quantity.units();
        movements.push(movement(state, cell, units, Bucket::Supplier, Bucket::Available));
    }
    // A cell stands once among the entries, where it was named first.
    let mut seen = crate::hash::fold_map();
    cells.retain(|cell| seen.insert(*cell, ()).is_none());
    let change =
        StockChange { cells, movements, ..StockChange::new(7, import.key, fingerprint, SEVERAL) };
    Ok(carry_out(state, ctx, &change))
}

/// Checks every line of an import; of several refusals the first by precedence is the answer.
fn check_import(state: &State, import: &Import) -> Result<(), Refusal> {
    let mut most = 0_u64;
    let check = |(at, line): (usize, &ImportLine)| {
        most += u64::from(line.quantity.units());
        let grown =
            sku_index(state, line.sku, at).and_then(|sku| check_growth(state, sku, most, at));
        grown?;
        match stocked(state, line.sku, line.location, at) {
            // The first line has chosen the shard.
            Err(away) if at > 0 && away.reject == Reject::Contended => {
                Err(refuse(Reject::LocationInvalid, at, 0, 0))
            }
            here => here.map(|_| ()),
        }
    };
    let mut refusals = import.lines.iter().enumerate().map(check).filter_map(Result::err);
    let Some(found) = refusals.next() else { return Ok(()) };
    let mut first = First::new(found);
    refusals.for_each(|refusal| first.consider(refusal));
    Err(first.get())
}

pub(super) fn check_room(state: &State) -> Result<(), Refusal> {
    if state.has_room() && (state.cells.high() as usize) < CELLS_PER_SHARD_MAX {
        Ok(())
    } else {
        Err(refuse(Reject::CapacityReached, 0, 0, CELLS_PER_SHARD_MAX as u64))
    }
}

pub(super) fn movement(
    state: &State,
    cell: u32,
    quantity: u32,
    from: Bucket,
    to: Bucket,
) -> Movement {
    Movement { cell: CellNo::new(state.shard, cell), quantity, from, to, line: 0 }
}

/// Appends a cell entry to a record.
pub(crate) fn put_cell_entry(
    out: &mut Vec<u8>,
    number: CellNo,
    sku: u32,
    location: u32,
    lot: u32,
    version: u32,
) {
    for word in [number.0, sku, location, lot, version] {
        out.put_u32(word);
    }
}

pub(super) fn carry_out(state: &mut State, ctx: &mut Context<'_>, change: &StockChange) -> Applied {
    let seq = ctx.section.seq();
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::Stock, 0);
    out.put_u16(change.cells.len() as u16);
    out.put_u16(change.movements.len() as u16);
    out.put_u128(change.key.bits());
    out.put_u32(change.sku);
    out.put_u8(change.operation);
    out.put_u8(change.reason);
    out.put_u16(change.instruction.iter().len() as u16);
    out.put_u64(change.expected);
    if let Some(transfer) = change.transfer {
        out.put_u128(transfer.bits());
    }
    if change.operation == COUNT {
        out.put_u16(change.breaks.len() as u16);
        out.put_u16(0);
    }
    for index in &change.cells {
        let cell = state.cells.get_mut(*index);
        cell.version += 1;
        if cell.version == 1 {
            ctx.section.cells.push(*index);
        }
        let number = CellNo::new(state.shard, *index);
        put_cell_entry(out, number, cell.sku(), cell.location, cell.lot, cell.version);
    }
    for movement in &change.movements {
        out.put_movement(movement);
    }
    if let Some((movement, _)) = &change.instruction {
        out.put_movement(movement);
    }
    for broken in &change.breaks {
        out.put_u128(broken.order);
        out.put_u16(broken.home);
        out.put_u16(broken.line);
        out.put_u32(broken.units);
    }
    end(out, at);
    for movement in &change.movements {
        state.carry_out(movement, ctx.section).expect("the units were checked");
    }
    if let Some((movement, arrives)) = &change.instruction {
        let peer = movement.cell.shard();
        let key = change.key.bits();
        let mut settle = super::cross::next_settle(state, peer, key, 0, vec![*movement]);
        settle.arrives = Some(*arrives);
        ctx.messages.push((peer, Instruction::Settle(settle)));
    }
    let answer = Answered {
        key: change.key.bits(),
        order: 0,
        seq,
        deadline: 0,
        fingerprint: change.fingerprint,
        version: 0,
        status: Answered::STOCK,
    };
    state.add_answer(answer, ctx.section);
    ctx.section.count += 1;
    Applied::Done(Receipt::Stock(StockReceipt { key: change.key, seq, version: 0 }))
}
