//! The tables that one shard owns; nothing here decides, `apply` does.

pub(crate) mod ahead;
pub(crate) mod settled;
pub(crate) mod slab;
pub(crate) mod table;

use std::collections::BTreeMap;

use crate::domain::answered::Answered;
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::calendar::Calendar;
use crate::domain::catalogue::Catalogue;
use crate::domain::order::{Detail, Order};
use crate::domain::policy::Policies;
use crate::domain::stock::{Cell, Imbalance, Level};
use crate::hash::{FoldMap, fold_map, random_seed, tag};
use crate::shard::section::{Section, resolve};
use crate::state::settled::Settled;
use crate::state::slab::Slab;
use crate::state::table::{IndexEntry, KeyIndex, LimitEntry, Table};
use crate::time::Timestamp;

/// Bit of an index reference that stands for an answer, not an order.
const ANSWER_BIT: u32 = 1 << 31;

/// What a key is known as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The key of the command that made the order in this slot.
    Order(u32),
    /// The key of another command, whose answer is in this slot.
    Answered(u32),
}

/// Units under way from one location to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) sku: u32,
    pub(crate) from_cell: u32,
    pub(crate) to: u32,
    pub(crate) left: u32,
}

/// Units of one line that a basket in flight has taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenPart {
    pub(crate) line: u16,
    pub(crate) sku: u32,
    pub(crate) cell: CellNo,
    pub(crate) units: u32,
}

/// What a basket in flight has taken here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) home: u16,
    pub(crate) customer: u64,
    pub(crate) parts: Vec<TakenPart>,
}

/// Everything that one shard knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) shard: u16,
    pub(crate) shard_count: u16,
    /// Time of the last section.
    pub(crate) now: Timestamp,
    /// Whether records are carried out again: what was accepted then has room.
    pub(crate) replays: bool,
    pub(crate) catalogue: Catalogue,
    pub(crate) policies: Policies,
    pub(crate) cells: Slab<Cell>,
    pub(crate) cell_of: FoldMap<(u32, u32), u32>,
    pub(crate) orders: Slab<Order>,
    pub(crate) details: Slab<Option<Box<Detail>>>,
    /// Bytes of the boxed details, counted when they are made and dropped.
    pub(crate) detail_bytes: usize,
    pub(crate) answered: Slab<Answered>,
    pub(crate) index: KeyIndex,
    pub(crate) limits: Table<LimitEntry>,
    /// Limit entries as they were before they changed, for a running checkpoint cut.
    pub(crate) limits_before: Vec<LimitEntry>,
    /// Segment of the limits that the running cut copies next; `None` if it has them all.
    pub(crate) limit_cut: Option<usize>,
    pub(crate) transfers: BTreeMap<u128, Transfer>,
    pub(crate) calendar: Calendar,
    /// Settled orders and answers, oldest first, as index references.
    pub(crate) settled: Settled,
    pub(crate) taken: BTreeMap<u128, Taken>,
    /// Settle messages sent to each peer.
    pub(crate) sent: Vec<u64>,
    /// Settle messages received from each home.
    pub(crate) received: Vec<u64>,
    /// Settled entries that have left memory, ever.
    pub(crate) evicted: u64,
    /// Orders that are neither settled nor evicted.
    pub(crate) live_orders: u64,
    /// Slots of the orders made since a search for promises began; `None` without one.
    pub(crate) made: Option<Vec<u32>>,
    /// Buffers that `apply` uses again and again.
    pub(crate) scratch: crate::apply::Scratch,
}

