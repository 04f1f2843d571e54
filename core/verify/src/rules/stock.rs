//! STOCK: units come in, are counted, set aside or sent between locations.

use crate::bucket::Bucket;
use crate::failure::{Check, broken, demand};
use crate::instruct::Cause;
use crate::record::{
    ADJUST, CELL_ANY, COUNT, IMPORT, Movement, QUARANTINE, StockRecord, TRANSFER_IN, TRANSFER_OUT,
    UNQUARANTINE,
};
use crate::state::{Place, State, Transfer};

/// SKU index of an import of several SKUs.
const SEVERAL: u32 = u32::MAX;

impl State {
    /// Applies STOCK: entries first, then movements, then what a peer is told.
    pub(crate) fn stock(&mut self, place: Place, record: &StockRecord<'_>) -> Check {
        self.note_key(place, record.key)?;
        demand!(
            (record.operation == IMPORT) || record.sku != SEVERAL,
            "V1",
            "STOCK operation {} names no SKU",
            record.operation
        );
        for entry in record.entries.iter() {
            self.stocked_view(place.shard, entry.sku)?;
            demand!(
                record.sku == SEVERAL || record.sku == entry.sku,
                "V1",
                "STOCK of SKU index {} lists a cell of {}",
                record.sku,
                entry.sku
            );
            self.stock.list(place.shard, place.seq, &entry)?;
        }
        self.check_counts(record)?;
        if matches!(record.operation, ADJUST | COUNT) {
            self.check_expected(record)?;
        }
        for (at, movement) in record.movements.iter().enumerate() {
            let movement = movement?;
            check_transition(record, at, &movement)?;
            self.stock.apply_listed(&mut self.catalog, place.seq, &movement)?;
        }
        self.check_all_moved(place, record)?;
        match record.operation {
            TRANSFER_OUT => self.send(record),
            TRANSFER_IN => self.take_in(place, record),
            COUNT => self.break_promises(place, record),
            _ => Ok(()),
        }
    }

    /// Notes a transfer until all its units have arrived.
    fn send(&mut self, record: &StockRecord<'_>) -> Check {
        for movement in record.movements.iter() {
            let Movement { cell, quantity, .. } = movement?;
            let (units, to) = (u64::from(quantity), record.expected as u32);
            self.transfers.insert(record.key, Transfer { cell, to, units });
        }
        Ok(())
    }

    /// Units arrive of a transfer that has as many in transit, where it was sent.
    fn take_in(&mut self, place: Place, record: &StockRecord<'_>) -> Check {
        check_transfer_in(record)?;
        let Some(transfer) = self.transfers.get_mut(&record.transfer) else {
            let key = record.transfer;
            return Err(broken("V1", format!("no transfer {key:032x} has units in transit")));
        };
        for (at, movement) in record.movements.iter().enumerate() {
            let movement = movement?;
            let units = u64::from(movement.quantity);
            if at == 0 {
                demand!(
                    transfer.cell == movement.cell && transfer.units >= units,
                    "V1",
                    "transfer has {} units of cell {:#x} in transit, the record moves {}",
                    transfer.units,
                    transfer.cell,
                    movement.words()
                );
                transfer.units -= units;
            } else {
                let location = self.stock.cell(movement.cell)?.location;
                demand!(
                    location == transfer.to,
                    "V1",
                    "transfer goes to location {}, the record moves {} at {location}",
                    transfer.to,
                    movement.words()
                );
            }
        }
        let cause = Cause::Transfer { sku: record.sku, to: transfer.to };
        if transfer.units == 0 {
            self.transfers.remove(&record.transfer);
        }
        self.in_flight.instruct(place, record.key, cause, record.instructions)
    }

