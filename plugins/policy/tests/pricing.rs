//! Built-in pricing: each rule with an example, all of them against a naive model, and coupons
//! against a real engine.

use onhand_core::{
    Buy, Command, Currency, CustomerId, DefineSku, Engine, Fill, Key, LocationId, LotId, Money,
    OrderId, Placement, Quantity, Receive, Reject, Release, Reserve, SkuId, SkuKind,
};
use onhand_policy::decision::{
    Adjustment, KIND_LINE, KIND_ORDER, PriceOutcome, Prices, check_prices,
};
use onhand_policy::fact::{PricingBatch, PricingHeader, PricingLine};
use onhand_policy::pricing::{
    Benefit, CODE_TIER, PROMOTIONS_PER_LINE_MAX, PriceList, Promotion, Stacking, Target, Tier,
    basket,
};
use proptest::prelude::*;

const COUPON: SkuId = SkuId::new(77);

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR).expect("an amount of the test")
}

/// An order of segment 3 at time 1,000 with so many (SKU, class, units, price).
fn order(lines: &[(u64, u32, u32, i64)]) -> (PricingHeader, Vec<PricingLine>) {
    let header = PricingHeader {
        segment: 3,
        now: 1_000,
        currency: 978,
        line_count: lines.len() as u32,
        ..Default::default()
    };
    let line = |(sku, class, quantity, unit): &(u64, u32, u32, i64)| PricingLine {
        sku: *sku,
        class: *class,
        location: 0,
        quantity: *quantity,
        unit: *unit,
    };
    (header, lines.iter().map(line).collect())
}

fn answer(list: &PriceList, batch: &PricingBatch<'_>) -> (Vec<Adjustment>, Prices) {
    let mut answer = Vec::new();
    list.price(batch, &mut answer);
    let prices = check_prices(batch, &answer).expect("a built-in answer is valid");
    (answer, prices)
}

/// Prices one order, with the coupon if it is wanted; returns (code, amount) and the total.
fn price(
    list: &PriceList,
    lines: &[(u64, u32, u32, i64)],
    with_coupon: bool,
) -> (Vec<(u32, i64)>, i64) {
    let (header, lines) = order(lines);
    let coupons: &[u64] = if with_coupon { &[77] } else { &[] };
    let headers = [PricingHeader { coupon_count: coupons.len() as u32, ..header }];
    let batch = PricingBatch::new(&headers, &lines, coupons).expect("facts are in range");
    let (answer, prices) = answer(list, &batch);
    let PriceOutcome::Priced { total, clamped: 0 } = prices.outcomes[0] else {
        panic!("refused or clamped: {prices:?}");
    };
    (answer.iter().map(|a| (a.code, a.amount)).collect(), total)
}

fn list(promotions: &[Promotion]) -> PriceList {
    PriceList::new(&[], promotions).expect("settings of the test")
}

fn percent(code: u32, target: Target, points: u32) -> Promotion {
    Promotion::new(code, target, Benefit::Percent(points))
}

fn fixed(code: u32, target: Target, minor: i64) -> Promotion {
    Promotion::new(code, target, Benefit::Fixed(eur(minor)))
}

#[test]
fn tiers_count_the_units_of_a_sku_over_all_lines() {
    let tier = |from, minor| Tier { sku: SkuId::new(1), from, price: eur(minor) };
    let list = PriceList::new(&[tier(10, 80), tier(5, 90), tier(20, 120)], &[]).expect("tiers");
    assert_eq!(price(&list, &[(1, 0, 4, 100)], false), (vec![], 400));
    assert_eq!(price(&list, &[(1, 0, 5, 100)], false), (vec![(CODE_TIER, 50)], 450));
    let split = [(1, 0, 4, 100), (2, 0, 50, 1), (1, 0, 6, 100)];
    assert_eq!(price(&list, &split, false), (vec![(0, 80), (0, 120)], 850));
    // A tier above the list price makes nothing dearer.
    assert_eq!(price(&list, &[(1, 0, 20, 100)], false), (vec![], 2_000));
}

