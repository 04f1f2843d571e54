//! What is asked of the engine.

use crate::decided::{Decided, PolicyStep, RecordRisk};
use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
use crate::money::Money;
use crate::quantity::Quantity;

/// A request to change something; the engine answers each with a [`Reply`](crate::Reply).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Defines a SKU, or changes its price or limit.
    DefineSku(Box<DefineSku>),
    /// Takes in units from a supplier.
    Receive(Receive),
    /// Sets the available units after a count, if they are what the caller expected.
    Adjust(Adjust),
    /// States what a count found in a cell, promised units included.
    Count(Count),
    /// Sets units aside, or brings them back.
    Quarantine(Quarantine),
    /// Sends units from one location to another.
    TransferOut(TransferOut),
    /// Takes in units that were sent from another location.
    TransferIn(TransferIn),
    /// Takes in the opening stock of many cells at once.
    Import(Import),
    /// Reserves a basket for a while.
    Reserve(Reserve),
    /// Moves the deadline of a reservation.
    Extend(Extend),
    /// Gives a reservation up.
    Release(Release),
    /// Turns a reservation into a placed order.
    Place(Place),
    /// Places an order in one step.
    Buy(Buy),
    /// Gives back unshipped units of a placed order.
    Cancel(Cancel),
    /// Ships committed units.
    Ship(Ship),
    /// Reports committed units as missing.
    Short(Short),
    /// Records what happens to a policy: a plugin or built-in with its configuration.
    PolicyStep(Box<PolicyStep>),
    /// Records what was found about an order under challenge or review.
    RecordRisk(RecordRisk),
    /// Lets time pass: what is due expires.
    Tick,
}

impl Command {
    /// Returns the idempotency key; `Tick` has none.
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Self::DefineSku(define) => define.key,
            Self::Receive(receive) => receive.key,
            Self::Adjust(adjust) => adjust.key,
            Self::Count(count) => count.key,
            Self::Quarantine(quarantine) => quarantine.key,
            Self::TransferOut(transfer) => transfer.key,
            Self::TransferIn(transfer) => transfer.key,
            Self::Import(import) => import.key,
            Self::Reserve(reserve) => reserve.key,
            Self::Extend(extend) => extend.key,
            Self::Release(release) => release.key,
            Self::Place(place) => place.key,
            Self::Buy(buy) => buy.key,
            Self::Cancel(cancel) => cancel.key,
            Self::Ship(ship) => ship.key,
            Self::Short(short) => short.key,
            Self::PolicyStep(step) => step.key,
            Self::RecordRisk(record) => record.key,
            Self::Tick => return None,
        })
    }

    /// Returns the order that a command changes; `None` for one that makes an order or none.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Self::Extend(extend) => Some(extend.order),
            Self::Release(release) => Some(release.order),
            Self::Place(place) => Some(place.order),
            Self::Cancel(cancel) => Some(cancel.order),
            Self::Ship(ship) => Some(ship.order),
            Self::Short(short) => Some(short.order),
            Self::RecordRisk(record) => Some(record.order),
            Self::DefineSku(_)
            | Self::PolicyStep(_)
            | Self::Receive(_)
            | Self::Adjust(_)
            | Self::Count(_)
            | Self::Quarantine(_)
            | Self::TransferOut(_)
            | Self::TransferIn(_)
            | Self::Import(_)
            | Self::Reserve(_)
            | Self::Buy(_)
            | Self::Tick => None,
        }
    }
}

/// Which commands may need which shard: what must be in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// All cells of the SKU are together.
    #[default]
    BySku,
    /// The cells of one location are together; every line must then name its location.
    ByLocation,
    /// The cells of all SKUs with this group number (2 or more) are together.
    Group(u64),
}

/// What kind of scarce thing a SKU is. The engine treats them alike but for kits, which stand for
/// their components, and coupons, whose uses follow the goods of their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SkuKind {
    /// Goods in a store.
    #[default]
    Goods = 0,
    /// A seat.
    Seat = 1,
    /// A delivery or appointment slot.
    Slot = 2,
    /// The uses of a coupon.
    Coupon = 3,
    /// The budget of a campaign, in minor units.
    Budget = 4,
    /// A kit: it has no stock of its own, its components have.
    Kit = 5,
}

/// Defines a SKU, or changes its price or limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefineSku {
    /// Idempotency key.
    pub key: Key,
    /// The seller's code; the SKU's id derives from it.
    pub code: String,
    /// Kind; can't be changed later.
    pub kind: SkuKind,
    /// List price of one unit, not negative; the currency can't be changed later.
    pub price: Money,
    /// Placement; can't be changed later.
    pub placement: Placement,
    /// Most units for one customer over all its orders; `None` for no limit.
    pub limit: Option<Quantity>,
    /// Components of a kit with their units each, else empty; can't be changed later.
    pub components: Vec<(SkuId, Quantity)>,
}

