//! Compares two runs of the same load and says what is a difference and what is noise.
//!
//! Both runs followed one schedule, so their seconds are pairs. The confidence interval of the
//! ratio B / A of a figure comes from a **paired block bootstrap**: stretches of seconds are drawn
//! with replacement, the same ones on both sides, the histograms of what was drawn are added, and
//! the figure is taken again. Blocks keep what one second owes to the last; pairs keep the shape of
//! the schedule out of the noise. Blocks wrap from the last second to the first, so that each second
//! weighs the same.
//!
//! Sources: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7,
//! 1979 (percentile intervals); H. R. Künsch, "The jackknife and the bootstrap for general
//! stationary observations", Annals of Statistics 17, 1989 (blocks); D. N. Politis and J. P. Romano,
//! "A circular block-resampling procedure for stationary data", in Exploring the Limits of
//! Bootstrap, 1992 (wrapping); Student's t for few blocks, as percentiles alone are too narrow then
//! (T. C. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69,
//! 2015); Bonferroni's correction for the number of figures.
//!
//! A run that came to its end before the other has nothing in the seconds after it: the answers that
//! the slower one gave then are its worst, and they count.
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
use crate::results::run::{EXIT_PASS, EXIT_REGRESSION, Run, TruthCheck, Verdict};
use crate::results::series::SeriesRow;
use bootstrap::{Judged, Paired, Side, block_length, gather};

/// Smallest effect that matters, as a share: 5 %.
pub const EFFECT_MIN: f64 = 0.05;
/// Probability of calling noise a difference, over all figures of a comparison.
pub const ERROR_MAX: f64 = 0.05;
/// Bootstrap samples.
pub const RESAMPLES: usize = 2_000;
/// Fewest seconds that both runs must have for a verdict on their figures; with fewer, all are
/// unclear.
pub const SECONDS_MIN: usize = 30;
/// Most rows: the seconds of longer runs are gathered.
const ROWS_MAX: u64 = 300;
/// Quantiles that are compared, for both clocks.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// Clocks that are compared.
const CLOCKS: [Clock; 2] = [Clock::Intended, Clock::Service];
/// Figures that are compared: two rates, and the quantiles of both clocks.
const FIGURES: usize = 2 + QUANTILES.len() * CLOCKS.len();
/// How many standard deviations a count must differ by to be no chance.
const DEVIATIONS_MIN: f64 = 3.0;

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
    /// Seconds of one row: a power of two, so that rows of two runs can be brought together.
    stretch: u64,
    /// Latency by row, of each clock.
    rows: BTreeMap<Clock, BTreeMap<u64, Values>>,
}

/// How often each value in nanoseconds was seen.
type Values = BTreeMap<u64, u64>;

/// Returns the seconds of one row for a run of a length.
fn stretch_of(seconds: usize) -> u64 {
    (seconds as u64).div_ceil(ROWS_MAX).max(1).next_power_of_two()
}

impl Recorded {
    /// Reads the folder of a run.
    ///
    /// # Errors
    ///
    /// A file of the folder is missing or damaged.
    pub fn read(folder: &Folder) -> Result<Self, LoadError> {
        let name = folder.path().file_name().unwrap_or(folder.path().as_os_str());
        let name = name.to_string_lossy().into_owned();
        let (run, series) = (folder.run()?, folder.series()?);
        let stretch = stretch_of(series.len());
        let mut rows: BTreeMap<Clock, BTreeMap<u64, Values>> = BTreeMap::new();
        read_log(&folder.file(LOG_FILE), |interval| {
            let row = interval.from.as_secs() / stretch;
            let values = rows.entry(interval.tags.clock).or_default().entry(row).or_default();
            for value in interval.histogram.iter_recorded() {
                *values.entry(value.value_iterated_to()).or_default() += value.count_at_value();
            }
        })?;
        Ok(Self { name, run, series, stretch, rows })
    }

    /// Returns how long the run is, in whole seconds.
    fn seconds(&self) -> usize {
        self.series.last().map_or(0, |row| row.second as usize + 1)
    }

