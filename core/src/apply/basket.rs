//! A basket: its lines resolved to SKUs, priced, and planned onto cells.

use crate::apply::{Scratch, precedence, refuse, sku_index};
use crate::command::{Fill, Line, Placement, SkuKind};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::id::LocationId;
use crate::limits::{LINES_MAX, MOVEMENTS_MAX};
use crate::money::{Currency, Money};
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::Refusal;
use crate::route;
use crate::state::State;

/// Units of one SKU with stock that one line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) line: u16,
    pub(crate) sku: u32,
    /// Location, or 0 for any.
    pub(crate) location: u32,
    /// Units for one unit of the line: 1, or what a kit holds.
    pub(crate) per: u32,
    pub(crate) units: u32,
}

/// Units of one line planned from one cell of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) line: u16,
    pub(crate) sku: u32,
    pub(crate) cell: u32,
    pub(crate) units: u32,
}

/// A basket whose lines were looked up; its wants stand in the scratch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub(crate) currency: Currency,
    /// Whether every want is in this shard.
    pub(crate) local: bool,
}

/// Checks the shape of a basket: what can be said without looking anything up.
pub(crate) fn check_shape(lines: &[Line], fill: Fill) -> Result<(), Refusal> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(refuse(Reject::LineCount, 0, lines.len() as u64, LINES_MAX as u64));
    }
    let priced = lines[0].price.is_some();
    let mut sum = 0_u64;
    for (at, line) in lines.iter().enumerate() {
        if line.quantity == Quantity::ZERO {
            return Err(refuse(Reject::QuantityInvalid, at, 0, Quantity::MAX.units().into()));
        }
        sum += u64::from(line.quantity.units());
        if line.price.is_some() != priced {
            return Err(refuse(Reject::AmountInvalid, at, 0, 0));
        }
        let Some(price) = line.price else { continue };
        let gross = i128::from(price.unit) * i128::from(line.quantity.units());
        if price.unit < 0 || price.discount < 0 || i128::from(price.discount) > gross {
            return Err(refuse(Reject::AmountInvalid, at, price.discount.unsigned_abs(), 0));
        }
    }
    match fill {
        Fill::Min(units) if units == 0 || u64::from(units) > sum => {
            Err(refuse(Reject::QuantityInvalid, 0, units.into(), sum))
        }
        Fill::All | Fill::Partial | Fill::Min(_) => Ok(()),
    }
}

/// Looks the lines up and expands kits; the wants are left in the scratch.
pub(crate) fn resolve(
    state: &State,
    scratch: &mut Scratch,
    lines: &[Line],
    customer: u64,
) -> Result<Resolved, Refusal> {
    scratch.wants.clear();
    scratch.skus.clear();
    let mut found = None;
    let mut local = true;
    let mut mixed = None;
    let mut unnamed = None;
    for (at, line) in lines.iter().enumerate() {
        let index = sku_index(state, line.sku, at)?;
        scratch.skus.push(index);
        let sku = state.catalogue.get(index);
        match found {
            None => found = Some(sku.currency),
            Some(currency) if currency != sku.currency => mixed = mixed.or(Some(at)),
            Some(_) => (),
        }
        let asked = line.quantity.units();
        if !sku.is_kit() {
            let want = Want {
                line: at as u16,
                sku: index,
                location: line.location.0,
                per: 1,
                units: asked,
            };
            check_location(sku.placement, line.location, at)?;
            local &= push_want(state, scratch, want, customer, &mut unnamed);
            continue;
        }
        for (component, per) in &sku.components {
            let units = asked.checked_mul(*per).filter(|n| *n <= Quantity::MAX.units());
            let Some(units) = units else {
                return Err(refuse(Reject::QuantityInvalid, at, asked.into(), (*per).into()));
            };
            let want = Want {
                line: at as u16,
                sku: *component,
                location: line.location.0,
                per: *per,
                units,
            };
            check_location(state.catalogue.get(*component).placement, line.location, at)?;
            local &= push_want(state, scratch, want, customer, &mut unnamed);
        }
    }
    if let Some(at) = mixed {
        return Err(refuse(Reject::CurrencyMismatch, at, 0, 0));
    }
    if let Some(at) = unnamed {
        return Err(refuse(Reject::CustomerRequired, at, 0, 0));
    }
    let currency = found.expect("a basket has a line");
    Ok(Resolved { currency, local })
}

