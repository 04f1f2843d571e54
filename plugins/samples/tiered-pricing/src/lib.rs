//! Prices by quantity, in time windows, with rules for what may come together.
//!
//! For each line the largest tier that its quantity reaches sets the price. Then offers apply, in
//! the order of the configuration: each to lines of its class or SKU, or to the whole order, while
//! its window is open, for customers of its segment, and only with its coupon if it names one.
//!
//! # Stacking
//!
//! - Offers of one `group` exclude each other: of those that apply to a line (or to the order) the
//!   one that takes off most wins, the earlier among equals.
//! - Offers of different groups, and offers without one, add up.
//! - Percentages are of what is left after the tier and the offers before, rounded down; never more
//!   than what is left is taken off, and at most `most` minor units off one line, or off the order.
//!
//! Money is whole minor units, percentages are basis points: no float.

mod offer;
mod window;

use offer::{Offer, Offers, Target};
use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::pricing::{Order, Price, Pricing, Refusal};

pub use window::Window;

/// Most tiers of a configuration.
const TIERS_MAX: usize = 1_000;
/// Most offers of a configuration: a line may get eight adjustments, of which one is its tier.
const OFFERS_MAX: usize = 7;
/// Reason of a refusal: the order is below the least amount.
const BELOW_LEAST: u32 = 1;

/// From so many units on, a line of a class costs so much less.
#[derive(Clone, Copy, Debug)]
struct Tier {
    class: u32,
    units: u32,
    off_bp: i64,
    code: u32,
}

/// The plugin: a price list.
#[derive(Debug)]
pub struct Tiered {
    /// By class, then by units.
    tiers: Vec<Tier>,
    /// Offers that exclude each other, each group where its first offer stands; most stand alone.
    groups: Vec<Vec<Offer>>,
    least: i64,
}

impl Pricing for Tiered {
    fn new(config: &str) -> Result<Self, ConfigError> {
        let mut config = Object::read(config)?;
        let tiers: Result<Vec<Tier>, _> =
            config.objects("tiers")?.into_iter().map(Tier::read).collect();
        let mut tiers = tiers?;
        at_most("tiers", tiers.len(), TIERS_MAX)?;
        tiers.sort_by_key(|tier| (tier.class, tier.units));
        if let Some(pair) = tiers.windows(2).find(|p| p[0].key() == p[1].key()) {
            let Tier { class, units, .. } = pair[0];
            let text = format!("tiers: class {class} has two from {units} units on");
            return Err(ConfigError::new(text));
        }
        let offers: Result<Vec<Offer>, _> =
            config.objects("offers")?.into_iter().map(Offer::read).collect();
        let offers = offers?;
        at_most("offers", offers.len(), OFFERS_MAX)?;
        let least = config.int_or("least", 0..=offer::MINOR_MAX, 0)?;
        config.end()?;
        Ok(Self { tiers, groups: grouped(offers), least })
    }

    fn price(&self, order: &Order<'_>, price: &mut Price<'_>) -> Result<(), Refusal> {
        // Whether an offer is open depends on the order alone, not on its lines.
        let open: Offers = self.offers().filter(|offer| offer.applies(order)).collect();
        let (mut due, mut used) = (0, Offers::default());
        for (at, line) in order.lines.iter().enumerate() {
            let mut left = line.amount();
            if let Some(tier) = self.tier(line.class, line.quantity) {
                let off = offer::part(left, tier.off_bp);
                price.line(at, off, tier.code);
                left -= off;
            }
            let fits = |target: Target| target.is_line(line);
            self.apply(open, fits, &mut left, &mut used, |off, code| price.line(at, off, code));
            due += left;
        }
        if due < self.least {
            return Err(Refusal { code: BELOW_LEAST });
        }
        let whole = |target| target == Target::Order;
        self.apply(open, whole, &mut due, &mut used, |off, code| price.order(off, code));
        self.use_coupons(order, used, price);
        Ok(())
    }
}

impl Tier {
    const fn key(&self) -> (u32, u32) {
        (self.class, self.units)
    }

    fn read(mut from: Object) -> Result<Self, ConfigError> {
        let tier = Self {
            class: from.int("class", 1..=u32::MAX.into())? as u32,
            units: from.int("units", 1..=1_000_000_000)? as u32,
            off_bp: from.int("off_bp", 1..=10_000)?,
            code: from.int("code", 1..=u32::MAX.into())? as u32,
        };
        from.end()?;
        Ok(tier)
    }
}

impl Tiered {
    /// Returns the largest tier of a class that a quantity reaches.
    fn tier(&self, class: u32, quantity: u32) -> Option<&Tier> {
        let after = self.tiers.partition_point(|tier| tier.key() <= (class, quantity));
        let tier = self.tiers.get(after.checked_sub(1)?)?;
        (tier.class == class).then_some(tier)
    }

    fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.groups.iter().flatten()
    }

    /// Lets the open offers for one line, or for the order, take what they may off what is left.
    fn apply(
        &self,
        open: Offers,
        fits: impl Fn(Target) -> bool,
        left: &mut i64,
        used: &mut Offers,
        mut take: impl FnMut(i64, u32),
    ) {
        for group in &self.groups {
            let (mut most, mut best) = (0, None);
            for offer in group {
                if open.has(offer) && fits(offer.target) {
                    let off = offer.off(*left);
                    if off > most {
                        (most, best) = (off, Some(offer));
                    }
                }
            }
            if let Some(offer) = best {
                take(most, offer.code);
                *left -= most;
                used.add(offer);
            }
        }
    }

    /// Takes one use of each coupon whose offer has taken something off.
    fn use_coupons(&self, order: &Order<'_>, used: Offers, price: &mut Price<'_>) {
        for (at, coupon) in order.coupons.iter().enumerate() {
            let again = order.coupons[..at].contains(coupon);
            let mut worked = self.offers().filter(|offer| used.has(offer));
            let offer = worked.find(|offer| offer.coupon == *coupon);
            if let Some(offer) = offer.filter(|_| *coupon != 0 && !again) {
                price.coupon(at, offer.code);
            }
        }
    }
}

/// Puts offers of one group together, where the first of them stands.
fn grouped(offers: Vec<Offer>) -> Vec<Vec<Offer>> {
    let mut groups: Vec<Vec<Offer>> = Vec::with_capacity(offers.len());
    for (place, offer) in offers.into_iter().enumerate() {
        let offer = offer.at(place);
        let same =
            groups.iter_mut().find(|group| offer.group != 0 && group[0].group == offer.group);
        match same {
            Some(group) => group.push(offer),
            None => groups.push(vec![offer]),
        }
    }
    groups
}

fn at_most(what: &str, value: usize, most: usize) -> Result<(), ConfigError> {
    if value <= most {
        return Ok(());
    }
    Err(ConfigError::new(format!("{what} has {value} entries, at most {most}")))
}

onhand_plugin_sdk::export!(pricing: Tiered);
