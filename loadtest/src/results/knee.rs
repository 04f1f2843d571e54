//! The record of a search for capacity, `knee.json`: every step with its figures, and the rates
//! between which the target stops keeping what was asked.
//!
//! Members that a reader does not know are skipped, as in `run.json`.

use serde::{Deserialize, Serialize};

use crate::results::run::{
    Exit, MachineFacts, ScenarioFacts, Spectrum, TargetFacts, ThresholdOutcome, Tool,
};

/// Version of `knee.json` that this build writes.
pub const KNEE_SCHEMA: u32 = 1;
/// Name of the record.
pub const KNEE_FILE: &str = "knee.json";

/// The whole record of one search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Version of this form: [`KNEE_SCHEMA`].
    pub schema: u32,
    /// What made the record.
    pub tool: Tool,
    /// Whose crowd came; the stages of its text were replaced by steady rates.
    pub scenario: ScenarioFacts,
    /// What the load went to.
    pub target: TargetFacts,
    /// When the search began, RFC 3339 in UTC.
    pub date: String,
    /// The machine of the generator.
    pub machine: MachineFacts,
    /// What was asked.
    pub asked: KneeAsked,
    /// The steps, in the order in which they were taken.
    pub steps: Vec<KneeStep>,
    /// Highest rate that holds, in users a second; absent if the lowest one does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<f64>,
    /// Lowest rate that does not hold; absent if the highest one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<f64>,
    /// Why the rate [`Knee::fails`] does not hold.
    #[serde(default)]
    pub why: Vec<String>,
    /// Why the search ended.
    pub end: KneeEnd,
    /// Why a step could not be run, which ended the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How the command ended.
    pub exit: Exit,
}

/// What was asked of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KneeAsked {
    /// What must hold, as it was written.
    pub slo: Vec<String>,
    /// Lowest rate, in users a second.
    pub from: f64,
    /// Highest rate.
    pub to: f64,
    /// Start of each step that is not measured.
    pub warm_up_ns: u64,
    /// Part of each step that is measured.
    pub step_ns: u64,
    /// Most steps.
    pub steps_max: u32,
    /// Distance of the two rates around the knee at which the search ends, as a share.
    pub precision: f64,
    /// Bounds on times of [`KneeAsked::slo`], for the plot.
    #[serde(default)]
    pub bounds: Vec<KneeBound>,
}

/// A bound on a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KneeBound {
    /// Its expression.
    pub expression: String,
    /// Its value.
    pub bound_ns: f64,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KneeEnd {
    /// The two rates around the knee are as near as was asked.
    #[default]
    Found,
    /// The steps were used up before.
    Steps,
    /// The highest rate of the range holds.
    TopHolds,
    /// The lowest rate of the range does not hold.
    BottomFails,
    /// The generator, not the target, set the limit of a step.
    GeneratorLimited,
    /// It was interrupted.
    Interrupted,
    /// A step could not be run.
    Failed,
}

impl KneeEnd {
    /// Returns what it means, as a clause.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Found => "the two rates are as near as was asked",
            Self::Steps => "the steps were used up",
            Self::TopHolds => "the highest rate of the range holds",
            Self::BottomFails => "the lowest rate of the range does not hold",
            Self::GeneratorLimited => "the generator, not the target, set the limit",
            Self::Interrupted => "it was interrupted",
            Self::Failed => "a step could not be run",
        }
    }
}

/// One step: the crowd at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KneeStep {
    /// Rate of users that was asked, a second.
    pub rate: f64,
    /// Whether all that was asked holds, and the truth with it.
    pub holds: bool,
    /// Why it does not; empty if it does.
    #[serde(default)]
    pub why: Vec<String>,
    /// Users who came in a second of the measured part.
    pub users_per_s: f64,
    /// Requests sent in a second of the measured part.
    pub sent_per_s: f64,
    /// Requests answered in a second of the measured part, refusals included.
    pub answered_per_s: f64,
    /// Latency from the intended start, of requests that were due in the measured part.
    pub intended: Spectrum,
    /// Their service time.
    pub service: Spectrum,
    /// Requests of the step that waited for a free connection.
    pub backlogged: u64,
    /// Users of the step who were never let in.
    pub unsent: u64,
    /// Requests of the step without an answer.
    pub lost: u64,
    /// What was asked, with the values.
    #[serde(default)]
    pub thresholds: Vec<ThresholdOutcome>,
    /// Checks of the truth that are violated.
    #[serde(default)]
    pub violated: Vec<String>,
    /// Why the step is not whole: the target was lost for good, or the truth could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Why the generator set the limit, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<String>,
    /// Name of the step's folder beside the record, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}
