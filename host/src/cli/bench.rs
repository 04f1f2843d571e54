//! `onhand bench`: durable orders in this process, through the public API of the engine.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use onhand_core::{
    Ack, BatchTicket, Buy, Command, Currency, CustomerId, DefineSku, Engine, ImportLine, Key, Line,
    LocationId, LotId, Money, Placement, Quantity, SkuId, SkuKind,
};

use super::style::{count, size, span};
use super::{DONE, FAILED, Failure, say};

const EXAMPLES: &str = "\
Examples:
  onhand bench                           10 seconds, 1 shard, batches of 256
  onhand bench --shards 2 --seconds 30 --json
  onhand bench --batch 1 --clients 64    one order a call, as many callers

Each order is on disk before it counts. Latency is from submitting a batch to its answer.";

/// SKUs of the catalogue.
const SKUS: u64 = 1_000;
/// Units of each SKU: more than any run sells.
const UNITS: u32 = 1_000_000_000;
/// Most batches that one caller has under way.
const PIPELINE: usize = 4;

/// Arguments of `onhand bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Shards of the engine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Length of the measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Orders of one submitted batch
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=8_192))]
    batch: u32,
    /// Callers at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// Answer when applied instead of when on disk
    #[arg(long)]
    memory: bool,
    /// Where to make the data directory [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What one caller measured.
struct Measured {
    latency: Histogram<u64>,
    orders: u64,
    refused: u64,
}

/// Measures durable orders.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let parent = arguments.data.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&parent)?;
    let dir = tempfile::Builder::new().prefix("onhand-bench-").tempdir_in(&parent)?;
    let (engine, _report) = Engine::builder(dir.path()).shards(arguments.shards).open()?;
    let skus = stock(&engine)?;
    let before = engine.metrics().journal_bytes;
    let engine = Arc::new(engine);
    let (measured, elapsed) = measure(&engine, arguments, &skus)?;
    let seq = engine.durable_seq();
    let bytes = engine.metrics().journal_bytes.saturating_sub(before);
    super::serve::close(engine)?;
    if measured.refused > 0 {
        let refused = measured.refused;
        return Err(Failure::new(FAILED, format!("{refused} orders were refused, none should be")));
    }
    report(arguments, &measured, elapsed, bytes, seq);
    Ok(DONE)
}

fn stock(engine: &Engine) -> Result<Vec<SkuId>, Failure> {
    let mut skus = Vec::new();
    let price = Money::new(1_999, Currency::EUR)
        .ok_or_else(|| Failure::new(FAILED, "price is out of range"))?;
    for index in 0..SKUS {
        let code = format!("bench-{index}");
        let key = Key::from_text(&format!("define {code}"));
        skus.push(SkuId::from_code(&code).map_err(|e| Failure::new(FAILED, e.to_string()))?);
        engine.execute(Command::DefineSku(Box::new(DefineSku {
            key,
            code,
            kind: SkuKind::Goods,
            price,
            placement: Placement::BySku,
            limit: None,
            components: Vec::new(),
        })))?;
    }
    let units = Quantity::new(UNITS).unwrap_or(Quantity::MAX);
    let line = |sku: &SkuId| ImportLine {
        sku: *sku,
        location: LocationId(1),
        lot: LotId(0),
        quantity: units,
    };
    engine.import(Key::from_text("stock"), skus.iter().map(line).collect())?;
    Ok(skus)
}

fn measure(
    engine: &Arc<Engine>,
    arguments: &Arguments,
    skus: &[SkuId],
) -> Result<(Measured, Duration), Failure> {
    let stop = AtomicBool::new(false);
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let results: Vec<Result<Measured, Failure>> = std::thread::scope(|scope| {
        let caller = || call(engine, arguments, skus, &next, &stop);
        let callers: Vec<_> = (0..arguments.clients).map(|_| scope.spawn(caller)).collect();
        std::thread::sleep(Duration::from_secs(arguments.seconds));
        stop.store(true, Ordering::Relaxed);
        let joined = callers.into_iter().map(|caller| {
            caller.join().unwrap_or_else(|_| Err(Failure::new(FAILED, "a caller panicked")))
        });
        joined.collect()
    });
    let elapsed = started.elapsed();
    let mut all = Measured { latency: histogram()?, orders: 0, refused: 0 };
    for one in results {
        let one = one?;
        all.orders += one.orders;
        all.refused += one.refused;
        all.latency.add(&one.latency).map_err(|e| Failure::new(FAILED, e.to_string()))?;
    }
    Ok((all, elapsed))
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3)
        .map_err(|e| Failure::new(FAILED, e.to_string()))
}

