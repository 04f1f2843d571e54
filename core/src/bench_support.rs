//! One shard without threads, queues or journal, for the benches (feature `bench`).
//!
//! Not part of the public API: it may change with any release.

use crate::apply::{Applied, Context, apply};
use crate::command::Command;
use crate::shard::core::Core;
use crate::state::State;
use crate::time::Timestamp;

/// What `apply` costs alone: state, time and command in, state and records out.
#[derive(Debug)]
pub struct BenchShard {
    core: Core,
    messages: Vec<(u16, crate::apply::Instruction)>,
    next_seq: u64,
}

impl BenchShard {
    /// Makes the only shard of an engine, with room for some orders, and begins a section.
    pub fn new(expected_orders: usize) -> Self {
        let core = Core::new(State::new(0, 1, expected_orders), 50, None);
        let mut shard = Self { core, messages: Vec::new(), next_seq: 1 };
        shard.begin(Timestamp::from_millis(1));
        shard
    }

    /// Begins a section at a time: what is due expires first.
    pub fn begin(&mut self, now: Timestamp) {
        self.core.begin(self.next_seq, now);
    }

    /// Brings what the first commands will need into the cache together, as a shard does for a
    /// batch; returns how many these are.
    pub fn touch_ahead(&mut self, commands: &[Command]) -> usize {
        self.core.ahead.touch_commands(&self.core.state, commands)
    }

    /// Carries one command out and encodes its record; returns whether it was accepted.
    pub fn apply(&mut self, command: &Command) -> bool {
        let mut ctx = Context {
            now: self.core.section_time(),
            section: &mut self.core.section,
            messages: &mut self.messages,
            peer_skus: &[],
        };
        let outcome = apply(&mut self.core.state, &mut ctx, command);
        matches!(outcome, Applied::Done(_) | Applied::Repeated(_))
    }

    /// Ends the section; returns the bytes of its records.
    pub fn end(&mut self) -> usize {
        let bytes = self.core.section.bytes.len();
        let base = self.next_seq;
        self.next_seq += u64::from(self.core.section.count);
        std::hint::black_box(self.core.end(base));
        bytes
    }

    /// Returns the bytes of the shard's tables.
    pub fn memory_bytes(&self) -> usize {
        self.core.state.memory_bytes()
    }

    /// Returns the orders that are reserved or placed.
    pub fn live_orders(&self) -> u64 {
        self.core.state.live_orders
    }
}
