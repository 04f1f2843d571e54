//! Files of a data directory are damaged in many ways: the engine opens with what was
//! acknowledged, or says which file is wrong; it never panics and never opens with less.

mod common;

use std::path::{Path, PathBuf};

use common::{accept, buy, define, receive, run, ship, sku, wait_until};
use onhand_core::{Engine, ErrorKind};

/// Rounds of random damage.
const ROUNDS: u64 = 60;

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("reads").map(|e| e.expect("reads").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.metadata().expect("reads").len() > 0 {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("reads") {
        let path = entry.expect("reads").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copies");
        }
    }
}

/// A directory with a checkpoint, an archive, journal behind both, closed; the last acknowledged
/// frame is followed by the mark of the close.
fn build(dir: &Path) {
    let builder = Engine::builder(dir).segment_bytes(128 << 10).settled_resident_max(5);
    let (engine, _) = builder.open().expect("opens");
    accept(&engine, define("MUG", Some(5)));
    accept(&engine, receive("r1", "MUG", 10_000));
    for n in 0..300 {
        accept(&engine, buy(&format!("o{n}"), n + 1, "MUG", 1));
    }
    for n in 0..50 {
        accept(&engine, ship(&format!("s{n}"), &format!("o{n}")));
    }
    wait_until("orders are archived", || engine.metrics().archived > 50);
    engine.checkpoint().expect("makes a checkpoint");
    for n in 300..500 {
        accept(&engine, buy(&format!("o{n}"), n + 1, "MUG", 1));
    }
    engine.close().expect("closes");
}

/// Goal: no damage of one file is met with a panic, a hang, or a silent loss.
/// Method: flip, cut, empty or remove a random file; then open and ask for every order again.
#[test]
fn damage_is_named_or_mended() {
    let origin = tempfile::tempdir().expect("a directory");
    build(origin.path());
    let mut random = 0xDA_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(77);
        (random >> 33) % below
    };
    let (mut refused, mut opened) = (0, 0);
    for round in 0..ROUNDS {
        let place = tempfile::tempdir().expect("a directory");
        copy(origin.path(), place.path());
        let mut all = Vec::new();
        files(place.path(), &mut all);
        let path = &all[next(all.len() as u64) as usize];
        let mut bytes = std::fs::read(path).expect("reads");
        // Most of a journal segment is zeros that nobody reads: aim at its written part.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |at| at + 1) as u64;
        let what = next(4);
        match what {
            0 | 1 => bytes[next(used) as usize] ^= 1 << next(8),
            2 => bytes.truncate(next(used) as usize),
            _ => bytes.clear(),
        }
        if what == 3 && next(2) == 0 {
            std::fs::remove_file(path).expect("removes");
        } else {
            std::fs::write(path, bytes).expect("writes");
        }
        let name = path.strip_prefix(place.path()).expect("inside").display().to_string();
        let label = format!("round {round}: damage {what} of {name}");
        match Engine::builder(place.path()).open() {
            Err(error) => {
                refused += 1;
                let kinds = [ErrorKind::Damaged, ErrorKind::Mismatch, ErrorKind::Io];
                assert!(kinds.contains(&error.kind()), "{label}: {error:?}");
                assert!(error.path().is_some() && !error.help().is_empty(), "{label}: {error:?}");
            }
            Ok((engine, report)) => {
                opened += 1;
                let said = !report.notes.is_empty() || report.torn_tail.is_some() || !report.clean;
                let whole =
                    (0..500).all(|n| run(&engine, buy(&format!("o{n}"), n + 1, "MUG", 1)).replayed);
                assert!(whole || said, "{label}: orders are missing and nothing was said");
                if whole {
                    let stock = engine.stock(sku("MUG")).expect("known");
                    assert_eq!(stock.committed + stock.shipped, 500, "{label}");
                }
            }
        }
    }
    assert!(refused > 5 && opened > 5, "{refused} refused, {opened} opened");
}
