//! What threads share: locks, queues, atomics and the threads themselves, from one place.
//!
//! Normally these are `parking_lot`'s, `crossbeam`'s and the standard library's, re-exported and
//! nothing else. In the unit tests under `--features shuttle` they are shuttle's, whose scheduler
//! then decides every interleaving; the tests named `interleaving` run the shards, the gate and
//! the engine that way. Two things are proved elsewhere or not at all there: shuttle's atomics are
//! sequentially consistent, so weaker orderings are argued beside the code that uses them, and the
//! queues below stand in for crossbeam's, whose own correctness is taken from crossbeam.

#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use native::*;
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use scheduled::*;

#[cfg(not(all(test, feature = "shuttle")))]
mod native {
    use std::time::Duration;

    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::{atomic, mpsc};
    pub(crate) use std::thread;

    pub(crate) use crossbeam::queue::{ArrayQueue, SegQueue};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

    /// Times that a worker looks for work again before it sleeps.
    pub(crate) const SPINS: u32 = 200;

    /// Waits a moment before something that nobody announces is looked at again.
    pub(crate) fn pause(span: Duration) {
        thread::park_timeout(span);
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod scheduled {
    use std::collections::VecDeque;
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::time::{Duration, Instant};

    use shuttle::rand::Rng;

    pub(crate) use shuttle::hint::spin_loop;
    pub(crate) use shuttle::sync::{atomic, mpsc};
    pub(crate) use shuttle::thread;

    /// As the native one; spinning teaches the scheduler nothing.
    pub(crate) const SPINS: u32 = 1;

    /// Lets others run: what is polled does not depend on a wake-up.
    pub(crate) fn pause(_span: Duration) {
        thread::yield_now();
    }

    /// A disk is slow, so that others run meanwhile, or quick, so that they stay where they are: a
    /// scheduler with priorities puts whoever yields behind all others.
    pub(crate) fn on_disk() {
        if shuttle::rand::thread_rng().r#gen() {
            thread::yield_now();
        } else {
            thread::sleep(Duration::ZERO);
        }
    }

    /// A lock with `parking_lot`'s interface: a panic does not poison it.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    /// Holds a lock; empty only while a [`Condvar`] waits with it.
    pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Mutex").finish_non_exhaustive()
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("a guard that is not waiting holds its lock")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("a guard that is not waiting holds its lock")
        }
    }

    /// Whether a wait ended because its time was up: never, for shuttle knows no time. A wake-up
    /// that is lost is a deadlock here, and not hidden by a timeout.
    pub(crate) struct WaitTimeoutResult;

    impl WaitTimeoutResult {
        #[expect(clippy::unused_self, reason = "the interface of parking_lot")]
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    /// A condition variable with `parking_lot`'s interface.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            // Between the last look and the sleep others may run, as anywhere: shuttle's own wait
            // does not let them.
            thread::sleep(Duration::ZERO);
            let held = guard.0.take().expect("a guard that is not waiting holds its lock");
            guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }

        pub(crate) fn wait_for<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _span: Duration,
        ) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult
        }

        pub(crate) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _until: Instant,
        ) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A queue with a limit, in the place of crossbeam's.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        queue: SegQueue<T>,
        count_max: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(count_max: usize) -> Self {
            Self { queue: SegQueue::new(), count_max }
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let mut queue = self.queue.0.lock();
            if queue.len() == self.count_max {
                return Err(value);
            }
            queue.push_back(value);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.queue.pop()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.queue.is_empty()
        }
    }

    /// A queue without a limit, in the place of crossbeam's.
    #[derive(Debug)]
    pub(crate) struct SegQueue<T>(Mutex<VecDeque<T>>);

    impl<T> SegQueue<T> {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(VecDeque::new()))
        }

        pub(crate) fn push(&self, value: T) {
            self.0.lock().push_back(value);
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.0.lock().pop_front()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.lock().is_empty()
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().len()
        }
    }
}
