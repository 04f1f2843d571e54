//! The manifest of a plugin: `plugin.toml`, read strictly.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use crate::kind::Kind;
use crate::limit::{LIMITS, Limit};
use crate::name::{ID_BYTES_MAX, VERSION_BYTES_MAX, id_fault, version_fault};
use crate::schema::{DEPTH_MAX, Schema};
use crate::text::{Field, Section, TextError, parse};

/// Most authors that a manifest names.
const AUTHORS_MAX: usize = 16;
/// Most reasons in its table.
const REASONS_MAX: usize = 1_000;
/// Most bytes of a line of text for people.
const LINE_BYTES_MAX: usize = 255;

/// What is done with an order whose plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The built-in policy decides: `built_in`.
    #[default]
    BuiltIn,
    /// It passes: list price, no suspicion, nothing recommended: `fail_open`.
    FailOpen,
    /// It is refused: `fail_closed`.
    FailClosed,
}

impl OnFailure {
    /// Returns its name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::FailOpen => "fail_open",
            Self::FailClosed => "fail_closed",
        }
    }
}

/// Language that a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `rust`
    Rust,
    /// `ts`: TypeScript or JavaScript.
    TypeScript,
    /// `c`
    C,
    /// `python`
    Python,
    /// `wat`: WebAssembly as text.
    Wat,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 5] = [Self::Rust, Self::TypeScript, Self::C, Self::Python, Self::Wat];

    /// Returns its name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "ts",
            Self::C => "c",
            Self::Python => "python",
            Self::Wat => "wat",
        }
    }
}

/// How a plugin is built from its sources; of no use to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Language of the sources.
    pub language: Language,
    /// Command that is run in the project's folder, program and arguments parted by spaces.
    pub command: Option<String>,
    /// The WebAssembly file that it leaves, from the project's folder.
    pub output: Option<String>,
}

/// What a plugin says of itself.
///
/// # Example
///
/// ```
/// use onhand_plugin_bundle::Manifest;
///
/// let text = r#"
///     id = "acme/tiers"
///     version = "1.2.0"
///     kind = "pricing"
///     wit = "onhand:pricing@1.0.0"
///     license = "Apache-2.0"
///     [limits]
///     fuel_per_order = 50_000
///     [reasons]
///     1 = "buy more, pay less"
/// "#;
/// let manifest = Manifest::read(text)?;
/// assert_eq!(manifest.limit("fuel_per_order"), Some(50_000));
/// assert_eq!(manifest.reasons[&1], "buy more, pay less");
///
/// let error = Manifest::read(&text.replace("50_000", "5")).err().map(|e| e.to_string());
/// let said = "line 8, column 22: limits.fuel_per_order is 5, outside 1000..=10000000000 fuel";
/// assert_eq!(error.as_deref(), Some(said));
/// # Ok::<(), onhand_plugin_bundle::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Name, 1 to 64 bytes of `a-z`, `0-9`, `.`, `_`, `-`, `/`.
    pub id: String,
    /// Version, `MAJOR.MINOR.PATCH` with a tail, at most 32 bytes.
    pub version: String,
    /// What it decides about.
    pub kind: Kind,
    /// WIT package that it is made for, such as `onhand:pricing@1.0.0`.
    pub wit: String,
    /// Licence by its SPDX expression.
    pub license: String,
    /// What it does, in a line.
    pub description: Option<String>,
    /// Who made it.
    pub authors: Vec<String>,
    /// Where more is said.
    pub homepage: Option<String>,
    /// What is done when it fails, unless the shop says otherwise; the built-in policy by default.
    pub on_failure: OnFailure,
    /// Limits that it sets, by the names of [`LIMITS`]; the runtime's defaults for the others.
    pub limits: BTreeMap<&'static str, u64>,
    /// What its configuration must look like; anything if it says nothing.
    pub config_schema: Option<Schema>,
    /// Texts of its rules and reasons, by their numbers.
    pub reasons: BTreeMap<u32, String>,
    /// How it is built.
    pub build: Option<Build>,
}

const FIELDS: &[&str] = &[
    "id",
    "version",
    "kind",
    "wit",
    "license",
    "description",
    "authors",
    "homepage",
    "on_failure",
    "permissions",
    "limits",
    "config_schema",
    "reasons",
    "build",
];

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// Returns the first field that is unknown, missing or outside its range, with its line.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let table = parse(text)?;
        let top = Section::new(text, "", table.get_ref(), FIELDS)?;
        let id = named(&top.need("id", "\"acme/tiers\"")?, ID_BYTES_MAX, id_fault)?;
        let version = named(&top.need("version", "\"1.0.0\"")?, VERSION_BYTES_MAX, version_fault)?;
        let kinds = Kind::ALL.map(|kind| (kind.name(), kind));
        let kind = top.need("kind", "\"pricing\"")?.word(&kinds)?;
        let wit = package(&top.need("wit", &format!("{:?}", kind.package()))?, kind)?;
        let license = top.need("license", "\"Apache-2.0\"")?.line(LINE_BYTES_MAX)?;
        let line = |name| top.get(name).map(|field| field.line(LINE_BYTES_MAX)).transpose();
        let (description, homepage) = (line("description")?, line("homepage")?);
        let authors = top.get("authors").map_or_else(
            || Ok(Vec::new()),
            |field| field.list(AUTHORS_MAX)?.iter().map(|one| one.line(LINE_BYTES_MAX)).collect(),
        )?;
        let on_failure = [OnFailure::BuiltIn, OnFailure::FailOpen, OnFailure::FailClosed];
        let on_failure = top
            .get("on_failure")
            .map(|field| field.word(&on_failure.map(|policy| (policy.name(), policy))))
            .transpose()?
            .unwrap_or_default();
        if let Some(field) = top.get("permissions") {
            let none = "has entries, and there is none to have: a plugin may log and no more";
            field.list(0).map_err(|_| field.error(none))?;
        }
        let limits = top.get("limits").map(|field| limits(&field)).transpose()?;
        let config_schema = top.get("config_schema").map(|field| schema(&field)).transpose()?;
        let reasons = top.get("reasons").map(|field| reasons(&field)).transpose()?;
        let build = top.get("build").map(|field| build(&field)).transpose()?;
        let (limits, reasons) = (limits.unwrap_or_default(), reasons.unwrap_or_default());
        Ok(Self {
            id,
            version,
            kind,
            wit,
            license,
            description,
            authors,
            homepage,
            on_failure,
            limits,
            config_schema,
            reasons,
            build,
        })
    }

    /// Returns a limit that the manifest sets.
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.limits.get(name).copied()
    }
}

