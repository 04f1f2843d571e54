//! What the simulated clients ask: few SKUs, little stock and much repetition, so that baskets
//! meet each other.

use super::Random;
use super::decide::{decide, policy_step};
use crate::command::{
    Adjust, Buy, Cancel, Command, Count, DefineSku, Extend, Fill, Import, ImportLine, Line,
    LinePrice, LineQuantity, Place, Placement, Quarantine, Reason, Receive, Release, Reserve, Ship,
    Short, SkuKind, TransferIn, TransferOut,
};
use crate::decided::{RecordRisk, Risk};
use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
use crate::money::{Currency, Money};
use crate::quantity::Quantity;

/// Code of the one SKU of kind coupon.
const COUPON: &str = "COUPON";
/// Locations of every SKU.
const LOCATIONS: u64 = 3;
/// Customers; 0 is none.
const CUSTOMERS: u64 = 4;
/// Requests of the past that a repetition is chosen from.
const RECENT: usize = 40;

/// A stream of commands.
#[derive(Debug)]
pub(super) struct Workload {
    definitions: Vec<DefineSku>,
    defined: usize,
    /// Policies that were asked for so far.
    policies: u64,
    orders: Vec<OrderId>,
    transfers: Vec<TransferOut>,
    past: Vec<Command>,
    last_key: u64,
    /// Longest time to live of a reservation, in milliseconds.
    ttl_ms: u64,
}

fn units(count: u64) -> Quantity {
    Quantity::new(count as u32).unwrap_or(Quantity::MAX)
}

impl Workload {
    pub(super) fn new(random: &mut Random) -> Self {
        let goods = 2 + random.below(5);
        let mut definitions: Vec<DefineSku> = (0..goods).map(|n| define_goods(random, n)).collect();
        definitions.push(define_coupon(random));
        for n in 0..random.below(3) {
            definitions.push(define_kit(random, n, &definitions));
        }
        let ttl_ms = [5, 60, 3_000][random.below(3) as usize];
        let (orders, transfers, past) = (Vec::new(), Vec::new(), Vec::new());
        Self { definitions, defined: 0, policies: 0, orders, transfers, past, last_key: 0, ttl_ms }
    }

    /// Returns the next request.
    pub(super) fn next(&mut self, random: &mut Random) -> Command {
        let command = self.choose(random);
        match &command {
            Command::Buy(buy) => self.orders.push(OrderId::from(buy.key)),
            Command::Reserve(reserve) => self.orders.push(OrderId::from(reserve.key)),
            Command::TransferOut(transfer) => self.transfers.push(*transfer),
            _ => (),
        }
        self.past.push(command.clone());
        command
    }

    fn choose(&mut self, random: &mut Random) -> Command {
        if self.defined < self.definitions.len() && (self.defined < 2 || random.percent(40)) {
            let mut define = self.definitions[self.defined].clone();
            self.defined += 1;
            define.key = self.key();
            return Command::DefineSku(Box::new(define));
        }
        if random.percent(12) && !self.past.is_empty() {
            return self.again(random);
        }
        if self.policies < 2 && random.percent(30) {
            self.policies += 1;
            return policy_step(random, self.key(), Some(self.policies - 1));
        }
        match random.below(106) {
            100..=101 => policy_step(random, self.key(), None),
            102..=105 => self.record_risk(random),
            0..=1 => self.redefine(random),
            2..=13 => self.receive(random),
            14..=15 => self.import(random),
            16..=17 => self.adjust(random),
            18..=20 => self.count(random),
            21..=22 => self.quarantine(random),
            23..=26 => self.transfer_out(random),
            27..=31 => self.transfer_in(random),
            32..=54 => self.buy(random),
            55..=71 => self.reserve(random),
            72 => Command::Tick,
            _ => self.change(random),
        }
    }

    fn key(&mut self) -> Key {
        self.last_key += 1;
        Key::new(u128::from(crate::hash::fold(self.last_key, u64::MAX - 58)) << 64 | 7)
    }

