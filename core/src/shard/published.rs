//! Stock and catalogue as readers see them: durable, and read without asking a shard.

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::decided::PolicyView;
use crate::domain::bucket::CellNo;
use crate::domain::stock::Level;
use crate::hash::{FoldMap, fold_map};
use crate::id::SkuId;
use crate::limits::SKUS_MAX;
use crate::shard::core::CellName;
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::spin_loop;
use crate::view::{SkuView, StockView};

/// SKUs of one chunk.
const CHUNK: usize = 1_024;
/// Counts of a slot, and the seq that they reflect.
const WORDS: usize = 8;

/// Counts of one SKU in one shard, guarded by a version that is odd while they change.
#[derive(Debug, Default)]
struct Slot {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

#[derive(Debug)]
struct ShardLevels {
    chunks: Vec<OnceLock<Box<[Slot]>>>,
}

#[derive(Debug, Default)]
struct Skus {
    by_index: Vec<Arc<SkuView>>,
}

/// What the writer publishes after each durable group.
#[derive(Debug)]
pub(crate) struct Published {
    shards: Vec<ShardLevels>,
    skus: RwLock<Skus>,
    by_id: RwLock<FoldMap<u64, u32>>,
    /// Cells by shard and index.
    cells: Vec<RwLock<Vec<CellName>>>,
    policies: RwLock<Vec<Arc<PolicyView>>>,
}

impl Published {
    pub(crate) fn new(shard_count: u16) -> Self {
        let chunks = || (0..SKUS_MAX / CHUNK).map(|_| OnceLock::new()).collect();
        Self {
            shards: (0..shard_count).map(|_| ShardLevels { chunks: chunks() }).collect(),
            skus: RwLock::default(),
            by_id: RwLock::new(fold_map()),
            cells: (0..shard_count).map(|_| RwLock::default()).collect(),
            policies: RwLock::default(),
        }
    }

    /// Publishes the stock of a SKU in a shard; only one thread does so.
    pub(crate) fn set_level(&self, shard: u16, sku: u32, level: &Level, seq: u64) {
        let chunk = &self.shards[usize::from(shard)].chunks[sku as usize / CHUNK];
        let slots = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
        let slot = &slots[sku as usize % CHUNK];
        let version = slot.version.load(Ordering::Relaxed);
        slot.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let words = [
            level.available,
            level.tentative,
            level.reserved,
            level.committed,
            level.unavailable_total(),
            level.in_transit,
            level.shipped,
            seq,
        ];
        for (word, value) in slot.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        slot.version.store(version + 2, Ordering::Release);
    }

    pub(crate) fn level(&self, shard: usize, sku: u32) -> Option<[u64; WORDS]> {
        let slots = self.shards[shard].chunks[sku as usize / CHUNK].get()?;
        let slot = &slots[sku as usize % CHUNK];
        loop {
            let before = slot.version.load(Ordering::Acquire);
            let mut words = [0; WORDS];
            for (value, word) in words.iter_mut().zip(&slot.words) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before % 2 == 0 && slot.version.load(Ordering::Relaxed) == before {
                return Some(words);
            }
            spin_loop();
        }
    }

    /// Returns the stock of a SKU over all shards.
    pub(crate) fn stock(&self, sku: SkuId) -> Option<StockView> {
        let index = self.index_of(sku)?;
        let mut sum = [0_u64; WORDS];
        for shard in 0..self.shards.len() {
            let Some(words) = self.level(shard, index) else { continue };
            for (sum, word) in sum.iter_mut().zip(&words[..WORDS - 1]) {
                *sum += word;
            }
            sum[WORDS - 1] = sum[WORDS - 1].max(words[WORDS - 1]);
        }
        let [available, tentative, reserved, committed, unavailable, in_transit, shipped, seq] =
            sum;
        Some(StockView {
            sku,
            available,
            tentative,
            reserved,
            committed,
            unavailable,
            in_transit,
            shipped,
            seq,
        })
    }

    /// Publishes a definition.
    pub(crate) fn define(&self, sku: Arc<SkuView>) {
        let mut skus = self.skus.write();
        let index = sku.index as usize;
        let id = sku.id.bits();
        if index < skus.by_index.len() {
            // The copies of other shards come later and say the same.
            if skus.by_index[index].version <= sku.version {
                skus.by_index[index] = sku;
            }
        } else if index == skus.by_index.len() {
            skus.by_index.push(sku);
            drop(skus);
            self.by_id.write().insert(id, index as u32);
        }
    }

    /// Publishes a policy.
    pub(crate) fn set_policy(&self, policy: Arc<PolicyView>) {
        let mut policies = self.policies.write();
        let at = usize::from(policy.no.0) - 1;
        match policies.get_mut(at) {
            Some(place) => *place = policy,
            // Numbers are given one after the other.
            None => policies.push(policy),
        }
    }

    /// Returns the policies in the order of their numbers.
    pub(crate) fn policies(&self) -> Vec<PolicyView> {
        self.policies.read().iter().map(|policy| policy.as_ref().clone()).collect()
    }

    /// Publishes a cell.
    pub(crate) fn add_cell(&self, shard: u16, index: u32, name: CellName) {
        let mut cells = self.cells[usize::from(shard)].write();
        let index = index as usize;
        if cells.len() <= index {
            cells.resize(index + 1, CellName::default());
        }
        cells[index] = name;
    }

    /// Returns what a cell is of.
    pub(crate) fn cell(&self, number: CellNo) -> Option<CellName> {
        let cells = self.cells.get(usize::from(number.shard()))?.read();
        cells.get(number.index() as usize).copied()
    }

    #[inline]
    pub(crate) fn index_of(&self, sku: SkuId) -> Option<u32> {
        self.by_id.read().get(&sku.bits()).copied()
    }

    pub(crate) fn sku(&self, sku: SkuId) -> Option<Arc<SkuView>> {
        let index = self.index_of(sku)?;
        self.skus.read().by_index.get(index as usize).cloned()
    }

    pub(crate) fn sku_at(&self, index: u32) -> Option<Arc<SkuView>> {
        self.skus.read().by_index.get(index as usize).cloned()
    }

    pub(crate) fn skus(&self, from: u32, limit: usize) -> Vec<Arc<SkuView>> {
        let skus = self.skus.read();
        skus.by_index.iter().skip(from as usize).take(limit).cloned().collect()
    }
}
