//! Tests of the HTML report: nothing in a record can become a part of the page, and the page asks
//! nobody for anything. How it looks is tested in a browser (`loadtest/tests/browser`).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::results::run::{
    ActorShare, Fairness, FaultOutcome, HotSku, LatencyGroup, SCHEMA, Spectrum, Stage, Stock,
    ThresholdOutcome, TruthCheck, Verdict, WorkerFacts,
};

/// What an attacker who chooses a name would choose.
const NASTY: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u{2028}\u{1b}[31m";

/// A record in which each text is nasty.
fn nasty() -> Run {
    let text = || NASTY.to_owned();
    let mut run = Run { schema: SCHEMA, date: text(), elapsed_ns: 2_000_000_000, ..Run::default() };
    run.tool.name = text();
    run.scenario.name = text();
    run.scenario.text = text();
    run.target.url = text();
    run.target.ack = text();
    run.machine.cpu = text();
    run.machine.kernel = text();
    run.stages.push(Stage { name: text(), shape: text(), ..Stage::default() });
    run.refused.insert(text(), 3);
    run.lost.insert(text(), 3);
    let spectrum = Spectrum { count: 1, curve: vec![(1.0, 5)], ..Spectrum::default() };
    run.latency.push(LatencyGroup { intended: spectrum.clone(), ..LatencyGroup::default() });
    run.latency.push(LatencyGroup { stage: Some(text()), ..LatencyGroup::default() });
    run.generator.limited = Some(text());
    let worker = WorkerFacts { address: text(), ..WorkerFacts::default() };
    run.generator.workers.push(worker);
    run.generator.lag = spectrum;
    let sku_hot = Some(HotSku { code: text(), put_in: 5, sold_out_at_ns: Some(1) });
    run.stock = Some(Stock { sku_hot, ..Stock::default() });
    let by_actor = vec![ActorShare { actor: text(), ..ActorShare::default() }];
    run.fairness = Some(Fairness { by_actor, ..Fairness::default() });
    for verdict in [Verdict::Holds, Verdict::Violated, Verdict::NotChecked] {
        let (name, claim, evidence, why) = (text(), text(), vec![text()], Some(text()));
        run.truth.push(TruthCheck { name, claim, verdict, evidence, why, ..TruthCheck::default() });
    }
    let (expression, why) = (text(), Some(text()));
    run.thresholds.push(ThresholdOutcome { expression, why, ..ThresholdOutcome::default() });
    run.faults.push(FaultOutcome { at_ns: 1, to_ns: Some(2), action: text(), outcome: text() });
    run.trouble = Some(text());
    run.exit.reasons.push(text());
    run
}

fn embedded_of(page: &str) -> Value {
    let begin = "<script type=\"application/json\" id=\"record\">";
    let rest = page.split_once(begin).expect("the record is there").1;
    let text = rest.split_once("</script>").expect("it ends").0;
    serde_json::from_str(text).expect("it is JSON")
}

/// No text of a record can end the element that it stands in, or begin one.
#[test]
fn no_text_of_a_record_becomes_a_part_of_the_page() {
    let run = nasty();
    let series = [SeriesRow { sold: Some(1), ..SeriesRow::default() }];
    let page = run_html(&run, &series).expect("a page");
    // uPlot and the page's own script have no such text, so each one would be the record's.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert!(!page.contains("<img"), "an element of the record");
    assert!(!page.contains('\u{1b}'));
    assert!(page.matches("&lt;/script&gt;&lt;script&gt;alert(1)").count() > 20);
}

/// The page carries the very record, so that every view has the same numbers.
#[test]
fn the_page_carries_the_very_record() {
    let run = nasty();
    let series = [SeriesRow { sent: 7, sold: Some(1), ..SeriesRow::default() }];
    let json = embedded_of(&run_html(&run, &series).expect("a page"));
    let read: Run = serde_json::from_value(json["run"].clone()).expect("a record");
    assert_eq!(read, run);
    assert_eq!(json["series"]["sent"], json!([7]));
    assert_eq!(json["series"]["available"], json!([null]));
}

/// The page names no address, and its policy lets it load nothing.
#[test]
fn the_page_asks_nobody_for_anything() {
    let page = run_html(&Run::default(), &[]).expect("a page");
    for request in [" src=", " href=", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket("]
    {
        assert!(!page.contains(request), "{request}");
    }
    assert!(page.contains("default-src &#39;none&#39;"));
}

/// No call takes a list as its arguments: a day of seconds would be more than an engine takes, and
/// its charts would stay empty.
#[test]
fn no_call_takes_a_list_as_its_arguments() {
    let calls = APP.lines().filter(|line| {
        let spread = ["Math.min(", "Math.max(", "push("].map(|call| format!("{call}..."));
        spread.iter().any(|call| line.contains(call)) || line.contains(", ...all)")
    });
    assert_eq!(calls.collect::<Vec<_>>(), [""; 0]);
}

/// The policy allows the two scripts and the two styles of the page by their hashes, and no other.
#[test]
fn the_policy_names_the_scripts_and_styles_of_the_page() {
    let hash =
        |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let wanted = format!(
        "default-src 'none'; script-src {} {}; style-src {} {}; base-uri 'none'; form-action \
         'none'\n",
        hash(UPLOT),
        hash(APP),
        hash(UPLOT_STYLE),
        hash(STYLE)
    );
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/page/policy.txt");
        std::fs::write(path, &wanted).expect("it is written");
        return;
    }
    assert_eq!(POLICY, wanted, "run it again with UPDATE_EXPECT=1");
}
