//! Tests of {{name}} without WebAssembly.

use {{crate}}::Plugin;
use onhand_plugin_sdk::fraud::{Header, Line, Score, Verdict};
use onhand_plugin_sdk::testing::fraud;

#[test]
fn many_orders_within_an_hour_are_reviewed() {
    let plugin = fraud::<Plugin>(r#"{"points": 200, "review": 400}"#).unwrap();
    let score = |customer_orders_hour| {
        let header = Header { customer_orders_hour, ..Header::default() };
        plugin.score(header, &[Line { sku: 1, quantity: 1, unit: 1_00 }])
    };
    assert_eq!(score(1), Score::new(200, Verdict::Allow, 0));
    assert_eq!(score(2), Score::new(400, Verdict::Review, 1));
    assert_eq!(score(u32::MAX).points, 1_000);
}

#[test]
fn a_wrong_configuration_is_refused() {
    let error = fraud::<Plugin>(r#"{"review": 0}"#).unwrap_err();
    assert_eq!(error.to_string(), "review is 0, outside 1..=1000");
}
