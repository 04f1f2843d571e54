//! The scenario `flash`: one hot SKU with a limit for each customer, and buyers who click twice,
//! walk away, or fill baskets that can't be had.

use std::time::Duration;

use crate::drive::{Pace, SECONDS_MAX};
use crate::error::LoadError;
use crate::load::{LoadOptions, LoadReport, Target};
use crate::sale;
use crate::scenario::{Actor, ActorKind, Flow, Scenario, StageArrivals, StageTerms, StockTerms};
use crate::schedule::{Form, Shape};

/// Most further SKUs.
pub const SKUS_MAX: u32 = 100_000;
/// Most units of one SKU.
pub const STOCK_MAX: u32 = 1_000_000_000;
/// How much later than its deadline a reservation may end: a sale by flags asks for throughput,
/// and a saturated host has other things to do.
const EXPIRY_SKEW: Duration = Duration::from_secs(10);

/// Shares of what buyers do, each from 0 to 1 and at most 1 together; the rest buys one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Send the request of an earlier buyer again with its key: half of them at the same moment,
    /// half some time later. Default 0.05.
    pub duplicate: f64,
    /// Reserve first; half of them place, a quarter release, a quarter walk away. Default 0.1.
    pub reserve: f64,
    /// Ask for a basket with a second line that is sold out. Default 0.05.
    pub abort: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { duplicate: 0.05, reserve: 0.1, abort: 0.05 }
    }
}

/// Options of a flash sale.
#[derive(Debug)]
pub struct FlashOptions {
    /// What every scenario has.
    pub load: LoadOptions,
    /// Length of the load in seconds, up to [`SECONDS_MAX`]. Default 10.
    pub seconds: f64,
    /// Prefix of SKU codes and keys, 1 to 32 characters of `A-Z a-z 0-9 _ . -`; `None` makes one
    /// of the seed. A host takes a prefix once.
    pub run: Option<String>,
    /// Units of the hot SKU, 1 to [`STOCK_MAX`]. Default 10,000.
    pub stock: u32,
    /// Most units of the hot SKU for one customer; `None` for no limit. Default 2.
    pub limit: Option<u32>,
    /// Further SKUs, drawn by Zipf's law, up to [`SKUS_MAX`]. Default 20.
    pub skus: u32,
    /// Units of each further SKU. Default 1,000,000.
    pub sku_stock: u32,
    /// Share of requests for the hot SKU. Default 0.8; 1 without further SKUs.
    pub hot_share: f64,
    /// Exponent of Zipf's law. Default 1.1.
    pub zipf: f64,
    /// Customers to draw from. Default 10,000.
    pub customers: u32,
    /// What buyers do.
    pub mix: Mix,
    /// Time to live of reservations in milliseconds. Default 2,000.
    pub ttl_ms: u64,
}

impl FlashOptions {
    /// Makes the options of a target with all defaults.
    pub fn new(target: Target) -> Self {
        Self {
            load: LoadOptions::new(target),
            seconds: 10.0,
            run: None,
            stock: 10_000,
            limit: Some(2),
            skus: 20,
            sku_stock: 1_000_000,
            hot_share: 0.8,
            zipf: 1.1,
            customers: 10_000,
            mix: Mix::default(),
            ttl_ms: 2_000,
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        self.load.check()?;
        let range = |name: &str, value: u64, min: u64, max: u64| {
            let message = || format!("{name} is {value}, outside {min}..={max}");
            if (min..=max).contains(&value) { Ok(()) } else { Err(LoadError::usage(message())) }
        };
        let share = |name: &str, value: f64| {
            let message = || format!("{name} is {value}, outside 0..=1");
            if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(LoadError::usage(message())) }
        };
        range("stock", self.stock.into(), 1, STOCK_MAX.into())?;
        range("sku stock", self.sku_stock.into(), 1, STOCK_MAX.into())?;
        range("skus", self.skus.into(), 0, SKUS_MAX.into())?;
        range("limit", self.limit.unwrap_or(1).into(), 1, STOCK_MAX.into())?;
        range("customers", self.customers.into(), 1, u32::MAX.into())?;
        range("ttl_ms", self.ttl_ms, 1, 30 * 24 * 3_600_000)?;
        share("hot share", self.hot_share)?;
        for (name, value) in [
            ("duplicate share", self.mix.duplicate),
            ("reserve share", self.mix.reserve),
            ("abort share", self.mix.abort),
        ] {
            share(name, value)?;
        }
        share("sum of shares", self.mix.duplicate + self.mix.reserve + self.mix.abort)?;
        if !(self.seconds > 0.0 && self.seconds <= SECONDS_MAX as f64) {
            let seconds = self.seconds;
            let text = format!("seconds is {seconds}, outside above 0 to {SECONDS_MAX}");
            return Err(LoadError::usage(text));
        }
        if !(self.zipf >= 0.0 && self.zipf <= 10.0) {
            return Err(LoadError::usage(format!("zipf is {}, outside 0..=10", self.zipf)));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let run_ok = |run: &str| (1..=32).contains(&run.len()) && run.bytes().all(allowed);
        match &self.run {
            Some(run) if !run_ok(run) => Err(LoadError::usage(format!(
                "run is {run:?}, want 1 to 32 characters of A-Z a-z 0-9 _ . -"
            ))),
            _ => Ok(()),
        }
    }
}

/// What came of a flash sale.
#[derive(Clone, Debug)]
pub struct FlashReport {
    /// What every scenario reports.
    pub load: LoadReport,
    /// Prefix of SKU codes and keys.
    pub run: String,
    /// Code of the hot SKU.
    pub hot_sku: String,
    /// Units of the hot SKU that were put in.
    pub stock: u32,
    /// Limit of the hot SKU.
    pub limit: Option<u32>,
}

/// Stocks a catalogue, runs the sale and checks the truth; blocks until all is done.
///
/// # Errors
///
/// Returns a usage error for an option outside its range and a target error if the host can't be
/// reached, refuses the preparation or breaks the contract. A violated truth is no error: it
/// stands in the report.
pub fn run(mut options: FlashOptions) -> Result<FlashReport, LoadError> {
    options.check()?;
    let name = options.run.clone().unwrap_or_else(|| format!("flash-{}", options.load.seed));
    let scenario = options.scenario();
    let load = sale::run(&scenario, &mut options.load, &name)?;
    let hot_sku = sale::hot_code(&name);
    Ok(FlashReport { load, run: name, hot_sku, stock: options.stock, limit: options.limit })
}

impl FlashOptions {
    /// Returns the scenario that these options stand for.
    fn scenario(&self) -> Scenario {
        let length = Duration::from_secs_f64(self.seconds);
        let (arrivals, shape) = match self.load.pace {
            Pace::Max => (StageArrivals::Max, Shape::Uniform),
            Pace::Open { rate, shape } => {
                (StageArrivals::Rate(Form::Hold { rate: rate.value() }), shape)
            }
        };
        let stages = vec![StageTerms { name: "sale".to_owned(), arrivals, length }];
        Scenario {
            shape,
            stages,
            customers: self.customers,
            ttl: Duration::from_millis(self.ttl_ms),
            actors: self.actors(),
            truth: self.load.truth,
            expiry_skew: EXPIRY_SKEW,
            stock: StockTerms {
                skus: self.skus,
                units: self.sku_stock,
                hot_units: self.stock,
                hot_limit: self.limit,
                currency: "EUR".to_owned(),
                price: 1_999,
                zipf: self.zipf,
                hot_share: if self.skus == 0 { 1.0 } else { self.hot_share },
            },
            ..Scenario::blank("flash")
        }
    }

