//! Recommendation: what may be picked for a basket, and what is.

use crate::config::ConfigError;
use crate::part;

/// One request, as WIT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Customer; 0 for an unnamed one.
    pub customer: u64,
    /// Milliseconds since 1970-01-01 UTC: the only clock that there is.
    pub now: u64,
    /// Index of the request's first item in the batch.
    pub first_item: u32,
    /// Number of its items, at most 512.
    pub item_count: u32,
    /// Index of the request's first candidate in the batch.
    pub first_candidate: u32,
    /// Number of its candidates, at most 4,096.
    pub candidate_count: u32,
    /// Most picks wanted, 1 to 100.
    pub limit: u32,
}

/// One SKU that may be picked, with what is known of it beside one item of the request. A SKU is
/// there once for each item beside which it was bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Candidate {
    /// SKU by its 64 bits.
    pub sku: u64,
    /// Baskets with this and the item; 0 if it is there as a best seller.
    pub together: u32,
    /// Baskets with this.
    pub alone: u32,
    /// Baskets with the item; 0 if it is there as a best seller.
    pub items: u32,
    /// Rank among best sellers, 0 first; the largest number if it has none.
    pub popularity: u32,
    /// Units that may be promised now.
    pub available: u32,
}

/// One recommendation, as WIT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pick {
    /// Index of the request.
    pub request: u32,
    /// SKU of one of the request's candidates.
    pub sku: u64,
    /// Larger is better.
    pub score: u32,
}

/// One request for recommendations.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks, when, and for how many.
    pub header: &'a Header,
    /// SKUs in the basket.
    pub items: &'a [u64],
    /// What may be picked.
    pub candidates: &'a [Candidate],
}

/// What is picked for one request; kept in order, without repetition and within its limit, so
/// that the host finds nothing wrong with it.
#[derive(Debug)]
pub struct Picks<'a> {
    answer: &'a mut Vec<Pick>,
    first: usize,
    request: u32,
    limit: usize,
}

impl Picks<'_> {
    /// Offers a SKU with its score. Of two with the same score the one that came first is better;
    /// a SKU that is there already keeps its better score.
    pub fn offer(&mut self, sku: u64, score: u32) {
        let own = &self.answer[self.first..];
        if let Some(at) = own.iter().position(|pick| pick.sku == sku) {
            if own[at].score >= score {
                return;
            }
            self.answer.remove(self.first + at);
        }
        let own = &self.answer[self.first..];
        let at = own.partition_point(|pick| pick.score >= score);
        if at < self.limit {
            self.answer.insert(self.first + at, Pick { request: self.request, sku, score });
            self.answer.truncate(self.first + self.limit);
        }
    }
}

/// A recommendation plugin.
pub trait Recommend: Sized + 'static {
    /// Reads the configuration that the shop gave; called once for each fresh instance.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with it: the operator is shown that when installing.
    fn new(config: &str) -> Result<Self, ConfigError>;

    /// Picks for one request among its candidates. The same request gives the same picks, always:
    /// keep nothing between calls.
    fn recommend(&self, request: &Request<'_>, picks: &mut Picks<'_>);
}

/// Picks for a batch of requests as the component does, adding to `answer`.
///
/// # Panics
///
/// If a request's ranges lie outside the lists, which the host never does.
pub fn batch<R: Recommend>(
    plugin: &R,
    requests: &[Header],
    items: &[u64],
    candidates: &[Candidate],
    answer: &mut Vec<Pick>,
) {
    for (index, header) in requests.iter().enumerate() {
        let request = Request {
            header,
            items: part(items, header.first_item, header.item_count),
            candidates: part(candidates, header.first_candidate, header.candidate_count),
        };
        let (first, limit) = (answer.len(), header.limit as usize);
        let mut picks = Picks { answer, first, request: index as u32, limit };
        plugin.recommend(&request, &mut picks);
    }
}
