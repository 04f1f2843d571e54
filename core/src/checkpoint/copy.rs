//! Copying the state of a cut, a little between two sections, while commands go on.
//!
//! Records are copied as they are when their turn comes; one that changes before is saved alone,
//! and the writer puts it back. So a command costs one record more while a checkpoint is made,
//! whatever it touches, and copying waits for buffers, never a command for copying.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::checkpoint::codec::{self, PAGE_SOFT_BYTES};
use crate::checkpoint::{ANSWERED, CELLS, CELLS_PER_PAGE, CutBase, DETAILS, LIMITS, ORDERS, SKUS};
use crate::domain::answered::Answered;
use crate::domain::catalogue::Sku;
use crate::domain::order::{Detail, Order};
use crate::domain::stock::Cell;
use crate::state::State;
use crate::state::slab::{PAGE_RECORDS, Slab};
use crate::state::table::LimitEntry;
use crate::store::PAGE_BYTES_MAX;

/// Buffers of a shard: a megabyte on its way from the shard to the store.
const BUFFERS_MAX: usize = 32;
/// Buffers that the copy of one segment of the limits may take.
const SEGMENT_BUFFERS: usize = 3;
/// Bytes that are counted for a look at a record somewhere in memory.
const LOOK_BYTES: usize = 64;
/// Records of varying length that are looked at together.
const VARYING_RECORDS: usize = 16;
/// Saved records that are worth giving on without a page.
const BEFORE_MIN: usize = 256;

const _: () = assert!(PAGE_RECORDS * Order::BYTES <= PAGE_BYTES_MAX);
const _: () = assert!(PAGE_RECORDS * Answered::BYTES <= PAGE_BYTES_MAX);
const _: () = assert!(CELLS_PER_PAGE * codec::CELL_BYTES <= PAGE_BYTES_MAX);

/// Buffers for copied pages, used again and again; there are only so many, so copying waits for
/// the store.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: ArrayQueue<Vec<u8>>,
    /// Buffers that may still be made.
    left: AtomicUsize,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { free: ArrayQueue::new(BUFFERS_MAX), left: AtomicUsize::new(BUFFERS_MAX) }
    }

    /// Returns how many buffers can be taken; only one thread takes.
    fn available(&self) -> usize {
        self.free.len() + self.left.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<Vec<u8>> {
        let buffer = self.free.pop();
        buffer.or_else(|| {
            if self.left.load(Ordering::Relaxed) == 0 {
                return None;
            }
            // Only the shard takes; the other side only adds, for a buffer that grew.
            self.left.fetch_sub(1, Ordering::Relaxed);
            Some(Vec::with_capacity(PAGE_BYTES_MAX))
        })
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let grown = buffer.capacity() > 2 * PAGE_BYTES_MAX;
        if grown || self.free.push(buffer).is_err() {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One page that was copied; the number counts only where a table has fixed places.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) table: u16,
    pub(crate) page: u32,
    pub(crate) bytes: Vec<u8>,
}

/// What a shard has copied in one step, and the records that it saved before, each with its slot.
///
/// A saved record comes before its page or with it.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pub(crate) pages: Vec<Image>,
    /// Units that were counted before they changed; an entry may come again, the first counts.
    pub(crate) limits: Vec<LimitEntry>,
    pub(crate) orders: Vec<(u32, Order)>,
    pub(crate) answered: Vec<(u32, Answered)>,
    pub(crate) cells: Vec<(u32, Cell)>,
    pub(crate) skus: Vec<(u32, Sku)>,
    pub(crate) details: Vec<(u32, Option<Box<Detail>>)>,
    /// Whether this shard has copied everything.
    pub(crate) last: bool,
}

/// Copies until the step's bytes or the buffers are used up.
struct Step<'a> {
    buffers: &'a Buffers,
    left: usize,
    pages: Vec<Image>,
}

impl Step<'_> {
    fn take(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 { None } else { self.buffers.take() }
    }

    fn give(&mut self, table: u16, page: u32, bytes: Vec<u8>) {
        self.left = self.left.saturating_sub(bytes.len());
        if bytes.is_empty() {
            self.buffers.give(bytes);
        } else {
            self.pages.push(Image { table, page, bytes });
        }
    }

    /// Copies records of one length.
    fn fixed<T: Clone + Default>(
        &mut self,
        slab: &mut Slab<T>,
        table: u16,
        per_page: usize,
        put: impl Fn(&mut Vec<u8>, &T),
    ) {
        while !slab.is_copied() {
            let Some(mut bytes) = self.take() else { return };
            if let Some((first, records)) = slab.copy_next(per_page) {
                records.iter().for_each(|record| put(&mut bytes, record));
                self.give(table, first / per_page as u32, bytes);
            }
        }
    }

    /// Copies records of varying length, each with its slot before it; those that are saved come
    /// by another way.
    fn varying<T: Clone + Default>(
        &mut self,
        slab: &mut Slab<T>,
        table: u16,
        put: impl Fn(&mut Vec<u8>, u32, &T),
    ) {
        while !slab.is_copied() {
            let Some(mut bytes) = self.take() else { return };
            while bytes.len() < PAGE_SOFT_BYTES && self.left > 0 {
                let saved = slab.saved_next(VARYING_RECORDS);
                let Some((first, records)) = slab.copy_next(VARYING_RECORDS) else { break };
                for (at, record) in records.iter().enumerate() {
                    if saved >> at & 1 == 0 {
                        put(&mut bytes, first + at as u32, record);
                    }
                }
                self.left = self.left.saturating_sub(records.len() * LOOK_BYTES);
            }
            self.give(table, 0, bytes);
        }
    }
}