    /// A request of the past: the same again, or another one with its key.
    fn again(&mut self, random: &mut Random) -> Command {
        let from = self.past.len().saturating_sub(RECENT) as u64;
        let at = if random.percent(80) {
            from + random.below(self.past.len() as u64 - from)
        } else {
            random.below(self.past.len() as u64)
        };
        let command = self.past[at as usize].clone();
        let Some(key) = command.key().filter(|_| random.percent(30)) else {
            let mut command = command;
            if random.percent(40) {
                decide(random, &mut command);
            }
            return command;
        };
        let fresh = self.last_key;
        let mut other = match random.below(10) {
            0..=4 => self.buy(random),
            5..=6 => self.reserve(random),
            7 => self.receive(random),
            8 => self.change(random),
            _ => self.redefine(random),
        };
        self.last_key = fresh;
        set_key(&mut other, key);
        other
    }

    fn sku(&self, random: &mut Random) -> SkuId {
        let known = self.definitions.len() as u64;
        let goods = self.definitions.iter().filter(|d| d.components.is_empty()).count() as u64;
        let count = if random.percent(80) { goods } else { known };
        let at = random.below(count);
        sku_of(&self.definitions[at as usize])
    }

    fn redefine(&mut self, random: &mut Random) -> Command {
        let at = random.below(self.defined.max(1) as u64) as usize;
        let mut define = self.definitions[at].clone();
        define.key = self.key();
        define.price = money(random.below(500) as i64);
        if define.limit.is_some() {
            define.limit = Some(units(1 + random.below(8)));
        }
        Command::DefineSku(Box::new(define))
    }

    fn receive(&mut self, random: &mut Random) -> Command {
        Command::Receive(Receive {
            key: self.key(),
            sku: self.sku(random),
            location: location(random),
            lot: lot(random),
            quantity: units(1 + random.below(6)),
        })
    }

    fn import(&mut self, random: &mut Random) -> Command {
        let sku = self.sku(random);
        let one_place = location(random);
        let line = |random: &mut Random| ImportLine {
            sku,
            location: if random.percent(50) { one_place } else { location(random) },
            lot: lot(random),
            quantity: units(1 + random.below(4)),
        };
        let lines = (0..=random.below(4)).map(|_| line(random)).collect();
        Command::Import(Import { key: self.key(), lines })
    }

    fn adjust(&mut self, random: &mut Random) -> Command {
        Command::Adjust(Adjust {
            key: self.key(),
            sku: self.sku(random),
            location: location(random),
            lot: lot(random),
            expected: random.below(5),
            available: random.below(6),
        })
    }

    /// A count; the world fills in what the books say, so that most find it right.
    fn count(&mut self, random: &mut Random) -> Command {
        Command::Count(Count {
            key: self.key(),
            sku: self.sku(random),
            location: location(random),
            lot: lot(random),
            expected: random.below(8),
            counted: random.below(8),
        })
    }

    fn quarantine(&mut self, random: &mut Random) -> Command {
        let reasons = [Reason::Damaged, Reason::Quarantine, Reason::Missing];
        Command::Quarantine(Quarantine {
            key: self.key(),
            sku: self.sku(random),
            location: location(random),
            lot: lot(random),
            quantity: units(1 + random.below(2)),
            reason: reasons[random.below(3) as usize],
            back: random.percent(55),
        })
    }

    fn transfer_out(&mut self, random: &mut Random) -> Command {
        Command::TransferOut(TransferOut {
            key: self.key(),
            sku: self.sku(random),
            from: location(random),
            lot: lot(random),
            to: location(random),
            quantity: units(1 + random.below(3)),
        })
    }

    fn transfer_in(&mut self, random: &mut Random) -> Command {
        let Some(out) = pick(random, &self.transfers).copied() else {
            return self.transfer_out(random);
        };
        Command::TransferIn(TransferIn {
            key: self.key(),
            transfer: out.key,
            sku: out.sku,
            from: out.from,
            quantity: units(1 + random.below(out.quantity.units().into())),
        })
    }

