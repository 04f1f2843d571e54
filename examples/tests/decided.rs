//! Decided baskets over four shards, looked at by people, counted and shipped: the verifier, which
//! shares no code with the engine, agrees with every record, before and after a checkpoint.

use onhand_core::{
    Ack, Buy, Command, Count, CustomerId, Decided, DecidedBy, Engine, EventKind, Fill,
    FraudDecision, Key, Line, LinePrice, LocationId, LotId, OrderId, Place, PolicyDecision,
    PolicyKind, PolicyNo, PolicyRefusal, PolicyStep, Receipt, Receive, RecordRisk, Release,
    Reserve, Risk, Ship, SkuId, Step,
};
use onhand_examples::{Outcome, define, goods, stock, units};
use onhand_verify::{Options, verify};

fn key(text: &str, number: usize) -> Key {
    Key::from_text(&format!("{text} {number}"))
}

fn policy(number: usize, kind: PolicyKind, step: Step) -> Command {
    Command::PolicyStep(Box::new(PolicyStep {
        key: key("step", number),
        kind,
        step,
        name: format!("shop/{}", kind.name()),
        version: format!("1.{number}"),
        plugin: [kind as u8; 32],
        config: [(number % 3) as u8; 32],
        share: if step == Step::Canary { 500 } else { 0 },
        note: "for the test".to_owned(),
    }))
}

fn decision(policy: PolicyNo, number: usize) -> PolicyDecision {
    let by = [DecidedBy::Policy, DecidedBy::BuiltIn, DecidedBy::FailOpen][number % 3];
    PolicyDecision { policy, by, fuel: 900 + number as u32, input: number as u64 * 77 }
}

/// A basket of one to three lines, with what policies say of it.
fn basket(skus: &[SkuId], policies: [PolicyNo; 2], number: usize) -> Command {
    let risks = [Risk::Allow, Risk::Review, Risk::Allow, Risk::Challenge, Risk::Deny];
    let risk = risks[number % risks.len()];
    let price = LinePrice { unit: 90 + number as i64 % 7, discount: number as i64 % 5 };
    let line = |at: usize| Line::new(skus[(number + at) % skus.len()], units(1)).priced(price);
    let lines: Vec<Line> = (0..=number % 3).map(line).collect();
    let fraud =
        FraudDecision { decision: decision(policies[1], number), risk, points: 300, code: 7 };
    let decided = Some(Box::new(Decided {
        ask: number as u64 % 2,
        added: u16::from(lines.len() > 2),
        pricing: (!number.is_multiple_of(4)).then(|| decision(policies[0], number + 1)),
        fraud: (!number.is_multiple_of(11)).then_some(fraud),
        refusal: number.is_multiple_of(13).then_some(PolicyRefusal::Quote),
        review_ms: 3_600_000,
    }))
    .filter(|decided| decided.pricing.is_some() || decided.added == 0);
    let (key, customer, lines) = (key("order", number), CustomerId(1), lines.into());
    let (fill, expected_total) = (Fill::All, None);
    if number.is_multiple_of(3) {
        let (ttl_ms, hard_cap_ms) = (3_600_000, 3_600_000);
        Command::Reserve(Reserve {
            key,
            customer,
            lines,
            fill,
            ttl_ms,
            hard_cap_ms,
            expected_total,
            decided,
        })
    } else {
        Command::Buy(Buy { key, customer, lines, fill, expected_total, decided })
    }
}

/// What is done about an order later; some of it is refused.
fn later(number: usize) -> Command {
    let (order, key) = (OrderId::from(key("order", number)), key("later", number));
    match number % 7 {
        0 => Command::Release(Release { key, order, reason: 1 }),
        1 | 2 => Command::Place(Place { key, order, expected_total: None }),
        at => {
            let risk = [Risk::Allow, Risk::Deny, Risk::Review, Risk::Challenge][at - 3];
            Command::RecordRisk(RecordRisk { key, order, risk, reason: 2 })
        }
    }
}

fn ship(number: usize) -> Command {
    let (order, key) = (OrderId::from(key("order", number)), key("ship", number));
    Command::Ship(Ship { key, order, lines: Vec::new(), expected_version: None })
}

#[test]
fn the_verifier_agrees_with_every_decision() -> Outcome {
    let dir = tempfile::tempdir()?;
    let open = || Engine::builder(dir.path()).shards(4).min_free_bytes(0).open();
    let (mut engine, _) = open()?;
    let mut skus = Vec::new();
    for n in 0..6 {
        let sku = define(&engine, goods(&format!("PART-{n}"), 100)?)?;
        stock(&engine, sku, 200)?;
        skus.push(sku);
    }
    for round in 0..12_usize {
        let mut numbers = [PolicyNo(0); 2];
        for (at, kind) in [PolicyKind::Pricing, PolicyKind::Fraud].into_iter().enumerate() {
            let step = Step::ALL[(round * 2 + at) % Step::ALL.len()];
            let reply = engine.execute(policy(round * 2 + at, kind, step))?;
            let Ok(Receipt::Policy(receipt)) = reply.outcome else { return Err("a step".into()) };
            numbers[at] = receipt.policy;
        }
        let orders = round * 40..round * 40 + 40;
        let baskets = orders.clone().map(|n| basket(&skus, numbers, n)).collect();
        let waiting = engine.submit_batch(baskets, Ack::Group)?;
        engine.submit_batch(orders.clone().map(later).collect(), Ack::Group)?.wait()?;
        waiting.wait()?;
        engine.submit_batch(orders.clone().map(later).collect(), Ack::Group)?.wait()?;
        let seen = engine.stock(skus[round % 6]).ok_or("it is stocked")?;
        let count = Count {
            key: key("count", round),
            sku: seen.sku,
            location: LocationId(1),
            lot: LotId(0),
            expected: seen.available + seen.reserved + seen.committed,
            counted: (seen.reserved + seen.committed).saturating_sub(2),
        };
        engine.execute(Command::Count(count))?;
        engine.execute(Command::Receive(Receive {
            key: key("more", round),
            sku: seen.sku,
            location: LocationId(1),
            lot: LotId(0),
            quantity: units(90),
        }))?;
        engine.submit_batch(orders.step_by(5).map(ship).collect(), Ack::Group)?.wait()?;
        if round == 6 {
            engine.close()?;
            verify(dir.path(), Options::default())?;
            engine = open()?.0;
        }
    }
    let feed = engine.events(0, 100_000)?.events;
    for kind in [
        EventKind::OrderRiskRecorded,
        EventKind::OrderRejected,
        EventKind::PolicyStepped,
        EventKind::ReservationBroken,
    ] {
        assert!(feed.iter().any(|event| event.kind == kind), "{} occurs", kind.name());
    }
    let allowed = |event: &onhand_core::Event| {
        event.kind == EventKind::OrderPlaced && event.order.is_none() && event.risk.is_some()
    };
    assert!(feed.iter().any(allowed), "a purchase under review is allowed");
    let crossed = feed.iter().filter(|event| !event.instructions.is_empty());
    assert!(crossed.filter(|event| event.decided.is_some()).count() > 20, "over several shards");
    engine.close()?;
    verify(dir.path(), Options::default())?;
    Ok(())
}
