//! Tests of the store: what it keeps, what it refuses, and that damage never becomes an answer.

mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::frame::Header;
use super::guard::{self, GuardedDb, supervised};
use super::run::{self, RunWriter};
use super::*;
use crate::ErrorKind;

/// A small generator: the same seed gives the same test.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

type Pages = BTreeMap<PageId, Vec<u8>>;

fn id(table: u16, shard: u16, page: u32) -> PageId {
    PageId { table, shard, page }
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(root: &Path) -> SledStore {
    SledStore::open(root, StoreOptions::default()).expect("the store opens")
}

fn some_pages(seed: u64, count: u32, bytes_max: usize) -> Pages {
    let mut rng = Rng(seed);
    let mut pages = Pages::new();
    for page in 0..count {
        let length = rng.below(bytes_max + 1);
        pages.insert(id((page % 3) as u16, (page % 2) as u16, page), rng.bytes(length));
    }
    pages
}

fn write(store: &mut dyn CheckpointStore, seq: u64, pages: &Pages, manifest: &[u8]) {
    let mut sink = store.begin(seq).expect("a generation begins");
    // Not in the order of the keys: a checkpoint copies pages as they change.
    for (id, bytes) in pages.iter().rev() {
        sink.put(*id, b"replaced below").expect("a page is put");
        sink.put(*id, bytes).expect("a page is replaced");
    }
    sink.finish(manifest).expect("the generation is verified");
}

fn read(generation: Generation) -> Pages {
    let pages: Vec<Page> = generation.into_pages().collect();
    assert!(pages.is_sorted_by_key(|page| page.id));
    pages.into_iter().map(|page| (page.id, page.bytes.to_vec())).collect()
}

fn names(root: &Path) -> Vec<String> {
    let paths = guard::list(root).expect("the directory is listed");
    paths.iter().map(|path| guard::name_of(path)).collect()
}

fn newest(store: &mut dyn CheckpointStore, seq_max: u64) -> (Option<u64>, Vec<String>) {
    let loaded = store.load_newest(seq_max).expect("loading does not fail");
    (loaded.generation.map(|generation| generation.seq), loaded.notes)
}

/// Goal: both stores keep pages in order, replace, refuse, and drop alike.
fn check_checkpoints(store: &mut dyn CheckpointStore) {
    assert_eq!(newest(store, u64::MAX), (None, vec![]));
    let first = some_pages(1, 200, 3_000);
    let second = some_pages(2, 70, PAGE_BYTES_MAX);
    write(store, 5, &first, b"first");
    write(store, 9, &second, b"second");
    let again = store.begin(9).err().expect("a seq is used once");
    assert_eq!(again.kind(), ErrorKind::Config);

    let loaded = store.load_newest(u64::MAX).expect("it loads");
    assert_eq!(loaded.notes, Vec::<String>::new());
    let generation = loaded.generation.expect("a generation");
    assert_eq!((generation.seq, &*generation.manifest), (9, &b"second"[..]));
    assert_eq!(generation.page_count(), 70);
    assert_eq!(read(generation), second);

    // An abandoned one leaves nothing.
    let mut sink = store.begin(12).expect("a generation begins");
    sink.put(id(0, 0, 0), b"lost").expect("a page is put");
    drop(sink);
    assert_eq!(newest(store, u64::MAX).0, Some(9));

    // An empty one is whole.
    write(store, 13, &Pages::new(), b"");
    assert_eq!(store.drop_older(1).expect("older ones go"), vec![13, 9]);
    assert_eq!(newest(store, u64::MAX).0, Some(13));

    // One above the journal's end cannot stand for it.
    let (seq, notes) = newest(store, 12);
    assert_eq!(seq, Some(9));
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(newest(store, 12), (Some(9), vec![]));
}

#[test]
fn checkpoints_on_disk_come_back_as_they_were_put() {
    let dir = temp();
    let store = open(dir.path());
    check_checkpoints(&mut store.checkpoints());
    assert!(0 < store.checkpoints().disk_bytes().expect("disk bytes"));
    let left = names(dir.path());
    assert_eq!(left, ["gen-00000000000000000009", "gen-00000000000000000013.bad-1", "lock"]);
}

#[test]
fn checkpoints_in_memory_come_back_as_they_were_put() {
    check_checkpoints(&mut MemoryStore::new());
}

/// Goal: the longest value is kept, one byte more is refused and nothing else happens.
fn check_limits(store: &mut dyn CheckpointStore, archive: &dyn Archive) {
    let mut sink = store.begin(1).expect("a generation begins");
    sink.put(id(0, 0, 0), &vec![7; PAGE_BYTES_MAX]).expect("the longest page is kept");
    let error = sink.put(id(0, 0, 1), &vec![7; PAGE_BYTES_MAX + 1]).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Config);
    sink.finish(&vec![8; MANIFEST_BYTES_MAX]).expect("the longest manifest is kept");
    let sink = store.begin(2).expect("a generation begins");
    let error = sink.finish(&vec![8; MANIFEST_BYTES_MAX + 1]).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(newest(store, u64::MAX).0, Some(1));

    let longest = vec![9; ENTRY_BYTES_MAX];
    archive.put_batch(&[(1, &longest)], 4).expect("the longest entry is kept");
    let too_long = vec![9; ENTRY_BYTES_MAX + 1];
    let error = archive.put_batch(&[(2, b"x"), (3, &too_long)], 5).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = archive.put_batch(&[(2, b"x")], 3).expect_err("the mark goes back");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!((archive.high_water(), archive.entry_count()), (4, 1));
    assert_eq!(archive.get(1).expect("it reads"), Some(longest));
    assert_eq!(archive.get(2).expect("it reads"), None);
}

