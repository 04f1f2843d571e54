//! The façade: open, submit, read, close.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::Shelf;
use crate::codec::next_record;
use crate::command::{Command, Import, ImportLine};
use crate::config::{EngineBuilder, Place};
use crate::decided::PolicyView;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Events, Place as EventPlace, decode};
use crate::id::{Key, LocationId, OrderId, SkuId};
use crate::journal::frame::Frame;
use crate::journal::index::FrameIndex;
use crate::keeper::{CheckpointReport, Wishes};
use crate::limits::{BATCH_COMMANDS_MAX, IMPORT_LINES_MAX};
use crate::lock::DirLock;
use crate::reply::{Ack, Reply};
use crate::route;
use crate::shard::completion::{BatchTicket, Completion, Ticket};
use crate::shard::core::{Archived, Job};
use crate::shard::gate::STOPPED_HELP;
use crate::shard::published::Published;
use crate::shard::worker::{Handle, Input, NotTaken, ShardCounts, Surroundings};
use crate::storage::Storage;
use crate::store::MemoryStore;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::sync::mpsc::sync_channel;
use crate::sync::thread::JoinHandle;
use crate::time::Timestamp;
use crate::view::{OrderView, SkuView, StockView};

/// Most events that one call returns.
const EVENTS_MAX: usize = 10_000;
/// Most records that an explanation follows back.
const DECISIONS_MAX: usize = 1_000;

/// Whether an engine takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineStatus {
    /// It does.
    Running,
    /// The disk is nearly full: it answers reads only, until there is room again.
    ReadOnly,
    /// It is closing.
    Closing,
    /// It has stopped for this reason and must be opened anew.
    Stopped(String),
}

/// Counts of an engine since it was opened, for dashboards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineMetrics {
    /// Commands carried out.
    pub accepted: u64,
    /// Repetitions answered with the first receipt.
    pub repeated: u64,
    /// Commands refused.
    pub refused: u64,
    /// Refusals by reject code, those that occurred.
    pub refusals: Vec<(crate::Reject, u64)>,
    /// Reservations that expired.
    pub expired: u64,
    /// Baskets that needed several shards, or waited for tentative units.
    pub cross_baskets: u64,
    /// Orders that are reserved or placed.
    pub live_orders: u64,
    /// Settled orders and answers that are still in memory.
    pub settled_resident: u64,
    /// Settled orders and answers that have left memory for the archive, ever.
    pub archived: u64,
    /// Bytes of the shards' tables.
    pub memory_bytes: u64,
    /// Commands waiting in queues.
    pub queued: u64,
    /// Group commits.
    pub groups: u64,
    /// Bytes written to the journal, padding included.
    pub journal_bytes: u64,
    /// Bytes that checkpoints and archive take on disk, measured twice a minute.
    pub store_bytes: u64,
    /// Position of the last durable record.
    pub durable_seq: u64,
}

/// Why an order is as it is: its records, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The order.
    pub order: OrderId,
    /// What was decided about it.
    pub decisions: Vec<Decision>,
    /// `false` if earlier records are no longer in the journal.
    pub complete: bool,
}

/// One record of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The record, with the cells that units moved between.
    pub event: Event,
    /// Why, in one sentence.
    pub reason: String,
}

