//! A naive model of the engine: ordered maps, every rule in a few plain lines, no concern for
//! speed. Written from the domain's rules and the documentation of the commands.
#![allow(unreachable_pub, dead_code, reason = "the test file that includes it uses it")]
#![allow(
    clippy::collapsible_if,
    clippy::collapsible_match,
    clippy::unused_self,
    reason = "each rule stands by itself, in the order of the documentation"
)]

mod count;
pub mod decide;
mod settle;
mod shape;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use decide::PolicyId;
use settle::Way;
use shape::check_shape;

use onhand_core::limits::{HARD_CAP_MS_MAX, IMPORT_LINES_MAX, LINES_MAX, TTL_MS_MAX};
use onhand_core::{
    Adjust, Buy, Command, Count, Decided, DefineSku, Fill, Import, Line, LineQuantity, LocationId,
    Money, OrderId, OrderStatus, OrderView, Placement, Quantity, Reason, Receipt, Reject, Reserve,
    Risk, SkuId, SkuKind, StockView, TransferIn, TransferOut,
};

/// A cell: SKU, location, lot.
pub type CellKey = (SkuId, u32, u32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub available: u64,
    pub reserved: u64,
    pub committed: u64,
    pub unavailable: BTreeMap<u8, u64>,
    pub in_transit: u64,
    pub shipped: u64,
}

#[derive(Clone, Debug)]
pub struct OrderLine {
    pub sku: SkuId,
    pub asked: u32,
    pub granted: u32,
    pub shipped: u32,
    pub cancelled: u32,
    pub short: u32,
}

/// Units of a line in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub line: usize,
    pub cell: CellKey,
    pub reserved: u32,
    pub committed: u32,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub status: OrderStatus,
    pub was_reserved: bool,
    pub risk: Risk,
    pub asked_as_buy: bool,
    /// How many orders were made before it.
    pub made: usize,
    pub customer: u64,
    pub total: Money,
    pub version: u32,
    pub deadline: u64,
    pub hard: u64,
    pub lines: Vec<OrderLine>,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub struct Transfer {
    pub sku: SkuId,
    pub from: u32,
    pub lot: u32,
    pub to: u32,
    pub left: u32,
}

/// What a command must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The first receipt again.
    Repeated,
    /// The first of these rejects in the order of precedence: those that apply.
    Refused(BTreeSet<Reject>),
    /// A new order, with the units granted by line and its total.
    Order {
        status: OrderStatus,
        risk: Risk,
        granted: Vec<u32>,
        total: Money,
        deadline: u64,
    },
    /// A change of an order.
    Change {
        status: OrderStatus,
        version: u32,
        deadline: u64,
    },
    /// A change of stock or the catalogue, with the SKU's version after a definition.
    Stock {
        version: u32,
    },
    /// A step of the policy with this number.
    Policy {
        no: u16,
    },
    Tick,
}

type Checked<T = ()> = Result<T, BTreeSet<Reject>>;

fn reject<T>(reject: Reject) -> Checked<T> {
    Err(BTreeSet::from([reject]))
}

fn none_of(rejects: BTreeSet<Reject>) -> Checked {
    if rejects.is_empty() { Ok(()) } else { Err(rejects) }
}

/// What one line of a basket wants of one SKU with stock.
#[derive(Clone, Debug)]
struct Want {
    line: usize,
    sku: SkuId,
    location: u32,
    per: u32,
    units: u32,
}

/// A basket that has passed its checks.
struct Accepted {
    granted: Vec<u32>,
    total: Money,
}

struct Basket<'a> {
    customer: u64,
    lines: &'a [Line],
    fill: Fill,
    expected_total: Option<Money>,
    times: Option<(u64, u64)>,
    decided: Option<&'a Decided>,
    buy: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: u64,
    pub skus: BTreeMap<SkuId, (DefineSku, u32)>,
    pub cells: BTreeMap<CellKey, Cell>,
    pub orders: BTreeMap<OrderId, Order>,
    pub transfers: BTreeMap<u128, Transfer>,
    /// Policies in the order of their numbers: kind, plugin, configuration.
    pub policies: Vec<PolicyId>,
    /// What was carried out, by key.
    pub answered: BTreeMap<u128, Command>,
    pub receipts: BTreeMap<u128, Receipt>,
    /// Units that came in less those that went out by a count, by SKU.
    pub brought_in: BTreeMap<SkuId, i128>,
    /// Broken reservations, commitments, and those of them that were kits.
    pub broken: (u64, u64, u64),
    /// Uses of coupons that left with goods, were given back, and followed broken goods.
    pub followed: (u64, u64, u64),
}

