//! Who is there and what is due: the users of one thread between their requests.
//!
//! A pure queue over given times: it knows no clock and no connection. Users come by their
//! schedule whatever the target does (open loop); each waits for its own answers (closed within a
//! user), and its next step is due a think time after them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Plan;
use crate::crowd::{Heard, User};
use crate::error::LoadError;
use crate::op::Planned;
use crate::scenario::ACTORS_MAX;

/// Most users of a run that are between their first request and their last.
pub(crate) const LIVE_USERS_MAX: usize = 200_000;

/// A step of a user: requests that are sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Time from the last answer.
    pub(crate) after: Duration,
    /// The requests, at least one.
    pub(crate) asks: Vec<Planned>,
}

/// A user at the door.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Intended start; `None` is at once (closed loop).
    pub(crate) start: Option<Duration>,
    /// The user.
    pub(crate) user: User,
    /// The first step.
    pub(crate) step: Step,
}

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    live: usize,
    ask: usize,
    /// When it was due; `None` is at once.
    pub(super) due: Option<Duration>,
}

#[derive(Debug)]
struct Live {
    user: User,
    asks: Vec<Rc<Planned>>,
    /// What was heard of each; one without an answer yet has its place.
    heard: Vec<Heard>,
    due: Option<Duration>,
    /// Whether it came by the schedule, so that its latency counts from when a step was due.
    scheduled: bool,
    /// Requests of the step without an answer.
    open: usize,
}

/// A request in the queue: by its time, then by its turn.
type Due = Reverse<(Duration, u64, usize, usize)>;

/// The users of one thread.
pub(super) struct Hall {
    plan: Arc<dyn Plan>,
    group: usize,
    live_max: usize,
    queue: BinaryHeap<Due>,
    lives: Vec<Option<Live>>,
    free: Vec<usize>,
    /// Lists of users who have left, for those who come.
    spare: Vec<(Vec<Rc<Planned>>, Vec<Heard>)>,
    live: usize,
    /// Users who are not due yet, in order; at most `group`.
    pending: VecDeque<Arrival>,
    no_more: bool,
    /// Whether it is time to leave for everybody.
    closed: bool,
    turn: u64,
    /// Users who came in since this was last asked.
    came: u64,
    /// Users who came in, by role.
    came_by: Vec<u64>,
    /// Users who were at the door when the doors were closed.
    sent_home: u64,
}

impl Hall {
    /// Opens the hall; `group` requests are sent together, `live_max` users are in at most.
    pub(super) fn new(plan: Arc<dyn Plan>, group: usize, live_max: usize) -> Self {
        Self {
            plan,
            group: group.max(1),
            live_max: live_max.max(1),
            queue: BinaryHeap::new(),
            lives: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            live: 0,
            pending: VecDeque::new(),
            no_more: false,
            closed: false,
            turn: 0,
            came: 0,
            came_by: vec![0; ACTORS_MAX],
            sent_home: 0,
        }
    }

    /// Returns whether everybody has come and gone.
    pub(super) fn is_over(&self) -> bool {
        self.no_more && self.live == 0 && self.pending.is_empty()
    }

    /// Returns how many users came in since the last call.
    pub(super) const fn take_came(&mut self) -> u64 {
        std::mem::replace(&mut self.came, 0)
    }