    /// Returns the buyers of the mix. A double-clicker sends two requests, so fewer users than
    /// the share of their requests are some.
    fn actors(&self) -> Vec<Actor> {
        let Mix { duplicate, reserve, abort } = self.mix;
        let rest = (1.0 - duplicate).max(f64::MIN_POSITIVE);
        let of_users = |share: f64| (share / rest).clamp(0.0, 1.0);
        let (twice, reserve, vain) = (of_users(duplicate), of_users(reserve), of_users(abort));
        let actor = |name: &str, kind, weight, flow: &[Flow]| Actor {
            weight,
            flow: flow.to_vec(),
            ..Actor::plain(name, kind)
        };
        let buys = (1.0 - twice - reserve - vain).max(0.0);
        let mut actors = vec![
            actor("buyer", ActorKind::Human, buys, &[Flow::Buy]),
            actor("double-clicker", ActorKind::DoubleClicker, twice, &[Flow::Buy]),
            actor("payer", ActorKind::Human, reserve / 2.0, &[Flow::Reserve, Flow::Place]),
            actor("releaser", ActorKind::Releaser, reserve / 4.0, &[Flow::Reserve, Flow::Release]),
            actor("abandoner", ActorKind::Abandoner, reserve / 4.0, &[Flow::Reserve]),
            actor("in-vain", ActorKind::Human, vain, &[Flow::Buy]),
        ];
        actors[1].double_click = 1.0;
        actors[5].basket.in_vain = 1.0;
        actors.retain(|actor| actor.weight > 0.0);
        actors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options outside their ranges are refused with name, value and range.
    #[test]
    fn options_are_checked() {
        let check = |change: fn(&mut FlashOptions)| {
            let authority = crate::http::Authority::parse("http://127.0.0.1:1");
            let mut options = FlashOptions::new(Target::Http(authority.expect("well formed")));
            change(&mut options);
            options.check().map_err(|e| e.to_string())
        };
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(check(|o| o.stock = 0), Err("stock is 0, outside 1..=1000000000".into()));
        assert_eq!(check(|o| o.limit = Some(0)), Err("limit is 0, outside 1..=1000000000".into()));
        assert_eq!(check(|o| o.skus = 100_001), Err("skus is 100001, outside 0..=100000".into()));
        assert_eq!(
            check(|o| o.customers = 0),
            Err("customers is 0, outside 1..=4294967295".into())
        );
        assert_eq!(check(|o| o.hot_share = 1.5), Err("hot share is 1.5, outside 0..=1".into()));
        assert_eq!(
            check(|o| o.mix.abort = 0.9),
            Err("sum of shares is 1.05, outside 0..=1".into())
        );
        assert_eq!(
            check(|o| o.load.connections = 0),
            Err("connections is 0, outside 1..=4096".into())
        );
        assert_eq!(check(|o| o.load.batch = 1_001), Err("batch is 1001, outside 1..=1000".into()));
        assert!(check(|o| o.seconds = f64::NAN).is_err());
        assert!(check(|o| o.run = Some("a b".into())).is_err());
        assert!(check(|o| o.load.api_key = Some("a\r\nb".into())).is_err());
    }
}
