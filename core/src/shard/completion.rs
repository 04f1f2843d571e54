//! Where a caller waits: on a thread, or as a future in any runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, ErrorKind};
use crate::reply::{Ack, Reply};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::view::OrderView;

/// What has been answered so far.
#[derive(Debug)]
struct Progress {
    replies: Vec<Option<Reply>>,
    whole: Option<Vec<Reply>>,
    view: Option<OrderView>,
    left: usize,
    failed: Option<(ErrorKind, String)>,
    waker: Option<Waker>,
}

/// The place where the shards leave their answers and the caller finds them.
#[derive(Debug)]
pub(crate) struct Completion {
    progress: Mutex<Progress>,
    answered: Condvar,
}

/// Answers that leave as soon as what they show is durable.
#[derive(Debug)]
pub(crate) enum Ready {
    /// The replies of a job.
    Replies {
        /// In the order of the job's commands.
        replies: Vec<Reply>,
        /// Level that was asked.
        ack: Ack,
        /// Where they go.
        done: Arc<Completion>,
        /// Their positions in the whole batch.
        positions: Option<Vec<u32>>,
    },
    /// A read order.
    View(Option<OrderView>, Arc<Completion>),
}

impl Ready {
    /// Passes the answers on to the caller.
    pub(crate) fn complete(self) {
        match self {
            Self::Replies { replies, done, positions, .. } => done.complete(replies, positions),
            Self::View(view, done) => done.complete_view(view),
        }
    }

    /// Tells the caller that the engine has stopped.
    pub(crate) fn fail(self, kind: ErrorKind, why: &str) {
        match self {
            Self::Replies { done, .. } | Self::View(_, done) => done.fail(kind, why),
        }
    }
}

impl Completion {
    /// Makes a place for the answers of `count` commands in `jobs` jobs.
    pub(crate) fn new(count: usize, jobs: usize) -> Arc<Self> {
        let mut replies = Vec::new();
        if jobs > 1 {
            replies.resize_with(count, || None);
        }
        Arc::new(Self {
            progress: Mutex::new(Progress {
                replies,
                whole: None,
                view: None,
                left: jobs,
                failed: None,
                waker: None,
            }),
            answered: Condvar::new(),
        })
    }

    fn complete(&self, replies: Vec<Reply>, positions: Option<Vec<u32>>) {
        let mut progress = self.progress.lock();
        if progress.failed.is_some() {
            // Another part of the batch was not taken: its caller has been told so.
            return;
        }
        match positions {
            None => progress.whole = Some(replies),
            Some(positions) => {
                for (at, reply) in positions.into_iter().zip(replies) {
                    progress.replies[at as usize] = Some(reply);
                }
            }
        }
        progress.left -= 1;
        if progress.left == 0 && progress.whole.is_none() {
            let replies = std::mem::take(&mut progress.replies);
            progress.whole = replies.into_iter().collect();
        }
        self.wake(progress);
    }

    fn complete_view(&self, view: Option<OrderView>) {
        let mut progress = self.progress.lock();
        if progress.failed.is_some() {
            return;
        }
        progress.view = view;
        progress.left = 0;
        self.wake(progress);
    }

    /// Ends the wait with an error: whether the commands were carried out is not known.
    pub(crate) fn fail(&self, kind: ErrorKind, why: &str) {
        let mut progress = self.progress.lock();
        if progress.left == 0 || progress.failed.is_some() {
            return;
        }
        progress.failed = Some((kind, why.to_owned()));
        progress.left = 0;
        self.wake(progress);
    }

    fn wake(&self, mut progress: MutexGuard<'_, Progress>) {
        if progress.left > 0 {
            return;
        }
        let waker = progress.waker.take();
        drop(progress);
        self.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn result(progress: &mut Progress) -> Result<Vec<Reply>, Error> {
        if let Some((kind, why)) = &progress.failed {
            return Err(stopped(*kind, why));
        }
        Ok(progress.whole.take().unwrap_or_default())
    }

    pub(crate) fn wait(&self) -> Result<Vec<Reply>, Error> {
        let mut progress = self.progress.lock();
        while progress.left > 0 {
            self.answered.wait(&mut progress);
        }
        Self::result(&mut progress)
    }

    pub(crate) fn wait_view(&self) -> Result<Option<OrderView>, Error> {
        let mut progress = self.progress.lock();
        while progress.left > 0 {
            self.answered.wait(&mut progress);
        }
        if let Some((kind, why)) = &progress.failed {
            return Err(stopped(*kind, why));
        }
        Ok(progress.view.take())
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<Vec<Reply>, Error>> {
        let mut progress = self.progress.lock();
        if progress.left == 0 {
            return Poll::Ready(Self::result(&mut progress));
        }
        if !progress.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            progress.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn try_take(&self) -> Option<Result<Vec<Reply>, Error>> {
        let mut progress = self.progress.lock();
        (progress.left == 0).then(|| Self::result(&mut progress))
    }
}

fn stopped(kind: ErrorKind, why: &str) -> Error {
    Error::new(
        kind,
        why,
        "open the engine anew and send the command again with the same idempotency key",
    )
}

/// The answer to one command, to be waited for or awaited.
///
/// # Cancel safety
///
/// Dropping a ticket does not take the command back; its key tells later what became of it.
#[derive(Debug)]
pub struct Ticket(pub(crate) Arc<Completion>);

impl Ticket {
    /// Waits for the reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the engine stopped before the reply was certain; the command may or
    /// may not have been carried out, and the same command with the same key finds out.
    pub fn wait(self) -> Result<Reply, Error> {
        self.0.wait().and_then(first)
    }

    /// Returns the reply if it is there.
    pub fn try_take(&mut self) -> Option<Result<Reply, Error>> {
        self.0.try_take().map(|result| result.and_then(first))
    }
}

fn first(replies: Vec<Reply>) -> Result<Reply, Error> {
    replies.into_iter().next().ok_or_else(|| stopped(ErrorKind::Stopped, "reply was taken before"))
}

impl Future for Ticket {
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|result| result.and_then(first))
    }
}

/// The answers to a batch, to be waited for or awaited.
#[derive(Debug)]
pub struct BatchTicket(pub(crate) Arc<Completion>);

impl BatchTicket {
    /// Waits for the replies, in the order of the commands.
    ///
    /// # Errors
    ///
    /// As [`Ticket::wait`].
    pub fn wait(self) -> Result<Vec<Reply>, Error> {
        self.0.wait()
    }

    /// Returns the replies if they are all there.
    pub fn try_take(&mut self) -> Option<Result<Vec<Reply>, Error>> {
        self.0.try_take()
    }
}

impl Future for BatchTicket {
    type Output = Result<Vec<Reply>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}
