//! Policies and plugins from the outside: prices, coupons, quotes, suspicion, recommendations, and
//! the life of a plugin, over HTTP.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client};
use onhand_core::Engine;
use onhand_desk::{Desk, DeskConfig, Settings};
use onhand_host::{Server, ServerConfig};
use onhand_plugin_bundle::{BundleBuilder, BundleLimits, SigningKey, Trust};
use onhand_plugin_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};

/// 10 % off every order, and 5.00 more for whoever brings WELCOME.
const PRICES: &str = r#"
[[pricing.promotion]]
code = 7
on = "order"
percent = 1000

[[pricing.promotion]]
code = 8
on = "order"
fixed = 500
currency = "EUR"
coupon = "WELCOME"
"#;

/// A shop that serves policies, on disk.
struct Shop {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    server: Server,
    client: Client,
}

impl Shop {
    fn open(settings: &str) -> Self {
        Self::at(tempfile::tempdir().expect("a directory"), settings, Trust::default(), true)
    }

    fn at(dir: tempfile::TempDir, settings: &str, trust: Trust, dev: bool) -> Self {
        let (engine, _) = Engine::builder(dir.path()).open().expect("an engine");
        let engine = Arc::new(engine);
        let config = DeskConfig {
            dir: Some(dir.path().to_owned()),
            settings: Settings::read(settings).expect("settings"),
            runtime: Some(Runtime::new(RuntimeConfig::default()).expect("a runtime")),
            trust,
            dev,
            ..DeskConfig::default()
        };
        let desk = Desk::open(Arc::clone(&engine), config).expect("a desk");
        let config = ServerConfig { open_writes: true, workers: 2, ..ServerConfig::default() };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Server::start(listener, None, Arc::clone(&engine), desk, config);
        let server = server.expect("the server starts");
        let client = Client::connect(server.addr());
        Self { dir, engine, server, client }
    }

    /// Closes everything, and gives the directory back.
    fn close(self) -> tempfile::TempDir {
        let Self { dir, engine, server, client } = self;
        drop(client);
        assert!(server.drain(Duration::from_secs(20)).finished);
        let engine = Arc::into_inner(engine).expect("the server gave the engine back");
        engine.close().expect("the engine closes");
        dir
    }

    fn post(&mut self, path: &str, key: &str, body: &Value) -> Answer {
        self.client.call("POST", path, &[("Idempotency-Key", key)], &body.to_string())
    }

    fn get(&mut self, path: &str) -> Value {
        let answer = self.client.call("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn stock(&mut self, code: &str, more: &str, units: u32) {
        let body = format!("{{\"price\":{{\"amount\":1000,\"currency\":\"EUR\"}}{more}}}");
        let defined = self.client.call("PUT", &format!("/v1/skus/{code}"), &[], &body);
        assert_eq!(defined.status, 200, "{}", defined.text());
        let body = json!({"type": "receive", "sku": code, "location": 1, "quantity": units});
        let received = self.post("/v1/stock/movements", &format!("stock-{code}"), &body);
        assert_eq!(received.status, 201, "{}", received.text());
    }

    fn buy(&mut self, key: &str, customer: &str, more: &Value) -> Answer {
        let mut body = json!({"customer": customer, "lines": [{"sku": "mug", "quantity": 1}]});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        self.post("/v1/orders:buy", key, &body)
    }

    /// Buys and returns the total.
    fn total(&mut self, key: &str, customer: &str) -> i64 {
        let bought = self.buy(key, customer, &json!({}));
        assert_eq!(bought.status, 201, "{}", bought.text());
        bought.json()["total"]["amount"].as_i64().expect("an amount")
    }

    fn install(&mut self, bundle: &[u8], config: &Value) -> Answer {
        let body = json!({"bundle": STANDARD.encode(bundle), "config": config});
        self.client.call("POST", "/admin/plugins", &[], &body.to_string())
    }

    /// Installs the sample of tiered prices; returns its number.
    fn sample(&mut self, off_bp: u32) -> u64 {
        let config = json!({"offers": [{"code": 1, "off_bp": off_bp}]});
        let installed = self.install(&tiered(None), &config);
        assert_eq!(installed.status, 201, "{}", installed.text());
        installed.json()["policy"].as_u64().expect("a number")
    }

    fn step(&mut self, policy: u64, verb: &str, body: &Value) -> Answer {
        let path = format!("/admin/plugins/{policy}/{verb}");
        self.client.call("POST", &path, &[], &body.to_string())
    }

    fn take(&mut self, policy: u64, verb: &str, body: &Value) -> Value {
        let taken = self.step(policy, verb, body);
        assert_eq!(taken.status, 200, "{verb}: {}", taken.text());
        taken.json()
    }
}

fn built(name: &str) -> Vec<u8> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/samples/built");
    std::fs::read(samples.join(name)).expect("a built sample")
}

