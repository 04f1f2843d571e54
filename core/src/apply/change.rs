//! What happens to an order after it was made: extend, release, place, cancel, ship, short, and
//! what was found about its risk; what a count breaks of it stands in `promise`.
//!
//! A use of a coupon follows the goods of its order: nobody ships, cancels or misses it by itself.
//! The record that takes the last goods, be it a cancel, ship, short or break, settles the uses
//! too: as shipped if any of the goods were, else they are given back.

use crate::apply::{Applied, Context, fingerprint, refuse, repeated};
use crate::codec::{FLAG_TOTAL, FLAG_VERSION, Kind, Put, begin, end};
use crate::command::{Cancel, Extend, LineQuantity, Place, Release, Ship, Short, SkuKind};
use crate::decided::{RecordRisk, Risk};
use crate::domain::answered::Answered;
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::order::{Detail, OrderLine, Part};
use crate::id::{Key, OrderId};
use crate::limits::{LINES_MAX, MOVEMENTS_MAX, ORDER_VERSION_MAX, TTL_MS_MAX};
use crate::money::Money;
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::{ChangeReceipt, OrderStatus, Receipt, Refusal};
use crate::state::State;
use crate::time::Timestamp;

/// A change of an order that has passed its checks.
pub(super) struct Change<'a> {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Key of the command; `None` for an expiry. Of a break, the key of the count, whose answer
    /// stands with its cell.
    pub(super) key: Option<Key>,
    pub(super) fingerprint: u32,
    pub(super) slot: u32,
    pub(super) status: OrderStatus,
    pub(super) reason: u16,
    /// New deadline, and the time to live that was asked; `extend` only.
    pub(super) deadline: Option<(Timestamp, u64)>,
    /// The order's risk from now on; RISK only.
    pub(super) risk: Option<Risk>,
    pub(super) lines: &'a [LineQuantity],
    pub(super) moves: Vec<Movement>,
}

type Outcome = Result<Applied, Refusal>;

/// Moves the deadline of a reservation.
pub(crate) fn extend(state: &mut State, ctx: &mut Context<'_>, extend: &Extend) -> Outcome {
    if extend.ttl_ms == 0 || extend.ttl_ms > TTL_MS_MAX {
        return Err(refuse(Reject::TtlInvalid, 0, extend.ttl_ms, TTL_MS_MAX));
    }
    let fingerprint = fingerprint::of_extend(extend);
    if let Some(answer) = repeated(state, extend.key, fingerprint)? {
        return Ok(answer);
    }
    let slot = reserved_order(state, extend.order)?;
    check_capacity(state, slot)?;
    let order = state.orders.get(slot);
    let hard = match order.detail() {
        Some(detail) => state.detail(detail).hard_deadline,
        None => order.deadline().millis(),
    };
    // Never earlier than before: a late retry must not cut a reservation short.
    let wanted = (ctx.now.millis() + extend.ttl_ms).min(hard).max(order.deadline().millis());
    let deadline = Timestamp::from_millis(wanted);
    let change = Change {
        kind: Kind::Extend,
        flags: 0,
        key: Some(extend.key),
        fingerprint,
        slot,
        status: OrderStatus::Reserved,
        reason: 0,
        deadline: Some((deadline, extend.ttl_ms)),
        risk: None,
        lines: &[],
        moves: Vec::new(),
    };
    Ok(carry_out(state, ctx, &change))
}

/// Gives a reservation up.
pub(crate) fn release(state: &mut State, ctx: &mut Context<'_>, release: &Release) -> Outcome {
    let fingerprint = fingerprint::of_release(release);
    if let Some(answer) = repeated(state, release.key, fingerprint)? {
        return Ok(answer);
    }
    let slot = reserved_order(state, release.order)?;
    check_capacity(state, slot)?;
    let change = Change {
        kind: Kind::Release,
        flags: 0,
        key: Some(release.key),
        fingerprint,
        slot,
        status: OrderStatus::Cancelled,
        reason: release.reason,
        deadline: None,
        risk: None,
        lines: &[],
        moves: all_of(state, slot, Bucket::Reserved, Bucket::Available),
    };
    Ok(carry_out(state, ctx, &change))
}

