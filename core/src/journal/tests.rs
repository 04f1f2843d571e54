//! The journal on a disk that works: what was appended is read back, and altered bytes are found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::buffer::{AlignedBuffer, GroupBuffer};
use super::frame::{Chain, FLAG_CLOSED, FLAG_IDLE, FRAME_HEADER_BYTES};
use super::reader::{JournalReader, Start, Tail};
use super::segment::{EngineId, SEGMENT_HEADER_BYTES, segment_path};
use super::writer::JournalWriter;
use crate::error::{Error, ErrorKind};
use crate::sim::{FaultStorage, Random};
use crate::storage::{Access, DiskStorage, Storage};

pub(super) const ENGINE: EngineId = EngineId(*b"engine of a test");

/// A section as a test writes it: shard, time, number of records, records.
pub(super) type TestSection = (u16, u64, u32, Vec<u8>);

/// A frame as a test reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestFrame {
    pub(super) epoch: u64,
    pub(super) first_seq: u64,
    pub(super) flags: u16,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) sections: Vec<TestSection>,
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data/journal")
}

pub(super) fn random_group(random: &mut Random, bytes_max: u64) -> Vec<TestSection> {
    (0..=random.below(3))
        .map(|shard| {
            let mut records = vec![0; random.below(bytes_max / 4) as usize + 1];
            random.fill(&mut records);
            (shard as u16, random.below(1 << 40), random.below(9) as u32 + 1, records)
        })
        .collect()
}

pub(super) fn append(writer: &mut JournalWriter, sections: &[TestSection]) -> Result<(), Error> {
    let mut group = GroupBuffer::with_capacity(64 << 10, 1);
    for (shard, time, count, records) in sections {
        assert!(group.push_section(*shard, *time, *count, records));
    }
    let seq = writer.chain().seq;
    let position = writer.append_group(&mut group)?;
    assert_eq!(position.first_seq, seq);
    assert_eq!(position.record_count, sections.iter().map(|s| s.2).sum::<u32>());
    assert_eq!(writer.durable_seq(), seq + u64::from(position.record_count) - 1);
    Ok(())
}

pub(super) fn read(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    start: Start,
) -> Result<Option<(Vec<TestFrame>, Tail)>, Error> {
    let Some(mut reader) = JournalReader::open(storage.clone(), dir, start)? else {
        return Ok(None);
    };
    assert_eq!(reader.engine(), ENGINE);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        let mut seq = frame.header.first_seq;
        let mut sections = Vec::new();
        for section in frame.sections() {
            let section = section?;
            assert_eq!(section.first_seq, seq);
            assert!(frame.offset + 152 <= section.offset);
            seq += u64::from(section.record_count);
            sections.push((
                section.shard,
                section.time,
                section.record_count,
                section.records.to_vec(),
            ));
        }
        frames.push(TestFrame {
            epoch: frame.header.epoch,
            first_seq: frame.header.first_seq,
            flags: frame.header.flags,
            segment: frame.segment,
            offset: frame.offset,
            sections,
        });
    }
    Ok(Some((frames, reader.finish()?)))
}

/// Writes a journal of some frames, marks among them, over several segments of 16 KiB.
fn write_journal(storage: &Arc<dyn Storage>, dir: &Path, seed: u64) -> Vec<Vec<TestSection>> {
    let mut random = Random::new(seed);
    let mut writer = JournalWriter::create(storage.clone(), dir, 16 << 10, ENGINE).unwrap();
    let path = dir.join("probe");
    let through = storage.create(&path, Access::WriteThrough).unwrap().writes_through();
    storage.remove(&path).unwrap();
    assert_eq!(writer.writes_through(), through);
    let mut groups = Vec::new();
    for number in 0..12 {
        let group = random_group(&mut random, 6_000);
        append(&mut writer, &group).unwrap();
        groups.push(group);
        let at_least = groups.iter().flatten().map(|section| section.3.len() as u64).sum();
        assert!(writer.written_bytes() > at_least && writer.written_bytes().is_multiple_of(4_096));
        if number == 5 {
            writer.mark_idle().unwrap();
            writer.mark_idle().unwrap();
        }
        if number == 7 {
            let request = writer.wants_spare().unwrap();
            assert!(writer.wants_spare().is_none());
            writer.give_spare(request.run(&**storage).unwrap());
            assert!(writer.wants_spare().is_none());
        }
    }
    writer.close().unwrap();
    groups
}

