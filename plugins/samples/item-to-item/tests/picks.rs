//! What is recommended, without WebAssembly.

use item_to_item::ItemToItem;
use onhand_plugin_sdk::recommend::Candidate;
use onhand_plugin_sdk::testing::{RecommendHarness, recommend};

fn plugin(config: &str) -> RecommendHarness<ItemToItem> {
    recommend(config).expect("a configuration")
}

/// Beside an item of 400 baskets.
fn beside(sku: u64, together: u32, alone: u32) -> Candidate {
    Candidate { sku, together, alone, items: 400, popularity: 9, available: 1 }
}

fn best_seller(sku: u64, popularity: u32) -> Candidate {
    Candidate { sku, popularity, alone: 900, available: 1, ..Candidate::default() }
}

/// What is bought everywhere is no companion: more often than chance counts, not often.
#[test]
fn more_often_than_chance_counts() {
    let picks = plugin(r#"{"damping": 0}"#).picks(
        &[7],
        &[beside(1, 100, 10_000), beside(2, 90, 100), beside(3, 1, 1)],
        10,
    );
    // 100 / sqrt(10,000 * 400) and 90 / sqrt(100 * 400); one basket is none.
    assert_eq!(picks, [(2, 450_000), (1, 50_000)]);
}

/// A handful of coincidences does not beat a habit.
#[test]
fn coincidences_are_damped() {
    let candidates = [
        Candidate { items: 2, ..beside(1, 2, 2) },
        Candidate { items: 300, ..beside(2, 200, 300) },
    ];
    assert_eq!(plugin(r#"{"damping": 0}"#).picks(&[7], &candidates, 1)[0].0, 1);
    assert_eq!(plugin(r#"{"damping": 10}"#).picks(&[7], &candidates, 1)[0].0, 2);
}

/// A SKU beside two items of the basket has the sum of both.
#[test]
fn scores_add_up_over_the_basket() {
    let candidates = [beside(1, 40, 400), beside(2, 30, 400), beside(2, 30, 400)];
    let picks = plugin(r#"{"damping": 0}"#).picks(&[7, 8], &candidates, 10);
    assert_eq!(picks, [(2, 150_000), (1, 100_000)]);
}

/// Best sellers come last, and not at all if the shop does not want them.
#[test]
fn best_sellers_fill_the_list() {
    let candidates = [best_seller(4, 1), best_seller(5, 0), beside(1, 2, 9_000_000)];
    let skus = |config| -> Vec<u64> {
        plugin(config).picks(&[7], &candidates, 3).iter().map(|pick| pick.0).collect()
    };
    assert_eq!(skus(""), [1, 5, 4]);
    assert_eq!(skus(r#"{"fill": false}"#), [1]);
    assert_eq!(plugin("").picks(&[], &candidates[..2], 1), [(5, 1_000)]);
}

/// What is in the basket, sold out or on the shop's list is never recommended.
#[test]
fn some_are_never_recommended() {
    let candidates =
        [beside(7, 50, 100), beside(1, 50, 100), Candidate { available: 0, ..beside(2, 9, 9) }];
    assert_eq!(plugin(r#"{"never": ["1"]}"#).picks(&[7], &candidates, 10), []);
}

/// The largest counts do not overflow.
#[test]
fn the_largest_counts_do_not_overflow() {
    let most = u32::MAX;
    let huge = Candidate { items: most, ..beside(1, most, most) };
    let picks = plugin(r#"{"damping": 1000000}"#).picks(&[7], &[huge; 4_096], 1);
    assert_eq!(picks.len(), 1);
}
