//! A record of the journal is carried out again, and must come out byte for byte the same.

use crate::apply::cross::{settle_facts, take_facts};
use crate::apply::order::{Basket, CrossFacts, accept_cross};
use crate::apply::promise::{Break, break_one};
use crate::apply::{Applied, Context, Instruction, Settle, apply, change, count, policy, sku};
use crate::codec::{
    CELL_ENTRY_BYTES, FLAG_ASKED_AS_BUY, FLAG_COPY, FLAG_CROSS, FLAG_DECIDED, FLAG_PRICED,
    FLAG_TOTAL, FLAG_VERSION, Kind, Malformed, Reader, risk_of,
};
use crate::command::{
    Adjust, Buy, Cancel, Command, Count, DefineSku, Extend, Fill, Import, ImportLine, Line,
    LinePrice, LineQuantity, Lines, Place, Placement, Quarantine, Reason, Receive, Release,
    Reserve, Ship, Short, SkuKind, TransferIn, TransferOut,
};
use crate::decided::{RecordRisk, Risk};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::order::Part;
use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
use crate::money::{Currency, Money};
use crate::quantity::Quantity;
use crate::reply::Refusal;
use crate::state::{State, Taken, TakenPart};

/// Why a record can't be carried out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayError {
    /// Its bytes are not those of a record.
    Malformed,
    /// It names something that is not there, or moves units that are not there.
    Contradiction,
    /// Carried out again, it comes out different.
    Different,
}

impl From<Malformed> for ReplayError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<crate::domain::stock::Imbalance> for ReplayError {
    fn from(_: crate::domain::stock::Imbalance) -> Self {
        Self::Contradiction
    }
}

type Replayed<T> = Result<T, ReplayError>;

/// Carries one record out. The section must start with the seq of this record.
///
/// # Errors
///
/// Returns why the state does not follow; it must not be used then.
pub(crate) fn replay(
    state: &mut State,
    ctx: &mut Context<'_>,
    kind: Kind,
    flags: u8,
    record: &[u8],
) -> Replayed<()> {
    let mut reader = Reader::new(&record[4..]);
    let reader = &mut reader;
    match kind {
        Kind::Open => {
            let shard_count = reader.u16()?;
            if shard_count != state.shard_count {
                return Err(ReplayError::Contradiction);
            }
            super::open_record(ctx.section, shard_count);
        }
        Kind::DefineSku => {
            let define = define_sku(state, reader)?;
            if flags & FLAG_COPY == 0 {
                run(state, ctx, &Command::DefineSku(Box::new(define)))?;
            } else if !sku::copy(state, ctx, &define) {
                return Err(ReplayError::Contradiction);
            }
        }
        Kind::Policy => {
            reader.take(4)?;
            let step = reader.policy_step()?;
            if flags & FLAG_COPY == 0 {
                run(state, ctx, &Command::PolicyStep(Box::new(step)))?;
            } else if !policy::copy(state, ctx, &step) {
                return Err(ReplayError::Contradiction);
            }
        }
        Kind::Stock => {
            let (command, breaks) = stock(state, reader)?;
            if let Command::Count(count) = &command {
                carried_out(&count::again(state, ctx, count, breaks))?;
            } else {
                run(state, ctx, &command)?;
            }
        }
        Kind::Buy | Kind::Reserve => order(state, ctx, kind, flags, reader)?,
        Kind::Place
        | Kind::Extend
        | Kind::Release
        | Kind::Cancel
        | Kind::Ship
        | Kind::Short
        | Kind::Risk => {
            let command = follow_up(state, ctx, kind, flags, reader)?;
            run(state, ctx, &command)?;
        }
        Kind::Expire => {
            reader.take(4 + 16)?;
            let order = reader.u128()?;
            let slot = state.order_slot(order).ok_or(ReplayError::Contradiction)?;
            change::expire(state, ctx, slot);
        }
        Kind::Break => break_one(state, ctx, &Break::of_record(record, state.shard)?)?,
        Kind::Take => take(state, ctx, reader)?,
        Kind::Settle => settle(state, ctx, reader)?,
        Kind::Evict => evict(state, ctx, reader)?,
        Kind::Refused => {
            ctx.section.bytes.extend_from_slice(record);
            ctx.section.count += 1;
        }
    }
    if ctx.section.bytes == record { Ok(()) } else { Err(ReplayError::Different) }
}

