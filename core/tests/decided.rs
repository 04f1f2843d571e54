//! What policies decide is recorded with the order, guards it, and is found again.

mod common;

use std::sync::Arc;

use common::{accept, define, receive, run, sku, units};
use onhand_core::{
    Aggregate, Buy, Command, CustomerId, Decided, DecidedBy, Engine, EventKind, Fill,
    FraudDecision, Key, Line, LinePrice, ManualClock, OrderId, OrderStatus, Place, PolicyDecision,
    PolicyKind, PolicyNo, PolicyRefusal, PolicyStep, Receipt, RecordRisk, Refusal, Reject, Reply,
    Reserve, Risk, Step, Timestamp,
};

fn policy(key: &str, kind: PolicyKind, config: u8, step: Step) -> Command {
    Command::PolicyStep(Box::new(PolicyStep {
        key: Key::from_text(key),
        kind,
        step,
        name: format!("shop/{}", kind.name()),
        version: "1.0".to_owned(),
        plugin: [1; 32],
        config: [config; 32],
        share: 0,
        note: format!("{} for the test", step.name()),
    }))
}

fn number(reply: &Reply) -> u16 {
    match &reply.outcome {
        Ok(Receipt::Policy(receipt)) => receipt.policy.0,
        other => panic!("{other:?}"),
    }
}

const PRICING: PolicyNo = PolicyNo(1);
const FRAUD: PolicyNo = PolicyNo(2);

fn shop(engine: &Engine) {
    accept(engine, define("MUG", None));
    accept(engine, receive("r", "MUG", 10));
    let pricing = policy("p", PolicyKind::Pricing, 0, Step::Activated);
    assert_eq!(number(&accept(engine, pricing)), PRICING.0);
    let fraud = policy("f", PolicyKind::Fraud, 0, Step::Activated);
    assert_eq!(number(&accept(engine, fraud)), FRAUD.0);
}

fn decision(policy: PolicyNo) -> PolicyDecision {
    PolicyDecision { policy, by: DecidedBy::Policy, fuel: 1_234, input: 0xFEED }
}

fn decided(risk: Risk) -> Decided {
    let fraud = FraudDecision { decision: decision(FRAUD), risk, points: 700, code: 12 };
    Decided {
        pricing: Some(decision(PRICING)),
        fraud: Some(fraud),
        review_ms: 5_000,
        ..Decided::default()
    }
}

fn line(count: u32, unit: i64) -> Line {
    Line::new(sku("MUG"), units(count)).priced(LinePrice { unit, discount: 0 })
}

fn buy(key: &str, lines: Vec<Line>, decided: Decided) -> Command {
    Command::Buy(Buy {
        key: Key::from_text(key),
        customer: CustomerId(3),
        lines: lines.into(),
        fill: Fill::All,
        expected_total: None,
        decided: Some(Box::new(decided)),
    })
}

fn found(key: &str, order: &str, risk: Risk) -> Command {
    let (key, order) = (Key::from_text(key), OrderId::from(Key::from_text(order)));
    Command::RecordRisk(RecordRisk { key, order, risk, reason: 4 })
}

fn place(key: &str, order: &str) -> Command {
    let (key, order) = (Key::from_text(key), OrderId::from(Key::from_text(order)));
    Command::Place(Place { key, order, expected_total: None })
}

fn refused(reply: &Reply) -> Refusal {
    *reply.outcome.as_ref().expect_err("it is refused")
}

fn status(engine: &Engine, order: &str) -> (OrderStatus, Risk) {
    let order = OrderId::from(Key::from_text(order));
    let view = engine.order(order).expect("reads").expect("known");
    (view.status, view.risk)
}

fn available(engine: &Engine) -> u64 {
    engine.stock(sku("MUG")).expect("defined").available
}

