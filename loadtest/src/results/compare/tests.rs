//! Tests of comparisons: noise is no difference, a difference is found, and runs that can't be
//! compared are refused with the field.

use super::*;
use crate::results::run::{ThresholdOutcome, TruthCheck};
use crate::rng::Rng;

/// Makes a run of 60 seconds whose latencies are `factor` times as long, with its own noise.
fn recorded(name: &str, seed: u64, factor: f64) -> Recorded {
    of_length(name, seed, factor, 60)
}

fn of_length(name: &str, seed: u64, factor: f64, seconds: u64) -> Recorded {
    let mut rng = Rng::of_item(seed, 0);
    let mut made = Recorded {
        name: name.to_owned(),
        run: Run::default(),
        series: Vec::new(),
        stretch: stretch_of(seconds as usize),
        rows: BTreeMap::new(),
    };
    for second in 0..seconds {
        // A sale: the load and with it the latency is high at first.
        let load = 100 + 1_000 / (second + 1);
        let accepted = load + rng.below(5);
        made.series.push(SeriesRow { second, sent: accepted, accepted, ..SeriesRow::default() });
        for clock in [Clock::Intended, Clock::Service] {
            let rows = made.rows.entry(clock).or_default();
            let values = rows.entry(second / made.stretch).or_default();
            for _ in 0..accepted {
                let spread = 1.0 - (1.0 - rng.unit()).ln();
                let nanos = 200_000.0 * (1.0 + load as f64 / 250.0) * spread * factor;
                // As coarse as a histogram of three digits.
                *values.entry(nanos as u64 / 1_000 * 1_000).or_default() += 1;
            }
        }
    }
    made
}

fn changes(comparison: &Comparison) -> Vec<(&str, Change)> {
    comparison.figures.iter().map(|figure| (figure.name.as_str(), figure.change)).collect()
}

/// Two runs that differ by their noise alone are the same, in whatever order.
#[test]
fn noise_is_no_difference() {
    for seed in 0..4 {
        let (a, b) = (recorded("a", seed, 1.0), recorded("b", seed + 100, 1.0));
        let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
        let wrong = |change| matches!(change, Change::Regressed | Change::Improved);
        assert!(changes(&found).iter().all(|(_, change)| !wrong(*change)), "{found:#?}");
        assert_eq!(found.exit_code(true), EXIT_PASS);
        assert_eq!(found.figures.len(), 8);
    }
}

/// A run that takes 20 % longer is worse, and the other way round better.
#[test]
fn a_difference_beyond_noise_is_found() {
    let (a, b) = (recorded("a", 1, 1.0), recorded("b", 2, 1.2));
    let worse = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let median = |found: &Comparison| {
        let figure = found.figures.iter().find(|figure| figure.name == "all.intended.p50");
        figure.cloned().expect("it is compared")
    };
    assert_eq!(median(&worse).change, Change::Regressed, "{worse:#?}");
    let (low, high) = median(&worse).ratio_interval.expect("there are values");
    assert!(low < 1.2 && 1.2 < high && low > 1.1 && high < 1.3, "{low} {high}");
    assert_eq!(worse.verdict, Change::Regressed);
    assert_eq!((worse.exit_code(true), worse.exit_code(false)), (EXIT_REGRESSION, EXIT_PASS));
    let better = compare(&b, &a, CompareOptions::default()).expect("they are comparable");
    assert_eq!(median(&better).change, Change::Improved);
    // The same difference is none that matters, if only a half would.
    let options = CompareOptions { effect_min: 0.5, ..CompareOptions::default() };
    let small = compare(&a, &b, options).expect("they are comparable");
    assert_eq!(median(&small).change, Change::Same);
}

/// The verdict on the same two runs is always the same.
#[test]
fn a_comparison_repeats_itself() {
    let (a, b) = (recorded("a", 1, 1.0), recorded("b", 2, 1.04));
    let once = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    assert_eq!(compare(&a, &b, CompareOptions::default()).expect("they are"), once);
    assert!(once.method.contains("Künsch 1989"), "{}", once.method);
}