/// Submits batches, a few under way at a time, until told to stop.
fn call(
    engine: &Engine,
    arguments: &Arguments,
    skus: &[SkuId],
    next: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Measured, Failure> {
    let ack = if arguments.memory { Ack::Memory } else { Ack::Group };
    let size = u64::from(arguments.batch);
    let mut measured = Measured { latency: histogram()?, orders: 0, refused: 0 };
    let mut under_way: VecDeque<(Instant, BatchTicket)> = VecDeque::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if !stopping && under_way.len() < PIPELINE {
            let first = next.fetch_add(size, Ordering::Relaxed);
            let order = |number: u64| {
                // Bit mixing of a counter gives keys as spread as a client's random ones.
                let mixed =
                    u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
                let sku = skus[(number % skus.len() as u64) as usize];
                let line = Line::new(sku, Quantity::ONE);
                Command::Buy(Buy::one(Key::new(mixed), CustomerId(number + 1), line))
            };
            let commands: Vec<Command> = (first..first + size).map(order).collect();
            let submitted = Instant::now();
            under_way.push_back((submitted, engine.submit_batch(commands, ack)?));
            continue;
        }
        let Some((submitted, ticket)) = under_way.pop_front() else {
            return Ok(measured);
        };
        let replies = ticket.wait()?;
        let nanos = submitted.elapsed().as_nanos() as u64;
        measured.latency.saturating_record(nanos.max(1));
        let accepted = replies.iter().filter(|reply| reply.outcome.is_ok()).count() as u64;
        measured.orders += accepted;
        measured.refused += replies.len() as u64 - accepted;
    }
}

fn report(arguments: &Arguments, measured: &Measured, elapsed: Duration, bytes: u64, seq: u64) {
    let seconds = elapsed.as_secs_f64();
    let rate = measured.orders as f64 / seconds;
    let per_order = bytes as f64 / measured.orders.max(1) as f64;
    let at = |quantile: f64| Duration::from_nanos(measured.latency.value_at_quantile(quantile));
    let ack = if arguments.memory { "memory" } else { "group" };
    let max = Duration::from_nanos(measured.latency.max());
    if arguments.json {
        let us = |time: Duration| time.as_nanos() / 1_000;
        say(&format!(
            "{{\"orders\":{},\"seconds\":{seconds:.3},\"orders_per_second\":{rate:.0},\
             \"shards\":{},\"clients\":{},\"batch\":{},\"ack\":\"{ack}\",\
             \"latency_us\":{{\"p50\":{},\"p90\":{},\"p99\":{},\"p999\":{},\"max\":{}}},\
             \"bytes_per_order\":{per_order:.1},\"durable_seq\":{seq}}}\n",
            measured.orders,
            arguments.shards,
            arguments.clients,
            arguments.batch,
            us(at(0.5)),
            us(at(0.9)),
            us(at(0.99)),
            us(at(0.999)),
            us(max),
        ));
        return;
    }
    say(&format!(
        "orders     {} in {seconds:.1} s, each acknowledged at level {ack}\n\
         rate       {} orders/s\n\
         latency    p50 {}  p90 {}  p99 {}  p99.9 {}  max {} (a batch of {})\n\
         journal    {} written, {per_order:.1} bytes an order\n\
         engine     {} {}, {} callers\n",
        count(measured.orders),
        count(rate as u64),
        span(at(0.5)),
        span(at(0.9)),
        span(at(0.99)),
        span(at(0.999)),
        span(max),
        arguments.batch,
        size(bytes),
        arguments.shards,
        if arguments.shards == 1 { "shard" } else { "shards" },
        arguments.clients,
    ));
}
