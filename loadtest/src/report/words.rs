//! The words and numbers that every view of a run shares, so that they are the same in all.

use std::fmt::Write as _;

use crate::http::Authority;
use crate::preflight::is_loopback;
use crate::results::run::{EXIT_PASS, Run, TargetKind, Verdict};

/// Most characters of what a verdict shows of why a run is not whole; the reasons have all of it.
const TROUBLE_CHARS_MAX: usize = 200;

/// How a run is to be taken, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// All that was checked is well.
    Good,
    /// Nothing is known to be wrong, and not all is known.
    Doubtful,
    /// Something is wrong.
    Bad,
}

impl Tone {
    /// Returns the word that stands for it in pages.
    #[cfg(feature = "report")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
        }
    }
}

/// What a run means, for a reader in a hurry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) tone: Tone,
    /// One sentence.
    pub(crate) head: String,
    /// One or two more.
    pub(crate) more: String,
}

/// Says what a run means.
pub(crate) fn verdict(run: &Run) -> Sentence {
    let count = |verdict| run.truth.iter().filter(|check| check.verdict == verdict).count();
    let (held, open) = (count(Verdict::Holds), count(Verdict::NotChecked));
    let wrong: Vec<String> = run
        .violated()
        .map(|check| format!("{} ({})", plain_name(&check.name), grouped(check.violations)))
        .collect();
    let failed = run.thresholds.iter().filter(|threshold| !threshold.holds).count();
    let targets = plural(run.thresholds.len() as u64, "target", "targets");
    let unseen = run.trouble.as_deref().map(not_whole);
    let (tone, head) = if !wrong.is_empty() {
        (Tone::Bad, format!("The shop did not keep its word: {}.", listed(&wrong)))
    } else if run.interrupted {
        let first = time_text(run.elapsed_ns as f64);
        (Tone::Doubtful, format!("The run was interrupted: this is about its first {first}."))
    } else if let Some(unseen) = &unseen {
        (Tone::Bad, unseen.clone())
    } else if run.generator.limited.is_some() {
        let text = "The load generator was the limit: these figures say little about the shop.";
        (Tone::Doubtful, text.to_owned())
    } else if let Some(why) = unserved(run) {
        (Tone::Bad, why)
    } else if failed > 0 {
        let head = if held > 0 { "The shop kept its word, but" } else { "The shop" };
        (Tone::Bad, format!("{head} missed {failed} of {targets}."))
    } else if held == 0 {
        (Tone::Doubtful, "Nobody checked whether the shop kept its word.".to_owned())
    } else if run.thresholds.is_empty() {
        (Tone::Good, "The shop kept its word to every customer.".to_owned())
    } else {
        (
            Tone::Good,
            format!("The shop kept its word to every customer and met {}.", {
                if run.thresholds.len() == 1 {
                    "its target".to_owned()
                } else {
                    format!("all {targets}")
                }
            }),
        )
    };
    let mut more = what_happened(run);
    if held + wrong.len() + open > 0 {
        let all = held + wrong.len();
        let _ = write!(more, " {held} of {all} checks hold");
        if open > 0 {
            let _ = write!(more, "; {open} could not be checked");
        }
        more.push('.');
    }
    if let Some(unseen) = unseen.filter(|unseen| *unseen != head) {
        more = format!("{more} {unseen}");
    }
    Sentence { tone, head, more }
}

/// Says that a run is not whole, and the beginning of why: a host may have said much at its end.
fn not_whole(trouble: &str) -> String {
    let line = trouble.lines().next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let cut = line.char_indices().nth(TROUBLE_CHARS_MAX).map_or(line.len(), |(at, _)| at);
    let end = if cut < line.len() { " ..." } else { "." };
    format!("The run could not be seen to its end: {}{end}", &line[..cut])
}

/// Says who was not served, where they are more than may be.
fn unserved(run: &Run) -> Option<String> {
    let (unsent, sent) = (run.counts.unsent, run.counts.sent);
    run.unserved().first()?;
    let mut parts = Vec::new();
    if unsent > 0 {
        let share = part(unsent, run.counts.users + unsent);
        parts.push(format!("{share} of those who were due were never let in"));
    }
    if run.lost_count() > 0 {
        parts.push(format!("{} of the requests got no answer", part(run.lost_count(), sent)));
    }
    Some(format!("The shop did not serve the crowd: {}.", listed(&parts)))
}

