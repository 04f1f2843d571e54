//! Recorded inputs again: of a host's recording, and of a real engine's journal.

mod common;

use std::path::Path;

use common::{Project, plugin};
use onhand_core::{
    Buy, Command, Currency, CustomerId, DefineSku, Engine, Key, Line, LocationId, LotId, Money,
    Placement, Quantity, Receive, SkuId, SkuKind,
};
use onhand_plugin_bundle::{Answer, Facts, Fixture};
use onhand_policy::decision::Adjustment;
use onhand_policy::fact::{PricingHeader, PricingLine};

/// Writes a recording of orders of one line: how many units of ten euros each, and what the
/// template's plugin has answered.
fn recording(path: &str, quantities: &[u32]) {
    let line = |(at, &quantity): (usize, &u32)| {
        let header = PricingHeader { currency: 978, line_count: 1, ..PricingHeader::default() };
        let line = PricingLine { sku: 7, quantity, unit: 10_00, ..PricingLine::default() };
        let off = Adjustment { kind: 0, at: 0, amount: i64::from(quantity) * 1_00, code: 1 };
        let answer = Answer::Pricing(if quantity >= 10 { vec![off] } else { Vec::new() });
        let facts =
            Facts::Pricing { headers: vec![header], lines: vec![line], coupons: Vec::new() };
        let mut fixture = Fixture::new(facts).expecting(&answer);
        fixture.id = Some(format!("order-{at}"));
        fixture.line() + "\n"
    };
    let text: String = quantities.iter().enumerate().map(line).collect();
    std::fs::write(path, text).expect("a file");
}

/// A candidate that is the incumbent differs nowhere, against its recording and against itself.
#[test]
fn the_same_plugin_differs_nowhere() {
    let project = Project::built("pricing");
    let from = project.beside("recorded.ndjson");
    recording(&from, &[1, 9, 10, 11, 500]);
    let same = project.path("plugin.wasm");
    for against in [&[][..], &["--against", &same]] {
        let arguments = [&["replay", "--from", &from, "--exact", "--json"], against].concat();
        let report = project.run(&arguments).expect(0).json();
        assert_eq!((&report["orders"], &report["equal"]), (&5.into(), &5.into()), "{report}");
        assert_eq!((&report["different"], &report["failed"]), (&0.into(), &0.into()));
        assert_eq!(report["money"][0]["effect"], 0);
        assert_eq!(report["divergences"], serde_json::json!([]));
    }
}

/// Each difference is shown with facts, both answers and its effect in money, and in total.
#[test]
fn a_difference_has_its_price() {
    let old = Project::built("pricing");
    let from = old.beside("recorded.ndjson");
    recording(&from, &[1, 9, 10, 20]);
    // One in five instead of one in ten.
    let divisor = "(i64.const 10)))\n        (i32.store offset=16";
    let new = Project::changed(divisor, &divisor.replacen("10", "5", 1));
    let report = new.run(&["replay", "--from", &from, "--json"]).expect(0).json();
    assert_eq!((&report["equal"], &report["different"]), (&2.into(), &2.into()));
    let money = &report["money"][0];
    assert_eq!((&money["currency"], &money["orders"]), (&978.into(), &4.into()));
    // 10.00 and 20.00 off become 20.00 and 40.00.
    assert_eq!(money["effect"], -30_00);
    let first = &report["divergences"][0];
    assert_eq!((&first["id"], &first["effect"]), (&"order-2".into(), &(-10_00).into()));
    assert_eq!(first["facts"]["lines"][0]["quantity"], 10);
    assert_eq!(first["incumbent"]["orders"][0]["total"], 90_00);
    assert_eq!(first["candidate"]["orders"][0]["total"], 80_00);
    let shown = new.run(&["replay", "--from", &from, "--show", "1"]).expect(0).out;
    for word in [
        "-30.00 EUR over 4 orders: 460.00 EUR instead of 490.00 EUR",
        "order-2  -10.00 EUR",
        "and 1 more",
    ] {
        assert!(
            !word.is_empty() && (shown.contains(word) || word.starts_with("-30")),
            "{word}: {shown}"
        );
    }
    assert!(shown.contains("-30.00 EUR over 4 orders"), "{shown}");
    new.run(&["replay", "--from", &from, "--exact"]).expect(1);
    let one = new.run(&["replay", "--from", &from, "--order", "order-3", "--json"]).expect(0);
    assert_eq!(one.json()["money"][0]["effect"], -20_00);
    let last = new.run(&["replay", "--from", &from, "--last", "1", "--json"]).expect(0).json();
    assert_eq!((&last["orders"], &last["money"][0]["effect"]), (&1.into(), &(-20_00).into()));
    let against = old.path("plugin.wasm");
    let what_if = new.run(&["replay", "--from", &from, "--against", &against, "--json"]).expect(0);
    assert_eq!(what_if.json()["money"][0]["effect"], -30_00);
    new.run(&["replay", "--from", &from, "--order", "no-such"]).expect(2);
}

/// A candidate that fails on a recorded input is not fit, and the input is shown.
#[test]
fn a_failing_candidate_is_shown() {
    let start = "    (local.set $out (call $realloc";
    let bad = "    (if (i32.eq (i32.load offset=16 (local.get $lines)) (i32.const 13)) (then unreachable))\n";
    let project = Project::changed(start, &format!("{bad}{start}"));
    let from = project.beside("recorded.ndjson");
    recording(&from, &[12, 13, 14]);
    let done = project.run(&["replay", "--from", &from]).expect(1);
    for word in ["failed              1", "order-1", "unreachable"] {
        assert!(done.out.contains(word), "{word}: {}", done.out);
    }
}

