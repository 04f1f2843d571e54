//! The record of a run, `run.json`: what was asked, what came of it, and the verdicts.
//!
//! Every view of a run (text, HTML, Prometheus, comparison) reads these types, so a number is the
//! same in all of them. Times are nanoseconds from the start of the load unless a name says
//! otherwise; money never appears. No key, password or command line is ever in a record.
//!
//! Members that a reader does not know are skipped, so a newer version may add some within
//! [`SCHEMA`]; a member that changes or goes away raises it.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Version of `run.json` that this build writes, and the only one that it reads.
pub const SCHEMA: u32 = 1;
/// Largest share of the users who were due that may stay outside, and of the requests that were
/// sent that may stay without an answer, in a run that passes: 1 %. A threshold on `unsent` or
/// `lost` takes its place.
pub const UNSERVED_SHARE_MAX: f64 = 0.01;
/// Most points of a [`Spectrum`]'s curve.
pub const CURVE_POINTS_MAX: usize = 60;
/// Points of a curve in each tenfold of `1 / (1 - quantile)`.
const CURVE_POINTS_PER_DECADE: i32 = 9;

/// The whole record of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Version of this form: [`SCHEMA`].
    pub schema: u32,
    /// What made the record.
    pub tool: Tool,
    /// What was asked.
    pub scenario: ScenarioFacts,
    /// What the load went to.
    pub target: TargetFacts,
    /// When the load began, RFC 3339 in UTC.
    pub date: String,
    /// The machine of the generator.
    pub machine: MachineFacts,
    /// Length of the load, from its start to its last answer.
    pub elapsed_ns: u64,
    /// Whether the run was ended early, so that the record is a part of what was asked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// The stages, in order of time.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What was sent and what came of it.
    pub counts: Counts,
    /// Refusals by problem code; exchanges without an answer are not among them.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Requests without an answer, by reason.
    #[serde(default)]
    pub lost: BTreeMap<String, u64>,
    /// What came of asking again, after the load, for the outcome of requests that no answer told;
    /// none of the counts above has it.
    #[serde(default)]
    pub settled: SettledCounts,
    /// Latency by group; the group without any name is the whole run.
    #[serde(default)]
    pub latency: Vec<LatencyGroup>,
    /// How long connections took to make; absent inside the process and where none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connecting: Option<Connecting>,
    /// How well the generator kept its own promise.
    pub generator: Generator,
    /// Units, as the target's events add up to; absent where nobody could read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock: Option<Stock>,
    /// Who came first and who got what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness: Option<Fairness>,
    /// The checks of the truth, in the order of reports.
    #[serde(default)]
    pub truth: Vec<TruthCheck>,
    /// The thresholds that were asked for.
    #[serde(default)]
    pub thresholds: Vec<ThresholdOutcome>,
    /// The faults that were put in, in order of time.
    #[serde(default)]
    pub faults: Vec<FaultOutcome>,
    /// Why the run is not whole: the target was lost for good, or the truth could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How the command ended.
    pub exit: Exit,
}

/// Writes a time as records have it; beyond 584 years it is that.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The program that made a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// Returns the facts of this build.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What was asked of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioFacts {
    /// Name of the scenario.
    pub name: String,
    /// BLAKE3 of the normalised scenario, in hexadecimal: equal if and only if the same load was
    /// asked for, whatever the target and the seed.
    pub hash: String,
    /// Seed of all that is random.
    pub seed: u64,
    /// The scenario as it was written.
    #[serde(default)]
    pub text: String,
}

/// A way to a target.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// The engine inside the generator's process.
    Inproc,
    /// The shop of Lua scripts in Redis.
    Redis,
    /// The shop of statements in `PostgreSQL`.
    Postgres,
}

impl TargetKind {
    /// Returns the name that records and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Inproc => "inproc",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
        }
    }
}

/// What the load went to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// The way to it.
    pub kind: TargetKind,
    /// Its address without user and password; empty inside the process.
    #[serde(default)]
    pub url: String,
    /// Whether the way was encrypted.
    #[serde(default)]
    pub tls: bool,
    /// Whether the target's certificate was taken unseen, so that anybody might have been it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// Requests that share one connection over HTTP/2; absent where nothing is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u64>,
    /// Level of acknowledgement: `memory`, `group` or `strict`; of a peer, the settings that make
    /// its answers durable.
    pub ack: String,
}

/// The machine that the generator ran on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Processors that the generator might use.
    pub cores: u64,
    /// Model of the processor.
    pub cpu: String,
    /// Kernel with its release.
    pub kernel: String,
    /// Memory in bytes; 0 where unknown.
    pub memory_bytes: u64,
}

