//! Counts that must break promises: every shard looks for the orders that hold units of the cell,
//! then all hold still while the count decides which of them it breaks.
//!
//! Looking takes steps, and work goes on between them. Holding still is short: a shard that is
//! held carries no command out and expires nothing, but does what its peers instruct. Shards are
//! held in ascending order, so two counts never wait for each other. Nothing of this is journaled:
//! the count's own record names what it breaks, and a crash before it forgets the count.

use std::collections::{BTreeMap, VecDeque};

use crate::apply::count::{decide, keep_newest};
use crate::apply::promise::{Holding, break_one, holdings_of};
use crate::apply::{Applied, Context, Instruction, existing_cell, refuse};
use crate::command::Count;
use crate::domain::bucket::CellNo;
use crate::reject::Reject;
use crate::shard::section::resolve;
use crate::state::State;

/// Most counts of one shard that may wait or be under way.
const COUNTS_MAX: usize = 64;
/// Orders that one step looks at.
const ORDERS_PER_STEP: u32 = 16_384;

/// What shards tell each other about counts. Each shard carries one out at a time, so its number
/// names the count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CountMessage {
    /// Look for orders that hold units of this cell, for the count of this shard.
    Search(u16, CellNo),
    /// This shard has looked at all its orders.
    Searched,
    /// Hold still for the count of this shard.
    Hold(u16),
    /// This is what the orders of a shard hold; it holds still.
    Held(Vec<Holding>),
    /// The count of this shard is done.
    Free(u16),
}

/// A count on its way, in the shard of its cell.
#[derive(Debug)]
struct Flight<T> {
    count: Count,
    reply_to: T,
    /// Who sent the same count again meanwhile.
    again: Vec<T>,
    stage: Stage,
    holdings: Vec<Holding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Others go first.
    Waiting,
    /// This shard looks at its own orders.
    OwnSearch,
    /// So many shards have not looked at all their orders.
    Searching(u16),
    /// Shards below this one hold still.
    Holding(u16),
}

/// A shard's search for the orders that hold units of a cell.
#[derive(Debug)]
struct Search {
    cell: CellNo,
    /// First slot that was not looked at.
    next: u32,
    /// Slots of orders that held units of the cell when they were looked at.
    found: Vec<u32>,
    /// Orders made before are seen by looking at all slots; those made since are noted.
    noted_from: usize,
    told: bool,
}

/// The counts that concern one shard.
#[derive(Debug)]
pub(crate) struct Counting<T> {
    flights: VecDeque<Flight<T>>,
    /// Searches by the shard whose count they are for.
    searches: BTreeMap<u16, Search>,
    /// Shards whose counts want this shard to hold still; it does so for the first.
    holds: VecDeque<u16>,
    /// Messages to send once the section has its place.
    pub(crate) outbox: Vec<(u16, CountMessage)>,
    /// Requests that are answered now.
    pub(crate) answers: Vec<(u128, T, Applied)>,
}

