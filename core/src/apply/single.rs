//! The path of the order that a flash sale is made of: one line, whole, out of one cell.
//!
//! It decides and records what `order` would, without buffers and second look-ups; whatever is
//! out of the ordinary it leaves to `order`, before anything has changed. A test compares the two.

use crate::apply::order::{Basket, Header, begin_record, new_order, put_lines};
use crate::apply::{Context, policy};
use crate::codec::{Put, end};
use crate::command::{Fill, Line, Placement};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::order::Order;
use crate::id::LocationId;
use crate::money::Money;
use crate::reply::{Grants, OrderReceipt};
use crate::route;
use crate::state::State;
use crate::time::Timestamp;

/// What an order of one line takes.
#[derive(Clone, Copy, Debug)]
struct Single {
    sku: u32,
    cell: u32,
    units: u32,
    total: i64,
    currency: crate::money::Currency,
    /// Tag of the customer's limit, if the SKU has one.
    limit: Option<u32>,
}

/// Makes the order if it is an ordinary one of one line and is accepted.
pub(crate) fn make(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
) -> Option<OrderReceipt> {
    let [line] = basket.lines else { return None };
    let plain = basket.fill == Fill::All && basket.expected_total.is_none();
    let simple = basket.times.is_none_or(|(ttl, cap)| ttl == cap);
    if !plain || !simple || !basket.has_valid_times() || basket.check_times(state.now).is_err() {
        return None;
    }
    if let Some(decided) = basket.decided {
        let fine = policy::check_shape(decided, 1)
            .and_then(|()| policy::check_known(state, decided))
            .and_then(|()| policy::check_refusal(decided));
        fine.ok()?;
    }
    let tag = state.key_tag(basket.key.bits());
    let single = plan(state, line, basket.customer.0)?;
    if state.lookup_tagged(tag, basket.key.bits()).is_some() || !state.has_room() {
        return None;
    }
    Some(accept(state, ctx, basket, &single, tag))
}

/// Chooses the cell and checks stock, limit and total.
fn plan(state: &State, line: &Line, customer: u64) -> Option<Single> {
    let index = state.catalogue.index_of(line.sku)?;
    let sku = state.catalogue.get(index);
    let units = line.quantity.units();
    let anywhere = line.location == LocationId::ANY;
    if units == 0 || sku.is_kit() || anywhere && sku.placement == Placement::ByLocation {
        return None;
    }
    let here = state.shard_count == 1
        || route::cell_shard(sku.placement, sku.id, line.location, state.shard_count)
            == state.shard;
    let (price, discount) = match line.price {
        None => (sku.price, 0),
        Some(price) if price.unit < 0 || price.discount < 0 => return None,
        Some(price) => (price.unit, price.discount),
    };
    let gross = price.checked_mul(units.into()).filter(|gross| *gross >= discount)?;
    let total = Some(gross - discount).filter(|total| *total <= Money::MINOR_MAX)?;
    if !here || sku.limit > 0 && customer == 0 {
        return None;
    }
    let fits = |cell: &u32| state.cells.get(*cell).free() >= u64::from(units);
    let cell = if anywhere {
        // The oldest cell of all, if it holds enough.
        sku.first_cell().filter(fits)?
    } else {
        // The oldest lot, if it holds enough.
        state.cell_of.get(&(index, line.location.0)).copied().filter(fits)?
    };
    let limit = state.limit_tag(customer, index);
    if let Some(tag) = limit {
        let used = u64::from(state.limit_used_tagged(tag, customer, index));
        if used + u64::from(units) > u64::from(sku.limit) {
            return None;
        }
    }
    Some(Single { sku: index, cell, units, total, currency: sku.currency, limit })
}

