//! `onhand plugin replay`: recorded inputs once more, and what would have been otherwise.

mod compare;
mod journal;
mod recording;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use onhand_plugin_bundle::{Fixture, Kind};
use serde_json::{Value, json};

use crate::figures::count;
use crate::once::open;
use crate::show::money;
use crate::subject::{Subject, Which};
use crate::terminal::{Failure, Terminal};
use crate::workshop::Workshop;
use crate::{DONE, UNFIT};
use compare::{Divergence, Tally};

const EXAMPLES: &str = "\
--from takes a recording (one fixture a line, as a host records them), or the data directory of a
host that is not running: then the facts are rebuilt from its journal, customers by a keyed hash.

Examples:
  onhand plugin replay --from recorded.ndjson                       against the recorded answers
  onhand plugin replay --from recorded.ndjson --against old.onhand  what-if: another incumbent
  onhand plugin replay --from shop --last 10000                     the last orders of a journal
  onhand plugin replay --from shop --order ord_1M3...               one order in full
  onhand plugin replay --from recorded.ndjson --exact               exit code 1 at any difference";

/// Orders that are replayed at most.
const LAST_MAX: u64 = 1_000_000;
/// Differences that are shown in full at most.
const SHOW_MAX: u64 = 1_000;

/// Arguments of `onhand plugin replay`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Recording (NDJSON), or data directory with a journal
    #[arg(long, value_name = "FILE|DIR")]
    from: PathBuf,
    /// Component or bundle to compare with, instead of what was recorded
    #[arg(long, value_name = "PLUGIN")]
    against: Option<PathBuf>,
    /// Only the last orders
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=LAST_MAX))]
    last: u64,
    /// Only this order, or this id of a recording
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Configuration of the candidate, instead of the recorded one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Differences to show in full
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=SHOW_MAX))]
    show: u64,
    /// Exit with code 1 if any answer differs
    #[arg(long)]
    exact: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A recorded input, and what is known of the answer to it.
pub(crate) struct Recorded {
    pub(crate) fixture: Fixture,
    pub(crate) known: Known,
}

/// What is known of the answer that was given.
pub(crate) enum Known {
    /// All of it, as [`Fixture::expect`] has it.
    Answer,
    /// The total of the order in minor units.
    Total(i64),
    /// Nothing.
    Nothing,
}

/// Recorded inputs, and what has to be said about them.
pub(crate) struct Source {
    pub(crate) all: Vec<Recorded>,
    pub(crate) notes: Vec<String>,
}

/// Replays recorded inputs.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let candidate = Subject::find(&arguments.which)?;
    let mut candidate_shop = open(&candidate)?;
    let kind = Kind::from_name(candidate_shop.shape().kind.name()).unwrap_or(Kind::Pricing);
    let mut incumbent = arguments.against.as_deref().map(incumbent).transpose()?;
    if let Some((subject, shop)) = &incumbent
        && shop.shape().kind != candidate_shop.shape().kind
    {
        let (found, wanted) = (shop.shape().kind, candidate_shop.shape().kind);
        let text = format!("{} decides on {found}, and the candidate on {wanted}", subject.shown);
        return Err(Failure::usage(text));
    }
    let config = arguments.config.as_deref().map(crate::once::read_config).transpose()?;
    let order = arguments.order.as_deref();
    let source = if arguments.from.is_dir() {
        journal::read(&arguments.from, kind, arguments.last, order, terminal)?
    } else {
        recording::read(&arguments.from, kind, arguments.last, order)?
    };
    if source.all.is_empty() {
        let text = match order {
            Some(order) => format!("{} has no {order}", arguments.from.display()),
            None => format!("{} has nothing to replay", arguments.from.display()),
        };
        return Err(Failure::usage(text));
    }
    let mut tally = Tally::new(kind, arguments.show as usize);
    let total = source.all.len() as u64;
    for (done, recorded) in source.all.iter().enumerate() {
        let shop = incumbent.as_mut().map(|(_, shop)| shop);
        tally.compare(recorded, &mut candidate_shop, shop, config.as_ref())?;
        terminal.progress(done as u64 + 1, total, "replay");
    }
    let against = incumbent.as_ref().map_or("the recorded answers", |(s, _)| s.shown.as_str());
    let names = Names { candidate: &candidate.shown, against, from: &arguments.from };
    if arguments.json {
        terminal.json(&report(&names, &tally, &source.notes));
    } else {
        let text = text(&names, &tally, &source.notes, terminal);
        terminal.say(&text);
    }
    let fit = tally.failed == 0 && !(arguments.exact && tally.different > 0);
    Ok(if fit { DONE } else { UNFIT })
}

