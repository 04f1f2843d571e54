//! Random commands against a naive model: every outcome, every receipt, the stock after each
//! step, through one shard and several, and through closing and opening again.
#![allow(clippy::unused_self, reason = "the dealer's methods read alike, with state or without")]

mod deal;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Expected, Model, parts_of};
use onhand_core::{
    Ack, Adjust, Aggregate, Bucket, Buy, Cancel, Command, Count, Currency, CustomerId, Decided,
    DecidedBy, DefineSku, Engine, Extend, Fill, FraudDecision, Import, ImportLine, Key, Line,
    LinePrice, LineQuantity, LocationId, LotId, ManualClock, Money, OrderId, OrderStatus, Place,
    Placement, PolicyDecision, PolicyKind, PolicyNo, PolicyRefusal, PolicyStep, Quantity,
    Quarantine, Reason, Receipt, Receive, RecordRisk, Reject, Release, Reply, Reserve, Risk, Ship,
    Short, SkuId, SkuKind, Step, Timestamp, TransferIn, TransferOut,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

const START: u64 = 1_700_000_000_000;
const CODES: [&str; 9] = ["A", "B", "C", "D", "E", "F", "K1", "K2", "U"];

/// Where the engine of a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    Memory,
    /// On disk, closed and opened again now and then.
    Disk,
}

fn sku(code: &str) -> SkuId {
    SkuId::from_code(code).expect("a code")
}

fn units(count: u32) -> Quantity {
    Quantity::new(count).expect("in range")
}

fn euro(minor: i64) -> Money {
    Money::new(minor, Currency::EUR).expect("in range")
}

/// How each SKU of the tests is defined.
fn definition(code: &str, key: Key) -> DefineSku {
    let mut define = DefineSku {
        key,
        code: code.to_owned(),
        kind: SkuKind::Goods,
        price: euro(100),
        placement: Placement::BySku,
        limit: None,
        components: Vec::new(),
    };
    match code {
        "C" => define.limit = Some(units(5)),
        "D" => define.placement = Placement::ByLocation,
        "E" => define.placement = Placement::Group(5),
        "U" => define.kind = SkuKind::Coupon,
        "F" => define.price = Money::new(70, Currency::USD).expect("in range"),
        "K1" => {
            define.kind = SkuKind::Kit;
            define.components = vec![(sku("A"), units(1)), (sku("B"), units(2))];
        }
        "K2" => {
            define.kind = SkuKind::Kit;
            define.components = vec![(sku("C"), units(1)), (sku("D"), units(1))];
        }
        _ => (),
    }
    define
}

/// Reads choices off the numbers of one step.
struct Dice<'a> {
    numbers: &'a [u8],
    at: usize,
}

impl Dice<'_> {
    fn below(&mut self, count: u32) -> u32 {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u32::from(number) % count
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == count - 1
    }
}

struct Run {
    engine: Option<Engine>,
    dir: tempfile::TempDir,
    ground: Ground,
    shards: u16,
    clock: Arc<ManualClock>,
    model: Model,
    last_key: u128,
    orders: Vec<OrderId>,
    past: Vec<Command>,
    reached: BTreeMap<Reject, u64>,
    /// Broken promises of orders at home in another shard than the cell.
    broken_elsewhere: u64,
}

impl Run {
    fn new(ground: Ground, shards: u16) -> Self {
        let mut run = Self {
            engine: None,
            dir: tempfile::tempdir().expect("a directory"),
            ground,
            shards,
            clock: Arc::new(ManualClock::at(Timestamp::from_millis(START))),
            model: Model::default(),
            last_key: 0,
            orders: Vec::new(),
            past: Vec::new(),
            reached: BTreeMap::new(),
            broken_elsewhere: 0,
        };
        run.open();
        for code in ["A", "B", "C", "D", "E", "K1", "U"] {
            let define = definition(code, run.key());
            run.step(Command::DefineSku(Box::new(define)));
        }
        for (code, count) in [("A", 4), ("B", 4), ("U", 9)] {
            let (key, quantity) = (run.key(), units(count));
            let (location, lot) = (LocationId(1), LotId(0));
            run.step(Command::Receive(Receive { key, sku: sku(code), location, lot, quantity }));
        }
        run
    }