impl State {
    /// Makes the state of a shard of a new engine, with room for some orders.
    pub(crate) fn new(shard: u16, shard_count: u16, expected_orders: usize) -> Self {
        let peers = usize::from(shard_count);
        Self {
            shard,
            shard_count,
            now: Timestamp::ZERO,
            replays: false,
            catalogue: Catalogue::new(),
            policies: Policies::default(),
            cells: Slab::new(),
            cell_of: fold_map(),
            orders: Slab::with_capacity(expected_orders),
            details: Slab::new(),
            detail_bytes: 0,
            answered: Slab::new(),
            index: KeyIndex::with_capacity(random_seed(), expected_orders),
            limits: Table::with_capacity(random_seed(), expected_orders),
            limits_before: Vec::new(),
            limit_cut: None,
            transfers: BTreeMap::new(),
            calendar: Calendar::new(),
            settled: Settled::default(),
            taken: BTreeMap::new(),
            sent: vec![0; peers],
            received: vec![0; peers],
            evicted: 0,
            live_orders: 0,
            made: None,
            scratch: crate::apply::Scratch::default(),
        }
    }

    #[inline]
    pub(crate) fn key_tag(&self, key: u128) -> u32 {
        tag(self.index.seed(), key as u64, (key >> 64) as u64)
    }

    /// Returns what a key is known as in memory.
    #[inline]
    pub(crate) fn lookup(&self, key: u128) -> Option<Known> {
        self.lookup_tagged(self.key_tag(key), key)
    }

    /// Returns what a key is known as in memory, given its tag.
    #[inline]
    pub(crate) fn lookup_tagged(&self, tag: u32, key: u128) -> Option<Known> {
        let found = self
            .index
            .find(tag, |entry| entry.stored_tag() == tag && self.key_of(entry.reference()) == key);
        found.map(|entry| known(entry.reference()))
    }

    /// Returns the slot of an order in memory.
    pub(crate) fn order_slot(&self, key: u128) -> Option<u32> {
        match self.lookup(key) {
            Some(Known::Order(slot)) => Some(slot),
            Some(Known::Answered(_)) | None => None,
        }
    }

    #[inline]
    fn key_of(&self, reference: u32) -> u128 {
        match known(reference) {
            Known::Order(slot) => self.orders.get(slot).id().bits(),
            Known::Answered(slot) => self.answered.get(slot).key,
        }
    }

    /// Returns whether there is room for one more order and answer.
    ///
    /// Tables of two lives fill up differently, so a replay does not ask.
    pub(crate) fn has_room(&self) -> bool {
        if self.replays {
            return true;
        }
        let most = (u32::MAX >> 1) - 1;
        let slots =
            self.orders.high() < most && self.answered.high() < most && self.details.high() < most;
        slots && self.index.has_room() && self.limits.has_room()
    }

    /// Makes the table of limits say that it has no room.
    #[cfg(test)]
    pub(crate) fn crowd(&mut self) {
        self.limits.crowd();
    }

    /// Stores a new order and indexes its key.
    ///
    /// # Panics
    ///
    /// Panics if there is no room; `has_room` was asked before.
    #[inline]
    pub(crate) fn add_order(&mut self, order: Order) -> u32 {
        self.add_order_tagged(order, self.key_tag(order.id().bits()))
    }

    /// Stores a new order and indexes its key, given the key's tag.
    ///
    /// # Panics
    ///
    /// As [`State::add_order`].
    #[inline]
    pub(crate) fn add_order_tagged(&mut self, order: Order, tag: u32) -> u32 {
        let slot = self.orders.insert(order).expect("room for an order");
        self.index.insert(tag, IndexEntry::new(tag, slot)).expect("room in the index");
        self.live_orders += 1;
        if let Some(made) = &mut self.made {
            made.push(slot);
        }
        slot
    }

    /// Stores the answer of a command and indexes its key; it can be archived at once.
    pub(crate) fn add_answer(&mut self, answer: Answered, section: &mut Section) {
        let key = answer.key;
        let slot = self.answered.insert(answer).expect("room for an answer");
        let reference = slot | ANSWER_BIT;
        let tag = self.key_tag(key);
        self.index.insert(tag, IndexEntry::new(tag, reference)).expect("room in the index");
        self.settled.push_back(reference);
        if !section.is_exact() {
            section.answered.push(slot);
        }
    }

    /// Notes that an order is settled: it can be archived.
    pub(crate) fn settle_order(&mut self, slot: u32) {
        self.live_orders -= 1;
        self.settled.push_back(slot);
    }

