//! What a verification found when all was well, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bucket::Bucket;
use crate::catalog::Sku;
use crate::chain::{End, TornTail};
use crate::record::{BUY, KIND_NAMES, PLACE, RESERVE};
use crate::state::State;

/// How many records of one kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindCount {
    /// Name of the record kind, as in the format.
    pub kind: &'static str,
    /// Records of it.
    pub count: u64,
}

/// Units of one SKU at the journal's end; kits have none of their own and are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkuReport {
    /// Code of the SKU.
    pub code: String,
    /// Id of the SKU.
    pub id: u64,
    /// Units received, imports included.
    pub received: u64,
    /// Units that counts added.
    pub adjusted_in: u64,
    /// Units that counts took off.
    pub adjusted_out: u64,
    /// Units shipped to buyers.
    pub shipped: u64,
    /// Units written off.
    pub written_off: u64,
    /// Units on hand: available, tentative, reserved, committed and set aside.
    pub on_hand_end: u64,
    /// Units available.
    pub available_end: u64,
    /// Lowest number of available units since the first came in; `None` if none ever did.
    pub min_available: Option<u64>,
    /// Units in reservations.
    pub reserved_end: u64,
    /// Units promised to placed orders and not shipped.
    pub committed_end: u64,
    /// Units sold: committed and shipped.
    pub sold: u64,
    /// Units set aside.
    pub unavailable_end: u64,
    /// Units in transit, those between two cells of a transfer included.
    pub in_transit_end: u64,
}

impl SkuReport {
    fn new(sku: &Sku) -> Self {
        let totals = &sku.totals;
        let units = |bucket: Bucket| totals.units[bucket as usize];
        Self {
            code: sku.code.clone(),
            id: sku.id,
            received: totals.received,
            adjusted_in: totals.adjusted_in,
            adjusted_out: totals.adjusted_out,
            shipped: totals.shipped,
            written_off: totals.written_off,
            on_hand_end: totals.on_hand,
            available_end: units(Bucket::Available),
            min_available: totals.available_min,
            reserved_end: units(Bucket::Reserved),
            committed_end: units(Bucket::Committed),
            sold: units(Bucket::Committed) + totals.shipped,
            unavailable_end: totals.units[Bucket::Damaged as usize..=Bucket::Missing as usize]
                .iter()
                .sum(),
            in_transit_end: units(Bucket::Transit) + totals.link,
        }
    }

    fn fields(&self) -> [(&'static str, Option<u64>); 13] {
        [
            ("received", Some(self.received)),
            ("adjusted_in", Some(self.adjusted_in)),
            ("adjusted_out", Some(self.adjusted_out)),
            ("shipped", Some(self.shipped)),
            ("written_off", Some(self.written_off)),
            ("on_hand_end", Some(self.on_hand_end)),
            ("available_end", Some(self.available_end)),
            ("min_available", self.min_available),
            ("reserved_end", Some(self.reserved_end)),
            ("committed_end", Some(self.committed_end)),
            ("sold", Some(self.sold)),
            ("unavailable_end", Some(self.unavailable_end)),
            ("in_transit_end", Some(self.in_transit_end)),
        ]
    }
}

/// What the walk over the files found.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) first_seq: u64,
    pub(crate) end: End,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

/// What a verification found in a journal that breaks no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Whether balances and orders were checked; `false` if the journal's first segments are
    /// gone, so that only its shape could be.
    pub complete: bool,
    /// Frames read.
    pub frames: u64,
    /// Records read.
    pub records: u64,
    /// Seq of the first record.
    pub first_seq: u64,
    /// Seq of the last record; one less than the first if there is none.
    pub last_seq: u64,
    /// Epoch of the last frame.
    pub last_epoch: u64,
    /// Segments present.
    pub segments: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// An unfinished end, if there is one; nothing in it was acknowledged.
    pub torn_tail: Option<TornTail>,
    /// Whether the last frame says that the engine closed cleanly.
    pub clean_close: bool,
    /// Shards of the engine.
    pub shards: u16,
    /// Records by kind, in the order of the format, without those that are absent.
    pub kinds: Vec<KindCount>,
    /// SKUs in the order of their definition, without kits.
    pub skus: Vec<SkuReport>,
    /// Orders placed, by BUY, PLACE or a RISK that allowed what was asked as a buy.
    pub orders_placed: u64,
    /// Reservations made.
    pub reservations: u64,
    /// Orders of which something is reserved or committed at the end.
    pub orders_live: u64,
    /// Idempotency keys compared.
    pub keys: u64,
    /// Instructions between shards that are open at the end.
    pub open_instructions: u64,
    /// Tentative units at the end.
    pub tentative_end: u64,
    /// Refusals `sold_out` whose numbers were checked against the records.
    pub refusals_checked: u64,
    /// Time that the verification took.
    pub elapsed: Duration,
}

