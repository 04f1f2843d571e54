//! A naive shop that makes valid journals: it does what an engine would do, one step at a time,
//! and writes each step down as the format says.

use std::collections::BTreeMap;

use super::{
    A, ADJUST, Basket, BasketLine, Body, C, CLOSED, Decided, Define, Entry, FollowUp, Frame, IDLE,
    Journal, LINK, Mv, Policy, R, Rec, Refused, SHIPPED, SUPPLIER, Section, Settle, Stock, T, Take,
    X,
};

/// Kind of a coupon.
pub(super) const COUPON: u8 = 3;

/// Currency of everything: EUR.
pub const EUR: u16 = 978;

#[derive(Clone, Debug)]
pub struct Cell {
    pub sku: u32,
    pub location: u32,
    pub lot: u32,
    pub version: u32,
    pub units: BTreeMap<u8, u64>,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub home: u16,
    pub customer: u64,
    pub version: u32,
    /// The record that made it.
    pub made_uid: usize,
    pub last_uid: usize,
    pub placed: bool,
    pub deadline: u64,
    pub hard: u64,
    pub risk: u8,
    pub asked_as_buy: bool,
    pub lines: Vec<BasketLine>,
    /// Line, cell, units.
    pub holdings: Vec<(u16, u32, u32)>,
    /// Whether any goods have left.
    pub left: bool,
}

#[derive(Clone, Debug)]
struct Told {
    home: u16,
    peer: u16,
    number: u64,
    id: u128,
    customer: u64,
    /// SKU and location of a transfer.
    to: (u32, u32),
    movements: Vec<Mv>,
}

/// What the shop knows; every step appends to `frames`.
#[derive(Clone, Debug)]
pub struct Shop {
    pub shards: u16,
    pub now: u64,
    pub skus: Vec<Define>,
    /// The last record of each policy.
    pub policies: Vec<Policy>,
    /// What policies decide about the next basket.
    pub deciding: Option<Decided>,
    pub cells: Vec<Vec<Cell>>,
    pub orders: BTreeMap<u128, Order>,
    pub settled: Vec<u32>,
    told: Vec<Told>,
    numbers: BTreeMap<(u16, u16), u64>,
    frames: Vec<Frame>,
    frame: Frame,
    next_uid: usize,
    next_key: u128,
}

impl Shop {
    pub fn open(shards: u16) -> Self {
        let mut shop = Self {
            shards,
            now: 1_000,
            skus: Vec::new(),
            policies: Vec::new(),
            deciding: None,
            cells: vec![Vec::new(); shards as usize],
            orders: BTreeMap::new(),
            settled: vec![0; shards as usize],
            told: Vec::new(),
            numbers: BTreeMap::new(),
            frames: Vec::new(),
            frame: Frame::default(),
            next_uid: 1,
            next_key: 0x0100,
        };
        shop.emit(0, Body::Open(shards));
        shop
    }

    /// Appends a record to the last section if it is of this shard and time.
    pub fn emit(&mut self, shard: u16, body: Body) -> usize {
        let uid = self.next_uid;
        self.next_uid += 1;
        let record = Rec { uid, body };
        match self.frame.sections.last_mut() {
            Some(last) if last.shard == shard && last.time == self.now => last.records.push(record),
            _ => {
                let section = Section { shard, time: self.now, records: vec![record] };
                self.frame.sections.push(section);
            }
        }
        if self.frame.sections.len() >= 6 {
            self.flush();
        }
        uid
    }

    /// Ends the frame.
    pub fn flush(&mut self) {
        if !self.frame.sections.is_empty() {
            self.frames.push(std::mem::take(&mut self.frame));
        }
    }

    /// Ends the frame and writes an idle mark.
    pub fn idle(&mut self) {
        self.flush();
        self.frames.push(Frame { flags: IDLE, sections: Vec::new() });
    }

    /// Settles what is open and closes cleanly.
    pub fn close(mut self, segment_bytes: usize) -> Journal {
        while self.deliver(0) {}
        self.flush();
        self.frames.push(Frame { flags: CLOSED, sections: Vec::new() });
        Journal { segment_bytes, frames: self.frames }
    }

    /// Returns what there is so far, unclosed.
    pub fn journal(mut self, segment_bytes: usize) -> Journal {
        self.flush();
        Journal { segment_bytes, frames: self.frames }
    }

    pub fn key(&mut self) -> u128 {
        self.next_key += 1;
        self.next_key | self.next_key << 64
    }

