//! Latency second by second, `latency.hlog`: one HDR histogram for each second and group of
//! requests, in the interval log format of `HdrHistogram` (V2, deflated, with tags).
//!
//! Source: `HistogramLogWriter` of `HdrHistogram`, log format 1.3. The standard tools read it. The
//! percentiles of a record are those of the sums over this log: a test compares them.
//!
//! A tag names what its requests share, as `clock=intended;op=buy;outcome=accepted`; the format
//! allows neither commas nor spaces in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::error::LoadError;
use crate::meter::{self, NANOS_MAX};
use crate::results::folder::{Folder, LOG_FILE, part_of, unwritable};
use crate::results::run::{LatencyGroup, Spectrum};
use crate::results::threshold::{Latencies, TagName, Window};

/// Longest line of an interval log that is read, in bytes.
pub const LOG_LINE_BYTES_MAX: u64 = 4 << 20;

/// Where a latency begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clock {
    /// At the intended start: what a user waits.
    Intended,
    /// At the actual start: what the target takes.
    Service,
}

impl Clock {
    /// Returns the name that tags and thresholds use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Service => "service",
        }
    }
}

/// What the requests of a histogram share; an empty name is not told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tags {
    /// Where their latency begins.
    pub clock: Clock,
    /// What was asked, such as `buy`.
    pub op: String,
    /// `accepted` or `refused`.
    pub outcome: String,
    /// Stage in which the intended start was.
    pub stage: String,
    /// Kind of user.
    pub actor: String,
}

impl Tags {
    /// Makes tags that tell nothing but the clock.
    pub fn of(clock: Clock) -> Self {
        let (op, outcome, stage, actor) =
            (String::new(), String::new(), String::new(), String::new());
        Self { clock, op, outcome, stage, actor }
    }

    /// Returns the value of a name: `op`, `outcome`, `stage` or `actor`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn named(&self) -> [(&'static str, &str); 4] {
        [
            ("op", &self.op),
            ("outcome", &self.outcome),
            ("stage", &self.stage),
            ("actor", &self.actor),
        ]
    }

    /// Reads the text of a tag; `None` if it is not of this tool.
    fn parse(text: &str) -> Option<Self> {
        let mut tags = None;
        for part in text.split(';') {
            let (name, value) = part.split_once('=')?;
            if name == "clock" {
                let clock = [Clock::Intended, Clock::Service];
                tags = Some(Self::of(clock.into_iter().find(|clock| clock.name() == value)?));
                continue;
            }
            let tags: &mut Self = tags.as_mut()?;
            *match name {
                "op" => &mut tags.op,
                "outcome" => &mut tags.outcome,
                "stage" => &mut tags.stage,
                "actor" => &mut tags.actor,
                // A newer version may tell more.
                _ => continue,
            } = unplain(value);
        }
        tags
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock={}", self.clock.name())?;
        for (name, value) in self.named().into_iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, ";{name}={}", plain(value))?;
        }
        Ok(())
    }
}

