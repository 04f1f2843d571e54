//! Of several rejects that apply, the first by precedence is the answer, at the first line that it
//! applies to.

mod common;

use common::{accept, buy, define, receive, sku, units};
use onhand_core::{
    Buy, Command, Currency, CustomerId, DefineSku, Engine, Fill, Import, ImportLine, Key, Line,
    LinePrice, LocationId, LotId, Money, Placement, Quantity, Reject, SkuKind,
};

fn other(code: &str, change: impl FnOnce(&mut DefineSku)) -> Command {
    let Command::DefineSku(mut define) = define(code, None) else { unreachable!("it defines") };
    change(&mut define);
    Command::DefineSku(define)
}

fn shop() -> Engine {
    let (engine, _) = Engine::in_memory().open().expect("opens");
    let dollars = Money::new(300, Currency::USD).expect("in range");
    for command in [
        define("MUG", None),
        define("LIMITED", Some(2)),
        other("PLACED", |d| d.placement = Placement::ByLocation),
        other("DOLLAR", |d| d.price = dollars),
        other("KIT", |d| {
            d.kind = SkuKind::Kit;
            d.components = vec![(sku("MUG"), units(4))];
        }),
        receive("r1", "MUG", 5),
        receive("r2", "LIMITED", 1),
        buy("used", 1, "MUG", 1),
    ] {
        accept(&engine, command);
    }
    engine
}

fn line(code: &str, count: u32) -> Line {
    Line::new(sku(code), units(count))
}

/// Checks the answer to a basket of a customer without a name, with the key `key`.
#[track_caller]
fn check(engine: &Engine, key: &str, lines: &[Line], wanted: (Reject, u16)) {
    let buy = Buy {
        key: Key::from_text(key),
        customer: CustomerId(0),
        lines: lines.to_vec().into(),
        fill: Fill::All,
        expected_total: None,
        decided: None,
    };
    let refused = engine.execute(Command::Buy(buy)).expect("runs").outcome;
    assert_eq!(refused.map_err(|r| (r.reject, r.line)), Err(wanted));
}

#[test]
fn baskets_are_refused_for_the_first_reason_over_all_lines() {
    let engine = shop();
    let check = |lines: &[Line], wanted| check(&engine, "basket", lines, wanted);
    let all = [
        line("LIMITED", 1),
        line("DOLLAR", 1),
        line("PLACED", 1),
        line("NONE", 1),
        line("MUG", 1).priced(LinePrice { unit: 1, discount: 9 }),
        line("MUG", 1).priced(LinePrice { unit: -1, discount: 0 }),
        line("KIT", Quantity::MAX.units()),
        line("MUG", 0),
    ];
    // One reason less each time; the first line that a reason applies to is told.
    check(&all, (Reject::QuantityInvalid, 6));
    check(&all[..6], (Reject::AmountInvalid, 4));
    check(&all[..4], (Reject::SkuUnknown, 3));
    check(&all[..3], (Reject::LocationInvalid, 2));
    check(&all[..2], (Reject::CurrencyMismatch, 1));
    check(&all[..1], (Reject::CustomerRequired, 0));
    let twice = [line("MUG", 1), line("NONE", 1), line("NOTHING", 1)];
    check(&twice, (Reject::SkuUnknown, 1));
}

#[test]
fn used_keys_stand_between_shape_and_catalogue() {
    let engine = shop();
    check(&engine, "used", &[line("NONE", 1)], (Reject::IdempotencyKeyReused, 0));
    let large = [line("NONE", 1), line("KIT", Quantity::MAX.units())];
    check(&engine, "used", &large, (Reject::QuantityInvalid, 1));
    check(&engine, "used", &[line("MUG", 0)], (Reject::QuantityInvalid, 0));
}

#[test]
fn the_first_line_that_is_sold_out_is_told() {
    let engine = shop();
    // Lines with a location are planned first, and still the first of the basket is told.
    let lines = [line("MUG", 9), line("PLACED", 1).at(LocationId(1)), line("MUG", 9)];
    check(&engine, "basket", &lines, (Reject::SoldOut, 0));
    let lines = [line("MUG", 1), line("PLACED", 1).at(LocationId(1)), line("MUG", 9)];
    check(&engine, "basket", &lines, (Reject::SoldOut, 0));
    let lines = [line("MUG", 1), line("PLACED", 1).at(LocationId(1)), line("MUG", 2)];
    check(&engine, "basket", &lines, (Reject::SoldOut, 1));
}

#[test]
fn definitions_and_imports_follow_the_order_too() {
    let engine = shop();
    let refused = |command: Command| {
        let outcome = engine.execute(command).expect("runs").outcome;
        outcome.map_err(|r| (r.reject, r.line)).expect_err("it is refused")
    };
    let kit = |code: &str, components: &[&str]| {
        let components = components.iter().map(|code| (sku(code), units(1))).collect();
        other(code, |d| {
            d.key = Key::from_text("kit");
            d.kind = SkuKind::Kit;
            d.components = components;
        })
    };
    let all = ["DOLLAR", "KIT", "NONE"];
    assert_eq!(refused(kit("MUG", &all)), (Reject::SkuUnknown, 2));
    assert_eq!(refused(kit("MUG", &all[..2])), (Reject::SkuFixed, 0));
    assert_eq!(refused(kit("NEW", &all[..2])), (Reject::KitMismatch, 1));
    assert_eq!(refused(kit("NEW", &all[..1])), (Reject::CurrencyMismatch, 0));
    let import = |lines: &[(&str, u32, u32)]| {
        let line = |(code, location, count): &(&str, u32, u32)| ImportLine {
            sku: sku(code),
            location: LocationId(*location),
            lot: LotId(0),
            quantity: units(*count),
        };
        let lines = lines.iter().map(line).collect();
        Command::Import(Import { key: Key::from_text("import"), lines })
    };
    let all = [("KIT", 1, 1), ("MUG", 0, 1), ("NONE", 1, 1), ("MUG", 1, 0)];
    assert_eq!(refused(import(&all)), (Reject::QuantityInvalid, 3));
    assert_eq!(refused(import(&all[..3])), (Reject::SkuUnknown, 2));
    assert_eq!(refused(import(&all[..2])), (Reject::LocationInvalid, 1));
    assert_eq!(refused(import(&all[..1])), (Reject::KitMismatch, 0));
}
