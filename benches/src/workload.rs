//! The orders that every bench and every peer is given: a pure function of seed and number.
//!
//! Order `n` of a seed has the same key, customer and lines in each run, so a duplicate is the
//! same number again, and peers can be given the same work.

use onhand_core::{
    Ack, Buy, Command, Currency, CustomerId, Decided, DecidedBy, DefineSku, Engine, Fill,
    FraudDecision, ImportLine, Key, Line, LinePrice, Lines, LocationId, LotId, Money, Placement,
    PolicyDecision, PolicyKind, PolicyNo, PolicyStep, Quantity, Reserve, Risk, SkuId, SkuKind,
    Step,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, LogNormal, Zipf};

use crate::BenchError;

/// Units of each SKU in stock, unless a bench sells out on purpose: more than any run sells.
pub const STOCK: u32 = 1_000_000_000;
/// Most units of one SKU for one customer: checked on each order, reached by almost none.
pub const LIMIT: u32 = 1_000;
/// The location of all stock.
pub const STORE: LocationId = LocationId(1);
/// Orders back that a duplicate lies at most.
const DUPLICATE_REACH: u64 = 1_000;
/// Samples of SKUs or baskets that are drawn before a run; then they come round again.
const SAMPLES: usize = 1 << 16;
/// Most definitions of SKUs in one batch.
const DEFINE_BATCH: usize = 4_096;

/// Mixes a number into 64 even bits.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014), mix64.
#[inline]
pub const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// One unit of one SKU each time: a flash sale.
    Hot,
    /// One unit of a SKU by Zipf's law with exponent 1.
    Zipf,
    /// Baskets of 9.4 lines on average (median 5), as groceries are bought, of SKUs by Zipf's law.
    Baskets,
}

/// How orders are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What is bought.
    pub mix: Mix,
    /// Number of SKUs; 1 for [`Mix::Hot`].
    pub skus: usize,
    /// Number of customers.
    pub customers: u64,
    /// Duplicates of an earlier order, in a thousand.
    pub duplicates_per_mille: u64,
    /// Seed of all that is drawn.
    pub seed: u64,
}

impl Plan {
    /// Makes the plan of the published figures: 2 % duplicates, a million customers, seed 1.
    pub const fn new(mix: Mix, skus: usize) -> Self {
        Self { mix, skus, customers: 1_000_000, duplicates_per_mille: 20, seed: 1 }
    }
}

/// A source of orders.
#[derive(Clone, Debug)]
pub struct Orders {
    plan: Plan,
    baskets: Vec<Lines>,
    next: u64,
}

impl Orders {
    /// Draws what the plan says; `first` is the number of the first order.
    ///
    /// # Errors
    ///
    /// Returns that the plan has no SKU.
    pub fn new(plan: Plan, skus: &[SkuId], first: u64) -> Result<Self, BenchError> {
        let mut random = SmallRng::seed_from_u64(plan.seed);
        let popularity = Zipf::new(skus.len() as f64, 1.0)?;
        let size = LogNormal::new(5.0_f64.ln(), 1.123)?;
        let pick = |random: &mut SmallRng| skus[popularity.sample(random) as usize - 1];
        let mut baskets = Vec::with_capacity(SAMPLES);
        for _ in 0..if plan.mix == Mix::Hot { 1 } else { SAMPLES } {
            let count = match plan.mix {
                Mix::Hot | Mix::Zipf => 1,
                Mix::Baskets => (size.sample(&mut random).round() as usize).clamp(1, 100),
            };
            let mut lines: Vec<Line> = Vec::with_capacity(count);
            // A basket has a SKU once; a small catalogue may have fewer SKUs than lines.
            for _ in 0..count * 4 {
                let sku = pick(&mut random);
                if lines.len() < count && lines.iter().all(|line| line.sku != sku) {
                    lines.push(Line::new(sku, Quantity::ONE));
                }
            }
            baskets.push(lines.into());
        }
        Ok(Self { plan, baskets, next: first })
    }

