//! A plugin: loaded, called for batches of orders, and what happens when it fails.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::breaker::{Breaker, BreakerState};
use crate::cache::CacheUse;
use crate::error::{Failure, FailureKind, LoadError, explain};
use crate::guest::{LogLine, linker};
use crate::instance::{Instance, Outcome, Recipe, Taken};
use crate::limits::{Bound, CONFIG_BYTES, LOG_KEPT, LimitError, Limits};
use crate::limits::{MEMORY_BYTES, TABLE_ELEMENTS};
use crate::pool::Pool;
use crate::runtime::{Runtime, Warm};
use crate::shape::{Shape, inspect};
use crate::stats::{Counters, Stats};
use crate::world::World;

/// Most orders of a failed batch that may run into their deadline when each is tried alone: a plugin
/// that hangs would else hold its thread up for one deadline after the other.
const HANGS_MAX: usize = 2;

/// What is done with an order whose plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The built-in policy decides.
    #[default]
    BuiltIn,
    /// It passes: list price, no suspicion, nothing recommended.
    FailOpen,
    /// It is refused.
    FailClosed,
}

/// Who has decided on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum By {
    /// The plugin.
    Plugin = 0,
    /// The built-in policy, because the plugin failed.
    BuiltIn = 1,
    /// Nobody: it was let pass because the plugin failed.
    FailOpen = 2,
    /// Nobody: it was refused because the plugin, or the built-in policy too, failed.
    FailClosed = 3,
}

/// How the decision on one order came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Who has decided.
    pub by: By,
    /// Fuel of the plugin's last call with this order, divided by the orders of that call and
    /// rounded up; 0 if it was not called.
    pub fuel: u32,
    /// Why the plugin did not decide.
    pub failure: Option<FailureKind>,
}

/// Decisions on a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided<A> {
    /// The checked answer on all orders.
    pub answer: A,
    /// How it came to be, for each order.
    pub made: Vec<Made>,
}

/// What one call on a fresh instance gave and took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured<R> {
    /// What it answered, checked, or why it did not.
    pub answer: Result<R, Failure>,
    /// Fuel of the call, over all its orders.
    pub fuel: u64,
    /// Fuel of the instance's start: its start functions and `init`.
    pub fuel_init: u64,
    /// Most memory that it had, in bytes.
    pub memory_bytes: u64,
    /// Most elements that one of its tables had.
    pub table_elements: u64,
    /// Calls of the host during the call.
    pub host_calls: u64,
    /// Lines that it logged during the call.
    pub logs: Vec<LogLine>,
    /// Lines beyond the limit, which were dropped.
    pub logs_dropped: u64,
    /// Wall-clock time of the start.
    pub start_time: Duration,
    /// Wall-clock time of the call.
    pub call_time: Duration,
}

/// How a plugin is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginOptions {
    /// Its limits.
    pub limits: Limits,
    /// What `init` is given, at most [`CONFIG_BYTES`] bytes.
    pub config: String,
    /// What is done when it fails.
    pub on_failure: OnFailure,
}

/// A built-in policy, called with the orders that the plugin has failed on.
pub type BuiltIn<'a, W> = &'a mut dyn FnMut(<W as World>::Batch<'_>) -> <W as World>::Raw;

/// A loaded plugin of one world. Cheap to clone; to be called from many threads at once.
///
/// A call runs on the calling thread, which needs a stack of at least 1 MiB beside its own use.
pub struct Plugin<W: World> {
    shared: Arc<Shared<W>>,
}

impl<W: World> Clone for Plugin<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<W: World> fmt::Debug for Plugin<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("shape", &self.shared.shape).finish()
    }
}

struct Shared<W: World> {
    recipe: Recipe,
    on_failure: OnFailure,
    shape: Shape,
    hash: blake3::Hash,
    cache: CacheUse,
    pool: Pool<W>,
    control: Mutex<Control>,
}

/// What is noted of calls.
struct Control {
    breaker: Breaker,
    counters: Counters,
    logs: VecDeque<LogLine>,
    logs_dropped: u64,
    last_failure: Option<Failure>,
}