/// Takes in units from a supplier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Idempotency key.
    pub key: Key,
    /// SKU; not a kit.
    pub sku: SkuId,
    /// Location; not [`LocationId::ANY`].
    pub location: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Units, at least 1.
    pub quantity: Quantity,
}

/// Sets the available units after a count (compare-and-set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// Idempotency key.
    pub key: Key,
    /// SKU.
    pub sku: SkuId,
    /// Location.
    pub location: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Available units that the caller has seen.
    pub expected: u64,
    /// Available units that there shall be.
    pub available: u64,
}

/// States how many units a count found in a cell, promised ones included (compare-and-set).
///
/// Units fit for sale are counted: on hand less those set aside, whether anyone was promised them
/// or not. If fewer were found than expected, available units go first; then reservations are
/// broken, the newest first, then commitments, the newest first. A broken unit is `short` on its
/// order's line; each break is an event of its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Idempotency key.
    pub key: Key,
    /// SKU.
    pub sku: SkuId,
    /// Location.
    pub location: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Units that the books had when it was counted: available, reserved, committed, and taken by
    /// baskets in flight.
    pub expected: u64,
    /// Units that were found.
    pub counted: u64,
}

/// Why units are unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Damaged.
    Damaged = 8,
    /// Held by quality control.
    QualityControl = 9,
    /// Kept as safety stock.
    SafetyStock = 10,
    /// In quarantine.
    Quarantine = 11,
    /// Missing.
    Missing = 12,
}

/// Sets units aside, or brings them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Idempotency key.
    pub key: Key,
    /// SKU.
    pub sku: SkuId,
    /// Location.
    pub location: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Units, at least 1.
    pub quantity: Quantity,
    /// Why.
    pub reason: Reason,
    /// `false` sets units aside, `true` makes them available again.
    pub back: bool,
}

/// Sends units from one location to another; they are in transit until taken in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferOut {
    /// Idempotency key; also the transfer's id.
    pub key: Key,
    /// SKU.
    pub sku: SkuId,
    /// Location that the units leave.
    pub from: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Location that they go to.
    pub to: LocationId,
    /// Units, at least 1.
    pub quantity: Quantity,
}

/// Takes in units of a transfer, all or some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferIn {
    /// Idempotency key.
    pub key: Key,
    /// The transfer: the key of its [`TransferOut`].
    pub transfer: Key,
    /// SKU of the transfer.
    pub sku: SkuId,
    /// Location that the units left.
    pub from: LocationId,
    /// Units that arrived, at least 1.
    pub quantity: Quantity,
}

/// One entry of an [`Import`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLine {
    /// SKU.
    pub sku: SkuId,
    /// Location.
    pub location: LocationId,
    /// Lot; 0 for none.
    pub lot: LotId,
    /// Units, at least 1.
    pub quantity: Quantity,
}

/// Takes in the opening stock of many cells at once, all or none.
///
/// All cells must be in one shard; [`Engine::import`](crate::Engine::import) splits a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Idempotency key.
    pub key: Key,
    /// Cells with their units, 1 to [`IMPORT_LINES_MAX`](crate::limits::IMPORT_LINES_MAX).
    pub lines: Vec<ImportLine>,
}

/// Price of a line as decided outside the engine and recorded with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePrice {
    /// Price of one unit in minor units, not negative.
    pub unit: i64,
    /// Discount on the whole line in minor units, at most `unit * quantity`.
    pub discount: i64,
}

/// One line of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// SKU; a kit is expanded into its components.
    pub sku: SkuId,
    /// Units asked, at least 1.
    pub quantity: Quantity,
    /// Location to take them from; [`LocationId::ANY`] lets the engine choose.
    pub location: LocationId,
    /// Decided price; `None` takes the SKU's list price. Either all lines carry one or none.
    pub price: Option<LinePrice>,
}

impl Line {
    /// Makes a line at the list price, from any location.
    pub const fn new(sku: SkuId, quantity: Quantity) -> Self {
        Self { sku, quantity, location: LocationId::ANY, price: None }
    }

    /// Returns this line, taken from one location.
    #[must_use]
    pub const fn at(mut self, location: LocationId) -> Self {
        self.location = location;
        self
    }

    /// Returns this line with a decided price.
    #[must_use]
    pub const fn priced(mut self, price: LinePrice) -> Self {
        self.price = Some(price);
        self
    }
}

/// The lines of a basket; one line needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// One line.
    One(Line),
    /// Several lines, at most [`LINES_MAX`](crate::limits::LINES_MAX).
    Many(Box<[Line]>),
}

impl Lines {
    /// Returns the lines in order.
    pub fn as_slice(&self) -> &[Line] {
        match self {
            Self::One(line) => std::slice::from_ref(line),
            Self::Many(lines) => lines,
        }
    }
}

