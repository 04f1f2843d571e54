//! Configurations are read as JSON is, less fractions; what is wrong is said with its place.

use onhand_plugin_sdk::config::{DEPTH_MAX, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refused(text: &str) -> String {
    Object::read(text).and_then(Object::end).expect_err("refused").to_string()
}

/// What is no JSON, or has a fraction, is refused with line and column.
#[test]
fn mistakes_are_said_with_their_place() {
    for (text, said) in [
        ("{", "line 1, column 2: a name in quotes is wanted"),
        ("{\n \"a\" 1}", "line 2, column 6: a colon is wanted"),
        ("{\"a\": 1.5}", "line 1, column 8: a number without fraction or exponent is wanted"),
        ("{\"a\": 01}", "line 1, column 9: a whole number is wanted"),
        (
            "{\"a\": 18446744073709551616}",
            "line 1, column 26: a number of at most 64 bits is wanted",
        ),
        ("{\"a\": 1} x", "line 1, column 10: the end is wanted"),
        ("{\"a\": \"\\ud800\"}", "line 1, column 14: a whole pair of surrogates is wanted"),
        ("{\"a\": 1, \"a\": 2}", "a is there twice"),
        ("[1]", "the configuration is a list, not an object"),
        ("{\"a\": 1}", "a is not known here"),
    ] {
        assert_eq!(refused(text), said, "{text}");
    }
    let deep = |levels: usize| format!("{{\"a\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(refused(&deep(DEPTH_MAX as usize)), "a is not known here");
    assert!(refused(&deep(DEPTH_MAX as usize + 1)).contains("less nesting is wanted"));
}

/// A number is within its range, at both ends, or is refused with field, value and range.
#[test]
fn numbers_keep_their_ranges() {
    let read = |text: &str| {
        let mut config = Object::read(&format!("{{\"n\": {text}}}")).expect("JSON");
        config.int("n", -5..=5).map_err(|error| error.to_string())
    };
    assert_eq!((read("-5"), read("5"), read("-0")), (Ok(-5), Ok(5), Ok(0)));
    assert_eq!(read("6"), Err("n is 6, outside -5..=5".to_owned()));
    let least = Err("n is -18446744073709551615, outside -5..=5".to_owned());
    assert_eq!(read("-18446744073709551615"), least);
    assert_eq!(read("\"1\""), Err("n is a text, not a whole number".to_owned()));
    assert_eq!(read("null"), Err("n is missing".to_owned()));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever `serde_json` writes is read, and its texts and numbers come back whole.
    #[test]
    fn what_serde_json_writes_is_read(
        text: String, number: i64, bits: u64, list in prop::collection::vec(any::<i64>(), 0..9),
        other in value(), pretty: bool,
    ) {
        let all = json!({"t": text, "n": number, "b": bits, "s": bits.to_string(), "l": list,
            "o": other});
        let written =
            if pretty { format!("{all:#}") } else { all.to_string() };
        let mut read = Object::read(&written).expect("JSON");
        prop_assert_eq!(read.text("t").expect("a text"), text);
        prop_assert_eq!(read.int("n", i64::MIN..=i64::MAX).expect("a number"), number);
        prop_assert_eq!(read.bits("b").expect("bits"), bits);
        prop_assert_eq!(read.bits("s").expect("bits"), bits);
        prop_assert_eq!(read.ints("l", i64::MIN..=i64::MAX).expect("numbers"), list);
    }

    /// Nothing that is no JSON is taken, and nothing panics.
    #[test]
    fn what_is_read_is_json(text in "[\\[\\]{}\",:0-9a-u\\\\ \n-]{0,40}") {
        if !text.trim().is_empty() && Object::read(&text).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }
}
