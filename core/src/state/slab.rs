//! Records in pages, found by a 32-bit slot number, with copy-on-write for checkpoints.

use std::mem;

/// Records of one page; a page of orders is 16 KiB.
pub(crate) const PAGE_RECORDS: usize = 256;

/// A page as it was when a checkpoint cut began.
#[derive(Debug)]
pub(crate) struct PageImage<T> {
    pub(crate) page: u32,
    pub(crate) records: Box<[T]>,
}

/// Pages of records; a freed slot is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Box<[T]>>,
    /// Slots that were ever used.
    high: u32,
    free: Vec<u32>,
    /// Cut for which each page was copied last.
    copied: Vec<u32>,
    cut: u32,
    /// Pages that belong to the running cut; later ones are younger than it.
    cut_pages: u32,
    cut_next: u32,
    images: Vec<PageImage<T>>,
}

impl<T: Clone + Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            high: 0,
            free: Vec::new(),
            copied: Vec::new(),
            cut: 0,
            cut_pages: 0,
            cut_next: 0,
            images: Vec::new(),
        }
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
        self.pages.len() * PAGE_RECORDS * size_of::<T>()
            + self.pages.capacity() * (size_of::<Box<[T]>>() + 4)
            + self.free.capacity() * 4
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &T {
        &self.pages[slot as usize / PAGE_RECORDS][slot as usize % PAGE_RECORDS]
    }

    /// Returns a record to be changed, after its page was copied for a running cut.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut T {
        let page = slot as usize / PAGE_RECORDS;
        if self.cut_next < self.cut_pages {
            self.copy_page(page as u32);
        }
        &mut self.pages[page][slot as usize % PAGE_RECORDS]
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
                self.pages.push(vec![T::default(); PAGE_RECORDS].into_boxed_slice());
                self.copied.push(self.cut);
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

    /// Puts a page of a checkpoint back; pages come in ascending order. `free` tells an empty
    /// record.
    pub(crate) fn load_page(&mut self, page: u32, records: Vec<T>, free: impl Fn(&T) -> bool) {
        while self.pages.len() <= page as usize {
            self.pages.push(vec![T::default(); PAGE_RECORDS].into_boxed_slice());
            self.copied.push(0);
        }
        let first = page * PAGE_RECORDS as u32;
        // Slots of pages that are missing, and those behind the last page's end, are free.
        while self.high < first {
            self.free.push(self.high);
            self.high += 1;
        }
        for (at, record) in records.into_iter().enumerate().take(PAGE_RECORDS) {
            let slot = first + at as u32;
            if free(&record) {
                self.free.push(slot);
            }
            self.pages[page as usize][at] = record;
            self.high = slot + 1;
        }
    }

    /// Starts a checkpoint cut over the pages of this moment.
    pub(crate) fn start_cut(&mut self) {
        self.cut += 1;
        self.cut_pages = self.pages.len() as u32;
        self.cut_next = 0;
    }

    /// Copies up to `count` pages of the running cut; returns whether all are copied.
    pub(crate) fn copy_some(&mut self, count: usize) -> bool {
        let mut left = count;
        while self.cut_next < self.cut_pages && left > 0 {
            if self.copy_page(self.cut_next) {
                left -= 1;
            }
            self.cut_next += 1;
        }
        self.cut_next == self.cut_pages
    }

    fn copy_page(&mut self, page: u32) -> bool {
        if page >= self.cut_pages || self.copied[page as usize] == self.cut {
            return false;
        }
        self.copied[page as usize] = self.cut;
        self.images.push(PageImage { page, records: self.pages[page as usize].clone() });
        true
    }

    /// Takes the page images copied since the last call.
    pub(crate) fn take_images(&mut self) -> Vec<PageImage<T>> {
        mem::take(&mut self.images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cut yields each page once, with the records of the moment at which it began.
    #[test]
    fn a_cut_sees_its_moment() {
        let mut slab: Slab<u64> = Slab::new();
        let slots: Vec<u32> = (1..=2_000).filter_map(|n| slab.insert(n)).collect();
        slab.start_cut();
        *slab.get_mut(slots[700]) = 9_999;
        slab.remove(slots[10]);
        slab.insert(5_555);
        while !slab.copy_some(1) {
            *slab.get_mut(slots[1_900]) += 1;
            slab.insert(1);
        }
        let mut images = slab.take_images();
        images.sort_by_key(|i| i.page);
        let seen: Vec<u64> = images.iter().flat_map(|i| i.records.iter().copied()).collect();
        assert_eq!(seen[..2_000], (1..=2_000).collect::<Vec<u64>>()[..]);

        let mut loaded: Slab<u64> = Slab::new();
        for image in images {
            loaded.load_page(image.page, image.records.into_vec(), |n| *n == 0);
        }
        assert_eq!(loaded.len(), 2_000);
        assert_eq!(*loaded.get(slots[700]), 701);
    }
}
