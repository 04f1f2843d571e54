//! What happens behind the shards: checkpoints, the archive, look-ups in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::Shelf;
use crate::checkpoint::CutBase;
use crate::checkpoint::copy::{Buffers, Images};
use crate::checkpoint::writer::CheckpointWriter;
use crate::command::Command;
use crate::error::{Error, ErrorKind};
use crate::journal::frame::Chain;
use crate::reply::{Receipt, Refusal};
use crate::shard::core::ReplyTo;
use crate::shard::gate::Gate;
use crate::shard::worker::{Handle, Input};
use crate::store::CheckpointStore;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, sync_channel,
};
use crate::sync::{Mutex, SegQueue, pause};

/// Time between two looks at what is to be done.
const TICK: Duration = Duration::from_millis(20);
/// Looks between two measurements of the store's disk: half a minute.
const COMPACT_TICKS: u32 = 1_500;
/// Most settled entries that a shard gives, or lets go of, at once: some 100 microseconds.
const COLLECT_MAX: u32 = 256;
/// Entries of one batch of the archive; larger ones are cheaper.
const BATCH_MAX: u32 = 32_768;
/// Pause between two looks at what shards or the journal do for the keeper.
const POLL: Duration = Duration::from_micros(500);
/// Longest time that shards may take to come to rest for a cut.
const CUT_WAIT: Duration = Duration::from_secs(10);
/// Looks for counts to end before a cut is made all the same: 10 seconds.
const COUNT_POLLS_MAX: u32 = 20_000;

/// What happens while the keeper waits for shards or the journal: its thread sleeps, and in the
/// simulation the others go on.
pub(crate) type Meanwhile<'a> = &'a mut dyn FnMut(Duration);

/// What a checkpoint came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Position of the journal that it stands for.
    pub seq: u64,
    /// Orders in it.
    pub orders: u64,
    /// Time from the cut to the verified checkpoint.
    pub elapsed: Duration,
}

/// Number of a cut, so that what is left of one that failed is told from the next one's.
pub(crate) type CutNumber = u64;

/// The cut that shards make together, and the images that they give since.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Whether shards shall come to rest and make the cut.
    wanted: AtomicBool,
    /// Messages between shards that are not carried out yet.
    pub(crate) in_transit: AtomicU64,
    /// Shards that a count concerns, one bit each.
    counting: AtomicU64,
    /// Shards that are at rest, one bit each.
    resting: AtomicU64,
    /// Shards that have made the cut, one bit each.
    made: AtomicU64,
    shard_count: u16,
    bases: Mutex<Vec<CutBase>>,
    /// Position of the cut.
    seq: AtomicU64,
    /// What was copied: no more than the buffers hold, and what was saved meanwhile.
    images: SegQueue<(CutNumber, u16, Images)>,
    buffers: Vec<Buffers>,
    /// Number of the last cut, from 1.
    number: AtomicU64,
    /// Number of the cut whose images are wanted, or 0.
    copying: AtomicU64,
}

impl Cut {
    pub(crate) fn new(shard_count: u16) -> Self {
        Self {
            wanted: AtomicBool::new(false),
            in_transit: AtomicU64::new(0),
            counting: AtomicU64::new(0),
            resting: AtomicU64::new(0),
            made: AtomicU64::new(0),
            shard_count,
            bases: Mutex::new(Vec::new()),
            seq: AtomicU64::new(0),
            images: SegQueue::new(),
            buffers: (0..shard_count).map(|_| Buffers::new()).collect(),
            number: AtomicU64::new(0),
            copying: AtomicU64::new(0),
        }
    }

    fn all(&self) -> u64 {
        if self.shard_count == 64 { u64::MAX } else { (1 << self.shard_count) - 1 }
    }

