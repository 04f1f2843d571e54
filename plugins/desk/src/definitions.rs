//! Definitions of SKUs as one batch sees them: those that many of its lines name are asked of the
//! engine once, so that no two orders of the batch are priced by two definitions, and no line waits
//! for a counter that all threads share.

use std::sync::Arc;

use onhand_core::{Engine, SkuId, SkuView};

/// Definitions that are kept; another one with the same place takes it.
const PLACES: usize = 64;

/// Definitions that a batch has asked for.
pub(crate) struct Definitions<'e> {
    engine: &'e Engine,
    kept: [Option<Arc<SkuView>>; PLACES],
}

impl<'e> Definitions<'e> {
    pub(crate) const fn new(engine: &'e Engine) -> Self {
        Self { engine, kept: [const { None }; PLACES] }
    }

    /// Returns the definition of a SKU, if there is one.
    pub(crate) fn get(&mut self, sku: SkuId) -> Option<&SkuView> {
        let place = &mut self.kept[place(sku)];
        if place.as_ref().is_none_or(|kept| kept.id != sku) {
            *place = self.engine.sku(sku);
        }
        place.as_deref()
    }
}

/// Returns the place of a SKU, by the best mixed bits of a product.
const fn place(sku: SkuId) -> usize {
    (sku.bits().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize
}

const _: () = assert!(PLACES == 1 << (64 - 58));

#[cfg(test)]
mod tests {
    use onhand_core::{
        Command, Currency, DefineSku, Engine, Key, Money, Placement, SkuId, SkuKind,
    };

    use super::{Definitions, PLACES, place};

    fn define(engine: &Engine, code: &str, minor: i64) -> SkuId {
        let define = DefineSku {
            key: Key::from_text(&format!("{code} {minor}")),
            code: code.to_owned(),
            kind: SkuKind::Goods,
            price: Money::new(minor, Currency::EUR).expect("in range"),
            placement: Placement::BySku,
            limit: None,
            components: Vec::new(),
        };
        let done = engine.execute(Command::DefineSku(Box::new(define))).expect("an engine");
        assert!(done.outcome.is_ok());
        SkuId::from_code(code).expect("a code")
    }

    /// SKUs of one place take turns and none is taken for another; one definition holds for a
    /// batch, and what is not defined is asked for again.
    #[test]
    fn each_sku_has_its_own_definition() {
        let (engine, _) = Engine::in_memory().open().expect("an engine");
        let mut wares = Vec::new();
        for number in 0..3 * PLACES as i64 {
            wares.push((define(&engine, &format!("W{number}"), number), number));
        }
        let mut batch = Definitions::new(&engine);
        for (sku, minor) in wares.iter().chain(&wares) {
            let found = batch.get(*sku).map(|sku| (sku.id, sku.price.minor()));
            assert_eq!(found, Some((*sku, *minor)));
        }
        let later = SkuId::from_code("LATER").expect("a code");
        assert_eq!(batch.get(later), None);
        define(&engine, "LATER", 5);
        assert_eq!(batch.get(later).map(|sku| sku.price.minor()), Some(5));
        define(&engine, "LATER", 6);
        assert_eq!(batch.get(later).map(|sku| sku.price.minor()), Some(5));
        assert!(wares.iter().any(|(sku, _)| place(*sku) == place(later)));
    }
}