impl<W: World> Plugin<W> {
    /// Loads a component: looks at it, compiles it on another thread, starts an instance of it and
    /// calls that once.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong with the options or the component.
    pub fn load(runtime: &Runtime, wasm: &[u8], options: PluginOptions) -> Result<Self, LoadError> {
        let PluginOptions { limits, config, on_failure } = options;
        limits.check()?;
        let machine = runtime.config();
        below(MEMORY_BYTES, limits.memory_bytes, machine.memory_bytes)?;
        below(TABLE_ELEMENTS, limits.table_elements, machine.table_elements)?;
        if config.len() > CONFIG_BYTES {
            let (value, max) = (config.len() as u64, CONFIG_BYTES as u64);
            let what = "size of the configuration in bytes";
            return Err(LoadError::TooLarge { what, value, max });
        }
        let shape = inspect(wasm, &limits)?;
        if shape.kind != W::KIND {
            let found = vec![shape.interface];
            return Err(LoadError::NoInterface { kind: Some(W::KIND), found });
        }
        let compiled = runtime.compile(wasm, limits.compile_ms)?;
        let ready = linker(runtime.engine(), W::KIND)
            .and_then(|linker| linker.instantiate_pre(&compiled.component))
            .map_err(|error| LoadError::Compile(explain(&error)))?;
        let interface = shape.interface.clone();
        let recipe = Recipe { runtime: runtime.clone(), ready, interface, limits, config };
        let control = Control {
            breaker: Breaker::default(),
            counters: Counters::new(),
            logs: VecDeque::new(),
            logs_dropped: 0,
            last_failure: None,
        };
        let shared = Shared {
            recipe,
            on_failure,
            shape,
            hash: blake3::hash(wasm),
            cache: compiled.cache,
            pool: Pool::new(),
            control: Mutex::new(control),
        };
        shared.try_out()?;
        let shared = Arc::new(shared);
        let warm: Weak<Shared<W>> = Arc::downgrade(&shared);
        runtime.enlist(warm);
        Ok(Self { shared })
    }

    /// Decides on a batch of orders or requests.
    ///
    /// The plugin is called with all of them; if it fails, with each alone, so that one bad order
    /// spoils no other; once two of those have run into their deadline, with no more of them. What
    /// it has not decided on is decided as [`OnFailure`] says, by `built_in` if that is its word.
    /// `now_ms` is the caller's clock for the breaker, in milliseconds.
    pub fn decide(
        &self,
        now_ms: u64,
        batch: W::Batch<'_>,
        built_in: BuiltIn<'_, W>,
    ) -> Decided<W::Answer> {
        let (shared, done) = (&*self.shared, Decided::default());
        Work { shared, held: None, now_ms, built_in, done }.decide(batch)
    }

