//! Replies as JSON, written straight into one buffer.

use std::collections::BTreeSet;

use onhand_core::{
    Aggregate, ChangeReceipt, CustomerId, Decided, DecidedBy, Decision, Engine, Event,
    EventMovement, EventPolicy, Explanation, Grants, LocationId, LotId, Money, OrderReceipt,
    OrderStatus, OrderView, Placement, PolicyDecision, PolicyNo, Receipt, Reject, Risk, SkuId,
    SkuKind, SkuView, StockView, Timestamp,
};

/// A JSON writer that keeps track of commas; the caller keeps track of nesting.
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Makes an empty writer with room for a common reply.
    pub(crate) fn new() -> Self {
        Self { out: Vec::with_capacity(256) }
    }

    /// Returns what was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':' | b',')) {
            self.out.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Opens an object.
    pub(crate) fn open(&mut self) {
        self.comma();
        self.out.push(b'{');
    }

    /// Closes an object.
    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Opens an object under a name.
    pub(crate) fn open_in(&mut self, name: &str) {
        self.name(name);
        self.out.push(b'{');
    }

    /// Writes a list, each entry by `write`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.name(name);
        self.out.push(b'[');
        for entry in entries {
            write(self, entry);
        }
        self.out.push(b']');
    }

    /// Writes a bare number, as a list's entry.
    pub(crate) fn bare(&mut self, value: u64) {
        self.comma();
        self.digits(value);
    }

    /// Writes a signed number as an entry of a list.
    pub(crate) fn bare_signed(&mut self, value: i64) {
        self.comma();
        self.sign(value);
    }

    fn sign(&mut self, value: i64) {
        if value < 0 {
            self.out.push(b'-');
        }
        self.digits(value.unsigned_abs());
    }

    /// Writes a member that is JSON already.
    pub(crate) fn json(&mut self, name: &str, text: &str) {
        self.name(name);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn digits(&mut self, value: u64) {
        let mut text = [0_u8; 20];
        let mut at = text.len();
        let mut rest = value;
        loop {
            at -= 1;
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&text[at..]);
    }

    /// Writes a member that is a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.digits(value);
    }

    /// Writes a member that is a number which may be negative.
    pub(crate) fn signed(&mut self, name: &str, value: i64) {
        self.name(name);
        self.sign(value);
    }

    /// Writes a member that is true or false.
    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes a member that is null.
    pub(crate) fn null(&mut self, name: &str) {
        self.name(name);
        self.out.extend_from_slice(b"null");
    }

    /// Writes a member that is a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    /// Writes the member `body`, whose value `write` writes.
    pub(crate) fn body(&mut self, write: impl FnOnce(&mut Self)) {
        self.name("body");
        write(self);
    }

    /// Writes a bare text, as a list's entry.
    pub(crate) fn bare_text(&mut self, value: &str) {
        self.comma();
        self.quoted(value);
    }

    fn quoted(&mut self, value: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        for byte in value.bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0..0x20 | 0x7f => {
                    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                    self.out.extend_from_slice(b"\\u00");
                    self.out.extend_from_slice(&digits);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// Writes a member with a text that needs no escapes, from its `Display`.
    pub(crate) fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::io::Write as _;
        self.name(name);
        self.out.push(b'"');
        // Writing to a vector can't fail.
        let _ = write!(self.out, "{value}");
        self.out.push(b'"');
    }

    /// Writes a member that is a time.
    pub(crate) fn time(&mut self, name: &str, time: Timestamp) {
        self.name(name);
        self.out.push(b'"');
        super::time::write(&mut self.out, time);
        self.out.push(b'"');
    }

    /// Writes a member that is an amount of money.
    pub(crate) fn money(&mut self, name: &str, money: Money) {
        self.open_in(name);
        self.signed("amount", money.minor());
        self.plain("currency", money.currency());
        self.close();
    }
}

/// Returns the word of a status.
pub(crate) fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Reserved => "reserved",
        OrderStatus::Placed => "placed",
        OrderStatus::Completed => "completed",
        OrderStatus::Expired => "expired",
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Rejected => "rejected",
        // The enum may grow in the core; a word for the new one belongs here.
        _ => "unknown",
    }
}

/// Returns the word of who has decided.
pub(crate) fn decided_by(by: DecidedBy) -> &'static str {
    match by {
        DecidedBy::Policy => "policy",
        DecidedBy::BuiltIn => "built_in",
        DecidedBy::FailOpen => "fail_open",
    }
}

/// Writes the risk of an order that a fraud policy has looked at.
fn risk_member(out: &mut Writer, of_order: Risk) {
    if of_order != Risk::Unscored {
        out.text("risk", of_order.name());
    }
}

