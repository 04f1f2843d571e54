//! Bytes lost or changed on disk: every one is found or reported as a torn tail, and none stops
//! the verifier with a panic.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod support;

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use onhand_verify::{FailureKind, Options, Report, verify};
use support::random::random_shop;
use support::shop::{Shop, line};
use support::{BLOCK, CLOSED, Frame, Journal};

/// A closed journal of a few frames in one segment with a block to spare.
fn small() -> Journal {
    let mut shop = Shop::open(2);
    let sku = shop.define("S", 250, 0, &[]);
    shop.receive(0, sku, 10, 5);
    shop.flush();
    shop.basket(0, 7, &[line(sku, 2)], (0, 0), None);
    shop.flush();
    shop.close(5 * BLOCK)
}

fn run(dir: &Path) -> Result<Report, onhand_verify::Failure> {
    verify(dir, Options::default())
}

/// Goal: one flipped bit anywhere, in frames, headers, padding or behind the end, is seen.
#[test]
fn every_flipped_byte_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let paths = small().write(dir.path());
    let [path] = paths.as_slice() else { panic!("one segment") };
    let report = run(dir.path()).unwrap();
    assert!(report.clean_close && report.torn_tail.is_none());
    let sound = fs::read(path).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let mut put = |at: usize, byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    for (at, byte) in sound.iter().enumerate() {
        put(at, byte ^ 1 << (at % 8));
        match run(dir.path()) {
            Ok(report) => {
                let torn = report.torn_tail.unwrap_or_else(|| panic!("byte {at} is not seen"));
                assert!(torn.offset as usize <= at, "byte {at} is behind {}", torn.offset);
            }
            Err(failure) => assert_eq!(failure.kind, FailureKind::Damaged, "byte {at}: {failure}"),
        }
        put(at, *byte);
    }
}

/// Goal: a file cut anywhere is a torn tail or damage; what is left before the cut is still
/// checked.
#[test]
fn every_truncation_is_a_torn_tail_or_damage() {
    let dir = tempfile::tempdir().unwrap();
    let paths = random_shop(3, 2, 60).close(1 << 15).write(dir.path());
    assert!(paths.len() >= 2, "several segments");
    for path in &paths {
        let sound = fs::read(path).unwrap();
        for length in (0..sound.len()).step_by(512) {
            fs::write(path, &sound[..length]).unwrap();
            match run(dir.path()) {
                Ok(report) => {
                    assert!(report.torn_tail.is_some(), "{length} bytes of {path:?}: {report:?}");
                }
                Err(failure) => assert_eq!(failure.kind, FailureKind::Damaged, "{failure}"),
            }
        }
        fs::write(path, sound).unwrap();
    }
    assert!(run(dir.path()).unwrap().clean_close);
}

fn several_segments(dir: &Path) -> Vec<PathBuf> {
    let paths = random_shop(5, 2, 130).close(1 << 15).write(dir);
    assert!(paths.len() >= 4, "{} segments", paths.len());
    paths
}

/// Goal: a missing segment is damage; missing first ones are refused unless asked for, and then
/// only the shape is checked.
#[test]
fn missing_segments_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let paths = several_segments(dir.path());
    let second = fs::read(&paths[1]).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let failure = run(dir.path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Damaged);
    assert!(failure.reason.contains("segment 2 is missing"), "{failure}");
    fs::write(&paths[1], second).unwrap();

    fs::remove_file(&paths[0]).unwrap();
    let failure = run(dir.path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreadable);
    assert!(failure.reason.contains("starts with segment 2"), "{failure}");
    let partial = || Options { partial: true, ..Options::default() };
    let report = verify(dir.path(), partial()).unwrap();
    assert!(!report.complete && report.clean_close && report.first_seq > 1);
    assert!(report.text(5).contains("shape only"));

    let mut bytes = fs::read(&paths[2]).unwrap();
    bytes[BLOCK + 100] ^= 4;
    fs::write(&paths[2], bytes).unwrap();
    let failure = verify(dir.path(), partial()).unwrap_err();
    assert_eq!((failure.kind, failure.invariant), (FailureKind::Damaged, "I13"));
    assert_eq!((failure.file, failure.offset), (paths[2].clone(), BLOCK as u64));
}

/// Goal: a last frame cut short is a torn tail that names the first lost seq; the same cut with
/// newer frames behind it is damage.
#[test]
fn torn_tail_and_damage_differ_by_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let paths = small().write(dir.path());
    let sound = fs::read(&paths[0]).unwrap();
    let records = run(dir.path()).unwrap().records;

    // The BUY is the second frame; without the closing frame behind it, it is the tail.
    let mut torn = sound.clone();
    torn[3 * BLOCK..4 * BLOCK].fill(0);
    torn[2 * BLOCK + 100..3 * BLOCK].fill(0);
    fs::write(&paths[0], &torn).unwrap();
    let report = run(dir.path()).unwrap();
    let tail = report.torn_tail.unwrap();
    assert_eq!((tail.offset, tail.next_seq), (2 * BLOCK as u64, records));
    assert!(!report.clean_close);
    assert_eq!(report.last_seq, records - 1);

    let mut damaged = sound;
    damaged[2 * BLOCK + 100..3 * BLOCK].fill(0);
    fs::write(&paths[0], &damaged).unwrap();
    let failure = run(dir.path()).unwrap_err();
    assert_eq!((failure.kind, failure.offset), (FailureKind::Damaged, 2 * BLOCK as u64));
}

