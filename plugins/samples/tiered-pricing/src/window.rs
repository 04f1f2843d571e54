//! When an offer is open: a span of time, days of the week, minutes of the day.

use onhand_plugin_sdk::config::{ConfigError, Object};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;
/// Minutes of a day.
const DAY_MINUTES: i64 = 1_440;
/// 1970-01-01 was a Thursday: that many days after a Monday.
const THURSDAY: i64 = 3;
/// All days of a week.
const EVERY_DAY: u8 = 0x7f;
/// Largest offset of a time zone in minutes.
const OFFSET_MAX: i64 = 14 * 60;

/// When an offer is open, by the shop's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First millisecond since 1970-01-01 UTC.
    from: u64,
    /// First millisecond after it.
    to: u64,
    /// Days of the week, bit 0 Monday.
    days: u8,
    /// First minute of the day.
    opens: i64,
    /// First minute after it; at most `opens` for a window over midnight, which belongs to the day
    /// on which it opens.
    closes: i64,
    /// Minutes that the shop's clock is ahead of UTC. Summer time is the shop's business: a window
    /// for each half of the year.
    offset: i64,
}

impl Window {
    /// Takes a window's fields out of an offer; without any it is always open.
    ///
    /// # Errors
    ///
    /// Returns the first field that is outside its range, or a window that never opens.
    pub fn read(from: &mut Object) -> Result<Self, ConfigError> {
        let moments = 0..=i64::MAX;
        let days = from.ints("days", 1..=7)?;
        let window = Self {
            from: from.int_or("from_ms", moments.clone(), 0)? as u64,
            to: from.int_or("to_ms", moments, i64::MAX)? as u64,
            days: days.iter().fold(0, |set, day| set | 1 << (day - 1)),
            opens: from.int_or("opens_minute", 0..=DAY_MINUTES - 1, 0)?,
            closes: from.int_or("closes_minute", 1..=DAY_MINUTES, DAY_MINUTES)?,
            offset: from.int_or("offset_minutes", -OFFSET_MAX..=OFFSET_MAX, 0)?,
        };
        if window.from >= window.to {
            let Self { from, to, .. } = window;
            let text = format!("to_ms is {to}, not after from_ms, which is {from}");
            return Err(ConfigError::new(text));
        }
        let days = if window.days == 0 { EVERY_DAY } else { window.days };
        Ok(Self { days, ..window })
    }

    /// Returns whether the window is open at a time in milliseconds since 1970-01-01 UTC.
    pub const fn is_open(&self, now: u64) -> bool {
        if now < self.from || now >= self.to {
            return false;
        }
        if self.opens == 0 && self.closes == DAY_MINUTES && self.days == EVERY_DAY {
            // What day and minute it is need not be worked out.
            return true;
        }
        let minutes = (now / MINUTE_MS) as i64 + self.offset;
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        if self.opens < self.closes {
            return self.opens <= minute && minute < self.closes && self.has(day);
        }
        (minute >= self.opens && self.has(day)) || (minute < self.closes && self.has(day - 1))
    }

    const fn has(&self, day: i64) -> bool {
        self.days >> (day + THURSDAY).rem_euclid(7) & 1 == 1
    }
}
