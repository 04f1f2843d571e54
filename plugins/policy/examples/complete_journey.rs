//! Evaluates the built-in recommendation on a year of grocery baskets.
//!
//! Reads the file that `examples/complete-journey/prepare.py` writes. The last basket of each
//! household is kept back; all others are observed. Writes one line of JSON: how many of the kept
//! baskets have at least one of 10 recommendations, the same for best sellers, and the time of a
//! request. `examples/complete-journey/recommend.py` runs it beside a public library.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use onhand_core::SkuId;
use onhand_policy::recommend::{Ask, Index, Limits, Scratch};
use serde_json::{Value, json};

/// Recommendations of one request.
const LIMIT: usize = 10;

/// What was read: every SKU, and the baskets in order of time, each with its household.
struct Journey {
    skus: Vec<SkuId>,
    baskets: Vec<(String, Vec<SkuId>)>,
}

fn read(path: &str) -> Result<Journey, Box<dyn Error>> {
    let mut journey = Journey { skus: Vec::new(), baskets: Vec::new() };
    for line in BufReader::new(File::open(path)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let code = |value: &Value| -> Result<SkuId, Box<dyn Error>> {
            Ok(SkuId::from_code(value["sku"].as_str().ok_or("a line without its SKU")?)?)
        };
        match line["type"].as_str() {
            Some("sku") => journey.skus.push(code(&line)?),
            Some("order") => {
                let customer = line["customer"].as_str().ok_or("an order without customer")?;
                let lines = line["lines"].as_array().ok_or("an order without lines")?;
                let items = lines.iter().map(code).collect::<Result<_, _>>()?;
                journey.baskets.push((customer.to_owned(), items));
            }
            _ => {}
        }
    }
    Ok(journey)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: complete_journey FILE.ndjson")?;
    let journey = read(&path)?;
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, (household, _)) in journey.baskets.iter().enumerate() {
        last.insert(household, at);
    }
    let mut index = Index::new(Limits::default())?;
    for sku in &journey.skus {
        index.know(*sku);
    }
    let mut histories: BTreeMap<&str, Vec<SkuId>> = BTreeMap::new();
    let begun = Instant::now();
    for (at, (household, items)) in journey.baskets.iter().enumerate() {
        if last[household.as_str()] != at {
            index.observe(items);
            histories.entry(household).or_default().extend(items);
        }
    }
    let observed = begun.elapsed();

    let sellers: Vec<SkuId> = index.best_sellers().take(LIMIT).collect();
    let mut scratch = Scratch::default();
    let (mut hits, mut seller_hits) = (0_u32, 0_u32);
    let mut times = Vec::with_capacity(histories.len());
    for (household, history) in &histories {
        let wanted = &journey.baskets[last[household]].1;
        let ask = Ask { history, limit: LIMIT, ..Ask::default() };
        let begun = Instant::now();
        let picks = index.recommend(&mut scratch, &ask, |_| true);
        times.push(begun.elapsed().as_nanos() as u64);
        hits += u32::from(picks.iter().any(|pick| wanted.contains(&pick.sku)));
        seller_hits += u32::from(sellers.iter().any(|sku| wanted.contains(sku)));
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let report = json!({
        "items": index.len(),
        "baskets": journey.baskets.len(),
        "households": histories.len(),
        "observe_ms": observed.as_millis() as u64,
        "hits": hits,
        "best_seller_hits": seller_hits,
        "request_ns_p50": at(50),
        "request_ns_p99": at(99),
        "request_ns_max": at(100),
    });
    println!("{report}");
    Ok(())
}
