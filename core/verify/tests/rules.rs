//! One small history for each rule that takes more than one record to break.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod support;

use onhand_verify::{Options, verify};
use support::shop::{Shop, line};
use support::{A, Body, C, Decided, FollowUp, Journal, MISSING, Mv, SHIPPED};

fn found(journal: &Journal) -> Option<(&'static str, String)> {
    let dir = tempfile::tempdir().unwrap();
    journal.write(dir.path());
    verify(dir.path(), Options::default()).err().map(|failure| (failure.invariant, failure.reason))
}

fn check(journal: &Journal, rule: &str, words: &str) {
    let (invariant, reason) = found(journal).unwrap_or_else(|| panic!("{rule} is not found"));
    assert_eq!(invariant, rule, "{reason}");
    assert!(reason.contains(words), "{reason}");
}

/// Changes the bodies that `choose` takes, in order of the journal.
fn change(mut journal: Journal, mut choose: impl FnMut(&mut Body)) -> Journal {
    for at in journal.places() {
        choose(&mut journal.at_mut(at).body);
    }
    journal
}

/// Goal: the unit that is not there can't be sold, however consistent the rest is.
#[test]
fn overselling_is_found_with_its_numbers() {
    let mut shop = Shop::open(1);
    let sku = shop.define("S", 250, 0, &[]);
    shop.receive(0, sku, 10, 5);
    shop.basket(0, 7, &[line(sku, 3)], (0, 0), None);
    shop.basket(0, 8, &[line(sku, 2)], (0, 0), None);
    let journal = change(shop.close(1 << 15), |body| {
        if let Body::Stock(record) = body {
            record.movements[0].quantity = 4;
        }
    });
    check(&journal, "I2", "2 units A to C of cell 0:0 for line 0 while it holds 1 available");
}

/// Goal: units leave a bucket only as often as they came into it.
#[test]
fn negative_buckets_are_found() {
    let mut shop = Shop::open(1);
    let sku = shop.define("S", 250, 0, &[]);
    let cell = shop.receive(0, sku, 10, 5);
    shop.set_aside(cell, 2, MISSING, false);
    shop.set_aside(cell, 2, MISSING, true);
    let journal = change(shop.close(1 << 15), |body| {
        if let Body::Stock(record) = body
            && record.operation == 4
        {
            record.movements[0].quantity = 3;
        }
    });
    check(
        &journal,
        "I1",
        "3 units U[missing] to A of cell 0:0 for line 0 while the bucket holds 2",
    );
}

fn limited(second: u32, limit: u32) -> Journal {
    let mut shop = Shop::open(2);
    let part = shop.define("PART", 100, limit, &[]);
    let kit = shop.define("KIT", 150, 0, &[(part, 2)]);
    shop.receive(0, part, 10, 50);
    let first = shop.basket(0, 7, &[line(kit, 1), line(part, 1)], (0, 0), None).unwrap();
    shop.basket(0, 8, &[line(part, second)], (0, 0), None);
    shop.basket(1, 7, &[line(part, second)], (0, 0), None);
    shop.part(first, 9, 1);
    shop.basket(0, 7, &[line(kit, 1)], (0, 0), None);
    shop.close(1 << 16)
}

/// Goal: a limit holds over orders, lines, kits and shards; what is cancelled counts no more.
#[test]
fn limits_hold_over_orders_lines_kits_and_shards() {
    assert_eq!(found(&limited(2, 5)), None);
    check(&limited(3, 5), "I9", "customer 0x7 has 6 units of SKU PART, the limit is 5");
    let unnamed = change(limited(2, 5), |body| match body {
        Body::Basket(record) => record.customer = 0,
        Body::Take(record) => record.customer = 0,
        _ => {}
    });
    check(&unnamed, "I9", "no customer is named");
}

/// Goal: a limit that comes later counts what live orders hold, and judges only new orders.
#[test]
fn later_limits_count_live_orders() {
    for (limit, content) in [(5, true), (4, false)] {
        let mut shop = Shop::open(1);
        let sku = shop.define("S", 100, 0, &[]);
        shop.receive(0, sku, 10, 50);
        shop.basket(0, 7, &[line(sku, 4)], (0, 0), None);
        shop.redefine(sku, 100, limit);
        shop.basket(0, 7, &[line(sku, 1)], (0, 0), None);
        assert_eq!(found(&shop.close(1 << 15)).is_none(), content, "limit {limit}");
    }
}

