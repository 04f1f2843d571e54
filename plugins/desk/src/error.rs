//! What can go wrong with the desk itself and with the steps of a plugin's life.

use std::fmt;
use std::path::{Path, PathBuf};

use onhand_core::{PolicyNo, Refusal};
use onhand_plugin_runtime::{LoadError, RuntimeError};

use crate::limits::LimitError;
use crate::settings::SettingsError;

/// Why the desk was not opened, or a step not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeskError {
    /// A setting is outside its range.
    Bound(LimitError),
    /// The configuration of a built-in policy is wrong.
    Settings(SettingsError),
    /// The plugin runtime does not start.
    Runtime(RuntimeError),
    /// The bundle is malformed.
    Bundle(String),
    /// Nobody whom the trust file names has signed the bundle.
    Trust(String),
    /// The configuration does not fit the manifest's schema.
    Config(String),
    /// The runtime does not take the plugin.
    Load(LoadError),
    /// A file cannot be read or written, or must not be used.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        why: String,
    },
    /// The system gives no randomness.
    Random(String),
    /// The system gives no thread.
    Thread(std::io::Error),
    /// No such policy is installed.
    Unknown(PolicyNo),
    /// The step does not fit where the policy stands.
    Step {
        /// The policy.
        no: PolicyNo,
        /// Why not, and what to do first.
        why: String,
    },
    /// The engine refuses the step.
    Refused(Refusal),
    /// The engine has not carried out the step.
    Engine(onhand_core::Error),
    /// The desk runs no plugins: it was opened without a runtime.
    NoPlugins,
}

impl DeskError {
    pub(crate) fn file(path: &Path, why: &str) -> Self {
        Self::File { path: path.to_owned(), why: why.to_owned() }
    }

    pub(crate) fn step(no: PolicyNo, why: impl Into<String>) -> Self {
        Self::Step { no, why: why.into() }
    }
}

impl fmt::Display for DeskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::Runtime(error) => error.fmt(f),
            Self::Bundle(why) => write!(f, "bundle: {why}"),
            Self::Trust(why) => write!(f, "bundle is not trusted: {why}"),
            Self::Config(why) => write!(f, "configuration does not fit the plugin: {why}"),
            Self::Load(error) => write!(f, "plugin: {error}"),
            Self::File { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Random(why) => write!(f, "the system gives no randomness: {why}"),
            Self::Thread(error) => write!(f, "no thread for the desk: {error}"),
            Self::Unknown(no) => write!(f, "policy {} is not installed", no.0),
            Self::Step { no, why } => write!(f, "policy {}: {why}", no.0),
            Self::Refused(refusal) => {
                write!(f, "engine refuses the step: {}", refusal.reject.code())
            }
            Self::Engine(error) => error.fmt(f),
            Self::NoPlugins => f.write_str("plugins are switched off"),
        }
    }
}

impl std::error::Error for DeskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bound(error) => Some(error),
            Self::Settings(error) => Some(error),
            Self::Runtime(error) => Some(error),
            Self::Load(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::Engine(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LimitError> for DeskError {
    fn from(error: LimitError) -> Self {
        Self::Bound(error)
    }
}

impl From<SettingsError> for DeskError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}
