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
use std::time::{Duration, Instant, SystemTime};

use crate::crowd::{Heard, User};
use crate::error::LoadError;
use crate::ledger::Ledger;
use crate::meter::{Interval, Meter, OnSecond, SeriesPoint};
use crate::op::{Catalogue, Planned};
use crate::port::Port;
use crate::results::run::WorkerFacts;
use crate::schedule::Arrivals;

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
/// Share of a thread's processor time from which on it counts as saturated.
pub(crate) const GENERATOR_CPU_MAX: f64 = 0.95;
/// Share of requests sent late through a backlog that a saturated generator is blamed for.
pub(crate) const BACKLOG_SHARE_MAX: f64 = 0.01;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(500);
/// Age from which on a second is complete: no thread is later with its part.
const SECOND_AGE: Duration = Duration::from_secs(3);

/// Who comes when, and what each does next.
pub(crate) trait Plan: Send + Sync {
    /// Returns the next user, or `None` when nobody comes any more; `now` counts from the start of
    /// the run.
    fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError>;

    /// Returns what a user does after the answers to its last step, which were complete at `now`,
    /// or `None` when it leaves.
    fn next(
        &self,
        user: &mut User,
        asked: &[Rc<Planned>],
        heard: &[Heard],
        now: Duration,
    ) -> Option<Step>;

    /// Returns when everybody who is still there is sent home; `None` waits for all.
    fn leave_by(&self) -> Option<Duration> {
        None
    }

    /// Returns the stage of a time.
    fn stage_at(&self, _: Duration) -> u8 {
        0
    }
}

/// A part of the crowd: user `n` belongs to the share with the index `n mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) index: u64,
    /// Shares in all, at least 1.
    pub(crate) count: u64,
}

impl Share {
    /// The whole crowd.
    pub(crate) const ALL: Self = Self { index: 0, count: 1 };

    /// Returns this share of a number of things, at least one: the first shares take what is left
    /// over.
    pub(crate) fn of(self, things: usize) -> usize {
        let (things, count) = (things as u64, self.count.max(1));
        let extra = u64::from(self.index < things % count);
        ((things / count + extra) as usize).max(1)
    }
}

/// Numbers users and gives them start times until the time is over.
#[derive(Debug)]
pub(crate) struct Pacer {
    state: Mutex<PacerState>,
    share: Share,
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
    /// Makes the pacer of a schedule; `None` is the closed loop.
    pub(crate) fn of_arrivals(
        arrivals: Option<Arrivals>,
        end: Option<Duration>,
        grace: Duration,
    ) -> Self {
        Self { state: Mutex::new(PacerState { arrivals, slot: 0 }), share: Share::ALL, end, grace }
    }

