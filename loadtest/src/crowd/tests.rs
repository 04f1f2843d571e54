//! The crowd is a function of the seed, and each kind of user does what it is named for.

use super::*;
use crate::load::GRACE;
use crate::scenario::Scenario;

fn cast(toml: &str, seed: u64) -> Cast {
    let head = "schema = 1\n[[stage]]\nshape = \"max\"\nfor = \"1s\"\n";
    let scenario = Scenario::read(&format!("{head}{toml}"), "t.toml").expect("it is a scenario");
    let curve = Curve::hold(10_000.0);
    Cast::new(CastTerms {
        seed,
        run: "t".into(),
        actors: scenario.actors,
        skus: scenario.stock.skus,
        zipf: scenario.stock.zipf,
        hot_share: scenario.stock.hot_share,
        customers: scenario.customers,
        ttl: scenario.ttl,
        callbacks: Arc::new(Callbacks::new(&scenario.faults)),
        curve: Some(Arc::new(curve)),
        pacer: Arc::new(Pacer::of_arrivals(None, None, GRACE)),
        leave_by: None,
    })
}

/// Plays a user to its end against answers; returns each step with its wait.
fn play(cast: &Cast, number: u64, answer: impl Fn(usize, &Planned) -> Heard) -> Vec<Step> {
    let mut user = cast.user(number);
    let mut next = cast.step(&mut user, Duration::ZERO);
    let mut steps = Vec::new();
    while let Some(step) = next {
        let asks: Vec<_> = step.asks.iter().cloned().map(Rc::new).collect();
        let heard: Vec<_> = asks.iter().map(|ask| answer(steps.len(), ask)).collect();
        steps.push(step);
        assert!(steps.len() < 200, "user {number} never leaves");
        next = cast.next(&mut user, &asks, &heard, Duration::ZERO);
    }
    steps
}

fn yes(_: usize, planned: &Planned) -> Heard {
    let order = planned.op.kind.makes_order().then_some(u128::from(planned.intent) + 1);
    Heard { code: "", order, lost: false }
}

fn sold_out(_: usize, planned: &Planned) -> Heard {
    let code = if planned.op.kind.makes_order() { "sold_out" } else { "" };
    Heard { code, order: None, lost: false }
}

fn kinds(steps: &[Step]) -> Vec<OpKind> {
    steps.iter().flat_map(|step| step.asks.iter().map(|ask| ask.op.kind)).collect()
}

const MIX: &str = "
[actor.human]
weight = 5
[actor.bot]
[actor.double-clicker]
[actor.tab-duplicator]
[actor.abandoner]
[actor.slow-payer]
[actor.canceller]
[actor.releaser]
[basket]
lines = [1, 3]
units = [1, 2]
in_vain = 0.1
";

/// The same seed gives every user the same steps, in whatever order users are played; another
/// seed gives others. What differs with the answers is the order's id alone.
#[test]
fn the_seed_alone_decides_the_requests() {
    let (one, two) = (cast(MIX, 7), cast(MIX, 7));
    let forwards: Vec<_> = (0..500).map(|number| play(&one, number, yes)).collect();
    let mut backwards: Vec<_> = (0..500).rev().map(|number| play(&two, number, yes)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let other = cast(MIX, 8);
    assert!((0..500).any(|number| play(&other, number, yes) != forwards[number as usize]));
    for number in 0..500 {
        let again = play(&one, number, |at, planned| {
            let order = yes(at, planned).order.map(|order| order + 1_000_000_000);
            Heard { order, ..yes(at, planned) }
        });
        let blind = |steps: &[Step]| {
            let mut steps = steps.to_vec();
            steps.iter_mut().flat_map(|step| &mut step.asks).for_each(|ask| ask.op.order = 0);
            steps
        };
        assert_eq!(blind(&again), blind(&forwards[number as usize]));
    }
}

/// No two intents of a crowd share a key, and no two keys an intent.
#[test]
fn keys_and_intents_agree() {
    let cast = cast(MIX, 3);
    let mut intents = std::collections::BTreeMap::new();
    for number in 0..2_000 {
        for step in play(&cast, number, |at, p| if at < 2 { sold_out(at, p) } else { yes(at, p) }) {
            for ask in step.asks {
                let key = intents.entry(ask.intent).or_insert_with(|| ask.op.key.clone());
                assert_eq!(*key, ask.op.key);
            }
        }
    }
    let mut keys: Vec<_> = intents.values().collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), intents.len());
}