    pub fn define(&mut self, code: &str, price: i64, limit: u32, components: &[(u32, u32)]) -> u32 {
        let kind = if components.is_empty() { 0 } else { 5 };
        self.define_kind(kind, code, (price, limit), components)
    }

    /// Defines a coupon.
    pub fn coupon(&mut self, code: &str, price: i64) -> u32 {
        self.define_kind(COUPON, code, (price, 0), &[])
    }

    fn define_kind(
        &mut self,
        kind: u8,
        code: &str,
        (price, limit): (i64, u32),
        components: &[(u32, u32)],
    ) -> u32 {
        let sku = self.skus.len() as u32;
        let define = Define {
            copy: false,
            sku,
            key: 0,
            id: 0xD000 + u64::from(sku),
            price,
            group: 0,
            limit,
            version: 0,
            currency: EUR,
            kind,
            code: code.to_owned(),
            components: components.to_vec(),
        };
        self.skus.push(define);
        self.redefine(sku, price, limit);
        sku
    }

    pub fn redefine(&mut self, sku: u32, price: i64, limit: u32) {
        let key = self.key();
        let define = &mut self.skus[sku as usize];
        (define.key, define.price, define.limit) = (key, price, limit);
        define.version += 1;
        let define = define.clone();
        for shard in 0..self.shards {
            self.emit(shard, Body::Define(Define { copy: shard != 0, ..define.clone() }));
        }
    }

    /// Something happens to the `nth` policy of a kind; returns its number.
    pub fn policy(&mut self, kind: u8, nth: u8, step: u8) -> u16 {
        let config = [nth; 32];
        let same = |p: &Policy| p.kind == kind && p.config == config;
        let at = self.policies.iter().position(same).unwrap_or(self.policies.len());
        if at == self.policies.len() {
            self.policies.push(Policy {
                copy: false,
                number: at as u16 + 1,
                version: 0,
                key: 0,
                plugin: [kind; 32],
                config,
                kind,
                step,
                share: 0,
                name: format!("policy-{kind}/{nth}"),
                maker: "1.0.0 (test)".to_owned(),
                note: "as an operator wished".to_owned(),
            });
        }
        let key = self.key();
        let policy = &mut self.policies[at];
        (policy.key, policy.step, policy.share) = (key, step, if step == 4 { 500 } else { 0 });
        policy.version += 1;
        let policy = policy.clone();
        for shard in 0..self.shards {
            self.emit(shard, Body::Policy(Policy { copy: shard != 0, ..policy.clone() }));
        }
        policy.number
    }

    pub fn units(&self, cell: u32, bucket: u8) -> u64 {
        let cell = &self.cells[(cell >> 24) as usize][(cell & 0x00FF_FFFF) as usize];
        cell.units.get(&bucket).copied().unwrap_or(0)
    }

    pub(super) fn shift(&mut self, m: &Mv) {
        let cell = &mut self.cells[(m.cell >> 24) as usize][(m.cell & 0x00FF_FFFF) as usize];
        if m.from < 32 {
            let held = cell.units.entry(m.from).or_insert(0);
            *held = held.checked_sub(u64::from(m.quantity)).expect("the shop never oversells");
        }
        if m.to < 32 {
            *cell.units.entry(m.to).or_insert(0) += u64::from(m.quantity);
        }
    }

    /// Touches a cell, declaring it if it is new.
    fn entry(&mut self, shard: u16, sku: u32, location: u32, lot: u32) -> Entry {
        let cells = &mut self.cells[shard as usize];
        let same = |cell: &Cell| (cell.sku, cell.location, cell.lot) == (sku, location, lot);
        let index = cells.iter().position(same).unwrap_or_else(|| {
            cells.push(Cell { sku, location, lot, version: 0, units: BTreeMap::new() });
            cells.len() - 1
        });
        cells[index].version += 1;
        let cell = u32::from(shard) << 24 | index as u32;
        Entry { cell, sku, location, lot, version: cells[index].version }
    }

    fn stock(
        &mut self,
        shard: u16,
        sku: u32,
        operation: u8,
        entries: Vec<Entry>,
        movements: Vec<Mv>,
    ) {
        self.stock_with(shard, sku, (operation, 0, 0, 0), entries, movements, Vec::new());
    }

