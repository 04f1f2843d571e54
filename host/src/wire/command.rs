//! Bodies to commands: each operation's members, types and ranges.
//!
//! Ranges that need no state are checked here, with the pointer of the value; everything else is
//! the engine's.

use onhand_core::limits::{HARD_CAP_MS_MAX, IMPORT_LINES_MAX, LINES_MAX, TTL_MS_MAX};
use onhand_core::{
    Adjust, Buy, Cancel, Command, Count, Currency, CustomerId, DefineSku, Extend, Fill, ImportLine,
    Key, Line, LinePrice, LineQuantity, Lines, LocationId, LotId, Money, OrderId,
    Place as PlaceOrder, Placement, Quantity, Quarantine, Reason, Receive, RecordRisk, Release,
    Reserve, Risk, Ship, Short, SkuId, SkuKind, TransferIn, TransferOut,
    limits::KIT_COMPONENTS_MAX,
};

use super::ask::Said;
use super::field::{self, Members, Place, shorten};
use super::json::Node;
use crate::problem::Problem;

/// Longest customer text in bytes.
const CUSTOMER_BYTES_MAX: usize = 255;

/// Longest idempotency key in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// How often a reservation may be extended by its own time to live, where no cap is asked.
const HARD_CAP_TTLS: u64 = 4;

/// Largest integer that every JSON reader keeps exact.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Members of a purchase.
const BUY: &[&str] =
    &["customer", "lines", "fill", "expected_total", "coupons", "buyer", "quote_token"];

/// Members of a reservation.
const RESERVE: &[&str] = &[
    "customer",
    "lines",
    "fill",
    "expected_total",
    "ttl_ms",
    "hard_cap_ms",
    "coupons",
    "buyer",
    "quote_token",
];

/// Members of a request for a quote.
const QUOTE: &[&str] = &["customer", "lines", "coupons", "buyer"];

/// What a body asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Define,
    Receive,
    Adjust,
    Count,
    Quarantine,
    Unquarantine,
    TransferOut,
    TransferIn,
    Reserve,
    Buy,
    Place,
    Extend,
    Release,
    Cancel,
    Ship,
    Short,
    Risk,
}

/// The operations of a batch by name.
pub(crate) const OPS: &[(&str, Op)] = &[
    ("define", Op::Define),
    ("receive", Op::Receive),
    ("adjust", Op::Adjust),
    ("count", Op::Count),
    ("quarantine", Op::Quarantine),
    ("unquarantine", Op::Unquarantine),
    ("transfer_out", Op::TransferOut),
    ("transfer_in", Op::TransferIn),
    ("reserve", Op::Reserve),
    ("buy", Op::Buy),
    ("place", Op::Place),
    ("extend", Op::Extend),
    ("release", Op::Release),
    ("cancel", Op::Cancel),
    ("ship", Op::Ship),
    ("short", Op::Short),
    ("risk", Op::Risk),
];

/// The types of a stock movement by name.
pub(crate) const MOVEMENTS: &[(&str, Op)] = &[
    ("receive", Op::Receive),
    ("adjust", Op::Adjust),
    ("count", Op::Count),
    ("quarantine", Op::Quarantine),
    ("unquarantine", Op::Unquarantine),
    ("transfer_out", Op::TransferOut),
    ("transfer_in", Op::TransferIn),
];

/// What names the thing that a command is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'t> {
    /// A member of the body: `order` or `sku`.
    Body,
    /// An order in the path.
    Order(OrderId),
    /// A SKU code in the path.
    Sku(&'t str),
}

/// A command, and what else its body says of a basket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) command: Command,
    /// Nothing for a command that is no basket.
    pub(crate) said: Said,
}

impl From<Command> for Decoded {
    fn from(command: Command) -> Self {
        Self { command, said: Said::default() }
    }
}

