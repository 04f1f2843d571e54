//! What the engine shows, compared with the model.

use super::*;

impl Model {
    /// Checks a SKU's stock as published: each bucket, and I3.
    ///
    /// # Panics
    ///
    /// Panics if it differs.
    pub fn check_stock(&self, view: &StockView) {
        let cells = self.cells.iter().filter(|(key, _)| key.0 == view.sku).map(|(_, cell)| cell);
        let mut sum = Cell::default();
        let mut unavailable = 0;
        for cell in cells {
            sum.available += cell.available;
            sum.reserved += cell.reserved;
            sum.committed += cell.committed;
            sum.in_transit += cell.in_transit;
            sum.shipped += cell.shipped;
            unavailable += cell.unavailable.values().sum::<u64>();
        }
        let wanted = StockView {
            sku: view.sku,
            available: sum.available,
            tentative: 0,
            reserved: sum.reserved,
            committed: sum.committed,
            unavailable,
            in_transit: sum.in_transit,
            shipped: sum.shipped,
            seq: view.seq,
        };
        assert_eq!(*view, wanted);
        let all = sum.available + sum.reserved + sum.committed + unavailable + sum.in_transit;
        let brought_in = self.brought_in.get(&view.sku).copied().unwrap_or_default();
        assert_eq!(i128::from(all + sum.shipped), brought_in, "I3");
    }

    /// Checks an order as read: its status, version, lines (I5), and its parts where they are told.
    ///
    /// # Panics
    ///
    /// Panics if it differs.
    pub fn check_order(&self, view: &OrderView, with_cells: bool) {
        let order = &self.orders[&view.order];
        assert_eq!((view.status, view.version), (order.status, order.version), "{view:?}");
        assert_eq!((view.customer.0, view.total), (order.customer, order.total));
        assert_eq!(view.risk, order.risk, "{view:?}");
        let live = order.status == OrderStatus::Reserved;
        assert_eq!(view.deadline.millis(), if live { order.deadline } else { 0 });
        for (at, line) in view.lines.iter().enumerate() {
            let mine = &order.lines[at];
            assert_eq!((line.sku, line.ordered), (mine.sku, mine.asked));
            let got = (line.shipped, line.short, line.cancelled);
            assert_eq!(got, (mine.shipped, mine.short, mine.cancelled), "line {at} of {view:?}");
            let sum = line.reserved + line.committed + line.short + line.shipped + line.cancelled;
            assert_eq!(sum, line.ordered, "I5: line {at} of {view:?}");
        }
        if with_cells {
            assert_eq!(parts_of(view), order.parts);
        }
    }
}
