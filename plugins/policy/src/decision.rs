//! What a policy answers, and the check of it: plugin or built-in, every answer is input from
//! outside.
//!
//! An answer that breaks a rule is a failure of the policy as a whole: nothing of it is used, and
//! the error names the field, its value and its range. Two things are no failure. Discounts on an
//! order that come to more than is left to pay are clamped, so that the total is zero. A
//! recommendation that has sold out meanwhile is left out.

use std::fmt;

use onhand_core::{LinePrice, Money, SkuId};

use crate::fact::{FraudBatch, PricingBatch, RecommendBatch};

/// Most adjustments of an answer for each line of its batch.
pub const ADJUSTMENTS_PER_LINE_MAX: usize = 8;
/// Most adjustments of an answer for each order of its batch, beside those of its lines.
pub const ADJUSTMENTS_PER_ORDER_MAX: usize = 32;
/// Largest number of fraud points.
pub const POINTS_MAX: u32 = 1_000;

/// `kind` of an adjustment that takes an amount off one line.
pub const KIND_LINE: u32 = 0;
/// `kind` of an adjustment that takes an amount off an order.
pub const KIND_ORDER: u32 = 1;
/// `kind` of an adjustment that refuses an order.
pub const KIND_REFUSAL: u32 = 2;
/// `kind` of an adjustment that says that a coupon was used.
pub const KIND_COUPON: u32 = 3;

/// One step of a price: what is taken off, where, and by which rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Adjustment {
    /// [`KIND_LINE`], [`KIND_ORDER`], [`KIND_REFUSAL`] or [`KIND_COUPON`].
    pub kind: u32,
    /// Index into the batch's lines for a line, into its coupons for a coupon, into its headers
    /// otherwise.
    pub at: u32,
    /// Minor units taken off, not negative; 0 for a refusal and for a coupon.
    pub amount: i64,
    /// Number of the rule, or of the reason of a refusal.
    pub code: u32,
}

/// Fraud score of one order, as answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// 0 for no suspicion to [`POINTS_MAX`].
    pub points: u32,
    /// 0 allow, 1 challenge, 2 review, 3 deny.
    pub verdict: u32,
    /// Number of the reason.
    pub code: u32,
}

/// One recommendation, as answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Index of the request.
    pub request: u32,
    /// SKU by its 64 bits: one of the request's candidates.
    pub sku: u64,
    /// Larger is better; within a request no pick scores more than the one before.
    pub score: u32,
}

/// Why an answer is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecisionError {
    /// A list has too many or too few entries.
    Count {
        /// Name of the list.
        field: &'static str,
        /// Entries found.
        value: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// A field of one entry is outside its range.
    Range {
        /// Name of the field.
        field: &'static str,
        /// Index of the entry in the answer.
        index: usize,
        /// Value found.
        value: i64,
        /// Least value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
    /// The discounts on one line come to more than its price.
    LineDiscount {
        /// Index of the line in the batch.
        line: usize,
        /// Sum of its discounts in minor units, up to the one that went too far.
        discount: i64,
        /// Its list price times its quantity in minor units.
        price: i64,
    },
    /// A coupon is said to be used twice.
    CouponTwice {
        /// Index of the second entry in the answer.
        index: usize,
        /// Index of the coupon in the batch.
        coupon: usize,
    },
    /// A recommended SKU is none of the request's candidates.
    NoCandidate {
        /// Index of the entry in the answer.
        index: usize,
        /// SKU by its 64 bits.
        sku: u64,
    },
    /// A SKU is recommended twice to one request.
    PickedTwice {
        /// Index of the second entry in the answer.
        index: usize,
        /// SKU by its 64 bits.
        sku: u64,
    },
}

impl fmt::Display for DecisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { field, value, min, max } => {
                write!(f, "{field} has {value} entries, outside {min}..={max}")
            }
            Self::Range { field, index, value, min, max } => {
                write!(f, "{field} of entry {index} is {value}, outside {min}..={max}")
            }
            Self::LineDiscount { line, discount, price } => {
                write!(f, "discount of line {line} is {discount}, outside 0..={price}")
            }
            Self::CouponTwice { index, coupon } => {
                write!(f, "at of entry {index} is {coupon}, a coupon that is used already")
            }
            Self::NoCandidate { index, sku } => {
                write!(f, "sku of entry {index} is {sku}, none of the request's candidates")
            }
            Self::PickedTwice { index, sku } => {
                write!(f, "sku of entry {index} is {sku}, which the request has already")
            }
        }
    }
}

