//! `compare onhand redis`: one scenario against several shops in turn, and one table.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::fault::HostCommand;
use crate::peer::{PeerKind, PeerServer, check};
use crate::results::Folder;
use crate::results::compare::{Better, CompareOptions, EFFECT_MIN, Recorded, compare};
use crate::results::run::{
    EXIT_ERROR, EXIT_GENERATOR, EXIT_INTERRUPTED, EXIT_PASS, EXIT_THRESHOLD, EXIT_TRUTH, Run,
    Verdict,
};
use crate::scenario::Scenario;
use crate::{Authority, LoadError, RunOptions, Target, comparison_text, run, time_text, view};

use super::scenario::CompareArgs;
use super::{USAGE_MARK, out, seed_of_time, stop_on_interrupt, text_of};

/// Most rounds of a comparison.
const ROUNDS_MAX: u32 = 100;
/// Most shops of a comparison.
const SHOPS_MAX: usize = 8;

/// A shop to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ShopName {
    /// The host, started for each run.
    Onhand,
    /// A host that is running.
    Url(String),
    /// A peer, started for each run.
    Peer(PeerKind),
}

impl ShopName {
    fn parse(text: &str) -> Option<Self> {
        let peer = PeerKind::ALL.into_iter().find(|kind| kind.name() == text);
        match (text, peer) {
            (_, Some(kind)) => Some(Self::Peer(kind)),
            ("onhand", _) => Some(Self::Onhand),
            (url, _) if url.starts_with("http://") => Some(Self::Url(url.to_owned())),
            _ => None,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Onhand => "onhand",
            Self::Url(url) => url,
            Self::Peer(kind) => kind.name(),
        }
    }

    /// Returns a name for a folder.
    fn plain(&self) -> String {
        let fine = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.text().trim_start_matches("http://").chars().map(fine).collect()
    }

    /// Starts the shop, where it is to be started, and returns the options of a run against it.
    fn options(&self, scenario: &Scenario) -> Result<RunOptions, LoadError> {
        match self {
            Self::Onhand => {
                let host = HostCommand::new(scenario.command.as_deref(), false)?;
                let mut options = RunOptions::new(scenario, Target::Http(host.authority()));
                options.host = Some(host);
                Ok(options)
            }
            Self::Url(url) => {
                let mut options = RunOptions::new(scenario, Target::Http(Authority::parse(url)?));
                let key = std::env::var(&scenario.key_env).ok();
                options.load.api_key = key.filter(|key| !key.is_empty());
                Ok(options)
            }
            Self::Peer(kind) => {
                let connections = RunOptions::connections(scenario);
                RunOptions::on_peer(scenario, PeerServer::start(*kind, connections)?)
            }
        }
    }
}

/// Returns the shops that are meant, unless the names are folders of runs.
pub(super) fn shops(names: &[PathBuf]) -> bool {
    let named = |name: &PathBuf| ShopName::parse(&name.to_string_lossy()).is_some();
    names.iter().all(|name| named(name) && !name.exists())
}

/// Returns the first name that is neither a shop nor there at all, where another is a shop's.
pub(super) fn stranger(names: &[PathBuf]) -> Option<&PathBuf> {
    let named = |name: &PathBuf| ShopName::parse(&name.to_string_lossy()).is_some();
    let meant = names.iter().any(|name| named(name) && !name.exists());
    names.iter().find(|name| meant && !named(name) && !name.exists())
}

/// The runs of one shop.
struct Shop {
    name: ShopName,
    folders: Vec<Folder>,
    runs: Vec<Run>,
}

