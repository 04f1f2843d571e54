//! Checkpoints: the state of all shards at one position of the journal, page by page.
//!
//! A cut is made between two sections, when no basket is in flight. From then on a shard copies
//! some of itself between sections, and saves what changes before its turn comes (`copy`); behind
//! it the keeper puts both together into pages (`writer`). Bytes are in `codec`; what a checkpoint
//! has and how it is put back is here.

pub(crate) mod codec;
pub(crate) mod copy;
pub(crate) mod writer;

use crate::checkpoint::codec::{Malformed, Source};
use crate::decided::PolicyNo;
use crate::domain::answered::Answered;
use crate::domain::order::Order;
use crate::domain::policy::Policy;
use crate::journal::frame::Chain;
use crate::limits::{POLICIES_MAX, POLICY_STEPS_MAX};
use crate::reply::OrderStatus;
use crate::state::settled::SettledCopy;
use crate::state::slab::PAGE_RECORDS;
use crate::state::table::{Entry, LimitEntry, Table};
use crate::state::{Known, State, Transfer};
use crate::store::{Generation, Page, PageId};
use crate::time::Timestamp;

/// Version of the page contents.
const VERSION: u16 = 1;
/// Tables of a checkpoint, in the order in which they are read back.
const SKUS: u16 = 1;
const CELLS: u16 = 2;
const DETAILS: u16 = 3;
const ORDERS: u16 = 4;
const ANSWERED: u16 = 5;
const LIMITS: u16 = 6;
const SETTLED: u16 = 7;
const TRANSFERS: u16 = 8;
const COUNTERS: u16 = 9;
const POLICIES: u16 = 10;

/// What a shard gives at the moment of the cut: all that is small.
#[derive(Debug)]
pub(crate) struct CutBase {
    pub(crate) shard: u16,
    settled: SettledCopy,
    transfers: Vec<(u128, Transfer)>,
    counters: Vec<u64>,
    policies: Vec<Policy>,
}

impl CutBase {
    fn of(state: &State) -> Self {
        let mut counters = vec![state.now.millis(), state.evicted, state.live_orders];
        counters.extend_from_slice(&state.sent);
        counters.extend_from_slice(&state.received);
        Self {
            shard: state.shard,
            settled: state.settled.copy(),
            transfers: state.transfers.iter().map(|(key, t)| (*key, *t)).collect(),
            counters,
            policies: state.policies.iter().cloned().collect(),
        }
    }
}

/// Highest number of a page: beyond it are more slots than a table can have.
const PAGE_MAX: u32 = u32::MAX / PAGE_RECORDS as u32;
/// Cells of one page: a page of the table makes two of the checkpoint.
const CELLS_PER_PAGE: usize = 128;

/// What a checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The journal behind it goes on from here.
    pub(crate) chain: Chain,
    pub(crate) shard_count: u16,
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(52);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.shard_count.to_le_bytes());
        out.extend_from_slice(&self.chain.epoch.to_le_bytes());
        out.extend_from_slice(&self.chain.seq.to_le_bytes());
        out.extend_from_slice(&self.chain.hash);
        out
    }

    /// Reads the manifest of a checkpoint.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut source = Source::new(bytes);
        if source.u16()? != VERSION {
            return Err(Malformed);
        }
        let shard_count = source.u16()?;
        let (epoch, seq) = (source.u64()?, source.u64()?);
        let mut hash = [0; 32];
        hash.copy_from_slice(source.take(32)?);
        if !source.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { chain: Chain { epoch, seq, hash }, shard_count })
    }
}

/// Puts the pages of a checkpoint back into fresh states.
///
/// # Errors
///
/// Returns [`Malformed`] if a page is not what a checkpoint of this version has; the states must
/// not be used then.
pub(crate) fn load(generation: Generation, states: &mut [State]) -> Result<(), Malformed> {
    let is_limits = |page: &Page| page.id.table == LIMITS;
    let (limits, rest): (Vec<Page>, Vec<Page>) = generation.into_pages().partition(is_limits);
    make_room(&limits, &rest, states)?;
    let empty = |state: &mut State| {
        let place = Table::with_capacity(state.limits.seed(), 0);
        std::mem::replace(&mut state.limits, place)
    };
    let mut tables: Vec<Table<LimitEntry>> = states.iter_mut().map(empty).collect();
    // Half of the work, and nothing of the rest depends on it: a thread of its own.
    std::thread::scope(|scope| {
        let limits = scope.spawn(|| load_limits(limits, &mut tables));
        let rest = load_rest(rest, states);
        // A panic would be a fault of ours; the journal has everything all the same.
        limits.join().unwrap_or(Err(Malformed)).and(rest)
    })?;
    states.iter_mut().zip(tables).for_each(|(state, table)| state.limits = table);
    Ok(())
}

