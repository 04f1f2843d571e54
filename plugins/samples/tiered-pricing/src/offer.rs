//! One offer: for what, for whom, when, and how much.

use onhand_plugin_sdk::config::{ConfigError, Object};
use onhand_plugin_sdk::pricing::{Line, Order};

use crate::window::Window;

/// Largest amount of money in minor units.
pub(crate) const MINOR_MAX: i64 = (1 << 53) - 1;

/// What an offer takes something off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The whole order.
    Order,
    /// Lines of a class of goods.
    Class(u32),
    /// Lines of a SKU.
    Sku(u64),
}

impl Target {
    pub(crate) fn is_line(self, line: &Line) -> bool {
        match self {
            Self::Order => false,
            Self::Class(class) => class == line.class,
            Self::Sku(sku) => sku == line.sku,
        }
    }
}

/// A set of offers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers(u32);

impl Offers {
    pub(crate) fn has(self, offer: &Offer) -> bool {
        self.0 & offer.bit != 0
    }

    pub(crate) fn add(&mut self, offer: &Offer) {
        self.0 |= offer.bit;
    }
}

impl<'o> FromIterator<&'o Offer> for Offers {
    fn from_iter<I: IntoIterator<Item = &'o Offer>>(offers: I) -> Self {
        let mut set = Self::default();
        offers.into_iter().for_each(|offer| set.add(offer));
        set
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Its own bit of a set.
    bit: u32,
    pub(crate) code: u32,
    pub(crate) target: Target,
    pub(crate) group: u32,
    pub(crate) coupon: u64,
    segment: u32,
    window: Window,
    off_bp: i64,
    off: i64,
    most: i64,
}

impl Offer {
    pub(crate) fn read(mut from: Object) -> Result<Self, ConfigError> {
        let numbers = 1..=i64::from(u32::MAX);
        let target = if from.has("sku") {
            Target::Sku(from.bits("sku")?)
        } else if from.has("class") {
            Target::Class(from.int("class", numbers.clone())? as u32)
        } else {
            Target::Order
        };
        let offer = Self {
            bit: 0,
            code: from.int("code", numbers)? as u32,
            target,
            group: from.int_or("group", 0..=u32::MAX.into(), 0)? as u32,
            coupon: if from.has("coupon") { from.bits("coupon")? } else { 0 },
            segment: from.int_or("segment", 0..=u32::MAX.into(), 0)? as u32,
            window: Window::read(&mut from)?,
            off_bp: from.int_or("off_bp", 1..=10_000, 0)?,
            off: from.int_or("off", 1..=MINOR_MAX, 0)?,
            most: from.int_or("most", 1..=MINOR_MAX, MINOR_MAX)?,
        };
        if (offer.off_bp == 0) == (offer.off == 0) {
            let text = format!("offer {} wants either off_bp or off", offer.code);
            return Err(ConfigError::new(text));
        }
        from.end()?;
        Ok(offer)
    }

    /// Returns the offer at its place in the configuration, which is below 32.
    pub(crate) fn at(self, place: usize) -> Self {
        Self { bit: 1 << place, ..self }
    }

    /// Returns whether the offer is for this order, whatever its lines.
    pub(crate) fn applies(&self, order: &Order<'_>) -> bool {
        (self.segment == 0 || self.segment == order.header.segment)
            && (self.coupon == 0 || order.coupons.contains(&self.coupon))
            && self.window.is_open(order.header.now)
    }

    /// Returns what it takes off what is left, in minor units.
    pub(crate) fn off(&self, left: i64) -> i64 {
        let off = if self.off == 0 { part(left, self.off_bp) } else { self.off };
        off.min(self.most).min(left)
    }
}

/// Returns so many basis points of an amount, rounded down.
pub(crate) const fn part(amount: i64, bp: i64) -> i64 {
    // Exact, and no product needs more than 64 bits, so that the check of one, which takes more
    // fuel than all else here, would find nothing.
    (amount / 10_000).wrapping_mul(bp) + (amount % 10_000).wrapping_mul(bp) / 10_000
}
