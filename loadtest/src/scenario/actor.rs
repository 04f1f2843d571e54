//! Kinds of users: their habits, and how a scenario changes them.

use std::ops::Range;
use std::time::Duration;

use super::check::{Within, one_of, share, whole};
use super::error::Wrong;
use super::value::{time, time_of_ttl, time_text};
use super::wire::{ActorWire, At, BasketWire, ThinkWire};
use crate::crowd::Connections;

/// Most kinds of users of one scenario.
pub const ACTORS_MAX: usize = 64;
/// Most steps of a flow.
const STEPS_MAX: usize = 32;
/// Longest think time, and longest wait before a payment or a cancellation.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// A step of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Browse,
    Quote,
    Buy,
    Reserve,
    Place,
    Release,
    Cancel,
    Poll,
    /// Looks at the sale; needs a waiting line.
    Sale,
    /// Joins the line; needs one.
    Enter,
}

const FLOW: [(&str, Flow); 10] = [
    ("browse", Flow::Browse),
    ("quote", Flow::Quote),
    ("buy", Flow::Buy),
    ("reserve", Flow::Reserve),
    ("place", Flow::Place),
    ("release", Flow::Release),
    ("cancel", Flow::Cancel),
    ("poll", Flow::Poll),
    ("sale", Flow::Sale),
    ("enter", Flow::Enter),
];

/// Time between an answer and the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Think {
    /// Always the same.
    Fixed(Duration),
    /// By the log-normal distribution: the median, and the deviation of the logarithm.
    LogNormal(Duration, f64),
}

impl Think {
    /// Longest think time that is drawn.
    pub(crate) const MAX: Duration = WAIT_MAX;
}

/// What a basket holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Basket {
    pub(crate) lines: (u32, u32),
    pub(crate) units: (u32, u32),
    /// Share of baskets with a further line that never had stock.
    pub(crate) in_vain: f64,
}

impl Default for Basket {
    fn default() -> Self {
        Self { lines: (1, 1), units: (1, 1), in_vain: 0.0 }
    }
}

/// One kind of user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) kind: ActorKind,
    pub(crate) weight: f64,
    pub(crate) think: Think,
    pub(crate) flow: Vec<Flow>,
    pub(crate) double_click: f64,
    pub(crate) tabs: u32,
    pub(crate) retries: u32,
    /// How often it sends again, with the same key, what got no answer.
    pub(crate) resends: u32,
    pub(crate) connections: Connections,
    /// Wait before `place`; `None` thinks as before every step.
    pub(crate) pay_after: Option<Duration>,
    /// Wait before `cancel`.
    pub(crate) cancel_after: Option<Duration>,
    /// Customers of its own; 0 for the common ones.
    pub(crate) customers: u32,
    pub(crate) basket: Basket,
}

/// Habits that an actor takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// Looks, thinks, buys.
    Human,
    /// Buys at once, again and again, from few customers' accounts.
    Bot,
    /// Sends its order twice with the same key.
    DoubleClicker,
    /// Orders in several tabs, each with a key of its own.
    TabDuplicator,
    /// Reserves and leaves.
    Abandoner,
    /// Reserves and pays after the deadline.
    SlowPayer,
    /// Buys and cancels.
    Canceller,
    /// Reserves and gives the reservation up.
    Releaser,
}

