//! One generator thread: its connections take what is due, send it, and enter the answers.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::hall::{Hall, Ready};
use super::{
    BACKLOG_SHARE_MAX, Counters, Drive, GENERATOR_CPU_MAX, LAG_P99_MAX, OnPanic, Plan, Told,
    runtime,
};
use crate::crowd::{Connections, Heard};
use crate::error::LoadError;
use crate::ledger::{LOST_MAX, Ledger};
use crate::machine::ThreadTime;
use crate::meter::{DialTimes, Group, Interval, Times};
use crate::op::{Answer, Catalogue, Loss, Op, OpKind, Outcome, Planned};
use crate::port::Port;
use crate::scenario::ACTORS_MAX;

/// Most pairs of arrival and position that one thread keeps for the rank correlation.
const RANKS_MAX: usize = 65_536;

/// Pause of a connection that could not be made.
const AWAY_PAUSE: Duration = Duration::from_millis(20);

/// One generator thread.
pub(super) struct Worker {
    pub(super) drive: Drive,
    pub(super) threads: usize,
    pub(super) thread: usize,
    pub(super) plan: Arc<dyn Plan>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) counters: Arc<Counters>,
    pub(super) timer: Arc<super::Timer>,
    pub(super) started: Instant,
    pub(super) sender: Sender<Told>,
}

/// What the connections of one thread share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) ledger: Ledger,
    pub(super) open: Interval,
    pub(super) lag: Times,
    pub(super) late: u64,
    pub(super) backlogged: u64,
    pub(super) reconnects: u64,
    pub(super) renewals: u64,
    pub(super) dials: DialTimes,
    pub(super) ranks: Vec<(u64, u64)>,
    /// Users who were read from the schedule and never let in.
    pub(super) never_let_in: u64,
    /// Seconds in which this thread was at its limit while requests started late.
    pub(super) saturated: u64,
    /// Requests of this second that started late because every connection was waiting.
    backlog: u64,
    /// When this second began, and what the thread had done with its time by then.
    second_began: Option<(Duration, ThreadTime)>,
    /// Users who came and orders they got, by role.
    pub(super) came_by: Vec<u64>,
    pub(super) orders_by: Vec<u64>,
}

/// The state of one thread.
struct Room {
    hall: Hall,
    desk: Desk,
    /// Connections that wait for something to be due; the last one is the first to go.
    idle: Vec<usize>,
    /// Connections at work.
    busy: usize,
    /// Since when every connection is at work without a pause.
    full_since: Option<Duration>,
    closed: bool,
    error: Option<LoadError>,
}

/// What the dispatcher does next.
enum Look {
    /// Everybody has come and gone.
    Over,
    /// A connection was woken; it must be let run.
    Woken,
    /// Nothing can be done before this time, or before the bell rings.
    Wait(Option<Duration>),
}

/// A thread's room with the bells of its connections.
struct Shared {
    room: RefCell<Room>,
    bells: Vec<Notify>,
}

