//! The limits that a manifest may set: name, unit and range, as the runtime has them.
//!
//! The runtime is not known here; a test of the commands, which know both, compares the tables.

/// One limit of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Name of the field under `[limits]`.
    pub name: &'static str,
    /// Unit of the number.
    pub unit: &'static str,
    /// Least value allowed.
    pub min: u64,
    /// Largest value allowed.
    pub max: u64,
}

const fn limit(name: &'static str, unit: &'static str, min: u64, max: u64) -> Limit {
    Limit { name, unit, min, max }
}

/// Every limit that a manifest may set.
pub const LIMITS: [Limit; 14] = [
    limit("fuel_per_order", "fuel", 1_000, 10_000_000_000),
    limit("fuel_init", "fuel", 1_000, 10_000_000_000),
    limit("deadline_ms", "ms", 1, 60_000),
    limit("memory_bytes", "bytes", 64 << 10, 256 << 20),
    limit("table_elements", "elements", 1, 100_000),
    limit("output_bytes", "bytes", 64, 1 << 20),
    limit("host_calls", "calls", 0, 100_000),
    limit("log_lines", "lines", 0, 1_000),
    limit("module_bytes", "bytes", 8, 64 << 20),
    limit("functions", "functions", 1, 200_000),
    limit("function_bytes", "bytes", 16, 8 << 20),
    limit("compile_ms", "ms", 1, 600_000),
    limit("instances", "instances", 1, 1_000),
    limit("calls_per_instance", "calls", 1, 1_000_000_000),
];
