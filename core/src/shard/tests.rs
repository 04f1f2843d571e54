//! Several shards stepped by hand: what requests are told that meet a basket in flight.

use std::sync::Arc;

use crate::command::{Buy, Command, DefineSku, Line, Place, Placement, Receive, Reserve, SkuKind};
use crate::engine::Engine;
use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
use crate::money::{Currency, Money};
use crate::open::Assembled;
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::{OrderStatus, Receipt, Reply};
use crate::shard::completion::Ticket;
use crate::sim::FaultStorage;
use crate::time::{ManualClock, Timestamp};

const START: u64 = 1_700_000_000_000;
/// Time that a basket may wait for tentative units, in milliseconds.
const WAIT_MS: u64 = 10;

/// An engine of two shards whose threads do not run: SKU `A` is in shard 0, `B` in shard 1.
struct Stage {
    parts: Assembled,
    disk: FaultStorage,
    clock: Arc<ManualClock>,
}

fn key(text: &str) -> Key {
    Key::from_text(text)
}

fn sku(code: &str) -> SkuId {
    SkuId::from_code(code).unwrap()
}

fn assemble(disk: &FaultStorage, clock: &Arc<ManualClock>) -> Assembled {
    let builder = Engine::with_storage(Arc::new(disk.clone()), "/engine");
    let builder = builder.shards(2).clock(clock.clone()).segment_bytes(128 << 10);
    builder.min_free_bytes(0).cross_shard_wait_ms(WAIT_MS).assemble().unwrap().0
}

fn group_in(shard: u16) -> Placement {
    let groups = (2..100).map(Placement::Group);
    let home = |group: &Placement| crate::route::cell_shard(*group, sku("A"), LocationId(1), 2);
    groups.into_iter().find(|group| home(group) == shard).unwrap()
}

impl Stage {
    /// Has one unit of each SKU.
    fn new() -> Self {
        let disk = FaultStorage::new(1, true);
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
        let parts = assemble(&disk, &clock);
        let mut stage = Self { parts, disk, clock };
        for (shard, code) in ["A", "B"].into_iter().enumerate() {
            let define = DefineSku {
                key: key(&format!("define {code}")),
                code: code.to_owned(),
                kind: SkuKind::Goods,
                price: Money::new(100, Currency::EUR).unwrap(),
                placement: group_in(shard as u16),
                limit: None,
                components: Vec::new(),
            };
            assert!(stage.run(Command::DefineSku(Box::new(define))).outcome.is_ok());
            assert!(stage.run(receive(&format!("receive {code}"), code)).outcome.is_ok());
        }
        stage
    }

    fn submit(&self, command: Command) -> Ticket {
        self.parts.engine.submit(command).unwrap()
    }

    fn step(&mut self, shard: usize) {
        self.parts.workers[shard].step().unwrap();
    }

    fn write(&mut self) {
        let parts = &mut self.parts;
        let gate = parts.engine.around.gate.clone();
        gate.write_one(&mut parts.writer, &parts.engine.published).unwrap();
    }

    /// Lets everything come to rest.
    fn rest(&mut self) {
        for _ in 0..10 {
            self.step(0);
            self.step(1);
            self.write();
        }
    }

    fn run(&mut self, command: Command) -> Reply {
        let ticket = self.submit(command);
        self.rest();
        answer(ticket)
    }
}

fn answer(mut ticket: Ticket) -> Reply {
    ticket.try_take().expect("answered").unwrap()
}

fn reject(ticket: Ticket) -> Reject {
    answer(ticket).outcome.unwrap_err().reject
}

fn receive(name: &str, code: &str) -> Command {
    Command::Receive(Receive {
        key: key(name),
        sku: sku(code),
        location: LocationId(1),
        lot: LotId(0),
        quantity: Quantity::ONE,
    })
}

fn buy(name: &str, codes: &[&str]) -> Command {
    let lines: Vec<Line> = codes.iter().map(|code| Line::new(sku(code), Quantity::ONE)).collect();
    let mut buy = Buy::one(key(name), CustomerId(1), lines[0]);
    buy.lines = lines.into();
    Command::Buy(buy)
}

fn reserve(name: &str, codes: &[&str], hard_cap_ms: u64) -> Command {
    let lines: Vec<Line> = codes.iter().map(|code| Line::new(sku(code), Quantity::ONE)).collect();
    Command::Reserve(Reserve {
        key: key(name),
        customer: CustomerId(1),
        lines: lines.into(),
        fill: crate::Fill::All,
        ttl_ms: 5,
        hard_cap_ms,
        expected_total: None,
        decided: None,
    })
}

fn place(name: &str, order: &str) -> Command {
    let order = OrderId::from(key(order));
    Command::Place(Place { key: key(name), order, expected_total: None })
}

