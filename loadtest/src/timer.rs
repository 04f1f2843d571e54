//! Wakes buyers at their start times, more exactly than a runtime's timer of whole milliseconds.

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
    /// Due time since the start, and the buyer.
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
    closed: bool,
}

/// One alarm for each buyer, served by one thread.
#[derive(Debug)]
pub(crate) struct Timer {
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
    alarms: Vec<Notify>,
}

impl Timer {
    /// Prepares alarms for this many buyers; times count from `started`.
    pub(crate) fn new(buyers: usize, started: Instant) -> Self {
        let alarms = (0..buyers).map(|_| Notify::new()).collect();
        Self { started, state: Mutex::default(), changed: Condvar::new(), alarms }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a time, or until the timer is closed.
    pub(crate) async fn until(&self, buyer: usize, at: Duration) {
        {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            let earliest = state.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
            state.heap.push(Reverse((at, buyer)));
            if earliest {
                self.changed.notify_one();
            }
        }
        self.alarms[buyer].notified().await;
    }

    /// Serves the alarms until the timer is closed; `stop` is asked often and closes it.
    pub(crate) fn serve(&self, stop: impl Fn() -> bool) {
        let mut due = Vec::new();
        let mut state = self.lock();
        loop {
            if stop() {
                state.closed = true;
            }
            let now = self.started.elapsed();
            let closed = state.closed;
            while let Some(Reverse((at, buyer))) = state.heap.peek().copied() {
                if at > now && !closed {
                    break;
                }
                state.heap.pop();
                due.push(buyer);
            }
            let next = state.heap.peek().map(|Reverse((at, _))| *at);
            if !due.is_empty() {
                drop(state);
                for buyer in due.drain(..) {
                    self.alarms[buyer].notify_one();
                }
                state = self.lock();
            }
            if closed {
                return;
            }
            let now = self.started.elapsed();
            let wait = next.map_or(NAP, |at| at.saturating_sub(now).clamp(GRAIN, NAP));
            state = match self.changed.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Wakes everybody and ends the service.
    pub(crate) fn close(&self) {
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
            let ring = async |buyer: usize, at: Duration| {
                timer.until(buyer, at).await;
                rung.lock().expect("no panic holds the lock").push((buyer, started.elapsed()));
                if buyer == 0 {
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
        assert_eq!(rung.iter().map(|(buyer, _)| *buyer).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(rung[0].1 >= Duration::from_millis(2) && rung[1].1 >= Duration::from_millis(6));
    }
}
