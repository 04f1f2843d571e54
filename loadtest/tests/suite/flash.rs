//! The flash sale against a host written from the contract: an honest one passes every check,
//! and each lie is found by the check that is there for it.

use crate::common::{Host, Lie};
use onhand_loadtest::flash::{self, FlashOptions, FlashReport, Mix};
use onhand_loadtest::http::Authority;
use onhand_loadtest::{LoadError, Loss, Pace, Shape, Target, exit_code, flash_json, flash_text};

fn options(host: &Host) -> FlashOptions {
    let authority = Authority::parse(&host.url()).expect("the host has an address");
    let mut options = FlashOptions::new(Target::Http(authority));
    options.seconds = 0.4;
    options.stock = 400;
    options.customers = 300;
    options.skus = 3;
    options.load.connections = 8;
    options.mix = Mix { duplicate: 0.2, reserve: 0.2, abort: 0.1 };
    options.ttl_ms = 40;
    options
}

fn sale(lie: Lie, change: fn(&mut FlashOptions)) -> FlashReport {
    let host = Host::start(lie);
    let mut options = options(&host);
    change(&mut options);
    flash::run(options).expect("the sale can be run")
}

/// Returns the names of the violated checks.
fn violated(report: &FlashReport) -> Vec<&'static str> {
    let truth = report.load.truth.as_ref().expect("the truth was checked");
    truth.checks.iter().filter(|check| check.violations > 0).map(|check| check.name).collect()
}

fn checked(report: &FlashReport, name: &str) -> u64 {
    let truth = report.load.truth.as_ref().expect("the truth was checked");
    truth.checks.iter().find(|check| check.name == name).map_or(0, |check| check.checked)
}

/// An honest host passes every check, and each check had something to look at.
#[test]
fn an_honest_host_passes() {
    let report = sale(Lie::None, |_| ());
    let text = flash_text(&report);
    assert_eq!(violated(&report), [""; 0], "{text}");
    for check in &report.load.truth.as_ref().expect("checked").checks {
        // The host has no waiting line.
        let looked = check.checked > 0 || check.name == "fifo_inversions";
        assert!(looked, "{} looked at nothing\n{text}", check.name);
    }
    assert_eq!(exit_code(&report.load, false), 0);
    assert!(report.load.replayed > 0 && report.load.orders > 100, "{text}");
    assert!(report.load.refusals.contains_key("sold_out"), "{text}");
    assert!(report.load.refusals.contains_key("limit_reached"), "{text}");
    assert!(report.load.losses.is_empty(), "{text}");
}

/// Batches and pipelines say the same truth, and batches are really used.
#[test]
fn batches_and_pipelines_pass() {
    let host = Host::start(Lie::None);
    let mut options = options(&host);
    options.load.batch = 20;
    options.load.pipeline = 2;
    let report = flash::run(options).expect("the sale can be run");
    assert_eq!(violated(&report), [""; 0], "{}", flash_text(&report));
    assert!(host.batches() > 10 && report.load.orders > 100);
    let report = sale(Lie::None, |options| options.load.pipeline = 16);
    assert_eq!(violated(&report), [""; 0], "{}", flash_text(&report));
}

/// By schedule, the number of requests is that of the schedule, whatever the host does.
#[test]
fn an_open_loop_sends_its_schedule() {
    let report = sale(Lie::None, |options| {
        let rate = "1000".parse().expect("a rate");
        options.load.pace = Pace::Open { rate, shape: Shape::Poisson };
        options.mix = Mix { duplicate: 0.1, reserve: 0.0, abort: 0.0 };
        options.load.seed = 11;
    });
    assert!((300..500).contains(&(report.load.sent + report.load.unsent)), "{}", report.load.sent);
    let again = sale(Lie::None, |options| {
        let rate = "1000".parse().expect("a rate");
        options.load.pace = Pace::Open { rate, shape: Shape::Poisson };
        options.mix = Mix { duplicate: 0.1, reserve: 0.0, abort: 0.0 };
        options.load.seed = 11;
    });
    let total = |report: &FlashReport| report.load.sent + report.load.unsent;
    assert_eq!(total(&report), total(&again));
    assert!(report.load.lag.count + report.load.backlogged == report.load.sent);
}

