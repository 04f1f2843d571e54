//! Checks the stages: which members a shape has, their ranges, and their place in time.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{one_of, share};
use super::error::Wrong;
use super::value::{rate, time, time_of_ttl, time_text};
use super::wire::{At, StageWire, Text};
use super::{StageArrivals, StageTerms};
use crate::drive::SECONDS_MAX;
use crate::replay::{Placement, SPEED_MAX, SPEED_MIN};
use crate::schedule::{Form, Rate, Second};

/// Most stages of one scenario.
pub const STAGES_MAX: usize = 64;
/// Longest schedule, all stages together.
const LENGTH_MAX: Duration = Duration::from_secs(SECONDS_MAX);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ramp,
    Hold,
    Flash,
    Trace,
    Max,
}

const KINDS: [(&str, Kind); 5] = [
    ("ramp", Kind::Ramp),
    ("hold", Kind::Hold),
    ("flash", Kind::Flash),
    ("trace", Kind::Trace),
    ("max", Kind::Max),
];

/// Checks all stages; a second wave may wait for reservations of this life.
pub(super) fn stages(wire: &[At<StageWire>], ttl: Duration) -> Result<Vec<StageTerms>, Wrong> {
    let Some(first) = wire.first() else {
        let text = "there is no [[stage]], so nobody would come; a scenario has at least one";
        return Err(Wrong::new(&(0..0), text));
    };
    if wire.len() > STAGES_MAX {
        let text = format!("there are {} stages, at most {STAGES_MAX} are allowed", wire.len());
        return Err(Wrong::new(&first.span, text));
    }
    let mut stages: Vec<StageTerms> = Vec::new();
    let mut last_rate = 0.0;
    let mut total = Duration::ZERO;
    for (at, stage) in wire.iter().enumerate() {
        let terms = one_stage(stage, at, ttl, &mut last_rate)?;
        if matches!(terms.arrivals, StageArrivals::Trace { .. } | StageArrivals::Max)
            && wire.len() > 1
        {
            let shape = terms.arrivals.name();
            let text = format!("a stage of shape {shape:?} stands alone, here are {}", wire.len());
            return Err(Wrong::new(&stage.value.shape.span, text));
        }
        if stages.iter().any(|other| other.name == terms.name) {
            let span = stage.value.name.as_ref().map_or(&stage.span, |name| &name.span);
            return Err(Wrong::new(span, format!("two stages are named {:?}", terms.name)));
        }
        total += terms.length;
        if total > LENGTH_MAX {
            let max = time_text(LENGTH_MAX);
            let text = format!("with this stage the schedule is longer than {max}");
            return Err(Wrong::new(&stage.span, text));
        }
        stages.push(terms);
    }
    Ok(stages)
}

fn one_stage(
    stage: &At<StageWire>,
    at: usize,
    ttl: Duration,
    last: &mut f64,
) -> Result<StageTerms, Wrong> {
    let At { value: wire, span } = stage;
    let kind = one_of("shape", &wire.shape, &KINDS)?;
    refuse_foreign(wire, kind)?;
    let length = match (&wire.length, kind) {
        (None, Kind::Trace) => LENGTH_MAX,
        (None, _) => {
            let text = format!("a stage of shape {:?} needs `for`", wire.shape.value);
            return Err(Wrong::new(span, text));
        }
        (Some(text), _) => length("for", text, LENGTH_MAX)?,
    };
    let seconds = length.as_secs_f64();
    let (arrivals, end) = match kind {
        Kind::Max => (StageArrivals::Max, 0.0),
        Kind::Trace => (trace(wire, span)?, 0.0),
        Kind::Hold => {
            let rate = rate_of("rate", &wire.rate, None, span)?;
            (StageArrivals::Rate(Form::Hold { rate }), rate)
        }
        Kind::Ramp => {
            let from = rate_of("from", &wire.from, Some(*last), span)?;
            let to = rate_of("to", &wire.to, None, span)?;
            (StageArrivals::Rate(Form::Ramp { from, to }), to)
        }
        Kind::Flash => {
            let form = flash(wire, span, seconds, ttl)?;
            let base = if let Form::Flash { base, .. } = form { base } else { 0.0 };
            (StageArrivals::Rate(form), base)
        }
    };
    *last = end;
    let name = match &wire.name {
        None => format!("{}-{}", wire.shape.value, at + 1),
        Some(name) if name.value.is_empty() || name.value.chars().count() > 64 => {
            let text = format!("name has {} characters, outside 1..=64", name.value.len());
            return Err(Wrong::new(&name.span, text));
        }
        Some(name) => name.value.clone(),
    };
    Ok(StageTerms { name, arrivals, length })
}

fn flash(
    wire: &StageWire,
    span: &Range<usize>,
    seconds: f64,
    ttl: Duration,
) -> Result<Form, Wrong> {
    let base = rate_of("base", &wire.base, Some(0.0), span)?;
    let peak = rate_of("peak", &wire.peak, None, span)?;
    if peak < base {
        let text = format!("peak is {peak}/s, below base, which is {base}/s");
        return Err(Wrong::new(wire.peak.as_ref().map_or(span, |peak| &peak.span), text));
    }
    let of = |name: &str, text: &Text, default: f64| match text {
        None => Ok(default),
        Some(text) => length(name, text, LENGTH_MAX).map(|time| time.as_secs_f64()),
    };
    let rise = of("rise", &wire.rise, 0.3)?;
    let half_life = of("half_life", &wire.half_life, 4.0)?;
    let second = match &wire.second_wave {
        None => None,
        Some(second) => {
            let Some(after) = &second.after else {
                return Err(Wrong::new(span, "second_wave needs `after`"));
            };
            let read = time_of_ttl(&after.value, ttl).ok_or_else(|| {
                let want = "want a time such as \"12s\", or \"reservation_ttl + 2s\"";
                Wrong::new(&after.span, format!("after is {:?}, {want}", after.value))
            })?;
            let after_s = read.as_secs_f64();
            if after_s < rise || after_s > seconds {
                let text = format!(
                    "after is {:?} ({after_s} s), not between the rise, {rise} s, and the end of \
                     the stage, {seconds} s",
                    after.value
                );
                return Err(Wrong::new(&after.span, text));
            }
            Some(Second { after: after_s, share: share("share", second.share.as_ref(), 0.3)? })
        }
    };
    Ok(Form::Flash { base, peak, rise, half_life, second })
}