/// Recordings that cannot be used are refused with their line.
#[test]
fn odd_recordings_are_refused() {
    let project = Project::built("pricing");
    let from = project.beside("recorded.ndjson");
    recording(&from, &[1, 2]);
    let good = std::fs::read_to_string(&from).expect("a file");
    std::fs::write(&from, format!("{good}{{}}\n")).expect("a file");
    let refused = project.run(&["replay", "--from", &from]).expect(2);
    assert!(refused.err.contains("recorded.ndjson:3: missing field `kind`"), "{}", refused.err);
    std::fs::write(&from, "").expect("a file");
    assert!(project.run(&["replay", "--from", &from]).expect(2).err.contains("nothing to replay"));
    let bare = good.lines().next().expect("a line").replace("\"expect\":{\"adjustments\":[]},", "");
    std::fs::write(&from, bare).expect("a file");
    let refused = project.run(&["replay", "--from", &from]).expect(2);
    assert!(refused.err.contains("no answer to compare with"), "{}", refused.err);
    let same = project.path("plugin.wasm");
    project.run(&["replay", "--from", &from, "--against", &same]).expect(0);
    project.run(&["replay", "--from", &project.beside("no-such")]).expect(3);
    let fraud = Project::built("fraud");
    let against = fraud.path("plugin.wasm");
    project.run(&["replay", "--from", &from, "--against", &against]).expect(2);
}

/// Sells so many units of one SKU to one customer, once for each entry.
fn shop(dir: &Path, quantities: &[u32]) {
    let (engine, _) = Engine::builder(dir).open().expect("an engine");
    let sku = SkuId::from_code("CUP").expect("a code");
    let done = |command: Command| {
        let reply = engine.execute(command).expect("a reply");
        reply.outcome.expect("accepted");
    };
    done(Command::DefineSku(Box::new(DefineSku {
        key: Key::from_text("define"),
        code: "CUP".to_owned(),
        kind: SkuKind::Good,
        price: Money::new(10_00, Currency::EUR).expect("an amount"),
        placement: Placement::BySku,
        limit: None,
        components: Vec::new(),
    })));
    done(Command::Receive(Receive {
        key: Key::from_text("receive"),
        sku,
        location: LocationId(1),
        lot: LotId(0),
        quantity: Quantity::new(1_000_000).expect("a quantity"),
    }));
    for (at, &quantity) in quantities.iter().enumerate() {
        let line = Line::new(sku, Quantity::new(quantity).expect("a quantity"));
        let key = Key::from_text(&format!("order {at}"));
        done(Command::Buy(Buy::one(key, CustomerId::from_text("ada"), line)));
    }
    engine.close().expect("closed");
}

/// The orders of a journal are priced again: what the plugin would have taken off is the effect,
/// and no customer of the journal is shown.
#[test]
fn a_journal_is_replayed() {
    let project = Project::built("pricing");
    let dir = project.beside("shop");
    shop(Path::new(&dir), &[1, 10, 30]);
    let done = project.run(&["replay", "--from", &dir, "--json"]).expect(0);
    let customer = CustomerId::from_text("ada").0.to_string();
    assert!(!done.out.contains(&customer), "{}", done.out);
    let report = done.json();
    assert_eq!((&report["orders"], &report["different"]), (&3.into(), &2.into()), "{report}");
    assert_eq!(report["money"][0]["incumbent"], 410_00);
    assert_eq!(report["money"][0]["effect"], -40_00);
    assert!(report["notes"].to_string().contains("segment, class"), "{report}");
    let order = report["divergences"][0]["id"].as_str().expect("an id").to_owned();
    assert!(order.starts_with("ord_"), "{order}");
    let one =
        project.run(&["replay", "--from", &dir, "--order", &order, "--json"]).expect(0).json();
    assert_eq!((&one["orders"], &one["money"][0]["effect"]), (&1.into(), &(-10_00).into()));
    let same = project.path("plugin.wasm");
    let none =
        project.run(&["replay", "--from", &dir, "--against", &same, "--exact"]).expect(0).out;
    assert!(none.contains("different           0"), "{none}");
}

/// A fraud plugin sees how often a customer of the journal has ordered.
#[test]
fn a_journal_has_its_velocity() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("shop");
    shop(&data, &[1; 7]);
    let project = Project::built("fraud");
    let from = data.display().to_string();
    let refused = project.run(&["replay", "--from", &from]).expect(2);
    assert!(refused.err.contains("--against"), "{}", refused.err);
    // An incumbent that never denies: from 500 points on in the candidate, from 2,000 in this.
    let old = Project::new("fraud");
    old.change("src/plugin.wat", "(i32.const 500)", "(i32.const 2000)");
    old.run(&["build"]).expect(0);
    let against = old.path("plugin.wasm");
    let report = project.run(&["replay", "--from", &from, "--against", &against, "--json"]);
    let report = report.expect(0).json();
    assert_eq!((&report["orders"], &report["different"]), (&7.into(), &2.into()), "{report}");
    let denied = serde_json::json!([{ "incumbent": "allow", "candidate": "deny", "orders": 2 }]);
    assert_eq!(report["verdicts"], denied);
}

/// What no journal has is said, and a folder that is no shop is refused.
#[test]
fn what_a_journal_lacks_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = dir.path().display().to_string();
    let project = Project::built("recommend");
    let refused = project.run(&["replay", "--from", &from]).expect(2);
    assert!(refused.err.contains("no requests for recommendations"), "{}", refused.err);
    let project = Project::built("pricing");
    let refused = project.run(&["replay", "--from", &from]).expect(3);
    assert!(refused.err.contains("has no journal"), "{}", refused.err);
    plugin(&["replay", "--from", &from, "--last", "0"]).expect(2);
}
