//! Baskets on their way: built-in policies, what is recorded, repetitions.

use onhand_core::{
    Command, CustomerId, DecidedBy, Fill, Line, LinePrice, OrderStatus, PolicyNo, Receipt, Reject,
    Risk,
};
use onhand_desk::limits::{HERE_DEADLINE_MS_MAX, HERE_FUEL_MAX};
use onhand_desk::{Ask, AskError, Desk, DeskConfig, Shopper};

use crate::common::{
    NOW, ask, ask_as, bought, decide, desk, plain, purchase, quick_tenth, refused, send, shop, sku,
    units,
};

const TENTH: &str = "[[pricing.promotion]]\ncode = 7\nsku = \"MUG\"\npercent = 1000";
const COUPON: &str = "[pricing]\ncurrency = \"EUR\"\n[[pricing.promotion]]\ncode = 7\n\
    on = \"order\"\nfixed = 300\ncoupon = \"WELCOME\"";

fn with_coupon() -> Shopper {
    Shopper { coupons: vec![sku("WELCOME").bits()], ..Shopper::default() }
}

/// Without a policy a command leaves the desk as it came, but for what was said of the buyer.
#[test]
fn without_a_policy_nothing_is_decided() {
    let engine = shop();
    let desk = Desk::open(engine.clone(), DeskConfig::default()).expect("a desk");
    assert!(desk.is_silent());
    let came = Command::Buy(purchase("a", 1, &[("MUG", 1)]));
    assert_eq!(decide(&desk, ask("a", 1, &[("MUG", 1)])), came);
    assert!(engine.policies().is_empty());
    let Command::Buy(buy) = decide(&desk, ask_as("a", 1, &[("MUG", 1)], with_coupon())) else {
        panic!("another command");
    };
    let decided = buy.decided.expect("what was said of the buyer");
    assert_ne!(decided.ask, 0);
    assert_eq!((decided.pricing, decided.fraud, decided.refusal), (None, None, None));
    // The engine refuses for its own reasons as ever.
    assert_eq!(refused(&engine, &desk, ask("b", 1, &[("NOTHING", 1)])).0, Reject::SkuUnknown);
}

/// Built-in prices are recorded with who made them, by a policy that the journal knows.
#[test]
fn built_in_prices_are_recorded() {
    let engine = shop();
    let desk = plain(&engine, TENTH);
    assert!(!desk.is_silent());
    let order = bought(&engine, &desk, ask("a", 1, &[("MUG", 2), ("CUP", 1)]));
    assert_eq!(order.total.minor(), 18_00 + 5_00);
    let Command::Buy(buy) = decide(&desk, ask("b", 1, &[("MUG", 2)])) else { panic!("a purchase") };
    let decided = buy.decided.expect("a decision");
    let pricing = decided.pricing.expect("a price");
    assert_eq!((pricing.policy, pricing.by, pricing.fuel), (PolicyNo(1), DecidedBy::Policy, 0));
    assert_ne!(pricing.input, 0);
    assert_eq!(decided.fraud, None);
    let policies = engine.policies();
    assert_eq!(policies[0].name, onhand_desk::PRICING_NAME);
    assert_eq!(policies[0].steps.len(), 2);
}

fn lines(command: &Command) -> &[Line] {
    match command {
        Command::Buy(buy) => buy.lines.as_slice(),
        other => panic!("{other:?} is no purchase"),
    }
}

/// A caller decides by itself what takes little fuel, once an instance is warm; what may take more
/// goes to the desk's threads.
#[test]
fn a_short_call_is_made_by_its_caller() {
    let baskets = |count: u64| -> Vec<Ask> {
        (0..count).map(|number| ask(&number.to_string(), 7, &[("MUG", 2)])).collect()
    };
    // A call for many that fails is followed by one for each.
    for (fuel, deadline_ms, most) in [
        (HERE_FUEL_MAX, HERE_DEADLINE_MS_MAX, 1),
        (HERE_FUEL_MAX / 6, HERE_DEADLINE_MS_MAX, 3),
        (HERE_FUEL_MAX + 1, HERE_DEADLINE_MS_MAX, 0),
        (HERE_FUEL_MAX, HERE_DEADLINE_MS_MAX + 1, 0),
    ] {
        let engine = shop();
        let desk = desk(&engine);
        assert!(desk.decide_here(NOW, &mut baskets(1_000)), "no plugin is asked");
        let bundle = quick_tenth(&format!("fuel_per_order = {fuel}"), deadline_ms);
        let installed = desk.install(&bundle, "").expect("installed");
        desk.activate(installed.no).expect("activated");
        assert!(!desk.decide_here(NOW, &mut baskets(1)), "no instance is warm");
        let asked = desk.submit_all(NOW, baskets(20)).expect("room").wait();
        let asked: Vec<Command> = asked.into_iter().map(|one| one.expect("decided")).collect();
        for count in 1..6 {
            let mut asks = baskets(count);
            assert_eq!(desk.decide_here(NOW, &mut asks), count <= most, "{count} by {fuel}");
            let priced = asks.into_iter().map(|ask| ask.take().expect("decided"));
            let same = |(made, asked): (Command, &Command)| lines(&made) == lines(asked);
            assert_eq!(priced.zip(&asked).all(same), count <= most, "{count} by {fuel}");
        }
    }
}

