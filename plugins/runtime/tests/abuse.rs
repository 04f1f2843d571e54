//! Plugins that misbehave while they run: each is stopped by its own limit, is called a failure of
//! the right kind, and leaves the next call right.

mod common;

use std::time::Instant;

use common::{Text, VICTIM, bad, load, options, patient, pricing, runtime, text};
use onhand_plugin_runtime::limits::FUEL_PER_ORDER;
use onhand_plugin_runtime::{
    BreakerState, By, Failure, FailureKind, Kind, Limits, LoadError, Plugin, PluginOptions, Pricing,
};
use onhand_policy::decision::{DecisionError, PriceOutcome};
use onhand_policy::fact::PricingBatch;

const LOOP: &str = "(loop $for_ever (br $for_ever))";

fn ask(plugin: &Plugin<Pricing>, customer: u64) -> (By, Option<FailureKind>, i64) {
    let (headers, lines) = pricing(&[(customer, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let decided = plugin.decide(0, batch, &mut |_| Vec::new());
    let PriceOutcome::Priced { total, .. } = decided.answer.outcomes[0] else {
        panic!("{:?}", decided.answer)
    };
    (decided.made[0].by, decided.made[0].failure, total)
}

/// Checks that the plugin fails for the victim, and that the calls before and after are right.
fn fails(text: &Text, limits: Limits, kind: FailureKind) -> Failure {
    let runtime = runtime();
    let options = PluginOptions { limits, ..options() };
    let plugin = Plugin::<Pricing>::load(&runtime, &text.bytes(), options).expect("a plugin");
    assert_eq!(ask(&plugin, 1), (By::Plugin, None, 9_00));
    assert_eq!(ask(&plugin, VICTIM), (By::BuiltIn, Some(kind), 10_00));
    assert_eq!(ask(&plugin, 1), (By::Plugin, None, 9_00));
    plugin.last_failure().expect("a failure")
}

/// An endless loop ends when its fuel does, and takes exactly that fuel.
#[test]
fn an_endless_loop_ends_with_its_fuel() {
    assert_eq!(fails(&bad(LOOP), patient(), FailureKind::Fuel), Failure::Fuel);
    let plugin = load::<Pricing>(&runtime(), &bad(LOOP));
    assert_eq!(ask(&plugin, VICTIM).1, Some(FailureKind::Fuel));
    let stats = plugin.stats();
    assert!((200_000..200_100).contains(&stats.fuel_max), "{}", stats.fuel_max);
}

/// With no end of fuel in sight the deadline ends it.
#[test]
fn an_endless_loop_ends_with_its_deadline() {
    let limits = Limits { fuel_per_order: FUEL_PER_ORDER.max, deadline_ms: 250, ..patient() };
    let text = bad(LOOP);
    // The calls around it have the same short deadline, so that only its own end is looked at.
    let options = PluginOptions { limits, ..options() };
    let plugin = Plugin::<Pricing>::load(&runtime(), &text.bytes(), options);
    match plugin {
        Ok(plugin) => assert_eq!(
            (ask(&plugin, VICTIM).0, ask(&plugin, VICTIM).1),
            (By::BuiltIn, Some(FailureKind::Deadline))
        ),
        Err(error) => assert_eq!(error, LoadError::FirstCall(Failure::Deadline)),
    }
}

/// A batch on which the plugin hangs ends soon, with the failure of those that were tried: one
/// deadline after the other would hold its thread up, and among many orders that were decided
/// before no breaker opens.
#[test]
fn a_batch_that_hangs_is_cut_short() {
    let limits = Limits { fuel_per_order: FUEL_PER_ORDER.max, deadline_ms: 250, ..patient() };
    let options = PluginOptions { limits, ..options() };
    let plugin = Plugin::<Pricing>::load(&runtime(), &bad(LOOP).bytes(), options);
    let plugin = plugin.expect("a plugin");
    let decide = |customer: u64, orders: usize| {
        let (headers, lines) = pricing(&vec![(customer, 1, 10_00); orders]);
        let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
        plugin.decide(0, batch, &mut |_| Vec::new()).made
    };
    assert!(decide(1, 2_000).iter().all(|made| made.by == By::Plugin));
    let calls = plugin.stats().calls;
    let made = decide(VICTIM, 20);
    let wanted = (By::BuiltIn, Some(FailureKind::Deadline));
    assert!(made.iter().all(|made| (made.by, made.failure) == wanted), "{made:?}");
    let stats = plugin.stats();
    assert_eq!((stats.calls - calls, stats.failed(FailureKind::Deadline)), (3, 21));
    assert_eq!(plugin.breaker(), BreakerState::Closed);
    decide(VICTIM, 20);
    assert_eq!(plugin.breaker(), BreakerState::Closed);
    decide(VICTIM, 20);
    assert_eq!(plugin.breaker(), BreakerState::Open);
}

/// Who finds the only instance at work waits for as long as that call may take, which is longer for
/// many orders than for one.
#[test]
fn a_call_waits_for_another_of_many_orders() {
    let limits = Limits { fuel_per_order: FUEL_PER_ORDER.max, deadline_ms: 100, ..patient() };
    let options = PluginOptions { limits: Limits { instances: 1, ..limits }, ..options() };
    let plugin = Plugin::<Pricing>::load(&runtime(), &bad(LOOP).bytes(), options);
    let plugin = plugin.expect("a plugin");
    assert_eq!(ask(&plugin, 1), (By::Plugin, None, 9_00));
    assert!(plugin.hold().is_some());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (headers, lines) = pricing(&[(VICTIM, 1, 10_00); 80]);
            let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
            assert_eq!(plugin.answer(batch, false).err(), Some(Failure::Deadline));
        });
        while plugin.hold().is_some() {
            std::thread::yield_now();
        }
        // By its own, short deadline it may fail on a busy machine: that is not looked at here.
        assert_ne!(ask(&plugin, 1).1, Some(FailureKind::Busy));
    });
}

