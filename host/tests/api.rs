//! Every route over a socket with a real engine: what succeeds, and each way it is refused.

mod common;

use common::{Shop, buy_body};
use serde_json::json;

#[test]
fn skus_are_defined_read_and_listed() {
    let shop = Shop::open();
    let body = r#"{"price":{"amount":1299,"currency":"EUR"},"limit":2}"#;
    let defined = shop.call("PUT", "/v1/skus/mug", &[], body);
    assert_eq!(defined.status, 200, "{}", defined.text());
    assert_eq!(defined.json()["sku"], "mug");
    assert_eq!(defined.json()["version"], 1);
    let read = shop.get("/v1/skus/mug");
    assert_eq!(
        read.json(),
        json!({"sku":"mug","kind":"goods","price":{"amount":1299,"currency":"EUR"},"limit":2,
               "placement":"sku","components":[],"version":1})
    );
    let tag = read.header("etag").expect("a tag").to_owned();
    let again = shop.call("GET", "/v1/skus/mug", &[("If-None-Match", &tag)], "");
    assert_eq!((again.status, again.body.len()), (304, 0));

    let price = r#"{"price":{"amount":999,"currency":"EUR"}}"#;
    let unlimited = shop.call("PUT", "/v1/skus/mug", &[], price);
    unlimited.is_problem(409, "sku_fixed");
    let more = r#"{"price":{"amount":999,"currency":"EUR"},"limit":3}"#;
    assert_eq!(shop.call("PUT", "/v1/skus/mug", &[], more).json()["version"], 2);
    shop.call("PUT", "/v1/skus/mug", &[], "{").is_problem(400, "invalid_request");
    let kind = r#"{"price":{"amount":1,"currency":"EUR"},"kind":"seat"}"#;
    shop.call("PUT", "/v1/skus/mug", &[], kind).is_problem(409, "sku_fixed");
    let kit = r#"{"price":{"amount":1,"currency":"EUR"},"kind":"kit"}"#;
    shop.call("PUT", "/v1/skus/set", &[], kit).is_problem(400, "definition_invalid");
    shop.call("PUT", "/v1/skus/a%20b", &[], price).is_problem(400, "invalid_request");
    shop.get("/v1/skus/nothing").is_problem(404, "sku_unknown");

    shop.stock("cup", 1);
    shop.stock("pan", 1);
    let page = shop.get("/v1/skus?limit=2").json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["has_more"], true);
    let rest = shop.get(&format!("/v1/skus?limit=2&after={}", page["next"])).json();
    assert_eq!(rest["data"][0]["sku"], "pan");
    assert_eq!((&rest["has_more"], &rest["next"]), (&json!(false), &json!(null)));
    shop.get("/v1/skus?after=x").is_problem(400, "bad_cursor");
    shop.get("/v1/skus?limit=0").is_problem(400, "invalid_request");
}

#[test]
fn a_put_without_a_key_is_carried_out_each_time() {
    let shop = Shop::open();
    for (amount, version) in [(1, 1), (2, 2), (1, 3)] {
        let body = format!("{{\"price\":{{\"amount\":{amount},\"currency\":\"EUR\"}}}}");
        let defined = shop.call("PUT", "/v1/skus/mug", &[], &body).json();
        assert_eq!(defined["version"], version);
        let read = shop.get("/v1/skus/mug").json();
        assert_eq!(read["price"]["amount"], amount);
    }
}

#[test]
fn stock_moves_by_every_type() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let move_it = |key: &str, body: &str| shop.post("/v1/stock/movements", key, body);
    let adjust = r#"{"type":"adjust","sku":"mug","location":1,"expected":10,"available":12}"#;
    assert_eq!(move_it("m1", adjust).status, 201);
    let stale = move_it("m2", adjust).is_problem(409, "stale_count");
    assert_eq!(stale["found"], 12);
    let aside = r#"{"type":"quarantine","sku":"mug","location":1,"quantity":5,"reason":"damaged"}"#;
    assert_eq!(move_it("m3", aside).json()["type"], "quarantine");
    let back =
        r#"{"type":"unquarantine","sku":"mug","location":1,"quantity":6,"reason":"damaged"}"#;
    move_it("m4", back).is_problem(409, "stock_short");
    let back =
        r#"{"type":"unquarantine","sku":"mug","location":1,"quantity":2,"reason":"damaged"}"#;
    assert_eq!(move_it("m5", back).status, 201);
    let out = r#"{"type":"transfer_out","sku":"mug","location":1,"to":2,"quantity":4}"#;
    assert_eq!(move_it("t1", out).status, 201);
    let into = r#"{"type":"transfer_in","transfer":"t1","sku":"mug","from":1,"quantity":4}"#;
    assert_eq!(move_it("m6", into).status, 201);
    move_it("m7", into).is_problem(404, "transfer_unknown");
    let stock = shop.get("/v1/stock/mug").json();
    assert_eq!((&stock["available"], &stock["unavailable"]), (&json!(9), &json!(3)));
    assert_eq!(stock["in_transit"], 0);
    let unknown = move_it("m8", r#"{"type":"recieve","sku":"mug"}"#);
    let detail = unknown.is_problem(400, "invalid_request")["detail"].to_string();
    assert!(detail.contains("did you mean \\\"receive\\\"?"), "{detail}");
    let missing = r#"{"type":"receive","sku":"cup","location":1,"quantity":1}"#;
    move_it("m9", missing).is_problem(404, "sku_unknown");
    shop.call("POST", "/v1/stock/movements", &[], adjust)
        .is_problem(400, "idempotency_key_missing");
}

