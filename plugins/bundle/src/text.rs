//! Reads TOML strictly: every error has its line, its field, what was found and what is allowed.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::name::suggestion;

/// What is wrong in a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong: field, value and range.
    pub message: String,
    /// The way out, where there is one to name.
    pub help: Option<String>,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

impl std::error::Error for TextError {}

/// Returns an error at a byte of a text.
pub(crate) fn error_at(text: &str, at: usize, message: String) -> TextError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    TextError { line, column, message, help: None }
}

/// Reads a whole text.
pub(crate) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, TextError> {
    DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        error_at(text, at, error.message().lines().collect::<Vec<_>>().join(", "))
    })
}

/// A value with the name that its errors give it.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) text: &'a str,
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// Returns an error at the field: its path and what is wrong with it.
    pub(crate) fn error(&self, what: impl fmt::Display) -> TextError {
        error_at(self.text, self.span.start, format!("{} {what}", self.path))
    }

    fn wrong_type(&self, wanted: &str) -> TextError {
        self.error(format_args!("is {}, and must be {wanted}", type_name(self.value)))
    }

    /// Returns a text of 1 to so many bytes without control characters.
    pub(crate) fn line(&self, bytes_max: usize) -> Result<String, TextError> {
        let text = self.value.as_str().ok_or_else(|| self.wrong_type("a text"))?;
        if text.is_empty() || text.len() > bytes_max {
            let bytes = text.len();
            return Err(self.error(format_args!("has {bytes} bytes, outside 1..={bytes_max}")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error("has a control character"));
        }
        Ok(text.to_owned())
    }

    /// Returns a whole number within a range.
    pub(crate) fn number(&self, unit: &str, range: (u64, u64)) -> Result<u64, TextError> {
        let number = self.value.as_integer().ok_or_else(|| self.wrong_type("a whole number"))?;
        let (min, max) = range;
        let outside = || self.error(format_args!("is {number}, outside {min}..={max} {unit}"));
        let digits = number.as_str().replace('_', "");
        let value = u64::from_str_radix(&digits, number.radix()).map_err(|_| outside())?;
        if (min..=max).contains(&value) { Ok(value) } else { Err(outside()) }
    }

    /// Returns one of some words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, TextError> {
        let found = self.line(64)?;
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        words.iter().find(|(name, _)| *name == found).map(|(_, value)| *value).ok_or_else(|| {
            let one_of = names.join(", ");
            let mut error = self.error(format_args!("is {found:?}, and must be one of {one_of}"));
            error.help = suggestion(&found, &names).map(|near| format!("did you mean {near:?}?"));
            error
        })
    }

    /// Returns the entries of a list of at most so many.
    pub(crate) fn list(&self, most: usize) -> Result<Vec<Self>, TextError> {
        let list = self.value.as_array().ok_or_else(|| self.wrong_type("a list"))?;
        if list.len() > most {
            let count = list.len();
            return Err(self.error(format_args!("has {count} entries, outside 0..={most}")));
        }
        let entry = |(at, value): (usize, &'a Spanned<DeValue<'a>>)| Self {
            text: self.text,
            path: format!("{}[{at}]", self.path),
            span: value.span(),
            value: value.get_ref(),
        };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// Returns the fields of a table with any names, at most so many.
    pub(crate) fn entries(&self, most: usize) -> Result<Vec<(&'a str, Self)>, TextError> {
        let table = self.value.as_table().ok_or_else(|| self.wrong_type("a table"))?;
        if table.len() > most {
            let count = table.len();
            return Err(self.error(format_args!("has {count} entries, outside 0..={most}")));
        }
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<_>)| {
            let name: &'a str = key.get_ref();
            let path = format!("{}.{name}", self.path);
            (name, Self { text: self.text, path, span: key.span(), value: value.get_ref() })
        };
        Ok(table.iter().map(entry).collect())
    }

    /// Returns the table as a section whose names are known.
    pub(crate) fn section(&self, known: &[&'static str]) -> Result<Section<'a>, TextError> {
        let table = self.value.as_table().ok_or_else(|| self.wrong_type("a table"))?;
        Section::new(self.text, &format!("{}.", self.path), table, known)
    }
}

/// A table of which every name is known.
pub(crate) struct Section<'a> {
    text: &'a str,
    path: String,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Takes a table, refusing a name that is not known.
    pub(crate) fn new(
        text: &'a str,
        path: &str,
        table: &'a DeTable<'a>,
        known: &[&'static str],
    ) -> Result<Self, TextError> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let shown: String = name.escape_debug().take(64).collect();
                let message = format!("{path}{shown} is not a field");
                let mut error = error_at(text, key.span().start, message);
                let near = suggestion(name, known).map(|near| format!("did you mean `{near}`?"));
                let all = || format!("fields are {}", known.join(", "));
                error.help = Some(near.unwrap_or_else(all));
                return Err(error);
            }
        }
        Ok(Self { text, path: path.to_owned(), table })
    }

    /// Returns a field if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'a>> {
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        let path = format!("{}{name}", self.path);
        Some(Field { text: self.text, path, span: value.span(), value: value.get_ref() })
    }

    /// Returns a field that must be there.
    pub(crate) fn need(&self, name: &str, example: &str) -> Result<Field<'a>, TextError> {
        self.get(name).ok_or_else(|| {
            let message = format!("{}{name} is missing", self.path);
            let help = Some(format!("write for example `{name} = {example}`"));
            TextError { help, ..error_at(self.text, 0, message) }
        })
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
