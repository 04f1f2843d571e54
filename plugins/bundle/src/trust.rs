//! The trust file: whose signatures a host takes, for what, and until when.

use std::fmt;

use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use crate::bundle::Bundle;
use crate::key::{KeyId, PublicKey};
use crate::kind::Kind;
use crate::manifest::Manifest;
use crate::name::id_fault;
use crate::text::{Field, Section, TextError, parse};

/// Most signers of a trust file.
const SIGNERS_MAX: usize = 256;
/// Most patterns of plugins for one signer.
const PATTERNS_MAX: usize = 256;

/// Somebody whose signature is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Name in the trust file.
    pub name: String,
    /// Public key.
    pub key: PublicKey,
    /// Plugins that it may sign: ids, or beginnings that end in `/*`; all if empty.
    pub plugins: Vec<String>,
    /// Kinds of plugin that it may sign; all if empty.
    pub kinds: Vec<Kind>,
    /// When its signatures end to count, in milliseconds since 1970-01-01 UTC; never if absent.
    pub expires_ms: Option<u64>,
}

impl Signer {
    fn may_sign(&self, manifest: &Manifest) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => manifest.id.starts_with(start),
            None => manifest.id == *pattern,
        };
        let plugin = self.plugins.is_empty() || self.plugins.iter().any(matches);
        plugin && (self.kinds.is_empty() || self.kinds.contains(&manifest.kind))
    }
}

/// Why a bundle is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustError {
    /// It has no signature.
    Unsigned,
    /// None of its signatures is by a key of the trust file.
    Unknown {
        /// Keys that it claims to be signed by.
        keys: Vec<KeyId>,
    },
    /// It claims a signature by a signer that is not: somebody changed the bundle or made it up.
    Forged {
        /// Name of the signer.
        signer: String,
    },
    /// The signer's time is over.
    Expired {
        /// Name of the signer.
        signer: String,
        /// When it ended, in milliseconds since 1970-01-01 UTC.
        expires_ms: u64,
    },
    /// The signer may not sign such a plugin.
    NotAllowed {
        /// Name of the signer.
        signer: String,
        /// Name of the plugin.
        plugin: String,
        /// What the plugin decides about.
        kind: Kind,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("the bundle has no signature"),
            Self::Unknown { keys } => {
                let keys: Vec<String> = keys.iter().map(KeyId::to_string).collect();
                write!(f, "no key of the trust file has signed it; signed by {}", keys.join(", "))
            }
            Self::Forged { signer } => {
                write!(f, "its signature in the name of {signer} is not by {signer}")
            }
            Self::Expired { signer, expires_ms } => {
                write!(f, "the key of {signer} ended at {expires_ms} ms since 1970-01-01 UTC")
            }
            Self::NotAllowed { signer, plugin, kind } => {
                write!(f, "{signer} may not sign {plugin}, a {kind} plugin")
            }
        }
    }
}

impl std::error::Error for TrustError {}

/// The signers that a host trusts.
///
/// ```toml
/// [signers.acme]
/// key = "ed25519:..."             # a line of the file that `onhand plugin keygen` writes
/// plugins = ["acme/*"]            # which ones; all if left out
/// kinds = ["pricing"]             # what about; all if left out
/// expires = 2027-12-31T00:00:00Z  # never if left out
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    signers: Vec<Signer>,
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    ///
    /// Returns the first field that is unknown, missing or outside its range, with its line.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let table = parse(text)?;
        let top = Section::new(text, "", table.get_ref(), &["signers"])?;
        let mut signers: Vec<Signer> = Vec::new();
        let entries = top.get("signers").map(|field| field.entries(SIGNERS_MAX)).transpose()?;
        for (name, field) in entries.into_iter().flatten() {
            let signer = signer(name, &field)?;
            if let Some(same) = signers.iter().find(|other| other.key.id() == signer.key.id()) {
                return Err(field.error(format_args!("has the key of {}", same.name)));
            }
            signers.push(signer);
        }
        Ok(Self { signers })
    }

    /// Returns the signers.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Returns the signer by whom a bundle is trusted at a time, in milliseconds since 1970-01-01
    /// UTC.
    ///
    /// # Errors
    ///
    /// Returns why it is not. A wrong signature in a trusted name is never passed over, even if
    /// another one is right.
    pub fn check(&self, bundle: &Bundle, now_ms: u64) -> Result<&Signer, TrustError> {
        if bundle.signatures().is_empty() {
            return Err(TrustError::Unsigned);
        }
        let mut trusted = None;
        let mut why = None;
        for signature in bundle.signatures() {
            let known = self.signers.iter().find(|signer| signer.key.id() == signature.key);
            let Some(signer) = known else { continue };
            if !signature.is_by(&signer.key, &bundle.hash()) {
                return Err(TrustError::Forged { signer: signer.name.clone() });
            }
            match may(signer, bundle.manifest(), now_ms) {
                Ok(()) => trusted = trusted.or(Some(signer)),
                Err(error) => why = why.or(Some(error)),
            }
        }
        let keys = || bundle.signatures().iter().map(|signature| signature.key).collect();
        trusted.ok_or_else(|| why.unwrap_or_else(|| TrustError::Unknown { keys: keys() }))
    }
}