/// Runs the scenario against each shop in turn, round by round, and prints what came of it.
pub(super) fn compare_shops(args: &CompareArgs) -> Result<ExitCode, String> {
    let mut shops: Vec<Shop> = Vec::new();
    for name in &args.names {
        let shop = ShopName::parse(&name.to_string_lossy());
        let shop = shop.ok_or_else(|| format!("{USAGE_MARK}{} is no shop", name.display()))?;
        if shops.len() >= SHOPS_MAX || shops.iter().any(|other| other.name == shop) {
            return Err(format!("{USAGE_MARK}over {SHOPS_MAX} shops, or one of them twice"));
        }
        shops.push(Shop { name: shop, folders: Vec::new(), runs: Vec::new() });
    }
    if args.rounds == 0 || args.rounds > ROUNDS_MAX {
        return Err(format!("{USAGE_MARK}rounds is {}, outside 1..={ROUNDS_MAX}", args.rounds));
    }
    let scenario = Scenario::open(&args.scenario).map_err(text_of)?;
    // What can't be compared is refused before anything runs.
    for Shop { name, .. } in &shops {
        match name {
            ShopName::Peer(kind) => check(*kind, &scenario).map_err(text_of)?,
            ShopName::Onhand | ShopName::Url(_) => (),
        }
    }
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let parent = args.out.clone().unwrap_or_else(|| scratch.path().to_owned());
    let seed = args.seed.or(scenario.seed).unwrap_or_else(seed_of_time);
    let stop = stop_on_interrupt();
    let mut interrupted = false;
    for round in 0..args.rounds as usize {
        for turn in 0..shops.len() {
            // Another shop begins each round, so that none is always the first.
            let at = (round + turn) % shops.len();
            let one = &mut shops[at];
            let name = one.name.text();
            let title = format!("{} on {name}, round {}", scenario.name, round + 1);
            let mut options = one.name.options(&scenario).map_err(text_of)?;
            options.load.seed = seed;
            options.load.stop = std::sync::Arc::clone(&stop);
            if !args.quiet {
                options.load.progress = Some(view::live(&title));
            }
            options.run = Some(format!("{}-{seed}-{}", one.name.plain(), round + 1));
            options.out = Some(parent.clone());
            options.allow_generator_limit = args.allow_generator_limit;
            let outcome = run(&scenario, options).map_err(|e| format!("{name}: {}", text_of(e)))?;
            interrupted |= outcome.run.interrupted;
            one.folders.extend(outcome.folder);
            one.runs.push(outcome.run);
            if interrupted {
                break;
            }
        }
        if interrupted {
            break;
        }
    }
    let contests = contests(&shops, args.allow_generator_limit);
    let text = if args.json {
        json(&scenario, seed, &shops, &contests)?
    } else {
        text(&scenario, seed, &shops, &contests)
    };
    out(&text);
    if args.out.is_some() && !args.quiet {
        eprintln!("results in {}", parent.display());
    }
    Ok(ExitCode::from(exit_code(&shops, interrupted, args.allow_generator_limit)))
}

fn exit_code(shops: &[Shop], interrupted: bool, limit_allowed: bool) -> u8 {
    let any = |test: &dyn Fn(&Run) -> bool| shops.iter().flat_map(|shop| &shop.runs).any(test);
    if any(&|run| run.violated().next().is_some()) {
        EXIT_TRUTH
    } else if interrupted {
        EXIT_INTERRUPTED
    } else if any(&|run| run.trouble.is_some()) {
        EXIT_ERROR
    } else if !limit_allowed && any(&|run| run.generator.limited.is_some()) {
        EXIT_GENERATOR
    } else if any(&|run| !run.unserved().is_empty()) {
        EXIT_THRESHOLD
    } else {
        EXIT_PASS
    }
}

/// What a row of the table shows of a run, how, and which way is better, where one is.
type Figure = (&'static str, fn(&Run) -> Option<f64>, fn(f64) -> String, Option<Better>);

fn per_second(count: u64, run: &Run) -> Option<f64> {
    (run.elapsed_ns > 0).then(|| count as f64 * 1e9 / run.elapsed_ns as f64)
}

const FIGURES: [Figure; 9] = [
    ("answers a second", |run| per_second(run.counts.answered, run), whole, Some(Better::Higher)),
    ("orders a second", |run| per_second(run.counts.orders, run), whole, Some(Better::Higher)),
    ("latency p50", |run| waited(run, 0.5), time_text, Some(Better::Lower)),
    ("latency p99", |run| waited(run, 0.99), time_text, Some(Better::Lower)),
    ("latency p99.9", |run| waited(run, 0.999), time_text, Some(Better::Lower)),
    ("refused", |run| Some(run.refused_count() as f64), whole, None),
    ("no answer", |run| Some(run.lost_count() as f64), whole, None),
    ("shop's processors", |run| run.generator.host_cpu_share, |v| format!("{v:.2}"), None),
    ("generator's processors", |run| run.generator.cpu_share, |v| format!("{v:.2}"), None),
];

/// Returns the name of a figure in JSON.
fn json_name(name: &str) -> String {
    name.replace(['\'', '.'], "").replace(' ', "_")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// Returns a quantile from the intended start.
fn waited(run: &Run, quantile: f64) -> Option<f64> {
    run.latency_all()?.intended.at(quantile).map(|nanos| nanos as f64)
}

/// A figure of two shops over all rounds.
#[derive(Debug)]
struct Contest {
    /// The first shop, and the other one.
    shops: [String; 2],
    figure: &'static str,
    /// Median, least and most of the ratios, other to first, of the runs of one round.
    ratio: Option<[f64; 3]>,
    rounds: usize,
    verdict: Standing,
}

/// How a shop stands to the first one in a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Better by more than the smallest effect in every round.
    Better,
    /// The same for the worse.
    Worse,
    /// Within the smallest effect in every round.
    Same,
    /// Rounds contradict each other, there is only one, or a generator was the limit.
    Unclear,
}

impl Standing {
    const fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Unclear => "unclear",
        }
    }

    /// Judges the ratios of all rounds.
    fn of(ratios: &[f64], better: Better) -> Self {
        let edge = 1.0 + EFFECT_MIN;
        let all = |test: &dyn Fn(f64) -> bool| ratios.iter().all(|ratio| test(*ratio));
        let (more, less) = match better {
            Better::Higher => (Self::Better, Self::Worse),
            Better::Lower => (Self::Worse, Self::Better),
        };
        if ratios.len() < 2 {
            Self::Unclear
        } else if all(&|ratio| ratio > edge) {
            more
        } else if all(&|ratio| ratio < 1.0 / edge) {
            less
        } else if all(&|ratio| (1.0 / edge..=edge).contains(&ratio)) {
            Self::Same
        } else {
            Self::Unclear
        }
    }
}