fn what_happened(run: &Run) -> String {
    let mut text = format!(
        "{} placed {}",
        plural(run.counts.users, "user", "users"),
        plural(run.counts.orders, "order", "orders"),
    );
    let hot = run.stock.as_ref().and_then(|stock| stock.sku_hot.as_ref());
    if let Some(hot) = hot {
        let _ = match hot.sold_out_at_ns {
            Some(at) => write!(
                text,
                "; the {} of {} were gone after {}",
                plural(hot.put_in, "unit", "units"),
                hot.code,
                time_text(at as f64)
            ),
            None => write!(text, "; {} did not sell out", hot.code),
        };
    }
    if let Some(all) = run.latency_all().filter(|all| all.intended.count > 0) {
        let p99 = time_text(all.intended.p99_ns as f64);
        let _ = write!(text, "; 99 % of answers came within {p99}");
    }
    let lost = run.lost_count();
    if lost > 0 {
        let _ = write!(text, "; {} got no answer", plural(lost, "request", "requests"));
    }
    if run.counts.unsent > 0 {
        let _ =
            write!(text, "; {} never let in", plural(run.counts.unsent, "user was", "users were"));
    }
    text.push('.');
    text
}

/// Says how a command ended.
pub(crate) fn exit_text(run: &Run) -> String {
    let code = run.exit.code;
    if code == EXIT_PASS { "0, pass".to_owned() } else { code.to_string() }
}

/// Writes the name of a check without its underscores.
pub(crate) fn plain_name(name: &str) -> String {
    name.replace('_', " ")
}

