//! A hash table that grows a segment at a time, so that no insertion stalls a batch.
//!
//! Extendible hashing: a directory of the top bits of a 32-bit tag points to segments; a segment
//! grows in steps and then splits. Each step moves at most one segment's entries, some tens of
//! microseconds. Source: Fagin et al., "Extendible hashing", ACM TODS 4(3), 1979.
//!
//! Within a segment, entries stand in groups of seven behind a word with a control byte for each,
//! so that a group is searched by a handful of instructions without a branch an entry. A group of
//! small entries is one cache line: what a search costs is the wait for it, and `touch` lets a
//! batch wait for all of its lines at once. The eighth byte counts the entries that found their
//! group full and went on to the next ones, so that a search knows when to stop, and nothing is
//! left behind where an entry is removed. Source: Bronson and Shi, "Open-sourcing F14 for faster,
//! more memory-efficient hash tables", 2019.

/// Entries of a group.
const GROUP: usize = 7;
/// Groups of a segment as it grows; after the last it splits into two of the first.
///
/// Four steps keep at least 72 % of a table's slots in use.
const SIZES: [u32; 4] = [296, 352, 424, 512];
/// A segment grows when 49 eighths of the seven slots of each group are used on average.
const FULL_PER_8_GROUPS: u32 = 49;
/// Most directory bits; with them a table holds some 135 million entries.
const DEPTH_MAX: u32 = 16;

/// Bit of the control byte of a used slot; the other seven are the lowest bits of its tag.
const USED: u8 = 0x80;
const USED_BITS: u64 = every(USED);
/// Where a group's word holds how many entries passed it.
const PASSED_SHIFT: u32 = 56;

/// Returns a word with a byte for each slot.
const fn every(byte: u8) -> u64 {
    byte as u64 * 0x01_0101_0101_0101
}

/// An entry: small and copied around.
pub(crate) trait Entry: Copy + Default {
    /// Returns the 32-bit tag that places the entry.
    fn tag(&self, seed: u64) -> u32;
    /// Returns any of its bits: reading them brings its cache line in.
    fn any_bits(&self) -> u32;
}

/// Entries that are searched together.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
struct Group<E> {
    /// A byte for each slot; the highest counts entries that passed this group because it was
    /// full. At its end it sticks, which costs searches but loses nothing.
    control: u64,
    slots: [E; GROUP],
}

#[derive(Debug)]
struct Segment<E> {
    groups: Box<[Group<E>]>,
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
    cut: u32,
    /// Most directory bits; less than [`DEPTH_MAX`] in tests alone.
    depth_max: u32,
    /// Whether a segment that can't split any more has begun its last size.
    crowded: bool,
}

/// The table can't grow any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

/// Returns where a tag lies among the segments, as a part of 2^32.
///
/// Not evenly: the first places get twice as many tags as the last, and so segments fill up one
/// after the other. With an even spread all of a table's segments would grow at nearly the same
/// time, and a batch that meets that takes several times as long. For u in 0..1 this is
/// u (2 + u) / 3. Source: Mullin, "Spiral storage", The Computer Journal 28(3), 1985.
#[inline]
const fn place(tag: u32) -> u32 {
    let tag = tag as u64;
    let slope = 2_863_311_530 + (tag.wrapping_mul(1_431_655_765) >> 32);
    (tag.wrapping_mul(slope) >> 32) as u32
}

/// Returns how many of some entries fall to one of 2^depth segments.
fn share(entries: u64, index: u64, depth: u32) -> u64 {
    // The inverse of `place`, sqrt(1 + 3 p) - 1, in parts of 2^30.
    let below = |index: u64| ((1 << 60) + 3 * (index << (60 - depth))).isqrt();
    ((u128::from(entries) * u128::from(below(index + 1) - below(index))) >> 30) as u64
}

/// Returns the group that a tag's search starts with.
#[inline]
fn home(tag: u32, groups: usize) -> usize {
    ((tag & 0xFFFF) as usize * groups) >> 16
}

