//! Built-in pricing: list price with quantity tiers, promotions in time windows, coupons.
//!
//! The rules, in the order in which they are carried out:
//!
//! 1. **Tiers.** The units of a SKU over all lines of the order choose its tier, the one with the
//!    largest `from` that they reach. A tier below the list price makes the line cheaper. What a
//!    line then costs is its *base*.
//! 2. **Promotions on lines** ([`Target::Sku`], [`Target::Class`], [`Target::Lines`]). Each is worked
//!    out on the line's base, never on what another promotion has left, so their order does not
//!    matter for an amount.
//! 3. **Promotions on the order** ([`Target::Order`]), each on what is left of all lines.
//!
//! On one line, and likewise on one order, promotions go together by [`Stacking`]: first the best
//! one of each group is chosen; then the strongest exclusive one is compared with all others
//! together; what remains is taken off by falling priority, then by rising code, each at most what
//! is left to pay. The order of promotions in the configuration has no effect.
//!
//! **Rounding:** a percentage is rounded to the nearest minor unit, halves up (in favour of the
//! buyer). Nothing else rounds.
//!
//! # A coupon's use
//!
//! The uses of a coupon are stock: a SKU of kind coupon, whose units are the uses that are left
//! and whose limit is the uses of one customer. A promotion with a coupon applies to orders that
//! bring it; the order then takes one unit of the coupon **in the same basket as the goods**, at
//! price 0, so that either both are had or neither, and the last use is never given twice.
//! [`Prices::coupons_of`] says which, [`basket`] makes the lines:
//!
//! ```
//! use onhand_core::{
//!     Buy, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, LocationId, LotId, Money,
//!     Placement, Quantity, Receive, Reject, SkuId, SkuKind,
//! };
//! use onhand_policy::decision::{PriceOutcome, check_prices};
//! use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
//! use onhand_policy::pricing::{Benefit, PriceList, Promotion, Target, basket};
//!
//! // A mug for 12.99, plenty of them; one last use of the coupon for 5.00 off.
//! let (engine, _) = Engine::in_memory().open()?;
//! let eur = |minor| Money::new(minor, Currency::EUR).ok_or("too much");
//! let wares = [("MUG", SkuKind::Goods, 12_99, 100), ("WELCOME", SkuKind::Coupon, 0, 1)];
//! for (code, kind, price, units) in wares {
//!     let limit = (kind == SkuKind::Coupon).then_some(Quantity::ONE);
//!     engine.execute(Command::DefineSku(Box::new(DefineSku {
//!         key: Key::from_text(&format!("define {code}")),
//!         code: code.to_owned(),
//!         kind,
//!         price: eur(price)?,
//!         placement: Placement::BySku,
//!         limit,
//!         components: Vec::new(),
//!     })))?;
//!     engine.execute(Command::Receive(Receive {
//!         key: Key::from_text(&format!("receive {code}")),
//!         sku: SkuId::from_code(code)?,
//!         location: LocationId(1),
//!         lot: LotId(0),
//!         quantity: Quantity::new(units).ok_or("too many")?,
//!     }))?;
//! }
//! let (mug, welcome) = (SkuId::from_code("MUG")?, SkuId::from_code("WELCOME")?);
//! let promotion = Promotion {
//!     coupon: Some(welcome),
//!     ..Promotion::new(7, Target::Order, Benefit::Fixed(eur(5_00)?))
//! };
//! let prices = PriceList::new(&[], &[promotion])?;
//!
//! // Ada and Bob both bring it, and both are quoted 7.99.
//! let headers = [PricingHeader { currency: 978, line_count: 1, coupon_count: 1, ..Default::default() }];
//! let lines = [PricingLine { sku: mug.bits(), quantity: 1, unit: 12_99, ..Default::default() }];
//! let coupons = [welcome.bits()];
//! let batch = PricingBatch::new(&headers, &lines, &coupons)?;
//! let mut answer = Vec::new();
//! prices.price(&batch, &mut answer);
//! let checked = check_prices(&batch, &answer)?;
//! assert_eq!(checked.outcomes, [PriceOutcome::Priced { total: 7_99, clamped: 0 }]);
//!
//! assert!(checked.coupons_of(0).eq([welcome]));
//! let buy = |name: &str| -> Result<_, Box<dyn std::error::Error>> {
//!     Ok(engine.execute(Command::Buy(Buy {
//!         key: Key::from_text(name),
//!         customer: CustomerId::from_text(name),
//!         lines: basket(&batch, &checked, 0).ok_or("refused")?.into(),
//!         fill: Fill::All,
//!         expected_total: Some(eur(7_99)?),
//!         decided: None,
//!     }))?)
//! };
//! assert!(buy("ada")?.outcome.is_ok());
//! // Bob is refused as a whole: neither the coupon's use nor a mug moved. He may buy without it.
//! let refusal = buy("bob")?.outcome.err().ok_or("the last use was given twice")?;
//! assert_eq!((refusal.reject, refusal.line), (Reject::SoldOut, 1));
//! assert_eq!(engine.stock(mug).map(|view| view.available), Some(99));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use foldhash::HashMap;
use onhand_core::{Currency, Line, LocationId, Money, Quantity, SkuId};

