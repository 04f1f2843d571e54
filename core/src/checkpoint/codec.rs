//! The bytes of a checkpoint's records; the tables stand in `docs/CHECKPOINT_FORMAT.md`.

use std::sync::Arc;

use crate::codec::Put;
use crate::command::{Placement, SkuKind};
use crate::decided::{PolicyNo, PolicyStepView, PolicyView, Step};
use crate::domain::bucket::CellNo;
use crate::domain::catalogue::Sku;
use crate::domain::order::{Detail, OrderLine, Part};
use crate::domain::policy::Policy;
use crate::domain::stock::{Cell, Level};
use crate::id::{Key, SkuId};
use crate::limits::{KIT_COMPONENTS_MAX, LINES_MAX};
use crate::money::Currency;
use crate::state::Transfer;
use crate::state::table::LimitEntry;
use crate::time::Timestamp;

/// Bytes that a page of small records is filled to.
pub(crate) const PAGE_SOFT_BYTES: usize = 24 << 10;
/// Length of a stored cell.
pub(crate) const CELL_BYTES: usize = 104;
/// Length of a stored limit entry.
pub(crate) const LIMIT_BYTES: usize = 16;
/// Most parts of one order that a page is believed to hold.
const PARTS_MAX: u32 = 1 << 20;

pub(crate) use crate::codec::{Malformed, Reader as Source};

pub(crate) fn put_transfer(out: &mut Vec<u8>, key: u128, transfer: &Transfer) {
    out.put_u128(key);
    for word in [transfer.sku, transfer.from_cell, transfer.to, transfer.left] {
        out.put_u32(word);
    }
}

pub(crate) fn transfer(source: &mut Source<'_>) -> Result<(u128, Transfer), Malformed> {
    let key = source.u128()?;
    let transfer = Transfer {
        sku: source.u32()?,
        from_cell: source.u32()?,
        to: source.u32()?,
        left: source.u32()?,
    };
    Ok((key, transfer))
}

pub(crate) fn put_limit(out: &mut Vec<u8>, entry: &LimitEntry) {
    out.put_u64(entry.customer);
    out.put_u32(entry.sku);
    out.put_u32(entry.used);
}

pub(crate) fn limit(source: &mut Source<'_>) -> Result<LimitEntry, Malformed> {
    let entry = LimitEntry { customer: source.u64()?, sku: source.u32()?, used: source.u32()? };
    if entry.customer == 0 { Err(Malformed) } else { Ok(entry) }
}

pub(crate) fn put_cell(out: &mut Vec<u8>, cell: &Cell) {
    for word in [cell.sku_plus_1, cell.location, cell.lot, cell.version] {
        out.put_u32(word);
    }
    let Level { available, tentative, reserved, committed, in_transit, shipped, unavailable } =
        cell.level;
    for word in [available, tentative, reserved, committed, in_transit, shipped] {
        out.put_u64(word);
    }
    unavailable.into_iter().for_each(|word| out.put_u64(word));
}

pub(crate) fn cell(source: &mut Source<'_>) -> Result<Cell, Malformed> {
    let mut cell = Cell {
        sku_plus_1: source.u32()?,
        location: source.u32()?,
        lot: source.u32()?,
        version: source.u32()?,
        ..Cell::default()
    };
    let level = &mut cell.level;
    level.available = source.u64()?;
    level.tentative = source.u64()?;
    level.reserved = source.u64()?;
    level.committed = source.u64()?;
    level.in_transit = source.u64()?;
    level.shipped = source.u64()?;
    for word in &mut level.unavailable {
        *word = source.u64()?;
    }
    Ok(cell)
}

pub(crate) fn put_sku(out: &mut Vec<u8>, sku: &Sku) {
    out.put_u64(sku.id.bits());
    out.put_u128(sku.key.bits());
    out.put_u64(sku.price as u64);
    out.put_u64(crate::apply::sku::placement_code(sku.placement));
    out.put_u32(sku.limit);
    out.put_u32(sku.version);
    out.put_u16(sku.currency.number());
    out.put_u8(sku.kind as u8);
    out.put_u8(sku.code.len() as u8);
    out.put_u16(sku.components.len() as u16);
    out.extend_from_slice(sku.code.as_bytes());
    for (component, units) in &sku.components {
        out.put_u32(*component);
        out.put_u32(*units);
    }
}

