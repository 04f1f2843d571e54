//! The same load against the engine of this process.

use std::io::Write as _;

use onhand_loadtest::flash::{self, FlashOptions, Mix};
use onhand_loadtest::replay::{self, Placement, ReplayOptions};
use onhand_loadtest::{InProcess, Target, flash_text, replay_text};

/// A flash sale over the engine itself passes every check, on one shard and on several.
#[test]
fn a_sale_in_this_process_passes() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let inside = InProcess::open(dir.path(), shards).expect("the engine can be opened");
        let mut options = FlashOptions::new(Target::InProc(inside));
        options.seconds = 0.3;
        options.stock = 500;
        options.customers = 300;
        options.load.connections = 8;
        options.mix = Mix { duplicate: 0.1, reserve: 0.2, abort: 0.2 };
        options.ttl_ms = 30;
        let report = flash::run(options).expect("the sale can be run");
        let text = flash_text(&report);
        assert!(report.load.truth_holds(), "{text}");
        assert!(
            report.load.refusals.contains_key("sold_out") && report.load.replayed > 0,
            "{text}"
        );
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
    for (placement, crosses) in [(Placement::Location, false), (Placement::Sku, true)] {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let inside = InProcess::open(dir.path(), 4).expect("the engine can be opened");
        let mut options = ReplayOptions::new(Target::InProc(inside), file.path());
        options.placement = placement;
        options.load.connections = 4;
        let report = replay::run(options).expect("the file can be replayed");
        let text = replay_text(&report);
        assert!(report.load.truth_holds() && report.load.orders == 200, "{text}");
        let crossed = report.load.engine.map_or(0, |engine| engine.cross_baskets);
        assert_eq!(crossed > 0, crosses, "{text}");
    }
}