/// Returns the word of a kind of SKU.
pub(crate) fn kind(kind: SkuKind) -> &'static str {
    match kind {
        SkuKind::Goods => "goods",
        SkuKind::Seat => "seat",
        SkuKind::Slot => "slot",
        SkuKind::Coupon => "coupon",
        SkuKind::Budget => "budget",
        SkuKind::Kit => "kit",
    }
}

/// Writes a receipt: the same bytes for the same receipt, whenever it is sent.
pub(crate) fn receipt(out: &mut Writer, receipt: &Receipt) {
    match receipt {
        Receipt::Order(receipt) => order_receipt(out, receipt),
        Receipt::Change(receipt) => change_receipt(out, receipt),
        Receipt::Stock(receipt) => {
            out.open();
            out.number("seq", receipt.seq);
            if receipt.version > 0 {
                out.number("version", u64::from(receipt.version));
            }
            out.close();
        }
        Receipt::Policy(receipt) => {
            out.open();
            out.number("policy", u64::from(receipt.policy.0));
            out.number("seq", receipt.seq);
            out.close();
        }
        Receipt::Tick => {
            out.open();
            out.close();
        }
    }
}

fn order_receipt(out: &mut Writer, receipt: &OrderReceipt) {
    out.open();
    out.plain("order", receipt.order);
    out.text("status", status(receipt.status));
    risk_member(out, receipt.risk);
    out.money("total", receipt.total);
    if let Grants::ByLine(units) = &receipt.grants {
        out.list("granted", units.iter(), |out, units| out.bare(u64::from(*units)));
    }
    if receipt.deadline != Timestamp::ZERO {
        out.time("expires_at", receipt.deadline);
    }
    out.number("seq", receipt.seq);
    out.close();
}

fn change_receipt(out: &mut Writer, receipt: &ChangeReceipt) {
    out.open();
    out.plain("order", receipt.order);
    out.text("status", status(receipt.status));
    out.number("version", u64::from(receipt.version));
    if receipt.deadline != Timestamp::ZERO {
        out.time("expires_at", receipt.deadline);
    }
    out.number("seq", receipt.seq);
    out.close();
}

/// Returns the code of a SKU, or its number where its definition is not to be seen.
pub(crate) fn code(engine: &Engine, sku: SkuId) -> String {
    engine.sku(sku).map_or_else(|| format!("#{:016x}", sku.bits()), |view| view.code.clone())
}

/// Writes a SKU of the catalogue.
pub(crate) fn sku(out: &mut Writer, engine: &Engine, view: &SkuView) {
    out.open();
    out.text("sku", &view.code);
    out.text("kind", kind(view.kind));
    out.money("price", view.price);
    match view.limit {
        Some(limit) => out.number("limit", u64::from(limit.units())),
        None => out.null("limit"),
    }
    match view.placement {
        Placement::BySku => out.text("placement", "sku"),
        Placement::ByLocation => out.text("placement", "location"),
        Placement::Group(group) => {
            out.open_in("placement");
            out.number("group", group);
            out.close();
        }
    }
    out.list("components", &view.components, |out, (part, quantity)| {
        out.open();
        out.text("sku", &code(engine, *part));
        out.number("quantity", u64::from(quantity.units()));
        out.close();
    });
    out.number("version", u64::from(view.version));
    out.close();
}

/// Writes the stock of a SKU.
pub(crate) fn stock(out: &mut Writer, code: &str, view: &StockView) {
    out.open();
    out.text("sku", code);
    out.number("available", view.available);
    out.number("tentative", view.tentative);
    out.number("reserved", view.reserved);
    out.number("committed", view.committed);
    out.number("unavailable", view.unavailable);
    out.number("in_transit", view.in_transit);
    out.number("shipped", view.shipped);
    out.number("seq", view.seq);
    out.close();
}

fn customer(out: &mut Writer, customer: CustomerId) {
    if customer != CustomerId::NONE {
        // As text, because the number may be beyond what JSON readers keep exact.
        out.plain("customer", customer.0);
    }
}

fn cell(out: &mut Writer, location: LocationId, lot: LotId) {
    out.number("location", u64::from(location.0));
    if lot.0 != 0 {
        out.number("lot", u64::from(lot.0));
    }
}

