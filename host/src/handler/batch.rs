//! Many commands in one request: independent, in order, each with its own key.

use http::StatusCode;
use hyper::body::Incoming;
use onhand_core::{Command, Key, Receipt, Reply as Answer};

use super::write::{head, in_flight, read_body, refused};
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
    op: Option<Op>,
    command: Result<Option<Decoded>, Problem>,
}

/// Carries out a batch.
pub(super) async fn batch(call: Call<'_>, body: Incoming) -> Result<Reply, Problem> {
    call.need_auth()?;
    call.query(&[])?;
    let preferences = request::preferences(call.headers())?;
    let body = read_body(call, body, call.ctx.config.batch_body_bytes_max).await?;
    let mut items = read(&tree::parse(&body)?)?;
    let commands = decided(call, &mut items, &body).await?;
    let answers = submit(call, commands, preferences).await?;
    let node = tree::parse(&body)?;
    let mut answers = answers.iter();
    let mut out = Writer::new();
    let mut seq = 0;
    out.open();
    out.list("items", items.iter().enumerate(), |out, (index, item)| {
        let answer = if item.command.is_ok() { answers.next() } else { None };
        seq = seq.max(answer.map_or(0, |answer| answer.seq));
        write_item(out, item, answer, item_body(&node, index));
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
    Ok(Item { op: Some(op), command })
}

/// Takes the commands out of their items, decided on; an item on which nothing can be decided
/// keeps its problem instead.
async fn decided(call: Call<'_>, items: &mut [Item], body: &[u8]) -> Result<Vec<Command>, Problem> {
    let taken: Vec<(usize, Decoded)> = items
        .iter_mut()
        .enumerate()
        .filter_map(|(at, item)| Some((at, item.command.as_mut().ok()?.take()?)))
        .collect();
    let (places, asked): (Vec<usize>, Vec<Decoded>) = taken.into_iter().unzip();
    let mut commands = Vec::with_capacity(asked.len());
    let mut refused = Vec::new();
    for (at, decided) in places.into_iter().zip(decide::all(call, asked).await) {
        match decided {
            Ok(command) => commands.push(command),
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
) -> Result<Vec<Answer>, Problem> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let ticket = call.ctx.engine.submit_batch(commands, preferences.ack);
    let ticket = ticket.map_err(|e| Problem::failed(&e))?;
    match tokio::time::timeout(call.ctx.config.request_timeout, ticket).await {
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

fn write_item(out: &mut Writer, item: &Item, answer: Option<&Answer>, body: Option<&Node<'_>>) {
    out.open();
    let problem = match (&item.command, answer) {
        (Err(problem), _) => Some(problem.clone()),
        (Ok(_), None) => Some(in_flight()),
        (Ok(_), Some(answer)) => refused(answer, body),
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
fn success(op: Option<Op>, receipt: &Receipt) -> u64 {
    match (receipt, op) {
        (Receipt::Change(_), Some(Op::Place)) => 201,
        (Receipt::Stock(_), Some(Op::Define)) | (Receipt::Change(_) | Receipt::Tick, _) => 200,
        (Receipt::Order(_) | Receipt::Stock(_) | Receipt::Policy(_), _) => 201,
    }
}
