//! What policies have decided about a basket before the engine sees it; recorded with the order.
//!
//! A policy is a plugin, or a built-in, with one configuration. The engine never runs one: it
//! checks that a decision names a policy it knows, records it, and acts on the recorded output.

/// What a policy decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PolicyKind {
    /// Prices of a basket.
    Pricing = 1,
    /// Suspicion of an order.
    Fraud = 2,
    /// What goes with a basket.
    Recommend = 3,
}

impl PolicyKind {
    /// Returns the word of the HTTP API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pricing => "pricing",
            Self::Fraud => "fraud",
            Self::Recommend => "recommend",
        }
    }
}

/// Number of a policy: given by the engine, from 1, to each pair of plugin and configuration that
/// a [`PolicyStep`] names for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyNo(pub u16);

/// Who has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DecidedBy {
    /// The policy.
    Policy = 0,
    /// The built-in policy, because the plugin failed.
    BuiltIn = 1,
    /// Nobody: let pass, because the plugin failed.
    FailOpen = 2,
}

/// How one decision came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyDecision {
    /// The policy that was asked; one of the right kind that a step has named.
    pub policy: PolicyNo,
    /// Who has decided.
    pub by: DecidedBy,
    /// Fuel of the plugin for this order; 0 for a built-in.
    pub fuel: u32,
    /// First 8 bytes of the BLAKE3 hash of the facts that it was given.
    pub input: u64,
}

/// Suspicion of an order: its `risk` axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Risk {
    /// Nobody has looked.
    #[default]
    Unscored = 0,
    /// May be placed.
    Allow = 1,
    /// The customer must prove something first.
    Challenge = 2,
    /// Somebody must look first; the reservation holds until its own deadline.
    Review = 3,
    /// Refused.
    Deny = 4,
}

impl Risk {
    /// Returns the word of the HTTP API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unscored => "unscored",
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Review => "review",
            Self::Deny => "deny",
        }
    }

    /// Returns whether somebody must still look: challenge or review.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Challenge | Self::Review)
    }
}

/// What a fraud policy has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FraudDecision {
    /// How it came to be.
    pub decision: PolicyDecision,
    /// The verdict; not [`Risk::Unscored`].
    pub risk: Risk,
    /// Points, 0 to 1,000.
    pub points: u16,
    /// The policy's reason.
    pub code: u32,
}

/// Why policies refuse a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyRefusal {
    /// The pricing policy refuses it, with its code: `price_refused`.
    Price(u32),
    /// The fraud policy denies it, with its code: `fraud_denied`.
    Fraud(u32),
    /// A plugin has failed and its failure policy is to refuse: `plugin_failed`, with its number.
    Failed(PolicyNo),
    /// The quote that it names is no longer valid: `quote_expired`.
    Quote,
}

/// All that policies have decided about one basket.
///
/// A repetition of the key is compared by what the caller asked alone: lines (without their
/// prices where `pricing` is here, without the last `added` ones), customer, fill, times, expected
/// total and `ask`. So the first answer is found again even if a policy would decide otherwise by
/// now, or refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Hash of what else the caller asked (coupons, what it said of address and device); 0 if
    /// nothing.
    pub ask: u64,
    /// Lines at the end of the basket that the pricing policy has added: uses of coupons.
    pub added: u16,
    /// Where the prices of the lines come from.
    pub pricing: Option<PolicyDecision>,
    /// What the order's risk comes from.
    pub fraud: Option<FraudDecision>,
    /// Why the basket is refused, unless its key finds an earlier answer.
    pub refusal: Option<PolicyRefusal>,
    /// How long a `buy` under challenge or review is reserved, in milliseconds.
    pub review_ms: u64,
}

/// What happens to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Step {
    /// It is there and may be asked for.
    Installed = 1,
    /// It decides, at once for all.
    Activated = 2,
    /// It is asked beside the one that decides; its answers are compared.
    Shadowed = 3,
    /// It decides for a share of the customers.
    Canary = 4,
    /// After a canary it decides for all.
    Promoted = 5,
    /// The one before decides again; by an operator.
    RolledBack = 6,
    /// The one before decides again; by the guards.
    Guarded = 7,
    /// It stays, whatever is installed, until it is let go.
    Pinned = 8,
    /// It is no longer pinned.
    Unpinned = 9,
    /// Its shadow or canary ends without more.
    Stopped = 10,
    /// It is gone; decisions of it stay in the journal.
    Removed = 11,
}

impl Step {
    /// Every step, by its number.
    pub const ALL: [Self; 11] = [
        Self::Installed,
        Self::Activated,
        Self::Shadowed,
        Self::Canary,
        Self::Promoted,
        Self::RolledBack,
        Self::Guarded,
        Self::Pinned,
        Self::Unpinned,
        Self::Stopped,
        Self::Removed,
    ];

    /// Returns the step of a number of the journal, 1 to 11.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number == 0 || number as usize > Self::ALL.len() {
            return None;
        }
        Some(Self::ALL[number as usize - 1])
    }

    /// Returns the word that events use, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Activated => "activated",
            Self::Shadowed => "shadowed",
            Self::Canary => "canary",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Guarded => "guarded",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
        }
    }
}

/// Records what happens to a policy: the command of each step of a plugin's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStep {
    /// Idempotency key.
    pub key: crate::id::Key,
    /// What it decides about.
    pub kind: PolicyKind,
    /// What happens.
    pub step: Step,
    /// Name, 1 to 64 bytes of `a-z`, `0-9`, `.`, `_`, `-`, `/`.
    pub name: String,
    /// Version as its maker writes it, up to 32 bytes, printable ASCII.
    pub version: String,
    /// BLAKE3 of the plugin's component; of its name for a built-in.
    pub plugin: [u8; 32],
    /// BLAKE3 of its configuration.
    pub config: [u8; 32],
    /// Share of the customers of a canary in ten-thousandths, else 0.
    pub share: u16,
    /// Why, for people, up to 255 bytes, printable ASCII; may be empty.
    pub note: String,
}

/// Records what a person, or a step-up check, has found about an order under challenge or review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRisk {
    /// Idempotency key.
    pub key: crate::id::Key,
    /// The order: a reservation whose risk is challenge or review.
    pub order: crate::id::OrderId,
    /// What was found; not [`Risk::Unscored`].
    pub risk: Risk,
    /// A number of the caller's for the journal; 0 for none.
    pub reason: u16,
}

/// A policy and its life, as [`Engine::policies`](crate::Engine::policies) tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// Its number.
    pub no: PolicyNo,
    /// What it decides about.
    pub kind: PolicyKind,
    /// Name, as its last step says.
    pub name: String,
    /// Version as its maker writes it, as its last step says.
    pub version: String,
    /// BLAKE3 of the plugin's component; of its name for a built-in.
    pub plugin: [u8; 32],
    /// BLAKE3 of its configuration.
    pub config: [u8; 32],
    /// What has happened to it, oldest first.
    pub steps: Vec<PolicyStepView>,
}

/// One step of a policy's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStepView {
    /// What happened.
    pub step: Step,
    /// Share of the customers of a canary in ten-thousandths, else 0.
    pub share: u16,
    /// When it happened.
    pub at: crate::time::Timestamp,
    /// Position of its record in the journal.
    pub seq: u64,
    /// Why, for people; may be empty.
    pub note: String,
}
