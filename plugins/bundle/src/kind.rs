//! What a plugin decides about, and the WIT package of each kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a plugin decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Prices of orders.
    Pricing,
    /// Fraud scores of orders.
    Fraud,
    /// Recommendations for a basket.
    Recommend,
}

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

    /// Returns the kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the WIT package that a new plugin of the kind is made for, such as
    /// `onhand:pricing@1.0.0`.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Pricing => "onhand:pricing@1.0.0",
            Self::Fraud => "onhand:fraud@1.0.0",
            Self::Recommend => "onhand:recommend@1.0.0",
        }
    }

    /// Returns the text of that package.
    pub const fn wit(self) -> &'static str {
        match self {
            Self::Pricing => include_str!("../../wit/since_v1_0_0/pricing.wit"),
            Self::Fraud => include_str!("../../wit/since_v1_0_0/fraud.wit"),
            Self::Recommend => include_str!("../../wit/since_v1_0_0/recommend.wit"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    /// The embedded text is that of the package that a manifest names.
    #[test]
    fn each_kind_has_its_wit() {
        for kind in Kind::ALL {
            assert!(kind.wit().contains(&format!("\npackage {};\n", kind.package())), "{kind}");
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
