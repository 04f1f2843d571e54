//! Runs a scenario from its file to its record: the run, the thresholds, the folder of results.

use std::path::Path;
use std::time::Duration;
#[cfg(feature = "report")]
use std::time::SystemTime;

#[cfg(feature = "workers")]
use crate::crew::{Crew, Task, Workers};
use crate::error::LoadError;
use crate::http::{HttpVersion, Trust};
use crate::load::{LoadOptions, LoadReport, Target};
use crate::meter::{Group, KindTimes, Times};
use crate::preflight;
use crate::replay;
use crate::report::run_text;
use crate::results::folder::Folder;
#[cfg(feature = "report")]
use crate::results::folder::REPORT_FILE;
#[cfg(feature = "report")]
use crate::results::interval::{Clock, IntervalLog, LogFile, Tags};
use crate::results::run::{
    ActorShare, Connecting, Counts, Exit, Fairness, FaultOutcome, Generator, HotSku, LatencyGroup,
    MachineFacts, Run, SCHEMA, ScenarioFacts, SettledCounts, Spectrum, Stage, Stock, TargetFacts,
    TargetKind, Tool, TruthCheck, Verdict, nanos,
};
use crate::results::series::SeriesRow;
use crate::results::threshold::{Evidence, Latencies, NoLatencies, THRESHOLDS_MAX, Threshold};
use crate::sale;
#[cfg(feature = "workers")]
use crate::scenario::StageTerms;
use crate::scenario::{ActorKind, Scenario, StageArrivals};
use crate::schedule::Form;
use crate::truth::{self, Settled, TruthReport};

/// Options of a run beside the scenario.
#[derive(Debug)]
pub struct RunOptions {
    /// Target, key, seed, progress; [`RunOptions::new`] takes the rest from the scenario.
    pub load: LoadOptions,
    /// Prefix of SKU codes and keys, 1 to 40 characters of `A-Z a-z 0-9 _ . -`; `None` makes one
    /// of the scenario's name and the seed. A host takes a prefix once.
    pub run: Option<String>,
    /// The host to start, wait for and end; the target is its address. Faults of the host need one.
    #[cfg(all(feature = "faults", target_os = "linux"))]
    pub host: Option<crate::fault::HostCommand>,
    /// Where the folder of results is made; `None` writes none.
    pub out: Option<std::path::PathBuf>,
    /// Further thresholds, such as `buy.intended.p99 < 50ms`.
    pub thresholds: Vec<String>,
    /// Whether a run that the generator limits may pass.
    pub allow_generator_limit: bool,
}

impl RunOptions {
    /// Returns how many connections a scenario wants.
    pub fn connections(scenario: &Scenario) -> usize {
        scenario.drive.connections
    }

    /// Makes the options of a scenario and a peer that was started for it.
    ///
    /// # Errors
    ///
    /// Returns a usage error that names what the scenario asks and the peer does not serve.
    #[cfg(all(feature = "peers", target_os = "linux"))]
    pub fn on_peer(
        scenario: &Scenario,
        server: crate::peer::PeerServer,
    ) -> Result<Self, LoadError> {
        let peer = server.peer();
        crate::peer::check(peer.kind(), scenario)?;
        let mut options = Self::new(scenario, Target::Peer(peer));
        options.load.beside = Some(Box::new(server));
        Ok(options)
    }

    /// Warns of what this machine may not have for the run, such as ports; `None` if all is well.
    pub fn warning(&self, scenario: &Scenario) -> Option<String> {
        preflight::ports(scenario, &self.load)
    }

