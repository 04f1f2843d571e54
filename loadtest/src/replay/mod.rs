//! Stages of shape `trace`: orders from a file, by schedule, by their recorded times, or as fast as
//! possible. The file is streamed; only its SKUs and the ledger are kept.

mod file;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::crowd::{Heard, User};
use crate::drive::{Arrival, LIVE_USERS_MAX, Pacer, Plan, SECONDS_MAX, Step, runtime};
use crate::error::LoadError;
use crate::load::{GRACE, LoadOptions, LoadReport, Phase, Prepared, execute};
use crate::op::{Catalogue, Planned, RunSku};
use crate::scenario::{ActorKind, Scenario, StageArrivals};
use crate::schedule::{Arrivals, Curve};
use crate::session::{Definition, IMPORT_LINES_MAX, ListPrice, Session, StockLine};
use crate::truth;
use file::{Entry, Lines, RawLine};

pub use file::{BASKET_LINES_MAX, LINE_BYTES_MAX, QUANTITY_MAX};

/// Most orders that `preload` holds in memory.
pub const PRELOAD_ORDERS_MAX: usize = 4_000_000;
/// Slowest and fastest that recorded times may be kept.
pub(crate) const SPEED_MIN: f64 = 1e-6;
/// See [`SPEED_MIN`].
pub(crate) const SPEED_MAX: f64 = 1e9;
/// Name of the users of a file: each sends one recorded order.
pub(crate) const ACTOR: &str = "recorded";
/// Definitions that are read ahead while SKUs are defined.
const DEFINE_CHUNK: usize = 4_096;
/// Connections that prepare the host.
const SETUP_CONNECTIONS: usize = 64;

/// Which cells the host keeps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// All cells of a SKU.
    #[default]
    Sku,
    /// All cells of a location, so that a store's basket never crosses shards.
    Location,
}

impl Placement {
    /// Returns the name of the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sku => "sku",
            Self::Location => "location",
        }
    }
}

/// What a stage of shape `trace` asks for.
#[derive(Clone, Debug)]
struct Terms {
    file: PathBuf,
    /// Keeps the recorded times, this many times as fast.
    speed: Option<f64>,
    /// Sends the first orders only.
    orders: Option<u64>,
    placement: Placement,
    preload: bool,
}

/// Defines the file's SKUs, puts its stock in, sends its orders and checks the truth; blocks
/// until all is done.
///
/// # Errors
///
/// Returns an input error that names file and line for what is outside the schema, and otherwise
/// what [`run`](crate::run) returns.
pub(crate) fn run(scenario: &Scenario, load: &mut LoadOptions) -> Result<LoadReport, LoadError> {
    let trace = scenario.stages.iter().find_map(|stage| match &stage.arrivals {
        StageArrivals::Trace { file, speed, rate, orders, placement, preload } => {
            let (file, placement, preload) = (file.clone(), *placement, *preload);
            Some((Terms { file, speed: *speed, orders: *orders, placement, preload }, *rate))
        }
        StageArrivals::Rate(_) | StageArrivals::Max => None,
    });
    let (terms, rate) = trace.ok_or_else(|| LoadError::usage("the scenario has no trace"))?;
    let started = SystemTime::now();
    let lines = Lines::open(&terms.file)?;
    let ready = runtime()?.block_on(set_up(&terms, load, lines))?;
    let curve = rate.map(|rate| Arc::new(Curve::hold(rate)));
    let arrivals = curve.map(|curve| Arrivals::new(curve, scenario.shape, load.seed));
    let pacer = Arc::new(Pacer::of_arrivals(arrivals, None, GRACE));
    let catalogue = Arc::new(ready.catalogue);
    let plan = ReplayPlan {
        path: terms.file,
        source: Mutex::new(Source {
            lines: ready.lines,
            ahead: ready.first_order,
            read: 0,
            latest: None,
            preloaded: Vec::new().into_iter(),
        }),
        orders_max: terms.orders.unwrap_or(u64::MAX),
        catalogue: Arc::clone(&catalogue),
        speed: terms.speed,
        pacer: Arc::clone(&pacer),
    };
    if terms.preload {
        plan.preload()?;
    }
    let prepared = Prepared {
        scenario: scenario.name.clone(),
        catalogue: Arc::clone(&catalogue),
        plan: Arc::new(plan),
        pacer,
        length: None,
        after: ready.after,
        started,
        open_loop: terms.speed.is_some() || rate.is_some(),
        live_users: LIVE_USERS_MAX,
        actors: vec![(ACTOR.to_owned(), ActorKind::Human)],
        terms: truth::Terms {
            expiry_skew_ms: scenario.expiry_skew.as_millis() as u64,
            allowed: scenario.allowed.clone(),
            ..truth::Terms::default()
        },
        callbacks: Arc::default(),
    };
    execute(load, &prepared)
}

