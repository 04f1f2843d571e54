//! Members of a JSON object by name, with errors that name pointer, value, range and way out.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::json::Node;
use crate::problem::{FieldError, Problem};

/// Longest piece of a caller's text that an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 60;

/// Where a value stands in the body: a chain back to the root, written out only for an error.
#[derive(Clone, Copy)]
pub(crate) enum Place<'p> {
    /// The body itself.
    Root,
    /// A member of an object.
    Member(&'p Place<'p>, &'p str),
    /// An entry of a list.
    Entry(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// Writes the JSON pointer. Source: RFC 6901 §3.
    pub(crate) fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(parent, name) => {
                let name = shorten(name).replace('~', "~0").replace('/', "~1");
                format!("{}/{name}", parent.pointer())
            }
            Self::Entry(parent, at) => format!("{}/{at}", parent.pointer()),
        }
    }

    /// Makes the problem that this value is not as it must be.
    pub(crate) fn invalid(&self, detail: impl Into<String>) -> Problem {
        Problem::field(FieldError {
            pointer: self.pointer(),
            code: "invalid_request",
            detail: detail.into(),
        })
    }
}

/// Cuts a caller's text to what an error may repeat, and makes control characters visible.
pub(crate) fn shorten(text: &str) -> String {
    let mut short = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == ECHO_CHARS_MAX {
            short.push('…');
            break;
        }
        short.extend(c.escape_debug());
    }
    short
}

/// Describes a value for an error: its kind and, where short, itself.
fn describe(node: &Node<'_>) -> String {
    match node {
        Node::Integer(value) => value.to_string(),
        Node::Text(text) => format!("\"{}\"", shorten(text)),
        Node::Bool(value) => value.to_string(),
        Node::Null | Node::Fraction(_) | Node::List(_) | Node::Object(_) => node.kind().to_owned(),
    }
}

/// An object whose members are taken by name; [`Members::open`] refuses those that are not known.
pub(crate) struct Members<'n, 'a, 'p> {
    entries: &'n [(Cow<'a, str>, Node<'a>)],
    place: &'p Place<'p>,
    known: &'static [&'static str],
}