    fn stock_with(
        &mut self,
        shard: u16,
        sku: u32,
        (operation, reason, expected, transfer): (u8, u8, u64, u128),
        entries: Vec<Entry>,
        movements: Vec<Mv>,
        instructions: Vec<Mv>,
    ) -> u128 {
        for m in &movements {
            self.shift(m);
        }
        let key = self.key();
        let stock = Stock {
            key,
            sku,
            operation,
            reason,
            expected,
            transfer,
            entries,
            movements,
            instructions,
            breaks: Vec::new(),
        };
        self.emit(shard, Body::Stock(stock));
        key
    }

    pub fn receive(&mut self, shard: u16, sku: u32, location: u32, quantity: u32) -> u32 {
        let entry = self.entry(shard, sku, location, 0);
        let m = Mv { cell: entry.cell, quantity, from: SUPPLIER, to: A, line: 0 };
        self.stock(shard, sku, 1, vec![entry], vec![m]);
        entry.cell
    }

    pub fn import(&mut self, shard: u16, list: &[(u32, u32, u32)]) {
        let mut entries = Vec::new();
        let mut movements = Vec::new();
        for &(sku, location, quantity) in list {
            let entry = self.entry(shard, sku, location, 0);
            entries.push(entry);
            movements.push(Mv { cell: entry.cell, quantity, from: SUPPLIER, to: A, line: 0 });
        }
        self.stock(shard, u32::MAX, 7, entries, movements);
    }

    pub(super) fn again(&mut self, cell: u32) -> Entry {
        let found = &self.cells[(cell >> 24) as usize][(cell & 0x00FF_FFFF) as usize];
        let (sku, location, lot) = (found.sku, found.location, found.lot);
        self.entry((cell >> 24) as u16, sku, location, lot)
    }

    pub fn adjust(&mut self, cell: u32, available: u64) {
        let expected = self.units(cell, A);
        let entry = self.again(cell);
        let (from, to) = if available > expected { (ADJUST, A) } else { (A, ADJUST) };
        let quantity = available.abs_diff(expected) as u32;
        let mut movements = vec![Mv { cell, quantity, from, to, line: 0 }];
        movements.retain(|m| m.quantity > 0);
        let shard = (cell >> 24) as u16;
        self.stock_with(shard, entry.sku, (2, 0, expected, 0), vec![entry], movements, vec![]);
    }

    pub fn set_aside(&mut self, cell: u32, quantity: u32, reason: u8, back: bool) {
        let entry = self.again(cell);
        let (from, to) = if back { (reason, A) } else { (A, reason) };
        let m = Mv { cell, quantity, from, to, line: 0 };
        let shard = (cell >> 24) as u16;
        let operation = if back { 4 } else { 3 };
        self.stock_with(shard, entry.sku, (operation, reason, 0, 0), vec![entry], vec![m], vec![]);
    }

    pub fn transfer_out(&mut self, cell: u32, quantity: u32, location: u32) -> u128 {
        let entry = self.again(cell);
        let m = Mv { cell, quantity, from: A, to: X, line: 0 };
        let how = (5, 0, u64::from(location), 0);
        self.stock_with((cell >> 24) as u16, entry.sku, how, vec![entry], vec![m], vec![])
    }

    /// Takes transferred units in at `location` of `to`, which may be another shard.
    pub fn transfer_in(
        &mut self,
        transfer: u128,
        cell: u32,
        quantity: u32,
        (to, location): (u16, u32),
    ) {
        let shard = (cell >> 24) as u16;
        let entry = self.again(cell);
        let mut entries = vec![entry];
        let mut movements = vec![Mv { cell, quantity, from: X, to: LINK, line: 0 }];
        let mut arrival = Mv { cell: 0, quantity, from: LINK, to: A, line: 0 };
        let mut instructions = Vec::new();
        if to == shard {
            let there = self.entry(shard, entry.sku, location, 1);
            arrival.cell = there.cell;
            entries.push(there);
            movements.push(arrival);
        } else {
            arrival.cell = u32::from(to) << 24 | 0x00FF_FFFF;
            instructions.push(arrival);
        }
        let sku = entry.sku;
        let how = (6, 0, 0, transfer);
        let key = self.stock_with(shard, sku, how, entries, movements, instructions.clone());
        self.tell(shard, key, (0, (sku, location)), &instructions);
    }