/// The host is prepared; the reader stands behind the first order.
struct Ready {
    lines: Lines,
    catalogue: Catalogue,
    first_order: Option<RawLine>,
    after: u64,
}

/// Reads SKUs and stock and hands them to the host, chunk by chunk.
async fn set_up(
    terms: &Terms,
    load: &mut LoadOptions,
    mut lines: Lines,
) -> Result<Ready, LoadError> {
    let begun = Instant::now();
    load.tell_phase(Phase::Setup, begun.elapsed());
    let mut crew = Crew::new(load, terms.placement)?;
    let mut catalogue = Catalogue::default();
    let (mut skus, mut stock) = (Vec::new(), Vec::new());
    let (mut stocked, mut after) = (false, u64::MAX);
    let first_order = loop {
        let Some(line) = lines.next()? else { break None };
        let wrong = |what: &str| file::wrong(lines.path(), line.number, what);
        match file::parse(&line.bytes, &catalogue).map_err(|what| wrong(&what))? {
            Entry::Order { .. } => break Some(line),
            Entry::Sku { code, amount, currency, limit } => {
                if stocked {
                    return Err(wrong("SKUs stand before stock and orders"));
                }
                if catalogue.skus().is_empty() && crew.first().knows(&code).await? {
                    return Err(LoadError::usage(format!(
                        "the host has the SKU {code} already; replay into a fresh data directory"
                    )));
                }
                let sku = RunSku { code: code.clone(), limit, price: amount, put_in: 0 };
                catalogue.add(sku).ok_or_else(|| wrong(&format!("sku {code:?} is there twice")))?;
                skus.push((code, ListPrice { amount, currency }, limit));
                if skus.len() >= DEFINE_CHUNK {
                    after = after.min(crew.define(std::mem::take(&mut skus)).await?);
                }
            }
            Entry::Stock { sku, location, quantity } => {
                catalogue.put_in(sku, quantity.into());
                stocked = true;
                stock.push(StockLine { sku, location, quantity });
                if !skus.is_empty() {
                    after = after.min(crew.define(std::mem::take(&mut skus)).await?);
                }
                if stock.len() >= IMPORT_LINES_MAX * 16 {
                    catalogue = crew.import(std::mem::take(&mut stock), catalogue).await?;
                    load.tell_phase(Phase::Setup, begun.elapsed());
                }
            }
        }
    };
    if !skus.is_empty() {
        after = after.min(crew.define(skus).await?);
    }
    catalogue = crew.import(stock, catalogue).await?;
    if catalogue.skus().is_empty() {
        let path = terms.file.display();
        return Err(LoadError::input(format!("{path} defines no SKU")));
    }
    Ok(Ready { lines, catalogue, first_order, after })
}

/// Several sessions that prepare the host side by side.
struct Crew {
    sessions: Vec<Session>,
    placement: &'static str,
    imports: u64,
}

impl Crew {
    fn new(options: &LoadOptions, placement: Placement) -> Result<Self, LoadError> {
        let sessions: Result<_, _> = (0..SETUP_CONNECTIONS).map(|_| options.session()).collect();
        Ok(Self { sessions: sessions?, placement: placement.name(), imports: 0 })
    }