/// Writes what a tag's text must not have as `%` and two hexadecimal digits a byte, as in URLs.
fn plain(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '=' | '%') {
            for byte in c.to_string().bytes() {
                // Writing to a string can't fail.
                let _ = fmt::Write::write_fmt(&mut out, format_args!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Reads what [`plain`] wrote; what it never writes stays as it is.
fn unplain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match byte {
            Some(byte) => {
                bytes.push(byte);
                &after[2..]
            }
            None => {
                bytes.push(b'%');
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes an empty histogram for latencies in nanoseconds.
pub fn latencies() -> Histogram<u64> {
    meter::latencies()
}

/// An interval log that is being written; it gets its name when it is complete.
pub struct IntervalLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    path: PathBuf,
}

impl IntervalLog {
    /// Begins a log at `path`; times in it count from `started`.
    ///
    /// # Errors
    ///
    /// The file can't be made.
    pub fn create(path: &Path, started: SystemTime) -> Result<Self, LoadError> {
        let file = File::create(part_of(path)).map_err(|e| unwritable(path, &e))?;
        let mut log = Self {
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            path: path.to_owned(),
        };
        IntervalLogWriterBuilder::new()
            .add_comment(&format!("[Latency in nanoseconds, by {}]", env!("CARGO_PKG_NAME")))
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut log.file, &mut log.serializer)
            .map_err(|e| unwritable(path, &e))?;
        Ok(log)
    }

    /// Adds the histogram of one interval; an empty one is left out.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub fn add(
        &mut self,
        tags: &Tags,
        from: Duration,
        length: Duration,
        histogram: &Histogram<u64>,
    ) -> Result<(), LoadError> {
        if histogram.is_empty() {
            return Ok(());
        }
        let text = tags.to_string();
        // A writer without a head writes nothing by itself, so one can be made for each line.
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, &mut self.serializer)
            .map_err(|e| unwritable(&self.path, &e))?;
        let written = writer.write_histogram(histogram, from, length, Tag::new(&text));
        written
            .map_err(|e| LoadError::input(format!("{} can't be written: {e}", self.path.display())))
    }

    /// Completes the log and gives it its name.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub fn finish(self) -> Result<(), LoadError> {
        let Self { mut file, path, .. } = self;
        let flushed = file.flush().and_then(|()| file.get_ref().sync_all());
        let named = flushed.and_then(|()| fs::rename(part_of(&path), &path));
        named.map_err(|e| unwritable(&path, &e))
    }
}

/// The histogram of one interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// What its requests share.
    pub tags: Tags,
    /// Start, from the start of the load.
    pub from: Duration,
    /// Length.
    pub length: Duration,
    /// Latencies in nanoseconds.
    pub histogram: Histogram<u64>,
}

/// Reads an interval log, one interval at a time, in the order of the file; lines of other tools
/// are skipped.
///
/// # Errors
///
/// The file can't be read, a line is longer than [`LOG_LINE_BYTES_MAX`], or a histogram is
/// damaged; the error names the line.
pub fn read_log(path: &Path, each: impl FnMut(Interval)) -> Result<(), LoadError> {
    read_log_where(path, |_, _, _| true, each)
}

/// Reads the intervals that `wanted` takes by their tags, start and length; the rest is skipped
/// before its histogram is unpacked.
///
/// # Errors
///
/// Those of [`read_log`].
pub fn read_log_where(
    path: &Path,
    wanted: impl Fn(&Tags, Duration, Duration) -> bool,
    mut each: impl FnMut(Interval),
) -> Result<(), LoadError> {
    let shown = path.display();
    let unreadable = |e| LoadError::input(format!("{shown} can't be read: {e}"));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut deserializer = Deserializer::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut limited = (&mut file).take(LOG_LINE_BYTES_MAX + 1);
        if limited.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(());
        }
        let wrong = |what: &str| LoadError::input(format!("{shown}:{number}: {what}"));
        if line.len() as u64 > LOG_LINE_BYTES_MAX {
            return Err(wrong(&format!("longer than {LOG_LINE_BYTES_MAX} bytes")));
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        let entry = match IntervalLogIterator::new(&line).next() {
            Some(Ok(LogEntry::Interval(entry))) => entry,
            Some(Err(_)) => return Err(wrong("neither an interval nor a comment")),
            Some(Ok(_)) | None => continue,
        };
        let Some(tags) = entry.tag().and_then(|tag| Tags::parse(tag.as_str())) else { continue };
        let (from, length) = (entry.start_timestamp(), entry.duration());
        if !wanted(&tags, from, length) {
            continue;
        }
        let bytes = STANDARD.decode(entry.encoded_histogram());
        let bytes = bytes.map_err(|_| wrong("the histogram is no base64"))?;
        let histogram = deserializer.deserialize::<u64, _>(&mut bytes.as_slice());
        let histogram = histogram.map_err(|e| wrong(&format!("the histogram is damaged: {e}")))?;
        each(Interval { tags, from, length, histogram });
    }
    Ok(())
}

