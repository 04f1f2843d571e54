//! Recommendations: what was bought together, a plugin's picks if one decides, best sellers in any
//! case, and only what can be had now.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use onhand_core::{CustomerId, Engine, Key, PolicyNo, SkuId, SkuKind};
use onhand_policy::fact::RecommendRequest;
use onhand_policy::recommend::{Ask, Index, Limits, Recommended, Scratch};

use crate::desk::Shared;
use crate::facts::RecommendFacts;
use crate::guard::Sample;
use crate::limits::{BASKET_MAX, CANDIDATES_MAX, HISTORIES_MAX, HISTORY_MAX, PICKS_MAX};
use crate::policy::Policy;
use crate::set::{Part, Set, Side};
use crate::shadow::{Job, pairs};

/// What goes with a basket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recommendations {
    /// Best first; shorter than wanted only if fewer SKUs are known and available.
    pub list: Vec<Recommended>,
    /// How many at the start of the list are a plugin's picks.
    pub picked: usize,
    /// The policy that was asked; `None` if the built-in list alone answers.
    pub policy: Option<PolicyNo>,
}

/// What committed orders taught.
pub(crate) struct Learned {
    pub(crate) index: Index,
    histories: HashMap<CustomerId, VecDeque<SkuId>>,
    /// Customers by their first purchase; the oldest goes first.
    order: VecDeque<CustomerId>,
}