    /// Makes the options of a scenario and a target.
    pub fn new(scenario: &Scenario, target: Target) -> Self {
        let mut load = LoadOptions::new(target);
        let drive = scenario.drive;
        load.ack = drive.ack;
        load.connections = drive.connections;
        load.threads = drive.threads;
        load.batch = drive.batch;
        load.pipeline = drive.pipeline;
        load.timeout = drive.timeout;
        load.wire = scenario.wire.clone();
        load.truth = scenario.truth;
        load.seed = scenario.seed.unwrap_or(load.seed);
        Self {
            load,
            run: None,
            #[cfg(all(feature = "faults", target_os = "linux"))]
            host: None,
            out: None,
            thresholds: Vec::new(),
            allow_generator_limit: false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The record; its exit says how a command ends.
    pub run: Run,
    /// The run second by second.
    pub series: Vec<SeriesRow>,
    /// The folder of results, where one was asked for.
    pub folder: Option<Folder>,
    /// What the run told of itself; absent where the record was read from a folder.
    pub report: Option<Box<LoadReport>>,
}

/// Runs a scenario, checks the truth, evaluates the thresholds and writes the results; blocks until
/// all is done.
///
/// # Errors
///
/// Returns a usage error for an option outside its range and for faults of a host that the load
/// tester has not started; a target error if the host can't be reached, refuses the preparation or
/// breaks the contract; an input error if a file can't be read or written. A violated truth and a
/// threshold that does not hold are no errors: they stand in the record.
pub fn run(scenario: &Scenario, mut options: RunOptions) -> Result<Outcome, LoadError> {
    let thresholds = thresholds(scenario, &options)?;
    run_with(scenario, &mut options, &thresholds)
}

/// Runs a scenario with these thresholds and no others; the options can be used again.
pub(crate) fn run_with(
    scenario: &Scenario,
    options: &mut RunOptions,
    thresholds: &[Threshold],
) -> Result<Outcome, LoadError> {
    options.load.check()?;
    preflight::open_files(&options.load)?;
    #[cfg(all(feature = "faults", target_os = "linux"))]
    let host = options.host.take();
    #[cfg(not(all(feature = "faults", target_os = "linux")))]
    let host: Option<()> = None;
    let of_host = scenario.faults.iter().find(|fault| fault.action.is_of_host());
    if let (Some(fault), None) = (of_host, &host) {
        return Err(LoadError::usage(format!(
            "the scenario puts in the fault {}, which needs a host that the load tester starts \
             itself: name no target, and in the scenario its command where it is not the ordinary \
             one",
            fault.action.name()
        )));
    }
    let name = options.run.clone();
    let name = name.unwrap_or_else(|| format!("{}-{}", scenario.name, options.load.seed));
    check_name(&name)?;
    #[cfg(feature = "workers")]
    if let Some(workers) = options.load.workers.clone() {
        if host.is_some() {
            let text = "workers drive a host that runs already, not one that is started here";
            return Err(LoadError::usage(text));
        }
        options.load.crew = Some(hire(&workers, scenario, &options.load, &name)?);
    }
    let folder = options.out.as_deref().map(|out| Folder::create(out, &name)).transpose()?;
    #[cfg(all(feature = "faults", target_os = "linux"))]
    let _output = start_host(host, &scenario.faults, folder.as_ref(), &mut options.load)?;
    #[cfg(feature = "report")]
    let log = Log::begin(scenario, folder.as_ref(), !thresholds.is_empty(), &mut options.load)?;
    let facts = Facts::of(scenario, &options.load);
    let report = if scenario.is_trace() {
        replay::run(scenario, &mut options.load)?
    } else {
        sale::run(scenario, &mut options.load, &name)?
    };
    let mut run = record(scenario, facts, &report);
    let series = series(&report);
    #[cfg(feature = "report")]
    let log = log.map(Log::finish).transpose()?;
    #[cfg(feature = "report")]
    let latencies: &dyn Latencies = log.as_ref().map_or(&NoLatencies, |log| log);
    #[cfg(not(feature = "report"))]
    let latencies: &dyn Latencies = &NoLatencies;
    let evidence = Evidence { run: &run, series: &series, latencies };
    run.thresholds = thresholds.iter().map(|one| one.evaluate(evidence)).collect();
    run.exit = run.judge(options.allow_generator_limit);
    if let Some(folder) = &folder {
        #[cfg(feature = "report")]
        write_page(folder, &run, &series)?;
        folder.write("report.txt", run_text(&run).as_bytes())?;
        folder.complete(&run, &series)?;
    }
    Ok(Outcome { run, series, folder, report: Some(Box::new(report)) })
}

/// Starts the host of a run, which then goes on beside the load; returns the directory of its
/// output where the run has no folder.
#[cfg(all(feature = "faults", target_os = "linux"))]
pub(crate) fn start_host(
    host: Option<crate::fault::HostCommand>,
    faults: &[crate::scenario::Fault],
    folder: Option<&Folder>,
    load: &mut LoadOptions,
) -> Result<Option<tempfile::TempDir>, LoadError> {
    use crate::results::folder::HOST_FILE;
    let Some(host) = host else { return Ok(None) };
    let (path, scratch) = match folder {
        Some(folder) => (folder.file(HOST_FILE), None),
        None => {
            let made = tempfile::tempdir();
            let made = made.map_err(|e| LoadError::input(format!("no log of the host: {e}")))?;
            (made.path().join(HOST_FILE), Some(made))
        }
    };
    load.beside = Some(Box::new(crate::fault::Script::start(host, faults, &path)?));
    Ok(scratch)
}

/// Refuses workers for a scenario that one process must drive.
#[cfg(feature = "workers")]
pub(crate) fn check_shared(scenario: &Scenario) -> Result<(), LoadError> {
    let traced = |stage: &StageTerms| matches!(stage.arrivals, StageArrivals::Trace { .. });
    if scenario.stages.iter().any(traced) {
        return Err(LoadError::usage("workers can't share a trace: one process reads its file"));
    }
    if !scenario.faults.is_empty() || scenario.command.is_some() {
        return Err(LoadError::usage(
            "workers drive a host that is there: a scenario with faults or a command needs one \
             process",
        ));
    }
    Ok(())
}

/// Hires the workers of a run, before anything is done to the target.
#[cfg(feature = "workers")]
fn hire(
    workers: &Workers,
    scenario: &Scenario,
    load: &LoadOptions,
    run: &str,
) -> Result<Crew, LoadError> {
    check_shared(scenario)?;
    let url = load.target.to_string();
    if !url.starts_with("http") {
        return Err(LoadError::usage(format!("workers drive a host over HTTP, not {url}")));
    }
    Crew::hire(
        workers,
        Task {
            scenario: scenario.text.clone(),
            name: scenario.name.clone(),
            steady: scenario.steady,
            hash: scenario.hash(),
            seed: load.seed,
            run: run.to_owned(),
            url,
            connections: load.connections,
            threads: load.threads,
            truth: load.truth,
        },
    )
}

fn thresholds(scenario: &Scenario, options: &RunOptions) -> Result<Vec<Threshold>, LoadError> {
    let of_file = scenario.slo.iter().map(|(what, bound)| format!("{what} {bound}"));
    let all: Vec<String> = of_file.chain(options.thresholds.iter().cloned()).collect();
    if all.len() > THRESHOLDS_MAX {
        let (count, max) = (all.len(), THRESHOLDS_MAX);
        return Err(LoadError::usage(format!(
            "there are {count} thresholds, at most {max} may be"
        )));
    }
    all.iter().map(|text| scenario.threshold(text)).collect()
}

/// Checks a prefix of SKU codes and keys.
pub(crate) fn check_name(name: &str) -> Result<(), LoadError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=40).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let want = "want 1 to 40 characters of A-Z a-z 0-9 _ . -; choose another --run";
    Err(LoadError::usage(format!("run is {name:?}, {want}")))
}

