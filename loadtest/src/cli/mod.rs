//! The command line: arguments, progress and exit codes.
//!
//! It is that of `onhand-loadtest`, and of `onhand load` in the host's program.

mod find;
mod scenario;
#[cfg(feature = "shell")]
mod shell;
#[cfg(all(feature = "peers", target_os = "linux"))]
mod versus;
#[cfg(feature = "workers")]
mod worker;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(feature = "shell")]
use clap::CommandFactory as _;
use clap::{Args, Parser, Subcommand};

use crate::{Authority, LoadError, LoadErrorKind, Rate, Target, view};

const ABOUT: &str = "\
Puts load on an Onhand host and then checks the truth.

Users come by a schedule that no slow answer stretches, or as fast as answers come (--max). Latency counts from the intended start. When the load is over, every answer is compared \
with the host's events: no unit sold twice, sold + left = stock, one order for each accepted \
request, the same bytes for the same request, nobody told \"sold out\" while units were there.";

/// Examples and exit codes, for the end of a help text.
pub const HELP: &str = "\
Examples:
  onhand serve --dev --data shop &                      a host to test
  onhand-loadtest run flash-sale --out runs             a ready scenario, with results
  onhand-loadtest init ticket-drop                      a scenario file to change
  onhand-loadtest validate ticket-drop.toml             errors with line and column
  onhand-loadtest find sale.toml --slo 'p99<50ms'       the highest rate that holds
  onhand-loadtest run flash-sale --stock 500 --rate 2k/s --duration 30s
  onhand-loadtest run flash-sale --max --duration 10s --connections 16
  onhand-loadtest replay orders.ndjson --speed 60       recorded baskets, an hour in a minute

Exit codes:
  0 pass   1 error   2 usage   3 threshold failed, or the crowd was not served
  4 limited by the generator   5 truth violated   6 regression
  130 interrupted or terminated (the report is still written)";

#[derive(Debug, Parser)]
#[command(name = "onhand-loadtest", version, about = ABOUT, after_help = HELP)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

/// What the load tester is to do.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario: let the crowd in, then check the truth
    Run(Box<scenario::RunArgs>),
    /// Send the orders of a file: opening stock, then baskets in their order
    Replay(Box<scenario::ReplayArgs>),
    /// Write a ready scenario to start from; without a name, list them
    Init(scenario::InitArgs),
    /// Check scenario files; errors name file, line and column
    Validate(scenario::ValidateArgs),
    /// Print the JSON schema of scenario files
    Schema,
    /// List the kinds of users with their habits
    ListActors,
    /// Write the reports of a run anew from its folder
    Report(scenario::ReportArgs),
    /// Search for the highest rate at which all that is asked holds
    Find(Box<find::FindArgs>),
    /// Drive a share of the load for a coordinator: `run` or `find` with --workers
    #[cfg(feature = "workers")]
    Worker(worker::WorkerArgs),
    /// Print completions for a shell
    #[cfg(feature = "shell")]
    Completions(shell::CompletionsArgs),
    /// Print a page of the manual, such as for `man -l -`
    #[cfg(feature = "shell")]
    Man(shell::ManArgs),
    /// Compare two runs, or shops: `compare onhand redis`
    Compare(scenario::CompareArgs),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse()
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
            crate::InProcess::open(dir, shards)
        } else {
            let made = tempfile::Builder::new().prefix("onhand-loadtest-").tempdir();
            let made = made.map_err(|e| format!("no temporary directory: {e}"))?;
            let inside = crate::InProcess::open(made.path(), shards);
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

/// Returns a flag that the first interrupt or termination sets; the second ends the process.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    // Without the thread an interrupt ends the process at once, which is as good a default.
    let _ = std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while let Some(what) = signal().await {
                let second = seen.swap(true, Ordering::Relaxed);
                view::restore();
                if second {
                    #[cfg(all(feature = "faults", target_os = "linux"))]
                    crate::fault::end_all();
                    std::process::exit(130);
                }
                eprintln!("\n{what}: finishing the report; the same again ends at once");
            }
        });
    });
    stop
}

/// Waits for an interrupt or a termination; `None` where they can't be waited for.
async fn signal() -> Option<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).ok()?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.ok().map(|()| "interrupted"),
            terminated = terminate.recv() => terminated.map(|()| "terminated"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.ok().map(|()| "interrupted")
    }
}

/// Prints to standard output; a reader that has gone away does not change the verdict.
fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()));
}

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    // A pipe or a terminal has no other place to be written first.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, text)
            .map_err(|e| format!("{} can't be written: {e}", path.display()));
    }
    crate::results::folder::write_whole(path, text.as_bytes()).map_err(text_of)
}

/// Usage errors are marked, so that they get their own exit code.
fn text_of(error: LoadError) -> String {
    let mark = if error.kind() == LoadErrorKind::Usage { USAGE_MARK } else { "" };
    format!("{mark}{error}")
}

const USAGE_MARK: &str = "usage: ";

/// Carries out what was asked and returns the exit code.
pub fn execute(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.command {
        Command::Run(args) => scenario::run_scenario(args),
        Command::Init(args) => scenario::init(args),
        Command::Validate(args) => Ok(scenario::validate(args)),
        Command::Schema => Ok(scenario::schema()),
        Command::ListActors => Ok(scenario::list_actors()),
        Command::Report(args) => scenario::report(args),
        #[cfg(feature = "workers")]
        Command::Worker(args) => worker::run_worker(args),
        #[cfg(feature = "shell")]
        Command::Completions(args) => Ok(shell::completions(args, Cli::command())),
        #[cfg(feature = "shell")]
        Command::Man(args) => shell::man(args, Cli::command()),
        Command::Find(args) => find::run_find(args),
        Command::Compare(args) => scenario::compare_runs(args),
        Command::Replay(args) => scenario::replay(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(if error.starts_with(USAGE_MARK) { 2 } else { 1 })
    })
}

/// Reads the arguments of this process and carries them out.
pub fn main() -> ExitCode {
    execute(&Cli::parse().arguments)
}