use crate::decision::{Adjustment, KIND_COUPON, KIND_LINE, KIND_ORDER, PriceOutcome, Prices};
use crate::fact::{PricingBatch, PricingHeader, PricingLine};
use crate::range::{SettingError, setting};

/// Most tiers of one price list.
pub const TIERS_MAX: usize = 1 << 20;
/// Most promotions of one price list.
pub const PROMOTIONS_MAX: usize = 4_096;
/// Most promotions that go together on one line; those of the lowest priority are left out.
pub const PROMOTIONS_PER_LINE_MAX: usize = 7;
/// Most promotions that go together on one order, beside those on its lines.
pub const PROMOTIONS_PER_ORDER_MAX: usize = 32;
/// A whole in basis points: 10,000 take everything off.
pub const BASIS_POINTS_ONE: u32 = 10_000;
/// `code` of the adjustment that a tier makes; promotions have codes from 1.
pub const CODE_TIER: u32 = 0;

const _: () = assert!(PROMOTIONS_PER_LINE_MAX < crate::decision::ADJUSTMENTS_PER_LINE_MAX);
const _: () = assert!(PROMOTIONS_PER_ORDER_MAX <= crate::decision::ADJUSTMENTS_PER_ORDER_MAX);

/// A lower unit price from a number of units on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// SKU.
    pub sku: SkuId,
    /// Units in the order from which it applies, at least 1.
    pub from: u32,
    /// Price of one unit, not negative; for orders in its currency.
    pub price: Money,
}

/// What a promotion takes its amount off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Each line of this SKU.
    Sku(SkuId),
    /// Each line of this class of goods, which is not 0.
    Class(u32),
    /// Each line.
    Lines,
    /// The order.
    Order,
}

/// How much a promotion takes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benefit {
    /// Basis points of the line's base, or of what is left of the order: 1 to 10,000.
    Percent(u32),
    /// An amount above zero of each unit of a line, or of the order once; for orders in its
    /// currency.
    Fixed(Money),
}

/// How a promotion goes together with others on the same line, or on the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacking {
    /// With all others that are not exclusive.
    Stackable,
    /// Of those with this group number only the one that takes most off remains; of equals the
    /// one of higher priority, then of lower code. It then goes together like a stackable one.
    BestOf(u32),
    /// Alone. The strongest exclusive one (by priority, then amount, then lower code) is compared
    /// with all others together: the higher priority wins, the larger amount among equals, the
    /// exclusive one if those are equal too.
    Exclusive,
}