fn run(state: &mut State, ctx: &mut Context<'_>, command: &Command) -> Replayed<()> {
    carried_out(&Ok(apply(state, ctx, command)))
}

fn carried_out(outcome: &Result<Applied, Refusal>) -> Replayed<()> {
    if matches!(outcome, Ok(Applied::Done(_))) { Ok(()) } else { Err(ReplayError::Contradiction) }
}

fn quantity(units: u32) -> Replayed<Quantity> {
    Quantity::new(units).ok_or(ReplayError::Malformed)
}

fn money(minor: u64, currency: u16) -> Replayed<Money> {
    let currency = Currency::from_number(currency).ok_or(ReplayError::Malformed)?;
    Money::new(minor as i64, currency).ok_or(ReplayError::Malformed)
}

fn sku_id(state: &State, index: u32) -> Replayed<SkuId> {
    if index as usize >= state.catalogue.count() {
        return Err(ReplayError::Contradiction);
    }
    Ok(state.catalogue.get(index).id)
}

fn define_sku(state: &State, reader: &mut Reader<'_>) -> Replayed<DefineSku> {
    reader.u32()?;
    let key = Key::new(reader.u128()?);
    reader.u64()?;
    let price = reader.u64()?;
    let placement = match reader.u64()? {
        0 => Placement::BySku,
        1 => Placement::ByLocation,
        group => Placement::Group(group),
    };
    let limit = reader.u32()?;
    reader.u32()?;
    let price = money(price, reader.u16()?)?;
    let kind = sku_kind(reader.u8()?)?;
    let code_bytes = usize::from(reader.u8()?);
    let components = reader.u16()?;
    reader.u16()?;
    let code = std::str::from_utf8(reader.take(code_bytes)?);
    let code = code.map_err(|_| ReplayError::Malformed)?.to_owned();
    let limit = if limit == 0 { None } else { Some(quantity(limit)?) };
    let mut list = Vec::with_capacity(components.into());
    for _ in 0..components {
        let id = sku_id(state, reader.u32()?)?;
        list.push((id, quantity(reader.u32()?)?));
    }
    Ok(DefineSku { key, code, kind, price, placement, limit, components: list })
}

/// Returns the kind of a stored number.
pub(crate) fn sku_kind(code: u8) -> Replayed<SkuKind> {
    Ok(match code {
        0 => SkuKind::Goods,
        1 => SkuKind::Seat,
        2 => SkuKind::Slot,
        3 => SkuKind::Coupon,
        4 => SkuKind::Budget,
        5 => SkuKind::Kit,
        _ => return Err(ReplayError::Malformed),
    })
}

struct CellEntry {
    sku: u32,
    location: LocationId,
    lot: LotId,
}

fn cell_entry(reader: &mut Reader<'_>) -> Replayed<(u32, CellEntry)> {
    let number = reader.u32()?;
    let entry = CellEntry {
        sku: reader.u32()?,
        location: LocationId(reader.u32()?),
        lot: LotId(reader.u32()?),
    };
    reader.u32()?;
    Ok((number, entry))
}