/// Writes an order.
pub(crate) fn order(out: &mut Writer, engine: &Engine, view: &OrderView) {
    out.open();
    out.plain("order", view.order);
    out.text("status", status(view.status));
    risk_member(out, view.risk);
    out.number("version", u64::from(view.version));
    customer(out, view.customer);
    out.money("total", view.total);
    out.number("created_seq", view.created_seq);
    if view.deadline != Timestamp::ZERO {
        out.time("expires_at", view.deadline);
    }
    out.flag("archived", view.archived);
    out.list("lines", &view.lines, |out, line| {
        out.open();
        out.text("sku", &code(engine, line.sku));
        for (name, units) in [
            ("ordered", line.ordered),
            ("reserved", line.reserved),
            ("committed", line.committed),
            ("short", line.short),
            ("shipped", line.shipped),
            ("cancelled", line.cancelled),
        ] {
            out.number(name, u64::from(units));
        }
        out.list("cells", &line.cells, |out, part| {
            out.open();
            if part.sku != line.sku {
                out.text("sku", &code(engine, part.sku));
            }
            if part.location != LocationId::ANY {
                cell(out, part.location, part.lot);
            }
            out.number("reserved", u64::from(part.reserved));
            out.number("committed", u64::from(part.committed));
            out.close();
        });
        out.close();
    });
    out.number("seq", view.seq);
    out.close();
}

/// Writes the decisions about an order.
pub(crate) fn explanation(out: &mut Writer, engine: &Engine, explanation: &Explanation) {
    out.open();
    out.plain("order", explanation.order);
    out.flag("complete", explanation.complete);
    out.list("decisions", &explanation.decisions, |out, decision: &Decision| {
        out.open();
        out.number("seq", decision.event.seq);
        out.time("time", decision.event.time);
        out.text("reason", &decision.reason);
        out.open_in("event");
        event_members(out, engine, &decision.event);
        out.close();
        out.close();
    });
    policies(out, engine, explanation);
    out.close();
}

/// Writes the policies that have decided about an order, if any has.
fn policies(out: &mut Writer, engine: &Engine, explanation: &Explanation) {
    let decided = explanation.decisions.iter().filter_map(|one| one.event.decided.as_deref());
    let numbers: BTreeSet<PolicyNo> = decided
        .flat_map(|decided| {
            let fraud = decided.fraud.map(|fraud| fraud.decision);
            decided.pricing.into_iter().chain(fraud).map(|decision| decision.policy)
        })
        .collect();
    if numbers.is_empty() {
        return;
    }
    let known = numbers.into_iter().filter_map(|number| engine.policy(number));
    out.list("policies", known, |out, policy| {
        out.open();
        out.number("policy", u64::from(policy.no.0));
        out.text("kind", policy.kind.name());
        out.text("name", &policy.name);
        out.text("version", &policy.version);
        out.plain("plugin", Hex(&policy.plugin));
        out.plain("config", Hex(&policy.config));
        out.close();
    });
}

/// Writes an event.
pub(crate) fn event(out: &mut Writer, engine: &Engine, event: &Event) {
    out.open();
    event_members(out, engine, event);
    out.close();
}

fn event_members(out: &mut Writer, engine: &Engine, event: &Event) {
    out.number("seq", event.seq);
    out.text("type", event.kind.name());
    out.time("time", event.time);
    out.number("shard", u64::from(event.shard));
    match event.aggregate {
        Aggregate::Engine => out.text("aggregate", "engine"),
        Aggregate::Sku(sku) => out.plain("aggregate", format_args!("sku:{}", code(engine, sku))),
        Aggregate::Cell(sku, location, lot) => {
            let sku = code(engine, sku);
            out.plain("aggregate", format_args!("cell:{sku}/{}/{}", location.0, lot.0));
        }
        Aggregate::Order(order) => out.plain("aggregate", order),
        Aggregate::Policy(policy) => {
            out.plain("aggregate", format_args!("policy:{}", policy.0));
        }
        Aggregate::Shard(shard) => out.plain("aggregate", format_args!("shard:{shard}")),
    }
    out.number("version", u64::from(event.version));
    if let Some(order) = &event.order {
        customer(out, order.customer);
        out.money("total", order.total);
        out.list("lines", &order.lines, |out, (sku, asked)| {
            out.open();
            out.text("sku", &code(engine, *sku));
            out.number("quantity", u64::from(*asked));
            out.close();
        });
    }
    if let Some(of_order) = event.risk {
        risk_member(out, of_order);
    }
    if let Some(decided) = &event.decided {
        decisions(out, decided);
    }
    if let Some(policy) = &event.policy {
        policy_members(out, policy);
    }
    if event.deadline != Timestamp::ZERO {
        out.time("expires_at", event.deadline);
    }
    if event.reason != 0 {
        out.number("reason", u64::from(event.reason));
    }
    if let Some(refusal) = &event.refusal {
        let known = Reject::ALL.iter().find(|reject| reject.number() == refusal.reject);
        out.open_in("refusal");
        out.text("code", known.map_or("unknown", |reject| reject.code()));
        out.text("sku", &code(engine, refusal.sku));
        out.number("asked", refusal.asked);
        out.number("available", refusal.available);
        out.number("tentative", refusal.tentative);
        out.close();
    }
    if let Some(count) = event.count {
        out.plain("count", format_args!("{:032x}", count.bits()));
    }
    if !event.breaks.is_empty() {
        out.list("breaks", &event.breaks, |out, one| {
            out.open();
            out.plain("order", one.order);
            out.number("line", u64::from(one.line));
            out.number("quantity", u64::from(one.quantity));
            out.close();
        });
    }
    out.list("movements", &event.movements, |out, one| movement(out, engine, one));
    if !event.instructions.is_empty() {
        out.list("instructions", &event.instructions, |out, one| movement(out, engine, one));
    }
}

