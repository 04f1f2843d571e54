//! Makes the figures of policies and plugins in `benches/README.md`.

mod abuse;
mod alone;
mod cost;
mod journey;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use onhand_benches::BenchError;
use onhand_benches::workload::Mix;
use onhand_plugin_benches::policies;
use onhand_plugin_runtime::Kind;
use serde_json::Value;

/// The host's allocator: commands and replies are made by one thread and dropped by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what policies and plugins cost, and what a plugin's abuse costs others.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// Print one JSON document on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Durable orders a second without policies, with built-in ones and with two plugins, in turn.
    Cost(CostArgs),
    /// Processor time of decisions alone, by size of batch, without an engine's work behind them.
    Alone(AloneArgs),
    /// What others notice of plugins that misbehave in a host of its own process.
    Abuse(AbuseArgs),
    /// Price a year of grocery orders by a plugin and compare each line with what was paid.
    Journey(JourneyArgs),
    /// Write the samples as bundles with their configurations, and settings of the built-in
    /// policies with the same rules.
    Write(WriteArgs),
}

#[derive(Debug, Args)]
struct CostArgs {
    /// Folder for data directories; put it on the disk that is to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Rounds: each runs every variant once.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// What is bought.
    #[arg(long, value_enum, default_value_t = Mix::Hot)]
    what: Mix,
    /// SKUs in the catalogue; 1 for hot.
    #[arg(long, default_value_t = 1_000)]
    skus: usize,
    /// Orders of a run; of baskets an eighth of them.
    #[arg(long, default_value_t = 1_000_000)]
    orders: u64,
    /// Orders in flight; several windows are run in turn.
    #[arg(long, value_delimiter = ',', default_value = "256,2048,16384")]
    in_flight: Vec<usize>,
    /// Threads that decide and submit.
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Let the desk learn from placed orders, as a host does.
    #[arg(long)]
    learn: bool,
    /// Inputs of each kind that the desk keeps for replays; a host keeps 1,000.
    #[arg(long, default_value_t = 0)]
    recorded: u64,
}

#[derive(Debug, Args)]
struct AloneArgs {
    /// Rounds: each runs every variant once.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// What is bought.
    #[arg(long, value_enum, default_value_t = Mix::Hot)]
    what: Mix,
    /// SKUs in the catalogue; 1 for hot.
    #[arg(long, default_value_t = 1_000)]
    skus: usize,
    /// Orders of a run.
    #[arg(long, default_value_t = 200_000)]
    orders: u64,
    /// Orders that are decided together.
    #[arg(long, value_delimiter = ',', default_value = "1,16,256")]
    batches: Vec<usize>,
    /// Only variants whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Debug, Args)]
struct AbuseArgs {
    /// The host's program.
    #[arg(long, default_value = "target/release/onhand")]
    host: PathBuf,
    /// Folder for the data directory.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Purchases of the others a second.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Purchases of the victim, or uploads, a second; below a hundredth of the others' purchases
    /// the breaker stays closed.
    #[arg(long, default_value_t = 4.0)]
    abuse_rate: f64,
    /// Seconds of each part of a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of each row.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of the others.
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Only abuses whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Debug, Args)]
struct JourneyArgs {
    /// The file that `examples/complete-journey/prices.py` wrote.
    file: PathBuf,
    /// The plugin.
    #[arg(long, default_value = "examples/complete-journey/weekly-deals/plugin.wasm")]
    plugin: PathBuf,
}

#[derive(Debug, Args)]
struct WriteArgs {
    /// Where to.
    dir: PathBuf,
    /// SKUs of the class that has offers.
    #[arg(long, value_delimiter = ',')]
    classed: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.scenario {
        Scenario::Cost(args) => cost::cost(cli.json, args),
        Scenario::Alone(args) => alone::alone(cli.json, args),
        Scenario::Abuse(args) => abuse::abuse(args),
        Scenario::Journey(args) => journey::journey(args),
        Scenario::Write(args) => write(args),
    };
    match result {
        Ok(value) if cli.json => println!("{value:#}"),
        Ok(_) => (),
        Err(error) => {
            eprintln!("onhand-policy-figures: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Writes what a host needs for the same policies.
fn write(args: &WriteArgs) -> Result<Value, BenchError> {
    for kind in [Kind::Pricing, Kind::Fraud] {
        let (bundle, config) = policies::sample_bundle(kind)?;
        std::fs::write(args.dir.join(format!("{kind}.onhand")), bundle)?;
        std::fs::write(args.dir.join(format!("{kind}.json")), config)?;
    }
    std::fs::write(args.dir.join("policies.toml"), policies::settings_text(&args.classed))?;
    Ok(Value::Null)
}

/// Lets the disk come to rest between runs, so that one run's writing is not the next one's.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}
