//! The command line: what `onhand` can do, its texts and its exit codes.

mod bench;
mod client;
mod demo;
mod explain;
mod plugin;
mod rebuild;
mod serve;
mod signal;
mod style;
mod verify;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::auth::NewKey;

/// Done.
pub const DONE: u8 = 0;
/// Something failed: a file, the engine, a host that can't be reached.
pub const FAILED: u8 = 1;
/// Wrong usage or a setting that is not usable.
pub const USAGE: u8 = 2;
/// A journal is damaged or can't be read.
pub const DAMAGED: u8 = 3;
/// A truth does not hold: oversold, a lost order, a broken rule in the journal.
pub const UNTRUE: u8 = 5;
/// Interrupted by a signal.
pub const INTERRUPTED: u8 = 130;

const ABOUT: &str = "A durable, deterministic order and inventory engine, served over HTTP.";

const EXAMPLES: &str = "\
Start here:
  onhand demo                                 a flash sale on this machine, checked afterwards
  onhand serve --dev --data shop              serve a shop on 127.0.0.1:8080, without keys
  onhand load run flash-sale                  let a crowd into it, and check the truth
  onhand verify shop                          check every record of its journal
  onhand explain sold_out                     what a problem code means
  onhand explain ord_... --data shop          why an order is as it is
  onhand plugin new tiers --kind pricing      a plugin of your own, in Rust, TypeScript, C or Python

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 damaged or unreadable journal,
5 a truth is violated (oversold, lost order, broken rule), 130 interrupted.";

/// The command line of `onhand`.
#[derive(Debug, Parser)]
#[command(name = "onhand", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an engine over HTTP
    Serve(serve::Arguments),
    /// Run a flash sale against a host on this machine, and check the truth
    Demo(demo::Arguments),
    /// Check a data directory's journal, independently of the engine
    Verify(verify::Arguments),
    /// Make the checkpoints and the archive anew from the journal
    Rebuild(rebuild::Arguments),
    /// Explain a problem code, or the decisions about an order
    Explain(explain::Arguments),
    /// Measure durable orders in this process, without HTTP
    Bench(bench::Arguments),
    /// Let a crowd into a running host, and check the truth afterwards: the load tester
    #[command(after_help = onhand_loadtest::cli::HELP)]
    Load(onhand_loadtest::cli::Arguments),
    /// Make plugins, sign them, and lead them through their life at a running host
    Plugin(plugin::Arguments),
    /// Compile a plugin from standard input within limits; the host runs this of its own accord
    #[command(hide = true)]
    CompilePlugin(CompilePlugin),
    /// Make API keys
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key, and the digest that the host's settings keep instead of it
    #[command(after_help = KEY_EXAMPLES)]
    New(KeyNew),
}

/// The hidden command with which the host compiles a plugin in a process of its own.
pub(crate) const COMPILE_COMMAND: &str = "compile-plugin";

#[derive(Debug, Args)]
struct CompilePlugin {
    /// Processor time
    #[arg(value_name = "SECONDS")]
    seconds: u64,
}

const KEY_EXAMPLES: &str = "\
Example:
  onhand key new
  ONHAND_API_KEYS=blake3:... onhand serve --data shop
  curl -H 'Authorization: Bearer onhand_live_...' ...";

#[derive(Debug, Args)]
struct KeyNew {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why a command ended early: what to say, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
    help: Option<String>,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<onhand_core::Error> for Failure {
    fn from(error: onhand_core::Error) -> Self {
        let code = match error.kind() {
            onhand_core::ErrorKind::Damaged => DAMAGED,
            onhand_core::ErrorKind::Config | onhand_core::ErrorKind::Mismatch => USAGE,
            _ => FAILED,
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        Self::new(code, text).help(error.help())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(FAILED, error.to_string())
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(USAGE, error.to_string())
            .help("`onhand serve --print-config` shows every setting with its origin")
    }
}

/// Carries out a command line and returns the exit code.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Load(arguments) => return onhand_loadtest::cli::execute(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Rebuild(arguments) => rebuild::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Plugin(arguments) => plugin::run(&arguments),
        Command::CompilePlugin(arguments) => compile_plugin(&arguments),
        Command::Key(KeyCommand::New(arguments)) => key_new(&arguments),
    };
    ExitCode::from(match done {
        Ok(code) => code,
        Err(failure) => {
            let mut text = format!("onhand: {}\n", failure.text);
            if let Some(help) = failure.help {
                let _ = writeln!(text, "  help: {help}");
            }
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            failure.code
        }
    })
}

fn compile_plugin(arguments: &CompilePlugin) -> Result<u8, Failure> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    onhand_plugin_runtime::compile_child(arguments.seconds, &mut input, &mut output)?;
    Ok(DONE)
}

/// Writes to standard output; a reader that has left is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error.
fn note(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn key_new(arguments: &KeyNew) -> Result<u8, Failure> {
    let NewKey { key, digest } = NewKey::generate()?;
    if arguments.json {
        say(&format!("{{\"key\":\"{key}\",\"digest\":\"{digest}\"}}\n"));
    } else {
        say(&format!(
            "key     {key}\ndigest  {digest}\n\n\
             Give the key to the client, and the digest to the host:\n  \
             ONHAND_API_KEYS={digest} onhand serve --data DIR\n\
             The key is shown this once and is not stored.\n"
        ));
    }
    Ok(DONE)
}

/// Returns the data directory of a command, checked to be there.
fn existing(dir: &std::path::Path) -> Result<PathBuf, Failure> {
    if dir.is_dir() {
        return Ok(dir.to_owned());
    }
    Err(Failure::new(FAILED, format!("no data directory {}", dir.display()))
        .help("name the directory that `onhand serve --data DIR` or `onhand demo --data DIR` made"))
}
