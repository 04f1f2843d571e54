//! Records of the journal as bytes; the tables stand in `docs/JOURNAL_FORMAT.md`.
//!
//! Writing builds a record at the end of a section's buffer, its lengths filled in last.
//! Reading checks bounds and codes and nothing of the domain.

use crate::decided::{
    Decided, DecidedBy, FraudDecision, PolicyDecision, PolicyNo, PolicyStep, Risk, Step,
};
use crate::domain::bucket::{Bucket, CellNo, Movement};
use crate::domain::policy::kind_of;
use crate::id::Key;

/// Kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Open = 1,
    DefineSku = 2,
    Stock = 3,
    Buy = 4,
    Reserve = 5,
    Place = 6,
    Extend = 7,
    Release = 8,
    Cancel = 9,
    Ship = 10,
    Short = 11,
    Expire = 12,
    Take = 13,
    Settle = 14,
    Evict = 15,
    Refused = 16,
    Break = 17,
    Risk = 18,
    Policy = 19,
}

impl Kind {
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::DefineSku,
            3 => Self::Stock,
            4 => Self::Buy,
            5 => Self::Reserve,
            6 => Self::Place,
            7 => Self::Extend,
            8 => Self::Release,
            9 => Self::Cancel,
            10 => Self::Ship,
            11 => Self::Short,
            12 => Self::Expire,
            13 => Self::Take,
            14 => Self::Settle,
            15 => Self::Evict,
            16 => Self::Refused,
            17 => Self::Break,
            18 => Self::Risk,
            19 => Self::Policy,
            _ => return None,
        })
    }
}

/// Flag of a SKU definition, or of a policy's step, in every shard but the first.
pub(crate) const FLAG_COPY: u8 = 1;
/// Flag of an order whose lines carry prices.
pub(crate) const FLAG_PRICED: u8 = 1;
/// Flag of an order whose units came from several shards.
pub(crate) const FLAG_CROSS: u8 = 2;
/// Flag of an order whose total the caller had stated.
pub(crate) const FLAG_TOTAL: u8 = 4;
/// Flag of an order about which policies have decided.
pub(crate) const FLAG_DECIDED: u8 = 8;
/// Flag of a reservation that was asked as a `buy`.
pub(crate) const FLAG_ASKED_AS_BUY: u8 = 16;
/// Flag of a follow-up whose version the caller had stated.
pub(crate) const FLAG_VERSION: u8 = 1;

/// Length of the decisions in an order's record.
pub(crate) const DECISIONS_BYTES: usize = 48;
/// Length of a movement or an instruction.
pub(crate) const MOVEMENT_BYTES: usize = 12;
/// Length of a break in a STOCK record.
pub(crate) const BREAK_BYTES: usize = 24;
/// Length of a cell entry.
pub(crate) const CELL_ENTRY_BYTES: usize = 20;
/// Longest record: its length has 16 bits.
pub(crate) const RECORD_BYTES_MAX: usize = u16::MAX as usize;

/// Appends integers to a record, little-endian.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_u128(&mut self, value: u128);
    fn put_movement(&mut self, movement: &Movement);
}

impl Put for Vec<u8> {
    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn put_u128(&mut self, value: u128) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn put_movement(&mut self, movement: &Movement) {
        let mut bytes = [0; MOVEMENT_BYTES];
        bytes[0..4].copy_from_slice(&movement.cell.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&movement.quantity.to_le_bytes());
        bytes[8] = movement.from as u8;
        bytes[9] = movement.to as u8;
        bytes[10..12].copy_from_slice(&movement.line.to_le_bytes());
        self.extend_from_slice(&bytes);
    }
}

/// Starts a record; returns where it starts.
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>, kind: Kind, flags: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0, 0, kind as u8, flags]);
    at
}

/// Ends the record that started at `at`: fills in its length.
///
/// # Panics
///
/// Panics if the record is too long; the limits of the domain rule that out.
#[inline]
pub(crate) fn end(out: &mut [u8], at: usize) {
    let length = out.len() - at;
    assert!(length <= RECORD_BYTES_MAX, "record of {length} bytes");
    out[at..at + 2].copy_from_slice(&(length as u16).to_le_bytes());
}

/// A record, or the rest of one, being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

/// Bytes that no record of this format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        if count > self.bytes.len() {
            return Err(Malformed);
        }
        let (head, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    #[inline]
    pub(crate) fn movement(&mut self) -> Result<Movement, Malformed> {
        Ok(Movement {
            cell: CellNo(self.u32()?),
            quantity: self.u32()?,
            from: Bucket::from_code(self.u8()?).ok_or(Malformed)?,
            to: Bucket::from_code(self.u8()?).ok_or(Malformed)?,
            line: self.u16()?,
        })
    }

    /// Reads `count` movements into a vector.
    pub(crate) fn movements(
        &mut self,
        count: u16,
        into: &mut Vec<Movement>,
    ) -> Result<(), Malformed> {
        for _ in 0..count {
            into.push(self.movement()?);
        }
        Ok(())
    }
}