    /// Removes the oldest settled entry from memory and returns its key.
    pub(crate) fn evict_oldest(&mut self) -> Option<u128> {
        let reference = self.settled.pop_front()?;
        let key = self.key_of(reference);
        let tag = self.key_tag(key);
        let removed = self.index.remove(tag, |entry| entry.reference() == reference);
        assert!(removed.is_some(), "a settled entry is indexed");
        match known(reference) {
            Known::Order(slot) => {
                let order = self.orders.remove(slot);
                if let Some(detail) = order.detail() {
                    let gone = self.details.remove(detail);
                    self.detail_bytes -= gone.map_or(0, |detail| detail.memory_bytes());
                }
            }
            Known::Answered(slot) => {
                self.answered.remove(slot);
            }
        }
        self.evicted += 1;
        Some(key)
    }

    /// Makes the empty tables for as many keys and limits as a checkpoint has.
    pub(crate) fn make_room(&mut self, keys: usize, limits: usize) {
        if self.index.room() < keys {
            self.index = KeyIndex::with_capacity(random_seed(), keys);
        }
        if self.limits.room() < limits {
            self.limits = Table::with_capacity(random_seed(), limits);
        }
    }

    /// Puts keys of a checkpoint's orders or answers into the index.
    pub(crate) fn index_loaded(&mut self, keys: impl Iterator<Item = (u128, Known)>) {
        let seed = self.index.seed();
        let entry = |(key, known)| {
            let reference = match known {
                Known::Order(slot) => slot,
                Known::Answered(slot) => slot | ANSWER_BIT,
            };
            (tag(seed, key as u64, (key >> 64) as u64), reference)
        };
        let (tags, references): (Vec<u32>, Vec<u32>) = keys.map(entry).unzip();
        // The cache lines that the entries go to come in together.
        std::hint::black_box(self.index.touch(&tags));
        for (tag, reference) in tags.into_iter().zip(references) {
            self.index.insert(tag, IndexEntry::new(tag, reference)).expect("room in the index");
        }
    }

    /// Returns whether a reference in the settled queue names something that is there.
    pub(crate) fn settled_is_there(&self, at: usize) -> bool {
        match self.settled_entry(at) {
            Some(Known::Order(slot)) => {
                slot < self.orders.high() && !self.orders.get(slot).is_free()
            }
            Some(Known::Answered(slot)) => {
                slot < self.answered.high() && self.answered.get(slot).status != 0
            }
            None => false,
        }
    }

    /// Passes every key in memory on, orders first.
    pub(crate) fn for_each_key(&self, mut visit: impl FnMut(u128)) {
        for slot in 0..self.orders.high() {
            let order = self.orders.get(slot);
            if !order.is_free() {
                visit(order.id().bits());
            }
        }
        for slot in 0..self.answered.high() {
            let answer = self.answered.get(slot);
            if answer.status != 0 {
                visit(answer.key);
            }
        }
    }

    /// Returns what a reference in the settled queue stands for.
    pub(crate) fn settled_entry(&self, at: usize) -> Option<Known> {
        self.settled.get(at).map(known)
    }

    /// Stores the lines and parts of an order that is not simple.
    ///
    /// # Panics
    ///
    /// Panics if there is no room; `has_room` was asked before.
    pub(crate) fn add_detail(&mut self, detail: Detail) -> u32 {
        self.detail_bytes += detail.memory_bytes();
        self.details.insert(Some(Box::new(detail))).expect("room for a detail")
    }

    /// Returns the lines and parts of an order that is not simple.
    pub(crate) fn detail(&self, slot: u32) -> &Detail {
        self.details.get(slot).as_deref().expect("a detailed order has its detail")
    }

    /// Carries a movement out on its cell and on the sum of its SKU.
    ///
    /// # Errors
    ///
    /// Returns [`Imbalance`] if the cell is not there or holds too little; nothing has changed.
    #[inline]
    pub(crate) fn carry_out(
        &mut self,
        movement: &Movement,
        section: &mut Section,
    ) -> Result<(), Imbalance> {
        let index = movement.cell.index();
        if movement.cell.shard() != self.shard || index >= self.cells.high() {
            return Err(Imbalance);
        }
        self.move_units(index, section, |level| level.carry_out(movement))
    }

