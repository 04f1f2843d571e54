//! Scenario files: what is wrong is said with line and column, value, range and suggestion; the
//! commands around them; and a run from a file to its folder of results.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use onhand_loadtest::results::Folder;
use onhand_loadtest::results::interval::Totals;
use onhand_loadtest::results::run::LatencyGroup;
use onhand_loadtest::scenario::{READY, Scenario};

use crate::common::{Host, Lie};

fn check(toml: &str, expected: &str) {
    let error = Scenario::read(toml, "sale.toml").map(|_| ()).expect_err(toml);
    assert_eq!(error.to_string(), expected, "\n{toml}");
}

/// Puts lines behind a head that is fine: they begin at line 5.
fn check_after(lines: &str, expected: &str) {
    check(&format!("schema = 1\n[[stage]]\nshape = \"max\"\nfor = \"1s\"\n{lines}"), expected);
}

const MAX: &str = "schema = 1\n[[stage]]\nshape = \"max\"\nfor = \"1s\"\n";

/// Slips find what was meant; everything else says what is allowed; all say where.
#[test]
fn errors_say_where_and_what() {
    check("", "sale.toml:1:1: missing field `schema`");
    check("schema = 2\n", "sale.toml:1:10: schema is 2, this build reads 1");
    check(
        "schema = 1\n",
        "sale.toml:1:1: there is no [[stage]], so nobody would come; a scenario has at least one",
    );
    check_after(
        "[target]\nconections = 4\n",
        "sale.toml:6:1: unknown field `conections`; did you mean `connections`?",
    );
    check_after(
        "[target]\nconnections = 0\n",
        "sale.toml:6:15: connections is 0, outside 1..=4096",
    );
    check_after(
        "[target]\nack = \"groop\"\n",
        "sale.toml:6:7: ack is \"groop\"; did you mean \"group\"?",
    );
    check_after(
        "[target]\nack = \"sometimes\"\n",
        "sale.toml:6:7: ack is \"sometimes\"; want one of memory, group, strict",
    );
    check_after(
        "[reservation]\nttl = \"5 minutes\"\n",
        "sale.toml:6:7: ttl is \"5 minutes\", want a time above 0s up to 30d",
    );
    check_after(
        "[stock]\nkeys = { hot_sku_share = 1.5 }\n",
        "sale.toml:6:26: hot_sku_share is 1.5, outside 0..=1",
    );
    check_after(
        "[truth]\noversoled = 1\n",
        "sale.toml:6:1: unknown field `oversoled`; did you mean `oversold`?",
    );
    check_after(
        "[slo]\n\"buy.p99\" = \"50ms\"\n",
        "sale.toml:6:13: the bound is \"50ms\", want such as \"<50ms\" or \"==0\"",
    );
    check_after(
        "[slo]\n\"buy.p99\" = \"< 50\"\n",
        "sale.toml:6:13: threshold `buy.p99 < 50`: column 13: a time needs its unit: ns, us, ms, s \
         or min",
    );
    check_after(
        "[slo]\n\"p99{actor=hooman}\" = \"< 5ms\"\n",
        "sale.toml:6:23: threshold `p99{actor=hooman} < 5ms`: `hooman` is no actor; did you mean \
         `human`?",
    );
    check_after(
        "[slo]\n\"truth.overslod\" = \"== 0\"\n",
        "sale.toml:6:20: threshold `truth.overslod == 0`: `overslod` is no check; did you mean \
         `oversold`?",
    );
    check_after(
        "[[fault]]\nat = \"1s\"\ndo = \"kill-hots\"\n",
        "sale.toml:7:6: do is \"kill-hots\"; did you mean \"kill-host\"?",
    );
    // Columns count characters, not bytes.
    check_after("[customers]\n# Ü\ncount = \"ö\"\n", {
        "sale.toml:7:9: invalid type: string \"ö\", expected u64"
    });
}

