//! The set of policies that decides now: swapped as a whole, so that a request sees one only.

use std::sync::Arc;

use onhand_core::{CustomerId, Key};
use onhand_plugin_runtime::{Fraud, Held, Plugin, Pricing, Recommend, World};

use crate::guard::Watch;
use crate::limits::{HERE_DEADLINE_MS_MAX, HERE_FUEL_MAX};
use crate::policy::{Policy, PriceBook, RiskBook};

/// A whole in ten-thousandths.
pub(crate) const WHOLE: u16 = 10_000;

/// A policy that decides for a share of the customers.
pub(crate) struct Trial<W: World> {
    pub(crate) policy: Arc<Policy<W>>,
    pub(crate) share: u16,
    pub(crate) watch: Arc<Watch>,
}

/// Which of two policies decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Active,
    Canary,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Active, Self::Canary];
}

/// Who is asked about one customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Who decides; `None` if nobody does.
    pub(crate) side: Option<Side>,
    /// Whether the shadow is asked too.
    pub(crate) shadowed: bool,
}

/// Who is asked on one kind of question.
pub(crate) struct Route<W: World> {
    pub(crate) active: Option<Arc<Policy<W>>>,
    pub(crate) canary: Option<Trial<W>>,
    pub(crate) shadow: Option<(Arc<Policy<W>>, u16)>,
}

impl<W: World> Default for Route<W> {
    fn default() -> Self {
        Self { active: None, canary: None, shadow: None }
    }
}

/// Returns whether a share of the customers holds this one, the same for one plugin at any time.
///
/// An unnamed customer is told apart by the order's key.
pub(crate) fn in_share(share: u16, customer: CustomerId, key: Key, plugin: &[u8; 32]) -> bool {
    if share >= WHOLE {
        return true;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(plugin);
    if customer == CustomerId::NONE {
        hasher.update(&key.bits().to_le_bytes());
    } else {
        hasher.update(&customer.0.to_le_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // Up to 2^64: the share of it, in ten-thousandths, without a remainder that would matter.
    let point = (u128::from(u64::from_be_bytes(first)) * u128::from(WHOLE)) >> 64;
    point < u128::from(share)
}

impl<W: World> Route<W> {
    /// Returns who is asked about a customer; an unnamed one is told apart by the order's key.
    pub(crate) fn part(&self, customer: CustomerId, key: Key) -> Part {
        let holds =
            |policy: &Policy<W>, share| in_share(share, customer, key, &policy.identity.plugin);
        let side = match (&self.canary, &self.active) {
            (Some(trial), _) if holds(&trial.policy, trial.share) => Some(Side::Canary),
            (_, Some(_)) => Some(Side::Active),
            (_, None) => None,
        };
        let shadowed = self.shadow.as_ref().is_some_and(|(policy, share)| holds(policy, *share));
        Part { side, shadowed }
    }

    /// Returns the policy of a side.
    pub(crate) fn policy(&self, side: Side) -> Option<&Policy<W>> {
        match side {
            Side::Active => self.active.as_deref(),
            Side::Canary => self.canary.as_ref().map(|trial| &*trial.policy),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.active.is_none() && self.canary.is_none() && self.shadow.is_none()
    }

    /// Returns the plugins that may decide.
    fn plugins(&self) -> impl Iterator<Item = &Plugin<W>> {
        let canary = self.canary.as_ref().map(|trial| &trial.policy);
        self.active.iter().chain(canary).filter_map(|policy| policy.plugin())
    }

    /// Returns the most fuel that deciding on one basket takes, by whichever plugin is asked.
    fn fuel(&self) -> u64 {
        self.plugins().map(|plugin| plugin.limits().fuel_per_order).max().unwrap_or(0)
    }

    /// Returns how many callers may call each plugin beside the desk's threads, which so never wait
    /// for an instance.
    fn seats(&self, threads: u64) -> u64 {
        let seats = |plugin: &Plugin<W>| {
            let limits = plugin.limits();
            let beside = limits.instances.saturating_sub(threads);
            if limits.deadline_ms <= HERE_DEADLINE_MS_MAX { beside } else { 0 }
        };
        self.plugins().map(seats).min().unwrap_or(u64::MAX)
    }

    /// Keeps an instance of each plugin that may decide; `None` if one of them has none that is warm
    /// and free.
    fn hold(&self) -> Option<Holds<'_, W>> {
        let mut holds = Holds::default();
        for side in Side::BOTH {
            if let Some(plugin) = self.policy(side).and_then(Policy::plugin) {
                *holds.of(side) = Some(plugin.hold()?);
            }
        }
        Some(holds)
    }
}

/// Instances that are kept for one caller.
pub(crate) struct Holds<'s, W: World> {
    active: Option<Held<'s, W>>,
    canary: Option<Held<'s, W>>,
}

impl<W: World> Default for Holds<'_, W> {
    fn default() -> Self {
        Self { active: None, canary: None }
    }
}

impl<'s, W: World> Holds<'s, W> {
    /// Returns the instance of a side's plugin; `None` where that has none or none is kept.
    pub(crate) const fn of(&mut self, side: Side) -> &mut Option<Held<'s, W>> {
        match side {
            Side::Active => &mut self.active,
            Side::Canary => &mut self.canary,
        }
    }
}

