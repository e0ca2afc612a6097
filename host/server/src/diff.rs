//! In what a JSON value differs from the one that was expected, field by field.

use std::fmt;

use serde_json::Value;
use tidegate_core::{Path, path::Segment};

/// How long a value may be in a message.
const VALUE_CHARS_MAX: usize = 120;

/// How much of a value has to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Objects have the expected members and no others.
    Whole,
    /// Objects may have more members than were expected.
    Part,
}

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// Where.
    pub(crate) path: Path,
    /// What was expected there; none where nothing was.
    pub(crate) expected: Option<Value>,
    /// What is there, if anything.
    pub(crate) found: Option<Value>,
}

impl Difference {
    /// The place as a JSON Pointer.
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.path.0 {
            pointer.push('/');
            match segment {
                Segment::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Segment::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { path, expected, found } = self;
        match (expected, found) {
            (Some(expected), Some(found)) => {
                write!(f, "`{path}` is {}, expected {}", short(found), short(expected))
            }
            (Some(expected), None) => {
                write!(f, "`{path}` is missing, expected {}", short(expected))
            }
            (None, Some(found)) => write!(f, "`{path}` is {}, expected nothing", short(found)),
            (None, None) => write!(f, "`{path}`"),
        }
    }
}

/// A value as it stands in a message.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// All places where `found` differs from what was expected, in the order of fields.
pub(crate) fn differences(expected: &Value, found: &Value, extent: Extent) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut path = Path::ROOT;
    walk(expected, found, extent, &mut path, &mut differences);
    differences
}

fn walk(
    expected: &Value,
    found: &Value,
    extent: Extent,
    path: &mut Path,
    differences: &mut Vec<Difference>,
) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                path.0.push(Segment::Key(key.clone()));
                match found.get(key) {
                    Some(found) => walk(value, found, extent, path, differences),
                    None => differences.push(differs(path, Some(value), None)),
                }
                path.0.pop();
            }
            let surplus = found.iter().filter(|(key, _)| !expected.contains_key(*key));
            for (key, value) in surplus.filter(|_| extent == Extent::Whole) {
                path.0.push(Segment::Key(key.clone()));
                differences.push(differs(path, None, Some(value)));
                path.0.pop();
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            for i in 0..expected.len().max(found.len()) {
                path.0.push(Segment::Index(i as u32));
                match (expected.get(i), found.get(i)) {
                    (Some(expected), Some(found)) => {
                        walk(expected, found, extent, path, differences);
                    }
                    (expected, found) => differences.push(differs(path, expected, found)),
                }
                path.0.pop();
            }
        }
        (expected, found) if same(expected, found) => {}
        (expected, found) => differences.push(differs(path, Some(expected), Some(found))),
    }
}

fn differs(path: &Path, expected: Option<&Value>, found: Option<&Value>) -> Difference {
    Difference { path: path.clone(), expected: expected.cloned(), found: found.cloned() }
}

/// Numbers are compared as numbers: YAML has no way to tell `1` from `1.0` that people would use.
fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: &Value, found: &Value, extent: Extent, said: &[&str]) {
        let found = differences(expected, found, extent);
        let found: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(found, said);
    }

    #[test]
    fn each_field_that_differs_is_named_with_both_values() {
        let expected = json!({ "a": 1, "m": { "id": "x", "n": null }, "gone": true, "l": [1, 2] });
        let found = json!({ "a": 1.0, "m": { "id": "y", "n": null, "z": 0 }, "l": [1, 3, 4] });
        let always = [
            "`gone` is missing, expected true",
            "`l[1]` is 3, expected 2",
            "`l[2]` is 4, expected nothing",
            "`m.id` is \"y\", expected \"x\"",
        ];
        check(&expected, &found, Extent::Part, &always);
        let whole = [&always[..], &["`m.z` is 0, expected nothing"]].concat();
        check(&expected, &found, Extent::Whole, &whole);
    }

    #[test]
    fn large_integers_are_not_compared_as_floats() {
        let (one, other) = (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64));
        assert_eq!(differences(&one, &other, Extent::Whole).len(), 1);
        assert!(differences(&one, &one, Extent::Whole).is_empty());
    }

    #[test]
    fn a_place_is_a_pointer_too() {
        let found = differences(&json!({ "a/b": [1] }), &json!({ "a/b": [2] }), Extent::Part);
        assert_eq!(found[0].pointer(), "/a~1b/0");
    }
}