/// What an actor can't do is refused where it stands.
#[test]
fn actors_are_checked() {
    check_after(
        "[actor.human]\nflow = [\"brows\", \"buy\"]\n",
        "sale.toml:6:9: step is \"brows\"; did you mean \"browse\"?",
    );
    check_after(
        "[actor.human]\nflow = [\"place\"]\n",
        "sale.toml:6:9: step \"place\" needs an earlier step reserve",
    );
    check_after(
        "[actor.x]\nas = \"x\"\n",
        "sale.toml:6:6: as is \"x\"; want one of human, bot, double-clicker, tab-duplicator, \
         abandoner, slow-payer, canceller, releaser",
    );
    check_after(
        "[actor.human]\nthink = { lognormal = [\"1s\", 9.0] }\n",
        "sale.toml:6:9: sigma of lognormal is 9, outside 0..=5",
    );
    check_after(
        "[actor.human]\nthink = 5\n",
        "sale.toml:6:9: think is neither a time such as \"500ms\" nor \
         { lognormal = [\"1.2s\", 0.6] }",
    );
    check_after(
        "[actor.human]\nweight = 0.0\n",
        "sale.toml:6:10: weight is 0, outside above 0 to 1000000",
    );
    check_after(
        "[target]\nbatch = 10\n[actor.bot]\nconnections = \"per-request\"\n",
        "sale.toml:7:1: actor bot wants connections of its own, but requests are sent in groups: \
         leave batch and pipeline at 1",
    );
    // A step that the host can't serve yet is no error, but it is said.
    let line = "[actor.human]\nflow = [\"sale\", \"enter\", \"buy\"]\n";
    let read = Scenario::read(&format!("{MAX}{line}"), "sale.toml").expect("it can be run");
    assert!(read.notes[0].contains("these steps are left out"), "{:?}", read.notes);
    let nothing = "[actor.human]\nflow = [\"sale\", \"enter\"]\n";
    check_after(nothing, "sale.toml:5:1: actor human has no step that Onhand serves");
}

/// A stage has the members of its shape, in their ranges.
#[test]
fn stages_are_checked() {
    let stage = |lines: &str, expected: &str| {
        check(&format!("schema = 1\n[[stage]]\n{lines}"), expected);
    };
    stage("shape = \"hold\"\nrate = \"5/s\"\n", {
        "sale.toml:2:1: a stage of shape \"hold\" needs `for`"
    });
    stage("shape = \"hold\"\nfor = \"5s\"\n", "sale.toml:2:1: the stage needs `rate`");
    stage("shape = \"hold\"\nfor = \"5s\"\nrate = \"0/s\"\n", {
        "sale.toml:5:8: rate is \"0/s\", want above 0 to 10000000/s, such as \"200/s\""
    });
    stage("shape = \"hold\"\nfor = \"5s\"\nrate = \"9/s\"\npeak = \"9/s\"\n", {
        "sale.toml:6:8: peak belongs to shape \"flash\", this stage has \"hold\""
    });
    stage("shape = \"flash\"\nfor = \"5s\"\npeak = \"9/s\"\nbase = \"10/s\"\n", {
        "sale.toml:5:8: peak is 9/s, below base, which is 10/s"
    });
    stage(
        "shape = \"flash\"\nfor = \"5s\"\npeak = \"9/s\"\nsecond_wave = { after = \"6s\" }\n",
        "sale.toml:6:25: after is \"6s\" (6 s), not between the rise, 0.3 s, and the end of the \
         stage, 5 s",
    );
    stage(
        "shape = \"flash\"\nfor = \"5s\"\npeak = \"9/s\"\nsecond_wave = { after = \"ttl\" }\n",
        "sale.toml:6:25: after is \"ttl\", want a time such as \"12s\", or \"reservation_ttl + 2s\"",
    );
    stage("shape = \"spike\"\nfor = \"5s\"\n", {
        "sale.toml:3:9: shape is \"spike\"; want one of ramp, hold, flash, trace, max"
    });
    stage("shape = \"max\"\nfor = \"2d\"\n", {
        "sale.toml:4:7: for is \"2d\", want a time above 0s up to 1d, such as \"30s\""
    });
    stage("shape = \"max\"\nfor = \"1s\"\n[[stage]]\nshape = \"max\"\nfor = \"1s\"\n", {
        "sale.toml:3:9: a stage of shape \"max\" stands alone, here are 2"
    });
}

