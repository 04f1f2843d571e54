//! What coordinator and workers say to each other, and how rows and histograms travel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::{FRAME_BYTES_MAX, Kind, Out};
use crate::drive::Driven;
use crate::error::LoadError;
use crate::ledger::{Ledger, Lost, Payment, SoldOutRow, Told};
use crate::meter::{Group, Interval, KindTimes, SecondCounts, Times};
use crate::op::{Loss, OpKind, known_code};
use crate::results::run::MachineFacts;
use crate::spill::{Row, RowReader, RowWriter, Sorter};

/// Bytes of rows that travel together.
const ROWS_BYTES: usize = 1 << 20;
/// Lost requests of one message.
const LOST_AT_ONCE: usize = 1_000;
/// Bytes of one bucket: its time and its count.
const BUCKET_BYTES: usize = 16;
/// Bytes before the buckets of a group.
const GROUP_HEAD_BYTES: usize = 16;
/// Most roles, operations or reasons that a message may count.
const COUNTS_MAX: usize = 4_096;

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromWorker {
    /// Who is there.
    Hello { protocol: u32, version: String, nonce: String },
    /// Why it won't work.
    Refused { why: String },
    /// That it knows the token as well.
    Welcome { proof: String },
    /// A question for the coordinator's clock.
    Ping,
    /// What it found about the clocks, and its machine.
    Clock { round_trip_ns: u64, offset_ns: i64, machine: MachineFacts },
    /// That it waits for the start.
    Ready,
    /// How far it is.
    Progress(Progress),
    /// The counts of a second whose groups were told before.
    Second { second: u64, counts: SecondCounts },
    /// Requests without an answer.
    Lost(Vec<Lost>),
    /// What it counted; the last that it says.
    End(Box<End>),
    /// Why it can't go on.
    Failed { why: String, usage: bool },
}

/// What a coordinator says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromCoordinator {
    /// Who is there, and that it knows the token.
    Hello { protocol: u32, version: String, nonce: String, proof: String },
    /// Its clocks: since its start, and since 1970.
    Pong { since_ns: u64, wall_ns: u64 },
    /// What is to be done.
    Job(Box<Job>),
    /// When the load starts, by its clock.
    Start { at_ns: u64 },
    /// That the load ends early.
    Stop,
    /// That it has everything.
    Bye,
}

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    /// The scenario as it was written.
    pub(super) scenario: String,
    /// Its name.
    pub(super) name: String,
    /// The one rate that replaces its stages, where one does.
    pub(super) steady: Option<Steady>,
    /// Its hash: both sides must have understood the same.
    pub(super) hash: String,
    pub(super) seed: u64,
    /// Prefix of SKU codes and keys.
    pub(super) run: String,
    /// Address of the host.
    pub(super) url: String,
    /// Share of the users.
    pub(super) index: u64,
    pub(super) count: u64,
    /// Connections of all workers together.
    pub(super) connections: usize,
    /// Threads of each worker.
    pub(super) threads: usize,
    /// Position before the first event of the run.
    pub(super) after: u64,
    /// Whether what the buyers are told is kept for the truth.
    pub(super) truth: bool,
}

/// A crowd at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steady {
    /// Users a second.
    pub(crate) rate: f64,
    /// Start that is not measured.
    pub(crate) warm_up: Duration,
    /// Part that is measured.
    pub(crate) measured: Duration,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) users: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
}

/// What a worker counted over the whole load.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) progress: Progress,
    pub(super) elapsed_ns: u64,
    pub(super) left: u64,
    pub(super) threads: usize,
    pub(super) saturated: u64,
    pub(super) unverified: bool,
    pub(super) late: u64,
    pub(super) backlogged: u64,
    pub(super) reconnects: u64,
    pub(super) renewals: u64,
    pub(super) cpu: Option<f64>,
    pub(super) came_by: Vec<u64>,
    pub(super) orders_by: Vec<u64>,
    refusals: Vec<(OpKind, String, u64)>,
    status: BTreeMap<u16, u64>,
    losses: Vec<(Loss, u64)>,
    lost_beyond: u64,
    replayed: u64,
    seq_max: u64,
    sold_out_without_facts: u64,
    sold_out_contradicting: u64,
}

