//! What is asked of the target and what it answered, free of any wire form.

use std::time::Instant;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpKind {
    /// Places an order in one step.
    Buy,
    /// Reserves a basket.
    Reserve,
    /// Turns a reservation into an order.
    Place,
    /// Gives a reservation up.
    Release,
}

impl OpKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Buy, Self::Reserve, Self::Place, Self::Release];

    /// Returns the name that reports and batches use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Reserve => "reserve",
            Self::Place => "place",
            Self::Release => "release",
        }
    }
}

/// Price of a line as decided by the caller, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Price of one unit.
    pub unit: i64,
    /// Discount on the whole line.
    pub discount: i64,
}

/// One line of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskLine {
    /// SKU, as its index in the run's [`Catalogue`].
    pub sku: u32,
    /// Units.
    pub quantity: u32,
    /// Location to take them from; 0 leaves the choice to the engine.
    pub location: u32,
    /// Decided price, or the list price.
    pub price: Option<Price>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// Idempotency key.
    pub key: String,
    /// Customer of `buy` and `reserve`; empty for none.
    pub customer: String,
    /// Lines of `buy` and `reserve`.
    pub lines: Vec<AskLine>,
    /// Time to live of `reserve` in milliseconds.
    pub ttl_ms: u64,
    /// Order that `place` and `release` are about.
    pub order: u128,
}

impl Op {
    /// Makes a follow-up to the order of a reservation.
    pub fn follow_up(kind: OpKind, key: String, order: u128) -> Self {
        Self { kind, key, customer: String::new(), lines: Vec::new(), ttl_ms: 0, order }
    }

    /// Returns the units over all lines.
    pub fn units(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }

    /// Returns the units of the SKU and location of one line, summed over all lines that share
    /// them, or `None` if there is no such line.
    pub fn asked_with(&self, line: usize) -> Option<(AskLine, u64)> {
        let named = *self.lines.get(line)?;
        let same = |l: &&AskLine| l.sku == named.sku && l.location == named.location;
        let asked = self.lines.iter().filter(same).map(|l| u64::from(l.quantity)).sum();
        Some((named, asked))
    }
}

/// What is sent in one slot of the schedule, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Number of the buyer's intent; a duplicate carries the number of its first sending.
    pub intent: u64,
    /// The request.
    pub op: Op,
    /// What the buyer does once a reservation was accepted.
    pub then: Option<OpKind>,
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status, or the one that HTTP would have given.
    pub status: u16,
    /// Problem code of a refusal, empty for a success.
    pub code: &'static str,
    /// The order of a receipt.
    pub order: Option<u128>,
    /// Journal position that the answer reflects; 0 if it names none.
    pub seq: u64,
    /// Whether the target says that this is its first answer again.
    pub replayed: bool,
    /// Line that a refusal is about.
    pub line: Option<u32>,
    /// Units that a refusal says there are.
    pub found: Option<u64>,
    /// Hash of the body's bytes.
    pub body_hash: u64,
    /// When the answer was complete.
    pub done: Instant,
}

impl Answer {
    /// Returns whether the request was carried out.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// Why a request has no answer: it may or may not have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// No answer within the time limit.
    Timeout,
    /// The connection broke before the answer was complete.
    Connection,
    /// The answer was not HTTP, or not the JSON that the contract names.
    Malformed,
    /// The connection could not be made; the request was not sent.
    Unreachable,
}

impl Loss {
    /// Returns the name that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection lost",
            Self::Malformed => "malformed answer",
            Self::Unreachable => "no connection",
        }
    }
}

/// An answer, or the reason why there is none.
pub type Outcome = Result<Answer, Loss>;

/// One SKU of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSku {
    /// The seller's code.
    pub code: String,
    /// Most units for one customer.
    pub limit: Option<u32>,
    /// Units that the run put in.
    pub put_in: u64,
}

/// The SKUs of a run; everything else names them by their index.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    skus: Vec<RunSku>,
    by_code: std::collections::HashMap<String, u32>,
}

impl Catalogue {
    /// Most SKUs of one run.
    pub const SKUS_MAX: usize = 4_000_000;

