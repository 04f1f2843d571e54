//! Tests of reports on the sample runs: every view has the numbers of the record.

use std::fs;

use onhand_loadtest::results::Folder;
use onhand_loadtest::results::compare::{Change, CompareOptions, Recorded, compare};
use onhand_loadtest::results::interval::{LogFile, Totals};
use onhand_loadtest::results::knee::{Knee, KneeAsked, KneeBound, KneeStep};
use onhand_loadtest::results::run::{Run, Spectrum, TruthCheck, Verdict};
use onhand_loadtest::results::threshold::{Evidence, Threshold};
use onhand_loadtest::{
    comparison_html, comparison_text, knee_html, prometheus_text, run_html, run_text,
};

use crate::sample::Sample;

/// The sample hangs together as a real run does: series, log, record and stock say the same.
#[test]
fn series_log_and_record_say_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = Sample::FORGETFUL.write(dir.path(), "sale");
    let (run, series) = (folder.run().expect("a record"), folder.series().expect("a series"));
    let sum = |of: fn(&onhand_loadtest::results::SeriesRow) -> u64| series.iter().map(of).sum();
    let check = |told: u64, summed: u64| assert_eq!(told, summed);
    check(run.counts.users, sum(|row| row.users));
    check(run.counts.sent, sum(|row| row.sent));
    check(run.counts.accepted, sum(|row| row.accepted));
    check(run.refused_count(), sum(|row| row.refused));
    check(run.refused_count(), {
        sum(|row| row.refused_sold_out + row.refused_limit + row.refused_other)
    });
    check(run.lost_count(), sum(|row| row.lost));
    check(run.counts.answered, run.latency_all().expect("answers").intended.count);
    let stock = run.stock.as_ref().expect("a stock");
    check(stock.put_in, stock.sold + stock.reserved + stock.left);
    assert!(
        run.lost_count() > 0 && stock.sku_hot.as_ref().is_some_and(|s| s.sold_out_at_ns.is_some())
    );
    let log = folder.file("latency.hlog");
    assert_eq!(Totals::read(&log).expect("a log").groups(), run.latency);
    let log = LogFile(log);
    for outcome in &run.thresholds {
        let threshold = Threshold::parse(&outcome.expression).expect("an expression");
        let evidence = Evidence { run: &run, series: &series, latencies: &log };
        assert_eq!(threshold.evaluate(evidence), *outcome);
    }
}