/// Whatever policies say the second time, the key finds its first receipt; with something else
/// asked it is another request.
#[test]
fn a_repetition_is_compared_by_what_was_asked() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    shop(&engine);
    for (key, risk) in [("o1", Risk::Allow), ("o2", Risk::Review)] {
        let first = accept(&engine, buy(key, vec![line(2, 200)], decided(risk)));
        let refusing = |refusal| {
            let plain = Line::new(sku("MUG"), units(2));
            buy(key, vec![plain], Decided { refusal: Some(refusal), ..Decided::default() })
        };
        let again = [
            buy(key, vec![line(2, 150)], decided(Risk::Allow)),
            buy(key, vec![line(2, 150)], decided(Risk::Deny)),
            buy(key, vec![line(2, 90), line(1, 0)], Decided { added: 1, ..decided(risk) }),
            refusing(PolicyRefusal::Price(1)),
            refusing(PolicyRefusal::Fraud(1)),
            refusing(PolicyRefusal::Failed(PolicyNo(9))),
            refusing(PolicyRefusal::Quote),
            Command::Buy(Buy {
                decided: None,
                ..match refusing(PolicyRefusal::Quote) {
                    Command::Buy(buy) => buy,
                    _ => unreachable!("it buys"),
                }
            }),
        ];
        for command in again {
            let reply = run(&engine, command.clone());
            assert_eq!((&reply.outcome, reply.replayed), (&first.outcome, true), "{command:?}");
        }
        let other = [
            buy(key, vec![line(2, 200)], Decided { ask: 5, ..decided(risk) }),
            buy(key, vec![line(3, 200)], decided(risk)),
            buy(key, vec![line(2, 200), line(1, 0)], decided(risk)),
            buy(key, vec![line(2, 200)], Decided { pricing: None, ..decided(risk) }),
        ];
        for command in other {
            let refusal = refused(&run(&engine, command));
            assert_eq!(refusal.reject, Reject::IdempotencyKeyReused);
        }
    }
}

/// Every refusal of policies, with its code, in its place among the others.
#[test]
fn policies_refuse_with_their_codes() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    shop(&engine);
    let refusal = |decided: Decided| {
        let refusal = refused(&run(&engine, buy("o", vec![line(1, 200)], decided)));
        (refusal.reject, refusal.found)
    };
    let refusing = |refusal| Decided { refusal: Some(refusal), ..Decided::default() };
    let wrong = |pricing: u16, fraud: u16| {
        let mut wrong = decided(Risk::Allow);
        wrong.pricing = Some(decision(PolicyNo(pricing)));
        if let Some(of_fraud) = &mut wrong.fraud {
            of_fraud.decision.policy = PolicyNo(fraud);
        }
        wrong
    };
    let mut points = decided(Risk::Allow);
    points.fraud = points.fraud.map(|fraud| FraudDecision { points: 1_001, ..fraud });
    for (decided, wanted) in [
        (refusing(PolicyRefusal::Price(41)), (Reject::PriceRefused, 41)),
        (refusing(PolicyRefusal::Fraud(42)), (Reject::FraudDenied, 42)),
        (decided(Risk::Deny), (Reject::FraudDenied, 12)),
        (refusing(PolicyRefusal::Failed(FRAUD)), (Reject::PluginFailed, 2)),
        (refusing(PolicyRefusal::Failed(PolicyNo(3))), (Reject::PolicyUnknown, 3)),
        (refusing(PolicyRefusal::Quote), (Reject::QuoteExpired, 0)),
        (wrong(0, 2), (Reject::PolicyUnknown, 0)),
        (wrong(2, 2), (Reject::PolicyUnknown, 2)),
        (wrong(1, 1), (Reject::PolicyUnknown, 1)),
        (wrong(1, 3), (Reject::PolicyUnknown, 3)),
        (points, (Reject::DecisionInvalid, 1_000)),
        (decided(Risk::Unscored), (Reject::DecisionInvalid, 0)),
        (Decided { added: 1, ..decided(Risk::Allow) }, (Reject::DecisionInvalid, 0)),
        (Decided { review_ms: 0, ..decided(Risk::Review) }, (Reject::TtlInvalid, 2_592_000_000)),
    ] {
        assert_eq!(refusal(decided), wanted, "{decided:?}");
    }
    // Behind what is wrong with the request, before what the catalogue and the stock say.
    let denied = decided(Risk::Deny);
    let unknown = Line::new(sku("NONE"), units(1)).priced(LinePrice { unit: 1, discount: 0 });
    let reject = |lines: Vec<Line>| refused(&run(&engine, buy("o", lines, denied))).reject;
    assert_eq!(reject(vec![unknown]), Reject::FraudDenied);
    assert_eq!(reject(vec![line(99, 1)]), Reject::FraudDenied);
    assert_eq!(reject(vec![line(0, 1)]), Reject::QuantityInvalid);
    assert_eq!(available(&engine), 10);
}

