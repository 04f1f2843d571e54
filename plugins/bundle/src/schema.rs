//! The part of JSON Schema that a plugin's configuration is checked by.
//!
//! A schema comes from a partner and is run by a host, so that it has no references, no regular
//! expressions and no network: its work is bounded by its size times the configuration's. A
//! keyword that is not known is refused when the schema is read, never passed over.

use std::fmt;

use serde_json::{Map, Number, Value};

use crate::name::suggestion;

/// How deep a schema may be nested.
pub const DEPTH_MAX: usize = 16;
/// Most schemas inside a schema, itself included.
pub const NODES_MAX: usize = 1_000;
/// Most faults that a check names.
const FAULTS_MAX: usize = 32;

const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    // What only people read.
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
];
const TYPES: &[&str] = &["null", "boolean", "object", "array", "number", "string", "integer"];

/// A JSON Schema of the keywords that are known here.
///
/// Known are `type`, `properties`, `required`, `additionalProperties`, `items`, `enum`, `const`,
/// `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`,
/// `minItems`, `maxItems`, `uniqueItems`, `minProperties`, `maxProperties`, with the meaning of
/// draft 2020-12, and `$schema`, `$comment`, `title`, `description`, `default`, `examples`, which
/// only people read.
///
/// Source: JSON Schema draft 2020-12, Core and Validation.
///
/// # Example
///
/// ```
/// use onhand_plugin_bundle::Schema;
/// use serde_json::json;
///
/// let schema = Schema::read(json!({
///     "type": "object",
///     "properties": { "percent": { "type": "integer", "minimum": 1, "maximum": 50 } },
///     "required": ["percent"],
///     "additionalProperties": false,
/// }))?;
/// assert!(schema.check(&json!({ "percent": 10 })).is_empty());
/// let faults = schema.check(&json!({ "percent": 70 }));
/// assert_eq!(faults[0].to_string(), "config.percent is 70, and must be at most 50");
/// # Ok::<(), onhand_plugin_bundle::SchemaError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: Value,
}

/// Why a schema is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Place in the schema.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SchemaError {}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Place in the configuration, from `config`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.message)
    }
}

impl std::error::Error for ConfigFault {}

impl Schema {
    /// Takes a schema.
    ///
    /// # Errors
    ///
    /// Returns the first keyword that is not known or has a value of another type than it may.
    pub fn read(root: Value) -> Result<Self, SchemaError> {
        walk(&root, "config_schema", 0, &mut 0)?;
        Ok(Self { root })
    }

    /// Returns the schema as JSON.
    pub const fn as_json(&self) -> &Value {
        &self.root
    }

    /// Checks a configuration; returns what is wrong with it, at most 32 faults.
    pub fn check(&self, config: &Value) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        check(&self.root, config, "config", &mut faults);
        faults
    }
}

/// Checks the schema itself.
fn walk(schema: &Value, path: &str, depth: usize, nodes: &mut usize) -> Result<(), SchemaError> {
    let error = |message: String| Err(SchemaError { path: path.to_owned(), message });
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return error(format!("deeper than {DEPTH_MAX} levels or more than {NODES_MAX} schemas"));
    }
    let map = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(map) => map,
        _ => return error("a schema is a table, or true, or false".to_owned()),
    };
    for (keyword, value) in map {
        if !KEYWORDS.contains(&keyword.as_str()) {
            let near = suggestion(keyword, KEYWORDS);
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let keyword: String = keyword.escape_debug().take(64).collect();
            return error(format!("keyword {keyword:?} is not known here{near}"));
        }
        if let Some(wanted) = wanted(keyword, value) {
            return error(format!("{keyword} must be {wanted}"));
        }
    }
    let inner = |name: &str, schema: &Value, nodes: &mut usize| {
        walk(schema, &format!("{path}.{name}"), depth + 1, nodes)
    };
    if let Some(Value::Object(properties)) = map.get("properties") {
        for (name, schema) in properties {
            inner(name, schema, nodes)?;
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(schema) = map.get(keyword) {
            inner(keyword, schema, nodes)?;
        }
    }
    Ok(())
}

/// Returns what the value of a keyword must be, if it is not that.
fn wanted(keyword: &str, value: &Value) -> Option<&'static str> {
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let (fine, wanted) = match keyword {
        "type" => {
            let some = |list: &Vec<Value>| !list.is_empty() && list.iter().all(known);
            (known(value) || value.as_array().is_some_and(some), "a type or a list of types")
        }
        "properties" => (value.is_object(), "a table of schemas"),
        "required" => {
            let texts = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
            (texts, "a list of names")
        }
        "enum" => (value.as_array().is_some_and(|list| !list.is_empty()), "a list of values"),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            (value.is_number(), "a number")
        }
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            (value.is_u64(), "a whole number from 0")
        }
        "uniqueItems" => (value.is_boolean(), "true or false"),
        _ => (true, ""),
    };
    (!fine).then_some(wanted)
}

