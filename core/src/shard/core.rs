//! One shard without its thread: inputs in, a section of records and answers out.
//!
//! The engine runs it on a thread of its own, the simulation steps it by hand; both call
//! `begin`, then feed inputs, then `end` with the position that the journal gave the section.

use std::sync::Arc;

use crate::apply::cross::{settle_facts, undo};
use crate::apply::expire::expire_due;
use crate::apply::promise::break_one;
use crate::apply::replay::evict_oldest;
use crate::apply::{Applied, Context, Instruction, apply, policy, refuse, sku};
use crate::command::Command;
use crate::count_flow::{CountMessage, Counting};
use crate::decided::{PolicyNo, PolicyView};
use crate::domain::stock::Level;
use crate::error::ErrorKind;
use crate::id::OrderId;
use crate::order_flow::{Flow, FlowMessage};
use crate::reject::Reject;
use crate::reply::{Ack, Receipt, Refusal, Reply};
use crate::shard::completion::{Completion, Ready};
use crate::shard::section::{PROVISIONAL, Section, resolve};
use crate::shard::stripes::Stripes;
use crate::state::State;
use crate::state::ahead::Ahead;
use crate::time::Timestamp;
use crate::view::{OrderView, SkuView};

/// A batch of commands on its way through a shard.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) commands: Vec<Command>,
    pub(crate) ack: Ack,
    pub(crate) done: Arc<Completion>,
    /// Positions of the commands in the batch that was submitted; `None` if it is all of it.
    pub(crate) positions: Option<Vec<u32>>,
}

/// What shards send each other.
#[derive(Debug)]
pub(crate) enum PeerMessage {
    /// A step of a basket over several shards.
    Flow(FlowMessage),
    /// A step of a count that must break promises.
    Count(CountMessage),
    /// Something that can't fail here.
    Instruct(Instruction),
}

/// Where an answer goes: the open job, and the position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    job: u32,
    at: u32,
}

#[derive(Debug)]
struct OpenJob {
    replies: Vec<Option<Reply>>,
    left: u32,
    ack: Ack,
    done: Arc<Completion>,
    positions: Option<Vec<u32>>,
}

/// Tells whether a key may belong to something that has left memory for the archive.
pub(crate) trait Archived: Send + Sync + std::fmt::Debug {
    /// Returns `false` only if the key is certainly not in the archive.
    fn may_hold(&self, key: u128) -> bool;
}

/// What a shard has done since `begin`.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) outbound: Vec<(u16, PeerMessage)>,
    pub(crate) ready: Vec<Ready>,
    /// Stock of the SKUs that changed.
    pub(crate) levels: Vec<(u32, Level)>,
    /// SKUs that were defined or changed.
    pub(crate) defined: Vec<Arc<SkuView>>,
    /// Policies that something happened to; shard 0 alone tells.
    pub(crate) policies: Vec<Arc<PolicyView>>,
    /// Cells that were made: index, SKU index, location, lot.
    pub(crate) cells: Vec<(u32, CellName)>,
    /// Commands whose keys must be looked up in the archive first.
    pub(crate) look_up: Vec<(Command, ReplyTo)>,
    /// Keys that left memory.
    pub(crate) evicted: Vec<u128>,
    /// Keys with their outcome: whether the engine knows them now.
    pub(crate) keys: Vec<(u128, bool)>,
}

/// What a cell is of: SKU index, location, lot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CellName {
    pub(crate) sku: u32,
    pub(crate) location: u32,
    pub(crate) lot: u32,
}

/// What waits until a shard that holds still is free.
#[derive(Debug)]
enum Deferred {
    /// A command, and whether the archive does not know its keys.
    Command(Command, ReplyTo, bool),
    /// What another shard says of a basket, which may make an order.
    Vote(FlowMessage),
}

