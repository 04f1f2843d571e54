//! The command: its exit codes, its reports and what its help promises.

use std::io::Write as _;
use std::process::{Command, Output};

use crate::common::{Host, Lie};

fn command(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(arguments).env_remove("ONHAND_KEY");
    command.output().expect("the command can be started")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Arguments of a short sale at a host.
fn sale<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", "flash-sale", "--target", url, "--max", "--duration", "200ms"];
    arguments.extend(more);
    arguments
}

/// A passing sale exits with 0, and its record carries version, machine and verdict.
#[test]
fn a_passing_run_exits_with_0() {
    let host = Host::start(Lie::None);
    let url = host.url();
    let more =
        ["--seed", "4", "--json", "-", "--connections", "4", "--stock", "77", "--limit", "1"];
    let output = command(&sale(&url, &more));
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["exit"]["code"], 0);
    assert_eq!(json["scenario"]["seed"], 4);
    assert_eq!(json["stock"]["sku_hot"]["put_in"], 77);
    assert_eq!(json["target"]["kind"], "http1");
    assert!(json["connecting"]["tcp"]["count"].as_u64().is_some_and(|count| count >= 4));
    let toml = json["scenario"]["text"].as_str().expect("the scenario as it was run");
    assert!(toml.contains("hot_units = 77") && toml.contains("shape = \"max\""), "{toml}");
    assert!(json["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    // Progress goes to standard error, as plain lines where that is no terminal.
    assert!(text(&output.stderr).contains("checking the truth\n"));
}

/// A violated truth exits with 5 and prints the evidence.
#[test]
fn a_violated_truth_exits_with_5() {
    let host = Host::start(Lie::LoseOrder);
    let output = command(&sale(&host.url(), &["--quiet"]));
    assert_eq!(code(&output), Some(5), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.contains("VIOLATED"), "{report}");
    assert!(report.contains("was accepted and made by 0 events"), "{report}");
    assert_eq!(text(&output.stderr), "");
}

/// Recorded orders are sent by a command of their own, as a scenario that the record keeps.
#[test]
fn a_file_of_orders_is_replayed() {
    let host = Host::start(Lie::None);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let lines = r#"[{"sku":"a","quantity":1,"location":1}]"#;
    writeln!(
        file,
        r#"{{"type":"sku","sku":"a","price":{{"amount":1,"currency":"EUR"}}}}
{{"type":"stock","sku":"a","location":1,"quantity":9}}
{{"type":"order","key":"1","lines":{lines}}}
{{"type":"order","key":"2","lines":{lines}}}"#
    )
    .expect("a temporary file can be written");
    let path = file.path().to_str().expect("a temporary path is text");
    let url = host.url();
    let arguments = ["replay", path, "--target", &url, "--quiet", "--json", "-", "--orders", "1"];
    let output = command(&arguments);
    assert_eq!(code(&output), Some(0), "{}{}", text(&output.stderr), text(&output.stdout));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["counts"]["orders"], &json["stock"]["left"]), (&1.into(), &8.into()));
    let toml = json["scenario"]["text"].as_str().expect("the scenario as it was run");
    assert!(toml.contains(path) && toml.contains("pace = \"max\""), "{toml}");
}

