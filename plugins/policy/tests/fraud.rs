//! Built-in fraud check: windows against a list of all that happened, bounds of memory, and each
//! kind of rule on both sides of its edge.

use onhand_core::{Currency, CustomerId, Money};
use onhand_policy::decision::{Score, Verdict, check_scores};
use onhand_policy::fact::{DISTANCE_UNKNOWN, FraudBatch, FraudHeader, FraudLine};
use onhand_policy::fraud::{
    CUSTOMERS_MAX, Condition, DAY_BUCKET_MS, HOUR_BUCKET_MS, Measure, Rule, Rules, Sighting, Stage,
    Test, Thresholds, Velocity, default_rules,
};
use proptest::prelude::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn amount(minor: i64, currency: Currency) -> Money {
    Money::new(minor, currency).expect("an amount of the test")
}

fn sighting(customer: u64, address: u64, device: u64, now: u64) -> Sighting {
    let amount = amount(10_00, Currency::EUR);
    Sighting { customer: CustomerId(customer), address, device, now, amount }
}

fn facts(velocity: &Velocity, customer: u64, address: u64, device: u64, now: u64) -> FraudHeader {
    let mut facts =
        FraudHeader { customer, address, device, now, currency: 978, ..Default::default() };
    velocity.fill(&mut facts);
    facts
}

/// What happened, without any bound: the model of the windows.
#[derive(Default)]
struct Naive {
    now: u64,
    events: Vec<(Sighting, Stage, u64)>,
}

impl Naive {
    fn observe(&mut self, sighting: &Sighting, stage: Stage) {
        self.now = self.now.max(sighting.now);
        self.events.push((*sighting, stage, self.now));
    }

    /// Events that the window of `buckets` buckets of `bucket_ms` still sees, of one stage.
    fn seen(&self, now: u64, bucket_ms: u64, buckets: u64, stage: Stage) -> Vec<&Sighting> {
        let now = self.now.max(now) / bucket_ms;
        let inside = |at: u64| at / bucket_ms + buckets > now;
        let events = self.events.iter().filter(|(_, s, at)| *s == stage && inside(*at));
        events.map(|(sighting, _, _)| sighting).collect()
    }

    fn fill(&self, facts: &mut FraudHeader) {
        let hour = self.seen(facts.now, HOUR_BUCKET_MS, 12, Stage::Attempted);
        let day = self.seen(facts.now, DAY_BUCKET_MS, 24, Stage::Attempted);
        let customers = |of: &dyn Fn(&Sighting) -> u64, key: u64| {
            let same = day.iter().filter(|s| key != 0 && of(s) == key && s.customer.0 != 0);
            let mut customers: Vec<u64> = same.map(|s| s.customer.0).collect();
            customers.sort_unstable();
            customers.dedup();
            customers.len().min(CUSTOMERS_MAX) as u32
        };
        let count = |list: &[&Sighting], of: &dyn Fn(&Sighting) -> u64, key: u64| {
            list.iter().filter(|s| key != 0 && of(s) == key).count() as u32
        };
        facts.customer_orders_hour = count(&hour, &|s| s.customer.0, facts.customer);
        facts.customer_orders_day = count(&day, &|s| s.customer.0, facts.customer);
        facts.address_orders_hour = count(&hour, &|s| s.address, facts.address);
        facts.address_customers_day = customers(&|s| s.address, facts.address);
        facts.device_orders_hour = count(&hour, &|s| s.device, facts.device);
        facts.device_customers_day = customers(&|s| s.device, facts.device);
        let paid = self.seen(facts.now, DAY_BUCKET_MS, 24, Stage::Committed);
        let own = paid.iter().filter(|s| facts.customer != 0 && s.customer.0 == facts.customer);
        let own = own.filter(|s| u32::from(s.amount.currency().number()) == facts.currency);
        facts.customer_amount_day = own.map(|s| s.amount.minor().max(0)).sum();
    }
}

