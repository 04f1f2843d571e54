//! The scenario `replay`: orders from a file, by schedule, by their recorded times, or as fast as
//! possible. The file is streamed; only its SKUs and the ledger are kept.

mod file;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::crowd::{Heard, User};
use crate::drive::{Arrival, LIVE_USERS_MAX, Pace, Pacer, Plan, Step, runtime};
use crate::error::LoadError;
use crate::load::{GRACE, LoadOptions, LoadReport, Phase, Prepared, Target, execute};
use crate::op::{Catalogue, Planned, RunSku};
use crate::scenario::ActorKind;
use crate::session::{Definition, IMPORT_LINES_MAX, ListPrice, Session, StockLine};
use crate::truth::Terms;
use file::{Entry, Lines, RawLine};

pub use file::{BASKET_LINES_MAX, LINE_BYTES_MAX, QUANTITY_MAX};

/// Most orders that `preload` holds in memory.
pub const PRELOAD_ORDERS_MAX: usize = 4_000_000;
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

/// Options of a replay.
#[derive(Debug)]
pub struct ReplayOptions {
    /// What every scenario has.
    pub load: LoadOptions,
    /// The file.
    pub file: PathBuf,
    /// Keeps the recorded times, this many times as fast; `None` goes by the pace of `load`.
    pub speed: Option<f64>,
    /// Sends the first orders only.
    pub orders: Option<u64>,
    /// How cells are placed. Default by SKU.
    pub placement: Placement,
    /// Reads all orders before the first is sent, up to [`PRELOAD_ORDERS_MAX`], so that reading
    /// is no part of the figures.
    pub preload: bool,
}

impl ReplayOptions {
    /// Makes the options of a target and a file with all defaults.
    pub fn new(target: Target, file: impl Into<PathBuf>) -> Self {
        Self {
            load: LoadOptions::new(target),
            file: file.into(),
            speed: None,
            orders: None,
            placement: Placement::Sku,
            preload: false,
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        self.load.check()?;
        match self.speed {
            Some(speed) if !(speed > 0.0 && speed <= 1e9) => {
                Err(LoadError::usage(format!("speed is {speed}, outside above 0 to 1000000000")))
            }
            Some(_) if self.load.pace != Pace::Max => {
                Err(LoadError::usage("speed keeps the recorded times, a rate does not; give one"))
            }
            _ => Ok(()),
        }
    }
}

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    /// What every scenario reports.
    pub load: LoadReport,
    /// The file.
    pub file: PathBuf,
    /// How cells were placed.
    pub placement: Placement,
    /// SKUs of the file.
    pub skus: u64,
    /// Lines of opening stock.
    pub stock_lines: u64,
    /// Time that definitions and opening stock took.
    pub setup_elapsed: Duration,
    /// Baskets sent.
    pub baskets: u64,
    /// Lines in them.
    pub lines: u64,
    /// Speed, if recorded times were kept.
    pub speed: Option<f64>,
    /// Whether the orders were read before the first was sent.
    pub preloaded: bool,
}