/// An order and inventory engine over one data directory.
///
/// Shared between threads by reference or `Arc`; commands go to one writer per shard and are
/// answered when they are durable.
///
/// # Example
///
/// ```
/// use onhand_core::{
///     Buy, Command, Currency, CustomerId, DefineSku, Engine, Key, Line, LocationId, LotId, Money,
///     Placement, Quantity, Receive, SkuId, SkuKind,
/// };
///
/// let (engine, _report) = Engine::in_memory().open()?;
/// engine.execute(Command::DefineSku(Box::new(DefineSku {
///     key: Key::from_text("define mug"),
///     code: "MUG".to_owned(),
///     kind: SkuKind::Goods,
///     price: Money::new(1299, Currency::EUR).expect("a small amount"),
///     placement: Placement::BySku,
///     limit: None,
///     components: Vec::new(),
/// })))?;
/// let mug = SkuId::from_code("MUG")?;
/// engine.execute(Command::Receive(Receive {
///     key: Key::from_text("delivery 1"),
///     sku: mug,
///     location: LocationId(1),
///     lot: LotId(0),
///     quantity: Quantity::ONE,
/// }))?;
/// let buy = |key| Buy::one(Key::from_text(key), CustomerId(7), Line::new(mug, Quantity::ONE));
/// assert!(engine.execute(Command::Buy(buy("order 1")))?.outcome.is_ok());
/// assert!(engine.execute(Command::Buy(buy("order 2")))?.outcome.is_err());
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Engine {
    pub(crate) around: Surroundings,
    pub(crate) published: Arc<Published>,
    pub(crate) index: Arc<FrameIndex>,
    pub(crate) shard_count: u16,
    pub(crate) queue_commands_max: usize,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) writer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) wishes: Mutex<Option<Wishes>>,
    pub(crate) keeper: Mutex<Option<JoinHandle<()>>>,
    /// Threads of the archive and the segments: they hold files until they end.
    pub(crate) helpers: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) _lock: Option<DirLock>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("durable_seq", &self.durable_seq()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts to describe an engine over a data directory, which is made if it is not there.
    pub fn builder(dir: impl Into<PathBuf>) -> EngineBuilder {
        EngineBuilder::new(Place::Disk(dir.into()))
    }

    /// Starts to describe an engine whose journal is in memory and gone with it.
    pub fn in_memory() -> EngineBuilder {
        EngineBuilder::new(Place::Memory)
    }

    /// Starts to describe an engine whose journal is in a storage of the caller's; its
    /// checkpoints and archive are in memory and made anew from the journal at each opening.
    pub fn with_storage(storage: Arc<dyn Storage>, dir: impl Into<PathBuf>) -> EngineBuilder {
        EngineBuilder::new(Place::Custom(storage, MemoryStore::new(), dir.into()))
    }

    /// Submits a command; its ticket is answered when it is on disk with its group.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Overloaded`], [`ErrorKind::ReadOnly`], [`ErrorKind::Closed`] or
    /// [`ErrorKind::Stopped`]; the command was not taken then.
    pub fn submit(&self, command: Command) -> Result<Ticket, Error> {
        self.submit_with(command, Ack::Group)
    }

    /// Submits a command, to be answered at a level of acknowledgement.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`].
    pub fn submit_with(&self, command: Command, ack: Ack) -> Result<Ticket, Error> {
        self.submit_jobs(vec![command], ack).map(Ticket)
    }

    /// Submits commands together: the cheapest way to submit many.
    ///
    /// They are independent; within a shard they are carried out in this order.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`]; [`ErrorKind::Config`] for more than
    /// [`BATCH_COMMANDS_MAX`](crate::limits::BATCH_COMMANDS_MAX) commands.
    pub fn submit_batch(&self, commands: Vec<Command>, ack: Ack) -> Result<BatchTicket, Error> {
        if commands.len() > BATCH_COMMANDS_MAX {
            let what =
                format!("batch has {} commands, at most {BATCH_COMMANDS_MAX}", commands.len());
            return Err(Error::new(ErrorKind::Config, what, "split it into smaller batches"));
        }
        self.submit_jobs(commands, ack).map(BatchTicket)
    }

    /// Submits a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`] and [`Ticket::wait`].
    pub fn execute(&self, command: Command) -> Result<Reply, Error> {
        self.submit(command)?.wait()
    }

    /// Takes in opening stock of any length: one command for each shard and thousand lines.
    ///
    /// The commands' keys derive from `key`, so a repetition with the same lines has no second
    /// effect.
    ///
    /// # Errors
    ///
    /// As [`Engine::execute`]; earlier parts may have been carried out.
    pub fn import(&self, key: Key, lines: Vec<ImportLine>) -> Result<Vec<Reply>, Error> {
        let mut by_shard: Vec<Vec<ImportLine>> = vec![Vec::new(); self.shard_count.into()];
        for line in lines {
            let shard = self.cell_shard(line.sku, line.location);
            by_shard[usize::from(shard)].push(line);
        }
        let mut replies = Vec::new();
        let mut part = 0_u32;
        for lines in by_shard {
            for chunk in lines.chunks(IMPORT_LINES_MAX) {
                let name = format!("import {:032x} {part}", key.bits());
                let import = Import { key: Key::from_text(&name), lines: chunk.to_vec() };
                replies.push(self.execute(Command::Import(import))?);
                part += 1;
            }
        }
        Ok(replies)
    }

    fn check_taking(&self) -> Result<(), Error> {
        let gate = &self.around.gate;
        if gate.stopped.load(Ordering::Relaxed) {
            let why = gate.why_stopped().unwrap_or_default();
            return Err(Error::new(ErrorKind::Stopped, why, STOPPED_HELP));
        }
        if self.around.closing.load(Ordering::Relaxed) {
            return Err(closing());
        }
        if gate.read_only.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "disk is nearly full, the engine only reads",
                "free space on the disk of the data directory; it goes on by itself then",
            ));
        }
        Ok(())
    }

    fn submit_jobs(&self, commands: Vec<Command>, ack: Ack) -> Result<Arc<Completion>, Error> {
        self.check_taking()?;
        let count = commands.len();
        if self.shard_count == 1 {
            let done = Completion::new(count, 1);
            let job = Job { commands, ack, done: done.clone(), positions: None };
            self.enqueue(0, job)?;
            return Ok(done);
        }
        let mut parts: Vec<(Vec<Command>, Vec<u32>)> = Vec::new();
        parts.resize_with(self.shard_count.into(), Default::default);
        for (at, command) in commands.into_iter().enumerate() {
            let shard = self.shard_of(&command);
            parts[usize::from(shard)].0.push(command);
            parts[usize::from(shard)].1.push(at as u32);
        }
        let jobs = parts.iter().filter(|(commands, _)| !commands.is_empty()).count().max(1);
        let done = Completion::new(count, jobs);
        if jobs == 1 {
            let at = parts.iter().position(|(commands, _)| !commands.is_empty()).unwrap_or(0);
            let (commands, _) = std::mem::take(&mut parts[at]);
            let job = Job { commands, ack, done: done.clone(), positions: None };
            self.enqueue(at as u16, job)?;
            return Ok(done);
        }
        for (shard, (commands, positions)) in parts.into_iter().enumerate() {
            if commands.is_empty() {
                continue;
            }
            let job = Job { commands, ack, done: done.clone(), positions: Some(positions) };
            if let Err(error) = self.enqueue(shard as u16, job) {
                // Other parts are on their way: the caller learns that this one is not.
                done.fail(error.kind(), &error.to_string());
            }
        }
        Ok(done)
    }

    fn enqueue(&self, shard: u16, job: Job) -> Result<(), Error> {
        let handle = &self.around.handles[usize::from(shard)];
        match handle.push(Input::Job(job), self.queue_commands_max) {
            Ok(()) => {
                self.fail_if_stopped(handle);
                Ok(())
            }
            Err(NotTaken::Full(input, queued)) => {
                self.unclaim(&input);
                Err(Error::new(
                    ErrorKind::Overloaded,
                    format!("queue of shard {shard} is full with {queued} commands"),
                    "wait a moment and send the command again; raise queue_commands_max for more \
                     burst",
                ))
            }
            Err(NotTaken::Shut(input)) => {
                self.unclaim(&input);
                Err(closing())
            }
        }
    }

    /// Behind a push: a shard that has ended meanwhile has perhaps not seen it.
    fn fail_if_stopped(&self, handle: &Handle) {
        if self.around.gate.stopped.load(Ordering::SeqCst) {
            let why = self.around.gate.why_stopped().unwrap_or_default();
            handle.fail_inputs(ErrorKind::Stopped, &why);
        }
    }

    fn unclaim(&self, input: &Input) {
        if let (Input::Job(job), true) = (input, self.shard_count > 1) {
            for key in job.commands.iter().filter_map(Command::key) {
                self.around.stripes.ended(key.bits(), false);
            }
        }
    }

    fn cell_shard(&self, sku: SkuId, location: LocationId) -> u16 {
        if self.shard_count == 1 {
            return 0;
        }
        let Some(view) = self.published.sku(sku) else { return 0 };
        // A kit has no cells: its first component's are as good as any.
        let first = view.components.first().and_then(|(sku, _)| self.published.sku(*sku));
        let view = first.unwrap_or(view);
        route::cell_shard(view.placement, view.id, location, self.shard_count)
    }

    /// Returns the shard that a command goes to, and claims its key for it.
    fn shard_of(&self, command: &Command) -> u16 {
        let stripes = &self.around.stripes;
        let wanted = match command {
            Command::DefineSku(_) | Command::PolicyStep(_) | Command::Tick => 0,
            Command::Receive(c) => self.cell_shard(c.sku, c.location),
            Command::Adjust(c) => self.cell_shard(c.sku, c.location),
            Command::Count(c) => self.cell_shard(c.sku, c.location),
            Command::Quarantine(c) => self.cell_shard(c.sku, c.location),
            Command::TransferOut(c) => self.cell_shard(c.sku, c.from),
            Command::TransferIn(c) => self.cell_shard(c.sku, c.from),
            Command::Import(c) => c.lines.first().map_or(0, |l| self.cell_shard(l.sku, l.location)),
            Command::Reserve(c) => self.home_of(c.lines.as_slice()),
            Command::Buy(c) => self.home_of(c.lines.as_slice()),
            Command::Extend(_)
            | Command::Release(_)
            | Command::Place(_)
            | Command::Cancel(_)
            | Command::Ship(_)
            | Command::Short(_)
            | Command::RecordRisk(_) => {
                command.order().and_then(|order| stripes.find(order.bits())).unwrap_or(0)
            }
        };
        match command.key() {
            Some(key) => stripes.claim(key.bits(), wanted),
            None => wanted,
        }
    }

    fn home_of(&self, lines: &[crate::command::Line]) -> u16 {
        lines.first().map_or(0, |line| self.cell_shard(line.sku, line.location))
    }

    /// Returns the stock of a SKU over all its cells, as of a durable position.
    pub fn stock(&self, sku: SkuId) -> Option<StockView> {
        self.published.stock(sku)
    }

    /// Returns a SKU's definition.
    pub fn sku(&self, sku: SkuId) -> Option<Arc<SkuView>> {
        self.published.sku(sku)
    }

    /// Returns SKUs in the order of their definition, from an index on.
    pub fn skus(&self, from: u32, limit: usize) -> Vec<Arc<SkuView>> {
        self.published.skus(from, limit)
    }

    /// Returns the policies that steps have named, in the order of their numbers.
    pub fn policies(&self) -> Vec<PolicyView> {
        self.published.policies()
    }

    /// Returns an order; `None` if it is not known.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Overloaded`] if the shard's queue is full, [`ErrorKind::Stopped`] if
    /// the engine has stopped.
    pub fn order(&self, order: OrderId) -> Result<Option<OrderView>, Error> {
        let shard = match self.shard_count {
            1 => 0,
            _ => match self.around.stripes.find(order.bits()) {
                Some(shard) => shard,
                None => return self.archived_order(order),
            },
        };
        let gate = &self.around.gate;
        if gate.stopped.load(Ordering::Relaxed) {
            let why = gate.why_stopped().unwrap_or_default();
            return Err(Error::new(ErrorKind::Stopped, why, STOPPED_HELP));
        }
        let done = Completion::new(1, 1);
        let handle = &self.around.handles[usize::from(shard)];
        match handle.push(Input::View(order, done.clone()), usize::MAX) {
            Ok(()) => self.fail_if_stopped(handle),
            Err(NotTaken::Full(..)) => {
                let what = format!("queue of shard {shard} is full");
                return Err(Error::new(ErrorKind::Overloaded, what, "read again in a moment"));
            }
            Err(NotTaken::Shut(_)) => return Err(closing()),
        }
        match done.wait_view()? {
            Some(view) => Ok(Some(view)),
            None => self.archived_order(order),
        }
    }

    fn archived_order(&self, order: OrderId) -> Result<Option<OrderView>, Error> {
        if !self.shelf.may_hold(order.bits()) {
            return Ok(None);
        }
        self.shelf.order(order.bits(), &self.published)
    }

    /// Makes a checkpoint now, while commands go on; restarts are faster behind it.
    ///
    /// # Errors
    ///
    /// Returns what the store says; the journal has everything in any case.
    pub fn checkpoint(&self) -> Result<CheckpointReport, Error> {
        let (give, take) = sync_channel(1);
        match &*self.wishes.lock() {
            Some(wishes) => wishes.send(give).map_err(|_| closing())?,
            None => return Err(closing()),
        }
        take.recv().map_err(|_| closing())?
    }

    /// Returns the records of an order, oldest first, with the reason of each.
    ///
    /// # Errors
    ///
    /// As [`Engine::order`]; damage if the journal can't be read.
    pub fn explain(&self, order: OrderId) -> Result<Option<Explanation>, Error> {
        let Some(view) = self.order(order)? else { return Ok(None) };
        let policies = self.policies();
        let mut decisions = Vec::new();
        let mut seq = view.seq;
        let mut complete = false;
        while decisions.len() < DECISIONS_MAX {
            let Some(event) = self.event_at(seq)? else { break };
            let previous = event.previous_seq;
            let reason = crate::explain::reason(&event, &policies);
            decisions.push(Decision { event, reason });
            if previous == 0 {
                complete = true;
                break;
            }
            seq = previous;
        }
        decisions.reverse();
        Ok(Some(Explanation { order, decisions, complete }))
    }

    fn event_at(&self, seq: u64) -> Result<Option<Event>, Error> {
        let events = match self.events(seq - 1, 1) {
            Ok(events) => events,
            Err(error) if error.kind() == ErrorKind::Mismatch => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(events.events.into_iter().next().filter(|event| event.seq == seq))
    }

    /// Returns the position of the last durable record.
    pub fn durable_seq(&self) -> u64 {
        self.around.gate.durable()
    }

    /// Waits until a position is durable; returns whether it is.
    pub fn wait_seq(&self, seq: u64, timeout: Duration) -> bool {
        self.around.gate.wait_durable(seq, timeout)
    }

    /// Returns durable events after a position, at most `limit` and 10,000.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Mismatch`] if the events after the position are no longer in the
    /// journal, damage if it can't be read.
    pub fn events(&self, after: u64, limit: usize) -> Result<Events, Error> {
        let durable = self.durable_seq();
        let first_available = self.index.first_seq().unwrap_or(1);
        let mut events = Vec::new();
        let limit = limit.min(EVENTS_MAX);
        if after >= durable || limit == 0 {
            return Ok(Events { events, next: after.min(durable), first_available });
        }
        let mut reader = self.index.read_frames_from(after + 1, durable)?;
        while events.len() < limit {
            let Some(frame) = reader.next_frame()? else { break };
            self.decode_frame(&frame, after, durable, limit, &mut events)?;
        }
        let next = events.last().map_or(durable, |event| event.seq);
        Ok(Events { events, next, first_available })
    }

    fn decode_frame(
        &self,
        frame: &Frame<'_>,
        after: u64,
        durable: u64,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        for section in frame.sections() {
            let section = section?;
            let mut rest = section.records;
            let mut seq = section.first_seq;
            while let Ok(Some((kind, flags, record))) = next_record(&mut rest) {
                if seq > after && seq <= durable && events.len() < limit {
                    let time = Timestamp::from_millis(section.time);
                    let place = EventPlace { seq, time, shard: section.shard };
                    let event = decode(&self.published, place, kind, flags, record);
                    events.push(event.map_err(|_| {
                        let what = format!("record {seq} is malformed");
                        Error::damaged(what, frame.path, "run `onhand verify` on the directory")
                    })?);
                }
                seq += 1;
            }
        }
        Ok(())
    }

    /// Returns what an operator should know, such as checkpoints that failed, newest last.
    pub fn notes(&self) -> Vec<String> {
        self.around.gate.notes()
    }

    /// Returns the counts of this engine.
    pub fn metrics(&self) -> EngineMetrics {
        let gate = &self.around.gate;
        let mut metrics = EngineMetrics {
            groups: gate.groups.load(Ordering::Relaxed),
            journal_bytes: gate.journal_bytes.load(Ordering::Relaxed),
            durable_seq: gate.durable(),
            store_bytes: gate.store_bytes.load(Ordering::Relaxed),
            ..EngineMetrics::default()
        };
        metrics.memory_bytes = self.shelf.memory_bytes() as u64;
        let mut refusals = vec![0_u64; crate::Reject::ALL.len()];
        for handle in self.around.handles.iter() {
            let ShardCounts {
                counts,
                refusals: of_shard,
                live_orders,
                settled,
                evicted,
                memory_bytes,
            } = handle.counts.lock().clone();
            metrics.accepted += counts.accepted;
            metrics.repeated += counts.repeated;
            metrics.refused += counts.refused;
            metrics.expired += counts.expired;
            metrics.cross_baskets += counts.cross_baskets;
            metrics.live_orders += live_orders;
            metrics.settled_resident += settled;
            metrics.archived += evicted;
            metrics.memory_bytes += memory_bytes as u64;
            metrics.queued += handle.queued() as u64;
            for (sum, count) in refusals.iter_mut().zip(of_shard) {
                *sum += count;
            }
        }
        let all = crate::Reject::ALL.iter().copied().zip(refusals);
        metrics.refusals = all.filter(|(_, count)| *count > 0).collect();
        metrics
    }

    /// Returns whether the engine takes commands.
    pub fn status(&self) -> EngineStatus {
        match self.check_taking() {
            Ok(()) => EngineStatus::Running,
            Err(error) => match error.kind() {
                ErrorKind::ReadOnly => EngineStatus::ReadOnly,
                ErrorKind::Closed => EngineStatus::Closing,
                _ => EngineStatus::Stopped(error.to_string()),
            },
        }
    }

    /// Refuses new commands from now on; those that were taken are finished.
    pub fn begin_close(&self) {
        self.around.closing.store(true, Ordering::SeqCst);
        self.around.handles.iter().for_each(Handle::wake);
    }

    /// Finishes what was taken, writes it, marks the journal as closed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Stopped`] if the engine has stopped before.
    pub fn close(self) -> Result<(), Error> {
        self.shut_down();
        match self.around.gate.why_stopped() {
            Some(why) => Err(Error::new(ErrorKind::Stopped, why, STOPPED_HELP)),
            None => Ok(()),
        }
    }

    fn shut_down(&self) {
        self.begin_close();
        // The keeper works with the shards: it goes first.
        drop(self.wishes.lock().take());
        if let Some(keeper) = self.keeper.lock().take() {
            let _ = keeper.join();
        }
        for thread in self.threads.lock().drain(..) {
            // A shard that panicked has stopped the gate, which tells why.
            let _ = thread.join();
        }
        self.around.gate.close();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
        // The directory is free for the next opening only when nobody holds its files.
        let _ = self.around.look_ups.send(None);
        for helper in self.helpers.lock().drain(..) {
            let _ = helper.join();
        }
        let stopped = "engine closed before the command was taken";
        for handle in self.around.handles.iter() {
            handle.fail_inputs(ErrorKind::Closed, stopped);
        }
    }
}

fn closing() -> Error {
    Error::new(ErrorKind::Closed, "engine is closing", "open it anew")
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}
