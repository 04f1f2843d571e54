//! The façade: open, decide, submit, quote, recommend, close.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use onhand_core::{Clock, CustomerId, Engine, PolicyKind, PolicyNo, SkuId, SystemClock};
use onhand_plugin_bundle::{Fixture, Trust};
use onhand_plugin_runtime::Runtime;
use onhand_policy::decision::{Prices, Risk};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::ask::{Ask, AskError};
use crate::decide::price_answer;
use crate::error::DeskError;
use crate::facts::{FraudFacts, PricingFacts};
use crate::fault::Faults;
use crate::life::Life;
use crate::limits::{QUEUE, QUOTE_MS, RECORDED, SUBJECTS, THREADS, check_all};
use crate::queue::{Decision, DeskTicket, Queue};
use crate::quote::{Quote, QuoteError};
use crate::recommend::{Learned, Recommendations};
use crate::record::{Pseudonyms, Recorder};
use crate::secret::Secret;
use crate::set::Set;
use crate::settings::Settings;
use crate::shadow::{DivergenceReport, Job, Shadows};
use crate::shelf::Shelf;
use crate::sightings::Sightings;

/// How a desk is set up; [`DeskConfig::default`] decides nothing, runs no plugins and keeps
/// nothing on disk.
#[derive(Clone)]
pub struct DeskConfig {
    /// Directory of plugins and secret, made if it is not there: beside the engine's data. `None`
    /// keeps both in memory, so that installed plugins and quotes end with the desk.
    pub dir: Option<PathBuf>,
    /// The built-in policies.
    pub settings: Settings,
    /// What runs plugins; `None` runs none.
    pub runtime: Option<Runtime>,
    /// Whose signatures count.
    pub trust: Trust,
    /// Whether plugins are taken without a signature: for development only.
    pub dev: bool,
    /// Whether committed orders teach recommendations.
    pub learn: bool,
    /// See [`THREADS`].
    pub threads: u64,
    /// See [`QUEUE`].
    pub queue_max: u64,
    /// See [`RECORDED`].
    pub recorded_max: u64,
    /// See [`SUBJECTS`].
    pub subjects_max: u64,
    /// See [`QUOTE_MS`].
    pub quote_ms: u64,
    /// What time it is, where no caller says so.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for DeskConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeskConfig").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Default for DeskConfig {
    fn default() -> Self {
        Self {
            dir: None,
            settings: Settings::default(),
            runtime: None,
            trust: Trust::default(),
            dev: false,
            learn: true,
            threads: THREADS.default,
            queue_max: QUEUE.default,
            recorded_max: RECORDED.default,
            subjects_max: SUBJECTS.default,
            quote_ms: QUOTE_MS.default,
            clock: Arc::new(SystemClock),
        }
    }
}

impl DeskConfig {
    fn check(&self) -> Result<(), DeskError> {
        check_all(&[
            (THREADS, self.threads),
            (QUEUE, self.queue_max),
            (RECORDED, self.recorded_max),
            (SUBJECTS, self.subjects_max),
            (QUOTE_MS, self.quote_ms),
        ])?;
        Ok(())
    }
}

/// What the desk's threads share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) trust: Trust,
    pub(crate) dev: bool,
    pub(crate) quote_ms: u64,
    /// Threads that decide, see [`THREADS`].
    pub(crate) threads: u64,
    /// Callers that decide where they are.
    pub(crate) here: AtomicU64,
    pub(crate) secret: Secret,
    pub(crate) shelf: Shelf,
    set: RwLock<Arc<Set>>,
    /// Held by whoever takes a step of a policy, over its wait for the engine.
    pub(crate) turn: Mutex<()>,
    /// Held for moments only.
    pub(crate) life: Mutex<Life>,
    pub(crate) sightings: Mutex<Sightings>,
    pub(crate) learned: RwLock<Learned>,
    pub(crate) queue: Queue,
    pub(crate) shadows: Shadows,
    pub(crate) recorder: Recorder,
    pub(crate) trips: Mutex<Vec<(PolicyNo, String)>>,
    pub(crate) tripped: Condvar,
    pub(crate) closing: AtomicBool,
    /// Position up to which events were followed.
    pub(crate) followed: AtomicU64,
    pub(crate) follow_fault: Mutex<Option<String>>,
    pub(crate) faults: Faults,
}