/// Text, page and Prometheus say what the record says.
#[test]
fn every_view_has_the_numbers_of_the_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = Sample::FORGETFUL.write(dir.path(), "sale");
    let (run, series) = (folder.run().expect("a record"), folder.series().expect("a series"));
    let (text, page) = (run_text(&run), run_html(&run, &series).expect("a page"));
    let prometheus = prometheus_text(&run);
    assert_eq!((run.exit.code, run.violated().count()), (5, 1));
    let in_both = |wanted: &str| {
        assert!(text.contains(wanted), "{wanted}\n{text}");
        assert!(page.contains(wanted), "{wanted}");
    };
    in_both("The shop did not keep its word: lost acknowledgements (3).");
    in_both("ord_01k9m3v7q2 was acknowledged at 9.98 s and is in no event");
    in_both("the host serves no queue, so there is no order to keep");
    for check in &run.truth {
        in_both(&check.claim);
        let sample = format!("check=\"{}\"", check.name);
        assert_eq!(prometheus.contains(&sample), check.verdict != Verdict::NotChecked);
    }
    let all = run.latency_all().expect("answers");
    let millis = |nanos: u64| match nanos {
        ..1_000_000_000 => format!("{:.2} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    };
    in_both(&millis(all.intended.p99_ns));
    in_both(&millis(all.service.p99_ns));
    in_both("kill-host");
    let embedded = page.split_once("id=\"record\">").expect("the record").1;
    let embedded = embedded.split_once("</script>").expect("its end").0;
    let embedded: serde_json::Value = serde_json::from_str(embedded).expect("JSON");
    let read: Run = serde_json::from_value(embedded["run"].clone()).expect("a record");
    assert_eq!(read, run);
}

/// A run whose host was lost is called by no view one that passed.
#[test]
fn a_run_that_is_not_whole_passes_in_no_view() {
    let whole = TruthCheck { verdict: Verdict::Holds, ..TruthCheck::default() };
    let mut run = Run { truth: vec![whole], ..Run::default() };
    run.trouble = Some("the host ended by itself (signal: 6)".to_owned());
    run.exit = run.judge(false);
    assert_eq!(run.exit.code, 1);
    let wanted = "The run could not be seen to its end: the host ended by itself (signal: 6).";
    let page = run_html(&run, &[]).expect("a page");
    for view in [&run_text(&run), &page] {
        assert!(view.contains(wanted) && !view.contains("kept its word"), "{view}");
    }
    assert!(page.contains("✗ failed") && !page.contains("✓ passed"));
}

/// Two shops with one load: the slower one is worse in its latency, the forgetful one in its truth.
#[test]
fn a_slower_shop_is_found_worse() {
    let dir = tempfile::tempdir().expect("a directory");
    let read = |sample: Sample, name: &str| {
        let folder = sample.write(dir.path(), name);
        Recorded::read(&Folder::open(folder.path()).expect("it is complete")).expect("it is whole")
    };
    let (a, b) = (read(Sample::FORGETFUL, "forgetful"), read(Sample::SLOWER, "slower"));
    let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let change = |name: &str| {
        let figure = found.figures.iter().find(|figure| figure.name == name);
        figure.map(|figure| figure.change)
    };
    assert_eq!(change("all.intended.p99"), Some(Change::Regressed), "{found:#?}");
    assert!(
        found.notes.iter().any(|note| note.text == "lost acknowledgements is violated in A only")
    );
    assert_eq!(found.verdict, Change::Regressed);
    let (text, page) = (comparison_text(&found), comparison_html(&found, &a, &b).expect("a page"));
    assert!(text.starts_with("slower is worse than forgetful in "), "{text}");
    assert!(page.contains("slower is worse than forgetful in ") && page.contains("Künsch 1989"));
    let same = compare(&a, &a, CompareOptions::default()).expect("they are comparable");
    assert_eq!(same.verdict, Change::Unclear, "a check is violated in both");
    assert!(same.figures.iter().all(|figure| figure.change == Change::Same), "{same:#?}");
}

/// A search against a shop that answers 3,300 users a second and no more.
fn knee(like: &Run) -> Knee {
    let step = |rate: f64, [p50, p99, service]: [u64; 3]| {
        let spectrum = |p50_ns: u64, p99_ns: u64| {
            let p999_ns = 2 * p99_ns;
            Spectrum { count: 1_000, p50_ns, p99_ns, p999_ns, ..Spectrum::default() }
        };
        let why = if p99 <= 50_000_000 { Vec::new() } else { vec!["p99 < 50ms".to_owned()] };
        KneeStep {
            rate,
            holds: why.is_empty(),
            why,
            users_per_s: rate,
            sent_per_s: 1.9 * rate,
            answered_per_s: 1.9 * rate.min(3_300.0),
            intended: spectrum(p50, p99),
            service: spectrum(p50.min(service / 3), service),
            ..KneeStep::default()
        }
    };
    let bound = KneeBound { expression: "p99 < 50ms".to_owned(), bound_ns: 5e7 };
    Knee {
        scenario: like.scenario.clone(),
        target: like.target.clone(),
        machine: like.machine.clone(),
        date: like.date.clone(),
        asked: KneeAsked { bounds: vec![bound], ..KneeAsked::default() },
        steps: vec![
            step(500.0, [400_000, 1_500_000, 1_400_000]),
            step(1_000.0, [450_000, 1_900_000, 1_800_000]),
            step(2_000.0, [600_000, 4_200_000, 4_000_000]),
            step(4_000.0, [1_800_000_000, 3_900_000_000, 9_000_000]),
            step(3_000.0, [900_000, 19_000_000, 8_000_000]),
            step(3_500.0, [350_000_000, 900_000_000, 9_000_000]),
            step(3_250.0, [1_200_000, 41_000_000, 8_600_000]),
            step(3_375.0, [90_000_000, 230_000_000, 9_000_000]),
        ],
        holds: Some(3_250.0),
        fails: Some(3_375.0),
        why: vec!["p99 < 50ms: 230.00 ms".to_owned()],
        ..Knee::default()
    }
}

/// The pages for the test in a browser are written where its script looks for them, if it asks.
#[test]
fn pages_are_written_for_the_browser() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = std::env::var_os("REPORT_PAGES").map_or_else(|| dir.path().to_owned(), Into::into);
    fs::create_dir_all(&target).expect("a directory");
    let read = |sample: Sample, name: &str| {
        Recorded::read(&sample.write(&target, name)).expect("it is whole")
    };
    let (a, b) = (read(Sample::FORGETFUL, "forgetful"), read(Sample::SLOWER, "slower"));
    let found = compare(&a, &b, CompareOptions::default()).expect("they are comparable");
    let pages = [
        ("run.html", run_html(&a.run, &a.series).expect("a page")),
        ("honest.html", run_html(&b.run, &b.series).expect("a page")),
        ("comparison.html", comparison_html(&found, &a, &b).expect("a page")),
        ("knee.html", knee_html(&knee(&a.run)).expect("a page")),
    ];
    for (name, page) in pages {
        assert!(page.len() < 1_000_000, "{name} has {} bytes", page.len());
        fs::write(target.join(name), page).expect("it is written");
    }
}
