//! The whole run: segments, frames, records, and the sums at the end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::chain::{FrameSink, Located, Walk, first_header};
use crate::failure::{Broken, Failure, FailureKind, broken};
use crate::frame::{CLOSED, Frame};
use crate::record::Record;
use crate::report::{Report, Structure};
use crate::section::{self, RecordSink};
use crate::segment::{self, file_failure};
use crate::state::{Place, State};

/// Bytes between two calls of the progress function.
const PROGRESS_BYTES: u64 = 32 << 20;

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes passed, of all segments together.
    pub bytes: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
    /// Seq of the last record passed; 0 before the first.
    pub seq: u64,
}

/// What to check and where to keep scratch files.
#[derive(Default)]
pub struct Options<'a> {
    /// Is called now and then, and once at the end.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
    /// Accepts a journal whose first segments were removed. Its opening state is unknown, so
    /// only the chain, the sections and the records' shape are checked. Default `false`.
    pub partial: bool,
    /// Directory for scratch files of idempotency keys; default the system's.
    pub spool_dir: Option<PathBuf>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("partial", &self.partial)
            .field("spool_dir", &self.spool_dir)
            .finish_non_exhaustive()
    }
}

/// Reads a journal to its end and checks every rule after every record.
///
/// `dir` is a data directory, or its `journal` directory. Nothing in it is changed; an engine
/// may not be writing it meanwhile.
///
/// # Errors
///
/// Returns the first failure: a broken rule, damage, or an I/O error. A torn tail is no failure;
/// the report names it.
pub fn verify(dir: &Path, options: Options<'_>) -> Result<Report, Failure> {
    let started = Instant::now();
    let segments = segment::list(dir)?;
    let first = first_header(&segments[0])?;
    let whole = segments[0].number == 1;
    if !whole && !options.partial {
        let reason = format!(
            "the journal starts with segment {} at seq {}; its opening state is unknown, only its \
             shape can be checked (partial)",
            first.number, first.seq
        );
        return Err(file_failure(FailureKind::Unreadable, &segments[0].path, 0, reason));
    }
    let bytes_total = segments.iter().map(|segment| segment.bytes).sum();
    let spool = options.spool_dir.unwrap_or_else(std::env::temp_dir);
    let mut sink = Sink {
        state: whole.then(|| State::new(spool)),
        expiring: true,
        progress: options.progress,
        bytes_total,
        reported: 0,
        place: (segments[0].path.clone(), 0),
    };
    let walked = Walk::new(&segments, &first).run(&mut sink);
    let end = match walked {
        Ok(end) => end,
        Err(failure) => return Err(sink.earlier_duplicate(failure)),
    };
    sink.report_progress(bytes_total, end.next_seq);
    if let Some(state) = &mut sink.state {
        let last = &segments[segments.len() - 1].path;
        let at_end = |broken: Box<Broken>| {
            let mut failure = file_failure(FailureKind::Violation, last, 0, broken.reason);
            failure.invariant = broken.invariant;
            failure.seq = end.next_seq - 1;
            failure.epoch = end.epoch;
            failure
        };
        state.check_sums().map_err(at_end)?;
        check_keys(state, last)?;
    }
    let structure = Structure {
        first_seq: first.seq,
        end,
        segments: segments.len() as u64,
        bytes: bytes_total,
        elapsed: started.elapsed(),
    };
    Ok(Report::new(structure, sink.state.as_ref()))
}

/// Fails if a key stands twice.
fn check_keys(state: &mut State, file: &Path) -> Result<(), Failure> {
    let duplicate = state.keys.first_duplicate().map_err(|error| {
        let reason = format!("idempotency keys can't be spooled: {error}");
        file_failure(FailureKind::Unreadable, file, 0, reason)
    })?;
    let Some(found) = duplicate else { return Ok(()) };
    let reason = format!(
        "idempotency key {:032x} of record {} stands at record {} too",
        found.key, found.seq, found.first_seq
    );
    let mut failure = file_failure(FailureKind::Violation, file, 0, reason);
    failure.invariant = "I7";
    failure.seq = found.seq;
    Err(failure)
}

/// Takes frames and records from the walk.
struct Sink<'a> {
    /// `None` if only the shape is checked.
    state: Option<State>,
    /// Whether the section so far has EXPIRE records alone.
    expiring: bool,
    progress: Option<&'a mut dyn FnMut(Progress)>,
    bytes_total: u64,
    reported: u64,
    place: (PathBuf, u64),
}

impl Sink<'_> {
    fn report_progress(&mut self, bytes: u64, next_seq: u64) {
        self.reported = bytes;
        if let Some(progress) = &mut self.progress {
            progress(Progress { bytes, bytes_total: self.bytes_total, seq: next_seq - 1 });
        }
    }

    /// Keys are compared at the end only; a duplicate before the failure is the first failure.
    fn earlier_duplicate(&mut self, failure: Failure) -> Failure {
        let Some(state) = &mut self.state else { return failure };
        match check_keys(state, &self.place.0) {
            Err(duplicate)
                if duplicate.kind == FailureKind::Violation
                    && (failure.seq == 0 || duplicate.seq < failure.seq) =>
            {
                duplicate
            }
            _ => failure,
        }
    }
}

impl FrameSink for Sink<'_> {
    fn frame(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), Located> {
        if frame.flags & CLOSED != 0
            && let Some(state) = &self.state
        {
            let wrong = |broken| Located { seq: 0, payload_offset: 0, broken };
            state.check_closed().map_err(wrong)?;
        }
        section::read(frame, payload, self)
    }

    fn passed(&mut self, bytes: u64, next_seq: u64) {
        if bytes - self.reported.min(bytes) >= PROGRESS_BYTES {
            self.report_progress(bytes, next_seq);
        }
    }
}

impl RecordSink for Sink<'_> {
    fn begin(&mut self, shard: u16, time: u64) -> Result<(), Box<Broken>> {
        self.expiring = true;
        match &mut self.state {
            Some(state) => state.begin_section(shard, time),
            None => Ok(()),
        }
    }

    fn record(&mut self, shard: u16, time: u64, seq: u64, bytes: &[u8]) -> Result<(), Box<Broken>> {
        match &mut self.state {
            Some(state) => {
                self.expiring &= state.apply(Place { shard, seq, time }, bytes)?;
                Ok(())
            }
            None => Record::read(bytes)?.check_ranges(),
        }
    }

    fn end(&mut self, shard: u16, time: u64) -> Result<(), Box<Broken>> {
        match &mut self.state {
            Some(state) => state.end_section(shard, time, self.expiring),
            None if shard < 256 => Ok(()),
            None => Err(broken("V3", format!("section is of shard {shard}, above 255"))),
        }
    }
}
