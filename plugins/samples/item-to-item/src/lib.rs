//! Recommends what is bought together, by how much more often than chance would have it.
//!
//! A candidate stands beside an item of the basket with three counts: baskets with both, with it,
//! with the item. Its score there is `both / sqrt(own * item's)`, the cosine of the two, damped by
//! a few baskets that were never seen, so that two coincidences do not beat two hundred. Over the
//! items of the basket scores add up. What is left of the list is filled with best sellers.
//!
//! Whole numbers only: a square root is taken by halving.

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::recommend::{Candidate, Picks, Recommend, Request};

/// The score of two items that are always bought together.
const ONE: u64 = 1_000_000;
/// Best sellers score less than anything that was bought beside an item.
const BEST_SELLERS: u32 = 1_000;

/// The plugin.
#[derive(Debug)]
pub struct ItemToItem {
    /// Baskets added to the product of the counts, against small ones.
    damping: u64,
    /// Candidates that were bought together less often are left out.
    together_least: u32,
    /// Whether best sellers fill the list.
    fill: bool,
    /// SKUs that are never recommended.
    never: Vec<u64>,
}

impl Recommend for ItemToItem {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let mut never = config.bits_list("never")?;
        never.sort_unstable();
        let plugin = Self {
            damping: config.int_or("damping", 0..=1_000_000, 10)? as u64,
            together_least: config.int_or("together_least", 1..=1_000_000, 2)? as u32,
            fill: config.flag_or("fill", true)?,
            never,
        };
        config.end()?;
        Ok(plugin)
    }

    fn recommend(&self, request: &Request<'_>, picks: &mut Picks<'_>) {
        let mut scores: Vec<(u64, u32)> = Vec::with_capacity(request.candidates.len());
        for candidate in request.candidates {
            let known = self.never.binary_search(&candidate.sku).is_ok();
            let there = candidate.available == 0 || request.items.contains(&candidate.sku);
            if !known && !there {
                scores.push((candidate.sku, self.score(candidate)));
            }
        }
        // A SKU is there once for each item that it was bought beside.
        scores.sort_unstable();
        for same in scores.chunk_by(|one, other| one.0 == other.0) {
            let sum = same.iter().fold(0_u32, |sum, (_, score)| sum.saturating_add(*score));
            if sum > 0 {
                picks.offer(same[0].0, sum);
            }
        }
    }
}

impl ItemToItem {
    fn score(&self, candidate: &Candidate) -> u32 {
        let Candidate { together, alone, items, popularity, .. } = *candidate;
        if items == 0 {
            return if self.fill { BEST_SELLERS.saturating_sub(popularity) } else { 0 };
        }
        if together < self.together_least {
            return 0;
        }
        let size = (u64::from(alone) + self.damping).saturating_mul(u64::from(items) + self.damping);
        let score = u64::from(together) * ONE / size.isqrt().max(1);
        score.clamp(u64::from(BEST_SELLERS), ONE) as u32
    }
}

onhand_plugin_sdk::export!(recommend: ItemToItem);
