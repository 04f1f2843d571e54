//! Quotes: prices that hold for a while, in a token that proves itself.
//!
//! A token is version, expiry, customer, a hash of the lines, prices and decision, and a keyed
//! hash over all of it, in base64url. Nothing is kept: whoever has the secret can read it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onhand_core::{
    Currency, CustomerId, Decided, DecidedBy, Line, LinePrice, Money, PolicyDecision, PolicyNo,
    PolicyRefusal, Quantity, SkuId, Timestamp,
};

use crate::ask::{Ask, AskError};
use crate::secret::Secret;

/// First byte of every token.
const VERSION: u8 = 1;
/// Bytes of the keyed hash at its end.
const CODE_BYTES: usize = 32;

/// One line of a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteLine {
    /// SKU.
    pub sku: SkuId,
    /// Units.
    pub quantity: Quantity,
    /// Price of one unit in minor units.
    pub unit: i64,
    /// Discount on the whole line in minor units.
    pub discount: i64,
}

/// Prices of a basket that hold until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its lines, in the order of the basket.
    pub lines: Vec<QuoteLine>,
    /// Coupons of which a purchase takes one use each.
    pub coupons: Vec<SkuId>,
    /// Sum of list prices.
    pub list_total: Money,
    /// What is to be paid.
    pub total: Money,
    /// How the prices came to be; `None` for list prices without a policy.
    pub decision: Option<PolicyDecision>,
    /// First time at which it no longer holds.
    pub expires_at: Timestamp,
    /// Proof of it, for [`Ask::at_quote`](crate::Ask::at_quote).
    pub token: String,
}

/// Why there is no quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuoteError {
    /// The ask cannot be decided on.
    Ask(AskError),
    /// The pricing policy refuses the basket, or has failed and its word is to refuse.
    Refused(PolicyRefusal),
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(error) => error.fmt(f),
            Self::Refused(PolicyRefusal::Price(code)) => {
                write!(f, "pricing policy refuses the basket with code {code}")
            }
            Self::Refused(PolicyRefusal::Failed(no)) => {
                write!(f, "policy {} has failed and refuses the basket then", no.0)
            }
            Self::Refused(PolicyRefusal::Quote) => f.write_str("quote has expired"),
            Self::Refused(PolicyRefusal::Fraud(code)) => {
                write!(f, "fraud policy denies the basket with code {code}")
            }
        }
    }
}

impl std::error::Error for QuoteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ask(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

/// What a quote needs of a priced basket.
pub(crate) struct PricedBasket<'a> {
    pub(crate) currency: Currency,
    pub(crate) list_total: i64,
    pub(crate) total: i64,
    /// List prices from its first line on.
    pub(crate) units: &'a [i64],
    pub(crate) decided: &'a Decided,
}

impl PricedBasket<'_> {
    /// Makes the quote of a basket whose prices stand in its lines.
    pub(crate) fn quote(
        &self,
        ask: &Ask,
        quote_ms: u64,
        secret: &Secret,
    ) -> Result<Quote, QuoteError> {
        if let Some(refusal) = self.decided.refusal {
            return Err(QuoteError::Refused(refusal));
        }
        let (own, added) = ask.lines().split_at(ask.lines().len() - self.added());
        let list = |unit: &i64| LinePrice { unit: *unit, discount: 0 };
        let priced = own.iter().zip(self.units);
        let prices: Vec<_> =
            priced.map(|(line, unit)| line.price.unwrap_or_else(|| list(unit))).collect();
        let coupons: Vec<SkuId> = added.iter().map(|line| line.sku).collect();
        let expires_at = Timestamp::from_millis(ask.now_ms.saturating_add(quote_ms));
        let terms = Terms {
            expires_at: expires_at.millis(),
            customer: ask.customer(),
            lines_hash: hash_lines(own),
            decision: self.decided.pricing,
            prices: prices.clone(),
            coupons: coupons.clone(),
        };
        let line = |(line, price): (&Line, &LinePrice)| QuoteLine {
            sku: line.sku,
            quantity: line.quantity,
            unit: price.unit,
            discount: price.discount,
        };
        let money = |minor| Money::new(minor, self.currency);
        // It was sized before: a basket that costs more is refused there.
        let too_much = || QuoteError::Ask(AskError::Command);
        Ok(Quote {
            lines: own.iter().zip(&prices).map(line).collect(),
            coupons,
            list_total: money(self.list_total).ok_or_else(too_much)?,
            total: money(self.total).ok_or_else(too_much)?,
            decision: self.decided.pricing,
            expires_at,
            token: terms.token(secret),
        })
    }

    fn added(&self) -> usize {
        self.decided.added.into()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) expires_at: u64,
    pub(crate) customer: CustomerId,
    pub(crate) lines_hash: [u8; 16],
    pub(crate) decision: Option<PolicyDecision>,
    pub(crate) prices: Vec<LinePrice>,
    pub(crate) coupons: Vec<SkuId>,
}

