//! The flash sale against a host written from the contract: an honest one passes every check,
//! and each lie is found by the check that is there for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::common::{Host, Lie};
use onhand_loadtest::results::run::Verdict;
use onhand_loadtest::scenario::{Scenario, Setting};
use onhand_loadtest::{
    Authority, LoadError, LoadReport, Loss, Outcome, RunOptions, Target, run, run_text,
};

/// A short sale as fast as answers come, with buyers of every habit.
const SALE: &str = r#"
schema = 1
name = "sale"

[target]
connections = 8

[stock]
skus = 3
hot_units = 400
hot_limit = 2

[customers]
count = 300

[reservation]
ttl = "40ms"

[[stage]]
shape = "max"
for = "400ms"

[actor.buyer]
weight = 37.5
think = "0s"
flow = ["buy"]

[actor.double-clicker]
weight = 25
think = "0s"
double_click = 1.0

[actor.payer]
weight = 12.5
think = "0s"
flow = ["reserve", "place"]

[actor.releaser]
weight = 6.25
think = "0s"

[actor.abandoner]
weight = 6.25
think = "0s"

[actor.in-vain]
weight = 12.5
think = "0s"
flow = ["buy"]
basket = { in_vain = 1.0 }

[truth]
hold_expiry_skew = "10s"
"#;

fn options(host: &Host, settings: &[&str]) -> (Scenario, RunOptions) {
    let settings: Result<Vec<_>, _> = settings.iter().map(|text| Setting::parse(text)).collect();
    let settings = settings.expect("well-formed settings");
    let scenario = Scenario::read_with(SALE, "sale.toml", &settings).expect("a scenario");
    let authority = Authority::parse(&host.url()).expect("the host has an address");
    let options = RunOptions::new(&scenario, Target::Http(authority));
    (scenario, options)
}

fn sale(lie: Lie, settings: &[&str], change: fn(&mut RunOptions)) -> Outcome {
    let host = Host::start(lie);
    let (scenario, mut options) = options(&host, settings);
    change(&mut options);
    run(&scenario, options).expect("the sale can be run")
}

/// Returns the names of the violated checks.
fn violated(outcome: &Outcome) -> Vec<&str> {
    let broken = outcome.run.truth.iter().filter(|check| check.verdict == Verdict::Violated);
    broken.map(|check| check.name.as_str()).collect()
}

fn checked(outcome: &Outcome, name: &str) -> u64 {
    let check = outcome.run.truth.iter().find(|check| check.name == name);
    check.map_or(0, |check| check.checked)
}

fn report(outcome: &Outcome) -> &LoadReport {
    outcome.report.as_deref().expect("the run told of itself")
}

fn text(outcome: &Outcome) -> String {
    run_text(&outcome.run)
}

/// An honest host passes every check, and each check had something to look at.
#[test]
fn an_honest_host_passes() {
    let outcome = sale(Lie::None, &[], |_| ());
    let text = text(&outcome);
    assert_eq!(violated(&outcome), [""; 0], "{text}");
    for check in &outcome.run.truth {
        // The host has no waiting line.
        let looked = check.checked > 0 || check.name == "fifo_inversions";
        assert!(looked, "{} looked at nothing\n{text}", check.name);
    }
    assert_eq!(outcome.run.exit.code, 0, "{text}");
    let run = &outcome.run;
    assert!(run.counts.replayed > 0 && run.counts.orders > 100, "{text}");
    assert!(run.refused.contains_key("sold_out"), "{text}");
    assert!(run.refused.contains_key("limit_reached"), "{text}");
    assert!(run.lost.is_empty(), "{text}");
}

/// The orders of the live view are those of the record: a reservation counts once it is placed.
#[test]
fn the_live_view_counts_the_orders_of_the_record() {
    let outcome = sale(Lie::None, &[], |_| ());
    assert_eq!(report(&outcome).orders, outcome.run.counts.orders, "{}", text(&outcome));
    let held = outcome.run.latency.iter().find(|group| group.op.as_deref() == Some("reserve"));
    assert!(held.is_some_and(|group| group.intended.count > 0), "somebody reserved");
}

/// Batches and pipelines say the same truth, and batches are really used.
#[test]
fn batches_and_pipelines_pass() {
    let host = Host::start(Lie::None);
    let (scenario, options) = options(&host, &["target.batch=20", "target.pipeline=2"]);
    let outcome = run(&scenario, options).expect("the sale can be run");
    assert_eq!(violated(&outcome), [""; 0], "{}", text(&outcome));
    assert!(host.batches() > 10 && outcome.run.counts.orders > 100);
    let outcome = sale(Lie::None, &["target.pipeline=16"], |_| ());
    assert_eq!(violated(&outcome), [""; 0], "{}", text(&outcome));
}

/// By schedule, the number of requests is that of the schedule, whatever the host does.
#[test]
fn an_open_loop_sends_its_schedule() {
    let settings = ["seed=11", "stage.0.shape=hold", "stage.0.rate=1000/s", "stage.0.for=400ms"];
    let [first, again] = [(); 2].map(|()| {
        let outcome = sale(Lie::None, &settings, |_| ());
        let report = report(&outcome);
        assert_eq!(report.lag.count + report.backlogged, report.sent, "{}", text(&outcome));
        outcome.run.counts.users + outcome.run.counts.unsent
    });
    assert!((300..500).contains(&first), "{first}");
    assert_eq!(first, again);
}

