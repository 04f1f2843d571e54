//! One instance of a plugin: started, called within its budget, and judged.

use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use crate::error::{Failure, explain, plain};
use crate::guest::{Guest, HostCallsSpent, LogLine};
use crate::limits::{Limits, TEXT_BYTES};
use crate::runtime::Runtime;
use crate::ticker::TICK;
use crate::world::{Entry, World, function};

/// Wall-clock time of an instance's start in milliseconds, behind its fuel.
const START_MS: u64 = 2_000;

/// Wall-clock time that each further order of a call adds to its deadline, in milliseconds: far
/// more than its fuel takes on a machine that is not overloaded.
const FURTHER_ORDER_MS: u64 = 1;

/// What every instance of a plugin is made of.
pub(crate) struct Recipe {
    pub(crate) runtime: Runtime,
    pub(crate) ready: InstancePre<Guest>,
    pub(crate) interface: String,
    pub(crate) limits: Limits,
    pub(crate) config: String,
}

/// One instance, ready to be called.
pub(crate) struct Instance<W: World> {
    store: Store<Guest>,
    entry: Entry<W>,
    calls: u64,
}

/// What an instance has taken.
pub(crate) struct Taken {
    pub(crate) host_calls: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) table_elements: u64,
}

/// What came of one call.
pub(crate) struct Outcome<T> {
    pub(crate) answer: Result<T, Failure>,
    pub(crate) fuel: u64,
    /// What it logged, and how many lines more were dropped.
    pub(crate) logged: (Vec<LogLine>, u64),
}

impl<T> Outcome<T> {
    /// Returns the outcome of a call that was not made.
    pub(crate) const fn not_made(failure: Failure) -> Self {
        Self { answer: Err(failure), fuel: 0, logged: (Vec::new(), 0) }
    }
}

impl<W: World> Instance<W> {
    /// Makes an instance and gives it its configuration; if the runtime has no room for it, the
    /// warm instances of all plugins make room.
    pub(crate) fn start(recipe: &Recipe) -> Result<Self, Failure> {
        match Self::try_start(recipe) {
            Err(Failure::Busy) => {
                recipe.runtime.cool_all();
                Self::try_start(recipe)
            }
            other => other,
        }
    }

    fn try_start(recipe: &Recipe) -> Result<Self, Failure> {
        let Recipe { runtime, ready, interface, limits, config } = recipe;
        let guest = Guest::new(limits, runtime.config().core_instances);
        let mut store = Store::new(runtime.engine(), guest);
        store.limiter(|guest| &mut guest.room);
        store.data_mut().refill(limits);
        store.set_hostcall_fuel(limits.output_bytes as usize);
        let engine = |error: wasmtime::Error| Failure::Resources(explain(&error));
        store.set_fuel(limits.fuel_init).map_err(engine)?;
        store.set_epoch_deadline(ticks(START_MS));
        let _running = runtime.running();
        let instance = ready
            .instantiate(&mut store)
            .map_err(|error| judge(&error).unwrap_or_else(|| engine(error)))?;
        let init =
            function::<(&str,), (Result<(), String>,)>(&mut store, &instance, interface, "init")
                .map_err(engine)?;
        let (taken,) = init.call(&mut store, (config.as_str(),)).map_err(|e| blame(&e))?;
        taken.map_err(|why| Failure::Config(plain(&why, TEXT_BYTES)))?;
        let entry = Entry::find(&mut store, &instance, interface).map_err(engine)?;
        Ok(Self { store, entry, calls: 0 })
    }

    /// Calls the plugin with fuel for each order, and checks its answer.
    ///
    /// An instance whose call failed must not be called again.
    pub(crate) fn call(
        &mut self,
        recipe: &Recipe,
        batch: W::Batch<'_>,
    ) -> Outcome<(W::Raw, W::Answer)> {
        let Recipe { runtime, limits, .. } = recipe;
        let orders = (W::orders(batch) as u64).max(1);
        let budget = limits.fuel_per_order.saturating_mul(orders);
        self.calls += 1;
        self.store.data_mut().refill(limits);
        let output_bytes = limits.output_bytes.saturating_mul(orders).min(limits.memory_bytes);
        self.store.set_hostcall_fuel(output_bytes as usize);
        if let Err(error) = self.store.set_fuel(budget) {
            return Outcome::not_made(Failure::Resources(explain(&error)));
        }
        self.store.set_epoch_deadline(ticks(deadline_ms(limits, orders)));
        let called = {
            let _running = runtime.running();
            self.entry.call(&mut self.store, batch)
        };
        let fuel = budget - self.store.get_fuel().unwrap_or(0).min(budget);
        let answer = called.map_err(|error| blame(&error)).and_then(|raw| {
            let answer = W::check(batch, &raw).map_err(Failure::Answer)?;
            Ok((raw, answer))
        });
        let guest = self.store.data_mut();
        let logged = (std::mem::take(&mut guest.lines), std::mem::take(&mut guest.dropped));
        Outcome { answer, fuel, logged }
    }

    /// Returns what the instance has taken since its last call began; of memory and tables, ever.
    pub(crate) fn taken(&self, limits: &Limits) -> Taken {
        let guest = self.store.data();
        Taken {
            host_calls: guest.host_calls(limits),
            memory_bytes: guest.room.memory_bytes,
            table_elements: guest.room.table_elements,
        }
    }

    /// Returns the fuel of its start, as long as it was not called.
    pub(crate) fn start_fuel(&self, limits: &Limits) -> u64 {
        let left = self.store.get_fuel().unwrap_or(0);
        limits.fuel_init - left.min(limits.fuel_init)
    }

    /// Returns whether the instance has been called often enough to be replaced.
    pub(crate) fn is_old(&self, limits: &Limits) -> bool {
        self.calls >= limits.calls_per_instance
    }
}

/// Returns the wall-clock time that a call for so many orders, at least one, may take.
pub(crate) const fn deadline_ms(limits: &Limits, orders: u64) -> u64 {
    limits.deadline_ms + (orders - 1) * FURTHER_ORDER_MS
}

/// Returns ticks that last at least so long.
fn ticks(ms: u64) -> u64 {
    // The first tick may come at once.
    ms.div_ceil(TICK.as_millis() as u64) + 1
}

/// Returns the failure that an error of the engine stands for, if it is one of a known kind.
fn judge(error: &wasmtime::Error) -> Option<Failure> {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Some(match trap {
            Trap::OutOfFuel => Failure::Fuel,
            Trap::Interrupt => Failure::Deadline,
            Trap::StackOverflow => Failure::Stack,
            other => Failure::Trap(plain(&other.to_string(), TEXT_BYTES)),
        });
    }
    if error.is::<HostCallsSpent>() {
        return Some(Failure::HostCalls);
    }
    error.is::<PoolConcurrencyLimitError>().then_some(Failure::Busy)
}

/// Returns the failure of a call: what is no trap was found while its answer was read.
fn blame(error: &wasmtime::Error) -> Failure {
    // The cause alone: a trace with the plugin's own names before it would leave it no room.
    let cause = || plain(&error.root_cause().to_string(), TEXT_BYTES);
    judge(error).unwrap_or_else(|| Failure::Output(cause()))
}
