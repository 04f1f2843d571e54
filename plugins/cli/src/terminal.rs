//! Where output goes, how it is coloured, and how a command that ends early says why.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::Path;

use serde_json::Value;

use crate::figures::count;
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
            let share = (done * 100).checked_div(total).unwrap_or(100);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours are there only where they are wanted.
    #[test]
    fn plain_output_has_no_colours() {
        let mut terminal = Terminal::plain(Vec::new(), Vec::new());
        assert_eq!(terminal.verdict(false), "FAIL");
        terminal.colour = true;
        assert_eq!(terminal.verdict(false), "\x1b[1;31mFAIL\x1b[0m");
    }
}
