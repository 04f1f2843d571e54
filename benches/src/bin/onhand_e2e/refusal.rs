//! Refusals of a sold-out SKU: by the shard, and by the published stock that answers most of them.

use std::hint::black_box;
use std::time::Instant;

use onhand_benches::drive::{self, Window};
use onhand_benches::summary::Runs;
use onhand_benches::workload::{Mix, Orders, Plan, stock_shop};
use onhand_benches::{BenchError, machine};
use onhand_core::Ack;
use serde_json::{Value, json};

use crate::{Common, RefusalArgs, data_dir, open, settle, tell};

/// Units that are sold first.
const UNITS: u32 = 1_000;

/// Measures refusals a second.
pub(crate) fn refusal(common: &Common, args: &RefusalArgs) -> Result<Value, BenchError> {
    let (mut by_shard, mut by_stock) = (Runs::default(), Runs::default());
    let plan = Plan { duplicates_per_mille: 0, ..Plan::new(Mix::Hot, 1) };
    let mut per_refusal = 0.0;
    for run in 0..common.runs {
        let dir = data_dir(common)?;
        let (engine, _) = open(common, &dir)?;
        let skus = stock_shop(&engine, 1, UNITS)?;
        let window = Window {
            orders: u64::from(UNITS),
            in_flight: 16_384,
            batch: 2_048,
            producers: 1,
            ack: Ack::Group,
        };
        let sold = drive::window(&engine, window, |_| Orders::new(plan, &skus, 0))?;
        let before = engine.metrics().journal_bytes;
        let all = Window { orders: args.orders, ..window };
        let refused = drive::window(&engine, all, |_| Orders::new(plan, &skus, 1 << 40))?;
        if sold.accepted != u64::from(UNITS) || refused.refused != args.orders {
            return Err(format!(
                "{} sold of {UNITS}, then {} refused",
                sold.accepted, refused.refused
            )
            .into());
        }
        per_refusal = (engine.metrics().journal_bytes - before) as f64 / args.orders as f64;
        by_shard.0.push(refused.commands_per_second());
        let start = Instant::now();
        for _ in 0..args.orders {
            let stock = engine.stock(black_box(skus[0]));
            if stock.is_none_or(|stock| stock.available > 0) {
                return Err("a sold-out SKU shows stock".into());
            }
        }
        by_stock.0.push(args.orders as f64 / start.elapsed().as_secs_f64());
        eprintln!("run {}: {by_shard:?} {by_stock:?} (load {:.1})", run + 1, machine::load());
        engine.close()?;
        settle();
    }
    tell(
        common,
        &format!(
            "refusals by the shard: {}, {per_refusal:.1} B of journal each; by published stock: {}",
            by_shard.text(1e6, "M/s"),
            by_stock.text(1e6, "M/s")
        ),
    );
    Ok(json!({
        "machine": machine::describe(),
        "by_shard_per_s": by_shard.json(),
        "by_published_stock_per_s": by_stock.json(),
        "journal_bytes_per_refusal": per_refusal,
    }))
}