impl End {
    /// Takes the counts of a drive.
    pub(super) fn of(driven: &Driven, progress: Progress, left: u64) -> Self {
        let ledger = &driven.ledger;
        let refusals = ledger.refusals.iter();
        Self {
            progress,
            elapsed_ns: driven.elapsed.as_nanos() as u64,
            left: left + driven.never_let_in,
            threads: driven.threads,
            saturated: driven.saturated,
            unverified: false,
            late: driven.meter.late,
            backlogged: driven.meter.backlogged,
            reconnects: driven.reconnects,
            renewals: driven.renewals,
            cpu: driven.generator_cpu,
            came_by: driven.came_by.clone(),
            orders_by: driven.orders_by.clone(),
            refusals: refusals.map(|((op, code), n)| (*op, (*code).to_owned(), *n)).collect(),
            status: ledger.status.clone(),
            losses: ledger.losses.iter().map(|(loss, n)| (*loss, *n)).collect(),
            lost_beyond: ledger.lost_beyond,
            replayed: ledger.replayed,
            seq_max: ledger.seq_max,
            sold_out_without_facts: ledger.sold_out_without_facts,
            sold_out_contradicting: ledger.sold_out_contradicting,
        }
    }

    /// Returns whether there are no more counts than any run has.
    pub(super) fn is_plausible(&self) -> bool {
        let counts = [
            self.came_by.len(),
            self.orders_by.len(),
            self.refusals.len(),
            self.status.len(),
            self.losses.len(),
        ];
        counts.iter().all(|count| *count <= COUNTS_MAX)
    }

