//! What a basket's body says beside its lines: coupons, the buyer, a quote.

use onhand_core::{Command, SkuId};
use onhand_desk::limits::{COUPONS_MAX, TOKEN_CHARS_MAX};
use onhand_desk::{Ask, AskError, Shopper};

use super::command::{sku_id, sku_of_line};
use super::field::{self, Members, Place};
use super::json::Node;
use crate::problem::Problem;

/// Members of the object `buyer`.
const BUYER: &[&str] = &["address", "device", "segment", "account_age_days", "distance_km"];
/// Longest text of an address or a device in bytes.
const BUYER_TEXT_BYTES_MAX: usize = 1_024;

/// What a body says beside its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) shopper: Shopper,
    quote: Option<String>,
}

impl Said {
    /// Reads the members `coupons`, `buyer` and `quote_token`, which the caller has declared.
    pub(crate) fn read(members: &Members<'_, '_, '_>) -> Result<Self, Problem> {
        Ok(Self { quote: token(members)?, ..Self::of_buyer(members)? })
    }

    /// Reads the members `coupons` and `buyer`, which the caller has declared.
    pub(crate) fn of_buyer(members: &Members<'_, '_, '_>) -> Result<Self, Problem> {
        let mut shopper = match members.get("buyer") {
            Some(node) => buyer(node, &members.at("buyer"))?,
            None => Shopper::default(),
        };
        if members.get("coupons").is_some() {
            let at = members.at("coupons");
            let nodes = members.list("coupons", COUPONS_MAX)?.iter().enumerate();
            let coupons = nodes.map(|(index, node)| coupon(node, &Place::Entry(&at, index)));
            shopper.coupons = coupons.collect::<Result<_, _>>()?;
        }
        Ok(Self { shopper, quote: None })
    }

    /// Returns whether the body says nothing of the kind.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the ask of a command.
    pub(crate) fn ask(self, command: Command) -> Result<Ask, AskError> {
        let ask = Ask::new(command, self.shopper)?;
        match self.quote {
            Some(token) => ask.at_quote(&token),
            None => Ok(ask),
        }
    }
}

fn token(members: &Members<'_, '_, '_>) -> Result<Option<String>, Problem> {
    let Some(node) = members.get("quote_token") else { return Ok(None) };
    let at = members.at("quote_token");
    let token = field::text(node, &at)?;
    if token.is_empty() || token.len() > TOKEN_CHARS_MAX {
        let length = token.len();
        let range = format!("must have 1 to {TOKEN_CHARS_MAX} characters, has {length}");
        return Err(at.invalid(range));
    }
    Ok(Some(token.to_owned()))
}

fn coupon(node: &Node<'_>, place: &Place<'_>) -> Result<u64, Problem> {
    let code = field::text(node, place)?;
    sku_id(code).map(SkuId::bits).map_err(|detail| place.invalid(detail))
}

fn buyer(node: &Node<'_>, place: &Place<'_>) -> Result<Shopper, Problem> {
    let members = Members::open(node, place, BUYER)?;
    let number = |name| -> Result<Option<u32>, Problem> {
        let value = members.integer_or_none(name, 0, u64::from(u32::MAX) - 1)?;
        Ok(value.map(|value| value as u32))
    };
    let nothing = Shopper::default();
    Ok(Shopper {
        address: hash(&members, "address")?,
        device: hash(&members, "device")?,
        segment: number("segment")?.unwrap_or(nothing.segment),
        age_days: number("account_age_days")?.unwrap_or(nothing.age_days),
        distance_km: number("distance_km")?.unwrap_or(nothing.distance_km),
        coupons: Vec::new(),
    })
}

/// Returns the first 64 bits of a text's BLAKE3, 0 where the member is absent: no policy and no
/// journal sees the text itself.
fn hash(members: &Members<'_, '_, '_>, name: &'static str) -> Result<u64, Problem> {
    let Some(node) = members.get(name) else { return Ok(0) };
    let text = field::text(node, &members.at(name))?;
    if text.is_empty() || text.len() > BUYER_TEXT_BYTES_MAX {
        return Err(members.at(name).invalid(format!(
            "must have 1 to {BUYER_TEXT_BYTES_MAX} bytes, has {}; leave it out if it is not known",
            text.len()
        )));
    }
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    Ok(u64::from_be_bytes(first).max(1))
}

/// Makes the problem of a basket on which nothing can be decided; `body` names its SKUs.
pub(crate) fn refused(error: &AskError, body: Option<&Node<'_>>) -> Problem {
    match error {
        AskError::Refused(refusal) => {
            let sku = body.and_then(|body| sku_of_line(body, refusal.line)).map(str::to_owned);
            Problem::refused(*refusal, sku, 0)
        }
        AskError::Busy(_) => Problem::new("overloaded", error.to_string()),
        AskError::Closed => Problem::new("shutting_down", "the host is closing; nothing was done"),
        AskError::Fault => Problem::new(
            "internal",
            "a fault of the host ended the decision; nothing was submitted and no order was made: \
             its operator finds why in the log",
        ),
        AskError::ForgedQuote | AskError::OtherQuote(_) => {
            Problem::new("quote_invalid", error.to_string())
        }
        _ => Problem::invalid(error.to_string()),
    }
}
