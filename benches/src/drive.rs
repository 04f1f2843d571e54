//! Two ways to drive an engine: a window of orders in flight, and a schedule that does not wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use onhand_core::{Ack, BatchTicket, Command, Engine, Reply};

use crate::BenchError;
use crate::summary::latencies;
use crate::workload::Orders;

/// Batches that a schedule may have under way; one more is refused as too slow.
const SCHEDULED_MAX: usize = 1 << 16;
/// Most orders of a batch that catches up with its schedule.
const CATCH_UP_MAX: u64 = 8_192;

/// How a window drives an engine.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Orders to submit, by all producers.
    pub orders: u64,
    /// Orders in flight, by all producers.
    pub in_flight: usize,
    /// Orders in one batch.
    pub batch: usize,
    /// Threads that submit.
    pub producers: usize,
    /// Level of acknowledgement.
    pub ack: Ack,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// New orders.
    pub accepted: u64,
    /// Duplicates, answered with the first receipt.
    pub repeated: u64,
    /// Refusals.
    pub refused: u64,
    /// Time from the first submission to the last answer.
    pub elapsed: Duration,
    /// Nanoseconds from submission (window) or intended start (schedule) to the answer.
    pub latency: Histogram<u64>,
}

impl Outcome {
    fn new() -> Self {
        Self { accepted: 0, repeated: 0, refused: 0, elapsed: Duration::ZERO, latency: latencies() }
    }

    fn count(&mut self, replies: &[Reply]) {
        for reply in replies {
            match &reply.outcome {
                Ok(_) if reply.replayed => self.repeated += 1,
                Ok(_) => self.accepted += 1,
                Err(_) => self.refused += 1,
            }
        }
    }

    fn add(&mut self, other: &Self) -> Result<(), BenchError> {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latency.add(&other.latency)?;
        Ok(())
    }

