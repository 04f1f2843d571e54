//! What becomes of committed units: cancelled, shipped, short.

use super::*;

/// Where committed units go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Available,
    Shipped,
    Missing,
}

impl Model {
    fn committed(&self, order: &Order, line: usize) -> u32 {
        let held = |(sku, per): (SkuId, u32)| {
            let parts = order.parts.iter().filter(|p| p.line == line && p.cell.0 == sku);
            parts.map(|p| p.committed).sum::<u32>() / per
        };
        self.components(order.lines[line].sku).into_iter().map(held).min().unwrap_or(0)
    }

    pub(super) fn move_on(
        &mut self,
        id: OrderId,
        lines: &[LineQuantity],
        version: Option<u32>,
        way: Way,
    ) -> Checked<Expected> {
        let Some(order) = self.orders.get(&id) else { return reject(Reject::OrderUnknown) };
        if order.status != OrderStatus::Placed {
            return reject(Reject::StateConflict);
        }
        if version.is_some_and(|v| v != order.version) {
            return reject(Reject::StaleVersion);
        }
        let mut after = order.clone();
        let mut moved: Vec<(CellKey, u32)> = Vec::new();
        let all = (0..order.lines.len()).map(|at| (at, self.committed(order, at)));
        let all = all.filter(|(at, _)| !self.is_use_of(order, *at));
        let wishes: Vec<(usize, u32)> = if lines.is_empty() {
            all.collect()
        } else {
            lines.iter().map(|l| (l.line.into(), l.quantity.units())).collect()
        };
        for (at, units) in wishes {
            let known = at < after.lines.len() && !self.is_use_of(&after, at);
            if !known || units > self.committed(&after, at) {
                return reject(Reject::OverCommitted);
            }
            for (sku, per) in self.components(after.lines[at].sku) {
                let mut left = units * per;
                for part in after.parts.iter_mut().filter(|p| p.line == at && p.cell.0 == sku) {
                    let take = part.committed.min(left);
                    part.committed -= take;
                    left -= take;
                    moved.push((part.cell, take));
                }
            }
            let line = &mut after.lines[at];
            match way {
                Way::Available => line.cancelled += units,
                Way::Shipped => line.shipped += units,
                Way::Missing => line.short += units,
            }
        }
        for (key, units) in moved {
            let units = u64::from(units);
            let cell = self.cells.get_mut(&key).expect("a part is in a cell");
            cell.committed -= units;
            match way {
                Way::Available => cell.available += units,
                Way::Shipped => cell.shipped += units,
                Way::Missing => {
                    *cell.unavailable.entry(Reason::Missing as u8).or_default() += units;
                }
            }
        }
        self.let_follow(&mut after, None);
        after.version += 1;
        if after.parts.iter().all(|p| p.committed == 0) {
            let shipped = after.lines.iter().any(|l| l.shipped > 0);
            after.status = if shipped { OrderStatus::Completed } else { OrderStatus::Cancelled };
        }
        let (status, version) = (after.status, after.version);
        self.orders.insert(id, after);
        Ok(Expected::Change { status, version, deadline: 0 })
    }

    pub(super) fn is_use_of(&self, order: &Order, line: usize) -> bool {
        let skus: Vec<SkuId> = order.lines.iter().map(|line| line.sku).collect();
        self.is_use(&skus, line)
    }

    /// Once an order holds no goods, its uses of coupons go: out if any goods have left, else back.
    /// Those in a cell that is being counted stay.
    pub(super) fn let_follow(&mut self, order: &mut Order, counted: Option<CellKey>) {
        let uses: Vec<bool> = (0..order.lines.len()).map(|at| self.is_use_of(order, at)).collect();
        let goods = |p: &Part| !uses[p.line] && p.reserved + p.committed > 0;
        if order.parts.iter().any(goods) {
            return;
        }
        let left = order.lines.iter().zip(&uses).any(|(line, is_use)| line.shipped > 0 && !is_use);
        for part in order.parts.iter_mut().filter(|p| uses[p.line] && Some(p.cell) != counted) {
            let cell = self.cells.get_mut(&part.cell).expect("a part is in a cell");
            let line = &mut order.lines[part.line];
            let units = part.reserved + part.committed;
            cell.reserved -= u64::from(std::mem::take(&mut part.reserved));
            cell.committed -= u64::from(std::mem::take(&mut part.committed));
            if left {
                line.shipped += units;
                cell.shipped += u64::from(units);
                self.followed.0 += u64::from(units);
            } else {
                line.cancelled += units;
                cell.available += u64::from(units);
                self.followed.1 += u64::from(units);
            }
            self.followed.2 += if counted.is_some() { u64::from(units) } else { 0 };
        }
    }
}