/// Instances of all plugins that may decide on baskets, kept for one caller; by default none are.
#[derive(Default)]
pub(crate) struct Kept<'s> {
    pub(crate) pricing: Holds<'s, Pricing>,
    pub(crate) fraud: Holds<'s, Fraud>,
}

/// Everything that one request needs to be decided.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) pricing: Route<Pricing>,
    pub(crate) fraud: Route<Fraud>,
    pub(crate) recommend: Route<Recommend>,
    pub(crate) prices: Arc<PriceBook>,
    pub(crate) risks: Arc<RiskBook>,
}

impl Set {
    /// Returns whether nobody decides on baskets.
    pub(crate) const fn is_silent(&self) -> bool {
        self.pricing.is_empty() && self.fraud.is_empty()
    }

    /// Returns how many callers at a time may decide on so many baskets where they are, beside the
    /// desk's threads: any number if no plugin is asked, none if that might take more than
    /// [`HERE_FUEL_MAX`], or a call more than [`HERE_DEADLINE_MS_MAX`].
    pub(crate) fn seats(&self, baskets: u64, threads: u64) -> u64 {
        // A call for many that fails is followed by one for each.
        let calls = if baskets > 1 { 2 * baskets } else { 1 };
        let fuel = (self.pricing.fuel() + self.fraud.fuel()).saturating_mul(calls);
        if fuel > HERE_FUEL_MAX {
            return 0;
        }
        self.pricing.seats(threads).min(self.fraud.seats(threads))
    }

    /// Keeps an instance of each plugin that may decide on baskets for one caller, who then waits
    /// for none, and starts one only in the place of one that failed; `None` if one of them has none that is warm and free.
    pub(crate) fn hold(&self) -> Option<Kept<'_>> {
        Some(Kept { pricing: self.pricing.hold()?, fraud: self.fraud.hold()? })
    }
}

#[cfg(test)]
mod tests {
    use onhand_core::{CustomerId, Key};

    use super::in_share;

    /// A share holds about so many customers, the larger share all of the smaller one, and
    /// another plugin others.
    #[test]
    fn shares_are_stable_and_nested() {
        let (one, other) = ([1; 32], [2; 32]);
        let key = Key::new(0);
        let within = |share, plugin: &[u8; 32]| -> Vec<bool> {
            (1..=20_000).map(|c| in_share(share, CustomerId(c), key, plugin)).collect()
        };
        let (five, ten, elsewhere) = (within(500, &one), within(1_000, &one), within(500, &other));
        let count = |list: &[bool]| list.iter().filter(|inside| **inside).count();
        assert!((850..1_150).contains(&count(&five)), "{}", count(&five));
        assert!(five.iter().zip(&ten).all(|(five, ten)| !five || *ten));
        assert_ne!(five, elsewhere);
        assert!(within(10_000, &one).iter().all(|inside| *inside));
        let unnamed = |key| in_share(5_000, CustomerId::NONE, Key::new(key), &one);
        let keys = (0..1_000).filter(|key| unnamed(*key)).count();
        assert!((400..600).contains(&keys), "{keys}");
    }
}
