//! Rows that are sorted once all are there, in bounded memory: what does not fit goes to a
//! temporary file as sorted runs, which are merged when they are read.
//!
//! Source: external merge sort, Knuth, "The Art of Computer Programming" volume 3, section 5.4.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::thread::JoinHandle;

use crate::error::LoadError;

/// Rows that one [`Sorter`] keeps in memory by default.
pub(crate) const ROWS_MAX: usize = 1 << 17;
/// Most bytes that are read of a run at once.
const READ_BYTES: usize = 1 << 15;
/// Bytes that all runs of one kind share for it, as far as each has a few rows.
const READ_BYTES_ALL: usize = 1 << 24;
/// Fewest bytes that are read of a run at once.
const READ_BYTES_MIN: usize = 1 << 11;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 16;
/// Most bytes of one row.
const ROW_BYTES_MAX: usize = 128;

/// A row of fixed size that can be written and read back.
pub(crate) trait Row: Copy + Ord + Send + 'static {
    /// Bytes of a row, at most 128.
    const BYTES: usize;

    /// Writes the row.
    fn write(&self, out: &mut RowWriter<'_>);

    /// Reads a row that [`Row::write`] wrote.
    fn read(from: &mut RowReader<'_>) -> Self;
}

/// Writes the fields of a row one after the other.
pub(crate) struct RowWriter<'a>(&'a mut Vec<u8>);

/// Reads the fields of a row one after the other.
pub(crate) struct RowReader<'a>(&'a [u8]);

#[cfg(feature = "workers")]
impl<'a> RowWriter<'a> {
    /// Writes rows behind what is there.
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }
}

#[cfg(feature = "workers")]
impl<'a> RowReader<'a> {
    /// Reads from bytes that hold at least what is read.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

macro_rules! numbers {
    ($($number:ident),*) => {
        impl RowWriter<'_> {
            $(pub(crate) fn $number(&mut self, value: $number) {
                self.0.extend_from_slice(&value.to_le_bytes());
            })*
        }
        impl RowReader<'_> {
            $(pub(crate) fn $number(&mut self) -> $number {
                let mut bytes = [0; size_of::<$number>()];
                let (field, rest) = self.0.split_at(bytes.len());
                bytes.copy_from_slice(field);
                self.0 = rest;
                $number::from_le_bytes(bytes)
            })*
        }
    };
}

numbers!(u8, u32, u64, u128, i64);

/// One temporary file with the sorted runs in it, each by where it begins and its rows.
#[derive(Debug)]
struct Spilled {
    file: File,
    runs: Vec<(u64, u64)>,
    bytes: u64,
}

impl Spilled {
    /// Makes an empty file. It has no name: it is gone with the process, whatever ends it.
    fn make() -> Result<Self, LoadError> {
        let file = tempfile::tempfile().map_err(|e| failed(&e))?;
        Ok(Self { file, runs: Vec::new(), bytes: 0 })
    }

    /// Sorts rows and writes them behind the others.
    fn write<T: Row>(&mut self, rows: &mut [T]) -> Result<(), LoadError> {
        rows.sort_unstable();
        self.file.seek(SeekFrom::Start(self.bytes)).map_err(|e| failed(&e))?;
        let mut out = BufWriter::with_capacity(WRITE_BYTES, &self.file);
        let mut bytes = Vec::with_capacity(T::BYTES);
        for row in rows.iter() {
            bytes.clear();
            row.write(&mut RowWriter(&mut bytes));
            assert!(T::BYTES <= ROW_BYTES_MAX && bytes.len() == T::BYTES);
            out.write_all(&bytes).map_err(|e| failed(&e))?;
        }
        out.flush().map_err(|e| failed(&e))?;
        drop(out);
        self.runs.push((self.bytes, rows.len() as u64));
        self.bytes += (rows.len() * T::BYTES) as u64;
        Ok(())
    }
}

/// A thread that writes rows, and gives back the file and the empty list.
type Writing<T> = JoinHandle<Result<(Spilled, Vec<T>), LoadError>>;