    /// Keeps a warm instance for one caller, if there is one that no call uses.
    pub fn hold(&self) -> Option<Held<'_, W>> {
        let shared = &*self.shared;
        let instance = Some(shared.pool.lend_warm()?);
        Some(Held { shared, loan: Loan { pool: &shared.pool, instance } })
    }

    /// Calls the plugin once with a batch, on a fresh instance or a warm one, and returns what it
    /// answered and the fuel that it took: for tests, replays and comparisons.
    ///
    /// Neither the breaker nor the statistics take note, and nothing falls back.
    ///
    /// # Errors
    ///
    /// Returns why there is no answer.
    pub fn answer(&self, batch: W::Batch<'_>, fresh: bool) -> Result<(W::Raw, u64), Failure> {
        let Shared { recipe, pool, .. } = &*self.shared;
        if fresh {
            let mut instance = Instance::<W>::start(recipe)?;
            let Outcome { answer, fuel, .. } = instance.call(recipe, batch);
            return Ok((answer?.0, fuel));
        }
        let mut loan = Loan { pool, instance: pool.lend(&recipe.limits)? };
        let (Outcome { answer, fuel, .. }, _) = loan.call(recipe, batch)?;
        Ok((answer?.0, fuel))
    }

    /// Calls the plugin once with a batch on a fresh instance, and returns what it answered and
    /// what it took of each limit: for whoever makes a plugin.
    ///
    /// Neither the breaker nor the statistics take note, and nothing falls back.
    ///
    /// # Errors
    ///
    /// Returns why no instance starts. A call that fails is part of what is measured.
    pub fn measure(&self, batch: W::Batch<'_>) -> Result<Measured<W::Raw>, Failure> {
        let recipe = &self.shared.recipe;
        let started = Instant::now();
        let mut instance = Instance::<W>::start(recipe)?;
        let start_time = started.elapsed();
        let fuel_init = instance.start_fuel(&recipe.limits);
        let started = Instant::now();
        let Outcome { answer, fuel, logged: (logs, logs_dropped) } = instance.call(recipe, batch);
        let call_time = started.elapsed();
        let Taken { host_calls, memory_bytes, table_elements } = instance.taken(&recipe.limits);
        let answer = answer.map(|(raw, _)| raw);
        Ok(Measured {
            answer,
            fuel,
            fuel_init,
            memory_bytes,
            table_elements,
            host_calls,
            logs,
            logs_dropped,
            start_time,
            call_time,
        })
    }

    /// Returns what the component is.
    pub fn shape(&self) -> &Shape {
        &self.shared.shape
    }

    /// Returns the BLAKE3 of the component's bytes.
    pub fn hash(&self) -> [u8; 32] {
        *self.shared.hash.as_bytes()
    }

    /// Returns the limits that it was loaded with.
    pub fn limits(&self) -> &Limits {
        &self.shared.recipe.limits
    }

    /// Returns what is done when it fails.
    pub fn on_failure(&self) -> OnFailure {
        self.shared.on_failure
    }

    /// Returns what the cache of compiled code did for it; nothing without a cache.
    pub fn cache_use(&self) -> CacheUse {
        self.shared.cache
    }

    /// Returns what it has done so far.
    pub fn stats(&self) -> Stats {
        let control = self.shared.control.lock();
        let Control { breaker, counters, .. } = &*control;
        counters.stats(breaker.state(), breaker.opened_count())
    }

    /// Returns whether it is called now.
    pub fn breaker(&self) -> BreakerState {
        self.shared.control.lock().breaker.state()
    }

    /// Returns its latest failure with all details.
    pub fn last_failure(&self) -> Option<Failure> {
        self.shared.control.lock().last_failure.clone()
    }

    /// Returns the log lines kept so far, the newest first, and the number of those dropped.
    pub fn logs(&self) -> (Vec<LogLine>, u64) {
        let control = self.shared.control.lock();
        (control.logs.iter().rev().cloned().collect(), control.logs_dropped)
    }

    /// Takes the log lines kept so far, the oldest first, and the number of those dropped.
    pub fn take_logs(&self) -> (Vec<LogLine>, u64) {
        let mut control = self.shared.control.lock();
        let lines = control.logs.drain(..).collect();
        (lines, std::mem::take(&mut control.logs_dropped))
    }

    /// Drops every warm instance, so that the next calls start on fresh ones.
    pub fn cool(&self) {
        self.shared.pool.cool();
    }
}

fn below(bound: Bound, value: u64, max: u64) -> Result<(), LimitError> {
    if value <= max { Ok(()) } else { Err(LimitError { bound: Bound { max, ..bound }, value }) }
}

/// What a plugin's calls answer before and after their check.
type Checked<W> = (<W as World>::Raw, <W as World>::Answer);

/// A call that the breaker has admitted: one that ends in a panic reports nothing, and the breaker
/// would wait for its outcome for ever.
struct Trial<'a>(&'a Mutex<Control>);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().breaker.withdraw();
        }
    }
}

/// An instance on loan, or the room for one, given back in any case.
struct Loan<'a, W: World> {
    pool: &'a Pool<W>,
    instance: Option<Instance<W>>,
}

impl<W: World> Loan<'_, W> {
    /// Calls the instance, which is started where there is none, and dropped if the call fails or if
    /// it has done enough; the second value says whether it was started.
    fn call(
        &mut self,
        recipe: &Recipe,
        batch: W::Batch<'_>,
    ) -> Result<(Outcome<Checked<W>>, bool), Failure> {
        let (mut instance, fresh) = match self.instance.take() {
            Some(warm) => (warm, false),
            None => (Instance::start(recipe)?, true),
        };
        let outcome = instance.call(recipe, batch);
        if outcome.answer.is_ok() && !instance.is_old(&recipe.limits) {
            self.instance = Some(instance);
        }
        Ok((outcome, fresh))
    }
}