/// Returns a mark in the top bit of each byte that may equal `byte`: every one that does, and
/// perhaps one above such a byte.
#[inline]
const fn matches(control: u64, byte: u8) -> u64 {
    let zero = control ^ every(byte);
    zero.wrapping_sub(every(1)) & !zero & USED_BITS
}

/// Returns the slot of the lowest mark.
#[inline]
const fn first(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// Returns the control byte of a used slot with this tag.
#[inline]
const fn used_byte(tag: u32) -> u8 {
    USED | tag as u8 & !USED
}

impl<E: Entry> Table<E> {
    /// Makes a table with room for some entries before it has to grow.
    pub(crate) fn with_capacity(seed: u64, entries: usize) -> Self {
        // Tags do not spread evenly: a sixteenth more keeps nearly all segments as they are.
        let entries = entries as u64 + entries as u64 / 16;
        let biggest = SIZES[SIZES.len() - 1];
        let fits = |index, depth| share(entries, index, depth) <= u64::from(capacity(biggest));
        // The first segment gets most: no other is deeper.
        let mut depth = 0;
        while depth < DEPTH_MAX && !fits(0, depth) {
            depth += 1;
        }
        let mut table = Self {
            seed,
            depth,
            directory: Vec::new(),
            segments: Vec::new(),
            cut: 0,
            depth_max: DEPTH_MAX,
            crowded: false,
        };
        let mut at = 0;
        while at < 1 << depth {
            let starts = |d: &u32| at & ((1 << (depth - d)) - 1) == 0;
            let shallow = (0..depth).filter(starts).find(|d| fits(at >> (depth - d), *d));
            let own = shallow.unwrap_or(depth);
            let share = share(entries, at >> (depth - own), own);
            // A segment that can't split keeps its last step, which tells that the end is near.
            let sizes = if own == DEPTH_MAX { &SIZES[..SIZES.len() - 1] } else { &SIZES[..] };
            let size = sizes.iter().find(|size| share <= u64::from(capacity(**size)));
            let segment = table.segments.len() as u32;
            table.segments.push(Segment::new(*size.unwrap_or(&sizes[sizes.len() - 1]), own, 0));
            at += 1 << (depth - own);
            table.directory.resize(at as usize, segment);
        }
        table
    }

    /// Returns whether a command may add entries: some hundreds have room wherever they fall.
    ///
    /// Once it says no it stays so until the table is made anew, at the next opening.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.crowded
    }

    /// Makes the table say that it has no room.
    #[cfg(test)]
    pub(crate) fn crowd(&mut self) {
        self.crowded = true;
    }

    /// Returns how many entries the table has room for as it is, if they spread as expected.
    pub(crate) fn room(&self) -> usize {
        self.segments.iter().map(|s| capacity(s.groups.len() as u32) as usize).sum()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|s| s.used as usize).sum()
    }

    /// Returns the bytes that the table holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let groups: usize = self.segments.iter().map(|s| s.groups.len()).sum();
        groups * size_of::<Group<E>>()
            + self.segments.capacity() * size_of::<Segment<E>>()
            + self.directory.capacity() * 4
    }

    #[inline]
    fn segment_of(&self, tag: u32) -> usize {
        let at = if self.depth == 0 { 0 } else { (place(tag) >> (32 - self.depth)) as usize };
        self.directory[at] as usize
    }

    /// Reads the groups that searches for some tags start with: the cache lines of a batch come in
    /// together.
    #[inline]
    pub(crate) fn touch(&self, tags: &[u32]) -> u32 {
        tags.iter().fold(0, |sum, tag| {
            let groups = &self.segments[self.segment_of(*tag)].groups;
            sum ^ groups[home(*tag, groups.len())].any_bits()
        })
    }

    /// Reads the groups that searches go on with, where the first is full and was touched.
    #[inline]
    pub(crate) fn touch_next(&self, tags: &[u32]) -> u32 {
        tags.iter().fold(0, |sum, tag| {
            let groups = &self.segments[self.segment_of(*tag)].groups;
            let home = home(*tag, groups.len());
            // No branch: the group itself where it has room.
            let next = home + usize::from(groups[home].is_full());
            sum ^ groups.get(next).map_or(0, Group::any_bits)
        })
    }

    /// Returns the entry with this tag that the test accepts.
    #[inline]
    pub(crate) fn find(&self, tag: u32, same: impl FnMut(&E) -> bool) -> Option<E> {
        let segment = &self.segments[self.segment_of(tag)];
        segment.find(tag, same).map(|(group, slot)| segment.groups[group].slots[slot])
    }

    /// Returns the entry with this tag that the test accepts, to be changed in place; the change
    /// must not move its tag.
    #[inline]
    pub(crate) fn find_mut(&mut self, tag: u32, same: impl FnMut(&E) -> bool) -> Option<&mut E> {
        let index = self.segment_of(tag);
        let segment = &mut self.segments[index];
        segment.find(tag, same).map(|(group, slot)| &mut segment.groups[group].slots[slot])
    }

    /// Adds an entry that is not there yet.
    ///
    /// # Errors
    ///
    /// Returns [`TableFull`] if the directory has reached its limit.
    #[inline]
    pub(crate) fn insert(&mut self, tag: u32, entry: E) -> Result<(), TableFull> {
        loop {
            let index = self.segment_of(tag);
            let segment = &mut self.segments[index];
            if segment.used < capacity(segment.groups.len() as u32) {
                segment.put(tag, entry);
                return Ok(());
            }
            self.make_room(index)?;
        }
    }

    /// Removes the entry with this tag that the test accepts.
    pub(crate) fn remove(&mut self, tag: u32, same: impl FnMut(&E) -> bool) -> Option<E> {
        let index = self.segment_of(tag);
        let segment = &mut self.segments[index];
        let (group, slot) = segment.find(tag, same)?;
        segment.groups[group].clear(slot);
        segment.used -= 1;
        let mut passed = home(tag, segment.groups.len());
        while passed != group {
            segment.groups[passed].count_passed(false);
            passed = segment.next(passed);
        }
        Some(segment.groups[group].slots[slot])
    }

    #[cold]
    fn make_room(&mut self, index: usize) -> Result<(), TableFull> {
        let Segment { depth, copied, .. } = self.segments[index];
        let groups = self.segments[index].groups.len() as u32;
        let Some(size) = SIZES.iter().find(|s| **s > groups) else { return self.split(index) };
        self.crowded |= depth == self.depth_max && *size == SIZES[SIZES.len() - 1];
        let new = Segment::new(*size, depth, copied);
        let old = std::mem::replace(&mut self.segments[index], new);
        let (seed, segment) = (self.seed, &mut self.segments[index]);
        old.for_each(|entry| segment.put(entry.tag(seed), *entry));
        Ok(())
    }

    fn split(&mut self, index: usize) -> Result<(), TableFull> {
        let Segment { depth, copied, .. } = self.segments[index];
        if depth == self.depth {
            if self.depth == self.depth_max {
                return Err(TableFull);
            }
            self.directory = self.directory.iter().flat_map(|s| [*s, *s]).collect();
            self.depth += 1;
        }
        let new = || Segment::new(SIZES[0], depth + 1, copied);
        let old = std::mem::replace(&mut self.segments[index], new());
        let upper = self.segments.len() as u32;
        self.segments.push(new());
        // The places of a segment stand together in the directory; the upper half gets the new one.
        let half = 1 << (self.depth - depth - 1);
        let at = (place(old.any_tag(self.seed)) >> (32 - self.depth)) as usize;
        let middle = (at & !(2 * half - 1)) + half;
        self.directory[middle..middle + half].fill(upper);
        let mut full = Ok(());
        old.for_each(|entry| {
            // Where all tags fall to one side, `insert` gives that side the next size.
            full = full.and(self.insert(entry.tag(self.seed), *entry));
        });
        full
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
        segment.for_each(copy);
        true
    }

    /// Passes every entry on, in no order that means anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&E)) {
        self.segments.iter().for_each(|segment| segment.for_each(&mut visit));
    }
}