#[test]
fn percentages_round_halves_up_and_fixed_amounts_stop_at_the_price() {
    let line = |points| list(&[percent(1, Target::Sku(SkuId::new(1)), points)]);
    // 5 % of 1.10 is 5.5 cents; of 1.09 it is 5.45.
    assert_eq!(price(&line(500), &[(1, 0, 1, 110)], false), (vec![(1, 6)], 104));
    assert_eq!(price(&line(500), &[(1, 0, 1, 109)], false), (vec![(1, 5)], 104));
    assert_eq!(price(&line(10_000), &[(1, 0, 3, 109)], false), (vec![(1, 327)], 0));
    let each = list(&[fixed(2, Target::Class(4), 30)]);
    assert_eq!(price(&each, &[(1, 4, 2, 100), (2, 0, 1, 100)], false), (vec![(2, 60)], 240));
    assert_eq!(price(&each, &[(1, 4, 2, 20)], false), (vec![(2, 40)], 0));
    let whole = list(&[fixed(3, Target::Order, 500)]);
    assert_eq!(price(&whole, &[(1, 4, 2, 20), (2, 0, 1, 10)], false), (vec![(3, 50)], 0));
}

/// Every condition, on each side of its edge.
#[test]
fn a_promotion_applies_under_its_conditions_only() {
    let lines = [(1, 4, 1, 1_00), (2, 0, 1, 2_00)];
    let base = percent(1, Target::Lines, 1_000);
    let off = |promotion: Promotion| 3_00 - price(&list(&[promotion]), &lines, false).1;
    assert_eq!(off(base), 30);
    assert_eq!(off(Promotion { target: Target::Class(4), ..base }), 10);
    assert_eq!(off(Promotion { target: Target::Sku(SkuId::new(2)), ..base }), 20);
    assert_eq!(off(Promotion { from: 1_000, ..base }), 30);
    assert_eq!(off(Promotion { from: 1_001, ..base }), 0);
    assert_eq!(off(Promotion { until: 1_001, ..base }), 30);
    assert_eq!(off(Promotion { until: 1_000, ..base }), 0);
    assert_eq!(off(Promotion { segment: 3, ..base }), 30);
    assert_eq!(off(Promotion { segment: 4, ..base }), 0);
    assert_eq!(off(Promotion { minimum: Some(eur(3_00)), ..base }), 30);
    assert_eq!(off(Promotion { minimum: Some(eur(3_01)), ..base }), 0);
    let dollars = |minor| Money::new(minor, Currency::USD).expect("an amount");
    assert_eq!(off(Promotion { minimum: Some(dollars(0)), ..base }), 0);
    assert_eq!(off(Promotion { benefit: Benefit::Fixed(dollars(1)), ..base }), 0);
    let coupon = Promotion { coupon: Some(COUPON), ..base };
    assert_eq!(off(coupon), 0);
    assert_eq!(price(&list(&[coupon]), &lines, true).1, 2_70);
}

#[test]
fn stacking_follows_its_rules() {
    let lines = [(1, 0, 1, 10_00)];
    let on = Target::Lines;
    let of = |promotions: &[Promotion]| price(&list(promotions), &lines, false);
    let with =
        |promotion: Promotion, stacking, priority| Promotion { stacking, priority, ..promotion };
    let (ten, twenty, forty) =
        (percent(1, on, 1_000), percent(2, on, 2_000), percent(3, on, 4_000));
    // Both of the base, the higher priority first.
    assert_eq!(of(&[ten, twenty]), (vec![(1, 1_00), (2, 2_00)], 7_00));
    assert_eq!(
        of(&[ten, with(twenty, Stacking::Stackable, 1)]),
        (vec![(2, 2_00), (1, 1_00)], 7_00)
    );
    // Together at most the whole line.
    let most = percent(9, on, 9_500);
    assert_eq!(of(&[ten, most]), (vec![(1, 1_00), (9, 9_00)], 0));
    // The best of a group, beside what is in none.
    let group = Stacking::BestOf(1);
    let best = [with(ten, group, 9), with(twenty, group, 0), forty];
    assert_eq!(of(&best), (vec![(2, 2_00), (3, 4_00)], 4_00));
    let equal = [with(ten, group, 0), with(percent(5, on, 1_000), group, 1)];
    assert_eq!(of(&equal), (vec![(5, 1_00)], 9_00), "of equals the higher priority");
    // An exclusive one against the others: priority, then amount, then the exclusive one.
    let alone = Stacking::Exclusive;
    assert_eq!(of(&[with(ten, alone, 1), forty]), (vec![(1, 1_00)], 9_00));
    assert_eq!(of(&[with(ten, alone, 0), forty]), (vec![(3, 4_00)], 6_00));
    assert_eq!(of(&[with(forty, alone, 0), ten, twenty]), (vec![(3, 4_00)], 6_00));
    let tie = [with(percent(4, on, 3_000), alone, 0), ten, twenty];
    assert_eq!(of(&tie), (vec![(4, 3_00)], 7_00));
    // What an order promotion takes is of what is left.
    let whole = percent(8, Target::Order, 5_000);
    assert_eq!(of(&[twenty, whole]), (vec![(2, 2_00), (8, 4_00)], 4_00));
    let many: Vec<Promotion> = (1..=20).map(|code| percent(code, on, 100)).collect();
    assert_eq!(of(&many).0.len(), PROMOTIONS_PER_LINE_MAX);
}

