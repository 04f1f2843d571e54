//! The replay of a file against a host written from the contract.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::common::{Host, Lie};
use onhand_loadtest::http::Authority;
use onhand_loadtest::replay::{self, ReplayOptions, ReplayReport};
use onhand_loadtest::{LoadError, LoadErrorKind, Target, exit_code, replay_json, replay_text};
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
    let _ = writeln!(text, r#"{{"type":"order","key":"late","lines":{lines}}}"#);
    text
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("a temporary file can be written");
    file
}

fn replay(
    text: &str,
    lie: Lie,
    change: impl FnOnce(&mut ReplayOptions),
) -> Result<ReplayReport, LoadError> {
    let (host, file) = (Host::start(lie), file(text));
    let authority = Authority::parse(&host.url()).expect("the host has an address");
    let mut options = ReplayOptions::new(Target::Http(authority), file.path());
    options.load.connections = 4;
    change(&mut options);
    replay::run(options)
}

fn violated(report: &ReplayReport) -> Vec<&'static str> {
    let truth = report.load.truth.as_ref().expect("the truth was checked");
    truth.checks.iter().filter(|check| check.violations > 0).map(|check| check.name).collect()
}

/// All orders are sent, in every way of sending, and the truth holds to the unit.
#[test]
fn a_file_is_replayed_whole() {
    type Change = fn(&mut ReplayOptions);
    let ways: [Change; 5] = [
        |_| (),
        |options| options.load.batch = 50,
        |options| options.preload = true,
        |options| options.speed = Some(10.0),
        |options| {
            let rate = "4k/s".parse().expect("a rate");
            let shape = onhand_loadtest::Shape::Uniform;
            options.load.pace = onhand_loadtest::Pace::Open { rate, shape };
        },
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let report = replay(&shop(), Lie::None, way).expect("the file can be replayed");
        let text = replay_text(&report);
        assert_eq!(violated(&report), [""; 0], "way {at}\n{text}");
        assert_eq!((report.baskets, report.lines), (401, 1_201), "way {at}\n{text}");
        // One connection more than orders are equal: which one comes too late is open.
        assert_eq!(report.load.orders, 400, "way {at}\n{text}");
        assert_eq!(report.load.refusals.get("sold_out"), Some(&1), "way {at}\n{text}");
        let units = report.load.truth.as_ref().expect("checked").units;
        assert_eq!((units.put_in, units.sold + units.left), (1_200, 1_200), "way {at}\n{text}");
        assert_eq!(replay_json(&report, 0)["scenario_facts"]["baskets"], 401);
    }
}

/// The first orders alone can be taken.
#[test]
fn the_first_orders_can_be_taken() {
    let report = replay(&shop(), Lie::None, |options| options.orders = Some(25));
    let report = report.expect("the file can be replayed");
    assert_eq!((report.baskets, report.load.orders), (25, 25));
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
        let report = replay(&shop(), lie, |_| ()).expect("the file can be replayed");
        assert!(violated(&report).contains(&name), "{lie:?}\n{}", replay_text(&report));
        assert_eq!(exit_code(&report.load, false), 5);
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
        let result = replay(text, Lie::None, |options| options.preload = preload);
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
    let mut options = ReplayOptions::new(target("http://127.0.0.1:1"), "/nowhere/file");
    options.speed = Some(1.0);
    let missing = replay::run(options).map(|_| ()).expect_err("there is no such file");
    assert!(missing.to_string().contains("/nowhere/file can't be opened"), "{missing}");
}

fn target(url: &str) -> Target {
    Target::Http(Authority::parse(url).expect("well formed"))
}
