//! Malformed input: refused with a 4xx that says where, and nothing changes.

mod common;

use std::io::ErrorKind;

use common::{Client, Shop, buy_body};

/// Goal: no malformed body has an effect or an answer other than a 4xx problem that names the
/// place. Method: a table of bodies for `buy`; afterwards stock and journal are as before.
#[test]
fn malformed_bodies_are_refused_and_change_nothing() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let before = shop.engine.durable_seq();
    let deep = "[".repeat(60_000);
    let line = |line: &str| format!("{{\"lines\":[{line}]}}").into_bytes();
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"{".to_vec(), "invalid_request", "EOF"),
        (b"[]".to_vec(), "invalid_request", "must be an object"),
        (b"null".to_vec(), "invalid_request", "must be an object, is null"),
        (b"\xEF\xBB\xBF{}".to_vec(), "invalid_request", "byte order mark"),
        (b"{\"customer\":\"\xFF\"}".to_vec(), "invalid_request", "not UTF-8"),
        (b"{\"customer\":\"\xED\xA0\x80\"}".to_vec(), "invalid_request", "not UTF-8"),
        (br#"{"customer":"\ud800"}"#.to_vec(), "invalid_request", "hex escape"),
        (b"{}{}".to_vec(), "invalid_request", "trailing characters"),
        (b"{}\0".to_vec(), "invalid_request", "trailing characters"),
        (b"{'lines':[]}".to_vec(), "invalid_request", "key must be a string"),
        (b"{\"lines\":[],}".to_vec(), "invalid_request", "trailing comma"),
        (b"// {}".to_vec(), "invalid_request", "line 1 column 1"),
        (deep.into_bytes(), "invalid_request", "nested deeper"),
        (br#"{"lines":[],"lines":[]}"#.to_vec(), "invalid_request", "occurs twice"),
        (b"{}".to_vec(), "invalid_request", "/lines: is required"),
        (br#"{"lines":null}"#.to_vec(), "invalid_request", "/lines: is required"),
        (br#"{"lines":{}}"#.to_vec(), "invalid_request", "/lines: must be a list"),
        (br#"{"lines":[]}"#.to_vec(), "invalid_request", "1 to 512 entries"),
        (br#"{"line":[]}"#.to_vec(), "unknown_field", "did you mean \"lines\"?"),
        (line("7"), "invalid_request", "/lines/0: must be an object, is 7"),
        (line(r#"{"sku":"mug"}"#), "invalid_request", "/lines/0/quantity: is required"),
        (line(r#"{"sku":"mug","qty":1}"#), "unknown_field", "/lines/0/qty"),
        (line(r#"{"sku":"mug","quantity":0}"#), "invalid_request", "1 to 1000000000, is 0"),
        (line(r#"{"sku":"mug","quantity":-1}"#), "invalid_request", "is -1"),
        (line(r#"{"sku":"mug","quantity":1.0}"#), "invalid_request", "not an integer"),
        (line(r#"{"sku":"mug","quantity":1e3}"#), "invalid_request", "not an integer"),
        (line(r#"{"sku":"mug","quantity":1e999}"#), "invalid_request", "out of range"),
        (line(r#"{"sku":"mug","quantity":NaN}"#), "invalid_request", "expected value"),
        (line(r#"{"sku":"mug","quantity":"1"}"#), "invalid_request", "is \"1\""),
        (line(r#"{"sku":"mug","quantity":true}"#), "invalid_request", "is true"),
        (line(r#"{"sku":"mug","quantity":1000000001}"#), "invalid_request", "is 1000000001"),
        (line(r#"{"sku":"mug","quantity":4294967297}"#), "invalid_request", "is 4294967297"),
        (
            line(r#"{"sku":"mug","quantity":9223372036854775808}"#),
            "invalid_request",
            "is 9223372036854775808",
        ),
        (
            line(r#"{"sku":"mug","quantity":99999999999999999999}"#),
            "invalid_request",
            "not an integer of 64 bits",
        ),
        (line(r#"{"sku":"","quantity":1}"#), "invalid_request", "/lines/0/sku"),
        (line(r#"{"sku":"a b","quantity":1}"#), "invalid_request", "not a SKU code"),
        (line(r#"{"sku":"müg","quantity":1}"#), "invalid_request", "not a SKU code"),
        (line("{\"sku\":\"mug\u{200b}\",\"quantity\":1}"), "invalid_request", "\\u{200b}"),
        (line(r#"{"sku":17,"quantity":1}"#), "invalid_request", "must be a string, is 17"),
        (line(r#"{"sku":"mug","quantity":1,"location":0}"#), "invalid_request", "/location"),
        (
            line(r#"{"sku":"mug","quantity":1,"price":{"unit":-5}}"#),
            "invalid_request",
            "/lines/0/price/unit",
        ),
        (
            line(r#"{"sku":"mug","quantity":1,"price":{"unit":9007199254740992}}"#),
            "invalid_request",
            "to 9007199254740991",
        ),
        (br#"{"customer":"","lines":[]}"#.to_vec(), "invalid_request", "/customer"),
        (br#"{"customer":7,"lines":[]}"#.to_vec(), "invalid_request", "/customer"),
    ];
    let mut client = shop.client();
    for (index, (body, code, detail)) in cases.iter().enumerate() {
        let head = format!(
            "POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
             Idempotency-Key: bad-{index}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send_raw(&[head.as_bytes(), body].concat());
        let answer = client.read(false).expect("an answer");
        let problem = answer.is_problem(400, code);
        let said = problem["detail"].as_str().unwrap_or("");
        assert!(said.contains(detail), "{said:?} lacks {detail:?}");
        assert!(said.len() < 400, "the answer repeats too much: {said}");
    }
    assert_eq!(shop.available("mug"), 10);
    assert_eq!(shop.engine.durable_seq(), before);
    assert_eq!(shop.buy("bad-0", "mug", 1).status, 201, "a refused request leaves its key free");
}

#[test]
fn amounts_that_overflow_are_refused_and_change_nothing() {
    let shop = Shop::open();
    let price = r#"{"price":{"amount":9007199254740991,"currency":"EUR"}}"#;
    assert_eq!(shop.call("PUT", "/v1/skus/gold", &[], price).status, 200);
    let stock = r#"{"type":"receive","sku":"gold","location":1,"quantity":1000}"#;
    assert_eq!(shop.post("/v1/stock/movements", "s", stock).status, 201);
    shop.buy("o1", "gold", 2).is_problem(400, "amount_invalid");
    let discount = r#"{"lines":[{"sku":"gold","quantity":1,"price":{"unit":5,"discount":6}}]}"#;
    shop.post("/v1/orders:buy", "o2", discount).is_problem(400, "amount_invalid");
    let lines = vec![r#"{"sku":"gold","quantity":1000000000}"#; 512].join(",");
    let many = format!("{{\"lines\":[{lines}]}}");
    let answer = shop.post("/v1/orders:buy", "o3", &many);
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    assert_eq!(shop.available("gold"), 1000);
}

#[test]
fn media_types_and_keys_are_checked_before_the_body() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let body = buy_body("mug", 1);
    let call = |headers: &[(&str, &str)]| shop.call("POST", "/v1/orders:buy", headers, &body);
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/json;charset=x"] {
        let answer = call(&[("Idempotency-Key", "k"), ("Content-Type", media)]);
        answer.is_problem(415, "unsupported_media");
    }
    let gzip = [("Idempotency-Key", "k"), ("Content-Encoding", "gzip")];
    call(&gzip).is_problem(415, "unsupported_media");
    call(&[]).is_problem(400, "idempotency_key_missing");
    let long = "k".repeat(256);
    for key in ["", "\"\"", long.as_str(), "a b"] {
        call(&[("Idempotency-Key", key)]).is_problem(400, "invalid_request");
    }
    call(&[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]).is_problem(400, "invalid_request");
    assert_eq!(shop.available("mug"), 10);
    let query = shop.post("/v1/orders:buy?dry_run=1", "k", &body);
    query.is_problem(400, "unknown_field");
    assert_eq!(shop.available("mug"), 10);
}

/// Goal: a length or an end that is in doubt never lets a second request in behind the first.
/// Method: raw heads; each connection must end after at most one answer that is no success.
#[test]
fn framing_in_doubt_closes_the_connection() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let hidden = "GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";
    let start = "POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
                 Idempotency-Key: smuggle\r\n";
    let cases = [
        format!("{start}Content-Length: +2\r\n\r\n{{}}{hidden}"),
        format!("{start}Content-Length: -2\r\n\r\n{{}}{hidden}"),
        format!("{start}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}{hidden}"),
        format!("{start}Content-Length: 2, 3\r\n\r\n{{}}{hidden}"),
        format!("{start}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{start}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\n\r\nzz\r\n{hidden}"),
        format!("{start}X: a\r\n folded\r\nContent-Length: 2\r\n\r\n{{}}{hidden}"),
        format!("{start}Content-Length : 2\r\n\r\n{{}}{hidden}"),
        format!("GET /livez HTTP/1.1\r\nHost: t\r\nBad Header: x\r\n\r\n{hidden}"),
        format!("GET /livez HTTP/3.1\r\nHost: t\r\n\r\n{hidden}"),
        format!("\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}{hidden}"),
    ];
    for case in &cases {
        let mut client = shop.client();
        let _ = client.try_send_raw(case.as_bytes());
        if let Some(answer) = client.read(false) {
            assert!((400..500).contains(&answer.status), "{case:?}: {}", answer.status);
        }
        assert!(client.is_closed(), "a second request was let in behind {case:?}");
    }
    assert_eq!(shop.available("mug"), 10);
    assert_eq!(shop.get("/livez").status, 200);
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let shop = Shop::open();
    let status = |request: String| {
        let mut client = shop.client();
        let _ = client.try_send_raw(request.as_bytes());
        client.read(false).map(|answer| answer.status)
    };
    let many = "X-A: b\r\n".repeat(150);
    assert_eq!(status(format!("GET /livez HTTP/1.1\r\nHost: t\r\n{many}\r\n")), Some(431));
    let long = "x".repeat(80_000);
    assert_eq!(status(format!("GET /livez HTTP/1.1\r\nHost: t\r\nX-A: {long}\r\n\r\n")), Some(431));
    let path = format!("/v1/skus/{}", "x".repeat(9_000));
    shop.get(&path).is_problem(414, "uri_too_long");
    let path = format!("/v1/stock?sku={}", "x".repeat(9_000));
    shop.get(&path).is_problem(414, "uri_too_long");
    assert_eq!(shop.get("/livez").status, 200);
}

#[test]
fn bodies_that_are_too_long_are_refused_before_they_are_read() {
    let shop = Shop::open();
    shop.stock("mug", 10);
    let announced = |length: &str| {
        let mut client = shop.client();
        let head = format!(
            "POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
        );
        client.send_raw(head.as_bytes());
        let answer = client.read(false).expect("an answer before the body is there");
        (answer, client)
    };
    for length in ["65537", "1073741824", "9223372036854775807"] {
        let (answer, mut client) = announced(length);
        answer.is_problem(413, "too_large");
        assert!(client.is_closed());
    }
    // A body without a length is cut at the limit.
    let mut client = shop.client();
    client.send_raw(
        b"POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k\r\n\
          Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..17 {
        if client.try_send_raw(chunk.as_bytes()).is_err() {
            break;
        }
    }
    client.read(false).expect("an answer").is_problem(413, "too_large");
    assert!(client.is_closed());
    let padded = format!("{}{}", buy_body("mug", 1), " ".repeat(65_536 - buy_body("mug", 1).len()));
    assert_eq!(shop.post("/v1/orders:buy", "k", &padded).status, 201, "64 KiB exactly is allowed");
    assert_eq!(shop.available("mug"), 9);
}

#[test]
fn slow_clients_are_cut() {
    let shop = Shop::with(|config| {
        config.open_writes = true;
        config.header_timeout = std::time::Duration::from_millis(300);
        config.body_timeout = std::time::Duration::from_millis(300);
    });
    let mut silent = shop.client();
    let mut half_head = shop.client();
    half_head.send_raw(b"GET /livez HTTP/1.1\r\nHo");
    let mut half_body = shop.client();
    half_body.send_raw(
        b"POST /v1/orders:buy HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k\r\n\
          Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    half_body.read(false).expect("an answer").is_problem(408, "request_timeout");
    assert!(half_body.is_closed());
    assert!(silent.is_closed());
    // What hyper says to half a head, if anything, is its own; the connection must end.
    while half_head.read(false).is_some() {}
    let mut idle = shop.client();
    assert_eq!(idle.call("GET", "/livez", &[], "").status, 200);
    assert!(idle.is_closed(), "an idle connection is closed as well");
}

/// Who asks and does not read has its connection closed: answers don't wait for it without end.
#[test]
fn a_client_that_does_not_read_is_cut() {
    let shop = Shop::with(|config| {
        config.open_writes = true;
        config.write_timeout = std::time::Duration::from_millis(300);
    });
    let mut deaf = shop.client();
    // Many more bytes of answers than the buffers between the two hold; a write fails once the
    // server has closed.
    let ask = b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100);
    let error = (0..100_000).find_map(|_| deaf.try_send_raw(&ask).err());
    let kind = error.map(|error| error.kind());
    let closed = [Some(ErrorKind::BrokenPipe), Some(ErrorKind::ConnectionReset)];
    assert!(closed.contains(&kind), "the connection stays open though nobody reads: {kind:?}");
    assert_eq!(shop.client().call("GET", "/livez", &[], "").status, 200);
}

#[test]
fn a_connection_too_many_is_told_so() {
    let shop = Shop::with(|config| {
        config.open_writes = true;
        config.connections_max = 3;
    });
    let mut held: Vec<Client> = (0..3).map(|_| shop.client()).collect();
    for client in &mut held {
        assert_eq!(client.call("GET", "/livez", &[], "").status, 200);
    }
    let refused = shop.client().read(false).expect("an answer");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"too_many_connections".into()));
    assert_eq!(held[0].call("GET", "/livez", &[], "").status, 200);
    drop(held);
    // The places come free when the server has seen the ends.
    loop {
        let mut client = shop.client();
        client.send("GET", "/livez", &[], "");
        if client.read(false).is_some_and(|answer| answer.status == 200) {
            break;
        }
    }
}
