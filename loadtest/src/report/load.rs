//! Reports as text for people and as JSON for machines; no key or password is ever in one.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::drive::Pace;
use crate::flash::FlashReport;
use crate::load::{KindReport, LoadReport};
use crate::meter::Latency;
use crate::replay::ReplayReport;
use crate::report::time_text;
use crate::schedule::Shape;
use crate::truth::TruthReport;

/// Version of the JSON report; it grows by one when a member changes or goes away.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Returns the exit code of a run: 5 truth violated, 130 interrupted, 4 limited by the generator,
/// else 0. The first that applies wins.
pub fn exit_code(report: &LoadReport, allow_generator_limit: bool) -> u8 {
    if !report.truth_holds() {
        5
    } else if report.interrupted {
        130
    } else if report.generator_limited.is_some() && !allow_generator_limit {
        4
    } else {
        0
    }
}

/// Returns the report of a flash sale as text.
pub fn flash_text(report: &FlashReport) -> String {
    let limit = report.limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
    let head = format!("flash sale: {} units of {}, {limit}", report.stock, report.hot_sku);
    text(&report.load, &head)
}

/// Returns the report of a flash sale as JSON.
pub fn flash_json(report: &FlashReport, exit_code: u8) -> Value {
    let facts = json!({
        "run": report.run,
        "hot_sku": report.hot_sku,
        "stock": report.stock,
        "limit": report.limit,
    });
    json_of(&report.load, exit_code, facts)
}

/// Returns the report of a replay as text.
pub fn replay_text(report: &ReplayReport) -> String {
    let speed = report.speed.map_or(String::new(), |speed| format!(", recorded times x {speed}"));
    let ahead = if report.preloaded { ", read ahead" } else { "" };
    let head = format!(
        "replay of {}: {} SKUs and {} stock lines put in in {}, placed by {}\n  \
         baskets      {} ({:.0}/s) with {} lines ({:.0}/s){speed}{ahead}",
        report.file.display(),
        report.skus,
        report.stock_lines,
        time(report.setup_elapsed),
        report.placement.name(),
        report.baskets,
        report.basket_rate(),
        report.lines,
        report.line_rate(),
    );
    text(&report.load, &head)
}

/// Returns the report of a replay as JSON.
pub fn replay_json(report: &ReplayReport, exit_code: u8) -> Value {
    let name = report.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let facts = json!({
        "file": name,
        "placement": report.placement.name(),
        "skus": report.skus,
        "stock_lines": report.stock_lines,
        "setup_ns": u64::try_from(report.setup_elapsed.as_nanos()).unwrap_or(u64::MAX),
        "baskets": report.baskets,
        "baskets_per_second": report.basket_rate(),
        "lines": report.lines,
        "lines_per_second": report.line_rate(),
        "speed": report.speed,
        "preloaded": report.preloaded,
    });
    json_of(&report.load, exit_code, facts)
}

/// Writes a duration with a unit that fits it.
fn time(time: Duration) -> String {
    time_text(time.as_nanos() as f64)
}

fn pace_text(pace: Pace) -> String {
    match pace {
        Pace::Max => "as fast as answers come".to_owned(),
        Pace::Open { rate, shape: Shape::Uniform } => format!("{rate}, evenly spread"),
        Pace::Open { rate, shape: Shape::Poisson } => format!("{rate}, Poisson"),
    }
}

