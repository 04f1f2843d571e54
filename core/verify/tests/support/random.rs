//! Random valid histories of the naive shop: the same seed gives the same journal.

use super::shop::{Shop, line};
use super::{A, BasketLine, C, Decided, R};

/// A small xorshift generator; the same seed gives the same journal.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end.max(1)
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { Some(items[self.below(items.len() as u64) as usize]) }
    }
}

/// Makes a valid journal of about `steps` random steps over every record kind.
pub fn random_shop(seed: u64, shards: u16, steps: usize) -> Shop {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut shop = Shop::open(shards);
    let goods: Vec<u32> = (0..5_u32)
        .map(|n| shop.define(&format!("G{n}"), 100 + 37 * i64::from(n), 0, &[]))
        .collect();
    let kit = shop.define("KIT", 950, 0, &[(goods[0], 2), (goods[1], 1)]);
    let limited = shop.define("LIM", 500, 1_000_000, &[]);
    let coupon = shop.coupon("USE", 3);
    let all = [goods.clone(), vec![kit, limited, coupon]].concat();
    for sku in goods.iter().copied().chain([limited, coupon]) {
        for shard in 0..shards {
            shop.receive(shard, sku, 10 + u32::from(shard), 400);
        }
    }
    for _ in 0..steps {
        random_step(&mut shop, &mut dice, &goods, &all);
    }
    shop
}

