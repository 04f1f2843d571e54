//! The plugin that a command is about: a project's folder, a component, or a bundle.

use std::path::{Path, PathBuf};

use clap::Args;
use onhand_plugin_bundle::{Bundle, BundleLimits, FIXTURES_MAX, Fixture, Manifest};
use onhand_plugin_runtime::Limits;

use crate::terminal::Failure;

/// Name of a project's manifest.
pub(crate) const MANIFEST: &str = "plugin.toml";
/// Name of a project's component.
pub(crate) const WASM: &str = "plugin.wasm";
/// Name of a project's folder of fixtures.
pub(crate) const FIXTURES: &str = "fixtures";
/// Most bytes of a text that is read.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of a component or bundle that is read.
const FILE_BYTES_MAX: u64 = 72 << 20;

/// Which plugin a command is about.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Project's folder, component (.wasm) or bundle (.onhand)
    #[arg(value_name = "PLUGIN", default_value = ".")]
    pub(crate) plugin: PathBuf,
    /// Manifest of a component that stands alone
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// A plugin with all that is known of it.
#[derive(Debug)]
pub(crate) struct Subject {
    /// How output names it.
    pub(crate) shown: String,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) wasm: Vec<u8>,
    /// Fixtures by name, in order.
    pub(crate) fixtures: Vec<(String, Fixture)>,
    /// Folder of the project, if it is one.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) bundle: Option<Bundle>,
}

/// Reads a whole file of bounded size.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let io = |error: std::io::Error| Failure::file(path, &error);
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > bytes_max {
        let text = format!("{} has {length} bytes, at most {bytes_max}", path.display());
        return Err(Failure::usage(text));
    }
    std::fs::read(path).map_err(io)
}

/// Reads a text of bounded size.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, TEXT_BYTES_MAX)?;
    let no_text = |_| Failure::usage(format!("{}: no text in UTF-8", path.display()));
    String::from_utf8(bytes).map_err(no_text)
}

/// Reads a manifest.
pub(crate) fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let text = read_text(path)?;
    Manifest::read(&text).map_err(|error| {
        let place = format!("{}:{}:{}", path.display(), error.line, error.column);
        let failure = Failure::usage(format!("{place}: {}", error.message));
        match error.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

/// Reads a fixture.
pub(crate) fn read_fixture(path: &Path) -> Result<Fixture, Failure> {
    let text = read_text(path)?;
    Fixture::read(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .help("`onhand plugin run --help` shows what a fixture has")
    })
}

/// Reads a bundle.
pub(crate) fn read_bundle(path: &Path) -> Result<Bundle, Failure> {
    let bytes = read(path, FILE_BYTES_MAX)?;
    Bundle::read(&bytes, &BundleLimits::default())
        .map_err(|error| Failure::unfit(format!("{}: {error}", path.display())))
}

/// Reads the fixtures of a folder, sorted by name; none if there is no folder.
fn read_fixtures(dir: &Path) -> Result<Vec<(String, Fixture)>, Failure> {
    let mut fixtures = Vec::new();
    if !dir.is_dir() {
        return Ok(fixtures);
    }
    let io = |error: std::io::Error| Failure::file(dir, &error);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|end| end == "json")) {
            if fixtures.len() == FIXTURES_MAX {
                let text = format!("{} has more than {FIXTURES_MAX} fixtures", dir.display());
                return Err(Failure::usage(text));
            }
            fixtures.push((name, read_fixture(&path)?));
        }
    }
    fixtures.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(fixtures)
}