/// A second wave may come when reservations end, however long they last.
#[test]
fn a_second_wave_may_wait_for_reservations() {
    let hash = |after: &str| {
        let toml = format!(
            "schema = 1\n[reservation]\nttl = \"3s\"\n[[stage]]\nshape = \"flash\"\nfor = \"9s\"\n\
             peak = \"9/s\"\nsecond_wave = {{ after = \"{after}\" }}\n"
        );
        Scenario::read(&toml, "wave.toml").expect("a scenario").hash()
    };
    assert_eq!(hash("reservation_ttl + 2s"), hash("5s"));
    assert_ne!(hash("reservation_ttl"), hash("5s"));
}

/// Groups of requests with times of their own are limited, for each takes memory.
#[test]
fn groups_are_limited() {
    let toml = |stages: usize| {
        let stage = "[[stage]]\nshape = \"hold\"\nrate = \"1/s\"\nfor = \"1s\"\n";
        let flow = "flow = [\"browse\", \"reserve\", \"place\", \"reserve\"]";
        format!("schema = 1\n{}[actor.a]\n{flow}\n[actor.b]\n{flow}\n", stage.repeat(stages))
    };
    // Three different steps of two actors, accepted and refused: twelve a stage.
    Scenario::read(&toml(42), "sale.toml").expect("504 groups are allowed");
    check(
        &toml(43),
        "sale.toml:2:1: 43 stages and the steps of 2 actors make 516 groups of requests, at most \
         512 are allowed",
    );
}

/// The hash of a scenario names what is asked: layout, target and seed play no part, the load does.
#[test]
fn the_hash_names_what_is_asked() {
    let hash = |toml: &str| Scenario::read(toml, "a.toml").expect("a scenario").hash();
    let base = hash(MAX);
    assert_eq!(base, hash(&format!("# A remark.\nseed = 5\n{MAX}")));
    assert_eq!(base, hash(&format!("{MAX}[target]\nurl = \"http://127.0.0.1:9\"\n")));
    assert_ne!(base, hash(&format!("{MAX}[target]\nack = \"strict\"\n")));
    assert_ne!(base, hash(&MAX.replace("1s", "2s")));
    assert_ne!(base, hash(&format!("{MAX}[actor.bot]\n")));
}

