//! The engine with all its threads: requests, baskets over shards, faults, checkpoints, closing.

use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::{
    GROUP, buy, decided, define, explore, key, open, other_group, policy, receive, sku, stocked,
};
use crate::command::Command;
use crate::error::ErrorKind;
use crate::id::{LocationId, OrderId};
use crate::reply::{Ack, Receipt};
use crate::sim::{Fault, FaultStorage};
use crate::{Engine, OpenReport, Reply};

/// Longer than any test: no timeout fires here.
const LONG: Duration = Duration::from_hours(1);

/// What a client knows at the end of a request.
enum Told {
    Replied(Reply),
    Failed(ErrorKind),
    NotTaken(ErrorKind),
}

fn ask(engine: &Engine, command: Command) -> Told {
    match engine.submit(command) {
        Err(error) => Told::NotTaken(error.kind()),
        Ok(ticket) => match ticket.wait() {
            Ok(reply) => Told::Replied(reply),
            Err(error) => Told::Failed(error.kind()),
        },
    }
}

/// Returns whether the cells of a SKU are in the first of two shards.
fn is_in_first(sku: &crate::SkuView) -> bool {
    crate::route::cell_shard(sku.placement, sku.id, LocationId(1), 2) == 0
}

/// Looks at an engine that is opened from what its disk holds, without threads.
fn reopened(
    disk: &FaultStorage,
    shards: u16,
    look: impl FnOnce(&dyn Fn(&str) -> bool),
) -> OpenReport {
    let (parts, report) = super::builder(disk, shards).assemble().expect("opens again");
    let known = |name: &str| {
        let key = key(name).bits();
        parts.workers.iter().any(|worker| worker.core.state.lookup(key).is_some())
    };
    look(&known);
    report
}

/// Every request is answered without the help of a timeout, waited for or awaited, and readers
/// never see a unit missing or twice meanwhile.
#[test]
fn requests_wake_who_sleeps() {
    explore(60, || {
        let disk = stocked(1, 10);
        let engine = Arc::new(open(&disk, 1));
        let clients: Vec<_> = ["x", "y"]
            .map(|client| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || {
                    let first = buy(&format!("{client} 1"), &["A"]);
                    let reply = engine.submit(first).expect("taken").wait().expect("answered");
                    assert!(reply.seq <= engine.durable_seq());
                    let ticket = engine.submit(buy(&format!("{client} 2"), &["A"]));
                    let awaited = shuttle::future::block_on(ticket.expect("taken"));
                    assert!(awaited.expect("answered").outcome.is_ok());
                })
            })
            .into();
        for _ in 0..3 {
            let stock = engine.stock(sku("A")).expect("defined");
            assert_eq!(stock.available + stock.committed, 10, "{stock:?}");
        }
        let known = engine.order(OrderId::from(key("x 1"))).expect("reads");
        assert!(known.is_none_or(|order| order.lines.len() == 1));
        clients.into_iter().for_each(|client| client.join().expect("asks"));
        let stock = engine.stock(sku("A")).expect("defined");
        assert_eq!((stock.available, stock.committed), (6, 4));
        Arc::into_inner(engine).expect("nobody else has it").close().expect("closes");
    });
}

/// Baskets that name the same units in opposite orders all end: as many are placed as there are
/// units, and none is refused while units are left.
#[test]
fn baskets_over_shards_end() {
    explore(60, || {
        let disk = stocked(2, 1);
        let engine = Arc::new(open(&disk, 2));
        let clients: Vec<_> = [["A", "B"], ["B", "A"]]
            .into_iter()
            .enumerate()
            .map(|(at, codes)| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || {
                    let told = engine.execute(buy(&format!("basket {at}"), &codes));
                    told.expect("answered").outcome.is_ok()
                })
            })
            .collect();
        let placed: Vec<bool> =
            clients.into_iter().map(|client| client.join().expect("asks")).collect();
        assert_eq!(placed.iter().filter(|placed| **placed).count(), 1, "one unit, one order");
        Arc::into_inner(engine).expect("nobody else has it").close().expect("closes");
    });
}

