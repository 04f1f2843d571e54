//! What every scenario has in common: options, the run itself, progress and the report.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::drive::{
    self, CONNECTIONS_MAX, Counters, Course, Drive, Driven, LAG_P99_MAX, PIPELINE_MAX, Pace, Pacer,
    Plan, THREADS_MAX,
};
use crate::error::{LoadError, LoadErrorKind};
use crate::http::{Authority, Connection, Limits};
use crate::http_session::HttpSession;
use crate::machine::{Machine, date_text};
use crate::meter::{Latency, Meter, OnSecond, SeriesPoint};
use crate::op::{Catalogue, Loss, OpKind};
use crate::port::{BATCH_ITEMS_MAX, HttpPort, Port};
use crate::rank;
use crate::scenario::ActorKind;
use crate::session::{Session, settle};
use crate::truth::{Checker, Terms, TruthReport, Unresolved};

/// Time after the end of the schedule in which a backlog is still sent.
pub const GRACE: Duration = Duration::from_secs(10);
/// Longest time limit of one exchange.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// Generator processor share from which on it counts as saturated.
const GENERATOR_CPU_MAX: f64 = 0.95;
/// Share of requests sent late through a backlog that a saturated generator is blamed for.
const BACKLOG_SHARE_MAX: f64 = 0.01;

/// What the load goes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A host over HTTP.
    Http(Authority),
    /// An engine inside this process.
    #[cfg(feature = "inproc")]
    InProc(crate::inproc::InProcess),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{}", authority.as_str()),
            #[cfg(feature = "inproc")]
            Self::InProc(_) => f.write_str("inproc"),
        }
    }
}

/// Level of acknowledgement that requests ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// Applied; a crash may lose it.
    Memory,
    /// Applied and on disk with its group.
    #[default]
    Group,
    /// Applied and on disk in a group of its own.
    Strict,
}

impl AckLevel {
    /// Returns the name of the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Group => "group",
            Self::Strict => "strict",
        }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// SKUs are defined and stock is put in.
    #[default]
    Setup,
    /// Load is running.
    Load,
    /// What stayed unanswered is asked again, and the truth is checked.
    Truth,
}

/// Progress of a run, told about twice a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Where the run stands.
    pub phase: Phase,
    /// Time in this phase.
    pub elapsed: Duration,
    /// Length of the load, where it is known.
    pub of: Option<Duration>,
    /// Requests sent.
    pub sent: u64,
    /// Orders accepted.
    pub accepted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Requests a second since the last report.
    pub rate: f64,
    /// Users who came.
    pub users: u64,
    /// The latest second that is complete.
    pub latest: Option<LatestSecond>,
    /// Units left and put in of the SKU that everybody wants, where somebody looked.
    pub stock: Option<(u64, u64)>,
    /// Violations of the truth found so far; absent while nothing was checked.
    pub violations: Option<u64>,
    /// Faults put in so far.
    pub faults: u64,
}

/// The latest second of a run that is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatestSecond {
    /// Its number, from 0.
    pub second: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests accepted.
    pub accepted: u64,
    /// Requests refused for want of units.
    pub sold_out: u64,
    /// Requests that started late by the generator's own fault.
    pub late: u64,
    /// Requests without an answer at its end.
    pub in_flight: u64,
    /// Median from the intended start; absent without answers.
    pub intended_p50: Option<Duration>,
    /// 99 % from the intended start.
    pub intended_p99: Option<Duration>,
    /// 99 % from the actual start.
    pub service_p99: Option<Duration>,
}

impl From<&SeriesPoint> for LatestSecond {
    fn from(point: &SeriesPoint) -> Self {
        let any = |time: Duration| (point.intended.count > 0).then_some(time);
        Self {
            second: point.second,
            sent: point.counts.sent,
            accepted: point.counts.accepted,
            sold_out: point.counts.sold_out,
            late: point.counts.late,
            in_flight: point.in_flight,
            intended_p50: any(point.intended.p50),
            intended_p99: any(point.intended.p99),
            service_p99: any(point.service.p99),
        }
    }
}

