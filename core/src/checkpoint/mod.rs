//! Checkpoints: the state of all shards at one position of the journal, page by page.
//!
//! A cut is made between two sections, when no basket is in flight; from then on a shard copies
//! each page before it changes it, and a few more between sections, so that nothing stands still.
//! Bytes are in `codec`; what is taken and how it is put back is here.

pub(crate) mod codec;

use crate::checkpoint::codec::{Malformed, PAGE_SOFT_BYTES, Source};
use crate::domain::answered::Answered;
use crate::domain::catalogue::Sku;
use crate::domain::order::{Detail, Order};
use crate::domain::stock::Cell;
use crate::journal::frame::Chain;
use crate::reply::OrderStatus;
use crate::state::slab::PageImage;
use crate::state::table::{Entry, LimitEntry};
use crate::state::{Known, State, Transfer};
use crate::store::{CheckpointSink, Generation, PAGE_BYTES_MAX, PageId};
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

/// Pages that a shard has copied since the last time.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pub(crate) orders: Vec<PageImage<Order>>,
    pub(crate) answered: Vec<PageImage<Answered>>,
    pub(crate) cells: Vec<PageImage<Cell>>,
    pub(crate) skus: Vec<PageImage<Sku>>,
    pub(crate) details: Vec<PageImage<Option<Box<Detail>>>>,
    pub(crate) limits: Vec<LimitEntry>,
    /// Whether this shard has copied everything.
    pub(crate) last: bool,
}

impl Images {
    pub(crate) fn is_empty(&self) -> bool {
        !self.last
            && self.limits.is_empty()
            && self.orders.is_empty()
            && self.answered.is_empty()
            && self.cells.is_empty()
            && self.skus.is_empty()
            && self.details.is_empty()
    }
}

/// What a shard gives at the moment of the cut: all that is small.
#[derive(Debug)]
pub(crate) struct CutBase {
    pub(crate) shard: u16,
    settled: Vec<u32>,
    transfers: Vec<(u128, Transfer)>,
    counters: Vec<u64>,
}

impl State {
    /// Makes the cut: gives the small tables, and from now on copies pages before they change.
    pub(crate) fn cut(&mut self) -> CutBase {
        self.start_cut();
        let mut counters = vec![self.now.millis(), self.evicted, self.live_orders];
        counters.extend_from_slice(&self.sent);
        counters.extend_from_slice(&self.received);
        CutBase {
            shard: self.shard,
            settled: self.settled.iter().copied().collect(),
            transfers: self.transfers.iter().map(|(key, t)| (*key, *t)).collect(),
            counters,
        }
    }

    /// Takes what was copied since the last call.
    pub(crate) fn take_images(&mut self, last: bool) -> Images {
        Images {
            orders: self.orders.take_images(),
            answered: self.answered.take_images(),
            cells: self.cells.take_images(),
            skus: self.catalogue.skus.take_images(),
            details: self.details.take_images(),
            limits: std::mem::take(&mut self.limit_images),
            last,
        }
    }
}

/// Writes images of one checkpoint into its sink.
pub(crate) struct CheckpointWriter {
    sink: Box<dyn CheckpointSink>,
    bytes: Vec<u8>,
    limit_pages: Vec<u32>,
    detail_pages: Vec<u32>,
    sku_pages: Vec<u32>,
    orders: u64,
}

type Written = Result<(), crate::error::Error>;

impl CheckpointWriter {
    pub(crate) fn new(sink: Box<dyn CheckpointSink>, shard_count: u16) -> Self {
        let zeros = vec![0; usize::from(shard_count)];
        Self {
            sink,
            bytes: Vec::new(),
            limit_pages: zeros.clone(),
            detail_pages: zeros.clone(),
            sku_pages: zeros,
            orders: 0,
        }
    }

    fn put(&mut self, table: u16, shard: u16, page: u32) -> Written {
        self.sink.put(PageId { table, shard, page }, &self.bytes)
    }

    /// Puts the small tables of a shard.
    pub(crate) fn base(&mut self, base: &CutBase) -> Written {
        for (page, chunk) in base.settled.chunks(PAGE_SOFT_BYTES / 4).enumerate() {
            self.bytes.clear();
            chunk.iter().for_each(|slot| self.bytes.extend_from_slice(&slot.to_le_bytes()));
            self.put(SETTLED, base.shard, page as u32)?;
        }
        for (page, chunk) in base.transfers.chunks(PAGE_SOFT_BYTES / 32).enumerate() {
            self.bytes.clear();
            chunk.iter().for_each(|(key, t)| codec::put_transfer(&mut self.bytes, *key, t));
            self.put(TRANSFERS, base.shard, page as u32)?;
        }
        self.bytes.clear();
        base.counters.iter().for_each(|c| self.bytes.extend_from_slice(&c.to_le_bytes()));
        self.put(COUNTERS, base.shard, 0)
    }

