//! What a count takes from a cell: available units, then the newest reservations, then the newest
//! commitments.

use super::*;

impl Model {
    pub(super) fn count(&mut self, count: &Count) -> Checked {
        self.check_cell(&[(count.sku, count.location)])?;
        let key = (count.sku, count.location.0, count.lot.0);
        let Some(cell) = self.cells.get_mut(&key) else { return reject(Reject::StockShort) };
        if cell.available + cell.reserved + cell.committed != count.expected {
            return reject(Reject::StaleCount);
        }
        *self.brought_in.entry(count.sku).or_default() +=
            i128::from(count.counted) - i128::from(count.expected);
        if count.counted >= count.expected {
            cell.available += count.counted - count.expected;
            return Ok(());
        }
        let lost = count.expected - count.counted;
        let free = lost.min(cell.available);
        cell.available -= free;
        self.break_promises(key, (lost - free) as u32);
        Ok(())
    }

    fn break_promises(&mut self, key: CellKey, lost: u32) {
        let mut promises = Vec::new();
        for (id, order) in &self.orders {
            for part in order.parts.iter().filter(|p| p.cell == key) {
                let units = part.reserved + part.committed;
                promises.push((part.reserved > 0, order.made, part.line, *id, units));
            }
        }
        promises.retain(|promise| promise.4 > 0);
        promises.sort_unstable();
        let mut left = lost;
        while let Some((_, _, line, id, held)) = promises.pop().filter(|_| left > 0) {
            let units = held.min(left);
            left -= units;
            self.break_one(id, line, key, units);
        }
        assert_eq!(left, 0, "a cell's units are available or promised");
    }

    /// The units are short; whole kits break, and what is left of them is available again.
    fn break_one(&mut self, id: OrderId, line: usize, key: CellKey, units: u32) {
        let mut order = self.orders.remove(&id).expect("it holds units");
        let components = self.components(order.lines[line].sku);
        let per = components.iter().find(|(sku, _)| *sku == key.0).expect("a component").1;
        let kits = units.div_ceil(per);
        let reserved = order.status == OrderStatus::Reserved;
        self.broken.0 += u64::from(reserved);
        self.broken.1 += u64::from(!reserved);
        self.broken.2 += u64::from(components.len() > 1);
        let mut take = |part: &mut Part, units: u32, back: bool| {
            let cell = self.cells.get_mut(&part.cell).expect("a part is in a cell");
            let (held, bucket) = if reserved {
                (&mut part.reserved, &mut cell.reserved)
            } else {
                (&mut part.committed, &mut cell.committed)
            };
            *held -= units;
            *bucket -= u64::from(units);
            cell.available += if back { u64::from(units) } else { 0 };
        };
        let own = order.parts.iter_mut().find(|p| p.line == line && p.cell == key);
        take(own.expect("it holds units"), units, false);
        for (sku, per) in components {
            let mut left = kits * per - if sku == key.0 { units } else { 0 };
            for part in order.parts.iter_mut().filter(|p| p.line == line && p.cell.0 == sku) {
                let back = (part.reserved + part.committed).min(left);
                take(part, back, true);
                left -= back;
            }
        }
        order.lines[line].short += kits;
        self.let_follow(&mut order, Some(key));
        order.version += 1;
        if order.parts.iter().all(|p| p.reserved + p.committed == 0) {
            let shipped = order.lines.iter().any(|l| l.shipped > 0);
            order.status = if shipped { OrderStatus::Completed } else { OrderStatus::Cancelled };
        }
        self.orders.insert(id, order);
    }
}
