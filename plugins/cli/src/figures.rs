//! Numbers for a terminal: counts, times, sizes and hashes, the same in all of `onhand`.

use std::time::Duration;

/// Writes a number with separators, such as `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a time with three significant digits and its unit.
#[must_use]
pub fn span(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        m if m < 1_000.0 => (m, "µs"),
        m if m < 1_000_000.0 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// Writes a size in bytes with its unit.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Writes bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are written to be read.
    #[test]
    fn numbers_read_well() {
        let counts = [0, 999, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,234,567"]);
        let spans = [7, 12_345, 2_500_000].map(|us| span(Duration::from_micros(us)));
        assert_eq!(spans, ["7.00 µs", "12.3 ms", "2.50 s"]);
        let sizes = [1_023, 1_536, 3 << 20, 5 << 40].map(size);
        assert_eq!(sizes, ["1023 B", "1.5 KiB", "3.0 MiB", "5.0 TiB"]);
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
