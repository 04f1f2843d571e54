//! A desk alone: the processor time that decisions take before the engine sees an order.
//!
//! One thread and no disk, so that a profiler sees the desk and little else, and an instruction
//! counter counts the same in each run: `valgrind --tool=callgrind` with two counts of orders, of
//! whose figures the difference counts.

use std::sync::Arc;

use onhand_benches::BenchError;
use onhand_benches::machine::{self, CpuTime};
use onhand_benches::summary::Runs;
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::Engine;
use onhand_plugin_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};

use crate::AloneArgs;
use crate::cost::{ALL, Who, check, decide, desk, now_ms};

/// Measures processor time an order for each who, by size of batch.
pub(crate) fn alone(quiet: bool, args: &AloneArgs) -> Result<Value, BenchError> {
    let plan = Plan::new(args.what, if args.what == Mix::Hot { 1 } else { args.skus });
    let wanted = |name: &str| args.only.is_empty() || name.contains(&args.only);
    let whos = || ALL.iter().filter(|(who, name)| *who != Who::Engine && wanted(name));
    // Plugins are loaded where they are asked only: an instruction counter has no room for more.
    let runtime = RuntimeConfig { total_instances: 8, ..RuntimeConfig::default() };
    let runtime = Runtime::new(runtime)?;
    let mut figures = json!({ "machine": machine::describe(), "skus": plan.skus });
    for &batch in &args.batches {
        let mut found: Vec<Runs> = whos().map(|_| Runs::default()).collect();
        for _ in 0..args.runs {
            for ((who, _), runs) in whos().zip(&mut found) {
                runs.0.push(one(args, &runtime, plan, batch, *who)?);
            }
        }
        for ((_, name), runs) in whos().zip(&found) {
            if !quiet {
                let load = machine::load();
                let text = runs.text(1.0, "ns");
                println!("{:?}, batches of {batch}, {name}: {text} (load {load:.1})", args.what);
            }
            figures[format!("batches_of_{batch}")][*name] = runs.json();
        }
    }
    Ok(figures)
}

/// Returns nanoseconds of processor time an order, those of making it included.
fn one(
    args: &AloneArgs,
    runtime: &Runtime,
    plan: Plan,
    batch: usize,
    who: Who,
) -> Result<f64, BenchError> {
    let (engine, _) = Engine::in_memory().open()?;
    let skus = stock_shop(&engine, plan.skus, STOCK)?;
    let engine = Arc::new(engine);
    let desk = desk(false, 0, runtime, plan, &engine, who)?;
    let mut orders = Orders::new(plan, &skus, 0)?;
    let now_ms = now_ms()?;
    let before = CpuTime::now();
    let mut left = args.orders;
    while left > 0 {
        let count = left.min(batch as u64);
        drop(decide(&desk, now_ms, orders.batch(count as usize))?);
        left -= count;
    }
    let [spent, _] = CpuTime::now().nanos_each(before, args.orders);
    check(&desk, who)?;
    desk.close();
    Arc::into_inner(engine).ok_or("the desk kept the engine")?.close()?;
    Ok(spent)
}
