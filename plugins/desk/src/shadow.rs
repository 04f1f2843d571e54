//! Shadows: a policy that is asked beside the one that decides, off the way of any reply, and what
//! comes of the comparison.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onhand_core::{Currency, PolicyNo};
use onhand_plugin_bundle::Facts;
use onhand_plugin_runtime::{By, Fraud, Made, Pricing, Recommend};
use onhand_policy::decision::{Pick, Risk};
use parking_lot::{Condvar, Mutex};

use crate::decide::price_answer;
use crate::facts::{FraudFacts, PriceAnswer, PricingFacts, RecommendFacts};
use crate::fault::Faults;
use crate::limits::{EXAMPLES_MAX, SHADOW_LINES_MAX, SHADOW_QUEUE_MAX};
use crate::policy::{Policy, PriceBook, RiskBook};
use crate::record::{Pseudonyms, fraud_input, pricing_input, recommend_input};

/// What one policy answered on one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAnswer {
    /// Prices of an order.
    Price(PriceAnswer),
    /// Risk of an order.
    Risk(Risk),
    /// Recommendations: SKU by its 64 bits, and score.
    Picks(Vec<(u64, u32)>),
}

/// One input on which two policies differ; customers and the like are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What both were told.
    pub facts: Facts,
    /// Answer of the one that decides.
    pub incumbent: PolicyAnswer,
    /// Answer of the shadow.
    pub candidate: PolicyAnswer,
}

/// What a shadow's answers are worth, since it became one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DivergenceReport {
    /// Inputs on which both answered.
    pub compared: u64,
    /// Inputs with the same answer.
    pub equal: u64,
    /// Inputs with another one.
    pub different: u64,
    /// Inputs on which the shadow failed.
    pub failed: u64,
    /// Inputs that were not looked at because the queue was full.
    pub dropped: u64,
    /// Orders that one of both refuses or denies and the other does not.
    pub refusals_differ: u64,
    /// Sum of what orders would have cost less what they cost, by currency, in minor units.
    pub money_sum: BTreeMap<Currency, i64>,
    /// Sum of those differences without their sign.
    pub money_abs: BTreeMap<Currency, i64>,
    /// Orders with another total, by currency.
    pub money_orders: BTreeMap<Currency, u64>,
    /// The first inputs with another answer, at most [`EXAMPLES_MAX`].
    pub examples: Vec<Divergence>,
}

impl DivergenceReport {
    /// Returns the mean difference of an order that was compared, in hundredths of minor units.
    pub fn money_per_order(&self, currency: Currency) -> i64 {
        let sum = i128::from(self.money_sum.get(&currency).copied().unwrap_or(0));
        (sum * 100 / i128::from(self.compared.max(1))) as i64
    }

    fn note(&mut self, same: bool, example: impl FnOnce() -> Divergence) {
        self.compared += 1;
        if same {
            self.equal += 1;
            return;
        }
        self.different += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    fn money(&mut self, currency: u32, difference: i64) {
        let currency = u16::try_from(currency).ok().and_then(Currency::from_number);
        let (Some(currency), true) = (currency, difference != 0) else { return };
        let add = |map: &mut BTreeMap<Currency, i64>, amount: i64| {
            let sum = map.entry(currency).or_default();
            *sum = sum.saturating_add(amount);
        };
        add(&mut self.money_sum, difference);
        add(&mut self.money_abs, difference.saturating_abs());
        *self.money_orders.entry(currency).or_default() += 1;
    }
}

/// A report being written.
pub(crate) type Report = Arc<Mutex<DivergenceReport>>;

/// Inputs with the answers that were given, for a shadow to answer too.
pub(crate) enum Job {
    Pricing {
        policy: Arc<Policy<Pricing>>,
        book: Arc<PriceBook>,
        now_ms: u64,
        facts: PricingFacts,
        incumbent: Vec<PriceAnswer>,
    },
    Fraud {
        policy: Arc<Policy<Fraud>>,
        book: Arc<RiskBook>,
        now_ms: u64,
        facts: FraudFacts,
        incumbent: Vec<Risk>,
    },
    Recommend {
        policy: Arc<Policy<Recommend>>,
        now_ms: u64,
        facts: RecommendFacts,
        incumbent: Vec<(u64, u32)>,
    },
}

impl Job {
    fn policy(&self) -> PolicyNo {
        match self {
            Self::Pricing { policy, .. } => policy.no,
            Self::Fraud { policy, .. } => policy.no,
            Self::Recommend { policy, .. } => policy.no,
        }
    }