impl<W: World> Drop for Loan<'_, W> {
    fn drop(&mut self) {
        self.pool.end(self.instance.take());
    }
}

/// An instance of a plugin that is kept for one caller: its calls wait for none, and start one only
/// in the place of one that failed or had done enough.
pub struct Held<'p, W: World> {
    shared: &'p Shared<W>,
    loan: Loan<'p, W>,
}

impl<W: World> fmt::Debug for Held<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("shape", &self.shared.shape).finish()
    }
}

impl<W: World> Held<'_, W> {
    /// Decides on a batch as [`Plugin::decide`] does, with this instance.
    pub fn decide(
        &mut self,
        now_ms: u64,
        batch: W::Batch<'_>,
        built_in: BuiltIn<'_, W>,
    ) -> Decided<W::Answer> {
        let (held, done) = (Some(&mut self.loan), Decided::default());
        Work { shared: self.shared, held, now_ms, built_in, done }.decide(batch)
    }
}

impl<W: World> Warm for Shared<W> {
    fn cool(&self) {
        self.pool.cool();
    }
}

impl<W: World> Shared<W> {
    /// Starts a first instance and calls it once: types that differ show only then.
    fn try_out(&self) -> Result<(), LoadError> {
        let mut instance = Instance::<W>::start(&self.recipe).map_err(|failure| match failure {
            Failure::Config(why) => LoadError::Config(why),
            other => LoadError::Start(other),
        })?;
        let outcome = W::sample(|batch| instance.call(&self.recipe, batch));
        outcome.answer.map_err(LoadError::FirstCall)?;
        self.control.lock().counters.instance();
        Ok(())
    }

    /// Calls an instance, a lent one where none is held.
    fn call(
        &self,
        held: Option<&mut Loan<'_, W>>,
        batch: W::Batch<'_>,
    ) -> Result<(Outcome<Checked<W>>, bool), Failure> {
        if let Some(loan) = held {
            return loan.call(&self.recipe, batch);
        }
        let pool = &self.pool;
        let mut loan = Loan { pool, instance: pool.lend(&self.recipe.limits)? };
        loan.call(&self.recipe, batch)
    }

    /// Calls the plugin once, if its breaker lets it.
    fn attempt(
        &self,
        held: Option<&mut Loan<'_, W>>,
        now_ms: u64,
        batch: W::Batch<'_>,
    ) -> Outcome<W::Answer> {
        if !self.control.lock().breaker.admits(now_ms) {
            return Outcome::not_made(Failure::Breaker);
        }
        let _trial = Trial(&self.control);
        let (outcome, fresh) = match self.call(held, batch) {
            Ok(called) => called,
            Err(failure) => return Outcome::not_made(failure),
        };
        let Outcome { answer, fuel, logged: (lines, dropped) } = outcome;
        let orders = W::orders(batch);
        let mut control = self.control.lock();
        control.counters.call(orders, fuel.div_ceil((orders as u64).max(1)));
        if fresh {
            control.counters.instance();
        }
        control.keep(lines, dropped);
        if answer.is_ok() {
            control.breaker.succeed(now_ms, orders as u64);
        }
        let answer = answer.map(|(_, answer)| answer);
        Outcome { answer, fuel, logged: (Vec::new(), 0) }
    }
}

impl Control {
    fn keep(&mut self, lines: Vec<LogLine>, dropped: u64) {
        self.logs_dropped += dropped;
        self.logs.extend(lines);
        while self.logs.len() > LOG_KEPT {
            self.logs.pop_front();
            self.logs_dropped += 1;
        }
    }

    /// Takes note of a failure; `last_word` if the orders are not tried again.
    fn fail(&mut self, now_ms: u64, failure: &Failure, last_word: bool) {
        self.counters.failure(failure.kind(), 1);
        match failure {
            Failure::Breaker => return,
            Failure::Busy => return self.breaker.withdraw(),
            _ => {}
        }
        self.last_failure = Some(failure.clone());
        if last_word || self.breaker.state() == BreakerState::HalfOpen {
            self.breaker.fail(now_ms, failure.kind());
        }
    }
}

/// Decisions being made on one batch.
struct Work<'a, 'b, 'p, W: World> {
    shared: &'a Shared<W>,
    /// The instance that is kept for these decisions, if any is.
    held: Option<&'a mut Loan<'p, W>>,
    now_ms: u64,
    built_in: BuiltIn<'b, W>,
    done: Decided<W::Answer>,
}

