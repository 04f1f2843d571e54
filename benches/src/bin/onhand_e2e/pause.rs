//! Pauses as a steady stream of orders sees them: while tables grow, at rest, and while a
//! checkpoint is made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use onhand_benches::drive::{self, Outcome, Schedule};
use onhand_benches::summary::percentiles;
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_benches::{BenchError, machine};
use onhand_core::{Ack, Engine, SkuId};
use serde_json::{Value, json};

use crate::{Common, PauseArgs, builder, data_dir, settle, tell};

/// SKUs of the catalogue.
const SKUS: usize = 1_000;
/// Time between two submissions.
const SLICE: Duration = Duration::from_micros(100);
/// Time of the stream without a checkpoint.
const QUIET: Duration = Duration::from_secs(5);
/// Longest time of a stream: a checkpoint that takes longer is a fault.
const LONGEST: Duration = Duration::from_mins(5);

struct Stream<'a> {
    engine: &'a Engine,
    skus: &'a [SkuId],
    next: u64,
}

impl Stream<'_> {
    fn run(
        &mut self,
        rate: f64,
        time: Duration,
        ack: Ack,
        stop: &AtomicBool,
    ) -> Result<Outcome, BenchError> {
        let plan = Plan { duplicates_per_mille: 0, ..Plan::new(Mix::Zipf, SKUS) };
        let orders = Orders::new(plan, self.skus, self.next)?;
        let schedule = Schedule { rate, slice: SLICE, time, ack };
        let outcome = drive::schedule(self.engine, schedule, orders, stop)?;
        self.next += outcome.accepted;
        if outcome.refused > 0 {
            return Err(format!("{} orders were refused", outcome.refused).into());
        }
        Ok(outcome)
    }
}

/// Looks for pauses.
pub(crate) fn pause(common: &Common, args: &PauseArgs) -> Result<Value, BenchError> {
    let dir = data_dir(common)?;
    let (engine, _) = builder(common, &dir).checkpoint_journal_bytes(u64::MAX).open()?;
    let skus = stock_shop(&engine, SKUS, STOCK)?;
    let mut stream = Stream { engine: &engine, skus: &skus, next: 0 };
    let mut figures = json!({ "machine": machine::describe(), "live_orders": args.live });
    let never = AtomicBool::new(false);

    let grow = Duration::from_secs_f64(args.live as f64 / args.growth_rate);
    let growing = stream.run(args.growth_rate, grow, Ack::Memory, &never)?;
    report(common, &mut figures, "growing, answers from memory", &growing);
    settle();
    for (name, ack) in [("memory", Ack::Memory), ("group", Ack::Group)] {
        let quiet = stream.run(args.probe_rate, QUIET, ack, &never)?;
        report(common, &mut figures, &format!("no checkpoint, answers from {name}"), &quiet);
        let (loaded, seconds) = during_checkpoint(&mut stream, args.probe_rate, ack)?;
        report(common, &mut figures, &format!("checkpoint, answers from {name}"), &loaded);
        tell(common, &format!("checkpoint took {seconds:.2} s"));
        settle();
    }
    figures["live_orders_at_end"] = json!(stream.next);
    engine.close()?;
    Ok(figures)
}

fn during_checkpoint(
    stream: &mut Stream<'_>,
    rate: f64,
    ack: Ack,
) -> Result<(Outcome, f64), BenchError> {
    let done = AtomicBool::new(false);
    let engine = stream.engine;
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| {
            let report = engine.checkpoint();
            done.store(true, Ordering::Relaxed);
            report
        });
        let outcome = stream.run(rate, LONGEST, ack, &done)?;
        let report = checkpoint.join().map_err(|_| "the checkpoint's thread panicked")??;
        Ok((outcome, report.elapsed.as_secs_f64()))
    })
}

fn report(common: &Common, figures: &mut Value, name: &str, outcome: &Outcome) {
    let latency = percentiles(&outcome.latency);
    let at = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1e6;
    tell(
        common,
        &format!(
            "{name}: {:.3} M/s, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, longest {:.3} ms \
             (load {:.1})",
            outcome.commands_per_second() / 1e6,
            at(0.5),
            at(0.99),
            at(0.999),
            outcome.latency.max() as f64 / 1e6,
            machine::load()
        ),
    );
    figures[name.replace([',', ' '], "_").replace("__", "_")] = latency;
}