/// A `buy` under review is a reservation until somebody has looked: then it is placed at once, or
/// its units are back, or its time is up.
#[test]
fn a_purchase_under_review_waits_as_a_reservation() {
    for shards in [1, 3] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        let builder = Engine::in_memory().shards(shards).clock(clock.clone());
        let (engine, _) = builder.open().expect("opens");
        shop(&engine);
        let review =
            |key: &str| accept(&engine, buy(key, vec![line(2, 200)], decided(Risk::Review)));
        let Ok(Receipt::Order(receipt)) = review("o1").outcome else { panic!("an order") };
        assert_eq!((receipt.status, receipt.risk), (OrderStatus::Reserved, Risk::Review));
        assert_eq!(receipt.deadline.millis(), 1_005_000);
        review("o2");
        review("o3");
        assert_eq!(refused(&run(&engine, place("p1", "o1"))).reject, Reject::RiskOpen);
        accept(&engine, found("c1", "o1", Risk::Challenge));
        assert_eq!(status(&engine, "o1"), (OrderStatus::Reserved, Risk::Challenge));
        assert_eq!(refused(&run(&engine, place("p1", "o1"))).reject, Reject::RiskOpen);
        let allowed = accept(&engine, found("a1", "o1", Risk::Allow));
        assert_eq!(status(&engine, "o1"), (OrderStatus::Placed, Risk::Allow));
        let again = run(&engine, found("a1", "o1", Risk::Allow));
        assert_eq!((again.outcome, again.replayed), (allowed.outcome, true));
        let other = refused(&run(&engine, found("a1", "o1", Risk::Deny)));
        assert_eq!(other.reject, Reject::IdempotencyKeyReused);
        accept(&engine, found("d2", "o2", Risk::Deny));
        assert_eq!(status(&engine, "o2"), (OrderStatus::Rejected, Risk::Deny));
        for (key, order) in [("x1", "o1"), ("x2", "o2")] {
            let reject = refused(&run(&engine, found(key, order, Risk::Allow))).reject;
            assert_eq!(reject, Reject::StateConflict, "{order}");
            assert_eq!(refused(&run(&engine, place(key, order))).reject, Reject::StateConflict);
        }
        let unscored = refused(&run(&engine, found("u", "o3", Risk::Unscored))).reject;
        assert_eq!(unscored, Reject::DecisionInvalid);
        assert_eq!(available(&engine), 6);
        clock.set(Timestamp::from_millis(1_005_000));
        accept(&engine, Command::Tick);
        common::wait_until("o3 expires", || {
            run(&engine, receive("none", "NONE", 1));
            status(&engine, "o3").0 == OrderStatus::Expired
        });
        let late = refused(&run(&engine, found("late", "o3", Risk::Allow))).reject;
        assert_eq!(late, Reject::ReservationExpired);
        // The first receipt is found again, whatever became of the order.
        let again = run(&engine, buy("o1", vec![line(2, 200)], decided(Risk::Allow)));
        assert_eq!(again.outcome, Ok(Receipt::Order(receipt)));
    }
}

/// A reservation under challenge can be placed once it is allowed, and not before.
#[test]
fn a_reservation_under_challenge_is_placed_by_its_owner() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    shop(&engine);
    let reserve = |key: &str, risk: Risk| {
        Command::Reserve(Reserve {
            key: Key::from_text(key),
            customer: CustomerId(3),
            lines: line(1, 200).into(),
            fill: Fill::All,
            ttl_ms: 60_000,
            hard_cap_ms: 90_000,
            expected_total: None,
            decided: Some(Box::new(decided(risk))),
        })
    };
    accept(&engine, reserve("r1", Risk::Challenge));
    accept(&engine, reserve("r2", Risk::Allow));
    accept(&engine, place("p2", "r2"));
    assert_eq!(refused(&run(&engine, place("p1", "r1"))).reject, Reject::RiskOpen);
    accept(&engine, found("a1", "r1", Risk::Allow));
    assert_eq!(status(&engine, "r1"), (OrderStatus::Reserved, Risk::Allow));
    accept(&engine, place("p1", "r1"));
    assert_eq!(status(&engine, "r1"), (OrderStatus::Placed, Risk::Allow));
}

/// Policies keep their numbers and their history through closing, checkpoints and crashes, and
/// every shard knows them: an order of each shard may name them.
#[test]
fn policies_are_there_again() {
    for shards in [1, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || {
            let builder = Engine::builder(dir.path()).shards(shards).segment_bytes(256 << 10);
            builder.min_free_bytes(0).open().expect("opens").0
        };
        let engine = open();
        shop(&engine);
        let step = |key: &str, config, step| policy(key, PolicyKind::Pricing, config, step);
        assert_eq!(number(&accept(&engine, step("s1", 1, Step::Installed))), 3);
        assert_eq!(number(&accept(&engine, step("s2", 0, Step::Pinned))), 1);
        let codes: Vec<String> = (0..12).map(|n| format!("S{n}")).collect();
        for code in &codes {
            accept(&engine, define(code, None));
            accept(&engine, receive(&format!("r {code}"), code, 9));
        }
        engine.checkpoint().expect("made");
        assert_eq!(number(&accept(&engine, step("s3", 1, Step::Canary).with_share(100))), 3);
        let before = engine.policies();
        assert_eq!(before.iter().map(|p| p.steps.len()).collect::<Vec<_>>(), [2, 1, 2]);
        engine.close().expect("closes");
        let engine = open();
        assert_eq!(engine.policies(), before);
        let again = run(&engine, step("s1", 1, Step::Installed));
        assert_eq!((number(&again), again.replayed), (3, true));
        for code in &codes {
            let own = Line::new(sku(code), units(1)).priced(LinePrice { unit: 5, discount: 0 });
            let mut by_third = decided(Risk::Allow);
            by_third.pricing = Some(decision(PolicyNo(3)));
            accept(&engine, buy(&format!("o {code}"), vec![own], by_third));
        }
        assert_eq!(number(&accept(&engine, step("s4", 2, Step::Installed))), 4);
        engine.close().expect("closes");
        onhand_core::rebuild(dir.path()).map(|_| ()).expect("rebuilds");
        assert_eq!(open().policies()[..2], before[..2]);
    }
}