    fn orders(&self) -> usize {
        match self {
            Self::Pricing { incumbent, .. } => incumbent.len(),
            Self::Fraud { incumbent, .. } => incumbent.len(),
            Self::Recommend { .. } => 1,
        }
    }

    /// Returns what it weighs in the queue.
    fn lines(&self) -> usize {
        match self {
            Self::Pricing { facts, .. } => facts.lines.len(),
            Self::Fraud { facts, .. } => facts.lines.len(),
            Self::Recommend { facts, .. } => facts.items.len() + facts.candidates.len(),
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Lines of all jobs.
    lines: usize,
    /// Whether a job is being worked on.
    busy: bool,
    closed: bool,
}

/// The queue of shadows' jobs, and the reports.
#[derive(Default)]
pub(crate) struct Shadows {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    idle: Condvar,
    reports: Mutex<BTreeMap<PolicyNo, Report>>,
    pub(crate) dropped: AtomicU64,
}

impl Shadows {
    /// Starts the report of a policy anew.
    pub(crate) fn begin(&self, no: PolicyNo) {
        self.reports.lock().insert(no, Report::default());
    }

    /// Starts the report of a policy that has none.
    pub(crate) fn ensure(&self, no: PolicyNo) {
        self.reports.lock().entry(no).or_default();
    }

    /// Forgets the report of a policy.
    pub(crate) fn forget(&self, no: PolicyNo) {
        self.reports.lock().remove(&no);
    }

    pub(crate) fn report(&self, no: PolicyNo) -> Option<DivergenceReport> {
        let report = self.reports.lock().get(&no).cloned()?;
        let report = report.lock().clone();
        Some(report)
    }

    /// Leaves a job to the thread, or counts it as dropped.
    pub(crate) fn offer(&self, job: Job) {
        let mut waiting = self.waiting.lock();
        let lines = waiting.lines + job.lines();
        let room = waiting.jobs.len() < SHADOW_QUEUE_MAX && lines <= SHADOW_LINES_MAX;
        if room && !waiting.closed {
            waiting.lines = lines;
            waiting.jobs.push_back(job);
            drop(waiting);
            self.arrived.notify_one();
            return;
        }
        drop(waiting);
        let orders = job.orders() as u64;
        self.dropped.fetch_add(orders, Ordering::Relaxed);
        let report = self.reports.lock().get(&job.policy()).cloned();
        if let Some(report) = report {
            report.lock().dropped += orders;
        }
    }

    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits until every job that was taken so far is done.
    pub(crate) fn settle(&self) {
        let mut waiting = self.waiting.lock();
        while (!waiting.jobs.is_empty() || waiting.busy) && !waiting.closed {
            self.idle.wait(&mut waiting);
        }
    }

    /// Works on jobs until the queue is closed; those of a job that panics have failed.
    pub(crate) fn work(&self, faults: &Faults, hide: &Pseudonyms<'_>) {
        loop {
            let mut waiting = self.waiting.lock();
            waiting.busy = false;
            if waiting.jobs.is_empty() {
                self.idle.notify_all();
            }
            let job = loop {
                if waiting.closed {
                    self.idle.notify_all();
                    return;
                }
                if let Some(job) = waiting.jobs.pop_front() {
                    waiting.lines -= job.lines();
                    break job;
                }
                self.arrived.wait(&mut waiting);
            };
            waiting.busy = true;
            drop(waiting);
            let report = self.reports.lock().get(&job.policy()).cloned();
            let Some(report) = report else { continue };
            let orders = job.orders() as u64;
            if faults.watch(|| compare(job, &report, hide)).is_none() {
                report.lock().failed += orders;
            }
        }
    }
}

/// Counts orders that the shadow itself did not decide on; returns which it did.
fn decided_itself(report: &Report, made: &[Made]) -> Vec<bool> {
    let own: Vec<bool> = made.iter().map(|made| made.by == By::Plugin).collect();
    let failed = own.iter().filter(|own| !**own).count() as u64;
    report.lock().failed += failed;
    own
}

fn compare(job: Job, report: &Report, hide: &Pseudonyms<'_>) {
    match job {
        Job::Pricing { policy, book, now_ms, facts, incumbent } => {
            let Ok(batch) = facts.batch() else { return };
            let answered = policy.price(now_ms, batch, &book, None);
            let own = decided_itself(report, &answered.made);
            for (order, incumbent) in incumbent.into_iter().enumerate().filter(|(o, _)| own[*o]) {
                let candidate = price_answer(&facts, &answered.answer, order);
                let mut report = report.lock();
                if candidate.refused.is_some() == incumbent.refused.is_some() {
                    let difference = candidate.total - incumbent.total;
                    report.money(facts.headers[order].currency, difference);
                } else {
                    report.refusals_differ += 1;
                }
                report.note(candidate == incumbent, || Divergence {
                    facts: pricing_input(&facts.part(std::iter::once(order)), hide),
                    incumbent: PolicyAnswer::Price(incumbent),
                    candidate: PolicyAnswer::Price(candidate),
                });
            }
        }
        Job::Fraud { policy, book, now_ms, facts, incumbent } => {
            let Ok(batch) = facts.batch() else { return };
            let answered = policy.score(now_ms, batch, &book, None);
            let own = decided_itself(report, &answered.made);
            for (order, incumbent) in incumbent.into_iter().enumerate().filter(|(o, _)| own[*o]) {
                let candidate = answered.answer[order];
                let denies = |risk: &Risk| risk.verdict == onhand_policy::decision::Verdict::Deny;
                let mut report = report.lock();
                report.refusals_differ += u64::from(denies(&candidate) != denies(&incumbent));
                report.note(candidate == incumbent, || Divergence {
                    facts: fraud_input(&facts.part(std::iter::once(order)), hide),
                    incumbent: PolicyAnswer::Risk(incumbent),
                    candidate: PolicyAnswer::Risk(candidate),
                });
            }
        }
        Job::Recommend { policy, now_ms, facts, incumbent } => {
            let Ok(batch) = facts.batch() else { return };
            let answered = policy.pick(now_ms, batch);
            if !decided_itself(report, &answered.made)[0] {
                return;
            }
            let candidate = pairs(&answered.answer);
            report.lock().note(candidate == incumbent, || Divergence {
                facts: recommend_input(&facts, hide),
                incumbent: PolicyAnswer::Picks(incumbent),
                candidate: PolicyAnswer::Picks(candidate),
            });
        }
    }
}

/// Returns picks as SKU and score.
pub(crate) fn pairs(picks: &[Pick]) -> Vec<(u64, u32)> {
    picks.iter().map(|pick| (pick.sku, pick.score)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use onhand_core::{PolicyKind, PolicyNo};

    use super::{Job, Shadows};
    use crate::facts::RecommendFacts;
    use crate::limits::{SHADOW_LINES_MAX, SHADOW_QUEUE_MAX};
    use crate::policy::{Identity, Maker, Policy, Tally};

    /// The queue is full when its jobs are many, and when their lines are.
    #[test]
    fn the_queue_is_bounded_by_jobs_and_lines() {
        let identity = Identity {
            kind: PolicyKind::Recommend,
            name: "shadow".to_owned(),
            version: "1".to_owned(),
            plugin: [0; 32],
            config: [0; 32],
        };
        let (no, maker) = (PolicyNo(1), Maker::BuiltIn);
        let policy = Arc::new(Policy { no, identity, maker, tally: Arc::<Tally>::default() });
        let job = |items: usize| Job::Recommend {
            policy: Arc::clone(&policy),
            now_ms: 0,
            facts: RecommendFacts { items: vec![0; items], ..RecommendFacts::default() },
            incumbent: Vec::new(),
        };
        let dropped = |jobs: usize, items: usize| {
            let shadows = Shadows::default();
            (0..jobs).for_each(|_| shadows.offer(job(items)));
            shadows.dropped.load(Ordering::Relaxed)
        };
        assert_eq!(dropped(SHADOW_QUEUE_MAX, 1), 0);
        assert_eq!(dropped(SHADOW_QUEUE_MAX + 1, 1), 1);
        assert_eq!(dropped(2, SHADOW_LINES_MAX / 2), 0);
        assert_eq!(dropped(3, SHADOW_LINES_MAX / 2), 1);
    }
}
