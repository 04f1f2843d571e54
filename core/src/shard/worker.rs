//! The thread of a shard: drain what has arrived, apply it as one batch, hand it over, park.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::id::OrderId;
use crate::keeper::{Cut, CutNumber, LookUp, LookedUp};
use crate::shard::completion::Completion;
use crate::shard::core::{Core, Counts, Job, PeerMessage};
use crate::shard::gate::{Gate, STOPPED_HELP};
use crate::shard::rest::Rest;
use crate::shard::stripes::Stripes;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::mpsc::{Sender, SyncSender};
use crate::sync::thread::{self, Thread};
use crate::sync::{ArrayQueue, Mutex, SPINS, SegQueue, pause, spin_loop};
use crate::time::Clock;

/// Bytes of records from which on a section takes no further job.
const SECTION_BYTES_SOFT: usize = 256 << 10;
/// Messages in a peer's queue from which on a shard takes no new jobs: the peer must catch up.
const PEER_QUEUE_MAX: usize = 65_536;
/// Bytes of a cut that a shard copies between two sections: some 30 microseconds.
const COPY_BYTES: usize = 64 << 10;
/// Longest sleep with nothing to do: reservations expire at most this late.
const SLEEP: Duration = Duration::from_millis(5);
/// Sleep while baskets wait for each other.
const SHORT_SLEEP: Duration = Duration::from_micros(200);
/// Pause between two looks at whether all shards rest, for a cut or because the engine closes.
const REST_PAUSE: Duration = Duration::from_micros(50);

/// What a shard is asked to do.
#[derive(Debug)]
pub(crate) enum Input {
    /// Carry commands out.
    Job(Job),
    /// Read an order.
    View(OrderId, Arc<Completion>),
    /// Let settled orders leave memory that are in the archive for good.
    Evict(u32),
    /// Give the bytes of settled entries, from the `from`-th oldest on, and the seq up to which
    /// the journal must be durable for them.
    Collect {
        /// Entries to skip.
        from: u32,
        /// Most entries.
        count: u32,
        /// Where they go.
        give: SyncSender<Collected>,
    },
}

impl Input {
    /// Returns what it counts in a queue: its commands, and at least 1.
    fn weight(&self) -> usize {
        match self {
            Self::Job(job) => job.commands.len().max(1),
            Self::View(..) | Self::Evict(_) | Self::Collect { .. } => 1,
        }
    }

    /// Tells who waits that it was not carried out.
    pub(crate) fn fail(self, kind: ErrorKind, why: &str) {
        match self {
            Self::Job(job) => job.done.fail(kind, why),
            Self::View(_, done) => done.fail(kind, why),
            // Its other end sees that nobody will answer.
            Self::Evict(_) | Self::Collect { .. } => (),
        }
    }
}

/// Why a shard did not take an input; the input comes back.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// Its queue is full with so many commands.
    Full(Input, usize),
    /// It has shut its door: the engine closes.
    Shut(Input),
}

/// Settled entries, and the seq that they reflect.
pub(crate) type Collected = (Vec<(u128, Vec<u8>)>, u64);

/// A shard as others see it: its queues, and how to wake it.
#[derive(Debug)]
pub(crate) struct Handle {
    inputs: ArrayQueue<Input>,
    pub(crate) peers: SegQueue<PeerMessage>,
    /// Commands that the archive was asked about.
    pub(crate) looked_up: SegQueue<LookedUp>,
    /// Entries that have left memory, ever.
    pub(crate) evicted: AtomicU64,
    /// Commands in the queue, those included that are about to be pushed.
    queued: AtomicUsize,
    /// Whether the queue takes nothing more.
    shut: AtomicBool,
    sleeping: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// Counts as of the last section.
    pub(crate) counts: Mutex<ShardCounts>,
}

/// What a shard tells of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardCounts {
    pub(crate) counts: Counts,
    pub(crate) refusals: Vec<u64>,
    pub(crate) live_orders: u64,
    pub(crate) settled: u64,
    pub(crate) evicted: u64,
    pub(crate) memory_bytes: usize,
}