    fn open(&mut self) {
        let builder = match self.ground {
            Ground::Memory => Engine::in_memory(),
            Ground::Disk => Engine::builder(self.dir.path()).segment_bytes(256 << 10),
        };
        // The baskets of one client never meet, so none of them waits.
        let builder = builder.shards(self.shards).clock(self.clock.clone()).min_free_bytes(0);
        self.engine = Some(builder.open().expect("opens").0);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it is open")
    }

    fn key(&mut self) -> Key {
        self.last_key += 1;
        Key::new(self.last_key << 70 | self.last_key)
    }

    /// Carries one step out: time passes, then a command.
    fn numbers(&mut self, numbers: &[u8]) {
        let dice = &mut Dice { numbers, at: 0 };
        match dice.below(12) {
            0 => self.pass(300 + u64::from(dice.below(200))),
            1..=2 => self.pass(u64::from(dice.below(40))),
            _ => (),
        }
        if self.ground == Ground::Disk && dice.below(14) == 13 {
            self.reopen();
        }
        let command = self.command(dice);
        self.step(if self.shards > 1 { simplify(command) } else { command });
    }

    fn pass(&mut self, ms: u64) {
        let now = self.model.now.max(START) + ms;
        self.clock.set(Timestamp::from_millis(now));
        self.model.pass(now);
        self.touch_all();
        self.touch_all();
    }

    /// Asks every shard for something that is refused: what peers told it before is done then,
    /// and published.
    fn touch_all(&mut self) {
        let mut commands = Vec::new();
        for code in ["A", "B", "C", "D", "E", "U"] {
            if !self.model.skus.contains_key(&sku(code)) {
                continue;
            }
            for location in 1..=3 {
                let key = self.key();
                let (sku, location, lot) = (sku(code), LocationId(location), LotId(99));
                let (quantity, reason) = (Quantity::MAX, Reason::Damaged);
                let aside = Quarantine { key, sku, location, lot, quantity, reason, back: false };
                commands.push(Command::Quarantine(aside));
            }
        }
        let replies = self.engine().submit_batch(commands, Ack::Group).expect("taken");
        for reply in replies.wait().expect("answered") {
            assert_eq!(reply.outcome.expect_err("nothing there").reject, Reject::StockShort);
        }
    }

    fn reopen(&mut self) {
        self.engine.take().expect("it is open").close().expect("closes");
        self.open();
        for (key, receipt) in &self.model.receipts {
            let command = self.model.answered[key].clone();
            let reply = self.engine().execute(command).expect("runs");
            assert!(reply.replayed);
            assert_eq!(reply.outcome.as_ref(), Ok(receipt));
        }
        self.check_all();
    }

    fn step(&mut self, command: Command) {
        self.model.pass(self.clock_now());
        let expected = self.model.expect(&command);
        let reply = self.engine().execute(command.clone()).expect("runs");
        self.check_reply(&command, &expected, &reply);
        if self.shards > 1 {
            // Twice: a broken order tells the shards of its cells in turn.
            self.touch_all();
            self.touch_all();
        }
        self.check_all();
        if !matches!(command, Command::Tick) {
            self.past.push(command);
        }
    }

    fn clock_now(&self) -> u64 {
        use onhand_core::Clock;
        self.clock.now().millis()
    }

