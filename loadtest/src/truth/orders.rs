//! Joins what the buyers were told about each order with what the events say about it.

use crate::error::LoadError;
use crate::feed::EventKind;
use crate::ledger::{Ledger, NO_TOTAL, PaymentAnswer, Told};
use crate::op::{Catalogue, order_to_text};
use crate::spill::{Sorted, Sorter};

use super::check::{Check, Checks, EVIDENCE_MAX};
use super::rows::{Fact, HeldByCustomer, HeldByOrder, Paid, ToldOrder};
use super::{Terms, Unresolved};

/// Most events of one order that are looked at; a real order has a handful.
const FACTS_MAX: usize = 4_096;

/// The rows of a run, each kind by order.
pub(super) struct Rows {
    pub(super) told: Sorter<ToldOrder>,
    pub(super) facts: Sorter<Fact>,
    pub(super) paid: Sorter<Paid>,
    pub(super) held: Sorter<HeldByOrder>,
}

/// What came of the join.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joined {
    /// Distinct orders that the events show.
    pub(super) orders: u64,
}

/// Compares repeated answers and gives one row for each order.
pub(super) fn take_told(
    ledger: &mut Ledger,
    checks: &mut Checks,
) -> Result<Sorter<ToldOrder>, LoadError> {
    let rows_max = ledger.rows_max;
    let told = std::mem::replace(&mut ledger.told, Sorter::new(rows_max));
    let mut sorted = told.sorted()?;
    let mut by_order = Sorter::new(rows_max);
    let mut last: Option<Told> = None;
    let mut first: Option<Told> = None;
    while let Some(one) = sorted.next()? {
        let again = first.filter(|first| first.intent == one.intent);
        if let Some(first) = again {
            let same = one.order == first.order && one.body_hash == first.body_hash;
            checks.identical.note((!same).then(|| {
                format!(
                    "intent {} was answered with {} (hash {:016x}) and with {} (hash {:016x})",
                    first.intent,
                    order_to_text(first.order),
                    first.body_hash,
                    order_to_text(one.order),
                    one.body_hash,
                )
            }));
        } else {
            first = Some(one);
        }
        let seen = |last: Told| last.intent == one.intent && last.order == one.order;
        if last.is_some_and(seen) {
            continue;
        }
        let other = again.is_some().then(|| {
            let (intent, order) = (one.intent, order_to_text(one.order));
            format!("intent {intent} was given {order} and another order")
        });
        checks.duplicates.note(other);
        by_order.push(ToldOrder { order: one.order, told: one })?;
        last = Some(one);
    }
    Ok(by_order)
}

/// Judges every order.
pub(super) struct Judge<'a> {
    pub(super) checks: &'a mut Checks,
    pub(super) catalogue: &'a Catalogue,
    pub(super) terms: &'a Terms,
    pub(super) unresolved: Unresolved,
    /// Time of the last event.
    pub(super) end_ms: u64,
    pub(super) rows_max: usize,
    /// Orders that were placed though no buyer was told.
    pub(super) silent: Untold,
}

