//! What a policy is told: flat records of integers, orders beside one shared list of lines.
//!
//! The records have the same fields as those of the WIT packages, in the same order. A batch is
//! checked when it is made, so that whoever decides on it can trust every range. No clock, no
//! look-up and no decision lives here.

use std::fmt;

use onhand_core::limits::LINES_MAX;
use onhand_core::{Money, Quantity};

/// Most orders or requests of one batch.
pub const BATCH_HEADERS_MAX: usize = 4_096;
/// Most coupons that one order may bring.
pub const COUPONS_MAX: usize = 32;
/// Most items that one request for recommendations may name.
pub const ITEMS_MAX: usize = 512;
/// Most candidates of one request for recommendations.
pub const CANDIDATES_MAX: usize = 4_096;
/// Most recommendations that one request may ask for.
pub const PICKS_MAX: u32 = 100;
/// `distance_km` of an order whose distance is not known.
pub const DISTANCE_UNKNOWN: u32 = u32::MAX;

const _: () = assert!(BATCH_HEADERS_MAX * CANDIDATES_MAX <= u32::MAX as usize);
const _: () = assert!(BATCH_HEADERS_MAX * LINES_MAX <= u32::MAX as usize);

/// One order to be priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PricingHeader {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// The shop's own segment of the customer; 0 for none.
    pub segment: u32,
    /// Time of the request in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// Currency by its ISO 4217 number, 1 to 999.
    pub currency: u32,
    /// Index of the order's first line in the batch's lines.
    pub first_line: u32,
    /// Number of its lines, 1 to 512.
    pub line_count: u32,
    /// Index of the order's first coupon in the batch's coupons.
    pub first_coupon: u32,
    /// Number of its coupons, at most [`COUPONS_MAX`].
    pub coupon_count: u32,
}

/// One line of an order to be priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PricingLine {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// The shop's own class of goods; 0 for none.
    pub class: u32,
    /// Location that the line is taken from; 0 for any.
    pub location: u32,
    /// Units, 1 to 1,000,000,000.
    pub quantity: u32,
    /// List price of one unit in minor units, not negative.
    pub unit: i64,
}

/// One order to be scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FraudHeader {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// Hash of the address; 0 if it is not known.
    pub address: u64,
    /// Hash of the device; 0 if it is not known.
    pub device: u64,
    /// Time of the request in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// Currency by its ISO 4217 number, 1 to 999.
    pub currency: u32,
    /// Total to be paid in minor units, not negative.
    pub total: i64,
    /// Units over all lines.
    pub units: u32,
    /// Days since the customer's account was made.
    pub customer_age_days: u32,
    /// Kilometres between where the buyer is and where the goods go, or [`DISTANCE_UNKNOWN`].
    pub distance_km: u32,
    /// Orders of the customer within the last hour, this one not counted.
    pub customer_orders_hour: u32,
    /// Orders of the customer within the last 24 hours, this one not counted.
    pub customer_orders_day: u32,
    /// Amount of those orders in minor units, not negative.
    pub customer_amount_day: i64,
    /// Orders to the address within the last hour, this one not counted.
    pub address_orders_hour: u32,
    /// Different customers with an order to the address within the last 24 hours.
    pub address_customers_day: u32,
    /// Orders from the device within the last hour, this one not counted.
    pub device_orders_hour: u32,
    /// Different customers with an order from the device within the last 24 hours.
    pub device_customers_day: u32,
    /// Index of the order's first line in the batch's lines.
    pub first_line: u32,
    /// Number of its lines, 1 to 512.
    pub line_count: u32,
}

/// One line of an order to be scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FraudLine {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// Units, 1 to 1,000,000,000.
    pub quantity: u32,
    /// Price of one unit in minor units, not negative.
    pub unit: i64,
}

/// One request for recommendations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecommendRequest {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// Time of the request in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// Index of the request's first item in the batch's items.
    pub first_item: u32,
    /// Number of its items, at most [`ITEMS_MAX`]; 0 asks for best sellers.
    pub item_count: u32,
    /// Index of the request's first candidate in the batch's candidates.
    pub first_candidate: u32,
    /// Number of its candidates, at most [`CANDIDATES_MAX`].
    pub candidate_count: u32,
    /// Most recommendations wanted, 1 to [`PICKS_MAX`].
    pub limit: u32,
}

/// One SKU that may be recommended, with what is known of it beside one item of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// Baskets with this and the item.
    pub together: u32,
    /// Baskets with this.
    pub alone: u32,
    /// Baskets with the item.
    pub items: u32,
    /// Rank among best sellers, 0 first; the largest number if it has none.
    pub popularity: u32,
    /// Units that may be promised now.
    pub available: u32,
}

