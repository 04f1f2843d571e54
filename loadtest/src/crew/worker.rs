//! A worker: waits for a coordinator, drives its share of the load, and tells what it saw.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frame::{FRAME_BYTES_MAX, GREETING_BYTES_MAX, In, Kind, Out, trouble};
use super::message::{
    End, FromCoordinator, FromWorker, Job, Progress, send_ledger, send_ranks, send_second,
    send_times,
};
use super::secret::{Nonces, Side, nonce};
use super::{GREETING_MAX, PROTOCOL, ROUND_TRIPS, SET_UP_MAX, SILENCE_MAX, Token};
use crate::drive::{Counters, Share};
use crate::error::{LoadError, LoadErrorKind};
use crate::http::{Authority, Trust};
use crate::load::{LoadOptions, Phase, Target, run_load};
use crate::machine::Machine;
use crate::meter::{Interval, OnSecond};
use crate::outcome::RunOptions;
use crate::preflight;
use crate::results::run::MachineFacts;
use crate::sale;
use crate::scenario::Scenario;

/// How often an idle worker looks whether it shall stop.
const NAP: Duration = Duration::from_millis(50);

/// How a worker serves.
pub struct WorkerOptions {
    /// What coordinators must know.
    pub token: Token,
    /// API key for the hosts that it drives: it never travels between coordinator and worker.
    pub api_key: Option<String>,
    /// Whose certificates it trusts, against what the scenario says; that does not travel either.
    pub trust: Option<Trust>,
    /// Whether it ends after one run.
    pub once: bool,
    /// Set it to end the worker; a run in progress ends early.
    pub stop: Arc<AtomicBool>,
    /// Is told what happens, one sentence at a time.
    pub say: Box<dyn FnMut(&str)>,
}