#[test]
fn settings_out_of_range_are_named() {
    let error = |tiers: &[Tier], promotions: &[Promotion]| {
        PriceList::new(tiers, promotions).err().map(|error| error.to_string())
    };
    let text = |text: &str| Some(text.to_owned());
    let fine = percent(1, Target::Order, 1);
    assert_eq!(error(&[], &[fine, percent(2, Target::Order, 10_000)]), None);
    let over = error(&[], &[fine, percent(2, Target::Order, 10_001)]);
    assert_eq!(over, text("percent of entry 1 is 10001, outside 1..=10000"));
    let zero = error(&[], &[percent(1, Target::Order, 0)]);
    assert_eq!(zero, text("percent of entry 0 is 0, outside 1..=10000"));
    let twice = error(&[], &[fine, fine]);
    assert_eq!(twice, text("promotions with the same code of entry 1 is 2, outside 1..=1"));
    let window = error(&[], &[Promotion { from: 5, until: 5, ..fine }]);
    assert_eq!(window, text("until - from of entry 0 is 0, outside 1..=9223372036854775807"));
    assert!(error(&[], &[percent(0, Target::Order, 1)]).is_some());
    assert!(error(&[], &[percent(1, Target::Class(0), 1)]).is_some());
    assert!(error(&[], &[fixed(1, Target::Order, 0)]).is_some());
    assert!(error(&[], &[Promotion { minimum: Some(eur(-1)), ..fine }]).is_some());
    let tier = Tier { sku: SkuId::new(1), from: 1, price: eur(1) };
    assert!(error(&[tier], &[]).is_none());
    assert!(error(&[tier, tier], &[]).is_some());
    assert!(error(&[Tier { from: 0, ..tier }], &[]).is_some());
    assert!(error(&[Tier { price: eur(-1), ..tier }], &[]).is_some());
}

fn accept(engine: &Engine, command: Command) {
    let reply = engine.execute(command).expect("the engine runs");
    assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
}

fn define(
    engine: &Engine,
    code: &str,
    kind: SkuKind,
    units: u32,
    limit: Option<Quantity>,
) -> SkuId {
    let sku = SkuId::from_code(code).expect("a code");
    accept(
        engine,
        Command::DefineSku(Box::new(DefineSku {
            key: Key::from_text(&format!("define {code}")),
            code: code.to_owned(),
            kind,
            price: eur(if kind == SkuKind::Coupon { 0 } else { 10_00 }),
            placement: Placement::BySku,
            limit,
            components: Vec::new(),
        })),
    );
    accept(
        engine,
        Command::Receive(Receive {
            key: Key::from_text(&format!("receive {code}")),
            sku,
            location: LocationId(1),
            lot: LotId(0),
            quantity: Quantity::new(units).expect("units of the test"),
        }),
    );
    sku
}

