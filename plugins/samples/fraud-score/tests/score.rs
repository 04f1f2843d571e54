//! Rules, the model, and what is done from how many points on, without WebAssembly.

use fraud_score::{FraudScore, MODEL};
use onhand_plugin_sdk::fraud::{DISTANCE_UNKNOWN, Header, Line, Score, Verdict};
use onhand_plugin_sdk::testing::fraud;

const LINES: [Line; 1] = [Line { sku: 1, quantity: 2, unit: 25_00 }];

/// A customer of long standing who buys now and then.
fn honest() -> Header {
    Header { customer_age_days: 800, distance_km: 12, ..Header::default() }
}

/// A new account, many orders at once, from far away.
fn hurried() -> Header {
    Header {
        customer_age_days: 0,
        customer_orders_hour: 6,
        customer_orders_day: 9,
        address_customers_day: 5,
        device_orders_hour: 6,
        device_customers_day: 7,
        distance_km: 4_000,
        ..Header::default()
    }
}

fn score(config: &str, header: Header) -> Score {
    fraud::<FraudScore>(config).expect("a configuration").score(header, &LINES)
}

fn refused(config: &str) -> String {
    fraud::<FraudScore>(config).map(|_| ()).expect_err("refused").to_string()
}

/// The model tells a hurried thief from a customer of long standing.
#[test]
fn the_model_tells_them_apart() {
    let (good, bad) = (score("", honest()), score("", hurried()));
    assert!(good.points < 50 && bad.points > 800, "{good:?} {bad:?}");
    assert_eq!((good.verdict, good.code), (Verdict::Allow as u32, MODEL));
    assert!(bad.verdict >= Verdict::Review as u32, "{bad:?}");
    let unknown = score("", Header { distance_km: DISTANCE_UNKNOWN, ..honest() });
    assert!(unknown.points < 50, "{unknown:?}");
}

/// A rule counts from its least to its most value, and what gave most names the reason.
#[test]
fn rules_add_points_and_name_the_reason() {
    let config = r#"{"model_percent": 0, "rules": [
        {"code": 1, "feature": "customer_orders_hour", "least": 3, "points": 200},
        {"code": 2, "feature": "distance_km", "least": 1000, "points": 250},
        {"code": 3, "feature": "total", "least": 5000, "most": 5000, "points": 100}]}"#;
    let with = |orders, distance_km| {
        let header = Header { customer_orders_hour: orders, distance_km, ..honest() };
        let Score { points, code, .. } = score(config, header);
        (points, code)
    };
    assert_eq!(with(2, 999), (100, 3));
    assert_eq!(with(3, 999), (300, 1));
    assert_eq!(with(3, 1_000), (550, 2));
    // Not known is not far.
    assert_eq!(with(0, DISTANCE_UNKNOWN), (100, 3));
}

/// Something is done from so many points on, and points end at 1,000.
#[test]
fn verdicts_begin_at_their_points() {
    let rule = |points| {
        let rules = format!(
            r#"{{"model_percent": 0, "challenge": 100, "review": 200, "deny": 300,
                "rules": [{{"code": 9, "feature": "units", "points": {points}}}]}}"#
        );
        score(&rules, honest()).verdict
    };
    let verdicts = [99, 100, 199, 200, 299, 300, 1_000].map(rule);
    assert_eq!(verdicts, [0, 1, 1, 2, 2, 3, 3]);
    let many = r#"{"rules": [{"code": 1, "feature": "units", "points": 900},
                             {"code": 2, "feature": "units", "points": 900}]}"#;
    assert_eq!(score(many, honest()).points, 1_000);
    let never = many.replacen('{', r#"{"review": 1001, "deny": 1001, "#, 1);
    assert_eq!(score(&never, honest()).verdict, Verdict::Challenge as u32);
}

/// What is wrong with a configuration is said by field, value and range.
#[test]
fn errors_name_field_value_and_range() {
    let order = r#"{"challenge": 700}"#;
    assert_eq!(refused(order), "challenge, review and deny are 700, 600, 900, not in order");
    let feature = r#"{"rules": [{"feature": "shoe_size", "code": 1, "points": 1}]}"#;
    assert!(refused(feature).starts_with("feature shoe_size is none of customer_orders_hour, "));
    let points = r#"{"rules": [{"feature": "units", "code": 1, "points": 0}]}"#;
    assert_eq!(refused(points), "rules[0].points is 0, outside 1..=1000");
}
