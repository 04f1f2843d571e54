//! One run: clients, shards, journal, clock and disk, all moved by one seed on one thread.

mod copies;
mod keep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{at_rest, conserved, deadlines, describe, known_receipt};
use super::history::{History, Refused};
use super::workload::Workload;
use super::{Fault, FaultStorage, Random};
use crate::command::Command;
use crate::config::{EngineBuilder, Place};
use crate::engine::{Engine, EngineStatus};
use crate::error::ErrorKind;
use crate::journal::writer::JournalWriter;
use crate::keeper::{Keeper, LookUp};
use crate::open::Assembled;
use crate::recovery::{OpenReport, journal_dir, shard_count_of};
use crate::reject::Reject;
use crate::reply::{Ack, Receipt, Reply};
use crate::shard::completion::BatchTicket;
use crate::shard::gate::Wrote;
use crate::shard::worker::Worker;
use crate::state::State;
use crate::store::MemoryStore;
use crate::sync::mpsc::Receiver;
use crate::time::{Clock, ManualClock, Timestamp};

/// Directory of the simulated engine.
const DIR: &str = "/engine";
/// Groups from which on the writer must go first: a shard would wait for it.
const GROUPS_FULL: usize = 6;
/// Rounds of all parts within which every request must be answered.
const ROUNDS_MAX: u32 = 400;
/// Tries to open under faults before one without.
const FAULTY_OPENS_MAX: u32 = 3;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hash of everything that happened: equal for equal seeds.
    pub trace_hash: u64,
    /// Steps of any part.
    pub steps: u64,
    /// Requests that were answered.
    pub answers: u64,
    /// Requests that were carried out.
    pub accepted: u64,
    /// Crashes, with those while opening.
    pub crashes: u64,
    /// Times that the engine was opened.
    pub opens: u64,
    /// Promises that counts have broken.
    pub broken: u64,
    /// Those of them whose orders were at home in another shard than the cell.
    pub broken_elsewhere: u64,
    /// Shards.
    pub shards: u16,
    /// Checkpoints that were made.
    pub checkpoints: u64,
    /// Openings that began with a checkpoint.
    pub from_checkpoints: u64,
    /// Look-ups in the archive.
    pub look_ups: u64,
    /// Entries that had left memory at the end.
    pub archived: u64,
    /// Refusals.
    pub refusals: Refusals,
}

/// Refusals by the place of their reject in [`Reject::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals(pub [u64; Reject::ALL.len()]);

impl Default for Refusals {
    fn default() -> Self {
        Self([0; Reject::ALL.len()])
    }
}

impl Summary {
    /// Adds what another run has done; its shards are its own.
    pub fn add(&mut self, other: &Self) {
        self.trace_hash ^= other.trace_hash;
        self.steps += other.steps;
        self.answers += other.answers;
        self.accepted += other.accepted;
        self.crashes += other.crashes;
        self.opens += other.opens;
        self.broken += other.broken;
        self.broken_elsewhere += other.broken_elsewhere;
        self.checkpoints += other.checkpoints;
        self.from_checkpoints += other.from_checkpoints;
        self.look_ups += other.look_ups;
        self.archived += other.archived;
        for (sum, count) in self.refusals.0.iter_mut().zip(other.refusals.0) {
            *sum += count;
        }
    }
}

/// Receives the trace of a run, line by line.
pub type Trace<'a> = &'a mut dyn FnMut(&str);

type Stepped<T = ()> = Result<T, String>;

/// What a client was told of a key.
struct Told {
    command: Command,
    receipt: Receipt,
    /// Whether it may not be lost.
    durable: bool,
    /// Whether the request that was carried out has been answered.
    first_seen: bool,
}

struct Pending {
    commands: Vec<Command>,
    ack: Ack,
    ticket: BatchTicket,
    from: u64,
}

/// The engine without its threads.
struct Parts {
    engine: Engine,
    workers: Vec<Worker>,
    writer: JournalWriter,
    /// Away while it works.
    keeper: Option<Keeper>,
    looked: Receiver<Option<LookUp>>,
}

