//! Deadlines of reservations, by millisecond.
//!
//! A ring of lists for the next 35 minutes and an ordered map for what is further away. Entries
//! are never taken out early: a reservation that was placed or extended is skipped when its old
//! entry comes up.

use std::collections::BTreeMap;

/// Milliseconds of one chunk of the ring.
const CHUNK: u64 = 1 << 10;
/// Chunks of the ring.
const CHUNKS: u64 = 1 << 11;
/// Milliseconds that the ring covers.
const WINDOW: u64 = CHUNK * CHUNKS;
const NONE: u32 = u32::MAX;
/// Nodes of one block: a calendar grows by 32 KiB, and what is there stays where it is.
const NODES: usize = 1 << 12;

#[derive(Clone, Copy, Debug)]
struct Node {
    slot: u32,
    next: u32,
}

/// Nodes in blocks; one that is free is used again.
#[derive(Debug)]
struct Nodes {
    blocks: Vec<Vec<Node>>,
    /// First of the free ones, linked by `next`.
    free: u32,
}

impl Nodes {
    fn get_mut(&mut self, at: u32) -> &mut Node {
        &mut self.blocks[at as usize / NODES][at as usize % NODES]
    }

    /// Stores a node and returns its place.
    fn add(&mut self, node: Node) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = std::mem::replace(self.get_mut(at), node).next;
            return at;
        }
        if self.blocks.last().is_none_or(|block| block.len() == NODES) {
            self.blocks.push(Vec::with_capacity(NODES));
        }
        let last = self.blocks.len() - 1;
        let block = &mut self.blocks[last];
        block.push(node);
        (last * NODES + block.len() - 1) as u32
    }

    /// Frees a node and returns it.
    fn remove(&mut self, at: u32) -> Node {
        let free = std::mem::replace(&mut self.free, at);
        let node = self.get_mut(at);
        let gone = *node;
        node.next = free;
        gone
    }
}

#[derive(Debug)]
pub(crate) struct Calendar {
    ring: Vec<Option<Box<[u32]>>>,
    nodes: Nodes,
    /// Every entry is at this millisecond or later.
    cursor: u64,
    near: usize,
    far: BTreeMap<u64, Vec<u32>>,
}

impl Calendar {
    pub(crate) fn new() -> Self {
        Self {
            ring: vec![None; CHUNKS as usize],
            nodes: Nodes { blocks: Vec::new(), free: NONE },
            cursor: 0,
            near: 0,
            far: BTreeMap::new(),
        }
    }

    /// Moves an empty calendar to a time.
    pub(crate) fn start(&mut self, now: u64) {
        assert!(self.near == 0 && self.far.is_empty(), "the calendar is empty");
        self.cursor = now;
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let chunks = self.ring.iter().flatten().count();
        let far: usize = self.far.values().map(|v| v.capacity() * 4 + 40).sum();
        chunks * CHUNK as usize * 4 + self.nodes.blocks.len() * NODES * size_of::<Node>() + far
    }

    /// Enters an order slot at a deadline; a deadline that has been passed is entered as the
    /// next one to come.
    pub(crate) fn add(&mut self, deadline: u64, slot: u32) {
        let at = deadline.max(self.cursor);
        if at - self.cursor >= WINDOW {
            self.far.entry(at).or_default().push(slot);
            return;
        }
        let chunk = &mut self.ring[(at / CHUNK % CHUNKS) as usize];
        let heads = chunk.get_or_insert_with(|| vec![NONE; CHUNK as usize].into_boxed_slice());
        let head = &mut heads[(at % CHUNK) as usize];
        *head = self.nodes.add(Node { slot, next: *head });
        self.near += 1;
    }

    /// Returns the first deadline at or before `now` that has entries, and moves time up to it.
    pub(crate) fn next_due(&mut self, now: u64) -> Option<u64> {
        let far = self.far.first_key_value().map(|(at, _)| *at).filter(|at| *at <= now);
        let stop = far.unwrap_or(now);
        let near = self.scan(stop);
        let due = match (near, far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        };
        self.cursor = self.cursor.max(due.unwrap_or(now));
        due
    }

    fn scan(&mut self, stop: u64) -> Option<u64> {
        if self.near == 0 {
            return None;
        }
        let end = stop.min(self.cursor + WINDOW - 1);
        let mut at = self.cursor;
        while at <= end {
            let slot = (at / CHUNK % CHUNKS) as usize;
            match &self.ring[slot] {
                None => at = (at / CHUNK + 1) * CHUNK,
                Some(heads) => {
                    if heads[(at % CHUNK) as usize] != NONE {
                        return Some(at);
                    }
                    at += 1;
                    if at.is_multiple_of(CHUNK) && self.cursor < at - CHUNK + 1 {
                        // The chunk lies wholly behind and is empty from here on.
                        if heads.iter().all(|h| *h == NONE) {
                            self.ring[slot] = None;
                        }
                    }
                }
            }
        }
        None
    }

    /// Takes all entries of a deadline that `next_due` returned.
    pub(crate) fn take(&mut self, deadline: u64, slots: &mut Vec<u32>) {
        if let Some(mut far) = self.far.remove(&deadline) {
            slots.append(&mut far);
        }
        let chunk = (deadline / CHUNK % CHUNKS) as usize;
        let Some(heads) = &mut self.ring[chunk] else { return };
        let head = &mut heads[(deadline % CHUNK) as usize];
        let mut at = std::mem::replace(head, NONE);
        while at != NONE {
            let node = self.nodes.remove(at);
            slots.push(node.slot);
            at = node.next;
            self.near -= 1;
        }
        if deadline % CHUNK == CHUNK - 1 && heads.iter().all(|h| *h == NONE) {
            self.ring[chunk] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries come up once, in order of their deadlines, none early, through jumps of any size.
    #[test]
    fn entries_come_up_in_order() {
        let mut calendar = Calendar::new();
        let mut model: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut random = 5_u64;
        let mut now = 1_700_000_000_000_u64;
        assert_eq!(calendar.next_due(now), None);
        for slot in 0..20_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
            let span = match random >> 62 {
                0 => 1 + (random >> 33) % 50,
                1 => 1 + (random >> 33) % 5_000,
                2 => 1 + (random >> 33) % WINDOW,
                _ => 1 + (random >> 33) % (5 * WINDOW),
            };
            calendar.add(now + span, slot);
            model.entry(now + span).or_default().push(slot);
            if slot % 7 == 0 {
                now += (random >> 40) % if slot % 700 == 0 { 2 * WINDOW } else { 3_000 };
                while let Some(at) = calendar.next_due(now) {
                    let (first, mut wanted) = model.pop_first().expect("a due entry");
                    let mut got = Vec::new();
                    calendar.take(at, &mut got);
                    got.sort_unstable();
                    wanted.sort_unstable();
                    assert_eq!((at, got), (first, wanted));
                }
                assert!(model.first_key_value().is_none_or(|(at, _)| *at > now));
            }
        }
        assert!(model.len() > 100);
    }
}
