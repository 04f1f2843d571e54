//! Thresholds on any figure of a run: `buy.intended.p99 < 50ms`, `truth.oversold == 0`,
//! `all.p99{actor=bot}[10s..20s] < 1s`, `refused.sold_out.share < 20%`.
//!
//! An expression is a metric, perhaps tags and a window of whole seconds, a comparison and a value
//! with its unit. A figure that a run does not have makes its threshold fail and says why: what was
//! not measured was not met.

mod evaluate;
mod parse;

pub use evaluate::{Evidence, Latencies, NoLatencies};

use std::fmt;
use std::time::Duration;

use crate::error::LoadError;
use crate::op::OpKind;
use crate::truth::{CHECKS, Kind};

/// Most thresholds of one run.
pub const THRESHOLDS_MAX: usize = 256;
/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 512;

/// The values of the tag `outcome`.
const OUTCOMES: [&str; 2] = ["accepted", "refused"];

/// One threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    tags: Vec<(TagName, String)>,
    window: Option<Window>,
    comparison: Comparison,
    bound: f64,
}

/// Seconds of a run: the first included, the last not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub from: u64,
    /// The second after the last.
    pub to: u64,
}

impl Window {
    /// Returns whether an interval lies within.
    pub fn covers(self, from: Duration, length: Duration) -> bool {
        Duration::from_secs(self.from) <= from && from + length <= Duration::from_secs(self.to)
    }
}

/// What requests may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagName {
    /// What was asked.
    Op,
    /// `accepted` or `refused`.
    Outcome,
    /// Stage of the arrivals.
    Stage,
    /// Kind of user.
    Actor,
}

impl TagName {
    const ALL: [Self; 4] = [Self::Op, Self::Outcome, Self::Stage, Self::Actor];

    /// Returns the name that expressions and logs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Outcome => "outcome",
            Self::Stage => "stage",
            Self::Actor => "actor",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Metric {
    Latency { service: bool, statistic: Statistic },
    Truth(String),
    Status(String),
    Count { of: Counted, as_: Unit },
    Connecting { tls: bool, statistic: Statistic },
    Lag(Statistic),
    Late,
    Backlogged,
    Cpu,
    KendallTau,
    BotShare,
    WaitP99,
    Sold,
    Reserved,
    Left,
    SoldOutAt,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
enum Counted {
    Users,
    Sent,
    Answered,
    Accepted,
    Orders,
    Replayed,
    Unsent,
    Reconnects,
    Refused(Option<String>),
    Lost(Option<String>),
}

/// One number of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
}

/// What a value is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A time, in nanoseconds.
    Time,
    /// A whole number.
    Count,
    /// A number a second.
    Rate,
    /// A share from 0 to 1.
    Share,
    /// A plain number.
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

impl Comparison {
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    #[expect(clippy::float_cmp, reason = "counts are whole and exact below 2^53")]
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Greater => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => value == bound,
            Self::NotEqual => value != bound,
        }
    }
}

impl Metric {
    fn unit(&self) -> Unit {
        match self {
            Self::Latency { .. }
            | Self::Connecting { .. }
            | Self::Lag(_)
            | Self::WaitP99
            | Self::SoldOutAt => Unit::Time,
            Self::Truth(_)
            | Self::Status(_)
            | Self::Late
            | Self::Backlogged
            | Self::Sold
            | Self::Reserved
            | Self::Left => Unit::Count,
            Self::Count { as_, .. } => *as_,
            Self::Cpu | Self::BotShare => Unit::Share,
            Self::KendallTau => Unit::Number,
        }
    }
}

impl Threshold {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// The expression is malformed; the error names the column and what may stand there.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        parse::threshold(text).map_err(|error| {
            LoadError::usage(format!("threshold `{text}`: column {}: {}", error.column, error.what))
        })
    }

    /// Checks that what it names exists in a run with these stages and kinds of users.
    ///
    /// # Errors
    ///
    /// The error names the word and those that there are.
    pub(crate) fn check_names(&self, stages: &[&str], actors: &[&str]) -> Result<(), LoadError> {
        let ops: Vec<&str> = OpKind::ALL.into_iter().map(OpKind::name).collect();
        let of_check =
            |name: &String| ("check", name.clone(), CHECKS.iter().map(Kind::name).collect());
        let check =
            if let Metric::Truth(name) = &self.metric { Some(of_check(name)) } else { None };
        let of_tag = |(tag, value): &(TagName, String)| {
            let known: Vec<&str> = match tag {
                TagName::Op => ops.clone(),
                TagName::Outcome => OUTCOMES.to_vec(),
                TagName::Stage => stages.to_vec(),
                TagName::Actor => actors.to_vec(),
            };
            (tag.name(), value.clone(), known)
        };
        for (what, name, known) in check.into_iter().chain(self.tags.iter().map(of_tag)) {
            parse::one_of(what, &name, &known)
                .map_err(|what| LoadError::usage(format!("threshold `{}`: {what}", self.text)))?;
        }
        Ok(())
    }

    /// Makes it look at one stage and its seconds only, where it does not say otherwise and the
    /// metric is known by stage or second; all else is of the whole run.
    #[cfg(feature = "report")]
    pub(crate) fn within(mut self, stage: &str, window: Window) -> Self {
        let staged = self.tags.iter().any(|(name, _)| *name == TagName::Stage);
        if self.window.is_some() || staged {
            return self;
        }
        if matches!(self.metric, Metric::Latency { .. }) {
            // By when they were due: an answer that comes after the window was waited for as well.
            self.tags.push((TagName::Stage, stage.to_owned()));
        } else if parse::window_fits(&self.metric, &self.tags).is_ok() {
            self.window = Some(window);
        }
        self
    }

    /// Returns the bound in nanoseconds, if a time is measured.
    #[cfg(feature = "report")]
    pub(crate) fn time_bound(&self) -> Option<f64> {
        (self.metric.unit() == Unit::Time).then_some(self.bound)
    }

    /// Returns the check of the truth that it is about, if it is about one.
    #[cfg(feature = "report")]
    pub(crate) fn check(&self) -> Option<&str> {
        if let Metric::Truth(name) = &self.metric { Some(name) } else { None }
    }

    /// Returns the expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the value with the unit of the metric, as reports show it.
    pub fn shown(&self, value: f64) -> String {
        show(self.metric.unit(), value)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Time => crate::report::time_text(value),
        Unit::Count => format!("{value:.0}"),
        Unit::Rate => format!("{value:.1}/s"),
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Number => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests;
