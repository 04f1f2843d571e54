//! Brings what a batch will need into the cache together, before it is needed.
//!
//! What costs in tables larger than the caches is the wait for each cache line. A processor waits
//! for several at once if their addresses do not depend on each other and few instructions lie
//! between: so this goes over the batch in passes of short loops that only read.

use crate::command::Command;
use crate::state::State;

/// Commands, or records, that are looked at together.
pub(crate) const AHEAD: usize = 64;
/// Lines of baskets that are looked at together; those of later ones wait.
const LINES_AHEAD_MAX: usize = 1_024;

/// Buffers for the passes over one batch after the other.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Tags of idempotency keys.
    keys: Vec<u32>,
    /// SKU index and customer of each line.
    lines: Vec<(u32, u64)>,
    limits: Vec<u32>,
    cells: Vec<u32>,
}

impl Ahead {
    /// Brings in what some commands will need.
    pub(crate) fn touch_commands(&mut self, state: &State, commands: &[Command]) {
        for command in commands {
            if let Some(key) = command.key() {
                self.add_key(state, key.bits());
            }
        }
        for command in commands {
            let (lines, customer) = match command {
                Command::Buy(buy) => (buy.lines.as_slice(), buy.customer.0),
                Command::Reserve(reserve) => (reserve.lines.as_slice(), reserve.customer.0),
                _ => continue,
            };
            for line in lines {
                if let Some(sku) = state.catalogue.index_of(line.sku) {
                    self.add_line(sku, customer);
                }
            }
        }
        self.touch(state);
    }

    /// Adds the key of a command that will be carried out.
    #[inline]
    pub(crate) fn add_key(&mut self, state: &State, key: u128) {
        self.keys.push(state.key_tag(key));
    }

    /// Adds a line of a basket that will be carried out.
    #[inline]
    pub(crate) fn add_line(&mut self, sku: u32, customer: u64) {
        if self.lines.len() < LINES_AHEAD_MAX {
            self.lines.push((sku, customer));
        }
    }

    /// Reads what was added, and forgets it.
    pub(crate) fn touch(&mut self, state: &State) {
        let mut sum = state.index.touch(&self.keys);
        for (index, customer) in &self.lines {
            let sku = state.catalogue.get(*index);
            sum ^= sku.level.available as u32;
            self.cells.extend(sku.first_cell());
            self.limits.extend(state.limit_tag(*customer, *index));
        }
        for cell in &self.cells {
            sum ^= state.cells.get(*cell).level.available as u32;
        }
        sum ^= state.limits.touch(&self.limits);
        sum ^= state.index.touch_next(&self.keys) ^ state.limits.touch_next(&self.limits);
        std::hint::black_box(sum);
        self.keys.clear();
        self.lines.clear();
        self.limits.clear();
        self.cells.clear();
    }
}