/// A basket that waits for units which another one in flight holds is refused as busy when its
/// time is up, never as sold out; when the other gives them back, the next try gets them.
#[test]
fn a_basket_that_waits_too_long_is_busy() {
    let mut stage = Stage::new();
    // Takes A in shard 0; the word of shard 1, which has no second B, is not heard yet.
    let holds = stage.submit(buy("bought before", &["B"]));
    stage.rest();
    assert!(answer(holds).outcome.is_ok());
    let first = stage.submit(buy("first", &["A", "B"]));
    stage.step(0);
    let second = stage.submit(buy("second", &["A"]));
    stage.step(0);
    stage.clock.set(Timestamp::from_millis(START + WAIT_MS));
    stage.step(0);
    stage.write();
    assert_eq!(reject(second), Reject::Busy);
    stage.rest();
    assert_eq!(reject(first), Reject::SoldOut);
    assert!(stage.run(buy("second", &["A"])).outcome.is_ok());
}

/// A basket that waits for units which another one in flight holds gets them when that one can't
/// be had: refusing it as sold out would have been wrong.
#[test]
fn a_basket_waits_for_units_in_flight() {
    let mut stage = Stage::new();
    assert!(stage.run(buy("bought before", &["B"])).outcome.is_ok());
    let first = stage.submit(buy("first", &["A", "B"]));
    stage.step(0);
    let second = stage.submit(buy("second", &["A"]));
    stage.rest();
    assert_eq!(reject(first), Reject::SoldOut);
    assert!(answer(second).outcome.is_ok());
}

/// A request whose key is on its way in another shard is contended there: it is neither carried
/// out in the wrong shard nor refused for good.
#[test]
fn a_key_in_flight_elsewhere_is_contended() {
    let mut stage = Stage::new();
    let first = stage.submit(receive("same key", "A"));
    let second = stage.submit(receive("same key", "B"));
    stage.rest();
    assert!(answer(first).outcome.is_ok());
    // The first has taken the key by then.
    assert_eq!(reject(second), Reject::IdempotencyKeyReused);

    // The first of these is refused and leaves the key free: the second came to its shard.
    let first = stage.submit(buy("other key", &["B", "B", "B"]));
    let second = stage.submit(receive("other key", "A"));
    stage.rest();
    assert_eq!(reject(first), Reject::SoldOut);
    assert_eq!(reject(second), Reject::Contended);
    assert!(stage.run(receive("other key", "A")).outcome.is_ok());
}

/// A command about an order whose basket is in flight waits for the basket's end.
#[test]
fn a_command_about_an_order_in_flight_waits_for_it() {
    let mut stage = Stage::new();
    let reserved = stage.submit(reserve("order", &["A", "B"], 50));
    stage.step(0);
    let placed = stage.submit(place("place it", "order"));
    stage.step(0);
    stage.rest();
    assert!(answer(reserved).outcome.is_ok());
    match answer(placed).outcome {
        Ok(Receipt::Change(change)) => assert_eq!(change.status, OrderStatus::Placed),
        other => panic!("the order is placed: {other:?}"),
    }
}

/// A command about an order that came to another shard, because its key was on its way there, is
/// contended: "not found" would be wrong, and the next try finds the order.
#[test]
fn an_order_of_another_shard_is_not_unknown() {
    let mut stage = Stage::new();
    assert!(stage.run(reserve("order", &["A"], 50)).outcome.is_ok());
    // Holds the key in shard 1 until it is refused there.
    let first = stage.submit(buy("key", &["B", "B", "B"]));
    let second = stage.submit(place("key", "order"));
    stage.rest();
    assert_eq!(reject(first), Reject::SoldOut);
    assert_eq!(reject(second), Reject::Contended);
    assert!(stage.run(place("key", "order")).outcome.is_ok());
    assert_eq!(answer_of_unknown(&mut stage), Reject::OrderUnknown);
}

fn answer_of_unknown(stage: &mut Stage) -> Reject {
    stage.run(place("another key", "no such order")).outcome.unwrap_err().reject
}

/// A deadline that no record can hold is refused, at the last millisecond and not one earlier;
/// what was accepted just before comes back from the journal, and repeats to the same receipt.
#[test]
fn a_reservation_at_the_end_of_time_is_refused() {
    let mut stage = Stage::new();
    stage.clock.set(Timestamp::from_millis(Timestamp::MAX.millis() - 50));
    let accepted = stage.run(reserve("in time", &["A"], 50)).outcome;
    assert!(accepted.is_ok());
    for codes in [&["B"][..], &["B", "B"]] {
        let refusal = stage.run(reserve("too late", codes, 51)).outcome.unwrap_err();
        assert_eq!((refusal.reject, refusal.found), (Reject::TtlInvalid, 50));
    }
    let Stage { parts, disk, clock } = stage;
    drop(parts);
    let mut stage = Stage { parts: assemble(&disk, &clock), disk, clock };
    stage.clock.set(Timestamp::MAX);
    let again = stage.run(reserve("in time", &["A"], 50));
    assert!(again.replayed);
    assert_eq!(again.outcome, accepted);
    let refusal = stage.run(reserve("too late", &["B"], 5)).outcome.unwrap_err();
    assert_eq!(refusal.reject, Reject::TtlInvalid);
}

