//! A policy as the desk asks it: a plugin, the built-in one, or one whose file is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use onhand_core::{PolicyKind, PolicyNo, SkuId};
use onhand_plugin_runtime::{
    By, FailureKind, Fraud, Held, Histogram, Made, OnFailure, Plugin, Pricing, Recommend, World,
};
use onhand_policy::decision::{
    Adjustment, PriceOutcome, Prices, Risk, Score, Verdict, check_prices, check_scores,
};
use onhand_policy::fact::{FraudBatch, PricingBatch};
use onhand_policy::fraud::{Rules, Thresholds, default_rules};
use onhand_policy::pricing::PriceList;

use crate::limits::REVIEW_MS;

/// Who a policy is; two with the same plugin and configuration are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it decides about.
    pub kind: PolicyKind,
    /// Name.
    pub name: String,
    /// Version as its maker writes it.
    pub version: String,
    /// BLAKE3 of the plugin's component; of its name for a built-in.
    pub plugin: [u8; 32],
    /// BLAKE3 of its configuration.
    pub config: [u8; 32],
}

/// Built-in prices with the shop's classes of goods.
#[derive(Clone, Debug, Default)]
pub(crate) struct PriceBook {
    pub(crate) prices: PriceList,
    /// Look-ups only.
    pub(crate) classes: HashMap<SkuId, u32>,
}

/// Built-in fraud rules.
#[derive(Clone, Debug)]
pub(crate) struct RiskBook {
    pub(crate) rules: Rules,
    pub(crate) review_ms: u64,
}

impl Default for RiskBook {
    fn default() -> Self {
        let rules = Rules::new(default_rules(), Thresholds::default());
        Self { rules: rules.expect("default rules are in range"), review_ms: REVIEW_MS.default }
    }
}

/// Who makes the decisions of a policy.
pub(crate) enum Maker<W: World> {
    /// The built-in policy.
    BuiltIn,
    /// A plugin.
    Plugin(Plugin<W>),
    /// Nobody: its file is missing or was refused at the start.
    Absent { on_failure: OnFailure, why: String },
}

/// A policy of one world, with what it has done since the desk was opened.
pub(crate) struct Policy<W: World> {
    pub(crate) no: PolicyNo,
    pub(crate) identity: Identity,
    pub(crate) maker: Maker<W>,
    /// Kept over every new installation, so that its figures only ever grow.
    pub(crate) tally: Arc<Tally>,
}

/// Running totals of a policy.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) calls: AtomicU64,
    pub(crate) orders: AtomicU64,
    pub(crate) by: [AtomicU64; 4],
    pub(crate) refused: AtomicU64,
    pub(crate) failures: [AtomicU64; FailureKind::ALL.len()],
    pub(crate) time: Histogram,
}

