//! Tests of thresholds: what is read, what is refused, what holds.

use hdrhistogram::Histogram;

use super::*;
use crate::results::run::{
    ActorShare, Connecting, Fairness, HotSku, LatencyGroup, Run, Spectrum, Stock, TruthCheck,
    Verdict,
};
use crate::results::series::SeriesRow;

/// Latencies that depend on what is asked for: 1 to 1,000 ms, or 7 ms within a window.
struct Made;

impl Latencies for Made {
    fn latencies(
        &self,
        service: bool,
        tags: &[(TagName, String)],
        window: Option<Window>,
    ) -> Result<Histogram<u64>, LoadError> {
        let mut histogram = Histogram::new(3).expect("three digits are allowed");
        let bots = tags.iter().any(|(name, value)| *name == TagName::Actor && value == "bot");
        let values = match (window, bots) {
            (Some(_), _) => 7..8,
            (None, true) => 1..1_001,
            (None, false) => 0..0,
        };
        for millis in values {
            let nanos = millis * 1_000_000 / if service { 2 } else { 1 };
            histogram.record(nanos).expect("it resizes by itself");
        }
        Ok(histogram)
    }
}

fn run() -> Run {
    let mut run = Run { elapsed_ns: 10_000_000_000, ..Run::default() };
    run.counts.sent = 1_000;
    run.counts.orders = 250;
    run.counts.answered = 990;
    run.counts.status = [(200, 700), (409, 290), (503, 4), (500, 1)].into();
    run.refused = [("sold_out".to_owned(), 190), ("limit".to_owned(), 10)].into();
    run.lost = [("timeout".to_owned(), 10)].into();
    let intended = Spectrum { count: 9, p99_ns: 42_000_000, ..Spectrum::default() };
    let op = Some("buy".to_owned());
    run.latency.push(LatencyGroup { op, intended, ..LatencyGroup::default() });
    let tcp = Spectrum { count: 2, p99_ns: 200_000, ..Spectrum::default() };
    run.connecting = Some(Connecting { tcp, tls: None });
    let curve = vec![(0.9, 1_000_000), (0.95, 1_200_000), (1.0, 9_000_000)];
    let lag = Spectrum { count: 3, p99_ns: 1_500_000, max_ns: 9_000_000, ..Spectrum::default() };
    run.generator.lag = Spectrum { curve, ..lag };
    let check = |name: &str, verdict, violations| TruthCheck {
        name: name.to_owned(),
        verdict,
        violations,
        ..TruthCheck::default()
    };
    run.truth = vec![
        check("oversold", Verdict::Holds, 0),
        check("duplicates", Verdict::Violated, 3),
        check("fifo", Verdict::NotChecked, 0),
    ];
    let actor = "bot".to_owned();
    let by_actor = vec![ActorShare { actor, users: 40, orders: 25, wait_p99_ns: Some(5_000_000) }];
    run.fairness = Some(Fairness { bot_share: Some(0.1), by_actor, ..Fairness::default() });
    let sku_hot = HotSku { sold_out_at_ns: Some(3_000_000_000), ..HotSku::default() };
    run.stock = Some(Stock { left: 2, sku_hot: Some(sku_hot), ..Stock::default() });
    run
}

fn evaluate(text: &str) -> crate::results::run::ThresholdOutcome {
    let series: Vec<SeriesRow> = (0..10)
        .map(|second| SeriesRow {
            second,
            sent: 100,
            refused: second,
            refused_sold_out: 1,
            accepted: 50,
            ..SeriesRow::default()
        })
        .collect();
    let threshold = Threshold::parse(text).unwrap_or_else(|error| panic!("{error}"));
    threshold.evaluate(Evidence { run: &run(), series: &series, latencies: &Made })
}

