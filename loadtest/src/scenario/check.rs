//! Checks a scenario: ranges, words, and what contradicts what.

use std::time::Duration;

use super::actor::{ACTORS_MAX, Basket, Common, actor, basket, connection_mode, humans};
use super::error::Wrong;
use super::stage::stages;
use super::value::{nearest, time, time_text};
use super::wire::{At, FaultWire, File, StockWire, TargetWire, Text};
use super::{
    Actor, DriveTerms, Fault, FaultAction, Flow, SCHEMA, Scenario, StageArrivals, StockTerms,
};
use crate::crowd::Connections;
use crate::drive::{CONNECTIONS_MAX, LIVE_USERS_MAX, PIPELINE_MAX, THREADS_MAX};
use crate::http::{Authority, HttpVersion, STREAMS_MAX, Trust, Wire};
use crate::load::{AckLevel, TIMEOUT_MAX};
use crate::port::BATCH_ITEMS_MAX;
use crate::results::threshold::THRESHOLDS_MAX;
use crate::schedule::Shape;
use crate::truth::Terms;

/// What the code of the hot SKU ends with.
pub(crate) const HOT_SKU_NAME: &str = "hot";
/// Most units of one SKU.
const UNITS_MAX: u64 = 1_000_000_000;
/// Most further SKUs.
const SKUS_MAX: u64 = 100_000;
/// Longest life of a reservation.
const TTL_MAX: Duration = Duration::from_hours(30 * 24);
/// Largest price in minor units.
const PRICE_MAX: u64 = 1_000_000_000_000;
/// Most groups of requests with times of their own: stages times steps of all actors, accepted and
/// refused. A group takes half a megabyte.
const GROUPS_MAX: usize = 512;
/// Most thresholds, and most faults.
const LIST_MAX: usize = 256;

/// Checks a file and makes the scenario of it; `named` is its name if it has none of its own.
pub(super) fn check(file: &File, named: &str) -> Result<Scenario, Wrong> {
    if file.schema.value != SCHEMA {
        let text = format!("schema is {}, this build reads {SCHEMA}", file.schema.value);
        return Err(Wrong::new(&file.schema.span, text));
    }
    let name = name(file, named)?;
    let ttl = span_of_time("ttl", &file.reservation.ttl, Duration::from_secs(2), TTL_MAX)?;
    let mode = file.target.mode.as_ref();
    let common = Common {
        connections: mode
            .map_or(Ok(Connections::KeepAlive), |mode| connection_mode("mode", mode))?,
        basket: basket(&file.basket, Basket::default())?,
        ttl,
    };
    let mut actors = Vec::new();
    for (actor_name, wire) in &file.actor {
        if actors.len() >= ACTORS_MAX {
            let text = format!("more than {ACTORS_MAX} actors");
            return Err(Wrong::new(&wire.span, text));
        }
        actors.push(actor(actor_name, wire, &common)?);
    }
    if actors.is_empty() {
        actors = humans(&common);
    }
    let shapes = [("poisson", Shape::Poisson), ("uniform", Shape::Uniform)];
    let shape = file.arrivals.shape.as_ref();
    let live = Within { name: "live_users", default: 100_000, min: 1, max: LIVE_USERS_MAX as u64 };
    let most = u64::from(u32::MAX);
    let customers = Within { name: "count", default: 10_000, min: 0, max: most };
    let skew = Duration::from_millis(Terms::EXPIRY_SKEW_MS);
    let scenario = Scenario {
        name,
        description: file.description.as_ref().map_or(String::new(), |d| d.value.clone()),
        text: String::new(),
        seed: file.seed.as_ref().map(|seed| seed.value),
        url: url(&file.target)?,
        command: command(&file.target)?,
        key_env: file.target.key_env.as_ref().map_or("ONHAND_KEY".into(), |env| env.value.clone()),
        notes: Vec::new(),
        truth: file.truth.check.unwrap_or(true),
        wire: wire(&file.target)?,
        slo: slo(file)?,
        faults: faults(&file.fault)?,
        drive: drive(&file.target)?,
        stock: stock(&file.stock)?,
        customers: whole(file.customers.count.as_ref(), customers)? as u32,
        ttl,
        shape: shape.map_or(Ok(Shape::Poisson), |shape| one_of("shape", shape, &shapes))?,
        live_users: whole(file.arrivals.live_users.as_ref(), live)? as usize,
        stages: stages(&file.stage, ttl)?,
        actors,
        expiry_skew: span_of_time("hold_expiry_skew", &file.truth.hold_expiry_skew, skew, TTL_MAX)?,
        allowed: file.truth.allowed(),
        #[cfg(feature = "workers")]
        steady: None,
    };
    for (expression, bound) in &file.slo {
        let text = format!("{expression} {}", bound.value.trim());
        let read = scenario.threshold(&text);
        read.map_err(|error| Wrong::new(&bound.span, error.to_string()))?;
    }
    let notes = contradictions(file, &scenario)?;
    Ok(Scenario { notes, ..scenario })
}

