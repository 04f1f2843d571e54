//! Stage: `apply` alone, one core, records encoded; no queue, thread or journal.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use onhand_benches::stage::{SECTION, Stage};
use onhand_benches::workload::{Mix, Plan, STOCK, as_decided, policies};

/// Live orders from which on a fresh shard goes on: bounds the memory of a long run.
const LIVE_MAX: u64 = 1_000_000;

fn time(plan: Plan, decided: bool, expected_orders: usize, iterations: u64) -> Duration {
    let fresh = || {
        let mut stage = Stage::new(plan, STOCK, expected_orders).expect("the shop is stocked");
        let known = policies().iter().filter(|step| decided && stage.shard.apply(step)).count();
        assert_eq!(known, if decided { 2 } else { 0 }, "policies are taken");
        stage
    };
    let mut stage = fresh();
    let mut sum = Duration::ZERO;
    for _ in 0..iterations {
        if stage.shard.live_orders() >= LIVE_MAX {
            stage = fresh();
        }
        let mut commands = stage.commands();
        if decided {
            commands = commands.into_iter().map(as_decided).collect();
        }
        let (took, accepted) = stage.section(&commands, 1);
        assert_eq!(accepted, SECTION, "there is stock for every order");
        sum += took;
    }
    sum
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(SECTION as u64));
    let plans = [
        ("hot", Plan::new(Mix::Hot, 1), LIVE_MAX as usize),
        ("decided", Plan::new(Mix::Hot, 1), LIVE_MAX as usize),
        ("hot_growing", Plan::new(Mix::Hot, 1), 0),
        ("zipf_1000", Plan::new(Mix::Zipf, 1_000), LIVE_MAX as usize),
        ("zipf_100000", Plan::new(Mix::Zipf, 100_000), LIVE_MAX as usize),
        ("baskets", Plan::new(Mix::Baskets, 68_509), LIVE_MAX as usize),
    ];
    for (name, plan, expected) in plans {
        let decided = name == "decided";
        group.bench_function(name, |b| b.iter_custom(|n| time(plan, decided, expected, n)));
    }
    group.finish();
}

onhand_benches::bench_main!(apply, 2);