/// One promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Number of the rule, at least 1, different from all others.
    pub code: u32,
    /// What it takes its amount off.
    pub target: Target,
    /// How much.
    pub benefit: Benefit,
    /// First millisecond since 1970-01-01 UTC at which it applies.
    pub from: u64,
    /// First millisecond at which it no longer applies; after `from`.
    pub until: u64,
    /// Segment of customers that it is for; 0 for all.
    pub segment: u32,
    /// List price of the whole order from which it applies, for orders in its currency.
    pub minimum: Option<Money>,
    /// Coupon that the order must bring: a SKU of kind coupon in the order's currency.
    pub coupon: Option<SkuId>,
    /// How it goes together with others.
    pub stacking: Stacking,
    /// Larger goes first.
    pub priority: u32,
}

impl Promotion {
    /// Makes a stackable promotion of priority 0 for everybody at any time.
    pub const fn new(code: u32, target: Target, benefit: Benefit) -> Self {
        Self {
            code,
            target,
            benefit,
            from: 0,
            until: u64::MAX,
            segment: 0,
            minimum: None,
            coupon: None,
            stacking: Stacking::Stackable,
            priority: 0,
        }
    }

    /// Returns whether it applies to an order, whatever its lines.
    fn applies(&self, header: &PricingHeader, list_total: i64, coupons: &[u64]) -> bool {
        let currency_fits = |money: Money| u32::from(money.currency().number()) == header.currency;
        (self.from..self.until).contains(&header.now)
            && (self.segment == 0 || self.segment == header.segment)
            && self.minimum.is_none_or(|least| currency_fits(least) && list_total >= least.minor())
            && self.coupon.is_none_or(|coupon| coupons.contains(&coupon.bits()))
            && match self.benefit {
                Benefit::Percent(_) => true,
                Benefit::Fixed(money) => currency_fits(money),
            }
    }

    /// Returns what it takes off `base`, which is for `units` units: at most all of it.
    fn amount(&self, base: i64, units: u32) -> i64 {
        let amount = match self.benefit {
            Benefit::Percent(basis_points) => {
                let one = i128::from(BASIS_POINTS_ONE);
                (i128::from(base) * i128::from(basis_points) + one / 2) / one
            }
            Benefit::Fixed(money) => i128::from(money.minor()) * i128::from(units),
        };
        amount.min(i128::from(base)) as i64
    }
}

/// A promotion that applies, with what it would take off alone.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// Index of the promotion; by falling priority, then by rising code.
    index: usize,
    amount: i64,
}

/// Tiers and promotions, checked and indexed.
#[derive(Clone, Debug, Default)]
pub struct PriceList {
    /// Steps of a SKU in a currency by rising `from`. Look-ups only, like those below.
    tiers: HashMap<(SkuId, Currency), Vec<(u32, i64)>>,
    /// By falling priority, then by rising code.
    promotions: Vec<Promotion>,
    by_sku: HashMap<SkuId, Vec<usize>>,
    by_class: HashMap<u32, Vec<usize>>,
    every_line: Vec<usize>,
    orders: Vec<usize>,
}

