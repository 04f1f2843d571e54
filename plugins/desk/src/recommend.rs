//! Recommendations: what was bought together, a plugin's picks if one decides, best sellers in any
//! case, and only what can be had now.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use onhand_core::{CustomerId, Engine, Key, PolicyNo, SkuId, SkuKind};
use onhand_policy::fact::RecommendRequest;
use onhand_policy::recommend::{Ask, Index, Limits, Recommended, Scratch};

use crate::desk::Shared;
use crate::facts::RecommendFacts;
use crate::guard::Sample;
use crate::limits::{BASKET_MAX, CANDIDATES_MAX, HISTORIES_MAX, HISTORY_MAX, PICKS_MAX};
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
        let limit = limit.min(PICKS_MAX);
        if limit == 0 {
            return Recommendations::default();
        }
        let basket = &basket[basket.len().saturating_sub(BASKET_MAX)..];
        let mut found = self.picks(now_ms, customer, basket, limit);
        if found.list.len() < limit {
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
        found
    }

    /// Asks the plugin that decides for a customer, if there is one.
    fn picks(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        let set = self.set();
        let route = &set.recommend;
        let key = Key::new(0);
        let shadowed = route.shadows(customer, key);
        let decides = route.decides(customer, key);
        if decides.is_none() && !shadowed {
            return Recommendations::default();
        }
        let facts = self.gather_candidates(now_ms, customer, basket, limit);
        let Ok(batch) = facts.batch() else { return Recommendations::default() };
        let mut found = Recommendations::default();
        let mut given = Vec::new();
        if let Some((policy, of_canary)) = decides {
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
                let failed = answered.made.iter().any(|made| made.failure.is_some());
                let sample = Sample { orders: 1, failed: failed.into(), ..Sample::default() };
                let tripped = trial.watch.note(now_ms, of_canary, sample, answered.nanoseconds);
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
