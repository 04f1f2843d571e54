//! Opening: the newest checkpoint, then the journal behind it, record by record.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::apply::expire::{end_replay, pass_time};
use crate::apply::replay::{ReplayError, instructed_by, peer_cells, replay, settles};
use crate::apply::{Context, Instruction};
use crate::archive::Shelf;
use crate::codec::{DECISIONS_BYTES, FLAG_DECIDED, Kind, next_record};
use crate::error::Error;
use crate::journal::frame::Frame;
use crate::journal::reader::{JournalReader, Start, Tail, TornTail};
use crate::shard::section::Section;
use crate::state::State;
use crate::state::ahead::{AHEAD, Ahead, AheadLine};
use crate::storage::Storage;
use crate::time::Timestamp;

const REPLAY_HELP: &str = "run `onhand verify` on the data directory; restore the journal from a \
                           backup, or report the position: the engine does not guess";

/// What opening an engine found and did.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Whether the engine was made just now.
    pub created: bool,
    /// Position of the checkpoint that was used.
    pub checkpoint: Option<u64>,
    /// Records that were carried out again behind it.
    pub commands_replayed: u64,
    /// Position of the last record.
    pub durable_seq: u64,
    /// What was being written when the machine stopped; nothing in it was acknowledged.
    pub torn_tail: Option<TornTail>,
    /// Whether the engine had been closed.
    pub clean: bool,
    /// Orders that are reserved or placed.
    pub live_orders: u64,
    /// Baskets in flight between shards that were given back.
    pub undone_baskets: u64,
    /// Time that it took.
    pub elapsed: Duration,
    /// Whether the journal is written past the page cache.
    pub direct: bool,
    /// What an operator should know: parts of the store that were set aside, and the like.
    pub notes: Vec<String>,
}

/// Instructions that the journal shows given and not carried out, by home and peer.
pub(crate) type Open = BTreeMap<(u16, u16), VecDeque<Instruction>>;

/// The states of all shards, as the journal leaves them.
pub(crate) struct Recovered {
    pub(crate) states: Vec<State>,
    pub(crate) open: Open,
    pub(crate) tail: Tail,
    pub(crate) replayed: u64,
}

/// Carries the records of a journal out on the states of all shards.
#[derive(Debug)]
pub(crate) struct Replayer {
    states: Vec<State>,
    open: Open,
    section: Section,
    messages: Vec<(u16, Instruction)>,
    replayed: u64,
    ahead: Ahead,
    /// Where evicted entries go, if the archive is made anew.
    shelf: Option<Arc<Shelf>>,
    failed: Option<Error>,
}

