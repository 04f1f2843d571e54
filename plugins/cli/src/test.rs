//! `onhand plugin test`: every fixture, and random orders.

use std::fmt::Write as _;

use clap::Args;
use onhand_plugin_bundle::{Answer, Facts, Fixture, Kind};
use serde_json::{Value, json};

use crate::figures::count;
use crate::once::{check_config, open};
use crate::random::Random;
use crate::subject::{FIXTURES, Subject, Which};
use crate::terminal::{Failure, Terminal};
use crate::workshop::{Loaded, Workshop, failure_help};
use crate::{DONE, UNFIT};

const EXAMPLES: &str = "\
A fixture's `expect` has members that the output must have exactly, such as \"orders\", and paths
such as \"$.orders[0].total\" or \"$.scores[*].verdict\" with the value that is wanted there.

Examples:
  onhand plugin test                      all fixtures of the project
  onhand plugin test gold                 those with `gold` in their names
  onhand plugin test --accept             write today's answers into fixtures that differ
  onhand plugin test --fuzz 10000         then random orders: never a failure, total >= 0,
                                          the same answer twice, fresh and warm
  onhand plugin test --fuzz 10000 --seed 7   the same random orders again";

/// Random orders of `--fuzz` at most.
const FUZZ_MAX: u64 = 100_000_000;

/// Arguments of `onhand plugin test`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only fixtures with this in their names
    #[arg(value_name = "NAME")]
    only: Option<String>,
    /// Project's folder, component or bundle
    #[arg(short, long, value_name = "PLUGIN", default_value = ".")]
    plugin: std::path::PathBuf,
    /// Manifest of a component that stands alone; its fixtures are beside it
    #[arg(long, value_name = "FILE")]
    manifest: Option<std::path::PathBuf>,
    /// Write the answers into the fixtures that differ, or expect nothing yet
    #[arg(long)]
    accept: bool,
    /// Random orders to try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=FUZZ_MAX))]
    fuzz: Option<u64>,
    /// Seed of the random orders; printed, so that they can be had again
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Arguments that test a project's fixtures.
    pub(crate) fn of_project(dir: &std::path::Path) -> Self {
        Self {
            only: None,
            plugin: dir.to_owned(),
            manifest: None,
            accept: false,
            fuzz: None,
            seed: None,
            json: false,
        }
    }
}

/// What came of one fixture.
struct Outcome {
    name: String,
    faults: Vec<String>,
    fuel: u64,
    accepted: bool,
}

/// What came of random orders.
struct Fuzzed {
    seed: u64,
    orders: u64,
    fault: Option<(String, Facts)>,
}

/// Tests a plugin.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let (plugin, manifest) = (arguments.plugin.clone(), arguments.manifest.clone());
    let subject = Subject::find(&Which { plugin, manifest })?;
    let mut workshop = open(&subject)?;
    let mut outcomes = Vec::new();
    for (name, fixture) in &subject.fixtures {
        if arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            outcomes.push(examine(&subject, &mut workshop, name, fixture, arguments.accept)?);
        }
    }
    if outcomes.is_empty() && arguments.fuzz.is_none() {
        let text = match &arguments.only {
            Some(only) => format!("no fixture has {only:?} in its name"),
            None => format!("{} has no fixtures", subject.shown),
        };
        return Err(Failure::usage(text).help("put JSON files into fixtures/, or give --fuzz N"));
    }
    let fuzzed = arguments
        .fuzz
        .map(|orders| fuzz(&subject, &mut workshop, orders, arguments.seed, terminal))
        .transpose()?;
    let failed = outcomes.iter().filter(|outcome| !outcome.faults.is_empty()).count();
    let fit = failed == 0 && fuzzed.as_ref().is_none_or(|fuzzed| fuzzed.fault.is_none());
    if arguments.json {
        terminal.json(&report(&subject, &outcomes, fuzzed.as_ref(), fit));
    } else {
        let text = text(&outcomes, fuzzed.as_ref(), terminal);
        terminal.say(&text);
    }
    Ok(if fit { DONE } else { UNFIT })
}

