//! The config of `correct`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{ConfigError, Dimension, Path, Severity};

use crate::time::Format;

/// Corrects fields by declared rules.
///
/// Corrections of one field are made in the order in which they stand here, each of what the ones
/// before left. A correction that changes the value is a finding; a value that it does not fit, of
/// another type than it is about or in no form that it knows, stays as it is and is for `validate`
/// to judge.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The corrections, in order.
    pub corrections: Vec<Correction>,
}

/// A correction of a field.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// The field.
    pub field: Path,
    /// What is done to it.
    #[serde(rename = "do")]
    pub step: Step,
    /// Its name in findings and metrics: unique, and stable. By default what is done and the field,
    /// `trim:customer.name`.
    pub id: Option<String>,
    /// What a change means: `info`, the default, or `warn`.
    #[serde(default = "info")]
    pub severity: Severity,
    /// The dimension of data quality. By default completeness for `default`, accuracy for `clamp`
    /// and `spelling`, and validity for the others.
    pub dimension: Option<Dimension>,
}

fn info() -> Severity {
    Severity::Info
}

/// What is done to a field.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// White space around a text is removed.
    Trim,
    /// White space around a text is removed, and each stretch of it inside becomes one space.
    CollapseSpaces,
    /// The letters of a text are made upper, lower or title case.
    Case(Case),
    /// These texts mean that there is no value: they become null.
    NullIf(Vec<String>),
    /// The value of a field that is missing or null: a text, a number or a boolean.
    Default(Scalar),
    /// A text that is one of the keys becomes what stands behind it. All of it is compared, so put
    /// `trim` and `case` before.
    Spelling(BTreeMap<String, String>),
    /// A text that is a number becomes that number, if a float of 64 bits or an integer of 64 bits
    /// holds it exactly as it is written: `" 1"`, `"0x1"` and `"0.12345678901234567890"` stay.
    Number(Number),
    /// A text that is one of these becomes a boolean.
    Boolean(Booleans),
    /// A number or a boolean becomes the text of it, as it is written.
    Text,
    /// A text that is a date in one of the formats becomes `YYYY-MM-DD`; one that is so already
    /// stays.
    Date(Dates),
    /// A text that is a time in one of the formats, or a number since 1970, becomes a time by RFC
    /// 3339 in UTC; a text that is one already stays.
    Timestamp(Times),
    /// A number outside becomes the limit that it is beyond.
    Clamp(Clamp),
}

/// How letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// `STRASSE 1`
    Upper,
    /// `straße 1`
    Lower,
    /// `O'neil-Smith Ltd`: the first letter of a word is upper case, the others are lower case. A
    /// word begins behind anything but a letter, a digit or an apostrophe.
    Title,
}

/// A text, a number or a boolean.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
#[allow(missing_docs, reason = "said by their names")]
pub enum Scalar {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

/// A number as it is written in the config.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number")]
#[allow(missing_docs, reason = "said by their names")]
pub enum Limit {
    Integer(i64),
    Number(f64),
}

/// How a number stands in a text.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Number {
    /// What stands before the fraction: `.` by default.
    pub decimal: char,
    /// What stands between groups of three digits, if anything may: `,`, or `.`, or a space.
    pub group: Option<char>,
    /// Only whole numbers become one: `"1.50"` stays.
    pub whole: bool,
}

impl Default for Number {
    fn default() -> Self {
        Number { decimal: '.', group: None, whole: false }
    }
}

/// Texts that are booleans; upper and lower case of ASCII letters are one.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Booleans {
    /// Texts that become `true`; `["true"]` by default. Quote them: YAML takes `yes` for a boolean.
    pub for_true: Vec<String>,
    /// Texts that become `false`; `["false"]` by default.
    pub for_false: Vec<String>,
}

impl Default for Booleans {
    fn default() -> Self {
        Booleans { for_true: vec!["true".into()], for_false: vec!["false".into()] }
    }
}

/// How a date may be written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// The formats, of which the first that fits counts: `%d.%m.%Y`. `%Y` is a year of four
    /// digits, `%m` a month and `%d` a day of one or two, `%b` the English name of a month, whole
    /// or its first three letters; a space stands for any white space, other characters for
    /// themselves, `%%` for `%`.
    pub from: Vec<Format>,
}

/// How a time may be written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The formats, of which the first that fits counts: those of dates, and `%H` (0 to 24 hours,
    /// below 24) or `%I` (1 to 12) with `%p` (`AM` or `PM`), `%M`, `%S`, each of one or two digits,
    /// `%f` (1 to 6 digits of a fraction) and `%z` (`Z`, `+02:00`, `+0200`, `+02`). What a format
    /// lacks of the time is zero.
    #[serde(default)]
    pub from: Vec<Format>,
    /// The offset of times whose format has no `%z`: `+02:00`. UTC by default.
    #[serde(default)]
    pub offset: Offset,
    /// What a number counts since 1970-01-01T00:00:00Z. Left out, numbers stay.
    pub unix: Option<Unix>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "said by their names")]
pub enum Unix {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// A distance from UTC in seconds, written as `Z`, `+02:00` or `-0330`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"))]
pub struct Offset(pub i64);

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match crate::time::offset(&text) {
            Some((seconds, "")) => Ok(Offset(seconds)),
            _ => Err(format!("`{text}` is not an offset such as `Z`, `+02:00`, `-0330`")),
        }
    }
}

