//! Faults of our own: a panic in a thread of the desk ends one batch, not the thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

/// Most characters that are kept of what a panic said.
const TEXT_CHARS_MAX: usize = 200;

/// Panics of the desk's threads: how many there were, and what the last one said.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Option<(u64, String)>>);

impl Faults {
    /// Runs a piece of work; `None` if that panicked, which is noted.
    pub(crate) fn watch<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // What the work has changed and others see is behind locks, whose holders leave whole counts
        // and queues at every step; what it was given is dropped by the caller.
        let done = catch_unwind(AssertUnwindSafe(work));
        done.map_err(|panic| self.note(&*panic)).ok()
    }

    fn note(&self, panic: &(dyn Any + Send)) {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = said.unwrap_or("a panic without a text").chars().take(TEXT_CHARS_MAX).collect();
        let mut seen = self.0.lock();
        let before = seen.as_ref().map_or(0, |(count, _)| *count);
        *seen = Some((before + 1, text));
    }

    /// Returns how many there were and what the last one said; `None` if there was none.
    pub(crate) fn seen(&self) -> Option<(u64, String)> {
        self.0.lock().clone()
    }
}
