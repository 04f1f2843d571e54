//! Peers: shops of the same rules in Redis and in `PostgreSQL`, under the same crowd and the same
//! truth.
//!
//! Each is written as its community would: in Redis one script a request, in `PostgreSQL` one
//! transaction that locks the rows of its SKUs. Both sync to disk before they answer. Their order
//! tables bear positions, so the checks read them as they read Onhand's events.

mod postgres;
mod redis;
mod server;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::feed::{Bucket, EventKind, FeedEvent, Movement, StockLevel};
use crate::ledger::bytes_hash;
use crate::load::AckLevel;
use crate::op::{Answer, Catalogue, Loss, Op, Outcome};
use crate::scenario::{Flow, Scenario, StageArrivals};
use crate::session::{Definition, StockLine};

pub use server::PeerServer;

use postgres::Postgres;
use redis::Redis;
use socket::Socket;

/// Most rounds of ending reservations before a page is read.
const SWEEPS_MAX: u32 = 10_000;

/// Longest time that ending the reservations that are due may take: a server that has stalled must
/// not hold the end of a run up.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(30);

/// A shop that is no Onhand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// Redis with a Lua script.
    Redis,
    /// `PostgreSQL` with a transaction for each request.
    Postgres,
}

impl PeerKind {
    /// Every peer, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Postgres];

    /// Returns the name that commands and records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
        }
    }

    /// Returns the settings that make its answers durable.
    pub const fn ack(self) -> &'static str {
        match self {
            Self::Redis => "appendfsync always",
            Self::Postgres => "synchronous_commit on, fsync on",
        }
    }

    /// Returns the Debian package of its server.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Postgres => "postgresql",
        }
    }
}

/// The way to a peer that was started.
#[derive(Clone, Debug)]
pub struct Peer {
    kind: PeerKind,
    socket: PathBuf,
}

impl Peer {
    /// Returns what kind of shop it is.
    pub const fn kind(&self) -> PeerKind {
        self.kind
    }

    fn shop(&self) -> Shop {
        let socket = Socket::new(&self.socket);
        match self.kind {
            PeerKind::Redis => Shop::Redis(Redis::new(socket)),
            PeerKind::Postgres => Shop::Postgres(Postgres::new(socket)),
        }
    }

    pub(crate) fn port(&self, catalogue: &Arc<Catalogue>, timeout: Duration) -> PeerPort {
        PeerPort { shop: self.shop(), catalogue: Arc::clone(catalogue), timeout }
    }

    pub(crate) fn session(&self) -> PeerSession {
        PeerSession { shop: self.shop() }
    }
}

/// Checks that a scenario asks nothing that a peer does not serve.
///
/// # Errors
///
/// Returns a usage error that names it.
pub fn check(kind: PeerKind, scenario: &Scenario) -> Result<(), LoadError> {
    let quotes = |actor: &crate::scenario::Actor| actor.flow.contains(&Flow::Quote);
    let by_rate = |stage: &crate::scenario::StageTerms| {
        !matches!(stage.arrivals, StageArrivals::Trace { .. })
    };
    let wants = if scenario.actors.iter().any(quotes) {
        "quotes"
    } else if !scenario.stages.iter().all(by_rate) {
        "recorded orders with prices and locations"
    } else if scenario.drive.batch > 1 {
        "batches"
    } else if scenario.drive.ack != AckLevel::Group {
        "another level of acknowledgement than group"
    } else if scenario.starts_host() {
        "a host of the load tester, or faults of one"
    } else {
        return Ok(());
    };
    let (name, scenario) = (kind.name(), &scenario.name);
    Err(LoadError::usage(format!("{scenario} wants {wants}, which {name} does not serve")))
}

fn lost(loss: Loss) -> LoadError {
    LoadError::target(format!("the peer does not answer as it should: {}", loss.name()))
}

