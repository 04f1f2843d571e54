//! The journal on disks that fail, and machines that stop: what was acknowledged is read back,
//! and nothing else but the group that was on its way.

use std::sync::Arc;

use super::reader::Start;
use super::tests::{ENGINE, TestSection, append, dir, random_group, read};
use super::writer::JournalWriter;
use crate::error::{Error, ErrorKind};
use crate::sim::{Fault, FaultStorage, Random};
use crate::storage::Storage;

const FAULTS: [Fault; 5] = [Fault::Io, Fault::Full, Fault::Short, Fault::Sync, Fault::Crash];
const SEGMENT_BYTES: u32 = 16 << 10;

/// A group and the epoch of its frame.
type Numbered = (u64, Vec<TestSection>);

/// What a client knows of a journal.
#[derive(Default)]
struct Known {
    acknowledged: Vec<Numbered>,
    /// The group whose append has failed.
    in_doubt: Option<Numbered>,
    /// Frames before this epoch may have been removed.
    removed_before: u64,
}

impl Known {
    /// Opens the journal, checks it against what is known, and returns a writer.
    fn open(&mut self, storage: &Arc<dyn Storage>) -> Result<JournalWriter, Error> {
        storage
            .create_dir_all(&dir())
            .map_err(|e| Error::io("directory cannot be made", &dir(), e))?;
        let Some((frames, tail)) = read(storage, &dir(), Start::Oldest)? else {
            assert!(self.acknowledged.is_empty(), "the journal is gone");
            return JournalWriter::create(storage.clone(), &dir(), SEGMENT_BYTES, ENGINE);
        };
        let first_epoch = frames.first().map_or(tail.chain.epoch, |frame| frame.epoch);
        assert!(first_epoch <= self.removed_before.max(1), "too much was removed");
        let mut found = frames.into_iter().filter(|f| f.flags == 0).map(|f| (f.epoch, f.sections));
        for group in self.acknowledged.iter().filter(|group| first_epoch <= group.0) {
            assert_eq!(found.next().as_ref(), Some(group), "an acknowledged group is lost");
        }
        let mut taken = None;
        if let Some(group) = found.next() {
            assert_eq!(Some(&group), self.in_doubt.as_ref(), "a group is invented");
            taken = self.in_doubt.take();
        }
        assert_eq!(found.next(), None, "a group is invented");
        // Until the writer is there the group may be found or not: it was never promised.
        match JournalWriter::resume(storage.clone(), &dir(), SEGMENT_BYTES, tail) {
            Ok(writer) => {
                self.acknowledged.extend(taken);
                self.in_doubt = None;
                Ok(writer)
            }
            Err(error) => {
                self.in_doubt = self.in_doubt.take().or(taken);
                Err(error)
            }
        }
    }

    fn append(&mut self, writer: &mut JournalWriter, random: &mut Random) -> Result<(), Error> {
        let group = (writer.chain().epoch, random_group(random, 9_000));
        let appended = append(writer, &group.1);
        match &appended {
            Ok(()) => self.acknowledged.push(group),
            Err(_) if writer.is_stopped() => {
                assert_eq!(append(writer, &group.1).err().unwrap().kind(), ErrorKind::Stopped);
                assert_eq!(writer.mark_idle().err().unwrap().kind(), ErrorKind::Stopped);
                assert!(writer.wants_spare().is_none());
                self.in_doubt = Some(group);
            }
            // No segment could be made: nothing was written, so trying again is allowed.
            Err(_) => (),
        }
        appended
    }

    /// Opens, appends with spares, marks and removals, and closes or not.
    fn session(&mut self, storage: &Arc<dyn Storage>, random: &mut Random) -> Result<(), Error> {
        let mut writer = self.open(storage)?;
        for _ in 0..=random.below(6) {
            if random.percent(40)
                && let Some(request) = writer.wants_spare()
            {
                match request.run(&**storage) {
                    Ok(spare) => writer.give_spare(spare),
                    Err(_) => writer.spare_failed(),
                }
            }
            self.append(&mut writer, random)?;
            if random.percent(15) {
                writer.mark_idle()?;
            }
            if random.percent(10) {
                let before = writer.chain().epoch.saturating_sub(random.below(12));
                self.removed_before = self.removed_before.max(before);
                writer.remove_before(before).run(&**storage)?;
            }
        }
        if random.percent(50) { writer.close() } else { Ok(()) }
    }
}

/// Every single operation of two sessions fails once, in each way, with and without a stop of
/// the machine after it, on both kinds of disk; the next sessions find everything.
#[test]
fn each_operation_may_fail() {
    let mut failures = 0;
    for through in [true, false] {
        for fault in FAULTS {
            for crash in [true, false] {
                let mut operation = 1;
                loop {
                    let disk = FaultStorage::new(operation, through);
                    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
                    let mut random = Random::new(42);
                    let mut known = Known::default();
                    disk.fail_at(operation, fault);
                    let first = known.session(&storage, &mut random);
                    let failed = first.is_err() || known.session(&storage, &mut random).is_err();
                    if disk.operation_count() < operation {
                        break;
                    }
                    failures += u32::from(failed);
                    if crash || fault == Fault::Crash {
                        disk.crash();
                    }
                    for _ in 0..3 {
                        known.session(&storage, &mut random).unwrap();
                        disk.crash();
                    }
                    known.open(&storage).unwrap();
                    operation += 1;
                }
                assert!(operation > 60, "only {operation} operations");
            }
        }
    }
    assert!(failures > 1_000, "only {failures} failures");
}