/// Returns the chain before each frame and behind the last.
fn chains(storage: &Arc<dyn Storage>, dir: &Path) -> Vec<Chain> {
    let mut reader = JournalReader::open(storage.clone(), dir, Start::Origin).unwrap().unwrap();
    let mut chains = vec![reader.chain()];
    while reader.next_frame().unwrap().is_some() {
        chains.push(reader.chain());
    }
    chains
}

fn kind(result: Result<Option<(Vec<TestFrame>, Tail)>, Error>) -> ErrorKind {
    match result {
        Ok(_) => panic!("the journal was accepted"),
        Err(error) => error.kind(),
    }
}

fn message(result: Result<Option<(Vec<TestFrame>, Tail)>, Error>) -> String {
    match result {
        Ok(_) => panic!("the journal was accepted"),
        Err(error) => error.to_string(),
    }
}

/// Groups come back as they were written, from the start and from behind each frame, on a real
/// disk in both modes and on the simulated one.
#[test]
fn groups_are_read_back_from_everywhere() {
    let temporary = tempfile::tempdir().unwrap();
    let probed = DiskStorage::probe(temporary.path()).unwrap();
    let disks: [(Arc<dyn Storage>, PathBuf); 4] = [
        (Arc::new(DiskStorage::buffered()), temporary.path().join("a")),
        (Arc::new(probed), temporary.path().join("b")),
        (Arc::new(FaultStorage::new(1, true)), dir()),
        (Arc::new(FaultStorage::new(1, false)), dir()),
    ];
    for (storage, dir) in disks {
        let groups = write_journal(&storage, &dir, 11);
        let (frames, tail) = read(&storage, &dir, Start::Origin).unwrap().unwrap();
        let read_groups: Vec<_> =
            frames.iter().filter(|f| f.flags == 0).map(|f| f.sections.clone()).collect();
        assert_eq!(read_groups, groups);
        let flags: Vec<u16> = frames.iter().map(|f| f.flags).filter(|f| *f != 0).collect();
        assert_eq!(flags, [FLAG_IDLE, FLAG_CLOSED]);
        assert!(tail.clean && tail.marked && tail.torn.is_none());
        assert!(tail.segment > 3, "{}", tail.segment);
        assert_eq!(tail.chain.epoch, frames.len() as u64 + 1);

        let chains = chains(&storage, &dir);
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(chains[index].epoch, frame.epoch);
            let (rest, _) = read(&storage, &dir, Start::At(chains[index])).unwrap().unwrap();
            assert_eq!(rest, frames[index..]);
            for wrong in [
                Chain { seq: frame.first_seq + 1, ..chains[index] },
                Chain { hash: [1; 32], ..chains[index] },
                Chain { epoch: frame.epoch + 100, ..chains[index] },
                Chain { epoch: u64::MAX, ..chains[index] },
            ] {
                let error = read(&storage, &dir, Start::At(wrong)).err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            }
        }
    }
}