/// Goal: no reservation outlives its deadline, is placed after it, or expires before it.
#[test]
fn deadlines_are_kept() {
    let history = || {
        let mut shop = Shop::open(1);
        let sku = shop.define("S", 100, 0, &[]);
        shop.receive(0, sku, 10, 50);
        let key = shop.basket(0, 7, &[line(sku, 4)], (0, 0), Some((1_100, 1_500))).unwrap();
        (shop, sku, key)
    };
    let (mut late, sku, _) = history();
    late.now = 1_100;
    late.receive(0, sku, 10, 1);
    check(&late.close(1 << 15), "I8", "deadline 1100 is live after the section of shard 0 at 1100");
    let (mut placed, _, key) = history();
    placed.now = 1_100;
    placed.place(key);
    check(&placed.close(1 << 15), "I8", "PLACE at 1100 of a reservation with deadline 1100");
    let (mut early, _, key) = history();
    early.now = 1_099;
    early.release(key, true);
    check(&early.close(1 << 15), "I8", "EXPIRE at 1099 of a reservation with deadline 1100");
    let (mut right, sku, key) = history();
    right.extend(key, 1_500);
    right.now = 1_200;
    right.receive(0, sku, 10, 1);
    right.tick(300);
    assert_eq!(found(&right.close(1 << 15)), None);
}

/// Goal: a shard's time never goes back; shards may differ.
#[test]
fn time_goes_forward_within_a_shard() {
    let mut shop = Shop::open(2);
    let sku = shop.define("S", 100, 0, &[]);
    shop.now = 5_000;
    shop.receive(0, sku, 10, 50);
    shop.now = 3_000;
    shop.receive(1, sku, 11, 50);
    let good = shop.clone();
    assert_eq!(found(&good.close(1 << 15)), None);
    shop.receive(0, sku, 10, 50);
    check(&shop.close(1 << 15), "V3", "time of shard 0 goes back from 5000 to 3000");
}

/// Goal: the fill policy and the price are recomputed from what was granted.
#[test]
fn partial_fills_are_granted_and_priced_right() {
    let mut shop = Shop::open(1);
    let sku = shop.define("S", 101, 0, &[]);
    shop.receive(0, sku, 10, 5);
    let mut priced = line(sku, 8);
    (priced.unit, priced.discount) = (99, 10);
    shop.basket(0, 7, &[priced], (1, 5), None).unwrap();
    let journal = shop.close(1 << 15);
    assert_eq!(found(&journal), None);
    let total = 99 * 5 - 10 * 5 / 8;
    let dearer = change(journal.clone(), |body| {
        if let Body::Basket(record) = body {
            assert_eq!(record.total, total);
            record.total += 1;
        }
    });
    check(&dearer, "I6", "total is 490, the lines add up to 489");
    let whole = change(journal, |body| {
        if let Body::Basket(record) = body {
            record.fill_min = 6;
        }
    });
    check(&whole, "I10", "at least 6 of 8 units, 5 are granted");
}

/// Goal: the kit rule: components go in the kit's proportion.
#[test]
fn half_a_kit_is_found() {
    let mut shop = Shop::open(1);
    let (one, two) = (shop.define("ONE", 1, 0, &[]), shop.define("TWO", 1, 0, &[]));
    let kit = shop.define("KIT", 100, 0, &[(one, 2), (two, 1)]);
    shop.receive(0, one, 10, 9);
    shop.receive(0, two, 10, 9);
    shop.basket(0, 7, &[line(kit, 3)], (0, 0), None).unwrap();
    let journal = change(shop.close(1 << 15), |body| {
        if let Body::Basket(record) = body {
            record.movements[1].quantity -= 1;
        }
    });
    check(&journal, "I4", "2 units of component SKU index 1 are not 3 kits of 1 each");
}

/// Goal: a key that stands twice is named with both places, though keys are compared at the end.
#[test]
fn reused_keys_name_both_records() {
    let mut shop = Shop::open(1);
    let sku = shop.define("S", 101, 0, &[]);
    let mut keys = Vec::new();
    for _ in 0..4 {
        shop.receive(0, sku, 10, 5);
    }
    let journal = change(shop.close(1 << 15), |body| {
        if let Body::Stock(record) = body {
            keys.push(record.key);
            if keys.len() == 4 {
                record.key = keys[1];
            }
        }
    });
    check(&journal, "I7", "of record 6 stands at record 4 too");
}

