//! Why a well-formed command changed nothing.

use std::fmt;

/// Why a well-formed command changed nothing.
///
/// Ordered by precedence: when several apply, over all lines of a basket, the first is the answer,
/// at the first line that it applies to. What needs something that is not there does not apply: an
/// order that can't be placed has no total to compare. Codes appear in the
/// journal and the HTTP API, so a code is never renumbered or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Reject {
    /// The basket or list is empty or has too many entries.
    LineCount = 10,
    /// A quantity is zero, above its maximum, or adds up to more than can be counted.
    QuantityInvalid = 11,
    /// A time to live or hard cap is zero or above its maximum, or the cap is below the other.
    TtlInvalid = 12,
    /// A price is negative, a discount above its line, or the total beyond what money can hold.
    AmountInvalid = 13,
    /// The definition of a SKU contradicts itself: code, group number or components; or a field
    /// of a policy's step is outside its range.
    DefinitionInvalid = 14,
    /// A recorded decision contradicts itself: points, risk or added lines.
    DecisionInvalid = 15,
    /// The key was used before, with other contents.
    IdempotencyKeyReused = 20,
    /// A decision names a policy that no step has named, or one of another kind.
    PolicyUnknown = 21,
    /// The pricing policy refuses the basket.
    PriceRefused = 22,
    /// The fraud policy denies the order.
    FraudDenied = 23,
    /// A plugin has failed, and its failure policy is to refuse.
    PluginFailed = 24,
    /// The quote that the request names is no longer valid.
    QuoteExpired = 25,
    /// No such SKU is defined.
    SkuUnknown = 30,
    /// Another code has the same SKU id.
    SkuCodeTaken = 31,
    /// What can't be changed about a SKU was asked to change.
    SkuFixed = 32,
    /// The command needs a location, or one other than this.
    LocationInvalid = 33,
    /// The SKU is a kit where one with stock is needed, or the other way round.
    KitMismatch = 34,
    /// Lines, or the expected total, are in several currencies.
    CurrencyMismatch = 35,
    /// The SKU has a limit, and the basket names no customer.
    CustomerRequired = 36,
    /// No such order.
    OrderUnknown = 40,
    /// No such transfer, or not that many units of it are in transit.
    TransferUnknown = 41,
    /// The reservation has expired, was given up, or was broken by a count.
    ReservationExpired = 50,
    /// The order is in a state that does not allow this.
    StateConflict = 51,
    /// The order has another version than the caller has seen.
    StaleVersion = 52,
    /// More units than the line has committed.
    OverCommitted = 53,
    /// The books have another count of units in the cell than the caller expected.
    StaleCount = 54,
    /// Fewer units are available, or set aside, in this cell than are to be moved.
    StockShort = 55,
    /// The order's risk is challenge or review: it can't be placed yet.
    RiskOpen = 56,
    /// The total is not what the buyer has seen.
    PriceChanged = 60,
    /// The customer's limit for a SKU would be passed.
    LimitReached = 70,
    /// Fewer units can be promised than were asked.
    SoldOut = 80,
    /// Some units can be had, but not as many as the fill policy asks.
    PartialOnly = 81,
    /// Units, or the request's key, are held by requests in flight; the same request may succeed at
    /// once.
    Contended = 82,
    /// The time for a basket over several shards has run out.
    Busy = 83,
    /// A table is full: SKUs, cells, orders, or the changes of one order; or one record can't hold
    /// as many movements or breaks.
    CapacityReached = 90,
}