/// A journal goes on after it was closed, and segments of another size may follow.
#[test]
fn a_writer_resumes_where_the_journal_ends() {
    let storage: Arc<dyn Storage> = Arc::new(FaultStorage::new(1, true));
    let mut groups = write_journal(&storage, &dir(), 5);
    for (round, segment_bytes) in [(1, 16 << 10), (2, 64 << 10), (3, 16 << 10)] {
        let (_, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
        let mut writer =
            JournalWriter::resume(storage.clone(), &dir(), segment_bytes, tail).unwrap();
        let mut random = Random::new(round);
        for _ in 0..8 {
            let group = random_group(&mut random, 6_000);
            append(&mut writer, &group).unwrap();
            groups.push(group);
        }
        writer.close().unwrap();
    }
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    let read_groups: Vec<_> =
        frames.into_iter().filter(|f| f.flags == 0).map(|f| f.sections).collect();
    assert_eq!(read_groups, groups);
    assert!(tail.clean);
}

/// A directory without a segment holds no journal; settings out of range are refused.
#[test]
fn an_empty_directory_and_bad_sizes() {
    let storage: Arc<dyn Storage> = Arc::new(FaultStorage::new(1, true));
    storage.create_dir_all(&dir()).unwrap();
    assert!(read(&storage, &dir(), Start::Origin).unwrap().is_none());
    for bytes in [0, 4_096, 8_191, 12_289, (1 << 30) + 4_096, u32::MAX] {
        let made = JournalWriter::create(storage.clone(), &dir(), bytes, ENGINE);
        assert_eq!(made.err().unwrap().kind(), ErrorKind::Config);
    }
    assert!(JournalWriter::create(storage.clone(), &dir(), 8_192, ENGINE).is_ok());
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    assert!(frames.is_empty() && !tail.clean && tail.offset == 4_096);
}

/// A group takes what fits into one frame of its segment, and not a byte more.
#[test]
fn a_group_is_bounded_by_its_segment() {
    let mut group = GroupBuffer::new(8_192);
    let room = 4_096 - FRAME_HEADER_BYTES - 24;
    assert!(!group.push_section(0, 1, 1, &vec![1; room + 1]));
    assert_eq!((group.is_empty(), group.len()), (true, 0));
    assert!(group.push_section(0, 1, 1, &vec![1; room - 40]));
    assert!(group.has_room(16) && !group.has_room(17));
    group.begin_section(1, 2);
    assert!(group.push_records(1, &[2; 10]));
    assert!(!group.push_records(1, &[2; 7]));
    assert!(group.push_records(2, &[2; 6]));
    group.end_section();
    assert_eq!((group.record_count(), group.section_count()), (4, 2));
    assert_eq!(group.len(), 4_096 - FRAME_HEADER_BYTES);
    group.clear();
    group.begin_section(1, 2);
    group.end_section();
    assert_eq!((group.is_empty(), group.len()), (true, 0));
    let large = GroupBuffer::new(1 << 30);
    assert!(large.has_room((16 << 20) - 24) && !large.has_room((16 << 20) - 23));
}

/// Files that are cut at any byte are refused by name, whatever was in the rest.
#[test]
fn a_cut_segment_is_refused_at_every_length() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    write_journal(&storage, &dir(), 3);
    let (_, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    for number in [1, tail.segment] {
        let path = segment_path(&dir(), number);
        let whole = disk.file(&path).unwrap();
        for bytes in 0..whole.len() {
            disk.put_file(&path, whole[..bytes].to_vec());
            let error = read(&storage, &dir(), Start::Origin).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Damaged);
            assert_eq!(error.path(), Some(&*path));
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
        }
        disk.put_file(&path, whole);
    }
    assert!(read(&storage, &dir(), Start::Origin).is_ok());
}

/// What a reader must do with a flipped byte, by the frame that it hits.
fn check_flip(disk: &FaultStorage, frames: &[TestFrame], path: &Path, number: u64, offset: u64) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let last = frames.last().unwrap();
    let in_journal = (number, offset) < (last.segment, last.offset);
    match read(&storage, &dir(), Start::Origin) {
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Mismatch), "{error:?}");
            assert_eq!(error.path(), Some(path), "offset {offset}: {error}");
        }
        Ok(found) => {
            let (found, tail) = found.unwrap();
            assert!(found.len() + 1 >= frames.len(), "offset {offset}");
            assert_eq!(found, frames[..found.len()]);
            if found.len() < frames.len() || !tail.clean {
                let torn = tail.torn.unwrap();
                assert_eq!(torn.file, path);
                assert!((torn.offset..torn.offset + torn.bytes).contains(&offset));
            }
            // Unused room in a segment that another one follows is nobody's.
            let unused = frames.iter().filter(|f| f.segment == number).all(|f| f.offset < offset);
            assert!(!in_journal || unused, "flip at {number}:{offset} went unseen");
        }
    }
}

/// Sets bytes of the frame at an offset and makes its CRC fit again.
fn forge(bytes: &mut [u8], frame_at: usize, at: usize, new: &[u8]) {
    bytes[frame_at + at..frame_at + at + new.len()].copy_from_slice(new);
    let len = FRAME_HEADER_BYTES + super::frame::le_u32(bytes, frame_at + 32) as usize;
    let frame = &mut bytes[frame_at..frame_at + len];
    frame[36..40].fill(0);
    let crc = crc32fast::hash(frame);
    frame[36..40].copy_from_slice(&crc.to_le_bytes());
}

