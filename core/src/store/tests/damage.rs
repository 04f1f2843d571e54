//! Damage to the files below the store, in every way that a disk or a hand may do it.

use super::*;

/// Rounds of random damage for each subject.
const ROUNDS: usize = 80;

/// Copies a directory with all it holds.
pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the directory is made");
    for path in guard::list(from).expect("the directory is listed") {
        let target = to.join(guard::name_of(&path));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("the file is copied");
        }
    }
}

/// Flips, cuts, fills, empties, deletes or lengthens one file; says what it did.
fn damage_file(path: &Path, rng: &mut Rng) -> String {
    let mut bytes = fs::read(path).expect("the file is read");
    // Most of a log is empty space: damage falls where something was written.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = rng.below(used);
    let name = guard::name_of(path);
    let what = match rng.below(8) {
        0..=2 => {
            bytes[at] ^= 1 << rng.below(8);
            "bit flipped"
        }
        3 => {
            let end = bytes.len().min(at + 1 + rng.below(4_096));
            let noise = rng.bytes(end - at);
            bytes[at..end].copy_from_slice(&noise);
            "bytes overwritten"
        }
        4 => {
            let end = bytes.len().min(at + 4_096);
            bytes[at..end].fill(0);
            "block of zeros"
        }
        5 => {
            bytes.truncate(at);
            "cut"
        }
        6 => {
            let extra = rng.below(9_000);
            bytes.extend(rng.bytes(extra));
            "lengthened"
        }
        _ => {
            fs::remove_file(path).expect("the file is removed");
            return format!("{name}: deleted");
        }
    };
    fs::write(path, bytes).expect("the file is written");
    format!("{name}: {what} at {at}")
}

/// Goal: whatever happens to a generation, it comes back whole or the older one does with a note.
#[test]
fn a_damaged_generation_is_set_aside_or_whole() {
    let source = temp();
    let old = some_pages(21, 40, 2_000);
    let new = some_pages(22, 90, 9_000);
    {
        let store = open(source.path());
        write(&mut store.checkpoints(), 1, &old, b"old");
        write(&mut store.checkpoints(), 2, &new, b"new");
    }
    let victim = "gen-00000000000000000002";
    let mut rng = Rng(0x5eed);
    let (mut whole, mut aside) = (0, 0);
    for _ in 0..ROUNDS {
        let dir = temp();
        copy_dir(source.path(), dir.path());
        let files = file_paths(&dir.path().join(victim));
        let what = damage_file(&files[rng.below(files.len())], &mut rng);
        let store = open(dir.path());
        let loaded = store.checkpoints().load_newest(2).expect("loading does not fail");
        let generation = loaded.generation.expect("the older one is there");
        if generation.seq == 2 {
            assert_eq!(loaded.notes, Vec::<String>::new(), "{what}");
            assert_eq!(&*generation.manifest, b"new", "{what}");
            assert_eq!(read(generation), new, "{what}");
            whole += 1;
        } else {
            assert_eq!(loaded.notes.len(), 1, "{what}");
            assert_eq!(read(generation), old, "{what}");
            aside += 1;
        }
    }
    assert!(0 < whole && ROUNDS / 3 < aside, "{whole} whole, {aside} set aside");
}

/// Goal: whatever happens to the archive, it comes back whole or is to be rebuilt, with a note.
#[test]
fn a_damaged_archive_is_set_aside_or_whole() {
    let source = temp();
    let before = {
        let opened = open(source.path()).open_archive(ANY).expect("it opens");
        check_archive(&*opened.archive);
        content(&*opened.archive)
    };
    let mut rng = Rng(0xa7c);
    let (mut whole, mut aside) = (0, 0);
    for _ in 0..ROUNDS {
        let dir = temp();
        copy_dir(source.path(), dir.path());
        let files = file_paths(&dir.path().join("archive-1"));
        let what = damage_file(&files[rng.below(files.len())], &mut rng);
        let store = open(dir.path());
        let opened = store.open_archive(ArchiveRange { min: 300, max: 400 }).expect("it opens");
        if opened.rebuild {
            assert_eq!(opened.notes.len(), 1, "{what}");
            assert_eq!(opened.archive.entry_count(), 0, "{what}");
            opened.archive.put_batch(&[(1, b"anew")], 300).expect("it takes entries");
            aside += 1;
        } else {
            assert_eq!(opened.notes, Vec::<String>::new(), "{what}");
            check_content(&*opened.archive, &before);
            whole += 1;
        }
    }
    assert!(0 < whole && ROUNDS / 3 < aside, "{whole} whole, {aside} set aside");
}

