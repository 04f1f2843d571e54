//! The engine inside this process as a target: what is left when HTTP is taken away.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onhand_core::limits::BATCH_COMMANDS_MAX;
use onhand_core::{
    Ack, Aggregate, Buy, Cancel, Command, Currency, CustomerId, DefineSku, Engine, ErrorKind,
    Event, Fill, ImportLine, Key, Line, LinePrice, Lines, LocationId, LotId, Money, OrderId, Place,
    Placement, Quantity, Receipt, Release, Reply, Reserve, SkuId, SkuKind,
};

use crate::error::LoadError;
use crate::feed::{Bucket, EventKind, FeedEvent, Movement, StockLevel};
use crate::load::AckLevel;
use crate::op::{Answer, Catalogue, Loss, Op, OpKind, Outcome, known_code};
use crate::session::{Definition, StockLine};

/// Events of one page.
const PAGE_EVENTS: usize = 10_000;
/// Longest wait for the journal to reach a position.
const SEQ_WAIT: Duration = Duration::from_secs(10);

/// An engine of this process, shared by all buyers.
#[derive(Clone)]
pub struct InProcess {
    engine: Arc<Engine>,
    shards: u16,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").field("shards", &self.shards).finish_non_exhaustive()
    }
}

/// Counts of the engine after a run in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Shards.
    pub shards: u16,
    /// Baskets that needed several shards, or waited for tentative units.
    pub cross_baskets: u64,
    /// Group commits.
    pub groups: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes of the shards' tables.
    pub memory_bytes: u64,
    /// Orders that are reserved or placed.
    pub live_orders: u64,
}

impl InProcess {
    /// Opens an engine over a data directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Returns a target error with the engine's own text.
    pub fn open(dir: &Path, shards: u16) -> Result<Self, LoadError> {
        let opened = Engine::builder(dir).shards(shards).open();
        let (engine, _) = opened.map_err(|e| failed("the engine can't be opened", &e))?;
        Ok(Self { engine: Arc::new(engine), shards })
    }

    /// Returns the counts of the engine.
    pub fn facts(&self) -> EngineFacts {
        let metrics = self.engine.metrics();
        EngineFacts {
            shards: self.shards,
            cross_baskets: metrics.cross_baskets,
            groups: metrics.groups,
            journal_bytes: metrics.journal_bytes,
            memory_bytes: metrics.memory_bytes,
            live_orders: metrics.live_orders,
        }
    }

    pub(crate) fn port(&self, catalogue: &Catalogue, ack: AckLevel) -> InProcPort {
        let skus = catalogue.skus().iter().map(|sku| sku_id(&sku.code)).collect();
        let ack = match ack {
            AckLevel::Memory => Ack::Memory,
            AckLevel::Group => Ack::Group,
            AckLevel::Strict => Ack::Strict,
        };
        InProcPort { engine: Arc::clone(&self.engine), skus, ack }
    }

    pub(crate) fn session(&self) -> InProcSession {
        InProcSession { engine: Arc::clone(&self.engine), indexes: HashMap::new() }
    }
}

fn failed(what: &str, error: &onhand_core::Error) -> LoadError {
    LoadError::target(format!("{what}: {error}; {}", error.help()))
}

/// Codes were checked when the catalogue was made, so the id of an empty one is never used.
fn sku_id(code: &str) -> SkuId {
    SkuId::from_code(code).unwrap_or(SkuId::new(0))
}

/// A buyer's way to the engine.
#[derive(Clone)]
pub(crate) struct InProcPort {
    engine: Arc<Engine>,
    /// Ids by the catalogue's indexes, shared by all buyers.
    skus: Arc<[SkuId]>,
    ack: Ack,
}

impl std::fmt::Debug for InProcPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcPort").field("skus", &self.skus.len()).finish_non_exhaustive()
    }
}