/// Writes what policies had decided about a basket; policies by number, whose names may change.
fn decisions(out: &mut Writer, decided: &Decided) {
    if let Some(pricing) = &decided.pricing {
        out.open_in("pricing");
        decision_members(out, pricing);
        out.number("added", u64::from(decided.added));
        out.close();
    }
    if let Some(fraud) = &decided.fraud {
        out.open_in("fraud");
        decision_members(out, &fraud.decision);
        out.text("risk", fraud.risk.name());
        out.number("points", u64::from(fraud.points));
        out.number("code", u64::from(fraud.code));
        out.close();
    }
}

fn decision_members(out: &mut Writer, decision: &PolicyDecision) {
    out.number("policy", u64::from(decision.policy.0));
    out.text("by", decided_by(decision.by));
    out.number("fuel", u64::from(decision.fuel));
    // As text, because the number may be beyond what JSON readers keep exact.
    out.plain("input", format_args!("{:016x}", decision.input));
}

/// Writes what happened to a policy.
fn policy_members(out: &mut Writer, policy: &EventPolicy) {
    out.open_in("policy");
    out.text("kind", policy.kind.name());
    out.text("step", policy.step.name());
    out.text("name", &policy.name);
    out.text("version", &policy.version);
    out.plain("plugin", Hex(&policy.plugin));
    out.plain("config", Hex(&policy.config));
    if policy.share != 0 {
        out.number("share", u64::from(policy.share));
    }
    if !policy.note.is_empty() {
        out.text("note", &policy.note);
    }
    out.close();
}

/// Bytes in hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn movement(out: &mut Writer, engine: &Engine, movement: &EventMovement) {
    out.open();
    out.text("sku", &code(engine, movement.sku));
    cell(out, movement.location, movement.lot);
    out.number("quantity", u64::from(movement.quantity));
    out.text("from", movement.from.name());
    out.text("to", movement.to.name());
    out.number("line", u64::from(movement.line));
    out.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writer_separates_and_escapes() {
        let mut out = Writer::new();
        out.open();
        out.text("a", "x\"\\\n\u{1}é");
        out.list("b", [1, 2], Writer::bare);
        out.list("c", ["p", "q"], Writer::bare_text);
        out.open_in("d");
        out.close();
        out.signed("e", i64::MIN);
        out.null("f");
        out.number("g", u64::MAX);
        out.list("h", [(), ()], |out, ()| {
            out.open();
            out.close();
        });
        out.close();
        let text = String::from_utf8(out.into_bytes()).expect("the writer writes UTF-8");
        assert_eq!(
            text,
            "{\"a\":\"x\\\"\\\\\\n\\u0001é\",\"b\":[1,2],\"c\":[\"p\",\"q\"],\"d\":{},\
             \"e\":-9223372036854775808,\"f\":null,\"g\":18446744073709551615,\"h\":[{},{}]}"
        );
        serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    }

    #[test]
    fn an_order_receipt_is_these_bytes() {
        let receipt_value = Receipt::Order(OrderReceipt {
            order: onhand_core::OrderId::new(31),
            status: OrderStatus::Reserved,
            risk: Risk::Unscored,
            seq: 7,
            total: Money::new(1_299, onhand_core::Currency::EUR).expect("in range"),
            deadline: Timestamp::from_millis(1_000),
            grants: Grants::ByLine([1, 0].into()),
        });
        let mut out = Writer::new();
        receipt(&mut out, &receipt_value);
        assert_eq!(
            String::from_utf8_lossy(&out.into_bytes()),
            "{\"order\":\"ord_0000000000000000000000000Z\",\"status\":\"reserved\",\
             \"total\":{\"amount\":1299,\"currency\":\"EUR\"},\"granted\":[1,0],\
             \"expires_at\":\"1970-01-01T00:00:01.000Z\",\"seq\":7}"
        );
    }
}
