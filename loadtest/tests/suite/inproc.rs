//! The same load against the engine of this process.

use std::io::Write as _;

use onhand_loadtest::scenario::{Scenario, Setting};
use onhand_loadtest::{InProcess, Outcome, RunOptions, Target, run, run_text};

const SALE: &str = r#"
schema = 1
name = "inside"

[target]
connections = 8

[stock]
hot_units = 500
hot_limit = 2

[customers]
count = 300

[reservation]
ttl = "30ms"

[basket]
in_vain = 0.2

[[stage]]
shape = "max"
for = "300ms"

[actor.buyer]
weight = 70
think = "0s"
flow = ["buy"]

[actor.double-clicker]
weight = 10
think = "0s"
double_click = 1.0

[actor.payer]
weight = 10
think = "0s"
flow = ["reserve", "place"]

[actor.abandoner]
weight = 10
think = "0s"

[truth]
hold_expiry_skew = "10s"
"#;

const TRACE: &str = "schema = 1\nname = \"trace\"\n[target]\nconnections = 4\n[[stage]]\n\
                     shape = \"trace\"\nfile = \"orders.ndjson\"\npace = \"max\"\n";

fn load(scenario: &Scenario, inside: InProcess) -> (Outcome, String) {
    let outcome = run(scenario, RunOptions::new(scenario, Target::InProc(inside)));
    let outcome = outcome.expect("the scenario can be run");
    let text = run_text(&outcome.run);
    assert_eq!(outcome.run.exit.code, 0, "{text}");
    (outcome, text)
}

/// A flash sale over the engine itself passes every check, on one shard and on several.
#[test]
fn a_sale_in_this_process_passes() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let inside = InProcess::open(dir.path(), shards).expect("the engine can be opened");
        let scenario = Scenario::read(SALE, "inside.toml").expect("a scenario");
        let (outcome, text) = load(&scenario, inside);
        let run = &outcome.run;
        assert!(run.refused.contains_key("sold_out") && run.counts.replayed > 0, "{text}");
    }
}

/// By location no basket crosses shards; by SKU baskets do; both are whole.
#[test]
fn placement_decides_what_crosses_shards() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let price = r#"{"amount":100,"currency":"EUR"}"#;
    for sku in 0..16 {
        writeln!(file, r#"{{"type":"sku","sku":"s{sku}","price":{price}}}"#).expect("written");
    }
    for cell in 0..64 {
        let (sku, location) = (cell % 16, cell / 16 + 1);
        let cell = format!(r#""sku":"s{sku}","location":{location},"quantity":50"#);
        writeln!(file, r#"{{"type":"stock",{cell}}}"#).expect("written");
    }
    for order in 0..200 {
        let (location, first) = (order % 4 + 1, order % 15);
        let line = |sku| format!(r#"{{"sku":"s{sku}","quantity":1,"location":{location}}}"#);
        let lines = format!("{},{}", line(first), line(first + 1));
        let order = format!(r#"{{"type":"order","key":"o{order}","lines":[{lines}]}}"#);
        writeln!(file, "{order}").expect("written");
    }
    let path = file.path().to_str().expect("a temporary path is text");
    for (placement, crosses) in [("location", false), ("sku", true)] {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let inside = InProcess::open(dir.path(), 4).expect("the engine can be opened");
        let settings = [
            Setting::new(&["stage", "0", "file"], path),
            Setting::new(&["stage", "0", "placement"], placement),
        ];
        let scenario = Scenario::read_with(TRACE, "trace.toml", &settings).expect("a scenario");
        let (outcome, text) = load(&scenario, inside);
        assert_eq!(outcome.run.counts.orders, 200, "{text}");
        let report = outcome.report.expect("the run told of itself");
        let crossed = report.engine.map_or(0, |engine| engine.cross_baskets);
        assert_eq!(crossed > 0, crosses, "{text}");
    }
}
