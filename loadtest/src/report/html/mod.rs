//! A run as one HTML file: it needs no network, prints, and is read with or without scripts.
//!
//! Sentences and tables are written here, with the words of every other view; the script of the
//! page draws the charts from the record, which is embedded as JSON. A policy in the page forbids
//! every request and every script but the two that are named by their hashes.

mod comparison;
mod knee;
mod sections;

pub use comparison::comparison_html;
pub use knee::knee_html;

use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};

use crate::error::LoadError;
use crate::results::run::Run;
use crate::results::series::{SERIES_COLUMNS, SeriesRow};

const UPLOT: &str = include_str!("../page/uplot.js");
const UPLOT_STYLE: &str = include_str!("../page/uplot.css");
/// uPlot's licence (MIT) goes where its code goes.
const UPLOT_LICENSE: &str = include_str!("../page/uplot.LICENSE");
const APP: &str = include_str!("../page/app.js");
const STYLE: &str = include_str!("../page/style.css");
/// What the page may do: nothing but these two scripts and two styles, by SHA-256.
const POLICY: &str = include_str!("../page/policy.txt");

/// Text in the middle of HTML: every sign that means something there is replaced.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No tool of a reader should be steered by what a target answered.
                c if c.is_control() && c != '\n' && c != '\t' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Writes the report of a run as one HTML file.
///
/// # Errors
///
/// A number of the record is not finite, which JSON has no word for.
pub fn run_html(run: &Run, series: &[SeriesRow]) -> Result<String, LoadError> {
    let mut record = side_json(run, series)?;
    record["kind"] = "run".into();
    let title = format!("{}: load test of {}", run.scenario.name, run.date);
    Ok(page(&title, &sections::body(run, series), &record))
}

/// Returns the record and the series, column by column, as the page's script reads them.
fn side_json(run: &Run, series: &[SeriesRow]) -> Result<Value, LoadError> {
    let run = serde_json::to_value(run).map_err(|e| LoadError::input(format!("record: {e}")))?;
    let column = |at: usize| series.iter().map(|row| row.values()[at]).collect::<Vec<_>>();
    let columns: Map<String, Value> = SERIES_COLUMNS
        .iter()
        .enumerate()
        .map(|(at, name)| ((*name).to_owned(), json!(column(at))))
        .collect();
    Ok(json!({"run": run, "series": columns}))
}

/// Writes JSON so that nothing in it can end the element that it stands in.
fn embedded(record: &Value) -> String {
    let mut out = String::new();
    for c in record.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

fn page(title: &str, body: &str, record: &Value) -> String {
    let (title, policy) = (Escaped(title), Escaped(POLICY.trim()));
    let record = embedded(record);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n\
         <style>{UPLOT_STYLE}</style>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n\
         <script type=\"application/json\" id=\"record\">{record}</script>\n\
         <!--\nuPlot, which draws the charts:\n\n{UPLOT_LICENSE}\n-->\n\
         <script>{UPLOT}</script>\n<script>{APP}</script>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests;
