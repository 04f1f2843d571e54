//! Makes the end-to-end figures of `benches/README.md`: each scenario runs in a process of its
//! own, on a data directory of its own, several times; the median counts.

mod pause;
mod refusal;
mod restart;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use onhand_benches::workload::Mix;
use onhand_benches::{BenchError, machine};
use onhand_core::{Engine, EngineBuilder, OpenReport};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The host's allocator: commands and replies are made by one thread and dropped by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures durable orders in process: throughput, latency, refusals, restart, memory, pauses.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    scenario: Scenario,
}

/// What every scenario takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Folder for data directories; put it on the disk that is to be measured.
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Runs of each figure.
    #[arg(long, global = true, default_value_t = 5)]
    runs: usize,
    /// Print one JSON document on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Pre-size the tables for this many orders; 0 lets them grow.
    #[arg(long, global = true, default_value_t = 0)]
    expected_orders: usize,
    /// Shards of the engine.
    #[arg(long, global = true, default_value_t = 1)]
    shards: u16,
}

#[derive(Clone, Debug, Subcommand)]
enum Scenario {
    /// Durable orders a second, with a window of orders in flight.
    Throughput(ThroughputArgs),
    /// Latency at a steady rate, counted from the intended start of each order.
    Latency(LatencyArgs),
    /// Refusals of a sold-out SKU a second.
    Refusal(RefusalArgs),
    /// Time to restart, memory and journal bytes an order.
    Restart(RestartArgs),
    /// Pauses while tables grow and while a checkpoint is made.
    Pause(PauseArgs),
    /// Every figure, each in a process of its own.
    All(AllArgs),
}

#[derive(Clone, Debug, Args)]
struct ThroughputArgs {
    /// What is bought.
    #[arg(long, value_enum, default_value_t = Mix::Hot)]
    what: Mix,
    /// SKUs in the catalogue; 1 for hot.
    #[arg(long, default_value_t = 1_000)]
    skus: usize,
    /// Orders of a run.
    #[arg(long, default_value_t = 4_000_000)]
    orders: u64,
    /// Orders in flight; several windows are run in turn.
    #[arg(long, value_delimiter = ',', default_value = "256,2048,16384,65536")]
    in_flight: Vec<usize>,
    /// Orders in one batch; 0 for an eighth of the window, at most 2,048.
    #[arg(long, default_value_t = 0)]
    batch: usize,
    /// Threads that submit.
    #[arg(long, default_value_t = 1)]
    producers: usize,
}

#[derive(Clone, Debug, Args)]
struct LatencyArgs {
    /// What is bought.
    #[arg(long, value_enum, default_value_t = Mix::Hot)]
    what: Mix,
    /// SKUs in the catalogue; 1 for hot.
    #[arg(long, default_value_t = 1_000)]
    skus: usize,
    /// Orders a second; 0 for half of what a first run with 65,536 in flight reaches.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Seconds of a run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Microseconds between two submissions.
    #[arg(long, default_value_t = 100)]
    slice_us: u64,
}

#[derive(Clone, Debug, Args)]
struct RefusalArgs {
    /// Refusals of a run.
    #[arg(long, default_value_t = 4_000_000)]
    orders: u64,
}

#[derive(Clone, Debug, Args)]
struct RestartArgs {
    /// Live orders.
    #[arg(long, default_value_t = 1_000_000)]
    live: u64,
    /// What is bought.
    #[arg(long, value_enum, default_value_t = Mix::Zipf)]
    what: Mix,
    /// SKUs in the catalogue.
    #[arg(long, default_value_t = 1_000)]
    skus: usize,
}

#[derive(Clone, Debug, Args)]
struct PauseArgs {
    /// Live orders when the checkpoint is made.
    #[arg(long, default_value_t = 1_000_000)]
    live: u64,
    /// Orders a second while the tables grow.
    #[arg(long, default_value_t = 500_000.0)]
    growth_rate: f64,
    /// Orders a second while pauses are looked for.
    #[arg(long, default_value_t = 100_000.0)]
    probe_rate: f64,
}

