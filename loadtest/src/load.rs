//! What every scenario has in common: options, the run itself, progress and the report.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::crowd::Callbacks;
use crate::drive::{
    self, BACKLOG_SHARE_MAX, CONNECTIONS_MAX, Counters, Course, Drive, Driven, GENERATOR_CPU_MAX,
    LAG_P99_MAX, OnPanic, PIPELINE_MAX, Pacer, Plan, THREADS_MAX,
};
use crate::error::{LoadError, LoadErrorKind};
use crate::http::{Authority, Limits, STREAMS_MAX, Ways, Wire};
use crate::http_session::HttpSession;
use crate::lookout::Lookout;
use crate::machine::{Machine, date_text};
use crate::meter::{Latency, Meter, OnSecond, SeriesPoint};
use crate::op::{Catalogue, Loss, OpKind};
use crate::port::{BATCH_ITEMS_MAX, HttpPort, Port};
pub use crate::progress::{LatestSecond, OnProgress, Phase, Progress};
use crate::rank;
use crate::results::run::FaultOutcome;
use crate::results::run::WorkerFacts;
use crate::scenario::ActorKind;
use crate::session::{Session, settle};
use crate::truth::{Checker, Outage, Settled, Terms, TruthReport, Unresolved};

/// Time after the end of the schedule in which a backlog is still sent.
pub const GRACE: Duration = Duration::from_secs(10);
/// Longest time limit of one exchange.
pub const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// How many time limits of an exchange a request may take whose outcome is asked for again.
const SETTLE_TIMEOUTS: u32 = 3;

/// What the load goes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A host over HTTP.
    Http(Authority),
    /// An engine inside this process.
    #[cfg(feature = "inproc")]
    InProc(crate::inproc::InProcess),
    /// A shop that is no Onhand.
    #[cfg(all(feature = "peers", target_os = "linux"))]
    Peer(crate::peer::Peer),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "{authority}"),
            #[cfg(feature = "inproc")]
            Self::InProc(_) => f.write_str("inproc"),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Self::Peer(peer) => f.write_str(peer.kind().name()),
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

/// Goes on beside the load on a thread of its own, such as a script of faults.
pub(crate) trait Beside: Send {
    /// Works until the load is over and all that it began is ended; counts faults.
    ///
    /// # Errors
    ///
    /// Returns why the run can't go on.
    fn run(
        &mut self,
        started: Instant,
        over: &AtomicBool,
        faults: &AtomicU64,
    ) -> Result<(), LoadError>;

    /// Returns what came of each fault.
    fn outcomes(&self) -> Vec<FaultOutcome>;

    /// Returns when the target was kept from its work.
    fn outages(&self) -> Vec<Outage>;

    /// Returns the processor time of the target during the load, where it is known.
    fn cpu(&self) -> Option<Duration>;
}

/// Options that every scenario has.
pub struct LoadOptions {
    /// What the load goes to.
    pub target: Target,
    /// API key for writes; a host with `--dev` needs none.
    pub api_key: Option<String>,
    /// Level of acknowledgement. Default `group`.
    pub ack: AckLevel,
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
    /// How a host is spoken to.
    pub wire: Wire,
    /// Goes on beside the load.
    pub(crate) beside: Option<Box<dyn Beside>>,
    /// Receives the times of every complete second.
    pub(crate) on_second: Option<Box<dyn OnSecond>>,
    /// When the load starts; `None` is once all is prepared.
    pub(crate) start: Option<Instant>,
    /// Other processes that drive the load instead of this one; `None` drives it here.
    #[cfg(feature = "workers")]
    pub workers: Option<crate::crew::Workers>,
    /// Those of them that wait for their job.
    #[cfg(feature = "workers")]
    pub(crate) crew: Option<crate::crew::Crew>,
    /// The ways to the host, prepared once: a system's certificates are hundreds.
    ways: OnceLock<Result<Ways, LoadError>>,
}