/// Runs of another load, machine or level are refused, and every field that differs is named.
#[test]
fn runs_that_differ_in_what_was_asked_are_refused() {
    let (a, mut b) = (recorded("a", 1, 1.0), recorded("b", 2, 1.0));
    let check = |b: &Recorded, options: CompareOptions, wanted: &[&str]| {
        let found = obstacles(&a.run, &b.run, options);
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        assert!(found.iter().zip(wanted).all(|(text, field)| text.starts_with(field)), "{found:?}");
    };
    let options = CompareOptions::default();
    check(&b, options, &[]);
    b.run.scenario.seed = 7;
    b.run.target.kind = crate::results::run::TargetKind::Redis;
    check(&b, options, &["scenario.seed differs: 0 and 7", "target.kind differs: http1 and redis"]);
    let error = compare(&a, &b, options).expect_err("they are not comparable").to_string();
    assert!(error.starts_with("a and b are not comparable: scenario.seed"), "{error}");
    check(&b, CompareOptions { seeds_may_differ: true, targets_may_differ: true, ..options }, &[]);
    let (mut few, mut many) = (recorded("few", 1, 1.0), recorded("many", 1, 1.0));
    (few.run.target.streams, many.run.target.streams) = (Some(1), Some(32));
    let found = obstacles(&few.run, &many.run, options);
    assert_eq!(found, ["target.streams differs: 1 and 32"]);
    check(&few, options, &[]);
    let mut b = recorded("b", 2, 1.0);
    b.run.scenario.hash = "other".to_owned();
    b.run.target.ack = "strict".to_owned();
    b.run.generator.connections = 7;
    b.run.generator.threads = 2;
    b.run.machine.cores = 64;
    b.run.machine.cpu = "faster".to_owned();
    b.run.interrupted = true;
    b.run.generator.limited = Some("lag".to_owned());
    check(
        &b,
        options,
        &[
            "scenario.hash differs",
            "target.ack differs",
            "generator.connections differs: 0 and 7",
            "generator.threads differs: 0 and 2",
            "machine.cores differs",
            "machine.cpu differs",
            "B was interrupted",
            "generator.limited",
        ],
    );
    let mut empty = recorded("empty", 1, 1.0);
    empty.series.clear();
    let error = compare(&a, &empty, options).expect_err("too short").to_string();
    assert_eq!(error, "empty has no second that could be compared");
}

/// The answers that a slower run gives when the other is at its end are its worst, and they count.
#[test]
fn what_the_slower_run_answers_last_counts() {
    let (a, mut b) = (recorded("a", 1, 1.0), recorded("b", 2, 1.0));
    // B fell behind: a part of each second's answers comes after the end, seconds late.
    for second in 60..70 {
        let accepted = 40;
        b.series.push(SeriesRow { second, accepted, sent: 0, ..SeriesRow::default() });
        let late = b.rows.entry(Clock::Intended).or_default().entry(second).or_default();
        late.insert(8_000_000_000, accepted);
    }
    let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let figure = |name: &str| found.figures.iter().find(|figure| figure.name == name).cloned();
    let p99 = figure("all.intended.p99").expect("it is compared");
    assert!((p99.b - 8e9).abs() < 1.0 && p99.a < 1e8, "{p99:?}");
    assert_eq!((found.seconds, found.verdict == Change::Improved), (70, false));
    // Each rate is over its own length, as in the records.
    let total = |of: &Recorded| of.series.iter().map(|row| row.accepted).sum::<u64>() as f64;
    let rate = figure("accepted.rate").expect("it is compared");
    assert_eq!((rate.a, rate.b), (total(&a) / 60.0, total(&b) / 70.0));
}

