//! The checks against feeds and ledgers made by hand: verdicts, and memory within its bound.

use super::*;
use crate::ledger::bytes_hash;
use crate::op::{Answer, AskLine, Op, OpKind, Planned, Price, RunSku};
use std::time::Instant;

const PRICE: i64 = 250;
/// Long before any deadline.
const START_MS: u64 = 1_000_000;

fn catalogue(limit: Option<u32>, put_in: u64) -> Catalogue {
    let mut catalogue = Catalogue::default();
    catalogue.add(RunSku { code: "hot".into(), limit, price: PRICE, put_in });
    catalogue
}

fn planned(number: u64, kind: OpKind) -> Planned {
    let mut op = Op::follow_up(kind, format!("k{number}"), u128::from(number));
    if kind.makes_order() {
        op.customer = format!("c{}", number % 50_000);
        op.lines = vec![AskLine { sku: 0, quantity: 1, location: 0, price: None }];
        op.ttl_ms = 5_000;
    }
    Planned { intent: number, op }
}

fn answer(number: u64, seq: u64) -> Answer {
    Answer {
        status: 201,
        code: "",
        order: Some(u128::from(number)),
        seq,
        replayed: false,
        line: None,
        found: None,
        total: Some(PRICE),
        deadline_ms: 0,
        body_hash: bytes_hash(&number.to_le_bytes()),
        done: Instant::now(),
    }
}

fn refusal(code: &'static str, seq: u64) -> Answer {
    Answer { status: 409, code, order: None, total: None, ..answer(0, seq) }
}

fn event(seq: u64, kind: EventKind, order: u64, from: Bucket, to: Bucket) -> FeedEvent {
    let movement = Movement { sku: 0, location: 1, quantity: 1, from, to };
    let made = matches!(kind, EventKind::Bought | EventKind::Reserved);
    FeedEvent {
        seq,
        kind,
        time_ms: START_MS + seq,
        order: Some(u128::from(order)),
        total: made.then_some(PRICE),
        priced: false,
        deadline_ms: if kind == EventKind::Reserved { START_MS + seq + 5_000 } else { 0 },
        movements: vec![movement],
    }
}

fn stock_in(units: u64) -> FeedEvent {
    let mut event = event(1, EventKind::Other, 0, Bucket::Outside, Bucket::Available);
    event.order = None;
    event.movements[0].quantity = units;
    event
}

fn violated(report: &TruthReport) -> Vec<&str> {
    report.checks.iter().filter(|check| check.is_violated()).map(|check| check.name).collect()
}

/// Tells a story and returns the names of the violated checks.
fn story(
    told: impl Fn(&mut dyn FnMut(Planned, Answer, u64)),
    events: Vec<FeedEvent>,
    level: StockLevel,
) -> Vec<String> {
    let report = report(told, events, level, Unresolved::default());
    violated(&report).into_iter().map(str::to_owned).collect()
}

/// Tells a story in which the outcome of some requests stayed unknown.
fn report(
    told: impl Fn(&mut dyn FnMut(Planned, Answer, u64)),
    events: Vec<FeedEvent>,
    level: StockLevel,
    unresolved: Unresolved,
) -> TruthReport {
    let catalogue = catalogue(None, 10);
    let mut ledger = Ledger::new(4);
    told(&mut |planned, answer, after| {
        ledger.enter(&planned, &Ok(answer), after, &catalogue).expect("it fits on disk");
    });
    let terms = Terms { expiry_skew_ms: 100, ..Terms::default() };
    let mut checker = Checker::new(&catalogue, ledger, unresolved, terms).expect("readable");
    for event in [vec![stock_in(10)], events].concat() {
        checker.observe(&event).expect("it fits on disk");
    }
    checker.stock(0, &level).expect("readable");
    checker.finish().expect("readable")
}

fn verdict(report: &TruthReport, name: &str) -> Verdict {
    let check = report.checks.iter().find(|check| check.name == name);
    check.map(Check::verdict).expect("it is a check")
}

fn left(available: u64, committed: u64, reserved: u64) -> StockLevel {
    StockLevel { available, reserved, committed, ..StockLevel::default() }
}

