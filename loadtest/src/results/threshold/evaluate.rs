//! Evaluates thresholds on what a run left behind.

use hdrhistogram::Histogram;

use super::{Counted, Metric, Statistic, TagName, Threshold, Unit, Window};
use crate::error::LoadError;
use crate::results::run::{
    ActorShare, Fairness, LatencyGroup, Run, Spectrum, ThresholdOutcome, Verdict,
};
use crate::results::series::SeriesRow;

/// A source of latencies by tag and time.
pub trait Latencies {
    /// Returns all latencies from the intended start, or from the actual one with `service`, of
    /// the requests that have every one of the tags, whole intervals within the window only.
    ///
    /// # Errors
    ///
    /// The source can't be read.
    fn latencies(
        &self,
        service: bool,
        tags: &[(TagName, String)],
        window: Option<Window>,
    ) -> Result<Histogram<u64>, LoadError>;
}

/// No source: a threshold that needs one fails and says so.
#[derive(Clone, Copy, Debug)]
pub struct NoLatencies;

impl Latencies for NoLatencies {
    fn latencies(
        &self,
        _: bool,
        _: &[(TagName, String)],
        _: Option<Window>,
    ) -> Result<Histogram<u64>, LoadError> {
        Err(LoadError::input("this needs the interval log of the run, and there is none"))
    }
}

/// What a run left behind.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// The record.
    pub run: &'a Run,
    /// The series.
    pub series: &'a [SeriesRow],
    /// The interval log, or [`NoLatencies`].
    pub latencies: &'a dyn Latencies,
}

/// A value, or why there is none.
type Value = Result<f64, String>;

impl Threshold {
    /// Compares the figure of a run with the bound.
    pub fn evaluate(&self, evidence: Evidence<'_>) -> ThresholdOutcome {
        let (value, why) = match self.value(evidence) {
            Ok(value) => (Some(value), None),
            Err(why) => (None, Some(why)),
        };
        let holds = value.is_some_and(|value| self.comparison.holds(value, self.bound));
        ThresholdOutcome { expression: self.text.clone(), value, holds, why }
    }

    fn value(&self, evidence: Evidence<'_>) -> Value {
        let run = evidence.run;
        let missing = |what: &str| Err(format!("the run has no {what}"));
        match &self.metric {
            Metric::Latency { service, statistic } => self.latency(evidence, *service, *statistic),
            Metric::Truth(name) => truth(run, name),
            Metric::Status(class) => status(run, class),
            Metric::Count { of, as_ } => self.count(evidence, of, *as_),
            Metric::Lag(statistic) => of_spectrum(&run.generator.lag, *statistic)
                .map_or_else(|| missing("lag: nothing went by a schedule"), Ok),
            Metric::Connecting { tls, statistic } => {
                let made = run.connecting.as_ref();
                let times = made.and_then(|c| if *tls { c.tls.as_ref() } else { Some(&c.tcp) });
                let value = times.and_then(|times| of_spectrum(times, *statistic));
                value.map_or_else(|| missing("connection of this kind"), Ok)
            }
            Metric::Late => match self.window {
                None => Ok(run.generator.late as f64),
                Some(window) => sum(evidence.series, window, |row| row.late),
            },
            Metric::Backlogged => Ok(run.generator.backlogged as f64),
            Metric::Cpu => run.generator.cpu_share.map_or_else(|| missing("processor time"), Ok),
            Metric::KendallTau => {
                let tau = run.fairness.as_ref().and_then(|fairness| fairness.kendall_tau);
                tau.map_or_else(|| missing("order of those served"), Ok)
            }
            Metric::BotShare => {
                let share = run.fairness.as_ref().and_then(|fairness| fairness.bot_share);
                share.map_or_else(|| missing("bots or no orders"), Ok)
            }
            Metric::WaitP99 => {
                let wait =
                    self.of_actor(run, |actor| actor.wait_p99_ns, |fair| fair.wait_p99_ns)?;
                wait.map_or_else(|| missing("waiting time: nobody was served"), |ns| Ok(ns as f64))
            }
            Metric::Sold => stock(run, |stock| Some(stock.sold)),
            Metric::Reserved => stock(run, |stock| Some(stock.reserved)),
            Metric::Left => stock(run, |stock| Some(stock.left)),
            Metric::SoldOutAt => stock(run, |stock| stock.sku_hot.as_ref()?.sold_out_at_ns),
        }
    }

    fn actor_value(
        &self,
        run: &Run,
        of_actor: impl Fn(&ActorShare) -> u64,
        of_all: impl Fn(&Fairness) -> u64,
    ) -> Value {
        self.of_actor(run, of_actor, of_all).map(|count| count as f64)
    }

