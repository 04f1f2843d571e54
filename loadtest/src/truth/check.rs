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
    /// The target does not serve what the check needs, or the run had no case of it; says which.
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

    /// Returns the verdict.
    pub fn verdict(&self) -> Verdict {
        if self.violations > self.allowed {
            Verdict::Violated
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

/// A check of the table: name, claim, and why it may have nothing to look at.
pub(crate) struct Kind(&'static str, &'static str, &'static str);

/// Every check, in the order of reports and of bits; a bit is never given to another check.
pub(crate) const CHECKS: [Kind; 16] = [
    Kind(
        "oversold",
        "no unit was promised twice: no bucket below zero, no more promised than put in",
        "no event moved a unit",
    ),
    Kind(
        "undersold",
        "nobody was sent away at the end while units were left over, and no basket holds units \
         for ever",
        "the stock was not read",
    ),
    Kind("stock_balance", "sold + left = put in, for every SKU", "the stock was not read"),
    Kind(
        "duplicate_orders",
        "no request made more than one order",
        "no request that makes an order was accepted",
    ),
    Kind(
        "lost_acknowledgements",
        "every accepted request has its order",
        "no request that makes an order was accepted",
    ),
    Kind(
        "receipts_identical",
        "the same request sent twice got the same bytes and the same order",
        "no request was accepted twice",
    ),
    Kind(
        "customer_limit",
        "no customer holds more than the limit",
        "nobody bought a SKU that has a limit",
    ),
    Kind(
        "false_sold_out",
        "nobody was told sold out while enough units were available",
        "nobody was told sold out",
    ),
    Kind(
        "fifo_inversions",
        "nobody overtook another in a waiting line",
        "the target serves no waiting line, so nobody has a place in one",
    ),
    Kind(
        "expiry_skew",
        "reservations end at their deadline: never before it, and not later than allowed",
        "no reservation ran to its deadline",
    ),
    Kind(
        "late_payments",
        "a payment after the deadline never stands, and one before it does",
        "no reservation was paid",
    ),
    Kind(
        "totals_exact",
        "receipts and events state what the lines cost, to the cent",
        "no receipt states a total",
    ),
    Kind(
        "ghost_orders",
        "every order stems from a request that was accepted or stayed unanswered",
        "the run made no order",
    ),
    Kind("order_whole", "every order got exactly the units it asked", "the run made no order"),
    Kind(
        "placed_as_told",
        "a reservation was placed if, and only if, its buyer was told so",
        "no reservation was placed",
    ),
    Kind("feed_order", "events arrive in the order of their positions", "the feed has no event"),
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
            let Kind(name, claim, absent) = CHECKS[usize::from(bit)];
            Check {
                name,
                claim,
                bit,
                checked: 0,
                violations: 0,
                allowed: allowed.get(name).copied().unwrap_or(0),
                evidence: Vec::new(),
                absent: absent.to_owned(),
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
        let by_answers = matches!(check.name, "receipts_identical" | "duplicate_orders")
            || check.name == "totals_exact"
            || check.name == "fifo_inversions";
        if !by_answers {
            (check.checked, check.violations) = (0, 0);
            check.evidence.clear();
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