fn name(file: &File, named: &str) -> Result<String, Wrong> {
    let fine = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        (1..=64).contains(&name.len()) && name.bytes().all(allowed)
    };
    match &file.name {
        Some(name) if fine(&name.value) => Ok(name.value.clone()),
        Some(name) => {
            let want = "want 1 to 64 characters of A-Z a-z 0-9 _ . -";
            Err(Wrong::new(&name.span, format!("name is {:?}, {want}", name.value)))
        }
        None if fine(named) => Ok(named.to_owned()),
        None => Ok("scenario".to_owned()),
    }
}

fn url(target: &TargetWire) -> Result<Option<String>, Wrong> {
    let Some(url) = &target.url else { return Ok(None) };
    if url.value != "inproc" {
        Authority::parse(&url.value).map_err(|e| Wrong::new(&url.span, e.to_string()))?;
    }
    Ok(Some(url.value.clone()))
}

fn wire(target: &TargetWire) -> Result<Wire, Wrong> {
    let versions = HttpVersion::ALL.map(|http| (http.name(), http));
    let http = target.http.as_ref();
    let default = Wire::default();
    let (most, usual) = (STREAMS_MAX as u64, default.streams as u64);
    let streams = Within { name: "streams", default: usual, min: 1, max: most };
    Ok(Wire {
        http: http.map_or(Ok(default.http), |http| one_of("http", http, &versions))?,
        streams: whole(target.streams.as_ref(), streams)? as usize,
        trust: target
            .tls
            .ca
            .as_ref()
            .map_or(Trust::System, |ca| Trust::Ca(ca.value.clone().into())),
    })
}

fn command(target: &TargetWire) -> Result<Option<Vec<String>>, Wrong> {
    let Some(At { value: words, span }) = &target.command else { return Ok(None) };
    let wrong = |text: &str| Err(Wrong::new(span, text.to_owned()));
    if target.url.is_some() {
        return wrong("command starts a host, url names one that is running: leave one out");
    }
    if words.first().is_none_or(String::is_empty) || words.len() > LIST_MAX {
        return wrong("command is empty or has over 256 words, want a program and its arguments");
    }
    let named = |mark: &str| words.iter().any(|word| word.contains(mark));
    if !named("{listen}") && !named("{port}") {
        return wrong("command has neither {listen} nor {port}, so the host can't be told where");
    }
    Ok(Some(words.clone()))
}

fn drive(target: &TargetWire) -> Result<DriveTerms, Wrong> {
    let acks = [AckLevel::Memory, AckLevel::Group, AckLevel::Strict].map(|ack| (ack.name(), ack));
    let ack = target.ack.as_ref();
    let within = |name, value: &Option<At<u64>>, default, max: usize| {
        let range = Within { name, default, min: 1, max: max as u64 };
        whole(value.as_ref(), range).map(|number| number as usize)
    };
    Ok(DriveTerms {
        ack: ack.map_or(Ok(AckLevel::Group), |ack| one_of("ack", ack, &acks))?,
        connections: within("connections", &target.connections, 64, CONNECTIONS_MAX)?,
        threads: within("threads", &target.threads, 1, THREADS_MAX)?,
        batch: within("batch", &target.batch, 1, BATCH_ITEMS_MAX)?,
        pipeline: within("pipeline", &target.pipeline, 1, PIPELINE_MAX)?,
        timeout: span_of_time("timeout", &target.timeout, Duration::from_secs(10), TIMEOUT_MAX)?,
    })
}