impl fmt::Debug for LoadOptions {
    /// Leaves the API key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("target", &self.target)
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
            wire: Wire::default(),
            beside: None,
            on_second: None,
            start: None,
            #[cfg(feature = "workers")]
            workers: None,
            #[cfg(feature = "workers")]
            crew: None,
            ways: OnceLock::new(),
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
        within("streams", self.wire.streams, STREAMS_MAX)?;
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            let (timeout, max) = (self.timeout.as_millis(), TIMEOUT_MAX.as_millis());
            return Err(LoadError::usage(format!("timeout is {timeout} ms, outside 1..={max}")));
        }
        let key_ok = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        if self.api_key.as_deref().is_some_and(|key| !key_ok(key)) {
            return Err(LoadError::usage("API key is empty or has other than visible characters"));
        }
        match &self.target {
            Target::Http(authority) => self.ways(authority).map(drop),
            #[cfg(feature = "inproc")]
            Target::InProc(_) => Ok(()),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Target::Peer(_) => Ok(()),
        }
    }

    /// Returns ways to the host that share connections with nobody else.
    fn ways(&self, authority: &Authority) -> Result<Ways, LoadError> {
        let made = self.ways.get_or_init(|| Ways::new(authority.clone(), &self.wire));
        made.as_ref().map(Ways::apart).map_err(Clone::clone)
    }

    /// Opens the session for everything but the load.
    pub(crate) fn session(&self) -> Result<Session, LoadError> {
        match &self.target {
            Target::Http(authority) => {
                // A page of events may take longer than a purchase.
                let limits = Limits { exchange: self.timeout.max(Duration::from_secs(30)) };
                let way = self.ways(authority)?.way(limits, self.api_key.as_deref(), None);
                Ok(Session::Http(HttpSession::new(way)))
            }
            #[cfg(feature = "inproc")]
            Target::InProc(inside) => Ok(Session::InProc(inside.session())),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Target::Peer(peer) => Ok(Session::Peer(peer.session())),
        }
    }

    /// Makes the connections of the load, or as many as asked, dealt to threads in turn.
    pub(crate) fn ports(
        &self,
        catalogue: &Arc<Catalogue>,
        count: usize,
    ) -> Result<Vec<Port>, LoadError> {
        match &self.target {
            Target::Http(authority) => {
                let limits = Limits { exchange: self.timeout };
                let ack = (self.ack != AckLevel::Group).then_some(self.ack.name());
                // Connections are shared within a thread: its event loop reads them.
                let threads = self.threads.clamp(1, count.max(1));
                let groups = count.div_ceil(threads).div_ceil(self.wire.streams.max(1));
                let shared: Result<Vec<_>, _> =
                    (0..threads * groups).map(|_| self.ways(authority)).collect();
                let shared = shared?;
                let port = |number: usize| {
                    let group = number / threads / self.wire.streams.max(1);
                    let ways = &shared[number % threads * groups + group];
                    let way = ways.way(limits, self.api_key.as_deref(), ack);
                    Port::Http(Box::new(HttpPort::new(way, Arc::clone(catalogue), self.batch)))
                };
                Ok((0..count).map(port).collect())
            }
            #[cfg(feature = "inproc")]
            Target::InProc(inside) => {
                let port = inside.port(catalogue, self.ack);
                Ok((0..count).map(|_| Port::InProc(port.clone())).collect())
            }
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Target::Peer(peer) => {
                let port = || Port::Peer(Box::new(peer.port(catalogue, self.timeout)));
                Ok((0..count).map(|_| port()).collect())
            }
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
    /// Payments that are lost or doubled.
    pub(crate) callbacks: Arc<Callbacks>,
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
    /// Purchases that were accepted, and reservations that were placed, each once.
    pub orders: u64,
    /// Answers that repeated an earlier one.
    pub replayed: u64,
    /// Refusals by code over all kinds.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Requests without an answer, by reason.
    pub losses: BTreeMap<Loss, u64>,
    /// Answers by HTTP status.
    pub status: BTreeMap<u16, u64>,
    /// What came of asking again after the load; it is in none of the counts above.
    pub settled: Settled,
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
    /// Seconds in which a thread of the generator was at its limit while requests started late.
    pub saturated: u64,
    /// The processes that shared the load, where there were several.
    pub workers: Vec<WorkerFacts>,
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
    /// Why the run is not whole: the target was lost for good, or the truth could not be read.
    pub trouble: Option<String>,
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
    /// What went wrong on purpose, in order of time.
    pub(crate) faults: Vec<FaultOutcome>,
    /// Processors that a target of the load tester's own used.
    pub(crate) target_cpu: Option<f64>,
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
    let (driven, mut trouble) = run_load(options, prepared, &counters)?;
    let checking = Instant::now();
    options.tell_phase(Phase::Truth, checking.elapsed());
    let runtime = drive::runtime()?;
    let mut report = blank_report(options, prepared);
    let (mut ledger, meter) = (driven.ledger, driven.meter);
    // More threads than connections are never made, and workers have threads of their own.
    report.threads = driven.threads;
    // What is asked again afterwards is no part of the load.
    (report.refusals, report.losses, report.status, report.replayed) = ledger.take_counts();
    if trouble.is_none() {
        let group = options.batch * options.pipeline;
        let ports = ledger.lost.len().div_ceil(group.max(1)).min(options.connections);
        let ports = options.ports(&prepared.catalogue, ports)?;
        let patience = options.timeout * SETTLE_TIMEOUTS;
        let settling = settle(ports, group, patience, ledger, &prepared.catalogue);
        (ledger, report.settled) = runtime.block_on(settling)?;
    } else {
        let lost = ledger.lost_beyond + ledger.lost.len() as u64;
        let unknown = Unresolved { orders: lost, changes: lost };
        report.settled = Settled { asked: lost, unknown, ..Settled::default() };
    }
    let unresolved = report.settled.unknown;
    report.users = counters.users.load(Ordering::Relaxed);
    report.sent = counters.sent.load(Ordering::Relaxed);
    report.orders = counters.accepted.load(Ordering::Relaxed);
    report.unsent = driven.left.unwrap_or_else(|| prepared.pacer.left()) + driven.never_let_in;
    #[cfg(feature = "inproc")]
    if let Target::InProc(inside) = &options.target {
        report.engine = Some(inside.facts());
    }
    report.interrupted = options.stop.load(Ordering::Relaxed);
    (report.ledger_bytes, report.ledger_disk_bytes) = ledger.bytes();
    (report.reconnects, report.renewals) = (driven.reconnects, driven.renewals);
    (report.elapsed, report.generator_cpu) = (driven.elapsed, driven.generator_cpu);
    fill_times(&mut report, &meter);
    (report.workers, report.saturated) = (driven.workers, driven.saturated);
    report.generator_limited = generator_limit(&report);
    let counts = driven.came_by.iter().zip(&driven.orders_by);
    let actors = prepared.actors.iter().zip(counts);
    let mut faults = prepared.callbacks.outcomes(driven.elapsed);
    faults.extend(options.beside.iter().flat_map(|beside| beside.outcomes()));
    faults.sort_by_key(|fault| fault.at_ns);
    let target_cpu = options.beside.as_ref().and_then(|beside| beside.cpu());
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
        faults,
        target_cpu: target_cpu.map(|cpu| cpu.as_secs_f64() / driven.elapsed.as_secs_f64()),
    });
    if options.truth {
        let load_started = driven.started.unwrap_or(prepared.started);
        let since = load_started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let outages = options.beside.as_ref().map_or(Vec::new(), |beside| beside.outages());
        let started_ms = since.as_millis() as u64;
        let terms = Terms { started_ms, outages, ..prepared.terms.clone() };
        let until = ledger.seq_max.max(prepared.after);
        let catalogue = &prepared.catalogue;
        let mut checker = Checker::new(catalogue, ledger, unresolved, terms)?;
        let mut session = options.session()?;
        let read = match &trouble {
            None => runtime.block_on(session.truth(prepared.after, until, &mut checker, catalogue)),
            Some(error) => Err(error.clone()),
        };
        report.truth = Some(match read {
            Ok(()) => checker.finish()?,
            // What was found so far is worth its report, whatever has happened to the host.
            Err(error) => {
                let unread = checker.finish_without_feed(&error.to_string())?;
                if error.kind() != LoadErrorKind::NoFeed {
                    trouble = trouble.or(Some(error));
                }
                unread
            }
        });
    }
    report.trouble = trouble.map(|error| error.to_string());
    report.truth_elapsed = checking.elapsed();
    Ok(report)
}

