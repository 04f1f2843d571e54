//! Configuration of the built-in policies: TOML in, checked policies out.
//!
//! A table `[pricing]` switches the built-in prices on, a table `[fraud]` the built-in rules.
//! Without a table its policy decides nothing, unless a plugin fails whose word is the built-in
//! one. The hash of a configuration is that of its canonical text: keys in order, no comments.

mod fraud;
mod pricing;

use std::fmt;
use std::sync::Arc;

use onhand_core::{Currency, PolicyKind, SkuId};
use serde::Deserialize;

use crate::limits::SETTINGS_BYTES_MAX;
use crate::policy::{PriceBook, RiskBook};

/// Name of the built-in pricing policy; its BLAKE3 is its plugin hash.
pub const PRICING_NAME: &str = "onhand/builtin-pricing/1";
/// Name of the built-in fraud policy.
pub const FRAUD_NAME: &str = "onhand/builtin-fraud/1";

/// Why a configuration is not taken: the field, what is wrong, and its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Path of the field, such as `pricing.promotion[2].percent`; empty if the text is no TOML.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, why } = self;
        if field.is_empty() { f.write_str(why) } else { write!(f, "{field} {why}") }
    }
}

impl std::error::Error for SettingsError {}

/// A built-in policy and the hash of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configured<B> {
    pub(crate) book: Arc<B>,
    pub(crate) config: [u8; 32],
}

/// The built-in policies that a shop has configured.
///
/// # Example
///
/// ```
/// use onhand_desk::Settings;
///
/// let settings = Settings::read(r#"
///     [pricing]
///     currency = "EUR"
///     [[pricing.tier]]        # from 10 mugs on, 11.49 each
///     sku = "MUG"
///     from = 10
///     unit = 1149
///     [[pricing.promotion]]   # a tenth off all mugs on one day, for who brings the coupon
///     code = 7
///     sku = "MUG"
///     percent = 1000          # in ten-thousandths
///     from = 2026-11-27T00:00:00Z
///     until = 2026-11-28T00:00:00Z
///     coupon = "WELCOME"
///     [pricing.classes]
///     3 = ["MUG", "CUP"]
///
///     [fraud]
///     review_ms = 3600000
///     [[fraud.rule]]
///     code = 20
///     points = 700
///     when = [{ measure = "device_customers_day", at_least = 3 }]
/// "#)?;
/// assert!(settings.pricing_hash().is_some() && settings.fraud_hash().is_some());
///
/// let error = Settings::read("[[pricing.promotion]]\ncode = 1\non = \"order\"\npercent = 20000");
/// let text = error.err().map(|error| error.to_string());
/// let said = "pricing.promotion[0].percent is 20000, outside 1..=10000";
/// assert_eq!(text.as_deref(), Some(said));
/// # Ok::<(), onhand_desk::SettingsError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(crate) pricing: Option<Configured<PriceBook>>,
    pub(crate) fraud: Option<Configured<RiskBook>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    pricing: Option<toml::Table>,
    fraud: Option<toml::Table>,
}

impl Settings {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// Returns the first field that is unknown or outside its range.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        if text.len() > SETTINGS_BYTES_MAX {
            let why = format!("has {} bytes, outside 0..={SETTINGS_BYTES_MAX}", text.len());
            return Err(SettingsError { field: "configuration".to_owned(), why });
        }
        let File { pricing, fraud } = toml::from_str(text).map_err(|error| no_toml("", &error))?;
        let pricing = pricing.map(|table| configured("pricing", table, pricing::book));
        let fraud = fraud.map(|table| configured("fraud", table, fraud::book));
        Ok(Self { pricing: pricing.transpose()?, fraud: fraud.transpose()? })
    }

    /// Returns the hash of the pricing configuration, if there is one.
    pub fn pricing_hash(&self) -> Option<[u8; 32]> {
        self.pricing.as_ref().map(|pricing| pricing.config)
    }

    /// Returns the hash of the fraud configuration, if there is one.
    pub fn fraud_hash(&self) -> Option<[u8; 32]> {
        self.fraud.as_ref().map(|fraud| fraud.config)
    }

    /// Returns name and configuration's hash of the built-in policy of a kind.
    pub(crate) fn built_in(&self, kind: PolicyKind) -> Option<(&'static str, [u8; 32])> {
        match kind {
            PolicyKind::Pricing => self.pricing_hash().map(|hash| (PRICING_NAME, hash)),
            PolicyKind::Fraud => self.fraud_hash().map(|hash| (FRAUD_NAME, hash)),
            PolicyKind::Recommend => None,
        }
    }
}

/// Returns whether a plugin hash is that of a built-in policy.
pub(crate) fn is_built_in(plugin: &[u8; 32]) -> bool {
    [PRICING_NAME, FRAUD_NAME].iter().any(|name| blake3::hash(name.as_bytes()) == *plugin)
}

fn configured<T, B>(
    path: &str,
    table: toml::Table,
    book: impl Fn(T) -> Result<B, SettingsError>,
) -> Result<Configured<B>, SettingsError>
where
    T: for<'de> Deserialize<'de>,
{
    // Keys of a table are in order and comments are gone: the text is canonical.
    let canonical = toml::to_string(&table).map_err(|error| wrong(path, error.to_string()))?;
    let read = table.try_into().map_err(|error| no_toml(path, &error))?;
    let config = *blake3::hash(canonical.as_bytes()).as_bytes();
    Ok(Configured { book: Arc::new(book(read)?), config })
}

fn no_toml(path: &str, error: &toml::de::Error) -> SettingsError {
    let text = error.to_string();
    let why = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    wrong(path, why.collect::<Vec<_>>().join("; "))
}

pub(crate) fn wrong(field: impl Into<String>, why: impl Into<String>) -> SettingsError {
    SettingsError { field: field.into(), why: why.into() }
}

/// Checks a number against its range.
pub(crate) fn number(path: &str, value: i64, min: i64, max: i64) -> Result<i64, SettingsError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(wrong(path, format!("is {value}, outside {min}..={max}")))
}

/// Reads the currency that amounts of a table are in.
pub(crate) fn currency(path: &str, text: Option<&String>) -> Result<Currency, SettingsError> {
    let Some(text) = text else {
        return Err(wrong(path, "is missing, and an amount needs it; write it like \"EUR\""));
    };
    text.parse()
        .map_err(|error: onhand_core::CurrencyError| wrong(path, format!("is {text:?}: {error}")))
}

/// Reads the code of a SKU.
pub(crate) fn sku(path: &str, code: &str) -> Result<SkuId, SettingsError> {
    let why = |error| wrong(path, format!("is {code:?}: {error}"));
    SkuId::from_code(code).map_err(why)
}
