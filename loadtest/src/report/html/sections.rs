//! The sections of a run's report, in the order in which a manager and then an engineer reads.

use std::fmt::Write as _;

use super::Escaped;
use crate::report::words::{
    Tone, bytes_text, exit_text, grouped, part, percent, plain_name, shared_machine, time_text,
    verdict, worker_text,
};
use crate::results::run::{LatencyGroup, Run, Spectrum, TruthCheck, Verdict};
use crate::results::series::SeriesRow;
use crate::results::threshold::Threshold;

/// Writes all sections. Writing to a string can't fail, here and below.
pub(super) fn body(run: &Run, series: &[SeriesRow]) -> String {
    let mut out = String::new();
    head(&mut out, run);
    out.push_str("<main>\n");
    tiles(&mut out, run);
    sale(&mut out, run, series);
    latency(&mut out, run, series);
    fairness(&mut out, run);
    truth(&mut out, run);
    thresholds(&mut out, run);
    faults(&mut out, run);
    generator(&mut out, run, series);
    facts(&mut out, run);
    let tool = format!("{} {}", run.tool.name, run.tool.version);
    let _ = write!(
        out,
        "<footer>Written by {}. Every number stands in run.json and series.csv beside this file, \
         and inside it. Charts by uPlot (MIT).</footer>\n</main>",
        Escaped(tool)
    );
    out
}

pub(super) fn badge(tone: &str, text: &str) -> String {
    format!("<span class=\"badge {tone}\">{}</span>", Escaped(text))
}

pub(super) fn chart(out: &mut String, name: &str, caption: &str) {
    let _ = writeln!(
        out,
        "<figure><figcaption>{}</figcaption><div class=\"plot\" data-chart=\"{name}\"></div></figure>",
        Escaped(caption)
    );
}

