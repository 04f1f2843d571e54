//! Recommendations: learned from what is committed, of what can be had, whatever a plugin does.

use onhand_core::{CustomerId, PolicyKind, SkuId};
use onhand_desk::{Desk, Guards};
use onhand_plugin_runtime::Kind;

use crate::common::{NOW, ask, bought, bundle, desk, of_kind, plain, shop, sku, until};

fn list(desk: &Desk, basket: &[&str], limit: usize) -> Vec<SkuId> {
    let basket: Vec<SkuId> = basket.iter().map(|code| sku(code)).collect();
    let found = desk.recommend(NOW, CustomerId(99), &basket, limit);
    found.list.iter().map(|one| one.sku).collect()
}

fn learn(desk: &Desk, engine: &onhand_core::Engine) {
    until("nothing is learned", || desk.learned_to() >= engine.durable_seq());
}

/// What goes together comes first, what has sold out or is no ware never.
#[test]
fn committed_orders_teach() {
    let engine = shop();
    let desk = plain(&engine, "");
    for number in 0..3 {
        let order = ask(&format!("{number}"), number + 1, &[("MUG", 1), ("CUP", 1)]);
        bought(&engine, &desk, order);
    }
    learn(&desk, &engine);
    assert_eq!(list(&desk, &["MUG"], 5), [sku("CUP")]);
    assert_eq!(list(&desk, &[], 1).len(), 1);
    assert_eq!(list(&desk, &[], 5).len(), 2, "the bowl has sold out, the coupon is no ware");
    assert!(list(&desk, &["MUG"], 0).is_empty());
    // A desk that starts later learns the same from the journal.
    let later = plain(&engine, "");
    learn(&later, &engine);
    assert_eq!(list(&later, &["MUG"], 5), [sku("CUP")]);
}

/// A plugin's picks come first and best sellers fill up; a plugin that fails is not missed.
#[test]
fn a_plugin_picks_and_the_list_is_filled_up() {
    let engine = shop();
    let desk = desk(&engine);
    bought(&engine, &desk, ask("a", 1, &[("MUG", 1), ("CUP", 1)]));
    learn(&desk, &engine);
    let good = bundle("acme/pick", Kind::Recommend, "", of_kind(Kind::Recommend));
    let good = desk.install(&good, "").expect("installed").no;
    desk.activate(good).expect("activated");
    let found = desk.recommend(NOW, CustomerId(1), &[sku("MUG")], 3);
    assert_eq!((found.policy, found.picked), (Some(good), 1));
    assert_eq!((found.list[0].sku, found.list[0].score), (sku("CUP"), 9));
    let found = desk.recommend(NOW, CustomerId(1), &[], 3);
    assert_eq!((found.picked, found.list.len()), (1, 2));
    assert_eq!(desk.recorded(PolicyKind::Recommend, 9).len(), 2);

    let text =
        crate::text::Text { deed: "(unreachable)".into(), ..crate::text::text(Kind::Recommend) };
    let bad = bundle("acme/bad", Kind::Recommend, "", crate::common::with(&text));
    let bad = desk.install(&bad, "").expect("installed").no;
    desk.activate(bad).expect("activated");
    for _ in 0..5 {
        let victim = CustomerId(crate::text::VICTIM);
        let found = desk.recommend(NOW, victim, &[sku("MUG")], 3);
        let skus: Vec<SkuId> = found.list.iter().map(|one| one.sku).collect();
        assert_eq!((found.picked, skus), (0, vec![sku("CUP")]));
    }
}

/// Customers without a name fall on both sides of a canary, one request with another; where no
/// plugin is asked the answer is there at once, and the built-in list is there in any case.
#[test]
fn unnamed_customers_are_on_both_sides() {
    let engine = shop();
    let desk = desk(&engine);
    bought(&engine, &desk, ask("a", 1, &[("MUG", 1), ("CUP", 1)]));
    learn(&desk, &engine);
    let at = |now: u64| desk.recommend(now, CustomerId::NONE, &[sku("MUG")], 3);
    let quick = |now: u64| desk.recommend_quick(now, CustomerId::NONE, &[sku("MUG")], 3);
    assert_eq!(quick(NOW), Ok(at(NOW)));
    let plugin = bundle("acme/pick", Kind::Recommend, "", of_kind(Kind::Recommend));
    let plugin = desk.install(&plugin, "").expect("installed").no;
    desk.canary(plugin, 5_000, Guards::default()).expect("a canary");
    let asked = (0..200).filter(|ms| at(NOW + ms).policy == Some(plugin)).count();
    assert!((60..140).contains(&asked), "{asked}");
    for now in NOW..NOW + 50 {
        assert_eq!(quick(now).is_ok(), at(now).policy.is_none());
    }
    let built_in = desk.recommend_built_in(CustomerId::NONE, &[sku("MUG")], 3);
    assert_eq!((built_in.policy, built_in.list[0].sku), (None, sku("CUP")));
}
