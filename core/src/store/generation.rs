//! Checkpoints in sled, one directory a generation.
//!
//! A generation is written as `gen-<seq>.new` and gets its name only after it was read back, so
//! every `gen-<seq>` was whole once. It is never changed again, only removed as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::digest::PageSummary;
use super::frame::{Header, MANIFEST_BYTES_MAX, PAGE_BYTES_MAX, SUMMARY_BYTES};
use super::guard::{self, GuardedDb, HELP_REBUILD, Progress, supervised};
use super::pace::Pace;
use super::sled_store::{StoreLock, StoreOptions};
use super::{
    Buffer, CheckpointSink, CheckpointStore, GENERATIONS_KEPT_MIN, Generation, Loaded, Page,
    PageBytes, PageId,
};
use crate::{Error, ErrorKind};

/// The key of the manifest: shorter than any page's.
const MANIFEST_KEY: [u8; 1] = [0];

/// The checkpoints of one store directory.
pub(crate) struct SledCheckpoints {
    root: PathBuf,
    options: StoreOptions,
    lock: Arc<StoreLock>,
}

impl SledCheckpoints {
    pub(super) fn new(root: &Path, options: StoreOptions, lock: Arc<StoreLock>) -> Self {
        Self { root: root.to_owned(), options, lock }
    }

    /// Returns the generations, newest first.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let mut found: Vec<(u64, PathBuf)> = guard::list(&self.root)?
            .into_iter()
            .filter_map(|path| Some((seq_of(&guard::name_of(&path))?, path)))
            .collect();
        found.reverse();
        Ok(found)
    }

    /// Removes what an unfinished checkpoint left behind.
    fn sweep(&self, notes: &mut Vec<String>) -> Result<(), Error> {
        for path in guard::list(&self.root)? {
            let name = guard::name_of(&path);
            if name.starts_with("gen-") && name.strip_suffix(".new").is_some() {
                guard::remove_dir(&path)?;
                notes.push(format!("removed the unfinished checkpoint {name}"));
            }
        }
        Ok(())
    }
}

impl CheckpointStore for SledCheckpoints {
    fn begin(&mut self, seq: u64) -> Result<Box<dyn CheckpointSink>, Error> {
        let target = self.root.join(dir_name(seq));
        if target.exists() {
            let what = format!("a checkpoint at seq {seq} exists already");
            return Err(Error::new(ErrorKind::Config, what, "write one at a later seq").at(&target));
        }
        let dir = self.root.join(format!("{}.new", dir_name(seq)));
        if dir.exists() {
            guard::remove_dir(&dir)?;
        }
        let sink = SledSink {
            db: Some(GuardedDb::create(&dir)?),
            root: self.root.clone(),
            dir,
            target,
            seq,
            options: self.options,
            pages: BTreeMap::new(),
            pace: Pace::new(),
            done: false,
            _lock: Arc::clone(&self.lock),
        };
        Ok(Box::new(sink))
    }