fn head(out: &mut String, run: &Run) {
    let sentence = verdict(run);
    let word = match sentence.tone {
        Tone::Good => "✓ passed",
        Tone::Doubtful => "? inconclusive",
        Tone::Bad => "✗ failed",
    };
    let target = match run.target.url.as_str() {
        "" => run.target.kind.name().to_owned(),
        url => format!("{url} ({})", run.target.kind.name()),
    };
    let _ = write!(
        out,
        "<header class=\"verdict {}\"><div>{}<h1>{}</h1>\n<p>{}</p>\n\
         <p class=\"facts\">{} · {} · {} · seed {} · exit code {}</p>",
        sentence.tone.name(),
        badge("", word),
        Escaped(&sentence.head),
        Escaped(sentence.more.replace(" %", "\u{a0}%")),
        Escaped(&run.scenario.name),
        Escaped(target),
        Escaped(&run.date),
        run.scenario.seed,
        exit_text(run),
    );
    if !run.exit.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in &run.exit.reasons {
            let _ = write!(out, "<li>{}</li>", Escaped(reason));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div></header>\n");
}

fn tiles(out: &mut String, run: &Run) {
    let seconds = (run.elapsed_ns as f64 / 1e9).max(1e-9);
    let mut tiles: Vec<(String, &str)> = vec![
        (grouped(run.counts.users), "users came"),
        (grouped(run.counts.orders), "orders placed"),
    ];
    if let Some(hot) = run.stock.as_ref().and_then(|stock| stock.sku_hot.as_ref()) {
        let at = hot.sold_out_at_ns.map_or("never".to_owned(), |at| time_text(at as f64));
        tiles.push((at, "until sold out"));
    }
    tiles.push((format!("{:.0}/s", run.counts.answered as f64 / seconds), "requests answered"));
    if let Some(all) = run.latency_all().filter(|all| all.intended.count > 0) {
        tiles.push((time_text(all.intended.p99_ns as f64), "99 % waited at most"));
    }
    tiles.push((part(run.refused_count(), run.counts.sent), "of requests refused"));
    tiles.push((grouped(run.lost_count()), "requests without an answer"));
    if let Some(share) = run.fairness.as_ref().and_then(|fairness| fairness.bot_share) {
        tiles.push((percent(share), "of orders went to bots"));
    }
    out.push_str("<ul class=\"tiles\">");
    for (number, name) in tiles {
        let _ = write!(out, "<li><b>{}</b><span>{name}</span></li>", Escaped(number));
    }
    out.push_str("</ul>\n");
}

fn sale(out: &mut String, run: &Run, series: &[SeriesRow]) {
    if series.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>The sale as it went</h2>\n<p class=\"note\">Each second of the run. Shaded \
         stretches are the stages of the scenario; dashed lines are faults that were put in, and \
         the moment at which the last unit was taken.</p>\n",
    );
    chart(out, "timeline", "Users and requests in each second");
    if series.iter().any(|row| row.available.is_some() || row.sold.is_some()) {
        let stock = run.stock.as_ref();
        let hot = stock.and_then(|stock| stock.sku_hot.as_ref());
        let of = hot.map_or("all SKUs".to_owned(), |hot| hot.code.clone());
        chart(out, "stock", &format!("Units of {of}: free, reserved and sold"));
    }
    chart(out, "answers", "Answers in each second: admitted, and refused by reason");
    let sent = run.counts.sent;
    out.push_str(
        "<div class=\"scroll\"><table class=\"figures\"><tr><th class=\"left\">what requests were \
         told</th><th>requests</th><th>of all sent</th></tr>",
    );
    let mut row = |name: &str, count: u64| {
        let _ = write!(
            out,
            "<tr><td class=\"left\">{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(name),
            grouped(count),
            part(count, sent)
        );
    };
    row("accepted", run.counts.accepted);
    for (code, count) in &run.refused {
        row(&format!("refused: {}", plain_name(code)), *count);
    }
    for (reason, count) in &run.lost {
        row(&format!("no answer: {}", plain_name(reason)), *count);
    }
    if run.counts.unsent > 0 {
        row("users who were never let in, for the run ended first", run.counts.unsent);
    }
    let settled = &run.settled;
    let again = [
        ("asked again, and accepted", settled.accepted),
        ("asked again, and refused", settled.refused),
        ("asked again, and unknown to the end", settled.unknown),
    ];
    for (name, count) in again.into_iter().filter(|(_, count)| *count > 0) {
        row(name, count);
    }
    out.push_str("</table></div></section>\n");
}

fn latency(out: &mut String, run: &Run, series: &[SeriesRow]) {
    if run.latency_all().is_none_or(|all| all.intended.count == 0) {
        return;
    }
    out.push_str(
        "<section><h2>How long customers waited</h2>\n<p class=\"note\">From the intended start \
         counts all that a customer waited, the time before a connection was free included; \
         service time counts only from the moment at which the request was sent. Where the first \
         is far above the second, customers were waiting before the shop saw them.</p>\n",
    );
    if !series.is_empty() {
        chart(out, "latency", "Latency of the answers of each second (logarithmic)");
    }
    out.push_str(
        "<label class=\"pick\">Show the spectrum of <select id=\"spectrum-of\"></select></label>\n\
         <div class=\"two\"><div>",
    );
    chart(out, "spectrum", "Percentile spectrum: intended start beside service time");
    out.push_str("</div><div>");
    if run.latency.iter().any(only_stage) {
        chart(out, "phases", "Percentile spectrum by phase, from the intended start");
    }
    out.push_str(
        "</div></div>\n<div class=\"scroll\"><table class=\"figures\">\
         <tr><th class=\"left\"></th><th>answers</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>service p50</th><th>service p99</th></tr>",
    );
    let all = run.latency_all();
    all.into_iter().for_each(|group| latency_row(out, "all requests", group));
    let blocks: [(&str, Wanted); 4] = [
        ("by phase", only_stage),
        ("by request", |group| group.tags().all(|(name, _)| name == "op")),
        ("by kind of user", |group| group.tags().all(|(name, _)| name == "actor")),
        ("by outcome", |group| group.tags().all(|(name, _)| name == "outcome")),
    ];
    for (title, wanted) in blocks {
        let mut groups: Vec<&LatencyGroup> = run
            .latency
            .iter()
            .filter(|group| group.tags().next().is_some() && wanted(group))
            .collect();
        let place = |group: &&LatencyGroup| {
            run.stages.iter().position(|stage| group.stage.as_deref() == Some(&stage.name))
        };
        groups.sort_by_key(place);
        if !groups.is_empty() {
            let _ = write!(out, "<tr class=\"group\"><td colspan=\"9\">{title}</td></tr>");
        }
        for group in groups {
            let name = group.tags().map(|(_, value)| value).collect::<Vec<_>>().join(", ");
            latency_row(out, &name, group);
        }
    }
    out.push_str("</table></div></section>\n");
}

