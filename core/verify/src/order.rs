//! Live orders: their lines, what they hold in which cell, and the deadlines of reservations.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::catalog::Sku;
use crate::failure::{Check, demand};
use crate::fast_hash::FastMap;
use crate::limits::LimitCounts;

/// Stale deadlines that the heap may hold beyond the live ones before it is rebuilt.
const STALE_DEADLINES_MAX: usize = 4_096;

/// One or several; most orders have one line from one cell, which needs no allocation.
#[derive(Clone, Debug)]
pub(crate) enum Few<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T: Clone> Few<T> {
    pub(crate) fn from_slice(items: &[T]) -> Self {
        match items {
            [one] => Self::One(one.clone()),
            many => Self::Many(many.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }
}

/// One line; units of goods, kits of a kit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) sku: u32,
    pub(crate) asked: u32,
    /// Reserved or committed, by the order's status.
    pub(crate) held: u32,
    pub(crate) shipped: u32,
    pub(crate) short: u32,
    pub(crate) cancelled: u32,
}

impl Line {
    /// Checks `ordered = reserved + committed + short + shipped + cancelled`.
    pub(crate) fn check(&self) -> Check {
        let sum = u64::from(self.held)
            + u64::from(self.short)
            + u64::from(self.shipped)
            + u64::from(self.cancelled);
        demand!(
            sum == u64::from(self.asked),
            "I5",
            "line asked {}, of which held {} + short {} + shipped {} + cancelled {}",
            self.asked,
            self.held,
            self.short,
            self.shipped,
            self.cancelled
        );
        Ok(())
    }

    /// Returns the units that a limit counts.
    pub(crate) const fn counted(&self) -> u64 {
        self.held as u64 + self.shipped as u64
    }
}

/// Units that an order holds of one cell for one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) line: u16,
    pub(crate) cell: u32,
    pub(crate) units: u64,
}

/// A live order: something of it is reserved or committed.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) home: u16,
    pub(crate) placed: bool,
    /// Seq of the record that made it: its age.
    pub(crate) created_seq: u64,
    pub(crate) version: u32,
    pub(crate) last_seq: u64,
    pub(crate) customer: u64,
    pub(crate) deadline: u64,
    pub(crate) hard_deadline: u64,
    /// 0 unscored to 4 deny.
    pub(crate) risk: u8,
    pub(crate) asked_as_buy: bool,
    pub(crate) lines: Few<Line>,
    /// Ascending by line and cell.
    pub(crate) holdings: Few<Holding>,
}

/// Units of a cell that a line of an order holds; ascending in the order of being broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Promise {
    pub(crate) placed: bool,
    age: std::cmp::Reverse<u64>,
    pub(crate) line: std::cmp::Reverse<u16>,
    pub(crate) order: u128,
    pub(crate) home: u16,
    pub(crate) units: u64,
}

/// All live orders and the deadlines of each shard's reservations.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) live: FastMap<u128, Order>,
    deadlines: Vec<BinaryHeap<Reverse<(u64, u128)>>>,
    /// Reservations by home shard.
    reserved: Vec<usize>,
    /// Settled orders by home shard that no EVICT record has covered.
    pub(crate) settled: Vec<u64>,
}

impl Orders {
    pub(crate) fn new(shards: u16) -> Self {
        let shards = shards as usize;
        Self {
            live: FastMap::default(),
            deadlines: (0..shards).map(|_| BinaryHeap::new()).collect(),
            reserved: vec![0; shards],
            settled: vec![0; shards],
        }
    }

    /// Notes a deadline of a reservation; `new` for its first one.
    pub(crate) fn note_deadline(&mut self, home: u16, order: u128, deadline: u64, new: bool) {
        let shard = home as usize;
        self.reserved[shard] += usize::from(new);
        self.deadlines[shard].push(Reverse((deadline, order)));
        if self.deadlines[shard].len() > 2 * self.reserved[shard] + STALE_DEADLINES_MAX {
            let mut kept = std::mem::take(&mut self.deadlines[shard]).into_vec();
            kept.retain(|Reverse((deadline, order))| self.is_due(home, *order, *deadline));
            self.deadlines[shard] = kept.into();
        }
    }

    /// Notes that a reservation ended.
    pub(crate) fn note_no_deadline(&mut self, home: u16) {
        self.reserved[home as usize] -= 1;
    }

    /// Returns whether the order is a reservation with this deadline.
    fn is_due(&self, home: u16, order: u128, deadline: u64) -> bool {
        self.live
            .get(&order)
            .is_some_and(|found| !found.placed && found.deadline == deadline && found.home == home)
    }

    /// Checks that no reservation of a shard is live whose deadline is at or before `now` (I8).
    pub(crate) fn check_deadlines(&mut self, shard: u16, now: u64) -> Check {
        while let Some(Reverse((deadline, order))) = self.deadlines[shard as usize].peek().copied()
        {
            if deadline > now {
                break;
            }
            demand!(
                !self.is_due(shard, order, deadline),
                "I8",
                "reservation {order:032x} with deadline {deadline} is live after the section of \
                 shard {shard} at {now}"
            );
            self.deadlines[shard as usize].pop();
        }
        Ok(())
    }

    /// Returns what orders hold of a cell: reservations before commitments, the newest first.
    pub(crate) fn promises(&self, cell: u32) -> Vec<Promise> {
        let mut promises = Vec::new();
        #[expect(clippy::iter_over_hash_type, reason = "they are sorted below")]
        for (id, order) in &self.live {
            let of_cell = order.holdings.as_slice().iter().filter(|h| h.cell == cell);
            promises.extend(of_cell.filter(|h| h.units > 0).map(|holding| Promise {
                placed: order.placed,
                age: std::cmp::Reverse(order.created_seq),
                line: std::cmp::Reverse(holding.line),
                order: *id,
                home: order.home,
                units: holding.units,
            }));
        }
        promises.sort_unstable();
        promises
    }

    /// Counts a SKU's units by customer over the live orders, when its limit starts.
    pub(crate) fn count_limit(&self, skus: &[Sku], sku: u32, counts: &mut LimitCounts) {
        counts.forget(sku);
        #[expect(clippy::iter_over_hash_type, reason = "sums do not depend on the order")]
        for order in self.live.values() {
            for line in order.lines.as_slice() {
                let each = units_each(skus, line.sku, sku);
                if each > 0 {
                    counts.add(order.customer, sku, each * line.counted());
                }
            }
        }
    }
}

/// Returns how many units of `sku` one unit of the line's SKU stands for: 1 for itself, the
/// component's quantity for a kit, else 0.
fn units_each(skus: &[Sku], line_sku: u32, sku: u32) -> u64 {
    if line_sku == sku {
        return 1;
    }
    skus[line_sku as usize]
        .components
        .iter()
        .find(|(component, _)| *component == sku)
        .map_or(0, |(_, quantity)| u64::from(*quantity))
}
