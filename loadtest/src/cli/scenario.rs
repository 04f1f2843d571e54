//! The commands around scenario files: run, init, validate, schema, list-actors, report, compare.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[cfg(all(feature = "faults", target_os = "linux"))]
use crate::fault::HostCommand;
use crate::results::Folder;
use crate::results::compare::{CompareOptions, Recorded, compare};
use crate::results::folder::run_json;
use crate::results::run::{EXIT_ERROR, EXIT_PASS};
use crate::results::series::series_csv;
#[cfg(all(feature = "faults", target_os = "linux"))]
use crate::scenario::FaultAction;
use crate::scenario::{ActorKind, Fault, READY, Scenario, Setting, ready};
use crate::{
    LoadError, LoadOptions, OnProgress, Outcome, Rate, RunOptions, Trust, comparison_html,
    comparison_json, comparison_text, prometheus_text, run, run_text, view, write_reports,
};
use clap::Args;

use super::{
    Scratch, USAGE_MARK, out, parse_rate, seed_of_time, stop_on_interrupt, text_of, write,
};

/// Whose certificates are trusted.
#[derive(Debug, Args)]
pub(super) struct TrustArgs {
    /// PEM file of the certificate that has signed the target's own, for https://
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate: anybody in between may read everything, the API key included
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

impl TrustArgs {
    /// Returns whom these arguments trust, if they say so; warns of what is not safe.
    pub(super) fn trust(&self) -> Option<Trust> {
        if self.insecure {
            eprintln!(
                "WARNING: --insecure takes any certificate: whoever is between this machine and the \
                 target may read and change everything, the API key included"
            );
            return Some(Trust::Anything);
        }
        self.ca.clone().map(Trust::Ca)
    }
}

/// Where the load goes, and what of the scenario is changed for it.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// Set a member of the scenario, such as `target.batch=100` or `stage.0.peak=5k/s`
    #[arg(long, value_name = "MEMBER=VALUE")]
    set: Vec<String>,
    /// Where the load goes, against the scenario's own: http://HOST:PORT, https://HOST:PORT,
    /// inproc, or a peer that is started for the run: redis, postgres
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Seed of all that is random [default: the scenario's, else the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prefix of SKU codes and keys; a host takes a prefix once [default: SCENARIO-SEED]
    #[arg(long, value_name = "NAME")]
    pub(super) run: Option<String>,
    /// Connections, against the scenario's own
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Generator threads, against the scenario's own
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Items of one POST /v1/batch, against the scenario's own
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Requests that a connection sends before it reads, against the scenario's own
    #[arg(long, value_name = "N")]
    pipeline: Option<usize>,
    /// Which HTTP is spoken, against the scenario's own
    #[arg(long, value_name = "VERSION", value_parser = ["1.1", "2"])]
    http: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Data directory of an engine inside this process [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Shards of an engine inside this process
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Don't read the events and check the truth afterwards
    #[arg(long)]
    no_truth: bool,
    #[cfg(feature = "workers")]
    #[command(flatten)]
    workers: super::worker::WorkersArgs,
    /// Progress as plain lines, also on a terminal that could show the live view
    #[arg(long)]
    pub(super) plain: bool,
    /// No progress
    #[arg(long, short)]
    pub(super) quiet: bool,
}

impl TargetArgs {
    /// Returns what shows the progress of a run with this title.
    pub(super) fn progress(&self, title: &str) -> Option<OnProgress> {
        let shown = || if self.plain { view::plain() } else { view::live(title) };
        (!self.quiet).then(shown)
    }

    /// Adds what these arguments set of the scenario; what is set by name comes last and wins.
    pub(super) fn settings(&self, mut settings: Vec<Setting>) -> Result<Vec<Setting>, LoadError> {
        for (name, value) in [
            ("connections", self.connections),
            ("threads", self.threads),
            ("batch", self.batch),
            ("pipeline", self.pipeline),
        ] {
            let value = value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
            settings.extend(value.map(|value| Setting::new(&["target", name], value)));
        }
        let http = self.http.as_deref();
        settings.extend(http.map(|http| Setting::new(&["target", "http"], http)));
        for text in &self.set {
            settings.push(Setting::parse(text)?);
        }
        Ok(settings)
    }

    /// Returns the target that was named.
    fn url(&self, scenario: &Scenario) -> Option<String> {
        self.target.clone().or_else(|| scenario.url.clone())
    }

    /// Returns the options of a scenario's run with these changes: the load goes to the target that
    /// was named, or a peer that is started for it, else to a host of the load tester's own.
    pub(super) fn aim(
        &self,
        scenario: &Scenario,
        faults: &[Fault],
        scratch: &mut Scratch,
    ) -> Result<RunOptions, String> {
        #[cfg(all(feature = "faults", target_os = "linux"))]
        let host = own_host(scenario, faults, self.url(scenario).as_deref()).map_err(text_of)?;
        #[cfg(all(feature = "faults", target_os = "linux"))]
        let own = host.as_ref().map(|host| format!("http://{}", host.authority().as_str()));
        #[cfg(not(all(feature = "faults", target_os = "linux")))]
        let (own, _) = (None, faults);
        let options = match peer_options(scenario, self)? {
            Some(options) => options,
            None => self.options(scenario, own, scratch)?,
        };
        #[cfg(all(feature = "faults", target_os = "linux"))]
        let options = RunOptions { host, ..options };
        Ok(options)
    }

    fn options(
        &self,
        scenario: &Scenario,
        own: Option<String>,
        scratch: &mut Scratch,
    ) -> Result<RunOptions, String> {
        let url = self.url(scenario).or(own);
        let url = url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let target = scratch.target(&url, self.data.as_deref(), self.shards)?;
        let mut options = RunOptions::new(scenario, target);
        self.change(scenario, &mut options.load)?;
        Ok(options)
    }

    /// Makes the changes that do not depend on the target.
    fn change(&self, scenario: &Scenario, load: &mut LoadOptions) -> Result<(), String> {
        load.seed = self.seed.or(scenario.seed).unwrap_or_else(seed_of_time);
        load.api_key = std::env::var(&scenario.key_env).ok().filter(|key| !key.is_empty());
        if let Some(trust) = self.trust.trust() {
            load.wire.trust = trust;
        }
        load.truth &= !self.no_truth;
        #[cfg(feature = "workers")]
        {
            load.workers = self.workers.workers()?;
        }
        load.stop = stop_on_interrupt();
        Ok(())
    }
}

/// Shown below the options.
const CODES: &str = "\
Exit codes:
  0 pass   1 error   2 usage   3 threshold failed, or the crowd was not served
  4 limited by the generator   5 truth violated   6 worse than the baseline (--fail-on-regression)
  130 interrupted or terminated (the report is still written)";

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub(super) struct RunArgs {
    /// A scenario file, or the name of a ready one; `init` lists them
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Units of the hot SKU (`stock.hot_units`)
    #[arg(long, value_name = "UNITS")]
    stock: Option<u32>,
    /// Most units of the hot SKU for one customer, 0 for no limit (`stock.hot_limit`)
    #[arg(long, value_name = "UNITS")]
    limit: Option<u32>,
    /// Customers to draw from, 0 makes every user one of its own (customers.count)
    #[arg(long, value_name = "N")]
    buyers: Option<u32>,
    /// One stage with so many users a second, such as 500/s or 5k/s, in place of the scenario's
    #[arg(long, value_parser = parse_rate, conflicts_with = "max")]
    rate: Option<Rate>,
    /// One stage as fast as answers come (closed loop), in place of the scenario's
    #[arg(long)]
    max: bool,
    /// Length of that stage [default: that of the scenario, else 10s]
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    record: RecordArgs,
}

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub(super) struct ReplayArgs {
    /// The file; its form is in docs/LOADTEST.md and loadtest/schema/replay-1.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Keep the recorded times (`at_ms`), this many times as fast
    #[arg(long, value_name = "FACTOR", conflicts_with = "rate")]
    speed: Option<f64>,
    /// Orders a second, such as 500/s or 5k/s [default: as fast as answers come]
    #[arg(long, value_parser = parse_rate)]
    rate: Option<Rate>,
    /// Send the first N orders only
    #[arg(long, value_name = "N")]
    orders: Option<u64>,
    /// Cells that the host keeps in one shard: those of a SKU, or those of a location
    #[arg(long, value_parser = ["sku", "location"], default_value = "sku")]
    placement: String,
    /// Read all orders before the first is sent, so that reading is no part of the figures
    #[arg(long)]
    preload: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    record: RecordArgs,
}

/// What comes of a run.
#[derive(Debug, Args)]
struct RecordArgs {
    /// Make a folder with the results in this one
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What must hold beside the scenario's thresholds, such as 'buy.intended.p99 < 50ms'; repeat
    /// it for several
    #[arg(long, value_name = "EXPRESSION")]
    threshold: Vec<String>,
    /// Write the record as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the seconds as CSV to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the figures for Prometheus to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Compare with the run of this folder afterwards; without a seed, its seed is taken
    #[arg(long, value_name = "FOLDER")]
    baseline: Option<PathBuf>,
    /// Exit with 6 if the run is worse than its baseline
    #[arg(long, requires = "baseline")]
    fail_on_regression: bool,
    /// Pass although the generator, not the target, set the limit
    #[arg(long)]
    allow_generator_limit: bool,
}

impl RunArgs {
    /// Returns what these arguments set of the scenario.
    fn settings(&self) -> Result<Vec<Setting>, LoadError> {
        let number = |path: &[&str], value: Option<u32>| {
            value.map(|value| Setting::new(path, i64::from(value)))
        };
        let mut settings: Vec<Setting> = [
            number(&["stock", "hot_units"], self.stock),
            number(&["stock", "hot_limit"], self.limit),
            number(&["customers", "count"], self.buyers),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.rate.is_none() && !self.max {
            return match self.duration {
                None => Ok(settings),
                Some(_) => Err(LoadError::usage("--duration goes with --rate or --max")),
            };
        }
        let length = match &self.duration {
            Some(length) => length.clone(),
            None => {
                let length = Scenario::open(&self.scenario)?.length();
                format!("{}ms", length.unwrap_or(STAGE_LENGTH).as_millis())
            }
        };
        let rate = self.rate.map(|rate| format!("{}/s", rate.value()));
        let mut stage = vec![("shape", if self.max { "max" } else { "hold" }), ("for", &length)];
        stage.extend(rate.as_ref().map(|rate| ("rate", rate.as_str())));
        settings.push(Setting::only_stage(&stage));
        Ok(settings)
    }
}

/// Length of the only stage where neither arguments nor scenario say one.
const STAGE_LENGTH: Duration = Duration::from_secs(10);

/// Runs a scenario.
pub(super) fn run_scenario(args: &RunArgs) -> Result<ExitCode, String> {
    let settings = args.settings().and_then(|settings| args.target.settings(settings));
    let settings = settings.map_err(text_of)?;
    let scenario = Scenario::open_with(&args.scenario, &settings).map_err(text_of)?;
    run_and_record(&scenario, &args.target, &args.record)
}

/// Runs a scenario and writes what came of it.
fn run_and_record(
    scenario: &Scenario,
    target: &TargetArgs,
    args: &RecordArgs,
) -> Result<ExitCode, String> {
    if args.to_stdout() > 1 {
        let text = "only one of --json, --csv and --prometheus can be standard output";
        return Err(format!("{USAGE_MARK}{text}"));
    }
    if !target.quiet {
        scenario.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let baseline = args.baseline(scenario)?;
    let mut scratch = Scratch::default();
    let mut options = target.aim(scenario, &scenario.faults, &mut scratch)?;
    let url = options.load.target.to_string();
    if let Some(warning) = options.warning(scenario).filter(|_| !target.quiet) {
        eprintln!("warning: {warning}");
    }
    options.load.progress = target.progress(&format!("{} on {url}", scenario.name));
    options.run.clone_from(&target.run);
    options.out.clone_from(&args.out);
    options.thresholds.clone_from(&args.threshold);
    options.allow_generator_limit = args.allow_generator_limit;
    let temporary = match &baseline {
        Some((_, baseline)) => {
            if target.seed.is_none() && scenario.seed.is_none() {
                options.load.seed = baseline.run.scenario.seed;
            }
            // Runs are compared by their folders.
            args.out.is_none().then(tempfile::tempdir).transpose()
        }
        None => Ok(None),
    };
    let temporary = temporary.map_err(|e| format!("no temporary directory: {e}"))?;
    options.out = options.out.or(temporary.as_ref().map(|dir| dir.path().to_owned()));
    let outcome = run(scenario, options).map_err(text_of)?;
    let unwritten = args.tell(&outcome)?;
    if let (Some(folder), false, None) = (&outcome.folder, target.quiet, &temporary) {
        eprintln!("results in {}", folder.path().display());
    }
    unwritten.iter().for_each(|error| eprintln!("error: {error}"));
    let regressed = match &baseline {
        Some(baseline) => args.compare(baseline, &outcome)?,
        None => EXIT_PASS,
    };
    // What the run found is told by its code all the same: it is graver.
    let unwritten = u8::from(unwritten.is_some());
    let codes = [outcome.run.exit.code, unwritten, regressed];
    Ok(ExitCode::from(codes.into_iter().find(|code| *code != EXIT_PASS).unwrap_or(EXIT_PASS)))
}

/// Returns whether a file is standard output.
fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl RecordArgs {
    /// Reads the run to compare with, before anything is done.
    fn baseline(&self, scenario: &Scenario) -> Result<Option<(PathBuf, Recorded)>, String> {
        let Some(path) = &self.baseline else { return Ok(None) };
        let read = Folder::open(path).and_then(|folder| Recorded::read(&folder));
        let baseline = read.map_err(text_of)?;
        if baseline.run.scenario.hash != scenario.hash() {
            return Err(format!(
                "{USAGE_MARK}baseline {} asked another load than this scenario with these options: \
                 its hash is {:.12}, this one's {:.12}; run the scenario as it was, which is \
                 scenario.text of its run.json",
                path.display(),
                baseline.run.scenario.hash,
                scenario.hash()
            ));
        }
        Ok(Some((path.clone(), baseline)))
    }

    /// Writes and prints what came of a run; the first that could not be written is returned.
    fn tell(&self, outcome: &Outcome) -> Result<Option<String>, String> {
        let json = run_json(&outcome.run).map_err(text_of)?;
        let (csv, samples) = (series_csv(&outcome.series), prometheus_text(&outcome.run));
        let mut unwritten = None;
        for (path, text) in [(&self.json, &json), (&self.csv, &csv), (&self.prometheus, &samples)] {
            match path {
                Some(path) if is_stdout(path) => out(text),
                Some(path) => unwritten = unwritten.or(write(path, text).err()),
                None => (),
            }
        }
        if self.to_stdout() == 0 {
            out(&run_text(&outcome.run));
        }
        Ok(unwritten)
    }

    /// Returns how many files are to be standard output.
    fn to_stdout(&self) -> usize {
        let files = [&self.json, &self.csv, &self.prometheus];
        files.into_iter().flatten().filter(|path| is_stdout(path)).count()
    }

    /// Compares a run with its baseline, prints what came of it and returns the exit code of that.
    fn compare(
        &self,
        (path, baseline): &(PathBuf, Recorded),
        outcome: &Outcome,
    ) -> Result<u8, String> {
        let Some(folder) = &outcome.folder else { return Ok(EXIT_PASS) };
        let run = Recorded::read(folder).map_err(text_of)?;
        match compare(baseline, &run, CompareOptions::default()) {
            Ok(compared) => {
                let text = comparison_text(&compared);
                if self.to_stdout() > 0 {
                    eprint!("{text}");
                } else {
                    out(&format!("\n{text}"));
                }
                Ok(compared.exit_code(self.fail_on_regression))
            }
            // A run that failed has said why, and need not be like its baseline.
            Err(error) => {
                eprintln!("no comparison with {}: {error}", path.display());
                let asked = self.fail_on_regression && outcome.run.exit.code == EXIT_PASS;
                Ok(if asked { EXIT_ERROR } else { EXIT_PASS })
            }
        }
    }
}

/// The scenario of recorded orders; the file is set.
const REPLAY: &str = "schema = 1\nname = \"replay\"\n\
                      [[stage]]\nshape = \"trace\"\nfile = \"orders.ndjson\"\n";

/// Sends the orders of a file.
pub(super) fn replay(args: &ReplayArgs) -> Result<ExitCode, String> {
    let file = args.file.to_str().ok_or_else(|| {
        format!("{USAGE_MARK}{} is no text; rename the file", args.file.display())
    })?;
    let of_stage = |name: &str| ["stage".to_owned(), "0".to_owned(), name.to_owned()];
    let mut settings = Vec::new();
    let mut set = |name: &str, value: toml::Value| {
        settings.push(Setting::new(&of_stage(name).each_ref().map(String::as_str), value));
    };
    set("file", file.into());
    match (args.speed, args.rate) {
        (Some(speed), _) => set("speed", speed.into()),
        (None, Some(rate)) => set("rate", format!("{}/s", rate.value()).into()),
        (None, None) => set("pace", "max".into()),
    }
    if let Some(orders) = args.orders {
        let orders = i64::try_from(orders).unwrap_or(i64::MAX);
        set("orders", orders.into());
    }
    set("placement", args.placement.as_str().into());
    set("preload", args.preload.into());
    let settings = args.target.settings(settings).map_err(text_of)?;
    let scenario = Scenario::read_with(REPLAY, "replay.toml", &settings).map_err(text_of)?;
    run_and_record(&scenario, &args.target, &args.record)
}

/// Starts the peer that a target names, and returns the options of a load on it.
#[cfg(all(feature = "peers", target_os = "linux"))]
fn peer_options(scenario: &Scenario, args: &TargetArgs) -> Result<Option<RunOptions>, String> {
    use crate::peer::{PeerKind, PeerServer, check};
    let target = args.url(scenario);
    let named = |kind: &PeerKind| target.as_deref() == Some(kind.name());
    let Some(kind) = PeerKind::ALL.into_iter().find(named) else { return Ok(None) };
    check(kind, scenario).map_err(text_of)?;
    let connections = RunOptions::connections(scenario);
    let server = PeerServer::start(kind, connections).map_err(text_of)?;
    let mut options = RunOptions::on_peer(scenario, server).map_err(text_of)?;
    args.change(scenario, &mut options.load)?;
    Ok(Some(options))
}

#[cfg(not(all(feature = "peers", target_os = "linux")))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it starts a server")]
fn peer_options(_: &Scenario, _: &TargetArgs) -> Result<Option<RunOptions>, String> {
    Ok(None)
}

/// Prepares the host of a scenario that has one of its own, unless another target is named.
#[cfg(all(feature = "faults", target_os = "linux"))]
fn own_host(
    scenario: &Scenario,
    faults: &[Fault],
    url: Option<&str>,
) -> Result<Option<HostCommand>, crate::LoadError> {
    if url.is_some() || !scenario.starts_host() {
        return Ok(None);
    }
    let disk = faults.iter().any(|fault| fault.action == FaultAction::DiskFull);
    HostCommand::new(scenario.command.as_deref(), disk).map(Some)
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

/// What a new scenario file says to its editor.
const EDITORS: &str = "\
# Editors complete this file if the line below names a schema that is there; this writes it:
#   onhand-loadtest schema > scenario-1.json
#:schema ./scenario-1.json
";

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
    let text = format!("{EDITORS}{}", found.text);
    if path.as_os_str() == "-" {
        out(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let written = made.and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(text.as_bytes())
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
    out(&crate::scenario::schema_json());
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
    /// Folders of two runs, the baseline first; or shops to run a scenario against: onhand, redis,
    /// postgres, http://HOST:PORT
    #[arg(value_name = "A B", required = true, num_args = 2..)]
    pub(super) names: Vec<PathBuf>,
    /// Shops: the scenario, a file or the name of a ready one
    #[arg(long, default_value = "side-by-side", value_name = "SCENARIO")]
    pub(super) scenario: PathBuf,
    /// Shops: how often each is run, in turn with the others
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(super) rounds: u32,
    /// Shops: seed of all that is random [default: the scenario's, else the time]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Shops: make a folder with the results of each run in this one
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Shops: pass although the generator set the limit
    #[arg(long)]
    pub(super) allow_generator_limit: bool,
    /// Shops: no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Folders: exit with 6 if B is worse
    #[arg(long)]
    fail_on_regression: bool,
    /// Folders: allow different seeds
    #[arg(long)]
    any_seed: bool,
    /// Folders: allow different targets
    #[arg(long)]
    any_target: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folders: write a page with both runs to a file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Compares two runs, or shops.
pub(super) fn compare_runs(args: &CompareArgs) -> Result<ExitCode, String> {
    #[cfg(all(feature = "peers", target_os = "linux"))]
    if super::versus::shops(&args.names) {
        return super::versus::compare_shops(args);
    }
    #[cfg(all(feature = "peers", target_os = "linux"))]
    if let Some(name) = super::versus::stranger(&args.names) {
        return Err(format!(
            "{USAGE_MARK}{} is neither a shop (onhand, redis, postgres, or http://HOST:PORT) nor a \
             folder of a run",
            name.display()
        ));
    }
    let [baseline, run] = args.names.as_slice() else {
        let text = "compare takes two folders of runs, or shops: onhand, redis, postgres, or \
                    http://HOST:PORT";
        return Err(format!("{USAGE_MARK}{text}"));
    };
    let read = |path: &Path| Recorded::read(&Folder::open(path)?);
    let a = read(baseline).map_err(text_of)?;
    let b = read(run).map_err(text_of)?;
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