/// Counts of one shard, since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) repeated: u64,
    pub(crate) refused: u64,
    pub(crate) expired: u64,
    pub(crate) baskets: u64,
    pub(crate) cross_baskets: u64,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) section: Section,
    messages: Vec<(u16, Instruction)>,
    flow: Flow<ReplyTo>,
    counting: Counting<ReplyTo>,
    /// What would change orders, and has to wait while this shard holds still for a count.
    deferred: Vec<Deferred>,
    jobs: Vec<Option<OpenJob>>,
    free_jobs: Vec<u32>,
    now: Timestamp,
    ready: Vec<OpenJob>,
    views: Vec<(Option<OrderView>, Arc<Completion>)>,
    /// Answers of this section whose seqs are provisional, in jobs that were still open then.
    answered: Vec<ReplyTo>,
    look_up: Vec<(Command, ReplyTo)>,
    evicted: Vec<u128>,
    keys: Vec<(u128, bool)>,
    pub(crate) ahead: Ahead,
    archived: Option<Arc<dyn Archived>>,
    /// Which shard knows an order, if there are several.
    stripes: Option<Arc<Stripes>>,
    pub(crate) counts: Counts,
    /// Number of records by kind is kept by the journal; refusals by reject are kept here.
    pub(crate) refusals: [u64; Reject::ALL.len()],
}