impl Shared {
    pub(crate) fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.read())
    }

    pub(crate) fn swap(&self, set: Set) {
        *self.set.write() = Arc::new(set);
    }

    /// Leaves it to a thread to call a canary back.
    pub(crate) fn call_back(&self, no: PolicyNo, why: Option<String>) {
        if let Some(why) = why {
            self.trips.lock().push((no, why));
            self.tripped.notify_all();
        }
    }

    /// Calls canaries back until the desk closes.
    fn guard(&self) {
        loop {
            let mut trips = self.trips.lock();
            while trips.is_empty() {
                if self.closing.load(Ordering::SeqCst) {
                    return;
                }
                self.tripped.wait(&mut trips);
            }
            let (no, why) = trips.remove(0);
            drop(trips);
            self.guarded(no, &why);
        }
    }

    /// Records priced orders, and offers them to the shadow.
    pub(crate) fn after_prices(
        &self,
        set: &Set,
        now_ms: u64,
        facts: PricingFacts,
        prices: Prices,
        shadowed: &[usize],
    ) {
        if let Some((policy, _)) = set.pricing.shadow.as_ref().filter(|_| !shadowed.is_empty()) {
            let incumbent = shadowed.iter().map(|order| price_answer(&facts, &prices, *order));
            self.shadows.offer(Job::Pricing {
                policy: Arc::clone(policy),
                book: Arc::clone(&set.prices),
                now_ms,
                incumbent: incumbent.collect(),
                facts: facts.part(shadowed.iter().copied()),
            });
        }
        if self.recorder.is_on() {
            self.recorder.prices(facts, prices);
        }
    }

    /// Records scored orders, and offers them to the shadow.
    pub(crate) fn after_scores(
        &self,
        set: &Set,
        now_ms: u64,
        facts: FraudFacts,
        risks: Vec<Risk>,
        shadowed: &[usize],
    ) {
        if let Some((policy, _)) = set.fraud.shadow.as_ref().filter(|_| !shadowed.is_empty()) {
            self.shadows.offer(Job::Fraud {
                policy: Arc::clone(policy),
                book: Arc::clone(&set.risks),
                now_ms,
                incumbent: shadowed.iter().map(|order| risks[*order]).collect(),
                facts: facts.part(shadowed.iter().copied()),
            });
        }
        if self.recorder.is_on() {
            self.recorder.risks(facts, risks);
        }
    }
}

/// Decides on baskets before the engine sees them, and leads policies through their life.
///
/// Shared between threads by reference or `Arc`. It holds the engine: close the desk, or drop it,
/// before [`Engine::close`].
pub struct Desk {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("lineups", &self.lineups()).finish_non_exhaustive()
    }
}

impl Desk {
    /// Opens a desk over an engine: policies stand where the journal says they stood.
    ///
    /// The built-in policies of the configuration are installed and activated by steps of the
    /// journal where nobody decides yet, or a built-in policy of another configuration does. A
    /// plugin that decides goes on to do so.
    ///
    /// A plugin whose file is missing or refused now is no error here: what it should decide is
    /// decided by its failure policy, and [`Desk::health`] says so.
    ///
    /// # Errors
    ///
    /// Returns a setting outside its range, a directory that cannot be used, or a step that the
    /// engine does not take.
    pub fn open(engine: Arc<Engine>, config: DeskConfig) -> Result<Self, DeskError> {
        config.check()?;
        let shelf = Shelf::open(config.dir.as_deref())?;
        let shared = Arc::new(Shared {
            secret: Secret::open(config.dir.as_deref())?,
            shelf,
            engine,
            clock: config.clock,
            settings: config.settings,
            runtime: config.runtime,
            trust: config.trust,
            dev: config.dev,
            quote_ms: config.quote_ms,
            threads: config.threads,
            here: AtomicU64::new(0),
            set: RwLock::default(),
            turn: Mutex::default(),
            life: Mutex::default(),
            sightings: Mutex::new(Sightings::new(config.subjects_max as u32)),
            learned: RwLock::default(),
            queue: Queue::new(config.queue_max as usize),
            shadows: Shadows::default(),
            recorder: Recorder::new(config.recorded_max as usize),
            trips: Mutex::default(),
            tripped: Condvar::new(),
            closing: AtomicBool::new(false),
            followed: AtomicU64::new(0),
            follow_fault: Mutex::default(),
            faults: Faults::default(),
        });
        shared.resume()?;
        let mut desk = Self { shared, threads: Vec::new() };
        for number in 0..config.threads {
            desk.start(&format!("onhand-desk-{number}"), |shared| {
                shared.queue.work(&shared.faults, |asks| shared.decide(asks));
            })?;
        }
        desk.start("onhand-desk-guard", Shared::guard)?;
        desk.start("onhand-desk-shadow", |shared| {
            shared.shadows.work(&shared.faults, &Pseudonyms(&shared.secret));
        })?;
        if config.learn {
            desk.start("onhand-desk-feed", Shared::follow)?;
        }
        Ok(desk)
    }

