//! Which reject is the answer where several apply: the first in the order of [`Reject`], at the
//! first line that it applies to.
//!
//! The checks themselves stop at the first thing that is wrong, whatever it is. Only then is
//! everything looked at, so what is accepted pays nothing for it.

use std::collections::BTreeMap;

use crate::apply::basket::{self, Shortage, Want, total, usable};
use crate::apply::order::Basket;
use crate::apply::{policy, refuse, sku_index};
use crate::command::{DefineSku, Fill, Line, Placement};
use crate::domain::catalogue::Sku;
use crate::id::LocationId;
use crate::limits::TTL_MS_MAX;
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::Refusal;
use crate::state::{Known, State};

/// The first refusal so far.
pub(super) struct First(Refusal);

impl First {
    pub(super) const fn new(found: Refusal) -> Self {
        Self(found)
    }

    /// Takes a refusal that goes before the one so far.
    pub(super) fn consider(&mut self, other: Refusal) {
        if (other.reject, other.line) < (self.0.reject, self.0.line) {
            self.0 = other;
        }
    }

    fn consider_if(&mut self, applies: bool, reject: Reject, line: usize) {
        if applies {
            self.consider(refuse(reject, line, 0, 0));
        }
    }

    pub(super) const fn get(&self) -> Refusal {
        self.0
    }
}

/// Returns the answer to a basket that one of the checks before planning has refused.
#[cold]
pub(super) fn of_basket(state: &State, basket: &Basket<'_>, found: Refusal) -> Refusal {
    let mut first = First::new(found);
    if found.reject == Reject::LineCount {
        return found;
    }
    let priced = basket.lines.first().is_some_and(|line| line.price.is_some());
    for (at, line) in basket.lines.iter().enumerate() {
        shape_of_line(&mut first, at, line, priced);
    }
    let units = basket.lines.iter().map(|line| u64::from(line.quantity.units())).sum();
    if let Fill::Min(least) = basket.fill
        && (least == 0 || u64::from(least) > units)
    {
        first.consider(refuse(Reject::QuantityInvalid, 0, least.into(), units));
    }
    if !basket.has_valid_times() {
        let ttl = basket.times.map_or(0, |(ttl, _)| ttl);
        first.consider(refuse(Reject::TtlInvalid, 0, ttl, TTL_MS_MAX));
    }
    if let Some(decided) = basket.decided {
        let shape = policy::check_shape(decided, basket.lines.len());
        let known = policy::check_known(state, decided);
        let refusal = policy::check_refusal(decided);
        [shape, known, refusal].into_iter().filter_map(Result::err).for_each(|r| first.consider(r));
    }
    let known = state.lookup(basket.key.bits());
    let same = |slot| state.orders.get(slot).fingerprint == basket.fingerprint;
    let reused = known.is_some_and(|known| !matches!(known, Known::Order(slot) if same(slot)));
    first.consider_if(reused, Reject::IdempotencyKeyReused, 0);
    lookups(&mut first, state, basket);
    first.get()
}

fn shape_of_line(first: &mut First, at: usize, line: &Line, priced: bool) {
    if line.quantity == Quantity::ZERO {
        first.consider(refuse(Reject::QuantityInvalid, at, 0, Quantity::MAX.units().into()));
    }
    first.consider_if(line.price.is_some() != priced, Reject::AmountInvalid, at);
    let Some(price) = line.price else { return };
    let gross = i128::from(price.unit) * i128::from(line.quantity.units());
    if price.unit < 0 || price.discount < 0 || i128::from(price.discount) > gross {
        first.consider(refuse(Reject::AmountInvalid, at, price.discount.unsigned_abs(), 0));
    }
}

/// What the catalogue says of the lines, and of their total.
fn lookups(first: &mut First, state: &State, basket: &Basket<'_>) {
    let mut skus = Vec::with_capacity(basket.lines.len());
    let mut currency = None;
    for (at, line) in basket.lines.iter().enumerate() {
        let index = match sku_index(state, line.sku, at) {
            Ok(index) => index,
            Err(unknown) => {
                first.consider(unknown);
                continue;
            }
        };
        skus.push(index);
        let sku = state.catalogue.get(index);
        let shared = *currency.get_or_insert(sku.currency);
        first.consider_if(shared != sku.currency, Reject::CurrencyMismatch, at);
        let units = line.quantity.units();
        for (component, per) in components(index, sku) {
            if units.checked_mul(per).is_none_or(|units| units > Quantity::MAX.units()) {
                first.consider(refuse(Reject::QuantityInvalid, at, units.into(), per.into()));
            }
            let component = state.catalogue.get(component);
            let nowhere = component.placement == Placement::ByLocation;
            let nowhere = nowhere && line.location == LocationId::ANY;
            first.consider_if(nowhere, Reject::LocationInvalid, at);
            let unnamed = component.limit > 0 && basket.customer.0 == 0;
            first.consider_if(unnamed, Reject::CustomerRequired, at);
        }
    }
    let whole = skus.len() == basket.lines.len()
        && basket.lines.iter().all(|line| line.quantity != Quantity::ZERO);
    if let Some(Err(beyond)) = whole.then(|| total(state, &skus, basket.lines, None)) {
        first.consider(beyond);
    }
    let expected = basket.expected_total.map(crate::money::Money::currency);
    let foreign = expected.is_some() && currency.is_some() && expected != currency;
    first.consider_if(foreign, Reject::CurrencyMismatch, 0);
}

/// What one unit of a SKU takes: itself, or its components.
fn components(index: u32, sku: &Sku) -> Vec<(u32, u32)> {
    if sku.is_kit() { sku.components.to_vec() } else { vec![(index, 1)] }
}

/// Returns why a basket can't be had whole, given the first want that found too little: sold out
/// for the first line that is, else contended.
#[cold]
pub(super) fn shortage(state: &State, wants: &[Want], failed: &Want) -> Shortage {
    if wants.len() == 1 {
        return basket::shortage(state, wants, failed);
    }
    let mut asked: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for want in wants {
        *asked.entry((want.sku, 0)).or_default() += u64::from(want.units);
        if want.location != 0 {
            *asked.entry((want.sku, want.location)).or_default() += u64::from(want.units);
        }
    }
    for want in wants {
        let asked = asked.get(&(want.sku, want.location)).copied().unwrap_or_default();
        let (available, tentative) = usable(state, want);
        if asked > available + tentative {
            return Shortage::SoldOut { want: *want, asked, available, tentative };
        }
    }
    basket::shortage(state, wants, failed)
}

/// Returns the answer to a definition whose components were refused; `fixed` is what is wrong
/// with it as a change of the SKU that there is.
#[cold]
pub(super) fn of_definition(
    state: &State,
    define: &DefineSku,
    found: Refusal,
    fixed: Option<Refusal>,
) -> Refusal {
    let mut first = First::new(found);
    fixed.into_iter().for_each(|fixed| first.consider(fixed));
    for (at, (sku, _)) in define.components.iter().enumerate() {
        match sku_index(state, *sku, at).map(|index| state.catalogue.get(index)) {
            Err(unknown) => first.consider(unknown),
            Ok(component) => {
                first.consider_if(component.is_kit(), Reject::KitMismatch, at);
                let other = component.currency != define.price.currency();
                first.consider_if(other, Reject::CurrencyMismatch, at);
            }
        }
    }
    first.get()
}
