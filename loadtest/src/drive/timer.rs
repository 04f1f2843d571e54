//! Wakes threads at their times, more exactly than a runtime's timer of whole milliseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Shortest sleep: what is due within it is woken together, so that wakes don't eat the machine.
const GRAIN: Duration = Duration::from_micros(50);
/// Longest sleep, so that a stop is seen soon.
const NAP: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct State {
    /// Due time since the start, and the alarm.
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Earliest time that each alarm is set to.
    earliest: Vec<Option<Duration>>,
    closed: bool,
}

/// One alarm for each thread, served by one thread more.
#[derive(Debug)]
pub(super) struct Timer {
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
    alarms: Vec<Notify>,
}

impl Timer {
    /// Prepares this many alarms; times count from `started`.
    pub(super) fn new(alarms: usize, started: Instant) -> Self {
        let state = State { earliest: vec![None; alarms], ..State::default() };
        let alarms = (0..alarms).map(|_| Notify::new()).collect();
        Self { started, state: Mutex::new(state), changed: Condvar::new(), alarms }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets an alarm to a time, unless it is set to an earlier one.
    pub(super) fn set(&self, alarm: usize, at: Duration) {
        let mut state = self.lock();
        if state.earliest[alarm].is_some_and(|earliest| earliest <= at) {
            return;
        }
        state.earliest[alarm] = Some(at);
        let first = state.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        state.heap.push(Reverse((at, alarm)));
        if first {
            self.changed.notify_one();
        }
    }

    /// Rings an alarm at once.
    pub(super) fn ring(&self, alarm: usize) {
        self.alarms[alarm].notify_one();
    }

    /// Waits until an alarm rings; it may ring early, so look whether it was what was waited for.
    pub(super) async fn wait(&self, alarm: usize) {
        self.alarms[alarm].notified().await;
    }

    /// Serves the alarms until the timer is closed; `stop` is asked often and closes it.
    pub(super) fn serve(&self, stop: impl Fn() -> bool) {
        let (mut due, mut second) = (Vec::new(), 0);
        let mut state = self.lock();
        loop {
            if stop() {
                state.closed = true;
            }
            if state.closed {
                drop(state);
                self.alarms.iter().for_each(Notify::notify_one);
                return;
            }
            let now = self.started.elapsed();
            if now.as_secs() > second {
                // Whoever sleeps hands in the second that is over as well.
                second = now.as_secs();
                due.extend(0..self.alarms.len());
            }
            while let Some(Reverse((at, alarm))) = state.heap.peek().copied() {
                if at > now {
                    break;
                }
                state.heap.pop();
                if state.earliest[alarm].is_some_and(|earliest| earliest <= now) {
                    state.earliest[alarm] = None;
                }
                due.push(alarm);
            }
            if !due.is_empty() {
                drop(state);
                for alarm in due.drain(..) {
                    self.alarms[alarm].notify_one();
                }
                // An alarm may have been set while the lock was free, when nobody waited for it.
                state = self.lock();
                continue;
            }
            let next = state.heap.peek().map(|Reverse((at, _))| *at);
            let now = self.started.elapsed();
            let wait = next.map_or(NAP, |at| at.saturating_sub(now).clamp(GRAIN, NAP));
            state = match self.changed.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Rings everything and ends the service.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alarms ring in order of their times, never early; closing rings the rest at once.
    #[test]
    fn alarms_ring_in_order_and_on_closing() {
        let started = Instant::now();
        let timer = Timer::new(3, started);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime without drivers can be built");
        let rung = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| timer.serve(|| false));
            let ring = async |alarm: usize, at: Duration| {
                timer.set(alarm, Duration::from_hours(2));
                timer.set(alarm, at);
                timer.wait(alarm).await;
                rung.lock().expect("no panic holds the lock").push((alarm, started.elapsed()));
                if alarm == 0 {
                    timer.close();
                }
            };
            let millis = Duration::from_millis;
            runtime.block_on(async {
                tokio::join!(
                    ring(0, millis(6)),
                    ring(1, millis(2)),
                    ring(2, Duration::from_hours(1))
                );
            });
        });
        let rung = rung.into_inner().expect("no panic held the lock");
        assert_eq!(rung.iter().map(|(alarm, _)| *alarm).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(rung[0].1 >= Duration::from_millis(2) && rung[1].1 >= Duration::from_millis(6));
    }
}
