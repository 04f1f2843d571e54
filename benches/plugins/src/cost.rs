//! What policies cost: durable orders a second without them, with the built-in ones and with two
//! plugins. A round runs each once, so that a slow moment of the machine meets all of them alike.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use onhand_benches::BenchError;
use onhand_benches::drive::{Outcome, Window, window_decided};
use onhand_benches::machine::{self, CpuTime};
use onhand_benches::summary::Runs;
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::{Ack, Command, Engine};
use onhand_desk::{Ask, Desk, DeskConfig, Settings, Shopper};
use onhand_plugin_benches::policies::{sample_bundle, settings};
use onhand_plugin_runtime::{Kind, Runtime, RuntimeConfig};
use serde_json::{Value, json};

use crate::{CostArgs, settle};

/// Orders before the measured ones.
const WARM_UP: u64 = 100_000;
/// Numbers between the first orders of two producers.
const PRODUCER_STRIDE: u64 = 1 << 40;
/// Baskets have nine lines: a ninth of the orders takes as long.
const BASKETS_FEWER: u64 = 8;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody: the engine alone.
    Engine,
    /// A desk on which nobody decides.
    Nobody,
    /// The built-in prices and fraud rules.
    BuiltIn,
    /// Two plugins.
    Plugins,
}

pub(crate) const ALL: [(Who, &str); 4] = [
    (Who::Engine, "engine alone"),
    (Who::Nobody, "desk, no policies"),
    (Who::BuiltIn, "built-in policies"),
    (Who::Plugins, "two plugins"),
];

#[derive(Default)]
struct Figures {
    rates: Runs,
    cpu: Runs,
    p99_ms: Runs,
    /// Rate beside that of the engine alone in the same round.
    share: Runs,
}

/// Measures durable orders a second for each window and each who.
pub(crate) fn cost(quiet: bool, args: &CostArgs) -> Result<Value, BenchError> {
    let mix = args.what;
    let plan = Plan::new(mix, if mix == Mix::Hot { 1 } else { args.skus });
    let orders = if mix == Mix::Baskets { args.orders / BASKETS_FEWER } else { args.orders };
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let mut figures = json!({ "machine": machine::describe(), "skus": plan.skus });
    for &in_flight in &args.in_flight {
        let batch = (in_flight / 8).clamp(1, 2_048);
        let producers = args.producers;
        let window = Window { orders, in_flight, batch, producers, ack: Ack::Group };
        let mut found = ALL.map(|_| Figures::default());
        for run in 0..args.runs {
            let mut alone = f64::NAN;
            for ((who, name), figures) in ALL.iter().zip(&mut found) {
                let (outcome, cpu) = one(args, &runtime, plan, window, *who)?;
                let rate = outcome.orders_per_second();
                alone = if *who == Who::Engine { rate } else { alone };
                figures.rates.0.push(rate);
                figures.cpu.0.push(cpu);
                let p99 = outcome.latency.value_at_quantile(0.99) as f64 / 1e6;
                figures.p99_ms.0.push(p99);
                figures.share.0.push(100.0 * rate / alone);
                eprintln!(
                    "{mix:?}, {in_flight} in flight, run {}: {name} {:.3} M orders/s, {:.0} % \
                     (load {:.1})",
                    run + 1,
                    rate / 1e6,
                    100.0 * rate / alone,
                    machine::load()
                );
            }
        }
        let mut entry = json!({ "batch": batch, "producers": args.producers });
        for ((_, name), Figures { rates, cpu, p99_ms, share }) in ALL.iter().zip(&found) {
            if !quiet {
                println!(
                    "{mix:?}, {in_flight} in flight, {name}: {}, {} of the engine alone, {} of \
                     processor time an order, p99 {}",
                    rates.text(1e6, "M orders/s"),
                    share.text(1.0, "%"),
                    cpu.text(1.0, "ns"),
                    p99_ms.text(1.0, "ms"),
                );
            }
            entry[*name] = json!({
                "orders_per_s": rates.json(),
                "percent_of_engine": share.json(),
                "cpu_ns_per_order": cpu.json(),
                "p99_ms": p99_ms.json(),
            });
        }
        figures[format!("in_flight_{in_flight}")] = entry;
    }
    Ok(figures)
}

