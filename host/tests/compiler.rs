//! Plugins are compiled in a process of their own: what breaks the compiler breaks that process,
//! the upload is refused, and the host goes on.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../plugins/runtime/tests/common/mod.rs"]
mod text;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client};
use onhand_core::Engine;
use onhand_desk::{Desk, DeskConfig};
use onhand_host::{Server, ServerConfig};
use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
use onhand_plugin_runtime::limits::COMPILE_ADDRESS_BYTES;
use onhand_plugin_runtime::{
    CompilerProcess, Kind, Plugin, PluginOptions, Pricing, Runtime, RuntimeConfig,
};
use serde_json::json;

/// The executable of the host, told to compile.
fn compiler() -> CompilerProcess {
    let program = env!("CARGO_BIN_EXE_onhand").into();
    CompilerProcess { program, arguments: vec!["compile-plugin".to_owned()] }
}

fn runtime(cache_dir: Option<&Path>) -> Runtime {
    let config = RuntimeConfig {
        total_instances: 8,
        cache_dir: cache_dir.map(Path::to_owned),
        compiler: Some(compiler()),
        ..RuntimeConfig::default()
    };
    Runtime::new(config).expect("a runtime")
}

/// A plugin with many functions of many steps each, which take a compiler long.
fn bomb(functions: usize, steps: usize) -> Vec<u8> {
    let step = |n: usize| format!("i32.const {n} i32.xor local.get 0 i32.mul ");
    let steps: String = (0..steps).map(step).collect();
    let function = |n: usize| {
        format!("(func (export \"slow-{n}\") (param i32) (result i32) local.get 0 {steps})")
    };
    let all: String = (0..functions).map(function).collect();
    text::text(Kind::Pricing).with(&all).bytes()
}

fn bundle(wasm: Vec<u8>, limits: &str) -> Vec<u8> {
    let manifest = format!(
        "id = \"acme/tiers\"\nversion = \"1.0.0\"\nkind = \"pricing\"\n\
         wit = \"onhand:pricing@1.0.0\"\nlicense = \"Apache-2.0\"\n\n[limits]\n{limits}\n"
    );
    let bundle = BundleBuilder::new(&manifest, wasm).build(&BundleLimits::default());
    bundle.expect("a bundle").bytes().to_vec()
}

/// What the process compiles is what this one needs: next to nothing is left to do, and the second
/// time the directory knows it.
#[test]
fn a_process_compiles_and_this_one_finds_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("code");
    let wasm = text::text(Kind::Pricing).bytes();
    let load = |runtime: &Runtime, wasm: &[u8]| {
        let plugin = Plugin::<Pricing>::load(runtime, wasm, text::options()).expect("a plugin");
        plugin.cache_use()
    };
    for dir in [None, Some(dir.as_path())] {
        let used = load(&runtime(dir), &wasm);
        assert!(used.compiled_apart > used.compiled && used.hits == 0, "{used:?}");
    }
    let used = load(&runtime(Some(&dir)), &wasm);
    assert!(used.hits > used.compiled && used.compiled_apart == 0, "{used:?}");
    let large = load(&runtime(None), &bomb(20, 100));
    assert!(large.compiled_apart > 20 && large.compiled <= 2, "{large:?}");
    let options = PluginOptions::default();
    let refused = Plugin::<Pricing>::load(&runtime(None), b"\0asm\x0d\0\x01\0", options);
    assert!(refused.is_err());
}