/// Limits of a number; one of them at least.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clamp {
    /// What is less becomes this.
    pub at_least: Option<Limit>,
    /// What is more becomes this.
    pub at_most: Option<Limit>,
}

impl Limit {
    /// As a float.
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Limit::Integer(number) => number as f64,
            Limit::Number(number) => number,
        }
    }
}

impl Correction {
    /// The name: as said, or what is done and the field.
    pub(crate) fn id(&self) -> String {
        let id = self.id.clone();
        id.unwrap_or_else(|| format!("{}:{}", self.step.name(), self.field))
    }

    /// The dimension: as said, or by what is done.
    pub(crate) fn dimension(&self) -> Dimension {
        self.dimension.unwrap_or(match self.step {
            Step::Default(_) => Dimension::Completeness,
            Step::Clamp(_) | Step::Spelling(_) => Dimension::Accuracy,
            _ => Dimension::Validity,
        })
    }

    /// One sentence for people: what holds of a field that needs no correction.
    pub(crate) fn text(&self) -> String {
        let field = &self.field;
        match &self.step {
            Step::Trim => format!("`{field}` has no white space around it"),
            Step::CollapseSpaces => format!("`{field}` has single spaces, and none around it"),
            Step::Case(Case::Upper) => format!("`{field}` is in upper case"),
            Step::Case(Case::Lower) => format!("`{field}` is in lower case"),
            Step::Case(Case::Title) => format!("`{field}` is in title case"),
            Step::NullIf(_) => format!("`{field}` has no text that means nothing"),
            Step::Default(_) => format!("`{field}` is present"),
            Step::Spelling(_) => format!("`{field}` is spelled right"),
            Step::Number(_) => format!("`{field}` is a number and not the text of one"),
            Step::Boolean(_) => format!("`{field}` is a boolean and not a word for one"),
            Step::Text => format!("`{field}` is a text"),
            Step::Date(_) => format!("`{field}` is a date written as YYYY-MM-DD"),
            Step::Timestamp(_) => format!("`{field}` is a time by RFC 3339"),
            Step::Clamp(_) => format!("`{field}` is within its limits"),
        }
    }

    /// Checks what the types don't say.
    pub(crate) fn check(&self, pointer: &str) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: &str| Err(ConfigError::at(format!("{pointer}/{key}"), why));
        if self.field.is_root() {
            return refuse("field", "the whole record can't be corrected: name its fields");
        }
        if self.severity == Severity::Reject {
            let why = "a corrected record goes on: it is `info` or `warn`; `validate` rejects";
            return refuse("severity", why);
        }
        match &self.step {
            Step::NullIf(texts) if texts.is_empty() => refuse("do/null_if", "there is no text"),
            Step::Default(Scalar::Number(number)) if !number.is_finite() => {
                refuse("do/default", "it is no number that JSON has")
            }
            Step::Spelling(words) if words.is_empty() => refuse("do/spelling", "there is no word"),
            Step::Number(Number { decimal, group, .. }) => {
                let taken = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | 'e' | 'E');
                if taken(*decimal) || *group == Some(*decimal) || group.is_some_and(taken) {
                    let why = "the signs for the fraction and for groups must be two, and none that \
                               a number has besides";
                    return refuse("do/number", why);
                }
                Ok(())
            }
            Step::Boolean(Booleans { for_true: yes, for_false: no }) => {
                let is_no = |text: &&String| no.iter().any(|no| no.eq_ignore_ascii_case(text));
                match yes.iter().find(is_no) {
                    Some(text) => refuse("do/boolean", &format!("`{text}` is both")),
                    None if yes.is_empty() && no.is_empty() => {
                        refuse("do/boolean", "there is no text")
                    }
                    None => Ok(()),
                }
            }
            Step::Date(Dates { from }) if from.is_empty() => {
                refuse("do/date/from", "there is no format")
            }
            Step::Date(Dates { from }) => match from.iter().position(|it| !it.is_date()) {
                Some(i) => {
                    let why = "a date has `%Y`, `%m` or `%b`, and `%d`, and nothing of a time";
                    refuse(&format!("do/date/from/{i}"), why)
                }
                None => Ok(()),
            },
            Step::Timestamp(Times { from, unix, .. }) => {
                if from.is_empty() && unix.is_none() {
                    return refuse("do/timestamp", "it needs `from`, `unix` or both");
                }
                match from.iter().position(|it| !it.is_time()) {
                    Some(i) => {
                        let why = "a time has `%Y`, `%m` or `%b`, and `%d`; `%p` goes with `%I` and \
                                   never with `%H`";
                        refuse(&format!("do/timestamp/from/{i}"), why)
                    }
                    None => Ok(()),
                }
            }
            Step::Clamp(Clamp { at_least, at_most }) => match (at_least, at_most) {
                (None, None) => refuse("do/clamp", "it needs `at_least` or `at_most`"),
                (Some(low), Some(high)) if low.as_f64() > high.as_f64() => {
                    refuse("do/clamp", "`at_least` is more than `at_most`")
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Trim => "trim",
            Step::CollapseSpaces => "collapse_spaces",
            Step::Case(_) => "case",
            Step::NullIf(_) => "null_if",
            Step::Default(_) => "default",
            Step::Spelling(_) => "spelling",
            Step::Number(_) => "number",
            Step::Boolean(_) => "boolean",
            Step::Text => "text",
            Step::Date(_) => "date",
            Step::Timestamp(_) => "timestamp",
            Step::Clamp(_) => "clamp",
        }
    }
}