/// Goal: each file of a generation can be missing, and all of them.
#[test]
fn deleted_files_and_directories_are_noticed() {
    let source = temp();
    {
        let store = open(source.path());
        write(&mut store.checkpoints(), 1, &some_pages(1, 20, 500), b"old");
        write(&mut store.checkpoints(), 2, &some_pages(2, 20, 500), b"new");
    }
    let victim = "gen-00000000000000000002";
    for name in ["conf", "db"] {
        let dir = temp();
        copy_dir(source.path(), dir.path());
        fs::remove_file(dir.path().join(victim).join(name)).expect("it is removed");
        let (seq, notes) = newest(&mut open(dir.path()).checkpoints(), 2);
        assert_eq!(seq, Some(1));
        assert!(notes[0].contains(name) && notes[0].contains("missing"), "{notes:?}");
    }
    let dir = temp();
    copy_dir(source.path(), dir.path());
    fs::remove_dir_all(dir.path().join(victim)).expect("it is removed");
    fs::write(dir.path().join(victim), b"not a directory").expect("it is written");
    let (seq, notes) = newest(&mut open(dir.path()).checkpoints(), 2);
    assert_eq!((seq, notes.len()), (Some(1), 1), "{notes:?}");

    // Both gone: nothing, and two notes that say so.
    for path in guard::list(dir.path()).expect("it is listed") {
        if path.is_dir() && !guard::name_of(&path).contains(".bad-") {
            fs::write(path.join("db"), b"").expect("it is emptied");
        }
    }
    let (seq, notes) = newest(&mut open(dir.path()).checkpoints(), 2);
    assert_eq!((seq, notes.len()), (None, 1), "{notes:?}");
}

/// Goal: only some of the set-aside directories are kept.
#[test]
fn set_aside_directories_are_bounded() {
    let dir = temp();
    for seq in 1..=9 {
        let store = open(dir.path());
        write(&mut store.checkpoints(), seq, &some_pages(seq, 3, 50), b"");
        let db = dir.path().join(format!("gen-{seq:020}")).join("db");
        fs::write(db, b"").expect("it is emptied");
        assert_eq!(newest(&mut store.checkpoints(), u64::MAX).0, None);
    }
    let left = names(dir.path());
    assert_eq!(left.len(), guard::BAD_DIRS_MAX + 1, "{left:?}");
    assert!(left.contains(&"gen-00000000000000000009.bad-9".into()), "{left:?}");
}

/// Goal: what a crash inside sled's own snapshot leaves does not keep a generation from opening.
#[test]
fn a_half_written_snapshot_of_sled_is_removed() {
    let dir = temp();
    let store = open(dir.path());
    let pages = some_pages(4, 30, 800);
    write(&mut store.checkpoints(), 7, &pages, b"m");
    let inside = dir.path().join("gen-00000000000000000007");
    let half = inside.join("snap.7FFFFFFFFFFFFFFF.generating");
    fs::write(&half, b"half").expect("it is written");
    let loaded = store.checkpoints().load_newest(7).expect("it loads");
    assert_eq!(loaded.notes, Vec::<String>::new());
    assert_eq!(read(loaded.generation.expect("it is whole")), pages);
    assert!(!half.exists());
}

/// Goal: an unfinished generation is removed with a note, never loaded.
#[test]
fn an_unfinished_generation_is_removed() {
    let dir = temp();
    let store = open(dir.path());
    write(&mut store.checkpoints(), 7, &some_pages(4, 30, 800), b"m");
    copy_dir(
        &dir.path().join("gen-00000000000000000007"),
        &dir.path().join("gen-00000000000000000008.new"),
    );
    let (seq, notes) = newest(&mut store.checkpoints(), 9);
    assert_eq!((seq, notes.len()), (Some(7), 1), "{notes:?}");
    assert_eq!(newest(&mut store.checkpoints(), 9), (Some(7), vec![]));
}

