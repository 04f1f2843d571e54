//! The operator's log: one JSON object a line on standard error.
//!
//! It carries no customer, no key and no body; events are rare (start, drain, failures), never
//! one a request.

use std::io::Write as _;

use onhand_core::{Clock as _, SystemClock};

use crate::wire::encode::Writer;

/// Longest value that a log line carries, in characters.
const VALUE_CHARS_MAX: usize = 1_024;

/// Writes one line; what can't be written to a closed standard error is lost.
pub(crate) fn event(name: &str, fields: &[(&str, &str)]) {
    let line = line(name, fields);
    let _ = std::io::stderr().lock().write_all(&line);
}

fn line(name: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Writer::new();
    out.open();
    out.time("time", SystemClock.now());
    out.text("event", name);
    for (field, value) in fields {
        let cut: String = value.chars().take(VALUE_CHARS_MAX).collect();
        out.text(field, &cut);
    }
    out.close();
    let mut line = out.into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value can't break its line or start another one.
    #[test]
    fn one_event_is_one_line() {
        let line = line("test", &[("value", "a\n{\"event\":\"forged\"}\u{1b}[2J")]);
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        assert!(!line.contains(&0x1b));
    }
}
