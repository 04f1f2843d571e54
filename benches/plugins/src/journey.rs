//! Prices a year of grocery orders by a plugin and compares each line with what the buyer paid.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use onhand_benches::BenchError;
use onhand_core::{Currency, LinePrice};
use onhand_plugin_runtime::{By, Limits, Plugin, PluginOptions, Pricing, Runtime, RuntimeConfig};
use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
use serde_json::{Value, json};

use crate::JourneyArgs;

/// Orders of one call.
const BATCH: usize = 256;
/// What came of it.
#[derive(Debug, Default)]
struct Found {
    configurations: u64,
    orders: u64,
    orders_right: u64,
    lines: u64,
    lines_right: u64,
    lines_reduced: u64,
    reduced_right: u64,
    coupons_used: u64,
    paid: i64,
    charged: i64,
    /// Sum of differences without their sign, and of those where the plugin charged more.
    off: i64,
    above: i64,
    fuel: u64,
    time: Duration,
    loading: Duration,
}

/// Orders that wait for a call, with what their buyers paid.
#[derive(Default)]
struct Waiting {
    headers: Vec<PricingHeader>,
    lines: Vec<PricingLine>,
    coupons: Vec<u64>,
    paid: Vec<i64>,
}

/// Prices and compares.
pub(crate) fn journey(args: &JourneyArgs) -> Result<Value, BenchError> {
    let found = run(&args.file, &args.plugin)?;
    tell(&found);
    Ok(json!({
        "configurations": found.configurations,
        "orders": found.orders,
        "orders_right": found.orders_right,
        "lines": found.lines,
        "lines_right": found.lines_right,
        "lines_reduced": found.lines_reduced,
        "reduced_right": found.reduced_right,
        "cents_paid": found.paid,
        "cents_charged": found.charged,
        "cents_off": found.off,
    }))
}

fn run(file: &Path, plugin: &Path) -> Result<Found, BenchError> {
    let named = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let wasm = std::fs::read(plugin).map_err(|error| named(plugin, error))?;
    let lines = BufReader::new(File::open(file).map_err(|error| named(file, error))?).lines();
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let mut found = Found::default();
    let mut waiting = Waiting::default();
    let mut asked: Option<Plugin<Pricing>> = None;
    for (number, line) in lines.enumerate() {
        let entry: Value = serde_json::from_str(&line?)?;
        let wrong = || format!("line {} is neither configuration nor order", number + 1);
        if let Some(config) = entry.get("config") {
            waiting.ask(asked.as_ref(), &mut found)?;
            let begun = Instant::now();
            let limits = Limits { deadline_ms: 60_000, compile_ms: 60_000, ..Limits::default() };
            let config = config.to_string();
            let options = PluginOptions { limits, config, ..PluginOptions::default() };
            asked = Some(Plugin::load(&runtime, &wasm, options)?);
            found.loading += begun.elapsed();
            found.configurations += 1;
        } else {
            waiting.add(entry.get("order").ok_or_else(wrong)?).ok_or_else(wrong)?;
            if waiting.headers.len() == BATCH {
                waiting.ask(asked.as_ref(), &mut found)?;
            }
        }
    }
    waiting.ask(asked.as_ref(), &mut found)?;
    Ok(found)
}

impl Waiting {
    /// Adds an order: `[customer, time, [[product, store, quantity, unit, paid]], [coupon]]`.
    fn add(&mut self, order: &Value) -> Option<()> {
        let header = PricingHeader {
            customer: order[0].as_u64()?,
            now: order[1].as_u64()?,
            currency: Currency::USD.number().into(),
            first_line: self.lines.len() as u32,
            line_count: order[2].as_array()?.len() as u32,
            first_coupon: self.coupons.len() as u32,
            coupon_count: order[3].as_array()?.len() as u32,
            ..PricingHeader::default()
        };
        for line in order[2].as_array()? {
            self.lines.push(PricingLine {
                sku: line[0].as_u64()?,
                location: line[1].as_u64()? as u32,
                quantity: line[2].as_u64()? as u32,
                unit: line[3].as_i64()?,
                ..PricingLine::default()
            });
            self.paid.push(line[4].as_i64()?);
        }
        for coupon in order[3].as_array()? {
            self.coupons.push(coupon.as_u64()?);
        }
        self.headers.push(header);
        Some(())
    }

    /// Asks the plugin, and compares line by line.
    fn ask(
        &mut self,
        plugin: Option<&Plugin<Pricing>>,
        found: &mut Found,
    ) -> Result<(), BenchError> {
        let Some(plugin) = plugin.filter(|_| !self.headers.is_empty()) else {
            return if self.headers.is_empty() { Ok(()) } else { Err("no configuration".into()) };
        };
        let batch = PricingBatch::new(&self.headers, &self.lines, &self.coupons)?;
        let begun = Instant::now();
        let decided = plugin.decide(0, batch, &mut |_| Vec::new());
        found.time += begun.elapsed();
        if decided.made.iter().any(|made| made.by != By::Plugin) {
            return Err(format!("the plugin failed: {:?}", plugin.last_failure()).into());
        }
        found.fuel += decided.made.iter().map(|made| u64::from(made.fuel)).sum::<u64>();
        found.coupons_used += decided.answer.coupons.len() as u64;
        for header in &self.headers {
            let first = header.first_line as usize;
            let mut right = true;
            for at in first..first + header.line_count as usize {
                let list = self.lines[at].unit * i64::from(self.lines[at].quantity);
                let LinePrice { discount, .. } = decided.answer.lines[at];
                let (charged, paid) = (list - discount, self.paid[at]);
                let reduced = u64::from(paid != list);
                found.lines += 1;
                found.lines_reduced += reduced;
                found.paid += paid;
                found.charged += charged;
                found.off += (charged - paid).abs();
                found.above += (charged - paid).max(0);
                if charged == paid {
                    found.lines_right += 1;
                    found.reduced_right += reduced;
                } else {
                    right = false;
                }
            }
            found.orders += 1;
            found.orders_right += u64::from(right);
        }
        *self = Self::default();
        Ok(())
    }
}

fn tell(found: &Found) {
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let dollars = |cents: i64| cents as f64 / 100.0;
    eprintln!(
        "configurations {}, loaded in {:.1} s",
        found.configurations,
        found.loading.as_secs_f64()
    );
    eprintln!(
        "lines   {} of {} as paid, to the cent ({:.3} %)",
        found.lines_right,
        found.lines,
        share(found.lines_right, found.lines)
    );
    eprintln!(
        "        of those with a discount {} of {} ({:.3} %)",
        found.reduced_right,
        found.lines_reduced,
        share(found.reduced_right, found.lines_reduced)
    );
    eprintln!(
        "orders  {} of {} in every line ({:.3} %)",
        found.orders_right,
        found.orders,
        share(found.orders_right, found.orders)
    );
    eprintln!(
        "money   paid {:.2}, charged {:.2}; differences {:.2}, of which above {:.2}",
        dollars(found.paid),
        dollars(found.charged),
        dollars(found.off),
        dollars(found.above)
    );
    eprintln!("coupons {} used", found.coupons_used);
    eprintln!(
        "cost    {} fuel and {} ns an order of {:.1} lines, in batches of {BATCH}",
        found.fuel / found.orders.max(1),
        found.time.as_nanos() / u128::from(found.orders.max(1)),
        found.lines as f64 / found.orders.max(1) as f64
    );
}