    fn check_reply(&mut self, command: &Command, expected: &Expected, reply: &Reply) {
        let what = format!("{command:?}: wanted {expected:?}, got {reply:?}");
        assert!(reply.seq <= self.engine().durable_seq(), "{what}");
        let repeated = *expected == Expected::Repeated;
        assert_eq!(reply.replayed, repeated, "{what}");
        let receipt = match (&reply.outcome, expected) {
            (Err(refusal), Expected::Refused(rejects)) => {
                assert_eq!(rejects.first(), Some(&refusal.reject), "{what}");
                *self.reached.entry(refusal.reject).or_default() += 1;
                return;
            }
            (Ok(receipt), _) => receipt,
            (Err(_), _) => panic!("{what}"),
        };
        let key = command.key().map_or(0, Key::bits);
        match (receipt, expected) {
            (_, Expected::Repeated) => {
                assert_eq!(Some(receipt), self.model.receipts.get(&key), "{what}");
                return;
            }
            (Receipt::Order(order), Expected::Order { status, risk, granted, total, deadline }) => {
                assert_eq!(order.order.bits(), key, "{what}");
                let got = (order.status, order.risk, order.total, order.deadline.millis());
                assert_eq!(got, (*status, *risk, *total, *deadline), "{what}");
                let grants = match &order.grants {
                    onhand_core::Grants::Full => None,
                    onhand_core::Grants::ByLine(by_line) => Some(by_line.to_vec()),
                };
                assert!(grants.is_none_or(|grants| grants == *granted), "{what}");
                self.enter(command, expected);
            }
            (Receipt::Change(change), Expected::Change { status, version, deadline }) => {
                let got = (change.status, change.version, change.deadline.millis());
                assert_eq!(got, (*status, *version, *deadline), "{what}");
            }
            (Receipt::Stock(stock), Expected::Stock { version }) => {
                assert_eq!((stock.key.bits(), stock.version), (key, *version), "{what}");
            }
            (Receipt::Policy(policy), Expected::Policy { no }) => {
                assert_eq!((policy.key.bits(), policy.policy.0), (key, *no), "{what}");
            }
            (Receipt::Tick, Expected::Tick) => return,
            _ => panic!("{what}"),
        }
        self.model.receipts.insert(key, receipt.clone());
    }

    fn enter(&mut self, command: &Command, expected: &Expected) {
        let order = OrderId::from(command.key().expect("a basket has a key"));
        let Expected::Order { granted, status, .. } = expected else { return };
        let parts = if self.shards == 1 {
            parts_of(&self.engine().order(order).expect("reads").expect("known"))
        } else {
            let reserved = *status == onhand_core::OrderStatus::Reserved;
            self.model.only_parts(command, granted, reserved)
        };
        self.model.enter(command, expected, parts);
        self.orders.push(order);
    }

    fn check_all(&self) {
        let policies = self.engine().policies();
        let known = policies.iter().map(|policy| (policy.kind, policy.plugin, policy.config));
        assert!(known.eq(self.model.policies.iter().copied()), "{policies:?}");
        for code in CODES {
            if let Some(view) = self.engine().stock(sku(code)) {
                self.model.check_stock(&view);
            }
        }
        // The newest orders are those that change.
        for order in self.orders.iter().rev().take(6) {
            let view = self.engine().order(*order).expect("reads").expect("known");
            self.model.check_order(&view, self.shards == 1);
        }
        for customer in 1..=3 {
            let limit = self.model.skus.get(&sku("C")).and_then(|(define, _)| define.limit);
            let used = self.model.used(customer, sku("C"));
            // A limit may be lowered below what was bought before; tests lower it to 3.
            assert!(limit.is_none() || used <= 5, "I9: {used}");
        }
    }

    /// The feed tells each broken promise once, as the count says, with the order's next version.
    fn check_events(&mut self) {
        let feed = self.engine().events(0, 1_000_000).expect("reads");
        let mut versions: BTreeMap<OrderId, u32> = BTreeMap::new();
        let mut told: BTreeMap<(OrderId, u16), u64> = BTreeMap::new();
        let mut broken: BTreeMap<(OrderId, u16), u64> = BTreeMap::new();
        for event in &feed.events {
            for lost in &event.breaks {
                *told.entry((lost.order, lost.line)).or_default() += u64::from(lost.quantity);
            }
            let Aggregate::Order(order) = event.aggregate else { continue };
            if event.version > 0 {
                let version = versions.entry(order).or_default();
                *version += 1;
                assert_eq!(*version, event.version, "I14: {event:?}");
            }
            if event.count.is_some() {
                let moved = event.movements.iter().chain(&event.instructions);
                for lost in moved.filter(|m| m.to == Bucket::Adjust) {
                    let units = broken.entry((order, lost.line)).or_default();
                    *units += u64::from(lost.quantity);
                }
                let elsewhere = event.instructions.iter().any(|m| m.to == Bucket::Adjust);
                self.broken_elsewhere += u64::from(elsewhere);
            }
        }
        assert_eq!(told, broken);
    }

