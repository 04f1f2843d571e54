//! Requests as the JSON of the contract, and answers from it.

use std::borrow::Cow;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ledger::bytes_hash;
use crate::op::{
    Answer, Catalogue, Loss, Op, OpKind, known_code, millis_from_text, order_from_text,
    order_to_text,
};

/// Returns the path of a request that is sent alone.
pub(crate) fn path(op: &Op, catalogue: &Catalogue) -> Cow<'static, str> {
    match op.kind {
        OpKind::Buy => Cow::Borrowed("/v1/orders:buy"),
        OpKind::Reserve => Cow::Borrowed("/v1/reservations"),
        OpKind::Place => Cow::Borrowed("/v1/orders"),
        OpKind::Release => {
            Cow::Owned(format!("/v1/reservations/{}/release", order_to_text(op.order)))
        }
        OpKind::Cancel => Cow::Owned(format!("/v1/orders/{}/cancel", order_to_text(op.order))),
        OpKind::Browse => {
            let sku = op.lines.first().map_or(0, |line| line.sku);
            Cow::Owned(format!("/v1/stock/{}", catalogue.sku(sku).code))
        }
        OpKind::Quote => Cow::Borrowed("/v1/quotes"),
        OpKind::Poll => Cow::Owned(format!("/v1/orders/{}", order_to_text(op.order))),
    }
}

/// Returns the method of a request that is sent alone.
pub(crate) const fn method(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Browse | OpKind::Poll => "GET",
        _ => "POST",
    }
}

/// Appends the body of a request that is sent alone.
pub(crate) fn write_body(out: &mut String, op: &Op, catalogue: &Catalogue) {
    match op.kind {
        OpKind::Buy | OpKind::Reserve | OpKind::Quote => {
            out.push('{');
            if !op.customer.is_empty() {
                out.push_str("\"customer\":");
                write_text(out, &op.customer);
                out.push(',');
            }
            out.push_str("\"lines\":[");
            for (at, line) in op.lines.iter().enumerate() {
                let before = if at == 0 { "{\"sku\":\"" } else { ",{\"sku\":\"" };
                out.push_str(before);
                out.push_str(&catalogue.sku(line.sku).code);
                out.push_str("\",\"quantity\":");
                push_number(out, line.quantity);
                if line.location != 0 {
                    out.push_str(",\"location\":");
                    push_number(out, line.location);
                }
                if let Some(price) = line.price {
                    out.push_str(",\"price\":{\"unit\":");
                    push_number(out, price.unit);
                    out.push_str(",\"discount\":");
                    push_number(out, price.discount);
                    out.push('}');
                }
                out.push('}');
            }
            out.push(']');
            if op.kind == OpKind::Reserve {
                out.push_str(",\"ttl_ms\":");
                push_number(out, op.ttl_ms);
            }
            out.push('}');
        }
        OpKind::Place => {
            out.push_str("{\"reservation\":\"");
            out.push_str(&order_to_text(op.order));
            out.push_str("\"}");
        }
        OpKind::Release | OpKind::Cancel => out.push_str("{}"),
        OpKind::Browse | OpKind::Poll => (),
    }
}

/// Appends a request as an item of `POST /v1/batch`.
pub(crate) fn write_item(out: &mut String, op: &Op, catalogue: &Catalogue) {
    out.push_str("{\"op\":\"");
    out.push_str(op.kind.name());
    out.push_str("\",\"key\":");
    write_text(out, &op.key);
    out.push_str(",\"body\":");
    if matches!(op.kind, OpKind::Release | OpKind::Cancel) {
        // An item has no path, so its order stands in the body.
        out.push_str("{\"order\":\"");
        out.push_str(&order_to_text(op.order));
        out.push_str("\"}");
    } else {
        write_body(out, op, catalogue);
    }
    out.push('}');
}

/// Appends a number.
pub(crate) fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn write_text(out: &mut String, text: &str) {
    let plain = |b: &u8| matches!(b, b' '..=b'~') && *b != b'"' && *b != b'\\';
    if text.as_bytes().iter().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A text that borrows from what it is read from; within an `Option` a plain `Cow` would not.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Default, Deserialize)]
