//! The config of `validate`.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{Dimension, Kind, Path, Severity, TimestampFormat};

/// Checks records against rules.
///
/// A record that breaks a rule of severity `reject` goes to the dead letters, which name the rule;
/// one that breaks a rule of severity `warn` goes on, and is counted. A field that is missing or
/// null breaks `required` and no other rule. A value of another type than the check is about
/// breaks the check.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rules for every record.
    pub always: Vec<Rule>,
    /// Rules for records of a type.
    pub by_type: Option<ByType>,
}

/// Rules for records of a type.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByType {
    /// The field whose text is the type.
    pub field: Path,
    /// The rules for each type. Records of another type are held against `always` only.
    pub rules: BTreeMap<String, Vec<Rule>>,
}

/// A rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in dead letters and metrics: unique among all rules, and stable.
    pub id: String,
    /// The field that it is about.
    pub field: Path,
    /// What must hold.
    pub check: Check,
    /// Only records for which this holds are checked.
    pub when: Option<When>,
    /// What breaking it means.
    #[serde(default = "reject")]
    pub severity: Severity,
    /// The dimension of data quality. By default completeness for `required`, timeliness for
    /// `recent`, consistency for `compare`, and validity for the others.
    pub dimension: Option<Dimension>,
    /// One sentence for people; made from the check where it is left out.
    pub text: Option<String>,
}

fn reject() -> Severity {
    Severity::Reject
}

/// What must hold of a field.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// It is there, and not null.
    Required,
    /// It is of a type.
    Type(Type),
    /// It is a number within limits.
    Range(Range),
    /// It is text of so many characters (Unicode scalar values).
    Length(Length),
    /// It is text that a regular expression finds a match in: begin with `^` and end with `$` to
    /// match all of it. `\d`, `\w`, `\s` and `\b` are ASCII; `.` is any character but a line feed;
    /// `(?i-u)` ignores the case of ASCII letters.
    Pattern(String),
    /// It is one of these texts.
    OneOf(Vec<String>),
    /// It compares to another field.
    Compare(Compare),
    /// It is a time not too far from the batch time.
    Recent(Recent),
}

/// The type of a value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A string.
    String,
    /// A number.
    Number,
    /// A number without a fraction, of 64 bits.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string that is a time by RFC 3339.
    Timestamp,
    /// A string that is a date, `YYYY-MM-DD`.
    Date,
}

/// Limits of a number; all that are given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// It is greater than this.
    pub above: Option<f64>,
    /// It is this or greater.
    pub at_least: Option<f64>,
    /// It is less than this.
    pub below: Option<f64>,
    /// It is this or less.
    pub at_most: Option<f64>,
}

/// Limits of a text's length.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Length {
    /// It has so many characters or more.
    pub at_least: Option<u32>,
    /// It has so many characters or fewer.
    pub at_most: Option<u32>,
}

/// How the field compares to another one. Holds where one of them is missing or null.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// How the field must stand to the other.
    pub is: Operator,
    /// The other field.
    pub to: Path,
    /// What both are.
    #[serde(rename = "as", default)]
    pub kind: Comparable,
}

/// How one value stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Less than it, or earlier.
    Below,
    /// At most it.
    AtMost,
    /// Equal to it.
    EqualTo,
    /// Different from it.
    DifferentFrom,
    /// At least it.
    AtLeast,
    /// Greater than it, or later.
    Above,
}

/// What two fields are compared as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Comparable {
    /// As numbers.
    #[default]
    Number,
    /// As text, by its bytes.
    Text,
    /// As times by RFC 3339.
    Timestamp,
    /// As dates.
    Date,
}

/// How far a time may be from the batch time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recent {
    /// How the time is written.
    #[serde(default)]
    pub format: TimestampFormat,
    /// It is at most so old: `30s`, `15m`, `24h`, `7d`.
    pub older_by_at_most: Option<Span>,
    /// It is at most so far in the future.
    pub ahead_by_at_most: Option<Span>,
}

/// A condition on a field, other than the rule's own as a rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The field.
    pub field: Path,
    /// It is there and not null (`true`), or not (`false`).
    pub exists: Option<bool>,
    /// It is this text, number or boolean.
    pub equals: Option<Scalar>,
    /// It is one of these texts.
    #[serde(rename = "in")]
    pub one_of: Option<Vec<String>>,
}

/// A text, a number or a boolean.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
#[allow(missing_docs, reason = "said by their names")]
pub enum Scalar {
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// A length of time in microseconds, written as `30s`, `15m`, `24h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+(ms|s|m|h|d)$"))]
pub struct Span(pub i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let microseconds = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => 0,
        };
        match number.parse::<i64>().ok().and_then(|number| number.checked_mul(microseconds)) {
            Some(span) if microseconds > 0 => Ok(Span(span)),
            _ => Err(format!("`{text}` is not a length of time such as `30s`, `15m`, `24h`, `7d`")),
        }
    }
}

