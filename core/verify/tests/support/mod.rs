//! A writer of journals for tests, made from the format's tables alone: records as plain values,
//! which a test may change before they are sealed with right CRCs, hashes and seqs.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, missing_docs, reason = "the names are the format's")]
#![allow(clippy::unwrap_used, reason = "a test that can't write its input stops")]

pub mod count;
pub mod part;
pub mod random;
pub mod shop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const BLOCK: usize = 4_096;
pub const A: u8 = 0;
pub const T: u8 = 1;
pub const R: u8 = 2;
pub const C: u8 = 3;
pub const X: u8 = 17;
pub const SUPPLIER: u8 = 32;
pub const SHIPPED: u8 = 33;
pub const ADJUST: u8 = 35;
pub const LINK: u8 = 36;
pub const MISSING: u8 = 12;
pub const CLOSED: u16 = 1;
pub const IDLE: u16 = 2;
pub const ENGINE: [u8; 16] = *b"engine-for-tests";

/// Units from one bucket to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mv {
    pub cell: u32,
    pub quantity: u32,
    pub from: u8,
    pub to: u8,
    pub line: u16,
}

/// Units of a counted cell that a line of an order loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brk {
    pub order: u128,
    pub home: u16,
    pub line: u16,
    pub units: u32,
}

/// A cell entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub cell: u32,
    pub sku: u32,
    pub location: u32,
    pub lot: u32,
    pub version: u32,
}

/// A line of a basket; the price is written if the basket is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasketLine {
    pub sku: u32,
    pub asked: u32,
    pub location: u32,
    pub unit: i64,
    pub discount: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Define {
    pub copy: bool,
    pub sku: u32,
    pub key: u128,
    pub id: u64,
    pub price: i64,
    pub group: u64,
    pub limit: u32,
    pub version: u32,
    pub currency: u16,
    pub kind: u8,
    pub code: String,
    pub components: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    pub key: u128,
    pub sku: u32,
    pub operation: u8,
    pub reason: u8,
    pub expected: u64,
    pub transfer: u128,
    pub entries: Vec<Entry>,
    pub movements: Vec<Mv>,
    pub instructions: Vec<Mv>,
    pub breaks: Vec<Brk>,
}

/// What policies had decided about a basket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    pub ask: u64,
    pub added: u16,
    pub by: [u8; 2],
    pub policies: [u16; 2],
    pub fuels: [u32; 2],
    pub inputs: [u64; 2],
    pub risk: u8,
    pub points: u16,
    pub code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub copy: bool,
    pub number: u16,
    pub version: u16,
    pub key: u128,
    pub plugin: [u8; 32],
    pub config: [u8; 32],
    pub kind: u8,
    pub step: u8,
    pub share: u16,
    pub name: String,
    pub maker: String,
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basket {
    pub reserve: bool,
    pub priced: bool,
    pub cross: bool,
    pub key: u128,
    pub customer: u64,
    pub total: i64,
    pub currency: u16,
    pub fill: u8,
    pub fill_min: u32,
    pub deadline: u64,
    pub hard: u64,
    pub asked_as_buy: bool,
    pub decided: Option<Decided>,
    pub lines: Vec<BasketLine>,
    pub movements: Vec<Mv>,
    pub instructions: Vec<Mv>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    pub kind: u8,
    pub key: u128,
    pub order: u128,
    /// Which record of the journal is the order's one before: its uid.
    pub previous: usize,
    pub version: u32,
    pub deadline: u64,
    pub time_to_live: u64,
    /// RISK only.
    pub risk: u8,
    pub lines: Vec<(u16, u32)>,
    pub movements: Vec<Mv>,
    pub instructions: Vec<Mv>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    pub order: u128,
    pub customer: u64,
    pub home: u16,
    pub movements: Vec<Mv>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub id: u128,
    pub number: u64,
    pub customer: u64,
    pub home: u16,
    pub outcome: u8,
    pub entries: Vec<Entry>,
    pub movements: Vec<Mv>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: u16,
    pub sku: u32,
    pub location: u32,
    pub asked: u64,
    pub available: u64,
    pub tentative: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Open(u16),
    Define(Define),
    Stock(Stock),
    Basket(Basket),
    FollowUp(FollowUp),
    Take(Take),
    Settle(Settle),
    Evict(u32),
    Refused(Refused),
    Policy(Policy),
}