fn bundle(manifest: &str, wasm: Vec<u8>, key: Option<&SigningKey>) -> Vec<u8> {
    let limits = BundleLimits::default();
    let mut bundle = BundleBuilder::new(manifest, wasm).build(&limits).expect("a bundle");
    if let Some(key) = key {
        bundle.sign(key, &limits).expect("a signature");
    }
    bundle.bytes().to_vec()
}

const TIERED: &str = "id = \"acme/tiers\"\nversion = \"1.0.0\"\nkind = \"pricing\"\n\
                      wit = \"onhand:pricing@1.0.0\"\nlicense = \"Apache-2.0\"\n";

fn tiered(key: Option<&SigningKey>) -> Vec<u8> {
    bundle(TIERED, built("tiered-pricing.wasm"), key)
}

/// Without policies nothing is decided and nothing is said of it.
#[test]
fn a_shop_without_policies_sells_at_list_price() {
    let mut shop = Shop::open("");
    shop.stock("mug", "", 10);
    let bought = shop.buy("o1", "ann", &json!({})).json();
    assert_eq!(bought["total"]["amount"], 1_000);
    assert_eq!(bought.get("risk"), None);
    let policies = shop.get("/admin/plugins");
    assert_eq!((&policies["data"], &policies["health"]), (&json!([]), &json!([])));
    shop.close();
}

/// Built-in prices apply, a coupon's uses are stock, and a repetition finds the first price.
#[test]
fn built_in_prices_and_coupons_are_journaled_with_the_order() {
    let mut shop = Shop::open(PRICES);
    shop.stock("mug", "", 10);
    shop.stock("WELCOME", ",\"kind\":\"coupon\",\"limit\":1", 2);
    assert_eq!(shop.total("o1", "ann"), 900);
    let coupon = json!({"coupons": ["WELCOME"]});
    let first = shop.buy("o2", "ann", &coupon);
    assert_eq!(first.json()["total"]["amount"], 400, "{}", first.text());
    let again = shop.buy("o2", "ann", &coupon);
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    shop.buy("o2", "ann", &json!({})).is_problem(422, "idempotency_key_reused");
    shop.buy("o3", "ann", &coupon).is_problem(409, "limit_reached");
    assert_eq!(shop.buy("o4", "bob", &coupon).status, 201);
    shop.buy("o5", "cid", &coupon).is_problem(409, "sold_out");
    let order = first.json()["order"].as_str().expect("an order").to_owned();
    let explained = shop.get(&format!("/v1/orders/{order}/explain")).to_string();
    assert!(explained.contains("\"pricing\""), "{explained}");
    // With other prices the first answers stand.
    let dir = shop.close();
    let mut shop = Shop::at(dir, "", Trust::default(), true);
    assert_eq!(shop.buy("o2", "ann", &coupon).body, first.body);
    let verified = shop.close();
    let report = onhand_verify::verify(verified.path(), onhand_verify::Options::default());
    assert!(report.expect("no rule is broken").complete);
}