impl<T: Copy> Counting<T> {
    pub(crate) const fn new() -> Self {
        Self {
            flights: VecDeque::new(),
            searches: BTreeMap::new(),
            holds: VecDeque::new(),
            outbox: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Returns whether no count concerns this shard.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.searches.is_empty() && self.holds.is_empty()
    }

    /// Returns whether this shard holds still: its orders don't change.
    pub(crate) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Takes a count that must break promises.
    pub(crate) fn start(&mut self, count: Count, reply_to: T) {
        let same = self.flights.iter_mut().find(|flight| flight.count == count);
        if let Some(flight) = same.filter(|flight| flight.again.len() < COUNTS_MAX) {
            flight.again.push(reply_to);
            return;
        }
        if self.flights.len() >= COUNTS_MAX {
            let refusal = refuse(Reject::Busy, 0, COUNTS_MAX as u64, COUNTS_MAX as u64);
            self.answers.push((count.key.bits(), reply_to, Applied::Refused(refusal)));
            return;
        }
        let (again, stage, holdings) = (Vec::new(), Stage::Waiting, Vec::new());
        self.flights.push_back(Flight { count, reply_to, again, stage, holdings });
    }

    /// Goes on with what is under way: a step of each search, and of this shard's own count.
    pub(crate) fn step(&mut self, state: &mut State, ctx: &mut Context<'_>) {
        for (home, search) in &mut self.searches {
            search.look(state, ORDERS_PER_STEP);
            if search.next >= state.orders.high() && !search.told && *home != state.shard {
                search.told = true;
                self.outbox.push((*home, CountMessage::Searched));
            }
        }
        let Some(flight) = self.flights.front_mut() else { return };
        match flight.stage {
            Stage::Waiting => {
                let Count { sku, location, lot, .. } = flight.count;
                flight.stage = Stage::OwnSearch;
                // A cell that was there when the count was taken in is there.
                if let Ok((_, cell)) = existing_cell(state, sku, location, lot) {
                    self.search(state, state.shard, CellNo::new(state.shard, cell));
                }
            }
            Stage::OwnSearch => {
                let searched =
                    self.searches.get(&state.shard).is_none_or(|s| s.next >= state.orders.high());
                if searched && !self.is_held() {
                    self.decide_or_ask(state, ctx);
                }
            }
            Stage::Searching(_) | Stage::Holding(_) => (),
        }
    }

    /// Decides if the orders at home here are all that hold units of the cell; else asks the
    /// other shards.
    fn decide_or_ask(&mut self, state: &mut State, ctx: &mut Context<'_>) {
        let holdings = self.holdings(state, state.shard);
        let Some(search) = self.searches.get(&state.shard) else {
            self.end(state, ctx);
            return;
        };
        let cell = search.cell;
        let level = &state.cells.get(cell.index()).level;
        let of = |reserved: bool| -> u64 {
            let same = holdings.iter().filter(|h| h.reserved == reserved);
            same.map(|h| u64::from(h.units)).sum()
        };
        let all = (of(true), of(false), 0) == (level.reserved, level.committed, level.tentative);
        let Some(flight) = self.flights.front_mut() else { return };
        if all || state.shard_count == 1 {
            flight.holdings = holdings;
            self.end(state, ctx);
            return;
        }
        flight.stage = Stage::Searching(state.shard_count - 1);
        for peer in (0..state.shard_count).filter(|peer| *peer != state.shard) {
            self.outbox.push((peer, CountMessage::Search(state.shard, cell)));
        }
    }

    /// Carries out what another shard says.
    pub(crate) fn receive(
        &mut self,
        state: &mut State,
        ctx: &mut Context<'_>,
        message: CountMessage,
    ) {
        match message {
            CountMessage::Search(home, cell) => self.search(state, home, cell),
            CountMessage::Searched => {
                let Some(flight) = self.flights.front_mut() else { return };
                if let Stage::Searching(left) = flight.stage {
                    flight.stage =
                        if left == 1 { Stage::Holding(0) } else { Stage::Searching(left - 1) };
                    if left == 1 {
                        self.hold_next(state, ctx);
                    }
                }
            }
            CountMessage::Hold(home) => self.hold(state, ctx, home),
            CountMessage::Held(holdings) => self.held(state, ctx, holdings),
            CountMessage::Free(home) => self.free(state, ctx, home),
        }
    }

    fn search(&mut self, state: &mut State, home: u16, cell: CellNo) {
        let noted_from = state.made.get_or_insert_default().len();
        let search = Search { cell, next: 0, found: Vec::new(), noted_from, told: false };
        self.searches.insert(home, search);
    }

    /// Asks the next shard to hold still, or decides if all do.
    fn hold_next(&mut self, state: &mut State, ctx: &mut Context<'_>) {
        let Some(flight) = self.flights.front_mut() else { return };
        let Stage::Holding(next) = flight.stage else { return };
        if next == state.shard_count {
            self.end(state, ctx);
        } else if next == state.shard {
            self.hold(state, ctx, state.shard);
        } else {
            self.outbox.push((next, CountMessage::Hold(state.shard)));
        }
    }

    /// Holds still for a count, once the ones before it are done.
    fn hold(&mut self, state: &mut State, ctx: &mut Context<'_>, home: u16) {
        self.holds.push_back(home);
        if self.holds.len() == 1 {
            self.tell_held(state, ctx, home);
        }
    }

    fn tell_held(&mut self, state: &mut State, ctx: &mut Context<'_>, home: u16) {
        let mut holdings = self.holdings(state, home);
        keep_newest(&mut holdings);
        if home == state.shard {
            self.held(state, ctx, holdings);
        } else {
            self.outbox.push((home, CountMessage::Held(holdings)));
        }
    }

    /// Takes what a shard's orders hold, and goes on to the next.
    fn held(&mut self, state: &mut State, ctx: &mut Context<'_>, mut holdings: Vec<Holding>) {
        let Some(flight) = self.flights.front_mut() else { return };
        flight.holdings.append(&mut holdings);
        if let Stage::Holding(next) = flight.stage {
            flight.stage = Stage::Holding(next + 1);
            self.hold_next(state, ctx);
        }
    }

    /// Replaces provisional seqs in what this shard's own orders hold: the count is decided in a
    /// later section, whose base is another.
    pub(crate) fn settle_seqs(&mut self, base: u64) {
        let holdings = self.flights.iter_mut().flat_map(|flight| &mut flight.holdings);
        holdings.for_each(|holding| holding.created_seq = resolve(holding.created_seq, base));
    }

    /// Returns what the orders at home here hold of the cell that is searched for a shard.
    fn holdings(&self, state: &State, home: u16) -> Vec<Holding> {
        let mut holdings = Vec::new();
        let Some(search) = self.searches.get(&home) else { return holdings };
        let made = state.made.as_deref().unwrap_or_default();
        let made = made.get(search.noted_from..).unwrap_or_default();
        let mut slots: Vec<u32> = search.found.iter().chain(made).copied().collect();
        slots.sort_unstable();
        slots.dedup();
        slots.iter().for_each(|slot| holdings_of(state, *slot, search.cell, &mut holdings));
        holdings
    }

    /// Ends the count under way: it is carried out or refused, and the shards are free.
    fn end(&mut self, state: &mut State, ctx: &mut Context<'_>) {
        let Some(flight) = self.flights.pop_front() else { return };
        let outcome = decide(state, ctx, &flight.count, flight.holdings);
        let own = |(peer, message): &mut (u16, Instruction)| {
            *peer == state.shard && matches!(message, Instruction::Break(_))
        };
        for (_, instruction) in ctx.messages.extract_if(.., own).collect::<Vec<_>>() {
            if let Instruction::Break(broken) = instruction {
                break_one(state, ctx, &broken).expect("an order holds what it was found to hold");
            }
        }
        let outcome = outcome.unwrap_or_else(Applied::Refused);
        let key = flight.count.key.bits();
        let repeated = match &outcome {
            Applied::Done(receipt) => Applied::Repeated(receipt.clone()),
            other => other.clone(),
        };
        self.answers.push((key, flight.reply_to, outcome));
        self.answers.extend(flight.again.iter().map(|to| (key, *to, repeated.clone())));
        if flight.stage == Stage::OwnSearch {
            self.end_search(state, state.shard);
            return;
        }
        for peer in (0..state.shard_count).filter(|peer| *peer != state.shard) {
            self.outbox.push((peer, CountMessage::Free(state.shard)));
        }
        self.free(state, ctx, state.shard);
    }

    /// Holds still no longer for a count, but perhaps for the next.
    fn free(&mut self, state: &mut State, ctx: &mut Context<'_>, home: u16) {
        self.end_search(state, home);
        self.holds.retain(|holder| *holder != home);
        if let Some(next) = self.holds.front().copied() {
            self.tell_held(state, ctx, next);
        }
    }

    fn end_search(&mut self, state: &mut State, home: u16) {
        self.searches.remove(&home);
        let Some(from) = self.searches.values().map(|search| search.noted_from).min() else {
            state.made = None;
            return;
        };
        // No search that is left needs what was made before it began.
        if let Some(made) = &mut state.made {
            made.drain(..from);
        }
        self.searches.values_mut().for_each(|search| search.noted_from -= from);
    }
}

impl Search {
    /// Looks at some more orders.
    fn look(&mut self, state: &State, orders: u32) {
        let end = state.orders.high().min(self.next.saturating_add(orders));
        let mut holdings = Vec::new();
        for slot in self.next..end {
            holdings_of(state, slot, self.cell, &mut holdings);
            if !holdings.is_empty() {
                self.found.push(slot);
                holdings.clear();
            }
        }
        self.next = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Key, LocationId, LotId, SkuId};
    use crate::shard::section::PROVISIONAL;

    /// What a shard's own orders hold is decided on in a later section: an order that was made in
    /// the section of the look must not seem younger then than one that was made after it.
    #[test]
    fn own_holdings_get_the_seqs_of_their_section() {
        let mut counting: Counting<()> = Counting::new();
        let count = Count {
            key: Key::new(1),
            sku: SkuId::new(1),
            location: LocationId(1),
            lot: LotId(0),
            expected: 2,
            counted: 1,
        };
        counting.start(count, ());
        counting.start(count, ());
        assert_eq!(counting.flights.len(), 1, "the same count again waits for the first");
        let holding = |order, created_seq| Holding {
            order,
            home: 0,
            line: 0,
            units: 1,
            reserved: false,
            created_seq,
            breakable: true,
        };
        counting.flights[0].holdings = vec![holding(1, PROVISIONAL + 4), holding(2, 70)];
        counting.settle_seqs(100);
        // The next section's records come behind those of the first.
        counting.flights[0].holdings.push(holding(3, PROVISIONAL + 1));
        counting.settle_seqs(110);
        let seqs: Vec<u64> = counting.flights[0].holdings.iter().map(|h| h.created_seq).collect();
        assert_eq!(seqs, [104, 70, 111]);
    }
}