/// Drives the load of what is prepared, here or by workers; the second result is what ended the work
/// beside the load, if anything did.
pub(crate) fn run_load(
    options: &mut LoadOptions,
    prepared: &Prepared,
    counters: &Arc<Counters>,
) -> Result<(Driven, Option<LoadError>), LoadError> {
    #[cfg(feature = "workers")]
    let crew = options.crew.take();
    let ports = options.ports(&prepared.catalogue, options.connections)?;
    let drive = Drive {
        threads: options.threads,
        group: options.batch * options.pipeline,
        live_max: prepared.live_users,
        ledger_rows: options.ledger_rows,
        truth: options.truth,
        start: options.start,
    };
    let stop = Arc::clone(&options.stop);
    let (over, faults) = (AtomicBool::new(false), AtomicU64::new(0));
    // Only who shows it asks for it: the look is a request more to the target.
    let hot = prepared.terms.hot.filter(|_| options.progress.is_some());
    let session = hot.map(|_| options.session()).transpose()?;
    let watched = hot.zip(session);
    let lookout = watched.and_then(|(hot, session)| Lookout::start(session, hot, prepared));
    let mut on_second = options.on_second.take();
    let mut beside = options.beside.take();
    let mut before = (Duration::ZERO, 0);
    let mut tick = |elapsed: Duration, latest: Option<&SeriesPoint>| {
        if stop.load(Ordering::Relaxed) {
            counters.stop.store(true, Ordering::Relaxed);
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
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
            faults: load(&faults) + prepared.callbacks.begun(elapsed),
            stock: lookout.as_ref().and_then(Lookout::stock),
        });
    };
    let course = Course {
        plan: Arc::clone(&prepared.plan),
        catalogue: Arc::clone(&prepared.catalogue),
        counters: Arc::clone(counters),
        tick: &mut tick,
        on_second: on_second.as_deref_mut().map(|on_second| on_second as &mut dyn OnSecond),
    };
    let driven = std::thread::scope(|scope| {
        // Who goes on beside the load waits for its end, whatever ends it.
        let _panics = OnPanic(|| over.store(true, Ordering::Relaxed));
        let started = Instant::now();
        let ran = beside.as_mut().map(|beside| {
            let (over, faults) = (&over, &faults);
            scope.spawn(move || {
                let ran = beside.run(started, over, faults);
                // What can't go on beside the load makes it worth nothing.
                counters.stop.fetch_or(ran.is_err(), Ordering::Relaxed);
                ran
            })
        });
        #[cfg(feature = "workers")]
        let driven = match crew {
            Some(mut crew) => {
                crew.after = prepared.after;
                crew.drive(drive, course)
            }
            None => drive::run(drive, ports, course),
        };
        #[cfg(not(feature = "workers"))]
        let driven = drive::run(drive, ports, course);
        over.store(true, Ordering::Relaxed);
        let ran = ran.map(std::thread::ScopedJoinHandle::join);
        let trouble = match ran {
            Some(Ok(ran)) => ran.err(),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => None,
        };
        driven.map(|driven| (driven, trouble))
    });
    options.beside = beside;
    driven
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
        settled: Settled::default(),
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
        saturated: 0,
        workers: Vec::new(),
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
        trouble: None,
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