/// Returns what a record says about the question.
#[cfg(feature = "report")]
pub(crate) fn facts_of(scenario: &Scenario, load: &LoadOptions) -> (ScenarioFacts, TargetFacts) {
    let Facts { scenario, target } = Facts::of(scenario, load);
    (scenario, target)
}

/// What the record says about the question, taken before the run takes the options.
struct Facts {
    scenario: ScenarioFacts,
    target: TargetFacts,
}

impl Facts {
    fn of(scenario: &Scenario, load: &LoadOptions) -> Self {
        let ack = load.ack.name();
        let (kind, url, tls, ack) = match &load.target {
            Target::Http(authority) => {
                let kind = match load.wire.http {
                    HttpVersion::One => TargetKind::Http1,
                    HttpVersion::Two => TargetKind::Http2,
                };
                (kind, authority.to_string(), authority.is_secure(), ack)
            }
            #[cfg(feature = "inproc")]
            Target::InProc(_) => (TargetKind::Inproc, String::new(), false, ack),
            #[cfg(all(feature = "peers", target_os = "linux"))]
            Target::Peer(peer) => {
                use crate::peer::PeerKind;
                let kind = match peer.kind() {
                    PeerKind::Redis => TargetKind::Redis,
                    PeerKind::Postgres => TargetKind::Postgres,
                };
                (kind, String::new(), false, peer.kind().ack())
            }
        };
        let streams = (kind == TargetKind::Http2).then_some(load.wire.streams as u64);
        let unverified = tls && load.wire.trust == Trust::Anything;
        Self {
            scenario: ScenarioFacts {
                name: scenario.name.clone(),
                hash: scenario.hash(),
                seed: load.seed,
                text: scenario.text.clone(),
            },
            target: TargetFacts { kind, url, tls, unverified, streams, ack: ack.to_owned() },
        }
    }
}

