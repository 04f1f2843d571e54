//! The ledger: what the buyers were told, kept small, to be compared with the host's events.
//!
//! An accepted request costs 48 bytes here, a refusal nothing of its own: refusals that agree in
//! SKU, location, units and position share one entry.

use std::collections::{BTreeMap, HashMap};

use crate::error::LoadError;
use crate::op::{Answer, Loss, Op, OpKind, Outcome, Planned};

/// Most accepted requests that one run keeps account of: 2.4 GB of ledger.
pub const ACCEPTED_MAX: usize = 50_000_000;
/// Most requests without an answer that are asked again after the run.
pub const LOST_MAX: usize = 200_000;

/// An accepted `buy` or `reserve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The order of the receipt.
    pub order: u128,
    /// The buyer's intent; duplicates share it.
    pub intent: u64,
    /// Hash of the receipt's bytes.
    pub body_hash: u64,
    /// Hash of the customer's name; 0 for none.
    pub customer: u64,
    /// Units asked over all lines.
    pub units: u32,
}

/// What refusals with `sold_out` have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SoldOut {
    /// Position that the refusal reflects.
    pub seq: u64,
    /// SKU of the line that was short.
    pub sku: u32,
    /// Location of the line; 0 for any.
    pub location: u32,
    /// Units asked of that SKU and location.
    pub asked: u64,
}

/// How often, and in how narrow a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoldOutTally {
    /// The latest position known to a buyer before such a request was sent: the decision was
    /// taken between it and [`SoldOut::seq`].
    pub after: u64,
    /// Refusals.
    pub count: u64,
}

/// A request whose outcome is not known.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The buyer's intent.
    pub intent: u64,
    /// The request.
    pub op: Op,
}

/// What the buyers were told.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Accepted `buy` and `reserve` requests, each answer on its own.
    pub accepted: Vec<Accepted>,
    /// Orders whose `place` was accepted.
    pub placed: Vec<u128>,
    /// Refusals with `sold_out`.
    pub sold_out: HashMap<SoldOut, SoldOutTally>,
    /// Refusals with `sold_out` that name neither a line of the basket nor a position.
    pub sold_out_without_facts: u64,
    /// Refusals with `sold_out` that say that there were as many units as asked.
    pub sold_out_contradicting: u64,
    /// Refusals by code, by kind of request.
    pub refusals: BTreeMap<(OpKind, &'static str), u64>,
    /// Requests without an answer, by reason.
    pub losses: BTreeMap<Loss, u64>,
    /// Requests without an answer, to be asked again.
    pub lost: Vec<Lost>,
    /// Requests without an answer beyond [`LOST_MAX`].
    pub lost_beyond: u64,
    /// Answers that the target marked as repeated.
    pub replayed: u64,
    /// Highest position of any answer.
    pub seq_max: u64,
}

impl Ledger {
    /// Enters the outcome of a request; `after` is the latest position known when it was sent.
    ///
    /// # Errors
    ///
    /// Returns an error when [`ACCEPTED_MAX`] is reached: the truth could not be told any more.
    pub fn enter(
        &mut self,
        planned: &Planned,
        outcome: &Outcome,
        after: u64,
    ) -> Result<(), LoadError> {
        match outcome {
            Ok(answer) => self.enter_answer(planned, answer, after),
            Err(loss) => {
                *self.losses.entry(*loss).or_default() += 1;
                // What was never sent can't have been carried out.
                if *loss != Loss::Unreachable {
                    self.enter_lost(Lost { intent: planned.intent, op: planned.op.clone() });
                }
                Ok(())
            }
        }
    }

    fn enter_lost(&mut self, lost: Lost) {
        if self.lost.len() < LOST_MAX {
            self.lost.push(lost);
        } else {
            self.lost_beyond += 1;
        }
    }