const ANY: ArchiveRange = ArchiveRange { min: 0, max: u64::MAX };

#[test]
fn values_over_the_limit_are_refused() {
    let dir = temp();
    let store = open(dir.path());
    let archive = store.open_archive(ANY).expect("it opens").archive;
    check_limits(&mut store.checkpoints(), &*archive);
    let memory = MemoryStore::new();
    check_limits(&mut memory.clone(), memory.archive());
}

/// Goal: the archive replaces, repeats, splits and counts; alike on disk and in memory.
fn check_archive(archive: &dyn Archive) {
    let mut rng = Rng(3);
    let mut model = BTreeMap::new();
    for batch in 1..=30_u64 {
        let mut entries = Vec::new();
        for _ in 0..20 {
            let key = u128::from(rng.next() % 400) << (rng.below(3) * 48);
            let length = if rng.below(20) == 0 { rng.below(150_000) } else { rng.below(300) };
            entries.push((key, rng.bytes(length)));
        }
        let slices: Vec<(u128, &[u8])> = entries.iter().map(|(key, v)| (*key, &**v)).collect();
        archive.put_batch(&slices, batch * 10).expect("the batch is put");
        model.extend(entries.iter().cloned());
        // The same batch again, as after a crash: nothing changes.
        let last: BTreeMap<u128, Vec<u8>> = entries.into_iter().collect();
        let again: Vec<(u128, &[u8])> = last.iter().map(|(key, v)| (*key, &**v)).collect();
        archive.put_batch(&again, batch * 10).expect("the batch is repeated");
    }
    assert_eq!(archive.high_water(), 300);
    check_content(archive, &model);
}

fn check_content(archive: &dyn Archive, model: &BTreeMap<u128, Vec<u8>>) {
    assert!(model.len() as u64 <= archive.entry_count());
    let mut keys = Vec::new();
    archive.for_each_key(&mut |key| keys.push(key)).expect("the keys are read");
    assert!(keys.iter().eq(model.keys()));
    for (key, value) in model {
        assert_eq!(archive.get(*key).expect("it reads").as_ref(), Some(value));
    }
    assert_eq!(archive.get(u128::MAX).expect("it reads"), None);
    assert!(model.values().map(Vec::len).sum::<usize>() as u64 <= archive.live_bytes());
}

fn content(archive: &dyn Archive) -> BTreeMap<u128, Vec<u8>> {
    let mut keys = Vec::new();
    archive.for_each_key(&mut |key| keys.push(key)).expect("the keys are read");
    let value = |key| archive.get(key).expect("it reads").expect("it is there");
    keys.into_iter().map(|key| (key, value(key))).collect()
}

#[test]
fn the_archive_keeps_what_was_put_over_a_reopen() {
    let memory = MemoryStore::new();
    check_archive(memory.archive());
    let dir = temp();
    let before = {
        let opened = open(dir.path()).open_archive(ANY).expect("it opens");
        assert!(!opened.rebuild && opened.filter.key_count() == 0);
        check_archive(&*opened.archive);
        content(&*opened.archive)
    };
    assert_eq!(before, content(memory.archive()));
    let opened = open(dir.path()).open_archive(ArchiveRange { min: 300, max: 300 });
    let opened = opened.expect("it opens");
    assert_eq!((opened.rebuild, opened.notes), (false, vec![]));
    check_content(&*opened.archive, &before);
    assert!(before.keys().all(|key| opened.filter.may_contain(*key)));
}