#[derive(Clone, Debug, Args)]
struct AllArgs {
    /// Live orders of the restart and pause figures.
    #[arg(long, default_value_t = 1_000_000)]
    live: u64,
    /// Orders of a throughput run.
    #[arg(long, default_value_t = 4_000_000)]
    orders: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.scenario {
        Scenario::Throughput(args) => throughput::throughput(&cli.common, args),
        Scenario::Latency(args) => throughput::latency(&cli.common, args),
        Scenario::Refusal(args) => refusal::refusal(&cli.common, args),
        Scenario::Restart(args) => restart::restart(&cli.common, args),
        Scenario::Pause(args) => pause::pause(&cli.common, args),
        Scenario::All(args) => all(&cli.common, args),
    };
    match result {
        Ok(value) if cli.common.json => println!("{value:#}"),
        Ok(_) => (),
        Err(error) => {
            eprintln!("onhand-e2e: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Bytes that a file of a run loses at once when it goes, and the rest behind each step.
const SHRINK_BYTES: u64 = 1 << 20;
const SHRINK_REST: Duration = Duration::from_millis(2);

/// A data directory that goes away with the run, little by little: a file system that tells its
/// device what is free would make the next run's writes wait for gigabytes of it.
struct DataDir(TempDir);

impl DataDir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Best effort: what stays is removed at once, with the directory.
        let _ = shrink_files(self.path());
    }
}

fn shrink_files(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            shrink_files(&path)?;
            continue;
        }
        let file = std::fs::File::options().write(true).open(&path)?;
        let mut bytes = file.metadata()?.len();
        while SHRINK_BYTES < bytes {
            bytes -= SHRINK_BYTES;
            file.set_len(bytes)?;
            std::thread::sleep(SHRINK_REST);
        }
    }
    Ok(())
}

fn data_dir(common: &Common) -> Result<DataDir, BenchError> {
    Ok(DataDir(tempfile::Builder::new().prefix("onhand-e2e-").tempdir_in(&common.data)?))
}

fn builder(common: &Common, dir: &DataDir) -> EngineBuilder {
    let builder = Engine::builder(dir.path()).shards(common.shards);
    builder.expected_orders(common.expected_orders).queue_commands_max(1 << 20)
}

fn open(common: &Common, dir: &DataDir) -> Result<(Engine, OpenReport), BenchError> {
    Ok(builder(common, dir).open()?)
}

/// Lets the disk come to rest between runs, so that one run's writing is not the next one's.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

/// Shows a line at once: on standard output for people, on standard error beside JSON.
fn tell(common: &Common, line: &str) {
    if common.json { eprintln!("{line}") } else { println!("{line}") }
}

/// Runs every scenario in a process of its own.
fn all(common: &Common, args: &AllArgs) -> Result<Value, BenchError> {
    let (orders, live) = (args.orders.to_string(), args.live.to_string());
    let baskets = (args.orders / 8).to_string();
    let scenarios: Vec<(&str, Vec<&str>)> = vec![
        ("hot", vec!["throughput", "--what", "hot", "--orders", &orders]),
        ("zipf_1000", vec!["throughput", "--what", "zipf", "--skus", "1000", "--orders", &orders]),
        (
            "zipf_100000",
            vec!["throughput", "--what", "zipf", "--skus", "100000", "--orders", &orders],
        ),
        (
            "baskets",
            vec!["throughput", "--what", "baskets", "--skus", "68509", "--orders", &baskets],
        ),
        ("latency", vec!["latency"]),
        ("refusal", vec!["refusal", "--orders", &orders]),
        ("restart", vec!["restart", "--live", &live]),
        ("pause", vec!["pause", "--live", &live]),
    ];
    let mut figures = json!({ "machine": machine::describe() });
    for (name, scenario) in scenarios {
        eprintln!("== {name}");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&scenario).arg("--json").stderr(Stdio::inherit());
        command.arg("--data").arg(&common.data).args(["--runs", &common.runs.to_string()]);
        command.args(["--expected-orders", &common.expected_orders.to_string()]);
        command.args(["--shards", &common.shards.to_string()]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("{name} ended with {}", output.status).into());
        }
        figures[name] = serde_json::from_slice(&output.stdout)?;
    }
    Ok(figures)
}