/// Tells whether a group belongs to a block of the table.
type Wanted = fn(&LatencyGroup) -> bool;

fn only_stage(group: &LatencyGroup) -> bool {
    group.tags().map(|(name, _)| name).eq(["stage"])
}

fn latency_row(out: &mut String, name: &str, group: &LatencyGroup) {
    let Spectrum { count, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = group.intended;
    let _ = write!(out, "<tr><td class=\"left\">{}</td><td>{}</td>", Escaped(name), grouped(count));
    let times =
        [p50_ns, p90_ns, p99_ns, p999_ns, max_ns, group.service.p50_ns, group.service.p99_ns];
    for nanos in times {
        let _ = write!(out, "<td>{}</td>", time_text(nanos as f64));
    }
    out.push_str("</tr>");
}

fn fairness(out: &mut String, run: &Run) {
    let Some(fairness) = &run.fairness else { return };
    out.push_str(
        "<section><h2>Fairness</h2>\n<p class=\"note\">The rank correlation (Kendall's tau) of \
         wanting and of being served: 1 is strictly first come, first served, 0 is a lottery. Both \
         figures are about the purchases that were served, each from when it was due: what a user \
         did before, such as thinking or being refused, is not in them.</p>\
         \n<dl>",
    );
    let mut fact = |name: &str, value: &str| {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", Escaped(value));
    };
    let tau = fairness.kendall_tau.map_or("nobody to rank".to_owned(), |tau| format!("{tau:.3}"));
    fact("First come, first served", &tau);
    let wait = |nanos: Option<u64>| nanos.map_or("–".to_owned(), |ns| time_text(ns as f64));
    fact("99 % of the purchases that were served waited at most", &wait(fairness.wait_p99_ns));
    if let Some(share) = fairness.bot_share {
        fact("Orders that went to bots", &percent(share));
    }
    out.push_str("</dl>\n");
    if !fairness.by_actor.is_empty() {
        let users: u64 = fairness.by_actor.iter().map(|actor| actor.users).sum();
        let orders: u64 = fairness.by_actor.iter().map(|actor| actor.orders).sum();
        out.push_str(
            "<div class=\"scroll\"><table class=\"figures\"><tr><th class=\"left\">kind of \
             user</th><th>came</th><th>share</th><th>orders</th><th>share</th>\
             <th>waited, p99</th></tr>",
        );
        for actor in &fairness.by_actor {
            let share = |part: u64, whole: u64| {
                let bar = part as f64 / whole.max(1) as f64;
                let text = self::part(part, whole);
                format!("{text}<span class=\"bar\"><i data-share=\"{bar:.4}\"></i></span>")
            };
            let _ = write!(
                out,
                "<tr><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td></tr>",
                Escaped(&actor.actor),
                grouped(actor.users),
                share(actor.users, users),
                grouped(actor.orders),
                share(actor.orders, orders),
                wait(actor.wait_p99_ns),
            );
        }
        out.push_str("</table></div>");
    }
    out.push_str("</section>\n");
}

fn truth(out: &mut String, run: &Run) {
    out.push_str(
        "<section><h2>Did the shop tell the truth?</h2>\n<p class=\"note\">After the load, what \
         customers were told was compared with what the shop's own journal says.</p>\n",
    );
    if run.truth.is_empty() {
        out.push_str("<p>No check was made in this run.</p>");
    }
    out.push_str("<ul class=\"checks\">");
    // What is wrong stands first; the order within is the record's.
    let rank = |check: &&TruthCheck| match check.verdict {
        Verdict::Violated => 0,
        Verdict::Holds => 1,
        Verdict::NotChecked => 2,
    };
    let mut checks: Vec<&TruthCheck> = run.truth.iter().collect();
    checks.sort_by_key(rank);
    for check in checks {
        let (tone, word) = match check.verdict {
            Verdict::Holds => ("good", "✓ holds"),
            Verdict::Violated => ("bad", "✗ violated"),
            Verdict::NotChecked => ("none", "– not checked"),
        };
        let _ = write!(
            out,
            "<li><span>{}</span><span class=\"what\"><b>{}</b><span class=\"claim\">{}</span></span>\
             <span class=\"numbers\">{} checked<br>{} wrong</span>",
            badge(tone, word),
            Escaped(plain_name(&check.name)),
            Escaped(&check.claim),
            grouped(check.checked),
            grouped(check.violations),
        );
        let why = check.why.iter().filter(|_| check.verdict == Verdict::NotChecked);
        let told: Vec<&String> = why.chain(&check.evidence).collect();
        if !told.is_empty() {
            out.push_str("<ul class=\"evidence\">");
            for text in told {
                let _ = write!(out, "<li>{}</li>", Escaped(text));
            }
            out.push_str("</ul>");
        }
        out.push_str("</li>");
    }
    out.push_str("</ul></section>\n");
}

fn thresholds(out: &mut String, run: &Run) {
    if run.thresholds.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Targets</h2>\n<div class=\"scroll\"><table class=\"figures\">\
         <tr><th class=\"left\">target</th><th>measured</th><th></th><th class=\"left\"></th></tr>",
    );
    for outcome in &run.thresholds {
        let shown = |value: f64| match Threshold::parse(&outcome.expression) {
            Ok(threshold) => threshold.shown(value),
            Err(_) => value.to_string(),
        };
        let (tone, word) = if outcome.holds { ("good", "✓ met") } else { ("bad", "✗ missed") };
        let _ = write!(
            out,
            "<tr><td class=\"left\">{}</td><td>{}</td><td>{}</td><td class=\"wrap\">{}</td></tr>",
            Escaped(&outcome.expression),
            Escaped(outcome.value.map_or("–".to_owned(), shown)),
            badge(tone, word),
            Escaped(outcome.why.as_deref().unwrap_or_default()),
        );
    }
    out.push_str("</table></div></section>\n");
}

