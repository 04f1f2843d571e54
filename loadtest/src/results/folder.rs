//! The folder of a run: `run.json`, `series.csv`, interval logs and reports.
//!
//! Each file appears at once and whole: it is written beside its place, flushed, and renamed. The
//! record `run.json` comes last of all, so a folder with it is complete, and one without it tells
//! that its run was cut off. An interrupted run still writes everything that it has.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::results::run::{Run, SCHEMA};
use crate::results::series::{SeriesRow, read_series_csv, series_csv};

/// Name of the record.
pub const RUN_FILE: &str = "run.json";
/// Name of the series.
pub const SERIES_FILE: &str = "series.csv";
/// Name of the interval log.
pub const LOG_FILE: &str = "latency.hlog";
/// Name of the report for people.
pub const REPORT_FILE: &str = "report.html";
/// Name of the output of a host that the load tester started.
pub const HOST_FILE: &str = "host.log";
/// End of the name of a file that is being written.
pub const PART_END: &str = ".part";
/// Largest `run.json` or `series.csv` that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most folders with one name; further ones are refused.
const FOLDERS_MAX: u32 = 10_000;

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a new folder `parent/name`, or `parent/name-2` and so on if there is one.
    ///
    /// # Errors
    ///
    /// The folder can't be made.
    pub fn create(parent: &Path, name: &str) -> Result<Self, LoadError> {
        fs::create_dir_all(parent).map_err(|e| unwritable(parent, &e))?;
        for number in 1..=FOLDERS_MAX {
            let path = match number {
                1 => parent.join(name),
                _ => parent.join(format!("{name}-{number}")),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => return Err(unwritable(&path, &error)),
            }
        }
        let path = parent.join(name);
        let text = format!("{}: {FOLDERS_MAX} folders of this name are there", path.display());
        Err(LoadError::input(text))
    }

    /// Takes an existing folder, or the folder of an existing `run.json`.
    ///
    /// # Errors
    ///
    /// There is no such folder, or it has no record.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let named = path.file_name().is_some_and(|name| name == RUN_FILE);
        let parent = path.parent().filter(|_| named && path.is_file());
        let folder = Self { path: parent.unwrap_or(path).to_owned() };
        if folder.file(RUN_FILE).is_file() {
            return Ok(folder);
        }
        let shown = path.display();
        let part = folder.file(&format!("{LOG_FILE}{PART_END}"));
        Err(LoadError::input(if !folder.path.is_dir() {
            format!("{shown}: no such folder")
        } else if part.is_file() {
            format!("{shown}: no {RUN_FILE}: the run was cut off; its latency is in {}", {
                part.display()
            })
        } else {
            format!("{shown}: no {RUN_FILE}: this is no folder of a run")
        }))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file at once and whole.
    ///
    /// # Errors
    ///
    /// The file can't be written; what was there before is untouched.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LoadError> {
        write_whole(&self.file(name), bytes)
    }

    /// Writes the series and then the record, which completes the folder.
    ///
    /// # Errors
    ///
    /// A file can't be written.
    pub fn complete(&self, run: &Run, series: &[SeriesRow]) -> Result<(), LoadError> {
        self.write(SERIES_FILE, series_csv(series).as_bytes())?;
        self.write(RUN_FILE, run_json(run)?.as_bytes())
    }

    /// Reads the record.
    ///
    /// # Errors
    ///
    /// The record can't be read, is no record, or has another schema version.
    pub fn run(&self) -> Result<Run, LoadError> {
        let path = self.file(RUN_FILE);
        read_run(&read_text(&path)?, &path.display().to_string())
    }

    /// Reads the series.
    ///
    /// # Errors
    ///
    /// The series can't be read or is damaged.
    pub fn series(&self) -> Result<Vec<SeriesRow>, LoadError> {
        let text = read_text(&self.file(SERIES_FILE))?;
        read_series_csv(&text)
            .map_err(|error| LoadError::input(format!("{}/{error}", self.path.display())))
    }
}

/// Writes a record as JSON for people and programs, with a line end.
///
/// # Errors
///
/// A number of the record is not finite, which JSON has no word for.
pub fn run_json(run: &Run) -> Result<String, LoadError> {
    let text = serde_json::to_string_pretty(run);
    text.map(|text| text + "\n").map_err(|e| LoadError::input(format!("{RUN_FILE}: {e}")))
}

