//! Compares two runs of the same load and says what is a difference and what is noise.
//!
//! Both runs followed one schedule, so their seconds are pairs. The confidence interval of the
//! ratio B / A of a figure comes from a **paired moving-block bootstrap**: stretches of seconds are
//! drawn with replacement, the same ones on both sides, the histograms of what was drawn are
//! added, and the figure is taken again. Blocks keep what one second owes to the last; pairs keep
//! the shape of the schedule out of the noise.
//!
//! Sources: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7,
//! 1979 (percentile intervals); H. R. Künsch, "The jackknife and the bootstrap for general
//! stationary observations", Annals of Statistics 17, 1989 (blocks); Bonferroni's correction for
//! the number of figures.
//!
//! A figure is worse only if its whole interval lies beyond the smallest effect that matters. One
//! run a side can't tell how much whole runs differ from each other: on a machine that others use,
//! compare several pairs.

mod bootstrap;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::results::Folder;
use crate::results::folder::LOG_FILE;
use crate::results::interval::{Clock, read_log};
use crate::results::run::{EXIT_PASS, EXIT_REGRESSION, Run, Verdict};
use crate::results::series::SeriesRow;
use bootstrap::{Judged, Paired, Side};

/// Smallest effect that matters, as a share: 5 %.
pub const EFFECT_MIN: f64 = 0.05;
/// Probability of calling noise a difference, over all figures of a comparison.
pub const ERROR_MAX: f64 = 0.05;
/// Bootstrap samples.
pub const RESAMPLES: usize = 2_000;
/// Fewest seconds that both runs must have for a verdict on their figures.
pub const SECONDS_MIN: usize = 5;

/// How two runs are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompareOptions {
    /// Smallest effect that matters, as a share. Default [`EFFECT_MIN`].
    pub effect_min: f64,
    /// Whether different seeds are allowed: other requests of the same kind. Default false.
    pub seeds_may_differ: bool,
    /// Whether different targets are allowed: a comparison of shops instead of versions. Default
    /// false.
    pub targets_may_differ: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { effect_min: EFFECT_MIN, seeds_may_differ: false, targets_may_differ: false }
    }
}

/// A run as a comparison reads it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How errors and reports name it.
    pub name: String,
    /// The record.
    pub run: Run,
    /// The series.
    pub series: Vec<SeriesRow>,
    /// Latency by second, clock and value in nanoseconds.
    seconds: BTreeMap<(Clock, u64), BTreeMap<u64, u64>>,
}

impl Recorded {
    /// Reads the folder of a run.
    ///
    /// # Errors
    ///
    /// A file of the folder is missing or damaged.
    pub fn read(folder: &Folder) -> Result<Self, LoadError> {
        let name = folder.path().file_name().unwrap_or(folder.path().as_os_str());
        let mut seconds: BTreeMap<(Clock, u64), BTreeMap<u64, u64>> = BTreeMap::new();
        read_log(&folder.file(LOG_FILE), |interval| {
            let key = (interval.tags.clock, interval.from.as_secs());
            let values = seconds.entry(key).or_default();
            for value in interval.histogram.iter_recorded() {
                *values.entry(value.value_iterated_to()).or_default() += value.count_at_value();
            }
        })?;
        let name = name.to_string_lossy().into_owned();
        Ok(Self { name, run: folder.run()?, series: folder.series()?, seconds })
    }
}

/// Whether a larger value is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Such as a rate.
    Higher,
    /// Such as a latency.
    Lower,
}

/// What came of comparing a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// B is better, beyond noise and the smallest effect.
    Improved,
    /// B is worse, beyond noise and the smallest effect.
    Regressed,
    /// The interval lies within the smallest effect on both sides: as good as equal.
    Same,
    /// The interval is too wide for a verdict.
    Unclear,
}

impl Change {
    /// Returns the name that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Same => "same",
            Self::Unclear => "unclear",
        }
    }
}

/// A figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name, as thresholds write it.
    pub name: String,
    /// Its unit: `ns` or `/s`.
    pub unit: String,
    /// Whether a larger value is better.
    pub better: Better,
    /// Value in A.
    pub a: f64,
    /// Value in B.
    pub b: f64,
    /// B / A; absent where A is 0.
    pub ratio: Option<f64>,
    /// Interval of the ratio at the corrected level; absent where there is no ratio.
    pub ratio_interval: Option<(f64, f64)>,
    /// What came of it.
    pub change: Change,
}

