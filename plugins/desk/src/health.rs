//! What an operator looks at: figures of each policy, and what is wrong.

use std::sync::atomic::Ordering;

use onhand_core::PolicyNo;
use onhand_plugin_runtime::{BreakerState, FailureKind, LogLine, Stats, World};

use crate::desk::Desk;
use crate::guard::GuardView;
use crate::policy::{AnyPolicy, Identity, Maker, Policy};

/// The part that a policy has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It decides.
    Active,
    /// It decides for so many ten-thousandths of the customers.
    Canary(u16),
    /// It is asked beside for so many ten-thousandths of the customers.
    Shadow(u16),
    /// It is installed and not asked.
    Idle,
}

/// What a policy has done since the desk was opened, over all its installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStats {
    /// Its number.
    pub no: PolicyNo,
    /// Who it is.
    pub identity: Identity,
    /// Its part.
    pub role: Role,
    /// Calls: one for each batch.
    pub calls: u64,
    /// Orders or requests in them.
    pub orders: u64,
    /// Orders decided by the policy itself, by the built-in policy because it failed, let pass, and
    /// refused because it failed.
    pub by: [u64; 4],
    /// Orders refused or denied.
    pub refused: u64,
    /// Orders that the plugin did not decide on, by [`FailureKind`] in the order of its list.
    pub failures: [u64; FailureKind::ALL.len()],
    /// Time of its calls in nanoseconds: the largest of each bucket, and how many were in it.
    pub time_ns: Vec<(u64, u64)>,
    /// Time that half of the calls took at most, in nanoseconds.
    pub time_p50_ns: u64,
    /// Time that 99 of 100 calls took at most, in nanoseconds.
    pub time_p99_ns: u64,
    /// Figures of the plugin itself since it was installed or made ready last: fuel, instances,
    /// breaker; `None` for a built-in policy.
    pub plugin: Option<Stats>,
    /// Its latest failure with all details; `None` if it had none or is no plugin.
    pub last_failure: Option<String>,
    /// What the guards of a canary see.
    pub guards: Option<GuardView>,
}

/// What a plugin has logged lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyLogs {
    /// Its lines, the newest first, at most [`LOG_KEPT`](onhand_plugin_runtime::limits::LOG_KEPT).
    pub lines: Vec<LogLine>,
    /// Lines that gave way or were more than a call may log.
    pub dropped: u64,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthNote {
    /// A policy that has a part cannot be asked, and its failure policy decides.
    Absent {
        /// Its number.
        no: PolicyNo,
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A plugin failed so often that it is left alone for a while.
    BreakerOpen {
        /// Its number.
        no: PolicyNo,
        /// Its name.
        name: String,
    },
    /// Guards called a canary back since the desk was opened.
    Guarded {
        /// Its number.
        no: PolicyNo,
        /// Which guard, and what it saw.
        why: String,
    },
    /// A canary could not be called back: it goes on.
    NotCalledBack {
        /// Its number.
        no: PolicyNo,
        /// What the engine said.
        why: String,
    },
    /// Committed orders teach nothing any more.
    FeedStopped(String),
    /// Threads of the desk panicked since it was opened; what they worked on failed.
    Fault {
        /// How often.
        count: u64,
        /// What the last one said.
        why: String,
    },
}

/// Figures of the desk itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskMetrics {
    /// Baskets that wait for a decision.
    pub queued: u64,
    /// Inputs that no shadow looked at because its queue was full.
    pub shadow_dropped: u64,
    /// Position of the journal up to which committed orders were learned from.
    pub learned_to: u64,
    /// SKUs that recommendations know.
    pub skus_known: u64,
}

