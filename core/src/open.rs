//! From a data directory to a running engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::archive::Shelf;
use crate::checkpoint::{self, Manifest};
use crate::config::{EngineBuilder, Place};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::journal::reader::{JournalReader, Start};
use crate::journal::segment::EngineId;
use crate::journal::spare::{Chore, Made, do_chores};
use crate::journal::writer::JournalWriter;
use crate::keeper::{Cut, Keeper, LookUp, run_look_ups};
use crate::limits::SHARDS_MAX;
use crate::lock::DirLock;
use crate::recovery::{Open, OpenReport, journal_dir, recover, shard_count_of};
use crate::shard::core::{Core, PeerMessage};
use crate::shard::gate::{Gate, Wrote};
use crate::shard::published::Published;
use crate::shard::rest::Rest;
use crate::shard::stripes::Stripes;
use crate::shard::worker::{Handle, Surroundings, Worker};
use crate::state::State;
use crate::storage::{DiskStorage, MemoryStorage, Storage};
use crate::store::{
    ArchiveRange, CheckpointStore, MemoryStore, OpenedArchive, SledStore, StoreOptions,
};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{Builder, JoinHandle};
use crate::sync::{Mutex, mpsc};
use crate::view::SkuView;

/// Most jobs that may wait in the queue of a shard.
const JOBS_MAX: usize = 16_384;

/// Where checkpoints and the archive are.
enum Store {
    Sled(SledStore),
    Memory(MemoryStore, u64),
}

impl Store {
    fn checkpoints(&self) -> Box<dyn CheckpointStore> {
        match self {
            Self::Sled(store) => Box::new(store.checkpoints()),
            Self::Memory(store, _) => Box::new(store.clone()),
        }
    }

    /// Opens the archive while `recover` finds out what is expected of it.
    fn open_archive(
        &self,
        recover: impl FnOnce() -> Result<Opened, Error>,
    ) -> Result<(Opened, OpenedArchive), Error> {
        let store = match self {
            Self::Sled(store) => store,
            Self::Memory(store, seed) => {
                let opened = recover()?;
                let archive = store.open_archive(opened.archive_range(), *seed);
                return Ok((opened, archive));
            }
        };
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let archive = scope.spawn(move || {
                let mut known = None;
                store.open_archive_with(|| {
                    known = known.or_else(|| told.recv().ok());
                    let help = "see the error of the journal";
                    known.ok_or_else(|| {
                        Error::new(ErrorKind::Stopped, "nothing was recovered", help)
                    })
                })
            });
            // What fails first counts; the other side then ends because nobody tells it.
            let opened = recover()?;
            // Without an archive to read nobody may ask.
            let _ = tell.send(opened.archive_range());
            drop(tell);
            let archive = archive.join().unwrap_or_else(|_| Err(panicked()))?;
            Ok((opened, archive))
        })
    }
}

/// What recovery has found.
struct Opened {
    states: Vec<State>,
    /// Seq of the checkpoint that was used, and the epoch behind it.
    checkpoint: Option<(u64, u64)>,
    open: Open,
    writer: JournalWriter,
    report: OpenReport,
}

impl Opened {
    /// Returns the marks of an archive that go with these states.
    fn archive_range(&self) -> ArchiveRange {
        let evicted: u64 = self.states.iter().map(|s| s.evicted).sum();
        let settled: u64 = self.states.iter().map(|s| s.settled.len() as u64).sum();
        ArchiveRange { min: evicted, max: evicted + settled }
    }
}

fn panicked() -> Error {
    let help = "report it with the data directory; nothing was changed";
    Error::new(ErrorKind::Stopped, "the thread that opens the archive has panicked", help)
}

/// Files and their lock.
struct Ground {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    lock: Option<DirLock>,
}

/// An engine whose threads do not run.
pub(crate) struct Assembled {
    pub(crate) engine: Engine,
    pub(crate) workers: Vec<Worker>,
    pub(crate) writer: JournalWriter,
    storage: Arc<dyn Storage>,
    pub(crate) keeper: Keeper,
    pub(crate) looked: mpsc::Receiver<Option<LookUp>>,
}

