//! The command `find`: the capacity of a target.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::find::{FindOptions, find, knee_json};
use crate::scenario::Scenario;
use crate::{Rate, knee_text, view};
use clap::Args;

use super::scenario::TargetArgs;
use super::{Scratch, out, parse_rate, text_of, write};

/// Shown below the options.
const CODES: &str = "\
Exit codes:
  0 found, or the highest rate holds   1 error   2 usage   3 the lowest rate does not hold
  4 limited by the generator   5 truth violated in a step   130 interrupted or terminated";

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub(super) struct FindArgs {
    /// A scenario file, or the name of a ready one; its stages are replaced by steady rates
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// What must hold, such as 'buy.p99<50ms' [default: the scenario's]
    #[arg(long, value_name = "EXPRESSION", num_args = 1..)]
    slo: Vec<String>,
    /// Lowest rate of users, tried first
    #[arg(long, default_value = "500/s", value_name = "RATE", value_parser = parse_rate)]
    from: Rate,
    /// Highest rate of users
    #[arg(long, default_value = "50k/s", value_name = "RATE", value_parser = parse_rate)]
    to: Rate,
    /// Part of each step that is measured, in whole seconds
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_time)]
    step_for: Duration,
    /// Start of each step that is not measured
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_time)]
    warm_up: Duration,
    /// Most steps
    #[arg(long, default_value_t = 16, value_name = "N")]
    steps: u32,
    /// Distance of the two rates around the knee at which the search ends, as a share
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    precision: f64,
    /// Go on although the generator, not the target, set the limit of a step
    #[arg(long)]
    allow_generator_limit: bool,
    /// Make a folder with knee.json, the page and every step in this one
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the record as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let time = crate::scenario::time_of(text);
    time.ok_or_else(|| format!("`{text}` is no time such as 10s or 2m"))
}

/// Searches for the knee.
pub(super) fn run_find(args: &FindArgs) -> Result<ExitCode, String> {
    let settings = args.target.settings(Vec::new()).map_err(text_of)?;
    let scenario = Scenario::open_with(&args.scenario, &settings).map_err(text_of)?;
    let mut scratch = Scratch::default();
    // Faults play no part, so a host of its own needs no disk that can be filled.
    let aimed = args.target.aim(&scenario, &[], &mut scratch)?;
    let url = aimed.load.target.to_string();
    let mut options = FindOptions::new(aimed.load);
    #[cfg(all(feature = "faults", target_os = "linux"))]
    {
        options.host = aimed.host;
    }
    options.slo.clone_from(&args.slo);
    (options.from, options.to) = (args.from, args.to);
    (options.step, options.warm_up) = (args.step_for, args.warm_up);
    (options.steps_max, options.precision) = (args.steps, args.precision);
    options.allow_generator_limit = args.allow_generator_limit;
    options.run.clone_from(&args.target.run);
    options.out.clone_from(&args.out);
    if !args.target.quiet {
        scenario.notes.iter().for_each(|note| eprintln!("note: {note}"));
        let title = format!("{} on {url}", scenario.name);
        let plain = args.target.plain;
        options.show = Some(Box::new(move |number, rate| {
            let title = format!("{title}: step {number}, {rate} users/s");
            if plain { view::plain() } else { view::live(&title) }
        }));
        options.on_step = Some(Box::new(|number, step| {
            let word = match (&step.limited, step.holds) {
                (Some(_), _) => "tells nothing",
                (None, true) => "holds",
                (None, false) => "does not hold",
            };
            let why = step.limited.iter().chain(&step.why).cloned().collect::<Vec<_>>();
            eprintln!("step {number}: {}/s {word}{}", step.rate, {
                if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) }
            });
        }));
    }
    let found = find(&scenario, options).map_err(text_of)?;
    let json = knee_json(&found.knee).map_err(text_of)?;
    match &args.json {
        Some(path) if path.as_os_str() == "-" => out(&json),
        other => {
            out(&knee_text(&found.knee));
            if let Some(path) = other {
                write(path, &json)?;
            }
        }
    }
    if let (Some(folder), false) = (&found.folder, args.target.quiet) {
        eprintln!("results in {}", folder.path().display());
    }
    Ok(ExitCode::from(found.knee.exit.code))
}