impl<'n, 'a, 'p> Members<'n, 'a, 'p> {
    /// Opens an object whose members must all be among `known`.
    pub(crate) fn open(
        node: &'n Node<'a>,
        place: &'p Place<'p>,
        known: &'static [&'static str],
    ) -> Result<Self, Problem> {
        let Node::Object(members) = node else {
            return Err(place.invalid(format!("must be an object, is {}", describe(node))));
        };
        let this = Self { entries: members, place, known };
        for (name, _) in members {
            if !known.contains(&name.as_ref()) {
                return Err(this.unknown(name));
            }
        }
        Ok(this)
    }

    fn unknown(&self, name: &str) -> Problem {
        let mut detail = format!("member \"{}\" is not known here", shorten(name));
        match closest(name, self.known) {
            Some(known) => {
                let _ = write!(detail, "; did you mean \"{known}\"?");
            }
            None => {
                let _ = write!(detail, "; known are {}", self.known.join(", "));
            }
        }
        let pointer = Place::Member(self.place, name).pointer();
        Problem::unknown_field(FieldError { pointer, code: "unknown_field", detail })
    }

    /// Returns a member that is present and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node<'a>> {
        debug_assert!(self.known.contains(&name), "{name} is not declared as known");
        let found = self.entries.iter().find(|(known, _)| known == name);
        found.map(|(_, node)| node).filter(|node| !matches!(node, Node::Null))
    }

    /// Returns a member that must be present.
    pub(crate) fn need(&self, name: &'static str) -> Result<&'n Node<'a>, Problem> {
        self.get(name).ok_or_else(|| self.at(name).invalid("is required"))
    }

    /// Returns where a member stands.
    pub(crate) fn at(&self, name: &'p str) -> Place<'p> {
        Place::Member(self.place, name)
    }

    /// Returns an integer of a range.
    pub(crate) fn integer(&self, name: &'static str, min: u64, max: u64) -> Result<u64, Problem> {
        integer(self.need(name)?, &self.at(name), min, max)
    }

    /// Returns an integer of a range, or `None` where the member is absent.
    pub(crate) fn integer_or_none(
        &self,
        name: &'static str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Problem> {
        self.get(name).map(|node| integer(node, &self.at(name), min, max)).transpose()
    }

    /// Returns a text.
    pub(crate) fn text(&self, name: &'static str) -> Result<&'n str, Problem> {
        text(self.need(name)?, &self.at(name))
    }

    /// Reads the members of each entry of a list of at most `max`, all of them objects.
    pub(crate) fn objects<T>(
        &self,
        name: &'static str,
        max: usize,
        known: &'static [&'static str],
        read: impl Fn(&Members<'n, 'a, '_>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let at = self.at(name);
        let nodes = self.list(name, max)?.iter().enumerate();
        nodes
            .map(|(index, node)| read(&Members::open(node, &Place::Entry(&at, index), known)?))
            .collect()
    }

    /// Returns the entries of a list of at most `max`.
    pub(crate) fn list(&self, name: &'static str, max: usize) -> Result<&'n [Node<'a>], Problem> {
        list(self.need(name)?, &self.at(name), max)
    }
}

/// Reads an integer of a range.
pub(crate) fn integer(
    node: &Node<'_>,
    place: &Place<'_>,
    min: u64,
    max: u64,
) -> Result<u64, Problem> {
    let value = match node {
        Node::Integer(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    match value {
        Some(value) if value >= min && value <= max => Ok(value),
        _ => {
            Err(place
                .invalid(format!("must be an integer from {min} to {max}, is {}", describe(node))))
        }
    }
}

/// Reads an amount: an integer from 0 to `max`.
pub(crate) fn amount(node: &Node<'_>, place: &Place<'_>, max: i64) -> Result<i64, Problem> {
    // The range was checked, so the conversion keeps the value.
    integer(node, place, 0, max.unsigned_abs()).map(|value| value as i64)
}

/// Reads a text.
pub(crate) fn text<'n>(node: &'n Node<'_>, place: &Place<'_>) -> Result<&'n str, Problem> {
    match node {
        Node::Text(text) => Ok(text),
        _ => Err(place.invalid(format!("must be a string, is {}", describe(node)))),
    }
}

/// Reads a list of at most `max` entries.
pub(crate) fn list<'n, 'a>(
    node: &'n Node<'a>,
    place: &Place<'_>,
    max: usize,
) -> Result<&'n [Node<'a>], Problem> {
    match node {
        Node::List(nodes) if nodes.len() <= max => Ok(nodes),
        Node::List(nodes) => {
            let count = nodes.len();
            Err(place.invalid(format!("has {count} entries, at most {max} are allowed")))
        }
        _ => Err(place.invalid(format!("must be a list, is {}", describe(node)))),
    }
}

/// Reads one of several words.
pub(crate) fn choice<T: Copy>(
    node: &Node<'_>,
    place: &Place<'_>,
    choices: &[(&str, T)],
) -> Result<T, Problem> {
    let word = text(node, place)?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let mut detail = format!("\"{}\" is not one of {}", shorten(word), names.join(", "));
    if let Some(near) = closest(word, &names) {
        let _ = write!(detail, "; did you mean \"{near}\"?");
    }
    Err(place.invalid(detail))
}

/// Returns the known word that a typing error most likely meant.
///
/// At most one edit in three characters counts as a typing error; so does the start of a known
/// word, as `loc` for `location`.
pub(crate) fn closest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    /// Longest word that is compared; the comparison costs the product of both lengths.
    const WORD_BYTES_MAX: usize = 64;
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let edits = |name: &str| distance(word.as_bytes(), name.to_ascii_lowercase().as_bytes());
    let near = known.iter().map(|name| (edits(name), *name));
    let (edits, name) = near.min_by_key(|(edits, _)| *edits)?;
    if edits <= word.len().max(name.len()).div_ceil(3) {
        return Some(name);
    }
    known.iter().find(|name| word.len() >= 3 && name.starts_with(word.as_str())).copied()
}

/// Counts the edits between two words, a swap of neighbours as one.
///
/// Source: optimal string alignment distance (Damerau 1964, Levenshtein 1966).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut rows = vec![0_usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let cost = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[(i - 1) * width + j] + 1)
                    .min(rows[i * width + j - 1] + 1)
                    .min(rows[(i - 1) * width + j - 1] + cost);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_finds_typing_errors_and_nothing_else() {
        let known = ["quantity", "sku", "location", "price"];
        assert_eq!(closest("quantiy", &known), Some("quantity"));
        assert_eq!(closest("uqantity", &known), Some("quantity"));
        assert_eq!(closest("SKU", &known), Some("sku"));
        assert_eq!(closest("loc", &known), Some("location"));
        assert_eq!(closest("colour", &known), None);
        assert_eq!(closest("", &known), None);
        assert_eq!(closest(&"x".repeat(10_000), &known), None);
    }

    #[test]
    fn pointers_escape_slash_and_tilde() {
        let root = Place::Root;
        let member = Place::Member(&root, "a/b~c");
        assert_eq!(Place::Entry(&member, 3).pointer(), "/a~1b~0c/3");
    }

    #[test]
    fn echoed_text_is_short_and_has_no_control_characters() {
        assert_eq!(shorten("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shorten(&"x".repeat(500)).chars().count(), 61);
    }
}