/// Frames whose checksums hold but which do not belong where they stand are refused.
#[test]
fn forged_frames_are_refused() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 32 << 10, ENGINE).unwrap();
    for _ in 0..3 {
        append(&mut writer, &[(0, 7, 2, vec![1; 20])]).unwrap();
    }
    let path = segment_path(&dir(), 1);
    let whole = disk.file(&path).unwrap();
    // Frame, offset in it, new bytes, what is said.
    let cases: [(usize, usize, &[u8], &str); 5] = [
        (0, 150, &[9], "at offset 8192 has a hash of the frame before that does not fit"),
        (1, 16, &[4], "at offset 8192 has first seq 4 instead of 3"),
        (1, 8, &[3], "at offset 8192 has epoch 3 instead of 2"),
        (1, 48, &[9], "at offset 8192 has the id of another engine, and a valid frame of epoch 3"),
        (1, 96, &[9], "at offset 8192 has a reserved field that is not 0, and a valid frame of"),
    ];
    for (frame, at, new, expected) in cases {
        let mut bytes = whole.clone();
        forge(&mut bytes, 4_096 * (frame + 1), at, new);
        disk.put_file(&path, bytes);
        let text = message(read(&storage, &dir(), Start::Origin));
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Two copies of one frame: the second is of an epoch that has passed, and the third is lost.
    let mut bytes = whole.clone();
    bytes.copy_within(8_192..12_288, 12_288);
    bytes.copy_within(4_096..8_192, 8_192);
    disk.put_file(&path, bytes);
    let text = message(read(&storage, &dir(), Start::Origin));
    assert!(text.contains("valid frame of epoch 2 follows at offset 12288"), "{text}");
}

/// A buffer is aligned whatever its length, and bytes of an earlier use do not come back.
#[test]
fn an_aligned_buffer_forgets() {
    let mut buffer = AlignedBuffer::new(10);
    for len in [1, 100, 5_000, 100_000] {
        buffer.resize(0);
        buffer.extend(&vec![7; len]);
        assert_eq!(buffer.as_slice().as_ptr().addr() % 4_096, 0);
        assert_eq!(buffer.as_slice(), vec![7; len]);
        buffer.resize(1);
        buffer.resize(len + 10);
        assert_eq!((buffer.len(), buffer.as_slice()[0]), (len + 10, 7));
        assert!(buffer.as_slice()[1..].iter().all(|byte| *byte == 0));
    }
    let capacity = buffer.capacity();
    buffer.resize(capacity);
    assert_eq!(buffer.capacity(), capacity);
}

/// Every flipped byte of a journal is found: in a frame that others follow as damage, in the
/// last one as damage or as a torn tail; other data are never returned.
#[test]
fn every_flipped_byte_is_found() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut random = Random::new(2);
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 16 << 10, ENGINE).unwrap();
    for bytes in [40, 3_000, 5_000, 200] {
        append(&mut writer, &random_group(&mut random, bytes)).unwrap();
    }
    writer.close().unwrap();
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    assert_eq!(tail.segment, 2);
    for number in 1..=tail.segment {
        let path = segment_path(&dir(), number);
        for offset in 0..16 << 10 {
            let mask = 1 << random.below(8);
            assert!(disk.flip(&path, offset, mask));
            check_flip(&disk, &frames, &path, number, offset);
            assert!(disk.flip(&path, offset, mask));
        }
    }
    assert_eq!(read(&storage, &dir(), Start::Origin).unwrap().unwrap().0, frames);
}