impl InProcPort {
    pub(crate) async fn exchange(&mut self, ops: &[&Op], out: &mut Vec<Outcome>) {
        // Looks and changes don't share a batch, and the answers keep their order.
        for chunk in ops.chunk_by(|a, b| a.kind.is_read() == b.kind.is_read()) {
            if chunk.iter().any(|op| op.kind.is_read()) {
                out.extend(chunk.iter().map(|op| Ok(self.look(op))));
                // Nothing was waited for: the other buyers have their turn.
                tokio::task::yield_now().await;
            } else {
                self.change(chunk, out).await;
            }
        }
    }

    async fn change(&self, ops: &[&Op], out: &mut Vec<Outcome>) {
        for chunk in ops.chunks(BATCH_COMMANDS_MAX) {
            let commands = chunk.iter().filter_map(|op| self.command(op)).collect();
            let answered = match self.engine.submit_batch(commands, self.ack) {
                Ok(ticket) => ticket.await,
                Err(error) => {
                    // Not taken: a refusal as a host would give it.
                    let code = match error.kind() {
                        ErrorKind::Overloaded => "overloaded",
                        ErrorKind::ReadOnly => "read_only",
                        ErrorKind::Closed => "shutting_down",
                        _ => "stopped",
                    };
                    let done = Instant::now();
                    out.extend(chunk.iter().map(|_| Ok(Answer::bare(503, code, done))));
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            match answered {
                Ok(replies) if replies.len() == chunk.len() => {
                    let done = Instant::now();
                    out.extend(replies.iter().map(|reply| Ok(answer(reply, done))));
                }
                Ok(_) => out.extend(chunk.iter().map(|_| Err(Loss::Malformed))),
                Err(_) => out.extend(chunk.iter().map(|_| Err(Loss::Connection))),
            }
        }
    }

    /// Makes a command; what only looks has none.
    fn command(&self, op: &Op) -> Option<Command> {
        let key = Key::from_text(&op.key);
        let order = OrderId::new(op.order);
        let expected_total = None;
        Some(match op.kind {
            OpKind::Buy => Command::Buy(Buy {
                key,
                customer: customer(op),
                lines: self.lines(op),
                fill: Fill::All,
                expected_total,
                decided: None,
            }),
            OpKind::Reserve => Command::Reserve(Reserve {
                key,
                customer: customer(op),
                lines: self.lines(op),
                fill: Fill::All,
                ttl_ms: op.ttl_ms,
                hard_cap_ms: op.ttl_ms,
                expected_total,
                decided: None,
            }),
            OpKind::Place => Command::Place(Place { key, order, expected_total }),
            OpKind::Release => Command::Release(Release { key, order, reason: 0 }),
            OpKind::Cancel => Command::Cancel(Cancel {
                key,
                order,
                lines: Vec::new(),
                expected_version: None,
                reason: 0,
            }),
            OpKind::Browse | OpKind::Quote | OpKind::Poll => return None,
        })
    }

    /// Answers a look at stock or an order from the published state.
    fn look(&self, op: &Op) -> Answer {
        let found = match op.kind {
            OpKind::Poll => self.engine.order(OrderId::new(op.order)).is_ok_and(|o| o.is_some()),
            OpKind::Browse => {
                // A SKU without any stock has no published level, which is an answer as well.
                op.lines.first().is_some_and(|line| {
                    let _ = self.engine.stock(self.skus[line.sku as usize]);
                    true
                })
            }
            _ => false,
        };
        let (status, code) = if found { (200, "") } else { (404, "not_found") };
        Answer::bare(status, code, Instant::now())
    }

    fn lines(&self, op: &Op) -> Lines {
        let line = |line: &crate::op::AskLine| Line {
            sku: self.skus[line.sku as usize],
            quantity: Quantity::new(line.quantity).unwrap_or(Quantity::MAX),
            location: LocationId(line.location),
            price: line.price.map(|p| LinePrice { unit: p.unit, discount: p.discount }),
        };
        match op.lines.as_slice() {
            [one] => Lines::One(line(one)),
            many => Lines::Many(many.iter().map(line).collect()),
        }
    }
}

fn customer(op: &Op) -> CustomerId {
    if op.customer.is_empty() { CustomerId::NONE } else { CustomerId::from_text(&op.customer) }
}

fn answer(reply: &Reply, done: Instant) -> Answer {
    let (seq, replayed) = (reply.seq, reply.replayed);
    let mut answer = Answer { seq, replayed, ..Answer::bare(201, "", done) };
    match &reply.outcome {
        Ok(receipt) => {
            if let Receipt::Order(order) = receipt {
                answer.order = Some(order.order.bits());
                answer.total = Some(order.total.minor());
                answer.deadline_ms = order.deadline.millis();
            }
            answer.body_hash = receipt_hash(receipt);
        }
        Err(refusal) => {
            answer.status = 409;
            answer.code = known_code(refusal.reject.code());
            answer.line = Some(refusal.line.into());
            answer.found = Some(refusal.found);
        }
    }
    answer
}

/// Returns a hash of all that a receipt says.
fn receipt_hash(receipt: &Receipt) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    match receipt {
        Receipt::Order(order) => {
            hasher.write_u128(order.order.bits());
            hasher.write_u64(order.seq);
            hasher.write_u8(order.status as u8);
            hasher.write_i64(order.total.minor());
            hasher.write_u64(order.deadline.millis());
        }
        Receipt::Change(change) => {
            hasher.write_u128(change.order.bits());
            hasher.write_u64(change.seq);
            hasher.write_u8(change.status as u8);
            hasher.write_u32(change.version);
        }
        Receipt::Stock(stock) => hasher.write_u64(stock.seq),
        Receipt::Policy(policy) => hasher.write_u64(policy.seq),
        Receipt::Tick => (),
    }
    hasher.finish()
}

/// Preparation and truth without HTTP.
pub(crate) struct InProcSession {
    engine: Arc<Engine>,
    /// Indexes of the run's SKUs by id, made when the first page is read.
    indexes: HashMap<SkuId, u32>,
}

impl std::fmt::Debug for InProcSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcSession").finish_non_exhaustive()
    }
}

