//! What is in flight between shards: open instructions and tentative units.

use std::collections::VecDeque;

use crate::bucket::Bucket;
use crate::failure::{Check, broken, demand};
use crate::fast_hash::FastMap;
use crate::record::{Broken, CELL_ANY, Movement, Movements};
use crate::state::Place;

/// Why a peer is told to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An order of this customer.
    Order { customer: u64 },
    /// A transfer of this SKU index to this location.
    Transfer { sku: u32, to: u32 },
}

/// What one record told one peer to do.
#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) number: u64,
    /// Seq of the record that gave it.
    pub(crate) seq: u64,
    /// Order id, or the key of the transfer.
    pub(crate) id: u128,
    pub(crate) cause: Cause,
    pub(crate) movements: Vec<Movement>,
}

impl Instruction {
    /// Returns whether it settles tentative units.
    pub(crate) fn settles_take(&self) -> bool {
        self.movements.iter().any(|movement| movement.from == Bucket::Tentative)
    }
}

/// What a count tells the home of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Key of the count.
    pub(crate) count: u128,
    pub(crate) cell: u32,
    pub(crate) broken: Broken,
}

/// Open instructions from one shard to one peer, oldest first.
#[derive(Debug, Default)]
struct Lane {
    given: u64,
    open: VecDeque<Instruction>,
}

/// Tentative units that one shard holds for one order.
#[derive(Debug)]
pub(crate) struct Tentative {
    pub(crate) home: u16,
    pub(crate) customer: u64,
    /// Seq of the TAKE record.
    pub(crate) seq: u64,
    /// Whether the order's record instructed this shard, so that an undo is no longer allowed.
    pub(crate) instructed: bool,
    /// Units by line and cell, ascending.
    pub(crate) units: Box<[(u16, u32, u64)]>,
}

/// Everything in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    shards: usize,
    lanes: Vec<Lane>,
    /// Breaks that counts of one shard have told the home of an order, oldest first.
    breaks: Vec<VecDeque<Telling>>,
    pub(crate) breaks_open: usize,
    pub(crate) open: usize,
    pub(crate) tentatives: FastMap<(u128, u16), Tentative>,
}

impl InFlight {
    pub(crate) fn new(shards: u16) -> Self {
        let shards = shards as usize;
        let lanes = (0..shards * shards).map(|_| Lane::default()).collect();
        let breaks = (0..shards * shards).map(|_| VecDeque::new()).collect();
        Self { shards, lanes, breaks, breaks_open: 0, open: 0, tentatives: FastMap::default() }
    }

    /// Numbers and keeps the instructions of one record, one for each peer named in them.
    pub(crate) fn instruct(
        &mut self,
        place: Place,
        id: u128,
        cause: Cause,
        instructions: Movements<'_>,
    ) -> Check {
        let (home, seq) = (place.shard, place.seq);
        if instructions.len() == 0 {
            return Ok(());
        }
        let mut peers: Vec<(u16, Vec<Movement>)> = Vec::new();
        for movement in instructions.iter() {
            let movement = movement?;
            let peer = movement.shard();
            demand!(
                peer != home && (peer as usize) < self.shards,
                "V2",
                "shard {home} instructs shard {peer} of {} shards",
                self.shards
            );
            match peers.iter_mut().find(|(known, _)| *known == peer) {
                Some((_, movements)) => movements.push(movement),
                None => peers.push((peer, vec![movement])),
            }
        }
        for (peer, movements) in peers {
            let lane = &mut self.lanes[home as usize * self.shards + peer as usize];
            lane.given += 1;
            lane.open.push_back(Instruction { number: lane.given, seq, id, cause, movements });
            self.open += 1;
        }
        Ok(())
    }

    /// Keeps what a count tells the home of an order.
    pub(crate) fn tell_break(&mut self, place: Place, told: Telling) -> Check {
        let home = told.broken.home;
        demand!(
            (home as usize) < self.shards,
            "V2",
            "count breaks a promise of shard {home} of {} shards",
            self.shards
        );
        self.breaks[place.shard as usize * self.shards + home as usize].push_back(told);
        self.breaks_open += 1;
        Ok(())
    }

    /// Takes the oldest break that a cell's shard has told an order's home.
    pub(crate) fn next_break(&mut self, teller: u16, home: u16) -> Option<Telling> {
        let lane = self.breaks.get_mut(teller as usize * self.shards + home as usize)?;
        let told = lane.pop_front()?;
        self.breaks_open -= 1;
        Some(told)
    }

    /// Takes the oldest open instruction from `home` to `peer`; it must be this one.
    pub(crate) fn settle(
        &mut self,
        home: u16,
        peer: u16,
        number: u64,
        id: u128,
    ) -> Check<Instruction> {
        demand!(
            (home as usize) < self.shards && home != peer,
            "V2",
            "shard {peer} settles an instruction of shard {home} of {} shards",
            self.shards
        );
        let lane = &mut self.lanes[home as usize * self.shards + peer as usize];
        let Some(oldest) = lane.open.pop_front() else {
            return Err(broken(
                "V2",
                format!(
                    "shard {peer} settles instruction {number} of shard {home}, which gave {} and \
                     has none open",
                    lane.given
                ),
            ));
        };
        demand!(
            oldest.number == number,
            "V2",
            "shard {peer} settles instruction {number} of shard {home}, the oldest open one is {}",
            oldest.number
        );
        demand!(
            oldest.id == id,
            "V2",
            "instruction {number} of shard {home} to shard {peer} is of {:032x}, the SETTLE record \
             says {id:032x}",
            oldest.id
        );
        self.open -= 1;
        Ok(oldest)
    }

    /// Returns every open instruction.
    pub(crate) fn all_open(&self) -> impl Iterator<Item = &Instruction> {
        self.lanes.iter().flat_map(|lane| lane.open.iter())
    }
}

/// Checks that a SETTLE record moves what its instruction says, in any order; the cell of a
/// transfer is the peer's choice.
pub(crate) fn check_same(instruction: &Instruction, done: &[Movement]) -> Check {
    let plain = |movement: &Movement| {
        let cell = if movement.from == Bucket::Link { CELL_ANY } else { movement.cell };
        (movement.line, cell, movement.from as u8, movement.to as u8, movement.quantity)
    };
    let said: Vec<_> = sorted(instruction.movements.iter().map(|movement| {
        let mut told = plain(movement);
        if movement.from == Bucket::Link {
            told.1 = movement.cell & CELL_ANY;
        }
        told
    }));
    let found = sorted(done.iter().map(plain));
    if said == found {
        return Ok(());
    }
    let words = |movements: &[Movement]| {
        movements.iter().map(Movement::words).collect::<Vec<_>>().join(", ")
    };
    Err(broken(
        "V2",
        format!(
            "instruction {} of record {} says {}; the SETTLE record moves {}",
            instruction.number,
            instruction.seq,
            words(&instruction.movements),
            words(done)
        ),
    ))
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

/// Adds up units by line and cell, ascending.
pub(crate) fn merge(units: &mut Vec<(u16, u32, u64)>) {
    units.sort_unstable();
    units.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 += next.2;
        }
        same
    });
}