/// Two runs compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Version of this form.
    pub schema: u32,
    /// Name of the first run, the baseline.
    pub a: String,
    /// Name of the second run.
    pub b: String,
    /// How it was compared, with the source.
    pub method: String,
    /// Smallest effect that matters, as a share.
    pub effect_min: f64,
    /// Seconds that were compared.
    pub seconds: u64,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What got worse or better that is no figure: checks and thresholds.
    pub notes: Vec<Note>,
    /// The worst of all: a regression anywhere is one of the whole.
    pub verdict: Change,
}

/// A change that is no matter of noise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What changed, as a sentence.
    pub text: String,
    /// Whether it is for the better or for the worse.
    pub change: Change,
}

impl Comparison {
    /// Returns the exit code of the command: [`EXIT_REGRESSION`] if a regression is to fail it and
    /// there is one.
    pub fn exit_code(&self, fail_on_regression: bool) -> u8 {
        let regressed = self.verdict == Change::Regressed;
        if regressed && fail_on_regression { EXIT_REGRESSION } else { EXIT_PASS }
    }
}

/// Says which fields of two runs keep them from being compared; empty if none does.
pub fn obstacles(a: &Run, b: &Run, options: CompareOptions) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |field: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            found.push(format!("{field} differs: {a} and {b}"));
        }
    };
    differ("scenario.hash", &a.scenario.hash, &b.scenario.hash);
    if !options.seeds_may_differ {
        differ("scenario.seed", &a.scenario.seed, &b.scenario.seed);
    }
    if !options.targets_may_differ {
        differ("target.kind", &a.target.kind.name(), &b.target.kind.name());
        differ("target.tls", &a.target.tls, &b.target.tls);
    }
    differ("target.ack", &a.target.ack, &b.target.ack);
    differ("machine.cores", &a.machine.cores, &b.machine.cores);
    differ("machine.cpu", &a.machine.cpu, &b.machine.cpu);
    for (name, run) in [("A", a), ("B", b)] {
        if run.interrupted {
            found.push(format!("{name} was interrupted"));
        }
        if let Some(why) = &run.generator.limited {
            found.push(format!("generator.limited: {name} was limited by its generator: {why}"));
        }
    }
    found
}

/// Compares run B with its baseline A.
///
/// # Errors
///
/// The runs are not comparable, and the error names each field that differs; or they have fewer
/// than [`SECONDS_MIN`] seconds in common.
pub fn compare(
    a: &Recorded,
    b: &Recorded,
    options: CompareOptions,
) -> Result<Comparison, LoadError> {
    let obstacles = obstacles(&a.run, &b.run, options);
    if !obstacles.is_empty() {
        let (a, b, list) = (&a.name, &b.name, obstacles.join("; "));
        return Err(LoadError::usage(format!("{a} and {b} are not comparable: {list}")));
    }
    let seconds = a.series.len().min(b.series.len());
    if seconds < SECONDS_MIN {
        let text =
            format!("both runs have {seconds} seconds in common, a verdict needs {SECONDS_MIN}");
        return Err(LoadError::input(text));
    }
    let figures = figures(a, b, seconds, options.effect_min);
    let notes = notes(&a.run, &b.run);
    let all = || figures.iter().map(|f| f.change).chain(notes.iter().map(|n| n.change));
    let has = |wanted| all().any(|change| change == wanted);
    let order = [Change::Regressed, Change::Unclear, Change::Improved];
    let verdict = order.into_iter().find(|change| has(*change)).unwrap_or(Change::Same);
    Ok(Comparison {
        schema: 1,
        a: a.name.clone(),
        b: b.name.clone(),
        method: format!(
            "paired moving-block bootstrap (Künsch 1989; percentile intervals, Efron 1979), \
             {RESAMPLES} samples of {seconds} seconds in blocks of {}, {:.0} % confidence over all \
             figures (Bonferroni), smallest effect {:.1} %",
            bootstrap::block_length(seconds),
            (1.0 - ERROR_MAX) * 100.0,
            options.effect_min * 100.0
        ),
        effect_min: options.effect_min,
        seconds: seconds as u64,
        figures,
        notes,
        verdict,
    })
}

/// Reads a count of a second.
type OfRow = fn(&SeriesRow) -> u64;

