//! Many commands in one request: independent, in order, each with its own key.
//!
//! What can be is decided on and submitted together. A basket of a SKU that an earlier item defines
//! must be priced with that definition, so that a batch is carried out in runs: each begins at such
//! a basket, once the run before it is done.

use std::collections::BTreeSet;
use std::ops::Range;

use http::StatusCode;
use hyper::body::Incoming;
use onhand_core::{Command, Key, Receipt, Reply as Answer, SkuId};
use tokio::time::Instant;

use super::write::{added_lines, head, in_flight, read_body, refused};
use super::{Call, Reply, decide, json};
use crate::problem::Problem;
use crate::request::{self, Preferences};
use crate::wire::ask;
use crate::wire::command::{Decoded, KEY_BYTES_MAX, OPS, Op, Target, decode, key_text};
use crate::wire::encode::{self, Writer};
use crate::wire::field::{self, Members, Place};
use crate::wire::json::{self as tree, Node};

/// Most items of one batch.
pub(crate) const ITEMS_MAX: usize = 1_000;

/// One item: its command, or why it is none.
struct Item {
    op: Op,
    command: Result<Option<Decoded>, Problem>,
    /// SKUs of the lines that policies have added behind those of its body.
    added: Vec<SkuId>,
}

/// Carries out a batch.
pub(super) async fn batch(call: Call<'_>, body: Incoming) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let preferences = request::preferences(call.headers())?;
    let body = read_body(call, body, call.ctx.config.batch_body_bytes_max).await?;
    let mut items = read(&tree::parse(&body)?)?;
    let until = Instant::now() + call.ctx.config.request_timeout;
    let mut answers = Vec::with_capacity(items.len());
    for run in runs(&items) {
        let done = carry_out(call, &mut items, run.clone(), &body, preferences, until).await;
        match done {
            Ok(more) => answers.extend(more),
            Err(problem) if run.start == 0 => return Err(problem),
            // What the runs before it did stands and is answered. A run behind it could be priced
            // without a definition that it counts on.
            Err(problem) => {
                fail(&mut items[run.clone()], &problem);
                fail(&mut items[run.end..], &not_begun());
                break;
            }
        }
    }
    // The rarer case, so the body is read again rather than kept as a tree.
    let any_refused = answers.iter().any(|answer| answer.outcome.is_err());
    let node = any_refused.then(|| tree::parse(&body)).transpose()?;
    let mut answers = answers.iter();
    let mut out = Writer::new();
    let mut seq = 0;
    out.open();
    out.list("items", items.iter().enumerate(), |out, (index, item)| {
        let answer = if item.command.is_ok() { answers.next() } else { None };
        seq = seq.max(answer.map_or(0, |answer| answer.seq));
        let body = node.as_ref().and_then(|node| item_body(node, index));
        write_item(out, call, item, answer, body);
    });
    out.number("seq", seq);
    out.close();
    let mut reply = json(StatusCode::OK, out);
    head(&mut reply, seq, false);
    Ok(reply)
}

fn read(node: &Node<'_>) -> Result<Vec<Item>, Problem> {
    let root = Place::Root;
    let members = Members::open(node, &root, &["items"])?;
    let at = members.at("items");
    let nodes = members.list("items", ITEMS_MAX)?;
    if nodes.is_empty() {
        return Err(at.invalid(format!("must have 1 to {ITEMS_MAX} entries, has none")));
    }
    // What is wrong with the shape of an item is wrong with the request: nothing is done.
    nodes.iter().enumerate().map(|(i, node)| read_item(node, &Place::Entry(&at, i))).collect()
}

fn read_item(node: &Node<'_>, place: &Place<'_>) -> Result<Item, Problem> {
    let members = Members::open(node, place, &["op", "key", "body"])?;
    let op = field::choice(members.need("op")?, &members.at("op"), OPS)?;
    let key: Key = key_text(members.text("key")?).map_err(|why| {
        members.at("key").invalid(format!("{why} (at most {KEY_BYTES_MAX} characters)"))
    })?;
    let body = members.need("body")?;
    let command = decode(op, key, Target::Body, body, &members.at("body")).map(Some);
    Ok(Item { op, command, added: Vec::new() })
}

/// Splits a batch where a basket names, or brings as a coupon, what an earlier item of the same run
/// defines.
fn runs(items: &[Item]) -> Vec<Range<usize>> {
    let mut runs = Vec::with_capacity(1);
    let mut first = 0;
    let mut defined = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let Ok(Some(Decoded { command, said })) = &item.command else { continue };
        let lines = match command {
            Command::DefineSku(define) => {
                defined.extend(SkuId::from_code(&define.code).map(SkuId::bits));
                continue;
            }
            Command::Buy(buy) => buy.lines.as_slice(),
            Command::Reserve(reserve) => reserve.lines.as_slice(),
            _ => continue,
        };
        let named = lines.iter().map(|line| line.sku.bits());
        if named.chain(said.shopper.coupons.iter().copied()).any(|sku| defined.contains(&sku)) {
            runs.push(first..at);
            first = at;
            defined.clear();
        }
    }
    runs.push(first..items.len());
    runs
}

