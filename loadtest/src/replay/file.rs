//! Reads a replay file, line by line: SKUs, then opening stock, then orders.
//!
//! The form is documented in `docs/LOADTEST.md` and `schema/replay-1.json`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::LoadError;
use crate::op::{AskLine, Catalogue, Op, OpKind, Price};
use crate::wire::Text;

/// Most bytes of one line.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Most lines of one basket.
pub const BASKET_LINES_MAX: usize = 512;
/// Most units of one line.
pub const QUANTITY_MAX: u32 = 1_000_000_000;
/// Most bytes of a SKU code.
const CODE_BYTES_MAX: usize = 64;
/// Most characters of a key, and bytes of a customer.
const NAME_BYTES_MAX: usize = 255;
/// Largest amount of money in minor units.
const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// One line of a replay file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Sku { code: String, amount: i64, currency: String, limit: Option<u32> },
    Stock { sku: u32, location: u32, quantity: u32 },
    Order { op: Op, at_ms: Option<u64> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryWire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    sku: Option<Text<'a>>,
    #[serde(borrow, default)]
    price: Option<MoneyWire<'a>>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    location: Option<u32>,
    #[serde(default)]
    quantity: Option<u32>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    customer: Option<Text<'a>>,
    #[serde(borrow, default)]
    lines: Option<Vec<LineWire<'a>>>,
    #[serde(default)]
    at_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyWire<'a> {
    amount: i64,
    #[serde(borrow)]
    currency: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineWire<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    quantity: u32,
    #[serde(default)]
    location: Option<u32>,
    #[serde(default)]
    price: Option<PriceWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceWire {
    unit: i64,
    #[serde(default)]
    discount: i64,
}

/// A line as it stands in the file, with its number from 1.
#[derive(Clone, Debug)]
pub(super) struct RawLine {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

/// Reads lines without ever holding more than one.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(|e| {
            LoadError::input(format!("replay file {} can't be opened: {e}", path.display()))
        })?;
        let reader = BufReader::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), reader, number: 0 })
    }

    /// Returns the next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<RawLine>, LoadError> {
        loop {
            let mut bytes = Vec::new();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
            self.number += 1;
            let read = limited.read_until(b'\n', &mut bytes);
            match read {
                Err(e) => return Err(self.wrong(self.number, &format!("it can't be read: {e}"))),
                Ok(0) => return Ok(None),
                Ok(_) => (),
            }
            if bytes.len() > LINE_BYTES_MAX {
                let text = format!("it is longer than {LINE_BYTES_MAX} bytes");
                return Err(self.wrong(self.number, &text));
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(RawLine { number: self.number, bytes }));
            }
        }
    }

    fn wrong(&self, number: u64, what: &str) -> LoadError {
        wrong(&self.path, number, what)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn wrong(path: &Path, number: u64, what: &str) -> LoadError {
    LoadError::input(format!("{}, line {number}: {what}", path.display()))
}

/// Reads and checks one line; the text of an error says what is wrong and what is allowed.
pub(super) fn parse(bytes: &[u8], catalogue: &Catalogue) -> Result<Entry, String> {
    let wire: EntryWire<'_> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    match wire.kind.as_ref() {
        "sku" => parse_sku(&wire),
        "stock" => parse_stock(&wire, catalogue),
        "order" => parse_order(&wire, catalogue),
        other => Err(format!("type is {other:?}, want \"sku\", \"stock\" or \"order\"")),
    }
}

/// Refuses a member that belongs to another type of line.
fn refuse(present: bool, member: &str, kind: &str) -> Result<(), String> {
    if present {
        Err(format!("{member} has no meaning in a line of type {kind:?}"))
    } else {
        Ok(())
    }
}

fn need<T>(value: Option<T>, member: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("{member} is missing"))
}

fn within(value: u32, member: &str, min: u32, max: u32) -> Result<u32, String> {
    let text = || format!("{member} is {value}, outside {min}..={max}");
    if (min..=max).contains(&value) { Ok(value) } else { Err(text()) }
}

fn refuse_order_members(wire: &EntryWire<'_>, kind: &str) -> Result<(), String> {
    refuse(wire.key.is_some(), "key", kind)?;
    refuse(wire.customer.is_some(), "customer", kind)?;
    refuse(wire.lines.is_some(), "lines", kind)?;
    refuse(wire.at_ms.is_some(), "at_ms", kind)
}