fn figures(a: &Recorded, b: &Recorded, seconds: usize, effect_min: f64) -> Vec<Figure> {
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
    let clocks = [Clock::Intended, Clock::Service];
    let count = quantiles.len() * clocks.len() + 2;
    let level = ERROR_MAX / count as f64;
    let mut figures = Vec::new();
    let rates: [(&str, OfRow); 2] = [
        ("accepted.rate", |row| row.accepted),
        ("answered.rate", |row| row.accepted + row.refused),
    ];
    for (name, of_row) in rates {
        let side =
            |of: &Recorded| Side::of_counts(of.series.iter().take(seconds).map(of_row).collect());
        let paired = Paired::new(side(a), side(b), seconds);
        figures.push(figure(name, Better::Higher, &paired.rate(level), effect_min));
    }
    for clock in clocks {
        let side = |of: &Recorded| {
            let second = |at: u64| of.seconds.get(&(clock, at));
            Side::of_values((0..seconds as u64).map(second).collect())
        };
        let paired = Paired::new(side(a), side(b), seconds);
        if paired.is_empty() {
            continue;
        }
        let judged = paired.quantiles(quantiles.map(|(_, quantile)| quantile), level);
        for ((label, _), judged) in quantiles.into_iter().zip(&judged) {
            let name = format!("all.{}.{label}", clock.name());
            figures.push(figure(&name, Better::Lower, judged, effect_min));
        }
    }
    figures
}

fn figure(name: &str, better: Better, judged: &Judged, effect_min: f64) -> Figure {
    let Judged { a, b, interval } = *judged;
    // In terms of how much worse B is, whichever way is worse.
    let worse = interval.map(|(low, high)| match better {
        Better::Lower => (low, high),
        Better::Higher => (1.0 / high.max(f64::MIN_POSITIVE), 1.0 / low.max(f64::MIN_POSITIVE)),
    });
    let edge = 1.0 + effect_min;
    let change = match worse {
        Some((low, _)) if low > edge => Change::Regressed,
        Some((_, high)) if high < 1.0 / edge => Change::Improved,
        Some((low, high)) if low >= 1.0 / edge && high <= edge => Change::Same,
        // Nothing on either side is the same on both.
        None if a == 0.0 && b == 0.0 => Change::Same,
        Some(_) | None => Change::Unclear,
    };
    let ratio = (a > 0.0).then(|| b / a);
    let unit = match better {
        Better::Lower => "ns",
        Better::Higher => "/s",
    };
    Figure {
        name: name.into(),
        unit: unit.into(),
        better,
        a,
        b,
        ratio,
        ratio_interval: interval,
        change,
    }
}

fn notes(a: &Run, b: &Run) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |change, text: String| notes.push(Note { text, change });
    for check in &b.truth {
        let before = a.truth.iter().find(|other| other.name == check.name);
        let name = check.name.replace('_', " ");
        match (before.map(|before| before.verdict), check.verdict) {
            (Some(Verdict::Violated), Verdict::Violated) => {
                note(Change::Unclear, format!("{name} is violated in both runs"));
            }
            (_, Verdict::Violated) => {
                note(Change::Regressed, format!("{name} is violated in B only"));
            }
            (Some(Verdict::Violated), Verdict::Holds) => {
                note(Change::Improved, format!("{name} is violated in A only"));
            }
            (Some(Verdict::Holds), Verdict::NotChecked) => {
                note(Change::Unclear, format!("{name} was checked in A only"));
            }
            _ => (),
        }
    }
    for outcome in &b.thresholds {
        let same =
            |other: &&crate::results::run::ThresholdOutcome| other.expression == outcome.expression;
        let Some(before) = a.thresholds.iter().find(same) else { continue };
        match (before.holds, outcome.holds) {
            (true, false) => {
                note(Change::Regressed, format!("{} is missed in B only", outcome.expression));
            }
            (false, true) => {
                note(Change::Improved, format!("{} is missed in A only", outcome.expression));
            }
            _ => (),
        }
    }
    let (before, after) = (a.lost_count(), b.lost_count());
    if before == 0 && after > 0 {
        note(
            Change::Regressed,
            format!("{after} requests stayed without an answer in B, none in A"),
        );
    } else if before > 0 && after == 0 {
        note(
            Change::Improved,
            format!("{before} requests stayed without an answer in A, none in B"),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