fn faults(out: &mut String, run: &Run) {
    if run.faults.is_empty() {
        return;
    }
    out.push_str(
        "<section><h2>Faults that were put in</h2>\n<div class=\"scroll\">\
         <table class=\"figures\"><tr><th>at</th><th class=\"left\">what</th>\
         <th class=\"left\">what came of it</th></tr>",
    );
    for fault in &run.faults {
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"left\">{}</td><td class=\"wrap\">{}</td></tr>",
            time_text(fault.at_ns as f64),
            Escaped(&fault.action),
            Escaped(&fault.outcome)
        );
    }
    out.push_str("</table></div></section>\n");
}

fn generator(out: &mut String, run: &Run, series: &[SeriesRow]) {
    let generator = &run.generator;
    let (tone, word) = match &generator.limited {
        Some(_) => ("bad", "✗ it was the limit"),
        None => ("good", "✓ it was not the limit"),
    };
    let _ = write!(
        out,
        "<section><h2>Can these figures be trusted?</h2>\n<p class=\"note\">A load generator that \
         can't keep its schedule measures itself. {}</p>\n",
        badge(tone, word)
    );
    if let Some(why) = &generator.limited {
        let _ = write!(out, "<p><b>{}</b></p>", Escaped(why));
    }
    if let Some(text) = shared_machine(run) {
        let _ = write!(out, "<p><b>One machine:</b> {}.</p>", Escaped(text));
    }
    out.push_str("<dl>");
    let mut fact = |name: &str, value: String| {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(value));
    };
    let lag = &generator.lag;
    if lag.count > 0 {
        fact("Started behind schedule, though a connection was free", {
            let [p50, p99, max] =
                [lag.p50_ns, lag.p99_ns, lag.max_ns].map(|ns| time_text(ns as f64));
            format!("median {p50}, 99 % at most {p99}, largest {max}")
        });
    }
    fact("Late by the generator's fault", format!("{} requests", grouped(generator.late)));
    let waited = format!("{} requests", grouped(generator.backlogged));
    fact("Late because every connection was waiting for the shop", waited);
    let cpu = |share: Option<f64>| share.map(|share| format!("{:.0} % of one core", share * 100.0));
    fact("Processor time of the generator", cpu(generator.cpu_share).unwrap_or("unknown".into()));
    if let Some(text) = cpu(generator.host_cpu_share) {
        fact("Processor time of the host", text);
    }
    for worker in &generator.workers {
        fact(&format!("Worker {}", worker.address), worker_text(worker));
    }
    let (threads, connections) = (generator.threads, generator.connections);
    fact("Threads and connections", format!("{threads} and {}", grouped(connections)));
    let spread = |times: &Spectrum| {
        let [p50, p99, max] =
            [times.p50_ns, times.p99_ns, times.max_ns].map(|ns| time_text(ns as f64));
        format!("{} made, median {p50}, 99 % at most {p99}, largest {max}", grouped(times.count))
    };
    if let Some(connecting) = &run.connecting {
        fact("Connecting (TCP)", spread(&connecting.tcp));
        connecting.tls.iter().for_each(|tls| fact("TLS handshake after it", spread(tls)));
    }
    out.push_str("</dl>\n");
    if !series.is_empty() {
        chart(out, "generator", "Requests in flight, and requests that started late");
    }
    if lag.count > 0 {
        chart(out, "lag", "How late requests started though a connection was free");
    }
    out.push_str("</section>\n");
}

