//! What must hold of the shards' states: the invariants of the domain, counted anew from scratch.

use std::collections::BTreeMap;

use crate::apply::receipt_of;
use crate::apply::{fingerprint, order};
use crate::command::{Command, SkuKind};
use crate::domain::bucket::CellNo;
use crate::domain::order::Part;
use crate::domain::stock::Level;
use crate::reply::{OrderStatus, Receipt};
use crate::state::{Known, State};
use crate::view::OrderView;

pub(super) type Checked = Result<(), String>;

/// I8: no reservation lives whose deadline has passed.
pub(super) fn deadlines(state: &State) -> Checked {
    for slot in 0..state.orders.high() {
        let order = state.orders.get(slot);
        if order.is_free() || order.status() != OrderStatus::Reserved {
            continue;
        }
        if order.deadline() <= state.now {
            return Err(format!(
                "I8: reservation {} of shard {} is live at {} with deadline {}",
                order.id(),
                state.shard,
                state.now.millis(),
                order.deadline().millis()
            ));
        }
    }
    Ok(())
}

/// I1, I4, I5 and I9's counts, and that nothing is in flight: for states at rest.
///
/// `archived` are the orders that have left memory: limits count them too.
pub(super) fn at_rest(states: &[&State], archived: &[OrderView]) -> Checked {
    for state in states {
        if let Some(order) = state.taken.keys().next() {
            return Err(format!(
                "T: order {order:032x} still holds units of shard {}",
                state.shard
            ));
        }
        for peer in states {
            let (from, to) = (usize::from(state.shard), usize::from(peer.shard));
            if state.sent[to] != peer.received[from] {
                return Err(format!("instructions of shard {from} to {to} are open"));
            }
        }
        sums(state)?;
    }
    let held = held(states)?;
    for state in states {
        for index in 0..state.cells.high() {
            let cell = state.cells.get(index);
            let (reserved, committed) =
                held.get(&CellNo::new(state.shard, index).0).copied().unwrap_or_default();
            let level = &cell.level;
            if (level.reserved, level.committed, level.tentative) != (reserved, committed, 0) {
                return Err(format!(
                    "I4: cell {index} of shard {} counts {level:?}, its orders hold {reserved} \
                     reserved and {committed} committed",
                    state.shard
                ));
            }
            if cell.planned != 0 {
                return Err(format!("cell {index} has planned units between commands"));
            }
        }
    }
    transfers(states)?;
    states.iter().try_for_each(|state| uses(state))?;
    limits(states, archived)
}

/// No order holds uses of coupons for goods of which it holds none: they follow. Only of a coupon
/// that is part of a kit can a count leave some behind.
fn uses(state: &State) -> Checked {
    let kits = || state.catalogue.iter().flat_map(|sku| sku.components.iter());
    for_each_order(state, |slot, parts| {
        let Some(detail) = state.orders.get(slot).detail() else { return Ok(()) };
        let lines = &state.detail(detail).lines;
        let is_use = |sku: u32| state.catalogue.get(sku).kind == SkuKind::Coupon;
        let goods = |p: &&Part| !is_use(lines[usize::from(p.line)].sku);
        let holds = |p: &&Part| p.reserved + p.committed > 0;
        let mut held = parts.iter().filter(holds);
        let alone = held.clone().next().is_some() && held.clone().find(goods).is_none();
        let mixed = lines.iter().any(|line| !is_use(line.sku));
        let in_kit = held.any(|p| kits().any(|(component, _)| *component == p.sku));
        if alone && mixed && !in_kit {
            let order = state.orders.get(slot).id();
            return Err(format!("order {order} holds uses of coupons and no goods"));
        }
        Ok(())
    })
}

/// A SKU counts the sum of its cells.
fn sums(state: &State) -> Checked {
    let mut sums: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for index in 0..state.cells.high() {
        let cell = state.cells.get(index);
        let sum = sums.entry(cell.sku()).or_insert_with(|| vec![0; words(&cell.level).len()]);
        sum.iter_mut().zip(words(&cell.level)).for_each(|(sum, word)| *sum += word);
    }
    for (index, sku) in state.catalogue.iter().enumerate() {
        let counted = words(&sku.level);
        let sum = sums.remove(&(index as u32)).unwrap_or_else(|| vec![0; counted.len()]);
        if sum != counted {
            return Err(format!("I1: SKU {index} counts {counted:?}, its cells {sum:?}"));
        }
    }
    Ok(())
}