impl From<&Machine> for MachineFacts {
    fn from(machine: &Machine) -> Self {
        Self {
            cores: machine.cores as u64,
            cpu: machine.cpu.clone(),
            kernel: machine.kernel.clone(),
            memory_bytes: machine.memory_bytes,
        }
    }
}

/// A stretch of the arrivals with one shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name; unique in a run.
    pub name: String,
    /// `ramp`, `hold`, `flash` or `trace`.
    pub shape: String,
    /// Start.
    pub from_ns: u64,
    /// End.
    pub to_ns: u64,
    /// Users a second at its start.
    pub rate_from: f64,
    /// Users a second at its end; of a `flash` stage, at its peak.
    pub rate_to: f64,
}

/// What was sent and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Users who came.
    pub users: u64,
    /// Requests sent, duplicates included.
    pub sent: u64,
    /// Requests with an answer, refusals included.
    pub answered: u64,
    /// Requests that were carried out.
    pub accepted: u64,
    /// Orders that accepted requests made; a reservation counts once it is placed.
    pub orders: u64,
    /// Answers that the target says it gave before.
    pub replayed: u64,
    /// Requests that were due and never sent, for the run ended first.
    pub unsent: u64,
    /// Connections made again after one broke.
    pub reconnects: u64,
    /// Answers by HTTP status, where the target has one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<u16, u64>,
}

/// Requests whose outcome no answer told, asked again with their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledCounts {
    /// How many there were.
    pub asked: u64,
    /// Those that had been carried out, or were now.
    pub accepted: u64,
    /// Those that had not been, and were refused.
    pub refused: u64,
    /// Those whose outcome stayed unknown: each may explain one surprise in the events.
    pub unknown: u64,
}

/// Latency of the requests that share the named tags; an absent tag stands for all its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyGroup {
    /// What was asked, such as `buy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// `accepted` or `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Stage in which the intended start was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Kind of user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// From the intended start to the end of the answer: what a user waited.
    pub intended: Spectrum,
    /// From the actual start to the end of the answer: what the target took.
    pub service: Spectrum,
}

/// Percentiles of one histogram, exact to three digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// Values.
    pub count: u64,
    /// Mean.
    pub mean_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90 % are at most this.
    pub p90_ns: u64,
    /// 99 % are at most this.
    pub p99_ns: u64,
    /// 99.9 % are at most this.
    pub p999_ns: u64,
    /// Largest.
    pub max_ns: u64,
    /// Quantile and time, both ascending, evenly spread over `log(1 / (1 - quantile))` down to the
    /// last single value; the quantile 1 is the largest. At most [`CURVE_POINTS_MAX`] points.
    #[serde(default)]
    pub curve: Vec<(f64, u64)>,
}

impl Spectrum {
    /// Reads the percentiles of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean_ns: histogram.mean() as u64,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
            curve: curve(histogram),
        }
    }

    /// Returns the time at one of the quantiles that every record has, or on its curve: the first
    /// point that is not below. `None` if there are no values.
    pub fn at(&self, quantile: f64) -> Option<u64> {
        let exact = [
            (0.5, self.p50_ns),
            (0.9, self.p90_ns),
            (0.99, self.p99_ns),
            (0.999, self.p999_ns),
            (1.0, self.max_ns),
        ];
        let known = exact.into_iter().find(|(q, _)| (q - quantile).abs() < 1e-9);
        let on_curve = || self.curve.iter().copied().find(|(q, _)| *q >= quantile);
        (self.count > 0).then(|| known.or_else(on_curve).map_or(self.max_ns, |(_, time)| time))
    }
}

fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let count = histogram.len() as f64;
    let mut points: Vec<(f64, u64)> = Vec::new();
    for step in 0..CURVE_POINTS_MAX as i32 - 1 {
        let above = 10_f64.powf(-f64::from(step) / f64::from(CURVE_POINTS_PER_DECADE));
        // Beyond the last single value a quantile says no more than the largest does.
        if above * count < 1.0 {
            break;
        }
        // As short as it needs to be, so that JSON gives back the very number.
        let quantile = ((1.0 - above) * 1e9).round() / 1e9;
        points.push((quantile, histogram.value_at_quantile(quantile)));
    }
    points.push((1.0, histogram.max()));
    points
}

/// How long the connections of the load took to make; part of the service time of the requests
/// that waited for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connecting {
    /// TCP; its count is that of the connections made.
    pub tcp: Spectrum,
    /// The TLS handshake after it; absent without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Spectrum>,
}

