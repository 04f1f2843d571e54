//! The simulated disk keeps, loses and tears what it says.

use super::*;

const DIR: &str = "/d";

fn disk(seed: u64) -> FaultStorage {
    let disk = FaultStorage::new(seed, false);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// What is synced survives a crash; what is not may be there, torn by sectors, or gone, and
/// each of these happens.
#[test]
fn a_crash_keeps_what_was_synced() {
    let mut outcomes = BTreeMap::new();
    for seed in 0..300 {
        let disk = disk(seed);
        let file = disk.create(&path("a"), Access::Write).unwrap();
        file.write_all_at(0, &[1; 2_048]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_all_at(0, &[2; 2_048]).unwrap();
        assert_eq!(disk.file(&path("a")).unwrap(), [2; 2_048]);
        disk.crash();
        assert!(file.write_all_at(0, &[3; 1]).is_err(), "the handle is dead");
        let bytes = disk.file(&path("a")).unwrap();
        assert_eq!(bytes.len(), 2_048);
        let sectors: Vec<u8> = bytes
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
                sector[0]
            })
            .collect();
        let written = sectors.into_iter().filter(|byte| *byte == 2).count();
        let outcome = match written {
            0 => "lost",
            4 => "whole",
            _ => "torn",
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.values().all(|count| *count > 50), "{outcomes:?}");
}

/// Names are durable after a sync of their directory; before it a prefix of them is.
#[test]
fn a_crash_keeps_a_prefix_of_the_names() {
    let mut outcomes = BTreeMap::new();
    for seed in 0..300 {
        let disk = disk(seed);
        disk.create(&path("a"), Access::Write).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk.create(&path("b"), Access::Write).unwrap();
        disk.rename(&path("a"), &path("c")).unwrap();
        disk.remove(&path("b")).unwrap();
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), ["c"]);
        disk.crash();
        *outcomes.entry(disk.list(Path::new(DIR)).unwrap()).or_insert(0) += 1;
    }
    let seen: Vec<String> = outcomes.keys().map(|names| names.join(" ")).collect();
    assert_eq!(seen, ["a", "a b", "b c", "c"]);
}

/// After a failed sync the bytes can be read, no later sync saves them, and writing them
/// again does.
#[test]
fn a_failed_sync_is_never_made_good() {
    let mut lost = 0;
    for seed in 0..200 {
        let disk = disk(seed);
        let file = disk.create(&path("a"), Access::Write).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_all_at(0, &[1; 10]).unwrap();
        disk.fail_at(disk.operation_count() + 1, Fault::Sync);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        let fork = disk.fork(seed);
        assert_eq!(fork.file(&path("a")).unwrap(), [1; 10]);
        if seed % 2 == 0 {
            file.write_all_at(0, &[1; 10]).unwrap();
            file.sync().unwrap();
        }
        disk.crash();
        let kept = disk.file(&path("a")).unwrap() == [1; 10];
        assert!(kept || seed % 2 == 1);
        lost += u32::from(!kept);
    }
    assert!(lost > 30, "{lost}");
}

/// Cutting and extending a file may be undone by a crash, until it is synced.
#[test]
fn a_size_is_durable_when_synced() {
    let mut sizes = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        let file = disk.create(&path("a"), Access::Write).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_all_at(0, &[1; 1_000]).unwrap();
        file.sync().unwrap();
        file.set_size(10).unwrap();
        file.set_size(2_000).unwrap();
        assert_eq!(file.size().unwrap(), 2_000);
        if seed % 2 == 0 {
            file.sync().unwrap();
        }
        disk.crash();
        let bytes = disk.file(&path("a")).unwrap();
        assert!(seed % 2 == 1 || bytes.len() == 2_000);
        assert_eq!(bytes[..10], [1; 10]);
        sizes.insert(bytes.len());
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [10, 1_000, 2_000]);
}

/// Durable writes are durable at once, must be aligned, and respect the disk's capacity.
#[test]
fn a_write_through_is_durable_at_once() {
    let disk = FaultStorage::new(1, true);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    let file = disk.create(&path("a"), Access::WriteThrough).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    let mut page = crate::journal::buffer::AlignedBuffer::new(4_096);
    page.resize(4_096);
    page.as_mut_slice().fill(5);
    file.write_all_at(4_096, page.as_slice()).unwrap();
    for (offset, bytes) in [(1, page.as_slice()), (0, &page.as_slice()[..512])] {
        let refused = file.write_all_at(offset, bytes);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    disk.set_capacity(3 * 4_096 - 1);
    let refused = file.write_all_at(8_192, page.as_slice());
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes(Path::new(DIR)).unwrap(), 4_095);
    disk.crash();
    assert_eq!(disk.file(&path("a")).unwrap()[4_096..], [5; 4_096]);
    assert!(disk.flip(&path("a"), 4_096, 1) && !disk.flip(&path("a"), 8_192, 1));
    assert_eq!(disk.file(&path("a")).unwrap()[4_096], 4);
}

/// A machine that stops does nothing more until it is started again.
#[test]
fn a_stopped_machine_stays_stopped() {
    let disk = disk(3);
    disk.fail_at(disk.operation_count() + 1, Fault::Crash);
    assert!(disk.exists(&path("a")).is_err());
    assert!(disk.exists(&path("a")).is_err());
    disk.crash();
    assert!(!disk.exists(&path("a")).unwrap());
    disk.fail_at(disk.operation_count() + 1, Fault::Io);
    disk.clear_faults();
    assert!(!disk.exists(&path("a")).unwrap());
}