/// Returns the decisions of an order as its record has them; a refused basket has no record.
pub(crate) fn decisions(decided: &Decided) -> [u8; DECISIONS_BYTES] {
    let mut bytes = [0; DECISIONS_BYTES];
    bytes[0..8].copy_from_slice(&decided.ask.to_le_bytes());
    bytes[8..10].copy_from_slice(&decided.added.to_le_bytes());
    let mut put = |by: usize, no: usize, fuel: usize, input: usize, one: &PolicyDecision| {
        bytes[by] = one.by as u8;
        bytes[no..no + 2].copy_from_slice(&one.policy.0.to_le_bytes());
        bytes[fuel..fuel + 4].copy_from_slice(&one.fuel.to_le_bytes());
        bytes[input..input + 8].copy_from_slice(&one.input.to_le_bytes());
    };
    if let Some(pricing) = &decided.pricing {
        put(10, 12, 16, 24, pricing);
    }
    if let Some(fraud) = &decided.fraud {
        put(11, 14, 20, 32, &fraud.decision);
        bytes[40] = fraud.risk as u8;
        bytes[42..44].copy_from_slice(&fraud.points.to_le_bytes());
        bytes[44..48].copy_from_slice(&fraud.code.to_le_bytes());
    }
    bytes
}

/// Returns the risk of a stored number.
pub(crate) const fn risk_of(code: u8) -> Option<Risk> {
    Some(match code {
        0 => Risk::Unscored,
        1 => Risk::Allow,
        2 => Risk::Challenge,
        3 => Risk::Review,
        4 => Risk::Deny,
        _ => return None,
    })
}

impl Reader<'_> {
    /// Reads a policy's step, from its key on.
    pub(crate) fn policy_step(&mut self) -> Result<PolicyStep, Malformed> {
        let key = Key::new(self.u128()?);
        let (plugin, config) = (self.array()?, self.array()?);
        let kind = kind_of(self.u8()?).ok_or(Malformed)?;
        let step = Step::from_number(self.u8()?).ok_or(Malformed)?;
        let share = self.u16()?;
        let (name, version, note) = (self.u8()?, self.u8()?, self.u8()?);
        self.u8()?;
        let mut text = |length: u8| {
            let text = std::str::from_utf8(self.take(length.into())?);
            text.map(str::to_owned).map_err(|_| Malformed)
        };
        let (name, version, note) = (text(name)?, text(version)?, text(note)?);
        Ok(PolicyStep { key, kind, step, name, version, plugin, config, share, note })
    }

    /// Reads the decisions of an order's record.
    pub(crate) fn decisions(&mut self) -> Result<Decided, Malformed> {
        let by = |code: u8| {
            Ok(match code {
                0 => DecidedBy::Policy,
                1 => DecidedBy::BuiltIn,
                2 => DecidedBy::FailOpen,
                _ => return Err(Malformed),
            })
        };
        let (ask, added) = (self.u64()?, self.u16()?);
        let by = [by(self.u8()?)?, by(self.u8()?)?];
        let policies = [PolicyNo(self.u16()?), PolicyNo(self.u16()?)];
        let fuels = [self.u32()?, self.u32()?];
        let inputs = [self.u64()?, self.u64()?];
        let risk = risk_of(self.u8()?).ok_or(Malformed)?;
        self.u8()?;
        let (points, code) = (self.u16()?, self.u32()?);
        let one = |at: usize| PolicyDecision {
            policy: policies[at],
            by: by[at],
            fuel: fuels[at],
            input: inputs[at],
        };
        let fraud = FraudDecision { decision: one(1), risk, points, code };
        Ok(Decided {
            ask,
            added,
            pricing: (policies[0].0 > 0).then(|| one(0)),
            fraud: (policies[1].0 > 0).then_some(fraud),
            refusal: None,
            review_ms: 0,
        })
    }
}

/// A record as it stands in a section: kind, flags, and all its bytes.
pub(crate) type Record<'a> = (Kind, u8, &'a [u8]);

/// Splits the next record off the bytes of a section; `None` at its end.
pub(crate) fn next_record<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(bytes);
    let length = usize::from(reader.u16()?);
    let kind = Kind::from_code(reader.u8()?).ok_or(Malformed)?;
    let flags = reader.u8()?;
    if length < 4 || length > bytes.len() {
        return Err(Malformed);
    }
    let (record, rest) = bytes.split_at(length);
    *bytes = rest;
    Ok(Some((kind, flags, record)))
}