/// Makes the record of a run; thresholds and exit are left to the caller.
fn record(scenario: &Scenario, facts: Facts, report: &LoadReport) -> Run {
    let refused: u64 = report.refusals.values().sum();
    let accepted = report.accepted.intended.count;
    let detail = &report.detail;
    // Whom a worker trusts is its own.
    let took_any = report.workers.iter().any(|worker| worker.unverified);
    Run {
        schema: SCHEMA,
        tool: Tool::this(),
        scenario: facts.scenario,
        target: TargetFacts {
            unverified: facts.target.tls && (facts.target.unverified || took_any),
            ..facts.target
        },
        date: report.date.clone(),
        machine: MachineFacts::from(&report.machine),
        elapsed_ns: nanos(report.elapsed),
        interrupted: report.interrupted,
        stages: stages(scenario, report),
        counts: Counts {
            users: report.users,
            sent: report.sent,
            answered: accepted + refused,
            accepted,
            orders: detail.actors.iter().map(|actor| actor.orders).sum(),
            replayed: report.replayed,
            unsent: report.unsent,
            reconnects: report.reconnects,
            status: report.status.clone(),
        },
        refused: report.refusals.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect(),
        lost: report.losses.iter().map(|(loss, n)| (loss.code().to_owned(), *n)).collect(),
        settled: settled(report),
        latency: latency(scenario, report),
        connecting: connecting(report),
        generator: Generator {
            threads: report.threads as u64,
            connections: report.connections as u64,
            cpu_share: report.generator_cpu,
            host_cpu_share: detail.target_cpu,
            lag: Spectrum::of(detail.meter.lag.histogram()),
            late: report.late,
            backlogged: report.backlogged,
            limited: report.generator_limited.clone(),
            workers: report.workers.clone(),
        },
        stock: report.truth.as_ref().filter(|truth| truth.feed).map(|truth| stock(report, truth)),
        fairness: Some(fairness(report)),
        truth: report.truth.as_ref().map(checks).unwrap_or_default(),
        thresholds: Vec::new(),
        faults: detail.faults.clone(),
        trouble: report.trouble.clone(),
        exit: Exit::default(),
    }
}

fn settled(report: &LoadReport) -> SettledCounts {
    let Settled { asked, accepted, refused, .. } = report.settled;
    // What was beyond the memory is of either kind, and counts once.
    SettledCounts { asked, accepted, refused, unknown: asked.saturating_sub(accepted + refused) }
}