struct BodyWire<'a> {
    #[serde(borrow, default)]
    order: Option<Text<'a>>,
    #[serde(borrow, default)]
    code: Option<Text<'a>>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    found: Option<i64>,
    #[serde(default)]
    total: Option<TotalWire>,
    #[serde(borrow, default)]
    expires_at: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TotalWire {
    #[serde(default)]
    amount: Option<i64>,
}

/// Facts of an answer that stand outside its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) status: u16,
    pub(crate) seq: Option<u64>,
    pub(crate) replayed: bool,
}

/// Reads an answer from its body. A refusal that is no problem of the contract, such as the page of
/// a gateway, is an answer all the same: its status tells what it is.
pub(crate) fn read_answer(envelope: Envelope, body: &[u8]) -> Result<Answer, Loss> {
    let success = (200..300).contains(&envelope.status);
    let wire = match serde_json::from_slice::<BodyWire<'_>>(body) {
        Ok(wire) => wire,
        Err(_) if success => return Err(Loss::Malformed),
        Err(_) => BodyWire::default(),
    };
    let order = match wire.order.as_deref().map(order_from_text) {
        Some(None) => return Err(Loss::Malformed),
        Some(order) => order,
        None => None,
    };
    let code = if success { "" } else { known_code(wire.code.as_deref().unwrap_or_default()) };
    Ok(Answer {
        status: envelope.status,
        code,
        order,
        seq: wire.seq.or(envelope.seq).unwrap_or(0),
        replayed: envelope.replayed,
        line: wire.line,
        found: wire.found.and_then(|found| u64::try_from(found).ok()),
        total: wire.total.and_then(|total| total.amount),
        deadline_ms: wire.expires_at.as_deref().and_then(millis_from_text).unwrap_or(0),
        body_hash: bytes_hash(body),
        done: Instant::now(),
    })
}

#[derive(Deserialize)]
struct BatchWire<'a> {
    #[serde(borrow)]
    items: Vec<ItemWire<'a>>,
    #[serde(default)]
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct ItemWire<'a> {
    status: u16,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(default)]
    replayed: bool,
}