/// Segments that are missing, doubled, swapped, strange or of another engine are named.
#[test]
fn wrong_segments_are_named() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    write_journal(&storage, &dir(), 3);
    let other = FaultStorage::new(1, true);
    write_journal(&(Arc::new(other.clone()) as Arc<dyn Storage>), &dir(), 4);
    let path = |number| segment_path(&dir(), number);
    let file = |number| disk.file(&path(number)).unwrap();
    let (_, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    let last = tail.segment;
    type Change<'a> = (&'a str, Box<dyn Fn(&FaultStorage) + 'a>);
    let swap = |bytes: Vec<u8>, at: usize, value: u8| {
        let mut bytes = bytes;
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let broken = |number| swap(file(number), 60, !file(number)[60]);
    let cases: [Change<'_>; 12] = [
        ("does not go on from there", Box::new(|d| d.put_file(&path(3), broken(3)))),
        ("segment 2 is missing, 3 exists", Box::new(|d| assert!(d.take_file(&path(2))))),
        ("starts at segment 2, epoch", Box::new(|d| assert!(d.take_file(&path(1))))),
        ("that it is number 2", Box::new(|d| d.put_file(&path(3), file(2)))),
        ("it starts at epoch", Box::new(|d| d.put_file(&path(2), swap(file(3), 16, 2)))),
        ("that it is number", Box::new(|d| d.put_file(&path(last + 1), file(last)))),
        (
            "before the segment that it follows",
            Box::new(|d| d.put_file(&path(3), other.file(&path(3)).unwrap())),
        ),
        ("has 0 bytes", Box::new(|d| d.put_file(&path(last + 1), Vec::new()))),
        ("named like no segment", Box::new(|d| d.put_file(&dir().join("3.oj"), file(3)))),
        ("is of engine", Box::new(|d| d.put_file(&path(2), swap(file(2), 24, 9)))),
        ("format version 2", Box::new(|d| d.put_file(&path(2), swap(file(2), 8, 2)))),
        ("size at offset 12", Box::new(|d| d.put_file(&path(2), swap(file(2), 12, 1)))),
    ];
    for (expected, change) in cases {
        let fork = disk.fork(1);
        change(&fork);
        let storage: Arc<dyn Storage> = Arc::new(fork);
        let text = message(read(&storage, &dir(), Start::Origin));
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Foreign names are left alone, and what an earlier life left over is cleared away.
    disk.put_file(&dir().join("notes.txt"), vec![1]);
    disk.put_file(&dir().join("00000000000000000007.spare"), vec![1]);
    disk.put_file(&dir().join("00000000000000000001.removed"), vec![1]);
    let (_, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    drop(JournalWriter::resume(storage.clone(), &dir(), 16 << 10, tail).unwrap());
    let names = storage.list(&dir()).unwrap();
    assert_eq!(names.len() as u64, last + 1);
    assert!(names.contains(&"notes.txt".to_owned()));
}

/// Random bytes with valid checksums over them give an error or frames, never a panic.
#[test]
fn forged_fields_never_panic() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    write_journal(&storage, &dir(), 3);
    let path = segment_path(&dir(), 1);
    let whole = disk.file(&path).unwrap();
    let mut outcomes = [0; 2];
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let mut bytes = whole.clone();
        let in_header = random.percent(30);
        let base = if in_header { 0 } else { SEGMENT_HEADER_BYTES };
        for _ in 0..=random.below(3) {
            let at = base + random.below(if in_header { 92 } else { 200 }) as usize;
            bytes[at] = [0, 1, 0x7f, 0xff, random.bits() as u8][random.below(5) as usize];
        }
        if in_header {
            let crc = crc32fast::hash(&bytes[..88]);
            bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        } else {
            let len = super::frame::le_u32(&bytes, base + 32) as usize;
            if let Some(frame) = bytes.get_mut(base..base + FRAME_HEADER_BYTES + len) {
                frame[36..40].fill(0);
                let crc = crc32fast::hash(frame);
                frame[36..40].copy_from_slice(&crc.to_le_bytes());
            }
        }
        disk.put_file(&path, bytes);
        let found = read(&storage, &dir(), Start::Oldest);
        outcomes[usize::from(found.is_err())] += 1;
        if let Err(error) = found {
            assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Mismatch), "{error:?}");
        }
    }
    assert!(outcomes[1] > 1_000, "{outcomes:?}");
}

