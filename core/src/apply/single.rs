//! The path of the order that a flash sale is made of: one line, whole, out of one cell.
//!
//! It decides and records what `order` would, without buffers and second look-ups; whatever is
//! out of the ordinary it leaves to `order`, before anything has changed. A test compares the two.

use crate::apply::Context;
use crate::apply::order::{Basket, Header, begin_record, new_order, put_lines};
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
    let plain = basket.fill == Fill::All && line.price.is_none() && basket.expected_total.is_none();
    if !plain || basket.times.is_some_and(|(ttl, cap)| ttl != cap || !basket.has_valid_times()) {
        return None;
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
    let total = sku.price.checked_mul(units.into()).filter(|t| *t <= Money::MINOR_MAX)?;
    if !here || sku.limit > 0 && customer == 0 {
        return None;
    }
    let limit = state.limit_tag(customer, index);
    if let Some(tag) = limit {
        let used = u64::from(state.limit_used_tagged(tag, customer, index));
        if used + u64::from(units) > u64::from(sku.limit) {
            return None;
        }
    }
    let fits = |cell: &u32| state.cells.get(*cell).free() >= u64::from(units);
    let cell = if anywhere {
        *sku.cells.iter().find(|cell| fits(cell))?
    } else {
        // The oldest lot, if it holds enough.
        state.cell_of.get(&(index, line.location.0)).copied().filter(fits)?
    };
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
        deadline: if basket.times.is_some() { new.deadline } else { Timestamp::ZERO },
        grants: Grants::Full,
    }
}
