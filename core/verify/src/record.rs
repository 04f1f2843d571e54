//! Records of the journal: lengths, reserved bytes and ranges, before any meaning.

use crate::bucket::Bucket;
use crate::bytes::{all_zero, i64_at, u16_at, u32_at, u64_at, u128_at};
use crate::decisions::{CANARY, DECISIONS_BYTES, Decisions};
use crate::failure::{Check, broken, demand};

/// Most units in one movement, line or component.
pub(crate) const QUANTITY_MAX: u32 = 1_000_000_000;
/// Most lines of a basket.
pub(crate) const LINES_MAX: usize = 512;
/// Index that stands for a cell which the peer chooses.
pub(crate) const CELL_ANY: u32 = 0x00FF_FFFF;
/// Names of the record kinds; the index is the kind.
pub(crate) const KIND_NAMES: [&str; 20] = [
    "",
    "OPEN",
    "DEFINE_SKU",
    "STOCK",
    "BUY",
    "RESERVE",
    "PLACE",
    "EXTEND",
    "RELEASE",
    "CANCEL",
    "SHIP",
    "SHORT",
    "EXPIRE",
    "TAKE",
    "SETTLE",
    "EVICT",
    "REFUSED",
    "BREAK",
    "RISK",
    "POLICY",
];

pub(crate) const OPEN: u8 = 1;
pub(crate) const DEFINE_SKU: u8 = 2;
pub(crate) const STOCK: u8 = 3;
pub(crate) const BUY: u8 = 4;
pub(crate) const RESERVE: u8 = 5;
pub(crate) const PLACE: u8 = 6;
pub(crate) const EXTEND: u8 = 7;
pub(crate) const RELEASE: u8 = 8;
pub(crate) const CANCEL: u8 = 9;
pub(crate) const SHIP: u8 = 10;
pub(crate) const SHORT: u8 = 11;
pub(crate) const EXPIRE: u8 = 12;
pub(crate) const TAKE: u8 = 13;
pub(crate) const SETTLE: u8 = 14;
pub(crate) const EVICT: u8 = 15;
pub(crate) const REFUSED: u8 = 16;
pub(crate) const BREAK: u8 = 17;
pub(crate) const RISK: u8 = 18;
pub(crate) const POLICY: u8 = 19;

/// Units that go from one bucket to another in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) cell: u32,
    pub(crate) quantity: u32,
    pub(crate) from: Bucket,
    pub(crate) to: Bucket,
    pub(crate) line: u16,
}

impl Movement {
    fn read(bytes: &[u8]) -> Check<Self> {
        let (from, to) = (bytes[8], bytes[9]);
        let (Some(from), Some(to)) = (Bucket::from_code(from), Bucket::from_code(to)) else {
            return Err(broken("I13", format!("movement has bucket codes {from} to {to}")));
        };
        let quantity = u32_at(bytes, 4);
        demand!(
            (1..=QUANTITY_MAX).contains(&quantity),
            "I13",
            "movement's quantity is {quantity}, outside 1..={QUANTITY_MAX}"
        );
        Ok(Self { cell: u32_at(bytes, 0), quantity, from, to, line: u16_at(bytes, 10) })
    }

    /// Returns the shard of the cell.
    pub(crate) const fn shard(&self) -> u16 {
        (self.cell >> 24) as u16
    }

    /// Returns the words for a report: `5 units A to C of cell 0:3`.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} units {} to {} of cell {}:{} for line {}",
            self.quantity,
            self.from.name(),
            self.to.name(),
            self.cell >> 24,
            self.cell & CELL_ANY,
            self.line
        )
    }
}

/// Movements or instructions of a record, 12 bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Movements<'a>(&'a [u8]);

impl Movements<'_> {
    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len() / 12
    }

    /// Reads each with its checks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Check<Movement>> {
        self.0.chunks_exact(12).map(Movement::read)
    }
}

/// A cell that a record touches, with its new version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellEntry {
    pub(crate) cell: u32,
    pub(crate) sku: u32,
    pub(crate) location: u32,
    pub(crate) lot: u32,
    pub(crate) version: u32,
}

/// Cell entries of a record, 20 bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellEntries<'a>(&'a [u8]);

