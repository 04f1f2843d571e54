//! Arguments, progress and exit codes of the command.

#[cfg(all(feature = "report", feature = "schema"))]
mod scenario;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};
use onhand_loadtest::flash::{self, FlashOptions, Mix};
use onhand_loadtest::replay::{self, Placement, ReplayOptions};
use onhand_loadtest::{
    AckLevel, Authority, LoadError, LoadErrorKind, LoadOptions, Pace, Rate, Shape, Target,
    exit_code, flash_json, flash_text, replay_json, replay_text, view,
};
use serde_json::Value;

const ABOUT: &str = "\
Puts load on an Onhand host and then checks the truth.

Requests start by a schedule that no slow answer stretches (--rate), or as fast as answers come \
(--max). Latency counts from the intended start. When the load is over, every answer is compared \
with the host's events: no unit sold twice, sold + left = stock, one order for each accepted \
request, the same bytes for the same request, nobody told \"sold out\" while units were there.";

const EXAMPLES: &str = "\
Examples:
  onhand serve --dev --data shop &                      a host to test
  onhand-loadtest run flash-sale --out runs             a ready scenario, with results
  onhand-loadtest init ticket-drop                      a scenario file to change
  onhand-loadtest validate ticket-drop.toml             errors with line and column
  onhand-loadtest flash --max --seconds 10              a sale as fast as the host can
  onhand-loadtest flash --rate 5k/s --poisson           by schedule, with honest latency
  onhand-loadtest flash --max --batch 100 --json r.json batches of 100; report for machines
  onhand-loadtest replay orders.ndjson --batch 100      recorded baskets, as fast as possible

Exit codes:
  0 pass   1 error   2 usage   3 threshold failed   4 limited by the generator
  5 truth violated   6 regression   130 interrupted";

#[derive(Debug, Parser)]
#[command(name = "onhand-loadtest", version, about = ABOUT, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Run a scenario: let the crowd in, then check the truth
    #[cfg(all(feature = "report", feature = "schema"))]
    Run(Box<scenario::RunArgs>),
    /// Write a ready scenario to start from; without a name, list them
    #[cfg(all(feature = "report", feature = "schema"))]
    Init(scenario::InitArgs),
    /// Check scenario files; errors name file, line and column
    #[cfg(all(feature = "report", feature = "schema"))]
    Validate(scenario::ValidateArgs),
    /// Print the JSON schema of scenario files
    #[cfg(all(feature = "report", feature = "schema"))]
    Schema,
    /// List the kinds of users with their habits
    #[cfg(all(feature = "report", feature = "schema"))]
    ListActors,
    /// Write the reports of a run anew from its folder
    #[cfg(all(feature = "report", feature = "schema"))]
    Report(scenario::ReportArgs),
    /// Compare two runs
    #[cfg(all(feature = "report", feature = "schema"))]
    Compare(scenario::CompareArgs),
    /// A flash sale: one hot SKU with a limit, duplicates, walk-aways and baskets in vain
    Flash(Box<FlashArgs>),
    /// Orders from an NDJSON file: opening stock, then baskets in their order
    Replay(Box<ReplayArgs>),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlacementArg {
    Sku,
    Location,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// The file; its form is in docs/LOADTEST.md and loadtest/schema/replay-1.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Keep the recorded times (`at_ms`), this many times as fast
    #[arg(long, value_name = "FACTOR", conflicts_with_all = ["rate", "max"])]
    speed: Option<f64>,
    /// Send the first N orders only
    #[arg(long, value_name = "N")]
    orders: Option<u64>,
    /// Cells that the host keeps in one shard: those of a SKU, or those of a location
    #[arg(long, value_enum, default_value_t = PlacementArg::Sku)]
    placement: PlacementArg,
    /// Read all orders before the first is sent, so that reading is no part of the figures
    #[arg(long)]
    preload: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ack {
    Memory,
    Group,
    Strict,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Where the load goes: http://HOST:PORT, or inproc for an engine inside this process
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    target: String,
    /// Data directory of an engine inside this process [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Shards of an engine inside this process
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Requests a second by schedule (open loop), such as 500/s or 5k/s
    #[arg(long, conflicts_with = "max", value_parser = parse_rate)]
    rate: Option<Rate>,
    /// As fast as answers come (closed loop); the default
    #[arg(long)]
    max: bool,
    /// Spread the starts of --rate as independent arrivals, not evenly
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64, value_name = "N")]
    connections: usize,
    /// Generator threads; more take processors from a host on the same machine
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// Send N requests as one POST /v1/batch
    #[arg(long, default_value_t = 1, value_name = "N")]
    batch: usize,
    /// Send N requests on a connection before reading the answers
    #[arg(long, default_value_t = 1, value_name = "N")]
    pipeline: usize,
    /// Level of acknowledgement to ask for
    #[arg(long, value_enum, default_value_t = Ack::Group)]
    ack: Ack,
    /// Time limit of one exchange in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    timeout_ms: u64,
    /// Seed of all that is random: the same seed sends the same requests [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Environment variable that holds the API key
    #[arg(long, default_value = "ONHAND_KEY", value_name = "NAME")]
    key_env: String,
    /// Write the report as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Don't read the events and check the truth afterwards
    #[arg(long)]
    no_truth: bool,
    /// Exit with 0 although the generator, not the target, set the limit
    #[arg(long)]
    allow_generator_limit: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct FlashArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Length of the sale in seconds
    #[arg(long, alias = "duration", default_value_t = 10.0, value_name = "S")]
    seconds: f64,
    /// Prefix of SKU codes and keys; a host takes a prefix once [default: flash-SEED]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Units of the hot SKU
    #[arg(long, default_value_t = 10_000, value_name = "UNITS")]
    stock: u32,
    /// Most units of the hot SKU for one customer; 0 for no limit
    #[arg(long, default_value_t = 2, value_name = "UNITS")]
    limit: u32,
    /// Further SKUs, drawn by Zipf's law
    #[arg(long, default_value_t = 20, value_name = "N")]
    skus: u32,
    /// Units of each further SKU
    #[arg(long, default_value_t = 1_000_000, value_name = "UNITS")]
    sku_stock: u32,
    /// Share of requests for the hot SKU
    #[arg(long, default_value_t = 0.8, value_name = "SHARE")]
    hot_share: f64,
    /// Exponent of Zipf's law
    #[arg(long, default_value_t = 1.1, value_name = "S")]
    zipf: f64,
    /// Customers to draw from
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    customers: u32,
    /// Share of requests sent again with the same key, half of them at the same moment
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    duplicates: f64,
    /// Share of requests that reserve first: half place, a quarter release, a quarter walk away
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    reserves: f64,
    /// Share of baskets with a second line that is sold out
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    aborts: f64,
    /// Time to live of reservations in milliseconds
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    ttl_ms: u64,
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse()
}

