//! Searches for the capacity of a target: the highest rate of a scenario's crowd at which all that
//! was asked still holds.
//!
//! Each step is a run of its own with fresh stock: the crowd at one steady rate, first to warm up,
//! then measured. Rates double until one fails and are then halved in between (`search`).

mod search;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use search::{PRECISION_MAX, PRECISION_MIN, STEPS_MAX};

use crate::error::LoadError;
use crate::load::{LoadOptions, OnProgress};
use crate::machine::{Machine, date_text};
#[cfg(all(feature = "faults", target_os = "linux"))]
use crate::outcome::start_host;
use crate::outcome::{Outcome, RunOptions, check_name, facts_of, run_with};
use crate::report::{knee_html, knee_text};
use crate::results::Folder;
use crate::results::folder::REPORT_FILE;
use crate::results::knee::{KNEE_FILE, KNEE_SCHEMA, Knee, KneeAsked, KneeBound, KneeEnd, KneeStep};
use crate::results::run::{
    EXIT_ERROR, EXIT_GENERATOR, EXIT_INTERRUPTED, EXIT_PASS, EXIT_THRESHOLD, EXIT_TRUTH, Exit,
    MachineFacts, Run, Tool, TruthCheck, Verdict, nanos,
};
use crate::results::threshold::{Threshold, Window};
use crate::scenario::{MEASURED, Scenario};
use crate::schedule::Rate;
use crate::truth::CHECKS;
use search::{Over, Search};

/// Longest step, and longest warm-up.
pub const STEP_MAX: Duration = Duration::from_hours(1);
/// Shortest measured part of a step.
pub const STEP_MIN: Duration = Duration::from_secs(1);

/// Makes what shows the progress of a step; is given its number from 1 and its rate.
pub type ShowStep = Box<dyn FnMut(u32, f64) -> OnProgress>;
/// Is told of each step when it is over.
pub type OnStep = Box<dyn FnMut(u32, &KneeStep)>;

/// What is searched, and how.
pub struct FindOptions {
    /// Target, seed and all else of every step.
    pub load: LoadOptions,
    /// The host to start before the first step and to end after the last; the target is its
    /// address.
    #[cfg(all(feature = "faults", target_os = "linux"))]
    pub host: Option<crate::fault::HostCommand>,
    /// What must hold, such as `p99 < 50ms` or `false_sold_out = 0`; empty takes the scenario's.
    pub slo: Vec<String>,
    /// Lowest rate in users a second, tried first. Default 500.
    pub from: Rate,
    /// Highest rate. Default 50,000.
    pub to: Rate,
    /// Start of each step that is not measured: whole seconds up to [`STEP_MAX`]. Default 2 s.
    pub warm_up: Duration,
    /// Part of each step that is measured: whole seconds, [`STEP_MIN`] to [`STEP_MAX`]. Default
    /// 10 s.
    pub step: Duration,
    /// Most steps, 1 to [`STEPS_MAX`]. Default 16.
    pub steps_max: u32,
    /// Distance of the two rates around the knee at which the search ends, as a share,
    /// [`PRECISION_MIN`] to [`PRECISION_MAX`]. Default 0.05.
    pub precision: f64,
    /// Whether a step that the generator limits counts like any other. Default false: it ends the
    /// search.
    pub allow_generator_limit: bool,
    /// Prefix of SKU codes and keys; each step appends its number. `None` makes one of the
    /// scenario's name and the seed.
    pub run: Option<String>,
    /// Where the folder of results is made; `None` writes none.
    pub out: Option<PathBuf>,
    /// Shows progress.
    pub show: Option<ShowStep>,
    /// Is told of each step.
    pub on_step: Option<OnStep>,
}

