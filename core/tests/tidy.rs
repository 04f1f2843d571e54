//! The shape of the whole project: layout, dependency arrows, small rules of style, and that what
//! the documentation names is there.
//!
//! It reads files and builds nothing. What clippy and rustfmt can check is not checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may stand at the top level, beside hidden files.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "core",
    "docs",
    "examples",
    "host",
    "loadtest",
    "plugins",
];
/// Most lines of one source file.
const LINES_MAX: usize = 800;
/// Most lines of one decision record: a page.
const RECORD_LINES_MAX: usize = 70;
/// Most packages that `onhand-core` may depend on directly.
const CORE_DEPENDENCIES_MAX: usize = 6;

/// Which of our packages each package may depend on; tests and benches included.
const ARROWS: &[(&str, &[&str])] = &[
    ("onhand-core", &[]),
    ("onhand-verify", &[]),
    ("onhand-policy", &["onhand-core"]),
    ("onhand-plugin-bundle", &["onhand-core", "onhand-policy"]),
    (
        "onhand-plugin-cli",
        &["onhand-core", "onhand-policy", "onhand-plugin-bundle", "onhand-plugin-runtime"],
    ),
    ("onhand-plugin-runtime", &["onhand-policy", "onhand-plugin-sdk"]),
    ("onhand-plugin-sdk", &["onhand-policy"]),
    ("fraud-score", &["onhand-plugin-sdk"]),
    ("item-to-item", &["onhand-plugin-sdk"]),
    ("tiered-pricing", &["onhand-plugin-sdk"]),
    (
        "onhand-desk",
        &["onhand-core", "onhand-policy", "onhand-plugin-bundle", "onhand-plugin-runtime"],
    ),
    ("onhand-loadtest", &["onhand-core"]),
    (
        "onhand-host",
        &[
            "onhand-core",
            "onhand-verify",
            "onhand-loadtest",
            "onhand-desk",
            "onhand-policy",
            "onhand-plugin-bundle",
            "onhand-plugin-cli",
            "onhand-plugin-runtime",
        ],
    ),
    ("onhand-benches", &["onhand-core", "onhand-verify", "onhand-loadtest"]),
    ("onhand-loadtest-benches", &[]),
    (
        "onhand-plugin-benches",
        &[
            "onhand-benches",
            "onhand-core",
            "onhand-desk",
            "onhand-policy",
            "onhand-plugin-bundle",
            "onhand-plugin-runtime",
        ],
    ),
    ("onhand-examples", &["onhand-core", "onhand-verify"]),
];
/// What neither the engine nor its verifier may ever depend on.
const NEVER_BELOW: &[&str] =
    &["serde", "serde_json", "tokio", "hyper", "http", "wasmtime", "clap", "toml", "anyhow"];