impl Report {
    /// Puts a report together; `state` is absent if only the shape was checked.
    pub(crate) fn new(structure: Structure, state: Option<&State>) -> Self {
        let Structure { first_seq, end, segments, bytes, elapsed } = structure;
        let kind = |kind: u8| state.map_or(0, |state| state.kinds[kind as usize]);
        let kinds = state.map_or(Vec::new(), |state| {
            let named = KIND_NAMES.iter().zip(state.kinds);
            let counts = named.map(|(kind, count)| KindCount { kind, count });
            counts.filter(|kind| kind.count > 0).collect()
        });
        let skus = state.map_or(Vec::new(), |state| {
            let stocked = state.catalog.skus.iter().filter(|sku| !sku.is_kit());
            stocked.map(SkuReport::new).collect()
        });
        Self {
            complete: state.is_some(),
            frames: end.frames,
            records: end.next_seq - first_seq,
            first_seq,
            last_seq: end.next_seq - 1,
            last_epoch: end.epoch,
            segments,
            bytes,
            torn_tail: end.torn_tail,
            clean_close: end.clean_close,
            shards: state.map_or(0, |state| state.shards),
            kinds,
            skus,
            orders_placed: kind(BUY) + kind(PLACE) + state.map_or(0, |state| state.allowed),
            reservations: kind(RESERVE),
            orders_live: state.map_or(0, |state| state.orders.live.len() as u64),
            keys: state.map_or(0, |state| state.keys.count),
            open_instructions: state.map_or(0, |state| state.in_flight.open as u64),
            tentative_end: state.map_or(0, |state| state.stock.tentative),
            refusals_checked: state.map_or(0, |state| state.refusals_checked),
            elapsed,
        }
    }

    /// Returns the report as text with at most `skus_max` rows of SKUs: those with the fewest
    /// available units first.
    pub fn text(&self, skus_max: usize) -> String {
        let mut out = String::new();
        self.write_summary(&mut out);
        self.write_skus(&mut out, skus_max);
        out
    }

    fn write_summary(&self, out: &mut String) {
        let verdict = if self.complete {
            "content: every rule holds at every record"
        } else {
            "shape only: the chain and every record's shape are sound; balances are unknown"
        };
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.records as f64 / seconds.max(1e-9);
        let mut line = |name: &str, text: String| {
            // Writing to a string can't fail.
            let _ = writeln!(out, "{name:<20} {text}");
        };
        line("verdict", verdict.to_owned());
        line(
            "journal",
            format!("{} segments, {} bytes, {} frames", self.segments, self.bytes, self.frames),
        );
        line("records", format!("{}, seq {} to {}", self.records, self.first_seq, self.last_seq));
        line("end", self.end_words());
        if self.complete {
            line("shards", self.shards.to_string());
            let kinds: Vec<String> =
                self.kinds.iter().map(|kind| format!("{} {}", kind.kind, kind.count)).collect();
            line("kinds", kinds.join(", "));
            line(
                "orders",
                format!(
                    "{} placed, {} reservations, {} live at the end",
                    self.orders_placed, self.reservations, self.orders_live
                ),
            );
            line(
                "in flight",
                format!(
                    "{} tentative units, {} open instructions",
                    self.tentative_end, self.open_instructions
                ),
            );
            line("keys", format!("{}, each once", self.keys));
            line("sold-out refusals", format!("{} checked, none false", self.refusals_checked));
        }
        line("time", format!("{seconds:.3} s, {rate:.0} records/s"));
    }

