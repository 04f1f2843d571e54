//! Records in pages, found by a 32-bit slot number, that a checkpoint copies while they change.
//!
//! A cut is copied slot by slot, from the first to the last. A record that changes before its turn
//! is saved alone, once: so a change costs one record more, never a page.

use std::mem;

/// Records of one page; a page of orders is 16 KiB.
pub(crate) const PAGE_RECORDS: usize = 256;
/// Words of the bits that say which records of a page are saved.
const SAVED_WORDS: usize = PAGE_RECORDS / 64;

/// Which records of a page were saved for a cut.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    /// The cut for which the bits count.
    cut: u32,
    bits: [u64; SAVED_WORDS],
}

/// Pages of records; a freed slot is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Box<[T]>>,
    /// Pages made ahead: the first write to fresh memory costs a fault for each 4 KiB.
    ready: Vec<Box<[T]>>,
    /// Slots that were ever used.
    high: u32,
    free: FreeSlots,
    saved: Vec<Saved>,
    cut: u32,
    /// Slots that belong to the running cut, and how many of them are copied.
    cut_high: u32,
    cut_next: u32,
    /// Records of the running cut as they were before they changed.
    before: Vec<(u32, T)>,
}

impl<T: Clone + Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            ready: Vec::new(),
            high: 0,
            free: FreeSlots::default(),
            saved: Vec::new(),
            cut: 0,
            cut_high: 0,
            cut_next: 0,
            before: Vec::new(),
        }
    }

    /// Makes a slab whose first pages are there before they are needed.
    pub(crate) fn with_capacity(records: usize) -> Self {
        let mut slab = Self::new();
        let pages = records.div_ceil(PAGE_RECORDS);
        slab.ready.resize_with(pages, || vec![T::default(); PAGE_RECORDS].into_boxed_slice());
        slab.pages.reserve(pages);
        slab.saved.reserve(pages);
        slab
    }

    /// Returns how many slots are in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.high as usize - self.free.len()
    }

    /// Returns one more than the highest slot ever used.
    pub(crate) fn high(&self) -> u32 {
        self.high
    }

    /// Returns the bytes that the pages hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.pages.len() + self.ready.len()) * PAGE_RECORDS * size_of::<T>()
            + self.pages.capacity() * size_of::<Box<[T]>>()
            + self.saved.capacity() * size_of::<Saved>()
            + self.free.memory_bytes()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &T {
        &self.pages[slot as usize / PAGE_RECORDS][slot as usize % PAGE_RECORDS]
    }

    /// Returns a record to be changed, after it was saved for a running cut.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut T {
        if self.cut_next <= slot && slot < self.cut_high {
            self.save(slot);
        }
        self.get_derived(slot)
    }

    /// Returns a record of which only what a checkpoint does not hold is changed.
    #[inline]
    pub(crate) fn get_derived(&mut self, slot: u32) -> &mut T {
        &mut self.pages[slot as usize / PAGE_RECORDS][slot as usize % PAGE_RECORDS]
    }

    /// Stores a record and returns its slot; `None` if every slot number is in use.
    #[inline]
    pub(crate) fn insert(&mut self, record: T) -> Option<u32> {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            if self.high == u32::MAX >> 1 {
                return None;
            }
            if self.high as usize == self.pages.len() * PAGE_RECORDS {
                let ready = self.ready.pop();
                self.add_page(ready.map_or_else(|| vec![T::default(); PAGE_RECORDS], Vec::from));
            }
            self.high += 1;
            self.high - 1
        };
        *self.get_mut(slot) = record;
        Some(slot)
    }

    /// Empties a slot and returns what was in it.
    pub(crate) fn remove(&mut self, slot: u32) -> T {
        self.free.push(slot);
        mem::take(self.get_mut(slot))
    }

    fn add_page(&mut self, records: Vec<T>) {
        assert_eq!(records.len(), PAGE_RECORDS);
        self.pages.push(records.into_boxed_slice());
        self.saved.push(Saved::default());
    }

    /// Puts a page of a checkpoint back; pages come in ascending order. `free` tells an empty
    /// record.
    pub(crate) fn load_page(&mut self, page: u32, mut records: Vec<T>, free: impl Fn(&T) -> bool) {
        let first = page * PAGE_RECORDS as u32;
        assert!(self.pages.len() <= page as usize, "pages come in order");
        assert!(records.len() <= PAGE_RECORDS);
        while self.pages.len() < page as usize {
            self.add_page(vec![T::default(); PAGE_RECORDS]);
        }
        // Slots of pages that are missing, and those behind the last page's end, are free.
        while self.high < first {
            self.free.push(self.high);
            self.high += 1;
        }
        for record in &records {
            if free(record) {
                self.free.push(self.high);
            }
            self.high += 1;
        }
        records.resize(PAGE_RECORDS, T::default());
        self.add_page(records);
        // It has come instead of one that was made ahead.
        self.ready.pop();
    }

    /// Starts a checkpoint cut over the records of this moment.
    pub(crate) fn start_cut(&mut self) {
        self.cut += 1;
        self.cut_high = self.high;
        self.cut_next = 0;
        // What was saved for a cut that failed is of no use.
        self.before.clear();
    }

    /// Passes the next records of the running cut on, at most `count` and none beyond the end of
    /// their page: the first one's slot, and the records as they are now.
    ///
    /// Those that have changed since the cut are among them; what they were then is in
    /// [`take_before`](Self::take_before). Returns `None` if all are copied.
    pub(crate) fn copy_next(&mut self, count: usize) -> Option<(u32, &[T])> {
        if self.cut_next == self.cut_high {
            return None;
        }
        let first = self.cut_next;
        let (page, at) = (first as usize / PAGE_RECORDS, first as usize % PAGE_RECORDS);
        let left = (self.cut_high - first) as usize;
        let count = count.min(PAGE_RECORDS - at).min(left);
        self.cut_next += count as u32;
        Some((first, &self.pages[page][at..at + count]))
    }

    /// Returns whether all of the running cut is copied.
    pub(crate) fn is_copied(&self) -> bool {
        self.cut_next == self.cut_high
    }

    /// Returns which of the records that are copied next were saved, a bit each; `count` divides
    /// the records of a page, and all that was copied so far was copied in such steps.
    pub(crate) fn saved_next(&self, count: usize) -> u64 {
        if self.is_copied() {
            return 0;
        }
        assert!(count <= 64 && (self.cut_next as usize).is_multiple_of(count));
        self.saved_from(self.cut_next)
    }

    /// Returns which records were saved for the running cut, from a slot on, a bit each.
    fn saved_from(&self, slot: u32) -> u64 {
        let (page, at) = (slot as usize / PAGE_RECORDS, slot as usize % PAGE_RECORDS);
        let saved = &self.saved[page];
        if saved.cut == self.cut { saved.bits[at / 64] >> (at % 64) } else { 0 }
    }

    #[cold]
    fn save(&mut self, slot: u32) {
        if self.saved_from(slot) & 1 == 1 {
            return;
        }
        let (page, at) = (slot as usize / PAGE_RECORDS, slot as usize % PAGE_RECORDS);
        let saved = &mut self.saved[page];
        if saved.cut != self.cut {
            *saved = Saved { cut: self.cut, ..Saved::default() };
        }
        saved.bits[at / 64] |= 1 << (at % 64);
        self.before.push((slot, self.pages[page][at].clone()));
    }

    /// Ends a cut that nobody wants any more.
    pub(crate) fn give_up_cut(&mut self) {
        self.cut_next = self.cut_high;
        self.before = Vec::new();
    }

    /// Returns how many saved records wait to be taken.
    pub(crate) fn before_len(&self) -> usize {
        self.before.len()
    }

    /// Takes the records that were saved since the last call, each with its slot.
    pub(crate) fn take_before(&mut self) -> Vec<(u32, T)> {
        mem::take(&mut self.before)
    }
}