impl<W: World> Work<'_, '_, '_, W> {
    /// Decides on all orders, in parts that make one call each.
    fn decide(mut self, batch: W::Batch<'_>) -> Decided<W::Answer> {
        let orders = W::orders(batch);
        if orders <= W::CALL_ORDERS {
            self.together(batch);
        } else {
            for first in (0..orders).step_by(W::CALL_ORDERS) {
                let part = first..orders.min(first + W::CALL_ORDERS);
                W::part(batch, part, |part| self.together(part));
            }
        }
        self.done
    }

    fn attempt(&mut self, batch: W::Batch<'_>) -> Outcome<W::Answer> {
        self.shared.attempt(self.held.as_deref_mut(), self.now_ms, batch)
    }

    /// Decides on orders in one call, and one by one if that fails.
    fn together(&mut self, batch: W::Batch<'_>) {
        let orders = W::orders(batch);
        if orders == 0 {
            return;
        }
        let Outcome { answer, fuel, .. } = self.attempt(batch);
        let failure = match answer {
            Ok(answer) => return self.decided(orders, answer, By::Plugin, fuel, None),
            Err(failure) => failure,
        };
        let again = orders > 1 && failure.is_its_own();
        self.shared.control.lock().fail(self.now_ms, &failure, !again);
        if !again {
            return self.fall_back(batch, fuel, failure.kind());
        }
        let (mut failures, mut hangs) = (0, 0);
        for order in 0..orders {
            let Some(failure) = self.alone(batch, order..order + 1) else { continue };
            failures += 1;
            hangs += usize::from(failure == FailureKind::Deadline);
            if failure.is_no_call() || hangs >= HANGS_MAX {
                // The others would wait as long, one after the other, for nothing.
                let rest = order + 1..orders;
                self.shared.control.lock().counters.failure(failure, rest.len() as u64);
                W::part(batch, rest, |rest| self.fall_back(rest, 0, failure));
                return;
            }
        }
        if failures == 0 {
            // Each order is fine and all of them are not: that counts as one failure.
            self.shared.control.lock().breaker.fail(self.now_ms, failure.kind());
        }
    }

    /// Decides on one order of a batch that failed; returns why the plugin did not.
    fn alone(&mut self, batch: W::Batch<'_>, order: Range<usize>) -> Option<FailureKind> {
        W::part(batch, order, |one| {
            let Outcome { answer, fuel, .. } = self.attempt(one);
            match answer {
                Ok(answer) => {
                    self.decided(1, answer, By::Plugin, fuel, None);
                    None
                }
                Err(failure) => {
                    self.shared.control.lock().fail(self.now_ms, &failure, true);
                    self.fall_back(one, fuel, failure.kind());
                    Some(failure.kind())
                }
            }
        })
    }

    /// Decides without the plugin.
    fn fall_back(&mut self, batch: W::Batch<'_>, fuel: u64, failure: FailureKind) {
        if W::orders(batch) == 0 {
            return;
        }
        let (answer, by) = match self.shared.on_failure {
            OnFailure::FailOpen => (W::pass(batch), By::FailOpen),
            OnFailure::FailClosed => (W::close(batch), By::FailClosed),
            OnFailure::BuiltIn => {
                let raw = (self.built_in)(batch);
                match W::check(batch, &raw) {
                    Ok(answer) => (answer, By::BuiltIn),
                    // Nobody is left who could decide.
                    Err(_) => (W::close(batch), By::FailClosed),
                }
            }
        };
        self.decided(W::orders(batch), answer, by, fuel, Some(failure));
    }

    fn decided(
        &mut self,
        orders: usize,
        answer: W::Answer,
        by: By,
        fuel: u64,
        failure: Option<FailureKind>,
    ) {
        self.shared.control.lock().counters.answered(by as usize, orders);
        let before = self.done.made.len();
        if before == 0 {
            self.done.answer = answer;
        } else {
            W::append(&mut self.done.answer, before, answer);
        }
        let fuel = fuel.div_ceil((orders as u64).max(1)).min(u32::MAX.into()) as u32;
        self.done.made.resize(before + orders, Made { by, fuel, failure });
    }
}
