//! What happened, as a feed tells it: the records of the journal in the domain's words.

use crate::codec::{FLAG_DECIDED, FLAG_PRICED, Kind, Malformed, Reader, risk_of};
use crate::decided::{Decided, PolicyKind, PolicyNo, Risk, Step};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
use crate::money::{Currency, Money};
use crate::shard::core::CellName;
use crate::shard::published::Published;
use crate::time::Timestamp;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The engine was created.
    EngineOpened,
    /// A SKU was defined or changed.
    SkuDefined,
    /// Units came in from a supplier.
    StockReceived,
    /// Available units were set after a count.
    StockAdjusted,
    /// A cell was counted, promised units included.
    StockCounted,
    /// Units were set aside.
    StockQuarantined,
    /// Units that were aside are available again.
    StockUnquarantined,
    /// Units left for another location.
    TransferSent,
    /// Units came from another location.
    TransferReceived,
    /// Opening stock of many cells came in.
    StockImported,
    /// An order was placed, in one step or out of a reservation.
    OrderPlaced,
    /// A basket was reserved.
    OrderReserved,
    /// A reservation got a later deadline.
    OrderExtended,
    /// A reservation was given up.
    OrderReleased,
    /// Something was found about a reservation under challenge or review; it stays one.
    OrderRiskRecorded,
    /// A reservation under challenge or review was denied.
    OrderRejected,
    /// Units of an order were given back.
    OrderCancelled,
    /// Units of an order were shipped.
    OrderShipped,
    /// Units of an order are missing.
    OrderShort,
    /// A reservation's deadline has passed.
    OrderExpired,
    /// A count has not found units that an order had reserved.
    ReservationBroken,
    /// A count has not found units that an order had committed.
    CommitmentBroken,
    /// A basket in flight has taken units of one shard.
    BasketTaken,
    /// A shard has carried out what a basket's or transfer's home decided.
    BasketSettled,
    /// Settled orders have left memory for the archive.
    OrdersArchived,
    /// A basket was refused: one of a sample.
    BasketRefused,
    /// Something has happened to a policy.
    PolicyStepped,
}

impl EventKind {
    /// Returns the name that the HTTP API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EngineOpened => "engine.opened",
            Self::SkuDefined => "sku.defined",
            Self::StockReceived => "stock.received",
            Self::StockAdjusted => "stock.adjusted",
            Self::StockCounted => "stock.counted",
            Self::StockQuarantined => "stock.quarantined",
            Self::StockUnquarantined => "stock.unquarantined",
            Self::TransferSent => "stock.transfer_sent",
            Self::TransferReceived => "stock.transfer_received",
            Self::StockImported => "stock.imported",
            Self::OrderPlaced => "order.placed",
            Self::OrderReserved => "order.reserved",
            Self::OrderExtended => "order.extended",
            Self::OrderReleased => "order.released",
            Self::OrderRiskRecorded => "order.risk_recorded",
            Self::OrderRejected => "order.rejected",
            Self::OrderCancelled => "order.cancelled",
            Self::OrderShipped => "order.shipped",
            Self::OrderShort => "order.short",
            Self::OrderExpired => "order.expired",
            Self::ReservationBroken => "reservation.broken",
            Self::CommitmentBroken => "commitment.broken",
            Self::BasketTaken => "basket.taken",
            Self::BasketSettled => "basket.settled",
            Self::OrdersArchived => "orders.archived",
            Self::BasketRefused => "basket.refused",
            Self::PolicyStepped => "policy.stepped",
        }
    }
}

/// What an event is about; its versions count up by one without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// The engine.
    Engine,
    /// A SKU's definition.
    Sku(SkuId),
    /// The stock of one cell.
    Cell(SkuId, LocationId, LotId),
    /// An order.
    Order(OrderId),
    /// A policy.
    Policy(PolicyNo),
    /// One shard; its events have no versions.
    Shard(u16),
}

/// Units that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMovement {
    /// SKU of the cell.
    pub sku: SkuId,
    /// Location of the cell.
    pub location: LocationId,
    /// Lot of the cell.
    pub lot: LotId,
    /// Units.
    pub quantity: u32,
    /// Bucket that they left.
    pub from: Bucket,
    /// Bucket that they went to.
    pub to: Bucket,
    /// Line of the order, from 0.
    pub line: u16,
}