/// A quote's prices hold whatever is configured by then; another's, a changed or a forged token is
/// refused and moves nothing.
#[test]
fn quotes_hold_and_prove_themselves() {
    let mut shop = Shop::open(PRICES);
    shop.stock("mug", "", 10);
    let ask = json!({"customer": "ann", "lines": [{"sku": "mug", "quantity": 2}]});
    let quoted = shop.post("/v1/quotes", "unused", &ask);
    assert_eq!(quoted.status, 200, "{}", quoted.text());
    let quote = quoted.json();
    assert_eq!(
        (&quote["total"]["amount"], &quote["list_total"]["amount"]),
        (&json!(1_800), &json!(2_000))
    );
    let token = quote["quote_token"].as_str().expect("a token").to_owned();
    let dir = shop.close();
    let mut shop = Shop::at(dir, "", Trust::default(), true);
    let with = |customer: &str, units: u32, token: &str| {
        json!({"customer": customer, "lines": [{"sku": "mug", "quantity": units}],
               "quote_token": token})
    };
    let last = if token.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    for body in [with("bob", 2, &token), with("ann", 3, &token), with("ann", 2, &forged)] {
        shop.post("/v1/orders:buy", "o1", &body).is_problem(400, "quote_invalid");
    }
    let bought = shop.post("/v1/orders:buy", "o1", &with("ann", 2, &token));
    assert_eq!(bought.status, 201, "{}", bought.text());
    assert_eq!(bought.json()["total"]["amount"], 1_800);
    assert_eq!(shop.get("/v1/stock/mug")["available"], 8);
    shop.close();
}

/// A suspicious purchase is reserved until somebody has looked; a denied one moves nothing.
#[test]
fn suspicion_reserves_and_somebody_decides() {
    let mut shop = Shop::open(
        "[fraud]\nchallenge = 100\nreview = 200\ndeny = 900\n\n\
         [[fraud.rule]]\ncode = 1\npoints = 300\nwhen = [{ measure = \"distance_km\", at_least = 5000 }]\n\n\
         [[fraud.rule]]\ncode = 2\npoints = 1000\nwhen = [{ measure = \"units\", at_least = 5 }]\n",
    );
    shop.stock("mug", "", 20);
    let near = shop.buy("o1", "ann", &json!({"buyer": {"distance_km": 3}}));
    assert_eq!((near.status, &near.json()["risk"]), (201, &json!("allow")), "{}", near.text());
    let far = json!({"buyer": {"distance_km": 9_000, "device": "d-1"}});
    let held = shop.buy("o2", "bob", &far);
    let body = held.json();
    assert_eq!((&body["status"], &body["risk"]), (&json!("reserved"), &json!("review")));
    assert_eq!(shop.buy("o2", "bob", &far).body, held.body, "a repetition finds it");
    let order = body["order"].as_str().expect("an order").to_owned();
    let place = json!({"reservation": order});
    shop.post("/v1/orders", "p1", &place).is_problem(409, "risk_open");
    let path = format!("/v1/orders/{order}/risk");
    let found = shop.post(&path, "r1", &json!({"risk": "allow", "reason": 4}));
    assert_eq!(
        (found.status, &found.json()["status"]),
        (200, &json!("placed")),
        "{}",
        found.text()
    );
    let many = json!({"lines": [{"sku": "mug", "quantity": 6}]});
    shop.buy("o3", "cid", &many).is_problem(403, "fraud_denied");
    let held = shop.buy("o4", "dan", &far).json();
    let path = format!("/v1/orders/{}/risk", held["order"].as_str().expect("an order"));
    assert_eq!(shop.post(&path, "r2", &json!({"risk": "deny"})).json()["status"], "rejected");
    assert_eq!(shop.get("/v1/stock/mug")["available"], 18);
    shop.close();
}