/// Goal: a sold-out answer is checked against the very units of its position.
#[test]
fn false_sold_out_is_found() {
    let mut shop = Shop::open(1);
    let sku = shop.define("S", 101, 0, &[]);
    shop.receive(0, sku, 10, 5);
    shop.receive(0, sku, 11, 2);
    shop.refuse(0, sku, 11);
    shop.refuse(0, sku, 0);
    let journal = shop.close(1 << 15);
    assert_eq!(found(&journal), None);
    let wrong = change(journal, |body| {
        if let Body::Refused(record) = body
            && record.location == 11
        {
            record.asked = 2;
        }
    });
    check(&wrong, "I17", "asked 2 is not above available 2 + tentative 0");
}

/// Goal: what a count does not find is taken from available units, then from the newest
/// reservation, then from the newest commitment; each is told its order.
#[test]
fn counts_break_the_newest_promises_first() {
    let history = || {
        let mut shop = Shop::open(2);
        let sku = shop.define("S", 100, 0, &[]);
        let cell = shop.receive(0, sku, 10, 14);
        let old = shop.basket(0, 7, &[line(sku, 3)], (0, 0), None).unwrap();
        let new = shop.basket(1, 7, &[line(sku, 3)], (0, 0), None).unwrap();
        let cart = shop.basket(1, 8, &[line(sku, 3)], (0, 0), Some((9_000, 9_000))).unwrap();
        let late = shop.basket(0, 8, &[line(sku, 3)], (0, 0), Some((9_000, 9_000))).unwrap();
        (shop, cell, [old, new, cart, late])
    };
    let (mut shop, cell, [old, new, cart, late]) = history();
    shop.count(cell, 10);
    assert!(!shop.orders.contains_key(&cart) && !shop.orders.contains_key(&late));
    assert_eq!(shop.orders[&new].holdings, [(0, cell, 1)]);
    assert_eq!(shop.orders[&old].holdings, [(0, cell, 3)]);
    let journal = shop.close(1 << 15);
    assert_eq!(found(&journal), None);
    let older_first = change(journal.clone(), |body| match body {
        Body::Stock(record) if record.operation == 8 => record.breaks[2].order = old,
        Body::FollowUp(record) if record.kind == 17 && record.order == new => record.order = old,
        _ => (),
    });
    check(&older_first, "V7", "the promise whose turn it is");
    let told_late = change(journal, |body| {
        if let Body::Stock(record) = body
            && record.operation == 8
        {
            record.breaks.truncate(1);
        }
    });
    check(&told_late, "V7", "the oldest that shard 1 was told is None");
}

/// Goal: half a kit that is lost breaks the kit; what is left of it is available again.
#[test]
fn lost_units_break_whole_kits() {
    let mut shop = Shop::open(1);
    let (one, two) = (shop.define("ONE", 1, 0, &[]), shop.define("TWO", 1, 0, &[]));
    let kit = shop.define("KIT", 100, 0, &[(one, 2), (two, 1)]);
    let cell = shop.receive(0, one, 10, 6);
    let other = shop.receive(0, two, 10, 3);
    shop.basket(0, 7, &[line(kit, 3)], (0, 0), None).unwrap();
    shop.count(cell, 3);
    assert_eq!((shop.units(cell, 0), shop.units(cell, 3)), (1, 2));
    assert_eq!((shop.units(other, 0), shop.units(other, 3)), (2, 1));
    let journal = shop.close(1 << 15);
    assert_eq!(found(&journal), None);
    let half = change(journal, |body| {
        if let Body::FollowUp(record) = body {
            record.movements.pop();
        }
    });
    check(&half, "I4", "0 units of component SKU index 1 are not 2 kits of 1 each");
}