    /// Gives out the users of one share only, with the numbers and the starts that they have in the
    /// whole crowd.
    pub(crate) fn of_share(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// Returns the next number with its start.
    pub(crate) fn next(&self, now: Duration) -> Option<(u64, Option<Duration>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.end.is_some_and(|end| now >= end + self.grace) {
            return None;
        }
        loop {
            let start = match &mut state.arrivals {
                None if self.end.is_some_and(|end| now >= end) => return None,
                None => None,
                Some(arrivals) => Some(arrivals.next_start()?),
            };
            let slot = state.slot;
            state.slot += 1;
            if slot % self.share.count == self.share.index {
                return Some((slot, start));
            }
        }
    }

    /// Returns how many users of the schedule were left when the run was over.
    pub(crate) fn left(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.arrivals, self.end) {
            (Some(arrivals), Some(_)) => {
                // Of the slots from here on, those of this share.
                let Share { index, count } = self.share;
                let until = |slot: u64| slot.saturating_sub(index).div_ceil(count);
                until(state.slot + arrivals.left()) - until(state.slot)
            }
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
    /// Whether what the buyers are told is kept for the truth.
    pub(crate) truth: bool,
    /// When it starts; `None` is at once.
    pub(crate) start: Option<Instant>,
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
    /// When it started by the clock of this machine; `None` if it never did.
    pub(crate) started: Option<SystemTime>,
    /// Users who were read from the schedule and never let in.
    pub(crate) never_let_in: u64,
    /// Seconds in which a thread was at its limit while requests started late.
    pub(crate) saturated: u64,
    /// Threads that drove.
    pub(crate) threads: usize,
    /// Users of the schedule who were left when others than this process drove.
    pub(crate) left: Option<u64>,
    /// The workers that drove, where this process did not.
    pub(crate) workers: Vec<WorkerFacts>,
    /// Share of one core that each generator thread used, summed; `None` where unknown.
    pub(crate) generator_cpu: Option<f64>,
}

impl Driven {
    /// Adds what one thread or worker counted.
    pub(crate) fn add_counts(&mut self, came_by: &[u64], orders_by: &[u64], cpu: Option<f64>) {
        for (sums, parts) in [(&mut self.came_by, came_by), (&mut self.orders_by, orders_by)] {
            sums.resize(sums.len().max(parts.len()), 0);
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        self.generator_cpu = match (self.generator_cpu, cpu) {
            (Some(sum), Some(cpu)) => Some(sum + cpu),
            (sum, cpu) => sum.or(cpu),
        };
    }
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
    if let Some(start) = drive.start {
        std::thread::sleep(start.saturating_duration_since(Instant::now()));
    }
    let started = drive.start.unwrap_or_else(Instant::now);
    let wall = SystemTime::now();
    let shares = deal(ports, drive.threads);
    let count = shares.len();
    let timer = Arc::new(Timer::new(count, started));
    let stop = || course.counters.stop.load(Ordering::Relaxed);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // The scope waits for its threads, also when this one ends badly.
        let _panics = OnPanic(|| {
            course.counters.stop.store(true, Ordering::Relaxed);
            timer.close();
        });
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
        let mut gather = Gather::new(drive.ledger_rows, course.on_second);
        gather.driven.started = wall.checked_sub(started.elapsed());
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

impl<'a> Gather<'a> {
    /// Begins to gather; rows of each kind beyond `ledger_rows` go to disk.
    pub(crate) fn new(ledger_rows: usize, on_second: Option<&'a mut dyn OnSecond>) -> Self {
        let driven = Driven { ledger: Ledger::new(ledger_rows), ..Driven::default() };
        Self { driven, on_second, ..Self::default() }
    }
}

/// Gathers what the threads tell.
#[derive(Default)]
pub(crate) struct Gather<'a> {
    pub(crate) driven: Driven,
    /// Seconds that are not complete yet.
    open: std::collections::BTreeMap<u64, Interval>,
    /// Seconds before this one are complete.
    completed: u64,
    on_second: Option<&'a mut dyn OnSecond>,
    failed: Option<LoadError>,
    ended: usize,
}

impl Gather<'_> {
    /// Takes a part of a second.
    pub(crate) fn take_second(&mut self, mut interval: Interval) {
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
        self.driven.meter.dials.merge(&desk.dials);
        self.driven.meter.backlogged += desk.backlogged;
        self.driven.never_let_in += desk.never_let_in;
        self.driven.saturated += desk.saturated;
        self.driven.threads += 1;
        self.driven.reconnects += desk.reconnects;
        self.driven.renewals += desk.renewals;
        self.driven.ranks.extend(desk.ranks);
        self.driven.add_counts(&desk.came_by, &desk.orders_by, cpu);
    }

    /// Takes the seconds before this one as complete, gaps included.
    pub(crate) fn complete(&mut self, before: u64) {
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

/// Does something when the thread that holds it panics.
pub(crate) struct OnPanic<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Authority;
    use crate::load::{GRACE, LoadOptions, Target};
    use crate::op::{Op, OpKind};
    use crate::schedule::{Curve, Form, Shape};

    /// A crowd that panics, at the door or at the second step of a user.
    struct Trap {
        at_the_door: bool,
    }

    impl Plan for Trap {
        fn arrive(&self, _: Duration) -> Result<Option<Arrival>, LoadError> {
            assert!(!self.at_the_door, "a trap for the test");
            let op = Op::follow_up(OpKind::Buy, "k".into(), 0);
            let step = Step { after: Duration::ZERO, asks: vec![Planned { intent: 0, op }] };
            Ok(Some(Arrival { start: None, user: User::passer(0), step }))
        }

        fn next(&self, _: &mut User, _: &[Rc<Planned>], _: &[Heard], _: Duration) -> Option<Step> {
            panic!("a trap for the test")
        }
    }

    /// Drives a plan by two threads against a port where nobody listens: each request is lost.
    fn drive(
        plan: Arc<dyn Plan>,
        tick: &mut dyn FnMut(Duration, Option<&SeriesPoint>),
    ) -> Result<Driven, LoadError> {
        let target = Authority::parse("http://127.0.0.1:1").expect("an address");
        let catalogue = Arc::new(Catalogue::default());
        let options = LoadOptions::new(Target::Http(target));
        let ports = options.ports(&catalogue, 2).expect("nothing to be wrong");
        let (threads, group, live_max, ledger_rows) = (2, 1, 9, 9);
        let drive = Drive { threads, group, live_max, ledger_rows, truth: false, start: None };
        let counters = Arc::default();
        run(drive, ports, Course { plan, catalogue, counters, tick, on_second: None })
    }

    /// A panic ends the run with an error, wherever in a thread it comes; nobody waits for ever.
    #[test]
    fn a_panic_ends_the_run() {
        for at_the_door in [true, false] {
            let driven = drive(Arc::new(Trap { at_the_door }), &mut |_, _| ());
            let error = driven.expect_err("it panicked").to_string();
            assert!(error.contains("a thread of the generator panicked"), "{error}");
        }
    }

    /// A panic of whoever watches the run ends its threads too.
    #[test]
    fn a_panic_of_the_view_ends_the_run() {
        let curve = Arc::new(Curve::new([(Form::Hold { rate: 1.0 }, 3_600.0)]));
        let arrivals = Arrivals::new(curve, Shape::Poisson, 7);
        let guests = Guests(Pacer::of_arrivals(Some(arrivals), None, GRACE));
        let driven = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drive(Arc::new(guests), &mut |_, _| panic!("a trap for the test"))
        }));
        assert!(driven.is_err());
    }

