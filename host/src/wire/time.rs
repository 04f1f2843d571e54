//! Timestamps as RFC 3339 text in UTC with milliseconds.

use onhand_core::Timestamp;

/// Writes a timestamp such as `2026-11-21T09:30:00.250Z`.
///
/// Source: RFC 3339 §5.6; the civil date from a day number as in Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn write(out: &mut Vec<u8>, time: Timestamp) {
    let millis = time.millis();
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(b'T');
    digits(out, of_day / 3_600_000, 2);
    out.push(b':');
    digits(out, of_day / 60_000 % 60, 2);
    out.push(b':');
    digits(out, of_day / 1_000 % 60, 2);
    out.push(b'.');
    digits(out, of_day % 1_000, 3);
    out.push(b'Z');
}

/// Writes a number with at least `width` digits.
fn digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width.max(value.checked_ilog10().unwrap_or(0) + 1)).rev() {
        out.push(b'0' + (value / 10_u64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_read_as_known_dates() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_251_200_001, "2024-03-01T00:00:00.001Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
            (Timestamp::MAX.millis(), "10889-08-02T05:31:50.655Z"),
        ] {
            let mut out = Vec::new();
            write(&mut out, Timestamp::from_millis(millis));
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
