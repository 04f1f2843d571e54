//! Built-in recommendation: what is bought together, else what sells best.
//!
//! An [`Index`] is fed with the SKUs of each committed order and answers from counts alone, in
//! integers: the same orders in the same order give the same answers on every machine. Nothing is
//! read from an engine here; whoever asks says what is available.

mod neighbours;

use foldhash::HashMap;
use onhand_core::SkuId;

use crate::fact::{CANDIDATES_MAX, Candidate, ITEMS_MAX};
use crate::range::{SettingError, setting};
use neighbours::Neighbours;

/// Most items of one basket whose pairs are counted; further ones only count as sold.
pub const BASKET_ITEMS_MAX: usize = 128;
/// Most items of a customer's history that one request uses: the newest.
pub const HISTORY_MAX: usize = 512;
/// Most different items of one request whose neighbours are read: those of the basket first, then
/// the newest of the history; further ones speak for themselves only.
pub const NEIGHBOUR_ITEMS_MAX: usize = 128;
/// Most neighbours that one request reads, shared evenly among those items.
pub const NEIGHBOURS_READ_MAX: usize = 1_024;
/// An item of history with so many newer ones weighs half as much as the newest.
const HISTORY_HALF: u64 = 64;
/// Weight of an item of the basket or of the newest one of the history.
const WEIGHT: u64 = 256;

/// Most best sellers that one request looks at, so that a shop in which nearly everything has sold
/// out answers as fast as any other.
pub const BEST_SELLERS_READ_MAX: usize = 4_096;

const _: () = assert!(NEIGHBOURS_READ_MAX >= NEIGHBOUR_ITEMS_MAX);
/// How much more an item that was bought speaks for itself than for a neighbour.
const OWN: u64 = 4;
/// Inverse roots are stored times this.
const ROOT_ONE: u64 = 1 << 20;

/// Bounds of an [`Index`]; memory grows up to them with what is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most SKUs known; further ones are counted in [`Index::ignored`] and not recommended.
    /// Default 1,048,576. Range 1..=16,777,216, the most an engine can have. About 100 bytes each.
    pub items_max: u32,
    /// Most neighbours kept of one SKU. Default 64. Range 1..=1,024. 12 bytes each.
    pub neighbours_max: u16,
    /// Most neighbours kept of all SKUs. Default 8,388,608. Range 1..=268,435,456.
    pub pairs_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items_max: 1 << 20, neighbours_max: 64, pairs_max: 1 << 23 }
    }
}

impl Limits {
    fn check(self) -> Result<(), SettingError> {
        setting("items_max", 0, self.items_max.into(), 1, 1 << 24)?;
        setting("neighbours_max", 0, self.neighbours_max.into(), 1, 1_024)?;
        setting("pairs_max", 0, self.pairs_max.into(), 1, 1 << 28)
    }
}

#[derive(Clone, Debug)]
struct Item {
    sku: SkuId,
    /// Baskets with it.
    baskets: u32,
    /// [`ROOT_ONE`] divided by the square root of `baskets`.
    root: u32,
    neighbours: Neighbours,
}

/// What the last step of a request needs of an item, apart from the rest: a request looks at a
/// thousand of them, which stay in the processor's cache this way.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// [`ROOT_ONE`] divided by the fourth root of the item's baskets.
    fourth_root: u32,
    /// Its place among the best sellers.
    rank: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// SKUs that the buyer has in the basket or looks at; they are never recommended.
    pub basket: &'a [SkuId],
    /// SKUs that the buyer has bought before, oldest first, with repetitions; they may well be
    /// recommended again. Of more than [`HISTORY_MAX`] the newest are used.
    pub history: &'a [SkuId],
    /// Most recommendations wanted.
    pub limit: usize,
}

/// One recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommended {
    /// SKU.
    pub sku: SkuId,
    /// Larger is better; 0 for a best seller that fills the list up.
    pub score: u64,
}

/// Space that a request works in; made once per thread and used again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    scores: Vec<u64>,
    touched: Vec<u32>,
    weights: Vec<(u32, u64)>,
}