fn stages(scenario: &Scenario, report: &LoadReport) -> Vec<Stage> {
    let mut from = Duration::ZERO;
    let mut stages = Vec::new();
    for stage in &scenario.stages {
        let to = match stage.arrivals {
            StageArrivals::Trace { .. } => report.elapsed,
            _ => from + stage.length,
        };
        let mean = || report.users as f64 / report.elapsed.as_secs_f64().max(1e-9);
        let (rate_from, rate_to) = match stage.arrivals {
            StageArrivals::Rate(Form::Ramp { from, to }) => (from, to),
            StageArrivals::Rate(Form::Hold { rate }) => (rate, rate),
            StageArrivals::Rate(Form::Flash { base, peak, .. }) => (base, peak),
            StageArrivals::Trace { .. } | StageArrivals::Max => (mean(), mean()),
        };
        stages.push(Stage {
            name: stage.name.clone(),
            shape: stage.arrivals.name().to_owned(),
            from_ns: nanos(from),
            to_ns: nanos(to),
            rate_from,
            rate_to,
        });
        from = to;
    }
    stages
}

/// Returns the groups that a record has: all, by operation and outcome, by stage, by actor.
fn latency(scenario: &Scenario, report: &LoadReport) -> Vec<LatencyGroup> {
    let meter = &report.detail.meter;
    let mut groups = Vec::new();
    let mut push = |head: LatencyGroup, test: &dyn Fn(&Group) -> bool| {
        let KindTimes { intended, service } = meter.sum(test);
        if !intended.histogram().is_empty() {
            let intended = Spectrum::of(intended.histogram());
            let service = Spectrum::of(service.histogram());
            groups.push(LatencyGroup { intended, service, ..head });
        }
    };
    let head = LatencyGroup::default;
    push(head(), &|_| true);
    for accepted in [true, false] {
        let outcome = Some(outcome_name(accepted).to_owned());
        push(LatencyGroup { outcome, ..head() }, &|group| group.accepted == accepted);
    }
    for op in crate::op::OpKind::ALL {
        let named = || LatencyGroup { op: Some(op.name().to_owned()), ..head() };
        push(named(), &|group| group.op == op);
        for accepted in [true, false] {
            let outcome = Some(outcome_name(accepted).to_owned());
            let test = |group: &Group| group.op == op && group.accepted == accepted;
            push(LatencyGroup { outcome, ..named() }, &test);
        }
    }
    for (at, stage) in scenario.stages.iter().enumerate() {
        let named = || LatencyGroup { stage: Some(stage.name.clone()), ..head() };
        push(named(), &|group| usize::from(group.stage) == at);
        for accepted in [true, false] {
            let outcome = Some(outcome_name(accepted).to_owned());
            let test = |g: &Group| usize::from(g.stage) == at && g.accepted == accepted;
            push(LatencyGroup { outcome, ..named() }, &test);
        }
    }
    for (at, actor) in report.detail.actors.iter().enumerate() {
        let named = LatencyGroup { actor: Some(actor.name.clone()), ..head() };
        push(named, &|group| usize::from(group.actor) == at);
    }
    groups
}

/// Returns how long connections took; `None` where none was made.
fn connecting(report: &LoadReport) -> Option<Connecting> {
    let dials = &report.detail.meter.dials;
    let spectrum =
        |times: &Times| Some(times.histogram()).filter(|times| !times.is_empty()).map(Spectrum::of);
    Some(Connecting { tcp: spectrum(&dials.tcp)?, tls: spectrum(&dials.tls) })
}

const fn outcome_name(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "refused" }
}

fn stock(report: &LoadReport, truth: &TruthReport) -> Stock {
    let units = truth.units;
    Stock {
        put_in: units.put_in,
        sold: units.sold,
        reserved: units.reserved,
        left: units.left,
        sku_hot: report.hot.as_ref().map(|(code, put_in)| HotSku {
            code: code.clone(),
            put_in: *put_in,
            sold_out_at_ns: truth.sold_out_at_ms.map(|ms| ms.saturating_mul(1_000_000)),
        }),
    }
}

