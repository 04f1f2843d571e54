//! Brings what a batch will need into the cache together, before it is needed.
//!
//! What costs in tables larger than the caches is the wait for each cache line. A processor waits
//! for several at once if their addresses do not depend on each other and few instructions lie
//! between: so this goes over the batch in passes of short loops that only read.

use crate::command::Command;
use crate::state::State;

/// Commands, or records, that are looked at together.
pub(crate) const AHEAD: usize = 64;
/// Lines of baskets from which on no further basket is looked at: what was brought in has to stay
/// in the first caches, and the addresses of its pages too, until it is used.
const LINES_AHEAD: usize = 128;

/// What is needed of a line of a basket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AheadLine {
    /// Index of the SKU.
    pub(crate) sku: u32,
    /// Location, 0 for any.
    pub(crate) location: u32,
    pub(crate) customer: u64,
}

/// Buffers for the passes over one batch after the other.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Tags of idempotency keys.
    keys: Vec<u32>,
    lines: Vec<AheadLine>,
    limits: Vec<u32>,
    cells: Vec<u32>,
}

impl Ahead {
    /// Brings in what the first commands will need; returns how many these are.
    pub(crate) fn touch_commands(&mut self, state: &State, commands: &[Command]) -> usize {
        let mut count = 0;
        for command in commands.iter().take(AHEAD) {
            if self.lines.len() >= LINES_AHEAD {
                break;
            }
            count += 1;
            if let Some(key) = command.key() {
                self.add_key(state, key.bits());
            }
            let (lines, customer) = match command {
                Command::Buy(buy) => (buy.lines.as_slice(), buy.customer.0),
                Command::Reserve(reserve) => (reserve.lines.as_slice(), reserve.customer.0),
                _ => continue,
            };
            for line in lines {
                if let Some(sku) = state.catalogue.index_of(line.sku) {
                    self.add_line(AheadLine { sku, location: line.location.0, customer });
                }
            }
        }
        self.touch(state);
        count
    }

    /// Adds the key of a command that will be carried out.
    #[inline]
    pub(crate) fn add_key(&mut self, state: &State, key: u128) {
        self.keys.push(state.key_tag(key));
    }

    /// Adds a line of a basket that will be carried out.
    #[inline]
    pub(crate) fn add_line(&mut self, line: AheadLine) {
        self.lines.push(line);
    }

    /// Reads what was added, and forgets it.
    pub(crate) fn touch(&mut self, state: &State) {
        let mut sum = state.index.touch(&self.keys);
        for line in &self.lines {
            let sku = state.catalogue.get(line.sku);
            sum ^= sku.level.available as u32;
            self.cells.extend(match line.location {
                0 => sku.first_cell(),
                location => state.cell_of.get(&(line.sku, location)).copied(),
            });
            self.limits.extend(state.limit_tag(line.customer, line.sku));
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