impl FindOptions {
    /// Makes the options of a scenario with all defaults; `load` is taken as for a run.
    pub fn new(load: LoadOptions) -> Self {
        let rate = |value| Rate::per_second(value).expect("the constant is in its range");
        Self {
            load,
            #[cfg(all(feature = "faults", target_os = "linux"))]
            host: None,
            slo: Vec::new(),
            from: rate(500.0),
            to: rate(50_000.0),
            warm_up: Duration::from_secs(2),
            step: Duration::from_secs(10),
            steps_max: 16,
            precision: 0.05,
            allow_generator_limit: false,
            run: None,
            out: None,
            show: None,
            on_step: None,
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        let wrong = |text: String| Err(LoadError::usage(text));
        if self.from.value() > self.to.value() {
            return wrong(format!("from is {}, above to, which is {}", self.from, self.to));
        }
        if !(1..=STEPS_MAX).contains(&self.steps_max) {
            return wrong(format!("steps is {}, outside 1..={STEPS_MAX}", self.steps_max));
        }
        if !(PRECISION_MIN..=PRECISION_MAX).contains(&self.precision) {
            let range = format!("{PRECISION_MIN}..={PRECISION_MAX}");
            return wrong(format!("precision is {}, outside {range}", self.precision));
        }
        for (name, time, min) in
            [("warm-up", self.warm_up, Duration::ZERO), ("step-for", self.step, STEP_MIN)]
        {
            let whole = time.subsec_nanos() == 0;
            if !whole || time < min || time > STEP_MAX {
                let (min, max) = (min.as_secs(), STEP_MAX.as_secs());
                let text = format!("{name} is {time:?}, want whole seconds, {min}s to {max}s");
                return wrong(text);
            }
        }
        Ok(())
    }
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Found {
    /// The record; its exit says how a command ends.
    pub knee: Knee,
    /// The folder of results, where one was asked for.
    pub folder: Option<Folder>,
}

/// Searches for the knee; blocks until it is found or can't be.
///
/// # Errors
///
/// Returns a usage error for an option outside its range, a scenario without rates and a search
/// without anything that must hold, and the error of a first step that can't be run. A later one
/// ends the search, whose record says why. A rate that does not hold is no error.
#[cfg_attr(
    not(all(feature = "faults", target_os = "linux")),
    expect(unused_mut, reason = "with the feature the host is taken out")
)]
pub fn find(scenario: &Scenario, mut options: FindOptions) -> Result<Found, LoadError> {
    options.check()?;
    // What has no rate is refused before anything is started.
    scenario.at_rate(options.from.value(), options.warm_up, options.step)?;
    #[cfg(feature = "workers")]
    if options.load.workers.is_some() {
        crate::outcome::check_shared(scenario)?;
    }
    let slo = slo(scenario, &options.slo)?;
    let name = options.run.clone();
    let name = name.unwrap_or_else(|| format!("{}-{}", scenario.name, options.load.seed));
    // The longest name of a step must still be one.
    check_name(&format!("{name}-{}", options.steps_max))?;
    let folder = match &options.out {
        Some(out) => Some(Folder::create(out, &format!("{name}-find"))?),
        None => None,
    };
    #[cfg(all(feature = "faults", target_os = "linux"))]
    let _output = start_host(options.host.take(), &[], folder.as_ref(), &mut options.load)?;
    let mut search =
        Search::new(options.from.value(), options.to.value(), options.precision, options.steps_max);
    let mut knee = blank(scenario, &options, &slo);
    let mut finder = Finder { scenario, options, slo, folder, name };
    knee.end = loop {
        let rate = match search.next() {
            Ok(rate) => rate,
            Err(over) => break over.into(),
        };
        let number = knee.steps.len() as u32 + 1;
        let step = finder.step(number, rate);
        if finder.options.load.stop.load(Ordering::Relaxed) && (step.is_ok() || number > 1) {
            // A step that was cut off says nothing about its rate.
            break KneeEnd::Interrupted;
        }
        let step = match step {
            Ok(step) => step,
            Err(error) if number == 1 => return Err(error),
            Err(error) => {
                // What the steps before have found is worth its record.
                knee.trouble = Some(format!("step {number}, at {rate}/s, can't be run: {error}"));
                break KneeEnd::Failed;
            }
        };
        search.note(rate, step.holds);
        if let Some(on_step) = &mut finder.options.on_step {
            on_step(number, &step);
        }
        let limited = step.limited.is_some() && !finder.options.allow_generator_limit;
        knee.steps.push(step);
        if limited {
            break KneeEnd::GeneratorLimited;
        }
    };
    conclude(&mut knee, finder.options.allow_generator_limit);
    if let Some(folder) = &finder.folder {
        folder.write("report.txt", knee_text(&knee).as_bytes())?;
        folder.write(REPORT_FILE, knee_html(&knee)?.as_bytes())?;
        folder.write(KNEE_FILE, knee_json(&knee)?.as_bytes())?;
    }
    Ok(Found { knee, folder: finder.folder })
}

