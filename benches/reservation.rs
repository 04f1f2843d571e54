//! Stage: reservations, made and expired by time, without threads or journal.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use onhand_benches::stage::{SECTION, Stage};
use onhand_benches::workload::{Mix, Plan, STOCK, as_reservation};
use onhand_core::Command;

/// Milliseconds that a reservation lives.
const TTL_MS: u64 = 10_000;
/// Sections after which a fresh shard goes on: settled orders stay in it.
const SECTIONS_MAX: u64 = 4_000;

fn fresh() -> Stage {
    Stage::new(Plan::new(Mix::Zipf, 1_000), STOCK, 0).expect("the shop is stocked")
}

fn reservations(stage: &mut Stage) -> Vec<Command> {
    stage.commands().into_iter().map(|command| as_reservation(command, TTL_MS)).collect()
}

/// Times either the making or the expiry of sections of reservations.
fn time(iterations: u64, expiry: bool) -> Duration {
    let mut stage = fresh();
    let mut sum = Duration::ZERO;
    for at in 1..=iterations {
        if at % SECTIONS_MAX == 0 {
            stage = fresh();
        }
        let commands = reservations(&mut stage);
        let (made, accepted) = stage.section(&commands, 1);
        assert_eq!(accepted, SECTION, "there is stock for every reservation");
        let (expired, _) = stage.section(&[], TTL_MS + 1);
        assert_eq!(stage.shard.live_orders(), 0, "every reservation has expired");
        sum += if expiry { expired } else { made };
    }
    sum
}

fn reservation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reservation");
    group.throughput(Throughput::Elements(SECTION as u64));
    group.bench_function("reserve", |b| b.iter_custom(|n| time(n, false)));
    group.bench_function("expire", |b| b.iter_custom(|n| time(n, true)));
    group.finish();
}

onhand_benches::bench_main!(reservation, 2);