/// Makes the tables as large as the pages call for, so that they do not grow while they fill.
fn make_room(limits: &[Page], rest: &[Page], states: &mut [State]) -> Result<(), Malformed> {
    let mut counts = vec![(0, 0); states.len()];
    for page in limits.iter().chain(rest) {
        let (keys, limits) = counts.get_mut(usize::from(page.id.shard)).ok_or(Malformed)?;
        match page.id.table {
            ORDERS => *keys += page.bytes.len() / Order::BYTES,
            ANSWERED => *keys += page.bytes.len() / Answered::BYTES,
            LIMITS => *limits += page.bytes.len() / codec::LIMIT_BYTES,
            _ => (),
        }
    }
    let each = states.iter_mut().zip(counts);
    each.for_each(|(state, (keys, limits))| state.make_room(keys, limits));
    Ok(())
}

/// Records whose table entries are brought into the cache together.
const AHEAD: usize = 64;

fn load_limits(pages: Vec<Page>, tables: &mut [Table<LimitEntry>]) -> Result<(), Malformed> {
    let mut entries = Vec::with_capacity(AHEAD);
    let mut tags = Vec::with_capacity(AHEAD);
    for page in pages {
        let table = tables.get_mut(usize::from(page.id.shard)).ok_or(Malformed)?;
        for chunk in page.bytes.chunks(AHEAD * codec::LIMIT_BYTES) {
            let mut source = Source::new(chunk);
            entries.clear();
            tags.clear();
            while !source.is_empty() {
                let entry = codec::limit(&mut source)?;
                tags.push(entry.tag(table.seed()));
                entries.push(entry);
            }
            std::hint::black_box(table.touch(&tags));
            for (tag, entry) in tags.iter().zip(&entries) {
                table.insert(*tag, *entry).map_err(|_| Malformed)?;
            }
        }
    }
    Ok(())
}

fn load_rest(pages: Vec<Page>, states: &mut [State]) -> Result<(), Malformed> {
    let mut spill: Vec<(u16, u16, Vec<u8>)> = Vec::new();
    for page in pages {
        let PageId { table, shard, page: number } = page.id;
        if number > PAGE_MAX {
            return Err(Malformed);
        }
        let state = states.get_mut(usize::from(shard)).ok_or(Malformed)?;
        match table {
            SKUS | DETAILS | POLICIES => {
                match spill.iter_mut().find(|(t, s, _)| (*t, *s) == (table, shard)) {
                    Some((_, _, bytes)) => bytes.extend_from_slice(&page.bytes),
                    None => spill.push((table, shard, page.bytes.to_vec())),
                }
            }
            CELLS => load_cells(state, number, &page.bytes)?,
            ORDERS => {
                let orders: Vec<Order> = records(&page.bytes, Order::decode)?;
                let keys = orders.iter().enumerate().filter(|(_, order)| !order.is_free());
                let first = number * PAGE_RECORDS as u32;
                state.index_loaded(
                    keys.map(|(at, order)| (order.id().bits(), Known::Order(first + at as u32))),
                );
                state.orders.load_page(number, orders, Order::is_free);
            }
            ANSWERED => {
                let answers: Vec<Answered> = records(&page.bytes, Answered::decode)?;
                let keys = answers.iter().enumerate().filter(|(_, answer)| answer.status != 0);
                let first = number * PAGE_RECORDS as u32;
                state.index_loaded(
                    keys.map(|(at, answer)| (answer.key, Known::Answered(first + at as u32))),
                );
                state.answered.load_page(number, answers, |a| a.status == 0);
            }
            SETTLED => {
                let mut source = Source::new(&page.bytes);
                while !source.is_empty() {
                    state.settled.push_back(source.u32()?);
                }
            }
            TRANSFERS => {
                let mut source = Source::new(&page.bytes);
                while !source.is_empty() {
                    let (key, transfer) = codec::transfer(&mut source)?;
                    state.transfers.insert(key, transfer);
                }
            }
            COUNTERS => counters(state, &page.bytes)?,
            _ => return Err(Malformed),
        }
    }
    for (table, shard, bytes) in spill {
        load_varying(&mut states[usize::from(shard)], table, &bytes)?;
    }
    states.iter_mut().try_for_each(finish_state)
}

