//! A basket before it is decided on: the command, and what else the caller says of the buyer.

use std::fmt;

use onhand_core::{
    Buy, Command, CustomerId, Decided, Fill, Key, Line, LinePrice, Lines, Quantity, Refusal,
    Reserve, SkuId,
};
use onhand_policy::fact::DISTANCE_UNKNOWN;

use crate::limits::{COUPONS_MAX, TOKEN_CHARS_MAX};
use crate::quote::{Quote, QuoteError};

/// What the caller says of the buyer, beside the command; zeros where nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shopper {
    /// The shop's own segment of the customer; 0 for none.
    pub segment: u32,
    /// Hash of the address; 0 if it is not known.
    pub address: u64,
    /// Hash of the device; 0 if it is not known.
    pub device: u64,
    /// Days since the customer's account was made.
    pub age_days: u32,
    /// Kilometres between where the buyer is and where the goods go, or [`DISTANCE_UNKNOWN`].
    pub distance_km: u32,
    /// Coupons that the buyer brings, each the 64 bits of a SKU of kind coupon; at most
    /// [`COUPONS_MAX`]. Those that are no such SKU have no effect.
    pub coupons: Vec<u64>,
}

impl Default for Shopper {
    fn default() -> Self {
        Self {
            segment: 0,
            address: 0,
            device: 0,
            age_days: 0,
            distance_km: DISTANCE_UNKNOWN,
            coupons: Vec::new(),
        }
    }
}

impl Shopper {
    /// Returns the hash that a repetition is compared by; 0 if nothing was said.
    pub fn hash(&self) -> u64 {
        if *self == Self::default() {
            return 0;
        }
        let mut hasher = blake3::Hasher::new_derive_key("onhand 2026-11-22 desk ask");
        hasher.update(&self.segment.to_le_bytes());
        hasher.update(&self.address.to_le_bytes());
        hasher.update(&self.device.to_le_bytes());
        hasher.update(&self.age_days.to_le_bytes());
        hasher.update(&self.distance_km.to_le_bytes());
        for coupon in &self.coupons {
            hasher.update(&coupon.to_le_bytes());
        }
        first_bits(&hasher)
    }

    /// Returns the hash that a repetition of a basket with a quote is compared by.
    pub(crate) fn hash_with(&self, token: &str) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("onhand 2026-11-22 desk ask with quote");
        hasher.update(&self.hash().to_le_bytes());
        hasher.update(token.as_bytes());
        first_bits(&hasher)
    }
}

/// Returns the first 64 bits of a hash; never 0, which stands for nothing said.
fn first_bits(hasher: &blake3::Hasher) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first).max(1)
}

/// Why nothing can be decided on an ask; the caller's mistake, or the desk's load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// The command neither buys nor reserves.
    Command,
    /// Too many coupons.
    Coupons(usize),
    /// The basket cannot be priced, for a reason for which the engine refuses it too: an unknown
    /// SKU, no line, no units, two currencies, or too large a sum. To be answered like a refusal
    /// of the engine's.
    Refused(Refusal),
    /// The token is no quote of this shop.
    ForgedQuote,
    /// The quote was made for another customer or other lines.
    OtherQuote(&'static str),
    /// The queue is full.
    Busy(usize),
    /// The desk is closing.
    Closed,
    /// A fault of the desk's own ended the decision; its health tells more.
    Fault,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("only buy and reserve are decided on"),
            Self::Coupons(found) => write!(f, "coupons are {found}, outside 0..={COUPONS_MAX}"),
            Self::Refused(Refusal { reject, line, .. }) => {
                write!(f, "basket cannot be priced: {} at line {line}", reject.code())
            }
            Self::ForgedQuote => {
                f.write_str("quote is not a token of this shop; ask for a new one, or leave it out")
            }
            Self::OtherQuote(what) => {
                write!(f, "quote was made for other {what}; ask for a new one, or leave it out")
            }
            Self::Busy(queued) => {
                write!(f, "{queued} baskets wait for a decision, no more are taken for a moment")
            }
            Self::Closed => f.write_str("desk is closing"),
            Self::Fault => f.write_str("a fault of the desk's own ended the decision"),
        }
    }
}

impl std::error::Error for AskError {}

/// A basket to be decided on.
///
/// After [`Desk::decide`](crate::Desk::decide) the command carries its prices and decisions, and
/// [`Ask::take`] gives it out.
///
/// Lines that carry a price already are left at it: the caller has priced them, and no pricing
/// policy is asked; the fraud check sees their total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub(crate) command: Command,
    pub(crate) shopper: Shopper,
    pub(crate) quote: Option<Box<str>>,
    pub(crate) now_ms: u64,
    pub(crate) fault: Option<AskError>,
    pub(crate) quoting: Quoting,
}