/// Three uses of a coupon, one for each customer; 40 customers on 4 threads want one each.
///
/// Goal: the uses that are given are exactly the uses that there were, and a basket without a use
/// moved no goods. Method: a real engine, prices by the built-in list, concurrent purchases.
#[test]
fn the_last_use_of_a_coupon_is_never_given_twice() {
    let (engine, _) = Engine::in_memory().shards(2).open().expect("an engine in memory");
    let mug = define(&engine, "MUG", SkuKind::Goods, 100, None);
    let coupon = define(&engine, "WELCOME", SkuKind::Coupon, 3, Some(Quantity::ONE));
    let list = list(&[Promotion { coupon: Some(coupon), ..fixed(1, Target::Order, 4_00) }]);
    let (header, lines) = order(&[(mug.bits(), 0, 1, 10_00)]);
    let (headers, coupons) = ([PricingHeader { coupon_count: 1, ..header }], [coupon.bits()]);
    let batch = PricingBatch::new(&headers, &lines, &coupons).expect("facts are in range");
    let (_, prices) = answer(&list, &batch);
    let used: Vec<SkuId> = prices.coupons_of(0).collect();
    assert_eq!(used, [coupon]);
    let lines = basket(&batch, &prices, 0).expect("priced");

    let buy = |key: &str, customer: u64| {
        let buy = Buy {
            key: Key::from_text(key),
            customer: CustomerId(customer),
            lines: lines.clone().into(),
            fill: Fill::All,
            expected_total: Some(eur(6_00)),
            decided: None,
        };
        engine.execute(Command::Buy(buy)).expect("the engine runs").outcome.map_err(|r| r.reject)
    };
    let given = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                scope.spawn(move || {
                    (1..=10)
                        .filter(|n| buy(&format!("{thread}/{n}"), thread * 10 + n).is_ok())
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<usize>()
    });
    assert_eq!(given, 3);
    let left = |sku| engine.stock(sku).expect("defined").available;
    assert_eq!((left(coupon), left(mug)), (0, 97));
    engine.close().expect("closes");
}

/// A customer's second use is refused by the limit, and a use that was only reserved comes back.
#[test]
fn a_customer_uses_a_coupon_once_and_a_released_use_is_free_again() {
    let (engine, _) = Engine::in_memory().open().expect("an engine in memory");
    let mug = define(&engine, "MUG", SkuKind::Goods, 100, None);
    let coupon = define(&engine, "WELCOME", SkuKind::Coupon, 5, Some(Quantity::ONE));
    let list = list(&[Promotion { coupon: Some(coupon), ..percent(1, Target::Lines, 2_500) }]);
    let (header, lines) = order(&[(mug.bits(), 0, 2, 10_00)]);
    let (headers, coupons) = ([PricingHeader { coupon_count: 1, ..header }], [coupon.bits()]);
    let batch = PricingBatch::new(&headers, &lines, &coupons).expect("facts are in range");
    let (_, prices) = answer(&list, &batch);
    let lines = basket(&batch, &prices, 0).expect("priced");
    let reserve = |key: &str| {
        let reserve = Reserve {
            key: Key::from_text(key),
            customer: CustomerId(8),
            lines: lines.clone().into(),
            fill: Fill::All,
            ttl_ms: 60_000,
            hard_cap_ms: 60_000,
            expected_total: Some(eur(15_00)),
            decided: None,
        };
        engine
            .execute(Command::Reserve(reserve))
            .expect("the engine runs")
            .outcome
            .map_err(|r| r.reject)
    };
    assert!(reserve("first").is_ok());
    assert_eq!(reserve("second"), Err(Reject::LimitReached));
    let left = |sku| engine.stock(sku).expect("defined").available;
    assert_eq!((left(coupon), left(mug)), (4, 98), "the refused basket moved nothing");
    let order = OrderId::from(Key::from_text("first"));
    accept(&engine, Command::Release(Release { key: Key::from_text("release"), order, reason: 0 }));
    assert_eq!((left(coupon), left(mug)), (5, 100));
    assert!(reserve("third").is_ok());
    engine.close().expect("closes");
}

/// A coupon takes a use only if its promotion has taken something off.
#[test]
fn a_coupon_that_pays_nothing_is_not_used() {
    let better = Promotion { stacking: Stacking::Exclusive, ..percent(2, Target::Lines, 5_000) };
    let list =
        list(&[Promotion { coupon: Some(COUPON), ..percent(1, Target::Lines, 1_000) }, better]);
    let (header, lines) = order(&[(1, 0, 1, 10_00)]);
    let (headers, coupons) = ([PricingHeader { coupon_count: 2, ..header }], [77, 77]);
    let batch = PricingBatch::new(&headers, &lines, &coupons).expect("facts are in range");
    let (_, prices) = answer(&list, &batch);
    assert_eq!(prices.coupons, []);
}

