//! Stage: one group from submission to disk, by its number of orders.

use criterion::{BenchmarkId, Criterion, Throughput};
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::{Ack, Engine};

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal_group");
    for count in [1_usize, 64, 1_024, 8_192] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let (engine, _) = Engine::builder(dir.path()).open().expect("a fresh directory opens");
            let skus = stock_shop(&engine, 1, STOCK).expect("the shop is stocked");
            let mut orders = Orders::new(Plan::new(Mix::Hot, 1), &skus, 0).expect("a SKU");
            b.iter_batched(
                || orders.batch(count),
                |commands| engine.submit_batch(commands, Ack::Group)?.wait(),
                criterion::BatchSize::PerIteration,
            );
            engine.close().expect("the journal is whole");
        });
    }
    group.finish();
}

onhand_benches::bench_main!(journal, 1);