impl Model {
    /// Moves time; what is due expires.
    pub fn pass(&mut self, clock: u64) {
        self.now = self.now.max(clock);
        let due: Vec<OrderId> = self
            .orders
            .iter()
            .filter(|(_, o)| o.status == OrderStatus::Reserved && o.deadline <= self.now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.give_up(id, OrderStatus::Expired);
        }
    }

    /// Says what a command must come to, and carries it out except for a new order, whose cells
    /// the engine may choose: see [`Model::enter`].
    pub fn expect(&mut self, command: &Command) -> Expected {
        match self.carry_out(command) {
            Ok(expected) => {
                let key = command.key().map(onhand_core::Key::bits);
                if let Some(key) = key.filter(|_| expected != Expected::Repeated) {
                    self.answered.insert(key, command.clone());
                }
                expected
            }
            Err(rejects) => Expected::Refused(rejects),
        }
    }

    fn carry_out(&mut self, command: &Command) -> Checked<Expected> {
        check_shape(command).map_err(|shape| self.with_lookups(command, shape))?;
        if let Some(key) = command.key() {
            match self.answered.get(&key.bits()) {
                Some(before) if decide::asked(before) == decide::asked(command) => {
                    return Ok(Expected::Repeated);
                }
                Some(_) => return Err(self.reused(command)),
                None => (),
            }
        }
        let stock = Expected::Stock { version: 0 };
        match command {
            Command::DefineSku(define) => self.define(define),
            Command::Receive(c) => {
                self.check_cell(&[(c.sku, c.location)])?;
                self.bring((c.sku, c.location.0, c.lot.0), c.quantity);
                Ok(stock)
            }
            Command::Import(import) => self.import(import).map(|()| stock),
            Command::Adjust(adjust) => self.adjust(adjust).map(|()| stock),
            Command::Count(count) => self.count(count).map(|()| stock),
            Command::Quarantine(c) => {
                self.check_cell(&[(c.sku, c.location)])?;
                let key = (c.sku, c.location.0, c.lot.0);
                self.quarantine(key, c.quantity.units().into(), c.reason, c.back).map(|()| stock)
            }
            Command::TransferOut(transfer) => self.transfer_out(transfer).map(|()| stock),
            Command::TransferIn(transfer) => self.transfer_in(transfer).map(|()| stock),
            Command::Buy(buy) => self.basket(&of_buy(buy)),
            Command::Reserve(reserve) => self.basket(&of_reserve(reserve)),
            Command::Extend(c) => self.extend(c.order, c.ttl_ms),
            Command::Release(c) => {
                self.reserved(c.order)?;
                Ok(self.give_up(c.order, OrderStatus::Cancelled))
            }
            Command::Place(c) => self.place(c.order, c.expected_total),
            Command::Cancel(c) => {
                self.move_on(c.order, &c.lines, c.expected_version, Way::Available)
            }
            Command::Ship(c) => self.move_on(c.order, &c.lines, c.expected_version, Way::Shipped),
            Command::Short(c) => self.move_on(c.order, &c.lines, c.expected_version, Way::Missing),
            Command::PolicyStep(step) => Ok(self.policy_step(step)),
            Command::RecordRisk(c) => self.record_risk(c.order, c.risk),
            Command::Tick => Ok(Expected::Tick),
            _ => unreachable!("the model knows every command"),
        }
    }

    /// A key that was used, and what else is wrong with the command.
    fn reused(&self, command: &Command) -> BTreeSet<Reject> {
        self.with_lookups(command, BTreeSet::from([Reject::IdempotencyKeyReused]))
    }

    /// Adds what the catalogue says against a basket: a kit too large goes before a used key.
    fn with_lookups(&self, command: &Command, mut rejects: BTreeSet<Reject>) -> BTreeSet<Reject> {
        let basket = match command {
            Command::Buy(buy) => of_buy(buy),
            Command::Reserve(reserve) => of_reserve(reserve),
            _ => return rejects,
        };
        if !rejects.contains(&Reject::LineCount) {
            let wants = self.wants(basket.lines);
            rejects.extend(self.check_lookups(&basket, &wants).err().unwrap_or_default());
        }
        rejects
    }