impl From<Assembled> for Parts {
    fn from(assembled: Assembled) -> Self {
        let Assembled { engine, workers, writer, keeper, looked, .. } = assembled;
        Self { engine, workers, writer, keeper: Some(keeper), looked }
    }
}

pub(super) struct World<'a> {
    random: Random,
    trace: Option<Trace<'a>>,
    pub(super) summary: Summary,
    workload: Workload,
    storage: FaultStorage,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    builder: EngineBuilder,
    /// The engine, while it is open.
    parts: Option<Parts>,
    pending: Vec<Pending>,
    sent: BTreeMap<u128, Vec<Command>>,
    told: BTreeMap<u128, Told>,
    refused: Vec<Refused>,
    /// Shards that have seen the engine stopped.
    ended: BTreeSet<usize>,
    /// Whether the disk was made to fail since the engine was opened.
    faulty: bool,
    /// How often, in steps of 1,000, the run meets a crash or a fault.
    crash_rate: u64,
    fault_rate: u64,
    /// Whether the journal is kept behind checkpoints.
    keeps_journal: bool,
    /// Whether the archive has failed since the engine was opened.
    archive_fails: bool,
    /// Whether the machine stops as soon as the keeper has noticed.
    crash_is_due: bool,
    /// Steps of the others since the keeper began its work.
    patience: u32,
}

impl<'a> World<'a> {
    pub(super) fn new(seed: u64, trace: Option<Trace<'a>>) -> Self {
        let mut random = Random::new(seed);
        let storage = FaultStorage::new(random.bits(), random.percent(60));
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let shards = 1 + random.below(4) as u16;
        let store = MemoryStore::new();
        let keeps_journal = random.percent(75);
        let builder = builder_on(&storage, &store)
            .shards(shards)
            .keep_journal(keeps_journal)
            .settled_resident_max([0, 3, 30, 100_000][random.below(4) as usize])
            .clock(clock.clone())
            .segment_bytes([128 << 10, 256 << 10][random.below(2) as usize])
            .min_free_bytes(0)
            .queue_commands_max([2, 16, 1_000][random.below(3) as usize])
            .cross_shard_wait_ms(1 + random.below(60));
        Self {
            workload: Workload::new(&mut random),
            crash_rate: [0, 3, 10, 25][random.below(4) as usize],
            fault_rate: [0, 0, 4, 15][random.below(4) as usize],
            random,
            trace,
            summary: Summary { shards, ..Summary::default() },
            storage,
            store,
            clock,
            builder,
            parts: None,
            pending: Vec::new(),
            sent: BTreeMap::new(),
            told: BTreeMap::new(),
            refused: Vec::new(),
            ended: BTreeSet::new(),
            faulty: false,
            keeps_journal,
            archive_fails: false,
            crash_is_due: false,
            patience: 0,
        }
    }

