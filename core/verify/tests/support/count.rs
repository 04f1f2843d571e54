//! Counts of the naive shop, and the promises that they break.

use super::shop::Shop;
use super::{A, ADJUST, Body, Brk, C, FollowUp, Mv, R, SHIPPED, Stock, T};

impl Shop {
    /// Counts a cell in which `lost` units are not found; breaks what it must.
    pub fn count(&mut self, cell: u32, lost: u32) {
        while self.deliver(0) {}
        let available = self.units(cell, A);
        let expected = [A, T, R, C].iter().map(|bucket| self.units(cell, *bucket)).sum();
        let quantity = available.min(lost.into()) as u32;
        let mut left = lost - quantity;
        let mut promises: Vec<(bool, usize, u16, u128, u32)> = Vec::new();
        for (key, order) in &self.orders {
            for &(line, of, units) in order.holdings.iter().filter(|holding| holding.1 == cell) {
                assert_eq!(of, cell);
                promises.push((!order.placed, order.made_uid, line, *key, units));
            }
        }
        promises.sort_unstable();
        let mut breaks = Vec::new();
        while let Some((_, _, line, order, held)) = promises.pop().filter(|_| left > 0) {
            let units = held.min(left);
            left -= units;
            breaks.push(Brk { order, home: self.orders[&order].home, line, units });
        }
        assert_eq!(left, 0, "the cell has no more units");
        let entry = self.again(cell);
        let mut movements = vec![Mv { cell, quantity, from: A, to: ADJUST, line: 0 }];
        movements.retain(|m| m.quantity > 0);
        movements.iter().for_each(|m| self.shift(m));
        let key = self.key();
        let stock = Stock {
            key,
            sku: entry.sku,
            operation: 8,
            reason: 0,
            expected,
            transfer: 0,
            entries: vec![entry],
            movements,
            instructions: Vec::new(),
            breaks: breaks.clone(),
        };
        self.emit((cell >> 24) as u16, Body::Stock(stock));
        breaks.iter().for_each(|broken| self.break_one(key, cell, broken));
    }

    /// Takes the units off the order; the rest of the kits that they were part of comes back.
    fn break_one(&mut self, count: u128, cell: u32, broken: &Brk) {
        let mut order = self.orders[&broken.order].clone();
        let sku = order.lines[usize::from(broken.line)].sku;
        let one = self.expand(sku, 1);
        let each = one.iter().find(|(sku, _)| *sku == self.sku_of(cell)).expect("a component").1;
        let kits = broken.units.div_ceil(each);
        let from = if order.placed { C } else { R };
        let mut all =
            vec![Mv { cell, quantity: broken.units, from, to: ADJUST, line: broken.line }];
        for holding in order.holdings.iter_mut().filter(|h| (h.0, h.1) == (broken.line, cell)) {
            holding.2 -= broken.units;
        }
        for (component, each) in one {
            let lost = if component == self.sku_of(cell) { broken.units } else { 0 };
            let mut left = kits * each - lost;
            for (line, of, held) in &mut order.holdings {
                let back = (*held).min(left);
                if *line == broken.line && self.sku_of(*of) == component && back > 0 {
                    all.push(Mv { cell: *of, quantity: back, from, to: A, line: *line });
                    *held -= back;
                    left -= back;
                }
            }
        }
        // Uses of coupons follow the last goods, but for those that are being counted.
        let uses = self.uses(&order.lines);
        if order.holdings.iter().all(|(line, _, held)| *held == 0 || uses[usize::from(*line)]) {
            let to = if order.left { SHIPPED } else { A };
            for (line, of, held) in order.holdings.iter_mut().filter(|h| h.1 != cell && h.2 > 0) {
                all.push(Mv { cell: *of, quantity: std::mem::take(held), from, to, line: *line });
            }
        }
        let (movements, instructions): (Vec<Mv>, Vec<Mv>) =
            all.into_iter().partition(|m| m.cell >> 24 == u32::from(order.home));
        movements.iter().for_each(|m| self.shift(m));
        let body = Body::FollowUp(FollowUp {
            kind: 17,
            key: count,
            order: broken.order,
            previous: order.last_uid,
            version: order.version + 1,
            deadline: 0,
            time_to_live: 0,
            risk: 0,
            lines: vec![(broken.line, kits)],
            movements,
            instructions: instructions.clone(),
        });
        order.last_uid = self.emit(order.home, body);
        order.version += 1;
        self.tell(order.home, broken.order, (order.customer, (0, 0)), &instructions);
        order.holdings.retain(|holding| holding.2 > 0);
        let empty = order.holdings.is_empty();
        self.orders.insert(broken.order, order);
        if empty {
            self.settle_order(broken.order);
        }
    }
}
