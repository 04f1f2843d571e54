//! Routes that change something: one command a request.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use hyper::body::{Bytes, Incoming};
use onhand_core::{Command, Key, OrderId, Receipt, Reply as Answer, SkuId};

use super::{Call, Reply, decide, json};
use crate::problem::Problem;
use crate::request::{self, IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED, Preferences, SEQ, ack_name};
use crate::router::Route;
use crate::wire::command::{self, Decoded, Op, Target, line_count, sku_of_line};
use crate::wire::encode::{self, Writer};
use crate::wire::field::Place;
use crate::wire::json::{self as tree, Node};

/// Carries out a write.
pub(super) async fn write(
    call: Call<'_>,
    route: Route<'_>,
    body: Incoming,
) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let config = &call.ctx.config;
    let key = match route {
        // A PUT is idempotent by itself: its key is optional.
        Route::SkuDefine(_) => request::idempotency_key(call.headers())?
            .unwrap_or_else(|| Key::new(call.ctx.fresh_bits())),
        _ => request::need_key(call.headers())?,
    };
    let preferences = request::preferences(call.headers())?;
    let import = matches!(route, Route::Import);
    let bytes_max = if import { config.batch_body_bytes_max } else { config.body_bytes_max };
    let body = read_body(call, body, bytes_max).await?;
    if import {
        return import_stock(call, key, &body).await;
    }
    let mut movement = None;
    let decoded = decode(&route, key, &body, &mut movement)?;
    let command = decide::decided(call, decoded, &body).await?;
    let added = added_lines(&command);
    let answer = submit(call, command, preferences).await?;
    if answer.outcome.is_err() {
        // Refusals are the rarer case, so the body is read again rather than kept as a tree.
        let node = tree::parse(&body).ok();
        return Err(refused(call, &answer, node.as_ref(), &added).unwrap_or_else(in_flight));
    }
    reply(&route, &answer, preferences, movement)
}

/// Reads a JSON body; an empty one stands for an empty object.
pub(super) async fn read_body(
    call: Call<'_>,
    body: Incoming,
    bytes_max: usize,
) -> Result<Bytes, Problem> {
    let body = request::body(body, bytes_max, call.ctx.config.body_timeout).await?;
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    request::need_json(call.headers())?;
    Ok(body)
}

fn order_of(text: &str) -> Result<Target<'static>, Problem> {
    path_order(text).map(Target::Order)
}

/// Reads an order id of the path; what is no id names no order.
pub(super) fn path_order(text: &str) -> Result<OrderId, Problem> {
    command::order_id(text).map_err(|detail| Problem::new("not_found", detail))
}

fn decode(
    route: &Route<'_>,
    key: Key,
    body: &[u8],
    movement: &mut Option<&'static str>,
) -> Result<Decoded, Problem> {
    let node = tree::parse(body)?;
    let read = |op, target| command::decode(op, key, target, &node, &Place::Root);
    match route {
        Route::Buy => read(Op::Buy, Target::Body),
        Route::Reserve => read(Op::Reserve, Target::Body),
        Route::Place => read(Op::Place, Target::Body),
        Route::Extend(id) => read(Op::Extend, order_of(id)?),
        Route::Release(id) => read(Op::Release, order_of(id)?),
        Route::Cancel(id) => read(Op::Cancel, order_of(id)?),
        Route::Ship(id) => read(Op::Ship, order_of(id)?),
        Route::Short(id) => read(Op::Short, order_of(id)?),
        Route::Risk(id) => read(Op::Risk, order_of(id)?),
        Route::SkuDefine(code) => {
            command::sku_id(code).map_err(Problem::invalid)?;
            read(Op::Define, Target::Sku(code))
        }
        Route::Movement => {
            let (command, name) = command::movement(key, &node)?;
            *movement = Some(name);
            Ok(command.into())
        }
        _ => Err(Problem::new("internal", "route does not write")),
    }
}

/// Hands a command to the engine and waits for its answer.
async fn submit(
    call: Call<'_>,
    command: Command,
    preferences: Preferences,
) -> Result<Answer, Problem> {
    let ticket = call.ctx.engine.submit_with(command, preferences.ack);
    let ticket = ticket.map_err(|e| Problem::failed(&e))?;
    match tokio::time::timeout(call.ctx.config.request_timeout, ticket).await {
        Ok(answer) => answer.map_err(|e| Problem::failed(&e)),
        Err(_) => Err(in_flight()),
    }
}

/// Makes the problem of a command whose outcome is not known in time.
pub(super) fn in_flight() -> Problem {
    Problem::new(
        "idempotency_in_flight",
        "the request was accepted and is still being carried out; ask again with the same key",
    )
}