/// Returns the entries from which on a segment of so many groups has no room.
#[inline]
const fn capacity(groups: u32) -> u32 {
    groups * FULL_PER_8_GROUPS / 8
}

impl<E: Entry> Group<E> {
    #[inline]
    fn is_full(&self) -> bool {
        self.control & USED_BITS == USED_BITS
    }

    /// Returns whether a search for an entry of this group has to go on to the next one.
    #[inline]
    fn was_passed(&self) -> bool {
        self.control >> PASSED_SHIFT != 0
    }

    /// Counts an entry that goes past this group, or one that did and is removed.
    #[inline]
    fn count_passed(&mut self, goes: bool) {
        let passed = self.control >> PASSED_SHIFT;
        if passed < 0xFF {
            let one = 1 << PASSED_SHIFT;
            self.control = if goes { self.control + one } else { self.control - one };
        }
    }

    /// Stores an entry in the first free slot.
    #[inline]
    fn put(&mut self, tag: u32, entry: E) {
        let slot = first(!self.control & USED_BITS);
        self.control |= u64::from(used_byte(tag)) << (slot * 8);
        self.slots[slot] = entry;
    }

    fn clear(&mut self, slot: usize) {
        self.control &= !(0xFF << (slot * 8));
    }

    #[inline]
    fn any_bits(&self) -> u32 {
        self.control as u32 ^ self.slots[GROUP - 1].any_bits()
    }
}

