//! The truth after a run: the ledger of what buyers were told against the host's events.
//!
//! Events are taken one at a time. What they say about stock is judged at once; what they say
//! about orders becomes rows ([`rows`]) that are joined with the ledger at the end ([`orders`]),
//! so that memory grows with the SKUs of the run, not with its orders or the length of the feed.

mod check;
mod orders;
mod rows;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use crate::error::LoadError;
use crate::feed::{Bucket, EventKind, FeedEvent, Movement, StockLevel};
use crate::ledger::{Ledger, Payment, PaymentAnswer, SoldOut, SoldOutTally};
use crate::op::Catalogue;
use crate::spill::{Sorted, Sorter};

pub use check::{Check, EVIDENCE_MAX, Verdict};

use check::Checks;
pub(crate) use check::{CHECKS, Kind};
use orders::{Judge, Rows, Untold};
use rows::{Fact, HeldByOrder, Paid, ToldOrder};
use watch::{SentAway, Watch};

/// Most seconds of the stock's course that are kept.
const COURSE_SECONDS_MAX: u64 = 90_000;

/// What a run tells the checks beside its ledger.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Start of the load in milliseconds since 1970, by this machine's clock.
    pub(crate) started_ms: u64,
    /// The SKU whose course is followed; `None` follows all together.
    pub(crate) hot: Option<u32>,
    /// How much later than its deadline a reservation may end.
    pub(crate) expiry_skew_ms: u64,
    /// Violations that the scenario allows, by check.
    pub(crate) allowed: BTreeMap<String, u64>,
    /// When the host was kept from its work on purpose, by its clock, which is this machine's then.
    pub(crate) outages: Vec<Outage>,
}

/// A time in which the host was killed, stopped or out of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Begin in milliseconds since 1970.
    pub(crate) from_ms: u64,
    /// End.
    pub(crate) to_ms: u64,
}

impl Terms {
    /// How much later than its deadline a reservation may end by default.
    pub(crate) const EXPIRY_SKEW_MS: u64 = 1_000;

    /// Returns how much later than its deadline a reservation that ended at `until_ms` may have:
    /// as late as is allowed, and while the host was away nothing could end.
    fn late_allowed_ms(&self, deadline_ms: u64, until_ms: u64) -> u64 {
        // From an outage on that holds the deadline, or begins soon after it.
        let mut due = deadline_ms.saturating_add(self.expiry_skew_ms);
        for outage in &self.outages {
            if outage.from_ms < due && deadline_ms < outage.to_ms && outage.from_ms < until_ms {
                due = due.max(outage.to_ms.saturating_add(self.expiry_skew_ms));
            }
        }
        due - deadline_ms
    }
}

impl Default for Terms {
    fn default() -> Self {
        let allowed = BTreeMap::new();
        let (expiry_skew_ms, outages) = (Self::EXPIRY_SKEW_MS, Vec::new());
        Self { started_ms: 0, hot: None, expiry_skew_ms, allowed, outages }
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

/// The stock at the end of one second of the load, by the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoursePoint {
    /// Second of the load.
    pub second: u64,
    /// Units that may be promised.
    pub available: u64,
    /// Units reserved, or taken by baskets in flight.
    pub reserved: u64,
    /// Units committed or shipped.
    pub sold: u64,
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
    /// Whether the events could be read; without them [`TruthReport::units`] says nothing.
    pub feed: bool,
    /// Units over all SKUs.
    pub units: Units,
    /// Refusals with `sold_out` that hold at the very position that they name.
    pub sold_out_exact: u64,
    /// The stock by seconds of the load: of the hot SKU where there is one, else of all.
    pub course: Vec<CoursePoint>,
    /// When the last unit of the hot SKU was first taken, in milliseconds of the load.
    pub sold_out_at_ms: Option<u64>,
}

impl TruthReport {
    /// Returns whether no check was violated.
    pub fn holds(&self) -> bool {
        self.mask() == 0
    }