/// Errors exit with 1, wrong usage with 2, and both say what to do.
#[test]
fn errors_and_usage_have_their_codes() {
    let gone = command(&sale("http://127.0.0.1:1", &["--quiet"]));
    assert_eq!(code(&gone), Some(1));
    assert!(text(&gone.stderr).contains("is `onhand serve` running there?"));
    let missing = command(&["replay", "/nowhere.ndjson", "--quiet"]);
    assert_eq!(code(&missing), Some(1));
    let insecure = ["run", "flash-sale", "--insecure", "--target", "https://127.0.0.1:1", "-q"];
    let insecure = command(&insecure);
    assert_eq!(code(&insecure), Some(1));
    assert!(text(&insecure.stderr).contains("WARNING: --insecure takes any certificate"));
    let sale = |more: &[&'static str]| [&["run", "flash-sale"], more].concat();
    for (arguments, hint) in [
        (sale(&["--rate", "0"]), "such as 500/s or 5k/s"),
        (sale(&["--rate", "5k", "--max"]), "cannot be used with"),
        (sale(&["--duration", "5s"]), "--duration goes with --rate or --max"),
        (sale(&["--connections", "0"]), "outside 1..=4096"),
        (sale(&["--target", "https://"]), "want http://HOST:PORT or https://"),
        (sale(&["--http", "3"]), "1.1, 2"),
        (sale(&["--ca", "a.pem", "--insecure"]), "cannot be used with"),
        (sale(&["--stock", "0"]), "outside 1..=1000000000"),
        (sale(&["--set", "stock.hot_unit=1"]), "did you mean `hot_units`?"),
        (vec!["stampede"], "unrecognized subcommand"),
    ] {
        let output = command(&arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(hint), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// Connections need files: a soft limit is raised, and a hard one is named before anything is done.
#[test]
#[cfg(target_os = "linux")]
fn too_few_open_files_are_raised_or_named() {
    let host = Host::start(Lie::None);
    let url = host.url();
    let limited = |limit: &str, run: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_onhand-loadtest")).env_remove("ONHAND_KEY");
        shell.args(sale(&url, &["--quiet", "--connections", "200", "--run", run]));
        shell.output().expect("a shell can be started")
    };
    let raised = limited("-Sn 100", "raised");
    assert_eq!(code(&raised), Some(0), "{}", text(&raised.stderr));
    let asked = host.asked().len();
    let refused = limited("-n 300", "refused");
    let said = text(&refused.stderr);
    assert_eq!(code(&refused), Some(2), "{said}");
    assert!(said.contains("connections is 200, for which 336 files"), "{said}");
    assert!(said.contains("the hard limit is 300: want connections 1..=164"), "{said}");
    assert_eq!(host.asked().len(), asked, "nothing was done to the host");
}

/// A scenario of 600 ms as fast as answers come, half of it looking.
#[cfg(all(feature = "report", feature = "schema"))]
const SHORT: &str = "schema = 1\n[[stage]]\nshape = \"max\"\nfor = \"600ms\"\n\
                     [actor.human]\nthink = \"0s\"\n";

/// A run is compared with an earlier one: what got worse exits with 6 where that is asked, and a
/// baseline of another load is refused before anything is done. The flag for
/// thresholds may be repeated, and the figures go to Prometheus.
#[test]
#[cfg(all(feature = "report", feature = "schema"))]
fn a_run_is_compared_with_its_baseline() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(dir.path().join("short.toml"), SHORT).expect("written");
    let run = |host: &Host, more: &[&str]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
        tool.args(["run", "short.toml", "--target", &host.url(), "--connections", "4", "-q"]);
        tool.args(more).current_dir(dir.path()).env_remove("ONHAND_KEY");
        tool.output().expect("the command can be started")
    };
    let honest = Host::start(Lie::None);
    let first = run(&honest, &["--out", "runs", "--seed", "5", "--run", "first"]);
    assert_eq!(code(&first), Some(0), "{}", text(&first.stderr));
    let against = ["--baseline", "runs/first", "--fail-on-regression"];
    let again = run(&honest, &[&against[..], &["--run", "again", "--json", "r.json"]].concat());
    assert_eq!(code(&again), Some(0), "{}{}", text(&again.stdout), text(&again.stderr));
    assert!(text(&again.stdout).contains("A is first, B is again"), "{}", text(&again.stdout));
    let record = std::fs::read_to_string(dir.path().join("r.json")).expect("the record");
    assert!(record.contains("\"seed\": 5"), "the seed of the baseline is taken");
    // It keeps its word and hangs up on one in 97 buyers, which is less than a hundredth of all.
    let host = Host::start(Lie::HangUp);
    let worse = run(&host, &[&against[..], &["--prometheus", "figures.prom"]].concat());
    let said = text(&worse.stdout);
    assert_eq!(code(&worse), Some(6), "{said}{}", text(&worse.stderr));
    assert!(said.contains("requests stayed without an answer in B, none in A"), "{said}");
    let figures = std::fs::read_to_string(dir.path().join("figures.prom")).expect("the figures");
    assert!(figures.contains("onhand_load_exit_code{"), "{figures}");
    let told = run(&host, &["--baseline", "runs/first", "--run", "told"]);
    assert_eq!(code(&told), Some(0), "{}", text(&told.stderr));
    let missed = ["--threshold", "sent > 0", "--threshold", "orders < 0", "--run", "missed"];
    let missed = run(&honest, &[&against[..], &missed[..]].concat());
    assert_eq!(code(&missed), Some(3), "a missed threshold is graver: {}", text(&missed.stdout));
    let asked = honest.asked().len();
    let other = run(&honest, &[&against[..], &["--set", "stock.skus=3"]].concat());
    assert_eq!(code(&other), Some(2), "{}", text(&other.stderr));
    assert!(text(&other.stderr).contains("asked another load"), "{}", text(&other.stderr));
    assert_eq!(honest.asked().len(), asked);
    assert_eq!(code(&run(&honest, &["--fail-on-regression"])), Some(2));
}

/// The help names the exit codes and examples; no API key is ever in a report.
#[test]
fn help_teaches_and_reports_keep_secrets() {
    let help = command(&["--help"]);
    assert_eq!(code(&help), Some(0));
    let shown = text(&help.stdout);
    for part in ["Exit codes:", "5 truth violated", "Examples:", "130 interrupted"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    let host = Host::start(Lie::None);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(b"").expect("a temporary file can be written");
    let path = file.path().to_str().expect("a temporary path is text");
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    command.args(sale(&host.url(), &["--json", path]));
    let output = command.env("ONHAND_KEY", "top-secret-key").output().expect("can be started");
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(path).expect("the report was written");
    assert!(written.contains("\"schema\": 1"));
    for place in [text(&output.stdout), text(&output.stderr), written] {
        assert!(!place.contains("top-secret"), "{place}");
    }
}

/// Completions and pages of the manual come from the command line as it is.
#[test]
#[cfg(all(feature = "report", feature = "schema", feature = "shell"))]
fn shells_and_readers_are_served() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = command(&["completions", shell]);
        assert_eq!(code(&output), Some(0), "{shell}: {}", text(&output.stderr));
        let script = text(&output.stdout);
        assert!(script.contains("onhand-loadtest") && script.contains("step-for"), "{shell}");
    }
    let page = text(&command(&["man"]).stdout);
    assert!(page.contains(".TH onhand-loadtest 1") && page.contains("130 interrupted"), "{page}");
    let page = text(&command(&["man", "find"]).stdout);
    assert!(page.contains(".TH onhand-loadtest-find 1") && page.contains("step\\-for"), "{page}");
    assert_eq!(code(&command(&["man", "fnid"])), Some(2));
    let codes = text(&command(&["run", "--help"]).stdout);
    assert!(codes.contains("Exit codes:") && codes.contains("3 threshold failed"), "{codes}");
}

