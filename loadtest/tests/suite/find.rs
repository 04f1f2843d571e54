//! The search for capacity, against a server whose capacity is known by arithmetic.

use std::process::{Command, Output};
use std::time::Duration;

use onhand_loadtest::find::{FindOptions, find as search};
use onhand_loadtest::results::Folder;
use onhand_loadtest::results::knee::{Knee, KneeEnd};
use onhand_loadtest::scenario::Scenario;
use onhand_loadtest::{Authority, LoadOptions, Rate, Target};

use crate::common::{Gate, Host, Lie};

const BUYERS: &str = "
schema = 1
name = \"buyers\"
seed = 3
[target]
connections = 256
[stock]
skus = 1
hot_units = 1000000
[arrivals]
shape = \"uniform\"
[[stage]]
shape = \"hold\"
rate = \"1/s\"
for = \"1s\"
[actor.human]
flow = [\"buy\"]
think = \"0s\"
";

fn find(dir: &std::path::Path, url: &str, more: &[&str]) -> (Output, Option<Knee>) {
    std::fs::write(dir.join("buyers.toml"), BUYERS).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(["find", "buyers.toml", "--target", url, "--json", "-", "-q"]).args(more);
    // Whether this machine is busy with something else is not the question.
    command.arg("--allow-generator-limit");
    let output = command.current_dir(dir).env_remove("ONHAND_KEY").output().expect("it starts");
    let knee = serde_json::from_slice(&output.stdout).ok();
    (output, knee)
}

/// A server of 4 at once, 20 ms each, serves 200 a second. Below, a purchase takes 20 ms; above, a
/// queue grows by the surplus, so that at second `t` one waits `t * (rate / 200 - 1)` more. In the
/// middle of the measured part, at second 2, that is under 95 ms up to 200 * (1 + 0.075 / 2) =
/// 207.5/s. (The median, for a busy machine makes the last hundredth late whatever the server does.)
#[test]
fn the_knee_of_a_known_server_is_found() {
    let host = Host::start_with(Lie::None, Some(Gate::new(4, Duration::from_millis(20))));
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let slo = ["--slo", "p50 < 95ms, lost = 0", "oversold = 0", "--out", "runs"];
    let range = ["--from", "90/s", "--to", "2k/s", "--step-for", "2s", "--warm-up", "1s"];
    let (output, knee) =
        find(dir.path(), &host.url(), &[&slo[..], &range, &["--precision", "0.3"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let knee = knee.unwrap_or_else(|| panic!("no record: {said}"));
    let (holds, fails) = (knee.holds.unwrap_or(0.0), knee.fails.unwrap_or(0.0));
    let tried: Vec<f64> = knee.steps.iter().map(|step| step.rate).collect();
    assert!(holds < 207.5 && 207.5 < fails && fails <= 1.3 * holds, "{tried:?} {:?}", knee.why);
    assert_eq!((knee.end, output.status.code()), (KneeEnd::Found, Some(0)));
    assert!(knee.why[0].starts_with("p50 < 95ms: "), "{:?}", knee.why);
    assert_eq!(tried[..2], [90.0, 180.0]);
    for step in &knee.steps {
        // What was due in the measured part alone is counted: two seconds of the rate.
        let due = 2.0 * step.rate;
        assert!((step.intended.count as f64 - due).abs() <= 0.02 * due, "{}", step.intended.count);
        assert!(step.service.p50_ns >= 20_000_000, "{}", step.service.p50_ns);
        assert!(step.holds || step.intended.p50_ns > 95_000_000, "{}", step.rate);
    }
    // Each step is a whole run with stock of its own, and the record stands beside them.
    let folder = dir.path().join("runs/buyers-3-find");
    let written = std::fs::read_to_string(folder.join("knee.json")).expect("the record");
    let written: Knee = serde_json::from_str(&written).expect("a record");
    assert_eq!(written, knee);
    let page = std::fs::read_to_string(folder.join("report.html")).expect("the page");
    assert!(page.contains("The shop keeps up with ") && page.contains("knee-latency"));
    for (at, step) in knee.steps.iter().enumerate() {
        let name = step.folder.as_deref().expect("a folder");
        assert_eq!(name, format!("buyers-3-{}", at + 1));
        let run = Folder::open(&folder.join(name)).and_then(|folder| folder.run());
        let run = run.expect("a record");
        assert_eq!(run.thresholds, step.thresholds);
        let hot = run.stock.expect("a stock").sku_hot.expect("a hot SKU");
        assert_eq!((hot.code, hot.put_in), (format!("{name}-hot"), 1_000_000));
    }
}

/// A lowest rate that does not hold exits with 3, a violated truth with 5, and a search without
/// anything to hold is refused.
#[test]
fn a_search_says_why_there_is_no_knee() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let short = ["--from", "50/s", "--step-for", "1s", "--warm-up", "0s", "--steps", "1"];
    let host = Host::start(Lie::None);
    let (output, knee) =
        find(dir.path(), &host.url(), &[&["--slo", "p50 < 1ns"], &short[..]].concat());
    let knee = knee.expect("a record");
    assert_eq!((output.status.code(), knee.end), (Some(3), KneeEnd::BottomFails), "{knee:#?}");
    assert_eq!((knee.holds, knee.fails), (None, Some(50.0)));
    let liar = Host::start(Lie::LoseOrder);
    let (output, knee) =
        find(dir.path(), &liar.url(), &[&["--slo", "p50 < 10s"], &short[..]].concat());
    let knee = knee.expect("a record");
    assert_eq!(output.status.code(), Some(5), "{knee:#?}");
    assert_eq!(knee.steps[0].violated, ["lost_acknowledgements"]);
    let (output, _) = find(dir.path(), &host.url(), &short);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing says what must hold"), "{said}");
}

/// A host that is gone after the first step ends the search with an error, and what was found before
/// stays in the record and in its folder; gone from the start, there is nothing to record.
#[test]
fn a_step_that_fails_keeps_the_steps_before() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let scenario = Scenario::read(BUYERS, "buyers.toml").expect("a scenario");
    let host = Host::start(Lie::None);
    let rate = |rate| Rate::per_second(rate).expect("a rate");
    let options = |host: &Host| {
        let target = Authority::parse(&host.url()).expect("an address");
        let mut options = FindOptions::new(LoadOptions::new(Target::Http(target)));
        options.slo = vec!["p50 < 10s".to_owned()];
        (options.from, options.to) = (rate(50.0), rate(200.0));
        (options.step, options.warm_up) = (Duration::from_secs(1), Duration::ZERO);
        options.allow_generator_limit = true;
        options.out = Some(dir.path().to_owned());
        options
    };
    let mut first = options(&host);
    let mut open = Some(host);
    first.on_step = Some(Box::new(move |_, _| drop(open.take())));
    let found = search(&scenario, first).expect("the first step was run");
    let Knee { steps, end, exit, holds, .. } = &found.knee;
    assert_eq!((steps.len(), *end, exit.code, *holds), (1, KneeEnd::Failed, 1, Some(50.0)));
    assert!(exit.reasons[0].starts_with("step 2, at 100/s, can't be run: "), "{exit:?}");
    let folder = found.folder.expect("a folder");
    let written = std::fs::read_to_string(folder.path().join("knee.json")).expect("the record");
    assert_eq!(serde_json::from_str::<Knee>(&written).expect("a record"), found.knee);
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("the page");
    assert!(page.contains("step 2, at 100/s, can&#39;t be run"));
    let gone = Host::start(Lie::None);
    let mut nothing = options(&gone);
    nothing.out = None;
    nothing.load.target = Target::Http(Authority::parse("http://127.0.0.1:1").expect("an address"));
    assert!(search(&scenario, nothing).is_err());
}

/// A scenario that starts its host itself does so for a search as well: one host for all steps.
#[test]
#[cfg(all(feature = "faults", target_os = "linux"))]
fn a_host_of_its_own_is_searched() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let words = serde_json::to_string(&crate::fault::command("")).expect("JSON");
    let text = BUYERS.replace("[target]\n", &format!("[target]\ncommand = {words}\n"));
    std::fs::write(dir.path().join("own.toml"), text).expect("written");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    tool.args(["find", "own.toml", "--slo", "p50 < 10s", "--from", "50/s", "--to", "100/s"]);
    tool.args(["--step-for", "1s", "--warm-up", "0s", "-q", "--allow-generator-limit"]);
    tool.args(["--json", "-", "--out", "runs"]).current_dir(dir.path());
    let output = tool.env_remove("ONHAND_KEY").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let knee: Knee =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e} {said}"));
    assert_eq!((knee.end, output.status.code()), (KneeEnd::TopHolds, Some(0)), "{said}");
    assert_eq!(knee.steps.len(), 2);
    let log = std::fs::read_to_string(dir.path().join("runs/buyers-3-find/host.log"));
    assert_eq!(log.expect("its output").matches("serving ").count(), 1, "one host for all steps");
}

/// A peer is searched as a host is.
#[test]
#[cfg(all(feature = "peers", target_os = "linux"))]
fn a_peer_is_searched() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let range = ["--from", "50/s", "--to", "100/s", "--step-for", "1s", "--warm-up", "0s"];
    let (output, knee) =
        find(dir.path(), "redis", &[&["--slo", "p50 < 10s", "oversold = 0"], &range[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("is not installed: apt-get install") {
        return;
    }
    let knee = knee.unwrap_or_else(|| panic!("no record: {said}"));
    assert_eq!((knee.end, output.status.code()), (KneeEnd::TopHolds, Some(0)), "{said}");
    assert_eq!((knee.steps.len(), knee.target.kind.name()), (2, "redis"));
}
