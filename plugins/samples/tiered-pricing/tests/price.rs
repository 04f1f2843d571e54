//! Tiers, windows, stacking and coupons, without WebAssembly.

use onhand_plugin_sdk::testing::{PricingHarness, pricing, utc};
use tiered_pricing::Tiered;

fn plugin(config: &str) -> PricingHarness<Tiered> {
    pricing(config).expect("a configuration")
}

fn refused(config: &str) -> String {
    pricing::<Tiered>(config).map(|_| ()).expect_err("refused").to_string()
}

/// The largest tier that is reached counts, and one unit less does not reach it.
#[test]
fn the_largest_tier_that_is_reached_counts() {
    let plugin = plugin(
        r#"{"tiers": [{"class": 3, "units": 20, "off_bp": 1500, "code": 11},
                      {"class": 3, "units": 10, "off_bp": 500, "code": 10}]}"#,
    );
    for (units, total, rules) in
        [(9, 9_00, vec![]), (10, 9_50, vec![10]), (19, 18_05, vec![10]), (20, 17_00, vec![11])]
    {
        let priced = plugin.order().line(1, units, 1_00).class(3).price();
        assert_eq!((priced.total, priced.rules), (total, rules), "{units} units");
    }
    assert_eq!(plugin.order().line(1, 99, 1_00).class(4).price().total, 99_00);
    assert_eq!(plugin.order().line(1, 99, 1_00).price().total, 99_00);
}

/// Offers of one group exclude each other, others add up; percentages are of what is left.
#[test]
fn groups_exclude_and_others_add_up() {
    let plugin = plugin(
        r#"{"offers": [{"code": 1, "class": 5, "off_bp": 1000, "group": 1},
                       {"code": 2, "class": 5, "off": 150, "group": 1},
                       {"code": 3, "class": 5, "off_bp": 5000},
                       {"code": 4, "off_bp": 1000}]}"#,
    );
    // 10 % of 10.00 is less than 1.50; then half of 8.50; then a tenth off the order.
    let cheap = plugin.order().line(1, 1, 10_00).class(5).price();
    assert_eq!((cheap.total, cheap.rules), (3_83, vec![2, 3, 4]));
    let dear = plugin.order().line(1, 1, 20_00).class(5).price();
    assert_eq!((dear.total, dear.rules), (8_10, vec![1, 3, 4]));
}

/// A winner leaves less to its group than the others are worth, and they still do not come on top.
#[test]
fn a_group_wins_once() {
    let plugin = plugin(
        r#"{"offers": [{"code": 1, "off_bp": 6000, "group": 1},
                       {"code": 2, "off": 500, "group": 1}]}"#,
    );
    let priced = plugin.order().line(1, 1, 10_00).price();
    assert_eq!((priced.total, priced.rules), (4_00, vec![1]));
}

/// A window opens and closes by the minute, over midnight too, by the shop's clock.
#[test]
fn windows_open_and_close_by_the_minute() {
    let plugin = plugin(
        r#"{"offers": [{"code": 1, "off": 100, "days": [5], "opens_minute": 1320,
                        "closes_minute": 120, "offset_minutes": 60}]}"#,
    );
    // Friday, 27 November 2026, 22:00 to 2:00 on Saturday, an hour ahead of UTC.
    for (now, open) in [
        (utc(2026, 11, 27, 20, 59), false),
        (utc(2026, 11, 27, 21, 0), true),
        (utc(2026, 11, 28, 0, 59), true),
        (utc(2026, 11, 28, 1, 0), false),
        (utc(2026, 11, 26, 21, 0), false),
        (utc(2026, 11, 28, 21, 0), false),
    ] {
        let total = plugin.order().at(now).line(1, 1, 10_00).price().total;
        assert_eq!(total, if open { 9_00 } else { 10_00 }, "{now}");
    }
    let span = r#"{"offers": [{"code": 1, "off": 100, "from_ms": 1000, "to_ms": 2000}]}"#;
    for (now, total) in [(999, 10_00), (1_000, 9_00), (1_999, 9_00), (2_000, 10_00)] {
        let plugin = pricing::<Tiered>(span).expect("a configuration");
        assert_eq!(plugin.order().at(now).line(1, 1, 10_00).price().total, total, "{now}");
    }
}