fn check_location(placement: Placement, location: LocationId, line: usize) -> Result<(), Refusal> {
    if placement == Placement::ByLocation && location == LocationId::ANY {
        return Err(refuse(Reject::LocationInvalid, line, 0, 0));
    }
    Ok(())
}

/// Keeps a want; returns whether it is in this shard.
fn push_want(
    state: &State,
    scratch: &mut Scratch,
    want: Want,
    customer: u64,
    unnamed: &mut Option<usize>,
) -> bool {
    let sku = state.catalogue.get(want.sku);
    if sku.limit > 0 && customer == 0 {
        *unnamed = unnamed.or(Some(want.line.into()));
    }
    scratch.wants.push(want);
    state.shard_count == 1
        || route::cell_shard(sku.placement, sku.id, LocationId(want.location), state.shard_count)
            == state.shard
}

/// Returns the total of the lines for the units granted, or of the lines as asked; `skus` are
/// the lines' SKU indexes.
pub(crate) fn total(
    state: &State,
    skus: &[u32],
    lines: &[Line],
    granted: Option<&[u32]>,
) -> Result<i64, Refusal> {
    let mut sum = 0_i128;
    for (at, (line, sku)) in lines.iter().zip(skus).enumerate() {
        let asked = line.quantity.units();
        let granted = granted.map_or(asked, |g| g[at]);
        sum += match line.price {
            Some(price) => amount(price.unit, price.discount, asked, granted),
            None => i128::from(state.catalogue.get(*sku).price) * i128::from(granted),
        };
    }
    if sum > i128::from(Money::MINOR_MAX) {
        return Err(refuse(Reject::AmountInvalid, 0, 0, Money::MINOR_MAX as u64));
    }
    Ok(sum as i64)
}

/// Returns the amount of one line; a discount is shared out by units, rounded down.
fn amount(unit: i64, discount: i64, asked: u32, granted: u32) -> i128 {
    let gross = i128::from(unit) * i128::from(granted);
    if granted == asked {
        return gross - i128::from(discount);
    }
    gross - i128::from(discount) * i128::from(granted) / i128::from(asked)
}

/// Checks the total that the buyer has seen against the basket as asked.
pub(crate) fn check_total(
    resolved: Resolved,
    total: i64,
    expected: Option<Money>,
) -> Result<(), Refusal> {
    let Some(expected) = expected else { return Ok(()) };
    if expected.currency() != resolved.currency {
        return Err(refuse(Reject::CurrencyMismatch, 0, 0, 0));
    }
    if expected.minor() != total {
        let (asked, found) = (expected.minor().unsigned_abs(), total.unsigned_abs());
        return Err(refuse(Reject::PriceChanged, 0, asked, found));
    }
    Ok(())
}

/// Checks the limits of a customer against the units asked.
pub(crate) fn check_limits(state: &State, wants: &[Want], customer: u64) -> Result<(), Refusal> {
    let fits = |(at, want): (usize, &Want)| {
        let limit = u64::from(state.catalogue.get(want.sku).limit);
        let used = |want: &Want| u64::from(state.limit_used(customer, want.sku));
        // A SKU that comes again is looked at with all of its units below.
        limit == 0
            || wants[..at].iter().all(|w| w.sku != want.sku)
                && used(want) + u64::from(want.units) <= limit
    };
    if wants.iter().enumerate().all(fits) {
        Ok(())
    } else {
        check_limit_sums(state, wants, customer)
    }
}

/// Checks the limits of a customer against the units asked of each SKU in all lines together.
#[cold]
fn check_limit_sums(state: &State, wants: &[Want], customer: u64) -> Result<(), Refusal> {
    for want in wants {
        let limit = u64::from(state.catalogue.get(want.sku).limit);
        if limit == 0 {
            continue;
        }
        let same = wants.iter().filter(|w| w.sku == want.sku);
        let asked = same.map(|w| u64::from(w.units)).sum::<u64>();
        let used = u64::from(state.limit_used(customer, want.sku));
        if used + asked > limit {
            let left = limit.saturating_sub(used);
            return Err(refuse(Reject::LimitReached, want.line.into(), asked, left));
        }
    }
    Ok(())
}

