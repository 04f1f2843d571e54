//! The ledger: what the buyers were told, to be compared with the host's events.
//!
//! Memory is bounded: rows beyond a fixed number go to temporary files, sorted, and are merged
//! when the truth is checked. An accepted request costs 77 bytes of disk, a refusal nothing of its
//! own: refusals with `sold_out` that agree in SKU, location, units and position share one row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::LoadError;
use crate::op::{Answer, Catalogue, Loss, Op, OpKind, Outcome, Planned};
use crate::spill::{ROWS_MAX, Row, RowReader, RowWriter, Sorter};

/// Most requests without an answer of a run that are asked again after it.
pub(crate) const LOST_MAX: usize = 200_000;
/// Distinct refusals that are tallied in memory before they become rows.
const TALLY_MAX: usize = 1 << 15;
/// Most cells that refusals are judged for; beyond it the run is refused.
const WATCHED_CELLS_MAX: usize = 4_000_000;

/// An accepted `buy` or `reserve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    /// The buyer's intent; duplicates share it.
    pub(crate) intent: u64,
    /// The order of the receipt.
    pub(crate) order: u128,
    /// Hash of the receipt's bytes.
    pub(crate) body_hash: u64,
    /// Hash of the customer's name; 0 for none.
    pub(crate) customer: u64,
    /// Total of the receipt; [`NO_TOTAL`] if it has none.
    pub(crate) total: i64,
    /// Lines times prices, as the buyer sees them; [`NO_TOTAL`] if that is out of range.
    pub(crate) expected: i64,
    /// Whether the request stated its prices, so that no policy has a say.
    pub(crate) stated: bool,
    /// Deadline of a reservation in milliseconds since 1970; 0 for none.
    pub(crate) deadline_ms: u64,
    /// Time to live that was asked, in milliseconds; 0 for none.
    pub(crate) ttl_ms: u64,
    /// Units asked over all lines.
    pub(crate) units: u32,
}

/// Stands for a total that is not there.
pub(crate) const NO_TOTAL: i64 = i64::MIN;

impl Row for Told {
    const BYTES: usize = 77;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u64(self.intent);
        out.u128(self.order);
        out.u64(self.body_hash);
        out.u64(self.customer);
        out.i64(self.total);
        out.i64(self.expected);
        out.u8(u8::from(self.stated));
        out.u64(self.deadline_ms);
        out.u64(self.ttl_ms);
        out.u32(self.units);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        Self {
            intent: from.u64(),
            order: from.u128(),
            body_hash: from.u64(),
            customer: from.u64(),
            total: from.i64(),
            expected: from.i64(),
            stated: from.u8() != 0,
            deadline_ms: from.u64(),
            ttl_ms: from.u64(),
            units: from.u32(),
        }
    }
}

/// What refusals with `sold_out` have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SoldOut {
    /// Position that the refusal reflects, or the one that its buyer knew of if that is later.
    pub(crate) seq: u64,
    /// Whether the refusal names an earlier position than its buyer knew of. Whoever asks later
    /// may not be told of the past: it is judged at what the buyer knew.
    pub(crate) stale: bool,
    /// SKU of the line that was short.
    pub(crate) sku: u32,
    /// Location of the line; 0 for any.
    pub(crate) location: u32,
    /// Units asked of that SKU and location.
    pub(crate) asked: u64,
}

/// How often, and in how narrow a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SoldOutTally {
    /// The latest position known to a buyer before such a request was sent: the decision was
    /// taken between it and [`SoldOut::seq`].
    pub(crate) after: u64,
    /// Refusals.
    pub(crate) count: u64,
}

/// A refusal with its tally, as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SoldOutRow(pub(crate) SoldOut, pub(crate) SoldOutTally);