impl CellEntries<'_> {
    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len() / 20
    }

    /// Reads each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CellEntry> {
        self.0.chunks_exact(20).map(|bytes| CellEntry {
            cell: u32_at(bytes, 0),
            sku: u32_at(bytes, 4),
            location: u32_at(bytes, 8),
            lot: u32_at(bytes, 12),
            version: u32_at(bytes, 16),
        })
    }
}

/// `DEFINE_SKU`.
#[derive(Debug)]
pub(crate) struct Define<'a> {
    pub(crate) copy: bool,
    pub(crate) sku: u32,
    pub(crate) key: u128,
    pub(crate) id: u64,
    pub(crate) price: i64,
    pub(crate) group: u64,
    pub(crate) limit: u32,
    pub(crate) version: u32,
    pub(crate) currency: u16,
    pub(crate) kind: u8,
    pub(crate) code: &'a [u8],
    pub(crate) components: &'a [u8],
}

/// Kind number of a kit.
pub(crate) const KIT: u8 = 5;
/// Kind of a SKU whose units are uses of a coupon.
pub(crate) const COUPON: u8 = 3;

/// Operations of STOCK.
pub(crate) const ADJUST: u8 = 2;
pub(crate) const QUARANTINE: u8 = 3;
pub(crate) const UNQUARANTINE: u8 = 4;
pub(crate) const TRANSFER_OUT: u8 = 5;
pub(crate) const TRANSFER_IN: u8 = 6;
pub(crate) const IMPORT: u8 = 7;
pub(crate) const COUNT: u8 = 8;

/// A promise that a count breaks: units of the counted cell that a line of an order loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) order: u128,
    pub(crate) home: u16,
    pub(crate) line: u16,
    pub(crate) units: u32,
}

/// Breaks of a STOCK record, 24 bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaks<'a>(&'a [u8]);

impl Breaks<'_> {
    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len() / 24
    }

    /// Reads each with its checks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Check<Broken>> {
        self.0.chunks_exact(24).map(|bytes| {
            let units = u32_at(bytes, 20);
            demand!(
                (1..=QUANTITY_MAX).contains(&units),
                "I13",
                "units of a break are {units}, outside 1..={QUANTITY_MAX}"
            );
            Ok(Broken {
                order: u128_at(bytes, 0),
                home: u16_at(bytes, 16),
                line: u16_at(bytes, 18),
                units,
            })
        })
    }
}

/// `STOCK`.
#[derive(Debug)]
pub(crate) struct StockRecord<'a> {
    pub(crate) key: u128,
    pub(crate) sku: u32,
    pub(crate) operation: u8,
    pub(crate) reason: u8,
    /// Adjust: available units expected; count: units fit for sale expected; transfer out: the
    /// destination location.
    pub(crate) expected: u64,
    /// Transfer in: key of the transfer-out record; else 0.
    pub(crate) transfer: u128,
    pub(crate) entries: CellEntries<'a>,
    pub(crate) movements: Movements<'a>,
    pub(crate) instructions: Movements<'a>,
    /// Count only: the promises that it breaks.
    pub(crate) breaks: Breaks<'a>,
}

/// `BUY` or `RESERVE`.
#[derive(Debug)]
pub(crate) struct Basket<'a> {
    pub(crate) reserve: bool,
    pub(crate) priced: bool,
    pub(crate) cross: bool,
    pub(crate) key: u128,
    pub(crate) customer: u64,
    pub(crate) total: i64,
    pub(crate) currency: u16,
    pub(crate) fill: u8,
    pub(crate) fill_min: u32,
    pub(crate) deadline: u64,
    pub(crate) hard_deadline: u64,
    /// Whether a RESERVE was asked as a buy.
    pub(crate) asked_as_buy: bool,
    pub(crate) decisions: Option<Decisions>,
    lines: &'a [u8],
    pub(crate) movements: Movements<'a>,
    pub(crate) instructions: Movements<'a>,
}

/// `POLICY`.
#[derive(Debug)]
pub(crate) struct Policy<'a> {
    pub(crate) copy: bool,
    pub(crate) number: u16,
    pub(crate) version: u16,
    pub(crate) key: u128,
    pub(crate) kind: u8,
    /// Hashes of plugin and configuration.
    pub(crate) identity: &'a [u8],
}

/// One line of a basket as recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BasketLine {
    pub(crate) sku: u32,
    pub(crate) asked: u32,
    pub(crate) location: u32,
    pub(crate) unit_price: i64,
    pub(crate) discount: i64,
}