fn parse_sku(wire: &EntryWire<'_>) -> Result<Entry, String> {
    refuse_order_members(wire, "sku")?;
    refuse(wire.location.is_some(), "location", "sku")?;
    refuse(wire.quantity.is_some(), "quantity", "sku")?;
    let code = need(wire.sku.as_deref(), "sku")?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    if code.is_empty() || code.len() > CODE_BYTES_MAX || !code.bytes().all(allowed) {
        let want = "want 1 to 64 characters of A-Z a-z 0-9 _ . : -";
        return Err(format!("sku is {code:?}, {want}"));
    }
    let price = need(wire.price.as_ref(), "price")?;
    if !(0..=AMOUNT_MAX).contains(&price.amount) {
        return Err(format!("price.amount is {}, outside 0..={AMOUNT_MAX}", price.amount));
    }
    let letters =
        price.currency.len() == 3 && price.currency.bytes().all(|b| b.is_ascii_alphanumeric());
    if !letters {
        return Err(format!("price.currency is {:?}, want a code such as EUR", price.currency));
    }
    if let Some(limit) = wire.limit {
        within(limit, "limit", 1, QUANTITY_MAX)?;
    }
    let (code, currency) = (code.to_owned(), price.currency.clone().into_owned());
    Ok(Entry::Sku { code, amount: price.amount, currency, limit: wire.limit })
}

fn find(code: &str, catalogue: &Catalogue) -> Result<u32, String> {
    let unknown = || format!("sku is {code:?}, which no earlier line of type \"sku\" defines");
    catalogue.find(code).ok_or_else(unknown)
}

fn parse_stock(wire: &EntryWire<'_>, catalogue: &Catalogue) -> Result<Entry, String> {
    refuse_order_members(wire, "stock")?;
    refuse(wire.price.is_some(), "price", "stock")?;
    refuse(wire.limit.is_some(), "limit", "stock")?;
    let sku = find(need(wire.sku.as_deref(), "sku")?, catalogue)?;
    let location = within(need(wire.location, "location")?, "location", 1, u32::MAX)?;
    let quantity = within(need(wire.quantity, "quantity")?, "quantity", 1, QUANTITY_MAX)?;
    Ok(Entry::Stock { sku, location, quantity })
}

fn parse_order(wire: &EntryWire<'_>, catalogue: &Catalogue) -> Result<Entry, String> {
    refuse(wire.sku.is_some(), "sku", "order")?;
    refuse(wire.price.is_some(), "price", "order")?;
    refuse(wire.limit.is_some(), "limit", "order")?;
    refuse(wire.location.is_some(), "location", "order")?;
    refuse(wire.quantity.is_some(), "quantity", "order")?;
    let key = need(wire.key.as_deref(), "key")?;
    let visible = key.bytes().all(|b| b.is_ascii_graphic());
    if key.is_empty() || key.len() > NAME_BYTES_MAX || !visible {
        return Err(format!("key is {key:?}, want 1 to {NAME_BYTES_MAX} visible ASCII characters"));
    }
    let customer = wire.customer.as_deref().unwrap_or_default();
    if wire.customer.is_some() && (customer.is_empty() || customer.len() > NAME_BYTES_MAX) {
        return Err(format!("customer has {} bytes, outside 1..={NAME_BYTES_MAX}", customer.len()));
    }
    let lines = need(wire.lines.as_deref(), "lines")?;
    if lines.is_empty() || lines.len() > BASKET_LINES_MAX {
        return Err(format!("lines has {} entries, outside 1..={BASKET_LINES_MAX}", lines.len()));
    }
    let parsed = lines.iter().enumerate().map(|(at, line)| {
        parse_line(line, catalogue).map_err(|what| format!("lines[{at}]: {what}"))
    });
    let parsed: Vec<AskLine> = parsed.collect::<Result<_, String>>()?;
    let priced = parsed.iter().filter(|line| line.price.is_some()).count();
    if priced != 0 && priced != parsed.len() {
        return Err(format!("{priced} of {} lines carry a price, want all or none", parsed.len()));
    }
    let op = Op {
        kind: OpKind::Buy,
        key: key.to_owned(),
        customer: customer.to_owned(),
        lines: parsed,
        ttl_ms: 0,
        order: 0,
    };
    Ok(Entry::Order { op, at_ms: wire.at_ms })
}

