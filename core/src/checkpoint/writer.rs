//! Writing a checkpoint: pages as they are copied, with what was saved put back into them.

use crate::checkpoint::codec::{self, CELL_BYTES, LIMIT_BYTES, PAGE_SOFT_BYTES};
use crate::checkpoint::copy::{Buffers, Image, Images, put_detail, put_sku};
use crate::checkpoint::{
    ANSWERED, CELLS, CELLS_PER_PAGE, COUNTERS, CutBase, DETAILS, LIMITS, Manifest, ORDERS,
    POLICIES, SETTLED, SKUS, TRANSFERS,
};
use crate::domain::answered::Answered;
use crate::domain::order::Order;
use crate::error::Error;
use crate::hash::{FoldMap, fold_map};
use crate::journal::frame::Chain;
use crate::state::slab::PAGE_RECORDS;
use crate::state::table::LimitEntry;
use crate::store::{CheckpointSink, PAGE_BYTES_MAX, PageId};

type Written = Result<(), Error>;

/// Stored records that were saved before they changed, by the page that they belong to: the place
/// in it, and the bytes.
type Saved = FoldMap<u32, Vec<(u32, Vec<u8>)>>;

/// What is known of one shard's part.
#[derive(Debug)]
struct Part {
    limits: FoldMap<(u64, u32), u32>,
    cells: Saved,
    answered: Saved,
    orders: Saved,
    limit_pages: u32,
    detail_pages: u32,
    sku_pages: u32,
}

/// Writes images of one checkpoint into its sink.
pub(crate) struct CheckpointWriter {
    sink: Box<dyn CheckpointSink>,
    bytes: Vec<u8>,
    parts: Vec<Part>,
    orders: u64,
}

impl CheckpointWriter {
    pub(crate) fn new(sink: Box<dyn CheckpointSink>, shard_count: u16) -> Self {
        let part = |_| Part {
            limits: fold_map(),
            cells: fold_map(),
            answered: fold_map(),
            orders: fold_map(),
            limit_pages: 0,
            detail_pages: 0,
            sku_pages: 0,
        };
        Self { sink, bytes: Vec::new(), parts: (0..shard_count).map(part).collect(), orders: 0 }
    }

    fn put(&mut self, table: u16, shard: u16, page: u32) -> Written {
        self.sink.put(PageId { table, shard, page }, &self.bytes)
    }

    /// Puts the small tables of a shard.
    pub(crate) fn base(&mut self, base: &CutBase) -> Written {
        let mut page = 0;
        self.bytes.clear();
        for reference in base.settled.iter() {
            if self.bytes.len() == PAGE_SOFT_BYTES {
                self.put(SETTLED, base.shard, page)?;
                page += 1;
                self.bytes.clear();
            }
            self.bytes.extend_from_slice(&reference.to_le_bytes());
        }
        if !self.bytes.is_empty() {
            self.put(SETTLED, base.shard, page)?;
        }
        for (page, chunk) in base.transfers.chunks(PAGE_SOFT_BYTES / 32).enumerate() {
            self.bytes.clear();
            chunk.iter().for_each(|(key, t)| codec::put_transfer(&mut self.bytes, *key, t));
            self.put(TRANSFERS, base.shard, page as u32)?;
        }
        self.bytes.clear();
        base.counters.iter().for_each(|c| self.bytes.extend_from_slice(&c.to_le_bytes()));
        self.put(COUNTERS, base.shard, 0)?;
        let mut bytes = Vec::new();
        base.policies.iter().for_each(|policy| codec::put_policy(&mut bytes, policy));
        for (page, chunk) in bytes.chunks(PAGE_SOFT_BYTES).enumerate() {
            self.sink
                .put(PageId { table: POLICIES, shard: base.shard, page: page as u32 }, chunk)?;
        }
        Ok(())
    }

    /// Puts copied pages of a shard, and gives their buffers back.
    pub(crate) fn images(&mut self, shard: u16, images: Images, buffers: &Buffers) -> Written {
        let Images { pages, limits, orders, answered, cells, skus, details, last } = images;
        let part = &mut self.parts[usize::from(shard)];
        for LimitEntry { customer, sku, used } in limits {
            part.limits.entry((customer, sku)).or_insert(used);
        }
        save(&mut part.cells, cells, CELLS_PER_PAGE, codec::put_cell);
        save(&mut part.answered, answered, PAGE_RECORDS, |out, a: &Answered| a.encode(out));
        save(&mut part.orders, orders, PAGE_RECORDS, |out, o: &Order| o.encode(out));
        let mut written = Ok(());
        for Image { table, page, mut bytes } in pages {
            if written.is_ok() {
                written = self.page(shard, table, page, &mut bytes);
            }
            buffers.give(bytes);
        }
        written?;
        let mut one = std::mem::take(&mut self.bytes);
        for (slot, sku) in skus {
            one.clear();
            put_sku(&mut one, slot, &sku);
            self.varying(SKUS, shard, &one)?;
        }
        for (slot, detail) in details {
            one.clear();
            put_detail(&mut one, slot, &detail);
            self.varying(DETAILS, shard, &one)?;
        }
        self.bytes = one;
        if last { self.end(shard) } else { Ok(()) }
    }