impl Core {
    pub(crate) fn new(mut state: State, wait_ms: u64, archived: Option<Arc<dyn Archived>>) -> Self {
        // Sections count anew from here: what a replay has noted would be taken for theirs.
        for index in 0..state.catalogue.count() as u32 {
            state.catalogue.get_mut(index).touched_step = 0;
        }
        Self {
            state,
            section: Section::new(),
            messages: Vec::new(),
            flow: Flow::new(wait_ms),
            counting: Counting::new(),
            deferred: Vec::new(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
            now: Timestamp::ZERO,
            ready: Vec::new(),
            views: Vec::new(),
            answered: Vec::new(),
            look_up: Vec::new(),
            evicted: Vec::new(),
            keys: Vec::new(),
            ahead: Ahead::default(),
            archived,
            stripes: None,
            counts: Counts::default(),
            refusals: [0; Reject::ALL.len()],
        }
    }

    /// Lets the shard tell an order of another shard from one that nobody knows.
    pub(crate) fn find_orders_in(&mut self, stripes: Arc<Stripes>) {
        self.stripes = Some(stripes);
    }

    /// Starts a section: time passes, what is due expires.
    ///
    /// `base` is the seq of its first record, or [`PROVISIONAL`] if that is not known yet.
    pub(crate) fn begin(&mut self, base: u64, clock: Timestamp) {
        if self.is_held() {
            // Time stands still: what expires would change orders.
            self.begin_without_expiry(base, self.state.now);
            return;
        }
        self.section.restart(base);
        let mut ctx = Context {
            now: clock,
            section: &mut self.section,
            messages: &mut self.messages,
            peer_skus: &[],
        };
        expire_due(&mut self.state, &mut ctx, clock);
        self.now = ctx.now;
        self.counts.expired += u64::from(self.section.count);
    }

    /// Starts a section at a time, leaving what is due for the next one.
    pub(crate) fn begin_without_expiry(&mut self, base: u64, now: Timestamp) {
        self.section.restart(base);
        self.state.now = now;
        self.now = now;
    }

    fn with<R>(
        &mut self,
        run: impl FnOnce(&mut State, &mut Context<'_>, &mut Flow<ReplyTo>) -> R,
    ) -> R {
        let mut ctx = Context {
            now: self.now,
            section: &mut self.section,
            messages: &mut self.messages,
            peer_skus: &[],
        };
        run(&mut self.state, &mut ctx, &mut self.flow)
    }

    fn with_counting(
        &mut self,
        run: impl FnOnce(&mut State, &mut Context<'_>, &mut Counting<ReplyTo>),
    ) {
        let mut ctx = Context {
            now: self.now,
            section: &mut self.section,
            messages: &mut self.messages,
            peer_skus: &[],
        };
        run(&mut self.state, &mut ctx, &mut self.counting);
    }

    /// Returns whether a count that breaks promises concerns this shard.
    pub(crate) fn is_counting(&self) -> bool {
        !self.counting.is_idle()
    }

    /// Returns whether this shard holds still for a count: it takes no commands.
    pub(crate) fn is_held(&self) -> bool {
        self.counting.is_held()
    }

    /// Carries out what a peer says.
    pub(crate) fn receive(&mut self, message: PeerMessage) {
        match message {
            PeerMessage::Flow(message @ FlowMessage::Vote(..)) if self.is_held() => {
                self.deferred.push(Deferred::Vote(message));
            }
            PeerMessage::Count(message) => {
                self.with_counting(|state, ctx, counting| counting.receive(state, ctx, message));
            }
            PeerMessage::Instruct(Instruction::Break(broken)) => {
                let done = self.with(|state, ctx, _| break_one(state, ctx, &broken));
                done.expect("an order that holds still is as it was found");
            }
            PeerMessage::Flow(message) => {
                self.with(|state, ctx, flow| flow.receive(state, ctx, message));
            }
            PeerMessage::Instruct(Instruction::Settle(settle)) => {
                let carried = self.with(|state, ctx, _| settle_facts(state, ctx, &settle));
                carried.expect("an instruction can't fail");
            }
            PeerMessage::Instruct(Instruction::Define(define)) => {
                let fits = self.with(|state, ctx, _| sku::copy(state, ctx, &define));
                assert!(fits, "every shard has the same catalogue");
            }
            PeerMessage::Instruct(Instruction::Policy(step)) => {
                let fits = self.with(|state, ctx, _| policy::copy(state, ctx, &step));
                assert!(fits, "every shard has the same policies");
            }
        }
    }

    /// Gives back what a basket had taken that a crash has ended.
    pub(crate) fn undo(&mut self, order: u128) {
        self.with(|state, ctx, _| undo(state, ctx, order));
    }

    /// Lets settled orders leave memory that are in the archive for good.
    pub(crate) fn evict(&mut self, count: u32) {
        let mut gone = std::mem::take(&mut self.evicted);
        let done = self.with(|state, ctx, _| evict_oldest(state, ctx, count, |k| gone.push(k)));
        self.evicted = gone;
        done.expect("only what is settled is evicted");
    }

    /// Reads an order; the answer leaves when everything that it shows is durable.
    pub(crate) fn view(&mut self, order: OrderId, done: Arc<Completion>) {
        let slot = self.state.order_slot(order.bits());
        self.views.push((slot.map(|slot| OrderView::new(&self.state, slot)), done));
    }

    /// Carries a batch of commands out.
    pub(crate) fn submit(&mut self, job: Job) {
        let count = job.commands.len();
        let mut replies = Vec::new();
        replies.resize_with(count, || None);
        let open = OpenJob {
            replies,
            left: count as u32,
            ack: job.ack,
            done: job.done,
            positions: job.positions,
        };
        let slot = if let Some(slot) = self.free_jobs.pop() {
            self.jobs[slot as usize] = Some(open);
            slot
        } else {
            self.jobs.push(Some(open));
            self.jobs.len() as u32 - 1
        };
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut at = 0;
        while at < count {
            let upto = at + ahead.touch_commands(&self.state, &job.commands[at..]);
            for at in at..upto {
                let reply_to = ReplyTo { job: slot, at: at as u32 };
                self.command(&job.commands[at], reply_to, false);
            }
            at = upto;
        }
        self.ahead = ahead;
        if count == 0 {
            self.close_job(slot);
        }
    }

    /// Carries one command out; `checked` says that the archive does not know its keys.
    pub(crate) fn command(&mut self, command: &Command, reply_to: ReplyTo, checked: bool) {
        if self.is_held() {
            self.deferred.push(Deferred::Command(command.clone(), reply_to, checked));
            return;
        }
        if !checked && self.must_look_up(command) {
            self.look_up.push((command.clone(), reply_to));
            return;
        }
        let multi = self.state.shard_count > 1;
        let key = command.key().map(crate::id::Key::bits);
        if multi && key.is_some_and(|key| self.flow.join(command, key, reply_to)) {
            return;
        }
        let outcome = self.with(|state, ctx, _| apply(state, ctx, command));
        match outcome {
            Applied::Basket => {
                self.counts.cross_baskets += 1;
                let command = command.clone();
                self.with(|state, ctx, flow| flow.start(state, ctx, command, reply_to));
                self.flow_answers();
            }
            Applied::Promises => {
                let Command::Count(count) = command else { unreachable!("only counts break") };
                self.counting.start(*count, reply_to);
            }
            outcome => {
                let outcome = self.or_elsewhere(command, outcome);
                self.answer(reply_to, key, outcome);
            }
        }
    }

    /// Makes "not found" transient if another shard knows the order or has it in flight: the
    /// command came here because its own key was on its way here; the next try finds its way.
    fn or_elsewhere(&self, command: &Command, outcome: Applied) -> Applied {
        let unknown = matches!(&outcome, Applied::Refused(r) if r.reject == Reject::OrderUnknown);
        let (true, Some(order), Some(stripes)) = (unknown, command.order(), &self.stripes) else {
            return outcome;
        };
        match stripes.find(order.bits()) {
            Some(shard) if shard != self.state.shard => {
                Applied::Refused(refuse(Reject::Contended, 0, 0, 0))
            }
            Some(_) | None => outcome,
        }
    }

    fn must_look_up(&self, command: &Command) -> bool {
        let Some(archived) = &self.archived else { return false };
        let unknown = |key: u128| archived.may_hold(key) && self.state.lookup(key).is_none();
        let Some(key) = command.key() else { return false };
        if unknown(key.bits()) {
            return true;
        }
        // What is known of the key itself comes first: its order may have left memory before it.
        let order = command.order().filter(|order| unknown(order.bits()));
        order.is_some() && self.state.lookup(key.bits()).is_none()
    }

    /// Answers a command with what the archive knows of it.
    pub(crate) fn answer_archived(
        &mut self,
        command: &Command,
        reply_to: ReplyTo,
        outcome: Result<Receipt, Refusal>,
    ) {
        let key = command.key().map(crate::id::Key::bits);
        let applied = match outcome {
            Ok(receipt) => Applied::Repeated(receipt),
            Err(refusal) => Applied::Refused(refusal),
        };
        self.answer(reply_to, key, applied);
    }

    fn flow_answers(&mut self) {
        while !self.flow.answers.is_empty() || !self.flow.again.is_empty() {
            for (key, reply_to, outcome) in std::mem::take(&mut self.flow.answers) {
                self.answer(reply_to, Some(key), outcome);
            }
            for (command, reply_to) in std::mem::take(&mut self.flow.again) {
                self.command(&command, reply_to, true);
            }
        }
    }

    fn answer(&mut self, reply_to: ReplyTo, key: Option<u128>, outcome: Applied) {
        let latest = self.section.base() + u64::from(self.section.count) - 1;
        let (outcome, replayed, seq) = match outcome {
            Applied::Done(receipt) => {
                self.counts.accepted += 1;
                (Ok(receipt), false, latest)
            }
            Applied::Repeated(receipt) => {
                self.counts.repeated += 1;
                (Ok(receipt), true, latest)
            }
            Applied::Refused(refusal) => {
                self.counts.refused += 1;
                if let Some(at) = Reject::ALL.iter().position(|r| *r == refusal.reject) {
                    self.refusals[at] += 1;
                }
                (Err(refusal), false, latest)
            }
            Applied::Basket | Applied::Promises => unreachable!("its flow answers"),
        };
        let slot = reply_to.job as usize;
        let job = self.jobs[slot].as_mut().expect("a job is open until it is answered");
        if let Some(key) = key.filter(|_| self.state.shard_count > 1) {
            self.keys.push((key, outcome.is_ok()));
        }
        let reply = Reply { outcome, replayed, seq, ack: job.ack };
        let place = &mut job.replies[reply_to.at as usize];
        assert!(place.is_none(), "a command is answered once");
        *place = Some(reply);
        job.left -= 1;
        if job.left == 0 {
            self.close_job(reply_to.job);
        } else if !self.section.is_exact() {
            self.answered.push(reply_to);
        }
    }

    fn close_job(&mut self, slot: u32) {
        let job = self.jobs[slot as usize].take().expect("the job is open");
        self.free_jobs.push(slot);
        self.ready.push(job);
    }

    /// Fails every request that is not answered: the engine has stopped.
    pub(crate) fn abandon(&mut self, why: &str) {
        let open = self.jobs.iter_mut().filter_map(Option::take).chain(self.ready.drain(..));
        open.for_each(|job| job.done.fail(ErrorKind::Stopped, why));
        self.views.drain(..).for_each(|(_, done)| done.fail(ErrorKind::Stopped, why));
    }

    /// Goes on, once a section, with what takes several: a step of each search for promises, and
    /// what [`follow_up`](Self::follow_up) does.
    pub(crate) fn retry(&mut self) {
        if !self.counting.is_idle() {
            self.with_counting(|state, ctx, counting| counting.step(state, ctx));
        }
        self.follow_up();
    }

    /// Does what the messages of peers have made possible: answers what they have decided, carries
    /// out what waited for a count, and lets parts that wait for tentative units try again.
    ///
    /// It may be called before each request: no search goes on here, which would make a section
    /// as long as its requests are many.
    pub(crate) fn follow_up(&mut self) {
        for (key, reply_to, outcome) in std::mem::take(&mut self.counting.answers) {
            self.answer(reply_to, Some(key), outcome);
        }
        if self.is_held() {
            // What was decided before it was held is answered in this section.
            self.flow_answers();
            return;
        }
        for deferred in std::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::Command(command, reply_to, checked) => {
                    self.command(&command, reply_to, checked);
                }
                Deferred::Vote(vote) => self.receive(PeerMessage::Flow(vote)),
            }
        }
        if self.flow.has_waiting() {
            self.with(|state, ctx, flow| flow.retry_parked(state, ctx));
        }
        self.flow_answers();
    }

    /// Returns whether no basket is in flight here, none of another shard waits here, and no
    /// count is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        let counts = self.counting.is_idle() && self.deferred.is_empty();
        counts && self.flow.is_idle() && self.state.taken.is_empty()
    }

