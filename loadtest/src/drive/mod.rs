//! Drives the load: users come by a plan, their due requests go to idle connections, and what they
//! were told is entered.
//!
//! [`hall`] knows who is there and what is due, [`timer`] rings when the next request is, and
//! [`worker`] moves requests from the one over connections to the ledger and the meter.

mod hall;
mod timer;
mod worker;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::crowd::{Heard, User};
use crate::error::LoadError;
use crate::ledger::Ledger;
use crate::meter::{Interval, Meter, OnSecond, SeriesPoint};
use crate::op::{Catalogue, Planned};
use crate::port::Port;
use crate::schedule::{Arrivals, Curve, Rate, Shape};

pub(crate) use hall::{Arrival, LIVE_USERS_MAX, Step};
use timer::Timer;
use worker::{Desk, Worker};

/// Most connections of one run.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Most generator threads.
pub const THREADS_MAX: usize = 64;
/// Most requests that one connection has under way at once.
pub const PIPELINE_MAX: usize = 256;
/// Longest run.
pub const SECONDS_MAX: u64 = 86_400;
/// Lag from which on a run that keeps up with its schedule is limited by the generator.
pub const LAG_P99_MAX: Duration = Duration::from_millis(5);
/// How often progress is told.
const TICK: Duration = Duration::from_millis(500);
/// Age from which on a second is complete: no thread is later with its part.
const SECOND_AGE: Duration = Duration::from_secs(3);

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

/// Who comes when, and what each does next.
pub(crate) trait Plan: Send + Sync {
    /// Returns the next user, or `None` when nobody comes any more; `now` counts from the start of
    /// the run.
    fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError>;

    /// Returns what a user does after the answers to its last step, or `None` when it leaves.
    fn next(&self, user: &mut User, asked: &[Rc<Planned>], heard: &[Heard]) -> Option<Step>;

    /// Returns when everybody who is still there is sent home; `None` waits for all.
    fn leave_by(&self) -> Option<Duration> {
        None
    }

    /// Returns the stage of a time.
    fn stage_at(&self, _: Duration) -> u8 {
        0
    }
}

/// Numbers users and gives them start times until the time is over.
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
    /// Makes the pacer of one rate.
    pub(crate) fn new(pace: Pace, seed: u64, end: Option<Duration>, grace: Duration) -> Self {
        let arrivals = match pace {
            Pace::Open { rate, shape } => {
                Some(Arrivals::new(Arc::new(Curve::hold(rate, end)), shape, seed))
            }
            Pace::Max => None,
        };
        Self::of_arrivals(arrivals, end, grace)
    }

    /// Makes the pacer of a schedule; `None` is the closed loop.
    pub(crate) fn of_arrivals(
        arrivals: Option<Arrivals>,
        end: Option<Duration>,
        grace: Duration,
    ) -> Self {
        Self { state: Mutex::new(PacerState { arrivals, slot: 0 }), end, grace }
    }

    /// Returns the next number with its start.
    pub(crate) fn next(&self, now: Duration) -> Option<(u64, Option<Duration>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.end.is_some_and(|end| now >= end + self.grace) {
            return None;
        }
        let start = match &mut state.arrivals {
            None if self.end.is_some_and(|end| now >= end) => return None,
            None => None,
            Some(arrivals) => Some(arrivals.next_start()?),
        };
        let slot = state.slot;
        state.slot += 1;
        Some((slot, start))
    }

    /// Returns how many users of the schedule were left when the run was over.
    pub(crate) fn left(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.arrivals, self.end) {
            (Some(arrivals), Some(_)) => arrivals.left(),
            _ => 0,
        }
    }
}

/// How a run is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    pub(crate) threads: usize,
    /// Requests that a connection sends together: items of its batches times its pipeline.
    pub(crate) group: usize,
    /// Most users who are in at once.
    pub(crate) live_max: usize,
    /// Rows of each kind that the ledgers of all threads keep in memory together.
    pub(crate) ledger_rows: usize,
}

/// Counts that a run shows while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) users: AtomicU64,
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
    /// Connections made again after one broke.
    pub(crate) reconnects: u64,
    /// Connections made because a user wanted one of its own.
    pub(crate) renewals: u64,
    /// Arrivals and positions of the first orders, for the rank correlation.
    pub(crate) ranks: Vec<(u64, u64)>,
    /// Users who came and orders they got, by role.
    pub(crate) came_by: Vec<u64>,
    pub(crate) orders_by: Vec<u64>,
    pub(crate) elapsed: Duration,
    /// Share of one core that each generator thread used, summed; `None` where unknown.
    pub(crate) generator_cpu: Option<f64>,
}

/// What a thread leaves behind: its desk, and the share of a core that it used.
type Ended = Result<(Desk, Option<f64>), LoadError>;

/// What a thread tells while it drives, and at its end.
enum Told {
    Second(Box<Interval>),
    End(Box<Ended>),
}

