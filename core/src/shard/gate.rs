//! Between the shards and the journal's writer: sections gather into groups, and answers wait
//! until the group that they depend on is durable.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::codec::next_record;
use crate::decided::PolicyView;
use crate::domain::stock::Level;
use crate::error::{Error, ErrorKind};
use crate::journal::buffer::GroupBuffer;
use crate::journal::frame::Chain;
use crate::journal::writer::JournalWriter;
use crate::reply::Ack;
use crate::shard::completion::Ready;
use crate::shard::core::{CellName, Core, Ended, PeerMessage};
use crate::shard::published::Published;
use crate::shard::section::PROVISIONAL;
use crate::shard::worker::Handle;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::view::SkuView;

/// Bytes from which on a group takes no further section.
const GROUP_BYTES_SOFT: usize = 1 << 20;
/// Most groups that may wait for the writer; shards wait then.
const GROUPS_MAX: usize = 8;
/// Time without a section after which the journal gets an idle mark.
const IDLE: Duration = Duration::from_millis(20);
/// Most notes that are kept.
const NOTES_MAX: usize = 100;
/// Time between two tries to go on after the disk was full.
const FULL_RETRY: Duration = Duration::from_millis(200);

/// A group on its way to the journal, with what waits for it.
struct Group {
    sections: GroupBuffer,
    ready: Vec<Ready>,
    levels: Vec<(u16, u32, Level)>,
    defined: Vec<Arc<SkuView>>,
    policies: Vec<Arc<PolicyView>>,
    cells: Vec<(u16, u32, CellName)>,
    /// Seq of the last record up to and with this group.
    last_seq: u64,
    sealed: bool,
    /// Whether a checkpoint's cut lies right before this group.
    cut: bool,
}

/// What a step of the writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// No group was waiting.
    Nothing,
    /// A group is durable.
    Group,
    /// The disk has no room for a new segment; the group goes on waiting.
    NoRoom,
}

struct Inner {
    queue: VecDeque<Group>,
    spare: Vec<Group>,
    next_seq: u64,
    closing: bool,
    stopped: Option<String>,
}

/// Where shards hand sections over and the writer takes groups.
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    work: Condvar,
    room: Condvar,
    durable: AtomicU64,
    /// Waiters for the durable mark.
    mark: Mutex<()>,
    marked: Condvar,
    waiting: AtomicU64,
    pub(crate) stopped: AtomicBool,
    pub(crate) read_only: AtomicBool,
    segment_bytes: u32,
    min_free_bytes: u64,
    pub(crate) groups: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    /// Bytes that checkpoints and archive take on disk.
    pub(crate) store_bytes: AtomicU64,
    /// Epoch before which the journal is no longer needed.
    pub(crate) remove_before: AtomicU64,
    /// Where the journal goes on behind the last cut.
    chain_at_cut: Mutex<Option<Chain>>,
    /// What an operator should know, newest last.
    notes: Mutex<VecDeque<String>>,
    /// Shards to wake when the engine stops.
    shards: OnceLock<Arc<Vec<Handle>>>,
}

