//! `onhand plugin inspect`: what is inside.

use std::fmt::Write as _;

use clap::Args;
use onhand_plugin_bundle::Kind;
use onhand_plugin_runtime::inspect;
use serde_json::{Value, json};

use crate::component::Parts;
use crate::figures::{count, hex, size};
use crate::subject::{Subject, Which};
use crate::terminal::{Failure, Terminal};
use crate::workshop::load_help;
use crate::{DONE, UNFIT};

const EXAMPLES: &str = "\
Examples:
  onhand plugin inspect                          the project here
  onhand plugin inspect tiers-1.0.0.onhand --json
  onhand plugin inspect x.wasm --functions 50    more of the largest functions
  onhand plugin inspect --wit                    the WIT package alone";

/// Arguments of `onhand plugin inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// How many of the largest functions to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    functions: usize,
    /// Print the text of its WIT package and nothing else
    #[arg(long)]
    wit: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows a plugin.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let subject = Subject::find(&arguments.which)?;
    let shape = inspect(&subject.wasm, &subject.limits());
    if arguments.wit {
        let shape = shape.map_err(|error| Failure::unfit(error.to_string()))?;
        let kind = Kind::from_name(shape.kind.name()).unwrap_or(Kind::Pricing);
        let own = subject.bundle.as_ref().map_or(kind.wit(), |bundle| bundle.wit());
        terminal.say(own);
        return Ok(DONE);
    }
    let parts = Parts::of(&subject.wasm)
        .map_err(|why| Failure::unfit(format!("{}: no WebAssembly: {why}", subject.shown)))?;
    let fit = shape.is_ok();
    let report = report(&subject, &shape, &parts, arguments.functions);
    if arguments.json {
        terminal.json(&report);
    } else {
        let text = text(&subject, &report, terminal);
        terminal.say(&text);
    }
    if let Err(error) = &shape
        && let Some(help) = load_help(error)
        && !arguments.json
    {
        let help = format!("  {} {help}\n", terminal.bold("help:"));
        terminal.say(&help);
    }
    Ok(if fit { DONE } else { UNFIT })
}

fn report(
    subject: &Subject,
    shape: &Result<onhand_plugin_runtime::Shape, onhand_plugin_runtime::LoadError>,
    parts: &Parts,
    functions: usize,
) -> Value {
    let pairs = |all: &[(String, u64)]| -> Vec<Value> {
        all.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect()
    };
    let manifest = subject.manifest.as_ref().map(|manifest| {
        json!({
            "id": manifest.id,
            "version": manifest.version,
            "kind": manifest.kind.name(),
            "wit": manifest.wit,
            "license": manifest.license,
            "description": manifest.description,
            "authors": manifest.authors,
            "homepage": manifest.homepage,
            "on_failure": manifest.on_failure.name(),
            "limits": manifest.limits,
            "reasons": manifest.reasons,
            "config_schema": manifest.config_schema.as_ref().map(onhand_plugin_bundle::Schema::as_json),
        })
    });
    let bundle = subject.bundle.as_ref().map(|bundle| {
        let keys: Vec<String> = bundle.signatures().iter().map(|s| s.key.to_string()).collect();
        json!({
            "hash": hex(&bundle.hash()),
            "signed_by": keys,
            "fixtures": bundle.fixtures().keys().collect::<Vec<_>>(),
            "bytes": bundle.bytes().len(),
        })
    });
    let component = shape.as_ref().ok().map(|shape| {
        json!({
            "interface": shape.interface,
            "imports_log": shape.logs,
            "modules": shape.modules,
            "functions": shape.functions,
            "code_bytes": shape.code_bytes,
            "memory_bytes_at_start": shape.memory_bytes,
        })
    });
    json!({
        "schema": "onhand.plugin.inspect/1",
        "plugin": subject.shown,
        "ok": shape.is_ok(),
        "error": shape.as_ref().err().map(ToString::to_string),
        "hash": hex(blake3::hash(&subject.wasm).as_bytes()),
        "bytes": subject.wasm.len(),
        "manifest": manifest,
        "bundle": bundle,
        "component": component,
        "sections": pairs(&parts.sections),
        "largest_functions": pairs(&parts.functions[..functions.min(parts.functions.len())]),
    })
}

fn text(subject: &Subject, report: &Value, terminal: &Terminal<'_>) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let bytes = size(report["bytes"].as_u64().unwrap_or(0));
    let mut text = format!("{}, component of {bytes}\n", terminal.bold(&subject.shown));
    // Writing into a text does not fail.
    let _ = writeln!(text, "  blake3     {}", word(&report["hash"]));
    for name in ["id", "version", "kind", "wit", "license", "on_failure"] {
        if !report["manifest"].is_null() {
            let _ = writeln!(text, "  {name:<10} {}", word(&report["manifest"][name]));
        }
    }
    let bundle = &report["bundle"];
    if !bundle.is_null() {
        let _ = writeln!(text, "  bundle     {}", word(&bundle["hash"]));
        let signed = bundle["signed_by"].as_array().filter(|keys| !keys.is_empty());
        let signed = signed.map_or_else(
            || "nobody".to_owned(),
            |keys| keys.iter().map(word).collect::<Vec<_>>().join(", "),
        );
        let _ = writeln!(text, "  signed by  {signed} (`onhand plugin verify` checks)");
    }
    match report["error"].as_str() {
        Some(error) => {
            let _ = writeln!(text, "{} {error}", terminal.verdict(false));
        }
        None => {
            let shape = &report["component"];
            let logs = if shape["imports_log"] == true { "log" } else { "nothing" };
            let _ = writeln!(text, "  interface  {}, imports {logs}", word(&shape["interface"]));
            let functions = count(shape["functions"].as_u64().unwrap_or(0));
            let memory = size(shape["memory_bytes_at_start"].as_u64().unwrap_or(0));
            let modules = &shape["modules"];
            let _ = writeln!(
                text,
                "  code       {functions} functions in {modules} modules; {memory} of memory at the start"
            );
        }
    }
    for (title, list) in [("sections", "sections"), ("largest functions", "largest_functions")] {
        let _ = writeln!(text, "\n{title}");
        for one in report[list].as_array().into_iter().flatten() {
            let bytes = count(one["bytes"].as_u64().unwrap_or(0));
            let _ = writeln!(text, "  {bytes:>10}  {}", word(&one["name"]));
        }
    }
    text
}