    /// Puts copied pages of a shard.
    pub(crate) fn images(&mut self, shard: u16, images: Images) -> Written {
        for image in &images.orders {
            self.bytes.clear();
            image.records.iter().for_each(|order| order.encode(&mut self.bytes));
            self.orders += image.records.iter().filter(|o| !o.is_free()).count() as u64;
            self.put(ORDERS, shard, image.page)?;
        }
        for image in &images.answered {
            self.bytes.clear();
            image.records.iter().for_each(|answer| answer.encode(&mut self.bytes));
            self.put(ANSWERED, shard, image.page)?;
        }
        for image in &images.cells {
            for (half, cells) in image.records.chunks(CELLS_PER_PAGE).enumerate() {
                self.bytes.clear();
                cells.iter().for_each(|cell| codec::put_cell(&mut self.bytes, cell));
                self.put(CELLS, shard, image.page * CELL_PARTS + half as u32)?;
            }
        }
        for image in &images.skus {
            self.varying(SKUS, shard, image.page, &image.records, |out, sku| {
                if sku.version > 0 {
                    codec::put_sku(out, sku);
                    true
                } else {
                    false
                }
            })?;
        }
        for image in &images.details {
            self.varying(DETAILS, shard, image.page, &image.records, |out, detail| {
                detail.as_ref().is_some_and(|detail| {
                    codec::put_detail(out, detail);
                    true
                })
            })?;
        }
        for chunk in images.limits.chunks(PAGE_SOFT_BYTES / 16) {
            self.bytes.clear();
            chunk.iter().for_each(|entry| codec::put_limit(&mut self.bytes, entry));
            let page = &mut self.limit_pages[usize::from(shard)];
            let at = *page;
            *page += 1;
            self.put(LIMITS, shard, at)?;
        }
        Ok(())
    }

    /// Puts records of varying length: each with its slot before it, as many to a page as fit.
    fn varying<T>(
        &mut self,
        table: u16,
        shard: u16,
        page: u32,
        records: &[T],
        mut put: impl FnMut(&mut Vec<u8>, &T) -> bool,
    ) -> Written {
        self.bytes.clear();
        let mut one = Vec::new();
        for (at, record) in records.iter().enumerate() {
            one.clear();
            let slot = page * crate::state::slab::PAGE_RECORDS as u32 + at as u32;
            one.extend_from_slice(&slot.to_le_bytes());
            if !put(&mut one, record) {
                continue;
            }
            if self.bytes.len() + one.len() > PAGE_BYTES_MAX {
                self.next_varying(table, shard)?;
            }
            // Longer than a page by itself: the parts follow each other.
            for part in one.chunks(PAGE_BYTES_MAX) {
                if self.bytes.len() + part.len() > PAGE_BYTES_MAX {
                    self.next_varying(table, shard)?;
                }
                self.bytes.extend_from_slice(part);
            }
        }
        if self.bytes.is_empty() { Ok(()) } else { self.next_varying(table, shard) }
    }

    fn next_varying(&mut self, table: u16, shard: u16) -> Written {
        let pages = if table == SKUS { &mut self.sku_pages } else { &mut self.detail_pages };
        let page = &mut pages[usize::from(shard)];
        let at = *page;
        *page += 1;
        self.put(table, shard, at)?;
        self.bytes.clear();
        Ok(())
    }

    /// Makes the checkpoint whole and verified; returns the number of orders in it.
    pub(crate) fn finish(
        self,
        chain: &Chain,
        shard_count: u16,
    ) -> Result<u64, crate::error::Error> {
        let manifest = Manifest { chain: *chain, shard_count };
        self.sink.finish(&manifest.encode())?;
        Ok(self.orders)
    }
}

/// Cells of one page: a page of the table makes two of the checkpoint.
const CELLS_PER_PAGE: usize = 128;
const CELL_PARTS: u32 = (crate::state::slab::PAGE_RECORDS / CELLS_PER_PAGE) as u32;

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
    let mut spill: Vec<(u16, u16, Vec<u8>)> = Vec::new();
    for page in generation.into_pages() {
        let PageId { table, shard, page: number } = page.id;
        let state = states.get_mut(usize::from(shard)).ok_or(Malformed)?;
        match table {
            SKUS | DETAILS => match spill.iter_mut().find(|(t, s, _)| (*t, *s) == (table, shard)) {
                Some((_, _, bytes)) => bytes.extend_from_slice(&page.bytes),
                None => spill.push((table, shard, page.bytes.to_vec())),
            },
            CELLS => load_cells(state, number, &page.bytes)?,
            ORDERS => {
                let orders: Vec<Order> = records(&page.bytes, Order::decode)?;
                state.orders.load_page(number, orders, Order::is_free);
            }
            ANSWERED => {
                let answers: Vec<Answered> = records(&page.bytes, Answered::decode)?;
                state.answered.load_page(number, answers, |a| a.status == 0);
            }
            LIMITS => {
                let mut source = Source::new(&page.bytes);
                while !source.is_empty() {
                    let entry = codec::limit(&mut source)?;
                    let tag = entry.tag(state.limits.seed());
                    state.limits.insert(tag, entry).map_err(|_| Malformed)?;
                }
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
        state.index_loaded(Known::Order(slot));
        if order.status() == OrderStatus::Reserved {
            state.calendar.add(order.deadline().millis(), slot);
        }
    }
    for slot in 0..state.answered.high() {
        if state.answered.get(slot).status != 0 {
            state.index_loaded(Known::Answered(slot));
        }
    }
    if (0..state.settled.len()).all(|at| state.settled_is_there(at)) {
        Ok(())
    } else {
        Err(Malformed)
    }
}
