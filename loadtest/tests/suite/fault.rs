//! Faults: a host that is killed, stopped or out of disk, and payments that go astray. The host is a
//! process: this test binary, asked to run one test that serves.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use onhand_loadtest::fault::HostCommand;
use onhand_loadtest::results::run::{Run, Verdict};
use onhand_loadtest::results::{Folder, SeriesRow};
use onhand_loadtest::scenario::{FaultAction, Scenario};
use onhand_loadtest::{Authority, Outcome, RunOptions, Target, run, run_text};

use crate::common::{Host, Lie};

/// Not a test of its own: serves a shop if the command line names an address, else returns.
#[test]
fn serves_where_it_is_told() {
    let told =
        |name: &str| std::env::args().find_map(|word| word.strip_prefix(name).map(str::to_owned));
    if let (Some(addr), Some(data)) = (told("listen="), told("data=")) {
        println!("serving {addr}");
        Host::serve(&addr, Path::new(&data), told("memory=").is_some());
    }
}

/// Returns the command of a host; `more` is a further word.
pub(crate) fn command(more: &str) -> Vec<String> {
    let here = std::env::current_exe().expect("a test has an executable");
    let words = [
        &here.to_string_lossy(),
        "fault::serves_where_it_is_told",
        "--exact",
        "--nocapture",
        "listen={listen}",
        "data={data}",
        more,
    ];
    words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect()
}

const CROWD: &str = "
schema = 1
name = \"faults\"
seed = 3
[target]
connections = 8
timeout = \"5s\"
[stock]
skus = 2
hot_units = 200
hot_limit = 2
keys = { hot_sku_share = 0.5 }
[reservation]
ttl = \"300ms\"
[[stage]]
shape = \"hold\"
rate = \"250/s\"
for = \"3s\"
[actor.double-clicker]
resends = 20
[actor.payer]
resends = 20
flow = [\"reserve\", \"place\"]
pay_after = \"50ms\"
[actor.abandoner]
";

const KILL: &str = "
[[fault]]
at = \"800ms\"
do = \"kill-host\"
for = \"400ms\"
[[fault]]
at = \"1800ms\"
do = \"pause-host\"
for = \"600ms\"
[[fault]]
at = \"2600ms\"
do = \"kill-host\"
";

fn go(scenario: &str, more: &str, out: Option<&Path>) -> Outcome {
    let scenario = Scenario::read(scenario, "faults.toml").expect("it is a scenario");
    let disk = scenario.faults.iter().any(|fault| fault.action == FaultAction::DiskFull);
    let host = HostCommand::new(Some(&command(more)), disk).expect("a port is free");
    let mut options = RunOptions::new(&scenario, Target::Http(host.authority()));
    options.allow_generator_limit = true;
    options.host = Some(host);
    options.out = out.map(Path::to_owned);
    run(&scenario, options).expect("the host comes back")
}

fn violated(run: &Run) -> Vec<&str> {
    run.violated().map(|check| check.name.as_str()).collect()
}

fn check<'a>(run: &'a Run, name: &str) -> &'a onhand_loadtest::results::run::TruthCheck {
    run.truth.iter().find(|check| check.name == name).expect("every check is there")
}

/// A host that writes down what it promises keeps its word through kills and a pause: the crowd goes
/// on, lost requests get their first receipts, and no check takes a fault for a lie.
#[test]
fn a_killed_host_keeps_its_word() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let Outcome { run, series, folder, .. } = go(&format!("{CROWD}{KILL}"), "", Some(dir.path()));
    assert_eq!((violated(&run), run.exit.code), (vec![], 0), "{}", run_text(&run));
    let put_in: Vec<_> = run.faults.iter().map(|fault| fault.action.as_str()).collect();
    assert_eq!(put_in, ["kill-host", "pause-host", "kill-host"], "{:?}", run.faults);
    assert!(run.faults[0].outcome.starts_with("killed; it answered again after"));
    assert!(run.faults[1].outcome.starts_with("stood still for 0.6"), "{:?}", run.faults[1]);
    assert!(run.lost_count() > 0 && run.counts.reconnects > 0, "{:?} {:?}", run.lost, run.counts);
    assert!(run.faults.iter().all(|fault| fault.to_ns > Some(fault.at_ns)));
    assert_eq!(check(&run, "lost_acknowledgements").verdict, Verdict::Holds);
    assert_eq!(check(&run, "receipts_identical").verdict, Verdict::Holds);
    let active = |row: &SeriesRow| row.faults;
    assert_eq!(series.iter().map(active).take(2).collect::<Vec<_>>(), [1, 2], "{:?}", run.faults);
    assert!(run.generator.host_cpu_share.is_some_and(|share| share > 0.0));
    let folder: Folder = folder.expect("it was asked for");
    let log = std::fs::read_to_string(folder.file("host.log")).expect("the output is kept");
    assert_eq!(log.matches("serving 127.0.0.1:").count(), 3, "{log}");
    let page = std::fs::read_to_string(folder.file("report.html")).expect("the page is there");
    assert!(page.contains("kill-host") && page.contains("stood still for"));
    assert_eq!(folder.run().expect("the record is there").faults, run.faults);
}