    pub(super) fn tell(
        &mut self,
        home: u16,
        id: u128,
        (customer, to): (u64, (u32, u32)),
        instructions: &[Mv],
    ) {
        let mut by_peer: BTreeMap<u16, Vec<Mv>> = BTreeMap::new();
        for m in instructions {
            by_peer.entry((m.cell >> 24) as u16).or_default().push(*m);
        }
        for (peer, movements) in by_peer {
            let number = self.numbers.entry((home, peer)).or_insert(0);
            *number += 1;
            self.told.push(Told { home, peer, number: *number, id, customer, to, movements });
        }
    }

    /// Carries out the oldest open instruction of the lane that the `choice`-th one belongs to.
    pub fn deliver(&mut self, choice: usize) -> bool {
        let Some(chosen) = self.told.get(choice % self.told.len().max(1)) else { return false };
        let lane = (chosen.home, chosen.peer);
        let oldest = self.told.iter().position(|told| (told.home, told.peer) == lane);
        let Told { home, peer, number, id, customer, to, mut movements } =
            self.told.remove(oldest.expect("the lane has one"));
        let mut entries = Vec::new();
        for m in &mut movements {
            if m.from == LINK {
                let entry = self.entry(peer, to.0, to.1, 0);
                m.cell = entry.cell;
                entries.push(entry);
            }
            self.shift(m);
        }
        let settle = Settle { id, number, customer, home, outcome: 1, entries, movements };
        self.emit(peer, Body::Settle(settle));
        true
    }

    /// Chooses cells for units of a line; `None` if there are too few.
    fn choose(
        &self,
        line: u16,
        wanted: &[(u32, u32)],
        location: u32,
        used: &mut BTreeMap<u32, u64>,
    ) -> Option<Vec<(u16, u32, u32)>> {
        let mut out = Vec::new();
        for &(sku, units) in wanted {
            let mut left = u64::from(units);
            for (shard, cells) in self.cells.iter().enumerate() {
                for (index, cell) in cells.iter().enumerate() {
                    let number = (shard as u32) << 24 | index as u32;
                    let fits = cell.sku == sku && (location == 0 || location == cell.location);
                    let taken = used.get(&number).copied().unwrap_or(0);
                    let free = self.units(number, A) - taken;
                    let take = free.min(left);
                    if fits && take > 0 {
                        *used.entry(number).or_insert(0) += take;
                        left -= take;
                        out.push((line, number, take as u32));
                    }
                }
            }
            if left > 0 {
                return None;
            }
        }
        Some(out)
    }

    /// What one unit of a SKU takes: itself, or its components.
    pub(super) fn expand(&self, sku: u32, units: u32) -> Vec<(u32, u32)> {
        let define = &self.skus[sku as usize];
        if define.components.is_empty() {
            return vec![(sku, units)];
        }
        define.components.iter().map(|(component, each)| (*component, each * units)).collect()
    }

