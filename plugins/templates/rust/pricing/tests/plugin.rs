//! Tests of {{name}} without WebAssembly.

use {{crate}}::Plugin;
use onhand_plugin_sdk::testing::pricing;

#[test]
fn enough_units_are_cheaper() {
    let plugin = pricing::<Plugin>(r#"{"percent": 20, "units": 5}"#).unwrap();
    let priced = plugin.order().line(1, 5, 1_00).line(2, 4, 1_00).price();
    assert_eq!((priced.list, priced.total), (9_00, 8_00));
    assert_eq!(priced.rules, [1]);
}

#[test]
fn a_wrong_configuration_is_refused() {
    let error = pricing::<Plugin>(r#"{"percent": 101}"#).unwrap_err();
    assert_eq!(error.to_string(), "percent is 101, outside 0..=100");
}