/// Runs one variant on a data directory of its own; returns its nanoseconds of processor time an
/// order, too.
fn one(
    args: &CostArgs,
    runtime: &Runtime,
    plan: Plan,
    window: Window,
    who: Who,
) -> Result<(Outcome, f64), BenchError> {
    let dir = tempfile::Builder::new().prefix("onhand-cost-").tempdir_in(&args.data)?;
    let (engine, _) = Engine::builder(dir.path()).queue_commands_max(1 << 20).open()?;
    let skus = stock_shop(&engine, plan.skus, STOCK)?;
    let engine = Arc::new(engine);
    let desk = if who == Who::Engine {
        None
    } else {
        Some(desk(args.learn, args.recorded, runtime, plan, &engine, who)?)
    };
    let decide = |commands: Vec<Command>| match &desk {
        None => Ok(commands),
        Some(desk) => decide(desk, now_ms()?, commands),
    };
    let source = |first: u64| {
        let skus = &skus;
        move |producer: usize| Orders::new(plan, skus, first + producer as u64 * PRODUCER_STRIDE)
    };
    let warm_up = Window { orders: window.orders.min(WARM_UP), ..window };
    window_decided(&engine, warm_up, source(0), decide)?;
    let cpu = CpuTime::now();
    let outcome = window_decided(&engine, window, source(PRODUCER_STRIDE / 2), decide)?;
    let [cpu, _] = CpuTime::now().nanos_each(cpu, outcome.accepted);
    if outcome.refused > 0 {
        let why = engine.metrics().refusals;
        return Err(format!("{} orders were refused: {why:?}", outcome.refused).into());
    }
    if let Some(desk) = desk {
        check(&desk, who)?;
        desk.close();
    }
    Arc::into_inner(engine).ok_or("the desk kept the engine")?.close()?;
    drop(dir);
    settle();
    Ok((outcome, cpu))
}

/// Opens a desk on which somebody decides, or nobody.
pub(crate) fn desk(
    learn: bool,
    recorded_max: u64,
    runtime: &Runtime,
    plan: Plan,
    engine: &Arc<Engine>,
    who: Who,
) -> Result<Desk, BenchError> {
    let settings = if who == Who::Nobody { Settings::default() } else { settings(plan.skus)? };
    let config = DeskConfig {
        settings,
        runtime: Some(runtime.clone()),
        dev: true,
        learn,
        recorded_max,
        ..DeskConfig::default()
    };
    let desk = Desk::open(Arc::clone(engine), config)?;
    if who == Who::Plugins {
        for kind in [Kind::Pricing, Kind::Fraud] {
            let (bundle, config) = sample_bundle(kind)?;
            let installed = desk.install(&bundle, config)?;
            desk.activate(installed.no)?;
        }
    }
    Ok(desk)
}

pub(crate) fn now_ms() -> Result<u64, BenchError> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64)
}

/// Lets a desk decide on commands together.
pub(crate) fn decide(
    desk: &Desk,
    now_ms: u64,
    commands: Vec<Command>,
) -> Result<Vec<Command>, BenchError> {
    let ask = |command| Ask::new(command, Shopper::default());
    let mut asks: Vec<Ask> = commands.into_iter().map(ask).collect::<Result<_, _>>()?;
    desk.decide(now_ms, &mut asks);
    Ok(asks.into_iter().map(Ask::take).collect::<Result<_, _>>()?)
}

/// Checks that those who were to decide have decided on everything, and nobody else.
pub(crate) fn check(desk: &Desk, who: Who) -> Result<(), BenchError> {
    let asked: Vec<_> = desk.stats().into_iter().filter(|stats| stats.orders > 0).collect();
    let wanted = if who == Who::Nobody { 0 } else { 2 };
    let right = asked.iter().all(|stats| {
        stats.plugin.is_some() == (who == Who::Plugins) && stats.by[0] == stats.orders
    });
    if asked.len() == wanted && right { Ok(()) } else { Err(format!("decided: {asked:?}").into()) }
}
