//! What policies have decided, and what becomes of an order's risk.

use super::*;
use onhand_core::{PolicyKind, PolicyNo, PolicyRefusal, PolicyStep, Step};

/// What makes a policy the one that it is: kind, plugin, configuration.
pub type PolicyId = (PolicyKind, [u8; 32], [u8; 32]);

/// A command as the caller asked it: without what policies have decided about it.
pub fn asked(command: &Command) -> Command {
    let strip = |lines: &[Line], decided: Option<&Decided>| -> Vec<Line> {
        let Some(decided) = decided else { return lines.to_vec() };
        let own = lines.len() - usize::from(decided.added);
        let priced = decided.pricing.is_none();
        let strip = |line: &Line| Line { price: line.price.filter(|_| priced), ..*line };
        lines[..own].iter().map(strip).collect()
    };
    let ask = |decided: Option<&Decided>| {
        let ask = decided.map_or(0, |decided| decided.ask);
        (ask != 0).then(|| Box::new(Decided { ask, ..Decided::default() }))
    };
    let mut command = command.clone();
    match &mut command {
        Command::Buy(buy) => {
            buy.lines = strip(buy.lines.as_slice(), buy.decided.as_deref()).into();
            buy.decided = ask(buy.decided.as_deref());
        }
        Command::Reserve(reserve) => {
            reserve.lines = strip(reserve.lines.as_slice(), reserve.decided.as_deref()).into();
            reserve.decided = ask(reserve.decided.as_deref());
        }
        _ => (),
    }
    command
}

/// The risk of a basket.
pub(super) fn risk_of(basket: &Basket<'_>) -> Risk {
    basket.decided.and_then(|d| d.fraud).map_or(Risk::Unscored, |fraud| fraud.risk)
}

/// The times of the reservation that a `buy` becomes under challenge or review.
pub(super) fn review_times(decided: Option<&Decided>) -> Option<(u64, u64)> {
    let decided = decided?;
    let open = decided.fraud.is_some_and(|fraud| fraud.risk.is_open());
    open.then_some((decided.review_ms, decided.review_ms))
}

/// What can be said of decisions without looking anything up.
pub(super) fn decided_shape(basket: &Basket<'_>, rejects: &mut BTreeSet<Reject>) {
    let Some(decided) = basket.decided else { return };
    let added = usize::from(decided.added);
    let mut bad = added > 0 && (decided.pricing.is_none() || added >= basket.lines.len());
    if let Some(fraud) = decided.fraud {
        bad |= fraud.risk == Risk::Unscored || fraud.points > 1_000;
    }
    if bad {
        rejects.insert(Reject::DecisionInvalid);
    }
}

/// What is wrong with a step by itself.
pub(super) fn step_shape(step: &PolicyStep, rejects: &mut BTreeSet<Reject>) {
    let text = |text: &str, most: usize| {
        text.len() <= most && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
    };
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
    let good = !step.name.is_empty()
        && step.name.len() <= 64
        && step.name.chars().all(name)
        && text(&step.version, 32)
        && text(&step.note, 255)
        && (step.share > 0) == (step.step == Step::Canary)
        && step.share <= 10_000;
    if !good {
        rejects.insert(Reject::DefinitionInvalid);
    }
}

impl Model {
    fn kind_of(&self, no: PolicyNo) -> Option<PolicyKind> {
        let at = usize::from(no.0).checked_sub(1)?;
        self.policies.get(at).map(|policy| policy.0)
    }

    /// Policies must be known and of their kind; then they may refuse.
    pub(super) fn check_decided(&self, basket: &Basket<'_>) -> Checked {
        let Some(decided) = basket.decided else { return Ok(()) };
        let mut rejects = BTreeSet::new();
        let pricing = decided.pricing.map(|pricing| (pricing.policy, PolicyKind::Pricing));
        let fraud = decided.fraud.map(|fraud| (fraud.decision.policy, PolicyKind::Fraud));
        for (no, kind) in pricing.into_iter().chain(fraud) {
            if self.kind_of(no) != Some(kind) {
                rejects.insert(Reject::PolicyUnknown);
            }
        }
        match decided.refusal {
            Some(PolicyRefusal::Price(_)) => _ = rejects.insert(Reject::PriceRefused),
            Some(PolicyRefusal::Fraud(_)) => _ = rejects.insert(Reject::FraudDenied),
            Some(PolicyRefusal::Quote) => _ = rejects.insert(Reject::QuoteExpired),
            Some(PolicyRefusal::Failed(no)) => {
                rejects.insert(Reject::PluginFailed);
                if self.kind_of(no).is_none() {
                    rejects.insert(Reject::PolicyUnknown);
                }
            }
            None if risk_of(basket) == Risk::Deny => _ = rejects.insert(Reject::FraudDenied),
            None => (),
        }
        if !rejects.is_empty() {
            // A kit too large, or a total beyond money, goes before what policies say.
            let wants = self.wants(basket.lines);
            rejects.extend(self.check_lookups(basket, &wants).err().unwrap_or_default());
        }
        none_of(rejects)
    }

    pub(super) fn policy_step(&mut self, step: &PolicyStep) -> Expected {
        let id = (step.kind, step.plugin, step.config);
        let at = self.policies.iter().position(|known| *known == id);
        let at = at.unwrap_or(self.policies.len());
        if at == self.policies.len() {
            self.policies.push(id);
        }
        Expected::Policy { no: at as u16 + 1 }
    }

    pub(super) fn record_risk(&mut self, id: OrderId, risk: Risk) -> Checked<Expected> {
        self.reserved(id)?;
        let order = self.orders.get_mut(&id).expect("checked");
        if !order.risk.is_open() {
            return reject(Reject::StateConflict);
        }
        order.risk = risk;
        match risk {
            Risk::Deny => return Ok(self.give_up(id, OrderStatus::Rejected)),
            Risk::Allow if order.asked_as_buy => return Ok(self.commit(id)),
            _ => order.version += 1,
        }
        Ok(Expected::Change { status: order.status, version: order.version, deadline: 0 })
    }
}