/// Compares the answer to one fixture.
fn examine(
    subject: &Subject,
    workshop: &mut Workshop,
    name: &str,
    fixture: &Fixture,
    accept: bool,
) -> Result<Outcome, Failure> {
    workshop.fits(&fixture.facts, &format!("fixture {name}"))?;
    check_config(subject, fixture)?;
    let mut outcome =
        Outcome { name: name.to_owned(), faults: Vec::new(), fuel: 0, accepted: false };
    let answered = match workshop.with_config(&fixture.config_text()) {
        Ok(loaded) => loaded.answer(&fixture.facts, true).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (answer, fuel) = match answered {
        Ok(answered) => answered,
        Err(why) => {
            outcome.faults.push(why);
            return Ok(outcome);
        }
    };
    outcome.fuel = fuel;
    let output =
        fixture.facts.output(&answer).map_err(|error| Failure::unfit(error.to_string()))?;
    let mismatches = fixture.mismatches(&output);
    if accept && (fixture.expect.is_empty() || !mismatches.is_empty()) {
        let accepted = accepted(fixture, &answer, &output);
        write(subject, name, &accepted)?;
        outcome.accepted = true;
    } else {
        outcome.faults = mismatches.iter().map(ToString::to_string).collect();
    }
    Ok(outcome)
}

/// Returns the fixture with what the output has at the places that it expects something at; all
/// of the answer if it expects nothing, or something that is not there.
fn accepted(fixture: &Fixture, answer: &Answer, output: &Value) -> Fixture {
    let mut kept = fixture.clone();
    for mismatch in fixture.mismatches(output) {
        match mismatch.found {
            Some(found) => kept.expect.insert(mismatch.path, found),
            None => kept.expect.remove(&mismatch.path),
        };
    }
    if kept.expect.is_empty() || !kept.mismatches(output).is_empty() {
        return fixture.clone().expecting(answer);
    }
    kept
}

fn write(subject: &Subject, name: &str, fixture: &Fixture) -> Result<(), Failure> {
    let Some(dir) = &subject.dir else {
        return Err(Failure::usage("--accept writes into a project's fixtures/")
            .help("give the project's folder instead of a component or bundle"));
    };
    let path = dir.join(FIXTURES).join(format!("{name}.json"));
    std::fs::write(&path, fixture.text()).map_err(|error| Failure::file(&path, &error))
}

/// Tries random orders with the first configuration that the plugin takes: that of a fixture, or
/// an empty one.
fn fuzz(
    subject: &Subject,
    workshop: &mut Workshop,
    orders: u64,
    seed: Option<u64>,
    terminal: &mut Terminal<'_>,
) -> Result<Fuzzed, Failure> {
    let seed = seed.map_or_else(fresh_seed, Ok)?;
    let kind = Kind::from_name(workshop.shape().kind.name()).unwrap_or(Kind::Pricing);
    let loaded = loaded(subject, workshop)?;
    let mut random = Random::new(seed);
    for done in 0..orders {
        let lines = if random.below(2) == 0 { 1 } else { random.below(200) as usize + 1 };
        let facts = random.facts(kind, lines);
        if let Some(fault) = fault(loaded, &facts) {
            return Ok(Fuzzed { seed, orders: done + 1, fault: Some((fault, facts)) });
        }
        terminal.progress(done + 1, orders, "random orders");
    }
    Ok(Fuzzed { seed, orders, fault: None })
}

fn fresh_seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|_| Failure::new(crate::FILE, "the system gives no random numbers"))
}