fn named(
    field: &Field<'_>,
    bytes_max: usize,
    fault: impl Fn(&str) -> Option<&'static str>,
) -> Result<String, TextError> {
    let text = field.line(bytes_max)?;
    let fault = fault(&text);
    fault.map_or_else(
        || Ok(text.clone()),
        |why| Err(field.error(format_args!("is {text:?}, {why}"))),
    )
}

/// Takes the name of a WIT package of the kind; whether a host runs its version, the host says.
fn package(field: &Field<'_>, kind: Kind) -> Result<String, TextError> {
    let text = field.line(64)?;
    let version = text.strip_prefix(&format!("onhand:{kind}@"));
    let fine = version
        .is_some_and(|version| version_fault(version).is_none() && !version.contains(['-', '+']));
    if fine {
        return Ok(text);
    }
    let mut error = field.error(format_args!("is {text:?}, no WIT package for {kind}"));
    error.help = Some(format!("write {:?}", kind.package()));
    Err(error)
}

fn limits(field: &Field<'_>) -> Result<BTreeMap<&'static str, u64>, TextError> {
    let section = field.section(&LIMITS.map(|limit| limit.name))?;
    let set = LIMITS.iter().filter_map(|limit| Some((limit, section.get(limit.name)?)));
    let one = |(&Limit { name, unit, min, max }, field): (&Limit, Field<'_>)| {
        Ok((name, field.number(unit, (min, max))?))
    };
    set.map(one).collect()
}

fn schema(field: &Field<'_>) -> Result<Schema, TextError> {
    let value = match field.value {
        DeValue::String(text) => {
            serde_json::from_str(text).map_err(|e| field.error(format_args!("is no JSON: {e}")))?
        }
        _ => json(field, 0)?,
    };
    Schema::read(value).map_err(|error| field.error(format_args!("at {error}")))
}

/// Returns a value of TOML as JSON.
fn json(field: &Field<'_>, depth: usize) -> Result<Value, TextError> {
    // A schema alternates keywords and names, so that its text is twice as deep.
    if depth > 2 * DEPTH_MAX {
        return Err(field.error(format_args!("is nested deeper than {} levels", 2 * DEPTH_MAX)));
    }
    Ok(match field.value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            let outside = |_| field.error(format_args!("is {number}, more than 64 bits hold"));
            Value::Number(value.map_err(outside)?.into())
        }
        DeValue::Float(number) => {
            let value = number.as_str().parse().ok().and_then(Number::from_f64);
            Value::Number(value.ok_or_else(|| field.error("is no number that JSON has"))?)
        }
        DeValue::Datetime(_) => return Err(field.error("is a time, and JSON has none: quote it")),
        DeValue::Array(_) => {
            let list = field.list(usize::MAX)?;
            Value::Array(list.iter().map(|one| json(one, depth + 1)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(_) => {
            let mut map = Map::new();
            for (name, one) in field.entries(usize::MAX)? {
                map.insert(name.to_owned(), json(&one, depth + 1)?);
            }
            Value::Object(map)
        }
    })
}

fn reasons(field: &Field<'_>) -> Result<BTreeMap<u32, String>, TextError> {
    let one = |(name, field): (&str, Field<'_>)| {
        let plain = name.bytes().all(|byte| byte.is_ascii_digit());
        let code = name.parse().ok().filter(|_| plain);
        let outside = || field.error(format_args!("is no number, outside 0..={}", u32::MAX));
        Ok((code.ok_or_else(outside)?, field.line(LINE_BYTES_MAX)?))
    };
    field.entries(REASONS_MAX)?.into_iter().map(one).collect()
}

fn build(field: &Field<'_>) -> Result<Build, TextError> {
    let section = field.section(&["language", "command", "output"])?;
    let languages = Language::ALL.map(|language| (language.name(), language));
    let language = section.need("language", "\"rust\"")?.word(&languages)?;
    let command = section.get("command").map(|f| f.line(LINE_BYTES_MAX)).transpose()?;
    let output = section.get("output").map(|field| path(&field)).transpose()?;
    Ok(Build { language, command, output })
}

/// Takes a path that stays inside the project's folder.
fn path(field: &Field<'_>) -> Result<String, TextError> {
    let text = field.line(LINE_BYTES_MAX)?;
    let inside = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if inside && !text.contains(['\\', ':']) {
        return Ok(text);
    }
    Err(field.error(format_args!("is {text:?}, no path from the project's folder down")))
}
