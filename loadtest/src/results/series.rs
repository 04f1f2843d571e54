//! The run second by second, `series.csv`: one row a second, read by any spreadsheet.
//!
//! Counts are of that second alone, levels are those at its end. Units are those of the SKU that
//! everybody wants, where the scenario has one, else of all SKUs. Seconds are numbered from 0, the
//! one in which the load began, and none is left out.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;

/// Most rows of a series: a day and an hour.
pub const SERIES_ROWS_MAX: usize = 90_000;

/// The columns of `series.csv`, in their order.
pub const SERIES_COLUMNS: [&str; 19] = [
    "second",
    "users",
    "sent",
    "accepted",
    "refused",
    "lost",
    "late",
    "in_flight",
    "intended_p50_us",
    "intended_p99_us",
    "service_p50_us",
    "service_p99_us",
    "available",
    "reserved",
    "sold",
    "refused_sold_out",
    "refused_limit",
    "refused_other",
    "faults",
];

/// Column that a series of an older version lacks; it is 0 then.
const LATER_COLUMN: &str = "faults";

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesRow {
    /// Seconds since the load began.
    pub second: u64,
    /// Users who came.
    pub users: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests whose acceptance was told.
    pub accepted: u64,
    /// Requests whose refusal was told.
    pub refused: u64,
    /// Requests that were given up without an answer.
    pub lost: u64,
    /// Requests that started late by the generator's own fault.
    pub late: u64,
    /// Requests without an answer at the end of the second.
    pub in_flight: u64,
    /// Median from the intended start, of the answers of this second; absent without any.
    pub intended_p50_us: Option<u64>,
    /// 99 % from the intended start.
    pub intended_p99_us: Option<u64>,
    /// Median from the actual start.
    pub service_p50_us: Option<u64>,
    /// 99 % from the actual start.
    pub service_p99_us: Option<u64>,
    /// Units free at the end of the second; absent where nobody could read them.
    pub available: Option<u64>,
    /// Units held for reservations.
    pub reserved: Option<u64>,
    /// Units committed to orders or shipped.
    pub sold: Option<u64>,
    /// Refusals for want of units.
    pub refused_sold_out: u64,
    /// Refusals for a limit per customer.
    pub refused_limit: u64,
    /// All other refusals.
    pub refused_other: u64,
    /// Faults in effect at some time of the second.
    #[serde(default)]
    pub faults: u64,
}

impl SeriesRow {
    /// Returns the values in the order of [`SERIES_COLUMNS`].
    pub const fn values(&self) -> [Option<u64>; SERIES_COLUMNS.len()] {
        [
            Some(self.second),
            Some(self.users),
            Some(self.sent),
            Some(self.accepted),
            Some(self.refused),
            Some(self.lost),
            Some(self.late),
            Some(self.in_flight),
            self.intended_p50_us,
            self.intended_p99_us,
            self.service_p50_us,
            self.service_p99_us,
            self.available,
            self.reserved,
            self.sold,
            Some(self.refused_sold_out),
            Some(self.refused_limit),
            Some(self.refused_other),
            Some(self.faults),
        ]
    }

    fn of_values(values: &[Option<u64>; SERIES_COLUMNS.len()]) -> Self {
        let [
            second,
            users,
            sent,
            accepted,
            refused,
            lost,
            late,
            in_flight,
            intended_p50_us,
            intended_p99_us,
            service_p50_us,
            service_p99_us,
            available,
            reserved,
            sold,
            refused_sold_out,
            refused_limit,
            refused_other,
            faults,
        ] = *values;
        Self {
            second: second.unwrap_or(0),
            users: users.unwrap_or(0),
            sent: sent.unwrap_or(0),
            accepted: accepted.unwrap_or(0),
            refused: refused.unwrap_or(0),
            lost: lost.unwrap_or(0),
            late: late.unwrap_or(0),
            in_flight: in_flight.unwrap_or(0),
            intended_p50_us,
            intended_p99_us,
            service_p50_us,
            service_p99_us,
            available,
            reserved,
            sold,
            refused_sold_out: refused_sold_out.unwrap_or(0),
            refused_limit: refused_limit.unwrap_or(0),
            refused_other: refused_other.unwrap_or(0),
            faults: faults.unwrap_or(0),
        }
    }
}