    fn page(&mut self, shard: u16, table: u16, page: u32, bytes: &mut Vec<u8>) -> Written {
        let part = &mut self.parts[usize::from(shard)];
        match table {
            CELLS => put_back(&mut part.cells, page, bytes, CELL_BYTES),
            ANSWERED => put_back(&mut part.answered, page, bytes, Answered::BYTES),
            ORDERS => {
                put_back(&mut part.orders, page, bytes, Order::BYTES);
                let (orders, _) = bytes.as_chunks();
                self.orders +=
                    orders.iter().filter(|order| !Order::is_stored_free(order)).count() as u64;
            }
            LIMITS => return self.limits(shard, bytes),
            SKUS | DETAILS => return self.varying(table, shard, bytes),
            _ => unreachable!("a shard copies no other table"),
        }
        self.sink.put(PageId { table, shard, page }, bytes)
    }

    /// Puts entries of the limits, each with the units of the cut.
    fn limits(&mut self, shard: u16, bytes: &mut Vec<u8>) -> Written {
        let part = &mut self.parts[usize::from(shard)];
        if !part.limits.is_empty() {
            let mut kept = 0;
            for at in (0..bytes.len()).step_by(LIMIT_BYTES) {
                let entry = &mut bytes[at..at + LIMIT_BYTES];
                let (customer, rest) = entry.split_first_chunk_mut().expect("16 bytes");
                let (sku, used) = rest.split_first_chunk_mut().expect("8 bytes");
                let key = (u64::from_le_bytes(*customer), u32::from_le_bytes(*sku));
                // A segment is copied once, so an entry comes once.
                if let Some(then) = part.limits.remove(&key) {
                    if then == 0 {
                        continue;
                    }
                    used.copy_from_slice(&then.to_le_bytes());
                }
                bytes.copy_within(at..at + LIMIT_BYTES, kept);
                kept += LIMIT_BYTES;
            }
            bytes.truncate(kept);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let page = part.limit_pages;
        part.limit_pages += 1;
        self.sink.put(PageId { table: LIMITS, shard, page }, bytes)
    }

    /// Puts records of varying length, as many pages as it takes.
    fn varying(&mut self, table: u16, shard: u16, bytes: &[u8]) -> Written {
        let part = &mut self.parts[usize::from(shard)];
        let pages = if table == SKUS { &mut part.sku_pages } else { &mut part.detail_pages };
        for chunk in bytes.chunks(PAGE_BYTES_MAX) {
            self.sink.put(PageId { table, shard, page: *pages }, chunk)?;
            *pages += 1;
        }
        Ok(())
    }

    /// Puts what has gone from a shard's limits since the cut.
    fn end(&mut self, shard: u16) -> Written {
        let part = &mut self.parts[usize::from(shard)];
        let saved = [&part.cells, &part.answered, &part.orders];
        assert!(saved.iter().all(|saved| saved.is_empty()), "every saved record has its page");
        let gone = std::mem::replace(&mut part.limits, fold_map());
        let mut gone: Vec<LimitEntry> = gone
            .into_iter()
            .filter(|(_, used)| *used > 0)
            .map(|((customer, sku), used)| LimitEntry { customer, sku, used })
            .collect();
        gone.sort_unstable_by_key(|entry| (entry.customer, entry.sku));
        for chunk in gone.chunks(PAGE_SOFT_BYTES / LIMIT_BYTES) {
            let mut bytes = Vec::new();
            chunk.iter().for_each(|entry| codec::put_limit(&mut bytes, entry));
            self.limits(shard, &mut bytes)?;
        }
        Ok(())
    }

    /// Makes the checkpoint whole and verified; returns the number of orders in it.
    pub(crate) fn finish(self, chain: &Chain, shard_count: u16) -> Result<u64, Error> {
        let manifest = Manifest { chain: *chain, shard_count };
        self.sink.finish(&manifest.encode())?;
        Ok(self.orders)
    }
}

/// Keeps saved records until their pages come.
fn save<T>(
    saved: &mut Saved,
    records: Vec<(u32, T)>,
    per_page: usize,
    put: impl Fn(&mut Vec<u8>, &T),
) {
    for (slot, record) in records {
        let mut bytes = Vec::new();
        put(&mut bytes, &record);
        let (page, place) = (slot / per_page as u32, slot % per_page as u32);
        saved.entry(page).or_default().push((place, bytes));
    }
}

/// Puts saved records back into their page.
fn put_back(saved: &mut Saved, page: u32, bytes: &mut [u8], record_bytes: usize) {
    for (place, record) in saved.remove(&page).unwrap_or_default() {
        let at = place as usize * record_bytes;
        bytes[at..at + record_bytes].copy_from_slice(&record);
    }
}