/// The basket of an order that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOrder {
    /// Customer.
    pub customer: CustomerId,
    /// Total of the granted units.
    pub total: Money,
    /// SKU and units asked by line.
    pub lines: Vec<(SkuId, u32)>,
}

/// The facts of a refusal that was journaled as a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRefusal {
    /// Number of the reject; 80 is sold out.
    pub reject: u16,
    /// SKU that ran short.
    pub sku: SkuId,
    /// Units that the basket asked of it.
    pub asked: u64,
    /// Units available then.
    pub available: u64,
    /// Units tentative then.
    pub tentative: u64,
}

/// Units of one order line that a count has not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBreak {
    /// The order.
    pub order: OrderId,
    /// Its line, from 0.
    pub line: u16,
    /// Units of the counted cell that it loses.
    pub quantity: u32,
}

/// What happened to a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPolicy {
    /// What it decides about.
    pub kind: PolicyKind,
    /// What happened.
    pub step: Step,
    /// Name.
    pub name: String,
    /// Version as its maker writes it.
    pub version: String,
    /// BLAKE3 of the plugin's component; of its name for a built-in.
    pub plugin: [u8; 32],
    /// BLAKE3 of its configuration.
    pub config: [u8; 32],
    /// Share of the customers of a canary in ten-thousandths, else 0.
    pub share: u16,
    /// Why, for people; may be empty.
    pub note: String,
}

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the journal.
    pub seq: u64,
    /// Time that it was stamped with.
    pub time: Timestamp,
    /// Shard that wrote it.
    pub shard: u16,
    /// What happened.
    pub kind: EventKind,
    /// What it is about.
    pub aggregate: Aggregate,
    /// Version of the aggregate after it; 0 where the aggregate has none.
    pub version: u32,
    /// Units that moved in this shard.
    pub movements: Vec<EventMovement>,
    /// Units that other shards will move because of it.
    pub instructions: Vec<EventMovement>,
    /// The basket, where an order was made.
    pub order: Option<EventOrder>,
    /// What policies had decided, where an order was made with decisions; `refusal` and
    /// `review_ms` are not kept.
    pub decided: Option<Box<Decided>>,
    /// The order's risk from here on, where a fraud policy or a person has said it.
    pub risk: Option<Risk>,
    /// What happened to a policy.
    pub policy: Option<Box<EventPolicy>>,
    /// The facts, where a basket was refused.
    pub refusal: Option<EventRefusal>,
    /// The promises that a count breaks; each has an event of its own as well.
    pub breaks: Vec<EventBreak>,
    /// Key of the count that broke this promise.
    pub count: Option<Key>,
    /// Position of the order's event before this one; 0 if there is none.
    pub previous_seq: u64,
    /// New deadline of a reservation; [`Timestamp::ZERO`] where there is none.
    pub deadline: Timestamp,
    /// The caller's number for why, or 0.
    pub reason: u16,
}

/// A stretch of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Events in the order of the journal.
    pub events: Vec<Event>,
    /// Position to ask after next time.
    pub next: u64,
    /// Position of the first event that is still in the journal.
    pub first_available: u64,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) shard: u16,
}

