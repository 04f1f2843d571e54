//! `onhand plugin`: the maker's commands, and the operator's, which talk to a running host.

use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use onhand_plugin_cli::{PluginCommand, Terminal};
use serde_json::{Value, json};

use super::client::{self, Method};
use super::{DONE, FAILED, Failure, USAGE, say};
use crate::wire::field::shorten;

const AFTER_HELP: &str = "\
At a running host (ONHAND_URL, ONHAND_API_KEY):
  onhand plugin install tiers-0.1.0.onhand            checked, kept, journaled; decides nothing yet
  onhand plugin shadow tiers                          asked beside, off the reply path
  onhand plugin divergence tiers                      where it differs, and what that is worth
  onhand plugin canary tiers --share 5%               decides for 5 % of the customers, guarded
  onhand plugin promote tiers                         decides for all; rollback takes it back
  onhand plugin list                                  who decides, and every step with its time";

const GUARD_HELP: &str = "\
A guard, several times: failure_bp=100, refusal_bp=500, price_bp=1000 (ten-thousandths), \
p99_us=20000, window_ms=300000, sample_min=100";

/// Arguments of `onhand plugin`.
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{AFTER_HELP}", onhand_plugin_cli::EXAMPLES))]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Maker(PluginCommand),
    #[command(flatten)]
    Operator(Operator),
}

/// What an operator does with the plugins of a running host.
#[derive(Debug, Subcommand)]
enum Operator {
    /// Install a signed bundle; nobody is asked by it yet
    Install(Install),
    /// List policies: who decides, who is tried, and every step
    List(At),
    /// Make a policy decide for all at once
    Activate(Which),
    /// Ask a policy beside the one that decides, off the reply path
    Shadow(Share),
    /// Let a policy decide for a share of the customers, until its guards call it back
    Canary(Canary),
    /// Make the canary decide for all
    Promote(Which),
    /// Take the last step back: the one before decides again
    Rollback(Which),
    /// Keep the policy that decides in its place
    Pin(Which),
    /// Let a pinned policy go
    Unpin(Which),
    /// End a shadow or a canary without more
    Stop(Which),
    /// Remove a policy that has no part; what it decided stays in the journal
    Remove(Which),
    /// What a policy has done: orders, failures by kind, fuel, time, what its guards see
    Stats(Which),
    /// Where a shadow's answers differ, and what that is worth
    Divergence(Which),
    /// What a plugin has logged lately, the newest first, and its latest failure
    Logs(Which),
    /// Save recorded inputs as fixtures, for `onhand plugin replay`
    Recorded(Recorded),
}

/// Which host, and how to print.
#[derive(Debug, Args)]
struct At {
    /// The host's address for operators
    #[arg(long, value_name = "URL", env = "ONHAND_URL", hide_env_values = true)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Print the host's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// Number of the policy, or its name for the latest installed one
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct Share {
    #[command(flatten)]
    which: Which,
    /// Share of the customers, such as 5% or 0.25%
    #[arg(long, value_name = "PERCENT", value_parser = share_bp, default_value = "100%")]
    share: u64,
}

#[derive(Debug, Args)]
struct Canary {
    #[command(flatten)]
    which: Which,
    /// Share of the customers, such as 5% or 0.25%
    #[arg(long, value_name = "PERCENT", value_parser = share_bp, default_value = "5%")]
    share: u64,
    #[arg(long, value_name = "NAME=VALUE", value_parser = guard, help = GUARD_HELP)]
    guard: Vec<(String, u64)>,
}

#[derive(Debug, Args)]
struct Install {
    /// The bundle
    #[arg(value_name = "BUNDLE.onhand")]
    bundle: PathBuf,
    /// The plugin's configuration, a file of JSON that fits its schema
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct Recorded {
    /// pricing, fraud or recommend
    #[arg(value_name = "KIND")]
    kind: String,
    /// How many, the latest
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    last: u64,
    /// File to write; standard output where it is left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

/// Reads a share in percent as ten-thousandths.
fn share_bp(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no share from 0.01% to 100%, such as 5% or 0.25%");
    let digits = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 2 || !(whole.to_owned() + part).bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let share: u64 = format!("{whole}{part:0<2}").parse().map_err(|_| wrong())?;
    if (1..=10_000).contains(&share) { Ok(share) } else { Err(wrong()) }
}

fn guard(text: &str) -> Result<(String, u64), String> {
    let wrong = || format!("\"{text}\" is not NAME=NUMBER, such as failure_bp=100");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), value.parse().map_err(|_| wrong())?))
}

/// Carries out a command of `onhand plugin`.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.command {
        Command::Maker(command) => Ok(onhand_plugin_cli::run(command, &mut Terminal::standard())),
        Command::Operator(operator) => operate(operator),
    }
}

