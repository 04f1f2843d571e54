//! Every limit of a plugin and of the runtime: name, unit, default and range.

use std::fmt;

/// One limit: what it is called, its unit, its default and its range.
///
/// # Example
///
/// ```
/// use onhand_plugin_runtime::limits::FUEL_PER_ORDER;
///
/// assert_eq!(FUEL_PER_ORDER.to_string(), "fuel_per_order: 200000 fuel, 1000..=10000000000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Name of the field.
    pub name: &'static str,
    /// Unit of the number.
    pub unit: &'static str,
    /// Value if nothing else is said.
    pub default: u64,
    /// Least value allowed.
    pub min: u64,
    /// Largest value allowed.
    pub max: u64,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, default, min, max } = self;
        write!(f, "{name}: {default} {unit}, {min}..={max}")
    }
}

/// A limit is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitError {
    /// The limit.
    pub bound: Bound,
    /// The value that was asked for.
    pub value: u64,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bound { name, unit, min, max, .. } = self.bound;
        write!(f, "{name} is {}, outside {min}..={max} {unit}", self.value)
    }
}

impl std::error::Error for LimitError {}

/// Makes a bound.
///
/// # Panics
///
/// If the default is outside the range: where it is a constant, when that is compiled.
pub const fn bound(
    name: &'static str,
    unit: &'static str,
    default: u64,
    min: u64,
    max: u64,
) -> Bound {
    assert!(min <= default && default <= max);
    Bound { name, unit, default, min, max }
}

/// Fuel that each order of a call brings along: the deterministic verdict on a slow plugin.
/// About one unit for one WebAssembly instruction.
pub const FUEL_PER_ORDER: Bound = bound("fuel_per_order", "fuel", 200_000, 1_000, 10_000_000_000);
/// Fuel of an instance's start: its start functions and `init`.
pub const FUEL_INIT: Bound = bound("fuel_init", "fuel", 50_000_000, 1_000, 10_000_000_000);
/// Wall-clock time of a call for one order, behind fuel, and 1 ms more for each further order: it
/// ends what fuel does not see. So long that a busy machine does not turn good answers into failures.
pub const DEADLINE_MS: Bound = bound("deadline_ms", "ms", 50, 1, 60_000);
/// Linear memory of one instance.
pub const MEMORY_BYTES: Bound = bound("memory_bytes", "bytes", 16 << 20, 64 << 10, 256 << 20);
/// Elements of one table of an instance.
pub const TABLE_ELEMENTS: Bound = bound("table_elements", "elements", 10_000, 1, 100_000);
/// Bytes that an answer may have for each order of its call, and one log line at most.
pub const OUTPUT_BYTES: Bound = bound("output_bytes", "bytes", 16 << 10, 64, 1 << 20);
/// Calls of the host during one call; one more is a failure.
pub const HOST_CALLS: Bound = bound("host_calls", "calls", 1_000, 0, 100_000);
/// Log lines kept of one call; more are counted and dropped.
pub const LOG_LINES: Bound = bound("log_lines", "lines", 16, 0, 1_000);
/// Size of an uploaded component.
pub const MODULE_BYTES: Bound = bound("module_bytes", "bytes", 2 << 20, 8, 64 << 20);
/// Functions of a component, over all its core modules.
pub const FUNCTIONS: Bound = bound("functions", "functions", 20_000, 1, 200_000);
/// Size of one function: what makes a compiler slow.
pub const FUNCTION_BYTES: Bound = bound("function_bytes", "bytes", 256 << 10, 16, 8 << 20);
/// Wall-clock time of compiling a component.
pub const COMPILE_MS: Bound = bound("compile_ms", "ms", 5_000, 1, 600_000);
/// Address space of a process that compiles; what its executable takes is part of it.
pub const COMPILE_ADDRESS_BYTES: u64 = 2 << 30;
/// Instances of a plugin that may be at work at once; a call waits for one as long as the largest
/// call of another may take.
pub const INSTANCES: Bound = bound("instances", "instances", 4, 1, 1_000);
/// Calls after which an instance is replaced by a fresh one.
pub const CALLS_PER_INSTANCE: Bound =
    bound("calls_per_instance", "calls", 10_000, 1, 1_000_000_000);

/// Limits of one plugin; [`Limits::default`] has the default of every bound.
///
/// # Example
///
/// ```
/// use onhand_plugin_runtime::Limits;
///
/// let limits = Limits { fuel_per_order: 20_000, ..Limits::default() };
/// limits.check()?;
/// let none = Limits { deadline_ms: 0, ..limits };
/// let text = none.check().err().map(|error| error.to_string());
/// assert_eq!(text.as_deref(), Some("deadline_ms is 0, outside 1..=60000 ms"));
/// # Ok::<(), onhand_plugin_runtime::limits::LimitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`FUEL_PER_ORDER`].
    pub fuel_per_order: u64,
    /// See [`FUEL_INIT`].
    pub fuel_init: u64,
    /// See [`DEADLINE_MS`].
    pub deadline_ms: u64,
    /// See [`MEMORY_BYTES`].
    pub memory_bytes: u64,
    /// See [`TABLE_ELEMENTS`].
    pub table_elements: u64,
    /// See [`OUTPUT_BYTES`].
    pub output_bytes: u64,
    /// See [`HOST_CALLS`].
    pub host_calls: u64,
    /// See [`LOG_LINES`].
    pub log_lines: u64,
    /// See [`MODULE_BYTES`].
    pub module_bytes: u64,
    /// See [`FUNCTIONS`].
    pub functions: u64,
    /// See [`FUNCTION_BYTES`].
    pub function_bytes: u64,
    /// See [`COMPILE_MS`].
    pub compile_ms: u64,
    /// See [`INSTANCES`].
    pub instances: u64,
    /// See [`CALLS_PER_INSTANCE`].
    pub calls_per_instance: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_per_order: FUEL_PER_ORDER.default,
            fuel_init: FUEL_INIT.default,
            deadline_ms: DEADLINE_MS.default,
            memory_bytes: MEMORY_BYTES.default,
            table_elements: TABLE_ELEMENTS.default,
            output_bytes: OUTPUT_BYTES.default,
            host_calls: HOST_CALLS.default,
            log_lines: LOG_LINES.default,
            module_bytes: MODULE_BYTES.default,
            functions: FUNCTIONS.default,
            function_bytes: FUNCTION_BYTES.default,
            compile_ms: COMPILE_MS.default,
            instances: INSTANCES.default,
            calls_per_instance: CALLS_PER_INSTANCE.default,
        }
    }
}

