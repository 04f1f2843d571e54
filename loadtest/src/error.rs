//! Why a run could not be carried out; a violated truth is a result, not an error.

use std::fmt;

/// What kind of trouble ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// An option is outside its range or contradicts another.
    Usage,
    /// The target can't be reached, or does not speak the API.
    Target,
    /// A file can't be read or written, or a line of it is malformed.
    Input,
    /// The target serves no events, so most of the truth can't be told.
    NoFeed,
}

/// Why a run could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    kind: LoadErrorKind,
    what: String,
}

impl LoadError {
    /// Makes an error about an option.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { kind: LoadErrorKind::Usage, what: what.into() }
    }

    /// Makes an error about the target.
    pub(crate) fn target(what: impl Into<String>) -> Self {
        Self { kind: LoadErrorKind::Target, what: what.into() }
    }

    /// Makes the error of a target without events.
    pub(crate) fn no_feed(what: impl Into<String>) -> Self {
        Self { kind: LoadErrorKind::NoFeed, what: what.into() }
    }

    /// Makes an error about a file.
    pub(crate) fn input(what: impl Into<String>) -> Self {
        Self { kind: LoadErrorKind::Input, what: what.into() }
    }

    /// Returns the kind.
    pub fn kind(&self) -> LoadErrorKind {
        self.kind
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for LoadError {}
