//! The SKUs of an engine, the same in every shard.

use crate::command::{Placement, SkuKind};
use crate::domain::stock::Level;
use crate::hash::{FoldMap, fold_map};
use crate::id::{Key, SkuId};
use crate::money::Currency;
use crate::state::slab::Slab;

/// One SKU, with the sum of its cells in this shard.
///
/// What an order needs of it stands first, in two cache lines.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Sku {
    pub(crate) id: SkuId,
    pub(crate) placement: Placement,
    pub(crate) price: i64,
    /// Most units for one customer; 0 for no limit.
    pub(crate) limit: u32,
    /// Index of the oldest cell plus one; 0 where there is none.
    pub(crate) first_cell: u32,
    pub(crate) kind: SkuKind,
    pub(crate) currency: Currency,
    pub(crate) version: u32,
    /// Number of the last section that changed the level.
    pub(crate) touched_step: u64,
    /// Sum of this shard's cells.
    pub(crate) level: Level,
    /// Indexes of this shard's cells behind the oldest.
    pub(crate) more_cells: Vec<u32>,
    pub(crate) code: Box<str>,
    /// Key of the last definition.
    pub(crate) key: Key,
    pub(crate) components: Box<[(u32, u32)]>,
    /// Time of the last refusal that was journaled as a sample.
    pub(crate) sampled_ms: u64,
}

impl Sku {
    pub(crate) fn is_kit(&self) -> bool {
        self.kind == SkuKind::Kit
    }

    /// Returns the index of this shard's oldest cell.
    #[inline]
    pub(crate) fn first_cell(&self) -> Option<u32> {
        self.first_cell.checked_sub(1)
    }

    /// Returns the indexes of this shard's cells, oldest first.
    #[inline]
    pub(crate) fn cells(&self) -> impl Iterator<Item = u32> {
        self.first_cell().into_iter().chain(self.more_cells.iter().copied())
    }

    /// Adds a cell behind the others.
    pub(crate) fn add_cell(&mut self, index: u32) {
        if self.first_cell == 0 {
            self.first_cell = index + 1;
        } else {
            self.more_cells.push(index);
        }
    }
}

/// An empty place for a SKU.
impl Default for Sku {
    fn default() -> Self {
        Self {
            id: SkuId::new(0),
            code: "".into(),
            kind: SkuKind::Goods,
            placement: Placement::BySku,
            currency: Currency::EUR,
            price: 0,
            limit: 0,
            version: 0,
            key: Key::new(0),
            components: Box::default(),
            first_cell: 0,
            more_cells: Vec::new(),
            level: Level::default(),
            sampled_ms: 0,
            touched_step: 0,
        }
    }
}

/// All SKUs, by index and by id.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) skus: Slab<Sku>,
    by_id: FoldMap<u64, u32>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self { skus: Slab::new(), by_id: fold_map() }
    }

    /// Returns the number of SKUs.
    pub(crate) fn count(&self) -> usize {
        self.skus.high() as usize
    }

    /// Returns the SKUs in the order of their definition.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sku> {
        (0..self.skus.high()).map(|index| self.skus.get(index))
    }

    #[inline]
    pub(crate) fn index_of(&self, id: SkuId) -> Option<u32> {
        self.by_id.get(&id.bits()).copied()
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> &Sku {
        self.skus.get(index)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Sku {
        self.skus.get_mut(index)
    }

    /// Returns a SKU of which only what is derived, or no checkpoint holds, is changed: its cells,
    /// their sum, marks of a section.
    #[inline]
    pub(crate) fn get_derived(&mut self, index: u32) -> &mut Sku {
        self.skus.get_derived(index)
    }

    pub(crate) fn push(&mut self, sku: Sku) {
        let id = sku.id.bits();
        let index = self.skus.insert(sku).expect("room for a SKU");
        self.by_id.insert(id, index);
    }

    /// Enters the ids of the SKUs that a checkpoint has brought back.
    pub(crate) fn index_loaded(&mut self) {
        for index in 0..self.skus.high() {
            self.by_id.insert(self.skus.get(index).id.bits(), index);
        }
    }
}
