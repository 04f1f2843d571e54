//! Baskets over several shards: first all shards are asked at once; if others hold tentatively
//! what a basket needs, it asks again shard by shard in ascending order and waits at each.
//!
//! What is here is not journaled: the shards' TAKE and SETTLE records and the order's own record
//! are. A crash forgets the flights, and recovery gives back what they had taken.

use std::collections::{BTreeMap, VecDeque};

use crate::apply::basket::{Want, counted_lines, filled, total};
use crate::apply::cross::{Part, Vote, take, undo};
use crate::apply::order::{Basket, Checked, CrossFacts, accept_cross, check};
use crate::apply::{Applied, Context, refuse};
use crate::command::{Command, Line};
use crate::domain::bucket::{Bucket, Movement};
use crate::domain::order::Part as OrderPart;
use crate::id::LocationId;
use crate::reject::Reject;
use crate::reply::{Receipt, Refusal};
use crate::route;
use crate::state::{State, TakenPart};
use crate::time::Timestamp;

/// Most baskets of one home shard that may be in flight.
pub(crate) const FLIGHTS_MAX: usize = 1_024;
/// Most repetitions of one request that wait for its basket in flight.
const WAITERS_MAX: usize = 64;

/// What shards tell each other about baskets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlowMessage {
    /// Take a part; with a deadline, wait until then for units that are tentative.
    Take(Box<Part>, Option<Timestamp>),
    /// The answer of a shard about an order.
    Vote(u16, u128, Vote),
    /// Give back what an order has taken.
    Undo(u128),
}

/// A basket in flight at its home shard.
#[derive(Debug)]
struct Flight<T> {
    command: Command,
    reply_to: T,
    /// Repetitions of the request, answered as it is.
    waiters: Vec<(Command, T)>,
    deadline: Timestamp,
    parts: BTreeMap<u16, Vec<Want>>,
    taken: BTreeMap<u16, Vec<TakenPart>>,
    /// Shards whose answer is awaited.
    awaited: usize,
    contended: bool,
    /// Whether others held tentatively what a part lacked that may be filled in part.
    lacking: bool,
    refused: Option<Refusal>,
    /// Whether shards are asked one by one.
    in_order: bool,
}

/// A part that waits here for units that are tentative.
#[derive(Debug)]
struct Parked {
    part: Box<Part>,
    deadline: Timestamp,
}

/// The baskets that concern one shard.
#[derive(Debug)]
pub(crate) struct Flow<T> {
    flights: BTreeMap<u128, Flight<T>>,
    parked: VecDeque<Parked>,
    wait_ms: u64,
    /// Messages to send once the section has its place.
    pub(crate) outbox: Vec<(u16, FlowMessage)>,
    /// Requests that are answered now.
    pub(crate) answers: Vec<(u128, T, Applied)>,
    /// Requests that are to be carried out anew.
    pub(crate) again: Vec<(Command, T)>,
}

impl<T: Copy> Flow<T> {
    pub(crate) fn new(wait_ms: u64) -> Self {
        Self {
            flights: BTreeMap::new(),
            parked: VecDeque::new(),
            wait_ms,
            outbox: Vec::new(),
            answers: Vec::new(),
            again: Vec::new(),
        }
    }