/// Goal: a mark outside what checkpoint and journal say is damage, on either side.
#[test]
fn an_archive_that_disagrees_with_the_expected_mark_is_set_aside() {
    for (min, max, rebuild) in [(11, 20, true), (0, 9, false), (5, 9, true)] {
        let dir = temp();
        let opened = open(dir.path()).open_archive(ANY).expect("it opens");
        opened.archive.put_batch(&[(1, b"settled")], 10).expect("the batch is put");
        drop(opened);
        let opened = open(dir.path()).open_archive(ArchiveRange { min, max }).expect("it opens");
        assert_eq!(opened.rebuild, rebuild);
        assert_eq!(opened.archive.entry_count(), 0);
        let note = opened.notes.first().expect("a note");
        assert!(note.contains("mark is seq 10"), "{note}");
        assert_eq!(names(dir.path()), ["archive-1.bad-1", "archive-2", "lock"]);

        let memory = MemoryStore::new();
        memory.archive().put_batch(&[(1, b"settled")], 10).expect("the batch is put");
        let opened = memory.open_archive(ArchiveRange { min, max }, 0);
        assert_eq!((opened.rebuild, opened.archive.entry_count()), (rebuild, 0));
    }
}

#[test]
fn a_missing_archive_is_reported() {
    let dir = temp();
    let opened = open(dir.path()).open_archive(ArchiveRange { min: 3, max: 9 }).expect("it opens");
    assert!(opened.rebuild);
    assert!(opened.notes[0].contains("missing"), "{:?}", opened.notes);
}

/// Goal: what a crash left of a batch is taken out; what was there before stays.
///
/// Method: writes blocks of the next run without listing it, as a crash would leave them.
#[test]
fn a_batch_cut_short_is_taken_out_at_open() {
    let dir = temp();
    let opened = open(dir.path()).open_archive(ANY).expect("it opens");
    opened.archive.put_batch(&[(1, b"one"), (2, b"two")], 10).expect("the batch is put");
    drop(opened);
    {
        let db = GuardedDb::open(&dir.path().join("archive-1")).expect("it opens");
        let mut cut = RunWriter::new(&db, 2);
        for key in 3..9 {
            cut.push(key, &vec![7; 20_000]).expect("the entry is put");
        }
        cut.finish().expect("the run is written");
        db.sync().expect("it is synced");
    }
    let expected = BTreeMap::from([(1, b"one".to_vec()), (2, b"two".to_vec())]);
    for mark in [10, 12] {
        let opened = open(dir.path()).open_archive(ArchiveRange { min: mark.min(10), max: 20 });
        let opened = opened.expect("it opens");
        assert_eq!((opened.rebuild, opened.notes), (false, vec![]));
        check_content(&*opened.archive, &expected);
        assert!(!opened.filter.may_contain(3));
        // A shorter run of the same number does not mix with what was left.
        opened.archive.put_batch(&[(2, b"two")], mark + 2).expect("the batch is put");
    }
}

/// Goal: of equal keys the last counts, in one batch, over batches, and after merges.
#[test]
fn the_last_value_of_a_key_counts() {
    let dir = temp();
    let store = open(dir.path());
    let archive = store.open_sled_archive(ANY);
    let mut model = BTreeMap::new();
    for seq in 1..=200_u64 {
        let (first, last) = (format!("first {seq}"), format!("last {seq}"));
        let entries: [(u128, &[u8]); 3] =
            [(5, first.as_bytes()), (u128::from(seq), last.as_bytes()), (5, last.as_bytes())];
        archive.put_batch(&entries, seq).expect("the batch is put");
        model.insert(u128::from(seq), last.clone().into_bytes());
        model.insert(5, last.into_bytes());
    }
    check_content(&archive, &model);
    assert!(archive.run_count() < 32, "{} runs", archive.run_count());
    archive.put_batch(&[], 500).expect("an empty batch moves the mark");
    drop(archive);
    let opened = store.open_archive(ArchiveRange { min: 500, max: 500 }).expect("it opens");
    check_content(&*opened.archive, &model);
}

