//! What the feed says about orders, as rows that are joined with the ledger afterwards.

use crate::feed::EventKind;
use crate::ledger::PaymentAnswer;
use crate::spill::{Row, RowReader, RowWriter};

/// What one event says about one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) order: u128,
    pub(super) seq: u64,
    pub(super) kind: EventKind,
    /// Host's time in milliseconds since 1970.
    pub(super) time_ms: u64,
    /// New deadline, or 0.
    pub(super) deadline_ms: u64,
    /// Total of an order that was made.
    pub(super) total: Option<i64>,
    /// Units that went from free to held.
    pub(super) granted: u32,
    /// Whether a policy decided the prices.
    pub(super) priced: bool,
    /// Whether it moved units of the run.
    pub(super) moves: bool,
}

/// Kinds in the order of their numbers on disk.
const KINDS: [EventKind; 7] = [
    EventKind::Bought,
    EventKind::Reserved,
    EventKind::Placed,
    EventKind::Extended,
    EventKind::Expired,
    EventKind::Ended,
    EventKind::Other,
];

impl Row for Fact {
    const BYTES: usize = 54;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u128(self.order);
        out.u64(self.seq);
        out.u8(KINDS.iter().position(|kind| *kind == self.kind).unwrap_or(6) as u8);
        let flags = [self.priced, self.moves, self.total.is_some()];
        out.u8(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        out.u64(self.time_ms);
        out.u64(self.deadline_ms);
        out.i64(self.total.unwrap_or(0));
        out.u32(self.granted);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        let (order, seq) = (from.u128(), from.u64());
        let kind = KINDS.get(usize::from(from.u8())).copied().unwrap_or(EventKind::Other);
        let flags = from.u8();
        let (time_ms, deadline_ms) = (from.u64(), from.u64());
        let total = Some(from.i64()).filter(|_| flags & 4 != 0);
        Self {
            order,
            seq,
            kind,
            time_ms,
            deadline_ms,
            total,
            granted: from.u32(),
            priced: flags & 1 != 0,
            moves: flags & 2 != 0,
        }
    }
}

/// Units of a SKU with a limit that an order took or gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeldByOrder {
    pub(super) order: u128,
    pub(super) seq: u64,
    pub(super) sku: u32,
    pub(super) units: i64,
}

impl Row for HeldByOrder {
    const BYTES: usize = 36;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u128(self.order);
        out.u64(self.seq);
        out.u32(self.sku);
        out.i64(self.units);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        Self { order: from.u128(), seq: from.u64(), sku: from.u32(), units: from.i64() }
    }
}

/// The same by customer: what is given back at a position comes before what is taken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeldByCustomer {
    pub(super) customer: u64,
    pub(super) sku: u32,
    pub(super) seq: u64,
    pub(super) units: i64,
    pub(super) order: u128,
}

impl Row for HeldByCustomer {
    const BYTES: usize = 44;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u64(self.customer);
        out.u32(self.sku);
        out.u64(self.seq);
        out.i64(self.units);
        out.u128(self.order);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        Self {
            customer: from.u64(),
            sku: from.u32(),
            seq: from.u64(),
            units: from.i64(),
            order: from.u128(),
        }
    }
}

/// What a buyer was told about a payment, with the time of the event that came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Paid {
    pub(super) order: u128,
    pub(super) told: PaymentAnswer,
    /// Position of a refusal.
    pub(super) seq: u64,
    /// Time of the first event after that position, by which the refusal was decided; `u64::MAX`
    /// if there is none.
    pub(super) decided_by_ms: u64,
}

impl Row for Paid {
    const BYTES: usize = 33;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u128(self.order);
        out.u8(self.told as u8);
        out.u64(self.seq);
        out.u64(self.decided_by_ms);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        let order = from.u128();
        let told = PaymentAnswer::from_byte(from.u8());
        Self { order, told, seq: from.u64(), decided_by_ms: from.u64() }
    }
}

/// What buyers were told about one order, by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ToldOrder {
    pub(super) order: u128,
    pub(super) told: crate::ledger::Told,
}

impl Row for ToldOrder {
    const BYTES: usize = crate::ledger::Told::BYTES;

    fn write(&self, out: &mut RowWriter<'_>) {
        self.told.write(out);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        let told = crate::ledger::Told::read(from);
        Self { order: told.order, told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spill::Sorter;

    /// Every kind of row survives the way to disk and back.
    #[test]
    fn rows_survive_the_disk() {
        fn check<T: Row + std::fmt::Debug>(row: T) {
            let mut sorter = Sorter::new(1);
            sorter.push(row).expect("a temporary file can be written");
            assert!(sorter.disk_bytes() == T::BYTES as u64);
            let read = sorter.sorted().and_then(|mut rows| rows.next());
            assert_eq!(read.expect("a temporary file can be read"), Some(row));
        }
        for (at, kind) in KINDS.into_iter().enumerate() {
            let total = (at % 2 == 0).then_some(-7);
            let (priced, moves) = (at % 3 == 0, at % 3 == 1);
            let (order, seq) = (u128::MAX - 3, 9);
            let (time_ms, deadline_ms, granted) = (5, 6, 7);
            check(Fact { order, seq, kind, time_ms, deadline_ms, total, granted, priced, moves });
        }
        check(HeldByOrder { order: 1, seq: 2, sku: 3, units: -4 });
        check(HeldByCustomer { customer: 1, sku: 2, seq: 3, units: -4, order: 5 });
        for told in [PaymentAnswer::Placed, PaymentAnswer::Expired, PaymentAnswer::Unknown] {
            check(Paid { order: 1, told, seq: 2, decided_by_ms: u64::MAX });
            check(crate::ledger::Payment { seq: 1, order: 2, told });
        }
    }
}
