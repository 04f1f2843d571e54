//! Reads a plugin's configuration: JSON whose numbers are whole.
//!
//! Written for plugins: it adds a few kilobytes to a component, refuses what it does not know, and
//! every error names the field, its value and its range. There is no float, so that a
//! configuration means the same everywhere; a SKU of 64 bits keeps all of them.

use std::fmt;
use std::ops::RangeInclusive;

/// How deep lists and objects may be nested.
pub const DEPTH_MAX: u32 = 16;

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// Returns an error with a text for the operator.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text for the rest of the program, and at least one letter.
    #[doc(hidden)]
    pub fn leak(self) -> &'static str {
        if self.0.is_empty() { "refused" } else { self.0.leak() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A value of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Flag(bool),
    Number { negative: bool, magnitude: u64 },
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    const fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Number { .. } => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    fn wanted<T>(&self, path: &str, what: &str) -> Result<T, ConfigError> {
        Err(ConfigError(format!("{path} is {}, not {what}", self.what())))
    }

    fn int(&self, path: &str, range: &RangeInclusive<i64>) -> Result<i64, ConfigError> {
        let Self::Number { negative, magnitude } = *self else {
            return self.wanted(path, "a whole number");
        };
        let value = if negative {
            0_i64.checked_sub_unsigned(magnitude)
        } else {
            i64::try_from(magnitude).ok()
        };
        if let Some(value) = value.filter(|value| range.contains(value)) {
            return Ok(value);
        }
        let sign = if negative { "-" } else { "" };
        let (min, max) = (range.start(), range.end());
        Err(ConfigError(format!("{path} is {sign}{magnitude}, outside {min}..={max}")))
    }

    fn bits(&self, path: &str) -> Result<u64, ConfigError> {
        match self {
            Self::Number { negative: false, magnitude } => Ok(*magnitude),
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text
                .parse()
                .map_err(|_| ConfigError(format!("{path} is {text}, which is no 64-bit number"))),
            _ => self.wanted(path, "a number of 64 bits, or one as text"),
        }
    }
}

/// An object of a configuration. Each field is taken by name and is then gone; [`Object::end`]
/// refuses what is left, so that a mistyped name is found.
///
/// # Example
///
/// ```
/// use onhand_plugin_sdk::config::Object;
///
/// let mut config = Object::read(r#"{"steps": [{"units": 10}], "percnt": 5}"#)?;
/// for mut step in config.objects("steps")? {
///     assert_eq!(step.int("units", 1..=1_000)?, 10);
///     step.end()?;
/// }
/// let percent = config.int_or("percent", 0..=100, 3)?;
/// assert_eq!(percent, 3);
/// let error = config.end().err().map(|error| error.to_string());
/// assert_eq!(error.as_deref(), Some("percnt is not known here"));
/// # Ok::<(), onhand_plugin_sdk::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    path: String,
    fields: Vec<(String, Value)>,
}

impl Object {
    /// Reads a configuration; an empty text is an object without fields.
    ///
    /// # Errors
    ///
    /// Returns where the text stops being JSON with whole numbers, each name once in an object, or
    /// that it is no object.
    pub fn read(text: &str) -> Result<Self, ConfigError> {
        let fields = Vec::new();
        let empty = Self { path: String::new(), fields };
        if text.trim().is_empty() {
            return Ok(empty);
        }
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < reader.text.len() {
            return reader.fail("the end");
        }
        match value {
            Value::Object(fields) => Ok(Self { fields, ..empty }),
            other => other.wanted("the configuration", "an object"),
        }
    }

    fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        Some(self.fields.swap_remove(at).1).filter(|value| *value != Value::Null)
    }

    fn need(&mut self, name: &str) -> Result<Value, ConfigError> {
        self.take(name).ok_or_else(|| ConfigError(format!("{} is missing", self.path(name))))
    }

    /// Takes a whole number within a range.
    ///
    /// # Errors
    ///
    /// Returns that the field is missing, no whole number, or outside the range.
    pub fn int(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        self.need(name)?.int(&self.path(name), &range)
    }

    /// Takes a whole number within a range, or returns `default` if the field is not there.
    ///
    /// # Errors
    ///
    /// Returns that the field is no whole number, or outside the range.
    pub fn int_or(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
        default: i64,
    ) -> Result<i64, ConfigError> {
        self.take(name).map_or(Ok(default), |value| value.int(&self.path(name), &range))
    }

    /// Takes 64 bits, such as a SKU or a coupon: a number, or one as text, since much that writes
    /// JSON loses the last digits of a large one.
    ///
    /// # Errors
    ///
    /// Returns that the field is missing or no such number.
    pub fn bits(&mut self, name: &str) -> Result<u64, ConfigError> {
        self.need(name)?.bits(&self.path(name))
    }

    /// Takes a text.
    ///
    /// # Errors
    ///
    /// Returns that the field is missing or no text.
    pub fn text(&mut self, name: &str) -> Result<String, ConfigError> {
        match self.need(name)? {
            Value::Text(text) => Ok(text),
            other => other.wanted(&self.path(name), "a text"),
        }
    }

    /// Takes true or false, or returns `default` if the field is not there.
    ///
    /// # Errors
    ///
    /// Returns that the field is neither.
    pub fn flag_or(&mut self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Flag(flag)) => Ok(flag),
            Some(other) => other.wanted(&self.path(name), "true or false"),
        }
    }

    /// Returns whether a field is there and was not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, value)| known == name && *value != Value::Null)
    }

    /// Takes a list of whole numbers within a range; none if the field is not there.
    ///
    /// # Errors
    ///
    /// Returns that the field is no list, or the first entry that does not fit.
    pub fn ints(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Vec<i64>, ConfigError> {
        self.list(name)?.iter().map(|(path, value)| value.int(path, &range)).collect()
    }

    /// Takes a list of numbers of 64 bits, as [`Object::bits`]; none if the field is not there.
    ///
    /// # Errors
    ///
    /// Returns that the field is no list, or the first entry that does not fit.
    pub fn bits_list(&mut self, name: &str) -> Result<Vec<u64>, ConfigError> {
        self.list(name)?.iter().map(|(path, value)| value.bits(path)).collect()
    }

    /// Takes a list of objects; none if the field is not there.
    ///
    /// # Errors
    ///
    /// Returns that the field is no list, or the first entry that is no object.
    pub fn objects(&mut self, name: &str) -> Result<Vec<Self>, ConfigError> {
        let object = |(path, value): (String, Value)| match value {
            Value::Object(fields) => Ok(Self { path, fields }),
            other => other.wanted(&path, "an object"),
        };
        self.list(name)?.into_iter().map(object).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<(String, Value)>, ConfigError> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => {
                let entry = |(at, value)| (format!("{path}[{at}]"), value);
                Ok(list.into_iter().enumerate().map(entry).collect())
            }
            Some(other) => other.wanted(&path, "a list"),
        }
    }

    /// Says that every field was taken.
    ///
    /// # Errors
    ///
    /// Returns one that was not.
    pub fn end(self) -> Result<(), ConfigError> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => Err(ConfigError(format!("{} is not known here", self.path(name)))),
        }
    }
}

/// Reads JSON from its first byte to its last.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, wanted: &str) -> Result<T, ConfigError> {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Err(ConfigError(format!("line {line}, column {column}: {wanted} is wanted")))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte if it is the next one.
    fn took(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, ConfigError> {
        if self.text[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        self.fail("a value")
    }

    fn value(&mut self, depth: u32) -> Result<Value, ConfigError> {
        self.space();
        if depth > DEPTH_MAX {
            return self.fail("less nesting");
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Value::Text),
            Some(b't') => self.word("true", Value::Flag(true)),
            Some(b'f') => self.word("false", Value::Flag(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("a value"),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, ConfigError> {
        self.at += 1;
        let mut fields: Vec<(String, Value)> = Vec::new();
        self.space();
        if self.took(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a name in quotes");
            }
            let name = self.text()?;
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(ConfigError(format!("{name} is there twice")));
            }
            self.space();
            if !self.took(b':') {
                return self.fail("a colon");
            }
            let value = self.value(depth + 1)?;
            fields.push((name, value));
            self.space();
            if self.took(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.took(b',') {
                return self.fail("a comma or the object's end");
            }
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, ConfigError> {
        self.at += 1;
        let mut list = Vec::new();
        self.space();
        if self.took(b']') {
            return Ok(Value::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            self.space();
            if self.took(b']') {
                return Ok(Value::List(list));
            }
            if !self.took(b',') {
                return self.fail("a comma or the list's end");
            }
        }
    }

    fn number(&mut self) -> Result<Value, ConfigError> {
        let negative = self.took(b'-');
        let first = self.at;
        let mut magnitude = 0_u64;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            let grown = magnitude.checked_mul(10).and_then(|m| m.checked_add((byte - b'0').into()));
            let Some(grown) = grown else { return self.fail("a number of at most 64 bits") };
            magnitude = grown;
            self.at += 1;
        }
        let digits = self.at - first;
        if digits == 0 || (digits > 1 && self.text[first] == b'0') {
            return self.fail("a whole number");
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return self.fail("a number without fraction or exponent");
        }
        Ok(Value::Number { negative: negative && magnitude != 0, magnitude })
    }

    fn text(&mut self) -> Result<String, ConfigError> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let Some(byte) = self.peek() else { return self.fail("the text's end") };
            self.at += 1;
            match byte {
                // All bytes come from a `str`, so that they still are one.
                b'"' => return String::from_utf8(bytes).or_else(|_| self.fail("a text")),
                b'\\' => {
                    let character = self.escape()?;
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => {
                    self.at -= 1;
                    return self.fail("no control character");
                }
                other => bytes.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ConfigError> {
        let Some(byte) = self.peek() else { return self.fail("the text's end") };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.took(b'\\') && self.took(b'u') {
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                let Some(character) = char::from_u32(code) else {
                    return self.fail("a whole pair of surrogates");
                };
                character
            }
            _ => return self.fail("an escape that JSON knows"),
        })
    }

    fn hex(&mut self) -> Result<u32, ConfigError> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let Some(digit) = (*digit as char).to_digit(16) else {
                return self.fail("four hexadecimal digits");
            };
            code = code << 4 | digit;
        }
        if digits.len() != 4 {
            return self.fail("four hexadecimal digits");
        }
        self.at += 4;
        Ok(code)
    }
}
