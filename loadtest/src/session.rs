//! What happens before and after the load: putting stock in, asking again what stayed
//! unanswered, and reading the truth. One connection, one request at a time.

use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::feed::{StockLevel, read_page};
use crate::http::{Connection, Request};
use crate::ledger::{Ledger, Lost};
use crate::op::{Catalogue, Loss, Op, OpKind, Planned};
use crate::port::Port;
use crate::truth::{Checker, Unresolved};

/// Most lines of one import.
pub(crate) const IMPORT_LINES_MAX: usize = 1_000;
/// Events of one page.
const PAGE_EVENTS: usize = 1_000;
/// SKUs whose stock is asked at once.
const STOCK_SKUS: usize = 50;
/// How often a request of the session is sent before it is given up.
const TRIES_MAX: u32 = 20;
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time for asking again what stayed unanswered.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// How often stock and events are read again while reservations still expire between the two.
const ROUNDS_MAX: u32 = 10;

/// Price of the SKUs that a run defines, in minor units, with its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListPrice {
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// A SKU to be defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition<'a> {
    pub(crate) code: &'a str,
    pub(crate) price: &'a ListPrice,
    pub(crate) limit: Option<u32>,
    /// `sku` or `location`; empty for the host's default.
    pub(crate) placement: &'a str,
}

/// Units to put into one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StockLine {
    pub(crate) sku: u32,
    pub(crate) location: u32,
    pub(crate) quantity: u32,
}

/// A connection for everything but the load.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Sends a request until it has an answer that is not transient; 2xx gives its body.
    async fn call(&mut self, request: Request<'_>) -> Result<Vec<u8>, LoadError> {
        let what = format!("{} {}", request.method, request.path);
        let mut last = String::new();
        for attempt in 0..TRIES_MAX {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.connection.call(request).await {
                Ok(response) if (200..300).contains(&response.status) => {
                    return Ok(response.body.to_vec());
                }
                Ok(response) => {
                    let body = String::from_utf8_lossy(response.body);
                    let excerpt: String = body.chars().take(500).collect();
                    last = format!("status {} {excerpt}", response.status);
                    if response.status != 503 && response.status != 429 {
                        break;
                    }
                }
                // What can't be reached at all does not come up by itself within two seconds.
                Err(loss @ (Loss::Unreachable | Loss::Malformed)) => {
                    last = loss.name().to_owned();
                    if attempt > 2 {
                        break;
                    }
                }
                Err(loss) => loss.name().clone_into(&mut last),
            }
        }
        Err(LoadError::target(format!("{what} was not answered as it should be: {last}")))
    }

    /// Defines a SKU and returns the position of the definition.
    pub(crate) async fn define(&mut self, sku: &Definition<'_>) -> Result<u64, LoadError> {
        let mut body = serde_json::json!({
            "price": {"amount": sku.price.amount, "currency": sku.price.currency},
        });
        if let Some(limit) = sku.limit {
            body["limit"] = limit.into();
        }
        if !sku.placement.is_empty() {
            body["placement"] = sku.placement.into();
        }
        let path = format!("/v1/skus/{}", sku.code);
        let body = body.to_string();
        let answer = self.call(put(&path, body.as_bytes())).await?;
        read_seq(&answer, &path)
    }

    /// Returns whether the host knows a SKU.
    pub(crate) async fn knows(&mut self, code: &str) -> Result<bool, LoadError> {
        let path = format!("/v1/skus/{code}");
        match self.connection.call(get(&path)).await {
            Ok(response) => match response.status {
                200 => Ok(true),
                404 => Ok(false),
                status => Err(LoadError::target(format!("GET {path} answered {status}"))),
            },
            Err(loss) => Err(LoadError::target(format!(
                "the target can't be used: {}; is `onhand serve` running there?",
                loss.name()
            ))),
        }
    }

    /// Puts opening stock in, at most [`IMPORT_LINES_MAX`] lines, and returns its position.
    pub(crate) async fn import(
        &mut self,
        key: &str,
        lines: &[StockLine],
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        use std::fmt::Write as _;
        let mut body = String::from("{\"lines\":[");
        for (at, line) in lines.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a string can't fail.
            let _ = write!(
                body,
                "{comma}{{\"sku\":\"{}\",\"location\":{},\"quantity\":{}}}",
                catalogue.sku(line.sku).code,
                line.location,
                line.quantity
            );
        }
        body.push_str("]}");
        let path = "/v1/stock/imports";
        let answer = self.call(post(path, key, body.as_bytes())).await?;
        read_seq(&answer, path)
    }

    /// Reads the events after a position to the end of the feed and returns the next position.
    ///
    /// The feed must reach `until`, a position that a buyer was told.
    pub(crate) async fn events(
        &mut self,
        mut after: u64,
        until: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        let mut idle = 0;
        loop {
            // Only the wait for the last durable group is worth a long poll.
            let wait = u32::from(after < until);
            let path = format!("/v1/events?after={after}&limit={PAGE_EVENTS}&wait={wait}");
            let body = self.call(get(&path)).await?;
            let (events, next) = read_page(&body, catalogue)?;
            for event in &events {
                checker.observe(event);
            }
            if next > after {
                after = next;
                idle = 0;
            } else if after >= until || idle >= TRIES_MAX {
                break;
            } else {
                idle += 1;
            }
        }
        if after < until {
            return Err(LoadError::target(format!(
                "the events end at {after}, but a buyer was told of position {until}"
            )));
        }
        Ok(after)
    }

    /// Reads the events and the stock of every SKU until the two agree, and lets the checker judge.
    pub(crate) async fn truth(
        &mut self,
        after: u64,
        until: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        let mut next = self.events(after, until, checker, catalogue).await?;
        let skus: Vec<u32> = (0..catalogue.skus().len() as u32).collect();
        for chunk in skus.chunks(STOCK_SKUS) {
            let mut levels = self.stock(chunk, next, catalogue).await?;
            // A reservation may have expired between the two readings.
            for _ in 0..ROUNDS_MAX {
                let pairs = chunk.iter().zip(&levels);
                if pairs.clone().all(|(sku, level)| checker.agrees(*sku, level)) {
                    break;
                }
                next = self.events(next, next, checker, catalogue).await?;
                levels = self.stock(chunk, next, catalogue).await?;
            }
            for (sku, level) in chunk.iter().zip(&levels) {
                checker.stock(*sku, level);
            }
        }
        Ok(())
    }

    async fn stock(
        &mut self,
        skus: &[u32],
        min_seq: u64,
        catalogue: &Catalogue,
    ) -> Result<Vec<StockLevel>, LoadError> {
        #[derive(serde::Deserialize)]
        struct Row {
            sku: String,
            #[serde(flatten)]
            level: StockLevel,
        }
        #[derive(serde::Deserialize)]
        struct Rows {
            data: Vec<Row>,
        }
        let codes: Vec<_> = skus.iter().map(|sku| catalogue.sku(*sku).code.as_str()).collect();
        let path = format!("/v1/stock?sku={}", codes.join(","));
        let headers = format!("Min-Seq: {min_seq}\r\nPrefer: wait=5\r\n");
        let request = Request { headers: &headers, ..get(&path) };
        let body = self.call(request).await?;
        let rows: Rows = serde_json::from_slice(&body)
            .map_err(|e| LoadError::target(format!("stock is not as documented: {e}")))?;
        let levels = codes.iter().map(|code| {
            let row = rows.data.iter().find(|row| row.sku == *code);
            row.map(|row| row.level)
                .ok_or_else(|| LoadError::target(format!("the host names no stock of {code}")))
        });
        levels.collect()
    }
}