/// A shard does what its peers told it before it does what was asked after: who has the answer to
/// a definition can use the SKU at once, in whatever shard its stock is.
#[test]
fn a_defined_sku_is_known_in_every_shard() {
    explore(200, || {
        let disk = stocked(2, 10);
        let (parts, _) = super::builder(&disk, 2).assemble().expect("opens");
        let crate::open::Assembled { engine, mut workers, mut writer, .. } = parts;
        let of_a = engine.published.sku(sku("A")).expect("defined");
        let group = if is_in_first(&of_a) { other_group(2) } else { GROUP };
        let mut other = workers.pop().expect("two shards");
        let gate = engine.around.gate.clone();
        for round in 0..10 {
            let code = format!("C{round}");
            let stepping = thread::spawn(move || {
                other.step().expect("steps");
                other
            });
            // Shard 0 defines, and tells the other shard, which is in the middle of a step.
            let mut defined = engine.submit(define(&code, group)).expect("taken");
            workers[0].step().expect("steps");
            gate.write_one(&mut writer, &engine.published).expect("writes");
            let reply = defined.try_take().expect("durable").expect("answered");
            assert!(reply.outcome.is_ok(), "{reply:?}");
            let mut received = engine.submit(receive(&code, 1)).expect("taken");
            other = stepping.join().expect("steps");
            while gate.waiting_groups() == 0 {
                other.step().expect("steps");
            }
            other.step().expect("steps");
            gate.write_one(&mut writer, &engine.published).expect("writes");
            let reply = received.try_take().expect("durable").expect("answered");
            assert!(reply.outcome.is_ok(), "{reply:?}");
        }
    });
}

/// As of definitions: who has the answer to a policy's step can name the policy at once, in
/// whatever shard the stock is.
#[test]
fn a_policy_is_known_in_every_shard() {
    explore(200, || {
        let disk = stocked(2, 10);
        let (parts, _) = super::builder(&disk, 2).assemble().expect("opens");
        let crate::open::Assembled { engine, mut workers, mut writer, .. } = parts;
        let of_a = engine.published.sku(sku("A")).expect("defined");
        let code = if is_in_first(&of_a) { "B" } else { "A" };
        let mut other = workers.pop().expect("two shards");
        let gate = engine.around.gate.clone();
        for round in 0..10_u8 {
            let stepping = thread::spawn(move || {
                other.step().expect("steps");
                other
            });
            // Shard 0 numbers it, and tells the other shard, which is in the middle of a step.
            let mut stepped = engine.submit(policy(round)).expect("taken");
            workers[0].step().expect("steps");
            gate.write_one(&mut writer, &engine.published).expect("writes");
            let reply = stepped.try_take().expect("durable").expect("answered");
            let Ok(Receipt::Policy(receipt)) = reply.outcome else { panic!("{reply:?}") };
            assert_eq!(engine.policies().len(), usize::from(receipt.policy.0));
            let order = decided(&format!("order {round}"), code, receipt.policy);
            let mut bought = engine.submit(order).expect("taken");
            other = stepping.join().expect("steps");
            while gate.waiting_groups() == 0 {
                other.step().expect("steps");
            }
            other.step().expect("steps");
            gate.write_one(&mut writer, &engine.published).expect("writes");
            let reply = bought.try_take().expect("durable").expect("answered");
            assert!(reply.outcome.is_ok(), "{reply:?}");
        }
    });
}

/// Two requests with one key at once: one effect, and the same receipt for both.
#[test]
fn one_key_has_one_effect() {
    explore(60, || {
        let disk = stocked(2, 5);
        let engine = Arc::new(open(&disk, 2));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || engine.execute(buy("same", &["A", "B"])).expect("answered"))
            })
            .collect();
        let replies: Vec<Reply> =
            clients.into_iter().map(|client| client.join().expect("asks")).collect();
        assert_eq!(replies[0].outcome, replies[1].outcome);
        assert!(replies[0].outcome.is_ok());
        assert!(replies[0].replayed != replies[1].replayed, "{replies:?}");
        let close = Arc::into_inner(engine).expect("nobody else has it").close();
        close.expect("closes");
    });
}

/// When a reply is there, its order is on disk: whatever crash comes then does not lose it.
#[test]
fn a_reply_comes_after_its_order_is_on_disk() {
    explore(60, || {
        let disk = stocked(1, 10);
        let engine = open(&disk, 1);
        let before = engine.durable_seq();
        let mut asked = Vec::new();
        for name in ["one", "two"] {
            asked.push((name, engine.submit(buy(name, &["A"])).expect("taken")));
        }
        if thread_rng().gen_bool(0.5) {
            let (name, ticket) = asked.remove(thread_rng().gen_range(0..2));
            ticket.wait().expect("answered");
            asked = vec![(name, engine.submit(buy(name, &["A"])).expect("taken"))];
        } else {
            // The position says the same as the replies.
            assert!(engine.wait_seq(before + 2, LONG));
        }
        disk.crash();
        drop(engine);
        reopened(&disk, 1, |known| {
            let lost = asked.iter().find(|(name, _)| !known(name));
            assert!(lost.is_none(), "{lost:?} was durable and is lost");
        });
    });
}