    fn is_kit(&self, sku: SkuId) -> bool {
        self.skus.get(&sku).is_some_and(|(define, _)| define.kind == SkuKind::Kit)
    }

    /// Whether a line is a use of a coupon that goes with goods, given the SKUs of all lines.
    fn is_use(&self, skus: &[SkuId], at: usize) -> bool {
        let coupon = |sku: &SkuId| self.skus[sku].0.kind == SkuKind::Coupon;
        coupon(&skus[at]) && !skus.iter().all(coupon)
    }

    /// Checks that SKUs have stock and locations are named.
    fn check_cell(&self, cells: &[(SkuId, LocationId)]) -> Checked {
        let mut rejects = BTreeSet::new();
        for (sku, location) in cells {
            if !self.skus.contains_key(sku) {
                rejects.insert(Reject::SkuUnknown);
            }
            if *location == LocationId::ANY {
                rejects.insert(Reject::LocationInvalid);
            }
            if self.is_kit(*sku) {
                rejects.insert(Reject::KitMismatch);
            }
        }
        none_of(rejects)
    }

    fn define(&mut self, define: &DefineSku) -> Checked<Expected> {
        let mut rejects = BTreeSet::new();
        for (sku, _) in &define.components {
            match self.skus.get(sku) {
                None => {
                    rejects.insert(Reject::SkuUnknown);
                }
                Some((component, _)) => {
                    if component.kind == SkuKind::Kit {
                        rejects.insert(Reject::KitMismatch);
                    }
                    if component.price.currency() != define.price.currency() {
                        rejects.insert(Reject::CurrencyMismatch);
                    }
                }
            }
        }
        let id = SkuId::from_code(&define.code).expect("the shape was checked");
        let before = self.skus.get(&id);
        if let Some((old, _)) = before {
            let same = old.kind == define.kind
                && old.placement == define.placement
                && old.price.currency() == define.price.currency()
                && old.components == define.components
                && old.limit.is_some() == define.limit.is_some();
            if !same {
                rejects.insert(Reject::SkuFixed);
            }
        }
        none_of(rejects)?;
        let version = before.map_or(1, |(_, version)| version + 1);
        self.skus.insert(id, (define.clone(), version));
        Ok(Expected::Stock { version })
    }

    fn bring(&mut self, key: CellKey, quantity: Quantity) {
        self.cells.entry(key).or_default().available += u64::from(quantity.units());
        *self.brought_in.entry(key.0).or_default() += i128::from(quantity.units());
    }

    fn import(&mut self, import: &Import) -> Checked {
        let cells: Vec<_> = import.lines.iter().map(|l| (l.sku, l.location)).collect();
        self.check_cell(&cells)?;
        for line in &import.lines {
            self.bring((line.sku, line.location.0, line.lot.0), line.quantity);
        }
        Ok(())
    }

    fn adjust(&mut self, adjust: &Adjust) -> Checked {
        self.check_cell(&[(adjust.sku, adjust.location)])?;
        let key = (adjust.sku, adjust.location.0, adjust.lot.0);
        let Some(cell) = self.cells.get_mut(&key) else { return reject(Reject::StockShort) };
        if cell.available != adjust.expected {
            return reject(Reject::StaleCount);
        }
        cell.available = adjust.available;
        *self.brought_in.entry(adjust.sku).or_default() +=
            i128::from(adjust.available) - i128::from(adjust.expected);
        Ok(())
    }

    fn quarantine(&mut self, key: CellKey, units: u64, reason: Reason, back: bool) -> Checked {
        let Some(cell) = self.cells.get_mut(&key) else { return reject(Reject::StockShort) };
        let aside = cell.unavailable.entry(reason as u8).or_default();
        let (from, to) =
            if back { (aside, &mut cell.available) } else { (&mut cell.available, aside) };
        if *from < units {
            return reject(Reject::StockShort);
        }
        *from -= units;
        *to += units;
        Ok(())
    }