    /// Returns the number of the order that comes `at`-th, which for a duplicate is an earlier one.
    #[inline]
    pub fn number(&self, at: u64) -> u64 {
        let draw = mix(at ^ (self.plan.seed << 48) ^ 0x00D1_CE00_0000_0000);
        let again = draw % 1_000 < self.plan.duplicates_per_mille;
        let back = 1 + (draw >> 32) % DUPLICATE_REACH;
        if again { at.saturating_sub(back) } else { at }
    }

    /// Returns the key of order `number`, in two halves.
    #[inline]
    pub fn key(&self, number: u64) -> (u64, u64) {
        (mix(number ^ (self.plan.seed << 48)), mix(!number))
    }

    /// Returns the customer of order `number`, never 0.
    #[inline]
    pub fn customer(&self, number: u64) -> u64 {
        1 + mix(number.rotate_left(32) ^ self.plan.seed) % self.plan.customers
    }

    /// Makes the order that comes `at`-th.
    #[inline]
    pub fn order(&self, at: u64) -> Command {
        let number = self.number(at);
        let (high, low) = self.key(number);
        Command::Buy(Buy {
            key: Key::new(u128::from(high) << 64 | u128::from(low)),
            customer: CustomerId(self.customer(number)),
            lines: self.baskets[number as usize & (self.baskets.len() - 1)].clone(),
            fill: Fill::All,
            expected_total: None,
            decided: None,
        })
    }

    /// Makes the next orders.
    pub fn batch(&mut self, count: usize) -> Vec<Command> {
        let first = self.next;
        self.next += count as u64;
        (first..self.next).map(|at| self.order(at)).collect()
    }

    /// Returns the average number of lines.
    pub fn lines_mean(&self) -> f64 {
        let lines: usize = self.baskets.iter().map(|b| b.as_slice().len()).sum();
        lines as f64 / self.baskets.len() as f64
    }
}

/// Turns a purchase into a reservation of the same basket.
pub fn as_reservation(command: Command, ttl_ms: u64) -> Command {
    match command {
        Command::Buy(Buy { key, customer, lines, fill, expected_total, decided }) => {
            let hard_cap_ms = ttl_ms;
            Command::Reserve(Reserve {
                key,
                customer,
                lines,
                fill,
                ttl_ms,
                hard_cap_ms,
                expected_total,
                decided,
            })
        }
        other => other,
    }
}

/// Returns the steps that make a pricing policy number 1 and a fraud policy number 2.
pub fn policies() -> [Command; 2] {
    [PolicyKind::Pricing, PolicyKind::Fraud].map(|kind| {
        Command::PolicyStep(Box::new(PolicyStep {
            key: Key::from_text(kind.name()),
            kind,
            step: Step::Activated,
            name: kind.name().to_owned(),
            version: String::new(),
            plugin: [1; 32],
            config: [2; 32],
            share: 0,
            note: String::new(),
        }))
    })
}

/// Puts what two policies have decided into a purchase: a price for each line, and no suspicion.
pub fn as_decided(command: Command) -> Command {
    let Command::Buy(mut buy) = command else { return command };
    let decision = |number, fuel| PolicyDecision {
        policy: PolicyNo(number),
        by: DecidedBy::Policy,
        fuel,
        input: buy.key.bits() as u64,
    };
    let (pricing, fraud) = (decision(1, 1_900), decision(2, 2_300));
    let price = LinePrice { unit: 1_799, discount: 100 };
    let lines: Vec<Line> = buy.lines.as_slice().iter().map(|line| line.priced(price)).collect();
    buy.lines = lines.into();
    buy.decided = Some(Box::new(Decided {
        pricing: Some(pricing),
        fraud: Some(FraudDecision { decision: fraud, risk: Risk::Allow, points: 20, code: 0 }),
        ..Decided::default()
    }));
    Command::Buy(buy)
}