/// Whatever fails at whatever moment: everybody who waits is answered, what was acknowledged is
/// there again, and nothing that was refused as not taken is.
#[test]
fn a_failing_disk_leaves_nobody_waiting() {
    explore(60, || {
        let disk = stocked(2, 10);
        let engine = Arc::new(open(&disk, 2));
        let fault =
            [Fault::Io, Fault::Short, Fault::Sync, Fault::Crash][thread_rng().gen_range(0..4)];
        disk.fail_at(disk.operation_count() + 1 + thread_rng().gen_range(0..4), fault);
        let clients: Vec<_> = [("x", ["A", "B"]), ("y", ["B", "A"])]
            .map(|(name, codes)| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || {
                    let later = format!("{name} later");
                    let first = ask(&engine, buy(name, &codes));
                    let second = ask(&engine, buy(&later, &[codes[0]]));
                    vec![(name.to_owned(), first), (later, second)]
                })
            })
            .into();
        let told: Vec<(String, Told)> =
            clients.into_iter().flat_map(|client| client.join().expect("asks")).collect();
        drop(Arc::into_inner(engine).expect("nobody else has it"));
        disk.clear_faults();
        disk.crash();
        reopened(&disk, 2, |known| {
            for (name, told) in told {
                match told {
                    Told::Replied(reply) => {
                        assert!(reply.outcome.is_ok(), "{reply:?}");
                        assert!(known(&name), "{name} was acknowledged and lost");
                    }
                    Told::Failed(kind) => assert_eq!(kind, ErrorKind::Stopped),
                    Told::NotTaken(kind) => {
                        assert_eq!(kind, ErrorKind::Stopped);
                        assert!(!known(&name), "{name} was not taken and is there");
                    }
                }
            }
        });
    });
}

/// Closing while requests arrive: each is carried out or told that it was not taken, and every
/// client has its answer before the engine is gone.
#[test]
fn closing_answers_everybody() {
    explore(80, || {
        let disk = stocked(2, 10);
        let engine = Arc::new(open(&disk, 2));
        let commands = [
            ("x", buy("x", &["A", "B"])),
            ("y", buy("y", &["B", "A"])),
            // Every shard is told of it, and none of them answers.
            ("define C", define("C", GROUP)),
        ];
        let clients: Vec<_> = commands
            .map(|(name, command)| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || (name, ask(&engine, command)))
            })
            .into();
        let reader = Arc::clone(&engine);
        let reader = thread::spawn(move || match reader.order(OrderId::from(key("x"))) {
            Ok(order) => assert!(order.is_none_or(|order| order.lines.len() == 2)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        });
        engine.begin_close();
        // They wait for their answers while nobody ends the engine.
        let told: Vec<(&str, Told)> =
            clients.into_iter().map(|client| client.join().expect("asks")).collect();
        reader.join().expect("reads");
        Arc::into_inner(engine).expect("nobody else has it").close().expect("closes");
        let report = reopened(&disk, 2, |known| {
            for (name, told) in told {
                match told {
                    Told::Replied(reply) => {
                        assert!(reply.outcome.is_ok(), "{reply:?}");
                        assert!(known(name), "{name} was acknowledged and lost");
                    }
                    Told::Failed(kind) => panic!("{name} was taken, then failed: {kind:?}"),
                    Told::NotTaken(kind) => {
                        assert_eq!(kind, ErrorKind::Closed);
                        assert!(!known(name), "{name} was not taken and is there");
                    }
                }
            }
        });
        // Nothing was left to be carried out: each shard had done what the others told it.
        assert_eq!(report.commands_replayed, report.durable_seq);
        assert_eq!(report.undone_baskets, 0);
    });
}