/// Part of the engine, modules that it must not name, and why.
const MODULE_RULES: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "apply/",
            "state/",
            "domain/",
            "codec.rs",
            "hash.rs",
            "route.rs",
            "count_flow.rs",
            "order_flow.rs",
        ],
        &[
            "archive",
            "checkpoint",
            "config",
            "engine",
            "journal",
            "keeper",
            "lock",
            "open",
            "recovery",
            "sim",
            "storage",
            "store",
        ],
        "transitions are functions of state, time and command",
    ),
    (
        &["apply/", "state/", "domain/", "codec.rs", "count_flow.rs", "order_flow.rs"],
        &["shard::completion", "shard::core", "shard::gate", "shard::published", "shard::stripes"],
        "transitions know a section of records and nothing of threads",
    ),
    (
        &["apply/", "state/", "domain/", "count_flow.rs", "order_flow.rs"],
        &["time::Clock", "time::SystemClock", "time::ManualClock"],
        "time is stamped on a command before it is applied",
    ),
    (
        &["journal/", "storage/", "storage.rs"],
        &[
            "apply",
            "archive",
            "checkpoint",
            "codec",
            "command",
            "config",
            "domain",
            "engine",
            "keeper",
            "open",
            "shard",
            "state",
            "store",
        ],
        "the journal moves bytes; what a record means is not its business",
    ),
    (
        &["store/"],
        &["apply", "codec", "command", "domain", "engine", "journal", "shard", "state"],
        "the store moves bytes; what they mean is not its business",
    ),
    (
        &["shard/", "apply/", "state/", "journal/", "store/", "keeper.rs", "archive.rs"],
        &["engine", "open", "config"],
        "only the facade and its opening stand on top",
    ),
];
/// Texts that no file of the engine may have, and the files that may.
const TEXT_RULES: &[(&str, &[&str])] = &[
    ("SystemTime", &["time.rs"]),
    (
        "Instant",
        &[
            "bin/sim.rs",
            "journal/spare.rs",
            "keeper.rs",
            "open.rs",
            "shard/gate.rs",
            "store/pace.rs",
            "sync.rs",
        ],
    ),
    // Under shuttle it is a switch to another thread and takes no time.
    ("thread::sleep", &["sync.rs"]),
    ("std::collections::HashMap", &["hash.rs"]),
    ("std::collections::HashSet", &["hash.rs"]),
    ("std::env", &["bin/sim.rs", "interleaving/mod.rs"]),
    ("std::process", &["bin/sim.rs", "lock.rs", "store/sled_store.rs"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core is in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the files of the project with paths from its root: those that git knows, or all that
/// are neither built nor hidden where there is no git.
fn files() -> Vec<String> {
    let git = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let listed: Vec<String> = match git {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8(output.stdout).expect("UTF-8 names");
            text.split_terminator('\0').map(str::to_owned).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(&root(), "", &mut found);
            found
        }
    };
    // A file that was removed and not committed yet is still listed.
    let there = |name: &String| root().join(name).is_file();
    let mut files: Vec<String> = listed.into_iter().filter(there).collect();
    files.sort_unstable();
    assert!(files.len() > 100, "only {} files found", files.len());
    files
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8 names");
        let hidden = name.starts_with('.');
        if hidden || (prefix.is_empty() && (name == "target" || name == "data")) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else {
            found.push(path);
        }
    }
}

fn with_end(end: &str) -> Vec<String> {
    files().into_iter().filter(|name| name.ends_with(end)).collect()
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// A manifest as far as the arrows need it: no TOML beyond what our manifests use.
struct Manifest {
    name: String,
    /// Name, whether it is optional, whether it is for tests only.
    dependencies: Vec<(String, bool, bool)>,
    features: BTreeSet<String>,
    text: String,
}

fn manifest(path: &str) -> Manifest {
    let text = read(&root().join(path));
    let mut section = String::new();
    let mut name = String::new();
    let (mut dependencies, mut features) = (Vec::new(), BTreeSet::new());
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"').to_owned();
        if section == "package" && key == "name" {
            value.trim().trim_matches('"').clone_into(&mut name);
        } else if section == "features" {
            features.insert(key);
        } else if section.ends_with("dependencies") {
            let optional = value.replace(' ', "").contains("optional=true");
            dependencies.push((key, optional, section.ends_with("dev-dependencies")));
        }
    }
    Manifest { name, dependencies, features, text }
}

fn manifests() -> BTreeMap<String, (String, Manifest)> {
    let paths = with_end("/Cargo.toml");
    let all = paths.into_iter().map(|path| (manifest(&path), path));
    all.map(|(manifest, path)| (manifest.name.clone(), (path, manifest))).collect()
}

/// The top level is the fixed list, so that a newcomer finds everything at one glance.
#[test]
fn top_level_is_the_fixed_list() {
    let names: BTreeSet<String> =
        files().iter().filter_map(|f| f.split('/').next()).map(str::to_owned).collect();
    let visible: BTreeSet<&str> =
        names.iter().map(String::as_str).filter(|name| !name.starts_with('.')).collect();
    let wanted: BTreeSet<&str> = TOP_LEVEL.iter().copied().collect();
    assert_eq!(visible, wanted);
}

/// Dependencies between our packages go the way that the architecture draws, and no other.
#[test]
fn arrows_between_packages_point_down() {
    let all = manifests();
    let mut broken = Vec::new();
    for (name, (path, manifest)) in &all {
        let allowed =
            ARROWS.iter().find(|(package, _)| package == name).map(|(_, allowed)| allowed);
        if allowed.is_none() {
            broken.push(format!("{path}: package {name} is not in the list of arrows"));
        }
        if !manifest.text.contains("[lints]\nworkspace = true") {
            broken.push(format!("{path}: the workspace's lints are not taken over"));
        }
        for (dependency, optional, _) in &manifest.dependencies {
            if dependency.starts_with("onhand-")
                && !allowed.is_some_and(|a| a.contains(&dependency.as_str()))
            {
                broken.push(format!("{path}: {name} must not depend on {dependency}"));
            }
            if name == "onhand-loadtest" && dependency == "onhand-core" && !optional {
                broken.push(format!("{path}: a black box knows the engine as a feature only"));
            }
            let below = name == "onhand-core" || name == "onhand-verify";
            if below && NEVER_BELOW.contains(&dependency.as_str()) {
                broken.push(format!("{path}: {name} must not know {dependency}"));
            }
        }
    }
    report(&broken);
}

/// Each package that ships code to users has its direct dependencies in the decision record.
#[test]
fn dependencies_are_few_and_recorded() {
    let records = ["0012-dependencies.md", "0024-dependencies-of-plugins.md"];
    let record = records.map(|name| read(&root().join("docs/decisions").join(name))).concat();
    let mut broken = Vec::new();
    for (name, (path, manifest)) in manifests() {
        let shipped: Vec<&String> = manifest
            .dependencies
            .iter()
            .filter(|(dependency, _, test)| !test && !dependency.starts_with("onhand-"))
            .map(|(dependency, _, _)| dependency)
            .collect();
        if name == "onhand-core" && shipped.len() > CORE_DEPENDENCIES_MAX {
            broken.push(format!("{path}: more than {CORE_DEPENDENCIES_MAX} dependencies"));
        }
        if name == "onhand-benches" || name == "onhand-examples" {
            continue;
        }
        for dependency in shipped {
            if !record.contains(&format!("| `{dependency}`")) {
                broken.push(format!("{path}: {dependency} has no line in the decision record"));
            }
        }
    }
    report(&broken);
}

/// Returns the lines of a source file before its unit tests, comments left out.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod "));
    let end = tests.unwrap_or(lines.len());
    let code = lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line));
    code.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