/// Returns the definition of the `index`-th SKU, with the limit per customer.
pub fn definition(index: usize) -> DefineSku {
    DefineSku {
        key: Key::from_text(&format!("define {index}")),
        code: code(index),
        kind: SkuKind::Goods,
        price: Money::new(1_299, Currency::EUR).expect("12.99 is a small amount"),
        placement: Placement::BySku,
        limit: Quantity::new(LIMIT),
        components: Vec::new(),
    }
}

/// Returns the code of the `index`-th SKU.
pub fn code(index: usize) -> String {
    format!("SKU-{index:06}")
}

/// Returns the ids of the first SKUs.
///
/// # Errors
///
/// Never for these codes; the type is that of the id's.
pub fn sku_ids(count: usize) -> Result<Vec<SkuId>, BenchError> {
    (0..count).map(|index| Ok(SkuId::from_code(&code(index))?)).collect()
}

/// Returns the opening stock of SKUs.
pub fn opening_stock(skus: &[SkuId], units: u32) -> Vec<ImportLine> {
    let quantity = Quantity::new(units).unwrap_or(Quantity::MAX);
    let line = |sku: &SkuId| ImportLine { sku: *sku, location: STORE, lot: LotId(0), quantity };
    skus.iter().map(line).collect()
}

/// Defines SKUs in an engine, with a limit per customer, and stocks them.
///
/// # Errors
///
/// Returns what the engine says.
pub fn stock_shop(engine: &Engine, count: usize, units: u32) -> Result<Vec<SkuId>, BenchError> {
    let skus = sku_ids(count)?;
    for first in (0..count).step_by(DEFINE_BATCH) {
        let last = count.min(first + DEFINE_BATCH);
        let defines = (first..last).map(|i| Command::DefineSku(Box::new(definition(i)))).collect();
        for reply in engine.submit_batch(defines, Ack::Group)?.wait()? {
            reply.outcome.map_err(|refusal| format!("SKU was refused: {refusal:?}"))?;
        }
    }
    for reply in engine.import(Key::from_text("opening stock"), opening_stock(&skus, units))? {
        reply.outcome.map_err(|refusal| format!("stock was refused: {refusal:?}"))?;
    }
    Ok(skus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(mix: Mix, skus: usize) -> Orders {
        let skus = sku_ids(skus).expect("codes are well formed");
        Orders::new(Plan::new(mix, skus.len()), &skus, 10_000).expect("there are SKUs")
    }

    /// The same number is the same order, so that a duplicate is one to the engine.
    #[test]
    fn an_order_depends_on_its_number_alone() {
        let mut first = orders(Mix::Zipf, 1_000);
        let second = orders(Mix::Zipf, 1_000);
        let batch = first.batch(500);
        let again: Vec<Command> = (10_000..10_500).map(|at| second.order(at)).collect();
        assert_eq!(batch, again);
    }

    #[test]
    fn about_two_in_a_hundred_are_duplicates_of_earlier_orders() {
        let orders = orders(Mix::Hot, 1);
        let again = (10_000..110_000).filter(|at| orders.number(*at) != *at).count();
        assert!((1_700..2_300).contains(&again), "{again} of 100,000");
        assert!((10_000..110_000).all(|at| orders.number(at) <= at));
    }

    #[test]
    fn baskets_have_the_size_of_real_ones() {
        let mean = orders(Mix::Baskets, 68_509).lines_mean();
        assert!((8.5..10.0).contains(&mean), "{mean} lines");
    }

    #[test]
    fn a_stocked_shop_sells() {
        let (engine, _) = Engine::in_memory().open().expect("memory has room");
        let skus = stock_shop(&engine, 10, 100).expect("the shop is stocked");
        let mut orders = Orders::new(Plan::new(Mix::Zipf, 10), &skus, 0).expect("SKUs");
        let replies = engine.submit_batch(orders.batch(50), Ack::Memory).expect("taken").wait();
        let replies = replies.expect("answered");
        assert!(replies.iter().all(|reply| reply.outcome.is_ok()), "{replies:?}");
    }
}