/// Returns the hash of what a basket asks for, whatever its prices.
pub(crate) fn hash_lines(lines: &[Line]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(&line.sku.bits().to_le_bytes());
        hasher.update(&line.quantity.units().to_le_bytes());
        hasher.update(&line.location.0.to_le_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    first
}

impl Terms {
    pub(crate) fn token(&self, secret: &Secret) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.expires_at.to_le_bytes());
        bytes.extend(self.customer.0.to_le_bytes());
        bytes.extend(self.lines_hash);
        let none = PolicyDecision { policy: PolicyNo(0), by: DecidedBy::Policy, fuel: 0, input: 0 };
        let PolicyDecision { policy, by, fuel, input } = self.decision.unwrap_or(none);
        bytes.extend(policy.0.to_le_bytes());
        bytes.push(by as u8);
        bytes.extend(fuel.to_le_bytes());
        bytes.extend(input.to_le_bytes());
        bytes.extend((self.prices.len() as u16).to_le_bytes());
        bytes.push(self.coupons.len() as u8);
        for price in &self.prices {
            bytes.extend(price.unit.to_le_bytes());
            bytes.extend(price.discount.to_le_bytes());
        }
        for coupon in &self.coupons {
            bytes.extend(coupon.bits().to_le_bytes());
        }
        let code = secret.quote_code(&bytes);
        bytes.extend(code.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that proves itself; `None` for any other text.
    pub(crate) fn read(token: &str, secret: &Secret) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, code) = bytes.split_at_checked(bytes.len().checked_sub(CODE_BYTES)?)?;
        let code: [u8; CODE_BYTES] = code.try_into().ok()?;
        // Compared in constant time.
        if secret.quote_code(body) != blake3::Hash::from_bytes(code) {
            return None;
        }
        let mut rest = body;
        if take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let expires_at = u64::from_le_bytes(take(&mut rest)?);
        let customer = CustomerId(u64::from_le_bytes(take(&mut rest)?));
        let lines_hash = take(&mut rest)?;
        let policy = PolicyNo(u16::from_le_bytes(take(&mut rest)?));
        let by = match take(&mut rest)? {
            [0] => DecidedBy::Policy,
            [1] => DecidedBy::BuiltIn,
            [2] => DecidedBy::FailOpen,
            _ => return None,
        };
        let fuel = u32::from_le_bytes(take(&mut rest)?);
        let input = u64::from_le_bytes(take(&mut rest)?);
        let decision = PolicyDecision { policy, by, fuel, input };
        let lines = u16::from_le_bytes(take(&mut rest)?);
        let [coupons] = take(&mut rest)?;
        let price = |_| {
            let unit = i64::from_le_bytes(take(&mut rest)?);
            Some(LinePrice { unit, discount: i64::from_le_bytes(take(&mut rest)?) })
        };
        let prices = (0..lines).map(price).collect::<Option<_>>()?;
        let coupon = |_| Some(SkuId::new(u64::from_le_bytes(take(&mut rest)?)));
        let coupons = (0..coupons).map(coupon).collect::<Option<_>>()?;
        let decision = (policy.0 != 0).then_some(decision);
        rest.is_empty().then_some(Self {
            expires_at,
            customer,
            lines_hash,
            decision,
            prices,
            coupons,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use onhand_core::{CustomerId, DecidedBy, LinePrice, PolicyDecision, PolicyNo, SkuId};

    use super::Terms;
    use crate::limits::{COUPONS_MAX, TOKEN_CHARS_MAX};
    use crate::secret::Secret;

    fn terms(lines: usize, coupons: usize) -> Terms {
        Terms {
            expires_at: u64::MAX,
            customer: CustomerId(7),
            lines_hash: [3; 16],
            decision: Some(PolicyDecision {
                policy: PolicyNo(4),
                by: DecidedBy::FailOpen,
                fuel: 9,
                input: 10,
            }),
            prices: (0..lines).map(|n| LinePrice { unit: n as i64, discount: 1 }).collect(),
            coupons: (0..coupons as u64).map(SkuId::new).collect(),
        }
    }

    /// The largest quote fits, and every token reads back as it was.
    #[test]
    fn tokens_read_back() {
        let secret = Secret::open(None).expect("a secret");
        for (lines, coupons) in [(1, 0), (3, 2), (onhand_core::limits::LINES_MAX, COUPONS_MAX)] {
            let terms = terms(lines, coupons);
            let token = terms.token(&secret);
            assert!(token.len() <= TOKEN_CHARS_MAX, "{}", token.len());
            assert_eq!(Terms::read(&token, &secret), Some(terms));
        }
    }

    /// No bit of a token can be changed, and none of another secret is taken.
    #[test]
    fn every_change_is_noticed() {
        let secret = Secret::open(None).expect("a secret");
        let token = terms(1, 1).token(&secret);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(Terms::read(&changed, &secret), None, "{at}");
        }
        let other = Secret::open(None).expect("another secret");
        assert_eq!(Terms::read(&token, &other), None);
        for text in ["", "A", "!", &token[1..], &token[..token.len() - 1]] {
            assert_eq!(Terms::read(text, &secret), None, "{text}");
        }
    }
}
