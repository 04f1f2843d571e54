//! Policies: their steps are recorded, and what they decided about a basket is checked.
//!
//! No policy runs here: what one decided was decided before, and is part of the command.

use crate::apply::{Applied, Context, Instruction, fingerprint, refuse, repeated};
use crate::codec::{FLAG_COPY, Kind, Put, begin, end};
use crate::decided::{
    Decided, PolicyKind, PolicyNo, PolicyRefusal, PolicyStep, PolicyStepView, Risk, Step,
};
use crate::domain::answered::Answered;
use crate::limits::{
    POLICIES_MAX, POLICY_NAME_BYTES_MAX, POLICY_NOTE_BYTES_MAX, POLICY_POINTS_MAX,
    POLICY_SHARE_MAX, POLICY_STEPS_MAX, POLICY_VERSION_BYTES_MAX,
};
use crate::reject::Reject;
use crate::reply::{PolicyReceipt, Receipt, Refusal};
use crate::state::State;

/// Records a step of a policy; shard 0 decides, the others follow it by `copy`.
pub(crate) fn step(
    state: &mut State,
    ctx: &mut Context<'_>,
    step: &PolicyStep,
) -> Result<Applied, Refusal> {
    check_step(step)?;
    let fingerprint = fingerprint::of_policy_step(step);
    if let Some(answer) = repeated(state, step.key, fingerprint)? {
        return Ok(answer);
    }
    if state.shard != 0 {
        // Its key was on its way to this shard; shard 0 alone numbers policies.
        return Err(refuse(Reject::Contended, 0, 0, 0));
    }
    let full = |most: usize| refuse(Reject::CapacityReached, 0, most as u64 + 1, most as u64);
    if state.policies.find(step).is_none() && state.policies.count() >= POLICIES_MAX {
        return Err(full(POLICIES_MAX));
    }
    if state.policies.step_count() >= POLICY_STEPS_MAX {
        return Err(full(POLICY_STEPS_MAX));
    }
    if !state.has_room() {
        return Err(refuse(Reject::CapacityReached, 0, 0, 0));
    }

    // The step is accepted: nothing below may fail.
    let seq = ctx.section.seq();
    let policy = enter(state, ctx, step, 0);
    for peer in 1..state.shard_count {
        ctx.messages.push((peer, Instruction::Policy(Box::new(step.clone()))));
    }
    let answer = Answered {
        key: step.key.bits(),
        order: 0,
        seq,
        deadline: 0,
        fingerprint,
        version: policy.0.into(),
        status: Answered::POLICY,
    };
    state.add_answer(answer, ctx.section);
    Ok(Applied::Done(Receipt::Policy(PolicyReceipt { key: step.key, policy, seq })))
}

/// Follows a step that shard 0 has accepted; `false` if it does not fit this shard.
pub(crate) fn copy(state: &mut State, ctx: &mut Context<'_>, step: &PolicyStep) -> bool {
    let room = state.policies.find(step).is_some() || state.policies.count() < POLICIES_MAX;
    if check_step(step).is_err() || !room || state.policies.step_count() >= POLICY_STEPS_MAX {
        return false;
    }
    enter(state, ctx, step, FLAG_COPY);
    true
}

fn check_step(step: &PolicyStep) -> Result<(), Refusal> {
    let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let named =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    let shared = match step.step {
        Step::Canary => (1..=POLICY_SHARE_MAX).contains(&step.share),
        Step::Installed
        | Step::Activated
        | Step::Shadowed
        | Step::Promoted
        | Step::RolledBack
        | Step::Guarded
        | Step::Pinned
        | Step::Unpinned
        | Step::Stopped
        | Step::Removed => step.share == 0,
    };
    let fits = (1..=POLICY_NAME_BYTES_MAX).contains(&step.name.len())
        && step.name.bytes().all(named)
        && step.version.len() <= POLICY_VERSION_BYTES_MAX
        && printable(&step.version)
        && step.note.len() <= POLICY_NOTE_BYTES_MAX
        && printable(&step.note)
        && shared;
    if fits { Ok(()) } else { Err(refuse(Reject::DefinitionInvalid, 0, 0, 0)) }
}

