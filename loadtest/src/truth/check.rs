//! The named checks: what each claims, its bit, and what came of it.

use std::collections::BTreeMap;

/// Most pieces of evidence that one check keeps.
pub const EVIDENCE_MAX: usize = 10;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against the claim.
    Holds,
    /// The claim is false; the evidence says where.
    Violated,
    /// The target does not serve what the check needs, the run had no case of it, or what was found
    /// may be explained by requests whose outcome is unknown; says which.
    NotChecked(String),
}

/// One named check with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// What it says, as one sentence.
    pub claim: &'static str,
    /// Its bit in the mask of violated checks, 0 for the lowest.
    pub bit: u8,
    /// How many things were looked at.
    pub checked: u64,
    /// How many contradict the claim.
    pub violations: u64,
    /// How many may contradict it; 0 unless the scenario allows more.
    pub allowed: u64,
    /// The first contradictions, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
    /// Why there was nothing to look at.
    absent: String,
    /// Why what was found allows no verdict.
    doubt: Option<String>,
}

impl Check {
    /// Counts one thing that was looked at; a text is a contradiction.
    pub(super) fn note(&mut self, contradiction: Option<String>) {
        self.checked += 1;
        if let Some(text) = contradiction {
            self.violate(1, text);
        }
    }

    pub(super) fn violate(&mut self, count: u64, text: String) {
        self.violations += count;
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(text);
        }
    }

    /// Notes what may contradict the claim, and may not: without a violation there is no verdict.
    pub(super) fn doubt(&mut self, why: String) {
        self.doubt = Some(why);
    }

    /// Returns the verdict.
    pub fn verdict(&self) -> Verdict {
        if self.violations > self.allowed {
            Verdict::Violated
        } else if let Some(why) = &self.doubt {
            Verdict::NotChecked(why.clone())
        } else if self.checked == 0 {
            Verdict::NotChecked(self.absent.clone())
        } else {
            Verdict::Holds
        }
    }

    /// Returns whether the claim is false.
    pub fn is_violated(&self) -> bool {
        self.verdict() == Verdict::Violated
    }
}

/// What a check needs the host's events for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Events {
    /// Without them it can't be made.
    Needed,
    /// Without them it sees less; if that is nothing, their absence is why.
    Helpful,
    /// It does without.
    Unused,
}

/// A check of the table: name, claim, why it may have nothing to look at, and its need of events.
pub(crate) struct Kind(&'static str, &'static str, &'static str, Events);

impl Kind {
    /// Returns the stable name.
    pub(crate) const fn name(&self) -> &'static str {
        self.0
    }
}

/// Every check, in the order of reports and of bits; a bit is never given to another check.
pub(crate) const CHECKS: [Kind; 16] = [
    Kind(
        "oversold",
        "no unit was promised twice: no bucket below zero, no more promised than put in",
        "no event moved a unit",
        Events::Needed,
    ),
    Kind(
        "undersold",
        "nobody was sent away at the end while units were left over, and no basket holds units \
         for ever",
        "the stock was not read",
        Events::Needed,
    ),
    Kind(
        "stock_balance",
        "sold + left = put in, for every SKU",
        "the stock was not read",
        Events::Needed,
    ),
    Kind(
        "duplicate_orders",
        "no request made more than one order",
        "no request that makes an order was accepted",
        Events::Unused,
    ),
    Kind(
        "lost_acknowledgements",
        "every accepted request has its order",
        "no request that makes an order was accepted",
        Events::Needed,
    ),
    Kind(
        "receipts_identical",
        "the same request sent twice got the same bytes and the same order",
        "no request was accepted twice",
        Events::Unused,
    ),
    Kind(
        "customer_limit",
        "no customer holds more than the limit",
        "nobody bought a SKU that has a limit",
        Events::Needed,
    ),
    Kind(
        "false_sold_out",
        "nobody was told sold out while enough units were available",
        "nobody was told sold out",
        Events::Needed,
    ),
    Kind(
        "fifo_inversions",
        "nobody overtook another in a waiting line",
        "the target serves no waiting line, so nobody has a place in one",
        Events::Unused,
    ),
    Kind(
        "expiry_skew",
        "reservations end at their deadline: never before it, and not later than allowed",
        "no reservation ran to its deadline",
        Events::Needed,
    ),
    Kind(
        "late_payments",
        "a payment after the deadline never stands, and one before it does",
        "no reservation was paid",
        Events::Needed,
    ),
    Kind(
        "totals_exact",
        "receipts and events state what the lines cost, to the cent",
        "no receipt states a total",
        Events::Helpful,
    ),
    Kind(
        "ghost_orders",
        "every order stems from a request that was accepted or stayed unanswered",
        "the run made no order",
        Events::Needed,
    ),
    Kind(
        "order_whole",
        "every order got exactly the units it asked",
        "the run made no order",
        Events::Needed,
    ),
    Kind(
        "placed_as_told",
        "a reservation was placed if, and only if, its buyer was told so",
        "no reservation was placed",
        Events::Needed,
    ),
    Kind(
        "feed_order",
        "events arrive in the order of their positions",
        "the feed has no event",
        Events::Needed,
    ),
];