/// Writes a record as JSON for people and programs, with a line end.
///
/// # Errors
///
/// A number of the record is not finite, which JSON has no word for.
pub fn knee_json(knee: &Knee) -> Result<String, LoadError> {
    let text = serde_json::to_string_pretty(knee);
    text.map(|text| text + "\n").map_err(|e| LoadError::input(format!("{KNEE_FILE}: {e}")))
}

impl From<Over> for KneeEnd {
    fn from(over: Over) -> Self {
        match over {
            Over::Precise => Self::Found,
            Over::Steps => Self::Steps,
            Over::TopHolds => Self::TopHolds,
            Over::BottomFails => Self::BottomFails,
        }
    }
}

fn blank(scenario: &Scenario, options: &FindOptions, slo: &[Threshold]) -> Knee {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (scenario, target) = facts_of(scenario, &options.load);
    let bounds = slo.iter().filter_map(|threshold| {
        let (expression, bound_ns) = (threshold.text().to_owned(), threshold.time_bound()?);
        Some(KneeBound { expression, bound_ns })
    });
    Knee {
        schema: KNEE_SCHEMA,
        tool: Tool::this(),
        scenario,
        target,
        date: date_text(since),
        machine: MachineFacts::from(&Machine::read()),
        asked: KneeAsked {
            slo: slo.iter().map(|threshold| threshold.text().to_owned()).collect(),
            from: options.from.value(),
            to: options.to.value(),
            warm_up_ns: nanos(options.warm_up),
            step_ns: nanos(options.step),
            steps_max: options.steps_max,
            precision: options.precision,
            bounds: bounds.collect(),
        },
        ..Knee::default()
    }
}

/// Reads what must hold, in the words of thresholds and in shorter ones: several behind commas,
/// `=` for `==`, and the name of a check alone.
fn slo(scenario: &Scenario, asked: &[String]) -> Result<Vec<Threshold>, LoadError> {
    let of_file = || scenario.slo.iter().map(|(what, bound)| format!("{what} {bound}")).collect();
    let texts: Vec<String> = if asked.is_empty() {
        of_file()
    } else {
        asked.iter().flat_map(|text| pieces(text)).map(|text| spelled_out(&text)).collect()
    };
    if texts.is_empty() {
        return Err(LoadError::usage(
            "nothing says what must hold: give --slo, such as 'p99 < 50ms', or an [slo] in the \
             scenario",
        ));
    }
    texts.iter().map(|text| Threshold::parse(text)).collect()
}

/// Splits at commas outside of tags.
fn pieces(text: &str) -> Vec<String> {
    let mut inside = false;
    let split = text.split(|c| {
        inside = (inside || c == '{') && c != '}';
        c == ',' && !inside
    });
    split.map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

fn spelled_out(text: &str) -> String {
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (name, rest) = text.split_at(name_end.unwrap_or(text.len()));
    let truth = if CHECKS.iter().any(|check| check.name() == name) { "truth." } else { "" };
    // A sign of equality inside of tags is none between a metric and its bound.
    let (tags, bound) = rest.split_at(rest.rfind('}').map_or(0, |at| at + 1));
    let double = ["==", "<=", ">=", "!="].iter().any(|sign| bound.contains(sign));
    let bound = if double { bound.to_owned() } else { bound.replacen('=', "==", 1) };
    format!("{truth}{name}{tags}{bound}")
}

/// What every step needs.
struct Finder<'a> {
    scenario: &'a Scenario,
    options: FindOptions,
    slo: Vec<Threshold>,
    folder: Option<Folder>,
    name: String,
}