impl std::error::Error for DecisionError {}

fn count(field: &'static str, value: usize, min: usize, max: usize) -> Result<(), DecisionError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(DecisionError::Count { field, value, min, max })
}

fn range(
    field: &'static str,
    index: usize,
    value: i64,
    min: i64,
    max: i64,
) -> Result<(), DecisionError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(DecisionError::Range { field, index, value, min, max })
}

/// What came out for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceOutcome {
    /// The order may be taken at this total in minor units, 0 to its list price.
    Priced {
        /// Sum of its lines less their discounts.
        total: i64,
        /// Discount on the order that was clamped because nothing was left to pay.
        clamped: i64,
    },
    /// The policy refuses the order, by the first refusal of its answer.
    Refused {
        /// Number of the reason.
        code: u32,
    },
}

/// One use of a coupon by an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CouponUse {
    /// Index of the order in the batch.
    pub order: u32,
    /// The coupon: a SKU of kind coupon, of which the order takes one unit.
    pub sku: SkuId,
}

/// The checked prices of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// One outcome for each order, in order.
    pub outcomes: Vec<PriceOutcome>,
    /// One price for each line, in order; the list price for lines of a refused order.
    pub lines: Vec<LinePrice>,
    /// The coupons that were used, by order in rising order; none of a refused order.
    pub coupons: Vec<CouponUse>,
}

impl Prices {
    /// Returns the coupons of which an order takes one use each.
    pub fn coupons_of(&self, order: usize) -> impl Iterator<Item = SkuId> {
        let first = self.coupons.partition_point(|used| (used.order as usize) < order);
        let own = move |used: &&CouponUse| used.order as usize == order;
        self.coupons[first..].iter().take_while(own).map(|used| used.sku)
    }
}

