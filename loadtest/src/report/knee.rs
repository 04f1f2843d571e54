//! A search for capacity as text.

use std::fmt::Write as _;

use super::words::time_text;
use crate::results::knee::{Knee, KneeStep};

/// Columns of a bar that reaches the end of the scale.
const BAR_COLUMNS: f64 = 40.0;

/// Writes a rate of users.
pub(crate) fn rate_text(rate: f64) -> String {
    let digits = usize::from(rate < 100.0 && rate.fract() > 0.0);
    format!("{rate:.digits$}/s")
}

/// Says what was found in one sentence.
pub(crate) fn knee_sentence(knee: &Knee) -> String {
    match (knee.holds, knee.fails) {
        (Some(holds), Some(fails)) => {
            let (holds, fails) = (rate_text(holds), rate_text(fails));
            format!("The shop keeps up with {holds}, and no longer with {fails}.")
        }
        (Some(holds), None) => {
            format!("The shop keeps up with {}; where it ends was not found.", rate_text(holds))
        }
        (None, Some(fails)) => format!("The shop does not keep up with {}.", rate_text(fails)),
        (None, None) => "Nothing was found.".to_owned(),
    }
}

/// Says why the search ended, and what gave way.
pub(crate) fn knee_more(knee: &Knee) -> String {
    let mut text = format!("It ended after {} steps: {}.", knee.steps.len(), knee.end.text());
    if let (Some(fails), false) = (knee.fails, knee.why.is_empty()) {
        // Writing to a string can't fail, here and below.
        let _ = write!(text, " At {}: {}.", rate_text(fails), knee.why.join("; "));
    }
    text
}

/// What came of a step, in a word.
pub(crate) const fn step_word(step: &KneeStep) -> &'static str {
    match (step.limited.is_some(), step.holds) {
        (true, _) => "generator",
        (false, true) => "holds",
        (false, false) => "FAILS",
    }
}

/// Draws the knee: how long 99 % waited at most, against the rate, on a scale of whole decades.
fn plot(out: &mut String, knee: &Knee) {
    let mut steps: Vec<&KneeStep> =
        knee.steps.iter().filter(|step| step.intended.count > 0).collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let decades = |step: &KneeStep| (step.intended.p99_ns.max(1) as f64).log10();
    let all = || steps.iter().map(|step| decades(step));
    if steps.len() < 2 {
        return;
    }
    let low = all().fold(f64::MAX, f64::min).floor();
    let high = all().fold(f64::MIN, f64::max).ceil().max(low + 1.0);
    let [from, to] = [low, high].map(|decade| time_text(10_f64.powf(decade)));
    let _ = writeln!(out, "\n  99 % waited at most, bars from {from} to {to}, logarithmic");
    for step in steps {
        let share = (decades(step) - low) / (high - low);
        let bar = "#".repeat((share * BAR_COLUMNS).round() as usize);
        let (rate, time) = (rate_text(step.rate), time_text(step.intended.p99_ns as f64));
        let _ = writeln!(out, "  {rate:>10} {:<10} |{bar} {time}", step_word(step));
    }
}

/// Writes a search as text of up to 100 columns or so, with a line end. Signs that could steer a
/// terminal are replaced.
pub fn knee_text(knee: &Knee) -> String {
    let mut out = format!("{}\n{}\n\n", knee_sentence(knee), knee_more(knee));
    let (scenario, target) = (&knee.scenario, &knee.target);
    let way = format!("{} {}", target.kind.name(), target.url);
    let _ = writeln!(out, "  scenario     {}, seed {}", scenario.name, scenario.seed);
    let _ = writeln!(out, "  target       {}, ack {}", way.trim(), target.ack);
    let (cores, cpu) = (knee.machine.cores, &knee.machine.cpu);
    let _ = writeln!(out, "  machine      {cores} cores, {cpu}, {}", knee.machine.kernel);
    let _ = writeln!(out, "  must hold    {}", knee.asked.slo.join(", "));
    let seconds = |nanos: u64| format!("{} s", nanos / 1_000_000_000);
    let (step, warm) = (seconds(knee.asked.step_ns), seconds(knee.asked.warm_up_ns));
    let _ = writeln!(out, "  each step    {step} measured after {warm} to warm up, fresh stock");
    let _ = writeln!(
        out,
        "\n  {:>10} {:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "users", "", "sent", "answered", "p50", "p99", "p99.9", "p99 service"
    );
    for step in &knee.steps {
        let time = |nanos: u64| match step.intended.count {
            0 => "–".to_owned(),
            _ => time_text(nanos as f64),
        };
        let _ = writeln!(
            out,
            "  {:>10} {:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
            rate_text(step.rate),
            step_word(step),
            rate_text(step.sent_per_s),
            rate_text(step.answered_per_s),
            time(step.intended.p50_ns),
            time(step.intended.p99_ns),
            time(step.intended.p999_ns),
            time(step.service.p99_ns),
        );
        for why in step.limited.iter().chain(&step.why) {
            let _ = writeln!(out, "             {why}");
        }
    }
    plot(&mut out, knee);
    let _ = writeln!(out, "\n  exit         {}", knee.exit.code);
    for reason in &knee.exit.reasons {
        let _ = writeln!(out, "               {reason}");
    }
    out.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::run::Spectrum;

    /// The knee is drawn from the lowest rate to the highest, each bar as long as its wait.
    #[test]
    fn the_knee_is_drawn() {
        let step = |rate: f64, p99_ns: u64, holds: bool| {
            let intended = Spectrum { count: 9, p99_ns, ..Spectrum::default() };
            KneeStep { rate, holds, intended, ..KneeStep::default() }
        };
        let steps = vec![step(200.0, 1_000_000_000, false), step(100.0, 10_000_000, true)];
        let knee = Knee { steps, ..Knee::default() };
        let text = knee_text(&knee);
        let wanted = format!(
            "  99 % waited at most, bars from 10.00 ms to 1.00 s, logarithmic\n       100/s holds      | \
             10.00 ms\n       200/s FAILS      |{} 1.00 s\n",
            "#".repeat(40)
        );
        assert!(text.contains(&wanted), "{text}");
        let one = Knee { steps: vec![step(1.0, 5, true)], ..Knee::default() };
        assert!(!knee_text(&one).contains("logarithmic"), "one point is no curve");
    }
}