fn names_module(line: &str, module: &str) -> bool {
    let full = format!("crate::{module}");
    line.match_indices(&full).any(|(at, _)| {
        let next = line[at + full.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Modules of the engine know only what is below them.
#[test]
fn arrows_between_modules_point_down() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in with_end(".rs") {
        let Some(short) = file.strip_prefix("core/src/") else { continue };
        if short.contains("tests") {
            continue;
        }
        let text = read(&root().join(&file));
        for (parts, forbidden, why) in MODULE_RULES {
            if !parts.iter().any(|part| short.starts_with(part)) {
                continue;
            }
            checked += 1;
            for (number, line) in code_lines(&text) {
                for module in forbidden.iter().filter(|module| names_module(line, module)) {
                    broken.push(format!("{file}:{number}: must not use {module}: {why}"));
                }
            }
        }
    }
    assert!(checked > 20, "only {checked} files were looked at");
    report(&broken);
}

/// Time, threads, hashing and the environment enter the engine by named doors only.
#[test]
fn effects_enter_by_named_doors() {
    let mut broken = Vec::new();
    for file in with_end(".rs") {
        let Some(short) = file.strip_prefix("core/src/") else { continue };
        if short.contains("tests") {
            continue;
        }
        let text = read(&root().join(&file));
        let pure = ["apply/", "state/", "domain/"].iter().any(|part| short.starts_with(part));
        for (number, line) in code_lines(&text) {
            for (word, doors) in TEXT_RULES {
                if has_word(line, word) && !doors.contains(&short) {
                    broken.push(format!("{file}:{number}: {word} is not for this file"));
                }
            }
            if pure && ["f32", "f64", "std::thread"].iter().any(|word| has_word(line, word)) {
                broken.push(format!("{file}:{number}: no float and no thread in a transition"));
            }
        }
    }
    for file in with_end(".rs").iter().filter(|file| file.starts_with("core/verify/")) {
        if read(&root().join(file)).contains("onhand_core") {
            broken.push(format!("{file}: the verifier shares no code with the engine"));
        }
    }
    report(&broken);
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Each source file says its job first, is short enough to be read, and leaves nothing for later.
#[test]
fn source_files_are_short_and_introduced() {
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    let mut broken = Vec::new();
    for file in with_end(".rs") {
        let text = read(&root().join(&file));
        let lines = text.lines().count();
        if !text.starts_with("//! ") {
            broken.push(format!("{file}: does not open with what it is for"));
        }
        if lines > LINES_MAX {
            broken.push(format!("{file}: {lines} lines, at most {LINES_MAX}"));
        }
        for word in later.iter().filter(|word| text.contains(**word)) {
            broken.push(format!("{file}: has a {word}"));
        }
    }
    report(&broken);
}

/// Returns what stands between `](` and `)`, outside code blocks.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (open, _) in line.match_indices("](") {
            if let Some(target) = line[open + 2..].split(')').next() {
                found.push((at + 1, target));
            }
        }
    }
    found
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_';
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// Each link from a page to a file, and to a heading in it, leads somewhere.
#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in with_end(".md") {
        let here = root().join(&file);
        let text = read(&here);
        for (number, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page =
                if path.is_empty() { here.clone() } else { here.with_file_name("").join(path) };
            if !page.exists() {
                broken.push(format!("{file}:{number}: {target} is not there"));
            } else if !anchor.is_empty() && !anchors(&read(&page)).contains(anchor) {
                broken.push(format!("{file}:{number}: {target} has no such heading"));
            }
        }
    }
    assert!(checked > 30, "only {checked} links found");
    report(&broken);
}