    /// Returns whether shards shall take no new work because a cut is to be made.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) && self.made.load(Ordering::SeqCst) != self.all()
    }

    /// Notes whether a count that breaks promises concerns a shard.
    pub(crate) fn set_counting(&self, shard: u16, counting: bool) {
        if counting {
            self.counting.fetch_or(1 << shard, Ordering::SeqCst);
        } else {
            self.counting.fetch_and(!(1 << shard), Ordering::SeqCst);
        }
    }

    /// Notes whether a shard is at rest.
    pub(crate) fn set_resting(&self, shard: u16, resting: bool) {
        if resting {
            self.resting.fetch_or(1 << shard, Ordering::SeqCst);
        } else {
            self.resting.fetch_and(!(1 << shard), Ordering::SeqCst);
        }
    }

    /// Returns the number of the cut if this shard is to make it now: all are at rest.
    pub(crate) fn time_for(&self, shard: u16) -> Option<CutNumber> {
        // Before the look: whoever finds rest for one cut must not make the next one.
        let number = self.number.load(Ordering::SeqCst);
        self.is_time(shard).then_some(number)
    }

    fn is_time(&self, shard: u16) -> bool {
        let quiet = || {
            self.in_transit.load(Ordering::SeqCst) == 0
                && self.resting.load(Ordering::SeqCst) == self.all()
        };
        self.wanted.load(Ordering::SeqCst)
            && self.made.load(Ordering::SeqCst) & 1 << shard == 0
            // Once one shard has found all at rest, none can become busy before all have cut.
            && (self.made.load(Ordering::SeqCst) != 0 || (quiet() && quiet()))
    }

    /// Takes a shard's part of a cut; `false` if the keeper has given it up.
    pub(crate) fn add(
        &self,
        number: CutNumber,
        make: impl FnOnce() -> CutBase,
        gate: &Gate,
    ) -> bool {
        let mut bases = self.bases.lock();
        let wanted = self.wanted.load(Ordering::SeqCst);
        if !wanted || self.number.load(Ordering::SeqCst) != number {
            return false;
        }
        if bases.is_empty() {
            self.seq.store(gate.mark_cut(), Ordering::SeqCst);
        }
        let base = make();
        let shard = base.shard;
        bases.push(base);
        self.copying.store(number, Ordering::SeqCst);
        self.made.fetch_or(1 << shard, Ordering::SeqCst);
        true
    }

    /// Asks the shards for the next cut.
    fn want(&self) {
        let mut bases = self.bases.lock();
        bases.clear();
        self.number.fetch_add(1, Ordering::SeqCst);
        self.made.store(0, Ordering::SeqCst);
        self.resting.store(0, Ordering::SeqCst);
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// Gives the cut up, unless a shard has made its part already: then all will.
    fn give_up(&self) -> bool {
        let bases = self.bases.lock();
        if bases.is_empty() {
            self.wanted.store(false, Ordering::SeqCst);
        }
        bases.is_empty()
    }

    /// Returns whether the images of a cut are still wanted.
    pub(crate) fn is_copying(&self, number: CutNumber) -> bool {
        self.copying.load(Ordering::SeqCst) == number
    }

    /// Returns the buffers that a shard copies into.
    pub(crate) fn buffers(&self, shard: u16) -> &Buffers {
        &self.buffers[usize::from(shard)]
    }

    /// Takes images of a shard.
    pub(crate) fn give(&self, number: CutNumber, shard: u16, images: Images) {
        self.images.push((number, shard, images));
    }

    /// Returns images of the last cut, if some have come; what is left of another is dropped.
    fn take(&self) -> Option<(u16, Images)> {
        loop {
            let (number, shard, images) = self.images.pop()?;
            if number == self.number.load(Ordering::SeqCst) {
                return Some((shard, images));
            }
            self.drop_images(shard, images);
        }
    }

    fn drop_images(&self, shard: u16, images: Images) {
        let buffers = self.buffers(shard);
        images.pages.into_iter().for_each(|page| buffers.give(page.bytes));
    }
}

/// A command whose key may be archived, on its way to be looked up.
pub(crate) struct LookUp {
    pub(crate) shard: u16,
    pub(crate) command: Command,
    pub(crate) reply_to: ReplyTo,
}

/// A command that was looked up.
#[derive(Debug)]
pub(crate) struct LookedUp {
    pub(crate) command: Command,
    pub(crate) reply_to: ReplyTo,
    /// The answer; `None` if the archive does not know its keys.
    pub(crate) answer: Option<Result<Receipt, Refusal>>,
}

