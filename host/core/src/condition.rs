//! The one condition language: `when` of stages, routes of sinks, filters of sources.
//!
//! ```yaml
//! when:
//!   all:
//!     - { field: event_type, equals: transaction }
//!     - { field: amount, range: { min: 1000 } }
//!     - not: { field: merchant.id, prefix: test- }
//! ```
//!
//! Written as a tree of tests on fields, read as columns. A field without a value meets only its
//! own test: what is missing meets `exists: false`, what is null meets `equals: null`, and a value
//! of another type than the test's meets nothing but `exists: true`. `not` turns its condition
//! round, whatever the reason that it was not met.

mod compile;
mod evaluate;

use std::{borrow::Cow, fmt, str::FromStr};

use crate::{
    description::{HostValue, Origin},
    path::Path,
};

pub use compile::{Compiled, InvalidCondition};

/// A condition on a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Condition {
    /// Each of these is met; nothing to meet is met.
    All(Vec<Condition>),
    /// At least one of these is met.
    Any(Vec<Condition>),
    /// It is not met.
    Not(Box<Condition>),
    /// A field meets a test.
    Test {
        /// A field of the record, or a host value.
        field: Origin,
        /// The test.
        test: Test,
    },
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is this. `equals: null` is met by a null and by nothing else.
    Equals(Literal),
    /// It is one of these.
    In(Vec<Literal>),
    /// It lies between these.
    Range(Range),
    /// It is a text that begins with this.
    Prefix(String),
    /// It has a value other than null (`true`), or it is missing (`false`).
    Exists(bool),
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each is the JSON type of its name")]
pub enum Literal {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("null"),
            Literal::Boolean(value) => write!(f, "{value}"),
            Literal::Integer(value) => write!(f, "{value}"),
            Literal::Float(value) => write!(f, "{value}"),
            Literal::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Bounds of a value: numbers, RFC 3339 timestamps, dates (`YYYY-MM-DD`), or other texts, which
/// are compared byte by byte.
#[derive(
    Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[schemars(rename = "Bounds")]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least value that lies inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Literal>,
    /// The greatest value that lies inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Literal>,
    /// Values inside are greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Literal>,
    /// Values inside are less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Literal>,
}

/// A condition: either one of `all`, `any`, `not`, or `field` with exactly one test.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Condition")]
struct Written {
    /// Each of these conditions is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<Vec<Condition>>,
    /// At least one of these conditions is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<Vec<Condition>>,
    /// This condition is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not: Option<Box<Condition>>,
    /// The field that is tested: a path such as `merchant.id`, or a host value such as
    /// `@arrival-time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The field is this.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    equals: Option<Literal>,
    /// The field is one of these.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<Literal>>,
    /// The field lies between these bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<Range>,
    /// The field is a text that begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The field has a value other than null (`true`), or is missing (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
}

/// A key that is there, be it with null.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Literal>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// What is written is no condition.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Malformed {
    #[error("a condition is one of `all`, `any`, `not`, or `field` with a test; found {0}")]
    Form(String),
    #[error(
        "`field: {field}` has {found}; give exactly one of `equals`, `in`, `range`, `prefix`, \
         `exists`"
    )]
    Tests { field: String, found: String },
    #[error("`field`: {0}")]
    Field(String),
    #[error("`range` of `{0}` has no bound: give `min`, `max`, `above` or `below`")]
    Unbounded(String),
}

impl TryFrom<Written> for Condition {
    type Error = Malformed;

