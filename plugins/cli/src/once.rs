//! `onhand plugin run`: one input, its answer, and what it took.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use onhand_plugin_bundle::{Answer, Fixture};
use onhand_plugin_runtime::Measured;
use serde_json::{Value, json};

use crate::component::Parts;
use crate::figures::{hex, span};
use crate::subject::{Subject, Which, read_fixture, read_text};
use crate::terminal::{Failure, Terminal};
use crate::usage::{Usage, of_call, of_component, table};
use crate::workshop::{Workshop, failure_help, load_help};
use crate::{DONE, UNFIT, show};

const EXAMPLES: &str = r#"A fixture is a JSON file with the names of the WIT package, such as
  { "kind": "pricing",
    "about": "two for less",
    "config": { "percent": 10 },
    "input": { "headers": [{ "currency": 978 }],
               "lines": [{ "sku": 7, "quantity": 2, "unit": 1000 }] },
    "expect": { "$.orders[0].total": 1800 } }
Numbers that are left out are 0; `expect` may be left out here.

Examples:
  onhand plugin run -i fixtures/two-for-less.json
  onhand plugin run tiers-1.0.0.onhand -i two-for-less       a fixture inside the bundle
  onhand plugin run plugin.wasm -i order.json --config shop.json --json"#;

/// Arguments of `onhand plugin run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Fixture: a JSON file, or the name of one of the plugin's own
    #[arg(short, long, value_name = "FIXTURE")]
    input: PathBuf,
    /// Configuration that replaces the fixture's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads a configuration: any JSON.
pub(crate) fn read_config(path: &Path) -> Result<Value, Failure> {
    let text = read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{}: no JSON: {error}", path.display())))
}

/// Refuses a configuration that the manifest's schema does not allow.
pub(crate) fn check_config(subject: &Subject, fixture: &Fixture) -> Result<(), Failure> {
    let schema = subject.manifest.as_ref().and_then(|manifest| manifest.config_schema.as_ref());
    let (Some(schema), Some(config)) = (schema, &fixture.config) else { return Ok(()) };
    match schema.check(config).first() {
        None => Ok(()),
        Some(fault) => {
            Err(Failure::usage(fault.to_string()).help("config_schema in plugin.toml says so"))
        }
    }
}

/// Opens a component, or says what to do about one that is not taken.
pub(crate) fn open(subject: &Subject) -> Result<Workshop, Failure> {
    Workshop::open(&subject.wasm, subject.limits()).map_err(|error| {
        let failure = Failure::unfit(format!("{}: {error}", subject.shown));
        match load_help(&error) {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

fn fixture(subject: &Subject, input: &Path) -> Result<Fixture, Failure> {
    let own = input.to_str().and_then(|wanted| {
        subject.fixtures.iter().find(|(name, _)| name == wanted).map(|(_, fixture)| fixture)
    });
    own.map_or_else(|| read_fixture(input), |fixture| Ok(fixture.clone()))
}

/// Runs a plugin once.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let subject = Subject::find(&arguments.which)?;
    let mut fixture = fixture(&subject, &arguments.input)?;
    if let Some(path) = &arguments.config {
        fixture.config = Some(read_config(path)?);
    }
    check_config(&subject, &fixture)?;
    let mut workshop = open(&subject)?;
    workshop.fits(&fixture.facts, &arguments.input.display().to_string())?;
    let limits = subject.limits();
    let parts = Parts::of(&subject.wasm).unwrap_or_default();
    let mut usages = of_component(&subject.wasm, workshop.shape(), &parts, &limits);
    let refused = |text: String, help: Option<&'static str>| {
        let failure = Failure::unfit(text);
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    };
    let loaded = workshop
        .with_config(&fixture.config_text())
        .map_err(|error| refused(format!("{}: {error}", subject.shown), load_help(&error)))?;
    let measured = loaded
        .measure(&fixture.facts)
        .map_err(|error| refused(error.to_string(), failure_help(&error)))?;
    usages.splice(0..0, of_call(&measured, fixture.facts.orders(), &limits));
    let output = match &measured.answer {
        Ok(answer) => fixture.facts.output(answer).map_err(|e| Failure::unfit(e.to_string()))?,
        Err(_) => Value::Null,
    };
    let mismatches = fixture.mismatches(&output);
    let fit = measured.answer.is_ok() && mismatches.is_empty();
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.run/1",
            "plugin": subject.shown,
            "hash": hex(blake3::hash(&subject.wasm).as_bytes()),
            "ok": fit,
            "output": output,
            "failure": measured.answer.as_ref().err().map(ToString::to_string),
            "mismatches": mismatches.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "fuel": measured.fuel,
            "logs": measured.logs.iter()
                .map(|line| json!({ "level": line.level, "text": line.text })).collect::<Vec<_>>(),
            "logs_dropped": measured.logs_dropped,
            "limits": usages.iter().map(Usage::json).collect::<Vec<_>>(),
        }));
    } else {
        let text = text(&subject, &fixture, &measured, &output, &usages, terminal);
        terminal.say(&text);
        for mismatch in &mismatches {
            terminal.say(&format!("{} {mismatch}\n", terminal.verdict(false)));
        }
    }
    if let Err(failure) = &measured.answer {
        let text = format!("{}: {failure}", subject.shown);
        return Err(refused(text, failure_help(failure)));
    }
    Ok(if fit { DONE } else { UNFIT })
}

fn text(
    subject: &Subject,
    fixture: &Fixture,
    measured: &Measured<Answer>,
    output: &Value,
    usages: &[Usage],
    terminal: &Terminal<'_>,
) -> String {
    let mut text = format!("{}\n", terminal.bold(&subject.shown));
    if let Some(about) = &fixture.about {
        let _ = writeln!(text, "  {}", terminal.dim(about));
    }
    if let Ok(answer) = &measured.answer {
        text.push_str(&show::answer(subject, &fixture.facts, answer, output));
    }
    for line in &measured.logs {
        let level = ["error", "warning", "info", "detail"];
        let level = level.get(line.level as usize).copied().unwrap_or("log");
        let _ = writeln!(text, "  {} {}", terminal.dim(level), line.text);
    }
    if measured.logs_dropped > 0 {
        let _ = writeln!(text, "  and {} lines more, which a host drops", measured.logs_dropped);
    }
    let _ = writeln!(text, "\n{}", table(usages, terminal).trim_end());
    let (start, call) = (span(measured.start_time), span(measured.call_time));
    let _ = writeln!(text, "  {}", terminal.dim(&format!("start {start}, first call {call}")));
    text
}