impl Limits {
    /// Returns every limit with its value, for whoever shows them.
    pub fn all(&self) -> [(Bound, u64); 14] {
        let mut limits = *self;
        limits.all_mut().map(|(bound, value)| (bound, *value))
    }

    /// Returns every limit with the place of its value, for whoever reads them.
    pub fn all_mut(&mut self) -> [(Bound, &mut u64); 14] {
        [
            (FUEL_PER_ORDER, &mut self.fuel_per_order),
            (FUEL_INIT, &mut self.fuel_init),
            (DEADLINE_MS, &mut self.deadline_ms),
            (MEMORY_BYTES, &mut self.memory_bytes),
            (TABLE_ELEMENTS, &mut self.table_elements),
            (OUTPUT_BYTES, &mut self.output_bytes),
            (HOST_CALLS, &mut self.host_calls),
            (LOG_LINES, &mut self.log_lines),
            (MODULE_BYTES, &mut self.module_bytes),
            (FUNCTIONS, &mut self.functions),
            (FUNCTION_BYTES, &mut self.function_bytes),
            (COMPILE_MS, &mut self.compile_ms),
            (INSTANCES, &mut self.instances),
            (CALLS_PER_INSTANCE, &mut self.calls_per_instance),
        ]
    }

    /// Checks every limit against its range.
    ///
    /// # Errors
    ///
    /// Returns the first one outside.
    pub fn check(&self) -> Result<(), LimitError> {
        check_all(&self.all())
    }
}

/// Checks values against their ranges.
///
/// # Errors
///
/// Returns the first value that is outside.
pub fn check_all(all: &[(Bound, u64)]) -> Result<(), LimitError> {
    let outside = all.iter().find(|(bound, value)| !(bound.min..=bound.max).contains(value));
    outside.map_or(Ok(()), |&(bound, value)| Err(LimitError { bound, value }))
}

/// Instances of all plugins of a runtime together; each holds address space for its memory.
pub const TOTAL_INSTANCES: Bound = bound("total_instances", "instances", 64, 1, 1_000);
/// Stack of a call. The calling thread needs twice that: the default 2 MiB of a Rust thread do.
pub const STACK_BYTES: Bound = bound("stack_bytes", "bytes", 512 << 10, 64 << 10, 1 << 20);
/// Core instances of one component; what joins a language's runtime out of many needs about 100.
pub const CORE_INSTANCES: Bound = bound("core_instances", "core instances", 128, 1, 1_000);

/// Components and core modules in a component, itself included.
pub const PARTS: u64 = 1_000;
/// Instantiations of components written in a component. Each is unfolded anew wherever the
/// component around it is instantiated, so that `n` of them can stand for `3 ^ (n / 3)`.
pub const COMPONENT_INSTANCES: u64 = 16;
/// Tables of one instance: a component made from one core module has up to three.
pub const TABLES_PER_INSTANCE: u32 = 4;
/// Linear memories of one instance.
pub const MEMORIES_PER_INSTANCE: u32 = 1;
/// Most bytes of one log line; the rest is cut off.
pub const LOG_LINE_BYTES: usize = 256;
/// Most log lines that a plugin keeps for [`crate::Plugin::take_logs`]; the oldest give way.
pub const LOG_KEPT: usize = 256;
/// Fuel that a log line costs, beside one unit for each of its bytes.
pub const LOG_FUEL: u64 = 1_000;
/// Most bytes of a plugin's own text in one of our errors.
pub const TEXT_BYTES: usize = 256;
/// Most bytes of the configuration that `init` is given.
pub const CONFIG_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::{Limits, check_all};

    /// Each limit is taken at both of its ends, and refused one step beyond.
    #[test]
    fn each_limit_has_two_ends() {
        for (bound, value) in Limits::default().all() {
            assert_eq!(bound.default, value, "{bound}");
            for inside in [bound.min, bound.max] {
                assert_eq!(check_all(&[(bound, inside)]), Ok(()), "{bound}");
            }
            let beyond = [bound.min.checked_sub(1), bound.max.checked_add(1)];
            for outside in beyond.into_iter().flatten() {
                let error = check_all(&[(bound, outside)]).expect_err("outside");
                assert_eq!((error.bound, error.value), (bound, outside));
            }
        }
    }
}
