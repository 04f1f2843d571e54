//! The binary: help, exit codes, settings, and a shop served by a real process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use expect_test::expect_file;

fn onhand(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onhand"));
    // The test's own environment may have settings; the process must not.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONHAND_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).env("COLUMNS", "100");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = onhand(arguments).output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

#[test]
fn help_teaches() {
    let mut all = String::new();
    for command in ["", "serve", "demo", "verify", "rebuild", "explain", "bench", "load", "key"] {
        let arguments: Vec<&str> =
            if command.is_empty() { vec!["--help"] } else { vec![command, "--help"] };
        let (code, text, _) = run(&arguments);
        assert_eq!(code, 0, "{command}");
        all.extend(["$ onhand ", &arguments.join(" "), "\n", &text, "\n"]);
    }
    expect_file!["help.txt"].assert_eq(&all);
}

#[test]
fn problem_codes_are_explained_offline() {
    let (code, text, _) = run(&["explain", "sold_out"]);
    assert_eq!(code, 0);
    assert!(text.starts_with("sold_out — Sold out (HTTP 409)"), "{text}");
    let (_, list, _) = run(&["explain"]);
    for page in onhand_host::PAGES {
        assert!(list.contains(page.code), "{} is not listed", page.code);
        let (code, text, _) = run(&["explain", page.code]);
        assert!(code == 0 && text.starts_with(page.code));
    }
    let (code, json, _) = run(&["explain", "sold_out", "--json"]);
    let page: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &page["status"]), (0, &409.into()));
    let (code, _, error) = run(&["explain", "soldout"]);
    assert!(code == 2 && error.contains("did you mean sold_out?"), "{error}");
    let order = "ord_00000000000000000000000001";
    let (code, _, error) = run(&["explain", order]);
    assert!(code == 2 && error.contains("--data DIR"), "{error}");
    let (code, _, error) = run(&["explain", order, "--url", "http://127.0.0.1:1"]);
    assert!(code == 1 && error.contains("can't be reached"), "{error}");
    let (code, _, error) = run(&["explain", "ord_x"]);
    assert!(code == 2 && error.contains("length"), "{error}");
}

#[test]
fn wrong_usage_exits_with_2_and_the_way_out() {
    for (arguments, text) in [
        (vec!["serv"], "serve"),
        (vec!["serve"], "onhand key new"),
        (vec!["serve", "--dev", "--listen", "0.0.0.0:0"], "not a loopback address"),
        (vec!["serve", "--dev", "--set", "engine.shard=2"], "did you mean engine.shards?"),
        (vec!["serve", "--dev", "--set", "nonsense"], "KEY=VALUE"),
        (vec!["serve", "--dev", "--shards", "65"], "1 to 64"),
        (vec!["bench", "--shards", "0"], "1..=64"),
    ] {
        let (code, _, error) = run(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
    for command in ["verify", "rebuild"] {
        let (code, _, error) = run(&[command, "/nowhere/at/all"]);
        assert!(code == 1 && error.contains("no data directory /nowhere/at/all"), "{error}");
    }
}

#[test]
fn settings_are_shown_with_their_origin() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("onhand.toml");
    std::fs::write(&file, "[engine]\nshards = 2\n").expect("a writable file");
    let file = file.to_str().expect("UTF-8");
    let mut command = onhand(&["serve", "--dev", "--print-config", "--json", "--config", file]);
    command.env("ONHAND_LIMITS__CONNECTIONS_MAX", "9");
    let output = command.output().expect("the binary starts");
    assert!(output.status.success());
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["engine.shards"]["value"], "2");
    assert_eq!(shown["engine.shards"]["origin"], format!("file {file}"));
    let limit = &shown["limits.connections_max"];
    assert_eq!(limit["origin"], "environment ONHAND_LIMITS__CONNECTIONS_MAX");
    assert_eq!(shown["dev"]["origin"], "flag --dev");
    let mut command = onhand(&["serve", "--dev"]);
    let output = command.env("ONHAND_LISTN", "x").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("did you mean ONHAND_LISTEN?"), "{error}");
}