impl ActorKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Human,
        Self::Bot,
        Self::DoubleClicker,
        Self::TabDuplicator,
        Self::Abandoner,
        Self::SlowPayer,
        Self::Canceller,
        Self::Releaser,
    ];

    /// Returns the name that scenarios use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Bot => "bot",
            Self::DoubleClicker => "double-clicker",
            Self::TabDuplicator => "tab-duplicator",
            Self::Abandoner => "abandoner",
            Self::SlowPayer => "slow-payer",
            Self::Canceller => "canceller",
            Self::Releaser => "releaser",
        }
    }

    /// Returns its habits as a scenario would write them.
    pub const fn habits(self) -> &'static str {
        match self {
            Self::Human => "flow = [\"browse\", \"buy\"], think = { lognormal = [\"1.2s\", 0.6] }",
            Self::Bot => "flow = [\"buy\"], retries = 3, customers = 20",
            Self::DoubleClicker => "flow = [\"buy\"], double_click = 1.0",
            Self::TabDuplicator => "flow = [\"buy\"], tabs = 2",
            Self::Abandoner => "flow = [\"reserve\"]",
            Self::SlowPayer => {
                "flow = [\"reserve\", \"place\"], pay_after = \"reservation_ttl + 2s\""
            }
            Self::Canceller => "flow = [\"buy\", \"cancel\"]",
            Self::Releaser => "flow = [\"reserve\", \"release\"]",
        }
    }

    fn actor(self, name: &str, common: &Common) -> Actor {
        let mut actor = Actor {
            name: name.to_owned(),
            kind: self,
            weight: 1.0,
            think: Think::Fixed(Duration::ZERO),
            flow: vec![Flow::Buy],
            double_click: 0.0,
            tabs: 1,
            retries: 0,
            resends: 0,
            connections: common.connections,
            pay_after: None,
            cancel_after: None,
            customers: 0,
            basket: common.basket,
        };
        match self {
            Self::Human => {
                actor.flow = vec![Flow::Browse, Flow::Buy];
                actor.think = Think::LogNormal(Duration::from_millis(1_200), 0.6);
            }
            Self::Bot => (actor.retries, actor.customers) = (3, 20),
            Self::DoubleClicker => actor.double_click = 1.0,
            Self::TabDuplicator => actor.tabs = 2,
            Self::Abandoner => actor.flow = vec![Flow::Reserve],
            Self::SlowPayer => {
                actor.flow = vec![Flow::Reserve, Flow::Place];
                actor.pay_after = Some(common.ttl.saturating_add(Duration::from_secs(2)));
            }
            Self::Canceller => actor.flow = vec![Flow::Buy, Flow::Cancel],
            Self::Releaser => actor.flow = vec![Flow::Reserve, Flow::Release],
        }
        actor
    }
}

/// What all actors share unless they say otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) connections: Connections,
    pub(super) basket: Basket,
    pub(super) ttl: Duration,
}

/// Checks one actor.
pub(super) fn actor(name: &str, wire: &At<ActorWire>, common: &Common) -> Result<Actor, Wrong> {
    let span = &wire.span;
    let wire = &wire.value;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
        let want = "want 1 to 32 characters of A-Z a-z 0-9 _ -";
        return Err(Wrong::new(span, format!("actor is named {name:?}, {want}")));
    }
    let kinds = ActorKind::ALL.map(|kind| (kind.name(), kind));
    let own = kinds.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kind = match &wire.kind {
        Some(kind) => one_of("as", kind, &kinds)?,
        None => own.unwrap_or(ActorKind::Human),
    };
    let mut actor = kind.actor(name, common);
    if let Some(weight) = &wire.weight {
        if !(weight.value > 0.0 && weight.value <= 1e6) {
            let text = format!("weight is {}, outside above 0 to 1000000", weight.value);
            return Err(Wrong::new(&weight.span, text));
        }
        actor.weight = weight.value;
    }
    if let Some(think) = &wire.think {
        actor.think = think_time(think)?;
    }
    if let Some(flow) = &wire.flow {
        actor.flow = steps(flow, span)?;
    }
    actor.double_click = share("double_click", wire.double_click.as_ref(), actor.double_click)?;
    let within = |name, value, default: u32, min, max| {
        let default = u64::from(default);
        whole(value, Within { name, default, min, max }).map(|number| number as u32)
    };
    actor.tabs = within("tabs", wire.tabs.as_ref(), actor.tabs, 1, 16)?;
    actor.retries = within("retries", wire.retries.as_ref(), actor.retries, 0, 100)?;
    actor.resends = within("resends", wire.resends.as_ref(), actor.resends, 0, 100)?;
    let most = u64::from(u32::MAX);
    actor.customers = within("customers", wire.customers.as_ref(), actor.customers, 0, most)?;
    if let Some(mode) = &wire.connections {
        actor.connections = connection_mode("connections", mode)?;
    }
    actor.pay_after = wait("pay_after", wire.pay_after.as_ref(), common.ttl)?.or(actor.pay_after);
    actor.cancel_after = wait("cancel_after", wire.cancel_after.as_ref(), common.ttl)?;
    if let Some(basket_wire) = &wire.basket {
        actor.basket = basket(basket_wire, common.basket)?;
    }
    Ok(actor)
}