impl Gate {
    /// Makes a gate for a journal whose next record gets `next_seq`.
    pub(crate) fn new(next_seq: u64, segment_bytes: u32, min_free_bytes: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                spare: Vec::new(),
                next_seq,
                closing: false,
                stopped: None,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: AtomicU64::new(next_seq - 1),
            mark: Mutex::new(()),
            marked: Condvar::new(),
            waiting: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            segment_bytes,
            min_free_bytes,
            groups: AtomicU64::new(0),
            journal_bytes: AtomicU64::new(0),
            store_bytes: AtomicU64::new(0),
            remove_before: AtomicU64::new(0),
            chain_at_cut: Mutex::new(None),
            notes: Mutex::new(VecDeque::new()),
            shards: OnceLock::new(),
        }
    }

    /// Names the shards that are to be woken when the engine stops.
    pub(crate) fn wakes(&self, shards: Arc<Vec<Handle>>) {
        assert!(self.shards.set(shards).is_ok(), "a gate has its shards once");
    }

    /// Returns the seq of the last durable record.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Waits until a seq is durable; returns whether it is.
    pub(crate) fn wait_durable(&self, seq: u64, timeout: Duration) -> bool {
        if self.durable() >= seq {
            return true;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.mark.lock();
        let until = std::time::Instant::now() + timeout;
        while self.durable() < seq && !self.stopped.load(Ordering::Relaxed) {
            if self.marked.wait_until(&mut guard, until).timed_out() {
                break;
            }
        }
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.durable() >= seq
    }

    /// Returns the seq that an only shard's next section starts with, or a provisional one.
    pub(crate) fn base(&self, shard_count: u16) -> u64 {
        if shard_count == 1 { self.inner.lock().next_seq } else { PROVISIONAL }
    }

    /// Returns the seq of the last record that was handed over.
    pub(crate) fn last_seq(&self) -> u64 {
        self.inner.lock().next_seq - 1
    }

    /// Hands the open section of a shard over and returns what is left for the shard to do; its
    /// answers leave when the section is durable.
    ///
    /// Messages to peers are sent before the writer can take the section: who has an answer finds
    /// the peers told of what it says.
    ///
    /// # Errors
    ///
    /// Returns why the engine has stopped; nothing was handed over, and the answers were failed.
    pub(crate) fn hand_over(
        &self,
        core: &mut Core,
        mut send: impl FnMut(u16, PeerMessage),
    ) -> Result<Ended, Error> {
        let mut inner = self.inner.lock();
        while inner.queue.len() >= GROUPS_MAX && inner.stopped.is_none() {
            self.room.wait(&mut inner);
        }
        let base = inner.next_seq;
        let count = core.section.count;
        let mut ended = core.end(base);
        let now_ready = std::mem::take(&mut ended.ready);
        if let Some(why) = &inner.stopped {
            let why = why.clone();
            drop(inner);
            now_ready.into_iter().for_each(|ready| ready.fail(ErrorKind::Stopped, &why));
            return Err(Error::new(ErrorKind::Stopped, why, STOPPED_HELP));
        }
        let (memory, ready): (Vec<Ready>, Vec<Ready>) =
            now_ready.into_iter().partition(|ready| ack_of(ready) == Ack::Memory);
        let strict = ready.iter().any(|ready| ack_of(ready) == Ack::Strict);
        inner.next_seq += u64::from(count);
        self.push_sections(&mut inner, core, strict);
        let last_seq = inner.next_seq - 1;
        let group = self.back(&mut inner);
        group.last_seq = last_seq;
        group.ready.extend(ready);
        let shard = core.state.shard;
        group.levels.extend(ended.levels.drain(..).map(|(sku, level)| (shard, sku, level)));
        group.defined.append(&mut ended.defined);
        group.policies.append(&mut ended.policies);
        group.cells.extend(ended.cells.drain(..).map(|(index, name)| (shard, index, name)));
        group.sealed |= strict;
        ended.outbound.drain(..).for_each(|(peer, message)| send(peer, message));
        drop(inner);
        self.work.notify_one();
        memory.into_iter().for_each(Ready::complete);
        Ok(ended)
    }

    /// Returns the group that takes the next section.
    fn back<'a>(&self, inner: &'a mut MutexGuard<'_, Inner>) -> &'a mut Group {
        let fits =
            inner.queue.back().is_some_and(|g| !g.sealed && g.sections.len() < GROUP_BYTES_SOFT);
        if !fits {
            self.open_group(inner);
        }
        inner.queue.back_mut().expect("a group is open")
    }

    fn open_group(&self, inner: &mut MutexGuard<'_, Inner>) {
        let group = inner.spare.pop().unwrap_or_else(|| Group {
            sections: GroupBuffer::new(self.segment_bytes),
            ready: Vec::new(),
            levels: Vec::new(),
            defined: Vec::new(),
            policies: Vec::new(),
            cells: Vec::new(),
            last_seq: 0,
            sealed: false,
            cut: false,
        });
        inner.queue.push_back(group);
    }

    fn push_sections(&self, inner: &mut MutexGuard<'_, Inner>, core: &Core, strict: bool) {
        let section = &core.section;
        if section.count == 0 {
            return;
        }
        if strict && inner.queue.back().is_some_and(|g| !g.sections.is_empty()) {
            self.open_group(inner);
        }
        let (shard, time) = (core.state.shard, core.section_time().millis());
        let group = self.back(inner);
        if group.sections.push_section(shard, time, section.count, &section.bytes) {
            return;
        }
        // Larger than a group can take: cut between records, whose order is kept.
        let mut rest = section.bytes.as_slice();
        let mut chunk = rest;
        let mut count = 0_u32;
        while let Ok(Some((_, _, record))) = next_record(&mut rest) {
            let taken = chunk.len() - rest.len();
            if taken > GROUP_BYTES_SOFT && count > 0 {
                let (head, tail) = chunk.split_at(taken - record.len());
                self.push_part(inner, shard, time, count, head);
                chunk = tail;
                count = 0;
            }
            count += 1;
        }
        self.push_part(inner, shard, time, count, chunk);
    }

    fn push_part(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        shard: u16,
        time: u64,
        count: u32,
        bytes: &[u8],
    ) {
        let group = self.back(inner);
        if !group.sections.push_section(shard, time, count, bytes) {
            self.open_group(inner);
            let group = inner.queue.back_mut().expect("a group was opened");
            let pushed = group.sections.push_section(shard, time, count, bytes);
            assert!(pushed, "an empty group takes a part");
        }
    }

    /// Ends the open group: a checkpoint's cut is made here. Returns the seq before it.
    pub(crate) fn mark_cut(&self) -> u64 {
        *self.chain_at_cut.lock() = None;
        let mut inner = self.inner.lock();
        self.open_group(&mut inner);
        let last_seq = inner.next_seq - 1;
        if let Some(group) = inner.queue.back_mut() {
            group.cut = true;
            group.last_seq = last_seq;
        }
        drop(inner);
        self.work.notify_one();
        last_seq
    }

    /// Takes where the journal goes on behind the cut at `seq`; `None` until everything before it
    /// is durable. The mark of an earlier cut, whose checkpoint failed, may still come before it.
    pub(crate) fn take_chain_at_cut(&self, seq: u64) -> Option<Chain> {
        self.chain_at_cut.lock().take_if(|chain| chain.seq == seq + 1)
    }

    /// Keeps a note for the operator.
    pub(crate) fn note(&self, text: &str) {
        let mut notes = self.notes.lock();
        if notes.len() == NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(text.to_owned());
    }

    /// Returns the notes for the operator.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().iter().cloned().collect()
    }

    /// Stops the engine: every answer that waits is failed, and so is every later one.
    pub(crate) fn stop(&self, why: &str) {
        let mut inner = self.inner.lock();
        if inner.stopped.is_none() {
            inner.stopped = Some(why.to_owned());
        }
        self.stopped.store(true, Ordering::SeqCst);
        let groups: Vec<Group> = inner.queue.drain(..).collect();
        drop(inner);
        for group in groups {
            group.ready.into_iter().for_each(|ready| ready.fail(ErrorKind::Stopped, why));
        }
        self.room.notify_all();
        self.work.notify_all();
        // Who has looked and not yet slept holds the lock: nobody misses this.
        drop(self.mark.lock());
        self.marked.notify_all();
        self.shards.get().into_iter().flat_map(|shards| shards.iter()).for_each(Handle::wake);
    }

    /// Returns why the engine has stopped.
    pub(crate) fn why_stopped(&self) -> Option<String> {
        self.inner.lock().stopped.clone()
    }

    /// Lets the writer end once everything handed over is durable.
    pub(crate) fn close(&self) {
        self.inner.lock().closing = true;
        self.work.notify_all();
    }

    /// Writes one group, if there is one: a step of the writer without its thread.
    ///
    /// # Errors
    ///
    /// Returns the failed write; the engine has stopped then.
    pub(crate) fn write_one(
        &self,
        writer: &mut JournalWriter,
        published: &Published,
    ) -> Result<Wrote, Error> {
        let Some(mut group) = self.inner.lock().queue.pop_front() else {
            return Ok(Wrote::Nothing);
        };
        if !self.write_group(writer, published, &mut group)? {
            self.inner.lock().queue.push_front(group);
            return Ok(Wrote::NoRoom);
        }
        self.room.notify_all();
        self.recycle(group);
        Ok(Wrote::Group)
    }

    /// Returns how many groups wait for the writer.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn waiting_groups(&self) -> usize {
        self.inner.lock().queue.len()
    }

    /// Returns the seq that the next record that is handed over gets.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn next_seq(&self) -> u64 {
        self.inner.lock().next_seq
    }

    fn write_group(
        &self,
        writer: &mut JournalWriter,
        published: &Published,
        group: &mut Group,
    ) -> Result<bool, Error> {
        if group.cut {
            *self.chain_at_cut.lock() = Some(writer.chain());
        }
        if !group.sections.is_empty() {
            match writer.append_group(&mut group.sections) {
                Ok(position) => {
                    self.groups.fetch_add(1, Ordering::Relaxed);
                    let bytes = u64::from(position.bytes);
                    self.journal_bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Err(_) if !writer.is_stopped() && !self.is_closing() => {
                    // No room for a new segment: nothing was written, and the group waits.
                    self.read_only.store(true, Ordering::SeqCst);
                    return Ok(false);
                }
                Err(error) => {
                    let why = format!("journal can't be written: {error}");
                    self.stop(&why);
                    let ready = std::mem::take(&mut group.ready);
                    ready.into_iter().for_each(|r| r.fail(ErrorKind::Stopped, &why));
                    return Err(error);
                }
            }
            self.durable.store(writer.durable_seq(), Ordering::Release);
        }
        for (shard, sku, level) in group.levels.drain(..) {
            published.set_level(shard, sku, &level, group.last_seq);
        }
        group.defined.drain(..).for_each(|sku| published.define(sku));
        group.policies.drain(..).for_each(|policy| published.set_policy(policy));
        for (shard, index, name) in group.cells.drain(..) {
            published.add_cell(shard, index, name);
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.mark.lock());
            self.marked.notify_all();
        }
        group.ready.drain(..).for_each(Ready::complete);
        Ok(true)
    }

    fn recycle(&self, mut group: Group) {
        group.sections.clear();
        group.sealed = false;
        group.cut = false;
        let mut inner = self.inner.lock();
        if inner.spare.len() < 3 {
            inner.spare.push(group);
        }
    }

    fn is_closing(&self) -> bool {
        self.inner.lock().closing
    }

    /// The writer's life: groups become durable one after another, until the gate is closed.
    ///
    /// `housekeeping` is called between groups, and now and then when there are none.
    ///
    /// # Errors
    ///
    /// Returns the failed write; the engine has stopped then.
    pub(crate) fn run_writer(
        &self,
        mut writer: JournalWriter,
        published: &Published,
        mut housekeeping: impl FnMut(&mut JournalWriter),
    ) -> Result<(), Error> {
        loop {
            let wrote = self.write_one(&mut writer, published)?;
            if wrote == Wrote::Group {
                housekeeping(&mut writer);
                continue;
            }
            let mut inner = self.inner.lock();
            if inner.stopped.is_some() {
                return Ok(());
            }
            if wrote == Wrote::NoRoom {
                self.work.wait_for(&mut inner, FULL_RETRY);
                continue;
            }
            if !inner.queue.is_empty() {
                continue;
            }
            if inner.closing {
                drop(inner);
                return writer.close();
            }
            if self.work.wait_for(&mut inner, IDLE).timed_out() && inner.queue.is_empty() {
                drop(inner);
                if let Err(error) = writer.mark_idle()
                    && writer.is_stopped()
                {
                    self.stop(&format!("journal can't be marked: {error}"));
                    return Err(error);
                }
                self.watch_disk(&writer);
                housekeeping(&mut writer);
            }
        }
    }

    /// Turns to reading only before the disk is full, and back when there is room again.
    pub(crate) fn watch_disk(&self, writer: &JournalWriter) {
        if let Ok(free) = writer.free_bytes() {
            self.read_only.store(free < self.min_free_bytes, Ordering::SeqCst);
        }
    }
}

fn ack_of(ready: &Ready) -> Ack {
    match ready {
        Ready::Replies { ack, .. } => *ack,
        Ready::View(..) => Ack::Group,
    }
}

pub(crate) const STOPPED_HELP: &str =
    "open the engine anew; send commands whose fate is not known again with the same keys";