/// A coupon's use is taken with the goods, once a customer, and only if the basket must be whole.
#[test]
fn coupons_take_a_use() {
    let engine = shop();
    let desk = plain(&engine, COUPON);
    let order = bought(&engine, &desk, ask_as("a", 1, &[("MUG", 1)], with_coupon()));
    assert_eq!((order.total.minor(), order.lines.len()), (7_00, 2));
    let twice = ask_as("b", 1, &[("MUG", 1)], with_coupon());
    assert_eq!(refused(&engine, &desk, twice).0, Reject::LimitReached);
    assert_eq!(bought(&engine, &desk, ask("c", 1, &[("MUG", 1)])).total.minor(), 10_00);

    let mut some = purchase("d", 2, &[("MUG", 1)]);
    some.fill = Fill::Partial;
    let some = Ask::new(Command::Buy(some), with_coupon()).expect("an ask");
    assert_eq!(bought(&engine, &desk, some).total.minor(), 10_00);

    // Named twice, or no coupon at all: used once, or not.
    let welcome = sku("WELCOME").bits();
    let coupons = vec![welcome, sku("MUG").bits(), 99, welcome];
    let odd = Shopper { coupons, ..Shopper::default() };
    let order = bought(&engine, &desk, ask_as("e", 3, &[("MUG", 1)], odd));
    assert_eq!((order.total.minor(), order.lines.len()), (7_00, 2));
    let many = Shopper { coupons: vec![1; 33], ..Shopper::default() };
    let many = Ask::new(Command::Buy(purchase("f", 1, &[("MUG", 1)])), many);
    assert_eq!(many.err(), Some(AskError::Coupons(33)));
}

/// A price that the caller brings stands, and the fraud check sees it.
#[test]
fn a_price_of_the_callers_stands() {
    let engine = shop();
    let text = format!(
        "{TENTH}\n[fraud]\ncurrency = \"EUR\"\n[[fraud.rule]]\ncode = 30\nverdict = \"deny\"\n\
         when = [{{ measure = \"total\", at_least = 5000 }}]"
    );
    let desk = plain(&engine, &text);
    let priced = |key: &str, unit: i64| {
        let mut buy = purchase(key, 1, &[("MUG", 1)]);
        let line = buy.lines.as_slice()[0].priced(LinePrice { unit, discount: 1 });
        buy.lines = line.into();
        Ask::new(Command::Buy(buy), Shopper::default()).expect("an ask")
    };
    assert_eq!(bought(&engine, &desk, priced("a", 9_01)).total.minor(), 9_00);
    assert_eq!(refused(&engine, &desk, priced("b", 50_01)), (Reject::FraudDenied, 30));
}