impl Basket<'_> {
    /// Reads each line; price and discount are 0 without flag bit 0.
    pub(crate) fn lines(&self) -> impl Iterator<Item = BasketLine> {
        let priced = self.priced;
        self.lines.chunks_exact(if priced { 28 } else { 12 }).map(move |bytes| BasketLine {
            sku: u32_at(bytes, 0),
            asked: u32_at(bytes, 4),
            location: u32_at(bytes, 8),
            unit_price: if priced { i64_at(bytes, 12) } else { 0 },
            discount: if priced { i64_at(bytes, 20) } else { 0 },
        })
    }
}

/// `PLACE` to `EXPIRE`, `BREAK` and `RISK`.
#[derive(Debug)]
pub(crate) struct FollowUp<'a> {
    pub(crate) kind: u8,
    pub(crate) key: u128,
    pub(crate) order: u128,
    pub(crate) previous_seq: u64,
    pub(crate) version: u32,
    pub(crate) deadline: u64,
    /// EXTEND: milliseconds asked.
    pub(crate) time_to_live: u64,
    /// RISK: what was found, 1 to 4; else 0.
    pub(crate) risk: u8,
    lines: &'a [u8],
    pub(crate) movements: Movements<'a>,
    pub(crate) instructions: Movements<'a>,
}

impl FollowUp<'_> {
    /// Reads each line entry: line and quantity.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u16, u32)> {
        self.lines.chunks_exact(8).map(|bytes| (u16_at(bytes, 0), u32_at(bytes, 4)))
    }
}

/// `TAKE`.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    pub(crate) order: u128,
    pub(crate) customer: u64,
    pub(crate) home: u16,
    pub(crate) movements: Movements<'a>,
}

/// `SETTLE`.
#[derive(Debug)]
pub(crate) struct Settle<'a> {
    pub(crate) id: u128,
    pub(crate) number: u64,
    /// Customer of the order; 0 for a transfer.
    pub(crate) customer: u64,
    pub(crate) home: u16,
    pub(crate) carried_out: bool,
    pub(crate) entries: CellEntries<'a>,
    pub(crate) movements: Movements<'a>,
}

/// `REFUSED`.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) sku: u32,
    pub(crate) location: u32,
    pub(crate) asked: u64,
    pub(crate) available: u64,
    pub(crate) tentative: u64,
}

