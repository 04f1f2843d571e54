//! What the benches share: one workload, ways to drive an engine with it, and how runs are summed
//! up. No figure is made here.

pub mod drive;
pub mod machine;
pub mod stage;
pub mod summary;
pub mod workload;

/// What may go wrong in a bench.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;
