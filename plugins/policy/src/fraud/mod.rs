//! Built-in fraud check: what was seen lately of a customer, an address and a device, and rules.
//!
//! [`Velocity`] counts orders that were tried and amounts of orders that were committed, as it is
//! told by [`Velocity::observe`], and writes them into the facts. [`Rules`] turn facts into points,
//! a verdict and a reason. Neither reads a clock: time is that of the facts.

mod rules;
mod window;

pub use rules::{
    CONDITIONS_MAX, Condition, Measure, RULES_MAX, Rule, Rules, Test, Thresholds, default_rules,
};

use onhand_core::{CustomerId, Money};

use crate::fact::FraudHeader;
use crate::range::{SettingError, setting};
use window::{Customers, Ring, Table};

/// Length of one bucket of the hour in milliseconds: 5 minutes.
pub const HOUR_BUCKET_MS: u64 = 5 * 60_000;
/// Buckets of the hour.
pub const HOUR_BUCKETS: usize = 12;
/// Length of one bucket of the day in milliseconds: 1 hour.
pub const DAY_BUCKET_MS: u64 = 3_600_000;
/// Buckets of the day.
pub const DAY_BUCKETS: usize = 24;
/// Most different customers that are counted at one address or device; more count as many.
pub const CUSTOMERS_MAX: usize = 16;
/// Most subjects of one kind that a [`Velocity`] may be told to keep.
pub const SUBJECTS_MAX: u32 = 1 << 24;

/// How far an observed order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was asked for, whatever came of it: counts as an order.
    Attempted,
    /// It was committed: its amount counts.
    Committed,
}

/// An order, as far as velocity looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Customer; an unnamed one is not counted.
    pub customer: CustomerId,
    /// Hash of the address; 0 is not counted.
    pub address: u64,
    /// Hash of the device; 0 is not counted.
    pub device: u64,
    /// Time in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// Total; below zero counts as zero.
    pub amount: Money,
}

#[derive(Clone, Copy, Debug, Default)]
struct Customer {
    hour: Ring<u32, HOUR_BUCKETS>,
    day: Ring<u32, DAY_BUCKETS>,
}

/// An address or a device.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hour: Ring<u32, HOUR_BUCKETS>,
    customers: Customers<CUSTOMERS_MAX>,
}

impl Place {
    /// Returns the orders of the hour and the different customers of the day.
    fn seen(&self, hour: u64, day: u64) -> (u32, u32) {
        (count(self.hour.sum(hour)), self.customers.count(day, KEPT))
    }
}

/// Buckets after which a subject that was not seen is forgotten.
const KEPT: u64 = DAY_BUCKETS as u64;

fn count(sum: i64) -> u32 {
    u32::try_from(sum).unwrap_or(u32::MAX)
}

/// The buckets of a time.
struct Moment {
    hour: u64,
    day: u64,
}

impl Moment {
    const fn of(now: u64) -> Self {
        Self { hour: now / HOUR_BUCKET_MS, day: now / DAY_BUCKET_MS }
    }
}

/// What was seen within the last hour and the last day, in bounded memory.
///
/// Windows move by buckets: the hour is the current 5 minutes and the 11 times 5 before, the day
/// the current hour of the clock and the 23 before. Time never goes back: a sighting or a question
/// with an earlier time than the latest sighting counts as of that. When there are more subjects
/// than the limit, those seen longest ago are forgotten first, by the hour; of one hour, those that
/// came first.
///
/// # Example
///
/// ```
/// use onhand_core::{Currency, CustomerId, Money};
/// use onhand_policy::fact::FraudHeader;
/// use onhand_policy::fraud::{Sighting, Stage, Velocity};
///
/// let mut velocity = Velocity::new(65_536)?;
/// let amount = Money::new(20_00, Currency::EUR).ok_or("too much")?;
/// let first = Sighting { customer: CustomerId(1), address: 10, device: 20, now: 1_000, amount };
/// velocity.observe(&first, Stage::Attempted);
/// velocity.observe(&first, Stage::Committed);
/// velocity.observe(&Sighting { customer: CustomerId(2), ..first }, Stage::Attempted);
///
/// let mut facts = FraudHeader { customer: 1, device: 20, now: 2_000, currency: 978, ..Default::default() };
/// velocity.fill(&mut facts);
/// assert_eq!((facts.customer_orders_hour, facts.customer_amount_day), (1, 20_00));
/// assert_eq!((facts.device_orders_hour, facts.device_customers_day), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Velocity {
    now: u64,
    customers: Table<u64, Customer>,
    /// By customer and currency, so that amounts of two currencies are never added.
    amounts: Table<(u64, u16), Ring<i64, DAY_BUCKETS>>,
    addresses: Table<u64, Place>,
    devices: Table<u64, Place>,
}