/// Decides on a run and submits it.
async fn carry_out(
    call: Call<'_>,
    items: &mut [Item],
    run: Range<usize>,
    body: &[u8],
    preferences: Preferences,
    until: Instant,
) -> Result<Vec<Answer>, Problem> {
    // The first run begins at once: the batch has only just come in.
    if run.start > 0 && Instant::now() >= until {
        return Err(not_begun());
    }
    let commands = decided(call, items, run, body, until).await?;
    submit(call, commands, preferences, until).await
}

/// Makes the problem of an item that was not submitted because of what stands before it.
fn not_begun() -> Problem {
    Problem::new(
        "overloaded",
        "an earlier part of the batch did not come to its end; nothing of this item was submitted: \
         ask again with the same key",
    )
}

/// Leaves a problem with every item of a run that was to be submitted.
fn fail(items: &mut [Item], problem: &Problem) {
    for item in items.iter_mut().filter(|item| item.command.is_ok()) {
        item.command = Err(problem.clone());
    }
}

/// Takes the commands of a run out of their items, decided on; an item on which nothing can be
/// decided keeps its problem instead.
async fn decided(
    call: Call<'_>,
    items: &mut [Item],
    run: Range<usize>,
    body: &[u8],
    until: Instant,
) -> Result<Vec<Command>, Problem> {
    let taken: Vec<(usize, Decoded)> = items
        .iter_mut()
        .enumerate()
        .take(run.end)
        .skip(run.start)
        .filter_map(|(at, item)| Some((at, item.command.as_mut().ok()?.take()?)))
        .collect();
    let (places, asked): (Vec<usize>, Vec<Decoded>) = taken.into_iter().unzip();
    let mut commands = Vec::with_capacity(asked.len());
    let mut refused = Vec::new();
    for (at, decided) in places.into_iter().zip(decide::all(call, asked, until).await?) {
        match decided {
            Ok(command) => {
                items[at].added = added_lines(&command);
                commands.push(command);
            }
            Err(error) => refused.push((at, error)),
        }
    }
    if !refused.is_empty() {
        // The rarer case, so the body is read again, once, rather than kept as a tree.
        let node = tree::parse(body)?;
        for (at, error) in refused {
            items[at].command = Err(ask::refused(&error, item_body(&node, at)));
        }
    }
    Ok(commands)
}

async fn submit(
    call: Call<'_>,
    commands: Vec<Command>,
    preferences: Preferences,
    until: Instant,
) -> Result<Vec<Answer>, Problem> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let ticket = call.ctx.engine.submit_batch(commands, preferences.ack);
    let ticket = ticket.map_err(|e| Problem::failed(&e))?;
    match tokio::time::timeout_at(until, ticket).await {
        Ok(answers) => answers.map_err(|e| Problem::failed(&e)),
        Err(_) => Err(in_flight()),
    }
}

/// Returns the `body` of an item.
fn item_body<'n, 'a>(node: &'n Node<'a>, index: usize) -> Option<&'n Node<'a>> {
    let member = |node: &'n Node<'a>, name: &str| match node {
        Node::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, node)| node),
        _ => None,
    };
    match member(node, "items")? {
        Node::List(items) => member(items.get(index)?, "body"),
        _ => None,
    }
}

fn write_item(
    out: &mut Writer,
    call: Call<'_>,
    item: &Item,
    answer: Option<&Answer>,
    body: Option<&Node<'_>>,
) {
    out.open();
    let problem = match (&item.command, answer) {
        (Err(problem), _) => Some(problem.clone()),
        (Ok(_), None) => Some(in_flight()),
        (Ok(_), Some(answer)) => refused(call, answer, body, &item.added),
    };
    match (problem, answer.map(|answer| &answer.outcome)) {
        (None, Some(Ok(receipt))) => {
            out.number("status", success(item.op, receipt));
            if answer.is_some_and(|answer| answer.replayed) {
                out.flag("replayed", true);
            }
            out.body(|out| encode::receipt(out, receipt));
        }
        (problem, _) => {
            let problem = problem.unwrap_or_else(in_flight);
            out.number("status", u64::from(problem.status()));
            out.body(|out| problem.write(out, None));
        }
    }
    out.close();
}

/// Returns the status that the item's own route would answer with.
fn success(op: Op, receipt: &Receipt) -> u64 {
    match (receipt, op) {
        (Receipt::Change(_), Op::Place) => 201,
        (Receipt::Stock(_), Op::Define) | (Receipt::Change(_) | Receipt::Tick, _) => 200,
        (Receipt::Order(_) | Receipt::Stock(_) | Receipt::Policy(_), _) => 201,
    }
}