    /// Returns the bits of the violated checks.
    pub fn mask(&self) -> u32 {
        let violated = self.checks.iter().filter(|check| check.is_violated());
        violated.fold(0, |mask, check| mask | 1 << check.bit)
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

/// What came of asking again, after the load, for the outcome of requests that no answer told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Requests that were to be asked again.
    pub asked: u64,
    /// Those that had been carried out, or were now.
    pub accepted: u64,
    /// Those that had not been, and were refused.
    pub refused: u64,
    /// Those whose outcome stayed unknown.
    pub unknown: Unresolved,
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
    /// Position of its last change.
    changed: u64,
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

    /// Returns the units that orders and baskets have.
    const fn promised(&self) -> i64 {
        self.held().saturating_add(self.sold())
    }

    const fn sold(&self) -> i64 {
        self.committed.saturating_add(self.shipped)
    }

    const fn held(&self) -> i64 {
        self.reserved.saturating_add(self.tentative)
    }

    const fn free(&self) -> i64 {
        self.available.saturating_add(self.tentative)
    }

    const fn left(&self) -> i64 {
        self.available.saturating_add(self.unavailable)
    }
}

/// Compares a ledger with the events of the host.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    catalogue: &'a Catalogue,
    terms: Terms,
    skus: Vec<SkuTrack>,
    /// Available and tentative units by SKU and location.
    cells: HashMap<(u32, u32), i64>,
    told: Sorter<ToldOrder>,
    facts: Sorter<Fact>,
    paid: Sorter<Paid>,
    held: Sorter<HeldByOrder>,
    payments: Sorted<Payment>,
    unresolved: Unresolved,
    watch: Watch,
    course: BTreeMap<u64, CoursePoint>,
    /// Balances that the course follows.
    followed: SkuTrack,
    sold_out_at_ms: Option<u64>,
    events: u64,
    seq: u64,
    time_ms: u64,
    rows_max: usize,
    checks: Checks,
}

impl<'a> Checker<'a> {
    /// Takes a ledger and the number of requests whose outcome stayed unknown.
    ///
    /// # Errors
    ///
    /// Returns an error if the ledger's temporary files can't be read.
    pub(crate) fn new(
        catalogue: &'a Catalogue,
        mut ledger: Ledger,
        unresolved: Unresolved,
        terms: Terms,
    ) -> Result<Self, LoadError> {
        let rows_max = ledger.rows_max;
        ledger.write_tallies()?;
        let mut checks = Checks::new(&terms.allowed);
        let told = orders::take_told(&mut ledger, &mut checks)?;
        for (count, what) in [
            (ledger.sold_out_without_facts, "refused without naming line and position"),
            (ledger.sold_out_contradicting, "refused though enough units were found"),
        ] {
            checks.sold_out.checked += count;
            if count > 0 {
                checks.sold_out.violate(count, format!("{count} requests were {what}"));
            }
        }
        Ok(Self {
            catalogue,
            terms,
            skus: vec![SkuTrack::default(); catalogue.skus().len()],
            cells: HashMap::new(),
            told,
            facts: Sorter::new(rows_max),
            paid: Sorter::new(rows_max),
            held: Sorter::new(rows_max),
            payments: ledger.payments.sorted()?,
            unresolved,
            watch: Watch::new(ledger.sold_out.sorted()?, &ledger.watched),
            course: BTreeMap::new(),
            followed: SkuTrack::default(),
            sold_out_at_ms: None,
            events: 0,
            seq: 0,
            time_ms: 0,
            rows_max,
            checks,
        })
    }

    /// Takes the next event of the feed.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary files can't be used.
    pub(crate) fn observe(&mut self, event: &FeedEvent) -> Result<(), LoadError> {
        self.events += 1;
        let backwards = event.seq < self.seq;
        self.checks
            .feed_order
            .note(backwards.then(|| format!("event {} comes after event {}", event.seq, self.seq)));
        if event.seq > self.seq {
            self.settle_refusals(event.seq)?;
            self.settle_payments(event.seq, event.time_ms)?;
            self.seq = event.seq;
        }
        self.time_ms = self.time_ms.max(event.time_ms);
        for movement in &event.movements {
            self.apply(event, movement)?;
        }
        self.note_levels(event);
        self.note_course(event);
        self.note_order(event)
    }

    /// Judges the refusals below a position.
    fn settle_refusals(&mut self, seq: u64) -> Result<(), LoadError> {
        let Self { watch, checks, catalogue, .. } = self;
        watch.settle_before(seq, |refusal, tally| {
            let text = false_sold_out(catalogue, refusal, tally);
            checks.sold_out.violate(tally.count, text);
        })
    }

    /// Dates the refused payments below a position by the event that came next.
    fn settle_payments(&mut self, seq: u64, decided_by_ms: u64) -> Result<(), LoadError> {
        while let Some(payment) = self.payments.next_if(|payment| payment.seq < seq)? {
            let Payment { seq, order, told } = payment;
            // A refusal that names no position says nothing about its time.
            let known = seq > 0 || told == PaymentAnswer::Placed;
            let decided_by_ms = if known { decided_by_ms } else { u64::MAX };
            self.paid.push(Paid { order, told, seq, decided_by_ms })?;
        }
        Ok(())
    }