impl Assembled {
    /// Starts the threads.
    fn start(self) -> Result<Engine, Error> {
        let Self { engine, workers, writer, storage, mut keeper, looked } = self;
        for mut worker in workers {
            worker.tell();
            let gate = engine.around.gate.clone();
            let run = move || {
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run()));
                ended.unwrap_or_else(|panic| {
                    let why = panic_text(&*panic);
                    worker.around.gate.stop(&why);
                    worker.abandon(&why);
                    Ok(())
                })
            };
            engine.threads.lock().push(spawn("onhand-shard", gate, run)?);
        }
        let (writer, segments) =
            start_writer(&engine.around, storage, writer, engine.published.clone())?;
        *engine.writer.lock() = Some(writer);
        engine.helpers.lock().push(segments);
        let (shelf, handles) = (engine.shelf.clone(), engine.around.handles.clone());
        let archive = spawn("onhand-archive", engine.around.gate.clone(), move || {
            run_look_ups(&shelf, &handles, &looked)
        })?;
        engine.helpers.lock().push(archive);
        let (wishes, wished) = mpsc::channel();
        let gate = engine.around.gate.clone();
        let keeper = spawn("onhand-keeper", gate, move || keeper.run(&wished))?;
        *engine.wishes.lock() = Some(wishes);
        *engine.keeper.lock() = Some(keeper);
        Ok(engine)
    }
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
        let (assembled, report) = self.assemble()?;
        Ok((assembled.start()?, report))
    }

    /// Opens the engine up to its threads: the simulation steps its parts by hand.
    pub(crate) fn assemble(self) -> Result<(Assembled, OpenReport), Error> {
        let start = Instant::now();
        self.check()?;
        let ground = self.ground()?;
        let store = self.store(&ground)?;
        let mut checkpoints = store.checkpoints();
        let (mut opened, archive) =
            store.open_archive(|| self.recover(&ground, &mut *checkpoints))?;
        let shelf = self.open_shelf(&ground, archive, &mut opened)?;
        let (assembled, mut report) = self.join(ground, opened, checkpoints, shelf)?;
        report.durable_seq = assembled.engine.durable_seq();
        report.elapsed = start.elapsed();
        Ok((assembled, report))
    }

    fn ground(&self) -> Result<Ground, Error> {
        Ok(match &self.place {
            Place::Memory => {
                let storage = Arc::new(MemoryStorage::default());
                Ground { storage, dir: PathBuf::from("memory"), lock: None }
            }
            Place::Custom(storage, _, dir) => {
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

    /// Reads the newest checkpoint that is whole; states that are not used are dropped.
    fn load_checkpoint(
        &self,
        checkpoints: &mut dyn CheckpointStore,
        report: &mut OpenReport,
    ) -> Result<Option<(Manifest, Vec<State>)>, Error> {
        let mut below = u64::MAX;
        loop {
            let loaded = checkpoints.load_newest(below)?;
            report.notes.extend(loaded.notes);
            let Some(generation) = loaded.generation else { return Ok(None) };
            let seq = generation.seq;
            if let Ok(manifest) = Manifest::decode(&generation.manifest) {
                let shards = manifest.shard_count;
                if (1..=SHARDS_MAX).contains(&shards) {
                    let mut states = self.new_states(shards);
                    if checkpoint::load(generation, &mut states).is_ok() {
                        report.checkpoint = Some(seq);
                        return Ok(Some((manifest, states)));
                    }
                }
            }
            report.notes.push(format!("checkpoint at seq {seq} is malformed and was not used"));
            match seq.checked_sub(1) {
                Some(older) => below = older,
                None => return Ok(None),
            }
        }
    }

    fn check_shards(&self, known: u16, path: &Path) -> Result<(), Error> {
        match self.shards {
            Some(asked) if asked != known => {
                let what = format!("data directory has {known} shards, {asked} were asked for");
                let help = "open it with its own number of shards; it is fixed at creation";
                Err(Error::new(ErrorKind::Mismatch, what, help).at(path))
            }
            _ => Ok(()),
        }
    }

    fn recover(
        &self,
        ground: &Ground,
        checkpoints: &mut dyn CheckpointStore,
    ) -> Result<Opened, Error> {
        let journal = journal_dir(&ground.dir);
        let storage = &ground.storage;
        let mut report = OpenReport::default();
        let there = storage.exists(&journal);
        let there = there.map_err(|e| Error::io("journal can't be looked for", &journal, e))?;
        let loaded = self.load_checkpoint(checkpoints, &mut report)?;
        let epoch = loaded.as_ref().map(|(manifest, _)| manifest.chain.epoch);
        let checkpoint = report.checkpoint.zip(epoch);
        let (start, states) = if let Some((manifest, states)) = loaded {
            (Start::At(manifest.chain), states)
        } else {
            let known = if there { shard_count_of(storage.clone(), &journal)? } else { None };
            let shards = known.or(self.shards).unwrap_or(1);
            (Start::Origin, self.new_states(shards))
        };
        let shards = states.len() as u16;
        self.check_shards(shards, &journal)?;
        if there && let Some(found) = recover(storage.clone(), &journal, start, states, None)? {
            report.commands_replayed = found.replayed;
            report.clean = found.tail.clean;
            report.torn_tail.clone_from(&found.tail.torn);
            report.live_orders = found.states.iter().map(|s| s.live_orders).sum();
            let bytes = self.segment_bytes;
            let writer = JournalWriter::resume(storage.clone(), &journal, bytes, found.tail)?;
            // A crash came before the first record: the engine is created now.
            report.created = writer.durable_seq() == 0;
            let (states, open) = (found.states, found.open);
            return Ok(Opened { states, checkpoint, open, writer, report });
        }
        if report.checkpoint.is_some() {
            let what = "journal is missing, a checkpoint of it is there";
            let help = "restore the journal from a backup; what it held is not invented";
            return Err(Error::damaged(what, &journal, help));
        }
        report.created = true;
        report.clean = true;
        let engine = EngineId(random_id());
        let bytes = self.segment_bytes;
        let writer = JournalWriter::create(storage.clone(), &journal, bytes, engine)?;
        let states = self.new_states(shards);
        Ok(Opened { states, checkpoint, open: Open::new(), writer, report })
    }

    /// Makes the archive anew from the journal if it lacks what it should have.
    fn open_shelf(
        &self,
        ground: &Ground,
        archive: OpenedArchive,
        opened: &mut Opened,
    ) -> Result<Arc<Shelf>, Error> {
        let rebuild = archive.rebuild;
        opened.report.notes.extend(archive.notes.iter().cloned());
        let shelf = Arc::new(Shelf::new(archive));
        if rebuild {
            let shards = opened.states.len() as u16;
            let journal = journal_dir(&ground.dir);
            let states = self.new_states(shards);
            let storage = ground.storage.clone();
            recover(storage, &journal, Start::Origin, states, Some(shelf.clone()))?;
            let evicted = opened.archive_range().min;
            opened.report.notes.push(format!("archive was made anew from the journal: {evicted}"));
        }
        Ok(shelf)
    }

    fn store(&self, ground: &Ground) -> Result<Store, Error> {
        let seed = crate::hash::random_seed();
        Ok(match &self.place {
            Place::Disk(_) => {
                let options = StoreOptions { filter_seed: seed, ..StoreOptions::default() };
                Store::Sled(SledStore::open(&ground.dir.join("store"), options)?)
            }
            Place::Memory => Store::Memory(MemoryStore::new(), seed),
            Place::Custom(_, store, _) => Store::Memory(store.clone(), seed),
        })
    }

    fn join(
        &self,
        ground: Ground,
        opened: Opened,
        checkpoints: Box<dyn CheckpointStore>,
        shelf: Arc<Shelf>,
    ) -> Result<(Assembled, OpenReport), Error> {
        let Opened { states, checkpoint, open, mut writer, mut report } = opened;
        let shard_count = states.len() as u16;
        let published = Arc::new(Published::new(shard_count));
        let stripes = Arc::new(Stripes::new());
        report.direct = writer.writes_through();
        let next_seq = writer.durable_seq() + 1;
        let index = writer.index().clone();
        for state in &states {
            publish(&published, &stripes, state, next_seq - 1);
        }
        let gate = Arc::new(Gate::new(next_seq, self.segment_bytes, self.min_free_bytes));
        let wait = self.cross_shard_wait_ms;
        let mut cores: Vec<Core> =
            states.into_iter().map(|state| Core::new(state, wait, Some(shelf.clone()))).collect();
        if shard_count > 1 {
            cores.iter_mut().for_each(|core| core.find_orders_in(Arc::clone(&stripes)));
        }
        self.finish_baskets(&mut cores, &open, &gate, &mut report)?;
        while gate.write_one(&mut writer, &published)? == Wrote::Group {}
        let (look_ups, looked) = mpsc::channel();
        let handles = Arc::new((0..shard_count).map(|_| Handle::new(JOBS_MAX)).collect());
        gate.wakes(Arc::clone(&handles));
        let around = Surroundings {
            gate,
            handles,
            stripes,
            clock: self.clock.clone(),
            closing: Arc::new(AtomicBool::new(false)),
            cut: Arc::new(Cut::new(shard_count)),
            rest: Arc::new(Rest::new(shard_count)),
            look_ups,
        };
        let keeper = Keeper {
            gate: around.gate.clone(),
            handles: around.handles.clone(),
            cut: around.cut.clone(),
            shelf: shelf.clone(),
            checkpoints,
            closing: around.closing.clone(),
            checkpoint_journal_bytes: self.checkpoint_journal_bytes,
            settled_resident_max: self.settled_resident_max,
            keep_journal: self.keep_journal,
            bytes_at_last: 0,
            epochs: checkpoint.into_iter().collect(),
        };
        let workers = cores.into_iter().map(|core| Worker::new(core, around.clone())).collect();
        let engine = Engine {
            around,
            published,
            index,
            shard_count,
            queue_commands_max: self.queue_commands_max as usize,
            threads: Mutex::new(Vec::new()),
            writer: Mutex::new(None),
            wishes: Mutex::new(None),
            keeper: Mutex::new(None),
            helpers: Mutex::new(Vec::new()),
            shelf,
            _lock: ground.lock,
        };
        let storage = ground.storage;
        Ok((Assembled { engine, workers, writer, storage, keeper, looked }, report))
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
        let mut instructed: Vec<Vec<PeerMessage>> = cores.iter().map(|_| Vec::new()).collect();
        for core in cores.iter_mut() {
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
            gate.hand_over(core, |peer, message| instructed[usize::from(peer)].push(message))?;
        }
        // A broken promise instructs the shards of its cells; those instruct nobody.
        for (core, messages) in cores.iter_mut().zip(instructed) {
            core.begin_without_expiry(gate.base(shard_count), core.state.now);
            messages.into_iter().for_each(|message| core.receive(message));
            gate.hand_over(core, |_, _| ())?;
        }
        Ok(())
    }
}

/// Makes what a recovered shard knows visible to readers and routers.
fn publish(published: &Published, stripes: &Stripes, state: &State, seq: u64) {
    for index in 0..state.catalogue.count() as u32 {
        published.define(Arc::new(SkuView::new(state, index)));
        let sku = state.catalogue.get(index);
        if sku.first_cell().is_some() {
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
    if state.shard == 0 {
        state.policies.iter().for_each(|policy| published.set_policy(policy.view.clone()));
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no message");
    format!("an invariant is broken, the shard has stopped: {text}")
}

/// Starts a thread whose panic or failure stops the engine.
fn spawn(
    name: &str,
    gate: Arc<Gate>,
    run: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let body = move || {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        match ended {
            Ok(Ok(())) => (),
            Ok(Err(error)) => gate.stop(&error.to_string()),
            Err(panic) => gate.stop(&panic_text(&*panic)),
        }
    };
    Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
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
) -> Result<(JoinHandle<()>, JoinHandle<()>), Error> {
    let (ask, asked) = mpsc::channel::<Chore>();
    let made: Arc<Made> = Arc::default();
    let place = made.clone();
    let keeper = move || {
        do_chores(&asked, &*storage, &place);
        Ok(())
    };
    let segments = spawn("onhand-segments", around.gate.clone(), keeper)?;
    let gate = around.gate.clone();
    let housekeeping = around.gate.clone();
    let run = move || {
        gate.run_writer(writer, &published, |writer| {
            match made.lock().take() {
                Some(Ok(spare)) => writer.give_spare(spare),
                // Without a spare the writer makes the segment itself when it needs it, and
                // says then what is wrong.
                Some(Err(_)) => writer.spare_failed(),
                None => (),
            }
            let before = housekeeping.remove_before.swap(0, Ordering::SeqCst);
            if before > 0 {
                let _ = ask.send(Chore::Remove(writer.remove_before(before)));
            }
            if let Some(request) = writer.wants_spare() {
                // The keeper ends only with the writer.
                let _ = ask.send(Chore::Spare(request));
            }
        })
    };
    Ok((spawn("onhand-journal", around.gate.clone(), run)?, segments))
}

/// Makes checkpoint and archive of a data directory anew from its journal.
///
/// Whatever is in the directory's store is dropped first; the journal is not touched.
///
/// # Errors
///
/// Returns [`ErrorKind::Damaged`] if the journal does not reach back to its beginning, and
/// otherwise as [`EngineBuilder::open`].
pub fn rebuild(dir: impl Into<PathBuf>) -> Result<OpenReport, Error> {
    let dir = dir.into();
    let journal = journal_dir(&dir);
    if !journal.exists() {
        let help = "name the data directory of an engine";
        return Err(Error::new(ErrorKind::Io, "there is no journal", help).at(&journal));
    }
    {
        let _lock = DirLock::take(&dir)?;
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::buffered());
        // Asked before anything is dropped: without its beginning the journal can't give it back.
        drop(JournalReader::open(storage, &journal, Start::Origin)?);
        SledStore::open(&dir.join("store"), StoreOptions::default())?.clear()?;
    }
    let (engine, report) = Engine::builder(&dir).open()?;
    engine.checkpoint()?;
    engine.close()?;
    Ok(report)
}
