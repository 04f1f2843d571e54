//! Several generator processes: what they see together is what one process would have seen.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use onhand_loadtest::results::knee::{Knee, KneeEnd};
use onhand_loadtest::results::{Folder, Run, SeriesRow};

use crate::common::{Host, Lie};

const TOKEN: &str = "a-token-for-the-tests";

const SALE: &str = "
schema = 1
name = \"shared\"
seed = 5
[target]
connections = 8
[stock]
skus = 3
hot_units = 100
hot_limit = 2
[customers]
count = 40
[basket]
in_vain = 0.2
[[stage]]
shape = \"hold\"
rate = \"300/s\"
for = \"2s\"
[actor.human]
think = \"5ms\"
[actor.double-clicker]
think = \"0s\"
double_click = 1.0
[actor.abandoner]
";

/// A worker process; it ends when dropped.
struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(token: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
        command.args(["worker", "--listen", "127.0.0.1:0", "--quiet"]);
        command.env("ONHAND_WORKER_TOKEN", token).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a worker can be started");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(dir: &Path, host: &Host, workers: &[&str]) -> Output {
    std::fs::write(dir.join("shared.toml"), SALE).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(["run", "shared.toml", "--target", &host.url(), "--out", "runs", "-q"]);
    command.arg("--allow-generator-limit").current_dir(dir).env("ONHAND_WORKER_TOKEN", TOKEN);
    if !workers.is_empty() {
        command.args(["--workers", &workers.join(",")]);
    }
    command.output().expect("it starts")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn recorded(dir: &Path) -> (Run, Vec<SeriesRow>) {
    let folder = Folder::open(&dir.join("runs/shared-5")).expect("the folder is complete");
    (folder.run().expect("a record"), folder.series().expect("a series"))
}

/// Two processes send what one sends, to the byte; their counts, histograms and truth are merged
/// into one record with one verdict.
#[test]
fn two_workers_are_one_crowd() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory can be made"));
    let hosts = [(); 2].map(|()| Host::start(Lie::None));
    let alone = run(dirs[0].path(), &hosts[0], &[]);
    assert_eq!(alone.status.code(), Some(0), "{}", said(&alone));
    let workers = [(); 2].map(|()| Worker::start(TOKEN));
    let names = [workers[0].address.as_str(), workers[1].address.as_str()];
    let shared = run(dirs[1].path(), &hosts[1], &names);
    assert_eq!(shared.status.code(), Some(0), "{}", said(&shared));
    let ((one, _), (two, series)) = (recorded(dirs[0].path()), recorded(dirs[1].path()));
    // The same users with the same keys, customers and baskets; what follows an answer may differ
    // with the order in which units ran out.
    let firsts = |host: &Host| {
        let mut asked = host.asked();
        asked.retain(|(path, ..)| path == "/v1/orders:buy" || path == "/v1/reservations");
        asked
    };
    let (asked_one, asked_two) = (firsts(&hosts[0]), firsts(&hosts[1]));
    assert!(asked_one == asked_two && asked_one.len() > 300, "{}", asked_one.len());
    assert_eq!((one.counts.users, &one.scenario), (two.counts.users, &two.scenario));
    // The whole is the sum of its parts, in each view of it.
    let parts = &two.generator.workers;
    assert_eq!(parts.len(), 2, "{parts:#?}");
    assert_eq!(parts.iter().map(|part| part.users).sum::<u64>(), two.counts.users);
    assert_eq!(parts.iter().map(|part| part.sent).sum::<u64>(), two.counts.sent);
    assert_eq!(parts.iter().map(|part| part.late).sum::<u64>(), two.generator.late);
    let lags: u64 = parts.iter().map(|part| part.lag.count).sum();
    assert_eq!(lags, two.generator.lag.count);
    // A connection is made when it is needed first, and timed on either side of the wire.
    let made = |run: &Run| run.connecting.as_ref().map_or(0, |connecting| connecting.tcp.count);
    assert!((1..=8).contains(&made(&one)) && (1..=8).contains(&made(&two)));
    assert!(parts.iter().all(|part| part.users.abs_diff(two.counts.users / 2) <= 1), "{parts:#?}");
    assert!(parts.iter().all(|part| part.round_trip_ns > 0 && part.machine.cores > 0));
    let sum = |of: fn(&SeriesRow) -> u64| series.iter().map(of).sum::<u64>();
    assert_eq!(sum(|row| row.sent), two.counts.sent);
    assert_eq!(sum(|row| row.users), two.counts.users);
    assert_eq!(sum(|row| row.accepted + row.refused), two.counts.answered);
    let all = two.latency_all().expect("answers");
    assert_eq!((all.intended.count, all.service.count), (two.counts.answered, two.counts.answered));
    let log = dirs[1].path().join("runs/shared-5/latency.hlog");
    let totals = onhand_loadtest::results::interval::Totals::read(&log).expect("a log");
    for group in totals.groups() {
        let told = two.latency.contains(&group);
        assert!(told, "{:?}", group.tags().collect::<Vec<_>>());
    }
    // The truth was told over all: each order, each refusal, each stock.
    let checked = |run: &Run, name: &str| {
        let check = run.truth.iter().find(|check| check.name == name).expect("a check");
        assert_eq!(check.violations, 0, "{check:#?}");
        check.checked
    };
    assert_eq!(checked(&two, "lost_acknowledgements"), checked(&one, "lost_acknowledgements"));
    assert!(checked(&two, "false_sold_out") > 0 && checked(&two, "receipts_identical") > 0);
    let stock = two.stock.as_ref().expect("the events were read");
    assert_eq!(stock.put_in, stock.sold + stock.reserved + stock.left);
    for worker in &workers {
        let told = format!("{}: ", worker.address);
        assert!(said(&shared).contains(&told), "{}", said(&shared));
    }
    // The workers are there for the next run.
    let other = Host::start(Lie::LoseOrder);
    let again = run(dirs[1].path(), &other, &names);
    assert_eq!(again.status.code(), Some(5), "{}", said(&again));
    assert!(said(&again).contains("VIOLATED    lost acknowledgements"), "{}", said(&again));
}

