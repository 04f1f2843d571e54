//! The queue of baskets: whatever has arrived is decided on together, and nobody waits for more.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use onhand_core::Command;
use parking_lot::{Condvar, Mutex};

use crate::ask::{Ask, AskError};
use crate::fault::Faults;
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
/// Dropping a ticket loses the answer and nothing else: no command was sent, and a basket that is
/// still queued then is not decided on.
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

/// Who waits for the answer on baskets that came together.
pub(crate) enum Waiter {
    Order(Arc<Answer<Decision>>),
    Orders(Arc<Answer<Vec<Decision>>>, Beyond),
    Quote(Arc<Answer<Result<Quote, QuoteError>>>),
}

/// Baskets for which there was no room, behind those that came with them.
#[derive(Clone, Copy)]
pub(crate) struct Beyond {
    baskets: usize,
    queued: usize,
}

impl Waiter {
    /// Returns whether the ticket was dropped, so that nobody will look for the answer.
    fn is_gone(&self) -> bool {
        // The waiter's own handle is the one; a ticket would be the other.
        let handles = match self {
            Self::Order(answer) => Arc::strong_count(answer),
            Self::Orders(answer, _) => Arc::strong_count(answer),
            Self::Quote(answer) => Arc::strong_count(answer),
        };
        handles == 1
    }

    fn give(&self, mut asks: impl Iterator<Item = Ask>) {
        match self {
            Self::Orders(answer, beyond) => {
                let busy = (0..beyond.baskets).map(|_| Err(AskError::Busy(beyond.queued)));
                answer.give(asks.map(Ask::take).chain(busy).collect());
            }
            Self::Order(answer) => answer.give(asks.next().map_or(CLOSED, Ask::take)),
            Self::Quote(answer) => {
                let quote = asks.next().map(Ask::take_quote);
                answer.give(quote.unwrap_or(Err(QuoteError::Ask(AskError::Closed))));
            }
        }
    }

    /// Answers that nothing was decided on so many baskets.
    fn fail(&self, baskets: usize, why: &AskError) {
        let failed = || Err(why.clone());
        match self {
            Self::Order(answer) => answer.give(failed()),
            Self::Orders(answer, beyond) => {
                answer.give((0..baskets + beyond.baskets).map(|_| failed()).collect());
            }
            Self::Quote(answer) => answer.give(Err(QuoteError::Ask(why.clone()))),
        }
    }
}

const CLOSED: Decision = Err(AskError::Closed);

/// Baskets that came together, and who waits for them.
struct Group {
    asks: Vec<Ask>,
    waiter: Undecided,
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<Group>,
    /// Baskets of all groups.
    baskets: usize,
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
        self.take(vec![ask], |answer, _| Waiter::Order(answer))
    }

    /// Takes as many baskets as there is room for, to be decided on together; the answers on the
    /// others, behind them, say that there was none.
    pub(crate) fn push_all(&self, asks: Vec<Ask>) -> Result<DeskTicket<Vec<Decision>>, AskError> {
        self.take(asks, Waiter::Orders)
    }

    /// Takes a basket to be quoted.
    pub(crate) fn push_quote(
        &self,
        ask: Ask,
    ) -> Result<DeskTicket<Result<Quote, QuoteError>>, AskError> {
        self.take(vec![ask], |answer, _| Waiter::Quote(answer))
    }

    fn take<T>(
        &self,
        mut asks: Vec<Ask>,
        waiter: impl FnOnce(Arc<Answer<T>>, Beyond) -> Waiter,
    ) -> Result<DeskTicket<T>, AskError> {
        let answer = Arc::new(Answer::default());
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AskError::Closed);
        }
        let queued = waiting.baskets;
        let room = self.max.saturating_sub(queued).min(asks.len());
        if room == 0 {
            return Err(AskError::Busy(queued));
        }
        let beyond = Beyond { baskets: asks.len() - room, queued: queued + room };
        asks.truncate(room);
        let waiter = Undecided { waiter: Some(waiter(Arc::clone(&answer), beyond)), baskets: room };
        waiting.baskets += room;
        waiting.groups.push_back(Group { asks, waiter });
        drop(waiting);
        self.arrived.notify_one();
        Ok(DeskTicket(answer))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().baskets
    }

    /// Takes what has arrived and answers it, until the queue is closed and empty.
    ///
    /// A batch that `decide` panics on fails as a whole, and the thread goes on: with it would go the
    /// decisions on all baskets to come.
    pub(crate) fn work(&self, faults: &Faults, decide: impl Fn(&mut [Ask])) {
        let mut asks = Vec::with_capacity(BATCH_MAX);
        let mut waiters = Vec::new();
        while self.next(&mut asks, &mut waiters) {
            let done = faults.watch(|| decide(&mut asks));
            let mut decided = asks.drain(..);
            for waiter in waiters.drain(..) {
                match done {
                    Some(()) => waiter.give(&mut decided),
                    None => waiter.fail(&AskError::Fault),
                }
            }
        }
    }

    /// Waits for groups and takes as many as make one batch, or one larger group; `false` when
    /// there will be none. Those that nobody waits for any more are passed over: their buyers are
    /// told that nothing was decided, and may come again.
    fn next(&self, asks: &mut Vec<Ask>, waiters: &mut Vec<Undecided>) -> bool {
        let mut waiting = self.waiting.lock();
        while asks.is_empty() {
            while waiting.groups.is_empty() {
                if waiting.closed {
                    return false;
                }
                self.arrived.wait(&mut waiting);
            }
            while let Some(group) = waiting.groups.front()
                && (asks.is_empty() || asks.len() + group.asks.len() <= BATCH_MAX)
                && let Some(Group { asks: mut more, waiter }) = waiting.groups.pop_front()
            {
                waiting.baskets -= more.len();
                if !waiter.is_gone() {
                    asks.append(&mut more);
                    waiters.push(waiter);
                }
            }
        }
        true
    }

    /// Takes no more; what has arrived is still decided on.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }
}

