//! Recommendations: learned from what is committed, of what can be had, whatever a plugin does.

use onhand_core::{CustomerId, PolicyKind, SkuId};
use onhand_desk::Desk;
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
