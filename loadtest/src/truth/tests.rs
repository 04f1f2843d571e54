//! The checks against feeds and ledgers made by hand: verdicts, and memory within its bound.

use super::*;
use crate::ledger::bytes_hash;
use crate::op::{Answer, AskLine, Op, OpKind, Planned, RunSku};
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
    let catalogue = catalogue(None, 10);
    let mut ledger = Ledger::new(4);
    told(&mut |planned, answer, after| {
        ledger.enter(&planned, &Ok(answer), after, &catalogue).expect("it fits on disk");
    });
    let terms = Terms { expiry_skew_ms: 100, ..Terms::default() };
    let unresolved = Unresolved::default();
    let mut checker = Checker::new(&catalogue, ledger, unresolved, terms).expect("readable");
    for event in [vec![stock_in(10)], events].concat() {
        checker.observe(&event).expect("it fits on disk");
    }
    checker.stock(0, &level).expect("readable");
    let report = checker.finish().expect("readable");
    violated(&report).into_iter().map(str::to_owned).collect()
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
    assert_eq!(pays(placed(5_002), left(9, 1, 0)), none);
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
    assert!(ledger.bytes().1 > 195_000 * 76, "{} bytes on disk", ledger.bytes().1);
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
