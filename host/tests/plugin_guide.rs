//! Runs every command of the partner's guide, in its order, as a reader would.
//!
//! Two things differ: where the WebAssembly target is not installed, `onhand plugin build` is
//! replaced by the component that was built of the same template, and a sale is made before
//! recorded inputs are asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The host that the guide's commands talk to, ended with the test.
struct Host {
    child: Child,
    url: String,
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn onhand() -> Command {
    Command::new(env!("CARGO_BIN_EXE_onhand"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Starts a host on a free port and waits for the line that says where it serves.
fn start(dir: &Path) -> Host {
    let mut command = onhand();
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(dir.join("shop"));
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the host starts");
    let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (send, receive) = std::sync::mpsc::channel();
    for stream in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
        let send = send.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
    }
    drop(send);
    let mut host = Host { child, url: String::new() };
    let mut said = String::new();
    while host.url.is_empty() {
        let line = receive.recv().unwrap_or_else(|_| panic!("it does not serve: {said}"));
        let address = line.split("\"address\":\"").nth(1).and_then(|l| l.split('"').next());
        address.unwrap_or_default().clone_into(&mut host.url);
        said += &line;
    }
    host
}

/// Returns the blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, part) in page.split("```").enumerate() {
        if at % 2 == 1 {
            found.push(part.split_once('\n').expect("a language and a text"));
        }
    }
    found
}

/// Sends one request and returns the answer's status line.
fn send(url: &str, method: &str, path: &str, body: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the host is there");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: guide-{length}-{}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}",
        path.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn run(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}\n{text}{error}");
    text
}

fn has_target() -> bool {
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"]), "rustc");
    Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown").is_dir()
}

/// The guide's commands work, one after the other.
#[test]
fn every_command_of_the_guide_works() {
    let page = std::fs::read_to_string(root().join("docs/PLUGIN_GUIDE.md")).expect("the guide");
    let dir = std::env::temp_dir().join(format!("onhand-guide-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let host = start(&dir);
    let mut here = dir.clone();
    let trust = blocks(&page).into_iter().find(|(language, _)| *language == "toml");
    let trust = trust.expect("a trust file").1.to_owned();
    let mut done = 0;
    for (_, text) in blocks(&page).into_iter().filter(|(language, _)| language.is_empty()) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            done += 1;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["cd", folder] => here = here.join(folder),
                ["cargo", "test"] => {
                    let mut cargo = Command::new("cargo");
                    cargo.args(["test", "--offline"]).current_dir(&here);
                    cargo.env("CARGO_TARGET_DIR", dir.join("target"));
                    run(&mut cargo, line);
                }
                ["onhand", "plugin", "build"] if !has_target() => {
                    let built = root().join("plugins/compat/v1_0_0/pricing-rust.wasm");
                    std::fs::copy(built, here.join("plugin.wasm")).expect("the built component");
                }
                ["onhand", "plugin", "verify", ..] => {
                    let public = std::fs::read_to_string(here.join("me.key.pub")).expect("a key");
                    let key = public.split_whitespace().find(|word| word.contains("ed25519:"));
                    let key = key.expect("the public key").trim_matches('"');
                    let text = trust.replace("ed25519:...", key);
                    std::fs::write(here.join("trust.toml"), text).expect("written");
                    run(onhand().args(&words[1..]).current_dir(&here), line);
                }
                ["onhand", rest @ ..] => {
                    if rest.contains(&"recorded") {
                        sell(&host.url);
                    }
                    let mut command = onhand();
                    command.args(rest).current_dir(&here).env("ONHAND_URL", &host.url);
                    run(&mut command, line);
                    if rest.get(1) == Some(&"new") {
                        patient(&here.join(rest[2]).join("plugin.toml"));
                    }
                }
                other => panic!("the guide has a command that this test does not know: {other:?}"),
            }
        }
    }
    assert!(done > 15, "only {done} commands found");
    drop(host);
    std::fs::remove_dir_all(&dir).expect("cleared away");
}

/// Gives the compiler of a busy machine its time: its limit is of the wall clock.
fn patient(manifest: &Path) {
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    let text = text.replace("[limits]", "[limits]\ncompile_ms = 600_000\ndeadline_ms = 60_000");
    std::fs::write(manifest, text).expect("written");
}

/// Makes a sale, so that there are inputs to replay.
fn sell(url: &str) {
    let steps = [
        ("PUT", "/v1/skus/MUG", r#"{"price": {"amount": 1299, "currency": "EUR"}}"#),
        (
            "POST",
            "/v1/stock/movements",
            r#"{"type": "receive", "sku": "MUG", "location": 1, "quantity": 100}"#,
        ),
        (
            "POST",
            "/v1/orders:buy",
            r#"{"customer": "ada", "lines": [{"sku": "MUG", "quantity": 12}]}"#,
        ),
    ];
    for (method, path, body) in steps {
        let answer = send(url, method, path, body);
        let status = answer.lines().next().unwrap_or_default();
        assert!(status.contains(" 200") || status.contains(" 201"), "{path}: {answer}");
    }
}
