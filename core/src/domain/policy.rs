//! The policies that decisions may name, the same in every shard; only shard 0 keeps their steps.

use std::sync::Arc;

use crate::decided::{PolicyKind, PolicyNo, PolicyStep, PolicyStepView, PolicyView};

/// Returns the kind of a stored number.
pub(crate) const fn kind_of(code: u8) -> Option<PolicyKind> {
    Some(match code {
        1 => PolicyKind::Pricing,
        2 => PolicyKind::Fraud,
        3 => PolicyKind::Recommend,
        _ => return None,
    })
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// What readers see; shared with them, and made anew when it changes.
    pub(crate) view: Arc<PolicyView>,
    /// Steps so far, also in a shard that does not keep them.
    pub(crate) version: u16,
}

/// All policies by number, from 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    list: Vec<Policy>,
    /// Kinds alone: what each decided order looks at.
    kinds: Vec<PolicyKind>,
    /// Steps of all policies together.
    steps: usize,
}

impl Policies {
    /// Returns the number of policies.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Returns the number of steps of all policies.
    pub(crate) const fn step_count(&self) -> usize {
        self.steps
    }

    /// Returns the policies in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.list.iter()
    }

    /// Returns a policy that is there.
    pub(crate) fn get(&self, no: PolicyNo) -> Option<&Policy> {
        self.list.get(usize::from(no.0).checked_sub(1)?)
    }

    /// Returns what a policy decides about.
    #[inline]
    pub(crate) fn kind(&self, no: PolicyNo) -> Option<PolicyKind> {
        self.kinds.get(usize::from(no.0).wrapping_sub(1)).copied()
    }

    /// Returns the number that a step's policy has.
    pub(crate) fn find(&self, step: &PolicyStep) -> Option<PolicyNo> {
        let same = |p: &Policy| {
            let PolicyView { kind, plugin, config, .. } = p.view.as_ref();
            (*kind, plugin, config) == (step.kind, &step.plugin, &step.config)
        };
        self.list.iter().find(|p| same(p)).map(|p| p.view.no)
    }

    /// Enters a step, of a policy that may be new; `shown` is what readers see of it.
    ///
    /// Returns the policy's number and its steps so far.
    pub(crate) fn enter(
        &mut self,
        step: &PolicyStep,
        shown: Option<PolicyStepView>,
    ) -> (PolicyNo, u16) {
        let no = self.find(step).unwrap_or_else(|| {
            let no = PolicyNo(self.list.len() as u16 + 1);
            let view = PolicyView {
                no,
                kind: step.kind,
                name: String::new(),
                version: String::new(),
                plugin: step.plugin,
                config: step.config,
                steps: Vec::new(),
            };
            self.push(Policy { view: Arc::new(view), version: 0 });
            no
        });
        let policy = &mut self.list[usize::from(no.0) - 1];
        policy.version += 1;
        self.steps += 1;
        let view = Arc::make_mut(&mut policy.view);
        view.name.clone_from(&step.name);
        view.version.clone_from(&step.version);
        view.steps.extend(shown);
        (no, policy.version)
    }

    /// Puts a policy of a checkpoint back behind the others.
    pub(crate) fn push(&mut self, policy: Policy) {
        self.kinds.push(policy.view.kind);
        self.steps += usize::from(policy.version);
        self.list.push(policy);
    }

    /// Gives the last steps of a policy their real positions.
    pub(crate) fn settle_seqs(&mut self, no: PolicyNo, resolve: impl Fn(u64) -> u64) {
        let Some(policy) = self.list.get_mut(usize::from(no.0).wrapping_sub(1)) else { return };
        for step in Arc::make_mut(&mut policy.view).steps.iter_mut().rev() {
            let seq = resolve(step.seq);
            if seq == step.seq {
                break;
            }
            step.seq = seq;
        }
    }
}
