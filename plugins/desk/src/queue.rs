//! The queue of baskets: whatever has arrived is decided on together, and nobody waits for more.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use onhand_core::Command;
use parking_lot::{Condvar, Mutex};

use crate::ask::{Ask, AskError};
use crate::limits::BATCH_MAX;

#[derive(Default)]
struct Slot {
    done: Option<Result<Command, AskError>>,
    waker: Option<Waker>,
}

/// Where a decision is left and found.
#[derive(Default)]
struct Answer {
    slot: Mutex<Slot>,
    done: Condvar,
}

impl Answer {
    fn give(&self, result: Result<Command, AskError>) {
        let mut slot = self.slot.lock();
        slot.done = Some(result);
        let waker = slot.waker.take();
        drop(slot);
        self.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A basket on its way to its decision, to be waited for or awaited: the command with its prices
/// and decisions, for [`Engine::submit`](onhand_core::Engine::submit).
///
/// # Cancel safety
///
/// Dropping a ticket loses the decision and nothing else: no command was sent.
pub struct DeskTicket(Arc<Answer>);

impl std::fmt::Debug for DeskTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskTicket").field("done", &self.0.slot.lock().done.is_some()).finish()
    }
}

impl DeskTicket {
    /// Waits for the decision.
    ///
    /// # Errors
    ///
    /// Returns why nothing could be decided.
    pub fn wait(self) -> Result<Command, AskError> {
        let mut slot = self.0.slot.lock();
        loop {
            if let Some(result) = slot.done.take() {
                return result;
            }
            self.0.done.wait(&mut slot);
        }
    }
}

impl Future for DeskTicket {
    type Output = Result<Command, AskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.slot.lock();
        if let Some(result) = slot.done.take() {
            return Poll::Ready(result);
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[derive(Default)]
struct Waiting {
    asks: VecDeque<(Ask, Arc<Answer>)>,
    closed: bool,
}

/// Baskets that wait for a thread.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    max: usize,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), max }
    }

    pub(crate) fn push(&self, ask: Ask) -> Result<DeskTicket, AskError> {
        let answer = Arc::new(Answer::default());
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AskError::Closed);
        }
        if waiting.asks.len() >= self.max {
            return Err(AskError::Busy(waiting.asks.len()));
        }
        waiting.asks.push_back((ask, Arc::clone(&answer)));
        drop(waiting);
        self.arrived.notify_one();
        Ok(DeskTicket(answer))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().asks.len()
    }

    /// Takes what has arrived and answers it, until the queue is closed and empty.
    pub(crate) fn work(&self, decide: impl Fn(&mut [Ask])) {
        let mut asks = Vec::with_capacity(BATCH_MAX);
        let mut answers = Vec::with_capacity(BATCH_MAX);
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.asks.is_empty() {
                if waiting.closed {
                    return;
                }
                self.arrived.wait(&mut waiting);
            }
            let count = waiting.asks.len().min(BATCH_MAX);
            for (ask, answer) in waiting.asks.drain(..count) {
                asks.push(ask);
                answers.push(Undecided(Some(answer)));
            }
            drop(waiting);
            decide(&mut asks);
            for (ask, mut answer) in asks.drain(..).zip(answers.drain(..)) {
                if let Some(answer) = answer.0.take() {
                    answer.give(ask.take());
                }
            }
        }
    }

    /// Takes no more; what has arrived is still decided on.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }
}

/// Tells whoever waits if the thread ends before its answer is there.
struct Undecided(Option<Arc<Answer>>);

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(answer) = &self.0 {
            answer.give(Err(AskError::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use onhand_core::{Buy, Command, CustomerId, Key, Line, Quantity, SkuId};

    use super::Queue;
    use crate::ask::{Ask, AskError, Shopper};
    use crate::limits::BATCH_MAX;

    fn ask(key: u128) -> Ask {
        let line = Line::new(SkuId::new(1), Quantity::ONE);
        let buy = Buy::one(Key::new(key), CustomerId(1), line);
        Ask::new(Command::Buy(buy), Shopper::default()).expect("a purchase")
    }

    /// A full queue says so, and a closed one still answers what it has taken, in batches.
    #[test]
    fn what_was_taken_is_answered() {
        let queue = Queue::new(BATCH_MAX + 1);
        let taken = (0..=BATCH_MAX as u128).map(|key| queue.push(ask(key)));
        let tickets: Vec<_> = taken.collect::<Result<_, _>>().expect("room");
        let full = queue.push(ask(0)).err();
        assert_eq!(full, Some(AskError::Busy(BATCH_MAX + 1)));
        queue.close();
        assert_eq!(queue.push(ask(0)).err(), Some(AskError::Closed));
        let batches = std::cell::RefCell::new(Vec::new());
        queue.work(|asks| batches.borrow_mut().push(asks.len()));
        assert_eq!(batches.into_inner(), [BATCH_MAX, 1]);
        for (key, ticket) in tickets.into_iter().enumerate() {
            let command = ticket.wait().expect("decided");
            assert_eq!(command.key(), Some(Key::new(key as u128)));
        }
    }

    /// Whoever waits is told if the thread that decides goes down.
    #[test]
    fn a_thread_that_panics_leaves_nobody_waiting() {
        let queue = Queue::new(2);
        let ticket = queue.push(ask(1)).expect("room");
        let work = std::panic::AssertUnwindSafe(|| queue.work(|_| panic!("on purpose")));
        assert!(std::panic::catch_unwind(work).is_err());
        assert_eq!(ticket.wait(), Err(AskError::Closed));
    }
}