impl Row for SoldOutRow {
    const BYTES: usize = 41;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u64(self.0.seq);
        out.u8(u8::from(self.0.stale));
        out.u32(self.0.sku);
        out.u32(self.0.location);
        out.u64(self.0.asked);
        out.u64(self.1.after);
        out.u64(self.1.count);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        let (seq, stale) = (from.u64(), from.u8() != 0);
        let (sku, location) = (from.u32(), from.u32());
        let refusal = SoldOut { seq, stale, sku, location, asked: from.u64() };
        Self(refusal, SoldOutTally { after: from.u64(), count: from.u64() })
    }
}

/// What a buyer was told about a reservation that he wanted to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Payment {
    /// Position of a refusal; 0 for an acceptance.
    pub(crate) seq: u64,
    /// The order.
    pub(crate) order: u128,
    /// What the answer was.
    pub(crate) told: PaymentAnswer,
}

/// The answer to a `place`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PaymentAnswer {
    /// It is placed.
    Placed,
    /// The reservation is over.
    Expired,
    /// There is no such order.
    Unknown,
}

impl PaymentAnswer {
    /// Returns the answer of a number on disk.
    pub(crate) const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Placed,
            1 => Self::Expired,
            _ => Self::Unknown,
        }
    }
}

impl Row for Payment {
    const BYTES: usize = 25;

    fn write(&self, out: &mut RowWriter<'_>) {
        out.u64(self.seq);
        out.u128(self.order);
        out.u8(self.told as u8);
    }

    fn read(from: &mut RowReader<'_>) -> Self {
        let (seq, order) = (from.u64(), from.u128());
        let told = PaymentAnswer::from_byte(from.u8());
        Self { seq, order, told }
    }
}

/// A request whose outcome is not known.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "workers", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Lost {
    /// The buyer's intent.
    pub(crate) intent: u64,
    /// The request.
    pub(crate) op: Op,
}

/// Refusals by code, losses by reason, answers by status, and answers given again.
pub(crate) type LedgerCounts =
    (BTreeMap<&'static str, u64>, BTreeMap<Loss, u64>, BTreeMap<u16, u64>, u64);

/// What the buyers were told.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Accepted `buy` and `reserve` requests, each answer on its own.
    pub(crate) told: Sorter<Told>,
    /// Answers to `place`.
    pub(crate) payments: Sorter<Payment>,
    /// Refusals with `sold_out`, by position.
    pub(crate) sold_out: Sorter<SoldOutRow>,
    /// Refusals that are not rows yet.
    tallies: HashMap<SoldOut, SoldOutTally>,
    /// SKU and location of every refusal with `sold_out`.
    pub(crate) watched: BTreeSet<(u32, u32)>,
    /// Refusals with `sold_out` that name neither a line of the basket nor a position.
    pub(crate) sold_out_without_facts: u64,
    /// Refusals with `sold_out` that say that there were as many units as asked.
    pub(crate) sold_out_contradicting: u64,
    /// Refusals by code, by kind of request.
    pub(crate) refusals: BTreeMap<(OpKind, &'static str), u64>,
    /// Answers by HTTP status.
    pub(crate) status: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason.
    pub(crate) losses: BTreeMap<Loss, u64>,
    /// Requests whose outcome no answer tells, to be asked again.
    pub(crate) lost: Vec<Lost>,
    /// The same beyond `lost_max`.
    pub(crate) lost_beyond: u64,
    /// Answers that the target marked as repeated.
    pub(crate) replayed: u64,
    /// Highest position of any answer.
    pub(crate) seq_max: u64,
    /// Rows that the check may keep in memory of one kind.
    pub(crate) rows_max: usize,
    /// Requests without an answer that this ledger keeps.
    pub(crate) lost_max: usize,
    /// Whether rows are kept for the truth; else answers are counted only.
    pub(crate) keeps_rows: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(ROWS_MAX)
    }
}