/// Serves one coordinator after the other until `options.stop` is set.
///
/// # Errors
///
/// Returns an error if the listener fails, and with `options.once` the error of the run. What a
/// stranger or a coordinator does wrong is told and ends nothing else.
pub fn serve(listener: &TcpListener, mut options: WorkerOptions) -> Result<(), LoadError> {
    let failed = |e: io::Error| LoadError::input(format!("no coordinator can be served: {e}"));
    listener.set_nonblocking(true).map_err(failed)?;
    while !options.stop.load(Ordering::Relaxed) {
        let (stream, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(NAP);
                continue;
            }
            // A visitor who is gone before he was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(failed(error)),
        };
        let met = stream.set_nonblocking(false).map_err(Ended::from);
        let served = met.and_then(|()| meet(stream, &mut options));
        match served {
            Ok(()) => {
                (options.say)(&format!("{from}: done"));
                if options.once {
                    return Ok(());
                }
            }
            Err(Ended::Stranger(why)) => (options.say)(&format!("{from}: turned away: {why}")),
            Err(Ended::Failed(error)) => {
                (options.say)(&format!("{from}: {error}"));
                if options.once {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Why a meeting ended without a run that was carried out.
enum Ended {
    /// Somebody who is no coordinator of this worker, or is gone before a job.
    Stranger(String),
    /// A run that could not be carried out.
    Failed(LoadError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Stranger(trouble(&error))
    }
}

fn gone(error: &io::Error) -> Ended {
    Ended::Failed(LoadError::target(format!("the coordinator went away: {}", trouble(error))))
}

/// The coordinator's clock, as this worker knows it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// A moment of both clocks: here, and there since its start.
    here: Instant,
    there: Duration,
    round_trip: Duration,
    /// How far the time of day is ahead of the coordinator's.
    offset_ns: i64,
}

impl Clock {
    /// Returns when it is a time of the coordinator's clock here.
    fn at(&self, there: Duration) -> Option<Instant> {
        self.here.checked_add(there.checked_sub(self.there)?)
    }
}

/// Meets whoever came: lets it prove itself, and carries out its job.
fn meet(stream: TcpStream, options: &mut WorkerOptions) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let mut out = Out::new(stream.try_clone()?, SILENCE_MAX)?;
    let mut from = In::new(stream.try_clone()?);
    greet(&mut out, &mut from, &options.token)?;
    let clock = look_at_clock(&mut out, &mut from)?;
    (options.say)(&format!(
        "a coordinator, {:.3} ms away; the clock is {:+.3} ms off",
        clock.round_trip.as_secs_f64() * 1e3,
        clock.offset_ns as f64 / 1e6
    ));
    let job = match from.message(FRAME_BYTES_MAX, SET_UP_MAX)? {
        FromCoordinator::Job(job) => *job,
        _ => return Err(Ended::Stranger("it gave no job".to_owned())),
    };
    let result = work(&job, clock, &mut out, from, &stream, options);
    if let Err(Ended::Failed(error)) = &result {
        let usage = error.kind() == LoadErrorKind::Usage;
        // It may be what is gone.
        drop(out.message(&FromWorker::Failed { why: error.to_string(), usage }));
    }
    result
}

fn greet(out: &mut Out, from: &mut In, token: &Token) -> Result<(), Ended> {
    let ours = env!("CARGO_PKG_VERSION").to_owned();
    let mine = nonce().map_err(Ended::Failed)?;
    out.message(&FromWorker::Hello {
        protocol: PROTOCOL,
        version: ours.clone(),
        nonce: mine.clone(),
    })?;
    let hello = from.message(GREETING_BYTES_MAX, GREETING_MAX)?;
    let FromCoordinator::Hello { protocol, version, nonce, proof } = hello else {
        return Err(Ended::Stranger("it does not greet as a coordinator does".to_owned()));
    };
    let nonces = Nonces { worker: mine, coordinator: nonce };
    let why = if protocol != PROTOCOL || version != ours {
        Some(format!("it is version {version}, this is {ours}; take the same version everywhere"))
    } else if token.is_proof(Side::Coordinator, &nonces, &proof) {
        None
    } else {
        Some("the token is another one".to_owned())
    };
    if let Some(why) = why {
        out.message(&FromWorker::Refused { why: why.clone() })?;
        return Err(Ended::Stranger(why));
    }
    Ok(out.message(&FromWorker::Welcome { proof: token.proof(Side::Worker, &nonces) })?)
}

/// Measures the difference of the clocks: the shortest of some round trips is the most exact.
///
/// Source: Cristian, "Probabilistic clock synchronization", Distributed Computing 3, 1989.
fn look_at_clock(out: &mut Out, from: &mut In) -> Result<Clock, Ended> {
    let mut best: Option<Clock> = None;
    for _ in 0..ROUND_TRIPS {
        let sent = Instant::now();
        out.message(&FromWorker::Ping)?;
        let pong = from.message(GREETING_BYTES_MAX, GREETING_MAX)?;
        let FromCoordinator::Pong { since_ns, wall_ns } = pong else {
            return Err(Ended::Stranger("it does not tell its clock".to_owned()));
        };
        let round_trip = sent.elapsed();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let half = round_trip / 2;
        let at_pong = wall.saturating_sub(half).as_nanos() as i128;
        let clock = Clock {
            here: sent + half,
            there: Duration::from_nanos(since_ns),
            round_trip,
            offset_ns: i64::try_from(at_pong - i128::from(wall_ns)).unwrap_or(i64::MAX),
        };
        if best.is_none_or(|best| round_trip < best.round_trip) {
            best = Some(clock);
        }
    }
    let clock = best.ok_or_else(|| Ended::Stranger("it told no time".to_owned()))?;
    out.message(&FromWorker::Clock {
        round_trip_ns: clock.round_trip.as_nanos() as u64,
        offset_ns: clock.offset_ns,
        machine: MachineFacts::from(&Machine::read()),
    })?;
    Ok(clock)
}

/// Understands a job as the coordinator does.
fn understand(job: &Job, options: &WorkerOptions) -> Result<(Scenario, LoadOptions), LoadError> {
    let shown = format!("{}.toml", job.name);
    let read = Scenario::read(&job.scenario, &shown);
    let mut scenario = read.map_err(|e| LoadError::usage(e.to_string()))?;
    if let Some(steady) = job.steady {
        scenario = scenario.at_rate(steady.rate, steady.warm_up, steady.measured)?;
    }
    if scenario.hash() != job.hash {
        return Err(LoadError::usage(
            "the scenario means another load here than for the coordinator",
        ));
    }
    let share = Share { index: job.index, count: job.count };
    if job.count == 0 || job.index >= job.count {
        return Err(LoadError::usage(format!("share {} of {}", job.index, job.count)));
    }
    let target = Target::Http(Authority::parse(&job.url)?);
    let mut load = RunOptions::new(&scenario, target).load;
    load.seed = job.seed;
    load.api_key.clone_from(&options.api_key);
    if let Some(trust) = &options.trust {
        load.wire.trust = trust.clone();
    }
    load.connections = share.of(job.connections);
    load.threads = job.threads;
    load.truth = job.truth;
    load.check()?;
    preflight::open_files(&load)?;
    Ok((scenario, load))
}

/// Drives a share of the load.
fn work(
    job: &Job,
    clock: Clock,
    out: &mut Out,
    mut from: In,
    stream: &TcpStream,
    options: &mut WorkerOptions,
) -> Result<(), Ended> {
    let (scenario, mut load) = understand(job, options).map_err(Ended::Failed)?;
    let share = Share { index: job.index, count: job.count };
    let catalogue = sale::catalogue(&scenario, &job.run);
    let mut prepared = sale::prepare(&scenario, job.seed, &job.run, catalogue, share);
    prepared.after = job.after;
    out.message(&FromWorker::Ready).map_err(|e| gone(&e))?;
    let start = from.message(GREETING_BYTES_MAX, SET_UP_MAX).map_err(|e| gone(&e))?;
    let FromCoordinator::Start { at_ns } = start else {
        return Err(Ended::Stranger("it did not start".to_owned()));
    };
    let start = clock.at(Duration::from_nanos(at_ns)).filter(|at| *at > Instant::now());
    load.start = Some(start.ok_or_else(|| {
        Ended::Failed(LoadError::target("the common start is over before it was known here"))
    })?);
    (options.say)(&format!(
        "share {} of {} of {} on {}",
        job.index + 1,
        job.count,
        job.name,
        job.url
    ));
    let ears = stream.try_clone().map_err(|e| gone(&e))?;
    let (stop, over) = (Arc::clone(&load.stop), Arc::new(AtomicBool::new(false)));
    let (quit, ended) = (Arc::clone(&options.stop), Arc::clone(&over));
    let listener = std::thread::spawn(move || listen(from, &stop, &quit, &ended));
    let result = drive(&mut load, prepared, out);
    over.store(true, Ordering::Relaxed);
    if result.is_err() {
        // Nothing that comes is of use any more; the listener would wait for it.
        drop(ears.shutdown(std::net::Shutdown::Read));
    }
    let heard = listener.join().unwrap_or(Ok(()));
    match (result, heard) {
        (Err(error), _) => Err(Ended::Failed(error)),
        (Ok(()), Err(error)) => Err(gone(&error)),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Hears what the coordinator says while the load runs, until it has everything.
fn listen(mut from: In, stop: &AtomicBool, quit: &AtomicBool, over: &AtomicBool) -> io::Result<()> {
    let mut last_heard = Instant::now();
    loop {
        if quit.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
        }
        match from.message(GREETING_BYTES_MAX, Duration::from_millis(200)) {
            Ok(FromCoordinator::Stop) => stop.store(true, Ordering::Relaxed),
            Ok(FromCoordinator::Bye) => return Ok(()),
            Ok(_) => (),
            // A coordinator has nothing to say while all is well; only its goodbye is awaited.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                if !over.load(Ordering::Relaxed) {
                    last_heard = Instant::now();
                } else if last_heard.elapsed() > SILENCE_MAX {
                    return Err(error);
                }
            }
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
    }
}

/// Passes complete seconds and progress on to the coordinator.
struct Teller {
    out: Out,
    failed: Option<io::Error>,
}

struct ToldSeconds(Arc<Mutex<Teller>>);

impl OnSecond for ToldSeconds {
    fn second(&mut self, interval: &Interval) {
        let mut teller = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if teller.failed.is_none() {
            teller.failed = send_second(&mut teller.out, interval).err();
        }
    }
}

fn drive(
    load: &mut LoadOptions,
    prepared: crate::load::Prepared,
    out: &mut Out,
) -> Result<(), LoadError> {
    let gone = |error: &io::Error| {
        LoadError::target(format!("the coordinator went away: {}", trouble(error)))
    };
    let teller = Teller { out: out.again().map_err(|e| gone(&e))?, failed: None };
    let teller = Arc::new(Mutex::new(teller));
    load.on_second = Some(Box::new(ToldSeconds(Arc::clone(&teller))));
    let (telling, stop) = (Arc::clone(&teller), Arc::clone(&load.stop));
    load.progress = Some(Box::new(move |progress| {
        if progress.phase != Phase::Load {
            return;
        }
        let mut teller = telling.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Progress {
            users: progress.users,
            sent: progress.sent,
            accepted: progress.accepted,
            refused: progress.refused,
            lost: progress.lost,
        };
        if teller.failed.is_none() {
            teller.failed = teller.out.message(&FromWorker::Progress(told)).err();
        }
        if teller.failed.is_some() {
            // Nobody would hear of the rest.
            stop.store(true, Ordering::Relaxed);
        }
    }));
    let counters = Arc::new(Counters::default());
    counters.seq.store(prepared.after, Ordering::Relaxed);
    // Nothing goes on beside a worker's load.
    let (driven, _) = run_load(load, &prepared, &counters)?;
    let mut teller = teller.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = &teller.failed {
        return Err(gone(error));
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let progress = Progress {
        users: count(&counters.users),
        sent: count(&counters.sent),
        accepted: count(&counters.accepted),
        refused: count(&counters.refused),
        lost: count(&counters.lost),
    };
    let mut end = End::of(&driven, progress, prepared.pacer.left());
    end.unverified = load.wire.trust == Trust::Anything;
    let out = &mut teller.out;
    let dials = &driven.meter.dials;
    for (kind, times) in
        [(Kind::Lag, &driven.meter.lag), (Kind::Tcp, &dials.tcp), (Kind::Tls, &dials.tls)]
    {
        send_times(out, kind, times).map_err(|e| gone(&e))?;
    }
    send_ranks(out, &driven.ranks).map_err(|e| gone(&e))?;
    send_ledger(out, driven.ledger)?;
    out.message(&FromWorker::End(Box::new(end))).map_err(|e| gone(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker trusts whom it was told to trust, and else whom the scenario names.
    #[test]
    fn trust_is_the_workers_own() {
        let text = "schema = 1\n[target]\ntls = { ca = \"shop.pem\" }\n[[stage]]\nshape = \"max\"\nfor = \"1s\"\n[actor.human]\n";
        let scenario = Scenario::read(text, "s.toml").expect("a scenario");
        let job = Job {
            scenario: text.to_owned(),
            name: "s".to_owned(),
            steady: None,
            hash: scenario.hash(),
            seed: 1,
            run: "r".to_owned(),
            url: "http://127.0.0.1:1".to_owned(),
            index: 0,
            count: 1,
            connections: 1,
            threads: 1,
            after: 0,
            truth: true,
        };
        let trusted = |trust: Option<Trust>| {
            let (api_key, once, stop) = (None, true, Arc::default());
            let token = Token::new("a-token-for-the-tests").expect("long enough");
            let say = Box::new(|_: &str| ());
            let options = WorkerOptions { token, api_key, trust, once, stop, say };
            understand(&job, &options).map(|(_, load)| load.wire.trust)
        };
        assert_eq!(trusted(None).ok(), Some(Trust::Ca("shop.pem".into())));
        assert_eq!(trusted(Some(Trust::Anything)).ok(), Some(Trust::Anything));
    }

    /// A moment of the coordinator's clock is the same moment here.
    #[test]
    fn a_moment_there_is_known_here() {
        let here = Instant::now();
        let second = Duration::from_secs(1);
        let clock = Clock { here, there: second * 5, round_trip: Duration::ZERO, offset_ns: 0 };
        assert_eq!(clock.at(second * 7), Some(here + second * 2));
        assert_eq!(clock.at(second * 4), None, "it is over");
    }
}
