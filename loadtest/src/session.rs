//! What happens before and after the load: putting stock in, asking again what stayed
//! unanswered, and reading the truth.

use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::feed::{FeedEvent, StockLevel};
use crate::http_session::HttpSession;
#[cfg(feature = "inproc")]
use crate::inproc::InProcSession;
use crate::ledger::{Ledger, Lost};
use crate::op::{Catalogue, Outcome, Planned};
use crate::port::Port;
use crate::truth::{Checker, Unresolved};

/// Most lines of one import.
pub(crate) const IMPORT_LINES_MAX: usize = 1_000;
/// SKUs whose stock is asked at once.
const STOCK_SKUS: usize = 50;
/// How often an empty page is taken before the feed counts as ended too early.
const IDLE_MAX: u32 = 20;
/// Pause before a lost request is sent again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time for asking again what stayed unanswered.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// How often stock and events are read again while reservations still expire between the two.
const ROUNDS_MAX: u32 = 10;

/// Price of the SKUs that a run defines, in minor units, with its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListPrice {
    pub(crate) amount: i64,
    pub(crate) currency: String,
}

/// A SKU to be defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition<'a> {
    pub(crate) code: &'a str,
    pub(crate) price: &'a ListPrice,
    pub(crate) limit: Option<u32>,
    /// `sku` or `location`; empty for the host's default.
    pub(crate) placement: &'a str,
}

/// Units to put into one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StockLine {
    pub(crate) sku: u32,
    pub(crate) location: u32,
    pub(crate) quantity: u32,
}

/// A way to a target for everything but the load.
#[derive(Debug)]
pub(crate) enum Session {
    /// Over HTTP.
    Http(HttpSession),
    /// An engine inside this process.
    #[cfg(feature = "inproc")]
    InProc(InProcSession),
}

impl Session {
    /// Returns whether the host knows a SKU.
    pub(crate) async fn knows(&mut self, code: &str) -> Result<bool, LoadError> {
        match self {
            Self::Http(session) => session.knows(code).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.knows(code),
        }
    }

    /// Defines a SKU and returns the position of the definition.
    pub(crate) async fn define(&mut self, sku: &Definition<'_>) -> Result<u64, LoadError> {
        match self {
            Self::Http(session) => session.define(sku).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.define(sku).await,
        }
    }

    /// Puts opening stock in, at most [`IMPORT_LINES_MAX`] lines, and returns its position.
    pub(crate) async fn import(
        &mut self,
        key: &str,
        lines: &[StockLine],
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        match self {
            Self::Http(session) => session.import(key, lines, catalogue).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.import(key, lines, catalogue),
        }
    }

    /// Reads one page of events after a position; waits up to `wait` seconds for the first.
    async fn page(
        &mut self,
        after: u64,
        wait: u32,
        catalogue: &Catalogue,
    ) -> Result<(Vec<FeedEvent>, u64), LoadError> {
        match self {
            Self::Http(session) => session.page(after, wait, catalogue).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.page(after, wait, catalogue),
        }
    }

    /// Reads the stock of SKUs, as of a position or later.
    async fn stock(
        &mut self,
        skus: &[u32],
        min_seq: u64,
        catalogue: &Catalogue,
    ) -> Result<Vec<StockLevel>, LoadError> {
        match self {
            Self::Http(session) => session.stock(skus, min_seq, catalogue).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.stock(skus, min_seq, catalogue),
        }
    }

    /// Reads the events after a position to the end of the feed and returns the next position.
    ///
    /// The feed must reach `until`, a position that a buyer was told.
    pub(crate) async fn events(
        &mut self,
        mut after: u64,
        until: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        let mut idle = 0;
        loop {
            // Only the wait for the last durable group is worth a long poll.
            let wait = u32::from(after < until);
            let (events, next) = self.page(after, wait, catalogue).await?;
            for event in &events {
                checker.observe(event)?;
            }
            if next > after {
                after = next;
                idle = 0;
            } else if after >= until || idle >= IDLE_MAX {
                break;
            } else {
                idle += 1;
            }
        }
        if after < until {
            return Err(LoadError::target(format!(
                "the events end at {after}, but a buyer was told of position {until}"
            )));
        }
        Ok(after)
    }

    /// Reads the events and the stock of every SKU until the two agree, and lets the checker judge.
    pub(crate) async fn truth(
        &mut self,
        after: u64,
        until: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        let mut next = self.events(after, until, checker, catalogue).await?;
        let skus: Vec<u32> = (0..catalogue.skus().len() as u32).collect();
        for chunk in skus.chunks(STOCK_SKUS) {
            let mut levels = self.stock(chunk, next, catalogue).await?;
            // A reservation may have expired between the two readings.
            for _ in 0..ROUNDS_MAX {
                // Or a basket between shards may still be on its way.
                let mut pairs = chunk.iter().zip(&levels);
                if pairs.all(|(sku, level)| level.tentative == 0 && checker.agrees(*sku, level)) {
                    break;
                }
                next = self.events(next, next, checker, catalogue).await?;
                levels = self.stock(chunk, next, catalogue).await?;
            }
            for (sku, level) in chunk.iter().zip(&levels) {
                checker.stock(*sku, level)?;
            }
        }
        Ok(())
    }
}

/// Asks again, with the same keys, what stayed unanswered; returns what stays unknown.
pub(crate) async fn settle(
    port: &mut Port,
    ledger: &mut Ledger,
    catalogue: &Catalogue,
) -> Result<Unresolved, LoadError> {
    let lost = std::mem::take(&mut ledger.lost);
    let mut unresolved = Unresolved { orders: ledger.lost_beyond, changes: ledger.lost_beyond };
    let started = Instant::now();
    for Lost { intent, op } in lost {
        let planned = Planned { intent, op };
        let mut answered = false;
        while started.elapsed() < SETTLE_MAX && !answered {
            let mut outcomes = Vec::with_capacity(1);
            port.exchange(&[&planned.op], &mut outcomes).await;
            for outcome in outcomes.iter().filter(|outcome| is_final(outcome)) {
                // Nothing is known about the position at the first sending.
                ledger.enter(&planned, outcome, 0, catalogue)?;
                answered = true;
            }
            if !answered {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let unknown = u64::from(!answered);
        if planned.op.kind.makes_order() {
            unresolved.orders += unknown;
        } else {
            unresolved.changes += unknown;
        }
    }
    // Answers that made no sense even now.
    unresolved.orders += ledger.lost.len() as u64;
    unresolved.changes += ledger.lost.len() as u64;
    Ok(unresolved)
}

fn is_final(outcome: &Outcome) -> bool {
    outcome
        .as_ref()
        .is_ok_and(|answer| answer.code != "idempotency_in_flight" && answer.status != 503)
}
