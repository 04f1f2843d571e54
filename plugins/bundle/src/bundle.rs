//! The bundle: one file with all that a host needs of a plugin, the same bytes for the same parts.

use std::collections::BTreeMap;
use std::fmt;

use crate::archive::{self, ArchiveError, Entry};
use crate::fixture::{Fixture, FixtureError};
use crate::key::SigningKey;
use crate::manifest::Manifest;
use crate::sbom::{self, PARTS_MAX, Part};
use crate::signature::{self, SIGNATURES_MAX, Signature};
use crate::text::TextError;

/// Most fixtures of a bundle.
pub const FIXTURES_MAX: usize = 256;
/// Entries beside the fixtures: manifest, component, WIT, bill of materials, signatures.
const OTHER_ENTRIES: usize = 5;

const MANIFEST: &str = "plugin.toml";
const WASM: &str = "plugin.wasm";
const SBOM: &str = "sbom.json";
const SIGNATURE: &str = "signature";

/// Most bytes of the parts of a bundle. [`BundleLimits::default`] has the default of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleLimits {
    /// The whole file. Default 72 MiB.
    pub bundle_bytes: usize,
    /// Its component. Default 64 MiB, the most that the runtime can be told to take.
    pub wasm_bytes: usize,
    /// Any of its texts: manifest, WIT, bill of materials, one fixture. Default 1 MiB.
    pub text_bytes: usize,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self { bundle_bytes: 72 << 20, wasm_bytes: 64 << 20, text_bytes: 1 << 20 }
    }
}

/// Why a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleError {
    /// A part is larger than its limit.
    TooLarge {
        /// The part.
        what: String,
        /// Its size in bytes.
        value: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// The file is no archive of the canonical form.
    Archive {
        /// Where reading stopped, in bytes from the start.
        offset: usize,
        /// What is wrong there.
        why: String,
    },
    /// An entry has a name that a bundle does not have, or is not in its place.
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry that must be there is not.
    Missing(&'static str),
    /// The manifest is wrong.
    Manifest(TextError),
    /// A fixture is wrong.
    Fixture {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: FixtureError,
    },
    /// Another entry is wrong.
    Entry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { what, value, max } => {
                write!(f, "{what} has {value} bytes, at most {max}")
            }
            Self::Archive { offset, why } => write!(f, "no bundle: {why}, at byte {offset}"),
            Self::Name { name, why } => write!(f, "entry {name:?} {why}"),
            Self::Missing(name) => write!(f, "the bundle lacks {name}"),
            Self::Manifest(error) => write!(f, "{MANIFEST}: {error}"),
            Self::Fixture { name, error } => write!(f, "{name}: {error}"),
            Self::Entry { name, why } => write!(f, "{name}: {why}"),
        }
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Manifest(error) => Some(error),
            Self::Fixture { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<TextError> for BundleError {
    fn from(error: TextError) -> Self {
        Self::Manifest(error)
    }
}

impl From<ArchiveError> for BundleError {
    fn from(ArchiveError { at, why }: ArchiveError) -> Self {
        Self::Archive { offset: at, why }
    }
}

/// A plugin with its manifest, WIT, fixtures, bill of materials and signatures.
///
/// The file is an archive of the canonical form, in this order: `plugin.toml`, `plugin.wasm`,
/// `wit/<kind>.wit`, `fixtures/*.json` by name, `sbom.json`, and `signature` if it is signed. A
/// bundle that was read is whole and consistent; whose it is, [`Trust`](crate::Trust) says.
#[derive(Clone, PartialEq)]
pub struct Bundle {
    bytes: Vec<u8>,
    manifest: Manifest,
    manifest_text: String,
    wasm: std::ops::Range<usize>,
    wit: String,
    fixtures: BTreeMap<String, Fixture>,
    sbom: String,
    signatures: Vec<Signature>,
    hash: [u8; 32],
    content_bytes: usize,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { id, version, .. } = &self.manifest;
        f.debug_struct("Bundle").field("id", id).field("version", version).finish()
    }
}

/// Entries in the order that they must have.
struct Entries<'a> {
    all: std::iter::Peekable<std::vec::IntoIter<Entry<'a>>>,
    text_bytes: usize,
}

