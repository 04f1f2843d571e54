//! The policies that the benches ask: the built samples of `plugins/samples`, the built-in ones
//! with the same rules beside them, and facts for both.
//!
//! Prices: two tiers, the better of two offers on a class of goods, and 2 % off the order. Fraud:
//! three rules on velocity, distance and amount; the sample adds its model of 24 trees.

use std::path::Path;

use onhand_benches::BenchError;
use onhand_benches::workload::{code, mix};
use onhand_core::{Currency, Money, SkuId};
use onhand_desk::Settings;
use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
use onhand_plugin_runtime::{Kind, Limits, Plugin, PluginOptions, Runtime, World};
use onhand_policy::fact::{FraudHeader, FraudLine, PricingHeader, PricingLine};
use onhand_policy::fraud::{Condition, Measure, Rule, Rules, Test, Thresholds};
use onhand_policy::pricing::{Benefit, PriceList, Promotion, Stacking, Target, Tier};

/// Configuration of the sample of tiered prices.
pub const PRICES: &str = r#"{
    "tiers": [{"class": 1, "units": 3, "off_bp": 300, "code": 1},
              {"class": 1, "units": 10, "off_bp": 725, "code": 2}],
    "offers": [{"code": 10, "class": 1, "off": 20, "group": 1},
               {"code": 11, "class": 1, "off_bp": 500, "most": 900, "group": 1},
               {"code": 12, "off_bp": 200}]}"#;
/// Configuration of the sample of fraud scores; nothing is ever doubtful, so that every order is
/// carried out alike.
pub const RISKS: &str = r#"{"challenge": 1001, "review": 1001, "deny": 1001, "rules": [
    {"code": 1, "feature": "customer_orders_hour", "least": 900, "points": 300},
    {"code": 2, "feature": "distance_km", "least": 3000, "points": 200},
    {"code": 3, "feature": "total", "least": 100000, "points": 150}]}"#;
/// Time of the facts in milliseconds since 1970.
const NOW: u64 = 1_795_734_000_000;
/// Time of a call that no busy machine makes a failure of.
const DEADLINE_MS: u64 = 60_000;
/// Units from which a tier of the built-in prices holds, and its price.
const STEPS: [(u32, i64); 2] = [(3, 12_60), (10, 12_05)];
/// List price of one unit in the facts.
const UNIT: i64 = 12_99;

/// Orders to be priced or scored.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Orders for pricing.
    pub prices: Vec<PricingHeader>,
    /// Their lines.
    pub price_lines: Vec<PricingLine>,
    /// The same orders for fraud.
    pub risks: Vec<FraudHeader>,
    /// Their lines.
    pub risk_lines: Vec<FraudLine>,
}

impl Facts {
    /// Makes facts of so many orders of so many lines.
    ///
    /// # Errors
    ///
    /// Never for these codes; the type is that of the id's.
    pub fn new(orders: u32, lines: u32) -> Result<Self, BenchError> {
        let mut facts = Self::default();
        for order in 0..orders {
            let draw = mix(order.into());
            let first_line = order * lines;
            let mut units = 0;
            for at in 0..lines {
                let number = first_line + at;
                let sku = SkuId::from_code(&code(number as usize))?.bits();
                let quantity = 1 + (mix(number.into()) % 12) as u32;
                let class = 1 + number % 2;
                let line = PricingLine { sku, class, location: 1, quantity, unit: UNIT };
                facts.price_lines.push(line);
                facts.risk_lines.push(FraudLine { sku, quantity, unit: UNIT });
                units += quantity;
            }
            facts.prices.push(PricingHeader {
                customer: draw | 1,
                now: NOW,
                currency: Currency::EUR.number().into(),
                first_line,
                line_count: lines,
                ..PricingHeader::default()
            });
            facts.risks.push(FraudHeader {
                customer: draw | 1,
                now: NOW,
                currency: Currency::EUR.number().into(),
                total: i64::from(units) * UNIT,
                units,
                customer_age_days: 300,
                distance_km: (draw % 4_000) as u32,
                customer_orders_hour: (draw >> 32) as u32 % 8,
                first_line,
                line_count: lines,
                ..FraudHeader::default()
            });
        }
        Ok(facts)
    }
}

