//! Facts rebuilt from the orders of a journal, as far as it holds them.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use onhand_core::{Aggregate, Engine, Event, EventOrder, Money, Risk, SkuId};
use onhand_plugin_bundle::{Answer, Facts, Fixture, Kind};
use onhand_policy::decision::Score;
use onhand_policy::fact::{
    COUPONS_MAX, DISTANCE_UNKNOWN, FraudHeader, FraudLine, PricingHeader, PricingLine,
};
use onhand_policy::fraud::{Sighting, Stage, Velocity};

use crate::replay::{Known, Recorded, Source};
use crate::terminal::{Failure, Terminal};
use crate::{FILE, USAGE};

/// Events that are read at once.
const PAGE: usize = 10_000;
/// Customers whose orders are counted for velocity.
const SUBJECTS_MAX: u32 = 1 << 20;

/// What a journal does not hold, of a pricing plugin's facts.
const PRICING_NOTE: &str = "not in a journal, and so 0: segment, class, location, coupons that were \
                            given and not used; list prices are today's";
/// The same for a fraud plugin.
const FRAUD_NOTE: &str = "not in a journal, and so 0 or not known: address, device, distance, age of \
                          the account, orders that were refused; unit prices are today's list prices";
const PART_NOTE: &str = "a journal has the total of what was granted: orders that were granted in \
                         part differ by what was not";
const CUSTOMER_NOTE: &str = "customers are replaced by a hash with a key of this run";

/// Rebuilds the facts of the last orders, or of one.
pub(crate) fn read(
    dir: &Path,
    kind: Kind,
    last: u64,
    order: Option<&str>,
    terminal: &mut Terminal<'_>,
) -> Result<Source, Failure> {
    if kind == Kind::Recommend {
        return Err(Failure::new(USAGE, "a journal has no requests for recommendations")
            .help("replay a recording of a host instead: --from recorded.ndjson"));
    }
    let engine = |error: onhand_core::Error| {
        Failure::new(FILE, format!("{}: {error}", dir.display())).help(error.help())
    };
    if !std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let text = format!("{} has no journal", dir.display());
        return Err(Failure::new(FILE, text).help("name the data directory of a host"));
    }
    let (shop, _) = Engine::builder(dir).open().map_err(engine)?;
    let mut rebuilt = Rebuilder::new(kind)?;
    let mut all: VecDeque<Recorded> = VecDeque::new();
    let first = shop.events(0, 0).map_err(engine)?.first_available;
    let mut after = first.saturating_sub(1);
    let end = shop.durable_seq();
    while after < end {
        let page = shop.events(after, PAGE).map_err(engine)?;
        for event in &page.events {
            let Some(recorded) = rebuilt.take(&shop, event) else { continue };
            if order.is_some_and(|order| recorded.fixture.id.as_deref() != Some(order)) {
                continue;
            }
            if all.len() as u64 >= last {
                all.pop_front();
            }
            all.push_back(recorded);
        }
        if page.next <= after {
            break;
        }
        after = page.next;
        terminal.progress(after.min(end), end, "journal");
    }
    shop.close().map_err(engine)?;
    let mut notes = vec![CUSTOMER_NOTE.to_owned()];
    notes.extend(match kind {
        Kind::Fraud => vec![FRAUD_NOTE.to_owned()],
        _ => vec![PRICING_NOTE.to_owned(), PART_NOTE.to_owned()],
    });
    if first > 1 {
        notes.push(format!("records before {first} are no longer in the journal"));
    }
    if rebuilt.left_out > 0 {
        notes.push(format!(
            "{} orders were left out: their facts cannot be rebuilt",
            rebuilt.left_out
        ));
    }
    Ok(Source { all: all.into(), notes })
}

/// Turns events into facts, in the order of the journal.
struct Rebuilder {
    kind: Kind,
    velocity: Velocity,
    key: [u8; 32],
    /// List prices by SKU; looked up only, so that the order of a hash never shows.
    prices: HashMap<SkuId, i64>,
    left_out: u64,
}