    fn command(&mut self, dice: &mut Dice<'_>) -> Command {
        if dice.one_in(12) && !self.past.is_empty() {
            let at = self.past.len() - 1 - dice.below(self.past.len().min(30) as u32) as usize;
            let again = self.past[at].clone();
            return if dice.one_in(2) { self.decided_anew(again, dice) } else { again };
        }
        let key = if dice.one_in(40) && !self.past.is_empty() {
            let at = dice.below(self.past.len() as u32) as usize;
            self.past[at].key().expect("it has one")
        } else {
            self.key()
        };
        match dice.below(32) {
            0 => Command::DefineSku(Box::new(self.define(dice, key))),
            1..=4 => Command::Receive(Receive {
                key,
                sku: self.sku(dice),
                location: self.location(dice),
                lot: self.lot(dice),
                quantity: units(dice.below(7)),
            }),
            5 => self.import(dice, key),
            6 => self.adjust(dice, key),
            7 => Command::Quarantine(Quarantine {
                key,
                sku: self.sku(dice),
                location: self.location(dice),
                lot: self.lot(dice),
                quantity: units(dice.below(4)),
                reason: [Reason::Damaged, Reason::Missing][dice.below(2) as usize],
                back: dice.one_in(2),
            }),
            8 => self.transfer_out(dice, key),
            9 => self.transfer_in(dice, key),
            10..=13 => {
                let buy = Command::Buy(Buy {
                    key,
                    customer: CustomerId(dice.below(4).into()),
                    fill: self.fill(dice),
                    lines: self.lines(dice).into(),
                    expected_total: self.expected_total(dice),
                    decided: None,
                });
                self.decided_anew(buy, dice)
            }
            14..=16 => {
                let reserve = self.reserve(dice, key);
                self.decided_anew(reserve, dice)
            }
            27..=28 => self.policy_step(dice, key),
            29..=31 => self.record_risk(dice, key),
            23 => Command::Tick,
            24..=26 => self.count(dice, key),
            _ => self.change(dice, key),
        }
    }