/// Turns a reservation into a placed order.
pub(crate) fn place(state: &mut State, ctx: &mut Context<'_>, place: &Place) -> Outcome {
    let fingerprint = fingerprint::of_place(place);
    if let Some(answer) = repeated(state, place.key, fingerprint)? {
        return Ok(answer);
    }
    let slot = reserved_order(state, place.order)?;
    let order = state.orders.get(slot);
    if order.risk().is_open() {
        return Err(refuse(Reject::RiskOpen, 0, 0, order.risk() as u64));
    }
    let total = Money::trusted(order.total(), order.currency());
    if let Some(expected) = place.expected_total {
        if expected.currency() != total.currency() {
            return Err(refuse(Reject::CurrencyMismatch, 0, 0, 0));
        }
        if expected != total {
            let (asked, found) = (expected.minor().unsigned_abs(), total.minor().unsigned_abs());
            return Err(refuse(Reject::PriceChanged, 0, asked, found));
        }
    }
    check_capacity(state, slot)?;
    let change = Change {
        kind: Kind::Place,
        flags: if place.expected_total.is_some() { FLAG_TOTAL } else { 0 },
        key: Some(place.key),
        fingerprint,
        slot,
        status: OrderStatus::Placed,
        reason: 0,
        deadline: None,
        risk: None,
        lines: &[],
        moves: all_of(state, slot, Bucket::Reserved, Bucket::Committed),
    };
    Ok(carry_out(state, ctx, &change))
}

/// Records what was found about a reservation under challenge or review.
///
/// Allow places at once what was asked as a `buy`; deny gives the units back.
pub(crate) fn record_risk(
    state: &mut State,
    ctx: &mut Context<'_>,
    record: &RecordRisk,
) -> Outcome {
    if record.risk == Risk::Unscored {
        return Err(refuse(Reject::DecisionInvalid, 0, 0, 0));
    }
    let fingerprint = fingerprint::of_risk(record);
    if let Some(answer) = repeated(state, record.key, fingerprint)? {
        return Ok(answer);
    }
    let slot = reserved_order(state, record.order)?;
    let order = state.orders.get(slot);
    if !order.risk().is_open() {
        return Err(refuse(Reject::StateConflict, 0, 0, order.status() as u64));
    }
    check_capacity(state, slot)?;
    let all_to = |to| all_of(state, slot, Bucket::Reserved, to);
    let (status, moves) = match record.risk {
        Risk::Deny => (OrderStatus::Rejected, all_to(Bucket::Available)),
        Risk::Allow if order.asked_as_buy() => (OrderStatus::Placed, all_to(Bucket::Committed)),
        Risk::Unscored | Risk::Allow | Risk::Challenge | Risk::Review => {
            (OrderStatus::Reserved, Vec::new())
        }
    };
    let change = Change {
        kind: Kind::Risk,
        flags: 0,
        key: Some(record.key),
        fingerprint,
        slot,
        status,
        reason: record.reason,
        deadline: None,
        risk: Some(record.risk),
        lines: &[],
        moves,
    };
    Ok(carry_out(state, ctx, &change))
}

/// Gives back unshipped units of a placed order.
pub(crate) fn cancel(state: &mut State, ctx: &mut Context<'_>, cancel: &Cancel) -> Outcome {
    let wish = Wish {
        kind: Kind::Cancel,
        key: cancel.key,
        fingerprint: fingerprint::of_cancel(cancel),
        order: cancel.order,
        version: cancel.expected_version,
        reason: cancel.reason,
        lines: &cancel.lines,
        to: Bucket::Available,
    };
    settle_units(state, ctx, &wish)
}