pub(crate) fn text(report: &LoadReport, head: &str) -> String {
    let mut out = String::new();
    // Writing to a string can't fail, here and below.
    let _ = writeln!(out, "{head}");
    let _ = writeln!(out, "  target       {}, ack {}", report.target, report.ack.name());
    let _ = writeln!(
        out,
        "  pace         {}; {} connections, batch {}, pipeline {}, seed {}",
        pace_text(report.pace),
        report.connections,
        report.batch,
        report.pipeline,
        report.seed
    );
    let machine = &report.machine;
    let (cores, cpu, kernel) = (machine.cores, &machine.cpu, &machine.kernel);
    let _ = writeln!(out, "  machine      {cores} cores, {cpu}, {kernel}, {}", report.date);
    let _ = writeln!(
        out,
        "  requests     {} sent in {} ({:.0}/s answered), {} unsent, {} replayed",
        report.sent,
        time(report.elapsed),
        report.rate(),
        report.unsent,
        report.replayed
    );
    let _ = writeln!(out, "  orders       {} ({:.0}/s)", report.orders, report.order_rate());
    for (code, count) in &report.refusals {
        let _ = writeln!(out, "  refused      {count} {code}");
    }
    for (loss, count) in &report.losses {
        let _ = writeln!(out, "  no answer    {count} {}", loss.name());
    }
    #[cfg(feature = "inproc")]
    if let Some(engine) = &report.engine {
        let share = engine.cross_baskets as f64 * 100.0 / report.sent.max(1) as f64;
        let per_order = engine.memory_bytes / engine.live_orders.max(1);
        let _ = writeln!(
            out,
            "  engine       {} shards, {} baskets crossed shards ({share:.1} %), {} group commits, \
             journal {:.1} MB, tables {:.1} MB ({per_order} B a live order)",
            engine.shards,
            engine.cross_baskets,
            engine.groups,
            engine.journal_bytes as f64 / 1e6,
            engine.memory_bytes as f64 / 1e6,
        );
    }
    if report.reconnects > 0 {
        let _ = writeln!(out, "  reconnects   {}", report.reconnects);
    }
    if let Some(cpu) = report.generator_cpu {
        let _ = writeln!(out, "  generator    {:.0} % of one core", cpu * 100.0);
    }
    write_latencies(&mut out, report);
    if let Some(why) = &report.generator_limited {
        let _ = writeln!(out, "  GENERATOR LIMITED: {why}");
    }
    match &report.truth {
        Some(truth) => write_truth(&mut out, truth, report),
        None => out.push_str("  truth        not checked\n"),
    }
    out
}

fn write_latencies(out: &mut String, report: &LoadReport) {
    let _ = writeln!(
        out,
        "  latency      {:<22} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "count", "p50", "p90", "p99", "p99.9", "max"
    );
    let mut row = |name: &str, latency: &Latency| {
        let _ = writeln!(
            out,
            "               {name:<22} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
            latency.count,
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            time(latency.p999),
            time(latency.max)
        );
    };
    for (name, kind) in [("accepted", &report.accepted), ("refused", &report.refused)] {
        if kind.intended.count > 0 {
            row(name, &kind.intended);
        }
    }
    for kind in &report.kinds {
        row(kind.kind.name(), &kind.intended);
        if report.is_open_loop() {
            row(&format!("{} (service)", kind.kind.name()), &kind.service);
        }
    }
    if report.is_open_loop() {
        row("start lag", &report.lag);
        let _ = writeln!(
            out,
            "               latency counts from the intended start; service time from the actual \
             one; {} requests waited for a free connection",
            report.backlogged
        );
    }
}

fn write_truth(out: &mut String, truth: &TruthReport, report: &LoadReport) {
    let units = truth.units;
    let sum = units.sold + units.reserved + units.left;
    let sign = if sum == units.put_in { "=" } else { "IS NOT" };
    let _ = writeln!(
        out,
        "  stock        sold {} + reserved {} + left {} {sign} put in {}",
        units.sold, units.reserved, units.left, units.put_in
    );
    let _ = writeln!(
        out,
        "  truth        {} events read in {}, {} orders, {} requests stayed without an answer",
        truth.events,
        time(report.truth_elapsed),
        truth.orders,
        truth.unresolved.orders + truth.unresolved.changes
    );
    for check in &truth.checks {
        let verdict = if check.violations == 0 { "ok      " } else { "VIOLATED" };
        let _ = writeln!(
            out,
            "    {verdict} {:<24} {} checked, {} violations: {}",
            check.name, check.checked, check.violations, check.claim
        );
        for evidence in &check.evidence {
            let _ = writeln!(out, "             {evidence}");
        }
    }
}