    fn sku(&self, dice: &mut Dice<'_>) -> SkuId {
        let known = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 2, 3, 4, 6, 6, 7, 5, 8, 8];
        match dice.below(known.len() as u32 + 1) as usize {
            at if at < known.len() => sku(CODES[known[at]]),
            _ => sku("unknown"),
        }
    }

    /// With several shards each SKU has one cell in each place, so that none has to be chosen.
    fn location(&self, dice: &mut Dice<'_>) -> LocationId {
        let number = dice.below(16);
        LocationId(if number == 15 {
            0
        } else if self.shards > 1 {
            1
        } else {
            1 + number % 3
        })
    }

    fn lot(&self, dice: &mut Dice<'_>) -> LotId {
        LotId(if self.shards > 1 { 0 } else { dice.below(4) / 3 })
    }

    fn fill(&self, dice: &mut Dice<'_>) -> Fill {
        match dice.below(8) {
            6 => Fill::Partial,
            7 => Fill::Min(dice.below(5)),
            _ => Fill::All,
        }
    }

    fn expected_total(&self, dice: &mut Dice<'_>) -> Option<Money> {
        match dice.below(20) {
            17 => Some(euro(100)),
            18 => Some(euro(200)),
            19 => Money::new(100, Currency::USD),
            _ => None,
        }
    }

    fn lines(&self, dice: &mut Dice<'_>) -> Vec<Line> {
        let count = match dice.below(24) {
            0..=11 => 1,
            12..=17 => 2,
            18..=22 => 3,
            _ => [0, 513][dice.below(2) as usize],
        };
        let priced = dice.one_in(6);
        let line = |dice: &mut Dice<'_>| {
            let sku = self.sku(dice);
            let mut quantity = units([1, 1, 2, 2, 3, 4, 0][dice.below(7) as usize]);
            if dice.one_in(60) {
                quantity = Quantity::MAX;
            }
            let mut line = Line::new(sku, quantity);
            let spread = [CODES[3], CODES[6], CODES[7]].iter().any(|c| self::sku(c) == sku);
            if !dice.one_in(if spread { 12 } else { 2 }) {
                line = line.at(self.location(dice));
            }
            if priced || dice.one_in(50) {
                let unit = [90, 90, 90, 120, -1, 1 << 52][dice.below(6) as usize];
                line = line.priced(LinePrice { unit, discount: i64::from(dice.below(60)) - 1 });
            }
            line
        };
        let mut lines: Vec<Line> = (0..count).map(|_| line(dice)).collect();
        // Goods and a use of a coupon, of which there mostly is one.
        if let Some(last) = lines.last_mut().filter(|_| (2..=3).contains(&count))
            && !dice.one_in(3)
        {
            let use_of = Line::new(sku("U"), units(1));
            *last = Line { price: last.price, ..use_of };
        }
        lines
    }

    fn reserve(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let ttl_ms = [50, 100, 400, 5_000, 0][dice.below(5) as usize];
        Command::Reserve(Reserve {
            key,
            customer: CustomerId(dice.below(4).into()),
            fill: self.fill(dice),
            lines: self.lines(dice).into(),
            ttl_ms,
            hard_cap_ms: ttl_ms + [0, 300, 300][dice.below(3) as usize],
            expected_total: self.expected_total(dice),
            decided: None,
        })
    }

    fn define(&mut self, dice: &mut Dice<'_>, key: Key) -> DefineSku {
        let mut define = definition(CODES[dice.below(9) as usize], key);
        match dice.below(12) {
            0 => define.price = euro(-5),
            1 => define.code = String::new(),
            2 => define.placement = Placement::Group(1),
            3 => define.kind = SkuKind::Kit,
            4 => define.components.push((sku("F"), units(1))),
            5 => define.components.push((sku("unknown"), units(1))),
            6 => define.kind = SkuKind::Seat,
            7 => {
                define = definition("K3", key);
                define.kind = SkuKind::Kit;
                define.components = vec![([sku("K1"), sku("F")][dice.below(2) as usize], units(1))];
            }
            8 => define.limit = define.limit.map(|_| units(3)),
            _ => {
                define.price =
                    Money::new(dice.below(200).into(), define.price.currency()).expect("small");
            }
        }
        define
    }

    fn import(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let one = self.sku(dice);
        let count = [1, 1, 2, 3, 0, 1_001][dice.below(6) as usize];
        let line = |dice: &mut Dice<'_>| ImportLine {
            sku: if self.shards > 1 { one } else { self.sku(dice) },
            location: LocationId(if self.shards > 1 { 1 } else { dice.below(4) }),
            lot: self.lot(dice),
            quantity: units(dice.below(5)),
        };
        Command::Import(Import { key, lines: (0..count).map(|_| line(dice)).collect() })
    }

    fn adjust(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let (sku, location, lot) = (self.sku(dice), self.location(dice), self.lot(dice));
        let cell = self.model.cells.get(&(sku, location.0, lot.0));
        let seen = cell.map_or(0, |cell| cell.available);
        let expected = if dice.one_in(3) { seen + u64::from(dice.below(3)) } else { seen };
        let available = match dice.below(12) {
            10 => u64::MAX,
            11 => expected + 2_000_000_000,
            number => u64::from(number),
        };
        let expected = if dice.one_in(30) { u64::MAX } else { expected };
        Command::Adjust(Adjust { key, sku, location, lot, expected, available })
    }

    fn count(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let (mut sku, mut location, mut lot) =
            (self.sku(dice), self.location(dice), self.lot(dice));
        let cells = self.model.cells.iter().filter(|(_, c)| c.reserved + c.committed > 0);
        let promised: Vec<_> = cells.map(|(key, _)| *key).collect();
        if !promised.is_empty() && !dice.one_in(4) {
            let cell = promised[dice.below(promised.len() as u32) as usize];
            (sku, location, lot) = (cell.0, LocationId(cell.1), LotId(cell.2));
        }
        let cell = self.model.cells.get(&(sku, location.0, lot.0));
        let seen = cell.map_or(0, |cell| cell.available + cell.reserved + cell.committed);
        let promised = cell.map_or(0, |cell| cell.reserved + cell.committed);
        let expected = if dice.one_in(8) { seen + 1 } else { seen };
        let counted = match dice.below(16) {
            14 => u64::MAX,
            15 => expected + 2_000_000_000,
            number if number > 10 => seen + u64::from(number),
            // Mostly fewer than are promised.
            number => promised.saturating_sub(u64::from(number) / 2),
        };
        Command::Count(Count { key, sku, location, lot, expected, counted })
    }

    fn transfer_out(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        // Between shards only the SKU that is kept by location goes from place to place.
        let sku = if self.shards > 1 { sku("D") } else { self.sku(dice) };
        let quantity = units(dice.below(4));
        let (from, to) = (LocationId(dice.below(4)), LocationId(dice.below(4)));
        let lot = self.lot(dice);
        Command::TransferOut(TransferOut { key, sku, from, lot, to, quantity })
    }

    fn transfer_in(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let known: Vec<_> = self.model.transfers.iter().collect();
        let quantity = units(dice.below(4));
        if known.is_empty() || dice.one_in(8) {
            let (sku, from) = (self.sku(dice), LocationId(dice.below(3)));
            return Command::TransferIn(TransferIn { key, transfer: key, sku, from, quantity });
        }
        let (transfer, entry) = known[dice.below(known.len() as u32) as usize];
        let (transfer, sku, from) = (Key::new(*transfer), entry.sku, LocationId(entry.from));
        Command::TransferIn(TransferIn { key, transfer, sku, from, quantity })
    }

    fn change(&mut self, dice: &mut Dice<'_>, key: Key) -> Command {
        let count = self.orders.len();
        let order = if count == 0 || dice.one_in(20) {
            OrderId::from(key)
        } else {
            self.orders[count - 1 - dice.below(count.min(10) as u32) as usize]
        };
        let version = self.model.orders.get(&order).map_or(1, |order| order.version);
        let expected_version = match dice.below(8) {
            6 => Some(version),
            7 => Some(version + 1),
            _ => None,
        };
        let line = |dice: &mut Dice<'_>| {
            let line = [0, 0, 0, 1, 2, 600][dice.below(6) as usize];
            LineQuantity { line, quantity: units([1, 1, 1, 2, 0][dice.below(5) as usize]) }
        };
        let lines: Vec<LineQuantity> = (0..dice.below(3)).map(|_| line(dice)).collect();
        match dice.below(9) {
            0 => Command::Extend(Extend {
                key,
                order,
                ttl_ms: [0, 50, 300, 9_000][dice.below(4) as usize],
            }),
            1 => Command::Release(Release { key, order, reason: 3 }),
            2..=4 => {
                let expected_total = match dice.below(12) {
                    9 => self.model.orders.get(&order).map(|order| order.total),
                    10 => Some(euro(3)),
                    11 => Money::new(3, Currency::USD),
                    _ => None,
                };
                Command::Place(Place { key, order, expected_total })
            }
            5..=6 => Command::Cancel(Cancel { key, order, lines, expected_version, reason: 0 }),
            7 => Command::Ship(Ship { key, order, lines, expected_version }),
            _ => Command::Short(Short { key, order, lines, expected_version }),
        }
    }
}