/// Ships committed units.
pub(crate) fn ship(state: &mut State, ctx: &mut Context<'_>, ship: &Ship) -> Outcome {
    let wish = Wish {
        kind: Kind::Ship,
        key: ship.key,
        fingerprint: fingerprint::of_ship(ship),
        order: ship.order,
        version: ship.expected_version,
        reason: 0,
        lines: &ship.lines,
        to: Bucket::Shipped,
    };
    settle_units(state, ctx, &wish)
}

/// Reports committed units as missing.
pub(crate) fn short(state: &mut State, ctx: &mut Context<'_>, short: &Short) -> Outcome {
    if short.lines.is_empty() {
        return Err(refuse(Reject::LineCount, 0, 0, LINES_MAX as u64));
    }
    let wish = Wish {
        kind: Kind::Short,
        key: short.key,
        fingerprint: fingerprint::of_short(short),
        order: short.order,
        version: short.expected_version,
        reason: 0,
        lines: &short.lines,
        to: Bucket::Missing,
    };
    settle_units(state, ctx, &wish)
}

/// Lets a reservation expire whose deadline has passed.
pub(crate) fn expire(state: &mut State, ctx: &mut Context<'_>, slot: u32) {
    let change = Change {
        kind: Kind::Expire,
        flags: 0,
        key: None,
        fingerprint: 0,
        slot,
        status: OrderStatus::Expired,
        reason: 0,
        deadline: None,
        risk: None,
        lines: &[],
        moves: all_of(state, slot, Bucket::Reserved, Bucket::Available),
    };
    carry_out(state, ctx, &change);
}

/// A wish to move committed units of some lines on.
struct Wish<'a> {
    kind: Kind,
    key: Key,
    fingerprint: u32,
    order: OrderId,
    version: Option<u32>,
    reason: u16,
    lines: &'a [LineQuantity],
    to: Bucket,
}

fn settle_units(state: &mut State, ctx: &mut Context<'_>, wish: &Wish<'_>) -> Outcome {
    if wish.lines.len() > LINES_MAX {
        return Err(refuse(Reject::LineCount, 0, wish.lines.len() as u64, LINES_MAX as u64));
    }
    for line in wish.lines {
        if line.quantity == Quantity::ZERO {
            return Err(refuse(Reject::QuantityInvalid, line.line.into(), 0, 0));
        }
    }
    if let Some(answer) = repeated(state, wish.key, wish.fingerprint)? {
        return Ok(answer);
    }
    let slot = known_order(state, wish.order)?;
    let order = state.orders.get(slot);
    if order.status() != OrderStatus::Placed {
        return Err(refuse(Reject::StateConflict, 0, 0, order.status() as u64));
    }
    let version = u32::from(order.version);
    if let Some(expected) = wish.version.filter(|v| *v != version) {
        return Err(refuse(Reject::StaleVersion, 0, expected.into(), version.into()));
    }
    let (moves, settled) = if wish.lines.is_empty() {
        (all_committed(state, slot, wish.to), true)
    } else {
        units_of(state, slot, wish.lines, wish.to)?
    };
    check_capacity(state, slot)?;
    if moves.len() > MOVEMENTS_MAX {
        return Err(refuse(Reject::CapacityReached, 0, moves.len() as u64, MOVEMENTS_MAX as u64));
    }
    let shipped = moves.iter().any(|m| m.to == Bucket::Shipped) || any_shipped(state, slot);
    let status = match (settled, shipped) {
        (false, _) => OrderStatus::Placed,
        (true, true) => OrderStatus::Completed,
        (true, false) => OrderStatus::Cancelled,
    };
    let change = Change {
        kind: wish.kind,
        flags: if wish.version.is_some() { FLAG_VERSION } else { 0 },
        key: Some(wish.key),
        fingerprint: wish.fingerprint,
        slot,
        status,
        reason: wish.reason,
        deadline: None,
        risk: None,
        lines: wish.lines,
        moves,
    };
    Ok(carry_out(state, ctx, &change))
}

