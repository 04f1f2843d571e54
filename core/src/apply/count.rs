//! A count of a cell: what was not found is taken from available units first, then from the
//! promises, the newest first.
//!
//! A count that must break promises needs to know every order that holds units of the cell, also
//! those at home in other shards: `count_flow` finds them, and then lets the count decide.

use std::cmp::Reverse;

use crate::apply::promise::{Break, Holding, instruct_breaks};
use crate::apply::stock::{
    COUNT, LEVEL_MAX, StockChange, carry_out, check_growth, check_room, movement,
};
use crate::apply::{Applied, Context, existing_cell, fingerprint, refuse, repeated};
use crate::command::Count;
use crate::domain::bucket::{Bucket, CellNo};
use crate::limits::BREAKS_MAX;
use crate::quantity::Quantity;
use crate::reject::Reject;
use crate::reply::Refusal;
use crate::state::State;

type Outcome = Result<Applied, Refusal>;

/// A count that may be carried out.
struct Checked {
    fingerprint: u32,
    sku: u32,
    cell: u32,
    /// Units found beyond those expected.
    gained: u32,
    /// Units not found, by what they are taken from.
    from_available: u32,
    from_promises: u32,
}

/// Carries a count out, unless it must break promises.
pub(crate) fn count(state: &mut State, ctx: &mut Context<'_>, count: &Count) -> Outcome {
    match check(state, count)? {
        Err(answer) => Ok(answer),
        Ok(checked) if checked.from_promises > 0 => Ok(Applied::Promises),
        Ok(checked) => Ok(accept(state, ctx, count, &checked, Vec::new())),
    }
}

/// Carries a count out that breaks promises; `holdings` is all that is held of the cell.
pub(crate) fn decide(
    state: &mut State,
    ctx: &mut Context<'_>,
    count: &Count,
    holdings: Vec<Holding>,
) -> Outcome {
    let checked = match check(state, count)? {
        Err(answer) => return Ok(answer),
        Ok(checked) => checked,
    };
    let cell = CellNo::new(state.shard, checked.cell);
    let breaks = choose(count.key.bits(), cell, checked.from_promises, holdings)?;
    Ok(accept(state, ctx, count, &checked, breaks))
}

/// Carries a count out as its record says; the breaks are facts.
pub(super) fn again(
    state: &mut State,
    ctx: &mut Context<'_>,
    count: &Count,
    breaks: Vec<Break>,
) -> Outcome {
    let checked = match check(state, count)? {
        Err(answer) => return Ok(answer),
        Ok(checked) => checked,
    };
    let broken: u64 = breaks.iter().map(|b| u64::from(b.units)).sum();
    if broken != u64::from(checked.from_promises) {
        return Err(refuse(Reject::StockShort, 0, checked.from_promises.into(), broken));
    }
    Ok(accept(state, ctx, count, &checked, breaks))
}

fn check(state: &State, count: &Count) -> Result<Result<Checked, Applied>, Refusal> {
    let most = u64::from(Quantity::MAX.units());
    if count.counted > LEVEL_MAX || count.counted.abs_diff(count.expected) > most {
        let limit = count.expected.saturating_add(most);
        return Err(refuse(Reject::QuantityInvalid, 0, count.counted, limit));
    }
    let fingerprint = fingerprint::of_count(count);
    if let Some(answer) = repeated(state, count.key, fingerprint)? {
        return Ok(Err(answer));
    }
    let (sku, cell) = existing_cell(state, count.sku, count.location, count.lot)?;
    let level = &state.cells.get(cell).level;
    let promised = level.reserved + level.committed;
    let found = level.available + level.tentative + promised;
    check_growth(state, sku, count.counted.saturating_sub(found), 0)?;
    if found != count.expected {
        return Err(refuse(Reject::StaleCount, 0, count.expected, found));
    }
    let gained = count.counted.saturating_sub(found) as u32;
    let lost = found.saturating_sub(count.counted);
    let from_available = lost.min(level.available);
    if lost > level.available + promised {
        // What baskets in flight have taken is promised or available in a moment.
        return Err(refuse(Reject::Contended, 0, lost, level.available + promised));
    }
    check_room(state)?;
    Ok(Ok(Checked {
        fingerprint,
        sku,
        cell,
        gained,
        from_available: from_available as u32,
        from_promises: (lost - from_available) as u32,
    }))
}