    /// Returns whether no basket is in flight here or waits here.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.parked.is_empty()
    }

    /// Returns whether there is something that a deadline will end.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.is_idle()
    }

    /// Returns whether the command's key, or the order that it is about, is in flight: then it
    /// waits for that basket's end.
    pub(crate) fn join(&mut self, command: &Command, key: u128, reply_to: T) -> bool {
        let order = command.order().map_or(key, crate::id::OrderId::bits);
        if self.flights.is_empty() {
            return false;
        }
        let in_flight = [key, order].into_iter().find(|key| self.flights.contains_key(key));
        let flight = in_flight.and_then(|key| self.flights.get_mut(&key));
        let Some(flight) = flight else { return false };
        if flight.waiters.len() >= WAITERS_MAX {
            let refusal = refuse(Reject::Busy, 0, 0, 0);
            self.answers.push((key, reply_to, Applied::Refused(refusal)));
            return true;
        }
        flight.waiters.push((command.clone(), reply_to));
        true
    }

    /// Starts a basket that one shard alone can't take at once.
    pub(crate) fn start(
        &mut self,
        state: &mut State,
        ctx: &mut Context<'_>,
        command: Command,
        reply_to: T,
    ) {
        if self.flights.len() >= FLIGHTS_MAX {
            let refusal = refuse(Reject::Busy, 0, FLIGHTS_MAX as u64, FLIGHTS_MAX as u64);
            let key = basket_of(&command).key.bits();
            self.answers.push((key, reply_to, Applied::Refused(refusal)));
            return;
        }
        let (order, parts) = match split(state, &command) {
            Ok(split) => split,
            Err(outcome) => {
                let key = basket_of(&command).key.bits();
                self.answers.push((key, reply_to, outcome));
                return;
            }
        };
        let deadline = Timestamp::from_millis(ctx.now.millis() + self.wait_ms);
        // Alone, it can only be contended: asking at once would just say so again.
        let in_order = parts.len() == 1;
        let flight = Flight {
            command,
            reply_to,
            waiters: Vec::new(),
            deadline,
            parts,
            taken: BTreeMap::new(),
            awaited: 0,
            contended: false,
            lacking: false,
            refused: None,
            in_order,
        };
        self.flights.insert(order, flight);
        if in_order {
            self.ask_next(state, ctx, order);
        } else {
            self.ask_all(state, ctx, order);
        }
    }

    fn ask_all(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128) {
        let Some(flight) = self.flights.get_mut(&order) else { return };
        flight.awaited = flight.parts.len();
        let shards: Vec<u16> = flight.parts.keys().copied().collect();
        for shard in shards.iter().filter(|s| **s != state.shard) {
            let part = part_of(state.shard, &self.flights[&order], order, *shard);
            self.outbox.push((*shard, FlowMessage::Take(Box::new(part), None)));
        }
        if shards.contains(&state.shard) {
            let part = part_of(state.shard, &self.flights[&order], order, state.shard);
            let vote = take(state, ctx, &part, false);
            self.vote(state, ctx, state.shard, order, vote);
        }
    }

    /// Asks the next shard in ascending order, to wait there until the deadline.
    fn ask_next(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128) {
        let Some(flight) = self.flights.get_mut(&order) else { return };
        let next = flight.parts.keys().find(|shard| !flight.taken.contains_key(shard)).copied();
        let Some(shard) = next else {
            self.commit(state, ctx, order);
            return;
        };
        flight.awaited = 1;
        let deadline = flight.deadline;
        let part = Box::new(part_of(state.shard, &self.flights[&order], order, shard));
        if shard == state.shard {
            self.take_or_park(state, ctx, part, deadline);
        } else {
            self.outbox.push((shard, FlowMessage::Take(part, Some(deadline))));
        }
    }

    /// Carries out what another shard says.
    pub(crate) fn receive(
        &mut self,
        state: &mut State,
        ctx: &mut Context<'_>,
        message: FlowMessage,
    ) {
        match message {
            FlowMessage::Take(part, None) => {
                let vote = take(state, ctx, &part, false);
                let answer = FlowMessage::Vote(state.shard, part.order, vote);
                self.outbox.push((part.home, answer));
            }
            FlowMessage::Take(part, Some(deadline)) => {
                self.take_or_park(state, ctx, part, deadline);
            }
            FlowMessage::Vote(shard, order, vote) => self.vote(state, ctx, shard, order, vote),
            FlowMessage::Undo(order) => undo(state, ctx, order),
        }
    }

    fn take_or_park(
        &mut self,
        state: &mut State,
        ctx: &mut Context<'_>,
        part: Box<Part>,
        deadline: Timestamp,
    ) {
        match take(state, ctx, &part, true) {
            Vote::Contended => self.parked.push_back(Parked { part, deadline }),
            vote => self.answer_part(state, ctx, &part, vote),
        }
    }

    fn answer_part(&mut self, state: &mut State, ctx: &mut Context<'_>, part: &Part, vote: Vote) {
        if part.home == state.shard {
            self.vote(state, ctx, state.shard, part.order, vote);
        } else {
            let answer = FlowMessage::Vote(state.shard, part.order, vote);
            self.outbox.push((part.home, answer));
        }
    }

    /// Tries the parts that wait here again, oldest first; those whose time is up are refused.
    pub(crate) fn retry_parked(&mut self, state: &mut State, ctx: &mut Context<'_>) {
        for _ in 0..self.parked.len() {
            let Some(parked) = self.parked.pop_front() else { return };
            if parked.deadline <= ctx.now {
                let vote = Vote::No(refuse(Reject::Busy, 0, 0, 0));
                self.answer_part(state, ctx, &parked.part, vote);
                continue;
            }
            self.take_or_park(state, ctx, parked.part, parked.deadline);
        }
    }

    fn vote(
        &mut self,
        state: &mut State,
        ctx: &mut Context<'_>,
        shard: u16,
        order: u128,
        vote: Vote,
    ) {
        let Some(flight) = self.flights.get_mut(&order) else { return };
        flight.awaited -= 1;
        match vote {
            Vote::Taken(parts, lacks) => {
                flight.taken.insert(shard, parts);
                flight.lacking |= lacks;
            }
            Vote::Contended => flight.contended = true,
            // Whatever the order of the answers: the first reason by precedence.
            Vote::No(refusal) => {
                let first = |r: &Refusal| (r.reject, r.line);
                flight.refused = flight.refused.into_iter().chain([refusal]).min_by_key(first);
            }
        }
        if flight.awaited > 0 {
            return;
        }
        if let Some(refusal) = flight.refused {
            self.give_up(state, ctx, order, refusal);
        } else if flight.contended {
            self.ask_in_order(state, ctx, order);
        } else if flight.in_order {
            self.ask_next(state, ctx, order);
        } else {
            self.commit(state, ctx, order);
        }
    }

    /// Gives everything back and asks shard by shard, to wait at each.
    fn ask_in_order(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128) {
        self.give_back(state, ctx, order);
        if let Some(flight) = self.flights.get_mut(&order) {
            flight.contended = false;
            flight.lacking = false;
            flight.in_order = true;
        }
        self.ask_next(state, ctx, order);
    }

    /// Gives everything back that a flight has taken.
    fn give_back(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128) {
        let Some(flight) = self.flights.get_mut(&order) else { return };
        for (shard, parts) in std::mem::take(&mut flight.taken) {
            if parts.is_empty() {
                continue;
            }
            if shard == state.shard {
                undo(state, ctx, order);
            } else {
                self.outbox.push((shard, FlowMessage::Undo(order)));
            }
        }
    }

    fn give_up(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128, refusal: Refusal) {
        self.give_back(state, ctx, order);
        if let Some(flight) = self.flights.remove(&order) {
            self.finish(flight, Applied::Refused(refusal));
        }
    }

    fn finish(&mut self, flight: Flight<T>, outcome: Applied) {
        let key = basket_of(&flight.command).key.bits();
        self.answers.push((key, flight.reply_to, outcome));
        self.again.extend(flight.waiters);
    }

    /// Makes the order: every shard has taken its part.
    fn commit(&mut self, state: &mut State, ctx: &mut Context<'_>, order: u128) {
        let Some(flight) = self.flights.remove(&order) else { return };
        let facts = match facts(state, &flight) {
            Ok(facts) => facts,
            Err(refusal) => {
                let may_wait = flight.lacking
                    && matches!(refusal.reject, Reject::SoldOut | Reject::PartialOnly);
                self.flights.insert(order, flight);
                if may_wait {
                    self.ask_in_order(state, ctx, order);
                } else {
                    self.give_up(state, ctx, order, refusal);
                }
                return;
            }
        };
        let basket = basket_of(&flight.command);
        let receipt = accept_cross(state, ctx, &basket, facts).expect("every unit is tentative");
        self.finish(flight, Applied::Done(Receipt::Order(receipt)));
    }
}

