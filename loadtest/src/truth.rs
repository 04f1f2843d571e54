//! The truth after a run: the ledger of what buyers were told against the host's events.
//!
//! Events are taken one at a time and forgotten, so memory grows with the orders and SKUs of the
//! run, never with the length of the feed.

use std::collections::HashMap;

use crate::feed::{Bucket, EventKind, FeedEvent, Movement, StockLevel};
use crate::ledger::{Ledger, SoldOut, SoldOutTally};
use crate::op::{Catalogue, order_to_text};
use crate::watch::Watch;

/// Most pieces of evidence that one check keeps.
pub const EVIDENCE_MAX: usize = 10;

/// One named check with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// What it says, as one sentence.
    pub claim: &'static str,
    /// How many things were looked at.
    pub checked: u64,
    /// How many contradict the claim.
    pub violations: u64,
    /// The first contradictions, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
}

impl Check {
    const fn new(name: &'static str, claim: &'static str) -> Self {
        Self { name, claim, checked: 0, violations: 0, evidence: Vec::new() }
    }

    /// Counts one thing that was looked at; a text is a contradiction.
    fn note(&mut self, contradiction: Option<String>) {
        self.checked += 1;
        if let Some(text) = contradiction {
            self.violate(1, text);
        }
    }

    fn violate(&mut self, count: u64, text: String) {
        self.violations += count;
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(text);
        }
    }
}

/// Units of the run, by where they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Put in by the run.
    pub put_in: u64,
    /// Committed or shipped.
    pub sold: u64,
    /// Reserved when the feed ended.
    pub reserved: u64,
    /// Available when the feed ended.
    pub left: u64,
}

/// The verdict of all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthReport {
    /// Every check, in the order of the documentation.
    pub checks: Vec<Check>,
    /// Distinct orders that the events show.
    pub orders: u64,
    /// Requests whose outcome stayed unknown.
    pub unresolved: Unresolved,
    /// Events that were read.
    pub events: u64,
    /// Units over all SKUs.
    pub units: Units,
    /// Refusals with `sold_out` that hold at the very position that they name.
    pub sold_out_exact: u64,
}

impl TruthReport {
    /// Returns whether no check was violated.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.violations == 0)
    }
}

/// Requests whose outcome stayed unknown: each may explain one surprise in the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// Requests that may have made an order.
    pub orders: u64,
    /// Requests that may have changed one.
    pub changes: u64,
}

/// What the events said about one order of the ledger.
#[derive(Clone, Copy, Debug, Default)]
struct OrderTrack {
    customer: u64,
    /// Units that the buyer asked.
    asked: u32,
    /// Units that went from available or tentative to reserved or committed.
    granted: u32,
    /// Events that made the order.
    made: u16,
    /// Events that placed its reservation.
    placed: u16,
    /// Whether a buyer was told that it is placed.
    told_placed: bool,
}

/// Balances of one SKU over all its cells.
#[derive(Clone, Copy, Debug, Default)]
struct SkuTrack {
    available: i64,
    tentative: i64,
    reserved: i64,
    committed: i64,
    unavailable: i64,
    in_transit: i64,
    shipped: i64,
    supplied: i64,
}

impl SkuTrack {
    fn bucket(&mut self, bucket: Bucket) -> Option<&mut i64> {
        Some(match bucket {
            Bucket::Available => &mut self.available,
            Bucket::Tentative => &mut self.tentative,
            Bucket::Reserved => &mut self.reserved,
            Bucket::Committed => &mut self.committed,
            Bucket::Unavailable => &mut self.unavailable,
            Bucket::InTransit => &mut self.in_transit,
            Bucket::Shipped => &mut self.shipped,
            Bucket::Outside | Bucket::Link => return None,
        })
    }

    const fn promised(&self) -> i64 {
        self.tentative + self.reserved + self.committed + self.shipped
    }
}

/// Compares a ledger with the events of the host.
#[derive(Debug)]
pub struct Checker<'a> {
    catalogue: &'a Catalogue,
    skus: Vec<SkuTrack>,
    /// Available and tentative units by SKU and location.
    cells: HashMap<(u32, u32), i64>,
    orders: HashMap<u128, OrderTrack>,
    /// Orders of the feed that no buyer was told of, with the events that made each.
    unasked: HashMap<u128, u32>,
    unresolved: Unresolved,
    watch: Watch,
    limits: HashMap<(u64, u32), i64>,
    events: u64,
    seq: u64,
    oversold: Check,
    balance: Check,
    one_order: Check,
    no_unasked: Check,
    whole: Check,
    placed: Check,
    identical: Check,
    sold_out: Check,
    limit: Check,
    feed_order: Check,
}