/// A basket over several shards that may be filled in part is modelled only where its lines do
/// not compete.
fn simplify(command: Command) -> Command {
    let plain = |lines: &[Line], fill: Fill| -> Option<Vec<Line>> {
        let line = lines.first().filter(|_| fill != Fill::All)?;
        let kit = line.sku == sku("K1") || line.sku == sku("K2");
        let first = if kit { Line { sku: sku("A"), ..*line } } else { *line };
        let is_other_use = |line: &&Line| line.sku == sku("U") && first.sku != sku("U");
        Some([first].into_iter().chain(lines.iter().find(is_other_use).copied()).collect())
    };
    match command {
        Command::Buy(mut buy) => {
            if let Some(lines) = plain(buy.lines.as_slice(), buy.fill) {
                buy.lines = lines.into();
            }
            Command::Buy(buy)
        }
        Command::Reserve(mut reserve) => {
            if let Some(lines) = plain(reserve.lines.as_slice(), reserve.fill) {
                reserve.lines = lines.into();
            }
            Command::Reserve(reserve)
        }
        other => other,
    }
}

/// How often something came about.
#[derive(Clone, Debug, Default)]
struct Reached {
    rejects: BTreeMap<Reject, u64>,
    /// Broken reservations, commitments, and those of them that were kits.
    broken: (u64, u64, u64),
    /// Broken promises of orders at home in another shard than the cell.
    broken_elsewhere: u64,
    /// Uses of coupons that left with goods, were given back, and followed broken goods.
    followed: (u64, u64, u64),
}

