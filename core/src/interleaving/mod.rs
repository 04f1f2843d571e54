//! Every interleaving that shuttle's schedulers choose: queues and wake-ups, the reply gate,
//! completions, claims of keys, published counts, and closing.
//!
//! What runs is the engine itself, with its threads, locks, atomics and queues taken from
//! [`crate::sync`]. No timeout fires there: a wake-up that is lost is a deadlock, which fails the
//! test with the schedule that led to it.
//!
//! Run with `cargo test -p onhand-core --lib --features shuttle interleaving`; the environment
//! variable `SHUTTLE_ITER` sets how many schedules each test tries with each scheduler.

mod parts;
mod whole;

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::command::{Buy, Command, DefineSku, Line, LinePrice, Placement, Receive, SkuKind};
use crate::decided::{Decided, DecidedBy, PolicyDecision, PolicyKind, PolicyNo, PolicyStep, Step};
use crate::engine::Engine;
use crate::id::{CustomerId, Key, LocationId, LotId, SkuId};
use crate::money::{Currency, Money};
use crate::quantity::Quantity;
use crate::sim::FaultStorage;
use crate::time::{ManualClock, Timestamp};

/// Stack of a simulated thread, in bytes.
const STACK_BYTES: usize = 1 << 20;
/// Placement group of the SKU `A`: the first that may be used.
const GROUP: u64 = 2;
/// Changes of priority of the second scheduler: bugs of this depth are likely to be found.
const DEPTH: usize = 3;

/// Runs a test under so many schedules of each scheduler; `SHUTTLE_ITER` overrides the number.
fn explore(schedules: usize, test: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("SHUTTLE_ITER").ok().and_then(|text| text.parse().ok());
    let schedules = asked.unwrap_or(schedules);
    let test = Arc::new(test);
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    let body = Arc::clone(&test);
    Runner::new(RandomScheduler::new_from_seed(1, schedules), config.clone()).run(move || body());
    Runner::new(PctScheduler::new_from_seed(2, DEPTH, schedules), config).run(move || test());
}

fn key(text: &str) -> Key {
    Key::from_text(text)
}

fn sku(code: &str) -> SkuId {
    SkuId::from_code(code).expect("a code")
}

fn open(disk: &FaultStorage, shards: u16) -> Engine {
    builder(disk, shards).open().expect("opens").0
}

fn builder(disk: &FaultStorage, shards: u16) -> crate::EngineBuilder {
    Engine::with_storage(Arc::new(disk.clone()), "/engine")
        .shards(shards)
        .clock(Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000))))
        .segment_bytes(128 << 10)
        .min_free_bytes(0)
}

fn define(code: &str, group: u64) -> Command {
    Command::DefineSku(Box::new(DefineSku {
        key: key(&format!("define {code}")),
        code: code.to_owned(),
        kind: SkuKind::Goods,
        price: Money::new(100, Currency::EUR).expect("in range"),
        placement: Placement::Group(group),
        limit: None,
        components: Vec::new(),
    }))
}

fn receive(code: &str, units: u32) -> Command {
    Command::Receive(Receive {
        key: key(&format!("receive {code}")),
        sku: sku(code),
        location: LocationId(1),
        lot: LotId(0),
        quantity: Quantity::new(units).expect("in range"),
    })
}

fn buy(name: &str, codes: &[&str]) -> Command {
    let lines: Vec<Line> = codes.iter().map(|c| Line::new(sku(c), Quantity::ONE)).collect();
    let mut buy = Buy::one(key(name), CustomerId(1), lines[0]);
    buy.lines = lines.into();
    Command::Buy(buy)
}

/// Installs a pricing policy; each number is another one.
fn policy(number: u8) -> Command {
    Command::PolicyStep(Box::new(PolicyStep {
        key: key(&format!("policy {number}")),
        kind: PolicyKind::Pricing,
        step: Step::Installed,
        name: "list".to_owned(),
        version: String::new(),
        plugin: [0; 32],
        config: [number; 32],
        share: 0,
        note: String::new(),
    }))
}

/// Buys one unit at a price that a policy has decided.
fn decided(name: &str, code: &str, policy: PolicyNo) -> Command {
    let price = LinePrice { unit: 90, discount: 0 };
    let line = Line::new(sku(code), Quantity::ONE).priced(price);
    let pricing = PolicyDecision { policy, by: DecidedBy::Policy, fuel: 1, input: 2 };
    let mut buy = Buy::one(key(name), CustomerId(1), line);
    buy.decided = Some(Box::new(Decided { pricing: Some(pricing), ..Decided::default() }));
    Command::Buy(buy)
}

/// Returns a disk that holds an engine of two SKUs, `A` and `B`, with so many units each; with
/// several shards they are in different ones. Made outside of the scheduler's reach: no threads.
fn stocked(shards: u16, units: u32) -> FaultStorage {
    let disk = FaultStorage::new(7, false);
    let (mut parts, _) = builder(&disk, shards).assemble().expect("opens");
    let mut run = |command: Command| {
        let mut ticket = parts.engine.submit(command).expect("taken");
        for _ in 0..20 {
            for worker in &mut parts.workers {
                worker.step().expect("steps");
            }
            let gate = parts.engine.around.gate.clone();
            gate.write_one(&mut parts.writer, &parts.engine.published).expect("writes");
            if let Some(reply) = ticket.try_take() {
                let outcome = reply.expect("answered").outcome;
                assert!(outcome.is_ok(), "{outcome:?}");
                return;
            }
        }
        panic!("a command is answered within some steps");
    };
    for (code, group) in [("A", GROUP), ("B", other_group(shards))] {
        run(define(code, group));
        run(receive(code, units));
    }
    disk
}

/// Returns a placement group in another shard than that of `A`, if there is one.
fn other_group(shards: u16) -> u64 {
    let place =
        |group| crate::route::cell_shard(Placement::Group(group), sku("A"), LocationId(1), shards);
    (GROUP..100).find(|group| place(*group) != place(GROUP)).unwrap_or(GROUP)
}