/// Collects rows; at most a fixed number of them stay in memory, and as many while they are written
/// beside: whoever is told of an order does not wait for a disk.
#[derive(Debug)]
pub(crate) struct Sorter<T> {
    rows: Vec<T>,
    rows_max: usize,
    writing: Option<Writing<T>>,
    /// Files of this sorter and of those that were appended.
    files: Vec<Spilled>,
    count: u64,
    disk_bytes: u64,
}

impl<T: Row> Sorter<T> {
    /// Makes a sorter that keeps this many rows in memory.
    pub(crate) fn new(rows_max: usize) -> Self {
        let (rows, files) = (Vec::new(), Vec::new());
        Self { rows, rows_max: rows_max.max(1), writing: None, files, count: 0, disk_bytes: 0 }
    }

    /// Takes a row.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be written.
    pub(crate) fn push(&mut self, row: T) -> Result<(), LoadError> {
        self.rows.push(row);
        self.count += 1;
        if self.rows.len() >= self.rows_max { self.spill() } else { Ok(()) }
    }

    /// Takes all rows of another sorter.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be written.
    pub(crate) fn append(&mut self, mut other: Self) -> Result<(), LoadError> {
        other.settle()?;
        self.count += other.count - other.rows.len() as u64;
        self.disk_bytes += other.disk_bytes;
        self.files.extend(other.files);
        other.rows.into_iter().try_for_each(|row| self.push(row))
    }

    /// Returns the rows taken so far.
    #[cfg(test)]
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the bytes of its memory.
    pub(crate) const fn memory_bytes(&self) -> u64 {
        let beside = if self.writing.is_some() { self.rows_max } else { 0 };
        ((self.rows.capacity() + beside) * size_of::<T>()) as u64
    }

    /// Returns the bytes on disk.
    pub(crate) const fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Hands the rows over to be written.
    fn spill(&mut self) -> Result<(), LoadError> {
        // One after the other, and into one file: the last rows are on disk before these go.
        let empty = self.settle()?;
        let mut rows = std::mem::replace(&mut self.rows, empty);
        self.disk_bytes += (rows.len() * T::BYTES) as u64;
        let mut spilled = self.files.pop().map_or_else(Spilled::make, Ok)?;
        let write = move || {
            spilled.write(&mut rows)?;
            rows.clear();
            Ok((spilled, rows))
        };
        let thread = std::thread::Builder::new().name("loadtest-spill".to_owned());
        self.writing = Some(thread.spawn(write).map_err(|e| failed(&e))?);
        Ok(())
    }

    /// Waits until all rows that were handed over are written; returns their empty list.
    fn settle(&mut self) -> Result<Vec<T>, LoadError> {
        let Some(writing) = self.writing.take() else { return Ok(Vec::new()) };
        let ended = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (spilled, empty) = ended?;
        self.files.push(spilled);
        Ok(empty)
    }

    /// Ends the collection and begins to read, in ascending order.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be read.
    pub(crate) fn sorted(mut self) -> Result<Sorted<T>, LoadError> {
        self.settle()?;
        self.rows.sort_unstable();
        let mut sorted = Sorted {
            memory: self.rows.into_iter(),
            files: Vec::new(),
            runs: Vec::new(),
            heap: BinaryHeap::new(),
            read_bytes: READ_BYTES,
        };
        for spilled in self.files {
            for (at, rows) in spilled.runs {
                let file = sorted.files.len();
                sorted.runs.push(Run { file, at, rows, buffer: Vec::new(), read: 0 });
            }
            sorted.files.push(spilled.file);
        }
        let fair = READ_BYTES_ALL / sorted.runs.len().max(1);
        sorted.read_bytes = fair.clamp(READ_BYTES_MIN, READ_BYTES);
        // The last source is the memory.
        for source in 0..=sorted.runs.len() {
            sorted.refill(source)?;
        }
        Ok(sorted)
    }
}

fn failed(error: &std::io::Error) -> LoadError {
    LoadError::input(format!(
        "what the buyers were told does not fit in memory, and the temporary file for it can't be \
         used: {error}; set TMPDIR to a directory with space"
    ))
}

#[derive(Debug)]
struct Run {
    file: usize,
    at: u64,
    rows: u64,
    buffer: Vec<u8>,
    read: usize,
}