/// Goal: a stale archive is copied and shrinks, with nothing lost; a fresh one is left alone.
#[test]
fn a_large_archive_is_copied() {
    let dir = temp();
    let store = open(dir.path());
    let archive = store.open_sled_archive(ANY);
    archive.set_disk_bytes_min(u64::MAX);
    let mut rng = Rng(5);
    let mut model = BTreeMap::new();
    for round in 1..=40_u64 {
        let values: Vec<Vec<u8>> = (0..40).map(|_| rng.bytes(20_000)).collect();
        let entries: Vec<(u128, &[u8])> =
            values.iter().enumerate().map(|(key, value)| (key as u128, &**value)).collect();
        archive.put_batch(&entries, round).expect("the batch is put");
        model = (0..).zip(values).collect();
    }
    assert!(!archive.compact_if_large().expect("it is looked at"), "below the least size");
    drop(archive);
    drop(store);
    let store = open(dir.path());
    let archive = store.open_sled_archive(ANY);
    archive.set_disk_bytes_min(0);
    let before = archive.disk_bytes().expect("disk bytes");
    assert!(archive.live_bytes() * COMPACT_RATIO < before, "{before} bytes on disk");
    assert!(archive.compact_if_large().expect("it is copied"));
    assert!(archive.disk_bytes().expect("disk bytes") < before);
    check_content(&archive, &model);
    archive.put_batch(&[(77, b"later")], 50).expect("it goes on");
    model.insert(77, b"later".to_vec());
    drop(archive);
    assert_eq!(names(dir.path()), ["archive-2", "lock"]);
    let opened = store.open_archive(ArchiveRange { min: 50, max: 50 }).expect("it opens");
    assert_eq!((opened.rebuild, opened.notes), (false, vec![]));
    check_content(&*opened.archive, &model);
}

/// Goal: a crash between the copy's rename and the removal of the old one leaves one archive.
#[test]
fn of_two_archives_the_newer_stays() {
    let dir = temp();
    let opened = open(dir.path()).open_archive(ANY).expect("it opens");
    opened.archive.put_batch(&[(1, b"one")], 10).expect("the batch is put");
    drop(opened);
    damage::copy_dir(&dir.path().join("archive-1"), &dir.path().join("archive-2"));
    damage::copy_dir(&dir.path().join("archive-1"), &dir.path().join("archive-3.new"));
    let opened = open(dir.path()).open_archive(ArchiveRange { min: 10, max: 10 });
    let opened = opened.expect("it opens");
    assert!(!opened.rebuild);
    assert_eq!(opened.notes.len(), 2, "{:?}", opened.notes);
    assert_eq!(opened.archive.get(1).expect("it reads"), Some(b"one".to_vec()));
    assert_eq!(names(dir.path()), ["archive-2", "lock"]);
}

/// Goal: the largest values, put and replaced in any order, never make a blob file.
///
/// `GuardedDb::sync` fails on the first blob; the directory is looked at as well.
#[test]
fn no_load_makes_a_blob_file() {
    let dir = temp();
    let store = open(dir.path());
    let mut rng = Rng(11);
    let mut checkpoints = store.checkpoints();
    let mut sink = checkpoints.begin(1).expect("a generation begins");
    for _ in 0..1_500 {
        let page = rng.below(400) as u32;
        sink.put(id(0, 0, page), &vec![page as u8; PAGE_BYTES_MAX]).expect("a page is put");
    }
    sink.finish(b"").expect("the generation is verified");
    let archive = store.open_archive(ANY).expect("it opens").archive;
    for round in 1..=20 {
        let value = vec![round as u8; PAGE_BYTES_MAX];
        let keys: Vec<u128> = (0..40).map(|_| rng.below(100) as u128).collect();
        let entries: Vec<(u128, &[u8])> = keys.iter().map(|key| (*key, &*value)).collect();
        archive.put_batch(&entries, round).expect("the batch is put");
    }
    for name in ["gen-00000000000000000001", "archive-1"] {
        assert_eq!(names(&dir.path().join(name).join("blobs")), Vec::<String>::new());
    }
}

#[test]
fn a_blob_file_is_an_error() {
    let dir = temp();
    let db = GuardedDb::create(&dir.path().join("db")).expect("it is made");
    db.sync().expect("no blob yet");
    fs::write(dir.path().join("db/blobs/7"), b"x").expect("the file is written");
    assert_eq!(db.sync().expect_err("a blob").kind(), ErrorKind::Damaged);
    let after = db.insert(b"key", b"value".to_vec()).expect_err("never tried again");
    assert_eq!(after.kind(), ErrorKind::Stopped);
}

