//! What is asked of the target and what it answered, free of any wire form.

use std::time::Instant;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
pub enum OpKind {
    /// Places an order in one step.
    Buy,
    /// Reserves a basket.
    Reserve,
    /// Turns a reservation into an order.
    Place,
    /// Gives a reservation up.
    Release,
    /// Takes a placed order back.
    Cancel,
    /// Looks at the stock of a SKU.
    Browse,
    /// Asks what a basket would cost.
    Quote,
    /// Looks at an order.
    Poll,
}

impl OpKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Buy,
        Self::Reserve,
        Self::Place,
        Self::Release,
        Self::Cancel,
        Self::Browse,
        Self::Quote,
        Self::Poll,
    ];

    /// Returns whether it makes an order.
    pub const fn makes_order(self) -> bool {
        matches!(self, Self::Buy | Self::Reserve)
    }

    /// Returns whether it sells: what it makes an order of is paid, not only held.
    pub const fn sells(self) -> bool {
        matches!(self, Self::Buy | Self::Place)
    }

    /// Returns whether it only looks; such a request needs no key and can be no item of a batch.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::Browse | Self::Quote | Self::Poll)
    }

    /// Returns the name that reports and batches use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Reserve => "reserve",
            Self::Place => "place",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Browse => "browse",
            Self::Quote => "quote",
            Self::Poll => "poll",
        }
    }
}

/// Price of a line as decided by the caller, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
pub struct Price {
    /// Price of one unit.
    pub unit: i64,
    /// Discount on the whole line.
    pub discount: i64,
}

/// One line of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// Idempotency key.
    pub key: String,
    /// Customer of `buy`, `reserve` and `quote`; empty for none.
    pub customer: String,
    /// Lines of `buy`, `reserve` and `quote`; the first names the SKU of `browse`.
    pub lines: Vec<AskLine>,
    /// Time to live of `reserve` in milliseconds.
    pub ttl_ms: u64,
    /// Order that `place`, `release`, `cancel` and `poll` are about.
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

/// A request with the intent behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Number of the buyer's intent; a duplicate carries the number of its first sending.
    pub intent: u64,
    /// The request.
    pub op: Op,
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
    /// Total of a receipt in minor units.
    pub total: Option<i64>,
    /// Deadline of a reservation in milliseconds since 1970; 0 where there is none.
    pub deadline_ms: u64,
    /// Hash of the body's bytes.
    pub body_hash: u64,
    /// When the answer was complete.
    pub done: Instant,
}

impl Answer {
    /// Makes an answer that tells no more than its status and code.
    #[cfg(any(test, feature = "inproc"))]
    pub(crate) const fn bare(status: u16, code: &'static str, done: Instant) -> Self {
        Self {
            status,
            code,
            order: None,
            seq: 0,
            replayed: false,
            line: None,
            found: None,
            total: None,
            deadline_ms: 0,
            body_hash: 0,
            done,
        }
    }

    /// Returns whether the request was carried out.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Returns whether the request may have been carried out, or still be, although the answer is
    /// no success: it is under way, or the target failed at it and does not say that it did nothing.
    pub fn leaves_open(&self) -> bool {
        match self.code {
            "idempotency_in_flight" => true,
            code => self.status >= 500 && !NOTHING_DONE.contains(&code),
        }
    }

    /// Returns whether the answer tells what came of an earlier sending of the same request. One
    /// that was given before anybody looked at the key tells nothing of it.
    pub fn settles(&self) -> bool {
        let before_the_key = matches!(self.status, 401 | 408 | 429);
        !before_the_key && self.status < 500 && self.code != "idempotency_in_flight"
    }
}

/// Codes of failures after which nothing was done, as their pages say.
const NOTHING_DONE: &[&str] = &[
    "busy",
    "capacity_reached",
    "contended",
    "decision_invalid",
    "lagging",
    "overloaded",
    "plugin_failed",
    "policy_unknown",
    "read_only",
    "shutting_down",
];

