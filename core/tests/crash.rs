//! The real process is killed at random moments: what it had acknowledged is there, and nothing
//! that was never asked.
//!
//! `ONHAND_KILL_ROUNDS` sets the number of rounds, 20 by default.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command as Process, Stdio};

use common::{accept, basket, buy, define, receive, reserve, run, ship, sku};
use onhand_core::{Ack, Aggregate, Command, Engine, Event, EventKind, Key, OrderId, Receipt};

/// Directory of the process that is to be killed.
const DIR: &str = "ONHAND_CRASH_DIR";
/// Orders that one life of the process may make at most.
const ORDERS_MAX: u64 = 4_000;
/// Customers that a key's number is spread over.
const CUSTOMERS: u64 = 500;

fn codes() -> Vec<String> {
    (0..5).map(|n| format!("S{n}")).collect()
}

/// The command that belongs to a number: the same in every life.
fn command(number: u64) -> Command {
    let key = format!("order {number}");
    let customer = number % CUSTOMERS + 1;
    let code = &codes()[number as usize % 5];
    match number % 10 {
        0 => basket(&key, customer, &codes(), 1),
        1 => reserve(&key, customer, code, 1, 50),
        2 if number > 10 => ship(&format!("ship {number}"), &format!("order {}", number - 2)),
        _ => buy(&key, customer, code, 1),
    }
}

/// Not a test by itself: the process that is killed. It tells each command that was answered.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let shards = std::env::var("ONHAND_CRASH_SHARDS").map_or(1, |s| s.parse().expect("a number"));
    let builder = Engine::builder(dir).shards(shards).segment_bytes(1 << 20);
    let (engine, _) = builder.settled_resident_max(50).open().expect("opens");
    for code in codes() {
        accept(&engine, define(&code, None));
        accept(&engine, receive(&format!("r{code}"), &code, 1_000_000));
    }
    let mut out = std::io::stdout().lock();
    // Numbers go on where the last life may have ended.
    let first = engine.durable_seq();
    for step in 0..ORDERS_MAX / 20 {
        if step % 40 == 13 {
            // A checkpoint under load: being killed in it must cost nothing.
            engine.checkpoint().expect("makes a checkpoint");
        }
        let from = first + step * 20;
        let commands = (from..from + 20).map(command).collect();
        let replies = engine.submit_batch(commands, Ack::Group).expect("taken").wait();
        for (number, reply) in (from..).zip(replies.expect("answered")) {
            let seq = match &reply.outcome {
                Ok(Receipt::Order(receipt)) => receipt.seq,
                Ok(Receipt::Change(receipt)) => receipt.seq,
                Ok(_) | Err(_) => 0,
            };
            writeln!(out, "told {number} {seq}").expect("the parent listens");
        }
        out.flush().expect("the parent listens");
    }
}

/// Goal: nothing acknowledged is lost, nothing invented, nothing left in flight.
/// Method: kill -9 after a random number of answers, open, ask for each answer again.
#[test]
fn acknowledged_orders_survive_kill_9() {
    let rounds = std::env::var("ONHAND_KILL_ROUNDS").map_or(20, |n| n.parse().expect("a number"));
    let mut random = 0x5EED_u64;
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut told: Vec<(u64, u64)> = Vec::new();
        for round in 0..rounds / 2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let lines = (random >> 40) % 700;
            live_and_die(dir.path(), shards, lines, &mut told);
            let (engine, report) = Engine::builder(dir.path()).open().expect("opens again");
            // It may have died in the middle of a checkpoint; that is all there is to say.
            let swept = |note: &String| note.starts_with("removed the unfinished checkpoint ");
            assert!(report.notes.iter().all(swept), "round {round}: {report:?}");
            check(&engine, &told, round);
            engine.close().expect("closes");
        }
        assert!(told.iter().filter(|(_, seq)| *seq > 0).count() > 100, "hardly any answer");
    }
}

fn live_and_die(dir: &std::path::Path, shards: u16, lines: u64, told: &mut Vec<(u64, u64)>) {
    let mut child = Process::new(std::env::current_exe().expect("this test"))
        .args(["the_process_that_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env("ONHAND_CRASH_SHARDS", shards.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut reader = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    for _ in 0..lines {
        line.clear();
        if reader.read_line(&mut line).expect("reads") == 0 {
            break;
        }
        note(&line, told);
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    // What it had told before it died was told.
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        note(line.lines().last().unwrap_or_default(), told);
        line.clear();
    }
}

fn note(line: &str, told: &mut Vec<(u64, u64)>) {
    let mut words = line.split_whitespace();
    if words.next() == Some("told") {
        let number = words.next().and_then(|w| w.parse().ok());
        let seq = words.next().and_then(|w| w.parse().ok());
        // A line that the kill has cut was not told.
        if let (Some(number), Some(seq), true) = (number, seq, line.ends_with('\n')) {
            told.push((number, seq));
        }
    }
}

fn check(engine: &Engine, told: &[(u64, u64)], round: u64) {
    for (number, seq) in told.iter().filter(|(_, seq)| *seq > 0) {
        let reply = run(engine, command(*number));
        let found = match &reply.outcome {
            Ok(Receipt::Order(receipt)) => receipt.seq,
            Ok(Receipt::Change(receipt)) => receipt.seq,
            other => panic!("round {round}: {number} was acknowledged at {seq}: {other:?}"),
        };
        assert!(reply.replayed, "round {round}: {number} was carried out twice");
        assert_eq!(found, *seq, "round {round}: another receipt for {number}");
    }
    let possible: BTreeSet<OrderId> = (0..engine.durable_seq() + 2 * ORDERS_MAX)
        .map(|number| OrderId::from(Key::from_text(&format!("order {number}"))))
        .collect();
    let mut after = 0;
    loop {
        let events = engine.events(after, 10_000).expect("reads");
        let made = |e: &&Event| {
            matches!(e.kind, EventKind::OrderPlaced | EventKind::OrderReserved) && e.version == 1
        };
        for event in events.events.iter().filter(made) {
            let Aggregate::Order(order) = event.aggregate else { panic!("{event:?}") };
            assert!(possible.contains(&order), "round {round}: nobody asked for {order}");
        }
        if events.next == after || events.events.is_empty() {
            break;
        }
        after = events.next;
    }
    for code in codes() {
        let stock = engine.stock(sku(&code)).expect("known");
        assert_eq!(stock.tentative, 0, "round {round}: a basket is still in flight");
        let sum = stock.available + stock.reserved + stock.committed + stock.shipped;
        assert_eq!(sum, 1_000_000, "round {round}: units of {code}");
    }
}