/// Reads the command that a body asks for.
pub(crate) fn decode(
    op: Op,
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Decoded, Problem> {
    match op {
        Op::Reserve => reserve(key, node, place),
        Op::Buy => buy(key, node, place),
        _ => plain(op, key, target, node, place).map(Decoded::from),
    }
}

/// Reads a command that is no basket.
fn plain(
    op: Op,
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Command, Problem> {
    match op {
        Op::Define => define(key, target, node, place),
        Op::Receive | Op::Adjust | Op::Count | Op::Quarantine | Op::Unquarantine => {
            stock(op, key, node, place)
        }
        Op::TransferOut | Op::TransferIn => transfer(op, key, node, place),
        Op::Risk => risk(key, target, node, place),
        Op::Reserve | Op::Buy => Err(place.invalid("is a basket")),
        Op::Place => place_order(key, node, place),
        Op::Extend | Op::Release => reservation(op, key, target, node, place),
        Op::Cancel | Op::Ship | Op::Short => settle(op, key, target, node, place),
    }
}

/// Reads a body that carries its own `type`, as `POST /v1/stock/movements` does.
pub(crate) fn movement(key: Key, node: &Node<'_>) -> Result<(Command, &'static str), Problem> {
    let place = Place::Root;
    let Node::Object(members) = node else {
        return Err(place.invalid(format!("must be an object, is {}", node.kind())));
    };
    let Some((_, word)) = members.iter().find(|(name, _)| name == "type") else {
        return Err(Place::Member(&place, "type").invalid("is required"));
    };
    let op = field::choice(word, &Place::Member(&place, "type"), MOVEMENTS)?;
    let rest = members.iter().filter(|(name, _)| name != "type").cloned().collect();
    let command = decode(op, key, Target::Body, &Node::Object(rest), &place)?;
    let name = MOVEMENTS.iter().find(|(_, known)| *known == op).map_or("", |(name, _)| name);
    Ok((command.command, name))
}

/// Reads the lines of an import.
pub(crate) fn import(node: &Node<'_>) -> Result<Vec<ImportLine>, Problem> {
    let members = Members::open(node, &Place::Root, &["lines"])?;
    let at = members.at("lines");
    let known = &["sku", "location", "lot", "quantity"];
    let lines = members.objects("lines", IMPORT_LINES_MAX, known, |line| {
        let (sku, location, lot) = cell(line)?;
        Ok(ImportLine { sku, location, lot, quantity: quantity(line, "quantity")? })
    })?;
    if lines.is_empty() {
        return Err(at.invalid(format!("must have 1 to {IMPORT_LINES_MAX} entries, has none")));
    }
    Ok(lines)
}

/// Returns the code of the SKU that a line of a basket, or the command itself, names.
pub(crate) fn sku_of_line<'n>(node: &'n Node<'_>, line: u16) -> Option<&'n str> {
    let member = |node: &'n Node<'_>, name: &str| match node {
        Node::Object(members) => {
            members.iter().find(|(known, _)| known == name).map(|(_, node)| node)
        }
        _ => None,
    };
    let named = match member(node, "lines") {
        Some(Node::List(lines)) => lines.get(usize::from(line))?,
        _ => node,
    };
    match member(named, "sku") {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    }
}

/// Returns how many lines the body of a basket has.
pub(crate) fn line_count(node: &Node<'_>) -> usize {
    let Node::Object(members) = node else { return 0 };
    let lines = members.iter().find_map(|(name, node)| match node {
        Node::List(lines) if *name == "lines" => Some(lines.len()),
        _ => None,
    });
    lines.unwrap_or(0)
}

/// Reads an idempotency key's text.
pub(crate) fn key_text(text: &str) -> Result<Key, &'static str> {
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return Err("must have 1 to 255 characters");
    }
    if !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        return Err("must be visible ASCII characters without spaces");
    }
    Ok(Key::from_text(text))
}

/// Reads an order id.
pub(crate) fn order_id(text: &str) -> Result<OrderId, String> {
    text.parse().map_err(|e| {
        format!("\"{}\" is not an order id: {e}; it is ord_ and 26 characters", shorten(text))
    })
}

/// Reads a SKU code.
pub(crate) fn sku_id(text: &str) -> Result<SkuId, String> {
    SkuId::from_code(text).map_err(|_| {
        let short = shorten(text);
        format!("\"{short}\" is not a SKU code: 1 to 64 characters of A-Z a-z 0-9 _ . : -")
    })
}