fn check(schema: &Value, value: &Value, path: &str, faults: &mut Vec<ConfigFault>) {
    if faults.len() >= FAULTS_MAX {
        return;
    }
    let mut fault = |message: String| faults.push(ConfigFault { path: path.to_owned(), message });
    let map = match schema {
        Value::Object(map) => map,
        Value::Bool(false) => return fault("is not allowed".to_owned()),
        _ => return,
    };
    let found = shown(value);
    if let Some(types) = map.get("type") {
        let is = |name: &Value| name.as_str().is_some_and(|name| has_type(value, name));
        let fine = types.as_array().map_or_else(|| is(types), |list| list.iter().any(is));
        if !fine {
            // What has another type breaks other rules too; those say nothing new.
            return fault(format!("is {found}, and its type must be {}", shown(types)));
        }
    }
    if let Some(Value::Array(list)) = map.get("enum").filter(|list| !holds(list, value)) {
        let all: Vec<String> = list.iter().map(shown).collect();
        fault(format!("is {found}, and must be one of {}", all.join(", ")));
    }
    if let Some(only) = map.get("const").filter(|only| !same(only, value)) {
        fault(format!("is {found}, and must be {}", shown(only)));
    }
    match value {
        Value::Number(number) => check_number(map, number, &mut fault),
        Value::String(text) => {
            let length = text.chars().count() as u64;
            count(map, ["minLength", "maxLength"], length, "characters", &mut fault);
        }
        Value::Array(list) => {
            count(map, ["minItems", "maxItems"], list.len() as u64, "entries", &mut fault);
            let unique = map.get("uniqueItems") == Some(&Value::Bool(true));
            // Quadratic in a list whose length the size of a configuration bounds.
            let twice =
                |(at, one): (usize, &Value)| list[..at].iter().any(|other| same(other, one));
            if unique && list.iter().enumerate().any(twice) {
                fault("has an entry twice".to_owned());
            }
            if let Some(items) = map.get("items") {
                for (at, one) in list.iter().enumerate() {
                    check(items, one, &format!("{path}[{at}]"), faults);
                }
            }
        }
        Value::Object(fields) => check_object(map, fields, path, faults),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Whether a number stands to its bound as a rule says.
type Holds = fn(std::cmp::Ordering) -> bool;

fn check_number(map: &Map<String, Value>, number: &Number, fault: &mut impl FnMut(String)) {
    let rules: [(&str, &str, Holds); 4] = [
        ("minimum", "at least", std::cmp::Ordering::is_ge),
        ("maximum", "at most", std::cmp::Ordering::is_le),
        ("exclusiveMinimum", "more than", std::cmp::Ordering::is_gt),
        ("exclusiveMaximum", "less than", std::cmp::Ordering::is_lt),
    ];
    for (keyword, words, holds) in rules {
        let Some(Value::Number(bound)) = map.get(keyword) else { continue };
        if !compare(number, bound).is_some_and(holds) {
            fault(format!("is {number}, and must be {words} {bound}"));
        }
    }
}

fn check_object(
    map: &Map<String, Value>,
    fields: &Map<String, Value>,
    path: &str,
    faults: &mut Vec<ConfigFault>,
) {
    let mut fault = |message: String| faults.push(ConfigFault { path: path.to_owned(), message });
    let names = ["minProperties", "maxProperties"];
    count(map, names, fields.len() as u64, "fields", &mut fault);
    if let Some(Value::Array(required)) = map.get("required") {
        for name in required.iter().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                fault(format!("lacks its field {name:?}"));
            }
        }
    }
    let properties = map.get("properties").and_then(Value::as_object);
    let known: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    for (name, value) in fields {
        let shown: String = name.escape_debug().take(64).collect();
        let inner = format!("{path}.{shown}");
        let own = properties.and_then(|properties| properties.get(name));
        match own.or_else(|| map.get("additionalProperties")) {
            Some(Value::Bool(false)) if own.is_none() => {
                let near = suggestion(name, &known);
                let near = near.map_or_else(String::new, |n| format!("; did you mean {n:?}?"));
                faults.push(ConfigFault { path: inner, message: format!("is not a field{near}") });
            }
            Some(schema) => check(schema, value, &inner, faults),
            None => {}
        }
    }
}

fn count(
    map: &Map<String, Value>,
    [min, max]: [&str; 2],
    value: u64,
    unit: &str,
    fault: &mut impl FnMut(String),
) {
    let bound = |name| map.get(name).and_then(Value::as_u64);
    if let Some(min) = bound(min).filter(|&min| value < min) {
        fault(format!("has {value} {unit}, and must have at least {min}"));
    }
    if let Some(max) = bound(max).filter(|&max| value > max) {
        fault(format!("has {value} {unit}, and must have at most {max}"));
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        // 1.0 is a whole number in JSON Schema.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(is_whole),
        _ => false,
    }
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0
}

fn holds(list: &Value, value: &Value) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|one| same(one, value)))
}

/// Returns whether two values are the same: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            compare(a, b).is_some_and(std::cmp::Ordering::is_eq)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Compares two numbers: exactly if both are whole.
fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Returns a value as short text.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let start: String = text.chars().take(57).collect();
    format!("{start}...")
}