    fn first(&mut self) -> &mut Session {
        &mut self.sessions[0]
    }

    /// Runs one job a session at a time, as tasks of this thread; returns the results.
    async fn each<T: 'static, J: 'static, F>(
        &mut self,
        jobs: Vec<J>,
        work: F,
    ) -> Result<Vec<T>, LoadError>
    where
        F: AsyncFn(&mut Session, J) -> Result<T, LoadError> + 'static,
    {
        let queue = Rc::new(std::cell::RefCell::new(jobs.into_iter()));
        let work = Rc::new(work);
        let tasks = tokio::task::LocalSet::new();
        let mut handles = Vec::new();
        for mut session in self.sessions.drain(..) {
            let (queue, work) = (Rc::clone(&queue), Rc::clone(&work));
            handles.push(tasks.spawn_local(async move {
                let mut done = Vec::new();
                loop {
                    let job = queue.borrow_mut().next();
                    let Some(job) = job else { return (session, Ok(done)) };
                    match work(&mut session, job).await {
                        Ok(result) => done.push(result),
                        Err(error) => return (session, Err(error)),
                    }
                }
            }));
        }
        tasks.await;
        let mut all = Vec::new();
        let mut failed = None;
        for handle in handles {
            let joined = handle.await;
            let (session, done) =
                joined.map_err(|e| LoadError::target(format!("the preparation broke: {e}")))?;
            self.sessions.push(session);
            match done {
                Ok(done) => all.extend(done),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Defines SKUs; returns the position before the first definition.
    async fn define(
        &mut self,
        skus: Vec<(String, ListPrice, Option<u32>)>,
    ) -> Result<u64, LoadError> {
        let placement = self.placement;
        let seqs = self
            .each(skus, async move |session: &mut Session, (code, price, limit)| {
                let (code, price) = (&code, &price);
                session.define(&Definition { code, price, limit, placement }).await
            })
            .await?;
        Ok(seqs.into_iter().min().unwrap_or(u64::MAX).saturating_sub(1))
    }

    /// Puts stock in; takes the catalogue and gives it back.
    async fn import(
        &mut self,
        stock: Vec<StockLine>,
        catalogue: Catalogue,
    ) -> Result<Catalogue, LoadError> {
        let catalogue = Rc::new(catalogue);
        let chunks = stock.chunks(IMPORT_LINES_MAX).map(<[StockLine]>::to_vec);
        let jobs: Vec<_> = (self.imports..).zip(chunks).collect();
        self.imports += jobs.len() as u64;
        let shared = Rc::clone(&catalogue);
        self.each(jobs, async move |session: &mut Session, (number, lines): (u64, Vec<_>)| {
            session.import(&format!("replay-stock-{number}"), &lines, &shared).await
        })
        .await?;
        Rc::into_inner(catalogue)
            .ok_or_else(|| LoadError::target("the preparation holds on to the catalogue"))
    }
}

#[derive(Debug)]
struct Source {
    lines: Lines,
    /// The line that ended the preparation.
    ahead: Option<RawLine>,
    /// Orders read.
    read: u64,
    /// Line and time of the latest order, where recorded times are kept.
    latest: Option<(u64, u64)>,
    /// Orders that were read before the run.
    preloaded: std::vec::IntoIter<Timed>,
}

/// An order with its start, where recorded times are kept.
type Timed = (Planned, Option<Duration>);

/// The orders of a file in their order.
#[derive(Debug)]
struct ReplayPlan {
    path: PathBuf,
    source: Mutex<Source>,
    orders_max: u64,
    catalogue: Arc<Catalogue>,
    speed: Option<f64>,
    pacer: Arc<Pacer>,
}

impl ReplayPlan {
    fn preload(&self) -> Result<(), LoadError> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        while let Some((number, line)) = self.read(&mut source)? {
            if all.len() >= PRELOAD_ORDERS_MAX {
                return Err(LoadError::usage(format!(
                    "the file has more than {PRELOAD_ORDERS_MAX} orders, the most that are \
                     preloaded; take the first `orders` or leave `preload` away"
                )));
            }
            all.push(self.timed(&mut source, number, &line)?);
        }
        source.preloaded = all.into_iter();
        Ok(())
    }

    /// Returns the number of the next order and its line.
    fn read(&self, source: &mut Source) -> Result<Option<(u64, RawLine)>, LoadError> {
        if source.read >= self.orders_max {
            return Ok(None);
        }
        let line = match source.ahead.take() {
            Some(line) => line,
            None => match source.lines.next()? {
                Some(line) => line,
                None => return Ok(None),
            },
        };
        let number = source.read;
        source.read += 1;
        Ok(Some((number, line)))
    }

    /// Reads an order and, where recorded times are kept, when it starts: times ascend, for an
    /// order behind its time would wait for those before it, and call that latency.
    fn timed(&self, source: &mut Source, intent: u64, line: &RawLine) -> Result<Timed, LoadError> {
        let (planned, at_ms) = self.planned(intent, line)?;
        let Some(speed) = self.speed else { return Ok((planned, None)) };
        let wrong = |what: String| Err(file::wrong(&self.path, line.number, &what));
        let Some(at_ms) = at_ms else {
            return wrong(
                "at_ms is missing; recorded times are kept only if all orders have one".into(),
            );
        };
        if let Some((before, latest)) = source.latest.filter(|(_, latest)| *latest > at_ms) {
            return wrong(format!(
                "at_ms is {at_ms}, before {latest} in line {before}; sort the orders by at_ms"
            ));
        }
        source.latest = Some((line.number, at_ms));
        let seconds = at_ms as f64 / 1e3 / speed;
        if seconds > SECONDS_MAX as f64 {
            return wrong(format!(
                "at_ms is {at_ms}, which at speed {speed} is beyond {SECONDS_MAX} s, the longest run"
            ));
        }
        Ok((planned, Some(Duration::from_secs_f64(seconds))))
    }

    fn planned(&self, intent: u64, line: &RawLine) -> Result<(Planned, Option<u64>), LoadError> {
        let wrong = |what: &str| file::wrong(&self.path, line.number, what);
        match file::parse(&line.bytes, &self.catalogue).map_err(|what| wrong(&what))? {
            Entry::Order { op, at_ms } => Ok((Planned { intent, op }, at_ms)),
            Entry::Sku { .. } | Entry::Stock { .. } => {
                Err(wrong("SKUs and stock stand before the first order"))
            }
        }
    }
}

/// The next order: read already, or still to be read.
enum Next {
    Ready(Timed),
    Raw(u64, RawLine),
}

impl Plan for ReplayPlan {
    fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError> {
        // Only the order of lines and slots is kept under the lock; parsing is not.
        let (next, slot) = {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let next = match source.preloaded.next() {
                Some(ready) => Next::Ready(ready),
                None => match self.read(&mut source)? {
                    None => return Ok(None),
                    // Recorded times are compared with those before, in the order of the lines.
                    Some((number, line)) if self.speed.is_some() => {
                        Next::Ready(self.timed(&mut source, number, &line)?)
                    }
                    Some((number, line)) => Next::Raw(number, line),
                },
            };
            (next, self.pacer.next(now))
        };
        let (planned, at) = match next {
            Next::Ready(ready) => ready,
            Next::Raw(number, line) => (self.planned(number, &line)?.0, None),
        };
        let start = at.or_else(|| slot.and_then(|(_, start)| start));
        let user = User::passer(planned.intent);
        let step = Step { after: Duration::ZERO, asks: vec![planned] };
        Ok(Some(Arrival { start, user, step }))
    }

    fn next(&self, _: &mut User, _: &[Rc<Planned>], _: &[Heard], _: Duration) -> Option<Step> {
        None
    }
}
