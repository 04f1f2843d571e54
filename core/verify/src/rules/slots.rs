//! Sums of a record's units by line, and by component where the line is of a kit.

use crate::catalog::Sku;
use crate::failure::{Check, broken, demand};
use crate::record::Movement;

/// Sums of one line.
#[derive(Debug)]
struct LineSlots {
    sku: u32,
    location: u32,
    /// First of this line's sums: one for goods, one a component for a kit.
    first: usize,
}

/// Sums of all lines of a basket.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    lines: Vec<LineSlots>,
    sums: Vec<u64>,
}

impl Slots {
    /// Forgets all lines and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.sums.clear();
    }

    /// Adds the next line; location 0 accepts any.
    pub(crate) fn push(&mut self, skus: &[Sku], sku: u32, location: u32) {
        self.lines.push(LineSlots { sku, location, first: self.sums.len() });
        let components = skus[sku as usize].components.len().max(1);
        self.sums.resize(self.sums.len() + components, 0);
    }

    /// Checks that a movement's cell fits its line; adds its units if they count.
    pub(crate) fn add(
        &mut self,
        skus: &[Sku],
        movement: &Movement,
        cell_sku: u32,
        cell_location: u32,
        counts: bool,
    ) -> Check {
        let Some(line) = self.lines.get(movement.line as usize) else {
            let lines = self.lines.len();
            return Err(broken("V1", format!("{}: there are {lines} lines", movement.words())));
        };
        demand!(
            line.location == 0 || line.location == cell_location,
            "V1",
            "{}: the line names location {}, the cell is at {cell_location}",
            movement.words(),
            line.location
        );
        let sku = &skus[line.sku as usize];
        let slot = if sku.is_kit() {
            sku.components.iter().position(|(component, _)| *component == cell_sku)
        } else {
            (line.sku == cell_sku).then_some(0)
        };
        let Some(slot) = slot else {
            return Err(broken(
                "V1",
                format!(
                    "{}: the cell is of SKU index {cell_sku}, the line of {}",
                    movement.words(),
                    line.sku
                ),
            ));
        };
        if counts {
            self.sums[line.first + slot] += u64::from(movement.quantity);
        }
        Ok(())
    }

    /// Returns the units of a line, or its kits: each component moved as many times its
    /// quantity.
    pub(crate) fn units(&self, skus: &[Sku], line: usize) -> Check<u64> {
        let slots = &self.lines[line];
        let sku = &skus[slots.sku as usize];
        let Some((_, first_each)) = sku.components.first() else {
            return Ok(self.sums[slots.first]);
        };
        let kits = self.sums[slots.first] / u64::from(*first_each);
        for (place, (component, each)) in sku.components.iter().enumerate() {
            let moved = self.sums[slots.first + place];
            demand!(
                moved == kits * u64::from(*each),
                "I4",
                "line {line}: {moved} units of component SKU index {component} are not {kits} \
                 kits of {each} each"
            );
        }
        Ok(kits)
    }
}