/// Counts of what was bought, and what was bought with what.
///
/// # Example
///
/// ```
/// use onhand_core::SkuId;
/// use onhand_policy::recommend::{Ask, Index, Limits, Scratch};
///
/// let [bread, butter, beer] = ["BREAD", "BUTTER", "BEER"].map(|code| {
///     SkuId::from_code(code).expect("a code")
/// });
/// let mut index = Index::new(Limits::default())?;
/// index.observe(&[bread, butter]);
/// index.observe(&[beer]);
/// index.observe(&[beer]);
///
/// let mut scratch = Scratch::default();
/// let ask = Ask { basket: &[bread], limit: 2, ..Ask::default() };
/// let all: Vec<_> = index.recommend(&mut scratch, &ask, |_| true);
/// assert_eq!(all.iter().map(|r| r.sku).collect::<Vec<_>>(), [butter, beer]);
///
/// // Butter has sold out: what sells best is better than nothing.
/// let left = index.recommend(&mut scratch, &ask, |sku| sku != butter);
/// assert_eq!(left.iter().map(|r| r.sku).collect::<Vec<_>>(), [beer]);
/// # Ok::<(), onhand_policy::SettingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Index {
    limits: Limits,
    /// Look-ups only, so that the order of a hash never shows.
    numbers: HashMap<SkuId, u32>,
    items: Vec<Item>,
    /// One for each item.
    standings: Vec<Standing>,
    /// Items by falling number of baskets.
    ranks: Vec<u32>,
    pairs: u32,
    ignored: u64,
    basket: Vec<u32>,
}

impl Index {
    /// Makes an index that knows nothing.
    ///
    /// # Errors
    ///
    /// Returns the first limit that is outside its range.
    pub fn new(limits: Limits) -> Result<Self, SettingError> {
        limits.check()?;
        Ok(Self {
            limits,
            numbers: HashMap::default(),
            items: Vec::new(),
            standings: Vec::new(),
            ranks: Vec::new(),
            pairs: 0,
            ignored: 0,
            basket: Vec::new(),
        })
    }

    /// Makes a SKU known, so that it is recommended even before it was bought for the first time;
    /// returns `false` if there is no room.
    pub fn know(&mut self, sku: SkuId) -> bool {
        self.number(sku).is_some()
    }

    fn number(&mut self, sku: SkuId) -> Option<u32> {
        if let Some(number) = self.numbers.get(&sku) {
            return Some(*number);
        }
        if self.items.len() >= self.limits.items_max as usize {
            self.ignored += 1;
            return None;
        }
        let number = self.items.len() as u32;
        self.numbers.insert(sku, number);
        self.ranks.push(number);
        let neighbours = Neighbours::default();
        self.items.push(Item { sku, baskets: 0, root: 0, neighbours });
        self.standings.push(Standing { fourth_root: 0, rank: number });
        Some(number)
    }

    /// Counts the SKUs of one committed order; a SKU on several lines counts once.
    pub fn observe(&mut self, basket: &[SkuId]) {
        let mut numbers = std::mem::take(&mut self.basket);
        numbers.clear();
        numbers.extend(basket.iter().filter_map(|sku| self.number(*sku)));
        numbers.sort_unstable();
        numbers.dedup();
        for number in &numbers {
            self.sold(*number);
        }
        numbers.truncate(BASKET_ITEMS_MAX);
        for number in &numbers {
            for other in numbers.iter().filter(|other| *other != number) {
                let list = &mut self.items[*number as usize].neighbours;
                let may_grow = list.as_slice().len() < self.limits.neighbours_max as usize
                    && self.pairs < self.limits.pairs_max;
                self.pairs += u32::from(list.add(*other, may_grow));
            }
        }
        self.basket = numbers;
    }

    /// Counts one more basket with an item and moves it up among the best sellers.
    fn sold(&mut self, number: u32) {
        let baskets = self.items[number as usize].baskets;
        let rank = self.standings[number as usize].rank as usize;
        let above = |other: &u32| self.items[*other as usize].baskets > baskets;
        let first = self.ranks[..rank].partition_point(above);
        let other = self.ranks[first];
        self.ranks.swap(first, rank);
        self.standings[other as usize].rank = rank as u32;
        let item = &mut self.items[number as usize];
        item.baskets = baskets.saturating_add(1);
        // Scaled by powers of two, so that no root of a small number loses its fraction.
        let root = (u64::from(item.baskets) << 20).isqrt();
        item.root = ((ROOT_ONE << 10) / root) as u32;
        let fourth_root = ((ROOT_ONE << 20) / (root << 30).isqrt()) as u32;
        self.standings[number as usize] = Standing { fourth_root, rank: first as u32 };
    }