impl Worker {
    /// Drives this thread's connections and tells what came of it.
    pub(super) fn run(self, ports: Vec<Port>) {
        let worker = Rc::new(self);
        // Whoever waits for this thread must hear of its end, whatever ends it.
        let driven = catch_unwind(AssertUnwindSafe(|| worker.drive(ports)));
        let result = driven.unwrap_or_else(|_| Err(panicked()));
        // The receiver waits for every thread, so sending can't fail.
        drop(worker.sender.send(Told::End(Box::new(result))));
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn stopped(&self) -> bool {
        self.counters.stop.load(Ordering::Relaxed)
    }

    fn drive(self: &Rc<Self>, ports: Vec<Port>) -> Result<(Desk, Option<f64>), LoadError> {
        let runtime = runtime()?;
        let before = ThreadTime::of_caller();
        let live_max = self.drive.live_max.div_ceil(self.threads);
        let rows = (self.drive.ledger_rows / self.threads).max(1);
        let orders_by = vec![0; ACTORS_MAX];
        let mut desk = Desk { ledger: Ledger::new(rows), orders_by, ..Desk::default() };
        desk.ledger.lost_max = LOST_MAX / self.threads;
        desk.ledger.keeps_rows = self.drive.truth;
        let room = Room {
            hall: Hall::new(Arc::clone(&self.plan), self.drive.group, live_max),
            desk,
            idle: Vec::with_capacity(ports.len()),
            busy: 0,
            full_since: None,
            closed: false,
            error: None,
        };
        let bells = ports.iter().map(|_| Notify::new()).collect();
        let shared = Rc::new(Shared { room: RefCell::new(room), bells });
        // Local tasks: nothing is sent between threads, nothing of a room is locked.
        let tasks = tokio::task::LocalSet::new();
        for (number, port) in ports.into_iter().enumerate() {
            let (worker, shared) = (Rc::clone(self), Rc::clone(&shared));
            tasks.spawn_local(async move { worker.connection(number, port, &shared).await });
        }
        runtime.block_on(tasks.run_until(self.dispatch(&shared)));
        runtime.block_on(tasks);
        let after = ThreadTime::of_caller();
        let used = after.zip(before).map(|(after, before)| after.since(before).ran);
        let share = used.map(|used| used.as_secs_f64() / self.now().as_secs_f64().max(1e-9));
        let mut room = shared.room.borrow_mut();
        if let Some(error) = room.error.take() {
            return Err(error);
        }
        room.desk.came_by = room.hall.take_came_by();
        room.desk.never_let_in = room.hall.never_let_in();
        Ok((std::mem::take(&mut room.desk), share))
    }

    /// Wakes idle connections when something is due, until everybody has come and gone.
    async fn dispatch(&self, shared: &Shared) {
        loop {
            let look = self.look(&mut shared.room.borrow_mut(), shared);
            let due = match look {
                Look::Over => return,
                Look::Woken => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Look::Wait(due) => due,
            };
            if let Some(at) = due {
                self.timer.set(self.thread, at);
            }
            self.timer.wait(self.thread).await;
        }
    }

    /// Looks what is due and wakes a connection for it.
    fn look(&self, room: &mut Room, shared: &Shared) -> Look {
        let now = self.now();
        let due = room.hall.next_due(now);
        let due = due.unwrap_or_else(|error| room.fail(error));
        if room.hall.is_over() || room.error.is_some() || self.stopped() {
            room.closed = true;
            shared.bells.iter().for_each(Notify::notify_one);
            return Look::Over;
        }
        self.turn_page(&mut room.desk, now);
        match due {
            Some(at) if at <= now => match room.idle.pop() {
                Some(idle) => {
                    shared.bells[idle].notify_one();
                    Look::Woken
                }
                // With every connection at work the next one that is free helps itself.
                None => Look::Wait(None),
            },
            due => Look::Wait(due),
        }
    }

    async fn connection(&self, number: usize, mut port: Port, shared: &Shared) {
        // Whatever a user's step does, the dispatcher must hear of the end.
        let _panics = OnPanic(|| {
            if let Ok(mut room) = shared.room.try_borrow_mut() {
                room.fail(panicked());
            }
            self.timer.ring(self.thread);
        });
        if let Err(error) = self.serve(number, &mut port, shared).await {
            shared.room.borrow_mut().fail(error);
        }
        let mut room = shared.room.borrow_mut();
        room.desk.reconnects += port.reconnects();
        room.desk.renewals += port.renewals();
        self.timer.ring(self.thread);
    }

    /// Takes what is due, sends it, and enters the answers, again and again.
    async fn serve(
        &self,
        number: usize,
        port: &mut Port,
        shared: &Shared,
    ) -> Result<(), LoadError> {
        let mut group = Vec::with_capacity(self.drive.group);
        let mut working = false;
        loop {
            group.clear();
            {
                let mut room = shared.room.borrow_mut();
                if room.closed || room.error.is_some() || self.stopped() {
                    return Ok(());
                }
                let now = self.now();
                room.hall.take(now, &mut group)?;
                room.note_work(now, working, !group.is_empty(), shared.bells.len());
                working = !group.is_empty();
                if working {
                    self.note_starts(&mut room, &group, now);
                } else {
                    room.idle.push(number);
                    // The dispatcher looks again: this may have been the last user's last answer.
                    self.timer.ring(self.thread);
                }
            }
            if working {
                self.exchange(port, &group, shared).await?;
            } else {
                shared.bells[number].notified().await;
            }
        }
    }

    /// Notes how late the requests of a group start, and whose fault it is; `taken` is when they
    /// were taken.
    ///
    /// The part of the wait in which a connection was idle is the generator's fault; the part in
    /// which every connection waited for an answer is the target's.
    fn note_starts(&self, room: &mut Room, group: &[Ready], taken: Duration) {
        let now = self.now();
        let came = room.hall.take_came();
        self.counters.users.fetch_add(came, Ordering::Relaxed);
        self.turn_page(&mut room.desk, now);
        room.desk.open.counts.users += came;
        // A group starts when its last request is due.
        let Some(due) = group.iter().filter_map(|ready| ready.due).max() else { return };
        let count = group.len() as u64;
        let Some(lag) = own_lag(due, now, taken, room.full_since) else {
            room.desk.backlogged += count;
            room.desk.backlog += count;
            return;
        };
        room.desk.lag.record_n(lag, count);
        if lag > LAG_P99_MAX {
            room.desk.late += count;
            room.desk.open.counts.late += count;
        }
    }

    /// Sends a group and enters its outcomes.
    async fn exchange(
        &self,
        port: &mut Port,
        group: &[Ready],
        shared: &Shared,
    ) -> Result<(), LoadError> {
        let requests: Vec<Rc<Planned>> = {
            let room = shared.room.borrow();
            for ready in group {
                let Some((_, user)) = room.hall.request(*ready) else { continue };
                match user.connections() {
                    Connections::PerUser if room.hall.is_first(*ready) => port.renew(),
                    Connections::PerUser => port.set_close(false),
                    Connections::KeepAlive => port.keep(),
                    Connections::PerRequest => port.set_close(true),
                }
            }
            let requests = group.iter().filter_map(|ready| room.hall.request(*ready));
            requests.map(|(planned, _)| Rc::clone(planned)).collect()
        };
        let ops: Vec<&Op> = requests.iter().map(|planned| &planned.op).collect();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(ops.len());
        let after = self.counters.seq.load(Ordering::Relaxed);
        self.counters.sent.fetch_add(ops.len() as u64, Ordering::Relaxed);
        let sent = self.now();
        {
            let mut room = shared.room.borrow_mut();
            self.turn_page(&mut room.desk, sent);
            room.desk.open.counts.sent += ops.len() as u64;
        }
        port.exchange(&ops, &mut outcomes).await;
        {
            let mut room = shared.room.borrow_mut();
            let room = &mut *room;
            port.take_dials().into_iter().for_each(|dial| room.desk.dials.record(dial));
            let mut tally = Tally::default();
            for (ready, outcome) in group.iter().zip(&outcomes) {
                self.enter(room, &mut tally, (*ready, outcome), after, sent)?;
            }
            self.count(&tally);
            // A step that is due before what the dispatcher waits for must be seen by it.
            if !room.idle.is_empty() {
                self.timer.ring(self.thread);
            }
        }
        // A host that is away is not asked as fast as it can refuse.
        if outcomes.iter().any(|outcome| matches!(outcome, Err(Loss::Unreachable))) {
            tokio::time::sleep(AWAY_PAUSE).await;
        }
        Ok(())
    }

    fn enter(
        &self,
        room: &mut Room,
        tally: &mut Tally,
        (ready, outcome): (Ready, &Outcome),
        after: u64,
        sent: Duration,
    ) -> Result<(), LoadError> {
        let Room { hall, desk, .. } = room;
        let Some((planned, user)) = hall.request(ready) else { return Ok(()) };
        let kind = planned.op.kind;
        let done = match outcome {
            Ok(answer) => {
                let done = answer.done.saturating_duration_since(self.started);
                self.turn_page(desk, done);
                let due = ready.due.unwrap_or(sent);
                let group = Group {
                    stage: self.plan.stage_at(due),
                    actor: user.actor(),
                    op: kind,
                    accepted: answer.is_success(),
                };
                let (intended, service) = (done.saturating_sub(due), done.saturating_sub(sent));
                desk.open.record(group, intended, service);
                if answer.code == "sold_out" {
                    desk.open.counts.sold_out += 1;
                } else if answer.code == "limit_reached" {
                    desk.open.counts.limited += 1;
                }
                let first = answer.is_success() && !answer.replayed;
                if first && matches!(kind, OpKind::Buy | OpKind::Place) {
                    desk.orders_by[usize::from(user.actor())] += 1;
                }
                let made = kind.makes_order() && first;
                if made && desk.ranks.len() < RANKS_MAX {
                    desk.ranks.push((due.as_nanos() as u64, answer.seq));
                }
                done
            }
            Err(_) => {
                let done = self.now();
                self.turn_page(desk, done);
                desk.open.counts.lost += 1;
                done
            }
        };
        tally.note(kind.makes_order(), outcome);
        desk.ledger.enter(planned, outcome, after, &self.catalogue)?;
        hall.answered(ready, heard(outcome), done);
        Ok(())
    }

    /// Adds what a group counted.
    fn count(&self, tally: &Tally) {
        for (counter, count) in [
            (&self.counters.accepted, tally.accepted),
            (&self.counters.refused, tally.refused),
            (&self.counters.lost, tally.lost),
        ] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
        self.counters.seq.fetch_max(tally.seq, Ordering::Relaxed);
    }

    /// Notes whether this thread was at its limit in the second that is over.
    fn note_limit(desk: &mut Desk, sent: u64, now: Duration) {
        let backlog = std::mem::take(&mut desk.backlog) as f64 / sent.max(1) as f64;
        let Some(time) = ThreadTime::of_caller() else { return };
        if let Some((began, before)) = desk.second_began.replace((now, time)) {
            // On processors that are shared with the target, a thread may be at its limit by
            // waiting for one.
            let ThreadTime { ran, waited } = time.since(before);
            let share =
                (ran + waited).as_secs_f64() / now.saturating_sub(began).as_secs_f64().max(1e-9);
            let at_limit = share > GENERATOR_CPU_MAX && backlog > BACKLOG_SHARE_MAX;
            desk.saturated += u64::from(at_limit);
        }
    }

    /// Begins a new second where it has begun, and sends the old one off.
    fn turn_page(&self, desk: &mut Desk, now: Duration) {
        let second = now.as_secs();
        if second <= desk.open.second {
            return;
        }
        let fresh = Interval { second, ..Interval::default() };
        let full = std::mem::replace(&mut desk.open, fresh);
        Self::note_limit(desk, full.counts.sent, now);
        // The receiver waits for every thread, so sending can't fail.
        drop(self.sender.send(Told::Second(Box::new(full))));
    }
}

fn panicked() -> LoadError {
    LoadError::input("a thread of the generator panicked: this is a bug of it")
}

/// What a group of requests counted.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    lost: u64,
    seq: u64,
}

