//! The commands of those who make plugins: from an empty folder to a signed bundle.
//!
//! A host's binary nests [`PluginCommand`] under `onhand plugin` and calls [`run`]. Operator's
//! commands, which talk to a running host, are not here.
//!
//! # Exit codes
//!
//! | code | means |
//! |---|---|
//! | 0 | done, and the plugin is fine |
//! | 1 | the plugin fails its check, a test, its budget or its signature |
//! | 2 | wrong usage, or a text that cannot be used: manifest, fixture, recording, trust file |
//! | 3 | a file, directory or journal cannot be read or written |
//! | 4 | the tools of a language are missing, or the build fails |
//!
//! # Reading order
//!
//! [`Terminal`] is where output goes. `subject` finds the plugin that a command is about,
//! `workshop` loads it, `usage` compares what it takes with its limits; then one file a command.

mod bench;
mod build;
mod check;
mod component;
pub mod figures;
mod inspect;
mod keys;
mod new;
mod once;
mod package;
mod random;
mod replay;
mod show;
mod subject;
mod terminal;
mod test;
mod toolchain;
mod usage;
mod watch;
mod workshop;

use clap::Subcommand;

pub use terminal::Terminal;

/// Done, and the plugin is fine.
pub const DONE: u8 = 0;
/// The plugin fails its check, a test, its budget or its signature.
pub const UNFIT: u8 = 1;
/// Wrong usage, or a text that cannot be used: manifest, fixture, recording, trust file.
pub const USAGE: u8 = 2;
/// A file, directory or journal cannot be read or written.
pub const FILE: u8 = 3;
/// The tools of a language are missing, or the build fails.
pub const TOOLS: u8 = 4;

/// What `onhand plugin --help` says at its end.
pub const EXAMPLES: &str = "\
From nothing to a bundle:
  onhand plugin new tiers --kind pricing --lang rust    a project that builds and passes its tests
  cd tiers
  onhand plugin build                                   sources to plugin.wasm
  onhand plugin check                                   would a host take it, and why not
  onhand plugin test --fuzz 10000                       fixtures, then random orders
  onhand plugin bench --budget fuel=20k                 what an order costs
  onhand plugin keygen acme.key                         once
  onhand plugin package --key acme.key                  tiers-0.1.0.onhand, signed

Exit codes: 0 done, 1 the plugin fails (check, test, budget, signature), 2 wrong usage or text,
3 a file or journal cannot be read or written, 4 tools are missing or the build fails.";

/// What a maker of plugins can do.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a project that builds and passes its tests at once
    New(new::Arguments),
    /// Build plugin.wasm from the project's sources
    Build(build::Arguments),
    /// Check what a host checks at an upload, and more: start cost, determinism, kept state
    Check(check::Arguments),
    /// Give a plugin one input and see its answer, and each limit with its headroom
    Run(once::Arguments),
    /// Compare the answers to all fixtures with what they should be
    Test(test::Arguments),
    /// Measure fuel and time of an order, over fixtures and random baskets
    Bench(bench::Arguments),
    /// Run recorded inputs again and show each difference, with its effect in money
    Replay(replay::Arguments),
    /// Build and test again whenever a file of the project is saved
    Watch(watch::Arguments),
    /// Show what is inside: manifest, hashes, signatures, sections, largest functions
    Inspect(inspect::Arguments),
    /// Make a pair of keys to sign with
    Keygen(keys::Keygen),
    /// Sign a bundle
    Sign(keys::Sign),
    /// Check a bundle's signatures against a trust file
    Verify(keys::Verify),
    /// Put plugin, manifest, WIT, fixtures and bill of materials into one file
    Package(package::Arguments),
}

/// Carries out a command and returns the exit code.
pub fn run(command: &PluginCommand, terminal: &mut Terminal<'_>) -> u8 {
    let done = match command {
        PluginCommand::New(arguments) => new::run(arguments, terminal),
        PluginCommand::Build(arguments) => build::run(arguments, terminal),
        PluginCommand::Check(arguments) => check::run(arguments, terminal),
        PluginCommand::Run(arguments) => once::run(arguments, terminal),
        PluginCommand::Test(arguments) => test::run(arguments, terminal),
        PluginCommand::Bench(arguments) => bench::run(arguments, terminal),
        PluginCommand::Replay(arguments) => replay::run(arguments, terminal),
        PluginCommand::Watch(arguments) => watch::run(arguments, terminal),
        PluginCommand::Inspect(arguments) => inspect::run(arguments, terminal),
        PluginCommand::Keygen(arguments) => keys::keygen(arguments, terminal),
        PluginCommand::Sign(arguments) => keys::sign(arguments, terminal),
        PluginCommand::Verify(arguments) => keys::verify(arguments, terminal),
        PluginCommand::Package(arguments) => package::run(arguments, terminal),
    };
    done.unwrap_or_else(|failure| terminal.fail(&failure))
}