impl InProcSession {
    pub(crate) fn knows(&self, code: &str) -> Result<bool, LoadError> {
        let id = SkuId::from_code(code).map_err(|e| LoadError::usage(format!("{code:?}: {e}")))?;
        Ok(self.engine.sku(id).is_some())
    }

    /// Carries a command out and returns its position.
    async fn execute(&self, what: &str, command: Command) -> Result<u64, LoadError> {
        let ticket = self.engine.submit(command).map_err(|e| failed(what, &e))?;
        let reply = ticket.await.map_err(|e| failed(what, &e))?;
        match reply.outcome {
            Ok(_) => Ok(reply.seq),
            Err(refusal) => Err(LoadError::target(format!("{what}: {}", refusal.reject))),
        }
    }

    pub(crate) async fn define(&self, sku: &Definition<'_>) -> Result<u64, LoadError> {
        let currency: Currency = sku.price.currency.parse().map_err(|e| {
            LoadError::input(format!("currency of {} is {:?}: {e}", sku.code, sku.price.currency))
        })?;
        let price = Money::new(sku.price.amount, currency);
        let price = price.ok_or_else(|| LoadError::input(format!("price of {}", sku.code)))?;
        let command = Command::DefineSku(Box::new(DefineSku {
            key: Key::from_text(&format!("define {}", sku.code)),
            code: sku.code.to_owned(),
            kind: SkuKind::Goods,
            price,
            placement: match sku.placement {
                "location" => Placement::ByLocation,
                _ => Placement::BySku,
            },
            limit: sku.limit.and_then(Quantity::new),
            components: Vec::new(),
        }));
        self.execute(&format!("SKU {} can't be defined", sku.code), command).await
    }

