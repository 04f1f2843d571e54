//! What can go wrong: opening a runtime, loading a plugin, and each single call of it.

use std::fmt;
use std::path::PathBuf;

use onhand_policy::decision::DecisionError;

use crate::kind::{ABI, AbiVersion, Kind};
use crate::limits::{LimitError, TEXT_BYTES};

/// Why a runtime was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A limit is outside its range.
    Limit(LimitError),
    /// The WebAssembly engine refuses its settings on this machine.
    Engine(String),
    /// The system gives no thread.
    Thread(std::io::Error),
    /// The directory for compiled code cannot be used or trusted.
    Cache {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it and how to mend it.
        why: String,
    },
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(error) => error.fmt(f),
            Self::Engine(why) => write!(f, "the WebAssembly engine cannot be set up: {why}"),
            Self::Thread(error) => write!(f, "no thread for the plugins' clock: {error}"),
            Self::Cache { path, why } => {
                write!(f, "directory for compiled plugins {}: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for RuntimeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Limit(error) => Some(error),
            Self::Thread(error) => Some(error),
            Self::Engine(_) | Self::Cache { .. } => None,
        }
    }
}

impl From<LimitError> for RuntimeError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

/// Why a component was not taken as a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A limit is outside its range.
    Limit(LimitError),
    /// Something of the component is larger than its limit.
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How much of it there is.
        value: u64,
        /// Most that is allowed.
        max: u64,
    },
    /// The bytes are no valid WebAssembly of the allowed features.
    Malformed {
        /// Where reading stopped, in bytes from the start.
        offset: usize,
        /// What is wrong there.
        why: String,
    },
    /// The bytes are a core module.
    CoreModule,
    /// The component imports what a plugin may not have.
    Import(String),
    /// The component does not export its kind's interface.
    NoInterface {
        /// The kind that was asked for; `None` if any would do.
        kind: Option<Kind>,
        /// Interfaces that it exports instead.
        found: Vec<String>,
    },
    /// The interface is of a version that this host does not run.
    Version {
        /// The interface's name.
        interface: String,
        /// Its version.
        found: AbiVersion,
    },
    /// The interface lacks a function.
    MissingFunction {
        /// The function's name.
        function: &'static str,
    },
    /// A function has other types than its WIT package says.
    Signature {
        /// The function's name.
        function: &'static str,
        /// Its type.
        found: String,
        /// The type that it should have.
        wanted: &'static str,
    },
    /// Compiling took longer than its limit.
    CompileTime {
        /// The limit.
        max_ms: u64,
    },
    /// The compiler refuses the component.
    Compile(String),
    /// An instance does not start.
    Start(Failure),
    /// `init` refuses the configuration.
    Config(String),
    /// The first call of the fresh plugin fails.
    FirstCall(Failure),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(error) => error.fmt(f),
            Self::TooLarge { what, value, max } => write!(f, "{what} is {value}, at most {max}"),
            Self::Malformed { offset, why } => {
                write!(f, "no valid component: {why}, at byte {offset}")
            }
            Self::CoreModule => f.write_str(
                "this is a core module and a plugin is a component: make one of it with its WIT \
                 world",
            ),
            Self::Import(name) => {
                write!(f, "imports {name}, and a plugin may import the `log` of its kind only")
            }
            Self::NoInterface { kind, found } => {
                let kind = kind.map_or("<kind>", Kind::name);
                write!(f, "does not export onhand:{kind}/policy@{ABI}; it exports ")?;
                if found.is_empty() {
                    f.write_str("nothing")
                } else {
                    f.write_str(&found.join(", "))
                }
            }
            Self::Version { interface, found } => write!(
                f,
                "{interface} is version {found}, and this host runs {}.0.0 to {}.{}",
                ABI.major, ABI.major, ABI.minor
            ),
            Self::MissingFunction { function } => {
                write!(f, "its interface lacks the function {function}")
            }
            Self::Signature { function, found, wanted } => {
                write!(f, "{function} is {found}, and its WIT says {wanted}")
            }
            Self::CompileTime { max_ms } => write!(f, "compiling takes more than {max_ms} ms"),
            Self::Compile(why) => write!(f, "cannot be compiled: {why}"),
            Self::Start(failure) => write!(f, "does not start: {failure}"),
            Self::Config(why) => write!(f, "init refuses its configuration: {why}"),
            Self::FirstCall(failure) => write!(f, "its first call fails: {failure}"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Limit(error) => Some(error),
            Self::Start(failure) | Self::FirstCall(failure) => Some(failure),
            _ => None,
        }
    }
}

impl From<LimitError> for LoadError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

/// Why a plugin gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It used up its fuel: the verdict that is the same on every machine.
    Fuel,
    /// It ran into the wall-clock backstop.
    Deadline,
    /// Its calls went deeper than its stack.
    Stack,
    /// It stopped by a fault of its own, such as a division by zero.
    Trap(String),
    /// It called the host too often.
    HostCalls,
    /// Its answer cannot be read: outside its memory, or too long.
    Output(String),
    /// Its answer breaks a rule.
    Answer(DecisionError),
    /// It asks for more memory or tables than an instance may have when it starts.
    Resources(String),
    /// `init` refuses the configuration that it took before.
    Config(String),
    /// All its instances were at work for as long as a call may take.
    Busy,
    /// It failed so often that it is left alone for a while.
    Breaker,
}