fn accept(
    state: &mut State,
    ctx: &mut Context<'_>,
    basket: &Basket<'_>,
    single: &Single,
    tag: u32,
) -> OrderReceipt {
    let movement = Movement {
        cell: CellNo::new(state.shard, single.cell),
        quantity: single.units,
        from: Bucket::Available,
        to: basket.held_in(),
        line: 0,
    };
    let out = &mut ctx.section.bytes;
    let header =
        Header { total: single.total, currency: single.currency, cross: false, now: ctx.now };
    let at = begin_record(out, basket, &header, 1, 0);
    put_lines(out, &[single.sku], basket.lines);
    out.put_movement(&movement);
    end(out, at);
    let (units, reserved) = (u64::from(single.units), movement.to == Bucket::Reserved);
    let moved = state.move_units(single.cell, ctx.section, |l| l.promise(units, reserved));
    moved.expect("the cell holds enough");
    if let Some(tag) = single.limit {
        let counted =
            state.count_limit_tagged(tag, basket.customer.0, single.sku, single.units.into());
        counted.expect("the limit was checked");
    }
    let new = new_order(basket, single.currency, single.total, ctx);
    let mut order = Order::new(&new);
    order.set_simple(movement.cell, single.units);
    let slot = state.add_order_tagged(order, tag);
    super::order::note_made(state, ctx, slot, &new);
    OrderReceipt {
        order: new.id,
        status: new.status,
        seq: new.created_seq,
        total: Money::trusted(single.total, single.currency),
        risk: new.risk,
        deadline: if basket.times.is_some() { new.deadline } else { Timestamp::ZERO },
        grants: Grants::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Applied, apply, order};
    use crate::command::{
        Buy, Command, DefineSku, Import, ImportLine, Lines, Placement, Reserve, SkuKind,
    };
    use crate::id::{CustomerId, Key, LotId, SkuId};
    use crate::money::Currency;
    use crate::quantity::Quantity;
    use crate::shard::section::Section;

    /// Two shards with the same stock: one takes the short path, the other never.
    struct Twin {
        state: State,
        section: Section,
        messages: Vec<(u16, crate::apply::Instruction)>,
    }

    impl Twin {
        fn new() -> Self {
            let mut section = Section::new();
            section.restart(1);
            let mut twin = Self { state: State::new(0, 1, 0), section, messages: Vec::new() };
            for sku in 0..4_u32 {
                let define = DefineSku {
                    key: Key::new(u128::from(sku) + 1),
                    code: format!("sku-{sku}"),
                    kind: SkuKind::Goods,
                    price: Money::new(1_000 + i64::from(sku), Currency::EUR).expect("a price"),
                    placement: if sku == 3 { Placement::ByLocation } else { Placement::BySku },
                    limit: (sku == 1 || sku == 2).then(|| quantity(5)),
                    components: Vec::new(),
                };
                twin.apply(&Command::DefineSku(Box::new(define)));
                let line = |location, lot, units| ImportLine {
                    sku: id(sku),
                    location: LocationId(location),
                    lot: LotId(lot),
                    quantity: quantity(units),
                };
                let lines = vec![line(1, 0, 40), line(1, 7, 30), line(2, 0, 60)];
                let key = Key::new(u128::from(sku) + 100);
                twin.apply(&Command::Import(Import { key, lines }));
            }
            twin
        }

        fn run<R>(&mut self, run: impl FnOnce(&mut State, &mut Context<'_>) -> R) -> R {
            let mut ctx = Context {
                now: Timestamp::from_millis(1_000),
                section: &mut self.section,
                messages: &mut self.messages,
                peer_skus: &[],
            };
            run(&mut self.state, &mut ctx)
        }

        fn apply(&mut self, command: &Command) -> Applied {
            self.run(|state, ctx| apply(state, ctx, command))
        }
    }

    fn quantity(units: u32) -> Quantity {
        Quantity::new(units).expect("in range")
    }

    fn id(sku: u32) -> SkuId {
        SkuId::from_code(&format!("sku-{sku}")).expect("a code")
    }

    /// The short path answers and records what the path of baskets does, byte for byte, until
    /// everything is sold out and every limit is reached.
    #[test]
    fn is_the_path_of_baskets_in_short() {
        let (mut short, mut long) = (Twin::new(), Twin::new());
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let (mut taken, mut left) = (0, 0);
        for number in 0..3_000_u128 {
            let mut line = Line::new(id(draw(5) as u32), quantity(draw(4) as u32));
            line.location = LocationId(draw(3) as u32);
            let key = Key::new(1_000 + number - u128::from(draw(2)));
            let customer = CustomerId(draw(60));
            let buy = Buy::one(key, customer, line);
            let ttl_ms = 1_000 * draw(3);
            let reserve = Reserve {
                key,
                customer,
                lines: Lines::One(line),
                fill: buy.fill,
                expected_total: None,
                ttl_ms,
                hard_cap_ms: ttl_ms + draw(2),
                decided: None,
            };
            let basket =
                if draw(4) == 0 { Basket::of_reserve(&reserve) } else { Basket::of_buy(&buy) };
            let before = short.section.bytes.len();
            match short.run(|state, ctx| make(state, ctx, &basket)) {
                Some(receipt) => {
                    taken += 1;
                    let whole = long.run(|state, ctx| order::make_long(state, ctx, &basket));
                    assert_eq!(whole, Applied::Done(crate::reply::Receipt::Order(receipt)));
                }
                None => {
                    left += 1;
                    assert_eq!(short.section.bytes.len(), before, "what it leaves it leaves alone");
                    let ours = short.run(|state, ctx| order::make_long(state, ctx, &basket));
                    assert_eq!(ours, long.run(|state, ctx| order::make_long(state, ctx, &basket)));
                }
            }
            assert_eq!(short.section.bytes[before..], long.section.bytes[before..]);
        }
        assert_eq!(short.section.count, long.section.count);
        assert!(taken > 150 && left > 150, "{taken} taken, {left} left");
    }
}