/// Turns a record into an event.
pub(crate) fn decode(
    published: &Published,
    place: Place,
    kind: Kind,
    flags: u8,
    record: &[u8],
) -> Result<Event, Malformed> {
    let mut event = Event {
        seq: place.seq,
        time: place.time,
        shard: place.shard,
        kind: EventKind::EngineOpened,
        aggregate: Aggregate::Shard(place.shard),
        version: 0,
        movements: Vec::new(),
        instructions: Vec::new(),
        order: None,
        decided: None,
        risk: None,
        policy: None,
        refusal: None,
        breaks: Vec::new(),
        count: None,
        previous_seq: 0,
        deadline: Timestamp::ZERO,
        reason: 0,
    };
    let reader = &mut Reader::new(&record[4..]);
    match kind {
        Kind::Open => event.aggregate = Aggregate::Engine,
        Kind::DefineSku => {
            event.kind = EventKind::SkuDefined;
            reader.take(4 + 16)?;
            event.aggregate = Aggregate::Sku(SkuId::new(reader.u64()?));
            reader.take(8 + 8 + 4)?;
            event.version = reader.u32()?;
        }
        Kind::Policy => policy(reader, &mut event)?,
        Kind::Stock => stock(published, reader, &mut event)?,
        Kind::Buy | Kind::Reserve => order(published, kind, flags, reader, &mut event)?,
        Kind::Take => {
            event.kind = EventKind::BasketTaken;
            reader.u16()?;
            let count = reader.u16()?;
            event.aggregate = Aggregate::Order(OrderId::new(reader.u128()?));
            reader.take(16)?;
            event.movements = movements(published, reader, count)?;
        }
        Kind::Settle => {
            event.kind = EventKind::BasketSettled;
            let cells = reader.u16()?;
            let count = reader.u16()?;
            event.aggregate = Aggregate::Order(OrderId::new(reader.u128()?));
            reader.take(24 + 20 * usize::from(cells))?;
            event.movements = movements(published, reader, count)?;
        }
        Kind::Evict => event.kind = EventKind::OrdersArchived,
        Kind::Refused => refused(published, reader, &mut event)?,
        Kind::Place
        | Kind::Extend
        | Kind::Release
        | Kind::Cancel
        | Kind::Ship
        | Kind::Short
        | Kind::Break
        | Kind::Risk
        | Kind::Expire => change(published, kind, reader, &mut event)?,
    }
    Ok(event)
}

fn sku_id(published: &Published, index: u32) -> SkuId {
    published.sku_at(index).map_or(SkuId::new(0), |sku| sku.id)
}

fn movements(
    published: &Published,
    reader: &mut Reader<'_>,
    count: u16,
) -> Result<Vec<EventMovement>, Malformed> {
    let mut list = Vec::with_capacity(count.into());
    for _ in 0..count {
        let Movement { cell, quantity, from, to, line } = reader.movement()?;
        let name = published.cell(cell).unwrap_or_default();
        list.push(EventMovement {
            sku: sku_id(published, name.sku),
            location: LocationId(name.location),
            lot: LotId(name.lot),
            quantity,
            from,
            to,
            line,
        });
    }
    Ok(list)
}

fn stock(
    published: &Published,
    reader: &mut Reader<'_>,
    event: &mut Event,
) -> Result<(), Malformed> {
    let cells = reader.u16()?;
    let count = reader.u16()?;
    reader.take(16 + 4)?;
    let operation = reader.u8()?;
    reader.u8()?;
    let instructions = reader.u16()?;
    reader.u64()?;
    event.kind = match operation {
        1 => EventKind::StockReceived,
        2 => EventKind::StockAdjusted,
        3 => EventKind::StockQuarantined,
        4 => EventKind::StockUnquarantined,
        5 => EventKind::TransferSent,
        6 => EventKind::TransferReceived,
        7 => EventKind::StockImported,
        8 => EventKind::StockCounted,
        _ => return Err(Malformed),
    };
    if operation == 6 {
        reader.u128()?;
    }
    let breaks = if operation == 8 { reader.u16()? } else { 0 };
    if operation == 8 {
        reader.u16()?;
    }
    for at in 0..cells {
        let number = CellNo(reader.u32()?);
        let name = CellName { sku: reader.u32()?, location: reader.u32()?, lot: reader.u32()? };
        let version = reader.u32()?;
        debug_assert_eq!(number.shard(), event.shard);
        if at == 0 && operation != 7 {
            let sku = sku_id(published, name.sku);
            event.aggregate = Aggregate::Cell(sku, LocationId(name.location), LotId(name.lot));
            event.version = version;
        }
    }
    event.movements = movements(published, reader, count)?;
    event.instructions = movements(published, reader, instructions)?;
    for _ in 0..breaks {
        event.breaks.push(EventBreak {
            order: OrderId::new(reader.u128()?),
            line: (reader.u16()?, reader.u16()?).1,
            quantity: reader.u32()?,
        });
    }
    Ok(())
}