impl Tally {
    fn note(&self, made: &[Made], refused: usize, nanoseconds: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.orders.fetch_add(made.len() as u64, Ordering::Relaxed);
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
        self.time.add(nanoseconds, 1);
        // Counted here first: mostly all orders are alike, and a shared counter is dear.
        let mut by = [0; 4];
        for one in made {
            by[one.by as usize] += 1;
            if let Some(failure) = one.failure {
                self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        for (sum, count) in self.by.iter().zip(by).filter(|(_, count)| *count > 0) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Answers of a policy on a batch.
pub(crate) struct Answered<A> {
    pub(crate) answer: A,
    pub(crate) made: Vec<Made>,
    pub(crate) nanoseconds: u64,
}

const fn made(by: By) -> Made {
    Made { by, fuel: 0, failure: None }
}

const fn absent(on_failure: OnFailure) -> Made {
    made(match on_failure {
        OnFailure::BuiltIn => By::BuiltIn,
        OnFailure::FailOpen => By::FailOpen,
        OnFailure::FailClosed => By::FailClosed,
    })
}

impl PriceBook {
    fn raw(&self, batch: &PricingBatch<'_>) -> Vec<Adjustment> {
        let mut raw = Vec::new();
        self.prices.price(batch, &mut raw);
        raw
    }
}

impl<W: World> Policy<W> {
    /// Returns the plugin that is called; `None` where none is.
    pub(crate) const fn plugin(&self) -> Option<&Plugin<W>> {
        match &self.maker {
            Maker::Plugin(plugin) => Some(plugin),
            Maker::BuiltIn | Maker::Absent { .. } => None,
        }
    }

    /// Returns how long one call of the plugin may take; `None` where none is called.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.plugin().map(|plugin| Duration::from_millis(plugin.limits().deadline_ms))
    }

    /// Returns the plugin's latest failure with all details.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.plugin()?.last_failure().map(|failure| failure.to_string())
    }

    /// Returns why the policy cannot be asked itself.
    pub(crate) const fn absent(&self) -> Option<&str> {
        match &self.maker {
            Maker::Absent { why, .. } => Some(why.as_str()),
            Maker::BuiltIn | Maker::Plugin(_) => None,
        }
    }
}

impl Policy<Pricing> {
    /// Prices a batch; `book` is the built-in policy. A plugin is called by its instance that is
    /// `held`, if one is.
    pub(crate) fn price(
        &self,
        now_ms: u64,
        batch: PricingBatch<'_>,
        book: &PriceBook,
        held: Option<&mut Held<'_, Pricing>>,
    ) -> Answered<Prices> {
        let start = Instant::now();
        let orders = batch.headers().len();
        let (answer, made) = match &self.maker {
            Maker::Plugin(plugin) => {
                let built_in = &mut |batch: PricingBatch<'_>| book.raw(&batch);
                let decided = match held {
                    Some(held) => held.decide(now_ms, batch, built_in),
                    None => plugin.decide(now_ms, batch, built_in),
                };
                (decided.answer, decided.made)
            }
            Maker::BuiltIn => checked_prices(batch, &book.raw(&batch), made(By::Plugin)),
            Maker::Absent { on_failure, .. } => {
                let made = absent(*on_failure);
                match on_failure {
                    OnFailure::BuiltIn => checked_prices(batch, &book.raw(&batch), made),
                    OnFailure::FailOpen => (Pricing::pass(batch), vec![made; orders]),
                    OnFailure::FailClosed => (Pricing::close(batch), vec![made; orders]),
                }
            }
        };
        let refused = |outcome: &&PriceOutcome| matches!(outcome, PriceOutcome::Refused { .. });
        let refused = answer.outcomes.iter().filter(refused).count();
        let nanoseconds = start.elapsed().as_nanos() as u64;
        self.tally.note(&made, refused, nanoseconds);
        Answered { answer, made, nanoseconds }
    }
}

fn checked_prices(batch: PricingBatch<'_>, raw: &[Adjustment], by: Made) -> (Prices, Vec<Made>) {
    let orders = batch.headers().len();
    match check_prices(&batch, raw) {
        Ok(prices) => (prices, vec![by; orders]),
        // A built-in answer that breaks a rule is a bug; nobody is left who could decide.
        Err(_) => (Pricing::close(batch), vec![made(By::FailClosed); orders]),
    }
}

impl Policy<Fraud> {
    /// Scores a batch; `book` is the built-in policy. A plugin is called by its instance that is
    /// `held`, if one is.
    pub(crate) fn score(
        &self,
        now_ms: u64,
        batch: FraudBatch<'_>,
        book: &RiskBook,
        held: Option<&mut Held<'_, Fraud>>,
    ) -> Answered<Vec<Risk>> {
        let start = Instant::now();
        let orders = batch.headers().len();
        let raw = |batch: &FraudBatch<'_>| -> Vec<Score> {
            let mut raw = Vec::with_capacity(orders);
            book.rules.score(batch, &mut raw);
            raw
        };
        let (answer, made) = match &self.maker {
            Maker::Plugin(plugin) => {
                let built_in = &mut |batch: FraudBatch<'_>| raw(&batch);
                let decided = match held {
                    Some(held) => held.decide(now_ms, batch, built_in),
                    None => plugin.decide(now_ms, batch, built_in),
                };
                (decided.answer, decided.made)
            }
            Maker::BuiltIn => checked_risks(batch, &raw(&batch), made(By::Plugin)),
            Maker::Absent { on_failure, .. } => {
                let made = absent(*on_failure);
                match on_failure {
                    OnFailure::BuiltIn => checked_risks(batch, &raw(&batch), made),
                    OnFailure::FailOpen => (Fraud::pass(batch), vec![made; orders]),
                    OnFailure::FailClosed => (Fraud::close(batch), vec![made; orders]),
                }
            }
        };
        let refused = answer.iter().filter(|risk| risk.verdict == Verdict::Deny).count();
        let nanoseconds = start.elapsed().as_nanos() as u64;
        self.tally.note(&made, refused, nanoseconds);
        Answered { answer, made, nanoseconds }
    }
}

fn checked_risks(batch: FraudBatch<'_>, raw: &[Score], by: Made) -> (Vec<Risk>, Vec<Made>) {
    let orders = batch.headers().len();
    match check_scores(&batch, raw) {
        Ok(risks) => (risks, vec![by; orders]),
        Err(_) => (Fraud::close(batch), vec![made(By::FailClosed); orders]),
    }
}

impl Policy<Recommend> {
    /// Picks for a batch; nothing where the plugin fails, which the built-in list fills up.
    pub(crate) fn pick(
        &self,
        now_ms: u64,
        batch: onhand_policy::fact::RecommendBatch<'_>,
    ) -> Answered<Vec<onhand_policy::decision::Pick>> {
        let start = Instant::now();
        let requests = batch.requests().len();
        let (answer, made) = match &self.maker {
            Maker::Plugin(plugin) => {
                let decided = plugin.decide(now_ms, batch, &mut |_| Vec::new());
                (decided.answer, decided.made)
            }
            Maker::BuiltIn => (Vec::new(), vec![made(By::Plugin); requests]),
            Maker::Absent { on_failure, .. } => (Vec::new(), vec![absent(*on_failure); requests]),
        };
        let nanoseconds = start.elapsed().as_nanos() as u64;
        self.tally.note(&made, 0, nanoseconds);
        Answered { answer, made, nanoseconds }
    }
}

/// A policy of any world.
#[derive(Clone)]
pub(crate) enum AnyPolicy {
    Pricing(Arc<Policy<Pricing>>),
    Fraud(Arc<Policy<Fraud>>),
    Recommend(Arc<Policy<Recommend>>),
}

impl AnyPolicy {
    /// Returns the plugin's latest failure with all details.
    pub(crate) fn last_failure(&self) -> Option<String> {
        match self {
            Self::Pricing(policy) => policy.last_failure(),
            Self::Fraud(policy) => policy.last_failure(),
            Self::Recommend(policy) => policy.last_failure(),
        }
    }
}