    /// Checks how many entries, movements and instructions the operation has.
    #[expect(clippy::unused_self, reason = "one shape with the other checks of a record")]
    fn check_counts(&self, record: &StockRecord<'_>) -> Check {
        let (entries, movements, instructions) =
            (record.entries.len(), record.movements.len(), record.instructions.len());
        let fits = match record.operation {
            IMPORT => entries >= 1 && movements >= entries && instructions == 0,
            ADJUST | COUNT => entries == 1 && movements <= 1 && instructions == 0,
            TRANSFER_IN => {
                (1..=2).contains(&entries) && movements >= 1 && movements + instructions == 2
            }
            _ => entries == 1 && movements == 1 && instructions == 0,
        };
        demand!(
            fits,
            "V1",
            "STOCK operation {} has {entries} cell entries, {movements} movements and \
             {instructions} instructions",
            record.operation
        );
        Ok(())
    }

    /// A count corrects only what its caller has seen.
    fn check_expected(&self, record: &StockRecord<'_>) -> Check {
        for entry in record.entries.iter() {
            let cell = self.stock.cell(entry.cell)?;
            let (found, what) = if record.operation == COUNT {
                (cell.fit_for_sale(), "count expected {} units fit for sale")
            } else {
                (cell.units[Bucket::Available as usize], "adjust expected {} available units")
            };
            demand!(
                found == record.expected,
                "I14",
                "{} in cell {}:{}, which has {found}",
                what.replace("{}", &record.expected.to_string()),
                entry.cell >> 24,
                entry.cell & CELL_ANY
            );
        }
        Ok(())
    }

    /// Every listed cell moves units, but for a count that was right.
    fn check_all_moved(&self, place: Place, record: &StockRecord<'_>) -> Check {
        for entry in record.entries.iter() {
            let moved = self.stock.moved_in(entry.cell, place.seq)?;
            demand!(
                moved
                    || (matches!(record.operation, ADJUST | COUNT) && record.movements.len() == 0),
                "I14",
                "STOCK lists cell {}:{} and does not move units of it",
                entry.cell >> 24,
                entry.cell & CELL_ANY
            );
        }
        Ok(())
    }
}

fn check_transition(record: &StockRecord<'_>, at: usize, movement: &Movement) -> Check {
    use Bucket::{Adjust, Available, Link, Supplier, Transit};
    let (from, to) = (movement.from, movement.to);
    let aside = Bucket::from_code(record.reason);
    let legal = match record.operation {
        ADJUST | COUNT => (from, to) == (Adjust, Available) || (from, to) == (Available, Adjust),
        QUARANTINE => from == Available && Some(to) == aside,
        UNQUARANTINE => Some(from) == aside && to == Available,
        TRANSFER_OUT => (from, to) == (Available, Transit),
        TRANSFER_IN if at == 0 => (from, to) == (Transit, Link),
        TRANSFER_IN => (from, to) == (Link, Available),
        _ => (from, to) == (Supplier, Available),
    };
    demand!(legal, "V1", "STOCK operation {} moves {}", record.operation, movement.words());
    demand!(movement.line == 0, "V1", "STOCK moves {}; it has no lines", movement.words());
    Ok(())
}

/// Units arrive that left: as many into LINK as out of it, the latter here or at a peer.
fn check_transfer_in(record: &StockRecord<'_>) -> Check {
    let mut quantities = [0, 0];
    let both = record.movements.iter().chain(record.instructions.iter());
    for (slot, movement) in quantities.iter_mut().zip(both) {
        *slot = movement?.quantity;
    }
    demand!(
        quantities[0] == quantities[1],
        "I3",
        "transfer takes {} units in transit and takes in {}",
        quantities[0],
        quantities[1]
    );
    for instruction in record.instructions.iter() {
        let instruction = instruction?;
        demand!(
            (instruction.from, instruction.to) == (Bucket::Link, Bucket::Available)
                && instruction.cell & CELL_ANY == CELL_ANY
                && instruction.line == 0,
            "V1",
            "transfer instructs {}; it must be LINK to A of a cell that the peer chooses",
            instruction.words()
        );
    }
    Ok(())
}