impl Rebuilder {
    fn new(kind: Kind) -> Result<Self, Failure> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|_| Failure::new(FILE, "the system gives no random numbers"))?;
        let velocity = Velocity::new(SUBJECTS_MAX).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Self { kind, velocity, key, prices: HashMap::new(), left_out: 0 })
    }

    fn price(&mut self, shop: &Engine, sku: SkuId) -> Option<i64> {
        if let Some(price) = self.prices.get(&sku) {
            return Some(*price);
        }
        let price = shop.sku(sku)?.price.minor();
        self.prices.insert(sku, price);
        Some(price)
    }

    /// Returns the facts of an event that has made an order.
    fn take(&mut self, shop: &Engine, event: &Event) -> Option<Recorded> {
        let order = event.order.as_ref()?;
        let Aggregate::Order(id) = event.aggregate else { return None };
        let facts = match self.kind {
            Kind::Fraud => self.fraud(shop, event, order),
            _ => self.pricing(shop, event, order),
        };
        self.see(event, order);
        let facts = facts.filter(|facts| facts.check().is_ok());
        let Some(facts) = facts else {
            self.left_out += 1;
            return None;
        };
        let mut fixture = Fixture::new(facts);
        fixture.id = Some(id.to_string());
        let known = match self.kind {
            Kind::Fraud => match score(event) {
                Some(score) => {
                    fixture = fixture.expecting(&Answer::Fraud(vec![score]));
                    Known::Answer
                }
                None => Known::Nothing,
            },
            _ => Known::Total(order.total.minor()),
        };
        Some(Recorded { fixture, known })
    }

    /// Lines that the buyer asked for, with list prices, and the coupons that the policy used.
    fn lines(
        &mut self,
        shop: &Engine,
        event: &Event,
        order: &EventOrder,
    ) -> Option<(Vec<PricingLine>, Vec<u64>)> {
        let added = event.decided.as_ref().map_or(0, |decided| usize::from(decided.added));
        let (asked, uses) = order.lines.split_at(order.lines.len().checked_sub(added)?);
        let mut lines = Vec::with_capacity(asked.len());
        for &(sku, quantity) in asked {
            let unit = self.price(shop, sku)?;
            lines.push(PricingLine { sku: sku.bits(), quantity, unit, ..PricingLine::default() });
        }
        let coupons = uses.iter().map(|(sku, _)| sku.bits()).take(COUPONS_MAX).collect();
        Some((lines, coupons))
    }

    fn hashed(&self, customer: u64) -> u64 {
        if customer == 0 {
            return 0;
        }
        let hash = blake3::keyed_hash(&self.key, &customer.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(first).max(1)
    }

    fn pricing(&mut self, shop: &Engine, event: &Event, order: &EventOrder) -> Option<Facts> {
        let (lines, coupons) = self.lines(shop, event, order)?;
        let header = PricingHeader {
            customer: self.hashed(order.customer.0),
            now: event.time.millis(),
            currency: order.total.currency().number().into(),
            line_count: lines.len() as u32,
            coupon_count: coupons.len() as u32,
            ..PricingHeader::default()
        };
        Some(Facts::Pricing { headers: vec![header], lines, coupons })
    }

    fn fraud(&mut self, shop: &Engine, event: &Event, order: &EventOrder) -> Option<Facts> {
        let (lines, _) = self.lines(shop, event, order)?;
        let line = |line: &PricingLine| FraudLine {
            sku: line.sku,
            quantity: line.quantity,
            unit: line.unit,
        };
        let mut header = FraudHeader {
            customer: order.customer.0,
            now: event.time.millis(),
            currency: order.total.currency().number().into(),
            total: order.total.minor(),
            units: lines.iter().fold(0, |units: u32, line| units.saturating_add(line.quantity)),
            distance_km: DISTANCE_UNKNOWN,
            line_count: lines.len() as u32,
            ..FraudHeader::default()
        };
        self.velocity.fill(&mut header);
        header.customer = self.hashed(header.customer);
        Some(Facts::Fraud { headers: vec![header], lines: lines.iter().map(line).collect() })
    }

    /// Counts an order for those after it.
    fn see(&mut self, event: &Event, order: &EventOrder) {
        let amount: Money = order.total;
        let (customer, now) = (order.customer, event.time.millis());
        let sighting = Sighting { customer, address: 0, device: 0, now, amount };
        self.velocity.observe(&sighting, Stage::Attempted);
        self.velocity.observe(&sighting, Stage::Committed);
    }
}

/// Returns the score that was recorded with an order.
fn score(event: &Event) -> Option<Score> {
    let fraud = event.decided.as_ref()?.fraud.as_ref()?;
    let verdict = match fraud.risk {
        Risk::Unscored | Risk::Allow => 0,
        Risk::Challenge => 1,
        Risk::Review => 2,
        Risk::Deny => 3,
    };
    Some(Score { points: fraud.points.into(), verdict, code: fraud.code })
}
