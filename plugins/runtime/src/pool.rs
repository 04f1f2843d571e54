//! Instances of one plugin: warm ones kept for the next call, at most so many at work at once.

use std::time::{Duration, Instant as Moment};

use parking_lot::{Condvar, Mutex};

use crate::error::Failure;
use crate::instance::{Instance, Recipe, deadline_ms};
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

    /// Lends an instance, a warm one if there is one; waits for one as long as the largest call of
    /// another may take.
    ///
    /// The second value says whether it was made now. Every loan ends with [`Pool::end`].
    pub(crate) fn lend(&self, recipe: &Recipe) -> Result<(Instance<W>, bool), Failure> {
        let limits = &recipe.limits;
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
        if let Some(warm) = slots.idle.pop() {
            return Ok((warm, false));
        }
        drop(slots);
        match Instance::start(recipe) {
            Ok(fresh) => Ok((fresh, true)),
            Err(failure) => {
                self.end(None);
                Err(failure)
            }
        }
    }

    /// Ends a loan; an instance that may be called again comes back.
    pub(crate) fn end(&self, instance: Option<Instance<W>>) {
        let mut slots = self.slots.lock();
        slots.out -= 1;
        slots.idle.extend(instance);
        drop(slots);
        self.back.notify_one();
    }

    pub(crate) fn has_idle(&self) -> bool {
        !self.slots.lock().idle.is_empty()
    }

    /// Drops every idle instance.
    pub(crate) fn cool(&self) {
        let idle = std::mem::take(&mut self.slots.lock().idle);
        drop(idle);
    }
}
