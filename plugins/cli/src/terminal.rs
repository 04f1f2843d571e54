//! Where output goes, how it is coloured, and how a command that ends early says why.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::{FILE, UNFIT, USAGE};

/// Standard output, standard error, and what may be done with them.
pub struct Terminal<'a> {
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
    colour: bool,
    progress: bool,
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { colour, progress, .. } = self;
        f.debug_struct("Terminal").field("colour", colour).field("progress", progress).finish()
    }
}

impl<'a> Terminal<'a> {
    /// The process's own: colours where standard output is a terminal and `NO_COLOR` is not set,
    /// progress where standard error is one.
    ///
    /// Source: <https://no-color.org>.
    pub fn standard() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            colour: wanted && std::io::stdout().is_terminal(),
            progress: std::io::stderr().is_terminal(),
        }
    }

    /// Writers of the caller's, without colour and progress.
    pub fn plain(out: impl Write + 'a, err: impl Write + 'a) -> Self {
        Self { out: Box::new(out), err: Box::new(err), colour: false, progress: false }
    }

    /// Writes to standard output; a reader that has left is no failure.
    pub(crate) fn say(&mut self, text: &str) {
        drop(self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()));
    }

    /// Writes one JSON object in a line to standard output.
    pub(crate) fn json(&mut self, value: &Value) {
        self.say(&format!("{value}\n"));
    }

    /// Writes to standard error.
    pub(crate) fn note(&mut self, text: &str) {
        drop(self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush()));
    }

    /// Shows how far long work is, where somebody looks; the next line takes its place.
    pub(crate) fn progress(&mut self, done: u64, total: u64, what: &str) {
        // Often enough to be seen moving, seldom enough to cost nothing.
        if self.progress && (done == total || done.is_multiple_of(64)) {
            let share = if total == 0 { 100 } else { done * 100 / total };
            let end = if done == total { "\r\x1b[K" } else { "" };
            self.note(&format!("\r{what}: {share:3} % ({} of {}){end}", count(done), count(total)));
        }
    }

    /// Says why a command ended early; returns its exit code.
    pub(crate) fn fail(&mut self, failure: &Failure) -> u8 {
        let mut text = format!("{} {}\n", self.red("onhand plugin:"), failure.text);
        if let Some(help) = &failure.help {
            // Writing into a text does not fail.
            let _ = writeln!(text, "  {} {help}", self.bold("help:"));
        }
        self.note(&text);
        failure.code
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn red(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn yellow(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// A claim that holds, or one that does not.
    pub(crate) fn verdict(&self, holds: bool) -> String {
        if holds { self.paint("32", "ok  ") } else { self.red("FAIL") }
    }
}

/// Why a command ended early: what to say, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
    help: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), help: None }
    }

    /// Wrong usage, or a text that cannot be used.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(USAGE, text)
    }

    /// The plugin is not fit.
    pub(crate) fn unfit(text: impl Into<String>) -> Self {
        Self::new(UNFIT, text)
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::new(FILE, format!("{}: {error}", path.display()))
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Writes a number with separators, such as `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a time with three significant digits and its unit.
pub(crate) fn span(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        m if m < 1_000.0 => (m, "us"),
        m if m < 1_000_000.0 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// Writes a size with its unit.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are written to be read.
    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(999), count(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(span(Duration::from_micros(7)), "7.00 us");
        assert_eq!(span(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(span(Duration::from_millis(2_500)), "2.50 s");
        assert_eq!(
            (size(1_023), size(1_536), size(3 << 20)),
            ("1023 B".into(), "1.5 KiB".into(), "3.0 MiB".into())
        );
        assert_eq!(hex(&[0, 255]), "00ff");
    }

    /// Colours are there only where they are wanted.
    #[test]
    fn plain_output_has_no_colours() {
        let mut terminal = Terminal::plain(Vec::new(), Vec::new());
        assert_eq!(terminal.verdict(false), "FAIL");
        terminal.colour = true;
        assert_eq!(terminal.verdict(false), "\x1b[1;31mFAIL\x1b[0m");
    }
}