/// Returns why a run says more about the generator than about the target.
fn generator_limit(report: &LoadReport) -> Option<String> {
    let threads = report.threads;
    let cpu = report.generator_cpu.map(|cpu| cpu / threads.max(1) as f64);
    if !report.is_open_loop() {
        return cpu.filter(|cpu| *cpu > GENERATOR_CPU_MAX).map(|cpu| {
            format!(
                "the generator used {:.0} % of its {threads} threads' processor time: the target \
                 may have more to give",
                cpu * 100.0
            )
        });
    }
    let behind = |worker: &&WorkerFacts| worker.lag.p99_ns as u128 > LAG_P99_MAX.as_nanos();
    if let Some(worker) = report.workers.iter().find(behind) {
        return Some(format!(
            "1 % of the requests of worker {} started {} ms or more too late although their \
             connection was free; the limit is {} ms",
            worker.address,
            worker.lag.p99_ns / 1_000_000,
            LAG_P99_MAX.as_millis()
        ));
    }
    if report.lag.p99 > LAG_P99_MAX {
        return Some(format!(
            "1 % of the requests started {} ms or more too late although their connection was \
             free; the limit is {} ms",
            report.lag.p99.as_millis(),
            LAG_P99_MAX.as_millis()
        ));
    }
    if report.saturated > 0 {
        return Some(format!(
            "in {} seconds a thread of the generator used or waited for its processor over {:.0} % \
             of the time while requests started late",
            report.saturated,
            GENERATOR_CPU_MAX * 100.0
        ));
    }
    let backlog = report.backlogged as f64 / report.sent.max(1) as f64;
    let cpu = cpu.filter(|cpu| *cpu > GENERATOR_CPU_MAX && backlog > BACKLOG_SHARE_MAX)?;
    Some(format!(
        "the generator used {:.0} % of its {threads} threads' processor time and {:.1} % of the \
         requests started late",
        cpu * 100.0,
        backlog * 100.0
    ))
}