/// Returns the plugin with the configuration of its first fixture, or an empty one.
pub(crate) fn loaded<'w>(
    subject: &Subject,
    workshop: &'w mut Workshop,
) -> Result<&'w Loaded, Failure> {
    let first = subject.fixtures.first().map(|(_, fixture)| fixture.config_text());
    let config = first.unwrap_or_else(|| onhand_plugin_bundle::CONFIG_DEFAULT.to_owned());
    workshop.with_config(&config).map_err(|error| {
        let failure = Failure::unfit(format!("{}: {error}", subject.shown));
        match crate::workshop::load_help(&error) {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

/// Returns what is wrong with the answer to an order: a failure, or another answer the next time.
///
/// An answer that is not allowed, such as a discount above the price, is a failure already.
pub(crate) fn fault(loaded: &Loaded, facts: &Facts) -> Option<String> {
    let call = |fresh| {
        loaded.answer(facts, fresh).map_err(|failure| {
            let help = failure_help(&failure).map_or_else(String::new, |help| format!(" ({help})"));
            format!("{failure}{help}")
        })
    };
    let (first, fuel) = match call(true) {
        Ok(answered) => answered,
        Err(why) => return Some(why),
    };
    match call(true) {
        Ok((again, _)) if again != first => {
            return Some("two fresh instances give different answers".to_owned());
        }
        Ok((_, other)) if other != fuel => {
            return Some(format!("two fresh instances take different fuel: {fuel} and {other}"));
        }
        Ok(_) => {}
        Err(why) => return Some(format!("fails the second time: {why}")),
    }
    match call(false) {
        Ok((warm, _)) if warm != first => {
            Some("a warm instance gives another answer than a fresh one".to_owned())
        }
        Ok(_) => None,
        Err(why) => Some(format!("fails on a warm instance: {why}")),
    }
}

fn report(subject: &Subject, all: &[Outcome], fuzzed: Option<&Fuzzed>, fit: bool) -> Value {
    let fixture = |outcome: &Outcome| {
        json!({
            "name": outcome.name,
            "ok": outcome.faults.is_empty(),
            "faults": outcome.faults,
            "fuel": outcome.fuel,
            "accepted": outcome.accepted,
        })
    };
    let random = fuzzed.map(|fuzzed| {
        let fault = fuzzed.fault.as_ref().map(|(why, facts)| {
            let fixture = Fixture::new(facts.clone()).line();
            json!({ "why": why, "fixture": serde_json::from_str::<Value>(&fixture).ok() })
        });
        json!({ "seed": fuzzed.seed, "orders": fuzzed.orders, "fault": fault })
    });
    json!({
        "schema": "onhand.plugin.test/1",
        "plugin": subject.shown,
        "ok": fit,
        "fixtures": all.iter().map(fixture).collect::<Vec<_>>(),
        "fuzz": random,
    })
}

fn text(all: &[Outcome], fuzzed: Option<&Fuzzed>, terminal: &Terminal<'_>) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    for Outcome { name, faults, fuel, accepted } in all {
        let fuel = terminal.dim(&format!("{} fuel", count(*fuel)));
        let accepted = if *accepted { ", accepted" } else { "" };
        let verdict = terminal.verdict(faults.is_empty());
        let _ = writeln!(text, "{verdict} {name} {fuel}{accepted}");
        for fault in faults {
            let _ = writeln!(text, "       {fault}");
        }
    }
    let failed = all.iter().filter(|outcome| !outcome.faults.is_empty()).count();
    if !all.is_empty() {
        let _ = writeln!(text, "{} of {} fixtures as expected", all.len() - failed, all.len());
    }
    if failed > 0 {
        text.push_str(
            "  help: `onhand plugin test --accept` writes today's answers, if they are right\n",
        );
    }
    if let Some(Fuzzed { seed, orders, fault }) = fuzzed {
        let verdict = terminal.verdict(fault.is_none());
        let _ = writeln!(text, "{verdict} {} random orders, seed {seed}", count(*orders));
        if let Some((why, facts)) = fault {
            let fixture = Fixture::new(facts.clone()).line();
            let _ = writeln!(text, "       {why}\n       as a fixture: {fixture}");
        }
    }
    text
}