/// Returns when it is a holding's turn to be broken: reservations before commitments, the newest
/// first.
///
/// Once there are priorities, the lowest goes first within each kind.
fn turn(holding: &Holding) -> Reverse<(bool, u64, u16)> {
    Reverse((holding.reserved, holding.created_seq, holding.line))
}

/// Keeps the holdings whose turn comes first, as many as one count may look at: a cell that very
/// many orders hold does not make it longer.
pub(crate) fn keep_newest(holdings: &mut Vec<Holding>) {
    if holdings.len() > BREAKS_MAX + 1 {
        holdings.select_nth_unstable_by_key(BREAKS_MAX, turn);
        holdings.truncate(BREAKS_MAX + 1);
    }
}

/// Chooses the promises that are broken.
fn choose(
    count: u128,
    cell: CellNo,
    lost: u32,
    mut holdings: Vec<Holding>,
) -> Result<Vec<Break>, Refusal> {
    keep_newest(&mut holdings);
    holdings.sort_unstable_by_key(turn);
    let mut left = lost;
    let mut breaks = Vec::new();
    for holding in &holdings {
        if left == 0 {
            break;
        }
        if !holding.breakable {
            return Err(refuse(Reject::CapacityReached, 0, 0, 0));
        }
        let units = holding.units.min(left);
        left -= units;
        let (order, home, line) = (holding.order, holding.home, holding.line);
        breaks.push(Break { count, cell, order, home, line, units });
        if breaks.len() > BREAKS_MAX {
            let found = u64::from(lost - left - units);
            return Err(refuse(Reject::CapacityReached, 0, lost.into(), found));
        }
    }
    if left > 0 {
        // The rest is on its way between shards.
        return Err(refuse(Reject::Contended, 0, lost.into(), u64::from(lost - left)));
    }
    Ok(breaks)
}

fn accept(
    state: &mut State,
    ctx: &mut Context<'_>,
    count: &Count,
    checked: &Checked,
    breaks: Vec<Break>,
) -> Applied {
    let corrections = [
        (checked.gained, Bucket::Adjust, Bucket::Available),
        (checked.from_available, Bucket::Available, Bucket::Adjust),
    ];
    let corrections = corrections.into_iter().filter(|(units, ..)| *units > 0);
    let movements =
        corrections.map(|(units, from, to)| movement(state, checked.cell, units, from, to));
    let change = StockChange {
        expected: count.expected,
        cells: vec![checked.cell],
        movements: movements.collect(),
        breaks,
        ..StockChange::new(COUNT, count.key, checked.fingerprint, checked.sku)
    };
    let applied = carry_out(state, ctx, &change);
    instruct_breaks(ctx, &change.breaks);
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that looks at the newest holdings alone breaks what it would break with all.
    #[test]
    fn the_newest_are_enough() {
        let holding = |n: u64| Holding {
            order: n.into(),
            home: 0,
            line: 0,
            units: 1 + n as u32 % 3,
            reserved: n.is_multiple_of(7),
            created_seq: n * 7_919 % 10_007,
            breakable: true,
        };
        let all: Vec<Holding> = (0..5_000).map(holding).collect();
        for lost in [1, 40, 900, 1_500, 3_000, 9_000] {
            let mut sorted = all.clone();
            sorted.sort_unstable_by_key(turn);
            let mut left: u32 = lost;
            let wanted = sorted.iter().take_while(|h| {
                let needed = left > 0;
                left = left.saturating_sub(h.units);
                needed
            });
            let wanted: Vec<u128> = wanted.map(|h| h.order).collect();
            let chosen = choose(1, CellNo::new(0, 0), lost, all.clone());
            match chosen {
                Ok(breaks) => {
                    assert_eq!(breaks.iter().map(|b| b.order).collect::<Vec<_>>(), wanted);
                }
                Err(refusal) => {
                    assert_eq!(refusal.reject, Reject::CapacityReached);
                    assert!(wanted.len() > BREAKS_MAX, "{} breaks", wanted.len());
                }
            }
        }
    }
}
