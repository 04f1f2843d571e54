//! Follows the engine's events: what was committed teaches recommendations and the fraud check.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use onhand_core::{
    Aggregate, CustomerId, Engine, Error, Event, EventKind, Money, OrderId, SkuId, Timestamp,
};

use crate::desk::Shared;
use crate::limits::{LEARN_EVENTS_MAX, RESERVED_MAX, VELOCITY_EVENTS_MAX};
use crate::recommend::is_ware;
use crate::sightings::Sightings;

/// Events read at a time.
const STEP: usize = 512;
/// How long the thread waits for something new before it looks whether it shall end.
const WAIT: Duration = Duration::from_millis(100);
/// A day: how far back velocity looks.
const DAY_MS: u64 = 24 * 3_600_000;

/// A basket that was reserved and may be placed.
struct Reserved {
    customer: CustomerId,
    total: Money,
    skus: Vec<SkuId>,
}

/// Reserved baskets, the oldest forgotten first.
#[derive(Default)]
struct Baskets {
    by_order: HashMap<OrderId, Reserved>,
    order: VecDeque<OrderId>,
}

/// An order that was committed.
struct Committed {
    customer: CustomerId,
    total: Money,
    skus: Vec<SkuId>,
    time: Timestamp,
    seq: u64,
}

impl Baskets {
    fn insert(&mut self, order: OrderId, basket: Reserved) {
        self.by_order.insert(order, basket);
        self.order.push_back(order);
        while self.order.len() > RESERVED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_order.remove(&oldest);
        }
    }

    /// Takes note of an event; returns the order if it was committed.
    fn note(&mut self, engine: &Engine, event: &Event) -> Option<Committed> {
        let Aggregate::Order(order) = event.aggregate else { return None };
        let skus = |lines: &[(SkuId, u32)]| lines.iter().map(|(sku, _)| *sku).collect();
        let (time, seq) = (event.time, event.seq);
        match event.kind {
            EventKind::OrderPlaced => {
                if let Some(basket) = &event.order {
                    let (customer, total) = (basket.customer, basket.total);
                    let skus = skus(&basket.lines);
                    return Some(Committed { customer, total, skus, time, seq });
                }
                if let Some(Reserved { customer, total, skus }) = self.by_order.remove(&order) {
                    return Some(Committed { customer, total, skus, time, seq });
                }
                let view = engine.order(order).ok().flatten()?;
                let skus = view.lines.iter().map(|line| line.sku).collect();
                let (customer, total) = (view.customer, view.total);
                Some(Committed { customer, total, skus, time, seq })
            }
            EventKind::OrderReserved => {
                let basket = event.order.as_ref()?;
                let (customer, total) = (basket.customer, basket.total);
                self.insert(order, Reserved { customer, total, skus: skus(&basket.lines) });
                None
            }
            EventKind::OrderExpired
            | EventKind::OrderReleased
            | EventKind::OrderCancelled
            | EventKind::OrderRejected => {
                self.by_order.remove(&order);
                None
            }
            _ => None,
        }
    }
}

/// Fills the fraud check with the committed orders of the last day.
pub(crate) fn fill(engine: &Engine, now_ms: u64, sightings: &mut Sightings) -> Result<(), Error> {
    let durable = engine.durable_seq();
    sightings.start(durable);
    let since = now_ms.saturating_sub(DAY_MS);
    let mut after = first_at(engine, since, durable)?;
    let mut baskets = Baskets::default();
    while after < durable {
        let events = engine.events(after, STEP)?;
        for event in events.events.iter().filter(|event| event.seq <= durable) {
            let Some(order) = baskets.note(engine, event) else { continue };
            let Committed { customer, total, time, .. } = order;
            if time.millis() >= since {
                sightings.committed(customer, total, time, now_ms, true);
            }
        }
        if events.next <= after {
            break;
        }
        after = events.next;
    }
    Ok(())
}

/// Returns the position before the first event that is not older than a time, by bisection: times
/// of the shards lie close together.
fn first_at(engine: &Engine, since_ms: u64, durable: u64) -> Result<u64, Error> {
    let first = engine.events(durable, 0)?.first_available.saturating_sub(1);
    let (mut low, mut high) = (first.max(durable.saturating_sub(VELOCITY_EVENTS_MAX)), durable);
    while low < high {
        let middle = low + (high - low) / 2;
        let events = engine.events(middle, 1)?;
        let older = events.events.first().is_some_and(|event| event.time.millis() < since_ms);
        if older {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Shared {
    /// Follows the feed until the desk closes.
    pub(crate) fn follow(&self) {
        if let Err(error) = self.follow_until_closed()
            && !self.closing.load(Ordering::SeqCst)
        {
            *self.follow_fault.lock() = Some(error.to_string());
        }
    }

    fn follow_until_closed(&self) -> Result<(), Error> {
        self.know_all();
        let durable = self.engine.durable_seq();
        let first = self.engine.events(durable, 0)?.first_available.saturating_sub(1);
        let mut after = first.max(durable.saturating_sub(LEARN_EVENTS_MAX));
        let mut baskets = Baskets::default();
        while !self.closing.load(Ordering::SeqCst) {
            let events = self.engine.events(after, STEP)?;
            if events.next <= after && events.events.is_empty() {
                self.followed.store(after, Ordering::SeqCst);
                self.engine.wait_seq(after + 1, WAIT);
                continue;
            }
            self.take(&mut baskets, &events.events);
            after = events.next;
            self.followed.store(after, Ordering::SeqCst);
        }
        Ok(())
    }

    fn know_all(&self) {
        let mut from = 0;
        loop {
            let skus = self.engine.skus(from, STEP);
            if skus.is_empty() {
                return;
            }
            from += skus.len() as u32;
            let mut learned = self.learned.write();
            for sku in skus.iter().filter(|sku| is_ware(sku.kind)) {
                learned.index.know(sku.id);
            }
        }
    }

    fn take(&self, baskets: &mut Baskets, events: &[Event]) {
        let is_ware = |sku: &SkuId| self.engine.sku(*sku).is_some_and(|sku| is_ware(sku.kind));
        let mut orders = Vec::new();
        for event in events {
            if let (EventKind::SkuDefined, Aggregate::Sku(sku)) = (event.kind, event.aggregate) {
                if is_ware(&sku) {
                    self.learned.write().index.know(sku);
                }
            } else if let Some(mut order) = baskets.note(&self.engine, event) {
                order.skus.retain(is_ware);
                orders.push(order);
            }
        }
        // Readers of recommendations come in between.
        for some in orders.chunks(64) {
            let mut learned = self.learned.write();
            for Committed { customer, skus, .. } in some {
                learned.observe(*customer, skus);
            }
        }
        let now_ms = self.clock.now().millis();
        let mut sightings = self.sightings.lock();
        let filled_to = sightings.filled_to;
        for order in orders.iter().filter(|order| order.seq > filled_to) {
            let Committed { customer, total, time, .. } = *order;
            sightings.committed(customer, total, time, now_ms, false);
        }
    }
}
