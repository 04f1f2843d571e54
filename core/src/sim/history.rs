//! What the journal's events say together: I14, and I17: was a basket that was refused as sold
//! out really not to be had, at some moment while the request was on its way?

use std::collections::BTreeMap;

use crate::command::{Command, Fill, Line, SkuKind};
use crate::domain::bucket::Bucket;
use crate::engine::Engine;
use crate::event::{Aggregate, Event};
use crate::id::{LocationId, SkuId};
use crate::reject::Reject;

/// Events read at a time.
const CHUNK: usize = 10_000;

/// A refusal for want of stock, and the positions between which it was decided.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) command: Command,
    pub(super) reject: Reject,
    /// Records before this one had happened when the request was sent.
    pub(super) from: u64,
    /// The answer reflects records up to this one.
    pub(super) to: u64,
}

/// Available plus tentative units by SKU and location, record by record.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: BTreeMap<SkuId, Vec<Change>>,
    orders: BTreeMap<u128, (u32, u64)>,
    /// Promises that counts have broken, and those of orders at home in another shard.
    pub(super) broken: u64,
    pub(super) broken_elsewhere: u64,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    seq: u64,
    location: LocationId,
    units: i64,
}

/// Units of one SKU that a basket wants: of one location, or of all.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    sku: SkuId,
    location: LocationId,
    units: u64,
}

impl History {
    /// Reads all durable events of an engine.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with them.
    pub(super) fn read(engine: &Engine) -> Result<Self, String> {
        let mut history = Self::default();
        let mut after = 0;
        loop {
            let events = engine.events(after, CHUNK).map_err(|e| format!("events: {e}"))?;
            for event in &events.events {
                if event.seq != after + 1 {
                    return Err(format!("I14: event {} comes after {after}", event.seq));
                }
                after = event.seq;
                history.add(event)?;
            }
            if events.events.is_empty() {
                return Ok(history);
            }
        }
    }

    fn add(&mut self, event: &Event) -> Result<(), String> {
        if event.count.is_some() {
            let elsewhere = event.instructions.iter().any(|m| m.to == Bucket::Adjust);
            self.broken += 1;
            self.broken_elsewhere += u64::from(elsewhere);
        }
        if let Aggregate::Order(order) = event.aggregate
            && event.version > 0
        {
            let before = self.orders.insert(order.bits(), (event.version, event.seq));
            let (version, seq) = before.unwrap_or_default();
            if event.version != version + 1 || event.previous_seq != seq {
                return Err(format!(
                    "I14: event {} is version {} of {order} after event {}, but version {version} \
                     was event {seq}",
                    event.seq, event.version, event.previous_seq
                ));
            }
        }
        let counts = |b: Bucket| i64::from(matches!(b, Bucket::Available | Bucket::Tentative));
        for movement in &event.movements {
            let units =
                (counts(movement.to) - counts(movement.from)) * i64::from(movement.quantity);
            if units != 0 {
                let change = Change { seq: event.seq, location: movement.location, units };
                self.changes.entry(movement.sku).or_default().push(change);
            }
        }
        Ok(())
    }

    /// Checks that a refused basket could not be had at some moment.
    ///
    /// # Errors
    ///
    /// Returns the refusal if the basket could be had all the time.
    pub(super) fn check(&self, engine: &Engine, refused: &Refused) -> Result<(), String> {
        let (lines, fill) = match &refused.command {
            Command::Buy(buy) => (buy.lines.as_slice(), buy.fill),
            Command::Reserve(reserve) => (reserve.lines.as_slice(), reserve.fill),
            _ => return Ok(()),
        };
        let span = (refused.from, refused.to);
        let wants: Vec<Vec<Wanted>> = lines.iter().map(|line| wants(engine, line)).collect();
        let is_false = match fill {
            Fill::All => self.all_were_there(&wants, span),
            Fill::Min(units) => {
                self.some_were_there(lines, &wants, &fills(engine, lines), span, units.into())
            }
            Fill::Partial => self.some_were_there(lines, &wants, &fills(engine, lines), span, 1),
        };
        if is_false {
            return Err(format!(
                "I17: refused as {:?} although the units were there from event {} to {}: {:?}",
                refused.reject, refused.from, refused.to, refused.command
            ));
        }
        Ok(())
    }

    fn all_were_there(&self, wants: &[Vec<Wanted>], span: (u64, u64)) -> bool {
        let all: Vec<Wanted> = wants.iter().flatten().copied().collect();
        all.iter().all(|want| {
            let of_sku = all.iter().filter(|w| w.sku == want.sku);
            let anywhere: u64 = of_sku.clone().map(|w| w.units).sum();
            let here = of_sku.filter(|w| w.location == want.location).map(|w| w.units).sum();
            // A line for any location competes with those for one.
            let enough = want.location != LocationId::ANY
                || self.least(want.sku, LocationId::ANY, span) >= anywhere;
            enough && self.least(want.sku, want.location, span) >= here
        })
    }

    /// Whether so many units were there all the time; only where no two lines compete.
    fn some_were_there(
        &self,
        lines: &[Line],
        wants: &[Vec<Wanted>],
        fills: &[bool],
        span: (u64, u64),
        least: u64,
    ) -> bool {
        let all: Vec<SkuId> = wants.iter().flatten().map(|w| w.sku).collect();
        if all.iter().any(|sku| all.iter().filter(|s| *s == sku).count() > 1) {
            return false;
        }
        let had = |(line, wants): (&Line, &Vec<Wanted>)| {
            let asked = u64::from(line.quantity.units());
            let of_want = |w: &Wanted| self.least(w.sku, w.location, span) * asked / w.units;
            wants.iter().map(of_want).min().unwrap_or(0).min(asked)
        };
        let counted = lines.iter().zip(wants).zip(fills).filter(|(_, fills)| **fills);
        counted.map(|(line, _)| had(line)).sum::<u64>() >= least
    }

    /// The fewest available and tentative units of a SKU between two positions.
    fn least(&self, sku: SkuId, location: LocationId, (from, to): (u64, u64)) -> u64 {
        let Some(changes) = self.changes.get(&sku) else { return 0 };
        let mut units = 0_i64;
        let mut least = None;
        for change in changes.iter().filter(|c| c.seq <= to) {
            if change.seq >= from && least.is_none() {
                least = Some(units);
            }
            if location == LocationId::ANY || change.location == location {
                units += change.units;
            }
            least = least.map(|l| units.min(l));
        }
        least.unwrap_or(units).max(0) as u64
    }
}

/// Returns which lines a fill policy counts: not the uses of coupons beside goods.
fn fills(engine: &Engine, lines: &[Line]) -> Vec<bool> {
    let is_use = |line: &Line| engine.sku(line.sku).is_some_and(|sku| sku.kind == SkuKind::Coupon);
    let goods = !lines.iter().all(is_use);
    lines.iter().map(|line| !goods || !is_use(line)).collect()
}

fn wants(engine: &Engine, line: &Line) -> Vec<Wanted> {
    let Some(view) = engine.sku(line.sku) else { return Vec::new() };
    let (location, asked) = (line.location, u64::from(line.quantity.units()));
    if view.components.is_empty() {
        return vec![Wanted { sku: line.sku, location, units: asked }];
    }
    let component = |(sku, per): &(SkuId, crate::quantity::Quantity)| Wanted {
        sku: *sku,
        location,
        units: asked * u64::from(per.units()),
    };
    view.components.iter().map(component).collect()
}
