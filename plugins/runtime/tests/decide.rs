//! Plugins that behave: each world, batches, configuration, logs, figures; and what a failing
//! plugin's orders get.

mod common;

use common::{VICTIM, bad, fraud, load, options, patient, pricing, recommend, runtime, text};
use onhand_plugin_runtime::{
    BreakerState, By, DENIAL_UNDECIDED, FailureKind, Fraud, Kind, LoadError, Made, OnFailure,
    Plugin, PluginOptions, Pricing, REFUSAL_UNDECIDED, REST_MS, Recommend, Runtime, RuntimeConfig,
};
use onhand_policy::decision::{
    Adjustment, CouponUse, KIND_COUPON, KIND_REFUSAL, Pick, PriceOutcome, Risk, Verdict,
};
use onhand_policy::fact::{FraudBatch, PricingBatch, RecommendBatch};

fn priced(total: i64) -> PriceOutcome {
    PriceOutcome::Priced { total, clamped: 0 }
}

/// A pricing plugin's answer becomes the price of every line.
#[test]
fn a_pricing_plugin_prices() {
    let plugin = load::<Pricing>(&runtime(), &text(Kind::Pricing));
    let (headers, lines) = pricing(&[(1, 1, 10_00), (2, 3, 5_55)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    assert_eq!(decided.answer.outcomes, [priced(9_00), priced(16_65 - 1_66)]);
    assert_eq!((decided.answer.lines[0].discount, decided.answer.lines[1].discount), (100, 166));
    assert_eq!(decided.made.len(), 2);
    let Made { by, fuel, failure } = decided.made[0];
    assert_eq!((by, failure), (By::Plugin, None));
    assert!((1..1_000).contains(&fuel), "{fuel}");
    let stats = plugin.stats();
    assert_eq!((stats.calls, stats.orders, stats.by_plugin), (1, 2, 2));
    assert_eq!((stats.fuel_max, stats.instances), (fuel.into(), 2));
}

/// A fraud plugin's answer becomes the risk of every order.
#[test]
fn a_fraud_plugin_scores() {
    let plugin = load::<Fraud>(&runtime(), &text(Kind::Fraud));
    let (headers, lines) = fraud(&[(1, 0), (2, 5), (3, 50)]);
    let batch = FraudBatch::new(&headers, &lines).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    let risk = |points, verdict| Risk { points, verdict, code: 7 };
    let wanted = [risk(0, Verdict::Allow), risk(500, Verdict::Deny), risk(1_000, Verdict::Deny)];
    assert_eq!(decided.answer, wanted);
}

/// A recommendation plugin's picks come back under the request that they are for.
#[test]
fn a_recommendation_plugin_recommends() {
    let plugin = load::<Recommend>(&runtime(), &text(Kind::Recommend));
    let (requests, candidates) = recommend(&[&[11, 12], &[], &[13]]);
    let batch = RecommendBatch::new(&requests, &[], &candidates).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    let pick = |request, sku| Pick { request, sku, score: 9 };
    assert_eq!(decided.answer, [pick(0, 11), pick(2, 13)]);
}

/// A batch larger than a call is decided in calls, and every answer lands on its own order.
#[test]
fn a_large_batch_is_called_in_parts() {
    let runtime = runtime();
    let plugin = load::<Pricing>(&runtime, &text(Kind::Pricing));
    let orders: Vec<(u64, u32, i64)> = (1..=600).map(|at| (at, 1, at as i64 * 10)).collect();
    let (headers, lines) = pricing(&orders);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    let wanted: Vec<PriceOutcome> = (1..=600).map(|at| priced(at * 9)).collect();
    assert_eq!(decided.answer.outcomes, wanted);
    assert_eq!(plugin.stats().calls, 3);

    let plugin = load::<Recommend>(&runtime, &text(Kind::Recommend));
    let skus: Vec<[u64; 1]> = (1..=40).map(|sku| [sku]).collect();
    let own: Vec<&[u64]> = skus.iter().map(<[u64; 1]>::as_slice).collect();
    let (requests, candidates) = recommend(&own);
    let batch = RecommendBatch::new(&requests, &[], &candidates).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    let found: Vec<(u32, u64)> = decided.answer.iter().map(|p| (p.request, p.sku)).collect();
    let wanted: Vec<(u32, u64)> = (0..40).map(|at| (at, u64::from(at) + 1)).collect();
    assert_eq!(found, wanted);
}

/// An empty batch is no call.
#[test]
fn an_empty_batch_is_no_call() {
    let plugin = load::<Pricing>(&runtime(), &text(Kind::Pricing));
    let batch = PricingBatch::new(&[], &[], &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("nothing to decide"));
    assert!(decided.answer.outcomes.is_empty() && decided.made.is_empty());
    assert_eq!(plugin.stats().calls, 0);
}

/// The configuration reaches `init`, and its refusal is said in its own words.
#[test]
fn init_may_refuse_its_configuration() {
    let runtime = runtime();
    let bytes = text(Kind::Fraud).bytes();
    let with = |config: &str| PluginOptions { config: config.to_owned(), ..options() };
    assert!(Plugin::<Fraud>::load(&runtime, &bytes, with("y=1")).is_ok());
    let refused = Plugin::<Fraud>::load(&runtime, &bytes, with("x=1")).err();
    assert_eq!(refused, Some(LoadError::Config("no x, please".to_owned())));
    let long = "y".repeat(onhand_plugin_runtime::limits::CONFIG_BYTES);
    assert!(Plugin::<Fraud>::load(&runtime, &bytes, with(&long)).is_ok());
    let refused = Plugin::<Fraud>::load(&runtime, &bytes, with(&format!("{long}y"))).err();
    let text = refused.map(|error| error.to_string());
    assert_eq!(text.as_deref(), Some("size of the configuration in bytes is 65537, at most 65536"));
}

/// Log lines are kept up to their limit and cost fuel; the rest is counted.
#[test]
fn logs_are_kept_within_their_limit() {
    let deed = "(local.set $n (i32.const 20))
        (loop $more
            (call $log (i32.const 2) (i32.const 1024) (i32.const 4))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let plugin = load::<Pricing>(&runtime(), &bad(deed));
    let (headers, lines) = pricing(&[(VICTIM, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| unreachable!("the plugin is fine"));
    assert_eq!(decided.answer.outcomes, [priced(9_00)]);
    assert!((20 * 1_004..21 * 1_004).contains(&decided.made[0].fuel), "{:?}", decided.made);
    let (newest_first, _) = plugin.logs();
    let (lines, dropped) = plugin.take_logs();
    assert_eq!((lines.len(), dropped), (16, 4));
    assert!(lines.iter().all(|line| (line.level, line.text.as_str()) == (2, "no x")));
    assert!(newest_first.iter().eq(lines.iter().rev()), "looking takes nothing away");
    assert_eq!(plugin.take_logs(), (Vec::new(), 0));
}

/// One order that makes the plugin fail spoils no other order of its batch.
#[test]
fn one_bad_order_spoils_no_other() {
    let plugin = load::<Pricing>(&runtime(), &bad("unreachable"));
    let (headers, lines) = pricing(&[(1, 1, 10_00), (VICTIM, 1, 20_00), (3, 1, 30_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let mut asked = Vec::new();
    let decided = plugin.decide(0, batch, &mut |batch: PricingBatch<'_>| {
        asked.extend(batch.headers().iter().map(|header| header.customer));
        vec![Adjustment { kind: KIND_REFUSAL, at: 0, amount: 0, code: 5 }]
    });
    assert_eq!(asked, [VICTIM]);
    let refused = PriceOutcome::Refused { code: 5 };
    assert_eq!(decided.answer.outcomes, [priced(9_00), refused, priced(27_00)]);
    let by: Vec<By> = decided.made.iter().map(|made| made.by).collect();
    assert_eq!(by, [By::Plugin, By::BuiltIn, By::Plugin]);
    assert_eq!(decided.made[1].failure, Some(FailureKind::Trap));
    let stats = plugin.stats();
    assert_eq!((stats.calls, stats.by_plugin, stats.by_built_in), (4, 2, 1));
    assert_eq!((stats.failed(FailureKind::Trap), stats.breaker), (2, BreakerState::Closed));
}

/// What is done with the orders of a failing plugin is what its options say.
#[test]
fn the_failure_policy_is_followed() {
    let runtime = runtime();
    let (headers, lines) = pricing(&[(VICTIM, 2, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let refused = PriceOutcome::Refused { code: REFUSAL_UNDECIDED };
    let lie = Adjustment { kind: 9, ..Adjustment::default() };
    for (on_failure, built_in, by, wanted) in [
        (OnFailure::FailOpen, None, By::FailOpen, priced(20_00)),
        (OnFailure::FailClosed, None, By::FailClosed, refused),
        (OnFailure::BuiltIn, Some(vec![]), By::BuiltIn, priced(20_00)),
        // A built-in policy that lies is refused like a plugin that does.
        (OnFailure::BuiltIn, Some(vec![lie]), By::FailClosed, refused),
    ] {
        let options = PluginOptions { on_failure, ..options() };
        let plugin = Plugin::<Pricing>::load(&runtime, &bad("unreachable").bytes(), options)
            .expect("a plugin");
        let mut built_in = |_: PricingBatch<'_>| built_in.clone().expect("not to be asked");
        let decided = plugin.decide(0, batch, &mut built_in);
        assert_eq!((decided.made[0].by, decided.answer.outcomes[0]), (by, wanted));
    }

    let (headers, lines) = fraud(&[(VICTIM, 0)]);
    let batch = FraudBatch::new(&headers, &lines).expect("a batch");
    let text = common::Text { deed: "unreachable".to_owned(), ..text(Kind::Fraud) };
    let denied = Risk { points: 0, verdict: Verdict::Deny, code: DENIAL_UNDECIDED };
    for (on_failure, wanted) in
        [(OnFailure::FailOpen, Risk::default()), (OnFailure::FailClosed, denied)]
    {
        let options = PluginOptions { on_failure, ..options() };
        let plugin = Plugin::<Fraud>::load(&runtime, &text.bytes(), options).expect("a plugin");
        let decided = plugin.decide(0, batch, &mut |_| unreachable!("not to be asked"));
        assert_eq!(decided.answer, [wanted]);
    }
}

/// After three failures the plugin is left alone, and one call after its rest decides further.
#[test]
fn the_breaker_leaves_a_failing_plugin_alone() {
    let plugin = load::<Pricing>(&runtime(), &bad("unreachable"));
    let decide = |now_ms, customer| {
        let (headers, lines) = pricing(&[(customer, 1, 10_00)]);
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
        let made = plugin.decide(now_ms, batch, &mut |_| Vec::new()).made;
        (made[0].by, made[0].failure)
    };
    let trapped = (By::BuiltIn, Some(FailureKind::Trap));
    let rested = (By::BuiltIn, Some(FailureKind::Breaker));
    for now in 0..3 {
        assert_eq!(decide(now, VICTIM), trapped);
    }
    assert_eq!(plugin.breaker(), BreakerState::Open);
    assert_eq!(decide(3, 1), rested);
    assert_eq!(decide(2 + REST_MS, VICTIM), trapped);
    assert_eq!(decide(2 + REST_MS, 1), rested);
    assert_eq!(decide(2 + 2 * REST_MS, 1), (By::Plugin, None));
    assert_eq!(decide(2 + 2 * REST_MS, 1), (By::Plugin, None));
    let stats = plugin.stats();
    assert_eq!((stats.breaker, stats.breaker_opened), (BreakerState::Closed, 2));
    assert_eq!((stats.calls, stats.failed(FailureKind::Breaker)), (6, 2));
}

/// A batch of bad orders ends with the breaker, not with one failing call for each of them.
#[test]
fn a_batch_of_bad_orders_is_cut_short() {
    let plugin = load::<Pricing>(&runtime(), &bad("unreachable"));
    let (headers, lines) = pricing(&[(VICTIM, 1, 10_00); 100]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| Vec::new());
    assert!(decided.made.iter().all(|made| made.by == By::BuiltIn));
    assert_eq!(decided.answer.outcomes, [priced(10_00); 100]);
    assert_eq!(plugin.stats().calls, 4);
    assert_eq!(plugin.stats().failed(FailureKind::Breaker), 97);
}

/// An instance is replaced after its number of calls, and after a failure.
#[test]
fn instances_are_replaced() {
    let runtime = runtime();
    let limits = onhand_plugin_runtime::Limits { calls_per_instance: 3, ..patient() };
    let options = PluginOptions { limits, ..options() };
    let plugin =
        Plugin::<Pricing>::load(&runtime, &bad("unreachable").bytes(), options).expect("a plugin");
    let decide = |customer| {
        let (headers, lines) = pricing(&[(customer, 1, 10_00)]);
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
        plugin.decide(0, batch, &mut |_| Vec::new()).made[0].by
    };
    // The first instance is the one that was tried out when the plugin was loaded.
    for (customer, by, instances) in [
        (1, By::Plugin, 2),
        (1, By::Plugin, 2),
        (1, By::Plugin, 2),
        (1, By::Plugin, 3),
        (VICTIM, By::BuiltIn, 3),
        (1, By::Plugin, 4),
    ] {
        assert_eq!((decide(customer), plugin.stats().instances), (by, instances));
    }
}

/// Many threads call one plugin at once, with fewer instances than threads.
#[test]
fn many_threads_share_a_plugin() {
    let runtime = runtime();
    let limits = onhand_plugin_runtime::Limits { instances: 2, ..patient() };
    let options = PluginOptions { limits, ..options() };
    let plugin =
        Plugin::<Pricing>::load(&runtime, &text(Kind::Pricing).bytes(), options).expect("a plugin");
    std::thread::scope(|scope| {
        for thread in 1..=8_i64 {
            let plugin = plugin.clone();
            scope.spawn(move || {
                for at in 1..=200 {
                    let unit = thread * 10_000 + at * 10;
                    let (headers, lines) = pricing(&[(1, 1, unit)]);
                    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
                    let decided = plugin.decide(0, batch, &mut |_| unreachable!("no failure"));
                    assert_eq!(decided.answer.outcomes, [priced(unit - unit / 10)]);
                }
            });
        }
    });
    let stats = plugin.stats();
    assert_eq!((stats.by_plugin, stats.calls), (1_600, 1_600));
    assert!(stats.instances <= 3, "{}", stats.instances);
}

/// An instance that is kept for one caller is nobody else's until it is given back, and decides as
/// any other does, also when a call of it has failed.
#[test]
fn an_instance_is_kept_for_one_caller() {
    let plugin = load::<Pricing>(&runtime(), &bad("unreachable"));
    assert!(plugin.hold().is_none(), "none is warm");
    let (headers, lines) = pricing(&[(1, 1, 10_00), (VICTIM, 1, 20_00), (3, 1, 30_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let wanted = plugin.decide(0, batch, &mut |_| Vec::new());
    let mut held = plugin.hold().expect("one is warm");
    assert!(plugin.hold().is_none(), "there was one");
    let instances = plugin.stats().instances;
    assert_eq!(held.decide(0, batch, &mut |_| Vec::new()), wanted);
    assert_eq!(plugin.stats().instances - instances, 2, "one after each failure");
    drop(held);
    assert!(plugin.hold().is_some());
}

/// Warm instances of one plugin make room for another when the runtime is full.
#[test]
fn plugins_share_the_room_for_instances() {
    let config = RuntimeConfig { total_instances: 1, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config).expect("a runtime");
    let prices = load::<Pricing>(&runtime, &text(Kind::Pricing));
    let (orders, lines) = pricing(&[(1, 1, 10_00)]);
    let order = PricingBatch::new(&orders, &lines, &[]).expect("a batch");
    let (suspects, goods) = fraud(&[(1, 0)]);
    let suspect = FraudBatch::new(&suspects, &goods).expect("a batch");
    let price = || prices.decide(0, order, &mut |_| unreachable!("there is room")).made[0].by;
    assert_eq!(price(), By::Plugin);
    let scores = load::<Fraud>(&runtime, &text(Kind::Fraud));
    for _ in 0..3 {
        let made = scores.decide(0, suspect, &mut |_| unreachable!("there is room")).made;
        assert_eq!((made[0].by, price()), (By::Plugin, By::Plugin));
    }
}

/// Coupons stay with their own orders when a batch is decided in parts.
#[test]
fn coupons_of_a_large_batch_stay_with_their_orders() {
    let plugin = load::<Pricing>(&runtime(), &bad("unreachable"));
    let orders: Vec<(u64, u32, i64)> = (0..600).map(|_| (VICTIM, 1, 10_00)).collect();
    let (mut headers, lines) = pricing(&orders);
    let coupons: Vec<u64> = (0..600).map(|at| 10_000 + at).collect();
    headers.iter_mut().zip(0..).for_each(|(header, at)| {
        (header.first_coupon, header.coupon_count) = (at, 1);
    });
    let batch = PricingBatch::new(&headers, &lines, &coupons).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |part: PricingBatch<'_>| {
        let used = |at| Adjustment { kind: KIND_COUPON, at, amount: 0, code: 1 };
        (0..part.coupons().len() as u32).map(used).collect()
    });
    let used = |(at, used): (usize, &CouponUse)| {
        (used.order as usize, used.sku.bits()) == (at, coupons[at])
    };
    assert_eq!(decided.answer.coupons.len(), 600);
    assert!(decided.answer.coupons.iter().enumerate().all(used), "{:?}", decided.answer.coupons);
    assert!(decided.made.iter().all(|made| made.by == By::BuiltIn));
}

/// A call that is measured says what it took of each limit, the same each time, and leaves the
/// figures of the plugin alone.
#[test]
fn a_call_can_be_measured() {
    let plugin = load::<Pricing>(&runtime(), &text(Kind::Pricing));
    let (headers, lines) = pricing(&[(1, 1, 10_00), (2, 3, 5_55)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let first = plugin.measure(batch).expect("an instance");
    let again = plugin.measure(batch).expect("an instance");
    assert_eq!(first.answer.as_ref().map(Vec::len), Ok(2));
    assert_eq!((first.fuel, first.fuel_init), (again.fuel, again.fuel_init));
    assert!(first.fuel > 0 && first.fuel_init > 0);
    let (answer, fuel) = plugin.answer(batch, true).expect("an answer");
    assert_eq!((first.answer, first.fuel), (Ok(answer), fuel));
    assert_eq!((first.memory_bytes, first.host_calls, first.logs_dropped), (3 << 16, 0, 0));
    assert_eq!((plugin.stats().calls, first.logs.len()), (0, 0));
}

/// What a failing call took is measured too.
#[test]
fn a_failing_call_can_be_measured() {
    let log = "(call $log (i32.const 1) (i32.const 1024) (i32.const 12))";
    let grow = "(drop (memory.grow (i32.const 2)))";
    let plugin = load::<Pricing>(&runtime(), &bad(&format!("{log} {log} {grow} unreachable")));
    let (headers, lines) = pricing(&[(VICTIM, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let measured = plugin.measure(batch).expect("an instance");
    assert_eq!(measured.answer.map_err(|failure| failure.kind()), Err(FailureKind::Trap));
    assert_eq!((measured.host_calls, measured.logs.len()), (2, 2));
    assert_eq!(measured.memory_bytes, 5 << 16);
    assert!(measured.fuel > 2_000, "{}", measured.fuel);
}
