//! From a data directory to a running engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::{EngineBuilder, Place};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::journal::reader::Start;
use crate::journal::segment::EngineId;
use crate::journal::spare::{Spare, SpareRequest};
use crate::journal::writer::JournalWriter;
use crate::lock::DirLock;
use crate::recovery::{Open, OpenReport, journal_dir, recover, shard_count_of};
use crate::shard::core::{Core, PeerMessage};
use crate::shard::gate::Gate;
use crate::shard::published::Published;
use crate::shard::stripes::Stripes;
use crate::shard::worker::{Handle, Surroundings, Worker};
use crate::state::State;
use crate::storage::{DiskStorage, MemoryStorage, Storage};
use crate::view::SkuView;

/// Most jobs that may wait in the queue of a shard.
const JOBS_MAX: usize = 16_384;

/// Files and their lock.
struct Ground {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    lock: Option<DirLock>,
}

impl EngineBuilder {
    /// Opens the engine: takes the directory's lock, recovers, starts its threads.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Config`] for a setting out of range, [`ErrorKind::Locked`] if another
    /// process has the directory, [`ErrorKind::Damaged`] with file and offset if the journal is
    /// not what was written, [`ErrorKind::Mismatch`] if it was made with other shards.
    pub fn open(self) -> Result<(Engine, OpenReport), Error> {
        let start = Instant::now();
        self.check()?;
        let ground = self.ground()?;
        let (states, open, writer, mut report) = self.recover(&ground)?;
        let engine = self.start(ground, states, &open, writer, &mut report)?;
        report.durable_seq = engine.durable_seq();
        report.elapsed = start.elapsed();
        Ok((engine, report))
    }

    fn ground(&self) -> Result<Ground, Error> {
        Ok(match &self.place {
            Place::Memory => {
                let storage = Arc::new(MemoryStorage::default());
                Ground { storage, dir: PathBuf::from("memory"), lock: None }
            }
            Place::Custom(storage, dir) => {
                Ground { storage: storage.clone(), dir: dir.clone(), lock: None }
            }
            Place::Disk(dir) => {
                let made = std::fs::create_dir_all(dir);
                made.map_err(|e| Error::io("data directory can't be made", dir, e))?;
                let lock = Some(DirLock::take(dir)?);
                let storage = if self.direct_io {
                    DiskStorage::probe(dir)
                        .map_err(|e| Error::io("data directory can't be written to", dir, e))?
                } else {
                    DiskStorage::buffered()
                };
                Ground { storage: Arc::new(storage), dir: dir.clone(), lock }
            }
        })
    }

    fn new_states(&self, shards: u16) -> Vec<State> {
        let expected = self.expected_orders / usize::from(shards);
        (0..shards).map(|shard| State::new(shard, shards, expected)).collect()
    }

    fn recover(
        &self,
        ground: &Ground,
    ) -> Result<(Vec<State>, Open, JournalWriter, OpenReport), Error> {
        let journal = journal_dir(&ground.dir);
        let storage = &ground.storage;
        let mut report = OpenReport::default();
        let known = match storage.exists(&journal) {
            Ok(true) => shard_count_of(storage.clone(), &journal)?,
            _ => None,
        };
        if let (Some(known), Some(asked)) = (known, self.shards) {
            if known != asked {
                let what = format!("data directory has {known} shards, {asked} were asked for");
                let help = "open it with its own number of shards; it is fixed at creation";
                return Err(Error::new(ErrorKind::Mismatch, what, help).at(&journal));
            }
        }
        let shards = known.or(self.shards).unwrap_or(1);
        let states = self.new_states(shards);
        if let Ok(true) = storage.exists(&journal) {
            if let Some(found) = recover(storage.clone(), &journal, Start::Origin, states)? {
                report.commands_replayed = found.replayed;
                report.clean = found.tail.clean;
                report.torn_tail = found.tail.torn.clone();
                report.live_orders = found.states.iter().map(|s| s.live_orders).sum();
                let bytes = self.segment_bytes;
                let writer = JournalWriter::resume(storage.clone(), &journal, bytes, found.tail)?;
                return Ok((found.states, found.open, writer, report));
            }
        }
        report.created = true;
        report.clean = true;
        let engine = EngineId(random_id());
        let bytes = self.segment_bytes;
        let writer = JournalWriter::create(storage.clone(), &journal, bytes, engine)?;
        Ok((self.new_states(shards), Open::new(), writer, report))
    }

