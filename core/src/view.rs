//! What readers see: stock, SKUs and orders as plain values.

use crate::command::{Placement, SkuKind};
use crate::decided::Risk;
use crate::domain::bucket::CellNo;
use crate::domain::catalogue::Sku;
use crate::domain::order::{Detail, OrderLine, Part};
use crate::id::{CustomerId, LocationId, LotId, OrderId, SkuId};
use crate::money::Money;
use crate::quantity::Quantity;
use crate::reply::OrderStatus;
use crate::state::State;
use crate::time::Timestamp;

/// Units of a SKU over all its cells, at one position of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockView {
    /// The SKU.
    pub sku: SkuId,
    /// May be promised now.
    pub available: u64,
    /// Taken by baskets whose commit is in flight between shards.
    pub tentative: u64,
    /// Held by reservations.
    pub reserved: u64,
    /// Promised to placed orders, not shipped.
    pub committed: u64,
    /// Set aside, for all reasons together.
    pub unavailable: u64,
    /// Under way between locations.
    pub in_transit: u64,
    /// Shipped to customers, ever.
    pub shipped: u64,
    /// Durable position that these counts reflect; later ones may not have touched the SKU.
    pub seq: u64,
}

/// A SKU as defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkuView {
    /// Number of the SKU in the order of definition, from 0.
    pub index: u32,
    /// Its id.
    pub id: SkuId,
    /// The seller's code.
    pub code: String,
    /// Kind.
    pub kind: SkuKind,
    /// List price of one unit.
    pub price: Money,
    /// Placement.
    pub placement: Placement,
    /// Most units for one customer.
    pub limit: Option<Quantity>,
    /// Components of a kit with their units each.
    pub components: Vec<(SkuId, Quantity)>,
    /// Counts the definitions, from 1.
    pub version: u32,
}

impl SkuView {
    pub(crate) fn new(state: &State, index: u32) -> Self {
        let sku: &Sku = state.catalogue.get(index);
        let component = |(index, units): &(u32, u32)| {
            (state.catalogue.get(*index).id, Quantity::trusted(*units))
        };
        Self {
            index,
            id: sku.id,
            code: sku.code.as_ref().to_owned(),
            kind: sku.kind,
            price: Money::trusted(sku.price, sku.currency),
            placement: sku.placement,
            limit: Quantity::new(sku.limit).filter(|l| *l != Quantity::ZERO),
            components: sku.components.iter().map(component).collect(),
            version: sku.version,
        }
    }
}

/// An order as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// The order.
    pub order: OrderId,
    /// Its status.
    pub status: OrderStatus,
    /// Its suspicion.
    pub risk: Risk,
    /// Counts its changes, from 1.
    pub version: u32,
    /// Its customer.
    pub customer: CustomerId,
    /// Its total when it was made.
    pub total: Money,
    /// Position of the record that made it.
    pub created_seq: u64,
    /// Deadline of a reservation, else [`Timestamp::ZERO`].
    pub deadline: Timestamp,
    /// Whether it was read from the archive.
    pub archived: bool,
    /// Its lines in the order of the basket.
    pub lines: Vec<LineView>,
    /// Position of its last record.
    pub seq: u64,
}

/// One line of an order; of a kit, kits are counted.
///
/// `ordered = reserved + committed + short + shipped + cancelled`; nothing is backordered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineView {
    /// The SKU.
    pub sku: SkuId,
    /// Units asked.
    pub ordered: u32,
    /// Units reserved.
    pub reserved: u32,
    /// Units promised and not shipped.
    pub committed: u32,
    /// Units found missing.
    pub short: u32,
    /// Units shipped.
    pub shipped: u32,
    /// Units given back, or not granted at all.
    pub cancelled: u32,
    /// Where the units are.
    pub cells: Vec<CellPart>,
}

/// Units of a line in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellPart {
    /// SKU of the cell: the line's, or a component of its kit.
    pub sku: SkuId,
    /// Number of the cell.
    pub cell: u32,
    /// Location; [`LocationId::ANY`] where the cell belongs to another shard.
    pub location: LocationId,
    /// Lot.
    pub lot: LotId,
    /// Units reserved.
    pub reserved: u32,
    /// Units committed.
    pub committed: u32,
}

impl OrderView {
    /// Reads an order out of its home shard's state.
    pub(crate) fn new(state: &State, slot: u32) -> Self {
        let order = state.orders.get(slot);
        let simple;
        let detail = if let Some(detail) = order.detail() {
            state.detail(detail)
        } else {
            simple = crate::apply::change::detail_of_simple(state, slot);
            &simple
        };
        let live = order.status() == OrderStatus::Reserved;
        Self {
            order: order.id(),
            status: order.status(),
            risk: order.risk(),
            version: order.version.into(),
            customer: order.customer(),
            total: Money::trusted(order.total(), order.currency()),
            created_seq: order.created_seq(),
            deadline: if live { order.deadline() } else { Timestamp::ZERO },
            archived: false,
            lines: lines(state, detail),
            seq: order.last_seq(),
        }
    }
}

fn lines(state: &State, detail: &Detail) -> Vec<LineView> {
    let line = |(at, line): (usize, &OrderLine)| {
        let held = |held: fn(&Part) -> u32| {
            crate::apply::change::units_in(state, &detail.parts, at, line, held)
        };
        LineView {
            sku: state.catalogue.get(line.sku).id,
            ordered: line.asked,
            reserved: held(|p| p.reserved),
            committed: held(|p| p.committed),
            short: line.short,
            shipped: line.shipped,
            cancelled: line.cancelled,
            cells: cells(state, detail, at),
        }
    };
    detail.lines.iter().enumerate().map(line).collect()
}

fn cells(state: &State, detail: &Detail, at: usize) -> Vec<CellPart> {
    let of_line = detail.parts.iter().filter(|p| usize::from(p.line) == at);
    of_line.map(|part| cell(state, part, part.cell)).collect()
}

fn cell(state: &State, part: &Part, number: CellNo) -> CellPart {
    let own = number.shard() == state.shard && number.index() < state.cells.high();
    let (location, lot) = if own {
        let cell = state.cells.get(number.index());
        (LocationId(cell.location), LotId(cell.lot))
    } else {
        (LocationId::ANY, LotId(0))
    };
    CellPart {
        sku: state.catalogue.get(part.sku).id,
        cell: number.0,
        location,
        lot,
        reserved: part.reserved,
        committed: part.committed,
    }
}