fn known_order(state: &State, order: OrderId) -> Result<u32, Refusal> {
    state.order_slot(order.bits()).ok_or_else(|| refuse(Reject::OrderUnknown, 0, 0, 0))
}

/// Returns the slot of an order that is a live reservation.
fn reserved_order(state: &State, order: OrderId) -> Result<u32, Refusal> {
    let slot = known_order(state, order)?;
    let order = state.orders.get(slot);
    match order.status() {
        OrderStatus::Reserved => Ok(slot),
        OrderStatus::Expired => {
            Err(refuse(Reject::ReservationExpired, 0, 0, order.deadline().millis()))
        }
        OrderStatus::Cancelled if order.was_reserved() => {
            Err(refuse(Reject::ReservationExpired, 0, 0, 0))
        }
        status => Err(refuse(Reject::StateConflict, 0, 0, status as u64)),
    }
}

fn check_capacity(state: &State, slot: u32) -> Result<(), Refusal> {
    let version = u32::from(state.orders.get(slot).version);
    // The last version is left for the expiry or settlement that must always be possible.
    if version + 1 >= ORDER_VERSION_MAX || !state.has_room() {
        return Err(refuse(Reject::CapacityReached, 0, version.into(), ORDER_VERSION_MAX.into()));
    }
    Ok(())
}

fn any_shipped(state: &State, slot: u32) -> bool {
    match state.orders.get(slot).detail() {
        Some(detail) => state.detail(detail).lines.iter().any(|l| l.shipped > 0),
        None => false,
    }
}

/// Returns the movements of everything that an order holds in one bucket.
fn all_of(state: &State, slot: u32, from: Bucket, to: Bucket) -> Vec<Movement> {
    let order = state.orders.get(slot);
    if let Some((cell, quantity)) = order.simple() {
        return vec![Movement { cell, quantity, from, to, line: 0 }];
    }
    let detail = state.detail(order.detail().expect("an order is simple or detailed"));
    let held = |p: &Part| if from == Bucket::Reserved { p.reserved } else { p.committed };
    let movement = |p: &Part| Movement { cell: p.cell, quantity: held(p), from, to, line: p.line };
    detail.parts.iter().filter(|p| held(p) > 0).map(movement).collect()
}

/// Returns the movements of everything that a placed order holds: goods as wished, uses of coupons
/// as what became of the goods says.
fn all_committed(state: &State, slot: u32, to: Bucket) -> Vec<Movement> {
    let mut moves = all_of(state, slot, Bucket::Committed, to);
    if let Some(detail) = state.orders.get(slot).detail() {
        let detail = state.detail(detail);
        if let Some(uses) = uses_of(state, detail) {
            let fate = fate_of_uses(detail, &uses, &moves);
            moves.iter_mut().filter(|m| uses[usize::from(m.line)]).for_each(|m| m.to = fate);
        }
    }
    moves
}

/// Returns which lines are uses of coupons that go with goods of the same order; `None` if there
/// are no such lines.
fn uses_of(state: &State, detail: &Detail) -> Option<Vec<bool>> {
    let is_use = |line: &OrderLine| state.catalogue.get(line.sku).kind == SkuKind::Coupon;
    let mixed = detail.lines.iter().any(is_use) && !detail.lines.iter().all(is_use);
    mixed.then(|| detail.lines.iter().map(is_use).collect())
}

/// Returns where uses of coupons go when the last goods move on: they were used if any goods have
/// left, before or by these movements, else somebody else may use them.
fn fate_of_uses(detail: &Detail, uses: &[bool], moves: &[Movement]) -> Bucket {
    let goods_leave = |m: &Movement| m.to == Bucket::Shipped && !uses[usize::from(m.line)];
    let have_left = |(line, is_use): (&OrderLine, &bool)| line.shipped > 0 && !is_use;
    let left = moves.iter().any(goods_leave) || detail.lines.iter().zip(uses).any(have_left);
    if left { Bucket::Shipped } else { Bucket::Available }
}

