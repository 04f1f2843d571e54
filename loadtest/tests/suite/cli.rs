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

/// A passing sale exits with 0, and its JSON report carries version, machine and verdict.
#[test]
fn a_passing_run_exits_with_0() {
    let host = Host::start(Lie::None);
    let arguments = ["flash", "--target", &host.url(), "--seconds", "0.2", "--seed", "4"];
    let output = command(&[&arguments[..], &["--json", "-", "--connections", "4"]].concat());
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["exit_code"], 0);
    assert_eq!(json["truth"]["holds"], true);
    assert_eq!(json["options"]["seed"], 4);
    assert!(json["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    // Progress goes to standard error, as plain lines where that is no terminal.
    assert!(text(&output.stderr).contains("checking the truth\n"));
}

/// A violated truth exits with 5 and prints the evidence.
#[test]
fn a_violated_truth_exits_with_5() {
    let host = Host::start(Lie::LoseOrder);
    let output = command(&["flash", "--target", &host.url(), "--seconds", "0.3", "--quiet"]);
    assert_eq!(code(&output), Some(5), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.contains("VIOLATED lost_acknowledgements"), "{report}");
    assert!(report.contains("was accepted and made by 0 events"), "{report}");
    assert_eq!(text(&output.stderr), "");
}

/// Errors exit with 1, wrong usage with 2, and both say what to do.
#[test]
fn errors_and_usage_have_their_codes() {
    let gone = command(&["flash", "--target", "http://127.0.0.1:1", "--quiet"]);
    assert_eq!(code(&gone), Some(1));
    assert!(text(&gone.stderr).contains("is `onhand serve` running there?"));
    let missing = command(&["replay", "/nowhere.ndjson", "--quiet"]);
    assert_eq!(code(&missing), Some(1));
    for (arguments, hint) in [
        (&["flash", "--rate", "0"][..], "such as 500/s or 5k/s"),
        (&["flash", "--rate", "5k", "--max"], "cannot be used with"),
        (&["flash", "--connections", "0"], "outside 1..=4096"),
        (&["flash", "--target", "https://a"], "does not speak TLS"),
        (&["flash", "--stock", "0"], "outside 1..=1000000000"),
        (&["stampede"], "unrecognized subcommand"),
    ] {
        let output = command(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(hint), "{arguments:?}: {}", text(&output.stderr));
    }
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
    command.args(["flash", "--target", &host.url(), "--seconds", "0.1", "--json", path]);
    let output = command.env("ONHAND_KEY", "top-secret-key").output().expect("can be started");
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(path).expect("the report was written");
    assert!(written.contains("\"schema_version\": 1"));
    for place in [text(&output.stdout), text(&output.stderr), written] {
        assert!(!place.contains("top-secret"), "{place}");
    }
}