    fn apply(&mut self, event: &FeedEvent, movement: &Movement) -> Result<(), LoadError> {
        // A figure beyond all sense is a violation like any other, and no reason to stop: balances
        // stay at the edge of their range.
        let units = i64::try_from(movement.quantity).unwrap_or(i64::MAX);
        let Some(track) = self.skus.get_mut(movement.sku as usize) else { return Ok(()) };
        track.changed = event.seq;
        let follow = self.terms.hot.is_none_or(|hot| hot == movement.sku);
        let tracks = [Some(track), follow.then_some(&mut self.followed)];
        for track in tracks.into_iter().flatten() {
            if let Some(balance) = track.bucket(movement.from) {
                *balance = balance.saturating_sub(units);
            } else if movement.from == Bucket::Outside {
                track.supplied = track.supplied.saturating_add(units);
            }
            if let Some(balance) = track.bucket(movement.to) {
                *balance = balance.saturating_add(units);
            } else if movement.to == Bucket::Outside {
                track.supplied = track.supplied.saturating_sub(units);
            }
        }
        let free = |bucket| matches!(bucket, Bucket::Available | Bucket::Tentative);
        let held = |bucket| matches!(bucket, Bucket::Reserved | Bucket::Committed);
        let change = i64::from(free(movement.to)) - i64::from(free(movement.from));
        if change != 0 {
            let cell = self.cells.entry((movement.sku, movement.location)).or_default();
            *cell = cell.saturating_add(change * units);
        }
        let Some(order) = event.order else { return Ok(()) };
        let change = i64::from(held(movement.to) && free(movement.from))
            - i64::from(held(movement.from) && free(movement.to));
        if change == 0 || self.catalogue.sku(movement.sku).limit.is_none() {
            return Ok(());
        }
        let (seq, sku) = (event.seq, movement.sku);
        self.held.push(HeldByOrder { order, seq, sku, units: change * units })
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
            self.checks.oversold.note((lowest < 0 || over).then(|| {
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
            self.watch.level(sku, 0, event.seq, track.free());
        }
    }

    /// Notes the stock of this second, and the moment when the last unit is taken.
    fn note_course(&mut self, event: &FeedEvent) {
        if event.time_ms == 0 || event.movements.is_empty() {
            return;
        }
        let since = event.time_ms.saturating_sub(self.terms.started_ms);
        let SkuTrack { available, supplied, .. } = self.followed;
        let sold_out = available <= 0 && supplied > 0 && self.terms.hot.is_some();
        if sold_out && self.sold_out_at_ms.is_none() {
            self.sold_out_at_ms = Some(since);
        }
        let second = since / 1_000;
        if second >= COURSE_SECONDS_MAX {
            return;
        }
        let clamp = |units: i64| u64::try_from(units).unwrap_or(0);
        let point = CoursePoint {
            second,
            available: clamp(available),
            reserved: clamp(self.followed.held()),
            sold: clamp(self.followed.sold()),
        };
        self.course.insert(second, point);
    }

    fn note_order(&mut self, event: &FeedEvent) -> Result<(), LoadError> {
        let Some(order) = event.order else { return Ok(()) };
        let enters = |movement: &&Movement| {
            let held = matches!(movement.to, Bucket::Reserved | Bucket::Committed);
            held && matches!(movement.from, Bucket::Available | Bucket::Tentative)
        };
        let quantities = event.movements.iter().filter(enters).map(|m| m.quantity);
        let granted = quantities.fold(0, u64::saturating_add);
        if event.kind == EventKind::Other && granted == 0 {
            return Ok(());
        }
        self.facts.push(Fact {
            order,
            seq: event.seq,
            kind: event.kind,
            time_ms: event.time_ms,
            deadline_ms: event.deadline_ms,
            total: event.total,
            granted: u32::try_from(granted).unwrap_or(u32::MAX),
            priced: event.priced,
            moves: !event.movements.is_empty(),
        })
    }

    /// Notes that the events end before a position that a buyer was told.
    pub(crate) fn feed_ends(&mut self, at: u64, told: u64) {
        let text = format!("the events end at {at}, but a buyer was told of position {told}");
        self.checks.lost.note(Some(text));
    }

    /// Returns whether the events read so far add up to what the host says about a SKU.
    pub(crate) fn agrees(&self, sku: u32, level: &StockLevel) -> bool {
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
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary files can't be read.
    pub(crate) fn stock(&mut self, sku: u32, level: &StockLevel) -> Result<(), LoadError> {
        // All events are read by now, so every refusal can be judged.
        self.settle_refusals(u64::MAX)?;
        let agrees = self.agrees(sku, level);
        let Some(track) = self.skus.get(sku as usize).copied() else { return Ok(()) };
        let facts = self.catalogue.sku(sku);
        let sum = |parts: &[u64]| parts.iter().map(|units| u128::from(*units)).sum::<u128>();
        let sold = sum(&[level.committed, level.shipped]);
        let held = sum(&[level.reserved, level.tentative]);
        let left = sum(&[level.available, level.unavailable]);
        let complete = sold + held + left == u128::from(facts.put_in) && track.in_transit == 0;
        self.checks.balance.note((!agrees || !complete).then(|| {
            format!(
                "{}: {} put in; the host says {sold} sold, {held} reserved, {left} left; the \
                 events add up to {} sold, {} reserved, {} left",
                facts.code,
                facts.put_in,
                track.sold(),
                track.held(),
                track.left(),
            )
        }));
        let sent_away = self.watch.sent_away(sku);
        let stuck = (level.tentative > 0).then(|| {
            format!("{}: {} units are in baskets that never end", facts.code, level.tentative)
        });
        self.checks.undersold.note(stuck.or(sent_away.map(|SentAway { refusal, left, since }| {
            let (code, place) = (&facts.code, place(refusal.location));
            let SoldOut { asked, seq, .. } = refusal;
            format!(
                "{code}{place}: {left} units are left since {since}; a request for {asked} was \
                 refused at {seq}"
            )
        })));
        Ok(())
    }

    /// Gives the verdict.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary files can't be read.
    pub(crate) fn finish(mut self) -> Result<TruthReport, LoadError> {
        self.settle_refusals(u64::MAX)?;
        self.settle_payments(u64::MAX, u64::MAX)?;
        self.checks.sold_out.checked += self.watch.settled();
        let mut judge = Judge {
            checks: &mut self.checks,
            catalogue: self.catalogue,
            terms: &self.terms,
            unresolved: self.unresolved,
            end_ms: self.time_ms,
            rows_max: self.rows_max,
            silent: Untold::default(),
        };
        let rows = Rows { told: self.told, facts: self.facts, paid: self.paid, held: self.held };
        let joined = judge.judge(rows)?;
        let clamp = |units: i64| u64::try_from(units).unwrap_or(0);
        let mut units = Units::default();
        for (track, sku) in self.skus.iter().zip(self.catalogue.skus()) {
            units.put_in += sku.put_in;
            let add = |sum: &mut u64, units: i64| *sum = sum.saturating_add(clamp(units));
            add(&mut units.sold, track.sold());
            add(&mut units.reserved, track.held());
            add(&mut units.left, track.left());
        }
        Ok(TruthReport {
            checks: self.checks.into_list(),
            orders: joined.orders,
            unresolved: self.unresolved,
            events: self.events,
            feed: true,
            units,
            sold_out_exact: self.watch.exact(),
            course: self.course.into_values().collect(),
            sold_out_at_ms: self.sold_out_at_ms,
        })
    }

    /// Gives the verdict of those checks that need no events; `why` says why there are none.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary files can't be read.
    pub(crate) fn finish_without_feed(self, why: &str) -> Result<TruthReport, LoadError> {
        let mut report = self.finish()?;
        check::without_feed(&mut report.checks, why);
        report.feed = false;
        report.units = Units::default();
        report.course.clear();
        Ok(report)
    }
}

fn place(location: u32) -> String {
    if location == 0 { String::new() } else { format!(" in location {location}") }
}

fn false_sold_out(catalogue: &Catalogue, refusal: SoldOut, tally: SoldOutTally) -> String {
    let SoldOut { seq, stale, asked, sku, location } = refusal;
    let (count, code, place) = (tally.count, &catalogue.sku(sku).code, place(location));
    if stale {
        return format!(
            "{count} requests for {asked} of {code}{place} were refused with a position before \
             {seq}, which was known when they were sent; at {seq} as many were available"
        );
    }
    format!(
        "{count} requests for {asked} of {code}{place} were refused at {seq}, though at least as \
         many were available at every position from {} on",
        tally.after,
    )
}