/// A count below the promises breaks the newest first; every order says so, and the journal is
/// right.
#[test]
fn a_count_breaks_the_newest_promises() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let first = shop.buy("o1", "mug", 4).json()["order"].as_str().expect("an id").to_owned();
    let body = r#"{"lines":[{"sku":"mug","quantity":3}],"ttl_ms":60000}"#;
    let cart = shop.post("/v1/reservations", "r1", body).json();
    let cart = cart["order"].as_str().expect("an id").to_owned();
    let second = shop.buy("o2", "mug", 2).json()["order"].as_str().expect("an id").to_owned();
    let count = |key: &str, expected: u64, counted: u64| {
        let body = json!({"type":"count","sku":"mug","location":1,
                          "expected":expected,"counted":counted});
        shop.post("/v1/stock/movements", key, &body.to_string())
    };
    let stale = count("c1", 9, 5).is_problem(409, "stale_count");
    assert_eq!((&stale["asked"], &stale["found"]), (&json!(9), &json!(10)));
    let counted = count("c2", 10, 5);
    assert_eq!((counted.status, &counted.json()["type"]), (201, &json!("count")));
    assert_eq!(count("c2", 10, 5).body, counted.body);
    let stock = shop.get("/v1/stock/mug").json();
    let buckets = ["available", "reserved", "committed", "unavailable"].map(|b| stock[b].clone());
    assert_eq!(buckets, [json!(0), json!(0), json!(5), json!(0)]);
    let order = |order: &str| shop.get(&format!("/v1/orders/{order}")).json();
    assert_eq!(order(&first)["lines"][0]["committed"], 4);
    let second = order(&second);
    assert_eq!((&second["status"], &second["version"]), (&json!("placed"), &json!(2)));
    let line = &second["lines"][0];
    assert_eq!((&line["committed"], &line["short"]), (&json!(1), &json!(1)));
    assert_eq!(order(&cart)["status"], "cancelled");
    assert_eq!(order(&cart)["lines"][0]["short"], 3);
    let explained = shop.get(&format!("/v1/orders/{cart}/explain")).text();
    assert!(explained.contains("did not find 3 reserved units"), "{explained}");
    assert!(explained.contains("reservation.broken"), "{explained}");
    let events = shop.get("/v1/events?after=0").text();
    for word in ["stock.counted", "commitment.broken", "\"breaks\":[{\"order\":\"ord_"] {
        assert!(events.contains(word), "{word} in {events}");
    }
    let (dir, _) = shop.close();
    let options = onhand_verify::Options::default();
    onhand_verify::verify(dir.path(), options).expect("the journal is content");
}

#[test]
fn imports_put_many_cells_in() {
    let shop = Shop::open();
    shop.stock("mug", 0);
    shop.stock("cup", 0);
    let body = r#"{"lines":[{"sku":"mug","location":1,"quantity":7},
                            {"sku":"cup","location":2,"lot":9,"quantity":8}]}"#;
    let first = shop.post("/v1/stock/imports", "i1", body);
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.json()["lines"], 2);
    let again = shop.post("/v1/stock/imports", "i1", body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    assert_eq!((shop.available("mug"), shop.available("cup")), (7, 8));
    let several = shop.get("/v1/stock?sku=mug,cup").json();
    assert_eq!(several["data"][1]["available"], 8);
    shop.get("/v1/stock?sku=mug,nothing").is_problem(404, "sku_unknown");
    shop.get("/v1/stock").is_problem(400, "invalid_request");
    let none = r#"{"lines":[]}"#;
    shop.post("/v1/stock/imports", "i2", none).is_problem(400, "invalid_request");
}