/// How well the generator kept its own promise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Threads.
    pub threads: u64,
    /// Most connections at a time; over HTTP/2 most requests under way, which share connections.
    pub connections: u64,
    /// Processor time used as a share of one core; 1.5 is one core and a half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// The same of the host, where the tool started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_share: Option<f64>,
    /// How late requests started although a connection was free: the generator's own fault.
    pub lag: Spectrum,
    /// Requests that started later than is allowed by the generator's own fault.
    pub late: u64,
    /// Requests that started late because every connection was waiting for an answer.
    pub backlogged: u64,
    /// Why the figures say more about the generator than about the target, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<String>,
    /// The processes that shared the load, where there were several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerFacts>,
}

/// A process that drove a share of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// Its address, as it was named.
    pub address: String,
    /// Its machine.
    pub machine: MachineFacts,
    /// Users who came to it.
    pub users: u64,
    /// Requests that it sent.
    pub sent: u64,
    /// How late its requests started although a connection was free.
    pub lag: Spectrum,
    /// Requests that started too late by its own fault.
    pub late: u64,
    /// Processor time used as a share of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Shortest round trip to it; the common start is exact to half of it.
    pub round_trip_ns: u64,
    /// How far its clock was ahead of the coordinator's; the start does not depend on it.
    pub clock_offset_ns: i64,
    /// Whether it took any certificate of the target.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unverified: bool,
}

/// Units over all SKUs of a run: `sold + reserved + left = put_in` in an honest shop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Put in before the load.
    pub put_in: u64,
    /// Committed to orders or shipped.
    pub sold: u64,
    /// Held for reservations when the run ended.
    pub reserved: u64,
    /// Free when the run ended.
    pub left: u64,
    /// The SKU that everybody wants, where the scenario has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku_hot: Option<HotSku>,
}

/// The SKU that everybody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotSku {
    /// Its code.
    pub code: String,
    /// Units put in.
    pub put_in: u64,
    /// When the last unit was first taken; absent if some were left throughout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sold_out_at_ns: Option<u64>,
}

/// Who came first and who got what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Rank correlation of when purchases that were served had been due and of their places in the
    /// journal, of the first 65,536 of each generator thread: 1 is first come, first served; 0 is a
    /// lottery; absent with fewer than two who were served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kendall_tau: Option<f64>,
    /// Share of orders that bots got, 0 to 1; absent without bots or orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_share: Option<f64>,
    /// Each kind of user.
    #[serde(default)]
    pub by_actor: Vec<ActorShare>,
    /// 99 % of the purchases that were served waited at most this, from when they were due to the
    /// accepting answer; what their users did before is not in it. Absent if nobody was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p99_ns: Option<u64>,
}

/// What one kind of user got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorShare {
    /// Kind of user, such as `human`.
    pub actor: String,
    /// Users who came.
    pub users: u64,
    /// Orders they got.
    pub orders: u64,
    /// The same of this kind of user; absent if none was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p99_ns: Option<u64>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against the claim.
    Holds,
    /// The claim is false; the evidence says where.
    Violated,
    /// The target does not serve what the check needs, or the run had no case of it.
    #[default]
    NotChecked,
}

impl Verdict {
    /// Returns the name that records use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Violated => "violated",
            Self::NotChecked => "not_checked",
        }
    }
}

/// One check of the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthCheck {
    /// Its name, such as `oversold`; thresholds use it.
    pub name: String,
    /// What is claimed, as a sentence.
    pub claim: String,
    /// Its bit in the mask of violated checks: 0 for the lowest.
    pub bit: u8,
    /// What came of it.
    pub verdict: Verdict,
    /// Cases that were looked at.
    pub checked: u64,
    /// Cases that speak against the claim.
    pub violations: u64,
    /// The first of them, as sentences.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Why it was not checked, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A threshold and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdOutcome {
    /// As it was written.
    pub expression: String,
    /// What was measured: times in nanoseconds, shares from 0 to 1, all else plain; absent where
    /// the run has no such value, and then the threshold does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
    /// Why there is no value, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A fault that was put in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// When.
    pub at_ns: u64,
    /// When it was over; absent where nobody knows, or in a record of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<u64>,
    /// What was done, such as `kill-host`.
    pub action: String,
    /// What came of it, such as how long the host was away.
    #[serde(default)]
    pub outcome: String,
}

/// How the command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: u8,
    /// What led to it, the deciding reason first; empty for a pass.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Mask of the checks that are violated, by [`TruthCheck::bit`]; 0 if none is.
    #[serde(default)]
    pub truth_mask: u64,
}

