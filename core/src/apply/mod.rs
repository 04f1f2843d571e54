//! The transitions: state, time and command in, state and outcome out; no clock, no input or
//! output, no randomness, no order of a hash table.
//!
//! Each transition checks in the order of [`Reject`](crate::Reject), then accepts, and from there
//! on can't fail: what would fail then is a broken invariant, and the shard stops.

pub(crate) mod basket;
pub(crate) mod change;
pub(crate) mod count;
pub(crate) mod cross;
pub(crate) mod expire;
pub(crate) mod fingerprint;
pub(crate) mod order;
pub(crate) mod policy;
pub(crate) mod precedence;
pub(crate) mod promise;
pub(crate) mod replay;
pub(crate) mod single;
pub(crate) mod sku;
pub(crate) mod stock;

use crate::codec::{Kind, Put, begin, end};
use crate::command::Command;
use crate::decided::PolicyNo;
use crate::domain::answered::Answered;
use crate::domain::bucket::Movement;
use crate::domain::order::status_of;
use crate::id::{Key, LocationId, LotId, OrderId, SkuId};
use crate::reject::Reject;
use crate::reply::{ChangeReceipt, OrderStatus, PolicyReceipt, Receipt, Refusal, StockReceipt};
use crate::route;
use crate::shard::section::Section;
use crate::state::{Known, State};
use crate::time::Timestamp;

/// Where a transition puts its records and messages.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Time of the section.
    pub(crate) now: Timestamp,
    /// Records of the section.
    pub(crate) section: &'a mut Section,
    /// What peers shall do; sent once the section has its place in the journal.
    pub(crate) messages: &'a mut Vec<(u16, Instruction)>,
    /// Replay only: SKUs of the peers' cells in a record's instructions, in their order.
    pub(crate) peer_skus: &'a [u32],
}

/// What a shard tells a peer to do; it can't fail there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Carry movements of an order or transfer out.
    Settle(Settle),
    /// Define or change a SKU as shard 0 did.
    Define(Box<crate::command::DefineSku>),
    /// Enter the step of a policy as shard 0 did.
    Policy(Box<crate::decided::PolicyStep>),
    /// Break a promise of an order that is at home there.
    Break(promise::Break),
}

/// Movements that one shard instructs another to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settle {
    pub(crate) home: u16,
    /// Counts the settles from this home to this peer.
    pub(crate) number: u64,
    /// Order, or key of the transfer.
    pub(crate) order: u128,
    pub(crate) customer: u64,
    pub(crate) movements: Vec<Movement>,
    /// The cell that a transfer arrives in: SKU index, location, lot.
    pub(crate) arrives: Option<(u32, u32, u32)>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was carried out now.
    Done(Receipt),
    /// It had been carried out before; this is the same receipt.
    Repeated(Receipt),
    /// It was refused and changed nothing.
    Refused(Refusal),
    /// Its basket needs several shards, or units that are tentative here: see `order_flow`.
    Basket,
    /// It is a count that must break promises: see `count_flow`.
    Promises,
}

/// Buffers that live as long as the shard.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// SKU index of each line.
    pub(crate) skus: Vec<u32>,
    pub(crate) wants: Vec<basket::Want>,
    pub(crate) plan: Vec<basket::Planned>,
    pub(crate) granted: Vec<u32>,
    pub(crate) due: Vec<u32>,
}

/// Carries a command out on one shard.
pub(crate) fn apply(state: &mut State, ctx: &mut Context<'_>, command: &Command) -> Applied {
    let outcome = match command {
        Command::DefineSku(define) => sku::define(state, ctx, define),
        Command::Receive(receive) => stock::receive(state, ctx, receive),
        Command::Adjust(adjust) => stock::adjust(state, ctx, adjust),
        Command::Count(count) => count::count(state, ctx, count),
        Command::Quarantine(quarantine) => stock::quarantine(state, ctx, quarantine),
        Command::TransferOut(transfer) => stock::transfer_out(state, ctx, transfer),
        Command::TransferIn(transfer) => stock::transfer_in(state, ctx, transfer),
        Command::Import(import) => stock::import(state, ctx, import),
        Command::Buy(buy) => return order::buy(state, ctx, buy),
        Command::Reserve(reserve) => return order::reserve(state, ctx, reserve),
        Command::Extend(extend) => change::extend(state, ctx, extend),
        Command::Release(release) => change::release(state, ctx, release),
        Command::Place(place) => change::place(state, ctx, place),
        Command::Cancel(cancel) => change::cancel(state, ctx, cancel),
        Command::Ship(ship) => change::ship(state, ctx, ship),
        Command::Short(short) => change::short(state, ctx, short),
        Command::RecordRisk(record) => change::record_risk(state, ctx, record),
        Command::PolicyStep(step) => policy::step(state, ctx, step),
        Command::Tick => Ok(Applied::Done(Receipt::Tick)),
    };
    outcome.unwrap_or_else(Applied::Refused)
}