    fn start(&mut self, name: &str, work: fn(&Shared)) -> Result<(), DeskError> {
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new().name(name.to_owned()).spawn(move || work(&shared));
        self.threads.push(thread.map_err(DeskError::Thread)?);
        Ok(())
    }

    /// Decides on baskets at a time in milliseconds since 1970, on the calling thread, and leaves
    /// the decisions in their commands.
    ///
    /// One call of each policy for each 256 baskets. A plugin's call runs on this thread, which
    /// needs a stack of at least 1 MiB beside its own use.
    pub fn decide(&self, now_ms: u64, asks: &mut [Ask]) {
        asks.iter_mut().for_each(|ask| ask.now_ms = now_ms);
        self.shared.decide(asks);
    }

    /// Decides on baskets on the calling thread if that takes little time at most; returns whether
    /// it did. It waits for nobody else's call.
    ///
    /// Without a plugin that takes microseconds. Plugins are called here if all their fuel is at
    /// most [`HERE_FUEL_MAX`](crate::limits::HERE_FUEL_MAX), their deadlines are at most
    /// [`HERE_DEADLINE_MS_MAX`](crate::limits::HERE_DEADLINE_MS_MAX), and each has a warm instance
    /// that is free, which is kept for this call: by their default limits for one basket at a time.
    /// Their calls need a stack of at least 1 MiB beside the caller's own use.
    pub fn decide_here(&self, now_ms: u64, asks: &mut [Ask]) -> bool {
        asks.iter_mut().for_each(|ask| ask.now_ms = now_ms);
        self.shared.decide_here(asks)
    }

    /// Leaves a basket to the desk's threads, which decide together on what has arrived.
    ///
    /// # Errors
    ///
    /// Returns [`AskError::Busy`] if the queue is full, [`AskError::Closed`] while it closes.
    pub fn submit(&self, now_ms: u64, mut ask: Ask) -> Result<DeskTicket, AskError> {
        ask.now_ms = now_ms;
        self.shared.queue.push(ask)
    }

    /// Leaves baskets to the desk's threads to be decided on together; the answers stand in their
    /// order. Those for which the queue has no room are answered with [`AskError::Busy`].
    ///
    /// # Errors
    ///
    /// As [`Desk::submit`], where not even one is taken.
    pub fn submit_all(
        &self,
        now_ms: u64,
        mut asks: Vec<Ask>,
    ) -> Result<DeskTicket<Vec<Decision>>, AskError> {
        asks.iter_mut().for_each(|ask| ask.now_ms = now_ms);
        self.shared.queue.push_all(asks)
    }

    /// Returns whether nobody decides on baskets now, so that a basket that names no quote may
    /// pass the desk by unless something is said of its buyer.
    pub fn is_silent(&self) -> bool {
        self.shared.set().is_silent()
    }