/// Reads a STOCK record: its command, and what it breaks if it is a count.
fn stock(state: &State, reader: &mut Reader<'_>) -> Replayed<(Command, Vec<Break>)> {
    let cells = reader.u16()?;
    let movements = reader.u16()?;
    let key = Key::new(reader.u128()?);
    let index = reader.u32()?;
    let operation = reader.u8()?;
    let reason = reader.u8()?;
    reader.u16()?;
    let expected = reader.u64()?;
    let transfer = if operation == 6 { Key::new(reader.u128()?) } else { key };
    let broken = if operation == 8 { reader.u16()? } else { 0 };
    if operation == 8 {
        reader.u16()?;
    }
    let mut entries = Vec::with_capacity(cells.into());
    for _ in 0..cells {
        entries.push(cell_entry(reader)?);
    }
    let mut moved = Vec::with_capacity(movements.into());
    reader.movements(movements, &mut moved)?;
    if operation == 7 {
        return Ok((import(state, key, &entries, &moved)?, Vec::new()));
    }
    let (number, cell) = entries.first().ok_or(ReplayError::Malformed)?;
    let breaks: Result<Vec<Break>, Malformed> =
        (0..broken).map(|_| Break::read(reader, key, CellNo(*number))).collect();
    let breaks = breaks?;
    let sku = sku_id(state, index)?;
    let (location, lot) = (cell.location, cell.lot);
    let first = moved.first();
    let quantity = quantity(first.map_or(0, |m| m.quantity))?;
    let command = match operation {
        1 => Command::Receive(Receive { key, sku, location, lot, quantity }),
        2 => {
            let change = u64::from(quantity.units());
            let up = first.is_some_and(|m| m.to == Bucket::Available);
            let available = if up { expected + change } else { expected.saturating_sub(change) };
            Command::Adjust(Adjust { key, sku, location, lot, expected, available })
        }
        3 | 4 => {
            let (back, reason) = (operation == 4, reason_of(reason)?);
            Command::Quarantine(Quarantine { key, sku, location, lot, quantity, reason, back })
        }
        5 => {
            let to = LocationId(expected as u32);
            Command::TransferOut(TransferOut { key, sku, from: location, lot, to, quantity })
        }
        6 => Command::TransferIn(TransferIn { key, transfer, sku, from: location, quantity }),
        8 => {
            let up = first.is_some_and(|m| m.to == Bucket::Available);
            let change = u64::from(quantity.units());
            let lost: u64 = breaks.iter().map(|b| u64::from(b.units)).sum();
            let lost = lost + if up { 0 } else { change };
            let counted = expected + if up { change } else { 0 };
            let counted = counted.checked_sub(lost).ok_or(ReplayError::Malformed)?;
            Command::Count(Count { key, sku, location, lot, expected, counted })
        }
        _ => return Err(ReplayError::Malformed),
    };
    Ok((command, breaks))
}

fn import(
    state: &State,
    key: Key,
    entries: &[(u32, CellEntry)],
    moved: &[Movement],
) -> Replayed<Command> {
    let mut lines = Vec::with_capacity(moved.len());
    let mut by_number = crate::hash::fold_map();
    for (number, entry) in entries {
        by_number.insert(*number, entry);
    }
    for movement in moved {
        let entry = by_number.get(&movement.cell.0).ok_or(ReplayError::Malformed)?;
        lines.push(ImportLine {
            sku: sku_id(state, entry.sku)?,
            location: entry.location,
            lot: entry.lot,
            quantity: quantity(movement.quantity)?,
        });
    }
    Ok(Command::Import(Import { key, lines }))
}

fn reason_of(code: u8) -> Replayed<Reason> {
    Ok(match code {
        8 => Reason::Damaged,
        9 => Reason::QualityControl,
        10 => Reason::SafetyStock,
        11 => Reason::Quarantine,
        12 => Reason::Missing,
        _ => return Err(ReplayError::Malformed),
    })
}

