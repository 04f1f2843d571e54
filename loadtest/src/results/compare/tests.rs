//! Tests of comparisons: noise is no difference, a difference is found, and runs that can't be
//! compared are refused with the field.

use super::*;
use crate::results::run::{ThresholdOutcome, TruthCheck};
use crate::rng::Rng;

/// Makes a run of 60 seconds whose latencies are `factor` times as long, with its own noise.
fn recorded(name: &str, seed: u64, factor: f64) -> Recorded {
    let mut rng = Rng::of_item(seed, 0);
    let mut made = Recorded {
        name: name.to_owned(),
        run: Run::default(),
        series: Vec::new(),
        seconds: BTreeMap::new(),
    };
    for second in 0..60_u64 {
        // A sale: the load and with it the latency is high at first.
        let load = 100 + 1_000 / (second + 1);
        let accepted = load + rng.below(5);
        made.series.push(SeriesRow { second, sent: accepted, accepted, ..SeriesRow::default() });
        for clock in [Clock::Intended, Clock::Service] {
            let values = made.seconds.entry((clock, second)).or_default();
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
    let mut b = recorded("b", 2, 1.0);
    b.run.scenario.hash = "other".to_owned();
    b.run.target.ack = "strict".to_owned();
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
            "machine.cores differs",
            "machine.cpu differs",
            "B was interrupted",
            "generator.limited",
        ],
    );
    let mut short = recorded("short", 1, 1.0);
    short.series.truncate(4);
    let error = compare(&a, &short, options).expect_err("too short").to_string();
    assert_eq!(error, "both runs have 4 seconds in common, a verdict needs 5");
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
