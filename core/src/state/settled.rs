//! The queue of what may leave memory for the archive, oldest first.
//!
//! It lies in chunks that are not changed once they are full, so that a checkpoint takes a copy by
//! counting references, and growing never moves more than one chunk.

use std::collections::VecDeque;
use std::sync::Arc;

/// References of one chunk: 16 KiB.
const CHUNK: usize = 4_096;

/// References to settled orders and answers, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    full: VecDeque<Arc<Vec<u32>>>,
    /// The youngest references, fewer than a chunk.
    last: Vec<u32>,
    /// References of the first chunk that are gone.
    gone: usize,
}

/// The queue as it was at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettledCopy {
    full: Vec<Arc<Vec<u32>>>,
    last: Vec<u32>,
    gone: usize,
}

impl Settled {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len() - self.gone
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.full.len() * CHUNK + self.last.capacity()) * 4
    }

    #[inline]
    pub(crate) fn push_back(&mut self, reference: u32) {
        self.last.push(reference);
        if self.last.len() == CHUNK {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK));
            self.full.push_back(Arc::new(full));
        }
    }

    /// Returns the reference at a place, counted from the oldest.
    pub(crate) fn get(&self, at: usize) -> Option<u32> {
        let at = at + self.gone;
        let chunk = self.full.get(at / CHUNK).map_or(&self.last, |full| &**full);
        if at / CHUNK <= self.full.len() { chunk.get(at % CHUNK).copied() } else { None }
    }

    pub(crate) fn pop_front(&mut self) -> Option<u32> {
        let oldest = self.get(0)?;
        self.gone += 1;
        if self.gone == CHUNK {
            self.full.pop_front();
            self.gone = 0;
        }
        Some(oldest)
    }

    /// Returns the queue of this moment; it takes a step for each chunk.
    pub(crate) fn copy(&self) -> SettledCopy {
        let full = self.full.iter().cloned().collect();
        SettledCopy { full, last: self.last.clone(), gone: self.gone }
    }
}

impl SettledCopy {
    /// Returns the references, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let full = self.full.iter().flat_map(|chunk| chunk.iter());
        full.chain(&self.last).skip(self.gone).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The queue answers like a plain one, and a copy stays what it was.
    #[test]
    fn agrees_with_a_plain_queue() {
        let mut queue = Settled::default();
        let mut model = VecDeque::new();
        let mut random = 3_u64;
        for step in 0..60_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 62 == 0 {
                assert_eq!(queue.pop_front(), model.pop_front());
            } else {
                queue.push_back(step);
                model.push_back(step);
            }
            assert_eq!(queue.len(), model.len());
            let at = (random >> 33) as usize % (model.len() + 2);
            assert_eq!(queue.get(at), model.get(at).copied());
        }
        assert!(model.len() > 3 * CHUNK, "several chunks");
        let copy = queue.copy();
        queue.push_back(1);
        while queue.pop_front().is_some() {}
        assert_eq!((queue.len(), queue.get(0)), (0, None));
        assert!(copy.iter().eq(model.iter().copied()));
    }
}