/// Why a request has no answer: it may or may not have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
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
    /// Every reason, in the order of reports.
    pub const ALL: [Self; 4] =
        [Self::Timeout, Self::Connection, Self::Malformed, Self::Unreachable];

    /// Returns the stable name that records and thresholds use.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection_lost",
            Self::Malformed => "malformed_answer",
            Self::Unreachable => "no_connection",
        }
    }

    /// Returns the words that errors use.
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
    /// List price of one unit in minor units.
    pub price: i64,
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

    /// Returns what a basket costs by list prices and the prices that it states; `None` if that
    /// is more than 64 bits hold.
    pub fn total(&self, lines: &[AskLine]) -> Option<i64> {
        lines.iter().try_fold(0_i64, |sum, line| {
            let (unit, discount) = match line.price {
                Some(price) => (price.unit, price.discount),
                None => (self.sku(line.sku).price, 0),
            };
            let amount = unit.checked_mul(i64::from(line.quantity))?.checked_sub(discount)?;
            sum.checked_add(amount)
        })
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

/// Reads a time of RFC 3339 in UTC, such as `2026-01-01T00:00:00.000Z`, as milliseconds since 1970.
pub(crate) fn millis_from_text(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.into_iter().all(|(at, byte)| mark(at, byte)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let date = (1..=12).contains(&month) && (1..=31).contains(&day) && year >= 1970;
    if !date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = match text.get(19..)? {
        "Z" => 0,
        rest => {
            let digits = rest.strip_prefix('.')?.strip_suffix('Z')?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let three = plain.then(|| digits.bytes().chain(*b"00").take(3))?;
            three.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        }
    };
    let days = days_of_civil(year, month, day);
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + millis)
}

/// Returns the days from 1970 to a date.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
const fn days_of_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468
}

/// The code of an answer that names none, or none of the contract.
pub const OTHER_CODE: &str = "other";

/// Every code of the contract; an answer with another one is counted as [`OTHER_CODE`].
pub const CODES: &[&str] = &[
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
    "quote_invalid",
    "bad_cursor",
    "fraud_denied",
    "plugin_untrusted",
    "quote_expired",
    "risk_open",
    "price_refused",
    "plugin_refused",
    "internal",
    "decision_invalid",
    "policy_unknown",
    "plugin_failed",
    // Not of Onhand yet, but of its contract.
    "admission_full",
    "duplicate_external_id",
    "erased",
    "gate_ticket_required",
    "key_expired",
    "payment_failed",
    "payment_required",
    "precondition_required",
    "rate_limited",
    "sale_not_open",
    "scope_missing",
    "tenant_mismatch",
];

/// Returns the code of the contract that a text names, or `other`.
pub fn known_code(text: &str) -> &'static str {
    CODES.iter().find(|code| **code == text).copied().unwrap_or(OTHER_CODE)
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

    /// Times are read to the millisecond; what is no time is refused.
    #[test]
    fn times_are_read() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(millis_from_text(text), millis, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:00:01.5Z", Some(1_500));
        check("2000-02-29T00:00:00.001Z", Some(951_782_400_001));
        check("2024-12-31T23:59:59.123456Z", Some(1_735_689_599_123));
        for bad in [
            "",
            "1970-01-01",
            "1969-01-01T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+01:00",
            "1970-01-01T00:00:0xZ",
        ] {
            check(bad, None);
        }
    }

    /// A request is refused for good, refused for now, or open; an answer that was given before the
    /// key was looked at tells nothing about an earlier sending.
    #[test]
    fn answers_tell_what_is_known() {
        let check = |status, code: &'static str, wanted: (bool, bool)| {
            let found = Answer::bare(status, code, Instant::now());
            assert_eq!((found.leaves_open(), found.settles()), wanted, "{status} {code}");
        };
        check(201, "", (false, true));
        check(409, "sold_out", (false, true));
        check(409, "idempotency_in_flight", (true, false));
        check(429, "too_many_connections", (false, false));
        check(401, "unauthenticated", (false, false));
        check(500, "internal", (true, false));
        check(500, "decision_invalid", (false, false));
        check(503, "stopped", (true, false));
        check(503, "overloaded", (false, false));
        check(504, "other", (true, false));
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
