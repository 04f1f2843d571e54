//! HTTP/2 with prior knowledge: the same routes, many streams on one connection.

mod common;

use bytes::Bytes;
use common::{Shop, buy_body};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

#[test]
fn orders_are_bought_over_many_streams_of_one_connection() {
    const STREAMS: usize = 200;
    let shop = Shop::open();
    shop.stock("mug", 1_000);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let addr = shop.addr();
    let statuses = runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(addr).await.expect("the server listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        let buy = |number: usize| {
            let mut sender = sender.clone();
            async move {
                let request = Request::post(format!("http://{addr}/v1/orders:buy"))
                    .header("idempotency-key", format!("k{number}"))
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(buy_body("mug", 1))))
                    .expect("a request");
                let answer = sender.send_request(request).await.expect("an answer");
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.expect("a body").to_bytes();
                (status, body)
            }
        };
        let streams: Vec<_> = (0..STREAMS).map(|number| tokio::spawn(buy(number))).collect();
        let mut statuses = Vec::new();
        for stream in streams {
            let (status, body) = stream.await.expect("a stream");
            let receipt: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!(receipt["order"].is_string(), "{receipt}");
            statuses.push(status);
        }
        statuses
    });
    // The client is gone without a word; the drain must not wait for it.
    assert_eq!(statuses, vec![201; STREAMS]);
    assert_eq!(shop.available("mug"), 1_000 - STREAMS as u64);
    let (_dir, report) = shop.close();
    assert!(report.finished);
}