fn may(signer: &Signer, manifest: &Manifest, now_ms: u64) -> Result<(), TrustError> {
    if let Some(expires_ms) = signer.expires_ms.filter(|&end| now_ms >= end) {
        return Err(TrustError::Expired { signer: signer.name.clone(), expires_ms });
    }
    if signer.may_sign(manifest) {
        return Ok(());
    }
    let (signer, plugin) = (signer.name.clone(), manifest.id.clone());
    Err(TrustError::NotAllowed { signer, plugin, kind: manifest.kind })
}

fn signer(name: &str, field: &Field<'_>) -> Result<Signer, TextError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(field.error("is no name: 1 to 64 of letters, digits, `.`, `_`, `-`"));
    }
    let section = field.section(&["key", "plugins", "kinds", "expires"])?;
    let text = section.need("key", "\"ed25519:...\"")?;
    let key = PublicKey::parse(&text.line(128)?)
        .map_err(|error| text.error(format_args!("is {error}")))?;
    let mut plugins = Vec::new();
    if let Some(field) = section.get("plugins") {
        for one in field.list(PATTERNS_MAX)? {
            plugins.push(pattern(&one)?);
        }
        some(&field, plugins.len())?;
    }
    let mut kinds = Vec::new();
    if let Some(field) = section.get("kinds") {
        for one in field.list(Kind::ALL.len())? {
            kinds.push(one.word(&Kind::ALL.map(|kind| (kind.name(), kind)))?);
        }
        some(&field, kinds.len())?;
    }
    let expires_ms = section.get("expires").map(|field| time(&field)).transpose()?;
    Ok(Signer { name: name.to_owned(), key, plugins, kinds, expires_ms })
}

/// An empty list could mean none or all, so that it means neither.
fn some(field: &Field<'_>, count: usize) -> Result<(), TextError> {
    if count == 0 { Err(field.error("is empty: leave it out to allow all")) } else { Ok(()) }
}

fn pattern(field: &Field<'_>) -> Result<String, TextError> {
    let text = field.line(66)?;
    let id = text.strip_suffix("/*").unwrap_or(&text);
    match id_fault(id) {
        None => Ok(text),
        Some(why) => Err(field.error(format_args!("is {text:?}; its id {why}"))),
    }
}

/// Returns a time of UTC in milliseconds since 1970-01-01.
fn time(field: &Field<'_>) -> Result<u64, TextError> {
    let wanted = "must be a time of UTC, such as 2027-12-31T00:00:00Z";
    let DeValue::Datetime(Datetime { date: Some(date), time: Some(time), offset: Some(Offset::Z) }) =
        field.value
    else {
        return Err(field.error(wanted));
    };
    if date.year < 1970 {
        return Err(field.error("is before 1970"));
    }
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let seconds = u64::from(time.hour) * 3_600
        + u64::from(time.minute) * 60
        + u64::from(time.second.unwrap_or(0));
    Ok((days * 86_400 + seconds) * 1_000)
}

/// Returns the days from 1970-01-01 to a date from then on.
///
/// Source: proleptic Gregorian calendar, ISO 8601.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let leaps_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let of_year = before[(month as usize).clamp(1, 12) - 1] + day - 1;
    let leap_day = u64::from(month > 2 && leap(year));
    (year - 1970) * 365 + leaps_before(year) - leaps_before(1970) + of_year + leap_day
}

#[cfg(test)]
mod tests {
    use super::days_since_1970;

    /// Days of known dates.
    #[test]
    fn dates_are_counted_by_the_calendar() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1970, 12, 31), 364),
            ((1972, 2, 29), 789),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 22), 20_779),
            ((2100, 3, 1), 47_541),
        ] {
            let (year, month, day) = date;
            assert_eq!(days_since_1970(year, month, day), days, "{date:?}");
        }
    }
}