/// Makes a refusal.
pub(crate) fn refuse(reject: Reject, line: usize, asked: u64, found: u64) -> Refusal {
    Refusal { reject, line: line as u16, asked, found }
}

/// Returns the answer to a command other than `buy` and `reserve` whose key is known already.
pub(crate) fn repeated(
    state: &State,
    key: Key,
    fingerprint: u32,
) -> Result<Option<Applied>, Refusal> {
    let reused = refuse(Reject::IdempotencyKeyReused, 0, 0, 0);
    match state.lookup(key.bits()) {
        None => Ok(None),
        Some(Known::Order(_)) => Err(reused),
        Some(Known::Answered(slot)) => {
            let answer = state.answered.get(slot);
            if answer.fingerprint != fingerprint {
                return Err(reused);
            }
            Ok(Some(Applied::Repeated(receipt_of(answer))))
        }
    }
}

/// Returns the receipt that an answer was given with.
pub(crate) fn receipt_of(answer: &Answered) -> Receipt {
    if answer.status == Answered::STOCK {
        return Receipt::Stock(StockReceipt {
            key: answer.key(),
            seq: answer.seq,
            version: answer.version,
        });
    }
    if answer.status == Answered::POLICY {
        return Receipt::Policy(PolicyReceipt {
            key: answer.key(),
            policy: PolicyNo(answer.version as u16),
            seq: answer.seq,
        });
    }
    Receipt::Change(ChangeReceipt {
        order: OrderId::new(answer.order),
        status: status_of(answer.status).unwrap_or(OrderStatus::Cancelled),
        seq: answer.seq,
        version: answer.version,
        deadline: answer.deadline(),
    })
}

/// Returns the index of a SKU.
pub(crate) fn sku_index(state: &State, sku: SkuId, line: usize) -> Result<u32, Refusal> {
    state.catalogue.index_of(sku).ok_or_else(|| refuse(Reject::SkuUnknown, line, 0, 0))
}

/// Checks that a location is named.
pub(crate) fn named(location: LocationId) -> Result<u32, Refusal> {
    if location == LocationId::ANY {
        return Err(refuse(Reject::LocationInvalid, 0, 0, 0));
    }
    Ok(location.0)
}

/// Checks that the cells of a SKU at a location are in this shard.
///
/// A request comes to another shard if its key was on its way there, or if the SKU was being
/// defined when it was routed; the next try finds its way.
pub(crate) fn check_here(
    state: &State,
    sku: u32,
    location: u32,
    line: usize,
) -> Result<(), Refusal> {
    let entry = state.catalogue.get(sku);
    if entry.is_kit() {
        // It has no cells anywhere.
        return Ok(());
    }
    let location = LocationId(location);
    let shard = route::cell_shard(entry.placement, entry.id, location, state.shard_count);
    if shard == state.shard { Ok(()) } else { Err(refuse(Reject::Contended, line, 0, 0)) }
}

/// Returns the index of a SKU with stock whose cells at a location are in this shard.
pub(crate) fn stocked(
    state: &State,
    sku: SkuId,
    location: LocationId,
    line: usize,
) -> Result<u32, Refusal> {
    let index = sku_index(state, sku, line)?;
    if location == LocationId::ANY {
        return Err(refuse(Reject::LocationInvalid, line, 0, 0));
    }
    if state.catalogue.get(index).is_kit() {
        return Err(refuse(Reject::KitMismatch, line, 0, 0));
    }
    check_here(state, index, location.0, line)?;
    Ok(index)
}

/// Returns a cell that must be there already, of a SKU that is no kit.
pub(crate) fn existing_cell(
    state: &State,
    sku: SkuId,
    location: LocationId,
    lot: LotId,
) -> Result<(u32, u32), Refusal> {
    let index = stocked(state, sku, location, 0)?;
    match state.find_cell(index, location.0, lot.0) {
        Some(cell) => Ok((index, cell)),
        None => Err(refuse(Reject::StockShort, 0, 0, 0)),
    }
}

/// Writes the first record of an engine.
pub(crate) fn open_record(section: &mut Section, shard_count: u16) {
    let at = begin(&mut section.bytes, Kind::Open, 0);
    section.bytes.put_u16(shard_count);
    section.bytes.put_u16(0);
    end(&mut section.bytes, at);
    section.count += 1;
}