/// Writes a number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a number and its noun.
pub(crate) fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Writes a share of 0 to 1 in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Writes a part of a whole in percent; nothing of nothing is 0.
pub(crate) fn part(part: u64, whole: u64) -> String {
    percent(if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
}

fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Writes a time in nanoseconds with a unit that fits it.
pub fn time_text(nanos: f64) -> String {
    match nanos.abs() {
        abs if abs < 1e3 => format!("{nanos:.0} ns"),
        abs if abs < 1e6 => format!("{:.1} us", nanos / 1e3),
        abs if abs < 1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// Says what one worker did, and how near it is.
pub(crate) fn worker_text(worker: &crate::results::run::WorkerFacts) -> String {
    let time = |nanos: u64| time_text(nanos as f64);
    let cpu = worker.cpu_share.map_or(String::new(), |s| format!(", {:.0} % of a core", s * 100.0));
    format!(
        "{} users, {} sent, p99 lag {}{cpu}; round trip {}, clock {} off",
        grouped(worker.users),
        grouped(worker.sent),
        time(worker.lag.p99_ns),
        time(worker.round_trip_ns),
        time_text(worker.clock_offset_ns as f64),
    )
}

/// Says that generator and target shared the processors of one machine, where that is certain.
pub(crate) fn shared_machine(run: &Run) -> Option<String> {
    let near = match run.target.kind {
        TargetKind::Inproc | TargetKind::Redis | TargetKind::Postgres => true,
        TargetKind::Http1 | TargetKind::Http2 => {
            Authority::parse(&run.target.url).is_ok_and(|target| is_loopback(&target))
        }
    };
    if !near || !run.generator.workers.is_empty() {
        return None;
    }
    let cpu = |share: Option<f64>| {
        share.map_or("unknown".to_owned(), |share| format!("{:.0} % of one", share * 100.0))
    };
    let (own, host) = (cpu(run.generator.cpu_share), cpu(run.generator.host_cpu_share));
    Some(format!(
        "generator and target shared the {} of this machine (generator {own}, target {host}): these \
         figures are of both together, and a target alone may do better",
        plural(run.machine.cores, "core", "cores")
    ))
}

/// Writes bytes with a unit that fits them.
pub(crate) fn bytes_text(bytes: u64) -> String {
    match bytes {
        0 => "unknown".to_owned(),
        1..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::run::{HotSku, Stock, TargetFacts, ThresholdOutcome, TruthCheck};

    /// Thousands have commas, one thing is singular.
    #[test]
    fn numbers_are_written_for_people() {
        let numbers = [0, 7, 999, 1_000, 45_678, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "45,678", "1,234,567"]);
        assert_eq!(plural(1, "unit", "units"), "1 unit");
        assert_eq!((part(1, 8), part(1, 0)), ("12.5 %".to_owned(), "0.0 %".to_owned()));
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        let times = [1.0, 2_500.0, 3e6, 4.25e9].map(time_text);
        assert_eq!(times, ["1 ns", "2.5 us", "3.00 ms", "4.25 s"]);
        assert_eq!(bytes_text(25_769_803_776), "24.0 GiB");
    }

    /// The sentence says the worst that is known.
    #[test]
    fn a_verdict_says_the_worst_that_is_known() {
        let mut run = Run::default();
        let check = |run: &Run, tone, head: &str| {
            let sentence = verdict(run);
            assert_eq!((sentence.tone, sentence.head.as_str()), (tone, head));
        };
        check(&run, Tone::Doubtful, "Nobody checked whether the shop kept its word.");
        let mut truth = TruthCheck { name: "oversold".into(), ..TruthCheck::default() };
        run.truth.push(truth.clone());
        check(&run, Tone::Doubtful, "Nobody checked whether the shop kept its word.");
        truth.verdict = Verdict::Holds;
        run.truth.push(truth.clone());
        check(&run, Tone::Good, "The shop kept its word to every customer.");
        assert!(verdict(&run).more.ends_with(" 1 of 1 checks hold; 1 could not be checked."));
        run.thresholds.push(ThresholdOutcome { holds: true, ..Default::default() });
        check(&run, Tone::Good, "The shop kept its word to every customer and met its target.");
        run.thresholds.push(ThresholdOutcome::default());
        check(&run, Tone::Bad, "The shop kept its word, but missed 1 of 2 targets.");
        run.generator.limited = Some("lag".into());
        assert_eq!(verdict(&run).tone, Tone::Doubtful);
        run.trouble = Some("the host ended by itself (signal 6).\nit said: much".into());
        let unseen = "The run could not be seen to its end: the host ended by itself (signal 6).";
        check(&run, Tone::Bad, unseen);
        run.interrupted = true;
        run.elapsed_ns = 2_000_000_000;
        check(&run, Tone::Doubtful, "The run was interrupted: this is about its first 2.00 s.");
        assert!(verdict(&run).more.ends_with(unseen), "what could not be seen is always said");
        truth.name = "lost_acknowledgements".into();
        (truth.verdict, truth.violations) = (Verdict::Violated, 3);
        run.truth.push(truth);
        check(&run, Tone::Bad, "The shop did not keep its word: lost acknowledgements (3).");
        assert!(verdict(&run).more.ends_with(unseen));
        run.trouble = Some("x".repeat(3 * TROUBLE_CHARS_MAX));
        let more = verdict(&run).more;
        assert!(more.ends_with("xx ..."), "{more}");
    }

    /// Who was not served is always told, and above a share of them nothing else comes first but
    /// what is graver.
    #[test]
    fn those_who_were_not_served_are_told() {
        let mut run = Run::default();
        run.truth.push(TruthCheck { verdict: Verdict::Holds, ..TruthCheck::default() });
        (run.counts.users, run.counts.sent, run.counts.unsent) = (200, 400, 1);
        run.lost.insert("timeout".to_owned(), 2);
        let few = verdict(&run);
        assert_eq!(few.head, "The shop kept its word to every customer.");
        assert!(few.more.contains("; 2 requests got no answer; 1 user was never let in."));
        run.counts.unsent = 200;
        let most = verdict(&run);
        let wanted = "The shop did not serve the crowd: 50.0 % of those who were due were never let \
                      in and 0.5 % of the requests got no answer.";
        assert_eq!((most.tone, most.head.as_str()), (Tone::Bad, wanted));
        assert!(most.more.contains("200 users were never let in. 1 of 1 checks hold."));
    }

    /// A target on this machine takes processors from the generator, and both views say so; one
    /// elsewhere does not, and with workers nobody knows.
    #[test]
    fn a_shared_machine_is_told() {
        let mut run = Run::default();
        run.machine.cores = 2;
        run.target.url = "http://shop.example:80".to_owned();
        assert_eq!(shared_machine(&run), None);
        run.target.url = "http://127.0.0.1:8080".to_owned();
        (run.generator.cpu_share, run.generator.host_cpu_share) = (Some(0.4), Some(1.25));
        let text = shared_machine(&run).expect("the loopback is this machine");
        let wanted =
            "shared the 2 cores of this machine (generator 40 % of one, target 125 % of one)";
        assert!(text.contains(wanted), "{text}");
        assert_eq!(crate::report::run_text(&run).matches(wanted).count(), 1);
        run.generator.workers.push(crate::results::run::WorkerFacts::default());
        assert_eq!(shared_machine(&run), None);
        run.generator.workers.clear();
        run.target = TargetFacts { kind: TargetKind::Redis, ..TargetFacts::default() };
        assert!(shared_machine(&run).is_some());
    }

    /// What happened is told with the stock, where there is any.
    #[test]
    fn what_happened_is_told() {
        let mut run = Run::default();
        run.counts.users = 1_200;
        run.counts.orders = 1;
        assert_eq!(verdict(&run).more, "1,200 users placed 1 order.");
        let mut hot = HotSku { code: "HOT".into(), put_in: 10, sold_out_at_ns: None };
        run.stock = Some(Stock { sku_hot: Some(hot.clone()), ..Stock::default() });
        assert!(verdict(&run).more.contains("; HOT did not sell out."));
        hot.sold_out_at_ns = Some(1_500_000_000);
        run.stock = Some(Stock { sku_hot: Some(hot), ..Stock::default() });
        assert!(verdict(&run).more.contains("; the 10 units of HOT were gone after 1.50 s."));
    }
}