    /// Returns how many SKUs are known.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether no SKU is known.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns how often a SKU was left out because `items_max` were known.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Returns how many baskets had a SKU.
    pub fn baskets(&self, sku: SkuId) -> u32 {
        self.numbers.get(&sku).map_or(0, |number| self.items[*number as usize].baskets)
    }

    /// Returns the fewest and the most baskets that can have had both SKUs, by the list of the
    /// first; equal while its list has never been full. Items of a basket beyond
    /// [`BASKET_ITEMS_MAX`] are counted in neither.
    pub fn together(&self, sku: SkuId, other: SkuId) -> (u32, u32) {
        let numbers = (self.numbers.get(&sku), self.numbers.get(&other));
        let (Some(number), Some(other)) = numbers else { return (0, 0) };
        let list = self.items[*number as usize].neighbours.as_slice();
        if let Some(found) = list.iter().find(|neighbour| neighbour.item == *other) {
            return (found.least(), found.most());
        }
        let full = list.len() >= self.limits.neighbours_max as usize
            || self.pairs >= self.limits.pairs_max;
        // A list that never got room has counted nothing: only its own baskets bound it.
        let own = self.items[*number as usize].baskets;
        let last = list.last().map_or(own, |last| last.most());
        (0, if full { last } else { 0 })
    }

    /// Returns the SKUs by falling number of baskets.
    pub fn best_sellers(&self) -> impl Iterator<Item = SkuId> {
        self.ranks.iter().map(|number| self.items[*number as usize].sku)
    }

    /// Returns the best recommendations of which `available` says yes, best first.
    ///
    /// Score: for each item of the request its weight times `both / (items ^ 1/2 * own ^ 1/4)`, where
    /// `both` counts baskets with the item and the candidate, `items` those with the item and
    /// `own` those with the candidate; summed. That is a cosine which damps frequent candidates
    /// less. An item of the history also speaks for itself, four times as loud: what was bought
    /// before is bought again. The list is filled up with best sellers. It is shorter than the
    /// limit only if fewer SKUs are known and available outside the basket, or among the first
    /// [`BEST_SELLERS_READ_MAX`].
    pub fn recommend(
        &self,
        scratch: &mut Scratch,
        ask: &Ask<'_>,
        mut available: impl FnMut(SkuId) -> bool,
    ) -> Vec<Recommended> {
        let mut best: Vec<(u64, u32)> = Vec::with_capacity(ask.limit.min(self.items.len()) + 1);
        self.score(scratch, ask);
        for number in scratch.touched.drain(..) {
            // Larger scores first, better sellers first among equals.
            let sum = std::mem::take(&mut scratch.scores[number as usize]);
            let Standing { fourth_root, rank } = self.standings[number as usize];
            let score = (sum >> 20) * u64::from(fourth_root);
            let entry = (score, u32::MAX - rank);
            if score == 0 || (best.len() == ask.limit && best.last() >= Some(&entry)) {
                continue;
            }
            let sku = self.items[number as usize].sku;
            if ask.basket.contains(&sku) || !available(sku) {
                continue;
            }
            let at = best.partition_point(|other| *other > entry);
            best.insert(at, entry);
            best.truncate(ask.limit);
        }
        let number = |rank: u32| self.ranks[(u32::MAX - rank) as usize];
        let mut found: Vec<Recommended> = best
            .iter()
            .map(|(score, rank)| Recommended {
                sku: self.items[number(*rank) as usize].sku,
                score: *score,
            })
            .collect();
        let scored = found.len();
        for sku in self.best_sellers().take(BEST_SELLERS_READ_MAX) {
            if found.len() >= ask.limit {
                break;
            }
            let known = found[..scored].iter().any(|other| other.sku == sku);
            if !known && !ask.basket.contains(&sku) && available(sku) {
                found.push(Recommended { sku, score: 0 });
            }
        }
        found
    }