fn event() -> impl Strategy<Value = (Sighting, Stage)> {
    let step = prop_oneof![4 => 0..10 * MINUTE, 2 => 0..3 * HOUR, 1 => 0..40 * HOUR];
    let stage = prop_oneof![3 => Just(Stage::Attempted), 2 => Just(Stage::Committed)];
    (0_u64..5, 0_u64..4, 0_u64..4, step, -5_i64..1_000, any::<bool>(), stage).prop_map(
        |(customer, address, device, now, minor, dollars, stage)| {
            let currency = if dollars { Currency::USD } else { Currency::EUR };
            let amount = amount(minor, currency);
            (Sighting { customer: CustomerId(customer), address, device, now, amount }, stage)
        },
    )
}

proptest! {
    /// Below their limits the windows see what a list of all events sees, also when time jumps
    /// or is handed in late.
    #[test]
    fn windows_agree_with_a_list_of_all_events(
        events in prop::collection::vec((event(), any::<bool>()), 1..60),
        later in 0_u64..30 * HOUR,
    ) {
        let mut velocity = Velocity::new(1_000).expect("in range");
        let mut naive = Naive::default();
        let mut time = 1_700_000_000_000;
        for ((mut sighting, stage), late) in events {
            // Steps become times; a late one comes from before the last.
            sighting.now = if late { time - sighting.now } else { time + sighting.now };
            time = time.max(sighting.now);
            velocity.observe(&sighting, stage);
            naive.observe(&sighting, stage);
            for (now, currency) in [(sighting.now, 978), (time + later, 840)] {
                let mut facts = FraudHeader {
                    customer: sighting.customer.0,
                    address: sighting.address,
                    device: sighting.device,
                    now,
                    currency,
                    ..Default::default()
                };
                let mut expected = facts;
                velocity.fill(&mut facts);
                naive.fill(&mut expected);
                prop_assert_eq!(facts, expected);
            }
        }
    }

    /// Memory is bounded, and the subjects seen last are those that are kept: by a plain list.
    #[test]
    fn the_oldest_subjects_make_room(
        order in prop::collection::vec(1_u64..30, 1..80),
        max in 1_u32..10,
    ) {
        let mut velocity = Velocity::new(max).expect("in range");
        let mut model: Vec<(u64, u64)> = Vec::new();
        for (at, customer) in order.iter().enumerate() {
            // A quarter of an hour each, all within one day, so that nothing leaves by its age.
            let now = 1_700_000_000_000 + at as u64 * HOUR / 4;
            velocity.observe(&sighting(*customer, *customer, 0, now), Stage::Attempted);
            let seen = (now / DAY_BUCKET_MS, *customer);
            // Whoever was seen in this hour already keeps its place.
            if !model.contains(&seen) {
                model.retain(|(_, other)| other != customer);
                if model.len() == max as usize {
                    model.remove(0);
                }
                model.push(seen);
            }
            prop_assert_eq!(velocity.subjects(), [model.len(), 0, model.len(), 0]);
            for customer in 1..30 {
                let kept = facts(&velocity, customer, 0, 0, now).customer_orders_day > 0;
                let expected = model.iter().any(|(_, other)| *other == customer);
                prop_assert_eq!(kept, expected, "customer {}", customer);
            }
        }
    }
}

#[test]
fn eviction_is_by_age_then_by_arrival() {
    let mut velocity = Velocity::new(2).expect("in range");
    let day =
        |velocity: &Velocity, customer| facts(velocity, customer, 0, 0, 0).customer_orders_day;
    velocity.observe(&sighting(5, 0, 0, HOUR), Stage::Attempted);
    velocity.observe(&sighting(4, 0, 0, HOUR), Stage::Attempted);
    velocity.observe(&sighting(6, 0, 0, HOUR), Stage::Attempted);
    assert_eq!([4, 5, 6].map(|customer| day(&velocity, customer)), [1, 0, 1]);
    velocity.observe(&sighting(4, 0, 0, 2 * HOUR), Stage::Attempted);
    velocity.observe(&sighting(7, 0, 0, 2 * HOUR), Stage::Attempted);
    assert_eq!([4, 6, 7].map(|customer| day(&velocity, customer)), [2, 0, 1]);
    // What no window sees any more goes without being pushed out, and not a bucket sooner.
    let mut velocity = Velocity::new(9).expect("in range");
    velocity.observe(&sighting(1, 0, 0, 2 * HOUR), Stage::Attempted);
    velocity.observe(&sighting(2, 0, 0, 26 * HOUR - 1), Stage::Attempted);
    assert_eq!(velocity.subjects()[0], 2);
    velocity.observe(&sighting(3, 0, 0, 26 * HOUR), Stage::Attempted);
    assert_eq!([1, 2, 3].map(|customer| day(&velocity, customer)), [0, 1, 1]);
    assert_eq!(velocity.subjects()[0], 2);
}