/// A host that forgets what it promised is found out by the same script.
#[test]
fn a_host_that_forgets_is_found_out() {
    let forgets = CROWD.replace("3s", "2s");
    let kill = "[[fault]]\nat = \"1s\"\ndo = \"kill-host\"\n";
    let run = go(&format!("{forgets}{kill}"), "memory=yes", None).run;
    assert!(violated(&run).contains(&"lost_acknowledgements"), "{}", run_text(&run));
    assert_eq!(run.exit.code, 5);
    // It knows nothing, so its events end before what buyers were told.
    let evidence = check(&run, "lost_acknowledgements").evidence.join("\n");
    assert!(evidence.contains("but a buyer was told of position"), "{evidence}");
}

/// A host that does not come back costs the verdict, not the record: what was measured is written,
/// the checks say why they have nothing to look at, and the exit is an error.
#[test]
fn a_host_that_does_not_come_back_leaves_a_record() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let once = "test -e $0 && { echo no second life; exit 3; }; mkdir $0; exec \"$@\"";
    let mut words: Vec<String> = ["sh", "-c", once, "{data}"].map(str::to_owned).to_vec();
    words.extend(command(""));
    let kill = "[[fault]]\nat = \"700ms\"\ndo = \"kill-host\"\n";
    let scenario = Scenario::read(&format!("{CROWD}{kill}"), "f.toml").expect("a scenario");
    let host = HostCommand::new(Some(&words), false).expect("a port is free");
    let mut options = RunOptions::new(&scenario, Target::Http(host.authority()));
    (options.host, options.out) = (Some(host), Some(dir.path().to_owned()));
    let Outcome { run, folder, .. } = run(&scenario, options).expect("there is a record");
    assert_eq!(run.exit.code, 1, "{}", run_text(&run));
    assert!(run.exit.reasons[0].contains("no second life"), "{:?}", run.exit);
    assert!(run.counts.accepted > 0, "{:?}", run.counts);
    let lost = check(&run, "lost_acknowledgements");
    assert_eq!(lost.verdict, Verdict::NotChecked);
    assert!(lost.why.as_ref().is_some_and(|why| why.contains("ended while it started")));
    let record = folder.expect("it was asked for").run().expect("it can be read");
    assert_eq!(record.exit, run.exit);
}

/// A full disk is filled and freed while the host runs on; where none can be made, the run is
/// refused before it begins, and says why.
#[test]
fn a_disk_is_full_for_a_while() {
    let full = format!("{CROWD}[[fault]]\nat = \"1s\"\ndo = \"disk-full\"\nfor = \"500ms\"\n");
    let words = command("memory=yes");
    if let Err(error) = HostCommand::new(Some(&words), true) {
        let text = error.to_string();
        assert!(text.contains("disk-full needs a small disk for the host"), "{text}");
        return;
    }
    // This host keeps all in memory, so that it goes on without a disk.
    let run = go(&full, "memory=yes", None).run;
    assert_eq!((violated(&run), run.exit.code), (vec![], 0), "{}", run_text(&run));
    let outcome = &run.faults[0].outcome;
    assert!(outcome.contains("MiB taken); the host went on"), "{outcome}");
}

