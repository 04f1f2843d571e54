//! Who decides: what the steps of the journal add up to, for each kind of policy.

use std::collections::{BTreeMap, BTreeSet};

use onhand_core::{PolicyKind, PolicyNo, Step};

/// Who decides on one kind of question, as far as the steps say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineup {
    /// Installed and not removed.
    pub installed: BTreeSet<PolicyNo>,
    /// The one that decides.
    pub active: Option<PolicyNo>,
    /// Those that decided before, the latest last; what a rollback goes back to.
    pub before: Vec<PolicyNo>,
    /// The one that decides for a share of the customers in ten-thousandths.
    pub canary: Option<(PolicyNo, u16)>,
    /// The one that is asked beside, and its share in ten-thousandths.
    pub shadow: Option<(PolicyNo, u16)>,
    /// The one that stays until it is let go.
    pub pinned: Option<PolicyNo>,
}

/// Most policies that a lineup goes back through.
const BEFORE_MAX: usize = 16;

impl Lineup {
    /// Carries out one step.
    pub(crate) fn step(&mut self, no: PolicyNo, step: Step, share: u16) {
        match step {
            Step::Installed => {
                self.installed.insert(no);
            }
            Step::Activated | Step::Promoted => {
                self.leave(no);
                if self.active != Some(no) {
                    self.before.retain(|other| *other != no);
                    self.before.extend(self.active);
                    let surplus = self.before.len().saturating_sub(BEFORE_MAX);
                    self.before.drain(..surplus);
                    self.active = Some(no);
                }
            }
            Step::Shadowed => {
                self.leave(no);
                self.shadow = Some((no, share));
            }
            Step::Canary => {
                self.leave(no);
                self.canary = Some((no, share));
            }
            Step::RolledBack | Step::Guarded => {
                if self.canary.is_some_and(|(canary, _)| canary == no) {
                    self.canary = None;
                } else if self.active == Some(no) {
                    self.active = self.before.pop();
                }
            }
            Step::Pinned => self.pinned = Some(no),
            Step::Unpinned => self.pinned = None,
            Step::Stopped => self.leave(no),
            Step::Removed => {
                self.leave(no);
                self.installed.remove(&no);
                self.before.retain(|other| *other != no);
                if self.active == Some(no) {
                    self.active = self.before.pop();
                }
                self.pinned = self.pinned.filter(|pinned| *pinned != no);
            }
        }
    }

    /// Ends shadow and canary of a policy.
    fn leave(&mut self, no: PolicyNo) {
        self.canary = self.canary.filter(|(canary, _)| *canary != no);
        self.shadow = self.shadow.filter(|(shadow, _)| *shadow != no);
    }

    /// Returns whether a policy has a part now: decides, is tried, or is pinned.
    pub fn in_use(&self, no: PolicyNo) -> bool {
        let tried = [self.canary, self.shadow];
        self.active == Some(no)
            || self.pinned == Some(no)
            || tried.iter().flatten().any(|(tried, _)| *tried == no)
    }

    /// Returns the policies that must be ready to be asked.
    pub(crate) fn needed(&self) -> BTreeSet<PolicyNo> {
        let tried = [self.canary, self.shadow].into_iter().flatten().map(|(no, _)| no);
        self.active.into_iter().chain(tried).collect()
    }
}

/// The lineups of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineups {
    /// Pricing.
    pub pricing: Lineup,
    /// Fraud.
    pub fraud: Lineup,
    /// Recommendations.
    pub recommend: Lineup,
}

impl Lineups {
    /// Returns the lineup of a kind.
    pub const fn of(&self, kind: PolicyKind) -> &Lineup {
        match kind {
            PolicyKind::Pricing => &self.pricing,
            PolicyKind::Fraud => &self.fraud,
            PolicyKind::Recommend => &self.recommend,
        }
    }

    pub(crate) const fn of_mut(&mut self, kind: PolicyKind) -> &mut Lineup {
        match kind {
            PolicyKind::Pricing => &mut self.pricing,
            PolicyKind::Fraud => &mut self.fraud,
            PolicyKind::Recommend => &mut self.recommend,
        }
    }

    /// Adds up steps of all policies by their positions.
    pub(crate) fn replay(
        steps: impl IntoIterator<Item = (u64, PolicyKind, PolicyNo, Step, u16)>,
    ) -> Self {
        let mut lineups = Self::default();
        let mut ordered = BTreeMap::new();
        for (seq, kind, no, step, share) in steps {
            ordered.insert(seq, (kind, no, step, share));
        }
        for (kind, no, step, share) in ordered.into_values() {
            lineups.of_mut(kind).step(no, step, share);
        }
        lineups
    }
}

#[cfg(test)]
mod tests {
    use onhand_core::{PolicyNo, Step};

    use super::Lineup;

    const A: PolicyNo = PolicyNo(1);
    const B: PolicyNo = PolicyNo(2);
    const C: PolicyNo = PolicyNo(3);

    fn after(steps: &[(PolicyNo, Step, u16)]) -> Lineup {
        let mut lineup = Lineup::default();
        for (no, step, share) in steps {
            lineup.step(*no, *step, *share);
        }
        lineup
    }

    /// A rollback ends the canary first, and only then what is active.
    #[test]
    fn a_rollback_goes_one_step_back() {
        let mut lineup = after(&[
            (A, Step::Activated, 0),
            (B, Step::Activated, 0),
            (C, Step::Shadowed, 10_000),
            (C, Step::Canary, 500),
        ]);
        assert_eq!((lineup.canary, lineup.shadow), (Some((C, 500)), None));
        lineup.step(C, Step::Guarded, 0);
        assert_eq!((lineup.canary, lineup.active), (None, Some(B)));
        lineup.step(B, Step::RolledBack, 0);
        assert_eq!(lineup.active, Some(A));
        lineup.step(A, Step::RolledBack, 0);
        assert_eq!(lineup.active, None);
    }

    /// What was promoted decides, and what it replaced is where a rollback goes to.
    #[test]
    fn a_promotion_keeps_the_one_before() {
        let mut lineup = after(&[
            (A, Step::Installed, 0),
            (A, Step::Activated, 0),
            (B, Step::Installed, 0),
            (B, Step::Canary, 100),
            (B, Step::Canary, 1_000),
            (B, Step::Promoted, 0),
        ]);
        assert_eq!((lineup.active, lineup.canary), (Some(B), None));
        assert_eq!(lineup.before, [A]);
        lineup.step(A, Step::Removed, 0);
        assert!(lineup.before.is_empty() && !lineup.installed.contains(&A));
        lineup.step(B, Step::Activated, 0);
        assert_eq!((lineup.active, lineup.before.len()), (Some(B), 0));
    }
}
