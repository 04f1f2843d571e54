//! Facts about the machine, without which a figure says nothing.

use std::fs;
use std::time::Duration;

/// The machine that a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Model of the processor.
    pub cpu: String,
    /// Kernel with its release.
    pub kernel: String,
    /// Memory in bytes; 0 where unknown.
    pub memory_bytes: u64,
}

impl Machine {
    /// Reads the facts; what the system does not tell is empty.
    pub fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = file("/proc/cpuinfo");
        let cpu = value_after(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH);
        let release = file("/proc/sys/kernel/osrelease");
        let meminfo = file("/proc/meminfo");
        let memory = value_after(&meminfo, "MemTotal").and_then(|text| text.split(' ').next());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: cpu.to_owned(),
            kernel: format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_owned(),
            memory_bytes: memory.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024,
        }
    }
}

/// Returns the value of a line `name : value`.
fn value_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// What a thread did with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadTime {
    /// Time on a processor.
    pub(crate) ran: Duration,
    /// Time in which it could have run and others had the processors.
    pub(crate) waited: Duration,
}

impl ThreadTime {
    /// Returns the time of the calling thread, where the system tells it.
    pub(crate) fn of_caller() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
    }

    /// Reads the first two numbers of a schedstat, in nanoseconds.
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse().map(Duration::from_nanos));
        Some(Self { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
    }

    /// Returns the time since an earlier reading.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Writes a time since 1970 as RFC 3339 in UTC, to the second.
pub(crate) fn date_text(since: Duration) -> String {
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns the date of a number of days since 1970.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + if month <= 2 { 1 } else { 0 }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dates around the corners of the calendar are right.
    #[test]
    fn dates_are_written() {
        let text = |seconds| date_text(Duration::from_secs(seconds));
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(text(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    /// What a thread waited for a processor is told apart from what it used of one.
    #[test]
    fn time_of_a_thread_is_read() {
        let (ran, waited) = (Duration::from_nanos(1_200), Duration::from_nanos(34));
        assert_eq!(ThreadTime::read("1200 34 5\n"), Some(ThreadTime { ran, waited }));
        assert_eq!(ThreadTime::read("1200"), None);
        assert_eq!(ThreadTime::read(""), None);
        let later = ThreadTime { ran: ran * 3, waited };
        let none = Duration::ZERO;
        assert_eq!(
            later.since(ThreadTime { ran, waited }),
            ThreadTime { ran: ran * 2, waited: none }
        );
    }

    /// The facts of a made-up file are found by name.
    #[test]
    fn facts_are_found_by_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(value_after(text, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(value_after(text, "MemTotal"), None);
    }
}
