//! A search for capacity as one HTML file: latency against rate, and every step.

use std::fmt::Write as _;

use serde_json::json;

use super::sections::{badge, chart};
use super::{Escaped, page};
use crate::error::LoadError;
use crate::report::knee::{knee_more, knee_sentence, rate_text, step_word};
use crate::report::words::{grouped, time_text};
use crate::results::knee::{Knee, KneeEnd, KneeStep};
use crate::results::run::{EXIT_PASS, EXIT_TRUTH};

/// Writes a search as one HTML file.
///
/// # Errors
///
/// A number of the record is not finite, which JSON has no word for.
pub fn knee_html(knee: &Knee) -> Result<String, LoadError> {
    let record = serde_json::to_value(knee);
    let record = record.map_err(|e| LoadError::input(format!("record: {e}")))?;
    let title = format!("{}: capacity, {}", knee.scenario.name, knee.date);
    Ok(page(&title, &body(knee), &json!({"kind": "knee", "knee": record})))
}

/// Writes all sections. Writing to a string can't fail, here and below.
fn body(knee: &Knee) -> String {
    let mut out = String::new();
    let (class, word) = match (knee.exit.code, knee.end) {
        (EXIT_TRUTH, _) => ("bad", "✗ truth violated"),
        (EXIT_PASS, KneeEnd::Found | KneeEnd::Steps) => ("good", "✓ found"),
        (EXIT_PASS, _) => ("good", "✓ holds throughout"),
        (_, KneeEnd::BottomFails) => ("bad", "✗ too slow"),
        _ => ("doubtful", "? not found"),
    };
    let target = match knee.target.url.as_str() {
        "" => knee.target.kind.name().to_owned(),
        url => format!("{url} ({})", knee.target.kind.name()),
    };
    let _ = write!(
        out,
        "<header class=\"verdict {class}\"><div>{}<h1>{}</h1>\n<p>{}</p>\n\
         <p class=\"facts\">{} · {} · {} · seed {} · exit code {}</p>",
        badge("", word),
        Escaped(knee_sentence(knee)),
        Escaped(knee_more(knee)),
        Escaped(&knee.scenario.name),
        Escaped(target),
        Escaped(&knee.date),
        knee.scenario.seed,
        knee.exit.code,
    );
    if !knee.exit.reasons.is_empty() {
        out.push_str("<ul>");
        for reason in &knee.exit.reasons {
            let _ = write!(out, "<li>{}</li>", Escaped(reason));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div></header>\n<main>\n");
    if !knee.steps.is_empty() {
        let _ = write!(
            out,
            "<section><h2>Where it gives way</h2>\n<p class=\"note\">Each point is a run of its \
             own with fresh stock. Latency counts from the intended start, so that waiting in \
             front of a busy shop is seen; the service time does not show it. What must hold: \
             {}.</p>\n",
            Escaped(knee.asked.slo.join(", "))
        );
        chart(&mut out, "knee-latency", "Latency against the rate of customers (logarithmic)");
        chart(&mut out, "knee-rate", "Requests sent and answered against the rate of customers");
        out.push_str("</section>\n");
        steps(&mut out, knee);
    }
    facts(&mut out, knee);
    out.push_str(
        "<footer>Every number stands in knee.json beside this file, and inside it. Charts by \
         uPlot (MIT).</footer>\n</main>",
    );
    out
}

const fn tone(step: &KneeStep) -> &'static str {
    match (step.limited.is_some(), step.holds) {
        (true, _) => "doubtful",
        (false, true) => "good",
        (false, false) => "bad",
    }
}

fn steps(out: &mut String, knee: &Knee) {
    out.push_str(
        "<section><h2>The steps as they were taken</h2>\n<div class=\"scroll\">\
         <table class=\"figures\"><tr><th>customers</th><th></th><th>sent</th><th>answered</th>\
         <th>p50</th><th>p99</th><th>p99.9</th><th>p99 service</th><th>not let in</th>\
         <th class=\"left\">why not</th></tr>",
    );
    for step in &knee.steps {
        let time = |nanos: u64| match step.intended.count {
            0 => "–".to_owned(),
            _ => time_text(nanos as f64),
        };
        let why: Vec<&str> = step.limited.iter().chain(&step.why).map(String::as_str).collect();
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td class=\"wrap\">{}</td></tr>",
            rate_text(step.rate),
            badge(tone(step), step_word(step)),
            rate_text(step.sent_per_s),
            rate_text(step.answered_per_s),
            time(step.intended.p50_ns),
            time(step.intended.p99_ns),
            time(step.intended.p999_ns),
            time(step.service.p99_ns),
            grouped(step.unsent),
            Escaped(why.join("; ")),
        );
    }
    out.push_str("</table></div></section>\n");
}

fn facts(out: &mut String, knee: &Knee) {
    let seconds = |nanos: u64| format!("{} s", nanos / 1_000_000_000);
    let machine = &knee.machine;
    let asked = &knee.asked;
    let range = format!("{} to {}", rate_text(asked.from), rate_text(asked.to));
    let each = format!("{} after {} to warm up", seconds(asked.step_ns), seconds(asked.warm_up_ns));
    let precision = format!("{:.1} %, at most {} steps", asked.precision * 100.0, asked.steps_max);
    out.push_str("<section><h2>What was asked, and where</h2>\n<dl>");
    for (name, value) in [
        ("Range", range),
        ("Measured in each step", each),
        ("Precision", precision),
        ("Acknowledgement", knee.target.ack.clone()),
        ("Machine", format!("{} cores, {}", machine.cores, machine.cpu)),
        ("System", machine.kernel.clone()),
        ("Tool", format!("{} {}", knee.tool.name, knee.tool.version)),
        ("Scenario", format!("{}, {}", knee.scenario.name, knee.scenario.hash)),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", Escaped(value));
    }
    out.push_str("</dl>\n");
    if !knee.scenario.text.is_empty() {
        let _ = write!(
            out,
            "<details><summary>The scenario as it was written; its stages were replaced by steady \
             rates</summary><pre>{}</pre></details>",
            Escaped(&knee.scenario.text)
        );
    }
    out.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::run::Spectrum;

    /// No text of a record becomes a part of the page, and the sentence says what was found.
    #[test]
    fn a_page_says_what_was_found() {
        let nasty = "</script><img src=x onerror=alert(1)>";
        let mut knee = Knee { holds: Some(180.0), fails: Some(210.0), ..Knee::default() };
        knee.scenario.name = nasty.to_owned();
        knee.why = vec![nasty.to_owned()];
        knee.asked.slo = vec![nasty.to_owned()];
        let intended = Spectrum { count: 5, p99_ns: 2_500_000, ..Spectrum::default() };
        let why = vec![nasty.to_owned()];
        knee.steps.push(KneeStep { rate: 210.0, why, intended, ..KneeStep::default() });
        let page = knee_html(&knee).expect("a page");
        assert!(page.contains("The shop keeps up with 180/s, and no longer with 210/s."));
        assert!(page.contains("2.50 ms") && !page.contains("<img"));
        assert_eq!(page.matches("</script").count(), 3);
    }
}