impl Tally {
    fn note(&mut self, makes: bool, outcome: &Outcome) {
        match outcome {
            Ok(answer) => {
                self.seq = self.seq.max(answer.seq);
                self.accepted += u64::from(answer.is_success() && makes && !answer.replayed);
                self.refused += u64::from(!answer.is_success());
            }
            Err(_) => self.lost += 1,
        }
    }
}

impl Room {
    /// Notes that a connection goes on or off work; `all` is how many there are.
    fn note_work(&mut self, now: Duration, was: bool, is: bool, all: usize) {
        match (was, is) {
            (false, true) => {
                self.busy += 1;
                if self.busy == all {
                    self.full_since = Some(now);
                }
            }
            (true, false) => {
                self.busy -= 1;
                self.full_since = None;
            }
            _ => (),
        }
    }

    /// Keeps the first error; returns nothing to wait for.
    fn fail(&mut self, error: LoadError) -> Option<Duration> {
        self.error = self.error.take().or(Some(error));
        None
    }
}

fn heard(outcome: &Outcome) -> Heard {
    match outcome {
        Ok(Answer { code, order, .. }) => Heard { code, order: *order, lost: false },
        Err(_) => Heard { code: "", order: None, lost: true },
    }
}

/// Returns how late requests start by the generator's own fault: from when they were due to when
/// every connection was at work. `None` if they waited for a free connection and hardly for anything
/// else; `taken` is when they were taken, `now` when they start.
fn own_lag(
    due: Duration,
    now: Duration,
    taken: Duration,
    full_since: Option<Duration>,
) -> Option<Duration> {
    // The connection that takes them may have been the last idle one.
    let waited = full_since.filter(|since| *since < taken);
    let lag = waited.unwrap_or(now).saturating_sub(due);
    (waited.is_none() || lag > LAG_P99_MAX).then_some(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose fault a late start is: that of the generator as long as a connection was idle, and that
    /// of the target from then on.
    #[test]
    fn a_late_start_is_blamed_on_whom_it_waited_for() {
        let check = |due: u64, taken: u64, full_since: Option<u64>, lag: Option<u64>| {
            let millis = Duration::from_millis;
            let found = own_lag(millis(due), millis(taken), millis(taken), full_since.map(millis));
            assert_eq!(found, lag.map(millis), "{due} {taken} {full_since:?}");
        };
        // Nobody is at work, or the last idle connection takes it.
        check(100, 107, None, Some(7));
        check(100, 107, Some(107), Some(7));
        // All were at work before it was due.
        check(100, 180, Some(90), None);
        check(100, 180, Some(100), None);
        // A burst: the first requests of it took all connections a moment later.
        check(100, 180, Some(101), None);
        // The generator slept, and then the rest had to wait as well.
        check(100, 180, Some(130), Some(30));
    }
}