/// Why facts are no batch: a field of one record is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactError {
    /// Name of the field.
    pub field: &'static str,
    /// Index of the record in its list.
    pub index: usize,
    /// Value found; [`i64::MAX`] for one that does not fit.
    pub value: i64,
    /// Least value allowed.
    pub min: i64,
    /// Largest value allowed.
    pub max: i64,
}

impl fmt::Display for FactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, index, value, min, max } = self;
        write!(f, "{field} of record {index} is {value}, outside {min}..={max}")
    }
}

impl std::error::Error for FactError {}

fn range(
    field: &'static str,
    index: usize,
    value: i64,
    min: i64,
    max: i64,
) -> Result<(), FactError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(FactError { field, index, value, min, max })
}

/// Walks over ranges that must follow each other without gap or overlap.
struct Tiles {
    names: [&'static str; 2],
    next: usize,
    min: usize,
    max: usize,
}

impl Tiles {
    const fn new(names: [&'static str; 2], min: usize, max: usize) -> Self {
        Self { names, next: 0, min, max }
    }

    fn step(&mut self, index: usize, first: u32, count: u32) -> Result<(), FactError> {
        let next = self.next as i64;
        range(self.names[0], index, first.into(), next, next)?;
        range(self.names[1], index, count.into(), self.min as i64, self.max as i64)?;
        self.next += count as usize;
        Ok(())
    }

    fn end(&self, headers: usize, length: usize) -> Result<(), FactError> {
        // The last record's range is the one that ends too early or too late.
        let index = headers.saturating_sub(1);
        range(self.names[1], index, self.next as i64, length as i64, length as i64)
    }
}

/// Returns price times quantity, or the error if it is more than money can hold.
fn amount(index: usize, quantity: u32, unit: i64) -> Result<i64, FactError> {
    range("quantity", index, quantity.into(), 1, Quantity::MAX.units().into())?;
    range("unit", index, unit, 0, Money::MINOR_MAX)?;
    let amount = unit.checked_mul(quantity.into()).unwrap_or(i64::MAX);
    range("unit * quantity", index, amount, 0, Money::MINOR_MAX)?;
    Ok(amount)
}

fn sliced<T>(list: &[T], first: u32, count: u32) -> &[T] {
    let first = first as usize;
    list.get(first..first + count as usize).unwrap_or_default()
}

/// Facts on their way into a hash: those of a common order are hashed at once, for a hash of a
/// field at a time takes several times as long.
struct Absorb {
    /// What did not fit into the block.
    before: Option<blake3::Hasher>,
    block: [u8; BLOCK],
    filled: usize,
}

/// Bytes of facts that are hashed together: those of 14 lines.
const BLOCK: usize = 512;

impl Absorb {
    const fn new() -> Self {
        Self { before: None, block: [0; BLOCK], filled: 0 }
    }

    /// Makes room for the fields of one record, at most a block.
    #[inline]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.filled + bytes > BLOCK {
            self.make_room();
        }
        let first = self.filled;
        self.filled += bytes;
        &mut self.block[first..first + bytes]
    }

    fn make_room(&mut self) {
        let before = self.before.get_or_insert_with(blake3::Hasher::new);
        before.update(&self.block[..self.filled]);
        self.filled = 0;
    }

    fn first_8_bytes(&mut self) -> u64 {
        let last = &self.block[..self.filled];
        let hash = match &mut self.before {
            None => blake3::hash(last),
            Some(before) => before.update(last).finalize(),
        };
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(first)
    }
}

/// Takes the bytes of the fields of one record.
macro_rules! absorb {
    ($facts:expr, $($field:expr),+ $(,)?) => {{
        // The sizes are known here, so that one check of the room is all that is left.
        let room = $facts.room(0 $( + size_of_val(&$field) )+);
        $(
            let (own, room) = room.split_at_mut(size_of_val(&$field));
            own.copy_from_slice(&$field.to_le_bytes());
        )+
        debug_assert!(room.is_empty());
    }};
}

