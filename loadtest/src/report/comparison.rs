//! Two runs compared, as text and as JSON.

use std::fmt::Write as _;

use super::words::{plural, time_text};
use crate::error::LoadError;
use crate::results::compare::{Change, Comparison, Figure};

/// Says what came of a comparison in one sentence.
pub(crate) fn comparison_sentence(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a, &comparison.b);
    let named = |wanted: Change| {
        let figures = comparison.figures.iter().filter(|figure| figure.change == wanted);
        let notes = comparison.notes.iter().filter(|note| note.change == wanted);
        (figures.count() + notes.count()) as u64
    };
    match comparison.verdict {
        Change::Regressed => {
            let count = plural(named(Change::Regressed), "respect", "respects");
            format!("{b} is worse than {a} in {count}.")
        }
        Change::Improved => {
            let count = plural(named(Change::Improved), "respect", "respects");
            format!("{b} is better than {a} in {count}, and in none worse.")
        }
        Change::Same => format!("{b} is as good as {a}."),
        Change::Unclear => {
            let count = plural(named(Change::Unclear), "comparison", "comparisons");
            format!("No regression was found in {b}, but {count} allow no verdict.")
        }
    }
}

/// Writes a figure's value with its unit.
pub(crate) fn figure_text(figure: &Figure, value: f64) -> String {
    if figure.unit == "ns" { time_text(value) } else { format!("{value:.1}{}", figure.unit) }
}

/// Writes a ratio as a change in percent.
pub(crate) fn ratio_text(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

/// Writes a comparison as text for people.
pub fn comparison_text(comparison: &Comparison) -> String {
    let mut out = format!("{}\n\n", comparison_sentence(comparison));
    // Writing to a string can't fail, here and below.
    let _ = writeln!(
        out,
        "  {:<24} {:>12} {:>12} {:>10}  {:<22} verdict",
        "figure", "A", "B", "change", "interval"
    );
    for figure in &comparison.figures {
        let [a, b] = [figure.a, figure.b].map(|value| figure_text(figure, value));
        let change = figure.ratio.map_or("–".to_owned(), ratio_text);
        let interval = figure.ratio_interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} to {}", ratio_text(low), ratio_text(high))
        });
        let _ = writeln!(
            out,
            "  {:<24} {a:>12} {b:>12} {change:>10}  {interval:<22} {}",
            figure.name,
            figure.change.name()
        );
    }
    for note in &comparison.notes {
        let _ = writeln!(out, "  {} ({})", note.text, note.change.name());
    }
    let _ = writeln!(out, "\n  A is {}, B is {}", comparison.a, comparison.b);
    let _ = writeln!(out, "  {}", comparison.method);
    out.push_str("  One run a side can't tell how much whole runs differ; on a busy machine compare several.\n");
    out
}

/// Writes a comparison as JSON.
///
/// # Errors
///
/// A number is not finite, which JSON has no word for.
pub fn comparison_json(comparison: &Comparison) -> Result<String, LoadError> {
    let text = serde_json::to_string_pretty(comparison);
    text.map(|text| text + "\n").map_err(|e| LoadError::input(format!("comparison: {e}")))
}