fn basket_of(command: &Command) -> Basket<'_> {
    match command {
        Command::Buy(buy) => Basket::of_buy(buy),
        Command::Reserve(reserve) => Basket::of_reserve(reserve),
        _ => unreachable!("only buy and reserve take baskets"),
    }
}

type Split = (u128, BTreeMap<u16, Vec<Want>>);

/// Splits what a basket wants by shard, checking it anew.
fn split(state: &mut State, command: &Command) -> Result<Split, Applied> {
    let basket = basket_of(command);
    let mut scratch = std::mem::take(&mut state.scratch);
    let checked = check(state, &basket, &mut scratch);
    let mut parts: BTreeMap<u16, Vec<Want>> = BTreeMap::new();
    for want in &scratch.wants {
        let sku = state.catalogue.get(want.sku);
        let location = LocationId(want.location);
        let shard = route::cell_shard(sku.placement, sku.id, location, state.shard_count);
        parts.entry(shard).or_default().push(*want);
    }
    state.scratch = scratch;
    match checked {
        Ok(Checked::New(..)) => Ok((basket.key.bits(), parts)),
        Ok(Checked::Repeated(receipt)) => Err(Applied::Repeated(receipt)),
        Err(refusal) => Err(Applied::Refused(refusal)),
    }
}