    /// Users who come by a schedule, ask once, and leave.
    struct Guests(Pacer);

    impl Plan for Guests {
        fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError> {
            let op = Op::follow_up(OpKind::Buy, "k".into(), 0);
            let step = Step { after: Duration::ZERO, asks: vec![Planned { intent: 0, op }] };
            let arrival = |(number, start)| Arrival { start, user: User::passer(number), step };
            Ok(self.0.next(now).map(arrival))
        }

        fn next(&self, _: &mut User, _: &[Rc<Planned>], _: &[Heard], _: Duration) -> Option<Step> {
            None
        }
    }

    /// The shares of a crowd are the crowd: each user with its number and start in exactly one, and
    /// the counts of what is left add up at every moment.
    #[test]
    fn shares_add_up_to_the_crowd() {
        let curve = Arc::new(Curve::new([(Form::Hold { rate: 500.0 }, 2.0)]));
        let end = Some(Duration::from_secs(2));
        let all = |share: Share, most: usize| {
            let arrivals = Arrivals::new(Arc::clone(&curve), Shape::Poisson, 7);
            let pacer = Pacer::of_arrivals(Some(arrivals), end, GRACE).of_share(share);
            let next = || pacer.next(Duration::ZERO);
            let taken: Vec<_> = std::iter::from_fn(next).take(most).collect();
            (taken, pacer.left())
        };
        let (whole, none) = all(Share::ALL, usize::MAX);
        assert!(whole.len() > 800 && none == 0);
        for count in [1, 2, 3, 7] {
            let mut parts = Vec::new();
            for index in 0..count {
                let share = Share { index, count };
                let (part, left) = all(share, usize::MAX);
                assert!(part.iter().all(|(slot, _)| slot % count == index) && left == 0);
                let (some, left) = all(share, 10);
                assert_eq!(some.len() as u64 + left, part.len() as u64, "{share:?}");
                parts.extend(part);
            }
            parts.sort_unstable();
            assert_eq!(parts, whole, "{count}");
            let dealt: usize = (0..count).map(|index| Share { index, count }.of(64)).sum();
            assert_eq!(dealt, 64);
        }
        assert_eq!(Share { index: 1, count: 2 }.of(1), 1, "each has one connection at least");
    }
}
