//! A hash table that grows a segment at a time, so that no insertion stalls a batch.
//!
//! Extendible hashing: a directory of the top bits of a 32-bit tag points to segments; a segment
//! grows in steps and then splits. Each step moves at most one segment's entries, some tens of
//! microseconds. Source: Fagin et al., "Extendible hashing", ACM TODS 4(3), 1979.

/// Slots of a segment as it grows; after the last it splits into two of the first.
const SIZES: [u32; 4] = [2_560, 3_072, 3_584, 4_096];
/// A segment grows when more than this share of its slots is used: 26/32. Above it the probes of
/// a search that finds nothing, which every new key is, grow quickly.
const FULL_PER_32: u32 = 26;
/// Most directory bits; with them a table holds some 240 million entries.
const DEPTH_MAX: u32 = 16;

/// An entry: small, copied around, with one value that means "empty slot".
pub(crate) trait Entry: Copy {
    /// The value of an empty slot.
    const EMPTY: Self;
    /// Returns whether the slot is empty.
    fn is_empty(&self) -> bool;
    /// Returns the 32-bit tag that places the entry.
    fn tag(&self, seed: u64) -> u32;
}

#[derive(Debug)]
struct Segment<E> {
    slots: Box<[E]>,
    used: u32,
    depth: u32,
    /// Number of the checkpoint cut for which this segment was copied, or in which it was made.
    copied: u32,
}

/// Hash table of small entries, found by tag and an equality test of the caller's.
#[derive(Debug)]
pub(crate) struct Table<E> {
    seed: u64,
    depth: u32,
    directory: Vec<u32>,
    segments: Vec<Segment<E>>,
    len: usize,
    cut: u32,
}

/// The table can't grow any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

#[inline]
fn home(tag: u32, size: usize) -> usize {
    ((tag & 0xFFFF) as usize * size) >> 16
}