impl Finder<'_> {
    /// Runs one step.
    fn step(&mut self, number: u32, rate: f64) -> Result<KneeStep, LoadError> {
        let Self { scenario, options, slo, folder, name } = self;
        let step = scenario.at_rate(rate, options.warm_up, options.step)?;
        let (from, length) = (options.warm_up.as_secs(), options.step.as_secs());
        let window = Window { from, to: from + length };
        let slo: Vec<Threshold> =
            slo.iter().map(|one| one.clone().within(MEASURED, window)).collect();
        let fresh = LoadOptions::new(options.load.target.clone());
        let mut load = std::mem::replace(&mut options.load, fresh);
        load.progress = options.show.as_mut().map(|show| show(number, rate));
        let mut step_options = RunOptions {
            load,
            run: Some(format!("{name}-{number}")),
            #[cfg(all(feature = "faults", target_os = "linux"))]
            host: None,
            out: folder.as_ref().map(|folder| folder.path().to_owned()),
            thresholds: Vec::new(),
            allow_generator_limit: false,
        };
        let outcome = run_with(&step, &mut step_options, &slo);
        options.load = step_options.load;
        // The view of this step gives the terminal back before anything is written.
        options.load.progress = None;
        Ok(step_of(&outcome?, &slo, rate, window))
    }
}

/// Makes the record of a step.
fn step_of(outcome: &Outcome, slo: &[Threshold], rate: f64, window: Window) -> KneeStep {
    let Outcome { run, series, folder, .. } = outcome;
    let seconds = (window.to - window.from) as f64;
    let rows = series.iter().filter(|row| (window.from..window.to).contains(&row.second));
    let (mut users, mut sent, mut answered) = (0, 0, 0);
    for row in rows {
        users += row.users;
        sent += row.sent;
        answered += row.accepted + row.refused;
    }
    let measured = |group: &&crate::results::run::LatencyGroup| {
        let stage = group.stage.as_deref() == Some(MEASURED);
        stage && group.tags().count() == 1
    };
    let group = run.latency.iter().find(measured).cloned().unwrap_or_default();
    let folder = folder.as_ref().and_then(|folder| folder.path().file_name());
    let why = reasons(run, slo);
    KneeStep {
        rate,
        holds: why.is_empty(),
        why,
        users_per_s: users as f64 / seconds,
        sent_per_s: sent as f64 / seconds,
        answered_per_s: answered as f64 / seconds,
        intended: group.intended,
        service: group.service,
        backlogged: run.generator.backlogged,
        unsent: run.counts.unsent,
        lost: run.lost_count(),
        thresholds: run.thresholds.clone(),
        violated: run.violated().map(|check| check.name.clone()).collect(),
        trouble: run.trouble.clone(),
        limited: run.generator.limited.clone(),
        folder: folder.map(|name| name.to_string_lossy().into_owned()),
    }
}

/// Returns why a step does not hold, the gravest first.
fn reasons(run: &Run, slo: &[Threshold]) -> Vec<String> {
    let violated = run
        .violated()
        .map(|check| format!("truth violated: {}, {} violations", check.name, check.violations));
    let trouble = run.trouble.iter().map(|why| format!("the step is not whole: {why}"));
    let missed = slo.iter().zip(&run.thresholds).filter(|(threshold, outcome)| {
        !outcome.holds && !threshold.check().is_some_and(|name| had_no_case(run, name))
    });
    let missed = missed.map(|(threshold, outcome)| match (outcome.value, &outcome.why) {
        (Some(value), _) => format!("{}: {}", outcome.expression, threshold.shown(value)),
        (None, Some(why)) => format!("{}: {why}", outcome.expression),
        (None, None) => outcome.expression.clone(),
    });
    let unserved = if run.trouble.is_some() { Vec::new() } else { run.unserved() };
    violated.chain(trouble).chain(missed).chain(unserved).collect()
}

/// Returns whether the events were read and a check found nothing to look at, which says nothing
/// against a rate. What could not be read, or stayed in doubt, is no such case.
fn had_no_case(run: &Run, name: &str) -> bool {
    let seen = run.stock.is_some() && run.trouble.is_none();
    let empty = |check: &TruthCheck| {
        check.verdict == Verdict::NotChecked && check.checked == 0 && check.evidence.is_empty()
    };
    seen && run.truth.iter().any(|check| check.name == name && empty(check))
}