impl<'a> Checker<'a> {
    /// Takes a ledger and the number of requests whose outcome stayed unknown.
    pub fn new(catalogue: &'a Catalogue, mut ledger: Ledger, unresolved: Unresolved) -> Self {
        let mut checker = Self {
            catalogue,
            skus: vec![SkuTrack::default(); catalogue.skus().len()],
            cells: HashMap::new(),
            orders: HashMap::with_capacity(ledger.accepted.len()),
            unasked: HashMap::new(),
            unresolved,
            watch: Watch::default(),
            limits: HashMap::new(),
            events: 0,
            seq: 0,
            oversold: Check::new(
                "oversold",
                "no unit was promised twice: no bucket below zero, no more promised than put in",
            ),
            balance: Check::new("stock_balance", "sold + left = put in, for every SKU"),
            one_order: Check::new(
                "one_order_per_request",
                "every accepted request has exactly one order",
            ),
            no_unasked: Check::new(
                "no_unasked_order",
                "every order stems from a request that was accepted or stayed unanswered",
            ),
            whole: Check::new("order_whole", "every order got exactly the units it asked"),
            placed: Check::new(
                "placed_as_told",
                "a reservation was placed if, and only if, its buyer was told so",
            ),
            identical: Check::new(
                "duplicates_identical",
                "the same request sent twice got the same bytes and the same order",
            ),
            sold_out: Check::new(
                "no_false_sold_out",
                "nobody was told sold out while enough units were available",
            ),
            limit: Check::new("customer_limit", "no customer holds more than the limit"),
            feed_order: Check::new("feed_order", "events arrive in the order of their positions"),
        };
        checker.take_accepted(&mut ledger);
        for order in &ledger.placed {
            if let Some(track) = checker.orders.get_mut(order) {
                track.told_placed = true;
            }
        }
        checker.take_sold_out(ledger);
        checker
    }

    /// Compares repeated answers and keeps one entry for each order.
    fn take_accepted(&mut self, ledger: &mut Ledger) {
        let mut accepted = std::mem::take(&mut ledger.accepted);
        accepted.sort_unstable_by_key(|one| (one.intent, one.order, one.body_hash));
        for group in accepted.chunk_by(|a, b| a.intent == b.intent) {
            let first = group[0];
            for other in &group[1..] {
                let same = other.order == first.order && other.body_hash == first.body_hash;
                self.identical.note((!same).then(|| {
                    format!(
                        "intent {} was answered with {} (hash {:016x}) and with {} (hash {:016x})",
                        first.intent,
                        order_to_text(first.order),
                        first.body_hash,
                        order_to_text(other.order),
                        other.body_hash,
                    )
                }));
            }
            for distinct in group.chunk_by(|a, b| a.order == b.order) {
                let one = distinct[0];
                let (customer, asked) = (one.customer, one.units);
                let track = OrderTrack { customer, asked, ..OrderTrack::default() };
                if self.orders.insert(one.order, track).is_some() {
                    let text = order_to_text(one.order);
                    let intent = one.intent;
                    self.one_order.violate(
                        1,
                        format!("{text} was given to intent {intent} and to an earlier one"),
                    );
                }
            }
        }
    }

    fn take_sold_out(&mut self, ledger: Ledger) {
        for (count, what) in [
            (ledger.sold_out_without_facts, "refused without naming line and position"),
            (ledger.sold_out_contradicting, "refused though enough units were found"),
        ] {
            self.sold_out.checked += count;
            if count > 0 {
                self.sold_out.violate(count, format!("{count} requests were {what}"));
            }
        }
        self.watch = Watch::new(ledger.sold_out);
    }

    /// Takes the next event of the feed.
    pub fn observe(&mut self, event: &FeedEvent) {
        self.events += 1;
        let backwards = event.seq < self.seq;
        self.feed_order
            .note(backwards.then(|| format!("event {} comes after event {}", event.seq, self.seq)));
        if event.seq > self.seq {
            let Self { watch, sold_out, catalogue, .. } = self;
            watch.settle_before(event.seq, |refusal, tally| {
                report_false_sold_out(sold_out, catalogue, refusal, tally);
            });
            self.seq = event.seq;
        }
        for movement in &event.movements {
            self.apply(event, movement);
        }
        self.note_levels(event);
        if let Some(order) = event.order {
            self.note_order(event, order);
        }
    }

