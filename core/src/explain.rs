//! Decisions about an order in one sentence each.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::decided::{Decided, DecidedBy, FraudDecision, PolicyDecision, PolicyNo, PolicyView};
use crate::domain::bucket::Bucket;
use crate::event::{Event, EventKind};

/// Says why a record of an order is as it is.
pub(crate) fn reason(
    event: &Event,
    policy: impl Fn(PolicyNo) -> Option<Arc<PolicyView>>,
) -> String {
    let mut reason = happened(event);
    if let Some(decided) = &event.decided {
        reason.push_str(&decisions(decided, policy));
    }
    reason
}

/// Says what policies had decided about a basket.
fn decisions(decided: &Decided, policy: impl Fn(PolicyNo) -> Option<Arc<PolicyView>>) -> String {
    let mut text = String::new();
    if let Some(pricing) = &decided.pricing {
        text.push_str("; its prices are ");
        text.push_str(&by(pricing, policy(pricing.policy)));
    }
    if let Some(fraud) = &decided.fraud {
        let FraudDecision { decision, risk, points, code } = fraud;
        let (risk, by) = (risk.name(), by(decision, policy(decision.policy)));
        // Writing to a string can't fail.
        let _ = write!(text, "; its risk is {risk} with {points} points (code {code}), {by}");
    }
    text
}

/// Says who has decided.
fn by(decision: &PolicyDecision, known: Option<Arc<PolicyView>>) -> String {
    let PolicyDecision { policy, by, fuel, .. } = decision;
    let name = known.map_or_else(
        || format!("policy {}", policy.0),
        |known| format!("policy {} ({} {})", policy.0, known.name, known.version),
    );
    match by {
        DecidedBy::Policy => format!("by {name} with {fuel} fuel"),
        DecidedBy::BuiltIn => format!("by the built-in policy, because {name} failed"),
        DecidedBy::FailOpen => format!("by nobody, because {name} failed and lets pass"),
    }
}

fn happened(event: &Event) -> String {
    let units: u64 =
        event.movements.iter().chain(&event.instructions).map(|m| u64::from(m.quantity)).sum();
    let cells = event.movements.len() + event.instructions.len();
    match event.kind {
        EventKind::OrderPlaced => match &event.order {
            Some(order) => {
                let asked: u64 = order.lines.iter().map(|(_, units)| u64::from(*units)).sum();
                let from =
                    if event.instructions.is_empty() { "one shard" } else { "several shards" };
                format!(
                    "{asked} units were asked and {units} moved out of {cells} cells of {from}; \
                     stock and limits allowed it"
                )
            }
            None if event.risk.is_some() => format!(
                "the order was found to be in order (reason {}): {units} units are committed",
                event.reason
            ),
            None => format!("the reservation was placed in time: {units} units are committed"),
        },
        EventKind::OrderReserved => format!(
            "{units} units in {cells} cells are reserved until {} ms",
            event.deadline.millis()
        ),
        EventKind::OrderRiskRecorded => format!(
            "its risk was found to be {} (reason {})",
            event.risk.unwrap_or_default().name(),
            event.reason
        ),
        EventKind::OrderRejected => {
            format!("the reservation was denied (reason {}): {units} units are back", event.reason)
        }
        EventKind::OrderExtended => {
            format!("the owner extended the reservation until {} ms", event.deadline.millis())
        }
        EventKind::OrderReleased => {
            format!(
                "the owner gave the reservation up (reason {}): {units} units are back",
                event.reason
            )
        }
        EventKind::OrderExpired => {
            format!("the deadline passed before the order was placed: {units} units are back")
        }
        EventKind::OrderCancelled => {
            format!("{units} units were cancelled (reason {}) and are back", event.reason)
        }
        EventKind::OrderShipped => format!("{units} units left"),
        EventKind::ReservationBroken | EventKind::CommitmentBroken => broken(event),
        EventKind::OrderShort => format!("{units} units were not found when picking"),
        _ => event.kind.name().to_owned(),
    }
}

/// Says what a count took from an order.
fn broken(event: &Event) -> String {
    let moved = event.movements.iter().chain(&event.instructions);
    let sum = |to| moved.clone().filter(|m| m.to == to).map(|m| u64::from(m.quantity)).sum::<u64>();
    let (lost, back) = (sum(Bucket::Adjust), sum(Bucket::Available));
    let held = if event.kind == EventKind::ReservationBroken { "reserved" } else { "committed" };
    let count = event.count.map_or_else(String::new, |key| format!(" {:032x}", key.bits()));
    let beside = if back > 0 {
        format!("; {back} units of broken kits or uses of coupons beside them are back")
    } else {
        String::new()
    };
    format!(
        "count{count} did not find {lost} {held} units, and what is available and the newer \
         promises did not make up for them: they are short{beside}"
    )
}