/// Why a basket can't be planned here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Not with what is available and tentative; with the want and its facts.
    SoldOut { want: Want, asked: u64, available: u64, tentative: u64 },
    /// Some units, but fewer than the policy asks.
    PartialOnly { asked: u64, found: u64 },
    /// Perhaps, once baskets in flight are through.
    Contended { line: u16, asked: u64, available: u64 },
    /// A record can't hold so many movements.
    TooMany,
}

/// Plans a basket onto the cells of this shard: units by line and cell in `scratch.plan`, units
/// by line in `scratch.granted`. The cells' `planned` counts are set; `forget_plan` or
/// `carry_out_plan` ends that.
///
/// Wants with a location go first, because others can give way to them and not the reverse.
pub(crate) fn plan(
    state: &mut State,
    scratch: &mut Scratch,
    lines: &[Line],
    fill: Fill,
) -> Result<(), Shortage> {
    scratch.plan.clear();
    scratch.granted.clear();
    scratch.granted.extend(lines.iter().map(|l| l.quantity.units()));
    let outcome = match fill {
        Fill::All => plan_all(state, scratch),
        Fill::Min(_) | Fill::Partial => plan_some(state, scratch, lines, fill),
    };
    if outcome.is_err() {
        forget_plan(state, scratch);
    }
    outcome
}

fn plan_all(state: &mut State, scratch: &mut Scratch) -> Result<(), Shortage> {
    for located in [true, false] {
        for at in 0..scratch.wants.len() {
            let want = scratch.wants[at];
            if (want.location != 0) != located {
                continue;
            }
            if !plan_units(state, &mut scratch.plan, &want, want.units) {
                return Err(precedence::shortage(state, &scratch.wants, &want));
            }
            if scratch.plan.len() > MOVEMENTS_MAX {
                return Err(Shortage::TooMany);
            }
        }
    }
    Ok(())
}

fn plan_some(
    state: &mut State,
    scratch: &mut Scratch,
    lines: &[Line],
    fill: Fill,
) -> Result<(), Shortage> {
    let mut first = 0;
    let wants = std::mem::take(&mut scratch.wants);
    for located in [true, false] {
        first = 0;
        while first < wants.len() {
            let line = wants[first].line;
            let count = wants[first..].iter().take_while(|w| w.line == line).count();
            let of_line = &wants[first..first + count];
            first += count;
            if (of_line[0].location != 0) != located {
                continue;
            }
            let most = |w: &Want| usable_free(state, w) / u64::from(w.per);
            let most = of_line.iter().map(most).min().unwrap_or(0);
            let granted = most.min(u64::from(scratch.granted[usize::from(line)])) as u32;
            scratch.granted[usize::from(line)] = granted;
            for want in of_line.iter().filter(|_| granted > 0) {
                let planned = plan_units(state, &mut scratch.plan, want, granted * want.per);
                assert!(planned, "free units were counted");
            }
        }
    }
    debug_assert_eq!(first, wants.len());
    let outcome = check_fill(state, &wants, lines, &scratch.granted, fill);
    scratch.wants = wants;
    if scratch.plan.len() > MOVEMENTS_MAX { Err(Shortage::TooMany) } else { outcome }
}

fn check_fill(
    state: &State,
    wants: &[Want],
    lines: &[Line],
    granted: &[u32],
    fill: Fill,
) -> Result<(), Shortage> {
    let counted = counted_lines(state, lines);
    let (sum, least) = filled(&counted, granted, fill);
    if sum >= least {
        return Ok(());
    }
    let mut of_goods = wants.iter().filter(|w| counted[usize::from(w.line)]);
    let tentative: u64 = of_goods.clone().map(|w| usable(state, w).1).sum();
    if tentative > 0 {
        return Err(Shortage::Contended { line: 0, asked: least, available: sum });
    }
    if sum > 0 {
        return Err(Shortage::PartialOnly { asked: least, found: sum });
    }
    // Nothing at all: the first want that has no unit to give says so; else the first whose units
    // a use of the basket's own has taken.
    let empty = of_goods.clone().find(|w| usable(state, w).0 < u64::from(w.per));
    let sold_out = |w: &&Want| matches!(shortage(state, wants, w), Shortage::SoldOut { .. });
    let empty = empty.or_else(|| of_goods.find(sold_out)).unwrap_or(&wants[0]);
    Err(shortage(state, wants, empty))
}

