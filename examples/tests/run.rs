//! Runs every example as its own process; each must exit with 0 and print exactly this.

use std::process::Command;

fn check(example: &str, expected: &str) {
    let output = Command::new(example).output().expect("the example starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{stderr}", output.status);
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    // A deadline of the day is the one thing that differs from run to run.
    let stdout = stdout.lines().map(without_deadline).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&stdout), lines(expected.trim()), "{example}");
}

fn without_deadline(line: &str) -> String {
    match line.split_once(" until ") {
        Some((head, deadline)) if deadline.ends_with(" ms") => format!("{head} until TIME"),
        _ => line.to_owned(),
    }
}

/// Every file in `src/bin` has its test here.
#[test]
fn every_example_is_run() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = std::fs::read_to_string(here.join("tests/run.rs")).expect("this file");
    let files = std::fs::read_dir(here.join("src/bin")).expect("examples");
    for file in files {
        let name = file.expect("an entry").file_name().into_string().expect("UTF-8");
        let name = name.trim_end_matches(".rs");
        assert!(tests.contains(&format!("\"CARGO_BIN_EXE_{name}\"")), "{name} is not run");
    }
}

/// A shop in a directory sells what it has, and knows so after it was opened again.
#[test]
fn quickstart() {
    check(
        env!("CARGO_BIN_EXE_quickstart"),
        "
        order 1: sold
        order 2: sold_out
        after reopening: 1 live order, 0 left
        ",
    );
}

/// However many threads ask, exactly the stock is sold.
#[test]
fn flash_sale() {
    check(
        env!("CARGO_BIN_EXE_flash_sale"),
        "
        sold 300, refused 700, left 0
        ",
    );
}

/// A basket goes from reserved to completed, a version each step.
#[test]
fn checkout() {
    check(
        env!("CARGO_BIN_EXE_checkout"),
        "
        reserve: Reserved, version 1, total 30.48 EUR
        extend: Reserved, version 2, total 30.48 EUR
        place: Placed, version 3, total 30.48 EUR
        ship: Completed, version 4, total 30.48 EUR
        ",
    );
}

/// Units come back at the deadline and not a millisecond before.
#[test]
fn expiry() {
    check(
        env!("CARGO_BIN_EXE_expiry"),
        "
        reserved: 0 available
        one millisecond before the deadline: 0 available
        at the deadline: 1 available
        placing it now: reservation_expired
        ",
    );
}

/// A repetition gets the first receipt, also after a restart.
#[test]
fn retries() {
    check(
        env!("CARGO_BIN_EXE_retries"),
        "
        at once: replayed true, same true
        after a restart: replayed true, same true
        another body under this key: idempotency_key_reused
        available: 3
        ",
    );
}

/// A basket over several shards is whole, refused, or partial if it may be.
#[test]
fn baskets() {
    check(
        env!("CARGO_BIN_EXE_baskets"),
        "
        first basket: taken
        second basket: sold_out, line 7
        third basket: taken
        left: [3, 3, 3, 3, 3, 3, 3, 0]
        baskets over several shards: 3
        ",
    );
}

/// Components of a kit and single lines are summed before the check.
#[test]
fn kits() {
    check(
        env!("CARGO_BIN_EXE_kits"),
        "
        two boxes: sold
        a box and a tea: sold_out
        a box: sold
        mugs left: 1
        teas left: 0
        ",
    );
}

/// A limit counts over all orders of a customer, and what is cancelled no more.
#[test]
fn limits() {
    check(
        env!("CARGO_BIN_EXE_limits"),
        "
        ada 1: sold 1
        ada 2: limit_reached, 1 left of it
        ada 3: sold 1
        bob 1: sold 2
        nobody: customer_required, 0 left of it
        ada 4: sold 1
        ",
    );
}

/// Every way that stock moves keeps the sum right.
#[test]
fn warehouse() {
    check(
        env!("CARGO_BIN_EXE_warehouse"),
        "
        received: available 10, set aside 0, in transit 0
        stale count: stale_count, there are 10
        counted: available 9, set aside 0, in transit 0
        damaged: available 7, set aside 2, in transit 0
        sent: available 2, set aside 2, in transit 5
        arrived: available 7, set aside 2, in transit 0
        first order: committed 2, short 0
        second order: committed 2, short 1
        ",
    );
}

/// Opening stock comes in by few commands, and only once.
#[test]
fn import() {
    check(
        env!("CARGO_BIN_EXE_import"),
        "
        5000 lines in 6 commands
        accepted: true
        repeated: true
        available: 35000
        ",
    );
}

/// Batches are answered in order at each level of acknowledgement.
#[test]
fn batches() {
    check(
        env!("CARGO_BIN_EXE_batches"),
        "
        Memory: 400 of 400 sold, acknowledged at Memory
        Group: 400 of 400 sold, acknowledged at Group
        Strict: 200 of 400 sold, acknowledged at Strict
        ",
    );
}

/// Tickets are awaited without any runtime.
#[test]
fn await_ticket() {
    check(
        env!("CARGO_BIN_EXE_await_ticket"),
        "
        sold 2 of 3
        ",
    );
}

/// The feed tells each durable record once, with versions.
#[test]
fn events() {
    check(
        env!("CARGO_BIN_EXE_events"),
        "
        1 engine.opened version 0:
        2 sku.defined version 1:
        3 stock.received version 1: 10 SUPPLIER -> available
        4 order.placed version 1: 3 available -> committed
        5 order.shipped version 2: 3 committed -> SHIPPED
        caught up at 5
        ",
    );
}

/// Every decision about an order can be told.
#[test]
fn explain() {
    check(
        env!("CARGO_BIN_EXE_explain"),
        "
        order.reserved: 4 units in 1 cells are reserved until TIME
        4 from available to reserved at location 1
        order.placed: the reservation was placed in time: 4 units are committed
        4 from reserved to committed at location 1
        order.cancelled: 1 units were cancelled (reason 7) and are back
        1 from committed to available at location 1
        the whole history: true
        ",
    );
}

/// What a dead process had acknowledged is there.
#[test]
fn recover() {
    check(
        env!("CARGO_BIN_EXE_recover"),
        "
        closed cleanly: false
        records replayed: 103
        acknowledged orders that are there: 100 of 100
        ",
    );
}

/// An engine finds its journal in the storage of its caller.
#[test]
fn custom_storage() {
    check(
        env!("CARGO_BIN_EXE_custom_storage"),
        "
        created: true
        created: false, live orders: 1
        the same receipt: true
        files: true
        ",
    );
}