    fn apply(&mut self, event: &FeedEvent, movement: &Movement) {
        let units = i64::try_from(movement.quantity).unwrap_or(i64::MAX / 4);
        if let Some(track) = self.skus.get_mut(movement.sku as usize) {
            if let Some(balance) = track.bucket(movement.from) {
                *balance -= units;
            } else if movement.from == Bucket::Outside {
                track.supplied += units;
            }
            if let Some(balance) = track.bucket(movement.to) {
                *balance += units;
            } else if movement.to == Bucket::Outside {
                track.supplied -= units;
            }
        }
        let free = |bucket| matches!(bucket, Bucket::Available | Bucket::Tentative);
        let held = |bucket| matches!(bucket, Bucket::Reserved | Bucket::Committed);
        let change = i64::from(free(movement.to)) - i64::from(free(movement.from));
        if change != 0 {
            *self.cells.entry((movement.sku, movement.location)).or_default() += change * units;
        }
        let Some(track) = event.order.and_then(|order| self.orders.get_mut(&order)) else {
            return;
        };
        let enters = held(movement.to) && free(movement.from);
        let leaves = held(movement.from) && free(movement.to);
        if enters {
            track.granted = track.granted.saturating_add(units.min(i64::from(u32::MAX)) as u32);
        }
        let sku = self.catalogue.sku(movement.sku);
        let Some(limit) = sku.limit.filter(|_| (enters || leaves) && track.customer != 0) else {
            return;
        };
        let held = self.limits.entry((track.customer, movement.sku)).or_default();
        *held += if enters { units } else { -units };
        let over = enters && *held > i64::from(limit);
        self.limit.note(over.then(|| {
            let order = event.order.map(order_to_text).unwrap_or_default();
            format!(
                "at {} a customer holds {held} of {}, limit {limit}; last order {order}",
                event.seq, sku.code
            )
        }));
    }

    /// Checks the levels of the SKUs that an event moved, and notes them for refusals.
    fn note_levels(&mut self, event: &FeedEvent) {
        for (at, movement) in event.movements.iter().enumerate() {
            let Movement { sku, location, .. } = *movement;
            let seen = |m: &Movement| m.sku == sku && m.location == location;
            if event.movements[..at].iter().any(seen) {
                continue;
            }
            let Some(track) = self.skus.get(sku as usize).copied() else { continue };
            let cell = self.cells.get(&(sku, location)).copied().unwrap_or(0);
            let lowest = [track.available, track.tentative, track.reserved, track.committed, cell]
                .into_iter()
                .min()
                .unwrap_or(0);
            let over = track.promised() > track.supplied;
            self.oversold.note((lowest < 0 || over).then(|| {
                format!(
                    "at {} {} in location {location} has {cell} to promise; of {} put in, {} are \
                     promised or shipped",
                    event.seq,
                    self.catalogue.sku(sku).code,
                    track.supplied,
                    track.promised(),
                )
            }));
            self.watch.level(sku, location, event.seq, cell);
            self.watch.level(sku, 0, event.seq, track.available + track.tentative);
        }
    }

    fn note_order(&mut self, event: &FeedEvent, order: u128) {
        let makes = matches!(event.kind, EventKind::Bought | EventKind::Reserved);
        match self.orders.get_mut(&order) {
            Some(track) => {
                track.made = track.made.saturating_add(u16::from(makes));
                let places = event.kind == EventKind::Placed;
                track.placed = track.placed.saturating_add(u16::from(places));
            }
            // Orders that move none of the run's SKUs are somebody else's.
            None if makes && !event.movements.is_empty() => {
                *self.unasked.entry(order).or_default() += 1;
            }
            None => (),
        }
    }

    /// Returns whether the events read so far add up to what the host says about a SKU.
    pub fn agrees(&self, sku: u32, level: &StockLevel) -> bool {
        self.skus.get(sku as usize).is_some_and(|track| {
            let told = [
                (level.available, track.available),
                (level.tentative, track.tentative),
                (level.reserved, track.reserved),
                (level.committed, track.committed),
                (level.unavailable, track.unavailable),
                (level.shipped, track.shipped),
            ];
            told.iter().all(|(told, summed)| i64::try_from(*told) == Ok(*summed))
        })
    }