/// Compares the first shop with each other one, round by round: the two runs of a round met the same
/// moments of the machine.
fn contests(shops: &[Shop], limit_allowed: bool) -> Vec<Contest> {
    let mut found = Vec::new();
    let Some((first, others)) = shops.split_first() else { return found };
    for other in others {
        for (name, figure, _, better) in FIGURES {
            let Some(better) = better else { continue };
            let sound = |run: &&Run| {
                let whole = run.trouble.is_none() && run.violated().next().is_none();
                let limited = !limit_allowed && run.generator.limited.is_some();
                whole && !limited && run.unserved().is_empty()
            };
            let value = |run: &Run| Some(run).filter(sound).and_then(figure);
            let pairs = first.runs.iter().zip(&other.runs);
            let ratios: Vec<f64> = pairs
                .filter_map(|(a, b)| Some(value(b)? / value(a).filter(|value| *value > 0.0)?))
                .collect();
            found.push(Contest {
                shops: [first, other].map(|shop| shop.name.text().to_owned()),
                figure: name,
                ratio: middle(ratios.clone()),
                rounds: ratios.len(),
                verdict: Standing::of(&ratios, better),
            });
        }
    }
    found
}

/// Writes how shops stand to the first one.
fn contest_text(contests: &[Contest]) -> String {
    let mut text = String::new();
    let mut last = "";
    for Contest { shops: [first, other], figure, ratio, rounds, verdict } in contests {
        if last != other {
            let _ = writeln!(text, "\n{other} to {first}, the runs of a round against each other:");
            last = other;
        }
        let ratio = ratio.map_or("–".to_owned(), |[median, least, most]| {
            format!("x {median:.2} ({least:.2} to {most:.2})")
        });
        let said = match (verdict, rounds) {
            (_, 0) => {
                "no verdict: limited by the generator, not served, or nothing to compare".to_owned()
            }
            (_, 1) => "no verdict: one round does not tell how much rounds differ".to_owned(),
            (Standing::Unclear, _) => "no verdict: the rounds do not agree".to_owned(),
            // Without any difference all rounds lie on one side with this chance.
            (Standing::Better | Standing::Worse, rounds) => {
                let chance = 1_u128 << (rounds - 1).min(127);
                format!("{} in all {rounds} rounds; by chance 1 in {chance}", verdict.name())
            }
            (Standing::Same, rounds) => {
                format!("within {:.0} % in all {rounds} rounds", EFFECT_MIN * 100.0)
            }
        };
        let _ = writeln!(text, "  {figure:<24}  {ratio:<24}  {said}");
    }
    text
}

/// Returns median, least and most of what runs show.
fn spread(runs: &[Run], figure: fn(&Run) -> Option<f64>) -> Option<[f64; 3]> {
    middle(runs.iter().filter_map(figure).collect())
}

/// Returns median, least and most of values; `None` if there are none.
fn middle(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    };
    Some([median, least, most])
}

/// Returns the run of the middle rate: the one that stands for its shop.
fn typical(shop: &Shop) -> Option<usize> {
    let mut order: Vec<usize> = (0..shop.runs.len()).collect();
    let rate = |at: &usize| per_second(shop.runs[*at].counts.answered, &shop.runs[*at]);
    order.sort_by(|a, b| rate(a).unwrap_or(0.0).total_cmp(&rate(b).unwrap_or(0.0)));
    order.get((order.len().max(1) - 1) / 2).copied()
}