fn sku(members: &Members<'_, '_, '_>, name: &'static str) -> Result<SkuId, Problem> {
    sku_id(members.text(name)?).map_err(|detail| members.at(name).invalid(detail))
}

fn location(members: &Members<'_, '_, '_>, name: &'static str) -> Result<LocationId, Problem> {
    members.integer(name, 1, u32::MAX.into()).map(|number| LocationId(number as u32))
}

fn lot(members: &Members<'_, '_, '_>) -> Result<LotId, Problem> {
    let lot = members.integer_or_none("lot", 0, u32::MAX.into())?;
    Ok(LotId(lot.unwrap_or(0) as u32))
}

/// Reads what names a cell: `sku`, `location`, and `lot` where there is one.
fn cell(members: &Members<'_, '_, '_>) -> Result<(SkuId, LocationId, LotId), Problem> {
    Ok((sku(members, "sku")?, location(members, "location")?, lot(members)?))
}

fn quantity(members: &Members<'_, '_, '_>, name: &'static str) -> Result<Quantity, Problem> {
    let units = members.integer(name, 1, Quantity::MAX.units().into())?;
    Ok(Quantity::new(units as u32).unwrap_or(Quantity::MAX))
}

/// Reads an amount of money that is not negative.
fn money(node: &Node<'_>, place: &Place<'_>) -> Result<Money, Problem> {
    let members = Members::open(node, place, &["amount", "currency"])?;
    let minor = field::amount(members.need("amount")?, &members.at("amount"), Money::MINOR_MAX)?;
    let code = members.text("currency")?;
    let currency: Currency = code.parse().map_err(|_| {
        members.at("currency").invalid(format!(
            "\"{}\" is neither a known ISO 4217 code such as EUR nor a number from 001 to 999",
            shorten(code)
        ))
    })?;
    Money::new(minor, currency).ok_or_else(|| place.invalid("is beyond 2^53 - 1 minor units"))
}

fn expected_total(members: &Members<'_, '_, '_>) -> Result<Option<Money>, Problem> {
    let node = members.get("expected_total");
    node.map(|node| money(node, &members.at("expected_total"))).transpose()
}

/// Reads a customer.
pub(crate) fn customer_id(text: &str) -> Result<CustomerId, String> {
    if text.is_empty() || text.len() > CUSTOMER_BYTES_MAX {
        let bytes = text.len();
        return Err(format!(
            "must have 1 to {CUSTOMER_BYTES_MAX} bytes, has {bytes}; leave it out for none"
        ));
    }
    Ok(CustomerId::from_text(text))
}

fn customer(members: &Members<'_, '_, '_>) -> Result<CustomerId, Problem> {
    let Some(node) = members.get("customer") else {
        return Ok(CustomerId::NONE);
    };
    let at = members.at("customer");
    customer_id(field::text(node, &at)?).map_err(|detail| at.invalid(detail))
}

fn basket_line(node: &Node<'_>, place: &Place<'_>) -> Result<Line, Problem> {
    let members = Members::open(node, place, &["sku", "quantity", "location", "price"])?;
    let mut line = Line::new(sku(&members, "sku")?, quantity(&members, "quantity")?);
    if members.get("location").is_some() {
        line.location = location(&members, "location")?;
    }
    if let Some(node) = members.get("price") {
        let at = members.at("price");
        let price = Members::open(node, &at, &["unit", "discount"])?;
        let unit = field::amount(price.need("unit")?, &price.at("unit"), Money::MINOR_MAX)?;
        let discount = match price.get("discount") {
            Some(node) => field::amount(node, &price.at("discount"), Money::MINOR_MAX)?,
            None => 0,
        };
        line.price = Some(LinePrice { unit, discount });
    }
    Ok(line)
}

fn lines(members: &Members<'_, '_, '_>) -> Result<Lines, Problem> {
    let at = members.at("lines");
    match members.list("lines", LINES_MAX)? {
        [] => Err(at.invalid(format!("must have 1 to {LINES_MAX} entries, has none"))),
        [one] => Ok(Lines::One(basket_line(one, &Place::Entry(&at, 0))?)),
        many => {
            let read = |(i, node)| basket_line(node, &Place::Entry(&at, i));
            many.iter().enumerate().map(read).collect::<Result<_, _>>().map(Lines::Many)
        }
    }
}