fn part_of<T>(home: u16, flight: &Flight<T>, order: u128, shard: u16) -> Part {
    let basket = basket_of(&flight.command);
    Part {
        order,
        home,
        customer: basket.customer.0,
        fill: basket.fill,
        lines: basket.lines.to_vec(),
        wants: flight.parts.get(&shard).cloned().unwrap_or_default(),
    }
}

/// Works out what each line is granted of what was taken, and what goes back.
fn facts<T>(state: &State, flight: &Flight<T>) -> Result<CrossFacts, Refusal> {
    let basket = basket_of(&flight.command);
    let granted = granted(flight, &basket);
    let (sum, least) = filled(&counted_lines(state, basket.lines), &granted, basket.fill);
    if sum < least {
        let reject = if sum == 0 { Reject::SoldOut } else { Reject::PartialOnly };
        return Err(refuse(reject, 0, least, sum));
    }
    let index = |line: &Line| state.catalogue.index_of(line.sku).expect("the basket was checked");
    let skus: Vec<u32> = basket.lines.iter().map(index).collect();
    let total = total(state, &skus, basket.lines, Some(&granted))?;
    if !state.has_room() {
        return Err(refuse(Reject::CapacityReached, 0, 0, 0));
    }
    // Time has passed while the basket was in flight, and a count with its key may have ended.
    if state.lookup(basket.key.bits()).is_some() {
        return Err(refuse(Reject::IdempotencyKeyReused, 0, 0, 0));
    }
    basket.check_times(state.now)?;
    let currency = state.catalogue.get(skus[0]).currency;
    let to = if basket.times.is_some() { Bucket::Reserved } else { Bucket::Committed };
    let mut facts = CrossFacts {
        total,
        currency,
        granted,
        movements: Vec::new(),
        instructions: Vec::new(),
        parts: Vec::new(),
    };
    let mut needed = needed(flight, &facts.granted);
    for (shard, taken) in &flight.taken {
        for part in taken {
            let left = needed.get_mut(&(part.line, part.sku)).expect("it was wanted");
            let kept = part.units.min(*left);
            *left -= kept;
            let own = *shard == state.shard;
            let list = if own { &mut facts.movements } else { &mut facts.instructions };
            for (units, to) in [(kept, to), (part.units - kept, Bucket::Available)] {
                if units > 0 {
                    let from = Bucket::Tentative;
                    let (cell, line) = (part.cell, part.line);
                    list.push(Movement { cell, quantity: units, from, to, line });
                }
            }
            if kept > 0 {
                let reserved = if to == Bucket::Reserved { kept } else { 0 };
                facts.parts.push(OrderPart {
                    line: part.line,
                    sku: part.sku,
                    cell: part.cell,
                    reserved,
                    committed: kept - reserved,
                });
            }
        }
    }
    let count = facts.movements.len() + facts.instructions.len();
    if count > crate::limits::MOVEMENTS_MAX {
        return Err(refuse(Reject::CapacityReached, 0, count as u64, 0));
    }
    // In the order in which a replay reads them: own movements first.
    facts.parts.sort_by_key(|p| p.cell.shard() != state.shard);
    Ok(facts)
}

/// Returns the units by line that all components of the line were taken for.
fn granted<T>(flight: &Flight<T>, basket: &Basket<'_>) -> Vec<u32> {
    let mut granted: Vec<u32> = basket.lines.iter().map(|l| l.quantity.units()).collect();
    for want in flight.parts.values().flatten() {
        let same = |p: &&TakenPart| p.line == want.line && p.sku == want.sku;
        let units: u32 = flight.taken.values().flatten().filter(same).map(|p| p.units).sum();
        let line = &mut granted[usize::from(want.line)];
        *line = (*line).min(units / want.per);
    }
    granted
}

/// Returns the units by line and SKU that the granted lines need.
fn needed<T>(flight: &Flight<T>, granted: &[u32]) -> BTreeMap<(u16, u32), u32> {
    let mut needed = BTreeMap::new();
    for want in flight.parts.values().flatten() {
        needed.insert((want.line, want.sku), granted[usize::from(want.line)] * want.per);
    }
    needed
}