/// The book's index names every page, and the index of decisions every record, none too long.
#[test]
fn pages_are_in_their_index() {
    let all = with_end(".md");
    let index = read(&root().join("docs/README.md"));
    let records = read(&root().join("docs/decisions/README.md"));
    let mut broken = Vec::new();
    let mut numbers = Vec::new();
    for file in &all {
        if let Some(record) = file.strip_prefix("docs/decisions/").filter(|r| *r != "README.md") {
            numbers.push(record.split('-').next().unwrap_or_default().to_owned());
            if !records.contains(&format!("]({record})")) {
                broken.push(format!("{file} is not in docs/decisions/README.md"));
            }
            let lines = read(&root().join(file)).lines().count();
            if lines > RECORD_LINES_MAX {
                broken.push(format!("{file}: {lines} lines, at most {RECORD_LINES_MAX}"));
            }
        } else if let Some(page) = file.strip_prefix("docs/").filter(|p| !p.contains('/'))
            && page != "README.md"
            && !index.contains(&format!("]({page})"))
        {
            broken.push(format!("{file} is not in docs/README.md"));
        }
    }
    let counted: Vec<String> = (1..=numbers.len()).map(|n| format!("{n:04}")).collect();
    assert_eq!(numbers, counted, "decision records are numbered from 0001 without a gap");
    report(&broken);
}

/// Returns the commands in code of a page: lines of code blocks, and what stands in backticks.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((at + 1, line.trim_start_matches("$ ").to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (at + 1, code.to_owned())));
        }
    }
    found
}

/// Returns the subcommands of `onhand`, as its command line declares them.
fn subcommands() -> BTreeSet<String> {
    let text = read(&root().join("host/src/cli/mod.rs"));
    let mut found = BTreeSet::from(["help".to_owned()]);
    let mut inside = false;
    for line in text.lines() {
        inside = (inside || line.contains("Subcommand)]")) && line != "}";
        let variant = line.trim().split('(').next().unwrap_or_default();
        if inside && line.trim().ends_with("),") && variant.chars().all(char::is_alphanumeric) {
            found.insert(variant.to_lowercase());
        }
    }
    assert!(found.len() > 4, "subcommands not recognised: {found:?}");
    found
}