impl<E: Entry> Segment<E> {
    fn new(groups: u32, depth: u32, copied: u32) -> Self {
        let groups = vec![Group::default(); groups as usize].into_boxed_slice();
        Self { groups, used: 0, depth, copied }
    }

    /// Returns group and slot of the entry with this tag that the test accepts.
    #[inline]
    fn find(&self, tag: u32, mut same: impl FnMut(&E) -> bool) -> Option<(usize, usize)> {
        let byte = used_byte(tag);
        let mut at = home(tag, self.groups.len());
        for _ in 0..self.groups.len() {
            let group = &self.groups[at];
            let mut marks = matches(group.control, byte);
            while marks != 0 {
                let slot = first(marks);
                if same(&group.slots[slot]) {
                    return Some((at, slot));
                }
                marks &= marks - 1;
            }
            if !group.was_passed() {
                break;
            }
            at = self.next(at);
        }
        None
    }

    /// Returns the tag of any entry; of a segment that is full, and so has one.
    fn any_tag(&self, seed: u64) -> u32 {
        let group = self.groups.iter().find(|group| group.control & USED_BITS != 0);
        group.map_or(0, |group| group.slots[first(group.control & USED_BITS)].tag(seed))
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.groups.len() { 0 } else { at + 1 }
    }

    #[inline]
    fn put(&mut self, tag: u32, entry: E) {
        let mut at = home(tag, self.groups.len());
        while self.groups[at].is_full() {
            self.groups[at].count_passed(true);
            at = self.next(at);
        }
        self.groups[at].put(tag, entry);
        self.used += 1;
    }

    #[inline]
    fn for_each(&self, mut visit: impl FnMut(&E)) {
        for group in &self.groups {
            let mut marks = group.control & USED_BITS;
            while marks != 0 {
                visit(&group.slots[first(marks)]);
                marks &= marks - 1;
            }
        }
    }
}

/// Entry of a [`KeyIndex`]: the tag in the upper half, a reference in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexEntry(u64);

impl IndexEntry {
    #[inline]
    pub(crate) const fn new(tag: u32, reference: u32) -> Self {
        Self((tag as u64) << 32 | reference as u64)
    }

