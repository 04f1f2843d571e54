//! Policies on the wire: who they are, their part, what they have done, how far they differ.

use blake3::Hash;
use onhand_core::PolicyStepView;
use onhand_desk::{
    Divergence, DivergenceReport, GuardView, HealthNote, Identity, Listed, PolicyAnswer,
    PolicyLogs, PolicyStats, Role, Sample,
};
use onhand_plugin_bundle::Fixture;
use onhand_plugin_runtime::{BreakerState, FailureKind, Stats};

use super::encode::Writer;

/// Writes who a policy is, as members.
pub(crate) fn identity(out: &mut Writer, identity: &Identity) {
    out.text("kind", identity.kind.name());
    out.text("name", &identity.name);
    out.text("version", &identity.version);
    out.plain("plugin", Hash::from_bytes(identity.plugin));
    out.plain("config", Hash::from_bytes(identity.config));
}

/// Returns the word of a part.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Canary(_) => "canary",
        Role::Shadow(_) => "shadow",
        Role::Idle => "idle",
    }
}

fn role(out: &mut Writer, role: Role) {
    out.text("role", role_name(role));
    if let Role::Canary(share) | Role::Shadow(share) = role {
        out.number("share_bp", u64::from(share));
    }
}

/// Writes a policy with its part and its steps.
pub(crate) fn listed(out: &mut Writer, listed: &Listed) {
    let view = &listed.view;
    out.open();
    out.number("policy", u64::from(view.no.0));
    out.text("kind", view.kind.name());
    out.text("name", &view.name);
    out.text("version", &view.version);
    role(out, listed.role);
    out.flag("installed", listed.installed);
    out.flag("pinned", listed.pinned);
    out.plain("plugin", Hash::from_bytes(view.plugin));
    out.plain("config", Hash::from_bytes(view.config));
    failure(out, listed.last_failure.as_deref());
    out.list("steps", &view.steps, step);
    out.close();
}

fn step(out: &mut Writer, step: &PolicyStepView) {
    out.open();
    out.text("step", step.step.name());
    if step.share > 0 {
        out.number("share_bp", u64::from(step.share));
    }
    out.time("at", step.at);
    out.number("seq", step.seq);
    if !step.note.is_empty() {
        out.text("note", &step.note);
    }
    out.close();
}

fn failure(out: &mut Writer, last: Option<&str>) {
    match last {
        Some(text) => out.text("last_failure", text),
        None => out.null("last_failure"),
    }
}

/// Writes what a plugin has logged, and its latest failure.
pub(crate) fn logs(out: &mut Writer, logs: &PolicyLogs, last_failure: Option<&str>) {
    out.open();
    failure(out, last_failure);
    out.list("lines", &logs.lines, |out, line| {
        out.open();
        match line.level {
            0 => out.text("level", "error"),
            1 => out.text("level", "warning"),
            2 => out.text("level", "information"),
            3 => out.text("level", "detail"),
            other => out.text("level", &other.to_string()),
        }
        out.text("text", &line.text);
        out.close();
    });
    out.number("dropped", logs.dropped);
    out.close();
}

/// Writes what a policy has done.
pub(crate) fn stats(out: &mut Writer, stats: &PolicyStats) {
    out.open();
    out.number("policy", u64::from(stats.no.0));
    identity(out, &stats.identity);
    role(out, stats.role);
    out.number("calls", stats.calls);
    out.number("orders", stats.orders);
    let [policy, built_in, fail_open, fail_closed] = stats.by;
    out.open_in("decided");
    out.number("policy", policy);
    out.number("built_in", built_in);
    out.number("fail_open", fail_open);
    out.number("fail_closed", fail_closed);
    out.close();
    out.number("refused", stats.refused);
    out.open_in("failures");
    for (kind, count) in FailureKind::ALL.iter().zip(stats.failures) {
        if count > 0 {
            out.number(kind.name(), count);
        }
    }
    out.close();
    out.number("call_p50_ns", stats.time_p50_ns);
    out.number("call_p99_ns", stats.time_p99_ns);
    match &stats.plugin {
        Some(figures) => plugin(out, figures),
        None => out.null("plugin_figures"),
    }
    failure(out, stats.last_failure.as_deref());
    if let Some(view) = &stats.guards {
        guards(out, view);
    }
    out.close();
}