    /// Moves units between the buckets of a cell, and of its SKU's sum.
    ///
    /// # Errors
    ///
    /// Returns [`Imbalance`] if `carry_out` does.
    #[inline]
    pub(crate) fn move_units(
        &mut self,
        cell: u32,
        section: &mut Section,
        carry_out: impl Fn(&mut Level) -> Result<(), Imbalance>,
    ) -> Result<(), Imbalance> {
        let cell = self.cells.get_mut(cell);
        carry_out(&mut cell.level)?;
        let sku = cell.sku();
        let entry = self.catalogue.get_derived(sku);
        carry_out(&mut entry.level)?;
        if entry.touched_step != section.step {
            entry.touched_step = section.step;
            section.skus.push(sku);
        }
        Ok(())
    }

    /// Returns the cell of a SKU at a location in a lot.
    pub(crate) fn find_cell(&self, sku: u32, location: u32, lot: u32) -> Option<u32> {
        let mut at = self.cell_of.get(&(sku, location)).copied();
        while let Some(index) = at {
            let cell = self.cells.get(index);
            if cell.lot == lot {
                return Some(index);
            }
            at = cell.next_lot.checked_sub(1);
        }
        None
    }

    /// Enters a new cell, and returns its index.
    pub(crate) fn add_cell(&mut self, sku: u32, location: u32, lot: u32) -> Option<u32> {
        if self.cells.high() as usize >= crate::limits::CELLS_PER_SHARD_MAX {
            return None;
        }
        let cell = Cell { sku_plus_1: sku + 1, location, lot, ..Cell::default() };
        let index = self.cells.insert(cell)?;
        self.link_cell(index);
        Some(index)
    }

    /// Enters a cell into the lists of its SKU and location.
    pub(crate) fn link_cell(&mut self, index: u32) {
        let cell = *self.cells.get(index);
        let sku = cell.sku();
        match self.cell_of.get(&(sku, cell.location)).copied() {
            None => {
                self.cell_of.insert((sku, cell.location), index);
            }
            Some(mut last) => {
                // The oldest lot stays first, so that units leave in the order of arrival.
                while self.cells.get(last).next_lot != 0 {
                    last = self.cells.get(last).next_lot - 1;
                }
                self.cells.get_mut(last).next_lot = index + 1;
            }
        }
        self.catalogue.get_derived(sku).add_cell(index);
    }

    /// Returns the units of a SKU with a limit that a customer has.
    #[inline]
    pub(crate) fn limit_used(&self, customer: u64, sku: u32) -> u32 {
        let tag = tag(self.limits.seed(), customer, u64::from(sku));
        self.limit_used_tagged(tag, customer, sku)
    }

    /// Returns the units of a SKU with a limit that a customer has, given the limit's tag.
    #[inline]
    pub(crate) fn limit_used_tagged(&self, tag: u32, customer: u64, sku: u32) -> u32 {
        let same = |e: &LimitEntry| e.customer == customer && e.sku == sku;
        self.limits.find(tag, same).map_or(0, |e| e.used)
    }

    /// Returns the tag of a customer's limit of a SKU, if the SKU has one.
    #[inline]
    pub(crate) fn limit_tag(&self, customer: u64, sku: u32) -> Option<u32> {
        let limited = self.catalogue.get(sku).limit > 0;
        limited.then(|| tag(self.limits.seed(), customer, u64::from(sku)))
    }

    /// Counts units of a SKU with a limit for a customer, or back.
    ///
    /// # Errors
    ///
    /// Returns [`Imbalance`] if more comes back than was counted.
    pub(crate) fn count_limit(
        &mut self,
        customer: u64,
        sku: u32,
        delta: i64,
    ) -> Result<(), Imbalance> {
        let tag = tag(self.limits.seed(), customer, u64::from(sku));
        self.count_limit_tagged(tag, customer, sku, delta)
    }