fn stats_of<W: World>(policy: &Policy<W>, role: Role, guards: Option<GuardView>) -> PolicyStats {
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let tally = &policy.tally;
    PolicyStats {
        no: policy.no,
        identity: policy.identity.clone(),
        role,
        calls: read(&tally.calls),
        orders: read(&tally.orders),
        by: std::array::from_fn(|at| read(&tally.by[at])),
        refused: read(&tally.refused),
        failures: std::array::from_fn(|at| read(&tally.failures[at])),
        time_ns: tally.time.buckets(),
        time_p50_ns: tally.time.percentile(50),
        time_p99_ns: tally.time.percentile(99),
        plugin: match &policy.maker {
            Maker::Plugin(plugin) => Some(plugin.stats()),
            Maker::BuiltIn | Maker::Absent { .. } => None,
        },
        last_failure: policy.last_failure(),
        guards,
    }
}

fn logs_of<W: World>(policy: &Policy<W>) -> PolicyLogs {
    match &policy.maker {
        Maker::Plugin(plugin) => {
            let (lines, dropped) = plugin.logs();
            PolicyLogs { lines, dropped }
        }
        Maker::BuiltIn | Maker::Absent { .. } => PolicyLogs::default(),
    }
}

fn note_of<W: World>(policy: &Policy<W>) -> Option<HealthNote> {
    let (no, name) = (policy.no, policy.identity.name.clone());
    match &policy.maker {
        Maker::Absent { why, .. } => Some(HealthNote::Absent { no, name, why: why.clone() }),
        Maker::Plugin(plugin) if plugin.breaker() != BreakerState::Closed => {
            Some(HealthNote::BreakerOpen { no, name })
        }
        Maker::Plugin(_) | Maker::BuiltIn => None,
    }
}

impl Desk {
    /// Returns the figures of every policy that was made ready to be asked.
    pub fn stats(&self) -> Vec<PolicyStats> {
        let life = self.shared.life.lock();
        let of = |(no, policy): (&PolicyNo, &AnyPolicy)| {
            let (role, guards) = life.role(*no);
            match policy {
                AnyPolicy::Pricing(policy) => stats_of(policy, role, guards),
                AnyPolicy::Fraud(policy) => stats_of(policy, role, guards),
                AnyPolicy::Recommend(policy) => stats_of(policy, role, guards),
            }
        };
        life.ready.iter().map(of).collect()
    }

    /// Returns what a policy has logged since it was made ready; `None` for one that was not.
    ///
    /// Only plugins log, and only what they choose to: treat the text as input from outside.
    pub fn logs(&self, no: PolicyNo) -> Option<PolicyLogs> {
        let policy = self.shared.life.lock().ready.get(&no).cloned()?;
        Some(match &policy {
            AnyPolicy::Pricing(policy) => logs_of(policy),
            AnyPolicy::Fraud(policy) => logs_of(policy),
            AnyPolicy::Recommend(policy) => logs_of(policy),
        })
    }

    /// Returns what is wrong; nothing is best.
    pub fn health(&self) -> Vec<HealthNote> {
        let life = self.shared.life.lock();
        let in_use = life.ready.iter().filter(|(no, _)| life.role(**no).0 != Role::Idle);
        let mut notes: Vec<HealthNote> = in_use
            .filter_map(|(_, policy)| match policy {
                AnyPolicy::Pricing(policy) => note_of(policy),
                AnyPolicy::Fraud(policy) => note_of(policy),
                AnyPolicy::Recommend(policy) => note_of(policy),
            })
            .collect();
        notes.extend(life.guarded.iter().cloned());
        drop(life);
        let fault = self.shared.follow_fault.lock().clone();
        notes.extend(fault.map(HealthNote::FeedStopped));
        let seen = self.shared.faults.seen();
        notes.extend(seen.map(|(count, why)| HealthNote::Fault { count, why }));
        notes
    }

    /// Returns figures of the desk itself.
    pub fn metrics(&self) -> DeskMetrics {
        DeskMetrics {
            queued: self.shared.queue.len() as u64,
            shadow_dropped: self.shared.shadows.dropped.load(Ordering::Relaxed),
            learned_to: self.learned_to(),
            skus_known: self.shared.learned.read().index.len() as u64,
        }
    }
}
