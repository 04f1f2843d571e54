//! Judges refusals: was there a moment at which too few units could be promised?
//!
//! A refusal was decided at some position between the latest one that its buyer knew when asking
//! (`after`) and the one that it names (`seq`). It is false if enough units could be promised at
//! every position of that window. The window is narrow, and no true refusal fails the test. One
//! that names an earlier position than `after` tells of the past: its window is `after` alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::LoadError;
use crate::ledger::{SoldOut, SoldOutRow, SoldOutTally};
use crate::spill::Sorted;

/// A stretch of positions with one level.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    level: i64,
    /// Last position with this level; `u64::MAX` while it lasts.
    until: u64,
}

/// The history of one cell, as far as a later question may need it: levels ascend strictly from
/// the bottom to the top, for a level at or above a later one answers no question.
#[derive(Debug)]
struct History(Vec<Stretch>);

impl History {
    /// Starts before the first event: no units.
    fn new() -> Self {
        Self(vec![Stretch { level: 0, until: u64::MAX }])
    }

    fn push(&mut self, level: i64, seq: u64) {
        if let Some(top) = self.0.last_mut() {
            top.until = seq.saturating_sub(1);
        }
        while self.0.last().is_some_and(|top| top.level >= level) {
            self.0.pop();
        }
        self.0.push(Stretch { level, until: u64::MAX });
    }

    /// Returns the last position with fewer than `asked` units; `u64::MAX` for now.
    fn last_short(&self, asked: u64) -> Option<u64> {
        let asked = i64::try_from(asked).unwrap_or(i64::MAX);
        let below = self.0.partition_point(|stretch| stretch.level < asked);
        below.checked_sub(1).map(|top| self.0[top].until)
    }
}

/// A cell since its last change, as refusals saw it.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Position of the last change.
    changed: u64,
    /// Units since then.
    level: i64,
    /// The refusal of the fewest units that was asked for since then.
    refusal: Option<SoldOut>,
}

/// Somebody who was sent away at the end although enough units are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentAway {
    pub(super) refusal: SoldOut,
    /// Units that are left.
    pub(super) left: i64,
    /// Since which position.
    pub(super) since: u64,
}

/// The refusals of a run, waiting for the events up to their position.
#[derive(Debug)]
pub(super) struct Watch {
    refusals: Sorted<SoldOutRow>,
    cells: HashMap<(u32, u32), History>,
    rests: BTreeMap<(u32, u32), Rest>,
    settled: u64,
    exact: u64,
}

impl Watch {
    /// Takes the refusals by position, and the cells that they are about.
    pub(super) fn new(refusals: Sorted<SoldOutRow>, watched: &BTreeSet<(u32, u32)>) -> Self {
        let cells = watched.iter().map(|cell| (*cell, History::new())).collect();
        let rests = watched.iter().map(|cell| (*cell, Rest::default())).collect();
        Self { refusals, cells, rests, settled: 0, exact: 0 }
    }

    /// Notes the level of a cell after the event at `seq`; location 0 stands for the whole SKU.
    pub(super) fn level(&mut self, sku: u32, location: u32, seq: u64, level: i64) {
        if let Some(history) = self.cells.get_mut(&(sku, location)) {
            history.push(level, seq);
        }
        if let Some(rest) = self.rests.get_mut(&(sku, location)) {
            *rest = Rest { changed: seq, level, refusal: None };
        }
    }

    /// Judges every refusal at a position below `seq`; reports the false ones.
    pub(super) fn settle_before(
        &mut self,
        seq: u64,
        mut report: impl FnMut(SoldOut, SoldOutTally),
    ) -> Result<(), LoadError> {
        let due = |row: &SoldOutRow| row.0.seq < seq || seq == u64::MAX;
        while let Some(SoldOutRow(refusal, mut tally)) = self.refusals.next_if(due)? {
            // Threads and spilled parts of the ledger have rows of their own for one refusal.
            while let Some(SoldOutRow(_, more)) = self.refusals.next_if(|row| row.0 == refusal)? {
                tally.after = tally.after.max(more.after);
                tally.count += more.count;
            }
            self.settled += tally.count;
            let cell = (refusal.sku, refusal.location);
            if let Some(rest) = self.rests.get_mut(&cell).filter(|r| tally.after >= r.changed) {
                // Whoever asked for the fewest has the most to complain of.
                let fewer = rest.refusal.is_none_or(|known| refusal.asked < known.asked);
                rest.refusal = if fewer { Some(refusal) } else { rest.refusal };
            }
            let history = self.cells.get(&cell);
            match history.and_then(|history| history.last_short(refusal.asked)) {
                Some(u64::MAX) if refusal.stale => (),
                Some(u64::MAX) => self.exact += tally.count,
                Some(until) if until >= tally.after => (),
                Some(_) | None => report(refusal, tally),
            }
        }
        Ok(())
    }

    /// Returns who was sent away from a SKU, at one location or for the whole of it, after the last
    /// change although there are as many units as he asked. All refusals must have been judged.
    pub(super) fn sent_away(&self, sku: u32) -> Option<SentAway> {
        self.rests.range((sku, 0)..=(sku, u32::MAX)).find_map(|(_, rest)| {
            let Rest { changed: since, level: left, refusal } = *rest;
            let refusal = refusal.filter(|refusal| i128::from(refusal.asked) <= i128::from(left));
            refusal.map(|refusal| SentAway { refusal, left, since })
        })
    }

    /// Returns how many refusals were judged.
    pub(super) const fn settled(&self) -> u64 {
        self.settled
    }

    /// Returns how many of them hold at their own position.
    pub(super) const fn exact(&self) -> u64 {
        self.exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The history answers as a scan over all levels does, for random histories and questions.
    #[test]
    fn the_history_answers_as_a_full_scan() {
        for seed in 0..300 {
            let mut rng = Rng::of_item(seed, 0);
            let (mut history, mut levels) = (History::new(), vec![0_i64]);
            for seq in 1..=40_u64 {
                let level = rng.below(6) as i64;
                history.push(level, seq);
                levels.push(level);
                for asked in 0..7_u64 {
                    let scan = levels.iter().rposition(|level| *level < asked as i64);
                    let scan = scan.map(|at| if at as u64 == seq { u64::MAX } else { at as u64 });
                    assert_eq!(history.last_short(asked), scan, "seed {seed} seq {seq}");
                }
            }
        }
    }
}