fn facts(out: &mut String, run: &Run) {
    out.push_str("<section><h2>What was measured, and where</h2>\n<dl>");
    let mut fact = |name: &str, value: &str| {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", Escaped(value));
    };
    let tls = match (run.target.tls, run.target.unverified) {
        (false, _) => "",
        (true, false) => " with TLS",
        (true, true) => " with TLS, certificate not verified",
    };
    fact("Target", format!("{} {}{tls}", run.target.kind.name(), run.target.url).trim());
    fact("Acknowledgement", &run.target.ack);
    let machine = &run.machine;
    fact("Machine", &format!("{} cores, {}", machine.cores, machine.cpu));
    fact("System", &machine.kernel);
    fact("Memory", &bytes_text(machine.memory_bytes));
    fact("Length", &time_text(run.elapsed_ns as f64));
    fact("Scenario", &format!("{}, {}", run.scenario.name, run.scenario.hash));
    fact("Seed", &run.scenario.seed.to_string());
    fact("Connections made again", &grouped(run.counts.reconnects));
    out.push_str("</dl>\n");
    if !run.scenario.text.is_empty() {
        let _ = write!(
            out,
            "<details><summary>The scenario as it was written</summary><pre>{}</pre></details>",
            Escaped(&run.scenario.text)
        );
    }
    out.push_str("</section>\n");
}
