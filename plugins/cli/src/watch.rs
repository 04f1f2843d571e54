//! `onhand plugin watch`: build and test again when a file is saved.
//!
//! It looks at the times of the project's files a few times a second: a project has few of them,
//! and what a system reports of changes differs from system to system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::subject::{WASM, project_manifest};
use crate::terminal::{Failure, Terminal};
use crate::{build, test};

const EXAMPLES: &str = "\
Builds and tests once, then again whenever a source, a fixture or plugin.toml is saved. Ctrl-C ends
it.

Example:
  onhand plugin watch";

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Files that are looked at, at most.
const FILES_MAX: usize = 10_000;
/// How deep folders are looked into.
const DEPTH_MAX: usize = 16;
/// Folders that tools fill.
const SKIPPED: [&str; 6] = ["target", "node_modules", "build", "dist", "zig-out", "__pycache__"];

/// Arguments of `onhand plugin watch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Stop after so many builds
    #[arg(long, value_name = "N", hide = true)]
    rounds: Option<u64>,
}

/// Sources with their times and sizes.
type Files = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Watches a project.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let dir = &arguments.dir;
    project_manifest(dir)?;
    let mut rounds = 0;
    let mut seen = Files::new();
    loop {
        let now = files(dir)?;
        if now != seen {
            seen = now;
            let code = round(dir, terminal);
            rounds += 1;
            if arguments.rounds.is_some_and(|most| rounds >= most) {
                return Ok(code);
            }
            let text = format!("{}\n", terminal.dim("waiting for a change; Ctrl-C ends"));
            terminal.note(&text);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Builds and tests once; what is wrong is told, and ends nothing.
fn round(dir: &Path, terminal: &mut Terminal<'_>) -> u8 {
    let built = build::run(&build::Arguments::of_project(dir), terminal);
    let done = built.and_then(|_| test::run(&test::Arguments::of_project(dir), terminal));
    done.unwrap_or_else(|failure| terminal.fail(&failure))
}

fn files(dir: &Path) -> Result<Files, Failure> {
    let mut found = Files::new();
    walk(dir, 0, &mut found)?;
    Ok(found)
}

fn walk(dir: &Path, depth: usize, found: &mut Files) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::file(dir, &error);
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let made = name == WASM || name.ends_with(".new") || name.ends_with(".onhand");
        // A lock file changes by the build itself.
        if made || name.starts_with('.') || name.ends_with(".lock") {
            continue;
        }
        // A file may go while it is looked at.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) {
                walk(&entry.path(), depth + 1, found)?;
            }
        } else if found.len() < FILES_MAX {
            found.insert(entry.path(), (about.modified().ok(), about.len()));
        }
    }
    Ok(())
}
