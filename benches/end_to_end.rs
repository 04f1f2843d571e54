//! All stages: 200,000 orders from submission to durable answers, by orders in flight.
//!
//! The published figures come from `onhand-e2e`, which has longer runs; this one is for changes.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use onhand_benches::drive::{Window, window};
use onhand_benches::workload::{Mix, Orders, Plan, STOCK, stock_shop};
use onhand_core::{Ack, Engine};

const ORDERS: u64 = 200_000;
/// Numbers between the first orders of two runs.
const STRIDE: u64 = 1 << 32;

fn end_to_end(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("end_to_end");
    group.throughput(Throughput::Elements(ORDERS));
    for in_flight in [2_048_usize, 16_384] {
        group.bench_function(BenchmarkId::new("hot", in_flight), |b| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let (engine, _) = Engine::builder(dir.path()).open().expect("a fresh directory opens");
            let skus = stock_shop(&engine, 1, STOCK).expect("the shop is stocked");
            let plan = Plan::new(Mix::Hot, 1);
            let batch = (in_flight / 8).min(2_048);
            let all = Window { orders: ORDERS, in_flight, batch, producers: 1, ack: Ack::Group };
            let mut run = 0;
            b.iter_custom(|iterations| {
                let mut sum = Duration::ZERO;
                for _ in 0..iterations {
                    run += 1;
                    let orders = Orders::new(plan, &skus, run * STRIDE).expect("a SKU");
                    let outcome = window(&engine, all, |_| Ok(orders.clone())).expect("orders");
                    assert_eq!(outcome.refused, 0, "there is stock for every order");
                    sum += outcome.elapsed;
                }
                sum
            });
            engine.close().expect("the journal is whole");
        });
    }
    group.finish();
}

onhand_benches::bench_main!(end_to_end, 3);