/// Answers look-ups until it is told `None`.
pub(crate) fn run_look_ups(
    shelf: &Shelf,
    handles: &[Handle],
    look_ups: &Receiver<Option<LookUp>>,
) -> Result<(), Error> {
    while let Ok(Some(wanted)) = look_ups.recv() {
        look_up(shelf, handles, wanted)?;
    }
    Ok(())
}

/// Answers one look-up.
pub(crate) fn look_up(shelf: &Shelf, handles: &[Handle], wanted: LookUp) -> Result<(), Error> {
    let LookUp { shard, command, reply_to } = wanted;
    let answer = shelf.answer(&command)?;
    let handle = &handles[usize::from(shard)];
    handle.looked_up.push(LookedUp { command, reply_to, answer });
    handle.wake();
    Ok(())
}

/// A wish for a checkpoint, and where its report goes.
pub(crate) type Wish = SyncSender<Result<CheckpointReport, Error>>;

/// The keeper's surroundings.
pub(crate) struct Keeper {
    pub(crate) gate: Arc<Gate>,
    pub(crate) handles: Arc<Vec<Handle>>,
    pub(crate) cut: Arc<Cut>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) checkpoints: Box<dyn CheckpointStore>,
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) checkpoint_journal_bytes: u64,
    pub(crate) settled_resident_max: u64,
    pub(crate) keep_journal: bool,
    /// Bytes of journal at the last checkpoint.
    pub(crate) bytes_at_last: u64,
    /// Epoch behind each checkpoint that is kept, by seq.
    pub(crate) epochs: Vec<(u64, u64)>,
}