/// Tells whoever waits if the thread ends before its answer is there.
struct Undecided {
    waiter: Option<Waiter>,
    baskets: usize,
}

impl Undecided {
    /// Answers with the next of the baskets, so many as came together.
    fn give(mut self, decided: impl Iterator<Item = Ask>) {
        if let Some(waiter) = self.waiter.take() {
            waiter.give(decided.take(self.baskets));
        }
    }

    /// Answers that nothing was decided.
    fn fail(mut self, why: &AskError) {
        if let Some(waiter) = self.waiter.take() {
            waiter.fail(self.baskets, why);
        }
    }

    fn is_gone(&self) -> bool {
        self.waiter.as_ref().is_none_or(Waiter::is_gone)
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            waiter.fail(self.baskets, &AskError::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use onhand_core::{Buy, Command, CustomerId, Key, Line, Quantity, SkuId};

    use super::Queue;
    use crate::ask::{Ask, AskError, Shopper};
    use crate::fault::Faults;
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
        queue.work(&Faults::default(), |asks| batches.borrow_mut().push(asks.len()));
        assert_eq!(batches.into_inner(), [BATCH_MAX, 1]);
        for (key, ticket) in tickets.into_iter().enumerate() {
            let command = ticket.wait().expect("decided");
            assert_eq!(command.key(), Some(Key::new(key as u128)));
        }
    }

    /// Baskets that came together stay together up to the room that there is, in their order, and
    /// go into one batch with others as long as that is no larger than a batch.
    #[test]
    fn what_came_together_is_answered_together() {
        let queue = Queue::new(BATCH_MAX + 2);
        let asks = |keys: std::ops::Range<u128>| keys.map(ask).collect::<Vec<_>>();
        let most = BATCH_MAX as u128;
        let large = queue.push_all(asks(0..most + 1)).expect("room");
        let partly = queue.push_all(asks(0..3)).expect("room for one");
        assert_eq!(queue.len(), BATCH_MAX + 2);
        assert_eq!(queue.push_all(asks(0..1)).err(), Some(AskError::Busy(BATCH_MAX + 2)));
        queue.close();
        let batches = std::cell::RefCell::new(Vec::new());
        queue.work(&Faults::default(), |asks| batches.borrow_mut().push(asks.len()));
        assert_eq!(batches.into_inner(), [BATCH_MAX + 1, 1]);
        let keys: Vec<_> = large.wait().into_iter().map(|one| one.map(|c| c.key())).collect();
        assert_eq!(keys, (0..=most).map(|key| Ok(Some(Key::new(key)))).collect::<Vec<_>>());
        let partly: Vec<_> = partly.wait().into_iter().map(|one| one.map(|c| c.key())).collect();
        let busy = Err(AskError::Busy(BATCH_MAX + 2));
        assert_eq!(partly, [Ok(Some(Key::new(0))), busy.clone(), busy]);

        let queue = Queue::new(BATCH_MAX);
        let two = queue.push_all(asks(0..2)).expect("room");
        let one = queue.push(ask(2)).expect("room");
        queue.close();
        queue.work(&Faults::default(), |asks| assert_eq!(asks.len(), 3));
        assert_eq!(two.wait().len(), 2);
        assert_eq!(one.wait().expect("decided").key(), Some(Key::new(2)));
    }

    /// What nobody waits for any more is not decided on, be it one basket or many.
    #[test]
    fn abandoned_baskets_are_passed_over() {
        let queue = Queue::new(9);
        drop(queue.push(ask(1)));
        let two = queue.push(ask(2)).expect("room");
        drop(queue.push_all(vec![ask(3), ask(4)]));
        drop(queue.push_quote(ask(5)));
        assert_eq!(queue.len(), 5);
        queue.close();
        let decided = std::cell::RefCell::new(Vec::new());
        queue.work(&Faults::default(), |asks| {
            decided.borrow_mut().extend(asks.iter().map(Ask::key));
        });
        assert_eq!((decided.into_inner(), queue.len()), (vec![Key::new(2)], 0));
        assert!(two.wait().is_ok());
    }

    /// A batch that makes the thread panic fails, and the thread goes on with the next one.
    #[test]
    fn a_batch_that_panics_is_answered() {
        let queue = Queue::new(3 + BATCH_MAX);
        let ticket = queue.push(ask(1)).expect("room");
        let two = queue.push_all(vec![ask(2), ask(3)]).expect("room");
        let next = queue.push_all((0..BATCH_MAX as u128).map(ask).collect()).expect("room");
        queue.close();
        let faults = Faults::default();
        queue.work(&faults, |asks| assert_eq!(asks.len(), BATCH_MAX, "on purpose"));
        assert_eq!(ticket.wait(), Err(AskError::Fault));
        assert_eq!(two.wait(), [const { Err(AskError::Fault) }; 2]);
        assert!(next.wait().iter().all(Result::is_ok));
        let (count, text) = faults.seen().expect("a fault");
        assert!(count == 1 && text.contains("on purpose"), "{count}: {text}");
    }

    /// Whoever waits is told if the thread that decides ends before its answer is there.
    #[test]
    fn a_thread_that_ends_leaves_nobody_waiting() {
        let queue = Queue::new(3);
        let ticket = queue.push(ask(1)).expect("room");
        let two = queue.push_all(vec![ask(2), ask(3), ask(4)]).expect("room for two");
        drop(queue);
        assert_eq!(ticket.wait(), Err(AskError::Closed));
        assert_eq!(two.wait(), [const { Err(AskError::Closed) }; 3]);
    }
}