/// Checks a pricing policy's answer and works out the price of every line.
///
/// The unit price of a line stays its list price; all that is taken off is its discount, order
/// discounts included. Those are spread over the order's lines in proportion to what is left to
/// pay on each, by largest remainder, the earlier line first among equals: exact to the minor unit.
///
/// # Errors
///
/// Returns the first rule that the answer breaks. Adjustments of a refused order are checked too.
///
/// # Example
///
/// ```
/// use onhand_policy::decision::{Adjustment, KIND_ORDER, PriceOutcome, check_prices};
/// use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
///
/// let headers = [PricingHeader { currency: 978, line_count: 2, ..Default::default() }];
/// let line = PricingLine { sku: 7, quantity: 1, unit: 10_00, ..Default::default() };
/// let lines = [line, PricingLine { sku: 8, unit: 5_00, ..line }];
/// let batch = PricingBatch::new(&headers, &lines, &[])?;
///
/// let off = Adjustment { kind: KIND_ORDER, at: 0, amount: 1_00, code: 1 };
/// let prices = check_prices(&batch, &[off])?;
/// assert_eq!(prices.outcomes, [PriceOutcome::Priced { total: 14_00, clamped: 0 }]);
/// assert_eq!((prices.lines[0].discount, prices.lines[1].discount), (67, 33));
///
/// let lie = Adjustment { amount: -1, ..off };
/// let text = check_prices(&batch, &[lie]).err().map(|e| e.to_string());
/// let said = "amount of entry 0 is -1, outside 0..=9007199254740991";
/// assert_eq!(text.as_deref(), Some(said));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_prices(
    batch: &PricingBatch<'_>,
    answer: &[Adjustment],
) -> Result<Prices, DecisionError> {
    let (headers, lines) = (batch.headers(), batch.lines());
    let coupons = batch.coupons();
    let most = lines.len() * ADJUSTMENTS_PER_LINE_MAX
        + headers.len() * ADJUSTMENTS_PER_ORDER_MAX
        + coupons.len();
    count("adjustments", answer.len(), 0, most)?;
    let mut prices: Vec<LinePrice> =
        lines.iter().map(|line| LinePrice { unit: line.unit, discount: 0 }).collect();
    let mut off_orders = vec![0_i64; headers.len()];
    let mut refusals: Vec<Option<u32>> = vec![None; headers.len()];
    let mut used = vec![false; coupons.len()];
    for (index, adjustment) in answer.iter().enumerate() {
        let Adjustment { kind, at, amount, code } = *adjustment;
        range("kind", index, kind.into(), KIND_LINE.into(), KIND_COUPON.into())?;
        let length = match kind {
            KIND_LINE => lines.len(),
            KIND_COUPON => coupons.len(),
            _ => headers.len(),
        };
        range("at", index, at.into(), 0, length as i64 - 1)?;
        let amount_max = if kind >= KIND_REFUSAL { 0 } else { Money::MINOR_MAX };
        range("amount", index, amount, 0, amount_max)?;
        let at = at as usize;
        match kind {
            // Sums stay far below 2^63: the number of adjustments and each of them are bounded.
            KIND_LINE => prices[at].discount += amount,
            KIND_ORDER => off_orders[at] = (off_orders[at] + amount).min(Money::MINOR_MAX),
            KIND_REFUSAL => {
                refusals[at].get_or_insert(code);
            }
            _ if std::mem::replace(&mut used[at], true) => {
                return Err(DecisionError::CouponTwice { index, coupon: at });
            }
            _ => {}
        }
        if kind == KIND_LINE {
            let price = lines[at].unit * i64::from(lines[at].quantity);
            let discount = prices[at].discount;
            if discount > price {
                return Err(DecisionError::LineDiscount { line: at, discount, price });
            }
        }
    }

    // The answer is accepted: nothing below may fail.
    let mut outcomes = Vec::with_capacity(headers.len());
    let mut coupon_uses = Vec::new();
    let (mut scratch, mut rests) = (Vec::new(), Vec::new());
    for (index, header) in headers.iter().enumerate() {
        let first = header.first_line as usize;
        let own = &mut prices[first..first + header.line_count as usize];
        if let Some(code) = refusals[index] {
            own.iter_mut().for_each(|price| price.discount = 0);
            outcomes.push(PriceOutcome::Refused { code });
            continue;
        }
        let left = |(price, line): (&LinePrice, &crate::fact::PricingLine)| {
            price.unit * i64::from(line.quantity) - price.discount
        };
        scratch.clear();
        scratch.extend(own.iter().zip(batch.lines_of(index)).map(left));
        let due: i64 = scratch.iter().sum();
        let off = off_orders[index].min(due);
        spread(off, &mut scratch, &mut rests);
        own.iter_mut().zip(&scratch).for_each(|(price, share)| price.discount += share);
        let first = header.first_coupon as usize;
        let own = first..first + header.coupon_count as usize;
        let taken = own.filter(|at| used[*at]).map(|at| SkuId::new(coupons[at]));
        coupon_uses.extend(taken.map(|sku| CouponUse { order: index as u32, sku }));
        outcomes.push(PriceOutcome::Priced { total: due - off, clamped: off_orders[index] - off });
    }
    Ok(Prices { outcomes, lines: prices, coupons: coupon_uses })
}

/// Replaces weights by their shares of `amount`, which is at most their sum: largest remainder,
/// the earlier first among equals. No share is larger than its weight. `rests` is room to work.
fn spread(amount: i64, weights: &mut [i64], rests: &mut Vec<(i64, usize)>) {
    let sum: i64 = weights.iter().sum();
    assert!((0..=sum).contains(&amount), "{amount} spread over {sum}");
    if let [only] = weights {
        *only = amount;
        return;
    }
    if amount == 0 {
        weights.fill(0);
        return;
    }
    rests.clear();
    let mut given = 0;
    for (index, weight) in weights.iter_mut().enumerate() {
        let (share, rest) = match weight.checked_mul(amount) {
            // What fits a register is divided many times faster.
            Some(part) => (part / sum, part % sum),
            None => {
                let (part, sum) = (i128::from(*weight) * i128::from(amount), i128::from(sum));
                ((part / sum) as i64, (part % sum) as i64)
            }
        };
        rests.push((rest, index));
        *weight = share;
        given += share;
    }
    // Fewer units are left than there are rests above zero.
    rests.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, index) in rests.iter().take((amount - given) as usize) {
        weights[*index] += 1;
    }
}