    /// Returns whether a deadline may end something here.
    pub(crate) fn has_waiting(&self) -> bool {
        self.flow.has_waiting() || !self.counting.is_idle()
    }

    /// Returns whether answers wait to leave.
    pub(crate) fn has_answers(&self) -> bool {
        let outbound = !self.flow.outbox.is_empty() || !self.counting.outbox.is_empty();
        outbound || !self.ready.is_empty() || !self.views.is_empty()
    }

    /// Returns the time that the section is stamped with.
    pub(crate) fn section_time(&self) -> Timestamp {
        self.now
    }

    /// Ends the section, whose first record got the seq `base`.
    pub(crate) fn end(&mut self, base: u64) -> Ended {
        let mut section = std::mem::replace(&mut self.section, Section::new());
        self.state.settle_seqs(&mut section, base);
        let instructions = self.messages.drain(..);
        let mut outbound: Vec<(u16, PeerMessage)> =
            instructions.map(|(peer, i)| (peer, PeerMessage::Instruct(i))).collect();
        // Behind the instructions: what a flow message allows must find them carried out.
        let flow = self.flow.outbox.drain(..);
        outbound.extend(flow.map(|(peer, m)| (peer, PeerMessage::Flow(m))));
        for (peer, mut message) in self.counting.outbox.drain(..) {
            if let CountMessage::Held(holdings) = &mut message {
                holdings.iter_mut().for_each(|h| h.created_seq = resolve(h.created_seq, base));
            }
            outbound.push((peer, PeerMessage::Count(message)));
        }
        self.counting.settle_seqs(base);
        self.resolve_open_jobs(base);
        let ready = self.ready.drain(..).map(|job| close(job, base));
        let mut ready: Vec<Ready> = ready.collect();
        for (mut view, done) in self.views.drain(..) {
            if let Some(view) = &mut view {
                view.created_seq = resolve(view.created_seq, base);
                view.seq = resolve(view.seq, base);
            }
            ready.push(Ready::View(view, done));
        }
        let level = |sku: &u32| (*sku, self.state.catalogue.get(*sku).level);
        let defined = section.defined.iter();
        let ended = Ended {
            outbound,
            ready,
            levels: section.skus.iter().map(level).collect(),
            cells: section.cells.iter().map(|c| (*c, self.cell_name(*c))).collect(),
            defined: defined.map(|s| Arc::new(SkuView::new(&self.state, *s))).collect(),
            policies: section.policies.iter().filter_map(|no| self.shown_policy(*no)).collect(),
            look_up: std::mem::take(&mut self.look_up),
            evicted: std::mem::take(&mut self.evicted),
            keys: std::mem::take(&mut self.keys),
        };
        self.section = section;
        ended
    }

