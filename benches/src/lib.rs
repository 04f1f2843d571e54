//! What the benches share: one workload, ways to drive an engine with it, and how runs are summed
//! up. No figure is made here.

pub mod drive;
pub mod machine;
pub mod stage;
pub mod summary;
pub mod workload;

/// What may go wrong in a bench.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the `main` of a stage's bench: ten samples, with half a second to warm up and so many
/// seconds to measure.
#[macro_export]
macro_rules! bench_main {
    ($stage:ident, $seconds:literal) => {
        criterion::criterion_group! {
            name = benches;
            config = criterion::Criterion::default()
                .sample_size(10)
                .warm_up_time(std::time::Duration::from_millis(500))
                .measurement_time(std::time::Duration::from_secs($seconds));
            targets = $stage
        }
        criterion::criterion_main!(benches);
    };
}
