//! A run in Prometheus' text format, for a push gateway or a node exporter's text files.
//!
//! Source: Prometheus exposition format 0.0.4. Times are in seconds, as its conventions ask.

use std::fmt::Write as _;

use crate::results::run::{Run, Spectrum, Verdict};

/// Writes a run in Prometheus' text format. Every sample has the scenario and the target as labels.
pub fn prometheus_text(run: &Run) -> String {
    let base = [
        ("scenario", run.scenario.name.as_str()),
        ("target", run.target.kind.name()),
        ("ack", run.target.ack.as_str()),
    ];
    let mut out = Page { out: String::new(), base: &base };
    let counts = &run.counts;
    out.family("duration_seconds", "Length of the load");
    out.sample("duration_seconds", &[], run.elapsed_ns as f64 / 1e9);
    out.family("requests", "Requests by what became of them");
    let requests = [
        ("sent", counts.sent),
        ("answered", counts.answered),
        ("accepted", counts.accepted),
        ("replayed", counts.replayed),
        ("unsent", counts.unsent),
    ];
    for (state, count) in requests {
        out.sample("requests", &[("state", state)], count as f64);
    }
    out.family("users", "Users who came");
    out.sample("users", &[], counts.users as f64);
    out.family("orders", "Orders that accepted requests made");
    out.sample("orders", &[], counts.orders as f64);
    out.family("refused", "Refusals by problem code");
    for (code, count) in &run.refused {
        out.sample("refused", &[("code", code)], *count as f64);
    }
    out.family("lost", "Requests without an answer by reason");
    for (reason, count) in &run.lost {
        out.sample("lost", &[("reason", reason)], *count as f64);
    }
    out.family("settled", "Requests asked again after the load by what became of them");
    let settled = &run.settled;
    let states = [
        ("accepted", settled.accepted),
        ("refused", settled.refused),
        ("unknown", settled.unknown),
    ];
    for (state, count) in states {
        out.sample("settled", &[("state", state)], count as f64);
    }
    out.family("latency_seconds", "Latency by quantile, clock and group");
    for group in &run.latency {
        for (clock, spectrum) in [("intended", &group.intended), ("service", &group.service)] {
            let mut labels = vec![("clock", clock)];
            labels.extend(group.tags());
            out.spectrum("latency_seconds", &labels, spectrum);
        }
    }
    out.family("lag_seconds", "How late the generator started by its own fault");
    out.spectrum("lag_seconds", &[], &run.generator.lag);
    if let Some(connecting) = &run.connecting {
        out.family("connecting_seconds", "How long connections took to make");
        out.spectrum("connecting_seconds", &[("part", "tcp")], &connecting.tcp);
        if let Some(tls) = &connecting.tls {
            out.spectrum("connecting_seconds", &[("part", "tls")], tls);
        }
    }
    out.family("generator_limited", "Whether the generator set the limit");
    out.sample("generator_limited", &[], f64::from(u8::from(run.generator.limited.is_some())));
    if let Some(stock) = &run.stock {
        out.family("units", "Units of stock by state");
        let units = [
            ("put_in", stock.put_in),
            ("sold", stock.sold),
            ("reserved", stock.reserved),
            ("left", stock.left),
        ];
        for (state, count) in units {
            out.sample("units", &[("state", state)], count as f64);
        }
    }
    out.family("truth_violations", "Cases that speak against a claim; absent where not checked");
    for check in run.truth.iter().filter(|check| check.verdict != Verdict::NotChecked) {
        out.sample("truth_violations", &[("check", &check.name)], check.violations as f64);
    }
    out.family("threshold_holds", "Whether a threshold holds");
    for outcome in &run.thresholds {
        let holds = f64::from(u8::from(outcome.holds));
        out.sample("threshold_holds", &[("expression", &outcome.expression)], holds);
    }
    out.family("exit_code", "Exit code of the run");
    out.sample("exit_code", &[], f64::from(run.exit.code));
    out.out
}

struct Page<'a> {
    out: String,
    base: &'a [(&'a str, &'a str)],
}

impl Page<'_> {
    /// Begins a family of samples. Writing to a string can't fail, here and below.
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP onhand_load_{name} {help}.");
        let _ = writeln!(self.out, "# TYPE onhand_load_{name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.out, "onhand_load_{name}{{");
        for (at, (label, value)) in self.base.iter().chain(labels).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(self.out, "{comma}{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.out, "}} {value}");
    }

    fn spectrum(&mut self, name: &str, labels: &[(&str, &str)], spectrum: &Spectrum) {
        if spectrum.count == 0 {
            return;
        }
        let quantiles = [
            ("0.5", spectrum.p50_ns),
            ("0.9", spectrum.p90_ns),
            ("0.99", spectrum.p99_ns),
            ("0.999", spectrum.p999_ns),
            ("1", spectrum.max_ns),
        ];
        for (quantile, nanos) in quantiles {
            let mut labels = labels.to_vec();
            labels.push(("quantile", quantile));
            self.sample(name, &labels, nanos as f64 / 1e9);
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::run::{LatencyGroup, TruthCheck};

    /// Every line is a comment or a sample, and values of labels can't end theirs.
    #[test]
    fn each_line_is_a_comment_or_a_sample() {
        let mut run = Run::default();
        run.scenario.name = "a \"sale\"\\\n".to_owned();
        run.refused.insert("sold_out".to_owned(), 3);
        let spectrum = Spectrum { count: 2, p50_ns: 1_500_000, ..Spectrum::default() };
        let op = Some("buy".to_owned());
        run.latency.push(LatencyGroup { op, intended: spectrum, ..LatencyGroup::default() });
        let checked = TruthCheck { verdict: Verdict::Holds, ..TruthCheck::default() };
        run.truth = vec![checked, TruthCheck::default()];
        let text = prometheus_text(&run);
        let base = r#"scenario="a \"sale\"\\\n",target="http1",ack="""#;
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            assert!(
                line.starts_with("onhand_load_") && line.contains(&format!("{{{base}")),
                "{line}"
            );
            let value = line.rsplit_once("} ").expect("a value").1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        let has = |line: &str| assert!(text.contains(&line.replace('@', base)), "{line}\n{text}");
        has("onhand_load_refused{@,code=\"sold_out\"} 3\n");
        has(
            "onhand_load_latency_seconds{@,clock=\"intended\",op=\"buy\",quantile=\"0.5\"} 0.0015\n",
        );
        assert_eq!(text.matches("onhand_load_truth_violations{").count(), 1);
    }
}
