//! Preparation and truth over HTTP: one connection, one request at a time.

use std::time::Duration;

use crate::error::LoadError;
use crate::feed::{FeedEvent, StockLevel, read_page};
use crate::http::{Connection, Request};
use crate::op::{Catalogue, Loss};
use crate::session::{Definition, StockLine};

/// Events of one page.
const PAGE_EVENTS: usize = 1_000;
/// How often a request is sent before it is given up.
const TRIES_MAX: u32 = 20;
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection for everything but the load.
#[derive(Debug)]
pub(crate) struct HttpSession {
    connection: Connection,
    /// Status of the last request that was refused for good; 0 for none.
    refused: u16,
}

impl HttpSession {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, refused: 0 }
    }

    /// Sends a request until it has an answer that is not transient; 2xx gives its body.
    async fn call(&mut self, request: Request<'_>) -> Result<Vec<u8>, LoadError> {
        let what = format!("{} {}", request.method, request.path);
        let mut last = String::new();
        self.refused = 0;
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
                        self.refused = response.status;
                        break;
                    }
                }
                // What can't be reached at all does not come up by itself within two seconds.
                Err(loss @ (Loss::Unreachable | Loss::Malformed)) => {
                    loss.name().clone_into(&mut last);
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
            Err(loss) => {
                let loss = loss.name();
                let why = self.connection.why().map_or(String::new(), |why| format!(" ({why})"));
                Err(LoadError::target(format!(
                    "the target can't be used: {loss}{why}; is `onhand serve` running there?"
                )))
            }
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

    /// Reads one page of events after a position; waits up to `wait` seconds for the first.
    pub(crate) async fn page(
        &mut self,
        after: u64,
        wait: u32,
        catalogue: &Catalogue,
    ) -> Result<(Vec<FeedEvent>, u64), LoadError> {
        let path = format!("/v1/events?after={after}&limit={PAGE_EVENTS}&wait={wait}");
        let body = self.call(get(&path)).await.map_err(|error| match self.refused {
            401 | 403 | 404 | 405 | 501 => {
                LoadError::no_feed(format!("the target serves no event feed: {error}"))
            }
            _ => error,
        })?;
        read_page(&body, catalogue)
    }

    /// Reads the stock of SKUs, as of a position or later.
    pub(crate) async fn stock(
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
