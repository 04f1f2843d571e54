//! Why a journal is not content: the broken rule, where, and the numbers.

use std::fmt;
use std::path::PathBuf;

use crate::report::json_string;

/// What kind of failure ended a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// A well-sealed record breaks a rule: the engine that wrote it was wrong.
    Violation,
    /// The files are not one unbroken journal: bytes were lost or changed.
    Damaged,
    /// The journal could not be read at all: no such directory, no permission, I/O error.
    Unreadable,
}

impl FailureKind {
    /// Returns the word used in text and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The first failure that a verification met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure this is.
    pub kind: FailureKind,
    /// Seq of the record at fault; 0 if the failure is not about one record.
    pub seq: u64,
    /// Epoch of the frame at fault; 0 if the failure is not about one frame.
    pub epoch: u64,
    /// File at fault.
    pub file: PathBuf,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The rule: `I1` to `I17` of the domain, or `V1` to `V8` of `docs/VERIFIER.md`.
    pub invariant: &'static str,
    /// What was found and what was expected, with all numbers.
    pub reason: String,
}

impl Failure {
    /// Returns the failure as one JSON object.
    pub fn json(&self) -> String {
        let mut out = format!("{{\"verdict\":\"{}\",\"invariant\":\"", self.kind.word());
        out.push_str(self.invariant);
        out.push_str("\",\"seq\":");
        out.push_str(&self.seq.to_string());
        out.push_str(",\"epoch\":");
        out.push_str(&self.epoch.to_string());
        out.push_str(",\"offset\":");
        out.push_str(&self.offset.to_string());
        out.push_str(",\"file\":");
        json_string(&mut out, &self.file.to_string_lossy());
        out.push_str(",\"reason\":");
        json_string(&mut out, &self.reason);
        out.push('}');
        out
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind.word(), self.invariant, self.reason)?;
        if self.seq != 0 {
            write!(f, "; record {}", self.seq)?;
        }
        if self.epoch != 0 {
            write!(f, "; epoch {}", self.epoch)?;
        }
        write!(f, "; {} at byte {}", self.file.display(), self.offset)
    }
}

impl std::error::Error for Failure {}

/// A broken rule, before its place is known.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Name of the rule.
    pub(crate) invariant: &'static str,
    /// What was found.
    pub(crate) reason: String,
}

/// Outcome of a check; the failure is boxed because it is rare and large.
pub(crate) type Check<T = ()> = Result<T, Box<Broken>>;

/// Makes a broken rule.
#[cold]
#[expect(clippy::unnecessary_box_returns, reason = "every check returns it boxed")]
pub(crate) fn broken(invariant: &'static str, reason: String) -> Box<Broken> {
    Box::new(Broken { invariant, reason })
}

/// Returns a [`Broken`] from the enclosing function unless the condition holds; the text is
/// only formatted if it does not.
macro_rules! demand {
    ($holds:expr, $invariant:literal, $($text:tt)+) => {
        if !$holds {
            return Err($crate::failure::broken($invariant, format!($($text)+)));
        }
    };
}
pub(crate) use demand;
