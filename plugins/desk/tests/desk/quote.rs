//! Quotes: prices that hold although policies change, and what is no quote.

use onhand_core::{Command, Engine, Key, Reject};
use onhand_desk::limits::HERE_DEADLINE_MS_MAX;
use onhand_desk::{Ask, AskError, Desk, QuoteError, Shopper};

use crate::common::{
    NOW, ask, ask_as, bought, config, desk, fifth, plain, pricing, purchase, quick_tenth, shop,
    sku, tenth,
};

fn at(desk: &Desk, now_ms: u64, ask: Ask) -> Result<Command, AskError> {
    let mut asks = [ask];
    desk.decide(now_ms, &mut asks);
    let [ask] = asks;
    ask.take()
}

fn total(engine: &Engine, command: Command) -> i64 {
    let key = command.key().expect("a key");
    let reply = engine.execute(command).expect("an engine");
    assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
    engine.order(key.into()).expect("an engine").expect("an order").total.minor()
}

/// A quote holds until it expires, by the policy that made it, coupon and all.
#[test]
fn a_quote_holds() {
    let engine = shop();
    let text = "[pricing]\ncurrency = \"EUR\"\n[[pricing.promotion]]\ncode = 7\non = \"order\"\n\
        fixed = 300\ncoupon = \"WELCOME\"";
    let settings = crate::common::settings(text);
    let config = onhand_desk::DeskConfig { settings, ..config() };
    let desk = Desk::open(engine.clone(), config).expect("a desk");
    let shopper = Shopper { coupons: vec![sku("WELCOME").bits()], ..Shopper::default() };
    let basket: &[(&str, u32)] = &[("MUG", 2), ("CUP", 1)];
    let quote = desk.quote(NOW, ask_as("q", 1, basket, shopper.clone())).expect("a quote");
    assert_eq!((quote.list_total.minor(), quote.total.minor()), (25_00, 22_00));
    assert_eq!(quote.coupons, [sku("WELCOME")]);
    assert_eq!(quote.lines.iter().map(|line| line.discount).sum::<i64>(), 3_00);
    assert_eq!(quote.expires_at.millis(), NOW + 600_000);
    let built_in = quote.decision.expect("a decision").policy;

    // Another policy decides by now.
    let no = desk.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    desk.activate(no).expect("activated");
    let quoted = || ask_as("a", 1, basket, shopper.clone()).at_quote(&quote.token).expect("it");
    let command = at(&desk, NOW + 599_999, quoted()).expect("decided");
    let Command::Buy(buy) = &command else { panic!("a purchase") };
    let decided = buy.decided.as_ref().expect("decided");
    assert_eq!(decided.pricing.expect("priced").policy, built_in);
    assert_eq!(total(&engine, command), 22_00);
    assert_eq!(bought(&engine, &desk, ask("b", 1, basket)).total.minor(), 22_50);

    // Expired: a new key is refused, the one that has its answer finds it.
    let late = at(&desk, NOW + 600_000, quoted()).expect("decided");
    let reply = engine.execute(late).expect("an engine");
    assert!(reply.replayed && reply.outcome.is_ok(), "{reply:?}");
    let new = ask_as("c", 1, basket, shopper).at_quote(&quote.token).expect("a token");
    let late = at(&desk, NOW + 600_000, new).expect("decided");
    let refusal = engine.execute(late).expect("an engine").outcome.expect_err("refused");
    assert_eq!(refusal.reject, Reject::QuoteExpired);
}

/// A quote is for one customer and one basket of one shop.
#[test]
fn no_other_basket_has_the_price() {
    let engine = shop();
    let text = "[[pricing.promotion]]\ncode = 7\nsku = \"MUG\"\npercent = 1000";
    let opened = plain(&engine, text);
    let token = opened.quote(NOW, ask("q", 1, &[("MUG", 2)])).expect("a quote").token;
    let fault = |desk: &Desk, customer, lines: &[(&str, u32)], token: &str| {
        let ask = ask("a", customer, lines).at_quote(token).expect("a token");
        at(desk, NOW, ask).expect_err("a fault")
    };
    let customer = fault(&opened, 2, &[("MUG", 2)], &token);
    assert_eq!(customer, AskError::OtherQuote("customer"));
    assert_eq!(fault(&opened, 1, &[("MUG", 1)], &token), AskError::OtherQuote("lines"));
    assert_eq!(fault(&opened, 1, &[("CUP", 2)], &token), AskError::OtherQuote("lines"));
    let mut forged = token.clone();
    forged.replace_range(20..21, if &token[20..21] == "A" { "B" } else { "A" });
    assert_eq!(fault(&opened, 1, &[("MUG", 2)], &forged), AskError::ForgedQuote);
    let other = plain(&engine, text);
    assert_eq!(fault(&other, 1, &[("MUG", 2)], &token), AskError::ForgedQuote);
    let long = "A".repeat(20_000);
    assert_eq!(ask("a", 1, &[("MUG", 2)]).at_quote(&long).err(), Some(AskError::ForgedQuote));
    let unknown = opened.quote(NOW, ask("q", 1, &[("NOTHING", 2)])).expect_err("no quote");
    assert!(matches!(unknown, QuoteError::Ask(AskError::Refused(_))), "{unknown}");
}