    /// Returns a count by rows of a stretch.
    fn counts(&self, of_row: OfRow, stretch: u64, count: usize) -> Side {
        let mut rows: BTreeMap<u64, Values> = BTreeMap::new();
        for row in &self.series {
            *rows.entry(row.second / stretch).or_default().entry(0).or_default() += of_row(row);
        }
        Side::new(gather(&rows, 1, count), self.seconds())
    }

    /// Returns the latencies of a clock by rows of a stretch.
    fn latencies(&self, clock: Clock, stretch: u64, count: usize) -> Side {
        let none = BTreeMap::new();
        let rows = self.rows.get(&clock).unwrap_or(&none);
        Side::new(gather(rows, stretch / self.stretch, count), self.seconds())
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
    /// Seconds of the longer run.
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
    if options.targets_may_differ {
        // Other shops have other words for it; what counts is whether it outlives a crash.
        let durable = |run: &Run| if run.target.ack == "memory" { "memory" } else { "on disk" };
        differ("target.ack", &durable(a), &durable(b));
    } else {
        differ("target.ack", &a.target.ack, &b.target.ack);
    }
    if let (Some(of_a), Some(of_b)) = (a.target.streams, b.target.streams) {
        differ("target.streams", &of_a, &of_b);
    }
    let (of_a, of_b) = (&a.generator, &b.generator);
    differ("generator.connections", &of_a.connections, &of_b.connections);
    differ("generator.threads", &of_a.threads, &of_b.threads);
    differ("machine.cores", &a.machine.cores, &b.machine.cores);
    differ("machine.cpu", &a.machine.cpu, &b.machine.cpu);
    for (name, run) in [("A", a), ("B", b)] {
        if run.interrupted {
            found.push(format!("{name} was interrupted"));
        }
        if let Some(why) = &run.trouble {
            found.push(format!("{name} is not whole: {why}"));
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
/// The runs are not comparable, and the error names each field that differs; or one of them has no
/// second.
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
    let lengths = [a.seconds(), b.seconds()];
    if lengths.contains(&0) {
        let empty = if lengths[0] == 0 { &a.name } else { &b.name };
        return Err(LoadError::input(format!("{empty} has no second that could be compared")));
    }
    let figures = figures(a, b, options.effect_min);
    let notes = notes(&a.run, &b.run, options.effect_min);
    let all = || figures.iter().map(|f| f.change).chain(notes.iter().map(|n| n.change));
    let has = |wanted| all().any(|change| change == wanted);
    let order = [Change::Regressed, Change::Unclear, Change::Improved];
    let verdict = order.into_iter().find(|change| has(*change)).unwrap_or(Change::Same);
    Ok(Comparison {
        schema: 1,
        a: a.name.clone(),
        b: b.name.clone(),
        method: method(lengths, options.effect_min),
        effect_min: options.effect_min,
        seconds: lengths.into_iter().max().unwrap_or(0) as u64,
        figures,
        notes,
        verdict,
    })
}

/// Says how two runs of these lengths are compared.
fn method(lengths: [usize; 2], effect_min: f64) -> String {
    let seconds = lengths.into_iter().max().unwrap_or(0);
    let stretch = stretch_of(seconds);
    let length = block_length((seconds as u64).div_ceil(stretch) as usize);
    let mut text = format!(
        "paired bootstrap of circular blocks (Künsch 1989, Politis and Romano 1992; percentile \
         intervals stretched by Student's t), {RESAMPLES} samples of {seconds} seconds in blocks of {}, \
         {:.0} % confidence over all figures (Bonferroni), smallest effect {:.1} %",
        length as u64 * stretch,
        (1.0 - ERROR_MAX) * 100.0,
        effect_min * 100.0
    );
    let shorter = lengths.into_iter().min().unwrap_or(0);
    if shorter < SECONDS_MIN {
        let few = format!("{shorter} seconds are too few for a verdict on figures");
        text = format!("{text}; {few}, which needs {SECONDS_MIN}");
    }
    text
}

/// Reads a count of a second.
type OfRow = fn(&SeriesRow) -> u64;

fn figures(a: &Recorded, b: &Recorded, effect_min: f64) -> Vec<Figure> {
    let level = ERROR_MAX / FIGURES as f64;
    let stretch = a.stretch.max(b.stretch);
    let rows = (a.seconds().max(b.seconds()) as u64).div_ceil(stretch) as usize;
    let mut figures = Vec::new();
    let rates: [(&str, OfRow); 2] = [
        ("accepted.rate", |row| row.accepted),
        ("answered.rate", |row| row.accepted + row.refused),
    ];
    for (name, of_row) in rates {
        let side = |of: &Recorded| of.counts(of_row, stretch, rows);
        let judged = Paired::new(side(a), side(b)).rate(level);
        figures.push(figure(name, Better::Higher, &judged, effect_min));
    }
    for clock in CLOCKS {
        let side = |of: &Recorded| of.latencies(clock, stretch, rows);
        let paired = Paired::new(side(a), side(b));
        if paired.is_empty() {
            continue;
        }
        let judged = paired.quantiles(QUANTILES.map(|(_, quantile)| quantile), level);
        for ((label, _), judged) in QUANTILES.into_iter().zip(&judged) {
            let name = format!("all.{}.{label}", clock.name());
            figures.push(figure(&name, Better::Lower, judged, effect_min));
        }
    }
    if a.seconds().min(b.seconds()) < SECONDS_MIN {
        figures.iter_mut().for_each(|figure| figure.change = Change::Unclear);
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

/// What of one kind went wrong in both runs, and of how many things.
#[derive(Clone, Copy, Debug)]
struct Bad {
    count: u64,
    of: u64,
}

impl Bad {
    fn share(self) -> f64 {
        self.count as f64 / self.of.max(1) as f64
    }

    /// Compares two shares of what went wrong: beyond the smallest effect, and by more than chance
    /// gives a count.
    fn change(a: Self, b: Self, effect_min: f64) -> Change {
        let (in_a, in_b) = (a.share(), b.share());
        // The deviation of each share, were its count one of independent events.
        let deviation = |bad: Self| (bad.count as f64).sqrt() / bad.of.max(1) as f64;
        let far = (in_b - in_a).abs() > DEVIATIONS_MIN * deviation(a).hypot(deviation(b));
        match (a.count, b.count) {
            (0, 0) => Change::Same,
            (0, _) => Change::Regressed,
            (_, 0) => Change::Improved,
            _ if far && in_b > in_a * (1.0 + effect_min) => Change::Regressed,
            _ if far && in_b < in_a / (1.0 + effect_min) => Change::Improved,
            _ => Change::Unclear,
        }
    }
}

fn notes(a: &Run, b: &Run, effect_min: f64) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |change, text: String| notes.push(Note { text, change });
    for check in &b.truth {
        let before = a.truth.iter().find(|other| other.name == check.name);
        let name = check.name.replace('_', " ");
        match (before.map(|before| before.verdict), check.verdict) {
            (Some(Verdict::Violated), Verdict::Violated) => {
                let bad = |check: &TruthCheck| Bad { count: check.violations, of: check.checked };
                let (was, is) = (before.map_or(Bad { count: 0, of: 0 }, bad), bad(check));
                let (before, after) = (was.count, is.count);
                let text = format!(
                    "{name} is violated in both runs: {before} times in A, {after} times in B"
                );
                note(Bad::change(was, is, effect_min), text);
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
    let lost = |run: &Run| Bad { count: run.lost_count(), of: run.counts.sent };
    let unsent =
        |run: &Run| Bad { count: run.counts.unsent, of: run.counts.sent + run.counts.unsent };
    let bads = [
        ("requests stayed without an answer", lost(a), lost(b)),
        ("requests were due and never sent", unsent(a), unsent(b)),
    ];
    for (what, was, is) in bads {
        let counted = |count: u64| if count == 0 { "none".to_owned() } else { count.to_string() };
        let (before, after) = (counted(was.count), counted(is.count));
        match Bad::change(was, is, effect_min) {
            Change::Regressed => {
                note(Change::Regressed, format!("{after} {what} in B, {before} in A"));
            }
            Change::Improved => {
                note(Change::Improved, format!("{before} {what} in A, {after} in B"));
            }
            Change::Same | Change::Unclear => (),
        }
    }
    notes
}

#[cfg(test)]
mod tests;
