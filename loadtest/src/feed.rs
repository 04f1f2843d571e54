//! The host's events in neutral form, and how they are read from JSON.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::LoadError;
use crate::op::{Catalogue, millis_from_text, order_from_text};
use crate::wire::Text;

/// A place that units can be in, as far as the checks tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    /// May be promised now.
    Available,
    /// Taken by a basket in flight.
    Tentative,
    /// Reserved until a deadline.
    Reserved,
    /// Promised to a placed order.
    Committed,
    /// On hand, not to be promised.
    Unavailable,
    /// Between two locations.
    InTransit,
    /// Shipped.
    Shipped,
    /// Outside, other than shipped: supplier, write-off, adjustment.
    Outside,
    /// Not stock at all: a link that a movement list may carry.
    Link,
}

impl Bucket {
    /// Returns the bucket of a name of the contract.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "available" => Self::Available,
            "tentative" => Self::Tentative,
            "reserved" => Self::Reserved,
            "committed" => Self::Committed,
            "damaged" | "quality_control" | "safety_stock" | "quarantine" | "missing" => {
                Self::Unavailable
            }
            "in_transit" => Self::InTransit,
            "SHIPPED" => Self::Shipped,
            "SUPPLIER" | "WRITEOFF" | "ADJUST" => Self::Outside,
            "LINK" => Self::Link,
            _ => return None,
        })
    }
}

/// One movement of units of a SKU of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    /// SKU, as its index in the run's catalogue.
    pub(crate) sku: u32,
    /// Location.
    pub(crate) location: u32,
    /// Units.
    pub(crate) quantity: u64,
    /// Where they were.
    pub(crate) from: Bucket,
    /// Where they are now.
    pub(crate) to: Bucket,
}

/// What an event did to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
    /// An order was made by `buy`: `order.placed` with version 1, or with lines.
    Bought,
    /// An order was made by `reserve`.
    Reserved,
    /// A reservation was placed.
    Placed,
    /// A reservation got a later deadline.
    Extended,
    /// A reservation's deadline has passed.
    Expired,
    /// A reservation ended otherwise: given up, rejected or broken.
    Ended,
    /// Anything else.
    Other,
}

/// One event, as far as the checks look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedEvent {
    /// Journal position.
    pub(crate) seq: u64,
    /// What it did.
    pub(crate) kind: EventKind,
    /// The host's time in milliseconds since 1970; 0 where the feed tells none.
    pub(crate) time_ms: u64,
    /// The order that it is about.
    pub(crate) order: Option<u128>,
    /// Total of an order that was made, in minor units.
    pub(crate) total: Option<i64>,
    /// Whether a policy decided the prices, so that list prices say nothing about the total.
    pub(crate) priced: bool,
    /// New deadline of a reservation in milliseconds since 1970; 0 where there is none.
    pub(crate) deadline_ms: u64,
    /// Movements of SKUs of the run.
    pub(crate) movements: Vec<Movement>,
}

/// What the host says about the stock of one SKU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct StockLevel {
    /// Units that may be promised.
    pub(crate) available: u64,
    /// Units of baskets in flight.
    pub(crate) tentative: u64,
    /// Units reserved.
    pub(crate) reserved: u64,
    /// Units committed.
    pub(crate) committed: u64,
    /// Units set aside.
    pub(crate) unavailable: u64,
    /// Units shipped.
    pub(crate) shipped: u64,
    /// Position that the figures reflect.
    pub(crate) seq: u64,
}

#[derive(Deserialize)]
struct PageWire<'a> {
    #[serde(borrow)]
    data: Vec<EventWire<'a>>,
    next: u64,
}

#[derive(Deserialize)]
struct EventWire<'a> {
    seq: u64,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    aggregate: Cow<'a, str>,
    #[serde(default)]
    version: u32,
    #[serde(borrow, default)]
    movements: Vec<MovementWire<'a>>,
    #[serde(default)]
    lines: Option<serde::de::IgnoredAny>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default)]
    total: Option<TotalWire>,
    #[serde(default)]
    pricing: Option<serde::de::IgnoredAny>,
    #[serde(borrow, default)]
    expires_at: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct TotalWire {
    #[serde(default)]
    amount: Option<i64>,
}

