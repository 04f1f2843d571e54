//! The coordinator: hires workers, gives each its share, and merges what they saw.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::frame::{FRAME_BYTES_MAX, GREETING_BYTES_MAX, In, Kind, Out, parse, trouble};
use super::message::{
    End, FromCoordinator, FromWorker, Job, Progress, Steady, read_group, read_ledger, read_ranks,
    read_times,
};
use super::secret::{Nonces, Side, nonce};
use super::{
    GREETING_MAX, LEAD, PROTOCOL, ROUND_TRIPS, SET_UP_MAX, SILENCE_MAX, Token, WORKERS_MAX, Workers,
};
use crate::drive::{Course, Drive, Driven, Gather};
use crate::error::LoadError;
use crate::meter::{Interval, Times};
use crate::results::run::{MachineFacts, Spectrum, WorkerFacts, nanos};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(500);
/// Frames of all workers that wait to be taken in.
const QUEUE_FRAMES: usize = 64;
/// Longest time to reach a worker.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What the workers are to do, but for their shares.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The scenario as it was written.
    pub(crate) scenario: String,
    pub(crate) name: String,
    pub(crate) steady: Option<Steady>,
    pub(crate) hash: String,
    pub(crate) seed: u64,
    /// Prefix of SKU codes and keys.
    pub(crate) run: String,
    pub(crate) url: String,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) truth: bool,
}

/// One worker that waits for its job.
struct Hired {
    address: String,
    out: Out,
    from: In,
    facts: WorkerFacts,
}

/// Workers that wait for their jobs.
pub(crate) struct Crew {
    hired: Vec<Hired>,
    task: Task,
    /// Position before the first event of the run.
    pub(crate) after: u64,
    /// What the times of [`FromCoordinator::Start`] count from.
    epoch: Instant,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("workers", &self.hired.len()).finish_non_exhaustive()
    }
}

fn lost(address: &str, error: &io::Error) -> LoadError {
    LoadError::target(format!("worker {address} went away: {}", trouble(error)))
}

impl Crew {
    /// Hires workers: each must be there, be of this version, and know the token.
    ///
    /// # Errors
    ///
    /// Returns a usage error for no address or too many, and a target error that names the first
    /// worker that can't be hired.
    pub(crate) fn hire(workers: &Workers, task: Task) -> Result<Self, LoadError> {
        let Workers { addresses, token } = workers;
        if !(1..=WORKERS_MAX).contains(&addresses.len()) {
            let count = addresses.len();
            return Err(LoadError::usage(format!("{count} workers, outside 1..={WORKERS_MAX}")));
        }
        let twice = |at: usize| addresses[..at].contains(&addresses[at]);
        if let Some(at) = (0..addresses.len()).find(|at| twice(*at)) {
            return Err(LoadError::usage(format!("worker {} is named twice", addresses[at])));
        }
        let epoch = Instant::now();
        let hired = addresses.iter().map(|address| hire_one(address, token, epoch));
        Ok(Self { hired: hired.collect::<Result<_, _>>()?, task, after: 0, epoch })
    }

