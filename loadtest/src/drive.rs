//! Drives the load: buyers on a few threads claim slots of a plan, wait for their start, send,
//! and enter what they were told.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::ledger::Ledger;
use crate::machine;
use crate::meter::Meter;
use crate::op::{Answer, Op, OpKind, Outcome, Planned};
use crate::port::Port;
use crate::schedule::{Arrivals, Rate, Shape};
use crate::timer::Timer;

/// Most connections of one run.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Most generator threads.
pub const THREADS_MAX: usize = 64;
/// Most requests that one connection has under way at once.
pub const PIPELINE_MAX: usize = 256;
/// Longest run.
pub const SECONDS_MAX: u64 = 86_400;
/// Most steps that follow one request.
const FOLLOW_UPS_MAX: usize = 2;
/// Lag from which on a run that keeps up with its schedule is limited by the generator.
pub const LAG_P99_MAX: Duration = Duration::from_millis(5);

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// By a schedule, whatever the target does (open loop).
    Open {
        /// Requests a second.
        rate: Rate,
        /// How they are spread.
        shape: Shape,
    },
    /// As fast as answers come (closed loop).
    Max,
}

/// A request with its intended start; `None` is at once.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) start: Option<Duration>,
    pub(crate) planned: Planned,
}

/// A plan of requests that buyers claim one after the other.
pub(crate) trait Plan: Send + Sync {
    /// Returns the next request, or `None` when there is none left to send; `now` counts from
    /// the start of the run.
    fn claim(&self, now: Duration) -> Result<Option<Claim>, LoadError>;
}

/// Numbers slots and gives them start times until the time is over.
#[derive(Debug)]
pub(crate) struct Pacer {
    state: Mutex<PacerState>,
    /// End of the schedule; `None` leaves the end to the plan.
    end: Option<Duration>,
    /// How long after the end a backlog is still sent.
    grace: Duration,
}

#[derive(Debug)]
struct PacerState {
    /// `None` is the closed loop.
    arrivals: Option<Arrivals>,
    slot: u64,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, seed: u64, end: Option<Duration>, grace: Duration) -> Self {
        let arrivals = match pace {
            Pace::Open { rate, shape } => Some(Arrivals::new(rate, shape, seed)),
            Pace::Max => None,
        };
        Self { state: Mutex::new(PacerState { arrivals, slot: 0 }), end, grace }
    }

    /// Returns the next slot with its start.
    pub(crate) fn next(&self, now: Duration) -> Option<(u64, Option<Duration>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.end.is_some_and(|end| now >= end + self.grace) {
            return None;
        }
        let start = match &mut state.arrivals {
            None if self.end.is_some_and(|end| now >= end) => return None,
            None => None,
            Some(arrivals) => {
                let mut ahead = arrivals.clone();
                let start = ahead.next_start();
                if self.end.is_some_and(|end| start >= end) {
                    return None;
                }
                *arrivals = ahead;
                Some(start)
            }
        };
        let slot = state.slot;
        state.slot += 1;
        Some((slot, start))
    }

    /// Returns how many slots of the schedule were left when the run was over.
    pub(crate) fn left(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(arrivals), Some(end)) = (&state.arrivals, self.end) else { return 0 };
        let mut arrivals = arrivals.clone();
        let mut left = 0;
        while arrivals.next_start() < end {
            left += 1;
        }
        left
    }
}

/// How a run is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    pub(crate) threads: usize,
    /// Requests that a connection sends together: items of its batches times its pipeline.
    pub(crate) group: usize,
}

/// Counts that a run shows while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Latest position that any buyer knows.
    pub(crate) seq: AtomicU64,
    pub(crate) stop: AtomicBool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    pub(crate) ledger: Ledger,
    pub(crate) meter: Meter,
    pub(crate) reconnects: u64,
    pub(crate) elapsed: Duration,
    /// Share of one core that each generator thread used, summed; `None` where unknown.
    pub(crate) generator_cpu: Option<f64>,
}

/// What the buyers of one thread share.
#[derive(Debug, Default)]
struct Desk {
    ledger: Ledger,
    meter: Meter,
    reconnects: u64,
    error: Option<LoadError>,
}

/// Runs the buyers until the plan has no more, a buyer fails or `counters.stop` is set.
///
/// `tick` is called about twice a second on the calling thread.
pub(crate) fn run(
    drive: Drive,
    ports: Vec<Port>,
    plan: Arc<dyn Plan>,
    counters: Arc<Counters>,
    mut tick: impl FnMut(Duration),
) -> Result<Driven, LoadError> {
    let started = Instant::now();
    let timer = Arc::new(Timer::new(ports.len(), started));
    let shares = deal(ports, drive.threads);
    let run = Run { drive, plan, counters, timer, started };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| run.timer.serve(|| run.counters.stop.load(Ordering::Relaxed)));
        let count = shares.len();
        for share in shares {
            let (sender, run) = (sender.clone(), &run);
            // The receiver waits for every thread, so sending can't fail.
            scope.spawn(move || drop(sender.send(run.thread(share))));
        }
        let mut driven = Driven::default();
        let mut failed = None;
        let mut left = count;
        while left > 0 {
            match receiver.recv_timeout(Duration::from_millis(500)) {
                Ok(Ok((desk, cpu))) => {
                    left -= 1;
                    driven.ledger.merge(desk.ledger);
                    driven.meter.merge(&desk.meter);
                    driven.reconnects += desk.reconnects;
                    driven.generator_cpu = match (driven.generator_cpu, cpu) {
                        (Some(sum), Some(cpu)) => Some(sum + cpu),
                        (sum, cpu) => sum.or(cpu),
                    };
                }
                Ok(Err(error)) => {
                    left -= 1;
                    failed = failed.or(Some(error));
                    run.counters.stop.store(true, Ordering::Relaxed);
                }
                Err(_) => tick(started.elapsed()),
            }
        }
        run.timer.close();
        driven.elapsed = started.elapsed();
        failed.map_or(Ok(driven), Err)
    })
}