/// Goal: a generation that sled finds perfect is refused if it is not what the manifest says.
///
/// Method: changes a finished generation through sled itself, so that sled's checks pass.
#[test]
fn a_generation_that_disagrees_with_its_manifest_is_set_aside() {
    let source = temp();
    write(&mut open(source.path()).checkpoints(), 7, &some_pages(4, 30, 800), b"m");
    let victim = "gen-00000000000000000007";
    let page = id(0, 0, 0).to_key();
    let (same, _) = Header::page(id(0, 0, 0), 7).seal(&[b"another content"]);
    let (elsewhere, _) = Header::page(id(0, 0, 6), 7).seal(&[b"x"]);
    let (older, _) = Header::page(id(0, 0, 0), 6).seal(&[b"x"]);
    type Change = Box<dyn Fn(&GuardedDb)>;
    let put = |key: Vec<u8>, value: Vec<u8>| -> Change {
        Box::new(move |db| drop(db.insert(&key, value.clone()).expect("it is put")))
    };
    let remove = |key: Vec<u8>| -> Change {
        Box::new(move |db| drop(db.remove(&key).expect("it is removed").expect("it was there")))
    };
    let cases: Vec<(&str, Change)> = vec![
        ("the manifest is missing", remove(vec![0])),
        ("29 pages disagree", remove(page.to_vec())),
        ("30 pages disagree", put(page.to_vec(), same)),
        ("another place", put(page.to_vec(), elsewhere)),
        ("another place", put(page.to_vec(), older.clone())),
        ("a key has 3 bytes", put(vec![0, 0, 1], older)),
        ("is damaged", put(page.to_vec(), vec![1; 60])),
        ("below the 40", put(page.to_vec(), vec![])),
        ("is not that of seq 7", put(vec![0], Header::manifest(8).seal(&[&[0; 60]]).0)),
        ("below 48", put(vec![0], Header::manifest(7).seal(&[&[0; 10]]).0)),
    ];
    for (expected, change) in cases {
        let dir = temp();
        copy_dir(source.path(), dir.path());
        let db = GuardedDb::open(&dir.path().join(victim)).expect("it opens");
        change(&db);
        db.sync().expect("it is synced");
        db.close().expect("it is closed");
        let (seq, notes) = newest(&mut open(dir.path()).checkpoints(), u64::MAX);
        assert_eq!(seq, None, "{expected}");
        assert!(notes[0].contains(expected), "{expected}: {notes:?}");
    }
}

/// Goal: an archive that sled finds perfect is refused if its mark says otherwise.
#[test]
fn an_archive_that_disagrees_with_its_mark_is_set_aside() {
    let source = temp();
    {
        let opened = open(source.path()).open_archive(ANY).expect("it opens");
        let long = vec![5; 2 * PAGE_BYTES_MAX];
        let entries: [(u128, &[u8]); 3] = [(1, b"one"), (2, &long), (3, b"three")];
        opened.archive.put_batch(&entries, 10).expect("the batch is put");
        opened.archive.put_batch(&[(4, b"four")], 11).expect("the batch is put");
    }
    // Run 1: key 1 in block 0, key 2 in blocks 1 to 3, key 3 in block 4. Run 2: key 4.
    let key = run::block_key;
    let block = |run: u64, block: u32, parts: u8, content: &[u8]| {
        Header::block(key(run, block), 0, parts, run).seal(&[content]).0
    };
    let mut other = 1_u128.to_be_bytes().to_vec();
    other.extend_from_slice(&[3, 0, 0, 0]);
    other.extend_from_slice(b"ONE");
    let twice = [&*other, &*other].concat();
    let cut = &other[..other.len() - 1];
    let mark = |next: u64| Header::mark(11).seal(&[&next.to_le_bytes(), &[0; 8]]).0;
    let none = Header::mark(11).seal(&[&[1; 9]]).0;
    type Change<'a> = (&'a str, Vec<u8>, Option<Vec<u8>>);
    let cases: [Change<'_>; 13] = [
        ("mark is missing", vec![0], None),
        ("mark is another value", vec![0], Some(none)),
        ("mark is another value", vec![0], Some(Header::manifest(11).seal(&[&[0; 16]]).0)),
        ("mark is damaged", vec![0], Some(mark(3)[1..].to_vec())),
        ("block 0 of run 1 is missing", key(1, 0).into(), None),
        ("block 3 of run 1 is missing", key(1, 3).into(), None),
        ("block 1 of run 1 is missing", key(1, 1).into(), None),
        ("block 0 of run 2 is missing", key(2, 0).into(), None),
        ("run 1 of the archive disagrees", key(1, 0).into(), Some(block(1, 0, 1, &other))),
        ("is out of order", key(1, 0).into(), Some(block(1, 0, 1, &twice))),
        ("an entry that is cut off", key(1, 0).into(), Some(block(1, 0, 1, cut))),
        ("has an empty block", key(1, 0).into(), Some(block(1, 0, 1, b""))),
        ("is another value", key(1, 0).into(), Some(block(2, 0, 1, &other))),
    ];
    for (expected, key, value) in cases {
        let dir = temp();
        copy_dir(source.path(), dir.path());
        let db = GuardedDb::open(&dir.path().join("archive-1")).expect("it opens");
        match value {
            Some(value) => drop(db.insert(&key, value).expect("it is put")),
            None => drop(db.remove(&key).expect("it is removed").expect("it was there")),
        }
        db.sync().expect("it is synced");
        db.close().expect("it is closed");
        let opened = open(dir.path()).open_archive(ArchiveRange { min: 11, max: 11 });
        let opened = opened.expect("it opens");
        assert!(opened.rebuild, "{expected}");
        assert!(opened.notes[0].contains(expected), "{expected}: {:?}", opened.notes);
    }
}
