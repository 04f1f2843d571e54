//! The error of a setting outside its range, shared by all built-in policies.

use std::fmt;

/// A setting that is outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Name of the setting.
    pub field: &'static str,
    /// Index of the rule or promotion that has it; 0 where there is only one.
    pub index: usize,
    /// Value found.
    pub value: i64,
    /// Least value allowed.
    pub min: i64,
    /// Largest value allowed.
    pub max: i64,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, index, value, min, max } = self;
        write!(f, "{field} of entry {index} is {value}, outside {min}..={max}")
    }
}

impl std::error::Error for SettingError {}

/// Checks one setting against its range.
pub(crate) fn setting(
    field: &'static str,
    index: usize,
    value: i64,
    min: i64,
    max: i64,
) -> Result<(), SettingError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(SettingError { field, index, value, min, max })
}
