//! Durable orders a second with a window in flight, and latency at a steady rate.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use onhand_benches::BenchError;
use onhand_benches::drive::{self, Outcome, Schedule, Window};
use onhand_benches::machine::{self, CpuTime, frame_bytes};
use onhand_benches::summary::{Runs, latencies, percentiles};
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::{Ack, Engine};
use serde_json::{Value, json};

use crate::{Common, DataDir, LatencyArgs, ThroughputArgs, data_dir, open, settle, tell};

/// Orders before the measured ones: threads, tables and the disk are warm then.
const WARM_UP: u64 = 200_000;
/// Numbers between the first orders of two producers.
const PRODUCER_STRIDE: u64 = 1 << 40;

fn plan(mix: Mix, skus: usize) -> Plan {
    Plan::new(mix, if mix == Mix::Hot { 1 } else { skus })
}

fn batch_of(in_flight: usize, wanted: usize) -> usize {
    if wanted > 0 { wanted } else { (in_flight / 8).clamp(1, 2_048) }
}

/// Measures orders a second for each window.
pub(crate) fn throughput(common: &Common, args: &ThroughputArgs) -> Result<Value, BenchError> {
    let plan = plan(args.what, args.skus);
    let mut figures = json!({ "machine": machine::describe(), "skus": plan.skus });
    for &in_flight in &args.in_flight {
        let batch = batch_of(in_flight, args.batch);
        let window = Window {
            orders: args.orders,
            in_flight,
            batch,
            producers: args.producers,
            ack: Ack::Group,
        };
        let mut rates = Runs::default();
        let mut commands = Runs::default();
        let mut latency = latencies();
        let (mut cpu, mut shard_cpu) = (Runs::default(), Runs::default());
        let mut bytes = Value::Null;
        for run in 0..common.runs {
            let dir = data_dir(common)?;
            let (outcome, [all, shards], journal) = run_window(common, &dir, plan, window)?;
            eprintln!(
                "{:?} {} SKUs, {in_flight} in flight, run {}: {:.3} M orders/s (load {:.1})",
                plan.mix,
                plan.skus,
                run + 1,
                outcome.orders_per_second() / 1e6,
                machine::load()
            );
            rates.0.push(outcome.orders_per_second());
            commands.0.push(outcome.commands_per_second());
            cpu.0.push(all);
            shard_cpu.0.push(shards);
            latency.add(&outcome.latency)?;
            bytes = journal;
            drop(dir);
            settle();
        }
        let latency = percentiles(&latency);
        tell(
            common,
            &format!(
                "{:?}, {} SKUs, {in_flight} in flight, batches of {batch}: {}, p50 {:.2} ms, \
                 p99 {:.2} ms, {} of processor time an order, {} of it in the shard, {}",
                plan.mix,
                plan.skus,
                rates.text(1e6, "M orders/s"),
                latency["p50_ms"].as_f64().unwrap_or(0.0),
                latency["p99_ms"].as_f64().unwrap_or(0.0),
                cpu.text(1.0, "ns"),
                shard_cpu.text(1.0, "ns"),
                bytes
            ),
        );
        figures[format!("in_flight_{in_flight}")] = json!({
            "batch": batch,
            "producers": args.producers,
            "orders_per_s": rates.json(),
            "commands_per_s": commands.json(),
            "latency": latency,
            "cpu_ns_per_order": cpu.json(),
            "shard_cpu_ns_per_order": shard_cpu.json(),
            "journal": bytes,
        });
    }
    Ok(figures)
}

fn run_window(
    common: &Common,
    dir: &DataDir,
    plan: Plan,
    window: Window,
) -> Result<(Outcome, [f64; 2], Value), BenchError> {
    let (engine, _) = open(common, dir)?;
    let skus = stock_shop(&engine, plan.skus, STOCK)?;
    let source = |first: u64| {
        let skus = &skus;
        move |producer: usize| Orders::new(plan, skus, first + producer as u64 * PRODUCER_STRIDE)
    };
    let warm_up = window.orders.min(WARM_UP);
    drive::window(&engine, Window { orders: warm_up, ..window }, source(0))?;
    let before = engine.metrics().journal_bytes;
    let cpu = CpuTime::now();
    // Behind the reach of duplicates of the warm-up.
    let outcome = drive::window(&engine, window, source(PRODUCER_STRIDE / 2))?;
    let cpu = CpuTime::now().nanos_each(cpu, outcome.accepted);
    if outcome.refused > 0 {
        let why = engine.metrics().refusals;
        return Err(format!("{} orders were refused: {why:?}", outcome.refused).into());
    }
    let padded = engine.metrics().journal_bytes - before;
    engine.close()?;
    let frames = frame_bytes(&dir.path().join("journal"))?;
    let share = frames.written as f64 / frames.padded.max(1) as f64;
    let each = padded as f64 / outcome.accepted as f64;
    Ok((outcome, cpu, json!({ "bytes_per_order": each, "without_padding": each * share })))
}

/// Measures latency at half of the maximum, or at a rate.
pub(crate) fn latency(common: &Common, args: &LatencyArgs) -> Result<Value, BenchError> {
    let plan = plan(args.what, args.skus);
    let rate = if args.rate > 0.0 { args.rate } else { half_of_maximum(common, plan)? };
    let (mut p50, mut p99, mut p999) = (Runs::default(), Runs::default(), Runs::default());
    for run in 0..common.runs {
        let dir = data_dir(common)?;
        let (engine, _) = open(common, &dir)?;
        let skus = stock_shop(&engine, plan.skus, STOCK)?;
        let outcome = steady(&engine, args, rate, Orders::new(plan, &skus, 0)?)?;
        engine.close()?;
        let at = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1e6;
        eprintln!(
            "run {}: {:.3} M orders/s asked, {:.3} M got, p50 {:.3} ms, p99 {:.3} ms (load {:.1})",
            run + 1,
            rate / 1e6,
            outcome.commands_per_second() / 1e6,
            at(0.5),
            at(0.99),
            machine::load()
        );
        p50.0.push(at(0.5));
        p99.0.push(at(0.99));
        p999.0.push(at(0.999));
        settle();
    }
    tell(
        common,
        &format!(
            "{:?} at {:.2} M orders/s: p50 {}, p99 {}, p99.9 {}",
            plan.mix,
            rate / 1e6,
            p50.text(1.0, "ms"),
            p99.text(1.0, "ms"),
            p999.text(1.0, "ms")
        ),
    );
    Ok(json!({
        "machine": machine::describe(),
        "rate": rate,
        "p50_ms": p50.json(),
        "p99_ms": p99.json(),
        "p999_ms": p999.json(),
    }))
}

fn steady(
    engine: &Engine,
    args: &LatencyArgs,
    rate: f64,
    orders: Orders,
) -> Result<Outcome, BenchError> {
    let schedule = Schedule {
        rate,
        slice: Duration::from_micros(args.slice_us),
        time: Duration::from_secs_f64(args.seconds),
        ack: Ack::Group,
    };
    drive::schedule(engine, schedule, orders, &AtomicBool::new(false))
}

fn half_of_maximum(common: &Common, plan: Plan) -> Result<f64, BenchError> {
    let window = Window {
        orders: 3_000_000,
        in_flight: 65_536,
        batch: 2_048,
        producers: 1,
        ack: Ack::Group,
    };
    let dir = data_dir(common)?;
    let (outcome, _, _) = run_window(common, &dir, plan, window)?;
    settle();
    Ok(outcome.orders_per_second() / 2.0)
}