fn incumbent(path: &std::path::Path) -> Result<(Subject, Workshop), Failure> {
    let subject = Subject::find(&Which { plugin: path.to_owned(), manifest: None })?;
    let workshop = open(&subject)?;
    Ok((subject, workshop))
}

/// What is compared with what.
struct Names<'a> {
    candidate: &'a str,
    against: &'a str,
    from: &'a std::path::Path,
}

fn report(names: &Names<'_>, tally: &Tally, notes: &[String]) -> Value {
    let divergence = |one: &Divergence| {
        json!({
            "id": one.id,
            "why": one.failure,
            "currency": one.currency,
            "effect": one.effect,
            "facts": one.facts,
            "incumbent": one.incumbent,
            "candidate": one.candidate,
        })
    };
    let amount = |(currency, sums): (&u32, &compare::Sums)| {
        json!({
            "currency": currency,
            "orders": sums.orders,
            "incumbent": sums.incumbent,
            "candidate": sums.candidate,
            "effect": sums.candidate - sums.incumbent,
        })
    };
    json!({
        "schema": "onhand.plugin.replay/1",
        "candidate": names.candidate,
        "against": names.against,
        "from": names.from.display().to_string(),
        "ok": tally.failed == 0,
        "orders": tally.orders,
        "equal": tally.equal,
        "different": tally.different,
        "failed": tally.failed,
        "money": tally.money.iter().map(amount).collect::<Vec<_>>(),
        "refused": { "incumbent": tally.refused.0, "candidate": tally.refused.1 },
        "verdicts": tally.verdicts.iter().map(|((from, to), count)| {
            json!({ "incumbent": from, "candidate": to, "orders": count })
        }).collect::<Vec<_>>(),
        "divergences": tally.shown.iter().map(divergence).collect::<Vec<_>>(),
        "notes": notes,
    })
}

/// Writes a sum that may be larger than an order's total can be.
fn sum(minor: i64, currency: u32) -> String {
    money(minor, currency)
}

fn text(names: &Names<'_>, tally: &Tally, notes: &[String], terminal: &Terminal<'_>) -> String {
    let mut text = format!(
        "{} against {}, {} of {}\n",
        terminal.bold(names.candidate),
        names.against,
        if tally.orders == 1 {
            "1 order".to_owned()
        } else {
            format!("{} orders", count(tally.orders))
        },
        names.from.display()
    );
    // Writing into a text does not fail.
    let _ = writeln!(text, "  equal      {:>10}", count(tally.equal));
    let _ = writeln!(text, "  different  {:>10}", count(tally.different));
    if tally.failed > 0 {
        let failed = terminal.red(&format!("{:>10}", count(tally.failed)));
        let _ = writeln!(text, "  failed     {failed}");
    }
    if !tally.money.is_empty() {
        text.push_str("\neffect in money, candidate less incumbent\n");
    }
    for (currency, sums) in &tally.money {
        let effect = terminal.bold(&sum(sums.candidate - sums.incumbent, *currency));
        let (new, old) = (sum(sums.candidate, *currency), sum(sums.incumbent, *currency));
        let _ =
            writeln!(text, "  {effect} over {} orders: {new} instead of {old}", count(sums.orders));
    }
    if tally.refused != (0, 0) {
        let (old, new) = tally.refused;
        let _ = writeln!(text, "  refused: {} instead of {}", count(new), count(old));
    }
    for ((from, to), orders) in &tally.verdicts {
        let _ = writeln!(text, "  {from} -> {to}: {} orders", count(*orders));
    }
    for one in &tally.shown {
        let effect = one.effect.map(|effect| money(effect, one.currency));
        let effect = effect.map_or_else(String::new, |effect| format!("  {effect}"));
        let _ = writeln!(text, "\n{}{effect}", terminal.bold(&one.id));
        let _ = writeln!(text, "  facts      {}", one.facts);
        let _ = writeln!(text, "  incumbent  {}", one.incumbent);
        match &one.failure {
            Some(why) => {
                let _ = writeln!(text, "  candidate  {} {why}", terminal.verdict(false));
            }
            None => {
                let _ = writeln!(text, "  candidate  {}", one.candidate);
            }
        }
    }
    let more = (tally.different + tally.failed).saturating_sub(tally.shown.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "\nand {} more; --show N shows them", count(more));
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        let _ = writeln!(text, "{}", terminal.dim(&format!("note: {note}")));
    }
    text
}