/// Returns what came of a check over all rounds: the worst of them.
fn verdict(runs: &[Run], name: &str) -> &'static str {
    let of_check = |run: &Run| {
        let check = run.truth.iter().find(|check| check.name == name);
        check.map_or(Verdict::NotChecked, |check| check.verdict)
    };
    let all: Vec<Verdict> = runs.iter().map(of_check).collect();
    if all.contains(&Verdict::Violated) {
        "VIOLATED"
    } else if all.contains(&Verdict::Holds) {
        "holds"
    } else {
        "not checked"
    }
}

fn text(scenario: &Scenario, seed: u64, shops: &[Shop], contests: &[Contest]) -> String {
    // Writing to a string can't fail, here and below.
    let mut text = String::new();
    let rounds = shops.iter().map(|shop| shop.runs.len()).max().unwrap_or(0);
    let first = &shops[0];
    for other in &shops[1..] {
        match pair(first, other) {
            Ok(compared) => {
                let _ = writeln!(
                    text,
                    "The middle runs of {} (A) and {} (B):",
                    first.name.text(),
                    other.name.text()
                );
                let _ = writeln!(text, "{compared}");
            }
            Err(why) => {
                let _ = writeln!(text, "No verdict on single runs: {why}\n");
            }
        }
    }
    let _ = writeln!(
        text,
        "{}, seed {seed}, {rounds} rounds in turn; median, and least to most",
        scenario.name
    );
    let mut rows = vec![("", shops.iter().map(|shop| shop.name.text().to_owned()).collect())];
    let ack = |shop: &Shop| shop.runs.first().map_or(String::new(), |run| run.target.ack.clone());
    rows.push(("acknowledged after", shops.iter().map(ack).collect()));
    for (name, figure, shown, _) in FIGURES {
        let cell = |shop: &Shop| {
            spread(&shop.runs, figure).map_or("–".to_owned(), |[median, least, most]| {
                let [median, least, most] = [median, least, most].map(shown);
                // One round has no spread.
                if shop.runs.len() > 1 { format!("{median} ({least} to {most})") } else { median }
            })
        };
        rows.push((name, shops.iter().map(cell).collect()));
    }
    let limited = |shop: &Shop| {
        let count = shop.runs.iter().filter(|run| run.generator.limited.is_some()).count();
        format!("{count} of {} runs", shop.runs.len())
    };
    rows.push(("limited by generator", shops.iter().map(limited).collect()));
    let checks = first.runs.first().map_or(&[][..], |run| run.truth.as_slice());
    for check in checks {
        let cell = |shop: &Shop| verdict(&shop.runs, &check.name).to_owned();
        rows.push((check.name.as_str(), shops.iter().map(cell).collect::<Vec<String>>()));
    }
    let width =
        |at: usize| rows.iter().map(|(_, cells)| cells[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..shops.len()).map(width).collect();
    for (name, cells) in &rows {
        let _ = write!(text, "  {name:<24}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:<width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push_str(&contest_text(contests));
    text
}

/// Compares the middle runs of two shops second by second.
fn pair(a: &Shop, b: &Shop) -> Result<String, String> {
    let read = |shop: &Shop| {
        let folder = typical(shop).and_then(|at| shop.folders.get(at));
        let folder = folder.ok_or_else(|| format!("{} has no run", shop.name.text()))?;
        Recorded::read(folder).map_err(text_of)
    };
    let options = CompareOptions { targets_may_differ: true, ..CompareOptions::default() };
    compare(&read(a)?, &read(b)?, options).map(|it| comparison_text(&it)).map_err(text_of)
}

fn json(
    scenario: &Scenario,
    seed: u64,
    shops: &[Shop],
    contests: &[Contest],
) -> Result<String, String> {
    let spread_json = |spread: Option<[f64; 3]>| {
        spread.map_or(serde_json::Value::Null, |[median, least, most]| {
            serde_json::json!({"median": median, "least": least, "most": most})
        })
    };
    let shop = |shop: &Shop| {
        let figures: serde_json::Map<String, serde_json::Value> = FIGURES
            .iter()
            .map(|(name, figure, ..)| (json_name(name), spread_json(spread(&shop.runs, *figure))))
            .collect();
        let checks = shop.runs.first().map_or(&[][..], |run| run.truth.as_slice());
        let truth: serde_json::Map<String, serde_json::Value> = checks
            .iter()
            .map(|check| (check.name.clone(), verdict(&shop.runs, &check.name).into()))
            .collect();
        serde_json::json!({
            "shop": shop.name.text(),
            "ack": shop.runs.first().map(|run| &run.target.ack),
            "rounds": shop.runs.len(),
            "figures": figures,
            "truth": truth,
        })
    };
    let against = |contest: &Contest| {
        serde_json::json!({
            "a": contest.shops[0],
            "b": contest.shops[1],
            "figure": json_name(contest.figure),
            "ratio": spread_json(contest.ratio),
            "rounds": contest.rounds,
            "verdict": contest.verdict.name(),
        })
    };
    let all = serde_json::json!({
        "schema": 1,
        "scenario": scenario.name,
        "hash": scenario.hash(),
        "seed": seed,
        "shops": shops.iter().map(shop).collect::<Vec<_>>(),
        "against": contests.iter().map(against).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shops are told from folders by their names.
    #[test]
    fn shops_are_told_from_folders() {
        let check = |names: &[&str], wanted: bool| {
            let names: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            assert_eq!(shops(&names), wanted, "{names:?}");
        };
        check(&["onhand", "redis"], true);
        check(&["redis", "postgres", "http://127.0.0.1:8080"], true);
        check(&["runs/a", "runs/b"], false);
        check(&["onhand", "runs/b"], false);
        let url = ShopName::Url("http://127.0.0.1:8080".to_owned());
        assert_eq!(url.plain(), "127-0-0-1-8080");
    }

    /// A shop is better or worse only if it is so in every round, by more than the smallest effect.
    #[test]
    fn the_verdict_needs_every_round() {
        let check = |ratios: &[f64], higher: Standing, lower: Standing| {
            assert_eq!(Standing::of(ratios, Better::Higher), higher, "{ratios:?}");
            assert_eq!(Standing::of(ratios, Better::Lower), lower, "{ratios:?}");
        };
        check(&[1.2, 1.06, 2.0], Standing::Better, Standing::Worse);
        check(&[0.9, 0.5], Standing::Worse, Standing::Better);
        check(&[1.0, 0.96, 1.05], Standing::Same, Standing::Same);
        check(&[1.2, 1.04], Standing::Unclear, Standing::Unclear);
        check(&[1.2, 0.8], Standing::Unclear, Standing::Unclear);
        check(&[2.0], Standing::Unclear, Standing::Unclear);
        check(&[], Standing::Unclear, Standing::Unclear);
    }

    /// Rounds are compared with each other, limited ones only if that is allowed, and the text says
    /// what came of it.
    #[test]
    fn shops_are_judged_round_by_round() {
        let run = |answered: u64| {
            let mut run = Run { elapsed_ns: 1_000_000_000, ..Run::default() };
            run.counts.answered = answered;
            run
        };
        let shop = |name: ShopName, counts: [u64; 3]| {
            let runs = counts.map(run).to_vec();
            Shop { name, folders: Vec::new(), runs }
        };
        let mut shops = [
            shop(ShopName::Onhand, [100, 300, 200]),
            shop(ShopName::Peer(PeerKind::Redis), [200, 450, 500]),
        ];
        let found = contests(&shops, false);
        assert_eq!((found[0].figure, found[0].ratio), ("answers a second", Some([2.0, 1.5, 2.5])));
        let text = contest_text(&found);
        assert!(text.contains("redis to onhand"), "{text}");
        let wanted = "x 2.00 (1.50 to 2.50)     better in all 3 rounds; by chance 1 in 4";
        assert!(text.contains(wanted), "{text}");
        shops[1].runs[2].generator.limited = Some("lag".into());
        assert_eq!(contests(&shops, false)[0].ratio, Some([1.75, 1.5, 2.0]));
        assert_eq!(contests(&shops, true)[0].rounds, 3);
    }

    /// The median of an even number lies between the two in the middle.
    #[test]
    fn the_spread_is_told() {
        let runs: Vec<Run> = [1, 9, 2, 4]
            .map(|users| {
                let mut run = Run::default();
                run.counts.users = users;
                run
            })
            .to_vec();
        let spread = |runs: &[Run]| spread(runs, |run| Some(run.counts.users as f64));
        assert_eq!(spread(&runs), Some([3.0, 1.0, 9.0]));
        assert_eq!(spread(&runs[..3]), Some([2.0, 1.0, 9.0]));
        assert_eq!(spread(&[]), None);
    }
}
