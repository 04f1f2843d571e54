//! The thread of a shard: drain what has arrived, apply it as one batch, hand it over, park.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::thread::Thread;
use std::time::Duration;

use crossbeam::queue::{ArrayQueue, SegQueue};
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};
use crate::id::OrderId;
use crate::keeper::{Cut, CutNumber, LookUp, LookedUp};
use crate::shard::completion::Completion;
use crate::shard::core::{Core, Counts, Job, PeerMessage};
use crate::shard::gate::Gate;
use crate::shard::stripes::Stripes;
use crate::time::Clock;

/// Bytes of records from which on a section takes no further job.
const SECTION_BYTES_SOFT: usize = 256 << 10;
/// Messages in a peer's queue from which on a shard takes no new jobs: the peer must catch up.
const PEER_QUEUE_MAX: usize = 65_536;
/// Bytes of a cut that a shard copies between two sections: some 30 microseconds.
const COPY_BYTES: usize = 64 << 10;
/// Times that a worker looks for work again before it sleeps.
const SPINS: u32 = 200;
/// Longest sleep with nothing to do: reservations expire at most this late.
const SLEEP: Duration = Duration::from_millis(5);
/// Sleep while baskets wait for each other.
const SHORT_SLEEP: Duration = Duration::from_micros(200);

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

/// Settled entries, and the seq that they reflect.
pub(crate) type Collected = (Vec<(u128, Vec<u8>)>, u64);

/// A shard as others see it: its queues, and how to wake it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) inputs: ArrayQueue<Input>,
    pub(crate) peers: SegQueue<PeerMessage>,
    /// Commands that the archive was asked about.
    pub(crate) looked_up: SegQueue<LookedUp>,
    /// Entries that have left memory, ever.
    pub(crate) evicted: AtomicU64,
    /// Commands in the queue.
    pub(crate) queued: AtomicUsize,
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
            sleeping: AtomicBool::new(false),
            thread: Mutex::new(None),
            counts: Mutex::new(ShardCounts::default()),
        }
    }

    /// Fails everything that waits in the queue.
    pub(crate) fn fail_inputs(&self, kind: ErrorKind, why: &str) {
        while let Some(input) = self.inputs.pop() {
            match input {
                Input::Job(job) => job.done.fail(kind, why),
                Input::View(_, done) => done.fail(kind, why),
                Input::Evict(_) | Input::Collect { .. } => (),
            }
        }
    }

    /// Wakes the shard if it sleeps.
    #[inline]
    pub(crate) fn wake(&self) {
        // The queue was written before; the sleeper sets its flag before it looks again.
        std::sync::atomic::fence(Ordering::SeqCst);
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
    /// Wishes for settled entries: first entry, most entries, where they go.
    collect: Vec<(u32, u32, SyncSender<Collected>)>,
}

impl Worker {
    pub(crate) fn new(core: Core, around: Surroundings) -> Self {
        Self { core, around, steps: 0, asked: 0, copying: None, collect: Vec::new() }
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
        *self.handle().thread.lock() = Some(std::thread::current());
        let mut idle = 0;
        loop {
            if self.step()? {
                idle = 0;
                continue;
            }
            if self.around.closing.load(Ordering::SeqCst)
                && self.copying.is_none()
                && self.all_at_rest()
            {
                return Ok(());
            }
            idle += 1;
            if idle < SPINS && !self.core.has_waiting() {
                std::hint::spin_loop();
                if idle % 16 == 0 {
                    std::thread::yield_now();
                }
                continue;
            }
            self.sleep();
        }
    }

    fn all_at_rest(&self) -> bool {
        let empty =
            |h: &Handle| h.inputs.is_empty() && h.peers.is_empty() && h.looked_up.is_empty();
        self.asked == 0 && self.core.is_at_rest() && self.around.handles.iter().all(empty)
    }

    fn sleep(&self) {
        let handle = self.handle();
        handle.sleeping.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        let nothing = handle.inputs.is_empty() && handle.peers.is_empty();
        if nothing && handle.looked_up.is_empty() && self.collect.is_empty() {
            let span = if self.core.has_waiting() { SHORT_SLEEP } else { SLEEP };
            std::thread::park_timeout(span);
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
        if cutting {
            // Time stands still, so that no expiry disturbs the rest of the others.
            let now = self.core.state.now;
            self.core.begin_without_expiry(base, now);
        } else {
            self.core.begin(base, self.around.clock.now());
        }
        let handles = self.around.handles.clone();
        let handle = &handles[usize::from(self.core.state.shard)];
        let mut busy = self.core.section.count > 0;
        let mut messages = 0;
        while let Some(message) = handle.peers.pop() {
            self.core.receive(message);
            messages += 1;
        }
        busy |= messages > 0;
        self.core.retry();
        while let Some(LookedUp { command, reply_to, answer }) = handle.looked_up.pop() {
            busy = true;
            self.asked -= 1;
            match answer {
                Some(answer) => self.core.answer_archived(&command, reply_to, answer),
                None => self.core.command(command, reply_to, true),
            }
        }
        let takes = !cutting && handles.iter().all(|h| h.peers.len() < PEER_QUEUE_MAX);
        while takes && self.core.section.bytes.len() < SECTION_BYTES_SOFT {
            let Some(input) = handle.inputs.pop() else { break };
            busy = true;
            self.take(handle, input);
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

    /// Comes to rest for a cut, and makes it when all shards rest; returns whether it did.
    fn make_cut(&mut self) -> bool {
        let shard = self.core.state.shard;
        let handle = self.handle();
        let resting = self.core.is_at_rest()
            && self.asked == 0
            && handle.peers.is_empty()
            && handle.looked_up.is_empty();
        self.around.cut.set_resting(shard, resting);
        if !resting || !self.around.cut.is_time(shard) {
            return false;
        }
        let base = self.core.state.cut();
        self.copying = Some(self.around.cut.add(base, &self.around.gate));
        true
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

    fn take(&mut self, handle: &Handle, input: Input) {
        match input {
            Input::Job(job) => {
                handle.queued.fetch_sub(job.commands.len(), Ordering::Relaxed);
                self.core.submit(job);
            }
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
