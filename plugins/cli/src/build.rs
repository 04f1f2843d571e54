//! `onhand plugin build`: sources to `plugin.wasm`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use onhand_plugin_bundle::{Build, Kind, Language, Manifest};
use onhand_plugin_runtime::inspect;
use serde_json::json;

use crate::component::componentize;
use crate::figures::{count, hex, size};
use crate::keys::write;
use crate::subject::{WASM, limits, project_manifest, read};
use crate::terminal::{Failure, Terminal};
use crate::toolchain::{RUST_TARGET, Toolchain};
use crate::workshop::load_help;
use crate::{DONE, TOOLS};

const EXAMPLES: &str = "\
Runs the command of [build] in plugin.toml, makes a component of what it leaves, and writes
plugin.wasm beside plugin.toml.

Examples:
  onhand plugin build
  onhand plugin build path/to/project";

/// Most bytes of a module that is taken from a build.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `onhand plugin build`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Arguments that build a project.
    pub(crate) fn of_project(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), json: false }
    }
}

/// Builds a project.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let dir = &arguments.dir;
    let manifest = project_manifest(dir)?;
    let Some(build) = &manifest.build else {
        return Err(Failure::usage("plugin.toml has no [build]").help(
            "add for example\n    [build]\n    language = \"rust\"\n    output = \"target/\
             wasm32-unknown-unknown/release/NAME.wasm\"",
        ));
    };
    let (command, output) = plan(build)?;
    if let Some(command) = &command {
        let toolchain = match build.language {
            Language::Rust => Toolchain::find(command),
            _ => Toolchain::default(),
        };
        if !arguments.json {
            let line = format!("{}\n", terminal.dim(&shown(command, &toolchain)));
            terminal.note(&line);
        }
        execute(dir, build.language, command, &toolchain)?;
    }
    let wasm = load(dir, &output, manifest.kind, build.language)?;
    let path = dir.join(WASM);
    write(&path, &wasm)?;
    report(arguments, &manifest, &path, &wasm, terminal)
}

/// Returns the command to run and the file that it leaves.
fn plan(build: &Build) -> Result<(Option<String>, String), Failure> {
    let command = build.command.clone().or_else(|| match build.language {
        Language::Rust => Some(format!("cargo build --release --target {RUST_TARGET}")),
        _ => None,
    });
    if command.is_none() && build.language != Language::Wat {
        let text = format!("plugin.toml has no build.command for {}", build.language.name());
        return Err(Failure::usage(text));
    }
    let output = build.output.clone().ok_or_else(|| {
        Failure::usage("plugin.toml has no build.output").help(
            "name the WebAssembly file that the command leaves, from the project's folder down",
        )
    })?;
    Ok((command, output))
}

/// Says exactly what to install for a language.
const fn install(language: Language) -> &'static str {
    match language {
        Language::Rust => {
            "install Rust from https://rustup.rs and then `rustup target add \
             wasm32-unknown-unknown`; or on Debian `apt-get install --no-install-recommends \
             cargo rustc-web rust-web-src`"
        }
        Language::TypeScript => {
            "install Node.js 20 or later, then `npm install` in the project's folder"
        }
        Language::C => {
            "install a C compiler for WebAssembly: `pip install ziglang` (used as `python3 -m \
             ziglang cc`), or clang and lld"
        }
        Language::Python => "install Python 3.10 or later, then `pip install componentize-py`",
        Language::Wat => "nothing is needed",
    }
}

/// Writes a command as a shell would take it.
fn shown(command: &str, toolchain: &Toolchain) -> String {
    let before = toolchain.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let after = toolchain.arguments.iter().map(ToString::to_string);
    before.chain([command.to_owned()]).chain(after).collect::<Vec<_>>().join(" ")
}

fn execute(
    dir: &Path,
    language: Language,
    command: &str,
    toolchain: &Toolchain,
) -> Result<(), Failure> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or_else(|| Failure::usage("build.command is empty"))?;
    let made = Command::new(program)
        .args(words)
        .args(&toolchain.arguments)
        .envs(toolchain.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .output();
    let output = made.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::new(TOOLS, format!("{program} is not installed, or not in PATH"))
                .help(install(language))
        } else {
            Failure::new(TOOLS, format!("{program}: {error}"))
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("`{command}` failed:\n{}", said.trim_end());
    // What compilers and package managers say when a part of the toolchain is not there.
    let missing = ["can't find crate for `core`", "can't find crate for `std`", "No module named"];
    let missing = missing.iter().any(|words| said.contains(words));
    let help = if missing { install(language) } else { "mend the sources as the compiler says" };
    Err(Failure::new(TOOLS, text).help(help))
}

/// Reads what the build left, and makes a component of it.
fn load(dir: &Path, output: &str, kind: Kind, language: Language) -> Result<Vec<u8>, Failure> {
    let path = dir.join(output);
    if !path.is_file() {
        let text = format!("the build has not left {}", path.display());
        return Err(
            Failure::new(TOOLS, text).help("set build.output in plugin.toml to what it leaves")
        );
    }
    let bytes = read(&path, OUTPUT_BYTES_MAX)?;
    let bytes = match language {
        Language::Wat => wat::parse_bytes(&bytes)
            .map(std::borrow::Cow::into_owned)
            .map_err(|error| Failure::new(TOOLS, format!("{}: {error}", path.display())))?,
        _ => bytes,
    };
    componentize(bytes, kind).map_err(|why| {
        let text = format!("{} is no module for {}: {why}", path.display(), kind.package());
        Failure::new(TOOLS, text)
            .help("export what wit/ says, and import nothing but its log: no WASI, no JavaScript")
    })
}

fn report(
    arguments: &Arguments,
    manifest: &Manifest,
    path: &Path,
    wasm: &[u8],
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let limits = limits(Some(manifest));
    let shape = inspect(wasm, &limits).map_err(|error| {
        let failure = Failure::unfit(format!("{}: {error}", path.display()));
        match load_help(&error) {
            Some(help) => failure.help(help),
            None => failure,
        }
    })?;
    let (bytes, budget) = (wasm.len() as u64, limits.module_bytes);
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.build/1",
            "wasm": path.display().to_string(),
            "bytes": bytes,
            "bytes_limit": budget,
            "functions": shape.functions,
            "interface": shape.interface,
            "hash": hex(blake3::hash(wasm).as_bytes()),
        }));
    } else {
        let percent = bytes as f64 * 100.0 / budget as f64;
        let text = format!(
            "{}\n  {} of {} allowed ({percent:.1} %), {} functions, {}\n",
            path.display(),
            size(bytes),
            size(budget),
            count(shape.functions),
            shape.interface
        );
        terminal.say(&text);
    }
    Ok(DONE)
}