    fn start(
        &self,
        ground: Ground,
        states: Vec<State>,
        open: &Open,
        mut writer: JournalWriter,
        report: &mut OpenReport,
    ) -> Result<Engine, Error> {
        let shard_count = states.len() as u16;
        let published = Arc::new(Published::new(shard_count));
        let stripes = Arc::new(Stripes::new());
        let next_seq = writer.durable_seq() + 1;
        let index = writer.index().clone();
        for state in &states {
            publish(&published, &stripes, state, next_seq - 1);
        }
        let gate = Arc::new(Gate::new(next_seq, self.segment_bytes, self.min_free_bytes));
        let wait = self.cross_shard_wait_ms;
        let mut cores: Vec<Core> =
            states.into_iter().map(|state| Core::new(state, wait, None)).collect();
        self.finish_baskets(&mut cores, open, &gate, report)?;
        while gate.write_one(&mut writer, &published)? {}
        let around = Surroundings {
            gate,
            handles: Arc::new((0..shard_count).map(|_| Handle::new(JOBS_MAX)).collect()),
            stripes,
            clock: self.clock.clone(),
            closing: Arc::new(AtomicBool::new(false)),
        };
        let mut threads = Vec::new();
        for core in cores {
            let mut worker = Worker::new(core, around.clone());
            worker.tell();
            threads.push(spawn("onhand-shard", around.gate.clone(), move || worker.run())?);
        }
        let writer = start_writer(&around, ground.storage, writer, published.clone())?;
        Ok(Engine {
            around,
            published,
            index,
            shard_count,
            queue_commands_max: self.queue_commands_max as usize,
            threads: Mutex::new(threads),
            writer: Mutex::new(Some(writer)),
            _lock: ground.lock,
        })
    }

    /// Carries out what the journal shows decided and not carried out, and gives back what
    /// baskets had taken that no order was made of.
    fn finish_baskets(
        &self,
        cores: &mut [Core],
        open: &Open,
        gate: &Gate,
        report: &mut OpenReport,
    ) -> Result<(), Error> {
        let shard_count = cores.len() as u16;
        for core in cores {
            let shard = core.state.shard;
            // Time stands still here: what is due expires with the first section of commands.
            let now = if report.created { self.clock.now() } else { core.state.now };
            core.begin_without_expiry(gate.base(shard_count), now);
            if report.created && shard == 0 {
                crate::apply::open_record(&mut core.section, shard_count);
            }
            for (_, instructions) in open.iter().filter(|((_, peer), _)| *peer == shard) {
                for instruction in instructions {
                    core.receive(PeerMessage::Instruct(instruction.clone()));
                }
            }
            let in_doubt: Vec<u128> = core.state.taken.keys().copied().collect();
            report.undone_baskets += in_doubt.len() as u64;
            in_doubt.into_iter().for_each(|order| core.undo(order));
            gate.hand_over(core)?;
        }
        Ok(())
    }
}

/// Makes what a recovered shard knows visible to readers and routers.
fn publish(published: &Published, stripes: &Stripes, state: &State, seq: u64) {
    for index in 0..state.catalogue.count() as u32 {
        published.define(Arc::new(SkuView::new(state, index)));
        let sku = state.catalogue.get(index);
        if !sku.cells.is_empty() {
            published.set_level(state.shard, index, &sku.level, seq);
        }
    }
    for index in 0..state.cells.high() {
        let cell = state.cells.get(index);
        let name = crate::shard::core::CellName {
            sku: cell.sku(),
            location: cell.location,
            lot: cell.lot,
        };
        published.add_cell(state.shard, index, name);
    }
    if state.shard_count > 1 {
        state.for_each_key(|key| stripes.keep(key, state.shard));
    }
}

fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&crate::hash::random_seed().to_le_bytes());
    id[8..].copy_from_slice(&crate::hash::random_seed().to_le_bytes());
    id
}

/// Starts a thread whose panic or failure stops the engine.
fn spawn(
    name: &str,
    gate: Arc<Gate>,
    run: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, Error> {
    let body = move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        match ended {
            Ok(Ok(())) => (),
            Ok(Err(error)) => gate.stop(&error.to_string()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let text = text.unwrap_or("no message");
                gate.stop(&format!("an invariant is broken, the shard has stopped: {text}"));
            }
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
        let what = format!("thread {name} can't be started: {e}");
        Error::new(ErrorKind::Io, what, "check the limits of the process")
    })
}

/// Starts the journal's writer, and the thread that makes its segments ahead of need.
fn start_writer(
    around: &Surroundings,
    storage: Arc<dyn Storage>,
    writer: JournalWriter,
    published: Arc<Published>,
) -> Result<std::thread::JoinHandle<()>, Error> {
    let (ask, asked) = mpsc::channel::<SpareRequest>();
    let made: Arc<Mutex<Option<Result<Spare, Error>>>> = Arc::default();
    let place = made.clone();
    let keeper = move || {
        while let Ok(request) = asked.recv() {
            let spare = request.run(&*storage);
            *place.lock() = Some(spare);
        }
        Ok(())
    };
    spawn("onhand-segments", around.gate.clone(), keeper)?;
    let gate = around.gate.clone();
    let run = move || {
        gate.run_writer(writer, &published, |writer| {
            match made.lock().take() {
                Some(Ok(spare)) => writer.give_spare(spare),
                // Without a spare the writer makes the segment itself when it needs it, and
                // says then what is wrong.
                Some(Err(_)) => writer.spare_failed(),
                None => (),
            }
            if let Some(request) = writer.wants_spare() {
                // The keeper ends only with the writer.
                let _ = ask.send(request);
            }
        })
    };
    spawn("onhand-journal", around.gate.clone(), run)
}