    /// Gives each worker its share and the common start, and merges what they saw.
    ///
    /// # Errors
    ///
    /// Returns a target error that names the first worker that goes away or can't go on: the run
    /// has lost a part of its crowd, so nothing could be said about the whole.
    pub(crate) fn drive(mut self, drive: Drive, course: Course<'_>) -> Result<Driven, LoadError> {
        let count = self.hired.len() as u64;
        for (index, hired) in (0..).zip(&mut self.hired) {
            let job = self.task.share(index, count, self.after);
            let told = hired.out.message(&FromCoordinator::Job(Box::new(job)));
            told.map_err(|error| lost(&hired.address, &error))?;
        }
        for hired in &mut self.hired {
            match hired.from.message(FRAME_BYTES_MAX, SILENCE_MAX) {
                Ok(FromWorker::Ready) => (),
                Ok(FromWorker::Failed { why, usage }) => {
                    return Err(failed(&hired.address, &why, usage));
                }
                Ok(other) => return Err(unexpected(&hired.address, &other)),
                Err(error) => return Err(lost(&hired.address, &error)),
            }
        }
        let slowest = self.hired.iter().map(|hired| hired.facts.round_trip_ns).max().unwrap_or(0);
        let start = Instant::now() + LEAD + Duration::from_nanos(slowest) * 2;
        let wall = SystemTime::now() + start.saturating_duration_since(Instant::now());
        let at_ns = nanos(start.saturating_duration_since(self.epoch));
        for hired in &mut self.hired {
            let told = hired.out.message(&FromCoordinator::Start { at_ns });
            told.map_err(|error| lost(&hired.address, &error))?;
        }
        let mut merge = Merge::new(drive, course, self.hired.len());
        merge.gather.driven.started = Some(wall);
        let (sender, receiver) = sync_channel(QUEUE_FRAMES);
        std::thread::scope(|scope| {
            // If this thread ends badly the listeners must find nobody who takes what they hear.
            let receiver = receiver;
            let mut outs = Vec::new();
            for (at, hired) in self.hired.into_iter().enumerate() {
                let Hired { address, out, from, facts } = hired;
                outs.push(out);
                merge.workers.push((address, facts));
                let sender = sender.clone();
                scope.spawn(move || listen(at, from, &sender));
            }
            drop(sender);
            let result = merge.take_all(&receiver, &mut outs, start);
            // Whoever still works must learn that it is over; then the listeners come to an end.
            let last = if result.is_ok() { FromCoordinator::Bye } else { FromCoordinator::Stop };
            for out in &mut outs {
                // Who is gone needs no goodbye.
                drop(out.message(&last));
            }
            drop(outs);
            while receiver.recv().is_ok() {}
            result.map(|()| merge.finish())
        })
    }
}

impl Task {
    fn share(&self, index: u64, count: u64, after: u64) -> Job {
        Job {
            scenario: self.scenario.clone(),
            name: self.name.clone(),
            steady: self.steady,
            hash: self.hash.clone(),
            seed: self.seed,
            run: self.run.clone(),
            url: self.url.clone(),
            index,
            count,
            connections: self.connections,
            threads: self.threads,
            truth: self.truth,
            after,
        }
    }
}

fn failed(address: &str, why: &str, usage: bool) -> LoadError {
    let text = format!("worker {address}: {why}");
    if usage { LoadError::usage(text) } else { LoadError::target(text) }
}

fn unexpected(address: &str, message: &FromWorker) -> LoadError {
    let said: String = format!("{message:?}").chars().take(60).collect();
    LoadError::target(format!("worker {address} said what makes no sense now: {said}"))
}

fn hire_one(address: &str, token: &Token, epoch: Instant) -> Result<Hired, LoadError> {
    let unreachable = |what: &dyn std::fmt::Display| {
        LoadError::target(format!(
            "worker {address} can't be reached: {what}; is `onhand-loadtest worker --listen` \
             running there?"
        ))
    };
    let mut found = address.to_socket_addrs().map_err(|e| unreachable(&e))?;
    let first = found.next().ok_or_else(|| unreachable(&"the name has no address"))?;
    let stream = TcpStream::connect_timeout(&first, CONNECT_MAX).map_err(|e| unreachable(&e))?;
    let greeted = greet(&stream, address, token, epoch);
    let (out, from, facts) = greeted.map_err(|trouble_with| match trouble_with {
        Trouble::Io(error) => LoadError::target(format!(
            "worker {address} did not answer as a worker does: {}",
            trouble(&error)
        )),
        Trouble::Said(error) => error,
    })?;
    Ok(Hired { address: address.to_owned(), out, from, facts })
}