/// Slots of one chunk of the list of free ones.
const FREE_CHUNK: usize = 4_096;

/// Free slots, last in, first out; growing never moves more than one chunk's place.
#[derive(Debug, Default)]
struct FreeSlots {
    full: Vec<Vec<u32>>,
    top: Vec<u32>,
}

impl FreeSlots {
    #[cfg(test)]
    fn len(&self) -> usize {
        self.full.len() * FREE_CHUNK + self.top.len()
    }

    fn memory_bytes(&self) -> usize {
        (self.full.len() * FREE_CHUNK + self.top.capacity()) * 4
    }

    #[inline]
    fn pop(&mut self) -> Option<u32> {
        if self.top.is_empty() {
            self.top = self.full.pop()?;
        }
        self.top.pop()
    }

    fn push(&mut self, slot: u32) {
        if self.top.len() == FREE_CHUNK {
            let full = mem::replace(&mut self.top, Vec::with_capacity(FREE_CHUNK));
            self.full.push(full);
        }
        self.top.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cut yields each record once as it was at the moment at which it began, whatever happens
    /// meanwhile.
    #[test]
    fn a_cut_sees_its_moment() {
        let mut slab: Slab<u64> = Slab::new();
        let slots: Vec<u32> = (1..=2_000).filter_map(|n| slab.insert(n)).collect();
        for cut in 0..2 {
            let wanted: Vec<u64> = (0..slab.high()).map(|slot| *slab.get(slot)).collect();
            slab.start_cut();
            *slab.get_mut(slots[700]) = 9_999;
            *slab.get_mut(slots[700]) += 1;
            slab.remove(slots[10 + cut]);
            slab.insert(5_555);
            let mut seen = vec![0; wanted.len()];
            while let Some((first, records)) = slab.copy_next(100) {
                let first = first as usize;
                seen[first..first + records.len()].copy_from_slice(records);
                *slab.get_mut(slots[1_900]) += 1;
                slab.insert(1);
            }
            let before = slab.take_before();
            assert!(before.len() < 10, "each record is saved once");
            before.into_iter().for_each(|(slot, record)| seen[slot as usize] = record);
            assert_eq!(seen, wanted);
        }
    }

    /// Pages of a checkpoint give the same records; what is missing between them is free.
    #[test]
    fn loaded_pages_give_the_records_back() {
        let mut slab: Slab<u64> = Slab::new();
        slab.load_page(0, (1..=256).collect(), |n| *n == 0);
        slab.load_page(2, vec![7, 0, 9], |n| *n == 0);
        assert_eq!((slab.high(), slab.len()), (515, 258));
        assert_eq!((*slab.get(255), *slab.get(300), *slab.get(514)), (256, 0, 9));
        let inserted: Vec<u32> = (0..258).filter_map(|_| slab.insert(5)).collect();
        assert_eq!((inserted[0], inserted[1], inserted[257]), (513, 511, 515));
    }

    /// Free slots come back last in, first out, over chunks.
    #[test]
    fn free_slots_are_used_again() {
        let mut free = FreeSlots::default();
        let count = FREE_CHUNK as u32 * 2 + 5;
        (0..count).for_each(|slot| free.push(slot));
        assert_eq!(free.len(), count as usize);
        assert!((0..count).rev().all(|slot| free.pop() == Some(slot)));
        assert_eq!(free.pop(), None);
    }
}