/// The checks of a run, each by name.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    pub(super) oversold: Check,
    pub(super) undersold: Check,
    pub(super) balance: Check,
    pub(super) duplicates: Check,
    pub(super) lost: Check,
    pub(super) identical: Check,
    pub(super) limit: Check,
    pub(super) sold_out: Check,
    pub(super) fifo: Check,
    pub(super) expiry: Check,
    pub(super) late: Check,
    pub(super) totals: Check,
    pub(super) ghosts: Check,
    pub(super) whole: Check,
    pub(super) placed: Check,
    pub(super) feed_order: Check,
}

impl Checks {
    pub(super) fn new(allowed: &BTreeMap<String, u64>) -> Self {
        let check = |bit: u8| {
            let Kind(name, claim, absent, _) = CHECKS[usize::from(bit)];
            Check {
                name,
                claim,
                bit,
                checked: 0,
                violations: 0,
                allowed: allowed.get(name).copied().unwrap_or(0),
                evidence: Vec::new(),
                absent: absent.to_owned(),
                doubt: None,
            }
        };
        Self {
            oversold: check(0),
            undersold: check(1),
            balance: check(2),
            duplicates: check(3),
            lost: check(4),
            identical: check(5),
            limit: check(6),
            sold_out: check(7),
            fifo: check(8),
            expiry: check(9),
            late: check(10),
            totals: check(11),
            ghosts: check(12),
            whole: check(13),
            placed: check(14),
            feed_order: check(15),
        }
    }

    /// Returns the checks in the order of their bits.
    pub(super) fn into_list(self) -> Vec<Check> {
        vec![
            self.oversold,
            self.undersold,
            self.balance,
            self.duplicates,
            self.lost,
            self.identical,
            self.limit,
            self.sold_out,
            self.fifo,
            self.expiry,
            self.late,
            self.totals,
            self.ghosts,
            self.whole,
            self.placed,
            self.feed_order,
        ]
    }
}

/// Leaves those checks that the buyers' answers alone allow; the others say why they can't.
pub(super) fn without_feed(checks: &mut [Check], why: &str) {
    for check in checks {
        let Kind(.., events) = CHECKS[usize::from(check.bit)];
        if events == Events::Needed {
            (check.checked, check.violations) = (0, 0);
            check.evidence.clear();
            check.doubt = None;
        }
        if events != Events::Unused {
            why.clone_into(&mut check.absent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every check has its own bit, in the order of the table; the table's names are unique.
    #[test]
    fn bits_and_names_are_unique() {
        let list = Checks::new(&BTreeMap::new()).into_list();
        let bits: Vec<_> = list.iter().map(|check| usize::from(check.bit)).collect();
        assert_eq!(bits, (0..CHECKS.len()).collect::<Vec<_>>());
        let mut names: Vec<_> = CHECKS.iter().map(|kind| kind.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    /// What a scenario allows does not violate; one more does; nothing looked at is not checked.
    #[test]
    fn verdicts_follow_what_is_allowed() {
        let allowed = BTreeMap::from([("oversold".to_owned(), 1)]);
        let mut check = Checks::new(&allowed).oversold;
        assert!(matches!(check.verdict(), Verdict::NotChecked(why) if why.contains("no event")));
        check.note(Some("one".to_owned()));
        assert_eq!(check.verdict(), Verdict::Holds);
        check.note(Some("two".to_owned()));
        assert!(check.is_violated());
    }
}