    /// Returns a policy as readers see it, in the shard that keeps its steps.
    fn shown_policy(&self, no: PolicyNo) -> Option<Arc<PolicyView>> {
        let policy = self.state.policies.get(no).filter(|_| self.state.shard == 0);
        policy.map(|policy| policy.view.clone())
    }

    /// Gives the answers of jobs that stay open their seqs: the next section has another base.
    fn resolve_open_jobs(&mut self, base: u64) {
        for ReplyTo { job, at } in self.answered.drain(..) {
            let job = self.jobs[job as usize].as_mut();
            let reply = job.and_then(|job| job.replies.get_mut(at as usize)?.as_mut());
            if let Some(reply) = reply {
                resolve_reply(reply, base);
            }
        }
    }

    /// Returns what a cell is of.
    pub(crate) fn cell_name(&self, index: u32) -> CellName {
        let cell = self.state.cells.get(index);
        CellName { sku: cell.sku(), location: cell.location, lot: cell.lot }
    }

    /// Returns the bytes of some settled entries, for the archive.
    pub(crate) fn collect(&self, from: u32, count: u32) -> Vec<(u128, Vec<u8>)> {
        let entries = (from..from + count).map_while(|at| self.state.settled_entry(at as usize));
        entries.map(|known| crate::archive::encode(&self.state, known)).collect()
    }
}

