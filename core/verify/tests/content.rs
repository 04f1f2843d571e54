//! Valid journals are content, and the report says what they hold.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod support;

use onhand_verify::{Options, verify};
use support::random::random_shop;

/// Goal: random histories over every record kind break no rule, closed or not.
#[test]
fn random_valid_journals_are_content() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 1..=60 {
        let shop = random_shop(seed, 1 + (seed % 4) as u16, 300);
        let dir = tempfile::tempdir().unwrap();
        let journal = if seed % 2 == 0 { shop.close(1 << 19) } else { shop.journal(1 << 16) };
        journal.write(dir.path());
        match verify(dir.path(), Options::default()) {
            Ok(report) => {
                kinds.extend(report.kinds.iter().map(|kind| kind.kind));
                assert_eq!(report.clean_close, seed % 2 == 0);
                assert_eq!(report.records, journal.places().len() as u64);
            }
            Err(failure) => panic!("seed {seed}: {failure}"),
        }
    }
    assert_eq!(kinds.len(), 19, "some record kinds never occurred: {kinds:?}");
}