/// Each kind of metric is compared with its bound, in any unit that fits.
#[test]
fn figures_are_compared_with_bounds() {
    let check = |text: &str, value: f64, holds: bool| {
        let outcome = evaluate(text);
        let near = outcome.value.is_some_and(|found| (found / value - 1.0).abs() < 2e-3);
        assert!(near || outcome.value == Some(value), "{text}: {outcome:?}");
        assert_eq!(outcome.holds, holds, "{text}: {outcome:?}");
        assert_eq!(outcome.expression, text.trim());
    };
    check("buy.intended.p99 < 50ms", 42e6, true);
    check("buy.p99<42ms", 42e6, false);
    check("buy.p99 <= 42_000 us", 42e6, true);
    check("all.p99{op=buy} < 0.05s", 42e6, true);
    check("p95{actor=bot} < 1s", 950e6, true);
    check("service.p99.9{actor=bot} >= 600ms", 500e6, false);
    check("buy.service.mean{actor=bot} > 250ms", 250.25e6, true);
    check("buy.p50[2s..4s] == 7ms", 7e6, false);
    check("buy.max [ 0s .. 1min ] < 8ms", 7e6, true);
    check("truth.oversold == 0", 0.0, true);
    check("truth.duplicates == 0", 3.0, false);
    check("http.5xx == 0", 5.0, false);
    check("http.503 < 5", 4.0, true);
    check("refused < 1k", 200.0, true);
    check("refused.sold_out.share <= 19%", 0.19, true);
    check("refused.busy == 0", 0.0, true);
    check("lost.connection_lost == 0", 0.0, true);
    check("generator.lag.p95 < 1.5ms", 1.2e6, true);
    check("lost.timeout.rate < 1.5/s", 1.0, true);
    check("orders.rate >= 0.02k/s", 25.0, true);
    check("orders{actor=bot} < 30", 25.0, true);
    check("users{actor=bot} < 30", 40.0, false);
    check("answered{actor=bot} >= 1000", 1_000.0, true);
    check("answered[2s..4s] == 105", 105.0, true);
    check("refused.share[2s..4s] < 0.03", 0.025, true);
    check("sent.rate[0s..10s] == 100", 100.0, true);
    check("generator.lag.p99 < 5ms", 1.5e6, true);
    check("generator.late == 0", 0.0, true);
    check("connecting.tcp.p99 < 1ms", 2e5, true);
    check("fairness.bot_share < 20%", 0.1, true);
    check("fairness.wait_p99{actor=bot} < 1s", 5e6, true);
    check("stock.left != 0", 2.0, true);
    check("stock.sold_out_at > 2s", 3e9, true);
}

/// A figure that the run does not have fails its threshold and says why.
#[test]
fn what_was_not_measured_was_not_met() {
    let check = |text: &str, why: &str| {
        let outcome = evaluate(text);
        assert!(!outcome.holds && outcome.value.is_none(), "{text}: {outcome:?}");
        assert!(outcome.why.as_ref().is_some_and(|told| told.contains(why)), "{outcome:?}");
    };
    check("byu.p99 < 50ms", "no such request; it has buy");
    check("truth.fifo == 0", "not checked: the run had no case of it");
    check("truth.overslod == 0", "it has oversold, duplicates, fifo");
    check("fairness.kendall_tau > 0.9", "no order of those served");
    check("fairness.wait_p99 < 50ms", "nobody was served");
    check("users{actor=cat} < 5", "no cat; it has bot");
    check("sent[100s..200s] > 0", "no second from 100 to 200");
    check("generator.cpu < 90%", "no processor time");
    check("connecting.tls.p99 < 1ms", "no connection of this kind");
}

/// Without an answer there is no status that could hold.
#[test]
fn without_an_answer_no_status_holds() {
    let mut run = run();
    run.counts.status.clear();
    let why = |run: &Run| {
        let threshold = Threshold::parse("http.5xx == 0").expect("it is an expression");
        let outcome = threshold.evaluate(Evidence { run, series: &[], latencies: &NoLatencies });
        assert!(!outcome.holds);
        outcome.why.expect("it has no value")
    };
    assert_eq!(why(&run), "the target has no HTTP status");
    run.counts.answered = 0;
    assert_eq!(why(&run), "nothing was answered");
}

