//! The world `onhand:recommend`: records as WIT has them, and the way to and from the facts.

use std::ops::Range;

use onhand_policy::decision::{self, DecisionError, check_picks};
use onhand_policy::fact::{self, RecommendBatch, RecommendRequest};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::kind::Kind;
use crate::world::{Buffer, World, fill, sealed};

/// Recommendation plugins: `recommend-batch`.
#[derive(Clone, Copy, Debug)]
pub struct Recommend;

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Request {
    customer: u64,
    now: u64,
    #[component(name = "first-item")]
    first_item: u32,
    #[component(name = "item-count")]
    item_count: u32,
    #[component(name = "first-candidate")]
    first_candidate: u32,
    #[component(name = "candidate-count")]
    candidate_count: u32,
    limit: u32,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Candidate {
    sku: u64,
    together: u32,
    alone: u32,
    items: u32,
    popularity: u32,
    available: u32,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub struct Pick {
    request: u32,
    sku: u64,
    score: u32,
}

impl From<&RecommendRequest> for Request {
    fn from(from: &RecommendRequest) -> Self {
        Self {
            customer: from.customer,
            now: from.now,
            first_item: from.first_item,
            item_count: from.item_count,
            first_candidate: from.first_candidate,
            candidate_count: from.candidate_count,
            limit: from.limit,
        }
    }
}

impl From<&fact::Candidate> for Candidate {
    fn from(from: &fact::Candidate) -> Self {
        let fact::Candidate { sku, together, alone, items, popularity, available } = *from;
        Self { sku, together, alone, items, popularity, available }
    }
}

impl From<Pick> for decision::Pick {
    fn from(Pick { request, sku, score }: Pick) -> Self {
        Self { request, sku, score }
    }
}

impl sealed::Sealed for Recommend {}

impl World for Recommend {
    const KIND: Kind = Kind::Recommend;
    /// A request may have thousands of candidates.
    const CALL_ORDERS: usize = 16;
    type Batch<'a> = RecommendBatch<'a>;
    type Raw = Vec<decision::Pick>;
    type Answer = Vec<decision::Pick>;
    type Arguments = (Buffer<Request>, Buffer<u64>, Buffer<Candidate>);
    type Record = Pick;

    fn fill((requests, items, candidates): &mut Self::Arguments, batch: Self::Batch<'_>) {
        fill(requests, batch.requests().iter().map(Request::from));
        fill(items, batch.items().iter().copied());
        fill(candidates, batch.candidates().iter().map(Candidate::from));
    }

    fn raw(records: Vec<Pick>) -> Self::Raw {
        records.into_iter().map(decision::Pick::from).collect()
    }

    fn check(batch: RecommendBatch<'_>, raw: &Self::Raw) -> Result<Self::Answer, DecisionError> {
        check_picks(&batch, raw)
    }

    fn orders(batch: RecommendBatch<'_>) -> usize {
        batch.requests().len()
    }

    fn part<R>(
        batch: RecommendBatch<'_>,
        orders: Range<usize>,
        then: impl FnOnce(RecommendBatch<'_>) -> R,
    ) -> R {
        let (mut requests, mut items, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            let first_item = items.len() as u32;
            let first_candidate = candidates.len() as u32;
            let request = batch.requests()[order];
            requests.push(RecommendRequest { first_item, first_candidate, ..request });
            items.extend_from_slice(batch.items_of(order));
            candidates.extend_from_slice(batch.candidates_of(order));
        }
        let part = RecommendBatch::new(&requests, &items, &candidates);
        then(part.expect("requests of a checked batch are a checked batch"))
    }

    fn append(all: &mut Self::Answer, before: usize, part: Self::Answer) {
        let request = |pick: decision::Pick| pick.request + before as u32;
        all.extend(part.into_iter().map(|pick| decision::Pick { request: request(pick), ..pick }));
    }

    /// Nothing: the host fills every list up with its built-in one.
    fn pass(_: RecommendBatch<'_>) -> Self::Answer {
        Vec::new()
    }

    /// Nothing: a list of recommendations is never a reason to refuse anything.
    fn close(_: RecommendBatch<'_>) -> Self::Answer {
        Vec::new()
    }

    fn sample<R>(then: impl FnOnce(RecommendBatch<'_>) -> R) -> R {
        let (item_count, candidate_count, limit) = (1, 1, 1);
        let request = RecommendRequest { item_count, candidate_count, limit, ..Default::default() };
        let candidate = fact::Candidate {
            sku: 2,
            together: 1,
            alone: 2,
            items: 2,
            popularity: 0,
            available: 1,
        };
        let (requests, candidates) = ([request], [candidate]);
        let batch = RecommendBatch::new(&requests, &[1], &candidates);
        then(batch.expect("one request of one candidate"))
    }
}