/// Receives the progress of a run.
pub type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// Options that every scenario has.
pub struct LoadOptions {
    /// What the load goes to.
    pub target: Target,
    /// API key for writes; a host with `--dev` needs none.
    pub api_key: Option<String>,
    /// Level of acknowledgement. Default `group`.
    pub ack: AckLevel,
    /// How fast requests are sent. Default [`Pace::Max`].
    pub pace: Pace,
    /// Connections, 1 to [`CONNECTIONS_MAX`]. Default 64.
    pub connections: usize,
    /// Generator threads, 1 to [`THREADS_MAX`]. Default 1: more take processors from the target.
    pub threads: usize,
    /// Items of one `POST /v1/batch`, 1 to [`BATCH_ITEMS_MAX`]; 1 sends each request alone.
    pub batch: usize,
    /// Requests that a connection sends before it reads, 1 to [`PIPELINE_MAX`]. Default 1.
    pub pipeline: usize,
    /// Time limit of one exchange, up to [`TIMEOUT_MAX`]. Default 10 s.
    pub timeout: Duration,
    /// Seed of all that is random.
    pub seed: u64,
    /// Whether the truth is checked after the run. Default true.
    pub truth: bool,
    /// Set it to end the run early; the report is still made.
    pub stop: Arc<AtomicBool>,
    /// Receives progress.
    pub progress: Option<OnProgress>,
    /// Rows of each kind that the ledger keeps in memory, at least 1; more goes to a temporary
    /// file. Default 131,072: about 40 MB in all.
    pub ledger_rows: usize,
    /// Receives the times of every complete second.
    pub(crate) on_second: Option<Box<dyn OnSecond>>,
}

impl fmt::Debug for LoadOptions {
    /// Leaves the API key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("target", &self.target)
            .field("pace", &self.pace)
            .field("connections", &self.connections)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl LoadOptions {
    /// Makes the options of a target with all defaults.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            api_key: None,
            ack: AckLevel::Group,
            pace: Pace::Max,
            connections: 64,
            threads: 1,
            batch: 1,
            pipeline: 1,
            timeout: Duration::from_secs(10),
            seed: 1,
            truth: true,
            stop: Arc::default(),
            progress: None,
            ledger_rows: crate::spill::ROWS_MAX,
            on_second: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let within = |name: &str, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(LoadError::usage(format!("{name} is {value}, outside 1..={max}")))
        };
        within("connections", self.connections, CONNECTIONS_MAX)?;
        within("threads", self.threads, THREADS_MAX)?;
        within("batch", self.batch, BATCH_ITEMS_MAX)?;
        within("pipeline", self.pipeline, PIPELINE_MAX)?;
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            let (timeout, max) = (self.timeout.as_millis(), TIMEOUT_MAX.as_millis());
            return Err(LoadError::usage(format!("timeout is {timeout} ms, outside 1..={max}")));
        }
        let key_ok = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        if self.api_key.as_deref().is_some_and(|key| !key_ok(key)) {
            return Err(LoadError::usage("API key is empty or has other than visible characters"));
        }
        Ok(())
    }

    fn connection(&self, authority: &Authority, limits: Limits, ack: AckLevel) -> Connection {
        let ack = (ack != AckLevel::Group).then_some(ack.name());
        Connection::new(authority.clone(), limits, self.api_key.as_deref(), ack)
    }

    /// Opens the session for everything but the load.
    pub(crate) fn session(&self) -> Session {
        match &self.target {
            Target::Http(authority) => {
                // A page of events may take longer than a purchase.
                let limits = Limits { exchange: self.timeout.max(Duration::from_secs(30)) };
                let connection = self.connection(authority, limits, AckLevel::Group);
                Session::Http(HttpSession::new(connection))
            }
            #[cfg(feature = "inproc")]
            Target::InProc(inside) => Session::InProc(inside.session()),
        }
    }

    fn port(&self, catalogue: &Arc<Catalogue>) -> Port {
        match &self.target {
            Target::Http(authority) => {
                let limits = Limits { exchange: self.timeout };
                let connection = self.connection(authority, limits, self.ack);
                Port::Http(Box::new(HttpPort::new(connection, Arc::clone(catalogue), self.batch)))
            }
            #[cfg(feature = "inproc")]
            Target::InProc(inside) => Port::InProc(inside.port(catalogue, self.ack)),
        }
    }

    fn tell(&mut self, progress: &Progress) {
        if let Some(tell) = &mut self.progress {
            tell(progress);
        }
    }

    /// Tells that a phase other than the load goes on.
    pub(crate) fn tell_phase(&mut self, phase: Phase, elapsed: Duration) {
        self.tell(&Progress { phase, elapsed, ..Progress::default() });
    }
}

