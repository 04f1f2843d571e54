//! The scenario `flash`: one hot SKU with a limit for each customer, and buyers who click twice,
//! walk away, or fill baskets that can't be had.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::drive::{Claim, Pacer, Plan, SECONDS_MAX, runtime};
use crate::error::LoadError;
use crate::load::{GRACE, LoadOptions, LoadReport, Phase, Prepared, Target, execute};
use crate::op::{AskLine, Catalogue, Op, OpKind, Planned, RunSku};
use crate::rng::{Rng, Zipf};
use crate::session::{Definition, IMPORT_LINES_MAX, ListPrice, Session, StockLine};

/// Most further SKUs.
pub const SKUS_MAX: u32 = 100_000;
/// Most units of one SKU.
pub const STOCK_MAX: u32 = 1_000_000_000;
/// Location that all stock is put in.
const LOCATION: u32 = 1;
/// Slots that a late duplicate looks back.
const LATE_SLOTS: u64 = 50;

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
    let started = SystemTime::now();
    let name = options.run.clone().unwrap_or_else(|| format!("flash-{}", options.load.seed));
    let (catalogue, after) = runtime()?.block_on(set_up(&mut options, &name))?;
    let length = Duration::from_secs_f64(options.seconds);
    let load = &options.load;
    let pacer = Arc::new(Pacer::new(load.pace, load.seed, Some(length), GRACE));
    let plan = FlashPlan {
        seed: load.seed,
        name: name.clone(),
        mix: options.mix,
        hot_share: if options.skus == 0 { 1.0 } else { options.hot_share },
        zipf: Zipf::new(options.skus, options.zipf),
        customers: options.customers,
        ttl_ms: options.ttl_ms,
        pacer: Arc::clone(&pacer),
    };
    let hot_sku = catalogue.sku(HOT).code.clone();
    let prepared = Prepared {
        scenario: "flash",
        catalogue: Arc::new(catalogue),
        plan: Arc::new(plan),
        pacer,
        length: Some(length),
        after,
        started,
    };
    let load = execute(&mut options.load, &prepared)?;
    Ok(FlashReport { load, run: name, hot_sku, stock: options.stock, limit: options.limit })
}

/// Index of the hot SKU in the catalogue.
const HOT: u32 = 0;
/// Index of the SKU that never has stock.
const GONE: u32 = 1;
/// Index of the first further SKU.
const FURTHER: u32 = 2;

/// Defines the SKUs and puts the stock in; returns the position before the first event.
async fn set_up(options: &mut FlashOptions, name: &str) -> Result<(Catalogue, u64), LoadError> {
    let begun = Instant::now();
    options.load.tell_phase(Phase::Setup, begun.elapsed());
    let mut session = options.load.session();
    let mut catalogue = Catalogue::default();
    let fixed = [("hot", options.limit, options.stock), ("gone", None, 0)];
    let further = (1..=options.skus).map(|n| (format!("{n}"), None, options.sku_stock));
    let all = fixed.map(|(code, limit, stock)| (code.to_owned(), limit, stock));
    for (code, limit, stock) in all.into_iter().chain(further) {
        let code = format!("{name}-{code}");
        catalogue.add(RunSku { code, limit, put_in: stock.into() });
    }
    let hot = &catalogue.sku(HOT).code;
    if session.knows(hot).await? {
        return Err(LoadError::usage(format!(
            "the host has the SKU {hot} of an earlier run; choose another --seed or --run"
        )));
    }
    let mut after = u64::MAX;
    for (at, sku) in catalogue.skus().iter().enumerate() {
        let price = ListPrice { amount: 1_999 + at as i64, currency: "EUR".to_owned() };
        let (code, limit) = (sku.code.as_str(), sku.limit);
        let seq = session.define(&Definition { code, price: &price, limit, placement: "" }).await?;
        after = after.min(seq.saturating_sub(1));
    }
    put_stock_in(&mut session, &catalogue, name).await?;
    Ok((catalogue, after))
}

async fn put_stock_in(
    session: &mut Session,
    catalogue: &Catalogue,
    name: &str,
) -> Result<(), LoadError> {
    let lines: Vec<StockLine> = (0_u32..)
        .zip(catalogue.skus())
        .filter(|(_, sku)| sku.put_in > 0)
        .map(|(index, sku)| StockLine {
            sku: index,
            location: LOCATION,
            quantity: sku.put_in as u32,
        })
        .collect();
    for (at, chunk) in lines.chunks(IMPORT_LINES_MAX).enumerate() {
        session.import(&format!("{name}-stock-{at}"), chunk, catalogue).await?;
    }
    Ok(())
}

/// The buyers of a sale; each slot's request depends on the seed and the slot alone.
#[derive(Debug)]
struct FlashPlan {
    seed: u64,
    name: String,
    mix: Mix,
    hot_share: f64,
    zipf: Zipf,
    customers: u32,
    ttl_ms: u64,
    pacer: Arc<Pacer>,
}