fn fairness(report: &LoadReport) -> Fairness {
    let detail = &report.detail;
    let served = |group: &Group| group.accepted && group.op.makes_order();
    let wait = |test: &dyn Fn(&Group) -> bool| {
        let times = detail.meter.sum(|group| served(group) && test(group)).intended.summary();
        (times.count > 0).then(|| nanos(times.p99))
    };
    let orders: u64 = detail.actors.iter().map(|actor| actor.orders).sum();
    let bots = || detail.actors.iter().filter(|actor| actor.kind == ActorKind::Bot);
    let by_bots: u64 = bots().map(|actor| actor.orders).sum();
    let known = orders > 0 && bots().next().is_some();
    Fairness {
        kendall_tau: detail.kendall_tau,
        bot_share: known.then(|| by_bots as f64 / orders as f64),
        by_actor: detail
            .actors
            .iter()
            .enumerate()
            .map(|(at, actor)| ActorShare {
                actor: actor.name.clone(),
                users: actor.users,
                orders: actor.orders,
                wait_p99_ns: wait(&|group| usize::from(group.actor) == at),
            })
            .collect(),
        wait_p99_ns: wait(&|_| true),
    }
}

fn checks(truth: &TruthReport) -> Vec<TruthCheck> {
    let check = |check: &truth::Check| {
        let (verdict, why) = match check.verdict() {
            truth::Verdict::Holds => (Verdict::Holds, None),
            truth::Verdict::Violated => (Verdict::Violated, None),
            truth::Verdict::NotChecked(why) => (Verdict::NotChecked, Some(why)),
        };
        TruthCheck {
            name: check.name.to_owned(),
            claim: check.claim.to_owned(),
            bit: check.bit,
            verdict,
            checked: check.checked,
            violations: check.violations,
            evidence: check.evidence.clone(),
            why,
        }
    };
    truth.checks.iter().map(check).collect()
}

/// Joins what the generator counted by seconds with what the events say about the stock.
fn series(report: &LoadReport) -> Vec<SeriesRow> {
    let course = report.truth.as_ref().map_or(&[][..], |truth| truth.course.as_slice());
    let mut course = course.iter().peekable();
    let mut stock = None;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let row = |point: &crate::meter::SeriesPoint| {
        // A second without events has the stock of the one before.
        while let Some(known) = course.next_if(|known| known.second <= point.second) {
            stock = Some(*known);
        }
        let counts = point.counts;
        let any = |time: Duration| (point.intended.count > 0).then(|| micros(time));
        SeriesRow {
            second: point.second,
            users: counts.users,
            sent: counts.sent,
            accepted: counts.accepted,
            refused: counts.refused,
            lost: counts.lost,
            late: counts.late,
            in_flight: point.in_flight,
            intended_p50_us: any(point.intended.p50),
            intended_p99_us: any(point.intended.p99),
            service_p50_us: any(point.service.p50),
            service_p99_us: any(point.service.p99),
            available: stock.map(|stock| stock.available),
            reserved: stock.map(|stock| stock.reserved),
            sold: stock.map(|stock| stock.sold),
            refused_sold_out: counts.sold_out,
            refused_limit: counts.limited,
            refused_other: counts.refused.saturating_sub(counts.sold_out + counts.limited),
            faults: faults_at(&report.detail.faults, point.second),
        }
    };
    report.detail.meter.series.iter().map(row).collect()
}

/// Returns how many faults were in effect in a second.
fn faults_at(faults: &[FaultOutcome], second: u64) -> u64 {
    const SECOND_NS: u64 = 1_000_000_000;
    let within = |fault: &&FaultOutcome| {
        let until = |to: u64| second <= to.saturating_sub(1).max(fault.at_ns) / SECOND_NS;
        fault.at_ns / SECOND_NS <= second && fault.to_ns.is_some_and(until)
    };
    faults.iter().filter(within).count() as u64
}

/// The interval log of a run, written second by second.
#[cfg(feature = "report")]
struct Log {
    shared: std::sync::Arc<std::sync::Mutex<LogState>>,
    path: std::path::PathBuf,
    /// Where the log stands if no folder was asked for.
    scratch: Option<tempfile::TempDir>,
}

#[cfg(feature = "report")]
struct LogState {
    log: Option<IntervalLog>,
    stages: Vec<String>,
    actors: Vec<String>,
    failed: Option<LoadError>,
}