fn fill(members: &Members<'_, '_, '_>) -> Result<Fill, Problem> {
    let Some(node) = members.get("fill") else {
        return Ok(Fill::All);
    };
    let at = members.at("fill");
    if matches!(node, Node::Object(_)) {
        let members = Members::open(node, &at, &["min"])?;
        return Ok(Fill::Min(members.integer("min", 1, u32::MAX.into())? as u32));
    }
    if !matches!(node, Node::Text(_)) {
        return Err(at.invalid("must be \"all\", \"partial\" or {\"min\": units}"));
    }
    field::choice(node, &at, &[("all", Fill::All), ("partial", Fill::Partial)])
}

fn buy(key: Key, node: &Node<'_>, place: &Place<'_>) -> Result<Decoded, Problem> {
    let members = Members::open(node, place, BUY)?;
    let command = Command::Buy(Buy {
        key,
        customer: customer(&members)?,
        lines: lines(&members)?,
        fill: fill(&members)?,
        expected_total: expected_total(&members)?,
        decided: None,
    });
    Ok(Decoded { command, said: Said::read(&members)? })
}

/// Reads a request for a quote: a purchase that nobody makes. Its key stands for an unnamed
/// customer.
pub(crate) fn quote(key: Key, node: &Node<'_>) -> Result<Decoded, Problem> {
    let members = Members::open(node, &Place::Root, QUOTE)?;
    let command = Command::Buy(Buy {
        key,
        customer: customer(&members)?,
        lines: lines(&members)?,
        fill: Fill::All,
        expected_total: None,
        decided: None,
    });
    Ok(Decoded { command, said: Said::of_buyer(&members)? })
}

fn reserve(key: Key, node: &Node<'_>, place: &Place<'_>) -> Result<Decoded, Problem> {
    let members = Members::open(node, place, RESERVE)?;
    let ttl_ms = members.integer("ttl_ms", 1, TTL_MS_MAX)?;
    let hard_cap_ms = match members.integer_or_none("hard_cap_ms", ttl_ms, HARD_CAP_MS_MAX)? {
        Some(cap) => cap,
        None => (ttl_ms * HARD_CAP_TTLS).min(HARD_CAP_MS_MAX),
    };
    let command = Command::Reserve(Reserve {
        key,
        customer: customer(&members)?,
        lines: lines(&members)?,
        fill: fill(&members)?,
        ttl_ms,
        hard_cap_ms,
        expected_total: expected_total(&members)?,
        decided: None,
    });
    Ok(Decoded { command, said: Said::read(&members)? })
}

fn order_member(members: &Members<'_, '_, '_>, name: &'static str) -> Result<OrderId, Problem> {
    order_id(members.text(name)?).map_err(|detail| members.at(name).invalid(detail))
}

fn place_order(key: Key, node: &Node<'_>, place: &Place<'_>) -> Result<Command, Problem> {
    let members = Members::open(node, place, &["reservation", "expected_total"])?;
    Ok(Command::Place(PlaceOrder {
        key,
        order: order_member(&members, "reservation")?,
        expected_total: expected_total(&members)?,
    }))
}

/// Returns the order of the path, or of the body where the path names none.
fn target_order(target: Target<'_>, members: &Members<'_, '_, '_>) -> Result<OrderId, Problem> {
    match target {
        Target::Order(order) => Ok(order),
        Target::Body | Target::Sku(_) => order_member(members, "order"),
    }
}