    /// Returns a figure of the kind of user that the tag names, or of all.
    fn of_actor<T>(
        &self,
        run: &Run,
        of_actor: impl Fn(&ActorShare) -> T,
        of_all: impl Fn(&Fairness) -> T,
    ) -> Result<T, String> {
        let fairness = run.fairness.as_ref().ok_or("the run has no figures by kind of user")?;
        let Some((_, wanted)) = self.tags.first() else { return Ok(of_all(fairness)) };
        let found = fairness.by_actor.iter().find(|actor| actor.actor == *wanted);
        let known = || {
            let names: Vec<&str> = fairness.by_actor.iter().map(|a| a.actor.as_str()).collect();
            format!("the run has no {wanted}; it has {}", names.join(", "))
        };
        found.map(of_actor).ok_or_else(known)
    }

    /// Returns why a percentile says too little: more than lies beyond it was given up or never
    /// sent, so those who wait for ever are not in it.
    fn unanswered(&self, evidence: Evidence<'_>, statistic: Statistic) -> Option<String> {
        let Statistic::Quantile(quantile) = statistic else { return None };
        if self.tags.iter().any(|(name, _)| *name == TagName::Outcome) {
            return None;
        }
        let (run, within) = (evidence.run, |row: &&SeriesRow| {
            self.window.is_none_or(|window| (window.from..window.to).contains(&row.second))
        });
        let (missing, answered) = match self.window {
            None => (run.lost_count() + run.counts.unsent, run.counts.answered),
            Some(_) => {
                let rows = evidence.series.iter().filter(within);
                rows.fold((0, 0), |(lost, answered), row| {
                    (lost + row.lost, answered + row.accepted + row.refused)
                })
            }
        };
        let share = missing as f64 / (missing + answered).max(1) as f64;
        (missing > 0 && share > 1.0 - quantile).then(|| {
            format!(
                "{:.2} % got no answer or were never sent, which is more than lies beyond this \
                 percentile",
                share * 100.0
            )
        })
    }

    fn latency(&self, evidence: Evidence<'_>, service: bool, statistic: Statistic) -> Value {
        if let Some(why) = self.unanswered(evidence, statistic).filter(|_| !service) {
            return Err(why);
        }
        // The record is asked first, so that a threshold sees the number that a report shows.
        if self.window.is_none() {
            let group = evidence.run.latency.iter().find(|group| self.is_group(group));
            let spectrum =
                group.map(|group| if service { &group.service } else { &group.intended });
            if let Some(value) = spectrum.and_then(|s| of_record(s, statistic)) {
                return Ok(value);
            }
        }
        let histogram = evidence.latencies.latencies(service, &self.tags, self.window);
        let histogram = histogram.map_err(|error| error.to_string())?;
        if histogram.is_empty() {
            return Err(self.nothing_such(evidence.run));
        }
        Ok(match statistic {
            Statistic::Quantile(quantile) => histogram.value_at_quantile(quantile) as f64,
            Statistic::Mean => histogram.mean().trunc(),
        })
    }

    /// Returns whether a group of the record is the one that the tags name, no more and no less.
    fn is_group(&self, group: &LatencyGroup) -> bool {
        let wanted = |name: &str, value: &str| {
            self.tags.iter().any(|(tag, wanted)| tag.name() == name && wanted == value)
        };
        group.tags().count() == self.tags.len()
            && group.tags().all(|(name, value)| wanted(name, value))
    }

    fn nothing_such(&self, run: &Run) -> String {
        let mut ops: Vec<&str> =
            run.latency.iter().filter_map(|group| group.op.as_deref()).collect();
        ops.dedup();
        let window = self.window.map_or("", |_| ", not in this window");
        format!("the run has no such request{window}; it has {}", ops.join(", "))
    }

    fn count(&self, evidence: Evidence<'_>, of: &Counted, as_: Unit) -> Value {
        let run = evidence.run;
        let (value, sent, seconds) = match self.window {
            None => {
                let seconds = run.elapsed_ns as f64 / 1e9;
                (self.count_of_run(evidence, of)?, run.counts.sent as f64, seconds)
            }
            Some(window) => {
                let sent = sum(evidence.series, window, |row| row.sent)?;
                let value = self.count_of_window(evidence, of, window)?;
                (value, sent, (window.to - window.from) as f64)
            }
        };
        let ratio = |all: f64, what: &str| {
            if all > 0.0 { Ok(value / all) } else { Err(what.to_owned()) }
        };
        match as_ {
            Unit::Rate => ratio(seconds, "the run has no length"),
            Unit::Share => ratio(sent, "nothing was sent"),
            _ => Ok(value),
        }
    }

