//! What is wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;

use super::value::nearest;

/// What is wrong with a scenario, with file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    file: String,
    /// Line and column, from 1; columns count characters.
    place: (usize, usize),
    what: String,
}

impl ScenarioError {
    /// Returns line and column, both from 1.
    pub const fn place(&self) -> (usize, usize) {
        self.place
    }

    /// Returns what is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.what
    }

    /// Makes the error of a value that was read but is not allowed.
    pub(super) fn of_value(file: &str, text: &str, wrong: Wrong) -> Self {
        Self { file: file.to_owned(), place: place(text, wrong.span.start), what: wrong.what }
    }

    /// Makes the error of what TOML itself or the form refuses.
    pub(super) fn of_toml(
        file: &str,
        text: &str,
        message: &str,
        span: Option<Range<usize>>,
    ) -> Self {
        let at = span.map_or(0, |span| span.start);
        let mut what = message.trim().replace('\n', "; ");
        // "unknown field `a`, expected one of `b`, `c`": the first is the slip, the rest is known.
        if message.starts_with("unknown field") {
            let mut quoted = message.split('`').skip(1).step_by(2);
            let slip = quoted.next().unwrap_or_default();
            if let Some(meant) = nearest(slip, quoted) {
                what = format!("unknown field `{slip}`; did you mean `{meant}`?");
            }
        }
        Self { file: file.to_owned(), place: place(text, at), what }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.place.0, self.place.1, self.what)
    }
}

impl std::error::Error for ScenarioError {}

/// What is wrong with a value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) what: String,
}

impl Wrong {
    pub(super) fn new(span: &Range<usize>, what: impl Into<String>) -> Self {
        Self { span: span.clone(), what: what.into() }
    }
}

/// Returns line and column of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}