/// What is done about an order's risk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The order goes on.
    #[default]
    Allow = 0,
    /// The buyer has to show who they are.
    Challenge = 1,
    /// Somebody looks at it; its reservation is kept meanwhile.
    Review = 2,
    /// The order is refused.
    Deny = 3,
}

impl Verdict {
    /// Returns the verdict of a number; `None` above 3.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Allow),
            1 => Some(Self::Challenge),
            2 => Some(Self::Review),
            3 => Some(Self::Deny),
            _ => None,
        }
    }

    /// Returns the number of the verdict in an answer.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// Checked risk of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// Points, at most [`POINTS_MAX`].
    pub points: u16,
    /// What is done.
    pub verdict: Verdict,
    /// Number of the reason.
    pub code: u32,
}

const _: () = assert!(POINTS_MAX <= u16::MAX as u32);

/// Checks a fraud policy's answer: one score for each order, in order.
///
/// # Errors
///
/// Returns the first rule that the answer breaks.
pub fn check_scores(batch: &FraudBatch<'_>, answer: &[Score]) -> Result<Vec<Risk>, DecisionError> {
    let orders = batch.headers().len();
    count("scores", answer.len(), orders, orders)?;
    let checked = answer.iter().enumerate().map(|(index, score)| {
        range("points", index, score.points.into(), 0, POINTS_MAX.into())?;
        let max = Verdict::Deny.number().into();
        range("verdict", index, score.verdict.into(), 0, max)?;
        let verdict = Verdict::from_number(score.verdict).unwrap_or(Verdict::Deny);
        Ok(Risk { points: score.points as u16, verdict, code: score.code })
    });
    checked.collect()
}

/// Checks a recommendation policy's answer: picks by request in order, best first, each one of
/// the request's candidates, none twice, at most as many as wanted.
///
/// Returns what may be shown: picks of which no unit is available are left out. A list may be
/// shorter than wanted, or empty; the built-in list fills it up.
///
/// # Errors
///
/// Returns the first rule that the answer breaks.
pub fn check_picks(
    batch: &RecommendBatch<'_>,
    answer: &[Pick],
) -> Result<Vec<Pick>, DecisionError> {
    let requests = batch.requests();
    let most = requests.iter().map(|request| request.limit as usize).sum();
    count("picks", answer.len(), 0, most)?;
    let mut shown = Vec::with_capacity(answer.len());
    let mut first = 0;
    for (index, pick) in answer.iter().enumerate() {
        let least = index.checked_sub(1).map_or(0, |before| answer[before].request);
        let last = requests.len() as i64 - 1;
        range("request", index, pick.request.into(), least.into(), last)?;
        if index == 0 || answer[index - 1].request != pick.request {
            first = index;
        } else {
            range("score", index, pick.score.into(), 0, answer[index - 1].score.into())?;
        }
        let limit = requests[pick.request as usize].limit as usize;
        count("picks of a request", index - first + 1, 0, limit)?;
        if answer[first..index].iter().any(|before| before.sku == pick.sku) {
            return Err(DecisionError::PickedTwice { index, sku: pick.sku });
        }
        let candidates = batch.candidates_of(pick.request as usize);
        let mut same = candidates.iter().filter(|candidate| candidate.sku == pick.sku).peekable();
        if same.peek().is_none() {
            return Err(DecisionError::NoCandidate { index, sku: pick.sku });
        }
        if same.all(|candidate| candidate.available > 0) {
            shown.push(*pick);
        }
    }
    Ok(shown)
}