#[test]
fn different_customers_are_counted_up_to_their_limit() {
    let mut velocity = Velocity::new(100).expect("in range");
    let most = CUSTOMERS_MAX as u64;
    for customer in 1..=most + 3 {
        velocity.observe(&sighting(customer, 9, 9, 1), Stage::Attempted);
        let expected = customer.min(most) as u32;
        let seen = facts(&velocity, 1, 9, 9, 1);
        assert_eq!((seen.address_customers_day, seen.device_customers_day), (expected, expected));
    }
    assert!(Velocity::new(0).is_err());
}

/// A header to which each rule of the test adds what it looks at.
fn calm() -> FraudHeader {
    FraudHeader {
        currency: 978,
        customer_age_days: 400,
        distance_km: DISTANCE_UNKNOWN,
        line_count: 1,
        ..Default::default()
    }
}

fn score(rules: &Rules, facts: FraudHeader) -> Score {
    let lines = [FraudLine { sku: 1, quantity: 1, unit: 1 }];
    let headers = [facts];
    let batch = FraudBatch::new(&headers, &lines).expect("facts are in range");
    let mut answer = Vec::new();
    rules.score(&batch, &mut answer);
    check_scores(&batch, &answer).expect("a built-in answer is valid");
    answer[0]
}

fn rule(code: u32, points: u32, verdict: Verdict, measure: Measure, test: Test) -> Rule {
    Rule { code, conditions: vec![Condition { measure, test }], points, verdict }
}

fn fits(measure: Measure, test: Test, facts: FraudHeader) -> bool {
    let rules = vec![rule(3, 10, Verdict::Allow, measure, test)];
    let rules = Rules::new(rules, Thresholds::default()).expect("in range");
    score(&rules, facts).code == 3
}

/// Writes what a measure looks at.
type Set = fn(&mut FraudHeader, u32);

#[test]
fn each_measure_is_compared_on_both_sides_of_its_edge() {
    let least = Test::AtLeast(5);
    let cases: [(Measure, Set); 11] = [
        (Measure::Total(Currency::EUR), |f, v| f.total = v.into()),
        (Measure::Units, |f, v| f.units = v),
        (Measure::CustomerAgeDays, |f, v| f.customer_age_days = v),
        (Measure::DistanceKm, |f, v| f.distance_km = v),
        (Measure::CustomerOrdersHour, |f, v| f.customer_orders_hour = v),
        (Measure::CustomerOrdersDay, |f, v| f.customer_orders_day = v),
        (Measure::CustomerAmountDay(Currency::EUR), |f, v| f.customer_amount_day = v.into()),
        (Measure::AddressOrdersHour, |f, v| f.address_orders_hour = v),
        (Measure::AddressCustomersDay, |f, v| f.address_customers_day = v),
        (Measure::DeviceOrdersHour, |f, v| f.device_orders_hour = v),
        (Measure::DeviceCustomersDay, |f, v| f.device_customers_day = v),
    ];
    for (measure, set) in cases {
        let with = |value| {
            let mut facts = calm();
            set(&mut facts, value);
            facts
        };
        assert_eq!([4, 5].map(|v| fits(measure, least, with(v))), [false, true], "{measure:?}");
        let most = Test::AtMost(5);
        assert_eq!([5, 6].map(|v| fits(measure, most, with(v))), [true, false], "{measure:?}");
    }
}