impl<E: Entry> Table<E> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            depth: 0,
            directory: vec![0],
            segments: vec![Segment::new(0, 0)],
            len: 0,
            cut: 0,
        }
    }

    /// Makes a table with room for some entries before it has to split often.
    pub(crate) fn with_capacity(seed: u64, entries: usize) -> Self {
        let mut table = Self::new(seed);
        let per_segment = SIZES[0] as usize * 3 / 4;
        let mut depth = 0;
        while depth < DEPTH_MAX && (per_segment << depth) < entries {
            depth += 1;
        }
        table.depth = depth;
        table.directory = (0..1_u32 << depth).collect();
        table.segments = (0..1_u32 << depth).map(|_| Segment::new(depth, 0)).collect();
        table
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the bytes that the table holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots: usize = self.segments.iter().map(|s| s.slots.len()).sum();
        slots * size_of::<E>()
            + self.segments.capacity() * size_of::<Segment<E>>()
            + self.directory.capacity() * 4
    }

    #[inline]
    fn segment_of(&self, tag: u32) -> usize {
        let at = if self.depth == 0 { 0 } else { (tag >> (32 - self.depth)) as usize };
        self.directory[at] as usize
    }

    /// Reads the first slot of a tag, so that a batch brings its cache lines in together.
    #[inline]
    pub(crate) fn touch(&self, tag: u32) -> E {
        let segment = &self.segments[self.segment_of(tag)];
        segment.slots[home(tag, segment.slots.len())]
    }

    /// Returns the entry with this tag that the test accepts.
    #[inline]
    pub(crate) fn find(&self, tag: u32, mut same: impl FnMut(&E) -> bool) -> Option<E> {
        let segment = &self.segments[self.segment_of(tag)];
        let slots = &segment.slots;
        let mut at = home(tag, slots.len());
        loop {
            let entry = &slots[at];
            if entry.is_empty() {
                return None;
            }
            if same(entry) {
                return Some(*entry);
            }
            at += 1;
            if at == slots.len() {
                at = 0;
            }
        }
    }

    /// Returns the entry with this tag that the test accepts, to be changed in place; the change
    /// must not move its tag. The segment's index is passed to `before` first.
    #[inline]
    pub(crate) fn find_mut(
        &mut self,
        tag: u32,
        mut same: impl FnMut(&E) -> bool,
    ) -> Option<&mut E> {
        let segment = self.segment_of(tag);
        let slots = &mut self.segments[segment].slots;
        let len = slots.len();
        let mut at = home(tag, len);
        loop {
            if slots[at].is_empty() {
                return None;
            }
            if same(&slots[at]) {
                return Some(&mut slots[at]);
            }
            at += 1;
            if at == len {
                at = 0;
            }
        }
    }

    /// Adds an entry that is not there yet.
    ///
    /// # Errors
    ///
    /// Returns [`TableFull`] if the directory has reached its limit.
    #[inline]
    pub(crate) fn insert(&mut self, entry: E) -> Result<(), TableFull> {
        let tag = entry.tag(self.seed);
        loop {
            let index = self.segment_of(tag);
            let segment = &mut self.segments[index];
            let size = segment.slots.len() as u32;
            if segment.used * 32 < size * FULL_PER_32 {
                segment.put(tag, entry);
                self.len += 1;
                return Ok(());
            }
            self.make_room(index)?;
        }
    }

    /// Removes the entry with this tag that the test accepts.
    pub(crate) fn remove(&mut self, tag: u32, mut same: impl FnMut(&E) -> bool) -> Option<E> {
        let seed = self.seed;
        let index = self.segment_of(tag);
        let segment = &mut self.segments[index];
        let len = segment.slots.len();
        let mut at = home(tag, len);
        loop {
            if segment.slots[at].is_empty() {
                return None;
            }
            if same(&segment.slots[at]) {
                break;
            }
            at = (at + 1) % len;
        }
        let removed = segment.slots[at];
        // Backward shift: close the gap with entries that are not at home.
        let mut gap = at;
        let mut next = (at + 1) % len;
        while !segment.slots[next].is_empty() {
            let wanted = home(segment.slots[next].tag(seed), len);
            let displaced = (next + len - wanted) % len;
            let distance = (next + len - gap) % len;
            if displaced >= distance {
                segment.slots[gap] = segment.slots[next];
                gap = next;
            }
            next = (next + 1) % len;
        }
        segment.slots[gap] = E::EMPTY;
        segment.used -= 1;
        self.len -= 1;
        Some(removed)
    }

    fn make_room(&mut self, index: usize) -> Result<(), TableFull> {
        let seed = self.seed;
        let size = self.segments[index].slots.len() as u32;
        if let Some(next) = SIZES.iter().find(|s| **s > size) {
            let segment = &mut self.segments[index];
            let old = std::mem::replace(&mut segment.slots, empty_slots(*next));
            segment.used = 0;
            for entry in old.iter().filter(|e| !e.is_empty()) {
                segment.put(entry.tag(seed), *entry);
            }
            return Ok(());
        }
        self.split(index)
    }

    fn split(&mut self, index: usize) -> Result<(), TableFull> {
        let seed = self.seed;
        let depth = self.segments[index].depth;
        if depth == self.depth {
            if self.depth == DEPTH_MAX {
                return Err(TableFull);
            }
            self.directory = self.directory.iter().flat_map(|s| [*s, *s]).collect();
            self.depth += 1;
        }
        let copied = self.segments[index].copied;
        let old = std::mem::replace(&mut self.segments[index], Segment::new(depth + 1, copied));
        let upper = self.segments.len() as u32;
        self.segments.push(Segment::new(depth + 1, copied));
        for (at, slot) in self.directory.iter_mut().enumerate() {
            let bit = at >> (self.depth - depth - 1) & 1;
            if *slot as usize == index && bit == 1 {
                *slot = upper;
            }
        }
        for entry in old.slots.iter().filter(|e| !e.is_empty()) {
            let tag = entry.tag(seed);
            let target = if tag >> (31 - depth) & 1 == 1 { upper as usize } else { index };
            if self.segments[target].used * 32 >= SIZES[0] * FULL_PER_32 {
                // All tags fell to one side: give that side the next size.
                self.make_room(target)?;
            }
            self.segments[target].put(tag, *entry);
        }
        Ok(())
    }

    /// Returns the seed of the tags.
    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Starts a checkpoint cut: every segment counts as not copied.
    pub(crate) fn start_cut(&mut self) {
        self.cut += 1;
    }

    /// Returns whether the running cut has copied the segment of a tag.
    #[inline]
    pub(crate) fn is_copied(&self, tag: u32) -> bool {
        self.segments[self.segment_of(tag)].copied == self.cut
    }

    /// Returns how many segments there are.
    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Passes the entries of a segment on, if the running cut has not copied it yet; returns
    /// whether it did.
    pub(crate) fn copy_segment(&mut self, index: usize, copy: impl FnMut(&E)) -> bool {
        let segment = &mut self.segments[index];
        if segment.copied == self.cut {
            return false;
        }
        segment.copied = self.cut;
        segment.slots.iter().filter(|e| !e.is_empty()).for_each(copy);
        true
    }

    /// Passes every entry on, in no order that means anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&E)) {
        for segment in &self.segments {
            segment.slots.iter().filter(|e| !e.is_empty()).for_each(&mut visit);
        }
    }
}

fn empty_slots<E: Entry>(size: u32) -> Box<[E]> {
    vec![E::EMPTY; size as usize].into_boxed_slice()
}

