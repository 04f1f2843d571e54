//! `onhand plugin package`: a project as one file.

use std::path::PathBuf;

use clap::Args;
use onhand_plugin_bundle::{BundleBuilder, BundleLimits, Part};
use serde_json::json;

use crate::figures::{hex, size};
use crate::keys::{read_key, write};
use crate::subject::{MANIFEST, Subject, Which, read_text};
use crate::terminal::{Failure, Terminal};
use crate::{DONE, FILE};

const EXAMPLES: &str = "\
The same project gives the same bytes, on every machine. Run `build`, `check` and `test` before.

Examples:
  onhand plugin package                        NAME-VERSION.onhand, without signature
  onhand plugin package --key acme.key         signed
  onhand plugin package --out dist/tiers.onhand";

/// Arguments of `onhand plugin package`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// File with the secret key to sign with
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where to write the bundle; NAME-VERSION.onhand in the project's folder if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Packages a project.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let dir = &arguments.dir;
    if !dir.is_dir() {
        let text = format!("{} is no folder", dir.display());
        return Err(Failure::new(FILE, text).help("name the folder that has plugin.toml"));
    }
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    let subject = Subject::find(&Which { plugin: dir.clone(), manifest: None })?;
    let manifest = read_text(&dir.join(MANIFEST))?;
    let mut builder = BundleBuilder::new(&manifest, subject.wasm.clone()).parts(parts(dir)?);
    for (name, fixture) in &subject.fixtures {
        builder = builder.fixture(name, &fixture.text());
    }
    let limits = BundleLimits::default();
    let refused = |error: onhand_plugin_bundle::BundleError| Failure::unfit(error.to_string());
    let mut bundle = builder.build(&limits).map_err(refused)?;
    if let Some(key) = &key {
        bundle.sign(key, &limits).map_err(refused)?;
    }
    let id = bundle.manifest().id.rsplit('/').next().unwrap_or_default().to_owned();
    let name = format!("{id}-{}.onhand", bundle.manifest().version);
    let out = arguments.out.clone().unwrap_or_else(|| dir.join(name));
    write(&out, bundle.bytes())?;
    let signed = key.map(|key| key.public().id().to_string());
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.package/1",
            "bundle": out.display().to_string(),
            "hash": hex(&bundle.hash()),
            "bytes": bundle.bytes().len(),
            "fixtures": bundle.fixtures().len(),
            "signed_by": signed,
        }));
    } else {
        let signed = signed.map_or_else(
            || "not signed: `onhand plugin sign`".to_owned(),
            |id| format!("signed by {id}"),
        );
        let bytes = size(bundle.bytes().len() as u64);
        let hash = hex(&bundle.hash());
        let fixtures = bundle.fixtures().len();
        terminal.say(&format!(
            "{}\n  {bytes}, {fixtures} fixtures, {signed}\n  blake3 {hash}\n",
            out.display()
        ));
    }
    Ok(DONE)
}

/// Returns what a project's lock file says that it is made of; nothing if it has none.
fn parts(dir: &std::path::Path) -> Result<Vec<Part>, Failure> {
    let part =
        |name: &str, version: &str| Part { name: name.to_owned(), version: version.to_owned() };
    let (cargo, npm) = (dir.join("Cargo.lock"), dir.join("package-lock.json"));
    if cargo.is_file() {
        let wrong =
            |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", cargo.display()));
        let table: toml::Table = read_text(&cargo)?.parse().map_err(|error| wrong(&error))?;
        let packages = table.get("package").and_then(toml::Value::as_array);
        let text = |package: &toml::Value, name: &str| {
            package.get(name).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
        };
        // The project itself has no source.
        let outside = packages.into_iter().flatten().filter(|one| one.get("source").is_some());
        return Ok(outside.map(|one| part(&text(one, "name"), &text(one, "version"))).collect());
    }
    if npm.is_file() {
        let wrong = |error| Failure::usage(format!("{}: {error}", npm.display()));
        let lock: serde_json::Value = serde_json::from_str(&read_text(&npm)?).map_err(wrong)?;
        let packages = lock["packages"].as_object().into_iter().flatten();
        let named = packages.filter_map(|(path, package)| {
            let name = path.rsplit_once("node_modules/")?.1;
            Some(part(name, package["version"].as_str().unwrap_or_default()))
        });
        return Ok(named.collect());
    }
    Ok(Vec::new())
}