impl Ledger {
    /// Makes a ledger that keeps this many rows of each kind in memory.
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            told: Sorter::new(rows_max),
            payments: Sorter::new(rows_max),
            sold_out: Sorter::new(rows_max),
            tallies: HashMap::new(),
            watched: BTreeSet::new(),
            sold_out_without_facts: 0,
            sold_out_contradicting: 0,
            refusals: BTreeMap::new(),
            status: BTreeMap::new(),
            losses: BTreeMap::new(),
            lost: Vec::new(),
            lost_beyond: 0,
            replayed: 0,
            seq_max: 0,
            rows_max,
            lost_max: LOST_MAX,
            keeps_rows: true,
        }
    }

    /// Enters the outcome of a request; `after` is the latest position known when it was sent.
    ///
    /// # Errors
    ///
    /// Returns an error when rows can't be kept: the truth could not be told any more.
    pub(crate) fn enter(
        &mut self,
        planned: &Planned,
        outcome: &Outcome,
        after: u64,
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        match outcome {
            Ok(answer) => self.enter_answer(planned, answer, after, catalogue),
            Err(loss) => {
                *self.losses.entry(*loss).or_default() += 1;
                // What was never sent can't have been carried out, and a look changes nothing.
                if *loss != Loss::Unreachable && !planned.op.kind.is_read() {
                    self.enter_lost(Lost { intent: planned.intent, op: planned.op.clone() });
                }
                Ok(())
            }
        }
    }

    /// Keeps a request to be asked again.
    pub(crate) fn enter_lost(&mut self, lost: Lost) {
        if self.lost.len() < self.lost_max {
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
        catalogue: &Catalogue,
    ) -> Result<(), LoadError> {
        let op = &planned.op;
        self.seq_max = self.seq_max.max(answer.seq);
        self.replayed += u64::from(answer.replayed);
        *self.status.entry(answer.status).or_default() += 1;
        if !answer.is_success() {
            *self.refusals.entry((op.kind, answer.code)).or_default() += 1;
            if answer.leaves_open() && !op.kind.is_read() {
                // Refused for now, and carried out for all that the buyer knows.
                self.enter_lost(Lost { intent: planned.intent, op: op.clone() });
            }
            if !self.keeps_rows {
                return Ok(());
            }
            let (seq, order) = (answer.seq, op.order);
            return match (op.kind, answer.code) {
                (OpKind::Buy | OpKind::Reserve, "sold_out") => {
                    self.enter_sold_out(op, answer, after)
                }
                (OpKind::Place, "reservation_expired") => {
                    self.payments.push(Payment { seq, order, told: PaymentAnswer::Expired })
                }
                (OpKind::Place, "not_found") => {
                    self.payments.push(Payment { seq, order, told: PaymentAnswer::Unknown })
                }
                _ => Ok(()),
            };
        }
        match (op.kind, answer.order) {
            _ if !self.keeps_rows => Ok(()),
            // A port lets no receipt without its order pass.
            (OpKind::Buy | OpKind::Reserve, Some(order)) => self.told.push(Told {
                intent: planned.intent,
                order,
                body_hash: answer.body_hash,
                customer: customer_hash(&op.customer),
                total: answer.total.unwrap_or(NO_TOTAL),
                expected: catalogue.total(&op.lines).unwrap_or(NO_TOTAL),
                stated: op.lines.iter().all(|line| line.price.is_some()),
                deadline_ms: answer.deadline_ms,
                ttl_ms: if op.kind == OpKind::Reserve { op.ttl_ms } else { 0 },
                units: u32::try_from(op.units()).unwrap_or(u32::MAX),
            }),
            (OpKind::Place, _) => {
                let (seq, order) = (0, op.order);
                self.payments.push(Payment { seq, order, told: PaymentAnswer::Placed })
            }
            _ => Ok(()),
        }
    }

    fn enter_sold_out(&mut self, op: &Op, answer: &Answer, after: u64) -> Result<(), LoadError> {
        // A basket of one line needs no line number.
        let line = match (answer.line, op.lines.len()) {
            (Some(line), _) => Some(line as usize),
            (None, 1) => Some(0),
            (None, _) => None,
        };
        let named = line.and_then(|line| op.asked_with(line));
        let (Some((line, asked)), true) = (named, answer.seq > 0) else {
            self.sold_out_without_facts += 1;
            return Ok(());
        };
        if answer.found.is_some_and(|found| found >= asked) {
            // It is false by its own words; to judge it by the events would count it twice.
            self.sold_out_contradicting += 1;
            return Ok(());
        }
        let (sku, location) = (line.sku, line.location);
        let (seq, stale) = (answer.seq.max(after), answer.seq < after);
        let refusal = SoldOut { seq, stale, sku, location, asked };
        self.watched.insert((line.sku, line.location));
        if self.watched.len() > WATCHED_CELLS_MAX {
            let text = format!(
                "more than {WATCHED_CELLS_MAX} cells were sold out, the most that can be checked"
            );
            return Err(LoadError::usage(text));
        }
        let tally = self.tallies.entry(refusal).or_insert(SoldOutTally { after, count: 0 });
        tally.after = tally.after.max(after);
        tally.count += 1;
        if self.tallies.len() >= TALLY_MAX { self.write_tallies() } else { Ok(()) }
    }

    /// Takes what was counted so far: refusals by code, requests without an answer by reason,
    /// answers by status, and answers that were given again.
    pub(crate) fn take_counts(&mut self) -> LedgerCounts {
        let mut refusals = BTreeMap::new();
        for ((_, code), count) in std::mem::take(&mut self.refusals) {
            *refusals.entry(code).or_default() += count;
        }
        let losses = std::mem::take(&mut self.losses);
        (refusals, losses, std::mem::take(&mut self.status), std::mem::take(&mut self.replayed))
    }

    /// Turns tallies into rows.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be written.
    pub(crate) fn write_tallies(&mut self) -> Result<(), LoadError> {
        // The rows are sorted later, so the order of the table plays no part.
        let mut tallies = std::mem::take(&mut self.tallies).into_iter();
        tallies.try_for_each(|(refusal, tally)| self.sold_out.push(SoldOutRow(refusal, tally)))
    }

    /// Adds the ledger of another thread.
    ///
    /// # Errors
    ///
    /// Returns an error if a temporary file can't be written.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<(), LoadError> {
        other.write_tallies()?;
        self.told.append(other.told)?;
        self.payments.append(other.payments)?;
        self.sold_out.append(other.sold_out)?;
        self.watched.extend(other.watched);
        for lost in other.lost {
            self.enter_lost(lost);
        }
        self.lost_beyond += other.lost_beyond;
        self.sold_out_without_facts += other.sold_out_without_facts;
        self.sold_out_contradicting += other.sold_out_contradicting;
        for (code, count) in other.refusals {
            *self.refusals.entry(code).or_default() += count;
        }
        for (status, count) in other.status {
            *self.status.entry(status).or_default() += count;
        }
        for (loss, count) in other.losses {
            *self.losses.entry(loss).or_default() += count;
        }
        self.replayed += other.replayed;
        self.seq_max = self.seq_max.max(other.seq_max);
        Ok(())
    }

    /// Returns the bytes of memory and of disk that this ledger takes, for the report.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let tallies = self.tallies.capacity() * size_of::<(SoldOut, SoldOutTally)>();
        let lost = self.lost.capacity() * size_of::<Lost>();
        let rows =
            self.told.memory_bytes() + self.payments.memory_bytes() + self.sold_out.memory_bytes();
        let disk = self.told.disk_bytes() + self.payments.disk_bytes() + self.sold_out.disk_bytes();
        (rows + (tallies + lost) as u64, disk)
    }
}

/// Returns a number that stands for a customer's name; 0 for no name.
pub(crate) fn customer_hash(name: &str) -> u64 {
    if name.is_empty() { 0 } else { bytes_hash(name.as_bytes()).max(1) }
}

/// Returns a 64-bit hash of bytes that is the same within a run.
pub(crate) fn bytes_hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    #[expect(
        deprecated,
        reason = "the named algorithm, so that hashes don't change with the toolchain"
    )]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
