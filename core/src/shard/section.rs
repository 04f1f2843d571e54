//! The records that one batch of one shard produces, before they have their place in the journal.

use crate::decided::PolicyNo;
use crate::hash::{FoldMap, fold_map};

/// Positions from here on are provisional: this plus the number of the record in its section.
///
/// Several shards write one journal, so a record's seq is known only when its section is handed
/// over. Until then state, replies and bytes carry the provisional seq; `State::settle_seqs`
/// replaces it. An engine of one shard knows its seqs at once.
pub(crate) const PROVISIONAL: u64 = 1 << 47;

/// Records of one batch, ready to be copied into a group.
#[derive(Debug)]
pub(crate) struct Section {
    /// The records.
    pub(crate) bytes: Vec<u8>,
    /// Number of records.
    pub(crate) count: u32,
    base: u64,
    /// Offsets in `bytes` of 8-byte seqs that are provisional.
    pub(crate) byte_patches: Vec<u32>,
    /// Orders made here, by slot.
    pub(crate) created: Vec<u32>,
    /// Last record in this section of each order that was touched; only while provisional.
    pub(crate) touched: FoldMap<u32, u64>,
    /// Answers recorded here, by slot.
    pub(crate) answered: Vec<u32>,
    /// SKUs whose stock changed here, each once.
    pub(crate) skus: Vec<u32>,
    /// Number of this section, by which a SKU knows that it stands in the list.
    pub(crate) step: u64,
    /// SKUs that were defined or changed here.
    pub(crate) defined: Vec<u32>,
    /// Cells that were made here.
    pub(crate) cells: Vec<u32>,
    /// Policies that something happened to here.
    pub(crate) policies: Vec<PolicyNo>,
}

impl Section {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            count: 0,
            base: PROVISIONAL,
            byte_patches: Vec::new(),
            created: Vec::new(),
            touched: fold_map(),
            answered: Vec::new(),
            skus: Vec::new(),
            step: 0,
            defined: Vec::new(),
            cells: Vec::new(),
            policies: Vec::new(),
        }
    }

    /// Empties the section; `base` is the seq of its first record, or [`PROVISIONAL`].
    pub(crate) fn restart(&mut self, base: u64) {
        self.bytes.clear();
        self.count = 0;
        self.base = base;
        self.byte_patches.clear();
        self.created.clear();
        self.touched.clear();
        self.answered.clear();
        self.skus.clear();
        self.step += 1;
        self.defined.clear();
        self.cells.clear();
        self.policies.clear();
    }

    /// Returns the seq of the record that is being written.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.base + u64::from(self.count)
    }

    /// Returns the seq that the section starts with.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.base < PROVISIONAL
    }
}

/// Turns a provisional seq into the real one, given the seq of the section's first record.
#[inline]
pub(crate) fn resolve(seq: u64, base: u64) -> u64 {
    if seq >= PROVISIONAL { base + (seq - PROVISIONAL) } else { seq }
}