    fn transfer_out(&mut self, transfer: &TransferOut) -> Checked {
        let mut rejects =
            self.check_cell(&[(transfer.sku, transfer.from)]).err().unwrap_or_default();
        if transfer.to == LocationId::ANY || transfer.to == transfer.from {
            rejects.insert(Reject::LocationInvalid);
        }
        none_of(rejects)?;
        let key = (transfer.sku, transfer.from.0, transfer.lot.0);
        let units = u64::from(transfer.quantity.units());
        let cell = self.cells.get_mut(&key).filter(|cell| cell.available >= units);
        let Some(cell) = cell else { return reject(Reject::StockShort) };
        cell.available -= units;
        cell.in_transit += units;
        let (from, lot, to) = (transfer.from.0, transfer.lot.0, transfer.to.0);
        let left = transfer.quantity.units();
        let entry = Transfer { sku: transfer.sku, from, lot, to, left };
        self.transfers.insert(transfer.key.bits(), entry);
        Ok(())
    }

    fn transfer_in(&mut self, arrival: &TransferIn) -> Checked {
        if !self.skus.contains_key(&arrival.sku) {
            return reject(Reject::SkuUnknown);
        }
        if arrival.from == LocationId::ANY {
            return reject(Reject::LocationInvalid);
        }
        let units = arrival.quantity.units();
        let transfer = self.transfers.get_mut(&arrival.transfer.bits());
        let transfer = transfer
            .filter(|t| t.sku == arrival.sku && t.from == arrival.from.0 && t.left >= units);
        let Some(transfer) = transfer else { return reject(Reject::TransferUnknown) };
        transfer.left -= units;
        let (from, to) = (transfer.from, transfer.to);
        let lot = transfer.lot;
        let units = u64::from(units);
        self.cells.get_mut(&(arrival.sku, from, lot)).expect("it left there").in_transit -= units;
        self.cells.entry((arrival.sku, to, lot)).or_default().available += units;
        Ok(())
    }