/// One seed: sessions with random faults, stops of the machine, failures while recovering.
fn run_seed(seed: u64) -> [u64; 3] {
    let mut random = Random::new(seed);
    let disk = FaultStorage::new(random.bits(), random.percent(50));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut known = Known::default();
    let mut counts = [0; 3];
    for _ in 0..8 {
        for _ in 0..random.below(3) {
            let operation = disk.operation_count() + 1 + random.below(90);
            disk.fail_at(operation, FAULTS[random.below(5) as usize]);
        }
        let failed = known.session(&storage, &mut random).err();
        disk.clear_faults();
        counts[0] += u64::from(failed.is_some());
        if let Some(error) = failed {
            assert!(
                matches!(error.kind(), ErrorKind::Io | ErrorKind::Stopped),
                "seed {seed}: {error:?}"
            );
        }
        if random.percent(60) {
            disk.crash();
            counts[1] += 1;
        }
    }
    disk.crash();
    known.session(&storage, &mut random).unwrap();
    counts[2] = known.acknowledged.len() as u64;
    counts
}

/// Thousands of seeds of random faults and stops: nothing is lost, nothing invented.
#[test]
fn random_faults_lose_and_invent_nothing() {
    let mut counts = [0; 3];
    for seed in 0..4_000 {
        let run = std::panic::catch_unwind(|| run_seed(seed));
        let run = run.unwrap_or_else(|_| panic!("seed {seed} fails"));
        (0..3).for_each(|at| counts[at] += run[at]);
    }
    assert!(counts.iter().all(|count| *count > 5_000), "{counts:?}");
}

/// A full disk stops nothing: the group is appended once there is room again.
#[test]
fn a_full_disk_is_no_end() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), SEGMENT_BYTES, ENGINE).unwrap();
    disk.set_capacity(u64::from(SEGMENT_BYTES) + 1);
    let group: Vec<TestSection> = vec![(0, 1, 1, vec![9; 7_000])];
    append(&mut writer, &group).unwrap();
    assert_eq!(writer.free_bytes().unwrap(), 1);
    for _ in 0..3 {
        let error = append(&mut writer, &group).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(!writer.is_stopped());
    }
    disk.set_capacity(u64::MAX);
    append(&mut writer, &group).unwrap();
    disk.crash();
    assert_eq!(read(&storage, &dir(), Start::Origin).unwrap().unwrap().0.len(), 2);
}

/// A segment that was started in part stops the writer, even for groups that the old one could
/// take: which of the two the next frame belongs to is unknown.
#[test]
fn a_failed_roll_stops_the_writer() {
    let mut failures = 0;
    for operation in 1..=8 {
        let disk = FaultStorage::new(operation, false);
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let mut writer =
            JournalWriter::create(storage.clone(), &dir(), SEGMENT_BYTES, ENGINE).unwrap();
        append(&mut writer, &[(0, 1, 1, vec![9; 6_000])]).unwrap();
        let spare = writer.wants_spare().unwrap().run(&*storage).unwrap();
        writer.give_spare(spare);
        disk.fail_at(disk.operation_count() + operation, Fault::Io);
        if append(&mut writer, &[(0, 1, 1, vec![9; 6_000])]).is_err() {
            failures += 1;
            let small = append(&mut writer, &[(0, 1, 1, vec![9; 60])]);
            assert_eq!(small.err().unwrap().kind(), ErrorKind::Stopped);
        }
        disk.clear_faults();
        disk.crash();
        let (frames, _) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
        assert!((1..=2).contains(&frames.len()));
    }
    assert_eq!(failures, 6, "header, sync, rename, sync of the directory, frame, sync");
}

/// Removing segments may stop anywhere and leaves no gap.
#[test]
fn removal_may_stop_anywhere() {
    for operation in 1..=30 {
        let disk = FaultStorage::new(operation, true);
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let mut writer =
            JournalWriter::create(storage.clone(), &dir(), SEGMENT_BYTES, ENGINE).unwrap();
        for _ in 0..8 {
            append(&mut writer, &[(0, 1, 1, vec![9; 9_000])]).unwrap();
        }
        let removal = writer.remove_before(6);
        disk.fail_at(disk.operation_count() + operation, Fault::Crash);
        let removed = removal.run(&*storage);
        disk.clear_faults();
        assert_eq!(removed.is_err(), operation <= 25, "{operation}");
        disk.crash();
        let (frames, _) = read(&storage, &dir(), Start::Oldest).unwrap().unwrap();
        assert_eq!(frames.last().unwrap().epoch, 8);
        assert!(frames[0].epoch <= 6);
    }
}