/// What a drive needs beside its connections.
pub(crate) struct Course<'a> {
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) counters: Arc<Counters>,
    /// Called about twice a second on the calling thread.
    pub(crate) tick: &'a mut dyn FnMut(Duration, Option<&SeriesPoint>),
    /// Takes every complete second.
    pub(crate) on_second: Option<&'a mut dyn OnSecond>,
}

/// Runs the users until the plan has no more, something fails or `counters.stop` is set.
pub(crate) fn run(drive: Drive, ports: Vec<Port>, course: Course<'_>) -> Result<Driven, LoadError> {
    let started = Instant::now();
    let shares = deal(ports, drive.threads);
    let count = shares.len();
    let timer = Arc::new(Timer::new(count, started));
    let stop = || course.counters.stop.load(Ordering::Relaxed);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| timer.serve(stop));
        for (thread, share) in shares.into_iter().enumerate() {
            let worker = Worker {
                drive,
                threads: count,
                thread,
                plan: Arc::clone(&course.plan),
                catalogue: Arc::clone(&course.catalogue),
                counters: Arc::clone(&course.counters),
                timer: Arc::clone(&timer),
                started,
                sender: sender.clone(),
            };
            scope.spawn(move || worker.run(share));
        }
        let mut gather = Gather { on_second: course.on_second, ..Gather::default() };
        gather.driven.ledger = Ledger::new(drive.ledger_rows);
        let mut told_at = started;
        while gather.ended < count {
            match receiver.recv_timeout(TICK) {
                Ok(Told::Second(interval)) => gather.take_second(*interval),
                Ok(Told::End(ended)) => match *ended {
                    Ok((desk, cpu)) => gather.take_end(desk, cpu),
                    Err(error) => {
                        gather.ended += 1;
                        gather.failed = gather.failed.or(Some(error));
                        course.counters.stop.store(true, Ordering::Relaxed);
                    }
                },
                Err(_) => (),
            }
            if told_at.elapsed() >= TICK {
                told_at = Instant::now();
                gather.complete(started.elapsed().saturating_sub(SECOND_AGE).as_secs());
                (course.tick)(started.elapsed(), gather.driven.meter.series.last());
            }
        }
        timer.close();
        gather.complete(u64::MAX);
        gather.driven.elapsed = started.elapsed();
        gather.failed.map_or(Ok(gather.driven), Err)
    })
}

/// Gathers what the threads tell.
#[derive(Default)]
struct Gather<'a> {
    driven: Driven,
    /// Seconds that are not complete yet.
    open: std::collections::BTreeMap<u64, Interval>,
    /// Seconds before this one are complete.
    completed: u64,
    on_second: Option<&'a mut dyn OnSecond>,
    failed: Option<LoadError>,
    ended: usize,
}

impl Gather<'_> {
    fn take_second(&mut self, mut interval: Interval) {
        // What comes too late for its second counts in the first one that is open.
        interval.second = interval.second.max(self.completed);
        let second = interval.second;
        let entry = self.open.entry(second).or_default();
        entry.second = second;
        entry.merge(interval);
    }

    fn take_end(&mut self, mut desk: Desk, cpu: Option<f64>) {
        self.ended += 1;
        self.take_second(std::mem::take(&mut desk.open));
        let merged = self.driven.ledger.merge(desk.ledger);
        self.failed = self.failed.take().or(merged.err());
        self.driven.meter.lag.merge(&desk.lag);
        self.driven.meter.late += desk.late;
        self.driven.meter.backlogged += desk.backlogged;
        self.driven.reconnects += desk.reconnects;
        self.driven.renewals += desk.renewals;
        self.driven.ranks.extend(desk.ranks);
        for (sums, parts) in
            [(&mut self.driven.came_by, desk.came_by), (&mut self.driven.orders_by, desk.orders_by)]
        {
            sums.resize(sums.len().max(parts.len()), 0);
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        self.driven.generator_cpu = match (self.driven.generator_cpu, cpu) {
            (Some(sum), Some(cpu)) => Some(sum + cpu),
            (sum, cpu) => sum.or(cpu),
        };
    }

    /// Takes the seconds before this one as complete, gaps included.
    fn complete(&mut self, before: u64) {
        while let Some((second, _)) = self.open.first_key_value() {
            let second = *second;
            if second >= before {
                break;
            }
            let gap = self.completed..second;
            for second in gap {
                self.finish(&Interval { second, ..Interval::default() });
            }
            if let Some(interval) = self.open.remove(&second) {
                self.finish(&interval);
            }
            self.completed = second + 1;
        }
    }

    fn finish(&mut self, interval: &Interval) {
        self.driven.meter.take(interval);
        if let Some(on_second) = &mut self.on_second {
            on_second.second(interval);
        }
    }
}

/// Deals connections to threads.
fn deal(ports: Vec<Port>, threads: usize) -> Vec<Vec<Port>> {
    let threads = threads.clamp(1, ports.len().max(1));
    let mut shares: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    for (number, port) in ports.into_iter().enumerate() {
        shares[number % threads].push(port);
    }
    shares
}

/// Makes a runtime for one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| LoadError::target(format!("no event loop could be made: {e}")))
}