impl Replayer {
    pub(crate) fn new(mut states: Vec<State>, shelf: Option<Arc<Shelf>>) -> Self {
        states.iter_mut().for_each(|state| state.replays = true);
        Self {
            shelf,
            failed: None,
            states,
            open: Open::new(),
            section: Section::new(),
            messages: Vec::new(),
            replayed: 0,
            ahead: Ahead::default(),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Error> {
        for section in frame.sections() {
            let section = section?;
            let shard = section.shard;
            if usize::from(shard) >= self.states.len() {
                let what = format!("section of shard {shard} in a journal of fewer shards");
                return Err(Error::damaged(what, frame.path, REPLAY_HELP));
            }
            let now = Timestamp::from_millis(section.time);
            pass_time(&mut self.states[usize::from(shard)], now);
            let mut rest = section.records;
            let mut seq = section.first_seq;
            let mut ahead = 0;
            loop {
                if ahead == 0 {
                    touch_ahead(&mut self.ahead, &self.states[usize::from(shard)], rest);
                    ahead = AHEAD;
                }
                ahead -= 1;
                let next = next_record(&mut rest);
                let bad = |why: &str| {
                    let at = section.offset;
                    let what = format!("record {seq} {why}, in the section at offset {at}");
                    Error::damaged(what, frame.path, REPLAY_HELP)
                };
                match next {
                    Err(_) => return Err(bad("is no record")),
                    Ok(None) => break,
                    Ok(Some((kind, flags, record))) => {
                        self.record(shard, now, seq, kind, flags, record)
                            .map_err(|error| bad(explain(error)))?;
                    }
                }
                seq += 1;
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        shard: u16,
        now: Timestamp,
        seq: u64,
        kind: Kind,
        flags: u8,
        record: &[u8],
    ) -> Result<(), ReplayError> {
        let peer_skus = self.peer_skus(shard, kind, flags, record)?;
        if kind == Kind::Evict && self.failed.is_none() {
            self.failed = self.shelve(shard, record).err();
        }
        self.section.restart(seq);
        let mut ctx = Context {
            now,
            section: &mut self.section,
            messages: &mut self.messages,
            peer_skus: &peer_skus,
        };
        replay(&mut self.states[usize::from(shard)], &mut ctx, kind, flags, record)?;
        self.close_instruction(shard, kind, flags, record)?;
        for (peer, instruction) in self.messages.drain(..) {
            self.open.entry((shard, peer)).or_default().push_back(instruction);
        }
        self.replayed += 1;
        Ok(())
    }

    /// Puts the entries that an eviction is about to drop into the archive that is made anew.
    fn shelve(&self, shard: u16, record: &[u8]) -> Result<(), Error> {
        let Some(shelf) = &self.shelf else { return Ok(()) };
        let mut count = [0; 4];
        count.copy_from_slice(record.get(4..8).unwrap_or(&[0; 4]));
        let state = &self.states[usize::from(shard)];
        let count = u32::from_le_bytes(count) as usize;
        let known = (0..count).map_while(|at| state.settled_entry(at));
        let entries: Vec<(u128, Vec<u8>)> =
            known.map(|known| crate::archive::encode(state, known)).collect();
        let evicted: u64 = self.states.iter().map(|s| s.evicted).sum();
        shelf.put(&entries, evicted + entries.len() as u64)
    }

    fn peer_skus(
        &self,
        shard: u16,
        kind: Kind,
        flags: u8,
        record: &[u8],
    ) -> Result<Vec<u32>, ReplayError> {
        if self.states.len() == 1 {
            return Ok(Vec::new());
        }
        let cells = peer_cells(kind, flags, record)?;
        let sku = |m: &crate::domain::bucket::Movement| {
            let state = self.states.get(usize::from(m.cell.shard()));
            let state = state.filter(|s| s.shard != shard && m.cell.index() < s.cells.high());
            state.map(|s| s.cells.get(m.cell.index()).sku()).ok_or(ReplayError::Contradiction)
        };
        cells.iter().map(sku).collect()
    }

    /// Takes the instruction that a record carries out off the open ones.
    fn close_instruction(
        &mut self,
        shard: u16,
        kind: Kind,
        flags: u8,
        record: &[u8],
    ) -> Result<(), ReplayError> {
        let Some(home) = instructed_by(kind, flags, record)? else { return Ok(()) };
        let open = self.open.get_mut(&(home, shard)).and_then(VecDeque::pop_front);
        match open {
            Some(instruction) if settles(&instruction, shard, kind, record) => Ok(()),
            _ => Err(ReplayError::Contradiction),
        }
    }
}

/// Brings what the next records will need into the cache together.
fn touch_ahead(ahead: &mut Ahead, state: &State, mut records: &[u8]) {
    let word = |record: &[u8], at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&record[at..at + 8]);
        u64::from_le_bytes(word)
    };
    for _ in 0..AHEAD {
        let Ok(Some((kind, flags, record))) = next_record(&mut records) else { break };
        if record.len() < 60 {
            continue;
        }
        ahead.add_key(state, u128::from(word(record, 8)) | u128::from(word(record, 16)) << 64);
        if kind == Kind::Buy {
            let decided = flags & FLAG_DECIDED != 0;
            let line = 48 + if decided { DECISIONS_BYTES } else { 0 };
            if record.len() < line + 12 {
                continue;
            }
            let (customer, sku) = (word(record, 24), word(record, line) & u64::from(u32::MAX));
            if (sku as usize) < state.catalogue.count() {
                let location = (word(record, line + 4) >> 32) as u32;
                ahead.add_line(AheadLine { sku: sku as u32, location, customer });
            }
        }
    }
    ahead.touch(state);
}

fn explain(error: ReplayError) -> &'static str {
    match error {
        ReplayError::Malformed => "is malformed",
        ReplayError::Contradiction => "contradicts the records before it",
        ReplayError::Different => "comes out different when it is carried out again",
    }
}

/// Reads a journal from a position on and carries it out.
///
/// # Errors
///
/// Returns damage with file and offset; nothing has been changed on disk.
pub(crate) fn recover(
    storage: Arc<dyn Storage>,
    journal: &Path,
    start: Start,
    states: Vec<State>,
    shelf: Option<Arc<Shelf>>,
) -> Result<Option<Recovered>, Error> {
    let Some(mut reader) = JournalReader::open(storage, journal, start)? else {
        return Ok(None);
    };
    let mut replayer = Replayer::new(states, shelf);
    while let Some(frame) = reader.next_frame()? {
        replayer.frame(&frame)?;
        if let Some(error) = replayer.failed.take() {
            return Err(error);
        }
    }
    let tail = reader.finish()?;
    let Replayer { mut states, open, replayed, .. } = replayer;
    states.iter_mut().for_each(end_replay);
    Ok(Some(Recovered { states, open, tail, replayed }))
}

/// Returns the directory of the journal within a data directory.
pub(crate) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// Returns the number of shards that the journal of a data directory was made with.
///
/// # Errors
///
/// Returns damage at the journal's start.
pub(crate) fn shard_count_of(
    storage: Arc<dyn Storage>,
    journal: &Path,
) -> Result<Option<u16>, Error> {
    let Some(mut reader) = JournalReader::open(storage, journal, Start::Oldest)? else {
        return Ok(None);
    };
    let Some(frame) = reader.next_frame()? else { return Ok(None) };
    for section in frame.sections() {
        let mut rest = section?.records;
        if let Ok(Some((Kind::Open, _, record))) = next_record(&mut rest) {
            return Ok(Some(u16::from_le_bytes([record[4], record[5]])));
        }
    }
    Ok(None)
}
