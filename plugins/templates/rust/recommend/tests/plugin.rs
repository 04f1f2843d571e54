//! Tests of {{name}} without WebAssembly.

use {{crate}}::Plugin;
use onhand_plugin_sdk::recommend::Candidate;
use onhand_plugin_sdk::testing::recommend;

#[test]
fn the_most_often_bought_together_come_first() {
    let plugin = recommend::<Plugin>(r#"{"together_least": 3}"#).unwrap();
    let candidate = |sku, together, available| Candidate {
        sku,
        together,
        available,
        ..Candidate::default()
    };
    let candidates = [
        candidate(1, 4, 1),
        candidate(2, 9, 0),
        candidate(7, 9, 1),
        candidate(3, 2, 1),
        candidate(4, 3, 1),
        candidate(4, 5, 1),
    ];
    assert_eq!(plugin.picks(&[7], &candidates, 2), [(4, 5), (1, 4)]);
}

#[test]
fn a_wrong_configuration_is_refused() {
    let error = recommend::<Plugin>(r#"{"together_least": 0}"#).unwrap_err();
    assert_eq!(error.to_string(), "together_least is 0, outside 1..=1000000");
}