    /// Returns new orders a second.
    pub fn orders_per_second(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns commands answered a second, whatever the answer.
    pub fn commands_per_second(&self) -> f64 {
        let commands = self.accepted + self.repeated + self.refused;
        commands as f64 / self.elapsed.as_secs_f64()
    }
}

/// Submits orders with a window of them in flight; `source` makes the orders of a producer.
///
/// # Errors
///
/// Returns what the engine says.
pub fn window(
    engine: &Engine,
    window: Window,
    source: impl Fn(usize) -> Result<Orders, BenchError>,
) -> Result<Outcome, BenchError> {
    window_decided(engine, window, source, Ok)
}

/// As [`window()`], where each producer lets `decide` decide on a batch before it submits it;
/// latency and time count from before that.
///
/// # Errors
///
/// Returns what the engine or `decide` says.
pub fn window_decided(
    engine: &Engine,
    window: Window,
    source: impl Fn(usize) -> Result<Orders, BenchError>,
    decide: impl Fn(Vec<Command>) -> Result<Vec<Command>, BenchError> + Sync,
) -> Result<Outcome, BenchError> {
    let producers = window.producers.max(1);
    let sources = (0..producers).map(source).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let outcomes = std::thread::scope(|scope| {
        let decide = &decide;
        let run = |orders| scope.spawn(move || produce(engine, window, orders, start, decide));
        let threads: Vec<_> = sources.into_iter().map(run).collect();
        threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let mut all = Outcome::new();
    outcomes.iter().try_for_each(|outcome| all.add(outcome))?;
    Ok(all)
}

fn join<T>(
    thread: std::thread::ScopedJoinHandle<'_, Result<T, BenchError>>,
) -> Result<T, BenchError> {
    thread.join().map_err(|_| "a thread of the bench panicked")?
}

fn produce(
    engine: &Engine,
    window: Window,
    mut orders: Orders,
    start: Instant,
    decide: &impl Fn(Vec<Command>) -> Result<Vec<Command>, BenchError>,
) -> Result<Outcome, BenchError> {
    let producers = window.producers.max(1);
    let mut left = window.orders / producers as u64;
    let batch = window.batch.max(1);
    let depth = (window.in_flight / producers / batch).max(1);
    let mut under_way: VecDeque<(Instant, BatchTicket)> = VecDeque::with_capacity(depth);
    let mut outcome = Outcome::new();
    while left > 0 || !under_way.is_empty() {
        while left > 0 && under_way.len() < depth {
            let count = left.min(batch as u64);
            let commands = orders.batch(count as usize);
            let at = Instant::now();
            let commands = decide(commands)?;
            under_way.push_back((at, engine.submit_batch(commands, window.ack)?));
            left -= count;
        }
        if let Some((at, ticket)) = under_way.pop_front() {
            let replies = ticket.wait()?;
            outcome
                .latency
                .saturating_record_n(at.elapsed().as_nanos() as u64, replies.len() as u64);
            outcome.count(&replies);
        }
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

/// How a schedule drives an engine.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Orders a second.
    pub rate: f64,
    /// Time between two submissions: orders that fall due between them go together.
    pub slice: Duration,
    /// Longest time that it runs.
    pub time: Duration,
    /// Level of acknowledgement.
    pub ack: Ack,
}

struct Scheduled {
    ticket: BatchTicket,
    first: u64,
    count: u64,
}

/// Submits orders at a steady rate whatever the engine does, until time is up or `stop` is set.
///
/// Latency counts from the moment at which an order was to start, so that a stall shows in every
/// order that it delayed.
///
/// # Errors
///
/// Returns what the engine says; overload too, as the rate can't be kept then.
pub fn schedule(
    engine: &Engine,
    schedule: Schedule,
    mut orders: Orders,
    stop: &AtomicBool,
) -> Result<Outcome, BenchError> {
    let (give, take) = mpsc::sync_channel::<Scheduled>(SCHEDULED_MAX);
    let start = Instant::now();
    let nanos_each = 1e9 / schedule.rate;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || wait_all(&take, start, nanos_each));
        let mut sent = 0_u64;
        while start.elapsed() < schedule.time && !stop.load(Ordering::Relaxed) {
            let due = (start.elapsed().as_nanos() as f64 / nanos_each) as u64;
            while sent < due {
                let count = (due - sent).min(CATCH_UP_MAX);
                let ticket = engine.submit_batch(orders.batch(count as usize), schedule.ack)?;
                let scheduled = Scheduled { ticket, first: sent, count };
                give.send(scheduled).map_err(|_| "the waiting thread has ended")?;
                sent += count;
            }
            std::thread::sleep(schedule.slice);
        }
        drop(give);
        join(waiter)
    })
}

fn wait_all(
    take: &mpsc::Receiver<Scheduled>,
    start: Instant,
    nanos_each: f64,
) -> Result<Outcome, BenchError> {
    let mut outcome = Outcome::new();
    for Scheduled { ticket, first, count } in take {
        let replies = ticket.wait()?;
        let now = start.elapsed().as_nanos() as f64;
        for at in first..first + count {
            outcome.latency.saturating_record((now - at as f64 * nanos_each).max(1.0) as u64);
        }
        outcome.count(&replies);
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Mix, Plan, sku_ids, stock_shop};

    fn shop() -> (Engine, Orders) {
        let (engine, _) = Engine::in_memory().open().expect("memory has room");
        let skus = stock_shop(&engine, 1, 1_000_000).expect("the shop is stocked");
        let orders = Orders::new(Plan::new(Mix::Hot, 1), &skus, 0).expect("there is a SKU");
        (engine, orders)
    }

    #[test]
    fn a_window_submits_every_order_once() {
        let (engine, orders) = shop();
        let all = Window { orders: 1_000, in_flight: 64, batch: 16, producers: 1, ack: Ack::Group };
        let outcome = window(&engine, all, |_| Ok(orders.clone())).expect("a run");
        assert_eq!(outcome.accepted + outcome.repeated, 1_000);
        assert!(outcome.repeated > 0, "2 % are duplicates");
        let hot = sku_ids(1).expect("a code is well formed")[0];
        assert_eq!(engine.stock(hot).map(|stock| stock.committed), Some(outcome.accepted));
    }

    #[test]
    fn a_schedule_that_is_stopped_submits_nothing() {
        let (engine, orders) = shop();
        let plan = Schedule {
            rate: 1_000.0,
            slice: Duration::from_micros(100),
            time: Duration::from_secs(1),
            ack: Ack::Memory,
        };
        let outcome = schedule(&engine, plan, orders, &AtomicBool::new(true)).expect("a run");
        assert_eq!(outcome.accepted, 0);
    }
}
