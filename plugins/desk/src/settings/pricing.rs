//! The table `[pricing]`: tiers, promotions, coupons, classes of goods.

use std::collections::BTreeMap;

use foldhash::HashMap;
use onhand_core::{Currency, Money, Quantity, SkuId};
use onhand_policy::pricing::{
    BASIS_POINTS_ONE, Benefit, PriceList, Promotion, Stacking, Target, Tier,
};
use serde::Deserialize;
use toml::value::{Datetime, Offset};

use super::{SettingsError, currency, number, sku, wrong};
use crate::policy::PriceBook;

/// Most SKUs with a class.
const CLASSED_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PricingTable {
    currency: Option<String>,
    #[serde(default)]
    tier: Vec<TierTable>,
    #[serde(default)]
    promotion: Vec<PromotionTable>,
    #[serde(default)]
    classes: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierTable {
    sku: String,
    from: i64,
    unit: i64,
    currency: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionTable {
    code: i64,
    sku: Option<String>,
    class: Option<i64>,
    on: Option<String>,
    percent: Option<i64>,
    fixed: Option<i64>,
    from: Option<Datetime>,
    until: Option<Datetime>,
    segment: Option<i64>,
    minimum: Option<i64>,
    coupon: Option<String>,
    stacking: Option<String>,
    group: Option<i64>,
    priority: Option<i64>,
    currency: Option<String>,
}

const U32: i64 = u32::MAX as i64;

pub(super) fn book(table: PricingTable) -> Result<PriceBook, SettingsError> {
    let PricingTable { currency: usual, tier, promotion, classes } = table;
    let money_in = |path: &str, own: Option<&String>| -> Result<Currency, SettingsError> {
        let path =
            if own.is_some() { format!("{path}.currency") } else { "pricing.currency".into() };
        currency(&path, own.or(usual.as_ref()))
    };
    let mut tiers = Vec::with_capacity(tier.len());
    for (index, tier) in tier.iter().enumerate() {
        let path = format!("pricing.tier[{index}]");
        let field = |name| format!("{path}.{name}");
        let most = Quantity::MAX.units().into();
        let minor = number(&field("unit"), tier.unit, 0, Money::MINOR_MAX)?;
        tiers.push(Tier {
            sku: sku(&field("sku"), &tier.sku)?,
            from: number(&field("from"), tier.from, 1, most)? as u32,
            price: money(&path, minor, money_in(&path, tier.currency.as_ref())?)?,
        });
    }
    let mut promotions = Vec::with_capacity(promotion.len());
    for (index, promotion) in promotion.iter().enumerate() {
        let path = format!("pricing.promotion[{index}]");
        promotions.push(read(&path, promotion, &money_in)?);
    }
    let prices = PriceList::new(&tiers, &promotions).map_err(|error| {
        let list = if error.field.contains("tier") { "tier" } else { "promotion" };
        wrong(format!("pricing.{list}[{}]", error.index), error.to_string())
    })?;
    Ok(PriceBook { prices, classes: read_classes(&classes)? })
}

fn money(path: &str, minor: i64, currency: Currency) -> Result<Money, SettingsError> {
    Money::new(minor, currency).ok_or_else(|| wrong(path, "has an amount out of range"))
}

fn read(
    path: &str,
    table: &PromotionTable,
    money_in: &impl Fn(&str, Option<&String>) -> Result<Currency, SettingsError>,
) -> Result<Promotion, SettingsError> {
    let field = |name: &str| format!("{path}.{name}");
    let own = || money_in(path, table.currency.as_ref());
    let target = match (&table.sku, table.class, table.on.as_deref()) {
        (Some(code), None, None) => Target::Sku(sku(&field("sku"), code)?),
        (None, Some(class), None) => Target::Class(number(&field("class"), class, 1, U32)? as u32),
        (None, None, Some("lines")) => Target::Lines,
        (None, None, Some("order")) => Target::Order,
        (None, None, Some(other)) => {
            return Err(wrong(field("on"), format!("is {other:?}, none of \"lines\", \"order\"")));
        }
        _ => return Err(wrong(path, "needs one of sku, class and on, and no two of them")),
    };
    let benefit = match (table.percent, table.fixed) {
        (Some(points), None) => {
            let most = BASIS_POINTS_ONE.into();
            Benefit::Percent(number(&field("percent"), points, 1, most)? as u32)
        }
        (None, Some(minor)) => {
            let minor = number(&field("fixed"), minor, 1, Money::MINOR_MAX)?;
            Benefit::Fixed(money(path, minor, own()?)?)
        }
        _ => return Err(wrong(path, "needs one of percent and fixed, and not both")),
    };
    let group = || {
        let why = "is missing, and stacking = \"best_of\" needs it: a number of your own";
        let group = table.group.ok_or_else(|| wrong(field("group"), why))?;
        Ok(number(&field("group"), group, 0, U32)? as u32)
    };
    let stacking = match table.stacking.as_deref() {
        None | Some("stackable") => Stacking::Stackable,
        Some("exclusive") => Stacking::Exclusive,
        Some("best_of") => Stacking::BestOf(group()?),
        Some(other) => {
            let why = format!("is {other:?}, none of \"stackable\", \"exclusive\", \"best_of\"");
            return Err(wrong(field("stacking"), why));
        }
    };
    if table.group.is_some() && !matches!(stacking, Stacking::BestOf(_)) {
        return Err(wrong(field("group"), "is there, and stacking is not \"best_of\""));
    }
    let code = number(&field("code"), table.code, 1, U32)? as u32;
    let mut promotion = Promotion::new(code, target, benefit);
    promotion.stacking = stacking;
    if let Some(from) = &table.from {
        promotion.from = time(&field("from"), from)?;
    }
    if let Some(until) = &table.until {
        promotion.until = time(&field("until"), until)?;
    }
    if promotion.until <= promotion.from {
        return Err(wrong(field("until"), "is not after from"));
    }
    let optional = |name: &str, value: Option<i64>| -> Result<u32, SettingsError> {
        Ok(number(&field(name), value.unwrap_or(0), 0, U32)? as u32)
    };
    promotion.segment = optional("segment", table.segment)?;
    promotion.priority = optional("priority", table.priority)?;
    if let Some(minor) = table.minimum {
        let minor = number(&field("minimum"), minor, 0, Money::MINOR_MAX)?;
        promotion.minimum = Some(money(path, minor, own()?)?);
    }
    let coupon = |code: &String| sku(&field("coupon"), code);
    promotion.coupon = table.coupon.as_ref().map(coupon).transpose()?;
    Ok(promotion)
}

fn read_classes(
    classes: &BTreeMap<String, Vec<String>>,
) -> Result<HashMap<SkuId, u32>, SettingsError> {
    let mut by_sku = HashMap::default();
    for (name, codes) in classes {
        let path = format!("pricing.classes.{name}");
        let class = name.parse().map_err(|_| wrong(&path, "is no number, the class of goods"))?;
        let class = number(&path, class, 1, U32)? as u32;
        for code in codes {
            if by_sku.insert(sku(&path, code)?, class).is_some() {
                return Err(wrong(&path, format!("has {code:?}, which is in a class already")));
            }
            number("pricing.classes", by_sku.len() as i64, 0, CLASSED_MAX as i64)?;
        }
    }
    Ok(by_sku)
}

/// Returns the milliseconds since 1970 of a date and time with its offset.
fn time(path: &str, datetime: &Datetime) -> Result<u64, SettingsError> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = datetime else {
        let why = "has no date, time and offset; write it like 2026-11-27T00:00:00Z";
        return Err(wrong(path, why));
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(*minutes),
    };
    // Days since 1970 of the proleptic Gregorian calendar. Source: Howard Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute);
    let seconds = (minutes - offset_minutes) * 60 + i64::from(time.second.unwrap_or(0));
    let millis = seconds * 1_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    u64::try_from(millis).map_err(|_| wrong(path, "is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::time;

    /// Dates around leap days and with offsets are the milliseconds that they should be.
    #[test]
    fn dates_are_milliseconds_since_1970() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500),
            ("2026-11-27T00:00:00+01:00", 1_795_734_000_000),
            ("2026-11-26T23:00:00Z", 1_795_734_000_000),
        ] {
            let datetime = text.parse().expect("a date");
            assert_eq!(time("from", &datetime), Ok(wanted), "{text}");
        }
        for text in ["2026-11-27", "2026-11-27T00:00:00", "1969-12-31T23:59:59Z"] {
            let datetime = text.parse().expect("a date");
            assert!(time("from", &datetime).is_err(), "{text}");
        }
    }
}