impl Body {
    /// Every list of movements or instructions.
    pub fn lists_mut(&mut self) -> Vec<&mut Vec<Mv>> {
        match self {
            Self::Stock(r) => vec![&mut r.movements, &mut r.instructions],
            Self::Basket(r) => vec![&mut r.movements, &mut r.instructions],
            Self::FollowUp(r) => vec![&mut r.movements, &mut r.instructions],
            Self::Take(r) => vec![&mut r.movements],
            Self::Settle(r) => vec![&mut r.movements],
            Self::Open(_)
            | Self::Define(_)
            | Self::Evict(_)
            | Self::Refused(_)
            | Self::Policy(_) => vec![],
        }
    }

    /// The idempotency key, if the record has one of its own.
    pub fn key_mut(&mut self) -> Option<&mut u128> {
        match self {
            Self::Define(r) if !r.copy => Some(&mut r.key),
            Self::Policy(r) if !r.copy => Some(&mut r.key),
            Self::Stock(r) => Some(&mut r.key),
            Self::Basket(r) => Some(&mut r.key),
            Self::FollowUp(r) if !matches!(r.kind, 12 | 17) => Some(&mut r.key),
            _ => None,
        }
    }

    pub fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Define(_) => 2,
            Self::Stock(_) => 3,
            Self::Basket(r) => 4 + u8::from(r.reserve),
            Self::FollowUp(r) => r.kind,
            Self::Take(_) => 13,
            Self::Settle(_) => 14,
            Self::Evict(_) => 15,
            Self::Refused(_) => 16,
            Self::Policy(_) => 19,
        }
    }

    fn encode(&self, seq_of: &BTreeMap<usize, u64>, own_seq: u64) -> Vec<u8> {
        let mut b = vec![0, 0, self.kind(), 0];
        match self {
            Self::Open(shards) => {
                put(&mut b, &shards.to_le_bytes());
                put(&mut b, &[0; 2]);
            }
            Self::Define(r) => encode_define(&mut b, r),
            Self::Stock(r) => encode_stock(&mut b, r),
            Self::Basket(r) => encode_basket(&mut b, r),
            Self::FollowUp(r) => {
                // A record that a test removed counts as the one that stands in its place.
                let previous = seq_of.get(&r.previous).copied().unwrap_or(own_seq);
                encode_follow_up(&mut b, r, previous);
            }
            Self::Take(r) => {
                put(&mut b, &[0; 2]);
                put(&mut b, &(r.movements.len() as u16).to_le_bytes());
                put(&mut b, &r.order.to_le_bytes());
                put(&mut b, &r.customer.to_le_bytes());
                put(&mut b, &r.home.to_le_bytes());
                put(&mut b, &[0; 6]);
                moves(&mut b, &r.movements);
            }
            Self::Settle(r) => {
                put(&mut b, &(r.entries.len() as u16).to_le_bytes());
                put(&mut b, &(r.movements.len() as u16).to_le_bytes());
                put(&mut b, &r.id.to_le_bytes());
                put(&mut b, &r.number.to_le_bytes());
                put(&mut b, &r.customer.to_le_bytes());
                put(&mut b, &r.home.to_le_bytes());
                put(&mut b, &[r.outcome, 0, 0, 0, 0, 0]);
                entries(&mut b, &r.entries);
                moves(&mut b, &r.movements);
            }
            Self::Evict(orders) => put(&mut b, &orders.to_le_bytes()),
            Self::Refused(r) => encode_refused(&mut b, r, own_seq),
            Self::Policy(r) => encode_policy(&mut b, r),
        }
        let length = (b.len() as u16).to_le_bytes();
        b[..2].copy_from_slice(&length);
        b
    }
}

fn put(b: &mut Vec<u8>, bytes: &[u8]) {
    b.extend_from_slice(bytes);
}

fn moves(b: &mut Vec<u8>, list: &[Mv]) {
    for m in list {
        put(b, &m.cell.to_le_bytes());
        put(b, &m.quantity.to_le_bytes());
        put(b, &[m.from, m.to]);
        put(b, &m.line.to_le_bytes());
    }
}

