//! What a plugin took of each limit, and how much is left.

use std::fmt::Write as _;

use onhand_plugin_bundle::Answer;
use onhand_plugin_runtime::{Limits, Measured, Shape, limits};
use serde_json::{Value, json};

use crate::component::Parts;
use crate::figures::count;
use crate::terminal::Terminal;

/// Headroom in percent below which a limit is shown as close.
const CLOSE_PERCENT: f64 = 10.0;

/// One limit and what was taken of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// Whether the number differs from run to run.
    pub(crate) by_clock: bool,
}

impl Usage {
    /// Returns how much is left, in percent of the limit; below zero if it is exceeded.
    pub(crate) fn headroom(&self) -> f64 {
        if self.limit == 0 {
            return if self.used == 0 { 100.0 } else { -100.0 };
        }
        (self.limit as f64 - self.used as f64) * 100.0 / self.limit as f64
    }

    pub(crate) fn json(&self) -> Value {
        let headroom = (self.headroom() * 10.0).round() / 10.0;
        json!({
            "name": self.name,
            "unit": self.unit,
            "limit": self.limit,
            "used": self.used,
            "headroom_percent": headroom,
            "by_clock": self.by_clock,
        })
    }
}

/// Bytes of an answer, as the canonical ABI lays it out.
fn answer_bytes(answer: &Answer) -> u64 {
    match answer {
        Answer::Pricing(all) => all.len() as u64 * 24,
        Answer::Fraud(all) => all.len() as u64 * 12,
        Answer::Recommend(all) => all.len() as u64 * 24,
    }
}

/// Returns what a component takes of its limits without being run.
pub(crate) fn of_component(
    wasm: &[u8],
    shape: &Shape,
    parts: &Parts,
    limits: &Limits,
) -> Vec<Usage> {
    [
        (limits::MODULE_BYTES, limits.module_bytes, wasm.len() as u64),
        (limits::FUNCTIONS, limits.functions, shape.functions),
        (limits::FUNCTION_BYTES, limits.function_bytes, parts.largest_function()),
    ]
    .map(|(bound, limit, used)| usage(bound, limit, used))
    .to_vec()
}

const fn usage(bound: limits::Bound, limit: u64, used: u64) -> Usage {
    Usage { name: bound.name, unit: bound.unit, limit, used, by_clock: false }
}

/// Returns what a call took of its limits.
pub(crate) fn of_call(measured: &Measured<Answer>, orders: usize, limits: &Limits) -> Vec<Usage> {
    let orders = (orders as u64).max(1);
    let bytes = measured.answer.as_ref().map_or(0, answer_bytes);
    let lines = measured.logs.len() as u64 + measured.logs_dropped;
    let ms = measured.call_time.as_millis() as u64;
    let deadline = Usage { by_clock: true, ..usage(limits::DEADLINE_MS, limits.deadline_ms, ms) };
    vec![
        usage(limits::FUEL_PER_ORDER, limits.fuel_per_order, measured.fuel.div_ceil(orders)),
        usage(limits::FUEL_INIT, limits.fuel_init, measured.fuel_init),
        usage(limits::MEMORY_BYTES, limits.memory_bytes, measured.memory_bytes),
        usage(limits::TABLE_ELEMENTS, limits.table_elements, measured.table_elements),
        usage(limits::OUTPUT_BYTES, limits.output_bytes, bytes.div_ceil(orders)),
        usage(limits::HOST_CALLS, limits.host_calls, measured.host_calls),
        usage(limits::LOG_LINES, limits.log_lines, lines),
        deadline,
    ]
}

/// Keeps the larger use of each limit.
pub(crate) fn merge(all: &mut Vec<Usage>, more: Vec<Usage>) {
    for usage in more {
        match all.iter_mut().find(|known| known.name == usage.name) {
            Some(known) => known.used = known.used.max(usage.used),
            None => all.push(usage),
        }
    }
}

/// Writes limits as a table.
pub(crate) fn table(all: &[Usage], terminal: &Terminal<'_>) -> String {
    let head = format!("  {:<18} {:>16} {:>16} {:>9}", "limit", "allowed", "used", "headroom");
    let mut text = format!("{}\n", terminal.bold(&head));
    for usage in all {
        let Usage { name, unit, limit, used, .. } = usage;
        let headroom = format!("{:>7.1} %", usage.headroom());
        let headroom = if usage.headroom() < 0.0 {
            terminal.red(&headroom)
        } else if usage.headroom() < CLOSE_PERCENT {
            terminal.yellow(&headroom)
        } else {
            headroom
        };
        let (limit, used) = (count(*limit), count(*used));
        // Writing into a text does not fail.
        let _ =
            writeln!(text, "  {name:<18} {limit:>16} {used:>16} {headroom} {}", terminal.dim(unit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Usage;

    fn headroom(limit: u64, used: u64) -> f64 {
        Usage { name: "x", unit: "y", limit, used, by_clock: false }.headroom()
    }

    /// Headroom is what is left of the limit.
    #[test]
    fn headroom_is_what_is_left() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(headroom(200, 50), 75.0));
        assert!(close(headroom(200, 200), 0.0));
        assert!(close(headroom(200, 300), -50.0));
        assert!(close(headroom(0, 0), 100.0));
        assert!(close(headroom(0, 1), -100.0));
    }
}