/// Returns the bytes of a built sample.
///
/// # Errors
///
/// Returns that the file can't be read.
pub fn built(name: &str) -> Result<Vec<u8>, BenchError> {
    let path = samples().join("built").join(format!("{name}.wasm"));
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/samples")
}

/// Returns the name of the sample of a kind and its configuration.
const fn sample_of(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Pricing => ("tiered-pricing", PRICES),
        Kind::Fraud => ("fraud-score", RISKS),
        Kind::Recommend => ("item-to-item", "{}"),
    }
}

/// Loads the sample of a world.
///
/// # Errors
///
/// Returns why it is no plugin.
pub fn sample<W: World>(runtime: &Runtime) -> Result<Plugin<W>, BenchError> {
    let (name, config) = sample_of(W::KIND);
    let limits = Limits { deadline_ms: DEADLINE_MS, compile_ms: DEADLINE_MS, ..Limits::default() };
    let options = PluginOptions { limits, config: config.to_owned(), ..PluginOptions::default() };
    Ok(Plugin::load(runtime, &built(name)?, options)?)
}

/// Returns a sample as a bundle without a signature, and its configuration.
///
/// # Errors
///
/// Returns what is wrong with its files.
pub fn sample_bundle(kind: Kind) -> Result<(Vec<u8>, &'static str), BenchError> {
    let (name, config) = sample_of(kind);
    let manifest = std::fs::read_to_string(samples().join(name).join("plugin.toml"))?;
    // As a host calls it on the thread of a request.
    let deadline_ms = onhand_desk::limits::HERE_DEADLINE_MS_MAX;
    let limits = format!("[limits]\ndeadline_ms = {deadline_ms}\ncompile_ms = {DEADLINE_MS}");
    let manifest = manifest.replace("[limits]", &limits);
    let bundle = BundleBuilder::new(&manifest, built(name)?).build(&BundleLimits::default())?;
    Ok((bundle.bytes().to_vec(), config))
}

/// Returns built-in prices with the rules of [`PRICES`], for the first SKUs.
///
/// # Errors
///
/// Never for these settings; the type is that of their check.
pub fn price_list(skus: &[SkuId]) -> Result<PriceList, BenchError> {
    let mut tiers = Vec::with_capacity(skus.len());
    for sku in skus.iter().skip(1).step_by(2) {
        for (from, unit) in STEPS {
            let price = Money::new(unit, Currency::EUR).ok_or("a price is out of range")?;
            tiers.push(Tier { sku: *sku, from, price });
        }
    }
    let fixed = Money::new(20, Currency::EUR).ok_or("an amount is out of range")?;
    let better = Stacking::BestOf(1);
    let promotions = [
        Promotion {
            stacking: better,
            ..Promotion::new(10, Target::Class(1), Benefit::Fixed(fixed))
        },
        Promotion {
            stacking: better,
            ..Promotion::new(11, Target::Class(1), Benefit::Percent(500))
        },
        Promotion::new(12, Target::Order, Benefit::Percent(200)),
    ];
    Ok(PriceList::new(&tiers, &promotions)?)
}

/// Returns built-in fraud rules like those of [`RISKS`], without a model.
///
/// # Errors
///
/// Never for these settings; the type is that of their check.
pub fn risk_rules() -> Result<Rules, BenchError> {
    let rule = |code, points, measure, least| Rule {
        code,
        conditions: vec![Condition { measure, test: Test::AtLeast(least) }],
        points,
        verdict: onhand_policy::decision::Verdict::Allow,
    };
    let rules = vec![
        rule(1, 300, Measure::CustomerOrdersHour, 900),
        rule(2, 200, Measure::DistanceKm, 3_000),
        rule(3, 150, Measure::Total(Currency::EUR), 100_000),
    ];
    let never = Thresholds { challenge: 1_001, review: 1_001, deny: 1_001 };
    Ok(Rules::new(rules, never)?)
}