    /// Grants as much of each line as there is.
    fn source(&self, lines: &[BasketLine]) -> (Vec<u32>, Vec<(u16, u32, u32)>) {
        let mut used = BTreeMap::new();
        let mut granted = Vec::new();
        let mut holdings = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let mut units = line.asked;
            loop {
                let mut trial = used.clone();
                let wanted = self.expand(line.sku, units);
                if let Some(found) = self.choose(at as u16, &wanted, line.location, &mut trial) {
                    used = trial;
                    holdings.extend(found);
                    break;
                }
                units -= 1;
            }
            granted.push(units);
        }
        (granted, holdings)
    }

    /// Buys or reserves if the fill policy allows; several shards go by TAKE and SETTLE.
    pub fn basket(
        &mut self,
        home: u16,
        customer: u64,
        lines: &[BasketLine],
        (fill, fill_min): (u8, u32),
        reserve: Option<(u64, u64)>,
    ) -> Option<u128> {
        let decided = self.deciding.take();
        let risk = decided.map_or(0, |decided| decided.risk);
        let asked_as_buy = reserve.is_none() && risk > 1;
        let reserve = if asked_as_buy { Some((self.now + 500, self.now + 500)) } else { reserve };
        let (granted, holdings) = self.source(lines);
        let uses = self.uses(lines);
        let sum: u32 = (0..lines.len()).filter(|at| !uses[*at]).map(|at| granted[at]).sum();
        let enough = match fill {
            0 => granted.iter().zip(lines).all(|(granted, line)| *granted == line.asked),
            1 => sum >= fill_min,
            _ => sum >= 1,
        };
        if !enough || sum == 0 {
            return None;
        }
        let key = self.key();
        let cross = holdings.iter().any(|(_, cell, _)| cell >> 24 != u32::from(home));
        let priced = lines.iter().any(|line| line.unit > 0);
        let mut total = 0;
        for (line, units) in lines.iter().zip(&granted) {
            let list = self.skus[line.sku as usize].price;
            let unit = if priced { line.unit } else { list };
            total += unit * i64::from(*units)
                - line.discount * i64::from(*units) / i64::from(line.asked);
        }
        let to = if reserve.is_some() { R } else { C };
        let mut parts: BTreeMap<u16, Vec<Mv>> = BTreeMap::new();
        for &(line, cell, quantity) in &holdings {
            let m = Mv { cell, quantity, from: A, to, line };
            parts.entry((cell >> 24) as u16).or_default().push(m);
        }
        if cross {
            self.take(key, customer, home, &mut parts, fill == 2);
        }
        let movements = parts.remove(&home).unwrap_or_default();
        let instructions: Vec<Mv> = parts.into_values().flatten().collect();
        for m in &movements {
            self.shift(m);
        }
        let (deadline, hard) = reserve.unwrap_or((0, 0));
        let uid = self.emit(
            home,
            Body::Basket(Basket {
                reserve: reserve.is_some(),
                priced,
                cross,
                key,
                customer,
                total,
                currency: EUR,
                fill,
                fill_min,
                deadline,
                hard,
                asked_as_buy,
                decided,
                lines: lines.to_vec(),
                movements,
                instructions: instructions.clone(),
            }),
        );
        self.tell(home, key, (customer, (0, 0)), &instructions);
        let order = Order {
            home,
            customer,
            version: 1,
            made_uid: uid,
            last_uid: uid,
            placed: reserve.is_none(),
            deadline,
            hard,
            risk,
            asked_as_buy,
            lines: lines.to_vec(),
            holdings,
            left: false,
        };
        self.orders.insert(key, order);
        Some(key)
    }

    /// Takes each shard's units; one spare unit more where there is one and `spare`.
    fn take(
        &mut self,
        order: u128,
        customer: u64,
        home: u16,
        parts: &mut BTreeMap<u16, Vec<Mv>>,
        spare: bool,
    ) {
        for (shard, list) in parts {
            let mut movements: Vec<Mv> = list.iter().map(|m| Mv { to: T, ..*m }).collect();
            for m in &movements {
                self.shift(m);
            }
            for m in list.iter_mut() {
                m.from = T;
            }
            if spare && self.units(movements[0].cell, A) > 0 {
                let more = Mv { quantity: 1, ..movements[0] };
                self.shift(&more);
                movements[0].quantity += 1;
                list.push(Mv { to: A, from: T, ..more });
            }
            let take = Take { order, customer, home, movements };
            self.emit(*shard, Body::Take(take));
        }
    }

    /// Takes units for a basket that is given up, and undoes it.
    pub fn aborted(&mut self, home: u16, cell: u32, quantity: u32) {
        let (order, shard) = (self.key(), (cell >> 24) as u16);
        let m = Mv { cell, quantity, from: A, to: T, line: 0 };
        self.shift(&m);
        self.emit(shard, Body::Take(Take { order, customer: 5, home, movements: vec![m] }));
        let back = Mv { from: T, to: A, ..m };
        self.shift(&back);
        let movements = vec![back];
        let undo = Settle {
            id: order,
            number: 0,
            customer: 5,
            home,
            outcome: 0,
            entries: vec![],
            movements,
        };
        self.emit(shard, Body::Settle(undo));
    }

    pub(super) fn follow_up(
        &mut self,
        key: u128,
        (kind, to, detail): (u8, u8, u64),
        lines: Vec<(u16, u32)>,
        moved: &[(u16, u32, u32)],
    ) {
        let own_key = if kind == 12 { 0 } else { self.key() };
        let order = self.orders[&key].clone();
        let from = if order.placed { C } else { R };
        let uses = self.uses(&order.lines);
        let is_use = |line: u16| uses[usize::from(line)];
        let left = order.left || to == SHIPPED && moved.iter().any(|m| !is_use(m.0));
        let to_of = |line| match kind {
            9..=11 if is_use(line) && left => SHIPPED,
            9..=11 if is_use(line) => A,
            _ => to,
        };
        let all: Vec<Mv> = moved
            .iter()
            .map(|&(line, cell, quantity)| Mv { cell, quantity, from, to: to_of(line), line })
            .collect();
        let (movements, instructions): (Vec<Mv>, Vec<Mv>) =
            all.into_iter().partition(|m| m.cell >> 24 == u32::from(order.home));
        for m in &movements {
            self.shift(m);
        }
        let uid = self.emit(
            order.home,
            Body::FollowUp(FollowUp {
                kind,
                key: own_key,
                order: key,
                previous: order.last_uid,
                version: order.version + 1,
                deadline: if kind == 7 { detail } else { 0 },
                time_to_live: if kind == 7 { detail.saturating_sub(self.now) } else { 0 },
                risk: if kind == 18 { detail as u8 } else { 0 },
                lines,
                movements,
                instructions: instructions.clone(),
            }),
        );
        self.tell(order.home, key, (order.customer, (0, 0)), &instructions);
        let order = self.orders.get_mut(&key).expect("live");
        order.version += 1;
        order.last_uid = uid;
        order.left = left;
    }

    pub(super) fn settle_order(&mut self, key: u128) {
        let order = self.orders.remove(&key).expect("live");
        self.settled[order.home as usize] += 1;
    }

    pub fn place(&mut self, key: u128) {
        let holdings = self.orders[&key].holdings.clone();
        self.follow_up(key, (6, C, 0), vec![], &holdings);
        self.orders.get_mut(&key).expect("live").placed = true;
    }

    /// Records what was found about an order under challenge or review.
    pub fn risk(&mut self, key: u128, risk: u8) {
        let order = self.orders[&key].clone();
        let (to, moved) = match risk {
            4 => (A, order.holdings),
            1 if order.asked_as_buy => (C, order.holdings),
            _ => (R, Vec::new()),
        };
        self.follow_up(key, (18, to, risk.into()), vec![], &moved);
        let order = self.orders.get_mut(&key).expect("live");
        order.risk = risk;
        order.placed |= to == C;
        if to == A {
            self.settle_order(key);
        }
    }

    pub fn extend(&mut self, key: u128, deadline: u64) {
        self.follow_up(key, (7, 0, deadline), vec![], &[]);
        self.orders.get_mut(&key).expect("live").deadline = deadline;
    }

    /// Releases, or expires if `due`.
    pub fn release(&mut self, key: u128, due: bool) {
        let holdings = self.orders[&key].holdings.clone();
        self.follow_up(key, (if due { 12 } else { 8 }, A, 0), vec![], &holdings);
        self.settle_order(key);
    }

    pub fn location_of(&self, cell: u32) -> u32 {
        self.cells[(cell >> 24) as usize][(cell & 0x00FF_FFFF) as usize].location
    }

    /// SKU and location of a cell.
    pub fn name_of(&self, cell: u32) -> (u32, u32) {
        (self.sku_of(cell), self.location_of(cell))
    }

    pub(super) fn sku_of(&self, cell: u32) -> u32 {
        self.cells[(cell >> 24) as usize][(cell & 0x00FF_FFFF) as usize].sku
    }

    /// Lets time pass; what is due expires first.
    pub fn tick(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let now = self.now;
        let due = |order: &Order| !order.placed && order.deadline <= now;
        let keys: Vec<u128> =
            self.orders.iter().filter(|(_, order)| due(order)).map(|(key, _)| *key).collect();
        for key in keys {
            self.release(key, true);
        }
    }

    pub fn evict(&mut self, shard: u16) {
        let settled = std::mem::take(&mut self.settled[shard as usize]);
        if settled > 0 {
            self.emit(shard, Body::Evict(settled));
        }
    }

    /// Refuses one unit more than a shard has.
    pub fn refuse(&mut self, shard: u16, sku: u32, location: u32) {
        let (mut available, mut tentative) = (0, 0);
        for (index, cell) in self.cells[shard as usize].iter().enumerate() {
            if cell.sku == sku && (location == 0 || location == cell.location) {
                let number = u32::from(shard) << 24 | index as u32;
                available += self.units(number, A);
                tentative += self.units(number, T);
            }
        }
        let asked = available + tentative + 1;
        let refused = Refused { code: 80, sku, location, asked, available, tentative };
        self.emit(shard, Body::Refused(refused));
    }
}

/// A line at the list price, from anywhere.
pub fn line(sku: u32, asked: u32) -> BasketLine {
    BasketLine { sku, asked, location: 0, unit: 0, discount: 0 }
}