#[test]
fn new_keys_open_a_host() {
    let (code, json, _) = run(&["key", "new", "--json"]);
    let new: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, 0);
    let (key, digest) = (new["key"].as_str(), new["digest"].as_str());
    let (key, digest) = (key.expect("a key"), digest.expect("a digest"));
    let keys = onhand_host::ApiKeys::read([digest]).expect("a digest");
    assert!(keys.accepts(key.as_bytes()));
}

/// A serving process; it is ended when the test ends.
struct Host {
    child: Child,
    addr: String,
}

impl Host {
    fn start(data: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--dev", "--listen", "127.0.0.1:0", "--data", data];
        arguments.extend(more);
        let mut child =
            onhand(&arguments).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let addr = loop {
            let line = lines.next().expect("a line of log").expect("UTF-8");
            let event: serde_json::Value = serde_json::from_str(&line).expect("one JSON a line");
            if event["event"] == "serving" {
                let url = event["address"].as_str().expect("an address");
                break url.trim_start_matches("http://").to_owned();
            }
        };
        // The rest of the log is read, so that the process never waits for the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(&self.addr).expect("the host listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: t\r\nIdempotency-Key: {path}\r\n\
             Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the host reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split(' ').nth(1).expect("a status").parse().expect("digits");
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn terminate(mut self) -> i32 {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(killed.success());
        self.child.wait().expect("the process ends").code().expect("an exit code")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shop_is_served_drained_verified_rebuilt_and_explained() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("shop");
    let data = data.to_str().expect("UTF-8");
    let host = Host::start(data, &["--shards", "2"]);
    let price = r#"{"price":{"amount":1000,"currency":"EUR"}}"#;
    assert_eq!(host.call("PUT", "/v1/skus/mug", price).0, 200);
    let stock = r#"{"type":"receive","sku":"mug","location":1,"quantity":5}"#;
    assert_eq!(host.call("POST", "/v1/stock/movements", stock).0, 201);
    let body = r#"{"lines":[{"sku":"mug","quantity":2}]}"#;
    let (status, receipt) = host.call("POST", "/v1/orders:buy", body);
    assert_eq!(status, 201, "{receipt}");
    let order = receipt["order"].as_str().expect("an id").to_owned();
    let url = format!("http://{}", host.addr);
    let (code, text, error) = run(&["explain", &order, "--url", &url]);
    assert!(code == 0 && text.contains("order.placed"), "{text}{error}");
    let (code, _, error) = run(&["explain", &order, "--data", data]);
    assert_eq!(code, 1, "the directory is in use: {error}");
    assert_eq!(host.terminate(), 0);

    let (code, text, error) = run(&["explain", &order, "--data", data]);
    assert!(
        code == 0 && text.contains("2 × mug at location 1: available → committed"),
        "{text}{error}"
    );
    let (code, text, error) = run(&["verify", data]);
    assert!(code == 0 && text.contains("every rule holds"), "{text}{error}");
    let (code, json, _) = run(&["verify", data, "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &verdict["verdict"]), (0, &"content".into()));
    let (code, text, error) = run(&["rebuild", data]);
    assert!(code == 0 && text.starts_with("rebuilt"), "{text}{error}");

    let host = Host::start(data, &[]);
    let (status, again) = host.call("POST", "/v1/orders:buy", body);
    assert_eq!((status, again), (201, receipt));
    assert_eq!(host.call("GET", "/v1/stock/mug", "").1["available"], 3);
    assert_eq!(host.terminate(), 0);
}

/// Goal: SIGHUP reads the certificate again and says what came of it; a wrong pair is refused at
/// the start, and later leaves the one in use.
#[test]
fn a_hangup_reads_the_certificate_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (cert, key, data) = (path("c.pem"), path("k.pem"), path("shop"));
    let put = |path: &str, text: &str| std::fs::write(path, text).expect("a writable file");
    let (shop, other) = (include_str!("data/shop.pem"), include_str!("data/other.pem"));
    put(&cert, other);
    put(&key, include_str!("data/shop-key.pem"));
    let sets = [format!("tls.cert={cert}"), format!("tls.key={key}")];
    let mut arguments = vec!["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data];
    arguments.extend(["--set", &sets[0], "--set", &sets[1]]);
    let (code, _, error) = run(&arguments);
    let text = format!("tls.key: {key} is not the key of the certificate in {cert}");
    assert!(code == 2 && error.contains(&text), "{error}");

    put(&cert, shop);
    let mut child = onhand(&arguments).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut heard = |name: &str| loop {
        let line = lines.next().expect("a line of log").expect("UTF-8");
        let event: serde_json::Value = serde_json::from_str(&line).expect("one JSON a line");
        if event["event"] == name {
            break event;
        }
    };
    let pid = child.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    };
    let serving = heard("serving");
    assert!(serving["address"].as_str().is_some_and(|a| a.starts_with("https://")), "{serving}");
    signal("-HUP");
    assert_eq!(heard("certificate_renewed")["cert"], cert);
    put(&cert, other);
    signal("-HUP");
    let event = heard("certificate_not_renewed");
    assert!(event["error"].as_str().is_some_and(|e| e.contains(&text)), "{event}");
    signal("-TERM");
    assert_eq!(heard("closed")["finished"], "all");
    assert_eq!(child.wait().expect("the process ends").code(), Some(0));
}

#[test]
fn a_damaged_journal_is_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("shop");
    let host = Host::start(data.to_str().expect("UTF-8"), &[]);
    for number in 0..20 {
        let price = format!("{{\"price\":{{\"amount\":{number},\"currency\":\"EUR\"}}}}");
        assert_eq!(host.call("PUT", &format!("/v1/skus/s{number}"), &price).0, 200);
    }
    assert_eq!(host.terminate(), 0);
    let segment = std::fs::read_dir(data.join("journal"))
        .expect("a journal")
        .map(|entry| entry.expect("an entry").path())
        .min()
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("a readable file");
    bytes[5_000] ^= 1;
    std::fs::write(&segment, bytes).expect("a writable file");
    let (code, _, error) = run(&["verify", data.to_str().expect("UTF-8")]);
    assert_eq!(code, 3, "{error}");
}

#[test]
fn the_demo_sells_and_every_truth_holds() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("shop");
    let data = data.to_str().expect("UTF-8");
    let arguments = [
        "demo",
        "--seconds",
        "1",
        "--data",
        data,
        "--json",
        "--connections",
        "16",
        "--stock",
        "50",
    ];
    let (code, json, progress) = run(&arguments);
    assert_eq!(code, 0, "{json}{progress}");
    let outcome: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(outcome["holds"], true);
    assert!(outcome["orders"].as_u64().is_some_and(|orders| orders > 0), "{json}");
    let units = &outcome["units"];
    let sum: u64 =
        ["sold", "reserved", "left"].iter().filter_map(|name| units[name].as_u64()).sum();
    assert_eq!(units["put_in"].as_u64(), Some(sum));
    let (code, text, error) = run(&["verify", data]);
    assert!(code == 0 && text.contains("every rule holds"), "{text}{error}");
    let (code, again, error) = run(&arguments);
    assert_eq!(code, 0, "a second sale in the same directory: {again}{error}");
}

#[test]
fn the_bench_measures_durable_orders() {
    let (code, json, error) = run(&["bench", "--seconds", "1", "--json"]);
    assert_eq!(code, 0, "{error}");
    let measured: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(measured["orders"].as_u64().is_some_and(|orders| orders > 0), "{json}");
}
