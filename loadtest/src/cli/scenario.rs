//! The commands around scenario files: run, init, validate, schema, list-actors, report, compare.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use onhand_loadtest::results::Folder;
use onhand_loadtest::results::compare::{CompareOptions, Recorded, compare};
use onhand_loadtest::results::folder::run_json;
use onhand_loadtest::scenario::{ActorKind, READY, Scenario, ready};
use onhand_loadtest::{
    RunOptions, comparison_html, comparison_json, comparison_text, prometheus_text, run, run_text,
    view, write_reports,
};

use super::{Scratch, USAGE_MARK, out, seed_of_time, stop_on_interrupt, text_of};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A scenario file, or the name of a ready one; `init` lists them
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Where the load goes, against the scenario's own: http://HOST:PORT, or inproc
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Seed of all that is random [default: the scenario's, else the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prefix of SKU codes and keys; a host takes a prefix once [default: SCENARIO-SEED]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Make a folder with the results in this one
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What must hold beside the scenario's thresholds, such as 'buy.intended.p99 < 50ms'
    #[arg(long, value_name = "EXPRESSION")]
    threshold: Vec<String>,
    /// Write the record as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Connections, against the scenario's own
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Generator threads, against the scenario's own
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Data directory of an engine inside this process [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Shards of an engine inside this process
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Don't read the events and check the truth afterwards
    #[arg(long)]
    no_truth: bool,
    /// Pass although the generator, not the target, set the limit
    #[arg(long)]
    allow_generator_limit: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

/// Runs a scenario.
pub(super) fn run_scenario(args: &RunArgs) -> Result<ExitCode, String> {
    let scenario = Scenario::open(&args.scenario).map_err(text_of)?;
    if !args.quiet {
        scenario.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let mut scratch = Scratch::default();
    let url = args.target.clone().or_else(|| scenario.url.clone());
    let url = url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let target = scratch.target(&url, args.data.as_deref(), args.shards)?;
    let mut options = RunOptions::new(&scenario, target);
    options.load.seed = args.seed.or(scenario.seed).unwrap_or_else(seed_of_time);
    options.load.api_key = std::env::var(&scenario.key_env).ok().filter(|key| !key.is_empty());
    options.load.connections = args.connections.unwrap_or(options.load.connections);
    options.load.threads = args.threads.unwrap_or(options.load.threads);
    options.load.truth &= !args.no_truth;
    options.load.stop = stop_on_interrupt();
    if !args.quiet {
        options.load.progress = Some(view::live(&format!("{} on {url}", scenario.name)));
    }
    options.run.clone_from(&args.run);
    options.out.clone_from(&args.out);
    options.thresholds.clone_from(&args.threshold);
    options.allow_generator_limit = args.allow_generator_limit;
    let outcome = run(&scenario, options).map_err(text_of)?;
    let json = run_json(&outcome.run).map_err(text_of)?;
    match &args.json {
        Some(path) if path.as_os_str() == "-" => out(&json),
        other => {
            out(&run_text(&outcome.run));
            if let Some(path) = other {
                write(path, &json)?;
            }
        }
    }
    if let (Some(folder), false) = (&outcome.folder, args.quiet) {
        eprintln!("results in {}", folder.path().display());
    }
    Ok(ExitCode::from(outcome.run.exit.code))
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The ready scenario to start from; without one they are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Where it is written, or - for standard output [default: NAME.toml]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes a ready scenario to a file that is not there yet.
pub(super) fn init(args: &InitArgs) -> Result<ExitCode, String> {
    let Some(name) = &args.name else {
        let rows = READY.iter().map(|ready| format!("{:<15} {}\n", ready.name, ready.about));
        out(&rows.collect::<String>());
        return Ok(ExitCode::SUCCESS);
    };
    let known = || READY.map(|ready| ready.name).join(", ");
    let found = ready(name)
        .ok_or_else(|| format!("{USAGE_MARK}no ready scenario is named {name:?}: {}", known()))?;
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if path.as_os_str() == "-" {
        out(found.text);
        return Ok(ExitCode::SUCCESS);
    }
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let written = made.and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(found.text.as_bytes())
    });
    written.map_err(|e| format!("{} can't be made: {e}", path.display()))?;
    out(&format!("{} written; run it with `onhand-loadtest run {0}`\n", path.display()));
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Scenario files, or names of ready ones
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
}

/// Checks scenarios and says what each would do.
pub(super) fn validate(args: &ValidateArgs) -> ExitCode {
    let mut wrong = 0;
    for path in &args.scenarios {
        match Scenario::open(path) {
            Ok(scenario) => {
                let shown = path.display();
                let seconds = |length: Duration| format!("{:.1} s", length.as_secs_f64());
                let length = scenario.length().map_or("a trace".to_owned(), seconds);
                out(&format!("{shown}: ok: {}, {length}\n", scenario.name));
                scenario.notes.iter().for_each(|note| out(&format!("  note: {note}\n")));
            }
            Err(error) => {
                wrong += 1;
                eprintln!("{error}");
            }
        }
    }
    ExitCode::from(u8::from(wrong > 0))
}

/// Prints the JSON schema of scenario files.
pub(super) fn schema() -> ExitCode {
    out(&onhand_loadtest::scenario::schema_json());
    ExitCode::SUCCESS
}

/// Prints the kinds of users with their habits.
pub(super) fn list_actors() -> ExitCode {
    let rows = ActorKind::ALL.map(|kind| format!("{:<15} {}\n", kind.name(), kind.habits()));
    out(&rows.concat());
    ExitCode::SUCCESS
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The folder of a run
    #[arg(value_name = "RUN")]
    folder: PathBuf,
    /// Print the figures for Prometheus instead of text
    #[arg(long)]
    prometheus: bool,
}

/// Writes the reports of a run anew and prints one.
pub(super) fn report(args: &ReportArgs) -> Result<ExitCode, String> {
    let outcome = write_reports(&args.folder).map_err(text_of)?;
    let text = if args.prometheus { prometheus_text } else { run_text };
    out(&text(&outcome.run));
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The folder of the baseline
    #[arg(value_name = "A")]
    baseline: PathBuf,
    /// The folder of the run that is compared with it
    #[arg(value_name = "B")]
    run: PathBuf,
    /// Exit with 6 if B is worse
    #[arg(long)]
    fail_on_regression: bool,
    /// Allow different seeds
    #[arg(long)]
    any_seed: bool,
    /// Allow different targets
    #[arg(long)]
    any_target: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with both runs to a file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Compares two runs.
pub(super) fn compare_runs(args: &CompareArgs) -> Result<ExitCode, String> {
    let read = |path: &Path| Recorded::read(&Folder::open(path)?);
    let a = read(&args.baseline).map_err(text_of)?;
    let b = read(&args.run).map_err(text_of)?;
    let options = CompareOptions {
        seeds_may_differ: args.any_seed,
        targets_may_differ: args.any_target,
        ..CompareOptions::default()
    };
    let compared = compare(&a, &b, options).map_err(text_of)?;
    if let Some(path) = &args.html {
        let page = comparison_html(&compared, &a, &b).map_err(text_of)?;
        write(path, &page)?;
    }
    if args.json {
        out(&comparison_json(&compared).map_err(text_of)?);
    } else {
        out(&comparison_text(&compared));
    }
    Ok(ExitCode::from(compared.exit_code(args.fail_on_regression)))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{} can't be written: {e}", path.display()))
}