impl LoadArgs {
    fn options(&self, scratch: &mut Scratch) -> Result<LoadOptions, String> {
        let mut options = LoadOptions::new(self.target(scratch)?);
        let shape = if self.poisson { Shape::Poisson } else { Shape::Uniform };
        options.pace = self.rate.map_or(Pace::Max, |rate| Pace::Open { rate, shape });
        options.connections = self.connections;
        options.threads = self.threads;
        options.batch = self.batch;
        options.pipeline = self.pipeline;
        options.timeout = Duration::from_millis(self.timeout_ms);
        options.seed = self.seed.unwrap_or_else(seed_of_time);
        options.api_key = std::env::var(&self.key_env).ok().filter(|key| !key.is_empty());
        options.truth = !self.no_truth;
        options.ack = match self.ack {
            Ack::Memory => AckLevel::Memory,
            Ack::Group => AckLevel::Group,
            Ack::Strict => AckLevel::Strict,
        };
        options.stop = stop_on_interrupt();
        if !self.quiet {
            options.progress = Some(view::live("load test"));
        }
        Ok(options)
    }

    fn target(&self, scratch: &mut Scratch) -> Result<Target, String> {
        scratch.target(&self.target, self.data.as_deref(), self.shards)
    }

    /// Writes the reports and returns the exit code.
    fn finish(&self, text: &str, json: &Value, code: u8) -> Result<ExitCode, String> {
        let to_stdout = self.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let mut out = std::io::stdout().lock();
        let written = if to_stdout { writeln!(out, "{json:#}") } else { write!(out, "{text}") };
        // A reader that has gone away does not change the verdict.
        drop(written);
        if let Some(path) = self.json.as_ref().filter(|_| !to_stdout) {
            std::fs::write(path, format!("{json:#}\n"))
                .map_err(|e| format!("report can't be written to {}: {e}", path.display()))?;
        }
        Ok(ExitCode::from(code))
    }
}

/// A temporary data directory, removed when the run is over.
#[derive(Default)]
struct Scratch {
    #[cfg(feature = "inproc")]
    dir: Option<tempfile::TempDir>,
}