fn check_cargo(words: &[&str], all: &BTreeMap<String, (String, Manifest)>) -> Result<(), String> {
    let after = |flags: &[&str]| {
        let at = words.iter().position(|word| flags.contains(word))?;
        words.get(at + 1).map(|word| word.trim_end_matches(['.', ',']))
    };
    let package = after(&["-p", "--package"]);
    let packages: Vec<&(String, Manifest)> = match package {
        Some(name) => vec![all.get(name).ok_or_else(|| format!("no package {name}"))?],
        None => all.values().collect(),
    };
    let has = |path: &str| {
        packages.iter().any(|(manifest, _)| root().join(manifest).with_file_name(path).exists())
    };
    let declares = |name: &str| {
        let line = format!("name = \"{name}\"");
        packages.iter().any(|(_, manifest)| manifest.text.contains(&line))
    };
    let kinds = [
        ("--bin", "src/bin"),
        ("--example", "examples"),
        ("--test", "tests"),
        ("--bench", "benches"),
    ];
    for (flag, dir) in kinds {
        if let Some(name) = after(&[flag])
            && !has(&format!("{dir}/{name}.rs"))
            && !has(&format!("{dir}/{name}/main.rs"))
            && !declares(name)
        {
            return Err(format!("no {} {name}", &flag[2..]));
        }
    }
    if let Some(names) = after(&["--features", "-F"]) {
        for name in names.split(',') {
            if !packages.iter().any(|(_, manifest)| manifest.features.contains(name)) {
                return Err(format!("no feature {name}"));
            }
        }
    }
    Ok(())
}

/// Packages, programs, features and subcommands that a page tells the reader to run exist.
#[test]
fn commands_in_pages_exist() {
    let all = manifests();
    let subcommands = subcommands();
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in with_end(".md") {
        for (number, command) in commands(&read(&root().join(&file))) {
            // What stands before a variable's value or after `&&` is not the command.
            for part in command.split("&&").flat_map(|part| part.split(" | ")) {
                let words: Vec<&str> =
                    part.split_whitespace().skip_while(|word| word.contains('=')).collect();
                let onhand = match words.as_slice() {
                    ["cargo", rest @ ..] => {
                        checked += 1;
                        if let Err(what) = check_cargo(rest, &all) {
                            broken.push(format!("{file}:{number}: {what}: {command}"));
                        }
                        let at = rest.iter().position(|word| *word == "--");
                        let runs_onhand = rest.contains(&"run")
                            && (!rest.contains(&"-p") || rest.contains(&"onhand-host"))
                            && !rest.contains(&"--bin");
                        at.filter(|_| runs_onhand).and_then(|at| rest.get(at + 1))
                    }
                    ["onhand" | "target/release/onhand", sub, ..] => Some(sub),
                    _ => None,
                };
                if let Some(sub) = onhand.filter(|sub| !sub.starts_with('-')) {
                    checked += 1;
                    let subs = sub.split('|').map(|sub| sub.trim_end_matches(['.', ',']));
                    for sub in subs.filter(|sub| !subcommands.contains(*sub)) {
                        broken.push(format!("{file}:{number}: onhand has no {sub}: {command}"));
                    }
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} commands found");
    report(&broken);
}

/// The two commands of the README are there, and continuous integration runs the second as it is.
#[test]
fn the_two_commands_are_the_ones_that_run() {
    let readme = read(&root().join("README.md"));
    let ci = read(&root().join(".ci/run"));
    let tests = "cargo test --workspace";
    for command in ["cargo run --release -- demo", tests] {
        assert!(readme.lines().any(|line| line.trim() == command), "README lacks {command}");
    }
    assert!(ci.lines().any(|line| line.trim() == tests), ".ci/run does not call {tests}");
}
