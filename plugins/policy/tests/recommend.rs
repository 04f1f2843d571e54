//! Built-in recommendation: counts against a list of all baskets, and what is promised of a list.

use std::collections::BTreeSet;

use onhand_core::SkuId;
use onhand_policy::fact::{RecommendBatch, RecommendRequest};
use onhand_policy::recommend::{Ask, Index, Limits, Recommended, Scratch};
use proptest::prelude::*;

fn sku(number: u64) -> SkuId {
    SkuId::new(number)
}

fn skus(numbers: &[u64]) -> Vec<SkuId> {
    numbers.iter().copied().map(sku).collect()
}

fn index(limits: Limits, baskets: &[Vec<u64>]) -> Index {
    let mut index = Index::new(limits).expect("limits of the test");
    baskets.iter().for_each(|basket| index.observe(&skus(basket)));
    index
}

fn with(baskets: &[Vec<u64>], one: u64, other: u64) -> u32 {
    baskets.iter().filter(|b| b.contains(&one) && b.contains(&other)).count() as u32
}

fn ask(index: &Index, ask: &Ask<'_>, gone: &[u64]) -> Vec<u64> {
    let available = |sku: SkuId| !gone.contains(&sku.bits());
    let found = index.recommend(&mut Scratch::default(), ask, available);
    found.iter().map(|pick| pick.sku.bits()).collect()
}

#[test]
fn what_is_bought_together_comes_first_and_best_sellers_fill_up() {
    let baskets = [vec![1, 2], vec![1, 2, 3], vec![1, 3], vec![1, 2], vec![9], vec![9], vec![8]];
    let mut index = index(Limits::default(), &baskets);
    assert!(index.know(sku(50)), "known and never bought");
    let one = skus(&[1]);
    let of =
        |limit, gone: &[u64]| ask(&index, &Ask { basket: &one, limit, ..Ask::default() }, gone);
    assert_eq!(of(2, &[]), [2, 3]);
    assert_eq!(of(9, &[]), [2, 3, 9, 8, 50]);
    assert_eq!(of(3, &[2, 9]), [3, 8, 50]);
    assert_eq!(of(3, &[2, 3, 8, 9]), [50], "the last that is available");
    assert_eq!(of(3, &[2, 3, 8, 9, 50]), [], "SKU 1 is in the basket");
    assert_eq!(of(0, &[]), []);
    // Without a basket: the best sellers; SKUs 2 and 9 after 1.
    let nothing = ask(&index, &Ask { limit: 2, ..Ask::default() }, &[]);
    assert_eq!(nothing, [1, 2]);
    let unknown = skus(&[1_000]);
    assert_eq!(ask(&index, &Ask { basket: &unknown, limit: 1, ..Ask::default() }, &[]), [1]);
}

/// What a buyer has bought may be recommended again, the oftener and the later the sooner.
#[test]
fn history_speaks_for_itself() {
    let baskets: Vec<Vec<u64>> = (1..=5).map(|n| vec![n]).collect();
    let index = index(Limits::default(), &baskets);
    let of = |history: &[u64], basket: &[u64]| {
        let (history, basket) = (skus(history), skus(basket));
        ask(&index, &Ask { basket: &basket, history: &history, limit: 3 }, &[])
    };
    assert_eq!(of(&[4, 5, 4, 5, 5], &[]), [5, 4, 1]);
    assert_eq!(of(&[3, 4, 5], &[]), [5, 4, 3]);
    assert_eq!(of(&[3, 4, 5], &[5]), [4, 3, 1]);
}

#[test]
fn an_index_that_knows_nothing_answers_with_nothing() {
    let empty = index(Limits::default(), &[]);
    assert!(empty.is_empty());
    let one = skus(&[1]);
    assert_eq!(ask(&empty, &Ask { basket: &one, history: &one, limit: 10 }, &[]), []);
}

/// Each limit on both sides of its edge.
#[test]
fn limits_hold() {
    for (items_max, neighbours_max, pairs_max, fine) in [
        (1, 1, 1, true),
        (0, 1, 1, false),
        (1, 0, 1, false),
        (1, 1, 0, false),
        (1 << 24, 1_024, 1 << 28, true),
        ((1 << 24) + 1, 1, 1, false),
        (1, 1_025, 1, false),
        (1, 1, (1 << 28) + 1, false),
    ] {
        let limits = Limits { items_max, neighbours_max, pairs_max };
        assert_eq!(Index::new(limits).is_ok(), fine, "{limits:?}");
    }
    let few = Limits { items_max: 2, ..Limits::default() };
    let index_of_two = index(few, &[vec![1, 2, 3], vec![3, 1]]);
    assert_eq!((index_of_two.len(), index_of_two.ignored()), (2, 2));
    assert_eq!(index_of_two.baskets(sku(3)), 0);
    // Two pairs are one neighbour each way; the third SKU finds no room and takes none away.
    let tight = Limits { pairs_max: 2, ..Limits::default() };
    let tight = index(tight, &[vec![1, 2], vec![5, 6]]);
    assert_eq!(tight.together(sku(1), sku(2)), (1, 1));
    assert_eq!(tight.together(sku(5), sku(6)), (0, 1), "not counted, and it was once");
}

