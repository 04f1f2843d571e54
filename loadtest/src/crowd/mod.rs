//! The crowd: who comes and what each does.
//!
//! User `n` is a pure function of the seed and `n`: role, customer, baskets, keys and think times
//! are drawn from streams of their own, so the same seed sends the same requests whatever the order
//! of the answers. Only what depends on an answer differs: the order's id, and which steps follow.

mod callbacks;
mod user;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::drive::{Arrival, Pacer, Plan, Step};
use crate::error::LoadError;
use crate::op::{AskLine, Op, OpKind, Planned};
use crate::rng::{Rng, Zipf};
use crate::scenario::{Actor, Basket, Flow, Think};
use crate::schedule::Curve;
use crate::wire::push_number;

pub(crate) use callbacks::{Callbacks, Fate};
pub(crate) use user::{Connections, Heard, User};

/// Index of the hot SKU in the catalogue.
pub(crate) const HOT: u32 = 0;
/// Index of the SKU that never has stock.
pub(crate) const GONE: u32 = 1;
/// Index of the first further SKU.
pub(crate) const FURTHER: u32 = 2;

/// Room for a number and a mark before it.
const NUMBER_BYTES: usize = 12;

/// Time after which a request without an answer is sent again, as by somebody who loads a page anew.
pub(crate) const RESEND_AFTER: Duration = Duration::from_millis(500);

/// Streams of random numbers that one user draws from, each for one purpose.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Stream {
    Who = 0x57_48_4F,
    Basket = 0x42_41_53_4B,
    Click = 0x43_4C_49_43_4B,
    Think = 0x54_48_49_4E_4B,
    Callback = 0x43_41_4C_4C,
}

/// What the crowd buys and when it comes.
pub(crate) struct CastTerms {
    pub(crate) seed: u64,
    /// Prefix of keys.
    pub(crate) run: String,
    pub(crate) actors: Vec<Actor>,
    /// Further SKUs.
    pub(crate) skus: u32,
    pub(crate) zipf: f64,
    pub(crate) hot_share: f64,
    /// Customers to draw from; 0 makes every user one of its own.
    pub(crate) customers: u32,
    pub(crate) ttl: Duration,
    /// Payments that are lost or doubled.
    pub(crate) callbacks: Arc<Callbacks>,
    /// The rates; `None` in the closed loop.
    pub(crate) curve: Option<Arc<Curve>>,
    pub(crate) pacer: Arc<Pacer>,
    /// When everybody who is still there is sent home.
    pub(crate) leave_by: Option<Duration>,
}

/// The crowd of a scenario.
pub(crate) struct Cast {
    terms: CastTerms,
    zipf: Zipf,
    /// Sums of the actors' weights.
    cumulated: Vec<f64>,
}

impl Cast {
    pub(crate) fn new(terms: CastTerms) -> Self {
        let mut sum = 0.0;
        let cumulated = terms
            .actors
            .iter()
            .map(|actor| {
                sum += actor.weight;
                sum
            })
            .collect();
        Self { zipf: Zipf::new(terms.skus, terms.zipf), terms, cumulated }
    }

    /// Returns the random numbers of one purpose, of one user, at one of its steps.
    fn draw(&self, stream: Stream, user: u64, step: u64) -> Rng {
        let seed = Rng::of_item(self.terms.seed ^ stream as u64, user).bits();
        Rng::of_item(seed, step)
    }

    /// Makes the user of a number.
    fn user(&self, number: u64) -> User {
        let mut rng = self.draw(Stream::Who, number, 0);
        let total = self.cumulated.last().copied().unwrap_or(1.0);
        let point = rng.unit() * total;
        let role = self.cumulated.partition_point(|sum| *sum <= point);
        let role = role.min(self.terms.actors.len().saturating_sub(1));
        User::new(number, role as u8, self.terms.actors[role].connections)
    }

    fn customer(&self, user: &User, actor: &Actor) -> String {
        let mut rng = self.draw(Stream::Who, user.number, 1);
        let (prefix, own, number) = match (actor.customers, self.terms.customers) {
            (0, 0) => ("u", "", user.number),
            (0, common) => ("c", "", rng.below(common.into())),
            (own, _) => (actor.name.as_str(), "-", rng.below(own.into())),
        };
        let mut name = String::with_capacity(prefix.len() + own.len() + NUMBER_BYTES);
        name.push_str(prefix);
        name.push_str(own);
        push_number(&mut name, number);
        name
    }