impl PriceList {
    /// Checks tiers and promotions and makes a price list of them; without any, the list price
    /// stands.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is outside its range, or a code or tier that is there twice.
    pub fn new(tiers: &[Tier], promotions: &[Promotion]) -> Result<Self, SettingError> {
        setting("tiers", 0, tiers.len() as i64, 0, TIERS_MAX as i64)?;
        setting("promotions", 0, promotions.len() as i64, 0, PROMOTIONS_MAX as i64)?;
        let mut list = Self::default();
        for (index, tier) in tiers.iter().enumerate() {
            setting("from", index, tier.from.into(), 1, Quantity::MAX.units().into())?;
            setting("price", index, tier.price.minor(), 0, Money::MINOR_MAX)?;
            let steps = list.tiers.entry((tier.sku, tier.price.currency())).or_default();
            let at = steps.partition_point(|(from, _)| *from < tier.from);
            let twice = steps.get(at).is_some_and(|(from, _)| *from == tier.from);
            setting("tiers with the same from", index, i64::from(twice) + 1, 1, 1)?;
            steps.insert(at, (tier.from, tier.price.minor()));
        }
        let mut codes = BTreeMap::new();
        for (index, promotion) in promotions.iter().enumerate() {
            check(index, promotion)?;
            let twice = codes.insert(promotion.code, index).is_some();
            setting("promotions with the same code", index, i64::from(twice) + 1, 1, 1)?;
        }
        list.promotions = promotions.to_vec();
        list.promotions.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.code.cmp(&b.code)));
        for (index, promotion) in list.promotions.iter().enumerate() {
            match promotion.target {
                Target::Sku(sku) => list.by_sku.entry(sku).or_default().push(index),
                Target::Class(class) => list.by_class.entry(class).or_default().push(index),
                Target::Lines => list.every_line.push(index),
                Target::Order => list.orders.push(index),
            }
        }
        Ok(list)
    }

    /// Answers for a batch: appends the adjustments of its orders to `answer`.
    ///
    /// The answer passes [`check_prices`](crate::decision::check_prices) and refuses nothing; a
    /// coupon that is unknown or out of its time takes nothing off, and is not used.
    pub fn price(&self, batch: &PricingBatch<'_>, answer: &mut Vec<Adjustment>) {
        let (mut offers, mut tested) = (Vec::new(), Vec::new());
        for (order, header) in batch.headers().iter().enumerate() {
            let first = answer.len();
            let (lines, coupons) = (batch.lines_of(order), batch.coupons_of(order));
            let list_total = batch.list_total(order);
            let test = |promotion: &Promotion| promotion.applies(header, list_total, coupons);
            let mut applying = Applying::new(&self.promotions, lines.len(), &mut tested);
            let mut left = 0;
            for (at, line) in lines.iter().enumerate() {
                let price = line.unit * i64::from(line.quantity);
                let at = header.first_line + at as u32;
                let mut take = |amount: i64, code: u32| {
                    answer.push(Adjustment { kind: KIND_LINE, at, amount, code });
                };
                let tier = self.tier_discount(header, lines, line);
                if tier > 0 {
                    take(tier, CODE_TIER);
                }
                let mut rest = price - tier;
                let own = self.by_sku.get(&SkuId::new(line.sku)).into_iter().flatten();
                let class = self.by_class.get(&line.class).into_iter().flatten();
                for index in own.chain(class).chain(&self.every_line) {
                    if let Some(promotion) = applying.get(*index, test) {
                        let amount = promotion.amount(rest, line.quantity);
                        offers.push(Offer { index: *index, amount });
                    }
                }
                self.stack(&mut offers, rest, PROMOTIONS_PER_LINE_MAX);
                for offer in offers.drain(..) {
                    take(offer.amount, self.promotions[offer.index].code);
                    rest -= offer.amount;
                }
                left += rest;
            }
            for index in &self.orders {
                if let Some(promotion) = applying.get(*index, test) {
                    offers.push(Offer { index: *index, amount: promotion.amount(left, 1) });
                }
            }
            self.stack(&mut offers, left, PROMOTIONS_PER_ORDER_MAX);
            let at = order as u32;
            answer.extend(offers.drain(..).map(|Offer { index, amount }| {
                let code = self.promotions[index].code;
                Adjustment { kind: KIND_ORDER, at, amount, code }
            }));
            if !coupons.is_empty() {
                self.use_coupons(header, coupons, &mut Adjustments { list: answer, first });
            }
        }
    }

    /// Returns what the tier of a line takes off it.
    fn tier_discount(
        &self,
        header: &PricingHeader,
        lines: &[PricingLine],
        line: &PricingLine,
    ) -> i64 {
        if self.tiers.is_empty() {
            return 0;
        }
        let currency = u16::try_from(header.currency).ok().and_then(Currency::from_number);
        let key = currency.map(|currency| (SkuId::new(line.sku), currency));
        let Some(steps) = key.and_then(|key| self.tiers.get(&key)) else { return 0 };
        let same = lines.iter().filter(|other| other.sku == line.sku);
        let units: u64 = same.map(|other| u64::from(other.quantity)).sum();
        let reached = steps.partition_point(|(from, _)| u64::from(*from) <= units);
        let Some((_, unit)) = reached.checked_sub(1).map(|at| steps[at]) else { return 0 };
        (line.unit - unit).max(0) * i64::from(line.quantity)
    }

    /// Leaves those offers that go together, with what each takes off `base`.
    fn stack(&self, offers: &mut Vec<Offer>, base: i64, most: usize) {
        offers.retain(|offer| offer.amount > 0);
        offers.sort_unstable_by_key(|offer| offer.index);
        if offers.len() > 1 {
            self.keep_best_of_groups(offers);
            self.keep_exclusive_or_others(offers, base, most);
        }
        offers.truncate(most);
        let mut left = base;
        for offer in offers.iter_mut() {
            offer.amount = offer.amount.min(left);
            left -= offer.amount;
        }
        offers.retain(|offer| offer.amount > 0);
    }

    fn keep_best_of_groups(&self, offers: &mut Vec<Offer>) {
        let mut best: BTreeMap<u32, Offer> = BTreeMap::new();
        let group = |offer: &Offer| match self.promotions[offer.index].stacking {
            Stacking::BestOf(group) => Some(group),
            Stacking::Stackable | Stacking::Exclusive => None,
        };
        for offer in offers.iter() {
            let Some(group) = group(offer) else { continue };
            let kept = best.entry(group).or_insert(*offer);
            // By rising index: only a larger amount takes the place of an earlier one.
            if offer.amount > kept.amount {
                *kept = *offer;
            }
        }
        offers.retain(|offer| group(offer).is_none_or(|group| best[&group].index == offer.index));
    }

    fn keep_exclusive_or_others(&self, offers: &mut Vec<Offer>, base: i64, most: usize) {
        let promotion = |offer: &Offer| &self.promotions[offer.index];
        let exclusive = |offer: &Offer| promotion(offer).stacking == Stacking::Exclusive;
        let strength = |offer: &Offer| {
            (promotion(offer).priority, offer.amount, std::cmp::Reverse(offer.index))
        };
        let strongest = offers.iter().filter(|offer| exclusive(offer)).max_by_key(|o| strength(o));
        let Some(strongest) = strongest.copied() else { return };
        let others = || offers.iter().filter(|offer| !exclusive(offer)).take(most);
        // Sums of at most 32 amounts below 2^53.
        let together = others().map(|offer| offer.amount).sum::<i64>().min(base);
        let priority = others().map(|offer| promotion(offer).priority).max();
        let alone = (promotion(&strongest).priority, strongest.amount);
        if priority.is_none_or(|priority| alone >= (priority, together)) {
            *offers = vec![strongest];
        } else {
            offers.retain(|offer| !exclusive(offer));
        }
    }

    /// Says which coupons an order has used: those whose promotions take something off in `own`,
    /// its part of the answer, each once, in the order that the order brought them.
    fn use_coupons(&self, header: &PricingHeader, coupons: &[u64], own: &mut Adjustments<'_>) {
        for (at, coupon) in coupons.iter().enumerate() {
            if coupons[..at].contains(coupon) {
                continue;
            }
            let brought = |promotion: &&Promotion| promotion.coupon == Some(SkuId::new(*coupon));
            let pays = |promotion: &&Promotion| own.takes(promotion.code);
            let Some(first) = self.promotions.iter().filter(brought).find(pays) else { continue };
            let at = header.first_coupon + at as u32;
            let code = first.code;
            own.list.push(Adjustment { kind: KIND_COUPON, at, amount: 0, code });
        }
    }
}

