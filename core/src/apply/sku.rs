//! The catalogue: SKUs are defined, and change their price or limit.

use crate::apply::{Applied, Context, Instruction, fingerprint, precedence, refuse, repeated};
use crate::codec::{FLAG_COPY, Kind, Put, begin, end};
use crate::command::{DefineSku, Placement, SkuKind};
use crate::domain::answered::Answered;
use crate::domain::catalogue::Sku;
use crate::id::SkuId;
use crate::limits::{KIT_COMPONENTS_MAX, SKUS_MAX};
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::{Receipt, Refusal, StockReceipt};
use crate::state::State;

/// Journal code of a placement.
pub(crate) fn placement_code(placement: Placement) -> u64 {
    match placement {
        Placement::BySku => 0,
        Placement::ByLocation => 1,
        Placement::Group(group) => group,
    }
}

/// Defines or changes a SKU; shard 0 decides, the others follow it by `copy`.
pub(crate) fn define(
    state: &mut State,
    ctx: &mut Context<'_>,
    define: &DefineSku,
) -> Result<Applied, Refusal> {
    let id = check_shape(define)?;
    let fingerprint = fingerprint::of_define(define);
    if let Some(answer) = repeated(state, define.key, fingerprint)? {
        return Ok(answer);
    }
    if state.shard != 0 {
        // Its key was on its way to this shard; shard 0 alone defines.
        return Err(refuse(Reject::Contended, 0, 0, 0));
    }
    let components = find_components(state, define).map_err(|found| {
        let known = state.catalogue.index_of(id).map(|index| state.catalogue.get(index));
        let fixed = known.and_then(|sku| check_same(state, sku, define).err());
        precedence::of_definition(state, define, found, fixed)
    })?;
    let index = match state.catalogue.index_of(id) {
        Some(index) => {
            check_same(state, state.catalogue.get(index), define)?;
            Some(index)
        }
        None if state.catalogue.count() >= SKUS_MAX => {
            return Err(refuse(Reject::CapacityReached, 0, SKUS_MAX as u64, SKUS_MAX as u64));
        }
        None => None,
    };
    if !state.has_room() {
        return Err(refuse(Reject::CapacityReached, 0, 0, 0));
    }

    // The definition is accepted: nothing below may fail.
    let seq = ctx.section.seq();
    let version = enter(state, ctx, define, id, index, components, 0);
    for peer in 1..state.shard_count {
        ctx.messages.push((peer, Instruction::Define(Box::new(define.clone()))));
    }
    let answer = Answered {
        key: define.key.bits(),
        order: 0,
        seq,
        deadline: 0,
        fingerprint,
        version,
        status: Answered::STOCK,
    };
    state.add_answer(answer, ctx.section);
    Ok(Applied::Done(Receipt::Stock(StockReceipt { key: define.key, seq, version })))
}

/// Follows a definition that shard 0 has accepted; `false` if it does not fit this shard.
pub(crate) fn copy(state: &mut State, ctx: &mut Context<'_>, define: &DefineSku) -> bool {
    let Ok(id) = check_shape(define) else { return false };
    let Ok(components) = find_components(state, define) else { return false };
    let index = state.catalogue.index_of(id);
    enter(state, ctx, define, id, index, components, FLAG_COPY);
    true
}

fn check_shape(define: &DefineSku) -> Result<SkuId, Refusal> {
    let invalid = refuse(Reject::DefinitionInvalid, 0, 0, 0);
    if define.price.minor() < 0 {
        return Err(refuse(Reject::AmountInvalid, 0, define.price.minor().unsigned_abs(), 0));
    }
    let id = SkuId::from_code(&define.code).map_err(|_| invalid)?;
    let kit = define.kind == SkuKind::Kit;
    let count = define.components.len();
    if kit == define.components.is_empty() || count > KIT_COMPONENTS_MAX {
        return Err(invalid);
    }
    if define.limit == Some(Quantity::ZERO) {
        return Err(invalid);
    }
    // Limits are counted where the SKU's cells are: a kit has none, and cells by location are
    // spread.
    let spread = kit || define.placement == Placement::ByLocation;
    if define.limit.is_some() && spread {
        return Err(invalid);
    }
    if matches!(define.placement, Placement::Group(group) if group < 2) {
        return Err(invalid);
    }
    for (at, (sku, units)) in define.components.iter().enumerate() {
        let twice = define.components[..at].iter().any(|(other, _)| other == sku);
        if twice || *units == Quantity::ZERO || *sku == id {
            return Err(refuse(Reject::DefinitionInvalid, at, 0, 0));
        }
    }
    Ok(id)
}