/// Memory stops growing at its limit, and the plugin goes on with what it has.
#[test]
fn memory_does_not_grow_beyond_its_limit() {
    let grow = "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
        (if (i32.ne (memory.size) (i32.const 256)) (then unreachable))";
    let plugin = load::<Pricing>(&runtime(), &bad(grow));
    assert_eq!(ask(&plugin, VICTIM), (By::Plugin, None, 9_00));
    // The instance is kept: it may not grow any further, which is no failure either.
    assert_eq!(ask(&plugin, VICTIM), (By::Plugin, None, 9_00));
    let all = "(if (i32.eq (i32.const -1) (memory.grow (i32.const 65536))) (then unreachable))";
    let failure = fails(&bad(all), patient(), FailureKind::Trap);
    assert!(failure.to_string().contains("unreachable"), "{failure}");
}

/// A table stops growing at its limit.
#[test]
fn a_table_does_not_grow_beyond_its_limit() {
    let grow = "(loop $more
            (br_if $more (i32.ne (i32.const -1)
                (table.grow $bomb (ref.null func) (i32.const 1000)))))
        (if (i32.ne (table.size $bomb) (i32.const 10000)) (then unreachable))";
    let plugin = load::<Pricing>(&runtime(), &bad(grow).with("(table $bomb 0 funcref)"));
    assert_eq!(ask(&plugin, VICTIM), (By::Plugin, None, 9_00));
    let huge = text(Kind::Pricing).with("(table $bomb 10001 funcref)");
    let refused = Plugin::<Pricing>::load(&runtime(), &huge.bytes(), options()).err();
    assert!(matches!(refused, Some(LoadError::Start(_) | LoadError::Compile(_))), "{refused:?}");
}