    /// Compares what the host says about a SKU with the events and with what was put in.
    pub fn stock(&mut self, sku: u32, level: &StockLevel) {
        let agrees = self.agrees(sku, level);
        let Some(track) = self.skus.get(sku as usize).copied() else { return };
        let facts = self.catalogue.sku(sku);
        let told = level.available
            + level.tentative
            + level.reserved
            + level.committed
            + level.unavailable
            + level.shipped;
        let complete = told == facts.put_in && track.in_transit == 0;
        self.balance.note((!agrees || !complete).then(|| {
            format!(
                "{}: {} put in; the host says {} sold, {} reserved, {} left; the events add up to \
                 {} sold, {} reserved, {} left",
                facts.code,
                facts.put_in,
                level.committed + level.shipped,
                level.reserved + level.tentative,
                level.available + level.unavailable,
                track.committed + track.shipped,
                track.reserved + track.tentative,
                track.available + track.unavailable,
            )
        }));
    }

    /// Gives the verdict.
    pub fn finish(mut self) -> TruthReport {
        {
            let Self { watch, sold_out, catalogue, .. } = &mut self;
            watch.settle_before(u64::MAX, |refusal, tally| {
                report_false_sold_out(sold_out, catalogue, refusal, tally);
            });
        }
        self.sold_out.checked += self.watch.settled();
        self.judge_orders();
        let orders = self.orders.values().filter(|track| track.made > 0).count();
        let clamp = |units: i64| u64::try_from(units).unwrap_or(0);
        let mut units = Units::default();
        for (track, sku) in self.skus.iter().zip(self.catalogue.skus()) {
            units.put_in += sku.put_in;
            units.sold += clamp(track.committed + track.shipped);
            units.reserved += clamp(track.reserved + track.tentative);
            units.left += clamp(track.available + track.unavailable);
        }
        TruthReport {
            orders: orders as u64 + self.unasked.len() as u64,
            unresolved: self.unresolved,
            events: self.events,
            units,
            sold_out_exact: self.watch.exact(),
            checks: vec![
                self.oversold,
                self.balance,
                self.one_order,
                self.no_unasked,
                self.whole,
                self.placed,
                self.identical,
                self.sold_out,
                self.limit,
                self.feed_order,
            ],
        }
    }

    fn judge_orders(&mut self) {
        // In the order of ids, so that the evidence is the same for the same run.
        let mut orders: Vec<_> = self.orders.iter().map(|(id, track)| (*id, *track)).collect();
        orders.sort_unstable_by_key(|(id, _)| *id);
        for (id, track) in orders {
            let text = || order_to_text(id);
            self.one_order.note(
                (track.made != 1)
                    .then(|| format!("{} was accepted and made by {} events", text(), track.made)),
            );
            let whole = track.granted == track.asked || track.made != 1;
            self.whole.note((!whole).then(|| {
                format!("{} asked {} units and got {}", text(), track.asked, track.granted)
            }));
            // An unanswered `place` may explain a placed order that nobody was told of.
            let silent = track.placed == 1 && !track.told_placed && self.unresolved.changes > 0;
            let as_told = track.placed == u16::from(track.told_placed) || silent;
            if track.placed > 0 || track.told_placed {
                self.placed.note((!as_told).then(|| {
                    let told = if track.told_placed { "" } else { "not " };
                    format!("{} was {told}told placed; {} events placed it", text(), track.placed)
                }));
            }
        }
        self.no_unasked.checked += self.orders.len() as u64 + self.unasked.len() as u64;
        let mut unasked: Vec<_> = self.unasked.iter().map(|(id, made)| (*id, *made)).collect();
        unasked.sort_unstable();
        let excess = (unasked.len() as u64).saturating_sub(self.unresolved.orders);
        if excess > 0 {
            let (unresolved, known) = (self.unresolved.orders, unasked.len());
            let text = format!(
                "{known} orders belong to no accepted request, {unresolved} requests are without \
                 an answer"
            );
            self.no_unasked.violate(excess, text);
            for (id, _) in unasked.iter().take(EVIDENCE_MAX - 1) {
                self.no_unasked.violate(0, order_to_text(*id));
            }
        }
        for (id, made) in unasked.iter().filter(|(_, made)| *made > 1) {
            let text = order_to_text(*id);
            self.one_order.violate(1, format!("{text} was made by {made} events"));
        }
    }
}

fn report_false_sold_out(
    check: &mut Check,
    catalogue: &Catalogue,
    refusal: SoldOut,
    tally: SoldOutTally,
) {
    let place = match refusal.location {
        0 => String::new(),
        location => format!(" in location {location}"),
    };
    check.violate(
        tally.count,
        format!(
            "{} requests for {} of {}{place} were refused at {}, though at least as many were \
             available at every position from {} on",
            tally.count,
            refusal.asked,
            catalogue.sku(refusal.sku).code,
            refusal.seq,
            tally.after,
        ),
    );
}