/// Which promotions apply to one order whatever its lines: each is tested once, however many lines
/// ask for it.
struct Applying<'a> {
    promotions: &'a [Promotion],
    /// What came of the tests; empty for an order of one line, which asks for each promotion once.
    tested: &'a mut Vec<Option<bool>>,
}

impl<'a> Applying<'a> {
    fn new(promotions: &'a [Promotion], lines: usize, tested: &'a mut Vec<Option<bool>>) -> Self {
        tested.clear();
        if lines > 1 {
            tested.resize(promotions.len(), None);
        }
        Self { promotions, tested }
    }

    /// Returns a promotion if it passes the order's test.
    fn get(&mut self, index: usize, test: impl Fn(&Promotion) -> bool) -> Option<&'a Promotion> {
        let promotion = &self.promotions[index];
        let applies = match self.tested.get_mut(index) {
            Some(tested) => *tested.get_or_insert_with(|| test(promotion)),
            None => test(promotion),
        };
        applies.then_some(promotion)
    }
}

/// The part of an answer that is about one order.
struct Adjustments<'a> {
    list: &'a mut Vec<Adjustment>,
    first: usize,
}

impl Adjustments<'_> {
    /// Returns whether a rule takes something off the order.
    fn takes(&self, code: u32) -> bool {
        self.list[self.first..].iter().any(|a| a.code == code && a.amount > 0)
    }
}

