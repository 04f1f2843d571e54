//! What happens before and after the load: putting stock in, asking again what stayed
//! unanswered, and reading the truth.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::error::LoadError;
use crate::feed::{FeedEvent, StockLevel};
use crate::http_session::HttpSession;
#[cfg(feature = "inproc")]
use crate::inproc::InProcSession;
use crate::ledger::{Ledger, Lost};
use crate::op::{Catalogue, Op, Outcome, Planned};
use crate::port::Port;
use crate::truth::{Checker, Settled, Unresolved};

/// Most lines of one import.
pub(crate) const IMPORT_LINES_MAX: usize = 1_000;
/// SKUs whose stock is asked at once.
const STOCK_SKUS: usize = 50;
/// How often an empty page is taken before the feed counts as ended too early.
const IDLE_MAX: u32 = 20;
/// Pause before what gave no answer is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time in which stock and events may come to agree, over all SKUs.
const AGREE_MAX: Duration = Duration::from_secs(10);

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
    /// A shop that is no Onhand.
    #[cfg(all(feature = "peers", target_os = "linux"))]
    Peer(crate::peer::PeerSession),
}

impl Session {
    /// Returns whether the host knows a SKU.
    pub(crate) async fn knows(&mut self, code: &str) -> Result<bool, LoadError> {
        match self {
            Self::Http(session) => session.knows(code).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.knows(code),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(session) => session.knows(code).await,
        }
    }

    /// Defines a SKU and returns the position of the definition.
    pub(crate) async fn define(&mut self, sku: &Definition<'_>) -> Result<u64, LoadError> {
        match self {
            Self::Http(session) => session.define(sku).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.define(sku).await,
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(session) => session.define(sku).await,
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
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(session) => session.import(lines, catalogue).await,
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
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(session) => session.page(after, catalogue).await,
        }
    }

    /// Reads the stock of SKUs, as of a position or later.
    pub(crate) async fn stock(
        &mut self,
        skus: &[u32],
        min_seq: u64,
        catalogue: &Catalogue,
    ) -> Result<Vec<StockLevel>, LoadError> {
        match self {
            Self::Http(session) => session.stock(skus, min_seq, catalogue).await,
            #[cfg(feature = "inproc")]
            Self::InProc(session) => session.stock(skus, min_seq, catalogue),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(session) => session.stock(skus, catalogue).await,
        }
    }