fn order(
    state: &mut State,
    ctx: &mut Context<'_>,
    kind: Kind,
    flags: u8,
    reader: &mut Reader<'_>,
) -> Replayed<()> {
    let line_count = reader.u16()?;
    let movement_count = reader.u16()?;
    let key = Key::new(reader.u128()?);
    let customer = CustomerId(reader.u64()?);
    let total = reader.u64()?;
    let total = money(total, reader.u16()?)?;
    let fill = reader.u8()?;
    reader.u8()?;
    let instruction_count = reader.u16()?;
    reader.u16()?;
    let now = ctx.now.millis();
    let mut times = (0, 0);
    if kind == Kind::Reserve {
        let since = |at: u64| at.checked_sub(now).ok_or(ReplayError::Malformed);
        times = (since(reader.u64()?)?, since(reader.u64()?)?);
    }
    let fill = match fill {
        0 => Fill::All,
        1 => Fill::Min(reader.u32()?),
        2 => Fill::Partial,
        _ => return Err(ReplayError::Malformed),
    };
    let mut decided = match flags & FLAG_DECIDED {
        0 => None,
        _ => Some(Box::new(reader.decisions()?)),
    };
    let lines = order_lines(state, reader, line_count, flags & FLAG_PRICED != 0)?;
    let expected_total = expected_total(state, flags, &lines, total)?;
    let command = if flags & FLAG_ASKED_AS_BUY != 0 {
        decided.as_mut().ok_or(ReplayError::Malformed)?.review_ms = times.0;
        Command::Buy(Buy { key, customer, lines, fill, expected_total, decided })
    } else if kind == Kind::Reserve {
        let (ttl_ms, hard_cap_ms) = times;
        Command::Reserve(Reserve {
            key,
            customer,
            lines,
            fill,
            ttl_ms,
            hard_cap_ms,
            expected_total,
            decided,
        })
    } else {
        Command::Buy(Buy { key, customer, lines, fill, expected_total, decided })
    };
    if flags & FLAG_CROSS == 0 {
        return run(state, ctx, &command);
    }
    let mut movements = Vec::with_capacity(movement_count.into());
    reader.movements(movement_count, &mut movements)?;
    let mut instructions = Vec::with_capacity(instruction_count.into());
    reader.movements(instruction_count, &mut instructions)?;
    let basket = match &command {
        Command::Reserve(reserve) => Basket::of_reserve(reserve),
        Command::Buy(buy) => Basket::of_buy(buy),
        _ => return Err(ReplayError::Malformed),
    };
    let facts = cross_facts(state, ctx.peer_skus, &basket, total, movements, instructions)?;
    accept_cross(state, ctx, &basket, facts)?;
    Ok(())
}

/// A caller's total is that of the lines as asked, which a partial fill makes less.
fn expected_total(
    state: &State,
    flags: u8,
    lines: &Lines,
    total: Money,
) -> Replayed<Option<Money>> {
    if flags & FLAG_TOTAL == 0 {
        return Ok(None);
    }
    let lines = lines.as_slice();
    let index = |line: &Line| state.catalogue.index_of(line.sku);
    let skus: Option<Vec<u32>> = lines.iter().map(index).collect();
    let skus = skus.ok_or(ReplayError::Contradiction)?;
    let asked = super::basket::total(state, &skus, lines, None);
    let asked = asked.map_err(|_| ReplayError::Contradiction)?;
    Ok(Some(Money::trusted(asked, total.currency())))
}

fn order_lines(
    state: &State,
    reader: &mut Reader<'_>,
    count: u16,
    priced: bool,
) -> Replayed<Lines> {
    let mut one = || -> Replayed<Line> {
        let sku = sku_id(state, reader.u32()?)?;
        let quantity = quantity(reader.u32()?)?;
        let location = LocationId(reader.u32()?);
        let price = if priced {
            Some(LinePrice { unit: reader.u64()? as i64, discount: reader.u64()? as i64 })
        } else {
            None
        };
        Ok(Line { sku, quantity, location, price })
    };
    if count == 1 {
        return Ok(Lines::One(one()?));
    }
    let lines: Replayed<Vec<Line>> = (0..count).map(|_| one()).collect();
    Ok(Lines::Many(lines?.into_boxed_slice()))
}

/// Reads off a cross-shard order's movements what each line was granted, and out of which cells.
fn cross_facts(
    state: &State,
    peer_skus: &[u32],
    basket: &Basket<'_>,
    total: Money,
    movements: Vec<Movement>,
    instructions: Vec<Movement>,
) -> Replayed<CrossFacts> {
    let own = state.taken.get(&basket.key.bits());
    let mut parts: Vec<Part> = Vec::new();
    let peers = instructions.iter().zip(peer_skus).map(|(m, sku)| (m, Some(*sku)));
    for (movement, peer_sku) in movements.iter().map(|m| (m, None)).chain(peers) {
        if movement.to == Bucket::Available {
            continue;
        }
        let same = |p: &&TakenPart| p.cell == movement.cell && p.line == movement.line;
        let own_sku = || own.and_then(|t| t.parts.iter().find(same)).map(|p| p.sku);
        let sku = peer_sku.or_else(own_sku);
        let reserved = if movement.to == Bucket::Reserved { movement.quantity } else { 0 };
        parts.push(Part {
            line: movement.line,
            sku: sku.ok_or(ReplayError::Contradiction)?,
            cell: movement.cell,
            reserved,
            committed: movement.quantity - reserved,
        });
    }
    let granted = granted(state, basket, &parts)?;
    Ok(CrossFacts {
        total: total.minor(),
        currency: total.currency(),
        granted,
        movements,
        instructions,
        parts,
    })
}

