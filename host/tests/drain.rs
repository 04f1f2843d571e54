//! Shutdown under load: nothing that was acknowledged is lost, nothing in flight is cut.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Client, Shop, buy_body, reopen};

/// Goal: every acknowledged order is in the engine after a drain under load and a restart.
/// Method: buyers on many connections note what they were told until their connection ends.
#[test]
fn a_drain_under_load_loses_no_acknowledged_order() {
    const BUYERS: u64 = 16;
    let shop = Shop::open();
    shop.stock("mug", 1_000_000);
    let addr = shop.addr();
    let sold = Arc::new(AtomicU64::new(0));
    let buyers: Vec<_> = (0..BUYERS)
        .map(|buyer| {
            let sold = Arc::clone(&sold);
            // Here, not in the thread: a slow thread would find nobody listening any more.
            let mut client = Client::connect(addr);
            std::thread::spawn(move || {
                let mut orders = Vec::new();
                for number in 0_u64.. {
                    let key = format!("{buyer}-{number}");
                    let body = buy_body("mug", 1);
                    let head = format!(
                        "POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nIdempotency-Key: {key}\r\n\
                         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if client.try_send_raw(head.as_bytes()).is_err() {
                        break;
                    }
                    let Some(answer) = client.read(false) else {
                        break;
                    };
                    if answer.status == 201 {
                        let order = answer.json()["order"].as_str().expect("an id").to_owned();
                        orders.push((key, order, answer.body));
                        sold.fetch_add(1, Ordering::Relaxed);
                    }
                }
                orders
            })
        })
        .collect();
    while sold.load(Ordering::Relaxed) < 200 {
        std::thread::yield_now();
    }
    let (dir, report) = shop.close();
    assert!(report.finished, "every request in flight was answered");
    let told: Vec<_> =
        buyers.into_iter().flat_map(|buyer| buyer.join().expect("a buyer")).collect();
    assert!(told.len() >= 200);
    let shop = reopen(dir);
    let mut client = shop.client();
    for (key, order, body) in &told {
        let read = client.call("GET", &format!("/v1/orders/{order}"), &[], "");
        assert_eq!(read.status, 200, "{order} was acknowledged and is gone");
        let headers = [("Idempotency-Key", key.as_str())];
        let again = client.call("POST", "/v1/orders:buy", &headers, &buy_body("mug", 1));
        assert_eq!(&again.body, body);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    let left = shop.available("mug");
    assert!(left <= 1_000_000 - told.len() as u64);
}

#[test]
fn a_drain_answers_waiting_reads_and_gives_the_engine_back() {
    let shop = Shop::open();
    shop.stock("mug", 1);
    let next = shop.get("/v1/events").json()["next"].as_u64().expect("a position");
    let mut waiting = shop.client();
    waiting.send("GET", &format!("/v1/events?after={next}&wait=30"), &[], "");
    let mut idle = shop.client();
    assert_eq!(idle.call("GET", "/readyz", &[], "").status, 200);
    let addr = shop.addr();
    let (_dir, engine, server) = shop.split();
    let report = server.drain(Duration::from_secs(20));
    assert!(report.finished);
    if let Some(answer) = waiting.read(false) {
        assert_eq!((answer.status, &answer.json()["data"]), (200, &serde_json::json!([])));
    }
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(addr).is_err(), "nothing is accepted any more");
    assert_eq!(Arc::strong_count(&engine), 1);
}