    fn try_from(written: Written) -> Result<Self, Malformed> {
        let Written { all, any, not, field, equals, one_of, range, prefix, exists } = written;
        let tests = [
            equals.map(|literal| ("equals", Test::Equals(literal))),
            one_of.map(|literals| ("in", Test::In(literals))),
            range.map(|range| ("range", Test::Range(range))),
            prefix.map(|prefix| ("prefix", Test::Prefix(prefix))),
            exists.map(|exists| ("exists", Test::Exists(exists))),
        ];
        let mut tests: Vec<_> = tests.into_iter().flatten().collect();
        let names = |tests: &[(&'static str, Test)]| -> Vec<&'static str> {
            tests.iter().map(|(name, _)| *name).collect()
        };
        let forms = [
            all.map(|conditions| ("all", Condition::All(conditions))),
            any.map(|conditions| ("any", Condition::Any(conditions))),
            not.map(|condition| ("not", Condition::Not(condition))),
        ];
        let mut forms: Vec<_> = forms.into_iter().flatten().collect();
        match (field, forms.len()) {
            (None, 1) if tests.is_empty() => Ok(forms.remove(0).1),
            (Some(field), 0) if tests.len() == 1 => {
                let test = tests.remove(0).1;
                if matches!(&test, Test::Range(range) if *range == Range::default()) {
                    return Err(Malformed::Unbounded(field));
                }
                let field = parse_field(&field).map_err(Malformed::Field)?;
                Ok(Condition::Test { field, test })
            }
            (Some(field), 0) => {
                let found = listed(&names(&tests), "no test");
                Err(Malformed::Tests { field, found })
            }
            (field, _) => {
                let mut found: Vec<_> = field.iter().map(|_| "field").collect();
                found.extend(forms.iter().map(|(name, _)| *name));
                found.extend(names(&tests));
                Err(Malformed::Form(listed(&found, "nothing")))
            }
        }
    }
}

fn listed(names: &[&str], none: &str) -> String {
    match names {
        [] => none.to_owned(),
        names => {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            quoted.join(" and ")
        }
    }
}

/// A host value by its name, or a path.
fn parse_field(text: &str) -> Result<Origin, String> {
    if text.starts_with('@') {
        let known = HostValue::ALL.into_iter().find(|value| value.name() == text);
        return known.map(Origin::Host).ok_or_else(|| {
            let names: Vec<_> = HostValue::ALL.iter().map(|value| value.name()).collect();
            format!("`{text}` is no host value; there are {}", names.join(", "))
        });
    }
    Path::from_str(text).map(Origin::Field).map_err(|error| error.to_string())
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Self {
        let written = Written::default();
        match condition {
            Condition::All(conditions) => Written { all: Some(conditions), ..written },
            Condition::Any(conditions) => Written { any: Some(conditions), ..written },
            Condition::Not(condition) => Written { not: Some(condition), ..written },
            Condition::Test { field, test } => {
                let written = Written { field: Some(field.to_string()), ..written };
                match test {
                    Test::Equals(literal) => Written { equals: Some(literal), ..written },
                    Test::In(literals) => Written { one_of: Some(literals), ..written },
                    Test::Range(range) => Written { range: Some(range), ..written },
                    Test::Prefix(prefix) => Written { prefix: Some(prefix), ..written },
                    Test::Exists(exists) => Written { exists: Some(exists), ..written },
                }
            }
        }
    }
}

impl schemars::JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

impl schemars::JsonSchema for Literal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Literal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["null", "boolean", "number", "string"] })
    }
}

impl<'de> serde::Deserialize<'de> for Literal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LiteralVisitor)
    }
}

struct LiteralVisitor;

impl serde::de::Visitor<'_> for LiteralVisitor {
    type Value = Literal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number or a text")
    }

    fn visit_unit<E>(self) -> Result<Literal, E> {
        Ok(Literal::Null)
    }

    fn visit_none<E>(self) -> Result<Literal, E> {
        Ok(Literal::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Literal, E> {
        Ok(Literal::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Literal, E> {
        Ok(Literal::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Literal, E> {
        i64::try_from(value).map(Literal::Integer).map_err(|_| {
            E::invalid_value(serde::de::Unexpected::Unsigned(value), &"an integer of 64 bits")
        })
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Literal, E> {
        if value.is_finite() {
            Ok(Literal::Float(value))
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Float(value), &"a finite number"))
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Literal, E> {
        Ok(Literal::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