/// Runs of some seconds are shown, and get no verdict on their figures.
#[test]
fn short_runs_get_no_verdict_on_figures() {
    let unclear = |seconds| {
        let (a, b) = (of_length("a", 1, 1.0, seconds), of_length("b", 2, 9.0, seconds));
        let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
        let all = changes(&found).iter().all(|(_, change)| *change == Change::Unclear);
        (all, found.method.contains("too few for a verdict"), found.verdict)
    };
    assert_eq!(unclear(29), (true, true, Change::Unclear));
    assert_eq!(unclear(30), (false, false, Change::Regressed));
}

/// Long runs are compared by rows of some seconds, and the figures are those of all seconds.
#[test]
fn long_runs_are_gathered() {
    let stretches = [1, 300, 301, 600, 601, 86_400].map(stretch_of);
    assert_eq!(stretches, [1, 1, 2, 2, 4, 512]);
    let (a, b) = (of_length("a", 1, 1.0, 700), of_length("b", 1, 1.0, 300));
    let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let total: u64 = b.series.iter().map(|row| row.accepted).sum();
    assert!((found.figures[0].b - total as f64 / 300.0).abs() < 1e-9);
    assert!(found.figures.iter().all(|figure| figure.ratio_interval.is_some()), "{found:#?}");
}

/// Ten thousand violations are worse than one, and a hundred lost requests are worse than three;
/// four are not.
#[test]
fn more_of_what_is_bad_is_a_regression() {
    let found = |violations: u64, lost: u64, unsent: u64| {
        let make = |name, violations, lost, unsent| {
            let mut made = recorded(name, 1, 1.0);
            made.run.truth = vec![TruthCheck {
                name: "oversold".to_owned(),
                verdict: Verdict::Violated,
                checked: 20_000,
                violations,
                ..TruthCheck::default()
            }];
            made.run.counts.sent = 10_000;
            made.run.counts.unsent = unsent;
            made.run.lost.insert("timeout".to_owned(), lost);
            made
        };
        let (a, b) = (make("a", 1, 3, 100), make("b", violations, lost, unsent));
        let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
        let notes = found.notes.into_iter().map(|note| (note.text, note.change));
        notes.collect::<Vec<_>>()
    };
    let oversold = |b: u64, change| {
        (format!("oversold is violated in both runs: 1 times in A, {b} times in B"), change)
    };
    assert_eq!(found(1, 4, 101), [oversold(1, Change::Unclear)]);
    assert_eq!(
        found(10_000, 100, 900),
        [
            oversold(10_000, Change::Regressed),
            ("100 requests stayed without an answer in B, 3 in A".to_owned(), Change::Regressed),
            ("900 requests were due and never sent in B, 100 in A".to_owned(), Change::Regressed),
        ]
    );
}

/// A check or a threshold that fails in B alone is a regression, whatever the figures say.
#[test]
fn checks_and_thresholds_are_compared() {
    let (mut a, mut b) = (recorded("a", 1, 1.0), recorded("b", 1, 1.0));
    let check = |name: &str, verdict| TruthCheck {
        name: name.to_owned(),
        verdict,
        ..TruthCheck::default()
    };
    a.run.truth = vec![check("oversold", Verdict::Holds), check("fifo", Verdict::Violated)];
    b.run.truth = vec![check("oversold", Verdict::Violated), check("fifo", Verdict::Holds)];
    let threshold = |holds| ThresholdOutcome {
        expression: "buy.p99 < 1s".into(),
        holds,
        ..ThresholdOutcome::default()
    };
    a.run.thresholds = vec![threshold(true)];
    b.run.thresholds = vec![threshold(false)];
    b.run.lost.insert("timeout".to_owned(), 2);
    let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let notes: Vec<_> = found.notes.iter().map(|note| (note.text.as_str(), note.change)).collect();
    assert_eq!(
        notes,
        [
            ("oversold is violated in B only", Change::Regressed),
            ("fifo is violated in A only", Change::Improved),
            ("buy.p99 < 1s is missed in B only", Change::Regressed),
            ("2 requests stayed without an answer in B, none in A", Change::Regressed),
        ]
    );
    assert_eq!(found.verdict, Change::Regressed);
}