/// Returns the SKUs of the lines that policies have added to a basket, which no body names.
pub(super) fn added_lines(command: &Command) -> Vec<SkuId> {
    let (lines, decided) = match command {
        Command::Buy(buy) => (&buy.lines, &buy.decided),
        Command::Reserve(reserve) => (&reserve.lines, &reserve.decided),
        _ => return Vec::new(),
    };
    let added = decided.as_ref().map_or(0, |decided| usize::from(decided.added));
    let own = lines.as_slice().len().saturating_sub(added);
    lines.as_slice().iter().skip(own).map(|line| line.sku).collect()
}

/// Writes a refusal's problem, with the SKU that its line named: of the body, or of the lines
/// behind them that policies have `added`.
pub(super) fn refused(
    call: Call<'_>,
    answer: &Answer,
    node: Option<&Node<'_>>,
    added: &[SkuId],
) -> Option<Problem> {
    let refusal = answer.outcome.as_ref().err()?;
    let sku = match node.and_then(|node| sku_of_line(node, refusal.line)) {
        Some(code) => Some(code.to_owned()),
        None if added.is_empty() => None,
        None => {
            let behind = usize::from(refusal.line).checked_sub(node.map_or(0, line_count));
            let sku = behind.and_then(|at| added.get(at));
            sku.map(|sku| encode::code(&call.ctx.engine, *sku))
        }
    };
    Some(Problem::refused(*refusal, sku, answer.seq))
}

fn reply(
    route: &Route<'_>,
    answer: &Answer,
    preferences: Preferences,
    movement: Option<&'static str>,
) -> Result<Reply, Problem> {
    let Ok(receipt) = &answer.outcome else { return Err(in_flight()) };
    let mut out = Writer::new();
    match (receipt, route) {
        (Receipt::Stock(receipt), Route::SkuDefine(code)) => {
            out.open();
            out.text("sku", code);
            out.number("version", u64::from(receipt.version));
            out.number("seq", receipt.seq);
            out.close();
        }
        (Receipt::Stock(receipt), _) => {
            out.open();
            out.text("type", movement.unwrap_or_default());
            out.number("seq", receipt.seq);
            out.close();
        }
        (receipt, _) => encode::receipt(&mut out, receipt),
    }
    let mut reply = json(created(route), out);
    if let Receipt::Order(receipt) = receipt
        && let Ok(value) = HeaderValue::from_str(&format!("/v1/orders/{}", receipt.order))
    {
        reply.headers_mut().insert(LOCATION, value);
    }
    head(&mut reply, answer.seq, answer.replayed);
    if preferences.ack_asked {
        let applied = HeaderValue::from_static(ack_name(answer.ack));
        reply.headers_mut().insert(PREFERENCE_APPLIED.clone(), applied);
    }
    Ok(reply)
}

fn created(route: &Route<'_>) -> StatusCode {
    match route {
        Route::Buy | Route::Reserve | Route::Place | Route::Movement => StatusCode::CREATED,
        _ => StatusCode::OK,
    }
}

/// Writes what differs between a first reply and a repeated one: headers, never the body.
pub(super) fn head(reply: &mut Reply, seq: u64, replayed: bool) {
    reply.headers_mut().insert(SEQ.clone(), HeaderValue::from(seq));
    if replayed {
        let yes = HeaderValue::from_static("true");
        reply.headers_mut().insert(IDEMPOTENCY_REPLAYED.clone(), yes);
    }
}

async fn import_stock(call: Call<'_>, key: Key, body: &[u8]) -> Result<Reply, Problem> {
    let node = tree::parse(body)?;
    let lines = command::import(&node)?;
    let count = lines.len() as u64;
    let answers = call.ctx.blocking(move |engine| engine.import(key, lines)).await?;
    let answers = answers.map_err(|e| Problem::failed(&e))?;
    // The engine splits an import by shard; each part is whole or refused, and a part that was
    // carried out is found again by its key, so the same request can simply be repeated.
    if let Some(problem) = answers.iter().find_map(|answer| refused(call, answer, Some(&node), &[]))
    {
        return Err(problem);
    }
    let first = answers.iter().filter_map(|answer| match &answer.outcome {
        Ok(Receipt::Stock(receipt)) => Some(receipt.seq),
        _ => None,
    });
    let mut out = Writer::new();
    out.open();
    out.number("lines", count);
    out.number("seq", first.max().unwrap_or(0));
    out.close();
    let mut reply = json(StatusCode::CREATED, out);
    let seq = answers.iter().map(|answer| answer.seq).max().unwrap_or(0);
    head(&mut reply, seq, answers.iter().all(|answer| answer.replayed));
    Ok(reply)
}