    fn lines(&self, random: &mut Random) -> Vec<Line> {
        let count = [1, 1, 1, 2, 2, 3, 4][random.below(7) as usize];
        let priced = random.percent(15);
        let line = |random: &mut Random| {
            let sku = self.sku(random);
            let mut line = Line::new(sku, units(1 + random.below(3)));
            let spread = self.definitions.iter().any(|d| {
                sku_of(d) == sku
                    && (d.placement == Placement::ByLocation || !d.components.is_empty())
            });
            if random.percent(if spread { 95 } else { 25 }) {
                line = line.at(location(random));
            }
            if priced {
                line = line.priced(LinePrice { unit: 90, discount: random.below(50) as i64 });
            }
            line
        };
        let mut lines: Vec<Line> = (0..count).map(|_| line(random)).collect();
        if random.percent(25) {
            let coupon = self.definitions.iter().find(|d| d.kind == SkuKind::Coupon);
            let mut use_of = Line::new(coupon.map_or(lines[0].sku, sku_of), Quantity::ONE);
            use_of.price = priced.then_some(LinePrice { unit: 0, discount: 0 });
            lines.push(use_of);
        }
        lines
    }

    fn buy(&mut self, random: &mut Random) -> Command {
        let mut buy = Command::Buy(Buy {
            key: self.key(),
            customer: customer(random),
            lines: self.lines(random).into(),
            fill: fill(random),
            expected_total: random.percent(3).then(|| money(random.below(900) as i64)),
            decided: None,
        });
        if random.percent(40) {
            decide(random, &mut buy);
        }
        buy
    }

    fn reserve(&mut self, random: &mut Random) -> Command {
        let ttl_ms = 1 + random.below(self.ttl_ms);
        let mut reserve = Command::Reserve(Reserve {
            key: self.key(),
            customer: customer(random),
            lines: self.lines(random).into(),
            fill: fill(random),
            ttl_ms,
            hard_cap_ms: ttl_ms + if random.percent(50) { 0 } else { random.below(self.ttl_ms) },
            expected_total: None,
            decided: None,
        });
        if random.percent(40) {
            decide(random, &mut reserve);
        }
        reserve
    }

    fn record_risk(&mut self, random: &mut Random) -> Command {
        let Some(order) = pick(random, &self.orders).copied() else { return self.buy(random) };
        let risks = [Risk::Allow, Risk::Allow, Risk::Deny, Risk::Challenge, Risk::Review];
        let (risk, reason) = (risks[random.below(5) as usize], random.below(3) as u16);
        Command::RecordRisk(RecordRisk { key: self.key(), order, risk, reason })
    }

    /// A command about an order.
    fn change(&mut self, random: &mut Random) -> Command {
        let Some(order) = pick(random, &self.orders).copied() else { return self.buy(random) };
        let key = self.key();
        let expected_version = random.percent(10).then(|| 1 + random.below(3) as u32);
        match random.below(10) {
            0..=1 => {
                Command::Extend(Extend { key, order, ttl_ms: 1 + random.below(2 * self.ttl_ms) })
            }
            2 => Command::Release(Release { key, order, reason: random.below(3) as u16 }),
            3..=5 => Command::Place(Place { key, order, expected_total: None }),
            6..=7 => {
                let lines = some_lines(random);
                Command::Cancel(Cancel { key, order, lines, expected_version, reason: 1 })
            }
            8 => Command::Ship(Ship { key, order, lines: some_lines(random), expected_version }),
            _ => {
                let mut lines = some_lines(random);
                if lines.is_empty() {
                    lines.push(LineQuantity { line: 0, quantity: Quantity::ONE });
                }
                Command::Short(Short { key, order, lines, expected_version })
            }
        }
    }
}