/// Recommendations come from what was bought, only what can be had, and never fail.
#[test]
fn recommendations_follow_purchases_and_stock() {
    let mut shop = Shop::open("");
    for code in ["mug", "tea", "cup"] {
        shop.stock(code, "", 3);
    }
    let all = shop.get("/v1/recommendations?limit=100");
    assert_eq!(all["data"].as_array().map(Vec::len), Some(3), "nothing was bought yet: {all}");
    for at in 0..2 {
        let lines = json!([{"sku": "mug", "quantity": 1}, {"sku": "tea", "quantity": 1}]);
        let bought = shop.buy(&format!("o{at}"), "ann", &json!({"lines": lines}));
        assert_eq!(bought.status, 201, "{}", bought.text());
    }
    let codes = |found: &Value| -> Vec<String> {
        let data = found["data"].as_array().expect("a list");
        data.iter().map(|pick| pick["sku"].as_str().expect("a code").to_owned()).collect()
    };
    let mut found = Vec::new();
    // The feed follows the journal on a thread of its own.
    for _ in 0..2_000 {
        found = codes(&shop.get("/v1/recommendations?sku=mug&limit=1"));
        if found == ["tea"] {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(found, ["tea"]);
    let last = shop.buy("o9", "bob", &json!({"lines": [{"sku": "tea", "quantity": 1}]}));
    assert_eq!(last.status, 201);
    assert!(!codes(&shop.get("/v1/recommendations?sku=mug")).contains(&"tea".to_owned()));
    let wrong = shop.client.call("GET", "/v1/recommendations?limit=101", &[], "");
    wrong.is_problem(400, "invalid_request");
    shop.close();
}

/// From an installation to a rollback, with a restart in between: who decides is what the journal
/// says, and no purchase is refused on the way.
#[test]
fn a_plugin_lives_without_a_restart_and_over_one() {
    let mut shop = Shop::open(PRICES);
    shop.stock("mug", "", 1_000);
    let policy = shop.sample(5_000);
    assert_eq!(shop.total("o1", "ann"), 900, "installed decides nothing");
    assert_eq!(shop.take(policy, "shadow", &json!({}))["role"], "shadow");
    for at in 0..20 {
        assert_eq!(shop.total(&format!("s{at}"), "ann"), 900);
    }
    let mut report = Value::Null;
    for _ in 0..2_000 {
        report = shop.get(&format!("/admin/plugins/{policy}/divergence"));
        if report["compared"] == 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((&report["compared"], &report["different"]), (&json!(20), &json!(20)), "{report}");
    assert_eq!(
        report["money"],
        json!([{"currency": "EUR", "sum": -8_000, "absolute": 8_000,
        "orders": 20, "per_order_hundredths": -40_000}])
    );
    let canary = shop.take(
        policy,
        "canary",
        &json!({"share_bp": 5_000,
        "guards": {"price_bp": 10_000}}),
    );
    assert_eq!((&canary["role"], &canary["share_bp"]), (&json!("canary"), &json!(5_000)));
    let totals: Vec<i64> =
        (0..40).map(|at| shop.total(&format!("c{at}"), &format!("customer {at}"))).collect();
    let half = totals.iter().filter(|total| **total == 500).count();
    assert!(
        (5..=35).contains(&half) && totals.iter().all(|t| [500, 900].contains(t)),
        "{totals:?}"
    );
    let dir = shop.close();

    let mut shop = Shop::at(dir, PRICES, Trust::default(), true);
    let same: Vec<i64> =
        (0..40).map(|at| shop.total(&format!("d{at}"), &format!("customer {at}"))).collect();
    assert_eq!(same, totals, "a customer stays on one side");
    shop.take(policy, "promote", &json!({}));
    assert_eq!(shop.total("p1", "ann"), 500);
    shop.take(policy, "pin", &json!({}));
    shop.step(policy, "rollback", &json!({})).is_problem(409, "state_conflict");
    shop.take(policy, "unpin", &json!({}));
    shop.take(policy, "rollback", &json!({}));
    assert_eq!(shop.total("p2", "ann"), 900);
    shop.take(policy, "remove", &json!({}));
    let listed = shop.get("/admin/plugins");
    let entries = listed["data"].as_array().expect("a list");
    let entry = entries.iter().find(|entry| entry["policy"] == policy).expect("the policy");
    let steps: Vec<&str> = entry["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|s| s["step"].as_str())
        .collect();
    assert_eq!(
        steps,
        [
            "installed",
            "shadowed",
            "canary",
            "promoted",
            "pinned",
            "unpinned",
            "rolled_back",
            "removed"
        ]
    );
    let dir = shop.close();
    let report = onhand_verify::verify(dir.path(), onhand_verify::Options::default());
    assert!(report.expect("no rule is broken").complete);
}

/// A batch over HTTP is priced as its items alone would be, and one wrong item spoils no other.
#[test]
fn a_batch_is_decided_item_by_item() {
    let mut shop = Shop::open("");
    shop.stock("mug", "", 100);
    let policy = shop.sample(5_000);
    shop.take(policy, "activate", &json!({}));
    let item = |key: &str, sku: &str| json!({"op": "buy", "key": key, "body": {"lines": [{"sku": sku, "quantity": 1}]}});
    let items = json!({"items": [item("b1", "mug"), item("b2", "none"), item("b3", "mug"),
        {"op": "define", "key": "b4", "body": {"sku": "new",
            "price": {"amount": 5, "currency": "EUR"}}}]});
    let answer = shop.post("/v1/batch", "unused", &items);
    let body = answer.json();
    let statuses: Vec<u64> = body["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["status"].as_u64().expect("a status"))
        .collect();
    assert_eq!(statuses, [201, 404, 201, 200], "{}", answer.text());
    for at in [0, 2] {
        assert_eq!(body["items"][at]["body"]["total"]["amount"], 500);
    }
    assert_eq!(body["items"][1]["body"]["code"], "sku_unknown");
    let logs = shop.get(&format!("/admin/plugins/{policy}/logs"));
    assert_eq!(logs, json!({"last_failure": null, "lines": [], "dropped": 0}));
    shop.client.call("GET", "/admin/plugins/99/logs", &[], "").is_problem(404, "not_found");
    let stats = shop.get(&format!("/admin/plugins/{policy}/stats"));
    assert_eq!((&stats["orders"], &stats["decided"]["policy"]), (&json!(2), &json!(2)), "{stats}");
    let recorded = shop.client.call("GET", "/admin/plugins/recorded?kind=pricing", &[], "");
    assert_eq!(recorded.text().lines().count(), 2, "{}", recorded.text());
    shop.close();
}

/// A basket of a SKU that an earlier item of its batch defines, or gives another price, is priced
/// with that; answers stand in the order of the items.
#[test]
fn a_batch_is_priced_with_its_own_definitions() {
    let mut shop = Shop::open(PRICES);
    shop.stock("mug", "", 100);
    let buy = |key: &str, sku: &str, more: Value| {
        let mut body = json!({"customer": key, "lines": [{"sku": sku, "quantity": 1}]});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        json!({"op": "buy", "key": key, "body": body})
    };
    let define = |key: &str, sku: &str, kind: &str, amount: u32| {
        json!({"op": "define", "key": key, "body": {"sku": sku, "kind": kind,
            "price": {"amount": amount, "currency": "EUR"}}})
    };
    let receive = |key: &str, sku: &str| {
        json!({"op": "receive", "key": key,
            "body": {"sku": sku, "location": 1, "quantity": 10}})
    };
    let none = json!({});
    let items = json!({"items": [
        buy("i0", "mug", none.clone()),
        define("i1", "mug", "goods", 2_000),
        buy("i2", "none", none.clone()),
        buy("i3", "mug", none.clone()),
        define("i4", "new", "goods", 3_000),
        receive("i5", "new"),
        buy("i6", "new", none.clone()),
        define("i7", "WELCOME", "coupon", 0),
        receive("i8", "WELCOME"),
        buy("i9", "new", json!({"coupons": ["WELCOME"]})),
    ]});
    let answer = shop.post("/v1/batch", "unused", &items);
    let body = answer.json();
    let found: Vec<(u64, i64)> = body["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| {
            let total = item["body"]["total"]["amount"].as_i64().unwrap_or(0);
            (item["status"].as_u64().expect("a status"), total)
        })
        .collect();
    let expected = [
        (201, 900),
        (200, 0),
        (404, 0),
        (201, 1_800),
        (200, 0),
        (201, 0),
        (201, 2_700),
        (200, 0),
        (201, 0),
        (201, 2_200),
    ];
    assert_eq!(found, expected, "{}", answer.text());
    assert_eq!(shop.post("/v1/batch", "unused", &items).status, 200);
    assert_eq!(shop.get("/v1/stock/new")["available"], 8, "a repetition has no second effect");
    shop.close();
}

/// The use of a coupon goes with the goods: out with the last of them, or back if none went; nobody
/// moves it by itself. The verifier agrees, in one shard and over several.
#[test]
fn a_coupon_follows_its_order() {
    for shards in [1, 4] {
        let dir = tempfile::tempdir().expect("a directory");
        let (engine, _) = Engine::builder(dir.path()).shards(shards).open().expect("an engine");
        engine.close().expect("the engine closes");
        let mut shop = Shop::at(dir, PRICES, Trust::default(), true);
        shop.stock("mug", "", 10);
        shop.stock("WELCOME", ",\"kind\":\"coupon\",\"limit\":1", 4);
        let coupon = json!({"coupons": ["WELCOME"],
            "lines": [{"sku": "mug", "quantity": 2}]});
        let lines =
            |line: u32, quantity: u32| json!({"lines": [{"line": line, "quantity": quantity}]});
        let deeds = [
            ("ann", vec![("ship", lines(0, 1)), ("ship", lines(0, 1))], "completed", 1),
            ("bob", vec![("ship", lines(0, 1)), ("cancel", lines(0, 1))], "completed", 1),
            ("cid", vec![("cancel", lines(0, 1)), ("cancel", lines(0, 1))], "cancelled", 0),
            ("dan", vec![("short", lines(0, 2))], "cancelled", 0),
            ("cid", vec![("ship", json!({}))], "completed", 1),
        ];
        for (nth, (customer, deeds, status, used)) in deeds.into_iter().enumerate() {
            let bought = shop.buy(&format!("o{nth}"), customer, &coupon);
            assert_eq!(bought.status, 201, "{customer}: {}", bought.text());
            let order = bought.json()["order"].as_str().expect("an order").to_owned();
            for (step, (deed, body)) in deeds.into_iter().enumerate() {
                let path = format!("/v1/orders/{order}/{deed}");
                let key = format!("o{nth}-{step}");
                let alone = shop.post(&path, &format!("{key}-alone"), &lines(1, 1));
                alone.is_problem(409, "over_committed");
                let done = shop.post(&path, &key, &body);
                assert_eq!(done.status, 200, "{customer}: {}", done.text());
            }
            let order = shop.get(&format!("/v1/orders/{order}"));
            assert_eq!(order["status"], status, "{order}");
            let line = &order["lines"][1];
            let settled = (&line["shipped"], &line["cancelled"]);
            assert_eq!(settled, (&json!(used), &json!(1 - used)), "{order}");
        }
        let dir = shop.close();
        let report = onhand_verify::verify(dir.path(), onhand_verify::Options::default());
        assert!(report.unwrap_or_else(|broken| panic!("{shards}: {broken:?}")).complete);
        let shop = Shop::at(dir, PRICES, Trust::default(), true);
        shop.close();
    }
}

/// A refusal of a line that a policy has added names its SKU.
#[test]
fn a_refused_coupon_is_named() {
    let mut shop = Shop::open(PRICES);
    shop.stock("mug", "", 10);
    shop.stock("WELCOME", ",\"kind\":\"coupon\",\"limit\":1", 1);
    let coupon = json!({"coupons": ["WELCOME"]});
    assert_eq!(shop.buy("o1", "ann", &coupon).status, 201);
    let limited = shop.buy("o2", "ann", &coupon);
    limited.is_problem(409, "limit_reached");
    assert_eq!(limited.json()["sku"], "WELCOME", "{}", limited.text());
    let sold_out = shop.buy("o3", "bob", &coupon);
    assert_eq!(sold_out.json()["sku"], "WELCOME", "{}", sold_out.text());
    let items = json!({"items": [{"op": "buy", "key": "o4", "body": {"customer": "bob",
        "lines": [{"sku": "mug", "quantity": 1}], "coupons": ["WELCOME"]}}]});
    let batch = shop.post("/v1/batch", "unused", &items).json();
    assert_eq!(batch["items"][0]["body"]["sku"], "WELCOME", "{batch}");
    shop.close();
}

/// Only what a signer of the trust file has signed is taken, and only as it was signed.
#[test]
fn only_trusted_bundles_are_installed() {
    let (ours, theirs) = (SigningKey::from_seed([7; 32]), SigningKey::from_seed([8; 32]));
    let trust = format!("[signers.acme]\nkey = \"{}\"\n", ours.public());
    let trust = Trust::read(&trust).expect("a trust file");
    let mut shop = Shop::at(tempfile::tempdir().expect("a directory"), "", trust, false);
    let nothing = json!({});
    shop.install(&tiered(None), &nothing).is_problem(403, "plugin_untrusted");
    shop.install(&tiered(Some(&theirs)), &nothing).is_problem(403, "plugin_untrusted");
    let signed = tiered(Some(&ours));
    for at in [600, signed.len() / 2, signed.len() - 2_000] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        let status = shop.install(&changed, &nothing).status;
        assert!([403, 422].contains(&status), "{at}: {status}");
    }
    let installed = shop.install(&signed, &nothing);
    assert_eq!((installed.status, &installed.json()["signer"]), (201, &json!("acme")));
    shop.close();
}

/// What is no plugin is refused by name, nothing of it is kept, and no name of the client's ever
/// becomes a path.
#[test]
fn bad_uploads_are_refused_and_leave_nothing() {
    let mut shop = Shop::open("");
    shop.stock("mug", "", 10);
    let wat = |text: &str| bundle(TIERED, text.as_bytes().to_vec(), None);
    let config = json!({});
    for bytes in [
        Vec::new(),
        b"no bundle".to_vec(),
        vec![0; 100_000],
        tiered(None)[..10_000].to_vec(),
        wat("(component)"),
        wat("\0asm\x01\0\0\0"),
        bundle(&TIERED.replace("pricing", "fraud"), built("tiered-pricing.wasm"), None),
    ] {
        shop.install(&bytes, &config).is_problem(422, "plugin_refused");
    }
    // A name with a path in it is no name of a plugin.
    for id in ["../../evil", "/etc/evil", "a\\u0000b", "acme/../../evil"] {
        let manifest = TIERED.replace("acme/tiers", id);
        let limits = BundleLimits::default();
        let built = BundleBuilder::new(&manifest, built("tiered-pricing.wasm")).build(&limits);
        assert!(built.is_err(), "{id}");
    }
    // The same, made by hand: the archive's own names and manifest are what the client says.
    let honest = tiered(None);
    for (from, to) in [("plugin.wasm", "../lug.wasm"), ("plugin.toml", "/etc/x.toml")] {
        let mut changed = honest.clone();
        let at = changed.windows(from.len()).position(|part| part == from.as_bytes());
        let at = at.expect("the name is there");
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        shop.install(&changed, &config).is_problem(422, "plugin_refused");
    }
    for body in ["", "[]", "{\"bundle\":1}", "{\"bundle\":\"!\"}", "{\"bundle\":\"\",\"x\":1}"] {
        let answer = shop.client.call("POST", "/admin/plugins", &[], body);
        assert!([400, 422].contains(&answer.status), "{body}: {}", answer.text());
    }
    shop.install(&honest, &json!({"no such": 1})).is_problem(422, "plugin_refused");
    shop.step(99, "activate", &config).is_problem(404, "not_found");
    assert_eq!(shop.get("/admin/plugins")["data"], json!([]));
    let dir = shop.close();
    let kept = std::fs::read_dir(dir.path().join("plugins")).expect("a directory").count();
    assert_eq!(kept, 0, "nothing of a refused upload is kept");
    assert!(!Path::new("/etc/x.toml").exists());
}