fn records<T, const N: usize>(
    bytes: &[u8],
    decode: impl Fn(&[u8; N]) -> T,
) -> Result<Vec<T>, Malformed> {
    let (records, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() || records.len() > crate::state::slab::PAGE_RECORDS {
        return Err(Malformed);
    }
    Ok(records.iter().map(decode).collect())
}

fn load_cells(state: &mut State, number: u32, bytes: &[u8]) -> Result<(), Malformed> {
    let mut source = Source::new(bytes);
    let mut index = number * CELLS_PER_PAGE as u32;
    while !source.is_empty() {
        let cell = codec::cell(&mut source)?;
        if cell.sku_plus_1 != 0 {
            let slot = state.cells.insert(cell).ok_or(Malformed)?;
            if slot != index {
                return Err(Malformed);
            }
        }
        index += 1;
    }
    Ok(())
}

fn load_varying(state: &mut State, table: u16, bytes: &[u8]) -> Result<(), Malformed> {
    let mut source = Source::new(bytes);
    if table == POLICIES {
        while !source.is_empty() {
            let no = PolicyNo(state.policies.count() as u16 + 1);
            state.policies.push(codec::policy(&mut source, no)?);
        }
        let within = state.policies.count() <= POLICIES_MAX
            && state.policies.step_count() <= POLICY_STEPS_MAX;
        return if within { Ok(()) } else { Err(Malformed) };
    }
    let mut skus = std::collections::BTreeMap::new();
    let mut details = std::collections::BTreeMap::new();
    while !source.is_empty() {
        let slot = source.u32()?;
        if table == SKUS {
            skus.insert(slot, codec::sku(&mut source)?);
        } else {
            details.insert(slot, Box::new(codec::detail(&mut source)?));
        }
    }
    for (at, (slot, sku)) in skus.into_iter().enumerate() {
        if slot as usize != at {
            return Err(Malformed);
        }
        state.catalogue.push(sku);
    }
    let last = details.last_key_value().map_or(0, |(slot, _)| slot + 1);
    if last > 0 {
        let per_page = crate::state::slab::PAGE_RECORDS as u32;
        for page in 0..last.div_ceil(per_page) {
            let first = page * per_page;
            let slots = first..last.min(first + per_page);
            let records = slots.map(|slot| details.remove(&slot)).collect();
            state.details.load_page(page, records, Option::is_none);
        }
    }
    Ok(())
}

fn counters(state: &mut State, bytes: &[u8]) -> Result<(), Malformed> {
    let mut source = Source::new(bytes);
    state.now = Timestamp::from_millis(source.u64()?);
    state.evicted = source.u64()?;
    state.live_orders = source.u64()?;
    for list in [&mut state.sent, &mut state.received] {
        for count in list {
            *count = source.u64()?;
        }
    }
    if source.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// Rebuilds what is derived: indexes, sums, deadlines; checks what one table says of another.
fn finish_state(state: &mut State) -> Result<(), Malformed> {
    state.catalogue.index_loaded();
    for index in 0..state.cells.high() {
        let cell = *state.cells.get(index);
        if cell.sku() as usize >= state.catalogue.count() {
            return Err(Malformed);
        }
        state.cells.get_mut(index).next_lot = 0;
        state.link_cell(index);
        let sum = &mut state.catalogue.get_mut(cell.sku()).level;
        sum.add(&cell.level);
    }
    for slot in 0..state.details.high() {
        state.detail_bytes += state.details.get(slot).as_ref().map_or(0, |d| d.memory_bytes());
    }
    state.calendar.start(state.now.millis());
    for slot in 0..state.orders.high() {
        let order = *state.orders.get(slot);
        if order.is_free() {
            continue;
        }
        if let Some(detail) = order.detail()
            && (detail >= state.details.high() || state.details.get(detail).is_none())
        {
            return Err(Malformed);
        }
        if order.status() == OrderStatus::Reserved {
            state.calendar.add(order.deadline().millis(), slot);
        }
    }
    if (0..state.settled.len()).all(|at| state.settled_is_there(at)) {
        Ok(())
    } else {
        Err(Malformed)
    }
}
