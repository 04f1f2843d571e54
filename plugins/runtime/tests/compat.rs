//! Components that were built against each released version of the interface are loaded and answer
//! as on the day of its release, for ever.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{options, runtime};
use onhand_plugin_runtime::{Fraud, Kind, Plugin, PluginOptions, Pricing, Recommend, World};
use onhand_policy::decision::{Adjustment, Pick, Score};
use onhand_policy::fact::{
    Candidate, FraudBatch, FraudHeader, FraudLine, PricingBatch, PricingHeader, PricingLine,
    RecommendBatch, RecommendRequest,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../compat")
}

/// Returns the components of every version: path and bytes.
fn components() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for version in fs::read_dir(folder()).expect("the folder of versions") {
        let version = version.expect("an entry").path();
        if !version.is_dir() {
            continue;
        }
        for file in fs::read_dir(&version).expect("a version").map(|file| file.expect("an entry")) {
            let path = file.path();
            if path.extension().is_some_and(|end| end == "wasm") {
                let parts = [version.file_name(), path.file_name()]
                    .map(|part| part.expect("a name").to_str().expect("UTF-8").to_owned());
                found.push((parts.join("/"), fs::read(&path).expect("a component")));
            }
        }
    }
    found.sort();
    found
}

fn load<W: World>(name: &str, wasm: &[u8], config: &str) -> Plugin<W> {
    let options = PluginOptions { config: config.to_owned(), ..options() };
    Plugin::load(&runtime(), wasm, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Each version has a component of each kind in each language whose template makes a small one,
/// and none of them has changed.
#[test]
fn components_of_a_release_never_change() {
    let found: BTreeMap<String, String> = components()
        .iter()
        .map(|(name, wasm)| (name.clone(), blake3::hash(wasm).to_hex().to_string()))
        .collect();
    let text = fs::read_to_string(folder().join("frozen.txt")).expect("the hashes");
    let frozen: BTreeMap<String, String> = text
        .lines()
        .map(|line| {
            let (hash, name) = line.split_once("  ").expect("hash, two spaces, name");
            (name.to_owned(), hash.to_owned())
        })
        .collect();
    assert_eq!(found, frozen, "a component of a release was edited, or one was added unfrozen");
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    for kind in Kind::ALL {
        for language in ["c", "rust", "ts"] {
            let name = format!("v1_0_0/{kind}-{language}.wasm");
            assert!(names.contains(name.as_str()), "{name} is missing");
        }
    }
}

/// Each component takes its configuration and answers on a batch, and refuses a configuration.
#[test]
fn components_of_every_release_still_answer() {
    for (name, wasm) in components() {
        let kind = Kind::ALL.into_iter().find(|kind| name.contains(&format!("/{kind}-")));
        match kind.unwrap_or_else(|| panic!("{name} names no kind")) {
            Kind::Pricing => prices(&name, &wasm),
            Kind::Fraud => scores(&name, &wasm),
            Kind::Recommend => picks(&name, &wasm),
        }
    }
}

/// Fails unless the component says what is wrong with a configuration.
fn refuses<W: World>(name: &str, wasm: &[u8], config: &str, field: &str) {
    let options = PluginOptions { config: config.to_owned(), ..options() };
    let error = Plugin::<W>::load(&runtime(), wasm, options).expect_err("refused").to_string();
    assert!(error.contains(field), "{name}: {error}");
}

fn prices(name: &str, wasm: &[u8]) {
    refuses::<Pricing>(name, wasm, r#"{"percent": 101}"#, "percent");
    let plugin = load::<Pricing>(name, wasm, r#"{"percent": 20, "units": 5}"#);
    let header = PricingHeader { currency: 978, line_count: 2, ..PricingHeader::default() };
    let headers = [header, PricingHeader { first_line: 2, line_count: 1, ..header }];
    let line = |quantity, unit| PricingLine { sku: 1, quantity, unit, ..PricingLine::default() };
    let lines = [line(5, 100), line(4, 100), line(5, 33)];
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let off = |at, amount| Adjustment { kind: 0, at, amount, code: 1 };
    for fresh in [true, false, false] {
        let (answer, _) = plugin.answer(batch, fresh).expect("an answer");
        assert_eq!(answer, [off(0, 100), off(2, 33)], "{name}");
    }
}

fn scores(name: &str, wasm: &[u8]) {
    refuses::<Fraud>(name, wasm, r#"{"review": 0}"#, "review");
    let plugin = load::<Fraud>(name, wasm, r#"{"points": 200, "review": 400}"#);
    let header = |first_line, customer_orders_hour| FraudHeader {
        currency: 978,
        first_line,
        line_count: 1,
        customer_orders_hour,
        ..FraudHeader::default()
    };
    let headers = [header(0, 1), header(1, 2), header(2, 99)];
    let lines = [FraudLine { sku: 1, quantity: 1, unit: 100 }; 3];
    let batch = FraudBatch::new(&headers, &lines).expect("a batch");
    let score = |points, verdict, code| Score { points, verdict, code };
    for fresh in [true, false, false] {
        let (answer, _) = plugin.answer(batch, fresh).expect("an answer");
        assert_eq!(answer, [score(200, 0, 0), score(400, 2, 1), score(1_000, 2, 1)], "{name}");
    }
}

fn picks(name: &str, wasm: &[u8]) {
    refuses::<Recommend>(name, wasm, r#"{"together_least": 0}"#, "together_least");
    let plugin = load::<Recommend>(name, wasm, r#"{"together_least": 3}"#);
    let request =
        RecommendRequest { item_count: 1, candidate_count: 6, limit: 2, ..Default::default() };
    let second = RecommendRequest { first_item: 1, item_count: 0, first_candidate: 6, ..request };
    let requests = [request, RecommendRequest { candidate_count: 1, ..second }];
    let candidate =
        |(sku, together, available)| Candidate { sku, together, available, ..Candidate::default() };
    let candidates = [(1, 4, 1), (2, 9, 0), (7, 9, 1), (3, 2, 1), (4, 3, 1), (4, 5, 1), (8, 3, 1)];
    let candidates = candidates.map(candidate);
    let batch = RecommendBatch::new(&requests, &[7], &candidates).expect("a batch");
    let pick = |request, sku, score| Pick { request, sku, score };
    for fresh in [true, false, false] {
        let (answer, _) = plugin.answer(batch, fresh).expect("an answer");
        assert_eq!(answer, [pick(0, 4, 5), pick(0, 1, 4), pick(1, 8, 3)], "{name}");
    }
}