fn operate(operator: &Operator) -> Result<u8, Failure> {
    match operator {
        Operator::Install(arguments) => install(arguments),
        Operator::List(at) => list(at),
        Operator::Activate(which) => step(which, "activate", &json!({})),
        Operator::Shadow(share) => {
            step(&share.which, "shadow", &json!({ "share_bp": share.share }))
        }
        Operator::Canary(canary) => {
            let guards: serde_json::Map<String, Value> =
                canary.guard.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
            let body = json!({ "share_bp": canary.share, "guards": guards });
            step(&canary.which, "canary", &body)
        }
        Operator::Promote(which) => step(which, "promote", &json!({})),
        Operator::Rollback(which) => step(which, "rollback", &json!({})),
        Operator::Pin(which) => step(which, "pin", &json!({})),
        Operator::Unpin(which) => step(which, "unpin", &json!({})),
        Operator::Stop(which) => step(which, "stop", &json!({})),
        Operator::Remove(which) => step(which, "remove", &json!({})),
        Operator::Stats(which) => look(which, "stats"),
        Operator::Divergence(which) => look(which, "divergence"),
        Operator::Logs(which) => logs(which),
        Operator::Recorded(arguments) => recorded(arguments),
    }
}

/// Sends one request; an answer other than of the 200s is a failure that says what the host says.
fn call(at: &At, method: Method, path: &str, body: Option<&Value>) -> Result<String, Failure> {
    let key = std::env::var("ONHAND_API_KEY").ok();
    let body = body.map(Value::to_string);
    let (status, answer) = client::send(&at.url, method, path, key.as_deref(), body.as_deref())?;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let problem: Value = serde_json::from_str(&answer).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("no code");
    let detail = problem["detail"].as_str().unwrap_or("");
    let failure = Failure::new(FAILED, format!("{} answers {status} {code}: {detail}", at.url));
    Err(match status {
        401 => failure.help("set ONHAND_API_KEY to a key of the host"),
        404 if code == "not_found" => {
            failure.help("operators' routes are at the address of the setting admin, if it is set")
        }
        _ => failure.help(format!("`onhand explain {code}` says what to do")),
    })
}

fn read(answer: &str) -> Result<Value, Failure> {
    serde_json::from_str(answer)
        .map_err(|error| Failure::new(FAILED, format!("the host's answer is not JSON: {error}")))
}

/// Finds the number of a policy: as given, or of the latest installed one of a name.
fn number(which: &Which) -> Result<u64, Failure> {
    if let Ok(number) = which.policy.parse() {
        return Ok(number);
    }
    let all = read(&call(&which.at, Method::Get, "/admin/plugins", None)?)?;
    let policies = all["data"].as_array().cloned().unwrap_or_default();
    let named = |policy: &&Value| {
        policy["name"] == which.policy.as_str() && policy["installed"] == Value::Bool(true)
    };
    let found = policies.iter().filter(named).filter_map(|policy| policy["policy"].as_u64()).max();
    found.ok_or_else(|| {
        let name = shorten(&which.policy);
        Failure::new(USAGE, format!("no policy \"{name}\" is installed"))
            .help("`onhand plugin list` shows numbers and names")
    })
}

fn install(arguments: &Install) -> Result<u8, Failure> {
    let shown = |path: &PathBuf, error| {
        Failure::new(FAILED, format!("{} can't be read: {error}", path.display()))
    };
    let bundle = std::fs::read(&arguments.bundle).map_err(|e| shown(&arguments.bundle, e))?;
    let config = match &arguments.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| shown(path, e))?;
            serde_json::from_str(&text).map_err(|error| {
                Failure::new(USAGE, format!("{} is not JSON: {error}", path.display()))
            })?
        }
        None => json!({}),
    };
    let body = json!({ "bundle": STANDARD.encode(bundle), "config": config });
    let answer = call(&arguments.at, Method::Post, "/admin/plugins", Some(&body))?;
    if arguments.at.json {
        say(&(answer + "\n"));
        return Ok(DONE);
    }
    let installed = read(&answer)?;
    let by = match installed["signer"].as_str() {
        Some(signer) => format!("signed by {signer}"),
        None => "not signed (--dev)".to_owned(),
    };
    say(&format!(
        "policy {}: {} {} {} installed, {by}\n\
         Nobody is asked by it yet. Next: onhand plugin shadow {}\n",
        installed["policy"],
        word(&installed["kind"]),
        word(&installed["name"]),
        word(&installed["version"]),
        installed["policy"],
    ));
    Ok(DONE)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => shorten(text),
        other => other.to_string(),
    }
}

fn list(at: &At) -> Result<u8, Failure> {
    let answer = call(at, Method::Get, "/admin/plugins", None)?;
    if at.json {
        say(&(answer + "\n"));
        return Ok(DONE);
    }
    let all = read(&answer)?;
    let policies = all["data"].as_array().cloned().unwrap_or_default();
    let mut text = String::new();
    if policies.is_empty() {
        text.push_str("no policies: list prices, no fraud check, built-in recommendations\n");
    }
    for policy in &policies {
        tell(&mut text, policy);
    }
    for note in all["health"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "note: {}", word(note));
    }
    say(&text);
    Ok(DONE)
}

