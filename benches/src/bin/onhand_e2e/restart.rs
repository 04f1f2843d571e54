//! Time to restart from the journal alone and from a checkpoint, memory and journal an order.

use std::time::Instant;

use onhand_benches::drive::{self, Window};
use onhand_benches::summary::Runs;
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_benches::{BenchError, machine};
use onhand_core::{Ack, Command, Engine};
use serde_json::{Value, json};

use crate::{Common, DataDir, RestartArgs, builder, data_dir, tell};

/// Sections after which a shard has surely counted its memory anew.
const COUNT_SECTIONS: usize = 2_100;

/// Fills an engine, then opens it again and again.
pub(crate) fn restart(common: &Common, args: &RestartArgs) -> Result<Value, BenchError> {
    let dir = data_dir(common)?;
    // No checkpoint but that which is asked for.
    let make = || builder(common, &dir).checkpoint_journal_bytes(u64::MAX);
    let mix = args.what;
    let skus = if mix == Mix::Hot { 1 } else { args.skus };
    let plan = Plan { duplicates_per_mille: 0, ..Plan::new(mix, skus) };
    let (engine, _) = make().open()?;
    let ids = stock_shop(&engine, skus, STOCK)?;
    let resident = machine::resident_bytes();
    let orders = Orders::new(plan, &ids, 0)?;
    let window = Window {
        orders: args.live,
        in_flight: 16_384,
        batch: 2_048,
        producers: 1,
        ack: Ack::Group,
    };
    let filled = drive::window(&engine, window, |_| Ok(orders.clone()))?;
    let live = filled.accepted as f64;
    let memory = memory_bytes(&engine)? as f64 / live;
    let resident = machine::resident_bytes().saturating_sub(resident) as f64 / live;
    engine.close()?;
    tell(
        common,
        &format!("{live} live orders: {memory:.1} B each in tables, {resident:.1} B resident"),
    );

    let (from_journal, replayed) = reopen(common, &dir, args.live)?;
    let per_million = |runs: &Runs| Runs(runs.0.iter().map(|s| s / live * 1e6).collect());
    let journal = per_million(&from_journal);
    tell(common, &format!("restart from {replayed} records: {} a million", journal.text(1.0, "s")));

    let (engine, _) = make().open()?;
    let start = Instant::now();
    let report = engine.checkpoint()?;
    let checkpoint_s = start.elapsed().as_secs_f64();
    engine.close()?;
    let (from_checkpoint, replayed) = reopen(common, &dir, args.live)?;
    let checkpoint = per_million(&from_checkpoint);
    tell(
        common,
        &format!(
            "checkpoint of {} orders in {checkpoint_s:.2} s; restart from it and {replayed} \
             records: {} a million",
            report.orders,
            checkpoint.text(1.0, "s")
        ),
    );
    Ok(json!({
        "machine": machine::describe(),
        "live_orders": live,
        "table_bytes_per_order": memory,
        "resident_bytes_per_order": resident,
        "from_journal_s_per_million": journal.json(),
        "checkpoint_s": checkpoint_s,
        "from_checkpoint_s_per_million": checkpoint.json(),
    }))
}

fn reopen(common: &Common, dir: &DataDir, live: u64) -> Result<(Runs, u64), BenchError> {
    let mut runs = Runs::default();
    let mut replayed = 0;
    for run in 0..common.runs {
        let start = Instant::now();
        let (engine, report) = builder(common, dir).checkpoint_journal_bytes(u64::MAX).open()?;
        runs.0.push(start.elapsed().as_secs_f64());
        if report.live_orders != live {
            return Err(format!("{} orders are there of {live}", report.live_orders).into());
        }
        replayed = report.commands_replayed;
        eprintln!(
            "opening {}: {:.3} s, {replayed} records (load {:.1})",
            run + 1,
            runs.0[run],
            machine::load()
        );
        engine.close()?;
    }
    Ok((runs, replayed))
}

/// Returns the bytes of the shards' tables, counted after the last order.
pub(crate) fn memory_bytes(engine: &Engine) -> Result<u64, BenchError> {
    for _ in 0..COUNT_SECTIONS {
        engine.submit_with(Command::Tick, Ack::Memory)?.wait()?;
    }
    Ok(engine.metrics().memory_bytes)
}
