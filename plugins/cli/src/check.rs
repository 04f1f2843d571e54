//! `onhand plugin check`: what a host checks at an upload, and what it would find out later.

use std::fmt::Write as _;

use clap::Args;
use onhand_plugin_bundle::{Facts, Kind};
use onhand_plugin_runtime::{Measured, limits};
use serde_json::{Value, json};

use crate::component::Parts;
use crate::figures::{hex, span};
use crate::once::read_config;
use crate::random::Random;
use crate::subject::{Subject, Which};
use crate::terminal::{Failure, Terminal};
use crate::usage::{Usage, merge, of_call, of_component, table};
use crate::workshop::{Loaded, Workshop, failure_help, load_help};
use crate::{DONE, UNFIT};

const EXAMPLES: &str = "\
Looks at size, imports, exports and every type without running; then loads the plugin as a host
does, and gives it random orders of one seed: fresh and warm, twice.

Examples:
  onhand plugin check                        the project here
  onhand plugin check tiers-1.0.0.onhand     a bundle
  onhand plugin check x.wasm --manifest plugin.toml --json";

/// Arguments of `onhand plugin check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Configuration to start it with; a fixture's, or {}, if left out
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Random orders that determinism is looked for with.
const ORDERS: usize = 64;
/// Their seed: the same for everybody.
const SEED: u64 = 1;

/// One thing that was looked at.
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
    help: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, ok: true, found: found.into(), help: None }
    }

    fn bad(name: &'static str, found: impl Into<String>, help: Option<&str>) -> Self {
        Self { name, ok: false, found: found.into(), help: help.map(str::to_owned) }
    }
}

/// Checks a plugin.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let subject = Subject::find(&arguments.which)?;
    let config = arguments.config.as_deref().map(read_config).transpose()?;
    let (mut checks, mut usages) = (Vec::new(), Vec::new());
    examine(&subject, config.as_ref(), &mut checks, &mut usages);
    for usage in usages.iter().filter(|usage| usage.headroom() < 0.0 && !usage.by_clock) {
        let found = format!("{} used, {} allowed", usage.used, usage.limit);
        checks.push(Check::bad(usage.name, found, Some("raise it under [limits] in plugin.toml")));
    }
    let fit = checks.iter().all(|check| check.ok);
    if arguments.json {
        let check = |check: &Check| json!({ "name": check.name, "ok": check.ok, "found": check.found, "help": check.help });
        terminal.json(&json!({
            "schema": "onhand.plugin.check/1",
            "plugin": subject.shown,
            "hash": hex(blake3::hash(&subject.wasm).as_bytes()),
            "ok": fit,
            "checks": checks.iter().map(check).collect::<Vec<_>>(),
            "limits": usages.iter().map(Usage::json).collect::<Vec<_>>(),
        }));
    } else {
        let text = text(&subject, &checks, &usages, terminal);
        terminal.say(&text);
    }
    Ok(if fit { DONE } else { UNFIT })
}

/// Goes on from check to check as long as the one before leaves something to look at.
fn examine(
    subject: &Subject,
    config: Option<&Value>,
    checks: &mut Vec<Check>,
    usages: &mut Vec<Usage>,
) {
    manifest(subject, checks);
    let limits = subject.limits();
    let mut workshop = match Workshop::open(&subject.wasm, limits) {
        Ok(workshop) => workshop,
        Err(error) => {
            checks.push(Check::bad("interface", error.to_string(), load_help(&error)));
            return;
        }
    };
    let shape = workshop.shape().clone();
    let parts = Parts::of(&subject.wasm).unwrap_or_default();
    usages.extend(of_component(&subject.wasm, &shape, &parts, &limits));
    let logs = if shape.logs { "log alone" } else { "nothing" };
    checks.push(Check::good("interface", format!("{}; imports {logs}", shape.interface)));
    kind_agrees(subject, shape.kind.name(), checks);
    let text = config.map_or_else(|| first_config(subject), Value::to_string);
    let loaded = workshop.with_config(&text).map(|_| ());
    if let Err(error) = loaded {
        checks.push(Check::bad("start", error.to_string(), load_help(&error)));
        return;
    }
    let load_time = workshop.load_time;
    let Ok(loaded) = workshop.with_config(&text) else { return };
    let kind = Kind::from_name(shape.kind.name()).unwrap_or(Kind::Pricing);
    let mut random = Random::new(SEED);
    let facts: Vec<Facts> = (0..ORDERS).map(|at| random.facts(kind, at * 3 % 64 + 1)).collect();
    match loaded.measure(&facts[0]) {
        Ok(measured) => start(&measured, load_time, checks),
        Err(failure) => {
            checks.push(Check::bad("start", failure.to_string(), failure_help(&failure)));
            return;
        }
    }
    answers(loaded, &facts, &limits, checks, usages);
    determinism(loaded, &facts, checks);
}

/// Returns the configuration of the first fixture, or an empty one.
fn first_config(subject: &Subject) -> String {
    let first = subject.fixtures.first().map(|(_, fixture)| fixture.config_text());
    first.unwrap_or_else(|| onhand_plugin_bundle::CONFIG_DEFAULT.to_owned())
}