/// What the engine would refuse is refused in its words and passes no policy by.
#[test]
fn a_basket_that_cannot_be_priced_does_not_pass() {
    let engine = shop();
    let desk = plain(&engine, TENTH);
    let fault = |ask: Ask| {
        let mut asks = [ask];
        desk.decide(NOW, &mut asks);
        let [ask] = asks;
        match ask.take() {
            Err(AskError::Refused(refusal)) => (refusal.reject, refusal.line),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault(ask("a", 1, &[("MUG", 1), ("NOTHING", 1)])), (Reject::SkuUnknown, 1));
    assert_eq!(fault(ask("a", 1, &[])), (Reject::LineCount, 0));
    assert_eq!(fault(ask("a", 1, &[("MUG", 0)])), (Reject::QuantityInvalid, 0));
    assert_eq!(Ask::new(Command::Tick, Shopper::default()).err(), Some(AskError::Command));
}

/// Doubtful purchases are kept as reservations, others denied, and a repetition is neither
/// counted nor judged anew.
#[test]
fn velocity_challenges_the_hasty() {
    let engine = shop();
    let desk = plain(&engine, "[fraud]\nreview_ms = 60000");
    for key in ["1", "2", "3", "4", "5"] {
        assert_eq!(bought(&engine, &desk, ask(key, 9, &[("CUP", 1)])).status, OrderStatus::Placed);
    }
    // Five within the hour: challenged.
    let sixth = bought(&engine, &desk, ask("6", 9, &[("CUP", 1)]));
    assert_eq!((sixth.status, sixth.risk), (OrderStatus::Reserved, Risk::Challenge));
    // Repetitions find what there is, whatever would be decided now, and count for nothing.
    for _ in 0..10 {
        let again = send(&engine, &desk, ask("5", 9, &[("CUP", 1)]));
        assert!(again.replayed && again.outcome.is_ok());
    }
    let seventh = bought(&engine, &desk, ask("7", 9, &[("CUP", 1)]));
    assert_eq!(seventh.risk, Risk::Challenge);
    assert_eq!(bought(&engine, &desk, ask("other", 8, &[("CUP", 1)])).risk, Risk::Allow);
}

/// A key that has its answer keeps it when the price, the verdict or the policy is another.
#[test]
fn a_repetition_finds_the_first_answer() {
    let engine = shop();
    let first = {
        let desk = Desk::open(engine.clone(), DeskConfig::default()).expect("a desk");
        send(&engine, &desk, ask_as("a", 1, &[("MUG", 1)], with_coupon()))
    };
    let Ok(Receipt::Order(first)) = first.outcome else { panic!("no order") };
    assert_eq!(first.total.minor(), 10_00);
    let desk = plain(&engine, COUPON);
    let again = send(&engine, &desk, ask_as("a", 1, &[("MUG", 1)], with_coupon()));
    assert!(again.replayed);
    assert_eq!(again.outcome, Ok(Receipt::Order(first)));
    // Without the coupon it is another request.
    let other = refused(&engine, &desk, ask("a", 1, &[("MUG", 1)]));
    assert_eq!(other.0, Reject::IdempotencyKeyReused);
    drop(desk);

    let deny = "[fraud]\n[[fraud.rule]]\ncode = 31\nverdict = \"deny\"\n\
        when = [{ measure = \"units\", at_least = 1 }]";
    let desk = plain(&engine, deny);
    let again = send(&engine, &desk, ask_as("a", 1, &[("MUG", 1)], with_coupon()));
    assert!(again.replayed && again.outcome.is_ok());
    let denied = refused(&engine, &desk, ask("new", 1, &[("MUG", 1)]));
    assert_eq!(denied, (Reject::FraudDenied, 31));
}

/// A list price that changes is used by the very next request.
#[test]
fn a_new_list_price_is_used_at_once() {
    let engine = shop();
    let desk = plain(&engine, TENTH);
    assert_eq!(bought(&engine, &desk, ask("a", 1, &[("MUG", 1)])).total.minor(), 9_00);
    let view = engine.sku(sku("MUG")).expect("a mug");
    let done = engine.execute(Command::DefineSku(Box::new(onhand_core::DefineSku {
        key: onhand_core::Key::from_text("dearer"),
        code: view.code.clone(),
        kind: view.kind,
        price: onhand_core::Money::new(20_00, view.price.currency()).expect("in range"),
        placement: view.placement,
        limit: None,
        components: Vec::new(),
    })));
    assert!(done.expect("an engine").outcome.is_ok());
    assert_eq!(bought(&engine, &desk, ask("b", 1, &[("MUG", 1)])).total.minor(), 18_00);
}

/// Baskets that arrive together are decided on together, each by its own facts.
#[test]
fn tickets_are_answered() {
    let engine = shop();
    let desk = plain(&engine, TENTH);
    std::thread::scope(|scope| {
        for client in 0..4_u64 {
            let (desk, engine) = (&desk, &engine);
            scope.spawn(move || {
                let tickets = (1..=200_u32).map(|count| {
                    let key = format!("{client} {count}");
                    let ask = ask(&key, client + 1, &[("MUG", count)]);
                    (count, desk.submit(NOW, ask).expect("room"))
                });
                for (count, ticket) in tickets.collect::<Vec<_>>() {
                    let command = ticket.wait().expect("decided");
                    let Command::Buy(buy) = &command else { panic!("a purchase") };
                    let line = buy.lines.as_slice()[0];
                    assert_eq!(line.quantity, units(count));
                    assert_eq!(buy.customer, CustomerId(client + 1));
                    let price = line.price.expect("a price");
                    assert_eq!(price.discount, 1_00 * i64::from(count));
                    assert!(engine.execute(command).expect("an engine").outcome.is_ok());
                }
            });
        }
    });
}

/// The last day's orders are counted from the journal when the fraud check starts anew.
#[test]
fn velocity_is_filled_from_the_journal() {
    let engine = shop();
    let quick = "[fraud]\ndefaults = false\n[[fraud.rule]]\ncode = 5\nverdict = \"deny\"\n\
        when = [{ measure = \"customer_orders_day\", at_least = 3 }]";
    {
        let desk = Desk::open(engine.clone(), DeskConfig::default()).expect("a desk");
        for key in ["a", "b", "c"] {
            bought(&engine, &desk, ask(key, 4, &[("CUP", 1)]));
        }
    }
    let desk = plain(&engine, quick);
    let now = onhand_core::Clock::now(&onhand_core::SystemClock).millis();
    let mut asks = [ask("d", 4, &[("CUP", 1)]), ask("e", 5, &[("CUP", 1)])];
    desk.decide(now, &mut asks);
    let [denied, fine] = asks;
    let reply = engine.execute(denied.take().expect("decided")).expect("an engine");
    assert_eq!(reply.outcome.expect_err("a refusal").reject, Reject::FraudDenied);
    let reply = engine.execute(fine.take().expect("decided")).expect("an engine");
    assert!(reply.outcome.is_ok());
}