/// Writes a series as CSV (RFC 4180, with `\n` alone); an unknown value is an empty field.
pub fn series_csv(rows: &[SeriesRow]) -> String {
    let mut out = SERIES_COLUMNS.join(",");
    out.push('\n');
    for row in rows {
        for (at, value) in row.values().into_iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            if let Some(value) = value {
                // Writing to a string can't fail.
                let _ = write!(out, "{value}");
            }
        }
        out.push('\n');
    }
    out
}

/// Reads a series. Columns are found by their names, so that a newer version may add some.
///
/// # Errors
///
/// A column is missing, a field is no number, a row has too few fields, or there are more than
/// [`SERIES_ROWS_MAX`] rows; the error names the line.
pub fn read_series_csv(text: &str) -> Result<Vec<SeriesRow>, LoadError> {
    let mut lines = text.lines().enumerate();
    let head = lines.next().map_or("", |(_, line)| line);
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let mut places = [None; SERIES_COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(SERIES_COLUMNS) {
        *place = names.iter().position(|name| *name == column);
        if place.is_none() && column != LATER_COLUMN {
            let text = format!("series.csv:1: column `{column}` is missing");
            return Err(LoadError::input(text));
        }
    }
    let mut rows = Vec::new();
    for (at, line) in lines {
        if line.is_empty() {
            continue;
        }
        if rows.len() == SERIES_ROWS_MAX {
            let text = format!("series.csv:{}: more than {SERIES_ROWS_MAX} rows", at + 1);
            return Err(LoadError::input(text));
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let mut values = [None; SERIES_COLUMNS.len()];
        for ((value, place), column) in values.iter_mut().zip(places).zip(SERIES_COLUMNS) {
            let wrong = |what: &str| {
                LoadError::input(format!("series.csv:{}: column `{column}` {what}", at + 1))
            };
            let Some(place) = place else { continue };
            let field = *fields.get(place).ok_or_else(|| wrong("has no field"))?;
            if !field.is_empty() {
                let number = field.parse();
                *value = Some(number.map_err(|_| wrong(&format!("is `{field}`, no number")))?);
            }
        }
        rows.push(SeriesRow::of_values(&values));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(second: u64) -> SeriesRow {
        SeriesRow {
            second,
            sent: 10 + second,
            intended_p99_us: Some(1_500),
            sold: (second > 0).then_some(second),
            refused_other: 7,
            ..SeriesRow::default()
        }
    }

    /// What is written is read back; an unknown value stays unknown.
    #[test]
    fn a_series_is_read_back() {
        let rows = vec![row(0), row(1), row(2)];
        let text = series_csv(&rows);
        assert!(text.starts_with("second,users,sent,"), "{text}");
        assert_eq!(read_series_csv(&text).expect("it is a series"), rows);
        assert_eq!(read_series_csv(&series_csv(&[])).expect("no rows"), []);
    }

    /// Columns are found by name, so order and additions of a newer version don't matter.
    #[test]
    fn columns_are_found_by_name() {
        let text = series_csv(&[row(4)]);
        let turn = |line: &str| {
            let fields: Vec<&str> = line.split(',').rev().collect();
            format!("extra,{}", fields.join(","))
        };
        let turned = text.lines().map(turn).collect::<Vec<_>>().join("\n");
        assert_eq!(read_series_csv(&turned).expect("it is a series"), vec![row(4)]);
    }

    /// A series of a version without faults is read; they are 0.
    #[test]
    fn a_series_without_faults_is_read() {
        let text = series_csv(&[SeriesRow { faults: 1, ..row(4) }]);
        let cut = |line: &str| line.rsplit_once(',').expect("there are commas").0.to_owned();
        let older = text.lines().map(cut).collect::<Vec<_>>().join("\n");
        assert_eq!(read_series_csv(&older).expect("it is a series"), vec![row(4)]);
    }

    /// A damaged series is refused with the line and the column.
    #[test]
    fn a_damaged_series_is_refused() {
        let check = |text: &str, wanted: &str| {
            let error = read_series_csv(text).expect_err("it is damaged").to_string();
            assert_eq!(error, wanted);
        };
        check("", "series.csv:1: column `second` is missing");
        let text = series_csv(&[row(0), row(1)]);
        check(&text.replace("1500", "fast"), {
            "series.csv:2: column `intended_p99_us` is `fast`, no number"
        });
        let cut = text.trim_end().rsplit_once(',').expect("there are commas").0;
        check(cut, "series.csv:3: column `faults` has no field");
    }
}
