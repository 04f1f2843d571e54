//! The command: its words, its JSON and its exit codes.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod support;

use std::process::{Command, Output};

use support::BLOCK;
use support::random::random_shop;
use support::shop::{Shop, line};

fn onhand_verify(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_onhand-verify")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Goal: 0 content, 1 violation, 2 usage, 3 damaged or unreadable, each with its words.
#[test]
fn exit_codes_tell_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (code, _, error) = onhand_verify(&[path]);
    assert_eq!(code, 3, "{error}");

    let mut shop = Shop::open(1);
    let sku = shop.define("say \"hi\"", 250, 0, &[]);
    shop.receive(0, sku, 10, 5);
    shop.basket(0, 7, &[line(sku, 3)], (0, 0), None);
    let mut journal = shop.close(1 << 15);
    let paths = journal.write(dir.path());
    let (code, text, _) = onhand_verify(&[path, "--all"]);
    assert_eq!(code, 0);
    assert!(text.contains("content: every rule holds at every record"), "{text}");
    assert!(text.contains("closed cleanly"), "{text}");
    let (code, json, error) = onhand_verify(&["--json", "--progress", path]);
    assert_eq!(code, 0);
    assert!(error.contains("100 % of 32768 bytes, seq 4"), "{error}");
    let sku = "{\"code\":\"say \\\"hi\\\"\",\"id\":\"000000000000d000\",\"received\":5";
    for part in [sku, "\"sold\":3", "\"min_available\":2", "\"torn_tail\":null", "\"BUY\":1"] {
        assert!(json.contains(part), "{part} of {json}");
    }

    let mut bytes = std::fs::read(&paths[0]).unwrap();
    bytes[BLOCK + 130] ^= 1;
    std::fs::write(&paths[0], &bytes).unwrap();
    let (code, json, _) = onhand_verify(&["--json", path]);
    assert_eq!(code, 3);
    assert!(json.starts_with("{\"verdict\":\"damaged\",\"invariant\":\"I13\""), "{json}");

    let last = *journal.places().last().unwrap();
    if let support::Body::Basket(record) = &mut journal.at_mut(last).body {
        record.total += 1;
    }
    journal.write(dir.path());
    let (code, text, error) = onhand_verify(&[path]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert!(
        error.contains("violation I6: total is 751, the lines add up to 750; record 4"),
        "{error}"
    );
}

/// Goal: wrong usage is told with the way out.
#[test]
fn wrong_usage_is_told() {
    for arguments in [&[][..], &["a", "b"], &["--speed"], &["a", "--spool"]] {
        let (code, _, error) = onhand_verify(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(error.contains("try --help"), "{error}");
    }
    let (code, text, _) = onhand_verify(&["--help"]);
    assert_eq!(code, 0);
    assert!(text.contains("Exit codes: 0 content"), "{text}");
}

/// Goal: a journal without its first segments is refused, and accepted with `--partial`.
#[test]
fn partial_journals_need_the_option() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let paths = random_shop(5, 2, 120).close(1 << 15).write(dir.path());
    std::fs::remove_file(&paths[0]).unwrap();
    let (code, _, error) = onhand_verify(&[path]);
    assert_eq!(code, 3);
    assert!(error.contains("opening state is unknown"), "{error}");
    let (code, text, error) = onhand_verify(&[path, "--partial"]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("shape only"), "{text}");
}
