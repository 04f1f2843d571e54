//! Stage: what a policy takes for an order, by orders of a batch: a plugin on a warm instance, on
//! one made for the call, and the built-in policy with the same rules.
//!
//! Warm and built-in are the whole way of a decision, the check of the answer included.

use criterion::{BenchmarkId, Criterion, Throughput};
use onhand_benches::workload::sku_ids;
use onhand_plugin_benches::policies::{Facts, price_list, risk_rules, sample};
use onhand_plugin_runtime::{By, Decided, Fraud, Pricing, Runtime, RuntimeConfig};
use onhand_policy::decision::{check_prices, check_scores};
use onhand_policy::fact::{FraudBatch, PricingBatch};

const BATCHES: [u32; 3] = [1, 16, 256];
/// Lines of an order, as in the design's own figures.
const LINES: u32 = 3;

/// Checks that the plugin itself has decided on everything.
fn by_plugin<A>(decided: &Decided<A>) {
    assert!(decided.made.iter().all(|made| made.by == By::Plugin), "{:?}", decided.made);
}

fn pricing(criterion: &mut Criterion) {
    let runtime = Runtime::new(RuntimeConfig::default()).expect("a runtime");
    let plugin = sample::<Pricing>(&runtime).expect("the sample loads");
    let mut group = criterion.benchmark_group("pricing");
    for orders in BATCHES {
        let facts = Facts::new(orders, LINES).expect("facts");
        let batch = PricingBatch::new(&facts.prices, &facts.price_lines, &[]).expect("a batch");
        let skus = sku_ids((orders * LINES) as usize).expect("ids");
        let list = price_list(&skus).expect("a price list");
        group.throughput(Throughput::Elements(orders.into()));
        group.bench_function(BenchmarkId::new("built_in", orders), |b| {
            b.iter(|| {
                let mut answer = Vec::new();
                list.price(&batch, &mut answer);
                check_prices(&batch, &answer).expect("an answer")
            });
        });
        group.bench_function(BenchmarkId::new("warm", orders), |b| {
            by_plugin(&plugin.decide(0, batch, &mut |_| Vec::new()));
            b.iter(|| plugin.decide(0, batch, &mut |_| Vec::new()));
        });
        group.bench_function(BenchmarkId::new("fresh", orders), |b| {
            b.iter(|| plugin.answer(batch, true).expect("an answer"));
        });
        let fuel = plugin.answer(batch, false).expect("an answer").1;
        println!("pricing, {orders} orders: {} fuel an order", fuel / u64::from(orders));
    }
    group.finish();
}

fn fraud(criterion: &mut Criterion) {
    let runtime = Runtime::new(RuntimeConfig::default()).expect("a runtime");
    let plugin = sample::<Fraud>(&runtime).expect("the sample loads");
    let rules = risk_rules().expect("rules");
    let mut group = criterion.benchmark_group("fraud");
    for orders in BATCHES {
        let facts = Facts::new(orders, LINES).expect("facts");
        let batch = FraudBatch::new(&facts.risks, &facts.risk_lines).expect("a batch");
        group.throughput(Throughput::Elements(orders.into()));
        group.bench_function(BenchmarkId::new("built_in", orders), |b| {
            b.iter(|| {
                let mut answer = Vec::new();
                rules.score(&batch, &mut answer);
                check_scores(&batch, &answer).expect("an answer")
            });
        });
        group.bench_function(BenchmarkId::new("warm", orders), |b| {
            by_plugin(&plugin.decide(0, batch, &mut |_| Vec::new()));
            b.iter(|| plugin.decide(0, batch, &mut |_| Vec::new()));
        });
        group.bench_function(BenchmarkId::new("fresh", orders), |b| {
            b.iter(|| plugin.answer(batch, true).expect("an answer"));
        });
        let fuel = plugin.answer(batch, false).expect("an answer").1;
        println!("fraud, {orders} orders: {} fuel an order", fuel / u64::from(orders));
    }
    group.finish();
}

fn policies(criterion: &mut Criterion) {
    pricing(criterion);
    fraud(criterion);
}

onhand_benches::bench_main!(policies, 2);