/// The interval log of a run, asked by thresholds.
#[derive(Clone, Debug)]
pub struct LogFile(pub PathBuf);

impl Latencies for LogFile {
    fn latencies(
        &self,
        service: bool,
        tags: &[(TagName, String)],
        window: Option<Window>,
    ) -> Result<Histogram<u64>, LoadError> {
        let clock = if service { Clock::Service } else { Clock::Intended };
        let shared = |told: &Tags| {
            tags.iter().all(|(name, value)| told.get(name.name()) == Some(value.as_str()))
        };
        let wanted = |told: &Tags, from, length| {
            told.clock == clock
                && window.is_none_or(|window| window.covers(from, length))
                && shared(told)
        };
        let mut sum = latencies();
        read_log_where(&self.0, wanted, |interval| merge(&mut sum, &interval.histogram))?;
        Ok(sum)
    }
}

/// The histograms of a whole run: all requests, and those that share one or two tags.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    groups: BTreeMap<GroupKey, Pair>,
}

/// Operation, outcome, stage and actor; an absent one stands for all.
type GroupKey = [Option<String>; 4];

#[derive(Clone, Debug)]
struct Pair {
    intended: Histogram<u64>,
    service: Histogram<u64>,
}

impl Totals {
    /// Sums a log up.
    ///
    /// # Errors
    ///
    /// Those of [`read_log`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let mut totals = Self::default();
        read_log(path, |interval| totals.add(&interval.tags, &interval.histogram))?;
        Ok(totals)
    }

    /// Adds one histogram to each group that it belongs to: all, its operation, its outcome, its
    /// stage, its actor, and its outcome with its operation and with its stage.
    pub fn add(&mut self, tags: &Tags, histogram: &Histogram<u64>) {
        let told = |value: &String| (!value.is_empty()).then(|| value.clone());
        let values = [&tags.op, &tags.outcome, &tags.stage, &tags.actor].map(told);
        let shown: [&[usize]; 7] = [&[], &[0], &[1], &[2], &[3], &[0, 1], &[1, 2]];
        for places in shown {
            let mut key: GroupKey = [const { None }; 4];
            for place in places {
                key[*place].clone_from(&values[*place]);
            }
            if key.iter().flatten().count() < places.len() {
                continue;
            }
            let pair = self
                .groups
                .entry(key)
                .or_insert_with(|| Pair { intended: latencies(), service: latencies() });
            let mine = match tags.clock {
                Clock::Intended => &mut pair.intended,
                Clock::Service => &mut pair.service,
            };
            merge(mine, histogram);
        }
    }

    /// Returns the percentiles of each group, the whole run first.
    pub fn groups(&self) -> Vec<LatencyGroup> {
        let group = |(key, pair): (&GroupKey, &Pair)| {
            let [op, outcome, stage, actor] = key.clone();
            let (intended, service) = (Spectrum::of(&pair.intended), Spectrum::of(&pair.service));
            LatencyGroup { op, outcome, stage, actor, intended, service }
        };
        self.groups.iter().map(group).collect()
    }

    /// Returns the histogram of all requests.
    pub fn all(&self, clock: Clock) -> Option<&Histogram<u64>> {
        self.groups.get(&[const { None }; 4]).map(|pair| match clock {
            Clock::Intended => &pair.intended,
            Clock::Service => &pair.service,
        })
    }

    /// Returns the `.hgrm` files of the run, by name: all requests and each operation, on both
    /// clocks.
    pub fn percentile_files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for (key, pair) in &self.groups {
            let name = match key {
                [None, None, None, None] => String::new(),
                [Some(op), None, None, None] => format!("-{}", file_word(op)),
                _ => continue,
            };
            let clocks = [(Clock::Intended, &pair.intended), (Clock::Service, &pair.service)];
            for (clock, histogram) in clocks {
                if !histogram.is_empty() {
                    let text = percentile_text(histogram);
                    files.push((format!("latency{name}-{}.hgrm", clock.name()), text));
                }
            }
        }
        files
    }
}