    /// Returns how many users came in, by role.
    pub(super) fn take_came_by(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.came_by)
    }

    /// Returns how many users were at the door and never let in.
    pub(super) fn never_let_in(&self) -> u64 {
        self.sent_home + self.pending.len() as u64
    }

    /// Reads ahead in the schedule, so that the next start is known.
    fn fill(&mut self, now: Duration) -> Result<(), LoadError> {
        while !self.no_more && self.pending.len() < self.group {
            match self.plan.arrive(now)? {
                Some(arrival) => self.pending.push_back(arrival),
                None => self.no_more = true,
            }
        }
        Ok(())
    }

    /// Returns when the group at the door starts: with its last user. `None` if nobody is there
    /// or the hall is full.
    fn door_opens(&self) -> Option<Duration> {
        let complete = self.pending.len() >= self.group || self.no_more;
        let last = self.pending.back().filter(|_| complete && self.live < self.live_max)?;
        Some(last.start.unwrap_or(Duration::ZERO))
    }

    /// Returns when the next request is due; it may be in the past.
    pub(super) fn next_due(&mut self, now: Duration) -> Result<Option<Duration>, LoadError> {
        self.fill(now)?;
        let queued = self.queue.peek().map(|Reverse((at, ..))| *at);
        // Once the doors are closed there is nothing to be done but to wait for answers.
        let inside = !self.closed && (self.live > 0 || !self.pending.is_empty());
        let leave_by = self.plan.leave_by().filter(|_| inside);
        Ok([queued, self.door_opens(), leave_by].into_iter().flatten().min())
    }

    /// Takes requests that are due, at most a group of them.
    pub(super) fn take(&mut self, now: Duration, out: &mut Vec<Ready>) -> Result<(), LoadError> {
        self.fill(now)?;
        if self.plan.leave_by().is_some_and(|end| now >= end) {
            self.close_doors();
        }
        let scheduled = self.pending.front().is_some_and(|arrival| arrival.start.is_some());
        if scheduled && self.door_opens().is_some_and(|at| at <= now) {
            // A group that has come together starts together.
            while let Some(arrival) = self.pending.pop_front_if(|_| self.live < self.live_max) {
                self.let_in(arrival, now);
            }
        }
        while out.len() < self.group {
            let due = self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= now);
            if due {
                let Some(Reverse((_, _, live, ask))) = self.queue.pop() else { break };
                let due = self.lives[live].as_ref().and_then(|live| live.due);
                out.push(Ready { live, ask, due });
                continue;
            }
            // Closed loop: the next user comes when nobody who is in has anything to ask.
            let free = |arrival: &mut Arrival| arrival.start.is_none() && self.live < self.live_max;
            let Some(arrival) = self.pending.pop_front_if(free) else { break };
            self.let_in(arrival, now);
        }
        Ok(())
    }

    fn let_in(&mut self, arrival: Arrival, now: Duration) {
        let Arrival { start, user, step } = arrival;
        let live = self.free.pop().unwrap_or_else(|| {
            self.lives.push(None);
            self.lives.len() - 1
        });
        self.live += 1;
        self.came += 1;
        if let Some(came) = self.came_by.get_mut(usize::from(user.role)) {
            *came += 1;
        }
        let scheduled = start.is_some();
        let (asks, heard) = self.spare.pop().unwrap_or_default();
        self.lives[live] = Some(Live { user, asks, heard, due: start, scheduled, open: 0 });
        self.enqueue(live, step, start.unwrap_or(now));
    }

    fn enqueue(&mut self, live: usize, step: Step, at: Duration) {
        let Some(entry) = self.lives[live].as_mut() else { return };
        entry.open = step.asks.len();
        entry.heard.clear();
        entry.heard.resize(step.asks.len(), Heard::default());
        entry.asks.clear();
        entry.asks.extend(step.asks.into_iter().map(Rc::new));
        for ask in 0..entry.open {
            self.turn += 1;
            self.queue.push(Reverse((at, self.turn, live, ask)));
        }
    }

    /// Returns a request that [`Hall::take`] gave, and its user.
    pub(super) fn request(&self, ready: Ready) -> Option<(&Rc<Planned>, &User)> {
        let live = self.lives.get(ready.live)?.as_ref()?;
        Some((live.asks.get(ready.ask)?, &live.user))
    }

    /// Returns whether this is the first request of a user's first step.
    pub(super) fn is_first(&self, ready: Ready) -> bool {
        let live = self.lives.get(ready.live).and_then(Option::as_ref);
        ready.ask == 0 && live.is_some_and(|live| live.user.is_new())
    }

    /// Tells a user what was answered; its next step, if any, is due a while after `done`.
    pub(super) fn answered(&mut self, ready: Ready, heard: Heard, done: Duration) {
        let Some(live) = self.lives.get_mut(ready.live).and_then(Option::as_mut) else { return };
        if let Some(slot) = live.heard.get_mut(ready.ask) {
            *slot = heard;
        }
        live.open = live.open.saturating_sub(1);
        if live.open > 0 {
            return;
        }
        if self.closed {
            return self.let_out(ready.live);
        }
        match self.plan.next(&mut live.user, &live.asks, &live.heard, done) {
            Some(step) => {
                let at = done + step.after;
                live.due = live.scheduled.then_some(at);
                self.enqueue(ready.live, step, at);
            }
            None => self.let_out(ready.live),
        }
    }

    fn let_out(&mut self, live: usize) {
        if let Some(Live { mut asks, mut heard, .. }) = self.lives[live].take() {
            asks.clear();
            heard.clear();
            self.spare.push((asks, heard));
            self.live -= 1;
            self.free.push(live);
        }
    }

    /// Sends everybody home who has no request under way, and lets nobody in any more.
    fn close_doors(&mut self) {
        (self.no_more, self.closed) = (true, true);
        self.sent_home += self.pending.len() as u64;
        self.pending.clear();
        for Reverse((_, _, live, _)) in std::mem::take(&mut self.queue) {
            if let Some(entry) = self.lives[live].as_mut() {
                entry.open = entry.open.saturating_sub(1);
                if entry.open == 0 {
                    self.let_out(live);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::op::{Op, OpKind};

    /// Users who come at given milliseconds; each asks twice at once, thinks, and asks once more.
    struct Guests {
        /// Requests of the first step; after one alone a user leaves.
        asks: usize,
        starts: Mutex<VecDeque<u64>>,
        end: Option<Duration>,
    }

    const THINK: Duration = Duration::from_millis(50);

    fn asks(count: usize) -> Vec<Planned> {
        let op = Op::follow_up(OpKind::Buy, "k".into(), 0);
        vec![Planned { intent: 0, op }; count]
    }

    impl Plan for Guests {
        fn arrive(&self, _: Duration) -> Result<Option<Arrival>, LoadError> {
            let start = self.starts.lock().expect("no panic holds the lock").pop_front();
            let step = Step { after: Duration::ZERO, asks: asks(self.asks) };
            let arrival = |ms| Arrival {
                start: Some(Duration::from_millis(ms)),
                user: User::passer(ms),
                step: step.clone(),
            };
            Ok(start.map(arrival))
        }

        fn next(
            &self,
            _: &mut User,
            asked: &[Rc<Planned>],
            heard: &[Heard],
            _: Duration,
        ) -> Option<Step> {
            assert_eq!(asked.len(), heard.len());
            (asked.len() == 2).then(|| Step { after: THINK, asks: asks(1) })
        }

        fn leave_by(&self) -> Option<Duration> {
            self.end
        }
    }

    fn hall(starts: &[u64], group: usize, live_max: usize, end: Option<u64>) -> Hall {
        hall_of(starts, 2, group, live_max, end)
    }

    fn hall_of(
        starts: &[u64],
        asks: usize,
        group: usize,
        live_max: usize,
        end: Option<u64>,
    ) -> Hall {
        let starts = Mutex::new(starts.iter().copied().collect());
        let end = end.map(Duration::from_millis);
        Hall::new(Arc::new(Guests { asks, starts, end }), group, live_max)
    }

    fn take(hall: &mut Hall, ms: u64) -> Vec<Ready> {
        let mut out = Vec::new();
        hall.take(Duration::from_millis(ms), &mut out).expect("the plan does not fail");
        out
    }

    fn due(hall: &mut Hall, ms: u64) -> Option<u64> {
        let next = hall.next_due(Duration::from_millis(ms)).expect("the plan does not fail");
        next.map(|at| at.as_millis() as u64)
    }

    fn answer(hall: &mut Hall, ready: Ready, ms: u64) {
        hall.answered(ready, Heard::default(), Duration::from_millis(ms));
    }

    /// Users come by the schedule however late answers are; a user's next step waits for all of
    /// its answers and its think time.
    #[test]
    fn open_between_users_and_closed_within() {
        let mut hall = hall(&[10, 20, 30], 1, 9, None);
        assert_eq!((take(&mut hall, 9), due(&mut hall, 9)), (vec![], Some(10)));
        let first = [take(&mut hall, 10), take(&mut hall, 10)].concat();
        assert_eq!(first.len(), 2);
        assert_eq!(first[0].due, Some(Duration::from_millis(10)));
        // The first user waits; the second and third come all the same, the earliest due first.
        let later: Vec<_> = (0..4).flat_map(|_| take(&mut hall, 35)).collect();
        let dues: Vec<_> = later.iter().filter_map(|ready| ready.due).collect();
        assert_eq!(dues, [20, 20, 30, 30].map(Duration::from_millis));
        answer(&mut hall, first[0], 40);
        assert_eq!(due(&mut hall, 40), None);
        answer(&mut hall, first[1], 60);
        assert_eq!(due(&mut hall, 60), Some(110));
        let again = take(&mut hall, 200);
        assert_eq!(again[0].due, Some(Duration::from_millis(110)));
        answer(&mut hall, again[0], 201);
        assert!(!hall.is_over());
        for ready in later {
            answer(&mut hall, ready, 210);
        }
        for _ in 0..2 {
            let last = take(&mut hall, 300);
            answer(&mut hall, last[0], 301);
        }
        assert!(hall.is_over() && hall.take_came() == 3);
    }

    /// In virtual time the latencies from the intended start are exactly those of the arithmetic:
    /// one connection, 1 ms a request, a user every 10 ms, and a stall from 200 to 600 ms.
    #[test]
    fn the_clock_is_exact_in_virtual_time() {
        let starts: Vec<u64> = (0..100).map(|user| user * 10).collect();
        let serve = |sent: u64| if (200..600).contains(&sent) { 601 } else { sent + 1 };
        let mut free = 0;
        let arithmetic: Vec<u64> = starts
            .iter()
            .map(|start| {
                free = serve(free.max(*start));
                free - start
            })
            .collect();
        let mut hall = hall_of(&starts, 1, 1, 99, None);
        let (mut now, mut intended, mut service) = (0, Vec::new(), Vec::new());
        while !hall.is_over() {
            let Some(ready) = take(&mut hall, now).first().copied() else {
                // `None` once the last user has gone.
                now = due(&mut hall, now).unwrap_or(now);
                continue;
            };
            let due = ready.due.expect("a schedule has due times").as_millis() as u64;
            let done = serve(now);
            intended.push(done - due);
            service.push(done - now);
            answer(&mut hall, ready, done);
            now = done;
        }
        assert_eq!(intended, arithmetic);
        // The user due at 200 waits 401 ms, the next ones 10 ms less each and 1 ms in line more.
        assert_eq!(intended[20..23], [401, 392, 383]);
        assert_eq!(intended.iter().filter(|time| **time > 1).count(), 45);
        // Service time alone hides the stall: one request in a hundred shows it.
        assert_eq!(service.iter().filter(|time| **time > 1).count(), 1);
    }

    /// When the doors are closed, nothing is due while the last answers are awaited, and who was at
    /// the door is counted.
    #[test]
    fn closed_doors_leave_nothing_to_do() {
        let mut hall = hall_of(&[10, 20, 500, 600], 1, 2, 9, Some(100));
        let under_way = take(&mut hall, 20);
        assert_eq!((under_way.len(), due(&mut hall, 20)), (2, Some(100)));
        assert_eq!((take(&mut hall, 100), due(&mut hall, 100)), (vec![], None));
        assert_eq!((hall.never_let_in(), hall.is_over()), (2, false));
        for ready in under_way {
            answer(&mut hall, ready, 150);
        }
        assert!(hall.is_over());
    }

    /// A full hall lets nobody in until somebody has left; their start stays what it was.
    #[test]
    fn a_full_hall_keeps_the_door_shut() {
        let mut hall = hall(&[1, 2], 1, 1, None);
        let one: Vec<_> = (0..3).flat_map(|_| take(&mut hall, 5)).collect();
        assert_eq!(one.len(), 2);
        answer(&mut hall, one[0], 6);
        answer(&mut hall, one[1], 6);
        let last = take(&mut hall, 100);
        assert_eq!((last.len(), take(&mut hall, 100).len()), (1, 0));
        answer(&mut hall, last[0], 101);
        let two = take(&mut hall, 102);
        assert_eq!(two[0].due, Some(Duration::from_millis(2)));
    }

    /// A group waits for its last user, the last group takes what there is.
    #[test]
    fn a_group_starts_with_its_last_user() {
        let mut hall = hall(&[10, 20, 30], 2, 9, None);
        assert_eq!((take(&mut hall, 15).len(), due(&mut hall, 15)), (0, Some(20)));
        assert_eq!((take(&mut hall, 20).len(), take(&mut hall, 20).len()), (2, 2));
        assert_eq!(due(&mut hall, 20), Some(30));
        assert_eq!(take(&mut hall, 30).len(), 2);
    }

    /// When it is time to leave, nobody comes in and who has nothing under way goes.
    #[test]
    fn everybody_leaves_in_time() {
        let mut hall = hall(&[10, 20, 5_000], 1, 9, Some(100));
        let under_way: Vec<_> = (0..3).flat_map(|_| take(&mut hall, 50)).collect();
        assert_eq!(under_way.len(), 3);
        assert_eq!(take(&mut hall, 100), []);
        assert!(!hall.is_over());
        for ready in under_way {
            answer(&mut hall, ready, 101);
        }
        // The first user would go on, and the second has a request that was never sent.
        assert_eq!(take(&mut hall, 200), []);
        assert!(hall.is_over());
    }
}