/// Reads a record from text; `shown` names it in errors.
///
/// # Errors
///
/// The text is no record, or one of another schema version.
pub fn read_run(text: &str, shown: &str) -> Result<Run, LoadError> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|e| LoadError::input(format!("{shown}: {e}")))?;
    // The version is looked at first: with another one, nothing else can be relied on.
    let version = json.get("schema").and_then(serde_json::Value::as_u64);
    match version {
        Some(version) if version == u64::from(SCHEMA) => (),
        Some(version) => {
            return Err(LoadError::input(format!(
                "{shown}: schema is {version}, this version of {} reads {SCHEMA}; take the version \
                 that wrote the record",
                env!("CARGO_PKG_NAME"),
            )));
        }
        None => {
            let text = format!("{shown}: schema is missing: this is no record of a run");
            return Err(LoadError::input(text));
        }
    }
    serde_json::from_value(json).map_err(|e| LoadError::input(format!("{shown}: {e}")))
}

/// Writes a file at once and whole: beside its place, flushed, renamed, and its name flushed.
///
/// # Errors
///
/// The file can't be written; what was there before is there still.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let part = part_of(path);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let named = written.and_then(|()| fs::rename(&part, path)).and_then(|()| {
        // Where a folder can't be flushed, as on some file systems, there is nothing more to do.
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flushed = File::open(folder.unwrap_or(Path::new("."))).and_then(|f| f.sync_all());
        flushed.or_else(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
            _ => Err(error),
        })
    });
    named.map_err(|error| {
        // What was begun is of no use to anybody, and may be what fills the disk.
        let _ = fs::remove_file(&part);
        unwritable(path, &error)
    })
}

/// Returns where a file stands while it is being written.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PART_END);
    path.with_file_name(name)
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> LoadError {
    LoadError::input(format!("{} can't be written: {error}", path.display()))
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    let unreadable =
        |error: io::Error| LoadError::input(format!("{} can't be read: {error}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let text = format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(LoadError::input(text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let mut run = Run { schema: SCHEMA, elapsed_ns: 5, ..Run::default() };
        run.scenario.text = "stock = 1 # </script>".to_owned();
        run.refused.insert("sold_out".to_owned(), 3);
        run
    }

    /// A folder gives back what was put in, and no half-written file is left.
    #[test]
    fn a_folder_gives_back_what_was_put_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::create(&dir.path().join("runs"), "sale").expect("a new folder");
        let series = [SeriesRow { second: 0, sent: 9, ..SeriesRow::default() }];
        folder.complete(&run(), &series).expect("it is written");
        let again = Folder::open(folder.path()).expect("it is complete");
        assert_eq!(again.run().expect("a record"), run());
        assert_eq!(again.series().expect("a series"), series);
        let record = folder.file(RUN_FILE);
        assert_eq!(Folder::open(&record).expect("the record names its folder"), folder);
        let names = fs::read_dir(folder.path()).expect("a folder");
        let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    /// A second run of one name gets a folder of its own.
    #[test]
    fn a_folder_is_never_used_twice() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Folder::create(dir.path(), "sale").expect("a new folder");
        let second = Folder::create(dir.path(), "sale").expect("another one");
        assert!(first.path().ends_with("sale"));
        assert!(second.path().ends_with("sale-2"));
    }

    /// Each way in which a folder is no complete run is told apart.
    #[test]
    fn an_incomplete_folder_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::create(dir.path(), "sale").expect("a new folder");
        let check = |path: &Path, wanted: &str| {
            let error = Folder::open(path).expect_err("it is incomplete").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(&dir.path().join("none"), "no such folder");
        check(folder.path(), "this is no folder of a run");
        folder.write("latency.hlog.part", b"").expect("it is written");
        check(folder.path(), "the run was cut off");
    }

    /// A record of another version is refused before anything else of it is read.
    #[test]
    fn another_schema_version_is_refused() {
        let check = |text: &str, wanted: &str| {
            let error = read_run(text, "run.json").expect_err("it is no record").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(r#"{"schema": 2, "counts": 7}"#, "schema is 2, this version of");
        check(r#"{"tool": {}}"#, "schema is missing");
        check(r#"{"schema": 1}"#, "missing field `tool`");
        check("{", "EOF while parsing");
        let text = run_json(&run()).expect("a record is JSON");
        assert_eq!(read_run(&text, "run.json").expect("it is a record"), run());
    }

    /// A file that can't be put in its place leaves what was there, and nothing half-written.
    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::create(dir.path(), "sale").expect("a new folder");
        fs::create_dir(folder.file(RUN_FILE)).expect("a directory stands in the way");
        folder.write(RUN_FILE, b"{}").expect_err("a directory can't be replaced by a file");
        assert!(folder.file(RUN_FILE).is_dir());
        assert!(!part_of(&folder.file(RUN_FILE)).exists());
    }
}
