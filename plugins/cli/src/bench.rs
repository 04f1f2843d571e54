//! `onhand plugin bench`: fuel and time of an order.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use onhand_plugin_bundle::{Facts, Kind};
use serde_json::{Value, json};

use crate::figures::{count, size, span};
use crate::once::open;
use crate::random::Random;
use crate::subject::{Subject, Which};
use crate::terminal::{Failure, Terminal};
use crate::test::loaded;
use crate::workshop::{Loaded, failure_help};
use crate::{DONE, UNFIT};

const EXAMPLES: &str = "\
Fuel is the same on every machine; time is this machine's.

Examples:
  onhand plugin bench
  onhand plugin bench --budget fuel=20k --budget size=64k     exit code 1 if it takes more
  onhand plugin bench --orders 10000 --seed 7 --json";

/// Random baskets at most.
const ORDERS_MAX: u64 = 1_000_000;
/// Calls whose time is measured, for each size of basket.
const TIMED_CALLS: usize = 200;
/// Lines of the baskets that show how fuel grows.
const CURVE: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];
/// Characters of the longest bar of the curve.
const BAR: u64 = 40;

/// Arguments of `onhand plugin bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Random baskets of 1 to 200 lines
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=ORDERS_MAX))]
    orders: u64,
    /// Seed of the random baskets
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Most that is allowed: fuel=N of any order, or size=N of the component in bytes; k and M
    /// stand for thousands and millions
    #[arg(long, value_name = "WHAT=N", value_parser = budget)]
    budget: Vec<Budget>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Something that may not be exceeded.
#[derive(Clone, Copy, Debug)]
struct Budget {
    what: What,
    most: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Fuel,
    Size,
}

fn budget(text: &str) -> Result<Budget, String> {
    let wanted = || format!("{text:?} is no budget: write fuel=20k or size=64k");
    let (what, number) = text.split_once('=').ok_or_else(wanted)?;
    let what = match what {
        "fuel" => What::Fuel,
        "size" => What::Size,
        _ => return Err(wanted()),
    };
    let (digits, factor) = match number.strip_suffix(['k', 'M']) {
        Some(digits) if number.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (number, 1),
    };
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let most = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    Ok(Budget { what, most: most.ok_or_else(wanted)? })
}

/// Numbers in order.
struct Spread {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Spread {
    fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        // Nearest rank.
        let at = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1);
            all.get(rank - 1).copied().unwrap_or(0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }

    fn json(&self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99, "max": self.max })
    }
}

/// All that was measured.
struct Figures {
    fixtures: Vec<(String, u64)>,
    fuel: Spread,
    worst_lines: usize,
    curve: Vec<(usize, u64)>,
    time: Spread,
    bytes: u64,
}

/// Measures a plugin.
pub(crate) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let subject = Subject::find(&arguments.which)?;
    let figures = measure(&subject, arguments, terminal)?;
    let fixtures_max = figures.fixtures.iter().map(|(_, fuel)| *fuel).max().unwrap_or(0);
    let budgets: Vec<(Budget, u64)> = arguments
        .budget
        .iter()
        .map(|budget| match budget.what {
            What::Fuel => (*budget, figures.fuel.max.max(fixtures_max)),
            What::Size => (*budget, figures.bytes),
        })
        .collect();
    let fit = budgets.iter().all(|(budget, used)| *used <= budget.most);
    if arguments.json {
        terminal.json(&report(&subject, arguments, &figures, &budgets, fit));
    } else {
        let text = text(&subject, arguments, &figures, &budgets, terminal);
        terminal.say(&text);
    }
    Ok(if fit { DONE } else { UNFIT })
}

fn failed(failure: &onhand_plugin_runtime::Failure, lines: usize) -> Failure {
    let text = format!("an order of {lines} lines: {failure}");
    match failure_help(failure) {
        Some(help) => Failure::unfit(text).help(help),
        None => Failure::unfit(text),
    }
}

fn fuel(loaded: &Loaded, facts: &Facts, lines: usize) -> Result<u64, Failure> {
    let (_, fuel) = loaded.answer(facts, true).map_err(|failure| failed(&failure, lines))?;
    Ok(fuel.div_ceil((facts.orders() as u64).max(1)))
}