/// Deep recursion ends with the stack that a plugin has, far above that of the thread.
#[test]
fn deep_recursion_ends_with_its_stack() {
    let deep = "(func $deep (param i64) (result i64)
            (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))";
    let text = bad("(drop (call $deep (i64.const 0)))").with(deep);
    let limits = Limits { fuel_per_order: 10_000_000, ..patient() };
    assert_eq!(fails(&text, limits, FailureKind::Stack), Failure::Stack);
}

/// Each way to stop by itself is a trap that says which one it was.
#[test]
fn traps_say_what_they_were() {
    for (deed, said) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i64.div_s (i64.const -9223372036854775808) (i64.const -1)))", "overflow"),
        ("(drop (i32.load (i32.const -4)))", "out of bounds memory access"),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", "invalid conversion"),
    ] {
        let failure = fails(&bad(deed), patient(), FailureKind::Trap);
        assert!(failure.to_string().contains(said), "{deed}: {failure}");
    }
    let indirect = bad("(call_indirect $t (i32.const 0))").with("(table $t 1 funcref)");
    let failure = fails(&indirect, patient(), FailureKind::Trap);
    assert!(failure.to_string().contains("uninitialized element"), "{failure}");
}

/// An answer that lies outside the plugin's memory, or is longer than its limit, is not read.
#[test]
fn an_answer_that_cannot_be_read_is_a_failure() {
    for (pointer, length) in [
        (-8, 1),
        (0x2FFF8, 1),
        (0, -1),
        (0, 0x2000_0000),
        // In bounds, and more than 16 KiB of 24 bytes each.
        (0, 683),
        // Not at a place where such a record may lie.
        (4, 1),
    ] {
        let deed = format!("(return (call $answer (i32.const {pointer}) (i32.const {length})))");
        let failure = fails(&bad(&deed), patient(), FailureKind::Output);
        assert!(matches!(failure, Failure::Output(_)), "{failure}");
    }
    // The answer's own place may lie outside, too.
    fails(&bad("(return (i32.const -4))"), patient(), FailureKind::Output);
}

/// Returns a deed that answers with one adjustment.
fn adjust(kind: i32, at: i32, amount: i64) -> String {
    format!(
        "(i32.store (i32.const 64) (i32.const {kind}))
         (i32.store (i32.const 68) (i32.const {at}))
         (i64.store (i32.const 72) (i64.const {amount}))
         (return (call $answer (i32.const 64) (i32.const 1)))"
    )
}

/// An answer that can be read and breaks a rule is refused as a whole, and its reason is said.
#[test]
fn an_answer_that_breaks_a_rule_is_a_failure() {
    for (deed, field) in [
        (adjust(0, 1, 1), "at"),
        (adjust(0, -1, 1), "at"),
        (adjust(1, 1, 1), "at"),
        (adjust(0, 0, -1), "amount"),
        (adjust(1, 0, i64::MIN), "amount"),
        (adjust(1, 0, i64::MAX), "amount"),
        (adjust(2, 0, 1), "amount"),
        (adjust(3, 0, 0), "at"),
        (adjust(4, 0, 0), "kind"),
    ] {
        match fails(&bad(&deed), patient(), FailureKind::Answer) {
            Failure::Answer(DecisionError::Range { field: found, .. }) => {
                assert_eq!(found, field, "{deed}");
            }
            other => panic!("{other}: {deed}"),
        }
    }
    let more = fails(&bad(&adjust(0, 0, 10_01)), patient(), FailureKind::Answer);
    let wanted = DecisionError::LineDiscount { line: 0, discount: 10_01, price: 10_00 };
    assert_eq!(more, Failure::Answer(wanted));
    // More adjustments than an order of one line may have, and within the bytes of an answer.
    let many = "(return (call $answer (i32.const 65536) (i32.const 41)))";
    let failure = fails(&bad(many), patient(), FailureKind::Answer);
    assert!(matches!(failure, Failure::Answer(DecisionError::Count { .. })), "{failure}");
}