fn entries(b: &mut Vec<u8>, list: &[Entry]) {
    for e in list {
        for field in [e.cell, e.sku, e.location, e.lot, e.version] {
            put(b, &field.to_le_bytes());
        }
    }
}

fn encode_define(b: &mut Vec<u8>, r: &Define) {
    b[3] = u8::from(r.copy);
    put(b, &r.sku.to_le_bytes());
    put(b, &r.key.to_le_bytes());
    put(b, &r.id.to_le_bytes());
    put(b, &r.price.to_le_bytes());
    put(b, &r.group.to_le_bytes());
    put(b, &r.limit.to_le_bytes());
    put(b, &r.version.to_le_bytes());
    put(b, &r.currency.to_le_bytes());
    put(b, &[r.kind, r.code.len() as u8]);
    put(b, &(r.components.len() as u16).to_le_bytes());
    put(b, &[0; 2]);
    put(b, r.code.as_bytes());
    for (sku, quantity) in &r.components {
        put(b, &sku.to_le_bytes());
        put(b, &quantity.to_le_bytes());
    }
}

fn encode_stock(b: &mut Vec<u8>, r: &Stock) {
    put(b, &(r.entries.len() as u16).to_le_bytes());
    put(b, &(r.movements.len() as u16).to_le_bytes());
    put(b, &r.key.to_le_bytes());
    put(b, &r.sku.to_le_bytes());
    put(b, &[r.operation, r.reason]);
    put(b, &(r.instructions.len() as u16).to_le_bytes());
    put(b, &r.expected.to_le_bytes());
    if r.operation == 6 {
        put(b, &r.transfer.to_le_bytes());
    }
    if r.operation == 8 {
        put(b, &(r.breaks.len() as u16).to_le_bytes());
        put(b, &[0; 2]);
    }
    entries(b, &r.entries);
    moves(b, &r.movements);
    moves(b, &r.instructions);
    for broken in &r.breaks {
        put(b, &broken.order.to_le_bytes());
        put(b, &broken.home.to_le_bytes());
        put(b, &broken.line.to_le_bytes());
        put(b, &broken.units.to_le_bytes());
    }
}

fn encode_basket(b: &mut Vec<u8>, r: &Basket) {
    b[3] = u8::from(r.priced) | u8::from(r.cross) << 1;
    b[3] |= u8::from(r.decided.is_some()) << 3 | u8::from(r.asked_as_buy) << 4;
    put(b, &(r.lines.len() as u16).to_le_bytes());
    put(b, &(r.movements.len() as u16).to_le_bytes());
    put(b, &r.key.to_le_bytes());
    put(b, &r.customer.to_le_bytes());
    put(b, &r.total.to_le_bytes());
    put(b, &r.currency.to_le_bytes());
    put(b, &[r.fill, 0]);
    put(b, &(r.instructions.len() as u16).to_le_bytes());
    put(b, &[0; 2]);
    if r.reserve {
        put(b, &r.deadline.to_le_bytes());
        put(b, &r.hard.to_le_bytes());
    }
    if r.fill == 1 {
        put(b, &r.fill_min.to_le_bytes());
    }
    if let Some(d) = &r.decided {
        put(b, &d.ask.to_le_bytes());
        put(b, &d.added.to_le_bytes());
        put(b, &d.by);
        d.policies.iter().for_each(|policy| put(b, &policy.to_le_bytes()));
        d.fuels.iter().for_each(|fuel| put(b, &fuel.to_le_bytes()));
        d.inputs.iter().for_each(|input| put(b, &input.to_le_bytes()));
        put(b, &[d.risk, 0]);
        put(b, &d.points.to_le_bytes());
        put(b, &d.code.to_le_bytes());
    }
    for line in &r.lines {
        for field in [line.sku, line.asked, line.location] {
            put(b, &field.to_le_bytes());
        }
        if r.priced {
            put(b, &line.unit.to_le_bytes());
            put(b, &line.discount.to_le_bytes());
        }
    }
    moves(b, &r.movements);
    moves(b, &r.instructions);
}