/// Payments that are never confirmed run out; those confirmed twice are one payment.
#[test]
fn payments_go_astray() {
    let host = Host::start(Lie::None);
    let pay = |action: &str, name: &str| {
        let faults = format!("[[fault]]\nat = \"0s\"\ndo = \"{action}\"\n");
        let text = format!("{}{faults}", CROWD.replace("3s", "1s").replace("200\n", "20000\n"));
        let scenario = Scenario::read(&text, "pay.toml").expect("it is a scenario");
        let target = Target::Http(Authority::parse(&host.url()).expect("well formed"));
        let mut options = RunOptions::new(&scenario, target);
        (options.run, options.allow_generator_limit) = (Some(name.to_owned()), true);
        let run = run(&scenario, options).expect("the host is there").run;
        assert_eq!((violated(&run), run.exit.code), (vec![], 0), "{}", run_text(&run));
        run
    };
    let count = |run: &Run, name: &str| {
        let group = run
            .latency
            .iter()
            .find(|group| group.op.as_deref() == Some(name) && group.tags().count() == 1);
        group.map_or(0, |group| group.intended.count)
    };
    let dropped = pay("drop-callbacks", "dropped");
    let reserved = count(&dropped, "reserve");
    assert!(reserved > 50 && count(&dropped, "place") == 0, "{reserved} reserved");
    assert!(check(&dropped, "expiry_skew").checked > 50);
    assert!(dropped.faults[0].outcome.ends_with("payments never sent"), "{:?}", dropped.faults);
    let doubled = pay("double-callbacks", "doubled");
    let (places, paid) = (count(&doubled, "place"), check(&doubled, "placed_as_told").checked);
    assert_eq!(places, 2 * paid, "{}", run_text(&doubled));
    assert_eq!(doubled.faults[0].outcome, format!("{paid} of {paid} payments sent twice"));
}

/// A fault of the host needs a host that the load tester starts; anything else is said at once.
#[test]
fn faults_without_a_host_are_refused() {
    let scenario = Scenario::read(&format!("{CROWD}{KILL}"), "f.toml").expect("a scenario");
    let target = Target::Http(Authority::parse("http://127.0.0.1:1").expect("well formed"));
    let refused = run(&scenario, RunOptions::new(&scenario, target)).map(|_| ());
    let text = refused.expect_err("there is no host to kill").to_string();
    assert!(text.contains("kill-host") && text.contains("starts itself"), "{text}");
}