trait WithShare {
    fn with_share(self, share: u16) -> Self;
}

impl WithShare for Command {
    fn with_share(self, share: u16) -> Self {
        match self {
            Self::PolicyStep(mut step) => {
                step.share = share;
                Self::PolicyStep(step)
            }
            other => other,
        }
    }
}

/// An explanation and the feed tell what was decided, by whom, and what was found later.
#[test]
fn explanations_tell_the_decisions() {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    shop(&engine);
    accept(&engine, buy("o", vec![line(2, 200)], decided(Risk::Review)));
    accept(&engine, found("a", "o", Risk::Allow));
    let order = OrderId::from(Key::from_text("o"));
    let told = engine.explain(order).expect("reads").expect("known");
    let [made, allowed] = told.decisions.as_slice() else { panic!("{told:?}") };
    let kept = Decided { review_ms: 0, ..decided(Risk::Review) };
    assert_eq!(made.event.decided.as_deref(), Some(&kept));
    assert_eq!((made.event.kind, made.event.risk), (EventKind::OrderReserved, Some(Risk::Review)));
    for words in ["policy 1 (shop/pricing 1.0) with 1234 fuel", "review with 700 points (code 12)"]
    {
        assert!(made.reason.contains(words), "{}", made.reason);
    }
    let placed = (allowed.event.kind, allowed.event.risk, allowed.event.reason);
    assert_eq!(placed, (EventKind::OrderPlaced, Some(Risk::Allow), 4));
    let feed = engine.events(0, 100).expect("reads").events;
    let steps = feed.iter().filter(|e| e.kind == EventKind::PolicyStepped);
    let steps: Vec<_> = steps.map(|e| (e.aggregate, e.version)).collect();
    assert_eq!(steps, [(Aggregate::Policy(PRICING), 1), (Aggregate::Policy(FRAUD), 1)]);
    assert_eq!(engine.events(0, 100).expect("reads").events, feed);
}

/// There is room for so many policies and steps, and no more; those that there are go on.
#[test]
fn policies_and_their_steps_are_bounded() {
    use onhand_core::limits::{POLICIES_MAX, POLICY_STEPS_MAX};
    let (engine, _) = Engine::in_memory().open().expect("opens");
    let step = |number: usize, config: usize| {
        let name = format!("s {number}");
        match policy(&name, PolicyKind::Recommend, 0, Step::Shadowed) {
            Command::PolicyStep(mut step) => {
                step.config[..8].copy_from_slice(&(config as u64).to_le_bytes());
                Command::PolicyStep(step)
            }
            other => other,
        }
    };
    let submit = |commands: Vec<Command>| {
        let replies = engine.submit_batch(commands, onhand_core::Ack::Memory).expect("taken");
        let accepted = replies.wait().expect("answered").into_iter().filter(|r| r.outcome.is_ok());
        accepted.count()
    };
    let full = |command: Command| refused(&run(&engine, command)).reject == Reject::CapacityReached;
    assert_eq!(submit((0..POLICIES_MAX).map(|n| step(n, n)).collect()), POLICIES_MAX);
    assert!(full(step(1 << 20, POLICIES_MAX)));
    let mut next = POLICIES_MAX;
    while next < POLICY_STEPS_MAX {
        let upto = (next + 4_096).min(POLICY_STEPS_MAX);
        let steps = (next..upto).map(|n| step(n, n % POLICIES_MAX)).collect();
        assert_eq!(submit(steps), upto - next);
        next = upto;
    }
    assert!(full(step(next, 0)));
    let steps: usize = engine.policies().iter().map(|policy| policy.steps.len()).sum();
    assert_eq!(steps, POLICY_STEPS_MAX);
}