/// [`Failure`] without its details, to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FailureKind {
    /// See [`Failure::Fuel`].
    Fuel,
    /// See [`Failure::Deadline`].
    Deadline,
    /// See [`Failure::Stack`].
    Stack,
    /// See [`Failure::Trap`].
    Trap,
    /// See [`Failure::HostCalls`].
    HostCalls,
    /// See [`Failure::Output`].
    Output,
    /// See [`Failure::Answer`].
    Answer,
    /// See [`Failure::Resources`].
    Resources,
    /// See [`Failure::Config`].
    Config,
    /// See [`Failure::Busy`].
    Busy,
    /// See [`Failure::Breaker`].
    Breaker,
}

impl FailureKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Fuel,
        Self::Deadline,
        Self::Stack,
        Self::Trap,
        Self::HostCalls,
        Self::Output,
        Self::Answer,
        Self::Resources,
        Self::Config,
        Self::Busy,
        Self::Breaker,
    ];

    /// Returns whether the plugin was not called at all.
    pub const fn is_no_call(self) -> bool {
        matches!(self, Self::Busy | Self::Breaker)
    }

    /// Returns a short name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::HostCalls => "host_calls",
            Self::Output => "output",
            Self::Answer => "answer",
            Self::Resources => "resources",
            Self::Config => "config",
            Self::Busy => "busy",
            Self::Breaker => "breaker",
        }
    }
}

impl Failure {
    /// Returns the failure without its details.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Fuel => FailureKind::Fuel,
            Self::Deadline => FailureKind::Deadline,
            Self::Stack => FailureKind::Stack,
            Self::Trap(_) => FailureKind::Trap,
            Self::HostCalls => FailureKind::HostCalls,
            Self::Output(_) => FailureKind::Output,
            Self::Answer(_) => FailureKind::Answer,
            Self::Resources(_) => FailureKind::Resources,
            Self::Config(_) => FailureKind::Config,
            Self::Busy => FailureKind::Busy,
            Self::Breaker => FailureKind::Breaker,
        }
    }

    /// Returns whether the plugin is to blame, so that its breaker counts the failure.
    pub const fn is_its_own(&self) -> bool {
        !self.kind().is_no_call()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fuel => f.write_str("it used up its fuel"),
            Self::Deadline => f.write_str("it ran past its deadline"),
            Self::Stack => f.write_str("its calls went deeper than its stack"),
            Self::Trap(why) => write!(f, "it stopped by itself: {why}"),
            Self::HostCalls => f.write_str("it called the host too often"),
            Self::Output(why) => write!(f, "its answer cannot be read: {why}"),
            Self::Answer(error) => write!(f, "its answer breaks a rule: {error}"),
            Self::Resources(why) => write!(f, "no room for an instance: {why}"),
            Self::Config(why) => write!(f, "init refuses its configuration: {why}"),
            Self::Busy => {
                f.write_str("all its instances were at work for as long as a call may take")
            }
            Self::Breaker => f.write_str("it failed too often and is left alone for a while"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Answer(error) => Some(error),
            _ => None,
        }
    }
}

/// Returns a text of somebody else in one line of bounded length, without control characters.
pub(crate) fn plain(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        // Text marks that turn or hide what follows are as bad in a log as a line feed.
        let hidden = matches!(
            c,
            '\u{AD}'
                | '\u{61C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{E0000}'..='\u{E007F}'
        );
        let shown = if c.is_control() || hidden {
            c.escape_unicode().collect::<String>()
        } else {
            c.to_string()
        };
        if out.len() + shown.len() > bytes_max {
            break;
        }
        out.push_str(&shown);
    }
    out
}

/// Returns the text of an engine's error, causes included.
pub(crate) fn explain(error: &wasmtime::Error) -> String {
    plain(&format!("{error:#}"), TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::{FailureKind, plain};

    /// A plugin's text stays in one line, visible, and within its bytes.
    #[test]
    fn text_of_a_plugin_is_one_plain_line() {
        assert_eq!(plain("fine, Käse", 20), "fine, Käse");
        assert_eq!(plain("a\nb\u{1b}[31m", 40), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(plain("x\u{202e}y", 40), "x\\u{202e}y");
        assert_eq!(plain("a\u{61c}b\u{2060}\u{ad}", 40), "a\\u{61c}b\\u{2060}\\u{ad}");
        assert_eq!(plain("ääää", 5), "ää");
        assert_eq!(plain("ab\n", 5), "ab");
    }

    /// The number of a kind is its place in the list, which statistics count by.
    #[test]
    fn kinds_are_numbered_by_their_place() {
        for (at, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{}", kind.name());
        }
    }
}