    /// Prices a basket and promises the prices for the setting `quote_ms`.
    ///
    /// The key of the command counts for nothing but an unnamed customer's share. Nothing is
    /// reserved, and no fraud policy is asked.
    ///
    /// # Errors
    ///
    /// Returns why there is no price, or who refuses the basket.
    pub fn quote(&self, now_ms: u64, mut ask: Ask) -> Result<Quote, QuoteError> {
        ask.now_ms = now_ms;
        let mut ask = ask.for_quote();
        self.shared.decide(std::slice::from_mut(&mut ask));
        ask.take_quote()
    }

    /// Prices a basket on the calling thread if that takes little time at most, as
    /// [`Desk::decide_here`] does; gives it back if not, for [`Desk::submit_quote`].
    ///
    /// # Errors
    ///
    /// As [`Desk::quote`].
    pub fn quote_here(
        &self,
        now_ms: u64,
        mut ask: Ask,
    ) -> Result<Result<Quote, QuoteError>, Box<Ask>> {
        ask.now_ms = now_ms;
        let mut ask = ask.for_quote();
        if self.shared.decide_here(std::slice::from_mut(&mut ask)) {
            Ok(ask.take_quote())
        } else {
            Err(Box::new(ask))
        }
    }

    /// Leaves a basket to the desk's threads, which price it together with what else has arrived.
    ///
    /// # Errors
    ///
    /// As [`Desk::submit`].
    pub fn submit_quote(
        &self,
        now_ms: u64,
        mut ask: Ask,
    ) -> Result<DeskTicket<Result<Quote, QuoteError>>, AskError> {
        ask.now_ms = now_ms;
        self.shared.queue.push_quote(ask.for_quote())
    }

    /// Returns what goes with a basket: at most `limit` SKUs, and at most
    /// [`PICKS_MAX`](crate::limits::PICKS_MAX), of which a unit is available now.
    ///
    /// It never fails: where the plugin gives nothing, what was bought together with the basket or
    /// by this customer before stands, else what sells best.
    pub fn recommend(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        self.shared.recommend(now_ms, customer, basket, limit)
    }

    /// Recommends on the calling thread if no plugin would be asked, which takes microseconds; else
    /// returns how long the plugin's call may take.
    ///
    /// # Errors
    ///
    /// Returns the deadline of the plugin that decides for this customer: ask it with
    /// [`Desk::recommend`] on a thread that may wait, and answer by [`Desk::recommend_built_in`]
    /// where that is not there in time.
    pub fn recommend_quick(
        &self,
        now_ms: u64,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Result<Recommendations, Duration> {
        self.shared.recommend_quick(now_ms, customer, basket, limit)
    }

    /// Returns what goes with a basket by the built-in list, whoever decides.
    pub fn recommend_built_in(
        &self,
        customer: CustomerId,
        basket: &[SkuId],
        limit: usize,
    ) -> Recommendations {
        self.shared.recommend_built_in(customer, basket, limit)
    }

    /// Returns the last inputs of a kind with what was answered, the oldest first, as fixtures;
    /// customers, addresses and devices are replaced by keyed hashes.
    pub fn recorded(&self, kind: PolicyKind, last: usize) -> Vec<Fixture> {
        self.shared.recorder.recorded(kind, last, &Pseudonyms(&self.shared.secret))
    }

    /// Returns what a shadow's answers were worth, since it became one; `None` for a policy that
    /// was none since the desk was opened.
    pub fn divergence(&self, no: PolicyNo) -> Option<DivergenceReport> {
        self.shared.shadows.report(no)
    }

    /// Waits until all that was left to shadows so far has been compared.
    pub fn settle_shadows(&self) {
        self.shared.shadows.settle();
    }

    /// Returns the position of the journal up to which committed orders were learned from.
    pub fn learned_to(&self) -> u64 {
        self.shared.followed.load(Ordering::SeqCst)
    }

    /// Decides on what has arrived, takes no more, and ends its threads.
    pub fn close(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        {
            // Under the lock that the guard's thread looks at it with, so that it is not missed.
            let _trips = self.shared.trips.lock();
            self.shared.closing.store(true, Ordering::SeqCst);
        }
        self.shared.queue.close();
        self.shared.shadows.close();
        self.shared.tripped.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so; its queue's waiters were answered.
            drop(thread.join());
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shut_down();
    }
}