impl Reached {
    fn add(&mut self, run: &Run) {
        for (reject, count) in &run.reached {
            *self.rejects.entry(*reject).or_default() += count;
        }
        let (reservations, commitments, kits) = run.model.broken;
        self.broken.0 += reservations;
        self.broken.1 += commitments;
        self.broken.2 += kits;
        self.broken_elsewhere += run.broken_elsewhere;
        let (left, back, broken) = run.model.followed;
        self.followed.0 += left;
        self.followed.1 += back;
        self.followed.2 += broken;
    }
}

/// Runs random sequences, the same each time; counts how often each reject was reached.
fn check(ground: Ground, shards: u16, cases: u32, reached: &mut Reached) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let steps = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 40), 1..120);
    let sum = std::cell::RefCell::new(reached);
    let result = runner.run(&steps, |steps| {
        let mut run = Run::new(ground, shards);
        for numbers in &steps {
            run.numbers(numbers);
        }
        run.check_events();
        if let Some(engine) = run.engine.take() {
            engine.close().expect("closes");
        }
        sum.borrow_mut().add(&run);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{ground:?}, {shards} shards: {error}");
    }
}

/// Every outcome and every stock level is the model's, and every reject occurs that one client
/// can bring about.
#[test]
fn the_engine_agrees_with_the_model() {
    let mut reached = Reached::default();
    check(Ground::Memory, 1, 120, &mut reached);
    check(Ground::Memory, 3, 60, &mut reached);
    check(Ground::Disk, 1, 12, &mut reached);
    check(Ground::Disk, 2, 12, &mut reached);
    // Two codes with one 64-bit id: see `apply::sku`. Contended and busy need requests that
    // overtake each other: see `shard::tests` and the simulation, which assert them. A full table:
    // see below.
    let elsewhere =
        [Reject::SkuCodeTaken, Reject::Contended, Reject::Busy, Reject::CapacityReached];
    let wanted: BTreeSet<Reject> =
        Reject::ALL.iter().copied().filter(|reject| !elsewhere.contains(reject)).collect();
    let got: BTreeSet<Reject> = reached.rejects.keys().copied().collect();
    assert_eq!(got, wanted, "{reached:?}");
    let (reservations, commitments, kits) = reached.broken;
    let (left, back, broken) = reached.followed;
    let all = [reservations, commitments, kits, reached.broken_elsewhere, left, back, broken];
    assert!(all.iter().all(|count| *count > 0), "{reached:?}");
}

/// An order takes so many changes and no more; its expiry is still possible then.
#[test]
fn the_changes_of_one_order_are_bounded() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
    let (engine, _) = Engine::in_memory().clock(clock.clone()).open().expect("opens");
    let define = definition("A", Key::new(1));
    let receive = Receive {
        key: Key::new(2),
        sku: sku("A"),
        location: LocationId(1),
        lot: LotId(0),
        quantity: units(1),
    };
    let reserve = Reserve {
        key: Key::new(3),
        customer: CustomerId(1),
        lines: Line::new(sku("A"), units(1)).into(),
        fill: Fill::All,
        ttl_ms: 1_000,
        hard_cap_ms: 2_000,
        expected_total: None,
        decided: None,
    };
    let commands = [
        Command::DefineSku(Box::new(define)),
        Command::Receive(receive),
        Command::Reserve(reserve),
    ];
    for command in commands {
        engine.execute(command).expect("runs").outcome.expect("accepted");
    }
    let order = OrderId::new(3);
    let extend = |key: u128| Command::Extend(Extend { key: Key::new(key), order, ttl_ms: 1_500 });
    let mut accepted = 0;
    for batch in 0..17_u128 {
        let commands = (0..4_000).map(|n| extend(100 + batch * 4_000 + n)).collect();
        let replies = engine.submit_batch(commands, Ack::Group).expect("taken").wait();
        for reply in replies.expect("answered") {
            match reply.outcome {
                Ok(_) => accepted += 1,
                Err(refusal) => assert_eq!(refusal.reject, Reject::CapacityReached),
            }
        }
    }
    assert_eq!(accepted, onhand_core::limits::ORDER_VERSION_MAX - 2);
    clock.set(Timestamp::from_millis(START + 5_000));
    engine.execute(Command::Tick).expect("runs").outcome.expect("accepted");
    let view = engine.order(order).expect("reads").expect("known");
    assert_eq!(view.status, onhand_core::OrderStatus::Expired);
    assert_eq!(engine.stock(sku("A")).expect("known").available, 1);
}
