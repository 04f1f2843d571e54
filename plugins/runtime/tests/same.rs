//! The same input gives the same answer and takes the same fuel: on a warm instance, on a fresh
//! one, in another runtime. And what the host would see if it did not.

mod common;

use common::{VICTIM, bad, load, options, pricing, runtime, text};
use onhand_plugin_runtime::{Kind, Plugin, Pricing};
use onhand_policy::decision::Adjustment;
use onhand_policy::fact::PricingBatch;

/// Times that the same input is asked.
const TIMES: usize = 10_000;

/// Answers with what floats give where machines differ: not-a-number of several makings, its sign
/// and its payload, as the amounts of discounts on an order.
const FLOATS: &str = r"
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 24)))
    (i32.store offset=0 (local.get $out) (i32.const 1))
    (i64.store offset=8 (local.get $out) (i64.and (i64.const 0xFFFFFFFF) (i64.add
        (i64.rotl (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0))) (i64.const 13))
        (i64.add
            (i64.rotl (i64.reinterpret_f64 (f64.sqrt (f64.const -1))) (i64.const 29))
            (i64.extend_i32_u (i32.reinterpret_f32 (f32.mul
                (f32.reinterpret_i32 (i32.const 0xFFA00001)) (f32.const 1))))))))
    (i32.store offset=16 (local.get $out) (i32.const 4))
    (return (call $answer (local.get $out) (i32.const 1)))";

fn hunt(text: &common::Text) {
    let (one, other) = (runtime(), runtime());
    let plugins = [load::<Pricing>(&one, text), load::<Pricing>(&other, text)];
    let (headers, lines) = pricing(&[(VICTIM, 3, 12_34), (7, 1, 9_99), (8, 1_000, 1)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let wanted = plugins[0].answer(batch, true).expect("an answer");
    assert!(!wanted.0.is_empty() && wanted.1 > 0);
    for time in 0..TIMES {
        let fresh = time % 10 == 0;
        let found = plugins[time % 2].answer(batch, fresh).expect("an answer");
        assert_eq!(found, wanted, "time {time}, fresh {fresh}");
    }
}

/// Integers, memory and allocation repeat.
#[test]
fn the_same_input_gives_the_same_answer_and_fuel() {
    hunt(&text(Kind::Pricing));
}

/// What is not a number is always the same one.
#[test]
fn what_is_no_number_repeats() {
    hunt(&bad(FLOATS));
    // The canonical not-a-number of 64 bits, rotated, twice, and that of 32 bits: no machine's own.
    let nan = 0x7FF8_0000_0000_0000_u64;
    let sum = nan.rotate_left(13).wrapping_add(nan.rotate_left(29).wrapping_add(0x7FC0_0000))
        & 0xFFFF_FFFF;
    let plugin = load::<Pricing>(&runtime(), &bad(FLOATS));
    let (headers, lines) = pricing(&[(VICTIM, 1, 1)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let (answer, _) = plugin.answer(batch, true).expect("an answer");
    assert_eq!(answer, [Adjustment { kind: 1, at: 0, amount: sum as i64, code: 4 }]);
}

/// A plugin that remembers is found out: a fresh instance answers otherwise than a warm one.
#[test]
fn a_plugin_that_remembers_is_found_out() {
    let count = bad("(global.set $seen (i64.add (global.get $seen) (i64.const 1)))
        (i32.store (i32.const 64) (i32.const 1))
        (i64.store (i32.const 72) (global.get $seen))
        (return (call $answer (i32.const 64) (i32.const 1)))")
    .with("(global $seen (mut i64) (i64.const 0))");
    let plugin = Plugin::<Pricing>::load(&runtime(), &count.bytes(), options()).expect("a plugin");
    let (headers, lines) = pricing(&[(VICTIM, 1, 10_00)]);
    let batch = PricingBatch::new(&headers, &lines, &[]).expect("a batch");
    let amount = |fresh| plugin.answer(batch, fresh).expect("an answer").0[0].amount;
    assert_eq!([amount(true), amount(true)], [1, 1]);
    assert_eq!([amount(false), amount(false), amount(false)], [1, 2, 3]);
    plugin.cool();
    assert_eq!([amount(false), amount(true), amount(false)], [1, 1, 2]);
}