/// Adds the movements of uses of coupons if `moves` take the last goods of an order, which is
/// passed as it was before them.
///
/// Uses in the cell that a count looks at stay: the count tells of each of them itself, and has
/// not told of those in the lines before the broken one. A kit that holds the same coupon can
/// leave them so.
pub(super) fn let_follow(
    state: &State,
    detail: &Detail,
    from: Bucket,
    counted: Option<CellNo>,
    moves: &mut Vec<Movement>,
) {
    let Some(uses) = uses_of(state, detail) else { return };
    let held = |p: &Part| if from == Bucket::Reserved { p.reserved } else { p.committed };
    let is_use = |line: u16| uses[usize::from(line)];
    let goods = detail.parts.iter().filter(|p| !is_use(p.line)).map(|p| u64::from(held(p)));
    let gone = moves.iter().filter(|m| !is_use(m.line)).map(|m| u64::from(m.quantity));
    if gone.sum::<u64>() < goods.sum() {
        return;
    }
    let to = fate_of_uses(detail, &uses, moves);
    let following = |p: &&Part| is_use(p.line) && held(p) > 0 && Some(p.cell) != counted;
    let movement = |p: &Part| Movement { cell: p.cell, quantity: held(p), from, to, line: p.line };
    moves.extend(detail.parts.iter().filter(following).map(movement));
}

/// Returns the movements of some units by line, and whether nothing stays committed.
fn units_of(
    state: &State,
    slot: u32,
    lines: &[LineQuantity],
    to: Bucket,
) -> Result<(Vec<Movement>, bool), Refusal> {
    let order = state.orders.get(slot);
    let mut detail = match order.detail() {
        Some(detail) => state.detail(detail).clone(),
        None => detail_of_simple(state, slot),
    };
    let uses = uses_of(state, &detail);
    let names_use = |at: usize| uses.as_ref().is_some_and(|uses| uses[at]);
    let held: u64 = detail.parts.iter().map(|p| u64::from(p.committed)).sum();
    let mut moves = Vec::new();
    for wish in lines {
        let at = usize::from(wish.line);
        let units = wish.quantity.units();
        let line = detail.lines.get(at).copied().filter(|_| !names_use(at));
        let committed = line.map_or(0, |l| committed_of(state, &detail.parts, at, &l));
        if units > committed {
            return Err(refuse(Reject::OverCommitted, at, units.into(), committed.into()));
        }
        let line = line.expect("units are committed");
        for_each_component(state, &line, |sku, per| {
            let mut left = units * per;
            for part in &mut detail.parts {
                let take = part.committed.min(left);
                if usize::from(part.line) != at || part.sku != sku || take == 0 {
                    continue;
                }
                part.committed -= take;
                left -= take;
                let from = Bucket::Committed;
                moves.push(Movement { cell: part.cell, quantity: take, from, to, line: wish.line });
            }
        });
    }
    if let Some(before) = order.detail() {
        let_follow(state, state.detail(before), Bucket::Committed, None, &mut moves);
    }
    let moved: u64 = moves.iter().map(|m| u64::from(m.quantity)).sum();
    Ok((moves, held == moved))
}

/// Calls with each SKU with stock of a line, and its units for one unit of the line.
pub(crate) fn for_each_component(state: &State, line: &OrderLine, mut visit: impl FnMut(u32, u32)) {
    let sku = state.catalogue.get(line.sku);
    if sku.is_kit() {
        sku.components.iter().for_each(|(component, per)| visit(*component, *per));
    } else {
        visit(line.sku, 1);
    }
}

/// Returns the committed units of a line, in kits for a kit.
pub(crate) fn committed_of(state: &State, parts: &[Part], at: usize, line: &OrderLine) -> u32 {
    units_in(state, parts, at, line, |p| p.committed)
}

