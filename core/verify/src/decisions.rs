//! What policies had decided about a basket, as its record has it.

use crate::bytes::{all_zero, u16_at};
use crate::failure::{Check, demand};

/// Length of the decisions in a basket's record.
pub(crate) const DECISIONS_BYTES: usize = 48;
/// Kinds of policies that decide about a basket.
pub(crate) const PRICING: u8 = 1;
pub(crate) const FRAUD: u8 = 2;
/// Step of a policy that has a share.
pub(crate) const CANARY: u8 = 4;
/// Risks of an order.
pub(crate) const ALLOW: u8 = 1;
pub(crate) const CHALLENGE: u8 = 2;
pub(crate) const REVIEW: u8 = 3;
pub(crate) const DENY: u8 = 4;

/// What policies had decided about a basket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decisions {
    /// Number of the pricing policy; 0 = none.
    pub(crate) pricing: u16,
    /// Number of the fraud policy; 0 = none.
    pub(crate) fraud: u16,
    /// 0 unscored to 3 review.
    pub(crate) risk: u8,
}

impl Decisions {
    pub(crate) fn read(bytes: &[u8], lines: usize) -> Check<Self> {
        let (added, by) = (u16_at(bytes, 8), [bytes[10], bytes[11]]);
        let (pricing, fraud) = (u16_at(bytes, 12), u16_at(bytes, 14));
        let (risk, points) = (bytes[40], u16_at(bytes, 42));
        demand!(bytes[41] == 0, "I13", "reserved byte 41 of decisions is not zero");
        demand!(by[0] <= 2 && by[1] <= 2, "I13", "decided by {by:?}, outside 0..=2");
        let unpriced = by[0] == 0 && all_zero(&bytes[16..20]) && all_zero(&bytes[24..32]);
        demand!(
            pricing > 0 || (unpriced && added == 0),
            "I16",
            "a price is decided, or {added} lines are added, by no policy"
        );
        demand!(
            usize::from(added) < lines,
            "I16",
            "{added} of {lines} lines are added, not fewer than all"
        );
        let unscored = by[1] == 0 && all_zero(&bytes[20..24]) && all_zero(&bytes[32..48]);
        demand!(fraud > 0 || unscored, "I16", "risk {risk} is decided by no policy");
        demand!(
            fraud == 0 || (ALLOW..=REVIEW).contains(&risk),
            "I16",
            "risk {risk} is decided by policy {fraud}, outside {ALLOW}..={REVIEW}"
        );
        demand!(points <= 1_000, "I16", "points are {points}, above 1,000");
        Ok(Self { pricing, fraud, risk })
    }
}
