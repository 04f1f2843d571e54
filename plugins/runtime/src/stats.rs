//! What a plugin has done so far, in numbers.

use crate::breaker::BreakerState;
use crate::error::FailureKind;
use crate::histogram::Histogram;

/// Running totals behind a lock of the plugin.
pub(crate) struct Counters {
    calls: u64,
    orders: u64,
    instances: u64,
    answered: [u64; 4],
    failures: [u64; FailureKind::ALL.len()],
    fuel: Histogram,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            calls: 0,
            orders: 0,
            instances: 0,
            answered: [0; 4],
            failures: [0; FailureKind::ALL.len()],
            fuel: Histogram::default(),
        }
    }

    pub(crate) fn call(&mut self, orders: usize, fuel_per_order: u64) {
        self.calls += 1;
        self.orders += orders as u64;
        self.fuel.add(fuel_per_order, orders as u64);
    }

    pub(crate) fn instance(&mut self) {
        self.instances += 1;
    }

    /// Counts attempts that failed, made or not.
    pub(crate) fn failure(&mut self, kind: FailureKind, attempts: u64) {
        self.failures[kind as usize] += attempts;
    }

    pub(crate) fn answered(&mut self, by: usize, orders: usize) {
        self.answered[by] += orders as u64;
    }

    pub(crate) fn stats(&self, breaker: BreakerState, breaker_opened: u64) -> Stats {
        Stats {
            calls: self.calls,
            orders: self.orders,
            instances: self.instances,
            by_plugin: self.answered[0],
            by_built_in: self.answered[1],
            let_pass: self.answered[2],
            closed: self.answered[3],
            failures: self.failures,
            fuel_p50: self.fuel.percentile(50),
            fuel_p99: self.fuel.percentile(99),
            fuel_max: self.fuel.max(),
            breaker,
            breaker_opened,
        }
    }
}

/// What a plugin has done since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Calls made, failed ones included.
    pub calls: u64,
    /// Orders or requests in them; one of a failed batch counts again when it is tried alone.
    pub orders: u64,
    /// Instances made.
    pub instances: u64,
    /// Orders decided by the plugin.
    pub by_plugin: u64,
    /// Orders decided by the built-in policy because the plugin failed.
    pub by_built_in: u64,
    /// Orders let pass because the plugin failed.
    pub let_pass: u64,
    /// Orders refused because the plugin failed.
    pub closed: u64,
    /// Failures by [`FailureKind`], in the order of [`FailureKind::ALL`].
    pub failures: [u64; FailureKind::ALL.len()],
    /// Fuel that half of the orders did not exceed, rounded up by at most one part in 16.
    pub fuel_p50: u64,
    /// Fuel that 99 of 100 orders did not exceed, rounded up by at most one part in 16.
    pub fuel_p99: u64,
    /// Most fuel that an order took.
    pub fuel_max: u64,
    /// Whether the plugin is called now.
    pub breaker: BreakerState,
    /// How often the breaker has opened.
    pub breaker_opened: u64,
}

impl Stats {
    /// Returns the number of failures of one kind.
    pub const fn failed(&self, kind: FailureKind) -> u64 {
        self.failures[kind as usize]
    }
}