/// What a threshold names must be there, before anything is run.
#[test]
fn names_are_those_of_the_run() {
    let check = |text: &str| {
        let threshold = Threshold::parse(text).expect(text);
        let fits = threshold.check_names(&["opening"], &["bot", "human"]);
        fits.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for text in [
        "all.p99{actor=bot,stage=opening,outcome=refused} < 1s",
        "buy.p99{actor=human} < 1s",
        "truth.oversold == 0",
        "users > 0",
    ] {
        assert_eq!(check(text), "");
    }
    let text = "p99{actor=bto} < 1s";
    let error = format!("threshold `{text}`: `bto` is no actor; did you mean `bot`?");
    assert_eq!(check(text), error);
    assert!(check("truth.overslod == 0").contains("did you mean `oversold`?"));
    assert!(check("byu.p99 < 1s").contains("`byu` is no op"));
    assert!(check("p99{stage=night} < 1s").contains("there are opening"));
    assert!(check("p99{outcome=lost} < 1s").contains("there are accepted, refused"));
}

/// Who got no answer is in no histogram: a percentile that they lie below is missed, and says why.
#[test]
fn who_waits_for_ever_is_not_left_out() {
    let check = |text: &str, lost: u64, unsent: u64, holds: bool| {
        let mut run = run();
        let intended =
            Spectrum { count: 9, p50_ns: 1, p99_ns: 2, max_ns: 3, ..Spectrum::default() };
        run.latency.push(LatencyGroup { intended, ..LatencyGroup::default() });
        run.lost = [("timeout".to_owned(), lost)].into();
        (run.counts.answered, run.counts.unsent) = (950, unsent);
        let threshold = Threshold::parse(text).unwrap_or_else(|error| panic!("{error}"));
        let outcome = threshold.evaluate(Evidence { run: &run, series: &[], latencies: &Made });
        assert_eq!(outcome.holds, holds, "{text}: {outcome:?}");
        let said = outcome.why.unwrap_or_default();
        assert_eq!(said.contains("got no answer or were never sent"), !holds, "{said}");
    };
    check("p99 < 1s", 0, 0, true);
    check("p99 < 1s", 9, 0, true);
    check("p99 < 1s", 50, 0, false);
    check("p99 < 1s", 0, 50, false);
    check("p50 < 1s", 25, 25, true);
    check("max < 1s", 1, 0, false);
    check("p99{outcome=accepted,actor=bot} < 1s", 50, 0, true);
}

/// A malformed expression is refused with its column and a way out.
#[test]
fn malformed_expressions_are_refused() {
    let check = |text: &str, column: usize, what: &str| {
        let error = Threshold::parse(text).expect_err(text).to_string();
        let at = format!("threshold `{text}`: column {column}: ");
        assert!(error.starts_with(&at) && error.contains(what), "{error}");
    };
    check("", 1, "a metric belongs here");
    check("buy.p99", 8, "one of < <= > >= == != belongs here");
    check("buy.p99 < 50", 13, "a time needs its unit");
    check("buy.p99 < fast", 11, "a number belongs here, with a unit, such as 50ms");
    check("buy.p99 < 50ms now", 16, "`now` is too much");
    check("buy.p101 < 5ms", 1, "`p101` is no statistic");
    check("buy.middle.p50 < 5ms", 1, "neither intended nor service");
    check("refused.p99 < 5ms", 1, "all.p99{outcome=refused}");
    check("buy.p99{color=red} < 5ms", 9, "`color` is no tag");
    check("buy.p99{op=place} < 5ms", 8, "op is told twice");
    check("buy.p99{actor=bot < 5ms", 24, "} belongs here");
    check("buy.p99{actor=} < 5ms", 15, "actor has no value");
    check("buy.p99[5s..5s] < 5ms", 9, "ends before it begins");
    check("buy.p99[0.5s..5s] < 5ms", 9, "whole seconds");
    check("truth.oversold[1s..2s] == 0", 15, "not known by second");
    check("refused{actor=bot} == 0", 8, "not known by tag");
    check("http.abc == 0", 1, "neither a status nor a class");
    check("refused.sold-out == 0", 1, "`sold-out` is no problem code; did you mean `sold_out`?");
    check("lost.connection == 0", 1, "`connection` is no reason; did you mean `no_connection`?");
    check("users.share < 5%", 1, "no part of what was sent");
    check("refused < 5ms", 12, "`ms` is no unit of this metric");
    check("generator.mood == 0", 1, "generator has late");
    check("connecting.p99 < 1ms", 1, "connecting has tcp.p99 and tls.p99");
    check("größe.p99 < 50", 15, "a time needs its unit");
    check(&"x".repeat(600), 1, "longer than 512 bytes");
}

/// Values are shown in the unit of their metric.
#[test]
fn values_are_shown_with_units() {
    let check = |text: &str, value: f64, wanted: &str| {
        assert_eq!(Threshold::parse(text).expect(text).shown(value), wanted);
    };
    check("p99 < 5ms", 4_200_000.0, "4.20 ms");
    check("refused.share < 5%", 0.0123, "1.23 %");
    check("orders.rate > 5", 12.34, "12.3/s");
    check("truth.oversold == 0", 0.0, "0");
    check("fairness.kendall_tau > 0", 0.98, "0.980");
}