/// Payments and deadlines are judged by the host's own times, to the millisecond.
#[test]
fn deadlines_are_judged_by_the_host_s_times() {
    use Bucket::{Available, Committed, Reserved};
    let reserve = || event(2, EventKind::Reserved, 7, Available, Reserved);
    let receipt = || Answer { deadline_ms: START_MS + 2 + 5_000, ..answer(7, 2) };
    let at = |event: FeedEvent, ms: u64| FeedEvent { time_ms: START_MS + ms, ..event };
    let placed = |ms| at(event(3, EventKind::Placed, 7, Reserved, Committed), ms);
    let expired = |ms| at(event(3, EventKind::Expired, 7, Reserved, Available), ms);
    let pays = |end: FeedEvent, level| {
        story(
            |tell| {
                tell(planned(7, OpKind::Reserve), receipt(), 1);
                tell(planned(7, OpKind::Place), Answer { order: None, ..answer(7, 3) }, 2);
            },
            vec![reserve(), end],
            level,
        )
    };
    let none: [&str; 0] = [];
    assert_eq!(pays(placed(5_001), left(9, 1, 0)), none);
    // At its deadline a reservation is over, in the core as here.
    assert_eq!(pays(placed(5_002), left(9, 1, 0)), ["late_payments"]);
    assert_eq!(pays(placed(5_003), left(9, 1, 0)), ["late_payments"]);
    let leaves = |end: FeedEvent, level| {
        let tell = |tell: &mut dyn FnMut(Planned, Answer, u64)| {
            tell(planned(7, OpKind::Reserve), receipt(), 1);
        };
        story(tell, vec![reserve(), end], level)
    };
    assert_eq!(leaves(expired(5_002), left(10, 0, 0)), none);
    assert_eq!(leaves(expired(5_102), left(10, 0, 0)), none);
    assert_eq!(leaves(expired(5_103), left(10, 0, 0)), ["expiry_skew"]);
    assert_eq!(leaves(expired(5_001), left(10, 0, 0)), ["expiry_skew"]);
    // Still there long after its deadline, as the time of the last event shows.
    let other = at(event(3, EventKind::Other, 9, Available, Available), 9_000);
    assert_eq!(leaves(other, left(9, 0, 1)), ["expiry_skew"]);
    let refused = |next_ms: u64, seq: u64| {
        story(
            |tell| {
                tell(planned(7, OpKind::Reserve), receipt(), 1);
                tell(planned(7, OpKind::Place), refusal("reservation_expired", seq), 2);
            },
            vec![
                reserve(),
                expired(5_002),
                at(event(4, EventKind::Other, 9, Available, Available), next_ms),
            ],
            left(10, 0, 0),
        )
    };
    // Refused after it had ended; refused when the next event was past the deadline; refused when
    // the next event was long before it.
    assert_eq!(refused(6_000, 3), none);
    assert_eq!(refused(6_000, 2), none);
    let early = story(
        |tell| {
            tell(planned(7, OpKind::Reserve), receipt(), 1);
            tell(planned(7, OpKind::Place), refusal("reservation_expired", 2), 2);
        },
        vec![
            reserve(),
            at(event(3, EventKind::Other, 9, Available, Available), 1_000),
            expired(5_002),
        ],
        left(10, 0, 0),
    );
    assert_eq!(early, ["late_payments"]);
}

/// Whoever is refused at the end while units are left was sent away for nothing; before the last
/// unit came back it was right.
#[test]
fn left_units_are_undersold() {
    use Bucket::{Available, Committed};
    let buys: Vec<_> =
        (0..10).map(|n| event(2 + n, EventKind::Bought, n, Available, Committed)).collect();
    let back = event(12, EventKind::Other, 3, Committed, Available);
    let sale = |refused_at: u64, after: u64| {
        story(
            |tell| {
                (0..10).for_each(|n| tell(planned(n, OpKind::Buy), answer(n, 2 + n), 1));
                tell(planned(99, OpKind::Buy), refusal("sold_out", refused_at), after);
            },
            [buys.clone(), vec![back.clone()]].concat(),
            left(1, 9, 0),
        )
    };
    assert_eq!(sale(11, 11), [""; 0]);
    // The buyer may have been refused before the unit came back: the window begins at 11.
    assert_eq!(sale(12, 11), [""; 0]);
    assert_eq!(sale(12, 12), ["undersold", "false_sold_out"]);
}