fn granted(state: &State, basket: &Basket<'_>, parts: &[Part]) -> Replayed<Vec<u32>> {
    let mut granted = Vec::with_capacity(basket.lines.len());
    for (at, line) in basket.lines.iter().enumerate() {
        let sku = state.catalogue.index_of(line.sku).ok_or(ReplayError::Contradiction)?;
        let line = crate::domain::order::OrderLine { sku, ..Default::default() };
        granted.push(change::units_in(state, parts, at, &line, |p| p.reserved + p.committed));
    }
    Ok(granted)
}

fn follow_up(
    state: &State,
    ctx: &Context<'_>,
    kind: Kind,
    flags: u8,
    reader: &mut Reader<'_>,
) -> Replayed<Command> {
    let line_count = reader.u16()?;
    reader.u16()?;
    let key = Key::new(reader.u128()?);
    let order = OrderId::new(reader.u128()?);
    reader.u64()?;
    let version = reader.u32()?;
    reader.u16()?;
    let reason = reader.u16()?;
    let mut ttl_ms = 0;
    if kind == Kind::Extend {
        reader.u64()?;
        ttl_ms = reader.u64()?;
    }
    let mut risk = Risk::Unscored;
    if kind == Kind::Risk {
        risk = risk_of(reader.u8()?).ok_or(ReplayError::Malformed)?;
        reader.take(7)?;
    }
    let mut lines = Vec::with_capacity(line_count.into());
    for _ in 0..line_count {
        let line = reader.u16()?;
        reader.u16()?;
        lines.push(LineQuantity { line, quantity: quantity(reader.u32()?)? });
    }
    let expected_version = (flags & FLAG_VERSION != 0).then(|| version.wrapping_sub(1));
    debug_assert!(ctx.section.is_exact(), "a replay knows its seqs");
    Ok(match kind {
        Kind::Place => {
            let slot = state.order_slot(order.bits()).ok_or(ReplayError::Contradiction)?;
            let known = state.orders.get(slot);
            let total = Money::trusted(known.total(), known.currency());
            let expected_total = (flags & FLAG_TOTAL != 0).then_some(total);
            Command::Place(Place { key, order, expected_total })
        }
        Kind::Extend => Command::Extend(Extend { key, order, ttl_ms }),
        Kind::Release => Command::Release(Release { key, order, reason }),
        Kind::Cancel => Command::Cancel(Cancel { key, order, lines, expected_version, reason }),
        Kind::Ship => Command::Ship(Ship { key, order, lines, expected_version }),
        Kind::Short => Command::Short(Short { key, order, lines, expected_version }),
        Kind::Risk => Command::RecordRisk(RecordRisk { key, order, risk, reason }),
        _ => return Err(ReplayError::Malformed),
    })
}

fn take(state: &mut State, ctx: &mut Context<'_>, reader: &mut Reader<'_>) -> Replayed<()> {
    reader.u16()?;
    let count = reader.u16()?;
    let order = reader.u128()?;
    let customer = reader.u64()?;
    let home = reader.u16()?;
    reader.take(6)?;
    let mut movements = Vec::with_capacity(count.into());
    reader.movements(count, &mut movements)?;
    let mut parts = Vec::with_capacity(movements.len());
    for movement in &movements {
        if movement.cell.shard() != state.shard || movement.cell.index() >= state.cells.high() {
            return Err(ReplayError::Contradiction);
        }
        parts.push(TakenPart {
            line: movement.line,
            sku: state.cells.get(movement.cell.index()).sku(),
            cell: movement.cell,
            units: movement.quantity,
        });
    }
    Ok(take_facts(state, ctx, order, Taken { home, customer, parts }, &movements)?)
}