/// What a shop answers, in the order of its columns; codes are those of `shop.sql`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answered {
    code: i64,
    order: i64,
    seq: i64,
    replayed: i64,
    line: i64,
    found: i64,
    total: i64,
    deadline: i64,
}

impl Answered {
    /// The code of a request that the server gave up.
    const FAILED: i64 = -1;

    fn of(numbers: &[i64]) -> Option<Self> {
        let [code, order, seq, replayed, line, found, total, deadline] = *numbers else {
            return None;
        };
        Some(Self { code, order, seq, replayed, line, found, total, deadline })
    }

    fn answer(self, op: &Op) -> Answer {
        let (status, code) = match self.code {
            0 if op.kind.makes_order() => (201, ""),
            0 => (200, ""),
            1 => (409, "sold_out"),
            2 => (409, "limit_reached"),
            3 => (404, "not_found"),
            4 => (410, "reservation_expired"),
            5 => (409, "state_conflict"),
            6 => (404, "sku_unknown"),
            _ => (503, "contended"),
        };
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        let made = self.code == 0 && op.kind.makes_order();
        let receipt = format!("{} {} {} {}", self.order, self.seq, self.total, self.deadline);
        Answer {
            status,
            code,
            order: made.then_some(u128::from(positive(self.order))),
            seq: positive(self.seq),
            replayed: self.replayed != 0,
            line: u32::try_from(self.line).ok(),
            found: matches!(self.code, 1 | 2).then(|| positive(self.found)),
            total: made.then_some(self.total),
            deadline_ms: positive(self.deadline),
            body_hash: bytes_hash(receipt.as_bytes()),
            done: Instant::now(),
        }
    }
}

/// A row of the order table: what happened to an order, or a supply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ShopEvent {
    seq: u64,
    kind: String,
    time_ms: u64,
    order: u64,
    deadline_ms: u64,
    total: i64,
    /// Codes with units.
    lines: Vec<(String, u64)>,
}

impl ShopEvent {
    /// Reads `kind time order deadline total`, then codes and units in turn.
    fn of_words(seq: u64, text: &str) -> Option<Self> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let kind = words.next()?.to_owned();
        let (time, order) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (deadline, total) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mut lines = Vec::new();
        while let Some(code) = words.next() {
            lines.push((code.to_owned(), words.next()?.parse().ok()?));
        }
        Some(Self { seq, kind, time_ms: time, order, deadline_ms: deadline, total, lines })
    }

    fn neutral(&self, location: u32, catalogue: &Catalogue) -> Result<FeedEvent, LoadError> {
        use Bucket::{Available, Committed, Outside, Reserved};
        let (kind, from, to) = match self.kind.as_str() {
            "received" => (EventKind::Other, Outside, Available),
            "bought" => (EventKind::Bought, Available, Committed),
            "reserved" => (EventKind::Reserved, Available, Reserved),
            "placed" => (EventKind::Placed, Reserved, Committed),
            "released" => (EventKind::Ended, Reserved, Available),
            "expired" => (EventKind::Expired, Reserved, Available),
            "cancelled" => (EventKind::Other, Committed, Available),
            other => {
                let text = format!("event {} of the peer is {other:?}", self.seq);
                return Err(LoadError::target(text));
            }
        };
        let makes = matches!(kind, EventKind::Bought | EventKind::Reserved);
        let movement = |(code, quantity): &(String, u64)| {
            let (sku, quantity) = (catalogue.find(code)?, *quantity);
            Some(Movement { sku, location, quantity, from, to })
        };
        Ok(FeedEvent {
            seq: self.seq,
            kind,
            time_ms: self.time_ms,
            order: (self.order > 0).then_some(u128::from(self.order)),
            total: makes.then_some(self.total),
            priced: false,
            deadline_ms: self.deadline_ms,
            movements: self.lines.iter().filter_map(movement).collect(),
        })
    }
}

/// A connection to a shop of either kind.
#[derive(Debug)]
enum Shop {
    Redis(Redis),
    Postgres(Postgres),
}

