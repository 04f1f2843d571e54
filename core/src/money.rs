//! Money in whole minor units of one currency; no rate, tax or conversion lives here.

use std::fmt;
use std::str::FromStr;

/// A currency by its three-digit number. Source: ISO 4217:2015, numeric code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

/// Currencies that have a name here: alphabetic code, numeric code, minor-unit digits.
///
/// Source: ISO 4217 list one. Others can be used by number.
const NAMED: &[(&str, u16, u8)] = &[
    ("AUD", 36, 2),
    ("BRL", 986, 2),
    ("CAD", 124, 2),
    ("CHF", 756, 2),
    ("CNY", 156, 2),
    ("CZK", 203, 2),
    ("DKK", 208, 2),
    ("EUR", 978, 2),
    ("GBP", 826, 2),
    ("INR", 356, 2),
    ("JPY", 392, 0),
    ("KRW", 410, 0),
    ("KWD", 414, 3),
    ("MXN", 484, 2),
    ("NOK", 578, 2),
    ("PLN", 985, 2),
    ("SEK", 752, 2),
    ("SGD", 702, 2),
    ("USD", 840, 2),
    ("ZAR", 710, 2),
];

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(978);
    /// The United States dollar.
    pub const USD: Self = Self(840);
    /// The yen.
    pub const JPY: Self = Self(392);

    /// Makes a currency from its numeric code, 1 to 999.
    pub const fn from_number(number: u16) -> Option<Self> {
        if number >= 1 && number <= 999 { Some(Self(number)) } else { None }
    }

    /// Returns the numeric code.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Returns how many decimal digits the minor unit has; 2 for a currency without a name here.
    pub fn minor_digits(self) -> u8 {
        NAMED.iter().find(|(_, number, _)| *number == self.0).map_or(2, |(_, _, digits)| *digits)
    }
}

/// Writes the alphabetic code, or the three digits of a currency without a name here.
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, number, _)| *number == self.0) {
            Some((code, _, _)) => f.write_str(code),
            None => write!(f, "{:03}", self.0),
        }
    }
}

/// The text is neither a known alphabetic code nor three digits from 001 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyError;

impl fmt::Display for CurrencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("currency is neither a known ISO 4217 code nor a number from 001 to 999")
    }
}

impl std::error::Error for CurrencyError {}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        if let Some((_, number, _)) = NAMED.iter().find(|(code, _, _)| *code == text) {
            return Ok(Self(*number));
        }
        if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CurrencyError);
        }
        text.parse().ok().and_then(Self::from_number).ok_or(CurrencyError)
    }
}

/// An amount in minor units: 1299 of EUR is 12.99 euros, 1299 of JPY is 1299 yen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// Largest amount either way; `2^53 - 1`, so that every amount is exact in JSON.
    pub const MINOR_MAX: i64 = (1 << 53) - 1;

    /// Makes an amount; beyond [`Money::MINOR_MAX`] either way is `None`.
    pub const fn new(minor: i64, currency: Currency) -> Option<Self> {
        if minor >= -Self::MINOR_MAX && minor <= Self::MINOR_MAX {
            Some(Self { minor, currency })
        } else {
            None
        }
    }

    /// Makes an amount that was checked before, such as one of a journal record.
    pub(crate) const fn trusted(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Returns the minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Returns the currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }
}

/// Writes the amount with its decimal point and code, such as `12.99 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.minor_digits());
        let sign = if self.minor < 0 { "-" } else { "" };
        let unit = 10_u64.pow(digits as u32);
        let magnitude = self.minor.unsigned_abs();
        if digits == 0 {
            return write!(f, "{sign}{magnitude} {}", self.currency);
        }
        let (whole, part) = (magnitude / unit, magnitude % unit);
        write!(f, "{sign}{whole}.{part:0digits$} {}", self.currency)
    }
}