fn words(level: &Level) -> Vec<u64> {
    let mut words = vec![
        level.available,
        level.tentative,
        level.reserved,
        level.committed,
        level.in_transit,
        level.shipped,
    ];
    words.extend(level.unavailable);
    words
}

/// Units that orders hold by cell: reserved and committed. Checks I5 on the way.
fn held(states: &[&State]) -> Result<BTreeMap<u32, (u64, u64)>, String> {
    let mut held: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for state in states {
        for_each_order(state, |slot, parts| {
            for part in parts {
                let cell = held.entry(part.cell.0).or_default();
                cell.0 += u64::from(part.reserved);
                cell.1 += u64::from(part.committed);
            }
            let view = OrderView::new(state, slot);
            for (at, l) in view.lines.iter().enumerate() {
                let sum = l.reserved + l.committed + l.short + l.shipped + l.cancelled;
                if sum != l.ordered {
                    return Err(format!("I5: line {at} of {} does not add up: {l:?}", view.order));
                }
            }
            Ok(())
        })?;
    }
    Ok(held)
}

fn for_each_order(state: &State, mut visit: impl FnMut(u32, &[Part]) -> Checked) -> Checked {
    for slot in 0..state.orders.high() {
        let order = state.orders.get(slot);
        if order.is_free() {
            continue;
        }
        match order.detail() {
            Some(detail) => visit(slot, &state.detail(detail).parts)?,
            None => visit(slot, &crate::apply::change::detail_of_simple(state, slot).parts)?,
        }
    }
    Ok(())
}

fn transfers(states: &[&State]) -> Checked {
    for state in states {
        let mut left: BTreeMap<u32, u64> = BTreeMap::new();
        for transfer in state.transfers.values() {
            *left.entry(transfer.from_cell).or_default() += u64::from(transfer.left);
        }
        for index in 0..state.cells.high() {
            let counted = state.cells.get(index).level.in_transit;
            let sum = left.get(&index).copied().unwrap_or_default();
            if counted != sum {
                return Err(format!("I4: cell {index} has {counted} in transit, transfers {sum}"));
            }
        }
    }
    Ok(())
}

/// I9: a customer's count is what its orders hold or were shipped.
fn limits(states: &[&State], archived: &[OrderView]) -> Checked {
    let mut used: BTreeMap<(u64, u32), u64> = BTreeMap::new();
    archived.iter().for_each(|order| add_shipped(states[0], order, &mut used));
    for state in states {
        for_each_order(state, |slot, parts| {
            let customer = state.orders.get(slot).customer().0;
            for part in parts {
                *used.entry((customer, part.sku)).or_default() +=
                    u64::from(part.reserved + part.committed);
            }
            add_shipped(state, &OrderView::new(state, slot), &mut used);
            Ok(())
        })?;
    }
    for ((customer, sku), units) in used {
        if customer == 0 || states[0].catalogue.get(sku).limit == 0 {
            continue;
        }
        let counted: u64 = states.iter().map(|s| u64::from(s.limit_used(customer, sku))).sum();
        if counted != units {
            return Err(format!(
                "I9: customer {customer} has {units} of SKU {sku}, {counted} are counted"
            ));
        }
    }
    Ok(())
}

fn add_shipped(state: &State, order: &OrderView, used: &mut BTreeMap<(u64, u32), u64>) {
    for line in &order.lines {
        let index = state.catalogue.index_of(line.sku).expect("a line's SKU is defined");
        let shipped = crate::domain::order::OrderLine { sku: index, ..Default::default() };
        crate::apply::change::for_each_component(state, &shipped, |sku, per| {
            *used.entry((order.customer.0, sku)).or_default() += u64::from(line.shipped * per);
        });
    }
}