/// Goal: a decision needs its policy before it, the risk guards what is placed, and only an open
/// risk is settled.
#[test]
fn decisions_name_known_policies_and_guard_the_order() {
    let decided = |risk| Decided { policies: [1, 2], risk, ..Decided::default() };
    let history = |steps: &dyn Fn(&mut Shop, u32)| {
        let mut shop = Shop::open(2);
        let sku = shop.define("S", 250, 0, &[]);
        shop.receive(0, sku, 10, 50);
        steps(&mut shop, sku);
        shop.close(1 << 15)
    };
    let policies = |shop: &mut Shop| {
        shop.policy(1, 0, 1);
        shop.policy(2, 0, 1);
    };
    let times = Some((1_500, 1_900));
    let basket = |shop: &mut Shop, sku, risk, times| {
        shop.deciding = Some(decided(risk));
        shop.basket(0, 7, &[line(sku, 1)], (0, 0), times).unwrap()
    };
    let sound = history(&|shop, sku| {
        policies(shop);
        let review = basket(shop, sku, 3, None);
        shop.risk(review, 2);
        shop.risk(review, 1);
        let reserved = basket(shop, sku, 1, times);
        shop.place(reserved);
        let denied = basket(shop, sku, 2, times);
        shop.risk(denied, 4);
        // A policy that is removed keeps its number.
        shop.policy(2, 0, 11);
        basket(shop, sku, 1, None);
    });
    assert_eq!(found(&sound), None);
    let early = history(&|shop, sku| _ = basket(shop, sku, 1, None));
    check(&early, "I16", "decision of policy 1, which shard 0 does not know");
    let open = history(&|shop, sku| {
        policies(shop);
        let reserved = basket(shop, sku, 2, times);
        shop.place(reserved);
    });
    check(&open, "I16", "PLACE of an order at risk 2, above 1");
    let settled = history(&|shop, sku| {
        policies(shop);
        let reserved = basket(shop, sku, 1, times);
        shop.risk(reserved, 4);
    });
    check(&settled, "I16", "RISK of an order at risk 1, outside 2..=3");
    let missing = without_last_copy(history(&|shop, _| policies(shop)));
    check(&missing, "V5", "1 steps of policies have not reached every shard");
}

/// Drops the last copy of a policy's record.
fn without_last_copy(mut journal: Journal) -> Journal {
    let is_copy = |body: &Body| matches!(body, Body::Policy(record) if record.copy);
    let mut places = journal.places().into_iter();
    let last = places.rfind(|at| is_copy(&journal.at(*at).body)).unwrap();
    journal.frames[last.0].sections[last.1].records.remove(last.2);
    journal
}

/// Ships a unit of goods with a use of a coupon; `follow` has the ship's line entries, and where the
/// use goes.
fn with_coupon(kind: u8, entries: &[(u16, u32)], to: u8) -> Journal {
    let mut shop = Shop::open(2);
    let goods = shop.define("GOODS", 250, 0, &[]);
    let coupon = shop.define("USE", 0, 0, &[]);
    shop.receive(0, goods, 10, 5);
    shop.receive(0, coupon, 10, 5);
    let order = shop.basket(0, 7, &[line(goods, 1), line(coupon, 1)], (0, 0), None).unwrap();
    shop.part(order, 10, 1);
    change(shop.close(1 << 15), |body| match body {
        Body::Define(define) if define.sku == coupon => define.kind = kind,
        Body::FollowUp(record) => {
            record.lines = entries.to_vec();
            for movement in record.movements.iter_mut().filter(|movement| movement.line == 1) {
                movement.to = to;
            }
        }
        _ => {}
    })
}

/// Goal: a use of a coupon goes with the last goods and by no entry of its own.
#[test]
fn uses_of_coupons_follow_their_goods() {
    const COUPON: u8 = 3;
    assert_eq!(found(&with_coupon(0, &[(0, 1), (1, 1)], SHIPPED)), None);
    assert_eq!(found(&with_coupon(COUPON, &[(0, 1)], SHIPPED)), None);
    assert_eq!(found(&with_coupon(COUPON, &[], SHIPPED)), None);
    check(&with_coupon(0, &[(0, 1)], SHIPPED), "I5", "the entries say 0 units, 1 are moved");
    check(
        &with_coupon(COUPON, &[(0, 1), (1, 1)], SHIPPED),
        "I5",
        "names line 1, a use of a coupon",
    );
    check(&with_coupon(COUPON, &[(0, 1)], A), "V1", "SHIP moves 1 units C to A");
}

/// An order of a unit of goods and a use; `deeds` follow, and `altered` changes their records.
fn with_use(deeds: &dyn Fn(&mut Shop, u128, u32), altered: impl FnMut(&mut FollowUp)) -> Journal {
    let mut shop = Shop::open(2);
    let goods = shop.define("GOODS", 250, 0, &[]);
    let coupon = shop.coupon("USE", 0);
    let cell = shop.receive(0, goods, 10, 2);
    shop.receive(1, coupon, 10, 5);
    let lines = [line(goods, 2), line(coupon, 1)];
    let order = shop.basket(0, 7, &lines, (0, 0), None).unwrap();
    deeds(&mut shop, order, cell);
    let mut altered = altered;
    change(shop.close(1 << 15), |body| {
        if let Body::FollowUp(record) = body {
            altered(record);
        }
    })
}