fn encode_follow_up(b: &mut Vec<u8>, r: &FollowUp, previous: u64) {
    put(b, &(r.lines.len() as u16).to_le_bytes());
    put(b, &(r.movements.len() as u16).to_le_bytes());
    put(b, &r.key.to_le_bytes());
    put(b, &r.order.to_le_bytes());
    put(b, &previous.to_le_bytes());
    put(b, &r.version.to_le_bytes());
    put(b, &(r.instructions.len() as u16).to_le_bytes());
    put(b, &[0; 2]);
    if r.kind == 7 {
        put(b, &r.deadline.to_le_bytes());
        put(b, &r.time_to_live.to_le_bytes());
    }
    if r.kind == 18 {
        put(b, &[r.risk, 0, 0, 0, 0, 0, 0, 0]);
    }
    for (line, quantity) in &r.lines {
        put(b, &line.to_le_bytes());
        put(b, &[0; 2]);
        put(b, &quantity.to_le_bytes());
    }
    moves(b, &r.movements);
    moves(b, &r.instructions);
}

fn encode_policy(b: &mut Vec<u8>, r: &Policy) {
    b[3] = u8::from(r.copy);
    put(b, &r.number.to_le_bytes());
    put(b, &r.version.to_le_bytes());
    put(b, &r.key.to_le_bytes());
    put(b, &r.plugin);
    put(b, &r.config);
    put(b, &[r.kind, r.step]);
    put(b, &r.share.to_le_bytes());
    put(b, &[r.name.len() as u8, r.maker.len() as u8, r.note.len() as u8, 0]);
    put(b, r.name.as_bytes());
    put(b, r.maker.as_bytes());
    put(b, r.note.as_bytes());
}

fn encode_refused(b: &mut Vec<u8>, r: &Refused, own_seq: u64) {
    put(b, &[0; 2]);
    put(b, &r.code.to_le_bytes());
    put(b, &u128::from(own_seq).to_le_bytes());
    put(b, &7_u64.to_le_bytes());
    put(b, &r.sku.to_le_bytes());
    put(b, &r.location.to_le_bytes());
    put(b, &r.asked.to_le_bytes());
    put(b, &r.available.to_le_bytes());
    put(b, &r.tentative.to_le_bytes());
}

/// A record with a number that stays with it when others come or go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    pub uid: usize,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub shard: u16,
    pub time: u64,
    pub records: Vec<Rec>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub flags: u16,
    pub sections: Vec<Section>,
}

/// A whole journal as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub segment_bytes: usize,
    pub frames: Vec<Frame>,
}

/// Place of a record: frame, section, record.
pub type At = (usize, usize, usize);

impl Journal {
    /// Places of all records, in order.
    pub fn places(&self) -> Vec<At> {
        let mut out = Vec::new();
        for (f, frame) in self.frames.iter().enumerate() {
            for (s, section) in frame.sections.iter().enumerate() {
                out.extend((0..section.records.len()).map(|r| (f, s, r)));
            }
        }
        out
    }

    pub fn at(&self, at: At) -> &Rec {
        &self.frames[at.0].sections[at.1].records[at.2]
    }

    pub fn at_mut(&mut self, at: At) -> &mut Rec {
        &mut self.frames[at.0].sections[at.1].records[at.2]
    }

    /// Payloads with their seqs, as the format says.
    pub fn payloads(&self) -> Vec<Payload> {
        let mut seq_of = BTreeMap::new();
        for (index, at) in self.places().into_iter().enumerate() {
            seq_of.entry(self.at(at).uid).or_insert(index as u64 + 1);
        }
        let mut seq = 1;
        let mut out = Vec::new();
        for frame in &self.frames {
            let first_seq = seq;
            let mut bytes = Vec::new();
            let sections = frame.sections.iter().filter(|section| !section.records.is_empty());
            let mut count = 0;
            for section in sections {
                count += 1;
                let mut records = Vec::new();
                for record in &section.records {
                    records.extend(record.body.encode(&seq_of, seq));
                    seq += 1;
                }
                put(&mut bytes, &section.shard.to_le_bytes());
                put(&mut bytes, &[0; 2]);
                put(&mut bytes, &(section.records.len() as u32).to_le_bytes());
                put(&mut bytes, &(records.len() as u32).to_le_bytes());
                put(&mut bytes, &[0; 4]);
                put(&mut bytes, &section.time.to_le_bytes());
                bytes.extend(records);
            }
            if frame.flags == 0 && count == 0 {
                continue;
            }
            let records = (seq - first_seq) as u32;
            out.push(Payload { flags: frame.flags, first_seq, records, sections: count, bytes });
        }
        out
    }