/// What a scenario hands over once the stock is in.
pub(crate) struct Prepared {
    pub(crate) scenario: String,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) pacer: Arc<Pacer>,
    /// Length of the load, where it is known.
    pub(crate) length: Option<Duration>,
    /// Position before the first event of the run.
    pub(crate) after: u64,
    /// When the preparation began.
    pub(crate) started: SystemTime,
    /// Whether requests start by a schedule.
    pub(crate) open_loop: bool,
    /// Most users who are in at once.
    pub(crate) live_users: usize,
    /// Kinds of users with their names, by role.
    pub(crate) actors: Vec<(String, ActorKind)>,
    /// What the checks are told; the start is filled in when the load begins.
    pub(crate) terms: Terms,
}

/// How many requests of one kind were answered, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// Kind of request.
    pub kind: OpKind,
    /// From the intended start to the answer.
    pub intended: Latency,
    /// From the actual start to the answer.
    pub service: Latency,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Name of the scenario.
    pub scenario: String,
    /// Target, without any key.
    pub target: String,
    /// Start of the run in UTC.
    pub date: String,
    /// The machine.
    pub machine: Machine,
    /// Seed.
    pub seed: u64,
    /// Pace.
    pub pace: Pace,
    /// Level of acknowledgement.
    pub ack: AckLevel,
    /// Connections.
    pub connections: usize,
    /// Generator threads.
    pub threads: usize,
    /// Items of a batch.
    pub batch: usize,
    /// Requests under way on one connection.
    pub pipeline: usize,
    /// Length of the load as it was.
    pub elapsed: Duration,
    /// Users who came.
    pub users: u64,
    /// Requests sent, follow-ups included.
    pub sent: u64,
    /// Requests of the schedule that were never sent: the target was too slow.
    pub unsent: u64,
    /// Answers that made an order for the first time.
    pub orders: u64,
    /// Answers that repeated an earlier one.
    pub replayed: u64,
    /// Refusals by code over all kinds.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Requests without an answer, by reason.
    pub losses: BTreeMap<Loss, u64>,
    /// Answers by HTTP status.
    pub status: BTreeMap<u16, u64>,
    /// Connections made anew because they had broken.
    pub reconnects: u64,
    /// Connections made anew because a user wanted one of its own.
    pub renewals: u64,
    /// Whether requests started by a schedule.
    pub open_loop: bool,
    /// Accepted requests of all kinds.
    pub accepted: KindReport,
    /// Refused requests of all kinds.
    pub refused: KindReport,
    /// Latency by kind; kinds that were not sent are absent.
    pub kinds: Vec<KindReport>,
    /// How late requests started though their connection was free.
    pub lag: Latency,
    /// Requests that started over [`LAG_P99_MAX`] late by the generator's own fault.
    pub late: u64,
    /// Requests that started late because every connection was waiting.
    pub backlogged: u64,
    /// Processors that the generator used; `None` where unknown.
    pub generator_cpu: Option<f64>,
    /// Why the figures say more about the generator than about the target.
    pub generator_limited: Option<String>,
    /// Whether the run was ended early.
    pub interrupted: bool,
    /// Counts of the engine of a run in this process; `None` over HTTP.
    #[cfg(feature = "inproc")]
    pub engine: Option<crate::inproc::EngineFacts>,
    /// Bytes of the ledger in memory.
    pub ledger_bytes: u64,
    /// Bytes of the ledger on disk.
    pub ledger_disk_bytes: u64,
    /// Code of the SKU that everybody wants, and its units; `None` where there is none.
    pub hot: Option<(String, u64)>,
    /// What the record of the run takes from here: seconds, groups, shares.
    pub(crate) detail: Arc<Detail>,
    /// Time that the check of the truth took.
    pub truth_elapsed: Duration,
    /// The truth; `None` if it was not asked for.
    pub truth: Option<TruthReport>,
}

/// What a report has beyond its figures.
#[derive(Debug, Default)]
pub(crate) struct Detail {
    pub(crate) meter: Meter,
    /// Kinds of users with what they got.
    pub(crate) actors: Vec<ActorCount>,
    /// Rank correlation of arriving and of being served.
    pub(crate) kendall_tau: Option<f64>,
}

/// What one kind of user got.
#[derive(Clone, Debug)]
pub(crate) struct ActorCount {
    pub(crate) name: String,
    pub(crate) kind: ActorKind,
    pub(crate) users: u64,
    pub(crate) orders: u64,
}