/// Each fault inside a frame whose checksum holds is named with the section's offset.
#[test]
fn damaged_sections_are_named() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 8_192, ENGINE).unwrap();
    append(&mut writer, &[(0, 7, 2, vec![1; 20]), (1, 8, 3, vec![2; 30])]).unwrap();
    let path = segment_path(&dir(), 1);
    let whole = disk.file(&path).unwrap();
    // Offset in the frame, new byte, what is said of it.
    let cases: [(usize, u8, &str); 8] = [
        (28, 1, "bytes follow the last section: journal section at offset 4268"),
        (28, 3, "ends inside a section's header: journal section at offset 4322"),
        (24, 4, "more records than the frame says: journal section at offset 4268"),
        (24, 6, "fewer records than the frame says"),
        (130, 1, "reserved field of the section is not 0: journal section at offset 4224"),
        (
            128 + 44 + 12,
            1,
            "reserved field of the section is not 0: journal section at offset 4268",
        ),
        (128 + 44 + 8, 31, "longer than the rest of the frame"),
        (132, 0, "holds no record"),
    ];
    for (at, value, expected) in cases {
        let mut bytes = whole.clone();
        forge(&mut bytes, 4_096, at, &[value]);
        disk.put_file(&path, bytes);
        let text = message(read(&storage, &dir(), Start::Origin));
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A torn last frame is reported and overwritten; a broken one that others follow is damage.
#[test]
fn torn_tails_are_told_from_damage() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 32 << 10, ENGINE).unwrap();
    let group: Vec<TestSection> = vec![(0, 1, 1, vec![3; 6_000])];
    append(&mut writer, &group).unwrap();
    append(&mut writer, &group).unwrap();
    drop(writer);
    let path = segment_path(&dir(), 1);
    let second = 4_096 + 8_192;
    // The second sector of the second frame never reached the disk.
    let mut torn = disk.file(&path).unwrap();
    torn[second + 512..second + 1_024].fill(0);
    disk.put_file(&path, torn);
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    assert_eq!(frames.len(), 1);
    let found = tail.torn.clone().unwrap();
    assert_eq!((found.offset, found.bytes, &found.file), (second as u64, 8_192, &path));
    let mut writer = JournalWriter::resume(storage.clone(), &dir(), 32 << 10, tail).unwrap();
    assert!(disk.file(&path).unwrap()[second..].iter().all(|byte| *byte == 0));
    append(&mut writer, &group).unwrap();
    writer.mark_idle().unwrap();
    assert!(disk.flip(&path, second as u64 + 600, 4));
    let text = message(read(&storage, &dir(), Start::Origin));
    assert!(
        text.contains(
            "frame of epoch 2 at offset 12288 has a CRC that does not fit its bytes, and a valid \
             frame of epoch 3 follows at offset 20480"
        ),
        "{text}"
    );
    // A frame of another format version is refused, not taken for torn.
    assert!(disk.flip(&path, second as u64 + 600, 4));
    let mut bytes = disk.file(&path).unwrap();
    forge(&mut bytes, 20_480, 4, &[2]);
    disk.put_file(&path, bytes);
    assert_eq!(kind(read(&storage, &dir(), Start::Origin)), ErrorKind::Mismatch);
}

/// Old frames of a recycled segment behind the last frame end the journal cleanly.
#[test]
fn frames_of_an_earlier_life_end_the_journal() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 32 << 10, ENGINE).unwrap();
    let group: Vec<TestSection> = vec![(0, 1, 1, vec![3; 600])];
    for _ in 0..7 {
        append(&mut writer, &group).unwrap();
    }
    let old = disk.file(&segment_path(&dir(), 1)).unwrap();
    append(&mut writer, &group).unwrap();
    writer.mark_idle().unwrap();
    let path = segment_path(&dir(), 2);
    let mut recycled = disk.file(&path).unwrap();
    recycled[12_288..].copy_from_slice(&old[12_288..]);
    disk.put_file(&path, recycled);
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    assert_eq!((frames.len(), tail.offset, tail.torn), (9, 12_288, None));
}