/// Whether a basket is to be bought or only priced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// It is decided on in full.
    #[default]
    No,
    /// It is priced; no fraud policy is asked.
    Asked,
    /// It was priced.
    Done(Box<Result<Quote, QuoteError>>),
}

impl Ask {
    /// Makes an ask of a [`Command::Buy`] or [`Command::Reserve`]; decisions that it carries
    /// already are dropped.
    ///
    /// # Errors
    ///
    /// Returns [`AskError::Command`] for another command, [`AskError::Coupons`] for too many.
    pub fn new(command: Command, shopper: Shopper) -> Result<Self, AskError> {
        if !matches!(command, Command::Buy(_) | Command::Reserve(_)) {
            return Err(AskError::Command);
        }
        if shopper.coupons.len() > COUPONS_MAX {
            return Err(AskError::Coupons(shopper.coupons.len()));
        }
        let quoting = Quoting::No;
        let mut ask = Self { command, shopper, quote: None, now_ms: 0, fault: None, quoting };
        // Whatever is there, the desk has not decided it.
        ask.set_decided(Decided::default());
        Ok(ask)
    }

    /// Returns this ask at the prices of a quote's token.
    ///
    /// # Errors
    ///
    /// Returns [`AskError::ForgedQuote`] for a text that is longer than any token.
    pub fn at_quote(mut self, token: &str) -> Result<Self, AskError> {
        if token.is_empty() || token.len() > TOKEN_CHARS_MAX {
            return Err(AskError::ForgedQuote);
        }
        self.quote = Some(token.into());
        Ok(self)
    }

    /// Returns the command as it stands.
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// Returns what was said of the buyer.
    pub const fn shopper(&self) -> &Shopper {
        &self.shopper
    }

    /// Gives the command out, with its decisions once it was decided on.
    ///
    /// # Errors
    ///
    /// Returns why nothing could be decided.
    pub fn take(self) -> Result<Command, AskError> {
        match self.fault {
            None => Ok(self.command),
            Some(fault) => Err(fault),
        }
    }

    /// Returns this ask as one for a quote: a token that it names counts for nothing.
    pub(crate) fn for_quote(mut self) -> Self {
        self.quote = None;
        self.quoting = Quoting::Asked;
        self
    }

    pub(crate) fn is_quote(&self) -> bool {
        self.quoting != Quoting::No
    }

    /// Gives the quote out once it was made.
    pub(crate) fn take_quote(self) -> Result<Quote, QuoteError> {
        match (self.fault, self.quoting) {
            (Some(fault), _) => Err(QuoteError::Ask(fault)),
            (None, Quoting::Done(quote)) => *quote,
            // Every quote that was asked for is made or has its fault.
            (None, Quoting::No | Quoting::Asked) => Err(QuoteError::Ask(AskError::Closed)),
        }
    }

    pub(crate) fn key(&self) -> Key {
        match &self.command {
            Command::Buy(buy) => buy.key,
            Command::Reserve(reserve) => reserve.key,
            _ => Key::new(0),
        }
    }

    pub(crate) fn customer(&self) -> CustomerId {
        match &self.command {
            Command::Buy(buy) => buy.customer,
            Command::Reserve(reserve) => reserve.customer,
            _ => CustomerId::NONE,
        }
    }

    pub(crate) fn lines(&self) -> &[Line] {
        match &self.command {
            Command::Buy(Buy { lines, .. }) | Command::Reserve(Reserve { lines, .. }) => {
                lines.as_slice()
            }
            _ => &[],
        }
    }

    pub(crate) fn fill(&self) -> Fill {
        match &self.command {
            Command::Buy(buy) => buy.fill,
            Command::Reserve(reserve) => reserve.fill,
            _ => Fill::All,
        }
    }

    /// Gives the lines of the basket their prices, and puts free ones behind them.
    pub(crate) fn set_prices(&mut self, prices: &[LinePrice], free: &[SkuId]) {
        let (Command::Buy(Buy { lines, .. }) | Command::Reserve(Reserve { lines, .. })) =
            &mut self.command
        else {
            return;
        };
        let own = match lines {
            Lines::One(line) => std::slice::from_mut(line),
            Lines::Many(lines) => lines,
        };
        own.iter_mut().zip(prices).for_each(|(line, price)| *line = line.priced(*price));
        if free.is_empty() {
            return;
        }
        let nothing = LinePrice { unit: 0, discount: 0 };
        let more = free.iter().map(|sku| Line::new(*sku, Quantity::ONE).priced(nothing));
        *lines = lines.as_slice().iter().copied().chain(more).collect::<Vec<_>>().into();
    }

    /// Writes what was decided into the command; nothing if nothing was.
    pub(crate) fn set_decided(&mut self, new: Decided) {
        if let Command::Buy(Buy { decided, .. }) | Command::Reserve(Reserve { decided, .. }) =
            &mut self.command
        {
            *decided = (new != Decided::default()).then(|| Box::new(new));
        }
    }
}
