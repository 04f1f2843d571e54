//! An order in memory: 64 bytes, and a detail only where one line in one cell does not tell all.

use crate::decided::Risk;
use crate::domain::bucket::CellNo;
use crate::id::{CustomerId, OrderId};
use crate::money::Currency;
use crate::reply::OrderStatus;
use crate::time::Timestamp;

/// A 48-bit integer of an [`Order`], in three half-words so that the record has no gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct U48([u16; 3]);

impl U48 {
    const fn new(value: u64) -> Self {
        Self([value as u16, (value >> 16) as u16, (value >> 32) as u16])
    }

    const fn get(self) -> u64 {
        self.0[0] as u64 | (self.0[1] as u64) << 16 | (self.0[2] as u64) << 32
    }
}

/// One order. A simple one, of one line out of one cell, whole in one bucket, is this and no more;
/// of any other the detail slot is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Order {
    key: [u64; 2],
    customer: u64,
    /// Total in minor units times 256, plus status (bits 0 to 3) and flags (bits 4 to 7).
    total_status: i64,
    pub(crate) fingerprint: u32,
    /// Last record of this order, counted from the one that made it.
    last_delta: u32,
    created: U48,
    deadline: U48,
    /// Cell number of a simple order, else the slot of its detail.
    place: u32,
    /// Units of a simple order, else 0.
    quantity: u32,
    pub(crate) version: u16,
    /// Bits 0 to 9 the currency, 10 to 12 the risk, 13 whether it was asked as a `buy` and became a
    /// reservation, 14 and 15 the risk that it was made with.
    currency_risk: u16,
}

const _: () = assert!(size_of::<Order>() == 64);

const FLAG_DETAILED: i64 = 1 << 4;
const FLAG_RESERVED_FIRST: i64 = 1 << 5;

/// What an order has been made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewOrder {
    pub(crate) id: OrderId,
    pub(crate) customer: CustomerId,
    pub(crate) status: OrderStatus,
    pub(crate) total: i64,
    pub(crate) currency: Currency,
    pub(crate) fingerprint: u32,
    pub(crate) created_seq: u64,
    pub(crate) deadline: Timestamp,
    /// See [`risk_bits`]; 0 without decisions.
    pub(crate) risk_bits: u16,
}

/// Bits of [`Order::currency_risk`] that hold the currency.
const CURRENCY_BITS: u16 = (1 << 10) - 1;
const RISK_SHIFT: u32 = 10;
const FLAG_ASKED_AS_BUY: u16 = 1 << 13;
const FIRST_RISK_SHIFT: u32 = 14;

/// Returns the bits beside the currency of an order that is made with a risk other than
/// [`Risk::Deny`]; `as_buy` for a reservation that was asked as a `buy`.
pub(crate) const fn risk_bits(risk: Risk, as_buy: bool) -> u16 {
    let as_buy = if as_buy { FLAG_ASKED_AS_BUY } else { 0 };
    (risk as u16) << RISK_SHIFT | (risk as u16 & 3) << FIRST_RISK_SHIFT | as_buy
}

impl Order {
    pub(crate) fn new(new: &NewOrder) -> Self {
        let id = new.id.bits();
        let reserved = if new.status == OrderStatus::Reserved { FLAG_RESERVED_FIRST } else { 0 };
        Self {
            key: [(id >> 64) as u64, id as u64],
            customer: new.customer.0,
            total_status: new.total << 8 | reserved | new.status as i64,
            fingerprint: new.fingerprint,
            last_delta: 0,
            created: U48::new(new.created_seq),
            deadline: U48::new(new.deadline.millis()),
            place: 0,
            quantity: 0,
            version: 1,
            currency_risk: new.currency.number() | new.risk_bits,
        }
    }

    pub(crate) const fn is_free(&self) -> bool {
        self.total_status.trailing_zeros() >= 4
    }

    #[inline]
    pub(crate) const fn id(&self) -> OrderId {
        OrderId::new((self.key[0] as u128) << 64 | self.key[1] as u128)
    }

    pub(crate) const fn customer(&self) -> CustomerId {
        CustomerId(self.customer)
    }

    pub(crate) const fn total(&self) -> i64 {
        self.total_status >> 8
    }

    pub(crate) fn currency(&self) -> Currency {
        Currency::from_number(self.currency_risk & CURRENCY_BITS).unwrap_or(Currency::EUR)
    }

    pub(crate) fn status(&self) -> OrderStatus {
        status_of((self.total_status & 15) as u8).unwrap_or(OrderStatus::Cancelled)
    }

    /// Returns the suspicion of the order now.
    pub(crate) const fn risk(&self) -> Risk {
        match self.currency_risk >> RISK_SHIFT & 7 {
            0 => Risk::Unscored,
            1 => Risk::Allow,
            2 => Risk::Challenge,
            3 => Risk::Review,
            _ => Risk::Deny,
        }
    }

    /// Returns the suspicion that the order was made with.
    pub(crate) const fn first_risk(&self) -> Risk {
        match self.currency_risk >> FIRST_RISK_SHIFT {
            0 => Risk::Unscored,
            1 => Risk::Allow,
            2 => Risk::Challenge,
            _ => Risk::Review,
        }
    }

    pub(crate) fn set_risk(&mut self, risk: Risk) {
        self.currency_risk = self.currency_risk & !(7 << RISK_SHIFT) | (risk as u16) << RISK_SHIFT;
    }