/// Whoever wanted a unit of one location is not sent away for nothing because of units in another;
/// a small wish that was refused counts, whatever larger ones were refused after it.
#[test]
fn refusals_are_compared_with_what_they_were_about() {
    use Bucket::{Available, Committed};
    let asks = |number: u64, location: u32, quantity: u32| {
        let mut planned = planned(number, OpKind::Buy);
        planned.op.lines[0] = AskLine { sku: 0, quantity, location, price: None };
        planned
    };
    let bought = event(2, EventKind::Bought, 1, Available, Committed);
    let other = event(3, EventKind::Bought, 2, Available, Committed);
    let end = |refused: &[(u32, u32)]| {
        let tell = |tell: &mut dyn FnMut(Planned, Answer, u64)| {
            tell(planned(1, OpKind::Buy), answer(1, 2), 1);
            tell(planned(2, OpKind::Buy), answer(2, 3), 2);
            for (number, (location, quantity)) in (50..).zip(refused) {
                tell(asks(number, *location, *quantity), refusal("sold_out", 3), 3);
            }
        };
        story(tell, vec![bought.clone(), other.clone()], left(8, 2, 0))
    };
    // Ten units stood in location 1, none anywhere else.
    assert_eq!(end(&[(2, 1)]), [""; 0]);
    assert_eq!(end(&[(1, 9), (0, 9)]), [""; 0]);
    assert_eq!(end(&[(1, 8)]), ["undersold", "false_sold_out"]);
    assert_eq!(end(&[(0, 1), (0, 9), (2, 1)]), ["undersold", "false_sold_out"]);
}

/// A buyer who knows a position may not be told of an earlier one: a refusal from before units came
/// back is false for whoever asks after it, and true for whoever does not know.
#[test]
fn a_stale_refusal_is_false() {
    use Bucket::{Available, Committed};
    let buys: Vec<_> =
        (0..10).map(|n| event(2 + n, EventKind::Bought, n, Available, Committed)).collect();
    let back = event(12, EventKind::Other, 3, Committed, Available);
    let again = event(13, EventKind::Bought, 20, Available, Committed);
    let sale = |refused_at: u64, after: u64| {
        let tell = |tell: &mut dyn FnMut(Planned, Answer, u64)| {
            (0..10).for_each(|n| tell(planned(n, OpKind::Buy), answer(n, 2 + n), 1));
            tell(planned(20, OpKind::Buy), answer(20, 13), 1);
            tell(planned(99, OpKind::Buy), refusal("sold_out", refused_at), after);
        };
        let events = [buys.clone(), vec![back.clone(), again.clone()]].concat();
        let report = report(tell, events, left(0, 10, 0), Unresolved::default());
        let names = violated(&report).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (names, report.sold_out_exact)
    };
    assert_eq!(sale(11, 11), (vec![], 1));
    assert_eq!(sale(11, 12), (vec!["false_sold_out".to_owned()], 0));
    assert_eq!(sale(11, 13), (vec![], 0));
}

/// An answer that leaves the outcome open makes no ghost of the order behind it: the request is
/// asked again; a refusal before the key was looked at is one.
#[test]
fn open_answers_are_asked_again() {
    let catalogue = catalogue(None, 10);
    let lost = |status, code, kind| {
        let mut ledger = Ledger::new(4);
        let answer = Answer { status, ..refusal(code, 2) };
        ledger.enter(&planned(1, kind), &Ok(answer), 1, &catalogue).expect("it fits on disk");
        assert_eq!(ledger.refusals.get(&(kind, code)), Some(&1), "it counts as refused");
        ledger.lost.len()
    };
    assert_eq!(lost(409, "idempotency_in_flight", OpKind::Buy), 1);
    assert_eq!(lost(500, "internal", OpKind::Place), 1);
    assert_eq!(lost(503, "stopped", OpKind::Reserve), 1);
    assert_eq!(lost(504, "other", OpKind::Cancel), 1);
    assert_eq!(lost(503, "overloaded", OpKind::Buy), 0);
    assert_eq!(lost(429, "too_many_connections", OpKind::Buy), 0);
    assert_eq!(lost(409, "sold_out", OpKind::Buy), 0);
    assert_eq!(lost(500, "internal", OpKind::Browse), 0);
}