/// Without a policy the list price is quoted, and holds too; with the secret on disk it holds over
/// a restart.
#[test]
fn list_prices_are_quoted_and_outlive_the_desk() {
    let engine = shop();
    let dir = tempfile::tempdir().expect("a directory");
    let desk = crate::common::desk_in(&engine, dir.path());
    let quote = desk.quote(NOW, ask("q", 1, &[("MUG", 1)])).expect("a quote");
    assert_eq!((quote.total.minor(), quote.decision), (10_00, None));
    desk.close();
    let desk = crate::common::desk_in(&engine, dir.path());
    let no = desk.install(&pricing("acme/fifth", fifth()), "").expect("installed").no;
    desk.activate(no).expect("activated");
    let quoted = ask("a", 1, &[("MUG", 1)]).at_quote(&quote.token).expect("a token");
    assert_eq!(total(&engine, at(&desk, NOW, quoted).expect("decided")), 10_00);

    // The same request finds its answer even when the quote has expired; another quote is
    // another request.
    let again = |token: &str| ask("a", 1, &[("MUG", 1)]).at_quote(token).expect("a token");
    let late = at(&desk, NOW + 600_000, again(&quote.token)).expect("decided");
    let reply = engine.execute(late).expect("an engine");
    assert!(reply.replayed && reply.outcome.is_ok(), "{reply:?}");
    let other = desk.quote(NOW + 1, ask("q", 1, &[("MUG", 1)])).expect("a quote");
    let command = at(&desk, NOW + 2, again(&other.token)).expect("decided");
    let refusal = engine.execute(command).expect("an engine").outcome.expect_err("another request");
    assert_eq!(refusal.reject, Reject::IdempotencyKeyReused);
    desk.rollback(no).expect("rolled back");
}

/// A reservation takes a quote as a purchase does.
#[test]
fn a_reservation_takes_a_quote() {
    let engine = shop();
    let opened = desk(&engine);
    let no = opened.install(&pricing("acme/tenth", tenth()), "").expect("installed").no;
    opened.activate(no).expect("activated");
    let token = opened.quote(NOW, ask("q", 1, &[("MUG", 1)])).expect("a quote").token;
    let buy = purchase("r", 1, &[("MUG", 1)]);
    let reserve = Command::Reserve(onhand_core::Reserve {
        key: Key::from_text("r"),
        customer: buy.customer,
        lines: buy.lines,
        fill: buy.fill,
        ttl_ms: 60_000,
        hard_cap_ms: 60_000,
        expected_total: None,
        decided: None,
    });
    let ask = Ask::new(reserve, Shopper::default()).expect("an ask");
    let command = at(&opened, NOW, ask.at_quote(&token).expect("a token")).expect("decided");
    assert_eq!(total(&engine, command), 9_00);
}

/// Quotes are priced by the desk's threads with what else has arrived, and are what they would be
/// alone.
#[test]
fn quotes_go_through_the_queue() {
    let engine = shop();
    let desk = desk(&engine);
    let ask = |key: &str| ask(key, 7, &[("MUG", 2)]);
    let quick = desk.quote_here(NOW, ask("q")).expect("no plugin is asked");
    assert_eq!(quick.expect("a quote").total.minor(), 20_00);
    let bundle = quick_tenth("", HERE_DEADLINE_MS_MAX);
    let no = desk.install(&bundle, "").expect("installed").no;
    desk.activate(no).expect("activated");
    let back = desk.quote_here(NOW, ask("q")).expect_err("no instance is there yet");
    let tickets: Vec<_> = (0..20)
        .map(|n| {
            let quote = desk.submit_quote(NOW, (*back).clone()).expect("room");
            (quote, desk.submit(NOW, ask(&n.to_string())).expect("room"))
        })
        .collect();
    let alone = desk.quote(NOW, ask("q")).expect("a quote");
    assert_eq!(alone.total.minor(), 18_00);
    for (quote, order) in tickets {
        let quote = quote.wait().expect("a quote");
        assert_eq!((quote.lines, quote.total), (alone.lines.clone(), alone.total));
        assert_eq!(total(&engine, order.wait().expect("decided")), 18_00);
    }
    let here = desk.quote_here(NOW, ask("q")).expect("an instance is warm").expect("a quote");
    assert_eq!((here.lines, here.total), (alone.lines, alone.total));
    let none = crate::common::ask("x", 7, &[("NONE", 1)]);
    let refused = desk.submit_quote(NOW, none).expect("room").wait();
    assert!(matches!(refused, Err(QuoteError::Ask(AskError::Refused(_)))), "{refused:?}");
}
