//! Values of a scenario file: times, rates, and times that depend on others.

use std::time::Duration;

use crate::schedule::{Rate, rate_number};

/// Reads a time: a number with `ns`, `us`, `ms`, `s`, `m`, `h` or `d`, such as `1.5s`.
pub fn time(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = digits.trim().parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// Writes a time as [`time`] reads it.
pub(super) fn time_text(time: Duration) -> String {
    let nanos = time.as_nanos();
    for (unit, size) in [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ] {
        if nanos >= size && nanos.is_multiple_of(size) {
            return format!("{}{unit}", nanos / size);
        }
    }
    format!("{nanos}ns")
}

/// Reads a rate of users, 0 included, such as `200/s` or `8k/s`.
pub(super) fn rate(text: &str) -> Option<f64> {
    rate_number(text).filter(|rate| (0.0..=Rate::PER_SECOND_MAX).contains(rate))
}

/// Reads a time that may build on the life of a reservation: `3s`, `reservation_ttl`,
/// `reservation_ttl + 2s`, `reservation_ttl - 100ms`.
pub(super) fn time_of_ttl(text: &str, ttl: Duration) -> Option<Duration> {
    let Some(rest) = text.trim().strip_prefix("reservation_ttl") else { return time(text) };
    let rest = rest.trim();
    if rest.is_empty() {
        return Some(ttl);
    }
    match rest.split_at_checked(1)? {
        ("+", more) => ttl.checked_add(time(more.trim())?),
        ("-", less) => ttl.checked_sub(time(less.trim())?),
        _ => None,
    }
}

/// Returns the known word that is nearest to an unknown one, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = word.chars().count().div_ceil(3).max(1);
    let scored = known.into_iter().map(|known| (distance(word, known), known));
    scored.filter(|(distance, _)| *distance <= near).min().map(|(_, known)| known)
}

/// Returns how many letters must be put in, taken out, changed, or exchanged with their neighbour.
///
/// Source: Damerau, "A technique for computer detection and correction of spelling errors", 1964,
/// in the form of optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (at, row) in rows.iter_mut().enumerate() {
        row[0] = at;
    }
    for (at, cell) in rows[0].iter_mut().enumerate() {
        *cell = at;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times are read in every unit and written back the same; what is no time is refused.
    #[test]
    fn times_are_read_and_written() {
        let check = |text: &str, millis: u64| {
            let read = time(text).expect("a time");
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(time(&time_text(read)), Some(read), "{text}");
        };
        check("1500ms", 1_500);
        check("1.5s", 1_500);
        check("2m", 120_000);
        check("0s", 0);
        check("1d", 86_400_000);
        for bad in ["", "5", "s", "-1s", "1 week", "1e9s", "infs", "5 sec", "1.2.3s"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        let ttl = Duration::from_secs(10);
        let of = |text: &str| time_of_ttl(text, ttl).map(|time| time.as_millis());
        assert_eq!(of("3s"), Some(3_000));
        assert_eq!(of("reservation_ttl"), Some(10_000));
        assert_eq!(of("reservation_ttl + 2s"), Some(12_000));
        assert_eq!(of("reservation_ttl-500ms"), Some(9_500));
        assert_eq!((of("reservation_ttl * 2"), of("reservation_ttl - 1h")), (None, None));
    }

    /// What is meant is found for slips, and nothing for what is far off.
    #[test]
    fn slips_find_what_is_meant() {
        let known = ["rate", "half_life", "rise", "peak"];
        assert_eq!(nearest("half_live", known), Some("half_life"));
        assert_eq!(nearest("paek", known), Some("peak"));
        assert_eq!(nearest("customer", known), None);
        assert_eq!(distance("ca", "abc"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