fn command(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(arguments).current_dir(dir).env_remove("ONHAND_KEY");
    command.output().expect("the command can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `init` writes what `validate` finds fine, never over a file; `validate` fails on what is wrong
/// and names the place.
#[test]
fn scenarios_are_made_and_checked() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let listed = text(&command(dir.path(), &["init"]).stdout);
    for ready in READY {
        assert!(listed.contains(ready.name) && listed.contains(ready.about), "{listed}");
        let made = command(dir.path(), &["init", ready.name]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let file = format!("{}.toml", ready.name);
        let written = std::fs::read_to_string(dir.path().join(&file)).expect("it was written");
        assert_eq!(written.matches("#:schema ").count(), 1, "{written}");
        assert!(written.contains("#:schema ./scenario-1.json\n") && !written.contains("../"));
        let fine = command(dir.path(), &["validate", &file, ready.name]);
        assert!(fine.status.success(), "{}", text(&fine.stderr));
    }
    let again = command(dir.path(), &["init", "flash-sale"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    let unknown = command(dir.path(), &["init", "flash-dance"]);
    assert_eq!(unknown.status.code(), Some(2));
    std::fs::write(dir.path().join("bad.toml"), format!("{MAX}[stok]\n")).expect("written");
    let bad = command(dir.path(), &["validate", "flash-sale.toml", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(1));
    let said = text(&bad.stderr);
    assert!(said.contains("bad.toml:5:2: unknown field `stok`; did you mean `stock`?"), "{said}");
    let near = command(dir.path(), &["run", "flash-sael"]);
    assert!(text(&near.stderr).contains("did you mean flash-sale?"), "{}", text(&near.stderr));
    let kinds = text(&command(dir.path(), &["list-actors"]).stdout);
    assert!(kinds.contains("tab-duplicator") && kinds.contains("reservation_ttl + 2s"), "{kinds}");
    let schema = text(&command(dir.path(), &["schema"]).stdout);
    assert_eq!(schema, include_str!("../../schema/scenario-1.json"));
}

/// A run leaves a folder with its record, series, log and report; a threshold that does not hold
/// exits with 3; the same seed into the same host is refused.
#[test]
fn a_run_leaves_its_folder() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let host = Host::start(Lie::None);
    let toml = "
schema = 1
name = \"small\"
[stock]
skus = 2
hot_units = 60
[customers]
count = 0
[[stage]]
name = \"up\"
shape = \"ramp\"
to = \"300/s\"
for = \"600ms\"
[[stage]]
name = \"on\"
shape = \"hold\"
rate = \"300/s\"
for = \"600ms\"
[actor.human]
think = \"5ms\"
weight = 3
[actor.bot]
[slo]
\"truth.oversold\" = \"== 0\"
";
    std::fs::write(dir.path().join("small.toml"), toml).expect("written");
    let url = host.url();
    let arguments = ["run", "small.toml", "--target", &url, "--seed", "9", "--out", "runs", "-q"];
    let more = ["--allow-generator-limit", "--threshold", "buy.intended.p99 < 1ns"];
    let output = command(dir.path(), &[&arguments[..], &more].concat());
    assert_eq!(output.status.code(), Some(3), "{}{}", text(&output.stdout), text(&output.stderr));
    let folder = Folder::open(&dir.path().join("runs/small-9")).expect("the folder is there");
    let (run, series) = (folder.run().expect("a record"), folder.series().expect("a series"));
    assert_eq!((run.scenario.seed, run.scenario.text.as_str()), (9, toml));
    assert_eq!(
        run.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(),
        ["up", "on"]
    );
    let holds: Vec<_> = run.thresholds.iter().map(|threshold| threshold.holds).collect();
    assert_eq!(holds, [true, false]);
    let total =
        |of: fn(&onhand_loadtest::results::SeriesRow) -> u64| series.iter().map(of).sum::<u64>();
    assert_eq!(total(|row| row.sent), run.counts.sent);
    assert_eq!(total(|row| row.users), run.counts.users);
    assert_eq!(total(|row| row.accepted + row.refused), run.counts.answered);
    assert_eq!(total(|row| row.refused_sold_out), run.refused["sold_out"]);
    let last = series.last().expect("the run took a while");
    assert_eq!((last.in_flight, last.available), (0, Some(0)));
    let stock = run.stock.as_ref().expect("the events were read");
    let hot = stock.sku_hot.as_ref().expect("there is a hot SKU");
    assert!(hot.put_in == 60 && hot.sold_out_at_ns.is_some(), "{hot:?}");
    let fairness = run.fairness.as_ref().expect("somebody was served");
    let came: u64 = fairness.by_actor.iter().map(|actor| actor.users).sum();
    assert_eq!(came, run.counts.users);
    assert!(fairness.bot_share.is_some() && fairness.kendall_tau.is_some());
    for file in ["report.html", "report.txt", "latency.hlog"] {
        assert!(folder.file(file).is_file(), "{file}");
    }
    // The record has what the log adds up to.
    let log = Totals::read(&folder.file("latency.hlog")).expect("the log is whole");
    let by_tags = |groups: Vec<LatencyGroup>| {
        let tags = |group: &LatencyGroup| {
            group.tags().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        groups.into_iter().map(|group| (tags(&group), group)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(by_tags(log.groups()), by_tags(run.latency.clone()));
    let report = command(dir.path(), &["report", "runs/small-9"]);
    assert!(report.status.success() && text(&report.stdout).contains("small"));
    // A file that can't be written does not hide the verdict.
    let elsewhere = ["--run", "other", "--json", "nowhere/run.json"];
    let unwritten = command(dir.path(), &[&arguments[..], &more, &elsewhere].concat());
    assert_eq!(unwritten.status.code(), Some(3), "{}", text(&unwritten.stderr));
    assert!(text(&unwritten.stderr).contains("nowhere/run.json can't be written"));
    let again = command(dir.path(), &arguments);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("choose another --seed or --run"));
}

/// A trace replays the orders of a file that stands beside its scenario, at their recorded pace.
#[test]
fn a_trace_is_replayed_from_its_file() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let host = Host::start(Lie::None);
    let mut lines = vec![
        r#"{"type":"sku","sku":"milk","price":{"amount":119,"currency":"EUR"}}"#.to_owned(),
        r#"{"type":"stock","sku":"milk","location":1,"quantity":50}"#.to_owned(),
    ];
    lines.extend((0..60).map(|order| {
        let basket = r#"[{"sku":"milk","quantity":1,"location":1}]"#;
        format!(r#"{{"type":"order","key":"b{order}","lines":{basket},"at_ms":{}}}"#, order * 100)
    }));
    std::fs::write(dir.path().join("day.ndjson"), lines.join("\n")).expect("written");
    let toml = "schema = 1\nname = \"day\"\n[[stage]]\nshape = \"trace\"\n\
                file = \"day.ndjson\"\nspeed = 20.0\n[slo]\n\"truth.order_whole\" = \"== 0\"\n";
    std::fs::write(dir.path().join("day.toml"), toml).expect("written");
    let path = dir.path().join("day.toml");
    let path = path.to_str().expect("a temporary path is text");
    let url = host.url();
    let arguments = ["run", path, "--target", &url, "--out", "runs", "--seed", "1", "-q"];
    let output = command(dir.path(), &[&arguments[..], &["--allow-generator-limit"]].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let folder = Folder::open(&dir.path().join("runs/day-1")).expect("the folder is there");
    let run = folder.run().expect("a record");
    assert_eq!((run.counts.users, run.counts.orders), (60, 50));
    assert_eq!(run.refused["sold_out"], 10);
    // The last of 60 orders was due after 5.9 s, twenty times as fast.
    assert!(run.elapsed_ns >= 295_000_000, "{}", run.elapsed_ns);
    assert_eq!((run.stages[0].shape.as_str(), run.stages[0].to_ns), ("trace", run.elapsed_ns));
}

/// Every request of its own connection, or every user: both work, and no reconnect is counted.
#[test]
fn connections_may_be_new() {
    use onhand_loadtest::{Authority, RunOptions, Target, run, run_text};
    for mode in ["per-request", "per-user"] {
        let host = Host::start(Lie::None);
        let toml = format!(
            "schema = 1\n[target]\nmode = \"{mode}\"\nconnections = 4\n[stock]\nskus = 1\n\
             [[stage]]\nshape = \"hold\"\nrate = \"200/s\"\nfor = \"300ms\"\n\
             [actor.human]\nthink = \"0s\"\n"
        );
        let scenario = Scenario::read(&toml, "new.toml").expect("it is a scenario");
        let authority = Authority::parse(&host.url()).expect("an address");
        let mut options = RunOptions::new(&scenario, Target::Http(authority));
        options.allow_generator_limit = true;
        let run = run(&scenario, options).expect("it can be run").run;
        let shown = run_text(&run);
        assert!(run.violated().next().is_none() && run.lost_count() == 0, "{shown}");
        assert_eq!(run.counts.reconnects, 0, "{shown}");
        let connections = host.connections();
        let wanted = if mode == "per-user" { run.counts.users } else { run.counts.sent };
        assert!(connections >= wanted, "{mode}: {connections} for {wanted}\n{shown}");
    }
}