/// A coupon works for who brings it, is used once, and not if it took nothing off.
#[test]
fn coupons_are_used_when_they_work() {
    let plugin = plugin(
        r#"{"offers": [{"code": 7, "sku": "18446744073709551615", "off": 300,
                        "coupon": "9007199254740993"},
                       {"code": 8, "off_bp": 1000, "segment": 2}]}"#,
    );
    let sku = u64::MAX;
    let order = || plugin.order().line(sku, 1, 10_00);
    assert_eq!(order().price().total, 10_00);
    let coupon = 9_007_199_254_740_993;
    let priced = order().coupon(5).coupon(coupon).coupon(coupon).price();
    assert_eq!((priced.total, priced.coupons), (7_00, vec![coupon]));
    let other = plugin.order().line(1, 1, 10_00).coupon(coupon).price();
    assert_eq!((other.total, other.coupons), (10_00, vec![]));
    assert_eq!(order().segment(2).coupon(coupon).price().total, 6_30);
}

/// Never more than what is left is taken off, and `most` bounds an offer.
#[test]
fn nothing_is_taken_off_twice() {
    let plugin = plugin(
        r#"{"offers": [{"code": 1, "class": 1, "off": 700}, {"code": 2, "class": 1, "off": 700},
                       {"code": 3, "class": 2, "off_bp": 5000, "most": 250},
                       {"code": 4, "off": 9007199254740991}]}"#,
    );
    let priced = plugin.order().line(1, 1, 10_00).class(1).line(2, 1, 10_00).class(2).price();
    assert_eq!((priced.line_discounts, priced.total), (vec![10_00, 2_50], 0));
    let dear = i64::from(1_000_000_000) * 9_007_199;
    let plugin = pricing::<Tiered>(r#"{"offers": [{"code": 1, "off_bp": 9999}]}"#);
    let priced = plugin.expect("a configuration").order().line(1, 1_000_000_000, 9_007_199).price();
    assert_eq!(priced.total, dear - dear / 10_000 * 9_999);
}

/// An order below the least amount is refused with its reason.
#[test]
fn small_orders_are_refused() {
    let plugin = plugin(r#"{"least": 1000}"#);
    assert_eq!(plugin.order().line(1, 1, 9_99).price().refused, Some(1));
    assert_eq!(plugin.order().line(1, 1, 10_00).price().refused, None);
}

/// What is wrong with a configuration is said by field, value and range.
#[test]
fn errors_name_field_value_and_range() {
    let tiers = r#"{"tiers": [{"class": 3, "units": 20, "off_bp": 10001, "code": 1}]}"#;
    assert_eq!(refused(tiers), "tiers[0].off_bp is 10001, outside 1..=10000");
    let twice = r#"{"tiers": [{"class": 3, "units": 2, "off_bp": 1, "code": 1},
                              {"class": 3, "units": 2, "off_bp": 2, "code": 2}]}"#;
    assert_eq!(refused(twice), "tiers: class 3 has two from 2 units on");
    let both = r#"{"offers": [{"code": 1, "off": 1, "off_bp": 1}]}"#;
    assert_eq!(refused(both), "offer 1 wants either off_bp or off");
    assert_eq!(refused(r#"{"offer": []}"#), "offer is not known here");
    let window = r#"{"offers": [{"code": 1, "off": 1, "from_ms": 5, "to_ms": 5}]}"#;
    assert_eq!(refused(window), "to_ms is 5, not after from_ms, which is 5");
    let many = format!(r#"{{"offers": [{}]}}"#, [r#"{"code": 1, "off": 1}"#; 8].join(","));
    assert_eq!(refused(&many), "offers has 8 entries, at most 7");
}