impl Keeper {
    /// Looks after the engine until it closes.
    ///
    /// # Errors
    ///
    /// Returns why the engine must stop; a failed checkpoint or archive batch is no such reason.
    pub(crate) fn run(&mut self, wishes: &Receiver<Wish>) -> Result<(), Error> {
        let mut archive_fails = false;
        let mut ticks = 0_u32;
        loop {
            match wishes.recv_timeout(TICK) {
                Ok(wish) => {
                    let report = self.checkpoint(&mut pause);
                    // Nobody waits any more: the report is of no use then.
                    let _ = wish.send(report);
                }
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // What a cut that was stopped has left is not wanted any more.
            self.cut.copying.store(0, Ordering::SeqCst);
            if self.closing.load(Ordering::SeqCst) || self.gate.stopped.load(Ordering::SeqCst) {
                continue;
            }
            let bytes = self.gate.journal_bytes.load(Ordering::Relaxed);
            if bytes - self.bytes_at_last >= self.checkpoint_journal_bytes
                && let Err(error) = self.checkpoint(&mut pause)
            {
                self.gate.note(&format!("checkpoint failed: {error}"));
                self.bytes_at_last = bytes;
            }
            ticks = ticks.wrapping_add(1);
            if ticks % COMPACT_TICKS == 1 {
                self.look_at_disk();
            }
            if !archive_fails && let Err(error) = self.archive(&mut pause) {
                self.gate.note(&format!("archive takes no more until reopened: {error}"));
                archive_fails = true;
            }
        }
    }

    /// Measures what the store takes on disk, and copies an archive that takes much too much.
    fn look_at_disk(&mut self) {
        if let Err(error) = self.shelf.archive.compact_if_large() {
            self.gate.note(&format!("archive can't be compacted: {error}"));
        }
        let archive = self.shelf.archive.disk_bytes();
        if let (Ok(archive), Ok(checkpoints)) = (archive, self.checkpoints.disk_bytes()) {
            self.gate.store_bytes.store(archive + checkpoints, Ordering::Relaxed);
        }
    }

    /// Moves settled entries from the shards to the archive while they have too many.
    pub(crate) fn archive(&mut self, meanwhile: Meanwhile<'_>) -> Result<(), Error> {
        for shard in 0..self.handles.len() {
            loop {
                let handle = &self.handles[shard];
                let settled = handle.counts.lock().settled;
                let over = settled.saturating_sub(self.settled_resident_max);
                let count = over.min(u64::from(BATCH_MAX)) as u32;
                if count == 0 || self.closing.load(Ordering::SeqCst) {
                    break;
                }
                if !self.archive_some(shard, count, meanwhile)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn archive_some(
        &mut self,
        shard: usize,
        count: u32,
        meanwhile: Meanwhile<'_>,
    ) -> Result<bool, Error> {
        let handle = &self.handles[shard];
        let mut entries = Vec::new();
        let mut reflected = 0;
        while (entries.len() as u32) < count {
            let want = (count - entries.len() as u32).min(COLLECT_MAX);
            let (give, take) = sync_channel(1);
            let from = entries.len() as u32;
            if handle.push(Input::Collect { from, count: want, give }, usize::MAX).is_err() {
                return Ok(false);
            }
            let Some((list, seq)) = receive(&take, &self.gate, meanwhile) else { return Ok(false) };
            if list.is_empty() {
                break;
            }
            entries.extend(list);
            reflected = seq;
        }
        if entries.is_empty() || !self.until_durable(reflected, meanwhile) {
            return Ok(false);
        }
        let evicted: u64 = self.handles.iter().map(|h| h.evicted.load(Ordering::SeqCst)).sum();
        self.shelf.put(&entries, evicted + entries.len() as u64)?;
        let mut left = entries.len() as u32;
        while left > 0 {
            let count = left.min(COLLECT_MAX);
            if !self.evict(shard, count, meanwhile) {
                return Ok(false);
            }
            left -= count;
        }
        Ok(true)
    }

    /// Lets a shard's oldest settled entries leave memory; returns whether they have left.
    fn evict(&self, shard: usize, count: u32, meanwhile: Meanwhile<'_>) -> bool {
        let handle = &self.handles[shard];
        let before = handle.evicted.load(Ordering::SeqCst);
        if handle.push(Input::Evict(count), usize::MAX).is_err() {
            return false;
        }
        // What comes next starts behind these.
        let until = Instant::now() + CUT_WAIT;
        while handle.evicted.load(Ordering::SeqCst) == before && Instant::now() < until {
            meanwhile(POLL);
            if self.gate.stopped.load(Ordering::SeqCst) {
                return false;
            }
        }
        handle.evicted.load(Ordering::SeqCst) != before
    }

    /// Makes a checkpoint while commands go on.
    pub(crate) fn checkpoint(
        &mut self,
        meanwhile: Meanwhile<'_>,
    ) -> Result<CheckpointReport, Error> {
        let start = Instant::now();
        let (bases, seq) = self.make_cut(meanwhile)?;
        let made = self.write_cut(bases, seq, meanwhile);
        self.cut.copying.store(0, Ordering::SeqCst);
        let orders = made?;
        let kept = self.checkpoints.drop_older(2)?;
        self.epochs.retain(|(seq, _)| kept.contains(seq));
        if let (false, Some(oldest)) = (self.keep_journal, kept.last())
            && let Some((_, epoch)) = self.epochs.iter().find(|(seq, _)| seq == oldest)
        {
            self.gate.remove_before.store(*epoch, Ordering::SeqCst);
        }
        self.bytes_at_last = self.gate.journal_bytes.load(Ordering::Relaxed);
        Ok(CheckpointReport { seq, orders, elapsed: start.elapsed() })
    }

    fn make_cut(&self, meanwhile: Meanwhile<'_>) -> Result<(Vec<CutBase>, u64), Error> {
        let cut = &self.cut;
        // Shards that wait for a cut take no commands, and a count may look at millions of orders
        // before they rest: it ends first. One that begins later only makes the cut wait.
        for _ in 0..COUNT_POLLS_MAX {
            if cut.counting.load(Ordering::SeqCst) == 0 || self.gate.stopped.load(Ordering::SeqCst)
            {
                break;
            }
            meanwhile(POLL);
        }
        cut.want();
        let until = Instant::now() + CUT_WAIT;
        while cut.made.load(Ordering::SeqCst) != cut.all() {
            self.handles.iter().for_each(Handle::wake);
            meanwhile(POLL);
            let stopped = self.gate.stopped.load(Ordering::SeqCst);
            let in_vain = self.closing.load(Ordering::SeqCst) || Instant::now() > until;
            if stopped {
                cut.wanted.store(false, Ordering::SeqCst);
            }
            if stopped || (in_vain && cut.give_up()) {
                return Err(Error::new(
                    ErrorKind::Overloaded,
                    "shards did not come to rest for a checkpoint",
                    "it is tried again later; the journal has everything",
                ));
            }
        }
        cut.wanted.store(false, Ordering::SeqCst);
        let bases = std::mem::take(&mut *cut.bases.lock());
        Ok((bases, cut.seq.load(Ordering::SeqCst)))
    }

    fn write_cut(
        &mut self,
        bases: Vec<CutBase>,
        seq: u64,
        meanwhile: Meanwhile<'_>,
    ) -> Result<u64, Error> {
        let shard_count = bases.len() as u16;
        // A checkpoint of the same position is there already: it would say the same.
        let sink = self.checkpoints.begin(seq);
        let mut writer = match sink {
            Ok(sink) => Some(CheckpointWriter::new(sink, shard_count)),
            Err(_) if self.epochs.iter().any(|(known, _)| *known == seq) => None,
            Err(error) => return Err(error),
        };
        if let Some(writer) = &mut writer {
            bases.iter().try_for_each(|base| writer.base(base))?;
        }
        let writer = self.drain_images(writer, shard_count, meanwhile)?;
        let Some(chain) = self.chain_at(seq, meanwhile) else {
            return Err(Error::new(ErrorKind::Stopped, "journal did not reach the cut", "reopen"));
        };
        let Some(writer) = writer else { return Ok(0) };
        let orders = writer.finish(&chain, shard_count)?;
        self.epochs.push((seq, chain.epoch));
        Ok(orders)
    }

    /// Waits until a seq is durable; returns whether it is.
    fn until_durable(&self, seq: u64, meanwhile: Meanwhile<'_>) -> bool {
        let until = Instant::now() + CUT_WAIT;
        while self.gate.durable() < seq {
            if self.gate.stopped.load(Ordering::SeqCst) || Instant::now() > until {
                return false;
            }
            meanwhile(POLL);
        }
        true
    }

    /// Waits until the journal is durable up to the cut; returns where it goes on from there.
    fn chain_at(&self, seq: u64, meanwhile: Meanwhile<'_>) -> Option<Chain> {
        if !self.until_durable(seq, meanwhile) {
            return None;
        }
        let until = Instant::now() + CUT_WAIT;
        loop {
            let chain = self.gate.take_chain_at_cut(seq);
            let stopped = self.gate.stopped.load(Ordering::SeqCst);
            if chain.is_some() || stopped || Instant::now() > until {
                return chain;
            }
            meanwhile(POLL);
        }
    }

    /// Writes images as they come, until every shard has given its last.
    fn drain_images(
        &self,
        mut writer: Option<CheckpointWriter>,
        shard_count: u16,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Option<CheckpointWriter>, Error> {
        let mut left = shard_count;
        while left > 0 {
            let Some((shard, images)) = self.cut.take() else {
                if self.gate.stopped.load(Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Stopped, "engine has stopped", "reopen"));
                }
                self.handles.iter().for_each(Handle::wake);
                meanwhile(POLL);
                continue;
            };
            left -= u16::from(images.last);
            match &mut writer {
                Some(writer) => writer.images(shard, images, self.cut.buffers(shard))?,
                None => self.cut.drop_images(shard, images),
            }
        }
        Ok(writer)
    }
}

/// Waits for what a shard gives; `None` if it has ended or the engine has stopped.
fn receive<T>(take: &Receiver<T>, gate: &Gate, meanwhile: Meanwhile<'_>) -> Option<T> {
    while !gate.stopped.load(Ordering::SeqCst) {
        match take.try_recv() {
            Ok(given) => return Some(given),
            Err(TryRecvError::Empty) => meanwhile(POLL),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    None
}

/// Where an engine asks for a checkpoint.
pub(crate) type Wishes = Sender<Wish>;