impl Handle {
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self {
            inputs: ArrayQueue::new(jobs_max),
            peers: SegQueue::new(),
            looked_up: SegQueue::new(),
            evicted: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            shut: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            thread: Mutex::new(None),
            counts: Mutex::new(ShardCounts::default()),
        }
    }

    /// Puts an input into the queue, which may then hold `count_max` commands, or this alone, and
    /// wakes the shard.
    ///
    /// It is announced before the door is looked at, and the shard shuts the door before it looks
    /// for what is announced: an input is taken by a shard that will still see it, or comes back.
    pub(crate) fn push(&self, input: Input, count_max: usize) -> Result<(), NotTaken> {
        let weight = input.weight();
        let queued = self.queued.fetch_add(weight, Ordering::SeqCst);
        let refused = if self.shut.load(Ordering::SeqCst) {
            NotTaken::Shut(input)
        } else if queued + weight > count_max.max(weight) {
            NotTaken::Full(input, queued)
        } else {
            match self.inputs.push(input) {
                Ok(()) => {
                    self.wake();
                    return Ok(());
                }
                Err(input) => NotTaken::Full(input, queued),
            }
        };
        self.queued.fetch_sub(weight, Ordering::SeqCst);
        Err(refused)
    }

    fn pop(&self) -> Option<Input> {
        let input = self.inputs.pop()?;
        self.queued.fetch_sub(input.weight(), Ordering::SeqCst);
        Some(input)
    }

    /// Returns how many commands wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Fails everything that waits in the queue.
    pub(crate) fn fail_inputs(&self, kind: ErrorKind, why: &str) {
        while let Some(input) = self.pop() {
            input.fail(kind, why);
        }
    }

    /// Wakes the shard if it sleeps.
    #[inline]
    pub(crate) fn wake(&self) {
        // The queue was written before; the sleeper sets its flag before it looks again.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }
}

/// What a worker shares with the rest of the engine.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) gate: Arc<Gate>,
    pub(crate) handles: Arc<Vec<Handle>>,
    pub(crate) stripes: Arc<Stripes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) cut: Arc<Cut>,
    /// How shards that close know that none needs another any more.
    pub(crate) rest: Arc<Rest>,
    /// Commands for the archive; `None` ends its thread.
    pub(crate) look_ups: Sender<Option<LookUp>>,
}

/// A shard and its thread's loop.
pub(crate) struct Worker {
    pub(crate) core: Core,
    pub(crate) around: Surroundings,
    steps: u64,
    /// Commands that the archive is being asked about.
    asked: usize,
    /// The cut of which something is still to be copied.
    copying: Option<CutNumber>,
    /// Whether the engine closes and this shard's queue takes nothing more.
    shut: bool,
    /// Whether others were told that a count concerns this shard.
    counting: bool,
    /// Wishes for settled entries: first entry, most entries, where they go.
    collect: Vec<(u32, u32, SyncSender<Collected>)>,
}

impl Worker {
    pub(crate) fn new(core: Core, around: Surroundings) -> Self {
        let (steps, asked, copying, shut, counting) = (0, 0, None, false, false);
        let collect = Vec::new();
        let worker = Self { core, around, steps, asked, copying, shut, counting, collect };
        // The archive's mark counts all shards, those that have done nothing yet too.
        worker.handle().evicted.store(worker.core.state.evicted, Ordering::SeqCst);
        worker
    }

    fn handle(&self) -> &Handle {
        &self.around.handles[usize::from(self.core.state.shard)]
    }