/// A storm of log lines ends with its budget of calls, or with its fuel where that is less.
#[test]
fn a_storm_of_log_lines_ends_with_its_budget() {
    let storm = "(loop $more (call $log (i32.const 0) (i32.const 1024) (i32.const 1)) (br $more))";
    fails(&bad(storm), patient(), FailureKind::Fuel);
    let rich = Limits { fuel_per_order: 100_000_000, ..patient() };
    assert_eq!(fails(&bad(storm), rich, FailureKind::HostCalls), Failure::HostCalls);

    let count = |calls: u32| {
        let deed = format!(
            "(local.set $n (i32.const {calls}))
             (loop $more (call $log (i32.const 0) (i32.const 1024) (i32.const 1))
                (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        );
        let options = PluginOptions { limits: rich, ..options() };
        let plugin = Plugin::<Pricing>::load(&runtime(), &bad(&deed).bytes(), options);
        ask(&plugin.expect("a plugin"), VICTIM).1
    };
    assert_eq!(count(1_000), None);
    assert_eq!(count(1_001), Some(FailureKind::HostCalls));
}

/// A log line is paid by its length, and cannot reach outside the plugin or into the log's form.
#[test]
fn log_lines_are_checked() {
    let log = |pointer: i32, length: i32| {
        format!("(call $log (i32.const 0) (i32.const {pointer}) (i32.const {length}))")
    };
    for (pointer, length) in [(0x2FFFF, 2), (-1, 1), (0, -1), (0, 16_385)] {
        fails(&bad(&log(pointer, length)), patient(), FailureKind::Output);
    }
    let broken = bad(&log(64, 1)).with("(data (i32.const 64) \"\\ff\")");
    let said = fails(&broken, patient(), FailureKind::Output);
    let cause = "invalid utf-8 sequence of 1 bytes from index 0".to_owned();
    assert_eq!(said, Failure::Output(cause));

    let two = bad(&log(64, 8)).with("(data (i32.const 64) \"a\\nERROR\\1b\")");
    let plugin = load::<Pricing>(&runtime(), &two);
    assert_eq!(ask(&plugin, VICTIM).0, By::Plugin);
    let (lines, _) = plugin.take_logs();
    assert_eq!(lines[0].text, "a\\u{a}ERROR\\u{1b}");
    let long = load::<Pricing>(&runtime(), &bad(&log(0, 16_384)));
    assert_eq!(ask(&long, VICTIM).0, By::Plugin);
    assert!(long.take_logs().0[0].text.len() <= 256);
    assert!(long.stats().fuel_max > 16_384 + 1_000);
}

/// What a plugin logged before it failed is there for whoever looks for the cause.
#[test]
fn the_last_words_of_a_failing_plugin_are_kept() {
    let deed = "(call $log (i32.const 0) (i32.const 1024) (i32.const 4)) unreachable";
    let plugin = load::<Pricing>(&runtime(), &bad(deed));
    assert_eq!(ask(&plugin, VICTIM).1, Some(FailureKind::Trap));
    assert_eq!(plugin.take_logs().0[0].text, "no x");
}

/// While one thread runs a loop into its deadline again and again, others go on with right answers.
#[test]
fn a_looping_plugin_does_not_stop_another() {
    let runtime = runtime();
    let limits = Limits { fuel_per_order: FUEL_PER_ORDER.max, deadline_ms: 250, ..patient() };
    let looping = PluginOptions { limits, ..options() };
    let looping = Plugin::<Pricing>::load(&runtime, &bad(LOOP).bytes(), looping).expect("a plugin");
    let good = load::<Pricing>(&runtime, &text(Kind::Pricing));
    let (headers, lines) = pricing(&[(VICTIM, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            for _ in 0..4 {
                assert_eq!(looping.answer(batch, true).err(), Some(Failure::Deadline));
            }
        });
        let mut calls = 0;
        let started = Instant::now();
        while !other.is_finished() && started.elapsed().as_secs() < 60 {
            assert_eq!(ask(&good, 1), (By::Plugin, None, 9_00));
            calls += 1;
        }
        assert!(calls > 0);
        other.join().expect("each loop ends");
    });
}