impl Subject {
    /// Finds a plugin and reads all that is known of it.
    pub(crate) fn find(which: &Which) -> Result<Self, Failure> {
        let path = &which.plugin;
        if path.is_dir() {
            if which.manifest.is_some() {
                return Err(Failure::usage("--manifest is for a component that stands alone"));
            }
            return Self::of_project(path);
        }
        let shown = path.display().to_string();
        if path.extension().is_some_and(|end| end == "onhand") {
            let bundle = read_bundle(path)?;
            let fixtures = bundle.fixtures().iter().map(|(n, f)| (n.clone(), f.clone())).collect();
            return Ok(Self {
                shown,
                manifest: Some(bundle.manifest().clone()),
                wasm: bundle.wasm().to_vec(),
                fixtures,
                dir: None,
                bundle: Some(bundle),
            });
        }
        let manifest = which.manifest.as_deref().map(read_manifest).transpose()?;
        let wasm = read(path, FILE_BYTES_MAX)?;
        let fixtures = match &which.manifest {
            Some(manifest) => {
                read_fixtures(&manifest.parent().unwrap_or(Path::new("")).join(FIXTURES))?
            }
            None => Vec::new(),
        };
        Ok(Self { shown, manifest, wasm, fixtures, dir: None, bundle: None })
    }

    fn of_project(dir: &Path) -> Result<Self, Failure> {
        let manifest = project_manifest(dir)?;
        let wasm = dir.join(WASM);
        if !wasm.is_file() {
            let text = format!("{} is not there", wasm.display());
            let help = "build it: `onhand plugin build`";
            return Err(Failure::new(crate::FILE, text).help(help));
        }
        Ok(Self {
            shown: manifest.id.clone(),
            wasm: read(&wasm, FILE_BYTES_MAX)?,
            fixtures: read_fixtures(&dir.join(FIXTURES))?,
            manifest: Some(manifest),
            dir: Some(dir.to_owned()),
            bundle: None,
        })
    }

    /// Returns the limits that the plugin is run with: its own, and the runtime's defaults.
    pub(crate) fn limits(&self) -> Limits {
        limits(self.manifest.as_ref())
    }

    /// Returns the text of a rule or reason, if the manifest has it.
    pub(crate) fn reason(&self, code: u32) -> Option<&str> {
        self.manifest.as_ref()?.reasons.get(&code).map(String::as_str)
    }
}

/// Reads the manifest of a project's folder.
pub(crate) fn project_manifest(dir: &Path) -> Result<Manifest, Failure> {
    let path = dir.join(MANIFEST);
    if !path.is_file() {
        let text = format!("no {MANIFEST} in {}", dir.display());
        let help = "go to a project's folder, name one, or make one with `onhand plugin new`";
        return Err(Failure::new(crate::FILE, text).help(help));
    }
    read_manifest(&path)
}

/// Returns the limits of a manifest, with the runtime's defaults for what it does not say.
pub(crate) fn limits(manifest: Option<&Manifest>) -> Limits {
    let mut limits = Limits::default();
    let Some(manifest) = manifest else { return limits };
    for (bound, value) in limits.all_mut() {
        *value = manifest.limit(bound.name).unwrap_or(*value);
    }
    limits
}

#[cfg(test)]
mod tests {
    use onhand_plugin_bundle::{LIMITS, Manifest};
    use onhand_plugin_runtime::Limits;

    use super::limits;

    /// The manifest's table of limits is the runtime's, and each limit reaches its field.
    #[test]
    fn manifest_and_runtime_have_the_same_limits() {
        let own = LIMITS.map(|limit| (limit.name, limit.unit, limit.min, limit.max));
        let runtime = Limits::default().all().map(|(b, _)| (b.name, b.unit, b.min, b.max));
        assert_eq!(own, runtime);
        let text =
            "id='a'\nversion='1.0.0'\nkind='fraud'\nwit='onhand:fraud@1.0.0'\nlicense='MIT'\n";
        for limit in LIMITS {
            let value = limit.max - 1;
            let manifest = Manifest::read(&format!("{text}[limits]\n{} = {value}", limit.name));
            let set = limits(Some(&manifest.expect("a manifest")));
            for ((bound, found), (_, default)) in set.all().iter().zip(Limits::default().all()) {
                let wanted = if bound.name == limit.name { value } else { default };
                assert_eq!(*found, wanted, "{} when {} is set", bound.name, limit.name);
            }
        }
    }
}