    fn basket(&self, user: &User, basket: &Basket) -> Vec<AskLine> {
        // A user wants the same basket however often it tries.
        let mut rng = self.draw(Stream::Basket, user.number, 0);
        let between = |(low, high): (u32, u32), rng: &mut Rng| {
            low + rng.below(u64::from(high - low) + 1) as u32
        };
        let count = between(basket.lines, &mut rng);
        let mut lines: Vec<AskLine> = Vec::new();
        for _ in 0..count {
            let hot = rng.chance(self.terms.hot_share);
            let rank = self.zipf.draw(&mut rng);
            let sku = if hot { HOT } else { FURTHER + rank };
            let quantity = between(basket.units, &mut rng);
            // One line a SKU: who draws it twice wants it once.
            if lines.iter().all(|line| line.sku != sku) {
                lines.push(AskLine { sku, quantity, location: 0, price: None });
            }
        }
        if rng.chance(basket.in_vain) {
            lines.push(AskLine { sku: GONE, quantity: 1, location: 0, price: None });
        }
        lines
    }

    /// Returns whether a user clicks twice in a step, and whether at the same moment.
    fn clicks_twice(&self, user: &User, actor: &Actor) -> (bool, bool) {
        if actor.double_click <= 0.0 {
            return (false, false);
        }
        let mut rng = self.draw(Stream::Click, user.number, user.at as u64);
        (rng.chance(actor.double_click), rng.chance(0.5))
    }

    fn think(&self, user: &User, actor: &Actor) -> Duration {
        match actor.think {
            Think::Fixed(time) => time,
            Think::LogNormal(median, sigma) => {
                let step = (user.at as u64) << 8 | u64::from(user.tries);
                let mut rng = self.draw(Stream::Think, user.number, step);
                let seconds = median.as_secs_f64() * (sigma * rng.normal()).exp();
                Duration::try_from_secs_f64(seconds).map_or(Think::MAX, |t| t.min(Think::MAX))
            }
        }
    }

    fn op(&self, user: &User, actor: &Actor, kind: OpKind) -> Op {
        let lines = match kind {
            OpKind::Buy | OpKind::Reserve | OpKind::Quote | OpKind::Browse => {
                self.basket(user, &actor.basket)
            }
            _ => Vec::new(),
        };
        let named = kind.makes_order() || kind == OpKind::Quote;
        let mut key = String::with_capacity(self.terms.run.len() + 2 * NUMBER_BYTES);
        key.push_str(&self.terms.run);
        for number in [user.number, user.at as u64] {
            key.push('-');
            push_number(&mut key, number);
        }
        Op {
            kind,
            key,
            customer: if named { self.customer(user, actor) } else { String::new() },
            lines,
            ttl_ms: self.terms.ttl.as_millis() as u64,
            order: if named { 0 } else { user.order.unwrap_or(0) },
        }
    }

    /// Returns the requests of an order: clicks, tabs and tries differ in their keys and intents.
    fn order(&self, user: &User, actor: &Actor, kind: OpKind) -> Vec<Planned> {
        let (twice, at_once) = self.clicks_twice(user, actor);
        let doubled = twice && at_once && !user.clicked;
        let mut asks = Vec::with_capacity(actor.tabs as usize * (1 + usize::from(doubled)));
        for tab in 0..actor.tabs {
            let mut op = self.op(user, actor, kind);
            for (mark, number) in [("-r", user.tries), ("-t", tab)] {
                if number > 0 {
                    op.key.push_str(mark);
                    push_number(&mut op.key, number);
                }
            }
            let intent = intent(user, tab);
            if doubled {
                asks.push(Planned { intent, op: op.clone() });
            }
            asks.push(Planned { intent, op });
        }
        asks
    }

