//! A run as text for people.

use std::fmt::Write as _;

use super::words::{
    bytes_text, exit_text, grouped, part, percent, plain_name, shared_machine, time_text, verdict,
    worker_text,
};
use crate::results::run::{LatencyGroup, Run, Spectrum, Verdict};
use crate::results::threshold::Threshold;

/// Writes a run as text of up to 100 columns or so, with a line end. Signs that could steer a
/// terminal are replaced.
pub fn run_text(run: &Run) -> String {
    let mut out = String::new();
    let sentence = verdict(run);
    // Writing to a string can't fail, here and below.
    let _ = writeln!(out, "{}\n{}\n", sentence.head, sentence.more);
    asked(&mut out, run);
    told(&mut out, run);
    latency(&mut out, run);
    generator(&mut out, run);
    fairness(&mut out, run);
    truth(&mut out, run);
    verdicts(&mut out, run);
    out.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<12} {value}");
}

fn asked(out: &mut String, run: &Run) {
    let (scenario, target, machine) = (&run.scenario, &run.target, &run.machine);
    let hash = scenario.hash.get(..12).unwrap_or(&scenario.hash);
    row(out, "scenario", &format!("{} ({hash}), seed {}", scenario.name, scenario.seed));
    let tls = match (target.tls, target.unverified) {
        (false, _) => "",
        (true, false) => " with TLS",
        (true, true) => " with TLS, CERTIFICATE NOT VERIFIED",
    };
    let way = format!("{} {}{tls}", target.kind.name(), target.url);
    row(out, "target", &format!("{}, ack {}", way.trim(), target.ack));
    let memory = bytes_text(machine.memory_bytes);
    let (cores, cpu, kernel) = (machine.cores, &machine.cpu, &machine.kernel);
    row(out, "machine", &format!("{cores} cores, {cpu}, {kernel}, memory {memory}"));
    let interrupted = if run.interrupted { ", interrupted" } else { "" };
    row(
        out,
        "length",
        &format!("{} from {}{interrupted}", time_text(run.elapsed_ns as f64), run.date),
    );
}

fn told(out: &mut String, run: &Run) {
    let counts = &run.counts;
    let seconds = (run.elapsed_ns as f64 / 1e9).max(1e-9);
    let rate = counts.answered as f64 / seconds;
    row(out, "users", &grouped(counts.users));
    let (sent, answered) = (grouped(counts.sent), grouped(counts.answered));
    let (unsent, again) = (grouped(counts.unsent), grouped(counts.reconnects));
    row(
        out,
        "requests",
        &format!(
            "{sent} sent, {answered} answered ({rate:.0}/s), {unsent} never sent, {again} connections \
         made again"
        ),
    );
    let share = part(counts.accepted, counts.sent);
    row(out, "accepted", &format!("{} ({share})", grouped(counts.accepted)));
    let replayed = grouped(counts.replayed);
    row(out, "orders", &format!("{}, {replayed} answers given again", grouped(counts.orders)));
    for (code, count) in &run.refused {
        let share = part(*count, counts.sent);
        row(out, "refused", &format!("{} {code} ({share})", grouped(*count)));
    }
    for (reason, count) in &run.lost {
        let share = part(*count, counts.sent);
        row(out, "no answer", &format!("{} {reason} ({share})", grouped(*count)));
    }
    let settled = &run.settled;
    if settled.asked > 0 {
        let [asked, accepted, refused, unknown] =
            [settled.asked, settled.accepted, settled.refused, settled.unknown].map(grouped);
        let text = format!("{asked}: {accepted} accepted, {refused} refused, {unknown} unknown");
        row(out, "asked again", &text);
    }
    let Some(stock) = &run.stock else { return };
    let sum = stock.sold + stock.reserved + stock.left;
    let sign = if sum == stock.put_in { "=" } else { "IS NOT" };
    let [sold, reserved, left, put_in] =
        [stock.sold, stock.reserved, stock.left, stock.put_in].map(grouped);
    let equation =
        format!("sold {sold} + reserved {reserved} + left {left} {sign} put in {put_in}");
    row(out, "stock", &equation);
    if let Some(hot) = &stock.sku_hot {
        let at = hot.sold_out_at_ns;
        let gone = at.map_or("never sold out".to_owned(), |at| {
            format!("sold out after {}", time_text(at as f64))
        });
        row(out, "hot SKU", &format!("{}, {} units, {gone}", hot.code, grouped(hot.put_in)));
    }
}

fn latency(out: &mut String, run: &Run) {
    if run.latency_all().is_none_or(|all| all.intended.count == 0) {
        return;
    }
    let _ = writeln!(
        out,
        "  latency      {:<28} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "count", "p50", "p90", "p99", "p99.9", "max"
    );
    let one_tag = |group: &&LatencyGroup| group.tags().count() <= 1;
    for group in run.latency.iter().filter(one_tag) {
        let tag = group.tags().map(|(name, value)| format!("{name} {value}")).next();
        let name = tag.unwrap_or_else(|| "all".to_owned());
        spectrum_row(out, &name, &group.intended);
        spectrum_row(out, &format!("{name} (service)"), &group.service);
    }
    out.push_str(
        "               latency counts from the intended start, all that a customer waited; \
         service time\n               from the actual one. Where they differ, customers waited \
         before the shop saw them.\n",
    );
}