/// Returns the settings of a desk with built-in prices and rules as above, for a catalogue of so
/// many SKUs: every second one is of the class that has offers.
///
/// # Errors
///
/// Never for these settings; the type is that of their check.
pub fn settings(skus: usize) -> Result<Settings, BenchError> {
    let classed: Vec<String> = (0..skus).skip(usize::from(skus > 1)).step_by(2).map(code).collect();
    Ok(Settings::read(&settings_text(&classed))?)
}

/// Returns the same as text for a class of these SKUs, as the host's setting `plugins.policies`
/// names a file of it.
pub fn settings_text(classed: &[String]) -> String {
    let tiers: Vec<String> = classed
        .iter()
        .flat_map(|sku| STEPS.map(|(from, unit)| (sku, from, unit)))
        .map(|(sku, from, unit)| {
            format!("[[pricing.tier]]\nsku = \"{sku}\"\nfrom = {from}\nunit = {unit}\n")
        })
        .collect();
    let tiers = tiers.concat();

    format!(
        "{tiers}\
         [[pricing.promotion]]\ncode = 10\nclass = 1\nfixed = 20\nstacking = \"best_of\"\ngroup = 1\n\
         [[pricing.promotion]]\ncode = 11\nclass = 1\npercent = 500\nstacking = \"best_of\"\ngroup = 1\n\
         [[pricing.promotion]]\ncode = 12\non = \"order\"\npercent = 200\n\
         [pricing.classes]\n1 = {classed:?}\n\
         [pricing]\ncurrency = \"EUR\"\n\
         [fraud]\ncurrency = \"EUR\"\ndefaults = false\n\
         challenge = 1001\nreview = 1001\ndeny = 1001\n\
         [[fraud.rule]]\ncode = 1\npoints = 300\nwhen = [{{ measure = \"customer_orders_hour\", at_least = 900 }}]\n\
         [[fraud.rule]]\ncode = 2\npoints = 200\nwhen = [{{ measure = \"distance_km\", at_least = 3000 }}]\n\
         [[fraud.rule]]\ncode = 3\npoints = 150\nwhen = [{{ measure = \"total\", at_least = 100000 }}]\n"
    )
}

#[cfg(test)]
mod tests {
    use onhand_plugin_runtime::{By, Fraud, Pricing, RuntimeConfig};
    use onhand_policy::decision::{PriceOutcome, Verdict};
    use onhand_policy::fact::{FraudBatch, PricingBatch};

    use super::*;
    use onhand_benches::workload::sku_ids;

    /// Samples and built-in policies both find something to do, and nothing is refused.
    #[test]
    fn every_policy_has_work_and_refuses_nothing() {
        let facts = Facts::new(16, 3).expect("facts");
        let runtime = Runtime::new(RuntimeConfig::default()).expect("a runtime");
        let batch = PricingBatch::new(&facts.prices, &facts.price_lines, &[]).expect("a batch");
        let plugin = sample::<Pricing>(&runtime).expect("a plugin");
        let found = plugin.decide(0, batch, &mut |_| Vec::new());
        assert!(found.made.iter().all(|made| made.by == By::Plugin));
        let paid = found.answer.outcomes.iter().enumerate().all(|(order, outcome)| {
            let list = batch.list_total(order);
            matches!(outcome, PriceOutcome::Priced { total, .. } if *total < list)
        });
        assert!(paid, "{:?}", found.answer.outcomes);
        let mut own = Vec::new();
        let list = price_list(&sku_ids(48).expect("ids")).expect("a list");
        list.price(&batch, &mut own);
        assert!(own.len() > 16, "{}", own.len());
        let batch = FraudBatch::new(&facts.risks, &facts.risk_lines).expect("a batch");
        let plugin = sample::<Fraud>(&runtime).expect("a plugin");
        let found = plugin.decide(0, batch, &mut |_| Vec::new());
        assert!(found.answer.iter().all(|risk| risk.verdict == Verdict::Allow));
        assert!(found.answer.iter().any(|risk| risk.points > 0));
        settings(10).expect("settings");
    }
}