fn trace(wire: &StageWire, span: &Range<usize>) -> Result<StageArrivals, Wrong> {
    let Some(file) = &wire.file else {
        return Err(Wrong::new(span, "a stage of shape \"trace\" needs `file`"));
    };
    let paces = [("recorded", true), ("max", false)];
    let recorded = wire.pace.as_ref().map_or(Ok(true), |pace| one_of("pace", pace, &paces))?;
    let rate = match &wire.rate {
        None => None,
        Some(_) => Some(rate_of("rate", &wire.rate, None, span)?),
    };
    let speed = match &wire.speed {
        None => 1.0,
        Some(speed) if (SPEED_MIN..=SPEED_MAX).contains(&speed.value) => speed.value,
        Some(speed) => {
            let text = format!("speed is {}, outside {SPEED_MIN}..={SPEED_MAX}", speed.value);
            return Err(Wrong::new(&speed.span, text));
        }
    };
    let by = [wire.rate.is_some(), wire.speed.is_some(), !recorded];
    if by.iter().filter(|given| **given).count() > 1 {
        return Err(Wrong::new(span, "give one of rate, speed and pace \"max\""));
    }
    let placements = [Placement::Sku, Placement::Location].map(|by| (by.name(), by));
    let placement = wire.placement.as_ref();
    Ok(StageArrivals::Trace {
        file: PathBuf::from(&file.value),
        speed: (recorded && rate.is_none()).then_some(speed),
        rate,
        orders: wire.orders.as_ref().map(|orders| orders.value),
        placement: placement
            .map_or(Ok(Placement::Sku), |placement| one_of("placement", placement, &placements))?,
        preload: wire.preload.unwrap_or(false),
    })
}

/// Refuses a member that belongs to another shape.
fn refuse_foreign(wire: &StageWire, kind: Kind) -> Result<(), Wrong> {
    let span = |text: &Text| text.as_ref().map(|at| at.span.clone());
    let wave = wire.second_wave.as_ref().map(|wave| {
        let after = span(&wave.after);
        after.or_else(|| wave.share.as_ref().map(|share| share.span.clone())).unwrap_or(0..0)
    });
    let speed = wire.speed.as_ref().map(|speed| speed.span.clone());
    let orders = wire.orders.as_ref().map(|orders| orders.span.clone());
    for (name, span, of) in [
        ("from", span(&wire.from), Kind::Ramp),
        ("to", span(&wire.to), Kind::Ramp),
        ("rate", span(&wire.rate), Kind::Hold),
        ("base", span(&wire.base), Kind::Flash),
        ("peak", span(&wire.peak), Kind::Flash),
        ("rise", span(&wire.rise), Kind::Flash),
        ("half_life", span(&wire.half_life), Kind::Flash),
        ("second_wave", wave, Kind::Flash),
        ("file", span(&wire.file), Kind::Trace),
        ("speed", speed, Kind::Trace),
        ("orders", orders, Kind::Trace),
        ("pace", span(&wire.pace), Kind::Trace),
        ("placement", span(&wire.placement), Kind::Trace),
        ("preload", wire.preload.map(|_| wire.shape.span.clone()), Kind::Trace),
    ] {
        // Both have a rate.
        let shared = name == "rate" && kind == Kind::Trace;
        if let Some(span) = span.filter(|_| of != kind && !shared) {
            let owner = KINDS.iter().find(|(_, kind)| *kind == of).map_or("", |(name, _)| name);
            let shape = &wire.shape.value;
            let text = format!("{name} belongs to shape {owner:?}, this stage has {shape:?}");
            return Err(Wrong::new(&span, text));
        }
    }
    Ok(())
}

fn length(name: &str, text: &At<String>, max: Duration) -> Result<Duration, Wrong> {
    let read = time(&text.value).filter(|time| !time.is_zero() && *time <= max);
    let wrong = || {
        let max = time_text(max);
        format!("{name} is {:?}, want a time above 0s up to {max}, such as \"30s\"", text.value)
    };
    read.ok_or_else(|| Wrong::new(&text.span, wrong()))
}

fn rate_of(
    name: &str,
    text: &Text,
    default: Option<f64>,
    span: &Range<usize>,
) -> Result<f64, Wrong> {
    match (text, default) {
        (Some(At { value, span }), default) => {
            let least = if default.is_none() { "above 0" } else { "0" };
            let fine = |rate: &f64| *rate > 0.0 || default.is_some();
            let max = Rate::PER_SECOND_MAX;
            rate(value).filter(fine).ok_or_else(|| {
                let want = format!("want {least} to {max}/s, such as \"200/s\"");
                Wrong::new(span, format!("{name} is {value:?}, {want}"))
            })
        }
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Wrong::new(span, format!("the stage needs `{name}`"))),
    }
}