fn manifest(subject: &Subject, checks: &mut Vec<Check>) {
    let Some(manifest) = &subject.manifest else { return };
    checks.push(Check::good("manifest", format!("{} {}", manifest.id, manifest.version)));
    let Some(bundle) = &subject.bundle else { return };
    let signed = bundle.signatures().len();
    let found = if signed == 0 {
        "none: a host takes it with --dev alone; `onhand plugin sign` adds one".to_owned()
    } else {
        let keys: Vec<String> = bundle.signatures().iter().map(|s| s.key.to_string()).collect();
        format!("by {}, not verified: `onhand plugin verify` does", keys.join(", "))
    };
    checks.push(Check::good("signatures", found));
}

fn kind_agrees(subject: &Subject, found: &str, checks: &mut Vec<Check>) {
    let Some(manifest) = &subject.manifest else { return };
    let said = manifest.kind.name();
    if said != found {
        let text = format!("plugin.toml says {said}, and the component is {found}");
        checks.push(Check::bad("kind", text, Some("set `kind` and `wit` to what it exports")));
    }
}

fn start(
    measured: &Measured<onhand_plugin_bundle::Answer>,
    load_time: std::time::Duration,
    checks: &mut Vec<Check>,
) {
    let (fuel, time) = (measured.fuel_init, span(measured.start_time));
    let found = format!("{fuel} fuel, {time}; compiled and tried in {}", span(load_time));
    checks.push(Check::good("start", found));
}

/// Gives it every order once, each on a fresh instance; what it takes of its limits is the most.
fn answers(
    loaded: &Loaded,
    facts: &[Facts],
    limits: &onhand_plugin_runtime::Limits,
    checks: &mut Vec<Check>,
    usages: &mut Vec<Usage>,
) {
    let mut calls = Vec::new();
    for one in facts {
        let measured = match loaded.measure(one) {
            Ok(measured) => measured,
            Err(failure) => {
                checks.push(Check::bad("answers", failure.to_string(), failure_help(&failure)));
                return;
            }
        };
        merge(&mut calls, of_call(&measured, one.orders(), limits));
        if let Err(failure) = &measured.answer {
            let lines = line_count(one);
            let found = format!("a random order of {lines} lines: {failure}");
            checks.push(Check::bad("answers", found, failure_help(failure)));
            break;
        }
    }
    if checks.iter().all(|check| check.name != "answers") {
        checks.push(Check::good(
            "answers",
            format!("{} random orders, all within the rules", facts.len()),
        ));
    }
    usages.splice(0..0, calls);
}

fn line_count(facts: &Facts) -> usize {
    match facts {
        Facts::Pricing { lines, .. } => lines.len(),
        Facts::Fraud { lines, .. } => lines.len(),
        Facts::Recommend { candidates, .. } => candidates.len(),
    }
}

/// The same input twice, on fresh instances and on one that has seen other orders.
fn determinism(loaded: &Loaded, facts: &[Facts], checks: &mut Vec<Check>) {
    let fresh: Vec<_> = facts.iter().map(|one| loaded.answer(one, true).ok()).collect();
    let again: Vec<_> = facts.iter().map(|one| loaded.answer(one, true).ok()).collect();
    let help = "take out what differs from run to run: addresses, hash order, uninitialised memory";
    if fresh == again {
        checks.push(Check::good("deterministic", "same answers and same fuel, twice"));
    } else {
        let found = "the same input gives another answer, or takes other fuel, the second time";
        checks.push(Check::bad("deterministic", found, Some(help)));
    }
    // Forth and back, so that each order comes after different ones.
    let order: Vec<usize> = (0..facts.len()).chain((0..facts.len()).rev()).collect();
    let mut fuels = (u64::MAX, 0);
    for at in order {
        let warm = loaded.answer(&facts[at], false).ok();
        let same = warm.as_ref().map(|(answer, _)| answer) == fresh[at].as_ref().map(|(a, _)| a);
        if !same {
            let found = "a warm instance gives another answer than a fresh one";
            let help = "keep nothing between calls: no global that a call changes, no cache";
            checks.push(Check::bad("keeps_nothing", found, Some(help)));
            return;
        }
        if let (Some((_, warm)), Some((_, fresh))) = (&warm, &fresh[at]) {
            let more = (*warm * 1_000).checked_div(*fresh).unwrap_or(1_000);
            fuels = (fuels.0.min(more), fuels.1.max(more));
        }
    }
    let found = if fuels == (1_000, 1_000) {
        "same answers and same fuel on an instance that has seen other orders".to_owned()
    } else {
        let (low, high) = (fuels.0 as f64 / 10.0, fuels.1 as f64 / 10.0);
        format!("same answers; fuel {low:.1} to {high:.1} % of a fresh instance's (its allocator)")
    };
    checks.push(Check::good("keeps_nothing", found));
}

fn text(subject: &Subject, checks: &[Check], usages: &[Usage], terminal: &Terminal<'_>) -> String {
    let mut text = format!("{}\n", terminal.bold(&subject.shown));
    // Writing into a text does not fail.
    for Check { name, ok, found, help } in checks {
        let _ = writeln!(text, "{} {name:<14} {found}", terminal.verdict(*ok));
        if let Some(help) = help {
            let _ = writeln!(text, "       {} {help}", terminal.bold("help:"));
        }
    }
    if !usages.is_empty() {
        let _ = write!(text, "\n{}", table(usages, terminal));
    }
    let late = usages.iter().find(|usage| usage.by_clock && usage.headroom() < 0.0);
    if let Some(late) = late {
        let name = late.name;
        debug_assert_eq!(name, limits::DEADLINE_MS.name);
        let note = format!("  {name} is by the clock of this machine, and no verdict\n");
        text.push_str(&terminal.yellow(&note));
    }
    text
}