/// Chooses one of a list, mostly a late one.
fn pick<'a, T>(random: &mut Random, list: &'a [T]) -> Option<&'a T> {
    let count = list.len() as u64;
    if count == 0 {
        return None;
    }
    let near = if random.percent(75) { count.min(12) } else { count };
    list.get((count - 1 - random.below(near)) as usize)
}

fn some_lines(random: &mut Random) -> Vec<LineQuantity> {
    let line = |random: &mut Random| LineQuantity {
        line: random.below(3) as u16,
        quantity: units(1 + random.below(2)),
    };
    (0..random.below(3)).map(|_| line(random)).collect()
}

fn money(minor: i64) -> Money {
    Money::trusted(minor, Currency::EUR)
}

fn location(random: &mut Random) -> LocationId {
    LocationId(1 + random.below(LOCATIONS) as u32)
}

fn lot(random: &mut Random) -> LotId {
    LotId(if random.percent(70) { 0 } else { random.below(3) as u32 })
}

fn customer(random: &mut Random) -> CustomerId {
    CustomerId(if random.percent(5) { 0 } else { 1 + random.below(CUSTOMERS) })
}

fn fill(random: &mut Random) -> Fill {
    match random.below(10) {
        0 => Fill::Partial,
        1 => Fill::Min(1 + random.below(3) as u32),
        _ => Fill::All,
    }
}

fn sku_of(define: &DefineSku) -> SkuId {
    SkuId::from_code(&define.code).expect("codes of the simulation are codes")
}

fn define_goods(random: &mut Random, number: u64) -> DefineSku {
    let placement = match random.below(4) {
        0 => Placement::ByLocation,
        1 => Placement::Group(2 + random.below(3)),
        _ => Placement::BySku,
    };
    let may_limit = placement != Placement::ByLocation;
    let limit = (may_limit && random.percent(30)).then(|| units(2 + random.below(6)));
    DefineSku {
        key: Key::new(0),
        code: format!("GOODS-{number}"),
        kind: SkuKind::Goods,
        price: money(100),
        placement,
        limit,
        components: Vec::new(),
    }
}

/// The one coupon, whose uses go with goods in some baskets.
fn define_coupon(random: &mut Random) -> DefineSku {
    let mut define = define_goods(random, 0);
    COUPON.clone_into(&mut define.code);
    define.kind = SkuKind::Coupon;
    define.placement = Placement::BySku;
    define
}

fn define_kit(random: &mut Random, number: u64, others: &[DefineSku]) -> DefineSku {
    let mut components: Vec<(SkuId, Quantity)> = Vec::new();
    for define in others.iter().filter(|d| d.components.is_empty()) {
        if components.len() < 3 && random.percent(60) {
            components.push((sku_of(define), units(1 + random.below(2))));
        }
    }
    if components.is_empty() {
        components.push((sku_of(&others[0]), Quantity::ONE));
    }
    DefineSku {
        key: Key::new(0),
        code: format!("KIT-{number}"),
        kind: SkuKind::Kit,
        price: money(250),
        placement: Placement::BySku,
        limit: None,
        components,
    }
}

fn set_key(command: &mut Command, key: Key) {
    match command {
        Command::DefineSku(define) => define.key = key,
        Command::Receive(receive) => receive.key = key,
        Command::Adjust(adjust) => adjust.key = key,
        Command::Count(count) => count.key = key,
        Command::Quarantine(quarantine) => quarantine.key = key,
        Command::TransferOut(transfer) => transfer.key = key,
        Command::TransferIn(transfer) => transfer.key = key,
        Command::Import(import) => import.key = key,
        Command::Reserve(reserve) => reserve.key = key,
        Command::Extend(extend) => extend.key = key,
        Command::Release(release) => release.key = key,
        Command::Place(place) => place.key = key,
        Command::Buy(buy) => buy.key = key,
        Command::Cancel(cancel) => cancel.key = key,
        Command::Ship(ship) => ship.key = key,
        Command::Short(short) => short.key = key,
        Command::PolicyStep(step) => step.key = key,
        Command::RecordRisk(record) => record.key = key,
        Command::Tick => (),
    }
}
