//! The neighbours of one item with their counts: exact while there is room, space-saving beyond.
//!
//! Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in
//! data streams", 2005. A newcomer to a full list takes the place and count of the smallest entry
//! and remembers that count as its possible error, so a true count always lies between
//! `count - error` and `count`.

/// One neighbour with its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) item: u32,
    count: u32,
    error: u32,
}

impl Neighbour {
    /// Returns the baskets that are certain.
    pub(super) const fn least(self) -> u32 {
        self.count - self.error
    }

    /// Returns the most baskets that it can be.
    pub(super) const fn most(self) -> u32 {
        self.count
    }
}

/// Neighbours by falling count.
#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours(Vec<Neighbour>);

impl Neighbours {
    pub(super) fn as_slice(&self) -> &[Neighbour] {
        &self.0
    }

    /// Counts one more basket with `item`; returns whether the list has grown.
    pub(super) fn add(&mut self, item: u32, may_grow: bool) -> bool {
        let found = self.0.iter().position(|neighbour| neighbour.item == item);
        let mut grown = false;
        let at = match found {
            Some(at) => at,
            None if may_grow => {
                self.0.push(Neighbour { item, count: 0, error: 0 });
                grown = true;
                self.0.len() - 1
            }
            None => {
                let Some(last) = self.0.last_mut() else { return false };
                *last = Neighbour { item, count: last.count, error: last.count };
                self.0.len() - 1
            }
        };
        let count = self.0[at].count;
        // The first of those with the same count: it may grow by one without being out of order.
        let first = self.0[..at].partition_point(|neighbour| neighbour.count > count);
        self.0.swap(first, at);
        self.0[first].count = count.saturating_add(1);
        grown
    }
}