impl<E: Entry> Segment<E> {
    fn new(depth: u32, copied: u32) -> Self {
        Self { slots: empty_slots(SIZES[0]), used: 0, depth, copied }
    }

    #[inline]
    fn put(&mut self, tag: u32, entry: E) {
        let len = self.slots.len();
        let mut at = home(tag, len);
        while !self.slots[at].is_empty() {
            at += 1;
            if at == len {
                at = 0;
            }
        }
        self.slots[at] = entry;
        self.used += 1;
    }
}

/// Entry of a [`KeyIndex`]: the tag in the upper half, a reference plus one in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry(u64);

impl IndexEntry {
    #[inline]
    pub(crate) const fn new(tag: u32, reference: u32) -> Self {
        Self((tag as u64) << 32 | (reference as u64 + 1))
    }

    #[inline]
    pub(crate) const fn reference(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }

    #[inline]
    pub(crate) const fn stored_tag(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Entry for IndexEntry {
    const EMPTY: Self = Self(0);

    #[inline]
    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    #[inline]
    fn tag(&self, _seed: u64) -> u32 {
        self.stored_tag()
    }
}

/// Index from keys to references of 32 bits; the keys themselves stand in the records.
pub(crate) type KeyIndex = Table<IndexEntry>;

/// Units that a customer has of a SKU with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitEntry {
    pub(crate) customer: u64,
    pub(crate) sku: u32,
    pub(crate) used: u32,
}

impl Entry for LimitEntry {
    const EMPTY: Self = Self { customer: 0, sku: 0, used: 0 };

    #[inline]
    fn is_empty(&self) -> bool {
        self.customer == 0
    }

    #[inline]
    fn tag(&self, seed: u64) -> u32 {
        crate::hash::tag(seed, self.customer, self.sku as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The table answers like an ordered map through growth, splits and removals.
    #[test]
    fn agrees_with_a_map() {
        let mut table: Table<LimitEntry> = Table::new(7);
        let mut model = BTreeMap::new();
        let mut random = 1_u64;
        for step in 0..200_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let customer = (random >> 40) % 60_000 + 1;
            let tag = crate::hash::tag(7, customer, 3);
            let same = |e: &LimitEntry| e.customer == customer && e.sku == 3;
            assert_eq!(table.find(tag, same).map(|e| e.used), model.get(&customer).copied());
            if model.contains_key(&customer) && random >> 63 == 1 {
                assert!(table.remove(tag, same).is_some());
                model.remove(&customer);
            } else if let std::collections::btree_map::Entry::Vacant(place) = model.entry(customer)
            {
                table.insert(LimitEntry { customer, sku: 3, used: step }).expect("room");
                place.insert(step);
            }
        }
        assert_eq!(table.len(), model.len());
        let mut seen = BTreeMap::new();
        table.for_each(|e| assert!(seen.insert(e.customer, e.used).is_none()));
        assert_eq!(seen, model);
        assert!(table.segment_count() > 8, "the table never split");
    }

    /// What a cut copies, with what was noted before changes, is each entry as it was when the cut
    /// began, whatever happens meanwhile.
    #[test]
    fn a_cut_sees_the_entries_of_its_moment() {
        let mut table: Table<LimitEntry> = Table::new(9);
        for customer in 1..=20_000 {
            table.insert(LimitEntry { customer, sku: 1, used: 1 }).expect("room");
        }
        table.start_cut();
        let (mut copied, mut before) = (Vec::new(), BTreeMap::new());
        for customer in 15_000..=40_000_u64 {
            let tag = crate::hash::tag(9, customer, 1);
            let same = |e: &LimitEntry| e.customer == customer;
            if !table.is_copied(tag) {
                let used = table.find(tag, same).map_or(0, |e| e.used);
                before.entry(customer).or_insert(used);
            }
            if customer % 100 == 0 {
                table.copy_segment(customer as usize / 100 % 13, |e| {
                    copied.push((e.customer, e.used));
                });
            }
            match table.find_mut(tag, same) {
                Some(entry) => entry.used = 2,
                None => table.insert(LimitEntry { customer, sku: 1, used: 2 }).expect("room"),
            }
        }
        for index in 0..table.segment_count() {
            table.copy_segment(index, |e| copied.push((e.customer, e.used)));
        }
        let mut seen = BTreeMap::new();
        for (customer, used) in copied {
            let then = before.get(&customer).copied().unwrap_or(used);
            if then > 0 {
                assert!(seen.insert(customer, then).is_none(), "{customer} came twice");
            }
        }
        assert_eq!(seen.len(), 20_000);
        assert!(seen.values().all(|used| *used == 1));
    }
}