fn measure(
    subject: &Subject,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<Figures, Failure> {
    let mut workshop = open(subject)?;
    let kind = Kind::from_name(workshop.shape().kind.name()).unwrap_or(Kind::Pricing);
    let mut fixtures = Vec::new();
    for (name, fixture) in &subject.fixtures {
        workshop.fits(&fixture.facts, name)?;
        let loaded = workshop
            .with_config(&fixture.config_text())
            .map_err(|error| Failure::unfit(format!("fixture {name}: {error}")))?;
        fixtures.push((name.clone(), fuel(loaded, &fixture.facts, 0)?));
    }
    let loaded = loaded(subject, &mut workshop)?;
    let mut random = Random::new(arguments.seed);
    let (mut all, mut worst) = (Vec::new(), (0, 0));
    for done in 0..arguments.orders {
        let lines = random.below(200) as usize + 1;
        let taken = fuel(loaded, &random.facts(kind, lines), lines)?;
        worst = worst.max((taken, lines));
        all.push(taken);
        terminal.progress(done + 1, arguments.orders, "random baskets");
    }
    let mut curve = Vec::new();
    for lines in CURVE {
        curve.push((lines, fuel(loaded, &random.facts(kind, lines), lines)?));
    }
    let facts = random.facts(kind, 3);
    // The first calls fill caches and are not what a running host sees.
    loaded.time(&facts, TIMED_CALLS / 4).map_err(|failure| failed(&failure, 3))?;
    let times = loaded.time(&facts, TIMED_CALLS).map_err(|failure| failed(&failure, 3))?;
    let nanos = times.iter().map(|time| time.as_nanos() as u64).collect();
    Ok(Figures {
        fixtures,
        fuel: Spread::of(all),
        worst_lines: worst.1,
        curve,
        time: Spread::of(nanos),
        bytes: subject.wasm.len() as u64,
    })
}

fn report(
    subject: &Subject,
    arguments: &Arguments,
    figures: &Figures,
    budgets: &[(Budget, u64)],
    fit: bool,
) -> Value {
    let budget = |(budget, used): &(Budget, u64)| {
        let what = if budget.what == What::Fuel { "fuel" } else { "size" };
        json!({ "what": what, "most": budget.most, "used": used, "ok": *used <= budget.most })
    };
    let limit = subject.limits().fuel_per_order;
    json!({
        "schema": "onhand.plugin.bench/1",
        "plugin": subject.shown,
        "ok": fit,
        "seed": arguments.seed,
        "orders": arguments.orders,
        "fuel_per_order": figures.fuel.json(),
        "fuel_limit": limit,
        "worst_lines": figures.worst_lines,
        "fixtures": figures.fixtures.iter()
            .map(|(name, fuel)| json!({ "name": name, "fuel": fuel })).collect::<Vec<_>>(),
        "curve": figures.curve.iter()
            .map(|(lines, fuel)| json!({ "lines": lines, "fuel": fuel })).collect::<Vec<_>>(),
        "warm_call_ns": figures.time.json(),
        "bytes": figures.bytes,
        "budgets": budgets.iter().map(budget).collect::<Vec<_>>(),
    })
}

fn text(
    subject: &Subject,
    arguments: &Arguments,
    figures: &Figures,
    budgets: &[(Budget, u64)],
    terminal: &Terminal<'_>,
) -> String {
    let mut text = format!("{}, {}\n", terminal.bold(&subject.shown), size(figures.bytes));
    // Writing into a text does not fail.
    let Spread { p50, p99, max } = &figures.fuel;
    let (orders, seed) = (count(arguments.orders), arguments.seed);
    let _ = writeln!(
        text,
        "\nfuel of an order, {orders} random baskets of 1 to 200 lines, seed {seed}"
    );
    let (p50, p99) = (count(*p50), count(*p99));
    let _ = writeln!(
        text,
        "  p50 {p50}   p99 {p99}   max {} (of {} lines)",
        count(*max),
        figures.worst_lines
    );
    let limit = subject.limits().fuel_per_order;
    let headroom = (limit as f64 - *max as f64) * 100.0 / limit as f64;
    let _ = writeln!(text, "  limit {}, headroom {headroom:.1} %", count(limit));
    for (name, fuel) in &figures.fixtures {
        let _ = writeln!(text, "  fixture {name}: {}", count(*fuel));
    }
    let _ = writeln!(text, "\ngrowth with the lines of an order");
    let most = figures.curve.iter().map(|(_, fuel)| *fuel).max().unwrap_or(1).max(1);
    for (lines, fuel) in &figures.curve {
        let bar = "#".repeat((fuel * BAR / most) as usize);
        let each = count(fuel / *lines as u64);
        let _ =
            writeln!(text, "  {lines:>4} lines {:>12} fuel {each:>8} a line  {bar}", count(*fuel));
    }
    let Spread { p50, p99, max } = figures.time;
    let time = |nanos| span(Duration::from_nanos(nanos));
    let _ = writeln!(text, "\ntime of a warm call with one order of 3 lines, on this machine");
    let _ = writeln!(text, "  p50 {}   p99 {}   max {}", time(p50), time(p99), time(max));
    let _ = writeln!(text, "  a million orders: {} of one processor", time(p50 * 1_000_000));
    for (budget, used) in budgets {
        let what = if budget.what == What::Fuel { "fuel" } else { "size" };
        let verdict = terminal.verdict(*used <= budget.most);
        let _ =
            writeln!(text, "{verdict} {what} {} of {} allowed", count(*used), count(budget.most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Spread, budget};

    /// Budgets are numbers with or without k and M.
    #[test]
    fn budgets_are_numbers() {
        let most = |text: &str| budget(text).map(|budget| budget.most);
        assert_eq!(most("fuel=20k"), Ok(20_000));
        assert_eq!(most("fuel=1_500"), Ok(1_500));
        assert_eq!(most("size=2M"), Ok(2_000_000));
        for text in
            ["fuel", "fuel=", "fuel=x", "heat=1", "fuel=k", "fuel=-1", "fuel=99999999999999999999"]
        {
            assert!(most(text).is_err(), "{text}");
        }
    }

    /// Percentiles by nearest rank.
    #[test]
    fn percentiles_are_by_nearest_rank() {
        let Spread { p50, p99, max } = Spread::of((1..=100).rev().collect());
        assert_eq!((p50, p99, max), (50, 99, 100));
        let Spread { p50, p99, max } = Spread::of(vec![7]);
        assert_eq!((p50, p99, max), (7, 7, 7));
    }
}