/// Returns the actors of a scenario that names none: humans.
pub(super) fn humans(common: &Common) -> Vec<Actor> {
    vec![ActorKind::Human.actor("human", common)]
}

/// Reads how users use connections.
pub(super) fn connection_mode(name: &str, mode: &At<String>) -> Result<Connections, Wrong> {
    let known = [
        ("keep-alive", Connections::KeepAlive),
        ("per-user", Connections::PerUser),
        ("per-request", Connections::PerRequest),
    ];
    one_of(name, mode, &known)
}

/// Checks what a basket holds.
pub(super) fn basket(wire: &BasketWire, default: Basket) -> Result<Basket, Wrong> {
    let pair = |name: &str, pair: Option<&At<[u64; 2]>>, default: (u32, u32), max: u64| {
        let Some(At { value: [low, high], span }) = pair else { return Ok(default) };
        if !(1 <= *low && low <= high && *high <= max) {
            let text = format!("{name} is [{low}, {high}], outside [1, {max}] or not ascending");
            return Err(Wrong::new(span, text));
        }
        Ok((*low as u32, *high as u32))
    };
    Ok(Basket {
        lines: pair("lines", wire.lines.as_ref(), default.lines, 64)?,
        units: pair("units", wire.units.as_ref(), default.units, 1_000)?,
        in_vain: share("in_vain", wire.in_vain.as_ref(), default.in_vain)?,
    })
}

fn steps(flow: &[At<String>], span: &Range<usize>) -> Result<Vec<Flow>, Wrong> {
    if flow.is_empty() || flow.len() > STEPS_MAX {
        let text = format!("flow has {} steps, outside 1..={STEPS_MAX}", flow.len());
        return Err(Wrong::new(flow.first().map_or(span, |step| &step.span), text));
    }
    let mut steps = Vec::with_capacity(flow.len());
    for word in flow {
        let step = one_of("step", word, &FLOW)?;
        let before = |wanted: &[Flow]| steps.iter().any(|step| wanted.contains(step));
        let missing = match step {
            Flow::Place | Flow::Release if !before(&[Flow::Reserve]) => "reserve",
            Flow::Cancel if !before(&[Flow::Buy, Flow::Place]) => "buy or place",
            Flow::Poll if !before(&[Flow::Buy, Flow::Reserve]) => "buy or reserve",
            _ => "",
        };
        if !missing.is_empty() {
            let text = format!("step {:?} needs an earlier step {missing}", word.value);
            return Err(Wrong::new(&word.span, text));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn think_time(think: &At<ThinkWire>) -> Result<Think, Wrong> {
    let wrong = |what: String| Wrong::new(&think.span, what);
    let read = |text: &str| {
        let short = time(text).filter(|time| *time <= WAIT_MAX);
        let max = time_text(WAIT_MAX);
        short.ok_or_else(|| wrong(format!("think is {text:?}, want a time from 0s to {max}")))
    };
    match &think.value {
        ThinkWire::Fixed(text) => Ok(Think::Fixed(read(text)?)),
        ThinkWire::Drawn(drawn) => {
            let (median, sigma) = &drawn.lognormal;
            if !(0.0..=5.0).contains(sigma) {
                return Err(wrong(format!("sigma of lognormal is {sigma}, outside 0..=5")));
            }
            Ok(Think::LogNormal(read(median)?, *sigma))
        }
    }
}

fn wait(name: &str, text: Option<&At<String>>, ttl: Duration) -> Result<Option<Duration>, Wrong> {
    let Some(At { value, span }) = text else { return Ok(None) };
    let short = time_of_ttl(value, ttl).filter(|time| *time <= WAIT_MAX);
    let max = time_text(WAIT_MAX);
    let text = || {
        format!("{name} is {value:?}, want a time from 0s to {max}, or \"reservation_ttl + 2s\"")
    };
    short.map(Some).ok_or_else(|| Wrong::new(span, text()))
}