    /// Runs until the engine closes and nothing is left to do.
    ///
    /// # Errors
    ///
    /// Returns why the engine has stopped.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let ended = self.run_on();
        if let Err(error) = &ended {
            self.abandon(&error.to_string());
        }
        ended
    }

    /// Answers everything that is left when the gate has stopped: nobody waits for ever.
    pub(crate) fn abandon(&mut self, why: &str) {
        self.core.abandon(why);
        self.handle().fail_inputs(ErrorKind::Stopped, why);
    }

    fn run_on(&mut self) -> Result<(), Error> {
        *self.handle().thread.lock() = Some(thread::current());
        let mut idle = 0;
        loop {
            if self.step()? {
                idle = 0;
                continue;
            }
            if self.around.gate.stopped.load(Ordering::SeqCst) {
                // A peer that has ended will not answer what is in flight here.
                let why = self.around.gate.why_stopped().unwrap_or_default();
                return Err(Error::new(ErrorKind::Stopped, why, STOPPED_HELP));
            }
            if self.around.closing.load(Ordering::SeqCst) {
                if self.may_end() {
                    return Ok(());
                }
                pause(REST_PAUSE);
                continue;
            }
            idle += 1;
            if idle < SPINS && !self.core.has_waiting() {
                spin_loop();
                if idle % 16 == 0 {
                    thread::yield_now();
                }
                continue;
            }
            self.sleep();
        }
    }

    /// Shuts the queue of a shard that closes, and returns whether no shard needs it any more.
    fn may_end(&mut self) -> bool {
        let handle = &self.around.handles[usize::from(self.core.state.shard)];
        if !self.shut {
            self.shut = true;
            handle.shut.store(true, Ordering::SeqCst);
        }
        let resting = handle.queued.load(Ordering::SeqCst) == 0
            && handle.peers.is_empty()
            && handle.looked_up.is_empty()
            && self.asked == 0
            && self.collect.is_empty()
            && self.core.is_at_rest()
            && self.copying.is_none()
            && !self.around.cut.is_wanted();
        self.around.rest.set(self.core.state.shard, resting);
        self.around.rest.is_reached(&self.around.cut.in_transit)
    }

    fn sleep(&self) {
        if self.around.cut.is_wanted() {
            // What is queued waits for the cut.
            pause(REST_PAUSE);
            return;
        }
        let handle = self.handle();
        handle.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Whoever brings something new does it before it looks whether to wake this shard.
        let something = !handle.inputs.is_empty()
            || !handle.peers.is_empty()
            || !handle.looked_up.is_empty()
            || !self.collect.is_empty()
            || self.around.closing.load(Ordering::SeqCst)
            || self.around.gate.stopped.load(Ordering::SeqCst);
        if !something {
            let span = if self.core.has_waiting() { SHORT_SLEEP } else { SLEEP };
            thread::park_timeout(span);
        }
        handle.sleeping.store(false, Ordering::SeqCst);
    }

    /// Takes what has arrived, applies it, hands it over; returns whether there was anything.
    ///
    /// # Errors
    ///
    /// Returns why the engine has stopped.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        let cutting = self.around.cut.is_wanted();
        if cutting && self.make_cut() {
            return Ok(true);
        }
        // Between sections, when every seq in the state is the real one.
        for (from, count, give) in std::mem::take(&mut self.collect) {
            let entries = self.core.collect(from, count);
            // The keeper may have gone.
            let _ = give.send((entries, self.around.gate.last_seq()));
        }
        let base = self.around.gate.base(self.core.state.shard_count);
        if cutting || self.shut {
            // Time stands still, so that no expiry disturbs the rest of the others.
            let now = self.core.state.now;
            self.core.begin_without_expiry(base, now);
        } else {
            self.core.begin(base, self.around.clock.now());
        }
        let handles = self.around.handles.clone();
        let handle = &handles[usize::from(self.core.state.shard)];
        let mut busy = self.core.section.count > 0;
        let mut messages = self.hear_peers(handle);
        busy |= messages > 0;
        self.core.retry();
        while let Some(LookedUp { command, reply_to, answer }) = handle.looked_up.pop() {
            busy = true;
            self.asked -= 1;
            match answer {
                Some(answer) => self.core.answer_archived(&command, reply_to, answer),
                None => self.core.command(&command, reply_to, true),
            }
        }
        let takes = !cutting && handles.iter().all(|h| h.peers.len() < PEER_QUEUE_MAX);
        while takes && !self.core.is_held() && self.core.section.bytes.len() < SECTION_BYTES_SOFT {
            let Some(input) = handle.pop() else { break };
            busy = true;
            // Who asked may know from an answer what a peer has told this shard since.
            let heard = self.hear_peers(handle);
            if heard > 0 {
                messages += heard;
                self.core.follow_up();
            }
            self.take(input);
        }
        // What a part that waited has done, or the flow alone has answered, has to leave too.
        busy |= self.core.section.count > 0 || self.core.has_answers();
        if busy {
            self.hand_over()?;
            self.around.cut.in_transit.fetch_sub(messages, Ordering::SeqCst);
        }
        busy |= self.copy_ahead();
        Ok(busy)
    }

    /// Carries out what peers have said so far; returns how many messages that were.
    fn hear_peers(&mut self, handle: &Handle) -> u64 {
        let mut messages = 0;
        while let Some(message) = handle.peers.pop() {
            self.core.receive(message);
            messages += 1;
        }
        messages
    }

    /// Comes to rest for a cut, and makes it when all shards rest; returns whether it did.
    fn make_cut(&mut self) -> bool {
        let shard = self.core.state.shard;
        let handle = self.handle();
        let resting = self.core.is_at_rest()
            && self.asked == 0
            && handle.peers.is_empty()
            && handle.looked_up.is_empty();
        self.around.cut.set_resting(shard, resting);
        let number = self.around.cut.time_for(shard).filter(|_| resting);
        let Some(number) = number else { return false };
        let state = &mut self.core.state;
        let made = self.around.cut.add(number, || state.cut(), &self.around.gate);
        if made {
            self.copying = Some(number);
        }
        made
    }

    /// Copies some of a cut and gives it on; returns whether it did.
    fn copy_ahead(&mut self) -> bool {
        let Some(number) = self.copying else { return false };
        let (cut, shard) = (&self.around.cut, self.core.state.shard);
        if !cut.is_copying(number) {
            self.core.state.give_up_cut();
            self.copying = None;
            return false;
        }
        let Some(images) = self.core.state.copy_some(cut.buffers(shard), COPY_BYTES) else {
            return false;
        };
        self.copying = Some(number).filter(|_| !images.last);
        cut.give(number, shard, images);
        true
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Job(job) => self.core.submit(job),
            Input::View(order, done) => self.core.view(order, done),
            Input::Evict(count) => self.core.evict(count),
            Input::Collect { from, count, give } => self.collect.push((from, count, give)),
        }
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        let Surroundings { gate, handles, cut, .. } = &self.around;
        let ended = gate.hand_over(&mut self.core, |peer, message| {
            cut.in_transit.fetch_add(1, Ordering::SeqCst);
            let handle = &handles[usize::from(peer)];
            handle.peers.push(message);
            handle.wake();
        })?;
        for (key, known) in ended.keys {
            self.around.stripes.ended(key, known);
        }
        if self.core.state.shard_count > 1 {
            ended.evicted.into_iter().for_each(|key| self.around.stripes.forget(key));
        }
        let shard = self.core.state.shard;
        for (command, reply_to) in ended.look_up {
            self.asked += 1;
            // The other end lives as long as the engine.
            let _ = self.around.look_ups.send(Some(LookUp { shard, command, reply_to }));
        }
        self.handle().evicted.store(self.core.state.evicted, Ordering::SeqCst);
        if self.core.is_counting() != self.counting {
            self.counting = !self.counting;
            self.around.cut.set_counting(shard, self.counting);
        }
        self.steps += 1;
        if self.steps % 64 == 1 || ended.ready.is_empty() {
            self.tell();
        }
        Ok(())
    }

    /// Leaves the shard's counts where others can read them.
    pub(crate) fn tell(&self) {
        let state = &self.core.state;
        let mut counts = self.handle().counts.lock();
        counts.counts = self.core.counts;
        counts.refusals.clear();
        counts.refusals.extend_from_slice(&self.core.refusals);
        counts.live_orders = state.live_orders;
        counts.settled = state.settled.len() as u64;
        counts.evicted = state.evicted;
        if self.steps % 1_024 == 1 {
            counts.memory_bytes = state.memory_bytes();
        }
    }
}
