//! The kinds of plugin: names of their interfaces, types of their functions, versions known.

use std::fmt;

/// What a plugin decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Prices of orders.
    Pricing,
    /// Fraud scores of orders.
    Fraud,
    /// Recommendations for a basket.
    Recommend,
}

/// Version of an interface, as in `onhand:pricing/policy@1.0.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbiVersion {
    /// Another one means other types.
    pub major: u32,
    /// A higher one means more of them.
    pub minor: u32,
    /// A higher one means better words.
    pub patch: u32,
}

/// The version that this crate is written for: `plugins/wit/since_v1_0_0`.
pub const ABI: AbiVersion = AbiVersion { major: 1, minor: 0, patch: 0 };

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl AbiVersion {
    /// Returns whether a plugin made for `self` runs here: the same major version, no newer minor.
    pub fn runs_here(self) -> bool {
        self.major == ABI.major && (self.major, self.minor) <= (ABI.major, ABI.minor)
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        let mut parts = text.split('.').map(number);
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

/// Type of the function that every plugin has beside its own.
const INIT: &str = "func(config: string) -> result<_, string>";
/// Type of the one function that a plugin may call.
pub(crate) const LOG: &str = "func(level: u32, message: string)";

const PRICE: &str = "func(headers: list<record {customer: u64, segment: u32, now: u64, \
    currency: u32, first-line: u32, line-count: u32, first-coupon: u32, coupon-count: u32}>, \
    lines: list<record {sku: u64, class: u32, location: u32, quantity: u32, unit: s64}>, \
    coupons: list<u64>) -> list<record {kind: u32, at: u32, amount: s64, code: u32}>";
const SCORE: &str = "func(headers: list<record {customer: u64, address: u64, device: u64, \
    now: u64, currency: u32, total: s64, units: u32, customer-age-days: u32, distance-km: u32, \
    customer-orders-hour: u32, customer-orders-day: u32, customer-amount-day: s64, \
    address-orders-hour: u32, address-customers-day: u32, device-orders-hour: u32, \
    device-customers-day: u32, first-line: u32, line-count: u32}>, \
    lines: list<record {sku: u64, quantity: u32, unit: s64}>) \
    -> list<record {points: u32, verdict: u32, code: u32}>";
const PICK: &str = "func(requests: list<record {customer: u64, now: u64, first-item: u32, \
    item-count: u32, first-candidate: u32, candidate-count: u32, limit: u32}>, items: list<u64>, \
    candidates: list<record {sku: u64, together: u32, alone: u32, items: u32, popularity: u32, \
    available: u32}>) -> list<record {request: u32, sku: u64, score: u32}>";

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Pricing, Self::Fraud, Self::Recommend];

    /// Returns the name of the kind and of its WIT package.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pricing => "pricing",
            Self::Fraud => "fraud",
            Self::Recommend => "recommend",
        }
    }

    /// Returns the name of the function that decides.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Pricing => "price-batch",
            Self::Fraud => "score-batch",
            Self::Recommend => "recommend-batch",
        }
    }

    /// Returns the functions that a plugin exports, with their types as WIT without names.
    pub(crate) const fn exports(self) -> [(&'static str, &'static str); 2] {
        let own = match self {
            Self::Pricing => PRICE,
            Self::Fraud => SCORE,
            Self::Recommend => PICK,
        };
        [("init", INIT), (self.function(), own)]
    }

    /// Returns the import of the current version, as a linker names it.
    pub(crate) fn log_import(self) -> String {
        format!("onhand:{}/log@{ABI}", self.name())
    }

    /// Takes a name such as `onhand:pricing/policy@1.0.0` apart.
    pub(crate) fn interface(name: &str) -> Option<(Self, &str, AbiVersion)> {
        let (kind, rest) = name.strip_prefix("onhand:")?.split_once('/')?;
        let kind = Self::ALL.into_iter().find(|known| known.name() == kind)?;
        let (interface, version) = rest.split_once('@')?;
        Some((kind, interface, AbiVersion::parse(version)?))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{AbiVersion, Kind};

    /// Only what is written as a WIT name with three plain numbers is an interface of ours.
    #[test]
    fn names_of_interfaces_are_taken_literally() {
        let version = AbiVersion { major: 1, minor: 2, patch: 30 };
        let found = Kind::interface("onhand:fraud/policy@1.2.30");
        assert_eq!(found, Some((Kind::Fraud, "policy", version)));
        for name in [
            "onhand:fraud/policy",
            "onhand:fraud/policy@1.2",
            "onhand:fraud/policy@1.2.3.4",
            "onhand:fraud/policy@1.2.+3",
            "onhand:fraud/policy@1.2.99999999999",
            "onhand:colour/policy@1.2.3",
            "other:fraud/policy@1.2.3",
            "wasi:cli/environment@0.2.0",
        ] {
            assert_eq!(Kind::interface(name), None, "{name}");
        }
    }

    /// A plugin of the same major version runs unless it is newer than the host.
    #[test]
    fn newer_versions_do_not_run() {
        let runs = |major, minor, patch| AbiVersion { major, minor, patch }.runs_here();
        assert!(runs(1, 0, 0) && runs(1, 0, 9));
        assert!(!runs(0, 9, 0) && !runs(1, 1, 0) && !runs(2, 0, 0));
    }
}