    /// Runs to the end and checks everything.
    pub(super) fn run(&mut self) -> Stepped {
        self.open()?;
        for _ in 0..150 + self.random.below(350) {
            self.summary.steps += 1;
            self.step()?;
        }
        self.settle()?;
        if self.keeps_journal {
            let engine = &self.parts().engine;
            let history = History::read(engine)?;
            let (broken, broken_elsewhere) = (history.broken, history.broken_elsewhere);
            for refused in &self.refused {
                history.check(engine, refused)?;
            }
            (self.summary.broken, self.summary.broken_elsewhere) = (broken, broken_elsewhere);
            self.flipped_bits_are_found()?;
        }
        self.reopened_is_equal()?;
        self.close_and_open()?;
        self.summary.archived = self.states().iter().map(|state| state.evicted).sum();
        Ok(())
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let text = text();
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = self.summary.trace_hash ^ u64::from_le_bytes(word);
            self.summary.trace_hash =
                crate::hash::fold(mixed ^ 0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03)
                    .wrapping_add(1);
        }
        if let Some(trace) = &mut self.trace {
            trace(&text);
        }
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("the engine is open between steps")
    }

    fn parts_mut(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("the engine is open between steps")
    }

    fn states(&self) -> Vec<&State> {
        self.parts().workers.iter().map(|worker| &worker.core.state).collect()
    }

    fn is_stopped(&self) -> bool {
        matches!(self.parts().engine.status(), EngineStatus::Stopped(_))
    }

    fn step(&mut self) -> Stepped {
        if self.crash_rate > 0 && self.random.below(1_000) < self.crash_rate {
            return self.crash();
        }
        if self.fault_rate > 0 && self.random.below(1_000) < self.fault_rate {
            self.plan_fault();
        }
        match self.random.below(100) {
            0..=34 => self.submit()?,
            35..=69 => {
                let shard = self.random.below(self.summary.shards.into());
                self.step_shard(shard as usize)?;
            }
            70..=87 => self.step_writer()?,
            88..=91 => self.step_clock(),
            92 => self.keep()?,
            93..=94 => self.look_up().map(|_| ())?,
            95..=97 => self.keep_house(),
            98 if self.random.percent(20) => self.close_and_open()?,
            _ if self.is_stopped() => {
                // An operator starts the process anew; the machine runs on.
                self.check_abandoned()?;
                self.lose();
                self.crash_if_stopped();
                self.open()?;
            }
            _ => (),
        }
        self.read_answers()
    }

    fn plan_fault(&mut self) {
        if self.random.percent(15) {
            let room = self.random.below(400 << 10);
            let bytes = self.storage.used_bytes() + room;
            self.storage.set_capacity(bytes);
            self.note(|| format!("disk has room for {room} more bytes"));
            return;
        }
        let at = self.storage.operation_count() + 1 + self.random.below(8);
        let fault = [Fault::Io, Fault::Full, Fault::Short, Fault::Sync, Fault::Crash]
            [self.random.below(5) as usize];
        self.storage.fail_at(at, fault);
        self.faulty = true;
        self.note(|| format!("operation {at} will fail: {fault:?}"));
    }

    fn submit(&mut self) -> Stepped {
        let count = if self.random.percent(70) { 1 } else { 1 + self.random.below(6) };
        let commands: Vec<Command> =
            (0..count).map(|_| self.workload.next(&mut self.random)).collect();
        let commands: Vec<Command> = commands.into_iter().map(|c| self.as_counted(c)).collect();
        let ack = match self.random.below(10) {
            0 => Ack::Memory,
            1 => Ack::Strict,
            _ => Ack::Group,
        };
        for command in &commands {
            if let Some(key) = command.key() {
                self.sent.entry(key.bits()).or_default().push(command.clone());
            }
        }
        let from = self.parts().engine.around.gate.next_seq();
        let taken = self.parts().engine.submit_batch(commands.clone(), ack);
        self.note(|| format!("submit {ack:?} {commands:?}"));
        match taken {
            Ok(ticket) => self.pending.push(Pending { commands, ack, ticket, from }),
            Err(error) => match error.kind() {
                ErrorKind::Overloaded | ErrorKind::ReadOnly => (),
                ErrorKind::Stopped if self.faulty => (),
                _ => return Err(format!("submit: {error}")),
            },
        }
        Ok(())
    }

    /// Lets most counts expect what the books say now.
    fn as_counted(&mut self, command: Command) -> Command {
        let Command::Count(mut count) = command else { return command };
        let found = self.states().iter().find_map(|state| {
            let sku = state.catalogue.index_of(count.sku)?;
            let cell = state.find_cell(sku, count.location.0, count.lot.0)?;
            let level = state.cells.get(cell).level;
            Some(level.available + level.tentative + level.reserved + level.committed)
        });
        if let Some(found) = found.filter(|_| self.random.percent(85)) {
            count.expected = found;
            count.counted = (found + 2).saturating_sub(count.counted);
        }
        Command::Count(count)
    }

    fn step_shard(&mut self, shard: usize) -> Stepped {
        if self.ended.contains(&shard) {
            return Ok(());
        }
        while self.parts().engine.around.gate.waiting_groups() >= GROUPS_FULL {
            if self.is_stopped() || !self.write()? {
                break;
            }
        }
        if self.parts().engine.around.gate.waiting_groups() >= GROUPS_FULL && !self.is_stopped() {
            return Ok(());
        }
        let worker = &mut self.parts_mut().workers[shard];
        let stepped = worker.step();
        let state = &worker.core.state;
        deadlines(state)?;
        let now = state.now.millis();
        match stepped {
            Ok(busy) => {
                let next = self.parts().engine.around.gate.next_seq();
                self.note(|| format!("shard {shard} busy {busy} at {now}, next seq {next}"));
            }
            Err(error) if self.faulty && error.kind() == ErrorKind::Stopped => {
                // Its thread would end here.
                self.parts_mut().workers[shard].abandon("stopped");
                self.ended.insert(shard);
                self.note(|| format!("shard {shard} has stopped"));
            }
            Err(error) => return Err(format!("shard {shard} stopped without cause: {error}")),
        }
        Ok(())
    }

    fn step_writer(&mut self) -> Stepped {
        self.write().map(|_| ())
    }

    /// Writes a group; returns whether there was one and room for it.
    fn write(&mut self) -> Stepped<bool> {
        let parts = self.parts_mut();
        let wrote = parts.engine.around.gate.write_one(&mut parts.writer, &parts.engine.published);
        let durable = parts.writer.durable_seq();
        match wrote {
            Ok(wrote) => {
                self.note(|| format!("writer: {wrote:?}, durable {durable}"));
                self.read_answers()?;
                Ok(wrote == Wrote::Group)
            }
            Err(_) if self.faulty => {
                self.note(|| "writer has stopped".to_owned());
                self.read_answers()?;
                Ok(false)
            }
            Err(error) => Err(format!("writer stopped without cause: {error}")),
        }
    }

    fn step_clock(&mut self) {
        let now = self.clock.now().millis();
        let now = match self.random.below(20) {
            0 => now.saturating_sub(self.random.below(100_000)),
            1 => now + self.random.below(10_000_000),
            2..=6 => now + self.random.below(2_000),
            _ => now + self.random.below(20),
        };
        self.clock.set(Timestamp::from_millis(now));
        self.note(|| format!("clock {now}"));
    }

    /// What the writer's thread and the segments' thread do when there is nothing to write.
    fn keep_house(&mut self) {
        let storage = self.storage.clone();
        let roomy = self.random.percent(50);
        if roomy {
            storage.set_capacity(u64::MAX);
        }
        let idle = self.random.percent(50);
        let parts = self.parts_mut();
        if let Some(request) = parts.writer.wants_spare() {
            match request.run(&storage) {
                Ok(spare) => parts.writer.give_spare(spare),
                Err(_) => parts.writer.spare_failed(),
            }
        }
        let gate = parts.engine.around.gate.clone();
        if idle
            && gate.waiting_groups() == 0
            && !gate.stopped.load(std::sync::atomic::Ordering::SeqCst)
            && let Err(error) = parts.writer.mark_idle()
            && parts.writer.is_stopped()
        {
            gate.stop(&error.to_string());
        }
        gate.watch_disk(&parts.writer);
        self.remove_journal();
        self.note(|| format!("housekeeping, idle {idle}, roomy {roomy}"));
    }

    fn read_answers(&mut self) -> Stepped {
        let mut at = 0;
        while at < self.pending.len() {
            match self.pending[at].ticket.try_take() {
                None => at += 1,
                Some(answer) => {
                    let pending = self.pending.remove(at);
                    match answer {
                        Ok(replies) => self.answered(pending, &replies)?,
                        Err(error) => self.failed(error.kind())?,
                    }
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, kind: ErrorKind) -> Stepped {
        self.note(|| format!("request failed: {kind:?}"));
        match kind {
            ErrorKind::Overloaded => Ok(()),
            ErrorKind::Stopped if self.is_stopped() => Ok(()),
            _ => Err(format!("a request failed with {kind:?} in an engine that runs")),
        }
    }

    fn answered(&mut self, pending: Pending, replies: &[Reply]) -> Stepped {
        if replies.len() != pending.commands.len() {
            let (asked, got) = (pending.commands.len(), replies.len());
            return Err(format!("{asked} commands got {got} replies"));
        }
        for (command, reply) in pending.commands.into_iter().zip(replies) {
            self.summary.answers += 1;
            self.note(|| format!("answer {reply:?}"));
            self.check_reply(command, reply, pending.ack, pending.from)?;
        }
        Ok(())
    }

    fn check_reply(&mut self, command: Command, reply: &Reply, ack: Ack, from: u64) -> Stepped {
        let durable = self.parts().writer.durable_seq();
        let shown = match &reply.outcome {
            Ok(Receipt::Order(receipt)) => receipt.seq,
            Ok(Receipt::Change(receipt)) => receipt.seq,
            Ok(Receipt::Stock(receipt)) => receipt.seq,
            Ok(Receipt::Policy(receipt)) => receipt.seq,
            Ok(Receipt::Tick) | Err(_) => 0,
        };
        if ack != Ack::Memory && reply.seq.max(shown) > durable {
            return Err(format!("reply before it was durable ({durable}): {reply:?}"));
        }
        let Some(key) = command.key() else { return Ok(()) };
        let told = self.told.get(&key.bits());
        match &reply.outcome {
            Ok(receipt) => {
                self.summary.accepted += 1;
                if let Some(told) = told {
                    if told.receipt != *receipt || told.command != command {
                        return Err(format!(
                            "I7: {command:?} got {receipt:?}, before that {:?} got {:?}",
                            told.command, told.receipt
                        ));
                    }
                    if !reply.replayed && told.first_seen {
                        return Err(format!("I7: carried out twice: {command:?}"));
                    }
                }
                let hard =
                    told.is_some_and(|t| t.durable) || ack != Ack::Memory || shown <= durable;
                let first_seen = !reply.replayed || told.is_some_and(|t| t.first_seen);
                let receipt = receipt.clone();
                let told = Told { command, receipt, durable: hard, first_seen };
                self.told.insert(key.bits(), told);
            }
            Err(refusal) => {
                // A refusal of before the acceptance may arrive after it.
                let later = |t: &&Told| t.command == command && reply.seq >= seq_of(&t.receipt);
                if let Some(told) = told.filter(later) {
                    let before = &told.receipt;
                    return Err(format!("I7: {command:?} got {before:?}, then {refusal:?}"));
                }
                let reject = refusal.reject;
                if let Some(at) = Reject::ALL.iter().position(|known| *known == reject) {
                    self.summary.refusals.0[at] += 1;
                }
                let short = matches!(reject, Reject::SoldOut | Reject::PartialOnly);
                if short && ack != Ack::Memory {
                    self.refused.push(Refused { command, reject, from, to: reply.seq });
                }
            }
        }
        Ok(())
    }

    /// The process ends at once; what was told for certain must be there again.
    fn lose(&mut self) {
        let durable = self.parts().writer.durable_seq();
        self.pending.clear();
        self.ended.clear();
        self.parts = None;
        for told in self.told.values_mut() {
            told.durable |= seq_of(&told.receipt) <= durable;
        }
        self.told.retain(|_, told| told.durable);
        self.note(|| format!("process ends, durable {durable}"));
    }

    fn crash(&mut self) -> Stepped {
        self.lose();
        self.storage.crash();
        self.summary.crashes += 1;
        self.note(|| "machine crashed".to_owned());
        self.damage_store();
        self.open()
    }

    /// When every shard has seen that the engine has stopped, no client waits any more.
    fn check_abandoned(&mut self) -> Stepped {
        for shard in 0..usize::from(self.summary.shards) {
            self.step_shard(shard)?;
        }
        self.read_answers()?;
        let all = self.ended.len() == usize::from(self.summary.shards);
        match self.pending.first() {
            Some(first) if all => {
                Err(format!("never answered after the stop: {:?}", first.commands))
            }
            _ => Ok(()),
        }
    }

    fn crash_if_stopped(&mut self) {
        if self.storage.is_stopped() {
            self.storage.crash();
            self.summary.crashes += 1;
            self.note(|| "machine had crashed".to_owned());
        }
    }

    /// Opens the engine, perhaps with faults on the way, and checks what came back.
    fn open(&mut self) -> Stepped {
        self.storage.clear_faults();
        self.storage.set_capacity(u64::MAX);
        let mut tries = 0;
        let report = loop {
            let faulty = tries < FAULTY_OPENS_MAX && self.crash_rate > 0 && self.random.percent(25);
            tries += 1;
            if faulty {
                let at = self.storage.operation_count() + 1 + self.random.below(60);
                let fault = [Fault::Io, Fault::Short, Fault::Sync, Fault::Crash, Fault::Crash]
                    [self.random.below(5) as usize];
                self.storage.fail_at(at, fault);
                self.note(|| format!("while opening, operation {at} will fail: {fault:?}"));
            }
            self.summary.opens += 1;
            match self.builder.clone().assemble() {
                Ok((assembled, report)) => {
                    self.parts = Some(assembled.into());
                    break report;
                }
                Err(error) => {
                    let kind = error.kind();
                    self.note(|| format!("opening failed: {kind:?}"));
                    if !faulty || !matches!(kind, ErrorKind::Io | ErrorKind::Stopped) {
                        return Err(format!("opening failed: {error}"));
                    }
                    self.storage.clear_faults();
                    self.crash_if_stopped();
                    if self.random.percent(50) {
                        self.storage.crash();
                        self.summary.crashes += 1;
                        self.note(|| "machine crashed while opening".to_owned());
                    }
                }
            }
        };
        self.archive_fails = false;
        self.summary.from_checkpoints += u64::from(report.checkpoint.is_some());
        // A fault that was meant for the opening may still be ahead.
        self.faulty = true;
        if self.random.percent(50) {
            self.storage.clear_faults();
            self.faulty = false;
        }
        self.note(|| {
            let OpenReport { created, clean, durable_seq, undone_baskets, checkpoint, .. } =
                &report;
            format!(
                "open: created {created} clean {clean} seq {durable_seq} undone {undone_baskets} \
                 checkpoint {checkpoint:?} notes {:?}",
                report.notes
            )
        });
        self.check_opened()
    }

    fn check_opened(&mut self) -> Stepped {
        let shelf = self.on_the_shelf()?;
        let states = self.states();
        at_rest(&states, &shelf.orders)?;
        conserved(&states, &self.sent, &shelf.commands)?;
        for (key, told) in &self.told {
            let known = known_receipt(&states, *key);
            let known = known.or_else(|| self.archived_receipt(&told.command));
            if known.as_ref() != Some(&told.receipt) {
                let (command, receipt) = (&told.command, &told.receipt);
                return Err(format!("lost: {command:?} was told {receipt:?}, now {known:?}"));
            }
        }
        // What recovery gave back is published when the disk has room for it.
        let all_written = self.parts().engine.around.gate.waiting_groups() == 0;
        for state in states.iter().filter(|_| all_written) {
            for sku in state.catalogue.iter() {
                let Some(stock) = self.parts().engine.stock(sku.id) else {
                    return Err(format!("SKU {} is not published", sku.code));
                };
                let of = |s: &&State| {
                    s.catalogue.index_of(sku.id).map_or(0, |i| s.catalogue.get(i).level.available)
                };
                if stock.available != states.iter().map(of).sum::<u64>() {
                    return Err(format!("published stock of {} differs: {stock:?}", sku.code));
                }
            }
        }
        if self.storage_is_well() && self.keeps_journal {
            let journal = journal_dir(Path::new(DIR));
            let storage = Arc::new(self.storage.fork(1));
            let count = shard_count_of(storage, &journal).map_err(|e| e.to_string())?;
            if count != Some(self.summary.shards) {
                return Err(format!("journal was made with {count:?} shards"));
            }
        }
        Ok(())
    }

    fn storage_is_well(&self) -> bool {
        !self.faulty
    }

    /// Lets everything come to rest without new requests or faults: each request is answered.
    fn settle(&mut self) -> Stepped {
        self.storage.clear_faults();
        self.storage.set_capacity(u64::MAX);
        while self.is_stopped() || self.storage.is_stopped() {
            self.crash()?;
            self.storage.clear_faults();
        }
        for _ in 0..ROUNDS_MAX {
            while self.look_up()? {}
            for shard in 0..usize::from(self.summary.shards) {
                self.step_shard(shard)?;
            }
            while self.write()? {}
            if self.is_stopped() {
                return Err(format!("stopped: {:?}", self.parts().engine.status()));
            }
            let now = self.clock.now().millis();
            self.clock.set(Timestamp::from_millis(now + 1));
            let idle = self.parts().workers.iter().all(|worker| worker.core.is_at_rest());
            let queues = self.parts().engine.around.handles.iter();
            let waiting = queues.map(|h| h.queued() + h.peers.len() + h.looked_up.len());
            let empty = waiting.sum::<usize>() == 0;
            if self.pending.is_empty() && idle && empty {
                return self.check_rest();
            }
        }
        let first = self.pending.first().map(|p| format!("{:?}", p.commands));
        Err(format!("{} requests are never answered, such as {first:?}", self.pending.len()))
    }

    fn check_rest(&mut self) -> Stepped {
        let shelf = self.on_the_shelf()?;
        let states = self.states();
        at_rest(&states, &shelf.orders)?;
        conserved(&states, &self.sent, &shelf.commands)
    }

    /// Ends as an operator ends it, and comes back the same.
    fn close_and_open(&mut self) -> Stepped {
        if self.is_stopped() {
            return Ok(());
        }
        self.settle()?;
        let live = describe(&self.states());
        let Some(parts) = self.parts.take() else { return Ok(()) };
        let Parts { engine, workers, writer, .. } = parts;
        engine.begin_close();
        drop(workers);
        let closed = writer.close();
        drop(engine);
        self.note(|| "closed".to_owned());
        closed.map_err(|e| format!("closing: {e}"))?;
        for told in self.told.values_mut() {
            told.durable = true;
        }
        self.storage.clear_faults();
        let (assembled, report) = self.builder.clone().assemble().map_err(|e| e.to_string())?;
        self.parts = Some(assembled.into());
        self.faulty = false;
        self.archive_fails = false;
        self.summary.from_checkpoints += u64::from(report.checkpoint.is_some());
        self.summary.opens += 1;
        if !report.clean || report.torn_tail.is_some() || report.undone_baskets > 0 {
            return Err(format!("closed engine comes back unclean: {report:?}"));
        }
        same(&live, &describe(&self.states()))?;
        self.check_opened()
    }
}

fn builder_on(disk: &FaultStorage, store: &MemoryStore) -> EngineBuilder {
    let place = Place::Custom(Arc::new(disk.clone()), store.clone(), PathBuf::from(DIR));
    EngineBuilder::new(place)
}

fn seq_of(receipt: &Receipt) -> u64 {
    match receipt {
        Receipt::Order(receipt) => receipt.seq,
        Receipt::Change(receipt) => receipt.seq,
        Receipt::Stock(receipt) => receipt.seq,
        Receipt::Policy(receipt) => receipt.seq,
        Receipt::Tick => 0,
    }
}

fn same(live: &[String], again: &[String]) -> Stepped {
    for at in 0..live.len().max(again.len()) {
        let (live, again) = (live.get(at), again.get(at));
        if live != again {
            return Err(format!("replay differs: live {live:?}, replayed {again:?}"));
        }
    }
    Ok(())
}