    fn count_of_run(&self, evidence: Evidence<'_>, of: &Counted) -> Value {
        let (run, counts) = (evidence.run, &evidence.run.counts);
        let count = match of {
            Counted::Users => {
                return match self.tags.first() {
                    None => Ok(counts.users as f64),
                    Some(_) => self.actor_value(run, |actor| actor.users, |_| counts.users),
                };
            }
            Counted::Orders => {
                return match self.tags.first() {
                    None => Ok(counts.orders as f64),
                    Some(_) => self.actor_value(run, |actor| actor.orders, |_| counts.orders),
                };
            }
            Counted::Answered if !self.tags.is_empty() => {
                let histogram = evidence.latencies.latencies(true, &self.tags, None);
                histogram.map_err(|error| error.to_string())?.len()
            }
            Counted::Answered => counts.answered,
            Counted::Sent => counts.sent,
            Counted::Accepted => counts.accepted,
            Counted::Replayed => counts.replayed,
            Counted::Unsent => counts.unsent,
            Counted::Reconnects => counts.reconnects,
            Counted::Refused(None) => run.refused_count(),
            Counted::Refused(Some(code)) => run.refused.get(code).copied().unwrap_or(0),
            Counted::Lost(None) => run.lost_count(),
            Counted::Lost(Some(reason)) => run.lost.get(reason).copied().unwrap_or(0),
        };
        Ok(count as f64)
    }

    fn count_of_window(&self, evidence: Evidence<'_>, of: &Counted, window: Window) -> Value {
        let of_row: fn(&SeriesRow) -> u64 = match of {
            Counted::Users => |row| row.users,
            Counted::Sent => |row| row.sent,
            Counted::Accepted => |row| row.accepted,
            Counted::Refused(None) => |row| row.refused,
            Counted::Refused(Some(_)) => |row| row.refused_sold_out,
            Counted::Lost(_) => |row| row.lost,
            _ if self.tags.is_empty() => |row| row.accepted + row.refused,
            _ => {
                let found = evidence.latencies.latencies(true, &self.tags, Some(window));
                return found.map(|h| h.len() as f64).map_err(|error| error.to_string());
            }
        };
        sum(evidence.series, window, of_row)
    }
}

fn sum(series: &[SeriesRow], window: Window, of_row: impl Fn(&SeriesRow) -> u64) -> Value {
    let within = series.iter().filter(|row| (window.from..window.to).contains(&row.second));
    let mut rows = within.peekable();
    if rows.peek().is_none() {
        return Err(format!("the run has no second from {} to {}", window.from, window.to));
    }
    Ok(rows.map(of_row).sum::<u64>() as f64)
}

fn truth(run: &Run, name: &str) -> Value {
    let found = run.truth.iter().find(|check| check.name == name);
    let known = || {
        let names: Vec<&str> = run.truth.iter().map(|check| check.name.as_str()).collect();
        format!("the run has no check of this name; it has {}", names.join(", "))
    };
    let check = found.ok_or_else(known)?;
    if check.verdict == Verdict::NotChecked {
        let why = check.why.as_deref().unwrap_or("the run had no case of it");
        return Err(format!("not checked: {why}"));
    }
    Ok(check.violations as f64)
}

fn status(run: &Run, class: &str) -> Value {
    if run.counts.status.is_empty() {
        let answered = run.counts.answered > 0;
        let why = if answered { "the target has no HTTP status" } else { "nothing was answered" };
        return Err(why.to_owned());
    }
    let matches = |status: u16| {
        let text = status.to_string();
        class.strip_suffix("xx").map_or(text == class, |digit| text.starts_with(digit))
    };
    let answers = run.counts.status.iter().filter(|(status, _)| matches(**status));
    Ok(answers.map(|(_, count)| count).sum::<u64>() as f64)
}

fn stock(run: &Run, of_stock: impl Fn(&crate::results::run::Stock) -> Option<u64>) -> Value {
    let stock = run.stock.as_ref().ok_or("nobody could read the stock")?;
    let value = of_stock(stock).ok_or("the run never sold out")?;
    Ok(value as f64)
}

/// Returns the number if the record has it exactly.
fn of_record(spectrum: &Spectrum, statistic: Statistic) -> Option<f64> {
    let exact = match statistic {
        Statistic::Mean => true,
        Statistic::Quantile(quantile) => {
            [0.5, 0.9, 0.99, 0.999, 1.0].iter().any(|known: &f64| (known - quantile).abs() < 1e-9)
        }
    };
    of_spectrum(spectrum, statistic).filter(|_| exact)
}

fn of_spectrum(spectrum: &Spectrum, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean => (spectrum.count > 0).then_some(spectrum.mean_ns as f64),
        Statistic::Quantile(quantile) => spectrum.at(quantile).map(|nanos| nanos as f64),
    }
}
