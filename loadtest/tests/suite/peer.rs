//! Peers: the shops in Redis and `PostgreSQL` under a crowd, where their servers are installed.

use std::process::Command;

use onhand_loadtest::peer::{PeerKind, PeerServer, check};
use onhand_loadtest::results::run::{Run, Verdict};
use onhand_loadtest::scenario::Scenario;
use onhand_loadtest::{RunOptions, run, run_text};
use serde_json::Value;

const SALE: &str = "
schema = 1
name = \"peers\"
seed = 3
[target]
connections = 8
[stock]
skus = 3
units = 1000
hot_units = 60
hot_limit = 3
keys = { hot_sku_share = 0.7 }
[customers]
count = 6
[basket]
lines = [1, 2]
in_vain = 0.2
[reservation]
ttl = \"1s\"
[[stage]]
shape = \"hold\"
rate = \"60/s\"
for = \"2s\"
[actor.human]
think = \"0s\"
flow = [\"browse\", \"buy\", \"poll\"]
[actor.double-clicker]
[actor.bot]
connections = \"per-request\"
[actor.abandoner]
[actor.releaser]
[actor.canceller]
[actor.payer]
flow = [\"reserve\", \"place\"]
pay_after = \"30ms\"
[actor.slow-payer]
pay_after = \"reservation_ttl + 150ms\"
[truth]
hold_expiry_skew = \"10s\"
";

/// Starts a peer; `None` where its server is not installed.
fn start(kind: PeerKind) -> Option<PeerServer> {
    match PeerServer::start(kind, 8) {
        Ok(server) => Some(server),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("is not installed: apt-get install"), "{text}");
            eprintln!("skipped: {text}");
            None
        }
    }
}

fn verdict(run: &Run, name: &str) -> Verdict {
    let check = run.truth.iter().find(|check| check.name == name);
    check.expect("every check is there").verdict
}

/// An honest peer passes every check that Onhand passes, with the same crowd: sold out, limits,
/// expiry, late payments, releases, cancellations and double clicks included.
#[test]
fn peers_tell_the_truth() {
    let scenario = Scenario::read(SALE, "peers.toml").expect("it is a scenario");
    for kind in PeerKind::ALL {
        let Some(server) = start(kind) else { continue };
        let mut options = RunOptions::on_peer(&scenario, server).expect("it is served");
        options.allow_generator_limit = true;
        let run = run(&scenario, options).expect("the peer answers").run;
        assert_eq!(run.exit.code, 0, "{}", run_text(&run));
        let unchecked: Vec<_> =
            run.truth.iter().filter(|check| check.verdict != Verdict::Holds).collect();
        let names: Vec<_> = unchecked.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["fifo_inversions"], "{}\n{unchecked:?}", kind.name());
        assert_eq!((run.target.kind.name(), run.target.ack.as_str()), (kind.name(), kind.ack()));
        for code in ["sold_out", "limit_reached", "reservation_expired"] {
            assert!(run.refused.contains_key(code), "{code} {:?}", run.refused);
        }
        assert!(run.generator.host_cpu_share.is_some());
        assert_eq!((run.lost_count(), run.counts.reconnects), (0, 0), "{:?}", run.lost);
        // Only a second click repeats an answer, and every other one counts.
        let (accepted, replayed) = (run.counts.accepted, run.counts.replayed);
        assert!(0 < replayed && replayed < accepted / 3, "{replayed} of {accepted} repeated");
        assert!(run.counts.orders > 20, "{:?}", run.counts);
        let stock = run.stock.as_ref().expect("its tables were read");
        assert_eq!(stock.sold + stock.reserved + stock.left, stock.put_in);
        assert_eq!(verdict(&run, "oversold"), Verdict::Holds);
    }
}

/// What a peer does not serve is refused before anything starts, by name.
#[test]
fn what_a_peer_does_not_serve_is_refused() {
    let refused = |more: &str, wanted: &str| {
        let scenario = Scenario::read(&format!("{SALE}{more}"), "p.toml").expect("a scenario");
        let text = check(PeerKind::Redis, &scenario).expect_err(more).to_string();
        assert!(text.contains(wanted) && text.contains("redis does not serve"), "{text}");
    };
    refused("[actor.asker]\nflow = [\"quote\", \"buy\"]\n", "wants quotes");
    refused("[[fault]]\nat = \"1s\"\ndo = \"kill-host\"\n", "faults of one");
    let strict = SALE.replace("[target]\n", "[target]\nack = \"strict\"\n");
    let scenario = Scenario::read(&strict, "p.toml").expect("a scenario");
    let text = check(PeerKind::Postgres, &scenario).expect_err("strict").to_string();
    assert!(text.contains("postgres does not serve"), "{text}");
}

/// One command compares shops: each is run as often, and the table has their truth side by side.
#[test]
fn shops_are_compared_by_one_command() {
    if PeerKind::ALL.into_iter().any(|kind| start(kind).is_none()) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let text = SALE.replace("for = \"2s\"", "for = \"1s\"");
    std::fs::write(dir.path().join("sale.toml"), text).expect("it can be written");
    let compare = |more: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
        tool.args(["compare", "redis", "postgres", "--scenario", "sale.toml", "--rounds", "2"]);
        tool.args(["-q", "--allow-generator-limit"]).args(more).current_dir(dir.path());
        let ended = tool.env_remove("ONHAND_KEY").output().expect("the command can be started");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{said}");
        String::from_utf8(ended.stdout).expect("text")
    };
    let table = compare(&["--out", "runs"]);
    for wanted in ["answers a second", "appendfsync always", "synchronous_commit on", "2 rounds"] {
        assert!(table.contains(wanted), "{wanted}\n{table}");
    }
    assert!(
        table.contains("postgres to redis, the runs of a round against each other:"),
        "{table}"
    );
    let oversold = table.lines().find(|line| line.contains("oversold")).expect("a row");
    assert_eq!(oversold.matches("holds").count(), 2, "{oversold}");
    let folders = std::fs::read_dir(dir.path().join("runs")).expect("the results are there");
    assert_eq!(folders.count(), 4);
    let json: Value = serde_json::from_str(&compare(&["--json"])).expect("JSON");
    assert_eq!(json["shops"][1]["truth"]["lost_acknowledgements"], "holds");
    assert!(json["shops"][0]["figures"]["answers_a_second"]["median"].as_f64() > Some(0.0));
    let against = &json["against"][0];
    assert_eq!(
        (&against["b"], &against["figure"]),
        (&"postgres".into(), &"answers_a_second".into())
    );
    assert!(against["rounds"] == 2 && against["ratio"]["least"].as_f64() > Some(0.0), "{against}");
}

/// Names that are no shops and no folders are a slip that is said at once.
#[test]
fn a_slip_in_the_shops_is_said() {
    let compare = |names: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
        let ended = tool.arg("compare").args(names).output().expect("the command can be started");
        assert_ne!(ended.status.code(), Some(0));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    assert!(compare(&["redis", "redis"]).contains("one of them twice"));
    assert!(compare(&["a", "b", "c"]).contains("two folders of runs, or shops"));
    assert!(compare(&["redis", "postgres", "--rounds", "0"]).contains("outside 1..=100"));
    let quoted = compare(&["redis", "postgres", "--scenario", "crash"]);
    assert!(quoted.contains("crash wants a host of the load tester"), "{quoted}");
}

/// A name that is no shop is told by its name, not by that of the shop beside it.
#[test]
fn an_unknown_shop_is_named() {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    let output = tool.args(["compare", "onhand", "mysql"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("mysql is neither a shop (onhand, redis, postgres, or http"), "{said}");
}
