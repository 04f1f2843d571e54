//! What an answer should have in it: members by name, or places by path.
//!
//! Source of the paths: RFC 9535, of which `$`, names, indexes and `[*]` are known here.

use std::fmt;

use serde_json::{Map, Value};

/// A place of an answer that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The member or path.
    pub path: String,
    /// What should be there.
    pub wanted: Value,
    /// What is there; `None` if nothing is.
    pub found: Option<Value>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, wanted, found } = self;
        match found {
            Some(found) => write!(f, "{path} is {found}, and should be {wanted}"),
            None => write!(f, "{path} is not there, and should be {wanted}"),
        }
    }
}

enum Step<'a> {
    Name(&'a str),
    Index(usize),
    All,
}

/// Takes a path apart, or says what it should be.
fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let wanted = || {
        format!(
            "{path:?} is no path that is known here: write it like $.orders[0].total or $.scores[*].verdict"
        )
    };
    let mut rest = path.strip_prefix('$').ok_or_else(wanted)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, next) = after.split_at(end);
            if name.is_empty() || name.contains(['*', ']', '\'']) {
                return Err(wanted());
            }
            steps.push(Step::Name(name));
            rest = next;
        } else {
            let after = rest.strip_prefix('[').ok_or_else(wanted)?;
            let (inner, next) = after.split_once(']').ok_or_else(wanted)?;
            let name = inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
            steps.push(match (name, inner) {
                (Some(name), _) => Step::Name(name),
                (None, "*") => Step::All,
                (None, digits) => Step::Index(digits.parse().map_err(|_| wanted())?),
            });
            rest = next;
        }
    }
    Ok(steps)
}

/// Returns the places that a path leads to.
fn select<'v>(steps: &[Step<'_>], root: &'v Value) -> Vec<&'v Value> {
    let mut places = vec![root];
    for step in steps {
        places = places
            .into_iter()
            .flat_map(|place| match step {
                Step::Name(name) => place.get(name).into_iter().collect::<Vec<_>>(),
                Step::Index(at) => place.get(at).into_iter().collect(),
                Step::All => place.as_array().into_iter().flatten().collect(),
            })
            .collect();
    }
    places
}

/// Checks the paths of what is expected.
pub(crate) fn check(expect: &Map<String, Value>) -> Result<(), String> {
    let mut paths = expect.keys().filter(|name| name.starts_with('$'));
    paths.try_for_each(|path| steps(path).map(drop))
}

/// Returns every place that is not as expected.
pub(crate) fn mismatches(expect: &Map<String, Value>, output: &Value) -> Vec<Mismatch> {
    let mut all = Vec::new();
    for (path, wanted) in expect {
        let places = match steps(path) {
            Ok(steps) => select(&steps, output),
            Err(_) => output.get(path).into_iter().collect(),
        };
        let other = |found: Option<&Value>| Mismatch {
            path: path.clone(),
            wanted: wanted.clone(),
            found: found.cloned(),
        };
        if places.is_empty() {
            all.push(other(None));
        }
        all.extend(places.into_iter().filter(|found| *found != wanted).map(|f| other(Some(f))));
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{check, mismatches};

    fn texts(expect: Value) -> Vec<String> {
        let output = json!({ "orders": [{ "total": 5 }, { "total": 7 }], "lines": [] });
        let Value::Object(expect) = expect else { panic!("an object") };
        check(&expect).expect("paths");
        mismatches(&expect, &output).iter().map(ToString::to_string).collect()
    }

    /// Members are compared as a whole, paths where they lead to, and a path to nowhere is told.
    #[test]
    fn answers_are_compared_by_member_and_path() {
        let none: [&str; 0] = [];
        assert_eq!(texts(json!({ "lines": [], "$.orders[1].total": 7 })), none);
        assert_eq!(texts(json!({ "$['orders'][0]['total']": 5 })), none);
        let said = "$.orders[*].total is 7, and should be 5";
        assert_eq!(texts(json!({ "$.orders[*].total": 5 })), [said]);
        let said = "$.orders[2].total is not there, and should be 5";
        assert_eq!(texts(json!({ "$.orders[2].total": 5 })), [said]);
        assert_eq!(texts(json!({ "lines": [1] })), ["lines is [], and should be [1]"]);
        assert_eq!(texts(json!({ "total": 1 })), ["total is not there, and should be 1"]);
    }

    /// A path that is not known is an error and no comparison that holds by mistake.
    #[test]
    fn unknown_paths_are_refused() {
        for path in ["$..total", "$.orders[", "$.orders[?(@.total)]", "$orders", "$.orders[-1]"] {
            let expect = Map::from_iter([(path.to_owned(), json!(1))]);
            assert!(check(&expect).is_err(), "{path}");
        }
    }
}