#[cfg(feature = "report")]
impl Log {
    /// Begins the log in the folder, or beside the run if thresholds need it.
    fn begin(
        scenario: &Scenario,
        folder: Option<&Folder>,
        needed: bool,
        load: &mut LoadOptions,
    ) -> Result<Option<Self>, LoadError> {
        use crate::results::folder::LOG_FILE;
        let (path, scratch) = match folder {
            Some(folder) => (folder.file(LOG_FILE), None),
            None if needed => {
                let made = tempfile::tempdir();
                let made = made.map_err(|e| LoadError::input(format!("no log: {e}")))?;
                (made.path().join(LOG_FILE), Some(made))
            }
            None => return Ok(None),
        };
        let log = IntervalLog::create(&path, SystemTime::now())?;
        let shared = std::sync::Arc::new(std::sync::Mutex::new(LogState {
            log: Some(log),
            stages: scenario.stages.iter().map(|stage| stage.name.clone()).collect(),
            actors: scenario.actors.iter().map(|actor| actor.name.clone()).collect(),
            failed: None,
        }));
        load.on_second = Some(Box::new(LogWriter(std::sync::Arc::clone(&shared))));
        Ok(Some(Self { shared, path, scratch }))
    }

    fn finish(self) -> Result<FinishedLog, LoadError> {
        let mut state = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.log.take().map_or(Ok(()), IntervalLog::finish)?;
        drop(state);
        Ok(FinishedLog { file: LogFile(self.path), _scratch: self.scratch })
    }
}

/// A log that is complete, as thresholds ask it.
#[cfg(feature = "report")]
struct FinishedLog {
    file: LogFile,
    _scratch: Option<tempfile::TempDir>,
}

#[cfg(feature = "report")]
impl Latencies for FinishedLog {
    fn latencies(
        &self,
        service: bool,
        tags: &[(crate::results::threshold::TagName, String)],
        window: Option<crate::results::threshold::Window>,
    ) -> Result<hdrhistogram::Histogram<u64>, LoadError> {
        self.file.latencies(service, tags, window)
    }
}

#[cfg(feature = "report")]
struct LogWriter(std::sync::Arc<std::sync::Mutex<LogState>>);

#[cfg(feature = "report")]
impl crate::meter::OnSecond for LogWriter {
    fn second(&mut self, interval: &crate::meter::Interval) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let LogState { log, stages, actors, failed } = &mut *state;
        let Some(log) = log.as_mut().filter(|_| failed.is_none()) else { return };
        let from = Duration::from_secs(interval.second);
        let named = |names: &[String], at: u8| names.get(usize::from(at)).cloned();
        for (group, times) in &interval.groups {
            for (clock, times) in
                [(Clock::Intended, &times.intended), (Clock::Service, &times.service)]
            {
                let tags = Tags {
                    op: group.op.name().to_owned(),
                    outcome: outcome_name(group.accepted).to_owned(),
                    stage: named(stages, group.stage).unwrap_or_default(),
                    actor: named(actors, group.actor).unwrap_or_default(),
                    ..Tags::of(clock)
                };
                let added = log.add(&tags, from, Duration::from_secs(1), times.histogram());
                *failed = failed.take().or(added.err());
            }
        }
    }
}

/// Writes the reports of a folder anew from its record and series.
///
/// # Errors
///
/// The folder can't be read or written.
pub fn write_reports(path: &Path) -> Result<Outcome, LoadError> {
    let folder = Folder::open(path)?;
    let (run, series) = (folder.run()?, folder.series()?);
    #[cfg(feature = "report")]
    write_page(&folder, &run, &series)?;
    folder.write("report.txt", run_text(&run).as_bytes())?;
    Ok(Outcome { run, series, folder: Some(folder), report: None })
}

/// Writes the page and the percentiles of a run.
#[cfg(feature = "report")]
fn write_page(folder: &Folder, run: &Run, series: &[SeriesRow]) -> Result<(), LoadError> {
    crate::results::interval::write_percentiles(folder)?;
    folder.write(REPORT_FILE, crate::report::run_html(run, series)?.as_bytes())
}