fn reservation(
    op: Op,
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Command, Problem> {
    let in_path = matches!(target, Target::Order(_));
    if op == Op::Extend {
        let known: &'static [&str] = if in_path { &["ttl_ms"] } else { &["order", "ttl_ms"] };
        let members = Members::open(node, place, known)?;
        let order = target_order(target, &members)?;
        let ttl_ms = members.integer("ttl_ms", 1, TTL_MS_MAX)?;
        return Ok(Command::Extend(Extend { key, order, ttl_ms }));
    }
    let known: &'static [&str] = if in_path { &["reason"] } else { &["order", "reason"] };
    let members = Members::open(node, place, known)?;
    let order = target_order(target, &members)?;
    Ok(Command::Release(Release { key, order, reason: reason_number(&members)? }))
}

/// What a person or a check may find about an order.
const RISKS: &[(&str, Risk)] = &[
    ("allow", Risk::Allow),
    ("challenge", Risk::Challenge),
    ("review", Risk::Review),
    ("deny", Risk::Deny),
];

fn risk(
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Command, Problem> {
    let in_path = matches!(target, Target::Order(_));
    let known: &'static [&str] =
        if in_path { &["risk", "reason"] } else { &["order", "risk", "reason"] };
    let members = Members::open(node, place, known)?;
    let order = target_order(target, &members)?;
    let risk = field::choice(members.need("risk")?, &members.at("risk"), RISKS)?;
    Ok(Command::RecordRisk(RecordRisk { key, order, risk, reason: reason_number(&members)? }))
}

fn reason_number(members: &Members<'_, '_, '_>) -> Result<u16, Problem> {
    Ok(members.integer_or_none("reason", 0, u16::MAX.into())?.unwrap_or(0) as u16)
}

fn settle(
    op: Op,
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Command, Problem> {
    let known: &'static [&str] = match (op, target) {
        (Op::Cancel, Target::Order(_)) => &["lines", "expected_version", "reason"],
        (Op::Cancel, _) => &["order", "lines", "expected_version", "reason"],
        (_, Target::Order(_)) => &["lines", "expected_version"],
        (_, _) => &["order", "lines", "expected_version"],
    };
    let members = Members::open(node, place, known)?;
    let order = target_order(target, &members)?;
    let expected_version =
        members.integer_or_none("expected_version", 0, u32::MAX.into())?.map(|v| v as u32);
    if op == Op::Short && members.get("lines").is_none() {
        return Err(members.at("lines").invalid("is required: a short pick names its lines"));
    }
    let lines = line_quantities(&members)?;
    Ok(match op {
        Op::Cancel => {
            let reason = reason_number(&members)?;
            Command::Cancel(Cancel { key, order, lines, expected_version, reason })
        }
        Op::Short => Command::Short(Short { key, order, lines, expected_version }),
        _ => Command::Ship(Ship { key, order, lines, expected_version }),
    })
}

fn line_quantities(members: &Members<'_, '_, '_>) -> Result<Vec<LineQuantity>, Problem> {
    if members.get("lines").is_none() {
        return Ok(Vec::new());
    }
    let at = members.at("lines");
    let lines = members.objects("lines", LINES_MAX, &["line", "quantity"], |entry| {
        let line = entry.integer("line", 0, LINES_MAX as u64 - 1)? as u16;
        Ok(LineQuantity { line, quantity: quantity(entry, "quantity")? })
    })?;
    if lines.is_empty() {
        // An empty list would mean "everything", which is not what an empty selection means.
        return Err(at.invalid("has no entries; leave it out to mean everything"));
    }
    Ok(lines)
}

/// Why units are set aside, by name.
const REASONS: &[(&str, Reason)] = &[
    ("damaged", Reason::Damaged),
    ("quality_control", Reason::QualityControl),
    ("safety_stock", Reason::SafetyStock),
    ("quarantine", Reason::Quarantine),
    ("missing", Reason::Missing),
];

fn stock(op: Op, key: Key, node: &Node<'_>, place: &Place<'_>) -> Result<Command, Problem> {
    let known: &'static [&str] = match op {
        Op::Receive => &["sku", "location", "lot", "quantity"],
        Op::Adjust => &["sku", "location", "lot", "expected", "available"],
        Op::Count => &["sku", "location", "lot", "expected", "counted"],
        _ => &["sku", "location", "lot", "quantity", "reason"],
    };
    let members = Members::open(node, place, known)?;
    let (sku, location, lot) = cell(&members)?;
    let units = |name| members.integer(name, 0, INTEGER_MAX);
    Ok(match op {
        Op::Receive => {
            let quantity = quantity(&members, "quantity")?;
            Command::Receive(Receive { key, sku, location, lot, quantity })
        }
        Op::Adjust => {
            let (expected, available) = (units("expected")?, units("available")?);
            Command::Adjust(Adjust { key, sku, location, lot, expected, available })
        }
        Op::Count => {
            let (expected, counted) = (units("expected")?, units("counted")?);
            Command::Count(Count { key, sku, location, lot, expected, counted })
        }
        _ => {
            let quantity = quantity(&members, "quantity")?;
            let reason = field::choice(members.need("reason")?, &members.at("reason"), REASONS)?;
            let back = op == Op::Unquarantine;
            Command::Quarantine(Quarantine { key, sku, location, lot, quantity, reason, back })
        }
    })
}

fn transfer(op: Op, key: Key, node: &Node<'_>, place: &Place<'_>) -> Result<Command, Problem> {
    if op == Op::TransferOut {
        let known = &["sku", "location", "lot", "to", "quantity"];
        let members = Members::open(node, place, known)?;
        let (sku, from, lot) = cell(&members)?;
        let to = location(&members, "to")?;
        let quantity = quantity(&members, "quantity")?;
        return Ok(Command::TransferOut(TransferOut { key, sku, from, lot, to, quantity }));
    }
    let members = Members::open(node, place, &["transfer", "sku", "from", "quantity"])?;
    let transfer =
        key_text(members.text("transfer")?).map_err(|why| members.at("transfer").invalid(why))?;
    let (sku, from) = (sku(&members, "sku")?, location(&members, "from")?);
    let quantity = quantity(&members, "quantity")?;
    Ok(Command::TransferIn(TransferIn { key, transfer, sku, from, quantity }))
}

const KINDS: &[(&str, SkuKind)] = &[
    ("goods", SkuKind::Goods),
    ("seat", SkuKind::Seat),
    ("slot", SkuKind::Slot),
    ("coupon", SkuKind::Coupon),
    ("budget", SkuKind::Budget),
    ("kit", SkuKind::Kit),
];

fn placement(node: &Node<'_>, place: &Place<'_>) -> Result<Placement, Problem> {
    if matches!(node, Node::Object(_)) {
        let members = Members::open(node, place, &["group"])?;
        return members.integer("group", 2, INTEGER_MAX).map(Placement::Group);
    }
    if !matches!(node, Node::Text(_)) {
        return Err(place.invalid("must be \"sku\", \"location\" or {\"group\": number}"));
    }
    let known = &[("sku", Placement::BySku), ("location", Placement::ByLocation)];
    field::choice(node, place, known)
}

fn define(
    key: Key,
    target: Target<'_>,
    node: &Node<'_>,
    place: &Place<'_>,
) -> Result<Command, Problem> {
    let known: &'static [&str] = match target {
        Target::Sku(_) => &["price", "kind", "limit", "placement", "components"],
        _ => &["sku", "price", "kind", "limit", "placement", "components"],
    };
    let members = Members::open(node, place, known)?;
    let code = match target {
        Target::Sku(code) => code,
        Target::Body | Target::Order(_) => {
            sku(&members, "sku")?;
            members.text("sku")?
        }
    };
    let kind = match members.get("kind") {
        Some(node) => field::choice(node, &members.at("kind"), KINDS)?,
        None => SkuKind::Goods,
    };
    let placement = match members.get("placement") {
        Some(node) => placement(node, &members.at("placement"))?,
        None => Placement::BySku,
    };
    let limit = match members.get("limit") {
        Some(_) => Some(quantity(&members, "limit")?),
        None => None,
    };
    Ok(Command::DefineSku(Box::new(DefineSku {
        key,
        code: code.to_owned(),
        kind,
        price: money(members.need("price")?, &members.at("price"))?,
        placement,
        limit,
        components: components(&members)?,
    })))
}

fn components(members: &Members<'_, '_, '_>) -> Result<Vec<(SkuId, Quantity)>, Problem> {
    if members.get("components").is_none() {
        return Ok(Vec::new());
    }
    members.objects("components", KIT_COMPONENTS_MAX, &["sku", "quantity"], |entry| {
        Ok((sku(entry, "sku")?, quantity(entry, "quantity")?))
    })
}