/// Goal: segments made ahead, and old frames in a recycled one, are not part of the journal.
#[test]
fn unused_and_recycled_segments_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let paths = several_segments(dir.path());
    let frames = run(dir.path()).unwrap().frames;
    let next = paths[0].with_file_name(format!("{:020}.oj", paths.len() + 1));
    fs::write(&next, vec![0; 1 << 15]).unwrap();
    let report = run(dir.path()).unwrap();
    assert!(report.torn_tail.is_none() && report.frames == frames);
    // Renamed to its new number, its old header and frames still in it.
    fs::copy(&paths[1], &next).unwrap();
    let report = run(dir.path()).unwrap();
    assert!(report.torn_tail.is_none() && report.frames == frames);
    // Old frames behind the last one of the last segment.
    let last = paths.last().unwrap();
    let (mut bytes, old) = (fs::read(last).unwrap(), fs::read(&paths[0]).unwrap());
    let free = (1..8).find(|n| bytes[n * BLOCK..(n + 1) * BLOCK].iter().all(|b| *b == 0));
    let free = free.expect("the last segment has room") * BLOCK;
    bytes[free..free + BLOCK].copy_from_slice(&old[BLOCK..2 * BLOCK]);
    fs::write(last, bytes).unwrap();
    let report = run(dir.path()).unwrap();
    assert_eq!(report.frames, frames);
}

/// Goal: a segment that was swapped for one of another history does not go on.
#[test]
fn segment_of_another_history_is_damage() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let paths = several_segments(dir.path());
    let others = random_shop(6, 2, 120).close(1 << 15).write(other.path());
    fs::copy(&others[1], &paths[1]).unwrap();
    let failure = run(dir.path()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Damaged, "{failure}");
}

/// Goal: a closed mark with something in flight is a violation, each in its own words.
#[test]
fn closing_with_units_in_flight_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::open(2);
    let sku = shop.define("S", 250, 0, &[]);
    shop.receive(0, sku, 10, 5);
    shop.receive(1, sku, 11, 5);
    shop.basket(0, 7, &[line(sku, 8)], (0, 0), None);
    let mut journal = shop.journal(1 << 16);
    journal.frames.push(Frame { flags: CLOSED, sections: Vec::new() });
    journal.write(dir.path());
    let failure = run(dir.path()).unwrap_err();
    assert_eq!((failure.kind, failure.invariant), (FailureKind::Violation, "V5"));
    assert!(failure.reason.contains("3 units are tentative"), "{failure}");
    journal.frames.pop();
    journal.write(dir.path());
    let report = run(dir.path()).unwrap();
    assert_eq!((report.open_instructions, report.tentative_end), (1, 3));
}

/// Goal: no directory, an empty one and a stray file are told, not guessed around.
#[test]
fn directories_without_a_journal_are_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("absent"), dir.path().to_path_buf()] {
        let failure = run(&path).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreadable, "{failure}");
    }
    let paths = small().write(dir.path());
    fs::write(paths[0].with_file_name("notes.txt"), "not a segment").unwrap();
    assert!(run(dir.path()).is_ok());
    assert!(run(paths[0].parent().unwrap()).is_ok(), "the journal directory itself");
}

/// Goal: records cut or stretched inside a well-sealed frame never stop the verifier with a
/// panic; every ninth byte of every payload is changed.
#[test]
fn sealed_nonsense_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let journal = random_shop(9, 2, 14).close(1 << 15);
    let payloads = journal.payloads();
    let (mut found, mut all) = (0, 0);
    for (index, payload) in payloads.iter().enumerate() {
        for at in (index % 9..payload.bytes.len()).step_by(9) {
            let mut wrong = payloads.clone();
            wrong[index].bytes[at] ^= [0xFF, 0x01, 0x80][at / 9 % 3];
            support::write_payloads(&wrong, 1 << 15, dir.path());
            all += 1;
            match run(dir.path()) {
                Ok(_) => {}
                Err(failure) => {
                    assert_eq!(failure.kind, FailureKind::Violation, "{failure}");
                    found += 1;
                }
            }
        }
    }
    // Keys, customers, lots and what comes in are free: other values are other histories.
    assert!(found * 10 > all * 6, "{found} of {all} changed bytes were found");
}