/// Returns the units of a line in one bucket, in kits for a kit.
pub(crate) fn units_in(
    state: &State,
    parts: &[Part],
    at: usize,
    line: &OrderLine,
    held: impl Fn(&Part) -> u32,
) -> u32 {
    let mut least = u32::MAX;
    for_each_component(state, line, |sku, per| {
        let same = parts.iter().filter(|p| usize::from(p.line) == at && p.sku == sku);
        least = least.min(same.map(&held).sum::<u32>() / per);
    });
    least
}

/// Returns the lines and parts of a simple order as if it had a detail.
pub(crate) fn detail_of_simple(state: &State, slot: u32) -> Detail {
    let order = state.orders.get(slot);
    let (cell, units) = order.simple().expect("the order is simple");
    let sku = state.cells.get(cell.index()).sku();
    let mut line = OrderLine { sku, asked: units, granted: units, ..OrderLine::default() };
    let mut part = Part { line: 0, sku, cell, reserved: 0, committed: 0 };
    match order.status() {
        OrderStatus::Reserved => part.reserved = units,
        OrderStatus::Placed => part.committed = units,
        OrderStatus::Completed => line.shipped = units,
        OrderStatus::Expired | OrderStatus::Cancelled | OrderStatus::Rejected => {
            line.cancelled = units;
        }
    }
    let deadline = order.deadline().millis();
    Detail {
        lines: vec![line],
        parts: vec![part],
        hard_deadline: deadline,
        first_deadline: deadline,
    }
}

/// Writes the record of a change and carries it out.
pub(super) fn carry_out(state: &mut State, ctx: &mut Context<'_>, change: &Change<'_>) -> Applied {
    let here = |m: &Movement| m.cell.shard() == state.shard;
    let (own, remote): (Vec<Movement>, Vec<Movement>) = change.moves.iter().partition(|m| here(m));
    let seq = ctx.section.seq();
    put_change(state, ctx, change, &own, &remote);
    let order = state.orders.get(change.slot);
    let (id, customer) = (order.id(), order.customer().0);
    for movement in &own {
        state.carry_out(movement, ctx.section).expect("an order's units are where it says");
        state.count_limit_of(customer, movement).expect("an order's units are counted");
    }
    super::cross::instruct(state, ctx, id.bits(), customer, &remote);
    update_lines(state, change);
    let order = state.orders.get_mut(change.slot);
    order.version += 1;
    let was = order.status();
    order.set_status(change.status);
    if let Some((deadline, _)) = change.deadline {
        order.set_deadline(deadline);
        state.calendar.add(deadline.millis(), change.slot);
    }
    if let Some(risk) = change.risk {
        state.orders.get_mut(change.slot).set_risk(risk);
    }
    if ctx.section.is_exact() {
        let kept = state.orders.get_mut(change.slot).set_last_seq(seq);
        debug_assert!(kept, "an order's records are within 2^32 of each other");
    } else {
        ctx.section.touched.insert(change.slot, seq);
    }
    let live = |s: OrderStatus| matches!(s, OrderStatus::Reserved | OrderStatus::Placed);
    if live(was) && !live(change.status) {
        state.settle_order(change.slot);
    }
    let version = u32::from(state.orders.get(change.slot).version);
    let receipt = ChangeReceipt {
        order: id,
        status: change.status,
        seq,
        version,
        deadline: change.deadline.map_or(Timestamp::ZERO, |(deadline, _)| deadline),
    };
    if let Some(key) = change.key.filter(|_| change.kind != Kind::Break) {
        let answer = Answered {
            key: key.bits(),
            order: id.bits(),
            seq,
            deadline: receipt.deadline.millis(),
            fingerprint: change.fingerprint,
            version,
            status: change.status as u8,
        };
        state.add_answer(answer, ctx.section);
    }
    ctx.section.count += 1;
    Applied::Done(Receipt::Change(receipt))
}

