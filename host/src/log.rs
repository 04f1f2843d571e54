//! The operator's log: one JSON object a line on standard error.
//!
//! It carries no customer, no key and no body; events are rare (start, drain, failures), never
//! one a request.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use onhand_core::{Clock as _, SystemClock};

use crate::wire::encode::Writer;

/// Shortest time between two lines of [`limited`], in milliseconds.
const LIMITED_EVERY_MS: u64 = 1_000;
/// Longest value that a log line carries, in characters.
const VALUE_CHARS_MAX: usize = 1_024;

/// Writes one line; what can't be written to a closed standard error is lost.
pub(crate) fn event(name: &str, fields: &[(&str, &str)]) {
    let line = line(name, fields);
    let _ = std::io::stderr().lock().write_all(&line);
}

/// As [`event`], but at most one line a second, for what may fail with every request.
pub(crate) fn limited(name: &str, fields: &[(&str, &str)]) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemClock.now().millis();
    let last = LAST.load(Ordering::Relaxed);
    if now.saturating_sub(last) < LIMITED_EVERY_MS {
        return;
    }
    if LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        event(name, fields);
    }
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
        assert_eq!(line.iter().position(|b| *b == b'\n'), Some(line.len() - 1));
        assert!(!line.contains(&0x1b));
    }
}