fn random_step(shop: &mut Shop, dice: &mut Dice, goods: &[u32], all: &[u32]) {
    let shard = dice.below(u64::from(shop.shards)) as u16;
    let cells: Vec<u32> = (0..shop.cells[shard as usize].len() as u32)
        .map(|index| u32::from(shard) << 24 | index)
        .filter(|cell| shop.units(*cell, A) > 30)
        .collect();
    let keys = |placed: bool| -> Vec<u128> {
        let found = shop.orders.iter().filter(|(_, order)| order.placed == placed);
        found.map(|(key, _)| *key).collect()
    };
    let (reserved, placed) = (keys(false), keys(true));
    let units = 1 + dice.below(5) as u32;
    match dice.below(24) {
        0 => _ = shop.receive(shard, goods[0], 10 + u32::from(shard), units),
        1 => {
            let first = (goods[1], 40 + u32::from(shard), 9);
            shop.import(shard, &[first, (goods[2], 50 + u32::from(shard), units)]);
        }
        2 => {
            if let Some(cell) = dice.pick(&cells) {
                shop.adjust(cell, shop.units(cell, A) - 3 + dice.below(7));
            }
        }
        3 => {
            if let Some(cell) = dice.pick(&cells) {
                shop.set_aside(cell, 4, 8 + dice.below(5) as u8, false);
                let reason = (8..=12).find(|reason| shop.units(cell, *reason) >= 2).unwrap_or(8);
                shop.set_aside(cell, 2, reason, true);
            }
        }
        4 => {
            let from: Vec<u32> =
                cells.into_iter().filter(|cell| shop.location_of(*cell) < 70).collect();
            if let Some(cell) = dice.pick(&from) {
                let to = dice.below(u64::from(shop.shards)) as u16;
                let location = 70 + u32::from(to);
                let transfer = shop.transfer_out(cell, units + 1, location);
                shop.transfer_in(transfer, cell, units, (to, location));
            }
        }
        5 => shop.redefine(goods[3], 200 + dice.below(50) as i64, 0),
        6 => {
            if let Some(cell) = dice.pick(&cells) {
                shop.aborted(dice.below(u64::from(shop.shards)) as u16, cell, units);
            }
        }
        7 => shop.refuse(shard, goods[4], [0, 10 + u32::from(shard)][dice.below(2) as usize]),
        8 => shop.evict(shard),
        9 => shop.idle(),
        10 => shop.tick(1 + dice.below(400)),
        11 => {
            let free = |key: &u128| shop.orders[key].risk < 2;
            let free: Vec<u128> = reserved.into_iter().filter(free).collect();
            if let Some(key) = dice.pick(&free) {
                shop.place(key);
            }
        }
        21 => {
            let step = 1 + dice.below(11) as u8;
            shop.policy(1 + dice.below(3) as u8, dice.below(2) as u8, step);
        }
        22 | 23 if shop.orders.values().any(|order| !order.placed && order.risk > 1) => {
            let open = |key: &u128| shop.orders[key].risk > 1;
            let open: Vec<u128> = reserved.into_iter().filter(open).collect();
            if let Some(key) = dice.pick(&open) {
                shop.risk(key, 1 + dice.below(4) as u8);
            }
        }
        12 => {
            if let Some(key) = dice.pick(&reserved) {
                let order = &shop.orders[&key];
                let deadline = order.hard.min(shop.now + 900);
                shop.extend(key, deadline);
            }
        }
        13 => {
            if let Some(key) = dice.pick(&reserved) {
                shop.release(key, false);
            }
        }
        14 | 15 => {
            if let Some(key) = dice.pick(&placed) {
                shop.part(key, 9 + dice.below(3) as u8, units);
            }
        }
        16 => _ = shop.deliver(dice.below(64) as usize),
        20 => {
            let promised = |cell: &u32| shop.units(*cell, R) + shop.units(*cell, C);
            let all = 0..shop.cells[shard as usize].len() as u32;
            let cells = all.map(|index| u32::from(shard) << 24 | index);
            let cells: Vec<u32> = cells.filter(|cell| promised(cell) > 0).collect();
            if let Some(cell) = dice.pick(&cells) {
                // What is on its way to the cell may change what is promised of it.
                while shop.deliver(0) {}
                let promised = shop.units(cell, R) + shop.units(cell, C);
                let lost = shop.units(cell, A) + dice.below(promised + 1);
                shop.count(cell, lost as u32);
                let (sku, location) = shop.name_of(cell);
                shop.receive(shard, sku, location, 200);
            }
        }
        step => {
            let count = 1 + dice.below(3) as usize;
            let mut lines: Vec<BasketLine> = Vec::new();
            let priced = dice.below(3) == 0;
            for _ in 0..count {
                let mut line = line(dice.pick(all).unwrap_or(0), 1 + dice.below(150) as u32);
                if priced {
                    line.unit = 50 + dice.below(500) as i64;
                    line.discount = dice.below(40) as i64;
                }
                lines.push(line);
            }
            let reserve = (step == 17).then(|| (shop.now + 300, shop.now + 2_000));
            let fill = [(0, 0), (1, 3), (2, 0)][dice.below(3) as usize];
            let customer = 1 + dice.below(9);
            if dice.below(3) > 0 {
                shop.deciding = Some(decide(shop, dice, lines.len() as u16));
            }
            shop.basket(shard, customer, &lines, fill, reserve);
        }
    }
}

/// What the policies that the shop has decide about a basket.
fn decide(shop: &Shop, dice: &mut Dice, lines: u16) -> Decided {
    let mut decided = Decided { ask: dice.below(3), ..Decided::default() };
    for kind in [1, 2] {
        let of_kind = shop.policies.iter().filter(|policy| policy.kind == kind);
        let numbers: Vec<u16> = of_kind.map(|policy| policy.number).collect();
        let at = usize::from(kind) - 1;
        let Some(number) = dice.pick(&numbers) else { continue };
        decided.policies[at] = number;
        decided.by[at] = dice.below(3) as u8;
        decided.fuels[at] = dice.below(9_000) as u32;
        decided.inputs[at] = dice.below(1 << 40);
    }
    if decided.policies[0] > 0 {
        decided.added = dice.below(u64::from(lines)) as u16;
    }
    if decided.policies[1] > 0 {
        decided.risk = 1 + dice.below(3) as u8;
        decided.points = dice.below(1_001) as u16;
        decided.code = dice.below(9) as u32;
    }
    decided
}
