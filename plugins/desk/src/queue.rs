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
use crate::quote::{Quote, QuoteError};

struct Slot<T> {
    done: Option<T>,
    waker: Option<Waker>,
}

/// Where an answer is left and found.
pub(crate) struct Answer<T> {
    slot: Mutex<Slot<T>>,
    done: Condvar,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self { slot: Mutex::new(Slot { done: None, waker: None }), done: Condvar::new() }
    }
}

impl<T> Answer<T> {
    fn give(&self, result: T) {
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

/// What became of a basket: the command with its prices and decisions.
pub type Decision = Result<Command, AskError>;

/// A basket on its way to its answer, to be waited for or awaited: by default the command with its
/// prices and decisions, for [`Engine::submit`](onhand_core::Engine::submit).
///
/// # Cancel safety
///
/// Dropping a ticket loses the answer and nothing else: no command was sent.
pub struct DeskTicket<T = Decision>(Arc<Answer<T>>);

impl<T> std::fmt::Debug for DeskTicket<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskTicket").field("done", &self.0.slot.lock().done.is_some()).finish()
    }
}

impl<T> DeskTicket<T> {
    /// Waits for the answer: for a decision, the command, or why nothing could be decided.
    pub fn wait(self) -> T {
        let mut slot = self.0.slot.lock();
        loop {
            if let Some(result) = slot.done.take() {
                return result;
            }
            self.0.done.wait(&mut slot);
        }
    }
}

impl<T> Future for DeskTicket<T> {
    type Output = T;

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

/// Who waits for a basket's answer.
pub(crate) enum Waiter {
    Order(Arc<Answer<Decision>>),
    Quote(Arc<Answer<Result<Quote, QuoteError>>>),
}

impl Waiter {
    fn give(&self, ask: Ask) {
        match self {
            Self::Order(answer) => answer.give(ask.take()),
            Self::Quote(answer) => answer.give(ask.take_quote()),
        }
    }

    fn close(&self) {
        match self {
            Self::Order(answer) => answer.give(Err(AskError::Closed)),
            Self::Quote(answer) => answer.give(Err(QuoteError::Ask(AskError::Closed))),
        }
    }
}

#[derive(Default)]
struct Waiting {
    asks: VecDeque<(Ask, Waiter)>,
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

    /// Takes a basket to be decided on.
    pub(crate) fn push(&self, ask: Ask) -> Result<DeskTicket, AskError> {
        self.take(ask, Waiter::Order)
    }

    /// Takes a basket to be quoted.
    pub(crate) fn push_quote(
        &self,
        ask: Ask,
    ) -> Result<DeskTicket<Result<Quote, QuoteError>>, AskError> {
        self.take(ask, Waiter::Quote)
    }

    fn take<T>(
        &self,
        ask: Ask,
        waiter: fn(Arc<Answer<T>>) -> Waiter,
    ) -> Result<DeskTicket<T>, AskError> {
        let answer = Arc::new(Answer::default());
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AskError::Closed);
        }
        if waiting.asks.len() >= self.max {
            return Err(AskError::Busy(waiting.asks.len()));
        }
        waiting.asks.push_back((ask, waiter(Arc::clone(&answer))));
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
        let mut waiters = Vec::with_capacity(BATCH_MAX);
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.asks.is_empty() {
                if waiting.closed {
                    return;
                }
                self.arrived.wait(&mut waiting);
            }
            let count = waiting.asks.len().min(BATCH_MAX);
            for (ask, waiter) in waiting.asks.drain(..count) {
                asks.push(ask);
                waiters.push(Undecided(Some(waiter)));
            }
            drop(waiting);
            decide(&mut asks);
            for (ask, mut waiter) in asks.drain(..).zip(waiters.drain(..)) {
                if let Some(waiter) = waiter.0.take() {
                    waiter.give(ask);
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
struct Undecided(Option<Waiter>);

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(waiter) = &self.0 {
            waiter.close();
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
