//! Words for a terminal: colours only where there is one; and its numbers.

use std::io::IsTerminal as _;

pub(super) use onhand_plugin_cli::figures::{count, size, span};

/// Whether and how output is coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// Colours where standard output is a terminal and `NO_COLOR` is not set.
    ///
    /// Source: <https://no-color.org>.
    pub(super) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A claim that holds, or one that does not.
    pub(super) fn verdict(self, holds: bool) -> String {
        if holds { self.paint("32", "ok  ") } else { self.paint("1;31", "FAIL") }
    }
}