impl Shop {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Redis(shop) => &mut shop.socket,
            Self::Postgres(shop) => &mut shop.socket,
        }
    }

    fn reconnects(&self) -> (u64, u64) {
        match self {
            Self::Redis(shop) => shop.socket.reconnects(),
            Self::Postgres(shop) => shop.socket.reconnects(),
        }
    }

    /// Asks for any answer at all.
    async fn ping(&mut self) -> Result<(), Loss> {
        match self {
            Self::Redis(shop) => shop.knows("").await.map(|_| ()),
            Self::Postgres(shop) => shop.query("SELECT 1").await.map(|_| ()),
        }
    }

    /// Makes the tables, where there are such.
    async fn make(&mut self) -> Result<(), String> {
        match self {
            // The script is loaded by each connection.
            Self::Redis(shop) => shop.expire().await.map(|_| ()).map_err(|e| e.name().to_owned()),
            Self::Postgres(shop) => match shop.query(postgres::SCHEMA).await {
                Ok(made) => made.map(|_| ()).map_err(|refused| refused.0),
                Err(loss) => Err(loss.name().to_owned()),
            },
        }
    }

    async fn exchange(
        &mut self,
        ops: &[&Op],
        catalogue: &Catalogue,
        out: &mut Vec<Answered>,
    ) -> Result<(), Loss> {
        match self {
            Self::Redis(shop) => shop.exchange(ops, catalogue, out).await,
            Self::Postgres(shop) => shop.exchange(ops, catalogue, out).await,
        }
    }

    async fn expire(&mut self, time_max: Duration) -> Result<i64, Loss> {
        let sweep = async {
            match self {
                Self::Redis(shop) => shop.expire().await,
                Self::Postgres(shop) => shop.expire().await,
            }
        };
        if let Ok(swept) = tokio::time::timeout(time_max, sweep).await {
            return swept;
        }
        // What comes late is no answer to what is asked next.
        self.socket().disconnect();
        Err(Loss::Timeout)
    }
}

/// A buyer's way to a peer.
#[derive(Debug)]
pub(crate) struct PeerPort {
    shop: Shop,
    catalogue: Arc<Catalogue>,
    timeout: Duration,
}

impl PeerPort {
    pub(crate) async fn exchange(&mut self, ops: &[&Op], out: &mut Vec<Outcome>) {
        let mut answers = Vec::with_capacity(ops.len());
        let exchange = self.shop.exchange(ops, &self.catalogue, &mut answers);
        let ended = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(ended) => ended,
            Err(_) => Err(Loss::Timeout),
        };
        out.extend(answers.iter().zip(ops).map(|(answered, op)| Ok(answered.answer(op))));
        if let Err(loss) = ended {
            self.shop.socket().disconnect();
            out.extend(ops.iter().skip(answers.len()).map(|_| Err(loss)));
        }
    }

    /// Gives the connection up, so that the next request makes it anew.
    pub(crate) fn renew(&mut self) {
        self.shop.socket().renew();
    }

    /// Returns how often it was connected again because it had broken, and on purpose.
    pub(crate) fn reconnects(&self) -> (u64, u64) {
        self.shop.reconnects()
    }
}

/// Preparation and truth at a peer.
#[derive(Debug)]
pub(crate) struct PeerSession {
    shop: Shop,
}

impl PeerSession {
    pub(crate) async fn knows(&mut self, code: &str) -> Result<bool, LoadError> {
        let known = match &mut self.shop {
            Shop::Redis(shop) => shop.knows(code).await,
            Shop::Postgres(shop) => shop.knows(code).await,
        };
        known.map_err(lost)
    }