/// Every kind of user does what it is named for.
#[test]
fn every_kind_has_its_habits() {
    use OpKind::{Browse, Buy, Cancel, Place, Release, Reserve};
    let of = |toml: &str, number: u64| play(&cast(toml, 1), number, yes);
    assert_eq!(kinds(&of("[actor.human]", 0)), [Browse, Buy]);
    assert_eq!(kinds(&of("[actor.bot]", 0)), [Buy]);
    assert_eq!(kinds(&of("[actor.abandoner]", 0)), [Reserve]);
    assert_eq!(kinds(&of("[actor.releaser]", 0)), [Reserve, Release]);
    assert_eq!(kinds(&of("[actor.canceller]", 0)), [Buy, Cancel]);
    let slow = of("[actor.slow-payer]\n[reservation]\nttl = \"3s\"", 0);
    assert_eq!(kinds(&slow), [Reserve, Place]);
    assert_eq!(slow[1].after, Duration::from_secs(5));
    assert!(slow[1].asks[0].op.order > 0);
    let tabs = of("[actor.tab-duplicator]", 0);
    assert_eq!(tabs[0].asks.len(), 2);
    assert_ne!(tabs[0].asks[0].op.key, tabs[0].asks[1].op.key);
    assert_eq!(tabs[0].asks[0].op.lines, tabs[0].asks[1].op.lines);
    // A double click is the same request twice: at the same moment, or after the first answer.
    let (mut at_once, mut after) = (0, 0);
    for number in 0..100 {
        let clicks = of("[actor.double-clicker]", number);
        let asks: Vec<_> = clicks.iter().flat_map(|step| &step.asks).collect();
        assert!(asks.len() == 2 && asks[0] == asks[1], "{clicks:?}");
        *(if clicks.len() == 1 { &mut at_once } else { &mut after }) += 1;
    }
    assert!(at_once > 20 && after > 20, "{at_once} and {after}");
}

/// Who is sold out leaves, or tries again with new keys as often as it is told to.
#[test]
fn retries_end() {
    let cast = cast("[actor.bot]\nretries = 2", 1);
    let steps = play(&cast, 9, sold_out);
    let keys: Vec<_> = steps.iter().map(|step| step.asks[0].op.key.as_str()).collect();
    assert_eq!(keys, ["t-9-0", "t-9-0-r1", "t-9-0-r2"]);
    let lost = play(&cast, 9, |_, _| Heard { lost: true, ..Heard::default() });
    assert_eq!(lost.len(), 1);
}

/// Weights, shares and think times come out as asked.
#[test]
fn shares_come_out_as_asked() {
    let toml = "
[actor.human]
weight = 3
think = { lognormal = [\"2s\", 0.5] }
[actor.bot]
weight = 1
[basket]
in_vain = 0.25
";
    let cast = cast(toml, 5);
    let count = 4_000;
    let mut bots = 0.0;
    let (mut hot, mut vain, mut thinks) = (0.0, 0.0, Vec::new());
    for number in 0..count {
        let steps = play(&cast, number, yes);
        bots += f64::from(u8::from(steps.len() == 1));
        let lines = &steps.last().expect("a user has steps").asks[0].op.lines;
        hot += f64::from(u8::from(lines[0].sku == HOT));
        vain += f64::from(u8::from(lines.last().is_some_and(|line| line.sku == GONE)));
        thinks.extend(steps.get(1).map(|step| step.after));
    }
    let near = |got: f64, want: f64| assert!((got - want).abs() < 0.03, "{got} for {want}");
    near(bots / count as f64, 0.25);
    near(hot / count as f64, 0.8);
    near(vain / count as f64, 0.25);
    thinks.sort_unstable();
    near(thinks[thinks.len() / 2].as_secs_f64() / 2.0, 1.0);
    // 84.1 % of a normal distribution lie below one deviation.
    let high = thinks[thinks.len() * 841 / 1_000].as_secs_f64();
    near(high / (2.0 * 0.5_f64.exp()), 1.0);
}

/// What got no answer is sent again as it was, half a second later, as often as the habit says; an
/// answer ends it.
#[test]
fn lost_requests_are_sent_again_as_they_were() {
    let cast = cast("[actor.payer]\nresends = 2\nflow = [\"reserve\", \"place\"]\n", 5);
    let lost = Heard { code: "", order: None, lost: true };
    let steps =
        play(&cast, 1, |at, planned| if at < 2 || at == 3 { lost } else { yes(at, planned) });
    let wanted = [OpKind::Reserve, OpKind::Reserve, OpKind::Reserve, OpKind::Place, OpKind::Place];
    assert_eq!(kinds(&steps), wanted);
    assert!(steps[1].asks == steps[0].asks && steps[2].asks == steps[0].asks);
    assert_eq!(steps[4].asks, steps[3].asks);
    let waits: Vec<_> = [1, 2, 4].map(|at: usize| steps[at].after).to_vec();
    assert_eq!(waits, [RESEND_AFTER; 3]);
    let never = play(&cast, 1, |_, _| lost);
    assert_eq!(kinds(&never), [OpKind::Reserve; 3]);
}

/// Who orders twice pays for the order that it has just reserved, not for the one before.
#[test]
fn a_payment_is_about_the_latest_order() {
    for flow in [r#"["buy", "reserve", "place"]"#, r#"["reserve", "place", "reserve", "place"]"#] {
        let cast = cast(&format!("[actor.human]\nflow = {flow}\nthink = \"0s\"\n"), 1);
        let steps = play(&cast, 7, yes);
        for pair in steps.windows(2) {
            let [reserve, place] = pair else { continue };
            if place.asks[0].op.kind == OpKind::Place {
                assert_eq!(reserve.asks[0].op.kind, OpKind::Reserve);
                let reserved = u128::from(reserve.asks[0].intent) + 1;
                assert_eq!(place.asks[0].op.order, reserved, "{flow}");
            }
        }
        assert_eq!(kinds(&steps).last(), Some(&OpKind::Place), "{flow}");
    }
}