impl From<Line> for Lines {
    fn from(line: Line) -> Self {
        Self::One(line)
    }
}

impl From<Vec<Line>> for Lines {
    fn from(lines: Vec<Line>) -> Self {
        match lines.as_slice() {
            [line] => Self::One(*line),
            _ => Self::Many(lines.into_boxed_slice()),
        }
    }
}

/// How much of a basket must be had for it to be taken. Uses of coupons beside goods are not counted
/// as filling a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Every line whole, or nothing.
    #[default]
    All,
    /// At least this many units over all lines, or nothing.
    Min(u32),
    /// What there is, at least one unit.
    Partial,
}

/// Reserves a basket for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Idempotency key; becomes the order's id.
    pub key: Key,
    /// Customer, whom limits count.
    pub customer: CustomerId,
    /// Lines, 1 to [`LINES_MAX`](crate::limits::LINES_MAX).
    pub lines: Lines,
    /// Fill policy.
    pub fill: Fill,
    /// Time to live in milliseconds, 1 to [`TTL_MS_MAX`](crate::limits::TTL_MS_MAX).
    pub ttl_ms: u64,
    /// Longest life with all extensions, at least `ttl_ms`, at most
    /// [`HARD_CAP_MS_MAX`](crate::limits::HARD_CAP_MS_MAX).
    pub hard_cap_ms: u64,
    /// Total that the buyer has seen; another one is [`Reject::PriceChanged`](crate::Reject).
    pub expected_total: Option<Money>,
    /// What policies have decided about the basket; `None` if none was asked.
    pub decided: Option<Box<Decided>>,
}

/// Places an order in one step: the flash-sale path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buy {
    /// Idempotency key; becomes the order's id.
    pub key: Key,
    /// Customer, whom limits count.
    pub customer: CustomerId,
    /// Lines, 1 to [`LINES_MAX`](crate::limits::LINES_MAX).
    pub lines: Lines,
    /// Fill policy.
    pub fill: Fill,
    /// Total that the buyer has seen; another one is [`Reject::PriceChanged`](crate::Reject).
    pub expected_total: Option<Money>,
    /// What policies have decided about the basket; `None` if none was asked. Under challenge or
    /// review the order becomes a reservation, for [`Decided::review_ms`].
    pub decided: Option<Box<Decided>>,
}

impl Buy {
    /// Makes a purchase of one line, filled whole, at the price of the day.
    pub const fn one(key: Key, customer: CustomerId, line: Line) -> Self {
        Self {
            key,
            customer,
            lines: Lines::One(line),
            fill: Fill::All,
            expected_total: None,
            decided: None,
        }
    }
}

/// Moves the deadline of a reservation to `now + ttl_ms`, at most to its hard deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// Idempotency key.
    pub key: Key,
    /// The order that the reservation made.
    pub order: OrderId,
    /// Time to live from now in milliseconds.
    pub ttl_ms: u64,
}

/// Gives a reservation up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Idempotency key.
    pub key: Key,
    /// The order that the reservation made.
    pub order: OrderId,
    /// A number of the caller's for the journal; 0 for none.
    pub reason: u16,
}

/// Turns a reservation into a placed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Idempotency key.
    pub key: Key,
    /// The order that the reservation made.
    pub order: OrderId,
    /// Total that the buyer has seen; another one is [`Reject::PriceChanged`](crate::Reject).
    pub expected_total: Option<Money>,
}

/// Units of one order line, counted from 0 in the order of the basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineQuantity {
    /// Index of the line.
    pub line: u16,
    /// Units, at least 1; kits of a kit line.
    pub quantity: Quantity,
}

/// Gives back unshipped units of a placed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Idempotency key.
    pub key: Key,
    /// The order.
    pub order: OrderId,
    /// Units by line; empty for everything that is committed.
    pub lines: Vec<LineQuantity>,
    /// Version that the caller has seen; another one is
    /// [`Reject::StaleVersion`](crate::Reject::StaleVersion).
    pub expected_version: Option<u32>,
    /// A number of the caller's for the journal; 0 for none.
    pub reason: u16,
}

/// Ships committed units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ship {
    /// Idempotency key.
    pub key: Key,
    /// The order.
    pub order: OrderId,
    /// Units by line; empty for everything that is committed.
    pub lines: Vec<LineQuantity>,
    /// Version that the caller has seen.
    pub expected_version: Option<u32>,
}

/// Reports committed units as missing: a short pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// Idempotency key.
    pub key: Key,
    /// The order.
    pub order: OrderId,
    /// Units by line, at least one entry.
    pub lines: Vec<LineQuantity>,
    /// Version that the caller has seen.
    pub expected_version: Option<u32>,
}