fn latency_json(latency: &Latency) -> Value {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "count": latency.count,
        "mean_ns": nanos(latency.mean),
        "p50_ns": nanos(latency.p50),
        "p90_ns": nanos(latency.p90),
        "p99_ns": nanos(latency.p99),
        "p999_ns": nanos(latency.p999),
        "max_ns": nanos(latency.max),
    })
}

fn kind_json(kind: &KindReport) -> Value {
    json!({
        "intended": latency_json(&kind.intended),
        "service": latency_json(&kind.service),
    })
}

fn truth_json(truth: &TruthReport) -> Value {
    let checks: Vec<Value> = truth
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "claim": check.claim,
                "checked": check.checked,
                "violations": check.violations,
                "evidence": check.evidence,
            })
        })
        .collect();
    json!({
        "holds": truth.holds(),
        "checks": checks,
        "orders": truth.orders,
        "events": truth.events,
        "unresolved_orders": truth.unresolved.orders,
        "unresolved_changes": truth.unresolved.changes,
        "sold_out_exact": truth.sold_out_exact,
        "units": {
            "put_in": truth.units.put_in,
            "sold": truth.units.sold,
            "reserved": truth.units.reserved,
            "left": truth.units.left,
        },
    })
}

#[cfg(feature = "inproc")]
fn engine_json(report: &LoadReport) -> Value {
    report.engine.as_ref().map_or(Value::Null, |engine| {
        json!({
            "shards": engine.shards,
            "cross_baskets": engine.cross_baskets,
            "groups": engine.groups,
            "journal_bytes": engine.journal_bytes,
            "memory_bytes": engine.memory_bytes,
            "live_orders": engine.live_orders,
        })
    })
}

#[cfg(not(feature = "inproc"))]
const fn engine_json(_: &LoadReport) -> Value {
    Value::Null
}

pub(crate) fn json_of(report: &LoadReport, exit_code: u8, facts: Value) -> Value {
    let (rate, shape) = match report.pace {
        Pace::Max => (Value::Null, "max"),
        Pace::Open { rate, shape: Shape::Uniform } => (rate.value().into(), "uniform"),
        Pace::Open { rate, shape: Shape::Poisson } => (rate.value().into(), "poisson"),
    };
    let losses =
        report.losses.iter().map(|(loss, count)| (loss.name().to_owned(), (*count).into()));
    let kinds = report.kinds.iter().map(|kind| (kind.kind.name().to_owned(), kind_json(kind)));
    json!({
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        "scenario": report.scenario,
        "scenario_facts": facts,
        "exit_code": exit_code,
        "date": report.date,
        "target": report.target,
        "machine": {
            "cores": report.machine.cores,
            "cpu": report.machine.cpu,
            "kernel": report.machine.kernel,
            "memory_bytes": report.machine.memory_bytes,
        },
        "options": {
            "seed": report.seed,
            "rate_per_second": rate,
            "shape": shape,
            "ack": report.ack.name(),
            "connections": report.connections,
            "threads": report.threads,
            "batch": report.batch,
            "pipeline": report.pipeline,
        },
        "elapsed_ns": u64::try_from(report.elapsed.as_nanos()).unwrap_or(u64::MAX),
        "requests": {
            "sent": report.sent,
            "unsent": report.unsent,
            "replayed": report.replayed,
            "answered_per_second": report.rate(),
            "reconnects": report.reconnects,
        },
        "orders": {"count": report.orders, "per_second": report.order_rate()},
        "refusals": report.refusals,
        "losses": losses.collect::<serde_json::Map<_, _>>(),
        "latency": {
            "accepted": kind_json(&report.accepted),
            "refused": kind_json(&report.refused),
            "kinds": kinds.collect::<serde_json::Map<_, _>>(),
            "start_lag": latency_json(&report.lag),
            "backlogged": report.backlogged,
        },
        "generator": {
            "cpu": report.generator_cpu,
            "limited": report.generator_limited,
            "ledger_bytes": report.ledger_bytes,
        },
        "engine": engine_json(report),
        "interrupted": report.interrupted,
        "truth": report.truth.as_ref().map(truth_json),
    })
}