/// Each lie is found, by the check that is there for it.
#[test]
fn every_lie_is_found() {
    let found = |lie: Lie, name: &str| {
        let outcome = sale(lie, &[], |_| ());
        let names: Vec<String> = violated(&outcome).iter().map(|name| (*name).to_owned()).collect();
        assert!(names.iter().any(|n| n == name), "{lie:?} gave {names:?}\n{}", text(&outcome));
        assert_eq!(outcome.run.exit.code, 5);
        names
    };
    found(Lie::Oversell, "oversold");
    assert_eq!(found(Lie::FalseSoldOut, "false_sold_out"), ["false_sold_out"]);
    found(Lie::LoseOrder, "lost_acknowledgements");
    found(Lie::GhostOrder, "ghost_orders");
    found(Lie::DoubleOrder, "duplicate_orders");
    assert_eq!(found(Lie::OtherBytes, "receipts_identical"), ["receipts_identical"]);
    assert_eq!(found(Lie::IgnoreLimit, "customer_limit"), ["customer_limit"]);
    found(Lie::ShortOrder, "order_whole");
    assert_eq!(found(Lie::WrongStock, "stock_balance"), ["stock_balance"]);
    found(Lie::PlaceReleased, "placed_as_told");
}

/// A ledger that hardly fits in memory goes to disk, says the same truth, and finds the same lies.
#[test]
fn a_ledger_on_disk_tells_the_same() {
    let small: fn(&mut RunOptions) = |options| options.load.ledger_rows = 8;
    let outcome = sale(Lie::None, &[], small);
    assert_eq!(violated(&outcome), [""; 0], "{}", text(&outcome));
    assert!(report(&outcome).ledger_disk_bytes > 0 && outcome.run.counts.orders > 100);
    for (lie, name) in [
        (Lie::Oversell, "oversold"),
        (Lie::LoseOrder, "lost_acknowledgements"),
        (Lie::OtherBytes, "receipts_identical"),
        (Lie::IgnoreLimit, "customer_limit"),
        (Lie::FalseSoldOut, "false_sold_out"),
    ] {
        let outcome = sale(lie, &[], small);
        assert!(violated(&outcome).contains(&name), "{lie:?}\n{}", text(&outcome));
    }
}

/// Requests that were carried out but not answered are asked again, and the truth holds.
#[test]
fn lost_answers_are_settled() {
    for (lie, loss) in [(Lie::Garbage, Loss::Malformed), (Lie::HangUp, Loss::Connection)] {
        let outcome = sale(lie, &[], |_| ());
        let (text, report) = (text(&outcome), report(&outcome));
        assert!(report.losses.contains_key(&loss), "{lie:?} lost nothing\n{text}");
        assert!(report.reconnects > 0, "{text}");
        assert_eq!(violated(&outcome), [""; 0], "{text}");
        let unresolved = report.truth.as_ref().map(|truth| truth.unresolved.orders);
        assert_eq!(unresolved, Some(0), "{text}");
        assert!(checked(&outcome, "lost_acknowledgements") > 0, "{text}");
    }
}

/// A host that is not there, and a run that was there before, are told apart.
#[test]
fn what_can_not_be_run_says_why() {
    let host = Host::start(Lie::None);
    let try_run = |seed: u64| {
        let (scenario, mut options) = options(&host, &["stage.0.for=10ms"]);
        options.load.seed = seed;
        run(&scenario, options)
    };
    let why = |result: Result<Outcome, LoadError>| result.map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(why(try_run(5)), Ok(()));
    assert!(why(try_run(5)).is_err_and(|e| e.contains("choose another --seed or --run")));
    assert_eq!(why(try_run(6)), Ok(()));
    let (scenario, mut options) = options(&host, &[]);
    options.load.target =
        Target::Http(Authority::parse("http://127.0.0.1:1").expect("well formed"));
    assert!(why(run(&scenario, options)).is_err_and(|e| e.contains("no connection")));
}

/// Options outside their ranges are refused with name, value and range.
#[test]
fn options_are_checked() {
    let host = Host::start(Lie::None);
    let check = |change: fn(&mut RunOptions)| {
        let (scenario, mut options) = options(&host, &[]);
        change(&mut options);
        run(&scenario, options).map(|_| ()).expect_err("outside its range").to_string()
    };
    assert_eq!(check(|o| o.load.connections = 0), "connections is 0, outside 1..=4096");
    assert_eq!(check(|o| o.load.batch = 1_001), "batch is 1001, outside 1..=1000");
    assert_eq!(check(|o| o.load.wire.streams = 257), "streams is 257, outside 1..=256");
    assert!(check(|o| o.run = Some("a b".into())).contains("run is \"a b\""));
    assert!(check(|o| o.load.api_key = Some("a\r\nb".into())).contains("visible characters"));
}

/// The stop flag ends a run early, with a report and its own exit code.
#[test]
fn an_interrupt_still_gives_a_report() {
    let host = Host::start(Lie::None);
    let (scenario, mut options) = options(&host, &["stage.0.for=600s"]);
    let stop = Arc::clone(&options.load.stop);
    options.load.progress = Some(Box::new(move |progress| {
        if progress.accepted > 0 {
            stop.store(true, Ordering::Relaxed);
        }
    }));
    let outcome = run(&scenario, options).expect("the sale can be run");
    assert!(outcome.run.interrupted);
    assert_eq!(outcome.run.exit.code, 130);
    assert_eq!(violated(&outcome), [""; 0], "{}", text(&outcome));
    assert!(checked(&outcome, "lost_acknowledgements") > 0);
}