/// The index finds the frames of every seq while the writer goes on, stops at the durable seq
/// that it was given, and refuses what was removed.
#[test]
fn the_index_finds_every_seq() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    write_journal(&storage, &dir(), 8);
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    let mut writer = JournalWriter::resume(storage.clone(), &dir(), 16 << 10, tail).unwrap();
    let index = writer.index().clone();
    let mut late = index.read_frames_from(1, writer.durable_seq()).unwrap();
    let end = writer.durable_seq();
    let with_records: Vec<&TestFrame> = frames.iter().filter(|f| f.flags == 0).collect();
    assert_eq!(index.first_seq(), Some(1));
    for seq in 1..=end {
        for durable in [end, seq] {
            let mut reader = index.read_frames_from(seq, durable).unwrap();
            let behind = with_records.partition_point(|f| f.first_seq <= seq);
            let mut expected = with_records[behind - 1..].iter();
            while let Some(frame) = reader.next_frame().unwrap() {
                let expected = expected.next().unwrap();
                assert_eq!((frame.header.epoch, frame.segment), (expected.epoch, expected.segment));
                assert!(frame.header.first_seq <= durable);
            }
            assert_eq!(expected.next().filter(|f| f.first_seq <= durable), None);
        }
    }
    assert!(index.read_frames_from(end + 1, end).unwrap().next_frame().unwrap().is_none());
    append(&mut writer, &[(0, 1, 4, vec![5; 40])]).unwrap();
    let mut reader = index.read_frames_from(end + 1, end + 4).unwrap();
    assert_eq!(reader.next_frame().unwrap().unwrap().header.first_seq, end + 1);

    // Damage under a reader is named, wherever it stands.
    for frame in &with_records {
        let path = segment_path(&dir(), frame.segment);
        assert!(disk.flip(&path, frame.offset + 130, 1));
        let mut reader = index.read_frames_from(frame.first_seq, end).unwrap();
        let error = reader.next_frame().err().unwrap();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Damaged, Some(&*path)), "{error}");
        assert!(error.to_string().contains(&format!("offset {}", frame.offset)), "{error}");
        assert!(disk.flip(&path, frame.offset + 130, 1));
    }

    // Segments behind an epoch go, and the index says so.
    assert!(writer.remove_before(1).is_empty());
    let third = frames.iter().find(|f| f.segment == 3).unwrap();
    let mut midway = index.read_frames_from(1, end).unwrap();
    assert!(midway.next_frame().unwrap().is_some());
    let removal = writer.remove_before(third.epoch);
    // Segments shrink before they are gone, under the eyes of who reads them.
    for segment in 1..=2 {
        let file = storage.open(&segment_path(&dir(), segment), Access::Write).unwrap();
        file.set_size(SEGMENT_HEADER_BYTES as u64 + 200).unwrap();
    }
    let error = loop {
        if let Err(error) = midway.next_frame() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    assert_eq!(removal.run(&*storage).unwrap(), 2);
    assert_eq!(index.first_seq(), Some(third.first_seq));
    let error = index.read_frames_from(third.first_seq - 1, end).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(index.read_frames_from(third.first_seq, end).unwrap().next_frame().unwrap().is_some());
    assert_eq!(late.next_frame().err().unwrap().kind(), ErrorKind::Mismatch);
    assert!(writer.remove_before(u64::MAX).run(&*storage).is_ok());
    let (rest, _) = read(&storage, &dir(), Start::Oldest).unwrap().unwrap();
    assert_eq!(rest.last().unwrap().epoch, writer.chain().epoch - 1);
    assert_eq!(kind(read(&storage, &dir(), Start::Origin)), ErrorKind::Damaged);
}

/// The bytes of a journal never change: a file of the first version is written again alike, and
/// read.
#[test]
fn the_golden_journal_is_written_and_read() {
    let disk = FaultStorage::new(1, true);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = JournalWriter::create(storage.clone(), &dir(), 16 << 10, ENGINE).unwrap();
    append(&mut writer, &[(0, 1_700_000_000_000, 1, b"OPEN".to_vec())]).unwrap();
    let second = [(3, 1_700_000_000_001, 2, b"twotwo".to_vec()), (0, 5, 1, b"x".to_vec())];
    append(&mut writer, &second).unwrap();
    writer.close().unwrap();
    let path = segment_path(&dir(), 1);
    let written = disk.file(&path).unwrap();
    let golden = include_bytes!("../../tests/golden/journal-v1.oj");
    assert!(written == golden, "the format changed; write a new version instead");
    let (frames, tail) = read(&storage, &dir(), Start::Origin).unwrap().unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[1].sections, second);
    assert!(tail.clean);
    assert_eq!((tail.chain.epoch, tail.chain.seq, tail.offset), (4, 5, 16 << 10));
}