#[derive(Deserialize)]
struct MovementWire<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    location: u32,
    quantity: u64,
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
}

/// Reads one page of `GET /v1/events`: its events and the position to ask for next.
///
/// # Errors
///
/// Returns a target error for what is not the contract's JSON, or an unknown bucket.
pub(crate) fn read_page(
    body: &[u8],
    catalogue: &Catalogue,
) -> Result<(Vec<FeedEvent>, u64), LoadError> {
    let page: PageWire<'_> = serde_json::from_slice(body)
        .map_err(|e| LoadError::target(format!("page of events is not as documented: {e}")))?;
    let events = page.data.iter().map(|event| neutral(event, catalogue));
    Ok((events.collect::<Result<_, _>>()?, page.next))
}

fn neutral(event: &EventWire<'_>, catalogue: &Catalogue) -> Result<FeedEvent, LoadError> {
    let mut movements = Vec::new();
    for movement in &event.movements {
        let Some(sku) = catalogue.find(&movement.sku) else { continue };
        let bucket = |name: &str| {
            Bucket::from_name(name).ok_or_else(|| {
                LoadError::target(format!("event {} names the bucket {name:?}", event.seq))
            })
        };
        movements.push(Movement {
            sku,
            location: movement.location,
            quantity: movement.quantity,
            from: bucket(&movement.from)?,
            to: bucket(&movement.to)?,
        });
    }
    let kind = match event.kind.as_ref() {
        "order.placed" if event.lines.is_some() || event.version == 1 => EventKind::Bought,
        "order.placed" => EventKind::Placed,
        "order.reserved" => EventKind::Reserved,
        "order.extended" => EventKind::Extended,
        "order.expired" => EventKind::Expired,
        "order.released" | "order.rejected" | "reservation.broken" => EventKind::Ended,
        _ => EventKind::Other,
    };
    Ok(FeedEvent {
        seq: event.seq,
        kind,
        time_ms: millis_from_text(&event.time).unwrap_or(0),
        order: order_from_text(&event.aggregate),
        total: event.total.as_ref().and_then(|total| total.amount),
        priced: event.pricing.is_some(),
        deadline_ms: event.expires_at.as_deref().and_then(millis_from_text).unwrap_or(0),
        movements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::RunSku;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.add(RunSku { code: "hot".into(), limit: None, price: 1, put_in: 0 });
        catalogue
    }

    /// A page as the contract shows it becomes neutral events; foreign SKUs are left out.
    #[test]
    fn a_page_is_read() {
        let body = br#"{"data":[{"seq":7,"type":"order.placed","time":"1970-01-01T00:00:02Z",
            "aggregate":"ord_00000000000000000000000001","version":1,"movements":[
            {"sku":"hot","location":1,"lot":0,"quantity":2,"from":"available","to":"committed","line":0},
            {"sku":"else","location":1,"lot":0,"quantity":2,"from":"available","to":"committed","line":1}],
            "lines":[{"sku":"hot","quantity":2}],"total":{"amount":1,"currency":"EUR"}}],"next":7}"#;
        let (events, next) = read_page(body, &catalogue()).expect("as documented");
        let (from, to) = (Bucket::Available, Bucket::Committed);
        let movements = vec![Movement { sku: 0, location: 1, quantity: 2, from, to }];
        let event = FeedEvent {
            seq: 7,
            kind: EventKind::Bought,
            time_ms: 2_000,
            order: Some(1),
            total: Some(1),
            priced: false,
            deadline_ms: 0,
            movements,
        };
        assert_eq!((events, next), (vec![event], 7));
    }

    /// What is not the contract is an error that says where.
    #[test]
    fn a_page_off_the_contract_is_refused() {
        let read = |body: &str| read_page(body.as_bytes(), &catalogue()).map_err(|e| e.to_string());
        assert!(read("{}").is_err_and(|e| e.contains("missing field `data`")));
        assert!(read("[").is_err_and(|e| e.contains("line 1")));
        let odd = r#"{"data":[{"seq":7,"type":"x","movements":[{"sku":"hot","location":1,
            "quantity":1,"from":"shelf","to":"committed"}]}],"next":7}"#;
        assert!(read(odd).is_err_and(|e| e.contains("event 7 names the bucket \"shelf\"")));
    }
}