/// What a scenario says about faults and commands is checked, with the place of the slip.
#[test]
fn faults_are_checked() {
    let check = |lines: &str, wanted: &str| {
        let text = format!("{CROWD}{lines}");
        let error = Scenario::read(&text, "f.toml").map(|_| ()).expect_err(lines).to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let fault = |rest: &str| format!("[[fault]]\n{rest}\n");
    check(&fault("at = \"3s\"\ndo = \"kill-host\""), "at is \"3s\", but the last stage ends at 3s");
    check(&fault("at = \"1s\"\ndo = \"kill-hots\""), "did you mean \"kill-host\"?");
    check(
        &fault("at = \"1s\"\ndo = \"kill-host\"\nshare = 0.5"),
        "share is 0.5, want above 0 to 1, and of callbacks only",
    );
    let no_place = CROWD.replace("flow = [\"reserve\", \"place\"]", "flow = [\"reserve\"]");
    let text = format!("{no_place}{}", fault("at = \"1s\"\ndo = \"drop-callbacks\""));
    let error = Scenario::read(&text, "f.toml").expect_err("nobody pays").to_string();
    assert!(error.contains("drop-callbacks: no actor places a reservation"), "{error}");
    let target = |line: &str| {
        let text = CROWD.replace("[target]\n", &format!("[target]\n{line}\n"));
        let text = format!("{text}{KILL}");
        Scenario::read(&text, "f.toml").map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(target("command = [\"shop\", \"{port}\"]"), Ok(()));
    let wrong = |line: &str, wanted: &str| {
        let error = target(line).expect_err(line);
        assert!(error.contains(wanted), "{error}");
    };
    wrong("command = [\"shop\"]", "command has neither {listen} nor {port}");
    wrong("command = []", "command is empty");
    wrong("url = \"http://127.0.0.1:9\"", "kill-host needs a host that the load tester starts");
    let both = "url = \"http://127.0.0.1:9\"\ncommand = [\"shop\", \"{port}\"]";
    wrong(both, "command starts a host, url names one that is running");
}

/// A host that does not come up is an error with its last words, and so is a command that is none.
#[test]
fn a_host_that_does_not_come_up_is_an_error() {
    let scenario = Scenario::read(&format!("{CROWD}{KILL}"), "f.toml").expect("a scenario");
    let start = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let host = HostCommand::new(Some(&words), false).expect("a port is free");
        let mut options = RunOptions::new(&scenario, Target::Http(host.authority()));
        options.host = Some(host);
        run(&scenario, options).map(|_| ()).expect_err("it does not come up").to_string()
    };
    let text = start(&["sh", "-c", "echo no room on port $0; exit 3", "{port}"]);
    assert!(text.contains("ended while it started") && text.contains("no room on port"), "{text}");
    let text = start(&["no-such-program", "{port}"]);
    assert!(text.contains("no-such-program can't be started"), "{text}");
}

/// An interrupted run ends its host and still writes its record.
#[test]
fn an_interrupted_run_ends_its_host() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let words = command("").iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let target = format!("[target]\ncommand = [{words}]\n");
    let text = CROWD.replace("[target]\n", &target).replace("3s", "60s");
    std::fs::write(dir.path().join("long.toml"), text).expect("it can be written");
    let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    tool.args(["run", "long.toml", "--out", "runs", "-q"]).current_dir(dir.path());
    tool.env_remove("ONHAND_KEY").stdout(Stdio::null()).stderr(Stdio::null());
    let mut tool = tool.spawn().expect("the command can be started");
    let log = dir.path().join("runs/faults-3/host.log");
    let addr = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let said = text.lines().find_map(|line| line.strip_prefix("serving "));
        if let Some(addr) = said.filter(|_| text.ends_with('\n')) {
            break addr.to_owned();
        }
        assert!(tool.try_wait().expect("it can be asked").is_none(), "it ended: {text}");
        std::thread::sleep(Duration::from_millis(10));
    };
    // Before the load has begun an interrupt is seen when it begins.
    let asked = Command::new("kill").args(["-TERM", &tool.id().to_string()]).status();
    assert!(asked.expect("kill is there").success());
    let code = tool.wait().expect("it ends").code();
    assert_eq!(code, Some(130));
    assert!(TcpStream::connect(&addr).is_err(), "the host is still there");
    let record = Folder::open(&dir.path().join("runs/faults-3")).expect("there is a record");
    assert!(record.run().expect("it can be read").interrupted);
}

/// The real host, where it is built beside these tests or `LOADTEST_HOST_BIN` names it, keeps its
/// word through the ready scenario `crash`, and through a full disk where one can be made.
#[test]
fn the_real_host_keeps_its_word() {
    let beside = || {
        let here = std::env::current_exe().ok()?;
        let found = here.parent()?.parent()?.join("onhand");
        found.is_file().then_some(found)
    };
    let named = std::env::var_os("LOADTEST_HOST_BIN").map(std::path::PathBuf::from);
    let Some(binary) = named.or_else(beside) else {
        eprintln!("skipped: no `onhand` beside the tests; build it, or set LOADTEST_HOST_BIN");
        return;
    };
    let binary = binary.to_string_lossy();
    let words = [&binary, "serve", "--dev", "--listen", "{listen}", "--data", "{data}"];
    let words = words.map(str::to_owned);
    let keeps = |text: &str, disk: bool| {
        let scenario = Scenario::read(text, "crash.toml").expect("it is a scenario");
        let host = HostCommand::new(Some(&words), disk);
        let host = match host {
            Ok(host) => host,
            Err(error) if disk => return eprintln!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        };
        let mut options = RunOptions::new(&scenario, Target::Http(host.authority()));
        (options.host, options.allow_generator_limit) = (Some(host), true);
        let run = run(&scenario, options).expect("the host comes back").run;
        assert_eq!((violated(&run), run.exit.code), (vec![], 0), "{}", run_text(&run));
        assert_eq!(check(&run, "lost_acknowledgements").verdict, Verdict::Holds);
        assert_eq!(run.faults.len(), scenario.faults.len());
    };
    let crash = onhand_loadtest::scenario::ready("crash").expect("it is ready").text;
    keeps(crash, false);
    let full = format!("{CROWD}[[fault]]\nat = \"1s\"\ndo = \"disk-full\"\nfor = \"1s\"\n");
    keeps(&full, true);
}