impl State {
    /// Makes the cut: gives the small tables; from now on records are saved before they change.
    pub(crate) fn cut(&mut self) -> CutBase {
        assert!(self.taken.is_empty(), "a cut is made at rest");
        self.orders.start_cut();
        self.details.start_cut();
        self.answered.start_cut();
        self.cells.start_cut();
        self.catalogue.skus.start_cut();
        self.limits.start_cut();
        self.limit_cut = Some(0);
        self.limits_before.clear();
        CutBase::of(self)
    }

    /// Copies some of the running cut, about as many bytes as are said; returns what is worth
    /// giving on.
    pub(crate) fn copy_some(&mut self, buffers: &Buffers, bytes: usize) -> Option<Images> {
        let mut step = Step { buffers, left: bytes, pages: Vec::new() };
        // What every order changes goes first: little is saved then.
        self.copy_limits(&mut step);
        if self.limit_cut.is_none() {
            step.fixed(&mut self.cells, CELLS, CELLS_PER_PAGE, codec::put_cell);
            step.varying(&mut self.catalogue.skus, SKUS, put_sku);
            step.fixed(&mut self.answered, ANSWERED, PAGE_RECORDS, |out, a| a.encode(out));
            step.fixed(&mut self.orders, ORDERS, PAGE_RECORDS, |out, order| order.encode(out));
            step.varying(&mut self.details, DETAILS, put_detail);
        }
        let last = self.is_copied();
        let saved = self.orders.before_len()
            + self.answered.before_len()
            + self.cells.before_len()
            + self.catalogue.skus.before_len()
            + self.details.before_len()
            + self.limits_before.len();
        if step.pages.is_empty() && saved < BEFORE_MIN && !last {
            return None;
        }
        Some(Images {
            pages: step.pages,
            limits: std::mem::take(&mut self.limits_before),
            orders: self.orders.take_before(),
            answered: self.answered.take_before(),
            cells: self.cells.take_before(),
            skus: self.catalogue.skus.take_before(),
            details: self.details.take_before(),
            last,
        })
    }

    fn is_copied(&self) -> bool {
        self.limit_cut.is_none()
            && self.cells.is_copied()
            && self.catalogue.skus.is_copied()
            && self.answered.is_copied()
            && self.orders.is_copied()
            && self.details.is_copied()
    }

    fn copy_limits(&mut self, step: &mut Step<'_>) {
        let Some(mut next) = self.limit_cut else { return };
        while next < self.limits.segment_count() {
            // A segment is copied whole: a change in it is saved until then.
            if step.left == 0 || step.buffers.available() < SEGMENT_BUFFERS {
                self.limit_cut = Some(next);
                return;
            }
            let mut bytes = step.buffers.take().unwrap_or_default();
            self.limits.copy_segment(next, |entry| {
                if bytes.len() + codec::LIMIT_BYTES > PAGE_SOFT_BYTES {
                    let empty = step.buffers.take().unwrap_or_default();
                    step.give(LIMITS, 0, std::mem::replace(&mut bytes, empty));
                }
                codec::put_limit(&mut bytes, entry);
            });
            step.give(LIMITS, 0, bytes);
            next += 1;
        }
        self.limit_cut = None;
    }

    /// Ends a cut that nobody wants any more: nothing is saved for it from now on.
    pub(crate) fn give_up_cut(&mut self) {
        self.orders.give_up_cut();
        self.details.give_up_cut();
        self.answered.give_up_cut();
        self.cells.give_up_cut();
        self.catalogue.skus.give_up_cut();
        self.limit_cut = None;
        self.limits_before = Vec::new();
    }
}

/// Puts a SKU with its slot before it, if there is one.
pub(super) fn put_sku(out: &mut Vec<u8>, slot: u32, sku: &Sku) {
    if sku.version > 0 {
        out.extend_from_slice(&slot.to_le_bytes());
        codec::put_sku(out, sku);
    }
}

/// Puts a detail with its slot before it, if there is one.
#[expect(clippy::ref_option, reason = "it is what stands in the table")]
pub(super) fn put_detail(out: &mut Vec<u8>, slot: u32, detail: &Option<Box<Detail>>) {
    if let Some(detail) = detail {
        out.extend_from_slice(&slot.to_le_bytes());
        codec::put_detail(out, detail);
    }
}