fn stock(wire: &StockWire) -> Result<StockTerms, Wrong> {
    let within = |name, value: &Option<At<u64>>, default, min, max| {
        whole(value.as_ref(), Within { name, default, min, max })
    };
    let skus = within("skus", &wire.skus, 20, 0, SKUS_MAX)? as u32;
    let limit = within("hot_limit", &wire.hot_limit, 0, 0, UNITS_MAX)? as u32;
    let currency = match &wire.currency {
        None => "EUR".to_owned(),
        Some(At { value, span }) => {
            if value.len() != 3 || !value.bytes().all(|b| b.is_ascii_uppercase()) {
                let text = format!("currency is {value:?}, want a code such as EUR");
                return Err(Wrong::new(span, text));
            }
            value.clone()
        }
    };
    let keys = &wire.keys;
    let s = keys.s.as_ref();
    if let Some(At { value, span }) = s.filter(|s| !(0.0..=10.0).contains(&s.value)) {
        return Err(Wrong::new(span, format!("s is {value}, outside 0..=10")));
    }
    let dist = keys.dist.as_ref();
    let zipf =
        dist.map_or(Ok(true), |d| one_of("dist", d, &[("zipf", true), ("uniform", false)]))?;
    let hot_share = share("hot_sku_share", keys.hot_sku_share.as_ref(), 0.8)?;
    Ok(StockTerms {
        skus,
        units: within("units", &wire.units, 1_000_000, 1, UNITS_MAX)? as u32,
        hot_units: within("hot_units", &wire.hot_units, 10_000, 1, UNITS_MAX)? as u32,
        hot_limit: (limit > 0).then_some(limit),
        currency,
        price: within("price", &wire.price, 1_999, 0, PRICE_MAX)? as i64,
        zipf: if zipf { s.map_or(1.1, |s| s.value) } else { 0.0 },
        hot_share: if skus == 0 { 1.0 } else { hot_share },
    })
}

fn slo(file: &File) -> Result<Vec<(String, String)>, Wrong> {
    let mut list = Vec::new();
    for (expression, bound) in &file.slo {
        let operator = ["<=", ">=", "==", "!=", "<", ">"]
            .iter()
            .find(|operator| bound.value.trim().starts_with(**operator));
        let Some(operator) = operator else {
            let text = format!("the bound is {:?}, want such as \"<50ms\" or \"==0\"", bound.value);
            return Err(Wrong::new(&bound.span, text));
        };
        if bound.value.trim().len() == operator.len() {
            let text = format!("the bound is {:?}, without a value", bound.value);
            return Err(Wrong::new(&bound.span, text));
        }
        if list.len() >= THRESHOLDS_MAX {
            return Err(Wrong::new(&bound.span, format!("more than {THRESHOLDS_MAX} thresholds")));
        }
        list.push((expression.clone(), bound.value.trim().to_owned()));
    }
    Ok(list)
}

fn faults(wire: &[At<FaultWire>]) -> Result<Vec<Fault>, Wrong> {
    let known = FaultAction::ALL.map(|action| (action.name(), action));
    let mut faults = Vec::new();
    for At { value: fault, span } in wire {
        if faults.len() >= LIST_MAX {
            return Err(Wrong::new(span, format!("more than {LIST_MAX} faults")));
        }
        let at = time(&fault.at.value).ok_or_else(|| {
            let text = format!("at is {:?}, want a time such as \"25s\"", fault.at.value);
            Wrong::new(&fault.at.span, text)
        })?;
        let length = match &fault.length {
            None => None,
            some => Some(span_of_time("for", some, Duration::ZERO, TTL_MAX)?),
        };
        let action = one_of("do", &fault.action, &known)?;
        let share = share("share", fault.share.as_ref(), 1.0)?;
        let off = action.is_of_host() || share <= 0.0;
        if let Some(given) = fault.share.as_ref().filter(|_| off) {
            let text = format!("share is {share}, want above 0 to 1, and of callbacks only");
            return Err(Wrong::new(&given.span, text));
        }
        faults.push(Fault { at, action, length, share });
    }
    faults.sort_by_key(|fault| fault.at);
    Ok(faults)
}

/// Refuses faults that nothing would come of.
fn fault_contradictions(file: &File, scenario: &Scenario) -> Result<(), Wrong> {
    let places = scenario.actors.iter().any(|actor| actor.flow.contains(&Flow::Place));
    let traced = matches!(scenario.stages[0].arrivals, StageArrivals::Trace { .. });
    for At { value: fault, span } in &file.fault {
        let of_host = FaultAction::ALL
            .iter()
            .any(|action| action.name() == fault.action.value && action.is_of_host());
        if !of_host && (!places || traced) {
            let text = format!("{}: no actor places a reservation", fault.action.value);
            return Err(Wrong::new(&fault.action.span, text));
        }
        if of_host && scenario.url.is_some() {
            let text = format!(
                "{} needs a host that the load tester starts: name its command instead of url",
                fault.action.value
            );
            return Err(Wrong::new(span, text));
        }
        let at = time(&fault.at.value).unwrap_or_default();
        if let Some(length) = scenario.length().filter(|length| at >= *length) {
            let (at, length) = (&fault.at.value, time_text(length));
            let text = format!("at is {at:?}, but the last stage ends at {length}");
            return Err(Wrong::new(&fault.at.span, text));
        }
    }
    Ok(())
}