/// Writes the `.hgrm` files of a run from its interval log, if the folder has one.
///
/// # Errors
///
/// The log can't be read, or a file can't be written.
pub fn write_percentiles(folder: &Folder) -> Result<(), LoadError> {
    let path = folder.file(LOG_FILE);
    if !path.is_file() {
        return Ok(());
    }
    for (name, text) in Totals::read(&path)?.percentile_files() {
        folder.write(&name, text.as_bytes())?;
    }
    Ok(())
}

/// Keeps what is plain in the name of a file on every system.
fn file_word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Adds values that may lie outside the bounds: those count as the nearest bound.
pub(crate) fn merge(sum: &mut Histogram<u64>, histogram: &Histogram<u64>) {
    if sum.add(histogram).is_err() {
        for value in histogram.iter_recorded() {
            let within = value.value_iterated_to().clamp(1, NANOS_MAX);
            sum.saturating_record_n(within, value.count_at_value());
        }
    }
}

/// Writes the percentiles of a histogram of nanoseconds as text in milliseconds.
///
/// Source: `AbstractHistogram.outputPercentileDistribution` of `HdrHistogram` with five ticks a half
/// distance, as `HistogramLogProcessor` prints it; plotters of `.hgrm` files read it.
pub fn percentile_text(histogram: &Histogram<u64>) -> String {
    use std::fmt::Write as _;

    const UNIT: f64 = 1e6;
    const TICKS: u32 = 5;
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / UNIT;
        let quantile = step.quantile_iterated_to();
        // Writing to a string can't fail, here and below.
        let _ = if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            writeln!(out, "{value:12.3} {quantile:2.12} {total:10} {inverse:14.2}")
        } else {
            writeln!(out, "{value:12.3} {quantile:2.12} {total:10}")
        };
    }
    let (mean, deviation) = (histogram.mean() / UNIT, histogram.stdev() / UNIT);
    let max = histogram.max() as f64 / UNIT;
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {:12}]", histogram.len());
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), 2048);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(clock: Clock, op: &str, stage: &str) -> Tags {
        let outcome = "accepted".to_owned();
        Tags { op: op.to_owned(), outcome, stage: stage.to_owned(), ..Tags::of(clock) }
    }

    fn filled(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = latencies();
        for value in values {
            histogram.record(value).expect("it is within the bounds");
        }
        histogram
    }

    fn written(dir: &Path) -> PathBuf {
        let path = dir.join("latency.hlog");
        let started = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let mut log = IntervalLog::create(&path, started).expect("a new log");
        let second = Duration::from_secs(1);
        for at in 0..3_u32 {
            let values = (1..=1_000).map(|n| n * 1_000 * u64::from(at + 1));
            for clock in [Clock::Intended, Clock::Service] {
                let tags = tags(clock, if at == 0 { "buy" } else { "place" }, "the, peak");
                log.add(&tags, second * at, second, &filled(values.clone())).expect("written");
            }
        }
        log.add(&Tags::of(Clock::Service), second, second, &latencies()).expect("left out");
        assert!(!path.exists(), "a log without its end has no name yet");
        log.finish().expect("it is complete");
        path
    }

    /// Each interval is read back with its tags, times and values; an empty one was left out.
    #[test]
    fn a_log_is_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut intervals = Vec::new();
        read_log(&written(dir.path()), |interval| intervals.push(interval)).expect("a log");
        assert_eq!(intervals.len(), 6);
        let last = &intervals[5];
        assert_eq!(last.tags, tags(Clock::Service, "place", "the, peak"));
        assert_eq!((last.from, last.length), (Duration::from_secs(2), Duration::from_secs(1)));
        assert_eq!(last.histogram, filled((1..=1_000).map(|n| n * 3_000)));
    }

    /// Groups sum up what shares their tags, on each clock.
    #[test]
    fn totals_sum_up_by_tag() {
        let dir = tempfile::tempdir().expect("a directory");
        let totals = Totals::read(&written(dir.path())).expect("a log");
        let groups = totals.groups();
        let shown: Vec<String> = groups
            .iter()
            .map(|group| {
                let tags: Vec<_> =
                    group.tags().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{}:{}", tags.join(";"), group.service.count)
            })
            .collect();
        let wanted = [
            ":3000",
            "stage=the, peak:3000",
            "outcome=accepted:3000",
            "outcome=accepted;stage=the, peak:3000",
            "op=buy:1000",
            "op=buy;outcome=accepted:1000",
            "op=place:2000",
            "op=place;outcome=accepted:2000",
        ];
        assert_eq!(shown, wanted);
        let all = totals.all(Clock::Intended).expect("there are requests");
        assert_eq!(Spectrum::of(all), groups[0].intended);
        let names: Vec<_> = totals.percentile_files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 6);
        assert_eq!(names[1], "latency-service.hgrm");
    }

    /// Any name survives being written in a tag, and a line has no sign that would end it.
    #[test]
    fn names_survive_tags() {
        for name in ["a b", "50%", "%2C", "ä,ö;ü=ß", "\u{2028}\n", "", "%", "%zz%é"] {
            let text = plain(name);
            assert!(Tag::new(&text).is_some() && !text.contains([';', '=']), "{text}");
            assert_eq!(unplain(&text), name);
        }
        assert_eq!(unplain("100%é %4"), "100%é %4");
    }

    /// A threshold's question is answered by tag and by second.
    #[test]
    fn a_log_answers_by_tag_and_second() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = LogFile(written(dir.path()));
        let check = |tags: &[(TagName, &str)], window: Option<(u64, u64)>, count: u64| {
            let tags: Vec<_> = tags.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
            let window = window.map(|(from, to)| Window { from, to });
            let found = log.latencies(true, &tags, window).expect("a log");
            assert_eq!(found.len(), count, "{tags:?} {window:?}");
        };
        check(&[], None, 3_000);
        check(&[(TagName::Op, "place")], None, 2_000);
        check(&[(TagName::Op, "place"), (TagName::Stage, "the, peak")], Some((0, 2)), 1_000);
        check(&[(TagName::Actor, "bot")], None, 0);
    }

    /// A damaged log is refused with its line; comments and other tools' lines are skipped.
    #[test]
    fn a_damaged_log_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("latency.hlog");
        let check = |text: &str, wanted: Option<&str>| {
            fs::write(&path, text).expect("it is written");
            let read = read_log(&path, |_| ()).map_err(|error| error.to_string());
            match wanted {
                None => assert_eq!(read, Ok(())),
                Some(wanted) => {
                    let error = read.expect_err(text);
                    assert!(error.contains(wanted), "{error}");
                }
            }
        };
        check("#a comment\nTag=other,0.1,1.0,2.7,AAAA\n0.1,1.0,2.7,AAAA\n", None);
        check(
            "#one\nTag=clock=service,0.1,1.0,2.7,?\n",
            Some("hlog:2: the histogram is no base64"),
        );
        check("Tag=clock=service,0.1,1.0,2.7,AAAA\n", Some("hlog:1: the histogram is damaged"));
        check("what is this\n", Some("hlog:1: neither an interval nor a comment"));
    }

    /// The text of percentiles has the columns and the feet that plotters look for.
    #[test]
    fn percentiles_are_written_as_the_standard_tool_does() {
        let text = percentile_text(&filled((1..=1_000).map(|n| n * 1_000_000)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        let rows: Vec<Vec<f64>> = lines[2..]
            .iter()
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|f| f.parse().expect("a number")).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
        assert_eq!(rows.last().map(|row| (row[1], row[2], row.len())), Some((1.0, 1_000.0, 3)));
        let feet: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with('#')).collect();
        assert_eq!(feet.len(), 3, "{text}");
        assert!(feet[1].starts_with("#[Max     =     1000."), "{text}");
        assert!(feet[1].ends_with("Total count    =         1000]"), "{text}");
    }
}
