//! The replay of a file against a host written from the contract.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::common::{Host, Lie};
use onhand_loadtest::results::run::Verdict;
use onhand_loadtest::scenario::{Scenario, Setting};
use onhand_loadtest::{
    Authority, LoadError, LoadErrorKind, Outcome, RunOptions, Target, run, run_text,
};
use tempfile::NamedTempFile;

/// Ten stores with three SKUs each; every store sells what it has, the last order asks for more.
fn shop() -> String {
    let mut text = String::new();
    for sku in ["a", "b", "c"] {
        let price = r#"{"amount":199,"currency":"USD"}"#;
        let _ = writeln!(text, r#"{{"type":"sku","sku":"{sku}","price":{price}}}"#);
    }
    for location in 1..=10 {
        for sku in ["a", "b", "c"] {
            let cell = format!(r#""sku":"{sku}","location":{location}"#);
            let _ = writeln!(text, r#"{{"type":"stock",{cell},"quantity":40}}"#);
        }
    }
    for order in 0..400 {
        let location = order % 10 + 1;
        let lines: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|sku| {
                let price = r#"{"unit":199,"discount":20}"#;
                format!(r#"{{"sku":"{sku}","quantity":1,"location":{location},"price":{price}}}"#)
            })
            .collect();
        let lines = lines.join(",");
        let head = format!(r#""key":"o-{order}","customer":"h{}","at_ms":{order}"#, order % 7);
        let _ = writeln!(text, r#"{{"type":"order",{head},"lines":[{lines}]}}"#);
    }
    let lines = r#"[{"sku":"a","quantity":1,"location":3}]"#;
    let _ = writeln!(text, r#"{{"type":"order","key":"late","at_ms":400,"lines":{lines}}}"#);
    text
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("a temporary file can be written");
    file
}

const TRACE: &str = "schema = 1\nname = \"trace\"\n[target]\nconnections = 4\n\
                     [[stage]]\nshape = \"trace\"\nfile = \"orders.ndjson\"\n";

fn replay_of(path: &str, lie: Lie, settings: &[&str]) -> Result<Outcome, LoadError> {
    let host = Host::start(lie);
    let mut all = vec![Setting::new(&["stage", "0", "file"], path)];
    for text in settings {
        all.push(Setting::parse(text)?);
    }
    let scenario = Scenario::read_with(TRACE, "trace.toml", &all)?;
    let authority = Authority::parse(&host.url()).expect("the host has an address");
    run(&scenario, RunOptions::new(&scenario, Target::Http(authority)))
}

fn replay(text: &str, lie: Lie, settings: &[&str]) -> Result<Outcome, LoadError> {
    let file = file(text);
    replay_of(file.path().to_str().expect("a temporary path is text"), lie, settings)
}

const MAX: &str = "stage.0.pace=max";

fn violated(outcome: &Outcome) -> Vec<&str> {
    let broken = outcome.run.truth.iter().filter(|check| check.verdict == Verdict::Violated);
    broken.map(|check| check.name.as_str()).collect()
}

/// All orders are sent, in every way of sending, and the truth holds to the unit.
#[test]
fn a_file_is_replayed_whole() {
    let ways: [&[&str]; 5] = [
        &[MAX],
        &[MAX, "target.batch=50"],
        &[MAX, "stage.0.preload=true"],
        &["stage.0.speed=10"],
        &["stage.0.rate=4k/s", "arrivals.shape=uniform"],
    ];
    for way in ways {
        let outcome = replay(&shop(), Lie::None, way).expect("the file can be replayed");
        let (text, run) = (run_text(&outcome.run), &outcome.run);
        assert_eq!(violated(&outcome), [""; 0], "{way:?}\n{text}");
        assert_eq!((run.counts.users, run.counts.sent), (401, 401), "{way:?}\n{text}");
        // One connection more than orders are equal: which one comes too late is open.
        assert_eq!(run.counts.orders, 400, "{way:?}\n{text}");
        assert_eq!(run.refused.get("sold_out"), Some(&1), "{way:?}\n{text}");
        let stock = run.stock.as_ref().expect("the events were read");
        assert_eq!((stock.put_in, stock.sold + stock.left), (1_200, 1_200), "{way:?}\n{text}");
    }
}

/// The first orders alone can be taken.
#[test]
fn the_first_orders_can_be_taken() {
    let outcome = replay(&shop(), Lie::None, &[MAX, "stage.0.orders=25"]);
    let run = outcome.expect("the file can be replayed").run;
    assert_eq!((run.counts.users, run.counts.orders), (25, 25));
}

/// A replay finds lies as a flash sale does.
#[test]
fn lies_are_found() {
    for (lie, name) in [
        (Lie::FalseSoldOut, "false_sold_out"),
        (Lie::LoseOrder, "lost_acknowledgements"),
        (Lie::GhostOrder, "ghost_orders"),
        (Lie::ShortOrder, "order_whole"),
    ] {
        let outcome = replay(&shop(), lie, &[MAX]).expect("the file can be replayed");
        assert!(violated(&outcome).contains(&name), "{lie:?}\n{}", run_text(&outcome.run));
        assert_eq!(outcome.run.exit.code, 5);
    }
}

/// What is outside the schema ends the run with the file, the line and the reason.
#[test]
fn errors_name_the_line() {
    let sku = r#"{"type":"sku","sku":"a","price":{"amount":1,"currency":"EUR"}}"#;
    let stock = r#"{"type":"stock","sku":"a","location":1,"quantity":9}"#;
    let order = |key: &str| {
        let lines = r#"[{"sku":"a","quantity":1,"location":1}]"#;
        format!(r#"{{"type":"order","key":"{key}","lines":{lines}}}"#)
    };
    let refused = |text: &str, preload: bool, line: &str, why: &str| {
        let preload = format!("stage.0.preload={preload}");
        let result = replay(text, Lie::None, &[MAX, &preload]);
        let error = result.map(|_| ()).expect_err("the file is malformed");
        assert_eq!(error.kind(), LoadErrorKind::Input);
        let error = error.to_string();
        assert!(error.contains(line) && error.contains(why), "{error}");
    };
    for preload in [false, true] {
        let late = format!("{sku}\n\n{stock}\n{}\n{}\n{{oops\n", order("1"), order("2"));
        refused(&late, preload, "line 6:", "key must be a string");
        let mixed = format!("{sku}\n{}\n{stock}\n", order("1"));
        refused(&mixed, preload, "line 3:", "before the first order");
        let unknown = format!("{sku}\n{}\n", order("1").replace("\"a\"", "\"z\""));
        refused(&unknown, preload, "line 2:", "no earlier line");
    }
    refused(&format!("{sku}\n{sku}\n"), false, "line 2:", "is there twice");
    refused(&format!("{sku}\n{stock}\n{sku}\n"), false, "line 3:", "before stock");
    refused("\n\n", false, "", "defines no SKU");
    refused(&"x".repeat(1 << 21), false, "line 1:", "longer than 1048576 bytes");
    let missing = replay_of("/nowhere/file", Lie::None, &[]).map(|_| ());
    let missing = missing.expect_err("there is no such file").to_string();
    assert!(missing.contains("/nowhere/file can't be opened"), "{missing}");
    assert!(missing.contains("prepare.py --out /nowhere/file`"), "{missing}");
}

/// Recorded times ascend and are on every order; the longest run bounds them.
#[test]
fn recorded_times_are_checked() {
    let sku = r#"{"type":"sku","sku":"a","price":{"amount":1,"currency":"EUR"}}"#;
    let stock = r#"{"type":"stock","sku":"a","location":1,"quantity":9}"#;
    let order = |key: &str, at: &str| {
        let lines = r#"[{"sku":"a","quantity":1,"location":1}]"#;
        format!(r#"{{"type":"order","key":"{key}"{at},"lines":{lines}}}"#)
    };
    for (orders, speed, text) in [
        ([r#","at_ms":0"#, ""], "1", "line 4: at_ms is missing"),
        ([r#","at_ms":60"#, r#","at_ms":7"#], "1", "line 4: at_ms is 7, before 60 in line 3; sort"),
        ([r#","at_ms":0"#, r#","at_ms":18446744073709551615"#], "1", "is beyond 86400 s"),
        ([r#","at_ms":0"#, r#","at_ms":100000"#], "0.000001", "is beyond 86400 s"),
    ] {
        let [first, second] = orders;
        let file = format!("{sku}\n{stock}\n{}\n{}\n", order("1", first), order("2", second));
        for preload in ["true", "false"] {
            let preload = format!("stage.0.preload={preload}");
            let speed = format!("stage.0.speed={speed}");
            let error = replay(&file, Lie::None, &[&preload, &speed]).map(|_| ());
            let error = error.expect_err("the times are wrong").to_string();
            assert!(error.contains(text), "{error} lacks {text}");
        }
    }
    let error = replay(&shop(), Lie::None, &["stage.0.speed=1e-300"]).map(|_| ());
    let error = error.expect_err("no such speed").to_string();
    assert!(error.contains("speed is") && error.contains("outside 0.000001..="), "{error}");
    let error = replay(&shop(), Lie::None, &["stage.0.speed=2", MAX]).map(|_| ());
    assert!(error.is_err_and(|e| e.to_string().contains("give one of rate, speed and pace")));
}