#[test]
fn an_order_is_bought_read_shipped_and_explained() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let bought = shop.buy("o1", "mug", 3);
    assert_eq!(bought.status, 201, "{}", bought.text());
    let receipt = bought.json();
    assert_eq!(receipt["status"], "placed");
    assert_eq!(receipt["total"], json!({"amount":3000,"currency":"EUR"}));
    let order = receipt["order"].as_str().expect("an id").to_owned();
    let path = format!("/v1/orders/{order}");
    assert_eq!(bought.header("location"), Some(path.as_str()));
    assert!(bought.header("seq").is_some());

    let read = shop.get(&path);
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(read.json()["lines"][0]["committed"], 3);
    assert_eq!(read.json()["lines"][0]["cells"][0]["location"], 1);
    let tag = read.header("etag").expect("a tag").to_owned();
    assert_eq!(shop.call("GET", &path, &[("If-None-Match", &tag)], "").status, 304);

    let change =
        |verb: &str, key: &str, body: &str| shop.post(&format!("{path}/{verb}"), key, body);
    let stale = change("ship", "s0", r#"{"expected_version":99}"#);
    stale.is_problem(412, "stale_version");
    let part = change("ship", "s1", r#"{"lines":[{"line":0,"quantity":1}]}"#);
    assert_eq!(part.json()["status"], "placed", "{}", part.text());
    let over = change("cancel", "c0", r#"{"lines":[{"line":0,"quantity":3}]}"#);
    over.is_problem(409, "over_committed");
    let cancelled = change("cancel", "c1", r#"{"lines":[{"line":0,"quantity":1}],"reason":7}"#);
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    change("short", "h0", "").is_problem(400, "invalid_request");
    let short = change("short", "h1", r#"{"lines":[{"line":0,"quantity":1}]}"#);
    assert_eq!(short.json()["status"], "completed", "{}", short.text());
    change("ship", "s2", "").is_problem(409, "state_conflict");

    let explained = shop.get(&format!("{path}/explain")).json();
    assert_eq!(explained["complete"], true);
    let types: Vec<&str> = explained["decisions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|decision| decision["event"]["type"].as_str())
        .collect();
    assert_eq!(types, ["order.placed", "order.shipped", "order.cancelled", "order.short"]);
    let unknown = "/v1/orders/ord_00000000000000000000000001";
    shop.get(unknown).is_problem(404, "not_found");
    shop.get(&format!("{unknown}/explain")).is_problem(404, "not_found");
    shop.get("/v1/orders/17").is_problem(404, "not_found");
    shop.post(&format!("{unknown}/cancel"), "x", "").is_problem(404, "not_found");
}

#[test]
fn a_reservation_is_extended_placed_or_released() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let body = r#"{"customer":"ann","lines":[{"sku":"mug","quantity":2}],"ttl_ms":600000}"#;
    let reserve = |key: &str| shop.post("/v1/reservations", key, body);
    let first = reserve("r1");
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.json()["status"], "reserved");
    assert!(first.json()["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let order = first.json()["order"].as_str().expect("an id").to_owned();
    let extend = format!("/v1/reservations/{order}/extend");
    let extended = shop.post(&extend, "e1", r#"{"ttl_ms":700000}"#);
    assert_eq!(extended.status, 200, "{}", extended.text());
    assert_eq!(extended.json()["version"], 2);
    shop.post(&extend, "e2", r#"{"ttl_ms":0}"#).is_problem(400, "invalid_request");
    let place = format!("{{\"reservation\":\"{order}\",\"expected_total\":");
    let wrong = format!("{place}{{\"amount\":1,\"currency\":\"EUR\"}}}}");
    let changed = shop.post("/v1/orders", "p0", &wrong).is_problem(409, "price_changed");
    assert_eq!(changed["current_total"], 2000);
    let right = format!("{place}{{\"amount\":2000,\"currency\":\"EUR\"}}}}");
    let placed = shop.post("/v1/orders", "p1", &right);
    assert_eq!((placed.status, &placed.json()["status"]), (201, &json!("placed")));

    let second = reserve("r2").json()["order"].as_str().expect("an id").to_owned();
    let release = format!("/v1/reservations/{second}/release");
    let released = shop.post(&release, "x1", "");
    assert_eq!((released.status, &released.json()["status"]), (200, &json!("cancelled")));
    let gone = format!("{{\"reservation\":\"{second}\"}}");
    shop.post("/v1/orders", "p2", &gone).is_problem(410, "reservation_expired");
    assert_eq!(shop.available("mug"), 8);
    let cap = r#"{"lines":[{"sku":"mug","quantity":1}],"ttl_ms":5000,"hard_cap_ms":4000}"#;
    shop.post("/v1/reservations", "r3", cap).is_problem(400, "invalid_request");
}

#[test]
fn refusals_carry_the_facts_to_act_on() {
    let shop = Shop::open();
    shop.stock("mug", 3);
    shop.stock_limited("pass", 10, r#","limit":2"#);
    let sold_out = shop.buy("o1", "mug", 4).is_problem(409, "sold_out");
    assert_eq!(sold_out["sku"], "mug");
    assert_eq!(
        (&sold_out["asked"], &sold_out["found"], &sold_out["available"], &sold_out["line"]),
        (&json!(4), &json!(3), &json!(3), &json!(0))
    );
    assert_eq!(sold_out["retryable"], true);
    let limit = shop.buy("o2", "pass", 3).is_problem(409, "limit_reached");
    assert_eq!((&limit["found"], &limit["limit_left"]), (&json!(2), &json!(2)));
    let nobody = r#"{"lines":[{"sku":"pass","quantity":1}]}"#;
    shop.post("/v1/orders:buy", "o3", nobody).is_problem(400, "customer_required");
    let min = r#"{"lines":[{"sku":"mug","quantity":9}],"fill":{"min":5}}"#;
    shop.post("/v1/orders:buy", "o4", min).is_problem(409, "partial_only");
    let total = r#"{"lines":[{"sku":"mug","quantity":1}],
                    "expected_total":{"amount":1000,"currency":"USD"}}"#;
    shop.post("/v1/orders:buy", "o5", total).is_problem(400, "currency_mismatch");
    shop.buy("o6", "cup", 1).is_problem(404, "sku_unknown");
    let partial = r#"{"lines":[{"sku":"mug","quantity":9}],"fill":"partial"}"#;
    let part = shop.post("/v1/orders:buy", "o7", partial);
    assert_eq!((part.status, &part.json()["granted"]), (201, &json!([3])));
}

#[test]
fn a_batch_answers_each_item_by_itself() {
    let shop = Shop::open();
    shop.stock("mug", 3);
    let body = format!(
        "{{\"items\":[{{\"op\":\"buy\",\"key\":\"b1\",\"body\":{0}}},\
         {{\"op\":\"buy\",\"key\":\"b2\",\"body\":{{\"lines\":[{{\"sku\":\"mug\",\"quantity\":0}}]}}}},\
         {{\"op\":\"define\",\"key\":\"b3\",\"body\":{{\"sku\":\"cup\",\
           \"price\":{{\"amount\":1,\"currency\":\"EUR\"}}}}}},\
         {{\"op\":\"buy\",\"key\":\"b4\",\"body\":{0}}},\
         {{\"op\":\"receive\",\"key\":\"b5\",\"body\":{{\"sku\":\"mug\",\"location\":1,\
           \"quantity\":5}}}}]}}",
        buy_body("mug", 2)
    );
    let answer = shop.call("POST", "/v1/batch", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["items"].clone();
    let statuses: Vec<u64> =
        items.as_array().into_iter().flatten().filter_map(|item| item["status"].as_u64()).collect();
    assert_eq!(statuses, [201, 400, 200, 409, 201], "{items}");
    assert_eq!(items[1]["body"]["errors"][0]["pointer"], "/items/1/body/lines/0/quantity");
    assert_eq!(items[3]["body"]["code"], "sold_out");
    assert_eq!(items[3]["body"]["sku"], "mug");
    let order = items[0]["body"]["order"].as_str().expect("an id").to_owned();
    assert_eq!(shop.get(&format!("/v1/orders/{order}")).json()["lines"][0]["committed"], 2);

    let again = shop.call("POST", "/v1/batch", &[], &body).json();
    assert_eq!(again["items"][0]["replayed"], true);
    assert_eq!(again["items"][0]["body"], items[0]["body"]);
    let many = format!("{{\"items\":[{}]}}", vec!["{}"; 1_001].join(","));
    shop.call("POST", "/v1/batch", &[], &many).is_problem(400, "invalid_request");
    let odd = r#"{"items":[{"op":"by","key":"k","body":{}}]}"#;
    let detail = shop.call("POST", "/v1/batch", &[], odd).is_problem(400, "invalid_request");
    assert!(detail["detail"].to_string().contains("did you mean"), "{detail}");
    shop.call("POST", "/v1/batch", &[], r#"{"items":[]}"#).is_problem(400, "invalid_request");
}

#[test]
fn events_come_in_order_and_wait_for_the_next() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let first = shop.get("/v1/events?after=0&limit=1000").json();
    let next = first["next"].as_u64().expect("a position");
    let types: Vec<&str> =
        first["data"].as_array().into_iter().flatten().filter_map(|e| e["type"].as_str()).collect();
    assert!(types.ends_with(&["sku.defined", "stock.received"]), "{types:?}");
    let none = shop.get(&format!("/v1/events?after={next}")).json();
    assert_eq!(none["data"], json!([]));
    let mut waiting = shop.client();
    waiting.send("GET", &format!("/v1/events?after={next}&wait=30"), &[], "");
    let order = shop.buy("o1", "mug", 1).json()["order"].clone();
    let page = waiting.read(false).expect("an answer").json();
    assert_eq!(page["data"][0]["type"], "order.placed");
    assert_eq!(page["data"][0]["aggregate"], order);
    assert_eq!(page["data"][0]["lines"], json!([{"sku":"mug","quantity":1}]));
    let movement = &page["data"][0]["movements"][0];
    assert_eq!((&movement["from"], &movement["to"]), (&json!("available"), &json!("committed")));
    shop.get("/v1/events?after=-1").is_problem(400, "invalid_request");
    shop.get("/v1/events?afer=1").is_problem(400, "unknown_field");
}

#[test]
fn reads_reflect_at_least_the_position_asked() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let seq = shop.buy("o1", "mug", 1).header("seq").expect("a position").to_owned();
    let fresh = shop.call("GET", "/v1/stock/mug", &[("Min-Seq", &seq)], "");
    assert_eq!((fresh.status, &fresh.json()["available"]), (200, &json!(9)));
    let tag = fresh.header("etag").expect("a tag").to_owned();
    assert_eq!(shop.call("GET", "/v1/stock/mug", &[("If-None-Match", &tag)], "").status, 304);
    let far = [("Min-Seq", "999999999"), ("Prefer", "wait=0")];
    let late = shop.call("GET", "/v1/stock/mug", &far, "");
    late.is_problem(503, "lagging");
    assert!(late.header("retry-after").is_some());
    shop.call("GET", "/v1/stock/mug", &[("Min-Seq", "x")], "").is_problem(400, "invalid_request");
}

#[test]
fn the_level_of_acknowledgement_is_asked_and_answered() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    for level in ["memory", "group", "strict"] {
        let (key, prefer) = (format!("k-{level}"), format!("ack={level}"));
        let headers = [("Idempotency-Key", key.as_str()), ("Prefer", prefer.as_str())];
        let bought = shop.call("POST", "/v1/orders:buy", &headers, &buy_body("mug", 1));
        assert_eq!(bought.status, 201, "{}", bought.text());
        assert_eq!(bought.header("preference-applied"), Some(prefer.as_str()));
    }
    let headers = [("Idempotency-Key", "k"), ("Prefer", "ack=fast")];
    shop.call("POST", "/v1/orders:buy", &headers, &buy_body("mug", 1))
        .is_problem(400, "invalid_request");
}

#[test]
fn health_metrics_and_pages_are_served() {
    let shop = Shop::open();
    shop.stock("mug", 1);
    assert_eq!(shop.get("/livez").text(), "alive\n");
    assert_eq!(shop.get("/readyz").text(), "ready\n");
    let metrics = shop.get("/metrics");
    assert!(metrics.header("content-type").is_some_and(|t| t.contains("version=0.0.4")));
    let text = metrics.text();
    for name in [
        "onhand_http_requests_total{route=\"/v1/skus/{code}\",method=\"PUT\",code=\"200\"} 1",
        "onhand_http_connections",
        "onhand_journal_seq",
        "onhand_build_info",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(shop.get("/errors/sold_out").text().starts_with("sold_out"));
    shop.get("/errors/nothing").is_problem(404, "not_found");
    assert_eq!(shop.get("/").json()["name"], "onhand");
    assert_eq!(shop.get("/.well-known/onhand").json()["limits"]["lines_max"], 512);
    let head = shop.call("HEAD", "/livez", &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn unknown_paths_and_methods_say_what_there_is() {
    let shop = Shop::open();
    shop.get("/v1/nothing").is_problem(404, "not_found");
    let wrong = shop.call("DELETE", "/v1/skus/mug", &[], "");
    wrong.is_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, PUT"));
    let echoed = shop.call("GET", "/livez", &[("Request-Id", "mine-1")], "");
    assert_eq!(echoed.header("request-id"), Some("mine-1"));
    let odd = shop.call("GET", "/livez", &[("Request-Id", "no spaces")], "");
    assert!(odd.header("request-id").is_some_and(|id| id.starts_with("req_")));
}
