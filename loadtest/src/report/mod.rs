//! A run as people and programs read it; every view takes its numbers from the same record.

mod load;

pub use load::{exit_code, flash_json, flash_text, replay_json, replay_text};

/// Writes a time in nanoseconds with a unit that fits it.
pub(crate) fn time_text(nanos: f64) -> String {
    match nanos.abs() {
        abs if abs < 1e3 => format!("{nanos:.0} ns"),
        abs if abs < 1e6 => format!("{:.1} us", nanos / 1e3),
        abs if abs < 1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}
