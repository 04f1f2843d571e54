//! Pricing: what an order is told, and what may be taken off its price.

use crate::config::ConfigError;
use crate::part;

/// `kind` of an adjustment that takes an amount off one line.
pub const KIND_LINE: u32 = 0;
/// `kind` of an adjustment that takes an amount off an order.
pub const KIND_ORDER: u32 = 1;
/// `kind` of an adjustment that refuses an order.
pub const KIND_REFUSAL: u32 = 2;
/// `kind` of an adjustment that says that a coupon was used.
pub const KIND_COUPON: u32 = 3;

/// One order, as WIT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// The shop's own segment of the customer; 0 for none.
    pub segment: u32,
    /// Milliseconds since 1970-01-01 UTC: the only clock that there is.
    pub now: u64,
    /// Currency by its ISO 4217 number, 1 to 999.
    pub currency: u32,
    /// Index of the order's first line in the batch.
    pub first_line: u32,
    /// Number of its lines, 1 to 512.
    pub line_count: u32,
    /// Index of the order's first coupon in the batch.
    pub first_coupon: u32,
    /// Number of its coupons, at most 32.
    pub coupon_count: u32,
}

/// One line of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Line {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// The shop's own class of goods; 0 for none.
    pub class: u32,
    /// Location that the line is taken from; 0 for any.
    pub location: u32,
    /// Units, 1 to 1,000,000,000.
    pub quantity: u32,
    /// List price of one unit in minor units of the currency, not negative.
    pub unit: i64,
}

impl Line {
    /// Returns list price times quantity in minor units, at most 2^53 - 1.
    pub const fn amount(&self) -> i64 {
        // The host has checked that it fits; WebAssembly would take a dozen steps to check it again.
        self.unit.wrapping_mul(self.quantity as i64)
    }
}

/// One step of a price, as WIT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Adjustment {
    /// [`KIND_LINE`], [`KIND_ORDER`], [`KIND_REFUSAL`] or [`KIND_COUPON`].
    pub kind: u32,
    /// Index into the batch's lines, headers or coupons, by `kind`.
    pub at: u32,
    /// Minor units taken off, not negative; 0 for a refusal and for a coupon.
    pub amount: i64,
    /// Number of the rule, or of the reason of a refusal.
    pub code: u32,
}

/// One order to be priced.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Who asks, and when.
    pub header: &'a Header,
    /// Its lines.
    pub lines: &'a [Line],
    /// The coupons that the customer brings.
    pub coupons: &'a [u64],
}

impl Order<'_> {
    /// Returns the sum of its lines at list price in minor units, at most 2^53 - 1.
    pub fn list(&self) -> i64 {
        self.lines.iter().map(Line::amount).sum()
    }
}

/// The order is refused: nothing of its price is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the reason; `plugin.toml` has its text.
    pub code: u32,
}

/// What is taken off one order.
///
/// The host checks it: the discounts of a line come at most to its amount, else the whole answer
/// is a failure; those of the order are clamped, so that its total is never below zero.
#[derive(Debug)]
pub struct Price<'a> {
    answer: &'a mut Vec<Adjustment>,
    order: u32,
    header: &'a Header,
}

impl Price<'_> {
    /// Takes `amount` minor units off a line, by rule `code`; an amount of 0 leaves no trace.
    ///
    /// # Panics
    ///
    /// If the order has no line `at`, counted from 0.
    pub fn line(&mut self, at: usize, amount: i64, code: u32) {
        assert!(at < self.header.line_count as usize, "the order has no line {at}");
        self.push(KIND_LINE, self.header.first_line + at as u32, amount, code);
    }

    /// Takes `amount` minor units off the whole order, by rule `code`; an amount of 0 leaves no
    /// trace.
    pub fn order(&mut self, amount: i64, code: u32) {
        self.push(KIND_ORDER, self.order, amount, code);
    }

    /// Says that rule `code` has used one of the order's coupons: one use of it is taken from the
    /// coupon's stock, and the order fails if none is left.
    ///
    /// # Panics
    ///
    /// If the order has no coupon `at`, counted from 0.
    pub fn coupon(&mut self, at: usize, code: u32) {
        assert!(at < self.header.coupon_count as usize, "the order has no coupon {at}");
        let at = self.header.first_coupon + at as u32;
        self.answer.push(Adjustment { kind: KIND_COUPON, at, amount: 0, code });
    }

    fn push(&mut self, kind: u32, at: u32, amount: i64, code: u32) {
        if amount != 0 {
            self.answer.push(Adjustment { kind, at, amount, code });
        }
    }
}

/// A pricing plugin.
pub trait Pricing: Sized + 'static {
    /// Reads the configuration that the shop gave; called once for each fresh instance.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it: the operator is shown that when installing.
    fn new(config: &str) -> Result<Self, ConfigError>;

    /// Prices one order. The same order gives the same price, always: keep nothing between calls.
    ///
    /// # Errors
    ///
    /// Returns the refusal of the order. That is an answer like any other; a panic is a failure.
    fn price(&self, order: &Order<'_>, price: &mut Price<'_>) -> Result<(), Refusal>;
}

/// Prices a batch of orders as the component does, adding to `answer`.
///
/// # Panics
///
/// If a header's ranges lie outside the lists, which the host never does.
pub fn batch<P: Pricing>(
    plugin: &P,
    headers: &[Header],
    lines: &[Line],
    coupons: &[u64],
    answer: &mut Vec<Adjustment>,
) {
    for (index, header) in headers.iter().enumerate() {
        let order = Order {
            header,
            lines: part(lines, header.first_line, header.line_count),
            coupons: part(coupons, header.first_coupon, header.coupon_count),
        };
        let before = answer.len();
        let mut price = Price { answer, order: index as u32, header };
        if let Err(Refusal { code }) = plugin.price(&order, &mut price) {
            answer.truncate(before);
            answer.push(Adjustment { kind: KIND_REFUSAL, at: index as u32, amount: 0, code });
        }
    }
}
