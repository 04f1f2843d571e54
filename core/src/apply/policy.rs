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
