//! Who may do what: keys, and what is open without one.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use common::{Client, Shop, buy_body};
use onhand_core::Engine;
use onhand_desk::{Desk, DeskConfig};
use onhand_host::{ApiKeys, NewKey, Server, ServerConfig};

fn shop_with_key() -> (Shop, String) {
    let new = NewKey::generate().expect("a random source");
    let digest = new.digest.clone();
    let shop = Shop::with(|config| {
        config.api_keys = ApiKeys::read([digest.as_str()]).expect("a digest of ours");
    });
    (shop, new.key)
}

#[test]
fn writes_and_customers_data_need_a_key() {
    let (shop, key) = shop_with_key();
    let bearer = format!("Bearer {key}");
    let order = "/v1/orders/ord_00000000000000000000000001";
    let guarded: &[(&str, &str)] = &[
        ("PUT", "/v1/skus/mug"),
        ("POST", "/v1/stock/movements"),
        ("POST", "/v1/stock/imports"),
        ("POST", "/v1/reservations"),
        ("POST", "/v1/orders"),
        ("POST", "/v1/orders:buy"),
        ("POST", "/v1/batch"),
        ("GET", "/v1/events"),
        ("GET", order),
    ];
    for (method, path) in guarded {
        let bare = shop.call(method, path, &[("Idempotency-Key", "k")], "");
        bare.is_problem(401, "unauthenticated");
        assert!(bare.header("www-authenticate").is_some());
        let headers = [("Idempotency-Key", "k"), ("Authorization", bearer.as_str())];
        let with_key = shop.call(method, path, &headers, "");
        assert_ne!(with_key.status, 401, "{method} {path}");
    }
    for verb in ["cancel", "ship", "short"] {
        let path = format!("{order}/{verb}");
        shop.post(&path, "k", "").is_problem(401, "unauthenticated");
    }
    for verb in ["extend", "release"] {
        let path = format!("/v1/reservations/ord_00000000000000000000000001/{verb}");
        shop.post(&path, "k", "").is_problem(401, "unauthenticated");
    }
    shop.get(&format!("{order}/explain")).is_problem(401, "unauthenticated");
    for open in ["/", "/livez", "/readyz", "/metrics", "/v1/skus", "/errors/sold_out"] {
        assert_eq!(shop.get(open).status, 200, "{open}");
    }
}

/// Goal: wrong keys of every kind get the same answer. Method: the bodies differ in nothing but
/// the request id.
#[test]
fn wrong_keys_are_refused_alike() {
    let (shop, key) = shop_with_key();
    let mut last_off = key.clone();
    last_off.pop();
    last_off.push(if key.ends_with('0') { '1' } else { '0' });
    let other = NewKey::generate().expect("a random source").key;
    let wrong = [
        "Bearer x".to_owned(),
        format!("Bearer {last_off}"),
        format!("Bearer {other}"),
        format!("Bearer {key}x"),
        format!("Basic {key}"),
        "Bearer".to_owned(),
        format!("Bearer {}", "k".repeat(10_000)),
    ];
    let mut bodies = Vec::new();
    for value in &wrong {
        let headers =
            [("Idempotency-Key", "k"), ("Authorization", value.as_str()), ("Request-Id", "same")];
        let refused = shop.call("POST", "/v1/orders:buy", &headers, &buy_body("mug", 1));
        refused.is_problem(401, "unauthenticated");
        bodies.push(refused.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_second_address_keeps_the_operators_routes() {
    let (engine, _report) = Engine::in_memory().open().expect("an engine in memory");
    let engine = Arc::new(engine);
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let config = ServerConfig { open_writes: true, ..ServerConfig::default() };
    let desk = Desk::open(Arc::clone(&engine), DeskConfig::default()).expect("a desk");
    let server = Server::start(bind(), Some(bind()), Arc::clone(&engine), desk, config);
    let server = server.expect("the server starts");
    let admin = server.admin_addr().expect("a second address");
    let status = |addr, path| Client::connect(addr).call("GET", path, &[], "").status;
    for (path, public, operator) in [
        ("/metrics", 404, 200),
        ("/livez", 200, 200),
        ("/readyz", 200, 200),
        ("/v1/skus", 200, 404),
        ("/v1/events", 200, 404),
        ("/v1/recommendations", 200, 404),
        ("/admin/plugins", 404, 200),
        ("/admin/plugins/recorded?kind=fraud", 404, 200),
    ] {
        assert_eq!(
            (status(server.addr(), path), status(admin, path)),
            (public, operator),
            "{path}"
        );
    }
    assert!(server.drain(Duration::from_secs(20)).finished);
}
