//! Stage: what a policy takes for an order, by orders of a batch: a plugin on a warm instance, on
//! one made for the call, and the built-in policy with the same rules.
//!
//! Warm and built-in are the whole way of a decision, the check of the answer included.

use criterion::{BenchmarkId, Criterion, Throughput};
use onhand_benches::workload::sku_ids;
use onhand_plugin_benches::policies::{Facts, price_list, risk_rules, sample};
use onhand_plugin_runtime::{By, Fraud, Pricing, Runtime, RuntimeConfig, World};
use onhand_policy::decision::{check_prices, check_scores};
use onhand_policy::fact::{FraudBatch, PricingBatch};

const BATCHES: [u32; 3] = [1, 16, 256];
/// Lines of an order, as in the design's own figures.
const LINES: u32 = 3;

/// Measures one world: `batch` makes its facts, `built_in` decides on them without a plugin.
fn world<W: World>(
    criterion: &mut Criterion,
    batch: for<'f> fn(&'f Facts) -> W::Batch<'f>,
    built_in: impl Fn(W::Batch<'_>),
) where
    W::Raw: Default,
{
    let runtime = Runtime::new(RuntimeConfig::default()).expect("a runtime");
    let plugin = sample::<W>(&runtime).expect("the sample loads");
    let mut group = criterion.benchmark_group(W::KIND.to_string());
    for orders in BATCHES {
        let facts = Facts::new(orders, LINES).expect("facts");
        let batch = batch(&facts);
        group.throughput(Throughput::Elements(orders.into()));
        group.bench_function(BenchmarkId::new("built_in", orders), |b| b.iter(|| built_in(batch)));
        group.bench_function(BenchmarkId::new("warm", orders), |b| {
            let decide = || plugin.decide(0, batch, &mut |_| W::Raw::default());
            let made = decide().made;
            assert!(made.iter().all(|made| made.by == By::Plugin), "{made:?}");
            b.iter(decide);
        });
        group.bench_function(BenchmarkId::new("fresh", orders), |b| {
            b.iter(|| plugin.answer(batch, true).expect("an answer"));
        });
        let fuel = plugin.answer(batch, false).expect("an answer").1;
        println!("{}, {orders} orders: {} fuel an order", W::KIND, fuel / u64::from(orders));
    }
    group.finish();
}

fn policies(criterion: &mut Criterion) {
    let skus = sku_ids((BATCHES[2] * LINES) as usize).expect("ids");
    let list = price_list(&skus).expect("a price list");
    world::<Pricing>(
        criterion,
        |facts| PricingBatch::new(&facts.prices, &facts.price_lines, &[]).expect("a batch"),
        |batch| {
            let mut answer = Vec::new();
            list.price(&batch, &mut answer);
            std::hint::black_box(check_prices(&batch, &answer).expect("an answer"));
        },
    );
    let rules = risk_rules().expect("rules");
    world::<Fraud>(
        criterion,
        |facts| FraudBatch::new(&facts.risks, &facts.risk_lines).expect("a batch"),
        |batch| {
            let mut answer = Vec::new();
            rules.score(&batch, &mut answer);
            std::hint::black_box(check_scores(&batch, &answer).expect("an answer"));
        },
    );
}

onhand_benches::bench_main!(policies, 2);