/// A request whose outcome is unknown explains one surprise and no more; if it may explain all of
/// them, there is no verdict.
#[test]
fn what_is_unknown_explains_no_more_than_itself() {
    use Bucket::{Available, Committed, Reserved};
    let story = |placed: u64, ghosts: u64, unresolved| {
        let tell = |tell: &mut dyn FnMut(Planned, Answer, u64)| {
            for n in 0..placed {
                let receipt = Answer { deadline_ms: START_MS + 2 + n + 5_000, ..answer(n, 2 + n) };
                tell(planned(n, OpKind::Reserve), receipt, 1);
                tell(planned(n, OpKind::Place), refusal("state_conflict", 9), 1);
            }
        };
        let reserve = |n| event(2 + n, EventKind::Reserved, n, Available, Reserved);
        let place = |n| event(12 + n, EventKind::Placed, n, Reserved, Committed);
        let ghost = |n| event(22 + n, EventKind::Bought, 70 + n, Available, Committed);
        let events = (0..placed).map(reserve).chain((0..placed).map(place));
        let events = events.chain((0..ghosts).map(ghost)).collect();
        let sold = placed + ghosts;
        let report = report(tell, events, left(10 - sold, sold, 0), unresolved);
        (verdict(&report, "placed_as_told"), verdict(&report, "ghost_orders"))
    };
    let unknown = |orders, changes| Unresolved { orders, changes };
    let absent = |name: &str, verdict: &Verdict| {
        assert!(matches!(verdict, Verdict::NotChecked(_)), "{name}: {verdict:?}");
    };
    assert_eq!(story(2, 0, unknown(1, 0)), (Verdict::Violated, Verdict::Holds));
    assert_eq!(story(2, 0, unknown(1, 1)), (Verdict::Violated, Verdict::Holds));
    assert_eq!(story(1, 2, unknown(1, 0)), (Verdict::Violated, Verdict::Violated));
    let (placed, ghosts) = story(2, 2, unknown(2, 2));
    absent("placed_as_told", &placed);
    absent("ghost_orders", &ghosts);
}

/// Figures beyond all sense are violations with evidence, and stop nobody.
#[test]
fn absurd_figures_are_violations() {
    use Bucket::{Available, Committed, Outside};
    let nothing = |_: &mut dyn FnMut(Planned, Answer, u64)| ();
    let level = StockLevel {
        available: u64::MAX,
        tentative: u64::MAX,
        reserved: u64::MAX,
        committed: u64::MAX,
        unavailable: u64::MAX,
        shipped: u64::MAX,
        seq: u64::MAX,
    };
    assert_eq!(story(nothing, vec![], level), ["undersold", "stock_balance"]);
    let mut huge = event(2, EventKind::Bought, 7, Available, Committed);
    huge.movements[0].quantity = u64::MAX;
    huge.movements = vec![huge.movements[0]; 5];
    let mut more = event(3, EventKind::Other, 7, Outside, Available);
    more.movements[0].quantity = u64::MAX;
    more.movements = vec![more.movements[0]; 5];
    let found = story(nothing, vec![huge, more], left(0, 10, 0));
    assert_eq!(found, ["oversold", "stock_balance", "ghost_orders"]);
}

/// Without events nobody knows whether a policy decided the prices: a total is compared with the
/// lines only where the request states their prices.
#[test]
fn without_events_stated_prices_alone_are_compared() {
    let check = |price: Option<Price>, wanted: &Verdict| {
        let catalogue = catalogue(None, 10);
        let mut ledger = Ledger::new(4);
        let mut planned = planned(1, OpKind::Buy);
        planned.op.lines[0].price = price;
        let told = Ok(Answer { total: Some(PRICE - 50), ..answer(1, 2) });
        ledger.enter(&planned, &told, 1, &catalogue).expect("it fits on disk");
        let (unresolved, terms) = (Unresolved::default(), Terms::default());
        let checker = Checker::new(&catalogue, ledger, unresolved, terms).expect("readable");
        let report = checker.finish_without_feed("no feed").expect("readable");
        assert_eq!(verdict(&report, "totals_exact"), *wanted, "{price:?}");
        assert_eq!(verdict(&report, "ghost_orders"), Verdict::NotChecked("no feed".to_owned()));
    };
    check(None, &Verdict::NotChecked("no feed".to_owned()));
    check(Some(Price { unit: PRICE, discount: 50 }), &Verdict::Holds);
    check(Some(Price { unit: PRICE, discount: 0 }), &Verdict::Violated);
}