impl Default for Learned {
    fn default() -> Self {
        let index = Index::new(Limits::default());
        Self {
            index: index.expect("default limits are in range"),
            histories: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl Learned {
    /// Counts a committed order.
    pub(crate) fn observe(&mut self, customer: CustomerId, skus: &[SkuId]) {
        self.index.observe(skus);
        if customer == CustomerId::NONE {
            return;
        }
        if !self.histories.contains_key(&customer) {
            if self.order.len() >= HISTORIES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.histories.remove(&oldest);
            }
            self.order.push_back(customer);
        }
        let history = self.histories.entry(customer).or_default();
        history.extend(skus);
        let surplus = history.len().saturating_sub(HISTORY_MAX);
        history.drain(..surplus);
    }

    fn history(&self, customer: CustomerId) -> Vec<SkuId> {
        self.histories.get(&customer).map_or_else(Vec::new, |list| list.iter().copied().collect())
    }
}

/// Returns whether a SKU is something that a buyer chooses.
pub(crate) const fn is_ware(kind: SkuKind) -> bool {
    matches!(kind, SkuKind::Goods | SkuKind::Seat | SkuKind::Kit)
}

/// Returns how many units of a SKU, or kits, may be promised now.
fn available(engine: &Engine, sku: SkuId) -> u32 {
    let units = |sku| engine.stock(sku).map_or(0, |stock| stock.available);
    let own = units(sku);
    if own > 0 {
        return u32::try_from(own).unwrap_or(u32::MAX);
    }
    // A kit has no stock of its own.
    let Some(view) = engine.sku(sku).filter(|view| view.kind == SkuKind::Kit) else { return 0 };
    let kits =
        |(sku, each): &(SkuId, onhand_core::Quantity)| units(*sku) / u64::from(each.units().max(1));
    let least = view.components.iter().map(kits).min().unwrap_or(0);
    u32::try_from(least).unwrap_or(u32::MAX)
}

/// Returns the part of a basket that recommendations look at.
fn last_of(basket: &[SkuId]) -> &[SkuId] {
    &basket[basket.len().saturating_sub(BASKET_MAX)..]
}

/// Returns what tells unnamed customers' requests apart, as an order's key does for orders; nothing
/// for a named one.
fn key_of(now_ms: u64, customer: CustomerId, basket: &[SkuId]) -> Key {
    if customer != CustomerId::NONE {
        return Key::new(0);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&now_ms.to_le_bytes());
    for sku in last_of(basket) {
        hasher.update(&sku.bits().to_le_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Key::new(u128::from_le_bytes(first))
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Shared {
    pub(crate) fn recommend(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        self.recommend_by(&self.set(), now_ms, customer, basket, limit)
    }

    /// Recommends if no plugin is asked for it; returns how long the plugin may take where one is.
    pub(crate) fn recommend_quick(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Result<Recommendations, Duration> {
        let set = self.set();
        let route = &set.recommend;
        let side = route.part(customer, key_of(now_ms, customer, basket)).side;
        let decider = side.and_then(|side| route.policy(side));
        if let Some(deadline) = decider.and_then(Policy::deadline) {
            return Err(deadline);
        }
        Ok(self.recommend_by(&set, now_ms, customer, basket, limit))
    }

    fn recommend_by(
        &self,
        set: &Set,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        let limit = limit.min(PICKS_MAX);
        if limit == 0 {
            return Recommendations::default();
        }
        let basket = last_of(basket);
        let mut found = self.picks(set, now_ms, customer, basket, limit);
        self.fill_up(&mut found, customer, basket, limit);
        found
    }

    /// Recommends by the built-in list, whoever decides.
    pub(crate) fn recommend_built_in(
        &self,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        let mut found = Recommendations::default();
        self.fill_up(&mut found, customer, last_of(basket), limit.min(PICKS_MAX));
        found
    }

    /// Adds what was bought together and what sells best until the list is long enough.
    fn fill_up(
        &self,
        found: &mut Recommendations,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) {
        if found.list.len() >= limit {
            return;
        }
        let learned = self.learned.read();
        let history = learned.history(customer);
        let ask = Ask { basket, history: &history, limit };
        let more = SCRATCH.with_borrow_mut(|scratch| {
            learned.index.recommend(scratch, &ask, |sku| available(&self.engine, sku) > 0)
        });
        for one in more {
            let there = found.list.iter().any(|other| other.sku == one.sku);
            if !there && found.list.len() < limit {
                found.list.push(one);
            }
        }
    }

    /// Asks the plugin that decides for a customer, if there is one.
    fn picks(
        &self,
        set: &Set,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        let route = &set.recommend;
        let key = key_of(now_ms, customer, basket);
        let Part { side, shadowed } = route.part(customer, key);
        if side.is_none() && !shadowed {
            return Recommendations::default();
        }
        let facts = self.gather_candidates(now_ms, customer, basket, limit);
        let Ok(batch) = facts.batch() else { return Recommendations::default() };
        let mut found = Recommendations::default();
        let mut given = Vec::new();
        if let Some((side, policy)) = side.and_then(|side| Some((side, route.policy(side)?))) {
            let answered = policy.pick(now_ms, batch);
            let recommended = |pick: &onhand_policy::decision::Pick| Recommended {
                sku: SkuId::new(pick.sku),
                score: pick.score.into(),
            };
            found.list = answered.answer.iter().map(recommended).collect();
            found.picked = found.list.len();
            found.policy = Some(policy.no);
            given = pairs(&answered.answer);
            if let Some(trial) = &route.canary {
                let mut sample = Sample::default();
                for made in &answered.made {
                    sample.note(*made, |_| {});
                }
                let tripped =
                    trial.watch.note(now_ms, side == Side::Canary, sample, answered.nanoseconds);
                self.call_back(trial.policy.no, tripped);
            }
        }
        if let (true, Some((policy, _))) = (shadowed, &route.shadow) {
            self.shadows.offer(Job::Recommend {
                policy: Arc::clone(policy),
                now_ms,
                facts: facts.clone(),
                incumbent: given.clone(),
            });
        }
        if self.recorder.is_on() {
            self.recorder.picks(facts, given);
        }
        found
    }

    fn gather_candidates(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> RecommendFacts {
        let mut candidates = Vec::new();
        let learned = self.learned.read();
        let units = |sku| if basket.contains(&sku) { 0 } else { available(&self.engine, sku) };
        learned.index.candidates(basket, CANDIDATES_MAX, units, &mut candidates);
        drop(learned);
        let request = RecommendRequest {
            customer: customer.0,
            now: now_ms,
            first_item: 0,
            item_count: basket.len() as u32,
            first_candidate: 0,
            candidate_count: candidates.len() as u32,
            limit: limit as u32,
        };
        let items = basket.iter().map(|sku| sku.bits()).collect();
        RecommendFacts { request, items, candidates }
    }
}
