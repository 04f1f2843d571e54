//! Counts that break promises while baskets over four shards are under way: the verifier, which
//! shares no code with the engine, agrees with every choice.

use onhand_core::{
    Ack, BatchTicket, Buy, Command, Count, CustomerId, Engine, EventKind, Fill, Key, Line,
    LocationId, LotId, Quantity, Receive, Reserve, SkuId, SkuKind,
};
use onhand_examples::{Outcome, define, goods, stock, units};
use onhand_verify::{Options, verify};

const PLACE: LocationId = LocationId(1);
const LOT: LotId = LotId(0);

fn key(text: &str, number: usize) -> Key {
    Key::from_text(&format!("{text} {number}"))
}

/// The commands of one round: baskets of two and three SKUs, kits and carts.
fn round(skus: &[SkuId], round: usize) -> Vec<Command> {
    let pick = |at: usize| Line::new(skus[(round + at) % skus.len()], units(1 + (at as u32) % 2));
    let customer = CustomerId::NONE;
    let mut commands = Vec::new();
    for n in 0..6 {
        let (key, expected_total) = (key("order", round * 6 + n), None);
        let lines: Vec<Line> = (0..=n % 3).map(|at| pick(n + at)).collect();
        commands.push(if n % 2 == 0 {
            Command::Buy(Buy {
                key,
                customer,
                lines: lines.into(),
                fill: Fill::All,
                expected_total,
                decided: None,
            })
        } else {
            let (ttl_ms, hard_cap_ms) = (3_600_000, 3_600_000);
            let (lines, fill) = (lines.into(), Fill::All);
            Command::Reserve(Reserve {
                key,
                customer,
                lines,
                fill,
                ttl_ms,
                hard_cap_ms,
                expected_total,
                decided: None,
            })
        });
    }
    commands
}

#[test]
fn the_verifier_agrees_with_every_break() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (engine, _) = Engine::builder(dir.path()).shards(4).min_free_bytes(0).open()?;
    let mut skus = Vec::new();
    for n in 0..6 {
        let sku = define(&engine, goods(&format!("PART-{n}"), 100)?)?;
        stock(&engine, sku, 40)?;
        skus.push(sku);
    }
    let parts = skus.clone();
    let mut kit = goods("KIT", 900)?;
    kit.kind = SkuKind::Kit;
    kit.components = vec![(skus[0], units(2)), (skus[3], Quantity::ONE)];
    skus.push(define(&engine, kit)?);
    let mut tickets: Vec<BatchTicket> = Vec::new();
    for n in 0..60 {
        // At rest, so that the count finds what it expects; the baskets behind it meet it.
        for ticket in tickets.drain(..) {
            ticket.wait()?;
        }
        let sku = parts[n % parts.len()];
        let (location, lot, quantity) = (PLACE, LOT, units(12));
        let more = Receive { key: key("more", n), sku, location, lot, quantity };
        engine.execute(Command::Receive(more))?;
        let seen = engine.stock(sku).ok_or("it is stocked")?;
        let expected = seen.available + seen.tentative + seen.reserved + seen.committed;
        let lost = seen.available + 3 + if n % 2 == 0 { seen.reserved } else { 0 };
        let (key_of_count, counted) = (key("count", n), expected.saturating_sub(lost));
        let count = Count { key: key_of_count, sku, location, lot, expected, counted };
        tickets.push(engine.submit_batch(vec![Command::Count(count)], Ack::Group)?);
        tickets.push(engine.submit_batch(round(&skus, n), Ack::Group)?);
    }
    for ticket in tickets {
        ticket.wait()?;
    }
    let feed = engine.events(0, 100_000)?.events;
    let broken = |kind: EventKind| feed.iter().filter(|event| event.kind == kind).count();
    assert!(broken(EventKind::ReservationBroken) > 0 && broken(EventKind::CommitmentBroken) > 0);
    assert!(feed.iter().any(|event| event.count.is_some() && !event.instructions.is_empty()));
    engine.close()?;
    verify(dir.path(), Options::default())?;
    Ok(())
}