fn find_components(state: &State, define: &DefineSku) -> Result<Box<[(u32, u32)]>, Refusal> {
    let find = |(at, (sku, units)): (usize, &(SkuId, Quantity))| {
        let index = super::sku_index(state, *sku, at)?;
        let component = state.catalogue.get(index);
        if component.is_kit() {
            return Err(refuse(Reject::KitMismatch, at, 0, 0));
        }
        if component.currency != define.price.currency() {
            return Err(refuse(Reject::CurrencyMismatch, at, 0, 0));
        }
        Ok((index, units.units()))
    };
    define.components.iter().enumerate().map(find).collect()
}

fn check_same(state: &State, sku: &Sku, define: &DefineSku) -> Result<(), Refusal> {
    if *sku.code != *define.code {
        return Err(refuse(Reject::SkuCodeTaken, 0, 0, 0));
    }
    let named =
        |(index, units): &(u32, u32)| (state.catalogue.get(*index).id, Quantity::trusted(*units));
    let same = sku.kind == define.kind
        && sku.placement == define.placement
        && sku.currency == define.price.currency()
        && sku.components.iter().map(named).eq(define.components.iter().copied())
        // Units bought without a limit were not counted: one can't begin later, or end.
        && (sku.limit > 0) == define.limit.is_some();
    if same { Ok(()) } else { Err(refuse(Reject::SkuFixed, 0, 0, 0)) }
}

/// Writes the record and enters the SKU; returns its version.
fn enter(
    state: &mut State,
    ctx: &mut Context<'_>,
    define: &DefineSku,
    id: SkuId,
    index: Option<u32>,
    components: Box<[(u32, u32)]>,
    flags: u8,
) -> u32 {
    let limit = define.limit.map_or(0, Quantity::units);
    let index = if let Some(index) = index {
        let sku = state.catalogue.get_mut(index);
        sku.price = define.price.minor();
        sku.limit = limit;
        sku.version += 1;
        sku.key = define.key;
        index
    } else {
        state.catalogue.push(Sku {
            id,
            code: define.code.as_str().into(),
            kind: define.kind,
            placement: define.placement,
            currency: define.price.currency(),
            price: define.price.minor(),
            limit,
            version: 1,
            key: define.key,
            components,
            ..Sku::default()
        });
        state.catalogue.count() as u32 - 1
    };
    let sku = state.catalogue.get(index);
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::DefineSku, flags);
    out.put_u32(index);
    out.put_u128(sku.key.bits());
    out.put_u64(id.bits());
    out.put_u64(sku.price as u64);
    out.put_u64(placement_code(sku.placement));
    out.put_u32(sku.limit);
    out.put_u32(sku.version);
    out.put_u16(sku.currency.number());
    out.put_u8(sku.kind as u8);
    out.put_u8(sku.code.len() as u8);
    out.put_u16(sku.components.len() as u16);
    out.put_u16(0);
    out.extend_from_slice(sku.code.as_bytes());
    for (component, units) in &sku.components {
        out.put_u32(*component);
        out.put_u32(*units);
    }
    end(out, at);
    ctx.section.count += 1;
    ctx.section.defined.push(index);
    sku.version
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;
    use crate::money::{Currency, Money};
    use crate::shard::section::Section;
    use crate::time::Timestamp;

    /// Another code with the id of a known one is refused; the id is 64 bits of a hash, so the
    /// test renames the known one instead of searching for a second.
    #[test]
    fn another_code_with_the_same_id_is_refused() {
        let mut state = State::new(0, 1, 0);
        let (mut section, mut messages) = (Section::new(), Vec::new());
        section.restart(1);
        let mut ctx = Context {
            now: Timestamp::ZERO,
            section: &mut section,
            messages: &mut messages,
            peer_skus: &[],
        };
        let mug = |key| DefineSku {
            key: Key::new(key),
            code: "MUG".to_owned(),
            kind: SkuKind::Goods,
            price: Money::trusted(1, Currency::EUR),
            placement: Placement::BySku,
            limit: None,
            components: Vec::new(),
        };
        assert!(define(&mut state, &mut ctx, &mug(1)).is_ok());
        state.catalogue.get_mut(0).code = "JUG".into();
        let refused = define(&mut state, &mut ctx, &mug(2)).map_err(|r| r.reject);
        assert_eq!(refused, Err(Reject::SkuCodeTaken));
    }
}
