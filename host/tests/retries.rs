//! Retries: one key is one effect, and the first answer comes again byte for byte.

mod common;

use std::sync::Barrier;

use common::{Client, Shop, buy_body, reopen};

#[test]
fn a_repeated_request_gets_the_first_bytes_again() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let ttl = r#"{"lines":[{"sku":"mug","quantity":1}],"ttl_ms":600000}"#;
    let buy = buy_body("mug", 2);
    for (key, path, body) in
        [("b1", "/v1/orders:buy", buy.as_str()), ("r1", "/v1/reservations", ttl)]
    {
        let first = shop.post(path, key, body);
        assert_eq!(first.status, 201, "{}", first.text());
        assert_eq!(first.header("idempotency-replayed"), None);
        let again = shop.post(path, key, body);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(shop.available("mug"), 7);
    let other = buy_body("mug", 3);
    shop.post("/v1/orders:buy", "b1", &other).is_problem(422, "idempotency_key_reused");
    shop.post("/v1/reservations", "b1", ttl).is_problem(422, "idempotency_key_reused");
    assert_eq!(shop.available("mug"), 7);
}

#[test]
fn the_first_bytes_come_again_after_a_restart() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let first = shop.buy("b1", "mug", 2);
    assert_eq!(first.status, 201, "{}", first.text());
    let order = first.json()["order"].as_str().expect("an id").to_owned();
    let ship = format!("/v1/orders/{order}/ship");
    let shipped = shop.post(&ship, "s1", "");
    assert_eq!(shipped.status, 200, "{}", shipped.text());
    let (dir, report) = shop.close();
    assert!(report.finished);
    let shop = reopen(dir);
    let again = shop.buy("b1", "mug", 2);
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let again = shop.post(&ship, "s1", "");
    assert_eq!((again.status, &again.body), (200, &shipped.body));
    assert_eq!(shop.get(&format!("/v1/orders/{order}")).json()["status"], "completed");
}

/// Goal: a storm of retries makes one order. Method: 100 connections send the same request at
/// the same moment.
#[test]
fn a_hundred_retries_at_once_are_one_order() {
    const RETRIES: usize = 100;
    let shop = Shop::open();
    shop.stock("mug", 1_000);
    let barrier = Barrier::new(RETRIES);
    let addr = shop.addr();
    let answers: Vec<common::Answer> = std::thread::scope(|scope| {
        let retry = || {
            let mut client = Client::connect(addr);
            barrier.wait();
            client.call(
                "POST",
                "/v1/orders:buy",
                &[("Idempotency-Key", "one")],
                &buy_body("mug", 3),
            )
        };
        let threads: Vec<_> = (0..RETRIES).map(|_| scope.spawn(retry)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a retry")).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body));
    let replayed = answers.iter().filter(|a| a.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, RETRIES - 1);
    assert_eq!(shop.available("mug"), 997);
}

#[test]
fn a_refused_request_may_succeed_later_under_its_key() {
    let shop = Shop::open();
    shop.stock("mug", 1);
    shop.buy("b1", "mug", 2).is_problem(409, "sold_out");
    let more = r#"{"type":"receive","sku":"mug","location":1,"quantity":5}"#;
    assert_eq!(shop.post("/v1/stock/movements", "more", more).status, 201);
    assert_eq!(shop.buy("b1", "mug", 2).status, 201);
}