/// Trouble with a connection, or what came over it.
enum Trouble {
    Io(io::Error),
    Said(LoadError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn greet(
    stream: &TcpStream,
    address: &str,
    token: &Token,
    epoch: Instant,
) -> Result<(Out, In, WorkerFacts), Trouble> {
    stream.set_nodelay(true)?;
    let mut out = Out::new(stream.try_clone()?, SILENCE_MAX)?;
    let mut from = In::new(stream.try_clone()?);
    let said = |text: String| Trouble::Said(LoadError::target(text));
    let FromWorker::Hello { protocol, version, nonce: theirs } =
        from.message(GREETING_BYTES_MAX, GREETING_MAX)?
    else {
        return Err(said(format!("worker {address} does not greet as a worker does")));
    };
    let ours = env!("CARGO_PKG_VERSION");
    if protocol != PROTOCOL || version != ours {
        return Err(said(format!(
            "worker {address} is version {version} with protocol {protocol}, this is {ours} with \
             {PROTOCOL}; take the same version everywhere"
        )));
    }
    let mine = nonce().map_err(Trouble::Said)?;
    let nonces = Nonces { worker: theirs, coordinator: mine.clone() };
    out.message(&FromCoordinator::Hello {
        protocol: PROTOCOL,
        version: ours.to_owned(),
        nonce: mine,
        proof: token.proof(Side::Coordinator, &nonces),
    })?;
    match from.message(GREETING_BYTES_MAX, GREETING_MAX)? {
        FromWorker::Welcome { proof } if token.is_proof(Side::Worker, &nonces, &proof) => (),
        FromWorker::Refused { why } => {
            return Err(said(format!("worker {address} refuses: {why}")));
        }
        _ => return Err(said(format!("worker {address} does not know the token"))),
    }
    for _ in 0..ROUND_TRIPS {
        let FromWorker::Ping = from.message(GREETING_BYTES_MAX, GREETING_MAX)? else {
            return Err(said(format!("worker {address} does not look at the clock")));
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (since_ns, wall_ns) = (nanos(epoch.elapsed()), nanos(wall));
        out.message(&FromCoordinator::Pong { since_ns, wall_ns })?;
    }
    let FromWorker::Clock { round_trip_ns, offset_ns, machine } =
        from.message(GREETING_BYTES_MAX, GREETING_MAX)?
    else {
        return Err(said(format!("worker {address} does not tell its clock")));
    };
    Ok((out, from, facts(address, machine, round_trip_ns, offset_ns)))
}

fn facts(
    address: &str,
    machine: MachineFacts,
    round_trip_ns: u64,
    clock_offset_ns: i64,
) -> WorkerFacts {
    let address = address.to_owned();
    WorkerFacts { address, machine, round_trip_ns, clock_offset_ns, ..WorkerFacts::default() }
}

/// What a listener hears of its worker.
enum Heard {
    Message(Box<FromWorker>),
    Group(Box<Interval>),
    Times(Kind, Box<Times>),
    Rows(Kind, Vec<u8>),
    Ranks(Vec<(u64, u64)>),
    Gone(io::Error),
}

/// Listens to one worker until its end.
fn listen(at: usize, mut from: In, sender: &SyncSender<(usize, Heard)>) {
    loop {
        let heard = hear(&mut from).unwrap_or_else(Heard::Gone);
        let last = match &heard {
            Heard::Gone(_) => true,
            Heard::Message(message) => {
                matches!(**message, FromWorker::End(_) | FromWorker::Failed { .. })
            }
            _ => false,
        };
        if sender.send((at, heard)).is_err() || last {
            return;
        }
    }
}

fn hear(from: &mut In) -> io::Result<Heard> {
    let (kind, content) = from.frame(FRAME_BYTES_MAX, SILENCE_MAX)?;
    Ok(match kind {
        Kind::Message => Heard::Message(Box::new(parse(content)?)),
        Kind::Group => {
            let (second, group, times) = read_group(content)?;
            let mut interval = Interval { second, ..Interval::default() };
            interval.groups.insert(group, Box::new(times));
            Heard::Group(Box::new(interval))
        }
        Kind::Lag | Kind::Tcp | Kind::Tls => Heard::Times(kind, Box::new(read_times(content)?)),
        Kind::Ranks => Heard::Ranks(read_ranks(content)?),
        Kind::Told | Kind::Payments | Kind::SoldOut | Kind::Watched => {
            Heard::Rows(kind, content.to_vec())
        }
    })
}

/// Merges what the workers say.
struct Merge<'a> {
    gather: Gather<'a>,
    tick: &'a mut dyn FnMut(Duration, Option<&crate::meter::SeriesPoint>),
    counters: std::sync::Arc<crate::drive::Counters>,
    workers: Vec<(String, WorkerFacts)>,
    progress: Vec<Progress>,
    /// Seconds of each worker that are complete.
    complete: Vec<u64>,
    ended: usize,
    left: u64,
}

impl<'a> Merge<'a> {
    fn new(drive: Drive, course: Course<'a>, count: usize) -> Self {
        let Course { counters, tick, on_second, .. } = course;
        Self {
            gather: Gather::new(drive.ledger_rows, on_second),
            tick,
            counters,
            workers: Vec::new(),
            progress: vec![Progress::default(); count],
            complete: vec![0; count],
            ended: 0,
            left: 0,
        }
    }

    fn take_all(
        &mut self,
        receiver: &Receiver<(usize, Heard)>,
        outs: &mut [Out],
        start: Instant,
    ) -> Result<(), LoadError> {
        let (mut told_at, mut stopped) = (Instant::now(), false);
        while self.ended < self.workers.len() {
            match receiver.recv_timeout(TICK) {
                Ok((at, heard)) => self.take(at, heard)?,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if told_at.elapsed() < TICK {
                continue;
            }
            told_at = Instant::now();
            self.gather.complete(self.complete.iter().copied().min().unwrap_or(0));
            let elapsed = told_at.saturating_duration_since(start);
            (self.tick)(elapsed, self.gather.driven.meter.series.last());
            if self.counters.stop.load(Ordering::Relaxed) && !stopped {
                stopped = true;
                for (out, (address, _)) in outs.iter_mut().zip(&self.workers) {
                    let told = out.message(&FromCoordinator::Stop);
                    told.map_err(|error| lost(address, &error))?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize, heard: Heard) -> Result<(), LoadError> {
        let address = &self.workers[at].0;
        let driven = &mut self.gather.driven;
        match heard {
            Heard::Gone(error) => return Err(lost(address, &error)),
            Heard::Group(interval) => self.gather.take_second(*interval),
            Heard::Times(Kind::Tcp, times) => driven.meter.dials.tcp.merge(&times),
            Heard::Times(Kind::Tls, times) => driven.meter.dials.tls.merge(&times),
            Heard::Times(_, lag) => {
                driven.meter.lag.merge(&lag);
                self.workers[at].1.lag = Spectrum::of(lag.histogram());
            }
            Heard::Rows(kind, bytes) => read_ledger(kind, &bytes, &mut driven.ledger)?,
            Heard::Ranks(ranks) => driven.ranks.extend(ranks),
            Heard::Message(message) => match *message {
                FromWorker::Progress(progress) => self.note(at, progress),
                FromWorker::Second { second, counts } => {
                    let interval = Interval { second, counts, ..Interval::default() };
                    self.gather.take_second(interval);
                    self.complete[at] = second + 1;
                }
                FromWorker::Lost(lost) => {
                    lost.into_iter().for_each(|lost| driven.ledger.enter_lost(lost));
                }
                FromWorker::End(end) => return self.take_end(at, &end),
                FromWorker::Failed { why, usage } => return Err(failed(address, &why, usage)),
                other => return Err(unexpected(address, &other)),
            },
        }
        Ok(())
    }

    /// Shows what all workers counted so far.
    fn note(&mut self, at: usize, progress: Progress) {
        self.progress[at] = progress;
        let counters = &self.counters;
        for (counter, of) in [
            (&counters.users, (|p| p.users) as fn(&Progress) -> u64),
            (&counters.sent, |p| p.sent),
            (&counters.accepted, |p| p.accepted),
            (&counters.refused, |p| p.refused),
            (&counters.lost, |p| p.lost),
        ] {
            counter.store(self.progress.iter().map(of).sum(), Ordering::Relaxed);
        }
    }

    fn take_end(&mut self, at: usize, end: &End) -> Result<(), LoadError> {
        if !end.is_plausible() {
            let text = format!("worker {} counts what no run has", self.workers[at].0);
            return Err(LoadError::target(text));
        }
        self.ended += 1;
        self.note(at, end.progress);
        // Whoever has ended holds no second open any more.
        self.complete[at] = u64::MAX;
        self.left += end.left;
        self.gather.driven.threads += end.threads;
        self.gather.driven.saturated += end.saturated;
        let driven = &mut self.gather.driven;
        driven.add_counts(&end.came_by, &end.orders_by, end.cpu);
        driven.meter.late += end.late;
        driven.meter.backlogged += end.backlogged;
        driven.reconnects += end.reconnects;
        driven.renewals += end.renewals;
        driven.elapsed = driven.elapsed.max(Duration::from_nanos(end.elapsed_ns));
        end.add_to(&mut driven.ledger);
        let facts = &mut self.workers[at].1;
        (facts.users, facts.sent) = (end.progress.users, end.progress.sent);
        (facts.late, facts.cpu_share) = (end.late, end.cpu);
        facts.unverified = end.unverified;
        Ok(())
    }

    fn finish(mut self) -> Driven {
        self.gather.complete(u64::MAX);
        let mut driven = self.gather.driven;
        driven.left = Some(self.left);
        driven.workers = self.workers.into_iter().map(|(_, facts)| facts).collect();
        driven
    }
}

const _: () = assert!(SET_UP_MAX.as_secs() > GREETING_MAX.as_secs());