impl LoadReport {
    /// Returns the requests a second that were answered.
    pub fn rate(&self) -> f64 {
        let lost: u64 = self.losses.values().sum();
        self.sent.saturating_sub(lost) as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the orders a second.
    pub fn order_rate(&self) -> f64 {
        self.orders as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns whether requests started by a schedule.
    pub fn is_open_loop(&self) -> bool {
        self.open_loop
    }

    /// Returns whether every check of the truth holds; true if none was asked for.
    pub fn truth_holds(&self) -> bool {
        self.truth.as_ref().is_none_or(TruthReport::holds)
    }
}

/// Runs the load, asks again what stayed unanswered, and checks the truth.
pub(crate) fn execute(
    options: &mut LoadOptions,
    prepared: &Prepared,
) -> Result<LoadReport, LoadError> {
    let counters = Arc::new(Counters::default());
    counters.seq.store(prepared.after, Ordering::Relaxed);
    let load_started = SystemTime::now();
    let driven = run_load(options, prepared, &counters)?;
    let checking = Instant::now();
    options.tell_phase(Phase::Truth, checking.elapsed());
    let runtime = drive::runtime()?;
    let mut report = blank_report(options, prepared);
    let Driven { mut ledger, meter, .. } = driven;
    let unresolved = if ledger.lost.is_empty() {
        let lost = ledger.lost_beyond;
        Unresolved { orders: lost, changes: lost }
    } else {
        let mut port = options.port(&prepared.catalogue);
        runtime.block_on(settle(&mut port, &mut ledger, &prepared.catalogue))?
    };
    for ((_, code), count) in &ledger.refusals {
        *report.refusals.entry(code).or_default() += count;
    }
    report.losses = std::mem::take(&mut ledger.losses);
    report.status = std::mem::take(&mut ledger.status);
    report.replayed = ledger.replayed;
    report.users = counters.users.load(Ordering::Relaxed);
    report.sent = counters.sent.load(Ordering::Relaxed);
    report.orders = counters.accepted.load(Ordering::Relaxed);
    report.unsent = prepared.pacer.left();
    #[cfg(feature = "inproc")]
    if let Target::InProc(inside) = &options.target {
        report.engine = Some(inside.facts());
    }
    report.interrupted = options.stop.load(Ordering::Relaxed);
    (report.ledger_bytes, report.ledger_disk_bytes) = ledger.bytes();
    (report.reconnects, report.renewals) = (driven.reconnects, driven.renewals);
    (report.elapsed, report.generator_cpu) = (driven.elapsed, driven.generator_cpu);
    fill_times(&mut report, &meter);
    report.generator_limited = generator_limit(&report, options.threads);
    let counts = driven.came_by.iter().zip(&driven.orders_by);
    let actors = prepared.actors.iter().zip(counts);
    report.detail = Arc::new(Detail {
        meter,
        actors: actors
            .map(|((name, kind), (users, orders))| ActorCount {
                name: name.clone(),
                kind: *kind,
                users: *users,
                orders: *orders,
            })
            .collect(),
        kendall_tau: rank::kendall_tau(driven.ranks),
    });
    if options.truth {
        let since = load_started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let terms = Terms { started_ms: since.as_millis() as u64, ..prepared.terms.clone() };
        let until = ledger.seq_max.max(prepared.after);
        let catalogue = &prepared.catalogue;
        let mut checker = Checker::new(catalogue, ledger, unresolved, terms)?;
        let mut session = options.session();
        let read = session.truth(prepared.after, until, &mut checker, catalogue);
        report.truth = Some(match runtime.block_on(read) {
            Ok(()) => checker.finish()?,
            Err(error) if error.kind() == LoadErrorKind::NoFeed => {
                checker.finish_without_feed(&error.to_string())?
            }
            Err(error) => return Err(error),
        });
    }
    report.truth_elapsed = checking.elapsed();
    Ok(report)
}

fn run_load(
    options: &mut LoadOptions,
    prepared: &Prepared,
    counters: &Arc<Counters>,
) -> Result<Driven, LoadError> {
    let ports = (0..options.connections).map(|_| options.port(&prepared.catalogue)).collect();
    let drive = Drive {
        threads: options.threads,
        group: options.batch * options.pipeline,
        live_max: prepared.live_users,
        ledger_rows: options.ledger_rows,
    };
    let stop = Arc::clone(&options.stop);
    let mut on_second = options.on_second.take();
    let mut before = (Duration::ZERO, 0);
    let mut tick = |elapsed: Duration, latest: Option<&SeriesPoint>| {
        if stop.load(Ordering::Relaxed) {
            counters.stop.store(true, Ordering::Relaxed);
        }
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let sent = load(&counters.sent);
        let seconds = elapsed.saturating_sub(before.0).as_secs_f64().max(1e-9);
        let rate = sent.saturating_sub(before.1) as f64 / seconds;
        before = (elapsed, sent);
        options.tell(&Progress {
            phase: Phase::Load,
            elapsed,
            of: prepared.length,
            sent,
            accepted: load(&counters.accepted),
            refused: load(&counters.refused),
            lost: load(&counters.lost),
            rate,
            users: load(&counters.users),
            latest: latest.map(LatestSecond::from),
            ..Progress::default()
        });
    };
    let course = Course {
        plan: Arc::clone(&prepared.plan),
        catalogue: Arc::clone(&prepared.catalogue),
        counters: Arc::clone(counters),
        tick: &mut tick,
        on_second: on_second.as_deref_mut().map(|on_second| on_second as &mut dyn OnSecond),
    };
    drive::run(drive, ports, course)
}

fn blank_report(options: &LoadOptions, prepared: &Prepared) -> LoadReport {
    let none =
        KindReport { kind: OpKind::Buy, intended: Latency::default(), service: Latency::default() };
    let since = prepared.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    LoadReport {
        scenario: prepared.scenario.clone(),
        target: options.target.to_string(),
        date: date_text(since),
        machine: Machine::read(),
        seed: options.seed,
        pace: options.pace,
        ack: options.ack,
        connections: options.connections,
        threads: options.threads,
        batch: options.batch,
        pipeline: options.pipeline,
        elapsed: Duration::ZERO,
        users: 0,
        sent: 0,
        unsent: 0,
        orders: 0,
        replayed: 0,
        refusals: BTreeMap::new(),
        losses: BTreeMap::new(),
        status: BTreeMap::new(),
        reconnects: 0,
        renewals: 0,
        open_loop: prepared.open_loop,
        accepted: none,
        refused: none,
        kinds: Vec::new(),
        lag: Latency::default(),
        late: 0,
        backlogged: 0,
        generator_cpu: None,
        generator_limited: None,
        interrupted: false,
        #[cfg(feature = "inproc")]
        engine: None,
        ledger_bytes: 0,
        ledger_disk_bytes: 0,
        hot: prepared.terms.hot.map(|hot| {
            let sku = prepared.catalogue.sku(hot);
            (sku.code.clone(), sku.put_in)
        }),
        detail: Arc::default(),
        truth_elapsed: Duration::ZERO,
        truth: None,
    }
}

fn fill_times(report: &mut LoadReport, meter: &Meter) {
    for (kind_report, accepted) in [(&mut report.accepted, true), (&mut report.refused, false)] {
        let times = meter.sum(|group| group.accepted == accepted);
        kind_report.intended = times.intended.summary();
        kind_report.service = times.service.summary();
    }
    report.kinds = OpKind::ALL
        .into_iter()
        .map(|kind| {
            let times = meter.sum(|group| group.op == kind);
            KindReport {
                kind,
                intended: times.intended.summary(),
                service: times.service.summary(),
            }
        })
        .filter(|kind| kind.intended.count > 0)
        .collect();
    report.lag = meter.lag.summary();
    report.backlogged = meter.backlogged;
    report.late = meter.late;
}

/// Returns why a run by schedule says more about the generator than about the target.
fn generator_limit(report: &LoadReport, threads: usize) -> Option<String> {
    if !report.is_open_loop() {
        return None;
    }
    if report.lag.p99 > LAG_P99_MAX {
        return Some(format!(
            "1 % of the requests started {} ms or more too late although their connection was \
             free; the limit is {} ms",
            report.lag.p99.as_millis(),
            LAG_P99_MAX.as_millis()
        ));
    }
    let backlog = report.backlogged as f64 / report.sent.max(1) as f64;
    let cpu = report.generator_cpu? / threads.max(1) as f64;
    (cpu > GENERATOR_CPU_MAX && backlog > BACKLOG_SHARE_MAX).then(|| {
        format!(
            "the generator used {:.0} % of its {threads} threads' processor time and {:.1} % of \
             the requests started late",
            cpu * 100.0,
            backlog * 100.0
        )
    })
}