    fn wants(&self, lines: &[Line]) -> Vec<Want> {
        let mut wants = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let Some((define, _)) = self.skus.get(&line.sku) else { continue };
            let asked = line.quantity.units();
            let location = line.location.0;
            if define.kind == SkuKind::Kit {
                for (sku, per) in &define.components {
                    let per = per.units();
                    let units = asked.saturating_mul(per);
                    wants.push(Want { line: at, sku: *sku, location, per, units });
                }
            } else {
                wants.push(Want { line: at, sku: line.sku, location, per: 1, units: asked });
            }
        }
        wants
    }

    fn basket(&mut self, basket: &Basket<'_>) -> Checked<Expected> {
        self.check_decided(basket)?;
        let Accepted { granted, total } = self.check_basket(basket)?;
        let status =
            if basket.times.is_some() { OrderStatus::Reserved } else { OrderStatus::Placed };
        let deadline = basket.times.map_or(0, |(ttl, _)| self.now + ttl);
        Ok(Expected::Order { status, risk: decide::risk_of(basket), granted, total, deadline })
    }

    fn check_basket(&self, basket: &Basket<'_>) -> Checked<Accepted> {
        let wants = self.wants(basket.lines);
        self.check_lookups(basket, &wants)?;
        let currency = self.skus[&basket.lines[0].sku].0.price.currency();
        let asked: Vec<u32> = basket.lines.iter().map(|l| l.quantity.units()).collect();
        let whole = self.total(basket.lines, &asked);
        if basket.expected_total.is_some_and(|t| i128::from(t.minor()) != whole) {
            return reject(Reject::PriceChanged);
        }
        for want in &wants {
            let Some(limit) = self.skus[&want.sku].0.limit else { continue };
            let same = wants.iter().filter(|w| w.sku == want.sku);
            let asked: u64 = same.map(|w| u64::from(w.units)).sum();
            if self.used(basket.customer, want.sku) + asked > u64::from(limit.units()) {
                return reject(Reject::LimitReached);
            }
        }
        let granted = match basket.fill {
            Fill::All => self.fill_all(&wants).map(|()| asked)?,
            Fill::Min(units) => self.fill_some(basket, &asked, &wants, units.into())?,
            Fill::Partial => self.fill_some(basket, &asked, &wants, 1)?,
        };
        let total = self.total(basket.lines, &granted) as i64;
        Ok(Accepted { granted, total: Money::new(total, currency).expect("checked") })
    }

    fn check_lookups(&self, basket: &Basket<'_>, wants: &[Want]) -> Checked {
        let mut rejects = BTreeSet::new();
        let mut currencies = BTreeSet::new();
        for line in basket.lines {
            match self.skus.get(&line.sku) {
                None => {
                    rejects.insert(Reject::SkuUnknown);
                }
                Some((define, _)) => {
                    currencies.insert(define.price.currency());
                }
            }
        }
        currencies.extend(basket.expected_total.map(Money::currency));
        if currencies.len() > 1 {
            rejects.insert(Reject::CurrencyMismatch);
        }
        let asked: Vec<u32> = basket.lines.iter().map(|l| l.quantity.units()).collect();
        let whole = !asked.contains(&0) && !rejects.contains(&Reject::SkuUnknown);
        if whole && self.total(basket.lines, &asked) > i128::from(Money::MINOR_MAX) {
            rejects.insert(Reject::AmountInvalid);
        }
        for want in wants {
            let (define, _) = &self.skus[&want.sku];
            if want.units > Quantity::MAX.units() {
                rejects.insert(Reject::QuantityInvalid);
            }
            if define.placement == Placement::ByLocation && want.location == 0 {
                rejects.insert(Reject::LocationInvalid);
            }
            if define.limit.is_some() && basket.customer == 0 {
                rejects.insert(Reject::CustomerRequired);
            }
        }
        none_of(rejects)
    }

    fn total(&self, lines: &[Line], granted: &[u32]) -> i128 {
        let amount = |(line, granted): (&Line, &u32)| {
            let list = self.skus[&line.sku].0.price.minor();
            let (unit, discount) = line.price.map_or((list, 0), |p| (p.unit, p.discount));
            let share =
                i128::from(discount) * i128::from(*granted) / i128::from(line.quantity.units());
            i128::from(unit) * i128::from(*granted) - share
        };
        lines.iter().zip(granted).map(amount).sum()
    }

    /// Units of a SKU with a limit that a customer has.
    pub fn used(&self, customer: u64, sku: SkuId) -> u64 {
        let mut used = 0;
        for order in self.orders.values().filter(|o| o.customer == customer && customer != 0) {
            let parts = order.parts.iter().filter(|p| p.cell.0 == sku);
            used += parts.map(|p| u64::from(p.reserved + p.committed)).sum::<u64>();
            for line in &order.lines {
                used += u64::from(line.shipped) * u64::from(self.per(line.sku, sku));
            }
        }
        used
    }

    /// Units of a SKU with stock in one unit of a line's SKU.
    fn per(&self, line: SkuId, sku: SkuId) -> u32 {
        let (define, _) = &self.skus[&line];
        if define.kind != SkuKind::Kit {
            return u32::from(line == sku);
        }
        let component = define.components.iter().find(|(component, _)| *component == sku);
        component.map_or(0, |(_, per)| per.units())
    }

    fn components(&self, line: SkuId) -> Vec<(SkuId, u32)> {
        let (define, _) = &self.skus[&line];
        if define.kind != SkuKind::Kit {
            return vec![(line, 1)];
        }
        define.components.iter().map(|(sku, per)| (*sku, per.units())).collect()
    }

    /// Available units of a SKU at a location, or at all of them.
    fn available(&self, sku: SkuId, location: u32) -> u64 {
        let here = |key: &CellKey| key.0 == sku && (location == 0 || key.1 == location);
        self.cells.iter().filter(|(key, _)| here(key)).map(|(_, cell)| cell.available).sum()
    }

    fn fill_all(&self, wants: &[Want]) -> Checked {
        for want in wants {
            let same = wants.iter().filter(|w| {
                w.sku == want.sku && (want.location == 0 || w.location == want.location)
            });
            let asked: u64 = same.map(|w| u64::from(w.units)).sum();
            if asked > self.available(want.sku, want.location) {
                return reject(Reject::SoldOut);
            }
        }
        Ok(())
    }

    /// Lines with a location take first, each as much as it can. Uses of coupons that go with goods
    /// fill nothing.
    fn fill_some(
        &self,
        basket: &Basket<'_>,
        asked: &[u32],
        wants: &[Want],
        least: u64,
    ) -> Checked<Vec<u32>> {
        let mut granted = vec![0; asked.len()];
        let mut taken: Vec<(SkuId, u32, u64)> = Vec::new();
        for located in [true, false] {
            for (at, asked) in asked.iter().enumerate() {
                let of_line: Vec<&Want> = wants.iter().filter(|w| w.line == at).collect();
                if (of_line[0].location != 0) != located {
                    continue;
                }
                let free = |w: &&&Want| {
                    let same = |t: &&(SkuId, u32, u64)| {
                        t.0 == w.sku && (w.location == 0 || t.1 == w.location)
                    };
                    let gone: u64 = taken.iter().filter(same).map(|t| t.2).sum();
                    (self.available(w.sku, w.location) - gone) / u64::from(w.per)
                };
                let most = of_line.iter().map(|w| free(&w)).min().unwrap_or(0);
                granted[at] = most.min(u64::from(*asked)) as u32;
                let units = |w: &&Want| u64::from(granted[at]) * u64::from(w.per);
                taken.extend(of_line.iter().map(|w| (w.sku, w.location, units(w))));
            }
        }
        let skus: Vec<SkuId> = basket.lines.iter().map(|line| line.sku).collect();
        let goods = (0..granted.len()).filter(|at| !self.is_use(&skus, *at));
        let sum: u64 = goods.map(|at| u64::from(granted[at])).sum();
        if sum >= least {
            return Ok(granted);
        }
        reject(if sum == 0 { Reject::SoldOut } else { Reject::PartialOnly })
    }

    /// Enters an order that the engine has accepted, with the parts that it says.
    ///
    /// # Panics
    ///
    /// Panics if the parts are not what was granted, or not available.
    pub fn enter(&mut self, command: &Command, expected: &Expected, parts: Vec<Part>) {
        let basket = match command {
            Command::Buy(buy) => of_buy(buy),
            Command::Reserve(reserve) => of_reserve(reserve),
            _ => panic!("{command:?} makes no order"),
        };
        let Expected::Order { status, risk, granted, total, deadline } = expected else {
            panic!("{expected:?} is no order")
        };
        for (at, line) in basket.lines.iter().enumerate() {
            for (sku, per) in self.components(line.sku) {
                let of_line = parts.iter().filter(|p| p.line == at && p.cell.0 == sku);
                let here = |p: &&Part| line.location.0 == 0 || p.cell.1 == line.location.0;
                let units: u32 = of_line.filter(here).map(|p| p.reserved + p.committed).sum();
                assert_eq!(units, granted[at] * per, "line {at} of {command:?}: {parts:?}");
            }
        }
        for part in &parts {
            let cell = self.cells.get_mut(&part.cell).expect("a part is in a cell");
            let units = u64::from(part.reserved + part.committed);
            cell.available = cell.available.checked_sub(units).expect("I2: it is available");
            cell.reserved += u64::from(part.reserved);
            cell.committed += u64::from(part.committed);
        }
        let line = |(line, granted): (&Line, &u32)| OrderLine {
            sku: line.sku,
            asked: line.quantity.units(),
            granted: *granted,
            shipped: 0,
            cancelled: line.quantity.units() - granted,
            short: 0,
        };
        let order = Order {
            status: *status,
            was_reserved: basket.times.is_some(),
            risk: *risk,
            asked_as_buy: basket.buy,
            made: self.orders.len(),
            customer: basket.customer,
            total: *total,
            version: 1,
            deadline: *deadline,
            hard: basket.times.map_or(0, |(_, hard)| self.now + hard),
            lines: basket.lines.iter().zip(granted).map(line).collect(),
            parts,
        };
        let key = command.key().expect("a basket has a key");
        self.orders.insert(OrderId::from(key), order);
    }

    /// Chooses cells where there is one for each SKU and location.
    pub fn only_parts(&self, command: &Command, granted: &[u32], reserved: bool) -> Vec<Part> {
        let lines = match command {
            Command::Buy(buy) => buy.lines.as_slice(),
            Command::Reserve(reserve) => reserve.lines.as_slice(),
            _ => &[],
        };
        let mut parts = Vec::new();
        for (at, line) in lines.iter().enumerate().filter(|(at, _)| granted[*at] > 0) {
            for (sku, per) in self.components(line.sku) {
                let units = granted[at] * per;
                let here = |key: &&CellKey| {
                    key.0 == sku && (line.location.0 == 0 || key.1 == line.location.0)
                };
                let cell = *self.cells.keys().find(here).expect("granted units are in a cell");
                let (reserved, committed) = if reserved { (units, 0) } else { (0, units) };
                parts.push(Part { line: at, cell, reserved, committed });
            }
        }
        parts
    }

    fn reserved(&self, order: OrderId) -> Checked {
        let Some(order) = self.orders.get(&order) else { return reject(Reject::OrderUnknown) };
        match order.status {
            OrderStatus::Reserved => Ok(()),
            OrderStatus::Expired => reject(Reject::ReservationExpired),
            OrderStatus::Cancelled if order.was_reserved => reject(Reject::ReservationExpired),
            _ => reject(Reject::StateConflict),
        }
    }

    fn extend(&mut self, id: OrderId, ttl_ms: u64) -> Checked<Expected> {
        self.reserved(id)?;
        let now = self.now;
        let order = self.orders.get_mut(&id).expect("checked");
        order.deadline = (now + ttl_ms).min(order.hard).max(order.deadline);
        order.version += 1;
        let (version, deadline) = (order.version, order.deadline);
        Ok(Expected::Change { status: OrderStatus::Reserved, version, deadline })
    }

    /// Ends a reservation; its units are available again.
    fn give_up(&mut self, id: OrderId, status: OrderStatus) -> Expected {
        let order = self.orders.get_mut(&id).expect("checked");
        for part in &mut order.parts {
            let cell = self.cells.get_mut(&part.cell).expect("a part is in a cell");
            cell.reserved -= u64::from(part.reserved);
            cell.available += u64::from(part.reserved);
            part.reserved = 0;
        }
        for line in &mut order.lines {
            line.cancelled = line.asked - line.short;
        }
        order.status = status;
        order.version += 1;
        Expected::Change { status, version: order.version, deadline: 0 }
    }

    fn place(&mut self, id: OrderId, expected_total: Option<Money>) -> Checked<Expected> {
        self.reserved(id)?;
        let order = self.orders.get_mut(&id).expect("checked");
        if order.risk.is_open() {
            return reject(Reject::RiskOpen);
        }
        if let Some(expected) = expected_total {
            if expected.currency() != order.total.currency() {
                return reject(Reject::CurrencyMismatch);
            }
            if expected != order.total {
                return reject(Reject::PriceChanged);
            }
        }
        Ok(self.commit(id))
    }

    /// Commits what a reservation holds.
    fn commit(&mut self, id: OrderId) -> Expected {
        let order = self.orders.get_mut(&id).expect("checked");
        for part in &mut order.parts {
            let cell = self.cells.get_mut(&part.cell).expect("a part is in a cell");
            cell.reserved -= u64::from(part.reserved);
            cell.committed += u64::from(part.reserved);
            part.committed += std::mem::take(&mut part.reserved);
        }
        order.status = OrderStatus::Placed;
        order.version += 1;
        Expected::Change { status: order.status, version: order.version, deadline: 0 }
    }
}

/// Returns the parts that an order's view tells.
pub fn parts_of(view: &OrderView) -> Vec<Part> {
    let mut parts = Vec::new();
    for (line, of_line) in view.lines.iter().enumerate() {
        for cell in &of_line.cells {
            let key = (cell.sku, cell.location.0, cell.lot.0);
            let (reserved, committed) = (cell.reserved, cell.committed);
            parts.push(Part { line, cell: key, reserved, committed });
        }
    }
    parts
}

fn of_buy(buy: &Buy) -> Basket<'_> {
    Basket {
        customer: buy.customer.0,
        lines: buy.lines.as_slice(),
        fill: buy.fill,
        expected_total: buy.expected_total,
        times: decide::review_times(buy.decided.as_deref()),
        decided: buy.decided.as_deref(),
        buy: true,
    }
}

fn of_reserve(reserve: &Reserve) -> Basket<'_> {
    Basket {
        customer: reserve.customer.0,
        lines: reserve.lines.as_slice(),
        fill: reserve.fill,
        expected_total: reserve.expected_total,
        times: Some((reserve.ttl_ms, reserve.hard_cap_ms)),
        decided: reserve.decided.as_deref(),
        buy: false,
    }
}
