//! Settled orders and old answers outside memory: their bytes, and what repetitions of their
//! commands are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::apply::{fingerprint, receipt_of, refuse};
use crate::checkpoint::codec::{Malformed, Source, detail, put_detail};
use crate::command::Command;
use crate::domain::answered::Answered;
use crate::domain::order::{Detail, Order};
use crate::error::Error;
use crate::id::SkuId;
use crate::money::Money;
use crate::reject::Reject;
use crate::reply::{Grants, OrderReceipt, OrderStatus, Receipt, Refusal};
use crate::shard::core::{Archived, settled_refusal};
use crate::shard::published::Published;
use crate::state::{Known, State};
use crate::store::{Archive, ArchiveFilter, OpenedArchive};
use crate::time::Timestamp;
use crate::view::{CellPart, LineView, OrderView};

/// First byte of an archived order.
const ORDER: u8 = 1;
/// First byte of an archived answer.
const ANSWERED: u8 = 2;
/// Keys that enter the filter while shards wait.
const FILTER_STEP: usize = 256;

/// Something that has left memory.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// An order; a simple one has a detail here all the same.
    Order(Order, Detail),
    /// The answer of another command.
    Answered(Answered),
}

/// Returns key and bytes of a settled entry, as the archive keeps them.
pub(crate) fn encode(state: &State, known: Known) -> (u128, Vec<u8>) {
    match known {
        Known::Answered(slot) => {
            let answer = state.answered.get(slot);
            let mut out = vec![ANSWERED];
            answer.encode(&mut out);
            (answer.key, out)
        }
        Known::Order(slot) => {
            let order = state.orders.get(slot);
            let mut out = vec![ORDER];
            order.encode(&mut out);
            if let Some(detail) = order.detail() {
                put_detail(&mut out, state.detail(detail));
            } else {
                let detail = crate::apply::change::detail_of_simple(state, slot);
                put_detail(&mut out, &detail);
            }
            (order.id().bits(), out)
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Entry, Malformed> {
    let mut source = Source::new(bytes);
    match source.u8()? {
        ORDER => {
            let mut record = [0; Order::BYTES];
            record.copy_from_slice(source.take(Order::BYTES)?);
            Ok(Entry::Order(Order::decode(&record), detail(&mut source)?))
        }
        ANSWERED => {
            let mut record = [0; Answered::BYTES];
            record.copy_from_slice(source.take(Answered::BYTES)?);
            Ok(Entry::Answered(Answered::decode(&record)))
        }
        _ => Err(Malformed),
    }
}

/// The archive with its filter, shared by shards, readers and the keeper.
pub(crate) struct Shelf {
    pub(crate) archive: Arc<dyn Archive>,
    filter: RwLock<ArchiveFilter>,
    empty: AtomicBool,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("entries", &self.archive.entry_count()).finish()
    }
}

impl Archived for Shelf {
    #[inline]
    fn may_hold(&self, key: u128) -> bool {
        !self.empty.load(Ordering::Acquire) && self.filter.read().may_contain(key)
    }
}

impl Shelf {
    pub(crate) fn new(opened: OpenedArchive) -> Self {
        let empty = AtomicBool::new(opened.filter.key_count() == 0);
        Self { archive: opened.archive, filter: RwLock::new(opened.filter), empty }
    }

    /// Puts entries; durable, and known to the filter, when it returns.
    pub(crate) fn put(&self, entries: &[(u128, Vec<u8>)], high_water: u64) -> Result<(), Error> {
        let list: Vec<(u128, &[u8])> = entries.iter().map(|(k, v)| (*k, v.as_slice())).collect();
        self.archive.put_batch(&list, high_water.max(self.archive.high_water()))?;
        for chunk in entries.chunks(FILTER_STEP) {
            let mut filter = self.filter.write();
            chunk.iter().for_each(|(key, _)| filter.insert(*key));
        }
        self.empty.store(false, Ordering::Release);
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.filter.read().memory_bytes()
    }

    fn get(&self, key: u128) -> Result<Option<Entry>, Error> {
        let Some(bytes) = self.archive.get(key)? else { return Ok(None) };
        decode(&bytes).map(Some).map_err(|_| {
            Error::new(
                crate::ErrorKind::Damaged,
                format!("archived entry {key:032x} is malformed"),
                "run `onhand rebuild` on the data directory",
            )
        })
    }

    /// Answers a command whose keys may be archived; `None` if they are not.
    pub(crate) fn answer(
        &self,
        command: &Command,
    ) -> Result<Option<Result<Receipt, Refusal>>, Error> {
        if let Some(key) = command.key()
            && let Some(entry) = self.get(key.bits())?
        {
            return Ok(Some(repeat(&entry, command)));
        }
        let Some(order) = command.order() else { return Ok(None) };
        Ok(match self.get(order.bits())? {
            Some(Entry::Order(order, _)) => {
                Some(Err(settled_refusal(order.status(), order.was_reserved())))
            }
            Some(Entry::Answered(_)) => Some(Err(refuse(Reject::OrderUnknown, 0, 0, 0))),
            None => None,
        })
    }

    /// Reads an archived order.
    pub(crate) fn order(
        &self,
        key: u128,
        published: &Published,
    ) -> Result<Option<OrderView>, Error> {
        match self.get(key)? {
            Some(Entry::Order(order, detail)) => Ok(Some(view(&order, &detail, published))),
            Some(Entry::Answered(_)) | None => Ok(None),
        }
    }
}

/// Returns what a repetition of an archived command is answered.
fn repeat(entry: &Entry, command: &Command) -> Result<Receipt, Refusal> {
    let print = fingerprint::of(command);
    match entry {
        Entry::Order(order, detail)
            if matches!(command, Command::Buy(_) | Command::Reserve(_))
                && order.fingerprint == print =>
        {
            Ok(Receipt::Order(receipt(order, detail)))
        }
        Entry::Answered(answer)
            if !matches!(command, Command::Buy(_) | Command::Reserve(_))
                && answer.fingerprint == print =>
        {
            Ok(receipt_of(answer))
        }
        Entry::Order(..) | Entry::Answered(_) => Err(refuse(Reject::IdempotencyKeyReused, 0, 0, 0)),
    }
}

fn receipt(order: &Order, detail: &Detail) -> OrderReceipt {
    let reserved = order.was_reserved();
    let full = detail.lines.iter().all(|l| l.granted == l.asked);
    OrderReceipt {
        order: order.id(),
        status: if reserved { OrderStatus::Reserved } else { OrderStatus::Placed },
        seq: order.created_seq(),
        total: Money::trusted(order.total(), order.currency()),
        risk: order.first_risk(),
        deadline: if reserved {
            Timestamp::from_millis(detail.first_deadline)
        } else {
            Timestamp::ZERO
        },
        grants: if full {
            Grants::Full
        } else {
            Grants::ByLine(detail.lines.iter().map(|l| l.granted).collect())
        },
    }
}

fn view(order: &Order, detail: &Detail, published: &Published) -> OrderView {
    let id = |index| published.sku_at(index).map_or(SkuId::new(0), |sku| sku.id);
    let lines = detail.lines.iter().enumerate().map(|(at, line)| LineView {
        sku: id(line.sku),
        ordered: line.asked,
        reserved: 0,
        committed: 0,
        short: line.short,
        shipped: line.shipped,
        cancelled: line.cancelled,
        cells: detail
            .parts
            .iter()
            .filter(|part| usize::from(part.line) == at)
            .map(|part| {
                let name = published.cell(part.cell).unwrap_or_default();
                CellPart {
                    sku: id(part.sku),
                    cell: part.cell.0,
                    location: crate::LocationId(name.location),
                    lot: crate::LotId(name.lot),
                    reserved: 0,
                    committed: 0,
                }
            })
            .collect(),
    });
    OrderView {
        order: order.id(),
        status: order.status(),
        risk: order.risk(),
        version: order.version.into(),
        customer: order.customer(),
        total: Money::trusted(order.total(), order.currency()),
        created_seq: order.created_seq(),
        deadline: Timestamp::ZERO,
        archived: true,
        lines: lines.collect(),
        seq: order.last_seq(),
    }
}