#[test]
fn a_value_over_the_limit_never_reaches_sled() {
    let dir = temp();
    let db = GuardedDb::create(&dir.path().join("db")).expect("it is made");
    db.insert(b"k", vec![0; 32 * 1024]).expect("the longest is put");
    let error = db.insert(b"k", vec![0; 32 * 1024 + 1]).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_second_opening_is_refused() {
    let dir = temp();
    let store = open(dir.path());
    let error = SledStore::open(dir.path(), StoreOptions::default()).err().expect("locked");
    assert_eq!(error.kind(), ErrorKind::Locked);
    // Whatever is still open holds the lock.
    let archive = store.open_archive(ANY).expect("it opens").archive;
    drop(store);
    assert!(SledStore::open(dir.path(), StoreOptions::default()).is_err());
    drop(archive);
    open(dir.path());
}

#[test]
fn a_panic_or_a_hang_comes_back_as_damage() {
    let path = Path::new("somewhere");
    let error = supervised::<()>(path, Duration::from_mins(1), |_| panic!("broken inside"))
        .expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("broken inside"), "{error}");

    let (release, stuck) = mpsc::channel::<()>();
    let error = supervised(path, Duration::from_millis(20), move |_| {
        // Ends with the test, when the other side goes.
        let _ = stuck.recv();
        Ok(())
    })
    .expect_err("it hangs");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    drop(release);
    supervised(path, Duration::from_mins(1), |_| Ok(())).expect("it works");
}

#[test]
fn clearing_removes_all_but_the_lock() {
    let dir = temp();
    let store = open(dir.path());
    write(&mut store.checkpoints(), 1, &some_pages(1, 3, 100), b"");
    drop(store.open_archive(ANY).expect("it opens"));
    store.clear().expect("it is cleared");
    assert_eq!(names(dir.path()), ["lock"]);
    assert_eq!(newest(&mut store.checkpoints(), u64::MAX), (None, vec![]));
}

#[test]
fn the_hooks_of_the_memory_store_lose_what_they_say() {
    let mut store = MemoryStore::new();
    for at in 0..200 {
        store.lose_everything();
        write(&mut store, 1, &some_pages(1, 9, 40), b"one");
        write(&mut store, 2, &some_pages(2, 9, 40), b"two");
        store.damage_page(at * 7_919).expect("there is a page");
        let (seq, notes) = newest(&mut store, u64::MAX);
        assert_eq!((seq, notes.len()), (Some(1), 1), "{notes:?}");
    }
    write(&mut store, 3, &some_pages(2, 9, 40), b"three");
    store.lose_page().expect("there is a page");
    assert_eq!(newest(&mut store, u64::MAX).0, Some(1));
    assert_eq!(store.lose_newest(), Some(1));
    assert_eq!(newest(&mut store, u64::MAX), (None, vec![]));
    assert_eq!((store.damage_page(1), store.lose_page(), store.lose_newest()), (None, None, None));

    let archive = store.archive();
    archive.put_batch(&[(1, b"one")], 1).expect("the batch is put");
    archive.put_batch(&[(2, b"two")], 2).expect("the batch is put");
    archive.lose_tail(1);
    assert_eq!((archive.high_water(), archive.entry_count()), (1, 1));
}

/// Goal: the bytes of a value are those of `docs/CHECKPOINT_FORMAT.md`.
#[test]
fn a_value_has_the_documented_bytes() {
    let (value, crc) = Header::page(id(0x0102, 0x0304, 0x0506_0708), 9).seal(&[b"ab", b"c"]);
    let mut expected = b"OHSV\x01\x01\x00\x01".to_vec();
    expected.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(value[..36], expected);
    assert_eq!(value[36..40], crc.to_le_bytes());
    assert_eq!(&value[40..], b"abc");
    expected.extend_from_slice(&[0; 4]);
    expected.extend_from_slice(b"abc");
    assert_eq!(crc, crc32fast::hash(&expected));
    let (value, _) = Header::block(run::block_key(0x0a0b, 0x0c), 1, 2, 0x0a0b).seal(&[b""]);
    let mut expected = b"OHSV\x01\x03\x01\x02".to_vec();
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x0a, 0x0b, 0, 0, 0, 0x0c, 0, 0, 0, 0]);
    expected.extend_from_slice(&[0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(value[..36], expected);
    // Every flipped bit is noticed.
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::open(&flipped).is_err(), "bit {bit}");
    }
}

fn file_paths(dir: &Path) -> Vec<PathBuf> {
    let paths = guard::list(dir).expect("the directory is listed");
    paths.into_iter().filter(|path| path.is_file()).collect()
}