/// Turns an answered job into what the reply gate passes on.
fn close(job: OpenJob, base: u64) -> Ready {
    let reply = |reply: Option<Reply>| {
        let mut reply = reply.expect("every command of a closed job is answered");
        resolve_reply(&mut reply, base);
        reply
    };
    let replies = job.replies.into_iter().map(reply).collect();
    Ready::Replies { replies, ack: job.ack, done: job.done, positions: job.positions }
}

/// Replaces the provisional seqs of a reply, given the seq of its section's first record.
#[inline]
fn resolve_reply(reply: &mut Reply, base: u64) {
    if reply.seq < PROVISIONAL - 1 {
        // An only shard knew its seqs at once.
        return;
    }
    // A refusal before the first record reflects the journal up to it.
    reply.seq = if reply.seq == PROVISIONAL - 1 { base - 1 } else { resolve(reply.seq, base) };
    if let Ok(receipt) = &mut reply.outcome {
        resolve_receipt(receipt, base);
    }
}

fn resolve_receipt(receipt: &mut Receipt, base: u64) {
    match receipt {
        Receipt::Order(order) => order.seq = resolve(order.seq, base),
        Receipt::Change(change) => change.seq = resolve(change.seq, base),
        Receipt::Stock(stock) => stock.seq = resolve(stock.seq, base),
        Receipt::Policy(policy) => policy.seq = resolve(policy.seq, base),
        Receipt::Tick => (),
    }
}

/// Makes the refusal for a command about an order that the archive knows as settled.
pub(crate) fn settled_refusal(status: crate::reply::OrderStatus, was_reserved: bool) -> Refusal {
    use crate::reply::OrderStatus;
    let expired =
        status == OrderStatus::Expired || (status == OrderStatus::Cancelled && was_reserved);
    let reject = if expired { Reject::ReservationExpired } else { Reject::StateConflict };
    refuse(reject, 0, 0, status as u64)
}