    #[inline]
    pub(crate) const fn reference(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(crate) const fn stored_tag(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Entry for IndexEntry {
    #[inline]
    fn tag(&self, _seed: u64) -> u32 {
        self.stored_tag()
    }

    #[inline]
    fn any_bits(&self) -> u32 {
        self.reference()
    }
}

/// Index from keys to references of 32 bits; the keys themselves stand in the records.
pub(crate) type KeyIndex = Table<IndexEntry>;

/// Units that a customer has of a SKU with a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitEntry {
    pub(crate) customer: u64,
    pub(crate) sku: u32,
    pub(crate) used: u32,
}

impl Entry for LimitEntry {
    #[inline]
    fn tag(&self, seed: u64) -> u32 {
        crate::hash::tag(seed, self.customer, self.sku as u64)
    }

    #[inline]
    fn any_bits(&self) -> u32 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The table answers like an ordered map through growth, splits and removals.
    #[test]
    fn agrees_with_a_map() {
        let mut table: Table<LimitEntry> = Table::with_capacity(7, 0);
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
                table.insert(tag, LimitEntry { customer, sku: 3, used: step }).expect("room");
                place.insert(step);
            }
        }
        assert_eq!(table.len(), model.len());
        let mut seen = BTreeMap::new();
        table.for_each(|e| assert!(seen.insert(e.customer, e.used).is_none()));
        assert_eq!(seen, model);
        assert!(table.segment_count() > 8, "the table never split");
    }

    /// A table that is made for a number of entries grows almost nowhere as they come, and one that
    /// grows does so all the time, never everywhere at once.
    #[test]
    fn segments_grow_one_after_the_other() {
        const ENTRIES: u64 = 1 << 19;
        let mut made: Table<LimitEntry> = Table::with_capacity(5, ENTRIES as usize);
        let mut grown: Table<LimitEntry> = Table::with_capacity(5, 0);
        let (room, mut steps) = (made.room(), Vec::new());
        for customer in 1..=ENTRIES {
            let tag = crate::hash::tag(5, customer, 1);
            let entry = LimitEntry { customer, sku: 1, used: 1 };
            made.insert(tag, entry).expect("room");
            let before = grown.room();
            grown.insert(tag, entry).expect("room");
            if customer > ENTRIES / 2 && grown.room() != before {
                steps.push(customer);
            }
        }
        assert!(made.room() < room + room / 50, "{room} became {}", made.room());
        assert!(room < ENTRIES as usize * 3 / 2, "{room} for {ENTRIES}");
        assert!(steps.len() > 500, "{} steps", steps.len());
        let span = ENTRIES / 2 / 16;
        let most = steps.windows(64).filter(|w| w[63] - w[0] < span / 16).count();
        assert_eq!(most, 0, "64 segments grew within {} insertions", span / 16);
    }

    /// A table says that it has no more room while some hundreds of entries still have, wherever
    /// they fall.
    #[test]
    fn a_table_tells_its_end_in_time() {
        let mut table: Table<LimitEntry> = Table { depth_max: 2, ..Table::with_capacity(11, 0) };
        let mut customers = 1..;
        let mut insert = |table: &mut Table<LimitEntry>| {
            let customer = customers.next().expect("endless");
            let tag = crate::hash::tag(11, customer, 1);
            table.insert(tag, LimitEntry { customer, sku: 1, used: 1 })
        };
        while table.has_room() {
            insert(&mut table).expect("what has room takes an entry");
        }
        assert!(table.len() > 4_000, "{} entries", table.len());
        (0..500).for_each(|_| insert(&mut table).expect("the last ones have room"));
        assert!((0..20_000).any(|_| insert(&mut table).is_err()), "it has an end");
    }

    /// What a cut copies, with what was noted before changes, is each entry as it was when the cut
    /// began, whatever happens meanwhile.
    #[test]
    fn a_cut_sees_the_entries_of_its_moment() {
        let mut table: Table<LimitEntry> = Table::with_capacity(9, 0);
        for customer in 1..=20_000 {
            let tag = crate::hash::tag(9, customer, 1);
            table.insert(tag, LimitEntry { customer, sku: 1, used: 1 }).expect("room");
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
                let index = customer as usize / 100 % table.segment_count();
                table.copy_segment(index, |e| copied.push((e.customer, e.used)));
            }
            match table.find_mut(tag, same) {
                Some(entry) => entry.used = 2,
                None => table.insert(tag, LimitEntry { customer, sku: 1, used: 2 }).expect("room"),
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
