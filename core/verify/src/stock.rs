//! Cells: their buckets, versions and the movements between them.

use crate::bucket::{Bucket, CELL_SLOTS};
use crate::catalog::Catalog;
use crate::failure::{Check, broken, demand};
use crate::fast_hash::FastMap;
use crate::record::{CELL_ANY, CellEntry, Movement};

/// End of the list of a SKU's cells.
const NO_CELL: u32 = u32::MAX;

/// One `(sku, location, lot)`.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) sku: u32,
    pub(crate) location: u32,
    lot: u32,
    version: u32,
    /// Next cell of the same SKU in the same shard.
    next: u32,
    /// Seq of the last record that listed the cell, and of the last listed one that moved units.
    listed_seq: u64,
    moved_seq: u64,
    on_hand: u64,
    pub(crate) units: [u64; CELL_SLOTS],
}

/// All cells of all shards.
#[derive(Debug)]
pub(crate) struct Stock {
    cells: Vec<Vec<Cell>>,
    /// First cell of each SKU, by shard and SKU index.
    first: Vec<Vec<u32>>,
    known: FastMap<(u32, u32, u32), u32>,
    /// Tentative units over all cells.
    pub(crate) tentative: u64,
}

impl Stock {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            cells: (0..shards).map(|_| Vec::new()).collect(),
            first: (0..shards).map(|_| Vec::new()).collect(),
            known: FastMap::default(),
            tentative: 0,
        }
    }

    /// Returns a cell by its number.
    pub(crate) fn cell(&self, number: u32) -> Check<&Cell> {
        let cell = self
            .cells
            .get((number >> 24) as usize)
            .and_then(|cells| cells.get((number & CELL_ANY) as usize));
        cell.ok_or_else(|| {
            let (shard, index) = (number >> 24, number & CELL_ANY);
            broken("V1", format!("cell {shard}:{index} is not declared"))
        })
    }

    /// Returns every shard's cells.
    pub(crate) fn shards(&self) -> &[Vec<Cell>] {
        &self.cells
    }

    /// Returns the available and the tentative units of a SKU in a shard, at one location or,
    /// for 0, at all.
    pub(crate) fn usable(&self, shard: u16, sku: u32, location: u32) -> (u64, u64) {
        let shard = shard as usize;
        let mut at = self.first[shard].get(sku as usize).copied().unwrap_or(NO_CELL);
        let (mut available, mut tentative) = (0, 0);
        while at != NO_CELL {
            let cell = &self.cells[shard][at as usize];
            if location == 0 || cell.location == location {
                available += cell.units[Bucket::Available as usize];
                tentative += cell.units[Bucket::Tentative as usize];
            }
            at = cell.next;
        }
        (available, tentative)
    }

    /// Takes a cell entry: declares the cell or counts its version on.
    pub(crate) fn list(&mut self, shard: u16, seq: u64, entry: &CellEntry) -> Check {
        let (number, index) = (entry.cell, entry.cell & CELL_ANY);
        demand!(
            number >> 24 == u32::from(shard),
            "V1",
            "cell {}:{index} is listed in a section of shard {shard}",
            number >> 24
        );
        let cells = &mut self.cells[shard as usize];
        if index as usize >= cells.len() {
            return self.declare(shard, seq, entry);
        }
        let cell = &mut cells[index as usize];
        demand!(
            cell.listed_seq != seq,
            "I14",
            "cell {shard}:{index} is listed twice in one record"
        );
        demand!(
            cell.version.checked_add(1) == Some(entry.version),
            "I14",
            "version of cell {shard}:{index} is {}, the one before is {}",
            entry.version,
            cell.version
        );
        demand!(
            (cell.sku, cell.location, cell.lot) == (entry.sku, entry.location, entry.lot),
            "V1",
            "cell {shard}:{index} is SKU index {}, location {}, lot {}; the entry says {}, {}, {}",
            cell.sku,
            cell.location,
            cell.lot,
            entry.sku,
            entry.location,
            entry.lot
        );
        cell.version = entry.version;
        cell.listed_seq = seq;
        Ok(())
    }

    fn declare(&mut self, shard: u16, seq: u64, entry: &CellEntry) -> Check {
        let (cells, index) = (&mut self.cells[shard as usize], entry.cell & CELL_ANY);
        demand!(
            index as usize == cells.len() && index != CELL_ANY,
            "V1",
            "cell {shard}:{index} is listed, the next one to declare is {}",
            cells.len()
        );
        demand!(
            entry.version == 1,
            "I14",
            "cell {shard}:{index} is declared with version {}, not 1",
            entry.version
        );
        demand!(entry.location != 0, "V1", "cell {shard}:{index} is declared at location 0");
        let first = &mut self.first[shard as usize];
        if first.len() <= entry.sku as usize {
            first.resize(entry.sku as usize + 1, NO_CELL);
        }
        let next = std::mem::replace(&mut first[entry.sku as usize], index);
        cells.push(Cell {
            sku: entry.sku,
            location: entry.location,
            lot: entry.lot,
            version: 1,
            next,
            listed_seq: seq,
            moved_seq: 0,
            on_hand: 0,
            units: [0; CELL_SLOTS],
        });
        let other = self.known.insert((entry.sku, entry.location, entry.lot), entry.cell);
        demand!(
            other.is_none(),
            "V1",
            "SKU index {}, location {}, lot {} has two cells",
            entry.sku,
            entry.location,
            entry.lot
        );
        Ok(())
    }

    /// Returns whether a cell that was listed in record `seq` moved units in it.
    pub(crate) fn moved_in(&self, number: u32, seq: u64) -> Check<bool> {
        Ok(self.cell(number)?.moved_seq == seq)
    }

    /// Moves units of a cell that record `seq` lists, at most once for each direction given.
    pub(crate) fn apply_listed(
        &mut self,
        catalog: &mut Catalog,
        seq: u64,
        movement: &Movement,
    ) -> Check {
        let cell = self.cell(movement.cell)?;
        demand!(
            cell.listed_seq == seq,
            "I14",
            "record moves {} and does not list the cell",
            movement.words()
        );
        self.apply(catalog, movement)?;
        let (shard, index) = (movement.cell >> 24, movement.cell & CELL_ANY);
        self.cells[shard as usize][index as usize].moved_seq = seq;
        Ok(())
    }

    /// Moves units and checks the cell (I1, I2) and its SKU (I3).
    pub(crate) fn apply(&mut self, catalog: &mut Catalog, movement: &Movement) -> Check {
        self.cell(movement.cell)?;
        let (shard, index) = (movement.cell >> 24, movement.cell & CELL_ANY);
        let cell = &mut self.cells[shard as usize][index as usize];
        let units = u64::from(movement.quantity);
        if let Some(slot) = movement.from.slot() {
            let held = cell.units[slot];
            // More than available is a promise too many; from any other bucket it is a
            // negative count.
            if movement.from == Bucket::Available {
                demand!(
                    held >= units,
                    "I2",
                    "{} while it holds {held} available",
                    movement.words()
                );
            }
            demand!(held >= units, "I1", "{} while the bucket holds {held}", movement.words());
            cell.units[slot] -= units;
        }
        if let Some(slot) = movement.to.slot() {
            cell.units[slot] += units;
        }
        if movement.from.is_on_hand() {
            cell.on_hand -= units;
        }
        if movement.to.is_on_hand() {
            cell.on_hand += units;
        }
        cell.check(movement.cell)?;
        if movement.from == Bucket::Tentative {
            self.tentative -= units;
        }
        if movement.to == Bucket::Tentative {
            self.tentative += units;
        }
        catalog.skus[cell.sku as usize].totals.apply(movement.from, movement.to, units)
    }
}

impl Cell {
    /// Returns the units that may be promised or are: `A + T + R + C`.
    pub(crate) fn fit_for_sale(&self) -> u64 {
        self.units[..4].iter().sum()
    }

    /// Checks `O = A + T + R + C + sum(U)` and `R + C + T <= O - sum(U)`.
    pub(crate) fn check(&self, number: u32) -> Check {
        let [available, tentative, reserved, committed, u0, u1, u2, u3, u4, _] = self.units;
        let unavailable = u0 + u1 + u2 + u3 + u4;
        let (shard, index) = (number >> 24, number & CELL_ANY);
        demand!(
            self.on_hand == available + tentative + reserved + committed + unavailable,
            "I1",
            "cell {shard}:{index} has {} units on hand, its buckets hold A {available} + T \
             {tentative} + R {reserved} + C {committed} + U {unavailable}",
            self.on_hand
        );
        demand!(
            reserved + committed + tentative <= self.on_hand - unavailable,
            "I2",
            "cell {shard}:{index} promises R {reserved} + C {committed} + T {tentative} of O {} - \
             U {unavailable}",
            self.on_hand
        );
        Ok(())
    }
}