impl Type {
    /// Whether a column of a kind tells this type from others by its presence alone.
    pub(crate) fn is_told_by(self, kind: &Kind) -> bool {
        let text_time = Kind::Timestamp(TimestampFormat::Rfc3339);
        match self {
            Type::String => {
                matches!(kind, Kind::Utf8 | Kind::Enumeration(_) | Kind::Date) || *kind == text_time
            }
            Type::Number => *kind == Kind::Float64,
            Type::Integer => *kind == Kind::Int64,
            Type::Boolean => *kind == Kind::Boolean,
            Type::Object | Type::Array => *kind == Kind::Json,
            Type::Timestamp => *kind == text_time,
            Type::Date => *kind == Kind::Date,
        }
    }

    /// The kind to read where no rule reads one that tells it. A string is read as a date: that
    /// tells a string from everything else, and brings four bytes to the plugin, not the string.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Type::String | Type::Date => Kind::Date,
            Type::Number => Kind::Float64,
            Type::Integer => Kind::Int64,
            Type::Boolean => Kind::Boolean,
            Type::Object | Type::Array => Kind::Json,
            Type::Timestamp => Kind::Timestamp(TimestampFormat::Rfc3339),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::String => "a string",
            Type::Number => "a number",
            Type::Integer => "an integer",
            Type::Boolean => "a boolean",
            Type::Object => "an object",
            Type::Array => "an array",
            Type::Timestamp => "a timestamp",
            Type::Date => "a date",
        })
    }
}

impl Comparable {
    /// The kind of both columns.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Comparable::Number => Kind::Float64,
            Comparable::Text => Kind::Utf8,
            Comparable::Timestamp => Kind::Timestamp(TimestampFormat::Rfc3339),
            Comparable::Date => Kind::Date,
        }
    }
}

impl Operator {
    /// Whether it holds for a value that stands so to another.
    #[inline]
    pub(crate) fn holds<T: PartialOrd>(self, value: T, other: T) -> bool {
        match self {
            Operator::Below => value < other,
            Operator::AtMost => value <= other,
            Operator::EqualTo => value == other,
            Operator::DifferentFrom => value != other,
            Operator::AtLeast => value >= other,
            Operator::Above => value > other,
        }
    }
}

impl Range {
    pub(crate) fn is_empty(&self) -> bool {
        [self.above, self.at_least, self.below, self.at_most].iter().all(Option::is_none)
    }
}

impl Rule {
    /// The dimension: as said, or by the check.
    pub(crate) fn dimension(&self) -> Dimension {
        self.dimension.unwrap_or(match self.check {
            Check::Required => Dimension::Completeness,
            Check::Compare(_) => Dimension::Consistency,
            Check::Recent(_) => Dimension::Timeliness,
            _ => Dimension::Validity,
        })
    }

    /// The sentence for people: as said, or by the check.
    pub(crate) fn text(&self) -> String {
        let text = self.text.clone();
        text.unwrap_or_else(|| format!("`{}` {}", self.field, self.check))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Required => f.write_str("is present"),
            Check::Type(wanted) => write!(f, "is {wanted}"),
            Check::Range(Range { above, at_least, below, at_most }) => {
                let limits = [
                    ("above", above),
                    ("at least", at_least),
                    ("below", below),
                    ("at most", at_most),
                ];
                let limits: Vec<String> = limits
                    .into_iter()
                    .filter_map(|(name, limit)| limit.map(|limit| format!("{name} {limit}")))
                    .collect();
                write!(f, "is a number {}", limits.join(" and "))
            }
            Check::Length(Length { at_least, at_most }) => match (at_least, at_most) {
                (Some(low), Some(high)) => write!(f, "has {low} to {high} characters"),
                (Some(low), None) => write!(f, "has {low} characters or more"),
                (None, Some(high)) => write!(f, "has {high} characters or fewer"),
                (None, None) => f.write_str("is text"),
            },
            Check::Pattern(pattern) => write!(f, "matches `{pattern}`"),
            Check::OneOf(texts) => write!(f, "is one of {}", texts.join(", ")),
            Check::Compare(Compare { is, to, .. }) => {
                let operator = match is {
                    Operator::Below => "below",
                    Operator::AtMost => "at most",
                    Operator::EqualTo => "equal to",
                    Operator::DifferentFrom => "different from",
                    Operator::AtLeast => "at least",
                    Operator::Above => "above",
                };
                write!(f, "is {operator} `{to}`")
            }
            Check::Recent(_) => f.write_str("is close to the batch time"),
        }
    }
}