/// Goal: uses of coupons follow goods that a count breaks, in the same record, and go where the
/// goods went; a reservation is no different.
#[test]
fn uses_of_coupons_follow_broken_goods() {
    let all = |shop: &mut Shop, order: u128, cell: u32| {
        shop.count(cell, 2);
        assert!(!shop.orders.contains_key(&order));
    };
    let one_left = |shop: &mut Shop, order: u128, cell: u32| {
        shop.part(order, 10, 1);
        shop.count(cell, 1);
        assert!(!shop.orders.contains_key(&order));
    };
    assert_eq!(found(&with_use(&all, |_| ())), None);
    assert_eq!(found(&with_use(&one_left, |_| ())), None);
    let stays = with_use(&all, |record| record.instructions.clear());
    check(&stays, "V7", "moves 0 units of line 1, a use of a coupon, of which 1 are to follow");
    let used = with_use(&all, |record| record.instructions[0].to = SHIPPED);
    check(&used, "V1", "BREAK moves 1 units C to SHIPPED");
    let given_back = with_use(&one_left, |record| {
        if record.kind == 17 {
            record.instructions[0].to = A;
        }
    });
    check(&given_back, "V1", "BREAK moves 1 units C to A");
    let some = |shop: &mut Shop, order: u128, cell: u32| {
        shop.count(cell, 1);
        shop.part(order, 9, 1);
    };
    assert_eq!(found(&with_use(&some, |_| ())), None);
    let early = with_use(&some, |record| {
        if record.kind == 17 {
            let follows = Mv { cell: 1 << 24, quantity: 1, from: C, to: A, line: 1 };
            record.instructions.push(follows);
        }
    });
    check(&early, "V7", "moves 1 units of line 1, a use of a coupon, of which 0 are to follow");
    let mut shop = Shop::open(1);
    let (goods, coupon) = (shop.define("GOODS", 250, 0, &[]), shop.coupon("USE", 0));
    let cell = shop.receive(0, goods, 10, 1);
    shop.receive(0, coupon, 10, 5);
    let lines = [line(goods, 1), line(coupon, 1)];
    let cart = shop.basket(0, 7, &lines, (0, 0), Some((9_000, 9_000))).unwrap();
    shop.count(cell, 1);
    assert!(!shop.orders.contains_key(&cart));
    assert_eq!(found(&shop.close(1 << 15)), None);
}

/// Goal: a ship uses a coupon only where goods leave; here a record of nothing but the use says so
/// of an order whose goods are broken, of which an older engine left the use.
#[test]
fn a_ship_without_goods_uses_no_coupon() {
    let wrong = with_use(&|shop, order, _| shop.part(order, 9, 2), |record| {
        record.kind = 10;
        record.movements.clear();
        record.lines = vec![(0, 2)];
        record.instructions[0].to = SHIPPED;
    });
    check(&wrong, "V1", "SHIP moves 1 units C to SHIPPED");
}

/// Goal: uses of coupons fill no part of a basket of goods, but a basket of their own.
#[test]
fn uses_of_coupons_fill_nothing() {
    let basket = |goods_left: u32, fill| {
        let mut shop = Shop::open(1);
        let (goods, coupon) = (shop.define("GOODS", 250, 0, &[]), shop.coupon("USE", 0));
        shop.receive(0, goods, 10, 9);
        shop.receive(0, coupon, 10, 5);
        shop.basket(0, 7, &[line(goods, 3), line(coupon, 1)], (0, 0), None).unwrap();
        shop.basket(0, 7, &[line(coupon, 1)], (2, 0), None).unwrap();
        change(shop.close(1 << 15), |body| {
            if let Body::Basket(record) = body
                && record.lines.len() == 2
            {
                (record.fill, record.fill_min) = fill;
                record.movements[0].quantity = goods_left;
                record.total = i64::from(goods_left) * 250;
                record.movements.retain(|m| m.quantity > 0);
            }
        })
    };
    assert_eq!(found(&basket(1, (2, 0))), None);
    assert_eq!(found(&basket(2, (1, 2))), None);
    check(&basket(0, (2, 0)), "I10", "at least 1 of 3 units, 0 are granted");
    check(&basket(2, (1, 3)), "I10", "at least 3 of 3 units, 2 are granted");
}