    /// Whether a reservation was asked as a `buy`.
    pub(crate) const fn asked_as_buy(&self) -> bool {
        self.currency_risk & FLAG_ASKED_AS_BUY != 0
    }

    pub(crate) fn set_status(&mut self, status: OrderStatus) {
        self.total_status = self.total_status & !15 | status as i64;
    }

    /// Whether the order began as a reservation.
    pub(crate) const fn was_reserved(&self) -> bool {
        self.total_status & FLAG_RESERVED_FIRST != 0
    }

    pub(crate) const fn created_seq(&self) -> u64 {
        self.created.get()
    }

    pub(crate) const fn last_seq(&self) -> u64 {
        self.created.get() + self.last_delta as u64
    }

    /// Sets the position of the record that made the order.
    pub(crate) fn set_created_seq(&mut self, seq: u64) {
        self.created = U48::new(seq);
    }

    /// Sets the position of the order's last record; beyond 2^32 records after the first it is
    /// not kept exactly and `false` is returned.
    pub(crate) fn set_last_seq(&mut self, seq: u64) -> bool {
        match u32::try_from(seq - self.created.get()) {
            Ok(delta) => {
                self.last_delta = delta;
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) const fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.deadline.get())
    }

    pub(crate) fn set_deadline(&mut self, deadline: Timestamp) {
        self.deadline = U48::new(deadline.millis());
    }

    /// Returns the cell and units of a simple order.
    pub(crate) const fn simple(&self) -> Option<(CellNo, u32)> {
        if self.total_status & FLAG_DETAILED == 0 {
            Some((CellNo(self.place), self.quantity))
        } else {
            None
        }
    }

    /// Returns the slot of the detail of an order that is not simple.
    pub(crate) const fn detail(&self) -> Option<u32> {
        if self.total_status & FLAG_DETAILED == 0 { None } else { Some(self.place) }
    }

    pub(crate) fn set_simple(&mut self, cell: CellNo, quantity: u32) {
        self.total_status &= !FLAG_DETAILED;
        self.place = cell.0;
        self.quantity = quantity;
    }

    pub(crate) fn set_detail(&mut self, slot: u32) {
        self.total_status |= FLAG_DETAILED;
        self.place = slot;
        self.quantity = 0;
    }

    /// Length of the stored form.
    pub(crate) const BYTES: usize = 64;

    /// Appends the stored form, byte for byte the fields in order.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key[0].to_le_bytes());
        out.extend_from_slice(&self.key[1].to_le_bytes());
        out.extend_from_slice(&self.customer.to_le_bytes());
        out.extend_from_slice(&self.total_status.to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.last_delta.to_le_bytes());
        for half in self.created.0.into_iter().chain(self.deadline.0) {
            out.extend_from_slice(&half.to_le_bytes());
        }
        out.extend_from_slice(&self.place.to_le_bytes());
        out.extend_from_slice(&self.quantity.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.currency_risk.to_le_bytes());
    }

    /// Returns whether a stored form is that of an empty slot.
    pub(crate) const fn is_stored_free(bytes: &[u8; Self::BYTES]) -> bool {
        bytes[24].trailing_zeros() >= 4
    }

    /// Reads the stored form.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Self {
            key: [u64_at(0), u64_at(8)],
            customer: u64_at(16),
            total_status: u64_at(24) as i64,
            fingerprint: u32_at(32),
            last_delta: u32_at(36),
            created: U48([u16_at(40), u16_at(42), u16_at(44)]),
            deadline: U48([u16_at(46), u16_at(48), u16_at(50)]),
            place: u32_at(52),
            quantity: u32_at(56),
            version: u16_at(60),
            currency_risk: u16_at(62),
        }
    }
}

/// Returns the status of a stored number.
pub(crate) const fn status_of(number: u8) -> Option<OrderStatus> {
    Some(match number {
        1 => OrderStatus::Reserved,
        2 => OrderStatus::Placed,
        3 => OrderStatus::Completed,
        4 => OrderStatus::Expired,
        5 => OrderStatus::Cancelled,
        6 => OrderStatus::Rejected,
        _ => return None,
    })
}

/// One line of an order with a detail: units, or kits of a kit line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrderLine {
    pub(crate) sku: u32,
    pub(crate) asked: u32,
    pub(crate) granted: u32,
    pub(crate) shipped: u32,
    pub(crate) cancelled: u32,
    pub(crate) short: u32,
}

/// Units of one line in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) line: u16,
    /// SKU of the cell: the line's, or one of its kit's components.
    pub(crate) sku: u32,
    pub(crate) cell: CellNo,
    pub(crate) reserved: u32,
    pub(crate) committed: u32,
}

/// Lines and parts of an order that is not simple.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) parts: Vec<Part>,
    /// Hard deadline in milliseconds; reservations only.
    pub(crate) hard_deadline: u64,
    /// Deadline of the first receipt in milliseconds; reservations only.
    pub(crate) first_deadline: u64,
}

impl Detail {
    pub(crate) fn memory_bytes(&self) -> usize {
        // Lengths, not capacities: a copy must count the same.
        size_of::<Self>()
            + self.lines.len() * size_of::<OrderLine>()
            + self.parts.len() * size_of::<Part>()
    }
}