#[test]
fn what_is_not_known_or_in_another_currency_fits_no_rule() {
    for test in [Test::AtLeast(0), Test::AtMost(i64::MAX)] {
        assert!(!fits(Measure::DistanceKm, test, calm()));
        assert!(!fits(Measure::Total(Currency::USD), test, calm()));
        assert!(!fits(Measure::CustomerAmountDay(Currency::USD), test, calm()));
        assert!(fits(Measure::Total(Currency::EUR), test, calm()));
    }
    // The order itself counts to the amount of the day.
    let facts = FraudHeader { customer_amount_day: 3, total: 2, ..calm() };
    assert!(fits(Measure::CustomerAmountDay(Currency::EUR), Test::AtLeast(5), facts));
}

#[test]
fn points_add_up_and_the_highest_verdict_holds() {
    let units = |code, points, verdict, least| {
        rule(code, points, verdict, Measure::Units, Test::AtLeast(least))
    };
    let rules = vec![
        units(1, 299, Verdict::Allow, 1),
        units(2, 1, Verdict::Allow, 2),
        units(3, 300, Verdict::Allow, 3),
        units(4, 0, Verdict::Deny, 4),
        units(5, 900, Verdict::Allow, 5),
    ];
    let rules = Rules::new(rules, Thresholds::default()).expect("in range");
    let at = |units| {
        let Score { points, verdict, code } = score(&rules, FraudHeader { units, ..calm() });
        (points, verdict, code)
    };
    assert_eq!(at(0), (0, 0, 0));
    assert_eq!(at(1), (299, 0, 1));
    assert_eq!(at(2), (300, 1, 1));
    assert_eq!(at(3), (600, 2, 3));
    assert_eq!(at(4), (600, 3, 4), "a rule's own verdict");
    assert_eq!(at(5), (1_000, 3, 4), "points stop at their maximum");
}

#[test]
fn settings_out_of_range_are_named() {
    let text =
        |rules, thresholds| Rules::new(rules, thresholds).err().map(|error| error.to_string());
    let one =
        |points, code| vec![rule(code, points, Verdict::Deny, Measure::Units, Test::AtMost(1))];
    let fine = Thresholds::default();
    assert_eq!(text(one(1_000, 1), fine), None);
    let over = text(one(1_001, 1), fine);
    assert_eq!(over.as_deref(), Some("points of entry 0 is 1001, outside 0..=1000"));
    assert!(text(one(1, 0), fine).is_some());
    let none = vec![Rule { conditions: vec![], ..one(1, 1)[0].clone() }];
    assert!(text(none, fine).is_some());
    assert!(text(vec![], Thresholds { review: 299, ..fine }).is_some());
    assert!(text(vec![], Thresholds { deny: 1_001, ..fine }).is_none());
    assert!(text(vec![], Thresholds { deny: 1_002, ..fine }).is_some());
}

/// The rules that a shop gets without asking: a calm order passes, a card tester does not.
#[test]
fn default_rules_stop_a_burst_and_let_a_regular_pass() {
    let rules = Rules::new(default_rules(), Thresholds::default()).expect("in range");
    let mut velocity = Velocity::new(1_000).expect("in range");
    let mut verdicts = Vec::new();
    for n in 0..12 {
        let now = 1_700_000_000_000 + n * MINUTE;
        let facts =
            FraudHeader { customer_age_days: 400, line_count: 1, ..facts(&velocity, 1, 2, 3, now) };
        verdicts.push(score(&rules, facts).verdict);
        velocity.observe(&sighting(1, 2, 3, now), Stage::Attempted);
    }
    assert_eq!(verdicts, [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]);
    let next_day = 1_700_000_000_000 + 25 * HOUR;
    let facts = FraudHeader {
        line_count: 1,
        customer_age_days: 400,
        ..facts(&velocity, 1, 2, 3, next_day)
    };
    assert_eq!(score(&rules, facts).verdict, 0);
}