impl Judge<'_> {
    /// Joins all rows by order.
    pub(super) fn judge(&mut self, rows: Rows) -> Result<Joined, LoadError> {
        let (mut told, mut facts) = (rows.told.sorted()?, rows.facts.sorted()?);
        let (mut paid, mut held) = (rows.paid.sorted()?, rows.held.sorted()?);
        let mut by_customer = Sorter::new(self.rows_max);
        let mut joined = Joined::default();
        let mut ghosts = Untold::default();
        let (mut its_facts, mut payments) = (Vec::new(), Vec::new());
        loop {
            let next = [
                told.peek().map(|row| row.order),
                facts.peek().map(|row| row.order),
                paid.peek().map(|row| row.order),
                held.peek().map(|row| row.order),
            ];
            let Some(order) = next.into_iter().flatten().min() else { break };
            let buyer = self.take_buyer(order, &mut told)?;
            its_facts.clear();
            payments.clear();
            while let Some(fact) = facts.next_if(|fact| fact.order == order)? {
                if its_facts.len() < FACTS_MAX {
                    its_facts.push(fact);
                }
            }
            while let Some(payment) = paid.next_if(|payment| payment.order == order)? {
                payments.push(payment);
            }
            while let Some(one) = held.next_if(|one| one.order == order)? {
                let Some(customer) = buyer.map(|told| told.customer).filter(|c| *c != 0) else {
                    continue;
                };
                let HeldByOrder { seq, sku, units, .. } = one;
                by_customer.push(HeldByCustomer { customer, sku, seq, units, order })?;
            }
            let makes = |fact: &&Fact| is_making(fact.kind);
            let made = its_facts.iter().filter(makes).count();
            match buyer {
                Some(told) => {
                    joined.orders += u64::from(made > 0);
                    self.judge_order(&told, &its_facts, &payments);
                }
                // Orders that move none of the run's SKUs are somebody else's.
                None if its_facts.iter().any(|fact| is_making(fact.kind) && fact.moves) => {
                    joined.orders += 1;
                    ghosts.note(order);
                    if made > 1 {
                        let text = format!("{} was made by {made} events", order_to_text(order));
                        self.checks.duplicates.violate(1, text);
                    }
                }
                None => (),
            }
        }
        self.judge_ghosts(&ghosts);
        self.judge_silent();
        self.judge_limits(by_customer.sorted()?)?;
        Ok(joined)
    }

    /// Takes what buyers were told about an order; two intents with one order are one too many.
    fn take_buyer(
        &mut self,
        order: u128,
        told: &mut Sorted<ToldOrder>,
    ) -> Result<Option<Told>, LoadError> {
        let Some(first) = told.next_if(|row| row.order == order)? else { return Ok(None) };
        self.checks.ghosts.checked += 1;
        while let Some(other) = told.next_if(|row| row.order == order)? {
            let (one, two) = (first.told.intent, other.told.intent);
            let text = order_to_text(order);
            self.checks.lost.violate(1, format!("{text} was given to intents {one} and {two}"));
        }
        Ok(Some(first.told))
    }

    fn judge_order(&mut self, told: &Told, facts: &[Fact], paid: &[Paid]) {
        let text = || order_to_text(told.order);
        let making: Vec<&Fact> = facts.iter().filter(|fact| is_making(fact.kind)).collect();
        let made = making.len();
        self.checks
            .lost
            .note((made == 0).then(|| format!("{} was accepted and made by 0 events", text())));
        if made > 1 {
            let text = format!("{} was accepted and made by {made} events", text());
            self.checks.duplicates.violate(1, text);
        }
        let granted: u64 = facts.iter().map(|fact| u64::from(fact.granted)).sum();
        let whole = granted == u64::from(told.units) || made != 1;
        self.checks.whole.note(
            (!whole).then(|| format!("{} asked {} units and got {granted}", text(), told.units)),
        );
        self.judge_total(told, &making);
        let placed = facts.iter().filter(|fact| fact.kind == EventKind::Placed).count();
        let told_placed = paid.iter().any(|paid| paid.told == PaymentAnswer::Placed);
        // A `place` whose outcome stayed unknown may explain one that nobody was told of.
        let silent = placed == 1 && !told_placed;
        if silent {
            self.silent.note(told.order);
        } else if placed > 0 || told_placed {
            let as_told = placed == usize::from(told_placed);
            self.checks.placed.note((!as_told).then(|| {
                let told = if told_placed { "" } else { "not " };
                format!("{} was {told}told placed; {placed} events placed it", text())
            }));
        }
        if paid.iter().any(|paid| paid.told == PaymentAnswer::Unknown) {
            let text = format!("{} was accepted, then its payment found no such order", text());
            self.checks.lost.violate(1, text);
        }
        self.judge_times(told, facts, paid);
    }

    fn judge_total(&mut self, told: &Told, making: &[&Fact]) {
        let text = || order_to_text(told.order);
        if told.total == NO_TOTAL {
            return;
        }
        // A policy may have decided other prices than those of the list; only events tell.
        let priced = making.iter().any(|fact| fact.priced);
        let known = told.stated || !making.is_empty();
        if told.expected != NO_TOTAL && known && !priced {
            let (total, lines) = (told.total, told.expected);
            self.checks.totals.note(
                (lines != total).then(|| {
                    format!("{}: the receipt says {total}, the lines cost {lines}", text())
                }),
            );
        }
        for total in making.iter().filter_map(|fact| fact.total) {
            self.checks.totals.note((total != told.total).then(|| {
                format!("{}: the receipt says {}, the events {total}", text(), told.total)
            }));
        }
    }

    /// Walks through the life of a reservation: deadline, expiry, payment.
    fn judge_times(&mut self, told: &Told, facts: &[Fact], paid: &[Paid]) {
        let id = || order_to_text(told.order);
        let skew_max = self.terms.expiry_skew_ms;
        let mut deadline = 0;
        let mut ended = None;
        for fact in facts {
            match fact.kind {
                EventKind::Reserved => {
                    deadline = fact.deadline_ms;
                    self.judge_promise(told, fact);
                }
                EventKind::Extended if fact.deadline_ms > 0 => deadline = fact.deadline_ms,
                EventKind::Placed => {
                    if deadline > 0 {
                        // At its deadline a reservation is over: none with a deadline up to now
                        // is live (I8).
                        let late = fact.time_ms.checked_sub(deadline);
                        self.checks.late.note(late.map(|late| {
                            format!("{} was placed {late} ms after its deadline", id())
                        }));
                    }
                    ended = ended.or(Some(fact.seq));
                }
                EventKind::Expired => {
                    let skew = i128::from(fact.time_ms) - i128::from(deadline);
                    let allowed = self.terms.late_allowed_ms(deadline, fact.time_ms);
                    let fine = (0..=i128::from(allowed)).contains(&skew);
                    self.checks.expiry.note((!fine && deadline > 0).then(|| {
                        format!("{} ended {skew} ms from its deadline, {allowed} allowed", id())
                    }));
                    ended = ended.or(Some(fact.seq));
                }
                EventKind::Ended => ended = ended.or(Some(fact.seq)),
                EventKind::Bought | EventKind::Extended | EventKind::Other => (),
            }
        }
        let allowed = self.terms.late_allowed_ms(deadline, self.end_ms);
        if deadline > 0 && ended.is_none() && deadline.saturating_add(allowed) < self.end_ms {
            let late = self.end_ms - deadline;
            let text = format!("{} still holds its units {late} ms after its deadline", id());
            self.checks.expiry.note(Some(text));
        }
        for payment in paid.iter().filter(|paid| paid.told == PaymentAnswer::Expired) {
            let over = ended.is_some_and(|seq| seq <= payment.seq);
            let by = payment.decided_by_ms.saturating_add(skew_max);
            let early = !over && deadline > 0 && by < deadline;
            self.checks.late.note(early.then(|| {
                let left = deadline - payment.decided_by_ms;
                format!("{}: its payment was refused at {} with {left} ms to go", id(), payment.seq)
            }));
        }
    }

    /// Compares the deadline of a reservation with what was told and what was asked.
    fn judge_promise(&mut self, told: &Told, fact: &Fact) {
        let id = || order_to_text(told.order);
        let differs = told.deadline_ms > 0 && told.deadline_ms != fact.deadline_ms;
        if differs {
            let (receipt, event) = (told.deadline_ms, fact.deadline_ms);
            let text = format!("{}: the receipt ends at {receipt}, the event at {event}", id());
            self.checks.expiry.note(Some(text));
        }
        let lasts = fact.deadline_ms.saturating_sub(fact.time_ms);
        let off = lasts.abs_diff(told.ttl_ms);
        if told.ttl_ms > 0 && fact.time_ms > 0 && off > self.terms.expiry_skew_ms {
            let asked = told.ttl_ms;
            let text = format!("{}: reserved for {lasts} ms, {asked} ms were asked", id());
            self.checks.expiry.note(Some(text));
        }
    }

    fn judge_ghosts(&mut self, ghosts: &Untold) {
        let (count, unresolved) = (ghosts.count, self.unresolved.orders);
        let text = format!(
            "{count} orders belong to no accepted request, the outcome of {unresolved} requests is \
             unknown"
        );
        ghosts.judge(&mut self.checks.ghosts, unresolved, text);
    }

    fn judge_silent(&mut self) {
        let silent = std::mem::take(&mut self.silent);
        let (count, unresolved) = (silent.count, self.unresolved.changes);
        let text = format!(
            "{count} reservations were placed and nobody was told, the outcome of {unresolved} \
             requests is unknown"
        );
        silent.judge(&mut self.checks.placed, unresolved, text);
    }

    fn judge_limits(&mut self, mut moves: Sorted<HeldByCustomer>) -> Result<(), LoadError> {
        let mut of = None;
        let mut held = 0_i64;
        while let Some(one) = moves.next()? {
            if of != Some((one.customer, one.sku)) {
                of = Some((one.customer, one.sku));
                held = 0;
            }
            held = held.saturating_add(one.units);
            let sku = self.catalogue.sku(one.sku);
            let Some(limit) = sku.limit else { continue };
            let over = one.units > 0 && held > i64::from(limit);
            self.checks.limit.note(over.then(|| {
                let (seq, code, order) = (one.seq, &sku.code, order_to_text(one.order));
                format!("at {seq} a customer holds {held} of {code}, limit {limit}; last {order}")
            }));
        }
        Ok(())
    }
}

/// Orders that something befell of which nobody was told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    count: u64,
    first: Vec<u128>,
}

impl Untold {
    fn note(&mut self, order: u128) {
        self.count += 1;
        if self.first.len() < EVIDENCE_MAX - 1 {
            self.first.push(order);
        }
    }

    /// Each request whose outcome is unknown may explain one of them; what is beyond violates. If
    /// all may be explained, nobody can say.
    fn judge(&self, check: &mut Check, unresolved: u64, text: String) {
        check.checked += self.count;
        let excess = self.count.saturating_sub(unresolved);
        if excess > 0 {
            check.violate(excess, text);
            for order in &self.first {
                check.violate(0, order_to_text(*order));
            }
        } else if self.count > 0 {
            check.doubt(text);
        }
    }
}

const fn is_making(kind: EventKind) -> bool {
    matches!(kind, EventKind::Bought | EventKind::Reserved)
}