impl Plan for FlashPlan {
    fn claim(&self, now: Duration) -> Result<Option<Claim>, LoadError> {
        Ok(self.pacer.next(now).map(|(slot, start)| Claim { start, planned: self.planned(slot) }))
    }
}

impl FlashPlan {
    fn planned(&self, slot: u64) -> Planned {
        let mut rng = Rng::of_item(self.seed, slot);
        if !self.is_duplicate(&mut rng, slot) {
            return self.intent(slot, rng);
        }
        let back = if rng.chance(0.5) { 1 } else { 1 + rng.below(LATE_SLOTS) };
        // The first sending is the nearest slot before that is none of a duplicate itself.
        let mut first = slot.saturating_sub(back);
        while self.is_duplicate(&mut Rng::of_item(self.seed, first), first) {
            first -= 1;
        }
        let mut rng = Rng::of_item(self.seed, first);
        let _ = self.is_duplicate(&mut rng, first);
        Planned { then: None, ..self.intent(first, rng) }
    }

    /// Slot 0 is never a duplicate, so that every chain of duplicates ends.
    fn is_duplicate(&self, rng: &mut Rng, slot: u64) -> bool {
        rng.chance(self.mix.duplicate) && slot > 0
    }

    fn intent(&self, intent: u64, mut rng: Rng) -> Planned {
        // Shares are of all requests; duplicates are taken already.
        let rest = (1.0 - self.mix.duplicate).max(f64::MIN_POSITIVE);
        let point = rng.unit() * rest;
        let (reserves, aborts) = (
            point < self.mix.reserve,
            (self.mix.reserve..self.mix.reserve + self.mix.abort).contains(&point),
        );
        let sku = if rng.chance(self.hot_share) { HOT } else { FURTHER + self.zipf.draw(&mut rng) };
        let line = |sku| AskLine { sku, quantity: 1, location: 0, price: None };
        let mut lines = vec![line(sku)];
        if aborts {
            lines.push(line(GONE));
        }
        let then = match (reserves, rng.below(4)) {
            (true, 0 | 1) => Some(OpKind::Place),
            (true, 2) => Some(OpKind::Release),
            _ => None,
        };
        let op = Op {
            kind: if reserves { OpKind::Reserve } else { OpKind::Buy },
            key: format!("{}-{intent}", self.name),
            customer: format!("c{}", rng.below(self.customers.into())),
            lines,
            ttl_ms: self.ttl_ms,
            order: 0,
        };
        Planned { intent, op, then }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Pace;

    fn plan(seed: u64, mix: Mix) -> FlashPlan {
        FlashPlan {
            seed,
            name: "t".into(),
            mix,
            hot_share: 0.8,
            zipf: Zipf::new(20, 1.1),
            customers: 1_000,
            ttl_ms: 100,
            pacer: Arc::new(Pacer::new(Pace::Max, seed, None, GRACE)),
        }
    }

    /// The same seed gives the same requests, in whatever order slots are planned; another seed
    /// gives others.
    #[test]
    fn the_seed_alone_decides_the_requests() {
        let (one, two) = (plan(7, Mix::default()), plan(7, Mix::default()));
        let forwards: Vec<_> = (0..2_000).map(|slot| one.planned(slot)).collect();
        let mut backwards: Vec<_> = (0..2_000).rev().map(|slot| two.planned(slot)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let other = plan(8, Mix::default());
        assert!(
            (0..2_000)
                .any(|slot| other.planned(slot).op.customer != forwards[slot as usize].op.customer)
        );
    }

    /// Shares come out as asked, and each duplicate repeats its first sending byte for byte.
    #[test]
    fn the_mix_comes_out_as_asked() {
        let plan = plan(3, Mix { duplicate: 0.2, reserve: 0.3, abort: 0.1 });
        let slots = 20_000_u64;
        let all: Vec<_> = (0..slots).map(|slot| plan.planned(slot)).collect();
        let share = |wanted: &dyn Fn(usize, &Planned) -> bool| {
            let hits = all.iter().enumerate().filter(|(slot, planned)| wanted(*slot, planned));
            hits.count() as f64 / slots as f64
        };
        let near = |got: f64, want: f64| assert!((got - want).abs() < 0.02, "{got} for {want}");
        near(share(&|slot, planned| planned.intent != slot as u64), 0.2);
        near(share(&|slot, p| p.intent == slot as u64 && p.op.kind == OpKind::Reserve), 0.3);
        near(share(&|slot, p| p.intent == slot as u64 && p.op.lines.len() == 2), 0.1);
        near(share(&|_, p| p.op.lines[0].sku == HOT), 0.8);
        for planned in &all {
            assert_eq!(planned.op, all[planned.intent as usize].op);
        }
    }

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