/// A checkpoint while baskets are in flight and the engine closes: it is made or refused, and
/// the engine that comes back from it has every unit.
#[test]
fn a_checkpoint_meets_baskets_and_closing() {
    explore(60, || {
        let disk = stocked(2, 10);
        let builder = super::builder(&disk, 2);
        let engine = Arc::new(builder.clone().open().expect("opens").0);
        let client = Arc::clone(&engine);
        let client = thread::spawn(move || ask(&client, buy("x", &["A", "B"])));
        let keeper = Arc::clone(&engine);
        let keeper = thread::spawn(move || keeper.checkpoint().map(|report| report.seq));
        if thread_rng().gen_bool(0.5) {
            engine.begin_close();
        }
        let told = client.join().expect("asks");
        let made = keeper.join().expect("asks");
        Arc::into_inner(engine).expect("nobody else has it").close().expect("closes");
        let (parts, report) = builder.assemble().expect("opens again");
        assert_eq!(report.checkpoint, made.ok());
        let sold = u64::from(matches!(told, Told::Replied(_)));
        for code in ["A", "B"] {
            let stock = parts.engine.stock(sku(code)).expect("defined");
            assert_eq!((stock.available, stock.tentative), (10 - sold, 0), "{code}");
            assert_eq!(stock.committed, sold, "{code}");
        }
    });
}

/// Groups that are flushed alone fill the queue of the writer: the shard waits for room and goes
/// on, every answer leaves, and who waits for a position is woken.
#[test]
fn a_full_queue_of_groups_moves_on() {
    explore(60, || {
        let disk = stocked(1, 100);
        let (parts, _) = super::builder(&disk, 1).assemble().expect("opens");
        let crate::open::Assembled { engine, mut workers, writer, .. } = parts;
        let engine = Arc::new(engine);
        let gate = engine.around.gate.clone();
        let published = engine.published.clone();
        let writing = thread::spawn(move || gate.run_writer(writer, &published, |_| ()));
        let last = engine.durable_seq() + 10;
        let waits = Arc::clone(&engine);
        let waiter = thread::spawn(move || assert!(waits.wait_seq(last, LONG)));
        let mut tickets = Vec::new();
        for number in 0..10 {
            let alone = buy(&format!("order {number}"), &["A"]);
            tickets.push(engine.submit_with(alone, Ack::Strict).expect("taken"));
            workers[0].step().expect("steps");
        }
        for ticket in tickets {
            assert!(ticket.wait().expect("answered").outcome.is_ok());
        }
        waiter.join().expect("waits");
        engine.around.gate.close();
        writing.join().expect("writes").expect("closes");
    });
}

/// Who waits for a position, and a shard that waits for room, are woken when the engine stops.
#[test]
fn stopping_wakes_who_waits() {
    explore(60, || {
        let disk = stocked(1, 100);
        let (parts, _) = super::builder(&disk, 1).assemble().expect("opens");
        let crate::open::Assembled { engine, mut workers, .. } = parts;
        let engine = Arc::new(engine);
        let waits = Arc::clone(&engine);
        let waiter = thread::spawn(move || {
            assert!(!waits.wait_seq(waits.durable_seq() + 1_000, LONG));
        });
        let stops = Arc::clone(&engine);
        let stopping = thread::spawn(move || stops.around.gate.stop("told to"));
        // No writer takes anything: the queue of groups fills up.
        let mut tickets = Vec::new();
        let mut ended = false;
        for number in 0..12 {
            let alone = buy(&format!("order {number}"), &["A"]);
            match engine.submit_with(alone, Ack::Strict) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Stopped),
            }
            if !ended && workers[0].step().is_err() {
                workers[0].abandon("told to");
                ended = true;
            }
        }
        workers[0].abandon("told to");
        for ticket in tickets {
            assert_eq!(ticket.wait().expect_err("stopped").kind(), ErrorKind::Stopped);
        }
        waiter.join().expect("waits");
        stopping.join().expect("stops");
        assert!(engine.submit(receive("A", 1)).is_err());
    });
}

/// A request that reaches the queue of a shard behind its end is told that the engine stopped.
#[test]
fn a_request_behind_the_end_is_told() {
    explore(200, || {
        let disk = stocked(1, 10);
        let (parts, _) = super::builder(&disk, 1).assemble().expect("opens");
        let crate::open::Assembled { engine, mut workers, .. } = parts;
        let engine = Arc::new(engine);
        let client = Arc::clone(&engine);
        let client = thread::spawn(move || ask(&client, buy("late", &["A"])));
        engine.around.gate.stop("told to");
        workers[0].abandon("told to");
        match client.join().expect("asks") {
            Told::Replied(reply) => panic!("nobody carries it out: {reply:?}"),
            Told::Failed(kind) | Told::NotTaken(kind) => assert_eq!(kind, ErrorKind::Stopped),
        }
    });
}