    fn load_newest(&mut self, seq_max: u64) -> Result<Loaded, Error> {
        let mut loaded = Loaded::default();
        self.sweep(&mut loaded.notes)?;
        for (seq, dir) in self.list()? {
            let result = if seq_max < seq {
                let what =
                    format!("the checkpoint stands at seq {seq}, the journal ends at {seq_max}");
                Err(Error::damaged(what, &dir, HELP_REBUILD))
            } else {
                let at = dir.clone();
                supervised(&dir, self.options.idle_max, move |progress| read(&at, seq, progress))
            };
            match result {
                Ok(generation) => {
                    loaded.generation = Some(generation);
                    break;
                }
                Err(e) if guard::is_damage(&e) => {
                    let aside = guard::set_aside(&self.root, &dir)?;
                    loaded
                        .notes
                        .push(format!("set a checkpoint aside as {}: {e}", guard::name_of(&aside)));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(loaded)
    }

    fn drop_older(&mut self, keep: usize) -> Result<Vec<u64>, Error> {
        let mut found = self.list()?;
        let keep = keep.max(GENERATIONS_KEPT_MIN).min(found.len());
        let gone = found.split_off(keep);
        for (_, dir) in gone.iter().rev() {
            // Under this name what is left of it is swept at the next open.
            let going = dir.with_extension("new");
            fs::rename(dir, &going)
                .map_err(|e| Error::io("an old checkpoint cannot be renamed", dir, e))?;
            guard::remove_gently(&going)?;
        }
        if !gone.is_empty() {
            guard::sync_dir(&self.root)?;
        }
        Ok(found.into_iter().map(|(seq, _)| seq).collect())
    }

    fn disk_bytes(&self) -> Result<u64, Error> {
        let mut total = 0;
        for path in guard::list(&self.root)? {
            if guard::name_of(&path).starts_with("gen-") && path.is_dir() {
                total += guard::disk_bytes(&path)?;
            }
        }
        Ok(total)
    }
}

/// A generation that is being written.
struct SledSink {
    db: Option<GuardedDb>,
    root: PathBuf,
    dir: PathBuf,
    target: PathBuf,
    seq: u64,
    options: StoreOptions,
    /// Content length and checksum of each page put.
    pages: BTreeMap<PageId, (u32, u32)>,
    pace: Pace,
    done: bool,
    _lock: Arc<StoreLock>,
}

fn finished() -> Error {
    Error::new(ErrorKind::Stopped, "the checkpoint is finished", "begin a new one")
}

impl SledSink {
    fn db(&self) -> Result<&GuardedDb, Error> {
        self.db.as_ref().ok_or_else(finished)
    }

    fn summary(&self) -> [u8; SUMMARY_BYTES] {
        let mut summary = PageSummary::new(self.seq);
        for (id, (length, crc)) in &self.pages {
            summary.add(*id, *length, *crc);
        }
        summary.finish()
    }

    /// Reads the closed generation back and compares it with what was put.
    fn verify(&self, expected: [u8; SUMMARY_BYTES]) -> Result<(), Error> {
        let (dir, seq) = (self.dir.clone(), self.seq);
        supervised(&self.dir, self.options.idle_max, move |progress| {
            let db = GuardedDb::open(&dir)?;
            let mut pace = Pace::new();
            let (found, _) = scan(&db, seq, progress, |_| pace.step())?;
            db.close()?;
            if found != expected {
                let what = "the checkpoint reads back differently from what was put";
                return Err(Error::damaged(what, &dir, HELP_REBUILD));
            }
            Ok(())
        })
    }
}

impl CheckpointSink for SledSink {
    fn put(&mut self, page: PageId, bytes: &[u8]) -> Result<(), Error> {
        if PAGE_BYTES_MAX < bytes.len() {
            let what = format!("page {page:?} has {} bytes, above {PAGE_BYTES_MAX}", bytes.len());
            return Err(Error::new(ErrorKind::Config, what, "split the page").at(&self.dir));
        }
        self.pace.resume();
        let (value, crc) = Header::page(page, self.seq).seal(&[bytes]);
        self.db()?.insert(&page.to_key(), value)?;
        self.pages.insert(page, (bytes.len() as u32, crc));
        let db = self.db.as_ref().ok_or_else(finished)?;
        self.pace.put(db, bytes.len())
    }

    fn finish(mut self: Box<Self>, manifest: &[u8]) -> Result<(), Error> {
        if MANIFEST_BYTES_MAX < manifest.len() {
            let what =
                format!("the manifest has {} bytes, above {MANIFEST_BYTES_MAX}", manifest.len());
            return Err(
                Error::new(ErrorKind::Config, what, "put the rest into pages").at(&self.dir)
            );
        }
        let summary = self.summary();
        let (value, _) = Header::manifest(self.seq).seal(&[&summary, manifest]);
        self.db()?.insert(&MANIFEST_KEY, value)?;
        self.db()?.sync()?;
        if let Some(db) = self.db.take() {
            db.close()?;
        }
        self.verify(summary)?;
        fs::rename(&self.dir, &self.target)
            .map_err(|e| Error::io("the checkpoint cannot be renamed", &self.dir, e))?;
        self.done = true;
        guard::sync_dir(&self.root)
    }
}

impl Drop for SledSink {
    fn drop(&mut self) {
        drop(self.db.take());
        if !self.done {
            // What stays behind is swept at the next open.
            let _ = guard::remove_dir(&self.dir);
        }
    }
}

/// Reads a whole generation.
fn read(dir: &Path, seq: u64, progress: &Progress) -> Result<Generation, Error> {
    let db = GuardedDb::open(dir)?;
    let mut pages = Vec::new();
    let (_, manifest) = scan(&db, seq, progress, |page| pages.push(page))?;
    db.close()?;
    Ok(Generation { seq, manifest, pages })
}

/// Visits every page in order, checks each and all together against the manifest.
fn scan(
    db: &GuardedDb,
    seq: u64,
    progress: &Progress,
    mut take: impl FnMut(Page),
) -> Result<([u8; SUMMARY_BYTES], Vec<u8>), Error> {
    let bad = |what: String| Error::damaged(what, db.dir(), HELP_REBUILD);
    let Some(value) = db.get(&MANIFEST_KEY)? else {
        return Err(bad("the manifest is missing".into()));
    };
    let (summary, manifest) = open_manifest(&value, seq).map_err(bad)?;
    let mut found = PageSummary::new(seq);
    db.for_each(&[], |key, value| {
        progress.step();
        if *key == MANIFEST_KEY {
            return Ok(());
        }
        let Ok(key) = <[u8; 8]>::try_from(&*key) else {
            return Err(bad(format!("a key has {} bytes, not 8", key.len())));
        };
        let id = PageId::of_key(key);
        let (length, crc) = check_page(&value, id, seq).map_err(bad)?;
        found.add(id, length, crc);
        take(Page { id, bytes: PageBytes(Buffer::Sled(value)) });
        Ok(())
    })?;
    compare(&found, summary).map_err(bad)?;
    Ok((summary, manifest))
}

/// Checks the frame of a page; returns its content length and checksum.
pub(super) fn check_page(value: &[u8], id: PageId, seq: u64) -> Result<(u32, u32), String> {
    let (header, content, crc) =
        Header::open(value).map_err(|what| format!("page {id:?} is damaged: {what}"))?;
    if header != Header::page(id, seq) {
        return Err(format!("page {id:?} holds the value of another place"));
    }
    Ok((content.len() as u32, crc))
}

/// Checks the frame of a manifest; returns the store's summary and the caller's bytes.
pub(super) fn open_manifest(
    value: &[u8],
    seq: u64,
) -> Result<([u8; SUMMARY_BYTES], Vec<u8>), String> {
    let (header, content, _) =
        Header::open(value).map_err(|what| format!("the manifest is damaged: {what}"))?;
    if header != Header::manifest(seq) {
        return Err(format!("the manifest is not that of seq {seq}"));
    }
    let Some((summary, manifest)) = content.split_first_chunk::<SUMMARY_BYTES>() else {
        return Err(format!("the manifest has {} bytes, below {SUMMARY_BYTES}", content.len()));
    };
    Ok((*summary, manifest.to_vec()))
}

/// Compares the pages found with the summary of a manifest.
pub(super) fn compare(found: &PageSummary, summary: [u8; SUMMARY_BYTES]) -> Result<(), String> {
    if found.finish() == summary {
        return Ok(());
    }
    let (count, _) = summary.split_first_chunk::<8>().expect("a summary has 48 bytes");
    let expected = u64::from_le_bytes(*count);
    Err(format!("{} pages disagree with the manifest's {expected}", found.count()))
}

fn dir_name(seq: u64) -> String {
    format!("gen-{seq:020}")
}

fn seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("gen-")?;
    let seq = digits.parse().ok()?;
    (dir_name(seq) == name).then_some(seq)
}