impl Reject {
    /// Every reject, in order of precedence.
    pub const ALL: &'static [Self] = &[
        Self::LineCount,
        Self::QuantityInvalid,
        Self::TtlInvalid,
        Self::AmountInvalid,
        Self::DefinitionInvalid,
        Self::DecisionInvalid,
        Self::IdempotencyKeyReused,
        Self::PolicyUnknown,
        Self::PriceRefused,
        Self::FraudDenied,
        Self::PluginFailed,
        Self::QuoteExpired,
        Self::SkuUnknown,
        Self::SkuCodeTaken,
        Self::SkuFixed,
        Self::LocationInvalid,
        Self::KitMismatch,
        Self::CurrencyMismatch,
        Self::CustomerRequired,
        Self::OrderUnknown,
        Self::TransferUnknown,
        Self::ReservationExpired,
        Self::StateConflict,
        Self::StaleVersion,
        Self::OverCommitted,
        Self::StaleCount,
        Self::StockShort,
        Self::RiskOpen,
        Self::PriceChanged,
        Self::LimitReached,
        Self::SoldOut,
        Self::PartialOnly,
        Self::Contended,
        Self::Busy,
        Self::CapacityReached,
    ];

    /// Returns the stable number of the journal.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns the stable code of the HTTP API.
    pub const fn code(self) -> &'static str {
        match self {
            Self::LineCount => "line_count",
            Self::QuantityInvalid => "quantity_invalid",
            Self::TtlInvalid => "ttl_invalid",
            Self::AmountInvalid => "amount_invalid",
            Self::DefinitionInvalid => "definition_invalid",
            Self::DecisionInvalid => "decision_invalid",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::PolicyUnknown => "policy_unknown",
            Self::PriceRefused => "price_refused",
            Self::FraudDenied => "fraud_denied",
            Self::PluginFailed => "plugin_failed",
            Self::QuoteExpired => "quote_expired",
            Self::SkuUnknown => "sku_unknown",
            Self::SkuCodeTaken => "sku_code_taken",
            Self::SkuFixed => "sku_fixed",
            Self::LocationInvalid => "location_invalid",
            Self::KitMismatch => "kit_mismatch",
            Self::CurrencyMismatch => "currency_mismatch",
            Self::CustomerRequired => "customer_required",
            Self::OrderUnknown => "not_found",
            Self::TransferUnknown => "transfer_unknown",
            Self::ReservationExpired => "reservation_expired",
            Self::StateConflict => "state_conflict",
            Self::StaleVersion => "stale_version",
            Self::OverCommitted => "over_committed",
            Self::StaleCount => "stale_count",
            Self::StockShort => "stock_short",
            Self::RiskOpen => "risk_open",
            Self::PriceChanged => "price_changed",
            Self::LimitReached => "limit_reached",
            Self::SoldOut => "sold_out",
            Self::PartialOnly => "partial_only",
            Self::Contended => "contended",
            Self::Busy => "busy",
            Self::CapacityReached => "capacity_reached",
        }
    }

    /// Returns whether the same command may succeed later without being changed.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::SoldOut
            | Self::PartialOnly
            | Self::Contended
            | Self::Busy
            | Self::StockShort
            | Self::RiskOpen
            | Self::PluginFailed
            | Self::LimitReached
            | Self::CapacityReached => true,
            Self::LineCount
            | Self::QuantityInvalid
            | Self::TtlInvalid
            | Self::AmountInvalid
            | Self::DefinitionInvalid
            | Self::DecisionInvalid
            | Self::IdempotencyKeyReused
            | Self::PolicyUnknown
            | Self::PriceRefused
            | Self::FraudDenied
            | Self::QuoteExpired
            | Self::SkuUnknown
            | Self::SkuCodeTaken
            | Self::SkuFixed
            | Self::LocationInvalid
            | Self::KitMismatch
            | Self::CurrencyMismatch
            | Self::CustomerRequired
            | Self::OrderUnknown
            | Self::TransferUnknown
            | Self::ReservationExpired
            | Self::StateConflict
            | Self::StaleVersion
            | Self::OverCommitted
            | Self::StaleCount
            | Self::PriceChanged => false,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LineCount => "number of lines is outside its range",
            Self::QuantityInvalid => "quantity is outside its range",
            Self::TtlInvalid => "time to live is outside its range",
            Self::AmountInvalid => "price, discount or total is outside its range",
            Self::DefinitionInvalid => "definition of the SKU or policy contradicts itself",
            Self::DecisionInvalid => "recorded decision contradicts itself",
            Self::IdempotencyKeyReused => "idempotency key was used before with other contents",
            Self::PolicyUnknown => "decision names a policy that is not known",
            Self::PriceRefused => "pricing policy refuses the basket",
            Self::FraudDenied => "fraud policy denies the order",
            Self::PluginFailed => "plugin failed and its policy is to refuse",
            Self::QuoteExpired => "quote is no longer valid",
            Self::SkuUnknown => "SKU is not defined",
            Self::SkuCodeTaken => "another code has the same SKU id",
            Self::SkuFixed => "kind, placement, currency and components of a SKU can't be changed",
            Self::LocationInvalid => "location is missing or not allowed here",
            Self::KitMismatch => "SKU is a kit where one with stock is needed, or the reverse",
            Self::CurrencyMismatch => "amounts are in several currencies",
            Self::CustomerRequired => "SKU has a limit and no customer is named",
            Self::OrderUnknown => "order is not known",
            Self::TransferUnknown => "transfer is not known or has fewer units in transit",
            Self::ReservationExpired => {
                "reservation has expired, was given up or was broken by a count"
            }
            Self::StateConflict => "order is in a state that does not allow this",
            Self::StaleVersion => "order has another version than expected",
            Self::OverCommitted => "more units than the line has committed",
            Self::StaleCount => "units in the cell differ from those expected",
            Self::StockShort => "fewer units in this cell than are to be moved",
            Self::RiskOpen => "order is under challenge or review",
            Self::PriceChanged => "total differs from the one expected",
            Self::LimitReached => "limit of the customer would be passed",
            Self::SoldOut => "fewer units can be promised than were asked",
            Self::PartialOnly => "fewer units can be had than the fill policy asks",
            Self::Contended => "units or the key are held by requests in flight",
            Self::Busy => "time for a basket over several shards has run out",
            Self::CapacityReached => "a table is full",
        })
    }
}
