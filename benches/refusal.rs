//! Stage: refusals of a sold-out SKU, by a shard and by the published stock.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use onhand_benches::stage::{SECTION, Stage};
use onhand_benches::workload::{Mix, Orders, Plan, stock_shop};
use onhand_core::{Ack, Engine};

fn refusal(criterion: &mut Criterion) {
    let plan = Plan { duplicates_per_mille: 0, ..Plan::new(Mix::Hot, 1) };
    let mut group = criterion.benchmark_group("refusal");
    group.throughput(Throughput::Elements(SECTION as u64));
    group.bench_function("apply", |b| {
        let mut stage = Stage::new(plan, 1, 0).expect("the shop is stocked");
        let commands = stage.commands();
        stage.section(&commands, 1);
        b.iter_custom(|iterations| {
            let section = |_| {
                let commands = stage.commands();
                let (took, accepted) = stage.section(&commands, 1);
                assert_eq!(accepted, 0, "the SKU is sold out");
                took
            };
            (0..iterations).map(section).sum()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("published_stock", |b| {
        let (engine, _) = Engine::in_memory().open().expect("memory has room");
        let skus = stock_shop(&engine, 1, 1).expect("the shop is stocked");
        let mut orders = Orders::new(plan, &skus, 0).expect("there is a SKU");
        let sold = engine.submit_batch(orders.batch(1), Ack::Group).expect("taken").wait();
        assert!(sold.is_ok());
        b.iter(|| {
            let stock = engine.stock(black_box(skus[0]));
            assert!(stock.is_some_and(|stock| stock.available == 0));
        });
    });
    group.finish();
}

onhand_benches::bench_main!(refusal, 2);
