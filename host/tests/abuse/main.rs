//! Plugins that misbehave, from the outside: a real host over sockets, each row of the list of
//! abuses by a plugin that does it, and ordinary customers who must notice nothing.
//!
//! What time it costs the others is measured, not tested: `onhand-abuse` of `benches`.

#[path = "../common/mod.rs"]
mod common;
mod rows;
#[path = "../../../plugins/runtime/tests/common/mod.rs"]
mod text;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client};
use onhand_core::{CustomerId, Engine};
use onhand_desk::{Desk, DeskConfig};
use onhand_host::{Server, ServerConfig};
use onhand_plugin_bundle::{BundleBuilder, BundleLimits};
use onhand_plugin_runtime::{CompilerProcess, Kind, Runtime, RuntimeConfig};
use rows::{DEEDS, Deed, End, VICTIM, uploads};
use serde_json::{Value, json};

/// Ordinary customers who buy all the time.
const CUSTOMERS: u64 = 3;
/// Purchases of each of them that a misdeed waits for.
const PURCHASES: u64 = 10;
/// Price of a mug, and the same less the tenth that a good plugin takes off.
const LIST: i64 = 1_000;
const LESS: i64 = 900;

/// A host with a shop of mugs.
struct Shop {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    server: Server,
    client: Client,
    order: u64,
}

impl Shop {
    fn open() -> Self {
        Self::within(ServerConfig::default().request_timeout)
    }