/// Each lie is found, by the check that is there for it.
#[test]
fn every_lie_is_found() {
    let found = |lie: Lie, name: &str| {
        let report = sale(lie, |_| ());
        let names = violated(&report);
        assert!(names.contains(&name), "{lie:?} gave {names:?}\n{}", flash_text(&report));
        assert_eq!(exit_code(&report.load, true), 5);
        let json = flash_json(&report, 5);
        assert_eq!(json["truth"]["holds"], false);
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
    let small: fn(&mut FlashOptions) = |options| options.load.ledger_rows = 8;
    let report = sale(Lie::None, small);
    assert_eq!(violated(&report), [""; 0], "{}", flash_text(&report));
    assert!(report.load.ledger_disk_bytes > 0 && report.load.orders > 100);
    for (lie, name) in [
        (Lie::Oversell, "oversold"),
        (Lie::LoseOrder, "lost_acknowledgements"),
        (Lie::OtherBytes, "receipts_identical"),
        (Lie::IgnoreLimit, "customer_limit"),
        (Lie::FalseSoldOut, "false_sold_out"),
    ] {
        let report = sale(lie, small);
        assert!(violated(&report).contains(&name), "{lie:?}\n{}", flash_text(&report));
    }
}

/// Requests that were carried out but not answered are asked again, and the truth holds.
#[test]
fn lost_answers_are_settled() {
    for (lie, loss) in [(Lie::Garbage, Loss::Malformed), (Lie::HangUp, Loss::Connection)] {
        let report = sale(lie, |_| ());
        let text = flash_text(&report);
        assert!(report.load.losses.contains_key(&loss), "{lie:?} lost nothing\n{text}");
        assert!(report.load.reconnects > 0, "{text}");
        assert_eq!(violated(&report), [""; 0], "{text}");
        let unresolved = report.load.truth.map(|truth| truth.unresolved.orders);
        assert_eq!(unresolved, Some(0), "{text}");
        assert!(checked_orders(&text));
    }
}

fn checked_orders(text: &str) -> bool {
    text.contains("lost_acknowledgements")
}

/// A host that is not there, and a run that was there before, are told apart.
#[test]
fn what_can_not_be_run_says_why() {
    let host = Host::start(Lie::None);
    let run = |seed: u64| {
        let mut options = options(&host);
        options.load.seed = seed;
        options.seconds = 0.01;
        flash::run(options)
    };
    let why =
        |result: Result<FlashReport, LoadError>| result.map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(why(run(5)), Ok(()));
    assert!(why(run(5)).is_err_and(|e| e.contains("choose another --seed or --run")));
    assert_eq!(why(run(6)), Ok(()));
    let authority = Authority::parse("http://127.0.0.1:1").expect("well formed");
    let gone = flash::run(FlashOptions::new(Target::Http(authority)));
    assert!(why(gone).is_err_and(|e| e.contains("no connection")));
}

/// The stop flag ends a run early, with a report and its own exit code.
#[test]
fn an_interrupt_still_gives_a_report() {
    let host = Host::start(Lie::None);
    let mut options = options(&host);
    options.seconds = 600.0;
    let stop = std::sync::Arc::clone(&options.load.stop);
    options.load.progress = Some(Box::new(move |progress| {
        if progress.accepted > 0 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }));
    let report = flash::run(options).expect("the sale can be run");
    assert!(report.load.interrupted);
    assert_eq!(exit_code(&report.load, false), 130);
    assert_eq!(violated(&report), [""; 0], "{}", flash_text(&report));
    assert!(checked(&report, "lost_acknowledgements") > 0);
}
