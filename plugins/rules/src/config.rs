//! The config of `rules`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_plugin::{Dimension, Kind, Path, TimestampFormat};

/// Rules and computed fields in CEL, the Common Expression Language.
///
/// The fields of a record are the variables of an expression: `amount > 0 && merchant.id != ""`. What
/// an expression names is read, and nothing else. A rule whose expression has no result, because a
/// field is missing or of another type, counts as broken: `has(amount)` and `amount != null` ask first.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What must hold.
    pub rules: Vec<Rule>,
    /// What is computed. Rules see the record as it came, without these.
    pub fields: Vec<Field>,
    /// What fields are, by the path that expressions name them by, where it does not follow from
    /// their use; and further names, for fields that an expression can't spell and for what the host
    /// knows of a record.
    pub reads: BTreeMap<String, ReadAs>,
}

/// A rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in dead letters and metrics: unique among all rules, and stable.
    pub id: String,
    /// Only records for which this holds are checked.
    pub when: Option<String>,
    /// What must hold: an expression whose result is a boolean.
    pub check: String,
    /// What breaking it means.
    #[serde(default)]
    pub severity: Severity,
    /// One sentence for people; made from the expression where it is left out.
    pub message: Option<String>,
    /// The dimension of data quality.
    #[serde(default = "validity")]
    pub dimension: Dimension,
}

fn validity() -> Dimension {
    Dimension::Validity
}

/// What breaking a rule means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The record goes to the dead letters.
    #[default]
    Reject,
    /// The record ends here, and is counted.
    Drop,
    /// The record goes on, and is counted.
    Warn,
}

/// A computed field.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Where it is written.
    pub write: Path,
    /// What it is.
    pub kind: Written,
    /// Its value. Where that is null, null is written; where there is no result, nothing is, and the
    /// finding `computable:<field>` warns.
    pub value: String,
}

/// What a computed field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction, of 64 bits.
    Int64,
    /// A number.
    Float64,
    /// A string.
    Utf8,
}

/// What a field is read as.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReadAs {
    /// The kind to read it as.
    pub kind: Option<ReadKind>,
    /// How a timestamp is written.
    pub format: TimestampFormat,
    /// Where it lies, when it is not the path that it is named by.
    pub path: Option<Path>,
    /// What it is of all that the host knows of a record: `@batch-time`, `@partition-key`, …
    pub host: Option<String>,
}

/// A kind to read a field as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadKind {
    /// `true` or `false`: a `bool`.
    Boolean,
    /// A number without a fraction, of 64 bits: an `int`.
    Int64,
    /// A number: a `double`.
    Float64,
    /// A time: an `int`, in microseconds since 1970, which is what `duration("15m")` counts too.
    Timestamp,
    /// A string.
    Utf8,
    /// Whatever it is: lists and objects, and values of more than one type.
    Json,
}

impl ReadKind {
    /// The kind of the column.
    pub(crate) fn kind(self, format: TimestampFormat) -> Kind {
        match self {
            ReadKind::Boolean => Kind::Boolean,
            ReadKind::Int64 => Kind::Int64,
            ReadKind::Float64 => Kind::Float64,
            ReadKind::Timestamp => Kind::Timestamp(format),
            ReadKind::Utf8 => Kind::Utf8,
            ReadKind::Json => Kind::Json,
        }
    }
}

impl Written {
    /// The kind of the column.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Written::Boolean => Kind::Boolean,
            Written::Int64 => Kind::Int64,
            Written::Float64 => Kind::Float64,
            Written::Utf8 => Kind::Utf8,
        }
    }
}