fn enter(state: &mut State, ctx: &mut Context<'_>, step: &PolicyStep, flags: u8) -> PolicyNo {
    let shown = (state.shard == 0).then(|| PolicyStepView {
        step: step.step,
        share: step.share,
        at: ctx.now,
        seq: ctx.section.seq(),
        note: step.note.clone(),
    });
    let (no, version) = state.policies.enter(step, shown);
    let out = &mut ctx.section.bytes;
    let at = begin(out, Kind::Policy, flags);
    out.put_u16(no.0);
    out.put_u16(version);
    out.put_u128(step.key.bits());
    out.extend_from_slice(&step.plugin);
    out.extend_from_slice(&step.config);
    out.put_u8(step.kind as u8);
    out.put_u8(step.step as u8);
    out.put_u16(step.share);
    out.put_u8(step.name.len() as u8);
    out.put_u8(step.version.len() as u8);
    out.put_u8(step.note.len() as u8);
    out.put_u8(0);
    for text in [&step.name, &step.version, &step.note] {
        out.extend_from_slice(text.as_bytes());
    }
    end(out, at);
    ctx.section.count += 1;
    ctx.section.policies.push(no);
    no
}

/// Checks what can be said of decisions without looking anything up; `lines` counts all lines.
#[inline]
pub(crate) fn check_shape(decided: &Decided, lines: usize) -> Result<(), Refusal> {
    let invalid = |asked: u64, most: u64| Err(refuse(Reject::DecisionInvalid, 0, asked, most));
    let added = usize::from(decided.added);
    let most = if decided.pricing.is_some() { lines.saturating_sub(1) } else { 0 };
    if added > most {
        return invalid(added as u64, most as u64);
    }
    match &decided.fraud {
        Some(fraud) if fraud.risk == Risk::Unscored => invalid(0, 0),
        Some(fraud) if fraud.points > POLICY_POINTS_MAX => {
            invalid(fraud.points.into(), POLICY_POINTS_MAX.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks that every policy that decisions name is known, and of its kind.
#[inline]
pub(crate) fn check_known(state: &State, decided: &Decided) -> Result<(), Refusal> {
    let unknown = |no: PolicyNo| Err(refuse(Reject::PolicyUnknown, 0, 0, no.0.into()));
    if let Some(pricing) = &decided.pricing
        && state.policies.kind(pricing.policy) != Some(PolicyKind::Pricing)
    {
        return unknown(pricing.policy);
    }
    if let Some(fraud) = &decided.fraud
        && state.policies.kind(fraud.decision.policy) != Some(PolicyKind::Fraud)
    {
        return unknown(fraud.decision.policy);
    }
    match decided.refusal {
        Some(PolicyRefusal::Failed(no)) if state.policies.kind(no).is_none() => unknown(no),
        Some(_) | None => Ok(()),
    }
}

/// Returns the refusal of the policies, if they refuse.
#[inline]
pub(crate) fn check_refusal(decided: &Decided) -> Result<(), Refusal> {
    let denied = decided.fraud.filter(|fraud| fraud.risk == Risk::Deny);
    let denied = denied.map(|fraud| PolicyRefusal::Fraud(fraud.code));
    let (reject, found) = match decided.refusal.or(denied) {
        None => return Ok(()),
        Some(PolicyRefusal::Price(code)) => (Reject::PriceRefused, code),
        Some(PolicyRefusal::Fraud(code)) => (Reject::FraudDenied, code),
        Some(PolicyRefusal::Failed(no)) => (Reject::PluginFailed, no.0.into()),
        Some(PolicyRefusal::Quote) => (Reject::QuoteExpired, 0),
    };
    Err(refuse(reject, 0, 0, found.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Applied, apply};
    use crate::command::{
        Buy, Command, DefineSku, Fill, Line, LinePrice, Place, Placement, Receive, Reserve, SkuKind,
    };
    use crate::decided::{
        DecidedBy, FraudDecision, PolicyDecision, PolicyKind, RecordRisk, Risk, Step,
    };
    use crate::id::{CustomerId, Key, LocationId, LotId, OrderId, SkuId};
    use crate::money::{Currency, Money};
    use crate::quantity::Quantity;
    use crate::shard::section::Section;
    use crate::time::Timestamp;

    fn policy(key: u128, kind: PolicyKind, step: Step) -> Command {
        Command::PolicyStep(Box::new(PolicyStep {
            key: Key::new(key),
            kind,
            step,
            name: "tiers/eu_1.b-2".to_owned(),
            version: "1.4.0 (rc 2)".to_owned(),
            plugin: [0xA1; 32],
            config: [0xC2; 32],
            share: if step == Step::Canary { 250 } else { 0 },
            note: "as agreed on Monday".to_owned(),
        }))
    }

    fn decided(risk: Risk, added: u16) -> Decided {
        let decision = |policy, by, fuel, input| PolicyDecision { policy, by, fuel, input };
        let fraud = decision(PolicyNo(2), DecidedBy::BuiltIn, 0, 0x0102_0304_0506_0708);
        Decided {
            ask: 0xA5,
            added,
            pricing: Some(decision(PolicyNo(1), DecidedBy::Policy, 12_345, 77)),
            fraud: Some(FraudDecision { decision: fraud, risk, points: 640, code: 31 }),
            refusal: None,
            review_ms: 60_000,
        }
    }

    fn commands() -> Vec<Command> {
        let sku = SkuId::from_code("MUG").expect("a code");
        let line = |units, unit| {
            let line = Line::new(sku, Quantity::trusted(units));
            line.priced(LinePrice { unit, discount: 0 })
        };
        let buy = |key, risk, lines: Vec<Line>| {
            let added = lines.len() as u16 - 1;
            Command::Buy(Buy {
                key: Key::new(key),
                customer: CustomerId(9),
                lines: lines.into(),
                fill: Fill::All,
                expected_total: None,
                decided: Some(Box::new(decided(risk, added))),
            })
        };
        let found = |key, order, risk| {
            let (key, order) = (Key::new(key), OrderId::new(order));
            Command::RecordRisk(RecordRisk { key, order, risk, reason: 5 })
        };
        vec![
            Command::DefineSku(Box::new(DefineSku {
                key: Key::new(1),
                code: "MUG".to_owned(),
                kind: SkuKind::Goods,
                price: Money::trusted(900, Currency::EUR),
                placement: Placement::BySku,
                limit: None,
                components: Vec::new(),
            })),
            Command::Receive(Receive {
                key: Key::new(2),
                sku,
                location: LocationId(1),
                lot: LotId(0),
                quantity: Quantity::trusted(100),
            }),
            policy(3, PolicyKind::Pricing, Step::Installed),
            policy(4, PolicyKind::Fraud, Step::Activated),
            policy(5, PolicyKind::Pricing, Step::Canary),
            buy(10, Risk::Allow, vec![line(1, 810)]),
            buy(11, Risk::Allow, vec![line(2, 800), line(1, 0)]),
            buy(12, Risk::Review, vec![line(3, 800)]),
            buy(13, Risk::Challenge, vec![line(1, 700), line(1, 0)]),
            Command::Reserve(Reserve {
                key: Key::new(14),
                customer: CustomerId(9),
                lines: line(4, 850).into(),
                fill: Fill::Min(2),
                ttl_ms: 1_000,
                hard_cap_ms: 5_000,
                expected_total: None,
                decided: Some(Box::new(decided(Risk::Challenge, 0))),
            }),
            found(20, 12, Risk::Challenge),
            found(21, 12, Risk::Allow),
            found(22, 13, Risk::Deny),
            found(23, 14, Risk::Allow),
            Command::Place(Place {
                key: Key::new(24),
                order: OrderId::new(14),
                expected_total: None,
            }),
        ]
    }

    /// The bytes of records with decisions never change: those of the first version are written
    /// again alike. `docs/JOURNAL_FORMAT.md` has their tables.
    #[test]
    fn golden_records_with_decisions_are_written_again() {
        let mut state = State::new(0, 1, 0);
        let (mut section, mut messages) = (Section::new(), Vec::new());
        section.restart(1);
        for command in commands() {
            let mut ctx = Context {
                now: Timestamp::from_millis(1_700_000_000_000),
                section: &mut section,
                messages: &mut messages,
                peer_skus: &[],
            };
            let applied = apply(&mut state, &mut ctx, &command);
            assert!(matches!(applied, Applied::Done(_)), "{command:?}: {applied:?}");
        }
        let golden = include_bytes!("../../tests/golden/records-decided-v1.bin");
        assert!(section.bytes == golden, "the format changed: {:02x?}", section.bytes);
    }
}