/// Each order uses its own coupons, each once, whatever else is in the batch.
#[test]
fn orders_of_a_batch_use_their_own_coupons() {
    let other = SkuId::new(78);
    let list = list(&[
        Promotion { coupon: Some(COUPON), ..percent(1, Target::Lines, 1_000) },
        Promotion { coupon: Some(other), ..percent(2, Target::Order, 1_000) },
    ]);
    let (header, mut lines) = order(&[(1, 0, 1, 10_00)]);
    lines.extend(lines.clone());
    let second = PricingHeader { first_line: 1, first_coupon: 3, coupon_count: 2, ..header };
    let headers = [PricingHeader { coupon_count: 3, ..header }, second];
    let coupons = [77, 77, 5, 78, 77];
    let batch = PricingBatch::new(&headers, &lines, &coupons).expect("facts are in range");
    let (_, prices) = answer(&list, &batch);
    assert!(prices.coupons_of(0).eq([COUPON]), "{:?}", prices.coupons);
    assert!(prices.coupons_of(1).eq([other, COUPON]), "{:?}", prices.coupons);
}

/// The rules in the plainest words: all promotions are looked at for each line.
fn naive(
    promotions: &[Promotion],
    header: &PricingHeader,
    lines: &[PricingLine],
    coupon: bool,
) -> i64 {
    let list_total: i64 = lines.iter().map(|l| l.unit * i64::from(l.quantity)).sum();
    let applies = |p: &&Promotion| {
        p.from <= header.now
            && header.now < p.until
            && (p.segment == 0 || p.segment == header.segment)
            && p.minimum.is_none_or(|least| list_total >= least.minor())
            && (p.coupon.is_none() || coupon)
    };
    let taken = |candidates: Vec<&Promotion>, base: i64, units: i64, most: usize| -> i64 {
        let amount = |p: &Promotion| match p.benefit {
            // Halves up, by doubling.
            Benefit::Percent(points) => (2 * base * i64::from(points) + 10_000) / 20_000,
            Benefit::Fixed(money) => (money.minor() * units).min(base),
        };
        let candidates: Vec<&Promotion> =
            candidates.into_iter().filter(|p| amount(p) > 0).collect();
        let better = |a: &Promotion, b: &Promotion| {
            (amount(a), a.priority, std::cmp::Reverse(a.code))
                > (amount(b), b.priority, std::cmp::Reverse(b.code))
        };
        let beaten = |p: &Promotion| {
            matches!(p.stacking, Stacking::BestOf(_))
                && candidates.iter().any(|o| o.stacking == p.stacking && better(o, p))
        };
        let mut others: Vec<&Promotion> = candidates
            .iter()
            .copied()
            .filter(|p| p.stacking != Stacking::Exclusive && !beaten(p))
            .collect();
        others.sort_by_key(|p| (std::cmp::Reverse(p.priority), p.code));
        others.truncate(most);
        let together = others.iter().map(|p| amount(p)).sum::<i64>().min(base);
        let exclusive = candidates.iter().filter(|p| p.stacking == Stacking::Exclusive);
        let Some(alone) = exclusive.map(|p| (p.priority, amount(p))).max() else { return together };
        match others.iter().map(|p| p.priority).max() {
            Some(priority) if (priority, together) > alone => together,
            _ => alone.1,
        }
    };
    let mut left = 0;
    for line in lines {
        let base = line.unit * i64::from(line.quantity);
        let of_line = |p: &&Promotion| match p.target {
            Target::Sku(sku) => sku.bits() == line.sku,
            Target::Class(class) => class == line.class,
            Target::Lines => true,
            Target::Order => false,
        };
        let candidates = promotions.iter().filter(applies).filter(of_line).collect();
        left += base - taken(candidates, base, line.quantity.into(), 7);
    }
    let of_order = |p: &&Promotion| p.target == Target::Order;
    left - taken(promotions.iter().filter(applies).filter(of_order).collect(), left, 1, 32)
}