/// Reads a settle record; the version of a cell entry is made anew.
fn read_settle(reader: &mut Reader<'_>) -> Replayed<Settle> {
    let entries = reader.u16()?;
    let count = reader.u16()?;
    let order = reader.u128()?;
    let number = reader.u64()?;
    let customer = reader.u64()?;
    let home = reader.u16()?;
    reader.take(6)?;
    let mut arrives = None;
    if entries > 1 {
        return Err(ReplayError::Malformed);
    }
    if entries == 1 {
        let mut entry = Reader::new(reader.take(CELL_ENTRY_BYTES)?);
        let (_, entry) = cell_entry(&mut entry)?;
        arrives = Some((entry.sku, entry.location.0, entry.lot.0));
    }
    let mut movements = Vec::with_capacity(count.into());
    reader.movements(count, &mut movements)?;
    Ok(Settle { home, number, order, customer, movements, arrives })
}

fn settle(state: &mut State, ctx: &mut Context<'_>, reader: &mut Reader<'_>) -> Replayed<()> {
    let settle = read_settle(reader)?;
    if usize::from(settle.home) >= state.received.len() {
        return Err(ReplayError::Contradiction);
    }
    if let Some((sku, _, _)) = settle.arrives {
        sku_id(state, sku)?;
    }
    Ok(settle_facts(state, ctx, &settle)?)
}

fn evict(state: &mut State, ctx: &mut Context<'_>, reader: &mut Reader<'_>) -> Replayed<()> {
    let count = reader.u32()?;
    evict_oldest(state, ctx, count, |_| ()).ok_or(ReplayError::Contradiction)
}

/// Writes the record of an eviction and carries it out; passes the keys on that leave memory.
pub(crate) fn evict_oldest(
    state: &mut State,
    ctx: &mut Context<'_>,
    count: u32,
    mut gone: impl FnMut(u128),
) -> Option<()> {
    use crate::codec::{Put, begin, end};
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::Evict, 0);
    out.put_u32(count);
    end(out, at);
    for _ in 0..count {
        gone(state.evict_oldest()?);
    }
    ctx.section.count += 1;
    Some(())
}

/// Returns the cells of peers that the instructions of a cross-shard order name, in their order.
pub(crate) fn peer_cells(kind: Kind, flags: u8, record: &[u8]) -> Replayed<Vec<Movement>> {
    let mut list = Vec::new();
    if !matches!(kind, Kind::Buy | Kind::Reserve) || flags & FLAG_CROSS == 0 {
        return Ok(list);
    }
    let mut reader = Reader::new(&record[4..]);
    reader.take(2 + 2 + 16 + 8 + 8 + 2 + 2)?;
    let count = usize::from(reader.u16()?);
    // Instructions stand last.
    let skip = record.len().checked_sub(count * crate::codec::MOVEMENT_BYTES);
    let tail = record.get(skip.ok_or(ReplayError::Malformed)?..).ok_or(ReplayError::Malformed)?;
    Reader::new(tail).movements(count as u16, &mut list)?;
    Ok(list)
}

/// Returns the shard that instructed what a record carries out, if it does; undos are not
/// instructed.
pub(crate) fn instructed_by(kind: Kind, flags: u8, record: &[u8]) -> Replayed<Option<u16>> {
    Ok(match kind {
        Kind::DefineSku | Kind::Policy if flags & FLAG_COPY != 0 => Some(0),
        Kind::Settle => {
            let settle = read_settle(&mut Reader::new(&record[4..]))?;
            (settle.number != 0).then_some(settle.home)
        }
        Kind::Break => Some(Break::of_record(record, 0)?.cell.shard()),
        _ => None,
    })
}

/// Returns whether an instruction to a shard is what its record says.
pub(crate) fn settles(instruction: &Instruction, shard: u16, kind: Kind, record: &[u8]) -> bool {
    let mut reader = Reader::new(&record[4..]);
    match instruction {
        Instruction::Define(_) => kind == Kind::DefineSku,
        Instruction::Policy(_) => kind == Kind::Policy,
        Instruction::Break(broken) => {
            kind == Kind::Break && Break::of_record(record, shard) == Ok(*broken)
        }
        Instruction::Settle(settle) => {
            kind == Kind::Settle
                && read_settle(&mut reader).is_ok_and(|read| {
                    read.home == settle.home
                        && read.number == settle.number
                        && read.order == settle.order
                })
        }
    }
}