    /// Gathers the candidates that a recommendation plugin is told about: the neighbours of each of
    /// the items, then best sellers, at most `limit` and [`CANDIDATES_MAX`] together.
    ///
    /// A SKU is there once for each item beside which it was bought; a best seller has no item and
    /// `together` and `items` 0. `available` says how many units may be promised now; what has
    /// none is left out. Of more than [`ITEMS_MAX`] items the last are used.
    pub fn candidates(
        &self,
        items: &[SkuId],
        limit: usize,
        mut available: impl FnMut(SkuId) -> u32,
        candidates: &mut Vec<Candidate>,
    ) {
        let last = &items[items.len().saturating_sub(ITEMS_MAX)..];
        let mut numbers: Vec<u32> =
            last.iter().filter_map(|sku| self.numbers.get(sku)).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let end = candidates.len() + limit.min(CANDIDATES_MAX);
        let each = limit.min(CANDIDATES_MAX) / (numbers.len() + 1);
        let mut push = |number: u32, together: u32, beside: u32| {
            let item = &self.items[number as usize];
            let units = available(item.sku);
            if units > 0 && candidates.len() < end {
                candidates.push(Candidate {
                    sku: item.sku.bits(),
                    together,
                    alone: item.baskets,
                    items: beside,
                    popularity: self.standings[number as usize].rank,
                    available: units,
                });
            }
            candidates.len() < end
        };
        for number in &numbers {
            let item = &self.items[*number as usize];
            for neighbour in item.neighbours.as_slice().iter().take(each) {
                push(neighbour.item, neighbour.least(), item.baskets);
            }
        }
        for number in self.ranks.iter().take(BEST_SELLERS_READ_MAX) {
            if !push(*number, 0, 0) {
                break;
            }
        }
    }

    /// Adds up the weights of the request's items, each item once.
    fn weigh(&self, scratch: &mut Scratch, ask: &Ask<'_>) {
        scratch.scores.resize(self.items.len(), 0);
        scratch.weights.clear();
        for sku in ask.basket.iter().take(HISTORY_MAX) {
            self.weigh_one(scratch, *sku, WEIGHT);
        }
        let newest = &ask.history[ask.history.len().saturating_sub(HISTORY_MAX)..];
        for (age, sku) in newest.iter().rev().enumerate() {
            let weight = WEIGHT * HISTORY_HALF / (HISTORY_HALF + age as u64);
            self.weigh_one(scratch, *sku, weight);
        }
        for (number, weight) in &mut scratch.weights {
            *weight = std::mem::take(&mut scratch.scores[*number as usize]);
        }
    }

    fn weigh_one(&self, scratch: &mut Scratch, sku: SkuId, weight: u64) {
        let Some(number) = self.numbers.get(&sku) else { return };
        // Never bought: its root would be infinite.
        if self.standings[*number as usize].fourth_root == 0 {
            return;
        }
        let slot = &mut scratch.scores[*number as usize];
        if *slot == 0 {
            scratch.weights.push((*number, 0));
        }
        *slot += weight;
    }

    /// Fills `touched` and `scores`: sums that are still to be divided by the candidate's root.
    fn score(&self, scratch: &mut Scratch, ask: &Ask<'_>) {
        self.weigh(scratch, ask);
        let Scratch { scores, touched, weights } = scratch;
        let each = NEIGHBOURS_READ_MAX / weights.len().clamp(1, NEIGHBOUR_ITEMS_MAX);
        for (at, (number, weight)) in weights.iter().enumerate() {
            let each = if at < NEIGHBOUR_ITEMS_MAX { each } else { 0 };
            let item = &self.items[*number as usize];
            let weight = weight * u64::from(item.root);
            let mut add = |number: u32, part: u64| {
                let slot = &mut scores[number as usize];
                if *slot == 0 {
                    touched.push(number);
                }
                *slot += part;
            };
            add(*number, weight * OWN * u64::from(item.baskets));
            for neighbour in item.neighbours.as_slice().iter().take(each) {
                add(neighbour.item, weight * u64::from(neighbour.least()));
            }
        }
    }
}
