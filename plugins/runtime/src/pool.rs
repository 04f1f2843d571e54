//! Instances of one plugin: warm ones kept for the next call, at most so many at work at once.

use std::time::{Duration, Instant as Moment};

use parking_lot::{Condvar, Mutex};

use crate::error::Failure;
use crate::instance::{Instance, deadline_ms};
use crate::limits::Limits;
use crate::world::World;

struct Slots<W: World> {
    idle: Vec<Instance<W>>,
    /// Instances that are at work or being made.
    out: u64,
}

/// Lends instances to calls.
pub(crate) struct Pool<W: World> {
    slots: Mutex<Slots<W>>,
    back: Condvar,
}

impl<W: World> Pool<W> {
    pub(crate) const fn new() -> Self {
        Self { slots: Mutex::new(Slots { idle: Vec::new(), out: 0 }), back: Condvar::new() }
    }

    /// Lends an instance if one is warm, or else the room for one; waits for it as long as the
    /// largest call of another may take. Every loan ends with [`Pool::end`].
    pub(crate) fn lend(&self, limits: &Limits) -> Result<Option<Instance<W>>, Failure> {
        let wait_ms = deadline_ms(limits, W::CALL_ORDERS as u64);
        let until = Moment::now() + Duration::from_millis(wait_ms);
        let mut slots = self.slots.lock();
        while slots.out >= limits.instances {
            if self.back.wait_until(&mut slots, until).timed_out() && slots.out >= limits.instances
            {
                return Err(Failure::Busy);
            }
        }
        slots.out += 1;
        Ok(slots.idle.pop())
    }

    /// Lends a warm instance if there is one, without waiting.
    pub(crate) fn lend_warm(&self) -> Option<Instance<W>> {
        let mut slots = self.slots.lock();
        // As many as are idle and lent together are at most those that may be at work.
        let warm = slots.idle.pop()?;
        slots.out += 1;
        Some(warm)
    }

    /// Ends a loan; an instance that may be called again comes back.
    pub(crate) fn end(&self, instance: Option<Instance<W>>) {
        let mut slots = self.slots.lock();
        slots.out -= 1;
        slots.idle.extend(instance);
        drop(slots);
        self.back.notify_one();
    }

    /// Drops every idle instance.
    pub(crate) fn cool(&self) {
        let idle = std::mem::take(&mut self.slots.lock().idle);
        drop(idle);
    }
}