impl Scratch {
    /// Opens the target of a URL.
    fn target(
        &mut self,
        url: &str,
        data: Option<&std::path::Path>,
        shards: Option<u16>,
    ) -> Result<Target, String> {
        if url == "inproc" {
            return self.open(data, shards.unwrap_or(1));
        }
        if data.is_some() || shards.is_some() {
            return Err(format!("{USAGE_MARK}--data and --shards go with --target inproc"));
        }
        Ok(Target::Http(Authority::parse(url).map_err(text_of)?))
    }

    #[cfg(feature = "inproc")]
    fn open(&mut self, data: Option<&std::path::Path>, shards: u16) -> Result<Target, String> {
        let inside = if let Some(dir) = data {
            onhand_loadtest::InProcess::open(dir, shards)
        } else {
            let made = tempfile::Builder::new().prefix("onhand-loadtest-").tempdir();
            let made = made.map_err(|e| format!("no temporary directory: {e}"))?;
            let inside = onhand_loadtest::InProcess::open(made.path(), shards);
            self.dir = Some(made);
            inside
        };
        inside.map(Target::InProc).map_err(text_of)
    }

    #[cfg(not(feature = "inproc"))]
    #[expect(clippy::unused_self, reason = "with the feature it keeps the directory")]
    fn open(&mut self, _: Option<&std::path::Path>, _: u16) -> Result<Target, String> {
        Err(format!(
            "{USAGE_MARK}this build has no target inside the process; build it with \
             `--features inproc`"
        ))
    }
}

fn seed_of_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(1) % 1_000_000_000
}

/// Returns a flag that the first interrupt sets; the second ends the process.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    // Without the thread an interrupt ends the process at once, which is as good a default.
    let _ = std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if seen.swap(true, Ordering::Relaxed) {
                    view::restore();
                    std::process::exit(130);
                }
                view::restore();
                eprintln!("\ninterrupted: finishing the report; interrupt again to end at once");
            }
        });
    });
    stop
}

fn run_flash(args: &FlashArgs) -> Result<ExitCode, String> {
    let mut scratch = Scratch::default();
    let options = FlashOptions {
        load: args.load.options(&mut scratch)?,
        seconds: args.seconds,
        run: args.run.clone(),
        stock: args.stock,
        limit: (args.limit > 0).then_some(args.limit),
        skus: args.skus,
        sku_stock: args.sku_stock,
        hot_share: args.hot_share,
        zipf: args.zipf,
        customers: args.customers,
        mix: Mix { duplicate: args.duplicates, reserve: args.reserves, abort: args.aborts },
        ttl_ms: args.ttl_ms,
    };
    let report = flash::run(options).map_err(text_of)?;
    let code = exit_code(&report.load, args.load.allow_generator_limit);
    args.load.finish(&flash_text(&report), &flash_json(&report, code), code)
}

fn run_replay(args: &ReplayArgs) -> Result<ExitCode, String> {
    let mut scratch = Scratch::default();
    let options = ReplayOptions {
        load: args.load.options(&mut scratch)?,
        file: args.file.clone(),
        speed: args.speed,
        orders: args.orders,
        placement: match args.placement {
            PlacementArg::Sku => Placement::Sku,
            PlacementArg::Location => Placement::Location,
        },
        preload: args.preload,
    };
    let report = replay::run(options).map_err(text_of)?;
    let code = exit_code(&report.load, args.load.allow_generator_limit);
    args.load.finish(&replay_text(&report), &replay_json(&report, code), code)
}

/// Prints to standard output; a reader that has gone away does not change the verdict.
#[cfg(all(feature = "report", feature = "schema"))]
fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()));
}

/// Usage errors are marked, so that they get their own exit code.
fn text_of(error: LoadError) -> String {
    let mark = if error.kind() == LoadErrorKind::Usage { USAGE_MARK } else { "" };
    format!("{mark}{error}")
}

const USAGE_MARK: &str = "usage: ";

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().scenario {
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Run(args) => scenario::run_scenario(&args),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Init(args) => scenario::init(&args),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Validate(args) => Ok(scenario::validate(&args)),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Schema => Ok(scenario::schema()),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::ListActors => Ok(scenario::list_actors()),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Report(args) => scenario::report(&args),
        #[cfg(all(feature = "report", feature = "schema"))]
        Scenario::Compare(args) => scenario::compare_runs(&args),
        Scenario::Flash(args) => run_flash(&args),
        Scenario::Replay(args) => run_replay(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(if error.starts_with(USAGE_MARK) { 2 } else { 1 })
    })
}