fn parse_line(line: &LineWire<'_>, catalogue: &Catalogue) -> Result<AskLine, String> {
    let sku = find(&line.sku, catalogue)?;
    let quantity = within(line.quantity, "quantity", 1, QUANTITY_MAX)?;
    let location = match line.location {
        Some(location) => within(location, "location", 1, u32::MAX)?,
        None => 0,
    };
    let price = match &line.price {
        None => None,
        Some(PriceWire { unit, discount }) => {
            let unit_ok = (0..=AMOUNT_MAX).contains(unit);
            if !unit_ok {
                return Err(format!("price.unit is {unit}, outside 0..={AMOUNT_MAX}"));
            }
            let whole = i128::from(*unit) * i128::from(quantity);
            if *discount < 0 || i128::from(*discount) > whole {
                return Err(format!("price.discount is {discount}, outside 0..={whole}"));
            }
            Some(Price { unit: *unit, discount: *discount })
        }
    };
    Ok(AskLine { sku, quantity, location, price })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::RunSku;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.add(RunSku { code: "a".into(), limit: None, price: 1, put_in: 0 });
        catalogue
    }

    fn read(text: &str) -> Result<Entry, String> {
        parse(text.as_bytes(), &catalogue())
    }

    /// Each type of line is read with all its members.
    #[test]
    fn lines_are_read() {
        let sku = r#"{"type":"sku","sku":"b","price":{"amount":5,"currency":"EUR"},"limit":3}"#;
        let (code, currency) = ("b".into(), "EUR".into());
        assert_eq!(read(sku), Ok(Entry::Sku { code, amount: 5, currency, limit: Some(3) }));
        let stock = r#"{"type":"stock","sku":"a","location":4294967295,"quantity":1000000000}"#;
        let entry = Entry::Stock { sku: 0, location: u32::MAX, quantity: QUANTITY_MAX };
        assert_eq!(read(stock), Ok(entry));
        let order = r#"{"type":"order","key":"k","customer":"c","at_ms":9,"lines":[
            {"sku":"a","quantity":2,"location":7,"price":{"unit":10,"discount":20}}]}"#;
        let Ok(Entry::Order { op, at_ms: Some(9) }) = read(order) else {
            panic!("{:?}", read(order))
        };
        let price = Some(Price { unit: 10, discount: 20 });
        assert_eq!(op.lines, [AskLine { sku: 0, quantity: 2, location: 7, price }]);
        assert_eq!((op.key.as_str(), op.customer.as_str(), op.kind), ("k", "c", OpKind::Buy));
    }

    /// What is outside the schema is refused with member, value and range.
    #[test]
    fn malformed_lines_are_refused() {
        let refused = |text: &str, why: &str| {
            let error = read(text).err().unwrap_or_else(|| panic!("{text} was accepted"));
            assert!(error.contains(why), "{text}: {error}");
        };
        let order = |lines: &str| format!(r#"{{"type":"order","key":"k","lines":[{lines}]}}"#);
        refused("", "EOF");
        refused("[]", "invalid length");
        refused("\u{0}", "expected value");
        refused(r#"{"sku":"a"}"#, "missing field `type`");
        refused(r#"{"type":"price"}"#, "want \"sku\", \"stock\" or \"order\"");
        refused(r#"{"type":"sku","sku":"b","colour":1}"#, "unknown field `colour`");
        refused(r#"{"type":"sku","sku":"b","quantity":1}"#, "quantity has no meaning");
        refused(r#"{"type":"sku","sku":"b"}"#, "price is missing");
        refused(r#"{"type":"sku","sku":"","price":{"amount":1,"currency":"EUR"}}"#, "1 to 64");
        refused(
            r#"{"type":"sku","sku":"b","price":{"amount":-1,"currency":"EUR"}}"#,
            "amount is -1",
        );
        refused(r#"{"type":"sku","sku":"b","price":{"amount":1.5,"currency":"EUR"}}"#, "1.5");
        refused(r#"{"type":"sku","sku":"b","price":{"amount":1,"currency":"E"}}"#, "such as EUR");
        refused(r#"{"type":"stock","sku":"z","location":1,"quantity":1}"#, "no earlier line");
        refused(r#"{"type":"stock","sku":"a","location":0,"quantity":1}"#, "location is 0");
        refused(r#"{"type":"stock","sku":"a","quantity":1}"#, "location is missing");
        refused(r#"{"type":"stock","sku":"a","location":1,"quantity":1000000001}"#, "outside 1..=");
        refused(r#"{"type":"stock","sku":"a","location":1,"quantity":-1}"#, "-1");
        refused(r#"{"type":"order","lines":[]}"#, "key is missing");
        refused(r#"{"type":"order","key":"a b","lines":[]}"#, "visible ASCII");
        refused(r#"{"type":"order","key":"k","customer":"","lines":[]}"#, "customer has 0 bytes");
        refused(&order(""), "lines has 0 entries, outside 1..=512");
        refused(&order(r#"{"sku":"z","quantity":1}"#), "lines[0]: sku is \"z\"");
        refused(&order(r#"{"sku":"a","quantity":0}"#), "lines[0]: quantity is 0, outside 1..=");
        let priced = |price: &str| order(&format!(r#"{{"sku":"a","quantity":2,"price":{price}}}"#));
        refused(&priced(r#"{"unit":-1}"#), "price.unit is -1");
        refused(&priced(r#"{"unit":5,"discount":11}"#), "price.discount is 11, outside 0..=10");
        refused(
            &order(r#"{"sku":"a","quantity":1},{"sku":"a","quantity":1,"price":{"unit":1}}"#),
            "1 of 2 lines carry a price, want all or none",
        );
    }
}