fn check(index: usize, promotion: &Promotion) -> Result<(), SettingError> {
    setting("code", index, promotion.code.into(), 1, u32::MAX.into())?;
    match promotion.benefit {
        Benefit::Percent(points) => {
            setting("percent", index, points.into(), 1, BASIS_POINTS_ONE.into())?;
        }
        Benefit::Fixed(money) => setting("fixed", index, money.minor(), 1, Money::MINOR_MAX)?,
    }
    if let Target::Class(class) = promotion.target {
        setting("class", index, class.into(), 1, u32::MAX.into())?;
    }
    if let Some(least) = promotion.minimum {
        setting("minimum", index, least.minor(), 0, Money::MINOR_MAX)?;
    }
    let milliseconds = i64::try_from(promotion.until.saturating_sub(promotion.from));
    setting("until - from", index, milliseconds.unwrap_or(i64::MAX), 1, i64::MAX)
}

/// Makes the engine's lines of a priced order: its own, then one unit of each coupon that it used,
/// at price 0.
///
/// `None` if the order was refused, or is not in the batch, or has more lines than a basket takes.
/// The basket must be filled as a whole ([`Fill::All`](onhand_core::Fill)), so that a coupon's use
/// goes with its goods or not at all.
pub fn basket(batch: &PricingBatch<'_>, prices: &Prices, order: usize) -> Option<Vec<Line>> {
    let PriceOutcome::Priced { .. } = prices.outcomes.get(order)? else { return None };
    let header = batch.headers().get(order)?;
    let facts = batch.lines_of(order);
    let own = prices.lines.get(header.first_line as usize..)?.get(..facts.len())?;
    let coupons = prices.coupons_of(order).count();
    if facts.len() + coupons > onhand_core::limits::LINES_MAX {
        return None;
    }
    let mut lines = Vec::with_capacity(facts.len() + coupons);
    for (fact, price) in facts.iter().zip(own) {
        let line = Line::new(SkuId::new(fact.sku), Quantity::new(fact.quantity)?);
        lines.push(line.at(LocationId(fact.location)).priced(*price));
    }
    let free = onhand_core::LinePrice { unit: 0, discount: 0 };
    let used = prices.coupons_of(order).map(|sku| Line::new(sku, Quantity::ONE).priced(free));
    lines.extend(used);
    Some(lines)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Applying, Benefit, Promotion, Target};

    /// An order of many lines tests a promotion once, and each order tests anew.
    #[test]
    fn a_promotion_is_tested_once_for_an_order() {
        let promotions =
            [1, 2].map(|code| Promotion::new(code, Target::Lines, Benefit::Percent(1)));
        let mut tested = Vec::new();
        for (lines, wanted) in [(1, 1), (2, 2), (512, 2), (3, 2)] {
            let tests = Cell::new(0);
            let mut applying = Applying::new(&promotions, lines, &mut tested);
            for _ in 0..lines {
                for (index, applies) in [(0, true), (1, false)].into_iter().take(lines) {
                    let found = applying.get(index, |promotion| {
                        tests.set(tests.get() + 1);
                        promotion.code == 1
                    });
                    assert_eq!(found.is_some(), applies);
                }
            }
            assert_eq!(tests.get(), wanted, "{lines} lines");
        }
    }
}