fn promotion() -> impl Strategy<Value = Promotion> {
    let target = prop_oneof![
        (1_u64..4).prop_map(|sku| Target::Sku(SkuId::new(sku))),
        (1_u32..3).prop_map(Target::Class),
        Just(Target::Lines),
        Just(Target::Order),
    ];
    let benefit = prop_oneof![
        (1_u32..=10_000).prop_map(Benefit::Percent),
        (1_i64..2_000).prop_map(|minor| Benefit::Fixed(eur(minor))),
    ];
    let stacking = prop_oneof![
        3 => Just(Stacking::Stackable),
        2 => (1_u32..3).prop_map(Stacking::BestOf),
        1 => Just(Stacking::Exclusive),
    ];
    let minimum = prop::option::weighted(0.2, (0_i64..5_000).prop_map(eur));
    let coupon = prop::option::weighted(0.2, Just(COUPON));
    (target, benefit, stacking, 0_u32..3, 0_u64..1_500, 1_u64..1_500, 0_u32..5, minimum, coupon)
        .prop_map(
            |(target, benefit, stacking, priority, from, length, segment, minimum, coupon)| {
                Promotion {
                    stacking,
                    priority,
                    from,
                    until: from + length,
                    segment: if segment == 3 { 3 } else { 0 },
                    minimum,
                    coupon,
                    ..Promotion::new(1, target, benefit)
                }
            },
        )
}

proptest! {
    /// The indexed list takes off what the naive model takes off, whatever order the promotions
    /// are configured in; the check accepts the answer and nothing is clamped.
    #[test]
    fn prices_are_those_of_the_naive_model(
        mut promotions in prop::collection::vec(promotion(), 0..14),
        lines in prop::collection::vec((1_u64..5, 0_u32..4, 1_u32..6, 0_i64..3_000), 1..5),
        coupon in any::<bool>(),
        turn in 0_usize..14,
    ) {
        promotions.iter_mut().zip(1..).for_each(|(promotion, code)| promotion.code = code);
        let (adjustments, total) = price(&list(&promotions), &lines, coupon);
        let (header, facts) = order(&lines);
        prop_assert_eq!(total, naive(&promotions, &header, &facts, coupon));
        prop_assert!(total >= 0);
        let off: i64 = adjustments.iter().map(|(_, amount)| amount).sum();
        let all: i64 = lines.iter().map(|(_, _, quantity, unit)| i64::from(*quantity) * unit).sum();
        prop_assert_eq!(total, all - off);

        if !promotions.is_empty() {
            let places = promotions.len();
            promotions.rotate_left(turn % places);
            promotions.swap(0, turn / 2 % places);
        }
        prop_assert_eq!(price(&list(&promotions), &lines, coupon), (adjustments, total));
    }

    /// An order's price does not depend on what else is in its batch.
    #[test]
    fn a_batch_is_the_sum_of_its_orders(
        mut promotions in prop::collection::vec(promotion(), 0..8),
        orders in prop::collection::vec(
            prop::collection::vec((1_u64..5, 0_u32..4, 1_u32..6, 0_i64..3_000), 1..4), 1..5),
    ) {
        promotions.iter_mut().zip(1..).for_each(|(promotion, code)| promotion.code = code);
        let list = list(&promotions);
        let (mut headers, mut facts) = (Vec::new(), Vec::new());
        for lines in &orders {
            let (header, own) = order(lines);
            headers.push(PricingHeader { first_line: facts.len() as u32, ..header });
            facts.extend(own);
        }
        let batch = PricingBatch::new(&headers, &facts, &[]).expect("facts are in range");
        let (answer, prices) = answer(&list, &batch);
        for (at, lines) in orders.iter().enumerate() {
            let (alone, total) = price(&list, lines, false);
            prop_assert_eq!(prices.outcomes[at], PriceOutcome::Priced { total, clamped: 0 });
            let range = headers[at].first_line..headers[at].first_line + headers[at].line_count;
            let own = |a: &&Adjustment| match a.kind {
                KIND_LINE => range.contains(&a.at),
                KIND_ORDER => a.at as usize == at,
                _ => false,
            };
            let own: Vec<_> = answer.iter().filter(own).map(|a| (a.code, a.amount)).collect();
            prop_assert_eq!(own, alone);
        }
    }
}
