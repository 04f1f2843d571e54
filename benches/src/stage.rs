//! A shard without threads, stocked for the benches of `apply`.

use std::time::{Duration, Instant};

use onhand_core::bench_support::BenchShard;
use onhand_core::{Command, Import, Key, Timestamp};

use crate::BenchError;
use crate::workload::{Orders, Plan, definition, opening_stock, sku_ids};

/// Commands in one section, as a busy shard has them.
pub const SECTION: usize = 256;
/// Number of the first order: duplicates before it are new orders.
const FIRST: u64 = 10_000;

/// A stocked shard with its orders.
#[derive(Debug)]
pub struct Stage {
    /// The shard.
    pub shard: BenchShard,
    orders: Orders,
    now: u64,
}

impl Stage {
    /// Stocks a shard with `units` of each SKU of the plan.
    ///
    /// # Errors
    ///
    /// Returns that a definition or the stock was refused.
    pub fn new(plan: Plan, units: u32, expected_orders: usize) -> Result<Self, BenchError> {
        let mut shard = BenchShard::new(expected_orders);
        let skus = sku_ids(plan.skus)?;
        for index in 0..plan.skus {
            if !shard.apply(&Command::DefineSku(Box::new(definition(index)))) {
                return Err(format!("SKU {index} was refused").into());
            }
        }
        for (part, lines) in opening_stock(&skus, units).chunks(1_000).enumerate() {
            let key = Key::from_text(&format!("import {part}"));
            if !shard.apply(&Command::Import(Import { key, lines: lines.to_vec() })) {
                return Err("opening stock was refused".into());
            }
        }
        shard.end();
        Ok(Self { shard, orders: Orders::new(plan, &skus, FIRST)?, now: 1 })
    }

    /// Makes the commands of the next section.
    pub fn commands(&mut self) -> Vec<Command> {
        self.orders.batch(SECTION)
    }

    /// Carries a section out `later` milliseconds after the last one; returns the time that it
    /// took and how many commands were accepted.
    pub fn section(&mut self, commands: &[Command], later: u64) -> (Duration, usize) {
        self.now += later;
        let start = Instant::now();
        self.shard.begin(Timestamp::from_millis(self.now));
        let mut accepted = 0;
        let mut rest = commands;
        while !rest.is_empty() {
            let (next, later) = rest.split_at(self.shard.touch_ahead(rest));
            accepted += next.iter().filter(|command| self.shard.apply(command)).count();
            rest = later;
        }
        self.shard.end();
        (start.elapsed(), accepted)
    }
}
