//! `compare onhand redis`: one scenario against several shops in turn, and one table.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::fault::HostCommand;
use crate::peer::{PeerKind, PeerServer, check};
use crate::results::Folder;
use crate::results::compare::{CompareOptions, Recorded, compare};
use crate::results::run::{EXIT_GENERATOR, EXIT_INTERRUPTED, EXIT_PASS, EXIT_TRUTH, Run, Verdict};
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
    let text =
        if args.json { json(&scenario, seed, &shops)? } else { text(&scenario, seed, &shops) };
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
    } else if !limit_allowed && any(&|run| run.generator.limited.is_some()) {
        EXIT_GENERATOR
    } else {
        EXIT_PASS
    }
}

/// What a row of the table shows of a run, and how.
type Figure = (&'static str, fn(&Run) -> Option<f64>, fn(f64) -> String);

fn per_second(count: u64, run: &Run) -> Option<f64> {
    (run.elapsed_ns > 0).then(|| count as f64 * 1e9 / run.elapsed_ns as f64)
}

const FIGURES: [Figure; 9] = [
    ("answers a second", |run| per_second(run.counts.answered, run), |v| format!("{v:.0}")),
    ("orders a second", |run| per_second(run.counts.orders, run), |v| format!("{v:.0}")),
    ("latency p50", |run| Some(run.latency_all()?.intended.p50_ns as f64), time_text),
    ("latency p99", |run| Some(run.latency_all()?.intended.p99_ns as f64), time_text),
    ("latency p99.9", |run| Some(run.latency_all()?.intended.p999_ns as f64), time_text),
    ("refused", |run| Some(run.refused_count() as f64), |v| format!("{v:.0}")),
    ("no answer", |run| Some(run.lost_count() as f64), |v| format!("{v:.0}")),
    ("shop's processors", |run| run.generator.host_cpu_share, |v| format!("{v:.2}")),
    ("generator's processors", |run| run.generator.cpu_share, |v| format!("{v:.2}")),
];

/// Returns median, least and most of what runs show.
fn spread(runs: &[Run], figure: fn(&Run) -> Option<f64>) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = runs.iter().filter_map(figure).collect();
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

fn text(scenario: &Scenario, seed: u64, shops: &[Shop]) -> String {
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
    for (name, figure, shown) in FIGURES {
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

fn json(scenario: &Scenario, seed: u64, shops: &[Shop]) -> Result<String, String> {
    let shop = |shop: &Shop| {
        let figures: serde_json::Map<String, serde_json::Value> = FIGURES
            .iter()
            .map(|(name, figure, _)| {
                let spread = spread(&shop.runs, *figure);
                let value = spread.map_or(serde_json::Value::Null, |[median, least, most]| {
                    serde_json::json!({"median": median, "least": least, "most": most})
                });
                (name.replace(['\'', '.'], "").replace(' ', "_"), value)
            })
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
    let all = serde_json::json!({
        "schema": 1,
        "scenario": scenario.name,
        "hash": scenario.hash(),
        "seed": seed,
        "shops": shops.iter().map(shop).collect::<Vec<_>>(),
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
