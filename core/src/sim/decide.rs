//! Policies of the simulated shop: their steps, what they decide about baskets, and what people
//! find about orders.

use super::Random;
use crate::apply::fingerprint;
use crate::command::{Command, Line, LinePrice};
use crate::decided::{
    Decided, DecidedBy, FraudDecision, PolicyDecision, PolicyKind, PolicyNo, PolicyRefusal,
    PolicyStep, Risk, Step,
};
use crate::id::Key;

/// Makes a step of one of four policies; the first two are one of each kind.
pub(super) fn policy_step(random: &mut Random, key: Key, first: Option<u64>) -> Command {
    let which = first.unwrap_or_else(|| random.below(4));
    let step = Step::ALL[random.below(Step::ALL.len() as u64) as usize];
    Command::PolicyStep(Box::new(PolicyStep {
        key,
        kind: if which.is_multiple_of(2) { PolicyKind::Pricing } else { PolicyKind::Fraud },
        step,
        name: format!("policy-{which}"),
        version: format!("1.{}", random.below(3)),
        plugin: [which as u8; 32],
        config: [7; 32],
        share: if step == Step::Canary { 1 + random.below(10_000) as u16 } else { 0 },
        note: String::new(),
    }))
}

/// Puts other decisions into a basket; other commands stay as they are.
pub(super) fn decide(random: &mut Random, command: &mut Command) {
    let (lines, decided) = match command {
        Command::Buy(buy) => (&mut buy.lines, &mut buy.decided),
        Command::Reserve(reserve) => (&mut reserve.lines, &mut reserve.decided),
        _ => return,
    };
    let before = decided.take().map_or_else(Decided::default, |decided| *decided);
    let mut own = lines.as_slice().to_vec();
    own.truncate(own.len() - usize::from(before.added));
    if before.pricing.is_some() {
        own.iter_mut().for_each(|line| line.price = None);
    }
    let mut after = Decided { ask: before.ask, ..Decided::default() };
    if random.percent(60) && own.iter().all(|line| line.price.is_none()) {
        after.pricing = Some(decision(random, 1));
        let unit = 80 + random.below(30) as i64;
        if random.percent(30) {
            own.push(Line::new(own[0].sku, crate::quantity::Quantity::ONE).at(own[0].location));
            after.added = 1;
        }
        own.iter_mut().for_each(|l| l.price = Some(LinePrice { unit, discount: 0 }));
    }
    if random.percent(60) {
        let risks = [Risk::Allow, Risk::Allow, Risk::Challenge, Risk::Review, Risk::Deny];
        let mut risk = risks[random.below(5) as usize];
        if risk == Risk::Deny && random.percent(60) {
            risk = Risk::Allow;
        }
        let (points, code) = (random.below(1_001) as u16, random.below(9) as u32);
        after.fraud = Some(FraudDecision { decision: decision(random, 2), risk, points, code });
    }
    after.review_ms = 1 + random.below(4_000);
    after.refusal = match random.below(60) {
        0 => Some(PolicyRefusal::Price(3)),
        1 => Some(PolicyRefusal::Fraud(4)),
        2 => Some(PolicyRefusal::Failed(PolicyNo(1))),
        3 => Some(PolicyRefusal::Quote),
        _ => None,
    };
    *lines = own.into();
    *decided = Some(Box::new(after));
}

/// A decision of the policy that most likely has this number, or of another one.
fn decision(random: &mut Random, number: u16) -> PolicyDecision {
    let number = if random.percent(8) { random.below(5) as u16 } else { number };
    let by = [DecidedBy::Policy, DecidedBy::BuiltIn, DecidedBy::FailOpen];
    PolicyDecision {
        policy: PolicyNo(number),
        by: by[random.below(3) as usize],
        fuel: random.below(10_000) as u32,
        input: random.bits(),
    }
}

/// Returns whether two requests are one, asked twice: policies may decide otherwise.
pub(super) fn is_same(one: &Command, other: &Command) -> bool {
    let basket = |command: &Command| matches!(command, Command::Buy(_) | Command::Reserve(_));
    if basket(one) && basket(other) {
        one.key() == other.key() && fingerprint::of(one) == fingerprint::of(other)
    } else {
        one == other
    }
}