/// The first change of a SKU's stock after an opening is published, in whatever section it is.
#[test]
fn stock_is_published_from_the_first_change_on() {
    let before = Stage::new();
    for idle in 0..20 {
        let (disk, clock) = (before.disk.fork(idle), before.clock.clone());
        let mut stage = Stage { parts: assemble(&disk, &clock), disk, clock };
        (0..idle).for_each(|_| stage.step(0));
        let ticket = stage.submit(receive("delivery", "A"));
        stage.step(0);
        stage.write();
        assert!(answer(ticket).outcome.is_ok());
        let stock = stage.parts.engine.stock(sku("A")).unwrap();
        assert_eq!(stock.available, 2, "after {idle} sections");
    }
}

/// A repetition gets its receipt even if the order that it is about has left memory before it.
#[test]
fn a_known_key_is_answered_after_its_order_was_archived() {
    let mut stage = Stage::new();
    assert!(stage.run(reserve("order", &["A"], 50)).outcome.is_ok());
    let release = || {
        let order = OrderId::from(key("order"));
        Command::Release(crate::Release { key: key("release"), order, reason: 1 })
    };
    let receipt = stage.run(release()).outcome;
    assert!(receipt.is_ok());
    let core = &stage.parts.workers[0].core;
    let order = (0..core.state.settled.len())
        .find(|at| matches!(core.state.settled_entry(*at), Some(crate::state::Known::Order(_))));
    let count = order.unwrap() as u32 + 1;
    assert!((count as usize) < core.state.settled.len(), "the order goes, its release stays");
    stage.parts.engine.shelf.put(&core.collect(0, count), count.into()).unwrap();
    let evict = crate::shard::worker::Input::Evict(count);
    assert!(stage.parts.engine.around.handles[0].push(evict, usize::MAX).is_ok());
    stage.rest();
    assert!(stage.parts.workers[0].core.state.order_slot(key("order").bits()).is_none());
    let again = stage.run(release());
    assert!(again.replayed);
    assert_eq!(again.outcome, receipt);
}

/// A basket over two shards is refused, and nothing is moved, if either of them has no more room
/// for what it may have to note of a customer.
#[test]
fn a_part_needs_room_in_its_shard() {
    for shard in 0..2 {
        let mut stage = Stage::new();
        stage.parts.workers[shard].core.state.crowd();
        let reply = stage.run(buy("both", &["A", "B"]));
        let refused = reply.outcome.map_err(|refusal| refusal.reject);
        assert_eq!(refused, Err(Reject::CapacityReached), "shard {shard}");
        let free = 1 - shard;
        let code = ["A", "B"][free];
        assert!(stage.run(buy("one", &[code])).outcome.is_ok(), "{code} was given back");
    }
}

/// What a full shard has accepted is carried out again, whatever its tables say in this life.
#[test]
fn a_replay_has_room_for_what_was_accepted() {
    let mut stage = Stage::new();
    let state = &mut stage.parts.workers[0].core.state;
    state.crowd();
    assert!(!state.has_room());
    state.replays = true;
    assert!(state.has_room());
}

/// A count looks for promises once a section, however often its shard hears its peers meanwhile.
#[test]
fn a_section_has_one_step_of_a_search() {
    let mut stage = Stage::new();
    assert!(stage.run(buy("order", &["A"])).outcome.is_ok());
    let count = stage.submit(count_to_none("count"));
    stage.step(0);
    let gate = stage.parts.engine.around.gate.clone();
    for section in 0..2 {
        let core = &mut stage.parts.workers[0].core;
        assert!(core.is_counting(), "over before section {section}");
        core.begin_without_expiry(gate.base(2), Timestamp::from_millis(START));
        core.retry();
        let over = !core.is_counting();
        (0..10).for_each(|_| core.follow_up());
        assert_eq!(!core.is_counting(), over, "section {section}");
        gate.hand_over(core, |_, _| ()).unwrap();
    }
    stage.write();
    assert!(answer(count).outcome.is_ok());
}

fn count_to_none(text: &str) -> Command {
    Command::Count(crate::Count {
        key: key(text),
        sku: sku("A"),
        location: LocationId(1),
        lot: LotId(0),
        expected: 1,
        counted: 0,
    })
}

/// A checkpoint does not make commands wait for a count that is still looking for promises.
#[test]
fn a_checkpoint_lets_a_count_end_first() {
    let mut stage = Stage::new();
    assert!(stage.run(buy("order", &["A"])).outcome.is_ok());
    let count = stage.submit(count_to_none("count"));
    stage.step(0);
    assert!(stage.parts.workers[0].core.is_counting());
    let Assembled { workers, engine, keeper, writer, .. } = &mut stage.parts;
    let mut met = 0;
    let report = keeper.checkpoint(&mut |_| {
        if workers[0].core.is_counting() {
            met += 1;
            assert!(!engine.around.cut.is_wanted(), "commands would wait for the count");
        }
        for worker in workers.iter_mut() {
            worker.step().unwrap();
        }
        engine.around.gate.write_one(writer, &engine.published).unwrap();
    });
    assert!(report.is_ok());
    assert!(met > 0);
    assert!(answer(count).outcome.is_ok());
}