/// Bombs are refused with what ended them, and purchases go on meanwhile and afterwards.
#[test]
fn bombs_are_refused_and_the_host_goes_on() {
    let (engine, _) = Engine::in_memory().open().expect("an engine");
    let engine = Arc::new(engine);
    let config = DeskConfig { runtime: Some(runtime(None)), dev: true, ..DeskConfig::default() };
    let desk = Desk::open(Arc::clone(&engine), config).expect("a desk");
    let config = ServerConfig { open_writes: true, workers: 2, ..ServerConfig::default() };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = Server::start(listener, None, engine, desk, config).expect("the server starts");
    let addr = server.addr();
    let mut shop = Client::connect(addr);
    let body = json!({"price": {"amount": 1000, "currency": "EUR"}}).to_string();
    assert_eq!(shop.call("PUT", "/v1/skus/mug", &[], &body).status, 200);
    let body = json!({"type": "receive", "sku": "mug", "location": 1, "quantity": 1000});
    let received =
        shop.call("POST", "/v1/stock/movements", &[("Idempotency-Key", "r")], &body.to_string());
    assert_eq!(received.status, 201);
    let install = move |bundle: Vec<u8>| -> Answer {
        let body = json!({"bundle": STANDARD.encode(bundle)}).to_string();
        Client::connect(addr).call("POST", "/admin/plugins", &[], &body)
    };
    let mut sold = 0;
    let mut while_it_sells = |bundle: Vec<u8>| {
        let upload = std::thread::spawn(move || install(bundle));
        loop {
            let body = json!({"lines": [{"sku": "mug", "quantity": 1}]}).to_string();
            let key = format!("o{sold}");
            let bought = shop.call("POST", "/v1/orders:buy", &[("Idempotency-Key", &key)], &body);
            assert!([201, 409].contains(&bought.status), "{}", bought.text());
            sold += 1;
            if upload.is_finished() {
                return upload.join().expect("an answer");
            }
        }
    };
    let long = while_it_sells(bundle(bomb(30, 7_000), "compile_ms = 300"));
    let problem = long.is_problem(422, "plugin_refused");
    assert!(problem["detail"].to_string().contains("300"), "{problem}");
    let huge = while_it_sells(bundle(bomb(1, 80_000), "compile_ms = 300"));
    let problem = huge.is_problem(422, "plugin_refused");
    assert!(problem["detail"].to_string().contains("262144"), "the size of a function: {problem}");
    let good = while_it_sells(bundle(text::text(Kind::Pricing).bytes(), "compile_ms = 60_000"));
    assert_eq!(good.status, 201, "{}", good.text());
    // A plugin that logs and then traps says so to whoever operates the host.
    let deed = "(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) (unreachable)";
    let manifest = "compile_ms = 60_000\ndeadline_ms = 60_000";
    let victim = onhand_core::CustomerId::from_text("victim").0 as i64;
    let (from, to) = (format!("(i64.const {})", text::VICTIM), format!("(i64.const {victim})"));
    let wasm = wat::parse_str(text::bad(deed).wat().replace(&from, &to)).expect("a component");
    let policy = while_it_sells(bundle(wasm, manifest)).json()["policy"].clone();
    let call = |method: &str, path: &str| Client::connect(addr).call(method, path, &[], "");
    assert_eq!(call("POST", &format!("/admin/plugins/{policy}/activate")).status, 200);
    let body = json!({"customer": "victim", "lines": [{"sku": "mug", "quantity": 1}]});
    let headers = [("Idempotency-Key", "victim")];
    let mut buyer = Client::connect(addr);
    let bought = buyer.call("POST", "/v1/orders:buy", &headers, &body.to_string());
    assert!([201, 409].contains(&bought.status), "{}", bought.text());
    let logs = call("GET", &format!("/admin/plugins/{policy}/logs")).json();
    assert_eq!(logs["lines"], json!([{"level": "warning", "text": "no x"}]), "{logs}");
    assert!(logs["last_failure"].to_string().contains("unreachable"), "{logs}");
    drop((shop, buyer));
    assert!(server.drain(Duration::from_secs(20)).finished);
}

/// The process is ended by the system when its processor time is over, and has compiled nothing.
#[test]
fn processor_time_ends_the_process() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onhand"))
        .args(["compile-plugin", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let wasm = bomb(60, 10_000);
    drop(child.stdin.take().map(|mut input| input.write_all(&wasm)));
    let mut answer = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut answer).expect("read");
    let status = child.wait().expect("ended");
    assert!(matches!(status.signal(), Some(9 | 24)), "{status:?}");
    assert!(answer.is_empty());
}

/// Before it reads anything the process has put its limits on itself.
#[test]
fn limits_stand_before_anything_is_read() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onhand"))
        .args(["compile-plugin", "5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let path = format!("/proc/{}/limits", child.id());
    let address = COMPILE_ADDRESS_BYTES.to_string();
    let expected = [
        ("Max cpu time", "5"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max open files", "0"),
        ("Max address space", address.as_str()),
    ];
    let stand = |text: &str| {
        expected.iter().all(|(name, value)| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("");
            let words: Vec<&str> = line[name.len().min(line.len())..].split_whitespace().collect();
            words.first() == Some(value) && words.get(1) == Some(value)
        })
    };
    let mut text = String::new();
    for _ in 0..100_000 {
        text = std::fs::read_to_string(&path).expect("the process waits for its input");
        if stand(&text) {
            break;
        }
        std::thread::yield_now();
    }
    assert!(stand(&text), "{text}");
    drop(child.stdin.take());
    let mut answer = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut answer).expect("read");
    assert_eq!(answer.first(), Some(&1), "nothing is no component");
    assert!(child.wait().expect("ended").success());
}