fn spectrum_row(out: &mut String, name: &str, spectrum: &Spectrum) {
    if spectrum.count == 0 {
        return;
    }
    let [p50, p90, p99, p999, max] =
        [spectrum.p50_ns, spectrum.p90_ns, spectrum.p99_ns, spectrum.p999_ns, spectrum.max_ns]
            .map(|nanos| time_text(nanos as f64));
    let _ = writeln!(
        out,
        "               {name:<28} {:>9} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}",
        spectrum.count
    );
}

fn generator(out: &mut String, run: &Run) {
    let generator = &run.generator;
    let cpu = |name: &str, share: Option<f64>| {
        share.map_or(String::new(), |s| format!(", {name} {:.0} % of one core", s * 100.0))
    };
    let (threads, connections) = (generator.threads, grouped(generator.connections));
    let (own, host) =
        (cpu("itself", generator.cpu_share), cpu("the host", generator.host_cpu_share));
    row(out, "generator", &format!("{threads} threads, {connections} connections{own}{host}"));
    if let Some(text) = shared_machine(run) {
        row(out, "one machine", &text);
    }
    if let Some(connecting) = &run.connecting {
        spectrum_row(out, "TCP", &connecting.tcp);
        connecting.tls.iter().for_each(|tls| spectrum_row(out, "TLS handshake", tls));
    }
    spectrum_row(out, "start lag", &generator.lag);
    let (late, backlogged) = (grouped(generator.late), grouped(generator.backlogged));
    let text = format!("{late} by its own fault; {backlogged} waited for a free connection");
    row(out, "late", &text);
    for worker in &generator.workers {
        row(out, "worker", &format!("{}: {}", worker.address, worker_text(worker)));
    }
    if let Some(why) = &generator.limited {
        let _ = writeln!(out, "  GENERATOR LIMITED: {why}");
    }
}

fn fairness(out: &mut String, run: &Run) {
    let Some(fairness) = &run.fairness else { return };
    let tau = fairness.kendall_tau.map_or("unknown".to_owned(), |tau| format!("{tau:.3}"));
    let wait = |nanos: Option<u64>| nanos.map_or("–".to_owned(), |ns| time_text(ns as f64));
    let all = match fairness.wait_p99_ns {
        None => "nobody was served".to_owned(),
        some => format!("99 % of what was served within {}", wait(some)),
    };
    let bots = fairness
        .bot_share
        .map_or(String::new(), |share| format!(", {} of orders to bots", percent(share)));
    row(out, "fairness", &format!("Kendall's tau {tau}, {all}{bots}"));
    for actor in &fairness.by_actor {
        let (users, orders) = (grouped(actor.users), grouped(actor.orders));
        let wait = wait(actor.wait_p99_ns);
        let _ = writeln!(
            out,
            "               {:<24} {users:>9} came, {orders:>9} orders, p99 wait {wait}",
            actor.actor
        );
    }
}

fn truth(out: &mut String, run: &Run) {
    if run.truth.is_empty() {
        row(out, "truth", "not checked");
        return;
    }
    let _ = writeln!(out, "  truth");
    for check in &run.truth {
        let verdict = match check.verdict {
            Verdict::Holds => "holds",
            Verdict::Violated => "VIOLATED",
            Verdict::NotChecked => "not checked",
        };
        let (name, claim) = (plain_name(&check.name), &check.claim);
        let (checked, wrong) = (grouped(check.checked), grouped(check.violations));
        let _ =
            writeln!(out, "    {verdict:<11} {name:<24} {checked} checked, {wrong} wrong: {claim}");
        let why = check.why.iter().filter(|_| check.verdict == Verdict::NotChecked);
        for text in why.chain(&check.evidence) {
            let _ = writeln!(out, "                {text}");
        }
    }
}

fn verdicts(out: &mut String, run: &Run) {
    if !run.thresholds.is_empty() {
        let _ = writeln!(out, "  thresholds");
    }
    for outcome in &run.thresholds {
        let word = if outcome.holds { "met" } else { "MISSED" };
        let shown = outcome.value.map(|value| match Threshold::parse(&outcome.expression) {
            Ok(threshold) => threshold.shown(value),
            Err(_) => value.to_string(),
        });
        let shown = shown.or_else(|| outcome.why.clone()).unwrap_or_default();
        let _ = writeln!(out, "    {word:<11} {:<40} {shown}", outcome.expression);
    }
    if !run.faults.is_empty() {
        let _ = writeln!(out, "  faults");
    }
    for fault in &run.faults {
        let at = time_text(fault.at_ns as f64);
        let _ = writeln!(out, "    {at:>11} {:<24} {}", fault.action, fault.outcome);
    }
    row(out, "exit", &exit_text(run));
    for reason in &run.exit.reasons {
        let _ = writeln!(out, "               {reason}");
    }
}