/// A termination ends the load as an interrupt does: the report is written, exit code 130.
#[test]
#[cfg(all(unix, feature = "report", feature = "schema"))]
fn a_termination_still_writes_the_report() {
    use std::io::{BufRead as _, BufReader};
    let host = Host::start(Lie::None);
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let mut run = Command::new(env!("CARGO_BIN_EXE_onhand-loadtest"));
    run.args(["run", "flash-sale", "--target", &host.url(), "--out", "runs", "--seed", "3"]);
    run.args(["--allow-generator-limit", "--connections", "8"]).current_dir(dir.path());
    run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = run.spawn().expect("it can be started");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains(" sent (") {
        line.clear();
        assert!(said.read_line(&mut line).expect("it is read") > 0, "it ended too early");
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), Some(130), "{rest}");
    assert!(rest.contains("terminated: finishing the report"), "{rest}");
    let record = std::fs::read_to_string(dir.path().join("runs/flash-sale-3/run.json"));
    assert!(record.expect("the record is there").contains("\"interrupted\": true"));
}

/// The seconds come as CSV, the record as JSON; only one of them can be standard output.
#[test]
#[cfg(all(feature = "report", feature = "schema"))]
fn seconds_come_as_csv() {
    let host = Host::start(Lie::None);
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let toml = "schema = 1\n[[stage]]\nshape = \"max\"\nfor = \"200ms\"\n";
    let file = dir.path().join("short.toml");
    std::fs::write(&file, toml).expect("written");
    let file = file.to_str().expect("a temporary path is text");
    let json = dir.path().join("r.json");
    let json = json.to_str().expect("a temporary path is text");
    let arguments = ["run", file, "--target", &host.url(), "--seed", "1", "-q", "--csv", "-"];
    let output = command(&[&arguments[..], &["--json", json]].concat());
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("second,users,sent,"), "{}", text(&output.stdout));
    assert!(std::fs::read_to_string(json).expect("written").contains("\"schema\": 1"));
    assert_eq!(code(&command(&[&arguments[..], &["--json", "-"]].concat())), Some(2));
}