/// Asks again, with the same keys, what stayed unanswered; returns what stays unknown.
pub(crate) async fn settle(port: &mut Port, ledger: &mut Ledger) -> Result<Unresolved, LoadError> {
    let lost = std::mem::take(&mut ledger.lost);
    let mut unresolved = Unresolved { orders: ledger.lost_beyond, changes: ledger.lost_beyond };
    let started = Instant::now();
    for Lost { intent, op } in lost {
        let planned = Planned { intent, op, then: None };
        let mut answered = false;
        while started.elapsed() < SETTLE_MAX && !answered {
            let mut outcomes = Vec::with_capacity(1);
            port.exchange(&[&planned.op], &mut outcomes).await;
            for outcome in outcomes.iter().filter(|outcome| is_final(outcome)) {
                // Nothing is known about the position at the first sending.
                ledger.enter(&planned, outcome, 0)?;
                answered = true;
            }
            if !answered {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let unknown = u64::from(!answered);
        if makes_order(&planned.op) {
            unresolved.orders += unknown;
        } else {
            unresolved.changes += unknown;
        }
    }
    // Answers that made no sense even now.
    unresolved.orders += ledger.lost.len() as u64;
    unresolved.changes += ledger.lost.len() as u64;
    Ok(unresolved)
}

fn is_final(outcome: &crate::op::Outcome) -> bool {
    outcome
        .as_ref()
        .is_ok_and(|answer| answer.code != "idempotency_in_flight" && answer.status != 503)
}

fn makes_order(op: &Op) -> bool {
    matches!(op.kind, OpKind::Buy | OpKind::Reserve)
}

const fn get(path: &str) -> Request<'_> {
    Request { method: "GET", path, key: "", headers: "", body: b"" }
}

const fn put<'a>(path: &'a str, body: &'a [u8]) -> Request<'a> {
    Request { method: "PUT", path, key: "", headers: "", body }
}

const fn post<'a>(path: &'a str, key: &'a str, body: &'a [u8]) -> Request<'a> {
    Request { method: "POST", path, key, headers: "", body }
}

fn read_seq(body: &[u8], path: &str) -> Result<u64, LoadError> {
    #[derive(serde::Deserialize)]
    struct Wire {
        seq: u64,
    }
    let wire: Wire = serde_json::from_slice(body)
        .map_err(|e| LoadError::target(format!("answer to {path} is not as documented: {e}")))?;
    Ok(wire.seq)
}
