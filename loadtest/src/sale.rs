//! Runs a scenario with a catalogue of its own: stocks it, lets the crowd in, checks the truth.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::crowd::{Callbacks, Cast, CastTerms, FURTHER, HOT, RESEND_AFTER};
use crate::drive::{Pacer, Plan, Share, runtime};
use crate::error::LoadError;
use crate::load::{GRACE, LoadOptions, LoadReport, Phase, Prepared, execute};
use crate::op::{Catalogue, RunSku};
use crate::scenario::{HOT_SKU_NAME, Scenario, StageArrivals, Think};
use crate::schedule::{Arrivals, Curve};
use crate::session::{Definition, IMPORT_LINES_MAX, ListPrice, Session, StockLine};
use crate::truth::Terms;

/// Location that all stock is put in.
pub(crate) const LOCATION: u32 = 1;
/// Longest time that users have to finish after the schedule and its grace.
const TAIL_MAX: Duration = Duration::from_hours(1);

/// Runs the load and checks the truth; `run` is the prefix of SKU codes and keys.
pub(crate) fn run(
    scenario: &Scenario,
    load: &mut LoadOptions,
    run: &str,
) -> Result<LoadReport, LoadError> {
    let started = SystemTime::now();
    let (catalogue, after) = runtime()?.block_on(set_up(scenario, load, run))?;
    let mut prepared = prepare(scenario, load.seed, run, catalogue, Share::ALL);
    (prepared.started, prepared.after) = (started, after);
    execute(load, &prepared)
}

/// Makes the crowd of a scenario, or one share of it, for stock that is put in already.
pub(crate) fn prepare(
    scenario: &Scenario,
    seed: u64,
    run: &str,
    catalogue: Catalogue,
    share: Share,
) -> Prepared {
    let length: Duration = scenario.stages.iter().map(|stage| stage.length).sum();
    let curve = curve(scenario).map(Arc::new);
    let arrivals = |curve: &Arc<Curve>| Arrivals::new(Arc::clone(curve), scenario.shape, seed);
    let arrivals = curve.as_ref().map(arrivals);
    let pacer = Arc::new(Pacer::of_arrivals(arrivals, Some(length), GRACE).of_share(share));
    let callbacks = Arc::new(Callbacks::new(&scenario.faults));
    let plan: Arc<dyn Plan> = Arc::new(Cast::new(CastTerms {
        seed,
        run: run.to_owned(),
        actors: scenario.actors.clone(),
        skus: scenario.stock.skus,
        zipf: scenario.stock.zipf,
        hot_share: scenario.stock.hot_share,
        customers: scenario.customers,
        ttl: scenario.ttl,
        callbacks: Arc::clone(&callbacks),
        curve: curve.clone(),
        pacer: Arc::clone(&pacer),
        leave_by: Some(length + GRACE + tail(scenario)),
    }));
    Prepared {
        scenario: scenario.name.clone(),
        catalogue: Arc::new(catalogue),
        plan,
        pacer,
        open_loop: curve.is_some(),
        length: Some(length),
        after: 0,
        started: SystemTime::now(),
        live_users: share.of(scenario.live_users),
        actors: scenario.actors.iter().map(|actor| (actor.name.clone(), actor.kind)).collect(),
        terms: Terms {
            started_ms: 0,
            hot: Some(HOT),
            expiry_skew_ms: scenario.expiry_skew.as_millis() as u64,
            allowed: scenario.allowed.clone(),
            outages: Vec::new(),
        },
        callbacks,
    }
}

/// Returns the SKUs of a scenario's run.
pub(crate) fn catalogue(scenario: &Scenario, run: &str) -> Catalogue {
    let stock = &scenario.stock;
    let mut catalogue = Catalogue::default();
    let fixed =
        [(HOT_SKU_NAME.to_owned(), stock.hot_limit, stock.hot_units), ("gone".to_owned(), None, 0)];
    assert_eq!(fixed.len(), FURTHER as usize);
    let further = (1..=stock.skus).map(|n| (format!("{n}"), None, stock.units));
    for (at, (code, limit, units)) in (0_i64..).zip(fixed.into_iter().chain(further)) {
        let (code, price) = (format!("{run}-{code}"), stock.price + at);
        catalogue.add(RunSku { code, limit, price, put_in: units.into() });
    }
    catalogue
}

/// Returns the rates of a scenario; `None` for the closed loop.
pub(crate) fn curve(scenario: &Scenario) -> Option<Curve> {
    let forms = scenario.stages.iter().map(|stage| match stage.arrivals {
        StageArrivals::Rate(form) => Some((form, stage.length.as_secs_f64())),
        StageArrivals::Trace { .. } | StageArrivals::Max => None,
    });
    Some(Curve::new(forms.collect::<Option<Vec<_>>>()?))
}

/// Returns how long the slowest users still need after the last one came.
fn tail(scenario: &Scenario) -> Duration {
    let of_actor = |actor: &crate::scenario::Actor| {
        let waits = [actor.pay_after, actor.cancel_after].into_iter().flatten();
        let think = match actor.think {
            Think::Fixed(time) => time,
            // One in a thousand thinks longer than three deviations.
            Think::LogNormal(median, sigma) => {
                median.mul_f64((3.0 * sigma).exp().min(1e3)).min(Think::MAX)
            }
        };
        let steps = (actor.flow.len() as u32).saturating_add(actor.retries);
        let resends = RESEND_AFTER * actor.resends;
        waits.sum::<Duration>().saturating_add(think.saturating_mul(steps)).saturating_add(resends)
    };
    scenario.actors.iter().map(of_actor).max().unwrap_or(Duration::ZERO).min(TAIL_MAX)
}

/// Defines the SKUs and puts the stock in; returns the position before the first event.
async fn set_up(
    scenario: &Scenario,
    load: &mut LoadOptions,
    run: &str,
) -> Result<(Catalogue, u64), LoadError> {
    let begun = Instant::now();
    load.tell_phase(Phase::Setup, begun.elapsed());
    let mut session = load.session()?;
    let stock = &scenario.stock;
    let catalogue = catalogue(scenario, run);
    let hot = &catalogue.sku(HOT).code;
    if session.knows(hot).await? {
        return Err(LoadError::usage(format!(
            "the host has the SKU {hot} of an earlier run; choose another --seed or --run"
        )));
    }
    let mut after = u64::MAX;
    for sku in catalogue.skus() {
        let price = ListPrice { amount: sku.price, currency: stock.currency.clone() };
        let (code, limit) = (sku.code.as_str(), sku.limit);
        let seq = session.define(&Definition { code, price: &price, limit, placement: "" }).await?;
        after = after.min(seq.saturating_sub(1));
    }
    put_stock_in(&mut session, &catalogue, run).await?;
    Ok((catalogue, after))
}

async fn put_stock_in(
    session: &mut Session,
    catalogue: &Catalogue,
    run: &str,
) -> Result<(), LoadError> {
    let lines: Vec<StockLine> = (0_u32..)
        .zip(catalogue.skus())
        .filter(|(_, sku)| sku.put_in > 0)
        .map(|(index, sku)| StockLine {
            sku: index,
            location: LOCATION,
            quantity: sku.put_in as u32,
        })
        .collect();
    for (at, chunk) in lines.chunks(IMPORT_LINES_MAX).enumerate() {
        session.import(&format!("{run}-stock-{at}"), chunk, catalogue).await?;
    }
    Ok(())
}