/// An order for a cent more or less than its lines is found, from either side; a price that a
/// policy decided is none of the list's business.
#[test]
fn totals_are_exact() {
    use Bucket::{Available, Committed};
    let sale = |receipt: i64, event_total: i64, priced: bool| {
        let mut bought = event(2, EventKind::Bought, 1, Available, Committed);
        (bought.total, bought.priced) = (Some(event_total), priced);
        let told = Answer { total: Some(receipt), ..answer(1, 2) };
        let tell = move |tell: &mut dyn FnMut(Planned, Answer, u64)| {
            tell(planned(1, OpKind::Buy), told.clone(), 1);
        };
        story(tell, vec![bought], left(9, 1, 0))
    };
    assert_eq!(sale(PRICE, PRICE, false), [""; 0]);
    assert_eq!(sale(PRICE + 1, PRICE + 1, false), ["totals_exact"]);
    assert_eq!(sale(PRICE, PRICE - 1, false), ["totals_exact"]);
    assert_eq!(sale(PRICE - 50, PRICE - 50, true), [""; 0]);
}

/// Two hundred thousand orders of limited customers are told within a bound of 512 rows a kind:
/// whatever the length of the run, no part of the ledger or of the check holds more.
#[test]
fn memory_stays_within_its_bound() {
    use Bucket::{Available, Committed};
    let (orders, rows_max) = (200_000_u64, 512);
    let catalogue = catalogue(Some(4), orders);
    let mut ledger = Ledger::new(rows_max);
    let mut most = 0;
    for number in 0..orders {
        let accepted = Ok(answer(number, number + 2));
        ledger.enter(&planned(number, OpKind::Buy), &accepted, 1, &catalogue).expect("on disk");
        most = most.max(ledger.bytes().0);
    }
    let row = size_of::<crate::ledger::Told>() as u64;
    assert!(most <= 4 * rows_max as u64 * row, "{most} bytes for {rows_max} rows of {row}");
    assert!(ledger.bytes().1 > 195_000 * 77, "{} bytes on disk", ledger.bytes().1);
    let terms = Terms::default();
    let mut checker =
        Checker::new(&catalogue, ledger, Unresolved::default(), terms).expect("readable");
    checker.observe(&stock_in(orders)).expect("on disk");
    for number in 0..orders {
        let bought = event(number + 2, EventKind::Bought, number, Available, Committed);
        checker.observe(&bought).expect("on disk");
        let kept = checker.told.memory_bytes()
            + checker.facts.memory_bytes()
            + checker.paid.memory_bytes()
            + checker.held.memory_bytes();
        assert!(kept <= 4 * 2 * rows_max as u64 * 128, "{kept} bytes at {number}");
    }
    checker.stock(0, &left(0, orders, 0)).expect("readable");
    let report = checker.finish().expect("readable");
    assert_eq!((violated(&report), report.orders), (vec![], orders));
    let checked = |name| report.checks.iter().find(|check| check.name == name).map(|c| c.checked);
    assert_eq!(checked("customer_limit"), Some(orders));
    assert_eq!(checked("lost_acknowledgements"), Some(orders));
}

/// A reservation may outlast its deadline while the host is away on purpose, and no longer.
#[test]
fn outages_excuse_late_ends() {
    let outage = |from_ms, to_ms| super::Outage { from_ms, to_ms };
    let outages = vec![outage(1_000, 3_000), outage(3_050, 5_000), outage(9_000, 9_500)];
    let terms = Terms { expiry_skew_ms: 100, outages, ..Terms::default() };
    let check = |deadline: u64, wanted: u64| {
        assert_eq!(terms.late_allowed_ms(deadline, 20_000), wanted, "{deadline}");
    };
    check(500, 100);
    // The host went away before the skew was over, and again right after it was back.
    check(950, 4_150);
    check(2_000, 3_100);
    check(5_000, 100);
    check(8_950, 650);
    check(9_500, 100);
}