/// Orders to be priced together, checked: every line and coupon belongs to exactly one order, no
/// line and no order costs more than [`Money::MINOR_MAX`].
///
/// # Example
///
/// ```
/// use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
///
/// let header = PricingHeader { currency: 978, line_count: 1, ..PricingHeader::default() };
/// let line = PricingLine { sku: 7, quantity: 2, unit: 12_99, ..PricingLine::default() };
/// let (headers, lines) = ([header], [line]);
/// let batch = PricingBatch::new(&headers, &lines, &[])?;
/// assert_eq!(batch.list_total(0), 25_98);
///
/// let none = [PricingLine { quantity: 0, ..line }];
/// let error = PricingBatch::new(&headers, &none, &[]).err().map(|e| e.to_string());
/// let text = "quantity of record 0 is 0, outside 1..=1000000000";
/// assert_eq!(error.as_deref(), Some(text));
/// # Ok::<(), onhand_policy::fact::FactError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PricingBatch<'a> {
    headers: &'a [PricingHeader],
    lines: &'a [PricingLine],
    coupons: &'a [u64],
}

impl<'a> PricingBatch<'a> {
    /// Checks the facts and makes a batch of them.
    ///
    /// # Errors
    ///
    /// Returns the first field that is outside its range.
    pub fn new(
        headers: &'a [PricingHeader],
        lines: &'a [PricingLine],
        coupons: &'a [u64],
    ) -> Result<Self, FactError> {
        range("headers", 0, headers.len() as i64, 0, BATCH_HEADERS_MAX as i64)?;
        let mut line_tiles = Tiles::new(["first_line", "line_count"], 1, LINES_MAX);
        let mut coupon_tiles = Tiles::new(["first_coupon", "coupon_count"], 0, COUPONS_MAX);
        for (index, header) in headers.iter().enumerate() {
            range("currency", index, header.currency.into(), 1, 999)?;
            line_tiles.step(index, header.first_line, header.line_count)?;
            coupon_tiles.step(index, header.first_coupon, header.coupon_count)?;
        }
        line_tiles.end(headers.len(), lines.len())?;
        coupon_tiles.end(headers.len(), coupons.len())?;
        for (index, header) in headers.iter().enumerate() {
            let mut total = 0_i64;
            for at in header.first_line..header.first_line + header.line_count {
                let line = &lines[at as usize];
                // At most 512 amounts below 2^53: no overflow.
                total += amount(at as usize, line.quantity, line.unit)?;
            }
            range("total", index, total, 0, Money::MINOR_MAX)?;
        }
        Ok(Self { headers, lines, coupons })
    }

    /// Returns the orders.
    pub const fn headers(&self) -> &'a [PricingHeader] {
        self.headers
    }

    /// Returns the lines of all orders.
    pub const fn lines(&self) -> &'a [PricingLine] {
        self.lines
    }

    /// Returns the coupons of all orders: each the 64 bits of a SKU of kind coupon.
    pub const fn coupons(&self) -> &'a [u64] {
        self.coupons
    }

    /// Returns the lines of one order; none for an index outside.
    pub fn lines_of(&self, order: usize) -> &'a [PricingLine] {
        self.headers.get(order).map_or(&[], |h| sliced(self.lines, h.first_line, h.line_count))
    }

    /// Returns the coupons of one order; none for an index outside.
    pub fn coupons_of(&self, order: usize) -> &'a [u64] {
        self.headers
            .get(order)
            .map_or(&[], |h| sliced(self.coupons, h.first_coupon, h.coupon_count))
    }

    /// Returns the sum of list prices of one order in minor units; 0 for an index outside.
    pub fn list_total(&self, order: usize) -> i64 {
        self.lines_of(order).iter().map(|line| line.unit * i64::from(line.quantity)).sum()
    }

    /// Returns the first 8 bytes of the BLAKE3 of one order's facts, which do not depend on its
    /// place in the batch; 0 for an index outside.
    pub fn input_hash(&self, order: usize) -> u64 {
        let Some(header) = self.headers.get(order) else { return 0 };
        let mut facts = Absorb::new();
        let PricingHeader { customer, segment, now, currency, .. } = *header;
        absorb!(facts, customer, segment, now, currency, header.line_count, header.coupon_count);
        for line in self.lines_of(order) {
            let PricingLine { sku, class, location, quantity, unit } = *line;
            absorb!(facts, sku, class, location, quantity, unit);
        }
        for coupon in self.coupons_of(order) {
            absorb!(facts, *coupon);
        }
        facts.first_8_bytes()
    }
}

/// Orders to be scored together, checked: every line belongs to exactly one order.
#[derive(Clone, Copy, Debug)]
pub struct FraudBatch<'a> {
    headers: &'a [FraudHeader],
    lines: &'a [FraudLine],
}