/// I3: the units of each SKU are those that known commands brought in, and every known key was
/// sent by a client; `archived` are the commands whose keys have left memory.
pub(super) fn conserved(
    states: &[&State],
    sent: &BTreeMap<u128, Vec<Command>>,
    archived: &[Command],
) -> Checked {
    let mut wanted: BTreeMap<u64, i128> = BTreeMap::new();
    archived.iter().for_each(|command| bring_in(command, &mut wanted));
    for state in states {
        let mut invented = None;
        state.for_each_key(|key| {
            let effective = sent
                .get(&key)
                .and_then(|commands| commands.iter().find(|command| is_that(state, key, command)));
            match effective {
                None => invented = Some(key),
                Some(command) => bring_in(command, &mut wanted),
            }
        });
        if let Some(key) = invented {
            return Err(format!("invented: nobody sent what key {key:032x} is known for"));
        }
    }
    for sku in states[0].catalogue.iter() {
        let index = states[0].catalogue.index_of(sku.id).expect("it is there");
        let of_shard = |s: &&State| words(&s.catalogue.get(index).level).iter().sum::<u64>();
        let found: i128 = states.iter().map(|s| i128::from(of_shard(s))).sum();
        let wanted = wanted.get(&sku.id.bits()).copied().unwrap_or_default();
        if found != wanted {
            return Err(format!("I3: {} has {found} units, {wanted} came in", sku.code));
        }
    }
    Ok(())
}

fn is_that(state: &State, key: u128, command: &Command) -> bool {
    let print = fingerprint::of(command);
    let makes_order = matches!(command, Command::Buy(_) | Command::Reserve(_));
    match state.lookup(key) {
        Some(Known::Order(slot)) => makes_order && state.orders.get(slot).fingerprint == print,
        Some(Known::Answered(slot)) => {
            !makes_order && state.answered.get(slot).fingerprint == print
        }
        None => false,
    }
}

fn bring_in(command: &Command, wanted: &mut BTreeMap<u64, i128>) {
    let mut add = |sku: crate::id::SkuId, units: i128| {
        *wanted.entry(sku.bits()).or_default() += units;
    };
    match command {
        Command::Receive(receive) => add(receive.sku, receive.quantity.units().into()),
        Command::Adjust(a) => add(a.sku, i128::from(a.available) - i128::from(a.expected)),
        Command::Count(c) => add(c.sku, i128::from(c.counted) - i128::from(c.expected)),
        Command::Import(import) => {
            import.lines.iter().for_each(|l| add(l.sku, l.quantity.units().into()));
        }
        _ => (),
    }
}

/// Returns what a repetition of a key's command would be told.
pub(super) fn known_receipt(states: &[&State], key: u128) -> Option<Receipt> {
    states.iter().find_map(|state| match state.lookup(key)? {
        Known::Order(slot) => Some(Receipt::Order(order::receipt(state, slot))),
        Known::Answered(slot) => Some(receipt_of(state.answered.get(slot))),
    })
}

/// Everything that a state knows, in an order of its own: equal for equal states.
pub(super) fn describe(states: &[&State]) -> Vec<String> {
    let mut lines = Vec::new();
    for state in states {
        let shard = state.shard;
        for sku in state.catalogue.iter() {
            lines.push(format!(
                "{shard} sku {} v{} price {} limit {} {:?}",
                sku.code, sku.version, sku.price, sku.limit, sku.level
            ));
        }
        lines.extend(state.policies.iter().map(|policy| format!("{shard} {policy:?}")));
        for index in 0..state.cells.high() {
            lines.push(format!("{shard} cell {index} {:?}", state.cells.get(index)));
        }
        let mut keyed = Vec::new();
        state.for_each_key(|key| keyed.push(key));
        keyed.sort_unstable();
        for key in keyed {
            lines.push(match state.lookup(key) {
                Some(Known::Order(slot)) => {
                    let order = state.orders.get(slot);
                    let hard = order.detail().map(|d| state.detail(d).hard_deadline);
                    let receipt = order::receipt(state, slot);
                    format!("{shard} {:?} {hard:?} {receipt:?}", OrderView::new(state, slot))
                }
                Some(Known::Answered(slot)) => format!("{shard} {:?}", state.answered.get(slot)),
                None => format!("{shard} key {key:032x} is not found"),
            });
        }
        let mut limits = Vec::new();
        state.limits.for_each(|e| limits.push(format!("{shard} {e:?}")));
        limits.sort_unstable();
        lines.append(&mut limits);
        let settled = (0..state.settled.len()).filter_map(|at| state.settled_entry(at));
        let keys = settled.map(|known| match known {
            Known::Order(slot) => state.orders.get(slot).id().bits(),
            Known::Answered(slot) => state.answered.get(slot).key,
        });
        lines.push(format!(
            "{shard} evicted {} settled {:x?}",
            state.evicted,
            keys.collect::<Vec<_>>()
        ));
        lines.push(format!("{shard} {:?} {:?}", state.transfers, state.taken));
        lines.push(format!("{shard} sent {:?} received {:?}", state.sent, state.received));
    }
    lines
}