    /// Counts units of a SKU with a limit for a customer, or back, given the limit's tag.
    ///
    /// # Errors
    ///
    /// As [`State::count_limit`].
    #[inline]
    pub(crate) fn count_limit_tagged(
        &mut self,
        tag: u32,
        customer: u64,
        sku: u32,
        delta: i64,
    ) -> Result<(), Imbalance> {
        if self.limit_cut.is_some() && !self.limits.is_copied(tag) {
            let used = self.limit_used_tagged(tag, customer, sku);
            self.limits_before.push(LimitEntry { customer, sku, used });
        }
        let same = |e: &LimitEntry| e.customer == customer && e.sku == sku;
        if let Some(entry) = self.limits.find_mut(tag, same) {
            let used = i64::from(entry.used) + delta;
            entry.used = u32::try_from(used).map_err(|_| Imbalance)?;
            if entry.used == 0 {
                self.limits.remove(tag, same);
            }
            return Ok(());
        }
        let used = u32::try_from(delta).map_err(|_| Imbalance)?;
        if used > 0 {
            let entry = LimitEntry { customer, sku, used };
            self.limits.insert(tag, entry).map_err(|_| Imbalance)?;
        }
        Ok(())
    }

    /// Counts what a movement means for its customer's limit.
    pub(crate) fn count_limit_of(
        &mut self,
        customer: u64,
        movement: &Movement,
    ) -> Result<(), Imbalance> {
        let sku = self.cells.get(movement.cell.index()).sku();
        if customer == 0 || self.catalogue.get(sku).limit == 0 {
            return Ok(());
        }
        let delta = i64::from(movement.quantity) * limit_change(movement);
        if delta == 0 { Ok(()) } else { self.count_limit(customer, sku, delta) }
    }

    /// Replaces provisional seqs by real ones, in the state and in the section's bytes.
    pub(crate) fn settle_seqs(&mut self, section: &mut Section, base: u64) {
        if section.is_exact() {
            return;
        }
        for slot in &section.created {
            let order = self.orders.get_mut(*slot);
            order.set_created_seq(resolve(order.created_seq(), base));
        }
        let mut touched: Vec<(u32, u64)> = section.touched.drain().collect();
        touched.sort_unstable();
        for (slot, seq) in touched {
            let _kept = self.orders.get_mut(slot).set_last_seq(resolve(seq, base));
        }
        for slot in &section.answered {
            let answer = self.answered.get_mut(*slot);
            answer.seq = resolve(answer.seq, base);
        }
        for policy in &section.policies {
            self.policies.settle_seqs(*policy, |seq| resolve(seq, base));
        }
        for at in &section.byte_patches {
            let at = *at as usize;
            let mut word = [0; 8];
            word.copy_from_slice(&section.bytes[at..at + 8]);
            let seq = resolve(u64::from_le_bytes(word), base);
            section.bytes[at..at + 8].copy_from_slice(&seq.to_le_bytes());
        }
    }

    /// Returns the bytes that this state holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let skus = self.catalogue.skus.memory_bytes();
        self.orders.memory_bytes()
            + self.details.memory_bytes()
            + self.detail_bytes
            + self.answered.memory_bytes()
            + self.cells.memory_bytes()
            + self.cell_of.capacity() * 13
            + self.index.memory_bytes()
            + self.limits.memory_bytes()
            + self.calendar.memory_bytes()
            + self.settled.memory_bytes()
            + skus
    }
}

#[inline]
fn known(reference: u32) -> Known {
    if reference & ANSWER_BIT == 0 {
        Known::Order(reference)
    } else {
        Known::Answered(reference & !ANSWER_BIT)
    }
}

/// Returns whether a movement adds units to a customer's limit (1), takes them back (-1), or
/// neither.
#[inline]
fn limit_change(movement: &Movement) -> i64 {
    let counts = |b: Bucket| {
        matches!(b, Bucket::Tentative | Bucket::Reserved | Bucket::Committed | Bucket::Shipped)
    };
    i64::from(counts(movement.to)) - i64::from(counts(movement.from))
}