impl ReplayReport {
    /// Returns the baskets sent a second.
    pub fn basket_rate(&self) -> f64 {
        self.baskets as f64 / self.load.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the order lines sent a second.
    pub fn line_rate(&self) -> f64 {
        self.lines as f64 / self.load.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Defines the file's SKUs, puts its stock in, sends its orders and checks the truth; blocks
/// until all is done.
///
/// # Errors
///
/// Returns an input error that names file and line for what is outside the schema, and otherwise
/// what [`flash::run`](crate::flash::run) returns.
pub fn run(mut options: ReplayOptions) -> Result<ReplayReport, LoadError> {
    options.check()?;
    let started = SystemTime::now();
    let begun = Instant::now();
    let lines = Lines::open(&options.file)?;
    let ready = runtime()?.block_on(set_up(&mut options, lines))?;
    let setup_elapsed = begun.elapsed();
    let pacer = Arc::new(Pacer::new(options.load.pace, options.load.seed, None, GRACE));
    let catalogue = Arc::new(ready.catalogue);
    let plan = ReplayPlan {
        path: options.file.clone(),
        source: Mutex::new(Source {
            lines: ready.lines,
            ahead: ready.first_order,
            read: 0,
            preloaded: Vec::new().into_iter(),
        }),
        orders_max: options.orders.unwrap_or(u64::MAX),
        catalogue: Arc::clone(&catalogue),
        speed: options.speed,
        pacer: Arc::clone(&pacer),
        baskets: AtomicU64::new(0),
        basket_lines: AtomicU64::new(0),
    };
    if options.preload {
        plan.preload()?;
    }
    let plan = Arc::new(plan);
    let prepared = Prepared {
        scenario: "replay".to_owned(),
        catalogue: Arc::clone(&catalogue),
        plan: Arc::clone(&plan) as Arc<dyn Plan>,
        pacer,
        length: None,
        after: ready.after,
        started,
        open_loop: options.speed.is_some() || options.load.pace != Pace::Max,
        live_users: LIVE_USERS_MAX,
        actors: vec![("recorded".to_owned(), ActorKind::Human)],
        terms: Terms::default(),
    };
    let load = execute(&mut options.load, &prepared)?;
    Ok(ReplayReport {
        load,
        file: options.file,
        placement: options.placement,
        skus: catalogue.skus().len() as u64,
        stock_lines: ready.stock_lines,
        setup_elapsed,
        baskets: plan.baskets.load(Ordering::Relaxed),
        lines: plan.basket_lines.load(Ordering::Relaxed),
        speed: options.speed,
        preloaded: options.preload,
    })
}

/// The host is prepared; the reader stands behind the first order.
struct Ready {
    lines: Lines,
    catalogue: Catalogue,
    first_order: Option<RawLine>,
    stock_lines: u64,
    after: u64,
}

/// Reads SKUs and stock and hands them to the host, chunk by chunk.
async fn set_up(options: &mut ReplayOptions, mut lines: Lines) -> Result<Ready, LoadError> {
    let begun = Instant::now();
    options.load.tell_phase(Phase::Setup, begun.elapsed());
    let mut crew = Crew::new(&options.load, options.placement);
    let mut catalogue = Catalogue::default();
    let (mut skus, mut stock) = (Vec::new(), Vec::new());
    let (mut stock_lines, mut after) = (0, u64::MAX);
    let first_order = loop {
        let Some(line) = lines.next()? else { break None };
        let wrong = |what: &str| file::wrong(lines.path(), line.number, what);
        match file::parse(&line.bytes, &catalogue).map_err(|what| wrong(&what))? {
            Entry::Order { .. } => break Some(line),
            Entry::Sku { code, amount, currency, limit } => {
                if stock_lines > 0 {
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
                stock_lines += 1;
                stock.push(StockLine { sku, location, quantity });
                if !skus.is_empty() {
                    after = after.min(crew.define(std::mem::take(&mut skus)).await?);
                }
                if stock.len() >= IMPORT_LINES_MAX * 16 {
                    catalogue = crew.import(std::mem::take(&mut stock), catalogue).await?;
                    options.load.tell_phase(Phase::Setup, begun.elapsed());
                }
            }
        }
    };
    if !skus.is_empty() {
        after = after.min(crew.define(skus).await?);
    }
    catalogue = crew.import(stock, catalogue).await?;
    if catalogue.skus().is_empty() {
        let path = options.file.display();
        return Err(LoadError::input(format!("{path} defines no SKU")));
    }
    Ok(Ready { lines, catalogue, first_order, stock_lines, after })
}

/// Several sessions that prepare the host side by side.
struct Crew {
    sessions: Vec<Session>,
    placement: &'static str,
    imports: u64,
}

impl Crew {
    fn new(options: &LoadOptions, placement: Placement) -> Self {
        let sessions = (0..SETUP_CONNECTIONS).map(|_| options.session()).collect();
        Self { sessions, placement: placement.name(), imports: 0 }
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
    /// Orders that were read before the run.
    preloaded: std::vec::IntoIter<(Planned, u64)>,
}

/// The orders of a file in their order.
#[derive(Debug)]
struct ReplayPlan {
    path: PathBuf,
    source: Mutex<Source>,
    orders_max: u64,
    catalogue: Arc<Catalogue>,
    speed: Option<f64>,
    pacer: Arc<Pacer>,
    baskets: AtomicU64,
    basket_lines: AtomicU64,
}

impl ReplayPlan {
    fn preload(&self) -> Result<(), LoadError> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        while let Some((number, line)) = self.read(&mut source)? {
            if all.len() >= PRELOAD_ORDERS_MAX {
                return Err(LoadError::usage(format!(
                    "the file has more than {PRELOAD_ORDERS_MAX} orders, the most that are \
                     preloaded; take --orders or leave --preload away"
                )));
            }
            all.push(self.planned(number, &line)?);
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

    fn planned(&self, intent: u64, line: &RawLine) -> Result<(Planned, u64), LoadError> {
        let wrong = |what: &str| file::wrong(&self.path, line.number, what);
        match file::parse(&line.bytes, &self.catalogue).map_err(|what| wrong(&what))? {
            Entry::Order { op, at_ms } => Ok((Planned { intent, op }, at_ms)),
            Entry::Sku { .. } | Entry::Stock { .. } => {
                Err(wrong("SKUs and stock stand before the first order"))
            }
        }
    }
}

impl Plan for ReplayPlan {
    fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError> {
        // Only the order of lines and slots is kept under the lock; parsing is not.
        let (raw, ready, slot) = {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let ready = source.preloaded.next();
            let raw = if ready.is_none() { self.read(&mut source)? } else { None };
            if ready.is_none() && raw.is_none() {
                return Ok(None);
            }
            (raw, ready, self.pacer.next(now))
        };
        let (planned, at_ms) = match (ready, raw) {
            (Some(ready), _) => ready,
            (None, Some((number, line))) => self.planned(number, &line)?,
            (None, None) => return Ok(None),
        };
        self.baskets.fetch_add(1, Ordering::Relaxed);
        self.basket_lines.fetch_add(planned.op.lines.len() as u64, Ordering::Relaxed);
        let start = match self.speed {
            Some(speed) => Some(Duration::from_secs_f64(at_ms as f64 / 1e3 / speed)),
            None => slot.and_then(|(_, start)| start),
        };
        let user = User::passer(planned.intent);
        let step = Step { after: Duration::ZERO, asks: vec![planned] };
        Ok(Some(Arrival { start, user, step }))
    }

    fn next(&self, _: &mut User, _: &[Rc<Planned>], _: &[Heard]) -> Option<Step> {
        None
    }
}