    /// Adds the counts of the ledger.
    pub(super) fn add_to(&self, ledger: &mut Ledger) {
        for (op, code, count) in &self.refusals {
            *ledger.refusals.entry((*op, known_code(code))).or_default() += count;
        }
        for (status, count) in &self.status {
            *ledger.status.entry(*status).or_default() += count;
        }
        for (loss, count) in &self.losses {
            *ledger.losses.entry(*loss).or_default() += count;
        }
        ledger.lost_beyond += self.lost_beyond;
        ledger.replayed += self.replayed;
        ledger.seq_max = ledger.seq_max.max(self.seq_max);
        ledger.sold_out_without_facts += self.sold_out_without_facts;
        ledger.sold_out_contradicting += self.sold_out_contradicting;
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn put_buckets(times: &Times, out: &mut Vec<u8>) -> u32 {
    let before = out.len();
    for (nanos, count) in times.buckets() {
        out.extend_from_slice(&nanos.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
    }
    ((out.len() - before) / BUCKET_BYTES) as u32
}

fn take_buckets(bytes: &[u8]) -> io::Result<Times> {
    if !bytes.len().is_multiple_of(BUCKET_BYTES) {
        return Err(wrong("a histogram that ends within a bucket"));
    }
    let mut times = Times::default();
    let mut reader = RowReader::new(bytes);
    for _ in 0..bytes.len() / BUCKET_BYTES {
        let (nanos, count) = (reader.u64(), reader.u64());
        times.record_many(nanos, count);
    }
    Ok(times)
}

/// Sends the groups and the counts of a second.
pub(super) fn send_second(out: &mut Out, interval: &Interval) -> io::Result<()> {
    for (group, times) in &interval.groups {
        let mut bytes = Vec::with_capacity(1 << 12);
        bytes.extend_from_slice(&interval.second.to_le_bytes());
        let op = OpKind::ALL.iter().position(|op| *op == group.op).unwrap_or(0);
        bytes.extend_from_slice(&[group.stage, group.actor, op as u8, group.accepted.into()]);
        bytes.extend_from_slice(&[0; 4]);
        let intended = put_buckets(&times.intended, &mut bytes);
        bytes[GROUP_HEAD_BYTES - 4..GROUP_HEAD_BYTES].copy_from_slice(&intended.to_le_bytes());
        put_buckets(&times.service, &mut bytes);
        out.frame(Kind::Group, &bytes)?;
    }
    let (second, counts) = (interval.second, interval.counts);
    out.message(&FromWorker::Second { second, counts })
}

/// Reads a group with the second that it belongs to.
pub(super) fn read_group(bytes: &[u8]) -> io::Result<(u64, Group, KindTimes)> {
    if bytes.len() < GROUP_HEAD_BYTES {
        return Err(wrong("a group without its head"));
    }
    let (head, buckets) = bytes.split_at(GROUP_HEAD_BYTES);
    let mut reader = RowReader::new(head);
    let second = reader.u64();
    let (stage, actor, op, accepted) = (reader.u8(), reader.u8(), reader.u8(), reader.u8() != 0);
    let op = *OpKind::ALL.get(usize::from(op)).ok_or_else(|| wrong("an unknown operation"))?;
    let intended = reader.u32() as usize * BUCKET_BYTES;
    let (intended, service) =
        buckets.split_at_checked(intended).ok_or_else(|| wrong("a group that is cut off"))?;
    let (intended, service) = (take_buckets(intended)?, take_buckets(service)?);
    Ok((second, Group { stage, actor, op, accepted }, KindTimes { intended, service }))
}

/// Sends the times of a kind over the whole load.
pub(super) fn send_times(out: &mut Out, kind: Kind, times: &Times) -> io::Result<()> {
    let mut bytes = Vec::new();
    put_buckets(times, &mut bytes);
    out.frame(kind, &bytes)
}

pub(super) fn read_times(bytes: &[u8]) -> io::Result<Times> {
    take_buckets(bytes)
}

fn send_rows<T: Row>(out: &mut Out, kind: Kind, rows: Sorter<T>) -> Result<(), LoadError> {
    let gone = |e: io::Error| LoadError::target(format!("the coordinator is gone: {e}"));
    let mut rows = rows.sorted()?;
    let mut bytes = Vec::with_capacity(ROWS_BYTES);
    while let Some(row) = rows.next()? {
        row.write(&mut RowWriter::new(&mut bytes));
        if bytes.len() + T::BYTES > ROWS_BYTES {
            out.frame(kind, &bytes).map_err(gone)?;
            bytes.clear();
        }
    }
    if bytes.is_empty() { Ok(()) } else { out.frame(kind, &bytes).map_err(gone) }
}

fn read_rows<T: Row>(bytes: &[u8], into: &mut Sorter<T>) -> Result<(), LoadError> {
    let rows = bytes.chunks_exact(T::BYTES);
    if !rows.remainder().is_empty() {
        return Err(LoadError::target("rows that end within a row"));
    }
    let mut rows = rows;
    rows.try_for_each(|row| into.push(T::read(&mut RowReader::new(row))))
}

const _: () = assert!(ROWS_BYTES <= FRAME_BYTES_MAX);

/// Sends all that the buyers were told.
pub(super) fn send_ledger(out: &mut Out, mut ledger: Ledger) -> Result<(), LoadError> {
    let gone = |e: io::Error| LoadError::target(format!("the coordinator is gone: {e}"));
    ledger.write_tallies()?;
    send_rows(out, Kind::Told, ledger.told)?;
    send_rows(out, Kind::Payments, ledger.payments)?;
    send_rows(out, Kind::SoldOut, ledger.sold_out)?;
    let cells: Vec<(u32, u32)> = ledger.watched.into_iter().collect();
    for cells in cells.chunks(ROWS_BYTES / 8) {
        let pair = |(sku, location): &(u32, u32)| [sku.to_le_bytes(), location.to_le_bytes()];
        let bytes: Vec<u8> = cells.iter().flat_map(pair).flatten().collect();
        out.frame(Kind::Watched, &bytes).map_err(gone)?;
    }
    let mut lost = ledger.lost.into_iter().peekable();
    while lost.peek().is_some() {
        let some = lost.by_ref().take(LOST_AT_ONCE).collect();
        out.message(&FromWorker::Lost(some)).map_err(gone)?;
    }
    Ok(())
}

/// Sends the ranks of the first orders.
pub(super) fn send_ranks(out: &mut Out, ranks: &[(u64, u64)]) -> io::Result<()> {
    for ranks in ranks.chunks(ROWS_BYTES / 16) {
        let pair = |(due, seq): &(u64, u64)| [due.to_le_bytes(), seq.to_le_bytes()];
        let bytes: Vec<u8> = ranks.iter().flat_map(pair).flatten().collect();
        out.frame(Kind::Ranks, &bytes)?;
    }
    Ok(())
}

pub(super) fn read_ranks(bytes: &[u8]) -> io::Result<Vec<(u64, u64)>> {
    if !bytes.len().is_multiple_of(16) {
        return Err(wrong("ranks that end within one"));
    }
    let mut reader = RowReader::new(bytes);
    Ok((0..bytes.len() / 16).map(|_| (reader.u64(), reader.u64())).collect())
}

/// Takes in a frame of rows.
pub(super) fn read_ledger(kind: Kind, bytes: &[u8], into: &mut Ledger) -> Result<(), LoadError> {
    match kind {
        Kind::Told => read_rows::<Told>(bytes, &mut into.told),
        Kind::Payments => read_rows::<Payment>(bytes, &mut into.payments),
        Kind::SoldOut => read_rows::<SoldOutRow>(bytes, &mut into.sold_out),
        _ => read_cells(bytes, &mut into.watched),
    }
}

fn read_cells(bytes: &[u8], into: &mut BTreeSet<(u32, u32)>) -> Result<(), LoadError> {
    if !bytes.len().is_multiple_of(8) {
        return Err(LoadError::target("cells that end within one"));
    }
    let mut reader = RowReader::new(bytes);
    into.extend((0..bytes.len() / 8).map(|_| (reader.u32(), reader.u32())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_bytes() -> Vec<u8> {
        let mut bytes = 7_u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[1, 2, 0, 1, 1, 0, 0, 0]);
        for number in [1_500_u64, 3, 2_500, 4] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// A group is read as it was sent; each way in which it can be damaged is told.
    #[test]
    fn a_damaged_group_is_refused() {
        let bytes = group_bytes();
        let (second, group, times) = read_group(&bytes).expect("a group");
        assert_eq!((second, group.stage, group.actor, group.op), (7, 1, 2, OpKind::Buy));
        assert_eq!(times.intended.summary().count, 3);
        assert_eq!(times.service.summary().count, 4);
        let check = |bytes: &[u8], wanted: &str| {
            let error = read_group(bytes).map(|_| ()).expect_err("it is damaged").to_string();
            assert_eq!(error, wanted);
        };
        check(&bytes[..15], "a group without its head");
        check(&bytes[..31], "a group that is cut off");
        check(&bytes[..40], "a histogram that ends within a bucket");
        let mut unknown = bytes.clone();
        unknown[10] = 99;
        check(&unknown, "an unknown operation");
        assert!(read_ranks(&[0; 15]).is_err());
    }

    /// Histograms survive the way bucket by bucket.
    #[test]
    fn histograms_survive_the_way() {
        let mut times = Times::default();
        for micros in 1..5_000_u64 {
            times.record(Duration::from_micros(micros * micros));
        }
        let mut bytes = Vec::new();
        put_buckets(&times, &mut bytes);
        let read = take_buckets(&bytes).expect("a histogram");
        assert_eq!(read.summary(), times.summary());
        assert_eq!(read.buckets().collect::<Vec<_>>(), times.buckets().collect::<Vec<_>>());
    }

    /// Rows that end within one are refused, whole ones are taken.
    #[test]
    fn damaged_rows_are_refused() {
        let mut ledger = Ledger::new(8);
        read_ledger(Kind::Told, &[0; Told::BYTES * 2], &mut ledger).expect("two rows");
        assert_eq!(ledger.told.count(), 2);
        for (kind, bytes) in [(Kind::Told, 75), (Kind::Payments, 26), (Kind::Watched, 9)] {
            assert!(read_ledger(kind, &vec![0; bytes], &mut ledger).is_err(), "{kind:?}");
        }
        read_ledger(Kind::Watched, &[1; 16], &mut ledger).expect("a cell, twice");
        assert_eq!(ledger.watched.len(), 1);
    }
}