/// Finds the two rates around the knee and the exit among the steps.
fn conclude(knee: &mut Knee, limit_allowed: bool) {
    let sound = |step: &&KneeStep| step.limited.is_none() || limit_allowed;
    let by_rate = |a: &&KneeStep, b: &&KneeStep| a.rate.total_cmp(&b.rate);
    let held = knee.steps.iter().filter(sound).filter(|step| step.holds).max_by(by_rate);
    let failed = knee.steps.iter().filter(sound).filter(|step| !step.holds).min_by(by_rate);
    let (holds, fails) = (held.map(|step| step.rate), failed.map(|step| step.rate));
    let why = failed.map(|step| step.why.clone()).unwrap_or_default();
    let mut found: Vec<(u8, String)> = Vec::new();
    for step in &knee.steps {
        let list = step.violated.join(", ");
        if !list.is_empty() {
            found.push((EXIT_TRUTH, format!("truth violated at {}/s: {list}", step.rate)));
        }
    }
    for step in &knee.steps {
        let text = |why: &String| (EXIT_ERROR, format!("at {}/s: {why}", step.rate));
        found.extend(step.trouble.iter().map(text));
    }
    found.extend(knee.trouble.iter().map(|why| (EXIT_ERROR, why.clone())));
    match knee.end {
        // A violated truth alone is graver.
        KneeEnd::Interrupted => {
            let at = found.iter().take_while(|(code, _)| *code == EXIT_TRUTH).count();
            found.insert(at, (EXIT_INTERRUPTED, "interrupted".to_owned()));
        }
        KneeEnd::GeneratorLimited => {
            let step = knee.steps.last();
            let text = step.and_then(|step| step.limited.clone()).unwrap_or_default();
            let rate = step.map_or(0.0, |step| step.rate);
            found.push((EXIT_GENERATOR, format!("limited by the generator at {rate}/s: {text}")));
        }
        KneeEnd::BottomFails => {
            let text = format!("not even the lowest rate, {}/s, holds", knee.asked.from);
            found.push((EXIT_THRESHOLD, text));
        }
        KneeEnd::Found | KneeEnd::Steps | KneeEnd::TopHolds | KneeEnd::Failed => (),
    }
    let code = found.first().map_or(EXIT_PASS, |(code, _)| *code);
    let reasons = found.into_iter().map(|(_, reason)| reason).collect();
    (knee.holds, knee.fails, knee.why) = (holds, fails, why);
    let violated =
        |name: &str| knee.steps.iter().any(|step| step.violated.iter().any(|v| v == name));
    let bits = CHECKS.iter().enumerate().filter(|(_, check)| violated(check.name()));
    let truth_mask = bits.fold(0, |mask, (bit, _)| mask | 1 << bit);
    knee.exit = Exit { code, reasons, truth_mask };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must hold may be written short, several at once, and with tags.
    #[test]
    fn short_words_are_spelled_out() {
        let check = |text: &str, wanted: &[&str]| {
            let all: Vec<String> = pieces(text).iter().map(|text| spelled_out(text)).collect();
            assert_eq!(all, wanted, "{text}");
            for text in all {
                Threshold::parse(&text).expect("a threshold");
            }
        };
        check("p99<50ms,false_sold_out=0", &["p99<50ms", "truth.false_sold_out==0"]);
        check("buy.p99{outcome=accepted,actor=bot} < 1s", {
            &["buy.p99{outcome=accepted,actor=bot} < 1s"]
        });
        check("answered{op=buy}[1s..2s] = 5, lost == 0", {
            &["answered{op=buy}[1s..2s] == 5", "lost == 0"]
        });
        check("unsent <= 3", &["unsent <= 3"]);
    }

    fn step(rate: f64, holds: bool) -> KneeStep {
        let why = if holds { Vec::new() } else { vec![format!("p99 < 1ms: {rate} ms")] };
        KneeStep { rate, holds, why, ..KneeStep::default() }
    }

    /// The knee is the last rate that holds and the first that does not, whatever the order of the
    /// steps; a step that the generator limited is neither.
    #[test]
    fn the_knee_is_found_among_the_steps() {
        let steps = [(100.0, true), (200.0, true), (400.0, false), (300.0, false), (250.0, true)];
        let mut knee = Knee { steps: steps.map(|(r, h)| step(r, h)).into(), ..Knee::default() };
        conclude(&mut knee, false);
        assert_eq!((knee.holds, knee.fails), (Some(250.0), Some(300.0)));
        assert_eq!((knee.why[0].as_str(), knee.exit.code), ("p99 < 1ms: 300 ms", EXIT_PASS));
        let limited = Some("lag".to_owned());
        knee.steps.push(KneeStep { limited, ..step(260.0, false) });
        knee.end = KneeEnd::GeneratorLimited;
        conclude(&mut knee, false);
        assert_eq!((knee.holds, knee.fails), (Some(250.0), Some(300.0)));
        assert_eq!(knee.exit.code, EXIT_GENERATOR);
        assert_eq!(knee.exit.reasons, ["limited by the generator at 260/s: lag"]);
        knee.steps[1].violated = vec!["oversold".to_owned()];
        conclude(&mut knee, false);
        assert_eq!((knee.exit.code, knee.exit.reasons.len()), (EXIT_TRUTH, 2));
        assert_eq!(knee.exit.truth_mask, 1, "the bit of oversold");
    }

    /// A step is excused for a check without a case, and for nothing that could not be seen.
    #[test]
    fn what_could_not_be_seen_does_not_hold() {
        let slo = [Threshold::parse("truth.oversold == 0").expect("a threshold")];
        let run = |change: fn(&mut Run)| {
            let mut run =
                Run { stock: Some(crate::results::run::Stock::default()), ..Run::default() };
            run.truth.push(TruthCheck { name: "oversold".to_owned(), ..TruthCheck::default() });
            change(&mut run);
            let latencies = &crate::results::threshold::NoLatencies;
            let evidence =
                crate::results::threshold::Evidence { run: &run, series: &[], latencies };
            run.thresholds = vec![slo[0].evaluate(evidence)];
            reasons(&run, &slo)
        };
        assert_eq!(run(|_| ()), [""; 0], "nobody was sold anything at this rate");
        for change in [
            |run: &mut Run| run.stock = None,
            |run: &mut Run| run.truth[0].checked = 3,
            |run: &mut Run| run.truth.clear(),
            |run: &mut Run| run.trouble = Some("the host is gone".to_owned()),
        ] {
            assert!(!run(change).is_empty());
        }
        let gone = run(|run| run.trouble = Some("the host is gone".to_owned()));
        assert_eq!(gone[0], "the step is not whole: the host is gone");
        let unserved = run(|run| (run.counts.users, run.counts.unsent) = (50, 50));
        assert!(unserved[0].starts_with("50 of 100 users who were due"), "{unserved:?}");
    }

    /// A step that can't be run keeps the knee that was found before it.
    #[test]
    fn trouble_is_told_beside_the_knee() {
        let steps = vec![step(100.0, true), step(200.0, false)];
        let trouble = Some("step 3 can't be run".to_owned());
        let mut knee = Knee { steps, trouble, end: KneeEnd::Failed, ..Knee::default() };
        conclude(&mut knee, false);
        assert_eq!((knee.holds, knee.fails), (Some(100.0), Some(200.0)));
        assert_eq!(
            knee.exit,
            Exit { code: 1, reasons: vec!["step 3 can't be run".to_owned()], truth_mask: 0 }
        );
    }

    /// Each option outside its range is refused with its range.
    #[test]
    fn options_are_checked() {
        let target = crate::http::Authority::parse("http://127.0.0.1:1").expect("an address");
        let options = || FindOptions::new(LoadOptions::new(crate::Target::Http(target.clone())));
        let check = |change: fn(&mut FindOptions), wanted: &str| {
            let mut options = options();
            change(&mut options);
            let error = options.check().expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        };
        options().check().expect("the defaults are fine");
        check(|o| o.to = Rate::per_second(5.0).expect("a rate"), "from is 500/s, above to");
        check(|o| o.steps_max = 0, "steps is 0, outside 1..=64");
        check(|o| o.precision = 0.0, "precision is 0, outside 0.001..=1");
        check(|o| o.step = Duration::from_millis(1_500), "step-for is 1.5s, want whole seconds");
        check(|o| o.step = Duration::ZERO, "step-for is 0ns, want whole seconds, 1s to 3600s");
    }
}