fn put_change(
    state: &State,
    ctx: &mut Context<'_>,
    change: &Change<'_>,
    own: &[Movement],
    remote: &[Movement],
) {
    let order = state.orders.get(change.slot);
    let previous = ctx.section.touched.get(&change.slot).copied();
    let previous = previous.unwrap_or_else(|| order.last_seq());
    let out = &mut ctx.section.bytes;
    let at = begin(out, change.kind, change.flags);
    out.put_u16(change.lines.len() as u16);
    out.put_u16(own.len() as u16);
    out.put_u128(change.key.map_or(0, Key::bits));
    out.put_u128(order.id().bits());
    if previous >= crate::shard::section::PROVISIONAL {
        ctx.section.byte_patches.push(out.len() as u32);
    }
    out.put_u64(previous);
    out.put_u32(u32::from(order.version) + 1);
    out.put_u16(remote.len() as u16);
    out.put_u16(change.reason);
    if let Some((deadline, ttl_ms)) = change.deadline {
        out.put_u64(deadline.millis());
        out.put_u64(ttl_ms);
    }
    if let Some(risk) = change.risk {
        out.put_u64(risk as u64);
    }
    for line in change.lines {
        out.put_u16(line.line);
        out.put_u16(0);
        out.put_u32(line.quantity.units());
    }
    for movement in own.iter().chain(remote) {
        out.put_movement(movement);
    }
    end(out, at);
}

/// Brings the lines of an order in line with a change.
fn update_lines(state: &mut State, change: &Change<'_>) {
    let order = state.orders.get(change.slot);
    let Some(detail) = order.detail() else {
        if simple_stays(change) {
            return;
        }
        let mut detail = detail_of_simple(state, change.slot);
        update_detail(state, &mut detail, change);
        let slot = state.add_detail(detail);
        state.orders.get_mut(change.slot).set_detail(slot);
        return;
    };
    let mut boxed = state.details.get_mut(detail).take().expect("a detailed order has its detail");
    update_detail(state, &mut boxed, change);
    *state.details.get_mut(detail) = Some(boxed);
}

/// Whether a simple order is as simple after a change: its status then tells where its units are.
fn simple_stays(change: &Change<'_>) -> bool {
    match change.kind {
        Kind::Cancel | Kind::Ship => change.status != OrderStatus::Placed,
        Kind::Short | Kind::Break => false,
        _ => true,
    }
}

fn update_detail(state: &State, detail: &mut Detail, change: &Change<'_>) {
    for movement in &change.moves {
        let same = |p: &&mut Part| {
            let held = if movement.from == Bucket::Reserved { p.reserved } else { p.committed };
            p.cell == movement.cell && p.line == movement.line && held >= movement.quantity
        };
        let part = detail.parts.iter_mut().find(same).expect("a movement belongs to a part");
        match movement.from {
            Bucket::Reserved => part.reserved -= movement.quantity,
            _ => part.committed -= movement.quantity,
        }
        if movement.to == Bucket::Committed {
            part.committed += movement.quantity;
        }
    }
    let uses = uses_of(state, detail).unwrap_or_default();
    let parts = &detail.parts;
    for (at, line) in detail.lines.iter_mut().enumerate() {
        if uses.get(at) == Some(&true) {
            update_use(line, change.moves.iter().filter(|m| usize::from(m.line) == at));
            continue;
        }
        let held = units_in(state, parts, at, line, |p| p.reserved + p.committed);
        let gone = line.granted
            - held
            - line.shipped
            - line.short
            - (line.cancelled - (line.asked - line.granted));
        match change.kind {
            Kind::Ship => line.shipped += gone,
            Kind::Short | Kind::Break => line.short += gone,
            _ => line.cancelled += gone,
        }
    }
}

/// What became of a use of a coupon stands in its own movements.
fn update_use<'a>(line: &mut OrderLine, moves: impl Iterator<Item = &'a Movement>) {
    for movement in moves {
        match movement.to {
            Bucket::Committed => (),
            Bucket::Shipped => line.shipped += movement.quantity,
            Bucket::Adjust => line.short += movement.quantity,
            _ => line.cancelled += movement.quantity,
        }
    }
}