/// Writes a policy with its part and its steps.
fn tell(text: &mut String, policy: &Value) {
    let share = policy["share_bp"].as_u64().map_or(String::new(), |bp| format!(" {}", percent(bp)));
    let gone = if policy["installed"] == Value::Bool(false) { ", removed" } else { "" };
    let pinned = if policy["pinned"] == Value::Bool(true) { ", pinned" } else { "" };
    let _ = writeln!(
        text,
        "{:>3}  {:<9}  {} {}  {}{share}{pinned}{gone}",
        policy["policy"],
        word(&policy["kind"]),
        word(&policy["name"]),
        word(&policy["version"]),
        word(&policy["role"]),
    );
    for step in policy["steps"].as_array().into_iter().flatten() {
        let share =
            step["share_bp"].as_u64().map_or(String::new(), |bp| format!(" {}", percent(bp)));
        let note = step["note"].as_str().map_or(String::new(), |note| format!("  {note}"));
        let _ =
            writeln!(text, "       {}  {}{share}{note}", word(&step["at"]), word(&step["step"]));
    }
}

fn percent(bp: u64) -> String {
    if bp.is_multiple_of(100) {
        format!("{}%", bp / 100)
    } else {
        format!("{}.{:02}%", bp / 100, bp % 100)
    }
}

fn step(which: &Which, verb: &str, body: &Value) -> Result<u8, Failure> {
    let path = format!("/admin/plugins/{}/{verb}", number(which)?);
    let answer = call(&which.at, Method::Post, &path, Some(body))?;
    if which.at.json {
        say(&(answer + "\n"));
        return Ok(DONE);
    }
    let mut text = String::new();
    tell(&mut text, &read(&answer)?);
    say(&text);
    Ok(DONE)
}

fn look(which: &Which, what: &str) -> Result<u8, Failure> {
    let path = format!("/admin/plugins/{}/{what}", number(which)?);
    let answer = call(&which.at, Method::Get, &path, None)?;
    if which.at.json {
        say(&(answer + "\n"));
        return Ok(DONE);
    }
    let mut text = String::new();
    lines(&mut text, "", &read(&answer)?);
    say(&text);
    Ok(DONE)
}

fn logs(which: &Which) -> Result<u8, Failure> {
    let path = format!("/admin/plugins/{}/logs", number(which)?);
    let answer = call(&which.at, Method::Get, &path, None)?;
    if which.at.json {
        say(&(answer + "\n"));
        return Ok(DONE);
    }
    let logs = read(&answer)?;
    let mut text = String::new();
    if let Some(failure) = logs["last_failure"].as_str() {
        let _ = writeln!(text, "last failure: {failure}");
    }
    let lines = logs["lines"].as_array().cloned().unwrap_or_default();
    for line in &lines {
        let said = line["text"].as_str().unwrap_or_default();
        let _ = writeln!(text, "{:<12} {said}", word(&line["level"]));
    }
    if lines.is_empty() {
        text.push_str("nothing is logged\n");
    }
    if let Some(dropped) = logs["dropped"].as_u64().filter(|dropped| *dropped > 0) {
        let _ = writeln!(text, "{dropped} more lines were dropped");
    }
    say(&text);
    Ok(DONE)
}

/// Writes JSON as a line for each number or text, with the way to it before.
fn lines(text: &mut String, name: &str, value: &Value) {
    let below = |name: &str, part: &str| {
        if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") }
    };
    match value {
        Value::Object(members) => {
            for (part, value) in members {
                lines(text, &below(name, part), value);
            }
        }
        Value::Array(entries) if entries.iter().any(|e| e.is_object() || e.is_array()) => {
            for (at, value) in entries.iter().enumerate() {
                lines(text, &below(name, &at.to_string()), value);
            }
        }
        other => {
            let _ = writeln!(text, "{name:<36} {}", word(other));
        }
    }
}

fn recorded(arguments: &Recorded) -> Result<u8, Failure> {
    let kinds = ["pricing", "fraud", "recommend"];
    let kind = arguments.kind.as_str();
    if !kinds.contains(&kind) {
        let kind = shorten(kind);
        return Err(Failure::new(USAGE, format!("\"{kind}\" is none of {}", kinds.join(", "))));
    }
    let path = format!("/admin/plugins/recorded?kind={kind}&last={}", arguments.last);
    let answer = call(&arguments.at, Method::Get, &path, None)?;
    let Some(file) = &arguments.output else {
        say(&answer);
        return Ok(DONE);
    };
    std::fs::write(file, &answer).map_err(|error| {
        Failure::new(FAILED, format!("{} can't be written: {error}", file.display()))
    })?;
    let count = answer.lines().count();
    say(&format!(
        "{count} inputs in {0}\nNext: onhand plugin replay plugin.wasm --from {0}\n",
        file.display()
    ));
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::{percent, share_bp};

    #[test]
    fn shares_are_read_in_percent() {
        for (text, share) in [("5%", 500), ("0.25%", 25), ("100%", 10_000), ("0.01%", 1)] {
            assert_eq!(share_bp(text), Ok(share), "{text}");
            assert_eq!(percent(share), text);
        }
        assert_eq!(share_bp("1.5%"), Ok(150));
        for text in ["5", "0%", "101%", "-1%", "1.234%", "%", "x%", "+5%"] {
            assert!(share_bp(text).is_err(), "{text}");
        }
    }
}