    fn enter_answer(
        &mut self,
        planned: &Planned,
        answer: &Answer,
        after: u64,
    ) -> Result<(), LoadError> {
        let op = &planned.op;
        self.seq_max = self.seq_max.max(answer.seq);
        self.replayed += u64::from(answer.replayed);
        if !answer.is_success() {
            *self.refusals.entry((op.kind, answer.code)).or_default() += 1;
            if answer.code == "sold_out" {
                self.enter_sold_out(op, answer, after);
            }
            return Ok(());
        }
        match (op.kind, answer.order) {
            (OpKind::Buy | OpKind::Reserve, Some(order)) => {
                if self.accepted.len() >= ACCEPTED_MAX {
                    return Err(LoadError::usage(format!(
                        "the run has {ACCEPTED_MAX} accepted requests, the most that can be \
                         checked afterwards; shorten it"
                    )));
                }
                self.accepted.push(Accepted {
                    order,
                    intent: planned.intent,
                    body_hash: answer.body_hash,
                    customer: customer_hash(&op.customer),
                    units: u32::try_from(op.units()).unwrap_or(u32::MAX),
                });
            }
            (OpKind::Place, _) => self.placed.push(op.order),
            (OpKind::Release, _) => (),
            (OpKind::Buy | OpKind::Reserve, None) => {
                *self.losses.entry(Loss::Malformed).or_default() += 1;
                self.enter_lost(Lost { intent: planned.intent, op: op.clone() });
            }
        }
        Ok(())
    }

    fn enter_sold_out(&mut self, op: &Op, answer: &Answer, after: u64) {
        // A basket of one line needs no line number.
        let line = match (answer.line, op.lines.len()) {
            (Some(line), _) => Some(line as usize),
            (None, 1) => Some(0),
            (None, _) => None,
        };
        let named = line.and_then(|line| op.asked_with(line));
        let (Some((line, asked)), true) = (named, answer.seq > 0) else {
            self.sold_out_without_facts += 1;
            return;
        };
        if answer.found.is_some_and(|found| found >= asked) {
            self.sold_out_contradicting += 1;
        }
        let refusal = SoldOut { seq: answer.seq, sku: line.sku, location: line.location, asked };
        // An answer can't reflect less than what was known before the question.
        let after = after.min(answer.seq);
        let tally = self.sold_out.entry(refusal).or_insert(SoldOutTally { after, count: 0 });
        tally.after = tally.after.max(after);
        tally.count += 1;
    }

    /// Adds the ledger of another connection.
    pub fn merge(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.placed.extend(other.placed);
        for lost in other.lost {
            self.enter_lost(lost);
        }
        self.lost_beyond += other.lost_beyond;
        self.sold_out_without_facts += other.sold_out_without_facts;
        self.sold_out_contradicting += other.sold_out_contradicting;
        for (code, count) in other.refusals {
            *self.refusals.entry(code).or_default() += count;
        }
        for (loss, count) in other.losses {
            *self.losses.entry(loss).or_default() += count;
        }
        // Sorted, so that no run depends on the order of a hash table.
        let mut sold_out: Vec<_> = other.sold_out.into_iter().collect();
        sold_out.sort_unstable_by_key(|(refusal, _)| *refusal);
        for (refusal, tally) in sold_out {
            let mine = self.sold_out.entry(refusal).or_insert(SoldOutTally { after: 0, count: 0 });
            mine.after = mine.after.max(tally.after);
            mine.count += tally.count;
        }
        self.replayed += other.replayed;
        self.seq_max = self.seq_max.max(other.seq_max);
    }

    /// Returns the bytes that this ledger's tables take, for the report.
    pub fn bytes(&self) -> u64 {
        let accepted = self.accepted.capacity() * size_of::<Accepted>();
        let placed = self.placed.capacity() * size_of::<u128>();
        let sold_out = self.sold_out.capacity() * size_of::<(SoldOut, SoldOutTally)>();
        (accepted + placed + sold_out) as u64
    }
}

/// Returns a number that stands for a customer's name; 0 for no name.
pub fn customer_hash(name: &str) -> u64 {
    if name.is_empty() { 0 } else { bytes_hash(name.as_bytes()).max(1) }
}

/// Returns a 64-bit hash of bytes that is the same within a run.
pub fn bytes_hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    #[expect(
        deprecated,
        reason = "the named algorithm, so that hashes don't change with the toolchain"
    )]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