impl Velocity {
    /// Makes windows that have seen nothing, for so many subjects of each kind: customers,
    /// customers' currencies, addresses, devices. About 500 bytes for each subject that is kept.
    ///
    /// # Errors
    ///
    /// Returns the limit if it is outside 1 to [`SUBJECTS_MAX`].
    pub fn new(subjects_max: u32) -> Result<Self, SettingError> {
        setting("subjects_max", 0, subjects_max.into(), 1, SUBJECTS_MAX.into())?;
        let max = subjects_max as usize;
        Ok(Self {
            now: 0,
            customers: Table::new(max),
            amounts: Table::new(max),
            addresses: Table::new(max),
            devices: Table::new(max),
        })
    }

    /// Counts one order at one stage.
    ///
    /// An order that is tried and committed is observed twice, once at each stage. After a restart
    /// the committed orders of the last day, observed at both stages in their order, bring
    /// everything back but orders that were refused.
    pub fn observe(&mut self, sighting: &Sighting, stage: Stage) {
        let customer = sighting.customer.0;
        match stage {
            Stage::Attempted => {
                let Sighting { address, device, now, .. } = *sighting;
                self.attempt(&mut FraudHeader {
                    customer,
                    address,
                    device,
                    now,
                    ..FraudHeader::default()
                });
            }
            Stage::Committed => {
                let Moment { day, .. } = self.at(sighting.now);
                if customer != 0 {
                    let key = (customer, sighting.amount.currency().number());
                    let amount = sighting.amount.minor().max(0);
                    self.amounts.touch(key, day, KEPT).add(day, amount);
                }
            }
        }
    }

    /// Writes what was seen into the facts as [`Velocity::fill`] does, then counts the order as
    /// [`Velocity::observe`] does at [`Stage::Attempted`], with one look-up for both.
    pub fn attempt(&mut self, facts: &mut FraudHeader) {
        let Moment { hour, day } = self.at(facts.now);
        let customer = facts.customer;
        (facts.customer_orders_hour, facts.customer_orders_day) = (0, 0);
        if customer != 0 {
            let seen = self.customers.touch(customer, day, KEPT);
            facts.customer_orders_hour = count(seen.hour.sum(hour));
            facts.customer_orders_day = count(seen.day.sum(day));
            seen.hour.add(hour, 1);
            seen.day.add(day, 1);
        }
        facts.customer_amount_day = self.amount(facts, day);
        let visit = |table: &mut Table<u64, Place>, key: u64| {
            if key == 0 {
                return (0, 0);
            }
            let place = table.touch(key, day, KEPT);
            let seen = place.seen(hour, day);
            place.hour.add(hour, 1);
            if customer != 0 {
                place.customers.add(day, customer);
            }
            seen
        };
        let address = visit(&mut self.addresses, facts.address);
        (facts.address_orders_hour, facts.address_customers_day) = address;
        let device = visit(&mut self.devices, facts.device);
        (facts.device_orders_hour, facts.device_customers_day) = device;
    }

    /// Writes what was seen into the fields of velocity, by the customer, address, device, currency
    /// and time that the facts have already.
    pub fn fill(&self, facts: &mut FraudHeader) {
        let Moment { hour, day } = Moment::of(self.now.max(facts.now));
        // Nobody is counted without a name, and most orders bring neither address nor device.
        let named = |key: u64| (key != 0).then_some(key);
        let customer = named(facts.customer).and_then(|key| self.customers.get(key));
        facts.customer_orders_hour = customer.map_or(0, |seen| count(seen.hour.sum(hour)));
        facts.customer_orders_day = customer.map_or(0, |seen| count(seen.day.sum(day)));
        facts.customer_amount_day = self.amount(facts, day);
        let place = |place: Option<&Place>| place.map_or((0, 0), |place| place.seen(hour, day));
        let address = place(named(facts.address).and_then(|key| self.addresses.get(key)));
        (facts.address_orders_hour, facts.address_customers_day) = address;
        let device = place(named(facts.device).and_then(|key| self.devices.get(key)));
        (facts.device_orders_hour, facts.device_customers_day) = device;
    }

    /// Takes note of a time, and returns where the latest one is.
    fn at(&mut self, now: u64) -> Moment {
        self.now = self.now.max(now);
        Moment::of(self.now)
    }

    /// Returns what the customer has paid within the day in the currency of the facts.
    fn amount(&self, facts: &FraudHeader, day: u64) -> i64 {
        let currency = u16::try_from(facts.currency).unwrap_or(0);
        let ring =
            if facts.customer == 0 { None } else { self.amounts.get((facts.customer, currency)) };
        ring.map_or(0, |ring| ring.sum(day))
    }

    /// Returns how many customers, customers' currencies, addresses and devices are kept.
    pub fn subjects(&self) -> [usize; 4] {
        [self.customers.len(), self.amounts.len(), self.addresses.len(), self.devices.len()]
    }
}