#[test]
fn candidates_are_facts_of_a_batch() {
    let baskets = [vec![1, 2], vec![1, 2, 3], vec![4], vec![5]];
    let index = index(Limits::default(), &baskets);
    let mut candidates = Vec::new();
    index.candidates(&skus(&[1, 1]), 8, |sku| if sku.bits() == 4 { 0 } else { 6 }, &mut candidates);
    let found: Vec<_> = candidates.iter().map(|c| (c.sku, c.together, c.alone, c.items)).collect();
    let beside = [(2, 2, 2, 2), (3, 1, 1, 2)];
    assert_eq!(found[..2], beside);
    let sellers: BTreeSet<u64> = found[2..].iter().map(|c| c.0).collect();
    assert_eq!(sellers, BTreeSet::from([1, 2, 3, 5]), "SKU 4 has sold out");
    let request = RecommendRequest { candidate_count: 6, limit: 3, ..Default::default() };
    assert!(RecommendBatch::new(&[request], &[], &candidates).is_ok());
    index.candidates(&skus(&[1]), 3, |_| 1, &mut candidates);
    assert_eq!(candidates.len(), 9);
}

fn baskets() -> impl Strategy<Value = Vec<Vec<u64>>> {
    prop::collection::vec(prop::collection::vec(1_u64..20, 0..8), 0..40)
}

proptest! {
    /// Below the limits, counts are those of the list of all baskets.
    #[test]
    fn counts_are_exact_below_the_limits(baskets in baskets()) {
        let index = index(Limits::default(), &baskets);
        let mut before = u32::MAX;
        for sold in index.best_sellers() {
            prop_assert!(index.baskets(sold) <= before, "best sellers come first");
            before = index.baskets(sold);
        }
        for one in 1..20 {
            prop_assert_eq!(index.baskets(sku(one)), with(&baskets, one, one));
            for other in (1..20).filter(|other| *other != one) {
                let both = with(&baskets, one, other);
                prop_assert_eq!(index.together(sku(one), sku(other)), (both, both));
            }
        }
    }

    /// Beyond the limits, the true count is between the bounds that the index states, and a
    /// neighbour in more than its share of an item's pairs is never lost.
    #[test]
    fn counts_are_bounded_beyond_the_limits(baskets in baskets(), neighbours_max in 1_u16..6) {
        let index = index(Limits { neighbours_max, ..Limits::default() }, &baskets);
        for one in 1..20 {
            let pairs: u32 = (1..20).filter(|o| *o != one).map(|o| with(&baskets, one, o)).sum();
            let mut candidates = Vec::new();
            index.candidates(&[sku(one)], 4_000, |_| 1, &mut candidates);
            let neighbours: Vec<u64> =
                candidates.iter().filter(|c| c.items > 0).map(|c| c.sku).collect();
            prop_assert!(neighbours.len() <= usize::from(neighbours_max));
            for other in (1..20).filter(|other| *other != one) {
                let both = with(&baskets, one, other);
                let (least, most) = index.together(sku(one), sku(other));
                prop_assert!((least..=most).contains(&both), "{least} <= {both} <= {most}");
                let kept = neighbours.contains(&other);
                prop_assert!(kept || both <= pairs / u32::from(neighbours_max));
            }
        }
    }

    /// A list has no SKU twice, none of the basket, none that is gone, is as long as can be, and is
    /// the same whatever the scratch space was used for before.
    #[test]
    fn lists_keep_their_promises(
        baskets in baskets(),
        basket in prop::collection::vec(1_u64..22, 0..4),
        history in prop::collection::vec(1_u64..22, 0..30),
        gone in prop::collection::btree_set(1_u64..20, 0..19),
        limit in 0_usize..12,
    ) {
        let index = index(Limits { neighbours_max: 4, ..Limits::default() }, &baskets);
        let (basket, history) = (skus(&basket), skus(&history));
        let wanted = Ask { basket: &basket, history: &history, limit };
        let mut scratch = Scratch::default();
        let other = Ask { basket: &history, history: &basket, limit: 5 };
        index.recommend(&mut scratch, &other, |_| true);
        let picks = index.recommend(&mut scratch, &wanted, |sku| !gone.contains(&sku.bits()));
        let fresh = index.recommend(&mut Scratch::default(), &wanted, |sku| {
            !gone.contains(&sku.bits())
        });
        prop_assert_eq!(&picks, &fresh);

        let different: BTreeSet<SkuId> = picks.iter().map(|pick| pick.sku).collect();
        prop_assert_eq!(different.len(), picks.len());
        let allowed = |sku: &SkuId| !basket.contains(sku) && !gone.contains(&sku.bits());
        prop_assert!(different.iter().all(allowed));
        let possible = index.best_sellers().filter(allowed).count();
        prop_assert_eq!(picks.len(), possible.min(limit));
        prop_assert!(picks.is_sorted_by(|a: &Recommended, b| a.score >= b.score));
    }

    /// Without a limit in the way, the score is the formula worked out on the list of all baskets:
    /// no pick is worse than one that was left out, by more than the rounding of integers.
    #[test]
    fn picks_are_the_best_by_the_formula(baskets in baskets(), basket in 1_u64..20) {
        let index = index(Limits::default(), &baskets);
        let own = [sku(basket)];
        let picks = ask(&index, &Ask { basket: &own, limit: 3, ..Ask::default() }, &[]);
        let formula = |other: u64| {
            let alone = f64::from(with(&baskets, other, other).max(1));
            f64::from(with(&baskets, basket, other)) / alone.powf(0.25)
        };
        let worst = picks.iter().map(|pick| formula(*pick)).fold(f64::INFINITY, f64::min);
        for other in (1..20).filter(|o| *o != basket && !picks.contains(o)) {
            prop_assert!(picks.len() < 3 || formula(other) <= worst * 1.001 + 1e-9);
        }
    }
}