fn plugin(out: &mut Writer, stats: &Stats) {
    out.open_in("plugin_figures");
    out.text("breaker", breaker(stats.breaker));
    out.number("breaker_opened", stats.breaker_opened);
    out.number("instances_started", stats.instances);
    out.number("fuel_p50", stats.fuel_p50);
    out.number("fuel_p99", stats.fuel_p99);
    out.number("fuel_max", stats.fuel_max);
    out.close();
}

/// Returns the word of a breaker's state.
pub(crate) const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Open => "open",
    }
}

fn guards(out: &mut Writer, view: &GuardView) {
    out.open_in("guards");
    for (name, side) in [("canary", &view.canary), ("incumbent", &view.incumbent)] {
        let Sample { orders, failed, refused, priced, price_bp_sum } = *side;
        out.open_in(name);
        out.number("orders", orders);
        out.number("failed", failed);
        out.number("refused", refused);
        if let Some(mean) = price_bp_sum.checked_div(priced) {
            out.number("price_bp", mean);
        }
        out.close();
    }
    out.number("p99_us", view.p99_us);
    out.close();
}

/// Writes what a shadow's answers were worth.
pub(crate) fn divergence(out: &mut Writer, report: &DivergenceReport) {
    out.open();
    out.number("compared", report.compared);
    out.number("equal", report.equal);
    out.number("different", report.different);
    out.number("failed", report.failed);
    out.number("dropped", report.dropped);
    out.number("refusals_differ", report.refusals_differ);
    out.list("money", &report.money_sum, |out, (currency, sum)| {
        out.open();
        out.plain("currency", currency);
        out.signed("sum", *sum);
        out.signed("absolute", report.money_abs.get(currency).copied().unwrap_or(0));
        out.number("orders", report.money_orders.get(currency).copied().unwrap_or(0));
        out.signed("per_order_hundredths", report.money_per_order(*currency));
        out.close();
    });
    out.list("examples", &report.examples, example);
    out.close();
}

fn example(out: &mut Writer, example: &Divergence) {
    out.open();
    out.json("input", &Fixture::new(example.facts.clone()).line());
    for (name, given) in [("incumbent", &example.incumbent), ("candidate", &example.candidate)] {
        out.open_in(name);
        answer(out, given);
        out.close();
    }
    out.close();
}

fn answer(out: &mut Writer, answer: &PolicyAnswer) {
    match answer {
        PolicyAnswer::Price(price) => {
            if let Some(code) = price.refused {
                out.number("refused", u64::from(code));
            }
            out.signed("total", price.total);
            out.list("discounts", &price.discounts, |out, amount| out.bare_signed(*amount));
            out.list("coupons", &price.coupons, |out, sku| out.bare(*sku));
        }
        PolicyAnswer::Risk(risk) => {
            out.number("verdict", u64::from(risk.verdict.number()));
            out.number("points", u64::from(risk.points));
            out.number("code", u64::from(risk.code));
        }
        PolicyAnswer::Picks(picks) => {
            out.list("picks", picks, |out, (sku, score)| {
                out.open();
                out.number("sku", *sku);
                out.number("score", u64::from(*score));
                out.close();
            });
        }
    }
}

/// Says in one line what an operator should know.
pub(crate) fn note(note: &HealthNote) -> String {
    match note {
        HealthNote::Absent { no, name, why } => {
            format!("policy {} ({name}) can't be asked, its failure policy decides: {why}", no.0)
        }
        HealthNote::BreakerOpen { no, name } => {
            format!("policy {} ({name}) failed too often and is left alone for a while", no.0)
        }
        HealthNote::Guarded { no, why } => {
            format!("canary {} was called back by its guards: {why}", no.0)
        }
        HealthNote::NotCalledBack { no, why } => {
            format!("canary {} should have been called back and goes on: {why}", no.0)
        }
        HealthNote::FeedStopped(why) => {
            format!("orders teach recommendations and fraud checks no more: {why}")
        }
        HealthNote::Fault { count, why } => {
            format!("threads that decide panicked, {count} times by now, the last one with: {why}")
        }
    }
}