fn order(
    published: &Published,
    kind: Kind,
    flags: u8,
    reader: &mut Reader<'_>,
    event: &mut Event,
) -> Result<(), Malformed> {
    let lines = reader.u16()?;
    let count = reader.u16()?;
    event.aggregate = Aggregate::Order(OrderId::new(reader.u128()?));
    event.version = 1;
    let customer = CustomerId(reader.u64()?);
    let total = reader.u64()? as i64;
    let currency = Currency::from_number(reader.u16()?).ok_or(Malformed)?;
    let fill = reader.u8()?;
    reader.u8()?;
    let instructions = reader.u16()?;
    reader.u16()?;
    event.kind = EventKind::OrderPlaced;
    if kind == Kind::Reserve {
        event.kind = EventKind::OrderReserved;
        event.deadline = Timestamp::from_millis(reader.u64()?);
        reader.u64()?;
    }
    if fill == 1 {
        reader.u32()?;
    }
    if flags & FLAG_DECIDED != 0 {
        let decided = reader.decisions()?;
        event.risk = decided.fraud.map(|fraud| fraud.risk);
        event.decided = Some(Box::new(decided));
    }
    let mut list = Vec::with_capacity(lines.into());
    for _ in 0..lines {
        let sku = sku_id(published, reader.u32()?);
        list.push((sku, reader.u32()?));
        reader.u32()?;
        if flags & FLAG_PRICED != 0 {
            reader.take(16)?;
        }
    }
    let total = Money::trusted(total, currency);
    event.order = Some(EventOrder { customer, total, lines: list });
    event.movements = movements(published, reader, count)?;
    event.instructions = movements(published, reader, instructions)?;
    Ok(())
}

fn change(
    published: &Published,
    kind: Kind,
    reader: &mut Reader<'_>,
    event: &mut Event,
) -> Result<(), Malformed> {
    event.kind = match kind {
        Kind::Place => EventKind::OrderPlaced,
        Kind::Extend => EventKind::OrderExtended,
        Kind::Release => EventKind::OrderReleased,
        Kind::Cancel => EventKind::OrderCancelled,
        Kind::Ship => EventKind::OrderShipped,
        Kind::Short => EventKind::OrderShort,
        _ => EventKind::OrderExpired,
    };
    let lines = reader.u16()?;
    let count = reader.u16()?;
    let key = Key::new(reader.u128()?);
    event.aggregate = Aggregate::Order(OrderId::new(reader.u128()?));
    event.previous_seq = reader.u64()?;
    event.version = reader.u32()?;
    let instructions = reader.u16()?;
    event.reason = reader.u16()?;
    if kind == Kind::Extend {
        event.deadline = Timestamp::from_millis(reader.u64()?);
        reader.u64()?;
    }
    if kind == Kind::Risk {
        event.risk = Some(risk_of(reader.u8()?).ok_or(Malformed)?);
        reader.take(7)?;
    }
    reader.take(8 * usize::from(lines))?;
    event.movements = movements(published, reader, count)?;
    event.instructions = movements(published, reader, instructions)?;
    if kind == Kind::Risk {
        let moved = event.movements.iter().chain(&event.instructions).next();
        event.kind = match moved.map(|m| m.to) {
            None => EventKind::OrderRiskRecorded,
            Some(Bucket::Committed) => EventKind::OrderPlaced,
            Some(_) => EventKind::OrderRejected,
        };
    }
    if kind == Kind::Break {
        event.count = Some(key);
        let lost = event.movements.iter().chain(&event.instructions);
        let reserved = lost.clone().any(|m| m.from == Bucket::Reserved);
        event.kind =
            if reserved { EventKind::ReservationBroken } else { EventKind::CommitmentBroken };
    }
    Ok(())
}

fn policy(reader: &mut Reader<'_>, event: &mut Event) -> Result<(), Malformed> {
    event.kind = EventKind::PolicyStepped;
    event.aggregate = Aggregate::Policy(PolicyNo(reader.u16()?));
    event.version = reader.u16()?.into();
    let step = reader.policy_step()?;
    event.policy = Some(Box::new(EventPolicy {
        kind: step.kind,
        step: step.step,
        name: step.name,
        version: step.version,
        plugin: step.plugin,
        config: step.config,
        share: step.share,
        note: step.note,
    }));
    Ok(())
}

fn refused(
    published: &Published,
    reader: &mut Reader<'_>,
    event: &mut Event,
) -> Result<(), Malformed> {
    event.kind = EventKind::BasketRefused;
    reader.u16()?;
    let reject = reader.u16()?;
    reader.take(16 + 8)?;
    let sku = sku_id(published, reader.u32()?);
    reader.u32()?;
    event.refusal = Some(EventRefusal {
        reject,
        sku,
        asked: reader.u64()?,
        available: reader.u64()?,
        tentative: reader.u64()?,
    });
    Ok(())
}