    pub(crate) fn import(
        &self,
        key: &str,
        lines: &[StockLine],
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        let lines = lines.iter().map(|line| ImportLine {
            sku: sku_id(&catalogue.sku(line.sku).code),
            location: LocationId(line.location),
            lot: LotId(0),
            quantity: Quantity::new(line.quantity).unwrap_or(Quantity::MAX),
        });
        let what = "opening stock can't be put in";
        let replies = self.engine.import(Key::from_text(key), lines.collect());
        let mut seq = 0;
        for reply in replies.map_err(|e| failed(what, &e))? {
            if let Err(refusal) = reply.outcome {
                return Err(LoadError::target(format!("{what}: {}", refusal.reject)));
            }
            seq = seq.max(reply.seq);
        }
        Ok(seq)
    }

    pub(crate) fn page(
        &mut self,
        after: u64,
        wait: u32,
        catalogue: &Catalogue,
    ) -> Result<(Vec<FeedEvent>, u64), LoadError> {
        if self.indexes.is_empty() {
            let skus = (0_u32..).zip(catalogue.skus());
            self.indexes = skus.map(|(at, sku)| (sku_id(&sku.code), at)).collect();
        }
        if wait > 0 {
            self.engine.wait_seq(after + 1, Duration::from_secs(wait.into()));
        }
        let page = self.engine.events(after, PAGE_EVENTS);
        let page = page.map_err(|e| failed("events can't be read", &e))?;
        let events = page.events.iter().map(|event| self.neutral(event));
        Ok((events.collect::<Result<_, _>>()?, page.next))
    }

    fn neutral(&self, event: &Event) -> Result<FeedEvent, LoadError> {
        let mut movements = Vec::with_capacity(event.movements.len());
        for movement in &event.movements {
            let Some(sku) = self.indexes.get(&movement.sku).copied() else { continue };
            let bucket = |bucket: onhand_core::Bucket| {
                let unknown = || {
                    let (seq, name) = (event.seq, bucket.name());
                    LoadError::target(format!("event {seq} names the bucket {name:?}"))
                };
                Bucket::from_name(bucket.name()).ok_or_else(unknown)
            };
            movements.push(Movement {
                sku,
                location: movement.location.0,
                quantity: movement.quantity.into(),
                from: bucket(movement.from)?,
                to: bucket(movement.to)?,
            });
        }
        let kind = match event.kind {
            onhand_core::EventKind::OrderPlaced if event.order.is_some() => EventKind::Bought,
            onhand_core::EventKind::OrderPlaced => EventKind::Placed,
            onhand_core::EventKind::OrderReserved => EventKind::Reserved,
            onhand_core::EventKind::OrderExtended => EventKind::Extended,
            onhand_core::EventKind::OrderExpired => EventKind::Expired,
            onhand_core::EventKind::OrderReleased
            | onhand_core::EventKind::OrderRejected
            | onhand_core::EventKind::ReservationBroken => EventKind::Ended,
            _ => EventKind::Other,
        };
        let order = match event.aggregate {
            Aggregate::Order(order) => Some(order.bits()),
            _ => None,
        };
        Ok(FeedEvent {
            seq: event.seq,
            kind,
            time_ms: event.time.millis(),
            order,
            total: event.order.as_ref().map(|order| order.total.minor()),
            priced: event.decided.as_ref().is_some_and(|decided| decided.pricing.is_some()),
            deadline_ms: event.deadline.millis(),
            movements,
        })
    }

    pub(crate) fn stock(
        &self,
        skus: &[u32],
        min_seq: u64,
        catalogue: &Catalogue,
    ) -> Result<Vec<StockLevel>, LoadError> {
        if !self.engine.wait_seq(min_seq, SEQ_WAIT) {
            let durable = self.engine.durable_seq();
            let text = format!("the journal ends at {durable}, {min_seq} was read");
            return Err(LoadError::target(text));
        }
        // A SKU without any stock has no published level yet.
        let level = |sku: &u32| {
            let view = self.engine.stock(sku_id(&catalogue.sku(*sku).code));
            view.map_or(StockLevel::default(), |view| StockLevel {
                available: view.available,
                tentative: view.tentative,
                reserved: view.reserved,
                committed: view.committed,
                unavailable: view.unavailable,
                shipped: view.shipped,
                seq: view.seq,
            })
        };
        Ok(skus.iter().map(level).collect())
    }
}