impl<'a> Entries<'a> {
    fn next(&mut self, name: &'static str) -> Result<Entry<'a>, BundleError> {
        match self.all.peek() {
            Some(entry) if entry.name == name => self.all.next().ok_or(BundleError::Missing(name)),
            Some(entry) if is_known(entry.name) => Err(BundleError::Missing(name)),
            Some(entry) => Err(unknown(entry.name)),
            None => Err(BundleError::Missing(name)),
        }
    }

    fn text(&self, entry: &Entry<'a>) -> Result<&'a str, BundleError> {
        let Entry { name, bytes, .. } = *entry;
        at_most(name, bytes.len(), self.text_bytes)?;
        let why = || "it is no text in UTF-8".to_owned();
        std::str::from_utf8(bytes)
            .map_err(|_| BundleError::Entry { name: name.to_owned(), why: why() })
    }
}

fn is_known(name: &str) -> bool {
    [MANIFEST, WASM, SBOM, SIGNATURE].contains(&name)
        || fixture_name(name).is_some()
        || name.starts_with("wit/")
}

fn unknown(name: &str) -> BundleError {
    let why = "is none that a bundle has, or is not in its place";
    BundleError::Name { name: name.to_owned(), why }
}

fn at_most(what: &str, value: usize, max: usize) -> Result<(), BundleError> {
    if value <= max {
        return Ok(());
    }
    Err(BundleError::TooLarge { what: what.to_owned(), value, max })
}

/// Returns the name of a fixture's file without folder and ending, if it is one.
fn fixture_name(entry: &str) -> Option<&str> {
    let name = entry.strip_prefix("fixtures/")?.strip_suffix(".json")?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || b"_-.".contains(&byte);
    let fine =
        name.len() <= 64 && name.bytes().next().is_some_and(plain) && name.bytes().all(inner);
    fine.then_some(name)
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong with it. Nothing larger than the file itself is
    /// allocated, whatever it claims.
    pub fn read(bytes: &[u8], limits: &BundleLimits) -> Result<Self, BundleError> {
        at_most("the bundle", bytes.len(), limits.bundle_bytes)?;
        let all = archive::read(bytes, FIXTURES_MAX + OTHER_ENTRIES)?;
        let mut entries =
            Entries { all: all.into_iter().peekable(), text_bytes: limits.text_bytes };
        let entry = entries.next(MANIFEST)?;
        let manifest_text = entries.text(&entry)?.to_owned();
        let manifest = Manifest::read(&manifest_text)?;
        let component = entries.next(WASM)?;
        at_most(WASM, component.bytes.len(), limits.wasm_bytes)?;
        let start = component.start + archive::BLOCK_BYTES;
        let wasm = start..start + component.bytes.len();
        let wit = Self::read_wit(&mut entries, &manifest)?;
        let mut fixtures = BTreeMap::new();
        while let Some(entry) = entries.all.next_if(|entry| entry.name.starts_with("fixtures/")) {
            let file = entry.name.to_owned();
            let name = fixture_name(&file).ok_or_else(|| unknown(&file))?;
            if fixtures.last_key_value().is_some_and(|(last, _): (&String, _)| **last >= *name) {
                let why = "is there twice, or not in order";
                return Err(BundleError::Name { name: file, why });
            }
            let fixture = read_fixture(&file, entries.text(&entry)?, &manifest)?;
            fixtures.insert(name.to_owned(), fixture);
        }
        let entry = entries.next(SBOM)?;
        let sbom = entries.text(&entry)?.to_owned();
        sbom::check(sbom.as_bytes(), &manifest, component.bytes)
            .map_err(|why| BundleError::Entry { name: SBOM.to_owned(), why })?;
        let mut content_bytes = bytes.len() - 2 * archive::BLOCK_BYTES;
        let mut signatures = Vec::new();
        if let Some(entry) = entries.all.next_if(|entry| entry.name == SIGNATURE) {
            content_bytes = entry.start;
            let text = entries.text(&entry)?.as_bytes();
            signatures = signature::read(text)
                .map_err(|why| BundleError::Entry { name: SIGNATURE.to_owned(), why })?;
        }
        if let Some(entry) = entries.all.next() {
            return Err(unknown(entry.name));
        }
        let hash = *blake3::hash(&bytes[..content_bytes]).as_bytes();
        let bytes = bytes.to_vec();
        Ok(Self {
            bytes,
            manifest,
            manifest_text,
            wasm,
            wit,
            fixtures,
            sbom,
            signatures,
            hash,
            content_bytes,
        })
    }

    fn read_wit(entries: &mut Entries<'_>, manifest: &Manifest) -> Result<String, BundleError> {
        let wanted = wit_name(manifest);
        let entry = match entries.all.next_if(|entry| entry.name == wanted) {
            Some(entry) => entry,
            None => entries.next("wit/<kind>.wit")?,
        };
        let text = entries.text(&entry)?;
        let package = format!("package {};", manifest.wit);
        if !text.lines().any(|line| line.trim() == package) {
            let why = format!("it has no line `{package}`, as plugin.toml says");
            return Err(BundleError::Entry { name: wanted, why });
        }
        Ok(text.to_owned())
    }

    /// Returns the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the manifest as it is written.
    pub fn manifest_text(&self) -> &str {
        &self.manifest_text
    }

    /// Returns the component.
    pub fn wasm(&self) -> &[u8] {
        &self.bytes[self.wasm.clone()]
    }

    /// Returns the BLAKE3 of the component.
    pub fn wasm_hash(&self) -> [u8; 32] {
        *blake3::hash(self.wasm()).as_bytes()
    }

    /// Returns the text of its WIT package.
    pub fn wit(&self) -> &str {
        &self.wit
    }

    /// Returns its fixtures by the names of their files, without folder and ending.
    pub const fn fixtures(&self) -> &BTreeMap<String, Fixture> {
        &self.fixtures
    }

    /// Returns its bill of materials, a `CycloneDX` document.
    pub fn sbom(&self) -> &str {
        &self.sbom
    }

    /// Returns its signatures, not verified.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the BLAKE3 of everything but the signatures: what they sign.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Adds a signature, or replaces the one by the same key.
    ///
    /// # Errors
    ///
    /// Returns a ninth signature, or a bundle that is larger than it may be by it.
    pub fn sign(&mut self, key: &SigningKey, limits: &BundleLimits) -> Result<(), BundleError> {
        let made = Signature::make(key, &self.hash);
        let mut signatures = self.signatures.clone();
        match signatures.binary_search_by_key(&made.key, |one| one.key) {
            Ok(at) => signatures[at] = made,
            Err(at) => signatures.insert(at, made),
        }
        if signatures.len() > SIGNATURES_MAX {
            let why = format!("it has {} signatures, at most {SIGNATURES_MAX}", signatures.len());
            return Err(BundleError::Entry { name: SIGNATURE.to_owned(), why });
        }
        let mut bytes = self.bytes[..self.content_bytes].to_vec();
        archive::append(&mut bytes, SIGNATURE, signature::write(&signatures).as_bytes());
        archive::end(&mut bytes);
        at_most("the bundle", bytes.len(), limits.bundle_bytes)?;
        (self.bytes, self.signatures) = (bytes, signatures);
        Ok(())
    }
}

fn wit_name(manifest: &Manifest) -> String {
    format!("wit/{}.wit", manifest.kind)
}

fn read_fixture(file: &str, text: &str, manifest: &Manifest) -> Result<Fixture, BundleError> {
    let name = || file.to_owned();
    let fixture =
        Fixture::read(text).map_err(|error| BundleError::Fixture { name: name(), error })?;
    if fixture.kind() != manifest.kind {
        let why = format!("it is for {}, and the plugin is {}", fixture.kind(), manifest.kind);
        return Err(BundleError::Entry { name: name(), why });
    }
    if let (Some(config), Some(schema)) = (&fixture.config, &manifest.config_schema)
        && let Some(fault) = schema.check(config).first()
    {
        return Err(BundleError::Entry { name: name(), why: fault.to_string() });
    }
    Ok(fixture)
}

/// Makes a bundle of its parts.
#[derive(Clone, Debug)]
#[must_use]
pub struct BundleBuilder {
    manifest: String,
    wasm: Vec<u8>,
    fixtures: BTreeMap<String, String>,
    parts: Vec<Part>,
}

impl BundleBuilder {
    /// Takes the text of the manifest and the component. The WIT is the one that the manifest
    /// names, as this version of Onhand has it.
    pub fn new(manifest: &str, wasm: Vec<u8>) -> Self {
        let (fixtures, parts) = (BTreeMap::new(), Vec::new());
        Self { manifest: manifest.to_owned(), wasm, fixtures, parts }
    }

    /// Adds a fixture by the name of its file, without folder and ending.
    pub fn fixture(mut self, name: &str, text: &str) -> Self {
        self.fixtures.insert(name.to_owned(), text.to_owned());
        self
    }

    /// Adds parts to the bill of materials; their order does not matter.
    pub fn parts(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts.extend(parts);
        self
    }

    /// Makes the bundle: the same parts give the same bytes.
    ///
    /// # Errors
    ///
    /// Returns what [`Bundle::read`] would refuse.
    pub fn build(self, limits: &BundleLimits) -> Result<Bundle, BundleError> {
        let Self { manifest: text, wasm, fixtures, mut parts } = self;
        let manifest = Manifest::read(&text)?;
        if manifest.wit != manifest.kind.package() {
            let (wit, known) = (&manifest.wit, manifest.kind.package());
            let why = format!("wit is {wit}, and this version of Onhand makes bundles for {known}");
            return Err(BundleError::Entry { name: MANIFEST.to_owned(), why });
        }
        at_most(WASM, wasm.len(), limits.wasm_bytes)?;
        parts.sort_unstable();
        parts.dedup();
        if parts.len() > PARTS_MAX {
            let why = format!("it has {} parts, at most {PARTS_MAX}", parts.len());
            return Err(BundleError::Entry { name: SBOM.to_owned(), why });
        }
        let mut bytes = Vec::with_capacity(wasm.len() + (64 << 10));
        archive::append(&mut bytes, MANIFEST, text.as_bytes());
        archive::append(&mut bytes, WASM, &wasm);
        archive::append(&mut bytes, &wit_name(&manifest), manifest.kind.wit().as_bytes());
        for (name, fixture) in &fixtures {
            let file = format!("fixtures/{name}.json");
            if fixture_name(&file).is_none() {
                let why = "is no name for a fixture: up to 64 of a-z, 0-9, `_`, `-`, `.`";
                return Err(BundleError::Name { name: file, why });
            }
            archive::append(&mut bytes, &file, fixture.as_bytes());
        }
        let sbom = sbom::write(&manifest, &wasm, &parts);
        archive::append(&mut bytes, SBOM, sbom.as_bytes());
        archive::end(&mut bytes);
        Bundle::read(&bytes, limits)
    }
}