    /// Reads the events after a position up to another, and returns the position that was reached:
    /// an earlier one if the feed ends before.
    async fn events(
        &mut self,
        mut after: u64,
        to: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<u64, LoadError> {
        let mut idle = 0;
        while after < to && idle < IDLE_MAX {
            let (events, next) = self.page(after, 1, catalogue).await?;
            if next > after {
                // What comes later is read when it is asked for: others may go on for ever.
                for event in events.iter().filter(|event| event.seq <= to) {
                    checker.observe(event)?;
                }
                after = next.min(to);
                idle = 0;
            } else if let Some(event) = events.first() {
                let seq = event.seq;
                return Err(LoadError::target(format!(
                    "the page of events after {after} has event {seq} and names {next} as the next \
                     position"
                )));
            } else {
                idle += 1;
            }
        }
        Ok(after)
    }

    /// Reads the events to the last position that a buyer was told, then the stock of every SKU with
    /// the events up to it, and lets the checker judge.
    pub(crate) async fn truth(
        &mut self,
        after: u64,
        until: u64,
        checker: &mut Checker<'_>,
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        let mut at = self.events(after, until, checker, catalogue).await?;
        if at < until {
            // What was acknowledged is lost; what is there is judged.
            checker.feed_ends(at, until);
        }
        let skus: Vec<u32> = (0..catalogue.skus().len() as u32).collect();
        let started = Instant::now();
        for chunk in skus.chunks(STOCK_SKUS) {
            let mut open = chunk.to_vec();
            while !open.is_empty() {
                // A basket between shards may be on its way, and comes to its end.
                let last = started.elapsed() >= AGREE_MAX;
                let levels = self.stock(&open, at, catalogue).await?;
                let mut pairs: Vec<_> = open.iter().copied().zip(levels).collect();
                pairs.sort_by_key(|(_, level)| level.seq);
                open.clear();
                for (sku, level) in pairs {
                    // A level is compared with the events up to its own position. Where that is an
                    // earlier one, nothing has touched the SKU since.
                    at = self.events(at, level.seq, checker, catalogue).await?;
                    let agrees = level.tentative == 0 && checker.agrees(sku, &level);
                    if agrees || last {
                        checker.stock(sku, &level)?;
                    } else {
                        open.push(sku);
                    }
                }
                if !open.is_empty() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }
}

/// What is asked again, and what is known of it by now.
struct Again {
    queue: VecDeque<(Lost, Option<Instant>)>,
    ledger: Ledger,
    settled: Settled,
    /// When something was last learnt.
    learnt: Instant,
    /// Longest time in which a request is asked again, and in which nothing is learnt.
    patience: Duration,
}

/// Asks again, with the same keys, those requests whose outcome no answer told: over all ports, as
/// many at a time as in the run, each for at most `patience`; and none any more when nothing was
/// learnt for as long. Returns the ledger with what was told.
pub(crate) async fn settle(
    ports: Vec<Port>,
    group: usize,
    patience: Duration,
    mut ledger: Ledger,
    catalogue: &Arc<Catalogue>,
) -> Result<(Ledger, Settled), LoadError> {
    let lost = std::mem::take(&mut ledger.lost);
    let unknown = Unresolved { orders: ledger.lost_beyond, changes: ledger.lost_beyond };
    let asked = lost.len() as u64 + ledger.lost_beyond;
    let again = Rc::new(RefCell::new(Again {
        queue: lost.into_iter().map(|lost| (lost, None)).collect(),
        ledger,
        settled: Settled { asked, unknown, ..Settled::default() },
        learnt: Instant::now(),
        patience,
    }));
    let tasks = LocalSet::new();
    let asking: Vec<_> = ports
        .into_iter()
        .map(|port| {
            let (again, catalogue) = (Rc::clone(&again), Arc::clone(catalogue));
            tasks.spawn_local(async move { ask_again(port, group, &again, &catalogue).await })
        })
        .collect();
    tasks.await;
    for ended in asking {
        match ended.await {
            Ok(ended) => ended?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    let again = &mut *again.borrow_mut();
    Ok((std::mem::take(&mut again.ledger), again.settled))
}

async fn ask_again(
    mut port: Port,
    group: usize,
    again: &RefCell<Again>,
    catalogue: &Catalogue,
) -> Result<(), LoadError> {
    loop {
        let taken: Vec<(Lost, Option<Instant>)> = {
            let mut again = again.borrow_mut();
            let count = again.queue.len().min(group.max(1));
            again.queue.drain(..count).collect()
        };
        if taken.is_empty() {
            return Ok(());
        }
        let ops: Vec<&Op> = taken.iter().map(|(lost, _)| &lost.op).collect();
        let mut outcomes = Vec::with_capacity(ops.len());
        port.exchange(&ops, &mut outcomes).await;
        let mut any = false;
        {
            let mut again = again.borrow_mut();
            let now = Instant::now();
            for ((lost, first), outcome) in taken.into_iter().zip(&outcomes) {
                let first = first.unwrap_or(now);
                if let Ok(answer) = outcome
                    && answer.settles()
                {
                    any = true;
                    again.learnt = now;
                    again.enter(lost, outcome, answer.is_success(), catalogue)?;
                } else if now - first < again.patience && now - again.learnt < again.patience {
                    // Behind the others: one that never gets an answer holds up nobody.
                    again.queue.push_back((lost, Some(first)));
                } else {
                    again.give_up(&lost);
                }
            }
        }
        if !any {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Again {
    fn enter(
        &mut self,
        lost: Lost,
        outcome: &Outcome,
        accepted: bool,
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        let Lost { intent, op } = lost;
        if accepted {
            self.settled.accepted += 1;
        } else {
            self.settled.refused += 1;
        }
        // Nothing is known about the position at the first sending.
        self.ledger.enter(&Planned { intent, op }, outcome, 0, catalogue)
    }

    fn give_up(&mut self, lost: &Lost) {
        if lost.op.kind.makes_order() {
            self.settled.unknown.orders += 1;
        } else {
            self.settled.unknown.changes += 1;
        }
    }
}