    /// Writes the segments under `dir/journal`; returns their paths.
    pub fn write(&self, dir: &Path) -> Vec<PathBuf> {
        write_payloads(&self.payloads(), self.segment_bytes, dir)
    }
}

/// One frame's payload before it is sealed.
#[derive(Clone, Debug)]
pub struct Payload {
    pub flags: u16,
    pub first_seq: u64,
    pub records: u32,
    pub sections: u16,
    pub bytes: Vec<u8>,
}

/// Seals payloads into segments; a frame that finds no room starts the next one.
pub fn write_payloads(payloads: &[Payload], segment_bytes: usize, dir: &Path) -> Vec<PathBuf> {
    let journal = dir.join("journal");
    let _ = std::fs::remove_dir_all(&journal);
    std::fs::create_dir_all(&journal).unwrap();
    let mut paths = Vec::new();
    let mut hash = [0; 32];
    let mut segment = segment_header(1, segment_bytes, 1, 1, &hash);
    for (index, payload) in payloads.iter().enumerate() {
        let epoch = index as u64 + 1;
        let frame = seal(payload, epoch, &hash);
        let padded = frame.len().next_multiple_of(BLOCK);
        assert!(padded + BLOCK <= segment_bytes, "a frame of {padded} bytes fits no segment");
        if segment.len() + padded > segment_bytes {
            paths.push(write_segment(&journal, paths.len() + 1, &segment, segment_bytes));
            let number = paths.len() as u64 + 1;
            segment = segment_header(number, segment_bytes, epoch, payload.first_seq, &hash);
        }
        hash = *blake3::hash(&frame).as_bytes();
        let start = segment.len();
        segment.extend(frame);
        segment.resize(start + padded, 0);
    }
    paths.push(write_segment(&journal, paths.len() + 1, &segment, segment_bytes));
    paths
}

fn write_segment(journal: &Path, number: usize, bytes: &[u8], segment_bytes: usize) -> PathBuf {
    let path = journal.join(format!("{number:020}.oj"));
    let mut whole = bytes.to_vec();
    whole.resize(segment_bytes, 0);
    std::fs::write(&path, whole).unwrap();
    path
}

/// Makes a segment header.
pub fn segment_header(
    number: u64,
    segment_bytes: usize,
    epoch: u64,
    seq: u64,
    hash: &[u8; 32],
) -> Vec<u8> {
    let mut b = b"ONHSEG1\0".to_vec();
    put(&mut b, &1_u32.to_le_bytes());
    put(&mut b, &(segment_bytes as u32).to_le_bytes());
    put(&mut b, &number.to_le_bytes());
    put(&mut b, &ENGINE);
    put(&mut b, &epoch.to_le_bytes());
    put(&mut b, &seq.to_le_bytes());
    put(&mut b, hash);
    let crc = crc32fast::hash(&b);
    put(&mut b, &crc.to_le_bytes());
    b.resize(BLOCK, 0);
    b
}

/// Seals one frame, without padding.
pub fn seal(payload: &Payload, epoch: u64, hash: &[u8; 32]) -> Vec<u8> {
    let mut b = b"OHJF".to_vec();
    put(&mut b, &1_u16.to_le_bytes());
    put(&mut b, &payload.flags.to_le_bytes());
    put(&mut b, &epoch.to_le_bytes());
    put(&mut b, &payload.first_seq.to_le_bytes());
    put(&mut b, &payload.records.to_le_bytes());
    put(&mut b, &payload.sections.to_le_bytes());
    put(&mut b, &[0; 2]);
    put(&mut b, &(payload.bytes.len() as u32).to_le_bytes());
    put(&mut b, &[0; 4]);
    put(&mut b, &(epoch - 1).to_le_bytes());
    put(&mut b, &ENGINE);
    put(&mut b, hash);
    put(&mut b, &[0; 32]);
    put(&mut b, &payload.bytes);
    let crc = crc32fast::hash(&b);
    b[36..40].copy_from_slice(&crc.to_le_bytes());
    b
}