/// Deals connections to threads, each with the number of its buyer.
fn deal(ports: Vec<Port>, threads: usize) -> Vec<Vec<(usize, Port)>> {
    let threads = threads.clamp(1, ports.len().max(1));
    let mut shares: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    for (buyer, port) in ports.into_iter().enumerate() {
        shares[buyer % threads].push((buyer, port));
    }
    shares
}

#[derive(Clone)]
struct Run {
    drive: Drive,
    plan: Arc<dyn Plan>,
    counters: Arc<Counters>,
    timer: Arc<Timer>,
    started: Instant,
}

impl Run {
    /// Runs the buyers of one thread; returns what they share and the processor time used.
    fn thread(&self, share: Vec<(usize, Port)>) -> Result<(Desk, Option<f64>), LoadError> {
        let runtime = runtime()?;
        let before = machine::thread_cpu();
        let desk = Rc::new(RefCell::new(Desk::default()));
        // Buyers are local tasks: nothing is sent between threads, nothing of a desk is locked.
        let buyers = tokio::task::LocalSet::new();
        for (buyer, port) in share {
            let (run, desk) = (self.clone(), Rc::clone(&desk));
            buyers.spawn_local(async move { run.buyer(buyer, port, &desk).await });
        }
        runtime.block_on(buyers);
        let after = machine::thread_cpu();
        let used = after.zip(before).map(|(after, before)| after.saturating_sub(before));
        let share = used.map(|used| used.as_secs_f64() / self.started.elapsed().as_secs_f64());
        let mut desk = desk.take();
        match desk.error.take() {
            Some(error) => Err(error),
            None => Ok((desk, share)),
        }
    }

    async fn buyer(&self, buyer: usize, mut port: Port, desk: &RefCell<Desk>) {
        let result = self.buy(buyer, &mut port, desk).await;
        let mut desk = desk.borrow_mut();
        desk.reconnects += port.reconnects();
        if let Err(error) = result {
            desk.error = desk.error.take().or(Some(error));
            self.counters.stop.store(true, Ordering::Relaxed);
        }
    }

    async fn buy(
        &self,
        buyer: usize,
        port: &mut Port,
        desk: &RefCell<Desk>,
    ) -> Result<(), LoadError> {
        let mut claims = Vec::with_capacity(self.drive.group);
        loop {
            claims.clear();
            while claims.len() < self.drive.group {
                let Some(claim) = self.plan.claim(self.started.elapsed())? else { break };
                claims.push(claim);
            }
            let Some(last) = claims.last() else { return Ok(()) };
            // A group starts when its last request is due.
            if let Some(due) = last.start {
                if due > self.started.elapsed() {
                    self.timer.until(buyer, due).await;
                    desk.borrow_mut().meter.lag.record(self.started.elapsed().saturating_sub(due));
                } else {
                    desk.borrow_mut().meter.backlogged += claims.len() as u64;
                }
            }
            if self.counters.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut followers = self.exchange(port, &claims, desk).await?;
            for _ in 0..FOLLOW_UPS_MAX {
                if followers.is_empty() {
                    break;
                }
                followers = self.exchange(port, &followers, desk).await?;
            }
        }
    }

    /// Sends a group and enters its outcomes; returns what follows.
    async fn exchange(
        &self,
        port: &mut Port,
        claims: &[Claim],
        desk: &RefCell<Desk>,
    ) -> Result<Vec<Claim>, LoadError> {
        let ops: Vec<&Op> = claims.iter().map(|claim| &claim.planned.op).collect();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(ops.len());
        let after = self.counters.seq.load(Ordering::Relaxed);
        self.counters.sent.fetch_add(ops.len() as u64, Ordering::Relaxed);
        let sent = self.started.elapsed();
        port.exchange(&ops, &mut outcomes).await;
        let mut followers = Vec::new();
        let mut desk = desk.borrow_mut();
        for (claim, outcome) in claims.iter().zip(&outcomes) {
            if let Ok(answer) = outcome {
                self.counters.seq.fetch_max(answer.seq, Ordering::Relaxed);
                let done = answer.done.saturating_duration_since(self.started);
                let kind = claim.planned.op.kind;
                let intended = done.saturating_sub(claim.start.unwrap_or(sent));
                let service = done.saturating_sub(sent);
                desk.meter.record(kind, answer.is_success(), intended, service);
                followers.extend(follower(&claim.planned, answer));
            }
            self.count(&claim.planned, outcome);
            desk.ledger.enter(&claim.planned, outcome, after)?;
        }
        Ok(followers)
    }

    fn count(&self, planned: &Planned, outcome: &Outcome) {
        let makes = matches!(planned.op.kind, OpKind::Buy | OpKind::Reserve);
        let counter = match outcome {
            Ok(answer) if answer.is_success() && makes && !answer.replayed => {
                &self.counters.accepted
            }
            Ok(answer) if answer.is_success() => return,
            Ok(_) => &self.counters.refused,
            Err(_) => &self.counters.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns what a buyer does after an accepted reservation.
fn follower(planned: &Planned, answer: &Answer) -> Option<Claim> {
    let (kind, order) = (planned.then?, answer.order?);
    if !answer.is_success() {
        return None;
    }
    let key = format!("{}-{}", planned.op.key, kind.name());
    let op = Op::follow_up(kind, key, order);
    let planned = Planned { intent: planned.intent, op, then: None };
    Some(Claim { start: None, planned })
}

/// Makes a runtime for one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| LoadError::target(format!("no event loop could be made: {e}")))
}