/// Rows in ascending order.
#[derive(Debug)]
pub(crate) struct Sorted<T> {
    memory: std::vec::IntoIter<T>,
    files: Vec<File>,
    runs: Vec<Run>,
    heap: BinaryHeap<Reverse<(T, usize)>>,
    /// Bytes that are read of a run at once.
    read_bytes: usize,
}

impl<T: Row> Sorted<T> {
    /// Returns the next row without taking it.
    pub(crate) fn peek(&self) -> Option<&T> {
        self.heap.peek().map(|Reverse((row, _))| row)
    }

    /// Takes the next row.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be read.
    pub(crate) fn next(&mut self) -> Result<Option<T>, LoadError> {
        let Some(Reverse((row, source))) = self.heap.pop() else { return Ok(None) };
        self.refill(source)?;
        Ok(Some(row))
    }

    /// Takes the next row if the test says so.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary file can't be read.
    pub(crate) fn next_if(&mut self, test: impl Fn(&T) -> bool) -> Result<Option<T>, LoadError> {
        if self.peek().is_some_and(test) { self.next() } else { Ok(None) }
    }

    /// Puts the next row of a source into the heap.
    fn refill(&mut self, source: usize) -> Result<(), LoadError> {
        let Some(run) = self.runs.get_mut(source) else {
            self.heap.extend(self.memory.next().map(|row| Reverse((row, source))));
            return Ok(());
        };
        if run.read == run.buffer.len() {
            if run.rows == 0 {
                return Ok(());
            }
            let rows = run.rows.min((self.read_bytes / T::BYTES) as u64);
            run.buffer.resize(rows as usize * T::BYTES, 0);
            let file = &mut self.files[run.file];
            file.seek(SeekFrom::Start(run.at)).map_err(|e| failed(&e))?;
            file.read_exact(&mut run.buffer).map_err(|e| failed(&e))?;
            run.at += run.buffer.len() as u64;
            run.rows -= rows;
            run.read = 0;
        }
        let row = T::read(&mut RowReader(&run.buffer[run.read..run.read + T::BYTES]));
        run.read += T::BYTES;
        self.heap.push(Reverse((row, source)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Pair(u64, u128);

    impl Row for Pair {
        const BYTES: usize = 24;

        fn write(&self, out: &mut RowWriter<'_>) {
            out.u64(self.0);
            out.u128(self.1);
        }

        fn read(from: &mut RowReader<'_>) -> Self {
            Self(from.u64(), from.u128())
        }
    }

    fn drain(sorter: Sorter<Pair>) -> Vec<Pair> {
        let mut sorted = sorter.sorted().expect("the temporary file can be read");
        std::iter::from_fn(|| sorted.next().expect("the temporary file can be read")).collect()
    }

    /// However little fits in memory, and from however many sorters, rows come out in order and
    /// none is lost.
    #[test]
    fn rows_come_out_in_order() {
        for (rows_max, count) in [(1, 50), (7, 1_000), (64, 64), (1_000, 10), (3_000, 20_000)] {
            let mut rng = Rng::of_item(count, 3);
            let mut rows = Vec::new();
            let mut sorters = [Sorter::new(rows_max), Sorter::new(rows_max), Sorter::new(rows_max)];
            for at in 0..count {
                let row = Pair(rng.below(40), u128::from(rng.bits()) << 32);
                sorters[at as usize % 3].push(row).expect("a temporary file can be written");
                rows.push(row);
            }
            let [mut all, second, third] = sorters;
            all.append(second).and_then(|()| all.append(third)).expect("can be written");
            assert_eq!(all.count(), count);
            // A list grows to twice what it holds at most, and one more is being written.
            let bound = (4 * rows_max).max(8) as u64 * size_of::<Pair>() as u64;
            assert!(all.memory_bytes() <= bound, "{} over {bound}", all.memory_bytes());
            assert_eq!(all.disk_bytes() > 0, count >= rows_max as u64, "{rows_max} {count}");
            rows.sort_unstable();
            assert_eq!(drain(all), rows);
        }
    }
}