pub(crate) fn sku(source: &mut Source<'_>) -> Result<Sku, Malformed> {
    let mut sku = Sku {
        id: SkuId::new(source.u64()?),
        key: Key::new(source.u128()?),
        price: source.u64()? as i64,
        placement: match source.u64()? {
            0 => Placement::BySku,
            1 => Placement::ByLocation,
            group => Placement::Group(group),
        },
        limit: source.u32()?,
        version: source.u32()?,
        currency: Currency::from_number(source.u16()?).ok_or(Malformed)?,
        kind: kind(source.u8()?)?,
        ..Sku::default()
    };
    let code = usize::from(source.u8()?);
    let components = source.u16()?;
    if usize::from(components) > KIT_COMPONENTS_MAX || sku.version == 0 {
        return Err(Malformed);
    }
    sku.code = std::str::from_utf8(source.take(code)?).map_err(|_| Malformed)?.into();
    let component = |_| Ok((source.u32()?, source.u32()?));
    sku.components = (0..components).map(component).collect::<Result<_, Malformed>>()?;
    Ok(sku)
}

/// Appends a policy; its number is its place.
pub(crate) fn put_policy(out: &mut Vec<u8>, policy: &Policy) {
    let PolicyView { no: _, kind, name, version, plugin, config, steps } = policy.view.as_ref();
    out.put_u16(policy.version);
    out.put_u8(*kind as u8);
    out.put_u8(0);
    put_text(out, name);
    put_text(out, version);
    out.extend_from_slice(plugin);
    out.extend_from_slice(config);
    out.put_u16(steps.len() as u16);
    for PolicyStepView { step, share, at, seq, note } in steps {
        out.put_u8(*step as u8);
        out.put_u16(*share);
        out.put_u64(at.millis());
        out.put_u64(*seq);
        put_text(out, note);
    }
}

/// Reads the policy of a number.
pub(crate) fn policy(source: &mut Source<'_>, no: PolicyNo) -> Result<Policy, Malformed> {
    let version = source.u16()?;
    let kind = crate::domain::policy::kind_of(source.u8()?).ok_or(Malformed)?;
    source.u8()?;
    let mut view = PolicyView {
        no,
        kind,
        name: text(source)?,
        version: text(source)?,
        plugin: [0; 32],
        config: [0; 32],
        steps: Vec::new(),
    };
    view.plugin.copy_from_slice(source.take(32)?);
    view.config.copy_from_slice(source.take(32)?);
    let count = source.u16()?;
    // Shard 0 has every step, the others none.
    if version == 0 || count != 0 && count != version {
        return Err(Malformed);
    }
    for _ in 0..count {
        view.steps.push(PolicyStepView {
            step: Step::from_number(source.u8()?).ok_or(Malformed)?,
            share: source.u16()?,
            at: Timestamp::from_millis(source.u64()?),
            seq: source.u64()?,
            note: text(source)?,
        });
    }
    Ok(Policy { view: Arc::new(view), version })
}

/// Appends a text of at most 255 bytes behind its length.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u8(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn text(source: &mut Source<'_>) -> Result<String, Malformed> {
    let length = source.u8()?;
    let text = std::str::from_utf8(source.take(length.into())?);
    text.map(str::to_owned).map_err(|_| Malformed)
}

fn kind(code: u8) -> Result<SkuKind, Malformed> {
    crate::apply::replay::sku_kind(code).map_err(|_| Malformed)
}

pub(crate) fn put_detail(out: &mut Vec<u8>, detail: &Detail) {
    out.put_u64(detail.hard_deadline);
    out.put_u64(detail.first_deadline);
    out.put_u32(detail.lines.len() as u32);
    out.put_u32(detail.parts.len() as u32);
    for line in &detail.lines {
        let OrderLine { sku, asked, granted, shipped, cancelled, short } = *line;
        for word in [sku, asked, granted, shipped, cancelled, short] {
            out.put_u32(word);
        }
    }
    for part in &detail.parts {
        out.put_u32(part.line.into());
        for word in [part.sku, part.cell.0, part.reserved, part.committed] {
            out.put_u32(word);
        }
    }
}

pub(crate) fn detail(source: &mut Source<'_>) -> Result<Detail, Malformed> {
    let mut detail =
        Detail { hard_deadline: source.u64()?, first_deadline: source.u64()?, ..Detail::default() };
    let lines = source.u32()?;
    let parts = source.u32()?;
    if lines as usize > LINES_MAX || parts > PARTS_MAX {
        return Err(Malformed);
    }
    for _ in 0..lines {
        detail.lines.push(OrderLine {
            sku: source.u32()?,
            asked: source.u32()?,
            granted: source.u32()?,
            shipped: source.u32()?,
            cancelled: source.u32()?,
            short: source.u32()?,
        });
    }
    for _ in 0..parts {
        detail.parts.push(Part {
            line: source.u32()? as u16,
            sku: source.u32()?,
            cell: CellNo(source.u32()?),
            reserved: source.u32()?,
            committed: source.u32()?,
        });
    }
    Ok(detail)
}
