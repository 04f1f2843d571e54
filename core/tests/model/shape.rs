//! What the model refuses without looking anything up.

use super::*;

/// What can be said of a command without looking anything up.
pub(super) fn check_shape(command: &Command) -> Checked {
    let mut rejects = BTreeSet::new();
    let mut positive = |quantity: Quantity| {
        if quantity == Quantity::ZERO {
            rejects.insert(Reject::QuantityInvalid);
        }
    };
    match command {
        Command::Receive(c) => positive(c.quantity),
        Command::Quarantine(c) => positive(c.quantity),
        Command::TransferOut(c) => positive(c.quantity),
        Command::TransferIn(c) => positive(c.quantity),
        Command::Import(c) => {
            c.lines.iter().for_each(|l| positive(l.quantity));
            if c.lines.is_empty() || c.lines.len() > IMPORT_LINES_MAX {
                rejects.insert(Reject::LineCount);
            }
        }
        Command::Adjust(c) => {
            let most = u64::from(Quantity::MAX.units());
            if c.available > 1 << 53 || c.available.abs_diff(c.expected) > most {
                rejects.insert(Reject::QuantityInvalid);
            }
        }
        Command::Count(c) => {
            let most = u64::from(Quantity::MAX.units());
            if c.counted > 1 << 53 || c.counted.abs_diff(c.expected) > most {
                rejects.insert(Reject::QuantityInvalid);
            }
        }
        Command::Cancel(c) => c.lines.iter().for_each(|l| positive(l.quantity)),
        Command::Ship(c) => c.lines.iter().for_each(|l| positive(l.quantity)),
        Command::Short(c) => {
            c.lines.iter().for_each(|l| positive(l.quantity));
            if c.lines.is_empty() {
                rejects.insert(Reject::LineCount);
            }
        }
        Command::Extend(c) => {
            if c.ttl_ms == 0 || c.ttl_ms > TTL_MS_MAX {
                rejects.insert(Reject::TtlInvalid);
            }
        }
        Command::PolicyStep(step) => decide::step_shape(step, &mut rejects),
        Command::RecordRisk(c) => {
            if c.risk == Risk::Unscored {
                rejects.insert(Reject::DecisionInvalid);
            }
        }
        Command::DefineSku(define) => definition_shape(define, &mut rejects),
        Command::Buy(buy) => basket_shape(&of_buy(buy), &mut rejects),
        Command::Reserve(reserve) => basket_shape(&of_reserve(reserve), &mut rejects),
        _ => (),
    }
    none_of(rejects)
}

fn definition_shape(define: &DefineSku, rejects: &mut BTreeSet<Reject>) {
    if define.price.minor() < 0 {
        rejects.insert(Reject::AmountInvalid);
    }
    let id = SkuId::from_code(&define.code).ok();
    let kit = define.kind == SkuKind::Kit;
    let own = |(sku, units): &(SkuId, Quantity)| Some(*sku) == id || *units == Quantity::ZERO;
    let skus: BTreeSet<SkuId> = define.components.iter().map(|(sku, _)| *sku).collect();
    let spread = kit || define.placement == Placement::ByLocation;
    let bad = id.is_none()
        || kit == define.components.is_empty()
        || skus.len() != define.components.len()
        || define.components.iter().any(own)
        || define.limit == Some(Quantity::ZERO)
        || (define.limit.is_some() && spread)
        || matches!(define.placement, Placement::Group(group) if group < 2);
    if bad {
        rejects.insert(Reject::DefinitionInvalid);
    }
}

fn basket_shape(basket: &Basket<'_>, rejects: &mut BTreeSet<Reject>) {
    if basket.lines.is_empty() || basket.lines.len() > LINES_MAX {
        rejects.insert(Reject::LineCount);
        return;
    }
    let sum: u64 = basket.lines.iter().map(|l| u64::from(l.quantity.units())).sum();
    for line in basket.lines {
        if line.quantity == Quantity::ZERO {
            rejects.insert(Reject::QuantityInvalid);
        }
        if line.price.is_some() != basket.lines[0].price.is_some() {
            rejects.insert(Reject::AmountInvalid);
        }
        let Some(price) = line.price else { continue };
        let gross = i128::from(price.unit) * i128::from(line.quantity.units());
        if price.unit < 0 || price.discount < 0 || i128::from(price.discount) > gross {
            rejects.insert(Reject::AmountInvalid);
        }
    }
    decide::decided_shape(basket, rejects);
    if matches!(basket.fill, Fill::Min(units) if units == 0 || u64::from(units) > sum) {
        rejects.insert(Reject::QuantityInvalid);
    }
    if let Some((ttl, cap)) = basket.times {
        if ttl == 0 || ttl > TTL_MS_MAX || cap < ttl || cap > HARD_CAP_MS_MAX {
            rejects.insert(Reject::TtlInvalid);
        }
    }
}