    /// Adds a SKU and returns its index; `None` if its code is there already or the table is full.
    pub fn add(&mut self, sku: RunSku) -> Option<u32> {
        let index = self.skus.len() as u32;
        if self.skus.len() >= Self::SKUS_MAX || self.by_code.contains_key(&sku.code) {
            return None;
        }
        self.by_code.insert(sku.code.clone(), index);
        self.skus.push(sku);
        Some(index)
    }

    /// Returns the index of a code.
    pub fn find(&self, code: &str) -> Option<u32> {
        self.by_code.get(code).copied()
    }

    /// Returns the SKU of an index that [`Catalogue::add`] returned.
    pub fn sku(&self, index: u32) -> &RunSku {
        &self.skus[index as usize]
    }

    /// Counts units that the run puts in.
    pub fn put_in(&mut self, index: u32, units: u64) {
        self.skus[index as usize].put_in += units;
    }

    /// Returns all SKUs in the order of their indexes.
    pub fn skus(&self) -> &[RunSku] {
        &self.skus
    }
}

/// Crockford's base 32 alphabet, of which order ids are made.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Reads `ord_` and 26 characters of Crockford's base 32.
pub fn order_from_text(text: &str) -> Option<u128> {
    let body = text.strip_prefix("ord_")?;
    if body.len() != 26 {
        return None;
    }
    let mut bits: u128 = 0;
    for (at, byte) in body.bytes().enumerate() {
        let upper = byte.to_ascii_uppercase();
        let value = CROCKFORD.iter().position(|c| *c == upper)?;
        if at == 0 && value > 7 {
            return None;
        }
        bits = (bits << 5) | value as u128;
    }
    Some(bits)
}

/// Writes an order id as `ord_` and 26 characters.
pub fn order_to_text(order: u128) -> String {
    let mut text = *b"ord_00000000000000000000000000";
    let mut rest = order;
    for slot in text[4..].iter_mut().rev() {
        *slot = CROCKFORD[(rest & 31) as usize];
        rest >>= 5;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Every code of the contract; an answer with another one is counted as `other`.
const CODES: &[&str] = &[
    "invalid_request",
    "unknown_field",
    "idempotency_key_missing",
    "line_count",
    "quantity_invalid",
    "ttl_invalid",
    "amount_invalid",
    "definition_invalid",
    "location_invalid",
    "kit_mismatch",
    "currency_mismatch",
    "customer_required",
    "unauthenticated",
    "not_found",
    "sku_unknown",
    "transfer_unknown",
    "method_not_allowed",
    "request_timeout",
    "sold_out",
    "partial_only",
    "limit_reached",
    "price_changed",
    "state_conflict",
    "over_committed",
    "stale_count",
    "stock_short",
    "sku_fixed",
    "sku_code_taken",
    "idempotency_in_flight",
    "reservation_expired",
    "seq_too_old",
    "stale_version",
    "too_large",
    "uri_too_long",
    "headers_too_large",
    "unsupported_media",
    "idempotency_key_reused",
    "too_many_connections",
    "busy",
    "contended",
    "capacity_reached",
    "lagging",
    "shutting_down",
    "read_only",
    "overloaded",
    "stopped",
];

/// Returns the code of the contract that a text names, or `other`.
pub fn known_code(text: &str) -> &'static str {
    CODES.iter().find(|code| **code == text).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Order ids survive the way to text and back; what is no order id is refused.
    #[test]
    fn order_ids_are_read_and_written() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89AB_CDEF_0011_2233_4455_6677] {
            assert_eq!(order_from_text(&order_to_text(bits)), Some(bits));
        }
        for bad in [
            "",
            "ord_",
            "ord_0",
            "sku_00000000000000000000000000",
            "ord_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "ord_0000000000000000000000000U",
        ] {
            assert_eq!(order_from_text(bad), None, "{bad}");
        }
    }

    /// A line's demand is summed with the other lines of the same SKU and location.
    #[test]
    fn demand_is_summed_over_equal_lines() {
        let line = |sku, quantity, location| AskLine { sku, quantity, location, price: None };
        let mut op = Op::follow_up(OpKind::Buy, "k".into(), 0);
        op.lines = vec![line(1, 2, 7), line(2, 9, 7), line(1, 3, 7), line(1, 4, 8)];
        assert_eq!(op.asked_with(2), Some((op.lines[2], 5)));
        assert_eq!(op.asked_with(4), None);
        assert_eq!(op.units(), 18);
    }
}