    /// Opens a host that gives up on a request after some time.
    fn within(request_timeout: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (engine, _) = Engine::builder(data(&dir)).open().expect("an engine");
        let engine = Arc::new(engine);
        // As the host itself does it.
        let program = env!("CARGO_BIN_EXE_onhand").into();
        let compiler = CompilerProcess { program, arguments: vec!["compile-plugin".to_owned()] };
        let runtime = RuntimeConfig { compiler: Some(compiler), ..RuntimeConfig::default() };
        let config = DeskConfig {
            dir: Some(data(&dir)),
            runtime: Some(Runtime::new(runtime).expect("a runtime")),
            dev: true,
            ..DeskConfig::default()
        };
        let desk = Desk::open(Arc::clone(&engine), config).expect("a desk");
        let config = ServerConfig {
            open_writes: true,
            workers: 2,
            request_timeout,
            ..ServerConfig::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Server::start(listener, None, Arc::clone(&engine), desk, config);
        let server = server.expect("the server starts");
        let client = Client::connect(server.addr());
        let mut shop = Self { dir, engine, server, client, order: 0 };
        let body = json!({"price": {"amount": LIST, "currency": "EUR"}}).to_string();
        let defined = shop.client.call("PUT", "/v1/skus/mug", &[], &body);
        assert_eq!(defined.status, 200, "{}", defined.text());
        let body = json!({"type": "receive", "sku": "mug", "location": 1, "quantity": 1_000_000});
        let key = [("Idempotency-Key", "stock")];
        let received = shop.client.call("POST", "/v1/stock/movements", &key, &body.to_string());
        assert_eq!(received.status, 201, "{}", received.text());
        shop
    }

    fn close(self) -> tempfile::TempDir {
        let Self { dir, engine, server, client, .. } = self;
        drop(client);
        assert!(server.drain(Duration::from_mins(1)).finished);
        let engine = Arc::into_inner(engine).expect("the server gave the engine back");
        engine.close().expect("the engine closes");
        dir
    }

    fn upload(&mut self, wasm: Vec<u8>, limits: &str, more: &str) -> Answer {
        let body = json!({"bundle": STANDARD.encode(bundle(wasm, limits, more))}).to_string();
        self.client.call("POST", "/admin/plugins", &[], &body)
    }

    /// Installs a plugin and lets it decide; returns its number.
    fn activate(&mut self, wasm: Vec<u8>, limits: &str, more: &str) -> u64 {
        let installed = self.upload(wasm, limits, more);
        assert_eq!(installed.status, 201, "{}", installed.text());
        let policy = installed.json()["policy"].as_u64().expect("a number");
        let path = format!("/admin/plugins/{policy}/activate");
        let active = self.client.call("POST", &path, &[], "{}");
        assert_eq!(active.status, 200, "{}", active.text());
        policy
    }

    fn get(&mut self, path: &str) -> Value {
        let answer = self.client.call("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn buy(&mut self, customer: &str) -> Answer {
        self.order += 1;
        buy(&mut self.client, &format!("own-{}", self.order), customer)
    }
}

/// Returns the data directory: the only thing in a directory of its own.
fn data(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("data")
}

fn buy(client: &mut Client, key: &str, customer: &str) -> Answer {
    let body = json!({"customer": customer, "lines": [{"sku": "mug", "quantity": 1}]});
    client.call("POST", "/v1/orders:buy", &[("Idempotency-Key", key)], &body.to_string())
}

fn total(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["total"]["amount"].as_i64().expect("an amount")
}

/// A bundle whose calls no busy machine makes failures of, unless its limits say otherwise.
fn bundle(wasm: Vec<u8>, limits: &str, more: &str) -> Vec<u8> {
    let patient = |name: &str| {
        if limits.contains(name) { String::new() } else { format!("{name} = 60_000\n") }
    };
    let (deadline, compile) = (patient("deadline_ms"), patient("compile_ms"));
    let manifest = format!(
        "id = \"acme/villain\"\nversion = \"1.0.0\"\nkind = \"pricing\"\n\
         wit = \"onhand:pricing@1.0.0\"\nlicense = \"Apache-2.0\"\n{more}\n\
         [limits]\n{deadline}{compile}{limits}\n"
    );
    let bundle = BundleBuilder::new(&manifest, wasm).build(&BundleLimits::default());
    bundle.expect("a bundle").bytes().to_vec()
}

/// A plugin that takes a tenth off, and does a deed to the victim.
fn villain(deed: &str, more: &str) -> Vec<u8> {
    let victim = CustomerId::from_text(VICTIM).0 as i64;
    let text = text::bad(deed).with(more).wat();
    let text = text.replace("(i64.const 666)", &format!("(i64.const {victim})"));
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Customers who buy all the time, each on a connection of their own, and who check every answer.
struct Others {
    stop: Arc<AtomicBool>,
    bought: Arc<[AtomicU64]>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    fn start(addr: SocketAddr, run: &str) -> Self {
        let run = run.replace(' ', "-");
        let stop = Arc::new(AtomicBool::new(false));
        let bought: Arc<[AtomicU64]> = (0..CUSTOMERS).map(|_| AtomicU64::new(0)).collect();
        let threads = (0..CUSTOMERS).map(|number| {
            let (stop, bought, run) = (Arc::clone(&stop), Arc::clone(&bought), run.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(Ordering::Relaxed) {
                    let at = bought[number as usize].load(Ordering::Relaxed);
                    let key = format!("{run}-{number}-{at}");
                    let answer = buy(&mut client, &key, &format!("customer {number}"));
                    assert_eq!(total(&answer), LESS, "{run}: {}", answer.text());
                    bought[number as usize].store(at + 1, Ordering::Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, bought, threads }
    }

    /// Waits until each of them has bought something more.
    fn go_on(&self) {
        let now = |one: &AtomicU64| one.load(Ordering::Relaxed);
        let before: Vec<u64> = self.bought.iter().map(now).collect();
        let enough = || self.bought.iter().zip(&before).all(|(one, b)| now(one) >= b + PURCHASES);
        while !enough() {
            assert!(self.threads.iter().all(|one| !one.is_finished()), "one of them found a fault");
            std::thread::yield_now();
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("nobody else was told anything wrong");
        }
    }
}

/// Lets a plugin do one deed, twice, while others go on buying.
fn misbehave(deed: &Deed) {
    let name = deed.name;
    let mut shop = Shop::open();
    let wasm = villain(deed.text, deed.more);
    let policy = shop.activate(wasm, deed.limits, "on_failure = \"built_in\"");
    let others = Others::start(shop.server.addr(), name);
    others.go_on();
    for _ in 0..2 {
        let wanted = if deed.end == End::GoesOn { LESS } else { LIST };
        assert_eq!(total(&shop.buy(VICTIM)), wanted, "row {}: {name}", deed.row);
        others.go_on();
    }
    assert_eq!(shop.client.call("GET", "/livez", &[], "").status, 200, "{name}");
    others.end();
    let stats = shop.get(&format!("/admin/plugins/{policy}/stats"));
    // One failure each; the batch that the victim was in is tried again order by order.
    let failures = match deed.end {
        End::GoesOn => json!({}),
        End::Fails(kind) => json!({ kind: stats["failures"][kind] }),
    };
    assert_eq!(stats["failures"], failures, "{name}: {stats}");
    let by = &stats["decided"];
    let fallen = if deed.end == End::GoesOn { 0 } else { 2 };
    assert_eq!((&by["built_in"], &by["fail_closed"]), (&json!(fallen), &json!(0)), "{name}");
    assert_eq!(stats["plugin_figures"]["breaker"], "closed", "{name}: {stats}");
    let dir = shop.close();
    let report = onhand_verify::verify(&data(&dir), onhand_verify::Options::default());
    assert!(report.expect("no rule is broken").complete, "{name}");
}

fn row(row: u32) {
    let deeds: Vec<&Deed> = DEEDS.iter().filter(|deed| deed.row == row).collect();
    assert!(!deeds.is_empty(), "row {row} has deeds");
    deeds.into_iter().for_each(misbehave);
}

#[test]
fn row_22_loops_end() {
    row(22);
}

#[test]
fn row_23_bombs_do_not_grow() {
    row(23);
}

#[test]
fn row_24_recursion_ends() {
    row(24);
}

#[test]
fn row_25_lies_are_not_believed() {
    row(25);
}

#[test]
fn row_26_traps_are_failures() {
    row(26);
}

#[test]
fn row_27_storms_end_with_their_budget() {
    row(27);
}

/// What nobody should run is refused at its upload with the reason, others buy meanwhile, and
/// nothing of it is kept (rows 23, 26, 28).
#[test]
fn bad_components_are_refused_while_others_buy() {
    let mut shop = Shop::open();
    shop.activate(villain("", ""), "", "");
    let others = Others::start(shop.server.addr(), "uploads");
    for upload in uploads(&text::text(Kind::Pricing).wat()) {
        let (row, name) = (upload.row, upload.name);
        let answer = shop.upload(upload.wasm, upload.limits, "");
        assert_eq!(answer.status, 422, "row {row}: {name}: {}", answer.text());
        let problem = answer.is_problem(422, "plugin_refused");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(upload.said), "row {row}: {name}: {detail}");
        assert!(detail.len() < 1_000, "row {row}: {name}: {detail}");
        others.go_on();
    }
    others.end();
    let policies = shop.get("/admin/plugins");
    assert_eq!(policies["data"].as_array().map(Vec::len), Some(1), "{policies}");
    let dir = shop.close();
    let kept = std::fs::read_dir(data(&dir).join("plugins")).expect("a directory").count();
    assert_eq!(kept, 2, "bundle and configuration of the one that decides, and nothing else");
}

/// What becomes of an order whose plugin fails is what its manifest says (rows 22 and 26).
#[test]
fn the_failure_policy_decides() {
    for (word, status) in [("built_in", 201), ("fail_open", 201), ("fail_closed", 503)] {
        let mut shop = Shop::open();
        let more = format!("on_failure = \"{word}\"");
        let policy = shop.activate(villain("unreachable", ""), "", &more);
        assert_eq!(total(&shop.buy("ann")), LESS, "{word}");
        let victim = shop.buy(VICTIM);
        assert_eq!(victim.status, status, "{word}: {}", victim.text());
        if status == 201 {
            assert_eq!(total(&victim), LIST, "{word}");
        } else {
            victim.is_problem(503, "plugin_failed");
        }
        let stats = shop.get(&format!("/admin/plugins/{policy}/stats"));
        assert_eq!(stats["decided"][word], 1, "{stats}");
        shop.close();
    }
}

/// A batch whose later part is not decided on in time keeps what its first part did, does nothing of
/// the rest, and the same keys do it later (row 22).
#[test]
fn a_batch_that_is_held_up_keeps_what_is_done() {
    const PART: Duration = Duration::from_millis(1_500);
    let mut shop = Shop::within(PART);
    let limits = "fuel_per_order = 10_000_000_000\ndeadline_ms = 4_000";
    shop.activate(villain("(loop $on (br $on))", ""), limits, "on_failure = \"built_in\"");
    let price = json!({"amount": LIST, "currency": "EUR"});
    let stock = json!({"sku": "cup", "location": 1, "quantity": 5});
    let order =
        |customer: &str| json!({"customer": customer, "lines": [{"sku": "cup", "quantity": 1}]});
    let batch = json!({"items": [
        {"op": "define", "key": "cup", "body": {"sku": "cup", "price": price}},
        {"op": "receive", "key": "cups", "body": stock},
        {"op": "buy", "key": "one", "body": order(VICTIM)},
        {"op": "buy", "key": "two", "body": order("ann")},
        {"op": "define", "key": "bowl", "body": {"sku": "bowl", "price": price}},
    ]});
    let answer = shop.client.call("POST", "/v1/batch", &[], &batch.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["items"].clone();
    let statuses: Vec<u64> = (0..5).filter_map(|at| items[at]["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 201, 503, 503, 503], "{items}");
    for at in 2..5 {
        assert_eq!(items[at]["body"]["code"], "overloaded", "{items}");
        assert!(items[at]["body"]["detail"].to_string().contains("nothing"), "{items}");
    }
    assert_eq!(shop.get("/v1/stock/cup")["available"], 5);
    assert_eq!(shop.client.call("GET", "/v1/skus/bowl", &[], "").status, 404);
    let again = json!({"items": [
        {"op": "define", "key": "cup", "body": {"sku": "cup", "price": price}},
        {"op": "receive", "key": "cups", "body": stock},
        {"op": "buy", "key": "two", "body": order("ann")},
    ]});
    // The desk's thread may still be held up by what nobody waits for any more.
    let items = loop {
        let answer = shop.client.call("POST", "/v1/batch", &[], &again.to_string());
        let items = answer.json()["items"].clone();
        assert_eq!((&items[1]["status"], &items[1]["replayed"]), (&json!(201), &json!(true)));
        if items[2]["status"] == 201 {
            break items;
        }
        assert_eq!(items[2]["body"]["code"], "overloaded", "{items}");
    };
    assert_eq!(items[2]["body"]["total"]["amount"], LESS, "{items}");
    assert_eq!(shop.get("/v1/stock/cup")["available"], 4);
    shop.close();
}

/// The third failure within a minute opens the breaker: nobody waits for the plugin any more, and
/// the operator is told (row 22).
#[test]
fn the_breaker_opens_and_says_so() {
    let mut shop = Shop::open();
    let policy = shop.activate(villain("(loop $on (br $on))", ""), "", "");
    for _ in 0..3 {
        assert_eq!(total(&shop.buy(VICTIM)), LIST);
    }
    assert_eq!(total(&shop.buy("ann")), LIST, "the plugin is left alone");
    let stats = shop.get(&format!("/admin/plugins/{policy}/stats"));
    assert_eq!(stats["plugin_figures"]["breaker"], "open", "{stats}");
    assert_eq!(stats["failures"], json!({"fuel": 3, "breaker": 1}), "{stats}");
    let health = shop.get("/admin/plugins")["health"].to_string();
    assert!(health.contains("failed too often"), "{health}");
    shop.close();
}

/// No name of a client's becomes a path, and the same name with other bytes overwrites nothing:
/// what is kept is named by its hash (row 30).
#[test]
fn names_of_clients_are_no_paths() {
    let mut shop = Shop::open();
    let wasm = villain("", "");
    let honest = bundle(wasm.clone(), "", "");
    let post = |shop: &mut Shop, bytes: &[u8]| {
        let body = json!({"bundle": STANDARD.encode(bytes)}).to_string();
        shop.client.call("POST", "/admin/plugins", &[], &body)
    };
    for (from, to) in [
        ("plugin.wasm", "../lug.wasm"),
        ("plugin.wasm", "/tmp/x.wasm"),
        ("plugin.wasm", "plug\0n.wasm"),
        ("plugin.toml", "..\\x/a.toml"),
        ("acme/villain", "../../../../"),
        ("acme/villain", "/etc/passwd/"),
        ("acme/villain", "acme/vil\0ain"),
        ("acme/villain", "acme/../../x"),
    ] {
        let mut changed = honest.clone();
        let at = changed.windows(from.len()).position(|part| part == from.as_bytes());
        let at = at.expect("the name is there");
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        post(&mut shop, &changed).is_problem(422, "plugin_refused");
    }
    let plugins = data(&shop.dir).join("plugins");
    let files = |dir: &std::path::Path| -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(dir).expect("a directory").map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, std::fs::read(path).expect("bytes"))
        });
        let mut all: Vec<_> = entries.collect();
        all.sort();
        all
    };
    assert_eq!(files(&plugins), [], "nothing of a refused upload is kept");
    assert_eq!(post(&mut shop, &honest).status, 201);
    let first = files(&plugins);
    let other = bundle(villain("unreachable", ""), "", "");
    assert_eq!(post(&mut shop, &other).status, 201);
    let second = files(&plugins);
    assert!(first.iter().all(|file| second.contains(file)), "the first is as it was");
    assert!(second.len() > first.len(), "and the second stands beside it");
    let hash = |c: char| c.is_ascii_hexdigit() || c == '.' || c == '-' || c.is_ascii_lowercase();
    for (name, _) in second {
        assert!(name.len() >= 64 && name.chars().all(hash), "{name}");
    }
    let around = std::fs::read_dir(shop.dir.path()).expect("a directory").count();
    assert_eq!(around, 1, "nothing lies beside the data directory");
    shop.close();
}

/// The WebAssembly engine is of a release after the compiler faults of October 2026 (row 29).
#[test]
fn the_engine_is_not_older_than_its_floor() {
    let lock = include_str!("../../../Cargo.lock");
    let at = lock.find("name = \"wasmtime\"\n").expect("wasmtime is locked");
    let version = lock[at..].lines().nth(1).and_then(|line| line.split('"').nth(1));
    let parts: Vec<u32> = version
        .expect("a version")
        .split('.')
        .map(|part| part.parse().expect("a number"))
        .collect();
    assert!(parts >= vec![48, 0, 8], "{version:?}");
}
