//! Operational failures: input and output, damage, overload, closing.

use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of operational failure happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or directory could not be read, written or synced.
    Io,
    /// Bytes on disk are not what was written.
    Damaged,
    /// The data directory is open in another process.
    Locked,
    /// The data directory was made with other settings, or by a newer version.
    Mismatch,
    /// A setting is outside its range.
    Config,
    /// A queue is full; the same call may succeed in a moment.
    Overloaded,
    /// The disk is nearly full; the engine only reads.
    ReadOnly,
    /// The engine is closing or closed.
    Closed,
    /// The engine stopped after a failed write or a broken invariant; open it anew.
    Stopped,
}

/// An operational failure, with its cause and the way out.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    help: &'static str,
    path: Option<PathBuf>,
    source: Option<std::io::Error>,
}

impl Error {
    /// Makes an error of a kind; `what` states the fact, `help` the way out.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>, help: &'static str) -> Self {
        Self(Box::new(Inner { kind, what: what.into(), help, path: None, source: None }))
    }

    /// Makes an input or output error at a path.
    pub(crate) fn io(what: impl Into<String>, path: &Path, source: std::io::Error) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Io,
            what: what.into(),
            help: "check the disk and the permissions of the data directory, then open it anew",
            path: Some(path.to_owned()),
            source: Some(source),
        }))
    }

    /// Makes an error about damaged bytes in a file.
    pub(crate) fn damaged(what: impl Into<String>, path: &Path, help: &'static str) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Damaged,
            what: what.into(),
            help,
            path: Some(path.to_owned()),
            source: None,
        }))
    }

    /// Returns this error with the path that it is about.
    #[must_use]
    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the file or directory that the error is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns what to do about it.
    pub fn help(&self) -> &'static str {
        self.0.help
    }

    /// Returns whether the same call may succeed in a moment.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Overloaded)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        match &self.0.path {
            Some(path) => write!(f, " ({})", path.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}; help: {}", self.0.kind, self.0.help)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}