/// Exit code of a run in which all is well.
pub const EXIT_PASS: u8 = 0;
/// Exit code of a run that is not whole.
pub const EXIT_ERROR: u8 = 1;
/// Exit code of a run with a threshold that does not hold, or whose load was not served.
pub const EXIT_THRESHOLD: u8 = 3;
/// Exit code of a run that was limited by the generator.
pub const EXIT_GENERATOR: u8 = 4;
/// Exit code of a run with a violated check.
pub const EXIT_TRUTH: u8 = 5;
/// Exit code of a comparison that finds a regression.
pub const EXIT_REGRESSION: u8 = 6;
/// Exit code of an interrupted run.
pub const EXIT_INTERRUPTED: u8 = 130;

impl Run {
    /// Returns the checks that were violated.
    pub fn violated(&self) -> impl Iterator<Item = &TruthCheck> {
        self.truth.iter().filter(|check| check.verdict == Verdict::Violated)
    }

    /// Returns the mask of violated checks: the bit of each is set.
    pub fn truth_mask(&self) -> u64 {
        self.violated().filter(|check| check.bit < 64).fold(0, |mask, check| mask | 1 << check.bit)
    }

    /// Returns the latency of all requests.
    pub fn latency_all(&self) -> Option<&LatencyGroup> {
        self.latency.iter().find(|group| group.tags().next().is_none())
    }

    /// Returns refusals over all codes.
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Returns requests without an answer over all reasons.
    pub fn lost_count(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Returns in what the load stayed behind what was asked; empty for a run that may pass.
    ///
    /// Users who never got in, and requests that got no answer, are in no percentile and in no
    /// check, so a run may look well because hardly anybody was served. A threshold on `unsent`,
    /// `lost`, or the share of either says what is allowed instead; faults that were put in are
    /// expected to cost answers.
    pub fn unserved(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut judge = |metric: &str, count: u64, of: u64, what: &str| {
            let judged = |one: &ThresholdOutcome| {
                let name = one.expression.split(['<', '>', '=', '!', '[']).next();
                let name = name.unwrap_or_default().trim();
                name == metric || name.strip_suffix(".share") == Some(metric)
            };
            let share = count as f64 / of.max(1) as f64;
            if share > UNSERVED_SHARE_MAX && !self.thresholds.iter().any(judged) {
                found.push(format!(
                    "{count} of {of} {what} ({:.1} %); above {:.0} % a run fails unless a threshold \
                     allows it, such as '{metric} <= {count}'",
                    share * 100.0,
                    UNSERVED_SHARE_MAX * 100.0
                ));
            }
        };
        let (unsent, sent) = (self.counts.unsent, self.counts.sent);
        // What a generator at its limit did not get sent is no fault of the target.
        if self.generator.limited.is_none() {
            let due = self.counts.users + unsent;
            judge("unsent", unsent, due, "users who were due were never let in");
        }
        if self.faults.is_empty() {
            judge("lost", self.lost_count(), sent, "requests got no answer");
        }
        found
    }

    /// Returns how the command ends; thresholds must have been evaluated.
    ///
    /// A violated truth comes first, then an interruption, then a target that was lost, then a
    /// limiting generator, and then a threshold or a load that was not served: each makes what
    /// comes after it worth less. Who allows the generator to be the limit allows what it did not
    /// get sent.
    pub fn judge(&self, generator_limit_allowed: bool) -> Exit {
        let mut found: Vec<(u8, String)> = Vec::new();
        for check in self.violated() {
            let (name, count) = (&check.name, check.violations);
            found.push((EXIT_TRUTH, format!("truth violated: {name}, {count} violations")));
        }
        if self.interrupted {
            found.push((EXIT_INTERRUPTED, "interrupted".to_owned()));
        }
        if let Some(why) = &self.trouble {
            found.push((EXIT_ERROR, why.clone()));
        }
        if let Some(why) = self.generator.limited.as_ref().filter(|_| !generator_limit_allowed) {
            found.push((EXIT_GENERATOR, format!("limited by the generator: {why}")));
        }
        for threshold in self.thresholds.iter().filter(|threshold| !threshold.holds) {
            let text = format!("threshold does not hold: {}", threshold.expression);
            found.push((EXIT_THRESHOLD, text));
        }
        let cut_off = self.interrupted || self.trouble.is_some();
        if !cut_off {
            found.extend(self.unserved().into_iter().map(|text| (EXIT_THRESHOLD, text)));
        }
        let code = found.first().map_or(EXIT_PASS, |(code, _)| *code);
        let reasons = found.into_iter().map(|(_, reason)| reason).collect();
        Exit { code, reasons, truth_mask: self.truth_mask() }
    }
}

impl LatencyGroup {
    /// Returns the tags that the group names, with their names.
    pub fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tags = [
            ("op", &self.op),
            ("outcome", &self.outcome),
            ("stage", &self.stage),
            ("actor", &self.actor),
        ];
        tags.into_iter().filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;
