//! `onhand plugin new`: a project of a language and a kind.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use include_dir::{Dir, include_dir};
use onhand_plugin_bundle::Kind;
use serde_json::json;

use crate::terminal::{Failure, Terminal};
use crate::{DONE, FILE};

const EXAMPLES: &str = "\
Examples:
  onhand plugin new tiers --kind pricing --lang rust
  onhand plugin new risk --kind fraud --lang c --into plugins
  onhand plugin new first --kind pricing --lang wat      needs no tools at all";

/// The templates: for each language, what all kinds have under `common`, and the rest by kind; what
/// all languages have under `shared`.
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../templates");
/// The sources of the SDK for Rust, which a project in Rust has a copy of: it builds without a
/// registry, and never against another version than it was made with.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk/src");
/// Most characters of a project's name.
const NAME_CHARS_MAX: usize = 40;

/// Kind of plugin, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KindArgument {
    /// Prices of orders
    Pricing,
    /// Fraud scores of orders
    Fraud,
    /// Recommendations for a basket
    Recommend,
}

/// Language of a template.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    /// Rust, by the SDK: about 45 KB
    Rust,
    /// TypeScript, by `AssemblyScript`: about 8 KB
    Ts,
    /// C, by zig or clang: about 4 KB
    C,
    /// Python, with its interpreter: 18 MB and slow
    Python,
    /// WebAssembly as text, to learn with: needs no tools
    Wat,
}

/// Arguments of `onhand plugin new`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the plugin and its folder: a-z, 0-9 and `-`, a letter first
    #[arg(value_name = "NAME")]
    name: String,
    /// What it decides about
    #[arg(long, value_enum)]
    kind: KindArgument,
    /// Language of its sources
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// Folder to make it in
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Language {
    const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Ts => "ts",
            Self::C => "c",
            Self::Python => "python",
            Self::Wat => "wat",
        }
    }
}

/// Makes a project.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let Arguments { name, kind, lang, into, json } = arguments;
    let kind = match kind {
        KindArgument::Pricing => Kind::Pricing,
        KindArgument::Fraud => Kind::Fraud,
        KindArgument::Recommend => Kind::Recommend,
    };
    check_name(name)?;
    let dir = into.join(name);
    let files = files(name, kind, *lang)?;
    // Made before anything is written: two at once do not mix.
    std::fs::create_dir(&dir).map_err(|error| {
        let failure = Failure::file(&dir, &error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            Failure::new(FILE, format!("{} is there already", dir.display()))
                .help("take another name, or remove it")
        } else {
            failure
        }
    })?;
    for (path, text) in &files {
        write(&dir.join(path), text)?;
    }
    if *json {
        terminal.json(&json!({
            "schema": "onhand.plugin.new/1",
            "dir": dir.display().to_string(),
            "kind": kind.name(),
            "language": lang.name(),
            "files": files.keys().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        }));
    } else {
        let text = format!(
            "{}: a {kind} plugin in {}\n\nNext:\n  cd {}\n  onhand plugin build\n  \
             onhand plugin test\n\nREADME.md says which tools it needs.\n",
            dir.display(),
            lang.name(),
            dir.display()
        );
        terminal.say(&text);
    }
    Ok(DONE)
}

fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let letter = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let fine = letter && name.bytes().all(plain) && !name.ends_with('-') && !name.contains("--");
    if fine && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    let shown: String = name.escape_debug().take(60).collect();
    let text = format!(
        "\"{shown}\" is no name: 1 to {NAME_CHARS_MAX} of a-z, 0-9 and `-`, a letter first"
    );
    Err(Failure::usage(text).help("for example `tiers` or `gold-prices`"))
}

/// Returns the files of a project with their paths, in order.
fn files(
    name: &str,
    kind: Kind,
    language: Language,
) -> Result<std::collections::BTreeMap<PathBuf, Vec<u8>>, Failure> {
    let mut files = std::collections::BTreeMap::new();
    // What the languages share are fixtures that the text has no answer to.
    let shared: &[&str] = if matches!(language, Language::Wat) { &[] } else { &["shared"] };
    for base in shared.iter().copied().chain([language.name()]) {
        for part in ["common", kind.name()] {
            if let Some(dir) = TEMPLATES.get_dir(format!("{base}/{part}")) {
                collect(dir, dir.path(), name, kind, &mut files);
            }
        }
    }
    if matches!(language, Language::Rust) {
        let mut sdk = std::collections::BTreeMap::new();
        collect(&SDK, SDK.path(), name, kind, &mut sdk);
        files.extend(sdk.into_iter().map(|(path, text)| (Path::new("sdk/src").join(path), text)));
    }
    if !files.contains_key(Path::new("plugin.toml")) {
        let text = format!("no template for {kind} in {}", language.name());
        return Err(Failure::usage(text).help("--lang rust has every kind"));
    }
    let wit = PathBuf::from(format!("wit/{kind}.wit"));
    files.insert(wit, kind.wit().as_bytes().to_vec());
    Ok(files)
}

fn collect(
    dir: &Dir<'_>,
    base: &Path,
    name: &str,
    kind: Kind,
    files: &mut std::collections::BTreeMap<PathBuf, Vec<u8>>,
) {
    for file in dir.files() {
        let path = file.path().strip_prefix(base).unwrap_or(file.path());
        let path = path.to_str().unwrap_or_default();
        // A manifest named `Cargo.toml` would be taken for one of this workspace's, and a hidden
        // file is easily lost on the way: templates have them under other names.
        let path = path.strip_suffix(".in").unwrap_or(path).replace("dot-", ".");
        let contents = match file.contents_utf8() {
            Some(text) => fill(text, name, kind).into_bytes(),
            None => file.contents().to_vec(),
        };
        files.insert(PathBuf::from(path), contents);
    }
    for inner in dir.dirs() {
        collect(inner, base, name, kind, files);
    }
}

/// Puts name and kind where a template leaves room for them.
fn fill(text: &str, name: &str, kind: Kind) -> String {
    text.replace("{{name}}", name)
        .replace("{{crate}}", &name.replace('-', "_"))
        .replace("{{kind}}", kind.name())
        .replace("{{wit}}", kind.package())
}

fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| Failure::file(parent, &error))?;
    }
    std::fs::write(path, contents).map_err(|error| Failure::file(path, &error))
}