/// Returns which lines a fill policy counts: all but uses of coupons, which go with goods; all if
/// there are no goods.
pub(crate) fn counted_lines(state: &State, lines: &[Line]) -> Vec<bool> {
    let is_use = |line: &Line| {
        let index = state.catalogue.index_of(line.sku);
        index.is_some_and(|index| state.catalogue.get(index).kind == SkuKind::Coupon)
    };
    let goods = !lines.iter().all(is_use);
    lines.iter().map(|line| !goods || !is_use(line)).collect()
}

/// Returns the units granted of the lines that count, and the fewest that the policy accepts.
pub(crate) fn filled(counted: &[bool], granted: &[u32], fill: Fill) -> (u64, u64) {
    let least = match fill {
        Fill::All | Fill::Partial => 1,
        Fill::Min(units) => u64::from(units),
    };
    let counted = granted.iter().zip(counted).filter(|(_, counted)| **counted);
    (counted.map(|(granted, _)| u64::from(*granted)).sum(), least)
}

pub(super) fn shortage(state: &State, wants: &[Want], want: &Want) -> Shortage {
    let same = |w: &&Want| w.sku == want.sku && (want.location == 0 || w.location == want.location);
    let asked: u64 = wants.iter().filter(same).map(|w| u64::from(w.units)).sum();
    let (available, tentative) = usable(state, want);
    if asked > available + tentative {
        return Shortage::SoldOut { want: *want, asked, available, tentative };
    }
    Shortage::Contended { line: want.line, asked, available }
}

/// Plans units of a want; `false` if there are too few, with what was planned left planned.
fn plan_units(state: &mut State, plan: &mut Vec<Planned>, want: &Want, units: u32) -> bool {
    let mut take = |state: &mut State, cell: u32, units: u32| {
        state.cells.get_mut(cell).planned += u64::from(units);
        plan.push(Planned { line: want.line, sku: want.sku, cell, units });
    };
    // Fewest splits first: one cell that holds everything.
    let mut whole = None;
    for_each_cell(state, want, |cell, free| {
        if free >= u64::from(units) && whole.is_none() {
            whole = Some(cell);
        }
        whole.is_none()
    });
    if let Some(cell) = whole {
        take(state, cell, units);
        return true;
    }
    let mut left = units;
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for_each_cell(state, want, |cell, free| {
        let part = free.min(u64::from(left)) as u32;
        if part > 0 {
            parts.push((cell, part));
            left -= part;
        }
        left > 0
    });
    if left > 0 {
        return false;
    }
    for (cell, part) in parts {
        take(state, cell, part);
    }
    true
}

/// Visits the usable cells of a want with their free units, oldest first, while `visit` says so.
#[inline]
fn for_each_cell(state: &State, want: &Want, mut visit: impl FnMut(u32, u64) -> bool) {
    if want.location == 0 {
        for cell in state.catalogue.get(want.sku).cells() {
            if !visit(cell, state.cells.get(cell).free()) {
                return;
            }
        }
        return;
    }
    let mut at = state.cell_of.get(&(want.sku, want.location)).copied();
    while let Some(index) = at {
        let cell = state.cells.get(index);
        if !visit(index, cell.free()) {
            return;
        }
        at = cell.next_lot.checked_sub(1);
    }
}

fn usable_free(state: &State, want: &Want) -> u64 {
    let mut sum = 0;
    for_each_cell(state, want, |_, free| {
        sum += free;
        true
    });
    sum
}

/// Returns the available and tentative units over the usable cells of a want.
pub(crate) fn usable(state: &State, want: &Want) -> (u64, u64) {
    if want.location == 0 {
        let level = &state.catalogue.get(want.sku).level;
        return (level.available, level.tentative);
    }
    let mut sum = (0, 0);
    for_each_cell(state, want, |cell, _| {
        let level = &state.cells.get(cell).level;
        sum = (sum.0 + level.available, sum.1 + level.tentative);
        true
    });
    sum
}

/// Drops a plan.
pub(crate) fn forget_plan(state: &mut State, scratch: &mut Scratch) {
    for planned in scratch.plan.drain(..) {
        state.cells.get_mut(planned.cell).planned -= u64::from(planned.units);
    }
}

/// Returns the movement of a planned part.
pub(crate) fn movement_of(state: &State, planned: &Planned, from: Bucket, to: Bucket) -> Movement {
    Movement {
        cell: CellNo::new(state.shard, planned.cell),
        quantity: planned.units,
        from,
        to,
        line: planned.line,
    }
}