    /// Returns the next step of a user's flow that can be taken, from where it stands at `now`.
    fn step(&self, user: &mut User, now: Duration) -> Option<Step> {
        let actor = &self.terms.actors[usize::from(user.role)];
        loop {
            let held = user.order.is_some();
            let kind = match *actor.flow.get(user.at)? {
                Flow::Browse => Some(OpKind::Browse),
                Flow::Quote => Some(OpKind::Quote),
                Flow::Buy => Some(OpKind::Buy),
                Flow::Reserve => Some(OpKind::Reserve),
                Flow::Place => Some(OpKind::Place).filter(|_| held && user.reserved),
                Flow::Release => Some(OpKind::Release).filter(|_| held && user.reserved),
                Flow::Cancel => Some(OpKind::Cancel).filter(|_| held && !user.reserved),
                Flow::Poll => Some(OpKind::Poll).filter(|_| held),
                Flow::Sale | Flow::Enter => None,
            };
            let Some(kind) = kind else {
                user.at += 1;
                continue;
            };
            let after = self.wait(user, actor, kind);
            let fate = match kind {
                // What was sent once is sent again as it was.
                OpKind::Place if user.resent == 0 => {
                    let mut rng = self.draw(Stream::Callback, user.number, user.at as u64);
                    self.terms.callbacks.fate(now + after, rng.unit())
                }
                _ => Fate::Sent,
            };
            if fate == Fate::Dropped {
                user.at += 1;
                continue;
            }
            let mut asks = if kind.makes_order() {
                self.order(user, actor, kind)
            } else {
                let op = self.op(user, actor, kind);
                vec![Planned { intent: intent(user, 0), op }]
            };
            if fate == Fate::Doubled {
                asks.extend(asks.clone());
            }
            return Some(Step { after, asks });
        }
    }

    /// Returns the time from the last answer to a step.
    fn wait(&self, user: &User, actor: &Actor, kind: OpKind) -> Duration {
        if user.resent > 0 {
            return RESEND_AFTER;
        }
        let wait = match kind {
            OpKind::Place => actor.pay_after,
            OpKind::Cancel => actor.cancel_after,
            _ => None,
        };
        match wait {
            Some(wait) => wait,
            // The first step is the arrival itself; a second click follows at once.
            None if user.new || user.clicked => Duration::ZERO,
            None => self.think(user, actor),
        }
    }

    /// Takes in the answers of a step; returns whether the user goes on.
    fn hear(&self, user: &mut User, kind: OpKind, heard: &[Heard]) -> bool {
        let actor = &self.terms.actors[usize::from(user.role)];
        user.new = false;
        let success = heard.iter().any(Heard::is_success);
        let lost = heard.iter().any(|heard| heard.lost);
        if lost && !success && user.resent < actor.resends {
            user.resent += 1;
            return true;
        }
        user.resent = 0;
        if !kind.makes_order() {
            if success && kind == OpKind::Place {
                user.reserved = false;
            }
            if success && matches!(kind, OpKind::Release | OpKind::Cancel) {
                user.order = None;
            }
            user.at += 1;
            return true;
        }
        let (twice, at_once) = self.clicks_twice(user, actor);
        if success {
            let first = heard.iter().find_map(|heard| heard.order.filter(|_| heard.is_success()));
            // What follows is about the latest order; a second click hears of the same one.
            user.order = first.or(user.order);
            user.reserved = kind == OpKind::Reserve;
            if twice && !at_once && !user.clicked {
                // The second click, after the first answer: the same request once more.
                user.clicked = true;
                return true;
            }
        } else if heard.iter().any(|heard| heard.code == "sold_out") && user.tries < actor.retries {
            user.tries += 1;
            return true;
        } else if user.order.is_none() {
            return false;
        }
        (user.clicked, user.tries) = (false, 0);
        user.at += 1;
        true
    }
}

impl Plan for Cast {
    fn arrive(&self, now: Duration) -> Result<Option<Arrival>, LoadError> {
        let Some((number, start)) = self.terms.pacer.next(now) else { return Ok(None) };
        let mut user = self.user(number);
        let step = self.step(&mut user, start.unwrap_or(now));
        let step =
            step.ok_or_else(|| LoadError::usage("an actor has no step that can be taken"))?;
        Ok(Some(Arrival { start, user, step }))
    }

    fn next(
        &self,
        user: &mut User,
        asked: &[Rc<Planned>],
        heard: &[Heard],
        now: Duration,
    ) -> Option<Step> {
        let kind = asked.first()?.op.kind;
        if self.hear(user, kind, heard) { self.step(user, now) } else { None }
    }

    fn leave_by(&self) -> Option<Duration> {
        self.terms.leave_by
    }

    fn stage_at(&self, due: Duration) -> u8 {
        self.terms.curve.as_ref().map_or(0, |curve| curve.stage_at(due.as_secs_f64()) as u8)
    }
}

/// Returns the intent of a user's order: number, step, try and tab.
const fn intent(user: &User, tab: u32) -> u64 {
    user.number << 16 | (user.at as u64) << 11 | (user.tries as u64) << 4 | tab as u64
}

#[cfg(test)]
mod tests;
