//! Stage: opening an engine of 100,000 live orders, from its journal and from a checkpoint.

use criterion::{Criterion, Throughput};
use onhand_benches::drive::{Window, window};
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::{Ack, Engine, EngineBuilder};
use std::path::Path;

const LIVE: u64 = 100_000;

fn builder(dir: &Path) -> EngineBuilder {
    Engine::builder(dir).checkpoint_journal_bytes(u64::MAX)
}

fn fill(dir: &Path) -> Engine {
    let (engine, _) = builder(dir).open().expect("a fresh directory opens");
    let skus = stock_shop(&engine, 1_000, STOCK).expect("the shop is stocked");
    let plan = Plan { duplicates_per_mille: 0, ..Plan::new(Mix::Zipf, 1_000) };
    let all =
        Window { orders: LIVE, in_flight: 8_192, batch: 1_024, producers: 1, ack: Ack::Group };
    let filled = window(&engine, all, |_| Orders::new(plan, &skus, 0)).expect("orders");
    assert_eq!(filled.accepted, LIVE);
    engine
}

fn open(dir: &Path) {
    let (engine, report) = builder(dir).open().expect("the directory opens again");
    assert_eq!(report.live_orders, LIVE);
    engine.close().expect("the journal is whole");
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open_and_close");
    group.throughput(Throughput::Elements(LIVE));
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path()).close().expect("the journal is whole");
    group.bench_function("journal", |b| b.iter(|| open(dir.path())));
    let (engine, _) = builder(dir.path()).open().expect("the directory opens again");
    engine.checkpoint().expect("a checkpoint");
    engine.close().expect("the journal is whole");
    group.bench_function("checkpoint", |b| b.iter(|| open(dir.path())));
    group.finish();
}

onhand_benches::bench_main!(recovery, 2);