    pub(crate) async fn define(&mut self, sku: &Definition<'_>) -> Result<u64, LoadError> {
        let (code, price, most) = (sku.code, sku.price.amount, sku.limit.unwrap_or(0));
        let seq = match &mut self.shop {
            Shop::Redis(shop) => shop.define(code, price, most).await,
            Shop::Postgres(shop) => shop.define(code, price, most).await,
        };
        seq.map(|seq| u64::try_from(seq).unwrap_or(0)).map_err(lost)
    }

    pub(crate) async fn import(
        &mut self,
        lines: &[StockLine],
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        let mut last = 0;
        for line in lines {
            let code = &catalogue.sku(line.sku).code;
            let seq = match &mut self.shop {
                Shop::Redis(shop) => shop.receive_units(code, line.quantity).await,
                Shop::Postgres(shop) => shop.receive_units(code, line.quantity).await,
            };
            last = seq.map_err(lost)?;
        }
        Ok(u64::try_from(last).unwrap_or(0))
    }

    pub(crate) async fn page(
        &mut self,
        after: u64,
        catalogue: &Catalogue,
    ) -> Result<(Vec<FeedEvent>, u64), LoadError> {
        // What is due is ended first, as the shop's worker would.
        for _ in 0..SWEEPS_MAX {
            if self.shop.expire(SWEEP_TIME_MAX).await.map_err(lost)? == 0 {
                break;
            }
        }
        let rows = match &mut self.shop {
            Shop::Redis(shop) => shop.events(after).await?,
            Shop::Postgres(shop) => shop.events(after).await?,
        };
        let next = rows.last().map_or(after, |row| row.seq);
        let events = rows.iter().map(|row| row.neutral(super::sale::LOCATION, catalogue));
        Ok((events.collect::<Result<_, _>>()?, next))
    }

    pub(crate) async fn stock(
        &mut self,
        skus: &[u32],
        catalogue: &Catalogue,
    ) -> Result<Vec<StockLevel>, LoadError> {
        let mut levels = Vec::with_capacity(skus.len());
        for sku in skus {
            let code = &catalogue.sku(*sku).code;
            let level = match &mut self.shop {
                Shop::Redis(shop) => shop.stock(code).await,
                Shop::Postgres(shop) => shop.stock(code).await,
            };
            levels.push(level.map_err(lost)?);
        }
        Ok(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::RunSku;

    /// A server that takes a sweep and never answers it is given up, so that a run can end.
    #[test]
    fn a_server_that_stalls_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("silent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        // It takes what comes, and is open to the end of the test.
        let silent = std::thread::spawn(move || listener.accept().expect("a visitor"));
        let mut shop = Peer { kind: PeerKind::Redis, socket }.shop();
        let runtime = crate::drive::runtime().expect("a runtime");
        let swept = runtime.block_on(shop.expire(Duration::from_millis(20)));
        assert_eq!(swept, Err(Loss::Timeout));
        drop(silent.join());
    }

    /// Rows of the order tables become neutral events; what has no meaning is refused.
    #[test]
    fn rows_become_events() {
        let mut catalogue = Catalogue::default();
        catalogue.add(RunSku { code: "a".into(), limit: None, price: 1, put_in: 0 });
        let row = ShopEvent::of_words(7, "reserved 99 7 199 20 a 2 elsewhere 1").expect("a row");
        let event = row.neutral(1, &catalogue).expect("a known kind");
        let (from, to) = (Bucket::Available, Bucket::Reserved);
        assert_eq!(event.movements, [Movement { sku: 0, location: 1, quantity: 2, from, to }]);
        assert_eq!((event.seq, event.time_ms, event.deadline_ms), (7, 99, 199));
        assert_eq!(
            (event.order, event.total, event.kind),
            (Some(7), Some(20), EventKind::Reserved)
        );
        assert_eq!(ShopEvent::of_words(7, "reserved 99 7 199 20 a"), None);
        let odd = ShopEvent::of_words(8, "burnt 1 1 0 0").expect("a row");
        assert!(odd.neutral(1, &catalogue).is_err_and(|e| e.to_string().contains("burnt")));
    }
}