/// Refuses what can't be run; returns what can be, but not as it is written.
fn contradictions(file: &File, scenario: &Scenario) -> Result<Vec<String>, Wrong> {
    let mut notes = Vec::new();
    let span = |name: &str| file.actor.get(name).map_or(0..0, |actor| actor.span.clone());
    let grouped = scenario.drive.batch * scenario.drive.pipeline > 1;
    // Actors play no part in a trace.
    let actors = if scenario.is_trace() { &[][..] } else { &scenario.actors };
    for actor in actors {
        let Actor { name, flow, connections, .. } = actor;
        let looks = [Flow::Browse, Flow::Quote, Flow::Poll];
        if scenario.drive.batch > 1 && flow.iter().any(|step| looks.contains(step)) {
            let text =
                format!("actor {name} only looks in a step, which can be no item of a batch");
            return Err(Wrong::new(&span(name), text));
        }
        if grouped && *connections != Connections::KeepAlive {
            let text = format!(
                "actor {name} wants connections of its own, but requests are \
                                sent in groups: leave batch and pipeline at 1"
            );
            return Err(Wrong::new(&span(name), text));
        }
        if scenario.url.as_deref() == Some("inproc") && flow.contains(&Flow::Quote) {
            let text = format!("actor {name} asks for a quote, which needs a host");
            return Err(Wrong::new(&span(name), text));
        }
        let unserved = |step: &Flow| matches!(step, Flow::Sale | Flow::Enter);
        if flow.iter().all(unserved) {
            let text = format!("actor {name} has no step that Onhand serves");
            return Err(Wrong::new(&span(name), text));
        }
        if flow.iter().any(unserved) {
            notes.push(format!(
                "actor {name} waits in a line (sale, enter), but Onhand serves none yet: these \
                 steps are left out"
            ));
        }
    }
    let steps = |actor: &Actor| {
        let mut flow = actor.flow.clone();
        flow.sort_unstable_by_key(|step| *step as u8);
        flow.dedup();
        flow.len()
    };
    let groups = scenario.stages.len() * scenario.actors.iter().map(steps).sum::<usize>() * 2;
    if groups > GROUPS_MAX {
        let (stages, actors) = (scenario.stages.len(), scenario.actors.len());
        let text = format!(
            "{stages} stages and the steps of {actors} actors make {groups} groups of requests, at \
             most {GROUPS_MAX} are allowed"
        );
        return Err(Wrong::new(&file.stage.first().map_or(0..0, |stage| stage.span.clone()), text));
    }
    let traced = matches!(scenario.stages[0].arrivals, StageArrivals::Trace { .. });
    if traced && !file.actor.is_empty() {
        notes.push("actors play no part in a trace: its orders are sent as recorded".to_owned());
    }
    fault_contradictions(file, scenario)?;
    Ok(notes)
}

/// The range of a whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within {
    pub(super) name: &'static str,
    pub(super) default: u64,
    pub(super) min: u64,
    pub(super) max: u64,
}

/// Reads a whole number in its range.
pub(super) fn whole(value: Option<&At<u64>>, within: Within) -> Result<u64, Wrong> {
    let Within { name, default, min, max } = within;
    match value {
        None => Ok(default),
        Some(at) if (min..=max).contains(&at.value) => Ok(at.value),
        Some(At { value, span }) => {
            Err(Wrong::new(span, format!("{name} is {value}, outside {min}..={max}")))
        }
    }
}

/// Reads a share from 0 to 1.
pub(super) fn share(name: &str, value: Option<&At<f64>>, default: f64) -> Result<f64, Wrong> {
    match value {
        None => Ok(default),
        Some(at) if (0.0..=1.0).contains(&at.value) => Ok(at.value),
        Some(At { value, span }) => {
            Err(Wrong::new(span, format!("{name} is {value}, outside 0..=1")))
        }
    }
}

/// Reads one of some words.
pub(super) fn one_of<T: Copy>(
    name: &str,
    word: &At<String>,
    known: &[(&str, T)],
) -> Result<T, Wrong> {
    let found = known.iter().find(|(text, _)| *text == word.value);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words = || known.iter().map(|(text, _)| *text);
        let all: Vec<_> = words().collect();
        let hint = nearest(&word.value, words()).map_or_else(
            || format!("want one of {}", all.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        Wrong::new(&word.span, format!("{name} is {:?}; {hint}", word.value))
    })
}

/// Reads a time above 0 up to a maximum.
fn span_of_time(
    name: &str,
    text: &Text,
    default: Duration,
    max: Duration,
) -> Result<Duration, Wrong> {
    let Some(At { value, span }) = text else { return Ok(default) };
    let read = time(value).filter(|time| !time.is_zero() && *time <= max);
    read.ok_or_else(|| {
        let max = time_text(max);
        Wrong::new(span, format!("{name} is {value:?}, want a time above 0s up to {max}"))
    })
}