impl<'a> FraudBatch<'a> {
    /// Checks the facts and makes a batch of them.
    ///
    /// # Errors
    ///
    /// Returns the first field that is outside its range.
    pub fn new(headers: &'a [FraudHeader], lines: &'a [FraudLine]) -> Result<Self, FactError> {
        range("headers", 0, headers.len() as i64, 0, BATCH_HEADERS_MAX as i64)?;
        let mut tiles = Tiles::new(["first_line", "line_count"], 1, LINES_MAX);
        for (index, header) in headers.iter().enumerate() {
            range("currency", index, header.currency.into(), 1, 999)?;
            range("total", index, header.total, 0, Money::MINOR_MAX)?;
            range("customer_amount_day", index, header.customer_amount_day, 0, i64::MAX)?;
            tiles.step(index, header.first_line, header.line_count)?;
        }
        tiles.end(headers.len(), lines.len())?;
        for (index, line) in lines.iter().enumerate() {
            amount(index, line.quantity, line.unit)?;
        }
        Ok(Self { headers, lines })
    }

    /// Returns the orders.
    pub const fn headers(&self) -> &'a [FraudHeader] {
        self.headers
    }

    /// Returns the lines of all orders.
    pub const fn lines(&self) -> &'a [FraudLine] {
        self.lines
    }

    /// Returns the lines of one order; none for an index outside.
    pub fn lines_of(&self, order: usize) -> &'a [FraudLine] {
        self.headers.get(order).map_or(&[], |h| sliced(self.lines, h.first_line, h.line_count))
    }

    /// Returns the first 8 bytes of the BLAKE3 of one order's facts, which do not depend on its
    /// place in the batch; 0 for an index outside.
    pub fn input_hash(&self, order: usize) -> u64 {
        let Some(h) = self.headers.get(order) else { return 0 };
        let mut facts = Absorb::new();
        absorb!(facts, h.customer, h.address, h.device, h.now, h.currency, h.total, h.units);
        absorb!(facts, h.customer_age_days, h.distance_km);
        absorb!(facts, h.customer_orders_hour, h.customer_orders_day, h.customer_amount_day);
        absorb!(facts, h.address_orders_hour, h.address_customers_day);
        absorb!(facts, h.device_orders_hour, h.device_customers_day, h.line_count);
        for line in self.lines_of(order) {
            absorb!(facts, line.sku, line.quantity, line.unit);
        }
        facts.first_8_bytes()
    }
}

/// Requests for recommendations, checked: every item and candidate belongs to exactly one.
#[derive(Clone, Copy, Debug)]
pub struct RecommendBatch<'a> {
    requests: &'a [RecommendRequest],
    items: &'a [u64],
    candidates: &'a [Candidate],
}

impl<'a> RecommendBatch<'a> {
    /// Checks the facts and makes a batch of them.
    ///
    /// # Errors
    ///
    /// Returns the first field that is outside its range.
    pub fn new(
        requests: &'a [RecommendRequest],
        items: &'a [u64],
        candidates: &'a [Candidate],
    ) -> Result<Self, FactError> {
        range("requests", 0, requests.len() as i64, 0, BATCH_HEADERS_MAX as i64)?;
        let mut item_tiles = Tiles::new(["first_item", "item_count"], 0, ITEMS_MAX);
        let names = ["first_candidate", "candidate_count"];
        let mut candidate_tiles = Tiles::new(names, 0, CANDIDATES_MAX);
        for (index, request) in requests.iter().enumerate() {
            range("limit", index, request.limit.into(), 1, PICKS_MAX.into())?;
            item_tiles.step(index, request.first_item, request.item_count)?;
            candidate_tiles.step(index, request.first_candidate, request.candidate_count)?;
        }
        item_tiles.end(requests.len(), items.len())?;
        candidate_tiles.end(requests.len(), candidates.len())?;
        Ok(Self { requests, items, candidates })
    }

    /// Returns the requests.
    pub const fn requests(&self) -> &'a [RecommendRequest] {
        self.requests
    }

    /// Returns the items of all requests, each the 64 bits of a SKU.
    pub const fn items(&self) -> &'a [u64] {
        self.items
    }

    /// Returns the candidates of all requests.
    pub const fn candidates(&self) -> &'a [Candidate] {
        self.candidates
    }

    /// Returns the items of one request; none for an index outside.
    pub fn items_of(&self, request: usize) -> &'a [u64] {
        self.requests.get(request).map_or(&[], |r| sliced(self.items, r.first_item, r.item_count))
    }

    /// Returns the candidates of one request; none for an index outside.
    pub fn candidates_of(&self, request: usize) -> &'a [Candidate] {
        self.requests
            .get(request)
            .map_or(&[], |r| sliced(self.candidates, r.first_candidate, r.candidate_count))
    }
}