/// A worker that knows another token, is not there, or is no worker: the run is refused before
/// anything is done to the host.
#[test]
fn strangers_are_turned_away() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let host = Host::start(Lie::None);
    let check = |workers: &[&str], code: i32, wanted: &str| {
        let output = run(dir.path(), &host, workers);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(wanted), "{wanted}\n{}", said(&output));
        assert!(host.asked().is_empty(), "{workers:?}");
    };
    let other = Worker::start("quite-another-token");
    check(&[&other.address], 1, "refuses: the token is another one");
    check(&["127.0.0.1:1"], 1, "worker 127.0.0.1:1 can't be reached");
    check(&["127.0.0.1:1", "127.0.0.1:1"], 2, "is named twice");
    check(&[&host.addr.to_string()], 1, "did not answer as a worker does");
    // A visitor who says nonsense, or nothing, ends nothing.
    let mut visitor = TcpStream::connect(&other.address).expect("it listens");
    visitor.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is sent");
    let mut heard = Vec::new();
    visitor.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // What it said is unread when the worker hangs up, so the end may be a reset.
    drop(visitor.read_to_end(&mut heard));
    check(&[&other.address], 1, "refuses: the token is another one");
    // Without a token nothing is even tried.
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(["worker", "--listen", "127.0.0.1:0"]).env("ONHAND_WORKER_TOKEN", "short");
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("want 16 to 1024 visible"), "{}", said(&output));
}

/// A worker that goes away in the middle fails the run and names itself; the other one lives on.
#[test]
fn a_worker_that_goes_away_fails_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let host = Host::start(Lie::None);
    let (stays, mut goes) = (Worker::start(TOKEN), Worker::start(TOKEN));
    // Between coordinator and worker stands a wire that is cut once the load is under way.
    let wire = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = wire.local_addr().expect("a bound socket has an address").to_string();
    let behind = goes.address.clone();
    let cut = std::thread::spawn(move || {
        let (near, _) = wire.accept().expect("somebody came");
        let far = TcpStream::connect(behind).expect("it listens");
        let (mut from, mut to) =
            (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
        let there = std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) =
            (far.try_clone().expect("a handle"), near.try_clone().expect("a handle"));
        // Greeting, clock, readiness and the first progress are less than this; the load is more.
        let mut passed = 0;
        let mut bytes = [0; 512];
        while passed < 6_000 {
            match from.read(&mut bytes) {
                Ok(read) if read > 0 => {
                    passed += read;
                    to.write_all(&bytes[..read]).expect("it is passed on");
                }
                _ => break,
            }
        }
        for end in [near, far] {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        drop(there.join());
    });
    let output = run(dir.path(), &host, &[&stays.address, &address]);
    cut.join().expect("the wire was cut");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let wanted = format!("worker {address} went away: it closed the connection");
    assert!(said(&output).contains(&wanted), "{}", said(&output));
    assert!(goes.child.try_wait().expect("it can be asked").is_none(), "a cut wire ends no worker");
    let fresh = tempfile::tempdir().expect("a temporary directory can be made");
    let next = Host::start(Lie::None);
    let again = run(fresh.path(), &next, &[&stays.address, &goes.address]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
}

/// A search is shared as a run is: each step is the whole crowd at its rate, and the workers are
/// there for the next step.
#[test]
fn a_search_is_shared() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(dir.path().join("shared.toml"), SALE).expect("written");
    let host = Host::start(Lie::None);
    let workers = [(); 2].map(|()| Worker::start(TOKEN));
    let names = workers.each_ref().map(|worker| worker.address.as_str()).join(",");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(["find", "shared.toml", "--target", &host.url(), "--workers", &names, "-q"]);
    command.args(["--slo", "p50 < 10s", "duplicate_orders = 0", "--from", "60/s", "--to", "120/s"]);
    command.args(["--step-for", "1s", "--warm-up", "1s", "--json", "-", "--out", "runs"]);
    command.args(["--allow-generator-limit", "--set", "arrivals.shape=uniform"]);
    command.current_dir(dir.path()).env("ONHAND_WORKER_TOKEN", TOKEN);
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let knee: Knee = serde_json::from_slice(&output.stdout).expect("a record");
    let rates: Vec<f64> = knee.steps.iter().map(|step| step.rate).collect();
    assert_eq!((rates, knee.end), (vec![60.0, 120.0], KneeEnd::TopHolds));
    for step in &knee.steps {
        assert!((step.users_per_s - step.rate).abs() <= 0.05 * step.rate, "{}", step.users_per_s);
        let name = step.folder.as_deref().expect("a folder");
        let folder = Folder::open(&dir.path().join("runs/shared-5-find").join(name));
        let run = folder.and_then(|folder| folder.run()).expect("a record");
        let users: u64 = run.generator.workers.iter().map(|worker| worker.users).sum();
        assert_eq!((run.generator.workers.len(), users), (2, run.counts.users));
    }
}
