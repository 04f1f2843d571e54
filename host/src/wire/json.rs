//! A strict JSON tree that borrows from the body.
//!
//! What is refused here: text that is not UTF-8, a byte order mark, trailing bytes, numbers that
//! are not integers or beyond 64 bits, members that occur twice, and too many or too deep values.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::problem::Problem;

/// Most values in one body; one takes 32 bytes, and 64 with its name as a member of an object, so
/// that this bounds the tree's memory.
pub(crate) const NODES_MAX: u32 = 100_000;

/// Deepest nesting of a body, as the JSON reader bounds it. Kept low: no route needs more than 6.
pub(crate) const DEPTH_MAX: u32 = 32;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    /// A number that is not an integer of 64 bits; kept only to be refused where it stands.
    Fraction(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Node<'_> {
    /// Names the kind of value for an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Fraction(_) => "a number that is not an integer of 64 bits",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads one body.
pub(crate) fn parse(body: &[u8]) -> Result<Node<'_>, Problem> {
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Err(Problem::invalid("body starts with a byte order mark; send plain UTF-8"));
    }
    let text = std::str::from_utf8(body).map_err(|e| {
        Problem::invalid(format!("body is not UTF-8: first bad byte at offset {}", e.valid_up_to()))
    })?;
    let budget = Budget { nodes: Cell::new(NODES_MAX) };
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = Seed { budget: &budget, depth: 0 }
        .deserialize(&mut reader)
        .and_then(|node| reader.end().map(|()| node))
        .map_err(|e| Problem::invalid(format!("body is not valid JSON: {e}")))?;
    Ok(node)
}

struct Budget {
    nodes: Cell<u32>,
}

#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Budget,
    depth: u32,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format_args!("values are nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node<'de>, D::Error> {
        let left = self.budget.nodes.get();
        if left == 0 {
            return Err(D::Error::custom(format_args!("body has more than {NODES_MAX} values")));
        }
        self.budget.nodes.set(left - 1);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(i128::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(i128::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Fraction(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(inner)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            // No route has an object with more members; more would make this search quadratic.
            if members.len() >= MEMBERS_MAX {
                let text = format_args!("an object has more than {MEMBERS_MAX} members");
                return Err(A::Error::custom(text));
            }
            if members.iter().any(|(known, _)| *known == name) {
                let short = super::field::shorten(&name);
                return Err(A::Error::custom(format_args!("member \"{short}\" occurs twice")));
            }
            let node = map.next_value_seed(inner)?;
            members.push((name, node));
        }
        Ok(Node::Object(members))
    }
}

/// Most members of one object.
pub(crate) const MEMBERS_MAX: usize = 64;

/// Reads a member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused is refused with a position or a reason that names the cause.
    #[test]
    fn malformed_bodies_are_refused_with_their_cause() {
        let deep = |n: usize| [b"[".repeat(n), b"]".repeat(n)].concat();
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"".to_vec(), "EOF while parsing a value at line 1 column 0"),
            (b"{".to_vec(), "EOF while parsing an object"),
            (b"{} x".to_vec(), "trailing characters at line 1 column 4"),
            (b"\xEF\xBB\xBF{}".to_vec(), "byte order mark"),
            (b"{\"a\":\"\xff\"}".to_vec(), "first bad byte at offset 6"),
            (br#"{"a":1,"a":2}"#.to_vec(), "member \"a\" occurs twice"),
            (br#"{"a":1,"\u0061":2}"#.to_vec(), "member \"a\" occurs twice"),
            (br#"{"a":NaN}"#.to_vec(), "expected value at line 1 column 6"),
            (br#"{"a":1e999}"#.to_vec(), "number out of range"),
            (br#"{"a":"\ud800"}"#.to_vec(), "line 1 column"),
            (br#"{"a":01}"#.to_vec(), "invalid number"),
            (br"{'a':1}".to_vec(), "key must be a string"),
            (deep(33), "nested deeper than 32"),
            (deep(1_000_000), "nested deeper than 32"),
            (format!("[{}1]", "1,".repeat(100_000)).into_bytes(), "more than 100000 values"),
        ];
        for (body, cause) in cases {
            let problem = parse(&body).expect_err("must be refused");
            assert!(problem.detail.contains(cause), "{} lacks {cause}", problem.detail);
        }
        assert!(parse(&deep(32)).is_ok());
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(parse(b"18446744073709551615").ok(), Some(Node::Integer(u64::MAX.into())));
        assert_eq!(parse(b"-9223372036854775808").ok(), Some(Node::Integer(i64::MIN.into())));
        assert!(matches!(parse(b"18446744073709551616").ok(), Some(Node::Fraction(_))));
        assert!(matches!(parse(b"1.0").ok(), Some(Node::Fraction(_))));
    }
}
