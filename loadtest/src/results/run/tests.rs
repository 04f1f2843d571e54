//! Tests of the record: quantiles, what newer versions add, and how a run is judged.

use super::*;

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits are allowed");
    for value in values {
        histogram.record(value).expect("it resizes by itself");
    }
    histogram
}

/// A spectrum's curve ascends, is short, and ends at the largest value.
#[test]
fn a_curve_ascends_to_the_largest_value() {
    for count in [1, 2, 10, 1_000, 200_000] {
        let spectrum = Spectrum::of(&histogram(1..=count));
        assert!(spectrum.curve.len() <= CURVE_POINTS_MAX, "{count}");
        assert!(spectrum.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{count}");
        assert_eq!(spectrum.curve.last(), Some(&(1.0, spectrum.max_ns)), "{count}");
        assert_eq!(spectrum.count, count);
    }
    assert_eq!(Spectrum::of(&histogram([])), Spectrum::default());
}

/// Quantiles that a record names are exact; others are read from the curve, never from below.
#[test]
fn quantiles_are_read_from_a_spectrum() {
    let spectrum = Spectrum::of(&histogram(1..=1_000));
    assert_eq!(spectrum.at(0.99), Some(990));
    assert_eq!(spectrum.at(1.0), Some(1_000));
    let p95 = spectrum.at(0.95).expect("there are values");
    assert!((950..=970).contains(&p95), "{p95}");
    assert_eq!(Spectrum::default().at(0.5), None);
}

/// What a newer version adds is skipped; what it leaves out has its default.
#[test]
fn members_of_a_newer_version_are_skipped() {
    let mut run = Run { schema: SCHEMA, ..Run::default() };
    run.counts.status.insert(503, 2);
    let mut json = serde_json::to_value(&run).expect("a record is JSON");
    json["weather"] = "fine".into();
    json["counts"]["clouds"] = 3.into();
    json.as_object_mut().expect("an object").remove("faults");
    let read: Run = serde_json::from_value(json).expect("it is still a record");
    assert_eq!(read, run);
}

/// A run that did not serve those who were due does not pass, unless a threshold says how many
/// may stay outside; what faults cost, and what the generator did not get sent, is another
/// matter.
#[test]
fn a_run_that_was_not_served_fails() {
    let run = |unsent: u64, lost: u64| {
        let mut run = Run::default();
        (run.counts.users, run.counts.sent, run.counts.unsent) = (990, 2_000, unsent);
        run.lost.insert("timeout".to_owned(), lost);
        run
    };
    assert_eq!(run(10, 20).judge(false), Exit::default(), "1 % of each may be");
    let exit = run(990, 0).judge(false);
    assert_eq!(exit.code, EXIT_THRESHOLD);
    let wanted = "990 of 1980 users who were due were never let in (50.0 %); above 1 %";
    assert!(exit.reasons[0].starts_with(wanted), "{exit:?}");
    let exit = run(0, 21).judge(false);
    assert!(exit.code == EXIT_THRESHOLD && exit.reasons[0].contains("'lost <= 21'"), "{exit:?}");
    let mut allowed = run(990, 21);
    for expression in ["unsent <= 990", "lost.share <= 5%"] {
        let (expression, holds) = (expression.to_owned(), true);
        allowed.thresholds.push(ThresholdOutcome { expression, holds, ..Default::default() });
    }
    assert_eq!(allowed.judge(false).code, EXIT_PASS);
    let mut faulty = run(0, 500);
    faulty.faults.push(FaultOutcome::default());
    assert_eq!(faulty.judge(false).code, EXIT_PASS);
    let mut limited = run(990, 0);
    limited.generator.limited = Some("lag".into());
    assert_eq!([false, true].map(|allow| limited.judge(allow).code), [EXIT_GENERATOR, 0]);
    // An answer that never came is the target's, and a threshold on a part of them allows no other.
    limited.lost.insert("timeout".to_owned(), 500);
    assert_eq!(limited.judge(true).code, EXIT_THRESHOLD);
    let mut partly = run(0, 500);
    let (expression, holds) = ("lost.no_connection == 0".to_owned(), true);
    partly.thresholds.push(ThresholdOutcome { expression, holds, ..Default::default() });
    assert_eq!(partly.judge(false).code, EXIT_THRESHOLD);
}

/// The gravest reason decides the exit code, and every reason is told.
#[test]
fn the_gravest_reason_decides_the_exit_code() {
    let mut run = Run::default();
    assert_eq!(run.judge(false), Exit::default());
    let failing = ThresholdOutcome { expression: "lost == 0".into(), ..Default::default() };
    run.thresholds.push(failing);
    assert_eq!(run.judge(false).code, EXIT_THRESHOLD);
    run.generator.limited = Some("lag".into());
    assert_eq!(run.judge(false).code, EXIT_GENERATOR);
    assert_eq!(run.judge(true).code, EXIT_THRESHOLD);
    run.interrupted = true;
    assert_eq!(run.judge(false).code, EXIT_INTERRUPTED);
    let verdict = Verdict::Violated;
    run.truth.push(TruthCheck { name: "oversold".into(), bit: 3, verdict, ..Default::default() });
    let exit = run.judge(false);
    assert_eq!((exit.code, exit.reasons.len()), (EXIT_TRUTH, 4));
    assert_eq!(exit.truth_mask, 0b1000);
    let json = serde_json::to_value(&exit).expect("JSON");
    assert_eq!(json["truth_mask"], 8, "whoever reads the record needs no table of bits");
}