/// Reads the answers of a batch of `count` items; a batch refused as a whole refuses each item.
pub(crate) fn read_batch(
    envelope: Envelope,
    body: &[u8],
    count: usize,
    out: &mut Vec<Result<Answer, Loss>>,
) {
    if envelope.status != 200 {
        let answer = read_answer(envelope, body);
        out.extend((0..count).map(|_| answer.clone()));
        return;
    }
    let batch = serde_json::from_slice::<BatchWire<'_>>(body);
    let Some(batch) = batch.ok().filter(|batch| batch.items.len() == count) else {
        out.extend((0..count).map(|_| Err(Loss::Malformed)));
        return;
    };
    let seq = batch.seq.or(envelope.seq);
    out.extend(batch.items.iter().map(|item| {
        let envelope = Envelope { status: item.status, seq, replayed: item.replayed };
        read_answer(envelope, item.body.get().as_bytes())
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{AskLine, Price, RunSku};

    fn basket() -> (Op, Catalogue) {
        let mut catalogue = Catalogue::default();
        for code in ["a", "b"] {
            catalogue.add(RunSku { code: code.into(), limit: None, price: 100, put_in: 0 });
        }
        let mut op = Op::follow_up(OpKind::Buy, "k\"1".into(), 1);
        op.customer = "c1".into();
        let price = Some(Price { unit: 199, discount: 20 });
        op.lines = vec![
            AskLine { sku: 1, quantity: 2, location: 7, price },
            AskLine { sku: 0, quantity: 1, location: 0, price: None },
        ];
        (op, catalogue)
    }

    /// A text without escapes is not copied.
    #[test]
    fn texts_are_borrowed() {
        let wire: BodyWire<'_> =
            serde_json::from_str(r#"{"code":"a","order":"b\u0063"}"#).expect("it is a body");
        let borrowed = |text: Option<Text<'_>>| matches!(text, Some(Text(Cow::Borrowed(_))));
        assert_eq!(wire.order.as_deref(), Some("bc"));
        assert_eq!((borrowed(wire.code), borrowed(wire.order)), (true, false));
    }

    /// Bodies are the contract's JSON, alone and as items of a batch.
    #[test]
    fn bodies_are_as_documented() {
        let (mut op, catalogue) = basket();
        let text = |op: &Op, write: fn(&mut String, &Op, &Catalogue)| {
            let mut out = String::new();
            write(&mut out, op, &catalogue);
            out
        };
        let lines = "\"lines\":[{\"sku\":\"b\",\"quantity\":2,\"location\":7,\
                     \"price\":{\"unit\":199,\"discount\":20}},{\"sku\":\"a\",\"quantity\":1}]";
        let body = format!("{{\"customer\":\"c1\",{lines}}}");
        assert_eq!(text(&op, write_body), body);
        let item = format!("{{\"op\":\"buy\",\"key\":\"k\\\"1\",\"body\":{body}}}");
        assert_eq!(text(&op, write_item), item);
        op.kind = OpKind::Reserve;
        op.ttl_ms = 500;
        op.customer = String::new();
        assert_eq!(text(&op, write_body), format!("{{{lines},\"ttl_ms\":500}}"));
        op.kind = OpKind::Place;
        let order = "ord_00000000000000000000000001";
        assert_eq!(text(&op, write_body), format!("{{\"reservation\":\"{order}\"}}"));
        op.kind = OpKind::Release;
        assert_eq!(path(&op, &catalogue), format!("/v1/reservations/{order}/release"));
        op.kind = OpKind::Cancel;
        assert_eq!(path(&op, &catalogue), format!("/v1/orders/{order}/cancel"));
        op.kind = OpKind::Browse;
        assert_eq!((path(&op, &catalogue).as_ref(), method(op.kind)), ("/v1/stock/b", "GET"));
    }

    /// Receipts and problems are read with their facts; anything else is malformed.
    #[test]
    fn answers_are_read() {
        let read = |status, body: &str| {
            read_answer(Envelope { status, seq: Some(5), replayed: false }, body.as_bytes())
        };
        let receipt = read(
            201,
            r#"{"order":"ord_00000000000000000000000003","status":"reserved","seq":9,
                "total":{"amount":1299,"currency":"EUR"},
                "expires_at":"1970-01-01T00:00:02.000Z"}"#,
        );
        assert!(receipt.is_ok_and(|a| {
            let facts = (a.order, a.total, a.deadline_ms, a.seq);
            facts == (Some(3), Some(1_299), 2_000, 9) && a.is_success()
        }));
        let problem = read(409, r#"{"code":"sold_out","status":409,"line":1,"asked":2,"found":0}"#);
        assert!(problem.is_ok_and(|a| {
            a.code == "sold_out" && a.line == Some(1) && a.found == Some(0) && a.seq == 5
        }));
        assert!(read(409, r#"{"code":"new_code"}"#).is_ok_and(|a| a.code == "other"));
        for (status, body) in [(201, "{"), (201, r#"{"order":"x"}"#)] {
            assert_eq!(read(status, body).err(), Some(Loss::Malformed), "{body}");
        }
        // A gateway does not speak the contract, and its status counts.
        for (status, body) in [(502, "<html>"), (500, "{}"), (404, "[]")] {
            let found = read(status, body).map(|answer| (answer.status, answer.code));
            assert_eq!(found, Ok((status, "other")), "{body}");
        }
    }

    /// A batch gives an answer for each item; one of another length is malformed as a whole.
    #[test]
    fn batches_are_read() {
        let body = br#"{"items":[{"status":201,"body":{"order":"ord_00000000000000000000000003"}},
            {"status":409,"body":{"code":"sold_out","seq":4}}],"seq":8}"#;
        let read = |count| {
            let mut out = Vec::new();
            let envelope = Envelope { status: 200, seq: None, replayed: false };
            read_batch(envelope, body, count, &mut out);
            out
        };
        let two = read(2);
        assert!(two[0].as_ref().is_ok_and(|a| a.order == Some(3) && a.seq == 8));
        assert!(two[1].as_ref().is_ok_and(|a| a.code == "sold_out" && a.seq == 4));
        assert!(read(3).iter().all(|a| a.as_ref().is_err_and(|loss| *loss == Loss::Malformed)));
    }
}
