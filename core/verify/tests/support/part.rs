//! What becomes of committed units in the naive shop, uses of coupons among them.

use super::shop::{COUPON, Shop};
use super::{A, BasketLine, MISSING, SHIPPED};

impl Shop {
    /// Which lines are uses of coupons that go with goods.
    pub(super) fn uses(&self, lines: &[BasketLine]) -> Vec<bool> {
        let is_use = |line: &BasketLine| self.skus[line.sku as usize].kind == COUPON;
        let mixed = !lines.iter().all(is_use);
        lines.iter().map(|line| mixed && is_use(line)).collect()
    }

    /// Cancels (9), ships (10) or reports short (11) up to `units` of each line; uses of coupons go
    /// with the last goods.
    pub fn part(&mut self, key: u128, kind: u8, units: u32) {
        let order = self.orders[&key].clone();
        let mut left = order.holdings.clone();
        let (mut lines, mut moved) = (Vec::new(), Vec::new());
        let uses = self.uses(&order.lines);
        for (at, line) in order.lines.iter().enumerate().filter(|(at, _)| !uses[*at]) {
            let each = self.expand(line.sku, 1);
            let first_sku = each[0].0;
            let sum: u32 = left
                .iter()
                .filter(|(of, cell, _)| usize::from(*of) == at && self.sku_of(*cell) == first_sku)
                .map(|(_, _, units)| *units)
                .sum();
            let whole = (sum / each[0].1).min(units);
            if whole == 0 {
                continue;
            }
            lines.push((at as u16, whole));
            for (sku, each) in each {
                let mut wanted = each * whole;
                for (of, cell, held) in &mut left {
                    let take = (*held).min(wanted);
                    if usize::from(*of) == at && self.sku_of(*cell) == sku && take > 0 {
                        *held -= take;
                        wanted -= take;
                        moved.push((*of, *cell, take));
                    }
                }
            }
        }
        if left.iter().all(|(line, _, units)| *units == 0 || uses[usize::from(*line)]) {
            moved.extend(std::mem::take(&mut left).into_iter().filter(|(_, _, units)| *units > 0));
        }
        let to = match kind {
            9 => A,
            10 => SHIPPED,
            _ => MISSING,
        };
        self.follow_up(key, (kind, to, 0), lines, &moved);
        left.retain(|(_, _, units)| *units > 0);
        let empty = left.is_empty();
        self.orders.get_mut(&key).expect("live").holdings = left;
        if empty {
            self.settle_order(key);
        }
    }
}
