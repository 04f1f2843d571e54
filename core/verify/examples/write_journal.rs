//! Writes a large valid journal, to measure the verifier: orders of one line over several shards,
//! all live at the end, or with `ship` each shipped soon after.
//!
//! `cargo run --release -p onhand-verify --example write_journal -- DIR ORDERS [ship]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use support::shop::{EUR, Shop};
use support::{A, Basket, BasketLine, Body, C, FollowUp, Mv, SHIPPED};

const SHARDS: u16 = 4;
const SKUS: u32 = 1_000;
/// Commands of one group commit.
const BATCH: usize = 256;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(orders)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: write_journal DIR ORDERS [ship]");
        return;
    };
    let ship = arguments.next().is_some_and(|word| word == "ship");
    let mut bought: Vec<(u128, usize, u32)> = Vec::new();
    let orders: usize = orders.parse().unwrap_or(1_000_000);
    let mut shop = Shop::open(SHARDS);
    let mut cells = Vec::new();
    for n in 0..SKUS {
        let sku = shop.define(&format!("SKU-{n:05}"), 1_999, 0, &[]);
        cells.push(shop.receive((n % u32::from(SHARDS)) as u16, sku, 1, 1_000_000_000));
    }
    for index in 0..orders {
        // A spread that visits all SKUs of a batch's shard.
        let shard = index / BATCH % usize::from(SHARDS);
        if index % BATCH == 0 {
            let before = (index / BATCH + usize::from(SHARDS) - 1) % usize::from(SHARDS);
            for (order, uid, cell) in bought.drain(..) {
                ship_order(&mut shop, before as u16, order, uid, cell);
            }
        }
        let nth = index.wrapping_mul(7_919) % (SKUS as usize / usize::from(SHARDS));
        let sku = nth * usize::from(SHARDS) + shard;
        let movement = Mv { cell: cells[sku], quantity: 1, from: A, to: C, line: 0 };
        let line = BasketLine { sku: sku as u32, asked: 1, location: 0, unit: 0, discount: 0 };
        let key = shop.key();
        let basket = Basket {
            reserve: false,
            priced: false,
            cross: false,
            key,
            customer: index as u64,
            total: 1_999,
            currency: EUR,
            fill: 0,
            fill_min: 0,
            deadline: 0,
            hard: 0,
            asked_as_buy: false,
            decided: None,
            lines: vec![line],
            movements: vec![movement],
            instructions: Vec::new(),
        };
        let uid = shop.emit(shard as u16, Body::Basket(basket));
        if ship {
            bought.push((key, uid, cells[sku]));
        }
    }
    let paths = shop.close(64 << 20).write(&PathBuf::from(dir));
    println!("{} segments", paths.len());
}

/// Ships the one unit of an order.
fn ship_order(shop: &mut Shop, shard: u16, order: u128, previous: usize, cell: u32) {
    let movement = Mv { cell, quantity: 1, from: C, to: SHIPPED, line: 0 };
    let record = FollowUp {
        kind: 10,
        key: shop.key(),
        order,
        previous,
        version: 2,
        deadline: 0,
        time_to_live: 0,
        risk: 0,
        lines: vec![(0, 1)],
        movements: vec![movement],
        instructions: Vec::new(),
    };
    shop.emit(shard, Body::FollowUp(record));
}