/// One record, its lengths and reserved bytes checked.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Open { shards: u16 },
    Define(Define<'a>),
    Stock(StockRecord<'a>),
    Basket(Basket<'a>),
    FollowUp(FollowUp<'a>),
    Take(Take<'a>),
    Settle(Settle<'a>),
    Evict { orders: u32 },
    Refused(Refused),
    Policy(Policy<'a>),
}

/// Cuts the variable part of a record into its lists, in order.
struct Cutter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cutter<'a> {
    fn cut(&mut self, count: usize, each: usize) -> Check<&'a [u8]> {
        let end = self.at + count * each;
        demand!(
            end <= self.bytes.len(),
            "I13",
            "record is {} bytes long, its counts demand at least {end}",
            self.bytes.len()
        );
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn end(self) -> Check {
        demand!(
            self.at == self.bytes.len(),
            "I13",
            "record is {} bytes long, its counts demand {}",
            self.bytes.len(),
            self.at
        );
        Ok(())
    }
}

fn at_least(bytes: &[u8], length: usize) -> Check {
    demand!(
        bytes.len() >= length,
        "I13",
        "{} record is {} bytes long, at least {length} are needed",
        name(bytes[2]),
        bytes.len()
    );
    Ok(())
}

fn zero(bytes: &[u8], from: usize, to: usize) -> Check {
    demand!(
        all_zero(&bytes[from..to]),
        "I13",
        "reserved bytes {from} to {} of a {} record are not zero",
        to - 1,
        name(bytes[2])
    );
    Ok(())
}

/// Returns the name of a record kind.
pub(crate) fn name(kind: u8) -> &'static str {
    KIND_NAMES.get(kind as usize).copied().filter(|name| !name.is_empty()).unwrap_or("unknown")
}

impl<'a> Record<'a> {
    /// Reads one record; `bytes` is exactly the record, at least its prefix.
    pub(crate) fn read(bytes: &'a [u8]) -> Check<Self> {
        let (kind, flags) = (bytes[2], bytes[3]);
        let flags_known = match kind {
            PLACE => 5,
            DEFINE_SKU | EXTEND..=EXPIRE | POLICY => 1,
            BUY => 15,
            RESERVE => 31,
            _ => 0,
        };
        demand!(
            flags & !flags_known == 0,
            "I13",
            "flags of a {} record are {flags:#x}, known bits are {flags_known:#x}",
            name(kind)
        );
        match kind {
            OPEN => Self::read_open(bytes),
            DEFINE_SKU => Self::read_define(bytes),
            STOCK => Self::read_stock(bytes),
            BUY | RESERVE => Self::read_basket(bytes),
            PLACE..=EXPIRE | BREAK | RISK => Self::read_follow_up(bytes),
            TAKE => Self::read_take(bytes),
            SETTLE => Self::read_settle(bytes),
            EVICT => Self::read_evict(bytes),
            REFUSED => Self::read_refused(bytes),
            POLICY => Self::read_policy(bytes),
            _ => Err(broken("I13", format!("record kind is {kind}, outside 1..=19"))),
        }
    }

    fn read_open(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 8)?;
        zero(bytes, 6, 8)?;
        Cutter { bytes, at: 8 }.end()?;
        let shards = u16_at(bytes, 4);
        demand!(
            (1..=256).contains(&shards),
            "I13",
            "number of shards is {shards}, outside 1..=256"
        );
        Ok(Self::Open { shards })
    }

    fn read_define(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 64)?;
        zero(bytes, 62, 64)?;
        let mut rest = Cutter { bytes, at: 64 };
        let code = rest.cut(bytes[59] as usize, 1)?;
        let components = rest.cut(u16_at(bytes, 60) as usize, 8)?;
        rest.end()?;
        let (price, kind) = (i64_at(bytes, 32), bytes[58]);
        demand!(price >= 0, "I13", "price of a SKU is {price} minor units, below 0");
        demand!(kind <= KIT, "I13", "kind of a SKU is {kind}, outside 0..=5");
        demand!(!code.is_empty() && code.is_ascii(), "I13", "code of a SKU is empty or not ASCII");
        Ok(Self::Define(Define {
            copy: bytes[3] & 1 != 0,
            sku: u32_at(bytes, 4),
            key: u128_at(bytes, 8),
            id: u64_at(bytes, 24),
            price,
            group: u64_at(bytes, 40),
            limit: u32_at(bytes, 48),
            version: u32_at(bytes, 52),
            currency: u16_at(bytes, 56),
            kind,
            code,
            components,
        }))
    }

    fn read_stock(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 40)?;
        let mut rest = Cutter { bytes, at: 40 };
        let transfer = rest.cut(usize::from(bytes[28] == TRANSFER_IN), 16)?;
        let transfer = if transfer.is_empty() { 0 } else { u128_at(transfer, 0) };
        let counted = rest.cut(usize::from(bytes[28] == COUNT), 4)?;
        let broken = if counted.is_empty() { 0 } else { u16_at(counted, 0) };
        demand!(
            counted.is_empty() || u16_at(counted, 2) == 0,
            "I13",
            "reserved bytes 42 to 43 of a count are not zero"
        );
        let entries = CellEntries(rest.cut(u16_at(bytes, 4) as usize, 20)?);
        let movements = Movements(rest.cut(u16_at(bytes, 6) as usize, 12)?);
        let instructions = Movements(rest.cut(u16_at(bytes, 30) as usize, 12)?);
        let breaks = Breaks(rest.cut(broken as usize, 24)?);
        rest.end()?;
        let (operation, reason) = (bytes[28], bytes[29]);
        demand!(
            (1..=8).contains(&operation),
            "I13",
            "operation of a STOCK record is {operation}, outside 1..=8"
        );
        let set_aside = operation == 3 || operation == 4;
        demand!(
            if set_aside { (8..=12).contains(&reason) } else { reason == 0 },
            "I13",
            "reason of a STOCK record is {reason} for operation {operation}"
        );
        let expected = u64_at(bytes, 32);
        let fits = match operation {
            ADJUST | COUNT => true,
            TRANSFER_OUT => expected != 0 && u32::try_from(expected).is_ok(),
            _ => expected == 0,
        };
        demand!(fits, "I13", "bytes 32 to 39 of STOCK operation {operation} are {expected}");
        Ok(Self::Stock(StockRecord {
            key: u128_at(bytes, 8),
            sku: u32_at(bytes, 24),
            operation,
            reason,
            expected,
            transfer,
            entries,
            movements,
            instructions,
            breaks,
        }))
    }

    fn read_basket(bytes: &'a [u8]) -> Check<Self> {
        let reserve = bytes[2] == RESERVE;
        let fixed = if reserve { 64 } else { 48 };
        at_least(bytes, fixed)?;
        zero(bytes, 43, 44)?;
        zero(bytes, 46, 48)?;
        let fill = bytes[42];
        demand!(fill <= 2, "I13", "fill policy is {fill}, outside 0..=2");
        let priced = bytes[3] & 1 != 0;
        let line_count = u16_at(bytes, 4) as usize;
        demand!(
            (1..=LINES_MAX).contains(&line_count),
            "I13",
            "basket has {line_count} lines, outside 1..={LINES_MAX}"
        );
        let mut rest = Cutter { bytes, at: fixed };
        let least = rest.cut(usize::from(fill == 1), 4)?;
        let decided = rest.cut(usize::from(bytes[3] & 8 != 0), DECISIONS_BYTES)?;
        let decisions =
            if decided.is_empty() { None } else { Some(Decisions::read(decided, line_count)?) };
        let lines = rest.cut(line_count, if priced { 28 } else { 12 })?;
        let movements = Movements(rest.cut(u16_at(bytes, 6) as usize, 12)?);
        let instructions = Movements(rest.cut(u16_at(bytes, 44) as usize, 12)?);
        rest.end()?;
        let fill_min = if fill == 1 { u32_at(least, 0) } else { 0 };
        demand!(fill != 1 || fill_min > 0, "I13", "fill policy min(k) has k 0, below 1");
        Ok(Self::Basket(Basket {
            reserve,
            priced,
            cross: bytes[3] & 2 != 0,
            key: u128_at(bytes, 8),
            customer: u64_at(bytes, 24),
            total: i64_at(bytes, 32),
            currency: u16_at(bytes, 40),
            fill,
            fill_min,
            deadline: if reserve { u64_at(bytes, 48) } else { 0 },
            hard_deadline: if reserve { u64_at(bytes, 56) } else { 0 },
            asked_as_buy: bytes[3] & 16 != 0,
            decisions,
            lines,
            movements,
            instructions,
        }))
    }

    fn read_follow_up(bytes: &'a [u8]) -> Check<Self> {
        let kind = bytes[2];
        let fixed = match kind {
            EXTEND => 72,
            RISK => 64,
            _ => 56,
        };
        at_least(bytes, fixed)?;
        let risk = if kind == RISK { bytes[56] } else { 0 };
        if kind == RISK {
            zero(bytes, 57, 64)?;
            demand!(
                (1..=4).contains(&risk),
                "I13",
                "risk of a RISK record is {risk}, outside 1..=4"
            );
        }
        let mut rest = Cutter { bytes, at: fixed };
        let lines = rest.cut(u16_at(bytes, 4) as usize, 8)?;
        let movements = Movements(rest.cut(u16_at(bytes, 6) as usize, 12)?);
        let instructions = Movements(rest.cut(u16_at(bytes, 52) as usize, 12)?);
        rest.end()?;
        for entry in lines.chunks_exact(8) {
            let quantity = u32_at(entry, 4);
            demand!(u16_at(entry, 2) == 0, "I13", "reserved bytes of a line entry are not zero");
            demand!(
                (1..=QUANTITY_MAX).contains(&quantity),
                "I13",
                "quantity of a line entry is {quantity}, outside 1..={QUANTITY_MAX}"
            );
        }
        Ok(Self::FollowUp(FollowUp {
            kind,
            key: u128_at(bytes, 8),
            order: u128_at(bytes, 24),
            previous_seq: u64_at(bytes, 40),
            version: u32_at(bytes, 48),
            deadline: if kind == EXTEND { u64_at(bytes, 56) } else { 0 },
            time_to_live: if kind == EXTEND { u64_at(bytes, 64) } else { 0 },
            risk,
            lines,
            movements,
            instructions,
        }))
    }

    fn read_policy(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 96)?;
        zero(bytes, 95, 96)?;
        let mut rest = Cutter { bytes, at: 96 };
        let name = rest.cut(bytes[92] as usize, 1)?;
        let version = rest.cut(bytes[93] as usize, 1)?;
        let note = rest.cut(bytes[94] as usize, 1)?;
        rest.end()?;
        let (kind, step, share) = (bytes[88], bytes[89], u16_at(bytes, 90));
        demand!((1..=3).contains(&kind), "I13", "kind of a policy is {kind}, outside 1..=3");
        demand!((1..=11).contains(&step), "I13", "step of a policy is {step}, outside 1..=11");
        let most = if step == CANARY { 10_000 } else { 0 };
        demand!(
            share <= most && (share > 0) == (step == CANARY),
            "I13",
            "share of a policy's step {step} is {share}, at most {most}"
        );
        let named = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(byte)
        };
        demand!(
            (1..=64).contains(&name.len()) && name.iter().all(named),
            "I13",
            "name of a policy has {} bytes, outside 1..=64, or one that is not allowed",
            name.len()
        );
        demand!(
            version.len() <= 32 && version.iter().chain(note).all(|b| (32..=126).contains(b)),
            "I13",
            "version of a policy has {} bytes, above 32, or it or the note is not printable",
            version.len()
        );
        Ok(Self::Policy(Policy {
            copy: bytes[3] & 1 != 0,
            number: u16_at(bytes, 4),
            version: u16_at(bytes, 6),
            key: u128_at(bytes, 8),
            kind,
            identity: &bytes[24..88],
        }))
    }

    fn read_take(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 40)?;
        zero(bytes, 4, 6)?;
        zero(bytes, 34, 40)?;
        let mut rest = Cutter { bytes, at: 40 };
        let movements = Movements(rest.cut(u16_at(bytes, 6) as usize, 12)?);
        rest.end()?;
        Ok(Self::Take(Take {
            order: u128_at(bytes, 8),
            customer: u64_at(bytes, 24),
            home: u16_at(bytes, 32),
            movements,
        }))
    }

    fn read_settle(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 48)?;
        zero(bytes, 43, 48)?;
        let mut rest = Cutter { bytes, at: 48 };
        let entries = CellEntries(rest.cut(u16_at(bytes, 4) as usize, 20)?);
        let movements = Movements(rest.cut(u16_at(bytes, 6) as usize, 12)?);
        rest.end()?;
        let (number, outcome) = (u64_at(bytes, 24), bytes[42]);
        demand!(outcome <= 1, "I13", "outcome of a SETTLE record is {outcome}, outside 0..=1");
        demand!(
            (outcome == 0) == (number == 0),
            "I13",
            "settle number is {number} for outcome {outcome}"
        );
        Ok(Self::Settle(Settle {
            id: u128_at(bytes, 8),
            number,
            customer: u64_at(bytes, 32),
            home: u16_at(bytes, 40),
            carried_out: outcome == 1,
            entries,
            movements,
        }))
    }

    fn read_evict(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 8)?;
        Cutter { bytes, at: 8 }.end()?;
        Ok(Self::Evict { orders: u32_at(bytes, 4) })
    }

    fn read_refused(bytes: &'a [u8]) -> Check<Self> {
        at_least(bytes, 64)?;
        Cutter { bytes, at: 64 }.end()?;
        Ok(Self::Refused(Refused {
            code: u16_at(bytes, 6),
            sku: u32_at(bytes, 32),
            location: u32_at(bytes, 36),
            asked: u64_at(bytes, 40),
            available: u64_at(bytes, 48),
            tentative: u64_at(bytes, 56),
        }))
    }

    /// Reads every movement, instruction and line entry for its range alone.
    pub(crate) fn check_ranges(&self) -> Check {
        let (first, second) = match self {
            Self::Stock(record) => (Some(record.movements), Some(record.instructions)),
            Self::Basket(record) => (Some(record.movements), Some(record.instructions)),
            Self::FollowUp(record) => (Some(record.movements), Some(record.instructions)),
            Self::Take(record) => (Some(record.movements), None),
            Self::Settle(record) => (Some(record.movements), None),
            Self::Open { .. }
            | Self::Define(_)
            | Self::Evict { .. }
            | Self::Refused(_)
            | Self::Policy(_) => (None, None),
        };
        for list in [first, second].into_iter().flatten() {
            list.iter().try_for_each(|movement| movement.map(|_| ()))?;
        }
        if let Self::Stock(record) = self {
            record.breaks.iter().try_for_each(|broken| broken.map(|_| ()))?;
        }
        Ok(())
    }
}