    fn end_words(&self) -> String {
        match &self.torn_tail {
            Some(torn) => format!(
                "torn tail in {} at byte {}: {}; nothing from seq {} on was acknowledged",
                torn.file.display(),
                torn.offset,
                torn.reason,
                torn.next_seq
            ),
            None if self.clean_close => "closed cleanly".to_owned(),
            None => "whole, not closed".to_owned(),
        }
    }

    fn write_skus(&self, out: &mut String, skus_max: usize) {
        let mut shown: Vec<&SkuReport> = self.skus.iter().collect();
        shown.sort_by_key(|sku| sku.min_available.unwrap_or(u64::MAX));
        shown.truncate(skus_max);
        if shown.is_empty() {
            return;
        }
        let header = [
            "sku",
            "received",
            "sold",
            "shipped",
            "reserved",
            "on hand",
            "available",
            "min avail.",
        ];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(shown.iter().map(|sku| {
            [
                sku.code.clone(),
                sku.received.to_string(),
                sku.sold.to_string(),
                sku.shipped.to_string(),
                sku.reserved_end.to_string(),
                sku.on_hand_end.to_string(),
                sku.available_end.to_string(),
                sku.min_available.map_or_else(|| "-".to_owned(), |min| min.to_string()),
            ]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        out.push('\n');
        for row in &rows {
            let _ = write!(out, "{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(out, "  {cell:>width$}");
            }
            out.push('\n');
        }
        if self.skus.len() > shown.len() {
            let _ = writeln!(out, "and {} more SKUs", self.skus.len() - shown.len());
        }
    }

    /// Returns the report as one JSON object; ids are strings, so that no reader rounds them.
    pub fn json(&self) -> String {
        let mut out = String::from("{\"verdict\":\"content\"");
        let _ = write!(out, ",\"complete\":{}", self.complete);
        let numbers = [
            ("frames", self.frames),
            ("records", self.records),
            ("first_seq", self.first_seq),
            ("last_seq", self.last_seq),
            ("last_epoch", self.last_epoch),
            ("segments", self.segments),
            ("bytes", self.bytes),
            ("shards", u64::from(self.shards)),
            ("orders_placed", self.orders_placed),
            ("reservations", self.reservations),
            ("orders_live", self.orders_live),
            ("keys", self.keys),
            ("open_instructions", self.open_instructions),
            ("tentative_end", self.tentative_end),
            ("refusals_checked", self.refusals_checked),
            ("elapsed_ms", self.elapsed.as_millis() as u64),
        ];
        for (name, value) in numbers {
            let _ = write!(out, ",\"{name}\":{value}");
        }
        let _ = write!(out, ",\"clean_close\":{},\"torn_tail\":", self.clean_close);
        match &self.torn_tail {
            None => out.push_str("null"),
            Some(torn) => {
                out.push_str("{\"file\":");
                json_string(&mut out, &torn.file.to_string_lossy());
                let _ = write!(out, ",\"offset\":{},\"next_seq\":{}", torn.offset, torn.next_seq);
                out.push_str(",\"reason\":");
                json_string(&mut out, &torn.reason);
                out.push('}');
            }
        }
        out.push_str(",\"kinds\":{");
        for (at, kind) in self.kinds.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{}\":{}", kind.kind, kind.count);
        }
        out.push_str("},\"skus\":[");
        for (at, sku) in self.skus.iter().enumerate() {
            out.push_str(if at == 0 { "{\"code\":" } else { ",{\"code\":" });
            json_string(&mut out, &sku.code);
            let _ = write!(out, ",\"id\":\"{:016x}\"", sku.id);
            for (name, value) in sku.fields() {
                match value {
                    Some(value) => _ = write!(out, ",\"{name}\":{value}"),
                    None => _ = write!(out, ",\"{name}\":null"),
                }
            }
            out.push('}');
        }
        out.push_str("]}");
        out
    }
}

/// Writes a JSON string with its quotes.
pub(crate) fn json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if (control as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
