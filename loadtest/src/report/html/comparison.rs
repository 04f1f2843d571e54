//! Two runs over each other as one HTML file.

use std::fmt::Write as _;

use serde_json::json;

use super::sections::{badge, chart};
use super::{Escaped, page, side_json};
use crate::error::LoadError;
use crate::report::comparison::{comparison_sentence, figure_text, ratio_text};
use crate::results::compare::{Change, Comparison, Recorded};
use crate::results::run::Run;

/// Writes a comparison as one HTML file with both runs in each chart.
///
/// # Errors
///
/// A number of a record is not finite, which JSON has no word for.
pub fn comparison_html(
    comparison: &Comparison,
    a: &Recorded,
    b: &Recorded,
) -> Result<String, LoadError> {
    let (side_a, side_b) = (side_json(&a.run, &a.series)?, side_json(&b.run, &b.series)?);
    let record = json!({"kind": "comparison", "a": side_a, "b": side_b});
    let title = format!("{} and {} compared", comparison.a, comparison.b);
    Ok(page(&title, &body(comparison, a, b), &record))
}

const fn tone(change: Change) -> (&'static str, &'static str) {
    match change {
        Change::Regressed => ("bad", "✗ worse"),
        Change::Improved => ("good", "✓ better"),
        Change::Same => ("good", "= same"),
        Change::Unclear => ("doubtful", "? unclear"),
    }
}

fn body(comparison: &Comparison, a: &Recorded, b: &Recorded) -> String {
    let mut out = String::new();
    let (class, word) = tone(comparison.verdict);
    // Writing to a string can't fail, here and below.
    let _ = write!(
        out,
        "<header class=\"verdict {class}\"><div>{}<h1>{}</h1>\n<p>A is {}, the baseline; B is {}. \
         Both had the same load, {}.</p></div></header>\n<main>\n\
         <section><h2>What changed</h2>\n<p class=\"note\">A figure is called better or worse only \
         if its whole interval lies beyond {:.1} %. {}. One run a side can't tell how much whole \
         runs differ; on a busy machine compare several.</p>\n",
        badge("", word),
        Escaped(comparison_sentence(comparison)),
        Escaped(&comparison.a),
        Escaped(&comparison.b),
        Escaped(&a.run.scenario.name),
        comparison.effect_min * 100.0,
        Escaped(capital(&comparison.method)),
    );
    figures(&mut out, comparison);
    out.push_str("</section>\n<section><h2>Both runs</h2>\n");
    chart(&mut out, "pair-accepted", "Accepted requests in each second");
    chart(&mut out, "pair-latency", "99 % of each second, from the intended start (logarithmic)");
    chart(&mut out, "pair-service", "99 % of each second, service time (logarithmic)");
    if [a, b].iter().all(|side| side.series.iter().any(|row| row.available.is_some())) {
        chart(&mut out, "pair-stock", "Free units");
    }
    if a.run.latency_all().is_some() && b.run.latency_all().is_some() {
        chart(&mut out, "pair-spectrum", "Percentile spectrum of all requests");
    }
    out.push_str("</section>\n");
    facts(&mut out, &a.run, &b.run);
    out.push_str("<footer>Charts by uPlot (MIT).</footer>\n</main>");
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn figures(out: &mut String, comparison: &Comparison) {
    out.push_str(
        "<div class=\"scroll\"><table class=\"figures\"><tr><th class=\"left\">figure</th>\
         <th>A</th><th>B</th><th>change</th><th>interval</th><th></th></tr>",
    );
    for figure in &comparison.figures {
        let (class, word) = tone(figure.change);
        let interval = figure.ratio_interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} to {}", ratio_text(low), ratio_text(high))
        });
        let _ = write!(
            out,
            "<tr><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{interval}</td>\
             <td>{}</td></tr>",
            Escaped(&figure.name),
            Escaped(figure_text(figure, figure.a)),
            Escaped(figure_text(figure, figure.b)),
            figure.ratio.map_or("–".to_owned(), ratio_text),
            badge(class, word)
        );
    }
    out.push_str("</table></div>");
    if !comparison.notes.is_empty() {
        out.push_str("<ul class=\"checks\">");
        for note in &comparison.notes {
            let (class, word) = tone(note.change);
            let _ = write!(
                out,
                "<li><span>{}</span><span class=\"what\">{}</span></li>",
                badge(class, word),
                Escaped(&note.text)
            );
        }
        out.push_str("</ul>");
    }
}

/// Reads a fact of a run.
type OfRun = fn(&Run) -> String;

fn facts(out: &mut String, a: &Run, b: &Run) {
    out.push_str(
        "<section><h2>What was measured, and where</h2>\n<div class=\"scroll\">\
         <table class=\"figures\"><tr><th class=\"left\"></th><th class=\"left\">A</th>\
         <th class=\"left\">B</th></tr>",
    );
    let facts: [(&str, OfRun); 8] = [
        ("date", |run| run.date.clone()),
        ("tool", |run| format!("{} {}", run.tool.name, run.tool.version)),
        ("target", |run| format!("{} {}", run.target.kind.name(), run.target.url)),
        ("acknowledgement", |run| run.target.ack.clone()),
        ("scenario", |run| run.scenario.hash.get(..16).unwrap_or(&run.scenario.hash).to_owned()),
        ("seed", |run| run.scenario.seed.to_string()),
        ("machine", |run| format!("{} cores, {}", run.machine.cores, run.machine.cpu)),
        ("system", |run| run.machine.kernel.clone()),
    ];
    for (name, of) in facts {
        let _ = write!(
            out,
            "<tr><td class=\"left\">{name}</td><td class=\"wrap\">{}</td><td class=\"wrap\">{}</td></tr>",
            Escaped(of(a)),
            Escaped(of(b))
        );
    }
    out.push_str("</table></div></section>\n");
}
